//! Whether a place lies inside a data directory.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Which of the directories, of their WAL directories or tablespaces, `parent` is or lies in: by device and inode, as
/// a bind mount has another name.
pub fn inside<'a>(parent: &Path, directories: &[&'a Path]) -> Option<&'a Path> {
    let identity = |m: &Metadata| (m.dev(), m.ino());
    let above: Vec<_> =
        parent.ancestors().filter_map(|p| fs::metadata(p).ok()).map(|m| identity(&m)).collect();
    directories.iter().copied().find(|directory| {
        let mut roots = vec![directory.to_path_buf(), directory.join("pg_wal"), directory.join("pg_xlog")];
        if let Ok(spaces) = fs::read_dir(directory.join("pg_tblspc")) {
            roots.extend(spaces.flatten().map(|entry| entry.path()));
        }
        roots.iter().filter_map(|root| fs::metadata(root).ok()).any(|m| above.contains(&identity(&m)))
    })
}
