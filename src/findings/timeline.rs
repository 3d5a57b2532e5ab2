//! Findings about timelines: who forked from whom, and what a server says when it is told to follow.

use crate::facts::{DivergenceProof, LineageEvidence, Loss, Relation, Role, Side, Unrelated};
use crate::pg::{BLOCK_SIZE, Lsn, Major};
use crate::source::pages::NewerPages;

use super::common::{
    Pair, Way, child_of, cleanly_stopped, control_says, end_of, entry_of, file_says, finding, history_name,
    is_shutdown_checkpoint, plural, segment_name, server_lsn, side_name, state_name, switch_line,
    timeline_at, wal_says,
};
use super::{Evidence, Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(unrelated(pair));
    found.extend(missing_history(pair));
    if !pair.related() {
        return found;
    }
    found.extend(past_the_fork(pair));
    found.extend(refused_by_the_walsender(pair));
    found.extend(newer_than_the_source(pair));
    found.extend(stale_minimum_recovery_point(pair));
    found.extend(source_without_checkpoint(pair));
    found.extend(twins(pair));
    found.extend(no_history_of_the_source(pair));
    found.extend(stays_on_its_timeline(pair));
    found.extend(dead_branch(pair));
    found.extend(higher_lsn(pair));
    found.extend(unproven(pair));
    found.extend(wrong_way_round(pair));
    found
}

/// `Latest checkpoint …` and its FATAL line, as the target's server says it.
fn not_a_child(pair: &Pair<'_>, checkpoint: Lsn, divergence: Lsn, timeline: u32) -> Vec<String> {
    let requested = pair.source().lineage.timeline;
    let file = if pair.major < Major::V18 {
        String::new()
    } else if pair.target().leftovers.backup_label.is_some() {
        " in file \"backup_label\"".into()
    } else {
        " in file \"global/pg_control\"".into()
    };
    vec![
        format!("FATAL:  requested timeline {requested} is not a child of this server's history"),
        format!(
            "DETAIL:  Latest checkpoint{file} is at {} on timeline {timeline}, but in the history of the requested \
             timeline, the server forked off from that timeline at {}.",
            pair.lsn(checkpoint),
            pair.lsn(divergence)
        ),
    ]
}

fn minimum_recovery_point_message(pair: &Pair<'_>, point: Lsn, timeline: u32) -> String {
    format!(
        "FATAL:  requested timeline {} does not contain minimum recovery point {} on timeline {timeline}",
        pair.source().lineage.timeline,
        pair.lsn(point)
    )
}

fn forked_off_message(pair: &Pair<'_>, timeline: u32, point: Lsn) -> String {
    let next = child_of(&pair.source().lineage.history, timeline).unwrap_or(pair.source().lineage.timeline);
    format!(
        "LOG:  new timeline {next} forked off current database system timeline {timeline} before current recovery \
         point {}",
        pair.lsn(point)
    )
}

