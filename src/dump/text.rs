//! Records as pg_waldump's lines.

use std::sync::Arc;

use super::clock::Clock;
use super::write::{decimal, general, hex, lsn, padded, padded_lsn, push, signed};
use crate::desc::{self, Out, Subject, Value};
use crate::names::Names;
use crate::pg::control::catalog_version;
use crate::pg::{Fork, Major, RelFile};
use crate::wal::Record;
use crate::wal::record::{BlockPart, Compression, Parts, Place};
use crate::wal::rmgr;

/// How records are written as lines.
#[derive(Debug, Clone)]
pub struct Style {
    /// With the details of block references on lines of their own (`--bkp-details`).
    pub details: bool,
    /// Names that are put behind the numbers of relations.
    pub names: Option<Arc<Names>>,
}

/// Writes records into a buffer.
#[derive(Debug)]
pub struct Text {
    /// What was written.
    pub buffer: Vec<u8>,
    style: Style,
    major: Major,
    clock: Clock,
    /// `rmgr: NAME len (rec/tot): ` by built-in resource manager.
    heads: Vec<Piece>,
    /// `, desc: NAME ` by resource manager, custom ones as one more, and upper half of the info byte.
    operations: Vec<Piece>,
    /// Directory of this major's files within a tablespace.
    version_dir: String,
    /// Relations that were named, and how, in a place that depends on their numbers.
    relations: Vec<(RelFile, Piece)>,
}

/// Built-in resource managers.
const BUILTIN: u8 = rmgr::id::LOGICALMSG + 1;
/// Relations that are remembered.
const REMEMBERED: usize = 64;

/// Bytes of a piece that are copied at once.
const PIECE: usize = 48;

/// A piece of text that is written again and again.
#[derive(Debug, Clone)]
struct Piece {
    start: [u8; PIECE],
    /// What does not fit.
    rest: Vec<u8>,
    len: usize,
}

impl Piece {
    fn new(text: &[u8]) -> Self {
        let mut start = [0; PIECE];
        let len = text.len().min(PIECE);
        if let (Some(into), Some(from)) = (start.get_mut(..len), text.get(..len)) {
            into.copy_from_slice(from);
        }
        Self { start, rest: text.get(len..).unwrap_or_default().to_vec(), len }
    }

    #[inline]
    fn write(&self, out: &mut Vec<u8>) {
        push(out, &self.start, self.len);
        if !self.rest.is_empty() {
            out.extend_from_slice(&self.rest);
        }
    }
}

impl Text {
    /// Nothing written yet.
    pub fn new(major: Major, style: Style, clock: Clock) -> Self {
        let head =
            |rmid: u8| Piece::new(format!("rmgr: {:<11} len (rec/tot): ", rmgr::name(rmid)).as_bytes());
        let operation = |n: u16| {
            let (rmid, info) = ((n >> 4) as u8, (n as u8 & 15) << 4);
            Piece::new(
                match rmgr::op_name(rmid, info, major) {
                    Some(name) => format!(", desc: {name} "),
                    None => format!(", desc: UNKNOWN ({info:x}) "),
                }
                .as_bytes(),
            )
        };
        Self {
            buffer: Vec::new(),
            style,
            major,
            clock,
            heads: (0..BUILTIN).map(head).collect(),
            operations: (0..(u16::from(BUILTIN) + 1) * 16).map(operation).collect(),
            version_dir: format!("PG_{}_{}", major.name(), catalog_version(major)),
            relations: vec![(RelFile { spc: 0, db: 0, rel: 0 }, Piece::new(b"0/0/0")); REMEMBERED],
        }
    }

    /// Appends a record: one line, with details one more for each block reference.
    #[inline]
    pub fn record(&mut self, record: &Record<'_>, parts: &Parts) {
        let images: u32 = parts.blocks.iter().map(|b| b.image.end - b.image.start).sum();
        self.head(record, images);
        let subject = Subject { record, parts, major: self.major };
        if let Err(short) = desc::describe(&subject, self) {
            self.broken(&short.to_string());
        }
        if self.style.details {
            self.buffer.push(b'\n');
        }
        for block in &parts.blocks {
            if self.style.details {
                self.buffer.push(b'\t');
                self.reference(block, true);
                self.details(block);
                self.buffer.push(b'\n');
            } else {
                self.buffer.extend_from_slice(b", ");
                self.reference(block, block.header.fork != Fork::Main);
                if let Some(image) = block.header.image {
                    let words: &[u8] = if image.apply { b" FPW" } else { b" FPW for WAL verification" };
                    self.buffer.extend_from_slice(words);
                }
            }
        }
        if !self.style.details {
            self.buffer.push(b'\n');
        }
    }

    /// Appends a record whose inside does not add up.
    #[cold]
    pub fn undecodable(&mut self, record: &Record<'_>, why: &str) {
        self.head(record, 0);
        self.broken(why);
        self.buffer.push(b'\n');
    }

    fn broken(&mut self, why: &str) {
        self.buffer.extend_from_slice(b" <broken record: ");
        self.buffer.extend_from_slice(why.as_bytes());
        self.buffer.push(b'>');
    }

