//! Going through records as pg_waldump's reader does: from the first one at or behind a position, to an end that cuts
//! nothing off with an error, in files that are taken as they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::pg::{Lsn, Major, SegmentSize, TimelineId, WalName};
use crate::scan::path::WalPath;
use crate::scan::walk::record_start;
use crate::source::walset::Segment;
use crate::source::waltar::Part;
use crate::wal::framer::{Flow, Framer, Sink};
use crate::wal::page::{PageHeader, SHORT_HEADER};
use crate::wal::record::HEADER_SIZE;
use crate::wal::{Format, PAGE_SIZE, Problem, Record};

/// Bytes read at a time.
const WINDOW: usize = 128 << 10;

/// An open segment.
#[derive(Debug)]
pub enum Handle {
    /// A file of that name, whatever is in it.
    Plain(File),
    /// A file that was found to be the segment, perhaps unpacked.
    Judged(Segment),
    /// A member of a tar archive.
    Member(Part),
}

/// A segment to read.
#[derive(Debug)]
pub struct Opened {
    /// The file.
    pub handle: Handle,
    /// The timeline that it is of by its name.
    pub timeline: TimelineId,
    /// Records from here on are not the history's; [`Lsn::MAX`] where nobody looks at histories.
    pub valid_to: Lsn,
}

impl Opened {
    /// Reads at `offset`; fewer bytes than asked for only at the file's end.
    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut read = 0;
        loop {
            let Some(rest) = buffer.get_mut(read..).filter(|rest| !rest.is_empty()) else { return Ok(read) };
            let at = offset + read as u64;
            let result = match &self.handle {
                Handle::Plain(file) => file.read_at(rest, at),
                Handle::Judged(segment) => segment.read_at(at, rest),
                Handle::Member(part) => part.read_at(at, rest),
            };
            match result {
                Ok(0) => return Ok(read),
                Ok(n) => read += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }
}

/// Where segments come from.
pub trait Files: Sync {
    /// Opens a segment.
    ///
    /// # Errors
    /// It is not there, or cannot be opened.
    fn open(&self, segno: u64) -> Result<Opened, Trouble>;
}

/// Along a history, wherever its segments lie.
impl Files for WalPath<'_> {
    fn open(&self, segno: u64) -> Result<Opened, Trouble> {
        if let Some(found) = WalPath::open(self, segno) {
            return Ok(Opened {
                handle: Handle::Judged(found.segment),
                timeline: found.timeline,
                valid_to: found.valid_to,
            });
        }
        let timeline = self.timelines_of(segno).next().map_or(self.history.timeline, |t| t.0);
        let name = WalName::Segment(timeline, segno).file_name(self.format.segment_size);
        Err(Trouble::Missing { name, error: os_words(&io::ErrorKind::NotFound.into()) })
    }
}

/// Why reading ended before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// A page or record is not valid, as it always is behind the last one.
    Invalid {
        /// What is wrong.
        problem: Problem,
        /// Timeline of the file.
        timeline: TimelineId,
    },
    /// There is no such file.
    Missing {
        /// Its name.
        name: String,
        /// The system's words.
        error: String,
    },
    /// The tar archive does not have it.
    NotInArchive {
        /// Its name.
        name: String,
        /// The archive's, without directory.
        archive: String,
    },
    /// It cannot be opened.
    Unopenable {
        /// Its name.
        name: String,
        /// The system's words.
        error: String,
    },
    /// It cannot be read, or ends too early.
    Unreadable {
        /// Its name.
        name: String,
        /// Offset in bytes at which nothing came.
        offset: u64,
        /// Bytes wanted there.
        wanted: usize,
        /// The system's words; `None` at the file's end.
        error: Option<String>,
    },
}

impl Trouble {
    /// pg_waldump's words for what ends it wherever it happens; `None` for a page or record that is not valid.
    pub fn fatal(&self, major: Major) -> Option<String> {
        Some(match self {
            Self::Invalid { .. } => return None,
            Self::Missing { name, error } => format!("could not find file \"{name}\": {error}"),
            Self::NotInArchive { name, archive } => {
                format!("could not find WAL \"{name}\" in archive \"{archive}\"")
            }
            Self::Unopenable { name, error } => format!("could not open file \"{name}\": {error}"),
            Self::Unreadable { name, offset, wanted, error } => {
                let quote = if major >= Major::V16 { "\"" } else { "" };
                let what = error.clone().unwrap_or_else(|| format!("read 0 of {wanted}"));
                format!("could not read from file {quote}{name}{quote}, offset {offset}: {what}")
            }
        })
    }
}

