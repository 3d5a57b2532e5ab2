//! Findings about what is lost.

use crate::facts::Loss;
use crate::wal::rmgr;

use super::common::{Pair, end_of, finding, plural, wal_says};
use super::{Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    maintenance_only(pair).into_iter().collect()
}

/// FP42.
fn maintenance_only(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    if pair.facts.loss != Some(Loss::MaintenanceOnly) {
        return None;
    }
    let scan = pair.facts.target_scan.as_ref();
    let mut kinds: Vec<(u64, String)> = scan
        .into_iter()
        .flat_map(|s| &s.changes.kinds)
        .filter(|(.., after)| *after > 0)
        .map(|(k, _, after)| {
            let op = rmgr::op_name(k.rmid, k.op, pair.major).unwrap_or("?");
            (*after, format!("{} {op}: {after}", rmgr::name(k.rmid)))
        })
        .collect();
    kinds.sort_by(|a, b| b.cmp(a));
    let records: u64 = kinds.iter().map(|(n, _)| n).sum();
    let mut found = finding("FP42", Severity::Info);
    if pair.has_unfinished_work() {
        found = found.title("Nothing is lost: after the divergence nothing was committed");
    }
    Some(
        found
            .explain(format!(
                "After the divergence at {divergence} on timeline {timeline} the target wrote {} and not one of a transaction that \
                 committed: vacuum, pruning, hint bits, checkpoints, work that was rolled back. A rewind discards no \
                 data.",
                plural(records, "record")
            ))
            .proof(kinds.into_iter().take(8).map(|(_, text)| wal_says(timeline, divergence, text)))
            .proof(end_of(pair.target()))
            .remedy("The rewind is safe to do."),
    )
}
