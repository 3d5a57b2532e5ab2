//! Real servers for tests: made, started, stopped and removed again.
//!
//! A server refuses to run as root, so as root every program of PostgreSQL runs as `postgres` or `nobody`. Nothing
//! listens on TCP; sockets lie in the cluster's own directory under the system's temporary one.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{Server, give_away, other_user};

/// True for an installation that has the client programs, not the server alone.
pub fn whole(server: &Server) -> bool {
    ["initdb", "pg_ctl", "psql", "pg_basebackup", "pg_rewind", "pg_waldump"]
        .iter()
        .all(|program| server.bin.join(program).exists())
}

/// How a server is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// With a shutdown checkpoint.
    Fast,
    /// As a crash would.
    Immediate,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Immediate => "immediate",
        }
    }
}

/// A temporary directory that PostgreSQL's user owns.
fn scratch() -> TempDir {
    // a socket's path has room for 107 bytes
    let base = std::env::temp_dir();
    let base = if base.as_os_str().len() > 60 { PathBuf::from("/tmp") } else { base };
    let dir = tempfile::Builder::new().prefix("fp.").tempdir_in(base).expect("temporary directory");
    give_away(dir.path());
    dir
}

/// A data directory and the server on it. Dropped, the server is stopped and the directory removed,
/// unless `FORKPOINT_KEEP_CLUSTERS` is set.
#[derive(Debug)]
pub struct Cluster {
    server: Server,
    dir: TempDir,
    port: u16,
}

