//! What an operation will change is looked at, and kept, before it changes.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::disk::{Access, At, Disk, DiskFile, Kind, Meta, User, absent_is_none, read_full_at, read_small};
use super::error::{Doing, Trouble};
use super::hash;
use super::journal::{Attributes, Before, Content, Directory, Item, Moved, Piece};
use super::ops::{Op, What};
use super::places::Side;
use super::store::Store;
use crate::plan::model::{Action, FileTime, Kind as PlanKind, Seen};
use crate::plan::path::{PlanPath, RelPath};

/// Largest file that lines are appended to.
const SMALL: u64 = 16 << 20;
/// The label of SELinux. A new file has its directory's, and a policy may forbid another one.
pub const SELINUX: &str = "security.selinux";
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Looks at one operation after the other.
pub struct Capture<'a> {
    pub disk: &'a dyn Disk,
    pub target: &'a Side,
    pub store: &'a mut Store,
    pub block_size: u32,
    pub user: User,
    /// Directories whose times are kept already.
    pub known: &'a mut HashSet<PathBuf>,
    /// Found by now.
    pub items: Vec<Item>,
    pub directories: Vec<Directory>,
    /// Bytes that went into the pack.
    pub packed: u64,
}

impl Capture<'_> {
    /// The next operation.
    pub fn take(&mut self, op: &Op<'_>) -> Result<(), Trouble> {
        let item = self.item(op)?;
        let name_stays = match item.before {
            Before::Unsaved => true,
            Before::Packed { .. } => !matches!(op.what, What::Planned(Action::Remove)),
            _ => false,
        };
        if !name_stays {
            self.parent(op.path)?;
        }
        self.items.push(item);
        Ok(())
    }

    fn item(&mut self, op: &Op<'_>) -> Result<Item, Trouble> {
        let unsaved = Item { before: Before::Unsaved, content: None };
        if matches!(op.what, What::Planned(Action::Keep)) {
            return Ok(unsaved);
        }
        let at = self.target.entry(op.path);
        let found = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", op.path)?;
        if op.planned {
            unchanged(self.disk, at, op.path, op.target, found.as_ref())?;
        }
        let content = match &op.what {
            What::Append(lines) => {
                let mut content = match found {
                    Some(_) => read_small(self.disk, at, SMALL).doing("could not be read", op.path)?,
                    None => Vec::new(),
                };
                if !content.is_empty() && !content.ends_with(b"\n") {
                    content.push(b'\n');
                }
                content.extend_from_slice(lines);
                Some(Content(content))
            }
            _ => None,
        };
        if !self.store.manifest.undo {
            return Ok(Item { content, ..unsaved });
        }
        let Some(meta) = found else { return Ok(Item { before: Before::Absent, content }) };
        let before = self.before(op, at, &meta)?;
        Ok(Item { before, content })
    }

    fn before(&mut self, op: &Op<'_>, at: At<'_>, meta: &Meta) -> Result<Before, Trouble> {
        match (&op.what, meta.kind) {
            (What::Planned(Action::Change { blocks, tail, truncate_to }), Kind::File) => {
                let file = self.disk.open(at, Access::Read).doing("could not be opened", op.path)?;
                let block = u64::from(self.block_size);
                let mut ranges: Vec<(u64, u64)> = blocks
                    .iter()
                    .map(|r| (u64::from(r.first) * block, (u64::from(r.first) + u64::from(r.count)) * block))
                    .collect();
                ranges.extend(tail.map(|t| (t.from, t.to)));
                ranges.extend(truncate_to.map(|to| (to, meta.size)));
                self.pack(op.path, &*file, meta, &ranges)
            }
            (What::Planned(Action::Remove), Kind::Directory) => {
                let directory = self.disk.open(at, Access::Read).doing("could not be opened", op.path)?;
                let xattrs = directory.xattrs().doing("its attributes could not be read", op.path)?;
                Ok(Before::Directory(Attributes::new(meta, xattrs)))
            }
            (What::Planned(Action::Remove), Kind::Symlink) => {
                // what lies behind a tablespace's link is moved below the link's own path
                let movable = !RelPath::may_be_link(op.path);
                if movable && self.store.moved_for(self.target, op.path).is_some() {
                    return Ok(Before::Moved(Moved::new(meta, Vec::new())));
                }
                let text = self.disk.read_link(at).doing("could not be read", op.path)?;
                Ok(Before::Link(PlanPath::from(text.as_path())))
            }
            (What::Planned(Action::Remove | Action::Copy { .. }), Kind::File) => {
                let replaced = op.what.replaces();
                // a new file in its place has to get its owner
                let may = !replaced || (meta.uid == self.user.uid && self.user.gids.contains(&meta.gid));
                let moved = may && self.store.moved_for(self.target, op.path).is_some();
                if moved && !replaced {
                    return Ok(Before::Moved(Moved::new(meta, Vec::new())));
                }
                let file = self.disk.open(at, Access::Read).doing("could not be opened", op.path)?;
                let xattrs = file.xattrs().doing("its attributes could not be read", op.path)?;
                if moved && xattrs.iter().all(|(name, _)| settable(name)) {
                    return Ok(Before::Moved(Moved::new(meta, xattrs)));
                }
                self.pack(op.path, &*file, meta, &[(0, meta.size)])
            }
            (What::Write(_) | What::Append(_), Kind::File) => {
                let file = self.disk.open(at, Access::Read).doing("could not be opened", op.path)?;
                self.pack(op.path, &*file, meta, &[(0, meta.size)])
            }
            _ => {
                Err(Trouble::TargetChanged { path: op.path.to_owned(), what: "it is of another kind".into() })
            }
        }
    }

    /// Copies ranges of a file into the pack, as far as the file goes.
    fn pack(
        &mut self,
        path: &Path,
        file: &dyn DiskFile,
        meta: &Meta,
        ranges: &[(u64, u64)],
    ) -> Result<Before, Trouble> {
        let xattrs = file.xattrs().doing("its attributes could not be read", path)?;
        let mut pieces = Vec::with_capacity(ranges.len());
        let mut buffer = vec![0; CHUNK];
        for (from, to) in ranges {
            let to = (*to).min(meta.size);
            let mut hasher = Sha256::new();
            let (mut offset, mut start) = (*from, None);
            while offset < to {
                let want = (to - offset).min(CHUNK as u64) as usize;
                let chunk = buffer.get_mut(..want).unwrap_or_default();
                let n = read_full_at(file, chunk, offset).doing("could not be read", path)?;
                if n < want {
                    return Err(Trouble::TargetChanged {
                        path: path.to_owned(),
                        what: format!("it ends at {} bytes, {} are expected", offset + n as u64, meta.size),
                    });
                }
                hasher.update(&*chunk);
                let at = self.store.keep(chunk)?;
                start.get_or_insert(at);
                offset += n as u64;
                self.packed += n as u64;
            }
            if let Some(at) = start {
                pieces.push(Piece { offset: *from, length: to - *from, at, sha256: hash::text(hasher) });
            }
        }
        Ok(Before::Packed { attributes: Attributes::new(meta, xattrs), size: meta.size, pieces })
    }

    /// The times of the directory in which a name comes or goes.
    fn parent(&mut self, path: &Path) -> Result<(), Trouble> {
        let parent = path.parent().unwrap_or(Path::new(""));
        if self.known.contains(parent) {
            return Ok(());
        }
        let at = self.target.directory(parent);
        // one that is yet to be made is removed again
        if let Some(meta) = absent_is_none(self.disk.metadata(at)).doing("could not be looked at", parent)? {
            let attributes = Attributes::new(&meta, Vec::new());
            self.directories.push(Directory { path: PlanPath::from(parent), attributes });
        }
        self.known.insert(parent.to_owned());
        Ok(())
    }
}