/// FP01, FP02, FP03: the same picture for an old primary, one that only wrote its shutdown checkpoint, a standby.
fn past_the_fork(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    let target = pair.target();
    let pages = pair.facts.newer_pages.as_ref();
    let newest = pages.and_then(|pages| pages.newest.as_ref());
    let end = target.end.as_ref().map(|e| e.lsn).or(target.control_end).max(newest.map(|newest| newest.2))?;
    // of twins the other finding says it all
    let twins = matches!(pair.facts.relation, Relation::Twins { .. });
    let left = entry_of(&pair.source().lineage.history, timeline).is_some_and(|e| e.end != Lsn::MAX);
    if end <= divergence || twins || !left {
        return None;
    }
    let control = &target.control;
    let checkpoint = control.checkpoint;
    let checkpoint_timeline = control.checkpoint_copy.timeline;
    let bytes = plural(end.since(divergence), "byte");
    let mut proof: Vec<Evidence> = Vec::new();
    proof.extend(switch_line(pair.source(), timeline));
    proof.extend(end_of(target));
    proof.push(control_says(
        target,
        format!(
            "state = {}, checkPoint = {checkpoint} on timeline {checkpoint_timeline}, minRecoveryPoint = {}",
            state_name(control.state),
            control.min_recovery_point
        ),
    ));
    proof.extend(pages.map(|pages| pages_say(target, pages)));
    let mut log = Vec::new();
    if checkpoint >= divergence && checkpoint_timeline == timeline {
        log.extend(not_a_child(pair, checkpoint, divergence, timeline));
    } else if control.min_recovery_point > divergence {
        log.push(minimum_recovery_point_message(
            pair,
            control.min_recovery_point,
            control.min_recovery_point_tli.unwrap_or(timeline),
        ));
    }
    log.push(forked_off_message(pair, timeline, end));
    if pair.facts.loss == Some(Loss::ShutdownCheckpointOnly) {
        return Some(
            finding("FP02", Severity::Error)
                .explain(format!(
                    "The target was stopped cleanly, and the record at the divergence, {divergence} on timeline {timeline}, is \
                     its shutdown checkpoint, which the source missed. Nothing follows it, so no transaction is \
                     lost; but the target counts as {bytes} ahead and cannot follow before that is undone."
                ))
                .proof(proof)
                .logs(log)
                .remedy(
                    "Run pg_rewind on the target; it has next to nothing to copy. No data is lost by it. Do not edit \
                     history files and do not use pg_resetwal.",
                ),
        );
    }
    if pair.target_was_standby() {
        let (what, remedy) = if pair.only_received() {
            (
                format!(
                    "It only received WAL past the divergence ({bytes} after {divergence} on timeline {timeline}){}: its \
                     data files hold nothing beyond {divergence}. {}, and the server replays that WAL as soon as it \
                     starts.",
                    if cleanly_stopped(control.state) {
                        " and did not replay it"
                    } else {
                        "; nothing that it may have replayed of it was written out before it was killed"
                    },
                    if cleanly_stopped(control.state) {
                        "pg_rewind says \"no rewind required\""
                    } else {
                        "pg_rewind refuses a standby that was killed"
                    }
                ),
                format!(
                    "Before the target is started, move its segments from {} on out of {} (keep them: they hold what \
                     only this server received), and copy {} there from the source. Then it can follow without a \
                     rewind.",
                    segment_name(target, timeline, divergence),
                    pair.major.wal_dir(),
                    history_name(pair.source().lineage.timeline)
                ),
            )
        } else {
            (
                format!(
                    "It {} WAL past the divergence ({bytes} after {divergence} on timeline {timeline}), so that its data files {} \
                     changes that the source never had.",
                    if cleanly_stopped(control.state) {
                        "replayed"
                    } else {
                        "received, and replayed as far as it got before it crashed,"
                    },
                    if cleanly_stopped(control.state) { "hold" } else { "may hold" }
                ),
                "Rewind the target. Starting it as it is leaves a server that looks alive and repeats the message below."
                    .to_owned(),
            )
        };
        return Some(
            finding("FP03", Severity::Error)
                .explain(format!(
                    "The target was a standby and has more of timeline {timeline} than the server that was promoted. \
                     {what}"
                ))
                .proof(proof)
                .logs(log)
                .remedy(remedy),
        );
    }
    let lost = pair.commits().map_or_else(
        || {
            match pair.facts.loss {
                Some(Loss::AtLeast { .. }) | None => "What is in it could not be read to the end.",
                _ => "No committed transaction is among it.",
            }
            .to_owned()
        },
        |n| format!("It holds {n} that the source never saw."),
    );
    Some(
        finding("FP01", Severity::Error)
            .explain(format!(
                "The source left timeline {timeline} at {divergence}; the target wrote {bytes} more on it, up to {end}. {lost} \
                 As long as that WAL and its changes are there, the target cannot follow the source."
            ))
            .proof(proof)
            .logs(log)
            .remedy(
                "Save what is lost if it matters, then rewind the target to the divergence with pg_rewind. Do not edit \
                 history files, and do not use pg_resetwal: either hides the divergence and leaves wrong data.",
            ),
    )
}

