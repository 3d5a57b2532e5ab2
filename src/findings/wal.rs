//! Findings about the WAL: what is missing, where it ends, what does not belong.

use crate::facts::{Facts, NeededSegment, Role, Side, SideScan, WalNeed};
use crate::pg::{Lsn, Major, WalName};
use crate::scan::EndKind;
use crate::source::walset::{Reason, Rejected};
use crate::wal::rmgr::{id, op};

use super::common::{
    Pair, Way, cleanly_stopped, control_says, end_of, file_says, finding, names, plural, segment_name,
    shell_word, side_name, some_of, wal_says,
};
use super::{Evidence, Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(foreign_segments(pair));
    if !pair.related() {
        return found;
    }
    found.extend(missing_to_find_blocks(pair));
    found.extend(started_again(pair));
    found.extend(ends(pair));
    found.extend(ahead_of_the_source(pair));
    found.extend(torn(pair));
    found.extend(missing_to_follow(pair));
    found.extend(removed_by_pg_rewind(pair));
    found.extend(point_in_page_header(pair));
    found
}

/// Somewhere else than in the two WAL directories.
fn elsewhere<'s>(facts: &Facts, segment: &'s NeededSegment) -> Option<&'s std::path::Path> {
    segment
        .found
        .iter()
        .map(std::path::PathBuf::as_path)
        .find(|p| !p.starts_with(facts.target.dir.path()) && !p.starts_with(facts.source.dir.path()))
}

fn places(facts: &Facts, segment: &NeededSegment) -> String {
    let mut places = Vec::new();
    if segment.on_source {
        places.push("the source".to_owned());
    }
    if let Some(path) = elsewhere(facts, segment) {
        places.push(path.display().to_string());
    }
    if places.is_empty() { "nowhere".into() } else { places.join(" and ") }
}

fn segment_evidence(pair: &Pair<'_>, segment: &NeededSegment) -> Evidence {
    let start = pair.target().segment_size.start(segment.segno);
    Evidence {
        path: segment.found.first().cloned(),
        offset: None,
        lsn: Some(start),
        timeline: Some(segment.timeline),
        value: if let Some(file) = unreadable(pair, segment) {
            format!("{} is there, and {}", file.path.display(), file.reason)
        } else if let Some(file) = cut_short(pair, segment) {
            format!("{} is there, and {}", file.path.display(), file.reason)
        } else if segment.found.is_empty() {
            format!("{} was found nowhere", segment.name)
        } else {
            format!(
                "{} {}",
                segment.name,
                if segment.on_target { "is on the target" } else { "is not on the target" }
            )
        },
    }
}

/// The file of a hole that is there and could not be read.
fn unreadable<'s>(pair: &Pair<'s>, segment: &NeededSegment) -> Option<&'s Rejected> {
    pair.facts.unreadable(segment.timeline, segment.segno).filter(|_| segment.found.is_empty())
}

/// The file of a hole that is there and too short.
fn cut_short<'s>(pair: &Pair<'s>, segment: &NeededSegment) -> Option<&'s Rejected> {
    pair.facts.cut_short(segment.timeline, segment.segno).filter(|_| segment.found.is_empty())
}

/// What is the matter with segments of a range that cannot be had: sentences. `gone` says where they are not.
fn what_of(pair: &Pair<'_>, holes: &[&NeededSegment], gone: &str) -> String {
    let (closed, missing): (Vec<&NeededSegment>, Vec<_>) =
        holes.iter().copied().partition(|s| unreadable(pair, s).is_some());
    let (short, missing): (Vec<&NeededSegment>, Vec<_>) =
        missing.into_iter().partition(|s| cut_short(pair, s).is_some());
    let mut sentences = Vec::new();
    let count = |some: &[&NeededSegment]| plural(some.len() as u64, "segment");
    if !missing.is_empty() {
        let verb = if missing.len() == 1 { "is" } else { "are" };
        sentences.push(format!(
            "{} of it {verb} {gone}: {}.",
            count(&missing),
            names(missing.iter().copied())
        ));
    }
    if !short.is_empty() {
        let verb = if short.len() == 1 { "is" } else { "are" };
        let files = short.iter().filter_map(|s| cut_short(pair, s));
        let files = some_of(files.map(|f| format!("{} ({})", f.path.display(), f.reason)), 4);
        sentences.push(format!("{} of it {verb} there and cut short: {files}.", count(&short)));
    }
    if !closed.is_empty() {
        let verb = if closed.len() == 1 { "is" } else { "are" };
        let files = closed.iter().filter_map(|s| unreadable(pair, s));
        let files = some_of(files.map(|f| format!("{} {}", f.path.display(), f.reason)), 4);
        sentences.push(format!("{} of it {verb} there and cannot be read: {files}.", count(&closed)));
    }
    sentences.join(" ")
}

