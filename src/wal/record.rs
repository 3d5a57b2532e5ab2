//! WAL records from 9.5 on (`XLogRecord` and what follows it, xlogrecord.h).

use crate::pg::bytes::{Bytes, Short};
use crate::pg::{BlockNumber, Fork, Lsn, Major, RelFile, Xid};

/// Size of the fixed header in bytes (`SizeOfXLogRecord`).
pub const HEADER_SIZE: usize = 24;
/// No set of fragment headers is longer than this (bytes, fixed header included): 33 blocks of at most 27 bytes each
/// and the four short ones.
pub const MAX_HEADERS: usize = 1024;
/// Longest record that a server writes or reads (`XLogRecordMaxSize`), in bytes.
pub const MAX_LENGTH: u32 = 1020 << 20;

const FORK_MASK: u8 = 0x0F;
const HAS_IMAGE: u8 = 0x10;
const HAS_DATA: u8 = 0x20;
const WILL_INIT: u8 = 0x40;
const SAME_REL: u8 = 0x80;

/// Length of all fragment headers of a record with one block reference, no image and short main data (bytes).
const ONE_BLOCK: usize = 1 + 3 + 16 + 2;
/// The same with a second block of the same relation.
const TWO_BLOCKS: usize = ONE_BLOCK + 1 + 3 + 4;

const MAX_BLOCK_ID: u8 = 32;
const ID_DATA_SHORT: u8 = 255;
const ID_DATA_LONG: u8 = 254;
const ID_ORIGIN: u8 = 253;
const ID_TOPLEVEL_XID: u8 = 252;

/// A record whose place, header and CRC were found valid.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Where it starts.
    pub lsn: Lsn,
    /// Where it ends, not rounded up (`EndRecPtr` is this, aligned; after a switch the next segment's start).
    pub end: Lsn,
    /// Its transaction, 0 for none.
    pub xid: Xid,
    /// Start of the record before it.
    pub prev: Lsn,
    /// Flags in the low, operation in the high half.
    pub info: u8,
    /// Resource manager.
    pub rmid: u8,
    /// Length as its header says, in bytes.
    pub total_len: u32,
    /// The record with its header. A reader that was not asked for whole records may give less than `total_len`
    /// bytes of one that lies on several pages, but all fragment headers always.
    pub bytes: &'a [u8],
}

/// The inside of a record does not add up although its CRC is right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub &'static str);

const INVALID_LENGTH: DecodeError = DecodeError("record with invalid length");

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        INVALID_LENGTH
    }
}

#[inline]
fn words(b: &[u8; 16]) -> [u32; 4] {
    let (words, _) = b.as_chunks::<4>();
    let at = |i: usize| words.get(i).map_or(0, |w| u32::from_le_bytes(*w));
    [at(0), at(1), at(2), at(3)]
}

/// How a full-page image is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Compression {
    None,
    Pglz,
    Lz4,
    Zstd,
}

/// Header of a full-page image (`XLogRecordBlockImageHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageHeader {
    /// Length in the record in bytes.
    pub len: u16,
    /// Where the left-out zeros begin in the page.
    pub hole_offset: u16,
    /// How many zeros were left out.
    pub hole_length: u16,
    /// How it is packed.
    pub compression: Compression,
    /// To be restored at replay; otherwise it is there for consistency checks only.
    pub apply: bool,
}

/// Header of a block reference (`XLogRecordBlockHeader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockHeader {
    /// Number of the reference within the record, 0 to 32.
    pub id: u8,
    /// The relation.
    pub rel: RelFile,
    /// The relation fork.
    pub fork: Fork,
    /// The block.
    pub block: BlockNumber,
    /// Replay builds the page from nothing.
    pub will_init: bool,
    /// The full-page image, if it has one.
    pub image: Option<ImageHeader>,
    /// Length of the data that belong to the block, in bytes.
    pub data_len: u16,
}

/// One fragment header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragment {
    /// A block reference.
    Block(BlockHeader),
    /// Main data of so many bytes.
    Main(u32),
    /// Replication origin.
    Origin(u16),
    /// Transaction to which the record's subtransaction belongs (14+).
    TopLevelXid(Xid),
}

/// Goes through the fragment headers of a record.
#[derive(Debug)]
pub struct Fragments<'a> {
    rest: &'a [u8],
    /// Bytes of the record behind the headers read so far, less the payload that they announced.
    left: isize,
    /// The last relation named.
    rel: Option<RelFile>,
    next_id: u8,
    major: Major,
}

