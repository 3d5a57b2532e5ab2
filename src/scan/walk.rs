//! One reader going through WAL in order.

use crate::pg::{Lsn, TimelineId};
use crate::wal::framer::{Flow, Framer, Sink};
use crate::wal::page::{LONG_HEADER, SHORT_HEADER};
use crate::wal::rmgr::id;
use crate::wal::{PAGE_SIZE, Problem, Record};

use super::path::{PathSegment, WalPath, read_pages};
use super::progress::{Cancelled, Progress};

/// Bytes read at a time: large enough that the system call costs nothing, small enough for the cache.
const WINDOW: usize = 128 << 10;

/// How a walk ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// `None`: at the limit, or because the sink had enough.
    pub problem: Option<Problem>,
    /// The file in which it ended.
    pub timeline: TimelineId,
    /// Start and previous link of the first record.
    pub first: Option<(Lsn, Lsn)>,
    /// Start of the last valid record; 0/0 for none.
    pub last: Lsn,
    /// Where the next record would start, past a page header if it falls on one; 0/0 if there was no record.
    pub next: Lsn,
    /// A record that was only partly there.
    pub partial: Option<Lsn>,
}

/// Where the record that is to follow position `at` starts: a position at a page's start means behind its header.
pub const fn record_start(at: Lsn, segment_bytes: u64) -> Lsn {
    if at.page_offset() != 0 {
        at
    } else if at.0.is_multiple_of(segment_bytes) {
        at.plus(LONG_HEADER as u64)
    } else {
        at.plus(SHORT_HEADER as u64)
    }
}

/// Where a walk begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the record at this position.
    Record(Lsn),
    /// At the first record that starts on the page at this position or behind.
    Page(Lsn),
}

impl Start {
    /// The position itself.
    pub const fn position(self) -> Lsn {
        match self {
            Self::Record(lsn) | Self::Page(lsn) => lsn,
        }
    }
}

/// Goes through the records from `start` up to those that start at `limit`, in order; a record begun before the limit
/// is read to its end. The buffer is kept for the next walk.
///
/// # Errors
/// Cancelled.
pub fn walk<S: Sink>(
    path: &WalPath<'_>,
    start: Start,
    limit: Lsn,
    sink: &mut S,
    progress: &Progress,
    buffer: &mut Vec<u8>,
) -> Result<Stop, Cancelled> {
    let size = path.format.segment_size;
    buffer.resize(WINDOW, 0);
    let (mut framer, mut at) = match start {
        Start::Record(lsn) => (Framer::at(path.format, lsn, limit), lsn.page_start()),
        Start::Page(lsn) => (Framer::resync(path.format, limit), lsn.page_start()),
    };
    let mut current: Option<(u64, PathSegment)> = None;
    let mut timeline = path.history.timeline;
    let problem = 'reading: loop {
        progress.check()?;
        let segno = size.segno(at);
        if current.as_ref().is_none_or(|c| c.0 != segno) {
            // nothing to be opened behind the limit, unless a record goes on there
            if at >= limit && framer.partial_record().is_none() {
                break None;
            }
            if let Some(segment) = path.open(segno) {
                timeline = segment.timeline;
                framer.set_newest(segment.timeline);
                // a timeline that ends with the segment cuts nothing off: the next one begins in the next file
                let all_of_it = segment.valid_to >= size.start(segno + 1);
                framer.set_limit(if all_of_it { limit } else { limit.min(segment.valid_to) });
                current = Some((segno, segment));
            } else {
                timeline = path.timelines_of(segno).next().map_or(timeline, |t| t.0);
                break Some(Problem::NoSegment { at });
            }
        }
        let Some((_, file)) = &current else { break None };
        let offset = size.offset(at);
        let length = (WINDOW as u64).min(size.bytes() - offset) as usize;
        // not more than the limit needs, plus the page on which a record may go on
        let wanted = limit.since(at).max(1).next_multiple_of(PAGE_SIZE as u64).min(length as u64) as usize;
        let Some(window) = buffer.get_mut(..wanted) else { break None };
        let available =
            (file.segment.len.saturating_sub(offset) as usize / PAGE_SIZE * PAGE_SIZE).min(wanted);
        let short = available < wanted;
        let window = &mut window[..available];
        if let Err(problem) = read_pages(&file.segment, offset, window, at) {
            break Some(problem);
        }
        progress.advance(available as u64);
        let (pages, _) = window.as_chunks::<PAGE_SIZE>();
        for page in pages {
            match framer.page(at, page, sink) {
                Ok(Flow::More) => {}
                // only an older timeline's copy is there, and it leaves the history before the limit
                Ok(Flow::Done) if file.valid_to < limit && framer.next_record() >= file.valid_to => {
                    break 'reading Some(Problem::NoSegment { at: file.valid_to });
                }
                Ok(Flow::Done) => break 'reading None,
                Err(problem) => break 'reading Some(problem),
            }
            at = at.plus(PAGE_SIZE as u64);
            if at >= limit && framer.partial_record().is_none() {
                break 'reading None;
            }
        }
        if short {
            break Some(Problem::ShortFile { at });
        }
    };
    let next = framer.next_record();
    Ok(Stop {
        problem,
        timeline,
        first: framer.first_record(),
        last: framer.last_record(),
        next: if next.is_valid() { record_start(next, size.bytes()) } else { next },
        partial: framer.partial_record(),
    })
}

/// Reads the one record at `lsn`; whole if it is of the resource manager XLOG, else at least its headers.
///
/// # Errors
/// What is there is no valid record.
pub fn read_record<T>(
    path: &WalPath<'_>,
    lsn: Lsn,
    mut take: impl FnMut(&Record<'_>) -> T,
) -> Result<T, Problem> {
    let mut taken = None;
    let mut sink = Every(|record: &Record<'_>| {
        taken = Some(take(record));
        false
    });
    let stop = walk(path, Start::Record(lsn), lsn.plus(1), &mut sink, &Progress::default(), &mut Vec::new());
    match (taken, stop) {
        (Some(value), _) => Ok(value),
        (None, Ok(Stop { problem: Some(problem), .. })) => Err(problem),
        (None, _) => Err(Problem::NoSegment { at: lsn }),
    }
}

struct Every<F>(F);

impl<F: FnMut(&Record<'_>) -> bool> Sink for Every<F> {
    // a checkpoint or the end of a recovery; a logical message may have a gigabyte
    fn wants_whole(&self, rmid: u8, _: u8) -> bool {
        rmid == id::XLOG
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        (self.0)(record)
    }
}

/// Goes through records, whole as in [`read_record`]; `take` returns false to stop.
///
/// # Errors
/// Cancelled.
pub fn for_each(
    path: &WalPath<'_>,
    start: Start,
    limit: Lsn,
    progress: &Progress,
    take: impl FnMut(&Record<'_>) -> bool,
) -> Result<Stop, Cancelled> {
    walk(path, start, limit, &mut Every(take), progress, &mut Vec::new())
}
