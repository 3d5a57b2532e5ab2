//! Pages of heap relations (`PageHeaderData`, bufpage.h; `ItemIdData`, itemid.h).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use thiserror::Error;

use super::bytes::Bytes;
use super::{BLOCK_SIZE, Lsn, Xid};

/// The bytes of one page.
pub type PageBytes = [u8; BLOCK_SIZE];

/// Number of an item on its page, from 1 (`OffsetNumber`).
pub type OffsetNumber = u16;

/// Size of the page header in bytes (`SizeOfPageHeaderData`); line pointers follow it.
pub const HEADER_SIZE: usize = 24;

const LINE_POINTER_SIZE: usize = 4;
/// Page size and layout version 4, the only one since 8.3.
const SIZE_AND_VERSION: u16 = BLOCK_SIZE as u16 | 4;
const LOWER: usize = 12;
const UPPER: usize = 14;
const SPECIAL: usize = 16;

/// A page that is not one, or that cannot be changed as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs)]
pub enum PageError {
    /// `pd_pagesize_version` is of another page size or layout.
    #[error("page size and layout version are {0:#06X} instead of 0x2004")]
    Layout(u16),
    /// `pd_lower`, `pd_upper`, `pd_special` contradict each other (`PageIsVerified`).
    #[error("page header is damaged: lower {lower}, upper {upper}, special {special}")]
    Bounds { lower: u16, upper: u16, special: u16 },
    /// There is no such line pointer, or it has no tuple.
    #[error("there is no tuple at line pointer {0}")]
    NoItem(OffsetNumber),
    /// The line pointer is in use.
    #[error("line pointer {0} is in use")]
    InUse(OffsetNumber),
    /// The page has less free space than the tuple needs, in bytes.
    #[error("a tuple of {0} bytes does not fit")]
    Full(usize),
}

/// What a line pointer stands for (`lp_flags`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    /// `LP_UNUSED`.
    Unused,
    /// `LP_NORMAL`: a tuple.
    Normal,
    /// `LP_REDIRECT`: see the line pointer whose number stands in `offset`.
    Redirect,
    /// `LP_DEAD`.
    Dead,
}

/// A line pointer (`ItemIdData`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinePointer {
    /// Where the tuple begins, in bytes from the start of the page; for a redirection the other item's number.
    pub offset: u16,
    /// What it stands for.
    pub state: LineState,
    /// Length of the tuple in bytes.
    pub length: u16,
}

impl LinePointer {
    /// One that stands for nothing.
    pub const UNUSED: Self = Self { offset: 0, state: LineState::Unused, length: 0 };
    /// What pruning leaves of a tuple that an index may still point to.
    pub const DEAD: Self = Self { offset: 0, state: LineState::Dead, length: 0 };

    /// A redirection to item `to`.
    pub const fn redirect(to: OffsetNumber) -> Self {
        Self { offset: to, state: LineState::Redirect, length: 0 }
    }

    const fn from_word(word: u32) -> Self {
        let state = match (word >> 15) & 3 {
            0 => LineState::Unused,
            1 => LineState::Normal,
            2 => LineState::Redirect,
            _ => LineState::Dead,
        };
        Self { offset: (word & 0x7FFF) as u16, state, length: (word >> 17) as u16 }
    }

    const fn word(self) -> u32 {
        (self.offset as u32 & 0x7FFF) | (self.state as u32) << 15 | (self.length as u32) << 17
    }
}

/// A page to read from.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    bytes: &'a PageBytes,
    lower: u16,
}

impl<'a> Page<'a> {
    /// The page in `bytes`; `None` for one that was never filled (`PageIsNew`).
    ///
    /// # Errors
    /// The header is not that of a page of 8192 bytes.
    pub fn read(bytes: &'a PageBytes) -> Result<Option<Self>, PageError> {
        let (lower, upper, special) = (word_at(bytes, LOWER), word_at(bytes, UPPER), word_at(bytes, SPECIAL));
        if upper == 0 {
            return Ok(None);
        }
        let layout = word_at(bytes, 18);
        if layout != SIZE_AND_VERSION {
            return Err(PageError::Layout(layout));
        }
        let ordered = HEADER_SIZE <= usize::from(lower) && lower <= upper && upper <= special;
        if !ordered || usize::from(special) > BLOCK_SIZE || special % 8 != 0 {
            return Err(PageError::Bounds { lower, upper, special });
        }
        Ok(Some(Self { bytes, lower }))
    }

    /// Number of line pointers (`PageGetMaxOffsetNumber`).
    pub const fn item_count(&self) -> OffsetNumber {
        (self.lower - HEADER_SIZE as u16) / LINE_POINTER_SIZE as u16
    }

