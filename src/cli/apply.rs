//! `forkpoint apply`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};

use super::console::Console;
use super::exit::{self, Failure};
use super::rewinding::{absolute, before, changing, confirm, failed, not_ready, undo_dir};
use crate::plan::{self, Plan, load};
use crate::report::{json, question, words};
use crate::rewind::quiet::{self, quiet};
use crate::rewind::{Keep, Options, Outcome, RealDisk, SyncMethod, Verify, apply, ready};

/// More threads wait for each other on most disks.
pub const THREADS: u16 = 4;

/// Arguments of `forkpoint apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file that forkpoint plan -o wrote
    pub plan: PathBuf,
    /// The target, if it lies elsewhere by now
    #[arg(long, value_name = "DIR")]
    pub target: Option<PathBuf>,
    /// The source, if it lies elsewhere by now
    #[arg(long, value_name = "DIR")]
    pub source: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Where the undo store is made; beside the target if not given
    #[arg(long, value_name = "DIR")]
    pub undo_dir: Option<PathBuf>,
    /// What is kept for the way back. A clone of the whole target takes no time or room to speak of where the filesystem
    /// can share blocks, and a way back that stays open after a server has started on the result
    #[arg(long, value_enum, value_name = "WHAT", default_value = "auto", conflicts_with = "no_undo")]
    pub undo: Undo,
    /// Keep nothing of what changes: there is no way back, and an interruption can only be resumed
    #[arg(long)]
    pub no_undo: bool,
    /// How what was written reaches the disk
    #[arg(long, value_enum, default_value = "syncfs", conflicts_with = "no_sync")]
    pub sync_method: Method,
    /// Do not wait for the target's files to reach the disk (the undo store's always do)
    #[arg(long)]
    pub no_sync: bool,
    /// Read back what was written; full: also compare all relation files with the source's, block by block, before the
    /// target's control file comes back
    #[arg(long, value_enum, value_name = "WHAT", num_args = 0..=1, require_equals = true, default_missing_value = "written")]
    pub verify: Option<Verified>,
    /// No server runs on the target, on no machine, although its control file says that it was not shut down
    #[arg(long)]
    pub target_is_stopped: bool,
    /// Threads that copy
    #[arg(long, value_name = "N", default_value_t = THREADS, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
}

/// What is kept for the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Undo {
    /// A clone where the filesystem can make one without copying (Btrfs, XFS), else what changes
    Auto,
    /// What changes: the way back ends where a server starts on the result
    Changes,
    /// A clone, or nothing is done
    Clone,
    /// A full copy: the way back stays open, for the room of the whole target
    Copy,
}

impl From<Undo> for Keep {
    fn from(undo: Undo) -> Self {
        match undo {
            Undo::Auto => Self::Auto,
            Undo::Changes => Self::Changes,
            Undo::Clone => Self::Clone,
            Undo::Copy => Self::Copy,
        }
    }
}

/// What is read before the control file comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Verified {
    /// Nothing
    None,
    /// What was written
    Written,
    /// That, and all relation files of both sides: what differs has to be what servers may have different, or what replay
    /// will change
    Full,
}

/// As the option says it.
pub const fn verify(asked: Verified) -> Verify {
    match asked {
        Verified::None => Verify::Nothing,
        Verified::Written => Verify::Written,
        Verified::Full => Verify::Everything,
    }
}

/// As `--sync-method` of pg_rewind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Method {
    /// Each file and directory by itself
    Fsync,
    /// Each filesystem as a whole, then what was written
    Syncfs,
}

