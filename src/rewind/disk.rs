//! All that this room asks of a filesystem. Whatever changes something goes through [`Disk`], so that a test can let
//! each such call fail, be cut short, or be the last one, and can forget what was not synced.
//!
//! Paths are relative to a [`Root`], a directory that was opened once; no link is followed below it.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

/// A directory that was opened, of which the [`Disk`] keeps the handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Root(pub usize);

/// A place below a root; the empty path is the root itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At<'a> {
    /// Below which directory.
    pub root: Root,
    /// Names only: neither absolute nor upwards.
    pub path: &'a Path,
}

impl<'a> At<'a> {
    /// A place.
    pub fn new(root: Root, path: &'a (impl AsRef<Path> + ?Sized)) -> Self {
        Self { root, path: path.as_ref() }
    }

    /// The directory that holds it.
    #[must_use]
    pub fn parent(self) -> Self {
        Self { root: self.root, path: self.path.parent().unwrap_or(Path::new("")) }
    }
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    Other,
}

/// Seconds and nanoseconds since 1970 UTC.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize,
)]
pub struct Stamp(pub i64, pub u32);

/// What `stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Meta {
    pub kind: Kind,
    /// Permissions with set-user-ID, set-group-ID and sticky.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Bytes of a file.
    pub size: u64,
    /// Number of names.
    pub links: u64,
    pub device: u64,
    pub inode: u64,
    pub accessed: Stamp,
    pub modified: Stamp,
}

/// As whom this program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Effective user.
    pub uid: u32,
    /// Effective group and all others.
    pub gids: Vec<u32>,
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading; also a directory, to sync it or to set its attributes.
    Read,
    /// Reading and writing a regular file that is there.
    Write,
}

/// Extended attributes, sorted by name.
pub type Xattrs = Vec<(OsString, Vec<u8>)>;

/// An open file or directory.
pub trait DiskFile: Send + Sync {
    /// What `fstat` says.
    fn metadata(&self) -> io::Result<Meta>;
    /// Reads up to `buf.len()` bytes; 0 at the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// All extended attributes that this user may see.
    fn xattrs(&self) -> io::Result<Xattrs>;
    /// The descriptor, for a [`Disk`] that works on real files.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
    /// Writes, perhaps fewer bytes than asked for.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts, or lengthens by a hole.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Sets permissions.
    fn set_mode(&self, mode: u32) -> io::Result<()>;
    /// Sets owner and group.
    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()>;
    /// Sets the times of last access and last change.
    fn set_times(&self, accessed: Stamp, modified: Stamp) -> io::Result<()>;
    /// Sets an extended attribute.
    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()>;
    /// Content and attributes of a file, or names of a directory, are safe after this.
    fn sync(&self) -> io::Result<()>;
}

/// A filesystem.
pub trait Disk: Sync {
    /// Opens a directory by any path; the only call that follows links.
    fn open_root(&self, path: &Path) -> io::Result<Root>;
    /// Opens a directory below a root as a root of its own.
    fn sub_root(&self, at: At<'_>) -> io::Result<Root>;
    /// What `lstat` says.
    fn metadata(&self, at: At<'_>) -> io::Result<Meta>;
    /// Names in a directory, sorted.
    fn list(&self, at: At<'_>) -> io::Result<Vec<OsString>>;
    /// A link's text.
    fn read_link(&self, at: At<'_>) -> io::Result<PathBuf>;
    /// Opens what is there: a regular file, or for reading also a directory.
    fn open(&self, at: At<'_>, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Locks a file or directory for as long as the value lives; `None`: another process has it.
    fn lock(&self, at: At<'_>) -> io::Result<Option<Box<dyn Any + Send + Sync>>>;
    /// Whether a file can be renamed from one to the other: same filesystem, same mount.
    fn same_mount(&self, a: Root, b: Root) -> io::Result<bool>;
    /// Whether what is written there outlives a restart of machine or container (no tmpfs, no overlay).
    fn lasting(&self, root: Root) -> io::Result<bool>;
    /// As whom this runs.
    fn user(&self) -> User;
    /// Seconds since 1970 UTC.
    fn now(&self) -> i64;
    /// Whether a process of that number lives on this machine.
    fn process_lives(&self, pid: i32) -> bool;
    /// The process of a server that works in the directory on this machine.
    fn server_in(&self, root: Root) -> io::Result<Option<i32>>;
    /// Bytes that this user can still write to the filesystem that holds the root.
    fn free(&self, root: Root) -> io::Result<u64>;

    /// Makes a regular file, which must not exist, and opens it for reading and writing.
    fn create(&self, at: At<'_>, mode: u32) -> io::Result<Box<dyn DiskFile>>;
    /// Renames; replaces what is there.
    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()>;
    /// Removes a file or link.
    fn unlink(&self, at: At<'_>) -> io::Result<()>;
    /// Makes a directory.
    fn mkdir(&self, at: At<'_>, mode: u32) -> io::Result<()>;
    /// Removes an empty directory.
    fn rmdir(&self, at: At<'_>) -> io::Result<()>;
    /// Makes a symbolic link.
    fn symlink(&self, to: &Path, at: At<'_>) -> io::Result<()>;
    /// Everything of the filesystem that holds the root is safe after this.
    fn syncfs(&self, root: Root) -> io::Result<()>;
    /// Whether `syncfs` says so when anything that was written since the root was opened did not reach the disk.
    fn syncfs_tells(&self, root: Root) -> io::Result<bool>;
    /// Makes the beginning of `to` share the blocks of `from`; an error where the filesystem cannot.
    fn clone_file(&self, from: &dyn DiskFile, to: &dyn DiskFile) -> io::Result<()>;
    /// Copies up to `len` bytes at `offset` to the same offset, perhaps fewer; 0 at the end.
    fn copy_range(&self, from: &dyn DiskFile, to: &dyn DiskFile, offset: u64, len: u64) -> io::Result<u64>;
}

/// Writes all of it.
pub fn write_all_at(file: &dyn DiskFile, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
    while !buf.is_empty() {
        match file.write_at(buf, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                buf = buf.get(n..).unwrap_or_default();
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills the buffer as far as the file goes, and says how far.
pub fn read_full_at(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(filled)
}

/// The content of a small file; an error beyond `limit` bytes.
pub fn read_small(disk: &dyn Disk, at: At<'_>, limit: u64) -> io::Result<Vec<u8>> {
    let file = disk.open(at, Access::Read)?;
    let size = file.metadata()?.size;
    if size > limit {
        return Err(io::Error::other(format!("it is {size} bytes long, at most {limit} are expected")));
    }
    let mut content = vec![0; size as usize];
    let n = read_full_at(&*file, &mut content, 0)?;
    content.truncate(n);
    Ok(content)
}

/// Makes the names in a directory safe.
pub fn sync_dir(disk: &dyn Disk, at: At<'_>) -> io::Result<()> {
    disk.open(at, Access::Read)?.sync()
}

/// Whether something is there.
pub fn exists(disk: &dyn Disk, at: At<'_>) -> io::Result<bool> {
    absent_is_none(disk.metadata(at)).map(|found| found.is_some())
}

/// What is not there is no error.
pub fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}
