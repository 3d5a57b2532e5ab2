//! The report as stable types: what scripts read. Additions do not raise [`SCHEMA_VERSION`], everything else does.
//!
//! LSNs are `%X/%X`, 64-bit identifiers decimal strings, other numbers numbers; times RFC 3339 in UTC; paths that are
//! not UTF-8 `{"base64": …}`. What there may be many of is made while it is written, so that memory does not grow.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use super::words;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::{engine, verdict};
use crate::facts::{self, Facts};
use crate::findings;
use crate::names::Names;
use crate::pg::control::ControlFile;
use crate::pg::history::History;
use crate::pg::{Fork, Lsn, Major, RelFile, TimestampTz};
use crate::scan;
use crate::source::leftovers;
use crate::source::slots;

/// Raised when something in the JSON changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

/// A sequence that is made while it is written.
pub struct Seq<'a, T>(Box<dyn Fn() -> Box<dyn Iterator<Item = T> + 'a> + 'a>);

impl<'a, T> Seq<'a, T> {
    /// From what makes the iterator.
    pub fn new<I, F>(make: F) -> Self
    where
        I: Iterator<Item = T> + 'a,
        F: Fn() -> I + 'a,
    {
        Self(Box::new(move || Box::new(make())))
    }

    /// Makes the items.
    pub fn items(&self) -> Box<dyn Iterator<Item = T> + 'a> {
        (self.0)()
    }
}

impl<T> std::fmt::Debug for Seq<'_, T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seq(..)")
    }
}

impl<T: Serialize> Serialize for Seq<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items())
    }
}

impl<T: JsonSchema> JsonSchema for Seq<'_, T> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Vec::<T>::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Vec::<T>::json_schema(generator)
    }
}

/// A path: a string, or where it is not UTF-8 its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum PathText {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes {
        /// RFC 4648, with padding.
        base64: String,
    },
}

impl From<&Path> for PathText {
    fn from(path: &Path) -> Self {
        match path.to_str() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Bytes { base64: base64(path.as_os_str().as_bytes()) },
        }
    }
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let value = (0..3).fold(0u32, |v, i| v << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for digit in 0..4 {
            let index = (value >> (18 - 6 * digit)) as usize & 63;
            let known = digit <= chunk.len();
            out.push(if known { ALPHABET.get(index).map_or('=', |&b| char::from(b)) } else { '=' });
        }
    }
    out
}

/// A time: RFC 3339 in UTC, or outside its years microseconds since 2000-01-01 UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Time {
    /// RFC 3339.
    Text(String),
    /// Microseconds since 2000-01-01 UTC.
    Raw(i64),
}

impl From<TimestampTz> for Time {
    fn from(time: TimestampTz) -> Self {
        words::rfc3339(time).map_or(Self::Raw(time), Self::Text)
    }
}

/// What made this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tool {
    /// `forkpoint`.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

impl Tool {
    /// This build.
    pub const THIS: Self = Self { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") };
}

/// The whole diagnosis of a pair of data directories.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "forkpoint report")]
pub struct Report<'a> {
    /// Version of this format.
    pub schema_version: u32,
    /// What made it.
    pub tool: Tool,
    /// What to do.
    pub verdict: Verdict,
    /// How the two sides stand to each other.
    pub relation: Relation,
    /// Where they part.
    pub divergence: Option<Divergence>,
    /// The last checkpoint before the divergence on the target.
    pub last_common_checkpoint: Option<Checkpoint>,
    /// Shared timelines that could not be compared record by record.
    pub unproven: Vec<Unproven>,
    /// What discarding the target's WAL after the divergence costs.
    pub loss: Option<Loss>,
    /// What goes wrong, most severe first.
    pub findings: Vec<Finding>,
    /// Messages of the server's log that was given, with what they mean here; null if none was given.
    pub log: Option<Vec<LogMatch>>,
    /// The directory that will not rejoin.
    pub target: Side,
    /// The directory it should follow.
    pub source: Side,
    /// Which WAL is needed and where it lies.
    pub wal: WalNeeds,
    /// Two files of one name with different content.
    pub archive_conflicts: Vec<Conflict>,
    /// How the names of relations were read.
    pub names: NameSource,
    /// Where the backup that the target's backup_label speaks of ended, if something tells.
    pub target_backup_end: Option<Lsn>,
    /// Room on the target's filesystems; empty when it was not asked.
    pub target_space: Vec<FreeSpace>,
    /// Both trees of files.
    pub files: Files,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
    /// Transactions of the target that ended after the divergence or were open at its end.
    pub transactions: Seq<'a, Transaction>,
    /// What the target changed since the last common checkpoint.
    pub target_changes: Option<Scan<'a>>,
    /// What the source changed since the divergence; null too when its WAL was left out.
    pub source_changes: Option<Scan<'a>>,
    /// Blocks that both changed after the divergence; null where the source's changes are.
    pub changed_on_both: Option<Seq<'a, Common<'a>>>,
}

