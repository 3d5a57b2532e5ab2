//! The second reading: the rows that lost transactions changed.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use crate::names::BlockSource;
use crate::pg::catalog::oid;
use crate::pg::page::Page;
use crate::pg::tuple::{Tuple, infomask};
use crate::pg::{BLOCK_SIZE, FIRST_NORMAL_OID, Fork, Lsn, Major, Oid, RelFile, Xid};
use crate::rows::tuple::header;
use crate::rows::{Datum, columns};
use crate::scan::progress::Progress;
use crate::wal::framer::Sink;
use crate::wal::record::{Fragment, Fragments, Record};
use crate::wal::rmgr::{id, op};
use crate::wal::xact::XactRecord;

use super::catalog::{Database, View};
use super::fates::Fates;
use super::heap::{Logged, Place, RowOp, row_ops};
use super::model::{Change, Event, LostXact, Origin, RowChange, Shape, Version};
use super::origins::Origins;
use super::other::Moved;
use super::pages::Pages;
use super::rowtypes::Catalog;
use super::shape::shape;
use super::spool::{Entry, Spool};
use super::toast::Chunks;
use super::unlogged::Filled;

/// Some column lies out of line (`HEAP_HASEXTERNAL`).
const HAS_EXTERNAL: u16 = 0x0004;
/// Longer records are not read, in bytes: no server writes such ones but for logical messages, and old rows that are
/// their own replica identity.
pub const LONGEST: u32 = 64 << 20;
/// Longer messages are told without their content, in bytes.
const LONGEST_MESSAGE: u32 = 1 << 20;
/// Shapes that are remembered; schemas that change all the time would fill the memory.
const MAX_SHAPES: usize = 1 << 16;

/// What is done with records of a relation.
#[derive(Debug, Clone)]
enum Role {
    /// A table, or a relation without a name.
    Table,
    /// Its chunks are kept for other rows; the table's OID.
    Toast(Oid),
    /// pg_largeobject.
    LargeObjects,
    /// Its changes are counted; its name.
    System(Rc<str>),
}

/// Rows inserted, updated, deleted.
#[derive(Debug, Clone, Copy, Default)]
struct Three(u64, u64, u64);

impl Three {
    const fn add(&mut self, change: Change) {
        match change {
            Change::Insert => self.0 += 1,
            Change::Update => self.1 += 1,
            Change::Delete => self.2 += 1,
        }
    }
}

/// What is only known in sum when the transaction ends.
#[derive(Debug, Default)]
struct Sums {
    system: BTreeMap<Rc<str>, Three>,
    nameless: BTreeMap<RelFile, Three>,
}

/// What to leave out.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only tables with one of these names: `name`, `schema.name` or `database.schema.name`.
    pub tables: Vec<String>,
    /// Only these transactions.
    pub xids: Vec<Xid>,
}

impl Filter {
    /// Whether rows of this table are wanted.
    pub fn wants(&self, shape: &Shape) -> bool {
        if self.tables.is_empty() {
            return true;
        }
        let qualified = shape.qualified();
        let whole = format!("{}.{qualified}", shape.database_name);
        self.tables.iter().any(|t| *t == shape.name || *t == qualified || *t == whole)
    }

    /// Whether this transaction is wanted.
    pub fn wants_xid(&self, xid: Xid) -> bool {
        self.xids.is_empty() || self.xids.contains(&xid)
    }
}

