//! Transactions of the target that a rewind discards, and the rows that they changed.
//!
//! WAL is read twice, from the checkpoint before the oldest lost transaction on: [`survey`] finds out what became of
//! each transaction and collects every version of the catalogs' rows; [`collect`] carries heap pages along in memory,
//! takes each changed row before and after from them, and writes it to a temporary file by transaction. What is shown
//! comes from there, in the order of the commits.

mod catalog;
mod collect;
mod conflicts;
mod ddl;
mod decode;
mod fates;
mod heap;
mod model;
mod origins;
mod other;
mod pages;
mod range;
mod rowtypes;
mod scratch;
mod shape;
mod spool;
mod survey;
mod toast;
mod unlogged;
mod work;

pub use collect::Filter;
pub use conflicts::{Conflict, Conflicts};
pub use decode::Value;
pub use model::*;
pub use spool::{Entry, Piece};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use thiserror::Error;

use crate::facts::Facts;
use crate::facts::gather::{DiagnoseError, Options, input};
use crate::facts::open::{Opened, open_side};
use crate::facts::reading::WithOther;
use crate::facts::{Loss, Relation, Role};
use crate::pg::{Lsn, Xid};
use crate::rows::Settings;
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Progress};
use crate::source::datadir::DataDir;
use crate::source::restore::RestoreCommand;

use self::range::Range;
use self::spool::Spool;
use self::toast::Chunks;
use self::work::Work;

/// Why the rows could not be collected.
#[derive(Debug, Error)]
pub enum LostError {
    /// An input could not be read.
    #[error(transparent)]
    Diagnose(#[from] DiagnoseError),
    /// The temporary file that holds rows.
    #[error("the temporary file for rows in {}: {error}. Set TMPDIR to a directory with room.", directory.display())]
    Scratch {
        /// Where it lies.
        directory: PathBuf,
        /// What is the matter.
        error: io::Error,
    },
}

impl From<Cancelled> for LostError {
    fn from(_: Cancelled) -> Self {
        Self::Diagnose(DiagnoseError::Cancelled)
    }
}

impl From<io::Error> for LostError {
    fn from(error: io::Error) -> Self {
        Self::Scratch { directory: std::env::temp_dir(), error }
    }
}

/// Everything that a rewind discards.
#[derive(Debug)]
pub struct Lost {
    /// Where the sides part; `None` where nothing has to be discarded.
    pub divergence: Option<(Lsn, crate::pg::TimelineId)>,
    /// The WAL that was read: from the first of these to the second.
    pub read: Option<(Lsn, Lsn)>,
    /// The transactions, in order of their end; prepared ones last.
    pub transactions: Vec<LostXact>,
    /// Names of databases that the target's WAL made after the divergence: the source does not have them.
    pub made_databases: BTreeSet<String>,
    /// Names of databases that rows are of and that are in neither directory any more.
    pub gone_databases: BTreeSet<String>,
    /// Sequences that moved after the divergence, by database and name.
    pub sequences: Vec<Sequence>,
    /// What is not seen, each a sentence.
    pub unseen: Vec<String>,
    /// The target's WAL goes on, or went on, behind what could be read: there may be more transactions.
    pub cut_short: bool,
    /// Only some transactions or tables were asked for.
    pub chosen: bool,
    /// The first transaction identifier that was not given out at the divergence.
    pub next_xid: Xid,
    /// What text depends on.
    pub settings: Settings,
    spool: Spool,
    chunks: Chunks,
}

impl Lost {
    fn nothing(facts: &Facts) -> Self {
        let unseen = match facts.relation {
            Relation::SamePosition | Relation::TargetBehind => Vec::new(),
            Relation::Unrelated(_) => vec!["the two directories have nothing in common".to_owned()],
            _ => vec![
                "what the target wrote since the divergence could not be read; forkpoint report says why"
                    .to_owned(),
            ],
        };
        Self {
            divergence: None,
            read: None,
            transactions: Vec::new(),
            made_databases: BTreeSet::new(),
            gone_databases: BTreeSet::new(),
            sequences: Vec::new(),
            cut_short: !unseen.is_empty(),
            chosen: false,
            unseen,
            next_xid: 0,
            settings: Settings { major: facts.target.control.major, time_zone: TimeZone::UTC },
            spool: Spool::default(),
            chunks: Chunks::default(),
        }
    }

    /// Of these transactions and what they did.
    #[cfg(test)]
    pub(crate) fn made_of(transactions: Vec<LostXact>, entries: &[(Xid, Entry)]) -> io::Result<Self> {
        let mut spool = Spool::default();
        for (xid, entry) in entries {
            spool.push(*xid, entry)?;
        }
        spool.finish()?;
        Ok(Self {
            divergence: None,
            read: None,
            transactions,
            sequences: Vec::new(),
            unseen: Vec::new(),
            cut_short: false,
            chosen: false,
            made_databases: BTreeSet::new(),
            gone_databases: BTreeSet::new(),
            next_xid: 0,
            settings: Settings { major: crate::pg::Major::V18, time_zone: TimeZone::UTC },
            spool,
            chunks: Chunks::default(),
        })
    }