impl<'a> From<&'a Diagnosis> for Report<'a> {
    fn from(diagnosis: &'a Diagnosis) -> Self {
        let facts = &diagnosis.facts;
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            verdict: (&diagnosis.verdict).into(),
            relation: (&facts.relation).into(),
            divergence: facts.divergence.as_ref().map(Into::into),
            last_common_checkpoint: facts.common_checkpoint.as_ref().map(Into::into),
            unproven: facts.unproven.iter().map(Into::into).collect(),
            loss: facts.loss.as_ref().map(Into::into),
            findings: diagnosis.findings.iter().map(Into::into).collect(),
            log: None,
            target: (&facts.target).into(),
            source: (&facts.source).into(),
            wal: WalNeeds {
                find_blocks: facts.wal.find_blocks.as_ref().map(Into::into),
                follow: facts.wal.follow.as_ref().map(Into::into),
            },
            archive_conflicts: facts
                .archive_conflicts
                .iter()
                .map(|c| Conflict {
                    name: c.name.clone(),
                    paths: c.paths.iter().map(|p| p.as_path().into()).collect(),
                    offset: c.offset,
                })
                .collect(),
            names: NameSource {
                replayed: facts.names.replayed,
                problems: facts.names.problems.iter().map(|p| words::mask(p).into_owned()).collect(),
            },
            target_backup_end: facts.target_backup_end,
            target_space: facts
                .target_space
                .iter()
                .map(|s| FreeSpace { at: s.at.as_path().into(), bytes: s.bytes })
                .collect(),
            files: (&facts.trees).into(),
            unseen: facts.unseen.iter().map(Into::into).collect(),
            transactions: Seq::new(|| facts.transactions.iter().map(|x| Transaction::new(x, facts))),
            target_changes: facts.target_scan.as_ref().map(|s| Scan::new(s, facts, &facts.target)),
            source_changes: facts.source_scan.as_ref().map(|s| Scan::new(s, facts, &facts.source)),
            changed_on_both: facts.target_scan.as_ref().zip(facts.source_scan.as_ref()).map(
                |(ours, theirs)| {
                    Seq::new(|| {
                        common(&ours.changes, &theirs.changes).map(|(rel, fork, ours, theirs)| Common {
                            relation: RelationRef::new(rel, &facts.names),
                            fork: fork.name(),
                            blocks: ours.blocks.common(&theirs.blocks),
                            ranges: Seq::new(|| {
                                // the shorter set decides the work
                                let (few, many) = if ours.blocks.len() <= theirs.blocks.len() {
                                    (&ours.blocks, &theirs.blocks)
                                } else {
                                    (&theirs.blocks, &ours.blocks)
                                };
                                ranges(few.iter().filter(|&block| many.contains(block)))
                            }),
                        })
                    })
                },
            ),
        }
    }
}

impl Report<'_> {
    /// With what was found in a server's log.
    #[must_use]
    pub fn with_log(mut self, log: Option<&[engine::LogMatch]>) -> Self {
        self.log = log.map(|log| log.iter().map(Into::into).collect());
        self
    }
}

/// A message of a server's log that belongs to a finding.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LogMatch {
    /// Number of its line, from 1.
    pub line: u64,
    /// The message.
    pub message: String,
    /// Code of the finding.
    pub code: &'static str,
    /// What the code stands for.
    pub title: String,
    /// Whether the directories bear it out; null where they cannot tell.
    pub borne_out: Option<bool>,
    /// Why.
    pub why: String,
}

impl From<&engine::LogMatch> for LogMatch {
    fn from(m: &engine::LogMatch) -> Self {
        Self {
            line: m.line,
            message: words::mask(&m.message).into_owned(),
            code: m.code,
            title: m.title.clone(),
            borne_out: m.borne_out,
            why: words::mask(&m.why).into_owned(),
        }
    }
}

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
fn ranges<'a>(blocks: impl Iterator<Item = u32> + 'a) -> impl Iterator<Item = (u32, u32)> + 'a {
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

/// What to do.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Verdict {
    /// `same`, `follow`, `rewind`, `re-clone`, `unrelated` or `undecided`.
    #[schemars(extend("enum" = ["same", "follow", "rewind", "re-clone", "unrelated", "undecided"]))]
    pub action: &'static str,
    /// The one line that comes first.
    pub line: String,
    /// Which of the pictures that explanations of timelines draw.
    #[schemars(extend("enum" = ["failover", "switchover", "before_switchover", "twins", "standby", "rewound", null]))]
    pub picture: Option<&'static str>,
    /// Committed transactions that a rewind discards, if known.
    pub lost_commits: Option<u64>,
    /// Codes of the findings that stand in the way.
    pub blocked_by: Vec<&'static str>,
    /// What the target lacks to follow.
    pub lacks: Vec<String>,
    /// What to do, in order.
    pub next_steps: Vec<String>,
    /// What remains if that way is closed.
    pub other_routes: Vec<String>,
}

impl From<&verdict::Verdict> for Verdict {
    fn from(verdict: &verdict::Verdict) -> Self {
        use verdict::Picture;
        let masked = |texts: &[String]| texts.iter().map(|t| words::mask(t).into_owned()).collect();
        Self {
            action: words::action(verdict.action),
            line: words::mask(&verdict.line).into_owned(),
            picture: match verdict.picture {
                Picture::Failover => Some("failover"),
                Picture::Switchover => Some("switchover"),
                Picture::BeforeSwitchover => Some("before_switchover"),
                Picture::Twins => Some("twins"),
                Picture::Standby => Some("standby"),
                Picture::Rewound => Some("rewound"),
                Picture::None => None,
            },
            lost_commits: verdict.lost_commits,
            blocked_by: verdict.blocked_by.clone(),
            lacks: masked(&verdict.lacks),
            next_steps: masked(&verdict.next_steps),
            other_routes: masked(&verdict.other_routes),
        }
    }
}

