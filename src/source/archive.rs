//! Names of WAL files in a WAL directory and in the layouts that archives have, without opening any of them.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pg::{SegmentSize, TimelineId, WalName};

/// How deep an archive is searched: a pgBackRest repository given by its root needs five.
const MAX_DEPTH: usize = 6;
/// How many entries of one archive are looked at before the rest is left out, and that said.
const MAX_ENTRIES: u64 = 5_000_000;
/// Directories that hold backups or live data, never archived WAL: they may have millions of files.
const NOT_WAL: [&[u8]; 7] =
    [b"base", b"backup", b"global", b"pg_tblspc", b"archive_status", b"summaries", b"lost+found"];
/// What archives append for compression and encryption; the content decides what it really is.
const SUFFIXES: [&[u8]; 20] = [
    b"gz", b"z", b"Z", b"zst", b"zstd", b"lz4", b"bz2", b"xz", b"lzma", b"lzo", b"br", b"sz", b"snappy",
    b"gpg", b"pgp", b"asc", b"age", b"enc", b"aes", b"crypt",
];

/// What a file's name in an archive says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedName {
    /// The name that PostgreSQL knows.
    pub name: WalName,
    /// It has a checksum or a suffix appended.
    pub decorated: bool,
}

/// Reads a name as it lies in an archive: PostgreSQL's, then perhaps `-<40 hex digits>` (pgBackRest), then perhaps
/// suffixes of compression and encryption, `.partial` before or after them (pg_receivewal writes `….gz.partial`).
pub fn parse_name(name: &[u8], size: SegmentSize) -> Option<ArchivedName> {
    let plain = |name: &[u8]| WalName::parse(std::str::from_utf8(name).ok()?, size);
    if let Some(name) = plain(name) {
        return Some(ArchivedName { name, decorated: false });
    }
    let mut rest = name;
    let mut partial = false;
    for _ in 0..4 {
        let Some(dot) = rest.iter().rposition(|b| *b == b'.') else { break };
        let (before, suffix) = rest.split_at(dot);
        let suffix = suffix.get(1..)?;
        if suffix == b"partial" && !partial {
            partial = true;
        } else if !SUFFIXES.contains(&suffix) {
            break;
        }
        rest = before;
    }
    if let Some((before, hash)) = rest.len().checked_sub(41).and_then(|at| rest.split_at_checked(at))
        && let Some((b'-', hex)) = hash.split_first()
        && hex.iter().all(u8::is_ascii_hexdigit)
    {
        rest = before;
        if let Some(before) = rest.strip_suffix(b".partial") {
            partial = true;
            rest = before;
        }
    }
    let name = match (plain(rest)?, partial) {
        (WalName::Segment(tli, segno), true) => WalName::Partial(tli, segno),
        (_, true) => return None,
        (name, false) => name,
    };
    Some(ArchivedName { name, decorated: true })
}

/// Where a file lies, as seen from one side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The side's own WAL directory.
    Own,
    /// An archive, by its index in the list that was given.
    Archive(usize),
    /// The restore command brought it.
    Restored,
}

/// A segment's file: 24 bytes each, for directories with 100,000 of them.
#[derive(Debug, Clone, Copy)]
struct Item {
    segno: u64,
    timeline: TimelineId,
    dir: u32,
    /// What follows the 24 digits: offset into the arena and length.
    suffix: (u32, u16),
    partial: bool,
}

/// A file with another WAL name: a history or a record of a base backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) name: WalName,
    pub(super) place: Place,
    pub(super) path: PathBuf,
}

/// The names in a WAL directory and any number of archives.
#[derive(Debug)]
pub(super) struct Listing {
    size: SegmentSize,
    dirs: Vec<(PathBuf, Place)>,
    items: Vec<Item>,
    arena: Vec<u8>,
    /// Histories and backup records, own ones first.
    pub(super) named: Vec<Named>,
    /// Directories that could not be listed, and names that do not fit, each with a sentence.
    pub(super) problems: Vec<(PathBuf, String)>,
    seen: HashSet<(u64, u64)>,
    /// Set when the work is to stop: listing ends where it is.
    cancel: Arc<AtomicBool>,
}

impl Listing {
    pub(super) fn new(size: SegmentSize, cancel: Arc<AtomicBool>) -> Self {
        Self {
            size,
            dirs: Vec::new(),
            items: Vec::new(),
            arena: Vec::new(),
            named: Vec::new(),
            problems: Vec::new(),
            seen: HashSet::new(),
            cancel,
        }
    }