/// Sees all records of the range, once it is known what became of transactions.
pub struct Collect<'a, 'd> {
    /// The cluster's major.
    pub major: Major,
    /// Where the sides part.
    pub divergence: Lsn,
    /// What became of transactions.
    pub fates: &'a Fates,
    /// Catalogs.
    pub databases: &'a HashMap<Oid, Database<'d>>,
    /// Relations whose rows may matter; `None` for all.
    pub wanted: Option<HashSet<RelFile>>,
    /// Names of relations outside the databases: shared catalogs.
    pub shared: HashMap<RelFile, String>,
    /// Names of databases and tablespaces.
    pub names: (HashMap<Oid, String>, HashMap<Oid, String>),
    /// What to leave out.
    pub filter: Filter,
    /// Words for changes of the catalogs, by transaction.
    pub ddl: HashMap<Xid, VecDeque<(Lsn, Event)>>,
    /// The transactions, in order of their end.
    pub xacts: Vec<LostXact>,
    /// Places in `xacts` of those whose rows are wanted.
    pub by_xid: HashMap<Xid, usize>,
    /// Pages.
    pub pages: Pages<'d>,
    /// Rows.
    pub spool: Spool,
    /// Out-of-line values.
    pub chunks: Chunks,
    /// Sequences that moved after the divergence.
    pub sequences: HashMap<RelFile, Moved>,
    /// Files that lost transactions filled without a record for each row.
    pub filled: HashMap<RelFile, Filled>,
    /// Replication origins.
    pub origins: Origins,
    /// To be asked whether to stop.
    pub progress: &'a Progress,
    /// What is not seen, each a sentence.
    pub unseen: Vec<String>,
    /// Records that could not be taken apart.
    pub damaged: u64,
    /// Why reading had to stop.
    pub failure: Option<io::Error>,
    /// State of this reading.
    pub state: State,
}

/// What is remembered from record to record.
#[derive(Debug, Default)]
pub struct State {
    roles: HashMap<RelFile, Role>,
    shapes: HashMap<(RelFile, Xid), (usize, Arc<Shape>)>,
    sums: HashMap<Xid, Sums>,
    speculative: HashMap<(RelFile, Place), (Xid, RowChange)>,
    /// Rows that have more values than the catalogs know columns of.
    pub(super) without_columns: u64,
}

impl Collect<'_, '_> {
    /// The lost transaction to which this one belongs, if its rows are wanted.
    pub(super) fn lost(&self, xid: Xid) -> Option<Xid> {
        let top = self.fates.top(xid)?;
        self.by_xid.contains_key(&top).then_some(top)
    }

    fn is_wanted(&self, record: &Record<'_>) -> bool {
        let mut fragments = Fragments::new(record, self.major);
        while let Ok(Some(fragment)) = fragments.next_fragment() {
            if let Fragment::Block(block) = fragment
                && block.fork == Fork::Main
                && self.wanted.as_ref().is_none_or(|wanted| wanted.contains(&block.rel))
            {
                return true;
            }
        }
        false
    }

    fn heap(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Ok(decoded) = record.decode(self.major) else {
            self.damaged += 1;
            return Ok(());
        };
        let top = self.lost(record.xid);
        for block in decoded.blocks.iter().filter(|b| b.fork == Fork::Main) {
            if block.rel == self.origins.file {
                self.pages.apply(record, &decoded, block)?;
                let origins = &mut self.origins;
                self.pages.tuples(block.rel, block.block, |_, tuple| origins.learn(tuple))?;
            } else if !matches!(self.role(block.rel, record.lsn, top), Role::System(_)) {
                self.pages.apply(record, &decoded, block)?;
                if record.rmid == id::XLOG && record.info & 0xF0 == op::XLOG_FPI {
                    let role = self.role(block.rel, record.lsn, top);
                    let toast = if let Role::Toast(table) = role { Some(table) } else { None };
                    self.imaged(block.rel, block.block, record, toast)?;
                }
            }
        }
        if let Some(block) = decoded.block(0) {
            self.wears(block.rel, record);
        }
        let Some(top) = top.filter(|_| record.rmid != id::XLOG) else { return Ok(()) };
        let Some(rel) = decoded.block(0).map(|b| b.rel) else { return Ok(()) };
        let Ok(ops) = row_ops(record, &decoded) else {
            self.damaged += 1;
            return Ok(());
        };
        ops.into_iter().try_for_each(|op| self.row(record, top, rel, op))
    }

