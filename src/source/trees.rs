//! Both trees of files, listed and compared as pg_rewind lists them (links followed at `pg_wal` and in `pg_tblspc/`
//! only). Content is not read.

use std::cmp::Ordering;
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{self, AtomicBool};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, openat, readlinkat, statat};
use rustix::io::Errno;

use crate::pg::RelFile;
use crate::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};

/// What kind of entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Directory,
    Symlink,
    /// A socket, a FIFO or a device: pg_rewind leaves them alone.
    Other,
}

/// One entry of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Path within the data directory, bytes as the filesystem has them.
    pub path: &'a Path,
    /// What it is. A link at `pg_wal` counts as the directory that it leads to, and still has its `link`.
    pub kind: Kind,
    /// Size in bytes (files).
    pub size: u64,
    /// Permission bits (07777).
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Where a symlink points.
    pub link: Option<&'a Path>,
}

/// One entry as it is kept: 24 bytes beside its path.
#[derive(Debug, Clone, Copy)]
struct Packed {
    size: u64,
    path: u32,
    uid: u32,
    len: u16,
    mode: u16,
    kind: Kind,
}

/// The entries of one data directory, sorted by the bytes of their paths, as pg_rewind sorts them.
#[derive(Clone, Default)]
pub struct Tree {
    entries: Vec<Packed>,
    /// All paths, one behind the other.
    paths: Vec<u8>,
    /// Where symlinks point, by the offset of their path.
    links: Vec<(u32, PathBuf)>,
    /// Directories that could not be listed, with the reason.
    problems: Vec<(PathBuf, String)>,
}

/// Both trees; each sorted by path.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    /// Entries of the target.
    pub target: Tree,
    /// Entries of the source.
    pub source: Tree,
    /// Directories that could not be listed, with the reason.
    pub problems: Vec<(PathBuf, String)>,
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self).finish()
    }
}

impl Tree {
    /// Lists a data directory. Files that vanish meanwhile are left out; what else goes wrong is in
    /// [`Self::problems`], and the rest is listed all the same.
    pub fn read(root: &Path) -> Self {
        Self::until(root, &AtomicBool::new(false))
    }

    /// As [`Self::read`]; when `cancel` is set, it ends where it is.
    pub fn until(root: &Path, cancel: &AtomicBool) -> Self {
        let mut tree = Self::default();
        tree.list(root, cancel);
        tree.sort();
        tree
    }

