//! What heap records do to a page (`heap_redo`, `heap2_redo`; heapam.c, from 17 heapam_xlog.c).

use thiserror::Error;

use crate::pg::bytes::{Bytes, Short};
use crate::pg::page::{LinePointer, OffsetNumber, PageBytes, PageError, PageMut};
use crate::pg::pglz::PglzError;
use crate::pg::tuple::{self, FROZEN_XID, TupleMut, infomask, infomask2};
use crate::pg::{BlockNumber, Fork, Major, Xid};
use crate::wal::record::{BlockRef, DecodeError, Decoded, Record};
use crate::wal::rmgr::{id, op};

use super::visibility::locked_only;

/// A record that cannot be replayed over the page that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum RedoError {
    #[error(transparent)]
    Short(#[from] Short),
    #[error(transparent)]
    Page(#[from] PageError),
    #[error(transparent)]
    Pglz(#[from] PglzError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error("a full-page image that does not unpack to a page")]
    Image,
    #[error("the block is not there")]
    NoBlock,
    #[error("the tuple's parts do not fit together")]
    Tuple,
    #[error("it holds no valid relation map")]
    Map,
}

const INSERT: u8 = 0x00;
const DELETE: u8 = 0x10;
const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const CONFIRM: u8 = 0x50;
const LOCK: u8 = 0x60;
const INPLACE: u8 = 0x70;

const PRUNE: u8 = 0x10;
const OP_20: u8 = 0x20;
const OP_30: u8 = 0x30;
const VISIBLE: u8 = 0x40;
const MULTI_INSERT: u8 = 0x50;
const LOCK_UPDATED: u8 = 0x60;

/// The first flag of INSERT, DELETE, UPDATE (for the old page) and MULTI_INSERT: the page is no longer all-visible.
const ALL_VISIBLE_CLEARED: u8 = 0x01;
/// INSERT and MULTI_INSERT, 14+: every tuple on the page is frozen.
const ALL_FROZEN_SET: u8 = 0x20;
const DELETE_IS_SUPER: u8 = 0x08;
const DELETE_IS_PARTITION_MOVE: u8 = 0x10;
const UPDATE_NEW_ALL_VISIBLE_CLEARED: u8 = 0x02;
const UPDATE_PREFIX_FROM_OLD: u8 = 0x20;
const UPDATE_SUFFIX_FROM_OLD: u8 = 0x40;

/// Size of `xl_heap_header` in a record in bytes: infomask2, infomask, hoff.
const TUPLE_HEADER_IN_WAL: usize = 5;

/// Changes the page of `block` as the record says. False if the record does not move the page's LSN.
///
/// # Errors
/// Record and page contradict each other; the page may be half changed.
pub fn redo(
    record: &Record<'_>,
    decoded: &Decoded<'_>,
    block: &BlockRef<'_>,
    major: Major,
    page: &mut PageBytes,
) -> Result<bool, RedoError> {
    let operation = record.info & op::HEAP_MASK;
    let init = block.will_init || (block.id == 0 && record.info & op::HEAP_INIT_PAGE != 0);
    let page = if init { PageMut::init(page) } else { PageMut::open(page)? };
    let mut redo =
        Redo { xid: record.xid, main: Bytes::new(decoded.main), block: block.block, data: block.data, page };
    match (record.rmid, operation, block.id) {
        (id::HEAP, INSERT, 0) => redo.insert()?,
        (id::HEAP, DELETE, 0) => redo.delete()?,
        (id::HEAP, UPDATE | HOT_UPDATE, 0 | 1) => {
            let hot = operation == HOT_UPDATE;
            let new = decoded.block(0).map_or(block.block, |b| b.block);
            // blocks of the visibility map may follow, under higher numbers
            let two_pages = decoded.block(1).is_some_and(|b| b.fork == Fork::Main && b.block != new);
            if block.id == 1 || !two_pages {
                redo.update_old(new, hot)?;
            }
            if block.id == 0 {
                redo.update_new()?;
            }
        }
        (id::HEAP, CONFIRM, 0) => {
            let number = redo.main.u16_at(0)?;
            let block = redo.block;
            redo.tuple(number)?.set_ctid(block, number);
        }
        (id::HEAP, LOCK, 0) => redo.lock(true)?,
        (id::HEAP, INPLACE, 0) => {
            let (number, data) = (redo.main.u16_at(0)?, redo.data);
            let mut tuple = redo.tuple(number)?;
            let place = tuple.data();
            if place.len() != data.len() {
                return Err(RedoError::Tuple);
            }
            place.copy_from_slice(data);
        }
        (id::HEAP2, MULTI_INSERT, 0) => redo.multi_insert(init)?,
        (id::HEAP2, LOCK_UPDATED, 0) => redo.lock(false)?,
        (id::HEAP2, VISIBLE, 1) if major <= Major::V18 => {
            redo.page.set_all_visible(true);
            return Ok(false);
        }
        (id::HEAP2, PRUNE | OP_20 | OP_30, 0) if major >= Major::V17 => redo.prune_and_freeze(major)?,
        (id::HEAP2, PRUNE, 0) => redo.prune()?,
        (id::HEAP2, OP_20, 0) if major >= Major::V14 => {
            let count = usize::from(redo.main.u16_at(0)?);
            let unused = numbers(&mut Bytes::new(redo.data), count)?;
            redo.set_pointers(&[], &[], &unused)?;
        }
        (id::HEAP2, OP_30, 0) if major == Major::V16 => {
            let mut data = Bytes::new(redo.data);
            let plans = plans(&mut data, usize::from(redo.main.u16_at(4)?))?;
            redo.freeze_by_plans(&plans, &mut data)?;
        }
        // FREEZE_PAGE: 0x20 to 13, 0x30 in 14 and 15
        (id::HEAP2, OP_20, 0) => redo.freeze()?,
        (id::HEAP2, OP_30, 0) if major >= Major::V14 => redo.freeze()?,
        // a block that this kind of record only mentions
        _ => return Ok(false),
    }
    redo.page.set_lsn(record.end.align8());
    Ok(true)
}

/// One page and what the record says of it.
struct Redo<'a, 'p> {
    xid: Xid,
    main: Bytes<'a>,
    block: BlockNumber,
    data: &'a [u8],
    page: PageMut<'p>,
}

impl Redo<'_, '_> {
    fn tuple(&mut self, number: OffsetNumber) -> Result<TupleMut<'_>, RedoError> {
        Ok(TupleMut::open(self.page.item(number)?)?)
    }

    fn insert(&mut self) -> Result<(), RedoError> {
        let (number, flags) = (self.main.u16_at(0)?, self.main.u8_at(2)?);
        let mut data = Bytes::new(self.data);
        let header = WalTuple::header(&mut data)?;
        self.add(number, &header, data.rest(), (&[], &[]), 0)?;
        self.all_visible(flags, ALL_VISIBLE_CLEARED);
        if flags & ALL_FROZEN_SET != 0 {
            self.page.set_all_visible(true);
        }
        Ok(())
    }

    fn multi_insert(&mut self, init: bool) -> Result<(), RedoError> {
        let (flags, count) = (self.main.u8_at(0)?, self.main.u16_at(2)?);
        let mut data = Bytes::new(self.data);
        for i in 0..count {
            let number = if init { i.saturating_add(1) } else { self.main.u16_at(4 + 2 * usize::from(i))? };
            data.align(2)?;
            let length = usize::from(data.u16()?);
            let header = WalTuple::header(&mut data)?;
            self.add(number, &header, data.take(length)?, (&[], &[]), 0)?;
        }
        self.all_visible(flags, ALL_VISIBLE_CLEARED);
        if flags & ALL_FROZEN_SET != 0 {
            self.page.set_all_visible(true);
        }
        Ok(())
    }

    fn delete(&mut self) -> Result<(), RedoError> {
        let (xmax, number) = (self.main.u32_at(0)?, self.main.u16_at(4)?);
        let (infobits, flags) = (self.main.u8_at(6)?, self.main.u8_at(7)?);
        let block = self.block;
        let mut tuple = self.tuple(number)?;
        set_xmax_bits(&mut tuple, infobits);
        tuple.set_infomask2(tuple.infomask2() & !infomask2::HOT_UPDATED);
        if flags & DELETE_IS_SUPER == 0 {
            tuple.set_xmax(xmax);
        } else {
            tuple.set_xmin(0);
        }
        tuple.reset_command();
        if flags & DELETE_IS_PARTITION_MOVE == 0 {
            tuple.set_ctid(block, number);
        } else {
            tuple.set_ctid(u32::MAX, 0xFFFD);
        }
        self.all_visible(flags, ALL_VISIBLE_CLEARED);
        Ok(())
    }

    fn update_old(&mut self, new_block: BlockNumber, hot: bool) -> Result<(), RedoError> {
        let (xmax, number) = (self.main.u32_at(0)?, self.main.u16_at(4)?);
        let (infobits, flags) = (self.main.u8_at(6)?, self.main.u8_at(7)?);
        let new_number = self.main.u16_at(12)?;
        let mut tuple = self.tuple(number)?;
        set_xmax_bits(&mut tuple, infobits);
        let bits = tuple.infomask2() & !infomask2::HOT_UPDATED;
        tuple.set_infomask2(if hot { bits | infomask2::HOT_UPDATED } else { bits });
        tuple.set_xmax(xmax);
        tuple.reset_command();
        tuple.set_ctid(new_block, new_number);
        self.all_visible(flags, ALL_VISIBLE_CLEARED);
        Ok(())
    }

    fn update_new(&mut self) -> Result<(), RedoError> {
        let (old_number, flags) = (self.main.u16_at(4)?, self.main.u8_at(7)?);
        let (xmax, number) = (self.main.u32_at(8)?, self.main.u16_at(12)?);
        let mut data = Bytes::new(self.data);
        let mut shared = |flag| if flags & flag == 0 { Ok(0) } else { data.u16().map(usize::from) };
        let (prefix_len, suffix_len) = (shared(UPDATE_PREFIX_FROM_OLD)?, shared(UPDATE_SUFFIX_FROM_OLD)?);
        let header = WalTuple::header(&mut data)?;
        let (mut prefix, mut suffix) = (Vec::new(), Vec::new());
        if prefix_len + suffix_len > 0 {
            // the old version is then on the same page
            let mut old = self.tuple(old_number)?;
            let old = Bytes::new(old.data());
            prefix.extend_from_slice(old.slice_at(0, prefix_len)?);
            let start = old.remaining().checked_sub(suffix_len).ok_or(RedoError::Tuple)?;
            suffix.extend_from_slice(old.slice_at(start, suffix_len)?);
        }
        self.add(number, &header, data.rest(), (&prefix, &suffix), xmax)?;
        self.all_visible(flags, UPDATE_NEW_ALL_VISIBLE_CLEARED);
        Ok(())
    }

    /// Puts together a tuple and adds it. `body` is what follows the fixed header: null bitmap, padding, data;
    /// `shared` are the parts of the data that stand in the old version, in front of `body`'s and behind them.
    fn add(
        &mut self,
        number: OffsetNumber,
        header: &WalTuple,
        body: &[u8],
        (prefix, suffix): (&[u8], &[u8]),
        xmax: u32,
    ) -> Result<(), RedoError> {
        let bitmap_len = usize::from(header.hoff).checked_sub(tuple::HEADER_SIZE).ok_or(RedoError::Tuple)?;
        let (bitmap, data) = body.split_at_checked(bitmap_len).ok_or(RedoError::Tuple)?;
        let mut bytes = [&[0; tuple::HEADER_SIZE], bitmap, prefix, data, suffix].concat();
        let mut tuple = TupleMut::open(&mut bytes)?;
        tuple.set_xmin(self.xid);
        tuple.set_xmax(xmax);
        tuple.set_ctid(self.block, number);
        tuple.set_infomask2(header.infomask2);
        tuple.set_infomask(header.infomask);
        tuple.set_hoff(header.hoff);
        self.page.add_item(number, &bytes)?;
        Ok(())
    }

    fn all_visible(&mut self, flags: u8, cleared: u8) {
        if flags & cleared != 0 {
            self.page.set_all_visible(false);
        }
    }

    fn lock(&mut self, newest_version: bool) -> Result<(), RedoError> {
        let (xmax, number, infobits) = (self.main.u32_at(0)?, self.main.u16_at(4)?, self.main.u8_at(6)?);
        let block = self.block;
        let mut tuple = self.tuple(number)?;
        set_xmax_bits(&mut tuple, infobits);
        if newest_version {
            if locked_only(tuple.infomask()) {
                tuple.set_infomask2(tuple.infomask2() & !infomask2::HOT_UPDATED);
                tuple.set_ctid(block, number);
            }
            tuple.reset_command();
        }
        tuple.set_xmax(xmax);
        Ok(())
    }

    /// CLEAN (to 13), PRUNE (14 to 16).
    fn prune(&mut self) -> Result<(), RedoError> {
        let (redirected, dead) = (usize::from(self.main.u16_at(4)?), usize::from(self.main.u16_at(6)?));
        let mut data = Bytes::new(self.data);
        let redirected = pairs(&mut data, redirected)?;
        let dead = numbers(&mut data, dead)?;
        let rest = data.remaining() / size_of::<OffsetNumber>();
        let unused = numbers(&mut data, rest)?;
        self.set_pointers(&redirected, &dead, &unused)
    }

    /// The three PRUNE records of 17 on, which freeze as well.
    fn prune_and_freeze(&mut self, major: Major) -> Result<(), RedoError> {
        const FREEZE_PLANS: u8 = 0x10;
        const REDIRECTIONS: u8 = 0x20;
        const DEAD_ITEMS: u8 = 0x40;
        const NOW_UNUSED_ITEMS: u8 = 0x80;
        // to 18 a byte for the reason and one of flags, in 19 two of flags
        let flags = self.main.u8_at(usize::from(major < Major::V19))?;
        let mut data = Bytes::new(self.data);
        let mut list = Vec::new();
        if flags & FREEZE_PLANS != 0 {
            let count = usize::from(data.u16()?);
            data.align(4)?;
            list = plans(&mut data, count)?;
        }
        let count = |flag, data: &mut Bytes<'_>| {
            if flags & flag == 0 { Ok(0) } else { data.u16().map(usize::from) }
        };
        let n = count(REDIRECTIONS, &mut data)?;
        let redirected = pairs(&mut data, n)?;
        let n = count(DEAD_ITEMS, &mut data)?;
        let dead = numbers(&mut data, n)?;
        let n = count(NOW_UNUSED_ITEMS, &mut data)?;
        let unused = numbers(&mut data, n)?;
        if !(redirected.is_empty() && dead.is_empty() && unused.is_empty()) {
            self.set_pointers(&redirected, &dead, &unused)?;
        }
        self.freeze_by_plans(&list, &mut data)?;
        // 19: the visibility map's bits were set with the same record
        if major >= Major::V19 && self.main.u8_at(1)? & 0x03 != 0 {
            self.page.set_all_visible(true);
        }
        Ok(())
    }

    fn set_pointers(
        &mut self,
        redirected: &[(OffsetNumber, OffsetNumber)],
        dead: &[OffsetNumber],
        unused: &[OffsetNumber],
    ) -> Result<(), RedoError> {
        for (from, to) in redirected {
            self.page.set_line_pointer(*from, LinePointer::redirect(*to))?;
        }
        for number in dead {
            self.page.set_line_pointer(*number, LinePointer::DEAD)?;
        }
        for number in unused {
            self.page.set_line_pointer(*number, LinePointer::UNUSED)?;
        }
        self.page.compact();
        Ok(())
    }

    /// FREEZE_PAGE to 15: one entry for each tuple.
    fn freeze(&mut self) -> Result<(), RedoError> {
        let count = self.main.u16_at(4)?;
        let mut data = Bytes::new(self.data);
        for _ in 0..count {
            let (xmax, number) = (data.u32()?, data.u16()?);
            let (infomask2, infomask, flags) = (data.u16()?, data.u16()?, data.u8()?);
            data.skip(1)?;
            Plan { xmax, infomask2, infomask, flags, count: 1 }.apply(&mut self.tuple(number)?);
        }
        Ok(())
    }

    fn freeze_by_plans(&mut self, plans: &[Plan], data: &mut Bytes<'_>) -> Result<(), RedoError> {
        for plan in plans {
            for _ in 0..plan.count {
                let number = data.u16()?;
                plan.apply(&mut self.tuple(number)?);
            }
        }
        Ok(())
    }
}

