//! Every history file of some directories, for the tree of timelines.

use std::path::PathBuf;

use crate::facts::gather::{DiagnoseError, Options, input};
use crate::facts::open::{histories, open_side};
use crate::facts::{FoundHistory, Role, Unseen};
use crate::pg::{Lsn, SegmentSize, TimelineId};
use crate::scan::progress::Progress;
use crate::scan::walk::{Start, for_each};
use crate::source::datadir::DataDir;
use crate::source::walset::{WalIdentity, WalSet};

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

/// Reads every history file of some data directories and archives.
///
/// # Errors
/// A directory or its control file cannot be read.
pub fn timelines(dirs: &[PathBuf], archives: &[PathBuf]) -> Result<Timelines, DiagnoseError> {
    let mut found = Timelines::default();
    let progress = Progress::default();
    let mut loose: Vec<PathBuf> = archives.to_vec();
    let mut archived = Vec::new();
    for dir in dirs {
        if !dir.exists() {
            return Err(input(format!(
                "{} does not exist. Give data directories, or archives and other directories that hold history files.",
                dir.display()
            )));
        }
        // an archive or a WAL directory has histories, too
        if dir.is_dir() && !dir.join("PG_VERSION").exists() {
            loose.push(dir.clone());
            continue;
        }
        let opened = DataDir::open(dir).map_err(|e| input(e))?;
        let options = Options {
            target: dir.clone(),
            source: dir.clone(),
            archives: Vec::new(),
            restore_command: None,
            threads: 1,
            scan_source: false,
            blocks_only: false,
        };
        let opened = open_side(Role::Target, opened, &options, None, &mut found.unseen)?;
        let end = opened.format.and_then(|format| {
            let path = opened.path(format, &opened.set);
            let stop =
                for_each(&path, Start::Record(opened.control().checkpoint), Lsn::MAX, &progress, |_| true);
            stop.ok().map(|s| s.next).filter(|lsn| lsn.is_valid())
        });
        let end = end.or(Some(opened.control().checkpoint));
        let system = Some(opened.control().system_identifier);
        let at = found.clusters.iter().position(|c| c.system_identifier == system).unwrap_or_else(|| {
            found.clusters.push(Cluster { system_identifier: system, ..Cluster::default() });
            found.clusters.len() - 1
        });
        if let Some(cluster) = found.clusters.get_mut(at) {
            cluster.ends.push((dir.clone(), opened.side.lineage.timeline, end));
            cluster.histories.extend(opened.side.lineage.known.into_iter().filter(|k| k.own));
        }
    }
    let identity = WalIdentity { system_identifier: 0, magic: None, major: None };
    for dir in &loose {
        let set = WalSet::new(dir, &[], None, SegmentSize::DEFAULT, identity);
        archived
            .extend(histories(&set, &mut found.unseen).into_iter().map(|k| FoundHistory { own: false, ..k }));
        found.unseen.extend(set.problems().into_iter().map(|(path, what)| Unseen {
            path: Some(path),
            what,
            consequence: "histories in it were not seen".into(),
        }));
    }
    match found.clusters.as_mut_slice() {
        [only] => only.histories.extend(archived),
        _ if archived.is_empty() => {}
        _ => found.clusters.push(Cluster { histories: archived, ..Cluster::default() }),
    }
    Ok(found)
}
