//! Why a rewind, or its undoing, does not go on.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::full::Differing;
use super::journal::BadJournal;
use crate::pg::{BlockNumber, Lsn};

/// What is the matter, in one sentence and, where something can be done, a second one.
#[derive(Debug, Error)]
pub enum Trouble {
    /// A call of the operating system failed.
    #[error("{}: {doing}: {error}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A condition does not hold.
    #[error("{0}")]
    Refused(String),
    /// The target is not what the plan saw.
    #[error("{}: the target has changed since the plan was made: {what}. Make a new plan.", .path.display())]
    TargetChanged {
        /// Which file.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// The source is not what the plan saw.
    #[error(
        "{}: the source has changed since the plan was made: {what}. What was copied so far does not fit what would \
         be copied from now on.",
        .path.display()
    )]
    SourceMoved {
        /// Which file.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// A page of the source has a checksum that is not its own.
    #[error(
        "{}: block {block} of the source has the checksum {stored:04X}, expected {computed:04X}: the page is damaged \
         and is not copied",
        .path.display()
    )]
    Checksum {
        /// Which file.
        path: PathBuf,
        /// Counted within the relation.
        block: BlockNumber,
        /// As stored.
        stored: u16,
        /// As it should be.
        computed: u16,
    },
    /// A page of the source is newer than the source was.
    #[error(
        "{}: block {block} of the source was changed by WAL up to {lsn}, behind the minimum recovery point {limit}: a \
         server runs on the source, or it is no atomic snapshot",
        .path.display()
    )]
    NewerThanSource {
        /// Which file.
        path: PathBuf,
        /// Counted within the relation.
        block: BlockNumber,
        /// The page's LSN.
        lsn: Lsn,
        /// What it may be at most.
        limit: Lsn,
    },
    /// A file was not written as it was copied.
    #[error("{}: read back, it differs from what was written at offset {offset}", .path.display())]
    ReadBack {
        /// Which file.
        path: PathBuf,
        /// Where, in bytes.
        offset: u64,
    },
    /// The result would not become what the source is.
    #[error(
        "{count} {} from the source and {} not made equal by replay from {redo} on, the first one {}",
        if *.count == 1 { "place differs" } else { "places differ" },
        if *.count == 1 { "is" } else { "are" },
        .list.first().map(Differing::to_string).unwrap_or_default()
    )]
    Differs {
        /// What differs, by path and block; where there are very many, the first ones.
        list: Vec<Differing>,
        /// All of them.
        count: u64,
        /// Where replay starts.
        redo: Lsn,
    },
    /// The store is not whole.
    #[error("the undo store {}: {what}", .path.display())]
    Store {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The journal cannot be read.
    #[error("the undo store {}: {error}", .path.display())]
    Journal {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        error: BadJournal,
    },
    /// The user wanted to stop.
    #[error("interrupted")]
    Cancelled,
}

impl From<crate::scan::progress::Cancelled> for Trouble {
    fn from(_: crate::scan::progress::Cancelled) -> Self {
        Self::Cancelled
    }
}

/// A trouble, and whether something was changed before it.
#[derive(Debug, Error)]
#[error("{trouble}")]
pub struct Failed {
    /// What is the matter.
    pub trouble: Trouble,
    /// The target is neither what it was nor what it is to become: `resume` or `undo`.
    pub halfway: bool,
}

impl Failed {
    pub(super) fn before(trouble: Trouble) -> Self {
        Self { trouble, halfway: false }
    }

    pub(super) fn halfway(trouble: Trouble) -> Self {
        Self { trouble, halfway: true }
    }
}

/// Says of an error what was tried and with what.
pub(super) trait Doing<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Trouble>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, doing: &'static str, path: &Path) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::Io { doing, path: path.to_owned(), error })
    }
}

pub(super) fn refuse<T>(text: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Refused(text.into()))
}
