//! One JSON object per line: a header, then each transaction with what it did, then sequences and a summary.

use std::collections::BTreeMap;
use std::io::{self, Write};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::super::dto::{SCHEMA_VERSION, Time, Tool};
use super::super::words;
use super::Summary;
use crate::lost::{Change, Counts, Entry, Event, Lost, LostXact, Origin, Shape, Value, Version};
use crate::pg::Lsn;

/// A line of `forkpoint lost --format jsonl`.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[schemars(title = "forkpoint lost")]
pub enum Line {
    /// The first line.
    Header(Header),
    /// A transaction begins; what it did follows, up to the next one.
    Transaction(Transaction),
    /// A row that the transaction changed.
    Row(Row),
    /// Something else that it did.
    Event(Other),
    /// A sequence that moved after the divergence (which no transaction takes back).
    Sequence(Sequence),
    /// The last line.
    Summary(Summary),
}

/// The first line.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Header {
    /// Version of this format.
    pub schema_version: u32,
    /// What made it.
    pub tool: Tool,
    /// Where the two sides part; null where nothing has to be discarded.
    pub divergence: Option<Lsn>,
    /// The last common timeline.
    pub timeline: Option<u32>,
    /// The WAL was read from here …
    pub from: Option<Lsn>,
    /// … to here.
    pub to: Option<Lsn>,
}

/// A transaction.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Transaction {
    /// Its identifier, without epoch.
    pub xid: u32,
    /// `committed`; `committed_prepared`: prepared and committed after the divergence; `decision_commit`,
    /// `decision_rollback`: prepared before it, so the source has it prepared; `prepared`: prepared after it and left so.
    pub ending: &'static str,
    /// Global identifier of a two-phase transaction.
    pub gid: Option<String>,
    /// When it committed or was prepared.
    pub time: Option<Time>,
    /// Start of the record that ended it.
    pub lsn: Lsn,
    /// It may have written before the WAL at hand.
    pub begins_earlier: bool,
    /// Number of the replication origin.
    pub origin: Option<u16>,
    /// Its name in pg_replication_origin; several if the number was given out more than once, none if it is not known.
    pub origin_names: Vec<String>,
    /// Position at the replication origin.
    pub origin_lsn: Option<Lsn>,
    /// Rows of tables that it changed.
    pub rows: u64,
}

/// A changed row.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The transaction.
    pub xid: u32,
    /// Start of the record.
    pub lsn: Lsn,
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Table.
    pub table: String,
    /// `insert`, `update`, `delete`.
    pub change: &'static str,
    /// Columns of the primary key (or replica identity, or unique index over columns that are not null).
    pub key: Vec<String>,
    /// The row before; null for an insert, or where it was not found.
    pub old: Option<Values>,
    /// Where it was found: `record`, `page` (a full-page image and what the WAL changed since), `target` or `source`
    /// (heap files), `key` (the replica identity in the record: key columns only).
    pub old_from: Option<&'static str>,
    /// The row after; null for a delete, or where it was not found.
    pub new: Option<Values>,
    /// As `old_from`.
    pub new_from: Option<&'static str>,
    /// Everything of before and after was found.
    pub complete: bool,
}

/// Columns by name: text as the server prints it with its default settings, or null.
#[derive(Debug)]
pub struct Values(pub Vec<(String, Value)>);

impl Serialize for Values {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                Value::Null => map.serialize_entry(name, &())?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Hex { type_name, hex } => {
                    map.serialize_entry(name, &BTreeMap::from([("type", type_name), ("hex", hex)]))?;
                }
                Value::Unknown(why) => map.serialize_entry(name, &BTreeMap::from([("unknown", why)]))?,
            }
        }
        map.end()
    }
}

impl JsonSchema for Values {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Values".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "Columns by name: text as the server prints it with its default settings, null for NULL; \
                {type, hex} for a type that is not read; {unknown} with the reason for a value that was not found",
            "additionalProperties": { "anyOf": [
                { "type": ["string", "null"] },
                { "type": "object", "properties": { "type": { "type": "string" }, "hex": { "type": "string" } },
                  "required": ["type", "hex"] },
                { "type": "object", "properties": { "unknown": { "type": "string" } }, "required": ["unknown"] }
            ] }
        })
    }
}

