//! Whether what is kept fits beside the target.

use std::collections::BTreeMap;
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

/// The first filesystem of the target that has no room for the rewind with an undo store on it, and for `more` bytes by
/// the filesystem's place within the target.
pub fn lacking(plan: &Plan, target: &Path, more: &BTreeMap<PathBuf, u64>) -> Option<Lack> {
    plan.totals.filesystems.iter().find_map(|filesystem| {
        let at = target.join(filesystem.at.as_path());
        let more = more.get(filesystem.at.as_path()).copied().unwrap_or_default();
        let needed = filesystem.needed_with_undo.saturating_add(more);
        let (_, free) = free(&at, &[]).into_iter().next().filter(|(_, free)| *free < needed)?;
        Some(Lack { at, free, needed })
    })
}
