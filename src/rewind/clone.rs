//! A complete clone of the target in the store: with it there is a way back even after a server has worked on the
//! result. `clone/` in the store (and in its annexes) is the data directory as it was, control file and all, and can be
//! read as one; `clone.json` lists what belongs in it, since files move out of it on the way back.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::control;
use super::disk::{
    Access, At, Disk, DiskFile, Kind, Meta, Root, absent_is_none, exists, read_full_at, read_small, sync_dir,
    write_all_at,
};
use super::early::Early;
use super::error::{Doing, Trouble};
use super::hash;
use super::journal::Attributes;
use super::manifest::POINTER;
use super::places::Side;
use super::store::{DIRECTORY_MODE, FILE_MODE, Store, remove_all};
use super::work::{like, shown};
use crate::plan::path::PlanPath;
use crate::scan::progress::{Phase, Progress};

/// The directory in the store and in its annexes.
pub const DIRECTORY: &str = "clone";
/// The list of what belongs in it.
pub const LISTING: &str = "clone.json";
/// A file by which a filesystem is asked whether it can clone.
pub const PROBE: &str = "clone.probe";
/// Largest list that is read.
pub const LIMIT: u64 = 4 << 30;
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;
/// Bytes that the kernel is asked to copy at once.
const KERNEL_CHUNK: u64 = 16 << 20;

/// How a clone is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// Files share their blocks with the target's until one of the two changes.
    Reflink,
    /// Every byte is copied.
    Copy,
}

/// What is kept for the way back, beside the parts that change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// A clone where the filesystem can make one without copying, else nothing more.
    #[default]
    Auto,
    /// Nothing more: the way back ends where a server begins to work on the result.
    Changes,
    /// A clone, made without copying.
    Clone,
    /// A full copy.
    Copy,
}

/// What the manifest says of a clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// How it was made.
    pub how: How,
    /// Of the list.
    pub sha256: String,
    /// Links whose directories are cloned into the store itself, into [`part`] 0, 1, ….
    pub parts: Vec<PlanPath>,
    /// It was made before a server recovered the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub early: Option<Early>,
}

/// The name in the store of the clone of what is behind a link.
pub fn part(number: usize) -> String {
    format!("{DIRECTORY}.{number}")
}

/// Whether an entry of a store has such a name.
pub fn is_part(name: &OsStr) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix("clone."));
    number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit()))
}

/// One entry of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    path: PlanPath,
    what: What,
    attributes: Attributes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum What {
    Directory,
    /// The directory that a link of this path leads to.
    Behind,
    Link(PlanPath),
    File {
        size: u64,
        /// It has other names, here or elsewhere.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        shared: bool,
    },
}

impl Entry {
    /// Who only reads it changes nothing.
    pub fn forget_reading(&mut self) {
        self.attributes.accessed = self.attributes.modified;
    }

    /// By what entries can be put in order: a link and the directory behind it have one path.
    pub fn order(&self) -> (&Path, bool) {
        (self.path.as_path(), self.what == What::Behind)
    }
}

/// Where the parts of a clone lie: the directory in the store, and those in annexes for what is behind links.
#[derive(Debug, Clone)]
pub struct Places {
    main: Root,
    annexes: Vec<(PathBuf, Root, PathBuf)>,
}

impl Places {
    /// `annexes`: the link, its `clone` directory, and the path of that.
    pub const fn new(main: Root, annexes: Vec<(PathBuf, Root, PathBuf)>) -> Self {
        Self { main, annexes }
    }

    /// What lies at a path, or below a link.
    pub fn at<'a>(&self, path: &'a Path) -> At<'a> {
        for (link, root, _) in &self.annexes {
            if let Ok(rest) = path.strip_prefix(link)
                && !rest.as_os_str().is_empty()
            {
                return At { root: *root, path: rest };
            }
        }
        At { root: self.main, path }
    }

    fn annex(&self, link: &Path) -> Option<&Path> {
        self.annexes.iter().find(|(l, ..)| l == link).map(|(_, _, path)| path.as_path())
    }

    fn roots(&self) -> BTreeSet<Root> {
        self.annexes.iter().map(|(_, root, _)| *root).chain([self.main]).collect()
    }
}