    /// Lists `root`: a WAL directory itself only, an archive with what is below it. Links to directories are
    /// followed; a directory that was listed before is left out.
    pub(super) fn add(&mut self, root: &Path, place: Place) {
        let mut left = MAX_ENTRIES;
        let mut misfits: (u64, Option<PathBuf>) = (0, None);
        let mut queue = vec![(root.to_path_buf(), 0)];
        while let Some((dir, depth)) = queue.pop() {
            if self.cancel.load(Ordering::Relaxed) {
                return;
            }
            let entries = std::fs::metadata(&dir).and_then(|meta| {
                if !meta.is_dir() {
                    return Err(io::ErrorKind::NotADirectory.into());
                }
                if !self.seen.insert((meta.dev(), meta.ino())) {
                    return Ok(None);
                }
                std::fs::read_dir(&dir).map(Some)
            });
            let entries = match entries {
                Ok(Some(entries)) => entries,
                Ok(None) => continue,
                Err(e) => {
                    self.problems.push((dir, format!("could not be listed: {e}")));
                    continue;
                }
            };
            let index = self.dirs.len() as u32;
            self.dirs.push((dir.clone(), place));
            let mut below = Vec::new();
            for entry in entries {
                let entry = match entry {
                    Ok(entry) => entry,
                    Err(e) => {
                        self.problems.push((dir.clone(), format!("could not be listed to its end: {e}")));
                        break;
                    }
                };
                if left == 0 || self.cancel.load(Ordering::Relaxed) {
                    break;
                }
                left -= 1;
                let name = entry.file_name();
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() || (kind.is_symlink() && parse_name(name.as_bytes(), self.size).is_none()) {
                    let search = !matches!(place, Place::Own)
                        && depth < MAX_DEPTH
                        && !NOT_WAL.contains(&name.as_bytes())
                        && (kind.is_dir() || entry.path().is_dir());
                    if search {
                        below.push((entry.path(), depth + 1));
                    }
                    continue;
                }
                self.file(&name, index, place, &entry, &mut misfits);
            }
            // popped from the end: in the order of their names
            below.sort_unstable_by(|a, b| b.cmp(a));
            queue.append(&mut below);
        }
        if left == 0 {
            self.problems.push((
                root.to_path_buf(),
                format!("has more than {MAX_ENTRIES} entries; the rest was not looked at"),
            ));
        }
        if let (count @ 1.., Some(path)) = misfits {
            let what =
                format!("{count} name(s) like this one are of another segment size than {}", self.size);
            self.problems.push((path, what));
        }
    }

    fn file(
        &mut self,
        name: &OsStr,
        dir: u32,
        place: Place,
        entry: &std::fs::DirEntry,
        misfits: &mut (u64, Option<PathBuf>),
    ) {
        let bytes = name.as_bytes();
        match parse_name(bytes, self.size).map(|n| n.name) {
            Some(WalName::Segment(timeline, segno)) => self.item(timeline, segno, false, dir, bytes),
            Some(WalName::Partial(timeline, segno)) => self.item(timeline, segno, true, dir, bytes),
            Some(name) => self.named.push(Named { name, place, path: entry.path() }),
            None if SegmentSize::new(1 << 20).is_some_and(|least| parse_name(bytes, least).is_some()) => {
                misfits.0 += 1;
                misfits.1.get_or_insert_with(|| entry.path());
            }
            None => {}
        }
    }

    fn item(&mut self, timeline: TimelineId, segno: u64, partial: bool, dir: u32, name: &[u8]) {
        let suffix = name.get(24..).unwrap_or_default();
        // the arena ends where its offsets do; names are at most 255 bytes
        let (Ok(at), Ok(len)) = (u32::try_from(self.arena.len()), u16::try_from(suffix.len())) else {
            return;
        };
        self.arena.extend_from_slice(suffix);
        self.items.push(Item { segno, timeline, dir, suffix: (at, len), partial });
    }

    /// Sorts; to be called once, after the last [`Self::add`].
    pub(super) fn finish(&mut self) {
        let own = |dir: u32| matches!(self.dirs.get(dir as usize), Some((_, Place::Own)));
        let arena = &self.arena;
        self.items.sort_unstable_by_key(|i| {
            let suffix = suffix(arena, i.suffix);
            (i.timeline, i.segno, !own(i.dir), i.partial, i.dir, suffix.len(), suffix)
        });
        self.named.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
        self.items.shrink_to_fit();
        self.arena.shrink_to_fit();
    }