/// How the two sides stand to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Relation {
    /// Both end at the same record of the same timeline.
    SamePosition,
    /// Everything in the target's WAL is in the source's history.
    TargetBehind,
    /// They wrote different WAL after the divergence.
    Diverged,
    /// Both claim the same timeline number with different records.
    Twins {
        /// The timeline.
        timeline: u32,
    },
    /// The source has nothing that the target lacks: probably given the wrong way round.
    SourceBehind,
    /// Nothing in common.
    Unrelated {
        /// What shows it.
        reason: UnrelatedReason,
    },
    /// The evidence does not suffice; `unseen` says why.
    Undecided,
}

/// What shows that two directories have nothing in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnrelatedReason {
    /// Another initdb or pg_upgrade.
    SystemIdentifier,
    /// Another major version.
    Major,
    /// The first entries of the histories differ.
    NoCommonAncestor,
}

impl From<&facts::Relation> for Relation {
    fn from(relation: &facts::Relation) -> Self {
        match relation {
            facts::Relation::SamePosition => Self::SamePosition,
            facts::Relation::TargetBehind => Self::TargetBehind,
            facts::Relation::Diverged => Self::Diverged,
            facts::Relation::Twins { timeline } => Self::Twins { timeline: *timeline },
            facts::Relation::SourceBehind => Self::SourceBehind,
            facts::Relation::Unrelated(why) => Self::Unrelated {
                reason: match why {
                    facts::Unrelated::SystemIdentifier => UnrelatedReason::SystemIdentifier,
                    facts::Unrelated::Major => UnrelatedReason::Major,
                    facts::Unrelated::NoCommonAncestor => UnrelatedReason::NoCommonAncestor,
                },
            },
            facts::Relation::Undecided => Self::Undecided,
        }
    }
}

/// A position on a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Position {
    /// The position.
    pub lsn: Lsn,
    /// The timeline.
    pub timeline: u32,
}

/// Where the timelines part.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Divergence {
    /// First byte that is not common.
    pub lsn: Lsn,
    /// The last common timeline.
    pub timeline: u32,
    /// What shows it: `history`, `records` or `end` (one side simply ends there).
    #[schemars(extend("enum" = ["history", "records", "end"]))]
    pub shown_by: &'static str,
    /// For `history`: the timeline of the history file.
    pub history_of: Option<u32>,
    /// What pg_rewind would take from the histories alone; null: it says "no rewind required".
    pub pg_rewind: Option<Position>,
}

impl From<&facts::Divergence> for Divergence {
    fn from(divergence: &facts::Divergence) -> Self {
        let (shown_by, history_of) = match divergence.shown_by {
            facts::DivergenceProof::History(timeline) => ("history", Some(timeline)),
            facts::DivergenceProof::Records => ("records", None),
            facts::DivergenceProof::End => ("end", None),
        };
        Self {
            lsn: divergence.lsn,
            timeline: divergence.timeline,
            shown_by,
            history_of,
            pg_rewind: divergence.pg_rewind.map(|(lsn, timeline)| Position { lsn, timeline }),
        }
    }
}

/// A checkpoint record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Checkpoint {
    /// Start of the record.
    pub lsn: Lsn,
    /// End of the record.
    pub end: Lsn,
    /// Where replay from it starts.
    pub redo: Lsn,
    /// Its timeline.
    pub timeline: u32,
    /// CHECKPOINT_SHUTDOWN rather than CHECKPOINT_ONLINE.
    pub shutdown: bool,
    /// The next transaction identifier at that time, without epoch.
    pub next_xid: u32,
    /// The oldest transaction then running, 0 for none.
    pub oldest_active_xid: u32,
}

impl From<&facts::Checkpoint> for Checkpoint {
    fn from(c: &facts::Checkpoint) -> Self {
        Self {
            lsn: c.lsn,
            end: c.end,
            redo: c.redo,
            timeline: c.timeline,
            shutdown: c.shutdown,
            next_xid: c.next_xid,
            oldest_active_xid: c.oldest_active_xid,
        }
    }
}

/// A stretch of a shared timeline that could not be compared.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Unproven {
    /// The timeline.
    pub timeline: u32,
    /// From here.
    pub from: Lsn,
    /// To here.
    pub to: Lsn,
    /// Whose WAL is missing.
    pub missing_on: Role,
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The directory that will not rejoin.
    Target,
    /// The directory it should follow.
    Source,
}

impl From<facts::Role> for Role {
    fn from(role: facts::Role) -> Self {
        match role {
            facts::Role::Target => Self::Target,
            facts::Role::Source => Self::Source,
        }
    }
}

impl From<&facts::Unproven> for Unproven {
    fn from(u: &facts::Unproven) -> Self {
        Self { timeline: u.timeline, from: u.from, to: u.to, missing_on: u.missing_on.into() }
    }
}

