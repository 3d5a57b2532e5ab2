//! The steps from two directories to the facts.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::names::{Catalogs, DiskBlocks, Names, Replay};
use crate::pg::control::DbState;
use crate::pg::{Lsn, RelFile, TimelineId, WalName, Xid};
use crate::scan::collect::{Changed, Collected};
use crate::scan::path::{Segments, WalPath};
use crate::scan::run::{Collector, Scanned, scan};
use crate::scan::walk::{Start, for_each, read_record, record_start, walk};
use crate::scan::{FileEvent, RecordKind, RelationSets, WalEnd, Xact, XactEnd};
use crate::source::datadir::DataDir;
use crate::source::leftovers::BackupLabel;
use crate::source::restore::RestoreCommand;
use crate::source::space;
use crate::source::trees::{Entry, Kind, Trees};
use crate::source::walset::{Conflict, Segment, WalSet};
use crate::wal::rmgr::{id, op};
use crate::wal::{Format, Problem, Record, rmgr};

use super::checkpoint::{self, Search};
use super::compare::{Compare, compare};
use super::ending::{self, Stopped};
use super::open::{Opened, open_side};
use super::{
    Checkpoint, Divergence, DivergenceProof, Facts, FreeSpace, Relation, Role, Side, SideScan, Unrelated,
    Unseen, WalNeeds,
};
use super::{loss, needs};

pub use crate::scan::progress::{Cancelled, Phase, Progress};

/// Segments of which all copies are compared with each other: each is read as a whole.
const COMPARED_COPIES: usize = 16;
/// Files at the top of both directories up to this size (bytes) are compared with each other.
const SMALL_FILE: u64 = 64 << 10;

/// What to diagnose and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that will not rejoin.
    pub target: PathBuf,
    /// The directory it should follow.
    pub source: PathBuf,
    /// Archives of WAL.
    pub archives: Vec<PathBuf>,
    /// A command that fetches a file of the archive, `%f`, `%p` and `%%` as in PostgreSQL.
    pub restore_command: Option<String>,
    /// Threads for the scan, at least 1.
    pub threads: usize,
    /// Read the source's WAL after the divergence too.
    pub scan_source: bool,
    /// Only the changed blocks are wanted: no transactions, and the files are not listed.
    pub blocks_only: bool,
}

/// Why there is no diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiagnoseError {
    /// An input could not be read at all.
    #[error("{what}. {advice}")]
    Input {
        /// What is the matter, one sentence without full stop, with the file.
        what: String,
        /// What to do.
        advice: String,
    },
    /// [`Progress::cancel`] was called.
    #[error("interrupted")]
    Cancelled,
}

impl From<Cancelled> for DiagnoseError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// An input that cannot be read.
pub(crate) fn input(what: impl Into<String>, advice: impl Into<String>) -> DiagnoseError {
    DiagnoseError::Input { what: what.into(), advice: advice.into() }
}

/// The side's own places first, then the other's where both have the same WAL.
pub struct WithOther<'a> {
    /// The side's own places.
    pub own: &'a WalSet,
    /// The other side's.
    pub other: &'a WalSet,
    /// Segments below this number end before the divergence.
    pub common_below: u64,
}

impl Segments for WithOther<'_> {
    fn open(&self, timeline: u32, segno: u64) -> Option<Segment> {
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

/// Finds out everything that two directories, archives and a restore command show.
///
/// # Errors
/// A directory or its control file cannot be read at all, or the work was cancelled.
pub fn facts(options: &Options, progress: &Progress) -> Result<Facts, DiagnoseError> {
    progress.begin(Phase::Opening, 0);
    let mut unseen = Vec::new();
    let target_dir = DataDir::open(&options.target).map_err(|e| input(e.to_string(), ""))?;
    let source_dir = DataDir::open(&options.source).map_err(|e| input(e.to_string(), ""))?;
    let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose();
    let restore = restore.map(|command| command.map(|c| c.with_cancel(progress.cancel_flag())));
    let restore = restore.map_err(|e| input(e.to_string(), ""))?;
    let target = open_side(Role::Target, target_dir, options, restore.clone(), &mut unseen)?;
    let source = open_side(Role::Source, source_dir, options, restore, &mut unseen)?;
    Work { options, progress, target, source, unseen }.run()
}

struct Work<'a> {
    options: &'a Options,
    progress: &'a Progress,
    target: Opened,
    source: Opened,
    unseen: Vec<Unseen>,
}

