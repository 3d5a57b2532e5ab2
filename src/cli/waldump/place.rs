//! Where the WAL lies and which part of it is wanted: pg_waldump's rules, and WAL in several places.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use super::getopt::{CommandLine, Id};
use super::options::Options;
use super::scan;
use super::voice::{End, Voice};
use crate::dump::read::Handle;
use crate::dump::read::os_words;
use crate::dump::{Files, Opened, Trouble};
use crate::pg::history::History;
use crate::pg::{Lsn, Major, SegmentSize, TimelineId, WalName};
use crate::scan::path::WalPath;
use crate::source::archive;
use crate::source::waldir::{Head, LocateError, WalDir, any_head};
use crate::source::walset::{WalIdentity, WalSet};
use crate::source::waltar::{TarError, WalTar, is_archive_name};
use crate::wal::Format;

/// The major whose messages are used where no WAL says which one it is.
const UNKNOWN: Major = Major::V18;
/// How often, and after which pause, a segment is looked for that a running server has yet to make.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(500);

/// The WAL that is wanted.
#[derive(Debug)]
pub struct Place {
    /// Where its segments come from.
    pub source: Source,
    /// What its pages look like.
    pub format: Format,
    /// The timeline.
    pub timeline: TimelineId,
    /// Where to begin.
    pub start: Lsn,
    /// Where to end.
    pub end: Option<Lsn>,
    /// The directories that are read.
    pub roots: Vec<PathBuf>,
}

/// Where segments come from.
#[derive(Debug)]
pub enum Source {
    /// One directory, its files taken as they are.
    Plain(Plain),
    /// A tar archive.
    Tar(Tar),
    /// Several places, and a history to follow.
    Wide(Box<WalSet>, History),
}

/// Segments of one timeline in one directory.
#[derive(Debug)]
pub struct Plain {
    dir: WalDir,
    timeline: TimelineId,
    size: SegmentSize,
    patient: bool,
}

impl Files for Plain {
    fn open(&self, segno: u64) -> Result<Opened, Trouble> {
        let name = WalName::Segment(self.timeline, segno).file_name(self.size);
        let mut tries = 1;
        loop {
            match self.dir.open(&name) {
                Ok(file) => {
                    let handle = Handle::Plain(file);
                    return Ok(Opened { handle, timeline: self.timeline, valid_to: Lsn::MAX });
                }
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(Trouble::Unopenable { name, error: os_words(&e) });
                }
                Err(_) if self.patient && tries < TRIES => {
                    tries += 1;
                    thread::sleep(PAUSE);
                }
                Err(e) => return Err(Trouble::Missing { name, error: os_words(&e) }),
            }
        }
    }
}

/// Segments of one timeline in a tar archive.
#[derive(Debug)]
pub struct Tar {
    archive: WalTar,
    timeline: TimelineId,
    size: SegmentSize,
}