/// What to do about them; `gone`: about those that are nowhere.
fn what_to_do(pair: &Pair<'_>, holes: &[&NeededSegment], gone: &str) -> String {
    let closed: Vec<_> = holes.iter().filter_map(|s| unreadable(pair, s)).collect();
    if closed.is_empty() {
        return gone.to_owned();
    }
    let rest = if closed.len() < holes.len() { format!(" {gone}") } else { String::new() };
    format!("{}, then ask again.{rest}", make_readable(&closed))
}

/// What the system said, without what is put before it and its number.
fn system_words(why: &str) -> &str {
    let why = why.rsplit_once(": ").map_or(why, |(_, words)| words);
    why.split_once(" (os error").map_or(why, |(words, _)| words)
}

/// This user may not read the file; of another failure nothing is known but what the system says.
fn is_forbidden(file: &Rejected) -> bool {
    matches!(&file.reason, Reason::Unreadable(why) if system_words(why) == "Permission denied")
}

/// What to do about files that cannot be read, without a stop.
pub(crate) fn make_readable(files: &[&Rejected]) -> String {
    if !files.iter().all(|file| is_forbidden(file)) {
        let list = some_of(files.iter().map(|f| format!("{}: {}", shell_word(&f.path), f.reason)), 4);
        return format!("Find out why they cannot be read, or put whole copies in their place ({list})");
    }
    format!(
        "Make readable for the user who asks: {} (a server's WAL belongs to its user and has the mode 0600, or 0640)",
        some_of(files.iter().map(|f| shell_word(&f.path)), 4)
    )
}

/// FP19.
fn missing_to_find_blocks(pair: &Pair<'_>) -> Option<Finding> {
    if pair.way != Way::Rewind {
        return None;
    }
    let (facts, target) = (pair.facts, pair.target());
    let dir = target.dir.path().join(pair.major.wal_dir());
    let message = |name: &str| {
        let path = dir.join(name);
        let closed = facts.target.rejected.iter().find(|r| r.path == path).and_then(|r| match &r.reason {
            Reason::Unreadable(why) => Some(system_words(why)),
            _ => None,
        });
        let why = closed.unwrap_or("No such file or directory");
        format!("pg_rewind: error: could not open file \"{}\": {why}", path.display())
    };
    let previous = |lsn: Lsn| {
        format!(
            "pg_rewind: {}could not find previous WAL record at {}",
            error_word(pair.major),
            pair.lsn(lsn)
        )
    };
    let Some(need) = &facts.wal.find_blocks else {
        let (divergence, timeline) = pair.divergence()?;
        if facts.common_checkpoint.is_some() {
            return None;
        }
        let name = segment_name(target, timeline, divergence);
        if let Some(file) = facts.unreadable_before_checkpoint() {
            return Some(
                finding("FP19", Severity::Error)
                    .title("WAL that pg_rewind has to read cannot be read")
                    .explain(format!(
                        "No checkpoint before the divergence at {divergence} was found in the target's WAL: {} is there, \
                         and {}. Without it nobody can say which blocks the target changed.",
                        file.path.display(),
                        file.reason
                    ))
                    .proof([Evidence {
                        path: Some(file.path.clone()),
                        offset: None,
                        lsn: Some(target.segment_size.start(file.segno)),
                        timeline: Some(file.timeline),
                        value: file.reason.to_string(),
                    }])
                    .logs([message(&name), previous(divergence)])
                    .remedy(format!("{}.", make_readable(std::slice::from_ref(&file)))),
            );
        }
        return Some(
            finding("FP19", Severity::Error)
                .explain(format!(
                    "No checkpoint before the divergence at {divergence} could be found in the target's WAL: it has been recycled \
                     or cannot be read. Without it nobody can say which blocks the target changed."
                ))
                .proof([wal_says(timeline, divergence, "no checkpoint record before this point was found")])
                .logs([message(&name), previous(divergence)])
                .remedy(
                    "Find the target's older WAL in an archive or on a peer and give it with --wal-archive. If it is \
                     gone, copy every file that differs from the stopped source, or clone the target anew.",
                ),
        );
    };
    let missing: Vec<&NeededSegment> = need.segments.iter().filter(|s| !s.on_target).collect();
    let first = missing.last()?;
    let holes: Vec<&NeededSegment> = need.holes().collect();
    let mut log = vec![message(&first.name)];
    if let Some((divergence, _)) = pair.divergence()
        && target.segment_size.segno(divergence) == first.segno
    {
        log.push(previous(divergence));
    }
    let from = if facts.common_checkpoint.is_some() {
        format!("the last common checkpoint at {}", need.from)
    } else {
        format!("the last checkpoint before the divergence (it was not found; at the latest {})", need.from)
    };
    let end = target.end.as_ref().map_or(need.to, |end| end.lsn);
    let range = format!("from {from} to the end of the target's WAL at {end}");
    Some(if holes.is_empty() {
        let list: Vec<String> =
            missing.iter().map(|s| format!("{} (on {})", s.name, places(facts, s))).collect();
        let option = if pair.major >= Major::V13 {
            " pg_rewind -c fetches it by itself, provided that restore_command is set in the target's postgresql.conf."
        } else {
            ""
        };
        finding("FP19", Severity::Warning)
            .explain(format!(
                "To find the changed blocks, the WAL {range} has to be read. {} of it {} not in the target's {}, but \
                 {} found elsewhere.",
                plural(missing.len() as u64, "segment"),
                if missing.len() == 1 { "is" } else { "are" },
                pair.major.wal_dir(),
                if missing.len() == 1 { "was" } else { "were all" }
            ))
            .proof(missing.iter().take(8).map(|s| segment_evidence(pair, s)))
            .logs(log)
            .remedy(format!(
                "Copy (uncompressed, under these names) into {}: {}.{option}",
                shell_word(&dir),
                some_of(list, 8)
            ))
    } else {
        finding("FP19", Severity::Error)
            .explain(format!(
                "To find the changed blocks, the WAL {range} has to be read. {}",
                what_of(pair, &holes, "nowhere to be found")
            ))
            .proof(holes.iter().take(8).map(|s| segment_evidence(pair, s)))
            .logs(log)
            .remedy(what_to_do(
                pair,
                &holes,
                "Look for these files in archives and in the WAL directories of peers, and give those places with \
                 --wal-archive. If they are gone, copy every file that differs from the stopped source, or clone the \
                 target anew.",
            ))
    })
}