/// What discarding the target's WAL after the divergence costs.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Loss {
    /// No record at all.
    Nothing,
    /// Only the shutdown checkpoint.
    ShutdownCheckpointOnly,
    /// Records, and none of them by a committed transaction.
    MaintenanceOnly,
    /// Committed transactions.
    Commits {
        /// How many.
        commits: u64,
        /// Commit time of the first.
        first: Time,
        /// Commit time of the last.
        last: Time,
    },
    /// No commit, but transactions that were prepared after the divergence and wait for their decision.
    PreparedOnly {
        /// How many.
        prepared: u64,
    },
    /// At least so many: the WAL could not be read to its end.
    AtLeast {
        /// How many were seen.
        commits: u64,
    },
}

impl From<&facts::Loss> for Loss {
    fn from(loss: &facts::Loss) -> Self {
        match *loss {
            facts::Loss::Nothing => Self::Nothing,
            facts::Loss::ShutdownCheckpointOnly => Self::ShutdownCheckpointOnly,
            facts::Loss::MaintenanceOnly => Self::MaintenanceOnly,
            facts::Loss::Commits { commits, first, last } => {
                Self::Commits { commits, first: first.into(), last: last.into() }
            }
            facts::Loss::PreparedOnly { prepared } => Self::PreparedOnly { prepared },
            facts::Loss::AtLeast { commits } => Self::AtLeast { commits },
        }
    }
}

/// One way in which the rejoin fails, or a thing worth knowing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Finding {
    /// Stable code: FP01 to FP45 by the catalogue of rejoin failures, own ones from FP60.
    pub code: &'static str,
    /// `info`, `warning` or `error` (stands in the way).
    #[schemars(extend("enum" = ["info", "warning", "error"]))]
    pub severity: &'static str,
    /// One line.
    pub title: String,
    /// What it means here.
    pub explanation: String,
    /// The proof.
    pub evidence: Vec<Evidence>,
    /// What PostgreSQL or pg_rewind would log because of it.
    pub server_log: Vec<String>,
    /// What to do.
    pub remedy: String,
}

/// One piece of evidence.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Evidence {
    /// The file.
    pub path: Option<PathText>,
    /// Offset in the file in bytes.
    pub offset: Option<u64>,
    /// Position in the WAL.
    pub lsn: Option<Lsn>,
    /// Timeline.
    pub timeline: Option<u32>,
    /// What stands there.
    pub value: String,
}

impl From<&findings::Finding> for Finding {
    fn from(f: &findings::Finding) -> Self {
        let masked = |text: &str| words::mask(text).into_owned();
        Self {
            code: f.code,
            severity: words::severity(f.severity),
            title: masked(&f.title),
            explanation: masked(&f.explanation),
            evidence: f
                .evidence
                .iter()
                .map(|e| Evidence {
                    path: e.path.as_deref().map(Into::into),
                    offset: e.offset,
                    lsn: e.lsn,
                    timeline: e.timeline,
                    value: masked(&e.value),
                })
                .collect(),
            server_log: f.server_log.iter().map(|l| masked(l)).collect(),
            remedy: masked(&f.remedy),
        }
    }
}

/// One of the two directories.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Side {
    /// Which one.
    pub role: Role,
    /// The directory as it was given.
    pub path: PathText,
    /// The major in PG_VERSION.
    pub major: Option<String>,
    /// Unique to the cluster, decimal.
    pub system_identifier: String,
    /// Size of a WAL segment in bytes.
    pub wal_segment_size: u64,
    /// The timeline that the side is really on.
    pub timeline: u32,
    /// What pg_control alone would say.
    pub control_timeline: u32,
    /// Why `timeline` is believed.
    pub timeline_evidence: TimelineEvidence,
    /// The timelines it went through.
    pub lineage: Vec<LineageEntry>,
    /// Timelines whose history file the lineage needs and that was found nowhere.
    pub missing_history: Vec<u32>,
    /// All history files that were found for it.
    pub histories: Vec<HistoryFile>,
    /// Where its WAL really ends; null when no record could be read.
    pub end_of_wal: Option<WalEnd>,
    /// LSN up to which the data files may be, by the control file alone.
    pub control_end: Option<Lsn>,
    /// WAL files that were looked at and are not what their names say; recycled ones are normal.
    pub rejected_wal: Vec<RejectedWal>,
    /// The control file.
    pub control: Control,
    /// Files that change how the server would start.
    pub leftovers: Leftovers,
    /// Settings that matter for a rejoin; passwords are masked.
    pub settings: Settings,
    /// Replication slots.
    pub slots: Vec<Slot>,
}

/// Why a side's last timeline is believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TimelineEvidence {
    /// pg_control names it.
    Control,
    /// The first record of the timeline says so.
    FirstRecord {
        /// Its position.
        lsn: Lsn,
    },
}

/// One timeline of a lineage or history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct LineageEntry {
    /// The timeline.
    pub timeline: u32,
    /// Where it begins.
    pub begin: Lsn,
    /// Where the next one forked off; null for the last.
    pub end: Option<Lsn>,
    /// Why the next one was made, as the file says.
    pub reason: String,
}

/// The entries of a history.
pub fn entries(history: &History) -> Vec<LineageEntry> {
    history
        .entries
        .iter()
        .map(|e| LineageEntry {
            timeline: e.timeline,
            begin: e.begin,
            end: (e.end != Lsn::MAX).then_some(e.end),
            reason: e.reason.clone(),
        })
        .collect()
}

