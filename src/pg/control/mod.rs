//! `global/pg_control` (`ControlFileData`, catalog/pg_control.h) of 9.0 to 19.
//!
//! The structure grew by fields put in and taken out, never by a change of order. So one list of fields, each with
//! the majors that have it, read front to back with C's alignment, is the layout of all seventeen.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

mod crc;
mod problem;
mod release;
#[cfg(test)]
mod tests;

use std::fmt;

use super::bytes::{Bytes, Short};
use super::{BLOCK_SIZE, Lsn, Major, Oid, SegmentSize, TimelineId, Xid};

use self::crc::legacy_crc;
use self::release::identify;

pub use self::problem::{ControlError, ControlProblem};
pub use self::release::{catalog_version, control_version};

/// Size of the file in bytes (`PG_CONTROL_FILE_SIZE`); what the structure leaves free is zero.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// Offset of `state` in the file, in every major.
const STATE_OFFSET: usize = 16;
/// `DB_IN_ARCHIVE_RECOVERY` as stored.
const IN_ARCHIVE_RECOVERY: u32 = 5;
/// Offset of `time` in the file, in every major.
const TIME_OFFSET: usize = 24;
/// `FLOATFORMAT_VALUE`: a number that any other representation of floats would garble.
const FLOAT_FORMAT: f64 = 1_234_567.0;
/// `MAXIMUM_ALIGNOF` of every 64-bit machine; the layout below assumes it.
const MAX_ALIGN: u32 = 8;
/// `RELSEG_SIZE` as built by default: blocks in a file of 1 GB.
const RELATION_SEGMENT_BLOCKS: u32 = 131_072;
/// `NAMEDATALEN` as built by default.
const NAME_DATA_LEN: u32 = 64;

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

impl DbState {
    /// The state that is stored as `value`.
    pub const fn from_stored(value: u32) -> Self {
        match value {
            0 => Self::StartingUp,
            1 => Self::ShutDown,
            2 => Self::ShutDownInRecovery,
            3 => Self::ShuttingDown,
            4 => Self::InCrashRecovery,
            5 => Self::InArchiveRecovery,
            6 => Self::InProduction,
            other => Self::Unrecognized(other),
        }
    }

    /// In pg_controldata's words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::StartingUp => "starting up",
            Self::ShutDown => "shut down",
            Self::ShutDownInRecovery => "shut down in recovery",
            Self::ShuttingDown => "shutting down",
            Self::InCrashRecovery => "in crash recovery",
            Self::InArchiveRecovery => "in archive recovery",
            Self::InProduction => "in production",
            Self::Unrecognized(_) => "unrecognized status code",
        }
    }

    /// The server was stopped in an orderly way, as a primary or as a standby.
    pub const fn is_shut_down(self) -> bool {
        matches!(self, Self::ShutDown | Self::ShutDownInRecovery)
    }
}

impl fmt::Display for DbState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.text())
    }
}

/// Name of the `wal_level` that a major stores as `level`; `None` for a number that it does not have.
pub fn wal_level_name(major: Major, level: u32) -> Option<&'static str> {
    match (level, major >= Major::V9_6) {
        (0, _) => Some("minimal"),
        (1, true) => Some("replica"),
        (2, true) => Some("logical"),
        (1, false) => Some("archive"),
        (2, false) => Some("hot_standby"),
        (3, false) if major >= Major::V9_4 => Some("logical"),
        _ => None,
    }
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
    /// As stored; see [`wal_level_name`].
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
    /// In bytes.
    pub block_size: u32,
    /// In blocks.
    pub relation_segment_size: u32,
    pub slru_pages_per_segment: Option<u32>,
    /// In bytes.
    pub wal_block_size: u32,
    /// In bytes; see [`ControlFile::segment_size`].
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
    /// The same at initdb's time (19).
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

/// Reads the members of a C structure one after the other, each at its natural alignment.
struct Fields<'a> {
    bytes: Bytes<'a>,
    major: Major,
}

type Read<T> = Result<T, Short>;

impl<'a> Fields<'a> {
    const fn new(data: &'a [u8], major: Major) -> Self {
        Self { bytes: Bytes::new(data), major }
    }

