//! The WAL of a side, opened to be looked at: which stretches, along which history, from which places.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::diagnosis::Diagnosis;
use crate::dump::browse::{Course, Stretch};
use crate::dump::expr::{ExprError, Filter};
use crate::facts::open::Opened;
use crate::facts::{Facts, Role, Side};
use crate::names::Names;
use crate::pg::{Lsn, Major};
use crate::scan::path::WalPath;
use crate::scan::progress::Phase;
use crate::scan::walk::{Start, record_start};
use crate::source::walset::Place;
use crate::tui::wal::Pair;
use crate::wal::Format;

/// Both sides' WAL. What was unpacked or fetched serves all work, so it ends with the view and not with a piece of work.
#[derive(Debug, Default, Clone)]
pub struct Until(Arc<AtomicBool>);

impl Until {
    /// The flag itself.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Nobody looks any more.
    pub fn end(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// One side's WAL.
pub struct Reel {
    pair: Arc<Pair>,
    /// Whose.
    pub role: Role,
    /// What its pages look like.
    pub format: Format,
    /// Which of it is looked at.
    pub course: Course,
    /// Names of relations.
    pub names: Arc<Names>,
    /// Where it ends, as far as the diagnosis says; for the progress and the widths of columns.
    pub end: Lsn,
    /// The next transaction, as pg_control has it.
    pub next_xid: u32,
    divergence: Option<Lsn>,
}

impl Reel {
    /// Of one side.
    ///
    /// # Errors
    /// A sentence: why there are no records to be seen.
    pub fn new(pair: &Arc<Pair>, role: Role, diagnosis: &Diagnosis) -> Result<Self, String> {
        let facts = &diagnosis.facts;
        let opened = pair.of(role);
        let Some(format) = opened.format else {
            return Err("the WAL of majors before 9.5 has another format: forkpoint does not read it".into());
        };
        let side = side_of(facts, role);
        let control = &opened.side.control;
        let names = Arc::new(facts.names_of(role).clone());
        let (end, next_xid) =
            (side.end.as_ref().map_or(control.checkpoint, |e| e.lsn), control.checkpoint_copy.next_xid);
        let divergence = facts.divergence.as_ref().map(|d| d.lsn);
        let mut reel = Self {
            role,
            format,
            course: Course { stretches: Vec::new(), divergence },
            names,
            end,
            next_xid,
            divergence,
            pair: Arc::clone(pair),
        };
        reel.course.stretches = reel.with_path(|path| stretches(path, facts, role, opened));
        Ok(reel)
    }

    /// Reads along the side's history.
    pub fn with_path<T>(&self, read: impl FnOnce(&WalPath<'_>) -> T) -> T {
        self.pair.with_path(self.role, self.format, self.divergence, read)
    }

    /// The major that wrote it.
    pub const fn major(&self) -> Major {
        self.format.major
    }

    /// What reading it is called.
    pub const fn phase(&self) -> Phase {
        match self.role {
            Role::Target => Phase::ScanningTarget,
            Role::Source => Phase::ScanningSource,
        }
    }

    /// Bytes in all.
    pub fn bytes(&self) -> u64 {
        self.course.stretches.first().map_or(0, |s| self.end.since(s.start.position()))
    }
}

/// That side of the facts.
pub const fn side_of(facts: &Facts, role: Role) -> &Side {
    match role {
        Role::Target => &facts.target,
        Role::Source => &facts.source,
    }
}

/// Reads a filter expression with a side's names.
///
/// # Errors
/// It is none; says where.
pub fn filter(facts: &Facts, role: Role, text: &str) -> Result<Filter, String> {
    let resolve = |name: &str| {
        let found = facts.names_of(role).called(name);
        if found.is_empty() {
            Err(format!(
                "no relation {name:?} among those that this WAL touched; or give tablespace/database/file"
            ))
        } else {
            Ok(found)
        }
    };
    Filter::parse(text, &resolve).map_err(|error| {
        let ExprError { at, what } = &error;
        format!("at character {}: {what}", text.get(..*at).unwrap_or(text).chars().count() + 1)
    })
}

/// From the last common checkpoint on, or as far back as there is WAL without a hole.
fn stretches(path: &WalPath<'_>, facts: &Facts, role: Role, opened: &Opened) -> Vec<Stretch> {
    let size = path.format.segment_size;
    let from_checkpoint = facts.common_checkpoint.as_ref().map(|c| c.lsn);
    let from_divergence = facts.divergence.as_ref().map(|d| d.lsn);
    let scan = match role {
        Role::Target => facts.target_scan.as_ref(),
        Role::Source => facts.source_scan.as_ref(),
    };
    // as far back from a position as segments follow each other, not below segment `lowest`
    let readable = |lsn: Lsn, lowest: u64| {
        let mut segno = size.segno(lsn);
        while segno > lowest && path.open(segno - 1).is_some() {
            segno -= 1;
        }
        segno
    };
    let mut start = match (role, from_checkpoint, scan, from_divergence) {
        (Role::Target, Some(checkpoint), Some(_), _) => Start::Record(checkpoint),
        (Role::Target, None, Some(scan), _) => Start::Page(scan.from),
        (Role::Source, Some(checkpoint), Some(_), Some(divergence)) => {
            let first = readable(divergence, size.segno(checkpoint));
            if first == size.segno(checkpoint) && path.open(first).is_some() {
                Start::Record(checkpoint)
            } else if first < size.segno(divergence) {
                Start::Page(size.start(first))
            } else {
                Start::Record(record_start(divergence, size.bytes()))
            }
        }
        (Role::Source, None, Some(scan), _) => Start::Record(record_start(scan.from, size.bytes())),
        // nothing was scanned: what lies in its own directory
        _ => {
            let last = opened.side.control.checkpoint;
            let own = |segno: u64| {
                path.timelines_of(segno).any(|(timeline, _)| {
                    opened.set.candidates(timeline, segno).iter().any(|c| c.place == Place::Own)
                })
            };
            let mut segno = size.segno(last);
            while segno > 0 && own(segno - 1) && path.open(segno - 1).is_some() {
                segno -= 1;
            }
            Start::Page(size.start(segno))
        }
    };
    let mut stretches = Vec::new();
    for &(from, to) in scan.map(|s| s.gaps.as_slice()).unwrap_or_default() {
        stretches.push(Stretch { start, to: from });
        start = Start::Page(to);
    }
    stretches.push(Stretch { start, to: Lsn::MAX });
    stretches
}
