//! What becomes of a record that is wanted.

use super::json::Json;
use super::select::Selection;
use super::stats::Stats;
use super::text::Text;
use crate::pg::{Lsn, Major, SegmentSize};
use crate::wal::Record;
use crate::wal::framer::Sink;
use crate::wal::record::Parts;
use crate::wal::rmgr::{id, op};

/// Bytes after which the buffer is written.
const FULL: usize = 128 << 10;

/// Into what records are turned.
#[derive(Debug)]
pub enum View {
    /// Lines.
    Text(Box<Text>),
    /// Objects.
    Json(Box<Json>),
    /// Counts.
    Stats(Box<Stats>),
    /// Nothing: they are only checked.
    Quiet,
}

impl View {
    /// What was written and not yet taken.
    pub fn buffer(&mut self) -> Option<&mut Vec<u8>> {
        match self {
            Self::Text(text) => Some(&mut text.buffer),
            Self::Json(json) => Some(&mut json.buffer),
            Self::Stats(_) | Self::Quiet => None,
        }
    }
}

/// Where the output goes.
pub trait Target {
    /// Takes output and empties the buffer; false: nothing more is wanted.
    fn write(&mut self, bytes: &mut Vec<u8>) -> bool;

    /// The first record lies there. Comes before any output.
    fn found(&mut self, first: Lsn);

    /// Takes the page images of a record that is shown; false stops.
    fn images(&mut self, record: &Record<'_>, parts: &Parts) -> bool;
}

/// Takes records and shows those that are wanted.
#[derive(Debug)]
pub struct Show<'a, T> {
    /// What it turns them into.
    pub view: View,
    /// Where it goes.
    pub target: T,
    /// Where the first record lies at or behind `from`.
    pub first: Option<Lsn>,
    /// Records whose inside did not add up.
    pub broken: u64,
    /// More is not wanted: the limit is reached, or the target has enough.
    pub enough: bool,
    selection: &'a Selection,
    major: Major,
    size: SegmentSize,
    from: Lsn,
    left: Option<u64>,
    full: usize,
    parts: Parts,
}

impl<'a, T: Target> Show<'a, T> {
    /// Shows records at or behind `from`, at most `limit` of them. `keep`: the target gets nothing before the end.
    pub fn new(
        view: View,
        target: T,
        selection: &'a Selection,
        (major, size): (Major, SegmentSize),
        from: Lsn,
        limit: Option<u64>,
        keep: bool,
    ) -> Self {
        let full = if keep { usize::MAX } else { FULL };
        Self {
            view,
            target,
            first: None,
            broken: 0,
            enough: false,
            selection,
            major,
            size,
            from,
            left: limit,
            full,
            parts: Parts::default(),
        }
    }

    /// Writes what is left in the buffer.
    pub fn flush(&mut self) {
        if let Some(buffer) = self.view.buffer()
            && !buffer.is_empty()
            && !self.target.write(buffer)
        {
            self.enough = true;
        }
    }

    #[inline]
    fn show(&mut self, record: &Record<'_>) {
        let taken_apart = self.parts.read(record, self.major);
        if let Err(error) = taken_apart {
            self.broken(record, error.0);
            return;
        }
        if !self.selection.by_parts(record, &self.parts, self.major) {
            return;
        }
        match &mut self.view {
            View::Text(text) => text.record(record, &self.parts),
            View::Json(json) => json.record(record, &self.parts),
            View::Stats(stats) => {
                let switch = record.rmid == id::XLOG && record.info & 0xF0 == op::XLOG_SWITCH;
                let end = if switch {
                    self.size.start(self.size.segno(record.lsn) + 1)
                } else {
                    record.end.align8()
                };
                stats.record(record, &self.parts, end);
            }
            View::Quiet => {}
        }
        if !self.target.images(record, &self.parts) {
            self.enough = true;
        }
        self.count();
    }

    #[cold]
    fn broken(&mut self, record: &Record<'_>, why: &str) {
        self.broken += 1;
        match &mut self.view {
            View::Text(text) => text.undecodable(record, why),
            View::Json(json) => json.undecodable(record, why),
            View::Stats(_) | View::Quiet => {}
        }
        self.count();
    }

    #[inline]
    fn count(&mut self) {
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
            self.enough |= *left == 0;
        }
    }
}

impl<T: Target> Sink for Show<'_, T> {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        true
    }

    #[inline]
    fn record(&mut self, record: &Record<'_>) -> bool {
        if record.lsn < self.from {
            return true;
        }
        if self.first.is_none() {
            self.first = Some(record.lsn);
            self.target.found(record.lsn);
        }
        if self.selection.by_header(record) {
            self.show(record);
            if self.view.buffer().is_some_and(|b| b.len() >= self.full) {
                self.flush();
            }
        }
        !self.enough
    }
}
