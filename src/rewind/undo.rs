//! The way back. It may be interrupted and begun again at any point, and works on a disk that the rewind has filled:
//! what the rewind added is deleted first.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::apply::{label_now, set_times};
use super::checks;
use super::control;
use super::disk::{
    Access, At, Disk, Kind, Root, absent_is_none, exists, read_full_at, sync_dir, write_all_at,
};
use super::error::{Doing, Failed, Trouble, refuse};
use super::hash;
use super::journal::{Before, Journal, Piece, Record};
use super::manifest::Manifest;
use super::ops::{self, Op};
use super::places::{self, Side};
use super::pointer;
use super::store::{self, FILE_MODE, Store};
use super::work::{like, shown};
use crate::scan::progress::{Phase, Progress};

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Why there is no way back, if there is none.
pub fn impossible(
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
        let plan = store.plan(disk)?;
        let created = places::created_links(&plan);
        let side = Side::open(disk, "target", &plan.target, target, &created, true)?;
        checks::owner(disk, &side)?;
        if !store.journal.restored {
            checks::stopped(disk, &side, "target")?;
            store.give_up_reserve(disk)?;
            store.append(&Record::UndoBegun { at: disk.now() })?;
            begun = true;
            if store.journal.finishing.is_some() {
                control::take_away(disk, &side)?;
            }
            let ops = ops::of(&plan, &store.journal.begin);
            let way = Way { disk, target: &side, store: &store, ops: &ops, progress };
            way.go()?;
            store.append(&Record::Restored)?;
        }
        end(disk, &side, &mut store)?;
        Ok(path)
    })();
    result.map_err(|trouble| Failed { trouble, halfway: begun })
}

/// The control file, the pointer, the last times.
fn end(disk: &dyn Disk, side: &Side, store: &mut Store) -> Result<(), Trouble> {
    control::put_back(disk, side, store)?;
    pointer::remove(disk, side.root, &side.path)?;
    let begin = &store.journal.begin;
    set_times(disk, At::new(side.root, ""), &begin.data_directory)
        .doing("its times could not be set", &side.path)?;
    store.append(&Record::Undone { at: disk.now() })
}

struct Way<'a> {
    disk: &'a dyn Disk,
    target: &'a Side,
    store: &'a Store,
    ops: &'a [Op<'a>],
    progress: &'a Progress,
}

impl Way<'_> {
    fn go(&self) -> Result<(), Trouble> {
        let journal = &self.store.journal;
        let packed = journal.items.iter().map(|item| match &item.before {
            Before::Packed { pieces, .. } => pieces.iter().map(|p| p.length).sum(),
            _ => 0u64,
        });
        self.progress.begin(Phase::Undoing, packed.sum());
        // what lay at a path before its first operation is what counts
        let mut seen = HashSet::new();
        let pairs = self.ops.iter().zip(&journal.items);
        let mut firsts: Vec<(&Path, &Before)> = pairs
            .filter(|(_, item)| !matches!(item.before, Before::Unsaved))
            .filter(|(op, _)| seen.insert(op.path))
            .map(|(op, item)| (op.path, &item.before))
            .collect();
        firsts.reverse();
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
        // last, as names came and went until now
        for directory in &journal.directories {
            let path = directory.path.as_path();
            let at = self.target.directory(path);
            if exists(self.disk, at).doing("could not be looked at", shown(path))? {
                let file = self.disk.open(at, Access::Read).doing("could not be opened", shown(path))?;
                file.set_times(directory.attributes.accessed, directory.attributes.modified)
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
            Before::Moved(_) => match self.store.find_moved(self.disk, path)? {
                Some(from) => self.disk.rename(from, at).doing("could not be moved back", path),
                None if exists(self.disk, at).doing("could not be looked at", path)? => Ok(()),
                None => {
                    let what = format!("{} is neither in it nor in the target", path.display());
                    Err(Trouble::Store { path: self.store.path.clone(), what })
                }
            },
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

    /// Writes a piece of a file back; it is hashed before the first byte of it is written.
    fn put_back(&self, path: &Path, file: &dyn super::disk::DiskFile, piece: &Piece) -> Result<(), Trouble> {
        use sha2::{Digest, Sha256};
        let mut buffer = vec![0; CHUNK.min(piece.length as usize)];
        let damaged = |what: &str| Trouble::Store {
            path: self.store.path.clone(),
            what: format!("what it kept of {} at offset {} {what}", path.display(), piece.offset),
        };
        let mut hasher = Sha256::new();
        for write in [false, true] {
            let mut done = 0;
            while done < piece.length {
                let want = (piece.length - done).min(CHUNK as u64) as usize;
                let chunk = buffer.get_mut(..want).unwrap_or_default();
                let n = read_full_at(self.store.pack(), chunk, piece.at + done)
                    .doing("could not be read", &self.store.path.join("pack"))?;
                if n < want {
                    return Err(damaged("is not all there"));
                }
                if write {
                    write_all_at(file, chunk, piece.offset + done).doing("could not be written", path)?;
                    self.progress.advance(n as u64);
                } else {
                    hasher.update(&*chunk);
                }
                done += n as u64;
            }
            if !write && hash::text(std::mem::take(&mut hasher)) != piece.sha256 {
                return Err(damaged("is damaged: its SHA-256 is another one"));
            }
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