    fn role(&mut self, rel: RelFile, at: Lsn, top: Option<Xid>) -> Role {
        if let Some(role) = self.state.roles.get(&rel) {
            return role.clone();
        }
        let role = if rel.db == 0 {
            let name = self.shared.get(&rel).cloned().unwrap_or_else(|| rel.to_string());
            Role::System(name.into())
        } else {
            let view = View { at, top, fates: self.fates };
            let database = self.databases.get(&rel.db);
            let class = database.and_then(|db| db.class_of_file(&view, rel));
            match class {
                // one that was rewritten has a file number like a user's table
                _ if database.is_some_and(|db| db.catalog(rel).is_some()) => {
                    let catalog = database.and_then(|db| db.catalog(rel));
                    Role::System(catalog.map_or("", Catalog::name).into())
                }
                Some(class) if class.kind == 't' => Role::Toast(class.oid),
                Some(class) if class.oid == oid::PG_LARGEOBJECT => Role::LargeObjects,
                Some(class) if class.oid < FIRST_NORMAL_OID => Role::System(class.name.as_str().into()),
                // pg_proc and its like have no file number in pg_class
                None if rel.rel < FIRST_NORMAL_OID => {
                    let name = self.shared.get(&rel).cloned().unwrap_or_else(|| rel.to_string());
                    Role::System(name.into())
                }
                _ => Role::Table,
            }
        };
        self.state.roles.insert(rel, role.clone());
        role
    }

    fn row(&mut self, record: &Record<'_>, top: Xid, rel: RelFile, op: RowOp) -> io::Result<()> {
        let change = match &op {
            RowOp::Insert { .. } => Change::Insert,
            RowOp::Update { .. } => Change::Update,
            RowOp::Delete { .. } => Change::Delete,
            RowOp::TakeBack(at) => {
                self.state.speculative.remove(&(rel, *at));
                return Ok(());
            }
            RowOp::Confirm(at) => {
                return match self.state.speculative.remove(&(rel, *at)) {
                    Some((top, row)) => self.push(top, row),
                    None => Ok(()),
                };
            }
        };
        match self.role(rel, record.lsn, Some(top)) {
            Role::System(name) => {
                self.state.sums.entry(top).or_default().system.entry(name).or_default().add(change);
                Ok(())
            }
            Role::Toast(table) => {
                let (tuple, place) = match op {
                    RowOp::Insert { at, tuple, .. } => (tuple, at),
                    RowOp::Delete { at, .. } => (None, at),
                    _ => return Ok(()),
                };
                let tuple = match tuple {
                    Some(tuple) => Some(tuple),
                    None => self.pages.tuple(rel, place.0, place.1)?.map(|(tuple, _)| tuple),
                };
                tuple.map_or(Ok(()), |tuple| self.chunks.add(rel.db, table, &tuple))
            }
            Role::LargeObjects => self.large_object(record.lsn, top, rel, op),
            Role::Table => self.table_row(record, top, rel, change, op),
        }
    }

    fn table_row(
        &mut self,
        record: &Record<'_>,
        top: Xid,
        rel: RelFile,
        change: Change,
        op: RowOp,
    ) -> io::Result<()> {
        let made_logged = self.is_made_logged(rel, top).filter(|_| change == Change::Insert);
        let Some(shape) = self.shape(rel, made_logged.unwrap_or(record.lsn), top) else {
            self.state.sums.entry(top).or_default().nameless.entry(rel).or_default().add(change);
            return Ok(());
        };
        // a rewrite moves rows and changes none
        // a rewritten catalog has a file number like a user's table
        if (shape.transient_of.is_some() && made_logged.is_none())
            || shape.oid < FIRST_NORMAL_OID
            || !self.filter.wants(&shape)
        {
            return Ok(());
        }
        let (old, new, old_place, speculative) = match op {
            RowOp::Insert { at, tuple, speculative } => {
                self.found_at(rel, top, at);
                (None, self.new_version(record, rel, at, tuple)?, None, speculative.then_some(at))
            }
            RowOp::Update { old, new, tuple, logged } => {
                let before = self.old_version(record, rel, old, logged)?;
                (before, self.new_version(record, rel, new, tuple)?, Some(old), None)
            }
            RowOp::Delete { at, logged } => {
                (self.old_version(record, rel, at, logged)?, None, Some(at), None)
            }
            RowOp::TakeBack(_) | RowOp::Confirm(_) => return Ok(()),
        };
        // more values than the catalogs know columns of: none of them can be told
        let too_many = |version: &Version| {
            header(&version.tuple).is_ok_and(|h| usize::from(h.column_count()) > shape.columns.len())
        };
        if [&old, &new].into_iter().flatten().any(too_many) {
            self.state.without_columns += 1;
            self.state.sums.entry(top).or_default().nameless.entry(rel).or_default().add(change);
            return Ok(());
        }
        for version in [&old, &new].into_iter().flatten() {
            self.want_values(&shape, &version.tuple);
        }
        let row = RowChange { lsn: record.lsn, change, shape, old, new, old_place };
        match speculative {
            Some(at) => {
                self.state.speculative.insert((rel, at), (top, row));
                Ok(())
            }
            None => self.push(top, row),
        }
    }

