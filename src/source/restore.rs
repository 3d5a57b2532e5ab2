//! Running a restore_command into a scratch directory.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use thiserror::Error;

use super::settings::mask_secrets;

/// How long one run of a restore command may take before it is killed with its process group.
pub const RESTORE_TIMEOUT: Duration = Duration::from_secs(60);

/// How much of a restore command's standard error is kept, bytes from its end.
const STDERR_TAIL: usize = 2048;

/// A command that fetches one WAL file, as `restore_command` in PostgreSQL: `%f` the file's name, `%p` where to put
/// it, `%%` a percent sign. It is run by `sh -c`.
#[derive(Debug, Clone)]
pub struct RestoreCommand {
    command: String,
    timeout: Duration,
    /// It, or a clone of it, was killed: to wait for it again for every file would take hours.
    hung: Arc<AtomicBool>,
    /// Set when the work is to stop.
    cancel: Arc<AtomicBool>,
}

impl PartialEq for RestoreCommand {
    fn eq(&self, other: &Self) -> bool {
        (&self.command, self.timeout) == (&other.command, other.timeout)
    }
}

impl Eq for RestoreCommand {}

/// A restore command that cannot be used, or did not bring the file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RestoreError {
    /// `%r` stands for a file that a server in recovery knows, and is used to clean archives: refused, as in
    /// pg_rewind.
    #[error("the restore command uses %r, which is for removing files from an archive and is not given here")]
    RestartPoint,
    /// It ended, and the file is not there.
    #[error("restore command: {outcome}{stderr}")]
    Failed {
        /// Its exit status, in words.
        outcome: String,
        /// The end of its standard error, after `: `, or empty.
        stderr: String,
    },
    /// It was killed.
    #[error("restore command: killed after {} s without an end{stderr}", .after.as_secs_f32())]
    TimedOut {
        /// The limit.
        after: Duration,
        /// The end of its standard error, after `: `, or empty.
        stderr: String,
    },
    /// It was killed because the work is to stop.
    #[error("restore command: interrupted")]
    Cancelled,
    /// It could not be started.
    #[error("restore command: could not be started: {0}")]
    NotStarted(String),
}

impl RestoreCommand {
    /// The command as the user or a configuration file has it.
    ///
    /// # Errors
    /// [`RestoreError::RestartPoint`] where it uses `%r`.
    pub fn new(command: impl Into<String>) -> Result<Self, RestoreError> {
        let command = command.into();
        let mut bytes = command.bytes();
        while let Some(b) = bytes.next() {
            if b == b'%' && bytes.next() == Some(b'r') {
                return Err(RestoreError::RestartPoint);
            }
        }
        Ok(Self { command, timeout: RESTORE_TIMEOUT, hung: Arc::default(), cancel: Arc::default() })
    }

    /// Stops at once, with all that it started, when the flag is set.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Arc<AtomicBool>) -> Self {
        self.cancel = cancel;
        self
    }

    /// Another limit than [`RESTORE_TIMEOUT`].
    #[cfg(test)]
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// It was killed once, and is not to be run again.
    pub fn hung(&self) -> bool {
        self.hung.load(Ordering::Relaxed)
    }

    /// The command as it was given.
    pub fn text(&self) -> &str {
        &self.command
    }

    /// The command with `%f`, `%p` and `%%` replaced. Other pairs stay as they are, as up to PostgreSQL 15.
    pub fn substituted(&self, file: &str, path: &Path) -> OsString {
        let mut out = Vec::with_capacity(self.command.len() + 64);
        let mut bytes = self.command.bytes().peekable();
        while let Some(b) = bytes.next() {
            match (b, bytes.peek()) {
                (b'%', Some(b'f')) => out.extend_from_slice(file.as_bytes()),
                (b'%', Some(b'p')) => out.extend_from_slice(path.as_os_str().as_bytes()),
                (b'%', Some(b'%')) => out.push(b'%'),
                _ => {
                    out.push(b);
                    continue;
                }
            }
            bytes.next();
        }
        OsString::from_vec(out)
    }

    /// Runs it once for `file`, to be written to `path` (absolute, in a scratch directory that is also the working
    /// directory). Its output is not shown.
    ///
    /// # Errors
    /// It failed, hung or left no regular file at `path`. A server takes an exit status of 1 to 125 as "not there".
    pub fn run(&self, file: &str, path: &Path) -> Result<(), RestoreError> {
        let cancelled = || self.cancel.load(Ordering::Relaxed);
        if cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let dir = path.parent().unwrap_or(Path::new("/"));
        let mut child = Command::new("sh")
            .arg(OsStr::new("-c"))
            .arg(self.substituted(file, path))
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .map_err(|e| RestoreError::NotStarted(e.to_string()))?;
        // The thread is not joined: a process that the command left in the background may hold the pipe open.
        let tail = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(mut pipe) = child.stderr.take() {
            let tail = Arc::clone(&tail);
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while let Ok(n @ 1..) = pipe.read(&mut buffer) {
                    let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                    tail.extend(buffer.get(..n).unwrap_or_default());
                    let excess = tail.len().saturating_sub(STDERR_TAIL);
                    tail.drain(..excess);
                }
            });
        }
        let stderr = || {
            std::thread::sleep(Duration::from_millis(20));
            let tail: Vec<u8> = tail.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect();
            let text = String::from_utf8_lossy(&tail);
            // the start of what was cut may be all that says that it is a password
            let cut = if tail.len() < STDERR_TAIL {
                0
            } else {
                text.find(char::is_whitespace).unwrap_or(text.len())
            };
            let text = mask_secrets(text.get(cut..).unwrap_or_default());
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
            if lines.is_empty() { String::new() } else { format!(": {}", lines.join(" | ")) }
        };

        let started = Instant::now();
        let mut pause = Duration::from_millis(1);
        let status = loop {
            match child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if cancelled() => {
                    kill(&mut child);
                    return Err(RestoreError::Cancelled);
                }
                Ok(None) if started.elapsed() >= self.timeout => {
                    kill(&mut child);
                    self.hung.store(true, Ordering::Relaxed);
                    return Err(RestoreError::TimedOut { after: self.timeout, stderr: stderr() });
                }
                Ok(None) => {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_millis(25));
                }
                Err(e) => return Err(RestoreError::NotStarted(e.to_string())),
            }
        };
        if !status.success() {
            let outcome = match (status.code(), status.signal()) {
                (Some(127), _) => "exit status 127, command not found".into(),
                (Some(126), _) => "exit status 126, cannot be executed".into(),
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("ended by signal {signal}"),
                (None, None) => "ended without a status".into(),
            };
            return Err(RestoreError::Failed { outcome, stderr: stderr() });
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if meta.is_file() || meta.is_symlink() => Ok(()),
            Ok(_) => Err(RestoreError::Failed {
                outcome: "exit status 0, and what it left is no regular file".into(),
                stderr: stderr(),
            }),
            Err(_) => {
                Err(RestoreError::Failed { outcome: "exit status 0, but no file".into(), stderr: stderr() })
            }
        }
    }
}

