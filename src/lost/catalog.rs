//! The catalogs of one database at every place of the WAL that is read.
//!
//! All versions of their rows are kept: those on disk, those on pages that the WAL shows, those that it inserts. Each
//! has the transactions that made and ended it and, where the WAL shows it, the records that did; a transaction sees
//! what committed before a place and what it did itself up to there.

use std::collections::{HashMap, HashSet};

use crate::names::{BlockSource, DiskBlocks};
use crate::pg::catalog::oid;
use crate::pg::clog::{self, XactStatus};
use crate::pg::page::{OffsetNumber, Page, PageBytes};
use crate::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
use crate::pg::relmap::RelMap;
use crate::pg::tuple::{FROZEN_XID, Tuple, infomask};
use crate::pg::{BLOCK_SIZE, BlockNumber, Lsn, Major, Oid, RelFile, Xid};

use super::fates::{Fate, Fates};
use super::rowtypes::{AttributeRow, Catalog, CatalogRow, ClassRow, Layouts};

/// OID of template1.
const TEMPLATE1: Oid = 1;
/// So many versions of a catalog's rows are kept, some hundred megabytes at most.
const MAX_VERSIONS: usize = 1 << 20;

/// A place in WAL, as one transaction sees it.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The place.
    pub at: Lsn,
    /// The top-level transaction.
    pub top: Option<Xid>,
    /// What became of transactions.
    pub fates: &'a Fates,
}

/// File, block and line pointer.
pub type InFile = (RelFile, BlockNumber, OffsetNumber);

/// A version of a catalog's row.
#[derive(Debug)]
pub struct Version {
    xmin: Xid,
    /// Start of the record that inserted it, 0/0 for one from before.
    inserted: Lsn,
    xmax: Option<Xid>,
    /// Start of the record that deleted or replaced it.
    deleted: Lsn,
    /// Number of the file that it stands in.
    file: Oid,
    /// By hint bits: [`infomask::XMIN_COMMITTED`] and [`infomask::XMAX_COMMITTED`] and their opposites.
    hints: u16,
    /// The row.
    pub row: CatalogRow,
}

#[derive(Debug, Default)]
struct Table {
    versions: Vec<Version>,
    by_place: HashMap<(Oid, BlockNumber, OffsetNumber, Xid), usize>,
    by_key: HashMap<Oid, Vec<usize>>,
}

/// Which transactions that ended before the WAL at hand had committed, by pg_xact.
pub struct Ended<'a> {
    disk: &'a DiskBlocks,
    pages: std::cell::RefCell<HashMap<u32, Option<Box<PageBytes>>>>,
}

impl<'a> Ended<'a> {
    /// By this directory's pg_xact.
    pub fn new(disk: &'a DiskBlocks) -> Self {
        Self { disk, pages: std::cell::RefCell::default() }
    }

    /// Where pg_xact is gone, what has no hint bits is taken for committed if it is an insertion (`unknown`).
    pub fn committed(&self, xid: Xid, unknown: bool) -> bool {
        if xid <= FROZEN_XID {
            return xid != 0;
        }
        let mut pages = self.pages.borrow_mut();
        let number = clog::page_of(xid);
        let page = pages.entry(number).or_insert_with(|| {
            let mut page = Box::new([0; BLOCK_SIZE]);
            self.disk.xact_page(number, &mut page).unwrap_or(false).then_some(page)
        });
        page.as_ref().map_or(unknown, |page| clog::status(page, xid) == XactStatus::Committed)
    }
}

/// A database that is in neither directory any more, and whose catalogs the WAL at hand shows, or another database has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Its default tablespace.
    pub tablespace: Oid,
    /// Tablespace and OID of the database whose files it was copied from; `None` where all pages are in the WAL.
    pub template: Option<(Oid, Oid)>,
}