/// From 15 on `pg_rewind: error: `, before `fatal: ` for what ends it.
fn error_word(major: Major) -> &'static str {
    if major >= Major::V15 {
        "error: "
    } else if major >= Major::V12 {
        "fatal: "
    } else {
        ""
    }
}

fn count_after(scan: &SideScan, rmid: u8, op: u8) -> u64 {
    scan.changes.kinds.iter().filter(|(k, ..)| k.rmid == rmid && k.op == op).map(|(.., after)| after).sum()
}

/// FP18.
fn started_again(pair: &Pair<'_>) -> Option<Finding> {
    let scan = pair.facts.target_scan.as_ref()?;
    let (divergence, timeline) = pair.divergence()?;
    let stops = count_after(scan, id::XLOG, op::XLOG_CHECKPOINT_SHUTDOWN);
    if stops < 2 || pair.target_was_standby() {
        return None;
    }
    let only = scan.changes.kinds.iter().filter(|(.., after)| *after > 0).all(|(k, ..)| {
        (k.rmid == id::XLOG
            && matches!(
                k.op,
                op::XLOG_CHECKPOINT_SHUTDOWN | op::XLOG_CHECKPOINT_ONLINE | op::XLOG_END_OF_RECOVERY
            ))
            || (k.rmid == id::STANDBY && k.op == op::STANDBY_RUNNING_XACTS)
    });
    let lost_start =
        pair.facts.wal.find_blocks.as_ref().and_then(|n| n.segments.first()).is_some_and(|s| !s.on_target);
    let severity = if only || lost_start { Severity::Warning } else { Severity::Info };
    let mut text = format!(
        "After the divergence at {divergence} the target's WAL holds {stops} shutdown checkpoints: it was started, or recovered by \
         a single-user server as pg_rewind does, and stopped again."
    );
    if only {
        text += " Nothing but these checkpoints lies after the divergence: the target could have followed as it was, and \
                 being started is what pushed it past the divergence.";
    }
    if lost_start {
        text += " Each checkpoint lets the server recycle old WAL, and the segment with the last common checkpoint is \
                 gone from the target.";
    }
    Some(
        finding("FP18", severity)
            .explain(text)
            .proof([wal_says(timeline, divergence, format!("CHECKPOINT_SHUTDOWN records after this point = {stops}"))])
            .proof(end_of(pair.target()))
            .remedy(
                "Do not start the target again before it is rewound. Keep a copy of its WAL directory; run pg_rewind \
                 with --no-ensure-shutdown (13+), so that it does not recover the target once more.",
            ),
    )
}

/// A message of the reader that speaks of WAL of somewhere else rather than of nothing.
fn foreign_message(message: &str) -> bool {
    [
        "incorrect prev-link",
        "unexpected pageaddr",
        "unexpected timeline ID",
        "out-of-sequence timeline ID",
        "different database system",
    ]
    .iter()
    .any(|m| message.contains(m))
}

