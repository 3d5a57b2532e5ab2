//! The server's own program: found, asked for the restore command, run once to recover a target that crashed.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pg::Major;

use super::log::{Ended, FAILED, Log};

/// The program `postgres` of a major.
#[derive(Debug, Clone)]
pub struct Server {
    program: PathBuf,
    major: Major,
    config_file: Option<PathBuf>,
}

impl Server {
    /// Looks beside this program, in `bindir`, in `PATH` and in the usual places for a `postgres` of this major.
    ///
    /// # Errors
    /// There is none; that was said.
    pub fn find(
        bindir: Option<&Path>,
        major: Major,
        config_file: Option<&Path>,
        log: &mut Log<'_>,
    ) -> Result<Self, Ended> {
        let config_file = config_file.map(Path::to_owned);
        for dir in places(bindir, major) {
            let program = dir.join("postgres");
            if major_of(&program) == Some(major) {
                // it is shown without links, as pg_rewind shows what it finds beside itself
                let program = program.canonicalize().unwrap_or(program);
                return Ok(Self { program, major, config_file });
            }
        }
        let name = log.program().to_owned();
        let end = log.fatal(&format!(
            "program \"postgres\" of PostgreSQL {major} is needed by {name} but was not found beside it, in PATH, or in the \
             usual places"
        ));
        log.hint("Give its directory with --bindir.");
        Err(end)
    }

    /// What the target's configuration has as restore_command.
    ///
    /// # Errors
    /// Nothing, or the server's program fails; that was said.
    pub fn restore_command(&self, target: &Path, log: &mut Log<'_>) -> Result<String, Ended> {
        let mut command = Command::new(&self.program);
        command.arg("-D").arg(target);
        if let Some(file) = &self.config_file {
            let mut setting = OsString::from("config_file=");
            setting.push(file);
            command.arg("-c").arg(setting);
        }
        command.args(["-C", "restore_command"]).stdin(Stdio::null()).stderr(Stdio::inherit());
        let output = command.output();
        let text =
            output.as_ref().map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
        let Some(line) = text.lines().next() else {
            let shown = self.shown(target, " -C restore_command");
            log.raw(&format!("no data was returned by command \"{shown}\""));
            if self.major < Major::V17 {
                return Err(FAILED);
            }
            if let Some(code) = output.ok().and_then(|o| o.status.code()).filter(|code| *code != 0) {
                log.raw(&format!("child process exited with exit code {code}"));
            }
            let name = if self.major >= Major::V18 { "\"restore_command\"" } else { "restore_command" };
            return Err(log.fatal(&format!("could not read {name} from target cluster")));
        };
        let line = line.trim_end_matches(['\r', '\n']);
        let name = if self.major >= Major::V17 { "\"restore_command\"" } else { "restore_command" };
        if line.is_empty() {
            return Err(log.fatal(&format!("{name} is not set in the target cluster")));
        }
        let text = if self.major >= Major::V17 {
            format!("using for rewind \"restore_command = '{line}'\"")
        } else {
            format!("using for rewind restore_command = '{line}'")
        };
        log.debug(&text);
        Ok(line.to_owned())
    }

    /// Says that the target is to be recovered.
    pub fn announce(&self, log: &mut Log<'_>) {
        let program = self.program.display();
        log.info(&format!("executing \"{program}\" for target server to complete crash recovery"));
    }

    /// Runs a server without clients on the target, which ends when its crash recovery has ended.
    ///
    /// # Errors
    /// It failed; that was said.
    pub fn recover(&self, target: &Path, log: &mut Log<'_>) -> Result<(), Ended> {
        let mut command = Command::new(&self.program);
        command.args(["--single", "-F", "-D"]).arg(target);
        if let Some(file) = &self.config_file {
            let mut setting = OsString::from("config_file=");
            setting.push(file);
            command.arg("-c").arg(setting);
        }
        let status = command.arg("template1").stdin(Stdio::null()).status();
        if status.is_ok_and(|s| s.success()) {
            return Ok(());
        }
        log.error("postgres single-user mode in target cluster failed");
        if self.major < Major::V15 {
            let (program, target) = (self.program.display(), target.display());
            let shown = format!("\"{program}\" --single -F -D \"{target}\" template1 < \"/dev/null\"");
            return Err(log.fatal(&format!("Command was: {shown}")));
        }
        let (program, target) = (quoted(self.program.as_os_str()), quoted(target.as_os_str()));
        let config = self.config();
        log.detail(&format!("Command was: {program} --single -F -D {target}{config} template1 < /dev/null"));
        Err(FAILED)
    }

    fn config(&self) -> String {
        let file = self.config_file.as_deref();
        file.map_or_else(String::new, |f| format!(" -c config_file={}", quoted(f.as_os_str())))
    }

    fn shown(&self, target: &Path, end: &str) -> String {
        if self.major < Major::V15 {
            return format!("\"{}\" -D \"{}\"{end}", self.program.display(), target.display());
        }
        let (program, target) = (quoted(self.program.as_os_str()), quoted(target.as_os_str()));
        format!("{program} -D {target}{}{end}", self.config())
    }
}

/// A word for the shell, as `appendShellString` writes it.
fn quoted(word: &OsStr) -> String {
    let text = String::from_utf8_lossy(word.as_bytes()).into_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\"'\"'"))
    }
}

fn places(bindir: Option<&Path>, major: Major) -> Vec<PathBuf> {
    if let Some(dir) = bindir {
        return vec![dir.to_owned()];
    }
    let mut places = Vec::new();
    let called = std::env::args_os().next().map(PathBuf::from);
    for own in [called.filter(|p| p.components().count() > 1), std::env::current_exe().ok()] {
        places.extend(own.and_then(|p| p.parent().map(Path::to_owned)));
    }
    if let Some(path) = std::env::var_os("PATH") {
        places.extend(std::env::split_paths(&path));
    }
    for usual in ["/usr/lib/postgresql/@/bin", "/usr/pgsql-@/bin", "/usr/local/pgsql-@/bin"] {
        places.push(usual.replace('@', major.name()).into());
    }
    places.push("/usr/local/pgsql/bin".into());
    places
}

/// What `postgres -V` says: `postgres (PostgreSQL) 17.11 (Debian …)`.
fn major_of(program: &Path) -> Option<Major> {
    let version = version_of(program)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    Major::from_pg_version(&digits)
}

fn version_of(program: &Path) -> Option<String> {
    if !program.is_file() {
        return None;
    }
    let output = Command::new(program).arg("-V").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    Some(text.trim().strip_prefix("postgres (PostgreSQL) ")?.to_owned())
}

/// Version of the `postgres` beside this program or in PATH, for `--version`.
pub fn version_nearby() -> Option<String> {
    places(None, Major::V18).iter().find_map(|dir| version_of(&dir.join("postgres")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_for_the_shell() {
        assert_eq!(quoted(OsStr::new("/a-b_c.d:1")), "/a-b_c.d:1");
        assert_eq!(quoted(OsStr::new("/it's here")), "'/it'\"'\"'s here'");
        assert_eq!(quoted(OsStr::new("")), "''");
    }
}