/// The catalogs of one database.
pub struct Database<'a> {
    /// Its OID.
    pub oid: Oid,
    /// Its default tablespace.
    pub tablespace: Oid,
    /// Its name, or its number.
    pub name: String,
    major: Major,
    layouts: Layouts,
    tables: HashMap<Catalog, Table>,
    /// Files of followed catalogs.
    files: HashMap<RelFile, Catalog>,
    map: RelMap,
    /// Versions of pg_class by file number.
    by_file: HashMap<Oid, Vec<usize>>,
    ended: Ended<'a>,
    /// From which place on a catalog lies in which file, where it was rewritten.
    eras: HashMap<Catalog, Vec<(Lsn, Oid)>>,
    /// Places in WAL at which what transactions see may change, in order once [`Self::finish`] was called.
    changes: Vec<Lsn>,
    /// Transactions and subtransactions that changed the catalogs; once [`Self::finish`] was called, the top-level ones
    /// of those that were not rolled back.
    writers: HashSet<Xid>,
    /// There were more versions than are kept.
    pub is_cut: bool,
    /// It is in neither directory any more.
    pub is_gone: bool,
    /// Nothing is known of its catalogs.
    pub is_unknown: bool,
    /// The WAL would show its catalogs, and there was no room for them.
    pub is_left_out: bool,
    /// Tablespace and OID of a database whose files are read in place of its own.
    like: Option<(Oid, Oid)>,
    /// What could not be read.
    pub problems: Vec<String>,
}

impl<'a> Database<'a> {
    /// Reads the catalogs on disk; `other` is a directory in which they may lie in other files. Of a database that lies
    /// in neither, `made` says how it was made.
    pub fn open(
        (oid, name): (Oid, String),
        disk: &'a DiskBlocks,
        other: Option<&'a DiskBlocks>,
        tablespaces: impl Iterator<Item = Oid>,
        made: Option<Made>,
    ) -> Self {
        let places: Vec<Oid> = [DEFAULT_TABLESPACE]
            .into_iter()
            .chain(tablespaces.filter(|spc| *spc != GLOBAL_TABLESPACE))
            .collect();
        let place =
            |disk: &DiskBlocks, oid: Oid| places.iter().copied().find(|spc| disk.has_database(*spc, oid));
        // one that is gone may be on the other side still
        let found = place(disk, oid)
            .map(|spc| (disk, spc))
            .or_else(|| other.and_then(|other| Some((other, place(other, oid)?))));
        let tablespace = found.map(|found| found.1).or(made.map(|made| made.tablespace));
        let mut database = Self {
            oid,
            tablespace: tablespace.unwrap_or(DEFAULT_TABLESPACE),
            name,
            major: disk.major(),
            layouts: Layouts::default(),
            tables: HashMap::new(),
            files: HashMap::new(),
            map: RelMap::default(),
            by_file: HashMap::new(),
            ended: Ended::new(disk),
            eras: HashMap::new(),
            changes: Vec::new(),
            writers: HashSet::new(),
            is_cut: false,
            is_gone: found.is_none(),
            is_unknown: false,
            is_left_out: false,
            like: None,
            problems: Vec::new(),
        };
        match (found, made) {
            (Some((disk, _)), _) => {
                database.ended = Ended::new(disk);
                database.load(disk, other);
            }
            (None, Some(Made { template: Some((spc, template)), .. }))
                if disk.has_database(spc, template) =>
            {
                database.like = Some((spc, template));
                database.load(disk, None);
            }
            (None, Some(Made { template: None, .. })) => {
                // its pages come with the WAL, but for what is the same in every database
                database.like = place(disk, TEMPLATE1).map(|spc| (spc, TEMPLATE1));
                database.learn(disk);
                for catalog in Catalog::ALL {
                    database.files.insert(database.file(catalog.oid()), catalog);
                }
            }
            _ => database.is_unknown = true,
        }
        database
    }

    /// The file of this database on disk, or of the one that it is like.
    fn on_disk(&self, file: RelFile) -> RelFile {
        match self.like {
            Some((spc, db)) if file.spc == self.tablespace => RelFile { spc, db, ..file },
            Some((_, db)) => RelFile { db, ..file },
            None => file,
        }
    }

    /// Reads what the catalogs' columns are.
    fn learn(&mut self, disk: &DiskBlocks) {
        let attribute = self.file(self.map.file_number(oid::PG_ATTRIBUTE).unwrap_or(oid::PG_ATTRIBUTE));
        let (major, mut layouts) = (self.major, Layouts::default());
        self.each_tuple(disk, attribute, |_, _, _, tuple| layouts.learn(tuple, major));
        if !layouts.finish() {
            self.problems.push(format!(
                "pg_attribute of database {} does not describe the catalogs, so rows of its tables cannot be decoded",
                self.name
            ));
        }
        self.layouts = layouts;
    }

