//! Carrying the plan out, with an undo store and without asking.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::diagnosis::Diagnosis;
use crate::plan::Plan;
use crate::report::{dto, json};
use crate::rewind::{self, Failed, Going, RealDisk, State, SyncMethod, Trouble};
use crate::scan::progress::Progress;

use super::listing;
use super::log::{Ended, FAILED, INTERRUPTED, Log};
use super::options::{self, Options};

/// Where the undo store goes if no option says so: a cluster manager that calls pg_rewind gives it no new options.
const UNDO_DIR: &str = "FORKPOINT_UNDO_DIR";
/// More threads wait for each other on most disks.
const THREADS: usize = 4;
/// How often progress is shown.
const TICK: Duration = Duration::from_secs(1);
/// How often the end of the work is looked for.
const PAUSE: Duration = Duration::from_millis(20);

fn threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(THREADS)
}

fn undo_dir(options: &Options) -> Option<PathBuf> {
    let set = || std::env::var_os(UNDO_DIR).filter(|v| !v.is_empty()).map(PathBuf::from);
    let dir = options.undo_dir.clone().or_else(set)?;
    Some(dir.canonicalize().unwrap_or(dir))
}

/// Goes on with an earlier run that stopped half-way. True if there was one, which then is finished.
///
/// # Errors
/// It cannot go on, or this is a dry run; that was said.
pub fn unfinished(
    target: &Path,
    options: &Options,
    progress: &Progress,
    log: &mut Log<'_>,
) -> Result<bool, Ended> {
    let disk = RealDisk::new();
    let undo_dir = undo_dir(options);
    // what cannot be told here is told by the checks that follow
    let Ok(status) = rewind::status(target, undo_dir.as_deref(), &disk) else { return Ok(false) };
    let place = target.display();
    match status.state {
        State::None | State::Done | State::Undone => Ok(false),
        State::InProgress if !options.dry_run => {
            log.note("an earlier rewind stopped half-way and is resumed");
            let going = Going { threads: threads(), ..Going::default() };
            let resumed = rewind::resume(target, undo_dir.as_deref(), &going, &disk, progress);
            resumed.map_err(|error| failed(&error, target, log))?;
            log.info("Done!");
            Ok(true)
        }
        State::InProgress | State::Undoing | State::Discarding => {
            let end = log.fatal("an earlier rewind of the target is half-way");
            log.hint(&format!("\"forkpoint status {place}\" says what can be done."));
            Err(end)
        }
    }
}

/// Carries the plan out; `shown`: with progress out of so many bytes.
///
/// # Errors
/// It did not get to its end; that was said.
pub fn out(
    diagnosis: &Diagnosis,
    plan: &Plan,
    options: &Options,
    shown: Option<u64>,
    progress: &Progress,
    log: &mut Log<'_>,
) -> Result<(), Ended> {
    let mut report = Vec::new();
    // writing to memory cannot fail, and without the report the rewind is as good
    let _ = json::write(&dto::Report::from(diagnosis), &mut report);
    let sync = match (options.no_sync, options.sync_method) {
        (true, _) => SyncMethod::None,
        (false, Some(options::SyncMethod::Fsync)) => SyncMethod::Fsync,
        (false, _) => SyncMethod::Syncfs,
    };
    let how = rewind::Options {
        undo: !options.no_undo,
        undo_dir: undo_dir(options),
        sync,
        threads: threads(),
        replace_finished: true,
        report: Some(report),
        ..rewind::Options::default()
    };
    let disk = RealDisk::new();
    let done = AtomicBool::new(false);
    let result = thread::scope(|scope| {
        let work = scope.spawn(|| {
            let result = rewind::apply(plan, &how, &disk, progress);
            done.store(true, Ordering::Release);
            result
        });
        if let Some(all) = shown {
            let mut waited = Duration::ZERO;
            while !done.load(Ordering::Acquire) && !work.is_finished() {
                thread::sleep(PAUSE);
                waited += PAUSE;
                if waited >= TICK {
                    waited = Duration::ZERO;
                    log.raw(&listing::copied(progress.bytes().0.min(all), all));
                }
            }
        }
        work.join()
    });
    let target = plan.target.path.as_path();
    let outcome = match result {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(error)) => return Err(failed(&error, target, log)),
        // the message of the bug was printed where it happened
        Err(_) => return Err(FAILED),
    };
    if outcome.undo {
        let (place, store) = (target.display(), outcome.store.display());
        let when = if outcome.clone { "" } else { "until a server is started on it, " };
        log.note(&format!(
            "{when}\"forkpoint undo {place}\" puts the target back; what it had before is in {store}"
        ));
    }
    Ok(())
}

fn failed(error: &Failed, target: &Path, log: &mut Log<'_>) -> Ended {
    if matches!(error.trouble, Trouble::Cancelled) && !error.halfway {
        return INTERRUPTED;
    }
    let text = error.to_string();
    let end = log.fatal(text.trim_end_matches('.'));
    let place = target.display();
    if error.halfway {
        log.hint(&format!(
            "\"forkpoint resume {place}\" goes on, \"forkpoint undo {place}\" puts the target back, \"forkpoint status {place}\" \
             says more."
        ));
    } else {
        log.detail("Nothing in the target was changed.");
    }
    end
}
