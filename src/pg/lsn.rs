//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A position in the write-ahead log, in bytes (`XLogRecPtr`). Written `%X/%X`; 0/0 means "none" on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

/// Text that is not an LSN.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("\"{0}\" is not an LSN; expected two hexadecimal numbers like 0/3000028")]
pub struct BadLsn(pub String);

impl Lsn {
    /// PostgreSQL's `InvalidXLogRecPtr`.
    pub const INVALID: Self = Self(0);
    /// Beyond every position: an open end.
    pub const MAX: Self = Self(u64::MAX);

    /// False for 0/0, which on disk means that there is none.
    pub const fn is_valid(self) -> bool {
        self.0 != 0
    }

    /// The position `bytes` further on; stays at the end of the number range instead of wrapping.
    #[must_use]
    pub const fn plus(self, bytes: u64) -> Self {
        Self(self.0.saturating_add(bytes))
    }

    /// Bytes from `earlier` to this position, 0 if it is not earlier.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// The next position at which a record may start (8-byte alignment, `MAXALIGN`).
    #[must_use]
    pub const fn align8(self) -> Self {
        Self(self.0.saturating_add(7) & !7)
    }

    /// Offset within its WAL page in bytes.
    pub const fn page_offset(self) -> usize {
        (self.0 % super::WAL_PAGE_SIZE as u64) as usize
    }

    /// Start of its WAL page.
    #[must_use]
    pub const fn page_start(self) -> Self {
        Self(self.0 - self.0 % super::WAL_PAGE_SIZE as u64)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF))
    }
}

impl FromStr for Lsn {
    type Err = BadLsn;

    fn from_str(text: &str) -> Result<Self, BadLsn> {
        let bad = || BadLsn(text.chars().take(64).collect());
        let (high, low) = text.split_once('/').ok_or_else(bad)?;
        let half = |part: &str| {
            let hex = (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_hexdigit());
            if hex { u32::from_str_radix(part, 16).ok() } else { None }
        };
        match (half(high), half(low)) {
            (Some(high), Some(low)) => Ok(Self(u64::from(high) << 32 | u64::from(low))),
            _ => Err(bad()),
        }
    }
}

impl Serialize for Lsn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Lsn {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Lsn".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$",
            "description": "A position in the write-ahead log, %X/%X"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for text in ["0/0", "0/3000028", "16/B374D848", "FFFFFFFF/FFFFFFFF"] {
            assert_eq!(text.parse::<Lsn>().unwrap().to_string(), text);
        }
        assert_eq!("0/03000028".parse(), Ok(Lsn(0x0300_0028)));
        for bad in ["", "/", "0/", "/0", "0/+3", "0/123456789", "0 /3", "x/1", "0/3000028 "] {
            assert!(bad.parse::<Lsn>().is_err(), "{bad:?}");
        }
    }
}
