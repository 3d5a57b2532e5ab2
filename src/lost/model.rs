//! What a rewind would discard, transaction by transaction.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::pg::{FIRST_NORMAL_OID, Lsn, Oid, RelFile, TimestampTz, Xid};
use crate::rows::{Column, Types};

/// A table as a transaction saw it.
#[derive(Debug)]
pub struct Shape {
    /// OID of its database.
    pub database: Oid,
    /// Name of its database, or its number.
    pub database_name: String,
    /// Its schema; empty for a relation without a name.
    pub schema: String,
    /// Its name; for a relation without a name the numbers of its file.
    pub name: String,
    /// Its OID, 0 for a relation without a name.
    pub oid: Oid,
    /// Its file.
    pub file: RelFile,
    /// `relkind`; `?` for a relation without a name.
    pub kind: char,
    /// Its columns by number, dropped ones too; empty for a relation without a name.
    pub columns: Vec<Column>,
    /// Types that are no built-in ones, and those.
    pub types: Arc<Types>,
    /// Numbers of the columns of its primary key, else of its replica identity, else of a unique index over columns
    /// that are not null; empty without any.
    pub key: Vec<i16>,
    /// OID of its TOAST table, 0 for none.
    pub toast: Oid,
    /// For a transient heap that a rewriting command fills: the table that it is for.
    pub transient_of: Option<Oid>,
}

impl Shape {
    /// Columns that hold something a person asked for: not dropped, not computed when read.
    pub fn live(&self) -> impl Iterator<Item = (usize, &Column)> {
        self.columns.iter().enumerate().filter(|(_, column)| !column.dropped && !column.virtual_)
    }

    /// Names of the key's columns.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        let column = |number: &i16| self.columns.iter().find(|c| c.number == *number);
        self.key.iter().filter_map(column).map(|c| c.name.as_str())
    }

    /// `schema.name`, or the file's numbers.
    pub fn qualified(&self) -> String {
        if self.schema.is_empty() { self.name.clone() } else { format!("{}.{}", self.schema, self.name) }
    }

    /// A system catalog or a table of information_schema (`FirstNormalObjectId`).
    pub const fn is_system(&self) -> bool {
        self.oid != 0 && self.oid < FIRST_NORMAL_OID
    }
}

/// Where a row version was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The tuple stands in the WAL record.
    Record,
    /// A full-page image in the WAL, with what the WAL changed of the page since.
    Page,
    /// The target's heap file.
    Target,
    /// The source's heap file, not changed since the divergence, with what the target's WAL changed since.
    Source,
    /// The replica identity in the WAL record: key columns only.
    Key,
}

/// What happened to a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Change {
    Insert,
    Update,
    Delete,
}

/// A version of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The tuple as it lies on a page, header and all.
    pub tuple: Vec<u8>,
    /// Where it was found.
    pub from: Origin,
}

/// A row that was inserted, updated or deleted.
#[derive(Debug, Clone)]
pub struct RowChange {
    /// Start of the record.
    pub lsn: Lsn,
    /// What happened.
    pub change: Change,
    /// The table.
    pub shape: Arc<Shape>,
    /// The row before; `None` for an insert, and where it was not found.
    pub old: Option<Version>,
    /// The row after; `None` for a delete, and where it was not found.
    pub new: Option<Version>,
    /// Block and line pointer of the row before.
    pub old_place: Option<(u32, u16)>,
}