    fn load(&mut self, disk: &DiskBlocks, other: Option<&DiskBlocks>) {
        let (tablespace, oid) = self.like.unwrap_or((self.tablespace, self.oid));
        match disk.relation_map(tablespace, oid) {
            Ok(map) => self.map = map,
            Err(problem) => self.problems.push(format!(
                "{problem}; the catalogs of database {} are looked for in the files they had at first",
                self.name
            )),
        }
        let number = |map: &RelMap, catalog: Catalog| map.file_number(catalog.oid()).unwrap_or(catalog.oid());
        let before = other.and_then(|other| other.relation_map(self.tablespace, self.oid).ok());
        for catalog in [Catalog::Attribute, Catalog::Class, Catalog::Type] {
            for map in [Some(&self.map), before.as_ref()].into_iter().flatten() {
                self.files.insert(self.file(number(map, catalog)), catalog);
            }
        }
        self.learn(disk);
        for catalog in [Catalog::Class, Catalog::Attribute, Catalog::Type] {
            let file = self.file(number(&self.map, catalog));
            self.load_table(disk, catalog, file);
        }
        for catalog in [Catalog::Namespace, Catalog::Enum, Catalog::Index, Catalog::Range] {
            let rows = self.tables.get(&Catalog::Class).into_iter().flat_map(|table| {
                table
                    .by_key
                    .get(&catalog.oid())
                    .into_iter()
                    .flatten()
                    .filter_map(|at| table.versions.get(*at))
            });
            let mut files: Vec<Oid> = rows
                .filter_map(|version| match &version.row {
                    CatalogRow::Class(row) => Some(row.file_number),
                    _ => None,
                })
                .collect();
            files.push(catalog.oid());
            files.sort_unstable();
            files.dedup();
            for number in files {
                let file = self.file(number);
                self.files.insert(file, catalog);
                // a file that is gone was replaced by another of them
                if disk.block_count(self.on_disk(file)).is_ok() {
                    self.load_table(disk, catalog, file);
                }
            }
        }
    }

    fn file(&self, number: Oid) -> RelFile {
        RelFile { spc: self.tablespace, db: self.oid, rel: number }
    }

    fn load_table(&mut self, disk: &DiskBlocks, catalog: Catalog, file: RelFile) {
        let mut tuples = Vec::new();
        self.each_tuple(disk, file, |_, block, number, tuple| tuples.push((block, number, tuple.to_vec())));
        for (block, number, tuple) in tuples {
            self.seen(catalog, (file, block, number), &tuple);
        }
    }

    fn each_tuple(
        &mut self,
        disk: &DiskBlocks,
        file: RelFile,
        mut take: impl FnMut(RelFile, BlockNumber, OffsetNumber, &[u8]),
    ) {
        let mut bytes = [0; BLOCK_SIZE];
        let on_disk = self.on_disk(file);
        let count = match disk.block_count(on_disk) {
            Ok(count) => count,
            Err(problem) => {
                self.problems.push(problem.to_string());
                return;
            }
        };
        for block in 0..count {
            match disk.read_block(on_disk, block, &mut bytes) {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => {
                    self.problems.push(problem.to_string());
                    return;
                }
            }
            match Page::read(&bytes) {
                Ok(Some(page)) => page.items().for_each(|(number, tuple)| take(file, block, number, tuple)),
                Ok(None) => {}
                Err(error) => self.problems.push(format!("block {block} of {file}: {error}")),
            }
        }
    }

    /// The catalog whose file this is.
    pub fn catalog(&self, file: RelFile) -> Option<Catalog> {
        self.files.get(&file).copied()
    }

    /// OID of the relation whose file this is, for one of the mapped catalogs.
    pub fn mapped(&self, file: RelFile) -> Option<Oid> {
        Catalog::ALL
            .iter()
            .map(|catalog| catalog.oid())
            .find(|oid| self.map.file_number(*oid) == Some(file.rel))
    }

    /// A tuple that stands at this place, as far as is known from before the record that is read.
    pub fn seen(&mut self, catalog: Catalog, place: InFile, tuple: &[u8]) {
        self.note(catalog, place, tuple, Lsn::INVALID);
    }