impl Files for Tar {
    fn open(&self, segno: u64) -> Result<Opened, Trouble> {
        let name = WalName::Segment(self.timeline, segno).file_name(self.size);
        match self.archive.segment(&name) {
            Some(part) => {
                let handle = Handle::Member(part.clone());
                Ok(Opened { handle, timeline: self.timeline, valid_to: Lsn::MAX })
            }
            None => Err(Trouble::NotInArchive { name, archive: base_name(&self.archive.path) }),
        }
    }
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

impl Place {
    /// The segments, for a reader.
    pub fn with_files<T>(&self, take: impl FnOnce(&dyn Files) -> T) -> T {
        match &self.source {
            Source::Plain(plain) => take(plain),
            Source::Tar(tar) => take(tar),
            Source::Wide(set, history) => {
                take(&WalPath { format: self.format, history, store: set.as_ref() })
            }
        }
    }
}

/// Directory and file name of an operand.
fn split(operand: &OsStr) -> (Option<PathBuf>, OsString) {
    let bytes = operand.as_bytes();
    match bytes.iter().rposition(|&b| b == b'/') {
        Some(at) => {
            let part = |range: &[u8]| OsStr::from_bytes(range).to_owned();
            let directory = part(bytes.get(..at).unwrap_or_default());
            (Some(directory.into()), part(bytes.get(at + 1..).unwrap_or_default()))
        }
        None => (None, operand.to_owned()),
    }
}

fn data_directory() -> Option<PathBuf> {
    std::env::var_os("PGDATA").map(PathBuf::from)
}

/// The major that the WAL is of which the command line speaks, as well as that can be told before it is judged.
pub fn major(line: &CommandLine) -> Major {
    let paths: Vec<PathBuf> = line.values(Id::Path).map(PathBuf::from).collect();
    if let Some((archive, _)) = tar_archive(&paths, &line.operands) {
        // the first to read one; another major's WAL says so itself
        let head = WalTar::open(&archive).ok().map(|tar| tar.head);
        return head.and_then(|head| Major::from_wal_magic(head.magic)).unwrap_or(Major::V19);
    }
    let (directory, name) = line.operands.first().map_or((None, None), |operand| {
        let (directory, name) = split(operand);
        (directory, Some(name))
    });
    let given = line.values(Id::Path).last().map(PathBuf::from).or(directory);
    let data = data_directory();
    let locate = |name: Option<&OsStr>| {
        WalDir::locate(given.as_deref(), data.as_deref(), name).ok().map(|dir| dir.head)
    };
    let places = given.iter().cloned().chain(line.values(Id::WalArchive).map(PathBuf::from));
    let head = locate(name.as_deref())
        .or_else(|| locate(None))
        .or_else(|| WalDir::locate(None, data.as_deref(), None).ok().map(|dir| dir.head))
        .or_else(|| places.filter(|p| p.is_dir()).find_map(|p| any_head(&p)));
    head.and_then(|head| Major::from_wal_magic(head.magic)).unwrap_or(UNKNOWN)
}

/// The archive that is to be read, and operands that do not go with it.
fn tar_archive<'o>(paths: &[PathBuf], operands: &'o [OsString]) -> Option<(PathBuf, &'o [OsString])> {
    if let Some(path) = paths.last() {
        return is_archive_name(path).then(|| (path.clone(), operands));
    }
    // the second one is passed over then, as by 19
    let first = operands.first()?;
    is_archive_name(Path::new(first)).then(|| (PathBuf::from(first), &[][..]))
}

fn tar(options: &Options, path: &Path, operands: &[OsString], voice: Voice) -> Result<Place, End> {
    let usage = |text: String| Err(End::Usage(Some(text), None));
    if let Some(operand) = operands.first() {
        return usage(format!(
            "unnecessary command-line arguments specified with tar archive (first is \"{}\")",
            operand.to_string_lossy()
        ));
    }
    if options.follow_history || options.paths.len() > 1 || !options.archives.is_empty() {
        return usage(format!(
            "\"{}\" is a tar archive, which is read alone: unpack it to read it with other places or along a history",
            path.display()
        ));
    }
    let range = Range::new(options, None, SegmentSize::DEFAULT, voice, &|_| Ok(false))?;
    let start = range.start()?;
    if options.follow {
        return usage("--follow is not supported when reading from a tar archive".into());
    }
    let name = base_name(path);
    let archive = WalTar::open(path).map_err(|error| {
        End::Fatal(match error {
            TarError::Open(_) => format!("could not open file \"{name}\""),
            TarError::Read(error) => format!("could not decompress data: {}", os_words(&error)),
            TarError::Cut => "COPY stream ended before last file was finished".into(),
            TarError::Nothing => format!("could not find WAL in archive \"{name}\""),
        })
    })?;
    let format = format_of(archive.head)?;
    let (timeline, size) = (range.timeline, format.segment_size);
    let roots = vec![path.to_owned()];
    let tar = Tar { archive, timeline, size };
    Ok(Place { source: Source::Tar(tar), format, timeline, start, end: range.end, roots })
}

/// Judges where the WAL is.
///
/// # Errors
/// As pg_waldump.
pub fn find(options: &Options, voice: Voice) -> Result<Place, End> {
    if let Some((archive, operands)) = tar_archive(&options.paths, &options.operands) {
        return tar(options, &archive, operands, voice);
    }
    let unlistable = |dir: &Path, e: &io::Error| {
        format!("could not open directory \"{}\": {}", dir.display(), os_words(e))
    };
    for dir in options.paths.iter().chain(&options.archives) {
        archive::listable(dir).map_err(|e| End::Usage(Some(unlistable(dir, &e)), None))?;
    }
    let mut given = options.paths.last().cloned();
    let first = options.operands.first().map(|operand| split(operand));
    if let Some((Some(directory), _)) = &first
        && given.is_none()
    {
        archive::listable(directory).map_err(|e| End::Fatal(unlistable(directory, &e)))?;
        given = Some(directory.clone());
    }
    let name = first.map(|(_, name)| name);
    if options.paths.len() > 1 || !options.archives.is_empty() || options.follow_history {
        let given = options.paths.first().cloned().or(given);
        return wide(options, given, name.as_deref(), voice);
    }
    match WalDir::locate(given.as_deref(), data_directory().as_deref(), name.as_deref()) {
        Ok(dir) => plain(options, dir, name.as_deref(), voice),
        Err(error @ (LocateError::NoFile(_) | LocateError::Nothing)) => {
            // perhaps it is compressed
            let packed = given.filter(|dir| any_head(dir).is_some());
            let found = packed.and_then(|dir| wide(options, Some(dir), name.as_deref(), voice).ok());
            found.filter(has_start).ok_or_else(|| located(error, voice.major))
        }
        Err(error) => Err(located(error, voice.major)),
    }
}

