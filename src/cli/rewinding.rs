//! What `apply`, `resume` and `undo` share: how they end, and how they ask.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::complain;
use super::exit::{self, Failure};
use crate::report::{question, words};
use crate::rewind::{Failed, NotReady, RealDisk, State, Trouble, status};

/// Of many places that differ, so many are named.
const NAMED: usize = 20;

/// Set when something may have been changed in a data directory, for the message after a bug.
static CHANGING: AtomicBool = AtomicBool::new(false);

/// From now on a data directory is being changed.
pub fn changing() {
    CHANGING.store(true, Ordering::Relaxed);
}

/// What is said of the data directories after a bug.
pub fn after_a_bug() -> &'static str {
    if CHANGING.load(Ordering::Relaxed) {
        "The rewind may be half-way: forkpoint status TARGET says what can be done, and nothing that it kept is lost"
    } else {
        "Nothing in the data directories was written"
    }
}

/// A path as it is stored.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::new(exit::INPUT, format!("{}: {error}", words::path(path))))
}

/// A trouble before anything was changed.
pub fn before(trouble: &Trouble) -> Failure {
    let status = match trouble {
        Trouble::Cancelled => exit::INTERRUPTED,
        Trouble::Refused(_) | Trouble::TargetChanged { .. } | Trouble::SourceMoved { .. } => exit::REFUSED,
        Trouble::Store { .. } | Trouble::Journal { .. } => exit::INPUT,
        _ => exit::FAILED,
    };
    Failure::new(status, trouble.to_string())
}

/// Why nothing was begun.
pub fn not_ready(why: NotReady, target: &Path, advice: &str) -> Failure {
    match why {
        NotReady::Trouble(trouble) => before(&trouble),
        NotReady::Plan(error) => error.into(),
        NotReady::Busy => Failure::new(exit::REFUSED, question::not_quiet(target)),
        why @ NotReady::Another(_) => Failure::new(exit::REFUSED, format!("{why} {advice}")),
        why @ (NotReady::NotNeeded(_) | NotReady::Refused(_)) => Failure::new(exit::REFUSED, why.to_string()),
    }
}

/// The directory for, or of, an undo store.
pub fn undo_dir(given: Option<&Path>, to_make: bool) -> Result<Option<PathBuf>, Failure> {
    let Some(path) = given else { return Ok(None) };
    let found = path.canonicalize().and_then(|path| {
        let directory = path.metadata()?.is_dir();
        if directory { Ok(path) } else { Err(io::ErrorKind::NotADirectory.into()) }
    });
    found.map(Some).map_err(|error| {
        let advice = if to_make {
            "Make the directory first: owned by the owner of the data directory, on a filesystem that lasts and has room."
        } else {
            "Give the directory that the store was made in."
        };
        Failure::new(exit::INPUT, format!("--undo-dir {}: {error}. {advice}", words::path(path)))
    })
}

/// Refuses whoever may not change a data directory, before it is read.
pub fn as_owner(target: &Path) -> Result<(), Failure> {
    RealDisk::new().as_owner(target).map_err(|trouble| before(&trouble))
}

/// How a command ends that did not get to its end: what is the matter, and what can be done now.
pub fn failed(failed: &Failed, target: &Path, undo_dir: Option<&Path>) -> Failure {
    if !failed.halfway {
        return before(&failed.trouble);
    }
    if let Trouble::Differs { list, count, .. } = &failed.trouble {
        for differing in list.iter().take(NAMED).filter(|_| *count > 1) {
            complain(&differing.to_string());
        }
        let more = count.saturating_sub(list.len().min(NAMED) as u64);
        if more > 0 {
            complain(&format!("and {more} more"));
        }
    }
    let status = status(target, undo_dir, &RealDisk::new()).ok();
    let state = status.as_ref().map(|s| s.state);
    let back = status.and_then(|s| s.rewind).is_some_and(|r| r.no_undo.is_none());
    let what = failed.trouble.to_string();
    let text = format!("{}. {}", what.trim_end_matches('.'), what_now(&failed.trouble, state, back, target));
    Failure::new(exit::HALFWAY, text)
}

fn what_now(trouble: &Trouble, state: Option<State>, back: bool, target: &Path) -> String {
    let target = words::path(target);
    let says_more = format!("forkpoint status {target} says more.");
    match (state, trouble) {
        (Some(State::Undoing), _) => {
            format!(
                "Undoing the rewind of {target} is half-way: forkpoint undo {target} goes on with it. {says_more}"
            )
        }
        (
            Some(State::InProgress),
            Trouble::SourceMoved { .. } | Trouble::NewerThanSource { .. } | Trouble::Checksum { .. },
        ) => {
            let back = if back {
                format!("back with forkpoint undo {target}.")
            } else {
                "there is no way back, so make a new copy of the source.".to_owned()
            };
            format!("The rewind of {target} is half-way and cannot go on as planned: {back}")
        }
        (Some(State::InProgress), Trouble::Differs { .. }) => {
            let back = if back {
                format!(
                    "forkpoint undo {target} puts it back, and forkpoint plan --compare then copies every block that differs"
                )
            } else {
                "there is no way back".to_owned()
            };
            format!(
                "So the target's control file was not put back, and no server starts on it: {back}; forkpoint resume {target} \
                 looks again, with --verify=none it takes the result as it is. {says_more}"
            )
        }
        (Some(State::InProgress), _) => {
            let back = if back { format!(", or back with forkpoint undo {target}") } else { String::new() };
            let none = if back.is_empty() { " There is no way back." } else { "" };
            format!(
                "The rewind of {target} is half-way: go on with forkpoint resume {target}{back}.{none} {says_more}"
            )
        }
        _ => says_more,
    }
}

/// Asks on the terminal for a word. `lines` say what for.
///
/// # Errors
/// There is no terminal, or another word came.
pub fn confirm(lines: &[String], word: &str, instead: &str) -> Result<(), Failure> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let text = format!("there is no terminal to ask on, and nothing was changed. {instead}");
        return Err(Failure::new(exit::REFUSED, text));
    }
    let mut out = io::stderr().lock();
    for line in lines {
        let _ = writeln!(out, "{}", words::clean(line));
    }
    let _ = write!(out, "Type {} to go on: ", words::clean(word));
    let _ = out.flush();
    drop(out);
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_err() || answer.trim() != word {
        return Err(Failure::new(exit::REFUSED, "not confirmed; nothing was changed"));
    }
    Ok(())
}
