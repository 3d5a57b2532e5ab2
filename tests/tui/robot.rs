//! Keys in, frames out: the screen over a bundled pair, without a terminal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use crossterm::event::{Event as TerminalEvent, KeyCode, KeyEvent, KeyModifiers};
use forkpoint::diagnosis::engine::{Options, Progress};
use forkpoint::tui::app::{App, Effect, Go};
use forkpoint::tui::executor::{Command, Ended, Executor};
use forkpoint::tui::jobs::Event;
use forkpoint::tui::look::Look;
use forkpoint::tui::start::{self, Start, What};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};

/// The directory of a test that another user's process runs, which may not write where the build lies.
pub const FOLDER: &str = "FORKPOINT_SCREEN_FOLDER";

/// Frames show paths: all tests work in one directory, and name what is in it. It stays, so that pairs are unpacked once;
/// what an earlier run exported goes.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os(FOLDER).map(PathBuf::from);
    let place = given.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("screen"));
    std::fs::create_dir_all(&place).unwrap();
    for entry in std::fs::read_dir(&place).unwrap().map(Result::unwrap) {
        if entry.file_name().to_string_lossy().starts_with("forkpoint-") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    std::env::set_current_dir(&place).unwrap();
    place
});

/// A bundled pair, unpacked once; its directories are `NAME/target` and `NAME/source`.
pub fn pair(name: &str) -> PathBuf {
    static UNPACKED: Mutex<()> = Mutex::new(());
    let _one_at_a_time = UNPACKED.lock().unwrap();
    let whole = PLACE.join(name);
    if !whole.exists() {
        let half = PLACE.join(format!("{name}.half"));
        let _ = std::fs::remove_dir_all(&half);
        unpack(name, &half);
        std::fs::rename(&half, &whole).unwrap();
    }
    PathBuf::from(name)
}

/// Unpacks a bundled pair into a directory.
pub fn unpack(name: &str, into: &Path) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name).join("pair.tar.zst");
    let bytes = std::fs::read(&file).unwrap();
    let stream = ruzstd::decoding::StreamingDecoder::new(&bytes[..]).unwrap();
    tar::Archive::new(stream).unpack(into).unwrap();
}

/// Stands for what carries out: it only notes what it was asked.
#[derive(Debug, Default)]
pub struct Noted(pub Mutex<Vec<Command>>);

impl Executor for Noted {
    fn execute(&self, command: &Command, _: &Progress) -> Ended {
        self.0.lock().unwrap().push(command.clone());
        Ended { done: true, lines: vec!["done by the stand-in".into()] }
    }
}

/// The screen, and what would reach the outside.
pub struct Robot {
    pub app: App,
    pub executor: Arc<Noted>,
    pub copied: Vec<String>,
    pub quit: bool,
    /// Carries out instead of the stand-in.
    pub carries_out: Option<Arc<dyn Executor>>,
    pub look: Look,
    size: (u16, u16),
}

/// Room for a message with any path in one line.
pub const WIDE: (u16, u16) = (200, 50);

impl Robot {
    /// Opens a bundled pair and waits until nothing runs any more.
    pub fn open(name: &str, size: (u16, u16)) -> Self {
        let mut robot = Self::opening(name, size);
        robot.settle();
        robot
    }

    /// Opens a bundled pair and waits for nothing.
    pub fn opening(name: &str, size: (u16, u16)) -> Self {
        let pair = pair(name);
        let archive = pair.join("archive");
        let options = Options {
            target: pair.join("target"),
            source: pair.join("source"),
            archives: archive.is_dir().then_some(archive).into_iter().collect(),
            restore_command: None,
            threads: 1,
            scan_source: true,
            blocks_only: false,
        };
        Self::start(What::Pair(Box::new(options)), size, false)
    }

    pub fn start(what: What, size: (u16, u16), read_only: bool) -> Self {
        let look = Look { color: true, unicode: true };
        let start = Start { what, read_only, look, mouse: true, folder: PLACE.clone() };
        let (executor, copied) = (Arc::default(), Vec::new());
        Self { app: start::app(start), executor, copied, quit: false, carries_out: None, look, size }
    }

    /// Waits until no work runs, and takes what it says.
    pub fn settle(&mut self) {
        let begin = Instant::now();
        loop {
            while let Some(event) = self.app.jobs.at_hand() {
                self.event(event);
            }
            if self.app.jobs.running().is_empty() {
                return;
            }
            if let Some(event) = self.app.jobs.next(Duration::from_millis(20)) {
                self.event(event);
            }
            assert!(begin.elapsed() < Duration::from_secs(300), "{:?} never ends", self.app.jobs.running());
        }
    }

    /// Another view sends the user somewhere.
    pub fn go(&mut self, go: Go) {
        let effects = self.app.go(go);
        self.effects(effects);
        self.settle();
    }

    pub fn event(&mut self, event: Event) {
        let effects = self.app.update(event);
        self.effects(effects);
    }