/// There is a file for the first segment.
fn has_start(place: &Place) -> bool {
    match &place.source {
        Source::Plain(_) | Source::Tar(_) => true,
        Source::Wide(set, _) => {
            !set.candidates(place.timeline, place.format.segment_size.segno(place.start)).is_empty()
        }
    }
}

fn located(error: LocateError, major: Major) -> End {
    match error {
        LocateError::Open(name, e) => End::Fatal(format!("could not open file \"{name}\": {}", os_words(&e))),
        LocateError::Read(name, e) => End::Fatal(format!("could not read file \"{name}\": {}", os_words(&e))),
        LocateError::SegmentSize(name, bytes) => {
            let noun = if bytes == 1 { "byte" } else { "bytes" };
            if major >= Major::V16 {
                End::Detailed(
                    format!("invalid WAL segment size in WAL file \"{name}\" ({bytes} {noun})"),
                    "The WAL segment size must be a power of two between 1 MB and 1 GB.",
                )
            } else {
                End::Fatal(format!(
                    "WAL segment size must be a power of two between 1 MB and 1 GB, but the WAL file \"{name}\" header specifies {bytes} {noun}"
                ))
            }
        }
        other => End::Fatal(other.to_string()),
    }
}

fn format_of(head: Head) -> Result<Format, End> {
    let major = Major::from_wal_magic(head.magic).filter(|major| *major >= Major::V9_5);
    let size = SegmentSize::new(head.segment_size);
    match (major, size) {
        (Some(major), Some(segment_size)) => Ok(Format { major, system_identifier: 0, segment_size }),
        _ => Err(End::Fatal(format!(
            "the WAL has the magic number {:04X}, which none of PostgreSQL 9.5 to 19 writes",
            head.magic
        ))),
    }
}

/// Timeline and number of the segment that a file's name says.
fn segment(name: &OsStr, size: SegmentSize) -> Option<(TimelineId, u64)> {
    let [timeline, high, low] = scan::segment_name(name.as_bytes())?;
    let per_id = (1u64 << 32) / size.bytes();
    Some((timeline, u64::from(high).saturating_mul(per_id).saturating_add(u64::from(low))))
}

/// What is wanted by options and operands: timeline, start, end.
struct Range {
    timeline: TimelineId,
    start: Option<Lsn>,
    end: Option<Lsn>,
}

impl Range {
    /// `exists` says whether there is a file of this name.
    fn new(
        options: &Options,
        name: Option<&OsStr>,
        size: SegmentSize,
        voice: Voice,
        exists: &dyn Fn(&OsStr) -> Result<bool, End>,
    ) -> Result<Self, End> {
        let mut range =
            Self { timeline: options.timeline.unwrap_or(1), start: options.start, end: options.end };
        let Some(name) = name else { return Ok(range) };
        let check = |name: &OsStr| -> Result<(TimelineId, u64), End> {
            let shown = name.to_string_lossy();
            if !exists(name)? {
                return Err(End::Fatal(format!("could not open file \"{shown}\"")));
            }
            let unnamed = || End::Fatal(format!("\"{shown}\" is not the name of a WAL segment"));
            segment(name, size).ok_or_else(unnamed)
        };
        let inside = |at: Lsn, segno: u64| size.segno(at) == segno;
        let outside = |which: &str, at: Lsn, file: &OsStr| {
            let text = format!(
                "{which} WAL location {} is not inside file \"{}\"",
                voice.lsn(at),
                file.to_string_lossy()
            );
            Err(End::Usage(Some(text), None))
        };
        let (timeline, first) = check(name)?;
        range.timeline = timeline;
        match range.start {
            None => range.start = Some(size.start(first)).filter(|lsn| lsn.is_valid()),
            Some(start) if !inside(start, first) => return outside("start", start, name),
            Some(_) => {}
        }
        let mut last = first;
        if let Some(operand) = options.operands.get(1) {
            let (timeline, segno) = check(&split(operand).1)?;
            range.timeline = timeline;
            last = segno;
            if last < first {
                let shown = |n: usize| options.operands.get(n).map_or("".into(), |o| o.to_string_lossy());
                return Err(End::Fatal(format!("ENDSEG {} is before STARTSEG {}", shown(1), shown(0))));
            }
        }
        let end = *range.end.get_or_insert(size.start(last + 1));
        if !inside(end, last) && end != size.start(last + 1) {
            let given = options.operands.last().map(OsString::as_os_str).unwrap_or_default();
            return outside("end", end, given);
        }
        Ok(range)
    }

