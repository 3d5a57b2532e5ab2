//! Keys that both sides changed since the divergence.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;

use hashbrown::{HashMap, HashSet};

use super::decode::Value;
use super::model::{Change, RowChange, Shape, Version};
use super::{Entry, Lost};
use crate::pg::Xid;

/// Conflicts that are told one by one; more are counted.
const MAX_TOLD: usize = 10_000;

/// A key that the source changed since the divergence, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Database.
    pub database: String,
    /// `schema.name`.
    pub table: String,
    /// `column=value` of the key, or of the whole row of a table without a key.
    pub key: String,
    /// The source's last transaction that changed it.
    pub source_xid: Xid,
    /// What the source has now: its columns and values; `None` if it deleted the row.
    pub now: Option<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Conflicts {
    /// In order of table and key.
    pub list: Vec<Conflict>,
    /// So many more.
    pub more: u64,
    /// Hashes of the keys.
    keys: HashSet<u64>,
    /// What may be missed, each a sentence.
    pub unseen: Vec<String>,
}

impl Conflicts {
    /// Compares what the target lost with what the source did since the divergence.
    ///
    /// # Errors
    /// A temporary file cannot be read.
    pub fn find(lost: &Lost, source: &Lost) -> io::Result<Self> {
        let mut ours = HashSet::new();
        each_row(lost, |_, row| {
            ours.extend(keys(lost, row).into_iter().map(|(hash, _)| hash));
        })?;
        let mut found: HashMap<u64, Conflict> = HashMap::new();
        let mut more = HashSet::new();
        each_row(source, |xid, row| {
            for (hash, key) in keys(source, row) {
                if !ours.contains(&hash) {
                    continue;
                }
                if found.len() >= MAX_TOLD && !found.contains_key(&hash) {
                    more.insert(hash);
                    continue;
                }
                let now = row.new.as_ref().map(|version| told(source, &row.shape, version, |_| true));
                let (database, table) = (row.shape.database_name.clone(), row.shape.qualified());
                found.insert(hash, Conflict { database, table, key, source_xid: xid, now });
            }
        })?;
        let keys = found.keys().copied().chain(more.iter().copied()).collect();
        let mut list: Vec<Conflict> = found.into_values().collect();
        list.sort_by(|a, b| (&a.database, &a.table, &a.key).cmp(&(&b.database, &b.table, &b.key)));
        Ok(Self { list, more: more.len() as u64, keys, unseen: source.unseen.clone() })
    }

    /// Whether the source changed a key of this row, too.
    pub fn touches(&self, lost: &Lost, row: &RowChange) -> bool {
        !self.keys.is_empty() && keys(lost, row).iter().any(|(hash, _)| self.keys.contains(hash))
    }
}

fn each_row(lost: &Lost, mut take: impl FnMut(Xid, &RowChange)) -> io::Result<()> {
    for xact in lost.transactions.iter().filter(|x| x.rows > 0 && x.ending.loses_rows()) {
        lost.each(xact.xid, |entry| {
            if let Entry::Row(row) = entry {
                take(xact.xid, &row);
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// Keys of before and after, hashed with the table, and in words.
fn keys(lost: &Lost, row: &RowChange) -> Vec<(u64, String)> {
    let mut keys: Vec<(u64, String)> = Vec::with_capacity(2);
    let old = row.old.as_ref().filter(|_| row.change != Change::Insert);
    for version in [old, row.new.as_ref()].into_iter().flatten() {
        let shape = &row.shape;
        let text = told(lost, shape, version, |number| shape.key.is_empty() || shape.key.contains(&number));
        let mut hasher = DefaultHasher::new();
        (&shape.database_name, &shape.schema, &shape.name, &text).hash(&mut hasher);
        let hash = hasher.finish();
        if keys.iter().all(|(known, _)| *known != hash) {
            keys.push((hash, text));
        }
    }
    keys
}

fn told(lost: &Lost, shape: &Shape, version: &Version, wanted: impl Fn(i16) -> bool) -> String {
    let values = lost.values(shape, version).into_iter().filter_map(|(at, value)| {
        let column = shape.columns.get(at).filter(|column| wanted(column.number))?;
        let value = match value {
            Value::Null => "NULL".to_owned(),
            Value::Text(text) => format!("'{text}'"),
            Value::Hex { hex, .. } => format!("\\x{hex}"),
            Value::Unknown(_) => "?".to_owned(),
        };
        Some(format!("{}={value}", column.name))
    });
    values.collect::<Vec<_>>().join(", ")
}
