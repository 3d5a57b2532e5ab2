//! What a reader of WAL says when it cannot go on, in the words of each major's reader (`xlogreader.c`).

use crate::pg::{Lsn, Major, SegmentSize, TimelineId, WalName};

use super::record::HEADER_SIZE;

/// Why a page or record is not valid where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Problem {
    Magic {
        at: Lsn,
        magic: u16,
    },
    InfoBits {
        at: Lsn,
        info: u16,
    },
    System {
        at: Lsn,
        found: u64,
        expected: u64,
    },
    SegmentSize {
        at: Lsn,
        found: u32,
    },
    BlockSize {
        at: Lsn,
        found: u32,
    },
    PageAddress {
        at: Lsn,
        found: Lsn,
    },
    OutOfSequence {
        at: Lsn,
        found: TimelineId,
        after: TimelineId,
    },
    /// The page is of a later timeline than its file. A server's reader notices that later or not at all.
    LaterTimeline {
        at: Lsn,
        found: TimelineId,
        file: TimelineId,
    },
    /// Reading was begun inside a page header.
    Offset {
        at: Lsn,
        expected: usize,
    },
    /// Reading was begun where a record is continued.
    InContinuation {
        at: Lsn,
    },
    Length {
        at: Lsn,
        found: u32,
    },
    TooLong {
        at: Lsn,
        found: u32,
    },
    ResourceManager {
        at: Lsn,
        found: u8,
    },
    PrevLink {
        at: Lsn,
        found: Lsn,
    },
    NoContinuation {
        record: Lsn,
        page: Lsn,
    },
    ContinuationLength {
        record: Lsn,
        page: Lsn,
        found: u32,
        expected: u32,
    },
    Checksum {
        at: Lsn,
    },
    /// A record whose CRC is right and whose inside is not.
    Contents {
        at: Lsn,
        what: &'static str,
    },
    /// There is no file to read on in.
    NoSegment {
        at: Lsn,
    },
    /// The file is shorter than its segment.
    ShortFile {
        at: Lsn,
    },
}

impl Problem {
    /// Where the reader stood: start of the record or page.
    pub const fn at(&self) -> Lsn {
        match *self {
            Self::Magic { at, .. }
            | Self::InfoBits { at, .. }
            | Self::System { at, .. }
            | Self::SegmentSize { at, .. }
            | Self::BlockSize { at, .. }
            | Self::PageAddress { at, .. }
            | Self::OutOfSequence { at, .. }
            | Self::LaterTimeline { at, .. }
            | Self::Offset { at, .. }
            | Self::InContinuation { at }
            | Self::Length { at, .. }
            | Self::TooLong { at, .. }
            | Self::ResourceManager { at, .. }
            | Self::PrevLink { at, .. }
            | Self::Checksum { at }
            | Self::Contents { at, .. }
            | Self::NoSegment { at }
            | Self::ShortFile { at } => at,
            Self::NoContinuation { page, .. } | Self::ContinuationLength { page, .. } => page,
        }
    }

    /// The reader's message as that major's programs print it. `timeline` is that of the file that was read.
    pub fn message(&self, major: Major, size: SegmentSize, timeline: TimelineId) -> String {
        let lsn = |at: Lsn| {
            if major >= Major::V19 { format!("{:X}/{:08X}", at.0 >> 32, at.0 as u32) } else { at.to_string() }
        };
        // from 16 the page's LSN is told too, and the noun changed
        let place = |at: Lsn| {
            let file = WalName::Segment(timeline, size.segno(at)).file_name(size);
            if major >= Major::V16 {
                format!("WAL segment {file}, LSN {}, offset {}", lsn(at), size.offset(at))
            } else {
                format!("log segment {file}, offset {}", size.offset(at))
            }
        };
        match *self {
            Self::Magic { at, magic } => format!("invalid magic number {magic:04X} in {}", place(at)),
            Self::InfoBits { at, info } => format!("invalid info bits {info:04X} in {}", place(at)),
            Self::System { found, expected, .. } => format!(
                "WAL file is from different database system: WAL file database system identifier is {found}, \
                 pg_control database system identifier is {expected}"
            ),
            Self::SegmentSize { .. } => {
                "WAL file is from different database system: incorrect segment size in page header".into()
            }
            Self::BlockSize { .. } => {
                "WAL file is from different database system: incorrect XLOG_BLCKSZ in page header".into()
            }
            Self::PageAddress { at, found } => format!("unexpected pageaddr {} in {}", lsn(found), place(at)),
            Self::OutOfSequence { at, found, after } => {
                format!("out-of-sequence timeline ID {found} (after {after}) in {}", place(at))
            }
            Self::LaterTimeline { at, found, file } => {
                format!("timeline ID {found} in a file of timeline {file}, {}", place(at))
            }
            Self::Offset { at, expected } if major >= Major::V16 => format!(
                "invalid record offset at {}: expected at least {expected}, got {}",
                lsn(at),
                at.page_offset()
            ),
            Self::Offset { at, .. } => format!("invalid record offset at {}", lsn(at)),
            Self::InContinuation { at } => format!("contrecord is requested by {}", lsn(at)),
            Self::Length { at, found } if major >= Major::V16 => {
                format!("invalid record length at {}: expected at least {HEADER_SIZE}, got {found}", lsn(at))
            }
            Self::Length { at, found } => {
                format!("invalid record length at {}: wanted {HEADER_SIZE}, got {found}", lsn(at))
            }
            Self::TooLong { at, found } => format!("record length {found} at {} too long", lsn(at)),
            Self::ResourceManager { at, found } => {
                format!("invalid resource manager ID {found} at {}", lsn(at))
            }
            Self::PrevLink { at, found } => {
                format!("record with incorrect prev-link {} at {}", lsn(found), lsn(at))
            }
            Self::NoContinuation { record, .. } => format!("there is no contrecord flag at {}", lsn(record)),
            Self::ContinuationLength { record, found, expected, .. } if major >= Major::V14 => {
                format!("invalid contrecord length {found} (expected {expected}) at {}", lsn(record))
            }
            Self::ContinuationLength { record, found, .. } => {
                format!("invalid contrecord length {found} at {}", lsn(record))
            }
            Self::Checksum { at } => {
                format!("incorrect resource manager data checksum in record at {}", lsn(at))
            }
            Self::Contents { at, what } => format!("{what} at {}", lsn(at)),
            Self::NoSegment { at } => {
                format!(
                    "could not find file \"{}\"",
                    WalName::Segment(timeline, size.segno(at)).file_name(size)
                )
            }
            Self::ShortFile { at } => format!(
                "could not read from file \"{}\", offset {}: the file is too short",
                WalName::Segment(timeline, size.segno(at)).file_name(size),
                size.offset(at)
            ),
        }
    }
}