/// FP21, FP22, FP27: does the WAL end where the control file says that it must at least reach?
fn ends(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut normal = Vec::new();
    let cut = |side: &Side| side.end.as_ref().is_some_and(|e| matches!(e.kind, EndKind::Cut { .. }));
    for side in pair.sides() {
        let checkpoint = checkpoint_missing(pair, side);
        // a base backup and a rewound target get the rest of their WAL from elsewhere
        let complete = side.leftovers.backup_label.is_none();
        let too_early =
            side.end.as_ref().filter(|e| complete && side.control_end.is_some_and(|at| e.lsn < at));
        let damaged = side.end.as_ref().and_then(|e| match e.kind {
            EndKind::Damaged { next_valid } => Some(next_valid),
            _ => None,
        });
        let half_done = side.role == Role::Target && super::leftovers::half_rewound(pair).is_some();
        if let Some(checkpoint) = checkpoint {
            if !half_done {
                found.push(checkpoint);
            }
        } else if let (Some(end), true) = (side.end.as_ref(), too_early.is_some() || damaged.is_some()) {
            if half_done {
                continue;
            }
            let needed = side.control_end.unwrap_or(end.lsn);
            let foreign = foreign_message(&end.message);
            let code = if foreign { "FP21" } else { "FP22" };
            let name = side_name(side.role);
            let what = match damaged {
                Some(next) => format!(
                    "The {name}'s WAL breaks off at {} and valid records follow from {next} on: it is damaged in the \
                     middle.",
                    end.lsn
                ),
                None => format!(
                    "The {name}'s WAL ends at {}, but its control file says that it reaches at least {needed}: {} are \
                     missing.",
                    end.lsn,
                    plural(needed.since(end.lsn), "byte")
                ),
            };
            let why = if foreign {
                " What stands there is WAL of another place or another branch: a segment of that name was copied from \
                 elsewhere, or an old one was not overwritten."
            } else {
                ""
            };
            found.push(
                finding(code, Severity::Error)
                    .title(if foreign {
                        format!("The {name}'s WAL goes over into WAL of another branch")
                    } else {
                        format!("The {name}'s WAL ends too early")
                    })
                    .explain(format!("{what}{why}"))
                    .proof(end_of(side))
                    .proof([control_says(
                        side,
                        format!(
                            "checkPoint = {}, minRecoveryPoint = {}",
                            side.control.checkpoint, side.control.min_recovery_point
                        ),
                    )])
                    .logs((!end.message.is_empty()).then(|| {
                        if side.role == Role::Target {
                            format!(
                                "pg_rewind: error: could not read WAL record at {}: {}",
                                pair.lsn(end.lsn),
                                end.message
                            )
                        } else {
                            format!("LOG:  {}", end.message)
                        }
                    }))
                    .remedy(format!(
                        "Put the right segment back: a copy of {} on timeline {} from the archive, a peer, or a backup \
                         of the WAL directory. If there is none, {}.",
                        segment_name(side, end.timeline, end.lsn),
                        end.timeline,
                        if side.role == Role::Target {
                            "copy every file that differs from the stopped source, or clone the target anew"
                        } else {
                            "start the source and let it write on, or restore it"
                        }
                    )),
            );
        } else if let Some(end) = &side.end
            && !end.message.is_empty()
            && !cut(side)
        {
            normal.push((side, end));
        }
    }
    let whose = match normal.as_slice() {
        [(side, _)] if pair.sides().iter().any(|s| cut(s)) => format!("The {}'s WAL", side_name(side.role)),
        _ => "The WAL".to_owned(),
    };
    if !normal.is_empty() {
        let says: Vec<String> = normal
            .iter()
            .map(|(side, end)| format!("on the {}: \"{}\"", side_name(side.role), end.message))
            .collect();
        found.push(
            finding("FP22", Severity::Info)
                .title(format!("{whose} ends where it should"))
                .explain(format!(
                    "A reader that gets to the end of WAL says so in words that sound like damage ({}). It is the \
                     normal end: all that the control file asks for lies before it.",
                    says.join("; ")
                ))
                .proof(normal.iter().filter_map(|(side, _)| end_of(side)))
                .logs(normal.iter().map(|(_, end)| format!("LOG:  {}", end.message)))
                .remedy("Nothing to do."),
        );
    }
    found
}

