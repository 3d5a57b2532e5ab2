//! What the views of a report are drawn from: the same whether it was just found out or comes from a file.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::diagnosis::Diagnosis;
use crate::facts;
use crate::names::Names;
use crate::pg::{BLOCK_SIZE, Fork, RelFile};
use crate::report::drawing::Sketch;
use crate::report::dto;
use crate::scan::{self, BlockSet};
use crate::source::trees::Tree as Files;

/// What the views show of a report.
#[derive(Debug)]
pub struct Picture {
    /// What to do.
    pub verdict: dto::Verdict,
    /// How the sides stand to each other.
    pub relation: dto::Relation,
    /// Where they part.
    pub divergence: Option<dto::Divergence>,
    /// The last checkpoint before it on the target.
    pub checkpoint: Option<dto::Checkpoint>,
    /// What is lost.
    pub loss: Option<dto::Loss>,
    /// What goes wrong.
    pub findings: Vec<dto::Finding>,
    /// The directory that will not rejoin.
    pub target: dto::Side,
    /// The directory it should follow.
    pub source: dto::Side,
    /// Which WAL is needed.
    pub wal: dto::WalNeeds,
    /// Both trees of files.
    pub files: dto::Files,
    /// What could not be seen.
    pub unseen: Vec<dto::Unseen>,
    /// The branches.
    pub drawing: Vec<String>,
    /// Records of the target since the last common checkpoint, and of the source since the divergence.
    pub records: (Option<u64>, Option<u64>),
    /// Relations with changed blocks, by their numbers.
    pub relations: Vec<Relation>,
    /// Blocks of them that a rewind by the target's WAL takes from the source; a stored report lacks the files' lengths.
    pub to_copy: Option<u64>,
    /// Transactions, of a stored report only; a diagnosis has them itself.
    pub transactions: Vec<dto::Transaction>,
    /// The sum of lost rows, if the report has it.
    pub lost_rows: Option<serde_json::Value>,
}

/// A relation fork with changed blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its numbers.
    pub rel: RelFile,
    /// Its fork.
    pub fork: Fork,
    /// Its database, or the number; empty for shared relations.
    pub database: String,
    /// Its schema, where known.
    pub schema: Option<String>,
    /// Its name, where known.
    pub name: Option<String>,
    /// `relkind`.
    pub kind: Option<char>,
    /// The table of a TOAST relation.
    pub toast_of: Option<String>,
    /// Its first file within the data directory.
    pub path: String,
    /// What the target changed.
    pub target: Blocks,
    /// What the source changed.
    pub source: Blocks,
}

/// Changed blocks of one side.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Blocks {
    /// Between the last common checkpoint and the divergence.
    pub before: BlockSet,
    /// After the divergence.
    pub after: BlockSet,
}

impl Relation {
    /// `schema.name`, or the numbers.
    pub fn title(&self) -> String {
        match (&self.schema, &self.name) {
            (Some(schema), Some(name)) => format!("{schema}.{name}"),
            (None, Some(name)) => name.clone(),
            _ => self.rel.to_string(),
        }
    }
}

/// Lengths of a relation fork's files, in bytes; `None` without such a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lengths {
    /// The target's.
    pub target: Option<u64>,
    /// The source's.
    pub source: Option<u64>,
}

impl Lengths {
    /// As the files were listed; `None` where they were not.
    pub fn of(relation: &Relation, facts: &facts::Facts) -> Option<Self> {
        let trees = &facts.trees;
        (!trees.target.is_empty()).then(|| Self {
            target: length(&trees.target, &relation.path),
            source: length(&trees.source, &relation.path),
        })
    }

    /// Blocks of the relation fork that a rewind by WAL copies, as the plan counts them: changed ones of the main fork
    /// that both sides' files have. What lies behind is appended or cut off, other forks are copied whole.
    pub fn to_copy(self, relation: &Relation) -> u64 {
        let (Some(ours), Some(theirs), Fork::Main) = (self.target, self.source, relation.fork) else {
            return 0;
        };
        let common = ours.min(theirs) / BLOCK_SIZE as u64;
        relation.target.changed(u32::try_from(common).unwrap_or(u32::MAX))
    }
}

impl Blocks {
    /// How many blocks before this one were changed, before or after the divergence.
    pub fn changed(&self, to: u32) -> u64 {
        self.before.within(0, to) + self.after.within(0, to) - self.before.common_within(&self.after, 0, to)
    }
}

