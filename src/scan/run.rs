//! The same walk by several readers, each taking stretches in turn.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::pg::{Lsn, TimelineId};
use crate::wal::framer::Sink;
use crate::wal::page::PageHeader;
use crate::wal::{PAGE_SIZE, Problem};

use super::path::{PathSegment, WalPath, read_pages};
use super::progress::{Cancelled, Phase, Progress};
use super::walk::{Start, Stop, record_start, walk};

/// Bytes that a reader takes at a time: a few segments, or a part of a large one.
const STRETCH: u64 = 16 << 20;

/// A sink of which several can each see a part of the WAL, in any order.
pub trait Collector: Sink + Send {
    /// Adds what another one has seen.
    fn merge(&mut self, other: Self);
}

/// What a scan found.
#[derive(Debug)]
pub struct Scanned<C> {
    /// Everything that the records said.
    pub collector: C,
    /// Start of the last valid record; 0/0 for none.
    pub last: Lsn,
    /// Where the next record would start.
    pub next: Lsn,
    /// Why it ended; `None`: at the limit.
    pub problem: Option<Problem>,
    /// A record that is only partly there.
    pub partial: Option<Lsn>,
    /// Timeline of the file in which it ended.
    pub timeline: TimelineId,
}

/// Reads all records from `start` up to `limit` or the end of WAL.
///
/// # Errors
/// Cancelled.
pub fn scan<C: Collector>(
    path: &WalPath<'_>,
    start: Start,
    limit: Lsn,
    threads: usize,
    (progress, phase): (&Progress, Phase),
    make: &(dyn Fn() -> C + Sync),
) -> Result<Scanned<C>, Cancelled> {
    let from = start.position();
    let extent = extent(path, from, limit, progress)?;
    progress.begin(phase, extent.since(from));
    if threads > 1
        && extent.since(from) > STRETCH
        && let Some(found) = in_parallel(path, start, limit, extent, threads, progress, make)?
    {
        return Ok(found);
    }
    let mut collector = make();
    let stop = walk(path, start, limit, &mut collector, progress, &mut Vec::new())?;
    Ok(finish(collector, &stop))
}

fn finish<C>(collector: C, stop: &Stop) -> Scanned<C> {
    Scanned {
        collector,
        last: stop.last,
        next: stop.next,
        problem: stop.problem,
        partial: stop.partial,
        timeline: stop.timeline,
    }
}

/// End of the last segment, from `from` on without a hole, whose first page is valid where it stands; at most `limit`.
fn extent(path: &WalPath<'_>, from: Lsn, limit: Lsn, progress: &Progress) -> Result<Lsn, Cancelled> {
    let size = path.format.segment_size;
    let mut segno = size.segno(from);
    let mut end = from;
    while size.start(segno) < limit {
        progress.check()?;
        let at = size.start(segno);
        let Some(found) = path.open(segno) else { break };
        let valid =
            first_page(&found, at).is_some_and(|page| PageHeader::check(&page, at, &path.format).is_ok());
        if !valid {
            break;
        }
        segno += 1;
        end = size.start(segno);
        if found.valid_to < end {
            end = found.valid_to;
            break;
        }
    }
    Ok(end.min(limit).max(from))
}

fn first_page(found: &PathSegment, at: Lsn) -> Option<[u8; PAGE_SIZE]> {
    let mut page = [0; PAGE_SIZE];
    read_pages(&found.segment, 0, &mut page, at).ok()?;
    Some(page)
}

/// `None`: the pieces do not fit together (there is damage in the middle); one reader has to say how it is.
fn in_parallel<C: Collector>(
    path: &WalPath<'_>,
    start: Start,
    limit: Lsn,
    extent: Lsn,
    threads: usize,
    progress: &Progress,
    make: &(dyn Fn() -> C + Sync),
) -> Result<Option<Scanned<C>>, Cancelled> {
    let size = path.format.segment_size;
    let from = start.position();
    // stretches begin at multiples of their size, hence of the segment's unless that is larger
    let mut cuts = vec![from];
    let mut cut = (from.0 / STRETCH).saturating_add(1).saturating_mul(STRETCH);
    while cut < extent.0 {
        cuts.push(Lsn(cut));
        let Some(next) = cut.checked_add(STRETCH) else { break };
        cut = next;
    }
    let taken = AtomicUsize::new(0);
    let stops: Mutex<Vec<(usize, Stop)>> = Mutex::new(Vec::with_capacity(cuts.len()));
    let work = || -> Result<C, Cancelled> {
        let mut collector = make();
        let mut buffer = Vec::new();
        loop {
            let index = taken.fetch_add(1, Ordering::Relaxed);
            let Some(&begin) = cuts.get(index) else { return Ok(collector) };
            let start = if index == 0 { start } else { Start::Page(begin) };
            let end = cuts.get(index + 1).copied().unwrap_or(limit);
            let stop = walk(path, start, end, &mut collector, progress, &mut buffer)?;
            if let Ok(mut stops) = stops.lock() {
                stops.push((index, stop));
            }
        }
    };
    let collectors: Vec<_> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads.min(cuts.len())).map(|_| scope.spawn(work)).collect();
        let mut all = vec![work()];
        all.extend(others.into_iter().map(|t| t.join().unwrap_or(Err(Cancelled))));
        all
    });
    let mut merged: Option<C> = None;
    for collector in collectors {
        match (&mut merged, collector?) {
            (Some(all), one) => all.merge(one),
            (none, one) => *none = Some(one),
        }
    }
    let Some(collector) = merged else { return Ok(None) };
    let mut stops = stops.into_inner().unwrap_or_default();
    stops.sort_by_key(|s| s.0);
    let mut whole: Option<Stop> = None;
    let count = stops.len();
    for (index, stop) in stops {
        let Some(so_far) = &mut whole else {
            if stop.problem.is_some() && count > 1 {
                return Ok(None);
            }
            whole = Some(stop);
            continue;
        };
        let begin = cuts.get(index).copied().unwrap_or(limit);
        let end = cuts.get(index + 1).copied().unwrap_or(limit);
        if stop.first.is_none() && so_far.next >= end && index + 1 < count {
            // one long record, or the padding behind a segment switch, fills the stretch
            continue;
        }
        match stop.first {
            Some(first) if first == (so_far.next, so_far.last) => {
                if stop.problem.is_some() && index + 1 < count {
                    return Ok(None);
                }
                *so_far = stop;
            }
            // nothing valid in the last stretch: only one reader can tell how it ends
            _ if begin < end => return Ok(None),
            _ => {}
        }
    }
    Ok(whole.map(|mut stop| {
        stop.next = record_start(stop.next, size.bytes());
        finish(collector, &stop)
    }))
}
