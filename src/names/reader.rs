//! Rows of the catalogs of one cluster.

use crate::pg::catalog::{CatalogRow, ClassRow, DatabaseRow, Row, oid};
use crate::pg::page::Page;
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::relmap::RelMap;
use crate::pg::tuple::{Tuple, infomask};
use crate::pg::{BLOCK_SIZE, Major, Oid, RelFile, Xid};

use super::blocks::BlockSource;
use super::visibility::{Judge, RowState, locked_only};

/// A row and what became of it.
#[derive(Debug, Clone)]
pub struct Judged<R> {
    /// The row.
    pub row: R,
    /// What became of it.
    pub state: RowState,
    /// The transaction that made it.
    pub xmin: Xid,
    /// The transaction that made it also deleted or replaced it: no other one ever saw it.
    pub passing: bool,
}

impl<R> Judged<R> {
    /// The same of another row.
    pub fn with<S>(&self, row: S) -> Judged<S> {
        Judged { row, state: self.state, xmin: self.xmin, passing: self.passing }
    }

    /// Whether this row says more of its object than `other`: visible before deleted before never committed, then
    /// the younger one, then the one that was read later.
    pub fn supersedes<S>(&self, other: &Judged<S>) -> bool {
        let younger = self.xmin.wrapping_sub(other.xmin) as i32 >= 0;
        self.state > other.state || (self.state == other.state && younger)
    }
}

/// Where a database's pg_class lies.
#[derive(Debug)]
pub struct ClassPlace {
    /// File numbers of the mapped catalogs.
    pub map: RelMap,
    /// pg_class itself; `None` if it is not to be found, which has been reported.
    pub file: Option<RelFile>,
    /// Which catalog it is and what is not known without it.
    pub lost: String,
}

/// Where the database's pg_namespace lies. It is not mapped: these rows of pg_class, its own among them, say.
pub fn namespace_file(rows: &[Judged<ClassRow>], database: &DatabaseRow) -> RelFile {
    let row = rows.iter().find(|r| r.row.oid == oid::PG_NAMESPACE && r.state == RowState::Visible);
    let row = row.map(|r| &r.row).filter(|r| r.file_number != 0);
    let rel = row.map_or(oid::PG_NAMESPACE, |r| r.file_number);
    let spc = row.map(|r| r.tablespace).filter(|spc| *spc != 0).unwrap_or(database.tablespace);
    RelFile { spc, db: database.oid, rel }
}

