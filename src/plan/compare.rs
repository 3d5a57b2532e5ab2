//! Relation files of both sides, compared block by block.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::pg::BLOCK_SIZE;
use crate::scan::BlockSet;
use crate::scan::progress::{Cancelled, Progress};

/// Blocks that are read at a time.
const BLOCKS: usize = 64;

/// Why a comparison stopped.
#[derive(Debug)]
pub enum Stopped {
    /// A file cannot be read.
    Io(io::Error),
    /// [`Progress::cancel`] was called.
    Cancelled,
}

impl From<Cancelled> for Stopped {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// The blocks, among those that both files have whole, that are not the same to the byte.
///
/// # Errors
/// One cannot be read.
pub fn differing(ours: &Path, theirs: &Path, progress: &Progress) -> Result<BlockSet, Stopped> {
    let mut ours = File::open(ours).map_err(Stopped::Io)?;
    let mut theirs = File::open(theirs).map_err(Stopped::Io)?;
    let mut buffers = [vec![0; BLOCKS * BLOCK_SIZE], vec![0; BLOCKS * BLOCK_SIZE]];
    let [a, b] = &mut buffers;
    let mut found = BlockSet::default();
    let mut first = 0u32;
    loop {
        progress.check()?;
        let read = fill(&mut ours, a).map_err(Stopped::Io)?.min(fill(&mut theirs, b).map_err(Stopped::Io)?);
        let (left, right) = (a.get(..read).unwrap_or_default(), b.get(..read).unwrap_or_default());
        if left != right {
            let pairs = left.chunks_exact(BLOCK_SIZE).zip(right.chunks_exact(BLOCK_SIZE));
            for (n, _) in pairs.enumerate().filter(|(_, (x, y))| x != y) {
                found.insert(first + n as u32);
            }
        }
        progress.advance(read as u64);
        if read < a.len() {
            return Ok(found);
        }
        first += BLOCKS as u32;
    }
}

fn fill(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read(rest) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn blocks_that_differ() {
        let temp = tempfile::tempdir().unwrap();
        let (a, b) = (temp.path().join("a"), temp.path().join("b"));
        let mut content = vec![7u8; 200 * BLOCK_SIZE + 100];
        fs::write(&a, &content).unwrap();
        for at in [0, 63 * BLOCK_SIZE + 8191, 64 * BLOCK_SIZE, 199 * BLOCK_SIZE, 200 * BLOCK_SIZE + 1] {
            content[at] = 8;
        }
        content.truncate(200 * BLOCK_SIZE + 50);
        fs::write(&b, &content).unwrap();
        let found = differing(&a, &b, &Progress::default()).unwrap();
        assert_eq!(found.iter().collect::<Vec<_>>(), [0, 63, 64, 199], "and no block that is not whole");
        content.truncate(BLOCK_SIZE);
        fs::write(&b, &content).unwrap();
        assert_eq!(differing(&a, &b, &Progress::default()).unwrap().len(), 1);
        assert!(matches!(differing(&a, &temp.path().join("c"), &Progress::default()), Err(Stopped::Io(_))));
    }
}
