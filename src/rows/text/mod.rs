//! Values as text: what the types' output functions print with the server's default settings.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod bits;
pub(super) mod container;
mod float;
mod geometry;
mod hstore;
mod json;
mod network;
mod numeric;
mod search;
mod time;

use std::fmt::{self, Write as _};

use thiserror::Error;

use super::builtin::oid;
use super::model::{Settings, Type, TypeKind, Types};
use super::toast::MAX_SIZE;
use crate::pg::bytes::{Bytes, Short};
use crate::pg::{Major, Oid};

/// How deep types may be nested in one another; deeper, the catalog is damaged.
const MAX_DEPTH: u32 = 64;

/// A value that has no text here; its bytes can be shown instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Untextable {
    /// Of a type whose values are not read; its name as in [`Types::name`].
    #[error("values of type {0} are not read")]
    Type(String),
    /// Not a value of its type.
    #[error("no value of type {type_name}: {why}")]
    Broken {
        /// The type, or the one of a part of it.
        type_name: String,
        /// What is wrong.
        why: String,
    },
}

/// A value's text: `bytes` as in [`Datum::Plain`](super::Datum::Plain), of type `type_oid`. (No built-in type's text
/// depends on its `typmod`.)
///
/// # Errors
/// The type, or that of a part, is not known or not read, or the bytes are no such value.
pub fn text(type_oid: Oid, bytes: &[u8], types: &Types, settings: &Settings) -> Result<String, Untextable> {
    let mut out = String::new();
    Writer { types, settings }.value(&mut out, type_oid, bytes, 0)?;
    Ok(out)
}

/// Why a value's text ends early.
enum Wrong {
    /// The bytes are no value of the type.
    Broken(String),
    /// Said already, of the type or of one of its parts.
    Told(Untextable),
}

type Written = Result<(), Wrong>;

impl From<Short> for Wrong {
    fn from(short: Short) -> Self {
        Self::Broken(short.to_string())
    }
}

impl From<fmt::Error> for Wrong {
    fn from(error: fmt::Error) -> Self {
        Self::Broken(error.to_string())
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Self {
        Self::Broken(why.into())
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Broken(why)
    }
}

impl From<Untextable> for Wrong {
    fn from(told: Untextable) -> Self {
        Self::Told(told)
    }
}

struct Writer<'a> {
    types: &'a Types,
    settings: &'a Settings,
}

