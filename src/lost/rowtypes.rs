//! Rows of the catalogs that say what a table's rows look like.
//!
//! Where their columns lie is read from pg_attribute itself: only four columns of pg_attribute have to be found without
//! it, whose places differ between majors.

use std::collections::HashMap;

use crate::pg::bytes::Bytes;
use crate::pg::catalog::oid;
use crate::pg::tuple::Tuple;
use crate::pg::{Major, Oid};
use crate::rows::tuple::missing_value;
use crate::rows::{Align, Column, Datum, columns};

/// A catalog that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Catalog {
    Class,
    Attribute,
    Type,
    Namespace,
    Enum,
    Index,
    Range,
}

impl Catalog {
    /// Each.
    pub const ALL: [Self; 7] =
        [Self::Class, Self::Attribute, Self::Type, Self::Namespace, Self::Enum, Self::Index, Self::Range];

    /// Its OID.
    pub const fn oid(self) -> Oid {
        match self {
            Self::Class => oid::PG_CLASS,
            Self::Attribute => oid::PG_ATTRIBUTE,
            Self::Type => oid::PG_TYPE,
            Self::Namespace => oid::PG_NAMESPACE,
            Self::Enum => oid::PG_ENUM,
            Self::Index => oid::PG_INDEX,
            Self::Range => oid::PG_RANGE,
        }
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "pg_class",
            Self::Attribute => "pg_attribute",
            Self::Type => "pg_type",
            Self::Namespace => "pg_namespace",
            Self::Enum => "pg_enum",
            Self::Index => "pg_index",
            Self::Range => "pg_range",
        }
    }

    /// The one with this OID.
    pub fn of(oid: Oid) -> Option<Self> {
        Self::ALL.into_iter().find(|catalog| catalog.oid() == oid)
    }
}

/// A row of pg_class.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct ClassRow {
    pub oid: Oid,
    pub name: String,
    pub namespace: Oid,
    pub file_number: Oid,
    pub tablespace: Oid,
    pub toast: Oid,
    pub kind: char,
    pub persistence: char,
    /// For a transient heap, the table that is rewritten (11 on; before, by the name).
    pub transient_of: Option<Oid>,
}

/// A row of pg_attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttributeRow {
    /// The relation.
    pub relation: Oid,
    /// The column.
    pub column: Column,
}

/// A row of pg_type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct TypeRow {
    pub oid: Oid,
    pub name: String,
    pub namespace: Oid,
    pub len: i16,
    pub kind: u8,
    pub delimiter: u8,
    pub relation: Oid,
    pub element: Oid,
    pub align: Align,
    pub base: Oid,
    pub typmod: i32,
}

/// A row of pg_index.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct IndexRow {
    pub index: Oid,
    pub relation: Oid,
    pub unique: bool,
    pub primary: bool,
    pub immediate: bool,
    pub valid: bool,
    pub replica_identity: bool,
    /// Column numbers of its key; 0 for an expression.
    pub key: Vec<i16>,
    /// It has a predicate.
    pub partial: bool,
}

/// A row of one of the catalogs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum CatalogRow {
    Class(ClassRow),
    Attribute(AttributeRow),
    Type(TypeRow),
    Namespace { oid: Oid, name: String },
    Enum { oid: Oid, of: Oid, order: u32, label: String },
    Index(IndexRow),
    Range { oid: Oid, subtype: Oid, multirange: Option<Oid> },
}

impl CatalogRow {
    /// What rows are looked up by: the OID of what they describe, or of what they belong to.
    pub const fn key(&self) -> Oid {
        match self {
            Self::Class(row) => row.oid,
            Self::Attribute(row) => row.relation,
            Self::Type(row) => row.oid,
            Self::Namespace { oid, .. } | Self::Range { oid, .. } => *oid,
            Self::Enum { of, .. } => *of,
            Self::Index(row) => row.relation,
        }
    }
}

impl CatalogRow {
    /// What it describes: versions with the same are of one object.
    pub const fn identity(&self) -> (Oid, i16) {
        match self {
            Self::Class(row) => (row.oid, 0),
            Self::Attribute(row) => (row.relation, row.column.number),
            Self::Type(row) => (row.oid, 0),
            Self::Namespace { oid, .. } | Self::Range { oid, .. } | Self::Enum { oid, .. } => (*oid, 0),
            Self::Index(row) => (row.index, 0),
        }
    }
}

/// Where four columns of pg_attribute lie: bytes from the start of the row's data.
struct AttributePlaces {
    len: usize,
    number: usize,
    align: usize,
}

impl AttributePlaces {
    const fn of(major: Major) -> Self {
        let (len, number, align) = match major {
            m if (m as u8) < Major::V14 as u8 => (76, 78, 94),
            m if (m as u8) < Major::V16 as u8 => (76, 78, 93),
            m if (m as u8) < Major::V18 as u8 => (72, 74, 87),
            _ => (72, 74, 83),
        };
        Self { len, number, align }
    }
}

