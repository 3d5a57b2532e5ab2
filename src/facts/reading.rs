//! Reading the WAL of both sides: from where, to its end, over holes.

use std::collections::HashSet;

use crate::pg::{Lsn, RelFile, WalName, Xid};
use crate::scan::collect::{Changed, Collected};
use crate::scan::path::{Segments, WalPath};
use crate::scan::run::{Collector, Scanned, scan};
use crate::scan::walk::{Start, read_record, record_start};
use crate::scan::{FileEvent, RecordKind, RelationSets, WalEnd, Xact, XactEnd};
use crate::source::walset::{Segment, WalSet};
use crate::wal::{Format, Problem, Record, rmgr};

use super::backup;
use super::checkpoint::{self, Search};
use super::ending::{self, Stopped};
use super::gather::{Cancelled, DiagnoseError, Phase, Work};
use super::open::Opened;
use super::{Checkpoint, Divergence, SideScan, Unseen};

/// The side's own places first, then the other's where both have the same WAL.
pub struct WithOther<'a> {
    own: &'a WalSet,
    other: &'a WalSet,
    /// Segments below this number end before the divergence.
    common_below: u64,
    /// What an archive has of later segments is not the side's.
    own_to: u64,
}

impl<'a> WithOther<'a> {
    /// Where the target's WAL may be taken from.
    pub fn of(target: &'a Opened, source: &'a Opened, divergence: Option<Lsn>, format: Format) -> Self {
        let common_below = divergence.map_or(0, |lsn| format.segment_size.segno(lsn));
        // a base backup is a moment of a server that went on
        let own_to = match &target.side.leftovers.backup_label {
            Some(label) if label.method == "streamed" => target.last_own().unwrap_or(u64::MAX),
            _ => u64::MAX,
        };
        Self { own: &target.set, other: &source.set, common_below, own_to }
    }
}

impl Segments for WithOther<'_> {
    fn open(&self, timeline: u32, segno: u64) -> Option<Segment> {
        if segno > self.own_to {
            return None;
        }
        let own = Segments::open(self.own, timeline, segno);
        let whole = own.as_ref().is_some_and(|s| s.len == self.own.segment_size().bytes());
        if whole || segno >= self.common_below {
            return own;
        }
        // one that is cut short is better than none, and the other side's whole one better than that
        let other = Segments::open(self.other, timeline, segno);
        match (own, other) {
            (Some(own), Some(other)) if own.len >= other.len => Some(own),
            (own, other) => other.or(own),
        }
    }
}

/// What to read of a side.
struct Task {
    start: Start,
    divergence: Lsn,
    next_xid: Xid,
    phase: Phase,
    /// The changes are wanted, not the end alone.
    wanted: bool,
}

/// A side, read to its end.
#[derive(Default)]
pub(super) struct Read {
    pub(super) scan: Option<SideScan>,
    pub(super) transactions: Vec<Xact>,
    pub(super) sets: RelationSets,
    unseen: Vec<Unseen>,
}

impl Read {
    /// Leaves out two-phase transactions that were prepared before the divergence and then decided on both sides in the
    /// same way: nothing of them is lost.
    pub(super) fn forget_decided_alike(&mut self, source: &Self, divergence: Lsn) {
        let two_phase = |x: &&Xact| matches!(x.end, XactEnd::CommittedPrepared | XactEnd::AbortedPrepared);
        let decided: HashSet<(Xid, XactEnd)> =
            source.transactions.iter().filter(two_phase).map(|x| (x.xid, x.end)).collect();
        self.transactions.retain(|x| {
            let prepared_before = x.prepared.as_ref().is_none_or(|p| p.lsn < divergence);
            !(two_phase(&x) && prepared_before && decided.contains(&(x.xid, x.end)))
        });
    }

    /// All relations of which something was found.
    pub(super) fn relations(&self) -> HashSet<RelFile> {
        let changes = || self.scan.iter().map(|scan| &scan.changes);
        let events = changes().flat_map(|c| &c.events).filter_map(|placed| match placed.event {
            FileEvent::Created(rel, _) | FileEvent::Truncated(rel, _) | FileEvent::Dropped(rel) => Some(rel),
            _ => None,
        });
        let changed = changes().flat_map(|c| &c.relations).map(|r| r.rel);
        changed.chain(events).chain(self.sets.sets.iter().flatten().copied()).collect()
    }
}