    fn flag(&mut self) -> Read<bool> {
        Ok(self.bytes.u8()? != 0)
    }

    fn u32(&mut self) -> Read<u32> {
        self.bytes.align(size_of::<u32>())?;
        self.bytes.u32()
    }

    fn i32(&mut self) -> Read<i32> {
        self.u32().map(u32::cast_signed)
    }

    fn u64(&mut self) -> Read<u64> {
        self.bytes.align(size_of::<u64>())?;
        self.bytes.u64()
    }

    fn i64(&mut self) -> Read<i64> {
        self.u64().map(u64::cast_signed)
    }

    fn f64(&mut self) -> Read<f64> {
        self.u64().map(f64::from_bits)
    }

    /// Up to 9.2 an `XLogRecPtr` is two numbers of four bytes, the high one first.
    fn lsn(&mut self) -> Read<Lsn> {
        if self.major >= Major::V9_3 {
            return self.u64().map(Lsn);
        }
        let high = self.u32()?;
        let low = self.u32()?;
        Ok(Lsn(u64::from(high) << 32 | u64::from(low)))
    }

    fn nonce(&mut self) -> Read<[u8; 32]> {
        const LENGTH: usize = 32; // MOCK_AUTH_NONCE_LEN
        let mut nonce = [0; LENGTH];
        nonce.copy_from_slice(self.bytes.take(LENGTH)?);
        Ok(nonce)
    }

    /// A field that came with `first`.
    fn since<T>(&mut self, first: Major, read: fn(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.major >= first { read(self).map(Some) } else { Ok(None) }
    }

    /// A field that `last` was the last one to have.
    fn until<T>(&mut self, last: Major, read: fn(&mut Self) -> Read<T>) -> Read<Option<T>> {
        if self.major <= last { read(self).map(Some) } else { Ok(None) }
    }
}

impl CheckpointCopy {
    /// Reads the main data of a record XLOG/CHECKPOINT_SHUTDOWN or CHECKPOINT_ONLINE (`CheckPoint`) of `major`.
    /// Fails when it is shorter than the structure; more bytes behind it are no error.
    pub fn parse(main_data: &[u8], major: Major) -> Result<Self, Short> {
        Self::read(&mut Fields::new(main_data, major))
    }

    /// The next transaction identifier with its epoch in the high half (`FullTransactionId`).
    pub const fn full_next_xid(&self) -> u64 {
        (self.next_xid_epoch as u64) << 32 | self.next_xid as u64
    }

    fn read(f: &mut Fields<'_>) -> Read<Self> {
        let redo = f.lsn()?;
        let timeline = f.u32()?;
        let prev_timeline = f.since(Major::V9_3, Fields::u32)?;
        let full_page_writes = f.since(Major::V9_2, Fields::flag)?;
        let wal_level = f.since(Major::V17, Fields::i32)?;
        let logical_decoding = f.since(Major::V19, Fields::flag)?;
        let (next_xid_epoch, next_xid) = if f.major >= Major::V12 {
            let full = f.u64()?;
            ((full >> 32) as u32, full as u32)
        } else {
            (f.u32()?, f.u32()?)
        };
        Ok(Self {
            redo,
            timeline,
            prev_timeline,
            full_page_writes,
            wal_level,
            logical_decoding,
            next_xid_epoch,
            next_xid,
            next_oid: f.u32()?,
            next_multi: f.u32()?,
            next_multi_offset: if f.major >= Major::V19 { f.u64()? } else { f.u32()?.into() },
            oldest_xid: f.u32()?,
            oldest_xid_db: f.u32()?,
            oldest_multi: f.since(Major::V9_3, Fields::u32)?,
            oldest_multi_db: f.since(Major::V9_3, Fields::u32)?,
            time: f.i64()?,
            oldest_commit_ts_xid: f.since(Major::V9_5, Fields::u32)?,
            newest_commit_ts_xid: f.since(Major::V9_5, Fields::u32)?,
            oldest_active_xid: f.u32()?,
        })
    }
}

impl ControlFile {
    /// Reads a control file of any known major, told by its version and catalog version. A wrong CRC is no error
    /// ([`ControlFile::crc_ok`]), nor are odd sizes ([`ControlFile::problems`]).
    pub fn parse(bytes: &[u8]) -> Result<Self, ControlError> {
        Self::parse_with_hint(bytes, None)
    }

