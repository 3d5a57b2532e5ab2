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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::blocks::{BlockSource, Unreadable};
    use crate::pg::catalog::tests::{class_tuple, database_tuple, namespace_tuple, some_class};
    use crate::pg::clog::{self, XactStatus};
    use crate::pg::page::{PageBytes, PageMut};
    use crate::pg::relfile::DEFAULT_TABLESPACE;
    use crate::pg::relmap::RelMap;
    use crate::pg::tuple::TupleMut;
    use crate::pg::{BLOCK_SIZE, BlockNumber, Major, Xid};

    const COMMITTED: Xid = 700;
    const LATER: Xid = 701;
    const ABORTED: Xid = 800;
    const MAJOR: Major = Major::V17;
    const CLASS_FILE: Oid = 90_000;

    /// A cluster in memory: one database, and pg_class in a file that is not called like it.
    struct Memory(HashMap<RelFile, Box<PageBytes>>);

    impl BlockSource for Memory {
        fn block_count(&self, rel: RelFile) -> Result<BlockNumber, Unreadable> {
            let missing = || Unreadable { path: rel.to_string().into(), reason: "missing".into() };
            self.0.get(&rel).map(|_| 1).ok_or_else(missing)
        }
        fn read_block(&self, rel: RelFile, _: BlockNumber, into: &mut PageBytes) -> Result<bool, Unreadable> {
            into.copy_from_slice(&self.0[&rel][..]);
            Ok(true)
        }
        fn relation_map(&self, _: Oid, database: Oid) -> Result<RelMap, Unreadable> {
            let entries: &[_] =
                if database == 0 { &[] } else { &[(oid::PG_CLASS, CLASS_FILE), (1249, 1249)] };
            Ok(RelMap::parse(&crate::pg::relmap::tests::image(entries, 524)).unwrap())
        }
        fn xact_page(&self, _: u32, into: &mut PageBytes) -> Result<bool, Unreadable> {
            clog::set_status(into, COMMITTED, XactStatus::Committed);
            clog::set_status(into, LATER, XactStatus::Committed);
            clog::set_status(into, ABORTED, XactStatus::Aborted);
            Ok(true)
        }
        fn multixact_updater(&self, _: u32) -> Result<Option<Xid>, Unreadable> {
            Ok(None)
        }
    }

    /// A row made by the first and, unless 0, deleted by the second transaction.
    fn between(mut tuple: Vec<u8>, xmin: Xid, xmax: Xid) -> Vec<u8> {
        let mut header = TupleMut::open(&mut tuple).unwrap();
        header.set_xmin(xmin);
        header.set_xmax(xmax);
        if xmax != 0 {
            header.set_infomask(0);
        }
        tuple
    }

    fn class(oid: Oid, name: &str, file_number: Oid) -> ClassRow {
        ClassRow { oid, name: name.into(), file_number, toast: 0, ..some_class() }
    }

    fn rel(number: Oid) -> RelFile {
        RelFile { spc: DEFAULT_TABLESPACE, db: 5, rel: number }
    }

    fn catalogs(classes: &[(ClassRow, Xid, Xid)]) -> Catalogs {
        let page = |tuples: Vec<Vec<u8>>| {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            let mut page = PageMut::init(&mut bytes);
            for (i, tuple) in tuples.iter().enumerate() {
                page.add_item(i as u16 + 1, tuple).unwrap();
            }
            bytes
        };
        let shared = |number| RelFile { spc: GLOBAL_TABLESPACE, db: 0, rel: number };
        let row = |(row, xmin, xmax): &(ClassRow, Xid, Xid)| between(class_tuple(row, MAJOR), *xmin, *xmax);
        let namespaces = vec![
            between(namespace_tuple(2200, "public", MAJOR), 1, 0),
            between(namespace_tuple(TOAST_NAMESPACE, "pg_toast", MAJOR), 1, 0),
            between(namespace_tuple(2200, "renamed_in_vain", MAJOR), ABORTED, 0),
        ];
        let databases = vec![
            between(database_tuple(5, "postgres", DEFAULT_TABLESPACE, MAJOR), COMMITTED, 0),
            between(database_tuple(6, "dropped", DEFAULT_TABLESPACE, MAJOR), COMMITTED, LATER),
        ];
        let files = HashMap::from([
            (shared(oid::PG_DATABASE), page(databases)),
            (shared(oid::PG_TABLESPACE), page(Vec::new())),
            (rel(CLASS_FILE), page(classes.iter().map(row).collect())),
            (rel(oid::PG_NAMESPACE), page(namespaces)),
        ]);
        Catalogs { major: MAJOR, blocks: Box::new(Memory(files)), replayed: false, problems: Vec::new() }
    }

    #[test]
    fn the_visible_version_of_a_row_counts() {
        let names = Names::load(
            &catalogs(&[
                (class(1, "first", 100), COMMITTED, LATER),
                (class(1, "second", 100), LATER, ABORTED),
                (class(1, "never", 100), ABORTED, 0),
                (class(2, "made_in_vain", 200), ABORTED, 0),
                (class(3, "old_file", 300), COMMITTED, LATER),
                (class(3, "new_file", 301), LATER, 0),
            ]),
            None,
        );
        assert_eq!(names.problems, Vec::<String>::new());
        assert_eq!(names.describe(rel(100)), "postgres.public.second");
        // nothing else names them
        assert_eq!(names.describe(rel(200)), "postgres.public.made_in_vain");
        assert_eq!(names.describe(rel(300)), "postgres.public.old_file");
        assert_eq!(names.describe(rel(301)), "postgres.public.new_file");
        assert_eq!(names.describe(rel(302)), "1663/5/302");
        assert_eq!((names.databases[&5].as_str(), names.databases[&6].as_str()), ("postgres", "dropped"));
    }

    #[test]
    fn the_source_names_what_is_gone_unless_it_means_something_else() {
        let target = catalogs(&[
            (class(1, "both", 100), COMMITTED, 0),
            (class(2, "dropped_here", 200), COMMITTED, LATER),
            (class(3, "made_and_dropped_here", 300), LATER, LATER),
        ]);
        let source = catalogs(&[
            (class(1, "renamed_there", 100), LATER, 0),
            (class(2, "dropped_here", 200), COMMITTED, 0),
            (class(3, "made_there", 300), LATER, 0),
            (class(4, "only_there", 400), LATER, 0),
            (class(5, "dead_there", 500), COMMITTED, LATER),
        ]);
        let names = Names::load(&target, Some(&source));
        let found =
            |number| (names.describe(rel(number)), names.relations.get(&rel(number)).map(|r| r.from_source));
        assert_eq!(found(100), ("postgres.public.both".into(), Some(false)));
        assert_eq!(found(200), ("postgres.public.dropped_here".into(), Some(true)));
        assert_eq!(found(300), ("postgres.public.made_and_dropped_here".into(), Some(false)));
        assert_eq!(found(400), ("postgres.public.only_there".into(), Some(true)));
        assert_eq!(found(500), ("1663/5/500".into(), None));
    }

    #[test]
    fn kinds_without_files_and_temporary_relations_have_no_numbers() {
        let names = Names::load(
            &catalogs(&[
                (ClassRow { kind: 'v', ..class(1, "view", 100) }, COMMITTED, 0),
                (ClassRow { persistence: 't', ..class(2, "temporary", 200) }, COMMITTED, 0),
                (class(1249, "mapped", 0), COMMITTED, 0),
                (class(3, "without_file", 0), COMMITTED, 0),
                (ClassRow { tablespace: 16_500, ..class(4, "elsewhere", 400) }, COMMITTED, 0),
            ]),
            None,
        );
        let mut found: Vec<_> =
            names.relations.iter().map(|(rel, name)| (rel.to_string(), &*name.name)).collect();
        found.sort();
        assert_eq!(found, [("16500/5/400".into(), "elsewhere"), ("1663/5/1249".into(), "mapped")]);
    }
}
