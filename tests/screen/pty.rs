//! The real program in a pseudo-terminal, and what that terminal shows.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZero;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A program on a terminal of its own.
pub struct Pty {
    child: Child,
    master: Option<OwnedFd>,
    terminal: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    written: Arc<Mutex<Vec<u8>>>,
    /// Reads until the end, or until it is to let go of the terminal.
    reader: Option<thread::JoinHandle<()>>,
    lets_go: Arc<AtomicBool>,
}

fn at_least_one(n: u16) -> NonZero<u16> {
    NonZero::new(n).unwrap()
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

impl Pty {
    /// Starts `forkpoint ARGS` on a terminal of this size.
    pub fn start(args: &[&str], size: (u16, u16), folder: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new("setsid");
        command.args(["--ctty", "--wait", env!("CARGO_BIN_EXE_forkpoint")]).args(args);
        command.current_dir(folder).env("TERM", "xterm-256color").env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        command.env_remove("NO_COLOR").envs(environment.iter().copied());
        Self::run(command, size)
    }

    /// Runs a command on a terminal of this size.
    pub fn run(mut command: Command, size: (u16, u16)) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let terminal =
            rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap();
        tcsetwinsize(&terminal, winsize(size)).unwrap();
        let stdio = || Stdio::from(terminal.try_clone().unwrap());
        let child = command.stdin(stdio()).stdout(stdio()).stderr(stdio()).spawn().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(at_least_one(size.1), at_least_one(size.0), 0)));
        let written = Arc::new(Mutex::new(Vec::new()));
        let (parser, all) = (Arc::clone(&screen), Arc::clone(&written));
        let mut output = File::from(master.try_clone().unwrap());
        let lets_go = Arc::new(AtomicBool::new(false));
        let over = Arc::clone(&lets_go);
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4096];
            let patience = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
            while !over.load(Ordering::Relaxed) {
                if poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&patience)).unwrap_or(1) == 0 {
                    continue;
                }
                let Ok(n @ 1..) = output.read(&mut buffer) else { return };
                parser.lock().unwrap().process(&buffer[..n]);
                all.lock().unwrap().extend_from_slice(&buffer[..n]);
            }
        });
        Self { child, master: Some(master), terminal, screen, written, reader: Some(reader), lets_go }
    }

    /// Closes the terminal, as where the connection breaks.
    pub fn hang_up(&mut self) {
        self.lets_go.store(true, Ordering::Relaxed);
        self.reader.take().unwrap().join().unwrap();
        self.master = None;
    }

    fn master(&self) -> &OwnedFd {
        self.master.as_ref().unwrap()
    }

    /// Everything that the program wrote.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().unwrap()).into_owned()
    }

    /// The modes of the terminal.
    pub fn modes(&self) -> Termios {
        tcgetattr(self.terminal.as_fd()).unwrap()
    }

    pub fn type_keys(&mut self, keys: &str) {
        File::from(self.master().try_clone().unwrap()).write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.screen.lock().unwrap().screen_mut().set_size(at_least_one(size.1), at_least_one(size.0));
        tcsetwinsize(self.master(), winsize(size)).unwrap();
    }

    /// The text that the terminal shows.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// The screen, cell by cell.
    pub fn look<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    /// Waits until the terminal shows this.
    #[track_caller]
    pub fn wait_for(&self, text: &str) {
        self.wait(text, |shown| shown.contains(text));
    }

    /// Waits until what the terminal shows is as wanted.
    #[track_caller]
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        let begin = Instant::now();
        while !wanted(&self.text()) {
            assert!(begin.elapsed() < PATIENCE, "{what:?} never came:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until nothing runs any more and the screen stands still.
    pub fn settle(&self) {
        let begin = Instant::now();
        let mut last = (Instant::now(), self.text());
        loop {
            thread::sleep(Duration::from_millis(50));
            let now = self.text();
            if now != last.1 || now.contains("Ctrl-C stops") {
                last = (Instant::now(), now);
            } else if last.0.elapsed() > Duration::from_millis(400) {
                return;
            }
            assert!(begin.elapsed() < PATIENCE, "it never stands still:\n{}", last.1);
        }
    }

    /// The process itself, below `setsid`.
    pub fn pid(&self) -> rustix::process::Pid {
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let begin = Instant::now();
        loop {
            let text = std::fs::read_to_string(&children).unwrap_or_default();
            // setsid forks only where it leads a group; else it became the program itself
            let pid =
                text.split_whitespace().next().and_then(|p| p.parse().ok()).unwrap_or(self.child.id() as i32);
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            if name.trim() == "forkpoint" {
                return rustix::process::Pid::from_raw(pid).unwrap();
            }
            assert!(begin.elapsed() < PATIENCE, "the program never starts");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits for the end; the exit status, or the signal as a negative number.
    pub fn end(&mut self) -> i32 {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().unwrap_or_else(|| -status.signal().unwrap_or_default());
            }
            assert!(begin.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether two sets of modes are the same.
pub fn same_modes(a: &Termios, b: &Termios) -> bool {
    a.input_modes == b.input_modes
        && a.output_modes == b.output_modes
        && a.local_modes == b.local_modes
        && a.control_modes == b.control_modes
}
