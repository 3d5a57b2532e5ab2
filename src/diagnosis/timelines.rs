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
