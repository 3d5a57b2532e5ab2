//! The WAL that one history went through, whatever files it lies in.

use crate::pg::history::History;
use crate::pg::{Lsn, TimelineId};
use crate::source::walset::{Segment, WalSet};
use crate::wal::{Format, Problem};

/// Where segments come from.
pub trait Segments: Sync {
    /// The segment of that timeline and number, if there is a usable copy.
    fn open(&self, timeline: TimelineId, segno: u64) -> Option<Segment>;
}

/// All places of one side; a copy that is cut short is better than none, the reader sees where it ends.
impl Segments for WalSet {
    fn open(&self, timeline: TimelineId, segno: u64) -> Option<Segment> {
        match Self::open(self, timeline, segno) {
            Ok(found) => found,
            Err(_) => self.open_damaged(timeline, segno),
        }
    }
}

/// A run of WAL along one history.
#[derive(Clone, Copy)]
pub struct WalPath<'a> {
    /// What its pages look like.
    pub format: Format,
    /// The timelines it goes through.
    pub history: &'a History,
    /// Where its segments come from.
    pub store: &'a dyn Segments,
}

/// A segment of a path, and how far it may be read.
#[derive(Debug, Clone)]
pub struct PathSegment {
    /// The file.
    pub segment: Segment,
    /// The timeline that the file is of.
    pub timeline: TimelineId,
    /// Records from here on are not the history's: the file is of a timeline that ends there.
    pub valid_to: Lsn,
}

impl WalPath<'_> {
    /// The timelines whose file of segment `segno` holds WAL of this history, the best one first: the newest that
    /// begins before the segment's end has all of it, since a new timeline's first segment starts as a copy.
    pub fn timelines_of(&self, segno: u64) -> impl Iterator<Item = (TimelineId, Lsn)> + '_ {
        let size = self.format.segment_size;
        let (start, end) = (size.start(segno), size.start(segno + 1));
        self.history
            .entries
            .iter()
            .rev()
            .filter(move |e| e.begin < end && e.end > start)
            .map(|e| (e.timeline, e.end))
    }

    /// Opens segment `segno`.
    pub fn open(&self, segno: u64) -> Option<PathSegment> {
        self.timelines_of(segno).find_map(|(timeline, valid_to)| {
            let segment = self.store.open(timeline, segno)?;
            Some(PathSegment { segment, timeline, valid_to })
        })
    }
}

/// Reads whole pages of `segment` from `offset` on into `buffer` (both multiples of the page size); `at` is the LSN of
/// `offset`.
///
/// # Errors
/// The file ends before, or cannot be read.
pub fn read_pages(segment: &Segment, offset: u64, buffer: &mut [u8], at: Lsn) -> Result<(), Problem> {
    match segment.read_at(offset, buffer) {
        Ok(read) if read == buffer.len() => Ok(()),
        _ => Err(Problem::ShortFile { at }),
    }
}
