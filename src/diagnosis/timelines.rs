//! Every history file of some directories, for the tree of timelines.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::facts::gather::{DiagnoseError, Options, input};
use crate::facts::open::{Opened, histories, open_side, parsed};
use crate::facts::{FoundHistory, Role, Unseen};
use crate::pg::{Lsn, SegmentSize, TimelineId};
use crate::scan::progress::{Cancelled, Phase, Progress};
use crate::scan::run::{Collector, scan};
use crate::scan::walk::Start;
use crate::source::datadir::DataDir;
use crate::source::restore::RestoreCommand;
use crate::source::walset::{WalIdentity, WalSet};
use crate::wal::Record;
use crate::wal::framer::Sink;

/// What to look through and with what.
#[derive(Debug, Clone)]
pub struct TimelineOptions {
    /// Data directories, or archives and other directories that hold history files.
    pub directories: Vec<PathBuf>,
    /// Archives of WAL.
    pub archives: Vec<PathBuf>,
    /// A command that fetches a file of the archive, `%f`, `%p` and `%%` as in PostgreSQL.
    pub restore_command: Option<String>,
    /// Threads to read WAL with, at least 1.
    pub threads: usize,
}

/// What the trees of timelines are made of.
#[derive(Debug, Clone, Default)]
pub struct Timelines {
    /// For each cluster one, in the order in which they were given.
    pub clusters: Vec<Cluster>,
    /// What could not be read.
    pub unseen: Vec<Unseen>,
}

/// What belongs on one tree.
#[derive(Debug, Clone, Default)]
pub struct Cluster {
    /// `None` for archives that may belong to any of several clusters: history files have no system identifier.
    pub system_identifier: Option<u64>,
    /// Every history file that was found.
    pub histories: Vec<FoundHistory>,
    /// Where each data directory stands.
    pub ends: Vec<(PathBuf, TimelineId, Option<Lsn>)>,
}

/// A restore command is not run more often than this for timelines that may not exist.
const MAX_PROBES: TimelineId = 256;

/// Only the end matters.
struct Nothing;

impl Sink for Nothing {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        false
    }

    fn record(&mut self, _: &Record<'_>) -> bool {
        true
    }
}

impl Collector for Nothing {
    fn merge(&mut self, _: Self) {}
}

/// Reads every history file of some data directories and archives, and asks the restore command for those that these
/// lack, and for newer ones.
///
/// # Errors
/// A directory or its control file cannot be read, or the work was cancelled.
pub fn timelines(options: &TimelineOptions, progress: &Progress) -> Result<Timelines, DiagnoseError> {
    let mut found = Timelines::default();
    progress.begin(Phase::Opening, 0);
    let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose();
    let restore = restore.map_err(|e| input(&e))?.map(|c| c.with_cancel(progress.cancel_flag()));
    let mut loose: Vec<PathBuf> = options.archives.clone();
    let mut archived = Vec::new();
    let mut sets = Vec::new();
    for dir in &options.directories {
        if !dir.exists() {
            return Err(input(&format!(
                "{} does not exist. Give data directories, or archives and other directories that hold history files.",
                dir.display()
            )));
        }
        // an archive or a WAL directory has histories, too
        if dir.is_dir() && !dir.join("PG_VERSION").exists() {
            loose.push(dir.clone());
            continue;
        }
        let opened = DataDir::open(dir).map_err(|e| input(&e))?;
        let alone = Options {
            target: dir.clone(),
            source: dir.clone(),
            archives: Vec::new(),
            restore_command: None,
            threads: options.threads,
            scan_source: false,
            blocks_only: false,
        };
        let opened = open_side(Role::Target, opened, &alone, (restore.clone(), progress), &mut found.unseen)?;
        let end = end_of(&opened, options.threads, progress)?.or(Some(opened.control().checkpoint));
        let system = Some(opened.control().system_identifier);
        let at = found.clusters.iter().position(|c| c.system_identifier == system).unwrap_or_else(|| {
            found.clusters.push(Cluster { system_identifier: system, ..Cluster::default() });
            found.clusters.len() - 1
        });
        if let Some(cluster) = found.clusters.get_mut(at) {
            cluster.ends.push((dir.clone(), opened.side.lineage.timeline, end));
            cluster.histories.extend(opened.side.lineage.known);
        }
        sets.push(opened.set);
    }
    let identity = WalIdentity { system_identifier: 0, magic: None, major: None };
    for dir in &loose {
        let of = (SegmentSize::DEFAULT, identity);
        let set = WalSet::until(dir, &[], restore.clone(), of, progress.cancel_flag());
        archived
            .extend(histories(&set, &mut found.unseen).into_iter().map(|k| FoundHistory { own: false, ..k }));
        sets.push(set);
    }
    if let Some(set) = sets.first() {
        let known = found.clusters.iter().flat_map(|c| &c.histories).chain(&archived);
        let ends = found.clusters.iter().flat_map(|c| &c.ends).map(|(_, timeline, _)| *timeline);
        let known: BTreeSet<_> = known.map(|k| k.history.timeline).collect();
        let newest = known.iter().copied().chain(ends).max().unwrap_or(1);
        archived.extend(brought(set, &known, newest, &mut found.unseen));
    }
    let problems = sets.iter().flat_map(WalSet::problems);
    found.unseen.extend(problems.map(|(path, what)| Unseen {
        path: Some(path),
        what,
        consequence: "histories in it were not seen".into(),
    }));
    progress.check()?;
    match found.clusters.as_mut_slice() {
        [only] => only.histories.extend(archived),
        _ if archived.is_empty() => {}
        _ => found.clusters.push(Cluster { histories: archived, ..Cluster::default() }),
    }
    Ok(found)
}

/// Where the WAL of a data directory really ends.
fn end_of(opened: &Opened, threads: usize, progress: &Progress) -> Result<Option<Lsn>, Cancelled> {
    let Some(format) = opened.format else { return Ok(None) };
    let path = opened.path(format, &opened.set);
    let start = Start::Record(opened.control().checkpoint);
    let read = scan(&path, start, Lsn::MAX, threads, (progress, Phase::Opening), &|| Nothing)?;
    Ok(Some(read.next).filter(|lsn| lsn.is_valid()))
}

/// Histories that only the restore command has: the ancestors of known ones, and, as a server looks for the newest
/// timeline (`findNewestTimeLine`), one after the other from the newest known one on until there is none.
fn brought(
    set: &WalSet,
    known: &BTreeSet<TimelineId>,
    newest: TimelineId,
    unseen: &mut Vec<Unseen>,
) -> Vec<FoundHistory> {
    let mut found = Vec::new();
    let below: Vec<TimelineId> = (2..=newest.min(MAX_PROBES)).filter(|t| !known.contains(t)).collect();
    for timeline in below {
        found.extend(parsed(set.restored_history(timeline), unseen));
    }
    for timeline in (1..=MAX_PROBES).map_while(|n| newest.checked_add(n)) {
        let Some(file) = set.restored_history(timeline) else { break };
        found.extend(parsed([file], unseen));
    }
    found
}
