//! The WAL that a diagnosis is about, opened again for a closer look.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::diagnosis::engine::Options;
use crate::facts::open::{Opened, open_side};
use crate::facts::reading::WithOther;
use crate::facts::{Facts, Role, SideScan};
use crate::pg::{BlockNumber, Fork, Lsn, Major, RelFile, Xid};
use crate::scan::path::WalPath;
use crate::scan::progress::{Phase, Progress};
use crate::scan::run::{Collector, scan};
use crate::scan::walk::Start;
use crate::source::datadir::DataDir;
use crate::source::restore::RestoreCommand;
use crate::wal::framer::Sink;
use crate::wal::record::{Fragment, Fragments};
use crate::wal::{Format, Record};

/// Both sides, opened.
pub struct Pair {
    target: Opened,
    source: Opened,
}

impl Pair {
    /// Opens both directories as the diagnosis did; nothing more is fetched or unpacked when `cancel` is set.
    ///
    /// # Errors
    /// A sentence: what cannot be read.
    pub fn open(options: &Options, cancel: Arc<AtomicBool>) -> Result<Self, String> {
        let progress = Progress::with_cancel(cancel);
        let restore = options.restore_command.as_deref().map(RestoreCommand::new).transpose();
        let restore = restore.map_err(|e| e.to_string())?.map(|c| c.with_cancel(progress.cancel_flag()));
        let open = |role, path: &Path| {
            let dir = DataDir::open(path).map_err(|e| e.to_string())?;
            // what is wrong with a side is among the facts already
            open_side(role, dir, options, (restore.clone(), &progress), &mut Vec::new())
                .map_err(|e| e.to_string())
        };
        Ok(Self {
            target: open(Role::Target, &options.target)?,
            source: open(Role::Source, &options.source)?,
        })
    }

    /// One of the two.
    pub const fn of(&self, role: Role) -> &Opened {
        match role {
            Role::Target => &self.target,
            Role::Source => &self.source,
        }
    }

    /// Lends the path along a side's history, from wherever its segments lie.
    pub fn with_path<T>(
        &self,
        role: Role,
        format: Format,
        divergence: Option<Lsn>,
        read: impl FnOnce(&WalPath<'_>) -> T,
    ) -> T {
        let opened = self.of(role);
        match role {
            Role::Target => {
                let store = WithOther::of(&self.target, &self.source, divergence, format);
                read(&opened.path(format, &store))
            }
            Role::Source => read(&opened.path(format, &opened.set)),
        }
    }
}

/// What the diagnosis read of a side.
pub const fn scan_of(facts: &Facts, role: Role) -> Option<&SideScan> {
    match role {
        Role::Target => facts.target_scan.as_ref(),
        Role::Source => facts.source_scan.as_ref(),
    }
}

/// The stretches of WAL that the diagnosis read of a side, in order: between them WAL is missing.
pub fn stretches(facts: &Facts, role: Role) -> Vec<(Start, Lsn)> {
    let Some(scan) = scan_of(facts, role) else { return Vec::new() };
    let certain =
        role == Role::Source || facts.common_checkpoint.as_ref().is_some_and(|c| c.lsn == scan.from);
    let mut start = if certain { Start::Record(scan.from) } else { Start::Page(scan.from) };
    let mut all = Vec::new();
    for &(from, to) in &scan.gaps {
        if start.position() < from {
            all.push((start, from));
        }
        start = Start::Page(to);
    }
    all.push((start, scan.to));
    all
}

/// A relation fork, or one block of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The relation.
    pub rel: RelFile,
    /// Its fork.
    pub fork: Fork,
    /// Only this block.
    pub block: Option<BlockNumber>,
}

impl Place {
    /// The filter expression whose records touch it.
    pub fn filter(&self) -> String {
        let Self { rel, fork, block } = self;
        let block = block.map(|b| format!(" and block = {b}")).unwrap_or_default();
        format!("rel = {rel} and fork = {fork}{block}")
    }
}

/// A record that touches a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Touch {
    /// Where it starts.
    pub lsn: Lsn,
    /// Its transaction, 0 for none.
    pub xid: Xid,
    /// Resource manager.
    pub rmid: u8,
    /// Operation and flags.
    pub info: u8,
    /// It has an image of the page.
    pub image: bool,
    /// Replay builds the page from nothing.
    pub init: bool,
}

/// The records of one side that touch a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touches {
    /// The first ones, in order.
    pub first: Vec<Touch>,
    /// How many more there are.
    pub more: u64,
    /// Records whose inside did not add up: whether they touch it is not known.
    pub broken: u64,
    /// The WAL could be read to here only.
    pub cut: Option<Lsn>,
}

struct Touching {
    place: Place,
    major: Major,
    limit: usize,
    found: Touches,
}

impl Sink for Touching {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        false
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        let Place { rel, fork, block } = self.place;
        let mut fragments = Fragments::new(record, self.major);
        loop {
            match fragments.next_fragment() {
                Ok(Some(Fragment::Block(b)))
                    if b.rel == rel && b.fork == fork && block.is_none_or(|n| n == b.block) =>
                {
                    if self.found.first.len() < self.limit {
                        let (lsn, xid, rmid, info) = (record.lsn, record.xid, record.rmid, record.info);
                        let (image, init) = (b.image.is_some(), b.will_init);
                        self.found.first.push(Touch { lsn, xid, rmid, info, image, init });
                    } else {
                        self.found.more += 1;
                    }
                    return true;
                }
                Ok(Some(_)) => {}
                Ok(None) => return true,
                Err(_) => {
                    self.found.broken += 1;
                    return true;
                }
            }
        }
    }
}

impl Collector for Touching {
    fn merge(&mut self, other: Self) {
        let Touches { mut first, mut more, mut broken, cut } = other.found;
        more += self.found.more;
        broken += self.found.broken;
        // readers see stretches in any order
        first.append(&mut self.found.first);
        first.sort_unstable_by_key(|t| t.lsn);
        more += first.len().saturating_sub(self.limit) as u64;
        first.truncate(self.limit);
        self.found = Touches { first, more, broken, cut: self.found.cut.or(cut) };
    }
}

/// The records of a side, as far as the diagnosis read it, that touch a place; `limit` of them one by one.
///
/// # Errors
/// A directory cannot be read any more, or the work was cancelled; the text says what.
pub fn touches(
    options: &Options,
    facts: &Facts,
    (role, place): (Role, Place),
    limit: usize,
    progress: &Progress,
) -> Result<Touches, String> {
    let stretches = stretches(facts, role);
    if stretches.is_empty() {
        return Ok(Touches::default());
    }
    let phase = if role == Role::Target { Phase::ScanningTarget } else { Phase::ScanningSource };
    let pair = Pair::open(options, progress.cancel_flag())?;
    let format = pair.of(role).format.ok_or("the WAL of majors before 9.5 has another format")?;
    let (major, divergence) = (format.major, facts.divergence.as_ref().map(|d| d.lsn));
    let make = || Touching { place, major, limit, found: Touches::default() };
    let mut all = make();
    pair.with_path(role, format, divergence, |path| {
        for (start, to) in stretches {
            let found = scan(path, start, to, options.threads, (progress, phase), &make);
            let found = found.map_err(|cancelled| cancelled.to_string())?;
            if found.problem.is_some() && all.found.cut.is_none() {
                all.found.cut = Some(if found.last.is_valid() { found.next } else { start.position() });
            }
            all.merge(found.collector);
        }
        Ok(all.found)
    })
}
