//! SQL for installations that lack psql: the protocol's simple queries over a socket.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Server, assert_success, scratch};

/// A server with a cluster of its own, listening only in its directory. Dropped, it is stopped and removed.
pub struct Running {
    server: Server,
    dir: tempfile::TempDir,
    stopped: bool,
}

const PORT: &str = "50099";

impl Running {
    /// Makes a cluster and starts it with these settings.
    pub fn start(server: &Server, settings: &[&str]) -> Self {
        let running = Self { server: server.clone(), dir: scratch(), stopped: false };
        server.initdb(&running.data(), &[]);
        let mut options = format!("-p {PORT} -F -c listen_addresses='' -k {}", running.dir.path().display());
        for setting in settings {
            options.extend([" -c ", setting]);
        }
        let log = running.dir.path().join("log");
        running.pg_ctl("start", |command| command.args(["-t", "60", "-o", &options, "-l"]).arg(log));
        running
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Runs statements, each in a transaction of its own, in database `postgres`.
    pub fn run<S: AsRef<str>>(&self, statements: impl IntoIterator<Item = S>) {
        let mut connection = Connection::open(self.dir.path());
        for statement in statements {
            connection.query(statement.as_ref());
        }
        connection.message(b'X', b"");
    }

    /// Stops the server with a checkpoint.
    pub fn stop(&mut self) {
        self.pg_ctl("stop", |command| command.args(["-t", "60", "-m", "fast"]));
        self.stopped = true;
    }

    fn pg_ctl(&self, what: &str, add: impl FnOnce(&mut Command) -> &mut Command) {
        let mut command = self.server.command("pg_ctl");
        add(command.arg(what).args(["-w", "-D"]).arg(self.data()));
        let output = command.stdin(Stdio::null()).stdout(Stdio::null()).output().unwrap();
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
        assert_success(&format!("pg_ctl {what} of {}: {log}", self.server.major), &output);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stopped {
            let mut command = self.server.command("pg_ctl");
            drop(command.args(["stop", "-m", "immediate", "-D"]).arg(self.data()).output());
        }
    }
}

struct Connection(UnixStream);

impl Connection {
    fn open(dir: &Path) -> Self {
        let mut connection = Self(UnixStream::connect(dir.join(format!(".s.PGSQL.{PORT}"))).unwrap());
        // version 3.0, then names and values
        let body = [&0x0003_0000_u32.to_be_bytes()[..], b"user\0postgres\0database\0postgres\0\0"].concat();
        connection.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).unwrap();
        connection.0.write_all(&body).unwrap();
        connection.until_ready("connecting");
        connection
    }

    fn message(&mut self, kind: u8, body: &[u8]) {
        let head = [&[kind][..], &(body.len() as u32 + 4).to_be_bytes()].concat();
        self.0.write_all(&head).and_then(|()| self.0.write_all(body)).unwrap();
    }

    fn query(&mut self, statement: &str) {
        self.message(b'Q', format!("{statement}\0").as_bytes());
        self.until_ready(statement);
    }

    /// Reads until the server waits for a query.
    fn until_ready(&mut self, what: &str) {
        loop {
            let mut head = [0; 5];
            self.0.read_exact(&mut head).unwrap();
            let len = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            let mut body = vec![0; len - 4];
            self.0.read_exact(&mut body).unwrap();
            match head[0] {
                b'Z' => return,
                b'E' => panic!(
                    "{}: {}",
                    what.chars().take(300).collect::<String>(),
                    String::from_utf8_lossy(&body).replace('\0', " ")
                ),
                _ => {}
            }
        }
    }
}
