//! The WAL that one history went through, whatever files it lies in.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::pg::history::History;
use crate::pg::{Lsn, TimelineId};
use crate::wal::{Format, PAGE_SIZE, Problem};

/// A segment, opened for reading.
#[derive(Debug, Clone)]
pub struct OpenSegment {
    /// Plain bytes of the segment: the file itself, or its unpacked content.
    pub file: Arc<File>,
    /// What it is called, for messages.
    pub path: PathBuf,
    /// Length in bytes.
    pub len: u64,
}

/// Where segments come from.
pub trait Segments: Sync {
    /// The segment of that timeline and number, if there is a usable copy.
    fn open(&self, timeline: TimelineId, segno: u64) -> Option<OpenSegment>;
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
    pub segment: OpenSegment,
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

impl OpenSegment {
    /// Reads whole pages from `offset` on into `buffer` (both multiples of the page size).
    ///
    /// # Errors
    /// The file ends before, or cannot be read; `at` is the LSN of `offset`.
    pub fn read_pages(&self, offset: u64, buffer: &mut [u8], at: Lsn) -> Result<(), Problem> {
        self.file.read_exact_at(buffer, offset).map_err(|_| Problem::ShortFile { at })
    }

    /// One page.
    ///
    /// # Errors
    /// As [`Self::read_pages`].
    pub fn page(&self, offset: u64, at: Lsn) -> Result<Box<[u8; PAGE_SIZE]>, Problem> {
        let mut page = Box::new([0; PAGE_SIZE]);
        self.read_pages(offset, page.as_mut_slice(), at)?;
        Ok(page)
    }
}
