//! Where replay starts, and which WAL it needs from where.

use std::path::PathBuf;

use crate::facts::{Checkpoint, Facts, Relation};
use crate::pg::history::History;
use crate::pg::{Lsn, Major, TimelineId, WalName};
use crate::scan::path::{Segments, WalPath};
use crate::source::archive::Place;
use crate::source::restore::RestoreCommand;
use crate::source::walset::{Segment, WalIdentity, WalSet};
use crate::wal::Format;

use super::model::{CheckpointPosition, ReplayStart};
use super::options::PlanOptions;

/// More segments than this between the start of replay and the source's end are taken for a damaged position.
const MOST_SEGMENTS: u64 = 1 << 20;

/// The WAL of both sides.
pub struct Wal {
    format: Format,
    target: WalSet,
    source: WalSet,
}

/// Where a segment that replay needs comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The source's WAL directory has it, and it is copied with it.
    Source,
    /// The target's own stays.
    Target,
    /// An archive's file is copied.
    Archive(PathBuf),
    /// Only the restore command brings it.
    RestoreCommand,
    /// Nowhere.
    Missing,
}

/// A segment that replay needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needed {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub from: From,
}

struct Nothing;

impl Segments for Nothing {
    fn open(&self, _: TimelineId, _: u64) -> Option<Segment> {
        None
    }
}

impl Wal {
    /// Lists the WAL of both sides and the archives. `None` if a WAL directory or the restore command cannot be used.
    pub fn new(facts: &Facts, options: &PlanOptions) -> Option<Self> {
        let control = &facts.target.control;
        let format = Format {
            major: control.major,
            system_identifier: control.system_identifier,
            segment_size: facts.target.segment_size,
        };
        let identity = WalIdentity {
            system_identifier: control.system_identifier,
            magic: Some(control.major.wal_magic()),
            major: Some(control.major),
        };
        let archives: Vec<PathBuf> = options.archives.iter().map(|a| a.as_path().to_owned()).collect();
        let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose().ok()?;
        let set =
            |dir: PathBuf, restore| WalSet::new(&dir, &archives, restore, format.segment_size, identity);
        Some(Self {
            format,
            target: set(facts.target.dir.wal_dir().ok()?, None),
            source: set(facts.source.dir.wal_dir().ok()?, restore),
        })
    }