    fn start(&self) -> Result<Lsn, End> {
        self.start.ok_or_else(|| End::Usage(Some("no start WAL location given".into()), None))
    }
}

fn plain(options: &Options, dir: WalDir, name: Option<&OsStr>, voice: Voice) -> Result<Place, End> {
    // the size alone is known to be right; the magic number matters only once a start is given
    let size = SegmentSize::new(dir.head.segment_size).unwrap_or(SegmentSize::DEFAULT);
    let exists = |name: &OsStr| match dir.open(name) {
        Ok(_) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => {
            Err(End::Fatal(format!("could not open file \"{}\": {}", name.to_string_lossy(), os_words(&e))))
        }
    };
    let range = Range::new(options, name, size, voice, &exists)?;
    let start = range.start()?;
    let format = format_of(dir.head)?;
    let roots = vec![dir.path.clone()];
    let plain = Plain { dir, timeline: range.timeline, size, patient: options.follow };
    Ok(Place { source: Source::Plain(plain), format, timeline: range.timeline, start, end: range.end, roots })
}

fn wide(options: &Options, given: Option<PathBuf>, name: Option<&OsStr>, voice: Voice) -> Result<Place, End> {
    let own = given.map(|dir| {
        let below = dir.join("pg_wal");
        if below.is_dir() { below } else { dir }
    });
    let own = match own {
        None if options.archives.is_empty() => {
            let found = WalDir::locate(None, data_directory().as_deref(), None);
            Some(found.map_err(|e| located(e, voice.major))?.path)
        }
        own => own,
    };
    let mut archives: Vec<PathBuf> = options.paths.iter().skip(1).cloned().collect();
    archives.extend(options.archives.iter().cloned());
    let head = own.iter().chain(&archives).find_map(|dir| any_head(dir));
    let format = format_of(head.ok_or_else(|| located(LocateError::Nothing, voice.major))?)?;
    let system_identifier = head.map_or(0, |head| head.system_identifier);
    let format = Format { system_identifier, ..format };
    let identity = WalIdentity { system_identifier, magic: None, major: Some(format.major) };
    let size = format.segment_size;
    let set = WalSet::new(own.as_deref().unwrap_or(Path::new("")), &archives, None, size, identity);
    let exists = |name: &OsStr| {
        Ok(segment(name, size).is_some_and(|(timeline, segno)| !set.candidates(timeline, segno).is_empty()))
    };
    let range = Range::new(options, name, size, voice, &exists)?;
    let start = range.start()?;
    let history = if options.follow_history {
        let newest = set.histories().iter().map(|file| file.timeline).chain(set.timelines()).max();
        let timeline = options.timeline.or(newest).unwrap_or(range.timeline);
        history_of(&set, timeline)?
    } else {
        History::single(range.timeline)
    };
    let roots = own.into_iter().chain(archives).collect();
    let timeline = range.timeline;
    Ok(Place { source: Source::Wide(Box::new(set), history), format, timeline, start, end: range.end, roots })
}

fn history_of(set: &WalSet, timeline: TimelineId) -> Result<History, End> {
    let known = set.histories().into_iter().find(|file| file.timeline == timeline);
    let Some(file) = known.or_else(|| set.restored_history(timeline)) else {
        return Ok(History::single(timeline));
    };
    History::parse(&file.bytes, timeline)
        .map_err(|e| End::Fatal(format!("the history file \"{}\" cannot be used: {e}", file.path.display())))
}
