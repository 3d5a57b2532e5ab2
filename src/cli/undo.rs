//! `forkpoint undo`.

use std::path::PathBuf;

use clap::Args;

use super::console::Console;
use super::exit::{self, Failure};
use super::rewinding::{absolute, as_owner, before, changing, confirm, failed, not_ready, undo_dir};
use crate::report::{question, words};
use crate::rewind::quiet::{self, quiet};
use crate::rewind::{RealDisk, discard, ready_to_undo, undo};

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
    /// Do not ask before the store is removed, or before what a server did since the rewind is thrown away
    #[arg(short, long)]
    pub yes: bool,
}

/// Runs the command.
pub fn run(args: &UndoArgs, console: &Console) -> Result<u8, Failure> {
    let target = absolute(&args.target)?;
    as_owner(&target)?;
    let undo_dir = undo_dir(args.undo_dir.as_deref(), false)?;
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
    let watch = || {
        let seconds = quiet::WATCH.as_secs();
        console.note(&format!("the server was not shut down: watching the directory for {seconds} s"));
        console.watch(|progress| quiet(&disk, &target, quiet::WATCH, progress))
    };
    let drops = ready_to_undo((&target, undo_dir.as_deref()), &disk, watch)
        .map_err(|why| not_ready(why, &target, ""))?;
    if drops && !args.yes {
        let lines = [question::drops_work(&target)];
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        confirm(&lines, &name, "Say with --yes that it may go.")?;
    }
    changing();
    let result = console.watch(|progress| undo(&target, undo_dir.as_deref(), &disk, progress));
    let store = result.map_err(|error| failed(&error, &target, undo_dir.as_deref()))?;
    let shown = words::path(&target);
    console.note(&format!(
        "{shown} is what it was before the rewind; forkpoint undo {shown} --discard removes {}",
        words::path(&store)
    ));
    Ok(exit::DONE)
}
