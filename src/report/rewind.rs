//! How a rewind stands, for scripts and for a person.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::content::prose;
use super::doc::{Block, Inline, Style};
use super::dto::{PathText, SCHEMA_VERSION, Time, Tool};
use super::words;
use crate::rewind::status::{Rewind, State, Status};

/// `forkpoint status --format json`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "forkpoint status")]
pub struct Report {
    /// Version of this format.
    pub schema_version: u32,
    /// What made this.
    pub tool: Tool,
    /// The data directory.
    pub target: PathText,
    /// How far the rewind got.
    pub state: StateText,
    /// What belongs to no rewind of this directory.
    pub strange: Option<String>,
    /// The rewind, if there is one.
    pub rewind: Option<RewindView>,
    /// The server would not start, as its control file is set aside.
    pub control_file_aside: bool,
    /// `forkpoint resume` can complete it.
    pub can_resume: bool,
    /// `forkpoint undo` can put it back.
    pub can_undo: bool,
    /// Why it cannot, if it cannot.
    pub no_undo: Option<String>,
    /// What to do now.
    pub next_steps: Vec<String>,
}

/// How far a rewind got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StateText {
    /// There is none.
    None,
    /// It is half-way, and its undo store is not to be found.
    StoreMissing,
    /// It is half-way.
    InProgress,
    /// It is finished.
    Done,
    /// It is being undone.
    Undoing,
    /// It was undone.
    Undone,
    /// Its store is being removed.
    Discarding,
}

/// A rewind that has a store.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RewindView {
    /// Where the store is.
    pub store: PathText,
    /// Number of this rewind.
    pub operation: String,
    /// Identity of its plan.
    pub plan: String,
    /// When it began.
    pub began: Time,
    /// When it was finished.
    pub finished: Option<Time>,
    /// When undoing began.
    pub undo_began: Option<Time>,
    /// When that was finished.
    pub undone: Option<Time>,
    /// Operations that are on disk.
    pub operations_on_disk: u64,
    /// Operations for which all is kept.
    pub operations_kept: u64,
    /// A server has worked on the result.
    pub replayed: bool,
    /// The store has a complete clone of what was there before: it can be undone also after a server has worked on it.
    pub clone: bool,
    /// Undoing throws away what came into the data directory since.
    pub undo_drops_work: bool,
}

impl Report {
    /// Of a data directory.
    pub fn new(target: &Path, status: &Status) -> Self {
        let time = |at: i64| Time::from(words::from_unix(at));
        let view = |r: &Rewind| RewindView {
            store: PathText::from(r.store.as_path()),
            operation: r.operation.clone(),
            plan: r.plan.clone(),
            began: time(r.began),
            finished: r.finished.map(time),
            undo_began: r.undo_began.map(time),
            undone: r.undone.map(time),
            operations_on_disk: r.performed as u64,
            operations_kept: r.prepared as u64,
            replayed: r.replayed,
            clone: r.clone,
            undo_drops_work: r.drops_work,
        };
        let rewind = status.rewind.as_ref();
        let no_undo = rewind.and_then(|r| r.no_undo.clone());
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            target: PathText::from(target),
            state: match status.state {
                State::None => StateText::None,
                State::StoreMissing => StateText::StoreMissing,
                State::InProgress => StateText::InProgress,
                State::Done => StateText::Done,
                State::Undoing => StateText::Undoing,
                State::Undone => StateText::Undone,
                State::Discarding => StateText::Discarding,
            },
            strange: status.strange.clone(),
            rewind: rewind.map(view),
            control_file_aside: status.state == State::StoreMissing
                || rewind.is_some_and(|r| r.control_aside),
            can_resume: status.state == State::InProgress,
            can_undo: rewind.is_some() && no_undo.is_none(),
            no_undo,
            next_steps: next_steps(target, status),
        }
    }
}

