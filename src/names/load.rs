//! From the catalogs' rows to names.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::pg::catalog::{ClassRow, DatabaseRow, NamespaceRow, TablespaceRow, oid};
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::{Oid, RelFile};

use super::blocks::Catalogs;
use super::reader::{Judged, Reader};
use super::visibility::RowState;
use super::{Names, RelName};

/// OID of the schema pg_toast.
const TOAST_NAMESPACE: Oid = 99;

impl Names {
    /// Reads the names of databases, tablespaces and relations. A relation that is gone on the target gets the name
    /// that the source's catalogs or, where these do not know it either, the target's dead rows have for it.
    ///
    /// After the fork both sides give out the same numbers: to name what only the source changed, load the names
    /// with the source as the first argument.
    pub fn load(target: &Catalogs, source: Option<&Catalogs>) -> Self {
        let mut mine = Side::read(target);
        let mut theirs = source.map(Side::read).unwrap_or_default();
        let mut names = Self { replayed: target.replayed, ..Self::default() };
        for (catalogs, side) in [(Some(target), &mut mine), (source, &mut theirs)] {
            names.problems.extend(catalogs.into_iter().flat_map(|c| c.problems.iter().cloned()));
            names.problems.append(&mut side.problems);
        }
        names.databases = merge(&mut mine.databases, &mut theirs.databases);
        names.tablespaces = merge(&mut mine.tablespaces, &mut theirs.tablespaces);

        for (rel, found) in mine.relations {
            let name = if found.state == RowState::Visible {
                found.row
            } else {
                // Gone on the target. The source's relation of these numbers is the same one only if it is called
                // the same: numbers that became free are given out on both sides.
                match theirs.relations.get(&rel) {
                    Some(other) if other.state == RowState::Visible && same(&found.row, &other.row) => {
                        RelName { from_source: true, ..other.row.clone() }
                    }
                    _ => found.row,
                }
            };
            names.relations.insert(rel, name);
        }
        for (rel, found) in theirs.relations {
            if found.state == RowState::Visible {
                names.relations.entry(rel).or_insert(RelName { from_source: true, ..found.row });
            }
        }
        names
    }
}

fn same(a: &RelName, b: &RelName) -> bool {
    (a.oid, &a.database, &a.schema, &a.name) == (b.oid, &b.database, &b.schema, &b.name)
}

/// The target's names, and the source's where the target has no visible one.
fn merge(mine: &mut Named, theirs: &mut Named) -> HashMap<Oid, String> {
    let visible = |n: &mut Named| {
        n.extract_if(|_, found| found.state == RowState::Visible)
            .map(|(oid, n)| (oid, n.row))
            .collect::<HashMap<_, _>>()
    };
    let mut names = visible(mine);
    for (oid, name) in visible(theirs).into_iter().chain(mine.drain().map(|(oid, n)| (oid, n.row))) {
        names.entry(oid).or_insert(name);
    }
    names
}

type Named = HashMap<Oid, Judged<String>>;

/// What one side's catalogs say.
#[derive(Default)]
struct Side {
    databases: Named,
    tablespaces: Named,
    relations: HashMap<RelFile, Judged<RelName>>,
    problems: Vec<String>,
}

impl Side {
    fn read(catalogs: &Catalogs) -> Self {
        let mut reader = Reader::new(&*catalogs.blocks, catalogs.major);
        let mut side = Self::default();
        let databases = reader.databases();
        for found in reader
            .shared_rows::<TablespaceRow>(oid::PG_TABLESPACE, "pg_tablespace, so no names of tablespaces")
        {
            let Judged { row, state, xmin } = found;
            keep(&mut side.tablespaces, row.oid, Judged { row: row.name, state, xmin });
        }
        for Judged { row, state, xmin } in databases {
            if state == RowState::Visible {
                side.read_database(&mut reader, &row);
            }
            keep(&mut side.databases, row.oid, Judged { row: row.name, state, xmin });
        }
        side.problems = reader.into_problems();
        side
    }

    fn read_database(&mut self, reader: &mut Reader<'_>, database: &DatabaseRow) {
        let classes = reader.class_rows(database);
        if classes.rows.is_empty() {
            return;
        }
        let lost = format!("pg_namespace of database {}, so its schemas have no names", database.name);
        let mut schemas = Named::new();
        for Judged { row, state, xmin } in
            reader.rows::<NamespaceRow>(classes.namespace_file(database), &lost)
        {
            keep(&mut schemas, row.oid, Judged { row: row.name, state, xmin });
        }
        let schema = |oid: Oid| schemas.get(&oid).map_or_else(|| oid.to_string(), |found| found.row.clone());
        let owners = ToastOwners::of(&classes.rows, schema);

        for Judged { row, state, xmin } in &classes.rows {
            // temporary relations are never in WAL, and their files carry the session's number besides
            if !row.has_files() || row.persistence == 't' {
                continue;
            }
            let spc = if row.tablespace == 0 { database.tablespace } else { row.tablespace };
            let shared = spc == GLOBAL_TABLESPACE;
            let map = if shared { &reader.shared_map } else { &classes.map };
            let number = Some(row.file_number).filter(|n| *n != 0).or_else(|| map.file_number(row.oid));
            let Some(rel) = number else { continue };
            let name = RelName {
                database: (!shared).then(|| database.name.clone()),
                schema: schema(row.namespace),
                name: row.name.clone(),
                oid: row.oid,
                kind: row.kind,
                persistence: row.persistence,
                toast_of: owners.owner_of(row),
                from_source: false,
            };
            let db = if shared { 0 } else { database.oid };
            keep(
                &mut self.relations,
                RelFile { spc, db, rel },
                Judged { row: name, state: *state, xmin: *xmin },
            );
        }
    }
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

/// Which table a TOAST table or its index belongs to.
struct ToastOwners {
    by_oid: HashMap<Oid, Judged<String>>,
    /// OIDs of TOAST tables by their names. (Which table an index is of stands in pg_index; but the index of a TOAST
    /// table is always called like the table, with `_index` behind it.)
    by_name: HashMap<String, Oid>,
}

impl ToastOwners {
    fn of(rows: &[Judged<ClassRow>], schema: impl Fn(Oid) -> String) -> Self {
        let mut owners = Self { by_oid: HashMap::new(), by_name: HashMap::new() };
        for Judged { row, state, xmin } in rows {
            if row.kind == 't' {
                owners.by_name.insert(row.name.clone(), row.oid);
            } else if row.toast != 0 {
                let owner = format!("{}.{}", schema(row.namespace), row.name);
                keep(&mut owners.by_oid, row.toast, Judged { row: owner, state: *state, xmin: *xmin });
            }
        }
        owners
    }

    fn owner_of(&self, row: &ClassRow) -> Option<String> {
        let toast = match row.kind {
            't' => Some(row.oid),
            'i' if row.namespace == TOAST_NAMESPACE => {
                row.name.strip_suffix("_index").and_then(|table| self.by_name.get(table)).copied()
            }
            _ => None,
        };
        toast.and_then(|oid| self.by_oid.get(&oid)).map(|owner| owner.row.clone())
    }
}
