//! The undo store: a directory beside the data directory, which holds all that is needed to go on and to go back.
//!
//! `manifest.json` (written last: without it nothing was changed), `plan.json`, `report.json`, `journal`, `pack` (parts
//! of files that are changed in place), `pg_control`, `moved/` (files under their paths), `reserve` (room for the way
//! back on a full disk), `lock`. Parts of it that have to lie on other filesystems are annexes.

use std::any::Any;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::clone::{self, How, Keep, Maker, Places};
use super::disk::{
    Access, At, Disk, DiskFile, Kind, Root, absent_is_none, exists, read_small, sync_dir, write_all_at,
};
use super::early::{Early, Waiting};
use super::error::{Doing, Trouble, refuse};
use super::journal::{self, Begin, Journal, Record};
use super::manifest::{self, Annex, Manifest};
use super::places::Side;
use super::told::{self, Report};
use crate::plan::Plan;
use crate::plan::path::PlanPath;
use crate::scan::progress::Progress;

/// Behind the data directory's name.
const SUFFIX: &str = ".forkpoint";
/// Largest journal that is read.
const JOURNAL_LIMIT: u64 = 8 << 30;
/// Largest plan that is read.
pub const PLAN_LIMIT: u64 = 4 << 30;
/// Bytes that are given up when the way back begins, so that its journal has room on a full disk.
const RESERVE: usize = 1 << 20;
/// Only the owner sees what is kept.
pub const DIRECTORY_MODE: u32 = 0o700;
/// Of files in the store.
pub const FILE_MODE: u32 = 0o600;

/// An open store, locked.
pub struct Store {
    /// Where it is.
    pub path: PathBuf,
    /// Its directory.
    pub root: Root,
    /// What it is of.
    pub manifest: Manifest,
    /// What was done so far.
    pub journal: Journal,
    /// `moved` of the store itself and of each annex, and the link that the annex is for.
    moved: Vec<(Option<PathBuf>, Root)>,
    /// Directories of the target, and the `moved` that their files can be renamed into.
    fitting: Vec<(Root, Root)>,
    log: Box<dyn DiskFile>,
    log_length: u64,
    pack: Box<dyn DiskFile>,
    pack_length: u64,
    _lock: Box<dyn Any + Send + Sync>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What a new store holds from the start.
pub struct Contents<'a> {
    /// What it is of; its annexes are put in.
    pub manifest: Manifest,
    /// The plan as JSON.
    pub plan: &'a [u8],
    /// The report as JSON.
    pub report: Option<&'a Report>,
    /// The target's control file.
    pub control: &'a [u8],
    /// The journal's first record.
    pub begin: Begin,
    /// Whether a clone of the target is made.
    pub keep: Keep,
    /// The clone that was made before a recovery, in place of another.
    pub early: Option<&'a Waiting>,
    /// Threads that make it.
    pub threads: usize,
    /// Told of it.
    pub progress: &'a Progress,
}

/// The store's name for a data directory.
pub fn name(target: &Path) -> OsString {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    name
}

fn put(
    disk: &dyn Disk,
    root: Root,
    dir: &Path,
    name: &str,
    content: &[u8],
) -> Result<Box<dyn DiskFile>, Trouble> {
    let full = dir.join(name);
    let file = disk.create(At::new(root, name), FILE_MODE).doing("could not be made", &full)?;
    write_all_at(&*file, content, 0).doing("could not be written", &full)?;
    Ok(file)
}

/// Locks a directory's lock file or the directory itself.
pub fn lock(disk: &dyn Disk, at: At<'_>, path: &Path) -> Result<Box<dyn Any + Send + Sync>, Trouble> {
    match disk.lock(at).doing("could not be locked", path)? {
        Some(lock) => Ok(lock),
        None => {
            refuse(format!("{}: another forkpoint works on it. Wait until it has ended.", path.display()))
        }
    }
}