/// Reads the rows of catalogs, and collects what it could not read.
pub struct Reader<'a> {
    blocks: &'a dyn BlockSource,
    major: Major,
    judge: Judge<'a>,
    /// The map of the shared catalogs.
    pub shared_map: RelMap,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads from these blocks.
    pub fn new(blocks: &'a dyn BlockSource, major: Major) -> Self {
        let mut reader = Self {
            blocks,
            major,
            judge: Judge::new(blocks),
            shared_map: RelMap::default(),
            problems: Vec::new(),
        };
        match blocks.relation_map(GLOBAL_TABLESPACE, 0) {
            Ok(map) => reader.shared_map = map,
            Err(problem) => reader.problems.push(format!(
                "{problem}; the shared catalogs are looked for in the files they had when the cluster was made"
            )),
        }
        reader
    }

    /// Where a shared catalog lies.
    pub fn shared_file(&self, catalog: Oid) -> RelFile {
        let rel = self.shared_map.file_number(catalog).unwrap_or(catalog);
        RelFile { spc: GLOBAL_TABLESPACE, db: 0, rel }
    }

    /// All rows of pg_database.
    pub fn databases(&mut self) -> Vec<Judged<DatabaseRow>> {
        self.shared_rows(oid::PG_DATABASE, "pg_database, so no names of databases and relations")
    }

    /// All rows of a shared catalog; `lost` says which one it is and what is not known without it.
    pub fn shared_rows<R: CatalogRow>(&mut self, catalog: Oid, lost: &str) -> Vec<Judged<R>> {
        let file = self.shared_file(catalog);
        self.rows(file, lost, |_| true)
    }

    /// Looks up where the database's pg_class lies.
    pub fn class_place(&mut self, database: &DatabaseRow) -> ClassPlace {
        let map = self.blocks.relation_map(database.tablespace, database.oid);
        let number =
            map.as_ref().ok().and_then(|map| map.file_number(oid::PG_CLASS)).unwrap_or(oid::PG_CLASS);
        let file = RelFile { spc: database.tablespace, db: database.oid, rel: number };
        let lost = format!("pg_class of database {}, so no names of its relations", database.name);
        match map {
            Err(problem) if self.blocks.block_count(file).is_err() => {
                self.problems.push(format!("{problem} ({lost})"));
                ClassPlace { map: RelMap::default(), file: None, lost }
            }
            Err(problem) => {
                self.problems.push(format!(
                    "{problem}; the catalogs of database {} are looked for in the files they had at first",
                    database.name
                ));
                ClassPlace { map: RelMap::default(), file: Some(file), lost }
            }
            Ok(map) => ClassPlace { map, file: Some(file), lost },
        }
    }

    /// Rows of a catalog, dead ones too, that `keep` wants. `lost` says which catalog it is and what is not known
    /// without it.
    pub fn rows<R: CatalogRow>(
        &mut self,
        file: RelFile,
        lost: &str,
        keep: impl Fn(&R) -> bool,
    ) -> Vec<Judged<R>> {
        let mut rows = Vec::new();
        if let Err(problem) = self.read(file, &mut rows, keep) {
            let problem = format!("{problem} ({lost})");
            // a catalog that is read twice
            if !self.problems.contains(&problem) {
                self.problems.push(problem);
            }
        }
        rows
    }

    fn read<R: CatalogRow>(
        &mut self,
        file: RelFile,
        rows: &mut Vec<Judged<R>>,
        keep: impl Fn(&R) -> bool,
    ) -> Result<(), String> {
        let mut bytes = [0; BLOCK_SIZE];
        let mut damaged = Vec::new();
        for block in 0..self.blocks.block_count(file).map_err(|e| e.to_string())? {
            if !self.blocks.read_block(file, block, &mut bytes).map_err(|e| e.to_string())? {
                break;
            }
            let page = match Page::read(&bytes) {
                Ok(Some(page)) => page,
                Ok(None) => continue,
                Err(error) => {
                    damaged.push((block, error.to_string()));
                    continue;
                }
            };
            for (number, item) in page.items() {
                let tuple = Tuple::read(item);
                match tuple.and_then(|t| Ok((t, R::read(Row::new(t, self.major))?))) {
                    Ok((_, row)) if !keep(&row) => {}
                    Ok((tuple, row)) => {
                        let state = self.judge.state(&tuple);
                        let passing = state != RowState::Visible && ended_by_its_maker(&tuple);
                        rows.push(Judged { row, state, xmin: tuple.xmin(), passing });
                    }
                    Err(error) => damaged.push((block, format!("tuple {number}: {error}"))),
                }
            }
        }
        match damaged.as_slice() {
            [] => Ok(()),
            [(block, error)] => Err(format!("block {block} of {file}: {error}")),
            [(block, error), more @ ..] => {
                Err(format!("block {block} of {file}: {error}, and {} more such places", more.len()))
            }
        }
    }

    /// What could not be read, each a sentence.
    pub fn problems(&self) -> impl Iterator<Item = &String> {
        self.problems.iter().chain(&self.judge.problems)
    }
}

fn ended_by_its_maker(tuple: &Tuple<'_>) -> bool {
    let bits = tuple.infomask();
    bits & infomask::XMAX_IS_MULTI == 0 && !locked_only(bits) && tuple.xmax() == tuple.xmin()
}
