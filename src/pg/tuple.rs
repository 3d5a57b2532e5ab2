//! Heap tuples (`HeapTupleHeaderData`, htup_details.h).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use super::bytes::{Bytes, Short};
use super::page::OffsetNumber;
use super::{BlockNumber, Oid, Xid};

/// Size of the fixed header in bytes (`SizeofHeapTupleHeader`); null bitmap and padding follow it.
pub const HEADER_SIZE: usize = 23;

/// Bits of `t_infomask`.
#[allow(missing_docs)]
pub mod infomask {
    pub const HAS_NULLS: u16 = 0x0001;
    /// A value is stored out of line, in the TOAST relation.
    pub const HAS_EXTERNAL: u16 = 0x0004;
    /// The row has a hidden OID in front of its data (up to 11).
    pub const HAS_OID: u16 = 0x0008;
    pub const XMAX_KEYSHR_LOCK: u16 = 0x0010;
    pub const COMBO_CID: u16 = 0x0020;
    pub const XMAX_EXCL_LOCK: u16 = 0x0040;
    pub const XMAX_LOCK_ONLY: u16 = 0x0080;
    pub const XMIN_COMMITTED: u16 = 0x0100;
    pub const XMIN_INVALID: u16 = 0x0200;
    /// Both bits: visible to everybody, whatever `t_xmin` says.
    pub const XMIN_FROZEN: u16 = XMIN_COMMITTED | XMIN_INVALID;
    pub const XMAX_COMMITTED: u16 = 0x0400;
    pub const XMAX_INVALID: u16 = 0x0800;
    pub const XMAX_IS_MULTI: u16 = 0x1000;
    /// It is what an UPDATE made of an older version.
    pub const UPDATED: u16 = 0x2000;
    /// Moved by a VACUUM FULL of 8.4 or before (`HEAP_MOVED`).
    pub const MOVED: u16 = 0xC000;
    /// Everything that says something of `t_xmax` (`HEAP_XMAX_BITS`).
    pub const XMAX_BITS: u16 =
        XMAX_COMMITTED | XMAX_INVALID | XMAX_IS_MULTI | XMAX_EXCL_LOCK | XMAX_KEYSHR_LOCK | XMAX_LOCK_ONLY;
}

/// Bits of `t_infomask2`; the low eleven are the number of columns.
#[allow(missing_docs)]
pub mod infomask2 {
    /// Number of columns.
    pub const COLUMNS: u16 = 0x07FF;
    pub const KEYS_UPDATED: u16 = 0x2000;
    pub const HOT_UPDATED: u16 = 0x4000;
    /// No index points to it.
    pub const HEAP_ONLY: u16 = 0x8000;
}

/// `FrozenTransactionId`: committed, and older than every other.
pub const FROZEN_XID: Xid = 2;

/// A tuple to read from.
#[derive(Debug, Clone, Copy)]
pub struct Tuple<'a> {
    bytes: Bytes<'a>,
    data: &'a [u8],
}

impl<'a> Tuple<'a> {
    /// The tuple in an item's bytes.
    ///
    /// # Errors
    /// They end before the header or before the data that it announces.
    pub fn read(item: &'a [u8]) -> Result<Self, Short> {
        let bytes = Bytes::new(item);
        bytes.slice_at(0, HEADER_SIZE)?;
        let hoff = usize::from(bytes.u8_at(22)?).max(HEADER_SIZE);
        let data = bytes.slice_at(hoff, item.len().saturating_sub(hoff))?;
        Ok(Self { bytes, data })
    }

    /// The transaction that made the row (`t_xmin`; see [`infomask::XMIN_FROZEN`]).
    pub fn xmin(&self) -> Xid {
        self.bytes.u32_at(0).unwrap_or_default()
    }

    /// The transaction or multixact that deleted, replaced or locked the row (`t_xmax`).
    pub fn xmax(&self) -> u32 {
        self.bytes.u32_at(4).unwrap_or_default()
    }

    /// Bits of [`infomask`].
    pub fn infomask(&self) -> u16 {
        self.bytes.u16_at(20).unwrap_or_default()
    }

    /// Bits of [`infomask2`].
    pub fn infomask2(&self) -> u16 {
        self.bytes.u16_at(18).unwrap_or_default()
    }

    /// Where the next version of the row is, or the row itself (`t_ctid`).
    pub fn ctid(&self) -> (BlockNumber, OffsetNumber) {
        let half = |at| u32::from(self.bytes.u16_at(at).unwrap_or_default());
        (half(12) << 16 | half(14), half(16) as OffsetNumber)
    }

