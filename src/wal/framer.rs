//! Pages in, records out: the one place that knows how records lie on pages.
//!
//! A [`Framer`] is fed the pages of a stretch of WAL in order and hands every valid record to a [`Sink`]. Records that
//! lie on one page are lent where they stand; of longer ones only the headers are kept, unless the sink wants them
//! whole, while the CRC runs over all of it.

use crate::pg::{Lsn, TimelineId};

use super::page::{Format, PageHeader};
use super::record::{HEADER_SIZE, MAX_HEADERS, MAX_LENGTH, Record};
use super::rmgr::{self, id, op};
use super::{PAGE_SIZE, Problem, crc};

/// Takes the records that a [`Framer`] finds.
pub trait Sink {
    /// Whether a record that lies on several pages is to be given whole. All block headers are given in any case.
    fn wants_whole(&self, rmid: u8, info: u8) -> bool;

    /// Records of this resource manager that are longer, in bytes, are not given whole all the same.
    fn longest(&self, _rmid: u8) -> u32 {
        MAX_LENGTH
    }

    /// Takes a valid record; false stops the framer behind it.
    fn record(&mut self, record: &Record<'_>) -> bool;
}

/// What to do after a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Feed the next page.
    More,
    /// The limit was reached, or the sink has enough.
    Done,
}

/// Where the framer stands between two pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Begin with the record at this position.
    At(Lsn),
    /// Begin with the first record that starts on the page, skipping the rest of an earlier one.
    Resync,
    /// The next record starts on the next page.
    Between,
    /// In the middle of a record.
    Partial,
    /// Behind a segment switch: the next record starts at this position.
    Switched(Lsn),
}

#[derive(Debug, Default)]
struct Partial {
    lsn: Lsn,
    total: u32,
    got: u32,
    crc: u32,
    whole: bool,
    bytes: Vec<u8>,
}

/// Finds the records on a run of pages.
#[derive(Debug)]
pub struct Framer {
    format: Format,
    limit: Lsn,
    state: State,
    partial: Partial,
    timeline: TimelineId,
    newest: TimelineId,
    prev: Lsn,
    next: Lsn,
    first: Option<(Lsn, Lsn)>,
}

struct Header {
    total: u32,
    xid: u32,
    prev: Lsn,
    info: u8,
    rmid: u8,
    crc: u32,
}

impl Header {
    #[inline]
    fn read(b: &[u8; HEADER_SIZE]) -> Self {
        Self {
            total: u32::from_le_bytes([b[0], b[1], b[2], b[3]]),
            xid: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            prev: Lsn(u64::from_le_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]])),
            info: b[16],
            rmid: b[17],
            crc: u32::from_le_bytes([b[20], b[21], b[22], b[23]]),
        }
    }
}

impl Framer {
    /// Reads from the record that starts at `start` (its page is to be fed first). A position at a page's start means
    /// the first record behind the page's header. Records at or behind `limit` are not begun.
    pub fn at(format: Format, start: Lsn, limit: Lsn) -> Self {
        Self::new(format, State::At(start), limit)
    }

    /// Reads from the first record that starts on the first page fed or behind it.
    pub fn resync(format: Format, limit: Lsn) -> Self {
        Self::new(format, State::Resync, limit)
    }

    fn new(format: Format, state: State, limit: Lsn) -> Self {
        Self {
            format,
            limit,
            state,
            partial: Partial::default(),
            timeline: 0,
            newest: TimelineId::MAX,
            prev: Lsn::INVALID,
            next: Lsn::INVALID,
            first: None,
        }
    }

    /// Changes where records are no longer begun, for the pages to come.
    pub const fn set_limit(&mut self, limit: Lsn) {
        self.limit = limit;
    }

    /// Pages to come may not be of a later timeline than this one, that of their file.
    pub const fn set_newest(&mut self, timeline: TimelineId) {
        self.newest = timeline;
    }

    /// Start of the last valid record; 0/0 before the first.
    pub const fn last_record(&self) -> Lsn {
        self.prev
    }

    /// Where the next record would start: the end of the last one, aligned; 0/0 before the first.
    pub const fn next_record(&self) -> Lsn {
        self.next
    }

    /// Start and previous link of the first valid record.
    pub const fn first_record(&self) -> Option<(Lsn, Lsn)> {
        self.first
    }

    /// The next record has to point back to the one at `prev`; for reading on where another framer stopped.
    pub const fn set_previous(&mut self, prev: Lsn) {
        self.prev = prev;
    }

    /// Bytes that are missing of a record of which only the beginning has been seen.
    pub fn partial_missing(&self) -> Option<u32> {
        (self.state == State::Partial).then(|| self.partial.total.saturating_sub(self.partial.got))
    }

