//! Tables that a lost transaction filled without a record for each row.
//!
//! With `wal_level` minimal, what is written into a file that the same transaction made is not in the WAL: at the end the
//! transaction writes full-page images of a small file (13 on, `wal_skip_threshold`), and only syncs a larger one. An
//! unlogged table that is made logged is rewritten: what is inserted into the new file then are rows that recovery would
//! not have brought back before.

use std::collections::{HashMap, HashSet};
use std::io;

use crate::names::BlockSource;
use crate::pg::page::Page;
use crate::pg::tuple::{Tuple, infomask};
use crate::pg::{BLOCK_SIZE, Lsn, Oid, RelFile, Xid};

use crate::wal::record::Record;
use crate::wal::rmgr::{id, op_name};

use super::catalog::View;
use super::collect::Collect;
use super::fates::Fates;
use super::heap::Place;
use super::model::{Change, Event, Origin, RowChange, Version};
use super::rowtypes::{Catalog, CatalogRow};
use super::survey::CatalogOp;

/// Blocks that are read before it is looked whether to stop.
const CHECK_EVERY: u32 = 128;

/// Operations of Heap that end versions begin so, and those of Heap2 that remove them.
const ENDING: [&str; 3] = ["DELETE", "UPDATE", "HOT_UPDATE"];
const REMOVING: [&str; 3] = ["PRUNE", "CLEAN", "VACUUM"];

/// A file that a lost transaction filled.
#[derive(Debug)]
pub struct Filled {
    /// The transaction.
    pub top: Xid,
    /// The table.
    pub oid: Oid,
    /// The table was unlogged before: what is inserted into the file is copied from there.
    pub made_logged: bool,
    /// Rows need not be in the WAL.
    pub minimal: bool,
    /// Start of the record that ended the transaction.
    pub end: Lsn,
    /// The transaction wrote images of the file, so of all of it.
    imaged: bool,
    /// Other transactions changed rows in the file.
    changed: bool,
    /// Versions were removed from the file after that.
    pruned: bool,
    /// Where rows were found.
    places: HashSet<Place>,
}

/// From which places on `wal_level` was minimal (or no longer): at the divergence it was not, or there were no standby.
#[derive(Debug, Default)]
pub struct Levels(pub Vec<(Lsn, bool)>);

impl Levels {
    /// Whether it was minimal at this place.
    pub fn is_minimal(&self, at: Lsn) -> bool {
        self.0.iter().rev().find(|(from, _)| *from <= at).is_some_and(|(_, minimal)| *minimal)
    }
}

/// Files that lost transactions filled, from their changes of the catalogs in order; `end` is the place where each of
/// them ended.
pub fn find(
    ops: &[CatalogOp],
    fates: &Fates,
    levels: &Levels,
    tablespace: impl Fn(Oid) -> Option<Oid>,
    end: impl Fn(Xid) -> Option<Lsn>,
) -> HashMap<RelFile, Filled> {
    let mut found: HashMap<(Xid, Oid, Oid), (RelFile, Filled)> = HashMap::new();
    let mut transient: HashSet<(Xid, Oid, Oid)> = HashSet::new();
    for op in ops {
        let Some(CatalogRow::Class(new)) = &op.new else { continue };
        let Some(top) = fates.top(op.xid) else { continue };
        let Some(end) = end(top) else { continue };
        if let Some(of) = new.transient_of {
            transient.insert((top, op.database, of));
            continue;
        }
        if !matches!(new.kind, 'r' | 'm') || new.file_number == 0 {
            continue;
        }
        let key = (top, op.database, new.oid);
        let before = match &op.old {
            Some(CatalogRow::Class(old)) if old.file_number == new.file_number => continue,
            Some(CatalogRow::Class(old)) => Some(old),
            _ => None,
        };
        let made_logged = before.is_some_and(|old| old.persistence == 'u') && new.persistence == 'p';
        let minimal = levels.is_minimal(op.lsn);
        let rewritten = before.is_some_and(|old| {
            transient.contains(&key) || old.tablespace != new.tablespace || old.transient_of.is_some()
        });
        let known = found.remove(&key);
        let made_logged = made_logged || known.as_ref().is_some_and(|(_, filled)| filled.made_logged);
        let without_wal = minimal && (known.is_some() || !rewritten);
        if new.persistence != 'p' || !(made_logged || without_wal) {
            continue;
        }
        let Some(default) = tablespace(op.database) else { continue };
        let spc = if new.tablespace == 0 { default } else { new.tablespace };
        let file = RelFile { spc, db: op.database, rel: new.file_number };
        let filled = Filled {
            top,
            oid: new.oid,
            made_logged,
            minimal,
            end,
            imaged: false,
            changed: false,
            pruned: false,
            places: HashSet::new(),
        };
        found.insert(key, (file, filled));
    }
    found.into_values().collect()
}

impl Collect<'_, '_> {
    /// The file is one that this transaction made logged: what is inserted into it counts.
    pub(super) fn is_made_logged(&self, rel: RelFile, top: Xid) -> Option<Lsn> {
        let filled = self.filled.get(&rel)?;
        (filled.top == top && filled.made_logged).then_some(filled.end)
    }

    /// A row was inserted by a record.
    pub(super) fn found_at(&mut self, rel: RelFile, top: Xid, place: Place) {
        if let Some(filled) = self.filled.get_mut(&rel).filter(|f| f.top == top && f.minimal) {
            filled.places.insert(place);
        }
    }