    /// The row's columns, from the first on: bytes behind the header, null bitmap and padding.
    pub const fn data(&self) -> &'a [u8] {
        self.data
    }

    /// The hidden OID of a row (up to 11).
    pub fn oid(&self) -> Option<Oid> {
        let hoff = usize::from(self.bytes.u8_at(22).ok()?);
        let has = self.infomask() & infomask::HAS_OID != 0;
        has.then(|| self.bytes.u32_at(hoff.checked_sub(4)?).ok()).flatten()
    }
}

/// A tuple to change, as replay changes it.
#[derive(Debug)]
pub struct TupleMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> TupleMut<'a> {
    /// The tuple in an item's bytes.
    ///
    /// # Errors
    /// They end before the header does.
    pub fn open(item: &'a mut [u8]) -> Result<Self, Short> {
        Bytes::new(item).slice_at(0, HEADER_SIZE)?;
        Ok(Self { bytes: item })
    }

    /// Sets `t_xmin`.
    pub fn set_xmin(&mut self, xid: Xid) {
        self.put(0, xid.to_le_bytes());
    }

    /// Sets `t_xmax`.
    pub fn set_xmax(&mut self, xmax: u32) {
        self.put(4, xmax.to_le_bytes());
    }

    /// Sets `t_cid` to the first command, without a combo CID (replay does not know commands).
    pub fn reset_command(&mut self) {
        self.put(8, [0; 4]);
        self.set_infomask(self.infomask() & !infomask::COMBO_CID);
    }

    /// Sets `t_xvac` (rows moved by 8.4 or before).
    pub fn set_xvac(&mut self, xid: Xid) {
        self.put(8, xid.to_le_bytes());
    }

    /// Sets `t_ctid`: where the next version of the row is.
    pub fn set_ctid(&mut self, block: BlockNumber, number: OffsetNumber) {
        self.put(12, ((block >> 16) as u16).to_le_bytes());
        self.put(14, (block as u16).to_le_bytes());
        self.put(16, number.to_le_bytes());
    }

    /// Bits of [`infomask2`].
    pub fn infomask2(&self) -> u16 {
        Bytes::new(self.bytes).u16_at(18).unwrap_or_default()
    }

    /// Sets `t_infomask2`.
    pub fn set_infomask2(&mut self, bits: u16) {
        self.put(18, bits.to_le_bytes());
    }

    /// Bits of [`infomask`].
    pub fn infomask(&self) -> u16 {
        Bytes::new(self.bytes).u16_at(20).unwrap_or_default()
    }

    /// Sets `t_infomask`.
    pub fn set_infomask(&mut self, bits: u16) {
        self.put(20, bits.to_le_bytes());
    }

    /// Sets `t_hoff`.
    pub fn set_hoff(&mut self, hoff: u8) {
        self.put(22, [hoff]);
    }

    /// The row's columns, to overwrite.
    pub fn data(&mut self) -> &mut [u8] {
        let hoff = usize::from(self.bytes.get(22).copied().unwrap_or_default()).max(HEADER_SIZE);
        self.bytes.get_mut(hoff..).unwrap_or_default()
    }

    fn put<const N: usize>(&mut self, at: usize, value: [u8; N]) {
        if let Some(place) = self.bytes.get_mut(at..at + N) {
            place.copy_from_slice(&value);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn written_fields_are_read_back() {
        let mut bytes = [0u8; 40];
        bytes[28..32].copy_from_slice(&77u32.to_le_bytes());
        bytes[32..].copy_from_slice(b"columns!");
        let mut tuple = TupleMut::open(&mut bytes).unwrap();
        tuple.set_hoff(32);
        tuple.set_xmin(700);
        tuple.set_xmax(800);
        tuple.set_ctid(0x0001_0002, 3);
        tuple.set_infomask(infomask::HAS_OID | infomask::COMBO_CID);
        tuple.reset_command();
        assert_eq!(bytes[12..18], [1, 0, 2, 0, 3, 0]);
        let tuple = Tuple::read(&bytes).unwrap();
        assert_eq!(
            (tuple.xmin(), tuple.xmax(), tuple.oid(), tuple.data()),
            (700, 800, Some(77), &b"columns!"[..])
        );
        assert_eq!(tuple.infomask(), infomask::HAS_OID);
        assert_eq!(tuple.ctid(), (0x0001_0002, 3));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(tuple) = Tuple::read(&bytes) {
                prop_assert!(tuple.data().len() + HEADER_SIZE <= bytes.len());
                let _ = (tuple.oid(), tuple.xmin(), tuple.xmax());
            }
            if let Ok(mut tuple) = TupleMut::open(&mut bytes) {
                tuple.set_ctid(1, 2);
                tuple.data().fill(0);
            }
        }
    }
}