/// Something other than a row.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Other {
    /// The transaction.
    pub xid: u32,
    /// Start of the record; of sums, of the record that ended the transaction.
    pub lsn: Lsn,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// A sequence that moved.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sequence {
    /// Database.
    pub database: String,
    /// Schema.
    pub schema: String,
    /// Sequence.
    pub name: String,
    /// Its `last_value` as WAL has it: up to 32 values further than what was given out.
    pub last_value: i64,
    /// Its `is_called`.
    pub is_called: bool,
    /// Start of the last record.
    pub lsn: Lsn,
}

/// `record`, `page`, `target`, `source`, `key`.
pub const fn origin(from: Origin) -> &'static str {
    match from {
        Origin::Record => "record",
        Origin::Page => "page",
        Origin::Target => "target",
        Origin::Source => "source",
        Origin::Key => "key",
    }
}

/// `insert`, `update`, `delete`.
pub const fn change(change: Change) -> &'static str {
    match change {
        Change::Insert => "insert",
        Change::Update => "update",
        Change::Delete => "delete",
    }
}

/// Writes everything.
///
/// # Errors
/// As the writer's, or rows cannot be read from the temporary file.
pub fn write(
    lost: &Lost,
    counts: &BTreeMap<(String, String), Counts>,
    out: &mut dyn Write,
) -> io::Result<()> {
    line(
        &Line::Header(Header {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            divergence: lost.divergence.map(|d| d.0),
            timeline: lost.divergence.map(|d| d.1),
            from: lost.read.map(|r| r.0),
            to: lost.read.map(|r| r.1),
        }),
        out,
    )?;
    for xact in &lost.transactions {
        line(&Line::Transaction(transaction(xact)), out)?;
        lost.each(xact.xid, |entry| line(&of_entry(lost, xact, entry), out))?;
    }
    for one in &lost.sequences {
        line(
            &Line::Sequence(Sequence {
                database: one.database.clone(),
                schema: one.schema.clone(),
                name: one.name.clone(),
                last_value: one.last_value,
                is_called: one.is_called,
                lsn: one.lsn,
            }),
            out,
        )?;
    }
    line(&Line::Summary(Summary::new(lost, counts)), out)
}

fn line(line: &Line, out: &mut dyn Write) -> io::Result<()> {
    let text = serde_json::to_string(line).map_err(io::Error::from)?;
    // what could steer a terminal stays an escape
    let mut rest = text.as_str();
    while let Some(at) = rest.find(words::unsafe_char) {
        let (front, back) = rest.split_at(at);
        out.write_all(front.as_bytes())?;
        let mut chars = back.chars();
        if let Some(c) = chars.next() {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
        rest = chars.as_str();
    }
    out.write_all(rest.as_bytes())?;
    out.write_all(b"\n")
}

fn transaction(xact: &LostXact) -> Transaction {
    Transaction {
        xid: xact.xid,
        ending: xact.ending.word(),
        gid: xact.ending.gid().map(str::to_owned),
        time: xact.time.map(Time::from),
        lsn: xact.lsn,
        begins_earlier: xact.begins_earlier,
        origin: xact.origin,
        origin_names: xact.origin_names.clone(),
        origin_lsn: xact.origin_lsn,
        rows: xact.rows,
    }
}

fn of_entry(lost: &Lost, xact: &LostXact, entry: Entry) -> Line {
    match entry {
        Entry::Event(lsn, event) => {
            let lsn = if lsn == Lsn::MAX { xact.lsn } else { lsn };
            Line::Event(Other { xid: xact.xid, lsn, event })
        }
        Entry::Row(row) => {
            let complete = lost.is_whole(&row);
            let values = |version: &Option<Version>| version.as_ref().map(|v| values(lost, &row.shape, v));
            let from = |version: &Option<Version>| version.as_ref().map(|v| origin(v.from));
            Line::Row(Row {
                xid: xact.xid,
                lsn: row.lsn,
                database: row.shape.database_name.clone(),
                schema: row.shape.schema.clone(),
                table: row.shape.name.clone(),
                change: change(row.change),
                key: row.shape.key_names().map(str::to_owned).collect(),
                old_from: from(&row.old),
                new_from: from(&row.new),
                old: values(&row.old),
                new: values(&row.new),
                complete,
            })
        }
    }
}

fn values(lost: &Lost, shape: &Shape, version: &Version) -> Values {
    let values = lost.values(shape, version).into_iter();
    Values(
        values
            .map(|(at, value)| (shape.columns.get(at).map(|c| c.name.clone()).unwrap_or_default(), value))
            .collect(),
    )
}
