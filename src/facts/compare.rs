//! The WAL of both sides, compared where both claim the same timeline: a number in both histories does not make it
//! the same timeline.

use crate::pg::Lsn;
use crate::pg::history::{History, HistoryEntry};
use crate::scan::path::{PathSegment, WalPath, read_pages};
use crate::scan::progress::{Cancelled, Phase, Progress};
use crate::scan::walk::{Start, for_each};
use crate::source::walset::WalSet;
use crate::wal::rmgr::{id, op};
use crate::wal::{Format, PAGE_SIZE, Record};

use super::lineage::OwnOnly;
use super::{Role, Unproven};

/// Bytes of both sides that are read at a time.
const WINDOW: u64 = 1 << 20;
/// Where bytes differ, records are compared over at most so many bytes at a time.
const STRETCH: u64 = 16 << 20;
/// The first one is shorter, since it usually decides.
const FIRST_STRETCH: u64 = 1 << 20;

/// What a comparison showed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    /// Start of the first record that is not the same on both sides.
    pub differs_at: Option<Lsn>,
    /// Everything between these was compared (0/0, 0/0: nothing could be).
    pub from: Lsn,
    /// End of what was compared.
    pub to: Lsn,
    /// Parts of shared timelines of which one side's WAL is gone.
    pub unproven: Vec<Unproven>,
}

/// One side of the comparison.
#[derive(Clone, Copy)]
pub struct Compare<'a> {
    /// Its timelines.
    pub history: &'a History,
    /// Its WAL; only the own directory counts.
    pub set: &'a WalSet,
}

/// Compares the records of both sides on the first `shared` entries of their histories, up to `limit`.
///
/// It goes backwards, a stretch at a time, until one is the same on both sides and holds a record with a time in
/// microseconds (the end of a transaction or of a recovery): two servers that write on their own do not write such a
/// record twice at the same place with the same time, so everything before it is one server's WAL. A previous link or a
/// checkpoint's time in seconds proves no such thing. Where a stretch differs, the search goes on to the first record
/// that does.
///
/// # Errors
/// Cancelled.
pub fn compare(
    target: Compare<'_>,
    source: Compare<'_>,
    format: Format,
    shared: usize,
    limit: Lsn,
    progress: &Progress,
) -> Result<Compared, Cancelled> {
    let size = format.segment_size;
    let mut stretch = FIRST_STRETCH.min(size.bytes());
    let (target_own, source_own) = (OwnOnly(target.set), OwnOnly(source.set));
    let pair = Pair {
        target: WalPath { format, history: target.history, store: &target_own },
        source: WalPath { format, history: source.history, store: &source_own },
    };
    let entries = target.history.entries.get(..shared).unwrap_or_default();
    let last = |side: Compare<'_>| {
        let known = side.history.entries.iter().filter_map(|e| side.set.first_and_last(e.timeline));
        known.map(|s| s.1).max()
    };
    let mut compared = Compared::default();
    let top = if limit == Lsn::MAX {
        let both = last(target).min(last(source));
        both.map_or(Lsn::INVALID, |segno| size.start(segno + 1))
    } else {
        limit
    };
    // where one side has nothing, only segments that both list are worth asking for: a name alone can claim any number
    let mut listed: Option<Vec<u64>> = None;
    let mut nothing_on = None;
    progress.begin(Phase::Comparing, 0);
    let mut end = top;
    compared.to = top;
    while end.is_valid() {
        progress.check()?;
        // at multiples of its size, so that none lies in two segments
        let begin = Lsn(end.0.saturating_sub(1) / stretch * stretch);
        match pair.stretch(begin, end, progress)? {
            Stretch::Missing(role) if limit == Lsn::MAX && compared.from == Lsn::INVALID => {
                // behind the end of one side: recycled or not there
                nothing_on = Some(role);
                let listed = listed.get_or_insert_with(|| in_both(entries, target.set, source.set));
                let below = listed.partition_point(|segno| *segno < size.segno(begin));
                let next = below.checked_sub(1).and_then(|n| listed.get(n));
                end = next.map_or(Lsn::INVALID, |segno| size.start(segno + 1));
                compared.to = end;
                continue;
            }
            Stretch::Missing(role) => {
                compared.unproven = before(entries, end, role);
                return Ok(compared);
            }
            Stretch::Same { timed } => {
                compared.from = begin;
                if timed {
                    return Ok(compared);
                }
            }
            Stretch::Differs { at, timed_before } => {
                compared.from = begin;
                compared.to = at;
                compared.differs_at = Some(at);
                if timed_before {
                    return Ok(compared);
                }
            }
        }
        end = begin;
        stretch = (stretch * 2).min(STRETCH).min(size.bytes());
    }
    if let Some(role) = nothing_on.filter(|_| compared.from == Lsn::INVALID) {
        compared.unproven = before(entries, top, role);
    }
    Ok(compared)
}

