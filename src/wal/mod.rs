//! The write-ahead log, from bytes to records. Pure: no file is opened here.

/// Size of a WAL page in bytes (`XLOG_BLCKSZ`); clusters built with another size are refused by name.
pub const PAGE_SIZE: usize = 8192;