/// A history file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HistoryFile {
    /// Its timeline.
    pub timeline: u32,
    /// Where it was read.
    pub path: PathText,
    /// It lies in the side's own WAL directory rather than in an archive.
    pub own: bool,
    /// What it says.
    pub entries: Vec<LineageEntry>,
    /// Its lines as they stand, comments too.
    pub lines: Vec<String>,
}

impl From<&facts::FoundHistory> for HistoryFile {
    fn from(found: &facts::FoundHistory) -> Self {
        Self {
            timeline: found.history.timeline,
            path: found.path.as_path().into(),
            own: found.own,
            entries: entries(&found.history),
            lines: found.history.lines.clone(),
        }
    }
}

/// Where and how WAL ends.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WalEnd {
    /// End of the last valid record.
    pub lsn: Lsn,
    /// Its timeline.
    pub timeline: u32,
    /// Start of the last valid record.
    pub last_record: Lsn,
    /// Its kind.
    pub last_kind: Kind,
    /// `zeros`, `recycled`, `no_segment`, `torn`, `damaged` or `requested`.
    #[schemars(extend("enum" = ["zeros", "recycled", "no_segment", "torn", "damaged", "requested"]))]
    pub kind: &'static str,
    /// For `damaged`: the first valid record behind the damage.
    pub next_valid: Option<Lsn>,
    /// What pg_waldump of that major says when it gets there.
    pub message: String,
    /// What that means.
    pub meaning: String,
    /// The file in which it ends.
    pub path: Option<PathText>,
    /// Offset in that file.
    pub offset: u64,
}

impl WalEnd {
    /// With the names that records have in this major.
    pub fn new(end: &scan::WalEnd, major: Option<Major>) -> Self {
        let (kind, next_valid) = match end.kind {
            scan::EndKind::Zeros => ("zeros", None),
            scan::EndKind::Recycled => ("recycled", None),
            scan::EndKind::NoSegment => ("no_segment", None),
            scan::EndKind::Torn => ("torn", None),
            scan::EndKind::Damaged { next_valid } => ("damaged", Some(next_valid)),
            scan::EndKind::Requested => ("requested", None),
        };
        Self {
            lsn: end.lsn,
            timeline: end.timeline,
            last_record: end.last_record,
            last_kind: Kind::new(end.last_kind, major),
            kind,
            next_valid,
            message: end.message.clone(),
            meaning: end.meaning.clone(),
            path: end.path.as_deref().map(Into::into),
            offset: end.offset,
        }
    }
}

/// A kind of record.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Kind {
    /// Resource manager, as pg_waldump names it.
    pub rmgr: String,
    /// Operation, as pg_waldump names it; null where it has no name here.
    pub operation: Option<&'static str>,
    /// Number of the resource manager.
    pub rmid: u8,
    /// Operation bits of the info byte.
    pub info: u8,
}

impl Kind {
    /// With the name that it has in this major.
    pub fn new(kind: scan::RecordKind, major: Option<Major>) -> Self {
        Self {
            rmgr: crate::wal::rmgr::name(kind.rmid).into_owned(),
            operation: words::operation(kind, major),
            rmid: kind.rmid,
            info: kind.op,
        }
    }
}

/// The control file; fields that a major does not have are null. The nonce for mock authentication is left out: it
/// decides nothing here, and reports are passed on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct Control {
    pub major: String,
    /// Decimal.
    pub system_identifier: String,
    pub pg_control_version: u32,
    pub catalog_version: u32,
    /// As pg_controldata writes it.
    pub state: String,
    pub time: Time,
    pub checkpoint: Lsn,
    pub prev_checkpoint: Option<Lsn>,
    pub checkpoint_copy: CheckpointCopy,
    pub unlogged_lsn: Option<Lsn>,
    pub min_recovery_point: Lsn,
    pub min_recovery_point_timeline: Option<u32>,
    pub backup_start_point: Lsn,
    pub backup_end_point: Option<Lsn>,
    pub backup_end_required: Option<bool>,
    pub wal_level: u32,
    pub wal_log_hints: Option<bool>,
    pub max_connections: i32,
    pub max_worker_processes: Option<i32>,
    pub max_wal_senders: Option<i32>,
    pub max_prepared_xacts: i32,
    pub max_locks_per_xact: i32,
    pub track_commit_timestamp: Option<bool>,
    pub max_align: u32,
    pub float_format: Option<f64>,
    pub block_size: u32,
    pub relation_segment_size: u32,
    pub slru_pages_per_segment: Option<u32>,
    pub wal_block_size: u32,
    pub wal_segment_size: u32,
    pub name_data_len: u32,
    pub index_max_keys: u32,
    pub toast_max_chunk_size: u32,
    pub large_object_chunk_size: Option<u32>,
    pub integer_datetimes: Option<bool>,
    pub float4_by_value: Option<bool>,
    pub float8_by_value: bool,
    /// 0: off, 1: on.
    pub data_checksum_version: Option<u32>,
    pub data_checksum_version_init: Option<u32>,
    pub default_char_signed: Option<bool>,
    /// As stored.
    pub crc: u32,
    /// The stored CRC is that of the bytes before it.
    pub crc_ok: bool,
}

