//! WAL: to find the blocks, to replay, not yet archived.

use crate::findings::Severity;
use crate::pg::WalName;
use crate::pg::control::DbState;

use super::super::model::{Action, Why};
use super::super::wal::From;
use super::{BEYOND_PG_REWIND, Found, Ground, LISTED, refusal, warning};

/// What helps where the target's WAL does not.
const COMPARE: &str = "Give an archive that has it with --wal-archive, or use --compare, which compares all relation files \
                       with the stopped source.";

pub fn target_wal(g: &Ground<'_>) -> Vec<Found> {
    if g.options.compare {
        return Vec::new();
    }
    let target = &g.facts().target;
    let mut found = Vec::new();
    match (&target.end, &g.facts().target_scan) {
        (Some(end), Some(scan)) => {
            if !end.complete {
                found.push(refusal(end.meaning.clone(), COMPARE));
            }
            for (from, to) in &scan.gaps {
                found.push(refusal(
                    format!("The target's WAL from {from} to {to} was found nowhere."),
                    COMPARE,
                ));
            }
            if g.facts().common_checkpoint.is_none_or(|c| scan.from > c.lsn) {
                let what = format!("The target's WAL could be read from {} only.", scan.from);
                found.push(refusal(what, COMPARE));
            }
            // a standby is only bound to what it has received
            let state = target.control.state;
            if let Some(at) = target.control_end.filter(|at| *at > scan.to && state != DbState::InProduction)
            {
                let what = format!(
                    "The target's WAL ends at {}, before {at}, up to which its files may go.",
                    scan.to
                );
                found.push(refusal(what, COMPARE));
            }
        }
        _ => found.push(refusal("The target's WAL could not be read.", COMPARE)),
    }
    // the checkpoint may lie in an archive, from which it was read
    let read = target.end.as_ref().is_some_and(|e| e.last_record >= target.control.checkpoint);
    let damage: &[&str] = if read { &["FP21", "FP22"] } else { &["FP21", "FP22", "FP27"] };
    let errors = g.diagnosis.findings.iter().filter(|f| f.severity == Severity::Error);
    for finding in errors.filter(|f| damage.contains(&f.code)) {
        let source = g.facts().source.dir.path();
        let path = finding.evidence.first().and_then(|e| e.path.as_deref());
        if found.is_empty() && !path.is_some_and(|p| p.starts_with(source)) {
            found.push(refusal(format!("{}: {}.", finding.code, finding.title), COMPARE));
        }
    }
    found
}

pub fn source_wal(g: &Ground<'_>) -> Vec<Found> {
    let source = &g.facts().source;
    match &source.end {
        None => vec![refusal(
            "The source's last checkpoint is not in its WAL: a server could not start on it.",
            "Look at the source with forkpoint report first.",
        )],
        Some(end) if !end.complete => vec![refusal(
            end.meaning.clone(),
            "Look at the source with forkpoint report first; the target would not reach consistency.",
        )],
        Some(_) => Vec::new(),
    }
}

pub fn for_replay(g: &Ground<'_>) -> Vec<Found> {
    let Some(needed) = g.needed else {
        let what = format!("From {} there would be far too much WAL to replay.", g.replay_start.redo);
        return vec![refusal(what, "A control file names a position that cannot be; see forkpoint report.")];
    };
    let mut missing = Vec::new();
    let mut fetched = Vec::new();
    let mut removed = Vec::new();
    for segment in needed {
        let name = segment.name.as_str();
        match &segment.from {
            From::Missing => missing.push(name),
            From::RestoreCommand if g.kept_by_pg_rewind.is_some() => fetched.push(name),
            From::Target if g.kept_by_pg_rewind.is_some_and(|kept| !kept.iter().any(|k| k == name)) => {
                removed.push(name);
            }
            From::Archive(_) if g.kept_by_pg_rewind.is_some() => removed.push(name),
            _ => {}
        }
    }
    let names = |list: &[&str]| match list {
        [one] => (*one).to_owned(),
        [first, .., last] => format!("{first} to {last} ({} segments)", list.len()),
        [] => String::new(),
    };
    let mut found = Vec::new();
    if !missing.is_empty() {
        let what = format!(
            "WAL that replay needs from {} on is on neither side and in no archive: {}. The target could never become \
             consistent.",
            g.replay_start.redo,
            names(&missing)
        );
        let advice = if g.options.compare {
            "Give an archive that has it with --wal-archive, or copy the source anew."
        } else {
            "Give an archive that has it with --wal-archive, or use --compare: replay then starts at the last checkpoint \
             of the stopped source."
        };
        found.push(refusal(what, advice));
    }
    if !removed.is_empty() {
        let what = format!(
            "pg_rewind leaves the target without WAL that replay needs from {} on: {}.",
            g.replay_start.redo,
            names(&removed)
        );
        found.push(refusal(what, BEYOND_PG_REWIND));
    }
    if !fetched.is_empty() {
        let what = format!(
            "Only the restore command brings WAL that replay needs: {}. The server has to fetch it itself.",
            names(&fetched)
        );
        let advice =
            "Set restore_command on the target before it starts, or give the archive with --wal-archive.";
        found.push(warning(what, advice));
    }
    found
}

pub fn history_file(g: &Ground<'_>) -> Vec<Found> {
    let lineage = &g.facts().source.lineage;
    let timeline = lineage.timeline;
    if timeline == 1 || lineage.known.iter().any(|k| k.history.timeline == timeline) {
        return Vec::new();
    }
    let name = WalName::History(timeline).file_name(g.facts().source.segment_size);
    let what = format!(
        "{name} is neither on the source nor in an archive: the target could not follow timeline {timeline}."
    );
    vec![refusal(what, "Give an archive that has it with --wal-archive.")]
}

pub fn not_archived(g: &Ground<'_>) -> Vec<Found> {
    let ready = &g.facts().target.leftovers.not_archived;
    let gone = g.built.entries.iter().filter(|e| {
        let name = e.path.as_path().strip_prefix("pg_wal").ok().and_then(|n| n.to_str());
        let overwritten = matches!(e.action, Action::Copy { .. }) && e.why == Why::Wal;
        e.target.is_some()
            && (e.action == Action::Remove || overwritten)
            && name.is_some_and(|n| ready.binary_search_by(|r| r.as_str().cmp(n)).is_ok())
    });
    let names: Vec<String> =
        gone.filter_map(|e| Some(e.path.as_path().file_name()?.to_str()?.to_owned())).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let shown = names.iter().take(LISTED).cloned().collect::<Vec<_>>().join(", ");
    let more =
        if names.len() > LISTED { format!(" and {} more", names.len() - LISTED) } else { String::new() };
    let what = format!("WAL of the target that was not archived yet goes away: {shown}{more}.");
    vec![warning(
        what,
        "If the archive should have it, copy it there first; an undo store keeps it until it is discarded.",
    )]
}