    fn path<'a>(&self, history: &'a History) -> WalPath<'a> {
        WalPath { format: self.format, history, store: &Nothing }
    }

    /// Every segment between `from` and `to` on the source's line. The target's count up to the divergence, where both
    /// have the same WAL (`common_to`; none: not at all).
    pub fn needed(
        &self,
        facts: &Facts,
        (from, to): (Lsn, Lsn),
        common_to: Option<Lsn>,
    ) -> Option<Vec<Needed>> {
        let size = self.format.segment_size;
        let first = size.segno(from);
        let last = if to > from { size.prev_segno(to) } else { first };
        if last - first > MOST_SEGMENTS {
            return None;
        }
        let path = self.path(&facts.source.lineage.history);
        let twins = matches!(facts.relation, Relation::Twins { .. });
        let common_below = common_to.map_or(0, |lsn| size.segno(lsn));
        let mut needed = Vec::new();
        for segno in first..=last {
            let end = size.start(segno + 1).min(to);
            let mut name = None;
            let mut found = From::Missing;
            for (n, (timeline, valid_to)) in path.timelines_of(segno).enumerate() {
                if n > 0 && valid_to < end {
                    // what follows the switch is not in this file
                    break;
                }
                let this = WalName::Segment(timeline, segno).file_name(size);
                let from = self.place(timeline, segno, segno < common_below, !twins || segno < common_below);
                let better = name.is_none() || from != From::Missing;
                if better {
                    name = Some(this);
                    found = from;
                }
                if found != From::Missing {
                    break;
                }
            }
            if let Some(name) = name {
                needed.push(Needed { name, from: found });
            }
        }
        Some(needed)
    }

    fn place(&self, timeline: TimelineId, segno: u64, common: bool, archives: bool) -> From {
        let whole = |set: &WalSet| {
            let places = set.places(timeline, segno);
            places.into_iter().filter(|c| !c.partial).collect::<Vec<_>>()
        };
        let theirs = whole(&self.source);
        if theirs.iter().any(|c| c.place == Place::Own) {
            return From::Source;
        }
        if common && whole(&self.target).iter().any(|c| c.place == Place::Own) {
            return From::Target;
        }
        match theirs.into_iter().find(|_| archives) {
            Some(c) if matches!(c.place, Place::Archive(_)) => From::Archive(c.path),
            Some(_) => From::RestoreCommand,
            None => From::Missing,
        }
    }

    /// The source's present history file, if it is not in its own WAL directory and an archive has it, compressed or not,
    /// or the restore command brings it: name, file (none: from the restore command), size in bytes.
    pub fn missing_history(&self, facts: &Facts) -> Option<(String, Option<PathBuf>, u64)> {
        let timeline = facts.source.lineage.timeline;
        if timeline == 1 {
            return None;
        }
        let mut files = self.source.histories();
        files.retain(|file| file.timeline == timeline);
        if files.iter().any(|f| f.own) {
            return None;
        }
        let name = WalName::History(timeline).file_name(self.format.segment_size);
        match files.into_iter().next() {
            Some(file) => Some((name, Some(file.path), file.bytes.len() as u64)),
            None => self.source.restored_history(timeline).map(|file| (name, None, file.bytes.len() as u64)),
        }
    }

    /// Names of the target's segments that pg_rewind (from 14 on) keeps: those in which it reads a record on its way back
    /// from the divergence to the last common checkpoint.
    pub fn kept_by_pg_rewind(&self, facts: &Facts, common: &Checkpoint, divergence: Lsn) -> Vec<String> {
        if self.format.major < Major::V14 {
            return Vec::new();
        }
        let size = self.format.segment_size;
        let path = self.path(&facts.target.lineage.history);
        (size.segno(common.lsn)..=size.segno(divergence))
            .filter_map(|segno| {
                let (timeline, _) =
                    path.timelines_of(segno).find(|(_, end)| *end >= size.start(segno + 1))?;
                Some(WalName::Segment(timeline, segno).file_name(size))
            })
            .collect()
    }
}

/// Where replay starts: at the oldest of three redo pointers, as a target that was a standby has files only as new as its
/// last restartpoint. pg_rewind knows the first (to 13), or the first two.
pub fn replay_start(facts: &Facts, pg_rewind: Option<Major>, compare: bool) -> Option<ReplayStart> {
    let of = |control: &crate::pg::control::ControlFile| CheckpointPosition {
        lsn: control.checkpoint,
        redo: control.checkpoint_copy.redo,
        timeline: control.checkpoint_copy.timeline,
    };
    let common = facts.common_checkpoint.as_ref().map(|c| CheckpointPosition {
        lsn: c.lsn,
        redo: c.redo,
        timeline: c.timeline,
    });
    let source = of(&facts.source.control);
    let candidates = if compare {
        vec![(source, "the redo of the source's last checkpoint: all files become the source's")]
    } else {
        let mut all = vec![(common?, "the redo of the last common checkpoint")];
        if pg_rewind.is_none_or(|major| major >= Major::V14) {
            all.push((
                source,
                "the redo of the source's last checkpoint, which is older than the last common one",
            ));
        }
        if pg_rewind.is_none() {
            all.push((
                of(&facts.target.control),
                "the redo of the target's last checkpoint or restartpoint: its files are no newer than that",
            ));
        }
        all
    };
    let (at, why) = candidates.into_iter().min_by_key(|(at, _)| at.redo)?;
    Some(ReplayStart { redo: at.redo, checkpoint: at.lsn, timeline: at.timeline, why: why.into() })
}
