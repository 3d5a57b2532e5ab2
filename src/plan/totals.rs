//! Sums over the entries, and what each filesystem has to take.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::pg::BLOCK_SIZE;
use crate::source::trees::{Kind, Tree};

use super::model::{Action, Count, Entry, Filesystem, Totals, Why};
use super::options::PlanOptions;
use super::path::{PlanPath, RelPath};

/// Files of 8 KB that are written beside the entries: pg_control, backup_label, their preimages.
const BESIDE: u64 = 64 << 10;

/// A directory of the target at which another filesystem may begin.
struct Root {
    at: PathBuf,
    device: u64,
}

/// Adds everything up.
pub fn of(entries: &[Entry], unchanged: Count, target: (&Path, &Tree), options: &PlanOptions) -> Totals {
    let mut totals = Totals { unchanged, ..Totals::default() };
    let roots = roots(entries, target, options);
    for root in &roots {
        let known = roots.iter().take_while(|r| r.at != root.at).any(|r| r.device == root.device);
        if !known {
            totals.filesystems.push(Filesystem {
                at: PlanPath::from(root.at.as_path()),
                written: 0,
                needed: 0,
                needed_with_undo: 0,
            });
        }
    }
    let add = |count: &mut Count, bytes: u64| {
        count.files += 1;
        count.bytes += bytes;
    };
    for entry in entries {
        let old = entry.target.as_ref().map_or(0, |seen| seen.size);
        // written; more than before; more while what was before is kept too
        let (mut written, mut grows, mut with_undo) = (0, 0, 0);
        match &entry.action {
            Action::Keep => totals.kept += 1,
            Action::CreateDirectory | Action::CreateSymlink { .. } => {
                totals.created += 1;
                with_undo = BLOCK_SIZE as u64;
                grows = BLOCK_SIZE as u64;
            }
            Action::Copy { size, .. } => {
                let wal = matches!(entry.why, Why::Wal | Why::MissingWal);
                add(if wal { &mut totals.wal } else { &mut totals.copied }, *size);
                written = *size;
                grows = size.saturating_sub(old);
                with_undo = *size;
            }
            Action::Change { blocks, tail, truncate_to } => {
                let changed: u64 = blocks.iter().map(|b| u64::from(b.count)).sum::<u64>() * BLOCK_SIZE as u64;
                if changed > 0 {
                    add(&mut totals.blocks, changed);
                }
                written += changed;
                with_undo += changed;
                if let Some(tail) = tail {
                    add(&mut totals.tails, tail.to - tail.from);
                    written += tail.to - tail.from;
                    grows += tail.to.saturating_sub(old);
                    with_undo += tail.to - tail.from;
                }
                if let Some(to) = truncate_to {
                    add(&mut totals.truncated, old.saturating_sub(*to));
                    with_undo += old.saturating_sub(*to);
                }
            }
            // moved into the store
            Action::Remove => add(&mut totals.removed, old),
        }
        let at = root_of(&entry.path, &roots);
        if let Some(filesystem) = totals.filesystems.iter_mut().find(|f| f.at.as_path() == at) {
            filesystem.written += written;
            filesystem.needed += grows;
            filesystem.needed_with_undo += with_undo;
        }
    }
    if let Some(first) = totals.filesystems.first_mut() {
        first.written += 2 * BLOCK_SIZE as u64;
        first.needed += BESIDE;
        first.needed_with_undo += BESIDE;
    }
    totals
}

/// The data directory, its WAL directory and tablespaces, old and new, each with its device.
fn roots(entries: &[Entry], (target, tree): (&Path, &Tree), options: &PlanOptions) -> Vec<Root> {
    let device = |path: &Path| path.metadata().ok().map(|m| m.dev());
    let mut roots = Vec::new();
    let mut add = |at: &Path, path: &Path| {
        if let Some(device) = device(path) {
            roots.push(Root { at: at.to_owned(), device });
        }
    };
    add(Path::new(""), target);
    add(Path::new("pg_wal"), &target.join("pg_wal"));
    for (at, _) in tablespaces(tree) {
        add(at, &target.join(at));
    }
    for entry in entries {
        if let Action::CreateSymlink { to } = &entry.action
            && options.tablespace_mapping.iter().any(|m| m.new == *to)
        {
            add(entry.path.as_path(), to.as_path());
        }
    }
    roots
}

/// The filesystem that a path lies on, by the first directory of it.
fn root_of<'a>(path: &RelPath, roots: &'a [Root]) -> &'a Path {
    let root = roots.iter().rev().find(|r| path.as_path().starts_with(&r.at));
    let first = root.and_then(|root| roots.iter().find(|r| r.device == root.device));
    first.map_or(Path::new(""), |r| &r.at)
}

/// The links of a data directory's tablespaces, by path: where they lie and what they say.
pub fn tablespaces(tree: &Tree) -> impl Iterator<Item = (&Path, &Path)> {
    let links = tree.iter().filter(|e| e.kind == Kind::Symlink && RelPath::may_be_link(e.path));
    links.filter_map(|e| Some((e.path, e.link?)))
}
