//! Which rows a heap record inserts, updates or deletes (`xl_heap_insert` and its like, heapam_xlog.h).

use crate::pg::bytes::{Bytes, Short};
use crate::pg::page::OffsetNumber;
use crate::pg::tuple::{HEADER_SIZE, TupleMut};
use crate::pg::{BlockNumber, Fork, Xid};
use crate::wal::record::{BlockRef, Decoded, Record};
use crate::wal::rmgr::{id, op};

const INSERT: u8 = 0x00;
const DELETE: u8 = 0x10;
const UPDATE: u8 = 0x20;
const HOT_UPDATE: u8 = 0x40;
const CONFIRM: u8 = 0x50;
const MULTI_INSERT: u8 = 0x50;

const INSERT_IS_SPECULATIVE: u8 = 0x04;
const DELETE_CONTAINS_OLD_TUPLE: u8 = 0x02;
const DELETE_CONTAINS_OLD_KEY: u8 = 0x04;
const DELETE_IS_SUPER: u8 = 0x08;
const UPDATE_CONTAINS_OLD_TUPLE: u8 = 0x04;
const UPDATE_CONTAINS_OLD_KEY: u8 = 0x08;
const UPDATE_PREFIX_FROM_OLD: u8 = 0x20;
const UPDATE_SUFFIX_FROM_OLD: u8 = 0x40;

/// `xl_heap_header` in bytes.
const WAL_HEADER: usize = 5;

/// Block and line pointer.
pub type Place = (BlockNumber, OffsetNumber);

/// The replica identity that a record holds with `wal_level` logical.
#[derive(Debug, Clone)]
pub struct Logged {
    /// A tuple; for a key with NULL in all other columns.
    pub tuple: Vec<u8>,
    /// The whole old row rather than its key.
    pub whole: bool,
}

/// What happens to a row.
#[derive(Debug, Clone)]
pub enum RowOp {
    /// A new row; the tuple if the record has it.
    Insert {
        /// Where.
        at: Place,
        /// The tuple, if it stands in the record.
        tuple: Option<Vec<u8>>,
        /// To be confirmed or taken back by a later record.
        speculative: bool,
    },
    /// A row is replaced.
    Update {
        /// Where it was.
        old: Place,
        /// Where its new version is.
        new: Place,
        /// The new version, if it stands in the record whole.
        tuple: Option<Vec<u8>>,
        /// What the record holds of the old one.
        logged: Option<Logged>,
    },
    /// A row is deleted.
    Delete {
        /// Where it was.
        at: Place,
        /// What the record holds of it.
        logged: Option<Logged>,
    },
    /// A speculative insertion is taken back.
    TakeBack(Place),
    /// A speculative insertion counts.
    Confirm(Place),
}

/// The rows that a record of Heap or Heap2 changes; empty for other operations.
///
/// # Errors
/// The record is shorter than its kind.
pub fn row_ops(record: &Record<'_>, decoded: &Decoded<'_>) -> Result<Vec<RowOp>, Short> {
    let main = Bytes::new(decoded.main);
    let Some(block) = decoded.block(0).filter(|b| b.fork == Fork::Main) else { return Ok(Vec::new()) };
    let operation = record.info & op::HEAP_MASK;
    Ok(match (record.rmid, operation) {
        (id::HEAP, INSERT) => {
            let (number, flags) = (main.u16_at(0)?, main.u8_at(2)?);
            let tuple = in_record(block, record.xid)?;
            let speculative = flags & INSERT_IS_SPECULATIVE != 0;
            vec![RowOp::Insert { at: (block.block, number), tuple, speculative }]
        }
        (id::HEAP, DELETE) => {
            let (number, flags) = (main.u16_at(4)?, main.u8_at(7)?);
            let at = (block.block, number);
            if flags & DELETE_IS_SUPER != 0 {
                return Ok(vec![RowOp::TakeBack(at)]);
            }
            let whole = flags & DELETE_CONTAINS_OLD_TUPLE != 0;
            let has = whole || flags & DELETE_CONTAINS_OLD_KEY != 0;
            let logged = if has { logged(decoded.main, 8, whole)? } else { None };
            vec![RowOp::Delete { at, logged }]
        }
        (id::HEAP, UPDATE | HOT_UPDATE) => {
            let (old_number, flags, new_number) = (main.u16_at(4)?, main.u8_at(7)?, main.u16_at(12)?);
            let old_block =
                decoded.block(1).filter(|b| b.fork == Fork::Main).map_or(block.block, |b| b.block);
            let shared = flags & (UPDATE_PREFIX_FROM_OLD | UPDATE_SUFFIX_FROM_OLD) != 0;
            let tuple = if shared { None } else { in_record(block, record.xid)? };
            let whole = flags & UPDATE_CONTAINS_OLD_TUPLE != 0;
            let has = whole || flags & UPDATE_CONTAINS_OLD_KEY != 0;
            let logged = if has { logged(decoded.main, 14, whole)? } else { None };
            vec![RowOp::Update {
                old: (old_block, old_number),
                new: (block.block, new_number),
                tuple,
                logged,
            }]
        }
        (id::HEAP, CONFIRM) => vec![RowOp::Confirm((block.block, main.u16_at(0)?))],
        (id::HEAP2, MULTI_INSERT) => {
            let init = record.info & op::HEAP_INIT_PAGE != 0;
            let count = main.u16_at(2)?;
            let mut data = Bytes::new(block.data);
            let mut ops = Vec::with_capacity(usize::from(count).min(512));
            for i in 0..count {
                let number = if init { i.saturating_add(1) } else { main.u16_at(4 + 2 * usize::from(i))? };
                let mut tuple = None;
                if !block.data.is_empty() {
                    data.align(2)?;
                    let length = usize::from(data.u16()?);
                    let header = data.take(WAL_HEADER)?;
                    tuple = Some(whole_tuple(header, data.take(length)?, record.xid));
                }
                ops.push(RowOp::Insert { at: (block.block, number), tuple, speculative: false });
            }
            ops
        }
        _ => Vec::new(),
    })
}