/// FP27.
fn checkpoint_missing(pair: &Pair<'_>, side: &Side) -> Option<Finding> {
    let label = side.leftovers.backup_label.as_ref();
    let (at, by) = match label.and_then(|l| l.checkpoint) {
        Some(at) => (at, "backup_label"),
        None => (side.control.checkpoint, "pg_control"),
    };
    let timeline = side.control.checkpoint_copy.timeline;
    let size = side.segment_size;
    let segno = size.segno(at);
    let unread = side.end.as_ref().is_some_and(|e| {
        e.lsn <= at
            && match e.kind {
                EndKind::Damaged { next_valid } => next_valid > at,
                _ => true,
            }
    });
    let found_for_need = |need: &Option<WalNeed>| {
        need.as_ref().is_some_and(|n| n.segments.iter().any(|s| s.segno == segno && s.on_target))
    };
    let listed = pair.tree(side.role).iter().any(|e| {
        let name = e.path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        e.path.starts_with(pair.major.wal_dir())
            && matches!(WalName::parse(name, size), Some(WalName::Segment(_, n)) if n == segno)
    }) || (side.role == Role::Target
        && (found_for_need(&pair.facts.wal.find_blocks) || found_for_need(&pair.facts.wal.follow)));
    if !unread && (listed || pair.tree(side.role).is_empty()) {
        return None;
    }
    let name = segment_name(side, timeline, at);
    let role = side_name(side.role);
    let mut log = Vec::new();
    if by == "backup_label" {
        log.push(if pair.major >= Major::V17 {
            format!("FATAL:  could not locate required checkpoint record at {}", pair.lsn(at))
        } else {
            "FATAL:  could not locate required checkpoint record".to_owned()
        });
    } else {
        log.push(if pair.major >= Major::V16 {
            "LOG:  invalid checkpoint record".to_owned()
        } else {
            "LOG:  invalid primary checkpoint record".to_owned()
        });
        log.push(if pair.major >= Major::V17 {
            format!("PANIC:  could not locate a valid checkpoint record at {}", pair.lsn(at))
        } else {
            "PANIC:  could not locate a valid checkpoint record".to_owned()
        });
    }
    let what = if listed {
        format!("the {role}'s WAL cannot be read that far")
    } else {
        format!("{name} is not in the {role}'s {}", pair.major.wal_dir())
    };
    let away = at_hand(pair, side);
    let severity = if away.is_some() { Severity::Warning } else { Severity::Error };
    Some(
        finding("FP27", severity)
            .title(format!("The checkpoint that the {role} starts from is not in its WAL"))
            .explain(format!(
                "{by} names the checkpoint at {at} on timeline {timeline} as the one to start from, and {what}."
            ))
            .proof([
                control_says(side, format!("checkPoint = {} on timeline {timeline}", side.control.checkpoint)),
                Evidence {
                    path: Some(side.dir.path().join(pair.major.wal_dir()).join(&name)),
                    offset: Some(size.offset(at)),
                    lsn: Some(at),
                    timeline: Some(timeline),
                    value: what.clone(),
                },
            ])
            .logs(log)
            .remedy(match away {
                Some(list) => format!(
                    "Before the target is started, copy (uncompressed, under these names) into {}: {list}. Do not use \
                     pg_resetwal.",
                    shell_word(&side.dir.path().join(pair.major.wal_dir()))
                ),
                None => format!(
                    "Put {name} back from the archive, a peer, or a copy of the WAL directory. If it is gone, {}. Do \
                     not use pg_resetwal, and do not remove backup_label: both make a server that starts on \
                     inconsistent files.",
                    if side.role == Role::Target { "clone the target anew" } else { "restore the source from a backup" }
                ),
            }),
    )
}

/// Where the segments lie that the target lacks to start from its last checkpoint, if that was read in other places and
/// all of them are somewhere.
fn at_hand(pair: &Pair<'_>, side: &Side) -> Option<String> {
    let end = side.end.as_ref().filter(|end| side.role == Role::Target && end.complete)?;
    let need = pair.facts.wal.start.as_ref().filter(|need| need.holes().next().is_none())?;
    if side.control_end.is_none_or(|at| end.lsn < at) || side.leftovers.backup_label.is_some() {
        return None;
    }
    let lacking = need.segments.iter().filter(|s| !s.on_target);
    let list: Vec<String> = lacking.map(|s| format!("{} (on {})", s.name, places(pair.facts, s))).collect();
    (!list.is_empty()).then(|| some_of(list, 8))
}

