//! `global/pg_control` (`ControlFileData`, catalog/pg_control.h) of 9.0 to 19.
//!
//! The structure grew by fields put in and taken out, never by a change of order. So one list of fields, each with
//! the majors that have it, read front to back with C's alignment, is the layout of all seventeen.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use std::fmt;

use thiserror::Error;

use super::bytes::{Bytes, Short};
use super::{BLOCK_SIZE, Lsn, Major, Oid, SegmentSize, TimelineId, Xid};

/// Size of the file in bytes (`PG_CONTROL_FILE_SIZE`); what the structure leaves free is zero.
pub const CONTROL_FILE_SIZE: usize = 8192;

/// Offset of `pg_control_version` in the file, in every major.
const VERSION_OFFSET: usize = 8;
/// Offset of `catalog_version_no` in the file, in every major.
const CATALOG_OFFSET: usize = 12;
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

/// What identifies a release in its control file.
struct Release {
    major: Major,
    control_version: u32,
    catalog_version: u32,
}

const fn release(major: Major, control_version: u32, catalog_version: u32) -> Release {
    Release { major, control_version, catalog_version }
}

/// `PG_CONTROL_VERSION` and the release's `CATALOG_VERSION_NO` of every major, oldest first.
const RELEASES: [Release; 17] = [
    release(Major::V9_0, 903, 201_008_051),
    release(Major::V9_1, 903, 201_105_231),
    release(Major::V9_2, 922, 201_204_301),
    release(Major::V9_3, 937, 201_306_121),
    release(Major::V9_4, 942, 201_409_291),
    release(Major::V9_5, 942, 201_510_051),
    release(Major::V9_6, 960, 201_608_131),
    release(Major::V10, 1002, 201_707_211),
    release(Major::V11, 1100, 201_809_051),
    release(Major::V12, 1201, 201_909_212),
    release(Major::V13, 1300, 202_007_201),
    release(Major::V14, 1300, 202_107_181),
    release(Major::V15, 1300, 202_209_061),
    release(Major::V16, 1300, 202_307_071),
    release(Major::V17, 1700, 202_406_281),
    release(Major::V18, 1800, 202_506_291),
    release(Major::V19, 1905, 202_610_061),
];

/// `PG_CONTROL_VERSION` of a major.
pub fn control_version(major: Major) -> u32 {
    RELEASES.iter().find(|r| r.major == major).map_or(0, |r| r.control_version)
}

/// `CATALOG_VERSION_NO` of a major's releases.
pub fn catalog_version(major: Major) -> u32 {
    RELEASES.iter().find(|r| r.major == major).map_or(0, |r| r.catalog_version)
}

fn known_versions() -> String {
    let mut text = String::new();
    let mut last = 0;
    for release in &RELEASES {
        let separator = if release.control_version == last {
            "/".to_owned()
        } else if last == 0 {
            format!("{} (", release.control_version)
        } else {
            format!("), {} (", release.control_version)
        };
        text += &separator;
        text += release.major.name();
        last = release.control_version;
    }
    text + ")"
}

fn known_catalogs(version: u32) -> String {
    let of_version = RELEASES.iter().filter(|r| r.control_version == version);
    of_version.map(|r| format!("{} ({})", r.catalog_version, r.major)).collect::<Vec<_>>().join(", ")
}

/// Why bytes are no control file that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ControlError {
    /// The bytes end before the structure does.
    #[error("the control file ends too early: {0}")]
    TooShort(#[from] Short),
    /// The version is a known one with its bytes the other way round.
    #[error(
        "the control file was written on a big-endian machine: its version, at offset {VERSION_OFFSET}, is {found}, \
         which is {swapped} with its bytes the other way round; only little-endian clusters can be read"
    )]
    ByteOrder {
        /// `pg_control_version` as read.
        found: u32,
        /// The same with its bytes swapped.
        swapped: u32,
    },
    /// A version of no known major.
    #[error(
        "the control file has an unknown version: {found} at offset {VERSION_OFFSET}; known are {}",
        known_versions()
    )]
    UnknownVersion {
        /// `pg_control_version` as read.
        found: u32,
    },
    /// Several majors share the version, and neither the catalog version nor `PG_VERSION` tells which one it is.
    #[error(
        "the control file's version {version} is that of several majors, and its catalog version, {found} at offset \
         {CATALOG_OFFSET}, is none of theirs: {}; PG_VERSION would tell which one it is",
        known_catalogs(*version)
    )]
    UnknownCatalog {
        /// `pg_control_version`.
        version: u32,
        /// `catalog_version_no` as read.
        found: u32,
    },
}

