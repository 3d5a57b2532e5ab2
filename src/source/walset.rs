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
const ZEROS_READ: u64 = 16 << 20;
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
    hung: bool,
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
            return Ok(self.segment(candidate, file, len, page_timeline));
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
        let segment = self.segment(candidate, out, len, page_timeline);
        let mut state = lock(&self.state);
        state.decoded.push_back((key, segment.clone()));
        if state.decoded.len() > CACHED {
            state.decoded.pop_front();
        }
        Ok(segment)
    }

    #[allow(clippy::unused_self)]
    fn segment(&self, candidate: &Candidate, file: File, len: u64, page_timeline: TimelineId) -> Segment {
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
        if scratch.hung {
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
        scratch.hung = matches!(result, Err(RestoreError::TimedOut { .. }));
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
fn first_difference(a: &Segment, b: &Segment) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; 128 << 10], vec![0; 128 << 10]);
    let mut at = 0;
    loop {
        let n = a.read_at(at, &mut left)?.min(b.read_at(at, &mut right)?);
        let (l, r) = (left.get(..n).unwrap_or_default(), right.get(..n).unwrap_or_default());
        if l != r {
            return Ok(l.iter().zip(r).position(|(x, y)| x != y).map(|i| at + i as u64));
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
            (Ok(prev), None) => prev < page_at.0 + at as u64,
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
