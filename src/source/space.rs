//! Room left on filesystems.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Bytes that an ordinary user can still write to the filesystem of `root`, and of every directory of `below` (paths
/// within it) that lies on another one. What cannot be asked is left out.
pub fn free(root: &Path, below: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for at in std::iter::once(&PathBuf::new()).chain(below) {
        let path = root.join(at);
        let (Ok(meta), Ok(space)) = (path.metadata(), rustix::fs::statvfs(&path)) else { continue };
        if !seen.contains(&meta.dev()) {
            seen.push(meta.dev());
            found.push((at.clone(), space.f_bavail.saturating_mul(space.f_frsize)));
        }
    }
    found
}
