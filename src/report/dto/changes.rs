//! What a scan found: changed blocks, events, transactions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::{self, Facts};
use crate::names::Names;
use crate::pg::control::ControlFile;
use crate::pg::{Fork, Lsn, Major, RelFile};
use crate::scan;

use super::{Kind, Seq, Time, Word};

/// Relation forks in which both sides changed a block after the divergence.
pub fn common<'a>(
    ours: &'a scan::Changes,
    theirs: &'a scan::Changes,
) -> impl Iterator<Item = (RelFile, Fork, &'a scan::ForkChanges, &'a scan::ForkChanges)> + 'a {
    ours.relations.iter().filter_map(|our| {
        let at = theirs.relations.binary_search_by_key(&(our.rel, our.fork), |t| (t.rel, t.fork)).ok()?;
        let their = theirs.relations.get(at)?;
        let (our_after, their_after) = (our.after.as_ref()?, their.after.as_ref()?);
        (our_after.blocks.common(&their_after.blocks) > 0).then_some((
            our.rel,
            our.fork,
            our_after,
            their_after,
        ))
    })
}

/// Ascending blocks as inclusive ranges.
pub(super) fn ranges<'a>(blocks: impl Iterator<Item = u32> + 'a) -> impl Iterator<Item = (u32, u32)> + 'a {
    let mut blocks = blocks.peekable();
    std::iter::from_fn(move || {
        let first = blocks.next()?;
        let mut last = first;
        while let Some(next) = blocks.next_if(|&b| b == last.wrapping_add(1)) {
            last = next;
        }
        Some((first, last))
    })
}

/// A relation by its numbers, with its name where one is known.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct RelationRef {
    /// `tablespace/database/file number`, as pg_waldump prints it.
    pub file: String,
    /// `database.schema.name`, `schema.name` for shared relations; null where no name is known.
    pub name: Option<String>,
}

impl RelationRef {
    /// With its name from `names`.
    pub fn new(rel: RelFile, names: &Names) -> Self {
        Self { file: rel.to_string(), name: names.relations.contains_key(&rel).then(|| names.describe(rel)) }
    }
}

/// A transaction; subtransactions are folded into it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Transaction {
    /// Its identifier, without epoch.
    pub xid: u32,
    /// How it ended.
    #[schemars(extend("enum" = ["committed", "aborted", "prepared", "committed_prepared", "aborted_prepared", "in_progress"]))]
    pub end: Word,
    /// A rewind discards a commit.
    pub lost: bool,
    /// Start of the record that ended it; for open ones, of its last record.
    pub end_lsn: Lsn,
    /// Time of its end.
    pub time: Option<Time>,
    /// Start of its first record in the range.
    pub first_lsn: Lsn,
    /// It may have written before the range.
    pub may_begin_earlier: bool,
    /// Records in the range.
    pub records: u64,
    /// Subtransactions.
    pub subtransactions: u32,
    /// Its PREPARE record in the range.
    pub prepared_lsn: Option<Lsn>,
    /// Global identifier of a prepared transaction.
    pub gid: Option<String>,
    /// Relations that it touched; null where they were not kept because there were too many different sets.
    pub relations: Option<Vec<RelationRef>>,
}

impl Transaction {
    pub(super) fn new(xact: &scan::Xact, facts: &Facts) -> Self {
        use scan::XactEnd;
        Self {
            xid: xact.xid,
            end: match xact.end {
                XactEnd::Committed => "committed".into(),
                XactEnd::Aborted => "aborted".into(),
                XactEnd::Prepared => "prepared".into(),
                XactEnd::CommittedPrepared => "committed_prepared".into(),
                XactEnd::AbortedPrepared => "aborted_prepared".into(),
                XactEnd::InProgress => "in_progress".into(),
            },
            lost: xact.end.is_commit(),
            end_lsn: xact.end_lsn,
            time: xact.time.map(Into::into),
            first_lsn: xact.first_lsn,
            may_begin_earlier: xact.may_begin_earlier,
            records: u64::from(xact.records),
            subtransactions: xact.subxacts,
            prepared_lsn: xact.prepared.as_ref().map(|p| p.lsn),
            gid: xact.prepared.as_ref().map(|p| p.gid.to_string()),
            relations: facts
                .relation_sets
                .get(xact.relations)
                .map(|set| set.iter().map(|&rel| RelationRef::new(rel, &facts.names)).collect()),
        }
    }
}

/// A stretch of WAL that was found nowhere.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// Where it begins.
    pub from: Lsn,
    /// Where it ends.
    pub to: Lsn,
}

/// What changed in a range of one side's WAL.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Scan<'a> {
    /// From here.
    pub from: Lsn,
    /// To here: the end of WAL, or where reading stopped.
    pub to: Lsn,
    /// Records read.
    pub records: u64,
    /// Bytes of WAL.
    pub bytes: u64,
    /// Stretches in between that were found nowhere.
    pub gaps: Vec<Gap>,
    /// Records by kind.
    pub kinds: Vec<KindTotals>,
    /// Relations created, truncated, dropped, and the like.
    pub events: Seq<'a, Event>,
    /// Every relation fork in which a block changed.
    pub relations: Seq<'a, RelationChanges<'a>>,
}

