//! The filesystem itself. The only file of this program that changes anything in a data directory.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Gid, Mode, OFlags, RawDir, ResolveFlags, Stat, StatxFlags,
    Timespec, Timestamps, Uid, XattrFlags,
};
use rustix::io::Errno;

use super::checks::owned;
use super::disk::{Access, At, Disk, DiskFile, Kind, Meta, Root, Stamp, User, Xattrs};
use super::error::{Doing, Trouble};
use crate::source::datadir::Identity;
use crate::source::processes;

/// `f_type` of tmpfs (`TMPFS_MAGIC`, linux/magic.h).
const TMPFS: i64 = 0x0102_1994;
/// `f_type` of overlayfs (`OVERLAYFS_SUPER_MAGIC`, linux/magic.h).
const OVERLAY: i64 = 0x794c_7630;
/// `f_type` of ramfs (`RAMFS_MAGIC`, linux/magic.h).
const RAMFS: i64 = 0x8584_58f6;
/// `f_type` of ext2, ext3 and ext4 (`EXT4_SUPER_MAGIC`, linux/magic.h).
const EXT4: i64 = 0xef53;
/// `f_type` of XFS (`XFS_SUPER_MAGIC`, linux/magic.h).
const XFS: i64 = 0x5846_5342;
/// `f_type` of Btrfs (`BTRFS_SUPER_MAGIC`, linux/magic.h).
const BTRFS: i64 = 0x9123_683e;
/// Longest list of names, or value, of extended attributes (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`, linux/limits.h).
const XATTR_MAX: usize = 65536;
/// How a directory is opened on the way to a file.
const WAY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The real one.
#[derive(Debug, Default)]
pub struct RealDisk {
    roots: RwLock<Vec<Arc<OwnedFd>>>,
    /// The kernel (or a sandbox) has no `openat2`.
    one_by_one: AtomicBool,
}

/// The directory that holds an entry, and the entry's name.
struct Place<'a> {
    directory: Directory,
    name: &'a OsStr,
}

enum Directory {
    Root(Arc<OwnedFd>),
    Below(OwnedFd),
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => fd.as_fd(),
            Self::Below(fd) => fd.as_fd(),
        }
    }
}

impl RealDisk {
    /// Refuses root and everyone but the owner of a data directory, before anything of it is read.
    ///
    /// # Errors
    /// Whoever runs this may not, or the directory cannot be looked at.
    pub fn as_owner(&self, target: &Path) -> Result<(), Trouble> {
        let meta = target.metadata().doing("could not be looked at", target)?;
        owned(self.user().uid, meta.uid(), target)
    }

    /// Without roots yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn root(&self, root: Root) -> io::Result<Arc<OwnedFd>> {
        let roots = self.roots.read().unwrap_or_else(PoisonError::into_inner);
        roots.get(root.0).cloned().ok_or_else(|| io::Error::other("no such root"))
    }

    fn add(&self, fd: OwnedFd) -> Root {
        let mut roots = self.roots.write().unwrap_or_else(PoisonError::into_inner);
        roots.push(Arc::new(fd));
        Root(roots.len() - 1)
    }

    /// A directory below a root, without following links.
    fn directory(&self, root: Root, path: &Path) -> io::Result<Directory> {
        if path.components().any(|c| !matches!(c, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads outside its directory"));
        }
        let root = self.root(root)?;
        if path.as_os_str().is_empty() {
            return Ok(Directory::Root(root));
        }
        if !self.one_by_one.load(Ordering::Relaxed) {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            match rustix::fs::openat2(&root, path, WAY | OFlags::RDONLY, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Directory::Below(fd)),
                Err(Errno::NOSYS | Errno::PERM) => self.one_by_one.store(true, Ordering::Relaxed),
                Err(e) => return Err(e.into()),
            }
        }
        let mut at = Directory::Root(root);
        for name in path.components() {
            let fd = rustix::fs::openat(&at, name.as_os_str(), WAY | OFlags::RDONLY, Mode::empty())?;
            at = Directory::Below(fd);
        }
        Ok(at)
    }

    fn place<'a>(&self, at: At<'a>) -> io::Result<Place<'a>> {
        let Some(name) = at.path.file_name() else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a path without a name"));
        };
        Ok(Place { directory: self.directory(at.root, at.parent().path)?, name })
    }

    fn open_file(&self, at: At<'_>, flags: OFlags, mode: Mode) -> io::Result<File> {
        let Place { directory, name } = self.place(at)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(File::from(rustix::fs::openat(&directory, name, flags, mode)?))
    }
}

