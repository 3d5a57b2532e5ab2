//! What two servers that went through the same WAL may have different on a page of a relation: what is changed without
//! WAL, or not made by replay as it was made at first (what `wal_consistency_checking` leaves out of its comparison, and
//! the value of a sequence, which WAL runs ahead of).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use super::bytes::Bytes;
use super::page::{HEADER_SIZE, LinePointer, LineState, OffsetNumber, Page, PageBytes};
use super::{BLOCK_SIZE, BlockNumber};

/// A sequence's page ends with this word (`SEQ_MAGIC`, sequence.c).
const SEQUENCE: u32 = 0x1717;
/// A sequence's columns: last_value, log_cnt, is_called.
const SEQUENCE_BYTES: usize = 17;
/// Last words of the special space by which pages of indexes are known (`HASHO_PAGE_ID` and the like).
mod id {
    pub const HASH: u16 = 0xFF80;
    pub const GIST: u16 = 0xFF81;
    pub const SPGIST: u16 = 0xFF82;
    pub const BRIN: [u16; 3] = [0xF091, 0xF092, 0xF093];
    pub const BRIN_REGULAR: u16 = 0xF093;
}
/// `t_infomask`: what is known of its transactions (`HEAP_XACT_MASK`, htup_details.h).
const ABOUT_TRANSACTIONS: u16 = 0xFFF0;
/// `HEAP_XMIN_FROZEN`: `HEAP_XMIN_COMMITTED` and `HEAP_XMIN_INVALID`.
const FROZEN: u16 = 0x0300;
/// `HEAP_XMAX_COMMITTED` and `HEAP_XMAX_INVALID`.
const ABOUT_XMAX: u16 = 0x0C00;
/// `GIN_DELETED`.
const GIN_DELETED: usize = 4;
/// `SpecTokenOffsetNumber`: `t_ctid` holds a token until the insertion is confirmed.
const SPECULATIVE: u16 = 0xFFFE;
/// Bytes of a tuple's header before its null bitmap.
const TUPLE_HEADER: usize = 23;

/// Whose page it is, as far as its special space tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Heap,
    Sequence,
    Btree { leaf: bool, deleted: bool },
    Hash { items: bool, unused: bool },
    Gist { leaf: bool },
    Gin { deleted: bool, pending: bool },
    Spgist { meta: bool },
    Brin { regular: bool },
    Other,
}

/// Offset of the first byte that differs and counts, of two pages at the same place: `None` if nothing does.
pub fn difference(ours: &PageBytes, theirs: &PageBytes, block: BlockNumber) -> Option<usize> {
    if ours == theirs {
        return None;
    }
    let (mut a, mut b) = (*ours, *theirs);
    mask(&mut a, block);
    mask(&mut b, block);
    a.iter().zip(&b).position(|(x, y)| x != y).or_else(|| opposite(ours, theirs))
}

/// The first tuple's `t_infomask` by which the one side knows that a transaction committed, the other that it did not, on
/// two pages of a heap that are the same otherwise.
fn opposite(ours: &PageBytes, theirs: &PageBytes) -> Option<usize> {
    let heap = |page: &PageBytes| owner(page, word(page, 16), 0) == Owner::Heap;
    let view = Page::read(ours).ok().flatten().filter(|_| heap(ours) && heap(theirs))?;
    view.items().filter(|(_, tuple)| tuple.len() >= TUPLE_HEADER).find_map(|(number, _)| {
        let at = usize::from(view.line_pointer(number)?.offset) + 20;
        let (a, b) = (word(ours, at) as u16, word(theirs, at) as u16);
        let contradict = |bits| a & bits != 0 && b & bits != 0 && a & b & bits == 0;
        (contradict(FROZEN) || contradict(ABOUT_XMAX)).then_some(at)
    })
}

