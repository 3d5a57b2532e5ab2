//! The steps from two directories to the facts, and from there to a diagnosis.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::names::{Catalogs, DiskBlocks, Names, Replay};
use crate::pg::control::{ControlFile, DbState};
use crate::pg::history::History;
use crate::pg::{Lsn, Major, RelFile, SegmentSize, TimelineId, WalName, Xid};
use crate::scan::collect::{Changed, Collected};
use crate::scan::path::{Segments, WalPath};
use crate::scan::run::{Collector, Scanned, scan};
use crate::scan::walk::{Start, for_each, read_record, record_start, walk};
use crate::scan::{FileEvent, RecordKind, RelationSets, WalEnd, Xact};
use crate::source::datadir::DataDir;
use crate::source::leftovers::{BackupLabel, Leftovers};
use crate::source::restore::RestoreCommand;
use crate::source::settings::Settings;
use crate::source::trees::{Kind, Trees};
use crate::source::walset::{Conflict, Segment, WalIdentity, WalSet};
use crate::source::{slots, space};
use crate::wal::rmgr::{id, op};
use crate::wal::{Format, Problem, Record, rmgr};

use super::checkpoint::{self, Search};
use super::compare::{Compare, compare};
use super::ending::{self, Stopped};
use super::facts::{
    Checkpoint, Divergence, DivergenceProof, Facts, FoundHistory, FreeSpace, Relation, Role, Side, SideScan,
    Unrelated, Unseen, WalNeeds,
};
use super::{Diagnosis, lineage, loss, needs};

pub use crate::scan::progress::{Cancelled, Phase, Progress};

/// Segments of which all copies are compared with each other: each is read as a whole.
const COMPARED_COPIES: usize = 16;

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

fn input(what: impl Into<String>, advice: impl Into<String>) -> DiagnoseError {
    DiagnoseError::Input { what: what.into(), advice: advice.into() }
}

/// A side with the WAL it can reach.
struct Opened {
    side: Side,
    set: WalSet,
    format: Option<Format>,
}

/// The side's own places first, then the other's where both have the same WAL.
struct WithOther<'a> {
    own: &'a WalSet,
    other: &'a WalSet,
    /// Segments below this number end before the divergence.
    common_below: u64,
}

impl Segments for WithOther<'_> {
    fn open(&self, timeline: u32, segno: u64) -> Option<Segment> {
        let other = || {
            if segno < self.common_below { Segments::open(self.other, timeline, segno) } else { None }
        };
        Segments::open(self.own, timeline, segno).or_else(other)
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
    let target = open_side(Role::Target, target_dir, options, &mut unseen)?;
    let source = open_side(Role::Source, source_dir, options, &mut unseen)?;
    Work { options, progress, target, source, unseen }.run()
}

struct Work<'a> {
    options: &'a Options,
    progress: &'a Progress,
    target: Opened,
    source: Opened,
    unseen: Vec<Unseen>,
}

fn open_side(
    role: Role,
    dir: DataDir,
    options: &Options,
    unseen: &mut Vec<Unseen>,
) -> Result<Opened, DiagnoseError> {
    let (control, _) = dir.control().map_err(|e| input(e.to_string(), ""))?;
    let segment_size = SegmentSize::new(control.wal_segment_size).unwrap_or_else(|| {
        unseen.push(Unseen {
            path: Some(dir.path().join("global/pg_control")),
            what: format!("pg_control gives {} bytes as the WAL segment size", control.wal_segment_size),
            consequence: "16 MB was assumed to read the WAL".into(),
        });
        SegmentSize::DEFAULT
    });
    let major = control.major;
    let wal_dir = dir.wal_dir().unwrap_or_else(|e| {
        unseen.push(Unseen {
            path: Some(dir.path().join(major.wal_dir())),
            what: e.to_string(),
            consequence: "the WAL of this side was looked for in archives only".into(),
        });
        dir.path().join(major.wal_dir())
    });
    let restore = match options.restore_command.as_deref().map(RestoreCommand::new) {
        Some(Ok(command)) => Some(command),
        Some(Err(e)) => return Err(input(e.to_string(), "")),
        None => None,
    };
    let identity = WalIdentity {
        system_identifier: control.system_identifier,
        magic: Some(major.wal_magic()),
        major: Some(major),
    };
    let set = WalSet::new(&wal_dir, &options.archives, restore, segment_size, identity);
    // the records' format is known from 9.5 on
    let format = (major >= Major::V9_5).then_some(Format {
        major,
        system_identifier: control.system_identifier,
        segment_size,
    });
    let known = histories(&set, unseen);
    let lineage = match format {
        Some(format) => lineage::find(&control, &set, format, known),
        None => lineage::of_control(&control, known),
    };
    let leftovers = Leftovers::read(dir.path(), major, &wal_dir);
    let settings = Settings::read(dir.path(), major);
    let (slots, bad_slots) = slots::read(dir.path());
    unseen.extend(bad_slots.into_iter().map(|(path, what)| Unseen {
        path: Some(path),
        what,
        consequence: "this replication slot is not in the report".into(),
    }));
    unseen.extend(leftovers.problems.iter().chain(&settings.problems).map(|what| Unseen {
        path: None,
        what: what.clone(),
        consequence: "what it says was not taken into account".into(),
    }));
    let side = Side {
        role,
        dir,
        control,
        segment_size,
        leftovers,
        settings,
        slots,
        lineage,
        end: None,
        control_end: None,
        rejected: Vec::new(),
    };
    Ok(Opened { side, set, format })
}

