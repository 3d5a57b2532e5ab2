//! The source's bytes, read, checked where they are pages of relations, and written.

use std::io::{self, BufReader, Read};
use std::path::Path;

use super::disk::{Access, At, Disk, DiskFile, read_full_at, write_all_at};
use super::error::{Doing, Trouble};
use crate::pg::{BLOCK_SIZE, Lsn, checksum};
use crate::scan::progress::Progress;
use crate::source::compress::{self, Format};
use crate::source::trees::relation_file;

/// Bytes read at once: whole blocks.
const CHUNK: usize = 1 << 20;
/// Bytes that the kernel is asked to copy at once: the user may want to stop.
const KERNEL_CHUNK: u64 = 16 << 20;
/// `RELSEG_SIZE` as built by default.
const BLOCKS_OF_SEGMENT: u32 = 131_072;

/// What pages of the source have to be like.
#[derive(Debug, Clone, Copy)]
pub struct Checks {
    /// They have checksums.
    pub checksums: bool,
    /// No page is newer.
    pub newest: Lsn,
}

/// Copies for one side to the other.
pub struct Copier<'a> {
    pub disk: &'a dyn Disk,
    pub checks: Checks,
    pub progress: &'a Progress,
}

/// A page's `pd_lsn`, high half first (`PageXLogRecPtr`, storage/bufpage.h).
fn lsn_of(page: &[u8; BLOCK_SIZE]) -> Lsn {
    let half = |at: usize| {
        page.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |half| u32::from_le_bytes(*half))
    };
    Lsn(u64::from(half(0)) << 32 | u64::from(half(4)))
}

/// A page's `pd_checksum`.
fn checksum_of(page: &[u8; BLOCK_SIZE]) -> u16 {
    let [_, _, _, _, _, _, _, _, low, high, ..] = *page;
    u16::from_le_bytes([low, high])
}

