//! `global/pg_control` (`ControlFileData`, catalog/pg_control.h) of 9.0 to 19.

use super::{Lsn, Major, Oid, TimelineId, Xid};

/// State of the cluster (`DBState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DbState {
    StartingUp,
    ShutDown,
    ShutDownInRecovery,
    ShuttingDown,
    InCrashRecovery,
    InArchiveRecovery,
    InProduction,
    Unrecognized(u32),
}

/// The control file. Fields that a major does not have are `None`.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub struct ControlFile {
    pub major: Major,
    pub system_identifier: u64,
    pub pg_control_version: u32,
    pub catalog_version: u32,
    pub state: DbState,
    /// Seconds since 1970.
    pub time: i64,
    /// Start of the last checkpoint record.
    pub checkpoint: Lsn,
    pub prev_checkpoint: Option<Lsn>,
    /// The copy of that record.
    pub checkpoint_copy: CheckpointCopy,
    pub unlogged_lsn: Option<Lsn>,
    pub min_recovery_point: Lsn,
    pub min_recovery_point_tli: Option<TimelineId>,
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
    pub float_format: f64,
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
    pub mock_authentication_nonce: Option<[u8; 32]>,
    /// As stored.
    pub crc: u32,
    /// The stored CRC is that of the bytes before it.
    pub crc_ok: bool,
}

/// The checkpoint record's content (`CheckPoint`), also the main data of CHECKPOINT_SHUTDOWN and CHECKPOINT_ONLINE.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct CheckpointCopy {
    pub redo: Lsn,
    pub timeline: TimelineId,
    pub prev_timeline: Option<TimelineId>,
    pub full_page_writes: Option<bool>,
    pub wal_level: Option<i32>,
    pub logical_decoding: Option<bool>,
    pub next_xid_epoch: u32,
    pub next_xid: Xid,
    pub next_oid: Oid,
    pub next_multi: u32,
    pub next_multi_offset: u64,
    pub oldest_xid: Xid,
    pub oldest_xid_db: Oid,
    pub oldest_multi: Option<u32>,
    pub oldest_multi_db: Option<Oid>,
    /// Seconds since 1970.
    pub time: i64,
    pub oldest_commit_ts_xid: Option<Xid>,
    pub newest_commit_ts_xid: Option<Xid>,
    pub oldest_active_xid: Xid,
}