/// Records of a kind.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KindTotals {
    /// The kind.
    #[serde(flatten)]
    pub kind: Kind,
    /// Before the divergence.
    pub before: u64,
    /// At or after it.
    pub after: u64,
}

/// Records of a kind that changed a relation fork.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KindCount {
    /// The kind.
    #[serde(flatten)]
    pub kind: Kind,
    /// How many references to its blocks.
    pub count: u64,
}

/// A relation fork in which blocks changed.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RelationChanges<'a> {
    /// `tablespace/database/file number`.
    pub file: String,
    /// Tablespace OID.
    pub tablespace_oid: u32,
    /// Its name, if known.
    pub tablespace: Option<&'a str>,
    /// Database OID, 0 for shared relations.
    pub database_oid: u32,
    /// Its name, if known.
    pub database: Option<&'a str>,
    /// Schema, if known.
    pub schema: Option<&'a str>,
    /// Relation, if known.
    pub name: Option<&'a str>,
    /// OID of the relation, if known.
    pub oid: Option<u32>,
    /// `relkind`, if known.
    pub relkind: Option<char>,
    /// `relpersistence`, if known.
    pub persistence: Option<char>,
    /// For a TOAST table or its index: the table it belongs to.
    pub toast_of: Option<&'a str>,
    /// The name was read from the source because the relation is gone on the target.
    pub named_by_source: bool,
    /// `main`, `fsm`, `vm` or `init`.
    pub fork: &'static str,
    /// The fork's first file within the data directory.
    pub path: String,
    /// Changed before the divergence.
    pub before: Option<ForkChanges<'a>>,
    /// Changed at or after it.
    pub after: Option<ForkChanges<'a>>,
}

/// Changes of one relation fork.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ForkChanges<'a> {
    /// Number of different blocks.
    pub blocks: u64,
    /// Block references: a block changed twice counts twice.
    pub references: u64,
    /// How many of them carried a full-page image.
    pub images: u64,
    /// Start of the first record.
    pub first_lsn: Lsn,
    /// Start of the last record.
    pub last_lsn: Lsn,
    /// By which kinds of record.
    pub kinds: Vec<KindCount>,
    /// The blocks as inclusive ranges `[first, last]`.
    pub ranges: Seq<'a, (u32, u32)>,
}

/// Blocks that both sides changed after the divergence.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Common<'a> {
    /// The relation.
    #[serde(flatten)]
    pub relation: RelationRef,
    /// Its fork.
    pub fork: &'static str,
    /// How many blocks.
    pub blocks: u64,
    /// The blocks as inclusive ranges `[first, last]`.
    pub ranges: Seq<'a, (u32, u32)>,
}

/// A change that is not of single blocks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Event {
    /// Start of the record.
    pub lsn: Lsn,
    /// The transaction, 0 for none.
    pub xid: u32,
    /// At or after the divergence.
    pub after: bool,
    /// What happened.
    #[serde(flatten)]
    pub what: EventKind,
}

/// What happened.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum EventKind {
    /// A relation fork's file was made.
    Created {
        /// The relation.
        relation: RelationRef,
        /// Its fork.
        fork: &'static str,
    },
    /// A relation was cut.
    Truncated {
        /// The relation.
        relation: RelationRef,
        /// To so many blocks.
        blocks: u32,
    },
    /// A relation's files were dropped.
    Dropped {
        /// The relation.
        relation: RelationRef,
    },
    /// A database was made.
    DatabaseCreated {
        /// Its OID.
        database: u32,
        /// Its tablespace.
        tablespace: u32,
    },
    /// A database was dropped.
    DatabaseDropped {
        /// Its OID.
        database: u32,
        /// Its tablespaces.
        tablespaces: Vec<u32>,
    },
    /// A tablespace was made.
    TablespaceCreated {
        /// Its OID.
        tablespace: u32,
        /// Its path.
        path: String,
    },
    /// A tablespace was dropped.
    TablespaceDropped {
        /// Its OID.
        tablespace: u32,
    },
    /// A relation map was rewritten.
    RelationMap {
        /// Database, 0 for the shared one.
        database: u32,
    },
}

