//! The first reading: what became of transactions, and every version of the catalogs' rows.

use std::collections::HashMap;
use std::io;

use crate::pg::bytes::{Bytes, Short};
use crate::pg::catalog::{CatalogRow as _, DatabaseRow, Row};
use crate::pg::relmap::RelMap;
use crate::pg::tuple::Tuple;
use crate::pg::{Fork, Lsn, Major, Oid, RelFile, Xid};
use crate::wal::framer::Sink;
use crate::wal::record::{Decoded, Fragment, Fragments, Record};
use crate::wal::rmgr::{id, op};

use super::catalog::{Database, Made};
use super::collect::LONGEST;
use super::fates::Fates;
use super::heap::{Place, RowOp, row_ops};
use super::pages::{Bases, Pages};
use super::rowtypes::{Catalog, CatalogRow};
use super::unlogged::Levels;

/// So many changes of the catalogs are kept for words about them.
const MAX_OPS: usize = 1 << 19;

/// A change of a catalog's row.
#[derive(Debug)]
pub struct CatalogOp {
    /// Start of the record.
    pub lsn: Lsn,
    /// The transaction or subtransaction.
    pub xid: Xid,
    /// The database.
    pub database: Oid,
    /// The row before.
    pub old: Option<CatalogRow>,
    /// The row after.
    pub new: Option<CatalogRow>,
}

/// Sees all records of the range.
pub struct Survey<'a> {
    major: Major,
    divergence: Lsn,
    /// What became of transactions.
    pub fates: Fates,
    /// Catalogs by database.
    pub databases: HashMap<Oid, Database<'a>>,
    /// Changes of the followed catalogs, in order.
    pub ops: Vec<CatalogOp>,
    /// The first transaction identifier not given out at the divergence, as far as records tell.
    pub next_xid: Xid,
    /// Records whose inside did not add up.
    pub damaged: u64,
    pages: Pages<'a>,
    is_cut: bool,
    /// Files that were made in the WAL at hand, and the record that did.
    pub created: HashMap<RelFile, Lsn>,
    /// Databases that were made in it.
    pub made: HashMap<Oid, Made>,
    /// Names in rows of pg_database that it shows.
    pub database_names: HashMap<Oid, String>,
    /// File of pg_database.
    pg_database: RelFile,
    /// Where `wal_level` became minimal or ceased to be.
    pub levels: Levels,
    /// Files of catalogs that were not followed from the beginning: WAL has to be read once more with them.
    pub discovered: Vec<(RelFile, Catalog)>,
    /// Why reading had to stop.
    pub failure: Option<io::Error>,
}

impl<'a> Survey<'a> {
    /// Of these databases.
    pub fn new(
        major: Major,
        (divergence, next_xid): (Lsn, Xid),
        databases: HashMap<Oid, Database<'a>>,
        pg_database: RelFile,
        bases: Bases<'a>,
    ) -> Self {
        Self {
            major,
            divergence,
            fates: Fates::default(),
            databases,
            ops: Vec::new(),
            next_xid,
            damaged: 0,
            pages: Pages::new(bases, major),
            is_cut: false,
            created: HashMap::new(),
            made: HashMap::new(),
            database_names: HashMap::new(),
            pg_database,
            levels: Levels::default(),
            discovered: Vec::new(),
            failure: None,
        }
    }

    /// More changes of the catalogs were seen than are kept.
    pub fn is_cut(&self) -> bool {
        self.is_cut || self.databases.values().any(|database| database.is_cut)
    }

    /// To be called behind the last record.
    pub fn finish(&mut self) {
        for database in self.databases.values_mut() {
            database.finish(&self.fates);
        }
    }

    fn catalog(&self, rel: RelFile) -> Option<Catalog> {
        self.databases.get(&rel.db)?.catalog(rel)
    }

    fn touches_catalog(&self, record: &Record<'_>) -> bool {
        let mut fragments = Fragments::new(record, self.major);
        while let Ok(Some(fragment)) = fragments.next_fragment() {
            if let Fragment::Block(block) = fragment
                && block.fork == Fork::Main
                && (block.rel == self.pg_database || self.catalog(block.rel).is_some())
            {
                return true;
            }
        }
        false
    }

