//! How a rewind of a data directory stands.

use std::path::{Path, PathBuf};

use super::apply::label_now;
use super::control;
use super::disk::Disk;
use super::error::Trouble;
use super::hash;
use super::pointer;
use super::undo;

/// How far a rewind got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none.
    None,
    /// It is half-way; or all is ready and nothing is done yet.
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

/// What is known of a rewind.
#[derive(Debug, Clone)]
pub struct Status {
    /// How far it got.
    pub state: State,
    /// What belongs to no rewind of this directory, in a sentence.
    pub strange: Option<String>,
    /// The rewind, if there is one.
    pub rewind: Option<Rewind>,
}

/// A rewind that has a store.
#[derive(Debug, Clone)]
pub struct Rewind {
    /// Where the store is.
    pub store: PathBuf,
    /// Number of this rewind.
    pub operation: String,
    /// Identity of its plan.
    pub plan: String,
    /// When it began, in seconds since 1970 UTC.
    pub began: i64,
    /// When it was finished.
    pub finished: Option<i64>,
    /// When undoing began.
    pub undo_began: Option<i64>,
    /// When that was finished.
    pub undone: Option<i64>,
    /// Operations that are on disk.
    pub performed: usize,
    /// Operations for which all is kept.
    pub prepared: usize,
    /// The control file is not in its place: no server starts.
    pub control_aside: bool,
    /// A server has worked on the result.
    pub replayed: bool,
    /// What was there before is in the store.
    pub kept: bool,
    /// There is a complete clone of what was there before.
    pub clone: bool,
    /// Undoing it throws away what a server did since.
    pub drops_work: bool,
    /// Why it cannot be undone, if it cannot.
    pub no_undo: Option<String>,
}

/// Looks.
pub fn status(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<Status, Trouble> {
    let found = pointer::find(disk, target, undo_dir)?;
    let Some((store, manifest, journal)) = found.store else {
        return Ok(Status { state: State::None, strange: found.strange, rewind: None });
    };
    let state = if journal.discarding.is_some() {
        State::Discarding
    } else if journal.undone.is_some() {
        State::Undone
    } else if journal.undo_begun.is_some() {
        State::Undoing
    } else if journal.done.is_some() {
        State::Done
    } else {
        State::InProgress
    };
    let control = control::read(disk, found.root, target)?;
    let replayed = match (&journal.finishing, &control) {
        (Some(finishing), Some(bytes)) if state == State::Done => {
            hash::of(bytes) != finishing.control_sha256
                || label_now(disk, found.root, target)?.as_ref() != Some(&finishing.label_sha256)
        }
        _ => false,
    };
    let no_undo = match state {
        State::Undone => Some("it was undone".into()),
        _ => undo::impossible(disk, found.root, target, &manifest, &journal)?,
    };
    let clone = manifest.clone.is_some();
    let drops_work = clone
        && journal.undo_begun.is_none()
        && undo::by_changes(disk, found.root, target, &manifest, &journal)?.is_some();
    let rewind = Rewind {
        store,
        operation: manifest.operation,
        plan: manifest.plan,
        began: journal.begin.at,
        finished: journal.done,
        undo_began: journal.undo_begun,
        undone: journal.undone,
        performed: journal.performed,
        prepared: journal.items.len(),
        control_aside: control.is_none(),
        replayed,
        kept: manifest.undo,
        clone,
        drops_work,
        no_undo,
    };
    Ok(Status { state, strange: found.strange, rewind: Some(rewind) })
}
