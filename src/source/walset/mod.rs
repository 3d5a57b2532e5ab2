//! Where WAL lies: a side's own directory, archives, a restore command.
//!
//! Names are listed once, cheaply; a file is opened when it is asked for, and its content decides whether it is the
//! segment that its name claims. What is not is remembered with the reason.

mod conflicts;
mod judge;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::archive::Listing;
pub use super::archive::Place;
pub use super::restore::{RESTORE_TIMEOUT, RestoreCommand, RestoreError};
use crate::pg::{Major, SegmentSize, TimelineId, WalName};

pub use conflicts::{Conflict, conflicts};
pub use judge::Reason;

/// A history file is a few lines; more than this is none (bytes).
const HISTORY_LIMIT: u64 = 1 << 20;
/// Decoded segments that stay open for the next reader.
const CACHED: usize = 4;

/// What a segment must say to be of this cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WalIdentity {
    /// Of pg_control.
    pub system_identifier: u64,
    /// Magic number of its WAL pages; `None`: the major's.
    pub magic: Option<u16>,
    /// The cluster's major; `None`: any known one's magic will do.
    pub major: Option<Major>,
}

impl WalIdentity {
    fn expected_magic(&self) -> Option<u16> {
        self.magic.or(self.major.map(Major::wal_magic))
    }
}

/// A file that by its name is a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The file, perhaps compressed.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// A `.partial`.
    pub partial: bool,
}

/// A segment's file, uncompressed, whose first page is of this segment and of this cluster.
#[derive(Debug, Clone)]
pub struct Segment {
    file: Arc<File>,
    /// The file that it was read from; for a compressed one the archive's file.
    pub path: PathBuf,
    /// Length in bytes: the segment size, less only for a `.partial`.
    pub len: u64,
    /// Where it lay.
    pub place: Place,
    /// It was a `.partial`.
    pub partial: bool,
    /// Timeline in the header of its first page: the name's, or an ancestor's where the timeline began within it.
    pub page_timeline: TimelineId,
}

impl Segment {
    /// Reads at `offset` bytes into the segment; fewer bytes than asked for only at its end.
    ///
    /// # Errors
    /// As `pread`.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        judge::read_full_at(&self.file, buf, offset)
    }

    /// The open file: the segment's own, or an anonymous one with what was decoded.
    pub fn file(&self) -> &File {
        &self.file
    }
}

/// A file that is not the segment that its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Timeline in the name.
    pub timeline: TimelineId,
    /// Number of the segment in the name.
    pub segno: u64,
    /// The file; for a restore command the name that it was asked for.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// Why it was not used.
    pub reason: Reason,
}

/// A segment that is there by its name, and of which no copy could be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{name}: {}", .rejected.iter().map(|r| format!("{}: {}", r.path.display(), r.reason)).collect::<Vec<_>>().join("; "))]
pub struct SegmentError {
    /// Name of the segment.
    pub name: String,
    /// Every copy, and what is wrong with it.
    pub rejected: Vec<Rejected>,
}

/// A history file, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFile {
    /// In its name.
    pub timeline: TimelineId,
    /// The file.
    pub path: PathBuf,
    /// Where it lies.
    pub place: Place,
    /// It lies in the side's own WAL directory.
    pub own: bool,
    /// Its content.
    pub bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    rejected: BTreeMap<(TimelineId, u64), Vec<Rejected>>,
    /// Decoded segments, the last one used at the end.
    decoded: VecDeque<((TimelineId, u64), Segment)>,
    problems: Vec<(PathBuf, String)>,
}

/// What the restore command has brought; the directory goes away with the set.
#[derive(Debug, Default)]
struct Scratch {
    dir: Option<tempfile::TempDir>,
    brought: HashMap<String, Option<PathBuf>>,
}

