//! `forkpoint undo`.

use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use super::exit::{self, Failure};
use super::rewinding::{absolute, before, changing, confirm};
use crate::report::words;
use crate::rewind::{RealDisk, discard, undo};

/// Arguments of `forkpoint undo`.
#[derive(Debug, Args)]
pub struct UndoArgs {
    /// Data directory that was rewound
    pub target: PathBuf,
    /// Where the undo store was made, if the directory does not say
    #[arg(long, value_name = "DIR")]
    pub undo_dir: Option<PathBuf>,
    /// Put nothing back: remove the undo store. What the rewind took away, WAL and rows, is gone then
    #[arg(long)]
    pub discard: bool,
    /// Do not ask before the store is removed
    #[arg(short, long)]
    pub yes: bool,
}

/// Runs the command.
pub fn run(args: &UndoArgs, console: &Console) -> Result<u8, Failure> {
    let target = absolute(&args.target)?;
    let undo_dir = args.undo_dir.as_deref().map(absolute).transpose()?;
    let disk = RealDisk::new();
    if args.discard {
        if !args.yes {
            let lines = ["The undo store goes away, and with it all that the rewind took from the data directory: its WAL, its \
                          rows, and the way back."
                .to_owned()];
            confirm(&lines, "discard", "Say with --yes that the store may go.")?;
        }
        changing();
        let store = discard(&target, undo_dir.as_deref(), &disk).map_err(|e| before(&e.trouble))?;
        console.note(&format!("{} is removed", words::path(&store)));
        return Ok(exit::DONE);
    }
    changing();
    let result = console.watch(|progress| undo(&target, undo_dir.as_deref(), &disk, progress));
    let store = result.map_err(|error| {
        if !error.halfway {
            return before(&error.trouble);
        }
        let (what, shown) = (error.trouble.to_string(), words::path(&target));
        let text = format!(
            "{}. {shown} is half-way: run forkpoint undo {shown} again when that is mended. forkpoint status {shown} says \
             more.",
            what.trim_end_matches('.')
        );
        Failure::new(exit::HALFWAY, text)
    })?;
    let shown = words::path(&target);
    console.note(&format!(
        "{shown} is what it was before the rewind; forkpoint undo {shown} --discard removes {}",
        words::path(&store)
    ));
    Ok(exit::DONE)
}