impl EventKind {
    fn new(event: &scan::FileEvent, names: &Names) -> Self {
        use scan::FileEvent;
        match event {
            FileEvent::Created(rel, fork) => {
                Self::Created { relation: RelationRef::new(*rel, names), fork: fork.name() }
            }
            FileEvent::Truncated(rel, blocks) => {
                Self::Truncated { relation: RelationRef::new(*rel, names), blocks: *blocks }
            }
            FileEvent::Dropped(rel) => Self::Dropped { relation: RelationRef::new(*rel, names) },
            FileEvent::DatabaseCreated(database, tablespace) => {
                Self::DatabaseCreated { database: *database, tablespace: *tablespace }
            }
            FileEvent::DatabaseDropped(database, tablespaces) => {
                Self::DatabaseDropped { database: *database, tablespaces: tablespaces.clone() }
            }
            FileEvent::TablespaceCreated(tablespace, path) => {
                Self::TablespaceCreated { tablespace: *tablespace, path: path.clone() }
            }
            FileEvent::TablespaceDropped(tablespace) => Self::TablespaceDropped { tablespace: *tablespace },
            FileEvent::RelationMap(database) => Self::RelationMap { database: *database },
        }
    }
}

/// Name of the directory that a tablespace has for this major and catalog version.
pub fn version_dir(control: &ControlFile) -> String {
    format!("PG_{}_{}", control.major, control.catalog_version)
}

impl<'a> Scan<'a> {
    /// The scan of `side`.
    pub fn new(scan: &'a facts::SideScan, facts: &'a Facts, side: &'a facts::Side) -> Self {
        Self::filtered(scan, facts, side, None::<fn(RelFile) -> bool>)
    }

    /// Only the relations that `wanted` holds for, and the events that are about them.
    pub fn filtered(
        scan: &'a facts::SideScan,
        facts: &'a Facts,
        side: &'a facts::Side,
        wanted: Option<impl Fn(RelFile) -> bool + 'a>,
    ) -> Self {
        let major = side.dir.major();
        let names = facts.names_of(side.role);
        let wanted = std::rc::Rc::new(wanted);
        let wanted_event = std::rc::Rc::clone(&wanted);
        Self {
            from: scan.from,
            to: scan.to,
            records: scan.records,
            bytes: scan.bytes,
            gaps: scan.gaps.iter().map(|&(from, to)| Gap { from, to }).collect(),
            kinds: scan
                .changes
                .kinds
                .iter()
                .map(|&(kind, before, after)| KindTotals { kind: Kind::new(kind, major), before, after })
                .collect(),
            events: Seq::new(move || {
                let wanted = std::rc::Rc::clone(&wanted_event);
                scan.changes
                    .events
                    .iter()
                    .filter(move |e| match (wanted.as_ref().as_ref(), event_relation(&e.event)) {
                        (Some(wanted), Some(rel)) => wanted(rel),
                        (filter, _) => filter.is_none(),
                    })
                    .map(|e| Event {
                        lsn: e.lsn,
                        xid: e.xid,
                        after: e.after,
                        what: EventKind::new(&e.event, names),
                    })
            }),
            relations: Seq::new(move || {
                let wanted = std::rc::Rc::clone(&wanted);
                scan.changes
                    .relations
                    .iter()
                    .filter(move |r| wanted.as_ref().as_ref().is_none_or(|wanted| wanted(r.rel)))
                    .map(move |r| RelationChanges::new(r, names, &side.control, major))
            }),
        }
    }
}

/// The relation that an event is about.
pub const fn event_relation(event: &scan::FileEvent) -> Option<RelFile> {
    use scan::FileEvent;
    match event {
        FileEvent::Created(rel, _) | FileEvent::Truncated(rel, _) | FileEvent::Dropped(rel) => Some(*rel),
        _ => None,
    }
}

impl<'a> RelationChanges<'a> {
    fn new(
        r: &'a scan::RelationChanges,
        names: &'a Names,
        control: &ControlFile,
        major: Option<Major>,
    ) -> Self {
        let known = names.relations.get(&r.rel);
        let changes = |changes: &'a scan::ForkChanges| ForkChanges {
            blocks: changes.blocks.len(),
            references: changes.references,
            images: changes.images,
            first_lsn: changes.first,
            last_lsn: changes.last,
            kinds: changes
                .kinds
                .iter()
                .map(|&(kind, count)| KindCount { kind: Kind::new(kind, major), count })
                .collect(),
            ranges: Seq::new(|| changes.blocks.ranges()),
        };
        Self {
            file: r.rel.to_string(),
            tablespace_oid: r.rel.spc,
            tablespace: names.tablespaces.get(&r.rel.spc).map(String::as_str),
            database_oid: r.rel.db,
            database: names.databases.get(&r.rel.db).map(String::as_str),
            schema: known.map(|n| n.schema.as_str()),
            name: known.map(|n| n.name.as_str()),
            oid: known.map(|n| n.oid),
            relkind: known.map(|n| n.kind),
            persistence: known.map(|n| n.persistence),
            toast_of: known.and_then(|n| n.toast_of.as_deref()),
            named_by_source: known.is_some_and(|n| n.from_source),
            fork: r.fork.name(),
            path: r.rel.path(r.fork, &version_dir(control)),
            before: r.before.as_ref().map(changes),
            after: r.after.as_ref().map(changes),
        }
    }
}