/// The copy of the last checkpoint record in the control file.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[allow(missing_docs)]
pub struct CheckpointCopy {
    pub redo: Lsn,
    pub timeline: u32,
    pub prev_timeline: Option<u32>,
    pub full_page_writes: Option<bool>,
    pub wal_level: Option<i32>,
    pub logical_decoding: Option<bool>,
    /// With epoch, decimal.
    pub next_full_xid: String,
    pub next_oid: u32,
    pub next_multi: u32,
    pub next_multi_offset: u64,
    pub oldest_xid: u32,
    pub oldest_xid_db: u32,
    pub oldest_multi: Option<u32>,
    pub oldest_multi_db: Option<u32>,
    pub time: Time,
    pub oldest_commit_ts_xid: Option<u32>,
    pub newest_commit_ts_xid: Option<u32>,
    pub oldest_active_xid: u32,
}

impl From<&ControlFile> for Control {
    fn from(c: &ControlFile) -> Self {
        let copy = &c.checkpoint_copy;
        Self {
            major: c.major.to_string(),
            system_identifier: c.system_identifier.to_string(),
            pg_control_version: c.pg_control_version,
            catalog_version: c.catalog_version,
            state: words::state(c.state),
            time: words::from_unix(c.time).into(),
            checkpoint: c.checkpoint,
            prev_checkpoint: c.prev_checkpoint,
            checkpoint_copy: CheckpointCopy {
                redo: copy.redo,
                timeline: copy.timeline,
                prev_timeline: copy.prev_timeline,
                full_page_writes: copy.full_page_writes,
                wal_level: copy.wal_level,
                logical_decoding: copy.logical_decoding,
                next_full_xid: (u64::from(copy.next_xid_epoch) << 32 | u64::from(copy.next_xid)).to_string(),
                next_oid: copy.next_oid,
                next_multi: copy.next_multi,
                next_multi_offset: copy.next_multi_offset,
                oldest_xid: copy.oldest_xid,
                oldest_xid_db: copy.oldest_xid_db,
                oldest_multi: copy.oldest_multi,
                oldest_multi_db: copy.oldest_multi_db,
                time: words::from_unix(copy.time).into(),
                oldest_commit_ts_xid: copy.oldest_commit_ts_xid,
                newest_commit_ts_xid: copy.newest_commit_ts_xid,
                oldest_active_xid: copy.oldest_active_xid,
            },
            unlogged_lsn: c.unlogged_lsn,
            min_recovery_point: c.min_recovery_point,
            min_recovery_point_timeline: c.min_recovery_point_tli,
            backup_start_point: c.backup_start_point,
            backup_end_point: c.backup_end_point,
            backup_end_required: c.backup_end_required,
            wal_level: c.wal_level,
            wal_log_hints: c.wal_log_hints,
            max_connections: c.max_connections,
            max_worker_processes: c.max_worker_processes,
            max_wal_senders: c.max_wal_senders,
            max_prepared_xacts: c.max_prepared_xacts,
            max_locks_per_xact: c.max_locks_per_xact,
            track_commit_timestamp: c.track_commit_timestamp,
            max_align: c.max_align,
            float_format: c.float_format.is_finite().then_some(c.float_format),
            block_size: c.block_size,
            relation_segment_size: c.relation_segment_size,
            slru_pages_per_segment: c.slru_pages_per_segment,
            wal_block_size: c.wal_block_size,
            wal_segment_size: c.wal_segment_size,
            name_data_len: c.name_data_len,
            index_max_keys: c.index_max_keys,
            toast_max_chunk_size: c.toast_max_chunk_size,
            large_object_chunk_size: c.large_object_chunk_size,
            integer_datetimes: c.integer_datetimes,
            float4_by_value: c.float4_by_value,
            float8_by_value: c.float8_by_value,
            data_checksum_version: c.data_checksum_version,
            data_checksum_version_init: c.data_checksum_version_init,
            default_char_signed: c.default_char_signed,
            crc: c.crc,
            crc_ok: c.crc_ok,
        }
    }
}

/// A WAL file that is not what its name says.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RejectedWal {
    /// Timeline in the name.
    pub timeline: u32,
    /// Segment number in the name.
    pub segno: u64,
    /// The file; for a restore command the name that it was asked for.
    pub path: PathText,
    /// Why it was not used.
    pub reason: String,
}

/// Room on a filesystem that the target's files lie on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FreeSpace {
    /// Where it begins within the target: empty for the data directory itself.
    pub at: PathText,
    /// Bytes that an ordinary user can still write.
    pub bytes: u64,
}

/// Files that change how a server would start.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Leftovers {
    /// `backup_label`.
    pub backup_label: Option<BackupLabel>,
    /// `tablespace_map`.
    pub tablespace_map: Option<Vec<TablespaceLink>>,
    /// `standby.signal` is there.
    pub standby_signal: bool,
    /// `recovery.signal` is there.
    pub recovery_signal: bool,
    /// `recovery.conf` is there.
    pub recovery_conf: bool,
    /// `recovery.done` is there.
    pub recovery_done: bool,
    /// `postmaster.pid`.
    pub postmaster: Option<Postmaster>,
    /// Segments and histories not yet archived.
    pub not_archived: Vec<String>,
    /// Left by forkpoint or pg_rewind.
    pub others: Vec<PathText>,
}

