//! Heap pages as the WAL leaves them, carried along while it is read.
//!
//! A page is known from a full-page image or a record that makes it new on, or because a data directory still holds it
//! as it was: the target's file where a crash left an older version, the source's where it has not changed since the
//! divergence. A bounded number of pages is in memory, the others in a temporary file.

use std::io;

use hashbrown::HashMap;

use crate::names::redo::redo;
use crate::names::{BlockSource, DiskBlocks, image};
use crate::pg::page::{self, OffsetNumber, Page, PageBytes, PageMut};
use crate::pg::{BLOCK_SIZE, BlockNumber, Lsn, Major, RelFile};
use crate::wal::record::{BlockRef, Decoded, Record};
use crate::wal::rmgr::id;

use super::model::Origin;
use super::scratch::Scratch;

/// Pages in memory, 32 MB.
const IN_MEMORY: usize = 4096;
/// Offset of `pd_special`; a page with room there is no heap page.
const SPECIAL: usize = 16;

type Key = (RelFile, BlockNumber);

#[derive(Debug, Clone, Copy)]
enum Place {
    /// WAL changed it before anything said what was on it.
    Unknown,
    Memory(usize),
    /// Number of the page in the temporary file, and where its content came from.
    File(u64, Origin),
}

#[derive(Debug)]
struct Held {
    key: Key,
    bytes: Box<PageBytes>,
    from: Origin,
    recently: bool,
}

/// Where pages are found that WAL does not give whole.
pub struct Bases<'a> {
    /// The target's files.
    pub target: &'a DiskBlocks,
    /// The source's files, and the LSN up to which a page of theirs is common; `None` where they are of no use.
    pub source: Option<(&'a DiskBlocks, Lsn)>,
}

/// Heap pages at the place in WAL that was read last.
pub struct Pages<'a> {
    bases: Bases<'a>,
    major: Major,
    places: HashMap<Key, Place>,
    held: Vec<Held>,
    hand: usize,
    scratch: Scratch,
    free: Vec<u64>,
    in_file: u64,
}

impl<'a> Pages<'a> {
    /// No page is known yet.
    pub fn new(bases: Bases<'a>, major: Major) -> Self {
        Self {
            bases,
            major,
            places: HashMap::new(),
            held: Vec::new(),
            hand: 0,
            scratch: Scratch::default(),
            free: Vec::new(),
            in_file: 0,
        }
    }

    /// Files of the target.
    pub const fn target(&self) -> &'a DiskBlocks {
        self.bases.target
    }

    /// Something was found out about the page.
    pub fn knows(&self, rel: RelFile, block: BlockNumber) -> bool {
        self.places.contains_key(&(rel, block))
    }

    /// Brings the page of a block reference to the record's end.
    ///
    /// # Errors
    /// The temporary file cannot be written or read.
    pub fn apply(
        &mut self,
        record: &Record<'_>,
        decoded: &Decoded<'_>,
        block: &BlockRef<'_>,
    ) -> io::Result<()> {
        let key = (block.rel, block.block);
        let end = record.end.align8();
        if let Some(image) = block.image.filter(|image| image.apply) {
            match image::restore(&image) {
                Ok(mut bytes) if is_heap(&bytes) => {
                    if let Ok(mut page) = PageMut::open(&mut bytes) {
                        page.set_lsn(end);
                    }
                    return self.put(key, bytes, Origin::Page);
                }
                _ => {
                    self.forget(key);
                    return Ok(());
                }
            }
        }
        if record.rmid == id::XLOG {
            return Ok(());
        }
        if block.will_init {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            if redo(record, decoded, block, self.major, &mut bytes).is_ok() {
                return self.put(key, bytes, Origin::Page);
            }
            self.forget(key);
            return Ok(());
        }
        if !self.places.contains_key(&key)
            && let Some((bytes, from)) = self.base(key, record.lsn)
        {
            self.put(key, bytes, from)?;
        }
        let major = self.major;
        let damaged = match self.held_mut(key)? {
            Some(held) if page::lsn(&held.bytes) >= end => false,
            Some(held) => redo(record, decoded, block, major, &mut held.bytes).is_err(),
            None => true,
        };
        if damaged {
            self.forget(key);
        }
        Ok(())
    }

    /// The page as it was before the first record that is seen to change it.
    fn base(&self, (rel, block): Key, before: Lsn) -> Option<(Box<PageBytes>, Origin)> {
        let mut bytes = Box::new([0; BLOCK_SIZE]);
        let usable = |bytes: &PageBytes, up_to: Lsn| {
            matches!(Page::read(bytes), Ok(Some(_))) && is_heap(bytes) && page::lsn(bytes) <= up_to
        };
        let read =
            |disk: &DiskBlocks, bytes: &mut PageBytes| disk.read_block(rel, block, bytes).unwrap_or(false);
        if read(self.bases.target, &mut bytes) && usable(&bytes, before) {
            return Some((bytes, Origin::Target));
        }
        if let Some((source, common)) = self.bases.source
            && read(source, &mut bytes)
            && usable(&bytes, before.min(common))
        {
            return Some((bytes, Origin::Source));
        }
        None
    }

    /// A tuple of a page that is known, and where the page came from.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn tuple(
        &mut self,
        rel: RelFile,
        block: BlockNumber,
        number: OffsetNumber,
    ) -> io::Result<Option<(Vec<u8>, Origin)>> {
        let Some(held) = self.held_mut((rel, block))? else { return Ok(None) };
        let page = Page::read(&held.bytes).ok().flatten();
        Ok(page.and_then(|page| page.item(number)).map(|tuple| (tuple.to_vec(), held.from)))
    }

    /// All tuples of a page that is known.
    ///
    /// # Errors
    /// The temporary file cannot be read.
    pub fn tuples(
        &mut self,
        rel: RelFile,
        block: BlockNumber,
        mut take: impl FnMut(OffsetNumber, &[u8]),
    ) -> io::Result<()> {
        if let Some(held) = self.held_mut((rel, block))?
            && let Ok(Some(page)) = Page::read(&held.bytes)
        {
            for (number, tuple) in page.items() {
                take(number, tuple);
            }
        }
        Ok(())
    }

    /// Nothing is known of the page any more.
    fn forget(&mut self, key: Key) {
        match self.places.insert(key, Place::Unknown) {
            Some(Place::Memory(at)) => {
                self.held.swap_remove(at);
                if let Some(moved) = self.held.get(at) {
                    self.places.insert(moved.key, Place::Memory(at));
                }
            }
            Some(Place::File(number, _)) => self.free.push(number),
            _ => {}
        }
    }

    fn held_mut(&mut self, key: Key) -> io::Result<Option<&mut Held>> {
        let at = match self.places.get(&key) {
            Some(&Place::Memory(at)) => at,
            Some(&Place::File(number, from)) => {
                let mut bytes = Box::new([0; BLOCK_SIZE]);
                self.scratch.read(number * BLOCK_SIZE as u64, &mut bytes[..])?;
                self.put(key, bytes, from)?;
                match self.places.get(&key) {
                    Some(&Place::Memory(at)) => at,
                    _ => return Ok(None),
                }
            }
            _ => return Ok(None),
        };
        let Some(held) = self.held.get_mut(at) else { return Ok(None) };
        held.recently = true;
        Ok(Some(held))
    }

    fn put(&mut self, key: Key, bytes: Box<PageBytes>, from: Origin) -> io::Result<()> {
        let held = Held { key, bytes, from, recently: true };
        if let Some(&Place::File(number, _)) = self.places.get(&key) {
            self.free.push(number);
        }
        let at = match self.places.get(&key) {
            Some(&Place::Memory(at)) => at,
            _ if self.held.len() < IN_MEMORY => {
                self.held.push(held);
                self.places.insert(key, Place::Memory(self.held.len() - 1));
                return Ok(());
            }
            _ => self.make_room()?,
        };
        if let Some(place) = self.held.get_mut(at) {
            *place = held;
        }
        self.places.insert(key, Place::Memory(at));
        Ok(())
    }

    /// Moves a page that was not used lately to the temporary file.
    fn make_room(&mut self) -> io::Result<usize> {
        loop {
            self.hand = (self.hand + 1) % IN_MEMORY;
            let Some(held) = self.held.get_mut(self.hand) else { continue };
            if std::mem::take(&mut held.recently) {
                continue;
            }
            let number = self.free.pop().unwrap_or(self.in_file);
            self.in_file = self.in_file.max(number + 1);
            self.scratch.write(number * BLOCK_SIZE as u64, &held.bytes[..])?;
            self.places.insert(held.key, Place::File(number, held.from));
            return Ok(self.hand);
        }
    }
}

