//! What can be wrong with a control file.

use thiserror::Error;

use crate::pg::bytes::Short;
use crate::pg::{BLOCK_SIZE, Major};

use super::release::{CATALOG_OFFSET, VERSION_OFFSET, known_catalogs, known_versions};
use super::{CONTROL_FILE_SIZE, FLOAT_FORMAT, MAX_ALIGN, NAME_DATA_LEN, RELATION_SEGMENT_BLOCKS};

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
