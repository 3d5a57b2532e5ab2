//! The way back. It may be interrupted and begun again at any point, and works on a disk that the rewind has filled:
//! what the rewind added is deleted first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::apply::{label_now, set_times};
use super::checks;
use super::clone::Return;
use super::control;
use super::disk::{
    Access, At, Disk, Kind, Root, absent_is_none, exists, read_full_at, sync_dir, write_all_at,
};
use super::error::{Doing, Failed, Trouble, refuse};
use super::hash;
use super::journal::{Attributes, Before, Journal, Moved, Piece, Record};
use super::manifest::Manifest;
use super::ops::{self, Op};
use super::places::{self, Side};
use super::pointer;
use super::store::{self, FILE_MODE, Store};
use super::work::{like, shown};
use crate::plan::Plan;
use crate::scan::progress::{Phase, Progress};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;
/// Of many damaged files, so many are named.
const DAMAGED: usize = 5;

/// Why there is no way back, if there is none.
pub fn impossible(
    disk: &dyn Disk,
    root: Root,
    target: &Path,
    manifest: &Manifest,
    journal: &Journal,
) -> Result<Option<String>, Trouble> {
    if manifest.clone.is_some() && journal.discarding.is_none() {
        return Ok(None);
    }
    by_changes(disk, root, target, manifest, journal)
}

/// Why what changed is not enough for the way back, if it is not.
pub fn by_changes(
    disk: &dyn Disk,
    root: Root,
    target: &Path,
    manifest: &Manifest,
    journal: &Journal,
) -> Result<Option<String>, Trouble> {
    if !manifest.undo {
        return Ok(Some("it was carried out with --no-undo, so nothing was kept".into()));
    }
    if journal.discarding.is_some() {
        return Ok(Some("its store is being discarded".into()));
    }
    if journal.restored {
        return Ok(None);
    }
    let Some(bytes) = control::read(disk, root, target)? else { return Ok(None) };
    let now = hash::of(&bytes);
    let Some(finishing) = &journal.finishing else {
        return Ok((now != journal.begin.control_sha256).then(|| {
            "its control file came back from elsewhere, so what lies there now is not what was kept".into()
        }));
    };
    let replayed = "replay has begun on the result: blocks that only the source had changed have arrived by WAL since, \
                    and no store has what was there before";
    if now != finishing.control_sha256 {
        return Ok(Some(replayed.into()));
    }
    // undoing takes it away
    if journal.undo_begun.is_none()
        && label_now(disk, root, target)?.as_ref() != Some(&finishing.label_sha256)
    {
        return Ok(Some(replayed.into()));
    }
    Ok(None)
}

/// Puts the target back. Gives the store's path.
///
/// # Errors
/// With `halfway` true it can be run again.
pub fn undo(
    target: &Path,
    undo_dir: Option<&Path>,
    disk: &dyn Disk,
    progress: &Progress,
) -> Result<PathBuf, Failed> {
    let mut begun = false;
    let result = (|| {
        let found = pointer::find(disk, target, undo_dir)?;
        let path = pointer::required(&found, target)?;
        let _lock = store::lock(disk, At::new(found.root, ""), target)?;
        let mut store = Store::open(disk, &path)?;
        begun = store.journal.undo_begun.is_some() || store.journal.done.is_none();
        if store.journal.undone.is_some() {
            begun = false;
            return Ok(path);
        }
        if let Some(why) = impossible(disk, found.root, target, &store.manifest, &store.journal)? {
            begun = store.journal.done.is_none() && store.journal.undo_begun.is_none();
            return refuse(format!(
                "{} cannot be put back: {why}. If the result is of no use, make a new copy of the source.",
                target.display()
            ));
        }
        let by_clone = store.journal.by_clone
            || store.early().is_some()
            || by_changes(disk, found.root, target, &store.manifest, &store.journal)?.is_some();
        let plan = store.plan(disk)?;
        let created = places::created_links(&plan);
        let side = Side::open(disk, "target", &plan.target, target, &created, true)?;
        checks::owner(disk, &side)?;
        if !store.journal.restored {
            checks::stopped(disk, &side, "target")?;
            let ops = ops::of(&plan, &store.journal.begin);
            let by = if by_clone { Some((store.clone_places(disk)?, made_by(&plan))) } else { None };
            match (&by, &store.manifest.clone) {
                (Some((places, made)), Some(note)) => {
                    Return { disk, target: &side, places, store: &store, made, progress }.whole(note)?;
                }
                _ => Way { disk, target: &side, store: &store, ops: &ops, progress }.whole()?,
            }
            control::kept(disk, &side, &store)?;
            store.give_up_reserve(disk)?;
            if by_clone {
                // first: from what undoing leaves it could not be told any more
                store.append(&Record::ByClone)?;
            }
            store.append(&Record::UndoBegun { at: disk.now() })?;
            begun = true;
            if by_clone || store.journal.finishing.is_some() {
                control::take_away(disk, &side)?;
            }
            match (&by, &store.manifest.clone) {
                (Some((places, made)), Some(note)) => {
                    Return { disk, target: &side, places, store: &store, made, progress }.go(note)?;
                }
                _ => Way { disk, target: &side, store: &store, ops: &ops, progress }.go()?,
            }
            store.append(&Record::Restored)?;
        }
        end(disk, &side, &mut store)?;
        Ok(path)
    })();
    result.map_err(|trouble| Failed { trouble, halfway: begun })
}

