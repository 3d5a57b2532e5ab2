//! Both sides' histories, and where they part, as pg_rewind finds it.

use std::fs;
use std::path::Path;

use crate::pg::history::{History, HistoryError};
use crate::pg::{Lsn, Major, TimelineId};

use super::control::slurp;
use super::log::{Ended, FAILED, Log};

/// Where two histories part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parting {
    /// First position that is not common.
    pub lsn: Lsn,
    /// The last common timeline.
    pub timeline: TimelineId,
}

/// The history of a side's timeline, from its own WAL directory.
///
/// # Errors
/// The file is missing or no history; that was said.
pub fn read(dir: &Path, timeline: TimelineId, log: &mut Log<'_>) -> Result<History, Ended> {
    if timeline == 1 {
        return Ok(History::single(1));
    }
    let content = slurp(dir, &format!("pg_wal/{timeline:08X}.history"), log)?;
    History::parse(&content, timeline).map_err(|error| complain(&error, &content, log))
}

/// What stands on a line of a history file, as it stands there.
fn line(content: &[u8], number: usize) -> String {
    let line = content.split(|b| *b == b'\n').nth(number.saturating_sub(1)).unwrap_or_default();
    String::from_utf8_lossy(line).into_owned()
}

fn complain(error: &HistoryError, content: &[u8], log: &mut Log<'_>) -> Ended {
    let (message, detail) = match error {
        HistoryError::Syntax { line: number, expected, .. } => (
            format!("syntax error in history file: {}", line(content, *number)),
            if expected.contains("numeric") {
                "Expected a numeric timeline ID."
            } else {
                "Expected a write-ahead log switchpoint location."
            },
        ),
        HistoryError::NotAscending { line: number, .. } => (
            format!("invalid data in history file: {}", line(content, *number)),
            "Timeline IDs must be in increasing sequence.",
        ),
        HistoryError::NotBelow { .. } => {
            ("invalid data in history file".to_owned(), "Timeline IDs must be less than child timeline's ID.")
        }
    };
    log.error(&message);
    if log.major() < Major::V15 {
        log.error(detail);
    } else {
        log.detail(detail);
    }
    FAILED
}

/// The lines of `--debug`. 13 names the source's history and does not show it.
pub fn show(target: &History, source: &History, log: &mut Log<'_>) {
    log.debug("Source timeline history:");
    if log.major() >= Major::V14 {
        entries(source, log);
    }
    log.debug("Target timeline history:");
    entries(target, log);
}

fn entries(history: &History, log: &mut Log<'_>) {
    for entry in &history.entries {
        let end = if entry.end == Lsn::MAX { Lsn::INVALID } else { entry.end };
        let text = format!("{}: {} - {}", entry.timeline, log.lsn(entry.begin), log.lsn(end));
        log.debug(&text);
    }
}

/// Where the histories part, which is said.
///
/// # Errors
/// Nowhere; that was said.
pub fn parting(target: &History, source: &History, log: &mut Log<'_>) -> Result<Parting, Ended> {
    let Some(common) = target.common_prefix(source) else {
        return Err(log.fatal("could not find common ancestor of the source and target cluster's timelines"));
    };
    // an open end is 0/0 there, and no other number is smaller
    let lsn = if common.end == Lsn::MAX { Lsn::INVALID } else { common.end };
    let text = format!("servers diverged at WAL location {} on timeline {}", log.lsn(lsn), common.timeline);
    log.info(&text);
    Ok(Parting { lsn, timeline: common.timeline })
}

/// Whether a file is there, be it readable or not.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}
