//! Goes through the WAL, twice or more, and puts together what a rewind discards.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::tz::TimeZone;

use crate::facts::{Divergence, Facts, SideScan};
use crate::names::{BlockSource, DiskBlocks};
use crate::pg::catalog::oid::PG_DATABASE;
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::{FIRST_NORMAL_OID, Lsn, Oid, RelFile, Xid};
use crate::rows::Settings;
use crate::scan::path::WalPath;
use crate::scan::progress::{Phase, Progress};
use crate::scan::walk::{Start, walk};
use crate::scan::{Xact, XactEnd};
use crate::wal::Format;
use crate::wal::framer::Sink;

use super::catalog::{Database, Made, View};
use super::collect::{self, Collect, Filter};
use super::model::{Ending, Event, LostXact, Sequence};
use super::origins::Origins;
use super::other::Moved;
use super::pages::{Bases, Pages};
use super::range::{Range, is_lost, prepared_before};
use super::rowtypes::Catalog;
use super::spool::Spool;
use super::survey::{CatalogOp, Survey};
use super::toast::Chunks;
use super::{Lost, LostError, ddl, fates, is_cut_short, unlogged};

/// WAL is read so many times at most to follow catalogs that are rewritten.
const MAX_PASSES: u32 = 4;
/// Catalogs of databases that are in neither directory any more are kept until they have so many versions of rows
/// together, a hundred megabytes: those of some sixty databases without tables.
const MAX_GONE_VERSIONS: usize = 1 << 18;
/// So many databases are named in one sentence.
const NAMED: usize = 5;

/// What is at hand for it.
pub(super) struct Work<'a> {
    pub(super) facts: &'a Facts,
    pub(super) filter: &'a Filter,
    pub(super) progress: &'a Progress,
    pub(super) format: Format,
    pub(super) divergence: &'a Divergence,
    pub(super) scan: &'a SideScan,
    pub(super) range: Range,
    pub(super) unseen: Vec<String>,
}

impl Work<'_> {
    /// Does it.
    pub(super) fn run(mut self, path: &WalPath<'_>) -> Result<Lost, LostError> {
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
        let mut nameless: Vec<&Database<'_>> = databases.values().filter(|db| db.is_unknown).collect();
        nameless.sort_by_key(|database| database.oid);
        self.unseen.extend(unknown(nameless.iter().map(|db| (db.name.as_str(), db.is_left_out))));
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
        let mut by_top: HashMap<(Xid, Oid), Vec<&CatalogOp>> = HashMap::new();
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
            let made = made.get(&oid).copied();
            let left_out = made.is_some() && of_gone >= MAX_GONE_VERSIONS;
            let made = made.filter(|_| !left_out);
            let mut database = Database::open((oid, name), ours, Some(theirs), tablespaces, made);
            database.is_left_out = left_out && database.is_unknown;
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

/// What it means that nothing is known of the catalogs of some databases: sentences. Each comes with its name, and with
/// whether there was only no room for it.
fn unknown<'n>(databases: impl Iterator<Item = (&'n str, bool)>) -> Vec<String> {
    let (left_out, others): (Vec<_>, Vec<_>) = databases.partition(|(_, left_out)| *left_out);
    let sentence = |some: &[(&str, bool)], why: &str| {
        let names = some.iter().take(NAMED).map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        let (word, are) = if some.len() == 1 { ("database", "is") } else { ("databases", "are") };
        let more = match some.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!some.is_empty()).then(|| {
            format!(
                "{word} {names}{more} {are} in neither directory any more: names and columns of tables there are not \
                 known{why}, their rows are counted by file"
            )
        })
    };
    let why = " (the WAL made more databases than there is room for the catalogs of)";
    sentence(&others, "").into_iter().chain(sentence(&left_out, why)).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nameless_database_has_its_own_reason() {
        assert!(unknown([].into_iter()).is_empty());
        let told = unknown([("one", false), ("two", true), ("three", false)].into_iter());
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(
            told[0].starts_with("databases one, three are in neither") && !told[0].contains("room"),
            "{told:?}"
        );
        assert!(told[1].starts_with("database two is in neither") && told[1].contains("room"), "{told:?}");
    }
}
