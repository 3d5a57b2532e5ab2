//! Columns and types, as far as values need them.

use std::collections::HashMap;

use jiff::tz::TimeZone;

use super::builtin;
use crate::pg::{Major, Oid};

/// Alignment of a type's values (`typalign`, pg_type.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// `c`: none.
    Char,
    /// `s`: two bytes.
    Short,
    /// `i`: four bytes.
    Int,
    /// `d`: eight bytes.
    Double,
}

impl Align {
    /// What the catalog's letter says.
    pub const fn from_letter(letter: u8) -> Option<Self> {
        match letter {
            b'c' => Some(Self::Char),
            b's' => Some(Self::Short),
            b'i' => Some(Self::Int),
            b'd' => Some(Self::Double),
            _ => None,
        }
    }

    /// In bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::Char => 1,
            Self::Short => 2,
            Self::Int => 4,
            Self::Double => 8,
        }
    }
}

/// A column of a table or of a composite type (pg_attribute).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// `attname`.
    pub name: String,
    /// `attnum`, from 1.
    pub number: i16,
    /// `atttypid`; 0 of a dropped column.
    pub type_oid: Oid,
    /// `atttypmod`.
    pub typmod: i32,
    /// `attlen`: bytes, -1 for varlena, -2 for a string that ends with a zero byte.
    pub len: i16,
    /// `attalign`.
    pub align: Align,
    /// `attnotnull`.
    pub not_null: bool,
    /// `attisdropped`: values of older rows are still there.
    pub dropped: bool,
    /// `attgenerated` is not empty.
    pub generated: bool,
    /// `attgenerated` is `v` (18 on): tuples hold NULL.
    pub virtual_: bool,
    /// `attidentity`: `a` for always, `d` for by default.
    pub identity: Option<char>,
    /// What rows have that are older than the column (`attmissingval`'s element, 11 on), as in
    /// [`Datum::Plain`](super::Datum::Plain); see [`missing_value`](super::tuple::missing_value).
    pub missing: Option<Vec<u8>>,
}

impl Column {
    /// A column of which nothing more is known than how its values are stored.
    pub fn stored(number: i16, name: String, len: i16, align: Align) -> Self {
        Self {
            name,
            number,
            type_oid: 0,
            typmod: -1,
            len,
            align,
            not_null: false,
            dropped: false,
            generated: false,
            virtual_: false,
            identity: None,
            missing: None,
        }
    }
}

/// A type (pg_type).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Type {
    /// Its OID.
    pub oid: Oid,
    /// `typname`.
    pub name: String,
    /// Name of its schema.
    pub schema: String,
    /// What its values are made of.
    pub kind: TypeKind,
    /// `typlen`, as in [`Column::len`].
    pub len: i16,
    /// `typalign`.
    pub align: Align,
    /// `typdelim`: stands between elements of an array of it.
    pub delimiter: u8,
}

/// What values of a type are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TypeKind {
    /// By the type's own functions; only those of built-in types are known.
    Base,
    /// One of these labels (pg_enum).
    Enum(Vec<(Oid, String)>),
    /// An array.
    Array {
        /// `typelem`.
        element: Oid,
    },
    /// Values of another type.
    Domain {
        /// `typbasetype`.
        base: Oid,
        /// `typtypmod`.
        typmod: i32,
    },
    /// A row of these columns, dropped ones too.
    Composite(Vec<Column>),
    /// A range.
    Range {
        /// `rngsubtype`.
        subtype: Oid,
    },
    /// A multirange (14 on).
    Multirange {
        /// `rngtypid`.
        range: Oid,
    },
    /// No values are stored.
    Pseudo,
}

/// The types that are known.
#[derive(Debug, Clone)]
pub struct Types {
    map: HashMap<Oid, Type>,
}

impl Types {
    /// The built-in ones (pg_type.dat), whose OIDs are the same in every major.
    pub fn builtin() -> Self {
        Self { map: builtin::types().map(|one| (one.oid, one)).collect() }
    }

    /// Adds one of the cluster's own, or replaces one with the same OID.
    pub fn add(&mut self, one: Type) {
        self.map.insert(one.oid, one);
    }

    /// The type with this OID.
    pub fn get(&self, oid: Oid) -> Option<&Type> {
        self.map.get(&oid)
    }

    /// Its name, with its schema unless that is pg_catalog; its number for one that is not known.
    pub fn name(&self, oid: Oid) -> String {
        match self.get(oid) {
            Some(one) if one.schema == builtin::SCHEMA => one.name.clone(),
            Some(one) => format!("{}.{}", one.schema, one.name),
            None => format!("with OID {oid}"),
        }
    }
}

/// What text depends on, besides the value.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server's major.
    pub major: Major,
    /// `TimeZone`, for timestamptz.
    pub time_zone: TimeZone,
}