/// Clears all that does not count on block `block` of a relation. Of a page whose header makes no sense that is LSN and
/// checksum.
fn mask(page: &mut PageBytes, block: BlockNumber) {
    let before = *page;
    // pd_lsn and pd_checksum
    put(page, 0, &[0; 10]);
    let Ok(Some(view)) = Page::read(&before) else { return };
    // pd_flags: free line pointers, full, all visible; pd_prune_xid
    put(page, 10, &[0; 2]);
    put(page, 20, &[0; 4]);
    let (lower, upper, special) = (word(&before, 12), word(&before, 14), word(&before, 16));
    let owner = owner(&before, special, block);
    let always = match owner {
        Owner::Gin { .. } | Owner::Brin { regular: false } | Owner::Other => lower > HEADER_SIZE,
        _ => true,
    };
    if always {
        clear(page, lower, upper);
    }
    match owner {
        Owner::Heap => heap(page, &view, block),
        Owner::Sequence => {
            heap(page, &view, block);
            sequence(page, &view);
        }
        Owner::Btree { leaf, deleted } => {
            if deleted {
                content(page, special);
            } else if leaf {
                line_states(page, &view);
            }
            // BTP_HAS_GARBAGE, BTP_SPLIT_END; btpo_cycleid
            let flags = word(&before, special + 12) as u16 & !0x60;
            put(page, special + 12, &flags.to_le_bytes());
            put(page, special + 14, &[0; 2]);
        }
        Owner::Hash { items, unused } => {
            if unused {
                content(page, special);
            } else if items {
                line_states(page, &view);
            }
            // LH_PAGE_HAS_DEAD_TUPLES
            let flags = word(&before, special + 12) as u16 & !0x80;
            put(page, special + 12, &flags.to_le_bytes());
        }
        Owner::Gist { leaf } => {
            if leaf {
                line_states(page, &view);
            }
            // the NSN; F_FOLLOW_RIGHT, F_HAS_GARBAGE
            put(page, special, &[0; 8]);
            let flags = word(&before, special + 12) as u16 & !0x18;
            put(page, special + 12, &flags.to_le_bytes());
        }
        Owner::Gin { deleted: true, pending } => {
            content(page, special);
            if pending {
                // replay makes the page anew and loses the link and the length that it had
                clear(page, special, special + 6);
            }
        }
        // which pages had room the last time (`lastUsedPages`), behind the magic number
        Owner::Spgist { meta: true } => clear(page, HEADER_SIZE + 4, lower),
        Owner::Brin { .. } => {
            // BRIN_EVACUATE_PAGE
            let flags = word(&before, special + 4) as u16 & !1;
            put(page, special + 4, &flags.to_le_bytes());
        }
        Owner::Gin { .. } | Owner::Spgist { .. } | Owner::Other => {}
    }
}

fn owner(page: &PageBytes, special: usize, block: BlockNumber) -> Owner {
    let last = word(page, BLOCK_SIZE - 2) as u16;
    match BLOCK_SIZE - special {
        0 => Owner::Heap,
        8 if block == 0 && Bytes::new(page).u32_at(special).ok() == Some(SEQUENCE) => Owner::Sequence,
        // SPGIST_META
        8 if last == id::SPGIST => Owner::Spgist { meta: word(page, special) & 1 != 0 },
        8 if id::BRIN.contains(&last) => Owner::Brin { regular: last == id::BRIN_REGULAR },
        // the flags; a page of the list of entries that wait has no other one once it is deleted
        8 if last <= 0xFF => {
            let flags = usize::from(last);
            Owner::Gin { deleted: flags & GIN_DELETED != 0, pending: flags == GIN_DELETED }
        }
        16 => {
            let flags = word(page, special + 12) as u16;
            match last {
                // LH_UNUSED_PAGE; LH_OVERFLOW_PAGE, LH_BUCKET_PAGE
                id::HASH => Owner::Hash { items: flags & 3 != 0, unused: matches!(flags & 0xF, 0) },
                id::GIST => Owner::Gist { leaf: flags & 1 != 0 },
                // BTP_LEAF, BTP_DELETED
                _ => Owner::Btree { leaf: flags & 1 != 0, deleted: flags & 4 != 0 },
            }
        }
        // of 8 bytes: bloom's, and of extensions that nothing is known of
        _ => Owner::Other,
    }
}