    fn follow(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Ok(decoded) = record.decode(self.major) else {
            self.damaged += 1;
            return Ok(());
        };
        for block in decoded.blocks.iter().filter(|b| b.fork == Fork::Main) {
            if block.rel == self.pg_database {
                self.pages.apply(record, &decoded, block)?;
                let (major, names) = (self.major, &mut self.database_names);
                self.pages.tuples(block.rel, block.block, |_, tuple| {
                    let row = Tuple::read(tuple).and_then(|tuple| DatabaseRow::read(Row::new(tuple, major)));
                    if let Ok(row) = row {
                        names.insert(row.oid, row.name);
                    }
                })?;
                continue;
            }
            let Some(catalog) = self.catalog(block.rel) else { continue };
            let shown = block.image.is_some() || !self.pages.knows(block.rel, block.block);
            self.pages.apply(record, &decoded, block)?;
            if shown && let Some(database) = self.databases.get_mut(&block.rel.db) {
                self.pages.tuples(block.rel, block.block, |number, tuple| {
                    database.seen(catalog, (block.rel, block.block, number), tuple);
                })?;
            }
        }
        if record.rmid != id::XLOG {
            self.rows(record, &decoded)?;
        }
        Ok(())
    }

    fn rows(&mut self, record: &Record<'_>, decoded: &Decoded<'_>) -> io::Result<()> {
        let Some(rel) = decoded.block(0).map(|b| b.rel) else { return Ok(()) };
        let Some(catalog) = self.catalog(rel) else { return Ok(()) };
        let Ok(ops) = row_ops(record, decoded) else {
            self.damaged += 1;
            return Ok(());
        };
        for op in ops {
            let (old, new, tuple) = match op {
                RowOp::Insert { at, tuple, .. } => (None, Some(at), tuple),
                RowOp::Update { old, new, tuple, .. } => (Some(old), Some(new), tuple),
                RowOp::Delete { at, .. } => (Some(at), None, None),
                RowOp::TakeBack(_) | RowOp::Confirm(_) => continue,
            };
            let old_tuple = self.tuple(rel, old)?;
            let new_tuple = match tuple {
                Some(tuple) => Some(tuple),
                None => self.tuple(rel, new)?,
            };
            let Some(database) = self.databases.get_mut(&rel.db) else { continue };
            let read = |tuple: &Option<Vec<u8>>| database.read(catalog, tuple.as_ref()?);
            let change = CatalogOp {
                lsn: record.lsn,
                xid: record.xid,
                database: rel.db,
                old: read(&old_tuple),
                new: read(&new_tuple),
            };
            if let (Some(place), Some(tuple)) = (old, &old_tuple) {
                database.deleted(catalog, (rel, place.0, place.1), tuple, (record.xid, record.lsn));
            }
            if let (Some(place), Some(tuple)) = (new, &new_tuple) {
                database.inserted(catalog, (rel, place.0, place.1), tuple, record.lsn);
            }
            if let Some(CatalogRow::Class(row)) = &change.new {
                self.relocated(rel.db, row.oid, row.file_number, record.lsn);
            }
            let is_system =
                |row: &CatalogRow| matches!(row, CatalogRow::Attribute(row) if row.column.number <= 0);
            if change.old.as_ref().or(change.new.as_ref()).is_none_or(is_system) {
                continue;
            }
            if self.ops.len() < MAX_OPS {
                self.ops.push(change);
            } else {
                self.is_cut = true;
            }
        }
        Ok(())
    }

    /// The relation lies in another file from here on: if that is one of the followed catalogs and the file is a new
    /// one, its rows come from there.
    fn relocated(&mut self, database: Oid, relation: Oid, number: Oid, at: Lsn) {
        let Some(catalog) = Catalog::of(relation) else { return };
        let Some(of) = self.databases.get_mut(&database) else { return };
        let file = RelFile { spc: of.tablespace, db: database, rel: number };
        if of.is_gone {
            // a database that was made by the WAL at hand
            of.follow(catalog, file);
            return;
        }
        if self.created.contains_key(&file) && of.moved(catalog, number, at) {
            self.discovered.push((file, catalog));
        }
    }