/// FP23.
fn ahead_of_the_source(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let (t, s) = (target.end.as_ref()?, source.end.as_ref()?);
    if t.timeline != s.timeline || target.lineage.timeline != source.lineage.timeline {
        return None;
    }
    let size = target.segment_size;
    let segno = size.segno(t.lsn) + u64::from(t.kind == EndKind::Torn);
    let start = size.start(segno);
    if start <= s.lsn {
        return None;
    }
    Some(
        finding("FP23", Severity::Error)
            .explain(format!(
                "Both are on timeline {}. The target asks for WAL from {start}, the source's ends at {}{}. The source \
                 has lost WAL that it had already sent, by a crash of its machine or because it was restored.",
                t.timeline,
                s.lsn,
                if t.kind == EndKind::Torn {
                    format!(": the target holds the first part of a record that begins at {} and goes on in the next segment", t.lsn)
                } else {
                    String::new()
                }
            ))
            .proof(end_of(target))
            .proof(end_of(source))
            .logs([format!(
                "ERROR:  requested starting point {} is ahead of the WAL flush position of this server {}",
                pair.lsn(start),
                pair.lsn(s.lsn)
            )])
            .remedy(if t.kind == EndKind::Torn {
                "As soon as the source has written on past that segment's end, the target can follow: 14 and newer \
                 (and late minors of 10 to 13) skip the torn record. Otherwise clone the target anew."
            } else {
                "Do not wait for the source to write past that point: its new WAL is another one. Rewind is not \
                 possible between equal timelines; promote the source once more, or clone the target anew."
            }),
    )
}

/// FP24.
fn torn(pair: &Pair<'_>) -> Option<Finding> {
    let mut proof = Vec::new();
    let mut log = Vec::new();
    let mut text = Vec::new();
    for side in pair.sides() {
        if let Some(end) = side.end.as_ref().filter(|e| e.kind == EndKind::Torn && e.complete) {
            proof.extend(end_of(side));
            if !end.message.is_empty() {
                log.push(format!("LOG:  {}", end.message));
            }
            text.push(format!(
                "the {}'s last record, at {}, is only partly there",
                side_name(side.role),
                end.lsn
            ));
        }
        let scan = match side.role {
            Role::Target => pair.facts.target_scan.as_ref(),
            Role::Source => pair.facts.source_scan.as_ref(),
        };
        let Some(scan) = scan else { continue };
        let overwritten: u64 = scan
            .changes
            .kinds
            .iter()
            .filter(|(k, ..)| k.rmid == id::XLOG && k.op == op::XLOG_OVERWRITE_CONTRECORD)
            .map(|(_, before, after)| before + after)
            .sum();
        if overwritten > 0 {
            text.push(format!(
                "the {} restarted after {} and marked {} as overwritten",
                side_name(side.role),
                if overwritten == 1 { "a torn record" } else { "torn records" },
                if overwritten == 1 { "it" } else { "them" }
            ));
            proof.push(wal_says(
                side.end.as_ref().map_or(side.lineage.timeline, |e| e.timeline),
                scan.from,
                format!("OVERWRITE_CONTRECORD records from here to {} = {overwritten}", scan.to),
            ));
        }
    }
    if text.is_empty() {
        return None;
    }
    Some(
        finding("FP24", Severity::Info)
            .explain(format!(
                "A crash cut a record in two: {}. What lies behind the cut was never complete, and no transaction that \
                 was confirmed to a client is in it.",
                text.join("; ")
            ))
            .proof(proof)
            .logs(log)
            .remedy("Nothing to do: the cut counts as the end of WAL on that branch."),
    )
}

