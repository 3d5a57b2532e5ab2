//! What `apply`, `resume` and `undo` share: how they end, and how they ask.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::exit::{self, Failure};
use crate::report::words;
use crate::rewind::{Failed, Trouble};

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

/// How a command ends that did not get to its end.
pub fn failed(failed: &Failed, target: &Path, undo: bool) -> Failure {
    if !failed.halfway {
        return before(&failed.trouble);
    }
    let target = words::path(target);
    let back =
        if undo { format!("back with forkpoint undo {target}") } else { "there is no way back".to_owned() };
    let next = match &failed.trouble {
        Trouble::SourceMoved { .. } | Trouble::NewerThanSource { .. } | Trouble::Checksum { .. } => {
            format!("The rewind of {target} is half-way and cannot go on as planned: {back}.")
        }
        _ => format!(
            "The rewind of {target} is half-way: go on with forkpoint resume {target}, or {back}. forkpoint status \
             {target} says more."
        ),
    };
    let what = failed.trouble.to_string();
    Failure::new(exit::HALFWAY, format!("{}. {next}", what.trim_end_matches('.')))
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
