//! Which of several copies of the old primary can follow the source.

use std::path::{Path, PathBuf};

use crate::pg::control::DbState;
use crate::pg::history::History;
use crate::pg::{Lsn, Major, TimelineId};
use crate::scan::WalEnd;
use crate::scan::path::WalPath;
use crate::source::datadir::Identity;
use crate::source::leftovers::BackupLabel;
use crate::source::walset::{WalIdentity, WalSet};
use crate::wal::Format;

use super::engine::{self, Cancelled, DiagnoseError, Progress};
use crate::facts::{Facts, Relation, Unrelated, Unseen, WalNeed, backup};

/// What to judge and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory to follow.
    pub source: PathBuf,
    /// Snapshots or backups of the old primary.
    pub snapshots: Vec<PathBuf>,
    /// Archives of WAL.
    pub archives: Vec<PathBuf>,
    /// A command that fetches a file of the archive.
    pub restore_command: Option<String>,
    /// Threads for the scan, at least 1.
    pub threads: usize,
}

/// What can be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SnapshotAction {
    /// It can follow the source as it is.
    Follow,
    /// It must be rewound.
    Rewind,
    /// It cannot be used.
    Unusable,
}

/// One snapshot.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// The directory.
    pub path: PathBuf,
    /// What can be done with it.
    pub action: SnapshotAction,
    /// Why, one or two sentences.
    pub why: String,
    /// Where its WAL really ends.
    pub end: Option<WalEnd>,
    /// The WAL that it needs to follow and where it lies.
    pub wal: Option<WalNeed>,
    /// The one to roll back to.
    pub recommended: bool,
}

