//! The write-ahead log, from bytes to records. Pure: no file is opened here.

pub mod crc;
pub mod framer;
pub mod page;
pub mod problem;
pub mod record;
pub mod rmgr;
pub mod xact;

pub use page::Format;
pub use problem::Problem;
pub use record::Record;

pub use crate::pg::WAL_PAGE_SIZE as PAGE_SIZE;
