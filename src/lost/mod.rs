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

pub use collect::Filter;
pub use conflicts::{Conflict, Conflicts};
pub use decode::Value;
pub use model::*;
pub use spool::{Entry, Piece};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::io;
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;
use thiserror::Error;

use crate::facts::Facts;
use crate::facts::gather::{DiagnoseError, Options, input};
use crate::facts::open::{Opened, open_side};
use crate::facts::reading::WithOther;
use crate::facts::{Divergence, Loss, Relation, Role, SideScan};
use crate::names::{BlockSource, DiskBlocks};
use crate::pg::catalog::oid::PG_DATABASE;
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::{FIRST_NORMAL_OID, Lsn, Oid, RelFile, Xid};
use crate::rows::Settings;
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Phase, Progress};
use crate::scan::walk::{Start, walk};
use crate::scan::{Xact, XactEnd};
use crate::source::datadir::DataDir;
use crate::source::restore::RestoreCommand;
use crate::wal::Format;
use crate::wal::framer::Sink;

use self::catalog::{Database, Made, View};
use self::collect::Collect;
use self::origins::Origins;
use self::other::Moved;
use self::pages::{Bases, Pages};
use self::range::{Range, is_lost, prepared_before};
use self::rowtypes::Catalog;
use self::spool::Spool;
use self::survey::Survey;
use self::toast::Chunks;

/// WAL is read so many times at most to follow catalogs that are rewritten.
const MAX_PASSES: u32 = 4;
/// Catalogs of databases that are in neither directory any more are kept until they have so many versions of rows
/// together, a hundred megabytes: those of some sixty databases without tables.
const MAX_GONE_VERSIONS: usize = 1 << 18;
/// So many databases are named in one sentence.
const NAMED: usize = 5;

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

struct Work<'a> {
    facts: &'a Facts,
    filter: &'a Filter,
    progress: &'a Progress,
    format: Format,
    divergence: &'a Divergence,
    scan: &'a SideScan,
    range: Range,
    unseen: Vec<String>,
}

