//! Which rows a query would see after recovery (`HeapTupleSatisfiesMVCC`, heapam_visibility.c, with no transaction
//! running).

use std::collections::HashMap;

use crate::pg::clog::{self, XactStatus};
use crate::pg::page::PageBytes;
use crate::pg::tuple::{FROZEN_XID, Tuple, infomask};
use crate::pg::{BLOCK_SIZE, Xid};

use super::blocks::BlockSource;

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowState {
    /// Its transaction aborted, or ran when the server stopped.
    NeverCommitted,
    /// Deleted, or replaced by a newer version.
    Dead,
    /// A query sees it.
    Visible,
}

/// Judges rows by their hint bits and, where these say nothing, by pg_xact and pg_multixact.
pub struct Judge<'a> {
    blocks: &'a dyn BlockSource,
    pages: HashMap<u32, Option<Box<PageBytes>>>,
    /// What could not be read; each once.
    pub problems: Vec<String>,
}

impl<'a> Judge<'a> {
    /// Judges rows of this cluster.
    pub fn new(blocks: &'a dyn BlockSource) -> Self {
        Self { blocks, pages: HashMap::new(), problems: Vec::new() }
    }

    /// What became of the row.
    pub fn state(&mut self, tuple: &Tuple<'_>) -> RowState {
        // where pg_xact is gone, a row without hint bits is taken for one that counts
        if !self.inserted(tuple) {
            RowState::NeverCommitted
        } else if self.deleted(tuple) {
            RowState::Dead
        } else {
            RowState::Visible
        }
    }

    fn inserted(&mut self, tuple: &Tuple<'_>) -> bool {
        match tuple.infomask() & infomask::XMIN_FROZEN {
            infomask::XMIN_COMMITTED | infomask::XMIN_FROZEN => true,
            infomask::XMIN_INVALID => false,
            _ => self.committed(tuple.xmin()).unwrap_or(true),
        }
    }

    fn deleted(&mut self, tuple: &Tuple<'_>) -> bool {
        let bits = tuple.infomask();
        if bits & infomask::XMAX_INVALID != 0 || locked_only(bits) {
            return false;
        }
        if bits & infomask::XMAX_IS_MULTI == 0 {
            return bits & infomask::XMAX_COMMITTED != 0 || self.committed(tuple.xmax()).unwrap_or(false);
        }
        match self.blocks.multixact_updater(tuple.xmax()) {
            Ok(Some(updater)) => self.committed(updater).unwrap_or(false),
            Ok(None) => false,
            Err(problem) => {
                self.report(problem.to_string());
                false
            }
        }
    }

    /// Whether the transaction committed; `None` if its page of pg_xact is not there.
    fn committed(&mut self, xid: Xid) -> Option<bool> {
        if xid <= FROZEN_XID {
            return Some(xid != 0);
        }
        let number = clog::page_of(xid);
        if !self.pages.contains_key(&number) {
            let mut page = Box::new([0; BLOCK_SIZE]);
            let found = match self.blocks.xact_page(number, &mut page) {
                Ok(found) => found,
                Err(problem) => {
                    self.report(problem.to_string());
                    false
                }
            };
            if !found {
                self.report(format!(
                    "the transaction status of {xid} is gone, so rows without hint bits are taken as they stand"
                ));
            }
            self.pages.insert(number, found.then_some(page));
        }
        let page = self.pages.get(&number)?.as_ref()?;
        Some(clog::status(page, xid) == XactStatus::Committed)
    }

