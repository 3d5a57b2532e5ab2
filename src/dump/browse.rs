//! Millions of records, and looking at a few of them: an index that one walk makes, and reading from the nearest of its
//! marks.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::expr::Filter;
use crate::pg::{Lsn, Major};
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Progress};
use crate::scan::walk::{Start, walk};
use crate::wal::Record;
use crate::wal::framer::Sink;
use crate::wal::record::Parts;

/// Marks that are kept at most: 2 MB.
const MARKS: usize = 1 << 18;
/// Records between two looks at the clock.
const GLANCE: u32 = 256;
/// How often the index is added to while it is made.
const OFTEN: Duration = Duration::from_millis(50);
/// What lies further than this many bytes from one wanted record to the next is not read through.
const FAR: u64 = 256 << 10;
/// A longer record (bytes) is not read whole.
pub const LONGEST: u32 = 1 << 20;

/// A stretch of WAL that can be read without a hole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where it begins.
    pub start: Start,
    /// Records from here on are not of it.
    pub to: Lsn,
}

/// Which WAL is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Course {
    /// Its stretches, in order.
    pub stretches: Vec<Stretch>,
    /// Where the sides part.
    pub divergence: Option<Lsn>,
}

impl Course {
    fn stretch_of(&self, lsn: Lsn) -> usize {
        self.stretches.iter().rposition(|s| s.start.position() <= lsn).unwrap_or(0)
    }
}

/// Something between records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Records before it.
    pub after: usize,
    /// What it says.
    pub kind: NoticeKind,
}

/// What is between records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoticeKind {
    /// The sides part here.
    Divergence(Lsn),
    /// WAL is missing from here to there.
    Gap(Lsn, Lsn),
    /// Nothing can be read from here on; the reader's message, empty where reading ended as it was asked to.
    End(Lsn, String),
}

/// What a row of the list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind<'a> {
    /// A record, by its number.
    Record(usize),
    /// Something between records.
    Notice(&'a Notice),
}

/// Where records lie: the position of every so many of those that a filter lets through.
#[derive(Debug, Clone)]
pub struct Index {
    marks: Vec<Lsn>,
    /// Every so many records have a mark; doubled when there are too many marks.
    step: usize,
    records: usize,
    notices: Vec<Notice>,
    /// The last record that was looked at.
    reached: Option<Lsn>,
    /// All of it was looked at.
    complete: bool,
    diverged: bool,
}

impl Default for Index {
    fn default() -> Self {
        Self {
            marks: Vec::new(),
            step: 1,
            records: 0,
            notices: Vec::new(),
            reached: None,
            complete: false,
            diverged: false,
        }
    }
}

impl Index {
    /// Adds the next record.
    pub fn push(&mut self, lsn: Lsn) {
        if self.records.is_multiple_of(self.step) {
            if self.marks.len() == MARKS {
                let mut number = 0;
                self.marks.retain(|_| {
                    number += 1;
                    number % 2 == 1
                });
                self.step *= 2;
            }
            if self.records.is_multiple_of(self.step) {
                self.marks.push(lsn);
            }
        }
        self.records += 1;
    }

    fn notice(&mut self, kind: NoticeKind) {
        // what was stopped behind a gap begins before it again
        if self.notices.iter().all(|notice| notice.kind != kind) {
            self.notices.push(Notice { after: self.records, kind });
        }
    }

    /// Records so far.
    pub const fn records(&self) -> usize {
        self.records
    }

    /// All of it was looked at: there are no more.
    pub const fn complete(&self) -> bool {
        self.complete
    }

    /// Where the record lies has been looked at.
    pub fn covers(&self, lsn: Lsn) -> bool {
        self.complete || self.reached.is_some_and(|reached| reached >= lsn)
    }

    /// Rows of the list: records, and what lies between them.
    pub const fn rows(&self) -> usize {
        self.records + self.notices.len()
    }

    /// What a row is.
    pub fn row(&self, row: usize) -> Option<RowKind<'_>> {
        let before = self.notices.iter().enumerate().take_while(|(n, notice)| notice.after + n < row).count();
        if let Some(notice) = self.notices.get(before).filter(|notice| notice.after + before == row) {
            return Some(RowKind::Notice(notice));
        }
        Some(row - before).filter(|record| *record < self.records).map(RowKind::Record)
    }

    /// The row of a record.
    pub fn row_of(&self, record: usize) -> usize {
        record + self.notices.iter().take_while(|notice| notice.after <= record).count()
    }

    /// Number and position of the last mark at or before this record.
    fn before(&self, record: usize) -> Option<(usize, Lsn)> {
        let mark = (record / self.step).min(self.marks.len().checked_sub(1)?);
        Some((mark * self.step, *self.marks.get(mark)?))
    }

    /// The same by its position.
    fn before_lsn(&self, lsn: Lsn) -> Option<usize> {
        let mark = self.marks.partition_point(|m| *m <= lsn).saturating_sub(1);
        (!self.marks.is_empty()).then_some(mark * self.step)
    }
}