    /// The same; `hint` is what `PG_VERSION` says, which decides where several majors share the version and the
    /// catalog version is not a release's.
    pub fn parse_with_hint(bytes: &[u8], hint: Option<Major>) -> Result<Self, ControlError> {
        Self::parse_as(bytes, identify(bytes, hint)?).map_err(ControlError::from)
    }

    /// Reads the bytes with the layout of `major`, whatever version they name, as that major's programs do. Fails
    /// when they are shorter than the structure.
    pub fn parse_as(bytes: &[u8], major: Major) -> Result<Self, Short> {
        Self::read(bytes, major).map(|(control, _)| control)
    }

    fn read(bytes: &[u8], major: Major) -> Read<(Self, Places)> {
        let mut fields = Fields::new(bytes, major);
        let f = &mut fields;
        let min_recovery_point;
        // The order of these lines is the order in the file.
        let mut control = Self {
            major,
            system_identifier: f.u64()?,
            pg_control_version: f.u32()?,
            catalog_version: f.u32()?,
            state: DbState::from_stored(f.u32()?),
            time: f.i64()?,
            checkpoint: f.lsn()?,
            prev_checkpoint: f.until(Major::V10, Fields::lsn)?,
            checkpoint_copy: {
                f.bytes.align(MAX_ALIGN as usize)?;
                let copy = CheckpointCopy::read(f)?;
                f.bytes.align(MAX_ALIGN as usize)?;
                copy
            },
            unlogged_lsn: f.since(Major::V9_3, Fields::lsn)?,
            min_recovery_point: {
                f.bytes.align(size_of::<u64>())?;
                min_recovery_point = f.bytes.position();
                f.lsn()?
            },
            min_recovery_point_tli: f.since(Major::V9_3, Fields::u32)?,
            backup_start_point: f.lsn()?,
            backup_end_point: f.since(Major::V9_2, Fields::lsn)?,
            backup_end_required: f.since(Major::V9_2, Fields::flag)?,
            wal_level: f.u32()?,
            wal_log_hints: f.since(Major::V9_4, Fields::flag)?,
            max_connections: f.i32()?,
            max_worker_processes: f.since(Major::V9_4, Fields::i32)?,
            max_wal_senders: f.since(Major::V12, Fields::i32)?,
            max_prepared_xacts: f.i32()?,
            max_locks_per_xact: f.i32()?,
            track_commit_timestamp: f.since(Major::V9_5, Fields::flag)?,
            max_align: f.u32()?,
            float_format: f.f64()?,
            block_size: f.u32()?,
            relation_segment_size: f.u32()?,
            slru_pages_per_segment: f.since(Major::V19, Fields::u32)?,
            wal_block_size: f.u32()?,
            wal_segment_size: f.u32()?,
            name_data_len: f.u32()?,
            index_max_keys: f.u32()?,
            toast_max_chunk_size: f.u32()?,
            large_object_chunk_size: f.since(Major::V9_4, Fields::u32)?,
            integer_datetimes: f.until(Major::V9_6, Fields::flag)?,
            float4_by_value: f.until(Major::V12, Fields::flag)?,
            float8_by_value: f.flag()?,
            data_checksum_version_init: f.since(Major::V19, Fields::u32)?,
            data_checksum_version: f.since(Major::V9_3, Fields::u32)?,
            default_char_signed: f.since(Major::V18, Fields::flag)?,
            mock_authentication_nonce: f.since(Major::V10, Fields::nonce)?,
            crc: 0,
            crc_ok: false,
        };
        f.bytes.align(size_of::<u32>())?;
        let offset = f.bytes.position();
        control.crc = f.u32()?;
        let before = Bytes::new(bytes).slice_at(0, offset)?;
        let computed = if major >= Major::V9_5 { crc32c::crc32c(before) } else { legacy_crc(before) };
        control.crc_ok = computed == control.crc;
        Ok((control, Places { crc: offset, computed, min_recovery_point }))
    }