/// The tuple in the block's data. With a full-page image there may be none.
fn in_record(block: &BlockRef<'_>, xid: Xid) -> Result<Option<Vec<u8>>, Short> {
    if block.data.len() <= WAL_HEADER {
        return Ok(None);
    }
    let mut data = Bytes::new(block.data);
    let header = data.take(WAL_HEADER)?;
    Ok(Some(whole_tuple(header, data.rest(), xid)))
}

fn logged(main: &[u8], at: usize, whole: bool) -> Result<Option<Logged>, Short> {
    let mut data = Bytes::new(main);
    data.skip(at)?;
    let header = data.take(WAL_HEADER)?;
    Ok(Some(Logged { tuple: whole_tuple(header, data.rest(), 0), whole }))
}

/// A tuple as it lies on a page, from the header that a record has (infomask2, infomask, hoff) and what follows it.
fn whole_tuple(header: &[u8], rest: &[u8], xmin: Xid) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_SIZE + rest.len());
    bytes.resize(HEADER_SIZE, 0);
    bytes.extend_from_slice(rest);
    let header = Bytes::new(header);
    if let Ok(mut tuple) = TupleMut::open(&mut bytes) {
        tuple.set_xmin(xmin);
        tuple.set_infomask2(header.u16_at(0).unwrap_or_default());
        tuple.set_infomask(header.u16_at(2).unwrap_or_default());
        tuple.set_hoff(header.u8_at(4).unwrap_or_default());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pg::{Lsn, RelFile};

    fn record(rmid: u8, info: u8) -> Record<'static> {
        Record { lsn: Lsn(8), end: Lsn(64), xid: 700, prev: Lsn(0), info, rmid, total_len: 56, bytes: &[] }
    }

    fn block(data: &[u8]) -> BlockRef<'_> {
        let rel = RelFile { spc: 1663, db: 5, rel: 16384 };
        BlockRef { id: 0, rel, fork: Fork::Main, block: 9, will_init: false, image: None, data }
    }

    #[test]
    fn a_tuple_stands_in_the_record() {
        // infomask2: 1 column; infomask: no nulls; hoff 24; a byte of padding, then an int4
        let data = [1, 0, 0, 8, 24, 0, 77, 0, 0, 0];
        let decoded = Decoded { blocks: vec![block(&data)], main: &[3, 0, 0], ..Decoded::default() };
        let ops = row_ops(&record(id::HEAP, INSERT), &decoded).unwrap();
        let [RowOp::Insert { at: (9, 3), tuple: Some(tuple), speculative: false }] = &ops[..] else {
            panic!("{ops:?}")
        };
        assert_eq!(
            (tuple.len(), &tuple[24..], &tuple[..4]),
            (28, &[77, 0, 0, 0][..], &700u32.to_le_bytes()[..])
        );
    }

    #[test]
    fn with_an_image_there_may_be_none() {
        let decoded = Decoded { blocks: vec![block(&[])], main: &[3, 0, 4], ..Decoded::default() };
        let ops = row_ops(&record(id::HEAP, INSERT), &decoded).unwrap();
        assert!(matches!(&ops[..], [RowOp::Insert { tuple: None, speculative: true, .. }]), "{ops:?}");
    }

    proptest! {
        #[test]
        fn arbitrary_records_never_panic(
            heap2 in any::<bool>(), info in any::<u8>(), main in prop::collection::vec(any::<u8>(), 0..60),
            data in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let rmid = if heap2 { id::HEAP2 } else { id::HEAP };
            let decoded = Decoded { blocks: vec![block(&data)], main: &main, ..Decoded::default() };
            let _ = row_ops(&record(rmid, info), &decoded);
        }
    }
}
