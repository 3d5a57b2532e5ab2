//! Ways in which a rejoin fails, each with its proof.
//!
//! Each group of findings is a pure function of the facts; none opens a file. The codes are in [`codes::CODES`].

mod archive;
pub mod codes;
pub(crate) mod common;
mod control;
mod files;
pub(crate) mod leftovers;
mod loss;
pub mod model;
mod slots;
mod timeline;
pub mod wal;

pub use codes::{CODES, Code, Provable};
pub use model::{Evidence, Finding, Severity};

use crate::facts::Facts;
use common::Pair;

/// Everything that is found in these facts: what stands in the way first, then warnings, then what is worth
/// knowing; by code within each.
pub fn find(facts: &Facts) -> Vec<Finding> {
    let pair = Pair::new(facts);
    let groups: [fn(&Pair<'_>) -> Vec<Finding>; 8] = [
        timeline::find,
        wal::find,
        control::find,
        leftovers::find,
        files::find,
        archive::find,
        slots::find,
        loss::find,
    ];
    let mut found: Vec<Finding> = groups.iter().flat_map(|group| group(&pair)).collect();
    found.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.code.cmp(b.code)));
    found
}
