//! How a rewind of a data directory stands.

use std::path::{Path, PathBuf};

use super::apply::label_now;
use super::control;
use super::disk::Disk;
use super::error::{Doing, Trouble};
use super::hash;
use super::manifest::SyncMethod;
use super::pointer;
use super::store;
use super::undo;
use crate::plan::Plan;

/// How far a rewind got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is none.
    None,
    /// It is half-way, and its store is not to be found: it can neither go on nor back.
    StoreMissing,
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
    /// What belongs to no rewind of this directory, or that its store is missing, in a sentence.
    pub strange: Option<String>,
    /// What to do where the store is missing.
    pub without_store: Option<String>,
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
    /// It is of before a server recovered the target.
    pub early: bool,
    /// Somebody has worked on the result, so that only the clone leads back.
    pub worked_on: bool,
    /// Undoing it throws away what came into the target since.
    pub drops_work: bool,
    /// Why it cannot be undone, if it cannot.
    pub no_undo: Option<String>,
}

/// What the rewind of a data directory is carried out with, if it has a store.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its plan.
    pub plan: Plan,
    /// Where its store is.
    pub store: PathBuf,
    /// Whether it can be undone.
    pub undo: bool,
    /// How the target is synced.
    pub sync: SyncMethod,
}

/// Reads that.
///
/// # Errors
/// There is none, or its plan cannot be read.
pub fn begun(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<Begun, Trouble> {
    let found = pointer::find(disk, target, undo_dir)?;
    let path = pointer::required(&found, target)?;
    let root = disk.open_root(&path).doing("could not be opened", &path)?;
    let (manifest, _) = store::read(disk, root, &path)?;
    let plan = store::plan(disk, root, &path, &manifest)?;
    Ok(Begun { plan, store: path, undo: manifest.undo, sync: manifest.sync })
}

/// Looks.
pub fn status(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<Status, Trouble> {
    let found = pointer::find(disk, target, undo_dir)?;
    let told = found.told(target);
    if found.lost() {
        let next = Some(found.without_store(target));
        return Ok(Status { state: State::StoreMissing, strange: told, without_store: next, rewind: None });
    }
    let Some((store, manifest, journal)) = found.store else {
        let next = found.missing.as_ref().map(|_| found.without_store(target));
        return Ok(Status { state: State::None, strange: told, without_store: next, rewind: None });
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
    // the way back by a clone takes away what came later; from before a recovery there is no other
    let early = manifest.clone.as_ref().is_some_and(|note| note.early.is_some());
    let by_clone = clone && journal.undo_begun.is_none();
    let worked_on = by_clone && undo::by_changes(disk, found.root, target, &manifest, &journal)?.is_some();
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
        early,
        worked_on,
        drops_work: worked_on || by_clone && early,
        no_undo,
    };
    Ok(Status { state, strange: told, without_store: None, rewind: Some(rewind) })
}
