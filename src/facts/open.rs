//! One data directory, opened: control file, leftovers, settings, slots, where its WAL lies, its lineage.

use crate::pg::Major;
use crate::pg::control::ControlFile;
use crate::pg::history::History;
use crate::pg::{SegmentSize, TimelineId};
use crate::scan::path::{Segments, WalPath};
use crate::scan::progress::Progress;
use crate::source::datadir::DataDir;
use crate::source::leftovers::Leftovers;
use crate::source::restore::RestoreCommand;
use crate::source::settings::Settings;
use crate::source::slots;
use crate::source::walset::{HistoryFile, Place, WalIdentity, WalSet};
use crate::wal::Format;

use super::gather::{DiagnoseError, Options, input};
use super::{FoundHistory, Lineage, Role, Side, Unseen, lineage};

/// A side with the WAL it can reach.
pub struct Opened {
    /// What it says by itself.
    pub side: Side,
    /// Where its WAL lies.
    pub set: WalSet,
    /// What its WAL looks like; `None` before 9.5.
    pub format: Option<Format>,
}

/// Reads what a side says by itself, until the progress is cancelled. What cannot be read is added to `unseen`.
///
/// # Errors
/// The control file cannot be read, or the work was cancelled.
pub fn open_side(
    role: Role,
    dir: DataDir,
    options: &Options,
    (restore, progress): (Option<RestoreCommand>, &Progress),
    unseen: &mut Vec<Unseen>,
) -> Result<Opened, DiagnoseError> {
    let (control, _) = dir.control().map_err(|e| input(&e))?;
    let segment_size = SegmentSize::new(control.wal_segment_size).unwrap_or_else(|| {
        unseen.push(Unseen {
            path: Some(dir.path().join("global/pg_control")),
            what: format!("pg_control gives {} bytes as the WAL segment size", control.wal_segment_size),
            consequence: "16 MB was assumed to read the WAL".into(),
        });
        SegmentSize::DEFAULT
    });
    let major = control.major;
    let wal_dir = dir.wal_dir().unwrap_or_else(|e| {
        unseen.push(Unseen {
            path: Some(dir.path().join(major.wal_dir())),
            what: e.to_string(),
            consequence: "the WAL of this side was looked for in archives only".into(),
        });
        dir.path().join(major.wal_dir())
    });
    let identity = WalIdentity {
        system_identifier: control.system_identifier,
        magic: Some(major.wal_magic()),
        major: Some(major),
    };
    let set =
        WalSet::until(&wal_dir, &options.archives, restore, (segment_size, identity), progress.cancel_flag());
    // the records' format is known from 9.5 on
    let format = (major >= Major::V9_5).then_some(Format {
        major,
        system_identifier: control.system_identifier,
        segment_size,
    });
    let find = |known| match format {
        Some(format) => lineage::find(&control, &set, format, known),
        None => lineage::of_control(&control, known),
    };
    let mut lineage = find(histories(&set, unseen));
    let mut asked = Vec::new();
    loop {
        let next = without_history(&lineage, &set).find(|t| !asked.contains(t));
        let Some(timeline) = next.filter(|_| set.restore_command().is_some()) else { break };
        asked.push(timeline);
        let brought = parsed(set.restored_history(timeline), unseen);
        if !brought.is_empty() {
            lineage = find(lineage.known.into_iter().chain(brought).collect());
        }
    }
    let leftovers = Leftovers::read(dir.path(), major, &wal_dir);
    let settings = Settings::read(dir.path(), major);
    let (slots, bad_slots) = slots::read(dir.path());
    unseen.extend(bad_slots.into_iter().map(|(path, what)| Unseen {
        path: Some(path),
        what,
        consequence: "this replication slot is not in the report".into(),
    }));
    unseen.extend(leftovers.problems.iter().chain(&settings.problems).map(|what| Unseen {
        path: None,
        what: what.clone(),
        consequence: "what it says was not taken into account".into(),
    }));
    let side = Side {
        role,
        dir,
        control,
        segment_size,
        leftovers,
        settings,
        slots,
        lineage,
        end: None,
        control_end: None,
        rejected: Vec::new(),
    };
    progress.check()?;
    Ok(Opened { side, set, format })
}

impl Opened {
    /// Its WAL along its own history, taken from `store`.
    pub fn path<'a>(&'a self, format: Format, store: &'a dyn Segments) -> WalPath<'a> {
        WalPath { format, history: &self.side.lineage.history, store }
    }

    /// Its own WAL directory has segments of this timeline, by their names.
    pub fn has_own_wal_of(&self, timeline: TimelineId) -> bool {
        own_segments(&self.set, timeline).next().is_some()
    }

    /// Number of the last segment of its timelines in its own WAL directory, by the names.
    pub fn last_own(&self) -> Option<u64> {
        let own =
            |timeline, segno| self.set.candidates(timeline, segno).iter().any(|c| c.place == Place::Own);
        let timelines = self.side.lineage.history.entries.iter().map(|e| e.timeline);
        timelines.filter_map(|t| self.set.segments(t).rev().find(|segno| own(t, *segno))).max()
    }

    /// Its control file.
    pub fn control(&self) -> &ControlFile {
        &self.side.control
    }
}

/// Numbers of the segments of a timeline in the side's own WAL directory, by their names.
fn own_segments(set: &WalSet, timeline: TimelineId) -> impl DoubleEndedIterator<Item = u64> + '_ {
    let own = move |segno: &u64| set.candidates(timeline, *segno).iter().any(|c| c.place == Place::Own);
    set.segments(timeline).filter(own)
}

/// Timelines that the side is on, or has written WAL of by the names in its directory, and whose history files are not
/// known.
fn without_history<'a>(lineage: &'a Lineage, set: &'a WalSet) -> impl Iterator<Item = TimelineId> + 'a {
    let of_own_wal = set.timelines().into_iter().filter(|&timeline| {
        timeline > lineage.timeline
            && !lineage.known.iter().any(|k| k.history.timeline == timeline)
            && own_segments(set, timeline).next().is_some()
    });
    lineage.missing_history.iter().copied().chain(of_own_wal)
}

/// The history files of a set, its own first.
pub fn histories(set: &WalSet, unseen: &mut Vec<Unseen>) -> Vec<FoundHistory> {
    parsed(set.histories(), unseen)
}

/// History files that can be read, those of the side's own directory first.
pub fn parsed(files: impl IntoIterator<Item = HistoryFile>, unseen: &mut Vec<Unseen>) -> Vec<FoundHistory> {
    let mut known = Vec::new();
    for file in files {
        match History::parse(&file.bytes, file.timeline) {
            Ok(history) => {
                // the first says enough: what follows it is measured by it
                if let Some(problem) = history.problems().first() {
                    unseen.push(Unseen {
                        path: Some(file.path.clone()),
                        what: problem.to_string(),
                        consequence:
                            "the history was used as it stands, as a server would; compare it with a peer's"
                                .into(),
                    });
                }
                known.push(FoundHistory { history, path: file.path, own: file.own });
            }
            Err(e) => unseen.push(Unseen {
                path: Some(file.path),
                what: e.to_string(),
                consequence: "this history was not used".into(),
            }),
        }
    }
    known.sort_by_key(|k| !k.own);
    known
}