/// FP25 and FP28: WAL from where replay starts to the source's end.
fn missing_to_follow(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(need) = &pair.facts.wal.follow else { return found };
    if pair.way == Way::Neither {
        return found;
    }
    let facts = pair.facts;
    let holes: Vec<&NeededSegment> = need.holes().collect();
    let range = format!("from {} ({}) to {}", need.from, need.why, need.to);
    if let Some(first) = holes.first() {
        let rewinding = pair.way == Way::Rewind || pair.rewound_by_pg_rewind();
        let code = if rewinding { "FP28" } else { "FP25" };
        let log = if rewinding {
            vec![format!(
                "FATAL:  could not receive data from WAL stream: ERROR:  requested WAL segment {} has already been \
                 removed",
                first.name
            )]
        } else {
            vec![format!("ERROR:  requested WAL segment {} has already been removed", first.name)]
        };
        let text = if rewinding {
            format!(
                "After a rewind the target has to replay the source's WAL {range}. {} \
                 pg_rewind does not look for that and says \"Done!\"; the target then never gets consistent, or starts \
                 and fails later.",
                what_of(pair, &holes, "nowhere to be found")
            )
        } else {
            format!(
                "To follow, the target needs WAL {range}. {}",
                what_of(pair, &holes, "neither on the target, nor on the source, nor in an archive")
            )
        };
        found.push(
            finding(code, Severity::Error)
                .explain(text)
                .proof(holes.iter().take(8).map(|s| segment_evidence(pair, s)))
                .logs(log)
                .remedy(what_to_do(
                    pair,
                    &holes,
                    "Look for these files in archives and in the WAL directories of peers before anything else is \
                     done, and give those places with --wal-archive. If they are gone, clone the target anew.",
                )),
        );
    }
    let kept = |s: &NeededSegment| s.on_source || (s.on_target && pair.way == Way::Follow);
    let archived: Vec<&NeededSegment> = need
        .segments
        .iter()
        .filter(|s| !s.found.is_empty() && !kept(s) && elsewhere(facts, s).is_some())
        .collect();
    if let (Some(first), Some(last)) = (archived.first(), archived.last()) {
        let restore = pair.target().settings.get("restore_command").filter(|s| !s.value.is_empty());
        let severity =
            if restore.is_some() && pair.way == Way::Follow { Severity::Info } else { Severity::Warning };
        let place = elsewhere(facts, first).map(|p| p.display().to_string()).unwrap_or_default();
        found.push(
            finding("FP25", severity)
                .explain(format!(
                    "To follow, the target needs WAL {range}. {} of it, {} to {}, {} no longer on the source and {} in \
                     the archive ({place}).{}",
                    plural(archived.len() as u64, "segment"),
                    first.name,
                    last.name,
                    if archived.len() == 1 { "is" } else { "are" },
                    if archived.len() == 1 { "lies" } else { "lie" },
                    if restore.is_some() { " The target has a restore_command, which may fetch them." } else { "" }
                ))
                .proof(archived.iter().take(8).map(|s| segment_evidence(pair, s)))
                .proof(restore.map(|s| file_says(s.path.clone(), format!("line {}: restore_command is set", s.line))))
                .logs([format!("ERROR:  requested WAL segment {} has already been removed", first.name)])
                .remedy(format!(
                    "Set restore_command on the target so that it reads that archive, or copy the segments \
                     (uncompressed) into {} of the {}.",
                    pair.major.wal_dir(),
                    if pair.way == Way::Rewind { "target after pg_rewind has run" } else { "target" }
                )),
        );
    }
    found
}

/// FP30.
fn removed_by_pg_rewind(pair: &Pair<'_>) -> Option<Finding> {
    if pair.way != Way::Rewind {
        return None;
    }
    let (facts, target) = (pair.facts, pair.target());
    let need = facts.wal.follow.as_ref()?;
    let checkpoint = facts.common_checkpoint?;
    let size = target.segment_size;
    // 15 and newer keep the segments from the last common checkpoint's record on; so do late minors of 14
    let kept_from = if pair.major >= Major::V15 { size.segno(checkpoint.lsn) } else { u64::MAX };
    let doomed: Vec<&NeededSegment> = need
        .segments
        .iter()
        .filter(|s| s.on_target && !s.on_source && elsewhere(facts, s).is_none() && s.segno < kept_from)
        .collect();
    if doomed.is_empty() {
        return None;
    }
    let waiting: Vec<&str> = doomed
        .iter()
        .map(|s| s.name.as_str())
        .filter(|n| target.leftovers.not_archived.iter().any(|r| r == n))
        .collect();
    let ready = if waiting.is_empty() {
        String::new()
    } else {
        format!(" Not archived yet: {}.", some_of(waiting.iter(), 4))
    };
    let dir = target.dir.path().join(pair.major.wal_dir());
    Some(
        finding("FP30", Severity::Warning)
            .explain(format!(
                "After a rewind replay starts at {} ({}). {} that it needs {} only on the target ({}), and pg_rewind \
                 of {} removes what the source does not have{}.{ready}",
                need.from,
                need.why,
                plural(doomed.len() as u64, "segment"),
                if doomed.len() == 1 { "lies" } else { "lie" },
                names(doomed.iter().copied()),
                pair.major,
                if pair.major >= Major::V15 {
                    ", except for what lies between the last common checkpoint and the divergence"
                } else if pair.major == Major::V14 {
                    " (late minors of 14 keep what lies between the last common checkpoint and the divergence)"
                } else {
                    ""
                }
            ))
            .proof(doomed.iter().take(8).map(|s| segment_evidence(pair, s)))
            .proof(
                waiting.iter().take(8).map(|n| file_says(dir.join("archive_status").join(format!("{n}.ready")), "is there")),
            )
            .remedy(format!(
                "Copy these segments out of {} before pg_rewind is run, and back after it; archive those that still \
                 wait for it.",
                shell_word(&dir)
            )),
    )
}

