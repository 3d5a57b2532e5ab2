//! One block of a relation fork, read from its file of 1 GB.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::pg::control::ControlFile;
use crate::pg::page::PageBytes;
use crate::pg::{BLOCK_SIZE, BlockNumber, Fork, RelFile};

/// What lies where a block is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A whole page.
    Page(Box<PageBytes>),
    /// The file is not there.
    NoFile,
    /// The file ends before; so many bytes it has.
    Beyond(u64),
    /// It cannot be read: why.
    Unreadable(String),
}

/// A block and where it was looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The file, within the data directory.
    pub file: PathBuf,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// What is there.
    pub found: Found,
}

/// Reads a block of a relation fork.
pub fn read(root: &Path, control: &ControlFile, (rel, fork): (RelFile, Fork), block: BlockNumber) -> Block {
    let blocks_per_file = control.relation_segment_size.max(1);
    let mut name = rel.path(fork, &control.version_dir());
    if block >= blocks_per_file {
        name = format!("{name}.{}", block / blocks_per_file);
    }
    let offset = u64::from(block % blocks_per_file) * BLOCK_SIZE as u64;
    let found = page(&root.join(&name), offset).unwrap_or_else(|error| match error.kind() {
        ErrorKind::NotFound => Found::NoFile,
        _ => Found::Unreadable(error.to_string()),
    });
    Block { file: PathBuf::from(name), offset, found }
}

fn page(path: &Path, offset: u64) -> io::Result<Found> {
    // a pipe would be waited for
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let file = File::open(path)?;
    let mut page = Box::new([0; BLOCK_SIZE]);
    match file.read_exact_at(page.as_mut_slice(), offset) {
        Ok(()) => Ok(Found::Page(page)),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(Found::Beyond(file.metadata()?.len())),
        Err(error) => Err(error),
    }
}
