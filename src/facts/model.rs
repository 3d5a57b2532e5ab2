//! What was found out about the two sides, before anything is concluded from it.

use std::path::PathBuf;

use crate::names::Names;
use crate::pg::control::{ControlFile, DbState};
use crate::pg::history::History;
use crate::pg::{Lsn, Major, RelFile, SegmentSize, TimelineId, Xid};
use crate::scan::{Changes, RelationSets, WalEnd, Xact};
use crate::source::datadir::DataDir;
use crate::source::leftovers::{BackupLabel, Leftovers};
use crate::source::pages::NewerPages;
use crate::source::settings::Settings;
use crate::source::slots::Slot;
use crate::source::trees::Trees;
use crate::source::walset::{Reason, Rejected};

/// Which of the two directories is meant, in pg_rewind's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The old primary (or standby) that will not rejoin.
    Target,
    /// The new primary.
    Source,
}

/// One of the two directories and what it says by itself.
#[derive(Debug)]
pub struct Side {
    /// Target or source.
    pub role: Role,
    /// The directory as it was opened.
    pub dir: DataDir,
    /// The control file; its CRC may be wrong, see [`ControlFile::crc_ok`].
    pub control: ControlFile,
    /// Size of a WAL segment, from the control file.
    pub segment_size: SegmentSize,
    /// Files that change how the server would start.
    pub leftovers: Leftovers,
    /// Settings that matter for a rejoin.
    pub settings: Settings,
    /// Replication slots.
    pub slots: Vec<Slot>,
    /// The timelines that this side really went through, and why the last one was believed.
    pub lineage: Lineage,
    /// Where the side's WAL really ends; `None` when no record could be read (then `unseen` says why).
    pub end: Option<WalEnd>,
    /// LSN up to which the data files may be ahead of: the larger of the end of the checkpoint record and
    /// minRecoveryPoint, as pg_rewind computes "target's end of WAL".
    pub control_end: Option<Lsn>,
    /// WAL files that were looked at for this side and are not what their names say, own ones and archives'.
    pub rejected: Vec<Rejected>,
}

/// The timelines a side went through, last one first believed by evidence and not by pg_control alone.
#[derive(Debug, Clone)]
pub struct Lineage {
    /// History of `timeline`: parents with their switch points, then the timeline itself with an open end.
    pub history: History,
    /// The side's present timeline.
    pub timeline: TimelineId,
    /// What pg_control alone would say: the checkpoint's timeline and minRecoveryPoint's, the larger one.
    pub control_timeline: TimelineId,
    /// Why `timeline` is believed.
    pub evidence: LineageEvidence,
    /// A history file that the side's own lineage needs and that was found nowhere.
    pub missing_history: Vec<TimelineId>,
    /// All history files that were found for this side, its own and the archives', by timeline.
    pub known: Vec<FoundHistory>,
}

/// Why a side's last timeline is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineageEvidence {
    /// pg_control names it.
    Control,
    /// The first record of the timeline says so (END_OF_RECOVERY or CHECKPOINT_SHUTDOWN), at this LSN.
    FirstRecord(Lsn),
}

/// A history file and where it lies.
#[derive(Debug, Clone)]
pub struct FoundHistory {
    /// The file's timeline.
    pub history: History,
    /// Where it was read.
    pub path: PathBuf,
    /// True when it lies in the side's own WAL directory, false for an archive.
    pub own: bool,
}

/// How the two sides stand to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Relation {
    /// Both end at the same record of the same timeline.
    SamePosition,
    /// Everything in the target's WAL is in the source's history: the target can follow as it is.
    TargetBehind,
    /// Target and source wrote different WAL after the divergence.
    Diverged,
    /// Both claim the same timeline number, or one in the middle of both histories, with different records.
    Twins {
        /// The timeline that both claim.
        timeline: TimelineId,
    },
    /// The source has nothing that the target lacks, and the target went on: probably given the wrong way round.
    SourceBehind,
    /// Nothing in common.
    Unrelated(Unrelated),
    /// The evidence does not suffice; `Facts::unseen` says what is missing.
    Undecided,
}

/// Why two directories have nothing to do with each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unrelated {
    /// Another initdb or pg_upgrade.
    SystemIdentifier,
    /// Another major version (control file or catalog version differ).
    Major,
    /// Same system identifier, yet the first entries of the histories differ.
    NoCommonAncestor,
}

/// Where the timelines part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// First byte that is not common.
    pub lsn: Lsn,
    /// The last common timeline.
    pub timeline: TimelineId,
    /// What shows it.
    pub shown_by: DivergenceProof,
    /// What pg_rewind would take as divergence from the histories alone (`None` = it says "no rewind required").
    pub pg_rewind: Option<(Lsn, TimelineId)>,
}

/// What shows where the timelines part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DivergenceProof {
    /// A line of a history file, of this timeline.
    History(TimelineId),
    /// The first record that differs between the two sides.
    Records,
    /// One side simply ends there.
    End,
}

