//! From a data directory to its store.

use std::path::{Path, PathBuf};

use super::control;
use super::disk::{At, Disk, Root, absent_is_none, exists, read_small, sync_dir, write_all_at};
use super::error::{Doing, Trouble, refuse};
use super::journal::Journal;
use super::manifest::{LIMIT, Manifest, POINTER, Pointer};
use super::store::{self, FILE_MODE};

/// The pointer while it is written.
const NEW: &str = "forkpoint.state.new";

/// Behind the name of a finished rewind's store while the next one is in the works.
const PREVIOUS: &str = ".previous";

/// The name that a store has then.
pub fn previous(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(PREVIOUS);
    name.into()
}

/// A data directory, and the store that belongs to it.
#[derive(Debug)]
pub struct Found {
    /// The data directory.
    pub root: Root,
    /// The store, what it is of, and how far it got.
    pub store: Option<(PathBuf, Manifest, Journal)>,
    /// A pointer that belongs to another directory, of which this one is a copy, or one that cannot be read.
    pub strange: Option<String>,
    /// The store that the pointer names, which is not there.
    pub missing: Option<PathBuf>,
    /// The control file is set aside: the directory is neither old nor new.
    aside: bool,
    /// No control file is in its place.
    control_gone: bool,
    /// Where else was looked, as the user asked.
    given: Option<PathBuf>,
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

/// Looks for the store of a data directory: where its pointer says, in `undo_dir` (which may be the store itself), beside
/// it.
pub fn find(disk: &dyn Disk, target: &Path, undo_dir: Option<&Path>) -> Result<Found, Trouble> {
    let root = disk.open_root(target).doing("could not be opened", target)?;
    let meta = disk.metadata(At::new(root, "")).doing("could not be looked at", target)?;
    let there = |name: &str| exists(disk, At::new(root, name)).doing("could not be looked at", target);
    let mut found = Found {
        root,
        store: None,
        strange: None,
        missing: None,
        aside: there(control::ASIDE)?,
        control_gone: !there(control::CONTROL)?,
        given: undo_dir.map(Path::to_owned),
    };
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
    places.extend(undo_dir.into_iter().flat_map(|dir| [dir.join(&name), dir.to_owned()]));
    places.extend(target.parent().map(|dir| dir.join(&name)));
    // a run that was interrupted before it wrote its own pointer: only the very store that the pointer names counts
    let aside = pointer.as_ref().filter(|_| found.strange.is_none());
    let aside = aside.map(|pointer| (previous(pointer.store.as_path()), Some(pointer.operation.as_str())));
    for (place, operation) in places.into_iter().map(|place| (place, None)).chain(aside) {
        let Some(there) = absent_is_none(disk.open_root(&place)).doing("could not be opened", &place)? else {
            continue;
        };
        if !exists(disk, At::new(there, "manifest.json")).doing("could not be looked at", &place)? {
            continue;
        }
        let (manifest, journal) = store::read(disk, there, &place)?;
        let identity = manifest.identity;
        let named = operation.is_none_or(|operation| operation == manifest.operation);
        if named && (identity.device, identity.inode) == (meta.device, meta.inode) {
            found.store = Some((place, manifest, journal));
            return Ok(found);
        }
    }
    if let (Some(pointer), None) = (pointer, &found.strange) {
        found.missing = Some(pointer.store.as_path().to_owned());
    }
    Ok(found)
}

impl Found {
    /// A rewind is half-way, and nothing can be done without its store.
    pub fn lost(&self) -> bool {
        let named = self.missing.is_some() && self.control_gone;
        self.store.is_none() && self.strange.is_none() && (self.aside || named)
    }

    /// What is known without a store, as a sentence without its end.
    pub fn told(&self, target: &Path) -> Option<String> {
        if self.store.is_some() {
            return None;
        }
        let full = target.join(POINTER);
        if let Some(strange) = &self.strange {
            return Some(strange.clone());
        }
        match &self.missing {
            Some(store) if self.lost() => Some(format!(
                "a rewind of {} is half-way: its undo store was made at {} ({} says so) and is not there",
                target.display(),
                store.display(),
                full.display()
            )),
            Some(store) => Some(format!(
                "{} names the undo store {}, which is not there; the control file is in its place, so that rewind was \
                 finished or has changed nothing yet",
                full.display(),
                store.display()
            )),
            None if self.aside => Some(format!(
                "a rewind of {} is half-way: its control file is set aside as {}, and its undo store was not found",
                target.display(),
                target.join(control::ASIDE).display()
            )),
            None => None,
        }
    }

    /// What to do where the store is not there.
    pub fn without_store(&self, target: &Path) -> String {
        let given = self.given.as_ref().map(|given| format!("It is not in {} either. ", given.display()));
        let gone = self.lost().then(|| {
            format!(
                " If it is gone for good, {} is a mixture of two histories: copy the source anew. Never run pg_resetwal, \
                 and never rename a control file back.",
                target.display()
            )
        });
        format!(
            "{}Mount the filesystem that holds it, or name the directory that it lies in with --undo-dir.{}",
            given.unwrap_or_default(),
            gone.unwrap_or_default()
        )
    }
}

/// The store that has to be there.
pub fn required(found: &Found, target: &Path) -> Result<PathBuf, Trouble> {
    if let Some((path, ..)) = &found.store {
        return Ok(path.clone());
    }
    match found.told(target) {
        Some(told) => refuse(format!("{told}. {}", found.without_store(target))),
        None => refuse(format!(
            "no rewind of {} was begun by forkpoint apply, or its store is elsewhere. {}",
            target.display(),
            match &found.given {
                Some(given) => format!("There is none of it in {}.", given.display()),
                None => "Give the directory that the store was made in with --undo-dir.".to_owned(),
            }
        )),
    }
}
