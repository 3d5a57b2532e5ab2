//! pg_rewind's order of work.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use tempfile::TempDir;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::{self, DiagnoseError, Progress};
use crate::facts::Checkpoint;
use crate::pg::history::History;
use crate::pg::{Lsn, Major};
use crate::plan::{self, Plan, PlanError, PlanOptions};
use crate::source::restore::RestoreCommand;

use super::control::{self, Control};
use super::fetched::{self, Fetched};
use super::history::{self, Parting};
use super::log::{Ended, FAILED, INTERRUPTED, Log, strerror};
use super::options::Options;
use super::server::Server;
use super::sound;
use super::wal::TargetWal;
use super::{carry, files, listing};

/// Both group bits that make a cluster readable for its group (`PG_MODE_MASK_GROUP`).
const GROUP: u32 = 0o050;

/// The two directories, checked.
struct Sides<'a> {
    options: &'a Options,
    target: &'a Path,
    source: &'a Path,
    major: Major,
    ours: Control,
    theirs: Control,
    restore: Option<String>,
    /// The target as it was before crash recovery.
    early: Option<PathBuf>,
    /// This run let a server recover the target.
    recovered: bool,
}

/// What pg_rewind finds out before it looks at files.
struct Position {
    /// Where the histories part.
    parting: Parting,
    /// The last checkpoint before that.
    checkpoint: Checkpoint,
    /// End of the target's WAL by its control file.
    end: Lsn,
    wal: TargetWal,
}

/// Rewinds as `options` say.
///
/// # Errors
/// It ended with another status than 0; what there is to say was said.
pub fn run(options: &Options, threads: usize, progress: &Progress, log: &mut Log<'_>) -> Result<(), Ended> {
    let (target, source) = given(options, log)?;
    let major = log.major();
    if options.dry_run && major >= Major::V19 {
        log.info("executing in dry-run mode");
        log.detail("The target directory will not be modified.");
    }
    permissions(target, log)?;
    if carry::unfinished(target, options, progress, log)? {
        return Ok(());
    }
    let mut server = None;
    let mut find = |log: &mut Log<'_>| -> Result<Server, Ended> {
        if server.is_none() {
            let (bindir, config) = (options.bindir.as_deref(), options.config_file.as_deref());
            server = Some(Server::find(bindir, major, config, log)?);
        }
        server.clone().ok_or(FAILED)
    };
    let restore =
        if options.restore_target_wal { Some(find(log)?.restore_command(target, log)?) } else { None };
    let mut ours = control::read(target, major, log)?;
    let (mut early, mut recovered) = (None, false);
    if !options.no_ensure_shutdown && ours.unclean() {
        let server = find(log)?;
        server.announce(log);
        if !options.dry_run {
            let theirs = quiet(major, |log| control::read(source, major, log));
            if let Ok(theirs) = theirs {
                let restore = restore.clone();
                Sides {
                    options,
                    target,
                    source,
                    major,
                    ours,
                    theirs,
                    restore,
                    early: None,
                    recovered: false,
                }
                .before_recovery(progress, log)?;
            }
            early = carry::before_recovery((target, source), options, progress, log)?;
            server.recover(target, log)?;
            recovered = true;
            carry::recovered(early.as_deref(), target, log);
            ours = control::read(target, major, log)?;
        }
    } else if !options.dry_run {
        early = carry::left(target, options, log);
    }
    let theirs = control::read(source, major, log)?;
    control::check(&ours, &theirs, log)?;
    let sides = Sides { options, target, source, major, ours, theirs, restore, early, recovered };
    let Some(position) = sides.position(log)? else {
        return sides.nothing_to_do(threads, progress, log);
    };
    sides.rewind(&position, threads, progress, log)
}

/// Does something without a word.
fn quiet<T>(major: Major, work: impl FnOnce(&mut Log<'_>) -> T) -> T {
    let mut nowhere = std::io::sink();
    let mut log = Log::new("", &mut nowhere);
    log.speak(major);
    work(&mut log)
}

/// The checks of the command line, and the directories that it names.
fn given<'a>(options: &'a Options, log: &mut Log<'_>) -> Result<(&'a Path, &'a Path), Ended> {
    if options.source.is_none() && options.source_server.is_none() {
        return Err(log.usage("no source specified (--source-pgdata or --source-server)"));
    }
    if options.source.is_some() && options.source_server.is_some() {
        return Err(log.usage("only one of --source-pgdata or --source-server can be specified"));
    }
    let Some(target) = &options.target else {
        return Err(log.usage("no target data directory specified (--target-pgdata)"));
    };
    if options.write_recovery_conf && options.source_server.is_none() {
        return Err(
            log.usage("no source server information (--source-server) specified for --write-recovery-conf")
        );
    }
    if let Some(first) = options.operands.first() {
        let first = first.to_string_lossy();
        return Err(log.usage(&format!("too many command-line arguments (first is \"{first}\")")));
    }
    if rustix::process::geteuid().is_root() {
        log.error("cannot be executed by \"root\"");
        let program = log.program().to_owned();
        log.hint(&format!("You must run {program} as the PostgreSQL superuser."));
        return Err(FAILED);
    }
    let Some(source) = &options.source else {
        let end = log.fatal("a running source (--source-server) is not supported yet");
        log.hint("Stop the source and give its data directory with --source-pgdata, or use pg_rewind.");
        return Err(end);
    };
    Ok((target, source))
}