/// What the histories and the WAL say about where the two sides part.
struct Parting {
    divergence: Option<Divergence>,
    /// Both end on the same timeline, and no record differs.
    same_line: bool,
    unproven: Vec<super::Unproven>,
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
struct Read {
    scan: Option<SideScan>,
    transactions: Vec<Xact>,
    sets: RelationSets,
    unseen: Vec<Unseen>,
}

impl Read {
    /// Leaves out two-phase transactions that were prepared before the divergence and then decided on both sides in the
    /// same way: nothing of them is lost.
    fn forget_decided_alike(&mut self, source: &Self, divergence: Lsn) {
        let two_phase = |x: &&Xact| matches!(x.end, XactEnd::CommittedPrepared | XactEnd::AbortedPrepared);
        let decided: HashSet<(Xid, XactEnd)> =
            source.transactions.iter().filter(two_phase).map(|x| (x.xid, x.end)).collect();
        self.transactions.retain(|x| {
            let prepared_before = x.prepared.as_ref().is_none_or(|p| p.lsn < divergence);
            !(two_phase(&x) && prepared_before && decided.contains(&(x.xid, x.end)))
        });
    }

    /// All relations of which something was found.
    fn relations(&self) -> HashSet<RelFile> {
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
    fn run(mut self) -> Result<Facts, DiagnoseError> {
        let unrelated = self.unrelated();
        let formats = (self.target.format, self.source.format);
        let (Some(format), Some(_), None) = (formats.0, formats.1, &unrelated) else {
            let relation = match unrelated {
                Some(why) => Relation::Unrelated(why),
                None => Relation::Undecided,
            };
            if relation == Relation::Undecided {
                self.unseen.push(Unseen {
                    path: None,
                    what: "the WAL of majors before 9.5 has another format".into(),
                    consequence: "only the control files and histories were compared".into(),
                });
            }
            return Ok(self.into_facts(relation, None, Vec::new(), None, None, None));
        };
        let parting = self.part(format)?;
        let mut divergence = parting.divergence;
        self.control_ends(format);
        let mut common = None;
        if let Some(divergence) = &mut divergence {
            // what pg_rewind goes by
            let clean = self.target.control().state.is_shut_down();
            let rewinds =
                |at: (Lsn, TimelineId)| !clean || self.target.side.control_end.is_none_or(|end| end > at.0);
            divergence.pg_rewind = divergence.pg_rewind.filter(|at| rewinds(*at));
            common = self.common_checkpoint(format, divergence.lsn)?;
        }
        let mut target = self.read_target(format, divergence.as_ref(), common.as_ref())?;
        let source = self.read_source(format, divergence.as_ref())?;
        if let Some(divergence) = &divergence {
            target.forget_decided_alike(&source, divergence.lsn);
        }
        let relation = self.relate(&mut divergence, parting.same_line);
        let names = self.names(format, [&target, &source])?;
        let mut facts =
            self.into_facts(relation, divergence, parting.unproven, common, Some(target), Some(source));
        (facts.names, facts.source_names) = names;
        Ok(facts)
    }

    fn unrelated(&self) -> Option<Unrelated> {
        let (target, source) = (self.target.control(), self.source.control());
        let histories = [&self.target.side.lineage.history, &self.source.side.lineage.history];
        // without its history file a timeline looks as if it came from nowhere
        let missing = [&self.target, &self.source].iter().any(|o| !o.side.lineage.missing_history.is_empty());
        let odd = missing || histories.iter().any(|history| !history.problems().is_empty());
        if !(target.crc_ok && source.crc_ok) {
            // what a damaged file says proves nothing
            None
        } else if target.system_identifier != source.system_identifier {
            Some(Unrelated::SystemIdentifier)
        } else if target.pg_control_version != source.pg_control_version
            || target.catalog_version != source.catalog_version
        {
            Some(Unrelated::Major)
        } else if !odd && histories[0].common_prefix(histories[1]).is_none() {
            Some(Unrelated::NoCommonAncestor)
        } else {
            None
        }
    }

    /// Where the sides part, by the histories and then by the WAL itself.
    fn part(&self, format: Format) -> Result<Parting, DiagnoseError> {
        let (ours, theirs) = (&self.target.side.lineage.history, &self.source.side.lineage.history);
        let nothing = Parting { divergence: None, same_line: false, unproven: Vec::new() };
        let Some(prefix) = ours.common_prefix(theirs) else { return Ok(nothing) };
        let by_history = if prefix.end == Lsn::MAX { None } else { Some((prefix.end, prefix.timeline)) };
        let compared = compare(
            Compare { history: ours, set: &self.target.set },
            Compare { history: theirs, set: &self.source.set },
            format,
            prefix.index + 1,
            prefix.end,
            self.progress,
        )?;
        let divergence = match (compared.differs_at, by_history) {
            (Some(lsn), _) => {
                // a difference in a timeline's first record means that the number was taken twice
                let timeline = ours
                    .entries
                    .iter()
                    .rfind(|e| {
                        record_start(e.begin, format.segment_size.bytes()) < lsn || e.begin == Lsn::INVALID
                    })
                    .map_or(prefix.timeline, |e| e.timeline);
                Some(Divergence { lsn, timeline, shown_by: DivergenceProof::Records, pg_rewind: by_history })
            }
            (None, Some((lsn, timeline))) => {
                let newer =
                    if theirs.entries.len() > prefix.index + 1 { theirs.timeline } else { ours.timeline };
                let shown_by = DivergenceProof::History(newer);
                Some(Divergence { lsn, timeline, shown_by, pg_rewind: by_history })
            }
            (None, None) => None,
        };
        let same_line = divergence.is_none();
        Ok(Parting { divergence, same_line, unproven: compared.unproven })
    }

    /// End of the record that pg_control calls the last checkpoint, or minRecoveryPoint if that is larger.
    fn control_ends(&mut self, format: Format) {
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
        let common_below = divergence.map_or(0, |lsn| format.segment_size.segno(lsn));
        WithOther { own: &self.target.set, other: &self.source.set, common_below }
    }

    fn common_checkpoint(
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
    fn read_target(
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

    fn read_source(
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
        ending::hold_against(&mut end, opened.control(), copy, &opened.set);
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

    /// How the sides stand to each other, once both ends are known.
    fn relate(&self, divergence: &mut Option<Divergence>, same_line: bool) -> Relation {
        let (target, source) = (&self.target.side, &self.source.side);
        if same_line {
            let (Some(ours), Some(theirs)) = (&target.end, &source.end) else { return Relation::Undecided };
            // behind an end that is none there may be anything
            if !(ours.complete && (theirs.complete || ours.lsn < theirs.lsn)) {
                return Relation::Undecided;
            }
            let shorter = if ours.lsn <= theirs.lsn { ours } else { theirs };
            *divergence = Some(Divergence {
                lsn: shorter.lsn,
                timeline: shorter.timeline,
                shown_by: DivergenceProof::End,
                pg_rewind: None,
            });
            return match ours.lsn.cmp(&theirs.lsn) {
                Ordering::Equal => Relation::SamePosition,
                Ordering::Less => Relation::TargetBehind,
                Ordering::Greater => Relation::SourceBehind,
            };
        }
        let Some(divergence) = divergence else { return Relation::Undecided };
        if divergence.shown_by == DivergenceProof::Records {
            let timeline = self.twin_timeline(divergence);
            return Relation::Twins { timeline };
        }
        // pg_control may know of more than the WAL that is left
        let beyond = |side: &Side| {
            side.control.checkpoint >= divergence.lsn
                || side.control.min_recovery_point > divergence.lsn
                || side.end.as_ref().is_some_and(|e| e.last_record >= divergence.lsn)
        };
        let ours = if beyond(target) {
            Some(true)
        } else {
            target.end.as_ref().filter(|end| end.complete).map(|_| false)
        };
        let theirs = if beyond(source) { Some(true) } else { source.end.as_ref().map(|_| false) };
        match (ours, theirs) {
            (Some(false), _) => Relation::TargetBehind,
            (Some(true), Some(false)) => Relation::SourceBehind,
            (Some(true), Some(true)) => Relation::Diverged,
            (None, _) | (_, None) => Relation::Undecided,
        }
    }

    /// The timeline that both claim and on which the first different record lies.
    fn twin_timeline(&self, divergence: &Divergence) -> u32 {
        let history = &self.target.side.lineage.history;
        history.timeline_of(divergence.lsn).unwrap_or(divergence.timeline)
    }

    fn into_facts(
        self,
        relation: Relation,
        divergence: Option<Divergence>,
        unproven: Vec<super::Unproven>,
        common_checkpoint: Option<Checkpoint>,
        target: Option<Read>,
        source: Option<Read>,
    ) -> Facts {
        let wal = self.needs(&relation, divergence.as_ref(), common_checkpoint.as_ref());
        let target_backup_end = self.backup_end();
        let blocks_only = self.options.blocks_only;
        let archive_conflicts =
            if blocks_only { Vec::new() } else { self.conflicts(divergence.as_ref(), &wal) };
        let Self { target: mut ours, source: mut theirs, mut unseen, .. } = self;
        for opened in [&mut ours, &mut theirs] {
            opened.side.rejected = opened.set.rejected();
            unseen.extend(opened.set.problems().into_iter().map(|(path, what)| Unseen {
                path: Some(path),
                what,
                consequence: "WAL in it was not seen".into(),
            }));
        }
        let trees = if blocks_only {
            Trees::default()
        } else {
            Trees::read(ours.side.dir.path(), theirs.side.dir.path())
        };
        unseen.extend(trees.problems.iter().map(|(path, what)| Unseen {
            path: Some(path.clone()),
            what: what.clone(),
            consequence: "files in it were not compared".into(),
        }));
        let mounts: Vec<PathBuf> = trees
            .target
            .iter()
            .filter(|e| {
                e.path == Path::new("pg_wal") || (e.kind == Kind::Symlink && e.path.starts_with("pg_tblspc"))
            })
            .map(|e| e.path.to_path_buf())
            .collect();
        let same_content = same_content(&trees, &ours.side.dir, &theirs.side.dir);
        let target_space = space::free(ours.side.dir.path(), &mounts)
            .into_iter()
            .map(|(at, bytes)| FreeSpace { at, bytes })
            .collect();
        let (target_scan, transactions, relation_sets) = match target {
            Some(read) => (read.scan, read.transactions, read.sets),
            None => (None, Vec::new(), RelationSets::default()),
        };
        let loss = loss::of(&relation, divergence.as_ref(), target_scan.as_ref(), &transactions, &ours.side);
        Facts {
            target: ours.side,
            source: theirs.side,
            relation,
            divergence,
            unproven,
            common_checkpoint,
            target_scan,
            source_scan: source.and_then(|s| s.scan),
            transactions,
            relation_sets,
            loss,
            target_backup_end,
            wal,
            names: Names::default(),
            source_names: Names::default(),
            trees,
            archive_conflicts,
            target_space,
            same_content,
            unseen,
        }
    }

    /// Where the backup that the target's backup_label began has ended: a record in the WAL or a file beside it says so.
    fn backup_end(&self) -> Option<Lsn> {
        let (target, format) = (&self.target, self.target.format?);
        let start = target.side.leftovers.backup_label.as_ref()?.start?;
        for (_, _, content) in target.set.backup_records() {
            let record = BackupLabel::parse(&String::from_utf8_lossy(&content));
            if record.start == Some(start) {
                let stop = record.field("STOP WAL LOCATION").and_then(|v| v.split(' ').next()?.parse().ok());
                if stop.is_some() {
                    return stop;
                }
            }
        }
        let path = target.path(format, &target.set);
        let mut end = None;
        let at = Start::Record(record_start(start, format.segment_size.bytes()));
        let walked = for_each(&path, at, Lsn::MAX, self.progress, |record| {
            let is_end = record.rmid == id::XLOG && record.info & 0xF0 == op::XLOG_BACKUP_END;
            if is_end && record.main_data(format.major).is_some_and(|main| main == start.0.to_le_bytes()) {
                end = Some(record.end.align8());
            }
            end.is_none()
        });
        walked.ok().and(end).or_else(|| Some(target.control().backup_end_point?).filter(|lsn| lsn.is_valid()))
    }

    /// Copies of one name and different content, among the segments from the divergence on and all histories.
    fn conflicts(&self, divergence: Option<&Divergence>, wal: &WalNeeds) -> Vec<Conflict> {
        let size = self.target.side.segment_size;
        let from = divergence.map_or(u64::MAX, |d| size.segno(d.lsn));
        let mut names: Vec<WalName> = [&wal.find_blocks, &wal.follow]
            .into_iter()
            .flatten()
            .flat_map(|need| &need.segments)
            .filter(|s| s.segno >= from && s.found.len() > 1)
            .map(|s| WalName::Segment(s.timeline, s.segno))
            .take(COMPARED_COPIES)
            .collect();
        for opened in [&self.target, &self.source] {
            names.extend(opened.side.lineage.known.iter().map(|k| WalName::History(k.history.timeline)));
        }
        names.sort_unstable();
        names.dedup();
        let mut found = self.target.set.conflicts(&names);
        for conflict in self.source.set.conflicts(&names) {
            if !found.contains(&conflict) {
                found.push(conflict);
            }
        }
        found
    }

    /// Names for what was found on the target and on the source, each side's own first.
    fn names(&mut self, format: Format, read: [&Read; 2]) -> Result<(Names, Names), DiagnoseError> {
        if read.iter().all(|r| r.scan.is_none() && r.transactions.is_empty()) {
            return Ok(Default::default());
        }
        let [of_target, of_source] = read.map(Read::relations);
        self.progress.begin(Phase::Naming, 0);
        let mut unseen = Vec::new();
        let target = self.catalogs(&self.target, format, &mut unseen)?;
        let source = self.catalogs(&self.source, format, &mut unseen)?;
        self.unseen.append(&mut unseen);
        if self.options.scan_source {
            return Ok(Names::load_both(&target, &source, &of_target, &of_source));
        }
        Ok((Names::load(&target, Some(&source), Some(&of_target)), Names::default()))
    }

    /// The catalogs of a side. On one that was not stopped cleanly they are stale on disk until its WAL from the redo on
    /// is laid over them.
    fn catalogs(
        &self,
        opened: &Opened,
        format: Format,
        unseen: &mut Vec<Unseen>,
    ) -> Result<Catalogs, DiagnoseError> {
        let control = opened.control();
        let disk = DiskBlocks::new(opened.side.dir.path(), control);
        let Some(end) = opened.side.end.as_ref().filter(|_| control.state != DbState::ShutDown) else {
            return Ok(Catalogs::on_disk(disk));
        };
        let path = opened.path(format, &opened.set);
        let redo = record_start(control.checkpoint_copy.redo, format.segment_size.bytes());
        let mut replay = Replay::new(disk);
        loop {
            let stop =
                walk(&path, Start::Record(redo), end.lsn, &mut replay, self.progress, &mut Vec::new())?;
            if stop.next < end.lsn {
                unseen.push(Unseen {
                    path: Some(opened.side.dir.path().to_path_buf()),
                    what: format!(
                        "the WAL from the redo at {redo} to {} could not be replayed in memory",
                        end.lsn
                    ),
                    consequence:
                        "names of relations made or renamed since the last checkpoint may be missing or old"
                            .into(),
                });
                return Ok(replay.into_catalogs());
            }
            if !replay.needs_another_pass() {
                return Ok(replay.into_catalogs());
            }
        }
    }

    fn needs(
        &self,
        relation: &Relation,
        divergence: Option<&Divergence>,
        common: Option<&Checkpoint>,
    ) -> WalNeeds {
        let (Some(format), Some(divergence)) = (self.target.format, divergence) else {
            return WalNeeds::default();
        };
        let size = format.segment_size;
        let (ours, theirs) = (&self.target.side, &self.source.side);
        let sets = (&self.target.set, &self.source.set);
        let common_below = size.segno(divergence.lsn);
        let rewinding = matches!(relation, Relation::Diverged | Relation::Twins { .. });
        let find_blocks = ours.end.as_ref().filter(|_| rewinding).map(|end| {
            let from = common.map_or(divergence.lsn, |c| c.lsn);
            let why = match common {
                Some(_) => "from the last common checkpoint to the end of the target's WAL",
                None => "from the divergence to the end of the target's WAL; the last common checkpoint lies before it",
            };
            let path = self.target.path(format, &self.target.set);
            needs::locate(&path, (from, end.lsn), why.into(), sets, |segno| (true, segno < common_below))
        });
        let follow = theirs.end.as_ref().map(|end| {
            let target_redo = ours.control.checkpoint_copy.redo;
            let (from, why) = if rewinding {
                needs::replay_start(common, theirs.control.checkpoint_copy.redo, target_redo)
            } else {
                (target_redo, "the redo of the target's last checkpoint or restartpoint".to_owned())
            };
            let path = self.source.path(format, &self.source.set);
            needs::locate(&path, (from, end.lsn), why, sets, |segno| (segno <= common_below, true))
        });
        WalNeeds { find_blocks, follow }
    }
}

/// Files at the top of both directories, configuration above all, that are the same to the byte.
fn same_content(trees: &Trees, target: &DataDir, source: &DataDir) -> Vec<PathBuf> {
    let at_top =
        |e: &Entry<'_>| e.kind == Kind::File && e.path.components().count() == 1 && e.size <= SMALL_FILE;
    let same = |path: &Path| {
        let read = |dir: &DataDir| dir.read_small(path, SMALL_FILE).ok();
        read(target).is_some_and(|ours| read(source) == Some(ours))
    };
    let pairs = trees.target.iter().filter(at_top).filter(|ours| {
        trees.source.get(ours.path).is_some_and(|theirs| at_top(&theirs) && theirs.size == ours.size)
    });
    pairs.filter(|e| same(e.path)).map(|e| e.path.to_path_buf()).collect()
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
