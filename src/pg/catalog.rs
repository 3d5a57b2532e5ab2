//! Columns of the system catalogs that are read without a server, 9.5 to 19.
//!
//! Only columns before the first one of variable width or that may be null are read, so each has a fixed place.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use super::bytes::{Bytes, Short};
use super::tuple::Tuple;
use super::{Major, Oid};

/// OIDs of the catalogs, the same in every major.
#[allow(missing_docs)]
pub mod oid {
    use crate::pg::Oid;

    pub const PG_TABLESPACE: Oid = 1213;
    pub const PG_TYPE: Oid = 1247;
    pub const PG_ATTRIBUTE: Oid = 1249;
    pub const PG_CLASS: Oid = 1259;
    pub const PG_DATABASE: Oid = 1262;
    pub const PG_INDEX: Oid = 2610;
    pub const PG_LARGEOBJECT: Oid = 2613;
    pub const PG_NAMESPACE: Oid = 2615;
    pub const PG_ENUM: Oid = 3501;
    pub const PG_RANGE: Oid = 3541;
    pub const PG_REPLICATION_ORIGIN: Oid = 6000;
}

/// Size of a name in bytes, filled up with zeros (`NAMEDATALEN`).
const NAME_SIZE: usize = 64;

/// Where a column lies: bytes from the start of the row's data, in 9.5 and from each later major that moved it.
#[derive(Debug, Clone, Copy)]
struct Column(u16, &'static [(Major, u16)]);

impl Column {
    fn at(self, major: Major) -> usize {
        let moved = self.1.iter().rev().find(|(since, _)| major >= *since);
        usize::from(moved.map_or(self.0, |(_, at)| *at))
    }
}

/// From 12 on the OID is an ordinary column, the first; all others moved by its four bytes.
macro_rules! columns {
    ($($catalog:ident { $($column:ident: $first:literal $(, $since:ident $at:literal)*;)* })*) => {$(
        mod $catalog {
            use super::{Column, Major};
            $(pub(super) const $column: Column = Column($first, &[$((Major::$since, $at)),*]);)*
        }
    )*};
}

columns! {
    class {
        RELNAME: 0, V12 4;
        RELNAMESPACE: 64, V12 68;
        RELFILENODE: 84, V12 88;
        RELTABLESPACE: 88, V12 92;
        RELTOASTRELID: 104, V12 108, V18 112;
        RELPERSISTENCE: 110, V12 114, V18 118;
        RELKIND: 111, V12 115, V18 119;
    }
    database {
        DATNAME: 0, V12 4;
        DATTABLESPACE: 220, V12 224, V15 92;
    }
    namespace {
        NSPNAME: 0, V12 4;
    }
    tablespace {
        SPCNAME: 0, V12 4;
    }
}

/// A row, and in which major's catalogs it stands.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    tuple: Tuple<'a>,
    data: Bytes<'a>,
    major: Major,
}

impl<'a> Row<'a> {
    /// The row in a tuple.
    pub const fn new(tuple: Tuple<'a>, major: Major) -> Self {
        Self { tuple, data: Bytes::new(tuple.data()), major }
    }

    /// The row's own OID.
    fn own_oid(&self) -> Result<Oid, Short> {
        if self.major >= Major::V12 {
            return self.data.u32_at(0);
        }
        self.tuple.oid().ok_or(Short { offset: 0, wanted: size_of::<Oid>(), available: 0 })
    }

    fn oid(&self, column: Column) -> Result<Oid, Short> {
        self.data.u32_at(column.at(self.major))
    }

    fn character(&self, column: Column) -> Result<char, Short> {
        self.data.u8_at(column.at(self.major)).map(char::from)
    }

    /// A name. Its encoding is the database's; bytes that are not UTF-8 become replacement characters.
    fn name(&self, column: Column) -> Result<String, Short> {
        let field = self.data.slice_at(column.at(self.major), NAME_SIZE)?;
        let name = field.split(|byte| *byte == 0).next().unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }
}

/// A row of a catalog.
pub trait CatalogRow: Sized {
    /// Reads it.
    ///
    /// # Errors
    /// The row is too short for its major, or has no OID.
    fn read(row: Row<'_>) -> Result<Self, Short>;
}

/// A row of pg_class: a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClassRow {
    pub oid: Oid,
    pub name: String,
    pub namespace: Oid,
    /// File number; 0 if the relation is mapped or has no file.
    pub file_number: Oid,
    /// 0 for the database's default.
    pub tablespace: Oid,
    /// Its TOAST table, 0 for none.
    pub toast: Oid,
    pub persistence: char,
    pub kind: char,
}

impl CatalogRow for ClassRow {
    fn read(row: Row<'_>) -> Result<Self, Short> {
        Ok(Self {
            oid: row.own_oid()?,
            name: row.name(class::RELNAME)?,
            namespace: row.oid(class::RELNAMESPACE)?,
            file_number: row.oid(class::RELFILENODE)?,
            tablespace: row.oid(class::RELTABLESPACE)?,
            toast: row.oid(class::RELTOASTRELID)?,
            persistence: row.character(class::RELPERSISTENCE)?,
            kind: row.character(class::RELKIND)?,
        })
    }
}