impl Work<'_> {
    fn run(mut self, path: &WalPath<'_>) -> Result<Lost, LostError> {
        let facts = self.facts;
        let ours = DiskBlocks::new(facts.target.dir.path(), &facts.target.control);
        let theirs = DiskBlocks::new(facts.source.dir.path(), &facts.source.control);
        // pages on the source's disk have all of its WAL up to there
        let common = facts.source.control.checkpoint_copy.redo >= self.divergence.lsn
            || facts.source.control.state.is_shut_down();
        let bases = || Bases { target: &ours, source: common.then_some((&theirs, self.divergence.lsn)) };
        let major = self.format.major;
        let transactions = self.transactions();
        let mut wanted = self.wanted(&transactions);
        let next_xid = facts.common_checkpoint.as_ref().map_or(0, |c| c.next_xid);
        let mut followed: Vec<(RelFile, Catalog)> = Vec::new();
        let mut made: HashMap<Oid, Made> = HashMap::new();
        let mut names = self.facts.names.databases.clone();
        let (mut passes, mut seen) = (0, 0);
        let shared = ours.relation_map(GLOBAL_TABLESPACE, 0).unwrap_or_default();
        let number = shared.file_number(PG_DATABASE).unwrap_or(PG_DATABASE);
        let file = RelFile { spc: GLOBAL_TABLESPACE, db: 0, rel: number };
        let mut survey = loop {
            let mut databases = self.databases(wanted.as_ref(), &names, &made, &ours, &theirs);
            for (file, catalog) in &followed {
                if let Some(database) = databases.get_mut(&file.db) {
                    database.follow(*catalog, *file);
                }
            }
            let mut survey = Survey::new(major, (self.divergence.lsn, next_xid), databases, file, bases());
            self.walk(path, &mut survey)?;
            if let Some(failure) = survey.failure.take() {
                return Err(failure.into());
            }
            passes += 1;
            // what fills a catalog's new file comes before the record that says what it is
            followed.append(&mut survey.discovered);
            let gone = |oid: &Oid| survey.databases.get(oid).is_some_and(|database| database.is_gone);
            let news = survey.made.iter().filter(|(oid, _)| gone(oid) && !made.contains_key(oid));
            let news: Vec<(Oid, Made)> = news.map(|(oid, made)| (*oid, *made)).collect();
            for (oid, name) in survey.database_names.drain() {
                names.entry(oid).or_insert(name);
            }
            if (followed.len() == seen && news.is_empty()) || passes >= MAX_PASSES {
                break survey;
            }
            seen = followed.len();
            made.extend(news);
        };
        survey.finish();
        let cut = survey.is_cut();
        let Survey { fates, databases, ops, next_xid, damaged, levels, created, made, .. } = survey;
        for database in databases.values() {
            self.unseen.extend(database.problems.iter().cloned());
        }
        self.unseen.extend(unknown(&databases, &made));
        if cut {
            self.unseen.push(
                "the catalogs changed too often to keep every version of their rows: tables that were made or changed \
                 late may be told by an older one, or without words"
                    .into(),
            );
        }
        let by_xid: HashMap<Xid, usize> = transactions
            .iter()
            .enumerate()
            .filter(|(_, x)| x.ending.loses_rows() || matches!(x.ending, Ending::Prepared(_)))
            .filter(|(_, x)| self.filter.wants_xid(x.xid))
            .map(|(at, x)| (x.xid, at))
            .collect();
        let end = |top: Xid| by_xid.get(&top).and_then(|at| transactions.get(*at)).map(|xact| xact.lsn);
        let tablespace = |oid: Oid| databases.get(&oid).map(|database| database.tablespace);
        let filled = unlogged::find(&ops, &fates, &levels, tablespace, end);
        let origins = Origins::read(&ours);
        if filled.values().any(|filled| filled.minimal) {
            // images at a transaction's end, of TOAST tables too
            wanted = None;
        }
        if let Some(wanted) = &mut wanted {
            wanted.extend(filled.keys().copied().chain([origins.file]));
        }
        let at = self.divergence.lsn;
        let old_blocks = |file: RelFile| {
            if created.get(&file).is_some_and(|lsn| *lsn >= at) {
                return ddl::Before::Nothing;
            }
            theirs.block_count(file).map_or(ddl::Before::Gone, ddl::Before::Blocks)
        };
        let mut by_top: HashMap<(Xid, Oid), Vec<&survey::CatalogOp>> = HashMap::new();
        for op in &ops {
            if let Some(top) = fates.top(op.xid).filter(|top| by_xid.contains_key(top)) {
                by_top.entry((top, op.database)).or_default().push(op);
            }
        }
        let mut words: HashMap<Xid, VecDeque<(Lsn, Event)>> = HashMap::new();
        for ((top, oid), ops) in by_top {
            if let Some(database) = databases.get(&oid) {
                words.entry(top).or_default().extend(ddl::events(database, &fates, top, &ops, &old_blocks));
            }
        }
        drop(ops);
        for events in words.values_mut() {
            events.make_contiguous().sort_by_key(|(lsn, _)| *lsn);
        }
        let system =
            facts.names.relations.iter().filter(|(rel, _)| rel.db == 0 || rel.rel < FIRST_NORMAL_OID);
        let mut collect = Collect {
            major,
            divergence: self.divergence.lsn,
            fates: &fates,
            databases: &databases,
            wanted,
            shared: system.map(|(rel, name)| (*rel, name.name.clone())).collect(),
            names: (names, facts.names.tablespaces.clone()),
            filter: self.filter.clone(),
            ddl: words,
            xacts: transactions,
            by_xid,
            pages: Pages::new(bases(), major),
            spool: Spool::default(),
            chunks: Chunks::default(),
            sequences: HashMap::new(),
            filled,
            origins,
            progress: self.progress,
            unseen: Vec::new(),
            damaged,
            failure: None,
            state: collect::State::default(),
        };
        self.walk(path, &mut collect)?;
        if let Some(failure) = collect.failure.take() {
            return Err(failure.into());
        }
        collect.finish().map_err(|error| match self.progress.check() {
            Err(cancelled) => cancelled.into(),
            Ok(()) => LostError::from(error),
        })?;
        let Collect { xacts, spool, mut chunks, sequences, damaged, unseen, .. } = collect;
        self.unseen.extend(unseen);
        let without_columns = collect.state.without_columns;
        if without_columns > 0 {
            self.unseen.push(format!(
                "{} of tables whose columns the catalogs no longer tell (a catalog was rewritten or is damaged) cannot be \
                 shown; they are counted among the changes of tables without a name",
                if without_columns == 1 { "1 changed row".to_owned() } else { format!("{without_columns} changed rows") }
            ));
        }
        if damaged > 0 {
            self.unseen.push(format!(
                "{damaged} WAL records do not add up inside or are too long: what they changed is not listed"
            ));
        }
        for (oid, table) in chunks.lacking() {
            let Some(file) = databases.get(&oid).and_then(|database| database.file_of(table)) else {
                continue;
            };
            chunks.take_from(&ours, table, file, self.progress)?;
            chunks.take_from(&theirs, table, file, self.progress)?;
        }
        let sequences = self.sequences(&sequences, &databases, &fates);
        let mut transactions = xacts;
        transactions
            .retain(|x| self.filter.wants_xid(x.xid) && (self.filter.tables.is_empty() || x.rows > 0));
        let is_made = |database: &&Database<'_>| made.contains_key(&database.oid) && !database.is_gone;
        let from = self.range.stretches.first().map_or(self.scan.from, |s| s.0.position());
        Ok(Lost {
            divergence: Some((self.divergence.lsn, self.divergence.timeline)),
            read: Some((from, self.scan.to)),
            transactions,
            made_databases: databases.values().filter(|db| is_made(db)).map(|db| db.name.clone()).collect(),
            gone_databases: databases.values().filter(|db| db.is_gone).map(|db| db.name.clone()).collect(),
            sequences,
            unseen: self.unseen,
            cut_short: is_cut_short(facts),
            chosen: !self.filter.tables.is_empty() || !self.filter.xids.is_empty(),
            next_xid,
            settings: Settings { major, time_zone: TimeZone::UTC },
            spool,
            chunks,
        })
    }

    /// Lost transactions, in order of their end.
    fn transactions(&self) -> Vec<LostXact> {
        let at = self.divergence.lsn;
        let mut lost: Vec<LostXact> = self
            .facts
            .transactions
            .iter()
            .filter(|x| is_lost(x, at))
            .map(|x| LostXact {
                xid: x.xid,
                ending: ending(x, at),
                time: x.time,
                lsn: x.end_lsn,
                first: x.first_lsn,
                begins_earlier: (x.xid.wrapping_sub(self.range.complete_from) as i32) < 0,
                origin: None,
                origin_names: Vec::new(),
                origin_lsn: None,
                rows: 0,
            })
            .collect();
        lost.sort_by_key(|x| (matches!(x.ending, Ending::Prepared(_)), x.lsn));
        lost
    }

    /// Relations that lost transactions touched; `None` where only some are known.
    fn wanted(&self, lost: &[LostXact]) -> Option<HashSet<RelFile>> {
        let from = self.range.stretches.first()?.0.position();
        let xids: HashSet<Xid> = lost.iter().map(|x| x.xid).collect();
        let earlier =
            from < self.scan.from && lost.iter().any(|x| x.first <= self.scan.from || x.begins_earlier);
        let before = self.facts.common_checkpoint.as_ref().map_or(0, |c| c.next_xid);
        if earlier || xids.iter().any(|xid| (xid.wrapping_sub(before) as i32) < 0) {
            return None;
        }
        let mut wanted = HashSet::new();
        let of_lost = self.facts.transactions.iter().filter(|x| xids.contains(&x.xid));
        let sets: HashSet<u32> = of_lost.map(|x| x.relations).collect();
        for set in sets {
            wanted.extend(self.facts.relation_sets.get(set)?.iter().copied());
        }
        Some(wanted)
    }

    fn databases<'d>(
        &self,
        wanted: Option<&HashSet<RelFile>>,
        known: &HashMap<Oid, String>,
        made: &HashMap<Oid, Made>,
        ours: &'d DiskBlocks,
        theirs: &'d DiskBlocks,
    ) -> HashMap<Oid, Database<'d>> {
        let names = &self.facts.names;
        let mut oids: HashSet<Oid> = match wanted {
            Some(wanted) => wanted.iter().map(|rel| rel.db).collect(),
            None => names.databases.keys().copied().collect(),
        };
        // sequences move without a transaction
        oids.extend(self.scan.changes.relations.iter().map(|r| r.rel.db));
        oids.remove(&0);
        let mut oids: Vec<Oid> = oids.into_iter().collect();
        oids.sort_unstable();
        let mut of_gone = 0;
        let open = |oid: Oid| {
            let name = known.get(&oid).cloned().unwrap_or_else(|| oid.to_string());
            let tablespaces = names.tablespaces.keys().copied();
            let made = made.get(&oid).copied().filter(|_| of_gone < MAX_GONE_VERSIONS);
            let database = Database::open((oid, name), ours, Some(theirs), tablespaces, made);
            if database.is_gone {
                of_gone += database.versions();
            }
            (oid, database)
        };
        oids.into_iter().map(open).collect()
    }

    fn walk<S: Sink>(&self, path: &WalPath<'_>, sink: &mut S) -> Result<(), LostError> {
        let bytes = |(start, to): &(Start, Lsn)| to.since(start.position());
        self.progress.begin(Phase::Collecting, self.range.stretches.iter().map(bytes).sum());
        let mut buffer = Vec::new();
        for (start, to) in &self.range.stretches {
            walk(path, *start, *to, sink, self.progress, &mut buffer)?;
        }
        Ok(())
    }

    fn sequences(
        &self,
        moved: &HashMap<RelFile, Moved>,
        databases: &HashMap<Oid, Database<'_>>,
        fates: &fates::Fates,
    ) -> Vec<Sequence> {
        let view = View { at: Lsn::MAX, top: None, fates };
        let mut list: Vec<Sequence> = moved
            .iter()
            .filter_map(|(rel, moved)| {
                let database = databases.get(&rel.db);
                let class = database.and_then(|db| Some((db, db.class_of_file(&view, *rel)?)));
                let (schema, name) = match class {
                    Some((db, class)) => (db.schema(&view, class.namespace), class.name.clone()),
                    None => (String::new(), rel.to_string()),
                };
                let sequence = Sequence {
                    database: database.map_or_else(|| rel.db.to_string(), |db| db.name.clone()),
                    schema,
                    name,
                    last_value: moved.last_value,
                    is_called: moved.is_called,
                    lsn: moved.lsn,
                };
                let qualified = format!("{}.{}", sequence.schema, sequence.name);
                let tables = &self.filter.tables;
                (tables.is_empty() || tables.contains(&sequence.name) || tables.contains(&qualified))
                    .then_some(sequence)
            })
            .collect();
        list.sort_by(|a, b| (&a.database, &a.schema, &a.name).cmp(&(&b.database, &b.schema, &b.name)));
        list
    }
}