impl<'a> Fragments<'a> {
    /// The fragment headers of `record`, written by `major`.
    #[inline]
    pub fn new(record: &Record<'a>, major: Major) -> Self {
        Self {
            rest: record.bytes.get(HEADER_SIZE..).unwrap_or_default(),
            left: record.total_len as isize - HEADER_SIZE as isize,
            rel: None,
            next_id: 0,
            major,
        }
    }

    /// The block references of a record of the commonest shapes: one block, or two of one relation, without images,
    /// then main data of less than 256 bytes, nothing else. `None` says nothing about a record, not even that it is
    /// valid.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as next_fragment")]
    pub fn plain_blocks(record: &Record<'_>) -> Option<(BlockHeader, Option<BlockHeader>)> {
        let body = record.bytes.get(HEADER_SIZE..)?;
        let head = body.first_chunk::<ONE_BLOCK>()?;
        let (first, data_len) = (head[1], u16::from_le_bytes([head[2], head[3]]));
        let odd = u32::from(head[0])
            | u32::from(first & (HAS_IMAGE | SAME_REL))
            | u32::from((first & HAS_DATA != 0) ^ (data_len != 0));
        let [spc, db, rel, block] = words(head[4..].first_chunk()?);
        let fork = Fork::from_number(first & FORK_MASK)?;
        let rel = RelFile { spc, db, rel };
        let header =
            BlockHeader { id: 0, rel, fork, block, will_init: first & WILL_INIT != 0, image: None, data_len };
        if head[20] == ID_DATA_SHORT {
            let length = HEADER_SIZE + ONE_BLOCK + usize::from(data_len) + usize::from(head[21]);
            return (odd | (length as u32 ^ record.total_len) == 0).then_some((header, None));
        }
        let head = body.first_chunk::<TWO_BLOCKS>()?;
        let (second, more_len) = (head[21], u16::from_le_bytes([head[22], head[23]]));
        let length =
            HEADER_SIZE + TWO_BLOCKS + usize::from(data_len) + usize::from(more_len) + usize::from(head[29]);
        let odd = odd
            | u32::from(head[20] ^ 1)
            | u32::from((second & (HAS_IMAGE | SAME_REL)) ^ SAME_REL)
            | u32::from((second & HAS_DATA != 0) ^ (more_len != 0))
            | u32::from(head[28] ^ ID_DATA_SHORT)
            | (length as u32 ^ record.total_len);
        let other = BlockHeader {
            id: 1,
            fork: Fork::from_number(second & FORK_MASK)?,
            block: u32::from_le_bytes([head[24], head[25], head[26], head[27]]),
            will_init: second & WILL_INIT != 0,
            data_len: more_len,
            ..header
        };
        (odd == 0).then_some((header, Some(other)))
    }

    /// Bytes of the record behind the headers read so far, as far as they are at hand.
    pub const fn behind(&self) -> usize {
        self.rest.len()
    }