/// What the pages of relations say of changes behind a position.
fn pages_say(target: &Side, pages: &NewerPages) -> Evidence {
    let root = target.dir.path();
    let many = if pages.complete { "" } else { "at least " };
    match &pages.newest {
        Some((path, block, lsn)) => Evidence {
            path: Some(root.join(path)),
            offset: Some(u64::from(block % target.control.relation_segment_size.max(1)) * BLOCK_SIZE as u64),
            lsn: Some(*lsn),
            timeline: None,
            value: format!(
                "block {block} was last changed at {lsn}; {many}{} of {} looked at {} changed after {}",
                pages.found,
                plural(pages.looked_at, "page"),
                if pages.found == 1 { "was" } else { "were" },
                pages.after
            ),
        },
        None => file_says(
            root,
            format!(
                "none of {} of relations that were looked at was changed after {}{}",
                plural(pages.looked_at, "page"),
                pages.after,
                if pages.complete { "" } else { ", and not all could be looked at" }
            ),
        ),
    }
}

/// FP04: the walreceiver asks for whole segments, and the source left the timeline before that segment begins.
fn refused_by_the_walsender(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    let target = pair.target();
    let end = target.end.as_ref()?;
    let size = target.segment_size;
    let start = size.start(size.segno(end.lsn));
    let left = entry_of(&pair.source().lineage.history, timeline)?.end;
    if end.timeline != timeline || left == Lsn::MAX || start <= left {
        return None;
    }
    Some(
        finding("FP04", Severity::Info)
            .explain(format!(
                "Started as a standby on its own timeline, the target asks the source for timeline {timeline} from \
                 {start}, the beginning of the segment in which its WAL ends. The source left that timeline at \
                 {left}, earlier, and refuses. It is the same divergence, at {divergence}, seen from the source."
            ))
            .proof(switch_line(pair.source(), timeline))
            .proof(end_of(target))
            .logs([
                format!(
                    "ERROR:  requested starting point {} on timeline {timeline} is not in this server's history",
                    pair.lsn(start)
                ),
                format!("DETAIL:  This server's history forked from timeline {timeline} at {}.", pair.lsn(left)),
            ])
            .remedy("Rewind the target; the source is right to refuse."),
    )
}

/// FP05.
fn newer_than_the_source(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (&pair.target().lineage, &pair.source().lineage);
    if target.timeline <= source.timeline || entry_of(&source.history, target.timeline).is_some() {
        return None;
    }
    let mut proof =
        vec![control_says(pair.target(), format!("timeline of the target = {}", target.timeline))];
    if let Some(known) = target.known.iter().find(|k| k.history.timeline == target.timeline) {
        proof.push(file_says(
            known.path.clone(),
            known.history.lines.iter().rev().find(|l| !l.trim().is_empty()).cloned().unwrap_or_default(),
        ));
    }
    proof.push(control_says(pair.source(), format!("timeline of the source = {}", source.timeline)));
    Some(
        finding("FP05", Severity::Error)
            .explain(format!(
                "The target is on timeline {}, the source on timeline {}, and the source knows nothing of the \
                 target's. Either the target was promoted later and is the branch to keep, or it was promoted by \
                 mistake. No tool can decide that: somebody has to say which branch is the right one.",
                target.timeline, source.timeline
            ))
            .proof(proof)
            .logs([format!(
                "FATAL:  highest timeline {} of the primary is behind recovery timeline {}",
                source.timeline, target.timeline
            )])
            .remedy(format!(
                "Decide which branch stays. If it is the target's, ask again with the two directories exchanged. If \
                 it is the source's, promote the source once more so that its timeline is beyond {0}, rewind the \
                 target, and move {1} out of every archive before any standby starts: it leads them to timeline {0}.",
                target.timeline,
                history_name(target.timeline)
            )),
    )
}

/// FP06.
fn stale_minimum_recovery_point(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let point = target.control.min_recovery_point;
    let stamped = target.control.min_recovery_point_tli?;
    if !point.is_valid() || !pair.rewound_by_pg_rewind() {
        return None;
    }
    let real = timeline_at(&pair.source().lineage.history, Lsn(point.0.saturating_sub(1)))?;
    if real == stamped {
        return None;
    }
    Some(
        finding("FP06", Severity::Error)
            .explain(format!(
                "The target was rewound while the source's control file still named an old timeline: its minimum \
                 recovery point {point} is marked with timeline {stamped}, but in the source's history that position \
                 is on timeline {real}. The server refuses to start."
            ))
            .proof([control_says(
                target,
                format!("minRecoveryPoint = {point}, minRecoveryPointTLI = {stamped}"),
            )])
            .proof(switch_line(pair.source(), stamped))
            .logs([minimum_recovery_point_message(pair, point, stamped)])
            .remedy(
                "Let the source write a checkpoint (CHECKPOINT, or stop it cleanly), then run pg_rewind again from \
                 a copy of the target that was made before the first run, or clone it anew with pg_basebackup.",
            ),
    )
}

