//! Which WAL has to be read.

use crate::facts::checkpoint::{Search, last_before};
use crate::facts::{Facts, SideScan};
use crate::pg::{Lsn, Xid};
use crate::scan::path::WalPath;
use crate::scan::progress::{Cancelled, Progress};
use crate::scan::walk::{Start, record_start};
use crate::scan::{Xact, XactEnd};

/// More checkpoints than this are not gone back for the beginning of a transaction.
const MAX_CHECKPOINTS: u32 = 10_000;

/// The stretches of WAL to read, in order, and what lies outside of them.
#[derive(Debug)]
pub struct Range {
    /// Where each begins and ends; between them WAL is missing.
    pub stretches: Vec<(Start, Lsn)>,
    /// Transactions with a number below this one may have written before the first stretch.
    pub complete_from: Xid,
    /// What is not seen, each a sentence.
    pub unseen: Vec<String>,
}

/// A rewind discards it, or the decision on it.
pub fn is_lost(xact: &Xact, divergence: Lsn) -> bool {
    let decided = xact.end.is_commit()
        || xact.end == XactEnd::Prepared
        || (xact.end == XactEnd::AbortedPrepared && prepared_before(xact, divergence));
    decided && xact.end_lsn >= divergence
}

/// Its PREPARE lies before the divergence.
pub fn prepared_before(xact: &Xact, divergence: Lsn) -> bool {
    let two_phase = matches!(xact.end, XactEnd::CommittedPrepared | XactEnd::AbortedPrepared);
    two_phase && xact.prepared.as_ref().is_none_or(|prepared| prepared.lsn < divergence)
}

impl Range {
    /// From the checkpoint before the oldest lost transaction began to the end of the target's WAL.
    ///
    /// # Errors
    /// Cancelled.
    pub fn find(
        path: &WalPath<'_>,
        facts: &Facts,
        divergence: Lsn,
        scan: &SideScan,
        progress: &Progress,
    ) -> Result<Self, Cancelled> {
        let segment = path.format.segment_size.bytes();
        let mut unseen = Vec::new();
        let mut complete_from = 0;
        let control_redo = facts.target.control.checkpoint_copy.redo;
        let mut start = Start::Page(scan.from);
        if let Some(common) = &facts.common_checkpoint {
            complete_from = common.next_xid;
            let oldest = facts
                .transactions
                .iter()
                .filter(|x| is_lost(x, divergence) && !prepared_before(x, divergence))
                .map(|x| x.xid)
                .min_by_key(|xid| xid.wrapping_sub(common.next_xid) as i32);
            let mut begin = common.redo;
            let mut before = common.lsn;
            let mut steps = 0;
            let early = |xid: Option<Xid>, next: Xid| xid.is_some_and(|x| (x.wrapping_sub(next) as i32) < 0);
            // the data files of a target that was a standby may be older than that
            while (early(oldest, complete_from) || begin > control_redo) && steps < MAX_CHECKPOINTS {
                steps += 1;
                match last_before(path, before, progress)? {
                    Search::Found(earlier) => {
                        begin = earlier.redo;
                        before = earlier.lsn;
                        complete_from = earlier.next_xid;
                    }
                    Search::Hole(_) => break,
                }
            }
            if let Some(xid) = oldest.filter(|_| early(oldest, complete_from)) {
                unseen.push(format!(
                    "transaction {xid} may have begun before the WAL at hand, which goes back to {begin}: what it wrote \
                     before is lost too and is not listed"
                ));
            }
            start = Start::Record(record_start(begin, segment));
            if path.open(path.format.segment_size.segno(begin)).is_none() {
                start = Start::Record(record_start(common.lsn, segment));
            }
        } else {
            unseen.push(format!(
                "the last checkpoint before the divergence is not in the WAL at hand: what was written before {} by \
                 transactions that committed later is not listed, and rows may lack what they were before",
                scan.from
            ));
        }
        let mut stretches = Vec::new();
        for &(from, to) in &scan.gaps {
            stretches.push((start, from));
            start = Start::Page(to);
            unseen.push(format!(
                "WAL from {from} to {to} was found nowhere: rows changed there are not listed"
            ));
        }
        stretches.push((start, scan.to));
        Ok(Self { stretches, complete_from, unseen })
    }
}