/// What it means that nothing is known of the catalogs of some databases, a sentence.
fn unknown(databases: &HashMap<Oid, Database<'_>>, made: &HashMap<Oid, Made>) -> Option<String> {
    let mut unknown: Vec<&Database<'_>> = databases.values().filter(|database| database.is_unknown).collect();
    unknown.sort_by_key(|database| database.oid);
    let names = unknown.iter().take(NAMED).map(|db| db.name.as_str()).collect::<Vec<_>>().join(", ");
    let (word, are) = if unknown.len() == 1 { ("database", "is") } else { ("databases", "are") };
    let more = match unknown.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let why = if unknown.iter().any(|database| made.contains_key(&database.oid)) {
        " (the WAL made more databases than there is room for the catalogs of)"
    } else {
        ""
    };
    (!unknown.is_empty()).then(|| {
        format!(
            "{word} {names}{more} {are} in neither directory any more: names and columns of tables there are not known{why}, \
             their rows are counted by file"
        )
    })
}

fn ending(xact: &Xact, divergence: Lsn) -> Ending {
    let gid = || xact.prepared.as_ref().map(|p| p.gid.to_string()).unwrap_or_default();
    match xact.end {
        XactEnd::CommittedPrepared if prepared_before(xact, divergence) => Ending::DecisionCommit(gid()),
        XactEnd::AbortedPrepared => Ending::DecisionRollback(gid()),
        XactEnd::CommittedPrepared => Ending::CommittedPrepared(gid()),
        XactEnd::Prepared => Ending::Prepared(gid()),
        _ => Ending::Committed,
    }
}