    /// The files of one segment, best first: place, path, whether it is a `.partial`.
    pub(super) fn files(
        &self,
        timeline: TimelineId,
        segno: u64,
    ) -> impl Iterator<Item = (Place, PathBuf, bool)> + '_ {
        let from = self.items.partition_point(|i| (i.timeline, i.segno) < (timeline, segno));
        let items = self.items.get(from..).unwrap_or_default();
        let name = WalName::Segment(timeline, segno).file_name(self.size);
        items.iter().take_while(move |i| (i.timeline, i.segno) == (timeline, segno)).filter_map(move |i| {
            let (dir, place) = self.dirs.get(i.dir as usize)?;
            let mut name = name.clone().into_bytes();
            name.extend_from_slice(suffix(&self.arena, i.suffix));
            Some((*place, dir.join(OsStr::from_bytes(&name)), i.partial))
        })
    }

    /// Numbers of the segments of a timeline, ascending, each once.
    pub(super) fn segments(&self, timeline: TimelineId) -> impl DoubleEndedIterator<Item = u64> + '_ {
        let of = self.of(timeline);
        of.iter().enumerate().filter_map(move |(n, item)| {
            let before = n.checked_sub(1).and_then(|n| of.get(n));
            before.is_none_or(|b| b.segno != item.segno).then_some(item.segno)
        })
    }

    /// Timelines that have segments, ascending.
    pub(super) fn timelines(&self) -> Vec<TimelineId> {
        let mut timelines = Vec::new();
        let mut rest = self.items.as_slice();
        while let Some(first) = rest.first() {
            timelines.push(first.timeline);
            let n = rest.partition_point(|i| i.timeline <= first.timeline);
            rest = rest.get(n..).unwrap_or_default();
        }
        timelines
    }

    fn of(&self, timeline: TimelineId) -> &[Item] {
        let from = self.items.partition_point(|i| i.timeline < timeline);
        let to = self.items.partition_point(|i| i.timeline <= timeline);
        self.items.get(from..to).unwrap_or_default()
    }
}

fn suffix(arena: &[u8], (at, len): (u32, u16)) -> &[u8] {
    arena.get(at as usize..at as usize + len as usize).unwrap_or_default()
}

/// Whether a directory can be listed.
///
/// # Errors
/// It is not there, is no directory, or may not be read.
pub fn listable(dir: &Path) -> io::Result<()> {
    std::fs::read_dir(dir).map(|_| ())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_archives_give() {
        let size = SegmentSize::DEFAULT;
        let sha = "0123456789abcdef0123456789abcdef01234567";
        for (name, meaning) in [
            ("000000010000000000000003".into(), WalName::Segment(1, 3)),
            ("000000010000000000000003.gz".into(), WalName::Segment(1, 3)),
            ("000000010000000000000003.zst.gpg".into(), WalName::Segment(1, 3)),
            (format!("000000010000000000000003-{sha}"), WalName::Segment(1, 3)),
            (format!("000000010000000000000003-{sha}.lz4"), WalName::Segment(1, 3)),
            (format!("000000010000000000000003.partial-{sha}.lz4"), WalName::Partial(1, 3)),
            ("000000010000000000000003.partial".into(), WalName::Partial(1, 3)),
            ("000000010000000000000003.gz.partial".into(), WalName::Partial(1, 3)),
            ("000000010000000000000003.partial.gz".into(), WalName::Partial(1, 3)),
            ("00000002.history".into(), WalName::History(2)),
            ("00000002.history.gz".into(), WalName::History(2)),
            (format!("00000002.history-{sha}"), WalName::History(2)),
            ("000000010000000000000002.00000028.backup".into(), WalName::Backup(1, 2, 0x28)),
            ("000000010000000000000002.00000028.backup.bz2".into(), WalName::Backup(1, 2, 0x28)),
        ] {
            let parsed = parse_name(name.as_bytes(), size);
            assert_eq!(parsed.map(|n| n.name), Some(meaning), "{name}");
        }
        for bad in [
            "",
            "000000010000000000000003.tmp",
            "000000010000000000000003.ready",
            "000000010000000000000003-0123",
            "00000002.history.partial",
            "xlogtemp.17",
            "000000010000000000000003.pgbackrest.tmp",
        ] {
            assert_eq!(parse_name(bad.as_bytes(), size), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn junk_names_never_panic(name in proptest::collection::vec(any::<u8>(), 0..90)) {
            let _ = parse_name(&name, SegmentSize::DEFAULT);
        }

        #[test]
        fn near_names_never_panic(name in "[0-9A-F]{8}([0-9A-F]{16})?(\\.partial|\\.history|-[0-9a-f]{38,42})?(\\.(gz|zst|x)){0,5}") {
            let _ = parse_name(name.as_bytes(), SegmentSize::DEFAULT);
        }
    }
}
