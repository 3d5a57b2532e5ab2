//! Replay of WAL in memory, over the catalogs alone.
//!
//! A cluster that was not stopped cleanly has its newest catalog rows in WAL only. [`Replay`] is fed the records from
//! the redo pointer to the end of WAL and applies those that change pg_class, pg_namespace, pg_database and
//! pg_tablespace, relation maps, pg_xact and pg_multixact. Only changed blocks of these four catalogs are kept.
//!
//! A catalog that is rewritten (VACUUM FULL, CLUSTER) moves to a new file, and the records that fill it come before
//! the one that says what it is. So the last state is asked where the catalogs lie; if that is a file that was not
//! followed, WAL is read once more: [`Replay::needs_another_pass`].

use std::collections::{HashMap, HashSet};

use crate::pg::bytes::{Bytes, Short};
use crate::pg::catalog::ClassRow;
use crate::pg::clog::{self, XactStatus};
use crate::pg::page::{self, PageBytes};
use crate::pg::relfile::GLOBAL_TABLESPACE;
use crate::pg::relmap::RelMap;
use crate::pg::{BLOCK_SIZE, BlockNumber, Fork, Lsn, Major, Oid, RelFile, Xid, catalog};
use crate::wal::framer::Sink;
use crate::wal::record::{BlockRef, Decoded, Fragment, Fragments, Record};
use crate::wal::rmgr::{id, op};
use crate::wal::xact::XactRecord;

use super::blocks::{BlockSource, Catalogs, Unreadable};
use super::disk::DiskBlocks;
use super::image;
use super::reader::{Reader, namespace_file};
use super::redo::{self, RedoError};
use super::visibility::RowState;

/// WAL is read so many times at most. Three are enough where every catalog of every database was rewritten: the
/// second pass follows pg_class into its new file, the third pg_namespace, whose place stands in pg_class.
const MAX_PASSES: u32 = 5;

const MULTIXACT_CREATE_ID: u8 = 0x20;

/// A catalog has no block from this one on (8 GB): what says so is damaged, and would be read to its end.
const MAX_BLOCKS: BlockNumber = 1 << 20;
/// So many changed blocks and pages of pg_xact are kept, 64 MB; what WAL changes beyond them is left as it is on disk.
const MAX_KEPT: usize = 1 << 13;
/// More files of catalogs are not followed.
const MAX_FOLLOWED: usize = 1 << 14;
const TOO_MANY: &str = "more catalog blocks were changed than are kept in memory";

/// A data directory with WAL laid over its catalogs.
struct Overlay {
    disk: DiskBlocks,
    relations: HashMap<RelFile, Overlaid>,
    maps: HashMap<(Oid, Oid), RelMap>,
    xact: HashMap<u32, Box<PageBytes>>,
    updaters: HashMap<u32, Xid>,
    /// Databases that were copied from another one's files and are not on disk: tablespace and OID of both.
    copies: HashMap<(Oid, Oid), (Oid, Oid)>,
    /// Pages in memory, of relations and of pg_xact.
    kept: usize,
}

/// What replay changed of a relation.
#[derive(Clone)]
struct Overlaid {
    blocks: HashMap<BlockNumber, Box<PageBytes>>,
    /// Of the file on disk only the blocks below this one count.
    cut: BlockNumber,
    /// Behind the last of `blocks`.
    end: BlockNumber,
}

impl Default for Overlaid {
    fn default() -> Self {
        Self { blocks: HashMap::new(), cut: BlockNumber::MAX, end: 0 }
    }
}

impl Overlay {
    fn new(disk: DiskBlocks) -> Self {
        Self {
            disk,
            relations: HashMap::new(),
            maps: HashMap::new(),
            xact: HashMap::new(),
            updaters: HashMap::new(),
            copies: HashMap::new(),
            kept: 0,
        }
    }

    /// Where the relation lies on disk.
    fn on_disk(&self, rel: RelFile) -> RelFile {
        self.copies.get(&(rel.spc, rel.db)).map_or(rel, |&(spc, db)| RelFile { spc, db, ..rel })
    }