    #[inline]
    fn head(&mut self, record: &Record<'_>, images: u32) {
        let out = &mut self.buffer;
        out.reserve(256);
        match self.heads.get(usize::from(record.rmid)) {
            Some(head) => head.write(out),
            None => out.extend_from_slice(
                format!("rmgr: {:<11} len (rec/tot): ", rmgr::name(record.rmid)).as_bytes(),
            ),
        }
        padded::<6>(out, record.total_len.saturating_sub(images));
        out.push(b'/');
        padded::<6>(out, record.total_len);
        out.extend_from_slice(b", tx: ");
        padded::<10>(out, record.xid);
        out.extend_from_slice(b", lsn: ");
        padded_lsn(out, record.lsn);
        out.extend_from_slice(b", prev ");
        padded_lsn(out, record.prev);
        let operation = usize::from(record.rmid.min(BUILTIN)) << 4 | usize::from(record.info >> 4);
        if let Some(operation) = self.operations.get(operation) {
            operation.write(out);
        }
    }

    #[inline]
    fn reference(&mut self, block: &BlockPart, with_fork: bool) {
        let header = &block.header;
        let out = &mut self.buffer;
        out.extend_from_slice(b"blkref #");
        decimal(out, u64::from(header.id));
        out.extend_from_slice(b": rel ");
        let place = (header.rel.rel ^ header.rel.db) as usize % REMEMBERED;
        if let Some(remembered) = self.relations.get_mut(place) {
            if remembered.0 != header.rel {
                *remembered = (header.rel, named(header.rel, self.style.names.as_deref()));
            }
            remembered.1.write(out);
        }
        if with_fork {
            out.extend_from_slice(b" fork ");
            out.extend_from_slice(header.fork.name().as_bytes());
        }
        out.extend_from_slice(b" blk ");
        decimal(out, u64::from(header.block));
    }

    fn details(&mut self, block: &BlockPart) {
        let Some(image) = block.header.image else { return };
        let out = &mut self.buffer;
        let words: &[u8] = if image.apply { b" (FPW)" } else { b" (FPW for WAL verification)" };
        out.extend_from_slice(words);
        out.extend_from_slice(b"; hole: offset: ");
        decimal(out, u64::from(image.hole_offset));
        out.extend_from_slice(b", length: ");
        decimal(out, u64::from(image.hole_length));
        if image.compression == Compression::None {
            return;
        }
        out.extend_from_slice(b", compression saved: ");
        let saved = crate::pg::BLOCK_SIZE as u32;
        let saved = saved.wrapping_sub(u32::from(image.hole_length)).wrapping_sub(u32::from(image.len));
        decimal(out, u64::from(saved));
        if self.major >= Major::V15 {
            out.extend_from_slice(b", method: ");
            out.extend_from_slice(method(image.compression).as_bytes());
        }
    }
}

/// Name of a compression as pg_waldump has it.
pub const fn method(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Pglz => "pglz",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
    }
}

/// A relation's numbers, and its name behind them if it is known.
#[cold]
fn named(rel: RelFile, names: Option<&Names>) -> Piece {
    let mut text = Vec::new();
    numbers(&mut text, rel);
    if let Some(names) = names
        && names.relations.contains_key(&rel)
    {
        text.extend_from_slice(format!(" ({})", names.describe(rel)).as_bytes());
    }
    Piece::new(&text)
}

fn numbers(out: &mut Vec<u8>, rel: RelFile) {
    decimal(out, u64::from(rel.spc));
    out.push(b'/');
    decimal(out, u64::from(rel.db));
    out.push(b'/');
    decimal(out, u64::from(rel.rel));
}

impl Out for Text {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a copy of a few bytes of known length")]
    fn text(&mut self, words: &str) {
        self.buffer.extend_from_slice(words.as_bytes());
    }

    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the variant is known where it is called, and only its arm remains"
    )]
    fn field(&mut self, _: &'static str, value: Value<'_>, _: Place) {
        let out = &mut self.buffer;
        match value {
            Value::U(n) => decimal(out, n),
            Value::I(n) => signed(out, n),
            Value::Hex(n) => {
                out.extend_from_slice(b"0x");
                hex(out, n, 2);
            }
            Value::Lsn(at) => lsn(out, at, self.major),
            Value::FullXid(n) => {
                decimal(out, n >> 32);
                out.push(b':');
                decimal(out, n & 0xFFFF_FFFF);
            }
            Value::Time(time) => self.clock.print(out, time),
            Value::Rel(rel) => numbers(out, rel),
            Value::Path(rel, fork) => out.extend_from_slice(rel.path(fork, &self.version_dir).as_bytes()),
            Value::Str(text) => out.extend_from_slice(text.as_bytes()),
            Value::Bytes(bytes) => out.extend_from_slice(bytes),
            Value::HexBytes(bytes) => {
                for (n, &byte) in bytes.iter().enumerate() {
                    if n > 0 {
                        out.push(b' ');
                    }
                    hex(out, u64::from(byte), 2);
                }
            }
            Value::Bool(value, yes, no) => out.extend_from_slice(if value { yes } else { no }.as_bytes()),
            Value::Float(value, digits) => {
                let digits = usize::from(digits);
                out.extend_from_slice(format!("{value:.digits$}").as_bytes());
            }
            Value::General(value) => general(out, value),
        }
    }

    #[inline]
    fn open(&mut self, _: &'static str) {}

    #[inline]
    fn item(&mut self) {}

    #[inline]
    fn close(&mut self) {}
}
