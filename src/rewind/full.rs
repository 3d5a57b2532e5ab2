//! The last look before the control file comes back: all relation files of both sides, block by block. What two servers
//! may have different does not count (`pg/mask.rs`), nor do blocks that replay changes from where it will start, nor
//! unlogged relations, which it empties. Anything else that differs is a row that would be wrong without a word.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::disk::{Access, Disk, DiskFile, Kind, absent_is_none, read_full_at};
use super::error::{Doing, Trouble};
use super::places::Side;
use crate::pg::control::ControlFile;
use crate::pg::history::History;
use crate::pg::{BLOCK_SIZE, BlockNumber, Fork, Lsn, RelFile, SegmentSize, mask, page};
use crate::plan::Plan;
use crate::scan::BlockSet;
use crate::scan::collect::Changed;
use crate::scan::path::WalPath;
use crate::scan::progress::{Phase, Progress};
use crate::scan::run::scan;
use crate::scan::walk::{Start, record_start};
use crate::source::trees::relation_file;
use crate::source::walset::{WalIdentity, WalSet};
use crate::wal::Format;

/// Bytes read at once: whole blocks.
const CHUNK: usize = 1 << 20;
/// `RELSEG_SIZE` as built by default.
const BLOCKS_OF_SEGMENT: u32 = 131_072;
/// So many differences are kept; more are only counted.
const KEPT: usize = 1000;

/// A place where the target differs from the source, and why that is one too many.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Differing {
    /// Within the data directory.
    pub path: PathBuf,
    /// Block of the file; `None`: the file as a whole.
    pub block: Option<u32>,
    /// In what.
    pub why: String,
}

impl fmt::Display for Differing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.block {
            Some(block) => write!(f, "{}, block {block}: {}", self.path.display(), self.why),
            None => write!(f, "{}: {}", self.path.display(), self.why),
        }
    }
}

/// All differences, as far as they were kept.
#[derive(Debug, Default)]
struct Found {
    list: BTreeSet<Differing>,
    count: u64,
}

/// Both sides, one to be held against the other.
pub struct Both<'a> {
    pub disk: &'a dyn Disk,
    pub plan: &'a Plan,
    pub target: &'a Side,
    pub source: &'a Side,
    pub progress: &'a Progress,
    pub threads: usize,
}

/// What is done with one relation file.
pub type EachFile<'a> = dyn Fn(&Path) -> Result<(), Trouble> + Sync + 'a;

/// Relation files of a side by path, with their lengths.
type Files = BTreeMap<PathBuf, u64>;