/// Tuples of a heap: what is known of their transactions, the command, padding; line pointers without use behind the last
/// one that has one. A page without any is as good as one that was never filled.
fn heap(page: &mut PageBytes, view: &Page<'_>, block: BlockNumber) {
    let used = |n: &OffsetNumber| view.line_pointer(*n).is_some_and(|p| p != LinePointer::UNUSED);
    let count = view.item_count();
    let Some(last) = (1..=count).rev().find(used) else {
        page.fill(0);
        return;
    };
    let lower = HEADER_SIZE + usize::from(last) * 4;
    clear(page, lower, HEADER_SIZE + usize::from(count) * 4);
    put(page, 12, &(lower as u16).to_le_bytes());
    for number in 1..=last {
        let Some(pointer) = view.line_pointer(number).filter(|p| p.state == LineState::Normal) else {
            continue;
        };
        let (start, length) = (usize::from(pointer.offset), usize::from(pointer.length));
        if start < lower || start + length > BLOCK_SIZE || length < TUPLE_HEADER {
            continue;
        }
        clear(page, start + length, start + length.next_multiple_of(8));
        // t_cid
        put(page, start + 8, &[0; 4]);
        if word(page, start + 16) as u16 == SPECULATIVE {
            let [a, b, c, d] = block.to_le_bytes();
            put(page, start + 12, &[c, d, a, b]);
            put(page, start + 16, &number.to_le_bytes());
        }
        let mask = word(page, start + 20) as u16;
        let about = if mask & FROZEN == FROZEN { ABOUT_XMAX } else { ABOUT_TRANSACTIONS };
        put(page, start + 20, &(mask & !about).to_le_bytes());
    }
}

/// Values are given out after one record for many of them; replay has them all given out.
fn sequence(page: &mut PageBytes, view: &Page<'_>) {
    let Some(pointer) = view.line_pointer(1).filter(|p| p.state == LineState::Normal) else { return };
    let start = usize::from(pointer.offset);
    if let Some(&header) = page.get(start + 22) {
        let data = start + usize::from(header);
        clear(page, data, (data + SEQUENCE_BYTES).min(start + usize::from(pointer.length)));
    }
}

/// Whether the line pointers of an index stand for something: that nothing needs an entry any more is only a hint.
fn line_states(page: &mut PageBytes, view: &Page<'_>) {
    for number in 1..=view.item_count() {
        let at = HEADER_SIZE + (usize::from(number) - 1) * 4;
        if let Ok(pointer) = Bytes::new(page).u32_at(at) {
            put(page, at, &(pointer & !(3 << 15)).to_le_bytes());
        }
    }
}

/// All but header and special space: nobody reads it.
fn content(page: &mut PageBytes, special: usize) {
    clear(page, HEADER_SIZE, special);
    clear(page, 12, 16);
}

fn word(page: &PageBytes, at: usize) -> usize {
    usize::from(Bytes::new(page).u16_at(at).unwrap_or_default())
}