/// Kills it with its process group.
fn kill(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str) -> (Result<(), RestoreError>, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let command = RestoreCommand::new(command).unwrap().with_timeout(Duration::from_millis(300));
        (command.run("000000010000000000000003", &dir.path().join("got")), dir)
    }

    #[test]
    fn placeholders() {
        let sub = |c: &str| {
            let c = RestoreCommand::new(c).unwrap();
            c.substituted("F", Path::new("/p q")).into_string().unwrap()
        };
        assert_eq!(sub("cp /a/%f \"%p\""), "cp /a/F \"/p q\"");
        assert_eq!(sub("%%f %x %"), "%f %x %");
        assert_eq!(sub("%%%f%f"), "%FF");
        assert_eq!(RestoreCommand::new("x %r"), Err(RestoreError::RestartPoint));
        assert!(RestoreCommand::new("x %%r").is_ok());
    }

    #[test]
    fn brings_the_file() {
        let (result, dir) = run("printf %%s %f > %p");
        assert_eq!(result, Ok(()));
        assert_eq!(std::fs::read(dir.path().join("got")).unwrap(), b"000000010000000000000003");
    }

    #[test]
    fn failures_are_told() {
        let text = |c: &str| run(c).0.unwrap_err().to_string();
        assert_eq!(text("echo no such object >&2; exit 3"), "restore command: exit status 3: no such object");
        assert_eq!(text("true"), "restore command: exit status 0, but no file");
        assert_eq!(text("mkdir %p"), "restore command: exit status 0, and what it left is no regular file");
        assert_eq!(text("mkfifo %p"), "restore command: exit status 0, and what it left is no regular file");
        assert_eq!(text("kill -9 $$"), "restore command: ended by signal 9");
        assert!(text("/nonexistent/program %p").starts_with("restore command: exit status 127"));
    }

    #[test]
    fn a_hanging_command_is_killed_with_its_children() {
        let mark = tempfile::tempdir().unwrap();
        let file = mark.path().join("alive");
        let started = Instant::now();
        let (result, _dir) =
            run(&format!("(sleep 1; touch {0}) & echo waiting >&2; sleep 600", file.display()));
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(
            matches!(&result, Err(RestoreError::TimedOut { stderr, .. }) if stderr == ": waiting"),
            "{result:?}"
        );
        std::thread::sleep(Duration::from_millis(1200));
        assert!(!file.exists(), "the child in the background went on");
    }

    #[test]
    fn what_it_says_has_no_password() {
        let error = run("echo postgres://u:se/SECRET@h PGPASSWORD=SECRET >&2; false").0.unwrap_err();
        assert!(!error.to_string().contains("SECRET") && error.to_string().contains("********@h"), "{error}");
    }

    #[test]
    fn a_cancelled_command_is_killed_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let cancel = Arc::new(AtomicBool::new(false));
        let command = RestoreCommand::new("sleep 600").unwrap().with_cancel(Arc::clone(&cancel));
        let path = dir.path().join("got");
        let started = Instant::now();
        let result = std::thread::scope(|scope| {
            let running = scope.spawn(|| command.run("F", &path));
            std::thread::sleep(Duration::from_millis(100));
            cancel.store(true, Ordering::Relaxed);
            running.join().unwrap()
        });
        assert_eq!(result, Err(RestoreError::Cancelled));
        assert!(started.elapsed() < Duration::from_secs(5) && !command.hung());
        assert_eq!(command.run("F", &path), Err(RestoreError::Cancelled));
    }

    #[test]
    fn clones_know_that_it_hung() {
        let dir = tempfile::tempdir().unwrap();
        let command = RestoreCommand::new("sleep 600").unwrap().with_timeout(Duration::from_millis(50));
        let other_side = command.clone();
        assert!(!other_side.hung());
        assert!(command.run("F", &dir.path().join("got")).is_err());
        assert!(other_side.hung());
    }

    #[test]
    fn a_process_left_in_the_background_does_not_hold_us() {
        let started = Instant::now();
        let (result, _dir) = run("sleep 8 & echo x > %p");
        assert_eq!(result, Ok(()));
        assert!(started.elapsed() < Duration::from_secs(5));
    }
}