/// `backup_label`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct BackupLabel {
    /// START WAL LOCATION.
    pub start: Option<Lsn>,
    /// The segment named behind it.
    pub start_file: Option<String>,
    /// CHECKPOINT LOCATION.
    pub checkpoint: Option<Lsn>,
    /// BACKUP METHOD.
    pub method: String,
    /// BACKUP FROM.
    pub from: String,
    /// START TIMELINE.
    pub timeline: Option<u32>,
    /// INCREMENTAL FROM LSN.
    pub incremental_from: Option<Lsn>,
    /// pg_rewind wrote it.
    pub by_pg_rewind: bool,
    /// The lines as they stand.
    pub lines: Vec<String>,
}

/// A line of `tablespace_map`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TablespaceLink {
    /// OID of the tablespace.
    pub oid: u32,
    /// Its path.
    pub path: String,
}

/// `postmaster.pid`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Postmaster {
    /// The process.
    pub pid: i64,
    /// The data directory it was started with.
    pub data_dir: PathText,
    /// That is this very directory.
    pub same_directory: bool,
    /// A process of that number lives on this machine.
    pub alive: bool,
}

impl From<&leftovers::Leftovers> for Leftovers {
    fn from(l: &leftovers::Leftovers) -> Self {
        Self {
            backup_label: l.backup_label.as_ref().map(|b| BackupLabel {
                start: b.start,
                start_file: b.start_file.clone(),
                checkpoint: b.checkpoint,
                method: b.method.clone(),
                from: b.from.clone(),
                timeline: b.timeline,
                incremental_from: b.incremental_from,
                by_pg_rewind: b.by_pg_rewind(),
                lines: b.lines.clone(),
            }),
            tablespace_map: l.tablespace_map.as_ref().map(|map| {
                map.iter().map(|(oid, path)| TablespaceLink { oid: *oid, path: path.clone() }).collect()
            }),
            standby_signal: l.standby_signal,
            recovery_signal: l.recovery_signal,
            recovery_conf: l.recovery_conf,
            recovery_done: l.recovery_done,
            postmaster: l.postmaster.as_ref().map(|p| Postmaster {
                pid: p.pid,
                data_dir: p.data_dir.as_path().into(),
                same_directory: p.same_directory,
                alive: p.alive,
            }),
            not_archived: l.not_archived.clone(),
            others: l.others.iter().map(|p| p.as_path().into()).collect(),
        }
    }
}

/// Settings that matter for a rejoin.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Settings {
    /// The assignments, in the order in which the server reads them: the last of a name counts.
    pub set: Vec<Setting>,
    /// postgresql.conf is there.
    pub has_postgresql_conf: bool,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// One assignment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Setting {
    /// Lower case.
    pub name: String,
    /// Passwords are masked.
    pub value: String,
    /// The file.
    pub path: PathText,
    /// Line number, from 1.
    pub line: u32,
}

/// A replication slot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// OID of the database of a logical slot; null for a physical one.
    pub database: Option<u32>,
    /// Oldest WAL that it holds.
    pub restart_lsn: Option<Lsn>,
    /// What the consumer of a logical slot has confirmed.
    pub confirmed_flush: Option<Lsn>,
    /// The output plugin of a logical slot.
    pub plugin: Option<String>,
    /// Oldest transaction that it holds, 0 for none.
    pub xmin: u32,
    /// Oldest catalog transaction that it holds, 0 for none.
    pub catalog_xmin: u32,
    /// Survives a restart.
    pub persistent: bool,
    /// Invalidated.
    pub invalidated: bool,
    /// Failover slot.
    pub failover: bool,
    /// Synced from the primary.
    pub synced: bool,
}

impl From<&slots::Slot> for Slot {
    fn from(s: &slots::Slot) -> Self {
        Self {
            name: s.name.clone(),
            database: (s.database != 0).then_some(s.database),
            restart_lsn: s.restart_lsn.is_valid().then_some(s.restart_lsn),
            confirmed_flush: s.confirmed_flush.is_valid().then_some(s.confirmed_flush),
            plugin: (!s.plugin.is_empty()).then(|| s.plugin.clone()),
            xmin: s.xmin,
            catalog_xmin: s.catalog_xmin,
            persistent: s.persistent,
            invalidated: s.invalidated,
            failover: s.failover,
            synced: s.synced,
        }
    }
}

impl From<&facts::Side> for Side {
    fn from(side: &facts::Side) -> Self {
        let lineage = &side.lineage;
        Self {
            role: side.role.into(),
            path: side.dir.path().into(),
            major: side.dir.major().map(|m| m.to_string()),
            system_identifier: side.control.system_identifier.to_string(),
            wal_segment_size: side.segment_size.bytes(),
            timeline: lineage.timeline,
            control_timeline: lineage.control_timeline,
            timeline_evidence: match lineage.evidence {
                facts::LineageEvidence::Control => TimelineEvidence::Control,
                facts::LineageEvidence::FirstRecord(lsn) => TimelineEvidence::FirstRecord { lsn },
            },
            lineage: entries(&lineage.history),
            missing_history: lineage.missing_history.clone(),
            histories: lineage.known.iter().map(Into::into).collect(),
            end_of_wal: side.end.as_ref().map(|end| WalEnd::new(end, side.dir.major())),
            control_end: side.control_end,
            rejected_wal: side
                .rejected
                .iter()
                .map(|r| RejectedWal {
                    timeline: r.timeline,
                    segno: r.segno,
                    path: r.path.as_path().into(),
                    reason: r.reason.to_string(),
                })
                .collect(),
            control: (&side.control).into(),
            leftovers: (&side.leftovers).into(),
            settings: Settings {
                set: side
                    .settings
                    .set
                    .iter()
                    .map(|s| Setting {
                        name: s.name.clone(),
                        value: words::mask(&s.value).into_owned(),
                        path: s.path.as_path().into(),
                        line: s.line,
                    })
                    .collect(),
                has_postgresql_conf: side.settings.has_postgresql_conf,
                problems: side.settings.problems.iter().map(|p| words::mask(p).into_owned()).collect(),
            },
            slots: side.slots.iter().map(Into::into).collect(),
        }
    }
}

