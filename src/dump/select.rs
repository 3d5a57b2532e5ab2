//! Which records are wanted.

use super::expr::Filter;
use crate::pg::{BlockNumber, Fork, Major, RelFile, Xid};
use crate::wal::Record;
use crate::wal::record::Parts;

/// Conditions, all of which have to hold; none by default.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Resource managers; empty for all.
    pub rmgrs: Vec<u8>,
    /// Transaction.
    pub xid: Option<Xid>,
    /// A block reference of this relation, fork and block, as far as given.
    pub relation: Option<RelFile>,
    /// Block of it.
    pub block: Option<BlockNumber>,
    /// Fork of it.
    pub fork: Option<Fork>,
    /// With a full-page image.
    pub images: bool,
    /// An expression.
    pub filter: Option<Filter>,
}

impl Selection {
    /// What can be told from the record's header.
    #[inline]
    pub fn by_header(&self, record: &Record<'_>) -> bool {
        (self.rmgrs.is_empty() || self.rmgrs.contains(&record.rmid))
            && self.xid.is_none_or(|xid| xid == record.xid)
    }

    /// Whether [`Self::by_header`] decides.
    pub const fn needs_no_parts(&self) -> bool {
        self.relation.is_none()
            && self.block.is_none()
            && self.fork.is_none()
            && !self.images
            && self.filter.is_none()
    }

    /// The rest.
    #[inline]
    pub fn by_parts(&self, record: &Record<'_>, parts: &Parts, major: Major) -> bool {
        if self.needs_no_parts() {
            return true;
        }
        let by_block = self.relation.is_some() || self.block.is_some() || self.fork.is_some();
        if by_block
            && !parts.blocks.iter().any(|b| {
                self.fork.is_none_or(|fork| fork == b.header.fork)
                    && self.relation.is_none_or(|rel| rel == b.header.rel)
                    && self.block.is_none_or(|block| block == b.header.block)
            })
        {
            return false;
        }
        if self.images && !parts.blocks.iter().any(|b| b.header.image.is_some()) {
            return false;
        }
        self.filter.as_ref().is_none_or(|filter| filter.holds(record, parts, major))
    }
}
