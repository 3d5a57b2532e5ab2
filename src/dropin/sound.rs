//! Where pg_rewind would go ahead and leave a target that is damaged, cannot start, or has wrong rows.

use crate::facts::{Facts, Relation};
use crate::pg::Lsn;
use crate::plan::Plan;
use crate::plan::model::Check;

/// Both sides took one timeline number: pg_rewind compares numbers only, and may find nothing to do.
pub fn twins(facts: &Facts) -> Option<String> {
    let Relation::Twins { timeline } = facts.relation else { return None };
    let at = facts.divergence.as_ref().map_or(Lsn::INVALID, |d| d.lsn);
    Some(format!(
        "both sides were promoted on their own to timeline {timeline} and differ from {at} on: the target would follow with \
         wrong rows"
    ))
}

/// What the plan's preflight refuses, a sentence each.
pub fn refusals(plan: &Plan) -> Vec<String> {
    plan.refusals().map(sentence).collect()
}

/// The same for a target that a server is to recover first: whether it runs is for that server to say, and how new its files
/// are and what its WAL looks like will be another matter.
pub fn refusals_before_recovery(plan: &Plan) -> Vec<String> {
    let later = ["target-stopped", "target-wal", "leftovers", "replay-start"];
    plan.refusals().filter(|check| !later.contains(&check.code.as_str())).map(sentence).collect()
}

fn sentence(check: &Check) -> String {
    let place = check.place.as_ref().map_or_else(String::new, |p| format!("{p}: "));
    format!("{place}{}", check.what.trim_end_matches('.'))
}
