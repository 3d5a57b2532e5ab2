//! The report as stable types: what scripts read. Additions do not raise [`SCHEMA_VERSION`], everything else does.
//!
//! LSNs are `%X/%X`, 64-bit identifiers decimal strings, other numbers numbers; times RFC 3339 in UTC; paths that are
//! not UTF-8 `{"base64": …}`. What there may be many of is made while it is written, so that memory does not grow.

mod basic;
mod changes;
mod side;

use std::borrow::Cow;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::diagnosis::Diagnosis;
use crate::diagnosis::{log, verdict};
use crate::facts::{self};
use crate::findings;
use crate::pg::Lsn;
use crate::report::{lost, words};

pub use basic::*;
pub use changes::*;
pub use side::*;

/// One of a few words: borrowed where this program writes it, owned where it was read.
pub type Word = Cow<'static, str>;

/// Raised when something in the JSON changes its meaning or goes away.
pub const SCHEMA_VERSION: u32 = 1;

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
    /// The rows that are lost, in sum; null unless they were asked for (`--rows`).
    pub lost_rows: Option<&'a lost::Summary>,
    /// Why `lost_rows` is null, and how to get it; null where it is there.
    pub lost_rows_note: Option<&'static str>,
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
            lost_rows: None,
            lost_rows_note: Some(ROWS_NOT_ASKED),
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

/// What the report says where the rows were not summed up.
const ROWS_NOT_ASKED: &str = "not asked for: it means reading the target's WAL twice more. Ask with --rows, or see \
                              forkpoint lost";

impl<'a> Report<'a> {
    /// With what was found in a server's log.
    #[must_use]
    pub fn with_log(mut self, log: Option<&[log::LogMatch]>) -> Self {
        self.log = log.map(|log| log.iter().map(Into::into).collect());
        self
    }

    /// With the sum of lost rows.
    #[must_use]
    pub fn with_rows(mut self, rows: Option<&'a lost::Summary>) -> Self {
        self.lost_rows = rows;
        self.lost_rows_note = rows.is_none().then_some(ROWS_NOT_ASKED);
        self
    }
}

/// A message of a server's log that belongs to a finding.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct LogMatch {
    /// Number of its line, from 1.
    pub line: u64,
    /// The message.
    pub message: String,
    /// Code of the finding.
    pub code: Word,
    /// What the code stands for.
    pub title: String,
    /// Whether the directories bear it out; null where they cannot tell.
    pub borne_out: Option<bool>,
    /// Why.
    pub why: String,
}

impl From<&log::LogMatch> for LogMatch {
    fn from(m: &log::LogMatch) -> Self {
        Self {
            line: m.line as u64,
            message: words::mask(&m.message).into_owned(),
            code: m.code.into(),
            title: findings::codes::title(m.code).to_owned(),
            borne_out: m.finding_matches,
            why: words::mask(&m.why()).into_owned(),
        }
    }
}

/// What to do.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// `same`, `follow`, `rewind`, `re-clone`, `unrelated` or `undecided`.
    #[schemars(extend("enum" = ["same", "follow", "rewind", "re-clone", "unrelated", "undecided"]))]
    pub action: Word,
    /// The one line that comes first.
    pub line: String,
    /// Which of the pictures that explanations of timelines draw.
    #[schemars(extend("enum" = ["failover", "switchover", "before_switchover", "twins", "standby", "rewound", null]))]
    pub picture: Option<Word>,
    /// Committed transactions that a rewind discards, if known.
    pub lost_commits: Option<u64>,
    /// Codes of the findings that stand in the way.
    pub blocked_by: Vec<Word>,
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
            action: words::action(verdict.action).into(),
            line: words::mask(&verdict.line).into_owned(),
            picture: match verdict.picture {
                Picture::Failover => Some("failover".into()),
                Picture::Switchover => Some("switchover".into()),
                Picture::BeforeSwitchover => Some("before_switchover".into()),
                Picture::Twins => Some("twins".into()),
                Picture::Standby => Some("standby".into()),
                Picture::Rewound => Some("rewound".into()),
                Picture::None => None,
            },
            lost_commits: verdict.lost_commits,
            blocked_by: verdict.blocked_by.iter().map(|&code| code.into()).collect(),
            lacks: masked(&verdict.lacks),
            next_steps: masked(&verdict.next_steps),
            other_routes: masked(&verdict.other_routes),
        }
    }
}

/// How the two sides stand to each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Position {
    /// The position.
    pub lsn: Lsn,
    /// The timeline.
    pub timeline: u32,
}

/// Where the timelines part.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Divergence {
    /// First byte that is not common.
    pub lsn: Lsn,
    /// The last common timeline.
    pub timeline: u32,
    /// What shows it: `history`, `records` or `end` (one side simply ends there).
    #[schemars(extend("enum" = ["history", "records", "end"]))]
    pub shown_by: Word,
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
            shown_by: shown_by.into(),
            history_of,
            pg_rewind: divergence.pg_rewind.map(|(lsn, timeline)| Position { lsn, timeline }),
        }
    }
}

/// A checkpoint record.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable code: FP01 to FP45 by the catalogue of rejoin failures, own ones from FP60.
    pub code: Word,
    /// `info`, `warning` or `error` (stands in the way).
    #[schemars(extend("enum" = ["info", "warning", "error"]))]
    pub severity: Word,
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
            code: f.code.into(),
            severity: words::severity(f.severity).into(),
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

/// Which WAL is needed and where it lies.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WalNeeds {
    /// To find the changed blocks.
    pub find_blocks: Option<WalNeed>,
    /// To follow the source afterwards.
    pub follow: Option<WalNeed>,
}

/// A range of WAL.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Conflict {
    /// The name.
    pub name: String,
    /// The files.
    pub paths: Vec<PathText>,
    /// First byte that differs, offset in the uncompressed file.
    pub offset: u64,
}

/// How the names of relations were read.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct NameSource {
    /// The target's catalog was brought up to date by replaying its WAL in memory.
    pub replayed: bool,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// Both trees of files in figures.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Files {
    /// The target's.
    pub target: Tree,
    /// The source's.
    pub source: Tree,
    /// Directories that could not be listed.
    pub problems: Vec<FileProblem>,
}

/// One tree of files in figures.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Tree {
    /// Files, directories and links.
    pub entries: u64,
    /// Bytes in files.
    pub bytes: u64,
}

/// A directory that could not be listed.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
