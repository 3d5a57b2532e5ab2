//! Timeline history files (`timeline.c`).

use super::{Lsn, TimelineId};

/// The timelines that led to one timeline, oldest first; the last entry is the timeline itself, with an open end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The timeline that the file is of.
    pub timeline: TimelineId,
    /// Ascending; never empty.
    pub entries: Vec<HistoryEntry>,
    /// The file's lines as they stand, comments and blank ones too, without line ends.
    pub lines: Vec<String>,
}

/// One timeline of a history: it covers `begin` up to but not including `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where it begins: the previous entry's end, 0/0 for the first.
    pub begin: Lsn,
    /// Where the next one forked off; [`Lsn::MAX`] for the last entry.
    pub end: Lsn,
    /// Why the next timeline was made, as the file says; empty for the last entry.
    pub reason: String,
}
