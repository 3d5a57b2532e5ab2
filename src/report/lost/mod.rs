//! What a rewind discards, row by row: for reading, as JSON lines, as CSV, as an SQL script.

pub mod csv;
pub mod jsonl;
pub mod sql;
pub mod text;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::doc::{Block, Column};
use super::dto::Time;
use super::words;
use crate::lost::{Counts, Lost};

/// What is lost in sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Summary {
    /// Transactions that committed after the divergence; their rows are lost.
    pub transactions: u64,
    /// Transactions that were prepared after the divergence and left so.
    pub prepared: u64,
    /// Transactions of which only the decision is lost.
    pub decisions: u64,
    /// Commit time of the first.
    pub first: Option<Time>,
    /// Commit time of the last.
    pub last: Option<Time>,
    /// Rows by table.
    pub tables: Vec<TableCounts>,
    /// Every row was found whole, before and after.
    pub complete: bool,
    /// What is not seen, each a sentence.
    pub unseen: Vec<String>,
}

/// Changed rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct TableCounts {
    pub database: String,
    /// `schema.name`.
    pub table: String,
    pub inserted: u64,
    pub updated: u64,
    pub deleted: u64,
    /// Of these, rows of which before or after was not found whole.
    pub incomplete: u64,
}

impl Summary {
    /// Of these transactions and rows.
    pub fn new(lost: &Lost, counts: &BTreeMap<(String, String), Counts>) -> Self {
        let count = |wanted: &[&str]| {
            lost.transactions.iter().filter(|x| wanted.contains(&x.ending.word())).count() as u64
        };
        let times = || lost.transactions.iter().filter(|x| x.ending.loses_rows()).filter_map(|x| x.time);
        let tables: Vec<TableCounts> = counts
            .iter()
            .map(|((database, table), of)| TableCounts {
                database: database.clone(),
                table: table.clone(),
                inserted: of.inserted,
                updated: of.updated,
                deleted: of.deleted,
                incomplete: of.incomplete,
            })
            .collect();
        Self {
            transactions: count(&["committed", "committed_prepared"]),
            prepared: count(&["prepared"]),
            decisions: count(&["decision_commit", "decision_rollback"]),
            first: times().min().map(Time::from),
            last: times().max().map(Time::from),
            complete: tables.iter().all(|t| t.incomplete == 0) && lost.unseen.is_empty(),
            tables,
            unseen: lost.unseen.clone(),
        }
    }

    /// As a part of the report.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = vec![Block::Heading("Rows that are lost".into())];
        if self.tables.is_empty() {
            blocks.push(Block::Para("No row of a table was changed by them.".into()));
        } else {
            let columns = vec![
                Column::flexible("table"),
                Column::right("inserted"),
                Column::right("updated"),
                Column::right("deleted"),
                Column::right("incomplete"),
            ];
            let row = |t: &TableCounts| {
                let numbers = [t.inserted, t.updated, t.deleted, t.incomplete];
                let name = format!("{}.{}", t.database, t.table);
                std::iter::once(name.into()).chain(numbers.map(|n| words::count(n).into())).collect()
            };
            blocks.push(Block::Table { columns, rows: self.tables.iter().map(row).collect() });
        }
        blocks
            .extend(self.unseen.iter().map(|sentence| Block::Para(format!("Not seen: {sentence}.").into())));
        blocks.push(Block::Para(
            "forkpoint lost lists them, also as an SQL script for the new primary.".into(),
        ));
        blocks
    }
}
