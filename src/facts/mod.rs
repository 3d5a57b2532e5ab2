//! What is found out about the two sides, before anything is concluded from it.

pub mod backup;
pub mod checkpoint;
pub mod compare;
pub mod ending;
pub mod gather;
pub mod lineage;
pub mod loss;
mod model;
pub mod needs;
pub mod open;
mod reading;

pub use model::*;
