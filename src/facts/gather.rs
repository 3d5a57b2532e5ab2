//! The steps from two directories to the facts.

use std::cmp::Ordering;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::names::{Catalogs, DiskBlocks, Names, Replay};
use crate::pg::control::DbState;
use crate::pg::{Lsn, TimelineId, WalName};
use crate::scan::walk::{Start, record_start, walk};
use crate::scan::{EndKind, RelationSets};
use crate::source::datadir::DataDir;
use crate::source::leftovers::BackupLabel;
use crate::source::pages::{NewerPages, newer_than};
use crate::source::restore::RestoreCommand;
use crate::source::space;
use crate::source::trees::{Entry, Kind, Trees, relation_file};
use crate::source::walset::Conflict;
use crate::wal::Format;

use super::compare::{Compare, compare};
use super::open::{Opened, open_side};
use super::reading::Read;
use super::{
    Checkpoint, Divergence, DivergenceProof, Facts, FreeSpace, Relation, Role, Side, Unrelated, Unseen,
    WalNeeds,
};
use super::{loss, needs};

pub use crate::scan::progress::{Cancelled, Phase, Progress};

/// Segments of which all copies are compared with each other: each is read as a whole.
const COMPARED_COPIES: usize = 16;
/// Files at the top of both directories up to this size (bytes) are compared with each other.
const SMALL_FILE: u64 = 64 << 10;

/// What to diagnose and with what.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory that will not rejoin.
    pub target: PathBuf,
    /// The directory it should follow.
    pub source: PathBuf,
    /// Archives of WAL.
    pub archives: Vec<PathBuf>,
    /// A command that fetches a file of the archive, `%f`, `%p` and `%%` as in PostgreSQL.
    pub restore_command: Option<String>,
    /// Threads for the scan, at least 1.
    pub threads: usize,
    /// Read the source's WAL after the divergence too.
    pub scan_source: bool,
    /// Only the changed blocks are wanted: no transactions, and the files are not listed.
    pub blocks_only: bool,
}

/// Why there is no diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DiagnoseError {
    /// An input could not be read at all: what is the matter with which file, and what to do.
    #[error("{0}")]
    Input(String),
    /// [`Progress::cancel`] was called.
    #[error("interrupted")]
    Cancelled,
}

impl From<Cancelled> for DiagnoseError {
    fn from(_: Cancelled) -> Self {
        Self::Cancelled
    }
}

/// An input that cannot be read.
pub(crate) fn input(what: &dyn Display) -> DiagnoseError {
    let mut text = what.to_string();
    if !text.ends_with('.') {
        text.push('.');
    }
    DiagnoseError::Input(text)
}

/// Finds out everything that two directories, archives and a restore command show.
///
/// # Errors
/// A directory or its control file cannot be read at all, or the work was cancelled.
pub fn facts(options: &Options, progress: &Progress) -> Result<Facts, DiagnoseError> {
    progress.begin(Phase::Opening, 0);
    let mut unseen = Vec::new();
    let target_dir = DataDir::open(&options.target).map_err(|e| input(&e))?;
    let source_dir = DataDir::open(&options.source).map_err(|e| input(&e))?;
    let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose();
    let restore = restore.map(|command| command.map(|c| c.with_cancel(progress.cancel_flag())));
    let restore = restore.map_err(|e| input(&e))?;
    let target = open_side(Role::Target, target_dir, options, (restore.clone(), progress), &mut unseen)?;
    let source = open_side(Role::Source, source_dir, options, (restore, progress), &mut unseen)?;
    let trees = if options.blocks_only {
        Trees::default()
    } else {
        let roots = (target.side.dir.path(), source.side.dir.path());
        Trees::until(roots.0, roots.1, &progress.cancel_flag())
    };
    Work { options, progress, target, source, trees, newer_pages: None, unseen }.run()
}

pub(super) struct Work<'a> {
    pub(super) options: &'a Options,
    pub(super) progress: &'a Progress,
    pub(super) target: Opened,
    pub(super) source: Opened,
    trees: Trees,
    newer_pages: Option<NewerPages>,
    pub(super) unseen: Vec<Unseen>,
}

/// What the histories and the WAL say about where the two sides part.
struct Parting {
    divergence: Option<Divergence>,
    /// Both end on the same timeline, and no record differs.
    same_line: bool,
    unproven: Vec<super::Unproven>,
}