impl ClassRow {
    /// Whether relations of this kind have files: tables, indexes, sequences, TOAST tables, materialized views.
    /// (Up to 11 the others have a file number, too, but no file.)
    pub const fn has_files(&self) -> bool {
        matches!(self.kind, 'r' | 'i' | 'S' | 't' | 'm')
    }
}

/// A row of pg_database.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct DatabaseRow {
    pub oid: Oid,
    pub name: String,
    pub tablespace: Oid,
}

impl CatalogRow for DatabaseRow {
    fn read(row: Row<'_>) -> Result<Self, Short> {
        Ok(Self {
            oid: row.own_oid()?,
            name: row.name(database::DATNAME)?,
            tablespace: row.oid(database::DATTABLESPACE)?,
        })
    }
}

/// A row of pg_namespace: a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct NamespaceRow {
    pub oid: Oid,
    pub name: String,
}

impl CatalogRow for NamespaceRow {
    fn read(row: Row<'_>) -> Result<Self, Short> {
        Ok(Self { oid: row.own_oid()?, name: row.name(namespace::NSPNAME)? })
    }
}

/// A row of pg_tablespace.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TablespaceRow {
    pub oid: Oid,
    pub name: String,
}

impl CatalogRow for TablespaceRow {
    fn read(row: Row<'_>) -> Result<Self, Short> {
        Ok(Self { oid: row.own_oid()?, name: row.name(tablespace::SPCNAME)? })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pg::tuple::{TupleMut, infomask};

    /// A tuple as a server of this major writes it, with these columns and zeros in all others.
    fn tuple(oid: Oid, major: Major, columns: &[(Column, &[u8])]) -> Vec<u8> {
        let mut tuple = vec![0; 32 + 232];
        tuple[28..32].copy_from_slice(&oid.to_le_bytes());
        if major >= Major::V12 {
            tuple[32..36].copy_from_slice(&oid.to_le_bytes());
        }
        for (column, bytes) in columns {
            let at = 32 + column.at(major);
            tuple[at..at + bytes.len()].copy_from_slice(bytes);
        }
        let mut header = TupleMut::open(&mut tuple).unwrap();
        header.set_hoff(32);
        header.set_infomask(infomask::HAS_OID | infomask::XMAX_INVALID);
        tuple
    }

    /// A tuple of pg_class.
    pub(crate) fn class_tuple(row: &ClassRow, major: Major) -> Vec<u8> {
        tuple(
            row.oid,
            major,
            &[
                (class::RELNAME, row.name.as_bytes()),
                (class::RELNAMESPACE, &row.namespace.to_le_bytes()),
                (class::RELFILENODE, &row.file_number.to_le_bytes()),
                (class::RELTABLESPACE, &row.tablespace.to_le_bytes()),
                (class::RELTOASTRELID, &row.toast.to_le_bytes()),
                (class::RELPERSISTENCE, &[row.persistence as u8]),
                (class::RELKIND, &[row.kind as u8]),
            ],
        )
    }

    /// A tuple of pg_database.
    pub(crate) fn database_tuple(oid: Oid, name: &str, tablespace: Oid, major: Major) -> Vec<u8> {
        let tablespace = tablespace.to_le_bytes();
        tuple(oid, major, &[(database::DATNAME, name.as_bytes()), (database::DATTABLESPACE, &tablespace)])
    }

    /// A tuple of pg_namespace.
    pub(crate) fn namespace_tuple(oid: Oid, name: &str, major: Major) -> Vec<u8> {
        tuple(oid, major, &[(namespace::NSPNAME, name.as_bytes())])
    }

    pub(crate) fn some_class() -> ClassRow {
        ClassRow {
            oid: 16385,
            name: "acct".into(),
            namespace: 2200,
            file_number: 16390,
            tablespace: 0,
            toast: 16388,
            persistence: 'p',
            kind: 'r',
        }
    }

    #[test]
    fn a_row_of_every_layout() {
        for major in [Major::V9_5, Major::V11, Major::V12, Major::V17, Major::V18, Major::V19] {
            let bytes = class_tuple(&some_class(), major);
            let row = Row::new(Tuple::read(&bytes).unwrap(), major);
            assert_eq!(ClassRow::read(row).unwrap(), some_class(), "{major}");
        }
    }

    proptest! {
        #[test]
        fn short_rows_never_panic(len in 0usize..264, fill in any::<u8>()) {
            let mut bytes = class_tuple(&some_class(), Major::V17);
            bytes[40..].fill(fill);
            bytes.truncate(len);
            if let Ok(tuple) = Tuple::read(&bytes) {
                for major in [Major::V9_6, Major::V17] {
                    let row = Row::new(tuple, major);
                    let _ = (ClassRow::read(row), DatabaseRow::read(row), NamespaceRow::read(row), TablespaceRow::read(row));
                }
            }
        }
    }
}