    fn new_version(
        &mut self,
        record: &Record<'_>,
        rel: RelFile,
        at: Place,
        tuple: Option<Vec<u8>>,
    ) -> io::Result<Option<Version>> {
        if let Some(tuple) = tuple {
            return Ok(Some(Version { tuple, from: Origin::Record }));
        }
        if let Some((tuple, from)) = self.pages.tuple(rel, at.0, at.1)? {
            return Ok(Some(Version { tuple, from }));
        }
        Ok(self.in_file(rel, at, |tuple| tuple.xmin() == record.xid))
    }

    fn old_version(
        &mut self,
        record: &Record<'_>,
        rel: RelFile,
        at: Place,
        logged: Option<Logged>,
    ) -> io::Result<Option<Version>> {
        if let Some((tuple, from)) = self.pages.tuple(rel, at.0, at.1)? {
            return Ok(Some(Version { tuple, from }));
        }
        let key = match logged {
            Some(Logged { tuple, whole: true }) => return Ok(Some(Version { tuple, from: Origin::Record })),
            other => other.map(|logged| Version { tuple: logged.tuple, from: Origin::Key }),
        };
        let ended_here = |tuple: &Tuple<'_>| {
            tuple.xmax() == record.xid
                && tuple.infomask() & (infomask::XMAX_IS_MULTI | infomask::XMAX_INVALID) == 0
        };
        Ok(self.in_file(rel, at, ended_here).or(key))
    }

    /// The version in the target's heap file, if it is the one.
    fn in_file(&self, rel: RelFile, at: Place, is_it: impl Fn(&Tuple<'_>) -> bool) -> Option<Version> {
        let mut bytes = [0; BLOCK_SIZE];
        if !self.pages.target().read_block(rel, at.0, &mut bytes).ok()? {
            return None;
        }
        let tuple = Page::read(&bytes).ok()??.item(at.1)?;
        let found = is_it(&Tuple::read(tuple).ok()?);
        found.then(|| Version { tuple: tuple.to_vec(), from: Origin::Target })
    }

    pub(super) fn want_values(&mut self, shape: &Shape, tuple: &[u8]) {
        if Tuple::read(tuple).is_ok_and(|t| t.infomask() & HAS_EXTERNAL != 0) {
            for value in columns(tuple, &shape.columns) {
                if let Datum::External(pointer) = value {
                    self.chunks.want(shape.database, &pointer);
                }
            }
        }
    }

    pub(super) fn shape(&mut self, rel: RelFile, at: Lsn, top: Xid) -> Option<Arc<Shape>> {
        let database = self.databases.get(&rel.db)?;
        let own = if database.is_changed_by(top) { top } else { 0 };
        let state = database.state_at(at);
        if let Some((known, shape)) = self.state.shapes.get(&(rel, own))
            && *known == state
        {
            return Some(Arc::clone(shape));
        }
        let view = View { at, top: Some(top), fates: self.fates };
        let found = shape(database, &view, rel)?;
        // the same as before: rows of one table stay together
        let found = match self.state.shapes.get(&(rel, own)) {
            Some((_, before)) if same(before, &found) => Arc::clone(before),
            _ => Arc::new(found),
        };
        if self.state.shapes.len() >= MAX_SHAPES {
            self.state.shapes.clear();
        }
        self.state.shapes.insert((rel, own), (state, Arc::clone(&found)));
        Some(found)
    }

    pub(super) fn push(&mut self, top: Xid, row: RowChange) -> io::Result<()> {
        self.words_before(top, row.lsn)?;
        if let Some(xact) = self.by_xid.get(&top).and_then(|at| self.xacts.get_mut(*at)) {
            xact.rows += 1;
        }
        self.spool.push(top, &Entry::Row(Box::new(row)))
    }

    pub(super) fn event(&mut self, top: Xid, lsn: Lsn, event: Event) -> io::Result<()> {
        self.words_before(top, lsn)?;
        if self.filter.tables.is_empty() { self.spool.push(top, &Entry::Event(lsn, event)) } else { Ok(()) }
    }

    /// What the transaction did to the catalogs up to here.
    fn words_before(&mut self, top: Xid, lsn: Lsn) -> io::Result<()> {
        let Some(words) = self.ddl.get_mut(&top) else { return Ok(()) };
        while words.front().is_some_and(|(at, _)| *at <= lsn) {
            if let Some((at, event)) = words.pop_front() {
                self.spool.push(top, &Entry::Event(at, event))?;
            }
        }
        Ok(())
    }

    /// The transaction ends: what is known in sum is written.
    fn end(&mut self, top: Xid, lsn: Lsn) -> io::Result<()> {
        self.words_before(top, lsn)?;
        self.ddl.remove(&top);
        if let Some(sums) = self.state.sums.remove(&top) {
            for (catalog, Three(inserted, updated, deleted)) in sums.system {
                let event = Event::Catalog { catalog: catalog.to_string(), inserted, updated, deleted };
                self.event(top, lsn, event)?;
            }
            for (file, Three(inserted, updated, deleted)) in sums.nameless {
                let event = Event::Nameless { file: file.to_string(), inserted, updated, deleted };
                self.event(top, lsn, event)?;
            }
        }
        self.spool.close(top)
    }

    fn transaction(&mut self, record: &Record<'_>) -> io::Result<()> {
        let Some(main) = record.main_data(self.major) else { return Ok(()) };
        let ends = !matches!(record.info & op::XACT_MASK, op::XACT_ASSIGNMENT..);
        let Ok(xact) = XactRecord::parse(main, record.info, record.xid, self.major) else { return Ok(()) };
        if !ends || !self.by_xid.contains_key(&xact.xid) {
            return Ok(());
        }
        let origin = record.decode(self.major).ok().and_then(|decoded| decoded.origin);
        if let Some(lost) = self.by_xid.get(&xact.xid).and_then(|at| self.xacts.get_mut(*at)) {
            lost.origin = origin.filter(|origin| *origin != 0);
            lost.origin_names = lost.origin.map(|origin| self.origins.names(origin)).unwrap_or_default();
            lost.origin_lsn = xact.origin.map(|(lsn, _)| lsn).filter(|lsn| lsn.is_valid());
        }
        self.end(xact.xid, record.lsn)
    }

    fn take(&mut self, record: &Record<'_>) -> io::Result<()> {
        match record.rmid {
            id::XACT => self.transaction(record),
            id::SEQ => {
                self.sequence(record);
                Ok(())
            }
            id::LOGICALMSG => self.message(record),
            id::DBASE | id::TBLSPC => self.database(record),
            id::HEAP | id::HEAP2 => {
                if self.is_wanted(record) {
                    return self.heap(record);
                }
                Ok(())
            }
            id::XLOG if is_image(record.info) && self.is_wanted(record) => self.heap(record),
            _ => Ok(()),
        }
    }

    /// To be called behind the last record: transactions that are open there, prepared ones above all, end.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        self.rest_of_filled()?;
        let open: Vec<Xid> = self.by_xid.keys().copied().collect();
        for xid in open {
            self.end(xid, Lsn::MAX)?;
        }
        self.spool.finish()
    }
}

const fn is_image(info: u8) -> bool {
    matches!(info & 0xF0, op::XLOG_FPI | op::XLOG_FPI_FOR_HINT)
}

fn same(a: &Shape, b: &Shape) -> bool {
    a.oid == b.oid
        && a.name == b.name
        && a.schema == b.schema
        && a.columns == b.columns
        && a.key == b.key
        && a.transient_of == b.transient_of
        // types of the cluster's own may have changed
        && a.columns.iter().all(|column| a.types.get(column.type_oid) == b.types.get(column.type_oid))
}

impl Sink for Collect<'_, '_> {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        match rmid {
            id::XLOG => is_image(info),
            id::XACT | id::HEAP | id::HEAP2 | id::SEQ | id::LOGICALMSG | id::DBASE | id::TBLSPC => true,
            _ => false,
        }
    }

    fn longest(&self, rmid: u8) -> u32 {
        if rmid == id::LOGICALMSG { LONGEST_MESSAGE } else { LONGEST }
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        if let Err(error) = self.take(record) {
            self.failure = Some(error);
            return false;
        }
        true
    }
}