impl Both<'_> {
    /// Compares; `each` goes through files.
    ///
    /// # Errors
    /// With [`Trouble::Differs`] if something differs that should not; if something cannot be read.
    pub fn compare(
        &self,
        control: &ControlFile,
        each: impl FnOnce(&[PathBuf], &EachFile<'_>) -> Result<(), Trouble>,
    ) -> Result<(), Trouble> {
        let replayed = self.replayed(control)?;
        let ((ours, unlogged), (theirs, also)) = (self.list(self.target)?, self.list(self.source)?);
        let counts = |path: &Path| {
            relation_file(path).is_some_and(|(rel, _)| !unlogged.contains(&rel) && !also.contains(&rel))
        };
        let found = Mutex::new(Found::default());
        let say = |path: &Path, block: Option<u32>, why: String| {
            let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
            found.count += 1;
            found.list.insert(Differing { path: path.to_owned(), block, why });
            if found.list.len() > KEPT {
                found.list.pop_last();
            }
        };
        let mut pairs = Vec::new();
        for path in ours.keys().chain(theirs.keys().filter(|p| !ours.contains_key(*p))).filter(|p| counts(p))
        {
            match (ours.get(path), theirs.get(path)) {
                (Some(a), Some(b)) if a == b => pairs.push(path.clone()),
                (Some(a), Some(b)) => say(path, None, format!("it has {a} bytes, the source's has {b}")),
                (None, _) => say(path, None, "only the source has it".into()),
                (_, None) => say(path, None, "the source does not have it".into()),
            }
        }
        let total = pairs.iter().filter_map(|path| ours.get(path)).sum();
        self.progress.begin(Phase::Verifying, total);
        each(&pairs, &|path| self.file(path, &replayed, &say))?;
        let Found { list, count } = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        if count == 0 {
            return Ok(());
        }
        Err(Trouble::Differs { list: list.into_iter().collect(), count, redo: self.plan.replay_start.redo })
    }

    /// One file that both have in the same length.
    fn file(
        &self,
        path: &Path,
        replayed: &HashMap<RelFile, BlockSet>,
        say: &(dyn Fn(&Path, Option<u32>, String) + Sync),
    ) -> Result<(), Trouble> {
        let Some((rel, segment)) = relation_file(path) else { return Ok(()) };
        let replayed = replayed.get(&rel);
        let first_of_file = segment.wrapping_mul(BLOCKS_OF_SEGMENT);
        let open = |side: &Side, what| self.disk.open(side.entry(path), Access::Read).doing(what, path);
        let ours = open(self.target, "could not be read back")?;
        let theirs = open(self.source, "the source's could not be opened")?;
        let mut buffers = [vec![0; CHUNK], vec![0; CHUNK]];
        let [a, b] = &mut buffers;
        let mut first = 0u32;
        loop {
            self.progress.check()?;
            let read = |file: &dyn DiskFile, buffer: &mut [u8], what| {
                read_full_at(file, buffer, u64::from(first) * BLOCK_SIZE as u64).doing(what, path)
            };
            let n = read(&*ours, a, "could not be read back")?;
            let m = read(&*theirs, b, "the source's could not be read")?;
            if n != m {
                say(path, None, "its length changed while it was read".into());
                return Ok(());
            }
            let (a, b) = (a.get(..n).unwrap_or_default(), b.get(..n).unwrap_or_default());
            if a != b {
                self.blocks(path, (a, b), (first, first_of_file), replayed, say);
            }
            self.progress.advance(n as u64);
            if n < CHUNK {
                return Ok(());
            }
            first += (CHUNK / BLOCK_SIZE) as u32;
        }
    }

    /// Blocks of both from `first` on, in a file whose first is `first_of_file` of its relation.
    fn blocks(
        &self,
        path: &Path,
        (ours, theirs): (&[u8], &[u8]),
        (first, first_of_file): (u32, BlockNumber),
        replayed: Option<&BlockSet>,
        say: &dyn Fn(&Path, Option<u32>, String),
    ) {
        let ((whole, rest), (others, other_rest)) =
            (ours.as_chunks::<BLOCK_SIZE>(), theirs.as_chunks::<BLOCK_SIZE>());
        for ((a, b), n) in whole.iter().zip(others).zip(first..) {
            let block = first_of_file.wrapping_add(n);
            if a == b || replayed.is_some_and(|set| set.contains(block)) {
                continue;
            }
            if let Some(at) = mask::difference(a, b, block) {
                say(
                    path,
                    Some(n),
                    format!(
                        "byte {at} differs from the source's, and no WAL from {} on changes the block (its LSN is {}, the \
                         source's {})",
                        self.plan.replay_start.redo,
                        page::lsn(a),
                        page::lsn(b)
                    ),
                );
            }
        }
        if rest != other_rest {
            let n = first + whole.len() as u32;
            say(path, Some(n), "the file ends within it, and the bytes differ".into());
        }
    }

    /// Blocks that replay changes, from the WAL that the target has for it now.
    fn replayed(&self, control: &ControlFile) -> Result<HashMap<RelFile, BlockSet>, Trouble> {
        let (redo, needed) = (self.plan.replay_start.redo, self.plan.min_recovery_point.lsn);
        let directory = self.target.path.join("pg_wal");
        let unread = |what: String| {
            Trouble::Refused(format!(
                "{}: which blocks replay will change could not be found out: {what}",
                directory.display()
            ))
        };
        let bytes = self.plan.segment_size;
        let segment_size =
            SegmentSize::new(bytes).ok_or_else(|| unread(format!("segments have {bytes} bytes")))?;
        let major = control.major;
        let identity = WalIdentity {
            system_identifier: control.system_identifier,
            magic: Some(major.wal_magic()),
            major: Some(major),
        };
        let set = WalSet::until(&directory, &[], None, (segment_size, identity), self.progress.cancel_flag());
        let timeline = self.plan.source.timeline;
        let history = match set.histories().into_iter().find(|file| file.timeline == timeline) {
            Some(file) => History::parse(&file.bytes, timeline).map_err(|e| unread(e.to_string()))?,
            None if timeline == 1 => History::single(timeline),
            None => return Err(unread(format!("there is no history file of timeline {timeline}"))),
        };
        let format = Format { major, system_identifier: control.system_identifier, segment_size };
        let path = WalPath { format, history: &history, store: &set };
        let start = Start::Record(record_start(redo, segment_size.bytes()));
        let make = || Changed::new(major, Lsn::MAX).without_transactions();
        let phase = (self.progress, Phase::ScanningSource);
        let scanned = scan(&path, start, Lsn::MAX, self.threads, phase, &make)?;
        self.progress.check()?;
        if !scanned.last.is_valid() || scanned.next < needed {
            let at = if scanned.last.is_valid() { scanned.next } else { redo };
            return Err(unread(format!("its WAL ends at {at}, replay needs it from {redo} to {needed}")));
        }
        let collected = scanned.collector.finish(0);
        if let Some((at, error)) = collected.first_error {
            return Err(unread(format!("the record at {at}: {error}")));
        }
        let mut replayed = HashMap::new();
        for relation in collected.changes.relations.into_iter().filter(|r| r.fork == Fork::Main) {
            let blocks: &mut BlockSet = replayed.entry(relation.rel).or_default();
            for changes in [relation.before, relation.after].into_iter().flatten() {
                blocks.merge(&changes.blocks);
            }
        }
        Ok(replayed)
    }

    /// All relation files of a side, and its unlogged relations.
    fn list(&self, side: &Side) -> Result<(Files, HashSet<RelFile>), Trouble> {
        let (mut files, mut unlogged) = (Files::new(), HashSet::new());
        let mut todo: Vec<PathBuf> = ["base", "global", "pg_tblspc"].map(PathBuf::from).into();
        while let Some(directory) = todo.pop() {
            self.progress.check()?;
            let shown = side.path.join(&directory);
            let names = absent_is_none(self.disk.list(side.directory(&directory)));
            for name in names.doing("could not be listed", &shown)?.unwrap_or_default() {
                let path = directory.join(name);
                let meta = absent_is_none(self.disk.metadata(side.entry(&path)));
                let Some(meta) = meta.doing("could not be looked at", &side.path.join(&path))? else {
                    continue;
                };
                match meta.kind {
                    Kind::Directory => todo.push(path),
                    Kind::Symlink if side.behind(&path).is_some() => todo.push(path),
                    Kind::File if relation_file(&path).is_some() => {
                        files.insert(path, meta.size);
                    }
                    Kind::File => unlogged.extend(unlogged_by(&path)),
                    _ => {}
                }
            }
        }
        Ok((files, unlogged))
    }
}

/// The relation whose init fork this is.
fn unlogged_by(path: &Path) -> Option<RelFile> {
    let name = path.file_name()?.to_str()?.strip_suffix("_init")?;
    relation_file(&path.with_file_name(name)).map(|(rel, _)| rel)
}