/// All WAL that one side has: its own directory, archives, a restore command.
#[derive(Debug)]
pub struct WalSet {
    listing: Listing,
    restore: Option<RestoreCommand>,
    size: SegmentSize,
    identity: WalIdentity,
    /// Set when the work is to stop: from then on nothing is found.
    cancel: Arc<AtomicBool>,
    state: Mutex<State>,
    scratch: Mutex<Scratch>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WalSet {
    /// Lists `own` (the side's WAL directory or a link to it; it may be missing) and the archives with what is
    /// below them. What cannot be listed is in [`Self::problems`].
    pub fn new(
        own: &Path,
        archives: &[PathBuf],
        restore: Option<RestoreCommand>,
        size: SegmentSize,
        identity: WalIdentity,
    ) -> Self {
        Self::until(own, archives, restore, (size, identity), Arc::default())
    }

    /// As [`Self::new`]. When `cancel` is set, listing and decoding end where they are, and nothing more is found: whoever
    /// set it has to throw away what follows from that.
    pub fn until(
        own: &Path,
        archives: &[PathBuf],
        restore: Option<RestoreCommand>,
        (size, identity): (SegmentSize, WalIdentity),
        cancel: Arc<AtomicBool>,
    ) -> Self {
        let mut listing = Listing::new(size, Arc::clone(&cancel));
        listing.add(own, Place::Own);
        for (n, archive) in archives.iter().enumerate() {
            listing.add(archive, Place::Archive(n));
        }
        listing.finish();
        let (state, scratch) = (Mutex::default(), Mutex::default());
        Self { listing, restore, size, identity, cancel, state, scratch }
    }

    /// An archive alone, until `cancel` is set.
    pub fn of_archive(
        archive: &Path,
        size: SegmentSize,
        identity: WalIdentity,
        cancel: Arc<AtomicBool>,
    ) -> Self {
        let mut listing = Listing::new(size, Arc::clone(&cancel));
        listing.add(archive, Place::Archive(0));
        listing.finish();
        let (state, scratch) = (Mutex::default(), Mutex::default());
        Self { listing, restore: None, size, identity, cancel, state, scratch }
    }

    pub(super) fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    /// Whether there is anything of this cluster: a segment among the first and last of each timeline that is its own
    /// (or too damaged to tell), or, without any segment, a history file.
    pub fn is_of_use(&self) -> bool {
        let timelines = self.timelines();
        if timelines.is_empty() {
            return !self.histories().is_empty();
        }
        timelines.iter().any(|&timeline| {
            let mut numbers: Vec<u64> = self.segments(timeline).take(2).collect();
            numbers.extend(self.segments(timeline).rev().take(2));
            numbers.into_iter().any(|segno| !matches!(self.open(timeline, segno), Ok(None)))
        })
    }

    /// Size of a segment.
    pub const fn segment_size(&self) -> SegmentSize {
        self.size
    }

    /// What a segment must say to be of this cluster.
    pub const fn identity(&self) -> WalIdentity {
        self.identity
    }

    /// The restore command, if one was given.
    pub const fn restore_command(&self) -> Option<&RestoreCommand> {
        self.restore.as_ref()
    }

    /// Files whose names say that they are this segment, best first: the own directory before archives, a whole
    /// one before a `.partial`. Nothing is opened.
    pub fn candidates(&self, timeline: TimelineId, segno: u64) -> Vec<Candidate> {
        let files = self.listing.files(timeline, segno);
        files.map(|(place, path, partial)| Candidate { path, place, partial }).collect()
    }

    /// Numbers of the segments of a timeline by their names, ascending. In an own WAL directory the last ones may
    /// be recycled files for later.
    pub fn segments(&self, timeline: TimelineId) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.listing.segments(timeline)
    }

    /// The first and last of [`Self::segments`].
    pub fn first_and_last(&self, timeline: TimelineId) -> Option<(u64, u64)> {
        let mut segments = self.segments(timeline);
        let first = segments.next()?;
        Some((first, segments.next_back().unwrap_or(first)))
    }

    /// Timelines of which there are segments by name, ascending.
    pub fn timelines(&self) -> Vec<TimelineId> {
        self.listing.timelines()
    }

    /// Directories that could not be listed and files that could not be read, each with a sentence.
    pub fn problems(&self) -> Vec<(PathBuf, String)> {
        let mut problems = self.listing.problems.clone();
        problems.extend(lock(&self.state).problems.iter().cloned());
        problems
    }

