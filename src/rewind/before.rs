//! What a data directory was before it was rewound, read from its store: where each file's content lies now. Nothing is
//! changed by this.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::clone;
use super::control;
use super::disk::{Access, At, Disk, Kind, Root, absent_is_none, exists, read_full_at, read_small};
use super::error::{Doing, Trouble, refuse};
use super::journal::{Before as Kept, Journal, Piece};
use super::manifest::{Manifest, POINTER};
use super::ops;
use super::places::{self, Side};
use super::store::{self, PLAN_LIMIT};
use super::undo;
use super::work::shown;
use crate::pg::{BLOCK_SIZE, Lsn, page};
use crate::plan::Plan;
use crate::source::trees::relation_file;

/// Catalogs that names of relations and rows of tables are read with, by the number that their files have unless they
/// were rewritten: pg_type, pg_attribute, pg_class, pg_namespace, pg_index, pg_enum, pg_range (catalog/*.h).
const CATALOGS: [u32; 7] = [1247, 1249, 1259, 2615, 2610, 3501, 3541];
/// And in `global`: pg_tablespace, pg_database.
const SHARED: [u32; 2] = [1213, 1262];
/// From this number on relations are users' (`FirstNormalObjectId`, access/transam.h).
const FIRST_NORMAL: u32 = 16384;

/// Where an entry's content lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A directory.
    Directory,
    /// A link and its text.
    Link(PathBuf),
    /// All of it in this file.
    File(PathBuf),
    /// In this file, but for pieces that lie in the pack; so many bytes in all.
    Patched {
        /// The file as it is now, if it is there.
        now: Option<PathBuf>,
        /// Length in bytes.
        size: u64,
        /// What was there before, by place in the file and in the pack.
        pieces: Vec<Piece>,
    },
}

/// A data directory as it was.
#[derive(Debug)]
pub enum Before {
    /// A complete clone of it.
    Clone(PathBuf),
    /// Parts.
    Parts(Parts),
}

/// The parts of a data directory.
#[derive(Debug)]
pub struct Parts {
    /// Every entry by its path; what lies behind links below the link's path.
    pub entries: BTreeMap<PathBuf, Origin>,
    /// Links that lead to a directory whose entries are among them.
    pub links: HashSet<PathBuf>,
    /// The file that holds pieces.
    pub pack: PathBuf,
}

/// Whether a directory is an undo store.
pub fn is_store(path: &Path, disk: &dyn Disk) -> bool {
    let Ok(root) = disk.open_root(path) else { return false };
    let there = |name: &str| exists(disk, At::new(root, name)).unwrap_or_default();
    there("manifest.json") && there("journal") && !there("PG_VERSION")
}

/// Finds out where everything lies.
///
/// # Errors
/// The store or the directory that it is of cannot be read; or it does not have what was there any more.
pub fn before(path: &Path, disk: &dyn Disk) -> Result<Before, Trouble> {
    let root = disk.open_root(path).doing("could not be opened", path)?;
    let (manifest, journal) = store::read(disk, root, path)?;
    let target = manifest.target.as_path();
    let data = target.display();
    if journal.discarding.is_some() {
        return refuse(format!("{} is being discarded: what it had is gone", path.display()));
    }
    if journal.undone.is_some() {
        return refuse(format!("the rewind was undone: {data} is what it was before. Give that directory."));
    }
    if journal.undo_begun.is_some() {
        return refuse(format!("undoing the rewind is half-way. Finish it with forkpoint undo {data}."));
    }
    if manifest.clone.is_some() {
        return Ok(Before::Clone(path.join(clone::DIRECTORY)));
    }
    if !manifest.undo {
        return refuse("the rewind was carried out with --no-undo, so nothing was kept".to_owned());
    }
    let bytes = read_small(disk, At::new(root, "plan.json"), PLAN_LIMIT)
        .doing("could not be read", &path.join("plan.json"))?;
    let plan = Plan::from_json(&bytes)
        .map_err(|e| Trouble::Store { path: path.to_owned(), what: format!("plan.json: {e}") })?;
    let created = places::created_links(&plan);
    let side = Side::open(disk, "target", &plan.target, target, &created, true)?;
    let mut reading = Reading {
        disk,
        side: &side,
        plan: &plan,
        store: path,
        manifest: &manifest,
        found: BTreeMap::new(),
        times: BTreeMap::new(),
    };
    reading.list(Path::new(""))?;
    let gone = reading.kept(&journal)?;
    if undo::by_changes(disk, side.root, target, &manifest, &journal)?.is_some() {
        reading.without_newer(journal.done.unwrap_or(journal.begin.at), &gone);
        reading.unreplayed(plan.divergence.lsn)?;
    }
    let links = reading.links();
    let Reading { found: entries, .. } = reading;
    Ok(Before::Parts(Parts { entries, links, pack: path.join("pack") }))
}