    /// Line pointer `number`, if the page has so many.
    pub fn line_pointer(&self, number: OffsetNumber) -> Option<LinePointer> {
        if number == 0 || number > self.item_count() {
            return None;
        }
        Bytes::new(self.bytes).u32_at(line_pointer_at(number)).ok().map(LinePointer::from_word)
    }

    /// Bytes of the tuple at line pointer `number`; `None` if there is none or it does not lie within the page.
    pub fn item(&self, number: OffsetNumber) -> Option<&'a [u8]> {
        let pointer = self.line_pointer(number).filter(|p| p.state == LineState::Normal)?;
        item_range(pointer).and_then(|range| self.bytes.get(range))
    }

    /// All tuples with their line pointers' numbers.
    pub fn items(&self) -> impl Iterator<Item = (OffsetNumber, &'a [u8])> {
        (1..=self.item_count()).filter_map(|number| Some((number, self.item(number)?)))
    }
}

/// `pd_flags`.
#[allow(missing_docs)]
pub mod flags {
    pub const HAS_FREE_LINES: u16 = 1;
    pub const PAGE_FULL: u16 = 2;
    pub const ALL_VISIBLE: u16 = 4;
}

/// A page's header as it stands (`PageHeaderData`), whether or not it makes sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// End of the record that last changed the page.
    pub lsn: Lsn,
    /// Checksum that was stored.
    pub checksum: u16,
    /// Bits of [`flags`].
    pub flags: u16,
    /// End of the line pointers, in bytes from the start of the page.
    pub lower: u16,
    /// Start of the tuples.
    pub upper: u16,
    /// Start of the special space.
    pub special: u16,
    /// Size of the page in bytes.
    pub size: u16,
    /// Layout version.
    pub version: u8,
    /// The oldest transaction whose dead tuples may be pruned, 0 for none.
    pub prune_xid: Xid,
}

impl Header {
    /// That of a page.
    pub fn read(bytes: &PageBytes) -> Self {
        let layout = word_at(bytes, 18);
        Self {
            lsn: lsn(bytes),
            checksum: stored_checksum(bytes),
            flags: word_at(bytes, 10),
            lower: word_at(bytes, LOWER),
            upper: word_at(bytes, UPPER),
            special: word_at(bytes, SPECIAL),
            size: layout & 0xFF00,
            version: (layout & 0xFF) as u8,
            prune_xid: Bytes::new(bytes).u32_at(20).unwrap_or_default(),
        }
    }
}

/// End of the record that last changed the page (`pd_lsn`).
pub fn lsn(bytes: &PageBytes) -> Lsn {
    let words = Bytes::new(bytes);
    // two halves, the high one first
    let half = |at| u64::from(words.u32_at(at).unwrap_or_default());
    Lsn(half(0) << 32 | half(4))
}

/// `pd_checksum`.
pub fn stored_checksum(bytes: &PageBytes) -> u16 {
    word_at(bytes, 8)
}

fn word_at(bytes: &PageBytes, at: usize) -> u16 {
    Bytes::new(bytes).u16_at(at).unwrap_or_default()
}

const fn line_pointer_at(number: OffsetNumber) -> usize {
    HEADER_SIZE + (number as usize - 1) * LINE_POINTER_SIZE
}

fn item_range(pointer: LinePointer) -> Option<std::ops::Range<usize>> {
    let start = usize::from(pointer.offset);
    let end = start + usize::from(pointer.length);
    (start >= HEADER_SIZE && end <= BLOCK_SIZE).then_some(start..end)
}

/// A page to change, as replay changes it.
#[derive(Debug)]
pub struct PageMut<'a> {
    bytes: &'a mut PageBytes,
}

impl<'a> PageMut<'a> {
    /// Makes `bytes` an empty heap page (`PageInit`).
    pub fn init(bytes: &'a mut PageBytes) -> Self {
        bytes.fill(0);
        let mut page = Self { bytes };
        page.put(LOWER, (HEADER_SIZE as u16).to_le_bytes());
        page.put(UPPER, (BLOCK_SIZE as u16).to_le_bytes());
        page.put(SPECIAL, (BLOCK_SIZE as u16).to_le_bytes());
        page.put(18, SIZE_AND_VERSION.to_le_bytes());
        page
    }

    /// The page in `bytes`.
    ///
    /// # Errors
    /// It is damaged, or was never filled.
    pub fn open(bytes: &'a mut PageBytes) -> Result<Self, PageError> {
        match Page::read(bytes)? {
            Some(_) => Ok(Self { bytes }),
            None => Err(PageError::Layout(0)),
        }
    }