    fn files(&mut self, record: &Record<'_>) -> Result<(), Short> {
        let Some(main) = record.main_data(self.major) else { return Ok(()) };
        let main = Bytes::new(main);
        match (record.rmid, record.info & 0xF0) {
            (id::SMGR, op::SMGR_CREATE) => {
                let rel = RelFile { spc: main.u32_at(0)?, db: main.u32_at(4)?, rel: main.u32_at(8)? };
                if self.databases.contains_key(&rel.db) && self.created.len() < MAX_OPS {
                    self.created.insert(rel, record.lsn);
                }
            }
            (id::XLOG, op::XLOG_PARAMETER_CHANGE) => {
                // xl_parameter_change: three numbers in front of wal_level, four from 12 on with max_wal_senders
                let at = if self.major >= Major::V12 { 20 } else { 16 };
                self.levels.0.push((record.lsn, main.u32_at(at)? == 0));
            }
            (id::DBASE, operation) if operation < op::drop_database(self.major) => {
                let (oid, tablespace) = (main.u32_at(0)?, main.u32_at(4)?);
                let is_copy = operation == op::DBASE_CREATE_FILE_COPY;
                let template = is_copy.then(|| Ok((main.u32_at(12)?, main.u32_at(8)?))).transpose()?;
                self.made.insert(oid, Made { tablespace, template });
            }
            (id::RELMAP, op::RELMAP_UPDATE) => {
                let (database, length) = (main.u32_at(0)?, main.u32_at(8)?);
                if let Ok(map) = RelMap::parse(main.slice_at(12, length as usize)?) {
                    for catalog in Catalog::ALL {
                        if let Some(number) = map.file_number(catalog.oid()) {
                            self.relocated(database, catalog.oid(), number, record.lsn);
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn tuple(&mut self, rel: RelFile, place: Option<Place>) -> io::Result<Option<Vec<u8>>> {
        let Some((block, number)) = place else { return Ok(None) };
        Ok(self.pages.tuple(rel, block, number)?.map(|(tuple, _)| tuple))
    }

    fn note_xid(&mut self, xid: Xid) {
        let next = xid.wrapping_add(1);
        if xid != 0 && next.wrapping_sub(self.next_xid) as i32 > 0 {
            self.next_xid = next;
        }
    }
}

impl Sink for Survey<'_> {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        match rmid {
            id::XLOG => {
                matches!(info & 0xF0, op::XLOG_FPI | op::XLOG_FPI_FOR_HINT | op::XLOG_PARAMETER_CHANGE)
            }
            id::XACT | id::HEAP | id::HEAP2 | id::SMGR | id::RELMAP | id::DBASE => true,
            _ => false,
        }
    }

    fn longest(&self, _rmid: u8) -> u32 {
        LONGEST
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        if record.lsn < self.divergence {
            self.note_xid(record.xid);
        }
        match record.rmid {
            id::XACT => {
                if self.fates.take(record, self.major).is_none() {
                    self.damaged += 1;
                }
            }
            id::XLOG if record.info & 0xF0 == op::XLOG_PARAMETER_CHANGE => {
                self.damaged += u64::from(self.files(record).is_err());
                return true;
            }
            id::SMGR | id::RELMAP | id::DBASE => {
                self.damaged += u64::from(self.files(record).is_err());
                return true;
            }
            id::HEAP | id::HEAP2 => {}
            id::XLOG if matches!(record.info & 0xF0, op::XLOG_FPI | op::XLOG_FPI_FOR_HINT) => {}
            _ => return true,
        }
        if record.rmid != id::XACT
            && self.touches_catalog(record)
            && let Err(error) = self.follow(record)
        {
            self.failure = Some(error);
            return false;
        }
        true
    }
}
