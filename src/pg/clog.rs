//! What became of transactions (`pg_xact`, to 9.6 `pg_clog`; clog.c) and multixacts (`pg_multixact`, multixact.c).
//!
//! Both lie in files of 32 pages (19: `slru_pages_per_segment` of pg_control).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use super::bytes::Bytes;
use super::page::PageBytes;
use super::{BLOCK_SIZE, Major, Xid};

const XIDS_PER_BYTE: u32 = 4;
/// Transactions on one page of pg_xact (`CLOG_XACTS_PER_PAGE`).
pub const XIDS_PER_PAGE: u32 = BLOCK_SIZE as u32 * XIDS_PER_BYTE;

/// Pages in one file, where pg_control does not say (up to 18; `SLRU_PAGES_PER_SEGMENT`).
pub const PAGES_PER_SEGMENT: u32 = 32;

/// What became of a transaction (`XidStatus`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XactStatus {
    /// Running when the page was written; after a crash, as good as aborted.
    InProgress,
    /// Committed.
    Committed,
    /// Aborted.
    Aborted,
    /// A subtransaction whose parent is about to commit.
    SubCommitted,
}

/// Number of the page that has the transaction.
pub const fn page_of(xid: Xid) -> u32 {
    xid / XIDS_PER_PAGE
}

/// What `page`, the one that [`page_of`] names, says of the transaction.
pub fn status(page: &PageBytes, xid: Xid) -> XactStatus {
    let (byte, shift) = place(xid);
    match page.get(byte).copied().unwrap_or_default() >> shift & 3 {
        0 => XactStatus::InProgress,
        1 => XactStatus::Committed,
        2 => XactStatus::Aborted,
        _ => XactStatus::SubCommitted,
    }
}

/// Writes what became of the transaction into `page`, the one that [`page_of`] names.
pub fn set_status(page: &mut PageBytes, xid: Xid, status: XactStatus) {
    let (byte, shift) = place(xid);
    if let Some(byte) = page.get_mut(byte) {
        *byte = *byte & !(3 << shift) | (status as u8) << shift;
    }
}

const fn place(xid: Xid) -> (usize, u32) {
    let within = xid % XIDS_PER_PAGE;
    ((within / XIDS_PER_BYTE) as usize, within % XIDS_PER_BYTE * 2)
}

const MEMBERS_PER_GROUP: u64 = 4;
const GROUP_SIZE: usize = 20;
const GROUPS_PER_PAGE: u64 = (BLOCK_SIZE / GROUP_SIZE) as u64;

/// From this status on a member of a multixact updated or deleted the row; below, it only locked it.
const FIRST_UPDATE_STATUS: u32 = 4;

/// Where `pg_multixact/offsets` says at which member a multixact begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetPlace {
    /// Page.
    pub page: u32,
    /// Offset on it in bytes.
    at: usize,
    /// 64 bits wide (19).
    wide: bool,
}

impl OffsetPlace {
    /// The place for multixact `multi`.
    pub fn of(multi: u32, major: Major) -> Self {
        let wide = major >= Major::V19;
        let size = if wide { 8 } else { 4 };
        let per_page = BLOCK_SIZE as u32 / size;
        Self { page: multi / per_page, at: (multi % per_page * size) as usize, wide }
    }

    /// Number of the first member, 0 if the multixact was never written.
    pub fn read(self, page: &PageBytes) -> u64 {
        let bytes = Bytes::new(page);
        let value = if self.wide { bytes.u64_at(self.at) } else { bytes.u32_at(self.at).map(u64::from) };
        value.unwrap_or_default()
    }
}

/// Number of the page of `pg_multixact/members` that has member `member`.
pub const fn member_page(member: u64) -> u64 {
    member / (MEMBERS_PER_GROUP * GROUPS_PER_PAGE)
}

/// A member's transaction, 0 where none was ever written, and its status; `page` is the one that [`member_page`]
/// names.
pub fn member(page: &PageBytes, member: u64) -> (Xid, u32) {
    let group = (member / MEMBERS_PER_GROUP % GROUPS_PER_PAGE) as usize * GROUP_SIZE;
    let within = (member % MEMBERS_PER_GROUP) as usize;
    let bytes = Bytes::new(page);
    let status = bytes.u8_at(group + within).unwrap_or_default();
    (bytes.u32_at(group + 4 + within * 4).unwrap_or_default(), u32::from(status))
}

/// Whether a member's status (`MultiXactStatus`) is that of an update or delete.
pub const fn is_update(status: u32) -> bool {
    status >= FIRST_UPDATE_STATUS
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn four_transactions_to_a_byte() {
        let mut page = [0; BLOCK_SIZE];
        page[0] = 0b01_10_11_00;
        page[BLOCK_SIZE - 1] = 0b01_00_00_00;
        let first = 5 * XIDS_PER_PAGE;
        let all: Vec<_> = (first..first + 4).map(|xid| status(&page, xid)).collect();
        assert_eq!(
            all,
            [XactStatus::InProgress, XactStatus::SubCommitted, XactStatus::Aborted, XactStatus::Committed]
        );
        assert_eq!(status(&page, first + XIDS_PER_PAGE - 1), XactStatus::Committed);
        assert_eq!((page_of(first), page_of(first - 1)), (5, 4));
    }

    #[test]
    fn members_in_groups_of_four() {
        let mut page = [0; BLOCK_SIZE];
        // group 1: members 4 to 7
        page[20..24].copy_from_slice(&[0, 5, 4, 1]);
        page[24..28].copy_from_slice(&700u32.to_le_bytes());
        page[28..32].copy_from_slice(&701u32.to_le_bytes());
        page[32..36].copy_from_slice(&702u32.to_le_bytes());
        let found: Vec<_> = (4..8).map(|m| member(&page, m)).collect();
        assert_eq!(found, [(700, 0), (701, 5), (702, 4), (0, 1)]);
        assert_eq!(member(&page, 1636 * 3 + 5), (701, 5));
        assert_eq!((member_page(1635), member_page(1636)), (0, 1));
    }

    #[test]
    fn offsets_are_wider_in_19() {
        let mut page = [0; BLOCK_SIZE];
        page[8..16].copy_from_slice(&0x7_0000_0009u64.to_le_bytes());
        assert_eq!(OffsetPlace::of(2048 + 2, Major::V18).page, 1);
        assert_eq!(OffsetPlace::of(2048 + 2, Major::V18).read(&page), 9);
        assert_eq!(OffsetPlace::of(1024 + 1, Major::V19).page, 1);
        assert_eq!(OffsetPlace::of(1024 + 1, Major::V19).read(&page), 0x7_0000_0009);
    }

    proptest! {
        #[test]
        fn a_status_is_read_back_and_its_neighbours_stay(xid in any::<u32>(), fill in any::<u8>()) {
            let mut page = [fill; BLOCK_SIZE];
            let neighbour = xid ^ 1;
            let before = status(&page, neighbour);
            for wanted in [XactStatus::Aborted, XactStatus::Committed] {
                set_status(&mut page, xid, wanted);
                prop_assert_eq!(status(&page, xid), wanted);
                prop_assert_eq!(status(&page, neighbour), before);
            }
        }

        #[test]
        fn every_number_has_a_place(multi in any::<u32>(), number in any::<u64>(), fill in any::<u8>()) {
            let page = [fill; BLOCK_SIZE];
            for major in [Major::V10, Major::V19] {
                let _ = OffsetPlace::of(multi, major).read(&page);
            }
            let _ = member(&page, number);
        }
    }
}
