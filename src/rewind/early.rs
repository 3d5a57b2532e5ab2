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
/// Whose clone is being made, until it is whole.
const MAKING: &str = "making";
/// SHA-256 of all that the recovery left.
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

/// Which directory.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    device: u64,
    inode: u64,
}

/// Whether a target is kept as it is before a recovery.
#[derive(Debug)]
pub enum Kept {
    /// As a clone, which lies here.
    Clone(PathBuf),
    /// It is not, because of this.
    Not(String),
}

/// What an earlier run left.
#[derive(Debug)]
pub enum Left {
    /// Nothing.
    Nothing,
    /// A clone, and the target is what it was when that run had recovered it.
    Fits(PathBuf),
    /// A directory in the place of a clone that is not used, because of this.
    Unused(PathBuf, String),
}

/// One that was opened.
#[derive(Debug)]
pub struct Waiting {
    path: PathBuf,
    root: Root,
    /// What the manifest will say of it.
    pub note: Note,
}

/// Clones a target where that takes neither time nor room. What lies in the clone's place stays, unless it is this target's
/// and was never whole: it may be the only copy from before an earlier recovery.
///
/// # Errors
/// Something could not be read or made. Nothing is left of it then.
pub fn before_recovery(
    target: &Path,
    source: &Path,
    undo_dir: Option<&Path>,
    threads: usize,
    disk: &dyn Disk,
    progress: &Progress,
) -> Result<Kept, Trouble> {
    let side = Side::found(disk, target)?;
    checks::owner(disk, &side)?;
    let _lock = store::lock(disk, At::new(side.root, ""), target)?;
    let Some(parent) = undo_dir.or_else(|| target.parent()) else {
        return Ok(Kept::Not("nothing lies beside the root directory".into()));
    };
    if let Some((pid, known)) = checks::running(disk, &side)? {
        return Ok(Kept::Not(format!("a server runs on it: process {pid}, {known}")));
    }
    if let Some(why) = unfit(disk, &side, source, parent)? {
        return Ok(Kept::Not(why));
    }
    let name = waiting_name(target);
    let path = parent.join(&name);
    let above = disk.open_root(parent).doing("could not be opened", parent)?;
    if exists(disk, At::new(above, &name)).doing("could not be looked at", &path)? {
        if !unfinished(disk, &path, &side)? {
            return Ok(Kept::Not(format!(
                "{} lies there from before: look at it, then move it away or remove it",
                path.display()
            )));
        }
        store::remove_directory(disk, &path)?;
    }
    disk.mkdir(At::new(above, &name), DIRECTORY_MODE).doing("could not be made", &path)?;
    let place = parent.join(store::name(target));
    let made = make(&side, (&path, &place), (threads, progress), disk);
    match made {
        Ok(None) => {
            sync_dir(disk, At::new(above, "")).doing("could not be synced", parent)?;
            Ok(Kept::Clone(path))
        }
        Ok(Some(why)) => {
            store::remove_directory(disk, &path)?;
            Ok(Kept::Not(why))
        }
        Err(trouble) => {
            // half a clone takes room and is of no use
            let _ = store::remove_directory(disk, &path);
            Err(trouble)
        }
    }
}

/// Notes, once the target is recovered, what it is then, so that a later run knows what the clone is good for.
///
/// # Errors
/// It cannot be read or written.
pub fn recovered(clone: &Path, target: &Path, disk: &dyn Disk) -> Result<(), Trouble> {
    let side = Side::found(disk, target)?;
    let root = disk.open_root(clone).doing("could not be opened", clone)?;
    put(disk, root, clone, RECOVERED, fingerprint(disk, &side)?.as_bytes())?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", clone)
}