    /// The next header, `None` behind the last.
    ///
    /// # Errors
    /// The headers contradict each other or the record's length.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "the innermost loop of every scan: inlined, the fragment stays in registers"
    )]
    pub fn next_fragment(&mut self) -> Result<Option<Fragment>, DecodeError> {
        if self.left <= 0 {
            return if self.left == 0 { Ok(None) } else { Err(INVALID_LENGTH) };
        }
        let [id] = self.take()?;
        let main = match id {
            0..=MAX_BLOCK_ID => return Ok(Some(Fragment::Block(self.block(id)?))),
            ID_DATA_SHORT => {
                let [len] = self.take()?;
                u32::from(len)
            }
            ID_DATA_LONG => u32::from_le_bytes(self.take()?),
            ID_ORIGIN => return Ok(Some(Fragment::Origin(u16::from_le_bytes(self.take()?)))),
            ID_TOPLEVEL_XID if self.major >= Major::V14 => {
                return Ok(Some(Fragment::TopLevelXid(u32::from_le_bytes(self.take()?))));
            }
            _ => return Err(DecodeError("invalid block_id")),
        };
        // the main data are the last fragment: what comes next is payload
        if self.left != main as isize {
            return Err(INVALID_LENGTH);
        }
        self.left = 0;
        Ok(Some(Fragment::Main(main)))
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as next_fragment")]
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(INVALID_LENGTH)?;
        self.rest = rest;
        self.left -= N as isize;
        Ok(*taken)
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as next_fragment")]
    fn block(&mut self, id: u8) -> Result<BlockHeader, DecodeError> {
        if id < self.next_id {
            return Err(DecodeError("out-of-order block_id"));
        }
        self.next_id = id + 1;
        let [flags, low, high] = self.take()?;
        let data_len = u16::from_le_bytes([low, high]);
        let Some(fork) = Fork::from_number(flags & FORK_MASK) else {
            return Err(DecodeError("invalid fork number"));
        };
        if (flags & HAS_DATA != 0) != (data_len != 0) {
            return Err(DecodeError("BKPBLOCK_HAS_DATA and the data length disagree"));
        }
        self.left -= data_len as isize;
        let image = if flags & HAS_IMAGE == 0 { None } else { Some(self.image()?) };
        let (rel, block) = if flags & SAME_REL == 0 {
            let [spc, db, rel, block] = words(&self.take()?);
            let rel = RelFile { spc, db, rel };
            self.rel = Some(rel);
            (rel, block)
        } else {
            let Some(rel) = self.rel else {
                return Err(DecodeError("BKPBLOCK_SAME_REL set but no previous rel"));
            };
            (rel, u32::from_le_bytes(self.take()?))
        };
        Ok(BlockHeader { id, rel, fork, block, will_init: flags & WILL_INIT != 0, image, data_len })
    }

    #[inline]
    fn image(&mut self) -> Result<ImageHeader, DecodeError> {
        const HAS_HOLE: u8 = 1;
        let [l0, l1, h0, h1, info] = self.take()?;
        let (len, hole_offset) = (u16::from_le_bytes([l0, l1]), u16::from_le_bytes([h0, h1]));
        let (compression, apply) = if self.major >= Major::V15 {
            let compression = match info & (4 | 8 | 16) {
                0 => Compression::None,
                4 => Compression::Pglz,
                8 => Compression::Lz4,
                16 => Compression::Zstd,
                _ => return Err(DecodeError("image with several compression methods")),
            };
            (compression, info & 2 != 0)
        } else {
            let compression = if info & 2 == 0 { Compression::None } else { Compression::Pglz };
            (compression, self.major < Major::V10 || info & 4 != 0)
        };
        let page = crate::pg::BLOCK_SIZE as u16;
        let hole_length = if compression == Compression::None {
            page.checked_sub(len).ok_or(DecodeError("image longer than a page"))?
        } else if info & HAS_HOLE == 0 {
            0
        } else {
            u16::from_le_bytes(self.take()?)
        };
        if (info & HAS_HOLE != 0) != (hole_length != 0) || hole_offset.saturating_add(hole_length) > page {
            return Err(DecodeError("image with an impossible hole"));
        }
        self.left -= len as isize;
        Ok(ImageHeader { len, hole_offset, hole_length, compression, apply })
    }
}

/// A full-page image with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// Where the left-out zeros begin in the page.
    pub hole_offset: u16,
    /// How many zeros were left out.
    pub hole_length: u16,
    /// To be restored at replay.
    pub apply: bool,
    /// How `bytes` is packed.
    pub compression: Compression,
    /// As they stand in the record.
    pub bytes: &'a [u8],
}

/// A block reference with its bytes.
#[derive(Debug, Clone, Copy)]
pub struct BlockRef<'a> {
    /// Number of the reference within the record.
    pub id: u8,
    /// The relation.
    pub rel: RelFile,
    /// The relation fork.
    pub fork: Fork,
    /// The block.
    pub block: BlockNumber,
    /// Replay builds the page from nothing.
    pub will_init: bool,
    /// Full-page image.
    pub image: Option<Image<'a>>,
    /// Data that belong to the block.
    pub data: &'a [u8],
}

/// A record taken apart.
#[derive(Debug, Clone, Default)]
pub struct Decoded<'a> {
    /// Block references in the order of the record; find them by `id`, never by place.
    pub blocks: Vec<BlockRef<'a>>,
    /// Main data.
    pub main: &'a [u8],
    /// Replication origin.
    pub origin: Option<u16>,
    /// Transaction to which the record's subtransaction belongs (14+).
    pub toplevel_xid: Option<Xid>,
}

impl<'a> Decoded<'a> {
    /// The block reference with this id.
    pub fn block(&self, id: u8) -> Option<&BlockRef<'a>> {
        self.blocks.iter().find(|b| b.id == id)
    }
}

/// Bytes of a record, by their offsets from its start.
pub type Place = std::ops::Range<u32>;

/// A block reference, and where its bytes lie in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPart {
    /// What its header says.
    pub header: BlockHeader,
    /// The bytes of the full-page image; empty without one.
    pub image: Place,
    /// The data that belong to the block.
    pub data: Place,
}