fn put(page: &mut PageBytes, at: usize, bytes: &[u8]) {
    if let Some(place) = page.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn clear(page: &mut PageBytes, from: usize, to: usize) {
    if let Some(place) = page.get_mut(from..to.min(BLOCK_SIZE)) {
        place.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pg::page::PageMut;

    /// A tuple of one column, with that infomask.
    fn tuple(infomask: u16, data: &[u8]) -> Vec<u8> {
        let mut tuple = vec![0; 24];
        tuple[0..4].copy_from_slice(&700u32.to_le_bytes());
        tuple[20..22].copy_from_slice(&infomask.to_le_bytes());
        tuple[22] = 24;
        tuple.extend_from_slice(data);
        tuple
    }

    fn heap_page(tuples: &[Vec<u8>]) -> PageBytes {
        let mut bytes = [0; BLOCK_SIZE];
        let mut page = PageMut::init(&mut bytes);
        for (tuple, n) in tuples.iter().zip(1..) {
            page.add_item(n, tuple).unwrap();
        }
        bytes
    }

    /// A page of an index with two entries and that special space.
    fn index_page(special: &[u8]) -> PageBytes {
        let mut page = heap_page(&[]);
        let start = BLOCK_SIZE - special.len();
        page[start..].copy_from_slice(special);
        page[16..18].copy_from_slice(&(start as u16).to_le_bytes());
        page[14..16].copy_from_slice(&(start as u16).to_le_bytes());
        let mut view = PageMut::open(&mut page).unwrap();
        view.add_item(1, b"first entry").unwrap();
        view.add_item(2, b"second one").unwrap();
        page
    }

    fn btree(flags: u16) -> Vec<u8> {
        let mut special = vec![0; 16];
        special[12..14].copy_from_slice(&flags.to_le_bytes());
        special
    }

    fn changed(page: &PageBytes, changes: &[(usize, &[u8])]) -> PageBytes {
        let mut page = *page;
        for (at, bytes) in changes {
            page[*at..at + bytes.len()].copy_from_slice(bytes);
        }
        page
    }

    #[test]
    fn hints_do_not_count_and_rows_do() {
        let page = heap_page(&[tuple(0x0802, b"first row"), tuple(0x0002, b"second")]);
        let first = BLOCK_SIZE - 40;
        // LSN, checksum, flags, prune xid, xmin committed, command, padding, the hole
        let hints = changed(
            &page,
            &[
                (0, &[1; 12]),
                (20, &[9; 4]),
                (first + 20, &0x0902u16.to_le_bytes()),
                (first + 8, &[5; 4]),
                (first + 33, &[7; 3]),
                (200, b"an old tuple"),
            ],
        );
        assert_eq!(difference(&page, &hints, 0), None);
        for (what, at) in
            [("a value", first + 25), ("xmin", first), ("xmax", first + 4), ("ctid", first + 12)]
        {
            let other = changed(&hints, &[(at, &[0xEE])]);
            assert_eq!(difference(&page, &other, 0), Some(at), "{what}");
        }
        let other = changed(&page, &[(first + 20, &0x0803u16.to_le_bytes())]);
        assert_eq!(difference(&page, &other, 0), Some(first + 20), "it has nulls");
        let fewer = heap_page(&[tuple(0x0802, b"first row")]);
        assert_eq!(difference(&page, &fewer, 0), Some(12), "a row is missing");
    }

    #[test]
    fn hints_that_say_the_opposite() {
        let of = |infomask| heap_page(&[tuple(0x0802, b"first"), tuple(infomask, b"a row")]);
        let at = BLOCK_SIZE - 64 + 20;
        // xmin committed, aborted; xmax committed, none
        for (a, b) in [(0x0100, 0x0200), (0x0500, 0x0900), (0x0400, 0x0A00)] {
            assert_eq!(difference(&of(a), &of(b), 7), Some(at), "{a:x} {b:x}");
            assert_eq!(difference(&of(b), &of(a), 7), Some(at), "{a:x} {b:x}");
        }
        for (a, b) in [(0, 0x0500), (0x0100, 0x0900), (0x0A00, 0x0200), (0x0300, 0x0B00)] {
            assert_eq!(difference(&of(a), &of(b), 7), None, "{a:x} {b:x}");
        }
    }

    #[test]
    fn a_line_pointer_with_a_place_is_not_unused() {
        let page = heap_page(&[tuple(0x0802, b"first row"), tuple(0x0002, b"second")]);
        let pointer = u32::from_le_bytes(page[24..28].try_into().unwrap());
        // by its state alone
        let lost = changed(&page, &[(24, &(pointer & !(3 << 15)).to_le_bytes())]);
        assert_eq!(difference(&page, &lost, 0), Some(25));
        let one = heap_page(&[tuple(0x0802, b"first row")]);
        let both = changed(&one, &[(24, &(pointer & !(3 << 15)).to_le_bytes())]);
        assert!(difference(&one, &both, 0).is_some() && difference(&both, &[0; BLOCK_SIZE], 0).is_some());
    }

    /// A page of GIN with that link, that length, and these flags.
    fn gin(link: u32, count: u16, flags: u16) -> Vec<u8> {
        let mut special = link.to_le_bytes().to_vec();
        special.extend_from_slice(&count.to_le_bytes());
        special.extend_from_slice(&flags.to_le_bytes());
        special
    }

    #[test]
    fn deleted_pages_of_gin() {
        // a page of the pending list, as the primary leaves it and as replay makes it
        let listed = index_page(&gin(9, 40, 4));
        let mut anew = heap_page(&[]);
        anew[BLOCK_SIZE - 8..].copy_from_slice(&gin(u32::MAX, 0, 4));
        for at in [14, 16] {
            anew[at..at + 2].copy_from_slice(&((BLOCK_SIZE - 8) as u16).to_le_bytes());
        }
        assert_eq!(difference(&listed, &anew, 3), None);
        let living = index_page(&gin(9, 40, 16));
        assert!(difference(&listed, &living, 3).is_some(), "deleted on one side only");
        // of a posting tree the link stays
        let (data, other) = (index_page(&gin(9, 40, 7)), index_page(&gin(8, 40, 7)));
        assert_eq!(difference(&data, &other, 3), Some(BLOCK_SIZE - 8));
        // a link like a sequence's magic number
        let (odd, moved) = (index_page(&gin(SEQUENCE, 40, 2)), index_page(&gin(SEQUENCE, 41, 2)));
        assert_eq!(difference(&odd, &moved, 3), Some(BLOCK_SIZE - 4));
        let entry = changed(&odd, &[(BLOCK_SIZE - 8 - 16 + 2, b"F")]);
        assert_eq!(difference(&odd, &entry, 3), Some(BLOCK_SIZE - 22));
        // an extension's page whose identifier has the bit of a deleted page
        let theirs = index_page(&[1, 0, 0, 0, 2, 0, 0x84, 0xFF]);
        let entry = changed(&theirs, &[(BLOCK_SIZE - 8 - 16 + 2, b"F")]);
        assert_eq!(difference(&theirs, &entry, 3), Some(BLOCK_SIZE - 22));
    }

    #[test]
    fn a_frozen_tuple_is_no_hint() {
        let (frozen, not) = (heap_page(&[tuple(0x0B02, b"a row")]), heap_page(&[tuple(0x0902, b"a row")]));
        assert!(difference(&frozen, &not, 0).is_some());
        assert_eq!(difference(&frozen, &heap_page(&[tuple(0x0302, b"a row")]), 0), None);
    }

    #[test]
    fn pages_without_rows_are_equal() {
        let empty = heap_page(&[]);
        assert_eq!(difference(&empty, &[0; BLOCK_SIZE], 0), None);
        let mut unused = heap_page(&[tuple(0, b"a"), tuple(0, b"b")]);
        let one = unused;
        let mut page = PageMut::open(&mut unused).unwrap();
        page.set_line_pointer(2, LinePointer::UNUSED).unwrap();
        page.compact();
        assert!(difference(&one, &unused, 0).is_some());
        // a line pointer without use behind it
        let longer = changed(&unused, &[(12, &32u16.to_le_bytes())]);
        assert_eq!(difference(&unused, &longer, 0), None);
    }

    #[test]
    fn a_token_is_the_place_that_it_stands_for() {
        let at = BLOCK_SIZE - 32;
        let page = heap_page(&[tuple(0x0802, b"a row")]);
        let token = changed(&page, &[(at + 12, &[1, 2, 3, 4]), (at + 16, &SPECULATIVE.to_le_bytes())]);
        let own = changed(&page, &[(at + 12, &[1, 0, 2, 0]), (at + 16, &1u16.to_le_bytes())]);
        assert_eq!(difference(&token, &own, 0x0001_0002), None);
        assert!(difference(&token, &own, 3).is_some());
    }

    #[test]
    fn entries_of_indexes() {
        let leaf = index_page(&btree(1));
        // LP_DEAD, BTP_HAS_GARBAGE, a cycle ID
        let pointer = u32::from_le_bytes(leaf[24..28].try_into().unwrap()) | 3 << 15;
        let dead = changed(
            &leaf,
            &[
                (24, &pointer.to_le_bytes()),
                (BLOCK_SIZE - 4, &0x41u16.to_le_bytes()),
                (BLOCK_SIZE - 2, &[7, 0]),
            ],
        );
        assert_eq!(difference(&leaf, &dead, 0), None);
        let inner = index_page(&btree(0));
        let odd = changed(&inner, &[(24, &pointer.to_le_bytes())]);
        assert_eq!(difference(&inner, &odd, 0), Some(26), "an inner page has no hints");
        let entry = changed(&dead, &[(BLOCK_SIZE - 16 - 16, b"F")]);
        assert_eq!(difference(&leaf, &entry, 0), Some(BLOCK_SIZE - 32));
        let (deleted, other) = (index_page(&btree(5)), changed(&index_page(&btree(5)), &[(8000, b"xyz")]));
        assert_eq!(difference(&deleted, &other, 0), None);
        let linked = changed(&deleted, &[(BLOCK_SIZE - 16, &[9])]);
        assert_eq!(difference(&deleted, &linked, 0), Some(BLOCK_SIZE - 16));
    }

    #[test]
    fn pages_with_room_are_a_hint() {
        let meta = index_page(&[1, 0, 0, 0, 0, 0, 0x82, 0xFF]);
        let meta = changed(&meta, &[(12, &92u16.to_le_bytes())]);
        assert_eq!(difference(&meta, &changed(&meta, &[(28, &[7; 64])]), 0), None);
        assert_eq!(difference(&meta, &changed(&meta, &[(24, &[9])]), 0), Some(24));
        let other = changed(&meta, &[(BLOCK_SIZE - 8, &[0])]);
        assert_eq!(difference(&other, &changed(&other, &[(44, &[7])]), 0), Some(44));
    }

    #[test]
    fn a_sequence_runs_ahead() {
        let mut page = index_page(&[0x17, 0x17, 0, 0, 0, 0, 0, 0]);
        page[12..14].copy_from_slice(&24u16.to_le_bytes());
        page[14..16].copy_from_slice(&((BLOCK_SIZE - 8) as u16).to_le_bytes());
        page[24..BLOCK_SIZE - 8].fill(0);
        let mut data = 5u64.to_le_bytes().to_vec();
        data.extend_from_slice(&28u64.to_le_bytes());
        data.push(1);
        PageMut::open(&mut page).unwrap().add_item(1, &tuple(0x0B00, &data)).unwrap();
        let start = BLOCK_SIZE - 8 - 48;
        let ahead = changed(&page, &[(start + 24, &33u64.to_le_bytes()), (start + 32, &0u64.to_le_bytes())]);
        assert_eq!(difference(&page, &ahead, 0), None);
        assert!(difference(&page, &changed(&ahead, &[(start, &[1])]), 0).is_some());
    }

    proptest! {
        #[test]
        fn any_bytes(seed in proptest::collection::vec(any::<u8>(), 64), special in 0usize..3, block in any::<u32>()) {
            let mut page = [0; BLOCK_SIZE];
            for (n, byte) in page.iter_mut().enumerate() {
                *byte = seed[n % 64].wrapping_mul((n / 64) as u8 | 1);
            }
            let start = (BLOCK_SIZE - [0, 8, 16][special]) as u16;
            page[12..14].copy_from_slice(&1024u16.to_le_bytes());
            page[14..16].copy_from_slice(&2048u16.to_le_bytes());
            page[16..18].copy_from_slice(&start.to_le_bytes());
            page[18..20].copy_from_slice(&0x2004u16.to_le_bytes());
            let mut other = page;
            mask(&mut other, block);
            prop_assert_eq!(difference(&page, &page, block), None);
            let _ = difference(&page, &other, block);
        }
    }
}
