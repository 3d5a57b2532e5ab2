//! Records that end a transaction (`xl_xact_commit`, `xl_xact_abort`, `xl_xact_prepare`; xact.h, twophase.c).

use crate::pg::bytes::Bytes;
use crate::pg::{Lsn, Major, RelFile, TimestampTz, Xid};

use super::record::DecodeError;
use super::rmgr::op;

const HAS_XINFO: u8 = 0x80;

const XINFO_DBINFO: u32 = 0x001;
const XINFO_SUBXACTS: u32 = 0x002;
const XINFO_RELFILES: u32 = 0x004;
const XINFO_INVALS: u32 = 0x008;
const XINFO_TWOPHASE: u32 = 0x010;
const XINFO_ORIGIN: u32 = 0x020;
const XINFO_GID: u32 = 0x080;
const XINFO_DROPPED_STATS: u32 = 0x100;

const INVALIDATION_SIZE: usize = 16;

/// What a record says about the transaction that it ends (or prepares).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XactRecord<'a> {
    /// The transaction: for COMMIT PREPARED and ROLLBACK PREPARED not the record's own.
    pub xid: Xid,
    /// When.
    pub time: TimestampTz,
    /// Its subtransactions that share its fate.
    pub subxacts: Vec<Xid>,
    /// Relations whose files are dropped with it.
    pub dropped: Vec<RelFile>,
    /// Global identifier of a prepared transaction; empty where the record has none.
    pub gid: &'a [u8],
    /// Position and time at the replication origin.
    pub origin: Option<(Lsn, TimestampTz)>,
}

fn xids(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<Xid>, DecodeError> {
    let list = bytes.take(count.checked_mul(4).ok_or(DecodeError("list too long"))?)?;
    Ok(list.as_chunks::<4>().0.iter().map(|x| u32::from_le_bytes(*x)).collect())
}

fn relfiles(bytes: &mut Bytes<'_>, count: usize) -> Result<Vec<RelFile>, DecodeError> {
    let list = bytes.take(count.checked_mul(12).ok_or(DecodeError("list too long"))?)?;
    let word = |c: &[u8; 12], at: usize| u32::from_le_bytes([c[at], c[at + 1], c[at + 2], c[at + 3]]);
    let (chunks, _) = list.as_chunks::<12>();
    Ok(chunks.iter().map(|c| RelFile { spc: word(c, 0), db: word(c, 4), rel: word(c, 8) }).collect())
}

impl<'a> XactRecord<'a> {
    /// Reads COMMIT, ABORT, COMMIT PREPARED, ROLLBACK PREPARED or PREPARE from the record's main data.
    ///
    /// # Errors
    /// The data are shorter than they say.
    pub fn parse(main: &'a [u8], info: u8, xid: Xid, major: Major) -> Result<Self, DecodeError> {
        if info & op::XACT_MASK == op::XACT_PREPARE {
            return Self::parse_prepare(main, major);
        }
        let mut bytes = Bytes::new(main);
        let mut record = Self {
            xid,
            time: bytes.i64()?,
            subxacts: Vec::new(),
            dropped: Vec::new(),
            gid: &[],
            origin: None,
        };
        if info & HAS_XINFO == 0 {
            return Ok(record);
        }
        let xinfo = bytes.u32()?;
        let has = |bit| xinfo & bit != 0;
        if has(XINFO_DBINFO) {
            bytes.skip(8)?;
        }
        if has(XINFO_SUBXACTS) {
            let count = bytes.u32()? as usize;
            record.subxacts = xids(&mut bytes, count)?;
        }
        if has(XINFO_RELFILES) {
            let count = bytes.u32()? as usize;
            record.dropped = relfiles(&mut bytes, count)?;
        }
        if has(XINFO_DROPPED_STATS) {
            let item = if major >= Major::V18 { 16 } else { 12 };
            let count = bytes.u32()? as usize;
            bytes.skip(count.checked_mul(item).ok_or(DecodeError("list too long"))?)?;
        }
        if has(XINFO_INVALS) {
            let count = bytes.u32()? as usize;
            bytes.skip(count.checked_mul(INVALIDATION_SIZE).ok_or(DecodeError("list too long"))?)?;
        }
        if has(XINFO_TWOPHASE) {
            record.xid = bytes.u32()?;
        }
        if has(XINFO_GID) {
            let rest = bytes.rest();
            let len = rest.iter().position(|&b| b == 0).ok_or(DecodeError("GID without an end"))?;
            record.gid = bytes.take(len)?;
            bytes.skip(1)?;
        }
        if has(XINFO_ORIGIN) {
            record.origin = Some((Lsn(bytes.u64()?), bytes.i64()?));
        }
        Ok(record)
    }

    fn parse_prepare(main: &'a [u8], major: Major) -> Result<Self, DecodeError> {
        let bytes = Bytes::new(main);
        // TwoPhaseFileHeader: the counts of statistics came in 15 and moved what follows
        let counts = if major >= Major::V15 { 54 } else { 46 };
        let header_size = match major {
            m if m < Major::V9_6 => 248,
            m if m < Major::V11 => 48,
            m if m < Major::V15 => 64,
            _ => 72,
        };
        let nsubxacts = bytes.u32_at(28)? as usize;
        let ndropped = bytes.u32_at(32)? as usize;
        let gid = if major < Major::V9_6 {
            let field = bytes.slice_at(45, 200)?;
            field.get(..field.iter().position(|&b| b == 0).unwrap_or(200)).unwrap_or_default()
        } else {
            let len = usize::from(bytes.u16_at(counts)?);
            bytes.slice_at(header_size, len.saturating_sub(1))?
        };
        let mut rest = Bytes::new(main);
        rest.skip(header_size)?;
        if major >= Major::V9_6 {
            rest.skip(usize::from(bytes.u16_at(counts)?))?;
            rest.align(8)?;
        }
        let subxacts = xids(&mut rest, nsubxacts)?;
        rest.align(8)?;
        // what COMMIT PREPARED will drop; nothing is dropped yet, but the numbers are read to prove the layout
        let _ = relfiles(&mut rest, ndropped)?;
        Ok(Self {
            xid: bytes.u32_at(8)?,
            time: bytes.i64_at(16)?,
            subxacts,
            dropped: Vec::new(),
            gid,
            origin: None,
        })
    }
}
