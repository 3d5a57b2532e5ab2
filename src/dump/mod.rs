//! Showing WAL record by record: what `forkpoint waldump` does, without a command line.
//!
//! [`Reader`](read::Reader) goes through the records where they lie, [`Selection`](select::Selection) decides which
//! are wanted, a [`View`](view::View) turns each into text, JSON or statistics, and [`run`](run::run) does that with
//! one reader or several, the output in order.

pub mod browse;
pub mod clock;
pub mod expr;
pub mod json;
pub mod read;
pub mod run;
pub mod select;
pub mod stats;
pub mod text;
pub mod tree;
pub mod view;
mod write;

pub use read::{Files, Opened, Reader, Stop, Trouble};
pub use select::Selection;
pub use stats::Stats;
