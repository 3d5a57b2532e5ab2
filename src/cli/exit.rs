//! Exit statuses, all of them.

use std::fmt::Write;

use crate::diagnosis::engine::DiagnoseError;
use crate::diagnosis::verdict::{Action, Verdict};

/// Answered or done.
pub const DONE: u8 = 0;
/// pg_controldata's own status for every failure.
pub const CONTROLDATA_FAILED: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// An input could not be read, or the evidence does not suffice.
pub const INPUT: u8 = 3;
/// Refused; nothing was written.
pub const REFUSED: u8 = 4;
/// Stopped half-way.
pub const HALFWAY: u8 = 5;
/// Failed.
pub const FAILED: u8 = 6;
/// With `--exit-code`: a rewind that loses no commit.
pub const REWIND: u8 = 10;
/// With `--exit-code`: a rewind that loses commits.
pub const REWIND_LOSES: u8 = 11;
/// With `--exit-code`: only a new copy helps.
pub const RE_CLONE: u8 = 12;
/// With `--exit-code`: the two have nothing in common.
pub const UNRELATED: u8 = 13;
/// With `--exit-code`: not decided.
pub const UNDECIDED: u8 = 14;
/// Interrupted.
pub const INTERRUPTED: u8 = 130;

/// Every status with its meaning, as `--help`, the manual page and the README have it.
pub const ALL: [(u8, &str); 12] = [
    (DONE, "answered or done; --exit-code: same position, or it can follow"),
    (USAGE, "the command line is wrong"),
    (INPUT, "an input could not be read, or the evidence does not suffice"),
    (REFUSED, "refused; nothing was written"),
    (HALFWAY, "stopped half-way: resume or undo"),
    (FAILED, "failed"),
    (REWIND, "--exit-code: rewind, no committed transaction is lost"),
    (REWIND_LOSES, "--exit-code: rewind, committed transactions are lost (or may be)"),
    (RE_CLONE, "--exit-code: only a new copy of the source helps"),
    (UNRELATED, "--exit-code: the two directories are unrelated"),
    (UNDECIDED, "--exit-code: undecided, or a finding stands in the way"),
    (INTERRUPTED, "interrupted"),
];

/// What is said of the commands that keep the statuses of PostgreSQL's programs.
pub const CONTROLDATA: &str =
    "controldata and waldump keep the statuses of pg_controldata and pg_waldump: 0, or 1 for any failure.";

/// The table for `--help`.
pub fn help() -> String {
    let mut text = String::from("Exit status:\n");
    for (status, meaning) in ALL {
        let _ = writeln!(text, "  {status:>3}  {meaning}");
    }
    text + "\n" + CONTROLDATA
}

/// The status of a verdict, for `--exit-code`.
pub fn of_verdict(verdict: &Verdict) -> u8 {
    let actable = matches!(verdict.action, Action::Same | Action::Follow | Action::Rewind);
    if actable && !verdict.blocked_by.is_empty() {
        // a script must not act where somebody has to look first
        return UNDECIDED;
    }
    match (verdict.action, verdict.lost_commits) {
        (Action::Same | Action::Follow, _) => DONE,
        (Action::Rewind, Some(0)) => REWIND,
        (Action::Rewind, _) => REWIND_LOSES,
        (Action::ReClone, _) => RE_CLONE,
        (Action::Unrelated, _) => UNRELATED,
        (Action::Undecided, _) => UNDECIDED,
    }
}

/// The status without `--exit-code`: the report is there, whether it answers the question or not.
pub fn of_answer(verdict: &Verdict) -> u8 {
    if verdict.action == Action::Undecided { INPUT } else { DONE }
}

/// Why a command ends without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// One sentence on what is the matter, one on what to do.
    pub message: String,
}

impl Failure {
    /// With this status.
    pub fn new(status: u8, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<DiagnoseError> for Failure {
    fn from(error: DiagnoseError) -> Self {
        let status = match error {
            DiagnoseError::Input(_) => INPUT,
            DiagnoseError::Cancelled => INTERRUPTED,
        };
        Self::new(status, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::verdict::Picture;

    #[test]
    fn unknown_loss_counts_as_loss() {
        let of = |action, lost_commits| {
            of_verdict(&Verdict {
                action,
                line: String::new(),
                picture: Picture::None,
                lost_commits,
                blocked_by: Vec::new(),
                lacks: Vec::new(),
                next_steps: Vec::new(),
                other_routes: Vec::new(),
            })
        };
        assert_eq!([Some(0), Some(3), None].map(|lost| of(Action::Rewind, lost)), [10, 11, 11]);
        let others = [Action::Same, Action::Follow, Action::ReClone, Action::Unrelated, Action::Undecided];
        assert_eq!(others.map(|action| of(action, None)), [0, 0, 12, 13, 14]);
        let blocked = |action| {
            of_verdict(&Verdict {
                action,
                line: String::new(),
                picture: Picture::None,
                lost_commits: Some(0),
                blocked_by: vec!["FP03"],
                lacks: Vec::new(),
                next_steps: Vec::new(),
                other_routes: Vec::new(),
            })
        };
        assert_eq!(
            [Action::Same, Action::Follow, Action::Rewind, Action::ReClone].map(blocked),
            [14, 14, 14, 12]
        );
        let mut statuses = ALL.map(|(status, _)| status);
        statuses.sort_unstable();
        assert_eq!(statuses, [0, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 130]);
    }
}
