//! The plan of a rewind: made by reading alone, stored, sent, reviewed, and only then carried out.

pub mod control;
pub mod disk;
pub mod keep;
pub mod label;
pub mod load;
pub mod model;
pub mod options;
pub mod path;

pub use load::{LoadError, load};
pub use model::Plan;
pub use options::PlanOptions;
