//! The last common checkpoint: the last one before the divergence on the target.

use crate::pg::Lsn;
use crate::pg::control::CheckpointCopy;
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Progress};
use crate::scan::walk::{Start, for_each};
use crate::wal::Record;
use crate::wal::rmgr::{id, op};

use super::Checkpoint;

/// Large segments are searched in pieces of at most so many bytes.
const STRETCH: u64 = 16 << 20;
/// The first piece is shorter: a promotion usually follows a checkpoint closely.
const FIRST_STRETCH: u64 = 1 << 20;

/// What a search backwards found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The checkpoint.
    Found(Checkpoint),
    /// The segment with this number is nowhere; behind it there is no checkpoint before the divergence.
    Hole(u64),
}

/// The checkpoint record's content, if `record` is one.
pub fn of_record(record: &Record<'_>, path: &WalPath<'_>) -> Option<Checkpoint> {
    let operation = record.info & 0xF0;
    let shutdown = operation == op::XLOG_CHECKPOINT_SHUTDOWN;
    if record.rmid != id::XLOG || !(shutdown || operation == op::XLOG_CHECKPOINT_ONLINE) {
        return None;
    }
    let copy = CheckpointCopy::parse(record.main_data(path.format.major)?, path.format.major).ok()?;
    Some(Checkpoint {
        lsn: record.lsn,
        end: record.end.align8(),
        redo: copy.redo,
        timeline: copy.timeline,
        shutdown,
        next_xid: copy.next_xid,
        oldest_active_xid: copy.oldest_active_xid,
    })
}

/// Searches from `divergence` backwards, a stretch at a time: pg_rewind follows the records' previous links one by one,
/// which reads the same WAL in the slowest order.
///
/// # Errors
/// Cancelled.
pub fn last_before(path: &WalPath<'_>, divergence: Lsn, progress: &Progress) -> Result<Search, Cancelled> {
    let size = path.format.segment_size;
    let mut stretch = FIRST_STRETCH.min(size.bytes());
    let mut end = divergence;
    loop {
        let start = Lsn(end.0.saturating_sub(1) / stretch * stretch);
        progress.check()?;
        if path.open(size.segno(start)).is_none() {
            return Ok(Search::Hole(size.segno(start)));
        }
        let mut last = None;
        for_each(path, Start::Page(start), end, progress, |record| {
            last = of_record(record, path).or(last);
            true
        })?;
        match last {
            Some(found) => return Ok(Search::Found(found)),
            None if start.0 == 0 => return Ok(Search::Hole(size.segno(start))),
            None => end = start,
        }
        stretch = (stretch * 2).min(STRETCH).min(size.bytes());
    }
}
