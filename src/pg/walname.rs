//! Names of the files in the WAL directory (`xlog_internal.h`).

use std::fmt;

use super::Lsn;

/// Number of a timeline. 1 is the first; every promotion makes a higher one.
pub type TimelineId = u32;

/// Size of a WAL segment in bytes: a power of two from 1 MB to 1 GB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SegmentSize(u32);

impl SegmentSize {
    /// 16 MB, what initdb takes by default.
    pub const DEFAULT: Self = Self(16 << 20);

    /// The size, if PostgreSQL would accept it (`IsValidWalSegSize`).
    pub const fn new(bytes: u32) -> Option<Self> {
        if bytes.is_power_of_two() && bytes >= 1 << 20 && bytes <= 1 << 30 { Some(Self(bytes)) } else { None }
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        self.0 as u64
    }

    /// Number of the segment that holds the byte at `lsn`.
    pub const fn segno(self, lsn: Lsn) -> u64 {
        lsn.0 / self.bytes()
    }

    /// Number of the segment that holds the byte before `lsn` (`XLByteToPrevSeg`).
    pub const fn prev_segno(self, lsn: Lsn) -> u64 {
        lsn.0.saturating_sub(1) / self.bytes()
    }

    /// Where segment `segno` starts.
    pub const fn start(self, segno: u64) -> Lsn {
        Lsn(segno.saturating_mul(self.bytes()))
    }

    /// Offset of `lsn` within its segment, in bytes.
    pub const fn offset(self, lsn: Lsn) -> u64 {
        lsn.0 % self.bytes()
    }

    const fn per_id(self) -> u64 {
        (1 << 32) / self.bytes()
    }
}

/// What a name in the WAL directory or an archive says; the content may say otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WalName {
    /// A whole segment: timeline, segment number.
    Segment(TimelineId, u64),
    /// `….partial`: the unfinished last segment of a timeline.
    Partial(TimelineId, u64),
    /// `TLI.history`.
    History(TimelineId),
    /// `….XXXXXXXX.backup`: the record of a base backup that started in that segment.
    Backup(TimelineId, u64, u32),
}

impl WalName {
    /// Reads a name, given the segment size (which decides how many segments share the middle eight digits).
    pub fn parse(name: &str, size: SegmentSize) -> Option<Self> {
        let hex = |s: &str| {
            let ok = s.len() == 8 && s.bytes().all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b));
            if ok { u32::from_str_radix(s, 16).ok() } else { None }
        };
        if let Some(tli) = name.strip_suffix(".history") {
            return hex(tli).map(Self::History);
        }
        let (base, rest) = name.split_at_checked(24)?;
        let tli = hex(base.get(..8)?)?;
        let high = u64::from(hex(base.get(8..16)?)?);
        let low = u64::from(hex(base.get(16..24)?)?);
        if low >= size.per_id() {
            return None;
        }
        let segno = high * size.per_id() + low;
        match rest {
            "" => Some(Self::Segment(tli, segno)),
            ".partial" => Some(Self::Partial(tli, segno)),
            _ => {
                let offset = hex(rest.strip_prefix('.')?.strip_suffix(".backup")?)?;
                Some(Self::Backup(tli, segno, offset))
            }
        }
    }

    /// The name as PostgreSQL writes it.
    pub fn file_name(self, size: SegmentSize) -> String {
        let segment = |tli: TimelineId, segno: u64| {
            format!("{tli:08X}{:08X}{:08X}", segno / size.per_id(), segno % size.per_id())
        };
        match self {
            Self::Segment(tli, segno) => segment(tli, segno),
            Self::Partial(tli, segno) => segment(tli, segno) + ".partial",
            Self::History(tli) => format!("{tli:08X}.history"),
            Self::Backup(tli, segno, offset) => format!("{}.{offset:08X}.backup", segment(tli, segno)),
        }
    }
}

/// Name of the segment file that holds the byte at `lsn` on timeline `tli`.
pub fn segment_name(tli: TimelineId, lsn: Lsn, size: SegmentSize) -> String {
    WalName::Segment(tli, size.segno(lsn)).file_name(size)
}

impl fmt::Display for SegmentSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MB", self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_real_directories() {
        let mb16 = SegmentSize::DEFAULT;
        let mb1 = SegmentSize::new(1 << 20).unwrap();
        for (name, size, meaning) in [
            ("000000010000000000000003", mb16, WalName::Segment(1, 3)),
            ("0000000200000001000000FF", mb16, WalName::Segment(2, 0x1FF)),
            ("000000010000000000000ABC", mb1, WalName::Segment(1, 0xABC)),
            ("000000010000000000000003.partial", mb16, WalName::Partial(1, 3)),
            ("0000000A.history", mb16, WalName::History(10)),
            ("000000010000000000000002.00000028.backup", mb16, WalName::Backup(1, 2, 0x28)),
        ] {
            assert_eq!(WalName::parse(name, size), Some(meaning), "{name}");
            assert_eq!(meaning.file_name(size), name);
        }
        for bad in [
            "",
            "00000001000000000000000",
            "00000001000000000000000g",
            "000000010000000000000100",
            "1.history",
        ] {
            assert_eq!(WalName::parse(bad, mb16), None, "{bad}");
        }
    }
}
