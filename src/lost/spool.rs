//! Rows by transaction in a temporary file: transactions run side by side, and are shown one after another.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::pg::bytes::{Bytes, Short};
use crate::pg::{Lsn, Xid};

use super::model::{Change, Event, Origin, RowChange, Shape, Version};
use super::scratch::Scratch;

/// Bytes of one transaction that are collected before they are written.
const PIECE: usize = 256 << 10;
/// Bytes of all transactions together in memory.
const BUDGET: usize = 16 << 20;
/// In front of a piece: where the transaction's piece before it lies, and its length.
const LINK: usize = 12;
const NO_PIECE: u64 = u64::MAX;

const ROW: u8 = 0;
const EVENT: u8 = 1;

/// Something that a transaction did.
#[derive(Debug, Clone)]
pub enum Entry {
    /// It changed a row.
    Row(Box<RowChange>),
    /// Something else, by the record at the LSN.
    Event(Lsn, Event),
}

/// A part of what one transaction did: some hundred kilobytes, or one entry that is larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    at: u64,
    len: u32,
}

/// Everything that transactions did.
#[derive(Debug, Default)]
pub struct Spool {
    scratch: Scratch,
    shapes: Vec<Arc<Shape>>,
    numbers: HashMap<usize, u32>,
    open: HashMap<Xid, Vec<u8>>,
    buffered: usize,
    /// The last piece of each transaction.
    last: HashMap<Xid, (u64, u32)>,
}

impl Spool {
    /// Adds what the transaction did next.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn push(&mut self, xid: Xid, entry: &Entry) -> io::Result<()> {
        let mut bytes = Vec::new();
        match entry {
            Entry::Row(row) => {
                let number = self.shape(&row.shape);
                bytes.push(ROW);
                bytes.extend_from_slice(&row.lsn.0.to_le_bytes());
                bytes.push(row.change as u8);
                bytes.extend_from_slice(&number.to_le_bytes());
                let (block, item) = row.old_place.unwrap_or((u32::MAX, 0));
                bytes.extend_from_slice(&block.to_le_bytes());
                bytes.extend_from_slice(&item.to_le_bytes());
                for version in [&row.old, &row.new] {
                    match version {
                        Some(version) => {
                            bytes.push(1 + version.from as u8);
                            put(&mut bytes, &version.tuple);
                        }
                        None => bytes.push(0),
                    }
                }
            }
            Entry::Event(lsn, event) => {
                bytes.push(EVENT);
                bytes.extend_from_slice(&lsn.0.to_le_bytes());
                put(&mut bytes, &serde_json::to_vec(event).map_err(io::Error::from)?);
            }
        }
        let buffer = self.open.entry(xid).or_default();
        put(buffer, &bytes);
        self.buffered += bytes.len() + 4;
        if buffer.len() >= PIECE {
            self.close(xid)?;
        } else if self.buffered > BUDGET {
            let all: Vec<Xid> = self.open.keys().copied().collect();
            for xid in all {
                self.close(xid)?;
            }
        }
        Ok(())
    }

    fn shape(&mut self, shape: &Arc<Shape>) -> u32 {
        let next = self.shapes.len() as u32;
        let number = *self.numbers.entry(Arc::as_ptr(shape).addr()).or_insert(next);
        if number == next {
            self.shapes.push(Arc::clone(shape));
        }
        number
    }

    /// The transaction does nothing more for now: writes what is in memory of it.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn close(&mut self, xid: Xid) -> io::Result<()> {
        let Some(buffer) = self.open.remove(&xid).filter(|buffer| !buffer.is_empty()) else { return Ok(()) };
        self.buffered = self.buffered.saturating_sub(buffer.len());
        let (before, len) = self.last.get(&xid).copied().unwrap_or((NO_PIECE, 0));
        let mut link = [0; LINK];
        link[..8].copy_from_slice(&before.to_le_bytes());
        link[8..].copy_from_slice(&len.to_le_bytes());
        let at = self.scratch.append(&link)?;
        self.scratch.append(&buffer)?;
        self.last.insert(xid, (at, buffer.len() as u32));
        Ok(())
    }

    /// Writes everything that is still in memory.
    ///
    /// # Errors
    /// The temporary file cannot be written.
    pub fn finish(&mut self) -> io::Result<()> {
        let all: Vec<Xid> = self.open.keys().copied().collect();
        all.into_iter().try_for_each(|xid| self.close(xid))
    }

    /// Tables that rows are of.
    pub fn shapes(&self) -> &[Arc<Shape>] {
        &self.shapes
    }

    /// Goes through what a transaction did, in order.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `take` fails.
    pub fn each(&self, xid: Xid, mut take: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        self.pieces(xid)?.into_iter().try_for_each(|piece| self.of_piece(piece, &mut take))
    }

    /// The pieces of what a transaction did, in order.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn pieces(&self, xid: Xid) -> io::Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut next = self.last.get(&xid).copied();
        while let Some((at, len)) = next.filter(|(at, _)| *at != NO_PIECE) {
            pieces.push(Piece { at, len });
            let mut link = [0; LINK];
            self.scratch.read(at, &mut link)?;
            let link = Bytes::new(&link);
            next = link.u64_at(0).ok().zip(link.u32_at(8).ok());
        }
        pieces.reverse();
        Ok(pieces)
    }

    /// Goes through one piece.
    ///
    /// # Errors
    /// The temporary file cannot be read, or `take` fails.
    pub fn of_piece(&self, piece: Piece, mut take: impl FnMut(Entry) -> io::Result<()>) -> io::Result<()> {
        let mut bytes = vec![0; piece.len as usize];
        self.scratch.read(piece.at + LINK as u64, &mut bytes)?;
        let mut bytes = Bytes::new(&bytes);
        while bytes.remaining() > 0 {
            take(self.entry(&mut bytes)?)?;
        }
        Ok(())
    }

    fn entry(&self, bytes: &mut Bytes<'_>) -> io::Result<Entry> {
        let broken = |_: Short| io::Error::other("the temporary file has changed");
        let mut entry = Bytes::new(get(bytes).map_err(broken)?);
        self.read(&mut entry)
            .map_err(broken)?
            .ok_or_else(|| io::Error::other("the temporary file has changed"))
    }

    fn read(&self, entry: &mut Bytes<'_>) -> Result<Option<Entry>, Short> {
        let kind = entry.u8()?;
        let lsn = Lsn(entry.u64()?);
        if kind == EVENT {
            let event = serde_json::from_slice(get(entry)?).ok();
            return Ok(event.map(|event| Entry::Event(lsn, event)));
        }
        let change = match entry.u8()? {
            0 => Change::Insert,
            1 => Change::Update,
            _ => Change::Delete,
        };
        let shape = self.shapes.get(entry.u32()? as usize).cloned();
        let place = (entry.u32()?, entry.u16()?);
        let mut version = || -> Result<Option<Version>, Short> {
            let from = match entry.u8()? {
                0 => return Ok(None),
                1 => Origin::Record,
                2 => Origin::Page,
                3 => Origin::Target,
                4 => Origin::Source,
                _ => Origin::Key,
            };
            Ok(Some(Version { tuple: get(entry)?.to_vec(), from }))
        };
        let (old, new) = (version()?, version()?);
        let old_place = (place.0 != u32::MAX).then_some(place);
        Ok(shape.map(|shape| Entry::Row(Box::new(RowChange { lsn, change, shape, old, new, old_place }))))
    }
}