/// Bytes of all of a relation fork's files; `None` if there is none.
fn length(files: &Files, path: &str) -> Option<u64> {
    let mut total = files.get(Path::new(path))?.size;
    for segment in 1u32.. {
        match files.get(Path::new(&format!("{path}.{segment}"))) {
            Some(entry) => total += entry.size,
            None => break,
        }
    }
    Some(total)
}

/// Why a stored report cannot be shown.
#[derive(Debug, Error)]
pub enum SavedError {
    /// It is no JSON of a report.
    #[error("this is no report: {0}. Give a file that forkpoint report --format json wrote.")]
    Json(#[from] serde_json::Error),
    /// It is of another format.
    #[error(
        "this report has format {found}, and this program reads format {expected}. Use the program that wrote it."
    )]
    Version {
        /// The file's.
        found: u32,
        /// This program's.
        expected: u32,
    },
}

#[derive(Debug, Deserialize)]
struct StoredReport {
    verdict: dto::Verdict,
    relation: dto::Relation,
    divergence: Option<dto::Divergence>,
    last_common_checkpoint: Option<dto::Checkpoint>,
    loss: Option<dto::Loss>,
    lost_rows: Option<serde_json::Value>,
    findings: Vec<dto::Finding>,
    target: dto::Side,
    source: dto::Side,
    wal: dto::WalNeeds,
    files: dto::Files,
    unseen: Vec<dto::Unseen>,
    transactions: Vec<dto::Transaction>,
    target_changes: Option<StoredScan>,
    source_changes: Option<StoredScan>,
}

#[derive(Debug, Deserialize)]
struct Version {
    schema_version: u32,
}

#[derive(Debug, Deserialize)]
struct StoredScan {
    records: u64,
    relations: Vec<StoredRelation>,
}

#[derive(Debug, Deserialize)]
struct StoredRelation {
    file: String,
    database: Option<String>,
    schema: Option<String>,
    name: Option<String>,
    relkind: Option<char>,
    toast_of: Option<String>,
    fork: String,
    path: String,
    before: Option<StoredBlocks>,
    after: Option<StoredBlocks>,
}

#[derive(Debug, Deserialize)]
struct StoredBlocks {
    ranges: Vec<(u32, u32)>,
}

impl StoredBlocks {
    fn set(blocks: Option<&Self>) -> BlockSet {
        blocks.into_iter().flat_map(|b| &b.ranges).flat_map(|&(from, to)| from..=to).collect()
    }
}

impl Picture {
    /// Of a diagnosis.
    pub fn new(diagnosis: &Diagnosis) -> Self {
        let facts = &diagnosis.facts;
        let mut relations = Vec::new();
        for (scan, role) in
            [(&facts.target_scan, facts::Role::Target), (&facts.source_scan, facts::Role::Source)]
        {
            let side = if role == facts::Role::Target { &facts.target } else { &facts.source };
            let directory = dto::version_dir(&side.control);
            for found in scan.iter().flat_map(|s| &s.changes.relations) {
                add(&mut relations, role, relation(found, facts.names_of(role), &directory), blocks(found));
            }
        }
        let relations = sorted(relations);
        let to_copy = |relation: &Relation| Some(Lengths::of(relation, facts)?.to_copy(relation));
        Self {
            to_copy: relations.iter().map(to_copy).sum(),
            verdict: (&diagnosis.verdict).into(),
            relation: (&facts.relation).into(),
            divergence: facts.divergence.as_ref().map(Into::into),
            checkpoint: facts.common_checkpoint.as_ref().map(Into::into),
            loss: facts.loss.as_ref().map(Into::into),
            findings: diagnosis.findings.iter().map(Into::into).collect(),
            target: (&facts.target).into(),
            source: (&facts.source).into(),
            wal: dto::WalNeeds {
                find_blocks: facts.wal.find_blocks.as_ref().map(Into::into),
                follow: facts.wal.follow.as_ref().map(Into::into),
            },
            files: (&facts.trees).into(),
            unseen: facts.unseen.iter().map(Into::into).collect(),
            drawing: Sketch::from(diagnosis).draw(),
            records: (
                facts.target_scan.as_ref().map(|s| s.records),
                facts.source_scan.as_ref().map(|s| s.records),
            ),
            relations,
            transactions: Vec::new(),
            lost_rows: None,
        }
    }

