//! How a side's WAL ends: where nothing was written yet, in a torn record, or in damage with valid records behind it.

use std::path::PathBuf;

use crate::pg::control::{ControlFile, DbState};
use crate::pg::{Lsn, TimelineId, WalName};
use crate::scan::path::{PathSegment, WalPath, read_pages};
use crate::scan::progress::{Cancelled, Progress};
use crate::scan::walk::{Start, for_each};
use crate::scan::{EndKind, RecordKind, WalEnd};
use crate::source::walset::{Place, Reason, WalSet};
use crate::wal::page::PageHeader;
use crate::wal::{PAGE_SIZE, Problem};

use super::lineage::OwnOnly;

/// How far behind the end valid records are searched, in bytes (at least to the end of the next segment).
const SEARCH: u64 = 64 << 20;

/// Where reading stopped, from a scan or a walk.
#[derive(Debug, Clone, Copy)]
pub struct Stopped {
    /// Why; `None` at the limit.
    pub problem: Option<Problem>,
    /// Start of the last valid record.
    pub last: Lsn,
    /// Where the next one would start.
    pub next: Lsn,
    /// Start of a record that is only partly there.
    pub partial: Option<Lsn>,
    /// Timeline of the file.
    pub timeline: TimelineId,
}

/// Says how the WAL ends.
///
/// # Errors
/// Cancelled.
pub fn classify(
    path: &WalPath<'_>,
    set: &WalSet,
    stopped: &Stopped,
    last_kind: RecordKind,
    progress: &Progress,
) -> Result<WalEnd, Cancelled> {
    let size = path.format.segment_size;
    let mut end = WalEnd {
        timeline: path.history.timeline_of(stopped.last).unwrap_or(stopped.timeline),
        lsn: stopped.next,
        last_record: stopped.last,
        last_kind,
        kind: EndKind::Requested,
        complete: true,
        message: String::new(),
        meaning: "Reading stopped where it was asked to.".into(),
        path: None,
        offset: size.offset(stopped.next),
    };
    let Some(problem) = stopped.problem else { return Ok(end) };
    let segno = size.segno(problem.at());
    let file = path.open(segno);
    end.path = match &file {
        Some(file) => Some(file.segment.path.clone()),
        None => own_file(set, stopped.timeline, segno),
    };
    end.offset = size.offset(problem.at());
    // pg_waldump reads the file that bears the name, whatever is in it
    let shown = match problem {
        Problem::NoSegment { at } => {
            by_name(set, stopped.timeline, segno, size.start(segno)).unwrap_or(Problem::NoSegment { at })
        }
        other => other,
    };
    end.message = shown.message(path.format.major, size, stopped.timeline);
    end.kind = match shown {
        Problem::NoSegment { .. } => EndKind::NoSegment,
        _ if is_future(&shown) => future_kind(&shown),
        Problem::ShortFile { .. } => EndKind::Torn,
        _ => match &file {
            Some(file) => within(path, file, stopped, &shown),
            None => EndKind::Torn,
        },
    };
    // what an archive holds behind the end may be another server's
    let own = WalPath { store: &OwnOnly(set), ..*path };
    if let Some(next_valid) = valid_behind(&own, stopped, &shown, progress)? {
        end.kind = EndKind::Damaged { next_valid };
    } else if stopped.partial.is_some() && end.kind != EndKind::Torn {
        end.kind = EndKind::Torn;
    }
    end.meaning = meaning(&end, stopped);
    Ok(end)
}

/// Holds the end against pg_control: where it is not the end of what the server wrote, says so in `meaning`. `copy`: the
/// directory is a base backup, whose files hold nothing beyond the backup's end.
pub fn hold_against(end: &mut WalEnd, stopped: &Stopped, control: &ControlFile, copy: bool, set: &WalSet) {
    let own = |segno| set.candidates(end.timeline, segno).iter().any(|c| c.place == Place::Own);
    let size = set.segment_size();
    let damaged = matches!(end.kind, EndKind::Damaged { .. });
    let short = if end.last_record < control.checkpoint {
        Some(format!(
            "The WAL that is there ends at {}, before the checkpoint at {} that pg_control names: what lay between was \
             overwritten or is gone.",
            end.lsn, control.checkpoint
        ))
    } else {
        match control.state {
            DbState::ShutDown => None,
            // what a standby has flushed is bounded by its minimum recovery point
            DbState::ShutDownInRecovery | DbState::InArchiveRecovery => {
                (end.lsn < control.min_recovery_point).then(|| {
                    format!(
                        "The WAL that is there ends at {}, before the minimum recovery point {} that pg_control names.",
                        end.lsn, control.min_recovery_point
                    )
                })
            }
            // a server that writes always has the segment that it writes to
            state if !copy && (end.kind == EndKind::NoSegment || !own(size.segno(end.lsn))) => Some(format!(
                "The state is \"{state}\", and the segment {} in which the WAL would go on is not in the server's own WAL \
                 directory: it went on beyond {}, nobody can tell how far.",
                WalName::Segment(end.timeline, size.segno(end.lsn)).file_name(size),
                end.lsn
            )),
            state if !copy && !damaged => cut_short(stopped, set).map(|(at, name, length)| {
                end.kind = EndKind::Cut { at };
                format!(
                    "The state is \"{state}\", and the server's segment {name} is cut short: it has {length} bytes, a \
                     server's segments have {} from the start. Behind {} there may have been more, nobody can tell how much.",
                    size.bytes(),
                    end.lsn
                )
            }),
            _ => None,
        }
    };
    if damaged {
        end.complete = false;
    }
    if let Some(short) = short {
        end.complete = false;
        end.meaning = short;
    }
}