/// FP07.
fn source_without_checkpoint(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.source();
    let named = source.control.checkpoint_copy.timeline;
    let real = source.lineage.timeline;
    if named >= real {
        return None;
    }
    let target_named = pair.target().control.checkpoint_copy.timeline;
    let by_both = source.lineage.control_timeline;
    let blind = if pair.major >= Major::V16 { by_both < real } else { true };
    let same = target_named == if pair.major >= Major::V16 { by_both } else { named };
    let severity = if blind && same && pair.way == Way::Rewind { Severity::Error } else { Severity::Warning };
    let mut proof = vec![control_says(
        source,
        format!(
            "Latest checkpoint's TimeLineID = {named}, minRecoveryPoint's timeline = {}",
            source.control.min_recovery_point_tli.unwrap_or_default()
        ),
    )];
    if let LineageEvidence::FirstRecord(at) = source.lineage.evidence {
        proof.push(wal_says(real, at, format!("the first record of timeline {real}")));
    }
    let consequence = if blind {
        "pg_rewind compares only what the control files name, and takes the source for a server that was never \
         promoted."
    } else {
        "pg_rewind of this major takes the timeline from the minimum recovery point and is not misled, but \
         everything that asks pg_controldata for the checkpoint's timeline is (scripts, cluster managers)."
    };
    let mut log = Vec::new();
    if blind && same {
        log.push("pg_rewind: source and target cluster are on the same timeline".to_owned());
        log.push("pg_rewind: no rewind required".to_owned());
    }
    Some(
        finding("FP07", severity)
            .explain(format!(
                "The source was promoted to timeline {real} and has not completed a checkpoint since, so its control \
                 file still names timeline {named} for the last checkpoint. {consequence}"
            ))
            .proof(proof)
            .logs(log)
            .remedy(
                "Start the source and run CHECKPOINT on it (or stop it cleanly) before pg_rewind is run. If \
                 pg_rewind has said \"no rewind required\" before that, do not believe it.",
            ),
    )
}

/// FP08.
fn twins(pair: &Pair<'_>) -> Option<Finding> {
    let Relation::Twins { timeline } = pair.facts.relation else { return None };
    let divergence = pair.facts.divergence.as_ref();
    let mut proof = Vec::new();
    for side in pair.sides() {
        if let Some(parent) = side.lineage.history.entries.iter().rev().find(|e| e.timeline < timeline) {
            proof.extend(switch_line(side, parent.timeline));
        }
    }
    if let Some(d) = divergence {
        let what = match d.shown_by {
            DivergenceProof::Records => "first record that differs between the two sides",
            DivergenceProof::History(_) => "the history files part here",
            DivergenceProof::End => "one side ends here",
        };
        proof.push(wal_says(d.timeline, d.lsn, what));
    }
    let place = divergence
        .map_or_else(String::new, |d| format!(", and part at {} on timeline {}", d.lsn, d.timeline));
    let same_number = pair.target().lineage.timeline == pair.source().lineage.timeline;
    let (consequence, log): (String, Vec<String>) = if same_number {
        (
            "pg_rewind compares numbers, finds them equal and does nothing; the target then starts, streams, and \
             returns wrong rows."
                .into(),
            vec![
                "pg_rewind: source and target cluster are on the same timeline".into(),
                "pg_rewind: no rewind required".into(),
            ],
        )
    } else {
        let where_pg = divergence.and_then(|d| d.pg_rewind).map_or_else(String::new, |(lsn, tli)| {
            format!(" It takes {lsn} on timeline {tli} for the point where they part.")
        });
        (
            format!(
                "pg_rewind finds timeline {timeline} in both histories and takes it for common. It ends with \
                 \"Done!\", the standby streams, checksums pass, and rows are wrong.{where_pg}"
            ),
            divergence
                .and_then(|d| d.pg_rewind)
                .map(|(lsn, tli)| {
                    vec![format!(
                        "pg_rewind: servers diverged at WAL location {} on timeline {tli}",
                        server_lsn(lsn, pair.major)
                    )]
                })
                .unwrap_or_default(),
        )
    };
    let lost = pair
        .commits()
        .map_or_else(String::new, |n| format!(" The target holds {n} that the source never saw."));
    Some(
        finding("FP08", Severity::Error)
            .explain(format!(
                "Both sides have a timeline {timeline}, and they are two different ones: two servers were promoted \
                 without knowing of each other, each took the number {timeline}{place}.{lost} {consequence}"
            ))
            .proof(proof)
            .logs(log)
            .remedy(
                "Do not run pg_rewind on this pair, and do not start the target as a standby of the source. Clone the \
                 target anew with pg_basebackup, or copy every file that differs from the stopped source; keep the \
                 old directory if the transactions that only it has matter.",
            ),
    )
}