    /// What is not as it should be, in the order of the file; `bytes` is the whole file that this was read from.
    pub fn problems(&self, bytes: &[u8]) -> Vec<ControlProblem> {
        let mut problems = Vec::new();
        let mut check = |wrong: bool, problem: ControlProblem| {
            if wrong {
                problems.push(problem);
            }
        };
        check(bytes.len() != CONTROL_FILE_SIZE, ControlProblem::FileSize { found: bytes.len() });
        if let Ok((_, Places { crc: offset, computed, .. })) = Self::read(bytes, self.major) {
            check(!self.crc_ok, ControlProblem::Crc { offset, stored: self.crc, computed });
        }
        let (found, expected) = (self.catalog_version, catalog_version(self.major));
        check(found != expected, ControlProblem::CatalogVersion { found, expected, major: self.major });
        if let DbState::Unrecognized(found) = self.state {
            check(true, ControlProblem::State { found });
        }
        let Self { max_align, float_format, .. } = *self;
        let foreign = max_align != MAX_ALIGN || float_format.to_bits() != FLOAT_FORMAT.to_bits();
        check(foreign, ControlProblem::Machine { max_align, float_format });
        let found = self.block_size;
        check(found as usize != BLOCK_SIZE, ControlProblem::BlockSize { found });
        let found = self.relation_segment_size;
        check(found != RELATION_SEGMENT_BLOCKS, ControlProblem::RelationSegmentSize { found });
        let found = self.wal_block_size;
        check(found as usize != super::WAL_PAGE_SIZE, ControlProblem::WalBlockSize { found });
        let found = self.wal_segment_size;
        check(self.segment_size().is_none(), ControlProblem::WalSegmentSize { found });
        let found = self.name_data_len;
        check(found != NAME_DATA_LEN, ControlProblem::NameDataLen { found });
        problems
    }

    /// The WAL segment size, if PostgreSQL would accept it.
    pub const fn segment_size(&self) -> Option<SegmentSize> {
        SegmentSize::new(self.wal_segment_size)
    }

    /// Name of the directory that this cluster's files have within a tablespace
    /// (`TABLESPACE_VERSION_DIRECTORY`): `PG_17_202406281`.
    pub fn version_dir(&self) -> String {
        format!("PG_{}_{}", self.major, self.catalog_version)
    }
}

/// Where in the file things lie, in bytes.
struct Places {
    crc: usize,
    /// What the CRC should be.
    computed: u32,
    min_recovery_point: usize,
}

/// The bytes of a control file (of 9.5 or later) for a server that has to recover up to `min_recovery_point` before it
/// is consistent: state "in archive recovery", minRecoveryPoint with its timeline, the time in seconds since 1970, the
/// CRC anew; everything else as in `bytes`, zeros behind the structure (`updateControlFile` of pg_rewind.c and
/// `update_controlfile` of controldata_utils.c).
///
/// # Errors
/// The bytes are no control file.
pub fn with_recovery_point(
    bytes: &[u8],
    hint: Option<Major>,
    min_recovery_point: (Lsn, TimelineId),
    time: i64,
) -> Result<Vec<u8>, ControlError> {
    let (_, places) = ControlFile::read(bytes, identify(bytes, hint)?)?;
    let mut new: Vec<u8> = bytes.iter().copied().take(places.crc).collect();
    let mut put = |at: usize, value: &[u8]| {
        if let Some(place) = new.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    };
    put(STATE_OFFSET, &IN_ARCHIVE_RECOVERY.to_le_bytes());
    put(TIME_OFFSET, &time.to_le_bytes());
    put(places.min_recovery_point, &min_recovery_point.0.0.to_le_bytes());
    put(places.min_recovery_point + size_of::<u64>(), &min_recovery_point.1.to_le_bytes());
    let crc = crc32c::crc32c(&new);
    new.extend(crc.to_le_bytes());
    new.resize(CONTROL_FILE_SIZE, 0);
    Ok(new)
}