/// A stretch of a shared timeline in which records could not be compared because one side's WAL is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unproven {
    /// The shared timeline.
    pub timeline: TimelineId,
    /// From here …
    pub from: Lsn,
    /// … to here.
    pub to: Lsn,
    /// Whose WAL is missing.
    pub missing_on: Role,
}

/// A checkpoint record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Start of the record.
    pub lsn: Lsn,
    /// End of the record.
    pub end: Lsn,
    /// Where replay from it starts.
    pub redo: Lsn,
    /// Its ThisTimeLineID.
    pub timeline: TimelineId,
    /// CHECKPOINT_SHUTDOWN rather than CHECKPOINT_ONLINE.
    pub shutdown: bool,
    /// The next transaction identifier at that time, without epoch.
    pub next_xid: Xid,
    /// The oldest transaction then running (0 for a shutdown checkpoint).
    pub oldest_active_xid: Xid,
}

/// Which WAL a step needs, segment by segment.
#[derive(Debug, Clone, Default)]
pub struct WalNeeds {
    /// On the target's timelines, what it reads first when it is started: from its last checkpoint's redo to that
    /// checkpoint.
    pub start: Option<WalNeed>,
    /// To find the changed blocks: last common checkpoint to the target's end.
    pub find_blocks: Option<WalNeed>,
    /// To follow the source afterwards: from the oldest of three redo pointers to the source's end.
    pub follow: Option<WalNeed>,
}

/// A range of WAL and where each of its segments lies.
#[derive(Debug, Clone)]
pub struct WalNeed {
    /// First byte needed.
    pub from: Lsn,
    /// End of what is needed.
    pub to: Lsn,
    /// Why it starts there, in words (for `follow`: which of the three redo pointers).
    pub why: String,
    /// Every segment of the range, in order.
    pub segments: Vec<NeededSegment>,
}

/// One segment of a needed range.
#[derive(Debug, Clone)]
pub struct NeededSegment {
    /// Its name.
    pub name: String,
    /// Timeline in the name.
    pub timeline: TimelineId,
    /// Segment number.
    pub segno: u64,
    /// Every place where a usable copy lies; empty for a hole. The first is the one that was or would be read.
    pub found: Vec<PathBuf>,
    /// A usable copy lies in the target's own WAL directory.
    pub on_target: bool,
    /// A usable copy lies in the source's own WAL directory.
    pub on_source: bool,
}

impl WalNeed {
    /// The segments that were found nowhere.
    pub fn holes(&self) -> impl Iterator<Item = &NeededSegment> {
        self.segments.iter().filter(|s| s.found.is_empty())
    }
}

/// What a scan of one side gave.
#[derive(Debug)]
pub struct SideScan {
    /// From this LSN (for the target: the last common checkpoint; for the source: the divergence).
    pub from: Lsn,
    /// To this LSN: the end of WAL, or where reading stopped.
    pub to: Lsn,
    /// Number of records read.
    pub records: u64,
    /// Bytes of WAL read between `from` and `to`.
    pub bytes: u64,
    /// Stretches in between that were found nowhere.
    pub gaps: Vec<(Lsn, Lsn)>,
    /// Changed blocks, relations created, truncated and dropped.
    pub changes: Changes,
}

/// What discarding the target's WAL after the divergence costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loss {
    /// No record at all after the divergence.
    Nothing,
    /// Only the shutdown checkpoint (FP02).
    ShutdownCheckpointOnly,
    /// Records, and none of them by a committed transaction: vacuum, pruning, hints, checkpoints, aborted work.
    MaintenanceOnly,
    /// Committed transactions.
    Commits {
        /// How many transactions (subtransactions folded in; COMMIT PREPARED counts).
        commits: u64,
        /// Commit time of the first, microseconds since 2000-01-01 UTC (`TimestampTz`).
        first: i64,
        /// Commit time of the last.
        last: i64,
    },
    /// No commit, but transactions that were prepared after the divergence and wait for their decision.
    PreparedOnly {
        /// How many.
        prepared: u64,
    },
    /// The target's WAL after the divergence could not be read to its end: at least so many commits.
    AtLeast {
        /// Commits seen before reading stopped.
        commits: u64,
    },
}

/// Something that could not be seen, and what the report therefore cannot say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unseen {
    /// The file or directory, if it was one.
    pub path: Option<PathBuf>,
    /// What went wrong, one sentence with offset or LSN.
    pub what: String,
    /// What the report leaves out because of it.
    pub consequence: String,
}

/// Room on one filesystem that the target's files lie on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FreeSpace {
    /// The directory within the target where it begins: empty for the data directory itself, `pg_wal`,
    /// `pg_tblspc/OID`. Only those that lie on another filesystem than the data directory have an entry of their own.
    pub at: PathBuf,
    /// Bytes that an ordinary user can still write (`f_bavail`).
    pub bytes: u64,
}