impl Work<'_> {
    fn run(mut self) -> Result<Facts, DiagnoseError> {
        let unrelated = self.unrelated();
        let formats = (self.target.format, self.source.format);
        let (Some(format), Some(_), None) = (formats.0, formats.1, &unrelated) else {
            let relation = match unrelated {
                Some(why) => Relation::Unrelated(why),
                None => Relation::Undecided,
            };
            if relation == Relation::Undecided {
                self.unseen.push(Unseen {
                    path: None,
                    what: "the WAL of majors before 9.5 has another format".into(),
                    consequence: "only the control files and histories were compared".into(),
                });
            }
            return self.into_facts(relation, None, Vec::new(), None, None, None);
        };
        let parting = self.part(format)?;
        let mut divergence = parting.divergence;
        self.control_ends(format);
        let mut common = None;
        if let Some(divergence) = &mut divergence {
            // what pg_rewind goes by
            let clean = self.target.control().state.is_shut_down();
            let rewinds =
                |at: (Lsn, TimelineId)| !clean || self.target.side.control_end.is_none_or(|end| end > at.0);
            divergence.pg_rewind = divergence.pg_rewind.filter(|at| rewinds(*at));
            common = self.common_checkpoint(format, divergence.lsn)?;
        }
        let mut target = self.read_target(format, divergence.as_ref(), common.as_ref())?;
        let source = self.read_source(format, divergence.as_ref())?;
        if let Some(divergence) = &divergence {
            target.forget_decided_alike(&source, divergence.lsn);
        }
        if let Some(divergence) = &divergence {
            self.look_at_pages(divergence.lsn)?;
        }
        let relation = self.relate(&mut divergence, parting.same_line);
        let names = self.names(format, [&target, &source])?;
        let mut facts =
            self.into_facts(relation, divergence, parting.unproven, common, Some(target), Some(source))?;
        (facts.names, facts.source_names) = names;
        Ok(facts)
    }

    fn unrelated(&self) -> Option<Unrelated> {
        let (target, source) = (self.target.control(), self.source.control());
        let histories = [&self.target.side.lineage.history, &self.source.side.lineage.history];
        // without its history file a timeline looks as if it came from nowhere
        let missing = [&self.target, &self.source].iter().any(|o| !o.side.lineage.missing_history.is_empty());
        let odd = missing || histories.iter().any(|history| !history.problems().is_empty());
        if !(target.crc_ok && source.crc_ok) {
            // what a damaged file says proves nothing
            None
        } else if target.system_identifier != source.system_identifier {
            Some(Unrelated::SystemIdentifier)
        } else if target.pg_control_version != source.pg_control_version
            || target.catalog_version != source.catalog_version
        {
            Some(Unrelated::Major)
        } else if !odd && histories[0].common_prefix(histories[1]).is_none() {
            Some(Unrelated::NoCommonAncestor)
        } else {
            None
        }
    }

    /// Where the sides part, by the histories and then by the WAL itself.
    fn part(&self, format: Format) -> Result<Parting, DiagnoseError> {
        let (ours, theirs) = (&self.target.side.lineage.history, &self.source.side.lineage.history);
        let nothing = Parting { divergence: None, same_line: false, unproven: Vec::new() };
        let Some(prefix) = ours.common_prefix(theirs) else { return Ok(nothing) };
        let by_history = if prefix.end == Lsn::MAX { None } else { Some((prefix.end, prefix.timeline)) };
        let compared = compare(
            Compare { history: ours, set: &self.target.set },
            Compare { history: theirs, set: &self.source.set },
            format,
            prefix.index + 1,
            prefix.end,
            self.progress,
        )?;
        let divergence = match (compared.differs_at, by_history) {
            (Some(lsn), _) => {
                // a difference in a timeline's first record means that the number was taken twice
                let timeline = ours
                    .entries
                    .iter()
                    .rfind(|e| {
                        record_start(e.begin, format.segment_size.bytes()) < lsn || e.begin == Lsn::INVALID
                    })
                    .map_or(prefix.timeline, |e| e.timeline);
                Some(Divergence { lsn, timeline, shown_by: DivergenceProof::Records, pg_rewind: by_history })
            }
            (None, Some((lsn, timeline))) => {
                let newer =
                    if theirs.entries.len() > prefix.index + 1 { theirs.timeline } else { ours.timeline };
                let shown_by = DivergenceProof::History(newer);
                Some(Divergence { lsn, timeline, shown_by, pg_rewind: by_history })
            }
            (None, None) => None,
        };
        let same_line = divergence.is_none();
        Ok(Parting { divergence, same_line, unproven: compared.unproven })
    }

    /// Looks at the target's pages where its WAL does not say how far it got: a page that was changed after the divergence
    /// proves that it went on, and of a standby that was killed none may have been, if it is to follow as it is.
    fn look_at_pages(&mut self, divergence: Lsn) -> Result<(), DiagnoseError> {
        let target = &self.target.side;
        let control = &target.control;
        let end = target.end.as_ref();
        let incomplete = end.is_none_or(|end| !end.complete);
        let received = control.state == DbState::InArchiveRecovery
            && end.is_some_and(|end| end.lsn > divergence)
            && target.control_end.is_some_and(|at| at <= divergence);
        // pages that pg_rewind copied are the source's; when it stops half-way it has brought segments, too
        let newest = self.source.side.lineage.timeline;
        let copied = target.leftovers.backup_label.as_ref().is_some_and(BackupLabel::by_pg_rewind)
            || (newest > target.lineage.timeline && self.target.has_own_wal_of(newest));
        if self.options.blocks_only || copied || !(incomplete || received) {
            return Ok(());
        }
        let after =
            if incomplete { end.map_or(divergence, |end| end.lsn.max(divergence)) } else { divergence };
        let files = self.trees.target.iter().filter(|e| relation_file(e.path).is_some());
        self.progress.begin(Phase::ReadingPages, files.map(|e| e.size).sum());
        let mut go_on = |bytes| {
            self.progress.advance(bytes);
            self.progress.check().is_ok()
        };
        let pages = newer_than(target.dir.path(), &self.trees.target, control, after, &mut go_on);
        self.progress.check()?;
        self.unseen.extend(pages.problems.iter().map(|(path, what)| Unseen {
            path: Some(path.clone()),
            what: what.clone(),
            consequence: "whether its pages were changed after the divergence is not known".into(),
        }));
        if !pages.complete && pages.found == 0 && pages.problems.is_empty() {
            self.unseen.push(Unseen {
                path: Some(target.dir.path().to_path_buf()),
                what: format!("only {} pages of relations were looked at", pages.looked_at),
                consequence: "whether others were changed after the divergence is not known".into(),
            });
        }
        self.newer_pages = Some(pages);
        Ok(())
    }

    /// How the sides stand to each other, once both ends are known.
    fn relate(&self, divergence: &mut Option<Divergence>, same_line: bool) -> Relation {
        let (target, source) = (&self.target.side, &self.source.side);
        if same_line {
            let (Some(ours), Some(theirs)) = (&target.end, &source.end) else { return Relation::Undecided };
            // behind an end that is none there may be anything
            if !(ours.complete && (theirs.complete || ours.lsn < theirs.lsn)) {
                return Relation::Undecided;
            }
            let shorter = if ours.lsn <= theirs.lsn { ours } else { theirs };
            *divergence = Some(Divergence {
                lsn: shorter.lsn,
                timeline: shorter.timeline,
                shown_by: DivergenceProof::End,
                pg_rewind: None,
            });
            return match ours.lsn.cmp(&theirs.lsn) {
                Ordering::Equal => Relation::SamePosition,
                Ordering::Less => Relation::TargetBehind,
                Ordering::Greater => Relation::SourceBehind,
            };
        }
        let Some(divergence) = divergence else { return Relation::Undecided };
        if divergence.shown_by == DivergenceProof::Records {
            let timeline = self.twin_timeline(divergence);
            return Relation::Twins { timeline };
        }
        // pg_control may know of more than the WAL that is left
        let beyond = |side: &Side| {
            side.control.checkpoint >= divergence.lsn
                || side.control.min_recovery_point > divergence.lsn
                || side.end.as_ref().is_some_and(|e| e.last_record >= divergence.lsn)
        };
        let newer = self.newer_pages.as_ref().is_some_and(|pages| pages.found > 0);
        let ours = if newer || beyond(target) {
            Some(true)
        } else {
            target.end.as_ref().filter(|end| end.complete).map(|_| false)
        };
        let theirs = if beyond(source) { Some(true) } else { source.end.as_ref().map(|_| false) };
        match (ours, theirs) {
            (Some(false), _) => Relation::TargetBehind,
            (Some(true), Some(false)) => Relation::SourceBehind,
            (Some(true), Some(true)) => Relation::Diverged,
            (None, _) | (_, None) => Relation::Undecided,
        }
    }

    /// The timeline that both claim and on which the first different record lies.
    fn twin_timeline(&self, divergence: &Divergence) -> u32 {
        let history = &self.target.side.lineage.history;
        history.timeline_of(divergence.lsn).unwrap_or(divergence.timeline)
    }

    fn into_facts(
        self,
        relation: Relation,
        divergence: Option<Divergence>,
        unproven: Vec<super::Unproven>,
        common_checkpoint: Option<Checkpoint>,
        target: Option<Read>,
        source: Option<Read>,
    ) -> Result<Facts, DiagnoseError> {
        self.progress.begin(Phase::Concluding, 0);
        let wal = self.needs(&relation, divergence.as_ref(), common_checkpoint.as_ref());
        let target_backup_end = self.backup_end()?;
        let blocks_only = self.options.blocks_only;
        let archive_conflicts =
            if blocks_only { Vec::new() } else { self.conflicts(divergence.as_ref(), &wal) };
        let Self { target: mut ours, source: mut theirs, mut unseen, progress, trees, newer_pages, .. } =
            self;
        for opened in [&mut ours, &mut theirs] {
            opened.side.rejected = opened.set.rejected();
            unseen.extend(opened.set.problems().into_iter().map(|(path, what)| Unseen {
                path: Some(path),
                what,
                consequence: "WAL in it was not seen".into(),
            }));
        }
        unseen.extend(trees.problems.iter().map(|(path, what)| Unseen {
            path: Some(path.clone()),
            what: what.clone(),
            consequence: "files in it were not compared".into(),
        }));
        let mounts: Vec<PathBuf> = trees
            .target
            .iter()
            .filter(|e| {
                e.path == Path::new("pg_wal") || (e.kind == Kind::Symlink && e.path.starts_with("pg_tblspc"))
            })
            .map(|e| e.path.to_path_buf())
            .collect();
        let same_content = same_content(&trees, &ours.side.dir, &theirs.side.dir);
        let target_space = space::free(ours.side.dir.path(), &mounts)
            .into_iter()
            .map(|(at, bytes)| FreeSpace { at, bytes })
            .collect();
        let (target_scan, transactions, relation_sets) = match target {
            Some(read) => (read.scan, read.transactions, read.sets),
            None => (None, Vec::new(), RelationSets::default()),
        };
        let loss = loss::of(&relation, divergence.as_ref(), target_scan.as_ref(), &transactions, &ours.side);
        // what was cut short must not be taken for what is there
        progress.check()?;
        Ok(Facts {
            target: ours.side,
            source: theirs.side,
            relation,
            divergence,
            unproven,
            common_checkpoint,
            target_scan,
            source_scan: source.and_then(|s| s.scan),
            transactions,
            relation_sets,
            loss,
            target_backup_end,
            newer_pages,
            wal,
            names: Names::default(),
            source_names: Names::default(),
            trees,
            archive_conflicts,
            target_space,
            same_content,
            unseen,
        })
    }

    /// Copies of one name and different content, among the segments from the divergence on and all histories.
    fn conflicts(&self, divergence: Option<&Divergence>, wal: &WalNeeds) -> Vec<Conflict> {
        let size = self.target.side.segment_size;
        let from = divergence.map_or(u64::MAX, |d| size.segno(d.lsn));
        let mut names: Vec<WalName> = [&wal.find_blocks, &wal.follow]
            .into_iter()
            .flatten()
            .flat_map(|need| &need.segments)
            .filter(|s| s.segno >= from && s.found.len() > 1)
            .map(|s| WalName::Segment(s.timeline, s.segno))
            .take(COMPARED_COPIES)
            .collect();
        for opened in [&self.target, &self.source] {
            names.extend(opened.side.lineage.known.iter().map(|k| WalName::History(k.history.timeline)));
        }
        names.sort_unstable();
        names.dedup();
        let mut found = self.target.set.conflicts(&names);
        for conflict in self.source.set.conflicts(&names) {
            if !found.contains(&conflict) {
                found.push(conflict);
            }
        }
        found
    }

    /// Names for what was found on the target and on the source, each side's own first.
    fn names(&mut self, format: Format, read: [&Read; 2]) -> Result<(Names, Names), DiagnoseError> {
        if read.iter().all(|r| r.scan.is_none() && r.transactions.is_empty()) {
            return Ok(Default::default());
        }
        let [of_target, of_source] = read.map(Read::relations);
        self.progress.begin(Phase::Naming, 0);
        let mut unseen = Vec::new();
        let target = self.catalogs(&self.target, format, &mut unseen)?;
        let source = self.catalogs(&self.source, format, &mut unseen)?;
        self.unseen.append(&mut unseen);
        if self.options.scan_source {
            return Ok(Names::load_both(&target, &source, &of_target, &of_source));
        }
        Ok((Names::load(&target, Some(&source), Some(&of_target)), Names::default()))
    }

    /// The catalogs of a side. On one that was not stopped cleanly they are stale on disk until its WAL from the redo on
    /// is laid over them.
    fn catalogs(
        &self,
        opened: &Opened,
        format: Format,
        unseen: &mut Vec<Unseen>,
    ) -> Result<Catalogs, DiagnoseError> {
        let control = opened.control();
        let disk = DiskBlocks::new(opened.side.dir.path(), control).with_cancel(self.progress.cancel_flag());
        let Some(end) = opened.side.end.as_ref().filter(|_| control.state != DbState::ShutDown) else {
            return Ok(Catalogs::on_disk(disk));
        };
        let path = opened.path(format, &opened.set);
        let redo = record_start(control.checkpoint_copy.redo, format.segment_size.bytes());
        let mut replay = Replay::new(disk);
        loop {
            let stop =
                walk(&path, Start::Record(redo), end.lsn, &mut replay, self.progress, &mut Vec::new())?;
            if stop.next < end.lsn {
                unseen.push(Unseen {
                    path: Some(opened.side.dir.path().to_path_buf()),
                    what: format!(
                        "the WAL from the redo at {redo} to {} could not be replayed in memory",
                        end.lsn
                    ),
                    consequence:
                        "names of relations made or renamed since the last checkpoint may be missing or old"
                            .into(),
                });
                return Ok(replay.into_catalogs());
            }
            if !replay.needs_another_pass() {
                return Ok(replay.into_catalogs());
            }
        }
    }

    fn needs(
        &self,
        relation: &Relation,
        divergence: Option<&Divergence>,
        common: Option<&Checkpoint>,
    ) -> WalNeeds {
        let (Some(format), Some(divergence)) = (self.target.format, divergence) else {
            return WalNeeds::default();
        };
        let size = format.segment_size;
        let (ours, theirs) = (&self.target.side, &self.source.side);
        let sets = (&self.target.set, &self.source.set);
        let common_below = size.segno(divergence.lsn);
        let rewinding = matches!(relation, Relation::Diverged | Relation::Twins { .. });
        let find_blocks = ours.end.as_ref().filter(|_| rewinding).map(|end| {
            let from = common.map_or(divergence.lsn, |c| c.lsn);
            let why = match common {
                Some(_) => "from the last common checkpoint to the end of the target's WAL",
                None => "from the divergence to the end of the target's WAL; the last common checkpoint lies before it",
            };
            let path = self.target.path(format, &self.target.set);
            let to = match end.kind {
                // the record that it breaks off in may begin in the segment before
                EndKind::Cut { at } => at.plus(1),
                _ => end.lsn,
            };
            let mut need =
                needs::locate(&path, (from, to), why.into(), sets, |segno| (true, segno < common_below));
            needs::short_ones(&mut need, &self.target.set);
            need
        });
        let follow = theirs.end.as_ref().map(|end| {
            let target_redo = ours.control.checkpoint_copy.redo;
            let (from, why) = if rewinding {
                needs::replay_start(common, theirs.control.checkpoint_copy.redo, target_redo)
            } else {
                (target_redo, "the redo of the target's last checkpoint or restartpoint".to_owned())
            };
            let path = self.source.path(format, &self.source.set);
            needs::locate(&path, (from, end.lsn), why, sets, |segno| (segno <= common_below, true))
        });
        let start = {
            let path = self.target.path(format, &self.target.set);
            let (redo, checkpoint) = (ours.control.checkpoint_copy.redo, ours.control.checkpoint);
            let range = (redo, checkpoint.plus(1));
            let why = "the target's last checkpoint, from which it starts, and its redo".to_owned();
            needs::locate(&path, range, why, sets, |segno| (true, segno <= common_below))
        };
        WalNeeds { start: Some(start), find_blocks, follow }
    }
}

/// Files at the top of both directories, configuration above all, that are the same to the byte.
fn same_content(trees: &Trees, target: &DataDir, source: &DataDir) -> Vec<PathBuf> {
    let at_top =
        |e: &Entry<'_>| e.kind == Kind::File && e.path.components().count() == 1 && e.size <= SMALL_FILE;
    let same = |path: &Path| {
        let read = |dir: &DataDir| dir.read_small(path, SMALL_FILE).ok();
        read(target).is_some_and(|ours| read(source) == Some(ours))
    };
    let pairs = trees.target.iter().filter(at_top).filter(|ours| {
        trees.source.get(ours.path).is_some_and(|theirs| at_top(&theirs) && theirs.size == ours.size)
    });
    pairs.filter(|e| same(e.path)).map(|e| e.path.to_path_buf()).collect()
}