    /// Sets `pd_lsn`.
    pub fn set_lsn(&mut self, lsn: Lsn) {
        self.put(0, ((lsn.0 >> 32) as u32).to_le_bytes());
        self.put(4, (lsn.0 as u32).to_le_bytes());
    }

    /// Sets or clears `PD_ALL_VISIBLE`.
    pub fn set_all_visible(&mut self, on: bool) {
        let now = word_at(self.bytes, 10);
        let now = if on { now | flags::ALL_VISIBLE } else { now & !flags::ALL_VISIBLE };
        self.put(10, now.to_le_bytes());
    }

    /// Bytes of the tuple at line pointer `number`.
    ///
    /// # Errors
    /// There is none.
    pub fn item(&mut self, number: OffsetNumber) -> Result<&mut [u8], PageError> {
        let pointer = self.view().and_then(|page| page.line_pointer(number));
        let range = pointer.filter(|p| p.state == LineState::Normal).and_then(item_range);
        range.and_then(|range| self.bytes.get_mut(range)).ok_or(PageError::NoItem(number))
    }

    /// Puts a tuple at line pointer `number` (`PageAddItem` as replay calls it). Line pointers that are missing
    /// before it are made as unused ones: which ones a server cuts off after pruning differs between minors.
    ///
    /// # Errors
    /// The line pointer is in use, or the page is full.
    pub fn add_item(&mut self, number: OffsetNumber, tuple: &[u8]) -> Result<(), PageError> {
        let count = self.count();
        let existing = self.view().and_then(|page| page.line_pointer(number));
        if number == 0 || existing.is_some_and(|p| p.state != LineState::Unused || p.length != 0) {
            return Err(PageError::InUse(number));
        }
        let lower = line_pointer_at(number.max(count)) + LINE_POINTER_SIZE;
        let upper = usize::from(word_at(self.bytes, UPPER));
        let full = PageError::Full(tuple.len());
        let start = upper.checked_sub(tuple.len().next_multiple_of(8)).filter(|s| *s >= lower).ok_or(full)?;
        self.bytes.get_mut(start..start + tuple.len()).ok_or(full)?.copy_from_slice(tuple);
        for missing in count.saturating_add(1)..number {
            self.write_pointer(missing, LinePointer::UNUSED);
        }
        let pointer =
            LinePointer { offset: start as u16, state: LineState::Normal, length: tuple.len() as u16 };
        self.write_pointer(number, pointer);
        self.put(LOWER, (lower as u16).to_le_bytes());
        self.put(UPPER, (start as u16).to_le_bytes());
        Ok(())
    }

    /// Changes what line pointer `number` stands for; its tuple's space is freed by [`Self::compact`].
    ///
    /// # Errors
    /// The page has no such line pointer.
    pub fn set_line_pointer(&mut self, number: OffsetNumber, pointer: LinePointer) -> Result<(), PageError> {
        if number == 0 || number > self.count() {
            return Err(PageError::NoItem(number));
        }
        self.write_pointer(number, pointer);
        Ok(())
    }

    /// Moves the tuples to the page's end, without gaps, and cuts off unused line pointers at the end of their list
    /// (`PageRepairFragmentation`, `PageTruncateLinePointerArray`).
    pub fn compact(&mut self) {
        let before = *self.bytes;
        let Ok(Some(page)) = Page::read(&before) else { return };
        let mut tuples: Vec<(u16, OffsetNumber, &[u8])> = (1..=page.item_count())
            .filter_map(|n| Some((page.line_pointer(n)?.offset, n, page.item(n)?)))
            .collect();
        tuples.sort_unstable_by(|a, b| b.cmp(a));
        let mut upper = usize::from(word_at(&before, SPECIAL));
        for (_, number, tuple) in tuples {
            let Some(start) = upper.checked_sub(tuple.len().next_multiple_of(8)) else { return };
            let Some(place) = self.bytes.get_mut(start..start + tuple.len()) else { return };
            place.copy_from_slice(tuple);
            let pointer =
                LinePointer { offset: start as u16, state: LineState::Normal, length: tuple.len() as u16 };
            self.write_pointer(number, pointer);
            upper = start;
        }
        let used = |n: &OffsetNumber| page.line_pointer(*n).is_some_and(|p| p.state != LineState::Unused);
        let last = (1..=page.item_count()).rev().find(used).unwrap_or(0);
        let lower = HEADER_SIZE + usize::from(last) * LINE_POINTER_SIZE;
        if upper < lower {
            // tuples that overlap, on a damaged page: leave it as it was
            *self.bytes = before;
            return;
        }
        self.put(LOWER, (lower as u16).to_le_bytes());
        self.put(UPPER, (upper as u16).to_le_bytes());
    }

