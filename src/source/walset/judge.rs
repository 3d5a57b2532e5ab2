//! What a file that bears a segment's name really is.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{CACHED, Candidate, RestoreError, Segment, WalSet, lock};
use crate::pg::bytes::Bytes;
use crate::pg::{Lsn, Major, TimelineId};
use crate::source::compress::{self, Copied, Format};
use crate::wal::PAGE_SIZE;

/// Length of the header of a segment's first page (`SizeOfXLogLongPHD`).
pub(super) const LONG_HEADER: usize = 40;
/// `XLP_LONG_HEADER`.
const HAS_LONG_HEADER: u16 = 2;
/// So much of a file that begins with zeros is read to see whether it is all zeros (bytes).
const ZEROS_READ: u64 = 64 << 10;

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

/// `pread` until the buffer is full or the file ends.
pub(super) fn read_full_at(file: &File, mut buf: &mut [u8], mut offset: u64) -> io::Result<usize> {
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

/// A file until the work is to stop: a large segment takes a second to decode.
struct Until<'a> {
    out: &'a mut File,
    cancel: &'a AtomicBool,
}

impl Write for Until<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl WalSet {
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

    pub(super) fn read_candidate(
        &self,
        key: (TimelineId, u64),
        candidate: &Candidate,
    ) -> Result<Segment, Reason> {
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
        let mut until = Until { out: &mut out, cancel: &self.cancel };
        let len = match compress::copy(format, &file, wanted, &mut until).map_err(|e| scratch(&e))? {
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

    pub(super) fn peek_candidate(&self, key: (TimelineId, u64), candidate: &Candidate) -> Result<(), Reason> {
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
}

/// A small file's content, decompressed, at most `limit` bytes.
pub(super) fn read_small(path: &Path, limit: u64) -> Result<Vec<u8>, Reason> {
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