/// A record taken apart by positions: borrows nothing, so one value serves for every record of a run without
/// allocating again.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Block references in the order of the record; find them by `id`, never by place.
    pub blocks: Vec<BlockPart>,
    /// Main data.
    pub main: Place,
    /// Replication origin.
    pub origin: Option<u16>,
    /// Transaction to which the record's subtransaction belongs (14+).
    pub toplevel_xid: Option<Xid>,
}

impl Parts {
    /// Takes `record`, which has to be whole, apart; what was here before is gone.
    ///
    /// # Errors
    /// The inside does not add up, or the reader gave only its first bytes.
    #[inline]
    pub fn read(&mut self, record: &Record<'_>, major: Major) -> Result<(), DecodeError> {
        self.read_headers(record, major)?;
        if self.main.end as usize > record.bytes.len() {
            return Err(DecodeError("record with invalid length"));
        }
        Ok(())
    }

    /// As [`Self::read`] of a record of which only the first bytes may be at hand: positions may lie behind them.
    ///
    /// # Errors
    /// The inside does not add up.
    #[inline]
    pub fn read_headers(&mut self, record: &Record<'_>, major: Major) -> Result<(), DecodeError> {
        self.blocks.clear();
        (self.main, self.origin, self.toplevel_xid) = (0..0, None, None);
        let mut fragments = Fragments::new(record, major);
        let mut main_len = 0;
        while let Some(fragment) = fragments.next_fragment()? {
            match fragment {
                Fragment::Block(header) => {
                    self.blocks.push(BlockPart { header, image: 0..0, data: 0..0 });
                }
                Fragment::Main(len) => main_len = len,
                Fragment::Origin(id) => self.origin = Some(id),
                Fragment::TopLevelXid(xid) => self.toplevel_xid = Some(xid),
            }
        }
        let mut at = (record.bytes.len() - fragments.rest.len()) as u32;
        let mut take = |len: u32| {
            let place = at..at.saturating_add(len);
            at = place.end;
            place
        };
        for block in &mut self.blocks {
            block.image = take(block.header.image.map_or(0, |image| u32::from(image.len)));
            block.data = take(u32::from(block.header.data_len));
        }
        self.main = take(main_len);
        Ok(())
    }

    /// The block reference with this id.
    #[inline]
    pub fn block(&self, id: u8) -> Option<&BlockPart> {
        self.blocks.iter().find(|b| b.header.id == id)
    }
}

impl<'a> Record<'a> {
    /// The bytes at `place`; empty where the record is not whole.
    #[inline]
    pub fn slice(&self, place: &Place) -> &'a [u8] {
        self.bytes.get(place.start as usize..place.end as usize).unwrap_or_default()
    }

    /// Takes the record apart without copying.
    ///
    /// # Errors
    /// The inside does not add up, or the reader gave only its first bytes.
    pub fn decode(&self, major: Major) -> Result<Decoded<'a>, DecodeError> {
        let mut fragments = Fragments::new(self, major);
        let mut headers = Vec::new();
        let (mut main_len, mut origin, mut toplevel_xid) = (0usize, None, None);
        while let Some(fragment) = fragments.next_fragment()? {
            match fragment {
                Fragment::Block(header) => headers.push(header),
                Fragment::Main(len) => main_len = len as usize,
                Fragment::Origin(id) => origin = Some(id),
                Fragment::TopLevelXid(xid) => toplevel_xid = Some(xid),
            }
        }
        let mut payload = Bytes::new(fragments.rest);
        let mut blocks = Vec::with_capacity(headers.len());
        for header in headers {
            let image = match header.image {
                Some(image) => Some(Image {
                    hole_offset: image.hole_offset,
                    hole_length: image.hole_length,
                    apply: image.apply,
                    compression: image.compression,
                    bytes: payload.take(usize::from(image.len))?,
                }),
                None => None,
            };
            blocks.push(BlockRef {
                id: header.id,
                rel: header.rel,
                fork: header.fork,
                block: header.block,
                will_init: header.will_init,
                image,
                data: payload.take(usize::from(header.data_len))?,
            });
        }
        Ok(Decoded { blocks, main: payload.take(main_len)?, origin, toplevel_xid })
    }

    /// The main data, without taking the rest apart; `None` if the record is not whole or does not add up.
    pub fn main_data(&self, major: Major) -> Option<&'a [u8]> {
        let mut fragments = Fragments::new(self, major);
        let mut main_len = 0usize;
        while let Some(fragment) = fragments.next_fragment().ok()? {
            if let Fragment::Main(len) = fragment {
                main_len = len as usize;
            }
        }
        let whole = self.bytes.get(..self.total_len as usize)?;
        whole.get(whole.len().checked_sub(main_len)?..)
    }
}
