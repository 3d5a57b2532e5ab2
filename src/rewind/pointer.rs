//! From a data directory to its store.

use std::path::{Path, PathBuf};

use super::disk::{At, Disk, Root, absent_is_none, exists, read_small, sync_dir, write_all_at};
use super::error::{Doing, Trouble, refuse};
use super::journal::Journal;
use super::manifest::{LIMIT, Manifest, POINTER, Pointer};
use super::store::{self, FILE_MODE};

/// The pointer while it is written.
const NEW: &str = "forkpoint.state.new";

/// A data directory, and the store that belongs to it.
#[derive(Debug)]
pub struct Found {
    /// The data directory.
    pub root: Root,
    /// The store, what it is of, and how far it got.
    pub store: Option<(PathBuf, Manifest, Journal)>,
    /// A pointer that belongs to another directory: this one is a copy of it, or its store is gone.
    pub strange: Option<String>,
}

/// Writes the pointer; it is safe when this returns.
pub fn write(disk: &dyn Disk, root: Root, path: &Path, pointer: &Pointer) -> Result<(), Trouble> {
    let full = path.join(POINTER);
    let text = serde_json::to_vec_pretty(pointer)
        .map_err(|e| Trouble::Store { path: path.to_owned(), what: e.to_string() })?;
    absent_is_none(disk.unlink(At::new(root, NEW))).doing("could not be removed", &full)?;
    let file = disk.create(At::new(root, NEW), FILE_MODE).doing("could not be made", &full)?;
    write_all_at(&*file, &text, 0).doing("could not be written", &full)?;
    file.sync().doing("could not be synced", &full)?;
    disk.rename(At::new(root, NEW), At::new(root, POINTER)).doing("could not be renamed", &full)?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", path)
}

/// Removes it.
pub fn remove(disk: &dyn Disk, root: Root, path: &Path) -> Result<(), Trouble> {
    for name in [POINTER, NEW] {
        absent_is_none(disk.unlink(At::new(root, name))).doing("could not be removed", &path.join(name))?;
    }
    sync_dir(disk, At::new(root, "")).doing("could not be synced", path)
}

/// Looks for the store of a data directory: where its pointer says, in `undo_dir`, beside it.
pub fn find(disk: &dyn Disk, target: &Path, undo_dir: Option<&Path>) -> Result<Found, Trouble> {
    let root = disk.open_root(target).doing("could not be opened", target)?;
    let meta = disk.metadata(At::new(root, "")).doing("could not be looked at", target)?;
    let mut found = Found { root, store: None, strange: None };
    let full = target.join(POINTER);
    let bytes = absent_is_none(read_small(disk, At::new(root, POINTER), LIMIT));
    let pointer = match bytes.doing("could not be read", &full)? {
        None => None,
        Some(bytes) => match Pointer::parse(&bytes) {
            Ok(pointer) => Some(pointer),
            Err(error) => {
                found.strange = Some(format!("{}: {error}", full.display()));
                None
            }
        },
    };
    let mut places = Vec::new();
    if let Some(pointer) = &pointer {
        if (pointer.identity.device, pointer.identity.inode) == (meta.device, meta.inode) {
            places.push(pointer.store.as_path().to_owned());
        } else {
            found.strange = Some(format!(
                "{} was written into another directory, of which this one is a copy: its store {} is not this one's",
                full.display(),
                pointer.store
            ));
        }
    }
    let name = store::name(target);
    places.extend(undo_dir.map(|dir| dir.join(&name)));
    places.extend(target.parent().map(|dir| dir.join(&name)));
    for place in places {
        let Some(there) = absent_is_none(disk.open_root(&place)).doing("could not be opened", &place)? else {
            continue;
        };
        if !exists(disk, At::new(there, "manifest.json")).doing("could not be looked at", &place)? {
            continue;
        }
        let (manifest, journal) = store::read(disk, there, &place)?;
        let identity = manifest.identity;
        if (identity.device, identity.inode) == (meta.device, meta.inode) {
            found.store = Some((place, manifest, journal));
            return Ok(found);
        }
    }
    if let (Some(pointer), None) = (pointer, &found.strange) {
        found.strange =
            Some(format!("{} names the store {}, which is not there", full.display(), pointer.store));
    }
    Ok(found)
}

/// The store that has to be there.
pub fn required(found: &Found, target: &Path) -> Result<PathBuf, Trouble> {
    match (&found.store, &found.strange) {
        (Some((path, ..)), _) => Ok(path.clone()),
        (None, Some(strange)) => {
            refuse(format!("{strange}. Give the directory that the store was made in with --undo-dir."))
        }
        (None, None) => refuse(format!(
            "no rewind of {} was begun by forkpoint apply, or its store is elsewhere. Give the directory that the store \
             was made in with --undo-dir.",
            target.display()
        )),
    }
}
