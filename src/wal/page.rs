//! Headers of WAL pages (`XLogPageHeaderData`, `XLogLongPageHeaderData`, xlog_internal.h).

use crate::pg::{Lsn, Major, SegmentSize, TimelineId};

use super::{PAGE_SIZE, Problem};

/// Size of the header of most pages in bytes.
pub const SHORT_HEADER: usize = 24;
/// Size of the header of a segment's first page in bytes.
pub const LONG_HEADER: usize = 40;

/// The page starts in the middle of a record (`XLP_FIRST_IS_CONTRECORD`).
const FIRST_IS_CONTRECORD: u16 = 1;
/// The page has the long header (`XLP_LONG_HEADER`).
const HAS_LONG_HEADER: u16 = 2;
/// To 18: no base backup needs its page images (`XLP_BKP_REMOVABLE`); of no interest here.
const BKP_REMOVABLE_TO_18: u16 = 4;
/// To 18: a record lost its tail in a crash and is abandoned here (`XLP_FIRST_IS_OVERWRITE_CONTRECORD`).
const OVERWRITE_TO_18: u16 = 8;
/// From 19 the same has the bit that became free.
const OVERWRITE_FROM_19: u16 = 4;

/// What all pages of one cluster's WAL have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// The major, which decides magic number, flags and messages.
    pub major: Major,
    /// From pg_control; 0 where it is not known and any will do.
    pub system_identifier: u64,
    /// From pg_control.
    pub segment_size: SegmentSize,
}

impl Format {
    const fn overwrite_flag(&self) -> u16 {
        if self.major as u8 >= Major::V19 as u8 { OVERWRITE_FROM_19 } else { OVERWRITE_TO_18 }
    }

    const fn known_flags(&self) -> u16 {
        let all = FIRST_IS_CONTRECORD | HAS_LONG_HEADER | self.overwrite_flag();
        if self.major as u8 >= Major::V19 as u8 { all } else { all | BKP_REMOVABLE_TO_18 }
    }
}

/// A page header that was found valid for its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHeader {
    /// Timeline of the page (`xlp_tli`).
    pub timeline: TimelineId,
    /// Bytes of a record begun earlier that are still missing at the start of this page (`xlp_rem_len`).
    pub rem_len: u32,
    /// Length of the header in bytes.
    pub size: usize,
    /// The page continues a record.
    pub continues: bool,
    /// The page abandons a record whose tail was lost.
    pub overwrites: bool,
}

impl PageHeader {
    /// Checks the header as the server's reader does (`XLogReaderValidatePageHeader`).
    ///
    /// # Errors
    /// The first thing that is wrong for a page at `at`.
    #[inline]
    pub fn check(page: &[u8; PAGE_SIZE], at: Lsn, format: &Format) -> Result<Self, Problem> {
        let u16_at = |o: usize| u16::from_le_bytes([page[o], page[o + 1]]);
        let u32_at = |o: usize| u32::from_le_bytes([page[o], page[o + 1], page[o + 2], page[o + 3]]);
        let u64_at = |o: usize| u64::from(u32_at(o)) | u64::from(u32_at(o + 4)) << 32;
        let (magic, info) = (u16_at(0), u16_at(2));
        if magic != format.major.wal_magic() {
            return Err(Problem::Magic { at, magic });
        }
        if info & !format.known_flags() != 0 {
            return Err(Problem::InfoBits { at, info });
        }
        let long = info & HAS_LONG_HEADER != 0;
        if long {
            if format.system_identifier != 0 && u64_at(24) != format.system_identifier {
                return Err(Problem::System { at, found: u64_at(24), expected: format.system_identifier });
            }
            if u64::from(u32_at(32)) != format.segment_size.bytes() {
                return Err(Problem::SegmentSize { at, found: u32_at(32) });
            }
            if u32_at(36) as usize != PAGE_SIZE {
                return Err(Problem::BlockSize { at, found: u32_at(36) });
            }
        } else if format.segment_size.offset(at) == 0 {
            return Err(Problem::InfoBits { at, info });
        }
        if u64_at(8) != at.0 {
            return Err(Problem::PageAddress { at, found: Lsn(u64_at(8)) });
        }
        Ok(Self {
            timeline: u32_at(4),
            rem_len: u32_at(16),
            size: if long { LONG_HEADER } else { SHORT_HEADER },
            continues: info & FIRST_IS_CONTRECORD != 0,
            overwrites: info & format.overwrite_flag() != 0,
        })
    }
}