impl Writer<'_> {
    fn value(&self, out: &mut String, type_oid: Oid, bytes: &[u8], depth: u32) -> Result<(), Untextable> {
        let broken = |why| Untextable::Broken { type_name: self.types.name(type_oid), why };
        if depth > MAX_DEPTH {
            return Err(broken("its type is nested without end".into()));
        }
        let Some(one) = self.types.get(type_oid) else {
            return Err(Untextable::Type(self.types.name(type_oid)));
        };
        let written = self.of_kind(out, one, bytes, depth + 1).and_then(|()| room(out));
        written.map_err(|wrong| match wrong {
            Wrong::Broken(why) => broken(why),
            Wrong::Told(told) => told,
        })
    }

    fn of_kind(&self, out: &mut String, one: &Type, bytes: &[u8], depth: u32) -> Written {
        if one.len > 0 && bytes.len() != one.len as usize {
            return Err(format!("{} bytes instead of {}", bytes.len(), one.len).into());
        }
        match &one.kind {
            TypeKind::Base => self.base(out, one, bytes, depth),
            TypeKind::Enum(labels) => {
                let oid = Bytes::new(bytes).u32_at(0)?;
                let label = labels.iter().find(|(label, _)| *label == oid);
                out.push_str(&label.ok_or_else(|| format!("no label has OID {oid}"))?.1);
                Ok(())
            }
            TypeKind::Domain { base, .. } => Ok(self.value(out, *base, bytes, depth)?),
            TypeKind::Array { element } => self.array(out, *element, bytes, depth),
            TypeKind::Composite(columns) => self.composite(out, columns, bytes, depth),
            TypeKind::Range { subtype } => self.range(out, *subtype, bytes, depth),
            TypeKind::Multirange { range } => self.multirange(out, *range, bytes, depth),
            TypeKind::Pseudo => Err(Untextable::Type(self.types.name(one.oid)).into()),
        }
    }

    /// The built-in types' own output functions.
    fn base(&self, out: &mut String, one: &Type, bytes: &[u8], depth: u32) -> Written {
        let data = Bytes::new(bytes);
        let major = self.settings.major;
        match one.oid {
            oid::BOOL => out.push(if data.u8_at(0)? == 0 { 'f' } else { 't' }),
            oid::INT2 => write!(out, "{}", data.u16_at(0)? as i16)?,
            oid::INT4 => write!(out, "{}", data.i32_at(0)?)?,
            oid::INT8 => write!(out, "{}", data.i64_at(0)?)?,
            oid::OID | oid::XID | oid::CID => write!(out, "{}", data.u32_at(0)?)?,
            oid::XID8 | oid::OID8 => write!(out, "{}", data.u64_at(0)?)?,
            oid::FLOAT4 => float::float4(out, f32::from_bits(data.u32_at(0)?), major)?,
            oid::FLOAT8 => float::float8(out, data.f64_at(0)?, major)?,
            oid::NUMERIC => numeric::numeric(out, bytes)?,
            oid::MONEY => numeric::money(out, data.i64_at(0)?)?,
            oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::JSON | oid::REFCURSOR => {
                out.push_str(utf8(bytes)?);
            }
            oid::XML => xml(out, utf8(bytes)?)?,
            oid::NAME => out.push_str(utf8(bytes.split(|byte| *byte == 0).next().unwrap_or_default())?),
            oid::CHAR => character(out, data.u8_at(0)?, major)?,
            oid::BYTEA => bits::bytea(out, bytes)?,
            oid::BIT | oid::VARBIT => bits::bit_string(out, bytes)?,
            oid::UUID => bits::uuid(out, bytes)?,
            oid::DATE => time::date(out, data.i32_at(0)?)?,
            oid::TIME => time::time(out, data.i64_at(0)?)?,
            oid::TIMETZ => time::timetz(out, data.i64_at(0)?, data.i32_at(8)?)?,
            oid::TIMESTAMP => time::timestamp(out, data.i64_at(0)?, None)?,
            oid::TIMESTAMPTZ => time::timestamp(out, data.i64_at(0)?, Some(&self.settings.time_zone))?,
            oid::INTERVAL => {
                time::interval(out, data.i64_at(0)?, data.i32_at(8)?, data.i32_at(12)?, major)?;
            }
            oid::JSONB => json::jsonb(out, bytes)?,
            oid::INET => network::inet(out, bytes, false)?,
            oid::CIDR => network::inet(out, bytes, true)?,
            oid::MACADDR | oid::MACADDR8 => network::macaddr(out, bytes)?,
            oid::POINT => geometry::point(out, bytes, major)?,
            oid::LSEG => geometry::lseg(out, bytes, major)?,
            oid::PATH => geometry::path(out, bytes, major)?,
            oid::BOX => geometry::rectangle(out, bytes, major)?,
            oid::POLYGON => geometry::polygon(out, bytes, major)?,
            oid::LINE => geometry::line(out, bytes, major)?,
            oid::CIRCLE => geometry::circle(out, bytes, major)?,
            oid::TID => {
                let block = u32::from(data.u16_at(0)?) << 16 | u32::from(data.u16_at(2)?);
                write!(out, "({block},{})", data.u16_at(4)?)?;
            }
            oid::PG_LSN => lsn(out, data.u64_at(0)?, major)?,
            oid::INT2VECTOR => self.vector(out, oid::INT2, bytes, depth)?,
            oid::OIDVECTOR => self.vector(out, oid::OID, bytes, depth)?,
            oid::TSVECTOR => search::tsvector(out, bytes)?,
            oid::TXID_SNAPSHOT | oid::PG_SNAPSHOT => search::snapshot(out, bytes)?,
            _ => return self.extension(out, one, bytes),
        }
        Ok(())
    }

    /// Types of PostgreSQL's own extensions, which have no fixed OIDs and are known by name.
    fn extension(&self, out: &mut String, one: &Type, bytes: &[u8]) -> Written {
        match (one.name.as_str(), one.len) {
            ("citext", -1) => out.push_str(utf8(bytes)?),
            ("hstore", -1) => hstore::hstore(out, bytes)?,
            _ => return Err(Untextable::Type(self.types.name(one.oid)).into()),
        }
        Ok(())
    }
}

/// Longer than any value's text can be, so the value is damaged.
fn room(out: &str) -> Written {
    if out.len() > MAX_SIZE { Err("its text would be longer than 1 GB".into()) } else { Ok(()) }
}

/// Text of the database's encoding; only UTF-8 is known.
fn utf8(bytes: &[u8]) -> Result<&str, Wrong> {
    if bytes.contains(&0) {
        return Err("a zero byte in text".into());
    }
    std::str::from_utf8(bytes).map_err(|wrong| wrong.to_string().into())
}

/// `charout`.
fn character(out: &mut String, byte: u8, major: Major) -> Written {
    match byte {
        0 => {}
        1..=0x7F => out.push(char::from(byte)),
        _ if major >= Major::V16 => write!(out, "\\{byte:03o}")?,
        // as it is, whatever the encoding
        _ => return Err(format!("byte {byte:#04x} is no character").into()),
    }
    Ok(())
}