    /// Opens a segment: the first candidate whose content is what its name says, the restore command last. `None`
    /// means that it is nowhere: no file, or only recycled, zeroed or foreign ones (see [`Self::rejected_for`]).
    ///
    /// # Errors
    /// A copy may be the right one, and could not be read or decoded, and there is no other.
    pub fn open(&self, timeline: TimelineId, segno: u64) -> Result<Option<Segment>, SegmentError> {
        let key = (timeline, segno);
        if self.cancelled() {
            return Ok(None);
        }
        {
            let mut state = lock(&self.state);
            if let Some(n) = state.decoded.iter().position(|(k, _)| *k == key)
                && let Some(hit) = state.decoded.remove(n)
            {
                let segment = hit.1.clone();
                state.decoded.push_back(hit);
                return Ok(Some(segment));
            }
        }
        for candidate in self.candidates(timeline, segno) {
            // an own file may be written to while we look; what lies in an archive stays as it is
            if candidate.place != Place::Own && self.was_rejected(key, &candidate.path) {
                continue;
            }
            match self.read_candidate(key, &candidate) {
                Ok(segment) => return Ok(Some(segment)),
                Err(reason) => self.reject(key, candidate.path, candidate.place, reason),
            }
        }
        let name = WalName::Segment(timeline, segno).file_name(self.size);
        match self.restored(&name) {
            Ok(Some(path)) => {
                let candidate = Candidate { path, place: Place::Restored, partial: false };
                match self.read_candidate(key, &candidate) {
                    Ok(segment) => return Ok(Some(segment)),
                    Err(reason) => self.reject(key, candidate.path, Place::Restored, reason),
                }
            }
            Ok(None) => {}
            Err(e) => self.reject(key, PathBuf::from(&name), Place::Restored, Reason::Restore(e)),
        }
        let rejected = self.rejected_for(timeline, segno);
        if rejected.iter().any(|r| r.reason.is_damage()) {
            return Err(SegmentError { name, rejected });
        }
        Ok(None)
    }

    /// Every place where a usable copy lies, judged by the first page (and the length, where it is not compressed);
    /// the restore command is run only where there is none.
    pub fn places(&self, timeline: TimelineId, segno: u64) -> Vec<Candidate> {
        let key = (timeline, segno);
        let mut places = Vec::new();
        for candidate in self.candidates(timeline, segno) {
            if self.cancelled() {
                return places;
            }
            if candidate.place != Place::Own && self.was_rejected(key, &candidate.path) {
                continue;
            }
            match self.peek_candidate(key, &candidate) {
                Ok(()) => places.push(candidate),
                Err(reason) => self.reject(key, candidate.path, candidate.place, reason),
            }
        }
        if places.is_empty()
            && self.restore.is_some()
            && let Ok(Some(segment)) = self.open(timeline, segno)
        {
            places.push(Candidate { path: segment.path, place: segment.place, partial: segment.partial });
        }
        places
    }

    /// A copy that is damaged and yet begins as this segment (cut short, or a compressed file that breaks off), as
    /// far as it goes: its `len` is less than a segment's. For a reader that found no whole one.
    pub fn open_damaged(&self, timeline: TimelineId, segno: u64) -> Option<Segment> {
        let key = (timeline, segno);
        let mut best: Option<Segment> = None;
        for candidate in self.candidates(timeline, segno) {
            if self.cancelled() {
                return best;
            }
            let lenient = Candidate { partial: true, ..candidate.clone() };
            if let Ok(mut segment) = self.read_candidate(key, &lenient) {
                segment.partial = candidate.partial;
                if best.as_ref().is_none_or(|b| b.len < segment.len) {
                    best = Some(segment);
                }
            }
        }
        best
    }

    /// Every file that was looked at and not used, by timeline and segment.
    pub fn rejected(&self) -> Vec<Rejected> {
        lock(&self.state).rejected.values().flatten().cloned().collect()
    }

    /// Files of this segment that were looked at and not used, in the order in which they were tried.
    pub fn rejected_for(&self, timeline: TimelineId, segno: u64) -> Vec<Rejected> {
        lock(&self.state).rejected.get(&(timeline, segno)).cloned().unwrap_or_default()
    }

    fn was_rejected(&self, key: (TimelineId, u64), path: &Path) -> bool {
        lock(&self.state).rejected.get(&key).is_some_and(|r| r.iter().any(|r| r.path == path))
    }