/// Whether a new file can be given this extended attribute by its owner. A file with another one is written in place,
/// which keeps them all.
fn settable(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"user.") || name == "system.posix_acl_access" || name == SELINUX
}

/// Refuses what is not as the plan saw it.
pub fn unchanged(
    disk: &dyn Disk,
    at: At<'_>,
    path: &Path,
    seen: Option<&Seen>,
    found: Option<&Meta>,
) -> Result<(), Trouble> {
    match difference(disk, at, seen, found).doing("could not be looked at", path)? {
        None => Ok(()),
        Some(what) => Err(Trouble::TargetChanged { path: path.to_owned(), what }),
    }
}

/// How what lies somewhere differs from what a plan saw there.
pub fn difference(
    disk: &dyn Disk,
    at: At<'_>,
    seen: Option<&Seen>,
    found: Option<&Meta>,
) -> std::io::Result<Option<String>> {
    let (seen, found) = match (seen, found) {
        (None, None) => return Ok(None),
        (None, Some(_)) => return Ok(Some("it was not there".into())),
        (Some(_), None) => return Ok(Some("it is gone".into())),
        (Some(seen), Some(found)) => (seen, found),
    };
    let kind = match found.kind {
        Kind::File => Some(PlanKind::File),
        Kind::Directory => Some(PlanKind::Directory),
        Kind::Symlink => Some(PlanKind::Symlink),
        Kind::Other => None,
    };
    if kind != Some(seen.kind) {
        return Ok(Some(format!("it was a {}", seen.kind)));
    }
    Ok(match seen.kind {
        PlanKind::File => {
            let time = FileTime { seconds: found.modified.0, nanoseconds: found.modified.1 };
            if found.size != seen.size {
                Some(format!("{} bytes, expected {}", found.size, seen.size))
            } else if time != seen.modified {
                Some(format!("changed at {time}, expected {}", seen.modified))
            } else {
                None
            }
        }
        PlanKind::Symlink => {
            let text = PlanPath::from(disk.read_link(at)?.as_path());
            (seen.to.as_ref().is_some_and(|to| *to != text)).then(|| format!("it leads to {text}"))
        }
        // names come and go in it while the plan is carried out
        PlanKind::Directory => None,
    })
}
