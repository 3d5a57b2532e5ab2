//! Row versions to columns' values.

use crate::pg::Oid;
use crate::rows::{Datum, Settings, ToastPointer, ToastSource, Untextable, columns, text};

use super::model::{Origin, Shape, Version};
use super::toast::Chunks;

/// A column's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// NULL.
    Null,
    /// As the server prints it with its default settings.
    Text(String),
    /// Of a type that is not read: its name, and the bytes in hex.
    Hex {
        /// The type's name.
        type_name: String,
        /// Two digits to a byte.
        hex: String,
    },
    /// It was not found, or cannot be read: why.
    Unknown(String),
}

impl Value {
    /// It is known, as text or as bytes.
    pub const fn is_known(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}

struct OfDatabase<'a>(&'a Chunks, Oid);

impl ToastSource for OfDatabase<'_> {
    fn fetch(&mut self, pointer: &ToastPointer) -> Result<Vec<u8>, String> {
        self.0.fetch(self.1, pointer)
    }
}

/// Values of a version's columns that are neither dropped nor computed, each with its place in the shape's columns.
pub fn values(shape: &Shape, version: &Version, chunks: &Chunks, settings: &Settings) -> Vec<(usize, Value)> {
    let data = columns(&version.tuple, &shape.columns);
    let mut out = Vec::with_capacity(data.len());
    for ((at, column), datum) in shape.columns.iter().enumerate().zip(data) {
        if column.dropped || column.virtual_ {
            continue;
        }
        if version.from == Origin::Key && !is_key(shape, column.number, &datum) {
            out.push((at, Value::Unknown("the WAL record has the replica identity only".into())));
            continue;
        }
        let value = match datum.bytes(&mut OfDatabase(chunks, shape.database)) {
            Err(why) => Value::Unknown(why),
            Ok(None) => Value::Null,
            Ok(Some(bytes)) => match text(column.type_oid, &bytes, &shape.types, settings) {
                Ok(text) => Value::Text(text),
                Err(Untextable::Type(type_name)) => Value::Hex { type_name, hex: hex(&bytes) },
                Err(broken @ Untextable::Broken { .. }) => Value::Unknown(broken.to_string()),
            },
        };
        out.push((at, value));
    }
    out
}

/// In a replica identity, what is not of its key is NULL.
fn is_key(shape: &Shape, number: i16, datum: &Datum<'_>) -> bool {
    shape.key.contains(&number) || !matches!(datum, Datum::Null | Datum::Missing)
}

/// Whether every value of the version is there; nothing is turned into text.
pub fn is_whole(shape: &Shape, version: &Version, chunks: &Chunks) -> bool {
    version.from != Origin::Key
        && shape.columns.iter().zip(columns(&version.tuple, &shape.columns)).all(
            |(column, datum)| match datum {
                _ if column.dropped || column.virtual_ => true,
                Datum::Broken(_) => false,
                Datum::External(pointer) => chunks.complete(shape.database, &pointer),
                _ => true,
            },
        )
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS.get(usize::from(n & 15)).copied().unwrap_or(b'?'));
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect()
}