impl Opened {
    fn path<'a>(&'a self, format: Format, store: &'a dyn Segments) -> WalPath<'a> {
        WalPath { format, history: &self.side.lineage.history, store }
    }

    fn control(&self) -> &ControlFile {
        &self.side.control
    }
}

/// What the histories and the WAL say about where the two sides part.
struct Parting {
    divergence: Option<Divergence>,
    /// Both end on the same timeline, and no record differs.
    same_line: bool,
    unproven: Vec<super::facts::Unproven>,
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
        if let Some(divergence) = &divergence {
            common = self.common_checkpoint(format, divergence.lsn)?;
        }
        let target = self.read_target(format, divergence.as_ref(), common.as_ref())?;
        let source = self.read_source(format, divergence.as_ref())?;
        let relation = self.relate(&mut divergence, parting.same_line);
        let names = self.names(format, [&target, &source])?;
        let mut facts =
            self.into_facts(relation, divergence, parting.unproven, common, Some(target), Some(source));
        (facts.names, facts.source_names) = names;
        Ok(facts)
    }

    fn unrelated(&self) -> Option<Unrelated> {
        let (target, source) = (self.target.control(), self.source.control());
        if target.system_identifier != source.system_identifier {
            Some(Unrelated::SystemIdentifier)
        } else if target.pg_control_version != source.pg_control_version
            || target.catalog_version != source.catalog_version
        {
            Some(Unrelated::Major)
        } else if self.target.side.lineage.history.common_prefix(&self.source.side.lineage.history).is_none()
            // without its history file a timeline looks as if it came from nowhere
            && self.target.side.lineage.missing_history.is_empty()
            && self.source.side.lineage.missing_history.is_empty()
        {
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
                    .filter(|e| {
                        record_start(e.begin, format.segment_size.bytes()) < lsn || e.begin == Lsn::INVALID
                    })
                    .next_back()
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
                self.unseen.push(Unseen {
                    path: None,
                    what: format!(
                        "segment {name} is neither in the target nor in the source nor in an archive"
                    ),
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
        let start = match common {
            Some(common) => Start::Record(common.lsn),
            None => {
                let from = divergence.map_or(control.checkpoint, |d| d.lsn);
                let lowest = format.segment_size.segno(control.checkpoint_copy.redo.min(from));
                Start::Page(readable_before(&path, from, lowest))
            }
        };
        let task = Task {
            start,
            divergence: divergence.map_or(Lsn::MAX, |d| d.lsn),
            next_xid: common.map_or(control.checkpoint_copy.next_xid, |c| c.next_xid),
            phase: Phase::ScanningTarget,
            wanted: divergence.is_some(),
        };
        let (mut read, end) = self.read(&self.target, &path, &task)?;
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
        let make = || Changed::new(major, task.divergence);
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
        let end = ending::classify(path, &opened.set, &stopped, kind, self.progress)?;
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
        // WAL that ends before the control file's own position is not all that the side wrote
        let beyond = |side: &Side| {
            let written = side.control.checkpoint >= divergence.lsn
                || side.control.min_recovery_point > divergence.lsn
                || side.end.as_ref().is_some_and(|e| e.last_record >= divergence.lsn);
            if written || side.end.is_some() { Some(written) } else { None }
        };
        match (beyond(target), beyond(source)) {
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
        unproven: Vec<super::facts::Unproven>,
        common_checkpoint: Option<Checkpoint>,
        target: Option<Read>,
        source: Option<Read>,
    ) -> Facts {
        let wal = self.needs(&relation, divergence.as_ref(), common_checkpoint.as_ref());
        let target_backup_end = self.backup_end();
        let archive_conflicts = self.conflicts(divergence.as_ref(), &wal);
        let Self { target: mut ours, source: mut theirs, mut unseen, .. } = self;
        for opened in [&mut ours, &mut theirs] {
            opened.side.rejected = opened.set.rejected();
            unseen.extend(opened.set.problems().into_iter().map(|(path, what)| Unseen {
                path: Some(path),
                what,
                consequence: "WAL in it was not seen".into(),
            }));
        }
        let trees = Trees::read(ours.side.dir.path(), theirs.side.dir.path());
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

/// Reads the control file of a directory.
///
/// # Errors
/// The directory or its control file cannot be read.
pub fn control(dir: &Path) -> Result<ControlFile, DiagnoseError> {
    let dir = DataDir::open(dir).map_err(|e| input(e.to_string(), ""))?;
    dir.control().map(|c| c.0).map_err(|e| input(e.to_string(), ""))
}

/// What the tree of timelines is made of.
#[derive(Debug, Clone, Default)]
pub struct Timelines {
    /// Every history file that was found.
    pub histories: Vec<FoundHistory>,
    /// Where each data directory stands.
    pub ends: Vec<(PathBuf, TimelineId, Option<Lsn>)>,
    /// What could not be read.
    pub unseen: Vec<Unseen>,
}

/// A message of a server's log that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMatch {
    /// Number of its line, from 1.
    pub line: u64,
    /// The message as it stands there.
    pub message: String,
    /// Code of the finding.
    pub code: &'static str,
    /// What the code stands for, one line.
    pub title: String,
    /// Whether the directories bear it out; `None` where they cannot tell.
    pub borne_out: Option<bool>,
    /// Why, with this pair's figures.
    pub why: String,
}

/// Diagnoses a pair.
///
/// # Errors
/// As [`facts`].
pub fn diagnose(options: &Options, progress: &Progress) -> Result<Diagnosis, DiagnoseError> {
    let facts = facts(options, progress)?;
    let findings = crate::findings::find(&facts);
    let verdict = super::verdict::judge(&facts, &findings);
    Ok(Diagnosis { facts, findings, verdict })
}

/// Reads every history file of some data directories and archives.
///
/// # Errors
/// A directory or its control file cannot be read.
pub fn timelines(dirs: &[PathBuf], archives: &[PathBuf]) -> Result<Timelines, DiagnoseError> {
    let mut found = Timelines::default();
    let progress = Progress::default();
    let mut loose: Vec<PathBuf> = archives.to_vec();
    for dir in dirs {
        // an archive or a WAL directory has histories, too
        if dir.is_dir() && !dir.join("PG_VERSION").exists() {
            loose.push(dir.clone());
            continue;
        }
        let opened = DataDir::open(dir).map_err(|e| input(e.to_string(), ""))?;
        let options = Options {
            target: dir.clone(),
            source: dir.clone(),
            archives: Vec::new(),
            restore_command: None,
            threads: 1,
            scan_source: false,
        };
        let opened = open_side(Role::Target, opened, &options, &mut found.unseen)?;
        let end = opened.format.and_then(|format| {
            let path = opened.path(format, &opened.set);
            let stop =
                for_each(&path, Start::Record(opened.control().checkpoint), Lsn::MAX, &progress, |_| true);
            stop.ok().map(|s| s.next).filter(|lsn| lsn.is_valid())
        });
        let end = end.or(Some(opened.control().checkpoint));
        found.ends.push((dir.clone(), opened.side.lineage.timeline, end));
        found.histories.extend(opened.side.lineage.known.into_iter().filter(|k| k.own));
    }
    let identity = WalIdentity { system_identifier: 0, magic: None, major: None };
    for dir in &loose {
        let set = WalSet::new(dir, &[], None, SegmentSize::DEFAULT, identity);
        found
            .histories
            .extend(histories(&set, &mut found.unseen).into_iter().map(|k| FoundHistory { own: false, ..k }));
        found.unseen.extend(set.problems().into_iter().map(|(path, what)| Unseen {
            path: Some(path),
            what,
            consequence: "histories in it were not seen".into(),
        }));
    }
    Ok(found)
}

/// The history files of a set, its own first.
fn histories(set: &WalSet, unseen: &mut Vec<Unseen>) -> Vec<FoundHistory> {
    let mut known = Vec::new();
    for file in set.histories() {
        match History::parse(&file.bytes, file.timeline) {
            Ok(history) => known.push(FoundHistory { history, path: file.path, own: file.own }),
            Err(e) => unseen.push(Unseen {
                path: Some(file.path),
                what: e.to_string(),
                consequence: "this history was not used".into(),
            }),
        }
    }
    known.sort_by_key(|k| !k.own);
    known
}

/// Finds the messages of a server's log that belong to findings, and compares them with the directories.
pub fn match_log(diagnosis: &Diagnosis, log: &str) -> Vec<LogMatch> {
    crate::findings::log::explain(log, Some(diagnosis))
        .into_iter()
        .map(|m| LogMatch {
            line: m.line as u64,
            why: m.why(),
            message: m.message,
            code: m.code,
            title: crate::findings::codes::title(m.code).to_owned(),
            borne_out: m.finding_matches,
        })
        .collect()
}
