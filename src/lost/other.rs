//! What transactions do besides changing rows of tables: sequences, logical messages, large objects, databases.

use std::io;

use crate::pg::bytes::{Bytes, Short};
use crate::pg::tuple::Tuple;
use crate::pg::{Lsn, Major, RelFile, Xid};
use crate::wal::record::Record;
use crate::wal::rmgr::{id, op};

use super::collect::Collect;
use super::heap::RowOp;
use super::model::Event;

/// A sequence's last record.
#[derive(Debug, Clone, Copy)]
pub struct Moved {
    /// `last_value`.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
    /// Start of the record.
    pub lsn: Lsn,
}

impl Collect<'_, '_> {
    /// A sequence's record: its last state counts.
    pub(super) fn sequence(&mut self, record: &Record<'_>) {
        if record.lsn < self.divergence {
            return;
        }
        let Some(main) = record.main_data(self.major) else { return };
        let bytes = Bytes::new(main);
        let read = || {
            let rel = RelFile { spc: bytes.u32_at(0)?, db: bytes.u32_at(4)?, rel: bytes.u32_at(8)? };
            let tuple = Tuple::read(bytes.slice_at(12, main.len().saturating_sub(12))?)?;
            let data = Bytes::new(tuple.data());
            // to 9.6 the tuple holds the sequence's name and limits too
            let (value_at, called_at) = if self.major >= Major::V10 { (0, 16) } else { (64, 64 + 6 * 8 + 9) };
            let last_value = data.i64_at(value_at)?;
            Ok((rel, Moved { last_value, is_called: data.u8_at(called_at)? != 0, lsn: record.lsn }))
        };
        let read: Result<_, Short> = read();
        if let Ok((rel, moved)) = read {
            self.sequences.insert(rel, moved);
        }
    }

    /// A logical message, if it is of a lost transaction.
    pub(super) fn message(&mut self, record: &Record<'_>) -> io::Result<()> {
        if record.lsn < self.divergence && self.lost(record.xid).is_none() {
            return Ok(());
        }
        let Some(main) = record.main_data(self.major) else {
            let content = format!("({} bytes, not shown)", record.total_len);
            let event = Event::Message { prefix: String::new(), content, transactional: true };
            return self.lost(record.xid).map_or(Ok(()), |top| self.event(top, record.lsn, event));
        };
        let bytes = Bytes::new(main);
        let read = || {
            // xl_logical_message: database, transactional, sizes of prefix (with its zero) and content
            let transactional = bytes.u8_at(4)? != 0;
            let (prefix_size, size) = (bytes.u64_at(8)? as usize, bytes.u64_at(16)? as usize);
            let prefix = bytes.slice_at(24, prefix_size)?;
            let content = bytes.slice_at(24usize.saturating_add(prefix_size), size)?;
            let text = |b: &[u8]| String::from_utf8_lossy(b).trim_end_matches('\0').to_owned();
            Ok(Event::Message { prefix: text(prefix), content: text(content), transactional })
        };
        let read: Result<Event, Short> = read();
        match (read, self.lost(record.xid)) {
            (Ok(event), Some(top)) => self.event(top, record.lsn, event),
            _ => Ok(()),
        }
    }

    /// A database or tablespace is made or dropped.
    pub(super) fn database(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Some(top) = self.lost(record.xid) else { return Ok(()) };
        let Some(main) = record.main_data(self.major) else { return Ok(()) };
        let Ok(oid) = Bytes::new(main).u32_at(0) else { return Ok(()) };
        let (names, word) = if record.rmid == id::DBASE {
            (&self.names.0, "database")
        } else {
            (&self.names.1, "tablespace")
        };
        let object = names.get(&oid).cloned().unwrap_or_else(|| oid.to_string());
        let drop = if record.rmid == id::DBASE { op::drop_database(self.major) } else { 0x10 };
        let dropped = record.info & 0xF0 == drop;
        let (action, did) = if dropped { ("drop", "dropped") } else { ("create", "created") };
        let text = format!("{word} {object} {did}");
        self.event(top, record.lsn, Event::Ddl { action: action.into(), object, text })
    }

    /// A page of a large object.
    pub(super) fn large_object(&mut self, lsn: Lsn, top: Xid, rel: RelFile, op: RowOp) -> io::Result<()> {
        let (place, tuple, removed) = match op {
            RowOp::Insert { at, tuple, .. } => (at, tuple, false),
            RowOp::Update { new, tuple, .. } => (new, tuple, false),
            RowOp::Delete { at, .. } => (at, None, true),
            _ => return Ok(()),
        };
        let tuple = match tuple {
            Some(tuple) => Some(tuple),
            None => self.pages.tuple(rel, place.0, place.1)?.map(|(tuple, _)| tuple),
        };
        let Some(tuple) = tuple else { return Ok(()) };
        let Ok(row) = Tuple::read(&tuple) else { return Ok(()) };
        let data = Bytes::new(row.data());
        let (Ok(object), Ok(page)) = (data.u32_at(0), data.u32_at(4)) else { return Ok(()) };
        let bytes = varlena_size(row.data().get(8..).unwrap_or_default());
        let event = Event::LargeObject {
            object,
            page: Some(page as i32),
            bytes: bytes.filter(|_| !removed),
            removed,
        };
        self.event(top, lsn, event)
    }
}

/// Bytes in a varlena that is not out of line.
fn varlena_size(bytes: &[u8]) -> Option<u32> {
    let first = *bytes.first()?;
    if first & 1 == 1 {
        return Some(u32::from(first >> 1).saturating_sub(1));
    }
    let word = Bytes::new(bytes).u32_at(0).ok()?;
    if first & 3 == 2 {
        Bytes::new(bytes).u32_at(4).ok().map(|n| n & 0x3FFF_FFFF)
    } else {
        Some((word >> 2).saturating_sub(4))
    }
}
