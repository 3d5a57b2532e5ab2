//! Writes WAL as a server would: right page headers, previous links and CRCs around whatever content.
#![allow(dead_code, clippy::unwrap_used)] // no test needs all of it

use forkpoint::pg::{Lsn, TimelineId};
use forkpoint::wal::page::{Format, LONG_HEADER, SHORT_HEADER};
use forkpoint::wal::{PAGE_SIZE, crc};

/// Takes finished pages.
pub trait Pages {
    /// The page that stands at `at`.
    fn page(&mut self, at: Lsn, bytes: &[u8; PAGE_SIZE]);
}

impl<F: FnMut(Lsn, &[u8; PAGE_SIZE])> Pages for F {
    fn page(&mut self, at: Lsn, bytes: &[u8; PAGE_SIZE]) {
        self(at, bytes);
    }
}

/// WAL in the making.
pub struct Craft<P> {
    format: Format,
    /// In the page headers.
    pub timeline: TimelineId,
    page: Box<[u8; PAGE_SIZE]>,
    at: Lsn,
    pos: usize,
    /// Start of the last record.
    pub prev: Lsn,
    out: P,
}

impl<P: Pages> Craft<P> {
    /// Begins with the page at `at`; `prev` is the record before its first one.
    pub fn new(format: Format, timeline: TimelineId, at: Lsn, prev: Lsn, out: P) -> Self {
        let mut craft = Self { format, timeline, page: Box::new([0; PAGE_SIZE]), at, pos: 0, prev, out };
        craft.header(0);
        craft
    }

    fn header(&mut self, rem_len: u32) {
        self.page.fill(0);
        let long = self.format.segment_size.offset(self.at) == 0;
        let info = u16::from(rem_len > 0) | if long { 2 } else { 0 };
        self.page[..2].copy_from_slice(&self.format.major.wal_magic().to_le_bytes());
        self.page[2..4].copy_from_slice(&info.to_le_bytes());
        self.page[4..8].copy_from_slice(&self.timeline.to_le_bytes());
        self.page[8..16].copy_from_slice(&self.at.0.to_le_bytes());
        self.page[16..20].copy_from_slice(&rem_len.to_le_bytes());
        if long {
            self.page[24..32].copy_from_slice(&self.format.system_identifier.to_le_bytes());
            self.page[32..36].copy_from_slice(&(self.format.segment_size.bytes() as u32).to_le_bytes());
            self.page[36..40].copy_from_slice(&(PAGE_SIZE as u32).to_le_bytes());
        }
        self.pos = if long { LONG_HEADER } else { SHORT_HEADER };
    }

    fn next_page(&mut self, rem_len: u32) {
        self.out.page(self.at, &self.page);
        self.at = self.at.plus(PAGE_SIZE as u64);
        self.header(rem_len);
    }

    /// Where the next record will start.
    pub fn next(&mut self) -> Lsn {
        if self.pos >= PAGE_SIZE {
            self.next_page(0);
        }
        self.at.plus(self.pos as u64)
    }

    /// Writes a record of this body and returns where it starts.
    pub fn record(&mut self, rmid: u8, info: u8, xid: u32, body: &[u8]) -> Lsn {
        self.record_with(rmid, info, xid, body, 0)
    }

    /// The same with `zeros` zero bytes behind the body.
    pub fn record_with(&mut self, rmid: u8, info: u8, xid: u32, body: &[u8], zeros: usize) -> Lsn {
        const CHUNK: [u8; PAGE_SIZE] = [0; PAGE_SIZE];
        let total = (24 + body.len() + zeros) as u32;
        let lsn = self.next();
        let mut header = [0; 24];
        header[..4].copy_from_slice(&total.to_le_bytes());
        header[4..8].copy_from_slice(&xid.to_le_bytes());
        header[8..16].copy_from_slice(&self.prev.0.to_le_bytes());
        header[16] = info;
        header[17] = rmid;
        let mut sum = crc::update(crc::INIT, body);
        let mut left = zeros;
        while left > 0 {
            let n = left.min(PAGE_SIZE);
            sum = crc::update(sum, &CHUNK[..n]);
            left -= n;
        }
        let sum = !crc::update(sum, &header[..20]);
        header[20..].copy_from_slice(&sum.to_le_bytes());
        let mut missing = total;
        self.put(&header, &mut missing);
        self.put(body, &mut missing);
        let mut left = zeros;
        while left > 0 {
            let n = left.min(PAGE_SIZE);
            self.put(&CHUNK[..n], &mut missing);
            left -= n;
        }
        self.pos = self.pos.next_multiple_of(8);
        self.prev = lsn;
        lsn
    }

    fn put(&mut self, mut bytes: &[u8], missing: &mut u32) {
        while !bytes.is_empty() {
            if self.pos >= PAGE_SIZE {
                self.next_page(*missing);
            }
            let n = bytes.len().min(PAGE_SIZE - self.pos);
            self.page[self.pos..self.pos + n].copy_from_slice(&bytes[..n]);
            self.pos += n;
            *missing -= n as u32;
            bytes = &bytes[n..];
        }
    }

    /// Hands out the last page, the rest of which is zeros.
    pub fn finish(mut self) -> Lsn {
        let end = self.next();
        self.out.page(self.at, &self.page);
        end
    }
}

/// Main data as they stand in a record without block references.
pub fn main_data(data: &[u8]) -> Vec<u8> {
    let mut body = match u8::try_from(data.len()) {
        Ok(len) => vec![255, len],
        Err(_) => [&[254][..], &(data.len() as u32).to_le_bytes()].concat(),
    };
    body.extend_from_slice(data);
    body
}

/// Header of a block reference without image and data.
pub fn block_ref(id: u8, (spc, db, rel): (u32, u32, u32), fork: u8, block: u32) -> Vec<u8> {
    let mut out = vec![id, fork, 0, 0];
    for n in [spc, db, rel, block] {
        out.extend_from_slice(&n.to_le_bytes());
    }
    out
}