    /// Goes through what a transaction did, in order.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `take` fails.
    pub fn each(&self, xid: Xid, take: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        self.spool.each(xid, take)
    }

    /// The pieces of what a transaction did, in order, for whoever wants to see a part of it.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn pieces(&self, xid: Xid) -> io::Result<Vec<Piece>> {
        self.spool.pieces(xid)
    }

    /// Goes through one piece.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `take` fails.
    pub fn of_piece(&self, piece: Piece, take: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        self.spool.of_piece(piece, take)
    }

    /// Values of a version's columns, each with its place in the shape's columns.
    pub fn values(&self, shape: &Shape, version: &Version) -> Vec<(usize, Value)> {
        decode::values(shape, version, &self.chunks, &self.settings)
    }

    /// Whether before and after of a change were found, as far as it has them, with all values.
    pub fn is_whole(&self, row: &RowChange) -> bool {
        let whole = |version: &Option<Version>, needed: bool| match version {
            Some(version) => decode::is_whole(&row.shape, version, &self.chunks),
            None => !needed,
        };
        whole(&row.old, row.change != Change::Insert) && whole(&row.new, row.change != Change::Delete)
    }

    /// Tables that rows are of.
    pub fn tables(&self) -> impl Iterator<Item = &Shape> {
        self.spool.shapes().iter().map(|shape| &**shape)
    }

    /// Changed rows by database and table, of transactions whose rows are lost and of those left prepared.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn counts(&self) -> io::Result<BTreeMap<(String, String), Counts>> {
        let mut counts: BTreeMap<(String, String), Counts> = BTreeMap::new();
        for xact in self.transactions.iter().filter(|xact| xact.rows > 0) {
            self.each(xact.xid, |entry| {
                if let Entry::Row(row) = entry {
                    let key = (row.shape.database_name.clone(), row.shape.qualified());
                    let of = counts.entry(key).or_default();
                    match row.change {
                        Change::Insert => of.inserted += 1,
                        Change::Update => of.updated += 1,
                        Change::Delete => of.deleted += 1,
                    }
                    of.incomplete += u64::from(!self.is_whole(&row));
                }
                Ok(())
            })?;
        }
        Ok(counts)
    }
}

/// Collects what a rewind of the target would discard.
///
/// # Errors
/// An input or the temporary file cannot be read, or the work was cancelled.
pub fn lost(
    options: &Options,
    facts: &Facts,
    filter: &Filter,
    progress: &Progress,
) -> Result<Lost, LostError> {
    let (Some(divergence), Some(scan)) = (&facts.divergence, &facts.target_scan) else {
        return Ok(Lost::nothing(facts));
    };
    let mut unseen = Vec::new();
    let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose();
    let restore = restore.map_err(|e| input(&e))?.map(|c| c.with_cancel(progress.cancel_flag()));
    let open = |role, path: &Path| -> Result<Opened, DiagnoseError> {
        let dir = DataDir::open(path).map_err(|e| input(&e))?;
        // what is wrong with a side is among the facts already
        open_side(role, dir, options, (restore.clone(), progress), &mut Vec::new())
    };
    let target = open(Role::Target, &options.target)?;
    let source = open(Role::Source, &options.source)?;
    let Some(format) = target.format else { return Ok(Lost::nothing(facts)) };
    let store = WithOther::of(&target, &source, Some(divergence.lsn), format);
    let path = WalPath { format, history: &target.side.lineage.history, store: &store };
    let range = Range::find(&path, facts, divergence.lsn, scan, progress)?;
    unseen.extend(range.unseen.iter().cloned());
    if let Some(sentence) = cut_short(facts) {
        unseen.push(sentence);
    }
    Work { facts, filter, progress, format, divergence, scan, range, unseen }.run(&path)
}

/// What it means that the target's WAL was not read to its real end, a sentence; `None` if it was.
pub fn cut_short(facts: &Facts) -> Option<String> {
    let end = facts.target.end.as_ref().filter(|end| !end.complete)?;
    let why = if end.message.is_empty() { String::new() } else { format!(" ({})", end.message) };
    Some(format!(
        "the target's WAL could be read to {} only{why}, and the server went on behind that: what committed there is lost \
         too and is not listed. Give the WAL that is missing with --wal-archive; forkpoint report says which it is",
        end.lsn
    ))
}

/// There may be more lost transactions than the target's readable WAL shows: it ends early, or a part of it is missing.
pub fn is_cut_short(facts: &Facts) -> bool {
    cut_short(facts).is_some() || matches!(facts.loss, Some(Loss::AtLeast { .. }))
}