    /// The record may end versions in the file, or remove those that were ended.
    pub(super) fn wears(&mut self, rel: RelFile, record: &Record<'_>) {
        let Some(filled) = self.filled.get_mut(&rel) else { return };
        let Some(name) = op_name(record.rmid, record.info, self.major) else { return };
        let is = |words: &[&str]| words.iter().any(|word| name.starts_with(word));
        if record.rmid == id::HEAP && is(&ENDING) && self.fates.top(record.xid) != Some(filled.top) {
            filled.changed = true;
        }
        if record.rmid == id::HEAP2 && is(&REMOVING) {
            filled.pruned |= filled.changed;
        }
    }

    /// The record holds an image of one of the file's pages; the page is known with it. `toast` is the OID of the TOAST
    /// table that the file is of.
    pub(super) fn imaged(
        &mut self,
        rel: RelFile,
        block: u32,
        record: &Record<'_>,
        toast: Option<Oid>,
    ) -> io::Result<()> {
        let Some(top) = self.fates.top(record.xid) else { return Ok(()) };
        if let Some(table) = toast {
            if !self.filled.values().any(|filled| filled.minimal && filled.top == top) {
                return Ok(());
            }
            let mut tuples = Vec::new();
            self.pages.tuples(rel, block, |_, tuple| tuples.push(tuple.to_vec()))?;
            return tuples.iter().try_for_each(|tuple| self.chunks.add(rel.db, table, tuple));
        }
        let Some(filled) = self.filled.get_mut(&rel).filter(|f| f.minimal && f.top == top) else {
            return Ok(());
        };
        filled.imaged = true;
        let mut tuples = Vec::new();
        self.pages.tuples(rel, block, |number, tuple| tuples.push((number, tuple.to_vec())))?;
        for (number, tuple) in tuples {
            self.unlogged_row(rel, (block, number), tuple, (record.lsn, Origin::Page))?;
        }
        Ok(())
    }

    /// A version that stands in the file: a row that the transaction inserted, if it is its.
    fn unlogged_row(
        &mut self,
        rel: RelFile,
        place: Place,
        tuple: Vec<u8>,
        (at, from): (Lsn, Origin),
    ) -> io::Result<()> {
        let Some(filled) = self.filled.get(&rel) else { return Ok(()) };
        let (top, end) = (filled.top, filled.end);
        let Ok(row) = Tuple::read(&tuple) else { return Ok(()) };
        let bits = row.infomask();
        let ended = bits & (infomask::XMAX_INVALID | infomask::XMAX_LOCK_ONLY | infomask::XMAX_IS_MULTI) == 0
            && row.xmax() != 0
            && self.fates.top(row.xmax()) == Some(top);
        if self.fates.top(row.xmin()) != Some(top) || ended || filled.places.contains(&place) {
            return Ok(());
        }
        let Some(shape) = self.shape(rel, end, top) else { return Ok(()) };
        if !self.filter.wants(&shape) {
            return Ok(());
        }
        self.want_values(&shape, &tuple);
        let new = Some(Version { tuple, from });
        self.push(top, RowChange { lsn: at, change: Change::Insert, shape, old: None, new, old_place: None })
    }

    /// What only stands in the files, and what is not found there either. To be called behind the last record.
    pub(super) fn rest_of_filled(&mut self) -> io::Result<()> {
        let mut files: Vec<RelFile> =
            self.filled.iter().filter(|(_, f)| f.minimal && !f.imaged).map(|(rel, _)| *rel).collect();
        files.sort_by_key(|rel| (self.filled.get(rel).map(|f| (f.end, f.oid)), rel.rel));
        for rel in files {
            self.rest_of(rel)?;
        }
        Ok(())
    }

    fn rest_of(&mut self, rel: RelFile) -> io::Result<()> {
        let Some(filled) = self.filled.get(&rel) else { return Ok(()) };
        let (top, end, pruned) = (filled.top, filled.end, filled.pruned);
        let Some(shape) = self.shape(rel, end, top).filter(|shape| self.filter.wants(shape)) else {
            return Ok(());
        };
        let disk = self.pages.target();
        // an empty file stands there until the checkpoint behind a DROP
        let view = View { at: Lsn::MAX, top: None, fates: self.fates };
        let has_it = |row: &CatalogRow| matches!(row, CatalogRow::Class(row) if row.file_number == rel.rel);
        let is_there = self
            .databases
            .get(&rel.db)
            .is_some_and(|database| database.rows(&view, Catalog::Class, shape.oid).any(has_it));
        let blocks = disk.block_count(rel).ok().filter(|_| is_there);
        let why = match blocks {
            None => Some("its file is gone (the table was dropped, truncated or rewritten later)"),
            Some(_) if pruned => {
                Some("versions of rows were removed from its file since (updated or deleted, and vacuumed)")
            }
            Some(_) => None,
        };
        let mut bytes = [0; BLOCK_SIZE];
        for block in 0..blocks.unwrap_or(0) {
            if block % CHECK_EVERY == 0 && self.progress.check().is_err() {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            if !disk.read_block(rel, block, &mut bytes).unwrap_or(false) {
                break;
            }
            let Ok(Some(page)) = Page::read(&bytes) else { continue };
            for (number, tuple) in page.items() {
                self.unlogged_row(rel, (block, number), tuple.to_vec(), (end, Origin::Target))?;
            }
        }
        let Some(why) = why else { return Ok(()) };
        let object = shape.qualified();
        let text = format!(
            "rows of {object} that it wrote into the file that it had made itself are in no WAL (wal_level was minimal), and \
             {why}: {}",
            if blocks.is_none() {
                "which rows it wrote, if any, is not known"
            } else {
                "of them, only what stands there still is listed"
            }
        );
        self.unseen.push(format!("transaction {top}, database {}: {text}", shape.database_name));
        self.event(top, end, Event::NotFound { object, text })
    }
}
