//! The command line.

pub mod apply;
pub mod args;
pub mod before;
mod blocks;
pub mod completions;
pub mod console;
pub mod controldata;
pub mod demo;
pub mod demo_rewind;
pub mod exit;
pub mod folder;
pub mod lost;
pub mod man;
pub mod output;
pub mod plan;
pub mod report;
pub mod resume;
pub mod rewind;
mod rewinding;
pub mod schema;
pub mod snapshots;
pub mod status;
pub mod timelines;
pub mod tui;
pub mod undo;
pub mod waldump;

use std::ffi::OsString;
use std::io::Write;
use std::panic::{self, AssertUnwindSafe};

use clap::FromArgMatches;
use clap::error::ErrorKind;

use self::args::{Cli, Command};
use self::console::Console;
use self::exit::Failure;
use crate::report::words;

/// Runs the program with these arguments (the first is its name) and gives its exit status.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |l| format!(" at {}:{}", l.file(), l.line()));
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or_default();
        complain(&format!(
            "a bug{place}: {text}. {}; please report it with the command that you ran.",
            rewinding::after_a_bug()
        ));
    }));
    let args: Vec<OsString> = args.into_iter().collect();
    match panic::catch_unwind(AssertUnwindSafe(|| run(args))) {
        Ok(Ok(status)) => status,
        Ok(Err(failure)) => {
            complain(&failure.message);
            failure.status
        }
        Err(_) => exit::FAILED,
    }
}

/// One line on standard error, with the program's name before it.
pub fn complain(message: &str) {
    let _ = writeln!(std::io::stderr(), "forkpoint: {}", words::clean(&words::mask(message)));
}

fn run(args: Vec<OsString>) -> Result<u8, Failure> {
    if let Some((program, rest)) = rewind::called(&args) {
        return Ok(rewind::run(program, rest, &Console::quiet()));
    }
    if let Some(arguments) = waldump::arguments(&args) {
        return Ok(waldump::run(arguments));
    }
    let args = tui::arguments(args);
    let parsed = args::command().try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => return Ok(usage(&error)),
    };
    let console = Console::new(cli.console);
    match cli.command {
        Command::Report(args) => report::run(args, &console),
        Command::Tui(args) => tui::run(args, &console),
        Command::View(args) => tui::view(&args, &console),
        Command::Demo(args) => demo::run(&args, &console),
        Command::Controldata(args) => controldata::run(&args, &console),
        Command::Timelines(args) => timelines::run(&args, &console),
        Command::Blocks(args) => blocks::run(args, &console),
        Command::Plan(args) => plan::run(&args, &console),
        Command::Apply(args) => apply::run(&args, &console),
        Command::Resume(args) => resume::run(&args, &console),
        Command::Undo(args) => undo::run(&args, &console),
        Command::Status(args) => status::run(&args, &console),
        Command::Lost(args) => lost::run(args, &console),
        Command::Snapshots(args) => snapshots::run(args, &console),
        Command::Rewind(args) => Ok(rewind::run("forkpoint rewind", &args.args, &Console::quiet())),
        Command::Schema(args) => schema::run(&args, &console),
        Command::Completions(args) => completions::run(&args, &console),
        Command::Man(args) => man::run(&args, &console),
    }
}

/// Prints help, the version, or what is wrong with the command line.
fn usage(error: &clap::Error) -> u8 {
    let text = error.render().to_string();
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        // whoever closes the pipe has read enough
        let _ = std::io::stdout().write_all(text.as_bytes());
        return exit::DONE;
    }
    let text = words::mask(text.strip_prefix("error: ").unwrap_or(&text));
    let lines: Vec<_> = text.lines().map(words::clean).collect();
    let _ = writeln!(std::io::stderr(), "forkpoint: {}", lines.join("\n").trim_end());
    exit::USAGE
}
