//! Ways in which a rejoin fails, each with its proof.

pub mod model;

pub use model::{Evidence, Finding, Severity};
