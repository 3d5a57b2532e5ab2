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

/// Names of the segments that pg_rewind fetches and does not remove again: it lists the target's files in between, so what
/// it fetches before is removed like everything that the source does not have, unless it is needed for recovery.
pub fn staying(
    (wal, source): (&TargetWal, &Path),
    checkpoint: &Checkpoint,
    parting: &Parting,
    (last_checkpoint, end): (Lsn, Lsn),
    major: Major,
) -> Vec<String> {
    let back = wal.segno_behind(parting.lsn);
    let last = wal.segno_behind(last_checkpoint);
    wal.absent(checkpoint.lsn, end)
        .into_iter()
        .filter(|(segno, name)| {
            let listed = *segno <= back || *segno >= last;
            let kept = *segno <= back && major >= Major::V15;
            (!listed || kept) && !exists(&source.join("pg_wal").join(name))
        })
        .map(|(_, name)| name)
        .collect()
}

/// Fetches them into `scratch` and has the plan put them in place.
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