    fn effects(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Quit => self.quit = true,
                Effect::Copy(text) => self.copied.push(text),
                Effect::Execute(command) => {
                    let noted = || Arc::clone(&self.executor) as Arc<dyn Executor>;
                    let executor = self.carries_out.clone().unwrap_or_else(noted);
                    self.app.jobs.start(start::execution(executor, *command));
                }
                _ => {}
            }
        }
    }

    pub fn press(&mut self, code: KeyCode, modifiers: KeyModifiers) {
        self.event(Event::Terminal(TerminalEvent::Key(KeyEvent::new(code, modifiers))));
    }

    /// Keys as they are typed; special ones in angle brackets: `5jj<Enter>/heap<Enter><Esc>`. Waits after each.
    pub fn keys(&mut self, keys: &str) -> &mut Self {
        let mut rest = keys;
        while let Some(c) = rest.chars().next() {
            let special = rest.strip_prefix('<').and_then(|r| r.split_once('>'));
            let (code, modifiers) = if let Some((name, after)) = special {
                rest = after;
                named(name)
            } else {
                rest = &rest[c.len_utf8()..];
                (KeyCode::Char(c), KeyModifiers::NONE)
            };
            self.press(code, modifiers);
            self.frame();
            self.settle();
        }
        self
    }

    pub fn resize(&mut self, size: (u16, u16)) {
        self.size = size;
    }

    pub fn buffer(&self) -> Buffer {
        let mut buffer = Buffer::empty(Rect::new(0, 0, self.size.0, self.size.1));
        self.app.draw(&mut buffer);
        self.look.finish(&mut buffer);
        buffer
    }

    /// The text of the frame, a line each, without blanks at the end.
    pub fn frame(&self) -> String {
        let buffer = self.buffer();
        let width = self.size.0 as usize;
        let mut out = String::new();
        for row in buffer.content.chunks(width.max(1)) {
            let line: String = row.iter().map(ratatui::buffer::Cell::symbol).collect();
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// The frame's text, and below it the styles: for each line the columns that are not plain.
    pub fn dump(&self) -> String {
        let buffer = self.buffer();
        let mut out = self.frame();
        out.push_str("---\n");
        for (y, row) in buffer.content.chunks((self.size.0 as usize).max(1)).enumerate() {
            let mut runs: Vec<(usize, usize, String)> = Vec::new();
            for (x, cell) in row.iter().enumerate() {
                let style = style_name(cell.style());
                match runs.last_mut() {
                    Some(run) if run.2 == style && run.1 == x => run.1 = x + 1,
                    _ => runs.push((x, x + 1, style)),
                }
            }
            let told: Vec<_> = runs
                .into_iter()
                .filter(|r| !r.2.is_empty())
                .map(|(from, to, style)| format!("{from}-{to} {style}"))
                .collect();
            if !told.is_empty() {
                writeln!(out, "{y}: {}", told.join(", ")).unwrap();
            }
        }
        out
    }

    /// The frame is the stored one; `UPDATE_FRAMES=1` stores it.
    pub fn check(&self, name: &str) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tui/frames").join(format!("{name}.txt"));
        let now = self.dump();
        if std::env::var_os("UPDATE_FRAMES").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &now).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == now, "{name} differs (UPDATE_FRAMES=1 stores it):\n{now}\nstored:\n{stored}");
    }

    /// The frame shows this.
    #[track_caller]
    pub fn shows(&mut self, text: &str) -> &mut Self {
        let frame = self.frame();
        assert!(frame.contains(text) || boxed(&frame).contains(text), "{text:?} is not in\n{frame}");
        self
    }
}

/// What stands in the box in front, in one line: where its lines break depends on how long paths are.
fn boxed(frame: &str) -> String {
    let inside = frame.lines().filter_map(|line| line.split('│').nth(1));
    inside.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ")
}

fn named(name: &str) -> (KeyCode, KeyModifiers) {
    let none = KeyModifiers::NONE;
    match name {
        "Enter" => (KeyCode::Enter, none),
        "Esc" => (KeyCode::Esc, none),
        "Tab" => (KeyCode::Tab, none),
        "BackTab" => (KeyCode::BackTab, none),
        "Up" => (KeyCode::Up, none),
        "Down" => (KeyCode::Down, none),
        "Left" => (KeyCode::Left, none),
        "Right" => (KeyCode::Right, none),
        "PageUp" => (KeyCode::PageUp, none),
        "PageDown" => (KeyCode::PageDown, none),
        "Home" => (KeyCode::Home, none),
        "End" => (KeyCode::End, none),
        "Backspace" => (KeyCode::Backspace, none),
        "C-c" => (KeyCode::Char('c'), KeyModifiers::CONTROL),
        "C-z" => (KeyCode::Char('z'), KeyModifiers::CONTROL),
        "C-u" => (KeyCode::Char('u'), KeyModifiers::CONTROL),
        other => panic!("no key {other}"),
    }
}

fn style_name(style: Style) -> String {
    let mut words = Vec::new();
    for (color, what) in [(style.fg, "fg"), (style.bg, "bg")] {
        if let Some(color) = color.filter(|c| *c != ratatui::style::Color::Reset) {
            words.push(format!("{what}={color}"));
        }
    }
    for (modifier, name) in [
        (Modifier::BOLD, "bold"),
        (Modifier::DIM, "dim"),
        (Modifier::UNDERLINED, "underlined"),
        (Modifier::REVERSED, "reversed"),
    ] {
        if style.add_modifier.contains(modifier) {
            words.push(name.into());
        }
    }
    words.join(" ")
}
