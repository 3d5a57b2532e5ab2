//! The target's WAL as pg_rewind reads it before it decides anything: the end of its last checkpoint, and the last
//! checkpoint before the divergence.

use std::path::{Path, PathBuf};

use crate::facts::Checkpoint;
use crate::facts::checkpoint::{self, Search};
use crate::pg::control::ControlFile;
use crate::pg::history::History;
use crate::pg::{Lsn, SegmentSize, WalName};
use crate::scan::path::{Segments, WalPath};
use crate::scan::progress::Progress;
use crate::scan::walk::{Start, for_each, read_record, record_start};
use crate::source::restore::RestoreCommand;
use crate::source::walset::{Place, Reason, Segment, WalIdentity, WalSet};
use crate::wal::{Format, Problem};

use super::history::exists;
use super::log::{Ended, Log};

/// The target's WAL, in its own directory and, with `-c`, fetched from an archive.
pub struct TargetWal {
    dir: PathBuf,
    set: WalSet,
    history: History,
    format: Format,
}

/// pg_rewind looks for one file only: that of the newest timeline which owns the segment's end.
struct OneName<'a> {
    set: &'a WalSet,
    history: &'a History,
    size: SegmentSize,
}

impl OneName<'_> {
    fn timeline(&self, segno: u64) -> u32 {
        let end = self.size.start(segno + 1);
        let owner = self.history.entries.iter().rev().find(|e| e.begin < end);
        owner.map_or(1, |e| e.timeline)
    }
}

impl Segments for OneName<'_> {
    fn open(&self, timeline: u32, segno: u64) -> Option<Segment> {
        if timeline != self.timeline(segno) {
            return None;
        }
        Segments::open(self.set, timeline, segno).filter(|s| matches!(s.place, Place::Own | Place::Restored))
    }
}

impl TargetWal {
    /// Nothing is read yet.
    pub fn new(dir: &Path, control: &ControlFile, history: History, restore: Option<RestoreCommand>) -> Self {
        let size = control.segment_size().unwrap_or(SegmentSize::DEFAULT);
        let major = control.major;
        let identity = WalIdentity {
            system_identifier: control.system_identifier,
            magic: Some(major.wal_magic()),
            major: Some(major),
        };
        let set = WalSet::new(&dir.join("pg_wal"), &[], restore, size, identity);
        let format = Format { major, system_identifier: control.system_identifier, segment_size: size };
        Self { dir: dir.to_owned(), set, history, format }
    }

