//! Where the blocks of catalogs come from: the files of a data directory, or those with WAL replayed over them.

use std::path::PathBuf;

use thiserror::Error;

use crate::pg::page::PageBytes;
use crate::pg::relmap::RelMap;
use crate::pg::{BlockNumber, Major, Oid, RelFile, Xid};

/// A file that cannot be read or does not hold what it should.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}: {reason}", path.display())]
pub struct Unreadable {
    /// The file, as it was opened.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// The catalogs' blocks, relation maps and transaction states of one cluster.
pub trait BlockSource: Send + Sync {
    /// Length of the relation's main fork in blocks.
    ///
    /// # Errors
    /// Its file is not there or cannot be read.
    fn block_count(&self, rel: RelFile) -> Result<BlockNumber, Unreadable>;

    /// Reads a block of the relation's main fork; false if it ends before that.
    ///
    /// # Errors
    /// Its file is not there or cannot be read.
    fn read_block(&self, rel: RelFile, block: BlockNumber, into: &mut PageBytes) -> Result<bool, Unreadable>;

    /// The relation map of a database (its tablespace and OID), or with database 0 that of the shared catalogs.
    ///
    /// # Errors
    /// The file is not there or is damaged.
    fn relation_map(&self, tablespace: Oid, database: Oid) -> Result<RelMap, Unreadable>;

    /// Reads a page of pg_xact; false if it is not there.
    ///
    /// # Errors
    /// Its file cannot be read.
    fn xact_page(&self, page: u32, into: &mut PageBytes) -> Result<bool, Unreadable>;

    /// The transaction that updated or deleted a row on which it holds multixact `multi`; `None` if the multixact
    /// only locks, or is no longer known.
    ///
    /// # Errors
    /// pg_multixact cannot be read.
    fn multixact_updater(&self, multi: u32) -> Result<Option<Xid>, Unreadable>;
}

/// The catalogs of one cluster, to read names from.
pub struct Catalogs {
    pub(super) major: Major,
    pub(super) blocks: Box<dyn BlockSource>,
    pub(super) replayed: bool,
    pub(super) problems: Vec<String>,
}

impl Catalogs {
    /// The catalogs as they stand on disk: right for a cluster that was stopped cleanly.
    pub fn on_disk(disk: super::disk::DiskBlocks) -> Self {
        Self { major: disk.major(), blocks: Box::new(disk), replayed: false, problems: Vec::new() }
    }

    /// Where the blocks come from.
    pub fn blocks(&self) -> &dyn BlockSource {
        &*self.blocks
    }
}
