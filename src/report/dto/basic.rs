//! What all parts of the report are made of: lists written as they are made, paths, times.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize, Serializer};

use crate::pg::TimestampTz;
use crate::report::words;

/// A sequence that is made while it is written.
pub struct Seq<'a, T>(Box<dyn Fn() -> Box<dyn Iterator<Item = T> + 'a> + 'a>);

impl<'a, T> Seq<'a, T> {
    /// From what makes the iterator.
    pub fn new<I, F>(make: F) -> Self
    where
        I: Iterator<Item = T> + 'a,
        F: Fn() -> I + 'a,
    {
        Self(Box::new(move || Box::new(make())))
    }

    /// Makes the items.
    pub fn items(&self) -> Box<dyn Iterator<Item = T> + 'a> {
        (self.0)()
    }
}

impl<T> std::fmt::Debug for Seq<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seq(..)")
    }
}

impl<T: Serialize> Serialize for Seq<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items())
    }
}

impl<T: JsonSchema> JsonSchema for Seq<'_, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// A path: a string, or where it is not UTF-8 its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum PathText {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes {
        /// RFC 4648, with padding.
        base64: String,
    },
}

impl From<&Path> for PathText {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes { base64: base64(path.as_os_str().as_bytes()) },
        }
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = (0..3).fold(0u32, |v, i| v << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for digit in 0..4 {
            let index = (value >> (18 - 6 * digit)) as usize & 63;
            let known = digit <= chunk.len();
            out.push(if known { ALPHABET.get(index).map_or('=', |&b| char::from(b)) } else { '=' });
        }
    }
    out
}

/// A time: RFC 3339 in UTC, or outside its years microseconds since 2000-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Time {
    /// RFC 3339.
    Text(String),
    /// Microseconds since 2000-01-01 UTC.
    Raw(i64),
}

impl From<TimestampTz> for Time {
    fn from(time: TimestampTz) -> Self {
        words::rfc3339(time).map_or(Self::Raw(time), Self::Text)
    }
}

/// What made this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tool {
    /// `forkpoint`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Tool {
    /// This build.
    pub const THIS: Self = Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
}
