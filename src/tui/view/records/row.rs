//! A record as a row of the list, and all of it.

use std::fmt::Write as _;

use std::sync::Arc;

use crate::desc::{self, Subject};
use crate::dump::clock::Clock;
use crate::dump::text::{Style, Text};
use crate::dump::tree::{Grower, Tree};
use crate::names::Names;
use crate::pg::{BlockNumber, Fork, Lsn, Major, RelFile, Xid};
use crate::report::timezone;
use crate::wal::Record;
use crate::wal::record::Parts;
use crate::wal::rmgr;

/// Longest text of a row that is kept, in bytes.
const LONGEST_TEXT: usize = 4 << 10;

/// A row.
#[derive(Debug, Clone)]
pub struct Row {
    /// Where the record starts.
    pub lsn: Lsn,
    /// Start of the record before it.
    pub prev: Lsn,
    /// Its transaction, 0 for none.
    pub xid: Xid,
    /// The transaction that its own is a part of, where it says so.
    pub top: Option<Xid>,
    /// Its length in bytes.
    pub len: u32,
    /// Resource manager and operation.
    pub operation: String,
    /// The blocks it touches, by the names of relations, and what it says.
    pub what: String,
    /// pg_waldump's line.
    pub line: String,
    /// The blocks it touches, by the numbers of their references.
    pub blocks: Vec<(u8, RelFile, Fork, BlockNumber)>,
}

impl Row {
    /// The text in which is searched: what is seen, and the numbers that pg_waldump prints.
    pub fn holds(&self, query: &Query) -> bool {
        query.is_in(&self.operation) || query.is_in(&self.what) || query.is_in(&self.line)
    }
}

/// What is searched for. Capital letters count where there are any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    text: String,
    exact: bool,
}

impl Query {
    /// For this text.
    pub fn new(text: &str) -> Self {
        let exact = text.chars().any(char::is_uppercase);
        Self { text: if exact { text.to_owned() } else { text.to_lowercase() }, exact }
    }

    /// The text as it was typed, as far as that matters.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn is_in(&self, text: &str) -> bool {
        if self.exact { text.contains(&self.text) } else { text.to_lowercase().contains(&self.text) }
    }
}

/// A whole record.
#[derive(Debug, Clone)]
pub struct Detail {
    /// Where it starts.
    pub lsn: Lsn,
    /// Its length.
    pub len: u32,
    /// Its bytes; of a very long one only the first.
    pub bytes: Vec<u8>,
    /// Its fields.
    pub tree: Tree,
}

/// Makes rows.
pub struct Rows {
    line: Text,
    grower: Grower,
    names: Arc<Names>,
    major: Major,
    parts: Parts,
}

impl Rows {
    /// For records of this major.
    pub fn new(major: Major, names: Arc<Names>) -> Self {
        let clock = Clock::new(timezone::local());
        let style = Style { details: false, names: None };
        Self {
            line: Text::new(major, style, clock.clone()),
            grower: Grower::new(major, Some(Arc::clone(&names)), clock),
            names,
            major,
            parts: Parts::default(),
        }
    }

    /// The row of a record.
    pub fn row(&mut self, record: &Record<'_>) -> Row {
        let name = rmgr::op_name(record.rmid, record.info, self.major);
        let name = name.map_or_else(|| format!("UNKNOWN ({:x})", record.info & 0xF0), str::to_owned);
        let mut row = Row {
            lsn: record.lsn,
            prev: record.prev,
            xid: record.xid,
            top: None,
            len: record.total_len,
            operation: format!("{} {name}", rmgr::name(record.rmid)),
            what: String::new(),
            line: String::new(),
            blocks: Vec::new(),
        };
        self.line.buffer.clear();
        let whole = record.bytes.len() >= record.total_len as usize;
        match self.parts.read_headers(record, self.major) {
            Err(error) => {
                self.line.undecodable(record, error.0);
                row.what = format!("<broken record: {}>", error.0);
            }
            Ok(()) if !whole => {
                self.line.undecodable(record, "too long to be shown here; forkpoint waldump shows it");
                row.what = "(a long record; forkpoint waldump shows what it says)".into();
            }
            Ok(()) => {
                let subject = Subject { record, parts: &self.parts, major: self.major };
                let broken = desc::describe(&subject, &mut self.line).err();
                row.what = short(&self.line.buffer);
                if let Some(broken) = broken {
                    let _ = write!(row.what, " <broken record: {broken}>");
                }
                self.line.buffer.clear();
                self.line.record(record, &self.parts);
            }
        }
        row.line = short(self.line.buffer.trim_ascii_end());
        row.top = self.parts.toplevel_xid;
        let mut blocks = String::new();
        for block in &self.parts.blocks {
            let header = &block.header;
            row.blocks.push((header.id, header.rel, header.fork, header.block));
            let (blank, fork) = if header.fork == Fork::Main { ("", "") } else { (" ", header.fork.name()) };
            let image = if header.image.is_some() { " FPW" } else { "" };
            let name = self.short_name(header.rel);
            let _ = write!(blocks, "{name}{blank}{fork} blk {}{image}; ", header.block);
        }
        // what is cut off is rather a field than a relation
        row.what.insert_str(0, &blocks);
        if row.what.ends_with("; ") {
            row.what.truncate(row.what.len() - 2);
        }
        row
    }

    /// The whole record.
    pub fn detail(&mut self, record: &Record<'_>) -> Detail {
        let tree = self.grower.tree(record);
        Detail { lsn: record.lsn, len: record.total_len, bytes: record.bytes.to_vec(), tree }
    }

    /// `schema.name` without its schema where that is the usual one; or the numbers.
    fn short_name(&self, rel: RelFile) -> String {
        match self.names.relations.get(&rel) {
            Some(known) if known.schema == "public" || known.schema == "pg_catalog" => known.name.clone(),
            Some(known) => format!("{}.{}", known.schema, known.name),
            None => rel.to_string(),
        }
    }
}

fn short(bytes: &[u8]) -> String {
    let cut = bytes.get(..LONGEST_TEXT).unwrap_or(bytes);
    let mut text = String::from_utf8_lossy(cut).trim().to_owned();
    if cut.len() < bytes.len() {
        text.push('…');
    }
    text
}
