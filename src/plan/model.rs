//! The plan as a value: what is stored, sent, reviewed, and carried out.
//!
//! The conventions are those of all JSON of this program: LSNs `%X/%X`, 64-bit identifiers decimal strings, other
//! numbers numbers, times RFC 3339, paths that are not UTF-8 `{"base64": …}`. Unlike a report a plan is read back, so
//! members that are not known are refused.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::pg::{Lsn, TimelineId};

use super::options::PlanOptions;
use super::path::{PlanPath, RelPath};

/// Raised with every change of the format: a plan with a member that is not known could not be carried out as it is meant.
pub const SCHEMA_VERSION: u32 = 1;

/// Everything that a rewind would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "forkpoint plan")]
pub struct Plan {
    /// Version of this format.
    pub schema_version: u32,
    /// SHA-256, in hexadecimal, over this object as compact JSON with an empty `id`.
    pub id: String,
    /// Version of the program that made it.
    pub program: String,
    /// PostgreSQL's major.
    pub major: String,
    /// Of both sides.
    #[serde(with = "decimal")]
    #[schemars(with = "String")]
    pub system_identifier: u64,
    /// Bytes of a block.
    pub block_size: u32,
    /// Bytes of a WAL segment.
    pub segment_size: u32,
    /// With what it was made; it is made again with the same before it is carried out.
    pub options: PlanOptions,
    /// The directory that is changed.
    pub target: SideState,
    /// The directory that it becomes like; never written.
    pub source: SideState,
    /// How the blocks were found.
    pub route: Route,
    /// First position that is not common to both, on the last common timeline. For `compare`, where the WAL does not
    /// show it, the source's last checkpoint.
    pub divergence: Position,
    /// The last checkpoint before it on the target; none for `compare` where WAL does not show it.
    pub last_common_checkpoint: Option<CheckpointPosition>,
    /// Where the rewound server starts to replay.
    pub replay_start: ReplayStart,
    /// From here on the rewound server is consistent.
    pub min_recovery_point: Position,
    /// Permissions of files that are made.
    pub file_mode: Mode,
    /// Permissions of directories that are made.
    pub directory_mode: Mode,
    /// What is done, in this order.
    pub entries: Vec<Entry>,
    /// The new backup_label; `@START TIME@` stands where the time is put in when it is carried out.
    pub backup_label: String,
    /// What the new control file has, beyond the source's.
    pub control: NewControl,
    /// What makes the result a standby, if that was asked for.
    pub standby: Option<Standby>,
    /// Sums.
    pub totals: Totals,
    /// What is lost.
    pub loss: Lost,
    /// What was checked, and how it came out.
    pub preflight: Vec<Check>,
    /// What to do afterwards, in order.
    pub next_steps: Vec<String>,
}

/// How the blocks to copy were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The target's WAL names them.
    Wal,
    /// All relation files of both sides were compared.
    Compare,
}

/// A position on a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Where.
    pub lsn: Lsn,
    /// On which timeline.
    pub timeline: TimelineId,
}

/// A checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckpointPosition {
    /// Start of its record.
    pub lsn: Lsn,
    /// Where replay from it starts.
    pub redo: Lsn,
    /// Its timeline.
    pub timeline: TimelineId,
}

/// Where replay starts, and why there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplayStart {
    /// The redo pointer.
    pub redo: Lsn,
    /// The checkpoint that has it.
    pub checkpoint: Lsn,
    /// The checkpoint's timeline.
    pub timeline: TimelineId,
    /// Which of the three redo pointers it is, in words.
    pub why: String,
}

/// One of the two directories, as the plan saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SideState {
    /// Absolute, links resolved.
    pub path: PlanPath,
    /// `st_dev` of the directory.
    #[serde(with = "decimal")]
    #[schemars(with = "String")]
    pub device: u64,
    /// `st_ino` of the directory.
    #[serde(with = "decimal")]
    #[schemars(with = "String")]
    pub inode: u64,
    /// SHA-256 of `global/pg_control`, in hexadecimal.
    pub control_sha256: String,
    /// State, in pg_controldata's words.
    pub state: String,
    /// Its last checkpoint.
    pub checkpoint: CheckpointPosition,
    /// Its minRecoveryPoint (0/0: none).
    pub min_recovery_point: Lsn,
    /// Its present timeline.
    pub timeline: TimelineId,
    /// End of its WAL; none where it could not be read.
    pub end_of_wal: Option<Position>,
    /// Where `pg_wal` leads, absolute, if it is a link.
    pub wal_directory: Option<PlanPath>,
    /// Its tablespaces.
    pub tablespaces: Vec<Tablespace>,
}

