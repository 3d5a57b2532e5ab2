//! What tests with real servers share: finding them, and running their programs as a user that they accept.
#![allow(dead_code)] // no test needs all of it

use std::fs;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub mod client;
pub mod cluster;
pub mod drop_in;
pub mod majors;
pub mod scenario;
pub mod workload;

/// Directory that holds installations as `MAJOR/bin`, looked at before the usual places.
pub const ROOT_VARIABLE: &str = "FORKPOINT_PG_ROOT";

/// An installed PostgreSQL.
#[derive(Debug, Clone)]
pub struct Server {
    /// `13`, `9.6`: as `postgres --version` says.
    pub major: String,
    /// The directory with its programs.
    pub bin: PathBuf,
}

impl Server {
    /// The path of a program, if this installation has it.
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        Some(self.bin.join(name)).filter(|path| path.is_file())
    }

    /// A command for one of its programs, in the C locale, as a user that a server accepts.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(self.bin.join(name));
        command.env_clear().env("LC_ALL", "C").env("TZ", "UTC").current_dir("/");
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Makes a cluster with superuser `postgres`, without a password, at `path`, which must not exist.
    pub fn initdb(&self, path: &Path, options: &[&str]) {
        fs::create_dir(path).unwrap();
        give_away(path);
        let fixed = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N", "-D"];
        let output = self.command("initdb").args(fixed).arg(path).args(options).output().unwrap();
        assert_success(&format!("initdb of {}", self.major), &output);
    }
}

/// Panics with what the program wrote unless it succeeded.
pub fn assert_success(what: &str, output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{what}: {}\n{out}{err}", output.status);
}

/// Numbers of the user `postgres`, else `nobody`, when this runs as root; a server refuses to run as root.
pub fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|field| field.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

/// Lets the user that servers run as own a file or directory.
pub fn give_away(path: &Path) {
    if let Some((uid, gid)) = other_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// A temporary directory that the user that servers run as may write to.
pub fn scratch() -> tempfile::TempDir {
    let scratch = tempfile::Builder::new().prefix("forkpoint-test-").tempdir().unwrap();
    give_away(scratch.path());
    scratch
}

/// Every installed PostgreSQL, one for each major, oldest first: below `FORKPOINT_PG_ROOT` (`MAJOR/bin`), then
/// `/opt/pg-peers/*/bin`, then `/usr/lib/postgresql/*/bin`.
pub fn installed() -> Vec<Server> {
    let roots = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    let roots = roots.into_iter().chain(["/opt/pg-peers".into(), "/usr/lib/postgresql".into()]);
    let mut found = Vec::<Server>::new();
    for entry in roots.flat_map(|root: PathBuf| fs::read_dir(root).into_iter().flatten().flatten()) {
        let bin = entry.path().join("bin");
        let Ok(output) = Command::new(bin.join("postgres")).arg("--version").output() else { continue };
        let text = String::from_utf8_lossy(&output.stdout);
        // "postgres (PostgreSQL) 17.11 (Debian 17.11-1)", "… 19rc1"
        let Some(version) = text.split_whitespace().nth(2) else { continue };
        let number = version.split(|c: char| !c.is_ascii_digit()).collect::<Vec<_>>();
        let major = if number[0] == "9" { number[..2].join(".") } else { number[0].to_owned() };
        if found.iter().all(|server| server.major != major) {
            found.push(Server { major, bin });
        }
    }
    let order = |server: &Server| server.major.parse::<f64>().unwrap_or_default();
    found.sort_by(|a, b| order(a).total_cmp(&order(b)));
    found
}

/// Prints which majors a test ran with; `cargo test -- --nocapture` shows it.
pub fn ran_with(test: &str, servers: &[Server]) {
    let majors = servers.iter().map(|server| server.major.as_str()).collect::<Vec<_>>();
    println!(
        "{test}: ran with PostgreSQL {}",
        if majors.is_empty() { "none".into() } else { majors.join(", ") }
    );
}