/// Something in a control file that could be read and is not as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
pub enum ControlProblem {
    /// The CRC is not that of the bytes before it.
    #[error(
        "the CRC at offset {offset} is {stored:08X}, that of the bytes before it is {computed:08X}: the file is \
         damaged, or was being written"
    )]
    Crc {
        /// Where the CRC lies, in bytes.
        offset: usize,
        /// As stored.
        stored: u32,
        /// As it should be.
        computed: u32,
    },
    /// The file is not 8192 bytes long.
    #[error("the file is {found} bytes long, expected {CONTROL_FILE_SIZE}")]
    FileSize {
        /// Its length in bytes.
        found: usize,
    },
    /// The catalog version is not that of the major's releases.
    #[error(
        "the catalog version is {found}, releases of {major} have {expected}: a development version or a fork"
    )]
    CatalogVersion {
        /// As read.
        found: u32,
        /// The releases'.
        expected: u32,
        /// The major that the control file's version names.
        major: Major,
    },
    /// A state that no major has.
    #[error("the cluster state is {found}, known are 0 to 6")]
    State {
        /// As read.
        found: u32,
    },
    /// Another alignment or float format: the fields lie elsewhere.
    #[error(
        "alignment {max_align} and float format {float_format}, expected {MAX_ALIGN} and {FLOAT_FORMAT}: written by \
         another kind of machine, its fields may lie elsewhere"
    )]
    Machine {
        /// `maxAlign` as read.
        max_align: u32,
        /// `floatFormat` as read.
        float_format: f64,
    },
    /// Pages of another size.
    #[error("the block size is {found} bytes; only clusters with {BLOCK_SIZE} can be read")]
    BlockSize {
        /// `blcksz` as read.
        found: u32,
    },
    /// Files of a relation of another size.
    #[error(
        "a relation's file holds {found} blocks; only clusters with {RELATION_SEGMENT_BLOCKS} can be read"
    )]
    RelationSegmentSize {
        /// `relseg_size` as read.
        found: u32,
    },
    /// WAL pages of another size.
    #[error("the WAL block size is {found} bytes; only clusters with 8192 can be read")]
    WalBlockSize {
        /// `xlog_blcksz` as read.
        found: u32,
    },
    /// A WAL segment size that PostgreSQL would not accept.
    #[error("the WAL segment size is {found} bytes, expected a power of two between 1 MB and 1 GB")]
    WalSegmentSize {
        /// `xlog_seg_size` as read.
        found: u32,
    },
    /// Names of another length in the catalogs.
    #[error("names have {found} bytes; only clusters with {NAME_DATA_LEN} can be read")]
    NameDataLen {
        /// `nameDataLen` as read.
        found: u32,
    },
}

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

fn identify(bytes: &[u8], hint: Option<Major>) -> Result<Major, ControlError> {
    let cursor = Bytes::new(bytes);
    let version = cursor.u32_at(VERSION_OFFSET)?;
    let catalog = cursor.u32_at(CATALOG_OFFSET)?;
    let of_version = |version: u32| RELEASES.iter().filter(move |r| r.control_version == version);
    if let Some(release) = of_version(version).find(|r| r.catalog_version == catalog) {
        return Ok(release.major);
    }
    let mut candidates = of_version(version);
    match (candidates.next(), candidates.next()) {
        (Some(only), None) => Ok(only.major),
        (Some(_), Some(_)) => hint
            .filter(|hint| of_version(version).any(|r| r.major == *hint))
            .ok_or(ControlError::UnknownCatalog { version, found: catalog }),
        (None, _) => {
            let swapped = version.swap_bytes();
            Err(if of_version(swapped).next().is_some() {
                ControlError::ByteOrder { found: version, swapped }
            } else {
                ControlError::UnknownVersion { found: version }
            })
        }
    }
}