/// FP09.
fn no_history_of_the_source(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let wanted = source.lineage.timeline;
    if pair.way != Way::Follow || wanted <= target.lineage.timeline {
        return None;
    }
    let name = history_name(wanted);
    if pair.has_wal_file(Role::Target, &name) {
        return None;
    }
    let archived = source
        .lineage
        .known
        .iter()
        .chain(&target.lineage.known)
        .find(|k| k.history.timeline == wanted && !pair.has_wal_file(Role::Source, &name) && !k.own);
    let (severity, how) = if let Some(known) = archived {
        (
            Severity::Warning,
            format!(
                "The source does not have it either, so it cannot send it; it lies at {}.",
                known.path.display()
            ),
        )
    } else {
        (
            Severity::Info,
            "A standby that connects to the source gets it by streaming, provided that it follows the latest timeline."
                .to_owned(),
        )
    };
    let mut proof: Vec<Evidence> = end_of(target).into_iter().collect();
    proof.extend(switch_line(source, target.lineage.timeline));
    Some(
        finding("FP09", severity)
            .explain(format!(
                "Everything in the target's WAL is in the source's history, so no rewind is needed; but {name}, which \
                 tells it where timeline {wanted} begins, is not in its {}. {how}",
                pair.major.wal_dir()
            ))
            .proof(proof)
            .logs(["pg_rewind: no rewind required"])
            .remedy(format!("Copy {name} into the target's {} before it is started.", pair.major.wal_dir())),
    )
}

/// FP77.
fn stays_on_its_timeline(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    if pair.way != Way::Follow || source.lineage.timeline <= target.lineage.timeline {
        return None;
    }
    let setting = target.settings.get("recovery_target_timeline");
    let value = setting.map_or("", |s| s.value.as_str());
    let follows = match value {
        "latest" => true,
        "" => pair.major >= Major::V12,
        number => number.parse::<u32>().is_ok_and(|n| n == source.lineage.timeline),
    };
    if follows {
        return None;
    }
    let says = if value.is_empty() {
        format!(
            "recovery_target_timeline is not set, and to 11 a server then stays on timeline {}",
            target.lineage.timeline
        )
    } else {
        format!("recovery_target_timeline = '{value}'")
    };
    let place =
        if pair.major >= Major::V12 { "postgresql.conf or postgresql.auto.conf" } else { "recovery.conf" };
    Some(
        finding("FP77", Severity::Warning)
            .explain(format!(
                "The source is on timeline {}, the target on {}: {says}. It replays to the end of its timeline and \
                 waits there.",
                source.lineage.timeline, target.lineage.timeline
            ))
            .proof([setting.map_or_else(
                || file_says(target.dir.path(), says.clone()),
                |s| file_says(s.path.clone(), format!("line {}: {} = {}", s.line, s.name, s.value)),
            )])
            .remedy(format!("Set recovery_target_timeline = 'latest' in {place} of the target.")),
    )
}