/// What to do now, in order.
fn next_steps(target: &Path, status: &Status) -> Vec<String> {
    let target = words::path(target);
    let undo = format!("`forkpoint undo {target}` puts it back to what it was.");
    let can_undo = status.rewind.as_ref().is_some_and(|r| r.no_undo.is_none());
    let discard =
        format!("`forkpoint undo {target} --discard` removes the store once it is of no use any more.");
    let mut steps = Vec::new();
    match status.state {
        State::None | State::StoreMissing => steps.extend(status.without_store.clone()),
        State::InProgress => {
            steps
                .push(format!("`forkpoint resume {target}` completes it; the source must not have changed."));
            if can_undo {
                steps.push(undo);
            }
        }
        State::Done => {
            let rewind = status.rewind.as_ref();
            if rewind.is_some_and(|r| r.early) {
                steps.push(format!(
                    "`forkpoint undo {target}` puts it back to what it was before crash recovery, and throws away what came \
                     into it since."
                ));
            } else if rewind.is_some_and(|r| r.drops_work) {
                steps.push(format!(
                    "`forkpoint undo {target}` puts it back to what it was, and throws away what the server did since."
                ));
            } else if rewind.is_some_and(|r| r.clone) {
                steps.push("Start the server; this rewind can be undone afterwards, too.".into());
                steps.push(undo);
            } else if can_undo {
                steps.push("Start the server; from then on this rewind cannot be undone.".into());
                steps.push(undo);
            }
            if let Some(rewind) = rewind.filter(|r| r.kept) {
                steps.push(format!(
                    "`forkpoint lost {} SOURCE` shows the rows that it lost, `forkpoint report` in the same way what it was.",
                    words::path(&rewind.store)
                ));
            }
            steps.push(discard);
        }
        State::Undoing => steps.push(format!("`forkpoint undo {target}` goes on with it.")),
        State::Undone => steps.push(discard),
        State::Discarding => steps.push(format!("`forkpoint undo {target} --discard` goes on with it.")),
    }
    steps
}

/// The parts of the text.
pub fn content(target: &Path, status: &Status) -> Vec<Block> {
    let report = Report::new(target, status);
    let (sign, style, line) = match (status.state, status.rewind.as_ref()) {
        (State::None, _) => ('·', Style::Good, "No rewind of this directory is known"),
        (State::StoreMissing, _) => (
            '!',
            Style::Bad,
            "A rewind is half-way, and its undo store is not there: the directory is neither old nor new",
        ),
        (State::InProgress, Some(r)) if !r.control_aside => {
            ('!', Style::Warn, "A rewind was begun, and nothing was changed yet")
        }
        (State::InProgress, _) => {
            ('!', Style::Bad, "A rewind is half-way: the directory is neither old nor new")
        }
        (State::Done, Some(r)) if r.replayed => {
            ('✓', Style::Good, "The rewind is finished, and a server has used the result")
        }
        (State::Done, _) => ('✓', Style::Good, "The rewind is finished"),
        (State::Undoing, _) => {
            ('!', Style::Bad, "Undoing a rewind is half-way: the directory is neither old nor new")
        }
        (State::Undone, _) => {
            ('✓', Style::Good, "The rewind was undone: the directory is what it was before")
        }
        (State::Discarding, _) => ('!', Style::Warn, "The store of a rewind is being removed"),
    };
    let mut blocks = vec![Block::Verdict { sign, style, line: line.into() }];
    let mut pairs = vec![("data directory".to_owned(), Inline::new().path(target))];
    if let Some(rewind) = &status.rewind {
        pairs.push(("undo store".to_owned(), Inline::new().path(&rewind.store)));
        let mut time = |what: &str, at: Option<i64>| {
            if let Some(at) = at {
                pairs.push((what.to_owned(), words::time(words::from_unix(at)).into()));
            }
        };
        time("began", Some(rewind.began));
        time("finished", rewind.finished);
        time("undoing began", rewind.undo_began);
        time("undone", rewind.undone);
        pairs.push(("plan".to_owned(), rewind.plan.clone().into()));
        if status.state == State::InProgress {
            let text = format!("{} on disk, {} prepared", rewind.performed, rewind.prepared);
            pairs.push(("operations".to_owned(), text.into()));
        }
    }
    blocks.push(Block::Pairs(pairs));
    if let Some(strange) = &status.strange {
        let mut text = strange.trim_end_matches('.').to_owned();
        if let Some(first) = text.get(..1).map(str::to_uppercase) {
            text.replace_range(..1, &first);
        }
        blocks.push(Block::Para(format!("{text}.").into()));
    }
    if report.control_file_aside {
        blocks.push(Block::Para(prose(
            "No server starts on it: its control file is set aside as `global/pg_control.forkpoint`. A server says `could \
             not find the database system … could not open file \"…/global/pg_control\": No such file or directory`, and \
             stops.",
        )));
        blocks.push(Block::Para(prose(
            "Never make a control file with `pg_resetwal` or `touch`, and never rename the old one back by hand: the \
             server would start on a mixture of two histories.",
        )));
    }
    if let Some(why) =
        report.no_undo.as_ref().filter(|_| matches!(status.state, State::InProgress | State::Done))
    {
        blocks.push(Block::Para(format!("It cannot be undone: {why}.").into()));
    }
    if !report.next_steps.is_empty() {
        blocks.push(Block::Heading("What can be done now".into()));
        let items = report.next_steps.iter().map(|s| prose(s)).collect();
        blocks.push(Block::List { numbered: false, items });
    }
    blocks
}
