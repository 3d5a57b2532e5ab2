//! What is said before a plan is carried out: the question, and why it is not even asked.

use std::path::Path;

use super::words;
use crate::plan::Plan;
use crate::rewind::quiet;
use crate::rewind::room::Lack;

/// What would happen, a sentence each.
pub fn lines(plan: &Plan, target: &Path) -> Vec<String> {
    let lost = match (plan.loss.commits, plan.loss.at_least) {
        (None, _) => "Committed transactions are discarded; how many is not known.".to_owned(),
        (Some(0), false) => "No committed transaction is discarded.".to_owned(),
        (Some(n), false) => format!("{} discarded.", words::counted(n, "committed transaction")),
        (Some(n), true) => format!("At least {} discarded.", words::counted(n, "committed transaction")),
    };
    vec![format!("{} becomes like {}.", words::path(target), words::path(plan.source.path.as_path())), lost]
}

/// What the user has to vouch for where the target was not shut down, before it is watched or when it was.
pub fn not_shut_down(plan: &Plan, target: &Path, watched: bool) -> String {
    let seconds = quiet::WATCH.as_secs();
    let watch = if watched {
        format!("Nothing changed in it for {seconds} s")
    } else {
        format!("It is watched for {seconds} s before anything is written")
    };
    format!(
        "The control file of {} says \"{}\". {watch}, but a server on another machine with the same storage cannot be seen \
         from here.",
        words::path(target),
        plan.target.state
    )
}

/// A server works on the target.
pub fn not_quiet(target: &Path) -> String {
    format!(
        "the control file or WAL of {} changed while it was watched: a server runs on it, perhaps on another machine. Stop \
         it first.",
        words::path(target)
    )
}

/// What undo by a clone throws away.
pub fn drops_work(target: &Path) -> String {
    format!(
        "{} becomes what it was when its clone was made. All that came into it since then goes away: what a server did \
         there, its log files in that directory too, and every file that was put there.",
        words::path(target)
    )
}

/// The undo store does not fit.
pub fn no_room(lack: &Lack) -> String {
    format!(
        "{} has {} free, and with the undo store {} are needed.",
        words::path(&lack.at),
        words::bytes(lack.free),
        words::bytes(lack.needed)
    )
}

/// What is different in a plan that was made anew, in so many sentences at most; `None` if it is the same.
pub fn changed(stored: &Plan, made: &Plan) -> Option<String> {
    const SENTENCES: usize = 5;
    let changes = stored.changes(made);
    let shown = changes.get(..changes.len().min(SENTENCES)).unwrap_or_default().join(" ");
    (!changes.is_empty()).then_some(shown)
}