/// FP10.
fn dead_branch(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let dead = target.lineage.timeline;
    if pair.way != Way::Rewind
        || dead >= source.lineage.timeline
        || entry_of(&source.lineage.history, dead).is_some()
    {
        return None;
    }
    let line: Vec<String> = source.lineage.history.entries.iter().map(|e| e.timeline.to_string()).collect();
    let shared = pair.facts.divergence.as_ref().map_or_else(String::new, |d| {
        format!(" The last thing they share is timeline {}, up to {}.", d.timeline, d.lsn)
    });
    Some(
        finding("FP10", Severity::Error)
            .explain(format!(
                "The target is on timeline {dead}. The source went through {} and never through {dead}, although its \
                 number is higher: a higher number does not mean a descendant.{shared}",
                line.join(", ")
            ))
            .proof([file_says(
                source
                    .lineage
                    .known
                    .iter()
                    .find(|k| k.history.timeline == source.lineage.timeline)
                    .map_or_else(|| source.dir.path().to_path_buf(), |k| k.path.clone()),
                format!("timelines of the source: {}", line.join(", ")),
            )])
            .logs([format!("FATAL:  requested timeline {} is not a child of this server's history", source.lineage.timeline)])
            .remedy("Rewind the target with pg_rewind: it walks both histories down to what they share."),
    )
}

/// FP11, FP12, FP13.
fn unrelated(pair: &Pair<'_>) -> Option<Finding> {
    let Relation::Unrelated(why) = &pair.facts.relation else { return None };
    if pair.lineage_unknown() {
        return None;
    }
    let (target, source) = (pair.target(), pair.source());
    Some(match why {
        Unrelated::SystemIdentifier => finding("FP12", Severity::Error)
            .explain(format!(
                "The target belongs to system {}, the source to system {}. They come from different runs of initdb or \
                 pg_upgrade and have no WAL in common.",
                target.control.system_identifier, source.control.system_identifier
            ))
            .proof(pair.sides().map(|s| {
                control_says(s, format!("Database system identifier = {}", s.control.system_identifier))
            }))
            .logs([
                "pg_rewind: error: source and target clusters are from different systems".to_owned(),
                "FATAL:  database system identifier differs between the primary and standby".to_owned(),
                format!(
                    "DETAIL:  The primary's identifier is {}, the standby's identifier is {}.",
                    source.control.system_identifier, target.control.system_identifier
                ),
            ])
            .remedy(
                "Check that the right volume is mounted in the right place. If it is, the target can only be cloned \
                 anew (pg_basebackup).",
            ),
        Unrelated::Major => finding("FP13", Severity::Error)
            .title("The two directories are of different majors")
            .explain(format!(
                "The target has control file version {} and catalog version {}, the source {} and {}. WAL and data \
                 files of one major mean nothing to another.",
                target.control.pg_control_version,
                target.control.catalog_version,
                source.control.pg_control_version,
                source.control.catalog_version
            ))
            .proof(pair.sides().map(|s| {
                control_says(
                    s,
                    format!(
                        "pg_control version number = {}, Catalog version number = {}",
                        s.control.pg_control_version, s.control.catalog_version
                    ),
                )
            }))
            .logs(["pg_rewind: error: clusters are not compatible with this version of pg_rewind"])
            .remedy(
                "If one side was upgraded with pg_upgrade, clone the other anew from it. If the directories were \
                 mixed up, give the right ones.",
            ),
        Unrelated::NoCommonAncestor => finding("FP11", Severity::Error)
            .explain(
                "Both directories are of one system, but already the first entries of their histories differ. One of \
                 them was restored from, or given the history files of, another branch.",
            )
            .proof(pair.sides().map(|s| {
                let first = s.lineage.history.entries.first();
                let known = s.lineage.known.iter().find(|k| k.history.timeline == s.lineage.timeline);
                file_says(
                    known.map_or_else(|| s.dir.path().to_path_buf(), |k| k.path.clone()),
                    first.map_or_else(
                        || format!("history of the {}: empty", side_name(s.role)),
                        |e| {
                            format!(
                                "history of the {} begins with timeline {} at {}",
                                side_name(s.role),
                                e.timeline,
                                e.begin
                            )
                        },
                    ),
                )
            }))
            .logs(["pg_rewind: error: could not find common ancestor of the source and target cluster's timelines"])
            .remedy("Clone the target anew with pg_basebackup."),
    })
}