impl Disk for RealDisk {
    fn open_root(&self, path: &Path) -> io::Result<Root> {
        let fd = rustix::fs::openat(CWD, path, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(self.add(fd))
    }

    fn sub_root(&self, at: At<'_>) -> io::Result<Root> {
        let fd = match self.directory(at.root, at.path)? {
            Directory::Root(fd) => fd.try_clone()?,
            Directory::Below(fd) => fd,
        };
        Ok(self.add(fd))
    }

    fn metadata(&self, at: At<'_>) -> io::Result<Meta> {
        if at.path.as_os_str().is_empty() {
            return Ok(meta(&rustix::fs::fstat(self.root(at.root)?)?));
        }
        let Place { directory, name } = self.place(at)?;
        Ok(meta(&rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn list(&self, at: At<'_>) -> io::Result<Vec<OsString>> {
        // a handle of its own: the position in the list belongs to the handle
        let directory = self.directory(at.root, at.path)?;
        let fd = rustix::fs::openat(&directory, ".", WAY | OFlags::RDONLY, Mode::empty())?;
        let mut buffer = Vec::with_capacity(32 << 10);
        let mut names = Vec::new();
        let mut entries = RawDir::new(fd, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let name = entry?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
        }
        names.sort();
        Ok(names)
    }

    fn read_link(&self, at: At<'_>) -> io::Result<PathBuf> {
        let Place { directory, name } = self.place(at)?;
        let text = rustix::fs::readlinkat(&directory, name, Vec::new())?;
        Ok(PathBuf::from(OsString::from_vec(text.into_bytes())))
    }

    fn open(&self, at: At<'_>, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = if at.path.as_os_str().is_empty() {
            let root = self.root(at.root)?;
            File::from(rustix::fs::openat(&root, ".", WAY | OFlags::RDONLY, Mode::empty())?)
        } else {
            let flags = if access == Access::Write { OFlags::RDWR } else { OFlags::RDONLY };
            self.open_file(at, flags, Mode::empty())?
        };
        let kind = meta(&rustix::fs::fstat(&file)?).kind;
        match (kind, access) {
            (Kind::File, _) | (Kind::Directory, Access::Read) => Ok(Box::new(RealFile(file))),
            _ => Err(io::Error::other("it is no regular file")),
        }
    }

    fn lock(&self, at: At<'_>) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        let file = if at.path.as_os_str().is_empty() {
            let root = self.root(at.root)?;
            File::from(rustix::fs::openat(&root, ".", WAY | OFlags::RDONLY, Mode::empty())?)
        } else {
            self.open_file(at, OFlags::RDWR, Mode::empty())?
        };
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    fn same_mount(&self, a: Root, b: Root) -> io::Result<bool> {
        let identity = |root| -> io::Result<_> {
            let fd = self.root(root)?;
            let device = rustix::fs::fstat(&fd)?.st_dev;
            // bind mounts of one filesystem: same device, yet no rename from one to the other
            let mount = rustix::fs::statx(&fd, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)
                .ok()
                .filter(|s| s.stx_mask & StatxFlags::MNT_ID.bits() != 0)
                .map(|s| s.stx_mnt_id);
            Ok((device, mount))
        };
        Ok(identity(a)? == identity(b)?)
    }

    fn lasting(&self, root: Root) -> io::Result<bool> {
        let kind = rustix::fs::fstatfs(self.root(root)?)?.f_type as i64;
        Ok(![TMPFS, OVERLAY, RAMFS].contains(&kind))
    }

    fn user(&self) -> User {
        let mut gids = vec![rustix::process::getegid().as_raw()];
        gids.extend(rustix::process::getgroups().into_iter().flatten().map(Gid::as_raw));
        User { uid: rustix::process::geteuid().as_raw(), gids }
    }

    fn now(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
    }

    fn process_lives(&self, pid: i32) -> bool {
        let Some(pid) = rustix::process::Pid::from_raw(pid) else { return false };
        match rustix::process::test_kill_process(pid) {
            Ok(()) => true,
            // it is another user's
            Err(error) => error == Errno::PERM,
        }
    }

    fn server_in(&self, root: Root) -> io::Result<Option<i32>> {
        let Meta { device, inode, .. } = self.metadata(At::new(root, ""))?;
        Ok(processes::server_in(Identity { device, inode }))
    }

    fn free(&self, root: Root) -> io::Result<u64> {
        let space = rustix::fs::fstatvfs(self.root(root)?)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn create(&self, at: At<'_>, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let file = self.open_file(at, flags, Mode::from_raw_mode(mode))?;
        // the umask has its say only in files that nobody asked a mode for
        rustix::fs::fchmod(&file, Mode::from_raw_mode(mode))?;
        Ok(Box::new(RealFile(file)))
    }

    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let (from, to) = (self.place(from)?, self.place(to)?);
        Ok(rustix::fs::renameat(&from.directory, from.name, &to.directory, to.name)?)
    }

    fn unlink(&self, at: At<'_>) -> io::Result<()> {
        let Place { directory, name } = self.place(at)?;
        Ok(rustix::fs::unlinkat(&directory, name, AtFlags::empty())?)
    }

    fn mkdir(&self, at: At<'_>, mode: u32) -> io::Result<()> {
        let Place { directory, name } = self.place(at)?;
        rustix::fs::mkdirat(&directory, name, Mode::from_raw_mode(mode))?;
        let made = rustix::fs::openat(&directory, name, WAY | OFlags::RDONLY, Mode::empty())?;
        Ok(rustix::fs::fchmod(made, Mode::from_raw_mode(mode))?)
    }

    fn rmdir(&self, at: At<'_>) -> io::Result<()> {
        let Place { directory, name } = self.place(at)?;
        Ok(rustix::fs::unlinkat(&directory, name, AtFlags::REMOVEDIR)?)
    }

    fn symlink(&self, to: &Path, at: At<'_>) -> io::Result<()> {
        let Place { directory, name } = self.place(at)?;
        Ok(rustix::fs::symlinkat(to, &directory, name)?)
    }

    fn syncfs(&self, root: Root) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.root(root)?)?)
    }

