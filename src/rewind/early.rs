//! A clone of a target that crashed, made before a server recovers it. Recovery changes files before there is a plan, so
//! there is no store yet: the clone waits beside it and the next store takes it in, so that undo leads back to before the
//! recovery.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::checks;
use super::clone::{self, How, Maker, Note, Places};
use super::control;
use super::disk::{At, Disk, Root, absent_is_none, exists, read_small, sync_dir, write_all_at};
use super::error::{Doing, Trouble};
use super::hash;
use super::journal::Attributes;
use super::manifest::LIMIT;
use super::places::Side;
use super::store::{self, DIRECTORY_MODE, FILE_MODE};
use crate::plan::path::PlanPath;
use crate::scan::progress::Progress;

/// Behind the store's name.
const SUFFIX: &str = ".recovery";
/// What it is, in it.
const ABOUT: &str = "early.json";
/// SHA-256 of the control file that the recovery left.
const RECOVERED: &str = "recovered";

/// What the control file was, and attributes that the list does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Early {
    /// Of the control file, which lies in the clone.
    pub control_sha256: String,
    /// The control file's.
    pub control: Attributes,
    /// Of its directory.
    pub global: Attributes,
    /// Of the data directory.
    pub data_directory: Attributes,
}

/// One that waits for a store.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    device: u64,
    inode: u64,
    note: Note,
}

/// One that was opened.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    root: Root,
    /// What the manifest will say of it.
    pub note: Note,
}

/// Clones a target where that takes neither time nor room, and says where the clone lies; `None` where it cannot be had, or
/// where a server runs.
///
/// # Errors
/// Something could not be read or made. Nothing is left of it then.
pub fn before_recovery(
    target: &Path,
    undo_dir: Option<&Path>,
    threads: usize,
    disk: &dyn Disk,
    progress: &Progress,
) -> Result<Option<PathBuf>, Trouble> {
    let side = Side::found(disk, target)?;
    checks::owner(disk, &side)?;
    let _lock = store::lock(disk, At::new(side.root, ""), target)?;
    let Some(parent) = undo_dir.or_else(|| target.parent()) else { return Ok(None) };
    if checks::running(disk, &side)?.is_some() || !beside(disk, &side, parent)? {
        return Ok(None);
    }
    let name = waiting_name(target);
    let path = parent.join(&name);
    store::remove_directory(disk, &path)?;
    let above = disk.open_root(parent).doing("could not be opened", parent)?;
    disk.mkdir(At::new(above, &name), DIRECTORY_MODE).doing("could not be made", &path)?;
    let made = make(&side, &path, (threads, progress), disk);
    match made {
        Ok(true) => {
            sync_dir(disk, At::new(above, "")).doing("could not be synced", parent)?;
            Ok(Some(path))
        }
        Ok(false) => {
            store::remove_directory(disk, &path)?;
            Ok(None)
        }
        Err(trouble) => {
            // half a clone takes room and is of no use
            let _ = store::remove_directory(disk, &path);
            Err(trouble)
        }
    }
}

/// Notes, once the target is recovered, which control file it has, so that a later run knows what the clone is good for.
///
/// # Errors
/// It cannot be read or written.
pub fn recovered(clone: &Path, target: &Path, disk: &dyn Disk) -> Result<(), Trouble> {
    let side = Side::found(disk, target)?;
    let root = disk.open_root(clone).doing("could not be opened", clone)?;
    let full = clone.join(RECOVERED);
    let file = disk.create(At::new(root, RECOVERED), FILE_MODE).doing("could not be made", &full)?;
    let sha256 = hash::of(&control::required(disk, &side)?);
    write_all_at(&*file, sha256.as_bytes(), 0).doing("could not be written", &full)?;
    file.sync().doing("could not be synced", &full)?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", clone)
}

