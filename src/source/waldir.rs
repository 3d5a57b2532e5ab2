//! A directory of WAL as pg_waldump takes it: files by name, whatever is in them.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::compress;
use crate::pg::SegmentSize;
use crate::wal::PAGE_SIZE;

/// Name of the WAL directory within a data directory (`XLOGDIR`).
const WAL_DIR: &str = "pg_wal";
/// Digits of a segment's name.
const NAME_LENGTH: usize = 24;
/// Levels of directories below an archive that are searched for a segment.
const ARCHIVE_DEPTH: usize = 3;

/// What the first page of a segment says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Magic number, of the major.
    pub magic: u16,
    /// Identifier of the cluster.
    pub system_identifier: u64,
    /// Size of a segment in bytes, as it stands there.
    pub segment_size: u32,
}

impl Head {
    /// From a segment's beginning.
    pub fn of(page: &[u8]) -> Option<Self> {
        let magic = u16::from_le_bytes(*page.first_chunk()?);
        let system_identifier = u64::from_le_bytes(*page.get(24..)?.first_chunk()?);
        let segment_size = u32::from_le_bytes(*page.get(32..)?.first_chunk()?);
        Some(Self { magic, system_identifier, segment_size })
    }
}

/// A directory with WAL in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalDir {
    /// The directory.
    pub path: PathBuf,
    /// The first page of the file that was looked for or, if none was, of the one that the system lists first.
    pub head: Head,
}

/// Why there is no such directory.
#[derive(Debug)]
pub enum LocateError {
    /// A file cannot be opened.
    Open(String, io::Error),
    /// A file cannot be read.
    Read(String, io::Error),
    /// A file ends within its first page; bytes there.
    Short(String, usize),
    /// The first page says a segment size, in bytes, that no cluster has.
    SegmentSize(String, i32),
    /// The file is in none of the places.
    NoFile(String),
    /// No file in any of the places is WAL by its name.
    Nothing,
}

impl fmt::Display for LocateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(name, error) => write!(f, "could not open file \"{name}\": {error}"),
            Self::Read(name, error) => write!(f, "could not read file \"{name}\": {error}"),
            Self::Short(name, read) => {
                write!(f, "could not read file \"{name}\": read {read} of {PAGE_SIZE}")
            }
            Self::SegmentSize(name, bytes) => {
                write!(f, "invalid WAL segment size in WAL file \"{name}\" ({bytes} bytes)")
            }
            Self::NoFile(name) => write!(f, "could not locate WAL file \"{name}\""),
            Self::Nothing => f.write_str("could not find any WAL file"),
        }
    }
}

impl WalDir {
    /// Searches `given` and the `pg_wal` in it; without one the current directory, its `pg_wal` and that of the data
    /// directory `data` (`PGDATA`). Without a file's name any segment will do.
    ///
    /// # Errors
    /// None of them has it, or what was found is no segment.
    pub fn locate(
        given: Option<&Path>,
        data: Option<&Path>,
        file: Option<&OsStr>,
    ) -> Result<Self, LocateError> {
        let mut places = vec![given.unwrap_or(Path::new(".")).to_owned()];
        places.push(given.map_or(PathBuf::from(WAL_DIR), |given| given.join(WAL_DIR)));
        places.extend(data.filter(|_| given.is_none()).map(|data| data.join(WAL_DIR)));
        for path in places {
            if let Some(head) = search(&path, file)? {
                return Ok(Self { path, head });
            }
        }
        Err(match file {
            Some(name) => LocateError::NoFile(name.to_string_lossy().into_owned()),
            None => LocateError::Nothing,
        })
    }

    /// Opens the file of this name.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(&self, name: impl AsRef<Path>) -> io::Result<File> {
        File::open(self.path.join(name))
    }
}

fn search(dir: &Path, file: Option<&OsStr>) -> Result<Option<Head>, LocateError> {
    let first = || {
        let entries = std::fs::read_dir(dir).ok()?;
        entries.flatten().map(|entry| entry.file_name()).find(|name| is_segment(name))
    };
    let Some(name) = file.map(OsStr::to_owned).or_else(first) else { return Ok(None) };
    let text = || name.to_string_lossy().into_owned();
    let mut opened = match File::open(dir.join(&name)) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(LocateError::Open(text(), error)),
    };
    let mut page = Vec::with_capacity(PAGE_SIZE);
    opened
        .by_ref()
        .take(PAGE_SIZE as u64)
        .read_to_end(&mut page)
        .map_err(|error| LocateError::Read(text(), error))?;
    let head = Head::of(&page).filter(|_| page.len() == PAGE_SIZE);
    let head = head.ok_or_else(|| LocateError::Short(text(), page.len()))?;
    if SegmentSize::new(head.segment_size).is_none() {
        return Err(LocateError::SegmentSize(text(), head.segment_size as i32));
    }
    Ok(Some(head))
}

/// Whether this is the name of a segment.
pub fn is_segment(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    name.len() == NAME_LENGTH && hex_prefix(name)
}

fn hex_prefix(name: &[u8]) -> bool {
    let digit = |b: &u8| b.is_ascii_digit() || (b'A'..=b'F').contains(b);
    name.get(..NAME_LENGTH).is_some_and(|digits| digits.iter().all(digit))
}

/// The first page of some segment in `dir` or below, plain or compressed: what identifies the cluster of an archive.
pub fn any_head(dir: &Path) -> Option<Head> {
    any_head_below(dir, ARCHIVE_DEPTH)
}

fn any_head_below(dir: &Path, depth: usize) -> Option<Head> {
    let mut paths: Vec<_> = std::fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let (dirs, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let segments = files.iter().filter(|path| {
        path.is_file() && path.file_name().is_some_and(|name| hex_prefix(name.as_encoded_bytes()))
    });
    let valid = |head: &Head| SegmentSize::new(head.segment_size).is_some();
    let found = segments.filter_map(|path| head_of(path)).find(valid);
    if found.is_some() || depth == 0 {
        return found;
    }
    dirs.iter().find_map(|dir| any_head_below(dir, depth - 1))
}

fn head_of(path: &Path) -> Option<Head> {
    let mut file = File::open(path).ok()?;
    let mut start = Vec::new();
    file.by_ref().take(64).read_to_end(&mut start).ok()?;
    let Some(format) = compress::Format::detect(&start) else { return Head::of(&start) };
    let mut unpacked = Vec::new();
    let reader = BufReader::new(File::open(path).ok()?);
    compress::decoder(format, reader).take(64).read_to_end(&mut unpacked).ok()?;
    Head::of(&unpacked)
}
