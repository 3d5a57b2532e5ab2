//! What one cluster's catalogs hold of the relations that are to be named.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::pg::catalog::{ClassRow, DatabaseRow, NamespaceRow, TablespaceRow, oid};
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::relmap::RelMap;
use crate::pg::{Oid, RelFile};

use super::blocks::Catalogs;
use super::reader::{ClassPlace, Judged, Reader, namespace_file};
use super::visibility::RowState;

/// OID of the schema pg_toast.
pub const TOAST_NAMESPACE: Oid = 99;

/// Names by OID.
pub type Named = HashMap<Oid, Judged<String>>;

/// One side's databases and tablespaces, and the rows of pg_class that matter for the wanted relations.
pub struct Side<'a> {
    /// Databases.
    pub databases: Named,
    /// Tablespaces.
    pub tablespaces: Named,
    /// The catalogs were brought up to date by replaying WAL.
    pub replayed: bool,
    catalogs: &'a Catalogs,
    /// The wanted file numbers by database.
    numbers: HashMap<Oid, HashSet<Oid>>,
    reader: Reader<'a>,
    classes: Vec<Classes>,
    /// The wanted files: their databases' places in `classes`, their best rows' in `rows`.
    files: HashMap<RelFile, (usize, usize)>,
}

/// A database's rows of pg_class.
struct Classes {
    database: DatabaseRow,
    place: ClassPlace,
    schemas: Named,
    rows: Vec<Judged<ClassRow>>,
    /// Places in `rows` of each relation's best row.
    by_oid: HashMap<Oid, usize>,
    /// Of the best row that refers to a TOAST table.
    by_toast: HashMap<Oid, usize>,
}

/// Rows of pg_class to look for: by the databases' OIDs.
#[derive(Default)]
pub struct Wish(HashMap<Oid, Rows>);

#[derive(Default)]
struct Rows {
    oids: HashSet<Oid>,
    toasts: HashSet<Oid>,
}

impl Wish {
    fn of(&mut self, database: Oid) -> &mut Rows {
        self.0.entry(database).or_default()
    }
}

/// A row of pg_class in its surroundings.
#[derive(Clone, Copy)]
pub struct Found<'a> {
    /// Where it was found.
    pub side: &'a Side<'a>,
    /// The database in which it was found; for shared relations any.
    pub db: Oid,
    /// Its name; `None` for shared relations.
    pub database: Option<&'a str>,
    /// The row.
    pub row: &'a Judged<ClassRow>,
    classes: &'a Classes,
}

impl Found<'_> {
    /// What became of the row.
    pub const fn state(&self) -> RowState {
        self.row.state
    }

    /// The name of its schema.
    pub fn schema(&self) -> String {
        let namespace = self.row.row.namespace;
        self.classes.schemas.get(&namespace).map_or_else(|| namespace.to_string(), |found| found.row.clone())
    }

    /// `schema.name`.
    pub fn qualified(&self) -> String {
        format!("{}.{}", self.schema(), self.row.row.name)
    }
}

/// For a row that is gone: the relation for which it was the transient heap, made by VACUUM FULL, CLUSTER, REFRESH
/// and rewriting ALTER TABLE (`make_new_heap`, cluster.c). It ends with the relation's old files.
pub fn transient_of(found: &Judged<ClassRow>) -> Option<Oid> {
    if found.state == RowState::Visible { None } else { transient_name(&found.row) }
}

fn transient_name(row: &ClassRow) -> Option<Oid> {
    if row.kind == 'r' { row.name.strip_prefix("pg_temp_")?.parse().ok() } else { None }
}

/// Names that REINDEX CONCURRENTLY gives to indexes that come and go.
fn passing_index(row: &ClassRow) -> bool {
    row.kind == 'i' && (row.name.ends_with("_ccnew") || row.name.ends_with("_ccold"))
}

/// The name of a TOAST table or its index. (Which table an index is of stands in pg_index; but the index of a TOAST
/// table is always called like the table, with `_index` behind it.)
pub struct ToastName<'a> {
    /// OID of the table that it belongs to: while that one is rewritten, of the transient heap.
    pub owner: Oid,
    /// What follows: empty, `_index`.
    pub rest: &'a str,
}

impl<'a> ToastName<'a> {
    /// Of this relation.
    pub fn of(row: &'a ClassRow) -> Option<Self> {
        if row.kind != 't' && (row.kind != 'i' || row.namespace != TOAST_NAMESPACE) {
            return None;
        }
        let tail = row.name.strip_prefix("pg_toast_")?;
        let digits = tail.bytes().take_while(u8::is_ascii_digit).count();
        let (owner, rest) = tail.split_at_checked(digits)?;
        Some(Self { owner: owner.parse().ok()?, rest })
    }
}

