//! PostgreSQL's values and on-disk structures, from bytes to values. Pure: no file is opened here.

pub mod bytes;
pub mod catalog;
pub mod checksum;
pub mod clog;
pub mod control;
pub mod history;
pub mod lsn;
pub mod mask;
pub mod page;
pub mod pglz;
pub mod relfile;
pub mod relmap;
pub mod tuple;
pub mod version;
pub mod walname;

pub use lsn::Lsn;
pub use relfile::{BlockNumber, FIRST_NORMAL_OID, Fork, Oid, RelFile};
pub use version::Major;
pub use walname::{SegmentSize, TimelineId, WalName};

/// Size of a relation page in bytes (`BLCKSZ`); clusters built with another size are refused by name.
pub const BLOCK_SIZE: usize = 8192;

/// Size of a WAL page in bytes (`XLOG_BLCKSZ`); clusters built with another size are refused by name.
pub const WAL_PAGE_SIZE: usize = 8192;

/// Transaction identifier without its epoch (`TransactionId`).
pub type Xid = u32;

/// Microseconds since 2000-01-01 00:00 UTC (`TimestampTz`).
pub type TimestampTz = i64;