    fn list(&mut self, root: &Path, cancel: &AtomicBool) {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let shows = super::view::is_view(root);
        let root_fd = match openat(CWD, root, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(e) => return self.problem(root.to_path_buf(), "could not be opened", e),
        };
        let mut names: Vec<MaybeUninit<u8>> = vec![MaybeUninit::uninit(); 32 << 10];
        // directories yet to list: where their path lies in `paths`, and whether a link leads there
        let mut queue: Vec<(u32, u16, bool)> = vec![(0, 0, true)];
        let mut prefix = Vec::new();
        while let Some((at, len, follow)) = queue.pop() {
            prefix.clear();
            prefix.extend_from_slice(slice(&self.paths, at, len));
            let full = || root.join(OsStr::from_bytes(slice(&self.paths, at, len)));
            let opened: Result<OwnedFd, Errno> = if len == 0 {
                openat(&root_fd, c".", flags, Mode::empty())
            } else {
                let flags = if follow { flags } else { flags | OFlags::NOFOLLOW };
                openat(&root_fd, prefix.as_slice(), flags, Mode::empty())
            };
            let fd = match opened {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                Err(e) => {
                    let path = full();
                    self.problem(path, "could not be opened", e);
                    continue;
                }
            };
            let in_tblspc = prefix == b"pg_tblspc";
            if !prefix.is_empty() {
                prefix.push(b'/');
            }
            let mut dir = RawDir::new(&fd, &mut names);
            while let Some(entry) = dir.next() {
                if cancel.load(atomic::Ordering::Relaxed) {
                    return;
                }
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(e) => {
                        let path = root.join(OsStr::from_bytes(&prefix));
                        self.problem(path, "could not be listed to its end", e);
                        break;
                    }
                };
                let name = entry.file_name();
                if matches!(name.to_bytes(), b"." | b"..") {
                    continue;
                }
                let stat = match statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) if shows => match statat(&fd, name, AtFlags::empty()) {
                        Ok(to) if FileType::from_raw_mode(to.st_mode) == FileType::RegularFile => to,
                        _ => stat,
                    },
                    Ok(stat) => stat,
                    Err(Errno::NOENT) => continue,
                    Err(e) => {
                        let path =
                            root.join(OsStr::from_bytes(&prefix)).join(OsStr::from_bytes(name.to_bytes()));
                        self.problem(path, "its status could not be read", e);
                        continue;
                    }
                };
                let mut kind = match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile => Kind::File,
                    FileType::Directory => Kind::Directory,
                    FileType::Symlink => Kind::Symlink,
                    _ => Kind::Other,
                };
                let path_len = prefix.len() + name.to_bytes().len();
                let (Ok(at), Ok(len)) = (u32::try_from(self.paths.len()), u16::try_from(path_len)) else {
                    let path = root.join(OsStr::from_bytes(&prefix));
                    self.problems.push((path, "has paths that are too long; left out".into()));
                    break;
                };
                self.paths.extend_from_slice(&prefix);
                self.paths.extend_from_slice(name.to_bytes());
                if kind == Kind::Symlink {
                    match readlinkat(&fd, name, Vec::new()) {
                        Ok(to) => self.links.push((at, PathBuf::from(OsStr::from_bytes(to.to_bytes())))),
                        Err(Errno::NOENT | Errno::INVAL) => {}
                        Err(e) => {
                            let path = root.join(OsStr::from_bytes(slice(&self.paths, at, len)));
                            self.problem(path, "the link could not be read", e);
                        }
                    }
                    let wal = matches!(slice(&self.paths, at, len), b"pg_wal" | b"pg_xlog");
                    if in_tblspc || wal {
                        let leads_to = statat(&fd, name, AtFlags::empty());
                        if leads_to.is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory) {
                            queue.push((at, len, true));
                        } else {
                            let path = root.join(OsStr::from_bytes(slice(&self.paths, at, len)));
                            self.problems.push((path, "the link leads to no directory".into()));
                        }
                    }
                    if wal {
                        kind = Kind::Directory;
                    }
                } else if kind == Kind::Directory {
                    queue.push((at, len, false));
                }
                let size = if kind == Kind::File { stat.st_size as u64 } else { 0 };
                let mode = (stat.st_mode & 0o7777) as u16;
                self.entries.push(Packed { size, path: at, uid: stat.st_uid, len, mode, kind });
            }
        }
    }

    fn problem(&mut self, path: PathBuf, what: &str, e: Errno) {
        self.problems.push((path, format!("{what}: {}", io::Error::from(e))));
    }

    fn sort(&mut self) {
        let paths = &self.paths;
        self.entries.sort_unstable_by(|a, b| slice(paths, a.path, a.len).cmp(slice(paths, b.path, b.len)));
        self.links.sort_unstable_by_key(|(at, _)| *at);
    }

    /// Number of entries.
    pub const fn len(&self) -> usize {
        self.entries.len()
    }

    /// True if nothing was listed.
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Directories that could not be listed, with the reason.
    pub fn problems(&self) -> &[(PathBuf, String)] {
        &self.problems
    }

    /// All entries, by the bytes of their paths.
    pub fn iter(&self) -> Iter<'_> {
        Iter { tree: self, entries: self.entries.iter() }
    }

    /// The entry of that path within the data directory.
    pub fn get(&self, path: &Path) -> Option<Entry<'_>> {
        let path = path.as_os_str().as_bytes();
        let found = self.entries.binary_search_by(|e| slice(&self.paths, e.path, e.len).cmp(path)).ok()?;
        self.entries.get(found).map(|e| self.entry(*e))
    }

    fn entry(&self, packed: Packed) -> Entry<'_> {
        let link = self.links.binary_search_by_key(&packed.path, |(at, _)| *at).ok();
        Entry {
            path: Path::new(OsStr::from_bytes(slice(&self.paths, packed.path, packed.len))),
            kind: packed.kind,
            size: packed.size,
            mode: u32::from(packed.mode),
            uid: packed.uid,
            link: link.and_then(|n| self.links.get(n)).map(|(_, to)| to.as_path()),
        }
    }
}

fn slice(paths: &[u8], at: u32, len: u16) -> &[u8] {
    paths.get(at as usize..at as usize + len as usize).unwrap_or_default()
}

