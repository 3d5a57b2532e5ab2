//! Where WAL lies: a side's own directory, archives, a restore command.
//!
//! Names are listed once, cheaply; a file is opened when it is asked for, and its content decides whether it is the
//! segment that its name claims. What is not is remembered with the reason.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::archive::Listing;
pub use super::archive::Place;
use super::compress::{self, Copied, Format};
pub use super::restore::{RESTORE_TIMEOUT, RestoreCommand, RestoreError};
use crate::pg::bytes::Bytes;
use crate::pg::{Lsn, Major, SegmentSize, TimelineId, WalName};
use crate::wal::PAGE_SIZE;

/// Length of the header of a segment's first page (`SizeOfXLogLongPHD`).
const LONG_HEADER: usize = 40;
/// Length of the header of any other page.
const SHORT_HEADER: usize = 24;
/// `XLP_FIRST_IS_CONTRECORD`.
const FIRST_IS_CONTRECORD: u16 = 1;
/// `XLP_LONG_HEADER`.
const HAS_LONG_HEADER: u16 = 2;
/// A history file is a few lines; more than this is none (bytes).
const HISTORY_LIMIT: u64 = 1 << 20;
/// Decoded segments that stay open for the next reader.
const CACHED: usize = 4;
/// So much of a file that begins with zeros is read to see whether it is all zeros (bytes).
const ZEROS_READ: u64 = 64 << 10;
/// Copies of one segment that are compared with each other.
const COMPARED: usize = 8;

/// What a segment must say to be of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalIdentity {
    /// Of pg_control.
    pub system_identifier: u64,
    /// Magic number of its WAL pages; `None`: the major's.
    pub magic: Option<u16>,
    /// The cluster's major; `None`: any known one's magic will do.
    pub major: Option<Major>,
}

impl WalIdentity {
    fn expected_magic(&self) -> Option<u16> {
        self.magic.or(self.major.map(Major::wal_magic))
    }
}

/// A file that by its name is a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file, perhaps compressed.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// A `.partial`.
    pub partial: bool,
}

/// A segment's file, uncompressed, whose first page is of this segment and of this cluster.
#[derive(Debug, Clone)]
pub struct Segment {
    file: Arc<File>,
    /// The file that it was read from; for a compressed one the archive's file.
    pub path: PathBuf,
    /// Length in bytes: the segment size, less only for a `.partial`.
    pub len: u64,
    /// Where it lay.
    pub place: Place,
    /// It was a `.partial`.
    pub partial: bool,
    /// Timeline in the header of its first page: the name's, or an ancestor's where the timeline began within it.
    pub page_timeline: TimelineId,
}

impl Segment {
    /// Reads at `offset` bytes into the segment; fewer bytes than asked for only at its end.
    ///
    /// # Errors
    /// As `pread`.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        read_full_at(&self.file, buf, offset)
    }

    /// The open file: the segment's own, or an anonymous one with what was decoded.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// Why a file is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Allocated in advance and never written.
    Zeros,
    /// An older segment's file under a future name: its first page is of this LSN and timeline.
    Recycled {
        /// Address in its first page.
        page: Lsn,
        /// Timeline in its first page.
        timeline: TimelineId,
    },
    /// Its first page says a later timeline than its name.
    LaterTimeline(TimelineId),
    /// Another cluster's system identifier.
    OtherSystem(u64),
    /// Another major's page magic.
    OtherMajor(u16),
    /// Another segment size in its header, bytes.
    SegmentSize(u32),
    /// Another page size in its header, bytes.
    PageSize(u32),
    /// The right magic, but no long header on its first page.
    NoLongHeader,
    /// Fewer bytes than a segment has.
    Short {
        /// Bytes there (uncompressed).
        len: u64,
        /// Bytes wanted.
        wanted: u64,
    },
    /// More bytes than a segment has.
    Long {
        /// The segment size in bytes.
        wanted: u64,
    },
    /// Neither WAL nor a compression that is known, in words.
    Unknown(String),
    /// It could not be decoded to its end: format, bytes decoded until then, the decoder's message.
    Broken(Format, u64, String),
    /// Not a regular file.
    NotAFile,
    /// It could not be opened or read.
    Unreadable(String),
    /// The restore command did not bring it.
    Restore(RestoreError),
}

impl Reason {
    /// The file may be the segment and was not seen: a gap that somebody can close, unlike a recycled file.
    pub const fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::Short { .. }
                | Self::Long { .. }
                | Self::Unknown(_)
                | Self::Broken(..)
                | Self::NotAFile
                | Self::Unreadable(_)
                | Self::NoLongHeader
        )
    }

    /// Allocated for later and not yet written: normal in a WAL directory, behind the end of WAL.
    pub const fn is_future(&self) -> bool {
        matches!(self, Self::Zeros | Self::Recycled { .. })
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zeros => write!(f, "all zeros"),
            Self::Recycled { page, timeline } => {
                write!(f, "recycled: its first page is of {page} on timeline {timeline}")
            }
            Self::LaterTimeline(t) => write!(f, "of timeline {t}, which is later than its name says"),
            Self::OtherSystem(id) => write!(f, "of another system, {id}"),
            Self::OtherMajor(magic) => match Major::from_wal_magic(*magic) {
                Some(major) => write!(f, "another major's magic {magic:04X} (PostgreSQL {major})"),
                None => write!(f, "an unknown magic {magic:04X}"),
            },
            Self::SegmentSize(n) => write!(f, "of another segment size, {n} bytes"),
            Self::PageSize(n) => write!(f, "of another page size, {n} bytes"),
            Self::NoLongHeader => write!(f, "its first page has no long header"),
            Self::Short { len, wanted } => write!(f, "short: {len} of {wanted} bytes"),
            Self::Long { wanted } => write!(f, "longer than a segment of {wanted} bytes"),
            Self::Unknown(what) | Self::Unreadable(what) => f.write_str(what),
            Self::Broken(format, len, e) => {
                write!(f, "damaged {} data after {len} bytes: {e}", format.name())
            }
            Self::NotAFile => write!(f, "not a regular file"),
            Self::Restore(e) => e.fmt(f),
        }
    }
}