/// What an earlier run left waiting. It fits only if nothing has happened to the target since it was recovered: undo by
/// it takes away what came later.
///
/// # Errors
/// Something there cannot be read.
pub fn left(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<Left, Trouble> {
    let Some(parent) = undo_dir.or_else(|| target.parent()) else { return Ok(Left::Nothing) };
    let path = parent.join(waiting_name(target));
    let root = absent_is_none(disk.open_root(&path)).doing("could not be opened", &path)?;
    let Some(root) = root else { return Ok(Left::Nothing) };
    let unused = |why: &str| Ok(Left::Unused(path.clone(), why.to_owned()));
    let side = Side::found(disk, target)?;
    let waiting = match open(disk, &path, &side) {
        Ok(waiting) => waiting,
        Err(trouble) => return unused(trouble.to_string().trim_end_matches('.')),
    };
    let _lock = store::lock(disk, At::new(side.root, ""), target)?;
    rescue(disk, parent, &side, &waiting)?;
    for name in waiting.names() {
        if !exists(disk, At::new(root, &name)).doing("could not be looked at", &path.join(&name))? {
            return unused(&format!("{name} is missing in it"));
        }
    }
    let listing = read_small(disk, At::new(root, clone::LISTING), clone::LIMIT);
    let listing = listing.doing("could not be read", &path.join(clone::LISTING))?;
    if hash::of(&listing) != waiting.note.sha256 {
        return unused("its list is damaged");
    }
    let noted = absent_is_none(read_small(disk, At::new(root, RECOVERED), LIMIT));
    match noted.doing("could not be read", &path.join(RECOVERED))? {
        None => unused("it is not known what recovery made of the target"),
        Some(noted) if noted == fingerprint(disk, &side)?.as_bytes() => Ok(Left::Fits(path)),
        Some(_) => unused("the target has changed since it was recovered"),
    }
}

/// Before half a store goes away: what it took in of the clone that waits goes back.
///
/// # Errors
/// Something cannot be looked at or renamed.
pub fn rescued(disk: &dyn Disk, parent: &Path, target: &Side) -> Result<(), Trouble> {
    let path = parent.join(waiting_name(&target.path));
    match open(disk, &path, target) {
        Ok(waiting) => rescue(disk, parent, target, &waiting),
        // none waits, or it is not this target's
        Err(_) => Ok(()),
    }
}

fn rescue(disk: &dyn Disk, parent: &Path, target: &Side, waiting: &Waiting) -> Result<(), Trouble> {
    let path = parent.join(store::name(&target.path));
    let Some(half) = absent_is_none(disk.open_root(&path)).doing("could not be opened", &path)? else {
        return Ok(());
    };
    if exists(disk, At::new(half, "manifest.json")).doing("could not be looked at", &path)? {
        return Ok(());
    }
    waiting.move_back(disk, half)
}

/// Whether it is this target's, and its making was interrupted.
fn unfinished(disk: &dyn Disk, path: &Path, target: &Side) -> Result<bool, Trouble> {
    let Ok(root) = disk.open_root(path) else { return Ok(false) };
    let Ok(bytes) = read_small(disk, At::new(root, MAKING), LIMIT) else { return Ok(false) };
    if serde_json::from_slice::<Whose>(&bytes).ok() != Some(whose(disk, target)?) {
        return Ok(false);
    }
    let own = [clone::DIRECTORY, clone::LISTING, clone::PROBE, MAKING];
    let names = disk.list(At::new(root, "")).doing("could not be listed", path)?;
    Ok(names.iter().all(|name| own.iter().any(|own| name == own) || clone::is_part(name)))
}

fn whose(disk: &dyn Disk, target: &Side) -> Result<Whose, Trouble> {
    let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", &target.path)?;
    Ok(Whose { device: meta.device, inode: meta.inode })
}

/// SHA-256 of the control file and of what is known of all files without reading them.
fn fingerprint(disk: &dyn Disk, target: &Side) -> Result<String, Trouble> {
    let maker = Maker { disk, target, threads: 1, progress: &Progress::default() };
    let mut seen = maker.entries()?;
    for entry in &mut seen {
        entry.forget_reading();
    }
    seen.sort_by(|a, b| a.order().cmp(&b.order()));
    let control = hash::of(&control::required(disk, target)?);
    let text = serde_json::to_vec(&(control, seen))
        .map_err(|e| Trouble::Store { path: target.path.clone(), what: e.to_string() })?;
    Ok(hash::of(&text))
}

fn put(disk: &dyn Disk, root: Root, path: &Path, name: &str, content: &[u8]) -> Result<(), Trouble> {
    let full = path.join(name);
    let file = disk.create(At::new(root, name), FILE_MODE).doing("could not be made", &full)?;
    write_all_at(&*file, content, 0).doing("could not be written", &full)?;
    file.sync().doing("could not be synced", &full)
}

fn waiting_name(target: &Path) -> OsString {
    let mut name = store::name(target);
    name.push(SUFFIX);
    name
}

/// Why a directory is no place for the clone, if it is none: it has to lie outside of both sides, on the filesystem that
/// holds all of the target.
fn unfit(disk: &dyn Disk, side: &Side, source: &Path, parent: &Path) -> Result<Option<String>, Trouble> {
    let identity = |root: Root| disk.metadata(At::new(root, "")).map(|meta| (meta.device, meta.inode));
    let root = disk.open_root(parent).doing("could not be opened", parent)?;
    let mut own = Vec::new();
    for root_of in side.roots() {
        own.push(identity(root_of).doing("could not be looked at", &side.path)?);
        if !disk.same_mount(root, root_of).doing("could not be looked at", parent)? {
            return Ok(Some(format!("not all of the target lies on the filesystem of {}", parent.display())));
        }
    }
    let source = Side::found(disk, source)?;
    for root_of in source.roots() {
        own.push(identity(root_of).doing("could not be looked at", &source.path)?);
    }
    for above in parent.ancestors() {
        let here = disk.open_root(above).and_then(identity).doing("could not be looked at", above)?;
        if own.contains(&here) {
            return Ok(Some(format!("{} lies inside one of the two data directories", parent.display())));
        }
    }
    Ok(None)
}

/// Fills the directory, from which all goes into the store at `place` later; why not, where it cannot be had without
/// copying.
fn make(
    side: &Side,
    (path, place): (&Path, &Path),
    (threads, progress): (usize, &Progress),
    disk: &dyn Disk,
) -> Result<Option<String>, Trouble> {
    let root = disk.open_root(path).doing("could not be opened", path)?;
    let directory = |name: &str| {
        disk.mkdir(At::new(root, name), DIRECTORY_MODE).doing("could not be made", path)?;
        disk.sub_root(At::new(root, name)).doing("could not be opened", path)
    };
    let encoded = |value: serde_json::Result<Vec<u8>>| {
        value.map_err(|e| Trouble::Store { path: path.to_owned(), what: e.to_string() })
    };
    let whose = whose(disk, side)?;
    put(disk, root, path, MAKING, &encoded(serde_json::to_vec(&whose))?)?;
    let main = directory(clone::DIRECTORY)?;
    let (mut places, mut parts) = (Vec::new(), Vec::new());
    for (n, (link, _)) in side.links.iter().enumerate() {
        let name = clone::part(n);
        places.push((link.clone(), directory(&name)?, place.join(&name)));
        parts.push(PlanPath::from(link.as_path()));
    }
    let places = Places::new(main, places);
    let maker = Maker { disk, target: side, threads, progress };
    if !maker.can_share(&places)? {
        return Ok(Some("the filesystem of the target cannot clone it beside itself".into()));
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
    if let Some(foreign) = maker.foreign(&entries, &early.control) {
        let full = side.path.join(foreign);
        return Ok(Some(format!("{} belongs to another user or group", full.display())));
    }
    let listing = maker.make(How::Reflink, &places, &entries, (&control, &early.control))?;
    let note = Note { how: How::Reflink, sha256: hash::of(&listing), parts, early: Some(early) };
    let about = About { device: whose.device, inode: whose.inode, note };
    put(disk, root, path, clone::LISTING, &listing)?;
    put(disk, root, path, ABOUT, &encoded(serde_json::to_vec(&about))?)?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", path)?;
    disk.unlink(At::new(root, MAKING)).doing("could not be removed", &path.join(MAKING))?;
    Ok(None)
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