    /// A block to change; `None` if the relation does not have it.
    fn block(&mut self, rel: RelFile, block: BlockNumber) -> Result<Option<&mut Box<PageBytes>>, String> {
        let overlaid = self.relations.get(&rel);
        let there = overlaid.is_some_and(|o| o.blocks.contains_key(&block));
        if !there {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            let gone = overlaid.is_some_and(|o| block >= o.cut);
            let read = self.disk.read_block(self.on_disk(rel), block, &mut bytes);
            if gone || !read.map_err(|e| e.to_string())? {
                return Ok(None);
            }
            if !self.set_block(rel, block, bytes) {
                return Err(TOO_MANY.into());
            }
        }
        Ok(self.relations.get_mut(&rel).and_then(|o| o.blocks.get_mut(&block)))
    }

    /// False if no more are kept.
    #[must_use]
    fn set_block(&mut self, rel: RelFile, block: BlockNumber, bytes: Box<PageBytes>) -> bool {
        let overlaid = self.relations.entry(rel).or_default();
        if self.kept < MAX_KEPT || overlaid.blocks.contains_key(&block) {
            self.kept += usize::from(overlaid.blocks.insert(block, bytes).is_none());
            overlaid.end = overlaid.end.max(block.saturating_add(1));
            return true;
        }
        false
    }

    fn count_kept(&mut self) {
        self.kept = self.relations.values().map(|o| o.blocks.len()).sum::<usize>() + self.xact.len();
    }

    fn truncate(&mut self, rel: RelFile, blocks: BlockNumber) {
        let overlaid = self.relations.entry(rel).or_default();
        let before = overlaid.blocks.len();
        overlaid.blocks.retain(|number, _| *number < blocks);
        self.kept = self.kept.saturating_sub(before - overlaid.blocks.len());
        overlaid.end = overlaid.blocks.keys().max().map_or(0, |number| number.saturating_add(1));
        overlaid.cut = overlaid.cut.min(blocks);
    }

    fn copy_database(&mut self, from: (Oid, Oid), to: (Oid, Oid)) {
        if self.disk.has_database(to.0, to.1) {
            // as it was copied; what came later is in WAL
            return;
        }
        if self.copies.len() >= MAX_FOLLOWED {
            return;
        }
        self.copies.insert(to, self.copies.get(&from).copied().unwrap_or(from));
        if let Some(map) = self.maps.get(&from).cloned() {
            self.maps.insert(to, map);
        }
        let changed: Vec<_> = self.relations.iter().filter(|(rel, _)| (rel.spc, rel.db) == from).collect();
        if self.kept + changed.iter().map(|(_, o)| o.blocks.len()).sum::<usize>() > MAX_KEPT {
            return;
        }
        let copied: Vec<_> = changed
            .into_iter()
            .map(|(rel, o)| (RelFile { spc: to.0, db: to.1, ..*rel }, o.clone()))
            .collect();
        self.relations.extend(copied);
        self.count_kept();
    }

    fn set_status(&mut self, xid: Xid, status: XactStatus) {
        let number = clog::page_of(xid);
        if !self.xact.contains_key(&number) {
            if self.kept >= MAX_KEPT {
                return;
            }
            self.kept += 1;
        }
        let disk = &self.disk;
        let page = self.xact.entry(number).or_insert_with(|| {
            let mut page = Box::new([0; BLOCK_SIZE]);
            // a page that is not there yet is empty
            if !disk.xact_page(number, &mut page).unwrap_or(false) {
                page.fill(0);
            }
            page
        });
        clog::set_status(page, xid, status);
    }
}

impl BlockSource for Overlay {
    fn block_count(&self, rel: RelFile) -> Result<BlockNumber, Unreadable> {
        let on_disk = self.disk.block_count(self.on_disk(rel));
        let Some(overlaid) = self.relations.get(&rel) else { return on_disk };
        Ok(on_disk.unwrap_or(0).min(overlaid.cut).max(overlaid.end))
    }

    fn read_block(&self, rel: RelFile, block: BlockNumber, into: &mut PageBytes) -> Result<bool, Unreadable> {
        let overlaid = self.relations.get(&rel);
        if let Some(bytes) = overlaid.and_then(|o| o.blocks.get(&block)) {
            into.copy_from_slice(&bytes[..]);
            return Ok(true);
        }
        if overlaid.is_some_and(|o| block >= o.cut)
            || !self.disk.read_block(self.on_disk(rel), block, into)?
        {
            // blocks in front of the last one are there, as empty ones
            into.fill(0);
            return Ok(block < self.block_count(rel)?);
        }
        Ok(true)
    }