const NAME_SIZE: usize = 64;

fn name(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Columns of the followed catalogs.
#[derive(Debug, Clone, Default)]
pub struct Layouts {
    of: HashMap<Oid, Layout>,
}

#[derive(Debug, Clone, Default)]
struct Layout {
    columns: Vec<Column>,
    places: HashMap<String, usize>,
}

impl Layouts {
    /// Takes a row of pg_attribute that describes a catalog's column; others are passed over.
    pub fn learn(&mut self, tuple: &[u8], major: Major) {
        let places = AttributePlaces::of(major);
        let Ok(row) = Tuple::read(tuple) else { return };
        let data = Bytes::new(row.data());
        let read = || {
            let relation = data.u32_at(0).ok().filter(|oid| Catalog::of(*oid).is_some())?;
            let number = data.u16_at(places.number).ok()? as i16;
            Some((
                relation,
                Column::stored(
                    number,
                    name(data.slice_at(4, NAME_SIZE).ok()?),
                    data.u16_at(places.len).ok()? as i16,
                    Align::from_letter(data.u8_at(places.align).ok()?)?,
                ),
            ))
        };
        let Some((relation, column)) = read().filter(|(_, column)| column.number > 0) else { return };
        let layout = self.of.entry(relation).or_default();
        if layout.columns.iter().all(|known| known.number != column.number) {
            layout.columns.push(column);
        }
    }

    /// Every catalog's columns are known from the first to the last.
    pub fn finish(&mut self) -> bool {
        for layout in self.of.values_mut() {
            layout.columns.sort_by_key(|column| column.number);
            layout.places = layout.columns.iter().enumerate().map(|(at, c)| (c.name.clone(), at)).collect();
        }
        Catalog::ALL.iter().all(|catalog| {
            self.of.get(&catalog.oid()).is_some_and(|layout| {
                layout.columns.iter().enumerate().all(|(at, c)| usize::try_from(c.number) == Ok(at + 1))
            })
        })
    }

    /// Reads a row; `None` if it is damaged.
    pub fn read(&self, catalog: Catalog, tuple: &[u8]) -> Option<CatalogRow> {
        let layout = self.of.get(&catalog.oid())?;
        let row = Fields { layout, values: columns(tuple, &layout.columns), tuple };
        match catalog {
            Catalog::Class => row.class().map(CatalogRow::Class),
            Catalog::Attribute => row.attribute().map(CatalogRow::Attribute),
            Catalog::Type => row.typ().map(CatalogRow::Type),
            Catalog::Namespace => {
                Some(CatalogRow::Namespace { oid: row.own_oid()?, name: row.name("nspname")? })
            }
            Catalog::Enum => Some(CatalogRow::Enum {
                oid: row.own_oid()?,
                of: row.u32("enumtypid")?,
                order: row.u32("enumsortorder")?,
                label: row.name("enumlabel")?,
            }),
            Catalog::Index => row.index().map(CatalogRow::Index),
            Catalog::Range => Some(CatalogRow::Range {
                oid: row.u32("rngtypid")?,
                subtype: row.u32("rngsubtype")?,
                multirange: row.u32("rngmultitypid"),
            }),
        }
    }
}

/// A row taken apart.
struct Fields<'a> {
    layout: &'a Layout,
    values: Vec<Datum<'a>>,
    tuple: &'a [u8],
}

