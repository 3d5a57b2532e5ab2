//! The entries of a plan: every path of both trees with what is done to it, in the order in which pg_rewind does it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::facts::Facts;
use crate::pg::{BLOCK_SIZE, Fork, Lsn, Major, RelFile, WalName};
use crate::scan::BlockSet;
use crate::scan::progress::{Phase, Progress};
use crate::source::trees::{Entry as Listed, Kind as ListedKind, Pair};

use super::compare::{self, Stopped};
use super::derive::PlanError;
use super::disk;
use super::keep;
use super::model::{Action, BlockRange, ByteRange, Count, Entry, Origin, Seen, Why};
use super::options::PlanOptions;
use super::path::{PlanPath, RelPath};
use super::rules::{self, Rule};
use super::wal::{From, Needed};

/// Blocks of a relation file (`RELSEG_SIZE` as built by default; other builds are refused before).
const SEGMENT_BLOCKS: u32 = 131_072;

/// What the entries are made from.
pub struct Ground<'a> {
    /// Both sides.
    pub facts: &'a Facts,
    /// What was asked for.
    pub options: &'a PlanOptions,
    /// The directories, links resolved.
    pub target: &'a Path,
    /// The same of the source.
    pub source: &'a Path,
    /// WAL that replay needs.
    pub needed: &'a [Needed],
    /// Names of segments that this major's pg_rewind keeps; `None` for forkpoint's own plan.
    pub kept_by_pg_rewind: Option<Vec<String>>,
    /// A history file from an archive: name, file (none: from the restore command), bytes.
    pub history: Option<(String, Option<PathBuf>, u64)>,
    /// Where the two part, if it matters.
    pub divergence: Option<Lsn>,
}

/// The entries, and what has none.
#[derive(Debug, Default)]
pub struct Built {
    /// In the order of execution.
    pub entries: Vec<Entry>,
    /// Relation files of both sides that stay as they are.
    pub unchanged: Count,
    /// Patterns of --keep that no path matches.
    pub unused: Vec<String>,
}

/// Makes the entries.
///
/// # Errors
/// A path cannot be read, --keep means files that have to change, or the work was cancelled.
pub fn build(ground: &Ground<'_>, progress: &Progress) -> Result<Built, PlanError> {
    let major = ground.facts.target.control.major;
    let version_dir = ground.facts.target.control.version_dir();
    let old_rules = ground.options.pg_rewind_compatible && rules::old_rules(major);
    let mut work = Work {
        ground,
        major,
        wal: ground.needed.iter().map(|n| (format!("pg_wal/{}", n.name).into_bytes(), &n.from)).collect(),
        blocks: if ground.options.compare { HashMap::new() } else { changed_blocks(ground.facts) },
        built: Built::default(),
        placed: HashSet::new(),
        progress,
    };
    if ground.options.compare {
        let pairs = ground.facts.trees.pairs();
        let total = pairs.filter_map(|pair| match (&pair, rules::rule(&pair, &version_dir, old_rules)) {
            (Pair::Both(t, s), Rule::Relation(..)) => Some(t.size.min(s.size)),
            _ => None,
        });
        progress.begin(Phase::Comparing, total.sum());
    }
    let mut used = vec![false; ground.options.keep.len()];
    for pair in ground.facts.trees.pairs() {
        let rule = rules::rule(&pair, &version_dir, old_rules);
        let path = match &pair {
            Pair::Target(e) | Pair::Source(e) | Pair::Both(e, _) => e.path,
        };
        let mut kept = false;
        for (pattern, used) in ground.options.keep.iter().zip(&mut used) {
            if pattern.matches(path) {
                (*used, kept) = (true, true);
                if keep::is_data(path) {
                    return Err(PlanError::Keep { pattern: pattern.to_string(), path: path.to_owned() });
                }
            }
        }
        work.decide(&pair, path, rule, kept)?;
    }
    work.add_from_archives()?;
    let Work { mut built, .. } = work;
    built.unused =
        ground.options.keep.iter().zip(used).filter(|(_, used)| !used).map(|(p, _)| p.to_string()).collect();
    keep_directories_of_kept(&mut built.entries);
    built.entries.sort_by(|a, b| {
        let (x, y) = (rank(&a.action), rank(&b.action));
        x.cmp(&y).then_with(|| {
            let order = a.path.as_bytes().cmp(b.path.as_bytes());
            if x == REMOVED { order.reverse() } else { order }
        })
    });
    Ok(built)
}

const REMOVED: u8 = 5;

/// The order in which pg_rewind does things (`file_action_t` of filemap.h).
const fn rank(action: &Action) -> u8 {
    match action {
        Action::CreateDirectory | Action::CreateSymlink { .. } => 0,
        Action::Copy { .. } => 1,
        Action::Change { tail: Some(_), .. } => 2,
        Action::Keep | Action::Change { truncate_to: None, .. } => 3,
        Action::Change { .. } => 4,
        Action::Remove => REMOVED,
    }
}