    /// The record at `at` inserts a tuple.
    pub fn inserted(&mut self, catalog: Catalog, place: InFile, tuple: &[u8], at: Lsn) {
        self.changes.push(at);
        if let Ok(tuple) = Tuple::read(tuple) {
            self.writers.insert(tuple.xmin());
        }
        self.note(catalog, place, tuple, at);
    }

    fn note(&mut self, catalog: Catalog, (file, block, number): InFile, bytes: &[u8], at: Lsn) {
        let Ok(tuple) = Tuple::read(bytes) else { return };
        let bits = tuple.infomask();
        let ends = bits & (infomask::XMAX_INVALID | infomask::XMAX_LOCK_ONLY) == 0
            && bits & (infomask::XMAX_IS_MULTI | infomask::XMAX_EXCL_LOCK | infomask::XMAX_KEYSHR_LOCK)
                != infomask::XMAX_EXCL_LOCK;
        let xmax = match tuple.xmax() {
            0 => None,
            _ if !ends || at.is_valid() => None,
            multi if bits & infomask::XMAX_IS_MULTI != 0 => {
                self.ended.disk.multixact_updater(multi).ok().flatten()
            }
            xid => Some(xid),
        };
        let xmin = tuple.xmin();
        let table = self.tables.entry(catalog).or_default();
        if let Some(known) =
            table.by_place.get(&(file.rel, block, number, xmin)).and_then(|at| table.versions.get_mut(*at))
        {
            if at.is_valid() {
                known.inserted = at;
            }
            if known.xmax.is_none() {
                known.xmax = xmax;
            }
            return;
        }
        if table.versions.len() >= MAX_VERSIONS {
            self.is_cut = true;
            return;
        }
        let Some(row) = self.layouts.read(catalog, bytes) else { return };
        // system columns are the same in every table
        if matches!(&row, CatalogRow::Attribute(row) if row.column.number <= 0) {
            return;
        }
        let index = table.versions.len();
        table.by_place.insert((file.rel, block, number, xmin), index);
        table.by_key.entry(row.key()).or_default().push(index);
        if let CatalogRow::Class(row) = &row {
            self.by_file.entry(row.file_number).or_default().push(index);
        }
        table.versions.push(Version {
            file: file.rel,
            xmin,
            inserted: at,
            xmax,
            deleted: Lsn::INVALID,
            hints: bits,
            row,
        });
    }

    /// The record at `at` ends the version `tuple` that stands at this place.
    pub fn deleted(&mut self, catalog: Catalog, place: InFile, tuple: &[u8], (xid, at): (Xid, Lsn)) {
        self.changes.push(at);
        self.writers.insert(xid);
        self.note(catalog, place, tuple, Lsn::INVALID);
        let Ok(tuple) = Tuple::read(tuple) else { return };
        let Some(table) = self.tables.get_mut(&catalog) else { return };
        let known = table.by_place.get(&(place.0.rel, place.1, place.2, tuple.xmin()));
        if let Some(version) = known.and_then(|at| table.versions.get_mut(*at)) {
            version.xmax = Some(xid);
            version.deleted = at;
        }
    }

    /// The record at `at` moves the catalog into another file. True if that was not followed up to here.
    pub fn moved(&mut self, catalog: Catalog, number: Oid, at: Lsn) -> bool {
        let eras = self.eras.entry(catalog).or_default();
        if eras.last().is_none_or(|(_, last)| *last != number) {
            eras.push((at, number));
            self.changes.push(at);
        }
        let file = self.file(number);
        self.files.insert(file, catalog).is_none()
    }

    /// How many versions of rows are kept.
    pub fn versions(&self) -> usize {
        self.tables.values().map(|table| table.versions.len()).sum()
    }

    /// Takes this file for one of the catalog's, too.
    pub fn follow(&mut self, catalog: Catalog, file: RelFile) {
        self.files.insert(file, catalog);
    }

    /// To be called behind the last record.
    pub fn finish(&mut self, fates: &Fates) {
        let ends = self.writers.iter().filter_map(|xid| match fates.get(*xid) {
            Some(Fate::Committed { at, .. }) => Some(at),
            _ => None,
        });
        self.changes.extend(ends);
        self.changes.sort_unstable();
        self.changes.dedup();
        self.writers = self.writers.iter().filter_map(|xid| fates.top(*xid)).collect();
    }