    fn syncfs_tells(&self, root: Root) -> io::Result<bool> {
        let kind = rustix::fs::fstatfs(self.root(root)?)?.f_type as i64;
        let release = rustix::system::uname();
        Ok([EXT4, XFS, BTRFS].contains(&kind) && release.release().to_str().is_ok_and(tells))
    }

    fn clone_file(&self, from: &dyn DiskFile, to: &dyn DiskFile) -> io::Result<()> {
        let (from, to) = both(from, to)?;
        Ok(rustix::fs::ioctl_ficlone(to, from)?)
    }

    fn copy_range(&self, from: &dyn DiskFile, to: &dyn DiskFile, offset: u64, len: u64) -> io::Result<u64> {
        let (from, to) = both(from, to)?;
        let (mut read, mut written) = (offset, offset);
        let len = usize::try_from(len).unwrap_or(1 << 30);
        let n = rustix::fs::copy_file_range(from, Some(&mut read), to, Some(&mut written), len)?;
        Ok(n as u64)
    }
}

fn both<'a>(from: &'a dyn DiskFile, to: &'a dyn DiskFile) -> io::Result<(BorrowedFd<'a>, BorrowedFd<'a>)> {
    from.descriptor().zip(to.descriptor()).ok_or_else(|| io::ErrorKind::Unsupported.into())
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn metadata(&self) -> io::Result<Meta> {
        Ok(meta(&rustix::fs::fstat(&self.0)?))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn xattrs(&self) -> io::Result<Xattrs> {
        let mut list = vec![0u8; XATTR_MAX];
        let n = match rustix::fs::flistxattr(&self.0, &mut list[..]) {
            Ok(n) => n,
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            Err(e) => return Err(e.into()),
        };
        let mut found = Xattrs::new();
        let names = list.get(..n).unwrap_or_default().split(|b| *b == 0).filter(|name| !name.is_empty());
        let mut value = vec![0u8; if n == 0 { 0 } else { XATTR_MAX }];
        for name in names {
            let name = OsStr::from_bytes(name);
            let n = rustix::fs::fgetxattr(&self.0, name, &mut value[..])?;
            found.push((name.to_owned(), value.get(..n).unwrap_or_default().to_vec()));
        }
        found.sort();
        Ok(found)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(buf, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.0, Mode::from_raw_mode(mode))?)
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        Ok(rustix::fs::fchown(&self.0, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    fn set_times(&self, accessed: Stamp, modified: Stamp) -> io::Result<()> {
        let time = |Stamp(seconds, nanoseconds)| Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
        let times = Timestamps { last_access: time(accessed), last_modification: time(modified) };
        Ok(rustix::fs::futimens(&self.0, &times)?)
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::fsetxattr(&self.0, name, value, XattrFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.0)?)
    }
}

/// Whether `syncfs` of this kernel's release tells of failed writes: from 5.8 on (syncfs(2)).
fn tells(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= (5, 8))
}

fn meta(stat: &Stat) -> Meta {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Other,
    };
    Meta {
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        links: stat.st_nlink,
        device: stat.st_dev,
        inode: stat.st_ino,
        accessed: Stamp(stat.st_atime, stat.st_atime_nsec as u32),
        modified: Stamp(stat.st_mtime, stat.st_mtime_nsec as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::tells;

    #[test]
    fn releases_whose_syncfs_tells_of_failed_writes() {
        for release in ["5.8.0", "5.15.0-91-generic", "6.1", "6.18.44-fc"] {
            assert!(tells(release), "{release}");
        }
        for release in ["5.7.19", "4.18.0-553.el8.x86_64", "3.10.0", "", "6", "x.y"] {
            assert!(!tells(release), "{release}");
        }
    }
}