/// No part of the cluster as it was.
fn ours(path: &Path) -> bool {
    path == Path::new(POINTER)
        || path == Path::new(control::ASIDE)
        || path == Path::new(control::NEW)
        || path == Path::new("forkpoint.state.new")
}

/// Makes a clone, or finds out whether one can be made.
pub struct Maker<'a> {
    pub disk: &'a dyn Disk,
    pub target: &'a Side,
    pub threads: usize,
    pub progress: &'a Progress,
}

impl Maker<'_> {
    /// Whether every part of the target can be cloned without copying, by trying with a file of each.
    pub fn can_share(&self, places: &Places) -> Result<bool, Trouble> {
        let roots = self.target.links.iter().map(|(link, root)| (link.as_path(), *root));
        for (path, root) in roots.chain([(Path::new(""), self.target.root)]) {
            let Some(file) = self.some_file(root, Path::new(""), 4)? else { continue };
            let to = At { root: places.at(&path.join(PROBE)).root, path: Path::new(PROBE) };
            absent_is_none(self.disk.unlink(to)).doing("could not be removed", to.path)?;
            let probe = self.disk.create(to, FILE_MODE).doing("could not be made", to.path)?;
            let shared = self.disk.clone_file(&*file, &*probe).is_ok();
            drop(probe);
            self.disk.unlink(to).doing("could not be removed", to.path)?;
            if !shared {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A file that is not empty, not deep in a directory.
    fn some_file(&self, root: Root, path: &Path, depth: u32) -> Result<Option<Box<dyn DiskFile>>, Trouble> {
        for name in self.disk.list(At::new(root, path)).doing("could not be listed", shown(path))? {
            let path = path.join(name);
            let at = At::new(root, &path);
            let found = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", &path)?;
            match found {
                Some(meta) if meta.kind == Kind::File && meta.size > 0 => {
                    return self.disk.open(at, Access::Read).doing("could not be opened", &path).map(Some);
                }
                Some(meta) if meta.kind == Kind::Directory && depth > 0 => {
                    if let Some(file) = self.some_file(root, &path, depth - 1)? {
                        return Ok(Some(file));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// What belongs to someone whose files this user cannot make.
    pub fn foreign(&self, entries: &[Entry], control: &Attributes) -> Option<PathBuf> {
        let user = self.disk.user();
        let others = |a: &Attributes| a.uid != user.uid || !user.gids.contains(&a.gid);
        let foreign =
            entries.iter().find(|entry| !matches!(entry.what, What::Link(_)) && others(&entry.attributes));
        let foreign = foreign.map(|entry| entry.path.as_path().to_owned());
        foreign.or_else(|| others(control).then(|| PathBuf::from(control::CONTROL)))
    }

    /// All that a clone will have, but for the control file.
    pub fn entries(&self) -> Result<Vec<Entry>, Trouble> {
        let mut entries = Vec::new();
        self.list(Path::new(""), &mut entries)?;
        Ok(entries)
    }

    /// Bytes of the files in each of the target's directories, the control file's not counted.
    pub fn sizes(&self) -> Result<HashMap<Root, u64>, Trouble> {
        let mut sizes = HashMap::new();
        for entry in self.entries()? {
            if let What::File { size, .. } = entry.what {
                *sizes.entry(self.target.entry(entry.path.as_path()).root).or_default() += size;
            }
        }
        Ok(sizes)
    }

    /// Clones the target. All of it is safe on disk when this returns. The list's bytes come with it.
    pub fn make(
        &self,
        how: How,
        places: &Places,
        entries: &[Entry],
        control: (&[u8], &Attributes),
    ) -> Result<Vec<u8>, Trouble> {
        let sizes = entries.iter().map(|entry| match entry.what {
            What::File { size, .. } => size,
            _ => 0,
        });
        self.progress.begin(Phase::Cloning, sizes.sum());
        for entry in entries {
            let path = entry.path.as_path();
            let to = places.at(path);
            match &entry.what {
                What::Directory => {
                    self.disk.mkdir(to, DIRECTORY_MODE).doing("its clone could not be made", path)?;
                }
                What::Link(text) => self
                    .disk
                    .symlink(places.annex(path).unwrap_or(text.as_path()), to)
                    .doing("its clone could not be made", path)?,
                What::Behind | What::File { .. } => {}
            }
        }
        self.files(how, places, entries)?;
        let path = Path::new(control::CONTROL);
        let file = self.disk.create(places.at(path), FILE_MODE).doing("its clone could not be made", path)?;
        write_all_at(&*file, control.0, 0).doing("its clone could not be written", path)?;
        dress(&*file, control.1).doing("its clone's attributes could not be set", path)?;
        self.sync(places, entries)?;
        serde_json::to_vec(entries)
            .map_err(|e| Trouble::Store { path: self.target.path.clone(), what: e.to_string() })
    }

    /// Files and directories reach the disk: filesystems as a whole, and where that tells of no errors each by itself.
    fn sync(&self, places: &Places, entries: &[Entry]) -> Result<(), Trouble> {
        let mut told = true;
        for root in places.roots() {
            self.disk.syncfs(root).doing("its filesystem could not be synced", &self.target.path)?;
            told &= self.disk.syncfs_tells(root).doing("could not be looked at", &self.target.path)?;
        }
        for entry in entries.iter().filter(|_| !told) {
            let path = entry.path.as_path();
            if matches!(entry.what, What::Directory | What::File { .. }) {
                let file = self.disk.open(places.at(path), Access::Read);
                file.and_then(|f| f.sync()).doing("its clone could not be synced", path)?;
            }
        }
        for root in places.roots() {
            sync_dir(self.disk, At::new(root, ""))
                .doing("its clone could not be synced", &self.target.path)?;
        }
        Ok(())
    }

    fn list(&self, path: &Path, entries: &mut Vec<Entry>) -> Result<(), Trouble> {
        let names = self.disk.list(self.target.directory(path));
        for name in names.doing("could not be listed", shown(path))? {
            self.progress.check()?;
            let path = path.join(name);
            if ours(&path) || path == Path::new(control::CONTROL) {
                continue;
            }
            let at = self.target.entry(&path);
            let meta = self.disk.metadata(at).doing("could not be looked at", &path)?;
            let attributes = |at: At<'_>, meta: &Meta| {
                let xattrs = self.disk.open(at, Access::Read).and_then(|f| f.xattrs());
                let xattrs = xattrs.doing("its attributes could not be read", &path)?;
                Ok::<_, Trouble>(Attributes::new(meta, xattrs))
            };
            let (what, attributes) = match meta.kind {
                Kind::File => {
                    (What::File { size: meta.size, shared: meta.links > 1 }, attributes(at, &meta)?)
                }
                Kind::Directory => (What::Directory, attributes(at, &meta)?),
                Kind::Symlink => {
                    let text = self.disk.read_link(at).doing("could not be read", &path)?;
                    (What::Link(PlanPath::from(text.as_path())), Attributes::new(&meta, Vec::new()))
                }
                // a socket belongs to a process
                Kind::Other => continue,
            };
            let descend = what == What::Directory;
            entries.push(Entry { path: PlanPath::from(path.as_path()), what, attributes });
            if let (Kind::Symlink, Some(_)) = (meta.kind, self.target.behind(&path)) {
                let behind = self.target.directory(&path);
                let meta = self.disk.metadata(behind).doing("could not be looked at", &path)?;
                let xattrs = self.disk.open(behind, Access::Read).and_then(|f| f.xattrs());
                let xattrs = xattrs.doing("its attributes could not be read", &path)?;
                entries.push(Entry {
                    path: PlanPath::from(path.as_path()),
                    what: What::Behind,
                    attributes: Attributes::new(&meta, xattrs),
                });
                self.list(&path, entries)?;
            } else if descend {
                self.list(&path, entries)?;
            }
        }
        Ok(())
    }

    fn files(&self, how: How, places: &Places, entries: &[Entry]) -> Result<(), Trouble> {
        let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
        let trouble = Mutex::new(None);
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let Some(entry) = entries.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                let What::File { size, .. } = entry.what else { continue };
                if let Err(found) = self.file(how, places, entry, size) {
                    stop.store(true, Ordering::Relaxed);
                    trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(found);
                }
            }
        };
        if self.threads <= 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads {
                    scope.spawn(work);
                }
            });
        }
        trouble.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    fn file(&self, how: How, places: &Places, entry: &Entry, size: u64) -> Result<(), Trouble> {
        self.progress.check()?;
        let path = entry.path.as_path();
        let from =
            self.disk.open(self.target.entry(path), Access::Read).doing("could not be opened", path)?;
        let to = self.disk.create(places.at(path), FILE_MODE).doing("its clone could not be made", path)?;
        match how {
            How::Reflink if size > 0 => {
                self.disk.clone_file(&*from, &*to).doing("could not be cloned", path)?;
                self.progress.advance(size);
            }
            How::Reflink => {}
            How::Copy => copy(self.disk, &*from, &*to, path, size, self.progress)?,
        }
        let copied = to.metadata().doing("its clone could not be looked at", path)?.size;
        if copied != size {
            let what = format!("{copied} bytes, expected {size}");
            return Err(Trouble::TargetChanged { path: path.to_owned(), what });
        }
        dress(&*to, &entry.attributes).doing("its clone's attributes could not be set", path)
    }
}

/// Gives a file all attributes of another.
fn dress(file: &dyn DiskFile, attributes: &Attributes) -> io::Result<()> {
    like(file, attributes)?;
    file.set_times(attributes.accessed, attributes.modified)
}

/// Copies a whole file into an empty one.
fn copy(
    disk: &dyn Disk,
    from: &dyn DiskFile,
    to: &dyn DiskFile,
    path: &Path,
    size: u64,
    progress: &Progress,
) -> Result<(), Trouble> {
    let mut offset = 0;
    while offset < size {
        progress.check()?;
        match disk.copy_range(from, to, offset, (size - offset).min(KERNEL_CHUNK)) {
            // not between these filesystems
            Ok(0) | Err(_) => break,
            Ok(n) => {
                offset += n;
                progress.advance(n);
            }
        }
    }
    let mut buffer = vec![0; CHUNK.min((size - offset) as usize)];
    while offset < size {
        progress.check()?;
        let want = (size - offset).min(CHUNK as u64) as usize;
        let chunk = buffer.get_mut(..want).unwrap_or_default();
        let n = read_full_at(from, chunk, offset).doing("could not be read", path)?;
        if n < want {
            let what = format!("it ends at {} bytes, {size} are expected", offset + n as u64);
            return Err(Trouble::TargetChanged { path: path.to_owned(), what });
        }
        write_all_at(to, chunk, offset).doing("could not be written", path)?;
        offset += n as u64;
        progress.advance(n as u64);
    }
    Ok(())
}

/// The way back by a clone: whatever happened to the target, it is what the list says afterwards, but for its control
/// file. It can be begun again at any point.
pub struct Return<'a> {
    pub disk: &'a dyn Disk,
    pub target: &'a Side,
    pub places: &'a Places,
    pub store: &'a Store,
    /// Paths that the plan made behind links.
    pub made: &'a [PathBuf],
    pub progress: &'a Progress,
}

impl Return<'_> {
    /// The list in a store, held against the manifest's note.
    fn listing(&self, note: &Note) -> Result<Vec<Entry>, Trouble> {
        let damaged = |what: String| Trouble::Store { path: self.store.path.clone(), what };
        let bytes = read_small(self.disk, At::new(self.store.root, LISTING), LIMIT)
            .doing("could not be read", &self.store.path.join(LISTING))?;
        if hash::of(&bytes) != note.sha256 {
            return Err(damaged(format!("{LISTING} is damaged: its SHA-256 is another one")));
        }
        serde_json::from_slice(&bytes).map_err(|e| damaged(format!("{LISTING}: {e}")))
    }

    /// Finds out whether all of the clone is there, before anything is changed.
    pub fn whole(&self, note: &Note) -> Result<(), Trouble> {
        self.complete(&self.listing(note)?)
    }

    /// Goes all the way.
    pub fn go(&self, note: &Note) -> Result<(), Trouble> {
        let entries = self.listing(note)?;
        let mut known: HashMap<&Path, &What> = HashMap::with_capacity(entries.len());
        let mut total = 0;
        for entry in &entries {
            if entry.what != What::Behind {
                known.insert(entry.path.as_path(), &entry.what);
            }
            if let What::File { size, .. } = entry.what {
                total += size;
            }
        }
        self.progress.begin(Phase::Undoing, total);
        self.clear(Path::new(""), self.target.root, Path::new(""), &known)?;
        // directories are safe before a file lies in them that lies nowhere else
        for entry in &entries {
            if entry.what == What::Directory {
                let (path, at) = (entry.path.as_path(), self.target.entry(entry.path.as_path()));
                if !exists(self.disk, at).doing("could not be looked at", path)? {
                    self.disk.mkdir(at, entry.attributes.mode).doing("could not be made", path)?;
                }
            }
        }
        self.sync_filesystems()?;
        let mut written = Vec::new();
        for entry in &entries {
            self.progress.check()?;
            let path = entry.path.as_path();
            match &entry.what {
                What::File { size, shared } => {
                    if self.put_back(entry, *size, *shared)? {
                        written.push(path);
                    }
                    self.progress.advance(*size);
                }
                What::Link(to) => self.link(path, to.as_path())?,
                What::Directory | What::Behind => {}
            }
        }
        self.sync_filesystems()?;
        for path in written {
            let file = self.disk.open(self.target.entry(path), Access::Read).and_then(|f| f.sync());
            file.doing("could not be synced", path)?;
        }
        // last, as names came and went until now
        for entry in &entries {
            let path = entry.path.as_path();
            let at = match entry.what {
                What::Directory => self.target.entry(path),
                What::Behind => self.target.directory(path),
                _ => continue,
            };
            let directory = self.disk.open(at, Access::Read).doing("could not be opened", path)?;
            dress(&*directory, &entry.attributes).doing("its attributes could not be set", path)?;
        }
        self.sync_filesystems()
    }

    /// Refuses where a file is neither in the clone nor, put back already, in the target.
    fn complete(&self, entries: &[Entry]) -> Result<(), Trouble> {
        for entry in entries {
            self.progress.check()?;
            let What::File { size, .. } = entry.what else { continue };
            let path = entry.path.as_path();
            let there = absent_is_none(self.disk.metadata(self.places.at(path)));
            let there = there.doing("could not be looked at", &self.store.path.join(path))?;
            let found = match there {
                Some(meta) => Some(meta),
                None => absent_is_none(self.disk.metadata(self.target.entry(path)))
                    .doing("could not be looked at", path)?,
            };
            let whole = found.is_some_and(|meta| {
                meta.kind == Kind::File && meta.size == size && meta.modified == entry.attributes.modified
            });
            if !whole {
                let what = match there {
                    Some(_) => format!("its clone of {} was changed", path.display()),
                    None => format!("its clone of {} is gone", path.display()),
                };
                return Err(Trouble::Store { path: self.store.path.clone(), what });
            }
        }
        Ok(())
    }

    fn sync_filesystems(&self) -> Result<(), Trouble> {
        for root in self.target.roots().into_iter().chain(self.places.roots()) {
            self.disk.syncfs(root).doing("its filesystem could not be synced", &self.target.path)?;
        }
        Ok(())
    }

    /// Removes what does not belong: `path` in the data directory, which is `rest` below `root`.
    fn clear(
        &self,
        path: &Path,
        root: Root,
        rest: &Path,
        known: &HashMap<&Path, &What>,
    ) -> Result<(), Trouble> {
        let names = self.disk.list(At::new(root, rest)).doing("could not be listed", shown(path))?;
        for name in names {
            self.progress.check()?;
            let (path, rest) = (path.join(&name), rest.join(&name));
            if ours(&path) || path == Path::new(control::CONTROL) {
                continue;
            }
            let at = At::new(root, &rest);
            let meta = self.disk.metadata(at).doing("could not be looked at", &path)?;
            match (meta.kind, known.get(path.as_path())) {
                (Kind::Other, _)
                | (Kind::File, Some(What::File { .. }))
                | (Kind::Symlink, Some(What::Link(_))) => {}
                (Kind::Directory, Some(What::Directory)) => self.clear(&path, root, &rest, known)?,
                _ if self.foreign(&path, known) => {}
                _ => remove_all(self.disk, root, &rest, &self.target.path)?,
            }
        }
        if rest.as_os_str().is_empty() && path.as_os_str().is_empty() {
            for (link, behind) in &self.target.links {
                self.clear(link, *behind, Path::new(""), known)?;
            }
        }
        Ok(())
    }

    /// A tablespace's directory may hold what belongs to other clusters.
    fn foreign(&self, path: &Path, known: &HashMap<&Path, &What>) -> bool {
        let Some(parent) = path.parent() else { return false };
        let in_tablespace = parent.starts_with("pg_tblspc") && self.target.behind(parent).is_some();
        let sibling = || {
            // what a server of this cluster made there has the name that its other tablespaces have
            known.keys().any(|k| {
                k.file_name() == path.file_name() && k.starts_with("pg_tblspc") && k.components().count() == 3
            })
        };
        in_tablespace && !self.made.iter().any(|made| made == path) && !sibling()
    }

    /// Puts a file back; true if its bytes were written rather than its name changed.
    fn put_back(&self, entry: &Entry, size: u64, shared: bool) -> Result<bool, Trouble> {
        let path = entry.path.as_path();
        let (from, to) = (self.places.at(path), self.target.entry(path));
        if let Some(moved) = self.moved(path, Kind::File)? {
            // the very file that was there, which has its other names
            self.disk.rename(moved, to).doing("could not be moved back", path)?;
            return Ok(false);
        }
        // it is in its place already
        if !exists(self.disk, from).doing("could not be looked at", path)? {
            let file = self.disk.open(to, Access::Read).doing("could not be opened", path)?;
            dress(&*file, &entry.attributes).doing("its attributes could not be set", path)?;
            return Ok(false);
        }
        let there = exists(self.disk, to).doing("could not be looked at", path)?;
        let same = self.disk.same_mount(from.root, to.root).doing("could not be looked at", path)?;
        if same && !(shared && there) {
            self.disk.rename(from, to).doing("could not be moved back", path)?;
            let file = self.disk.open(to, Access::Read).doing("could not be opened", path)?;
            dress(&*file, &entry.attributes).doing("its attributes could not be set", path)?;
            return Ok(false);
        }
        // its other names see it too, as they did before; or there is no way but to copy
        let clone = self.disk.open(from, Access::Read).doing("its clone could not be opened", path)?;
        let file = if there {
            self.disk.open(to, Access::Write).doing("could not be opened", path)?
        } else {
            self.disk.create(to, FILE_MODE).doing("could not be made", path)?
        };
        file.set_len(0).doing("could not be cut", path)?;
        copy(self.disk, &*clone, &*file, path, size, &Progress::default())?;
        dress(&*file, &entry.attributes).doing("its attributes could not be set", path)?;
        Ok(true)
    }

    /// What the rewind moved into the store, if it can be renamed back. After a recovery that is not what was there.
    fn moved<'b>(&self, path: &'b Path, kind: Kind) -> Result<Option<At<'b>>, Trouble> {
        if self.store.early().is_some() {
            return Ok(None);
        }
        let Some(moved) = self.store.find_moved(self.disk, path)? else { return Ok(None) };
        let meta = self.disk.metadata(moved).doing("could not be looked at", path)?;
        let root = self.target.entry(path).root;
        let same = self.disk.same_mount(moved.root, root).doing("could not be looked at", path)?;
        Ok((same && meta.kind == kind).then_some(moved))
    }

    fn link(&self, path: &Path, to: &Path) -> Result<(), Trouble> {
        let at = self.target.entry(path);
        if exists(self.disk, at).doing("could not be looked at", path)? {
            if self.disk.read_link(at).doing("could not be read", path)? == to {
                return Ok(());
            }
            self.disk.unlink(at).doing("could not be removed", path)?;
        }
        if let Some(moved) = self.moved(path, Kind::Symlink)? {
            return self.disk.rename(moved, at).doing("could not be moved back", path);
        }
        self.disk.symlink(to, at).doing("could not be made", path)
    }
}