/// FP43.
fn higher_lsn(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let (t, s) = (target.end.as_ref()?, source.end.as_ref()?);
    if pair.way != Way::Rewind || target.lineage.timeline >= source.lineage.timeline || t.lsn <= s.lsn {
        return None;
    }
    Some(
        finding("FP43", Severity::Info)
            .explain(format!(
                "The target's WAL ends at {} on timeline {}, the source's at {} on timeline {}. Whatever chooses a new \
                 primary by the LSN alone takes the target, and then the source's transactions after the divergence are the \
                 ones that vanish.",
                t.lsn, target.lineage.timeline, s.lsn, source.lineage.timeline
            ))
            .proof(end_of(target))
            .proof(end_of(source))
            .remedy("Keep the target out of elections until it has been rewound; compare timelines first, then LSNs."),
    )
}

/// FP67.
fn unproven(pair: &Pair<'_>) -> Option<Finding> {
    let stretches = &pair.facts.unproven;
    let first = stretches.first()?;
    // the first timeline of a system comes from one initdb: a twin can begin only with a promotion
    let severity = if stretches.iter().any(|u| u.timeline > 1) { Severity::Warning } else { Severity::Info };
    let gone: Vec<Evidence> = stretches
        .iter()
        .map(|u| {
            wal_says(
                u.timeline,
                u.from,
                format!("the {}'s WAL from {} to {} is gone", side_name(u.missing_on), u.from, u.to),
            )
        })
        .collect();
    Some(
        finding("FP67", severity)
            .explain(format!(
                "Both sides claim timeline {} from {} to {}, but the {}'s WAL of it is gone, so its records could not \
                 be compared with the other side's{}. By the history files the two are the same; that two servers \
                 were promoted on their own to one number cannot be excluded there.",
                first.timeline,
                first.from,
                first.to,
                side_name(first.missing_on),
                if stretches.len() > 1 { format!(" ({} such stretches)", stretches.len()) } else { String::new() }
            ))
            .proof(gone)
            .remedy("Give the WAL archive with --wal-archive, and the stretch is compared."),
    )
}

/// FP72.
fn wrong_way_round(pair: &Pair<'_>) -> Option<Finding> {
    if pair.facts.relation != Relation::SourceBehind {
        return None;
    }
    let (target, source) = (pair.target(), pair.source());
    let shutdown_only = target.end.as_ref().is_some_and(|e| is_shutdown_checkpoint(e.last_kind));
    Some(
        finding("FP72", Severity::Error)
            .explain(format!(
                "Everything that the source has, the target has too, and the target went on{}. A server cannot be \
                 made to follow one that knows less.",
                if shutdown_only { " until it was stopped cleanly" } else { "" }
            ))
            .proof(end_of(target))
            .proof(end_of(source))
            .remedy(
                "The target is the directory that shall rejoin, the source the one that it shall follow. Exchange \
                 them; or, if they are right, start the source as a standby of the target until it has caught up.",
            ),
    )
}

/// FP80.
fn missing_history(pair: &Pair<'_>) -> Vec<Finding> {
    pair.sides()
        .into_iter()
        .filter(|s| !s.lineage.missing_history.is_empty())
        .map(|side| {
            let names: Vec<String> = side.lineage.missing_history.iter().map(|t| history_name(*t)).collect();
            let list = names.join(", ");
            let dir = side.dir.path().join(pair.major.wal_dir());
            finding("FP80", Severity::Error)
                .explain(format!(
                    "The {} is on timeline {}, and {list} is neither in its {} nor in an archive. Without it nobody \
                     can say where that timeline begins.",
                    side_name(side.role),
                    side.lineage.timeline,
                    pair.major.wal_dir()
                ))
                .proof(names.iter().map(|n| file_says(dir.join(n), "is missing")))
                .logs(names.iter().map(|n| {
                    format!(
                        "pg_rewind: error: could not open file \"{}\": No such file or directory",
                        dir.join(n).display()
                    )
                }))
                .remedy(
                    "Find the file in the WAL archive or on a peer and put it there; give archives with \
                     --wal-archive. Never write one by hand.",
                )
        })
        .collect()
}