    fn relation_map(&self, tablespace: Oid, database: Oid) -> Result<RelMap, Unreadable> {
        if let Some(map) = self.maps.get(&(tablespace, database)) {
            return Ok(map.clone());
        }
        let (tablespace, database) =
            self.copies.get(&(tablespace, database)).copied().unwrap_or((tablespace, database));
        self.disk.relation_map(tablespace, database)
    }

    fn xact_page(&self, page: u32, into: &mut PageBytes) -> Result<bool, Unreadable> {
        if let Some(bytes) = self.xact.get(&page) {
            into.copy_from_slice(&bytes[..]);
            return Ok(true);
        }
        self.disk.xact_page(page, into)
    }

    fn multixact_updater(&self, multi: u32) -> Result<Option<Xid>, Unreadable> {
        match self.updaters.get(&multi) {
            Some(xid) => Ok(Some(*xid)),
            None => self.disk.multixact_updater(multi),
        }
    }
}

/// What went wrong with a relation first.
struct Trouble {
    lsn: Lsn,
    block: BlockNumber,
    reason: String,
}

/// Replays WAL over a cluster's catalogs. To be fed every record from the redo pointer on, in order.
pub struct Replay {
    major: Major,
    overlay: Overlay,
    /// The catalogs' files that are followed.
    followed: HashSet<RelFile>,
    troubles: HashMap<RelFile, Trouble>,
    damaged_records: u64,
    first_damaged: Option<(Lsn, RedoError)>,
    passes: u32,
}

impl Replay {
    /// Replay over this data directory.
    pub fn new(disk: DiskBlocks) -> Self {
        let major = disk.major();
        // rows that are not visible yet may become so
        let followed = catalog_files(&disk, major, RowState::NeverCommitted);
        Self {
            major,
            overlay: Overlay::new(disk),
            followed,
            troubles: HashMap::new(),
            damaged_records: 0,
            first_damaged: None,
            passes: 1,
        }
    }

    /// Replays over this relation, too; its changed blocks are kept in memory. To be said before the first record.
    pub fn follow(&mut self, rel: RelFile) {
        self.followed.insert(rel);
    }

    /// Whether records of this kind must be given whole, also when they lie on several pages.
    pub const fn wants(rmid: u8, info: u8) -> bool {
        match rmid {
            id::XLOG => matches!(info & 0xF0, op::XLOG_FPI | op::XLOG_FPI_FOR_HINT),
            id::XACT | id::SMGR | id::DBASE | id::MULTIXACT | id::RELMAP | id::HEAP | id::HEAP2 => true,
            _ => false,
        }
    }

    /// Applies the next record.
    pub fn apply(&mut self, record: &Record<'_>) {
        if !Self::wants(record.rmid, record.info) {
            return;
        }
        if let Err(error) = self.try_apply(record) {
            self.damaged_records += 1;
            self.first_damaged.get_or_insert((record.lsn, error));
        }
    }

    fn try_apply(&mut self, record: &Record<'_>) -> Result<(), RedoError> {
        match record.rmid {
            id::XLOG | id::HEAP | id::HEAP2 => {
                if self.touches_followed(record)? {
                    let decoded = record.decode(self.major)?;
                    self.change_blocks(record, &decoded);
                }
                return Ok(());
            }
            _ => {}
        }
        let decoded = record.decode(self.major)?;
        let main = Bytes::new(decoded.main);
        match (record.rmid, record.info & 0xF0) {
            (id::XACT, _) => self.end_transaction(record, decoded.main)?,
            (id::SMGR, op::SMGR_TRUNCATE) => {
                // from 9.6 on flags say which forks are cut
                let main_fork = self.major < Major::V9_6 || main.u32_at(16)? & 1 != 0;
                let rel = RelFile { spc: main.u32_at(4)?, db: main.u32_at(8)?, rel: main.u32_at(12)? };
                if main_fork && self.followed.contains(&rel) {
                    self.overlay.truncate(rel, main.u32_at(0)?);
                }
            }
            (id::DBASE, operation) => self.change_database(operation, main)?,
            (id::MULTIXACT, MULTIXACT_CREATE_ID) => self.create_multixact(main)?,
            (id::RELMAP, op::RELMAP_UPDATE) => self.update_map(main)?,
            _ => {}
        }
        Ok(())
    }