impl Fields<'_> {
    fn bytes(&self, column: &str) -> Option<&[u8]> {
        match self.values.get(*self.layout.places.get(column)?)? {
            Datum::Plain(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn u32(&self, column: &str) -> Option<u32> {
        Bytes::new(self.bytes(column)?).u32().ok()
    }

    fn i16(&self, column: &str) -> Option<i16> {
        Bytes::new(self.bytes(column)?).u16().ok().map(|value| value as i16)
    }

    fn byte(&self, column: &str) -> Option<u8> {
        self.bytes(column)?.first().copied()
    }

    fn flag(&self, column: &str) -> bool {
        self.byte(column).is_some_and(|byte| byte != 0)
    }

    fn name(&self, column: &str) -> Option<String> {
        self.bytes(column).map(name)
    }

    /// The row's own OID: an ordinary column from 12 on, hidden before.
    fn own_oid(&self) -> Option<Oid> {
        self.u32("oid").or_else(|| Tuple::read(self.tuple).ok()?.oid())
    }

    fn class(&self) -> Option<ClassRow> {
        let name = self.name("relname")?;
        let kind = char::from(self.byte("relkind")?);
        let by_name = || name.strip_prefix("pg_temp_").filter(|_| kind == 'r')?.parse().ok();
        let transient_of = match self.u32("relrewrite") {
            Some(0) => None,
            Some(oid) => Some(oid),
            None => by_name(),
        };
        Some(ClassRow {
            oid: self.own_oid()?,
            namespace: self.u32("relnamespace")?,
            file_number: self.u32("relfilenode")?,
            tablespace: self.u32("reltablespace")?,
            toast: self.u32("reltoastrelid")?,
            kind,
            persistence: char::from(self.byte("relpersistence")?),
            transient_of,
            name,
        })
    }

    fn attribute(&self) -> Option<AttributeRow> {
        let generated = self.byte("attgenerated").unwrap_or(0);
        let mut column = Column {
            name: self.name("attname")?,
            number: self.i16("attnum")?,
            type_oid: self.u32("atttypid")?,
            typmod: self.u32("atttypmod")? as i32,
            len: self.i16("attlen")?,
            align: Align::from_letter(self.byte("attalign")?)?,
            not_null: self.flag("attnotnull"),
            dropped: self.flag("attisdropped"),
            generated: generated != 0,
            virtual_: generated == b'v',
            identity: self.byte("attidentity").filter(|letter| *letter != 0).map(char::from),
            missing: None,
        };
        if self.flag("atthasmissing")
            && let Some(array) = self.bytes("attmissingval")
        {
            column.missing = missing_value(array, &column).ok();
        }
        Some(AttributeRow { relation: self.u32("attrelid")?, column })
    }

    fn typ(&self) -> Option<TypeRow> {
        Some(TypeRow {
            oid: self.own_oid()?,
            name: self.name("typname")?,
            namespace: self.u32("typnamespace")?,
            len: self.i16("typlen")?,
            kind: self.byte("typtype")?,
            delimiter: self.byte("typdelim")?,
            relation: self.u32("typrelid")?,
            element: self.u32("typelem")?,
            align: Align::from_letter(self.byte("typalign")?)?,
            base: self.u32("typbasetype")?,
            typmod: self.u32("typtypmod")? as i32,
        })
    }

    fn index(&self) -> Option<IndexRow> {
        /// In front of an int2vector's elements: dimensions, offset, element type, size, lower bound.
        const VECTOR_HEADER: usize = 20;
        let vector = self.bytes("indkey")?.get(VECTOR_HEADER..)?;
        let mut key: Vec<i16> = vector.as_chunks::<2>().0.iter().map(|n| i16::from_le_bytes(*n)).collect();
        // included columns follow the key's (11 on)
        if let Some(count) = self.i16("indnkeyatts").and_then(|n| usize::try_from(n).ok()) {
            key.truncate(count);
        }
        Some(IndexRow {
            index: self.u32("indexrelid")?,
            relation: self.u32("indrelid")?,
            unique: self.flag("indisunique"),
            primary: self.flag("indisprimary"),
            immediate: self.flag("indimmediate"),
            valid: self.flag("indisvalid"),
            replica_identity: self.flag("indisreplident"),
            key,
            partial: self.bytes("indpred").is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A row of pg_attribute that describes one of a catalog's columns.
    fn describes(major: Major, relation: Oid, number: i16, name: &str, len: i16, align: u8) -> Vec<u8> {
        let places = AttributePlaces::of(major);
        let mut tuple = vec![0; 24 + 112];
        tuple[22] = 24;
        let data = &mut tuple[24..];
        data[..4].copy_from_slice(&relation.to_le_bytes());
        data[4..4 + name.len()].copy_from_slice(name.as_bytes());
        data[places.len..places.len + 2].copy_from_slice(&len.to_le_bytes());
        data[places.number..places.number + 2].copy_from_slice(&number.to_le_bytes());
        data[places.align] = align;
        tuple
    }

    #[test]
    fn a_catalog_is_read_as_pg_attribute_describes_it() {
        for major in [Major::V13, Major::V15, Major::V17, Major::V18] {
            let mut layouts = Layouts::default();
            // in any order
            layouts.learn(&describes(major, oid::PG_NAMESPACE, 2, "nspname", 64, b'c'), major);
            layouts.learn(&describes(major, oid::PG_NAMESPACE, 1, "oid", 4, b'i'), major);
            assert!(!layouts.finish(), "the other catalogs are not described");
            let mut row = vec![0; 24 + 68];
            row[18..20].copy_from_slice(&2u16.to_le_bytes());
            row[22] = 24;
            row[24..28].copy_from_slice(&2200u32.to_le_bytes());
            row[28..34].copy_from_slice(b"public");
            let read = layouts.read(Catalog::Namespace, &row);
            assert_eq!(read, Some(CatalogRow::Namespace { oid: 2200, name: "public".into() }), "{major}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_rows_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), hoff in 23u8..40) {
            let mut layouts = Layouts::default();
            for (number, name) in ["indexrelid", "indrelid", "indkey", "indpred"].into_iter().enumerate() {
                let len = if number < 2 { 4 } else { -1 };
                layouts.learn(&describes(Major::V18, oid::PG_INDEX, number as i16 + 1, name, len, b'i'), Major::V18);
            }
            layouts.finish();
            let mut tuple = bytes;
            layouts.learn(&tuple, Major::V18);
            if tuple.len() > 22 {
                tuple[22] = hoff;
            }
            for catalog in Catalog::ALL {
                let _ = layouts.read(catalog, &tuple);
            }
        }
    }
}