/// The clone that an earlier run left waiting, if nothing has happened to the target since it was recovered.
///
/// # Errors
/// Something there cannot be read.
pub fn left(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<Option<PathBuf>, Trouble> {
    let Some(parent) = undo_dir.or_else(|| target.parent()) else { return Ok(None) };
    let path = parent.join(waiting_name(target));
    let root = absent_is_none(disk.open_root(&path)).doing("could not be opened", &path)?;
    let Some(root) = root else { return Ok(None) };
    let side = Side::found(disk, target)?;
    let noted = absent_is_none(read_small(disk, At::new(root, RECOVERED), LIMIT));
    let noted = noted.doing("could not be read", &path.join(RECOVERED))?;
    let now = hash::of(&control::required(disk, &side)?);
    Ok(noted.is_some_and(|noted| noted == now.as_bytes()).then_some(path))
}

fn waiting_name(target: &Path) -> OsString {
    let mut name = store::name(target);
    name.push(SUFFIX);
    name
}

/// Whether a directory lies outside the target, on the filesystem that holds all of it.
fn beside(disk: &dyn Disk, side: &Side, parent: &Path) -> Result<bool, Trouble> {
    let identity = |root: Root| disk.metadata(At::new(root, "")).map(|meta| (meta.device, meta.inode));
    let root = disk.open_root(parent).doing("could not be opened", parent)?;
    let mut own = Vec::new();
    for root_of in side.roots() {
        own.push(identity(root_of).doing("could not be looked at", &side.path)?);
        if !disk.same_mount(root, root_of).doing("could not be looked at", parent)? {
            return Ok(false);
        }
    }
    for above in parent.ancestors() {
        let here = disk.open_root(above).and_then(identity).doing("could not be looked at", above)?;
        if own.contains(&here) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Fills the directory; false where it cannot be had without copying.
fn make(
    side: &Side,
    path: &Path,
    (threads, progress): (usize, &Progress),
    disk: &dyn Disk,
) -> Result<bool, Trouble> {
    let root = disk.open_root(path).doing("could not be opened", path)?;
    let directory = |name: &str| {
        disk.mkdir(At::new(root, name), DIRECTORY_MODE).doing("could not be made", path)?;
        disk.sub_root(At::new(root, name)).doing("could not be opened", path)
    };
    let main = directory(clone::DIRECTORY)?;
    let (mut places, mut parts) = (Vec::new(), Vec::new());
    for (n, (link, _)) in side.links.iter().enumerate() {
        let name = clone::part(n);
        places.push((link.clone(), directory(&name)?, path.join(&name)));
        parts.push(PlanPath::from(link.as_path()));
    }
    let places = Places::new(main, places);
    let maker = Maker { disk, target: side, threads, progress };
    if !maker.can_share(&places)? {
        return Ok(false);
    }
    let control = control::required(disk, side)?;
    let looked =
        |name: &str| control::attributes(disk, side.root, name).doing("could not be looked at", &side.path);
    let early = Early {
        control_sha256: hash::of(&control),
        control: looked(control::CONTROL)?,
        global: looked("global")?,
        data_directory: looked("")?,
    };
    let entries = maker.entries()?;
    if maker.foreign(&entries, &early.control).is_some() {
        return Ok(false);
    }
    let listing = maker.make(How::Reflink, &places, &entries, (&control, &early.control))?;
    let note = Note { how: How::Reflink, sha256: hash::of(&listing), parts, early: Some(early) };
    let meta = disk.metadata(At::new(side.root, "")).doing("could not be looked at", &side.path)?;
    let about = About { device: meta.device, inode: meta.inode, note };
    let about = serde_json::to_vec(&about)
        .map_err(|e| Trouble::Store { path: path.to_owned(), what: e.to_string() })?;
    for (name, content) in [(clone::LISTING, &listing), (ABOUT, &about)] {
        let full = path.join(name);
        let file = disk.create(At::new(root, name), FILE_MODE).doing("could not be made", &full)?;
        write_all_at(&*file, content, 0).doing("could not be written", &full)?;
        file.sync().doing("could not be synced", &full)?;
    }
    sync_dir(disk, At::new(root, "")).doing("could not be synced", path)?;
    Ok(true)
}

/// Opens one that was made of a directory.
///
/// # Errors
/// It is of another directory, or cannot be read.
pub fn open(disk: &dyn Disk, path: &Path, target: &Side) -> Result<Waiting, Trouble> {
    let root = disk.open_root(path).doing("could not be opened", path)?;
    let bytes =
        read_small(disk, At::new(root, ABOUT), LIMIT).doing("could not be read", &path.join(ABOUT))?;
    let damaged = |what: String| Trouble::Store { path: path.to_owned(), what };
    let about: About = serde_json::from_slice(&bytes).map_err(|e| damaged(format!("{ABOUT}: {e}")))?;
    let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", &target.path)?;
    if (about.device, about.inode) != (meta.device, meta.inode) {
        return Err(damaged("it is a clone of another directory".into()));
    }
    Ok(Waiting { path: path.to_owned(), root, note: about.note })
}

impl Waiting {
    fn names(&self) -> impl Iterator<Item = String> {
        let parts = (0..self.note.parts.len()).map(clone::part);
        [clone::DIRECTORY.to_owned(), clone::LISTING.to_owned()].into_iter().chain(parts)
    }

    /// Moves it into a store.
    ///
    /// # Errors
    /// As `rename`.
    pub fn move_into(&self, disk: &dyn Disk, store: Root) -> Result<(), Trouble> {
        for name in self.names() {
            disk.rename(At::new(self.root, &name), At::new(store, &name))
                .doing("could not be moved into the undo store", &self.path.join(&name))?;
        }
        Ok(())
    }

    /// Moves back what of it a store has that is to be removed, and what it lacks itself.
    ///
    /// # Errors
    /// As `rename`.
    pub fn move_back(&self, disk: &dyn Disk, store: Root) -> Result<(), Trouble> {
        for name in self.names() {
            let (here, there) = (At::new(self.root, &name), At::new(store, &name));
            let full = self.path.join(&name);
            if !exists(disk, here).doing("could not be looked at", &full)? {
                absent_is_none(disk.rename(there, here)).doing("could not be moved back", &full)?;
            }
        }
        sync_dir(disk, At::new(self.root, "")).doing("could not be synced", &self.path)
    }

    /// What is left of the place where it waited goes away.
    ///
    /// # Errors
    /// As `unlink` and `rmdir`.
    pub fn clear(self, disk: &dyn Disk) -> Result<(), Trouble> {
        store::remove_directory(disk, &self.path)
    }
}

/// Removes one that no store will take in.
///
/// # Errors
/// As `unlink` and `rmdir`.
pub fn discard(disk: &dyn Disk, path: &Path) -> Result<(), Trouble> {
    store::remove_directory(disk, path)
}
