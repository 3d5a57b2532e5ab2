//! What lies on disk at a path of a plan. Nothing is opened: status and link texts only.

use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::source::datadir::Identity;

use super::model::{FileTime, Kind, Mode, Seen};
use super::path::{PlanPath, RelPath};

/// Something that was seen, with what tells it from everything else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What a plan keeps of it.
    pub seen: Seen,
    /// Device and inode.
    pub identity: Identity,
}

/// Looks at a path within `root`, without following a link at its end. `None` if nothing lies there, or something that
/// a rewind leaves alone (a socket, a FIFO, a device).
///
/// # Errors
/// Its status cannot be read.
pub fn look(root: &Path, path: &Path) -> io::Result<Option<Found>> {
    let full = root.join(path);
    let meta = match full.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(e) => return Err(e),
    };
    let kind = if meta.is_file() {
        Kind::File
    } else if meta.is_dir() {
        Kind::Directory
    } else if meta.is_symlink() {
        Kind::Symlink
    } else {
        return Ok(None);
    };
    let is_file = kind == Kind::File;
    let to = if kind == Kind::Symlink { Some(PlanPath::from(full.read_link()?.as_path())) } else { None };
    Ok(Some(Found {
        seen: Seen {
            kind,
            size: if is_file { meta.size() } else { 0 },
            mode: Mode(meta.mode() & 0o7777),
            uid: meta.uid(),
            gid: meta.gid(),
            modified: FileTime { seconds: meta.mtime(), nanoseconds: meta.mtime_nsec() as u32 },
            links: Some(meta.nlink()).filter(|n| is_file && *n > 1),
            to,
        },
        identity: Identity::of(&meta),
    }))
}

/// Refuses a path of which a directory is a link, unless it is the WAL directory or a tablespace, which lead to where
/// they lead. So no file of a plan lies anywhere but in the data directory, its WAL directory and its tablespaces.
///
/// # Errors
/// The link that leads elsewhere, or a status that cannot be read.
pub fn stays_inside(root: &Path, path: &RelPath) -> Result<(), Outside> {
    for parent in path.parents() {
        let full = root.join(parent);
        match full.symlink_metadata() {
            Ok(meta) if meta.is_symlink() && !RelPath::may_be_link(parent) => {
                return Err(Outside::Link(full));
            }
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
            Err(e) => return Err(Outside::Io(full, e)),
        }
    }
    Ok(())
}

/// Why a path may lead outside the target.
#[derive(Debug, thiserror::Error)]
pub enum Outside {
    /// One of its directories is a link.
    #[error("{} is a link, and files behind it are not the target's; make it a directory", .0.display())]
    Link(PathBuf),
    /// Nobody can tell.
    #[error("{}: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_nowhere_but_to_wal_and_tablespaces() {
        let temp = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (temp.path().join("data"), temp.path().join("elsewhere"));
        fs::create_dir_all(root.join("pg_tblspc")).unwrap();
        fs::create_dir_all(elsewhere.join("5")).unwrap();
        for link in ["pg_wal", "pg_tblspc/16384", "base"] {
            symlink(&elsewhere, root.join(link)).unwrap();
        }
        symlink(&elsewhere, elsewhere.join("6")).unwrap();
        let inside = |path: &str| stays_inside(&root, &RelPath::new(path.as_bytes()).unwrap()).is_ok();
        assert!(inside("pg_wal/x") && inside("pg_tblspc/16384/5/1") && inside("base") && inside("new/x/y"));
        assert!(!inside("base/x") && !inside("pg_wal/6/x") && !inside("pg_tblspc/16384/6/1"));
        let link = look(&root, Path::new("base")).unwrap().unwrap();
        assert_eq!(
            (link.seen.kind, link.seen.to),
            (Kind::Symlink, Some(PlanPath::from(elsewhere.as_path())))
        );
        assert_eq!(look(&root, Path::new("nothing/x")).unwrap(), None);
        fs::write(root.join("a"), "abc").unwrap();
        fs::hard_link(root.join("a"), root.join("b")).unwrap();
        let file = look(&root, Path::new("a")).unwrap().unwrap();
        assert_eq!((file.seen.size, file.seen.links), (3, Some(2)));
        assert_eq!(file.identity, look(&root, Path::new("b")).unwrap().unwrap().identity);
    }
}