/// An index that one thread makes and others look into.
pub type SharedIndex = Mutex<Index>;

/// The index, for a moment.
pub fn look(index: &SharedIndex) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which records are let through. One whose inside does not add up always is.
fn passes(filter: Option<&Filter>, record: &Record<'_>, parts: &mut Parts, major: Major) -> bool {
    filter.is_none_or(|f| parts.read_headers(record, major).is_err() || f.holds(record, parts, major))
}

struct Filling<'a, F> {
    index: &'a SharedIndex,
    filter: Option<&'a Filter>,
    major: Major,
    divergence: Option<Lsn>,
    parts: Parts,
    /// Up to here all is in the index already.
    done: Option<Lsn>,
    batch: Vec<Lsn>,
    seen: u32,
    last: Option<Lsn>,
    since: Instant,
    grown: F,
}

impl<F: FnMut()> Filling<'_, F> {
    fn flush(&mut self) {
        let mut index = look(self.index);
        for lsn in self.batch.drain(..) {
            if !index.diverged && self.divergence.is_some_and(|d| lsn >= d) {
                index.diverged = true;
                index.notice(NoticeKind::Divergence(self.divergence.unwrap_or(lsn)));
            }
            index.push(lsn);
        }
        index.reached = self.last.or(index.reached);
        drop(index);
        self.since = Instant::now();
        (self.grown)();
    }
}

impl<F: FnMut()> Sink for Filling<'_, F> {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        false
    }

    #[inline]
    fn record(&mut self, record: &Record<'_>) -> bool {
        if self.done.is_some_and(|done| record.lsn <= done) {
            return true;
        }
        if passes(self.filter, record, &mut self.parts, self.major) {
            self.batch.push(record.lsn);
        }
        self.last = Some(record.lsn);
        self.seen = self.seen.wrapping_add(1);
        if self.seen.is_multiple_of(GLANCE) && self.since.elapsed() >= OFTEN {
            self.flush();
        }
        true
    }
}

/// Goes through all records once and fills the index, from where it was left. `grown` is called now and then.
///
/// # Errors
/// Cancelled; the index holds what was found so far.
pub fn fill(
    index: &SharedIndex,
    path: &WalPath<'_>,
    course: &Course,
    filter: Option<&Filter>,
    progress: &Progress,
    grown: impl FnMut(),
) -> Result<(), Cancelled> {
    let (done, complete) = {
        let index = look(index);
        (index.reached, index.complete)
    };
    if complete {
        return Ok(());
    }
    let mut sink = Filling {
        index,
        filter,
        major: path.format.major,
        divergence: course.divergence,
        parts: Parts::default(),
        done,
        batch: Vec::new(),
        seen: 0,
        last: None,
        since: Instant::now(),
        grown,
    };
    let begin = done.map_or(0, |lsn| course.stretch_of(lsn));
    let mut buffer = Vec::new();
    for (number, stretch) in course.stretches.iter().enumerate().skip(begin) {
        let start = done.filter(|_| number == begin).map_or(stretch.start, Start::Record);
        let stop = walk(path, start, stretch.to, &mut sink, progress, &mut buffer);
        sink.flush();
        let stop = stop?;
        let mut index = look(index);
        let next = if stop.next.is_valid() { stop.next } else { start.position() };
        if let Some(behind) = course.stretches.get(number + 1) {
            index.notice(NoticeKind::Gap(next, behind.start.position()));
            continue;
        }
        if let Some(divergence) = course.divergence.filter(|d| !index.diverged && next >= *d) {
            index.diverged = true;
            index.notice(NoticeKind::Divergence(divergence));
        }
        let size = path.format.segment_size;
        let message = stop.problem.map(|p| p.message(path.format.major, size, stop.timeline));
        index.notice(NoticeKind::End(next, message.unwrap_or_default()));
        index.complete = true;
    }
    (sink.grown)();
    Ok(())
}

struct Visiting<'a, F> {
    filter: Option<&'a Filter>,
    major: Major,
    parts: Parts,
    /// Number of the next record that the filter lets through.
    next: usize,
    from: usize,
    to: usize,
    /// Positions of the records from number `first` on, where each has a mark.
    marks: &'a [Lsn],
    first: usize,
    enough: bool,
    far: bool,
    take: F,
}

impl<F: FnMut(usize, &Record<'_>) -> bool> Sink for Visiting<'_, F> {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        true
    }

    fn longest(&self, _: u8) -> u32 {
        LONGEST
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        if passes(self.filter, record, &mut self.parts, self.major) {
            if self.next >= self.from && !(self.take)(self.next, record) {
                self.enough = true;
            }
            self.next += 1;
        }
        self.enough |= self.next >= self.to;
        let mark = self.next.checked_sub(self.first).and_then(|n| self.marks.get(n));
        self.far = mark.is_some_and(|lsn| lsn.since(record.end) > FAR);
        !self.enough && !self.far
    }
}

