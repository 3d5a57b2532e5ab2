//! One pass over a range of WAL: changed blocks, transactions, the end.

pub mod blocks;
pub mod model;

pub use blocks::BlockSet;
pub use model::*;
