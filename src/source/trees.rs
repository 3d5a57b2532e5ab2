//! Both trees of files, listed and compared as pg_rewind lists them (links followed at `pg_wal` and in `pg_tblspc/`
//! only). Content is not read.

use std::path::PathBuf;

/// What kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path within the data directory, bytes as the filesystem has them.
    pub path: PathBuf,
    /// What it is.
    pub kind: Kind,
    /// Size in bytes (files).
    pub size: u64,
    /// Mode bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Where a symlink points.
    pub link: Option<PathBuf>,
}

/// Both trees; each sorted by path.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    /// Entries of the target.
    pub target: Vec<Entry>,
    /// Entries of the source.
    pub source: Vec<Entry>,
    /// Directories that could not be listed, with the reason.
    pub problems: Vec<(PathBuf, String)>,
}
