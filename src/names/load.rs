//! From the catalogs' rows to names.

use std::collections::{HashMap, HashSet};

use crate::pg::catalog::ClassRow;
use crate::pg::{Oid, RelFile};

use super::blocks::Catalogs;
use super::reader::Judged;
use super::side::{Found, Named, Side, ToastName, Wish, transient_of};
use super::visibility::RowState;
use super::{Names, RelName};

impl Names {
    /// Reads the names of databases and tablespaces, and of the wanted relations: without a set, of all that have a
    /// row on either side. A relation that is gone on the target gets the name that the source's catalogs or, where
    /// these do not know it either, the target's dead rows have for it.
    ///
    /// After the fork both sides give out the same numbers: to name what only the source changed, load the names
    /// with the source as the first argument.
    pub fn load(target: &Catalogs, source: Option<&Catalogs>, wanted: Option<&HashSet<RelFile>>) -> Self {
        let mut mine = Side::read(target, wanted);
        let mut theirs = source.map(|source| Side::read(source, wanted));
        complete(&mut mine, theirs.as_mut(), wanted);
        Self::of(&mine, theirs.as_ref(), wanted)
    }

    /// Names for what was found on the target, and with the roles swapped for what was found on the source. The
    /// catalogs are read once for both.
    pub fn load_both(
        target: &Catalogs,
        source: &Catalogs,
        of_target: &HashSet<RelFile>,
        of_source: &HashSet<RelFile>,
    ) -> (Self, Self) {
        let wanted = of_target | of_source;
        let (mut mine, mut theirs) = (Side::read(target, Some(&wanted)), Side::read(source, Some(&wanted)));
        complete(&mut mine, Some(&mut theirs), Some(&wanted));
        (Self::of(&mine, Some(&theirs), Some(of_target)), Self::of(&theirs, Some(&mine), Some(of_source)))
    }

    fn of(mine: &Side<'_>, theirs: Option<&Side<'_>>, wanted: Option<&HashSet<RelFile>>) -> Self {
        let mut names = Self { replayed: mine.replayed, ..Self::default() };
        names.problems = [Some(mine), theirs].into_iter().flatten().flat_map(Side::problems).collect();
        names.databases = merge(&mine.databases, theirs.map(|side| &side.databases));
        names.tablespaces = merge(&mine.tablespaces, theirs.map(|side| &side.tablespaces));
        let both = Both { mine, theirs };
        let files: Vec<RelFile> = match wanted {
            Some(wanted) => wanted.iter().copied().collect(),
            None => mine.files().chain(theirs.into_iter().flat_map(Side::files)).collect(),
        };
        for rel in files {
            if !names.relations.contains_key(&rel)
                && let Some(name) = both.name(rel)
            {
                names.relations.insert(rel, name);
            }
        }
        names
    }
}

/// Reads the rows that the wanted relations' rows refer to, on the same side or the other.
fn complete(mine: &mut Side<'_>, theirs: Option<&mut Side<'_>>, wanted: Option<&HashSet<RelFile>>) {
    if wanted.is_none() {
        mine.index();
        if let Some(theirs) = theirs {
            theirs.index();
        }
        return;
    }
    let mut wish = Wish::default();
    mine.wishes(theirs.as_deref(), &mut wish);
    if let Some(theirs) = &theirs {
        theirs.wishes(Some(&*mine), &mut wish);
    }
    mine.fulfil(&wish);
    if let Some(theirs) = theirs {
        theirs.fulfil(&wish);
    }
}

/// The target's names, and the source's where the target has no visible one.
fn merge(mine: &Named, theirs: Option<&Named>) -> HashMap<Oid, String> {
    let theirs = || theirs.into_iter().flatten();
    let visible = |n: &(&Oid, &Judged<String>)| n.1.state == RowState::Visible;
    let mut names = HashMap::new();
    for (oid, name) in mine.iter().filter(visible).chain(theirs().filter(visible)).chain(mine) {
        names.entry(*oid).or_insert_with(|| name.row.clone());
    }
    names
}

fn same(a: &RelName, b: &RelName) -> bool {
    (a.oid, &a.database, &a.schema, &a.name) == (b.oid, &b.database, &b.schema, &b.name)
}

/// Two sides, the first of them the one on which the relations to be named were found.
#[derive(Clone, Copy)]
struct Both<'a> {
    mine: &'a Side<'a>,
    theirs: Option<&'a Side<'a>>,
}

