//! Which of several copies of the old primary can follow the source.

use std::path::PathBuf;

use super::engine::{DiagnoseError, Progress};
use super::facts::{Unseen, WalNeed};
use crate::pg::{Lsn, TimelineId};
use crate::scan::WalEnd;

/// What to judge and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory to follow.
    pub source: PathBuf,
    /// Snapshots or backups of the old primary.
    pub snapshots: Vec<PathBuf>,
    /// Archives of WAL.
    pub archives: Vec<PathBuf>,
    /// A command that fetches a file of the archive.
    pub restore_command: Option<String>,
    /// Threads for the scan, at least 1.
    pub threads: usize,
}

/// What can be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotAction {
    /// It can follow the source as it is.
    Follow,
    /// It must be rewound.
    Rewind,
    /// It cannot be used.
    Unusable,
}

/// One snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The directory.
    pub path: PathBuf,
    /// What can be done with it.
    pub action: SnapshotAction,
    /// Why, one or two sentences.
    pub why: String,
    /// Where its WAL really ends.
    pub end: Option<WalEnd>,
    /// The WAL that it needs to follow and where it lies.
    pub wal: Option<WalNeed>,
    /// The one to roll back to.
    pub recommended: bool,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The directory to follow.
    pub source: PathBuf,
    /// Its timeline and the end of its WAL.
    pub source_end: Option<(TimelineId, Lsn)>,
    /// In the order of the arguments.
    pub snapshots: Vec<Snapshot>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// Judges every snapshot by the end of its WAL.
pub fn judge(_options: &Options, _progress: &Progress) -> Result<Judgement, DiagnoseError> {
    Err(DiagnoseError::Input {
        what: "the engine is not part of this build".into(),
        advice: "Take a newer one.".into(),
    })
}
