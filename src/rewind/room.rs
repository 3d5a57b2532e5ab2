//! Room on every filesystem that a rewind writes to, the undo store's included, looked at before anything is written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::apply::Options;
use super::clone::{Keep, Maker};
use super::disk::{At, Disk, Root};
use super::error::{Doing, Trouble, refuse};
use super::ops::{self, Op, What};
use super::places::Side;
use super::store;
use crate::plan::Plan;
use crate::plan::model::{Action, Kind};
use crate::scan::progress::Progress;
use crate::source::space::free;

/// What a directory entry takes on disk, at most, in bytes.
const ENTRY: u64 = 4096;
/// What the journal takes for one operation; more for many block ranges.
const RECORD: u64 = 600;
/// What the store has beside plan, journal and preimages: the reserve, the control file, the report of a usual length.
const BESIDE: u64 = 4 << 20;

/// A filesystem without room for the undo store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Where on it.
    pub at: PathBuf,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are needed.
    pub needed: u64,
}

/// The first filesystem of the target that has no room for the rewind with an undo store on it, and for `more` bytes by
/// the filesystem's place within the target.
pub fn lacking(plan: &Plan, target: &Path, more: &BTreeMap<PathBuf, u64>) -> Option<Lack> {
    plan.totals.filesystems.iter().find_map(|filesystem| {
        let at = target.join(filesystem.at.as_path());
        let more = more.get(filesystem.at.as_path()).copied().unwrap_or_default();
        let needed = filesystem.needed_with_undo.saturating_add(more);
        let (_, free) = free(&at, &[]).into_iter().next().filter(|(_, free)| *free < needed)?;
        Some(Lack { at, free, needed })
    })
}

/// What a filesystem has to take.
struct Need {
    root: Root,
    path: PathBuf,
    device: u64,
    bytes: u64,
}

/// The needs of all filesystems.
struct Needs<'a> {
    disk: &'a dyn Disk,
    all: Vec<Need>,
}

impl Needs<'_> {
    fn add(&mut self, root: Root, path: &Path, bytes: u64) -> Result<(), Trouble> {
        let meta = self.disk.metadata(At::new(root, "")).doing("could not be looked at", path)?;
        match self.all.iter_mut().find(|need| need.device == meta.device) {
            Some(need) => need.bytes += bytes,
            None => self.all.push(Need { root, path: path.to_owned(), device: meta.device, bytes }),
        }
        Ok(())
    }
}

/// Refuses where a filesystem has less room than the rewind needs on it. `store` is the directory that the store is made
/// in.
pub fn check(
    disk: &dyn Disk,
    plan: &Plan,
    target: &Side,
    store: (Root, &Path),
    ops: &[Op<'_>],
    options: &Options,
    progress: &Progress,
) -> Result<(), Trouble> {
    let undo = options.undo;
    // of each directory of the target: what it takes, and whether its files are moved into the store or copied there
    let mut places: Vec<(Root, bool, u64)> = Vec::new();
    let mut kept = 0;
    for op in ops {
        let root = target.entry(op.path).root;
        let known = places.iter().position(|(known, ..)| *known == root);
        let n = if let Some(n) = known {
            n
        } else {
            places.push((root, undo && moves(disk, target, store.0, root)?, 0));
            places.len() - 1
        };
        let Some((_, moved, takes)) = places.get_mut(n) else { continue };
        let (grows, packed) = needs(op, plan.block_size, *moved);
        *takes += grows;
        kept += packed;
    }
    let mut needs = Needs { disk, all: Vec::new() };
    for (root, _, takes) in &places {
        let link = target.links.iter().find(|(_, behind)| behind == root).map(|(link, _)| link.as_path());
        needs.add(*root, &target.path.join(link.unwrap_or(Path::new(""))), *takes)?;
    }
    // the plan lies in the store too
    let records = ops.len() as u64 * 2 * RECORD + BESIDE;
    needs.add(store.0, store.1, records + if undo { kept } else { 0 })?;
    let copy = undo && options.keep == Keep::Copy;
    if copy {
        for (root, bytes) in (Maker { disk, target, threads: 1, progress }).sizes()? {
            // a part of the store lies beside what a link leads to, where there is no renaming into the store itself
            let beside = moves(disk, target, store.0, root)?
                && !disk.same_mount(store.0, root).doing("could not be looked at", &target.path)?;
            needs.add(if beside { root } else { store.0 }, store.1, bytes)?;
        }
    }
    for need in &needs.all {
        let free = disk.free(need.root).doing("its free space could not be asked", &need.path)?;
        if free < need.bytes {
            let with = if undo { " with the undo store" } else { "" };
            let without = match (undo, copy) {
                (false, _) => "",
                (true, false) => ", or do without the way back with --no-undo",
                (true, true) => ", or keep only what changes with --undo=changes",
            };
            return refuse(format!(
                "the filesystem of {} has {} MiB free, and the rewind{with} needs {} MiB there. Make room, give a directory \
                 for the undo store on another filesystem with --undo-dir{without}.",
                need.path.display(),
                free >> 20,
                need.bytes.div_ceil(1 << 20),
            ));
        }
    }
    Ok(())
}

/// Whether files below one of the target's directories are renamed into the store or an annex of it.
fn moves(disk: &dyn Disk, target: &Side, store: Root, root: Root) -> Result<bool, Trouble> {
    if disk.same_mount(store, root).doing("could not be looked at", &target.path)? {
        return Ok(true);
    }
    let link = target.links.iter().find(|(_, behind)| *behind == root);
    Ok(match link {
        Some((link, behind)) => store::annex_place(disk, target, link, *behind)?.is_some(),
        None => false,
    })
}

/// By how many bytes the target grows, and how many are copied into the store.
fn needs(op: &Op<'_>, block_size: u32, moved: bool) -> (u64, u64) {
    let old = op.target.filter(|seen| seen.kind == Kind::File).map_or(0, |seen| seen.size);
    match &op.what {
        What::Planned(Action::Copy { size, .. }) if moved => (*size, 0),
        What::Planned(Action::Copy { size, .. }) => (size.saturating_sub(old), old),
        What::Planned(Action::Change { blocks, tail, truncate_to }) => {
            let blocks: u64 = blocks.iter().map(|r| u64::from(r.count) * u64::from(block_size)).sum();
            let overlap = tail.map_or(0, |t| t.to.min(old).saturating_sub(t.from));
            let cut = truncate_to.map_or(0, |to| old.saturating_sub(to));
            (tail.map_or(0, |t| t.to.saturating_sub(old)), blocks + overlap + cut)
        }
        What::Planned(Action::Remove) if !moved => (0, old),
        What::Planned(Action::CreateDirectory | Action::CreateSymlink { .. }) => (ENTRY, 0),
        What::Planned(_) => (0, 0),
        What::Write(_) | What::Append(_) => (ops::bytes(op, block_size) + ENTRY, 2 * ENTRY),
    }
}