/// FP29.
fn point_in_page_header(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let point = target.control.min_recovery_point;
    if !point.is_valid() || cleanly_stopped(target.control.state) && !pair.rewound_by_pg_rewind() {
        return None;
    }
    let header = if target.segment_size.offset(point.page_start()) == 0 { 40 } else { 24 };
    let source_end = pair.source().end.as_ref()?.lsn;
    if point.page_offset() != header || source_end > point {
        return None;
    }
    Some(
        finding("FP29", Severity::Warning)
            .explain(format!(
                "The target's minimum recovery point {point} lies {header} bytes into a page, just behind its header, \
                 where no record ends. The source's WAL ends at {source_end}; as long as the source writes nothing, \
                 the target does not become consistent and takes no connections."
            ))
            .proof([control_says(target, format!("minRecoveryPoint = {point}"))])
            .proof(end_of(pair.source()))
            .logs(["FATAL:  the database system is starting up"])
            .remedy("Let the source write any WAL: run SELECT pg_switch_wal() or CHECKPOINT on it."),
    )
}

/// FP13 and FP21: segments that are not what their names say.
fn foreign_segments(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for side in pair.sides() {
        let size = side.segment_size;
        let reached = side.control_end.unwrap_or(Lsn::INVALID);
        let counts = |r: &&Rejected| match r.reason {
            Reason::OtherMajor(_) | Reason::OtherSystem(_) | Reason::LaterTimeline(_) => true,
            Reason::Recycled { .. } => {
                size.start(r.segno + 1) <= reached && r.timeline == side.lineage.timeline
            }
            _ => false,
        };
        let bad: Vec<&Rejected> = side.rejected.iter().filter(counts).collect();
        for major in [true, false] {
            let some: Vec<&&Rejected> =
                bad.iter().filter(|r| matches!(r.reason, Reason::OtherMajor(_)) == major).collect();
            let Some(first) = some.first() else { continue };
            let name = WalName::Segment(first.timeline, first.segno).file_name(size);
            let log = match first.reason {
                Reason::OtherMajor(magic) => {
                    let lsn = size.start(first.segno);
                    if pair.major >= Major::V16 {
                        format!(
                            "LOG:  invalid magic number {magic:04X} in WAL segment {name}, LSN {}, offset 0",
                            pair.lsn(lsn)
                        )
                    } else {
                        format!("LOG:  invalid magic number {magic:04X} in log segment {name}, offset 0")
                    }
                }
                Reason::OtherSystem(other) => format!(
                    "LOG:  WAL file is from different database system: WAL file database system identifier is {other}, \
                     pg_control database system identifier is {}",
                    side.control.system_identifier
                ),
                Reason::LaterTimeline(t) if pair.major >= Major::V16 => format!(
                    "LOG:  unexpected timeline ID {t} in WAL segment {name}, LSN {}, offset 0",
                    pair.lsn(size.start(first.segno))
                ),
                Reason::LaterTimeline(t) => {
                    format!("LOG:  unexpected timeline ID {t} in log segment {name}, offset 0")
                }
                _ => "LOG:  record with incorrect prev-link".to_owned(),
            };
            let (code, title) = if major {
                ("FP13", format!("WAL segments of another major among the {}'s", side_name(side.role)))
            } else {
                (
                    "FP21",
                    format!("WAL segments of another branch or system among the {}'s", side_name(side.role)),
                )
            };
            found.push(
                finding(code, Severity::Warning)
                    .title(title)
                    .explain(format!(
                        "{} under the name of a segment that the {} uses {} not what the name says: {} is {}.",
                        plural(some.len() as u64, "file"),
                        side_name(side.role),
                        if some.len() == 1 { "is" } else { "are" },
                        first.path.display(),
                        first.reason
                    ))
                    .proof(some.iter().take(8).map(|r| Evidence {
                        path: Some(r.path.clone()),
                        offset: Some(0),
                        lsn: Some(size.start(r.segno)),
                        timeline: Some(r.timeline),
                        value: r.reason.to_string(),
                    }))
                    .logs([log])
                    .remedy(
                        "Move these files away (do not delete them yet), and put the right segments in their place \
                         where they are needed.",
                    ),
            );
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::source::walset::Place;

    #[test]
    fn only_what_is_forbidden_is_to_be_made_readable() {
        let file = |why: &str| Rejected {
            timeline: 1,
            segno: 15,
            path: PathBuf::from("/t/pg_wal/00000001000000000000000F"),
            place: Place::Own,
            reason: Reason::Unreadable(format!("could not be read: {why}")),
        };
        let closed = file("Permission denied (os error 13)");
        assert!(make_readable(&[&closed]).starts_with("Make readable for the user who asks: /t/pg_wal/"));
        let broken = file("Input/output error (os error 5)");
        let told = make_readable(&[&closed, &broken]);
        assert!(told.starts_with("Find out why") && told.contains("Input/output error"), "{told}");
        assert_eq!(system_words("could not be read: Input/output error (os error 5)"), "Input/output error");
    }
}
