//! Copies of one name with different content.

use std::io;
use std::path::PathBuf;

use super::judge::LONG_HEADER;
use super::{HistoryFile, Segment, WalSet};
use crate::pg::bytes::Bytes;
use crate::pg::{Lsn, Major, SegmentSize, TimelineId, WalName};
use crate::wal::PAGE_SIZE;

/// Length of the header of any other page than a segment's first (`SizeOfXLogShortPHD`).
const SHORT_HEADER: usize = 24;
/// `XLP_FIRST_IS_CONTRECORD`.
const FIRST_IS_CONTRECORD: u16 = 1;
/// Copies of one segment that are compared with each other.
const COMPARED: usize = 8;

/// Two files of one name with different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name, a segment or a history.
    pub name: String,
    /// The files.
    pub paths: Vec<PathBuf>,
    /// First byte that differs, offset in the (uncompressed) file.
    pub offset: u64,
}

/// Compares all copies of the named segments and histories in these sets with each other, uncompressed. Not a
/// conflict: `.partial` files, copies that are not usable, and a copy whose WAL ends where the other's goes on.
/// Each copy is read as a whole: ask only for names that matter.
pub fn conflicts(sets: &[&WalSet], names: &[WalName]) -> Vec<Conflict> {
    let mut found = Vec::new();
    for name in names {
        match *name {
            WalName::Segment(timeline, segno) => segment_conflicts(sets, timeline, segno, &mut found),
            WalName::History(timeline) => {
                let mut files: Vec<HistoryFile> = Vec::new();
                for file in sets.iter().flat_map(|s| s.history_files(Some(timeline))) {
                    if !files.iter().any(|f| f.path == file.path) {
                        files.push(file);
                    }
                }
                let Some((first, others)) = files.split_first() else { continue };
                for other in others.iter().filter(|o| o.bytes != first.bytes) {
                    let same = first.bytes.iter().zip(&other.bytes).take_while(|(a, b)| a == b).count();
                    found.push(Conflict {
                        name: format!("{timeline:08X}.history"),
                        paths: vec![first.path.clone(), other.path.clone()],
                        offset: same as u64,
                    });
                }
            }
            WalName::Partial(..) | WalName::Backup(..) => {}
        }
    }
    found
}

fn segment_conflicts(sets: &[&WalSet], timeline: TimelineId, segno: u64, found: &mut Vec<Conflict>) {
    let mut copies: Vec<Segment> = Vec::new();
    let mut size = SegmentSize::DEFAULT;
    for set in sets {
        size = set.size;
        for candidate in set.candidates(timeline, segno) {
            let known = copies.iter().any(|c| c.path == candidate.path);
            if candidate.partial || known || copies.len() >= COMPARED || set.cancelled() {
                continue;
            }
            match set.read_candidate((timeline, segno), &candidate) {
                Ok(segment) => copies.push(segment),
                Err(reason) => set.reject((timeline, segno), candidate.path, candidate.place, reason),
            }
        }
    }
    let start = size.start(segno);
    let stopped = || sets.iter().any(|set| set.cancelled());
    for (n, a) in copies.iter().enumerate() {
        for b in copies.iter().skip(n + 1) {
            let Ok(Some(offset)) = first_difference(a, b, &stopped) else { continue };
            if both_go_on(a, b, start, offset).unwrap_or(true) {
                found.push(Conflict {
                    name: WalName::Segment(timeline, segno).file_name(size),
                    paths: vec![a.path.clone(), b.path.clone()],
                    offset,
                });
            }
        }
    }
}

/// Offset of the first byte in which two segments differ, up to the shorter one's end.
fn first_difference(one: &Segment, other: &Segment, stopped: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let n = one.read_at(at, &mut left)?.min(other.read_at(at, &mut right)?);
        let (left, right) = (left.get(..n).unwrap_or_default(), right.get(..n).unwrap_or_default());
        if left != right {
            return Ok(left.iter().zip(right).position(|(x, y)| x != y).map(|i| at + i as u64));
        }
        if n == 0 || stopped() {
            return Ok(None);
        }
        at += n as u64;
    }
}

/// Two copies are equal up to `offset`: does WAL go on there in both? If not, one is merely older than the other:
/// its page has zeros there, or what the file held before it was recycled.
fn both_go_on(a: &Segment, b: &Segment, start: Lsn, offset: u64) -> io::Result<bool> {
    let page_size = PAGE_SIZE as u64;
    let at = offset - offset % page_size;
    let within = (offset - at) as usize;
    let page = |s: &Segment, at: u64| -> io::Result<Option<Vec<u8>>> {
        let mut page = vec![0; PAGE_SIZE];
        let whole = s.read_at(at, &mut page)? == PAGE_SIZE;
        let bytes = Bytes::new(&page);
        let good = whole
            && matches!(bytes.u16_at(0), Ok(magic) if Major::from_wal_magic(magic).is_some())
            && bytes.u64_at(8) == Ok(start.plus(at).0);
        Ok(good.then_some(page))
    };
    let (Some(left), Some(right)) = (page(a, at)?, page(b, at)?) else { return Ok(false) };
    let header = if at == 0 { LONG_HEADER } else { SHORT_HEADER };
    if within < header {
        return Ok(true);
    }
    let last = at + page_size >= a.len.max(b.len);
    let next = |s: &Segment| Ok::<_, io::Error>(page(s, at + page_size)?.is_some());
    let (left_next, right_next) = (next(a)?, next(b)?);
    if left_next && right_next {
        return Ok(true);
    }
    Ok(record_stands(&left, header, within, left_next || last, start.plus(at))
        && record_stands(&right, header, within, right_next || last, start.plus(at)))
}

/// Whether the record of a page that holds the byte at `within` is a whole one: its CRC is right, or it goes on in a
/// page that is there. Everything before `within` is known to be good.
fn record_stands(page: &[u8], header: usize, within: usize, goes_on: bool, page_at: Lsn) -> bool {
    let bytes = Bytes::new(page);
    let continued = matches!(bytes.u16_at(2), Ok(info) if info & FIRST_IS_CONTRECORD != 0);
    let rest = if continued { bytes.u32_at(16).unwrap_or(0) as usize } else { 0 };
    let mut at = header.saturating_add(rest).saturating_add(7) & !7;
    let mut previous: Option<Lsn> = None;
    if at >= page.len() {
        return goes_on;
    }
    loop {
        let Ok(len) = bytes.u32_at(at).map(|n| n as usize) else { return goes_on };
        if len < SHORT_HEADER {
            return false;
        }
        let end = at.saturating_add(len);
        let prev_fits = match (bytes.u64_at(at + 8), previous) {
            (Ok(prev), Some(known)) => prev == known.0,
            (Ok(prev), None) => prev < page_at.plus(at as u64).0,
            (Err(_), _) => true,
        };
        // the record that holds the byte, or, behind a continuation that holds it, the first one
        if end > within || within < at {
            if end > page.len() {
                return goes_on && prev_fits;
            }
            let (Ok(head), Ok(body), Ok(stored)) = (
                bytes.slice_at(at, 20),
                bytes.slice_at(at + SHORT_HEADER, len - SHORT_HEADER),
                bytes.u32_at(at + 20),
            ) else {
                return false;
            };
            return prev_fits && crc32c::crc32c_append(crc32c::crc32c(body), head) == stored;
        }
        previous = Some(page_at.plus(at as u64));
        at = end.saturating_add(7) & !7;
        if at >= page.len() {
            return goes_on;
        }
    }
}