impl Both<'_> {
    fn name(self, rel: RelFile) -> Option<RelName> {
        let theirs = self.theirs.and_then(|side| {
            let found = side.at(rel).filter(|found| found.state() == RowState::Visible)?;
            let of_source = Both { mine: side, theirs: Some(self.mine) };
            Some(RelName { from_source: true, ..of_source.plain(found) })
        });
        let mine = match self.mine.at(rel) {
            Some(found) if found.state() == RowState::Visible => return Some(self.plain(found)),
            // A heap or index that took the files of another on its way out is known by that other one's row. This
            // is one if the source's owner of the file is a relation of this side, too, and has moved on.
            Some(found) if found.row.passing => {
                let moved = theirs.as_ref().filter(|theirs| {
                    theirs.oid != found.row.row.oid
                        && self.mine.by_oid(rel.db, theirs.oid).is_some_and(|now| {
                            now.state() == RowState::Visible && same(&self.plain(now), theirs)
                        })
                });
                if moved.is_some() { None } else { self.resolve(found) }
            }
            Some(found) => self.resolve(found),
            // A new relation's file is numbered like the relation. Numbers and OIDs are of one series, so no file with
            // this number was ever another relation's.
            None => self.mine.by_oid(rel.db, rel.rel).and_then(|found| self.resolve(found)),
        };
        // Gone on the target. The source's relation of these numbers is the same one only if it is called the same:
        // numbers that became free are given out on both sides.
        match (mine, theirs) {
            (Some(mine), Some(theirs)) if !same(&mine, &theirs) => Some(mine),
            (_, Some(theirs)) => Some(theirs),
            (mine, None) => mine,
        }
    }

    /// What the row says.
    fn plain(self, found: Found<'_>) -> RelName {
        let ClassRow { oid, kind, persistence, .. } = found.row.row;
        RelName {
            database: found.database.map(str::to_owned),
            schema: found.schema(),
            name: found.row.row.name.clone(),
            oid,
            kind,
            persistence,
            toast_of: self.owner(found).and_then(|(_, name)| name),
            from_source: false,
        }
    }

    /// The name of a relation whose row is gone: a transient heap's is the one of the table for which it was made.
    fn resolve(self, found: Found<'_>) -> Option<RelName> {
        if let Some(of) = transient_of(found.row) {
            return self.relation(found.db, of);
        }
        let mut name = self.plain(found);
        if let (Some((owner, _)), Some(parts)) = (self.owner(found), ToastName::of(&found.row.row)) {
            name.name = format!("pg_toast_{owner}{}", parts.rest);
        }
        Some(name)
    }

    /// The relation with this OID, on this side or, where it is gone without a trace, on the other.
    fn relation(self, db: Oid, oid: Oid) -> Option<RelName> {
        let real = |found: &Found<'_>| transient_of(found.row).is_none();
        let mine = self.mine.by_oid(db, oid).filter(real);
        mine.map(|found| self.plain(found)).or_else(|| {
            let found = self.theirs?.by_oid(db, oid).filter(real)?;
            Some(RelName { from_source: true, ..self.plain(found) })
        })
    }

    /// Of a TOAST table or its index: OID and name of the table that it belongs to.
    fn owner(self, found: Found<'_>) -> Option<(Oid, Option<String>)> {
        let parts = ToastName::of(&found.row.row)?;
        let refers =
            if found.row.row.kind == 't' { found.side.by_toast(found.db, found.row.row.oid) } else { None };
        let owner = refers.or_else(|| found.side.by_oid(found.db, parts.owner));
        let oid = match owner {
            Some(owner) => match transient_of(owner.row) {
                None => return Some((owner.row.row.oid, Some(owner.qualified()))),
                Some(of) => of,
            },
            None => parts.owner,
        };
        let name = self.relation(found.db, oid).map(|owner| format!("{}.{}", owner.schema, owner.name));
        // an OID that nothing has
        if owner.is_none() && name.is_none() { None } else { Some((oid, name)) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::side::TOAST_NAMESPACE;
    use super::*;
    use crate::names::blocks::{BlockSource, Unreadable};
    use crate::pg::catalog::oid;
    use crate::pg::catalog::tests::{class_tuple, database_tuple, namespace_tuple, some_class};
    use crate::pg::clog::{self, XactStatus};
    use crate::pg::page::{PageBytes, PageMut};
    use crate::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
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
        let names = Names::load(&target, Some(&source), None);
        let found =
            |number| (names.describe(rel(number)), names.relations.get(&rel(number)).map(|r| r.from_source));
        assert_eq!(found(100), ("postgres.public.both".into(), Some(false)));
        assert_eq!(found(200), ("postgres.public.dropped_here".into(), Some(true)));
        assert_eq!(found(300), ("postgres.public.made_and_dropped_here".into(), Some(false)));
        assert_eq!(found(400), ("postgres.public.only_there".into(), Some(true)));
        assert_eq!(found(500), ("1663/5/500".into(), None));
    }

    /// `wide` was rewritten: file 404 became 545, made for the transient heap with that OID.
    fn rewritten(wide: &[(ClassRow, Xid, Xid)]) -> Catalogs {
        let toast = |oid, name: &str, number| ClassRow {
            kind: 't',
            namespace: TOAST_NAMESPACE,
            ..class(oid, name, number)
        };
        let index = |oid, name: &str, number| ClassRow { kind: 'i', ..toast(oid, name, number) };
        let heap = |number, toast| ClassRow { toast, ..class(545, "pg_temp_404", number) };
        let mut rows = wide.to_vec();
        rows.extend([
            (heap(404, 407), LATER, LATER),
            (heap(545, 548), LATER, LATER),
            (toast(407, "pg_toast_404", 407), COMMITTED, LATER),
            (toast(548, "pg_toast_404", 600), LATER, 0),
            (toast(548, "pg_toast_545", 548), LATER, LATER),
            (index(549, "pg_toast_545_index", 549), LATER, LATER),
        ]);
        catalogs(&rows)
    }

    fn wide(number: Oid, toast: Oid) -> ClassRow {
        ClassRow { toast, ..class(404, "wide", number) }
    }

    #[test]
    fn a_transient_heap_is_never_named() {
        let source = catalogs(&[(wide(404, 407), COMMITTED, 0)]);
        let numbers = [404, 545, 548, 549, 407];
        let wanted: HashSet<RelFile> = numbers.map(rel).into();
        let toast = "postgres.pg_toast.pg_toast_404";
        let expected =
            ["postgres.public.wide", "postgres.public.wide", toast, &format!("{toast}_index"), toast];
        // where its old row is still there, pruned, and gone altogether
        let pruned = vec![(wide(601, 548), LATER, 0)];
        let whole = [&[(wide(404, 407), COMMITTED, LATER)], &pruned[..]].concat();
        for (rows, known) in [(&whole, true), (&pruned, true), (&Vec::new(), false)] {
            let target = rewritten(rows);
            let alone = Names::load(&target, None, Some(&wanted));
            let both = Names::load_both(&target, &source, &wanted, &HashSet::new()).0;
            let all = Names::load(&target, Some(&source), None);
            assert_eq!(numbers.map(|n| both.describe(rel(n))), expected);
            assert_eq!(numbers.map(|n| all.describe(rel(n))), expected);
            if known {
                assert_eq!(numbers.map(|n| alone.describe(rel(n))), expected);
            } else {
                assert_eq!(alone.describe(rel(404)), "1663/5/404");
            }
            let of_toast = |names: &Names| names.relations[&rel(548)].toast_of.clone();
            assert_eq!(of_toast(&both).as_deref(), Some("public.wide"));
            assert_eq!(of_toast(&alone).as_deref(), known.then_some("public.wide"));
        }
    }

    #[test]
    fn a_file_without_a_row_is_the_relations_with_its_number() {
        let target = catalogs(&[
            (class(100, "moved", 101), LATER, 0),
            (class(200, "moved_too", 201), LATER, 0),
            (class(300, "index_on_its_way_out", 102), LATER, LATER),
        ]);
        let source = catalogs(&[
            (class(900, "made_there", 100), LATER, 0),
            (class(200, "moved_too", 102), COMMITTED, 0),
        ]);
        let wanted: HashSet<RelFile> = [100, 102, 103].map(rel).into();
        let names = Names::load(&target, Some(&source), Some(&wanted));
        assert_eq!(names.describe(rel(100)), "postgres.public.moved");
        // the source's owner of the file has another one here
        assert_eq!(names.describe(rel(102)), "postgres.public.moved_too");
        assert_eq!(names.relations.len(), 2);
        assert_eq!(names.databases.len(), 2);
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
            None,
        );
        let mut found: Vec<_> =
            names.relations.iter().map(|(rel, name)| (rel.to_string(), &*name.name)).collect();
        found.sort();
        assert_eq!(found, [("16500/5/400".into(), "elsewhere"), ("1663/5/1249".into(), "mapped")]);
    }
}