/// Something other than a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// A relation, schema or type was created, dropped, renamed or changed: in words.
    Ddl {
        /// `create`, `drop`, `rename`, `alter`, `truncate`, `rewrite`, `index`.
        action: String,
        /// `schema.name` of what it happened to.
        object: String,
        /// The whole of it in words.
        text: String,
    },
    /// Rows of system catalogs that the words above do not cover.
    Catalog {
        /// The catalog.
        catalog: String,
        /// Rows inserted.
        inserted: u64,
        /// Rows updated.
        updated: u64,
        /// Rows deleted.
        deleted: u64,
    },
    /// A page of a large object (2048 bytes) was written or removed.
    LargeObject {
        /// Its OID.
        object: Oid,
        /// Number of the page, from 0.
        page: Option<i32>,
        /// Bytes that it holds afterwards, `null` if it was removed or is not known.
        bytes: Option<u32>,
        /// Removed rather than written.
        removed: bool,
    },
    /// A logical decoding message (`pg_logical_emit_message`).
    Message {
        /// Its prefix.
        prefix: String,
        /// Its content; bytes that are not UTF-8 are replaced.
        content: String,
        /// Sent at once rather than with its transaction.
        transactional: bool,
    },
    /// Rows that the transaction wrote without WAL and that are not all found: in words.
    NotFound {
        /// The table, `schema.name`.
        object: String,
        /// The whole of it in words.
        text: String,
    },
    /// Rows of a relation that has no name in the catalogs at hand.
    Nameless {
        /// Tablespace, database and file number.
        file: String,
        /// Rows inserted.
        inserted: u64,
        /// Rows updated.
        updated: u64,
        /// Rows deleted.
        deleted: u64,
    },
}

/// How a lost transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// COMMIT.
    Committed,
    /// Prepared and committed after the divergence; its global identifier.
    CommittedPrepared(String),
    /// Prepared before the divergence and committed after it: the source has it prepared still, so only the decision
    /// is lost.
    DecisionCommit(String),
    /// Prepared before the divergence and rolled back after it.
    DecisionRollback(String),
    /// Prepared after the divergence and left so.
    Prepared(String),
}

impl Ending {
    /// Its rows are lost as such.
    pub const fn loses_rows(&self) -> bool {
        matches!(self, Self::Committed | Self::CommittedPrepared(_))
    }

    /// Global identifier of a two-phase transaction.
    pub fn gid(&self) -> Option<&str> {
        match self {
            Self::Committed => None,
            Self::CommittedPrepared(gid)
            | Self::DecisionCommit(gid)
            | Self::DecisionRollback(gid)
            | Self::Prepared(gid) => Some(gid),
        }
    }

    /// In one word, as JSON has it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::CommittedPrepared(_) => "committed_prepared",
            Self::DecisionCommit(_) => "decision_commit",
            Self::DecisionRollback(_) => "decision_rollback",
            Self::Prepared(_) => "prepared",
        }
    }
}

/// A transaction that a rewind discards.
#[derive(Debug, Clone)]
pub struct LostXact {
    /// Its identifier, of the top-level transaction.
    pub xid: Xid,
    /// How it ended.
    pub ending: Ending,
    /// Commit (or prepare) time.
    pub time: Option<TimestampTz>,
    /// Start of the record that ended it.
    pub lsn: Lsn,
    /// Start of its first record in the WAL at hand.
    pub first: Lsn,
    /// It may have written before the WAL at hand.
    pub begins_earlier: bool,
    /// Number of the replication origin that it came from.
    pub origin: Option<u16>,
    /// Its name; several where the number was given out more than once; none where no row of pg_replication_origin is
    /// at hand.
    pub origin_names: Vec<String>,
    /// Position at the origin.
    pub origin_lsn: Option<Lsn>,
    /// Rows of tables of this transaction.
    pub rows: u64,
}

/// Changed rows of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Rows of which before or after was not found whole.
    pub incomplete: u64,
}

/// A sequence that moved after the divergence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// Its database.
    pub database: String,
    /// Its schema, empty without a name.
    pub schema: String,
    /// Its name or its file's numbers.
    pub name: String,
    /// `last_value` of the last record: up to 32 values that were not given out yet are in it.
    pub last_value: i64,
    /// `is_called`.
    pub is_called: bool,
    /// Start of the last record.
    pub lsn: Lsn,
}