/// Whether a row says more of a relation than another one: as any row, but first come those with lasting names, and
/// then those that outlived their transaction.
fn better(a: &Judged<ClassRow>, b: &Judged<ClassRow>) -> bool {
    let rank = |r: &Judged<ClassRow>| {
        let makeshift = r.state != RowState::Visible && (transient_of(r).is_some() || passing_index(&r.row));
        (r.state, !makeshift, !r.passing)
    };
    let (a_rank, b_rank) = (rank(a), rank(b));
    if a_rank == b_rank { a.supersedes(b) } else { a_rank > b_rank }
}

impl<'a> Side<'a> {
    /// Reads what the wanted relations' files and OIDs say; without a set, everything.
    pub fn read(catalogs: &'a Catalogs, wanted: Option<&HashSet<RelFile>>) -> Self {
        let reader = Reader::new(&*catalogs.blocks, catalogs.major);
        let mut side = Self {
            databases: Named::new(),
            tablespaces: Named::new(),
            replayed: catalogs.replayed,
            catalogs,
            numbers: HashMap::new(),
            reader,
            classes: Vec::new(),
            files: HashMap::new(),
        };
        let databases = side.reader.databases();
        for found in side
            .reader
            .shared_rows::<TablespaceRow>(oid::PG_TABLESPACE, "pg_tablespace, so no names of tablespaces")
        {
            keep(&mut side.tablespaces, found.row.oid, found.with(found.row.name.clone()));
        }
        for rel in wanted.into_iter().flatten() {
            side.numbers.entry(rel.db).or_default().insert(rel.rel);
        }
        for found in databases {
            keep(&mut side.databases, found.row.oid, found.with(found.row.name.clone()));
            if found.state == RowState::Visible {
                side.read_database(found.row, wanted);
            }
        }
        side
    }

