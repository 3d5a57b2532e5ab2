//! What became of every transaction that ended in the WAL at hand.

use hashbrown::HashMap;

use crate::pg::{Lsn, Major, Xid};
use crate::wal::Record;
use crate::wal::rmgr::op;
use crate::wal::xact::XactRecord;

/// What became of a transaction or subtransaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It committed, with the top-level transaction `top`, by the record at `at`.
    Committed {
        /// Start of the record.
        at: Lsn,
        /// The top-level transaction, itself for one.
        top: Xid,
    },
    /// Prepared, and not decided (yet).
    Prepared {
        /// The top-level transaction.
        top: Xid,
    },
    /// It was rolled back.
    Aborted,
}

/// Fates by transaction. A commit record names the subtransactions that committed with it, so those that were rolled
/// back to a savepoint are not among them.
#[derive(Debug, Default)]
pub struct Fates {
    by_xid: HashMap<Xid, Fate>,
}

impl Fates {
    /// Takes a record of the resource manager Transaction.
    pub fn take(&mut self, record: &Record<'_>, major: Major) -> Option<()> {
        let operation = record.info & op::XACT_MASK;
        if operation >= op::XACT_ASSIGNMENT {
            return Some(());
        }
        let main = record.main_data(major)?;
        let xact = XactRecord::parse(main, record.info, record.xid, major).ok()?;
        let top = xact.xid;
        let fate = match operation {
            op::XACT_COMMIT | op::XACT_COMMIT_PREPARED => Fate::Committed { at: record.lsn, top },
            op::XACT_PREPARE => Fate::Prepared { top },
            _ => Fate::Aborted,
        };
        for xid in xact.subxacts.iter().copied().chain([top]).filter(|xid| *xid != 0) {
            self.by_xid.insert(xid, fate);
        }
        Some(())
    }

    /// What became of it; `None` if it did not end in the WAL at hand.
    pub fn get(&self, xid: Xid) -> Option<Fate> {
        self.by_xid.get(&xid).copied()
    }

    /// The top-level transaction to which it belongs, unless it was rolled back.
    pub fn top(&self, xid: Xid) -> Option<Xid> {
        match self.get(xid)? {
            Fate::Committed { top, .. } | Fate::Prepared { top } => Some(top),
            Fate::Aborted => None,
        }
    }
}
