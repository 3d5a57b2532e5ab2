//! Blocks of a data directory's files, read with `pread`.
//!
//! Catalogs are read front to back once, and replay reads a block at most once, so mapping the files would save
//! nothing; and a file that is cut short meanwhile ends a read, but kills a process that has it mapped.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::pg::clog::{self, OffsetPlace};
use crate::pg::control::ControlFile;
use crate::pg::page::PageBytes;
use crate::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
use crate::pg::relmap::{self, RelMap};
use crate::pg::{BLOCK_SIZE, BlockNumber, Fork, Major, Oid, RelFile, Xid};

use super::blocks::{BlockSource, Unreadable};

/// More members than this no multixact has (bounds what a damaged file can cost).
const MAX_MEMBERS: u64 = 1 << 16;

/// More bytes than this no relation map has.
const MAP_LIMIT: u64 = 4096;

/// The files of a data directory.
#[derive(Debug)]
pub struct DiskBlocks {
    data_dir: PathBuf,
    major: Major,
    version_dir: String,
    blocks_per_file: BlockNumber,
    pages_per_segment: u32,
    /// The file that was read last: blocks of one relation are read one after the other.
    last: Mutex<Option<(PathBuf, File)>>,
    /// Set when the work is to stop: no block can be read from then on.
    cancel: Arc<AtomicBool>,
}

impl DiskBlocks {
    /// The data directory with this control file.
    pub fn new(data_dir: &Path, control: &ControlFile) -> Self {
        Self::with_layout(
            data_dir,
            control.major,
            control.catalog_version,
            control.relation_segment_size,
            control.slru_pages_per_segment,
        )
    }

    /// The data directory of a cluster with this major and catalog version, blocks to a relation's file and pages to
    /// a file of pg_xact (up to 18 always 32).
    pub fn with_layout(
        data_dir: &Path,
        major: Major,
        catalog_version: u32,
        blocks_per_file: BlockNumber,
        pages_per_segment: Option<u32>,
    ) -> Self {
        Self {
            data_dir: data_dir.to_path_buf(),
            major,
            version_dir: format!("PG_{}_{catalog_version}", major.name()),
            blocks_per_file: blocks_per_file.max(1),
            pages_per_segment: pages_per_segment.filter(|n| *n > 0).unwrap_or(clog::PAGES_PER_SEGMENT),
            last: Mutex::new(None),
            cancel: Arc::default(),
        }
    }

    /// No block can be read any more when the flag is set.
    #[must_use]
    pub fn with_cancel(mut self, cancel: Arc<AtomicBool>) -> Self {
        self.cancel = cancel;
        self
    }

    /// The cluster's major.
    pub const fn major(&self) -> Major {
        self.major
    }

    /// Whether the database has its directory and relation map.
    pub fn has_database(&self, tablespace: Oid, database: Oid) -> bool {
        self.map_path(tablespace, database).is_file()
    }

    fn map_path(&self, tablespace: Oid, database: Oid) -> PathBuf {
        let directory = match (tablespace, database) {
            (_, 0) | (GLOBAL_TABLESPACE, _) => "global".to_owned(),
            (DEFAULT_TABLESPACE, _) => format!("base/{database}"),
            _ => format!("pg_tblspc/{tablespace}/{}/{database}", self.version_dir),
        };
        self.data_dir.join(directory).join(relmap::FILE_NAME)
    }

    /// The file of 1 GB that has the block, and the block's number within it.
    fn segment(&self, rel: RelFile, block: BlockNumber) -> (PathBuf, BlockNumber) {
        let mut name = rel.path(Fork::Main, &self.version_dir);
        let segment = block / self.blocks_per_file;
        if segment > 0 {
            name = format!("{name}.{segment}");
        }
        (self.data_dir.join(name), block % self.blocks_per_file)
    }

