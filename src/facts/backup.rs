//! Where a base backup ended: before that its files are not consistent.

use crate::pg::Lsn;
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Progress};
use crate::scan::walk::{Start, for_each, record_start};
use crate::source::leftovers::BackupLabel;
use crate::source::walset::WalSet;
use crate::wal::rmgr::{id, op};

/// The end of the backup that began at `start`, as a backup history file of `set` has it, or a record along `path`.
///
/// # Errors
/// Cancelled.
pub fn end(
    start: Lsn,
    set: &WalSet,
    path: &WalPath<'_>,
    progress: &Progress,
) -> Result<Option<Lsn>, Cancelled> {
    for (_, _, content) in set.backup_records() {
        let record = BackupLabel::parse(&String::from_utf8_lossy(&content));
        if record.start == Some(start) {
            let stop = record.field("STOP WAL LOCATION").and_then(|v| v.split(' ').next()?.parse().ok());
            if stop.is_some() {
                return Ok(stop);
            }
        }
    }
    let mut end = None;
    let at = Start::Record(record_start(start, path.format.segment_size.bytes()));
    for_each(path, at, Lsn::MAX, progress, |record| {
        // xl_backup_end has the backup's start (XLOG_BACKUP_END, xlog.c)
        let is_end = record.rmid == id::XLOG && record.info & 0xF0 == op::XLOG_BACKUP_END;
        if is_end && record.main_data(path.format.major).is_some_and(|main| main == start.0.to_le_bytes()) {
            end = Some(record.end.align8());
        }
        end.is_none()
    })?;
    Ok(end)
}