/// Gives the records with the numbers `from` to `to` (not including it), whole unless they are longer than
/// [`LONGEST`]; `take` returns false to stop.
///
/// # Errors
/// Cancelled.
pub fn visit(
    index: &SharedIndex,
    path: &WalPath<'_>,
    course: &Course,
    filter: Option<&Filter>,
    (from, to): (usize, usize),
    progress: &Progress,
    mut take: impl FnMut(usize, &Record<'_>) -> bool,
) -> Result<(), Cancelled> {
    let (mut number, mut lsn, marks, first) = {
        let index = look(index);
        let Some((number, lsn)) = index.before(from) else { return Ok(()) };
        let marks = if index.step == 1 {
            index.marks.get(number..to.min(index.marks.len())).unwrap_or_default().to_vec()
        } else {
            Vec::new()
        };
        (number, lsn, marks, number)
    };
    let mut buffer = Vec::new();
    let mut start = Start::Record(lsn);
    loop {
        let stretch = course.stretch_of(lsn);
        let Some(limit) = course.stretches.get(stretch).map(|s| s.to) else { return Ok(()) };
        let mut sink = Visiting {
            filter,
            major: path.format.major,
            parts: Parts::default(),
            next: number,
            from,
            to,
            marks: &marks,
            first,
            enough: from >= to,
            far: false,
            take: &mut take,
        };
        if sink.enough {
            return Ok(());
        }
        walk(path, start, limit, &mut sink, progress, &mut buffer)?;
        number = sink.next;
        if sink.enough {
            return Ok(());
        }
        let mark = number.checked_sub(first).and_then(|n| marks.get(n)).filter(|_| sink.far);
        if let Some(mark) = mark {
            (lsn, start) = (*mark, Start::Record(*mark));
        } else if let Some(behind) = course.stretches.get(stretch + 1) {
            (lsn, start) = (behind.start.position(), behind.start);
        } else {
            return Ok(());
        }
    }
}

/// Number and position of the first record at or behind a position; `None` behind the last.
///
/// # Errors
/// Cancelled.
pub fn locate(
    index: &SharedIndex,
    path: &WalPath<'_>,
    course: &Course,
    filter: Option<&Filter>,
    lsn: Lsn,
    progress: &Progress,
) -> Result<Option<(usize, Lsn)>, Cancelled> {
    let (from, to) = {
        let index = look(index);
        let Some(from) = index.before_lsn(lsn) else { return Ok(None) };
        (from, index.records)
    };
    let mut found = None;
    visit(index, path, course, filter, (from, to), progress, |number, record| {
        if record.lsn >= lsn {
            found = Some((number, record.lsn));
        }
        found.is_none()
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_million_records_have_a_bounded_index() {
        let mut index = Index::default();
        for n in 0..30_000_000u64 {
            index.push(Lsn(n * 8));
            assert!(index.marks.capacity() <= 2 * MARKS);
        }
        assert_eq!(index.records(), 30_000_000);
        assert!(index.marks.len() <= MARKS && index.marks.len() > MARKS / 4);
        for record in [0, 1, 127, 128, 1_000_003, 29_999_999] {
            let (number, lsn) = index.before(record).unwrap();
            assert_eq!(lsn, Lsn(number as u64 * 8));
            assert!(number <= record && record - number < index.step, "{record}: {number}");
            let by_lsn = index.before_lsn(Lsn(record as u64 * 8 + 3)).unwrap();
            assert!(by_lsn <= record && record - by_lsn < index.step);
        }
    }

    #[test]
    fn rows_between_records() {
        let mut index = Index::default();
        index.notice(NoticeKind::Divergence(Lsn(1)));
        index.push(Lsn(8));
        index.push(Lsn(16));
        index.notice(NoticeKind::Gap(Lsn(24), Lsn(80)));
        index.notice(NoticeKind::Divergence(Lsn(80)));
        index.push(Lsn(80));
        index.notice(NoticeKind::End(Lsn(88), "m".into()));
        let kinds: Vec<String> = (0..9)
            .map(|row| match index.row(row) {
                Some(RowKind::Record(n)) => {
                    assert_eq!(index.row_of(n), row);
                    n.to_string()
                }
                Some(RowKind::Notice(notice)) => format!("{:?}", notice.kind),
                None => "none".into(),
            })
            .collect();
        assert_eq!(index.rows(), 7);
        assert_eq!([&kinds[1], &kinds[2], &kinds[5], &kinds[7]], ["0", "1", "2", "none"]);
        assert!(kinds[0].starts_with("Div") && kinds[3].starts_with("Gap") && kinds[4].starts_with("Div"));
        assert!(kinds[6].starts_with("End"));
    }
}