/// A file that is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Timeline in the name.
    pub timeline: TimelineId,
    /// Number of the segment in the name.
    pub segno: u64,
    /// The file; for a restore command the name that it was asked for.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// Why it was not used.
    pub reason: Reason,
}

/// A segment that is there by its name, and of which no copy could be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {}", .rejected.iter().map(|r| format!("{}: {}", r.path.display(), r.reason)).collect::<Vec<_>>().join("; "))]
pub struct SegmentError {
    /// Name of the segment.
    pub name: String,
    /// Every copy, and what is wrong with it.
    pub rejected: Vec<Rejected>,
}

/// A history file, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// In its name.
    pub timeline: TimelineId,
    /// The file.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// It lies in the side's own WAL directory.
    pub own: bool,
    /// Its content.
    pub bytes: Vec<u8>,
}

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

#[derive(Debug, Default)]
struct State {
    rejected: BTreeMap<(TimelineId, u64), Vec<Rejected>>,
    /// Decoded segments, the last one used at the end.
    decoded: VecDeque<((TimelineId, u64), Segment)>,
    problems: Vec<(PathBuf, String)>,
}

/// What the restore command has brought; the directory goes away with the set.
#[derive(Debug, Default)]
struct Scratch {
    dir: Option<tempfile::TempDir>,
    brought: HashMap<String, Option<PathBuf>>,
}

