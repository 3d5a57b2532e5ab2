//! Carrying the plan out, with an undo store and without asking.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::diagnosis::Diagnosis;
use crate::plan::Plan;
use crate::report::json;
use crate::rewind::early::{Kept, Left};
use crate::rewind::{self, Begun, Failed, Going, RealDisk, State, SyncMethod, Trouble, early};
use crate::scan::progress::Progress;

use super::listing;
use super::log::{Ended, FAILED, INTERRUPTED, Log, strerror};
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
        State::StoreMissing => {
            let end = log.fatal(&status.strange.unwrap_or_default());
            log.hint(&status.without_store.unwrap_or_default());
            Err(end)
        }
        State::InProgress if !options.dry_run => {
            let begun = rewind::begun(target, undo_dir.as_deref(), &disk);
            let begun = begun.map_err(|error| log.fatal(error.to_string().trim_end_matches('.')))?;
            if let Some(other) = other_than_begun(&begun, options, undo_dir.as_deref()) {
                let end = log.fatal(&format!("an earlier rewind of the target is half-way, and {other}"));
                log.detail("Nothing was changed by this run.");
                log.hint(&format!(
                    "Run it with the options of the earlier one, or go on with \"forkpoint resume {place}\", or back with \
                     \"forkpoint undo {place}\"."
                ));
                return Err(end);
            }
            log.note("an earlier rewind stopped half-way and is resumed");
            let going = Going { threads: threads(), ..Going::default() };
            let resumed = rewind::resume(target, undo_dir.as_deref(), &going, &disk, progress);
            resumed.map_err(|error| failed(&error, target, false, log))?;
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

/// What this run asks for and the one that is half-way does not do, if there is something.
fn other_than_begun(begun: &Begun, options: &Options, undo_dir: Option<&Path>) -> Option<String> {
    let plan = &begun.plan;
    let given = options.source.as_deref().unwrap_or(Path::new(""));
    let identity = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    match given.metadata().map(identity) {
        Ok(found) if found == (plan.source.device, plan.source.inode) => {}
        Ok(_) => {
            return Some(format!("its source is \"{}\", not \"{}\"", plan.source.path, given.display()));
        }
        Err(error) => {
            let why = strerror(&error);
            return Some(format!(
                "its source is \"{}\", while \"{}\" cannot be looked at: {why}",
                plan.source.path,
                given.display()
            ));
        }
    }
    if !plan.options.pg_rewind_compatible {
        return Some("forkpoint apply began it, with a plan of its own".into());
    }
    if options.no_undo && begun.undo {
        return Some("it keeps an undo store, which --no-undo forbids".into());
    }
    // a directory for the store that was given by the environment is for new ones
    let elsewhere = options.undo_dir.is_some().then_some(undo_dir).flatten().filter(|dir| {
        let here = dir.metadata().map(identity).ok();
        let lies = [begun.store.parent(), Some(begun.store.as_path())];
        lies.into_iter().flatten().all(|place| place.metadata().map(identity).ok() != here)
    });
    if let Some(dir) = elsewhere {
        return Some(format!(
            "its undo store is \"{}\", not in \"{}\"",
            begun.store.display(),
            dir.display()
        ));
    }
    let asked = sync_of(options);
    let named = options.no_sync || options.sync_method.is_some() || begun.sync == SyncMethod::None;
    (named && asked != begun.sync).then(|| "it syncs in another way than this run is told to".into())
}

const fn sync_of(options: &Options) -> SyncMethod {
    match (options.no_sync, options.sync_method) {
        (true, _) => SyncMethod::None,
        (false, Some(options::SyncMethod::Fsync)) => SyncMethod::Fsync,
        (false, _) => SyncMethod::Syncfs,
    }
}

/// Keeps the target as it is before crash recovery writes into it, where the filesystem can clone, and says what undo will
/// lead back to. Gives the clone.
///
/// # Errors
/// It was stopped.
pub fn before_recovery(
    (target, source): (&Path, &Path),
    options: &Options,
    progress: &Progress,
    log: &mut Log<'_>,
) -> Result<Option<PathBuf>, Ended> {
    if options.no_undo {
        return Ok(None);
    }
    let place = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    let undo_dir = undo_dir(options);
    let disk = RealDisk::new();
    let made = early::before_recovery(&place, source, undo_dir.as_deref(), threads(), &disk, progress);
    match made {
        Ok(Kept::Clone(clone)) => {
            log.note(&format!(
                "crash recovery writes into the target; as it is before that, it is kept as a clone in \"{}\"",
                clone.display()
            ));
            Ok(Some(clone))
        }
        Err(Trouble::Cancelled) => Err(INTERRUPTED),
        Ok(Kept::Not(_)) | Err(_) => {
            let why = match made {
                Err(trouble) => trouble.to_string(),
                Ok(Kept::Not(why)) => why,
                Ok(Kept::Clone(_)) => String::new(),
            };
            log.note(&format!(
                "crash recovery writes into the target before anything is kept ({}): undo will return only to the state \
                 after it",
                why.trim_end_matches('.')
            ));
            Ok(None)
        }
    }
}

/// The target is recovered.
pub fn recovered(early: Option<&Path>, target: &Path, log: &mut Log<'_>) {
    if let Some(clone) = early
        && let Err(trouble) = early::recovered(clone, target, &RealDisk::new())
    {
        // it serves this run all the same
        log.note(&trouble.to_string());
    }
}

/// The clone that an earlier run made, which recovered the target and came no further.
pub fn left(target: &Path, options: &Options, log: &mut Log<'_>) -> Option<PathBuf> {
    let place = target.canonicalize().unwrap_or_else(|_| target.to_owned());
    if options.no_undo {
        return None;
    }
    match early::left(&place, undo_dir(options).as_deref(), &RealDisk::new()) {
        Ok(Left::Nothing) => None,
        Ok(Left::Fits(clone)) => {
            log.note(&format!(
                "the target as it was before an earlier run recovered it is kept as a clone in \"{}\"",
                clone.display()
            ));
            Some(clone)
        }
        Ok(Left::Unused(path, why)) => {
            log.note(&format!(
                "\"{}\" lies there from before and is not used ({why}): undo will not lead back to it. It stays; remove it \
                 when it is of no use any more",
                path.display()
            ));
            None
        }
        Err(trouble) => {
            log.note(&format!(
                "{}: what an earlier run kept is not used",
                trouble.to_string().trim_end_matches('.')
            ));
            None
        }
    }
}

/// There is nothing to undo: the target was recovered, as a server does it at every start after a crash.
pub fn not_needed(early: Option<&Path>, log: &mut Log<'_>) {
    let Some(path) = early else { return };
    match early::discard(&RealDisk::new(), path) {
        Ok(()) => log.note(&format!(
            "the target needs no rewind: the clone of it from before crash recovery, \"{}\", is removed",
            path.display()
        )),
        Err(error) => log.note(&format!("{error}. It is of no use any more")),
    }
}

/// Carries the plan out; `early`: the target's clone from before crash recovery; `recovered`: this run has let a server
/// recover it; `shown`: with progress out of so many bytes.
///
/// # Errors
/// It did not get to its end; that was said.
pub fn out(
    diagnosis: &Arc<Diagnosis>,
    plan: &Plan,
    options: &Options,
    ((early, recovered), shown): ((Option<PathBuf>, bool), Option<u64>),
    progress: &Progress,
    log: &mut Log<'_>,
) -> Result<(), Ended> {
    let how = rewind::Options {
        undo: !options.no_undo,
        undo_dir: undo_dir(options),
        sync: sync_of(options),
        threads: threads(),
        replace_finished: true,
        early,
        report: Some(json::for_store(Arc::clone(diagnosis))),
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
        Ok(Err(error)) => return Err(failed(&error, target, recovered, log)),
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

fn failed(error: &Failed, target: &Path, recovered: bool, log: &mut Log<'_>) -> Ended {
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
        let but = if recovered { " but by crash recovery" } else { "" };
        log.detail(&format!("Nothing in the target was changed{but}."));
    }
    end
}