/// What the system says of an error, without its number.
pub fn os_words(error: &io::Error) -> String {
    let error = match error.kind() {
        io::ErrorKind::NotFound => return "No such file or directory".into(),
        _ => error.to_string(),
    };
    error.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With the first record on the page.
    Page(Lsn),
    /// With the record at `next`, which points back to `previous`.
    Behind {
        /// Where it starts.
        next: Lsn,
        /// Start of the record before it.
        previous: Lsn,
    },
}

/// How reading ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    /// `None`: at the end, at the limit, or because the sink had enough.
    pub trouble: Option<Trouble>,
    /// Start and previous link of the first record.
    pub first: Option<(Lsn, Lsn)>,
    /// Start of the last record; 0/0 for none.
    pub last: Lsn,
    /// Where the next record would start, past a page header if it falls on one; 0/0 if there was no record.
    pub next: Lsn,
}

/// Reads the records of a stretch of WAL.
#[derive(Clone, Copy)]
pub struct Reader<'a> {
    /// Where the segments come from.
    pub files: &'a dyn Files,
    /// What the pages look like.
    pub format: Format,
    /// Only records that end here or before are given.
    pub end: Option<Lsn>,
}

impl Reader<'_> {
    /// Gives the records from `begin` on that start before `limit` to `sink`. `cancelled` is asked now and then.
    pub fn read<S: Sink>(
        &self,
        begin: Begin,
        limit: Lsn,
        sink: &mut S,
        buffer: &mut Vec<u8>,
        cancelled: &dyn Fn() -> bool,
    ) -> Stop {
        let size = self.format.segment_size;
        let end = self.end.unwrap_or(Lsn::MAX);
        let limit = limit.min(begun_before(end));
        buffer.resize(WINDOW, 0);
        let (mut framer, mut at) = match begin {
            Begin::Page(at) => (Framer::resync(self.format, limit), at.page_start()),
            Begin::Behind { next, previous } => {
                let mut framer = Framer::at(self.format, next, limit);
                framer.set_previous(previous);
                (framer, next.page_start())
            }
        };
        let mut sink = Bounded { inner: sink, end };
        let mut current: Option<(u64, Opened)> = None;
        let trouble = 'reading: loop {
            if cancelled() || self.at_end(&framer, at, limit) {
                break None;
            }
            let segno = size.segno(at);
            if current.as_ref().is_none_or(|c| c.0 != segno) {
                let opened = match self.files.open(segno) {
                    Ok(opened) => opened,
                    Err(trouble) => break Some(trouble),
                };
                if matches!(opened.handle, Handle::Judged(_)) {
                    framer.set_newest(opened.timeline);
                }
                let all_of_it = opened.valid_to >= size.start(segno + 1);
                framer.set_limit(if all_of_it { limit } else { limit.min(opened.valid_to) });
                // whatever page comes first: the file has to be a segment
                if size.offset(at) != 0
                    && let Err(trouble) = self.first_page(&opened, segno, buffer)
                {
                    break Some(trouble);
                }
                current = Some((segno, opened));
            }
            let Some((_, opened)) = &current else { break None };
            let offset = size.offset(at);
            let length = (WINDOW as u64).min(size.bytes() - offset);
            let wanted = limit.since(at).max(1).next_multiple_of(PAGE_SIZE as u64).min(length) as usize;
            let window = buffer.get_mut(..wanted).unwrap_or_default();
            let invalid = |problem| Trouble::Invalid { problem, timeline: opened.timeline };
            let name = || WalName::Segment(opened.timeline, segno).file_name(size);
            let read = match opened.read(offset, window) {
                Ok(read) => read,
                Err(error) => {
                    let error = Some(os_words(&error));
                    break Some(Trouble::Unreadable { name: name(), offset, wanted: PAGE_SIZE, error });
                }
            };
            let (pages, rest) = window.get(..read).unwrap_or_default().as_chunks::<PAGE_SIZE>();
            for page in pages {
                match framer.page(at, page, &mut sink) {
                    Ok(Flow::More) => {}
                    Ok(Flow::Done) if opened.valid_to < limit && framer.next_record() >= opened.valid_to => {
                        break 'reading Some(invalid(Problem::NoSegment { at: opened.valid_to }));
                    }
                    Ok(Flow::Done) => break 'reading None,
                    Err(problem) if cut_off(problem, at, page, end) => break 'reading None,
                    Err(problem) => break 'reading Some(invalid(problem)),
                }
                at = at.plus(PAGE_SIZE as u64);
                let next = framer.next_record().page_start();
                if next > at && framer.partial_missing().is_none() {
                    // behind a segment switch
                    at = next;
                    continue 'reading;
                }
                if self.at_end(&framer, at, limit) {
                    break 'reading None;
                }
            }
            if read < wanted {
                let offset = size.offset(at) + rest.len() as u64;
                let wanted = PAGE_SIZE - rest.len();
                break Some(Trouble::Unreadable { name: name(), offset, wanted, error: None });
            }
        };
        let next = framer.next_record();
        Stop {
            trouble,
            first: framer.first_record(),
            last: framer.last_record(),
            next: if next.is_valid() { record_start(next, size.bytes()) } else { next },
        }
    }

    /// Nothing on the page at `at` is wanted: it lies behind the end, or no record that goes on there ends before it.
    fn at_end(&self, framer: &Framer, at: Lsn, limit: Lsn) -> bool {
        match framer.partial_missing() {
            None => at >= limit,
            Some(missing) => {
                let needed = (u64::from(missing) + SHORT_HEADER as u64).min(PAGE_SIZE as u64);
                at.plus(needed) > self.end.unwrap_or(Lsn::MAX)
            }
        }
    }

    fn first_page(&self, opened: &Opened, segno: u64, buffer: &mut [u8]) -> Result<(), Trouble> {
        let at = self.format.segment_size.start(segno);
        let page = buffer.first_chunk_mut::<PAGE_SIZE>();
        let Some(page) = page else { return Ok(()) };
        let name = || WalName::Segment(opened.timeline, segno).file_name(self.format.segment_size);
        let unreadable = |read: usize, error: Option<String>| Trouble::Unreadable {
            name: name(),
            offset: read as u64,
            wanted: PAGE_SIZE - read,
            error,
        };
        match opened.read(0, page) {
            Ok(PAGE_SIZE) => PageHeader::check(page, at, &self.format)
                .map(|_| ())
                .map_err(|problem| Trouble::Invalid { problem, timeline: opened.timeline }),
            Ok(read) => Err(unreadable(read, None)),
            Err(error) => Err(unreadable(0, Some(os_words(&error)))),
        }
    }
}

