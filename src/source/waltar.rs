//! WAL in a tar archive, as PostgreSQL 19's pg_waldump takes it: segments at the archive's top or in `pg_wal`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compress;
use super::waldir::{Head, is_segment};

/// Names of archives end so; what compressed one is seen from its content.
const ENDINGS: [&str; 5] = [".tar", ".tar.gz", ".tgz", ".tar.lz4", ".tar.zst"];
/// Bytes of a segment that identify it.
const HEAD: usize = 40;

/// A part of a file.
#[derive(Debug, Clone)]
pub struct Part {
    file: Arc<File>,
    at: u64,
    len: u64,
}

impl Part {
    /// Reads at `offset` of the part; fewer bytes than asked for at its end.
    ///
    /// # Errors
    /// As the file's.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = rest.min(buffer.len());
        buffer.get_mut(..wanted).map_or(Ok(0), |buffer| self.file.read_at(buffer, self.at + offset))
    }
}

/// An archive; one that is compressed is unpacked into a nameless temporary file.
#[derive(Debug)]
pub struct WalTar {
    /// The archive.
    pub path: PathBuf,
    /// What the first page of its first segment says.
    pub head: Head,
    members: HashMap<String, Part>,
}

/// Why an archive cannot be used.
#[derive(Debug)]
pub enum TarError {
    /// It cannot be opened.
    Open(io::Error),
    /// It cannot be unpacked or read.
    Read(io::Error),
    /// It ends too early, or is none.
    Cut,
    /// No segment is in it.
    Nothing,
}

/// Whether the file's name is one of an archive.
pub fn is_archive_name(path: &Path) -> bool {
    let name = path.as_os_str().as_encoded_bytes();
    ENDINGS.iter().any(|ending| name.ends_with(ending.as_bytes()))
}

impl WalTar {
    /// Finds the segments in it.
    ///
    /// # Errors
    /// It cannot be read, or holds none.
    pub fn open(path: &Path) -> Result<Self, TarError> {
        let packed = File::open(path).map_err(TarError::Open)?;
        let mut start = [0; 64];
        let read = packed.read_at(&mut start, 0).map_err(TarError::Read)?;
        let format = start.get(..read).and_then(compress::Format::detect);
        let file = match format {
            None => packed,
            Some(format) => {
                let mut unpacked = tempfile::tempfile().map_err(TarError::Read)?;
                let mut decoder = compress::decoder(format, BufReader::with_capacity(64 << 10, &packed));
                io::copy(&mut decoder, &mut unpacked).map_err(TarError::Read)?;
                unpacked
            }
        };
        let length = file.metadata().map_err(TarError::Read)?.len();
        let file = Arc::new(file);
        let mut members = HashMap::new();
        let mut first = None;
        let mut archive = tar::Archive::new(Positioned { file: &file, at: 0 });
        for entry in archive.entries().map_err(|_| TarError::Cut)? {
            let entry = entry.map_err(|_| TarError::Cut)?;
            let part = Part { file: Arc::clone(&file), at: entry.raw_file_position(), len: entry.size() };
            if part.at.saturating_add(part.len) > length {
                return Err(TarError::Cut);
            }
            let Some(name) = segment_name(&entry.path_bytes()) else { continue };
            if first.is_none() {
                let mut head = [0; HEAD];
                if matches!(part.read_at(0, &mut head), Ok(HEAD)) {
                    first = Head::of(&head);
                }
            }
            members.entry(name).or_insert(part);
        }
        if length == 0 || length < 512 {
            return Err(TarError::Cut);
        }
        let head = first.ok_or(TarError::Nothing)?;
        Ok(Self { path: path.to_owned(), head, members })
    }

    /// The segment with this name.
    pub fn segment(&self, name: &str) -> Option<&Part> {
        self.members.get(name)
    }
}

/// Name of a segment at the archive's top or in its `pg_wal`.
fn segment_name(path: &[u8]) -> Option<String> {
    let path = path.strip_prefix(b"./").unwrap_or(path);
    let name = path.strip_prefix(b"pg_wal/").unwrap_or(path);
    let name = std::str::from_utf8(name).ok()?;
    is_segment(name.as_ref()).then(|| name.to_owned())
}

/// Reads a file from a position of its own.
struct Positioned<'a> {
    file: &'a File,
    at: u64,
}

impl io::Read for Positioned<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_archives_and_of_their_members() {
        for name in ["a.tar", "/x/b.tar.gz", "c.tgz", "d.tar.lz4", "e.tar.zst"] {
            assert!(is_archive_name(Path::new(name)), "{name}");
        }
        for name in ["tar", "a.zip", "wal.tar/x", "a.tar.bz2", "a.gz"] {
            assert!(!is_archive_name(Path::new(name)), "{name}");
        }
        let segment = "00000001000000000000000F";
        for path in [segment.to_owned(), format!("./{segment}"), format!("./pg_wal/{segment}")] {
            assert_eq!(segment_name(path.as_bytes()).as_deref(), Some(segment), "{path}");
        }
        for path in [format!("data/{segment}"), format!("{segment}.partial"), "pg_wal/".to_owned()] {
            assert_eq!(segment_name(path.as_bytes()), None, "{path}");
        }
    }
}
