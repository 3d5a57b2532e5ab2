//! Values as text: what the types' output functions print with the server's default settings.

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

mod bits;
pub(super) mod container;
mod float;
mod geometry;
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
        let written = self.of_kind(out, one, bytes, depth + 1).map_err(|wrong| match wrong {
            Wrong::Broken(why) => broken(why),
            Wrong::Told(told) => told,
        });
        if out.len() > MAX_SIZE {
            return Err(broken("its text would be longer than 1 GB".into()));
        }
        written
    }

    fn of_kind(&self, out: &mut String, one: &Type, bytes: &[u8], depth: u32) -> Written {
        if one.len > 0 && bytes.len() != one.len as usize {
            return Err(format!("{} bytes instead of {}", bytes.len(), one.len).into());
        }
        match &one.kind {
            TypeKind::Base => self.base(out, one.oid, bytes),
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
    fn base(&self, out: &mut String, type_oid: Oid, bytes: &[u8]) -> Written {
        let data = Bytes::new(bytes);
        let major = self.settings.major;
        match type_oid {
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
            oid::INT2VECTOR => self.vector(out, oid::INT2, bytes)?,
            oid::OIDVECTOR => self.vector(out, oid::OID, bytes)?,
            oid::TSVECTOR => search::tsvector(out, bytes)?,
            oid::TXID_SNAPSHOT | oid::PG_SNAPSHOT => search::snapshot(out, bytes)?,
            _ => return Err(Untextable::Type(self.types.name(type_oid)).into()),
        }
        Ok(())
    }
}

/// Text of the database's encoding; only UTF-8 is known.
fn utf8(bytes: &[u8]) -> Result<&str, Wrong> {
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
