//! What discarding the target's WAL after the divergence costs.

use crate::scan::{Xact, XactEnd};
use crate::wal::rmgr::{id, op};

use super::{Divergence, Loss, Relation, Side, SideScan};

/// Sums up the transactions that end at or after the divergence.
pub fn of(
    relation: &Relation,
    divergence: Option<&Divergence>,
    scan: Option<&SideScan>,
    transactions: &[Xact],
    target: &Side,
) -> Option<Loss> {
    if matches!(relation, Relation::SamePosition | Relation::TargetBehind) {
        return Some(Loss::Nothing);
    }
    let (divergence, scan, end) = (divergence?, scan?, target.end.as_ref()?);
    let lost: Vec<&Xact> =
        transactions.iter().filter(|x| x.end.is_commit() && x.end_lsn >= divergence.lsn).collect();
    let commits = lost.len() as u64;
    let missing = scan.from > divergence.lsn || scan.gaps.iter().any(|g| g.1 > divergence.lsn);
    if missing || !end.complete {
        return Some(Loss::AtLeast { commits });
    }
    let times = || lost.iter().filter_map(|x| x.time);
    if let (Some(first), Some(last)) = (times().min(), times().max()) {
        return Some(Loss::Commits { commits, first, last });
    }
    let prepared = transactions.iter().filter(|x| x.end == XactEnd::Prepared && x.end_lsn >= divergence.lsn);
    let prepared = prepared.count() as u64;
    if prepared > 0 {
        return Some(Loss::PreparedOnly { prepared });
    }
    let after: Vec<_> = scan.changes.kinds.iter().filter(|k| k.2 > 0).collect();
    Some(match after.as_slice() {
        [] => Loss::Nothing,
        [(kind, _, 1)] if kind.rmid == id::XLOG && kind.op == op::XLOG_CHECKPOINT_SHUTDOWN => {
            Loss::ShutdownCheckpointOnly
        }
        _ => Loss::MaintenanceOnly,
    })
}