    /// Start of a record of which only the beginning has been seen.
    pub fn partial_record(&self) -> Option<Lsn> {
        (self.state == State::Partial).then_some(self.partial.lsn)
    }

    /// Timeline in the header of the last valid page.
    pub const fn timeline(&self) -> TimelineId {
        self.timeline
    }

    /// Takes the page at `at`.
    ///
    /// # Errors
    /// The page or a record on it is not valid; what was found before stays.
    #[inline]
    pub fn page<S: Sink>(&mut self, at: Lsn, page: &[u8; PAGE_SIZE], sink: &mut S) -> Result<Flow, Problem> {
        match self.state {
            State::Switched(next) => {
                if next >= self.limit {
                    return Ok(Flow::Done);
                }
                if at < next {
                    return Ok(Flow::More);
                }
                self.state = State::Between;
            }
            State::Between | State::Resync if at >= self.limit => return Ok(Flow::Done),
            _ => {}
        }
        let header = PageHeader::check(page, at, &self.format)?;
        if header.timeline < self.timeline {
            return Err(Problem::OutOfSequence { at, found: header.timeline, after: self.timeline });
        }
        if header.timeline > self.newest {
            return Err(Problem::LaterTimeline { at, found: header.timeline, file: self.newest });
        }
        self.timeline = header.timeline;
        let mut pos = header.size;
        match self.state {
            State::Partial => match self.resume(at, page, &header, sink)? {
                Resumed::Missing => return Ok(Flow::More),
                Resumed::At(Some(next)) => pos = next,
                Resumed::At(None) => return Ok(Flow::Done),
            },
            State::Resync => {
                if header.continues && !header.overwrites {
                    let room = (PAGE_SIZE - header.size) as u32;
                    if header.rem_len >= room {
                        return Ok(Flow::More);
                    }
                    pos += (header.rem_len as usize).next_multiple_of(8);
                }
                self.state = State::Between;
            }
            State::Between | State::Switched(_) => {
                if header.continues {
                    return Err(Problem::InContinuation { at: at.plus(header.size as u64) });
                }
            }
            State::At(start) => {
                self.state = State::Between;
                if start.page_offset() != 0 {
                    if start.page_offset() < header.size {
                        return Err(Problem::Offset { at: start, expected: header.size });
                    }
                    pos = start.page_offset();
                }
                if header.continues && pos == header.size {
                    return Err(Problem::InContinuation { at: start });
                }
            }
        }
        self.records(at, page, pos, sink)
    }

    /// The records that start on the page from `pos` on.
    #[inline]
    fn records<S: Sink>(
        &mut self,
        at: Lsn,
        page: &[u8; PAGE_SIZE],
        mut pos: usize,
        sink: &mut S,
    ) -> Result<Flow, Problem> {
        while let Some(rest) = page.get(pos..)
            && !rest.is_empty()
        {
            let lsn = at.plus(pos as u64);
            if lsn >= self.limit {
                return Ok(Flow::Done);
            }
            let Some(fixed) = rest.first_chunk::<HEADER_SIZE>() else {
                // the length never lies across a page's end, the rest of the header may
                let total = rest.first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
                if (total as usize) < HEADER_SIZE {
                    return Err(Problem::Length { at: lsn, found: total });
                }
                self.begin(lsn, total, rest, None, sink);
                return Ok(Flow::More);
            };
            let header = Header::read(fixed);
            self.check_header(lsn, &header)?;
            let Some(bytes) = rest.get(..header.total as usize) else {
                if header.total > MAX_LENGTH {
                    return Err(Problem::TooLong { at: lsn, found: header.total });
                }
                self.begin(lsn, header.total, rest, Some(&header), sink);
                return Ok(Flow::More);
            };
            if crc::of_record(bytes) != header.crc {
                return Err(Problem::Checksum { at: lsn });
            }
            pos += bytes.len().next_multiple_of(8);
            let end = lsn.plus(bytes.len() as u64);
            if self.emit(lsn, end, &header, bytes, sink) == Flow::Done {
                return Ok(Flow::Done);
            }
            if matches!(self.state, State::Switched(_)) {
                return Ok(Flow::More);
            }
        }
        Ok(Flow::More)
    }

