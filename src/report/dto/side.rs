//! One side of the pair: control file, lineage, end of WAL, leftovers, settings, slots.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::{self};
use crate::pg::control::ControlFile;
use crate::pg::history::History;
use crate::pg::{Lsn, Major};
use crate::report::words;
use crate::scan;
use crate::source::leftovers;
use crate::source::slots;

use super::{PathText, Role, Time, Word};

/// One of the two directories.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct WalEnd {
    /// End of the last valid record.
    pub lsn: Lsn,
    /// Its timeline.
    pub timeline: u32,
    /// Start of the last valid record.
    pub last_record: Lsn,
    /// Its kind.
    pub last_kind: Kind,
    /// `zeros`, `recycled`, `no_segment`, `torn`, `cut`, `damaged` or `requested`.
    #[schemars(extend("enum" = ["zeros", "recycled", "no_segment", "torn", "cut", "damaged", "requested"]))]
    pub kind: Word,
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
            scan::EndKind::Cut { .. } => ("cut", None),
            scan::EndKind::Damaged { next_valid } => ("damaged", Some(next_valid)),
            scan::EndKind::Requested => ("requested", None),
        };
        Self {
            lsn: end.lsn,
            timeline: end.timeline,
            last_record: end.last_record,
            last_kind: Kind::new(end.last_kind, major),
            kind: kind.into(),
            next_valid,
            message: end.message.clone(),
            meaning: end.meaning.clone(),
            path: end.path.as_deref().map(Into::into),
            offset: end.offset,
        }
    }
}

/// A kind of record.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Kind {
    /// Resource manager, as pg_waldump names it.
    pub rmgr: String,
    /// Operation, as pg_waldump names it; null where it has no name here.
    pub operation: Option<Word>,
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
            operation: words::operation(kind, major).map(Into::into),
            rmid: kind.rmid,
            info: kind.op,
        }
    }
}

/// The control file; fields that a major does not have are null. The nonce for mock authentication is left out: it
/// decides nothing here, and reports are passed on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct FreeSpace {
    /// Where it begins within the target: empty for the data directory itself.
    pub at: PathText,
    /// Bytes that an ordinary user can still write.
    pub bytes: u64,
}

/// Files that change how a server would start.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct TablespaceLink {
    /// OID of the tablespace.
    pub oid: u32,
    /// Its path.
    pub path: String,
}

/// `postmaster.pid`.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The assignments, in the order in which the server reads them: the last of a name counts.
    pub set: Vec<Setting>,
    /// postgresql.conf is there.
    pub has_postgresql_conf: bool,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// One assignment.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
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