/// Everything that was found out. `Option`s are `None` where the evidence did not reach; `unseen` then says why.
#[derive(Debug)]
pub struct Facts {
    /// The directory that will not rejoin.
    pub target: Side,
    /// The directory it should follow.
    pub source: Side,
    /// How they stand to each other.
    pub relation: Relation,
    /// Where they part.
    pub divergence: Option<Divergence>,
    /// Shared timelines that could not be compared record by record.
    pub unproven: Vec<Unproven>,
    /// The last checkpoint before the divergence on the target.
    pub common_checkpoint: Option<Checkpoint>,
    /// The target from the last common checkpoint to its end.
    pub target_scan: Option<SideScan>,
    /// The source from the divergence to its end; `None` too when it was left out.
    pub source_scan: Option<SideScan>,
    /// Transactions of the target that ended after the divergence or were open at its end, in order of their end.
    pub transactions: Vec<Xact>,
    /// The sets of relations that `Xact::relations` names by index.
    pub relation_sets: RelationSets,
    /// What is lost.
    pub loss: Option<Loss>,
    /// Where the backup that the target's backup_label speaks of ended, if it has one and WAL or a backup history file
    /// tells.
    pub target_backup_end: Option<Lsn>,
    /// What the target's pages say of changes beyond its readable WAL (or, of a standby that was killed, beyond the
    /// divergence); `None` where the WAL says it all.
    pub newer_pages: Option<NewerPages>,
    /// Which WAL is needed and where it lies.
    pub wal: WalNeeds,
    /// Names of the target's relations, and the source's where the target has none for the numbers.
    pub names: Names,
    /// The other way round: after the divergence both sides give out the same numbers, for different relations.
    pub source_names: Names,
    /// Both trees of files, compared.
    pub trees: Trees,
    /// Small files at the top of both directories that are the same to the byte: a rewind that copies them changes
    /// nothing.
    pub same_content: Vec<PathBuf>,
    /// Files of the archives that matter: two contents of one name, histories off the source's line.
    pub archive_conflicts: Vec<crate::source::walset::Conflict>,
    /// Room on the filesystems of the target, as far as this machine can tell; empty when it was not asked.
    pub target_space: Vec<FreeSpace>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

impl Facts {
    /// The major of the target (both are of the same, or the relation is `Unrelated`).
    pub fn major(&self) -> Option<Major> {
        self.target.dir.major()
    }

    /// The file of a segment that is there and could not be read, if there is one: it is not missing.
    pub fn unreadable(&self, timeline: TimelineId, segno: u64) -> Option<&Rejected> {
        let of_it = |r: &&Rejected| (r.timeline, r.segno) == (timeline, segno);
        let rejected = self.target.rejected.iter().chain(&self.source.rejected);
        rejected.filter(of_it).find(|r| matches!(r.reason, Reason::Unreadable(_)))
    }

    /// The file of the target's that could not be read where the checkpoint before the divergence was searched.
    pub fn unreadable_before_checkpoint(&self) -> Option<&Rejected> {
        let files = self.target.rejected.iter().filter(|r| matches!(r.reason, Reason::Unreadable(_)));
        let divergence = self.divergence.as_ref()?.lsn;
        let reach = self.target.segment_size.segno(divergence);
        let told = |r: &&Rejected| self.unseen.iter().any(|u| u.path.as_ref() == Some(&r.path));
        files.filter(|r| r.segno <= reach).filter(told).max_by_key(|r| r.segno)
    }

    /// The file of a segment that is there and too short, if there is one.
    pub fn cut_short(&self, timeline: TimelineId, segno: u64) -> Option<&Rejected> {
        let of_it = |r: &&Rejected| (r.timeline, r.segno) == (timeline, segno);
        let rejected = self.target.rejected.iter().chain(&self.source.rejected);
        rejected.filter(of_it).find(|r| matches!(r.reason, Reason::Short { .. }))
    }

    /// The target is a standby that received WAL past the divergence and replayed none of it that its files would show:
    /// it can follow without a rewind once that WAL is out of its way. One that was stopped says so in its control file;
    /// of one that was killed no page may be newer either, and it took queries: otherwise replay marks commits in
    /// pg_xact without noting in the control file how far it got (`TransactionIdCommitTree`, without an LSN).
    pub fn only_received(&self) -> bool {
        let control = &self.target.control;
        let label = self.target.leftovers.backup_label.as_ref();
        let Some(divergence) = &self.divergence else { return false };
        let replayed_none = match control.state {
            DbState::ShutDownInRecovery => true,
            DbState::InArchiveRecovery => {
                control.min_recovery_point.is_valid()
                    && self.target.settings.hot_standby()
                    && self.newer_pages.as_ref().is_some_and(|pages| pages.complete && pages.found == 0)
            }
            _ => false,
        };
        self.relation == Relation::Diverged
            && replayed_none
            && !label.is_some_and(BackupLabel::by_pg_rewind)
            && self.target.control_end.is_some_and(|at| at <= divergence.lsn)
    }

    /// The names for what was found on this side.
    pub const fn names_of(&self, role: Role) -> &Names {
        match role {
            Role::Target => &self.names,
            Role::Source => &self.source_names,
        }
    }

    /// The name of a relation of the target in words, or its numbers.
    pub fn relation_name(&self, rel: RelFile) -> String {
        self.names.describe(rel)
    }
}