impl Work<'_> {
    /// End of the record that pg_control calls the last checkpoint, or minRecoveryPoint if that is larger.
    pub(super) fn control_ends(&mut self, format: Format) {
        for opened in [&mut self.target, &mut self.source] {
            let path = WalPath { format, history: &opened.side.lineage.history, store: &opened.set };
            let control = &opened.side.control;
            let end = read_record(&path, control.checkpoint, |r| r.end.align8()).ok();
            let least = control.min_recovery_point;
            opened.side.control_end = match end {
                Some(end) => Some(end.max(least)),
                None if least.is_valid() => Some(least.max(control.checkpoint)),
                None => None,
            };
        }
    }

    fn store_for_target(&self, divergence: Option<Lsn>, format: Format) -> WithOther<'_> {
        WithOther::of(&self.target, &self.source, divergence, format)
    }

    pub(super) fn common_checkpoint(
        &mut self,
        format: Format,
        before: Lsn,
    ) -> Result<Option<Checkpoint>, DiagnoseError> {
        let store = self.store_for_target(Some(before), format);
        let path = self.target.path(format, &store);
        match checkpoint::last_before(&path, before, self.progress)? {
            Search::Found(found) => Ok(Some(found)),
            Search::Hole(segno) => {
                let timeline = path.timelines_of(segno).next().map_or(1, |t| t.0);
                let name = WalName::Segment(timeline, segno).file_name(format.segment_size);
                // a file of that name may be there all the same
                let mut bad = self.target.set.rejected_for(timeline, segno);
                bad.extend(self.source.set.rejected_for(timeline, segno));
                let what = match bad.first() {
                    Some(first) => format!("segment {name} cannot be used: {}", first.reason),
                    None => {
                        format!("segment {name} is neither in the target nor in the source nor in an archive")
                    }
                };
                self.unseen.push(Unseen {
                    path: bad.first().map(|first| first.path.clone()),
                    what,
                    consequence: format!("the last checkpoint before {before} was not found in the WAL"),
                });
                Ok(None)
            }
        }
    }

    /// Scans the target from the last common checkpoint; without one, from as far back as its WAL goes without a hole.
    pub(super) fn read_target(
        &mut self,
        format: Format,
        divergence: Option<&Divergence>,
        common: Option<&Checkpoint>,
    ) -> Result<Read, DiagnoseError> {
        let store = self.store_for_target(divergence.map(|d| d.lsn), format);
        let path = self.target.path(format, &store);
        let control = self.target.control();
        let start = if let Some(common) = common {
            Start::Record(common.lsn)
        } else {
            let from = divergence.map_or(control.checkpoint, |d| d.lsn);
            let lowest = format.segment_size.segno(control.checkpoint_copy.redo.min(from));
            Start::Page(readable_before(&path, from, lowest))
        };
        let task = Task {
            start,
            divergence: divergence.map_or(Lsn::MAX, |d| d.lsn),
            next_xid: common.map_or(control.checkpoint_copy.next_xid, |c| c.next_xid),
            phase: Phase::ScanningTarget,
            wanted: divergence.is_some(),
        };
        let (mut read, end) = self.read(&self.target, &path, &task)?;
        if let Some(end) = end.as_ref().filter(|end| !end.complete) {
            self.unseen.push(Unseen {
                path: end.path.clone(),
                what: end.meaning.clone(),
                consequence: "what the target wrote there, and what of it would be lost, is not known".into(),
            });
        }
        self.target.side.end = end;
        self.unseen.append(&mut read.unseen);
        Ok(read)
    }

    pub(super) fn read_source(
        &mut self,
        format: Format,
        divergence: Option<&Divergence>,
    ) -> Result<Read, DiagnoseError> {
        let last = self.source.control().checkpoint;
        let (start, wanted) = match divergence {
            Some(d) if self.options.scan_source => {
                (Start::Record(record_start(d.lsn, format.segment_size.bytes())), true)
            }
            _ => (Start::Record(last), false),
        };
        let path = self.source.path(format, &self.source.set);
        let mut task = Task {
            start,
            divergence: divergence.map_or(Lsn::MAX, |d| d.lsn),
            next_xid: 0,
            phase: Phase::ScanningSource,
            wanted,
        };
        let (mut read, mut end) = self.read(&self.source, &path, &task)?;
        if end.is_none() && start.position() != last {
            task.start = Start::Record(last);
            task.wanted = false;
            end = self.read(&self.source, &path, &task)?.1;
        }
        self.source.side.end = end;
        self.unseen.append(&mut read.unseen);
        Ok(read)
    }

    /// Scans a side from `task.start` to its end. Where segments are missing before the position that pg_control names,
    /// reading goes on behind the gap, so that as much as possible is told.
    fn read(
        &self,
        opened: &Opened,
        path: &WalPath<'_>,
        task: &Task,
    ) -> Result<(Read, Option<WalEnd>), DiagnoseError> {
        let major = path.format.major;
        let size = path.format.segment_size;
        let make = || {
            let changed = Changed::new(major, task.divergence);
            if self.options.blocks_only { changed.without_transactions() } else { changed }
        };
        let run =
            |start| scan(path, start, Lsn::MAX, self.options.threads, (self.progress, task.phase), &make);
        let mut found: Scanned<Changed> = run(task.start)?;
        let mut from = task.start.position();
        let mut gaps = Vec::new();
        let reach = opened.control().checkpoint;
        let stopped_at = if found.last.is_valid() { found.next } else { from };
        let missing = matches!(found.problem, Some(Problem::NoSegment { .. } | Problem::ShortFile { .. }));
        if missing && stopped_at < reach {
            let behind = readable_before(path, reach, size.segno(stopped_at));
            if behind > stopped_at {
                let again = run(Start::Page(behind))?;
                if again.last.is_valid() {
                    gaps.push((stopped_at, behind));
                    if !found.last.is_valid() {
                        from = behind;
                    }
                    let before = std::mem::replace(&mut found, again);
                    found.collector.merge(before.collector);
                }
            }
        }
        let Scanned { collector, last, next, problem, partial, timeline } = found;
        if !last.is_valid() {
            return Ok((Read::default(), None));
        }
        let kind = read_record(path, last, kind_of).unwrap_or(RecordKind { rmid: 0, op: 0 });
        let stopped = Stopped { problem, last, next, partial, timeline };
        let mut end = ending::classify(path, &opened.set, &stopped, kind, self.progress)?;
        // a label of an exclusive backup lies in the server's own directory
        let copy = opened.side.leftovers.backup_label.as_ref().is_some_and(|l| l.method == "streamed");
        ending::hold_against(&mut end, &stopped, opened.control(), copy, &opened.set);
        let Collected { changes, transactions, relation_sets, records, first_error } =
            collector.finish(task.next_xid);
        let mut read = Read { transactions, sets: relation_sets, ..Read::default() };
        for (from, to) in &gaps {
            read.unseen.push(Unseen {
                path: None,
                what: format!("WAL from {from} to {to} was found nowhere"),
                consequence: "blocks changed and transactions ended there are not in the report".into(),
            });
        }
        if let Some((lsn, error)) = first_error {
            read.unseen.push(Unseen {
                path: None,
                what: format!(
                    "the record at {lsn} has the right CRC and a content that does not add up: {error}"
                ),
                consequence: "what it changed is not in the report".into(),
            });
        }
        let bytes = next.since(from) - gaps.iter().map(|g| g.1.since(g.0.max(from))).sum::<u64>();
        read.scan = task.wanted.then_some(SideScan { from, to: next, records, bytes, gaps, changes });
        Ok((read, Some(end)))
    }

    /// Where the backup that the target's backup_label began has ended.
    pub(super) fn backup_end(&self) -> Result<Option<Lsn>, Cancelled> {
        let target = &self.target;
        let start = target.side.leftovers.backup_label.as_ref().and_then(|label| label.start);
        let (Some(format), Some(start)) = (target.format, start) else { return Ok(None) };
        let path = target.path(format, &target.set);
        let told = backup::end(start, &target.set, &path, self.progress)?;
        Ok(told.or(target.control().backup_end_point.filter(|lsn| lsn.is_valid())))
    }
}

