//! Names of relations, read without a server.
//!
//! [`Catalogs`] says where the catalogs' blocks come from: [`DiskBlocks`] reads a data directory's files;
//! on a cluster that was not stopped cleanly [`Replay`] lays WAL over them first.
//! [`Names::load`] reads names from one or two of them: of all relations, or of those whose files are wanted.

pub mod blocks;
pub mod disk;
pub mod image;
mod load;
mod reader;
pub mod redo;
pub mod replay;
mod side;
mod visibility;

pub use blocks::{BlockSource, Catalogs};
pub use disk::DiskBlocks;
pub use replay::Replay;

use std::collections::HashMap;

use crate::pg::{Oid, RelFile};

/// A relation's name and what the catalog says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelName {
    /// Database; `None` for shared relations.
    pub database: Option<String>,
    /// Schema.
    pub schema: String,
    /// Relation.
    pub name: String,
    /// OID of the relation (not its file number).
    pub oid: Oid,
    /// `relkind`: `r` table, `i` index, `t` TOAST table, `S` sequence, `m` materialized view …
    pub kind: char,
    /// `relpersistence`: `p`, `u`, `t`.
    pub persistence: char,
    /// For a TOAST table or its index: the table it belongs to, `schema.name`.
    pub toast_of: Option<String>,
    /// Read from the source because it is gone on the target.
    pub from_source: bool,
}

/// Names of databases, tablespaces and relations.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// By file numbers, as WAL names relations.
    pub relations: HashMap<RelFile, RelName>,
    /// Databases by OID.
    pub databases: HashMap<Oid, String>,
    /// Tablespaces by OID.
    pub tablespaces: HashMap<Oid, String>,
    /// What could not be read, each a sentence with the file.
    pub problems: Vec<String>,
    /// The target's catalog was brought up to date by replaying its WAL in memory.
    pub replayed: bool,
}

impl Names {
    /// The relations that are called so: `relation`, `schema.relation` or `database.schema.relation`.
    pub fn called(&self, name: &str) -> Vec<RelFile> {
        let is = |known: &RelName| {
            let qualified = format!("{}.{}", known.schema, known.name);
            let full = known.database.as_ref().map(|database| format!("{database}.{qualified}"));
            known.name == name || qualified == name || full.is_some_and(|full| full == name)
        };
        self.relations.iter().filter(|(_, known)| is(known)).map(|(rel, _)| *rel).collect()
    }

    /// `database.schema.name`, `schema.name` for shared relations, or the numbers where no name is known.
    pub fn describe(&self, rel: RelFile) -> String {
        match self.relations.get(&rel) {
            Some(RelName { database: Some(database), schema, name, .. }) => {
                format!("{database}.{schema}.{name}")
            }
            Some(RelName { schema, name, .. }) => format!("{schema}.{name}"),
            None => rel.to_string(),
        }
    }
}