/// Heap pages have nothing at their end; those of every index and of sequences have.
fn is_heap(bytes: &PageBytes) -> bool {
    bytes.get(SPECIAL..SPECIAL + 2).is_some_and(|b| b == (BLOCK_SIZE as u16).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::pg::Fork;

    #[test]
    fn pages_that_do_not_fit_into_memory_come_back() {
        const MANY: u32 = IN_MEMORY as u32 + 1000;
        let disk = DiskBlocks::with_layout(Path::new("/nowhere"), Major::V18, 0, 131_072, None);
        let mut pages = Pages::new(Bases { target: &disk, source: None }, Major::V18);
        let rel = RelFile { spc: 1663, db: 5, rel: 16384 };
        let insert = |pages: &mut Pages<'_>, block: u32, number: u16, init: bool, at: u64| {
            let data = [&[1, 0, 0, 8, 24, 0][..], &(block + u32::from(number)).to_le_bytes()].concat();
            let main = [&number.to_le_bytes()[..], &[0]].concat();
            let of =
                BlockRef { id: 0, rel, fork: Fork::Main, block, will_init: init, image: None, data: &data };
            let decoded = Decoded { blocks: vec![of], main: &main, ..Decoded::default() };
            let (lsn, end) = (Lsn(at), Lsn(at + 8));
            let record = Record {
                lsn,
                end,
                xid: 700,
                prev: Lsn(0),
                info: if init { 0x80 } else { 0 },
                rmid: id::HEAP,
                total_len: 0,
                bytes: &[],
            };
            pages.apply(&record, &decoded, &decoded.blocks[0]).unwrap();
        };
        for block in 0..MANY {
            insert(&mut pages, block, 1, true, 8 + u64::from(block) * 8);
        }
        for block in 0..MANY {
            insert(&mut pages, block, 2, false, u64::from(MANY + 1 + block) * 8);
        }
        for block in (0..MANY).rev() {
            for number in [1, 2] {
                let (tuple, from) = pages.tuple(rel, block, number).unwrap().unwrap();
                assert_eq!(
                    (from, &tuple[24..]),
                    (Origin::Page, &(block + u32::from(number)).to_le_bytes()[..])
                );
            }
        }
        assert_eq!(pages.held.len(), IN_MEMORY);
        // what never was known
        insert(&mut pages, MANY, 1, false, u64::from(MANY) * 100);
        assert!(pages.tuple(rel, MANY, 1).unwrap().is_none() && pages.knows(rel, MANY));
    }
}