/// A tuple's header as it stands in a record (`xl_heap_header`).
struct WalTuple {
    infomask2: u16,
    infomask: u16,
    hoff: u8,
}

impl WalTuple {
    fn header(data: &mut Bytes<'_>) -> Result<Self, Short> {
        let mut header = Bytes::new(data.take(TUPLE_HEADER_IN_WAL)?);
        Ok(Self { infomask2: header.u16()?, infomask: header.u16()?, hoff: header.u8()? })
    }
}

/// What freezing does to tuples (`xl_heap_freeze_plan`).
struct Plan {
    xmax: u32,
    infomask2: u16,
    infomask: u16,
    flags: u8,
    count: u16,
}

impl Plan {
    fn apply(&self, tuple: &mut TupleMut<'_>) {
        const FREEZE_XVAC: u8 = 0x02;
        const INVALID_XVAC: u8 = 0x04;
        tuple.set_xmax(self.xmax);
        if self.flags & FREEZE_XVAC != 0 {
            tuple.set_xvac(FROZEN_XID);
        }
        if self.flags & INVALID_XVAC != 0 {
            tuple.set_xvac(0);
        }
        tuple.set_infomask(self.infomask);
        tuple.set_infomask2(self.infomask2);
    }
}

fn plans(data: &mut Bytes<'_>, count: usize) -> Result<Vec<Plan>, Short> {
    const SIZE: usize = 12;
    let mut data = Bytes::new(data.take(count.saturating_mul(SIZE))?);
    let mut plans = Vec::with_capacity(count);
    for _ in 0..count {
        let (xmax, infomask2, infomask, flags) = (data.u32()?, data.u16()?, data.u16()?, data.u8()?);
        data.skip(1)?;
        plans.push(Plan { xmax, infomask2, infomask, flags, count: data.u16()? });
    }
    Ok(plans)
}

