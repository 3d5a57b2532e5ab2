//! The majors, and how a directory tells which one it is of.

use std::fmt;

use serde::Serialize;

/// A major version of PostgreSQL that forkpoint knows the formats of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Major {
    V9_0,
    V9_1,
    V9_2,
    V9_3,
    V9_4,
    V9_5,
    V9_6,
    V10,
    V11,
    V12,
    V13,
    V14,
    V15,
    V16,
    V17,
    V18,
    V19,
}

impl Major {
    /// Every known major, oldest first.
    pub const ALL: [Self; 17] = [
        Self::V9_0,
        Self::V9_1,
        Self::V9_2,
        Self::V9_3,
        Self::V9_4,
        Self::V9_5,
        Self::V9_6,
        Self::V10,
        Self::V11,
        Self::V12,
        Self::V13,
        Self::V14,
        Self::V15,
        Self::V16,
        Self::V17,
        Self::V18,
        Self::V19,
    ];

    /// As `PG_VERSION` and people write it: `9.6`, `17`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::V9_0 => "9.0",
            Self::V9_1 => "9.1",
            Self::V9_2 => "9.2",
            Self::V9_3 => "9.3",
            Self::V9_4 => "9.4",
            Self::V9_5 => "9.5",
            Self::V9_6 => "9.6",
            Self::V10 => "10",
            Self::V11 => "11",
            Self::V12 => "12",
            Self::V13 => "13",
            Self::V14 => "14",
            Self::V15 => "15",
            Self::V16 => "16",
            Self::V17 => "17",
            Self::V18 => "18",
            Self::V19 => "19",
        }
    }

    /// The major that `PG_VERSION` (its text, line end and all) names.
    pub fn from_pg_version(text: &str) -> Option<Self> {
        let name = text.trim();
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// Magic number of its WAL pages (`XLOG_PAGE_MAGIC`).
    pub const fn wal_magic(self) -> u16 {
        match self {
            Self::V9_0 => 0xD064,
            Self::V9_1 => 0xD066,
            Self::V9_2 => 0xD071,
            Self::V9_3 => 0xD075,
            Self::V9_4 => 0xD07E,
            Self::V9_5 => 0xD087,
            Self::V9_6 => 0xD093,
            Self::V10 => 0xD097,
            Self::V11 => 0xD098,
            Self::V12 => 0xD101,
            Self::V13 => 0xD106,
            Self::V14 => 0xD10D,
            Self::V15 => 0xD110,
            Self::V16 => 0xD113,
            Self::V17 => 0xD116,
            Self::V18 => 0xD118,
            Self::V19 => 0xD122,
        }
    }

    /// The major whose WAL pages carry `magic`.
    pub fn from_wal_magic(magic: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.wal_magic() == magic)
    }

    /// Name of the WAL directory within the data directory.
    pub fn wal_dir(self) -> &'static str {
        if self >= Self::V10 { "pg_wal" } else { "pg_xlog" }
    }

    /// Name of the commit log directory within the data directory.
    pub fn xact_dir(self) -> &'static str {
        if self >= Self::V10 { "pg_xact" } else { "pg_clog" }
    }
}

impl fmt::Display for Major {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Major {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
