//! A filesystem in memory that knows what was synced. Each changing call can fail, be cut short or be the last one; then
//! what was not synced is forgotten, all of it or any part.
//!
//! It is as forgetful as POSIX allows: a file's sync says nothing of its name, calls are kept or lost independently of
//! their order, and of a write any beginning may be kept. Only a rename is one thing.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex};

use forkpoint::rewind::disk::{Access, At, Disk, DiskFile, Kind, Meta, Root, Stamp, User, Xattrs};

/// The device that every tree lies on, but those of `OTHER_DEVICE`.
const DEVICE: u64 = 7;
/// Trees below this path lie on a filesystem of their own.
pub const OTHER_DEVICE: &str = "other";
/// The time, always.
pub const NOW: i64 = 1_790_000_000;
/// As whom the program runs.
pub const USER: (u32, u32) = (1000, 1000);

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    uid: u32,
    gid: u32,
    device: u64,
    accessed: Stamp,
    modified: Stamp,
    xattrs: BTreeMap<OsString, Vec<u8>>,
    content: Arc<Vec<u8>>,
    names: BTreeMap<OsString, u64>,
    link: PathBuf,
}

/// One change that is not on disk yet.
#[derive(Debug, Clone)]
enum Effect {
    Write {
        node: u64,
        offset: usize,
        bytes: Vec<u8>,
        time: Stamp,
    },
    Length {
        node: u64,
        length: usize,
        time: Stamp,
    },
    Mode {
        node: u64,
        mode: u32,
    },
    Owner {
        node: u64,
        uid: u32,
        gid: u32,
    },
    Times {
        node: u64,
        accessed: Stamp,
        modified: Stamp,
    },
    Xattr {
        node: u64,
        name: OsString,
        value: Vec<u8>,
    },
    /// Names that go (only if they still are this node's) and come, all at once.
    Names {
        gone: Vec<(u64, OsString, u64)>,
        come: Vec<(u64, OsString, u64)>,
        time: Stamp,
    },
}

/// What happens to the changing calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The call with this number fails.
    Error(usize, i32),
    /// This call and all after it fail, reads too.
    Kill(usize),
    /// As `Kill`, but half of this call, if it writes, is done.
    Short(usize),
}

/// What of the unsynced is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lose {
    Nothing,
    Everything,
    /// By chance, from this seed.
    Some(u64),
}

#[derive(Debug, Clone)]
struct State {
    live: BTreeMap<u64, Node>,
    durable: BTreeMap<u64, Node>,
    pending: Vec<Effect>,
    roots: Vec<u64>,
    next: u64,
    clock: u32,
    calls: usize,
    fault: Fault,
    dead: bool,
    /// Bytes of files that fit.
    room: Option<u64>,
    /// What `syncfs_tells` says.
    syncfs_tells: bool,
}

/// The filesystem.
#[derive(Debug)]
pub struct MemoryDisk(Arc<Mutex<State>>);

const TOP: u64 = 1;

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