/// A tablespace's link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tablespace {
    /// Within the data directory.
    pub path: RelPath,
    /// The link's text.
    pub to: PlanPath,
}

/// One file, directory or link, and what is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Within the target.
    pub path: RelPath,
    /// What is done.
    pub action: Action,
    /// Why, in a word.
    pub why: Why,
    /// What lies there on the target now; left out where nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Seen>,
    /// What lies there on the source; left out where nothing does or where it does not matter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Seen>,
}

/// What is done with an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Nothing, although by pg_rewind's rules it would be changed or removed.
    Keep,
    /// A directory is made with the plan's `directory_mode`.
    CreateDirectory,
    /// A link is made.
    CreateSymlink {
        /// Its text.
        to: PlanPath,
    },
    /// The whole file is copied. One that is there keeps its mode, a new one gets the plan's `file_mode`.
    Copy {
        /// Bytes of the result.
        size: u64,
        /// From where.
        from: Origin,
    },
    /// Parts of a relation file are changed: first the blocks, then the tail or the cut.
    Change {
        /// Blocks that are copied from the source, ascending and not touching each other.
        blocks: Vec<BlockRange>,
        /// Bytes of the source that are appended.
        tail: Option<ByteRange>,
        /// The file's new length in bytes, if it is cut.
        truncate_to: Option<u64>,
    },
    /// It is removed; a directory is empty by then.
    Remove,
}

/// Where a file is copied from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// The same path in the source.
    Source,
    /// A WAL segment or history file of an archive, perhaps compressed: unpacked, it has the entry's size.
    Archive(PlanPath),
    /// The restore command brings it, under its name, before the first write: a WAL segment or history file.
    RestoreCommand,
}

/// Neighbouring blocks of one file (not of the relation: a relation's file holds up to 131072 blocks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlockRange {
    /// Number of the first, from the file's beginning.
    pub first: u32,
    /// How many, at least 1.
    pub count: u32,
}

/// A stretch of a file in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ByteRange {
    /// First byte.
    pub from: u64,
    /// First byte behind it.
    pub to: u64,
}

/// Why something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A relation file: the target's WAL names blocks of it, or its length differs.
    Changed,
    /// A relation file: compared with the source's, it differs.
    Differs,
    /// No relation file: copied whole.
    Other,
    /// A WAL segment of the source.
    Wal,
    /// WAL that replay needs and that the source does not have.
    MissingWal,
    /// Only the source has it.
    SourceOnly,
    /// Only the target has it.
    TargetOnly,
    /// Never part of a copy, like postmaster.pid.
    Excluded,
    /// WAL that replay needs and that the source does not have: the target's own stays.
    NeededWal,
    /// Asked for with --keep.
    Kept,
    /// This program's own.
    Own,
}

impl Why {
    /// In a word or two.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Differs => "differs",
            Self::Other => "no relation file",
            Self::Wal => "WAL",
            Self::SourceOnly => "source only",
            Self::TargetOnly => "target only",
            Self::Excluded => "excluded",
            Self::MissingWal | Self::NeededWal => "WAL for replay",
            Self::Kept => "--keep",
            Self::Own => "forkpoint's own",
        }
    }
}

/// What lay somewhere when the plan was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file, 0 for everything else.
    pub size: u64,
    /// Permissions.
    pub mode: Mode,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last change of its content.
    pub modified: FileTime,
    /// Number of its names, where more than one (hard links of a file).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links: Option<u64>,
    /// A link's text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<PlanPath>,
}

/// A kind of directory entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symbolic link",
        })
    }
}

/// Permission bits; octal text in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl Serialize for Mode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match u32::from_str_radix(&text, 8) {
            Ok(mode) if mode <= 0o7777 => Ok(Self(mode)),
            _ => Err(serde::de::Error::custom("permissions are an octal number up to 7777")),
        }
    }
}

/// A time of the filesystem, to the nanosecond; RFC 3339 in JSON, or `SECONDS.NANOSECONDS` since 1970 outside its years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema)]
#[schemars(with = "String")]
pub struct FileTime {
    /// Seconds since 1970 UTC.
    pub seconds: i64,
    /// Nanoseconds after that, below 1,000,000,000.
    pub nanoseconds: u32,
}

impl fmt::Display for FileTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // jiff's negative times count their fraction downwards
        let timestamp = (self.seconds >= 0)
            .then(|| jiff::Timestamp::new(self.seconds, self.nanoseconds as i32).ok())
            .flatten();
        match timestamp {
            Some(timestamp) => write!(f, "{timestamp:.9}"),
            None => write!(f, "{}.{:09}", self.seconds, self.nanoseconds),
        }
    }
}