/// Records are begun before this position only: from there on not even their header lies before `end`, as far as it
/// lies on one page with their beginning.
fn begun_before(end: Lsn) -> Lsn {
    if end.page_offset() == 0 || end == Lsn::MAX {
        end
    } else {
        Lsn(end.0.saturating_sub(HEADER_SIZE as u64 - 1)).max(end.page_start())
    }
}

/// A record that reaches beyond the end is not looked at, so it is not wrong either.
fn cut_off(problem: Problem, page_at: Lsn, page: &[u8; PAGE_SIZE], end: Lsn) -> bool {
    let Problem::Checksum { at } = problem else { return false };
    let length = page.get(at.since(page_at) as usize..).and_then(|b| b.first_chunk::<4>());
    at >= page_at && length.is_some_and(|b| at.plus(u64::from(u32::from_le_bytes(*b))) > end)
}

/// Takes records up to the end.
struct Bounded<'a, S> {
    inner: &'a mut S,
    end: Lsn,
}

impl<S: Sink> Sink for Bounded<'_, S> {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        self.inner.wants_whole(rmid, info)
    }

    #[inline]
    fn record(&mut self, record: &Record<'_>) -> bool {
        record.end <= self.end && self.inner.record(record)
    }
}

/// The message of a page or record that is not valid, as that major's reader has it.
pub fn message(trouble: &Trouble, major: Major, size: SegmentSize) -> Option<String> {
    match trouble {
        Trouble::Invalid { problem, timeline } => Some(problem.message(major, size, *timeline)),
        _ => None,
    }
}