fn numbers(data: &mut Bytes<'_>, count: usize) -> Result<Vec<OffsetNumber>, Short> {
    let bytes = data.take(count.saturating_mul(size_of::<OffsetNumber>()))?;
    Ok(bytes.as_chunks::<2>().0.iter().map(|n| u16::from_le_bytes(*n)).collect())
}

fn pairs(data: &mut Bytes<'_>, count: usize) -> Result<Vec<(OffsetNumber, OffsetNumber)>, Short> {
    let flat = numbers(data, count.saturating_mul(2))?;
    Ok(flat.as_chunks::<2>().0.iter().map(|[from, to]| (*from, *to)).collect())
}

/// Replaces what a tuple says of its `t_xmax` by a record's bits (`fix_infomask_from_infobits`).
fn set_xmax_bits(tuple: &mut TupleMut<'_>, infobits: u8) {
    const KEYS_UPDATED: u8 = 0x10;
    let mut bits = tuple.infomask() & !(infomask::XMAX_BITS | infomask::MOVED);
    for (bit, meaning) in [
        (0x01, infomask::XMAX_IS_MULTI),
        (0x02, infomask::XMAX_LOCK_ONLY),
        (0x04, infomask::XMAX_EXCL_LOCK),
        (0x08, infomask::XMAX_KEYSHR_LOCK),
    ] {
        if infobits & bit != 0 {
            bits |= meaning;
        }
    }
    tuple.set_infomask(bits);
    let bits2 = tuple.infomask2() & !infomask2::KEYS_UPDATED;
    tuple.set_infomask2(if infobits & KEYS_UPDATED != 0 { bits2 | infomask2::KEYS_UPDATED } else { bits2 });
}