/// A directory stays when something in it does.
fn keep_directories_of_kept(entries: &mut [Entry]) {
    let needed: BTreeSet<PathBuf> = entries
        .iter()
        .filter(|e| e.action == Action::Keep)
        .flat_map(|e| e.path.parents().into_iter().map(Path::to_path_buf).collect::<Vec<_>>())
        .collect();
    for entry in entries {
        if entry.action == Action::Remove && needed.contains(entry.path.as_path()) {
            entry.action = Action::Keep;
            entry.why = Why::Kept;
        }
    }
}

/// All blocks of main forks that the target's WAL touches from the last common checkpoint on, by relation file.
fn changed_blocks(facts: &Facts) -> HashMap<(RelFile, u32), BlockSet> {
    let mut by_file: HashMap<(RelFile, u32), BlockSet> = HashMap::new();
    let relations = facts.target_scan.iter().flat_map(|scan| &scan.changes.relations);
    for relation in relations.filter(|r| r.fork == Fork::Main) {
        for changes in [&relation.before, &relation.after].into_iter().flatten() {
            for block in changes.blocks.iter() {
                let file = (relation.rel, block / SEGMENT_BLOCKS);
                by_file.entry(file).or_default().insert(block % SEGMENT_BLOCKS);
            }
        }
    }
    by_file
}

struct Work<'a> {
    ground: &'a Ground<'a>,
    major: Major,
    /// By path.
    wal: HashMap<Vec<u8>, &'a From>,
    blocks: HashMap<(RelFile, u32), BlockSet>,
    built: Built,
    /// Paths of WAL files that have an entry from an archive.
    placed: HashSet<Vec<u8>>,
    progress: &'a Progress,
}