    /// Between two places with the same number a transaction sees the same catalogs.
    pub fn state_at(&self, at: Lsn) -> usize {
        self.changes.partition_point(|change| *change < at)
    }

    /// Whether this top-level transaction changed the catalogs.
    pub fn is_changed_by(&self, xid: Xid) -> bool {
        self.writers.contains(&xid)
    }

    /// Reads a row of a catalog.
    pub fn read(&self, catalog: Catalog, tuple: &[u8]) -> Option<CatalogRow> {
        self.layouts.read(catalog, tuple)
    }

    fn happened(&self, view: &View<'_>, xid: Xid, at: Lsn, hint: Option<bool>, unknown: bool) -> bool {
        match view.fates.get(xid) {
            Some(Fate::Committed { top, .. } | Fate::Prepared { top }) if view.top == Some(top) => {
                at <= view.at
            }
            Some(Fate::Committed { at: committed, .. }) => committed < view.at,
            Some(_) => false,
            None => hint.unwrap_or_else(|| self.ended.committed(xid, unknown)),
        }
    }

    /// Whether the catalog lies in this file at this place in WAL, as far as it was rewritten in the WAL at hand.
    fn in_its_era(&self, catalog: Catalog, file: Oid, at: Lsn) -> bool {
        let Some(eras) = self.eras.get(&catalog) else { return true };
        match eras.iter().rev().find(|(from, _)| *from <= at) {
            Some((_, number)) => *number == file,
            None => eras.iter().all(|(_, number)| *number != file),
        }
    }

    fn visible(&self, view: &View<'_>, catalog: Catalog, version: &Version) -> bool {
        self.in_its_era(catalog, version.file, view.at) && self.lives(view, version)
    }

    /// Whether the version is a copy in a file into which the catalog moves later, of a row that the transaction sees
    /// in the file before. What the transaction made itself says nothing: a copy does not tell since when it was there.
    fn copied(&self, view: &View<'_>, catalog: Catalog, version: &Version) -> bool {
        let Some(eras) = self.eras.get(&catalog) else { return false };
        let later = eras.iter().any(|(from, number)| *from > view.at && *number == version.file);
        later
            && !self.in_its_era(catalog, version.file, view.at)
            && (view.top.is_none() || view.fates.top(version.xmin) != view.top)
            && self.lives(view, version)
    }

    fn lives(&self, view: &View<'_>, version: &Version) -> bool {
        let hint = |yes: u16, no: u16| {
            if version.hints & yes != 0 {
                Some(true)
            } else if version.hints & no != 0 {
                Some(false)
            } else {
                None
            }
        };
        let frozen = version.hints & infomask::XMIN_FROZEN == infomask::XMIN_FROZEN;
        let xmin_hint = hint(infomask::XMIN_COMMITTED, infomask::XMIN_INVALID);
        let inserted = self.happened(view, version.xmin, version.inserted, xmin_hint, true)
            || (frozen && view.fates.get(version.xmin).is_none());
        let xmax_hint = hint(infomask::XMAX_COMMITTED, infomask::XMAX_INVALID);
        inserted
            && !version.xmax.is_some_and(|xmax| self.happened(view, xmax, version.deleted, xmax_hint, false))
    }