    /// Reads block `block` of a file; false if the file is not there or ends before the block does.
    fn read(&self, path: PathBuf, block: u32, into: &mut PageBytes) -> Result<bool, Unreadable> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Unreadable { path, reason: "interrupted".into() });
        }
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.as_ref().is_none_or(|(open, _)| *open != path) {
            match open_regular(&path) {
                Ok(file) => *last = Some((path.clone(), file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        let Some((_, file)) = last.as_ref() else { return Ok(false) };
        match file.read_exact_at(into, u64::from(block) * BLOCK_SIZE as u64) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn slru(
        &self,
        directory: &str,
        page: u64,
        digits: usize,
        into: &mut PageBytes,
    ) -> Result<bool, Unreadable> {
        let per_segment = u64::from(self.pages_per_segment);
        let name = format!("{:0digits$X}", page / per_segment);
        self.read(self.data_dir.join(directory).join(name), (page % per_segment) as u32, into)
    }

    fn first_member(&self, multi: u32, page: &mut PageBytes) -> Result<u64, Unreadable> {
        let place = OffsetPlace::of(multi, self.major);
        let found = self.slru("pg_multixact/offsets", u64::from(place.page), 4, page)?;
        Ok(if found { place.read(page) } else { 0 })
    }
}

/// Opens a regular file; a pipe would be waited for.
fn open_regular(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    File::open(path)
}

fn unreadable(path: PathBuf, error: &io::Error) -> Unreadable {
    Unreadable { path, reason: error.to_string() }
}

impl BlockSource for DiskBlocks {
    fn block_count(&self, rel: RelFile) -> Result<BlockNumber, Unreadable> {
        let mut blocks: BlockNumber = 0;
        loop {
            let (path, _) = self.segment(rel, blocks);
            let length = match path.metadata() {
                Ok(metadata) => {
                    (metadata.len() / BLOCK_SIZE as u64).min(u64::from(self.blocks_per_file)) as u32
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && blocks > 0 => return Ok(blocks),
                Err(error) => return Err(unreadable(path, &error)),
            };
            let Some(next) = blocks.checked_add(length) else { return Ok(blocks) };
            blocks = next;
            if length < self.blocks_per_file {
                return Ok(blocks);
            }
        }
    }

    fn read_block(&self, rel: RelFile, block: BlockNumber, into: &mut PageBytes) -> Result<bool, Unreadable> {
        let (path, within) = self.segment(rel, block);
        self.read(path, within, into)
    }

    fn relation_map(&self, tablespace: Oid, database: Oid) -> Result<RelMap, Unreadable> {
        let path = self.map_path(tablespace, database);
        let mut bytes = Vec::new();
        match open_regular(&path).and_then(|file| file.take(MAP_LIMIT).read_to_end(&mut bytes)) {
            Ok(_) => RelMap::parse(&bytes).map_err(|e| Unreadable { path, reason: e.to_string() }),
            Err(error) => Err(unreadable(path, &error)),
        }
    }

    fn xact_page(&self, page: u32, into: &mut PageBytes) -> Result<bool, Unreadable> {
        self.slru(self.major.xact_dir(), u64::from(page), 4, into)
    }

    fn multixact_updater(&self, multi: u32) -> Result<Option<Xid>, Unreadable> {
        let mut page = [0; BLOCK_SIZE];
        let first = self.first_member(multi, &mut page)?;
        // it ends where the next one begins; the newest multixact of older minors has no next one yet
        let next = self.first_member(multi.wrapping_add(1).max(1), &mut page)?;
        let end = if next == 0 { first.saturating_add(MAX_MEMBERS) } else { next };
        if first == 0 || end <= first || end - first > MAX_MEMBERS {
            return Ok(None);
        }
        let digits = if self.major >= Major::V19 { 15 } else { 4 };
        let mut loaded = None;
        for member in first..end {
            let number = clog::member_page(member);
            if loaded != Some(number) {
                if !self.slru("pg_multixact/members", number, digits, &mut page)? {
                    return Ok(None);
                }
                loaded = Some(number);
            }
            let (xid, status) = clog::member(&page, member);
            if xid == 0 {
                return Ok(None);
            }
            if clog::is_update(status) {
                return Ok(Some(xid));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::time::Instant;

    use super::*;

    #[test]
    fn no_block_is_read_after_a_cancel() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("base/5")).unwrap();
        fs::write(dir.path().join("base/5/1259"), [0; BLOCK_SIZE]).unwrap();
        let cancel = Arc::new(AtomicBool::new(false));
        let disk = DiskBlocks::with_layout(dir.path(), Major::V18, 0, 131_072, None);
        let disk = disk.with_cancel(Arc::clone(&cancel));
        let rel = RelFile { spc: DEFAULT_TABLESPACE, db: 5, rel: 1259 };
        assert_eq!(disk.read_block(rel, 0, &mut [0; BLOCK_SIZE]), Ok(true));
        cancel.store(true, Ordering::Relaxed);
        assert_eq!(disk.read_block(rel, 0, &mut [0; BLOCK_SIZE]).unwrap_err().reason, "interrupted");
    }

    #[test]
    fn a_pipe_or_a_huge_file_in_place_of_a_catalog() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("base/5")).unwrap();
        fs::create_dir(at("global")).unwrap();
        for name in ["base/5/1259", "base/5/pg_filenode.map"] {
            let path = CString::new(at(name).as_os_str().as_bytes()).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        }
        File::create(at("global/pg_filenode.map")).unwrap().set_len(50 << 30).unwrap();
        let disk = DiskBlocks::with_layout(dir.path(), Major::V18, 0, 131_072, None);
        let rel = RelFile { spc: DEFAULT_TABLESPACE, db: 5, rel: 1259 };
        let started = Instant::now();
        let pipe = disk.read_block(rel, 0, &mut [0; BLOCK_SIZE]).unwrap_err();
        assert_eq!(pipe.reason, "not a regular file");
        assert!(disk.relation_map(DEFAULT_TABLESPACE, 5).is_err());
        assert!(disk.relation_map(GLOBAL_TABLESPACE, 0).is_err());
        assert!(started.elapsed().as_secs() < 5);
    }
}