fn os(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

impl Node {
    fn new(kind: Kind, mode: u32, device: u64, time: Stamp) -> Self {
        Self {
            kind,
            mode,
            uid: USER.0,
            gid: USER.1,
            device,
            accessed: time,
            modified: time,
            xattrs: BTreeMap::new(),
            content: Arc::default(),
            names: BTreeMap::new(),
            link: PathBuf::new(),
        }
    }
}

fn perform(nodes: &mut BTreeMap<u64, Node>, effect: &Effect) {
    match effect {
        Effect::Write { node, offset, bytes, time } => {
            let node = nodes.get_mut(node).unwrap();
            let content = Arc::make_mut(&mut node.content);
            if content.len() < offset + bytes.len() {
                content.resize(offset + bytes.len(), 0);
            }
            content[*offset..offset + bytes.len()].copy_from_slice(bytes);
            node.modified = *time;
        }
        Effect::Length { node, length, time } => {
            let node = nodes.get_mut(node).unwrap();
            Arc::make_mut(&mut node.content).resize(*length, 0);
            node.modified = *time;
        }
        Effect::Mode { node, mode } => nodes.get_mut(node).unwrap().mode = *mode,
        Effect::Owner { node, uid, gid } => {
            let node = nodes.get_mut(node).unwrap();
            (node.uid, node.gid) = (*uid, *gid);
        }
        Effect::Times { node, accessed, modified } => {
            let node = nodes.get_mut(node).unwrap();
            (node.accessed, node.modified) = (*accessed, *modified);
        }
        Effect::Xattr { node, name, value } => {
            nodes.get_mut(node).unwrap().xattrs.insert(name.clone(), value.clone());
        }
        Effect::Names { gone, come, time } => {
            for (directory, name, node) in gone {
                let directory = nodes.get_mut(directory).unwrap();
                if directory.names.get(name) == Some(node) {
                    directory.names.remove(name);
                }
                directory.modified = *time;
            }
            for (directory, name, node) in come {
                let directory = nodes.get_mut(directory).unwrap();
                directory.names.insert(name.clone(), *node);
                directory.modified = *time;
            }
        }
    }
}

/// xorshift64*: chance that comes out the same for the same seed.
pub fn chance(seed: &mut u64) -> u64 {
    *seed ^= *seed >> 12;
    *seed ^= *seed << 25;
    *seed ^= *seed >> 27;
    seed.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32
}

impl State {
    fn time(&mut self) -> Stamp {
        self.clock += 1;
        Stamp(NOW, self.clock)
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    /// Counts a changing call; `Ok(true)`: half of it is done, and it is the last.
    fn call(&mut self) -> io::Result<bool> {
        self.alive()?;
        self.calls += 1;
        match self.fault {
            Fault::Error(at, code) if at == self.calls => Err(os(code)),
            Fault::Kill(at) if at == self.calls => {
                self.dead = true;
                Err(io::Error::other("killed"))
            }
            Fault::Short(at) if at == self.calls => {
                self.dead = true;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// A call that is done whole or not at all.
    fn whole_call(&mut self) -> io::Result<()> {
        if self.call()? { Err(io::Error::other("killed")) } else { Ok(()) }
    }

    fn change(&mut self, effect: Effect) {
        perform(&mut self.live, &effect);
        self.pending.push(effect);
    }

    fn sync(&mut self, wanted: impl Fn(&Effect) -> bool) {
        let (done, rest): (Vec<_>, Vec<_>) = self.pending.drain(..).partition(|e| wanted(e));
        for effect in &done {
            perform(&mut self.durable, effect);
        }
        self.pending = rest;
    }

    fn used(&self) -> u64 {
        let mut reachable = BTreeSet::new();
        let mut todo = vec![TOP];
        while let Some(node) = todo.pop() {
            if reachable.insert(node) {
                todo.extend(self.live[&node].names.values());
            }
        }
        reachable.iter().map(|n| self.live[n].content.len() as u64 + 256).sum()
    }

    fn need(&self, bytes: u64) -> io::Result<()> {
        match self.room {
            Some(room) if self.used() + bytes > room => Err(os(ENOSPC)),
            _ => Ok(()),
        }
    }

    fn walk(&self, from: u64, path: &Path) -> io::Result<u64> {
        let mut at = from;
        for name in path.components() {
            let Component::Normal(name) = name else { return Err(error(io::ErrorKind::InvalidInput)) };
            let node = &self.live[&at];
            if node.kind != Kind::Directory {
                return Err(error(io::ErrorKind::NotADirectory));
            }
            at = *node.names.get(name).ok_or_else(|| error(io::ErrorKind::NotFound))?;
        }
        Ok(at)
    }

    /// By an absolute path, following links.
    fn resolve(&self, path: &Path, depth: u32) -> io::Result<u64> {
        assert!(depth < 10, "links in a circle");
        let mut at = TOP;
        let mut here = PathBuf::from("/");
        for name in path.components() {
            let name = match name {
                Component::RootDir | Component::CurDir => continue,
                Component::Normal(name) => name,
                _ => return Err(error(io::ErrorKind::InvalidInput)),
            };
            let node = self.live[&at].names.get(name).ok_or_else(|| error(io::ErrorKind::NotFound))?;
            let found = &self.live[node];
            at = if found.kind == Kind::Symlink {
                self.resolve(&here.join(&found.link), depth + 1)?
            } else {
                *node
            };
            here.push(name);
        }
        Ok(at)
    }

    fn at(&self, at: At<'_>) -> io::Result<u64> {
        self.alive()?;
        self.walk(self.roots[at.root.0], at.path)
    }

    fn place(&self, at: At<'_>) -> io::Result<(u64, OsString)> {
        let name = at.path.file_name().ok_or_else(|| error(io::ErrorKind::InvalidInput))?;
        let directory = self.at(at.parent())?;
        if self.live[&directory].kind != Kind::Directory {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        Ok((directory, name.to_owned()))
    }

    fn meta(&self, number: u64) -> Meta {
        let node = &self.live[&number];
        let links =
            self.live.values().flat_map(|n| n.names.values()).filter(|n| **n == number).count() as u64;
        Meta {
            kind: node.kind,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            size: node.content.len() as u64,
            links,
            device: node.device,
            inode: number,
            accessed: node.accessed,
            modified: node.modified,
        }
    }

    fn add(&mut self, at: At<'_>, kind: Kind, mode: u32) -> io::Result<u64> {
        let (directory, name) = self.place(at)?;
        if self.live[&directory].names.contains_key(&name) {
            return Err(error(io::ErrorKind::AlreadyExists));
        }
        self.whole_call()?;
        self.need(256)?;
        let time = self.time();
        let number = self.next;
        self.next += 1;
        let device = if name == OTHER_DEVICE { DEVICE + 1 } else { self.live[&directory].device };
        let node = Node::new(kind, mode, device, time);
        self.live.insert(number, node.clone());
        self.durable.insert(number, node);
        self.change(Effect::Names { gone: vec![], come: vec![(directory, name, number)], time });
        Ok(number)
    }
}

/// What can be seen of an entry, but for the identity of its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub kind: Kind,
    pub mode: u32,
    pub owner: (u32, u32),
    pub times: Option<(Stamp, Stamp)>,
    pub xattrs: Vec<(OsString, Vec<u8>)>,
    pub content: Vec<u8>,
    pub link: PathBuf,
    /// Other names of the same file in the tree.
    pub same: Vec<PathBuf>,
}

impl MemoryDisk {
    pub fn new() -> Self {
        let top = Node::new(Kind::Directory, 0o755, DEVICE, Stamp(NOW, 0));
        let nodes = BTreeMap::from([(TOP, top)]);
        Self(Arc::new(Mutex::new(State {
            live: nodes.clone(),
            durable: nodes,
            pending: Vec::new(),
            roots: Vec::new(),
            next: TOP + 1,
            clock: 0,
            calls: 0,
            fault: Fault::None,
            dead: false,
            room: None,
            syncfs_tells: true,
        })))
    }

    /// As an old kernel: syncing the whole says nothing of a file that did not reach the disk.
    pub fn hide_errors_of_syncfs(&self) {
        self.0.lock().unwrap().syncfs_tells = false;
    }

    /// The same state once more.
    pub fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(self.0.lock().unwrap().clone())))
    }

    /// From now on this goes wrong, counted from 1.
    pub fn arm(&self, fault: Fault) {
        let mut state = self.0.lock().unwrap();
        state.fault = fault;
        state.calls = 0;
    }

    /// Changing calls since it was armed.
    pub fn calls(&self) -> usize {
        self.0.lock().unwrap().calls
    }

    /// Bytes of files that fit, beside those that are there now.
    pub fn leave_room(&self, bytes: Option<u64>) {
        let mut state = self.0.lock().unwrap();
        state.room = bytes.map(|bytes| state.used() + bytes);
    }

    /// Everything is on disk.
    pub fn settle(&self) {
        self.0.lock().unwrap().sync(|_| true);
    }

    /// The machine starts again; what was not synced is there or not.
    pub fn restart(&self, lose: Lose) {
        let mut state = self.0.lock().unwrap();
        let effects = std::mem::take(&mut state.pending);
        let mut seed = if let Lose::Some(seed) = lose { seed | 1 } else { 1 };
        for mut effect in effects {
            let keep = match lose {
                Lose::Nothing => true,
                Lose::Everything => false,
                Lose::Some(_) => {
                    let luck = chance(&mut seed) % 8;
                    if let (Effect::Write { bytes, .. }, 0) = (&mut effect, luck) {
                        // a part of it
                        let keep = chance(&mut seed) as usize % (bytes.len() + 1);
                        bytes.truncate(keep);
                    }
                    luck < 4
                }
            };
            if keep {
                perform(&mut state.durable, &effect);
            }
        }
        state.live = state.durable.clone();
        state.roots.clear();
        state.fault = Fault::None;
        state.dead = false;
        state.calls = 0;
    }

    /// A second name for a file.
    pub fn link(&self, from: At<'_>, to: At<'_>) {
        let mut state = self.0.lock().unwrap();
        let node = state.at(from).unwrap();
        let (directory, name) = state.place(to).unwrap();
        let time = state.time();
        state.change(Effect::Names { gone: vec![], come: vec![(directory, name, node)], time });
    }

    /// All entries below a directory, those behind links not among them.
    pub fn tree(&self, path: &Path, times: bool) -> BTreeMap<PathBuf, Seen> {
        let state = self.0.lock().unwrap();
        let mut found = BTreeMap::new();
        let mut names: BTreeMap<u64, Vec<PathBuf>> = BTreeMap::new();
        let mut todo = vec![(PathBuf::new(), state.resolve(path, 0).unwrap())];
        while let Some((path, number)) = todo.pop() {
            let node = &state.live[&number];
            names.entry(number).or_default().push(path.clone());
            todo.extend(node.names.iter().map(|(name, n)| (path.join(name), *n)));
            let seen = Seen {
                kind: node.kind,
                mode: node.mode,
                owner: (node.uid, node.gid),
                times: times.then_some((node.accessed, node.modified)),
                xattrs: node.xattrs.clone().into_iter().collect(),
                content: node.content.to_vec(),
                link: node.link.clone(),
                same: Vec::new(),
            };
            found.insert(path, seen);
        }
        for paths in names.values().filter(|paths| paths.len() > 1) {
            for path in paths {
                let mut same: Vec<_> = paths.iter().filter(|p| *p != path).cloned().collect();
                same.sort();
                found.get_mut(path).unwrap().same = same;
            }
        }
        found
    }
}

struct MemoryFile {
    state: Arc<Mutex<State>>,
    node: u64,
}

impl MemoryFile {
    fn change(&self, effect: impl FnOnce(u64, Stamp) -> Effect) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.whole_call()?;
        let time = state.time();
        state.change(effect(self.node, time));
        Ok(())
    }
}

impl DiskFile for MemoryFile {
    fn metadata(&self) -> io::Result<Meta> {
        let state = self.state.lock().unwrap();
        state.alive()?;
        Ok(state.meta(self.node))
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock().unwrap();
        state.alive()?;
        let rest = state.live[&self.node].content.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn xattrs(&self) -> io::Result<Xattrs> {
        let state = self.state.lock().unwrap();
        state.alive()?;
        Ok(state.live[&self.node].xattrs.clone().into_iter().collect())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<usize> {
        let mut state = self.state.lock().unwrap();
        let short = state.call()?;
        let grown = (offset + buf.len() as u64).saturating_sub(state.live[&self.node].content.len() as u64);
        if grown > 0 {
            state.need(grown)?;
        }
        // never all at once: whoever writes has to look at the answer
        let n = if short || buf.len() > 5000 { buf.len() / 2 } else { buf.len() };
        let time = state.time();
        let bytes = buf[..n].to_vec();
        state.change(Effect::Write { node: self.node, offset: offset as usize, bytes, time });
        if short { Err(io::Error::other("killed")) } else { Ok(n) }
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(|node, time| Effect::Length { node, length: len as usize, time })
    }

    fn set_mode(&self, mode: u32) -> io::Result<()> {
        self.change(|node, _| Effect::Mode { node, mode })
    }

    fn set_owner(&self, uid: u32, gid: u32) -> io::Result<()> {
        if (uid, gid) != USER {
            return Err(error(io::ErrorKind::PermissionDenied));
        }
        self.change(|node, _| Effect::Owner { node, uid, gid })
    }

    fn set_times(&self, accessed: Stamp, modified: Stamp) -> io::Result<()> {
        self.change(|node, _| Effect::Times { node, accessed, modified })
    }

    fn set_xattr(&self, name: &OsStr, value: &[u8]) -> io::Result<()> {
        self.change(|node, _| Effect::Xattr { node, name: name.to_owned(), value: value.to_vec() })
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state.lock().unwrap();
        state.whole_call()?;
        let wanted = self.node;
        state.sync(|effect| match effect {
            Effect::Write { node, .. }
            | Effect::Length { node, .. }
            | Effect::Mode { node, .. }
            | Effect::Owner { node, .. }
            | Effect::Times { node, .. }
            | Effect::Xattr { node, .. } => *node == wanted,
            Effect::Names { gone, come, .. } => gone.iter().chain(come).any(|(d, ..)| *d == wanted),
        });
        Ok(())
    }
}

impl Disk for MemoryDisk {
    fn open_root(&self, path: &Path) -> io::Result<Root> {
        let mut state = self.0.lock().unwrap();
        state.alive()?;
        let node = state.resolve(path, 0)?;
        if state.live[&node].kind != Kind::Directory {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        state.roots.push(node);
        Ok(Root(state.roots.len() - 1))
    }

    fn sub_root(&self, at: At<'_>) -> io::Result<Root> {
        let mut state = self.0.lock().unwrap();
        let node = state.at(at)?;
        if state.live[&node].kind != Kind::Directory {
            return Err(error(io::ErrorKind::NotADirectory));
        }
        state.roots.push(node);
        Ok(Root(state.roots.len() - 1))
    }

    fn metadata(&self, at: At<'_>) -> io::Result<Meta> {
        let state = self.0.lock().unwrap();
        Ok(state.meta(state.at(at)?))
    }

    fn list(&self, at: At<'_>) -> io::Result<Vec<OsString>> {
        let state = self.0.lock().unwrap();
        Ok(state.live[&state.at(at)?].names.keys().cloned().collect())
    }

    fn read_link(&self, at: At<'_>) -> io::Result<PathBuf> {
        let state = self.0.lock().unwrap();
        Ok(state.live[&state.at(at)?].link.clone())
    }

    fn open(&self, at: At<'_>, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let state = self.0.lock().unwrap();
        let node = state.at(at)?;
        match (state.live[&node].kind, access) {
            (Kind::File, _) | (Kind::Directory, Access::Read) => {
                Ok(Box::new(MemoryFile { state: Arc::clone(&self.0), node }))
            }
            _ => Err(io::Error::other("it is no regular file")),
        }
    }

    fn lock(&self, at: At<'_>) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        self.0.lock().unwrap().at(at)?;
        Ok(Some(Box::new(())))
    }

    fn same_mount(&self, a: Root, b: Root) -> io::Result<bool> {
        let state = self.0.lock().unwrap();
        state.alive()?;
        let device = |root: Root| state.live[&state.roots[root.0]].device;
        Ok(device(a) == device(b))
    }

    fn lasting(&self, _: Root) -> io::Result<bool> {
        Ok(true)
    }

    fn user(&self) -> User {
        User { uid: USER.0, gids: vec![USER.1] }
    }

    fn now(&self) -> i64 {
        NOW
    }

    fn process_lives(&self, _: i32) -> bool {
        true
    }

    fn server_in(&self, _: Root) -> io::Result<Option<i32>> {
        Ok(None)
    }

    fn free(&self, _: Root) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn create(&self, at: At<'_>, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let node = self.0.lock().unwrap().add(at, Kind::File, mode)?;
        Ok(Box::new(MemoryFile { state: Arc::clone(&self.0), node }))
    }

    fn rename(&self, from: At<'_>, to: At<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let node = state.at(from)?;
        let ((from, old), (to, new)) = (state.place(from)?, state.place(to)?);
        if state.live[&from].device != state.live[&to].device {
            return Err(error(io::ErrorKind::CrossesDevices));
        }
        state.whole_call()?;
        let time = state.time();
        state.change(Effect::Names { gone: vec![(from, old, node)], come: vec![(to, new, node)], time });
        Ok(())
    }

    fn unlink(&self, at: At<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let node = state.at(at)?;
        if state.live[&node].kind == Kind::Directory {
            return Err(error(io::ErrorKind::IsADirectory));
        }
        let (directory, name) = state.place(at)?;
        state.whole_call()?;
        let time = state.time();
        state.change(Effect::Names { gone: vec![(directory, name, node)], come: vec![], time });
        Ok(())
    }

    fn mkdir(&self, at: At<'_>, mode: u32) -> io::Result<()> {
        self.0.lock().unwrap().add(at, Kind::Directory, mode).map(|_| ())
    }

    fn rmdir(&self, at: At<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let node = state.at(at)?;
        if !state.live[&node].names.is_empty() {
            return Err(error(io::ErrorKind::DirectoryNotEmpty));
        }
        let (directory, name) = state.place(at)?;
        state.whole_call()?;
        let time = state.time();
        state.change(Effect::Names { gone: vec![(directory, name, node)], come: vec![], time });
        Ok(())
    }

    fn symlink(&self, to: &Path, at: At<'_>) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        let node = state.add(at, Kind::Symlink, 0o777)?;
        // a link's text comes and goes with its name
        to.clone_into(&mut state.live.get_mut(&node).unwrap().link);
        to.clone_into(&mut state.durable.get_mut(&node).unwrap().link);
        Ok(())
    }

    fn syncfs(&self, _: Root) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.whole_call()?;
        state.sync(|_| true);
        Ok(())
    }

    fn syncfs_tells(&self, _: Root) -> io::Result<bool> {
        Ok(self.0.lock().unwrap().syncfs_tells)
    }

    fn clone_file(&self, _: &dyn DiskFile, _: &dyn DiskFile) -> io::Result<()> {
        Err(error(io::ErrorKind::Unsupported))
    }

    fn copy_range(&self, from: &dyn DiskFile, to: &dyn DiskFile, offset: u64, len: u64) -> io::Result<u64> {
        let mut bytes = vec![0; len.min(6000) as usize];
        let n = from.read_at(&mut bytes, offset)?;
        Ok(to.write_at(&bytes[..n], offset)? as u64)
    }
}
