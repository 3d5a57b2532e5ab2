//! Archived segments that `-c` leaves in the target's WAL directory.

use std::path::Path;

use crate::facts::Checkpoint;
use crate::pg::{Lsn, Major};
use crate::plan::Plan;
use crate::plan::model::{Action, Entry, Origin, Why};
use crate::plan::path::{PlanPath, RelPath};
use crate::source::restore::RestoreCommand;

use super::history::{Parting, exists};
use super::log::{Ended, Log};
use super::wal::TargetWal;

/// Names of the segments that pg_rewind fetches, by what becomes of them. It lists the target's files in between: what it
/// fetches before is treated like any other file of the target, what it fetches later just stays.
#[derive(Debug, Default)]
pub struct Fetched {
    /// All of them.
    pub all: Vec<String>,
    /// They stay, and the source does not have them.
    pub staying: Vec<String>,
    /// Of these, they are listed and kept because they are needed for recovery.
    pub kept: Vec<String>,
    /// They are removed again, because the source does not have them.
    pub removed: Vec<String>,
    /// The source has them too, of the same size, and they are not copied (19).
    pub same: Vec<String>,
}

impl Fetched {
    /// Nothing is fetched yet.
    pub fn new(
        (wal, source): (&TargetWal, &Path),
        checkpoint: &Checkpoint,
        parting: &Parting,
        (last_checkpoint, end): (Lsn, Lsn),
        major: Major,
    ) -> Self {
        let back = wal.segno_behind(parting.lsn);
        let last = wal.segno_behind(last_checkpoint);
        let mut found = Self::default();
        for (segno, name) in wal.absent(checkpoint.lsn, end) {
            let listed = segno <= back || segno >= last;
            let kept = segno <= back && major >= Major::V15;
            found.all.push(name.clone());
            match (exists(&source.join("pg_wal").join(&name)), listed, kept) {
                (true, true, _) if major >= Major::V19 && segno < wal.segno_of(parting.lsn) => {
                    found.same.push(name);
                }
                (true, ..) => {}
                (false, true, false) => found.removed.push(name),
                (false, listed, _) => {
                    if listed {
                        found.kept.push(name.clone());
                    }
                    found.staying.push(name);
                }
            }
        }
        found
    }
}

/// Fetches segments into `scratch` and has the plan put them in place.
///
/// # Errors
/// One cannot be fetched; that was said.
pub fn add(
    plan: &mut Plan,
    names: &[String],
    command: &RestoreCommand,
    scratch: &Path,
    log: &mut Log<'_>,
) -> Result<(), Ended> {
    for name in names {
        let file = scratch.join(name);
        let fetched = command.run(name, &file).is_ok();
        let path = RelPath::new(format!("pg_wal/{name}").as_bytes());
        let (true, Ok(path)) = (fetched, path) else {
            return Err(log.fatal(&format!("could not restore file \"{name}\" from archive")));
        };
        let from = Origin::Archive(PlanPath::from(file.as_path()));
        let action = Action::Copy { size: u64::from(plan.segment_size), from };
        let entry = Entry { path, action, why: Why::MissingWal, target: None, source: None };
        let at = plan.entries.partition_point(|e| match &e.action {
            Action::CreateDirectory | Action::CreateSymlink { .. } => true,
            Action::Copy { .. } => e.path < entry.path,
            _ => false,
        });
        plan.entries.insert(at, entry);
    }
    Ok(())
}