/// Runs the command.
pub fn run(args: &ApplyArgs, console: &Console) -> Result<u8, Failure> {
    let stored = load(&args.plan).map_err(|error| {
        let status = if matches!(error, load::LoadError::Io { .. }) { exit::INPUT } else { exit::REFUSED };
        Failure::new(status, format!("{}: {error}", words::path(&args.plan)))
    })?;
    let target = absolute(args.target.as_deref().unwrap_or(stored.target.path.as_path()))?;
    let source = absolute(args.source.as_deref().unwrap_or(stored.source.path.as_path()))?;
    let undo_dir = undo_dir(args.undo_dir.as_deref(), true)?;
    let disk = RealDisk::new();
    let make = || {
        let threads = usize::from(args.threads);
        console.watch(|progress| plan::make((&target, &source), &stored.options, threads, progress))
    };
    let differs = |made: &Plan| difference(args, &stored, made);
    let (diagnosis, plan) = ready((&target, undo_dir.as_deref()), &disk, make, differs)
        .map_err(|why| not_ready(why, &target, "Make a new plan and look at it."))?;
    let stopped = settle(args, &plan, &target, &disk, console)?;
    ask(args, &plan, &target)?;
    let sync = match (args.no_sync, args.sync_method) {
        (true, _) => SyncMethod::None,
        (_, Method::Fsync) => SyncMethod::Fsync,
        (_, Method::Syncfs) => SyncMethod::Syncfs,
    };
    let options = Options {
        undo: !args.no_undo,
        keep: args.undo.into(),
        undo_dir: undo_dir.clone(),
        sync,
        threads: usize::from(args.threads),
        verify: args.verify.map_or(Verify::Nothing, verify),
        target_is_stopped: stopped,
        report: Some(json::for_store(Arc::new(diagnosis))),
        ..Options::default()
    };
    changing();
    let result = console.watch(|progress| apply(&plan, &options, &disk, progress));
    let outcome = result.map_err(|error| failed(&error, &target, undo_dir.as_deref()))?;
    console.note(&format!("the rewind of {} is finished", words::path(&target)));
    afterwards(&target, &outcome, console);
    for step in &plan.next_steps {
        console.note(step);
    }
    Ok(exit::DONE)
}

/// Says where the way back is.
pub fn afterwards(target: &Path, outcome: &Outcome, console: &Console) {
    let shown = words::path(target);
    if outcome.clone {
        console.note(&format!(
            "forkpoint undo {shown} puts it back, also after a server has started on it; what it was before is in {}",
            words::path(&outcome.store)
        ));
    } else if outcome.undo {
        console.note(&format!(
            "until a server is started on it, forkpoint undo {shown} puts it back; what it had before is in {}",
            words::path(&outcome.store)
        ));
    }
    if outcome.undo {
        console.note(&format!(
            "forkpoint lost {} SOURCE shows the rows that were discarded, forkpoint report what it was",
            words::path(&outcome.store)
        ));
    }
    console.note(&format!("forkpoint undo {shown} --discard removes that directory"));
}

/// What of a plan is different now, in so many sentences at most. Where the user says that a directory lies elsewhere by
/// now, its path does not count.
fn difference(args: &ApplyArgs, stored: &Plan, made: &Plan) -> Option<String> {
    let mut stored = stored.clone();
    for (given, was, is) in
        [(&args.target, &mut stored.target, &made.target), (&args.source, &mut stored.source, &made.source)]
    {
        if given.is_some() {
            was.path = is.path.clone();
            was.wal_directory.clone_from(&is.wal_directory);
        }
    }
    question::changed(&stored, made)
}

/// A target that was not shut down has to be left alone for a while, and the user has to vouch for it.
fn settle(
    args: &ApplyArgs,
    plan: &Plan,
    target: &Path,
    disk: &RealDisk,
    console: &Console,
) -> Result<bool, Failure> {
    if plan.target.state.starts_with("shut down") {
        return Ok(false);
    }
    let seconds = quiet::WATCH.as_secs();
    console.note(&format!("the target was not shut down: watching it for {seconds} s"));
    let still =
        console.watch(|progress| quiet(disk, target, quiet::WATCH, progress)).map_err(|e| before(&e))?;
    if !still {
        return Err(Failure::new(exit::REFUSED, question::not_quiet(target)));
    }
    if !args.target_is_stopped {
        let lines = [question::not_shut_down(plan, target, true)];
        confirm(&lines, "stopped", "Say with --target-is-stopped that no server runs on it.")?;
    }
    Ok(true)
}

/// The typed confirmation.
fn ask(args: &ApplyArgs, plan: &Plan, target: &Path) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    let mut lines = question::lines(plan, target);
    let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if args.no_undo {
        lines.push("Nothing is kept: there is no way back.".into());
        confirm(&lines, "no undo", "Say with --yes that it may go on without asking.")?;
        lines.truncate(1);
    }
    confirm(&lines, &name, "Say with --yes that it may go on without asking.")
}