impl Store {
    /// Makes a store in `parent`, where nothing of that name may be, and syncs it.
    pub fn create(
        disk: &dyn Disk,
        parent: (Root, &Path),
        name: &Path,
        target: &Side,
        contents: &Contents<'_>,
    ) -> Result<Self, Trouble> {
        let path = parent.1.join(name);
        disk.mkdir(At::new(parent.0, name), DIRECTORY_MODE).doing("could not be made", &path)?;
        let root = disk.sub_root(At::new(parent.0, name)).doing("could not be opened", &path)?;
        let mut annexes = Vec::new();
        Self::fill(disk, parent, (root, &path), target, contents, &mut annexes).inspect_err(|_| {
            // half a store takes room and is of no use
            let _ = clear(disk, (root, &path), &annexes, contents.early);
        })
    }

    fn fill(
        disk: &dyn Disk,
        parent: (Root, &Path),
        (root, path): (Root, &Path),
        target: &Side,
        contents: &Contents<'_>,
        annexes: &mut Vec<Annex>,
    ) -> Result<Self, Trouble> {
        let path = path.to_owned();
        let mut files = vec![put(disk, root, &path, "lock", b"")?];
        let held = lock(disk, At::new(root, "lock"), &path)?;
        files.push(put(disk, root, &path, "plan.json", contents.plan)?);
        if let Some(report) = contents.report {
            files.push(told::put(disk, root, &path, report)?);
        }
        files.push(put(disk, root, &path, "pg_control", contents.control)?);
        if contents.manifest.undo {
            // not zeros: a filesystem that compresses would keep nothing
            let filler: Vec<u8> =
                (0..RESERVE as u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            files.push(put(disk, root, &path, "reserve", &filler)?);
        }
        let pack = put(disk, root, &path, "pack", b"")?;
        let begin = Record::Begin(Box::new(contents.begin.clone()));
        let bytes = encode(&path, &begin)?;
        let log = put(disk, root, &path, "journal", &bytes)?;
        disk.mkdir(At::new(root, "moved"), DIRECTORY_MODE).doing("could not be made", &path)?;
        let mut moved = vec![(None, sub(disk, root, &path, "moved")?)];
        let mut manifest = contents.manifest.clone();
        if manifest.undo {
            for (link, behind) in &target.links {
                if !disk.same_mount(root, *behind).doing("could not be looked at", link)?
                    && let Some((annex, at)) = make_annex(disk, target, link, *behind)?
                {
                    moved.push((Some(link.clone()), at));
                    annexes.push(annex);
                }
            }
            manifest.annexes.clone_from(annexes);
            let at = (root, path.as_path());
            let early = contents.early.map(|early| Ok(Some(early.note.clone())));
            let made = early.unwrap_or_else(|| cloned(disk, at, target, &manifest.annexes, contents));
            manifest.clone = made?;
        }
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| Trouble::Store { path: path.clone(), what: e.to_string() })?;
        files.push(put(disk, root, &path, "manifest.json.new", &text)?);
        for file in files.iter().chain([&pack, &log]) {
            file.sync().doing("could not be synced", &path)?;
        }
        drop(files);
        if let Some(early) = contents.early.filter(|_| manifest.undo) {
            early.move_into(disk, root)?;
        }
        sync_dir(disk, At::new(root, "")).doing("could not be synced", &path)?;
        disk.rename(At::new(root, "manifest.json.new"), At::new(root, "manifest.json"))
            .doing("could not be renamed", &path)?;
        sync_dir(disk, At::new(root, "")).doing("could not be synced", &path)?;
        sync_dir(disk, At::new(parent.0, "")).doing("could not be synced", parent.1)?;
        let journal =
            journal::parse(&bytes).map_err(|error| Trouble::Journal { path: path.clone(), error })?;
        let log_length = bytes.len() as u64;
        let fitting = Vec::new();
        let mut store = Self {
            path,
            root,
            manifest,
            journal,
            moved,
            fitting,
            log,
            log_length,
            pack,
            pack_length: 0,
            _lock: held,
        };
        store.attach(disk, target)?;
        Ok(store)
    }