/// Numbers of the segments of these timelines that both sides list, ascending.
fn in_both(entries: &[HistoryEntry], target: &WalSet, source: &WalSet) -> Vec<u64> {
    let of = |set: &WalSet| -> Vec<u64> {
        let mut all: Vec<u64> = entries.iter().flat_map(|e| set.segments(e.timeline)).collect();
        all.sort_unstable();
        all.dedup();
        all
    };
    let theirs = of(source);
    let mut both = of(target);
    both.retain(|segno| theirs.binary_search(segno).is_ok());
    both
}

/// The parts of shared timelines that lie before what could be compared. Timeline 1 comes from initdb, as the system
/// identifier does; any other number may have been taken twice.
fn before(entries: &[HistoryEntry], until: Lsn, missing_on: Role) -> Vec<Unproven> {
    entries
        .iter()
        .filter(|e| e.timeline > 1 && e.begin < until)
        .map(|e| Unproven { timeline: e.timeline, from: e.begin, to: e.end.min(until), missing_on })
        .collect()
}

struct Pair<'a> {
    target: WalPath<'a>,
    source: WalPath<'a>,
}

/// What a stretch of WAL, at most a segment, looks like on both sides.
enum Stretch {
    /// One side has no file for it.
    Missing(Role),
    /// No record differs; `timed`: one of them bears a time in microseconds.
    Same { timed: bool },
    /// The first record that differs, and whether one before it in the stretch bears a time.
    Differs { at: Lsn, timed_before: bool },
}

#[derive(PartialEq, Eq)]
struct Seen {
    lsn: Lsn,
    len: u32,
    /// Covers everything else in the record.
    crc: [u8; 4],
    timed: bool,
}

impl Pair<'_> {
    fn stretch(&self, begin: Lsn, end: Lsn, progress: &Progress) -> Result<Stretch, Cancelled> {
        let segno = self.target.format.segment_size.segno(begin);
        let (ours, theirs) = (self.target.open(segno), self.source.open(segno));
        let (Some(ours), Some(theirs)) = (&ours, &theirs) else {
            return Ok(Stretch::Missing(if ours.is_none() { Role::Target } else { Role::Source }));
        };
        let same = self.same_bytes(ours, theirs, begin, end, progress)?;
        let left = records(&self.target, begin, end, progress)?;
        if same {
            return Ok(Stretch::Same { timed: left.iter().any(|r| r.timed) });
        }
        // headers or remains behind an end may differ where no record does
        let right = records(&self.source, begin, end, progress)?;
        let common = left.iter().zip(&right).take_while(|(a, b)| a == b).count();
        let timed = left.iter().take(common).any(|r| r.timed);
        Ok(match (left.get(common), right.get(common)) {
            (Some(a), Some(b)) => Stretch::Differs { at: a.lsn.min(b.lsn), timed_before: timed },
            _ => Stretch::Same { timed },
        })
    }

    fn same_bytes(
        &self,
        ours: &PathSegment,
        theirs: &PathSegment,
        begin: Lsn,
        end: Lsn,
        progress: &Progress,
    ) -> Result<bool, Cancelled> {
        let size = self.target.format.segment_size;
        let (mut left, mut right) = (vec![0; WINDOW as usize], vec![0; WINDOW as usize]);
        let mut at = begin;
        while at < end {
            progress.check()?;
            let wanted = end.since(at).min(WINDOW).next_multiple_of(PAGE_SIZE as u64) as usize;
            let (Some(a), Some(b)) = (left.get_mut(..wanted), right.get_mut(..wanted)) else { break };
            let read = read_pages(&ours.segment, size.offset(at), a, at)
                .and_then(|()| read_pages(&theirs.segment, size.offset(at), b, at));
            let visible = end.since(at).min(wanted as u64) as usize;
            if read.is_err() || a.get(..visible) != b.get(..visible) {
                return Ok(false);
            }
            at = at.plus(wanted as u64);
        }
        Ok(true)
    }
}

/// The records that start between `begin` and `end` on one side.
fn records(path: &WalPath<'_>, begin: Lsn, end: Lsn, progress: &Progress) -> Result<Vec<Seen>, Cancelled> {
    let mut found = Vec::new();
    for_each(path, Start::Page(begin), end, progress, |record| {
        let crc = record.bytes.get(20..24).and_then(|b| b.first_chunk().copied()).unwrap_or_default();
        found.push(Seen { lsn: record.lsn, len: record.total_len, crc, timed: bears_time(record) });
        true
    })?;
    Ok(found)
}

/// The record holds the time of its writing in microseconds.
const fn bears_time(record: &Record<'_>) -> bool {
    match record.rmid {
        id::XACT => matches!(
            record.info & op::XACT_MASK,
            op::XACT_COMMIT
                | op::XACT_ABORT
                | op::XACT_COMMIT_PREPARED
                | op::XACT_ABORT_PREPARED
                | op::XACT_PREPARE
        ),
        id::XLOG => record.info & 0xF0 == op::XLOG_END_OF_RECOVERY,
        _ => false,
    }
}