    fn reject(&self, (timeline, segno): (TimelineId, u64), path: PathBuf, place: Place, reason: Reason) {
        let mut state = lock(&self.state);
        let list = state.rejected.entry((timeline, segno)).or_default();
        match list.iter_mut().find(|r| r.path == path) {
            Some(known) => known.reason = reason,
            None => list.push(Rejected { timeline, segno, path, place, reason }),
        }
    }

    /// The file that the restore command brought under this name; it is run once for each.
    fn restored(&self, name: &str) -> Result<Option<PathBuf>, RestoreError> {
        let Some(command) = &self.restore else { return Ok(None) };
        // one run at a time, as a server would
        let mut scratch = lock(&self.scratch);
        if let Some(known) = scratch.brought.get(name) {
            return Ok(known.clone());
        }
        if command.hung() {
            let stderr = ": not run again after it hung".into();
            return Err(RestoreError::TimedOut { after: std::time::Duration::ZERO, stderr });
        }
        let not_started = |e: io::Error| RestoreError::NotStarted(format!("no scratch directory: {e}"));
        if scratch.dir.is_none() {
            let dir = tempfile::Builder::new().prefix("forkpoint-wal-").tempdir().map_err(not_started)?;
            scratch.dir = Some(dir);
        }
        let Some(dir) = &scratch.dir else { return Ok(None) };
        let path = dir.path().join(name);
        let result = command.run(name, &path);
        scratch.brought.insert(name.to_owned(), result.is_ok().then(|| path.clone()));
        result.map(|()| Some(path))
    }

    /// All history files, the own directory's first, uncompressed. One that cannot be read is left out and told in
    /// [`Self::problems`].
    pub fn histories(&self) -> Vec<HistoryFile> {
        self.history_files(None)
    }

    /// The history file of a timeline that the restore command brings; that it does not is no problem, as to a server.
    pub fn restored_history(&self, timeline: TimelineId) -> Option<HistoryFile> {
        if self.cancelled() {
            return None;
        }
        let name = WalName::History(timeline).file_name(self.size);
        match self.restored(&name) {
            Ok(path) => {
                let found = self.history_file(timeline, &path?, Place::Restored)?;
                // where it lies is gone with this set
                Some(HistoryFile { path: PathBuf::from(name), ..found })
            }
            Err(RestoreError::Failed { .. } | RestoreError::Cancelled) => None,
            Err(e) => {
                self.problem(PathBuf::from(name), e.to_string());
                None
            }
        }
    }

    /// Records of base backups (`….backup`): name, path, content.
    pub fn backup_records(&self) -> Vec<(WalName, PathBuf, Vec<u8>)> {
        let named = self.listing.named.iter().filter(|n| matches!(n.name, WalName::Backup(..)));
        named.filter_map(|n| Some((n.name, n.path.clone(), self.small_file(&n.path)?))).collect()
    }

    fn history_files(&self, only: Option<TimelineId>) -> Vec<HistoryFile> {
        let named = self.listing.named.iter().filter_map(|n| match n.name {
            WalName::History(timeline) if only.is_none_or(|o| o == timeline) => Some((timeline, n)),
            _ => None,
        });
        named.filter_map(|(timeline, n)| self.history_file(timeline, &n.path, n.place)).collect()
    }

    fn history_file(&self, timeline: TimelineId, path: &Path, place: Place) -> Option<HistoryFile> {
        let bytes = self.small_file(path)?;
        Some(HistoryFile { timeline, path: path.to_path_buf(), place, own: place == Place::Own, bytes })
    }

    fn small_file(&self, path: &Path) -> Option<Vec<u8>> {
        match judge::read_small(path, HISTORY_LIMIT) {
            Ok(bytes) => Some(bytes),
            Err(reason) => {
                self.problem(path.to_path_buf(), reason.to_string());
                None
            }
        }
    }

    fn problem(&self, path: PathBuf, what: String) {
        let mut state = lock(&self.state);
        if !state.problems.iter().any(|(p, w)| *p == path && *w == what) {
            state.problems.push((path, what));
        }
    }

    /// Copies of this side's segments and histories with one name and different content, see [`conflicts`].
    pub fn conflicts(&self, names: &[WalName]) -> Vec<Conflict> {
        conflicts(&[self], names)
    }
}