/// The own file, with its length, that is shorter than a segment and in which reading came to the end of the file.
fn cut_short(stopped: &Stopped, set: &WalSet) -> Option<(Lsn, String, u64)> {
    let Some(Problem::ShortFile { at }) = stopped.problem else { return None };
    let size = set.segment_size();
    let segno = size.segno(at);
    let file = set.open_damaged(stopped.timeline, segno)?;
    (file.place == Place::Own && file.len < size.bytes())
        .then(|| (at, WalName::Segment(stopped.timeline, segno).file_name(size), file.len))
}

fn own_file(set: &WalSet, timeline: TimelineId, segno: u64) -> Option<PathBuf> {
    set.candidates(timeline, segno).into_iter().find(|c| c.place == Place::Own).map(|c| c.path)
}

/// What a reader that opens the own file by its name would say of its first page.
fn by_name(set: &WalSet, timeline: TimelineId, segno: u64, at: Lsn) -> Option<Problem> {
    set.rejected_for(timeline, segno).iter().find(|r| r.place == Place::Own).and_then(|r| match r.reason {
        Reason::Zeros => Some(Problem::Magic { at, magic: 0 }),
        Reason::Recycled { page, .. } => Some(Problem::PageAddress { at, found: page }),
        Reason::OtherMajor(magic) => Some(Problem::Magic { at, magic }),
        _ => None,
    })
}

/// The page was never written for this place.
const fn is_future(problem: &Problem) -> bool {
    matches!(
        problem,
        Problem::PageAddress { .. }
            | Problem::Magic { magic: 0, .. }
            | Problem::OutOfSequence { .. }
            | Problem::LaterTimeline { .. }
    )
}

const fn future_kind(problem: &Problem) -> EndKind {
    if matches!(problem, Problem::Magic { .. }) { EndKind::Zeros } else { EndKind::Recycled }
}

/// A bad record on a good page: is the rest of the page empty, remains of the segment's earlier use, or a torn record?
fn within(path: &WalPath<'_>, file: &PathSegment, stopped: &Stopped, problem: &Problem) -> EndKind {
    let size = path.format.segment_size;
    let at = problem.at();
    let mut page = [0; PAGE_SIZE];
    if read_pages(&file.segment, size.offset(at.page_start()), &mut page, at).is_err() {
        return EndKind::Torn;
    }
    let rest = page.get(at.page_offset()..).unwrap_or_default();
    if stopped.partial.is_none() && rest.iter().all(|&b| b == 0) {
        return EndKind::Zeros;
    }
    // a receiver writes whole records into a recycled page and leaves the rest of it as it was; a record that was being
    // written when the server died points back to the one before it
    let links_back = rest
        .get(8..16)
        .and_then(|b| b.first_chunk())
        .is_some_and(|b| u64::from_le_bytes(*b) == stopped.last.0);
    let torn = matches!(problem, Problem::Checksum { .. }) || stopped.partial.is_some() || links_back;
    if torn { EndKind::Torn } else { EndKind::Recycled }
}

/// The first valid record behind the place at which reading stopped, on a page that is valid where it stands.
fn valid_behind(
    path: &WalPath<'_>,
    stopped: &Stopped,
    problem: &Problem,
    progress: &Progress,
) -> Result<Option<Lsn>, Cancelled> {
    let size = path.format.segment_size;
    let from = problem.at();
    let to = from.plus(SEARCH).max(size.start(size.segno(from) + 2));
    let mut at = from.page_start().plus(PAGE_SIZE as u64);
    let mut file: Option<(u64, Option<PathSegment>)> = None;
    while at < to {
        progress.check()?;
        let segno = size.segno(at);
        if file.as_ref().is_none_or(|f| f.0 != segno) {
            file = Some((segno, path.open(segno)));
        }
        let Some((_, Some(segment))) = &file else {
            at = size.start(segno + 1);
            continue;
        };
        let mut page = [0; PAGE_SIZE];
        let header = read_pages(&segment.segment, size.offset(at), &mut page, at)
            .and_then(|()| PageHeader::check(&page, at, &path.format));
        if header.is_ok_and(|h| h.timeline >= stopped.timeline.min(h.timeline)) {
            let mut found = None;
            for_each(path, Start::Page(at), at.plus(PAGE_SIZE as u64), progress, |record| {
                found = Some(record.lsn);
                false
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        at = at.plus(PAGE_SIZE as u64);
    }
    Ok(None)
}

fn meaning(end: &WalEnd, stopped: &Stopped) -> String {
    let lsn = end.lsn;
    match end.kind {
        EndKind::Zeros => format!("WAL simply ends at {lsn}: nothing was written behind it. This is normal."),
        EndKind::Recycled => format!(
            "WAL ends at {lsn}: what follows is left over from an earlier use of the file. This is normal."
        ),
        EndKind::NoSegment => {
            format!("WAL was read to {lsn}; the file in which it would go on is not there.")
        }
        EndKind::Torn => match stopped.partial {
            Some(partial) => format!(
                "The record at {partial} is only partly there and nothing valid follows: the server died while it wrote it, \
                 or the file that holds its tail is missing. What was committed ends at {lsn}."
            ),
            None => format!(
                "The record at {lsn} is not complete and nothing valid follows: the server died while it wrote it. \
                 Everything before it is valid."
            ),
        },
        EndKind::Damaged { next_valid } => format!(
            "The WAL is not valid at {lsn}, and valid records follow at {next_valid}: damage in the middle, or remains of \
             an earlier run of the server. What lies behind {lsn} was not counted."
        ),
        // said where it is found out
        EndKind::Cut { at } => format!("The file that holds the WAL ends before {at}."),
        EndKind::Requested => "Reading stopped where it was asked to.".into(),
    }
}