impl Work<'_> {
    fn decide(&mut self, pair: &Pair<'_>, path: &Path, rule: Rule, kept: bool) -> Result<(), PlanError> {
        let bytes = path.as_os_str().as_bytes();
        let on_target = matches!(pair, Pair::Target(_) | Pair::Both(..));
        if kept {
            if on_target && !matches!(rule, Rule::Nothing | Rule::Own) {
                self.add(path, Action::Keep, Why::Kept)?;
            }
            return Ok(());
        }
        // WAL that replay needs, whatever the rules say
        if self.ground.kept_by_pg_rewind.is_none() {
            match self.wal.get(bytes) {
                Some(From::Target) if on_target && rule != Rule::TypesDiffer => {
                    return self.add(path, Action::Keep, Why::NeededWal);
                }
                // a file of that name that is not usable
                Some(From::Archive(_) | From::RestoreCommand) => return Ok(()),
                _ => {}
            }
        }
        match (rule, pair) {
            (Rule::Own, _) => self.add(path, Action::Keep, Why::Own),
            (Rule::SourceOnly, Pair::Source(s) | Pair::Both(_, s)) => self.source_only(s),
            (Rule::TargetOnly, _) => {
                let kept = self.ground.kept_by_pg_rewind.as_ref();
                let name = path.strip_prefix("pg_wal").ok().and_then(Path::to_str);
                if kept.is_some_and(|kept| name.is_some_and(|n| kept.iter().any(|k| k == n))) {
                    return self.add(path, Action::Keep, Why::NeededWal);
                }
                self.add(path, Action::Remove, Why::TargetOnly)
            }
            (Rule::Excluded, _) => self.add(path, Action::Remove, Why::Excluded),
            (Rule::Copy, Pair::Both(t, s)) => {
                let segment = self.segment(path);
                if segment.is_some_and(|segno| self.same_old_segment(segno, t, s)) {
                    return Ok(());
                }
                let why = if segment.is_some() { Why::Wal } else { Why::Other };
                self.add(path, Action::Copy { size: s.size, from: Origin::Source }, why)
            }
            (Rule::Relation(rel, number), Pair::Both(t, s)) => self.relation((rel, number), t, s),
            // different types are said by the preflight; the others are never of one side only
            (Rule::Nothing | Rule::TypesDiffer | Rule::SourceOnly | Rule::Copy | Rule::Relation(..), _) => {
                Ok(())
            }
        }
    }

    /// The number of the segment, if that is what the name says.
    fn segment(&self, path: &Path) -> Option<u64> {
        let name = path.strip_prefix("pg_wal").ok()?.to_str()?;
        match WalName::parse(name, self.ground.facts.target.segment_size)? {
            WalName::Segment(_, segno) => Some(segno),
            _ => None,
        }
    }

    /// From 19 on segments that end before the divergence's and are as long on both sides are taken to be the same.
    fn same_old_segment(&self, segno: u64, t: &Listed<'_>, s: &Listed<'_>) -> bool {
        let size = self.ground.facts.target.segment_size;
        let old = self.ground.divergence.is_some_and(|lsn| segno < size.segno(lsn));
        // a name proves nothing: forkpoint's own plan copies what replay needs
        let copied =
            self.ground.kept_by_pg_rewind.is_none() && self.wal.contains_key(t.path.as_os_str().as_bytes());
        self.major >= Major::V19 && old && t.size == s.size && !copied
    }

    fn source_only(&mut self, s: &Listed<'_>) -> Result<(), PlanError> {
        let (action, why) = match s.kind {
            ListedKind::Directory => (Action::CreateDirectory, Why::SourceOnly),
            ListedKind::Symlink => {
                let to = PlanPath::from(s.link.unwrap_or(Path::new("")));
                let mapped = self.ground.options.tablespace_mapping.iter().find(|m| m.old == to);
                let mapped = mapped.filter(|_| RelPath::may_be_link(s.path));
                let to = mapped.map_or(to, |m| m.new.clone());
                (Action::CreateSymlink { to }, Why::SourceOnly)
            }
            _ => {
                let why = if self.segment(s.path).is_some() { Why::Wal } else { Why::SourceOnly };
                (Action::Copy { size: s.size, from: Origin::Source }, why)
            }
        };
        self.add(s.path, action, why)
    }

    fn relation(&mut self, file: (RelFile, u32), t: &Listed<'_>, s: &Listed<'_>) -> Result<(), PlanError> {
        const BLOCK: u64 = BLOCK_SIZE as u64;
        let compared;
        let blocks = if self.ground.options.compare {
            let (ours, theirs) = (self.ground.target.join(t.path), self.ground.source.join(s.path));
            compared = compare::differing(&ours, &theirs, self.progress).map_err(|e| match e {
                Stopped::Io(error) => PlanError::Read { path: ours, error: error.to_string() },
                Stopped::Cancelled => PlanError::Cancelled,
            })?;
            Some(&compared)
        } else {
            self.blocks.get(&file)
        };
        let whole = t.size.min(s.size) / BLOCK;
        let mut ranges = Vec::new();
        for (first, last) in blocks.into_iter().flat_map(BlockSet::ranges) {
            let end = u64::from(last) + 1;
            let end = end.min(whole);
            if u64::from(first) < end {
                ranges.push(BlockRange { first, count: (end - u64::from(first)) as u32 });
            }
        }
        // what is left of a torn extension is written anew
        let from = t.size / BLOCK * BLOCK;
        let tail = (t.size < s.size).then_some(ByteRange { from, to: s.size });
        let truncate_to = (t.size > s.size).then_some(s.size);
        if ranges.is_empty() && tail.is_none() && truncate_to.is_none() {
            self.built.unchanged.files += 1;
            self.built.unchanged.bytes += t.size;
            return Ok(());
        }
        let why = if self.ground.options.compare { Why::Differs } else { Why::Changed };
        self.add(t.path, Action::Change { blocks: ranges, tail, truncate_to }, why)
    }

    /// WAL and a history file that only archives have.
    fn add_from_archives(&mut self) -> Result<(), PlanError> {
        if self.ground.kept_by_pg_rewind.is_some() {
            return Ok(());
        }
        let segment_bytes = self.ground.facts.target.segment_size.bytes();
        for needed in self.ground.needed {
            match &needed.from {
                From::Archive(from) => self.archived(&needed.name, Some(from), segment_bytes)?,
                From::RestoreCommand => self.archived(&needed.name, None, segment_bytes)?,
                _ => {}
            }
        }
        if let Some((name, from, size)) = &self.ground.history {
            self.archived(name, from.as_deref(), *size)?;
        }
        Ok(())
    }

    /// `from`: none where the restore command brings it.
    fn archived(&mut self, name: &str, from: Option<&Path>, size: u64) -> Result<(), PlanError> {
        let path = format!("pg_wal/{name}");
        if !self.placed.insert(path.clone().into_bytes()) {
            return Ok(());
        }
        self.built.entries.retain(|e| e.path.as_bytes() != path.as_bytes());
        let from = from
            .map_or(Origin::RestoreCommand, |from| Origin::Archive(PlanPath::from(absolute(from).as_path())));
        self.add(Path::new(&path), Action::Copy { size, from }, Why::MissingWal)
    }

    fn add(&mut self, path: &Path, action: Action, why: Why) -> Result<(), PlanError> {
        let unreadable = |root: &Path, error: std::io::Error| PlanError::Read {
            path: root.join(path),
            error: error.to_string(),
        };
        let look = |root: &Path| -> Result<Option<Seen>, PlanError> {
            let found = disk::look(root, path).map_err(|e| unreadable(root, e))?;
            Ok(found.map(|f| f.seen))
        };
        let reads_source = matches!(
            action,
            Action::Change { .. }
                | Action::Copy { from: Origin::Source, .. }
                | Action::CreateDirectory
                | Action::CreateSymlink { .. }
        );
        let target = look(self.ground.target)?;
        let source = if reads_source { look(self.ground.source)? } else { None };
        let path = RelPath::new(path.as_os_str().as_bytes()).map_err(|e| PlanError::Path(e.to_string()))?;
        self.built.entries.push(Entry { path, action, why, target, source });
        Ok(())
    }
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