    fn view(&self) -> Option<Page<'_>> {
        Page::read(self.bytes).ok().flatten()
    }

    fn count(&self) -> OffsetNumber {
        self.view().map_or(0, |page| page.item_count())
    }

    fn write_pointer(&mut self, number: OffsetNumber, pointer: LinePointer) {
        self.put(line_pointer_at(number), pointer.word().to_le_bytes());
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

    fn page_with(tuples: &[&[u8]]) -> Box<PageBytes> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let mut page = PageMut::init(&mut bytes);
        for (i, tuple) in tuples.iter().enumerate() {
            page.add_item(i as u16 + 1, tuple).unwrap();
        }
        bytes
    }

    fn items(bytes: &PageBytes) -> Vec<(u16, Vec<u8>)> {
        Page::read(bytes).unwrap().unwrap().items().map(|(n, t)| (n, t.to_vec())).collect()
    }

    #[test]
    fn a_new_page_is_none() {
        assert!(Page::read(&[0; BLOCK_SIZE]).unwrap().is_none());
    }

    #[test]
    fn tuples_come_back() {
        let bytes = page_with(&[b"first", b"second tuple", b"3"]);
        assert_eq!(
            items(&bytes),
            [(1, b"first".to_vec()), (2, b"second tuple".to_vec()), (3, b"3".to_vec())]
        );
        let page = Page::read(&bytes).unwrap().unwrap();
        assert_eq!(page.line_pointer(1).unwrap().offset, 8184);
        assert_eq!(page.line_pointer(2).unwrap().offset, 8168);
        assert_eq!(page.line_pointer(0), None);
        assert_eq!(page.line_pointer(4), None);
    }

    #[test]
    fn compaction_frees_space_and_cuts_the_end() {
        let mut bytes = page_with(&[b"first", b"second tuple", b"3", b"4"]);
        let mut page = PageMut::open(&mut bytes).unwrap();
        page.set_line_pointer(2, LinePointer::UNUSED).unwrap();
        page.set_line_pointer(1, LinePointer::redirect(3)).unwrap();
        page.set_line_pointer(4, LinePointer::UNUSED).unwrap();
        page.compact();
        assert_eq!(items(&bytes), [(3, b"3".to_vec())]);
        let page = Page::read(&bytes).unwrap().unwrap();
        assert_eq!(page.item_count(), 3);
        assert_eq!(page.line_pointer(1), Some(LinePointer::redirect(3)));
        assert_eq!(page.line_pointer(3).unwrap().offset, 8184);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut bytes = page_with(&[&[7; 8000]]);
        let before = *bytes;
        let mut page = PageMut::open(&mut bytes).unwrap();
        assert_eq!(page.add_item(2, &[1; 200]), Err(PageError::Full(200)));
        assert_eq!(page.add_item(1, &[1]), Err(PageError::InUse(1)));
        assert_eq!(page.add_item(0, &[1]), Err(PageError::InUse(0)));
        assert_eq!(page.add_item(u16::MAX, &[1]), Err(PageError::Full(1)));
        assert_eq!(*bytes, before);
        PageMut::open(&mut bytes).unwrap().add_item(4, &[9]).unwrap();
        assert_eq!(items(&bytes).last(), Some(&(4, vec![9])));
    }

    #[test]
    fn lsn_has_its_high_half_first() {
        let mut bytes = page_with(&[]);
        PageMut::open(&mut bytes).unwrap().set_lsn(Lsn(0x1_0000_0002));
        assert_eq!(bytes[..8], [1, 0, 0, 0, 2, 0, 0, 0]);
        assert_eq!(lsn(&bytes), Lsn(0x1_0000_0002));
    }

    proptest! {
        #[test]
        fn damaged_pages_never_panic(
            changes in prop::collection::vec((0usize..200, any::<u8>()), 0..20),
            number in any::<u16>(), len in 0usize..300,
        ) {
            let mut bytes = page_with(&[&[1; 100], &[2; 30], &[3; 1000]]);
            for (at, value) in changes {
                bytes[at] = value;
            }
            if let Ok(Some(page)) = Page::read(&bytes) {
                for (n, item) in page.items() {
                    prop_assert!(n <= page.item_count() && item.len() <= BLOCK_SIZE);
                }
            }
            if let Ok(mut page) = PageMut::open(&mut bytes) {
                let _ = page.add_item(number, &vec![5; len]);
                let _ = page.set_line_pointer(number, LinePointer::DEAD);
                let _ = page.item(number).map(|i| i.len());
                page.compact();
            }
        }
    }
}
