//! Findings about replication slots.

use crate::source::slots::Slot;

use super::common::{Pair, Way, file_says, finding, plural, some_of};
use super::{Evidence, Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if !pair.related() || pair.way == Way::Neither {
        return found;
    }
    found.extend(wanted_slot(pair));
    found.extend(slots_of_the_target(pair));
    found.extend(ahead_of_the_fork(pair));
    found
}

const fn is_logical(slot: &Slot) -> bool {
    !slot.is_physical()
}

fn evidence(pair: &Pair<'_>, slot: &Slot) -> Evidence {
    let path = pair.target().dir.path().join("pg_replslot").join(&slot.name).join("state");
    if is_logical(slot) {
        Evidence {
            path: Some(path),
            lsn: Some(slot.confirmed_flush),
            value: format!(
                "logical slot {}, plugin {}, confirmed_flush = {}",
                slot.name, slot.plugin, slot.confirmed_flush
            ),
            ..Evidence::default()
        }
    } else {
        Evidence {
            path: Some(path),
            lsn: slot.restart_lsn.is_valid().then_some(slot.restart_lsn),
            value: format!("physical slot {}, restart_lsn = {}", slot.name, slot.restart_lsn),
            ..Evidence::default()
        }
    }
}

/// FP26: the slot that the target is told to use is not on the source.
fn wanted_slot(pair: &Pair<'_>) -> Option<Finding> {
    if pair.way != Way::Follow {
        return None;
    }
    let setting = pair.target().settings.get("primary_slot_name").filter(|s| !s.value.is_empty())?;
    if pair.source().slots.iter().any(|s| s.name == setting.value) {
        return None;
    }
    let name = &setting.value;
    Some(
        finding("FP26", Severity::Warning)
            .title(format!("The source has no replication slot \"{name}\""))
            .explain(format!("The target is told to use the slot \"{name}\", which the source does not have."))
            .proof([
                file_says(setting.path.clone(), format!("line {}: primary_slot_name = '{name}'", setting.line)),
                file_says(
                    pair.source().dir.path().join("pg_replslot"),
                    format!("slots: {}", some_of(pair.source().slots.iter().map(|s| s.name.as_str()), 8)),
                ),
            ])
            .logs([format!(
                "FATAL:  could not start WAL streaming: ERROR:  replication slot \"{name}\" does not exist"
            )])
            .remedy(format!(
                "Run SELECT pg_create_physical_replication_slot('{name}', true) on the source before the target is \
                 started."
            )),
    )
}

/// FP26: what happens to the target's own slots.
fn slots_of_the_target(pair: &Pair<'_>) -> Option<Finding> {
    let kept: Vec<&Slot> = pair.target().slots.iter().filter(|s| s.persistent && !s.synced).collect();
    if kept.is_empty() {
        return None;
    }
    let logical = kept.iter().filter(|s| is_logical(s)).count();
    let list = some_of(kept.iter().map(|s| s.name.as_str()), 6);
    let source = &pair.source().slots;
    let absent: Vec<&str> =
        kept.iter().map(|s| s.name.as_str()).filter(|n| !source.iter().any(|s| s.name == *n)).collect();
    let (severity, text, log, remedy) = if pair.way == Way::Rewind {
        (
            if logical > 0 && !absent.is_empty() { Severity::Warning } else { Severity::Info },
            format!(
                "The target has {} ({list}), {} of them not on the source. pg_rewind drops them; whoever uses them has \
                 to get a new one on the source.",
                plural(kept.len() as u64, "replication slot"),
                absent.len()
            ),
            absent.first().map(|n| format!("ERROR:  replication slot \"{n}\" does not exist")),
            "Write the list down. Make the slots that are still wanted on the source; a logical one starts at the \
             moment at which it is made.",
        )
    } else {
        (
            Severity::Info,
            format!(
                "The target has {} ({list}) of its own. They stay when it follows the source, and hold WAL there that \
                 nobody fetches.",
                plural(kept.len() as u64, "replication slot")
            ),
            None,
            "Drop the ones that nobody uses on the target (pg_drop_replication_slot) once it is a standby.",
        )
    };
    Some(
        finding("FP26", severity)
            .title("The target has replication slots of its own")
            .explain(text)
            .proof(kept.iter().map(|s| evidence(pair, s)))
            .logs(log)
            .remedy(remedy),
    )
}

/// FP45.
fn ahead_of_the_fork(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    let ahead: Vec<&Slot> =
        pair.target().slots.iter().filter(|s| is_logical(s) && s.confirmed_flush > divergence).collect();
    if ahead.is_empty() {
        return None;
    }
    Some(
        finding("FP45", Severity::Warning)
            .explain(format!(
                "The consumer of {} has confirmed changes beyond the divergence at {divergence} on timeline {timeline}. It has seen \
                 transactions that the source does not have, and they stay in its database after the rewind.",
                some_of(ahead.iter().map(|s| format!("{} (up to {})", s.name, s.confirmed_flush)), 4)
            ))
            .proof(ahead.iter().map(|s| evidence(pair, s)))
            .remedy(
                "Undo in the consumer what the discarded transactions changed (the report lists them with their \
                 tables), or load it anew, before it is connected to the source.",
            ),
    )
}