    fn report(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// Whether `t_xmax` only locks the row (`HEAP_XMAX_IS_LOCKED_ONLY`).
pub const fn locked_only(bits: u16) -> bool {
    let locks = infomask::XMAX_EXCL_LOCK | infomask::XMAX_KEYSHR_LOCK;
    bits & infomask::XMAX_LOCK_ONLY != 0
        || bits & (infomask::XMAX_IS_MULTI | locks) == infomask::XMAX_EXCL_LOCK
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::blocks::Unreadable;
    use crate::pg::relmap::RelMap;
    use crate::pg::tuple::TupleMut;
    use crate::pg::{BlockNumber, Oid, RelFile};

    /// Transactions 100 committed, 101 aborted, 102 running; multixact 7 updated by 100, 8 by 101, 9 locks only.
    struct Few;

    impl BlockSource for Few {
        fn block_count(&self, _: RelFile) -> Result<BlockNumber, Unreadable> {
            Ok(0)
        }
        fn read_block(&self, _: RelFile, _: BlockNumber, _: &mut PageBytes) -> Result<bool, Unreadable> {
            Ok(false)
        }
        fn relation_map(&self, _: Oid, _: Oid) -> Result<RelMap, Unreadable> {
            Ok(RelMap::default())
        }
        fn xact_page(&self, page: u32, into: &mut PageBytes) -> Result<bool, Unreadable> {
            clog::set_status(into, 100, XactStatus::Committed);
            clog::set_status(into, 101, XactStatus::Aborted);
            Ok(page == 0)
        }
        fn multixact_updater(&self, multi: u32) -> Result<Option<Xid>, Unreadable> {
            Ok(match multi {
                7 => Some(100),
                8 => Some(101),
                _ => None,
            })
        }
    }

    fn state(xmin: Xid, xmax: u32, bits: u16) -> RowState {
        let mut bytes = [0; 24];
        let mut tuple = TupleMut::open(&mut bytes).unwrap();
        tuple.set_xmin(xmin);
        tuple.set_xmax(xmax);
        tuple.set_infomask(bits);
        Judge::new(&Few).state(&Tuple::read(&bytes).unwrap())
    }

    #[test]
    fn by_pg_xact() {
        use RowState::{Dead, NeverCommitted, Visible};
        let invalid = infomask::XMAX_INVALID;
        assert_eq!(state(100, 0, invalid), Visible);
        assert_eq!(state(101, 0, invalid), NeverCommitted);
        assert_eq!(state(102, 0, invalid), NeverCommitted);
        assert_eq!(state(1, 0, invalid), Visible);
        assert_eq!(state(0, 0, invalid), NeverCommitted);
        assert_eq!(state(100, 100, 0), Dead);
        assert_eq!(state(100, 101, 0), Visible);
        assert_eq!(state(100, 102, 0), Visible);
        assert_eq!(state(100, 100, infomask::XMAX_LOCK_ONLY), Visible);
        assert_eq!(state(100, 100, infomask::XMAX_EXCL_LOCK), Visible);
    }

    #[test]
    fn hint_bits_come_first() {
        use RowState::{Dead, NeverCommitted, Visible};
        assert_eq!(state(101, 0, infomask::XMIN_COMMITTED | infomask::XMAX_INVALID), Visible);
        assert_eq!(state(101, 0, infomask::XMIN_FROZEN | infomask::XMAX_INVALID), Visible);
        assert_eq!(state(100, 0, infomask::XMIN_INVALID | infomask::XMAX_INVALID), NeverCommitted);
        assert_eq!(state(100, 101, infomask::XMAX_COMMITTED), Dead);
    }

    #[test]
    fn multixacts_by_their_updater() {
        use RowState::{Dead, Visible};
        assert_eq!(state(100, 7, infomask::XMAX_IS_MULTI), Dead);
        assert_eq!(state(100, 8, infomask::XMAX_IS_MULTI), Visible);
        assert_eq!(state(100, 9, infomask::XMAX_IS_MULTI), Visible);
        // a multixact's number is no transaction's
        assert_eq!(state(100, 100, infomask::XMAX_IS_MULTI | infomask::XMAX_LOCK_ONLY), Visible);
    }

    #[test]
    fn rows_whose_transactions_are_forgotten_stay() {
        let mut bytes = [0; 24];
        let mut tuple = TupleMut::open(&mut bytes).unwrap();
        tuple.set_xmin(clog::XIDS_PER_PAGE + 1);
        tuple.set_xmax(clog::XIDS_PER_PAGE + 2);
        let mut judge = Judge::new(&Few);
        assert_eq!(judge.state(&Tuple::read(&bytes).unwrap()), RowState::Visible);
        assert_eq!(judge.problems.len(), 1);
    }
}