impl Serialize for FileTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let raw = text.split_once('.').and_then(|(seconds, nanoseconds)| {
            let nanoseconds = Some(nanoseconds).filter(|n| n.len() == 9)?.parse().ok()?;
            Some(Self { seconds: seconds.parse().ok()?, nanoseconds })
        });
        let stamp = || {
            let stamp: jiff::Timestamp = text.parse().ok()?;
            Some(Self {
                seconds: stamp.as_second(),
                nanoseconds: u32::try_from(stamp.subsec_nanosecond()).ok()?,
            })
        };
        raw.or_else(stamp).ok_or_else(|| serde::de::Error::custom(format!("\"{text}\" is no time")))
    }
}

/// The new control file: the source's bytes with these values, its time and its CRC anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewControl {
    /// SHA-256 of the source's control file that it is made of, in hexadecimal.
    pub source_sha256: String,
    /// Always `in archive recovery`.
    pub state: String,
    /// minRecoveryPoint and minRecoveryPointTLI.
    pub min_recovery_point: Position,
}

/// What makes the result a standby of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Standby {
    /// The file that gets `lines` appended: postgresql.auto.conf, up to 11 recovery.conf. It is made if it is not there.
    pub file: RelPath,
    /// Whole lines with their line ends.
    pub lines: String,
    /// An empty file that is made: standby.signal, none up to 11.
    pub signal: Option<RelPath>,
}

/// Files and bytes of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Count {
    /// Files (directories, links).
    pub files: u64,
    /// Bytes that are written, or given up.
    pub bytes: u64,
}

/// Sums over the entries.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Files copied whole, but for WAL.
    pub copied: Count,
    /// WAL files copied, from the source or from archives.
    pub wal: Count,
    /// Blocks copied.
    pub blocks: Count,
    /// Tails appended.
    pub tails: Count,
    /// Files cut, and the bytes given up.
    pub truncated: Count,
    /// Removed, and the bytes given up.
    pub removed: Count,
    /// Directories and links made.
    pub created: u64,
    /// Kept although pg_rewind's rules would change them.
    pub kept: u64,
    /// Relation files of both sides that stay as they are.
    pub unchanged: Count,
    /// What is written on each filesystem.
    pub filesystems: Vec<Filesystem>,
}

/// What a filesystem of the target has to take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Filesystem {
    /// Where it begins: the data directory (empty), `pg_wal` or a tablespace.
    pub at: PlanPath,
    /// Bytes written.
    pub written: u64,
    /// Bytes that it must have free, without an undo store.
    pub needed: u64,
    /// Bytes that it must have free with an undo store on it that holds what is changed on it.
    pub needed_with_undo: u64,
}

/// What is lost, from the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lost {
    /// Committed transactions of the target that are discarded; none where nobody knows.
    pub commits: Option<u64>,
    /// There may be more.
    pub at_least: bool,
    /// The verdict's line.
    pub verdict: String,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// In order.
    Ok,
    /// Worth knowing.
    Warning,
    /// The plan is not carried out.
    Refusal,
}

/// One point of the preflight.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Which point, in words with hyphens.
    pub code: String,
    /// How it came out.
    pub outcome: Outcome,
    /// The file or directory that it is about.
    #[serde(rename = "where", default, skip_serializing_if = "Option::is_none")]
    pub place: Option<PlanPath>,
    /// What was found, one sentence.
    pub what: String,
    /// What to do; empty where nothing is.
    pub advice: String,
}

impl Plan {
    /// The checks that forbid carrying it out.
    pub fn refusals(&self) -> impl Iterator<Item = &Check> {
        self.preflight.iter().filter(|c| c.outcome == Outcome::Refusal)
    }

    /// The sides, target first.
    pub const fn sides(&self) -> [&SideState; 2] {
        [&self.target, &self.source]
    }
}

/// 64-bit identifiers as decimal strings.
pub(crate) mod decimal {
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_modes_and_back() {
        for (seconds, nanoseconds, text) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (1_760_000_000, 123_456_789, "2025-10-09T08:53:20.123456789Z"),
            (-1, 5, "-1.000000005"),
            (i64::MAX, 999_999_999, "9223372036854775807.999999999"),
        ] {
            let time = FileTime { seconds, nanoseconds };
            assert_eq!(time.to_string(), text);
            let json = serde_json::to_string(&time).unwrap();
            assert_eq!(serde_json::from_str::<FileTime>(&json).unwrap(), time);
        }
        assert!(serde_json::from_str::<FileTime>("\"yesterday\"").is_err());
        assert_eq!(serde_json::to_string(&Mode(0o640)).unwrap(), "\"0640\"");
        assert_eq!(serde_json::from_str::<Mode>("\"0640\"").unwrap(), Mode(0o640));
        assert!(serde_json::from_str::<Mode>("\"10000\"").is_err());
    }
}