/// `xml_out` leaves out a declaration's encoding and a line break in front; the declaration is not taken apart here.
fn xml(out: &mut String, text: &str) -> Written {
    if text.starts_with("<?xml") {
        return Err(Untextable::Type("xml with a declaration".into()).into());
    }
    out.push_str(text.strip_prefix('\n').unwrap_or(text));
    Ok(())
}

/// `pg_lsn_out`.
fn lsn(out: &mut String, lsn: u64, major: Major) -> Written {
    let (high, low) = (lsn >> 32, lsn as u32);
    if major >= Major::V19 {
        write!(out, "{high:X}/{low:08X}")?;
    } else {
        write!(out, "{high:X}/{low:X}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    use super::*;
    use crate::rows::builtin;
    use crate::rows::model::{Align, Column};

    const COMPOSITE: Oid = 100_000;
    const ITSELF: Oid = 100_001;
    const ENUM: Oid = 100_002;
    const HSTORE: Oid = 100_003;

    fn settings() -> Settings {
        Settings { major: Major::V18, time_zone: TimeZone::UTC }
    }

    fn column(number: i16, type_oid: Oid, len: i16, align: Align) -> Column {
        Column { type_oid, ..Column::stored(number, format!("c{number}"), len, align) }
    }

    fn types() -> Types {
        let mut types = Types::builtin();
        let composite = TypeKind::Composite(vec![
            column(1, oid::INT4, 4, Align::Int),
            column(2, oid::TEXT, -1, Align::Int),
            column(3, COMPOSITE, -1, Align::Double),
        ]);
        let labels = TypeKind::Enum(vec![(7, "seven".into())]);
        let own = [
            (COMPOSITE, "composite", composite, -1),
            (ITSELF, "itself", TypeKind::Domain { base: ITSELF, typmod: -1 }, -1),
            (ENUM, "number", labels, 4),
            (HSTORE, "hstore", TypeKind::Base, -1),
        ];
        for (oid, name, kind, len) in own {
            let (name, schema) = (name.into(), "public".into());
            types.add(Type { oid, name, schema, kind, len, align: Align::Int, delimiter: b',' });
        }
        types
    }

    #[test]
    fn sizes_of_an_array_are_not_multiplied_blindly() {
        let words = [3_u32, 0, oid::INT4, 0x7000_0000, 0x7000_0000, 0, 1, 1, 1];
        let array: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let told = text(1007, &array, &types(), &settings()).unwrap_err().to_string();
        assert_eq!(told, "no value of type _int4: more elements than an array can have");
    }

    #[test]
    fn what_cannot_be_shown_says_why() {
        let (types, settings) = (types(), settings());
        let told = |oid, bytes: &[u8]| text(oid, bytes, &types, &settings).unwrap_err().to_string();
        assert_eq!(told(oid::REGCLASS, &[0; 4]), "values of type regclass are not read");
        assert_eq!(told(99, &[]), "values of type with OID 99 are not read");
        assert_eq!(told(oid::INT4, &[0; 3]), "no value of type int4: 3 bytes instead of 4");
        assert_eq!(told(oid::TEXT, b"a\0b"), "no value of type text: a zero byte in text");
        assert_eq!(told(ENUM, &[8, 0, 0, 0]), "no value of type public.number: no label has OID 8");
        assert_eq!(told(ITSELF, &[]), "no value of type public.itself: its type is nested without end");
        assert_eq!(
            told(oid::DATE, &2_145_031_949_i32.to_le_bytes()),
            "no value of type date: outside of all dates"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), small in any::<bool>()) {
            let (types, settings) = (types(), settings());
            // small numbers reach further
            let bytes: Vec<u8> = bytes.into_iter().map(|byte| if small { byte % 5 } else { byte }).collect();
            let all = builtin::types().map(|one| one.oid).chain([COMPOSITE, ENUM, HSTORE]);
            for oid in all {
                let len = types.get(oid).map_or(0, |one| usize::try_from(one.len).unwrap_or(bytes.len()));
                let mut value = bytes.clone();
                value.resize(len, 1);
                if let Ok(shown) = text(oid, &value, &types, &settings) {
                    prop_assert!(shown.len() < 10_000_000);
                }
            }
        }

        #[test]
        fn arrays_of_one_element_type(count in 0u32..8, bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let (types, settings) = (types(), settings());
            for array in builtin::types() {
                if let TypeKind::Array { element } = array.kind {
                    let mut value = Vec::new();
                    for word in [1, 0, element, count, 1] {
                        value.extend_from_slice(&word.to_le_bytes());
                    }
                    value.extend_from_slice(&bytes);
                    let _ = text(array.oid, &value, &types, &settings);
                }
            }
        }
    }
}