impl Cluster {
    /// A directory for a cluster that is not there yet.
    pub fn empty(server: &Server) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let port =
            50_000 + ((std::process::id() as u16) % 97) * 100 + NEXT.fetch_add(1, Ordering::Relaxed) % 100;
        Self { server: server.clone(), dir: scratch(), port }
    }

    /// `initdb` with checksums and WAL segments of 1 MB, with `settings` after those that every test wants.
    pub fn init(server: &Server, settings: &[(&str, &str)]) -> Self {
        let cluster = Self::empty(server);
        let data = cluster.pgdata();
        let args = ["-U", "postgres", "-A", "trust", "-N", "-k", "-E", "UTF8", "--locale=C"];
        let mut initdb = cluster.command("initdb");
        initdb.args(args);
        if server.major != "10" {
            initdb.arg("--wal-segsize=1");
        }
        cluster.done(initdb.arg("-D").arg(&data));
        let old = ["10", "11", "12"].contains(&server.major.as_str());
        cluster.configure(&[
            ("listen_addresses", ""),
            ("fsync", "off"),
            ("shared_buffers", "16MB"),
            if old { ("wal_keep_segments", "1000") } else { ("wal_keep_size", "1GB") },
            ("wal_level", "replica"),
            ("hot_standby", "on"),
            ("max_wal_senders", "5"),
            ("max_connections", "20"),
            ("autovacuum", "off"),
            ("wal_retrieve_retry_interval", "100ms"),
            // a test that waits for ever says nothing
            ("lock_timeout", "20s"),
            ("statement_timeout", "60s"),
        ]);
        cluster.configure(settings);
        cluster
    }

    /// The installation it runs with.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// The data directory.
    pub fn pgdata(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The directory with socket and log, removed with the cluster.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server's log.
    pub fn log(&self) -> String {
        std::fs::read(self.dir.path().join("log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// A program of the installation, run as the user whom the server runs as.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.server.bin.join(program));
        for (name, _) in std::env::vars_os().filter(|(n, _)| n.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC").env("HOME", self.dir.path()).current_dir(self.dir.path());
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Runs a program to its successful end; its output.
    pub fn done(&self, command: &mut Command) -> String {
        let output = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        assert!(
            output.status.success(),
            "PostgreSQL {}: {command:?}: {}\n{}{}\n{}",
            self.server.major,
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Adds lines to postgresql.conf.
    pub fn configure(&self, settings: &[(&str, &str)]) {
        let path = self.pgdata().join("postgresql.conf");
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("postgresql.conf");
        for (name, value) in settings {
            writeln!(file, "{name} = '{}'", value.replace('\'', "''")).expect("postgresql.conf");
        }
    }

    /// Starts the server and waits until it takes connections.
    pub fn start(&self) {
        let options = format!("-k {} -p {}", self.dir.path().display(), self.port);
        let log = self.dir.path().join("log");
        self.done(self.pg_ctl("start").args(["-w", "-t", "60", "-o", &options, "-l"]).arg(log));
    }

    /// Stops the server.
    pub fn stop(&self, mode: Mode) {
        self.done(self.pg_ctl("stop").args(["-w", "-t", "60", "-m", mode.name()]));
    }

    fn pg_ctl(&self, what: &str) -> Command {
        let mut command = self.command("pg_ctl");
        command.arg(what).arg("-D").arg(self.pgdata());
        command
    }

    /// True between start and stop.
    pub fn running(&self) -> bool {
        self.pgdata().join("postmaster.pid").exists()
    }

    /// Runs statements in database `postgres`; rows come back as lines with `|` between columns.
    pub fn sql(&self, text: &str) -> String {
        self.sql_in("postgres", text)
    }

    /// Runs statements in a database.
    pub fn sql_in(&self, database: &str, text: &str) -> String {
        let output = self.psql(database, text);
        assert!(
            output.status.success(),
            "PostgreSQL {}: {text}\n{}\n{}",
            self.server.major,
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Runs statements that may fail, in database `postgres`.
    pub fn try_sql(&self, text: &str) -> Output {
        self.psql("postgres", text)
    }

    fn psql_command(&self, database: &str) -> Command {
        let mut command = self.command("psql");
        command
            .args(["-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-f", "-", "-d", database, "-h"])
            .arg(self.dir.path())
            .args(["-p", &self.port.to_string()])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A client program that connects to this server.
    pub fn client(&self, program: &str) -> Command {
        let mut command = self.command(program);
        command.args(["-U", "postgres", "-p", &self.port.to_string(), "-h"]).arg(self.dir.path());
        command
    }

    /// A session of its own in database `postgres`, for transactions that stay open.
    pub fn session(&self, name: &'static str) -> Session {
        let mut command = self.psql_command("postgres");
        let mut child = command.env("PGAPPNAME", name).stdout(Stdio::null()).spawn().expect("psql");
        let input = child.stdin.take();
        Session { child, input, name, sent: 0 }
    }

    fn psql(&self, database: &str, text: &str) -> Output {
        let mut child = self.psql_command(database).stdout(Stdio::piped()).spawn().expect("psql");
        let mut input = child.stdin.take().expect("stdin");
        let text = text.to_owned();
        let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
        let output = child.wait_with_output().expect("psql");
        drop(writer.join());
        output
    }

    /// A streaming standby of this running server, made by pg_basebackup, not yet started.
    pub fn standby(&self) -> Self {
        let copy = Self::empty(&self.server);
        let mut command = copy.command("pg_basebackup");
        command
            .args(["-U", "postgres", "-X", "stream", "-c", "fast", "--no-sync", "-h"])
            .arg(self.dir.path());
        for old in self.sql("SELECT pg_tablespace_location(oid) FROM pg_tablespace").lines() {
            if old.starts_with('/') {
                let name = Path::new(old).file_name().expect("name").to_string_lossy().into_owned();
                let new = copy.dir.path().join(name);
                command.arg(format!("--tablespace-mapping={old}={}", new.display()));
            }
        }
        copy.done(command.args(["-p", &self.port.to_string(), "-D"]).arg(copy.pgdata()));
        copy.follow(self);
        copy
    }

    /// How to connect to the server.
    pub fn conninfo(&self) -> String {
        format!("host={} port={} user=postgres", self.dir.path().display(), self.port)
    }

    /// Makes this a standby of `primary` at the next start.
    pub fn follow(&self, primary: &Self) {
        let conninfo = primary.conninfo();
        if ["10", "11"].contains(&self.server.major.as_str()) {
            let file = self.pgdata().join("recovery.conf");
            let lines = format!(
                "standby_mode = on\nprimary_conninfo = '{conninfo}'\nrecovery_target_timeline = latest\n"
            );
            std::fs::write(&file, lines).expect("recovery.conf");
            give_away(&file);
            return;
        }
        self.configure(&[("primary_conninfo", &conninfo), ("recovery_target_timeline", "latest")]);
        let signal = self.pgdata().join("standby.signal");
        std::fs::write(&signal, "").expect("standby.signal");
        give_away(&signal);
    }

    /// A copy of the data directory of this stopped (or crashed) server.
    pub fn copy(&self) -> Self {
        self.copy_by("-a")
    }

    /// A copy whose files are the same files (hard links): for those who replace files and write into none.
    pub fn linked_copy(&self) -> Self {
        self.copy_by("-al")
    }

    fn copy_by(&self, how: &str) -> Self {
        assert!(!self.running() || !self.alive(), "copied while it runs");
        let copy = Self::empty(&self.server);
        let cp = |from: &Path, to: &Path| {
            let output = Command::new("cp").arg(how).arg(from).arg(to).output().expect("cp");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        };
        cp(&self.pgdata(), &copy.pgdata());
        // its own tablespaces, and a WAL directory of its own where that lies elsewhere
        let links = std::fs::read_dir(copy.pgdata().join("pg_tblspc")).expect("list");
        let links = links.map(|e| e.expect("entry").path()).chain([copy.pgdata().join("pg_wal")]);
        for link in links.filter(|l| l.is_symlink()) {
            let old = std::fs::read_link(&link).expect("link");
            let new = copy.dir.path().join(old.file_name().expect("name"));
            cp(&old, &new);
            std::fs::remove_file(&link).expect("link");
            std::os::unix::fs::symlink(&new, &link).expect("link");
            if let Some((uid, gid)) = other_user() {
                std::os::unix::fs::lchown(&link, Some(uid), Some(gid)).expect("owner");
            }
        }
        copy
    }

    /// Waits until this standby has replayed what `primary` has flushed.
    pub fn wait_for(&self, primary: &Self) {
        let wanted = primary.sql("SELECT pg_current_wal_flush_lsn()");
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.sql(&format!("SELECT pg_last_wal_replay_lsn() >= '{wanted}'")) != "t" {
            assert!(Instant::now() < deadline, "{wanted} is not replayed\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Promotes this standby and waits until it is a primary.
    pub fn promote(&self) {
        self.done(self.pg_ctl("promote").args(["-w", "-t", "60"]));
    }

    fn pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.pgdata().join("postmaster.pid"))
            .ok()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()
    }

    fn alive(&self) -> bool {
        self.pid()
            .and_then(rustix::process::Pid::from_raw)
            .is_some_and(|p| rustix::process::test_kill_process(p).is_ok())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::env::var_os("FORKPOINT_KEEP_CLUSTERS").is_some() {
            self.dir.disable_cleanup(true);
            eprintln!("kept: {}", self.dir.path().display());
        }
        if !self.running() {
            return;
        }
        let stopped = self.pg_ctl("stop").args(["-w", "-t", "20", "-m", "immediate"]).output();
        let gone = stopped.is_ok_and(|o| o.status.success());
        if !gone && let Some(pid) = self.pid().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
}

/// A session that stays open between statements; dropped, it is ended.
#[derive(Debug)]
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    name: &'static str,
    sent: u32,
}

impl Session {
    /// Runs statements and waits until the server has done them.
    pub fn run(&mut self, cluster: &Cluster, text: &str) {
        self.sent += 1;
        let marker = format!("{} has sent {}", self.name, self.sent);
        let input = self.input.as_mut().expect("open");
        writeln!(input, "{text}; SELECT '{marker}';").and_then(|()| input.flush()).expect("psql");
        let done = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = '{}' AND state LIKE 'idle%' \
             AND query LIKE '%{marker}%'",
            self.name
        );
        let deadline = Instant::now() + Duration::from_secs(30);
        while cluster.sql(&done) != "1" {
            assert!(Instant::now() < deadline, "{text}: not done\n{}", cluster.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        drop(self.input.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// What can be seen of a file without opening it for writing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    mode: u32,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    inode: u64,
    content: Vec<u8>,
}

/// Every entry of a tree with mode, size, times and the hash of its content.
pub fn snapshot(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = std::fs::symlink_metadata(&path).expect("stat");
        let content = if meta.is_dir() {
            todo.extend(std::fs::read_dir(&path).expect("list").map(|e| e.expect("entry").path()));
            Vec::new()
        } else if meta.is_file() {
            Sha256::digest(std::fs::read(&path).expect("read")).to_vec()
        } else {
            Vec::new()
        };
        let entry = Seen {
            mode: meta.permissions().mode(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
            inode: meta.ino(),
            content,
        };
        seen.insert(path, entry);
    }
    seen
}