    fn names(&self) -> OneName<'_> {
        OneName { set: &self.set, history: &self.history, size: self.format.segment_size }
    }

    /// End of the record at `checkpoint`.
    ///
    /// # Errors
    /// It cannot be read; that was said.
    pub fn end_of(&self, checkpoint: Lsn, log: &mut Log<'_>) -> Result<Lsn, Ended> {
        let names = self.names();
        let path = WalPath { format: self.format, history: &self.history, store: &names };
        read_record(&path, checkpoint, |r| r.end.align8())
            .map_err(|problem| self.complain("could not read WAL record", checkpoint, &problem, log))
    }

    /// The last checkpoint before the divergence.
    ///
    /// # Errors
    /// It cannot be found; that was said.
    pub fn last_checkpoint(&self, divergence: Lsn, log: &mut Log<'_>) -> Result<Checkpoint, Ended> {
        const WHAT: &str = "could not find previous WAL record";
        let names = self.names();
        let path = WalPath { format: self.format, history: &self.history, store: &names };
        let size = self.format.segment_size;
        // pg_rewind begins with the first record behind the divergence
        let first = record_start(divergence, size.bytes());
        let first_read = read_record(&path, first, |r| r.prev);
        let previous = match first_read {
            Ok(previous) => previous,
            Err(problem) => return Err(self.complain(WHAT, first, &problem, log)),
        };
        let missing = match checkpoint::last_before(&path, divergence, &Progress::default()) {
            Ok(Search::Found(found)) => {
                let text = format!(
                    "rewinding from last common checkpoint at {} on timeline {}",
                    log.lsn(found.lsn),
                    found.timeline
                );
                log.info(&text);
                return Ok(found);
            }
            Ok(Search::Hole(segno)) => segno,
            Err(_) => size.segno(divergence),
        };
        // the record that begins in the segment that is not there: the first one behind it points to it
        let behind = size.start(missing + 1);
        let link = for_each(&path, Start::Page(behind), divergence, &Progress::default(), |_| false);
        let at = link.ok().and_then(|stop| stop.first).map_or(previous, |(_, previous)| previous);
        Err(self.complain(WHAT, at, &Problem::NoSegment { at }, log))
    }

    /// Reads from a record to the end that pg_control gives; for where a scan did not get there.
    ///
    /// # Errors
    /// A record cannot be read; that was said.
    pub fn read_through(&self, from: Lsn, end: Lsn, log: &mut Log<'_>) -> Result<(), Ended> {
        let names = self.names();
        let path = WalPath { format: self.format, history: &self.history, store: &names };
        let Ok(stop) = for_each(&path, Start::Record(from), end, &Progress::default(), |_| true) else {
            return Ok(());
        };
        match stop.problem {
            Some(problem) => {
                let at = if stop.next.is_valid() { stop.next } else { from };
                Err(self.complain("could not read WAL record", at, &problem, log))
            }
            None => Ok(()),
        }
    }

    /// Names of the segments from `from` to `to` that pg_rewind would have to fetch from an archive, with their numbers.
    pub fn absent(&self, from: Lsn, to: Lsn) -> Vec<(u64, String)> {
        let size = self.format.segment_size;
        let names = self.names();
        let all = size.segno(from)..=size.prev_segno(to);
        all.map(|segno| (segno, WalName::Segment(names.timeline(segno), segno).file_name(size)))
            .filter(|(_, name)| !exists(&self.dir.join("pg_wal").join(name)))
            .collect()
    }

    /// Number of the segment in which a record that follows `at` begins.
    pub fn segno_behind(&self, at: Lsn) -> u64 {
        let size = self.format.segment_size;
        size.segno(record_start(at, size.bytes()))
    }

    /// Number of the segment in which a position lies.
    pub fn segno_of(&self, at: Lsn) -> u64 {
        self.format.segment_size.segno(at)
    }

    /// Says what the reader says of a record that it cannot read. A file that is not there has a message of its own, and
    /// then there is no reason behind the position.
    fn complain(&self, what: &str, at: Lsn, problem: &Problem, log: &mut Log<'_>) -> Ended {
        let size = self.format.segment_size;
        let segno = size.segno(problem.at());
        let timeline = self.names().timeline(segno);
        let name = WalName::Segment(timeline, segno).file_name(size);
        let path = self.dir.join("pg_wal").join(&name);
        let reason = match problem {
            Problem::NoSegment { .. } => {
                let rejected = self.set.rejected_for(timeline, segno);
                let own = rejected.iter().find(|r| r.place == Place::Own);
                match own.map(|r| &r.reason) {
                    Some(Reason::Zeros) => Some(Problem::Magic { at: size.start(segno), magic: 0 }),
                    Some(Reason::Recycled { page, .. }) => {
                        Some(Problem::PageAddress { at: size.start(segno), found: *page })
                    }
                    Some(Reason::OtherMajor(magic)) => {
                        Some(Problem::Magic { at: size.start(segno), magic: *magic })
                    }
                    _ => {
                        if self.set.restore_command().is_some() {
                            log.error(&format!("could not restore file \"{name}\" from archive"));
                        } else {
                            let place = path.display();
                            log.error(&format!("could not open file \"{place}\": No such file or directory"));
                        }
                        None
                    }
                }
            }
            Problem::ShortFile { .. } => {
                log.error(&format!("could not read file \"{}\": read 0 of 8192", path.display()));
                None
            }
            other => Some(*other),
        };
        let reason = reason.map(|r| r.message(self.format.major, size, timeline));
        let at = log.lsn(at);
        match reason {
            Some(reason) => log.fatal(&format!("{what} at {at}: {reason}")),
            None => log.fatal(&format!("{what} at {at}")),
        }
    }
}