/// Start of the first segment, not below number `lowest`, from which WAL goes on without a hole up to `lsn`.
fn readable_before(path: &WalPath<'_>, lsn: Lsn, lowest: u64) -> Lsn {
    let size = path.format.segment_size;
    let mut segno = size.segno(lsn);
    while segno > lowest && path.open(segno - 1).is_some() {
        segno -= 1;
    }
    size.start(segno)
}

fn kind_of(record: &Record<'_>) -> RecordKind {
    RecordKind { rmid: record.rmid, op: rmgr::operation(record.rmid, record.info) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::Prepared;

    fn decided(xid: Xid, end: XactEnd, prepared: Option<u64>) -> Xact {
        Xact {
            xid,
            end,
            end_lsn: Lsn(500),
            time: Some(0),
            first_lsn: Lsn(400),
            may_begin_earlier: true,
            records: 1,
            relations: 0,
            subxacts: 0,
            prepared: prepared.map(|lsn| Box::new(Prepared { lsn: Lsn(lsn), gid: "g".into() })),
        }
    }

    #[test]
    fn a_decision_made_alike_on_both_sides_is_not_lost() {
        use XactEnd::{AbortedPrepared, Committed, CommittedPrepared};
        let read = |transactions| Read { transactions, ..Read::default() };
        let source = read(vec![
            decided(1, CommittedPrepared, None),
            decided(2, AbortedPrepared, None),
            decided(3, CommittedPrepared, Some(450)),
            decided(4, Committed, None),
        ]);
        let mut target = read(vec![
            decided(1, CommittedPrepared, Some(90)),  // alike
            decided(2, CommittedPrepared, None),      // the other way there
            decided(3, CommittedPrepared, Some(450)), // prepared after the divergence: another transaction
            decided(4, Committed, None),              // the same number, and no two phases
            decided(5, CommittedPrepared, None),      // undecided there
        ]);
        target.forget_decided_alike(&source, Lsn(100));
        assert_eq!(target.transactions.iter().map(|x| x.xid).collect::<Vec<_>>(), [2, 3, 4, 5]);
    }
}