/// Which WAL is needed and where it lies.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WalNeeds {
    /// To find the changed blocks.
    pub find_blocks: Option<WalNeed>,
    /// To follow the source afterwards.
    pub follow: Option<WalNeed>,
}

/// A range of WAL.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct WalNeed {
    /// First byte needed.
    pub from: Lsn,
    /// End of what is needed.
    pub to: Lsn,
    /// Why it starts there.
    pub why: String,
    /// Names of the segments that were found nowhere.
    pub holes: Vec<String>,
    /// Every segment of the range.
    pub segments: Vec<NeededSegment>,
}

/// One segment.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NeededSegment {
    /// Its name.
    pub name: String,
    /// Timeline in the name.
    pub timeline: u32,
    /// Segment number.
    pub segno: u64,
    /// Usable copies; the first is the one that is read. Empty for a hole.
    pub found: Vec<PathText>,
    /// One lies in the target's own WAL directory.
    pub on_target: bool,
    /// One lies in the source's own WAL directory.
    pub on_source: bool,
}

impl From<&facts::WalNeed> for WalNeed {
    fn from(need: &facts::WalNeed) -> Self {
        Self {
            from: need.from,
            to: need.to,
            why: need.why.clone(),
            holes: need.holes().map(|s| s.name.clone()).collect(),
            segments: need
                .segments
                .iter()
                .map(|s| NeededSegment {
                    name: s.name.clone(),
                    timeline: s.timeline,
                    segno: s.segno,
                    found: s.found.iter().map(|p| p.as_path().into()).collect(),
                    on_target: s.on_target,
                    on_source: s.on_source,
                })
                .collect(),
        }
    }
}

/// Two files of one name with different content.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Conflict {
    /// The name.
    pub name: String,
    /// The files.
    pub paths: Vec<PathText>,
    /// First byte that differs, offset in the uncompressed file.
    pub offset: u64,
}

/// How the names of relations were read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NameSource {
    /// The target's catalog was brought up to date by replaying its WAL in memory.
    pub replayed: bool,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// Both trees of files in figures.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Files {
    /// The target's.
    pub target: Tree,
    /// The source's.
    pub source: Tree,
    /// Directories that could not be listed.
    pub problems: Vec<FileProblem>,
}

/// One tree of files in figures.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Tree {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// A directory that could not be listed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FileProblem {
    /// The directory.
    pub path: PathText,
    /// The reason.
    pub reason: String,
}

impl From<&crate::source::trees::Trees> for Files {
    fn from(trees: &crate::source::trees::Trees) -> Self {
        let tree = |entries: &crate::source::trees::Tree| Tree {
            entries: entries.len() as u64,
            bytes: entries.iter().map(|e| e.size).fold(0, u64::saturating_add),
        };
        Self {
            target: tree(&trees.target),
            source: tree(&trees.source),
            problems: trees
                .problems
                .iter()
                .map(|(path, reason)| FileProblem { path: path.as_path().into(), reason: reason.clone() })
                .collect(),
        }
    }
}

/// Something that could not be seen.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Unseen {
    /// The file or directory, if it was one.
    pub path: Option<PathText>,
    /// What went wrong.
    pub what: String,
    /// What is left out because of it.
    pub consequence: String,
}

impl From<&facts::Unseen> for Unseen {
    fn from(u: &facts::Unseen) -> Self {
        Self {
            path: u.path.as_deref().map(Into::into),
            what: words::mask(&u.what).into_owned(),
            consequence: words::mask(&u.consequence).into_owned(),
        }
    }
}

/// A relation by its numbers, with its name where one is known.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Transaction {
    /// Its identifier, without epoch.
    pub xid: u32,
    /// How it ended.
    #[schemars(extend("enum" = ["committed", "aborted", "prepared", "committed_prepared", "aborted_prepared", "in_progress"]))]
    pub end: &'static str,
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
    fn new(xact: &scan::Xact, facts: &Facts) -> Self {
        use scan::XactEnd;
        Self {
            xid: xact.xid,
            end: match xact.end {
                XactEnd::Committed => "committed",
                XactEnd::Aborted => "aborted",
                XactEnd::Prepared => "prepared",
                XactEnd::CommittedPrepared => "committed_prepared",
                XactEnd::AbortedPrepared => "aborted_prepared",
                XactEnd::InProgress => "in_progress",
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
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

/// The JSON Schema of a type.
pub fn schema<T: JsonSchema>() -> Schema {
    schemars::generate::SchemaSettings::draft2020_12()
        .for_serialize()
        .into_generator()
        .into_root_schema_for::<T>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_rfc_4648_has_it() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFF, 0xFE, 0xFD]), "//79");
    }
}
