//! Work in the background: finding records, reading those that are seen, searching.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::reel::{Reel, Until};
use super::row::{Detail, Query, Row, Rows};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::Options;
use crate::dump::browse::{self, SharedIndex, look};
use crate::dump::expr::Filter;
use crate::facts::Role;
use crate::pg::Lsn;
use crate::scan::progress::Cancelled;
use crate::tui::jobs::Worker;
use crate::tui::wal::Pair;

/// How often the list is told to grow.
const OFTEN: Duration = Duration::from_millis(100);
/// Records that a search backwards reads at a time.
const CHUNK: usize = 4096;

/// What work has to say.
pub enum Told {
    /// A side is open.
    Opened(Arc<Pair>, Arc<Reel>),
    /// It cannot be.
    Failed(Role, String),
    /// More records were found.
    Grown,
    /// What was wanted of an index.
    Read(Arc<SharedIndex>, Box<Read>),
    /// A search of an index came to its end.
    Found(Arc<SharedIndex>, Hit),
}

/// Where a record lies.
pub enum Located {
    /// Its number, and its position.
    At(usize, Lsn),
    /// There is none.
    Nowhere,
}

/// Records that were read.
#[derive(Default)]
pub struct Read {
    /// What became of the record that was looked for, if one was.
    pub located: Option<Located>,
    /// Number of the first row, and the rows.
    pub rows: Option<(usize, Vec<Row>)>,
    /// The whole record with this number.
    pub detail: Option<(usize, Detail)>,
}

/// What a search found.
pub struct Hit {
    /// Number of the record.
    pub record: Option<usize>,
    /// The search went over the end, or over the beginning.
    pub wrapped: bool,
}

/// What is to be opened.
pub struct Opening {
    /// The directories.
    pub options: Arc<Options>,
    /// What was found out.
    pub diagnosis: Arc<Diagnosis>,
    /// The directories, where they were opened before.
    pub pair: Option<Arc<Pair>>,
    /// Which side.
    pub role: Role,
    /// How long it stays open.
    pub until: Until,
}

impl Opening {
    /// Opens it.
    pub fn open(self, worker: &Worker) -> Option<Arc<Reel>> {
        let pair = match self.pair {
            Some(pair) => Ok(pair),
            None => Pair::open(&self.options, self.until.flag()).map(Arc::new),
        };
        let opened = pair.and_then(|pair| {
            let reel = Reel::new(&pair, self.role, &self.diagnosis)?;
            Ok((pair, Arc::new(reel)))
        });
        match opened {
            Ok((pair, reel)) => worker.answer(Told::Opened(pair, Arc::clone(&reel))).then_some(reel),
            Err(why) => {
                worker.answer(Told::Failed(self.role, why));
                None
            }
        }
    }
}

/// Which records of a side.
#[derive(Clone)]
pub struct Sifted {
    /// The side.
    pub reel: Arc<Reel>,
    /// The index of what passes.
    pub index: Arc<SharedIndex>,
    /// What passes.
    pub filter: Option<Arc<Filter>>,
}

impl Sifted {
    /// Finds where the records lie.
    pub fn fill(&self, worker: &Worker) {
        let Self { reel, index, filter } = self;
        let progress = &worker.progress;
        progress.begin(reel.phase(), reel.bytes());
        // the first ones are seen at once
        let mut told = None;
        let grown = || {
            if told.is_none_or(|told: Instant| told.elapsed() >= OFTEN) && worker.answer(Told::Grown) {
                told = Some(Instant::now());
            }
        };
        // what was found so far is in the index
        let _ = reel
            .with_path(|path| browse::fill(index, path, &reel.course, filter.as_deref(), progress, grown));
        worker.answer(Told::Grown);
    }

    fn visit(
        &self,
        worker: &Worker,
        range: (usize, usize),
        take: impl FnMut(usize, &crate::wal::Record<'_>) -> bool,
    ) -> Result<(), Cancelled> {
        let Self { reel, index, filter } = self;
        reel.with_path(|path| {
            browse::visit(index, path, &reel.course, filter.as_deref(), range, &worker.progress, take)
        })
    }

    fn rows(&self) -> Rows {
        Rows::new(self.reel.major(), Arc::clone(&self.reel.names))
    }

    /// Reads rows, a whole record, or finds one by its position: then the rows around it and all of it.
    pub fn read(
        &self,
        worker: &Worker,
        locate: Option<Lsn>,
        window: Option<(usize, usize)>,
        detail: Option<usize>,
        around: usize,
    ) {
        let Self { reel, index, filter } = self;
        let mut read = Read::default();
        let (mut window, mut detail) = (window, detail);
        let done = (|| {
            if let Some(lsn) = locate {
                let found = reel.with_path(|path| {
                    let progress = &worker.progress;
                    browse::locate(index, path, &reel.course, filter.as_deref(), lsn, progress)
                })?;
                read.located = Some(found.map_or(Located::Nowhere, |(record, lsn)| Located::At(record, lsn)));
                if let Some((record, _)) = found {
                    detail = Some(record);
                    window = Some((record.saturating_sub(around), record + around));
                }
            }
            let mut rows = self.rows();
            if let Some((from, to)) = window {
                let mut list = Vec::new();
                self.visit(worker, (from, to), |number, record| {
                    list.push(rows.row(record));
                    if detail == Some(number) {
                        read.detail = Some((number, rows.detail(record)));
                    }
                    true
                })?;
                read.rows = Some((from, list));
            }
            if let Some(number) = detail.filter(|_| read.detail.is_none()) {
                self.visit(worker, (number, number + 1), |number, record| {
                    read.detail = Some((number, rows.detail(record)));
                    true
                })?;
            }
            Ok::<(), Cancelled>(())
        })();
        if done.is_ok() {
            worker.answer(Told::Read(Arc::clone(index), Box::new(read)));
        }
    }

    /// Searches from behind a record on, or before it, and then from the other end.
    pub fn search(&self, worker: &Worker, query: &Query, from: usize, forward: bool) {
        let records = look(&self.index).records();
        let progress = &worker.progress;
        progress.begin(self.reel.phase(), self.reel.bytes());
        let mut rows = self.rows();
        let mut search = |(from, to): (usize, usize), last: bool| -> Result<Option<usize>, Cancelled> {
            let mut found = None;
            self.visit(worker, (from, to), |number, record| {
                if rows.row(record).holds(query) {
                    found = Some(number);
                }
                last || found.is_none()
            })?;
            Ok(found)
        };
        let mut back = |from: usize, to: usize| -> Result<Option<usize>, Cancelled> {
            let mut to = to;
            while to > from {
                let begin = to.saturating_sub(CHUNK).max(from);
                if let Some(found) = search((begin, to), true)? {
                    return Ok(Some(found));
                }
                to = begin;
            }
            Ok(None)
        };
        let found = if forward {
            search((from + 1, records), false).and_then(|found| match found {
                Some(found) => Ok((Some(found), false)),
                None => search((0, (from + 1).min(records)), false).map(|found| (found, true)),
            })
        } else {
            back(0, from).and_then(|found| match found {
                Some(found) => Ok((Some(found), false)),
                None => back(from, records).map(|found| (found, true)),
            })
        };
        if let Ok((record, wrapped)) = found {
            worker.answer(Told::Found(Arc::clone(&self.index), Hit { record, wrapped }));
        }
    }
}