    /// Rows of a catalog with this key that the transaction sees; where there are several of one object, the last one
    /// that was made counts.
    pub fn rows<'v>(
        &'v self,
        view: &'v View<'_>,
        catalog: Catalog,
        key: Oid,
    ) -> impl Iterator<Item = &'v CatalogRow> {
        let table = self.tables.get(&catalog);
        let at = table.and_then(|table| table.by_key.get(&key)).into_iter().flatten();
        self.seen_by(view, catalog, at.filter_map(move |at| table?.versions.get(*at)))
    }

    /// All rows of a catalog that the transaction sees.
    pub fn all<'v>(&'v self, view: &'v View<'_>, catalog: Catalog) -> impl Iterator<Item = &'v CatalogRow> {
        let versions = self.tables.get(&catalog).into_iter().flat_map(|table| &table.versions);
        self.seen_by(view, catalog, versions)
    }

    /// Those that the transaction sees, and for what none of them is of, copies that a later rewrite made: what it found
    /// in the file before need not be in the WAL.
    fn seen_by<'v>(
        &'v self,
        view: &'v View<'_>,
        catalog: Catalog,
        versions: impl Iterator<Item = &'v Version> + Clone,
    ) -> impl Iterator<Item = &'v CatalogRow> {
        let mut rows: Vec<&CatalogRow> = versions
            .clone()
            .filter(|version| self.visible(view, catalog, version))
            .map(|version| &version.row)
            .collect();
        if self.eras.contains_key(&catalog) {
            let known: HashSet<(Oid, i16)> = rows.iter().map(|row| row.identity()).collect();
            let copies = versions.filter(|version| self.copied(view, catalog, version));
            let mut copies: HashMap<_, _> = copies.map(|v| (v.row.identity(), &v.row)).collect();
            copies.retain(|identity, _| !known.contains(identity));
            rows.extend(copies.into_values());
        }
        rows.into_iter()
    }

    /// The relation whose file this is.
    pub fn class_of_file(&self, view: &View<'_>, file: RelFile) -> Option<&ClassRow> {
        if let Some(oid) = self.mapped(file) {
            return self.class(view, oid);
        }
        let table = self.tables.get(&Catalog::Class)?;
        let candidates = || {
            self.by_file.get(&file.rel).into_iter().flatten().filter_map(|at| table.versions.get(*at)).filter(
                |version| match &version.row {
                    CatalogRow::Class(row) => {
                        let spc = if row.tablespace == 0 { self.tablespace } else { row.tablespace };
                        spc == file.spc && spc != GLOBAL_TABLESPACE
                    }
                    _ => false,
                },
            )
        };
        // what the transaction sees; else whatever says which relation had the file
        let found = candidates()
            .filter(|version| self.visible(view, Catalog::Class, version))
            .last()
            .or_else(|| candidates().filter(|version| self.copied(view, Catalog::Class, version)).last())
            .or_else(|| candidates().last())?;
        match &found.row {
            CatalogRow::Class(row) => Some(row),
            _ => None,
        }
    }

    /// A relation by its OID.
    pub fn class(&self, view: &View<'_>, oid: Oid) -> Option<&ClassRow> {
        let table = self.tables.get(&Catalog::Class)?;
        let of = || table.by_key.get(&oid).into_iter().flatten().filter_map(|at| table.versions.get(*at));
        let found = of()
            .filter(|version| self.visible(view, Catalog::Class, version))
            .last()
            .or_else(|| of().filter(|version| self.copied(view, Catalog::Class, version)).last())
            .or_else(|| of().next_back())?;
        match &found.row {
            CatalogRow::Class(row) => Some(row),
            _ => None,
        }
    }

    /// Name of a schema.
    pub fn schema(&self, view: &View<'_>, oid: Oid) -> String {
        let found = self.rows(view, Catalog::Namespace, oid).last();
        match found.or_else(|| self.any(Catalog::Namespace, oid)) {
            Some(CatalogRow::Namespace { name, .. }) => name.clone(),
            _ => oid.to_string(),
        }
    }

    /// A row with this key, seen by nobody perhaps.
    pub fn any(&self, catalog: Catalog, key: Oid) -> Option<&CatalogRow> {
        let table = self.tables.get(&catalog)?;
        let at = table.by_key.get(&key)?.last()?;
        table.versions.get(*at).map(|version| &version.row)
    }

    /// Columns of a relation by number.
    pub fn columns(&self, view: &View<'_>, relation: Oid) -> Vec<crate::rows::Column> {
        let mut found: Vec<&AttributeRow> = self
            .rows(view, Catalog::Attribute, relation)
            .filter_map(|row| match row {
                CatalogRow::Attribute(row) if row.column.number > 0 => Some(row),
                _ => None,
            })
            .collect();
        found.sort_by_key(|row| row.column.number);
        found.dedup_by_key(|row| row.column.number);
        found.into_iter().map(|row| row.column.clone()).collect()
    }

    /// Where the relation with this OID lies, as far as any row says.
    pub fn file_of(&self, oid: Oid) -> Option<RelFile> {
        match self.any(Catalog::Class, oid)? {
            CatalogRow::Class(row) if row.file_number != 0 => Some(RelFile {
                spc: if row.tablespace == 0 { self.tablespace } else { row.tablespace },
                db: self.oid,
                rel: row.file_number,
            }),
            _ => None,
        }
    }
}
