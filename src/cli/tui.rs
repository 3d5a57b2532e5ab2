//! `forkpoint TARGET SOURCE`, `forkpoint tui` and `forkpoint view`: the screen.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::apply::THREADS;
use super::args::{Format, WalArgs, check_archives};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::report::{self, ReportArgs};
use super::rewinding::{absolute, after_a_bug};
use crate::diagnosis::engine;
use crate::plan::load;
use crate::report::{plan, text, words};
use crate::rewind::{RealDisk, status};
use crate::tui::executor::{Executor, RealExecutor};
use crate::tui::look::Look;
use crate::tui::saved::Picture;
use crate::tui::{self, Over, ScreenError, Start, What};

/// Arguments of `forkpoint tui`.
#[derive(Debug, Args)]
pub struct TuiArgs {
    /// Data directory of the old primary (or a snapshot of it) that will not rejoin
    pub target: PathBuf,
    /// Data directory of the new primary (or a snapshot of it)
    pub source: PathBuf,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// How the screen is drawn.
    #[command(flatten)]
    pub screen: ScreenArgs,
    /// Where the undo store is made; beside the target if not given
    #[arg(long, value_name = "DIR", conflicts_with = "read_only")]
    pub undo_dir: Option<PathBuf>,
}

/// How the screen is drawn.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct ScreenArgs {
    /// Remove everything that carries a plan out. Exports (e) still write the new file that they ask for, never into a
    /// data directory
    #[arg(long)]
    pub read_only: bool,
    /// Only ASCII, for terminals without box characters
    #[arg(long)]
    pub ascii: bool,
    /// Leave the mouse to the terminal
    #[arg(long)]
    pub no_mouse: bool,
}

/// Arguments of `forkpoint view`.
#[derive(Debug, Args)]
pub struct ViewArgs {
    /// What forkpoint report --format json or forkpoint plan -o wrote
    pub file: PathBuf,
    /// How the screen is drawn.
    #[command(flatten)]
    pub screen: ScreenArgs,
}

/// What tells a plan from a report.
#[derive(serde::Deserialize)]
struct Looked {
    entries: Option<serde::de::IgnoredAny>,
}

/// With two directories and no subcommand, the screen is meant: the arguments with `tui` put in.
pub fn arguments(args: Vec<OsString>) -> Vec<OsString> {
    let known = super::args::command();
    let mut rest = args.iter().skip(1);
    while let Some(arg) = rest.next() {
        if arg == "--color" {
            rest.next();
        } else if known.find_subcommand(arg).is_some() || arg == "help" {
            return args;
        } else if !arg.as_encoded_bytes().starts_with(b"-")
            && (Path::new(arg).is_dir() || arg.as_encoded_bytes().contains(&b'/'))
        {
            let mut args = args;
            args.insert(1, "tui".into());
            return args;
        }
    }
    args
}

/// Runs `forkpoint tui`; without a terminal it is the text report.
pub fn run(args: TuiArgs, console: &Console) -> Result<u8, Failure> {
    if !on_a_terminal() {
        let report = ReportArgs {
            target: args.target,
            source: args.source,
            wal: args.wal,
            format: Format::Text,
            output: None,
            exit_code: false,
            log: None,
            rows: false,
            no_source_wal: false,
        };
        return report::run(report, console);
    }
    check_archives(&args.wal.wal_archive)?;
    let undo_dir = args.undo_dir.as_deref().map(absolute).transpose()?;
    for directory in [&args.target, &args.source] {
        let readable = engine::control(directory);
        // a rewind that is half-way has set the control file aside, and can be gone on with from the screen
        let begun = || status(directory, undo_dir.as_deref(), &RealDisk::new());
        if readable.is_err() && !begun().is_ok_and(|status| status.rewind.is_some()) {
            readable?;
        }
    }
    let options = args.wal.options(args.target, args.source, true);
    let executor = RealExecutor { threads: usize::from(THREADS), undo_dir };
    open(What::Pair(Box::new(options)), args.screen, console, (folder()?, executor))
}

/// Runs `forkpoint view`.
pub fn view(args: &ViewArgs, console: &Console) -> Result<u8, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| {
        Failure::new(exit::INPUT, format!("{}: {error}", words::path(&args.file)))
    };
    let json = std::fs::read(&args.file).map_err(|error| unreadable(&words::io(&error)))?;
    let plan = serde_json::from_slice(&json).is_ok_and(|looked: Looked| looked.entries.is_some());
    let what = if plan {
        What::Plan(Box::new(load(&args.file).map_err(|error| unreadable(&error))?))
    } else {
        What::Report(Box::new(Picture::read(&json).map_err(|error| unreadable(&error))?))
    };
    if on_a_terminal() {
        let executor = RealExecutor { threads: usize::from(THREADS), undo_dir: None };
        return open(what, ScreenArgs { read_only: true, ..args.screen }, console, (folder()?, executor));
    }
    match what {
        What::Plan(stored) => {
            let blocks = plan::content(&stored, console.detail());
            Output::Stdout.write(console, |out| text::render(&blocks, console.text_style(), out))?;
            Ok(exit::DONE)
        }
        _ => Err(Failure::new(exit::USAGE, "there is no terminal to show a stored report on")),
    }
}

/// The screen can be shown, and keys can be read.
pub fn on_a_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// Where exports go.
pub fn folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| Failure::new(exit::FAILED, error.to_string()))
}

/// Opens the screen: exports go to a directory, and what is carried out to the executor.
pub fn open(
    what: What,
    args: ScreenArgs,
    console: &Console,
    (folder, executor): (PathBuf, RealExecutor),
) -> Result<u8, Failure> {
    let look = Look { color: console.color, unicode: console.unicode && !args.ascii };
    let start = Start { what, read_only: args.read_only, look, mouse: !args.no_mouse, folder };
    let executor: Arc<dyn Executor> = Arc::new(executor);
    match tui::run(start, &executor) {
        Ok(Over::Quit) => Ok(exit::DONE),
        Ok(Over::Ended) => Err(Failure::new(exit::INTERRUPTED, "interrupted")),
        Err(ScreenError::Bug(text)) => {
            Err(Failure::new(exit::FAILED, format!("a bug: {text}. {}; please report it.", after_a_bug())))
        }
        Err(error) => Err(Failure::new(exit::FAILED, error.to_string())),
    }
}