/// Entries of a [`Tree`].
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    tree: &'a Tree,
    entries: std::slice::Iter<'a, Packed>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.entries.next().map(|e| self.tree.entry(*e))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.entries.size_hint()
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a Tree {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

impl<'a> FromIterator<Entry<'a>> for Tree {
    /// A tree of given entries, sorted. Entries whose paths are longer than 65,535 bytes are left out.
    fn from_iter<T: IntoIterator<Item = Entry<'a>>>(entries: T) -> Self {
        let mut tree = Self::default();
        for e in entries {
            let path = e.path.as_os_str().as_bytes();
            let (Ok(at), Ok(len)) = (u32::try_from(tree.paths.len()), u16::try_from(path.len())) else {
                continue;
            };
            tree.paths.extend_from_slice(path);
            if let Some(link) = e.link {
                tree.links.push((at, link.to_path_buf()));
            }
            let mode = (e.mode & 0o7777) as u16;
            tree.entries.push(Packed { size: e.size, path: at, uid: e.uid, len, mode, kind: e.kind });
        }
        tree.sort();
        tree
    }
}

/// A path of both trees, or of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pair<'a> {
    /// In the target only.
    Target(Entry<'a>),
    /// In the source only.
    Source(Entry<'a>),
    /// In both: the target's, the source's.
    Both(Entry<'a>, Entry<'a>),
}

impl Trees {
    /// Lists both data directories, each on a thread of its own.
    pub fn read(target: &Path, source: &Path) -> Self {
        Self::until(target, source, &AtomicBool::new(false))
    }

    /// As [`Self::read`]; when `cancel` is set, listing ends where it is.
    pub fn until(target: &Path, source: &Path, cancel: &AtomicBool) -> Self {
        let (target, source) = std::thread::scope(|scope| {
            let other = scope.spawn(|| Tree::until(source, cancel));
            (Tree::until(target, cancel), other.join())
        });
        let mut problems = target.problems.clone();
        let source = source.unwrap_or_else(|_| {
            problems.push((PathBuf::new(), "listing the source stopped early".into()));
            Tree::default()
        });
        problems.extend_from_slice(&source.problems);
        Self { target, source, problems }
    }

    /// Every path of either tree, in order, with its entries.
    pub fn pairs(&self) -> impl Iterator<Item = Pair<'_>> {
        let mut target = self.target.iter().peekable();
        let mut source = self.source.iter().peekable();
        std::iter::from_fn(move || {
            let order = match (target.peek(), source.peek()) {
                (Some(t), Some(s)) => t.path.as_os_str().as_bytes().cmp(s.path.as_os_str().as_bytes()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return None,
            };
            match order {
                Ordering::Less => target.next().map(Pair::Target),
                Ordering::Greater => source.next().map(Pair::Source),
                Ordering::Equal => target.next().zip(source.next()).map(|(t, s)| Pair::Both(t, s)),
            }
        })
    }

    /// Paths that are of different kinds in the two trees, the target's entry first: pg_rewind stops at the first.
    /// Sockets and the like do not count, as it does not see them.
    pub fn differing_types(&self) -> impl Iterator<Item = (Entry<'_>, Entry<'_>)> {
        self.pairs().filter_map(|pair| match pair {
            Pair::Both(t, s) if t.kind != s.kind && t.kind != Kind::Other && s.kind != Kind::Other => {
                Some((t, s))
            }
            _ => None,
        })
    }
}

/// A number as `%u` writes it: digits without leading zeros, below 2^32.
fn number(text: &[u8]) -> Option<u32> {
    let ok = match text {
        [b'0'] => true,
        [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    if ok { std::str::from_utf8(text).ok()?.parse().ok() } else { None }
}

/// `PG_<major>_<catalog version>`, the directory of one major in a tablespace.
fn is_version_directory(name: &[u8]) -> bool {
    let Some(rest) = name.strip_prefix(b"PG_") else { return false };
    let Some(bar) = rest.iter().position(|b| *b == b'_') else { return false };
    let (major, catalog) = rest.split_at(bar);
    let catalog = catalog.get(1..).unwrap_or_default();
    !major.is_empty()
        && major.iter().all(|b| b.is_ascii_digit() || *b == b'.')
        && catalog.len() == 9
        && catalog.iter().all(u8::is_ascii_digit)
}

/// The relation and the number of its 1 GB segment, if `path` (within the data directory) is what pg_rewind copies
/// block by block: exactly `global/N[.seg]`, `base/DB/N[.seg]` or `pg_tblspc/TS/PG_…/DB/N[.seg]`, of the main fork,
/// without leading zeros, segments from 1. pg_rewind knows one name of the `PG_…` directory, this takes any major's.
pub fn relation_file(path: &Path) -> Option<(RelFile, u32)> {
    let mut parts = path.as_os_str().as_bytes().split(|b| *b == b'/');
    let (spc, db) = match parts.next()? {
        b"global" => (GLOBAL_TABLESPACE, 0),
        b"base" => (DEFAULT_TABLESPACE, number(parts.next()?)?),
        b"pg_tblspc" => {
            let spc = number(parts.next()?)?;
            if spc == GLOBAL_TABLESPACE || spc == DEFAULT_TABLESPACE || !is_version_directory(parts.next()?) {
                return None;
            }
            (spc, number(parts.next()?)?)
        }
        _ => return None,
    };
    let file = parts.next()?;
    if parts.next().is_some() {
        return None;
    }
    let mut halves = file.splitn(2, |b| *b == b'.');
    let rel = number(halves.next()?)?;
    let segment = match halves.next() {
        None => 0,
        Some(text) => number(text).filter(|n| *n >= 1)?,
    };
    Some((RelFile { spc, db, rel }, segment))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn make(root: &Path, files: &[&str]) {
        for file in files {
            let path = root.join(file);
            if file.ends_with('/') {
                fs::create_dir_all(path).unwrap();
            } else {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, file).unwrap();
            }
        }
    }

    #[test]
    fn listing_ends_when_it_is_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("PG_VERSION"), "18").unwrap();
        let cancel = AtomicBool::new(false);
        assert_eq!(Tree::until(dir.path(), &cancel).len(), 1);
        cancel.store(true, atomic::Ordering::Relaxed);
        let trees = Trees::until(dir.path(), dir.path(), &cancel);
        assert!(trees.target.is_empty() && trees.source.is_empty() && trees.problems.is_empty());
    }

    #[test]
    fn lists_as_pg_rewind_does() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("data"), dir.path().join("outside"));
        make(&root, &["PG_VERSION", "base/5/1259", "base/5/1259_fsm", "base.x", "pg_tblspc/", "log/a"]);
        make(
            &outside,
            &["wal/000000010000000000000003", "wal/archive_status/x", "ts/PG_17_202406281/5/77", "etc/f"],
        );
        symlink(outside.join("wal"), root.join("pg_wal")).unwrap();
        symlink(outside.join("ts"), root.join("pg_tblspc/16384")).unwrap();
        symlink(&root, root.join("pg_tblspc/16385")).unwrap(); // leads back here
        symlink("gone", root.join("pg_tblspc/16386")).unwrap();
        symlink(outside.join("etc"), root.join("conf")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(root.join("fifo")).status().unwrap().success());
        fs::set_permissions(root.join("PG_VERSION"), fs::Permissions::from_mode(0o4640)).unwrap();
        let tree = Tree::read(&root);
        let paths: Vec<&str> = tree
            .iter()
            .map(|e| e.path.to_str().unwrap())
            .filter(|p| !p.starts_with("pg_tblspc/16385/"))
            .collect();
        assert_eq!(
            paths,
            [
                "PG_VERSION",
                "base",
                "base.x",
                "base/5",
                "base/5/1259",
                "base/5/1259_fsm",
                "conf",
                "fifo",
                "log",
                "log/a",
                "loop",
                "pg_tblspc",
                "pg_tblspc/16384",
                "pg_tblspc/16384/PG_17_202406281",
                "pg_tblspc/16384/PG_17_202406281/5",
                "pg_tblspc/16384/PG_17_202406281/5/77",
                "pg_tblspc/16385",
                "pg_tblspc/16386",
                "pg_wal",
                "pg_wal/000000010000000000000003",
                "pg_wal/archive_status",
                "pg_wal/archive_status/x",
            ]
        );
        let get = |p: &str| tree.get(Path::new(p)).unwrap();
        assert_eq!((get("PG_VERSION").mode, get("PG_VERSION").size), (0o4640, 10));
        assert_eq!((get("fifo").kind, get("conf").kind), (Kind::Other, Kind::Symlink));
        assert_eq!(get("conf").link, Some(outside.join("etc").as_path()));
        assert_eq!(
            (get("pg_wal").kind, get("pg_wal").link),
            (Kind::Directory, Some(outside.join("wal").as_path()))
        );
        assert_eq!(get("pg_tblspc/16384").kind, Kind::Symlink);
        // links below the link back are not followed again
        assert!(tree.get(Path::new("pg_tblspc/16385/pg_tblspc/16384")).is_some());
        assert!(tree.get(Path::new("pg_tblspc/16385/pg_tblspc/16384/PG_17_202406281")).is_none());
        let problems: Vec<_> =
            tree.problems().iter().map(|(p, w)| (p.file_name().unwrap(), w.as_str())).collect();
        assert_eq!(problems, [(OsStr::new("16386"), "the link leads to no directory")]);
    }

    #[test]
    fn pairs_and_types() {
        let dir = tempfile::tempdir().unwrap();
        let (t, s) = (dir.path().join("t"), dir.path().join("s"));
        make(&t, &["a", "b/c", "log/", "same"]);
        make(&s, &["b", "log/x", "same", "z"]);
        let trees = Trees::read(&t, &s);
        let differ: Vec<_> = trees.differing_types().map(|(t, s)| (t.path, t.kind, s.kind)).collect();
        assert_eq!(differ, [(Path::new("b"), Kind::Directory, Kind::File)]);
        let kinds: String = trees
            .pairs()
            .map(|p| match p {
                Pair::Target(_) => 't',
                Pair::Source(_) => 's',
                Pair::Both(..) => 'b',
            })
            .collect();
        assert_eq!(kinds, "tbtbsbs");
        let missing = Trees::read(&dir.path().join("nowhere"), &dir.path().join("t/a"));
        assert_eq!(missing.problems.len(), 2);
        let copy: Tree = trees.target.iter().collect();
        assert!(copy.iter().eq(trees.target.iter()));
    }

    #[test]
    fn relation_files() {
        let of = |p: &str| relation_file(Path::new(p)).map(|(r, n)| (r.spc, r.db, r.rel, n));
        assert_eq!(of("global/1262"), Some((1664, 0, 1262, 0)));
        assert_eq!(of("base/5/1259"), Some((1663, 5, 1259, 0)));
        assert_eq!(of("base/5/1259.12"), Some((1663, 5, 1259, 12)));
        assert_eq!(of("pg_tblspc/16384/PG_9.6_201608131/5/7"), Some((16384, 5, 7, 0)));
        assert_eq!(of("base/4294967295/4294967295"), Some((1663, u32::MAX, u32::MAX, 0)));
        for no in [
            "base/5/1259_fsm",
            "base/5/t3_16384",
            "base/5/01259",
            "base/5/1259.0",
            "base/5/1259.01",
            "base/5/1259.",
            "base/5/4294967296",
            "base/5",
            "base/5/PG_VERSION",
            "global/pg_control",
            "global/1262/1",
            "base/5/1/2",
            "pg_tblspc/16384/PG_17/5/7",
            "pg_tblspc/16384/x/5/7",
            "pg_tblspc/1663/PG_17_202406281/5/7",
            "base/5/+1",
            "base//1",
            "/base/5/1",
            "pg_wal/5/1",
            "base/5/1259.1.1",
            "",
        ] {
            assert_eq!(of(no), None, "{no}");
        }
    }

    proptest! {
        #[test]
        fn what_relfile_writes_is_recognised(spc in 1665..u32::MAX, db in any::<u32>(), rel in any::<u32>(), which in 0..3) {
            let spc = [spc, 1663, 1664][which as usize];
            let rel = RelFile { spc, db: if which == 2 { 0 } else { db }, rel };
            let path = rel.path(crate::pg::Fork::Main, "PG_17_202406281");
            prop_assert_eq!(relation_file(Path::new(&path)), Some((rel, 0)));
            let fsm = rel.path(crate::pg::Fork::Fsm, "PG_17_202406281");
            prop_assert_eq!(relation_file(Path::new(&fsm)), None);
        }

        #[test]
        fn junk_never_panics(path in "(base|global|pg_tblspc)?(/?[0-9A-Z_.]{0,9}){0,6}") {
            let _ = relation_file(Path::new(&path));
        }
    }

    /// Prints what listing costs; run by hand with `FORKPOINT_LIST=DIR`.
    #[test]
    fn listing_time() {
        let Some(root) = std::env::var_os("FORKPOINT_LIST").map(PathBuf::from) else { return };
        for _ in 0..5 {
            let started = Instant::now();
            let tree = Tree::read(&root);
            let took = started.elapsed();
            let memory = tree.entries.capacity() * size_of::<Packed>() + tree.paths.capacity();
            eprintln!(
                "{} entries: {took:?}, {} ns each, {memory} bytes",
                tree.len(),
                took.as_nanos() / tree.len().max(1) as u128
            );
        }
    }
}
