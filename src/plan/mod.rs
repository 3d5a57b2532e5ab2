//! The plan of a rewind: made by reading alone, stored, sent, reviewed, and only then carried out.

mod compare;
pub mod control;
mod derive;
mod differ;
pub mod disk;
mod entries;
pub mod keep;
pub mod label;
pub mod load;
pub mod model;
pub mod options;
pub mod path;
mod preflight;
pub mod rules;
mod standby;
mod totals;
mod wal;

pub use derive::{PlanError, derive, make};
pub use load::{LoadError, load};
pub use model::Plan;
pub use options::PlanOptions;
