//! The terminal: colours, letters, progress, interruption.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::args::{ConsoleArgs, When};
use super::exit;
use crate::diagnosis::engine::{Phase, Progress};
use crate::report::content::Detail;
use crate::report::text::TextStyle;

/// Work that is done sooner shows no progress.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the progress is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How to speak to this user.
#[derive(Debug, Clone)]
pub struct Console {
    /// Escape sequences on standard output.
    pub color: bool,
    /// Characters beyond ASCII on standard output.
    pub unicode: bool,
    /// Show everything.
    pub verbose: bool,
    /// Notes and progress on standard error.
    notes: bool,
    /// Set by a signal.
    interrupted: Arc<AtomicBool>,
    /// The signals are caught: a second pair of handlers would take the first signal for the second.
    caught: Arc<Once>,
}

/// What decides about colours and letters.
#[derive(Debug, Clone, Default)]
struct Surroundings {
    terminal: bool,
    no_color: bool,
    dumb: bool,
    utf8: bool,
}

impl Surroundings {
    fn here() -> Self {
        let var = |name| std::env::var_os(name).filter(|v| !v.is_empty());
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(var).unwrap_or_default();
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        Self {
            terminal: std::io::stdout().is_terminal(),
            no_color: var("NO_COLOR").is_some(),
            dumb: var("TERM").is_none_or(|term| term == "dumb"),
            utf8: locale.contains("utf-8") || locale.contains("utf8"),
        }
    }

    const fn color(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Never => false,
            When::Auto => self.terminal && !self.no_color && !self.dumb,
        }
    }

    /// A file or a pipe takes UTF-8; a terminal says by its locale what it can show.
    const fn unicode(&self) -> bool {
        !self.terminal || self.utf8
    }
}

impl Console {
    /// From the options and the environment.
    pub fn new(args: ConsoleArgs) -> Self {
        let here = Surroundings::here();
        Self {
            color: here.color(args.color),
            unicode: here.unicode(),
            verbose: args.verbose,
            notes: !args.quiet,
            interrupted: Arc::default(),
            caught: Arc::new(Once::new()),
        }
    }

    /// Without colours, notes and progress.
    pub fn quiet() -> Self {
        Self::new(ConsoleArgs { color: When::Never, quiet: true, verbose: false })
    }

    /// How text is drawn on standard output.
    pub fn text_style(&self) -> TextStyle {
        let width = terminal_width().unwrap_or(TextStyle::default().width);
        TextStyle { color: self.color, unicode: self.unicode, width }
    }

    /// How much is shown.
    pub const fn detail(&self) -> Detail {
        Detail { all: self.verbose }
    }

    /// Says something that is not part of the answer.
    pub fn note(&self, text: &str) {
        if self.notes {
            super::complain(text);
        }
    }

    /// Whether a signal came.
    pub fn interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The first signal asks the work to stop, the second ends the program.
    pub fn catch_signals(&self) {
        self.caught.call_once(|| {
            for signal in [SIGINT, SIGTERM] {
                let flag = &self.interrupted;
                let status = i32::from(exit::INTERRUPTED);
                // this order: the second handler sets what the first one looks at next time; where neither can be
                // installed, a signal simply ends the program
                let _ = signal_hook::flag::register_conditional_shutdown(signal, status, Arc::clone(flag));
                let _ = signal_hook::flag::register(signal, Arc::clone(flag));
            }
        });
    }

    /// Does the work, which a signal stops, and shows its progress if it takes long.
    pub fn watch<T>(&self, work: impl FnOnce(&Progress) -> T) -> T {
        self.catch_signals();
        let progress = Progress::with_cancel(Arc::clone(&self.interrupted));
        let done = AtomicBool::new(false);
        let show = self.notes && std::io::stderr().is_terminal();
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let start = Instant::now();
                let mut bar = None;
                while !done.load(Ordering::Acquire) {
                    if show && start.elapsed() >= PATIENCE {
                        update(bar.get_or_insert_with(new_bar), &progress);
                    }
                    thread::park_timeout(TICK);
                }
                if let Some(bar) = bar {
                    bar.finish_and_clear();
                }
            });
            let _finished = Finished { done: &done, watcher: watcher.thread() };
            work(&progress)
        })
    }
}

/// Columns of the terminal that standard output is, within what can be read well.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    // some say 0 for unknown
    (size.ws_col > 0).then(|| usize::from(size.ws_col).clamp(40, 110))
}

/// Ends the watcher, also when the work panics: the scope would wait for it forever.
struct Finished<'a> {
    done: &'a AtomicBool,
    watcher: &'a thread::Thread,
}

impl Drop for Finished<'_> {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Release);
        self.watcher.unpark();
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let template = "{msg} [{bar:24}] {bytes}/{total_bytes}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn update(bar: &ProgressBar, progress: &Progress) {
    let (done, total) = progress.bytes();
    bar.set_message(match progress.phase() {
        Phase::Opening => "opening",
        Phase::Comparing => "comparing",
        Phase::ScanningTarget => "reading the target's WAL",
        Phase::ScanningSource => "reading the source's WAL",
        Phase::Naming => "naming relations",
        Phase::ReadingPages => "looking at the target's pages",
        Phase::Concluding => "concluding",
        Phase::Rewinding => "rewinding",
        Phase::Syncing => "syncing",
        Phase::Verifying => "reading back",
        Phase::Undoing => "putting back",
        Phase::Collecting => "collecting rows",
        Phase::Cloning => "cloning the target",
    });
    bar.set_length(total);
    bar.set_position(done);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_only_where_it_is_wanted() {
        let terminal = Surroundings { terminal: true, utf8: true, ..Surroundings::default() };
        assert!(terminal.color(When::Auto) && terminal.unicode());
        for without in [
            Surroundings { no_color: true, ..terminal.clone() },
            Surroundings { dumb: true, ..terminal.clone() },
            Surroundings { terminal: false, ..terminal.clone() },
        ] {
            assert!(!without.color(When::Auto));
            assert!(without.color(When::Always));
        }
        assert!(!terminal.color(When::Never));
        assert!(!Surroundings { utf8: false, ..terminal }.unicode());
    }

    #[test]
    fn the_first_signal_only_asks_however_often_they_are_caught() {
        let console = Console::new(ConsoleArgs { color: When::Never, quiet: true, verbose: false });
        console.catch_signals();
        let stopped = console.watch(|progress| {
            // twice registered, this would end the tests
            let _ = signal_hook::low_level::raise(SIGTERM);
            progress.check().is_err()
        });
        assert!(stopped && console.interrupted());
    }

    #[test]
    fn a_signal_reaches_the_work() {
        // no handlers: another test raises a signal, and this flag would take it for the second
        let caught = Once::new();
        caught.call_once(|| {});
        let console = Console {
            color: false,
            unicode: false,
            verbose: false,
            notes: false,
            interrupted: Arc::new(AtomicBool::new(true)),
            caught: Arc::new(caught),
        };
        let start = Instant::now();
        let stopped = console.watch(|progress| {
            while progress.check().is_ok() && start.elapsed() < Duration::from_secs(10) {
                thread::sleep(Duration::from_millis(1));
            }
            progress.check().is_err()
        });
        assert!(stopped && start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}