    /// Of a report that was stored as JSON.
    ///
    /// # Errors
    /// It is no report, or one of another format.
    pub fn read(json: &[u8]) -> Result<Self, SavedError> {
        let Version { schema_version: found } = serde_json::from_slice(json)?;
        let expected = dto::SCHEMA_VERSION;
        if found != expected {
            return Err(SavedError::Version { found, expected });
        }
        let stored: StoredReport = serde_json::from_slice(json)?;
        let mut relations = Vec::new();
        for (scan, role) in
            [(&stored.target_changes, facts::Role::Target), (&stored.source_changes, facts::Role::Source)]
        {
            for found in scan.iter().flat_map(|s| &s.relations) {
                let (Some(rel), Some(fork)) = (numbers(&found.file), fork(&found.fork)) else { continue };
                let relation = Relation {
                    rel,
                    fork,
                    database: database(found.database.as_deref(), rel),
                    schema: found.schema.clone(),
                    name: found.name.clone(),
                    kind: found.relkind,
                    toast_of: found.toast_of.clone(),
                    path: found.path.clone(),
                    target: Blocks::default(),
                    source: Blocks::default(),
                };
                let blocks = Blocks {
                    before: StoredBlocks::set(found.before.as_ref()),
                    after: StoredBlocks::set(found.after.as_ref()),
                };
                add(&mut relations, role, relation, blocks);
            }
        }
        let records = |scan: &Option<StoredScan>| scan.as_ref().map(|s| s.records);
        let drawing = Sketch::stored(
            &stored.relation,
            stored.divergence.as_ref(),
            stored.last_common_checkpoint.as_ref(),
            (&stored.target, &stored.source),
        )
        .draw();
        Ok(Self {
            drawing,
            records: (records(&stored.target_changes), records(&stored.source_changes)),
            relations: sorted(relations),
            to_copy: None,
            verdict: stored.verdict,
            relation: stored.relation,
            divergence: stored.divergence,
            checkpoint: stored.last_common_checkpoint,
            loss: stored.loss,
            findings: stored.findings,
            target: stored.target,
            source: stored.source,
            wal: stored.wal,
            files: stored.files,
            unseen: stored.unseen,
            transactions: stored.transactions,
            lost_rows: stored.lost_rows,
        })
    }
}

fn relation(found: &scan::RelationChanges, names: &Names, directory: &str) -> Relation {
    let known = names.relations.get(&found.rel);
    Relation {
        rel: found.rel,
        fork: found.fork,
        database: database(names.databases.get(&found.rel.db).map(String::as_str), found.rel),
        schema: known.map(|n| n.schema.clone()),
        name: known.map(|n| n.name.clone()),
        kind: known.map(|n| n.kind),
        toast_of: known.and_then(|n| n.toast_of.clone()),
        path: found.rel.path(found.fork, directory),
        target: Blocks::default(),
        source: Blocks::default(),
    }
}

fn blocks(found: &scan::RelationChanges) -> Blocks {
    let set =
        |changes: &Option<scan::ForkChanges>| changes.as_ref().map(|c| c.blocks.clone()).unwrap_or_default();
    Blocks { before: set(&found.before), after: set(&found.after) }
}

fn database(name: Option<&str>, rel: RelFile) -> String {
    match (name, rel.db) {
        (Some(name), _) => name.to_owned(),
        (None, 0) => String::new(),
        (None, oid) => oid.to_string(),
    }
}

fn add(relations: &mut Vec<Relation>, role: facts::Role, relation: Relation, blocks: Blocks) {
    let mut relation = relation;
    match role {
        facts::Role::Target => relation.target = blocks,
        facts::Role::Source => relation.source = blocks,
    }
    relations.push(relation);
}

/// By numbers, the two sides' changes of one relation together; the target's names count.
fn sorted(mut relations: Vec<Relation>) -> Vec<Relation> {
    // stable: the target's come first
    relations.sort_by_key(|r| (r.rel, r.fork));
    let mut merged: Vec<Relation> = Vec::with_capacity(relations.len());
    for relation in relations {
        match merged.last_mut().filter(|m| (m.rel, m.fork) == (relation.rel, relation.fork)) {
            Some(first) => first.source = relation.source,
            None => merged.push(relation),
        }
    }
    merged
}

/// `tablespace/database/file`.
fn numbers(text: &str) -> Option<RelFile> {
    let mut parts = text.split('/').map(str::parse);
    let (spc, db, rel) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
    parts.next().is_none().then_some(RelFile { spc, db, rel })
}

fn fork(name: &str) -> Option<Fork> {
    Fork::ALL.into_iter().find(|fork| fork.name() == name)
}