/// Paths of a plan.
fn made_by(plan: &Plan) -> Vec<PathBuf> {
    plan.entries.iter().map(|entry| entry.path.as_path().to_owned()).collect()
}

/// The control file, the pointer, the last times.
fn end(disk: &dyn Disk, side: &Side, store: &mut Store) -> Result<(), Trouble> {
    control::put_back(disk, side, store)?;
    pointer::remove(disk, side.root, &side.path)?;
    let directory = store.early().map_or(&store.journal.begin.data_directory, |early| &early.data_directory);
    set_times(disk, At::new(side.root, ""), directory).doing("its times could not be set", &side.path)?;
    store.append(&Record::Undone { at: disk.now() })
}

struct Way<'a> {
    disk: &'a dyn Disk,
    target: &'a Side,
    store: &'a Store,
    ops: &'a [Op<'a>],
    progress: &'a Progress,
}

/// Bytes of it that lie in the pack.
fn packed(before: &Before) -> u64 {
    match before {
        Before::Packed { pieces, .. } => pieces.iter().map(|p| p.length).sum(),
        _ => 0,
    }
}

impl Way<'_> {
    /// What was kept, the last first. What lay at a path before its first operation is what counts.
    fn firsts(&self) -> Vec<(&Path, &Before)> {
        let mut seen = HashSet::new();
        let pairs = self.ops.iter().zip(&self.store.journal.items);
        let mut firsts: Vec<(&Path, &Before)> = pairs
            .filter(|(_, item)| !matches!(item.before, Before::Unsaved))
            .filter(|(op, _)| seen.insert(op.path))
            .map(|(op, item)| (op.path, &item.before))
            .collect();
        firsts.reverse();
        firsts
    }

    /// Refuses, before anything is changed, where something that was kept is not what it was.
    fn whole(&self) -> Result<(), Trouble> {
        let firsts = self.firsts();
        let bytes = |before: &Before| match before {
            Before::Moved(moved) if moved.sha256.is_some() => moved.size,
            other => packed(other),
        };
        self.progress.begin(Phase::Verifying, firsts.iter().map(|(_, before)| bytes(before)).sum());
        let mut damaged = Vec::new();
        for (path, before) in &firsts {
            self.progress.check()?;
            let what = match before {
                Before::Moved(moved) => self.moved_differs(path, moved)?,
                Before::Packed { pieces, .. } => self.pieces_differ(pieces)?,
                _ => None,
            };
            damaged.extend(what.map(|what| format!("{}: {what}", path.display())));
            self.progress.advance(bytes(before));
        }
        if damaged.is_empty() {
            return Ok(());
        }
        let count = damaged.len();
        damaged.truncate(DAMAGED);
        let more = if count > DAMAGED { format!(" and {} more", count - DAMAGED) } else { String::new() };
        let what = format!(
            "what it kept is not what it was, and nothing was put back: {}{more}. Put the right files back into it if \
             another copy has them",
            damaged.join("; ")
        );
        Err(Trouble::Store { path: self.store.path.clone(), what })
    }

    /// How a moved file, in the store or back already, differs from what it was.
    fn moved_differs(&self, path: &Path, moved: &Moved) -> Result<Option<String>, Trouble> {
        if let Some(at) = self.store.find_moved(self.disk, path)? {
            return self.differs(path, at, moved);
        }
        // not moved yet, or back already
        let at = self.target.entry(path);
        let there = exists(self.disk, at).doing("could not be looked at", path)?;
        if there && self.differs(path, at, moved)?.is_none() {
            return Ok(None);
        }
        Ok(Some(if there {
            "it is not in the store any more, and what the target has there is another file".into()
        } else {
            "it is neither in the store nor in the target".into()
        }))
    }

    fn differs(&self, path: &Path, at: At<'_>, moved: &Moved) -> Result<Option<String>, Trouble> {
        let found = self.disk.metadata(at).doing("could not be looked at", path)?;
        if found.size != moved.size {
            return Ok(Some(format!("{} bytes, expected {}", found.size, moved.size)));
        }
        let Some(sha256) = &moved.sha256 else {
            let same = (found.inode, found.modified) == (moved.inode, moved.attributes.modified);
            return Ok((!same).then(|| "another file, or changed since it was moved".into()));
        };
        let file = self.disk.open(at, Access::Read).doing("could not be opened", path)?;
        let now = hash::of_stretch(&*file, 0, moved.size, self.progress).doing("could not be read", path)?;
        self.progress.check()?;
        Ok((now.as_ref() != Some(sha256)).then(|| "damaged: its SHA-256 is another one".into()))
    }

    /// How what lies in the pack differs from what was put there.
    fn pieces_differ(&self, pieces: &[Piece]) -> Result<Option<String>, Trouble> {
        for piece in pieces {
            let now = hash::of_stretch(self.store.pack(), piece.at, piece.length, self.progress)
                .doing("could not be read", &self.store.path.join("pack"))?;
            self.progress.check()?;
            if now.as_ref() != Some(&piece.sha256) {
                return Ok(Some(format!(
                    "damaged in the store's pack from offset {} on: its SHA-256 is another one",
                    piece.at
                )));
            }
        }
        Ok(None)
    }

    fn go(&self) -> Result<(), Trouble> {
        let journal = &self.store.journal;
        let firsts = self.firsts();
        self.progress.begin(Phase::Undoing, firsts.iter().map(|(_, before)| packed(before)).sum());
        for (path, before) in &firsts {
            self.progress.check()?;
            self.give_up(path, before)?;
        }
        // directories are safe before a file lies in them that lies nowhere else
        let (directories, others): (Vec<_>, Vec<_>) =
            firsts.iter().copied().partition(|(_, before)| matches!(before, Before::Directory(_)));
        for part in [directories, others] {
            for (path, before) in &part {
                self.progress.check()?;
                self.restore(path, before)?;
            }
            self.sync(&part)?;
        }
        // last, as names came and went until now; one that was removed had its names removed before
        let known: HashSet<&Path> = journal.directories.iter().map(|d| d.path.as_path()).collect();
        let removed = firsts.iter().filter_map(|(path, before)| match before {
            Before::Directory(attributes) if !known.contains(path) => Some((*path, attributes)),
            _ => None,
        });
        let changed = journal.directories.iter().map(|d| (d.path.as_path(), &d.attributes));
        for (path, attributes) in changed.chain(removed) {
            let at = self.target.directory(path);
            if exists(self.disk, at).doing("could not be looked at", shown(path))? {
                let file = self.disk.open(at, Access::Read).doing("could not be opened", shown(path))?;
                file.set_times(attributes.accessed, attributes.modified)
                    .doing("its times could not be set", shown(path))?;
            }
        }
        self.sync_filesystems()
    }

    /// One call for each filesystem: the times of many directories, synced one by one, would take minutes.
    fn sync_filesystems(&self) -> Result<(), Trouble> {
        for root in self.target.roots() {
            self.disk.syncfs(root).doing("its filesystem could not be synced", &self.target.path)?;
        }
        Ok(())
    }

    /// Removes what the rewind added.
    fn give_up(&self, path: &Path, before: &Before) -> Result<(), Trouble> {
        let at = self.target.entry(path);
        let found = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", path)?;
        match (before, found) {
            (Before::Absent, Some(meta)) if meta.kind == Kind::Directory => {
                self.disk.rmdir(at).doing("could not be removed", path)
            }
            (Before::Absent, Some(_)) => self.disk.unlink(at).doing("could not be removed", path),
            (Before::Packed { size, .. }, Some(meta)) if meta.size > *size => {
                let file = self.disk.open(at, Access::Write).doing("could not be opened", path)?;
                file.set_len(*size).doing("could not be cut", path)
            }
            _ => Ok(()),
        }
    }

    /// Puts back what was there.
    fn restore(&self, path: &Path, before: &Before) -> Result<(), Trouble> {
        let at = self.target.entry(path);
        match before {
            Before::Moved(moved) => {
                if let Some(from) = self.store.find_moved(self.disk, path)? {
                    self.disk.rename(from, at).doing("could not be moved back", path)?;
                }
                let Attributes { accessed, modified, .. } = moved.attributes;
                let meta = self.disk.metadata(at).doing("could not be looked at", path)?;
                // reading it to hash it has changed when it was last read
                if meta.kind == Kind::File && (meta.accessed, meta.modified) != (accessed, modified) {
                    let file = self.disk.open(at, Access::Read).doing("could not be opened", path)?;
                    file.set_times(accessed, modified).doing("its times could not be set", path)?;
                }
                Ok(())
            }
            Before::Directory(attributes) => {
                if !exists(self.disk, at).doing("could not be looked at", path)? {
                    self.disk.mkdir(at, attributes.mode).doing("could not be made", path)?;
                }
                let file = self.disk.open(at, Access::Read).doing("could not be opened", path)?;
                like(&*file, attributes).doing("its attributes could not be set", path)
            }
            Before::Link(to) => {
                if exists(self.disk, at).doing("could not be looked at", path)? {
                    return Ok(());
                }
                self.disk.symlink(to.as_path(), at).doing("could not be made", path)
            }
            Before::Packed { attributes, size, pieces } => {
                let file = if exists(self.disk, at).doing("could not be looked at", path)? {
                    self.disk.open(at, Access::Write).doing("could not be opened", path)?
                } else {
                    let file = self.disk.create(at, FILE_MODE).doing("could not be made", path)?;
                    like(&*file, attributes).doing("its attributes could not be set", path)?;
                    file
                };
                for piece in pieces {
                    self.put_back(path, &*file, piece)?;
                }
                file.set_len(*size).doing("could not be cut", path)?;
                file.set_times(attributes.accessed, attributes.modified)
                    .doing("its times could not be set", path)
            }
            Before::Absent | Before::Unsaved => Ok(()),
        }
    }

    /// Writes a piece of a file back.
    fn put_back(&self, path: &Path, file: &dyn super::disk::DiskFile, piece: &Piece) -> Result<(), Trouble> {
        let mut buffer = vec![0; CHUNK.min(piece.length as usize)];
        let mut done = 0;
        while done < piece.length {
            let want = (piece.length - done).min(CHUNK as u64) as usize;
            let chunk = buffer.get_mut(..want).unwrap_or_default();
            let n = read_full_at(self.store.pack(), chunk, piece.at + done)
                .doing("could not be read", &self.store.path.join("pack"))?;
            if n < want {
                let what = format!("what it kept of {} is not all there", path.display());
                return Err(Trouble::Store { path: self.store.path.clone(), what });
            }
            write_all_at(file, chunk, piece.offset + done).doing("could not be written", path)?;
            self.progress.advance(n as u64);
            done += n as u64;
        }
        Ok(())
    }

    /// All of it reaches the disk.
    fn sync(&self, firsts: &[(&Path, &Before)]) -> Result<(), Trouble> {
        if firsts.is_empty() {
            return Ok(());
        }
        self.sync_filesystems()?;
        let mut done = HashSet::new();
        for (path, before) in firsts {
            let at = self.target.entry(path);
            if let Before::Packed { .. } = before {
                let file = self.disk.open(at, Access::Read).doing("could not be opened", path)?;
                file.sync().doing("could not be synced", path)?;
            }
            let parent = path.parent().unwrap_or(Path::new(""));
            let above = self.target.directory(parent);
            if done.insert(parent)
                && exists(self.disk, above).doing("could not be looked at", shown(parent))?
            {
                sync_dir(self.disk, above).doing("could not be synced", shown(parent))?;
            }
        }
        Ok(())
    }
}

/// Removes the store of a finished or undone rewind, and the pointer to it: after that there is no way back.
pub fn discard(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<PathBuf, Failed> {
    let result = (|| {
        let found = pointer::find(disk, target, undo_dir)?;
        let path = pointer::required(&found, target)?;
        let _lock = store::lock(disk, At::new(found.root, ""), target)?;
        let mut store = Store::open(disk, &path)?;
        let journal = &store.journal;
        let ended = journal.done.is_some() && journal.undo_begun.is_none() || journal.undone.is_some();
        if !ended && journal.discarding.is_none() {
            return refuse(format!(
                "the rewind of {0} is half-way, and without its store the directory would be lost. Go on with \
                 forkpoint resume {0}, or back with forkpoint undo {0}.",
                target.display()
            ));
        }
        store.append(&Record::Discarding { at: disk.now() })?;
        pointer::remove(disk, found.root, target)?;
        store.remove(disk)?;
        Ok(path)
    })();
    result.map_err(Failed::before)
}