    fn touches_followed(&self, record: &Record<'_>) -> Result<bool, RedoError> {
        let mut fragments = Fragments::new(record, self.major);
        while let Some(fragment) = fragments.next_fragment()? {
            if let Fragment::Block(block) = fragment
                && block.fork == Fork::Main
                && self.followed.contains(&block.rel)
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn change_blocks(&mut self, record: &Record<'_>, decoded: &Decoded<'_>) {
        for block in &decoded.blocks {
            if block.fork != Fork::Main || !self.followed.contains(&block.rel) {
                continue;
            }
            if let Err(reason) = self.change_block(record, decoded, block) {
                self.troubles.entry(block.rel).or_insert(Trouble {
                    lsn: record.lsn,
                    block: block.block,
                    reason,
                });
            }
        }
    }

    /// Brings one block to the record's end (`XLogReadBufferForRedoExtended` and the record's own redo).
    fn change_block(
        &mut self,
        record: &Record<'_>,
        decoded: &Decoded<'_>,
        block: &BlockRef<'_>,
    ) -> Result<(), String> {
        if block.block >= MAX_BLOCKS {
            return Err("no catalog has so many blocks".into());
        }
        let end = record.end.align8();
        if let Some(image) = block.image.filter(|image| image.apply) {
            let mut bytes = image::restore(&image).map_err(|e| e.to_string())?;
            if let Ok(mut page) = page::PageMut::open(&mut bytes) {
                page.set_lsn(end);
            }
            let kept = self.overlay.set_block(block.rel, block.block, bytes);
            return if kept { Ok(()) } else { Err(TOO_MANY.into()) };
        }
        if record.rmid == id::XLOG {
            return Ok(());
        }
        if block.will_init {
            let mut bytes = Box::new([0; BLOCK_SIZE]);
            redo::redo(record, decoded, block, self.major, &mut bytes).map_err(|e| e.to_string())?;
            let kept = self.overlay.set_block(block.rel, block.block, bytes);
            return if kept { Ok(()) } else { Err(TOO_MANY.into()) };
        }
        let found = self.overlay.block(block.rel, block.block)?;
        let bytes = found.ok_or_else(|| RedoError::NoBlock.to_string())?;
        if page::lsn(bytes) >= end {
            return Ok(());
        }
        let mut changed = bytes.clone();
        redo::redo(record, decoded, block, self.major, &mut changed).map_err(|e| e.to_string())?;
        *bytes = changed;
        Ok(())
    }

    fn end_transaction(&mut self, record: &Record<'_>, main: &[u8]) -> Result<(), RedoError> {
        let status = match record.info & op::XACT_MASK {
            op::XACT_COMMIT | op::XACT_COMMIT_PREPARED => XactStatus::Committed,
            op::XACT_ABORT | op::XACT_ABORT_PREPARED => XactStatus::Aborted,
            _ => return Ok(()),
        };
        let xact = XactRecord::parse(main, record.info, record.xid, self.major)?;
        for xid in xact.subxacts.iter().copied().chain([xact.xid]) {
            if xid != 0 {
                self.overlay.set_status(xid, status);
            }
        }
        for rel in xact.dropped {
            if self.followed.contains(&rel) {
                self.overlay.truncate(rel, 0);
                self.troubles.remove(&rel);
            }
        }
        Ok(())
    }

    fn change_database(&mut self, operation: u8, main: Bytes<'_>) -> Result<(), Short> {
        const CREATE_FILE_COPY: u8 = 0x00;
        // from 15 on there are two ways to create, and DROP moved
        let drop = if self.major >= Major::V15 { 0x20 } else { 0x10 };
        let database = main.u32_at(0)?;
        if operation == drop {
            self.overlay.relations.retain(|rel, _| rel.db != database);
            self.overlay.maps.retain(|(_, db), _| *db != database);
            self.overlay.copies.retain(|(_, db), _| *db != database);
            self.overlay.count_kept();
            self.troubles.retain(|rel, _| rel.db != database);
            return Ok(());
        }
        let new = (main.u32_at(4)?, database);
        if operation == CREATE_FILE_COPY {
            self.overlay.copy_database((main.u32_at(12)?, main.u32_at(8)?), new);
        }
        if self.followed.len() >= MAX_FOLLOWED {
            return Ok(());
        }
        // a new database's catalogs have the numbers that they have in the one it was made from
        let numbers: HashSet<Oid> =
            self.followed.iter().filter(|rel| rel.db != 0).map(|rel| rel.rel).collect();
        self.followed.extend(numbers.into_iter().map(|rel| RelFile { spc: new.0, db: new.1, rel }));
        Ok(())
    }

    fn create_multixact(&mut self, main: Bytes<'_>) -> Result<(), Short> {
        // the first member's number is 64 bits wide in 19
        let count_at = if self.major >= Major::V19 { 16 } else { 8 };
        let multi = main.u32_at(0)?;
        for member in 0..main.u32_at(count_at)? as usize {
            let at = count_at + 4 + 8 * member;
            let (xid, status) = (main.u32_at(at)?, main.u32_at(at + 4)?);
            if clog::is_update(status) {
                self.overlay.updaters.insert(multi, xid);
                break;
            }
        }
        Ok(())
    }

    fn update_map(&mut self, main: Bytes<'_>) -> Result<(), RedoError> {
        let (database, tablespace, length) = (main.u32_at(0)?, main.u32_at(4)?, main.u32_at(8)?);
        let map = RelMap::parse(main.slice_at(12, length as usize)?).map_err(|_| RedoError::Map)?;
        let tablespace = if database == 0 { GLOBAL_TABLESPACE } else { tablespace };
        self.overlay.maps.insert((tablespace, database), map);
        Ok(())
    }

    /// To be asked at the end of WAL. True: a catalog moved to a file that was not followed, everything was set back,
    /// and all records are to be fed again.
    pub fn needs_another_pass(&mut self) -> bool {
        let mut wanted = catalog_files(&self.overlay, self.major, RowState::Visible);
        // also of databases that a rewritten pg_database does not name yet
        wanted.extend(self.overlay.maps.iter().filter(|((_, db), _)| *db != 0).filter_map(
            |((spc, db), map)| {
                Some(RelFile { spc: *spc, db: *db, rel: map.file_number(catalog::oid::PG_CLASS)? })
            },
        ));
        if wanted.is_subset(&self.followed) || self.passes >= MAX_PASSES {
            return false;
        }
        self.passes += 1;
        self.followed.extend(wanted);
        let overlay = &mut self.overlay;
        overlay.relations.clear();
        overlay.maps.clear();
        overlay.xact.clear();
        overlay.updaters.clear();
        overlay.copies.clear();
        overlay.kept = 0;
        self.troubles.clear();
        self.damaged_records = 0;
        self.first_damaged = None;
        true
    }

    /// The catalogs as recovery would leave them.
    pub fn into_catalogs(self) -> Catalogs {
        let wanted = catalog_files(&self.overlay, self.major, RowState::Visible);
        let mut problems: Vec<String> = wanted
            .iter()
            .filter_map(|rel| {
                let Trouble { lsn, block, reason } = self.troubles.get(rel)?;
                Some(format!(
                    "the WAL record at {lsn} could not be replayed over block {block} of the catalog {rel}, so \
                     names may be out of date: {reason}"
                ))
            })
            .collect();
        problems.sort();
        if !wanted.is_subset(&self.followed) {
            problems.push(
                "a catalog was rewritten too often to follow it, so names may be out of date".to_owned(),
            );
        }
        if let Some((lsn, error)) = self.first_damaged {
            problems.push(format!(
                "{} WAL records could not be replayed over the catalogs, the first at {lsn}: {error}",
                self.damaged_records
            ));
        }
        Catalogs { major: self.major, blocks: Box::new(self.overlay), replayed: true, problems }
    }
}

impl Sink for Replay {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        Self::wants(rmid, info)
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        self.apply(record);
        true
    }
}

/// The files of the four catalogs, of all databases whose row is in this state or a better one.
fn catalog_files(blocks: &dyn BlockSource, major: Major, at_least: RowState) -> HashSet<RelFile> {
    let mut reader = Reader::new(blocks, major);
    let mut files = HashSet::from(
        [catalog::oid::PG_DATABASE, catalog::oid::PG_TABLESPACE].map(|c| reader.shared_file(c)),
    );
    for database in reader.databases() {
        if database.state >= at_least {
            let place = reader.class_place(&database.row);
            let file = place.file.unwrap_or(RelFile {
                spc: database.row.tablespace,
                db: database.row.oid,
                rel: catalog::oid::PG_CLASS,
            });
            let keep = |row: &ClassRow| row.oid == catalog::oid::PG_NAMESPACE;
            let rows = reader.rows(file, &place.lost, keep);
            files.insert(file);
            files.insert(namespace_file(&rows, &database.row));
        }
    }
    files
}
