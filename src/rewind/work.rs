//! Carrying out, from wherever the journal says that it stands.
//!
//! Operations go in batches. Of each batch first all that will change is kept and synced, then files are moved out of
//! the way and the moves synced, then the new content is written. Every step can be done again, with the same result.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::capture::{self, Capture, SELINUX};
use super::checks;
use super::copy::{Checks, Copier};
use super::disk::{
    Access, At, Disk, DiskFile, Kind, Root, absent_is_none, exists, read_full_at, sync_dir, write_all_at,
};
use super::error::{Doing, Trouble};
use super::fetched;
use super::full::Both;
use super::hash;
use super::journal::{Attributes, Before, Item, Moved, Record, Saved};
use super::manifest::SyncMethod;
use super::ops::{self, Op, What};
use super::places::Side;
use super::store::{Store, make_parents};
use crate::pg::control::ControlFile;
use crate::plan::Plan;
use crate::plan::model::{Action, Origin};
use crate::scan::progress::{Phase, Progress};

/// From so many directories on a call for the whole filesystem is cheaper than one for each.
const MANY_DIRECTORIES: usize = 8;

/// How much is done between two records of the journal.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Operations in a batch.
    pub operations: usize,
    /// Bytes kept in the pack for a batch.
    pub packed: u64,
    /// Bytes written between two syncs of the target.
    pub unsynced: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { operations: 4096, packed: 256 << 20, unsynced: 2 << 30 }
    }
}

/// What is looked at before the control file comes back; what comes later looks at more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Nothing.
    #[default]
    Nothing,
    /// What was written is read back.
    Written,
    /// That, and all relation files of both sides.
    Everything,
}

impl Verify {
    /// Nothing is looked at.
    pub fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// What was written and may not be on disk.
#[derive(Debug, Default)]
pub struct Dirty {
    files: Vec<(Root, PathBuf)>,
    directories: BTreeSet<(Root, PathBuf)>,
    bytes: u64,
}

impl Dirty {
    fn file(&mut self, at: At<'_>) {
        self.files.push((at.root, at.path.to_owned()));
    }

    fn name(&mut self, at: At<'_>) {
        self.directories.insert((at.root, at.parent().path.to_owned()));
    }

    fn join(&mut self, other: Self) {
        self.files.extend(other.files);
        self.directories.extend(other.directories);
        self.bytes += other.bytes;
    }
}

/// One rewind in the works.
pub struct Work<'a> {
    pub disk: &'a dyn Disk,
    pub plan: &'a Plan,
    pub ops: &'a [Op<'a>],
    pub target: &'a Side,
    pub source: &'a Side,
    pub checks: Checks,
    pub store: &'a mut Store,
    pub limits: Limits,
    pub threads: usize,
    pub verify: Verify,
    pub progress: &'a Progress,
}