/// The checksum of 9.0 to 9.4 (`COMP_LEGACY_CRC32`): the table of the reflected polynomial, used in the direction
/// of the normal one. It is no CRC in the strict sense and must not be mended.
fn legacy_crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let index = (crc >> 24) as u8 ^ byte;
        LEGACY_TABLE.get(usize::from(index)).copied().unwrap_or_default() ^ (crc << 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

static LEGACY_TABLE: [u32; 256] = legacy_table();

#[allow(clippy::indexing_slicing)] // `get_mut` cannot be used here yet; the index is below 256 by the loop
const fn legacy_table() -> [u32; 256] {
    const REFLECTED_POLYNOMIAL: u32 = 0xEDB8_8320;
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut value = index as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 { value >> 1 ^ REFLECTED_POLYNOMIAL } else { value >> 1 };
            bit += 1;
        }
        table[index] = value;
        index += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/testdata/control/{name}/pg_control", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn with_u32(mut bytes: Vec<u8>, offset: usize, value: u32) -> Vec<u8> {
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        bytes
    }

    /// Offsets as measured on real files: the checkpoint copy's size, WAL segment size's place, the CRC's place.
    #[test]
    fn layouts() {
        use Major::*;
        let expected = |major| match major {
            V9_0 | V9_1 => (56, 164, 184),
            V9_2 => (64, 180, 200),
            V9_3 => (72, 204, 228),
            V9_4 => (72, 212, 240),
            V9_5 | V9_6 => (80, 228, 256),
            V10 => (80, 228, 288),
            V11 => (80, 220, 280),
            V12 | V13 | V14 | V15 | V16 | V17 => (88, 228, 288),
            V18 => (88, 228, 292),
            V19 => (96, 240, 308),
        };
        for major in Major::ALL {
            let (checkpoint_size, segment_size_at, crc_at) = expected(major);
            let zeros = [0; 512];
            let mut fields = Fields::new(&zeros, major);
            CheckpointCopy::read(&mut fields).unwrap();
            assert_eq!(fields.bytes.position().next_multiple_of(8), checkpoint_size, "{major}");
            let (_, crc) = ControlFile::read(&zeros, major).unwrap();
            assert_eq!(crc.crc, crc_at, "{major}");
            let one_there = with_u32(zeros.to_vec(), segment_size_at, 77);
            assert_eq!(ControlFile::parse_as(&one_there, major).unwrap().wal_segment_size, 77, "{major}");
        }
    }

    #[test]
    fn both_checksums() {
        for name in [
            "9.0",
            "9.1",
            "9.2",
            "9.3",
            "9.4",
            "9.5-target",
            "9.6-source",
            "10",
            "11",
            "12",
            "13",
            "14",
            "15",
            "16",
            "17",
            "18",
            "19",
        ] {
            let bytes = sample(name);
            let major = Major::from_pg_version(name.split('-').next().unwrap());
            let control = ControlFile::parse_with_hint(&bytes, major).unwrap();
            assert!(control.crc_ok, "{name}");
            assert_eq!(Some(control.major), major);
            let problems = control.problems(&bytes);
            // 9.0 to 9.4 were built from the points at which their branches began
            let early = ["9.0", "9.4"].contains(&name);
            assert_eq!(problems.len(), usize::from(early), "{name}: {problems:?}");
            assert!(problems.iter().all(|p| matches!(p, ControlProblem::CatalogVersion { .. })));
            let damaged = with_u32(bytes, 24, 0);
            let control = ControlFile::parse_with_hint(&damaged, major).unwrap();
            assert!(!control.crc_ok, "{name}");
            let problems = control.problems(&damaged);
            let [ControlProblem::Crc { stored, computed, .. }, ..] = problems.as_slice() else {
                panic!("{problems:?}")
            };
            assert_ne!(stored, computed);
        }
    }

    #[test]
    fn fields_of_17_and_19() {
        let control = ControlFile::parse(&sample("17")).unwrap();
        assert_eq!(control.version_dir(), "PG_17_202406281");
        assert_eq!(control.segment_size(), Some(SegmentSize::DEFAULT));
        assert!(control.state.is_shut_down());
        assert_eq!(control.checkpoint_copy.redo, control.checkpoint);
        assert_eq!(control.checkpoint_copy.full_next_xid(), u64::from(control.checkpoint_copy.next_xid));
        assert_eq!(control.checkpoint_copy.wal_level, Some(1));
        let control = ControlFile::parse(&sample("19")).unwrap();
        assert_eq!(control.slru_pages_per_segment, Some(32));
        assert_eq!(control.data_checksum_version_init, control.data_checksum_version);
        assert_eq!(control.default_char_signed, Some(true));
    }

    #[test]
    fn majors_that_share_a_version() {
        for (catalog, major) in
            [(202_007_201, Major::V13), (202_107_181, Major::V14), (202_307_071, Major::V16)]
        {
            let bytes = with_u32(sample("15"), CATALOG_OFFSET, catalog);
            assert_eq!(ControlFile::parse_with_hint(&bytes, Some(Major::V15)).unwrap().major, major);
        }
        let odd = with_u32(sample("15"), CATALOG_OFFSET, 202_301_010);
        assert_eq!(ControlFile::parse_with_hint(&odd, Some(Major::V15)).unwrap().major, Major::V15);
        for hint in [None, Some(Major::V17)] {
            let error = ControlFile::parse_with_hint(&odd, hint).unwrap_err();
            assert_eq!(error, ControlError::UnknownCatalog { version: 1300, found: 202_301_010 });
            assert!(error.to_string().contains("offset 12"), "{error}");
            assert!(error.to_string().contains("202107181 (14)"), "{error}");
        }
        let odd = with_u32(sample("17"), CATALOG_OFFSET, 1);
        assert_eq!(ControlFile::parse_with_hint(&odd, Some(Major::V15)).unwrap().major, Major::V17);
    }

    #[test]
    fn what_is_no_control_file() {
        let error = ControlFile::parse(&[]).unwrap_err();
        assert_eq!(error.to_string(), "the control file ends too early: 4 bytes wanted at offset 8, 0 there");
        let error = ControlFile::parse(&sample("17")[..290]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the control file ends too early: 4 bytes wanted at offset 288, 2 there"
        );
        let error =
            ControlFile::parse(&with_u32(sample("17"), VERSION_OFFSET, 1700u32.swap_bytes())).unwrap_err();
        assert_eq!(error, ControlError::ByteOrder { found: 1700u32.swap_bytes(), swapped: 1700 });
        assert!(error.to_string().contains("written on a big-endian machine"));
        let error = ControlFile::parse(&[0; 8192]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the control file has an unknown version: 0 at offset 8; known are 903 (9.0/9.1), 922 (9.2), 937 (9.3), \
             942 (9.4/9.5), 960 (9.6), 1002 (10), 1100 (11), 1201 (12), 1300 (13/14/15/16), 1700 (17), 1800 (18), \
             1905 (19)"
        );
    }

    #[test]
    fn one_problem_each() {
        let bytes = sample("17");
        let only = |bytes: &[u8]| {
            let control = ControlFile::parse(bytes).unwrap();
            let mut problems = control.problems(bytes);
            problems.retain(|p| !matches!(p, ControlProblem::Crc { .. }));
            assert_eq!(problems.len(), 1, "{problems:?}");
            problems.remove(0)
        };
        assert_eq!(only(&bytes[..4096]), ControlProblem::FileSize { found: 4096 });
        assert_eq!(only(&with_u32(bytes.clone(), 16, 9)), ControlProblem::State { found: 9 });
        assert!(matches!(
            only(&with_u32(bytes.clone(), 204, 4)),
            ControlProblem::Machine { max_align: 4, float_format } if float_format.to_bits() == FLOAT_FORMAT.to_bits()
        ));
        assert_eq!(only(&with_u32(bytes.clone(), 216, 32768)), ControlProblem::BlockSize { found: 32768 });
        assert_eq!(only(&with_u32(bytes.clone(), 220, 1)), ControlProblem::RelationSegmentSize { found: 1 });
        assert_eq!(only(&with_u32(bytes.clone(), 224, 1)), ControlProblem::WalBlockSize { found: 1 });
        for found in [0, 1, 3 << 20, 1 << 19, 1 << 31] {
            assert_eq!(only(&with_u32(bytes.clone(), 228, found)), ControlProblem::WalSegmentSize { found });
        }
        assert_eq!(only(&with_u32(bytes.clone(), 232, 128)), ControlProblem::NameDataLen { found: 128 });
        let odd_catalog = with_u32(bytes.clone(), 12, 5);
        assert!(matches!(only(&odd_catalog), ControlProblem::CatalogVersion { found: 5, .. }));
    }

    #[test]
    fn checkpoint_records() {
        let bytes = sample("19");
        let control = ControlFile::parse(&bytes).unwrap();
        assert_eq!(CheckpointCopy::parse(&bytes[40..136], Major::V19).unwrap(), control.checkpoint_copy);
        assert!(CheckpointCopy::parse(&bytes[40..160], Major::V19).is_ok());
        assert_eq!(
            CheckpointCopy::parse(&bytes[40..128], Major::V19),
            Err(Short { offset: 88, wanted: 4, available: 0 })
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, hint in prop::option::of(0..Major::ALL.len())) {
            let hint = hint.map(|i| Major::ALL[i]);
            let _ = ControlFile::parse_with_hint(&bytes, hint);
            for major in Major::ALL {
                let _ = CheckpointCopy::parse(&bytes, major);
                if let Ok(control) = ControlFile::parse_as(&bytes, major) {
                    control.problems(&bytes);
                }
            }
        }

        #[test]
        fn mutated_files_never_panic(
            name in prop::sample::select(vec!["9.0", "9.2", "9.4", "9.6-source", "13", "17", "19"]),
            changes in prop::collection::vec((0..320usize, any::<u8>()), 1..9),
            length in 0..=8192usize,
        ) {
            let mut bytes = sample(name);
            for (offset, value) in changes {
                bytes[offset] = value;
            }
            bytes.truncate(length);
            if let Ok(control) = ControlFile::parse_with_hint(&bytes, Some(Major::V9_0)) {
                control.problems(&bytes);
            }
        }
    }
}
