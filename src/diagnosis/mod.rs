//! What is the matter with the two sides.

pub mod checkpoint;
pub mod compare;
pub mod ending;
pub mod engine;
pub mod facts;
pub mod lineage;
pub mod loss;
pub mod needs;
