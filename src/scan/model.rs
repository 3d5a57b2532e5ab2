//! What a scan finds.

use std::path::PathBuf;

use crate::pg::{Fork, Lsn, Oid, RelFile, TimelineId, TimestampTz, Xid};

use super::BlockSet;

/// A kind of record: resource manager and the operation bits of its info byte (flags cleared).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordKind {
    /// Resource manager.
    pub rmid: u8,
    /// Operation, high bits of the info byte.
    pub op: u8,
}

/// Changes of one relation fork in a range.
#[derive(Debug, Clone, Default)]
pub struct ForkChanges {
    /// The blocks.
    pub blocks: BlockSet,
    /// Number of block references (a block changed twice counts twice).
    pub references: u64,
    /// How many of them carried a full-page image.
    pub images: u64,
    /// Start of the first record that touched it.
    pub first: Lsn,
    /// Start of the last record that touched it.
    pub last: Lsn,
    /// By which kinds of record, with counts; most frequent first.
    pub kinds: Vec<(RecordKind, u64)>,
}

/// One relation fork: what changed from the start of the scan, told apart by the divergence.
#[derive(Debug, Clone)]
pub struct RelationChanges {
    /// Its numbers.
    pub rel: RelFile,
    /// Its fork.
    pub fork: Fork,
    /// Changed before the divergence (the last common checkpoint to the divergence).
    pub before: Option<ForkChanges>,
    /// Changed after it.
    pub after: Option<ForkChanges>,
}

/// Changes that are not of single blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileEvent {
    /// A relation fork's file was made (XLOG_SMGR_CREATE).
    Created(RelFile, Fork),
    /// A relation was cut to so many blocks (XLOG_SMGR_TRUNCATE).
    Truncated(RelFile, u32),
    /// A relation's files were dropped with the end of a transaction.
    Dropped(RelFile),
    /// A database was made: its OID, its tablespace.
    DatabaseCreated(Oid, Oid),
    /// A database was dropped: its OID, its tablespaces.
    DatabaseDropped(Oid, Vec<Oid>),
    /// A tablespace was made: OID, path.
    TablespaceCreated(Oid, String),
    /// A tablespace was dropped.
    TablespaceDropped(Oid),
    /// A relation map was rewritten: database (0 = shared).
    RelationMap(Oid),
}

/// A [`FileEvent`] with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedEvent {
    /// Start of the record.
    pub lsn: Lsn,
    /// The transaction, 0 for none.
    pub xid: Xid,
    /// At or after the divergence.
    pub after: bool,
    /// What happened.
    pub event: FileEvent,
}

/// Everything that changed in a range.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Sorted by numbers and fork.
    pub relations: Vec<RelationChanges>,
    /// In WAL order.
    pub events: Vec<PlacedEvent>,
    /// Records by kind, before and after the divergence.
    pub kinds: Vec<(RecordKind, u64, u64)>,
}

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum XactEnd {
    /// COMMIT.
    Committed,
    /// ABORT.
    Aborted,
    /// PREPARE TRANSACTION, not decided by the end of WAL.
    Prepared,
    /// COMMIT PREPARED.
    CommittedPrepared,
    /// ROLLBACK PREPARED.
    AbortedPrepared,
    /// Still open where WAL ends (a crash rolled it back).
    InProgress,
}

impl XactEnd {
    /// A rewind discards its effects.
    pub const fn is_commit(self) -> bool {
        matches!(self, Self::Committed | Self::CommittedPrepared)
    }
}

/// A transaction that ended after the divergence or was open at the end. Subtransactions are folded into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Xact {
    /// Its identifier.
    pub xid: Xid,
    /// How it ended.
    pub end: XactEnd,
    /// Start of the record that ended it (for open ones: of its last record).
    pub end_lsn: Lsn,
    /// Commit, abort or prepare time.
    pub time: Option<TimestampTz>,
    /// Start of its first record in the scanned range.
    pub first_lsn: Lsn,
    /// It may have written before the scanned range: its number was given out before the last common checkpoint.
    pub may_begin_earlier: bool,
    /// Records in the scanned range, its end record included.
    pub records: u32,
    /// Index into [`RelationSets`] of the relations that it touched.
    pub relations: u32,
    /// Number of subtransactions that the end record names.
    pub subxacts: u32,
    /// For a two-phase transaction whose PREPARE lies in the scanned range; boxed, because there are few.
    pub prepared: Option<Box<Prepared>>,
}

/// The first phase of a two-phase transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Its PREPARE record: before the divergence, only the decision is lost.
    pub lsn: Lsn,
    /// Global identifier.
    pub gid: Box<str>,
}

/// How WAL ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// Nothing was written there: zeros follow.
    Zeros,
    /// The page is an old one of a recycled segment.
    Recycled,
    /// The segment does not exist (or what follows is on another timeline only): reading ended with the files.
    NoSegment,
    /// The last record is only partly there, nothing valid follows: a crash in the middle of a write.
    Torn,
    /// The server's own file, which has the length of a segment from the start, is shorter, and there was more to read.
    Cut {
        /// Where the file has no further page.
        at: Lsn,
    },
    /// Damage in the middle: valid records follow at this LSN.
    Damaged {
        /// First valid record behind the damage.
        next_valid: Lsn,
    },
    /// Reading was asked to stop there.
    Requested,
}

/// Where and how one side's WAL ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalEnd {
    /// The timeline of the last record.
    pub timeline: TimelineId,
    /// End of the last valid record: where the next one would start.
    pub lsn: Lsn,
    /// Start of the last valid record.
    pub last_record: Lsn,
    /// Its kind.
    pub last_kind: RecordKind,
    /// How it ends.
    pub kind: EndKind,
    /// Everything that the side wrote lies before it, as far as pg_control and its own files show.
    pub complete: bool,
    /// What pg_waldump of that major says when it gets there, empty for `NoSegment` and `Requested`.
    pub message: String,
    /// What that means, one plain sentence.
    pub meaning: String,
    /// The file in which it ends.
    pub path: Option<PathBuf>,
    /// Offset in that file, bytes.
    pub offset: u64,
}

/// The distinct sets of relations that transactions touched; transactions share them by index.
#[derive(Debug, Clone, Default)]
pub struct RelationSets {
    /// Index 0 is the empty set.
    pub sets: Vec<Vec<RelFile>>,
    /// Index of a stand-in for sets that were not kept because there were too many.
    pub overflow: Option<u32>,
}

impl RelationSets {
    /// The relations of set `index`; `None` when it was not kept.
    pub fn get(&self, index: u32) -> Option<&[RelFile]> {
        if self.overflow == Some(index) { None } else { self.sets.get(index as usize).map(Vec::as_slice) }
    }
}