fn put(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    into.extend_from_slice(bytes);
}

fn get<'a>(bytes: &mut Bytes<'a>) -> Result<&'a [u8], Short> {
    let len = bytes.u32()? as usize;
    bytes.take(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_transactions_did_side_by_side_comes_back_one_after_another() {
        let mut spool = Spool::default();
        let message = |n: u32| Event::Message {
            prefix: "p".into(),
            content: "x".repeat(2000) + &n.to_string(),
            transactional: true,
        };
        for n in 0..20_000u32 {
            spool.push(n % 7, &Entry::Event(Lsn(u64::from(n)), message(n))).unwrap();
        }
        spool.finish().unwrap();
        for xid in 0..7 {
            let mut next = xid;
            spool
                .each(xid, |entry| {
                    let Entry::Event(lsn, event) = entry else { panic!() };
                    assert_eq!((lsn, event), (Lsn(u64::from(next)), message(next)));
                    next += 7;
                    Ok(())
                })
                .unwrap();
            assert!(next >= 20_000);
            // a piece at a time it is the same
            let pieces = spool.pieces(xid).unwrap();
            assert!(pieces.len() > 1);
            let mut next = xid;
            for piece in pieces {
                spool
                    .of_piece(piece, |entry| {
                        let Entry::Event(lsn, _) = entry else { panic!() };
                        assert_eq!(lsn, Lsn(u64::from(next)));
                        next += 7;
                        Ok(())
                    })
                    .unwrap();
            }
            assert!(next >= 20_000);
        }
        spool.each(99, |_| panic!()).unwrap();
    }
}