/// What is made gets the permissions that the data directory has.
fn permissions(target: &Path, log: &mut Log<'_>) -> Result<(), Ended> {
    let meta = fs::metadata(target).map_err(|e| {
        let place = target.display();
        log.fatal(&format!("could not read permissions of directory \"{place}\": {}", strerror(&e)))
    })?;
    let group = meta.permissions().mode() & GROUP == GROUP;
    let mask = if group { 0o027 } else { 0o077 };
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(mask));
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own {
        let end = log.fatal(&format!("data directory \"{}\" has wrong ownership", target.display()));
        let program = log.program().to_owned();
        log.hint(&format!("You must run {program} as the user who owns it (number {}).", meta.uid()));
        return Err(end);
    }
    Ok(())
}

impl Sides<'_> {
    fn restore_command(&self, log: &mut Log<'_>) -> Result<Option<RestoreCommand>, Ended> {
        let Some(text) = &self.restore else { return Ok(None) };
        match RestoreCommand::new(text.clone()) {
            Ok(command) => Ok(Some(command)),
            Err(_) => Err(log.fatal("cannot use restore_command with %r placeholder")),
        }
    }

    /// Where the two part and from which checkpoint on; `None` where there is nothing to rewind.
    fn position(&self, log: &mut Log<'_>) -> Result<Option<Position>, Ended> {
        let (ours, theirs) = (self.ours.timeline(), self.theirs.timeline());
        if ours == theirs {
            log.info("source and target cluster are on the same timeline");
            return Ok(None);
        }
        let source = history::read(self.source, theirs, log)?;
        let target = history::read(self.target, ours, log)?;
        if log.debugging() {
            history::show(&target, &source, log);
        }
        let parting = history::parting(&target, &source, log)?;
        let wal = self.target_wal(target, log)?;
        let end = wal.end_of(self.ours.file.checkpoint, log)?.max(self.ours.file.min_recovery_point);
        if end <= parting.lsn {
            return Ok(None);
        }
        let checkpoint = wal.last_checkpoint(parting.lsn, log)?;
        Ok(Some(Position { parting, checkpoint, end, wal }))
    }

    fn target_wal(&self, history: History, log: &mut Log<'_>) -> Result<TargetWal, Ended> {
        let restore = self.restore_command(log)?;
        Ok(TargetWal::new(self.target, &self.ours.file, history, restore))
    }

    fn diagnose(&self, threads: usize, progress: &Progress, log: &mut Log<'_>) -> Result<Diagnosis, Ended> {
        let options = engine::Options {
            target: self.target.to_owned(),
            source: self.source.to_owned(),
            archives: Vec::new(),
            restore_command: self.restore.clone(),
            threads,
            scan_source: false,
            blocks_only: false,
        };
        engine::diagnose(&options, progress).map_err(|error| match error {
            DiagnoseError::Cancelled => INTERRUPTED,
            DiagnoseError::Input { .. } => log.fatal(error.to_string().trim_end()),
        })
    }

    /// A refusal after crash recovery would come too late: what can be told before is told before.
    fn before_recovery(&self, progress: &Progress, log: &mut Log<'_>) -> Result<(), Ended> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let diagnosis = match quiet(self.major, |quiet| self.diagnose(threads, progress, quiet)) {
            Ok(diagnosis) => diagnosis,
            Err(INTERRUPTED) => return Err(INTERRUPTED),
            // what stands in the way is said by the checks that follow
            Err(_) => return Ok(()),
        };
        let Ok(plan) = plan::derive(&diagnosis, &self.plan_options(), progress) else { return Ok(()) };
        refuse(&sound::refusals_before_recovery(&plan), self, log)
    }

    /// pg_rewind would do nothing; it may be wrong.
    fn nothing_to_do(&self, threads: usize, progress: &Progress, log: &mut Log<'_>) -> Result<(), Ended> {
        let diagnosis = self.diagnose(threads, progress, log)?;
        refuse(sound::twins(&diagnosis.facts).as_slice(), self, log)?;
        carry::not_needed(self.early.as_deref(), log);
        log.info("no rewind required");
        Ok(())
    }

    fn rewind(
        &self,
        position: &Position,
        threads: usize,
        progress: &Progress,
        log: &mut Log<'_>,
    ) -> Result<(), Ended> {
        if self.options.progress {
            log.info("reading source file list");
            log.info("reading target file list");
            log.info("reading WAL in target");
        }
        let diagnosis = Arc::new(self.diagnose(threads, progress, log)?);
        let facts = &diagnosis.facts;
        let whole = facts.target_scan.as_ref().is_some_and(|s| s.gaps.is_empty() && s.to >= position.end);
        if !whole {
            position.wal.read_through(position.checkpoint.lsn, position.end, log)?;
        }
        files::check(&facts.trees, self.target, log)?;
        let plan = match plan::derive(&diagnosis, &self.plan_options(), progress) {
            Ok(plan) => plan,
            Err(PlanError::Cancelled) => return Err(INTERRUPTED),
            Err(error) => return refuse(&[error.to_string().trim_end_matches('.').to_owned()], self, log),
        };
        refuse(&sound::refusals(&plan), self, log)?;
        self.carry_out(position, &diagnosis, plan, progress, log)
    }

    fn plan_options(&self) -> PlanOptions {
        PlanOptions {
            restore_command: self.restore.clone(),
            pg_rewind_compatible: true,
            ..PlanOptions::default()
        }
    }

    /// Shows the plan, and carries it out unless this is a dry run.
    fn carry_out(
        &self,
        position: &Position,
        diagnosis: &Arc<Diagnosis>,
        mut plan: Plan,
        progress: &Progress,
        log: &mut Log<'_>,
    ) -> Result<(), Ended> {
        let trees = &diagnosis.facts.trees;
        let fetched = if self.restore.is_some() {
            let Position { parting, checkpoint, end, wal } = position;
            let ends = (self.ours.file.checkpoint, *end);
            Fetched::new((wal, self.source), checkpoint, parting, ends, self.major)
        } else {
            Fetched::default()
        };
        if log.debugging() {
            listing::excluded(self.target, trees, &plan, &fetched, log);
            listing::map(trees, &plan, &fetched, log);
        }
        let (fetch, total) = listing::sizes(trees, &plan, &fetched, self.major);
        if self.options.progress {
            let mega = |bytes: u64| bytes / (1024 * 1024);
            log.info(&format!(
                "need to copy {} MB (total source directory size is {} MB)",
                mega(fetch),
                mega(total)
            ));
        }
        if !self.options.dry_run {
            let scratch = self.fetch(&fetched, &mut plan, log)?;
            let shown = self.options.progress.then_some(fetch);
            let target = (self.early.clone(), self.recovered);
            carry::out(diagnosis, &plan, self.options, (target, shown), progress, log)?;
            drop(scratch);
        }
        if self.options.progress {
            log.raw(&listing::copied(fetch, fetch));
            log.info("creating backup label and updating control file");
            log.info("syncing target data directory");
        }
        log.info("Done!");
        Ok(())
    }

    /// With `-c`: what pg_rewind fetches and leaves, in a directory that has to live as long as the plan is carried out.
    fn fetch(&self, fetched: &Fetched, plan: &mut Plan, log: &mut Log<'_>) -> Result<Option<TempDir>, Ended> {
        let Some(command) = self.restore_command(log)? else { return Ok(None) };
        if fetched.staying.is_empty() {
            return Ok(None);
        }
        let scratch = tempfile::Builder::new().prefix("forkpoint-wal-").tempdir();
        let scratch =
            scratch.map_err(|e| log.fatal(&format!("a scratch directory could not be made: {e}")))?;
        fetched::add(plan, &fetched.staying, &command, scratch.path(), log)?;
        plan.id = plan.identity();
        Ok(Some(scratch))
    }
}

/// Ends the program where pg_rewind's result would be wrong.
fn refuse(objections: &[String], sides: &Sides<'_>, log: &mut Log<'_>) -> Result<(), Ended> {
    let Some((last, others)) = objections.split_last() else { return Ok(()) };
    for text in others {
        log.error(text);
    }
    log.fatal(last);
    let written =
        if sides.recovered { "Nothing was written but by crash recovery." } else { "Nothing was written." };
    log.detail(&format!("{written} pg_rewind does not look at this before it begins."));
    let (target, source) = (sides.target.display(), sides.source.display());
    log.hint(&format!("\"forkpoint plan {target} {source}\" says what can be done."));
    Err(FAILED)
}
