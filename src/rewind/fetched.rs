//! WAL that only a restore command has: brought into the store before anything is changed, so that going on after an
//! interruption does not need the archive.

use std::path::{Path, PathBuf};

use super::disk::{Access, At, Disk, exists, sync_dir};
use super::error::{Doing, Trouble, refuse};
use super::ops::{Op, What};
use super::store::{self, DIRECTORY_MODE, Store};
use crate::plan::Plan;
use crate::plan::model::{Action, Origin};
use crate::scan::progress::Progress;
use crate::source::restore::RestoreCommand;

/// Their directory in the store.
const FETCHED: &str = "fetched";

/// Where the file for a path of the plan lies.
pub fn place(store: &Store, path: &Path) -> PathBuf {
    store.path.join(FETCHED).join(path.file_name().unwrap_or_default())
}

/// Brings all of them, and syncs.
pub fn bring(
    disk: &dyn Disk,
    plan: &Plan,
    ops: &[Op<'_>],
    store: &Store,
    progress: &Progress,
) -> Result<(), Trouble> {
    let wanted = ops
        .iter()
        .filter(|op| matches!(op.what, What::Planned(Action::Copy { from: Origin::RestoreCommand, .. })));
    let mut wanted = wanted.peekable();
    if wanted.peek().is_none() {
        return Ok(());
    }
    let failed = |name: &str, why: String| {
        refuse(format!(
            "{name}, which replay needs, was not brought: {why}. Mend the restore command or the archive, and make a new \
             plan."
        ))
    };
    let text = plan.options.restore_command.clone().unwrap_or_default();
    let command = match RestoreCommand::new(text) {
        Ok(command) => command.with_cancel(progress.cancel_flag()),
        Err(error) => return failed("WAL", error.to_string()),
    };
    let at = At::new(store.root, FETCHED);
    disk.mkdir(at, DIRECTORY_MODE).doing("could not be made", &store.path.join(FETCHED))?;
    for op in wanted {
        progress.check()?;
        let name = op.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Err(error) = command.run(name, &place(store, op.path)) {
            progress.check()?;
            return failed(name, error.to_string());
        }
        let path = Path::new(FETCHED).join(name);
        let file = disk.open(At::new(store.root, &path), Access::Read).doing("could not be opened", &path)?;
        file.sync().doing("could not be synced", &path)?;
    }
    sync_dir(disk, at).doing("could not be synced", &store.path)?;
    sync_dir(disk, At::new(store.root, "")).doing("could not be synced", &store.path)
}

/// Removes them once they are in their places.
pub fn remove(disk: &dyn Disk, store: &Store) -> Result<(), Trouble> {
    if exists(disk, At::new(store.root, FETCHED)).doing("could not be looked at", &store.path)? {
        store::remove_directory(disk, &store.path.join(FETCHED))?;
    }
    Ok(())
}