impl Copier<'_> {
    /// Checks whole pages at the beginning of `bytes`, which lie at `offset` in a relation's file.
    fn check(&self, path: &Path, segment: u32, bytes: &[u8], offset: u64) -> Result<(), Trouble> {
        let first = (offset / BLOCK_SIZE as u64) as u32;
        for (page, n) in bytes.as_chunks::<BLOCK_SIZE>().0.iter().zip(0u32..) {
            // a page that was never filled
            if page.iter().all(|byte| *byte == 0) {
                continue;
            }
            let block = segment.wrapping_mul(BLOCKS_OF_SEGMENT).wrapping_add(first).wrapping_add(n);
            if self.checks.checksums {
                let (stored, computed) = (checksum_of(page), checksum::of(page, block));
                if stored != computed {
                    return Err(Trouble::Checksum { path: path.to_owned(), block, stored, computed });
                }
            }
            let (lsn, limit) = (lsn_of(page), self.checks.newest);
            if lsn > limit {
                return Err(Trouble::NewerThanSource { path: path.to_owned(), block, lsn, limit });
            }
        }
        Ok(())
    }

    /// Copies a stretch of a file to the same place of another, all of which has to be there.
    pub fn stretch(
        &self,
        path: &Path,
        from: &dyn DiskFile,
        to: &dyn DiskFile,
        range: (u64, u64),
    ) -> Result<(), Trouble> {
        let segment = relation_file(path).map(|(_, segment)| segment);
        let mut buffer = vec![0; CHUNK.min((range.1 - range.0) as usize)];
        let mut offset = range.0;
        while offset < range.1 {
            self.progress.check()?;
            let want = (range.1 - offset).min(CHUNK as u64) as usize;
            let chunk = buffer.get_mut(..want).unwrap_or_default();
            let n = read_full_at(from, chunk, offset).doing("the source's could not be read", path)?;
            if n < want {
                return Err(Trouble::SourceMoved {
                    path: path.to_owned(),
                    what: format!("it ends at {} bytes, {} are expected", offset + n as u64, range.1),
                });
            }
            if let Some(segment) = segment {
                self.check(path, segment, chunk, offset)?;
            }
            write_all_at(to, chunk, offset).doing("could not be written", path)?;
            offset += n as u64;
            self.progress.advance(n as u64);
        }
        Ok(())
    }

    /// Copies a whole file to the beginning of another by what the system offers. Pages of relations are read and checked.
    pub fn whole(
        &self,
        path: &Path,
        from: &dyn DiskFile,
        to: &dyn DiskFile,
        size: u64,
    ) -> Result<(), Trouble> {
        if relation_file(path).is_some() {
            return self.stretch(path, from, to, (0, size));
        }
        if size > 0 && self.disk.clone_file(from, to).is_ok() {
            self.progress.advance(size);
            return Ok(());
        }
        let mut offset = 0;
        while offset < size {
            self.progress.check()?;
            match self.disk.copy_range(from, to, offset, (size - offset).min(KERNEL_CHUNK)) {
                Ok(0) => break,
                Ok(n) => {
                    offset += n;
                    self.progress.advance(n);
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // between filesystems, or with a kernel that cannot
                Err(e) if offset == 0 && cannot(&e) => return self.stretch(path, from, to, (0, size)),
                Err(e) => return Err(e).doing("could not be copied", path),
            }
        }
        if offset < size {
            // some filesystems copy nothing and say so without an error
            return self.stretch(path, from, to, (offset, size));
        }
        Ok(())
    }

    /// Unpacks an archived file to the beginning of another; unpacked it has to have `size` bytes.
    pub fn archived(&self, archive: &Path, path: &Path, to: &dyn DiskFile, size: u64) -> Result<(), Trouble> {
        let (Some(parent), Some(name)) = (archive.parent(), archive.file_name()) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput)).doing("could not be opened", archive);
        };
        let root = self.disk.open_root(parent).doing("could not be opened", parent)?;
        let file = self.disk.open(At::new(root, name), Access::Read).doing("could not be opened", archive)?;
        let mut head = [0; 16];
        let n = read_full_at(&*file, &mut head, 0).doing("could not be read", archive)?;
        let stored = BufReader::new(Sequential { file: &*file, offset: 0 });
        let mut reader: Box<dyn Read + '_> = match Format::detect(head.get(..n).unwrap_or_default()) {
            Some(format) => compress::decoder(format, stored),
            None => Box::new(stored),
        };
        let mut buffer = vec![0; CHUNK];
        let mut offset = 0;
        loop {
            self.progress.check()?;
            let n = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).doing("could not be unpacked", archive),
            };
            offset += n as u64;
            if offset > size {
                break;
            }
            let chunk = buffer.get(..n).unwrap_or_default();
            write_all_at(to, chunk, offset - n as u64).doing("could not be written", path)?;
            self.progress.advance(n as u64);
        }
        if offset != size {
            let what = format!("unpacked it has not the {size} bytes that the plan saw");
            return Err(Trouble::SourceMoved { path: archive.to_owned(), what });
        }
        Ok(())
    }

    /// Reads a stretch of both files back and compares.
    pub fn compare(
        &self,
        path: &Path,
        from: &dyn DiskFile,
        to: &dyn DiskFile,
        range: (u64, u64),
    ) -> Result<(), Trouble> {
        let (mut theirs, mut ours) = (vec![0; CHUNK], vec![0; CHUNK]);
        let mut offset = range.0;
        while offset < range.1 {
            self.progress.check()?;
            let want = (range.1 - offset).min(CHUNK as u64) as usize;
            let (a, b) =
                (theirs.get_mut(..want).unwrap_or_default(), ours.get_mut(..want).unwrap_or_default());
            let n = read_full_at(from, a, offset).doing("the source's could not be read", path)?;
            let m = read_full_at(to, b, offset).doing("could not be read back", path)?;
            if (n, m) != (want, want) || a != b {
                let same = a.iter().zip(b.iter()).take_while(|(x, y)| x == y).count();
                let offset = offset + same.min(n).min(m) as u64;
                return Err(Trouble::ReadBack { path: path.to_owned(), offset });
            }
            offset += want as u64;
            self.progress.advance(want as u64);
        }
        Ok(())
    }
}

/// The kernel or the filesystem does not do this.
fn cannot(error: &io::Error) -> bool {
    use io::ErrorKind::{CrossesDevices, InvalidInput, PermissionDenied, Unsupported};
    matches!(error.kind(), CrossesDevices | InvalidInput | PermissionDenied | Unsupported)
}

struct Sequential<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl Read for Sequential<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read_at(buf, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}
