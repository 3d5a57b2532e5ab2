//! What a record says, as fields: one description that text, JSON and a tree of details are views of.
//!
//! Each resource manager has a file with `describe`, which goes through the main data (and block data) of a record and
//! gives every piece to an [`Out`] in the order in which that major's pg_waldump prints it (`rmgrdesc/*.c`). Pure, and
//! without allocating: the functions are compiled once for every view. Names of operations are `wal::rmgr::op_name`.

pub mod cursor;

mod brin;
mod btree;
mod clog;
mod committs;
mod common;
mod dbase;
mod generic;
mod gin;
mod gist;
mod hash;
mod heap;
mod heap2;
mod logicalmsg;
mod multixact;
mod relmap;
mod replorigin;
mod seq;
mod smgr;
mod spgist;
mod standby;
mod tblspc;
mod xact;
mod xlog;

use crate::pg::bytes::Short;
use crate::pg::{Fork, Lsn, Major, RelFile, TimestampTz};
use crate::wal::Record;
use crate::wal::record::{BlockPart, Parts, Place};
use crate::wal::rmgr::id;

pub use cursor::{Cursor, Read};

/// One record, taken apart, as the describing functions see it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The record, whole.
    pub record: &'a Record<'a>,
    /// Where its parts lie.
    pub parts: &'a Parts,
    /// Who wrote it.
    pub major: Major,
}

impl<'a> Subject<'a> {
    /// The operation with its flags: the info byte without the four bits that belong to the WAL machinery
    /// (`XLR_INFO_MASK`).
    #[inline]
    pub const fn info(&self) -> u8 {
        self.record.info & 0xF0
    }

    /// The main data (`XLogRecGetData`).
    #[inline]
    pub fn main(&self) -> Cursor<'a> {
        Cursor::new(self.record.bytes, &self.parts.main)
    }

    /// The block reference with this id (`XLogRecHasBlockRef`).
    #[inline]
    pub fn block(&self, id: u8) -> Option<&'a BlockPart> {
        self.parts.block(id)
    }

    /// The block has a full-page image (`XLogRecHasBlockImage`).
    #[inline]
    pub fn has_image(&self, id: u8) -> bool {
        self.block(id).is_some_and(|b| b.header.image.is_some())
    }

    /// The data that belong to a block; `None` without any (`XLogRecGetBlockData`).
    #[inline]
    pub fn block_data(&self, id: u8) -> Option<Cursor<'a>> {
        let block = self.block(id).filter(|b| b.header.data_len != 0)?;
        Some(Cursor::new(self.record.bytes, &block.data))
    }
}

/// A value and how pg_waldump prints it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// `%u`
    U(u64),
    /// `%d`
    I(i64),
    /// `0x%02X` (of one byte; more digits as needed)
    Hex(u64),
    /// `%X/%X`, from 19 `%X/%08X`
    Lsn(Lsn),
    /// `epoch:xid`
    FullXid(u64),
    /// A point in time as `timestamptz_to_str` of the frontend programs prints it, without quotes.
    Time(TimestampTz),
    /// `tablespace/database/file number`
    Rel(RelFile),
    /// Path of the relation fork's first file within the data directory (`relpathperm`).
    Path(RelFile, Fork),
    /// `%s`, a word of ours
    Str(&'a str),
    /// `%s`, bytes from the record that need not be UTF-8
    Bytes(&'a [u8]),
    /// Bytes that are no text: two hex digits each with a blank between (`%02X`), in JSON without the blanks.
    HexBytes(&'a [u8]),
    /// One of two words, the first if true; in JSON a boolean.
    Bool(bool, &'static str, &'static str),
    /// `%.*f` with so many digits behind the point
    Float(f64, u8),
    /// `%g`
    General(f64),
}

/// Receives a description piece by piece, in the order in which pg_waldump prints it.
///
/// Between [`Self::open`] and [`Self::close`] are the elements of a list, each begun by [`Self::item`]. An element that
/// is one value is a field without a name (`""`), one that has several is fields with names.
pub trait Out {
    /// Words between fields, in the text only.
    fn text(&mut self, words: &str);

    /// A value; `at` is where it lies in the record, in bytes from its start. An empty range: it was not read but
    /// concluded.
    fn field(&mut self, name: &'static str, value: Value<'_>, at: Place);

    /// A list begins. Nothing in the text.
    fn open(&mut self, name: &'static str);

    /// The next element of the list begins. Nothing in the text.
    fn item(&mut self);

    /// The list ends. Nothing in the text.
    fn close(&mut self);
}

/// Gives the description of a record to `out`.
///
/// # Errors
/// The record ends too early for what it says; what was given before stays.
#[inline]
pub fn describe<O: Out>(subject: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    match subject.record.rmid {
        id::XLOG => xlog::describe(subject, out),
        id::XACT => xact::describe(subject, out),
        id::SMGR => smgr::describe(subject, out),
        id::CLOG => clog::describe(subject, out),
        id::DBASE => dbase::describe(subject, out),
        id::TBLSPC => tblspc::describe(subject, out),
        id::MULTIXACT => multixact::describe(subject, out),
        id::RELMAP => relmap::describe(subject, out),
        id::STANDBY => standby::describe(subject, out),
        id::HEAP2 => heap2::describe(subject, out),
        id::HEAP => heap::describe(subject, out),
        id::BTREE => btree::describe(subject, out),
        id::HASH => hash::describe(subject, out),
        id::GIN => gin::describe(subject, out),
        id::GIST => gist::describe(subject, out),
        id::SEQ => seq::describe(subject, out),
        id::SPGIST => spgist::describe(subject, out),
        id::BRIN => brin::describe(subject, out),
        id::COMMIT_TS => committs::describe(subject, out),
        id::REPLORIGIN => replorigin::describe(subject, out),
        id::GENERIC => generic::describe(subject, out),
        id::LOGICALMSG => logicalmsg::describe(subject, out),
        other => {
            out.text("rmid: ");
            out.field("rmid", Value::U(u64::from(other)), 17..18);
            Ok(())
        }
    }
}