struct Reading<'a> {
    disk: &'a dyn Disk,
    side: &'a Side,
    plan: &'a Plan,
    store: &'a Path,
    manifest: &'a Manifest,
    found: BTreeMap<PathBuf, Origin>,
    /// Of files that are in the target, when they were changed.
    times: BTreeMap<PathBuf, i64>,
}

impl Reading<'_> {
    /// Where an entry of the target lies, its links resolved.
    fn real(&self, path: &Path) -> PathBuf {
        let state = &self.plan.target;
        let wal = state.wal_directory.as_ref().map(|to| (Path::new("pg_wal"), to.as_path()));
        let spaces = state.tablespaces.iter().map(|space| (space.path.as_path(), space.to.as_path()));
        for (link, to) in wal.into_iter().chain(spaces) {
            if let Ok(rest) = path.strip_prefix(link)
                && self.side.behind(link).is_some()
            {
                let above = self.side.path.join(link);
                return above.parent().map_or_else(|| to.to_owned(), |p| p.join(to)).join(rest);
            }
        }
        self.side.path.join(path)
    }

    fn links(&self) -> HashSet<PathBuf> {
        self.side.links.iter().map(|(link, _)| link.clone()).filter(|l| self.found.contains_key(l)).collect()
    }

    /// The target as it is now.
    fn list(&mut self, path: &Path) -> Result<(), Trouble> {
        let names = self.disk.list(self.side.directory(path)).doing("could not be listed", shown(path))?;
        for name in names {
            let path = path.join(name);
            let at = self.side.entry(&path);
            let found = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", &path)?;
            let Some(meta) = found else { continue };
            let origin = match meta.kind {
                Kind::File => {
                    self.times.insert(path.clone(), meta.modified.0);
                    Origin::File(self.real(&path))
                }
                Kind::Directory => Origin::Directory,
                Kind::Symlink => Origin::Link(self.disk.read_link(at).doing("could not be read", &path)?),
                Kind::Other => continue,
            };
            let descend = origin == Origin::Directory || self.side.behind(&path).is_some();
            self.found.insert(path.clone(), origin);
            if descend {
                self.list(&path)?;
            }
        }
        Ok(())
    }

    /// The target as it was, as far as the store has it. Gives the paths that it spoke of.
    fn kept(&mut self, journal: &Journal) -> Result<HashSet<PathBuf>, Trouble> {
        let ops = ops::of(self.plan, &journal.begin);
        let mut seen = HashSet::new();
        for (op, item) in ops.iter().zip(&journal.items) {
            if matches!(item.before, Kept::Unsaved) || !seen.insert(op.path.to_owned()) {
                continue;
            }
            let origin = match &item.before {
                Kept::Moved(_) => {
                    let Some(origin) = self.moved(op.path)? else { continue };
                    origin
                }
                Kept::Packed { size, pieces, .. } => {
                    let now = matches!(self.found.get(op.path), Some(Origin::File(_)));
                    let now = now.then(|| self.real(op.path));
                    Origin::Patched { now, size: *size, pieces: pieces.clone() }
                }
                Kept::Link(to) => Origin::Link(to.as_path().to_owned()),
                Kept::Directory(_) => Origin::Directory,
                Kept::Absent | Kept::Unsaved => {
                    self.found.retain(|path, _| !path.starts_with(op.path));
                    continue;
                }
            };
            self.found.insert(op.path.to_owned(), origin);
        }
        let mine = [POINTER, control::ASIDE, control::NEW, "forkpoint.state.new"];
        for name in mine {
            self.found.remove(Path::new(name));
        }
        let control = PathBuf::from(control::CONTROL);
        self.found.insert(control.clone(), Origin::File(self.store.join("pg_control")));
        seen.insert(control);
        Ok(seen)
    }

    /// A file that was moved into the store or one of its annexes; one that was only going to be moved is in the target.
    fn moved(&self, path: &Path) -> Result<Option<Origin>, Trouble> {
        let annexes = self.manifest.annexes.iter().map(|annex| annex.path.as_path());
        for place in annexes.chain([self.store]) {
            let place = place.join("moved");
            let root: Root = self.disk.open_root(&place).doing("could not be opened", &place)?;
            let at = At::new(root, path);
            match absent_is_none(self.disk.metadata(at)).doing("could not be looked at", path)? {
                Some(meta) if meta.kind == Kind::File => return Ok(Some(Origin::File(place.join(path)))),
                Some(meta) if meta.kind == Kind::Symlink => {
                    return Ok(Some(Origin::Link(self.disk.read_link(at).doing("could not be read", path)?)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    /// Leaves out what a server made or changed beside relations.
    fn without_newer(&mut self, done: i64, kept: &HashSet<PathBuf>) {
        let times = &self.times;
        self.found.retain(|path, origin| {
            kept.contains(path)
                || !matches!(origin, Origin::File(_))
                || relation_file(path).is_some()
                || times.get(path).is_none_or(|time| *time <= done)
        });
    }

    /// Refuses where replay has changed what is needed to name relations and columns.
    fn unreplayed(&self, divergence: Lsn) -> Result<(), Trouble> {
        let databases = self.found.keys().filter(|path| {
            path.parent() == Some(Path::new("base")) && path.file_name().is_some_and(|n| n != "pgsql_tmp")
        });
        let mut files: Vec<PathBuf> = SHARED.iter().map(|n| format!("global/{n}").into()).collect();
        for database in databases {
            files.extend(CATALOGS.iter().map(|n| database.join(n.to_string())));
        }
        let changed = |path: &Path, what: &str| {
            refuse(format!(
                "{}: {what}. Without the catalogs as they were the rows that {} lost cannot be told apart from those that \
                 the source made. Its WAL is whole: forkpoint waldump reads it in {}. Ask before a server is started on \
                 the result, or keep a clone (forkpoint apply --undo=copy).",
                path.display(),
                self.side.path.display(),
                self.store.join("moved/pg_wal").display()
            ))
        };
        for path in &files {
            match self.found.get(path) {
                Some(Origin::File(now)) => {
                    if let Some(block) = self.newer(path, &[], divergence)? {
                        return changed(
                            now,
                            &format!("replay has changed block {block} of this catalog since"),
                        );
                    }
                }
                Some(Origin::Patched { now: Some(now), pieces, .. }) => {
                    if let Some(block) = self.newer(path, pieces, divergence)? {
                        return changed(
                            now,
                            &format!("replay has changed block {block} of this catalog since"),
                        );
                    }
                }
                Some(Origin::Patched { now: None, .. }) => {}
                _ => {
                    return changed(
                        path,
                        "this catalog lies elsewhere, and whether replay has changed it is not known",
                    );
                }
            }
        }
        Ok(())
    }

    /// The first page that neither lies in pieces nor is as old as it was.
    fn newer(&self, path: &Path, pieces: &[Piece], divergence: Lsn) -> Result<Option<u64>, Trouble> {
        debug_assert!(relation_file(path).is_some_and(|(rel, _)| rel.rel < FIRST_NORMAL));
        let file = self.disk.open(self.side.entry(path), Access::Read).doing("could not be opened", path)?;
        let size = file.metadata().doing("could not be looked at", path)?.size;
        let block = BLOCK_SIZE as u64;
        let mut bytes = [0; BLOCK_SIZE];
        for number in 0..size / block {
            let offset = number * block;
            if pieces.iter().any(|p| p.offset <= offset && offset + block <= p.offset + p.length) {
                continue;
            }
            read_full_at(&*file, &mut bytes, offset).doing("could not be read", path)?;
            if page::lsn(&bytes) > divergence {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }
}