    /// What could not be read, each a sentence.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.catalogs.problems.iter().chain(self.reader.problems()).cloned()
    }

    fn read_database(&mut self, database: DatabaseRow, wanted: Option<&HashSet<RelFile>>) {
        let place = self.reader.class_place(&database);
        let Some(file) = place.file else { return };
        let (shared_map, numbers) = (self.reader.shared_map.clone(), &self.numbers);
        let wants = |row: &ClassRow| {
            let Some(wanted) = wanted else { return has_own_files(row) };
            let db = if row.tablespace == GLOBAL_TABLESPACE { 0 } else { database.oid };
            has_own_files(row) && numbers.get(&db).is_some_and(|numbers| numbers.contains(&row.oid))
                || file_of(row, &database, &place.map, &shared_map).is_some_and(|rel| wanted.contains(&rel))
        };
        let mut rows = self.reader.rows::<ClassRow>(file, &place.lost, |row| {
            row.oid == oid::PG_NAMESPACE || transient_name(row).is_some() || wants(row)
        });
        rows.shrink_to_fit();
        if rows.is_empty() {
            return;
        }
        let lost = format!("pg_namespace of database {}, so its schemas have no names", database.name);
        let mut schemas = Named::new();
        for found in self.reader.rows::<NamespaceRow>(namespace_file(&rows, &database), &lost, |_| true) {
            keep(&mut schemas, found.row.oid, found.with(found.row.name.clone()));
        }
        let number = self.classes.len();
        for (at, row) in rows.iter().enumerate() {
            let Some(rel) = file_of(&row.row, &database, &place.map, &shared_map) else { continue };
            if wanted.is_some_and(|wanted| !wanted.contains(&rel)) {
                continue;
            }
            match self.files.entry(rel) {
                Entry::Vacant(entry) => {
                    entry.insert((number, at));
                }
                Entry::Occupied(mut entry) => {
                    let &(other, its) = entry.get();
                    let old = if other == number { rows.get(its) } else { row_at(&self.classes, other, its) };
                    if old.is_none_or(|old| better(row, old)) {
                        entry.insert((number, at));
                    }
                }
            }
        }
        let (by_oid, by_toast) = (HashMap::new(), HashMap::new());
        self.classes.push(Classes { database, place, schemas, rows, by_oid, by_toast });
    }

    /// Adds what it takes to name the wanted relations by the rows that have been read of this side and the other.
    pub fn wishes(&self, other: Option<&Side<'_>>, wish: &mut Wish) {
        for classes in &self.classes {
            let rows = wish.of(classes.database.oid);
            for found in classes.rows.iter().filter(|found| transient_name(&found.row).is_none()) {
                if let Some(name) = ToastName::of(&found.row) {
                    rows.oids.insert(name.owner);
                    if found.row.kind == 't' {
                        rows.toasts.insert(found.row.oid);
                    }
                }
            }
        }
        for rel in self.files.keys() {
            let Some(found) = self.at(*rel) else { continue };
            if let Some(of) = transient_of(found.row) {
                wish.of(found.db).oids.insert(of);
            }
            if found.row.passing
                && let Some(theirs) = other.and_then(|other| other.at(*rel))
            {
                wish.of(found.db).oids.insert(theirs.row.row.oid);
            }
        }
        // owners of TOAST tables while they were rewritten, and files that have their numbers
        for classes in &self.classes {
            let rows = wish.of(classes.database.oid);
            for found in &classes.rows {
                let Some(of) = transient_of(found) else { continue };
                let numbered = self.numbers.get(&classes.database.oid);
                if rows.oids.contains(&found.row.oid)
                    || rows.toasts.contains(&found.row.toast)
                    || numbered.is_some_and(|numbers| numbers.contains(&found.row.oid))
                {
                    rows.oids.insert(of);
                }
            }
        }
    }

    /// Reads these rows, too.
    pub fn fulfil(&mut self, wish: &Wish) {
        for classes in &mut self.classes {
            let wanted = wish.0.get(&classes.database.oid);
            let wanted = wanted.filter(|rows| !rows.oids.is_empty() || !rows.toasts.is_empty());
            if let (Some(wanted), Some(file)) = (wanted, classes.place.file) {
                let more = self.reader.rows::<ClassRow>(file, &classes.place.lost, |row| {
                    has_own_files(row)
                        && (wanted.oids.contains(&row.oid) || wanted.toasts.contains(&row.toast))
                });
                classes.rows.extend(more);
            }
        }
        self.index();
    }

    /// Makes the rows ready to be looked up.
    pub fn index(&mut self) {
        for Classes { rows, by_oid, by_toast, .. } in &mut self.classes {
            let put = |map: &mut HashMap<Oid, usize>, key: Oid, at: usize| {
                let old = map.get(&key).and_then(|at| rows.get(*at));
                if rows.get(at).is_some_and(|row| old.is_none_or(|old| better(row, old))) {
                    map.insert(key, at);
                }
            };
            for (at, found) in rows.iter().enumerate() {
                if has_own_files(&found.row) {
                    put(by_oid, found.row.oid, at);
                    if found.row.toast != 0 {
                        put(by_toast, found.row.toast, at);
                    }
                }
            }
        }
    }

    /// Files that rows name.
    pub fn files(&self) -> impl Iterator<Item = RelFile> {
        self.files.keys().copied()
    }

    /// The best row that names this file.
    pub fn at(&'a self, rel: RelFile) -> Option<Found<'a>> {
        let &(number, at) = self.files.get(&rel)?;
        let classes = self.classes.get(number)?;
        Some(self.found(classes, classes.rows.get(at)?))
    }

    fn found(&'a self, classes: &'a Classes, row: &'a Judged<ClassRow>) -> Found<'a> {
        let shared = row.row.tablespace == GLOBAL_TABLESPACE;
        let database = (!shared).then_some(&*classes.database.name);
        Found { side: self, db: classes.database.oid, database, row, classes }
    }

    /// The best row of the relation with this OID, in this database or, for 0, of a shared relation.
    pub fn by_oid(&'a self, db: Oid, oid: Oid) -> Option<Found<'a>> {
        self.look_up(db, oid, |classes| &classes.by_oid)
    }

    /// The best row of the relation that has this TOAST table.
    pub fn by_toast(&'a self, db: Oid, toast: Oid) -> Option<Found<'a>> {
        self.look_up(db, toast, |classes| &classes.by_toast)
    }

    fn look_up(
        &'a self,
        db: Oid,
        key: Oid,
        map: impl Fn(&'a Classes) -> &'a HashMap<Oid, usize>,
    ) -> Option<Found<'a>> {
        self.classes.iter().filter(|classes| db == 0 || classes.database.oid == db).find_map(|classes| {
            let row = classes.rows.get(*map(classes).get(&key)?)?;
            let fits = db != 0 || row.row.tablespace == GLOBAL_TABLESPACE;
            fits.then(|| self.found(classes, row))
        })
    }
}

fn row_at(classes: &[Classes], number: usize, at: usize) -> Option<&Judged<ClassRow>> {
    classes.get(number)?.rows.get(at)
}

/// Temporary relations are never in WAL, and their files carry the session's number besides.
fn has_own_files(row: &ClassRow) -> bool {
    row.has_files() && row.persistence != 't'
}

/// The relation's file.
fn file_of(row: &ClassRow, database: &DatabaseRow, map: &RelMap, shared_map: &RelMap) -> Option<RelFile> {
    if !has_own_files(row) {
        return None;
    }
    let spc = if row.tablespace == 0 { database.tablespace } else { row.tablespace };
    let shared = spc == GLOBAL_TABLESPACE;
    let map = if shared { shared_map } else { map };
    let rel = Some(row.file_number).filter(|n| *n != 0).or_else(|| map.file_number(row.oid))?;
    Some(RelFile { spc, db: if shared { 0 } else { database.oid }, rel })
}

/// Keeps the row that says more of the object.
fn keep<K: Eq + std::hash::Hash, R>(map: &mut HashMap<K, Judged<R>>, key: K, found: Judged<R>) {
    match map.entry(key) {
        Entry::Vacant(place) => {
            place.insert(found);
        }
        Entry::Occupied(mut place) => {
            if found.supersedes(place.get()) {
                place.insert(found);
            }
        }
    }
}
