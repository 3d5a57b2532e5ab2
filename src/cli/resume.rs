//! `forkpoint resume`.

use std::path::PathBuf;

use clap::Args;

use super::apply::{Verified, verify};
use super::console::Console;
use super::exit::{self, Failure};
use super::rewinding::{absolute, as_owner, changing, failed, undo_dir};
use crate::report::words;
use crate::rewind::{Going, RealDisk, resume};

/// Arguments of `forkpoint resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Data directory whose rewind was interrupted
    pub target: PathBuf,
    /// Where the undo store was made, if the directory does not say
    #[arg(long, value_name = "DIR")]
    pub undo_dir: Option<PathBuf>,
    /// Nothing is asked anyway: for scripts that say it to every command
    #[arg(short, long)]
    pub yes: bool,
    /// Threads that copy
    #[arg(long, value_name = "N", default_value_t = super::apply::THREADS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// As of forkpoint apply; without it what apply was asked for is looked at, and with none the result is taken as it is
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "written")]
    pub verify: Option<Verified>,
}

/// Runs the command.
pub fn run(args: &ResumeArgs, console: &Console) -> Result<u8, Failure> {
    let target = absolute(&args.target)?;
    as_owner(&target)?;
    let undo_dir = undo_dir(args.undo_dir.as_deref(), false)?;
    let going =
        Going { threads: usize::from(args.threads), verify: args.verify.map(verify), ..Going::default() };
    changing();
    let disk = RealDisk::new();
    let result = console.watch(|progress| resume(&target, undo_dir.as_deref(), &going, &disk, progress));
    let outcome = result.map_err(|error| failed(&error, &target, undo_dir.as_deref()))?;
    console.note(&format!("the rewind of {} is finished", words::path(&target)));
    super::apply::afterwards(&target, &outcome, console);
    Ok(exit::DONE)
}