    #[inline]
    fn check_header(&self, lsn: Lsn, header: &Header) -> Result<(), Problem> {
        if (header.total as usize) < HEADER_SIZE {
            return Err(Problem::Length { at: lsn, found: header.total });
        }
        if !rmgr::is_valid(header.rmid, self.format.major) {
            return Err(Problem::ResourceManager { at: lsn, found: header.rmid });
        }
        // the first record of a run can only be asked to point backwards
        let linked = if self.prev.is_valid() { header.prev == self.prev } else { header.prev < lsn };
        if linked { Ok(()) } else { Err(Problem::PrevLink { at: lsn, found: header.prev }) }
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the sink's work is to be seen by the optimizer together with the header's"
    )]
    fn emit<S: Sink>(&mut self, lsn: Lsn, end: Lsn, header: &Header, bytes: &[u8], sink: &mut S) -> Flow {
        if self.first.is_none() {
            self.first = Some((lsn, header.prev));
        }
        self.prev = lsn;
        self.next = end.align8();
        self.state = State::Between;
        if header.rmid == id::XLOG && header.info & 0xF0 == op::XLOG_SWITCH {
            let size = self.format.segment_size;
            self.next = size.start(size.segno(lsn) + 1);
            self.state = State::Switched(self.next);
        }
        let record = Record {
            lsn,
            end,
            xid: header.xid,
            prev: header.prev,
            info: header.info,
            rmid: header.rmid,
            total_len: header.total,
            bytes,
        };
        if sink.record(&record) { Flow::More } else { Flow::Done }
    }

    #[cold]
    fn begin<S: Sink>(&mut self, lsn: Lsn, total: u32, rest: &[u8], header: Option<&Header>, sink: &S) {
        let partial = &mut self.partial;
        partial.lsn = lsn;
        partial.total = total;
        partial.got = 0;
        partial.crc = crc::INIT;
        partial.whole =
            header.is_some_and(|h| sink.wants_whole(h.rmid, h.info) && total <= sink.longest(h.rmid));
        partial.bytes.clear();
        partial.append(rest);
        self.state = State::Partial;
    }

    #[inline(never)]
    fn resume<S: Sink>(
        &mut self,
        at: Lsn,
        page: &[u8; PAGE_SIZE],
        header: &PageHeader,
        sink: &mut S,
    ) -> Result<Resumed, Problem> {
        if header.overwrites {
            self.state = State::Between;
            return Ok(Resumed::At(Some(header.size)));
        }
        let lsn = self.partial.lsn;
        if !header.continues {
            return Err(Problem::NoContinuation { record: lsn, page: at });
        }
        let expected = self.partial.total - self.partial.got;
        if header.rem_len != expected {
            return Err(Problem::ContinuationLength {
                record: lsn,
                page: at,
                found: header.rem_len,
                expected,
            });
        }
        let body = page.get(header.size..).unwrap_or_default();
        let mut taken = 0;
        if (self.partial.got as usize) < HEADER_SIZE {
            taken = (HEADER_SIZE - self.partial.got as usize).min(expected as usize);
            self.partial.append(body.get(..taken).unwrap_or_default());
            let fixed = self.partial.bytes.first_chunk().map(Header::read);
            let Some(fixed) = fixed else {
                return Err(Problem::Length { at: lsn, found: self.partial.total });
            };
            self.check_header(lsn, &fixed)?;
            if fixed.total > MAX_LENGTH {
                return Err(Problem::TooLong { at: lsn, found: fixed.total });
            }
            self.partial.whole =
                sink.wants_whole(fixed.rmid, fixed.info) && fixed.total <= sink.longest(fixed.rmid);
        }
        let here = (expected as usize).min(body.len());
        self.partial.append(body.get(taken..here).unwrap_or_default());
        if self.partial.got < self.partial.total {
            return Ok(Resumed::Missing);
        }
        let Some(fixed) = self.partial.bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(Problem::Length { at: lsn, found: self.partial.total });
        };
        let sum = !crc::update(self.partial.crc, fixed.get(..20).unwrap_or_default());
        let fixed = Header::read(fixed);
        if sum != fixed.crc {
            return Err(Problem::Checksum { at: lsn });
        }
        let bytes = std::mem::take(&mut self.partial.bytes);
        let end = at.plus((header.size + here) as u64);
        let flow = self.emit(lsn, end, &fixed, &bytes, sink);
        self.partial.bytes = bytes;
        let switched = matches!(self.state, State::Switched(_));
        Ok(match flow {
            Flow::Done => Resumed::At(None),
            Flow::More if switched => Resumed::Missing,
            Flow::More => Resumed::At(Some(header.size + here.next_multiple_of(8))),
        })
    }
}

enum Resumed {
    /// Go on with the next page.
    Missing,
    /// The next record starts at this offset of the page; `None`: the sink has enough.
    At(Option<usize>),
}

impl Partial {
    fn append(&mut self, data: &[u8]) {
        let fixed_left = HEADER_SIZE.saturating_sub(self.got as usize);
        self.crc = crc::update(self.crc, data.get(fixed_left..).unwrap_or_default());
        let keep = if self.whole {
            data.len()
        } else {
            MAX_HEADERS.saturating_sub(self.bytes.len()).min(data.len())
        };
        self.bytes.extend_from_slice(data.get(..keep).unwrap_or_default());
        self.got += data.len() as u32;
    }
}
