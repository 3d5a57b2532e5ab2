//! Findings about archives: two files of one name, orphan history files, what still waits.

use std::collections::BTreeMap;
use std::path::Path;

use crate::facts::FoundHistory;
use crate::pg::{TimelineId, WalName};
use crate::source::walset::Conflict;

use super::common::{Pair, Way, entry_of, file_says, finding, history_name, plural, some_of};
use super::{Evidence, Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !pair.related() {
        return found;
    }
    found.extend(two_contents(pair));
    found.extend(orphan_histories(pair));
    found.extend(still_waiting(pair));
    found
}

fn in_archive(pair: &Pair<'_>, path: &Path) -> bool {
    !path.starts_with(pair.target().dir.path()) && !path.starts_with(pair.source().dir.path())
}

/// FP40.
fn two_contents(pair: &Pair<'_>) -> Option<Finding> {
    let size = pair.target().segment_size;
    let conflicts: Vec<&Conflict> = pair
        .facts
        .archive_conflicts
        .iter()
        .filter(|c| matches!(WalName::parse(&c.name, size), Some(WalName::Segment(..))))
        .filter(|c| c.paths.iter().any(|p| in_archive(pair, p)))
        .collect();
    let first = conflicts.first()?;
    let evidence = |c: &Conflict| {
        let place = match WalName::parse(&c.name, size) {
            Some(WalName::Segment(timeline, segno)) => Some((timeline, size.start(segno).plus(c.offset))),
            _ => None,
        };
        let others: Vec<String> = c.paths.iter().skip(1).map(|p| p.display().to_string()).collect();
        Evidence {
            path: c.paths.first().cloned(),
            offset: Some(c.offset),
            lsn: place.map(|(_, lsn)| lsn),
            timeline: place.map(|(t, _)| t),
            value: format!("{} differs from {} from this byte on", c.name, others.join(", ")),
        }
    };
    Some(
        finding("FP40", Severity::Warning)
            .explain(format!(
                "{} of the same name {} different content ({}): two servers wrote WAL of one timeline and archived it \
                 to one place, or the archive holds a copy that was overwritten. Whoever restores from there may get \
                 the other server's WAL.",
                plural(conflicts.len() as u64, "WAL segment"),
                if conflicts.len() == 1 { "has" } else { "have" },
                some_of(conflicts.iter().map(|c| c.name.as_str()), 4)
            ))
            .proof(conflicts.iter().take(8).map(|c| evidence(c)))
            .logs([
                format!("ERROR: [045]: WAL file '{}' already exists in the repo1 archive with a different checksum", first.name),
                "LOG:  record with incorrect prev-link".to_owned(),
            ])
            .remedy(
                "Find out which server wrote which copy, and stop the one that does not belong. Do not overwrite the \
                 archive: move the wrong branch's files to another place.",
            ),
    )
}

/// FP41.
fn orphan_histories(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let line = &source.lineage.history;
    let mut archived: BTreeMap<TimelineId, &FoundHistory> = BTreeMap::new();
    let mut all: BTreeMap<TimelineId, &FoundHistory> = BTreeMap::new();
    for known in target.lineage.known.iter().chain(&source.lineage.known) {
        let timeline = known.history.timeline;
        all.entry(timeline).or_insert(known);
        if !known.own && entry_of(line, timeline).is_none() && timeline != target.lineage.timeline {
            archived.entry(timeline).or_insert(known);
        }
    }
    if archived.is_empty() || pair.way == Way::Neither {
        return None;
    }
    // a server that looks for the latest timeline takes the last one of an unbroken row of numbers
    let from = pair.facts.divergence.as_ref().map_or(target.lineage.timeline, |d| d.timeline);
    let mut latest = from;
    while all.contains_key(&(latest + 1)) {
        latest += 1;
    }
    let misled = archived.contains_key(&latest);
    let list = some_of(archived.keys().map(|t| history_name(*t)), 6);
    let mut log = Vec::new();
    if misled && latest > source.lineage.timeline {
        log.push(format!(
            "FATAL:  highest timeline {} of the primary is behind recovery timeline {latest}",
            source.lineage.timeline
        ));
    }
    Some(
        finding("FP41", if misled { Severity::Warning } else { Severity::Info })
            .explain(format!(
                "The archive holds {list}, of {} that {} not on the source's line: left by a test promotion, a restore \
                 to a point in time, or the old primary. {}",
                if archived.len() == 1 { "a timeline" } else { "timelines" },
                if archived.len() == 1 { "is" } else { "are" },
                if misled {
                    format!(
                        "A server with recovery_target_timeline = 'latest' and this archive goes to timeline {latest}, \
                         which is a dead branch, and not to the source's {}.",
                        source.lineage.timeline
                    )
                } else {
                    "A server that looks for the latest timeline passes over it, because the source's number is higher."
                        .to_owned()
                }
            ))
            .proof(archived.values().map(|k| {
                file_says(
                    k.path.clone(),
                    k.history.lines.iter().rev().find(|l| !l.trim().is_empty()).cloned().unwrap_or_default(),
                )
            }))
            .logs(log)
            .remedy(format!(
                "Move {list} and the WAL of these timelines to another place, or set recovery_target_timeline = '{}' \
                 until the target has caught up.",
                source.lineage.timeline
            )),
    )
}

/// FP81.
fn still_waiting(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    let target = pair.target();
    let size = target.segment_size;
    let waiting: Vec<&String> = target
        .leftovers
        .not_archived
        .iter()
        .filter(|n| {
            matches!(WalName::parse(n, size),
                Some(WalName::Segment(t, s) | WalName::Partial(t, s)) if t >= timeline && s >= size.segno(divergence))
        })
        .collect();
    if waiting.is_empty() {
        return None;
    }
    let dir = target.dir.path().join(pair.major.wal_dir()).join("archive_status");
    Some(
        finding("FP81", Severity::Info)
            .explain(format!(
                "{} of the target from after the divergence {} not been archived ({}). A server that is started on the target \
                 sends {} to the archive, beside the source's WAL.",
                plural(waiting.len() as u64, "segment"),
                if waiting.len() == 1 { "has" } else { "have" },
                some_of(waiting.iter(), 4),
                if waiting.len() == 1 { "it" } else { "them" }
            ))
            .proof(waiting.iter().take(8).map(|n| file_says(dir.join(format!("{n}.ready")), "is there")))
            .remedy("Do not start the target with its archive_command before it has been rewound."),
    )
}
