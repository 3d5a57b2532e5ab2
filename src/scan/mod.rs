//! One pass over a range of WAL: changed blocks, transactions, the end.

pub mod blocks;
pub mod collect;
pub mod model;
pub mod path;
pub mod progress;
pub mod run;
pub mod walk;
mod xacts;

pub use blocks::BlockSet;
pub use model::*;
