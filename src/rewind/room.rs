//! Whether what is kept fits beside the target.

use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::source::space::free;

/// A filesystem without room for the undo store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Where on it.
    pub at: PathBuf,
    /// Bytes that are free.
    pub free: u64,
    /// Bytes that are needed.
    pub needed: u64,
}

/// The first filesystem of the target that has no room for the rewind with an undo store on it.
pub fn lacking(plan: &Plan, target: &Path) -> Option<Lack> {
    plan.totals.filesystems.iter().find_map(|filesystem| {
        let at = target.join(filesystem.at.as_path());
        let needed = filesystem.needed_with_undo;
        let (_, free) = free(&at, &[]).into_iter().next().filter(|(_, free)| *free < needed)?;
        Some(Lack { at, free, needed })
    })
}
