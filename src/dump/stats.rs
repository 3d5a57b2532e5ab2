//! Statistics as `pg_waldump --stats` prints them.

use std::fmt::Write;

use crate::pg::{Lsn, Major};
use crate::wal::Record;
use crate::wal::record::Parts;
use crate::wal::rmgr;

/// Kinds of record to a resource manager: the upper four bits of the info byte.
const KINDS: usize = 16;

/// Records of one kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// Their length without page images, in bytes.
    pub record_bytes: u64,
    /// Length of the page images, in bytes.
    pub image_bytes: u64,
}

impl Count {
    fn add(&mut self, other: &Self) {
        self.count += other.count;
        self.record_bytes += other.record_bytes;
        self.image_bytes += other.image_bytes;
    }
}

/// Records counted by resource manager and operation.
#[derive(Debug, Clone)]
pub struct Stats {
    kinds: Vec<[Count; KINDS]>,
    /// End of the last record counted; 0/0 without any.
    pub end: Lsn,
}

impl Default for Stats {
    fn default() -> Self {
        Self { kinds: vec![[Count::default(); KINDS]; 256], end: Lsn::INVALID }
    }
}

impl Stats {
    /// Counts a record; `end` is where the next one starts.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, parts: &Parts, end: Lsn) {
        let images: u32 = parts.blocks.iter().map(|b| b.image.end - b.image.start).sum();
        self.end = end;
        let kind = usize::from(rmgr::operation(record.rmid, record.info) >> 4);
        let found = self.kinds.get_mut(usize::from(record.rmid)).and_then(|kinds| kinds.get_mut(kind));
        if let Some(found) = found {
            found.add(&Count {
                count: 1,
                record_bytes: u64::from(record.total_len.saturating_sub(images)),
                image_bytes: u64::from(images),
            });
        }
    }

    /// Adds what was counted in a later stretch.
    pub fn merge(&mut self, later: &Self) {
        for (mine, theirs) in self.kinds.iter_mut().flatten().zip(later.kinds.iter().flatten()) {
            mine.add(theirs);
        }
        if later.end.is_valid() {
            self.end = later.end;
        }
    }

    /// The rows: resource manager, operation (`None` for all of a resource manager) and count.
    pub fn rows(&self, per_record: bool, major: Major) -> Vec<(u8, Option<u8>, Count)> {
        let mut rows = Vec::new();
        for (rmid, kinds) in (0u8..=u8::MAX).zip(&self.kinds) {
            if per_record {
                let occurred = (0u8..).zip(kinds).filter(|(_, count)| count.count > 0);
                rows.extend(occurred.map(|(kind, count)| (rmid, Some(kind << 4), *count)));
                continue;
            }
            let mut sum = Count::default();
            for count in kinds {
                sum.add(count);
            }
            // built-in ones are always told
            if sum.count > 0 || (rmid < rmgr::id::CUSTOM && rmgr::is_valid(rmid, major)) {
                rows.push((rmid, None, sum));
            }
        }
        rows
    }

    /// All of it.
    pub fn total(&self) -> Count {
        let mut total = Count::default();
        for count in self.kinds.iter().flatten() {
            total.add(count);
        }
        total
    }

    /// pg_waldump's table. `first` is where the first record lies.
    pub fn table(&self, per_record: bool, first: Lsn, major: Major) -> String {
        let mut out = String::new();
        let lsn = |at: Lsn| {
            let mut text = Vec::new();
            super::write::lsn(&mut text, at, major);
            String::from_utf8_lossy(&text).into_owned()
        };
        if major >= Major::V15 {
            if !self.end.is_valid() {
                return out;
            }
            let _ = writeln!(out, "WAL statistics between {} and {}:", lsn(first), lsn(self.end));
        }
        for (name, columns) in [
            ("Type", ["N", "(%)", "Record size", "(%)", "FPI size", "(%)", "Combined size", "(%)"]),
            ("----", ["-", "---", "-----------", "---", "--------", "---", "-------------", "---"]),
        ] {
            let _ = write!(out, "{name:<27}");
            for (n, column) in columns.into_iter().enumerate() {
                let _ = write!(out, " {column:>0$}", if n % 2 == 0 { 20 } else { 8 });
            }
            out.push('\n');
        }
        let total = self.total();
        let all = total.record_bytes + total.image_bytes;
        let share = |part: u64, whole: u64| if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 };
        for (rmid, info, row) in self.rows(per_record, major) {
            let name = match info {
                None => rmgr::name(rmid).into_owned(),
                Some(info) => match rmgr::op_name(rmid, info, major) {
                    Some(op) => format!("{}/{op}", rmgr::name(rmid)),
                    None => format!("{}/UNKNOWN ({info:x})", rmgr::name(rmid)),
                },
            };
            let both = row.record_bytes + row.image_bytes;
            let _ = write!(out, "{name:<27}");
            for (part, whole) in [
                (row.count, total.count),
                (row.record_bytes, total.record_bytes),
                (row.image_bytes, total.image_bytes),
                (both, all),
            ] {
                let _ = write!(out, " {part:>20} ({:6.2})", share(part, whole));
            }
            out.push('\n');
        }
        let line = "--------";
        let _ = writeln!(
            out,
            "{:<27} {line:>20} {:>8} {line:>20} {:>8} {line:>20} {:>8} {line:>20}",
            "", "", "", ""
        );
        let percent = |part: u64| format!("[{:.2}%]", share(part, all));
        let _ = writeln!(
            out,
            "{:<27} {:>20} {:<9}{:>20} {:<9}{:>20} {:<9}{:>20} {:<6}",
            "Total",
            total.count,
            "",
            total.record_bytes,
            percent(total.record_bytes),
            total.image_bytes,
            percent(total.image_bytes),
            all,
            "[100%]"
        );
        out
    }
}