/// All WAL that one side has: its own directory, archives, a restore command.
#[derive(Debug)]
pub struct WalSet {
    listing: Listing,
    restore: Option<RestoreCommand>,
    size: SegmentSize,
    identity: WalIdentity,
    state: Mutex<State>,
    scratch: Mutex<Scratch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `pread` until the buffer is full or the file ends.
fn read_full_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let wanted = buf.len();
    while !buf.is_empty() {
        match file.read_at(buf, offset) {
            Ok(0) => break,
            Ok(n) => {
                offset += n as u64;
                buf = buf.get_mut(n..).unwrap_or_default();
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(wanted - buf.len())
}

fn unreadable(e: &io::Error) -> Reason {
    Reason::Unreadable(format!("could not be read: {e}"))
}

/// Opens a regular file for reading; anything else (a FIFO would block) is refused first.
fn open_regular(path: &Path) -> Result<(File, u64), Reason> {
    let meta = std::fs::metadata(path).map_err(|e| unreadable(&e))?;
    if !meta.is_file() {
        return Err(Reason::NotAFile);
    }
    let file = File::open(path).map_err(|e| unreadable(&e))?;
    let len = file.metadata().map_err(|e| unreadable(&e))?.len();
    Ok((file, len))
}

impl WalSet {
    /// Lists `own` (the side's WAL directory or a link to it; it may be missing) and the archives with what is
    /// below them. What cannot be listed is in [`Self::problems`].
    pub fn new(
        own: &Path,
        archives: &[PathBuf],
        restore: Option<RestoreCommand>,
        size: SegmentSize,
        identity: WalIdentity,
    ) -> Self {
        let mut listing = Listing::new(size);
        listing.add(own, Place::Own);
        for (n, archive) in archives.iter().enumerate() {
            listing.add(archive, Place::Archive(n));
        }
        listing.finish();
        Self { listing, restore, size, identity, state: Mutex::default(), scratch: Mutex::default() }
    }

    /// An archive alone.
    pub fn of_archive(archive: &Path, size: SegmentSize, identity: WalIdentity) -> Self {
        let mut listing = Listing::new(size);
        listing.add(archive, Place::Archive(0));
        listing.finish();
        Self { listing, restore: None, size, identity, state: Mutex::default(), scratch: Mutex::default() }
    }

    /// Whether there is anything of this cluster: a segment among the first and last of each timeline that is its own
    /// (or too damaged to tell), or, without any segment, a history file.
    pub fn is_of_use(&self) -> bool {
        let timelines = self.timelines();
        if timelines.is_empty() {
            return !self.histories().is_empty();
        }
        timelines.iter().any(|&timeline| {
            let mut numbers: Vec<u64> = self.segments(timeline).take(2).collect();
            numbers.extend(self.segments(timeline).rev().take(2));
            numbers.into_iter().any(|segno| !matches!(self.open(timeline, segno), Ok(None)))
        })
    }

    /// Size of a segment.
    pub const fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// What a segment must say to be of this cluster.
    pub const fn identity(&self) -> WalIdentity {
        self.identity
    }

    /// The restore command, if one was given.
    pub const fn restore_command(&self) -> Option<&RestoreCommand> {
        self.restore.as_ref()
    }

    /// Files whose names say that they are this segment, best first: the own directory before archives, a whole
    /// one before a `.partial`. Nothing is opened.
    pub fn candidates(&self, timeline: TimelineId, segno: u64) -> Vec<Candidate> {
        let files = self.listing.files(timeline, segno);
        files.map(|(place, path, partial)| Candidate { path, place, partial }).collect()
    }

    /// Numbers of the segments of a timeline by their names, ascending. In an own WAL directory the last ones may
    /// be recycled files for later.
    pub fn segments(&self, timeline: TimelineId) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.listing.segments(timeline)
    }

    /// The first and last of [`Self::segments`].
    pub fn first_and_last(&self, timeline: TimelineId) -> Option<(u64, u64)> {
        let mut segments = self.segments(timeline);
        let first = segments.next()?;
        Some((first, segments.next_back().unwrap_or(first)))
    }

    /// Timelines of which there are segments by name, ascending.
    pub fn timelines(&self) -> Vec<TimelineId> {
        self.listing.timelines()
    }

    /// Directories that could not be listed and files that could not be read, each with a sentence.
    pub fn problems(&self) -> Vec<(PathBuf, String)> {
        let mut problems = self.listing.problems.clone();
        problems.extend(lock(&self.state).problems.iter().cloned());
        problems
    }

    /// Opens a segment: the first candidate whose content is what its name says, the restore command last. `None`
    /// means that it is nowhere: no file, or only recycled, zeroed or foreign ones (see [`Self::rejected_for`]).
    ///
    /// # Errors
    /// A copy may be the right one, and could not be read or decoded, and there is no other.
    pub fn open(&self, timeline: TimelineId, segno: u64) -> Result<Option<Segment>, SegmentError> {
        let key = (timeline, segno);
        {
            let mut state = lock(&self.state);
            if let Some(n) = state.decoded.iter().position(|(k, _)| *k == key)
                && let Some(hit) = state.decoded.remove(n)
            {
                let segment = hit.1.clone();
                state.decoded.push_back(hit);
                return Ok(Some(segment));
            }
        }
        for candidate in self.candidates(timeline, segno) {
            // an own file may be written to while we look; what lies in an archive stays as it is
            if candidate.place != Place::Own && self.was_rejected(key, &candidate.path) {
                continue;
            }
            match self.read_candidate(key, &candidate) {
                Ok(segment) => return Ok(Some(segment)),
                Err(reason) => self.reject(key, candidate.path, candidate.place, reason),
            }
        }
        let name = WalName::Segment(timeline, segno).file_name(self.size);
        match self.restored(&name) {
            Ok(Some(path)) => {
                let candidate = Candidate { path, place: Place::Restored, partial: false };
                match self.read_candidate(key, &candidate) {
                    Ok(segment) => return Ok(Some(segment)),
                    Err(reason) => self.reject(key, candidate.path, Place::Restored, reason),
                }
            }
            Ok(None) => {}
            Err(e) => self.reject(key, PathBuf::from(&name), Place::Restored, Reason::Restore(e)),
        }
        let rejected = self.rejected_for(timeline, segno);
        if rejected.iter().any(|r| r.reason.is_damage()) {
            return Err(SegmentError { name, rejected });
        }
        Ok(None)
    }

    /// Every place where a usable copy lies, judged by the first page (and the length, where it is not compressed);
    /// the restore command is run only where there is none.
    pub fn places(&self, timeline: TimelineId, segno: u64) -> Vec<Candidate> {
        let key = (timeline, segno);
        let mut places = Vec::new();
        for candidate in self.candidates(timeline, segno) {
            if candidate.place != Place::Own && self.was_rejected(key, &candidate.path) {
                continue;
            }
            match self.peek_candidate(key, &candidate) {
                Ok(()) => places.push(candidate),
                Err(reason) => self.reject(key, candidate.path, candidate.place, reason),
            }
        }
        if places.is_empty()
            && self.restore.is_some()
            && let Ok(Some(segment)) = self.open(timeline, segno)
        {
            places.push(Candidate { path: segment.path, place: segment.place, partial: segment.partial });
        }
        places
    }

    /// A copy that is damaged and yet begins as this segment (cut short, or a compressed file that breaks off), as
    /// far as it goes: its `len` is less than a segment's. For a reader that found no whole one.
    pub fn open_damaged(&self, timeline: TimelineId, segno: u64) -> Option<Segment> {
        let key = (timeline, segno);
        let mut best: Option<Segment> = None;
        for candidate in self.candidates(timeline, segno) {
            let lenient = Candidate { partial: true, ..candidate.clone() };
            if let Ok(mut segment) = self.read_candidate(key, &lenient) {
                segment.partial = candidate.partial;
                if best.as_ref().is_none_or(|b| b.len < segment.len) {
                    best = Some(segment);
                }
            }
        }
        best
    }

    /// Every file that was looked at and not used, by timeline and segment.
    pub fn rejected(&self) -> Vec<Rejected> {
        lock(&self.state).rejected.values().flatten().cloned().collect()
    }

    /// Files of this segment that were looked at and not used, in the order in which they were tried.
    pub fn rejected_for(&self, timeline: TimelineId, segno: u64) -> Vec<Rejected> {
        lock(&self.state).rejected.get(&(timeline, segno)).cloned().unwrap_or_default()
    }

    fn was_rejected(&self, key: (TimelineId, u64), path: &Path) -> bool {
        lock(&self.state).rejected.get(&key).is_some_and(|r| r.iter().any(|r| r.path == path))
    }

    fn reject(&self, (timeline, segno): (TimelineId, u64), path: PathBuf, place: Place, reason: Reason) {
        let mut state = lock(&self.state);
        let list = state.rejected.entry((timeline, segno)).or_default();
        match list.iter_mut().find(|r| r.path == path) {
            Some(known) => known.reason = reason,
            None => list.push(Rejected { timeline, segno, path, place, reason }),
        }
    }

    /// The timeline of the first page, if `head` is the beginning of this segment's file.
    fn judge(&self, (timeline, segno): (TimelineId, u64), head: &[u8]) -> Result<TimelineId, Reason> {
        let wanted = self.size.bytes();
        let bytes = Bytes::new(head);
        let short = |_| Reason::Short { len: head.len() as u64, wanted };
        let magic = bytes.u16_at(0).map_err(short)?;
        let known = match self.identity.expected_magic() {
            Some(expected) => expected == magic,
            None => Major::from_wal_magic(magic).is_some(),
        };
        if !known {
            return Err(Reason::OtherMajor(magic));
        }
        let info = bytes.u16_at(2).map_err(short)?;
        let page_timeline = bytes.u32_at(4).map_err(short)?;
        let page = Lsn(bytes.u64_at(8).map_err(short)?);
        if info & HAS_LONG_HEADER == 0 {
            return Err(Reason::NoLongHeader);
        }
        let system = bytes.u64_at(24).map_err(short)?;
        let size = bytes.u32_at(32).map_err(short)?;
        let page_size = bytes.u32_at(36).map_err(short)?;
        if system != self.identity.system_identifier {
            return Err(Reason::OtherSystem(system));
        }
        if u64::from(size) != self.size.bytes() {
            return Err(Reason::SegmentSize(size));
        }
        if page_size as usize != PAGE_SIZE {
            return Err(Reason::PageSize(page_size));
        }
        if page != self.size.start(segno) {
            return Err(Reason::Recycled { page, timeline: page_timeline });
        }
        if page_timeline > timeline {
            return Err(Reason::LaterTimeline(page_timeline));
        }
        Ok(page_timeline)
    }

    /// A length that a file may have, uncompressed.
    fn check_len(&self, len: u64, partial: bool) -> Result<(), Reason> {
        let wanted = self.size.bytes();
        if len > wanted {
            return Err(Reason::Long { wanted });
        }
        if len < wanted && !(partial && len >= PAGE_SIZE as u64) {
            return Err(Reason::Short { len, wanted });
        }
        Ok(())
    }

    /// What to make of a file by its first bytes: WAL, compressed, or a reason.
    fn sniff(&self, file: &File, len: u64, head: &[u8]) -> Result<Option<Format>, Reason> {
        match head {
            [] => Err(Reason::Short { len: 0, wanted: self.size.bytes() }),
            [_, 0xD0 | 0xD1, ..] => Ok(None),
            _ if Format::detect(head).is_some() => Ok(Format::detect(head)),
            _ if head.iter().all(|b| *b == 0) => {
                if len < self.size.bytes() {
                    return Err(Reason::Short { len, wanted: self.size.bytes() });
                }
                let mut buffer = vec![0; 64 << 10];
                let mut at = 0;
                while at < ZEROS_READ {
                    let n = read_full_at(file, &mut buffer, at).map_err(|e| unreadable(&e))?;
                    if n == 0 {
                        break;
                    }
                    if let Some(first) = buffer.iter().take(n).position(|b| *b != 0) {
                        let first = at + first as u64;
                        return Err(Reason::Unknown(format!(
                            "begins with {first} zero bytes instead of a page"
                        )));
                    }
                    at += n as u64;
                }
                Err(Reason::Zeros)
            }
            _ => Err(Reason::Unknown(compress::describe_unknown(head))),
        }
    }

    fn read_candidate(&self, key: (TimelineId, u64), candidate: &Candidate) -> Result<Segment, Reason> {
        let (file, len) = open_regular(&candidate.path)?;
        let mut head = [0; LONG_HEADER];
        let n = read_full_at(&file, &mut head, 0).map_err(|e| unreadable(&e))?;
        let head = head.get(..n).unwrap_or_default();
        let Some(format) = self.sniff(&file, len, head)? else {
            let page_timeline = self.judge(key, head)?;
            self.check_len(len, candidate.partial)?;
            return Ok(Self::segment(candidate, file, len, page_timeline));
        };
        let scratch =
            |e: &io::Error| Reason::Unreadable(format!("could not be decoded into a temporary file: {e}"));
        let mut out = tempfile::tempfile().map_err(|e| scratch(&e))?;
        let wanted = self.size.bytes();
        let len = match compress::copy(format, &file, wanted, &mut out).map_err(|e| scratch(&e))? {
            Copied::All(len) => len,
            Copied::TooMuch => return Err(Reason::Long { wanted }),
            // what pg_receivewal compresses has no end while it writes
            Copied::Broken(len, _) if candidate.partial && len >= PAGE_SIZE as u64 => len,
            Copied::Broken(len, e) => return Err(Reason::Broken(format, len, e.to_string())),
        };
        let mut head = [0; LONG_HEADER];
        let n = read_full_at(&out, &mut head, 0).map_err(|e| scratch(&e))?;
        let head = head.get(..n).unwrap_or_default();
        if self.sniff(&out, len, head)?.is_some() {
            return Err(Reason::Unknown("compressed twice".into()));
        }
        let page_timeline = self.judge(key, head)?;
        self.check_len(len, candidate.partial)?;
        let segment = Self::segment(candidate, out, len, page_timeline);
        let mut state = lock(&self.state);
        state.decoded.push_back((key, segment.clone()));
        if state.decoded.len() > CACHED {
            state.decoded.pop_front();
        }
        Ok(segment)
    }

    fn segment(candidate: &Candidate, file: File, len: u64, page_timeline: TimelineId) -> Segment {
        Segment {
            file: Arc::new(file),
            path: candidate.path.clone(),
            len,
            place: candidate.place,
            partial: candidate.partial,
            page_timeline,
        }
    }

    fn peek_candidate(&self, key: (TimelineId, u64), candidate: &Candidate) -> Result<(), Reason> {
        let (file, len) = open_regular(&candidate.path)?;
        let mut head = [0; LONG_HEADER];
        let n = read_full_at(&file, &mut head, 0).map_err(|e| unreadable(&e))?;
        let head = head.get(..n).unwrap_or_default();
        let Some(format) = self.sniff(&file, len, head)? else {
            self.judge(key, head)?;
            return self.check_len(len, candidate.partial);
        };
        let (head, error) = compress::head(format, &file, LONG_HEADER);
        match (head.len(), error) {
            (LONG_HEADER, _) => self.judge(key, &head).map(drop),
            (n, Some(e)) => Err(Reason::Broken(format, n as u64, e.to_string())),
            (n, None) => Err(Reason::Short { len: n as u64, wanted: self.size.bytes() }),
        }
    }

    /// The file that the restore command brought under this name; it is run once for each.
    fn restored(&self, name: &str) -> Result<Option<PathBuf>, RestoreError> {
        let Some(command) = &self.restore else { return Ok(None) };
        // one run at a time, as a server would
        let mut scratch = lock(&self.scratch);
        if let Some(known) = scratch.brought.get(name) {
            return Ok(known.clone());
        }
        if command.hung() {
            let stderr = ": not run again after it hung".into();
            return Err(RestoreError::TimedOut { after: std::time::Duration::ZERO, stderr });
        }
        let not_started = |e: io::Error| RestoreError::NotStarted(format!("no scratch directory: {e}"));
        if scratch.dir.is_none() {
            let dir = tempfile::Builder::new().prefix("forkpoint-wal-").tempdir().map_err(not_started)?;
            scratch.dir = Some(dir);
        }
        let Some(dir) = &scratch.dir else { return Ok(None) };
        let path = dir.path().join(name);
        let result = command.run(name, &path);
        scratch.brought.insert(name.to_owned(), result.is_ok().then(|| path.clone()));
        result.map(|()| Some(path))
    }

    /// All history files, the own directory's first, uncompressed. One that cannot be read is left out and told in
    /// [`Self::problems`].
    pub fn histories(&self) -> Vec<HistoryFile> {
        self.history_files(None)
    }

    /// History files of one timeline; where there is none, the restore command is asked.
    pub fn histories_of(&self, timeline: TimelineId) -> Vec<HistoryFile> {
        let mut found = self.history_files(Some(timeline));
        if found.is_empty() {
            let name = WalName::History(timeline).file_name(self.size);
            match self.restored(&name) {
                Ok(Some(path)) => {
                    found.extend(self.history_file(timeline, &path, Place::Restored));
                }
                Ok(None) => {}
                Err(e) => self.problem(PathBuf::from(name), e.to_string()),
            }
        }
        found
    }

    /// Records of base backups (`….backup`): name, path, content.
    pub fn backup_records(&self) -> Vec<(WalName, PathBuf, Vec<u8>)> {
        let named = self.listing.named.iter().filter(|n| matches!(n.name, WalName::Backup(..)));
        named.filter_map(|n| Some((n.name, n.path.clone(), self.small_file(&n.path)?))).collect()
    }

    fn history_files(&self, only: Option<TimelineId>) -> Vec<HistoryFile> {
        let named = self.listing.named.iter().filter_map(|n| match n.name {
            WalName::History(timeline) if only.is_none_or(|o| o == timeline) => Some((timeline, n)),
            _ => None,
        });
        named.filter_map(|(timeline, n)| self.history_file(timeline, &n.path, n.place)).collect()
    }

    fn history_file(&self, timeline: TimelineId, path: &Path, place: Place) -> Option<HistoryFile> {
        let bytes = self.small_file(path)?;
        Some(HistoryFile { timeline, path: path.to_path_buf(), place, own: place == Place::Own, bytes })
    }

    fn small_file(&self, path: &Path) -> Option<Vec<u8>> {
        match read_small(path, HISTORY_LIMIT) {
            Ok(bytes) => Some(bytes),
            Err(reason) => {
                self.problem(path.to_path_buf(), reason.to_string());
                None
            }
        }
    }

    fn problem(&self, path: PathBuf, what: String) {
        let mut state = lock(&self.state);
        if !state.problems.iter().any(|(p, w)| *p == path && *w == what) {
            state.problems.push((path, what));
        }
    }

    /// Copies of this side's segments and histories with one name and different content, see [`conflicts`].
    pub fn conflicts(&self, names: &[WalName]) -> Vec<Conflict> {
        conflicts(&[self], names)
    }
}

/// A small file's content, decompressed, at most `limit` bytes.
fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Reason> {
    let (file, _) = open_regular(path)?;
    let mut head = [0; 16];
    let n = read_full_at(&file, &mut head, 0).map_err(|e| unreadable(&e))?;
    let mut bytes = Vec::new();
    match Format::detect(head.get(..n).unwrap_or_default()) {
        None => {
            (&file).take(limit + 1).read_to_end(&mut bytes).map_err(|e| unreadable(&e))?;
        }
        Some(format) => {
            if let Copied::Broken(len, e) =
                compress::copy(format, &file, limit, &mut bytes).map_err(|e| unreadable(&e))?
            {
                return Err(Reason::Broken(format, len, e.to_string()));
            }
        }
    }
    if bytes.len() as u64 > limit {
        return Err(Reason::Long { wanted: limit });
    }
    Ok(bytes)
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
            if candidate.partial || known || copies.len() >= COMPARED {
                continue;
            }
            match set.read_candidate((timeline, segno), &candidate) {
                Ok(segment) => copies.push(segment),
                Err(reason) => set.reject((timeline, segno), candidate.path, candidate.place, reason),
            }
        }
    }
    let start = size.start(segno);
    for (n, a) in copies.iter().enumerate() {
        for b in copies.iter().skip(n + 1) {
            let Ok(Some(offset)) = first_difference(a, b) else { continue };
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
fn first_difference(one: &Segment, other: &Segment) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let n = one.read_at(at, &mut left)?.min(other.read_at(at, &mut right)?);
        let (left, right) = (left.get(..n).unwrap_or_default(), right.get(..n).unwrap_or_default());
        if left != right {
            return Ok(left.iter().zip(right).position(|(x, y)| x != y).map(|i| at + i as u64));
        }
        if n == 0 {
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::{Duration, Instant};

    use super::*;

    const SYSTEM: u64 = 7_301_234_567_890_123_456;
    const MB: u64 = 1 << 20;

    fn size() -> SegmentSize {
        SegmentSize::new(1 << 20).unwrap()
    }

    fn identity() -> WalIdentity {
        WalIdentity { system_identifier: SYSTEM, magic: None, major: Some(Major::V17) }
    }

    /// A segment with good page headers on its first `pages` pages, all else zeros.
    fn segment(timeline: u32, segno: u64, pages: usize) -> Vec<u8> {
        let mut bytes = vec![0; MB as usize];
        for n in 0..pages {
            let page = &mut bytes[n * PAGE_SIZE..(n + 1) * PAGE_SIZE];
            page[..2].copy_from_slice(&Major::V17.wal_magic().to_le_bytes());
            page[2] = if n == 0 { 2 } else { 0 };
            page[4..8].copy_from_slice(&timeline.to_le_bytes());
            page[8..16].copy_from_slice(&(segno * MB + (n * PAGE_SIZE) as u64).to_le_bytes());
            if n == 0 {
                page[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
                page[32..36].copy_from_slice(&(MB as u32).to_le_bytes());
                page[36..40].copy_from_slice(&8192_u32.to_le_bytes());
            }
        }
        bytes
    }

    /// Puts a record of `len` bytes at `at` whose content follows from `seed`; its end, aligned.
    fn record(bytes: &mut [u8], start: u64, at: usize, prev: usize, len: usize, seed: u8) -> usize {
        let prev = if prev == 0 { start - 100 } else { start + prev as u64 };
        bytes[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
        bytes[at + 8..at + 16].copy_from_slice(&prev.to_le_bytes());
        bytes[at + 24..at + len].fill(seed);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at + 24..at + len]), &bytes[at..at + 20]);
        bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
        (at + len).next_multiple_of(8)
    }

    fn name(segno: u64) -> String {
        WalName::Segment(1, segno).file_name(size())
    }

    struct Place3 {
        dir: tempfile::TempDir,
    }

    impl Place3 {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for sub in ["pg_wal", "a", "b"] {
                std::fs::create_dir(dir.path().join(sub)).unwrap();
            }
            Self { dir }
        }

        fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
            let path = self.dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            path
        }

        fn set(&self, restore: Option<&str>) -> WalSet {
            let at = |sub| self.dir.path().join(sub);
            let restore =
                restore.map(|c| RestoreCommand::new(c).unwrap().with_timeout(Duration::from_millis(400)));
            WalSet::new(&at("pg_wal"), &[at("a"), at("b")], restore, size(), identity())
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    fn lz4(bytes: &[u8]) -> Vec<u8> {
        let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
        out.write_all(bytes).unwrap();
        out.finish().unwrap()
    }

    #[test]
    fn the_first_usable_copy_wins_and_the_others_are_told() {
        let p = Place3::new();
        p.put(&format!("pg_wal/{}", name(7)), &segment(1, 5, 3)); // recycled
        let mut other = segment(1, 7, 3);
        other[24] ^= 1;
        p.put(&format!("a/{}", name(7)), &other);
        let good = p.put(&format!("b/0000000100000000/{}.gz", name(7)), &gzip(&segment(1, 7, 128)));
        let set = p.set(None);
        assert_eq!(set.candidates(1, 7).len(), 3);
        assert_eq!(set.first_and_last(1), Some((7, 7)));
        let found = set.open(1, 7).unwrap().unwrap();
        assert_eq!((found.path.clone(), found.len, found.place), (good, MB, Place::Archive(1)));
        let mut page = [0; 16];
        assert_eq!(found.read_at(8192, &mut page).unwrap(), 16);
        assert_eq!(u64::from_le_bytes(page[8..].try_into().unwrap()), 7 * MB + 8192);
        assert_eq!(found.read_at(MB - 4, &mut page).unwrap(), 4);
        assert_eq!(found.read_at(MB + 4, &mut page).unwrap(), 0);
        let reasons: Vec<String> = set.rejected_for(1, 7).iter().map(|r| r.reason.to_string()).collect();
        assert_eq!(
            reasons,
            [
                "recycled: its first page is of 0/500000 on timeline 1".into(),
                format!("of another system, {}", SYSTEM ^ 1)
            ]
        );
        // again: from the cache, and nothing told twice
        assert!(set.open(1, 7).unwrap().is_some());
        assert_eq!(set.rejected().len(), 2);
        assert_eq!(set.places(1, 7).len(), 1);
        assert!(set.open(1, 8).unwrap().is_none());
        assert!(set.open(9, 8).unwrap().is_none());
    }

    #[test]
    fn every_reason() {
        let p = Place3::new();
        let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = segment(1, 3, 2);
            edit(&mut bytes);
            bytes
        };
        let mut damaged = gzip(&segment(1, 3, 2));
        damaged.truncate(damaged.len() / 2);
        let long = gzip(&[segment(1, 3, 2), vec![0; 1]].concat());
        let cases: Vec<(Vec<u8>, &str, bool)> = vec![
            (vec![], "short: 0 of 1048576 bytes", true),
            (segment(1, 3, 2)[..4096].to_vec(), "short: 4096 of 1048576 bytes", true),
            (segment(1, 3, 2)[..20].to_vec(), "short: 20 of 1048576 bytes", true),
            (edited(&|b| b.push(0)), "longer than a segment of 1048576 bytes", true),
            (long, "longer than a segment of 1048576 bytes", true),
            (gzip(&segment(1, 3, 2)[..9000]), "short: 9000 of 1048576 bytes", true),
            (vec![0; MB as usize], "all zeros", false),
            (edited(&|b| b[..64].fill(0)), "begins with 8192 zero bytes instead of a page", true),
            (
                edited(&|b| b[..2].copy_from_slice(&[0x10, 0xD1])),
                "another major's magic D110 (PostgreSQL 15)",
                false,
            ),
            (edited(&|b| b[..2].copy_from_slice(&[0xFE, 0xD1])), "an unknown magic D1FE", false),
            (edited(&|b| b[4] = 2), "of timeline 2, which is later than its name says", false),
            (edited(&|b| b[2] = 0), "its first page has no long header", true),
            (edited(&|b| b[34] = 1), "of another segment size, 65536 bytes", false),
            (edited(&|b| b[37] = 0x40), "of another page size, 16384 bytes", false),
            (
                b"Salted__12345678 and so on".to_vec(),
                "encrypted by OpenSSL, as pgBackRest does (starts with 53 61 6C 74 65 64 5F 5F)",
                true,
            ),
            (
                b"nothing known".to_vec(),
                "encrypted or of an unknown compression, starts with 6E 6F 74 68 69 6E 67 20",
                true,
            ),
        ];
        for (bytes, reason, is_error) in cases {
            p.put(&format!("a/{}", name(3)), &bytes);
            let set = p.set(None);
            assert!(
                set.places(1, 3).is_empty() || reason.starts_with("short: 9000") || bytes[0] == 0x1F,
                "{reason}"
            );
            let set = p.set(None);
            assert_eq!(set.open(1, 3).is_err(), is_error, "{reason}");
            assert_eq!(set.rejected_for(1, 3)[0].reason.to_string(), reason);
        }
        p.put(&format!("a/{}", name(3)), &damaged);
        let set = p.set(None);
        let error = set.open(1, 3).unwrap_err().to_string();
        assert!(error.contains(&name(3)) && error.contains("damaged gzip data after"), "{error}");

        std::fs::remove_file(p.dir.path().join("a").join(name(3))).unwrap();
        std::fs::create_dir(p.dir.path().join("a").join(name(3))).unwrap();
        std::os::unix::fs::symlink("/dev/zero", p.dir.path().join("b").join(name(3))).unwrap();
        std::os::unix::fs::symlink("nowhere", p.dir.path().join("pg_wal").join(name(3))).unwrap();
        let fifo = p.dir.path().join("b").join(name(4));
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        let set = p.set(None);
        let error = set.open(1, 3).unwrap_err().to_string();
        assert!(
            error.contains("not a regular file") && error.contains("could not be read: No such file"),
            "{error}"
        );
        assert!(set.open(1, 4).unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn partials_and_damaged_copies() {
        let p = Place3::new();
        p.put(&format!("a/{}.partial", name(3)), &segment(1, 3, 2)[..3 * PAGE_SIZE]);
        let mut whole = segment(1, 4, 128);
        for (n, b) in whole.iter_mut().enumerate().filter(|(n, _)| n % PAGE_SIZE >= LONG_HEADER) {
            *b = ((n as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
        }
        let packed = gzip(&whole);
        p.put(&format!("a/{}.gz.partial", name(4)), &packed[..packed.len() / 2]);
        p.put(&format!("b/{}", name(5)), &segment(1, 5, 128)[..500_000]);
        let set = p.set(None);
        let found = set.open(1, 3).unwrap().unwrap();
        assert!(found.partial && found.len == 3 * PAGE_SIZE as u64);
        assert!(set.open(1, 4).unwrap().unwrap().len < MB);
        assert!(set.open(1, 5).is_err());
        assert_eq!(set.open_damaged(1, 5).unwrap().len, 500_000);
        // a whole one is preferred, in whichever archive
        p.put(&format!("b/{}", name(3)), &segment(1, 3, 2));
        assert!(!p.set(None).open(1, 3).unwrap().unwrap().partial);
    }

    #[test]
    fn the_restore_command_comes_last_and_once() {
        let p = Place3::new();
        p.put(&format!("store/{}", name(9)), &gzip(&segment(1, 9, 2)));
        p.put(&format!("store/{}", name(10)), &segment(1, 4, 2));
        p.put("store/00000002.history", b"1\t0/300000\tno recovery target specified\n");
        let root = p.dir.path().display().to_string();
        let set = p.set(Some(&format!("echo %f >> {root}/runs; cp {root}/store/%f %p")));
        let found = set.open(1, 9).unwrap().unwrap();
        assert_eq!(found.place, Place::Restored);
        assert_eq!(set.places(1, 9)[0].place, Place::Restored);
        assert!(set.open(1, 9).unwrap().is_some());
        assert!(set.open(1, 10).unwrap().is_none());
        assert!(set.open(1, 11).unwrap().is_none() && set.open(1, 11).unwrap().is_none());
        let reason = set.rejected_for(1, 11)[0].reason.to_string();
        assert!(reason.starts_with("restore command: exit status 1: cp: cannot stat"), "{reason}");
        assert_eq!(set.histories_of(2)[0].bytes.len(), 40);
        assert!(set.histories_of(3).is_empty());
        let runs = std::fs::read_to_string(p.dir.path().join("runs")).unwrap();
        let wanted = [name(9), name(10), name(11), "00000002.history".into(), "00000003.history".into()];
        assert_eq!(runs.lines().collect::<Vec<_>>(), wanted);
        assert!(std::fs::read_dir(p.dir.path().join("pg_wal")).unwrap().next().is_none());
    }

    #[test]
    fn a_restore_command_that_hangs_is_not_run_again() {
        let p = Place3::new();
        let set = p.set(Some("sleep 100"));
        let started = Instant::now();
        for segno in 0..20 {
            assert!(set.open(1, segno).unwrap().is_none());
        }
        assert!(started.elapsed() < Duration::from_secs(5));
        let reason = set.rejected_for(1, 0)[0].reason.to_string();
        assert!(reason.contains("killed after 0.4 s"), "{reason}");
    }

    #[test]
    fn layouts_links_and_loops() {
        let p = Place3::new();
        let sha = "0123456789abcdef0123456789abcdef01234567";
        p.put(
            &format!("a/archive/main/17-1/0000000100000000/{}-{sha}.gz", name(3)),
            &gzip(&segment(1, 3, 2)),
        );
        p.put(&format!("a/archive/main/17-1/00000002.history-{sha}.gz"), &gzip(b"1\t0/3\tx\n"));
        p.put(&format!("a/backup/main/{}", name(4)), &segment(1, 4, 2));
        p.put(&format!("a/srv/wals/0000000100000000/{}", name(5)), &lz4(&segment(1, 5, 2)));
        p.put(&format!("real/{}", name(6)), &segment(1, 6, 2));
        p.put("pg_wal/00000003.history", b"1\t0/4\ty\n");
        p.put("pg_wal/000000010000000000000002.00000028.backup", b"START WAL LOCATION");
        let at = |sub: &str| p.dir.path().join(sub);
        std::os::unix::fs::symlink(at("a"), at("a/srv/loop")).unwrap();
        std::os::unix::fs::symlink("loop2", at("a/loop2")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("b/link")).unwrap();
        std::os::unix::fs::symlink(at("pg_wal"), at("b/own")).unwrap();
        let set = p.set(None);
        assert_eq!(set.timelines(), [1]);
        assert_eq!(set.segments(1).collect::<Vec<_>>(), [3, 5, 6]);
        for segno in [3, 5, 6] {
            assert!(set.open(1, segno).unwrap().is_some(), "{segno}");
        }
        let histories = set.histories();
        assert_eq!(
            histories.iter().map(|h| (h.timeline, h.own)).collect::<Vec<_>>(),
            [(3, true), (2, false)]
        );
        assert_eq!(histories[1].bytes, b"1\t0/3\tx\n");
        assert_eq!(set.backup_records().len(), 1);
        assert_eq!(set.problems(), []);
        // names with more than 255 in their last part are of segments smaller than 16 MB
        p.put("pg_wal/000000010000000000000ABC", b"");
        let set = WalSet::new(&at("pg_wal"), &[], None, SegmentSize::DEFAULT, identity());
        assert!(set.problems()[0].1.contains("another segment size"), "{:?}", set.problems());
        // a missing directory is told
        let set = WalSet::new(&at("nowhere"), &[at("gone")], None, size(), identity());
        assert_eq!(set.problems().len(), 2);
        assert!(set.open(1, 3).unwrap().is_none());
    }

    #[test]
    fn many_names_are_listed_fast() {
        let p = Place3::new();
        for segno in 0..20_000 {
            File::create(p.dir.path().join("pg_wal").join(name(segno))).unwrap();
        }
        let started = Instant::now();
        let set = p.set(None);
        let took = started.elapsed();
        assert_eq!(set.first_and_last(1), Some((0, 19_999)));
        assert_eq!(set.segments(1).count(), 20_000);
        assert_eq!(set.candidates(1, 12_345).len(), 1);
        assert!(took < Duration::from_secs(1), "{took:?}");
        eprintln!("20,000 names: {took:?}");
    }

    #[test]
    fn conflicts_are_told_from_older_copies() {
        let start = 3 * MB;
        // three records on page 0, then a good page 1 where `pages` is 2
        let wal = |pages: usize, seeds: &[u8]| {
            let mut bytes = segment(1, 3, pages);
            let (mut at, mut prev) = (LONG_HEADER, 0);
            for seed in seeds {
                let end = record(&mut bytes, start, at, prev, 200, *seed);
                (prev, at) = (at, end);
            }
            bytes
        };
        let verdict = |a: &[u8], b: &[u8]| {
            let p = Place3::new();
            p.put(&format!("pg_wal/{}", name(3)), a);
            p.put(&format!("a/{}.gz", name(3)), &gzip(b));
            let found = p.set(None).conflicts(&[WalName::Segment(1, 3), WalName::History(2)]);
            found.first().map(|c| c.offset)
        };
        let base = wal(1, &[1, 2, 3]);
        assert_eq!(verdict(&base, &base), None);
        assert_eq!(verdict(&wal(1, &[1, 2]), &base), None, "a prefix with zeros behind it");
        // prefix with what a recycled file held behind it: no record of this place
        let mut stale = wal(1, &[1, 2, 3]);
        stale[LONG_HEADER + 400..LONG_HEADER + 3000].fill(0xAB);
        assert_eq!(verdict(&stale, &base), None, "a prefix with junk behind it");
        let third = LONG_HEADER as u64 + 400;
        assert_eq!(verdict(&wal(1, &[1, 2, 9]), &base), Some(third + 20), "another third record");
        assert_eq!(verdict(&wal(2, &[1, 9, 3]), &wal(2, &[1, 2, 3])), Some(third - 200 + 20));
        // both live, and a page further on that only one has
        assert_eq!(verdict(&wal(2, &[1, 2, 3]), &base), None);
        let p = Place3::new();
        p.put("pg_wal/00000002.history", b"1\t0/300000\tx\n");
        p.put("b/00000002.history.gz", &gzip(b"1\t0/400000\tx\n"));
        let found = p.set(None).conflicts(&[WalName::History(2)]);
        assert_eq!((found.len(), found[0].offset), (1, 4));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
        #[test]
        fn junk_files_never_panic(junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100), keep in 0..40_usize) {
            let p = Place3::new();
            let mut bytes = segment(1, 3, 2);
            bytes[keep..keep + junk.len()].copy_from_slice(&junk);
            p.put(&format!("pg_wal/{}", name(3)), &bytes);
            p.put(&format!("a/{}", name(3)), &segment(1, 3, 2));
            let set = p.set(None);
            let _ = (set.open(1, 3), set.places(1, 3), set.conflicts(&[WalName::Segment(1, 3)]));
        }
    }
}