/// All of them.
#[derive(Debug, Clone)]
pub struct Judgement {
    /// The directory to follow.
    pub source: PathBuf,
    /// Its timeline and the end of its WAL.
    pub source_end: Option<(TimelineId, Lsn)>,
    /// In the order of the arguments.
    pub snapshots: Vec<Snapshot>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// Judges every snapshot by the end of its WAL, not by its checkpoint.
///
/// # Errors
/// The source cannot be read, or the work was cancelled. A snapshot that cannot be read is judged unusable.
pub fn judge(options: &Options, progress: &Progress) -> Result<Judgement, DiagnoseError> {
    engine::control(&options.source)?;
    let mut judgement = Judgement {
        source: options.source.clone(),
        source_end: None,
        snapshots: Vec::new(),
        unseen: Vec::new(),
    };
    // what could not be seen, with the numbers of the snapshots that it is about
    let mut unseen: Vec<(Vec<usize>, Unseen)> = Vec::new();
    let mut lenders = Vec::new();
    // backups whose WAL the other directories may have
    let mut without_end = Vec::new();
    for (number, path) in options.snapshots.iter().enumerate() {
        if is_same(path, &options.source) {
            let why = "It is the source itself, not a snapshot of the old primary.";
            judgement.snapshots.push(unusable(path, why.into()));
            continue;
        }
        let pair = engine::Options {
            target: path.clone(),
            source: options.source.clone(),
            archives: options.archives.clone(),
            restore_command: options.restore_command.clone(),
            threads: options.threads,
            scan_source: false,
            blocks_only: false,
        };
        let snapshot = match engine::facts(&pair, progress) {
            Ok(facts) => {
                if judgement.source_end.is_none() {
                    judgement.source_end = facts.source.end.as_ref().map(|e| (e.timeline, e.lsn));
                }
                let all = facts.unseen.clone();
                lenders.extend(Lender::of(&facts, progress));
                let label = facts.target.leftovers.backup_label.as_ref();
                let start = label.and_then(|l| l.start).filter(|_| facts.target_backup_end.is_none());
                let snapshot = match start {
                    Some(start) => {
                        without_end.push((number, start, facts));
                        unusable(path, String::new())
                    }
                    None => one(path, facts),
                };
                // one that can follow is not rewound: nobody needs that checkpoint
                let follows = snapshot.action == SnapshotAction::Follow;
                let needless =
                    |u: &Unseen| follows && u.consequence.starts_with("the last checkpoint before");
                for new in all.into_iter().filter(|u| !needless(u)) {
                    match unseen.iter_mut().find(|(_, known)| *known == new) {
                        Some((of, _)) if of.contains(&number) => {}
                        Some((of, _)) => of.push(number),
                        None => unseen.push((vec![number], new)),
                    }
                }
                snapshot
            }
            Err(DiagnoseError::Cancelled) => return Err(DiagnoseError::Cancelled),
            Err(error) => unusable(path, error.to_string()),
        };
        judgement.snapshots.push(snapshot);
    }
    for (number, start, mut facts) in without_end {
        facts.target_backup_end = backup_end(start, &lenders, progress)?;
        if let Some(snapshot) = judgement.snapshots.get_mut(number) {
            *snapshot = one(&snapshot.path.clone(), facts);
        }
    }
    for snapshot in &mut judgement.snapshots {
        if let Some(wal) = &mut snapshot.wal {
            lend(wal, &lenders);
            snapshot.why += &holes_in(wal);
        }
        progress.check()?;
    }
    recommend(&mut judgement.snapshots);
    let count = options.snapshots.len();
    judgement.unseen = unseen
        .into_iter()
        .map(|(of, unseen)| {
            if of.len() == count {
                return unseen;
            }
            let names = of.iter().filter_map(|n| options.snapshots.get(*n));
            let names: Vec<String> = names.map(|p| p.display().to_string()).collect();
            Unseen { what: format!("for {}: {}", names.join(", "), unseen.what), ..unseen }
        })
        .collect();
    Ok(judgement)
}

/// Whether two paths are one directory.
fn is_same(a: &Path, b: &Path) -> bool {
    let identity = |path: &Path| std::fs::metadata(path).map(|m| Identity::of(&m));
    matches!((identity(a), identity(b)), (Ok(a), Ok(b)) if a == b)
}

fn unusable(path: &Path, why: String) -> Snapshot {
    let action = SnapshotAction::Unusable;
    Snapshot { path: path.to_owned(), action, why, end: None, wal: None, recommended: false }
}

fn one(path: &Path, facts: Facts) -> Snapshot {
    let (action, why) = action(&facts);
    let wal = facts.wal.follow.filter(|_| action == SnapshotAction::Follow);
    Snapshot { path: path.to_owned(), action, why, end: facts.target.end, wal, recommended: false }
}

/// A snapshot whose WAL may serve another one.
struct Lender {
    set: WalSet,
    format: Option<Format>,
    history: History,
    /// Up to here its WAL is the source's.
    common_to: Lsn,
}

impl Lender {
    fn of(facts: &Facts, progress: &Progress) -> Option<Self> {
        let target = &facts.target;
        let end = target.end.as_ref().map(|end| end.lsn);
        let common_to = match facts.relation {
            Relation::TargetBehind | Relation::SamePosition => end?,
            Relation::Diverged | Relation::Twins { .. } => facts.divergence.as_ref()?.lsn,
            Relation::SourceBehind | Relation::Undecided | Relation::Unrelated(_) => return None,
        };
        let identity = WalIdentity {
            system_identifier: target.control.system_identifier,
            magic: None,
            major: Some(target.control.major),
        };
        let (own, of) = (target.dir.wal_dir().ok()?, (target.segment_size, identity));
        let set = WalSet::until(&own, &[], None, of, progress.cancel_flag());
        let format = (target.control.major >= Major::V9_5).then_some(Format {
            major: target.control.major,
            system_identifier: target.control.system_identifier,
            segment_size: target.segment_size,
        });
        Some(Self { set, format, history: target.lineage.history.clone(), common_to })
    }
}

/// Where a backup ended, by the WAL of the other snapshots, as far as it is the source's.
fn backup_end(start: Lsn, lenders: &[Lender], progress: &Progress) -> Result<Option<Lsn>, Cancelled> {
    for lender in lenders {
        let Some(format) = lender.format else { continue };
        let path = WalPath { format, history: &lender.history, store: &lender.set };
        let end = backup::end(start, &lender.set, &path, progress)?;
        if end.is_some_and(|end| end <= lender.common_to) {
            return Ok(end);
        }
    }
    Ok(None)
}

/// Fills holes from the WAL directories of the other snapshots, as far as these are copies of one line with the source.
fn lend(wal: &mut WalNeed, lenders: &[Lender]) {
    for segment in wal.segments.iter_mut().filter(|s| s.found.is_empty()) {
        let whole = |l: &&Lender| l.set.segment_size().start(segment.segno + 1) <= l.common_to;
        let on = |l: &&Lender| l.history.entries.iter().any(|e| e.timeline == segment.timeline);
        let (timeline, segno) = (segment.timeline, segment.segno);
        let places = lenders.iter().filter(whole).filter(on).flat_map(|l| l.set.places(timeline, segno));
        segment.found = places.map(|place| place.path).collect();
    }
}

fn holes_in(wal: &WalNeed) -> String {
    let holes: Vec<&str> = wal.holes().map(|s| s.name.as_str()).collect();
    match holes.as_slice() {
        [] => String::new(),
        [first, ..] => format!(
            " But {} segment{} of WAL that it needs lies in none of these directories nor in a given archive, the first is {first}.",
            holes.len(),
            if holes.len() == 1 { "" } else { "s" }
        ),
    }
}

fn action(facts: &Facts) -> (SnapshotAction, String) {
    use SnapshotAction::{Follow, Rewind, Unusable};
    let target = &facts.target;
    if let Relation::Unrelated(why) = &facts.relation {
        let why = match why {
            Unrelated::SystemIdentifier => "It is of another cluster: the system identifiers differ.",
            Unrelated::Major => "It is of another major version than the source.",
            Unrelated::NoCommonAncestor => "Its history has no timeline in common with the source's.",
        };
        return (Unusable, why.into());
    }
    if let Some(label) = &target.leftovers.backup_label {
        return backup(facts, label);
    }
    let Some(divergence) = &facts.divergence else {
        return (
            Unusable,
            "Its WAL could not be read as far as needed to place it on the source's timelines.".into(),
        );
    };
    let at = format!("{} on timeline {}", divergence.lsn, divergence.timeline);
    let running = matches!(target.control.state, DbState::InProduction);
    let atomic = if running {
        " It was taken of a running server: this holds only if the snapshot is atomic over all its filesystems."
    } else {
        ""
    };
    match &facts.relation {
        Relation::SamePosition => (Follow, format!("It ends where the source ends.{atomic}")),
        Relation::TargetBehind => {
            (Follow, format!("All its WAL is in the source's history, which it left at {at}.{atomic}"))
        }
        Relation::Diverged if facts.only_received() => (
            Follow,
            format!(
                "It received WAL past {at} and replayed none of it: it can follow once the segments from there on are \
                 moved out of its WAL directory.{atomic}"
            ),
        ),
        Relation::Diverged => (Rewind, format!("It has WAL that the source does not have, from {at} on.")),
        Relation::Twins { timeline } => (
            Rewind,
            format!(
                "Its timeline {timeline} is not the source's timeline {timeline}: they differ from {at} on."
            ),
        ),
        Relation::SourceBehind => (Unusable, format!("It is ahead of the source, which ends at {at}.")),
        Relation::Undecided | Relation::Unrelated(_) => {
            (Unusable, "The evidence does not suffice to place it on the source's timelines.".into())
        }
    }
}

/// A file-level copy is consistent only at the end of its backup: that must lie on the common line.
fn backup(facts: &Facts, label: &BackupLabel) -> (SnapshotAction, String) {
    use SnapshotAction::{Follow, Unusable};
    if label.incremental_from.is_some() {
        let why =
            "It is an incremental backup, on which no server starts: combine it with pg_combinebackup first.";
        return (Unusable, why.into());
    }
    let start = label.start.map_or_else(|| "an unknown position".to_owned(), |lsn| lsn.to_string());
    let Some(stop) = facts.target_backup_end else {
        let why = format!(
            "It is a backup begun at {start} (backup_label), and the end of that backup was not found in the WAL at hand: \
             it is not known to be consistent at or before the divergence."
        );
        return (Unusable, why);
    };
    let common_end = match &facts.divergence {
        Some(divergence) if !matches!(facts.relation, Relation::TargetBehind | Relation::SamePosition) => {
            divergence.lsn
        }
        _ => Lsn::MAX,
    };
    if stop <= common_end {
        let why = format!(
            "It is a backup begun at {start} that is consistent from {stop} on, which the source's history has."
        );
        (Follow, why)
    } else {
        let why = format!(
            "It is a backup begun at {start} that is consistent from {stop} on only, and the source left that line at \
             {common_end}."
        );
        (Unusable, why)
    }
}

/// The one that is furthest on, of those that can follow with WAL that is at hand.
fn recommend(snapshots: &mut [Snapshot]) {
    let best = snapshots
        .iter()
        .enumerate()
        .filter(|(_, s)| s.action == SnapshotAction::Follow)
        .filter(|(_, s)| s.wal.as_ref().is_none_or(|w| w.holes().next().is_none()))
        .max_by_key(|(_, s)| s.end.as_ref().map(|e| (e.timeline, e.lsn)));
    let best = best.map(|(index, _)| index);
    for (index, snapshot) in snapshots.iter_mut().enumerate() {
        snapshot.recommended = Some(index) == best;
    }
}