    /// Opens a store that is there.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, Trouble> {
        let root = disk.open_root(path).doing("could not be opened", path)?;
        let held = lock(disk, At::new(root, "lock"), path)?;
        let (manifest, journal) = read(disk, root, path)?;
        let open = |name: &str| {
            disk.open(At::new(root, name), Access::Write).doing("could not be opened", &path.join(name))
        };
        let (log, pack) = (open("journal")?, open("pack")?);
        let mut moved = vec![(None, sub(disk, root, path, "moved")?)];
        for annex in &manifest.annexes {
            let at = annex.path.as_path();
            let opened = disk.open_root(at).doing("could not be opened", at)?;
            moved.push((Some(annex.link.as_path().to_owned()), sub(disk, opened, at, "moved")?));
        }
        let log_length = journal.length as u64;
        let pieces = journal.items.iter().filter_map(|item| match &item.before {
            journal::Before::Packed { pieces, .. } => pieces.last(),
            _ => None,
        });
        let pack_length = pieces.map(|p| p.at.saturating_add(p.length)).max().unwrap_or(0);
        Ok(Self {
            path: path.to_owned(),
            root,
            manifest,
            journal,
            moved,
            fitting: Vec::new(),
            log,
            log_length,
            pack,
            pack_length,
            _lock: held,
        })
    }

    /// The plan in it.
    pub fn plan(&self, disk: &dyn Disk) -> Result<Plan, Trouble> {
        plan(disk, self.root, &self.path, &self.manifest)
    }

    /// Appends a record, which is safe when this returns.
    pub fn append(&mut self, record: &Record) -> Result<(), Trouble> {
        let path = self.path.join("journal");
        let bytes = encode(&path, record)?;
        // what an interrupted write left behind the last record
        self.log.set_len(self.log_length).doing("could not be written", &path)?;
        write_all_at(&*self.log, &bytes, self.log_length).doing("could not be written", &path)?;
        self.log.sync().doing("could not be synced", &path)?;
        self.log_length += bytes.len() as u64;
        Ok(())
    }

    /// Appends bytes to the pack, and says where they lie in it.
    pub fn keep(&mut self, bytes: &[u8]) -> Result<u64, Trouble> {
        let at = self.pack_length;
        write_all_at(&*self.pack, bytes, at).doing("could not be written", &self.path.join("pack"))?;
        self.pack_length += bytes.len() as u64;
        Ok(at)
    }

    /// Makes what was kept safe.
    pub fn sync_pack(&self) -> Result<(), Trouble> {
        self.pack.sync().doing("could not be synced", &self.path.join("pack"))
    }

    /// The pack, for reading.
    pub fn pack(&self) -> &dyn DiskFile {
        &*self.pack
    }

    /// Finds out which files of the target can be renamed into the store, and where to.
    pub fn attach(&mut self, disk: &dyn Disk, target: &Side) -> Result<(), Trouble> {
        self.fitting.clear();
        for at in target.roots() {
            for (link, root) in &self.moved {
                let fits = link.as_deref().is_none_or(|l| target.behind(l) == Some(at));
                if fits && disk.same_mount(*root, at).doing("could not be looked at", &self.path)? {
                    self.fitting.push((at, *root));
                    break;
                }
            }
        }
        Ok(())
    }

    /// What the target was before a server recovered it, if it was cloned then.
    pub fn early(&self) -> Option<&Early> {
        self.manifest.clone.as_ref()?.early.as_ref()
    }

    /// Where the parts of the clone lie.
    pub fn clone_places(&self, disk: &dyn Disk) -> Result<Places, Trouble> {
        let mut annexes = Vec::new();
        let inside = self.manifest.clone.iter().flat_map(|note| &note.parts);
        for (n, link) in inside.enumerate() {
            let name = clone::part(n);
            let part = sub(disk, self.root, &self.path, &name)?;
            annexes.push((link.as_path().to_owned(), part, self.path.join(&name)));
        }
        for annex in &self.manifest.annexes {
            let at = annex.path.as_path();
            let opened = disk.open_root(at).doing("could not be opened", at)?;
            let part = sub(disk, opened, at, clone::DIRECTORY)?;
            annexes.push((annex.link.as_path().to_owned(), part, at.join(clone::DIRECTORY)));
        }
        Ok(Places::new(sub(disk, self.root, &self.path, clone::DIRECTORY)?, annexes))
    }

    /// The `moved` directory that a file of the target can be renamed into.
    pub fn moved_for(&self, target: &Side, path: &Path) -> Option<Root> {
        let at = target.entry(path).root;
        self.fitting.iter().find(|(root, _)| *root == at).map(|(_, moved)| *moved)
    }

    /// Where a file was moved to, if it was.
    pub fn find_moved<'a>(&self, disk: &dyn Disk, path: &'a Path) -> Result<Option<At<'a>>, Trouble> {
        for (_, root) in &self.moved {
            let at = At::new(*root, path);
            if absent_is_none(disk.metadata(at))
                .doing("could not be looked at", &self.path.join(path))?
                .is_some()
            {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// Gives up the room that was kept for the way back.
    pub fn give_up_reserve(&self, disk: &dyn Disk) -> Result<(), Trouble> {
        absent_is_none(disk.unlink(At::new(self.root, "reserve")))
            .doing("could not be removed", &self.path.join("reserve"))?;
        Ok(())
    }

    /// Removes a store that nothing was done with; a clone that it took in goes back to where it waited.
    pub fn give_up(self, disk: &dyn Disk, early: Option<&Waiting>) -> Result<(), Trouble> {
        clear(disk, (self.root, &self.path), &self.manifest.annexes, early)
    }

    /// Removes the store and its annexes. The manifest goes last: without it a store is nothing.
    pub fn remove(self, disk: &dyn Disk) -> Result<(), Trouble> {
        for annex in &self.manifest.annexes {
            let path = annex.path.as_path();
            remove_directory(disk, path)?;
        }
        for name in disk.list(At::new(self.root, "")).doing("could not be listed", &self.path)? {
            if name != "manifest.json" && name != "journal" && name != "lock" {
                remove_all(disk, self.root, Path::new(&name), &self.path)?;
            }
        }
        sync_dir(disk, At::new(self.root, "")).doing("could not be synced", &self.path)?;
        remove_directory(disk, &self.path)
    }
}

/// Removes a store that nothing was done with, and puts the clone that it took in back first. From the start on it is no
/// store any more, whatever comes between.
fn clear(
    disk: &dyn Disk,
    (root, path): (Root, &Path),
    annexes: &[Annex],
    early: Option<&Waiting>,
) -> Result<(), Trouble> {
    let (manifest, new) = (At::new(root, "manifest.json"), At::new(root, "manifest.json.new"));
    absent_is_none(disk.rename(manifest, new)).doing("could not be renamed", &path.join("manifest.json"))?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", path)?;
    if let Some(early) = early {
        early.move_back(disk, root)?;
    }
    for annex in annexes {
        remove_directory(disk, annex.path.as_path())?;
    }
    remove_directory(disk, path)
}

/// The plan in a store.
pub fn plan(disk: &dyn Disk, root: Root, path: &Path, manifest: &Manifest) -> Result<Plan, Trouble> {
    let bytes = read_small(disk, At::new(root, "plan.json"), PLAN_LIMIT)
        .doing("could not be read", &path.join("plan.json"))?;
    let damaged = |what| Trouble::Store { path: path.to_owned(), what };
    let plan = Plan::from_json(&bytes).map_err(|e| damaged(format!("plan.json: {e}")))?;
    if plan.id != manifest.plan {
        return Err(damaged("plan.json is another plan than the manifest names".into()));
    }
    Ok(plan)
}

/// Manifest and journal of a store.
pub fn read(disk: &dyn Disk, root: Root, path: &Path) -> Result<(Manifest, Journal), Trouble> {
    let file = path.join("manifest.json");
    let bytes = read_small(disk, At::new(root, "manifest.json"), manifest::LIMIT)
        .doing("could not be read", &file)?;
    let manifest = Manifest::parse(&bytes)
        .map_err(|e| Trouble::Store { path: path.to_owned(), what: format!("manifest.json: {e}") })?;
    let bytes = read_small(disk, At::new(root, "journal"), JOURNAL_LIMIT)
        .doing("could not be read", &path.join("journal"))?;
    let journal =
        journal::parse(&bytes).map_err(|error| Trouble::Journal { path: path.to_owned(), error })?;
    Ok((manifest, journal))
}

fn encode(path: &Path, record: &Record) -> Result<Vec<u8>, Trouble> {
    journal::encode(record).map_err(|e| Trouble::Store { path: path.to_owned(), what: e.to_string() })
}

fn sub(disk: &dyn Disk, root: Root, path: &Path, name: &str) -> Result<Root, Trouble> {
    disk.sub_root(At::new(root, name)).doing("could not be opened", &path.join(name))
}

/// Makes the clone that is wanted, as far as it can be had, before anything says that there is a store.
fn cloned(
    disk: &dyn Disk,
    (root, path): (Root, &Path),
    target: &Side,
    annexes: &[Annex],
    contents: &Contents<'_>,
) -> Result<Option<clone::Note>, Trouble> {
    if contents.keep == Keep::Changes {
        return Ok(None);
    }
    let make = |root: Root, path: &Path| {
        disk.mkdir(At::new(root, clone::DIRECTORY), DIRECTORY_MODE).doing("could not be made", path)?;
        sub(disk, root, path, clone::DIRECTORY)
    };
    let main = make(root, path)?;
    let mut parts = Vec::new();
    let mut inside = Vec::new();
    // what lies behind a link lies behind one in the clone, too
    for (link, _) in &target.links {
        if annexes.iter().all(|annex| annex.link.as_path() != link) {
            let name = clone::part(inside.len());
            disk.mkdir(At::new(root, &name), DIRECTORY_MODE).doing("could not be made", path)?;
            parts.push((link.clone(), sub(disk, root, path, &name)?, path.join(&name)));
            inside.push(PlanPath::from(link.as_path()));
        }
    }
    for annex in annexes {
        let at = annex.path.as_path();
        let opened = disk.open_root(at).doing("could not be opened", at)?;
        let part = make(opened, at)?;
        parts.push((annex.link.as_path().to_owned(), part, at.join(clone::DIRECTORY)));
    }
    let places = Places::new(main, parts);
    let Contents { threads, progress, begin, .. } = contents;
    let maker = Maker { disk, target, threads: *threads, progress };
    let share = contents.keep != Keep::Copy && maker.can_share(&places)?;
    if contents.keep == Keep::Clone && !share {
        return refuse(format!(
            "the filesystem of {} cannot clone files, or the undo store lies on another one. With --undo=copy a full copy \
             of it is kept instead, with --undo=changes only what changes.",
            target.path.display()
        ));
    }
    let entries = if share || contents.keep == Keep::Copy { maker.entries()? } else { Vec::new() };
    let foreign = maker.foreign(&entries, &begin.control);
    if contents.keep == Keep::Auto && (!share || foreign.is_some()) {
        for name in (0..inside.len()).map(clone::part).chain([clone::DIRECTORY.to_owned()]) {
            disk.rmdir(At::new(root, &name)).doing("could not be removed", path)?;
        }
        for annex in annexes {
            let at = annex.path.as_path();
            let opened = disk.open_root(at).doing("could not be opened", at)?;
            disk.rmdir(At::new(opened, clone::DIRECTORY)).doing("could not be removed", at)?;
        }
        return Ok(None);
    }
    if let Some(foreign) = foreign {
        return refuse(format!(
            "{} belongs to another user or group, which a clone of it could not be given. Choose --undo=changes, which \
             keeps only what changes.",
            target.path.join(foreign).display()
        ));
    }
    let how = if share { How::Reflink } else { How::Copy };
    let listing = maker.make(how, &places, &entries, (contents.control, &begin.control))?;
    put(disk, root, path, clone::LISTING, &listing)?;
    Ok(Some(clone::Note { how, sha256: super::hash::of(&listing), parts: inside, early: None }))
}

/// What a link leads to, and the directory above, if a file can be renamed from the one into the other.
pub fn annex_place(
    disk: &dyn Disk,
    target: &Side,
    link: &Path,
    behind: Root,
) -> Result<Option<(PathBuf, Root)>, Trouble> {
    let full = target.path.join(link);
    // one that the plan makes holds nothing yet
    let text = absent_is_none(disk.read_link(target.entry(link))).doing("could not be read", &full)?;
    let Some(text) = text else { return Ok(None) };
    let to = full.parent().map_or_else(|| text.clone(), |p| p.join(&text));
    let Some(parent) = to.parent() else { return Ok(None) };
    let Ok(above) = disk.open_root(parent) else { return Ok(None) };
    let same = disk.same_mount(above, behind).doing("could not be looked at", parent)?;
    Ok(same.then_some((to, above)))
}

/// A directory beside what a link leads to, if it can be made there on the same mount.
fn make_annex(
    disk: &dyn Disk,
    target: &Side,
    link: &Path,
    behind: Root,
) -> Result<Option<(Annex, Root)>, Trouble> {
    let Some((to, above)) = annex_place(disk, target, link, behind)? else { return Ok(None) };
    let Some(parent) = to.parent() else { return Ok(None) };
    let annex_name = PathBuf::from(name(&to));
    let path = parent.join(&annex_name);
    if disk.mkdir(At::new(above, &annex_name), DIRECTORY_MODE).is_err() {
        return Ok(None);
    }
    let root = disk.sub_root(At::new(above, &annex_name)).doing("could not be opened", &path)?;
    disk.mkdir(At::new(root, "moved"), DIRECTORY_MODE).doing("could not be made", &path)?;
    sync_dir(disk, At::new(root, "")).doing("could not be synced", &path)?;
    sync_dir(disk, At::new(above, "")).doing("could not be synced", parent)?;
    let moved = sub(disk, root, &path, "moved")?;
    let Ok(link) = crate::plan::path::RelPath::new(link.as_os_str().as_encoded_bytes()) else {
        return Ok(None);
    };
    Ok(Some((Annex { link, path: path.as_path().into() }, moved)))
}

/// Makes the directories above `path`, and notes them all: one that is there may not be safe yet.
pub fn make_parents(
    disk: &dyn Disk,
    root: Root,
    path: &Path,
    dirty: &mut BTreeSet<(Root, PathBuf)>,
) -> std::io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new(""));
    if !dirty.insert((root, parent.to_owned())) || parent.as_os_str().is_empty() {
        return Ok(());
    }
    make_parents(disk, root, parent, dirty)?;
    if !exists(disk, At::new(root, parent))? {
        disk.mkdir(At::new(root, parent), DIRECTORY_MODE)?;
    }
    Ok(())
}

/// Removes a directory and all that is in it; no error if it is not there.
pub fn remove_directory(disk: &dyn Disk, path: &Path) -> Result<(), Trouble> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return refuse(format!("{} is no directory that can be removed", path.display()));
    };
    let above = disk.open_root(parent).doing("could not be opened", parent)?;
    if exists(disk, At::new(above, name)).doing("could not be looked at", path)? {
        remove_all(disk, above, Path::new(name), parent)?;
        sync_dir(disk, At::new(above, "")).doing("could not be synced", parent)?;
    }
    Ok(())
}

pub fn remove_all(disk: &dyn Disk, root: Root, path: &Path, above: &Path) -> Result<(), Trouble> {
    let at = At::new(root, path);
    let full = above.join(path);
    let Some(meta) = absent_is_none(disk.metadata(at)).doing("could not be looked at", &full)? else {
        return Ok(());
    };
    if meta.kind != Kind::Directory {
        return disk.unlink(at).doing("could not be removed", &full);
    }
    for name in disk.list(at).doing("could not be listed", &full)? {
        remove_all(disk, root, &path.join(name), above)?;
    }
    disk.rmdir(at).doing("could not be removed", &full)
}