impl Work<'_> {
    /// All operations that are not on disk yet, and everything synced.
    pub fn operations(&mut self) -> Result<(), Trouble> {
        let total = self.ops.iter().map(|op| ops::bytes(op, self.plan.block_size)).sum();
        self.progress.begin(Phase::Rewinding, total);
        let done = self.ops.get(..self.store.journal.performed).unwrap_or_default();
        self.progress.advance(done.iter().map(|op| ops::bytes(op, self.plan.block_size)).sum());
        let mut dirty = Dirty::default();
        let mut at = self.store.journal.performed;
        // what was prepared before an interruption, in the same batches: a later one may write what an earlier removed
        let prepared = self.store.journal.items.len();
        let mut ends: Vec<usize> = self.store.journal.batches.iter().copied().filter(|b| *b > at).collect();
        ends.push(prepared);
        let all = self.ops.len() as u64;
        for end in ends {
            self.progress.count(at as u64, all);
            self.source_unmoved()?;
            let items = self.store.journal.items.get(at..end).unwrap_or_default().to_vec();
            at = self.batch(at, &items, &mut dirty)?;
        }
        let mut known: HashSet<PathBuf> =
            self.store.journal.directories.iter().map(|d| d.path.as_path().to_owned()).collect();
        known.extend([PathBuf::new(), PathBuf::from("global")]);
        while at < self.ops.len() {
            self.progress.count(at as u64, all);
            self.progress.check()?;
            self.source_unmoved()?;
            let items = self.prepare(at, &mut known)?;
            at = self.batch(at, &items, &mut dirty)?;
        }
        self.flush(at, &mut dirty)
    }

    fn source_unmoved(&self) -> Result<(), Trouble> {
        checks::source(self.disk, self.plan, self.source).map(|_| ())
    }

    /// Looks at the next operations and keeps what they will change.
    fn prepare(&mut self, first: usize, known: &mut HashSet<PathBuf>) -> Result<Vec<Item>, Trouble> {
        // the last files are made of what the entries left
        let planned = self.plan.entries.len();
        let end = if first < planned { planned } else { self.ops.len() };
        let mut capture = Capture {
            disk: self.disk,
            target: self.target,
            store: &mut *self.store,
            block_size: self.plan.block_size,
            user: self.disk.user(),
            known,
            items: Vec::new(),
            directories: Vec::new(),
            packed: 0,
        };
        for op in self.ops.get(first..end).unwrap_or_default() {
            if capture.items.len() >= self.limits.operations || capture.packed >= self.limits.packed {
                break;
            }
            self.progress.check()?;
            capture.take(op)?;
        }
        let Capture { mut items, directories, .. } = capture;
        self.hash_moved(self.ops.get(first..).unwrap_or_default(), &mut items)?;
        self.store.sync_pack()?;
        self.store.append(&Record::Saved(Saved { first, items: items.clone(), directories }))?;
        Ok(items)
    }

    /// Files that will be moved are hashed, so that undoing can tell that they are what they were.
    fn hash_moved(&self, ops: &[Op<'_>], items: &mut [Item]) -> Result<(), Trouble> {
        let todo: Vec<Mutex<(&Op<'_>, &mut Moved)>> = ops
            .iter()
            .zip(items)
            .filter_map(|(op, item)| match &mut item.before {
                Before::Moved(moved) => Some(Mutex::new((op, moved))),
                _ => None,
            })
            .collect();
        self.in_parallel(&todo, |this, _| {
            self.progress.check()?;
            let (op, moved) = &mut *this.lock().unwrap_or_else(PoisonError::into_inner);
            // what cannot be read, by its mode or as it is a link, can be moved all the same
            if let Ok(file) = self.disk.open(self.target.entry(op.path), Access::Read) {
                moved.sha256 = hash::of_stretch(&*file, 0, moved.size, self.progress).unwrap_or_default();
            }
            Ok(())
        })
        .map(|_| ())
    }

    /// Carries out prepared operations; gives the number of the next one.
    fn batch(&mut self, first: usize, items: &[Item], dirty: &mut Dirty) -> Result<usize, Trouble> {
        let next = first + items.len();
        let ops = self.ops.get(first..next).unwrap_or_default();
        let pairs: Vec<(&Op<'_>, &Item)> = ops.iter().zip(items).collect();
        self.move_away(&pairs)?;
        for (op, item) in &pairs {
            self.make(op, item, dirty)?;
        }
        dirty.join(self.write_all(&pairs)?);
        for (op, item) in &pairs {
            self.remove(op, item, dirty)?;
        }
        if dirty.bytes >= self.limits.unsynced {
            self.flush(next, dirty)?;
        }
        Ok(next)
    }

    /// Moves files into the store. Its directories are safe before a file lies in them, and the moves are safe before a
    /// new file takes the name of a moved one.
    fn move_away(&self, pairs: &[(&Op<'_>, &Item)]) -> Result<(), Trouble> {
        let mut made = BTreeSet::new();
        let mut moves = Vec::new();
        for (op, _) in pairs.iter().filter(|(_, item)| matches!(item.before, Before::Moved(_))) {
            if self.store.find_moved(self.disk, op.path)?.is_some() {
                continue;
            }
            let Some(root) = self.store.moved_for(self.target, op.path) else {
                let what = format!("there is no place in it any more for {}", op.path.display());
                return Err(Trouble::Store { path: self.store.path.clone(), what });
            };
            make_parents(self.disk, root, op.path, &mut made)
                .doing("its directory in the store could not be made", op.path)?;
            moves.push((self.target.entry(op.path), At::new(root, op.path)));
        }
        self.sync_directories(&made)?;
        let mut directories = BTreeSet::new();
        for (from, to) in moves {
            self.disk.rename(from, to).doing("could not be moved into the store", to.path)?;
            for at in [from, to] {
                directories.insert((at.root, at.parent().path.to_owned()));
            }
        }
        self.sync_directories(&directories)
    }

    fn sync_directories(&self, directories: &BTreeSet<(Root, PathBuf)>) -> Result<(), Trouble> {
        if directories.len() > MANY_DIRECTORIES {
            let roots: BTreeSet<Root> = directories.iter().map(|(root, _)| *root).collect();
            for root in roots {
                self.disk.syncfs(root).doing("its filesystem could not be synced", &self.target.path)?;
            }
            return Ok(());
        }
        for (root, path) in directories {
            // one that a later operation removed has nothing to sync
            if exists(self.disk, At::new(*root, path)).doing("could not be looked at", path)? {
                sync_dir(self.disk, At::new(*root, path)).doing("could not be synced", path)?;
            }
        }
        Ok(())
    }

    /// Directories and links.
    fn make(&self, op: &Op<'_>, item: &Item, dirty: &mut Dirty) -> Result<(), Trouble> {
        let at = self.target.entry(op.path);
        match op.what {
            What::Planned(Action::CreateDirectory) => {
                let found =
                    absent_is_none(self.disk.metadata(at)).doing("could not be looked at", op.path)?;
                if found.is_none() {
                    self.disk.mkdir(at, self.plan.directory_mode.0).doing("could not be made", op.path)?;
                }
                dirty.directories.insert((at.root, at.path.to_owned()));
            }
            What::Planned(Action::CreateSymlink { to }) => {
                if exists(self.disk, at).doing("could not be looked at", op.path)? {
                    self.disk.unlink(at).doing("could not be removed", op.path)?;
                }
                self.disk.symlink(to.as_path(), at).doing("could not be made", op.path)?;
            }
            _ => return Ok(()),
        }
        debug_assert!(!matches!(item.before, Before::Moved(_)));
        dirty.name(at);
        Ok(())
    }

    /// Contents of files, by several threads.
    fn write_all(&self, pairs: &[(&Op<'_>, &Item)]) -> Result<Dirty, Trouble> {
        self.in_parallel(pairs, |(op, item), dirty| {
            self.progress.check()?;
            self.write(op, item, dirty)
        })
    }

    /// Does the same with all of them; the first trouble stops the rest.
    fn in_parallel<T: Sync>(
        &self,
        all: &[T],
        one: impl Fn(&T, &mut Dirty) -> Result<(), Trouble> + Sync,
    ) -> Result<Dirty, Trouble> {
        let next = AtomicUsize::new(0);
        let stop = AtomicBool::new(false);
        let result = Mutex::new((Dirty::default(), None::<Trouble>));
        let work = || {
            let mut dirty = Dirty::default();
            let mut trouble = None;
            while !stop.load(Ordering::Relaxed) {
                let Some(this) = all.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
                if let Err(found) = one(this, &mut dirty) {
                    stop.store(true, Ordering::Relaxed);
                    trouble = Some(found);
                }
            }
            let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
            result.0.join(dirty);
            result.1 = result.1.take().or(trouble);
        };
        if self.threads <= 1 || all.len() <= 1 {
            work();
        } else {
            std::thread::scope(|scope| {
                for _ in 0..self.threads.min(all.len()) {
                    scope.spawn(work);
                }
            });
        }
        let (dirty, trouble) = result.into_inner().unwrap_or_else(PoisonError::into_inner);
        trouble.map_or(Ok(dirty), Err)
    }

    fn write(&self, op: &Op<'_>, item: &Item, dirty: &mut Dirty) -> Result<(), Trouble> {
        let at = self.target.entry(op.path);
        match &op.what {
            What::Planned(Action::Copy { size, from }) => {
                let (file, length) = self.file(op, item, at, dirty)?;
                match from {
                    Origin::Source => {
                        let source = self.open_source(op)?;
                        self.copier().whole(op.path, &*source, &*file, *size)?;
                        self.still(op, &*source)?;
                    }
                    Origin::RestoreCommand => {
                        let fetched = fetched::place(self.store, op.path);
                        self.copier().archived(&fetched, op.path, &*file, *size)?;
                    }
                    Origin::Archive(archive) => {
                        self.copier().archived(archive.as_path(), op.path, &*file, *size)?;
                    }
                }
                if length > *size {
                    file.set_len(*size).doing("could not be cut", op.path)?;
                }
                dirty.bytes += size;
            }
            What::Planned(Action::Change { blocks, tail, truncate_to }) => {
                let file = self.disk.open(at, Access::Write).doing("could not be opened", op.path)?;
                let block = u64::from(self.plan.block_size);
                let ranges = blocks
                    .iter()
                    .map(|r| (u64::from(r.first) * block, (u64::from(r.first) + u64::from(r.count)) * block));
                let ranges: Vec<_> = ranges.chain(tail.map(|t| (t.from, t.to))).collect();
                if !ranges.is_empty() {
                    let source = self.open_source(op)?;
                    for range in ranges {
                        self.copier().stretch(op.path, &*source, &*file, range)?;
                        dirty.bytes += range.1 - range.0;
                    }
                    self.still(op, &*source)?;
                }
                if let Some(size) = truncate_to {
                    file.set_len(*size).doing("could not be cut", op.path)?;
                }
            }
            What::Write(_) | What::Append(_) => {
                let written = match &op.what {
                    What::Write(content) => Some(content),
                    _ => item.content.as_ref().map(|content| &content.0),
                };
                let Some(content) = written else {
                    let what = format!("the journal has no content for {}", op.path.display());
                    return Err(Trouble::Store { path: self.store.path.clone(), what });
                };
                let (file, length) = self.file(op, item, at, dirty)?;
                write_all_at(&*file, content, 0).doing("could not be written", op.path)?;
                if length > content.len() as u64 {
                    file.set_len(content.len() as u64).doing("could not be cut", op.path)?;
                }
            }
            What::Planned(_) => return Ok(()),
        }
        dirty.file(at);
        Ok(())
    }

    /// A file whose whole content is to be written: a new one, or the one that is there if it is written in place; and
    /// its length. It is not emptied: a filesystem would give its blocks back, look for new ones, and hurry to write them.
    fn file(
        &self,
        op: &Op<'_>,
        item: &Item,
        at: At<'_>,
        dirty: &mut Dirty,
    ) -> Result<(Box<dyn DiskFile>, u64), Trouble> {
        let in_place = matches!(item.before, Before::Packed { .. } | Before::Unsaved);
        let there = exists(self.disk, at).doing("could not be looked at", op.path)?;
        if there && in_place {
            let file = self.disk.open(at, Access::Write).doing("could not be opened", op.path)?;
            let length = file.metadata().doing("could not be looked at", op.path)?.size;
            return Ok((file, length));
        }
        if there {
            // begun before an interruption
            self.disk.unlink(at).doing("could not be removed", op.path)?;
        }
        let mode = match &item.before {
            Before::Moved(moved) => moved.attributes.mode,
            _ => self.plan.file_mode.0,
        };
        let file = self.disk.create(at, mode).doing("could not be made", op.path)?;
        dirty.name(at);
        if let Before::Moved(moved) = &item.before {
            like(&*file, &moved.attributes).doing("its attributes could not be set", op.path)?;
        }
        Ok((file, 0))
    }

    fn open_source(&self, op: &Op<'_>) -> Result<Box<dyn DiskFile>, Trouble> {
        let at = self.source.entry(op.path);
        let file = absent_is_none(self.disk.open(at, Access::Read))
            .doing("the source's could not be opened", op.path)?;
        let moved = |what: &str| Trouble::SourceMoved { path: op.path.to_owned(), what: what.into() };
        let file = file.ok_or_else(|| moved("it is gone"))?;
        self.still(op, &*file)?;
        Ok(file)
    }

    /// The source's file is still what the plan saw.
    fn still(&self, op: &Op<'_>, file: &dyn DiskFile) -> Result<(), Trouble> {
        let meta = file.metadata().doing("the source's could not be looked at", op.path)?;
        let at = self.source.entry(op.path);
        let difference = match op.source {
            None => None,
            seen => capture::difference(self.disk, at, seen, Some(&meta))
                .doing("the source's could not be looked at", op.path)?,
        };
        difference.map_or(Ok(()), |what| Err(Trouble::SourceMoved { path: op.path.to_owned(), what }))
    }

    /// What is not there any more.
    fn remove(&self, op: &Op<'_>, item: &Item, dirty: &mut Dirty) -> Result<(), Trouble> {
        if !matches!(op.what, What::Planned(Action::Remove)) {
            return Ok(());
        }
        let at = self.target.entry(op.path);
        dirty.name(at);
        if matches!(item.before, Before::Moved(_)) {
            return Ok(());
        }
        let found = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", op.path)?;
        match found.map(|meta| meta.kind) {
            None => Ok(()),
            Some(Kind::Directory) => self.disk.rmdir(at).doing("could not be removed", op.path),
            Some(_) => self.disk.unlink(at).doing("could not be removed", op.path),
        }
    }

    /// Everything that was written reaches the disk; then it need not be done again.
    fn flush(&mut self, next: usize, dirty: &mut Dirty) -> Result<(), Trouble> {
        if self.store.manifest.sync == SyncMethod::None {
            return Ok(());
        }
        let mut what = std::mem::take(dirty);
        let (done, total) = self.progress.bytes();
        self.progress.begin(Phase::Syncing, 0);
        if self.store.manifest.sync == SyncMethod::Syncfs {
            let mut told = BTreeSet::new();
            for root in self.target.roots() {
                self.disk.syncfs(root).doing("its filesystem could not be synced", &self.target.path)?;
                if self.disk.syncfs_tells(root).doing("could not be looked at", &self.target.path)? {
                    told.insert(root);
                }
            }
            what.files.retain(|(root, _)| !told.contains(root));
            what.directories.retain(|(root, _)| !told.contains(root));
        }
        // after the former this finds all on disk, and asks for errors that it did not tell
        self.in_parallel(&what.files, |(root, path), _| {
            match absent_is_none(self.disk.open(At::new(*root, path), Access::Read))
                .doing("could not be opened", path)?
            {
                Some(file) => file.sync().doing("could not be synced", path),
                None => Ok(()),
            }
        })?;
        for (root, path) in &what.directories {
            if exists(self.disk, At::new(*root, path)).doing("could not be looked at", path)? {
                sync_dir(self.disk, At::new(*root, path)).doing("could not be synced", path)?;
            }
        }
        self.store.append(&Record::Performed { operations: next })?;
        self.progress.begin(Phase::Rewinding, total);
        self.progress.advance(done);
        Ok(())
    }

    /// Reads back what was written.
    pub fn read_back(&self) -> Result<(), Trouble> {
        if self.verify == Verify::Nothing {
            return Ok(());
        }
        let total: u64 = self.ops.iter().map(|op| ops::bytes(op, self.plan.block_size)).sum();
        self.progress.begin(Phase::Verifying, total);
        let open = |at, path| self.disk.open(at, Access::Read).doing("could not be read back", path);
        for op in self.ops {
            let at = self.target.entry(op.path);
            match &op.what {
                What::Planned(Action::Copy { size, from: Origin::Source }) => {
                    // lines are appended to this one afterwards
                    if self.plan.standby.as_ref().is_some_and(|s| s.file.as_path() == op.path) {
                        continue;
                    }
                    let (source, file) = (self.open_source(op)?, open(at, op.path)?);
                    let length = file.metadata().doing("could not be read back", op.path)?.size;
                    if length != *size {
                        return Err(Trouble::ReadBack {
                            path: op.path.to_owned(),
                            offset: length.min(*size),
                        });
                    }
                    self.copier().compare(op.path, &*source, &*file, (0, *size))?;
                }
                What::Planned(Action::Change { blocks, tail, .. }) => {
                    let (source, file) = (self.open_source(op)?, open(at, op.path)?);
                    let block = u64::from(self.plan.block_size);
                    for r in blocks {
                        let range =
                            (u64::from(r.first) * block, (u64::from(r.first) + u64::from(r.count)) * block);
                        self.copier().compare(op.path, &*source, &*file, range)?;
                    }
                    if let Some(tail) = tail {
                        self.copier().compare(op.path, &*source, &*file, (tail.from, tail.to))?;
                    }
                }
                What::Write(content) => {
                    let mut found = vec![0; content.len() + 1];
                    let n = read_full_at(&*open(at, op.path)?, &mut found, 0)
                        .doing("could not be read back", op.path)?;
                    if found.get(..n) != Some(content) {
                        return Err(Trouble::ReadBack { path: op.path.to_owned(), offset: 0 });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Holds all relation files of both sides against each other.
    pub fn compare_all(&self, control: &ControlFile) -> Result<(), Trouble> {
        if self.verify != Verify::Everything {
            return Ok(());
        }
        let Self { disk, plan, target, source, progress, threads, .. } = *self;
        let both = Both { disk, plan, target, source, progress, threads };
        both.compare(control, |paths, one| self.in_parallel(paths, |path, _| one(path)).map(|_| ()))
    }

    fn copier(&self) -> Copier<'_> {
        Copier { disk: self.disk, checks: self.checks, progress: self.progress }
    }
}

/// Gives a new file owner, permissions and extended attributes of the one that it replaces.
pub fn like(file: &dyn DiskFile, attributes: &Attributes) -> io::Result<()> {
    let meta = file.metadata()?;
    if (meta.uid, meta.gid) != (attributes.uid, attributes.gid) {
        file.set_owner(attributes.uid, attributes.gid)?;
    }
    let has = file.xattrs()?;
    for xattr in &attributes.xattrs {
        let name = xattr.name.as_path().as_os_str();
        if has.iter().all(|(n, v)| n != name || *v != xattr.value) {
            match file.set_xattr(name, &xattr.value) {
                Err(e) if e.kind() == io::ErrorKind::PermissionDenied && name == SELINUX => {}
                done => done?,
            }
        }
    }
    // after the owner, whose change takes set-user-ID away, and after an ACL, which says something of the group
    if file.metadata()?.mode != attributes.mode {
        file.set_mode(attributes.mode)?;
    }
    Ok(())
}

/// Puts a path in words: the data directory is the empty path.
pub fn shown(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}
