//! The WAL of both sides, compared where both claim the same timeline: a number in both histories does not make it
//! the same timeline.

use crate::pg::Lsn;
use crate::pg::history::History;
use crate::scan::path::{PathSegment, WalPath, read_pages};
use crate::scan::progress::{Cancelled, Phase, Progress};
use crate::scan::walk::{Start, for_each};
use crate::source::walset::WalSet;
use crate::wal::{Format, PAGE_SIZE};

use super::facts::{Role, Unproven};
use super::lineage::OwnOnly;

/// Bytes of both sides that are read at a time.
const WINDOW: u64 = 1 << 20;
/// Where bytes differ, records are compared over at most so many bytes at a time.
const STRETCH: u64 = 16 << 20;

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
    let (target_own, source_own) = (OwnOnly(target.set), OwnOnly(source.set));
    let target_path = WalPath { format, history: target.history, store: &target_own };
    let source_path = WalPath { format, history: source.history, store: &source_own };
    let entries = target.history.entries.get(..shared).unwrap_or_default();
    let first = |set: &WalSet| {
        target.history.entries.iter().filter_map(|e| set.first_and_last(e.timeline)).map(|s| s.0).min()
    };
    let last = |side: Compare<'_>| {
        let known = side.history.entries.iter().filter_map(|e| side.set.first_and_last(e.timeline));
        known.map(|s| s.1).max()
    };
    let mut compared = Compared::default();
    let (Some(low), Some(high)) = (first(target.set).max(first(source.set)), last(target).min(last(source)))
    else {
        compared.unproven = before(entries, Lsn::INVALID, limit, Role::Target);
        return Ok(compared);
    };
    let high = if limit == Lsn::MAX { high } else { high.min(size.prev_segno(limit)) };
    progress.begin(Phase::Comparing, (high + 1).saturating_sub(low) * size.bytes());
    let mut begun = false;
    for segno in low..=high {
        progress.check()?;
        let (start, end) = (size.start(segno), size.start(segno + 1).min(limit));
        match (target_path.open(segno), source_path.open(segno)) {
            (Some(ours), Some(theirs)) => {
                if !begun {
                    begun = true;
                    compared.from = start;
                    compared.unproven.extend(before(entries, start, limit, Role::Target));
                }
                if let Some(at) = segment(&target_path, &source_path, (&ours, &theirs), start, end, progress)?
                {
                    compared.differs_at = Some(at);
                    compared.to = at;
                    return Ok(compared);
                }
                compared.to = end;
            }
            (ours, _) if begun => {
                let missing_on = if ours.is_none() { Role::Target } else { Role::Source };
                let timeline = target.history.timeline_of(start).unwrap_or(target.history.timeline);
                // behind the end of either side there is nothing to compare
                if limit != Lsn::MAX {
                    compared.unproven.push(Unproven { timeline, from: start, to: end, missing_on });
                }
            }
            _ => {}
        }
    }
    if !begun {
        compared.unproven = before(entries, Lsn::INVALID, limit, Role::Target);
    }
    Ok(compared)
}

/// The parts of shared timelines that lie before what could be compared. Timeline 1 comes from initdb, as the system
/// identifier does; any other number may have been taken twice.
fn before(
    entries: &[crate::pg::history::HistoryEntry],
    from: Lsn,
    limit: Lsn,
    missing_on: Role,
) -> Vec<Unproven> {
    let until = if from.is_valid() { from } else { limit };
    entries
        .iter()
        .filter(|e| e.timeline > 1 && e.begin < until)
        .map(|e| Unproven { timeline: e.timeline, from: e.begin, to: e.end.min(until), missing_on })
        .collect()
}

/// The first record that differs within one segment.
fn segment(
    target: &WalPath<'_>,
    source: &WalPath<'_>,
    (ours, theirs): (&PathSegment, &PathSegment),
    start: Lsn,
    end: Lsn,
    progress: &Progress,
) -> Result<Option<Lsn>, Cancelled> {
    let mut at = start;
    let (mut left, mut right) = (vec![0; WINDOW as usize], vec![0; WINDOW as usize]);
    while at < end {
        progress.check()?;
        let wanted = end.since(at).min(WINDOW).next_multiple_of(PAGE_SIZE as u64) as usize;
        let (Some(a), Some(b)) = (left.get_mut(..wanted), right.get_mut(..wanted)) else { break };
        let read = read_pages(&ours.segment, at.since(start), a, at)
            .and_then(|()| read_pages(&theirs.segment, at.since(start), b, at));
        let visible = end.since(at).min(wanted as u64) as usize;
        if read.is_err() || a.get(..visible) != b.get(..visible) {
            let from = Lsn(at.0 - at.0 % STRETCH.min(target.format.segment_size.bytes()));
            if let Some(record) = records(target, source, from, end.min(from.plus(STRETCH)), progress)? {
                return Ok(Some(record));
            }
            // headers or remains behind the end differ, no record does
            at = from.plus(STRETCH).min(end);
            continue;
        }
        progress.advance(wanted as u64);
        at = at.plus(wanted as u64);
    }
    Ok(None)
}

/// The first record between `from` and `to` that both sides have in their place and that is not the same.
fn records(
    target: &WalPath<'_>,
    source: &WalPath<'_>,
    from: Lsn,
    to: Lsn,
    progress: &Progress,
) -> Result<Option<Lsn>, Cancelled> {
    let list = |path: &WalPath<'_>| {
        let mut found: Vec<(Lsn, u32, [u8; 4])> = Vec::new();
        for_each(path, Start::Page(from), to, progress, |record| {
            // the CRC covers everything else in the record
            let crc = record.bytes.get(20..24).and_then(|b| b.first_chunk().copied()).unwrap_or_default();
            found.push((record.lsn, record.total_len, crc));
            true
        })?;
        Ok(found)
    };
    let (ours, theirs) = (list(target)?, list(source)?);
    let differs = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    Ok(differs.map(|(a, b)| a.0.min(b.0)))
}
