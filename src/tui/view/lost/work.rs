//! What runs in the background: collecting, reading a stretch of rows, searching, writing files.

use std::cmp::Ordering;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::found::{Contents, Found, part_of};
use super::row::{Line, Page};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::{self, Options};
use crate::lost::{Conflicts, Filter, Lost, LostError, lost};
use crate::report::lost::{jsonl, sql};
use crate::report::words;
use crate::scan::progress::Progress;
use crate::tui::jobs::Worker;
use crate::tui::view::export;

/// Rows of a stretch before and behind the one that is selected.
pub const AROUND: u64 = 150;

/// What the collecting says.
#[derive(Debug)]
pub enum Collected {
    /// It is there.
    Known(Arc<Found>),
    /// It is not, and why.
    Failed(String),
}

/// Collects.
pub fn collect(options: &Options, diagnosis: &Diagnosis, worker: &Worker) {
    let progress = &worker.progress;
    let found = lost(options, &diagnosis.facts, &Filter::default(), progress)
        .and_then(|lost| Found::new(lost, progress));
    worker.answer(match found {
        Ok(found) => Collected::Known(Arc::new(found)),
        Err(error) => Collected::Failed(error.to_string()),
    });
}

/// Which rows are wanted: of a transaction, of one of its tables or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Of {
    /// Place of the transaction.
    pub xact: usize,
    /// Place of the table among its parts.
    pub part: Option<usize>,
}

/// Rows that were read.
#[derive(Debug)]
pub struct Stretch {
    /// Of what.
    pub of: Of,
    /// The transaction's contents.
    pub contents: Arc<Contents>,
    /// Number of the first one.
    pub first: u64,
    /// They.
    pub lines: Vec<Line>,
}

/// What reading says.
#[derive(Debug)]
pub enum Read {
    /// Rows.
    Stretch(Stretch),
    /// A row with all its columns, to be shown, or only to be copied.
    Page(Page, bool),
    /// The temporary file.
    Failed(String),
}

/// Reads the rows around one.
pub fn read(found: &Found, of: Of, contents: Option<Arc<Contents>>, around: u64, worker: &Worker) {
    let tried = || -> io::Result<Stretch> {
        let contents = match contents {
            Some(contents) => contents,
            None => Arc::new(Contents::new(found, of.xact, &worker.progress)?),
        };
        let first = around.saturating_sub(AROUND);
        let mut lines = Vec::new();
        contents.rows(found, of.xact, of.part, first, &worker.progress, |_, row| {
            let table = if of.part.is_none() { row.shape.qualified() } else { String::new() };
            lines.push(Line::new(&found.lost, row, table));
            (lines.len() as u64) < 2 * AROUND
        })?;
        Ok(Stretch { of, contents, first, lines })
    };
    worker.answer(match tried() {
        Ok(stretch) => Read::Stretch(stretch),
        Err(error) => Read::Failed(error.to_string()),
    });
}

/// Reads one row with all its columns.
pub fn page(found: &Found, of: Of, contents: &Contents, row: u64, show: bool, worker: &Worker) {
    let mut page = None;
    let told = found.lost.transactions.get(of.xact).map(|x| match x.time {
        Some(time) => format!("transaction {}, {}", x.xid, words::time(time)),
        None => format!("transaction {}", x.xid),
    });
    let read = contents.rows(found, of.xact, of.part, row, &worker.progress, |_, row| {
        page = Some(Page::new(&found.lost, row, told.as_deref().unwrap_or_default()));
        false
    });
    worker.answer(match (read, page) {
        (Ok(()), Some(page)) => Read::Page(page, show),
        (Ok(()), None) => Read::Failed("the row is not there".into()),
        (Err(error), _) => Read::Failed(error.to_string()),
    });
}

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Place of the transaction.
    pub xact: usize,
    /// Number of the row among all of the transaction.
    pub row: u64,
    /// Place of its table among the transaction's parts.
    pub part: usize,
    /// Number of the row within its table.
    pub within: u64,
}

/// What a search says.
#[derive(Debug)]
pub struct Searched {
    /// Where it is; `None`: nowhere.
    pub place: Option<Place>,
    /// The search went on at the other end.
    pub wrapped: bool,
}

/// Searches values, from behind (or before) a transaction's row on, and then from the other end.
pub struct Search {
    /// Small letters.
    pub wanted: String,
    /// Places of transactions that are listed.
    pub among: Option<Vec<usize>>,
    /// Tables that count.
    pub tables: Option<Vec<bool>>,
    /// From here: the transaction, and the row of one of its parts, or among all.
    pub from: (usize, Option<(Option<usize>, u64)>),
    /// Towards the end.
    pub forward: bool,
}

impl Search {
    /// Searches.
    pub fn run(&self, found: &Found, worker: &Worker) {
        let len = found.lost.transactions.len();
        let all: Vec<usize> = self.among.clone().unwrap_or_else(|| (0..len).collect());
        let here = all.partition_point(|&at| at < self.from.0);
        // the one where it begins comes twice: its rest first, its other part last
        let mut order: Vec<(usize, bool)> = Vec::with_capacity(all.len() + 1);
        if self.forward {
            order.extend(all.iter().skip(here).map(|&at| (at, false)));
            order.extend(all.iter().take(here + 1).map(|&at| (at, true)));
        } else {
            order.extend(all.iter().take(here + 1).rev().map(|&at| (at, false)));
            order.extend(all.iter().skip(here).rev().map(|&at| (at, true)));
        }
        for (xact, wrapped) in order {
            match self.within(found, xact, wrapped, &worker.progress) {
                Ok(None) => {}
                Ok(place) => {
                    worker.answer(Searched { place, wrapped });
                    return;
                }
                Err(_) => return,
            }
        }
        worker.answer(Searched { place: None, wrapped: true });
    }

    fn within(
        &self,
        found: &Found,
        xact: usize,
        wrapped: bool,
        progress: &Progress,
    ) -> io::Result<Option<Place>> {
        let Some(of) = found.lost.transactions.get(xact) else { return Ok(None) };
        let parts = found.parts(xact);
        let mut counts = vec![0u64; parts.len()];
        let (mut number, mut passed) = (0u64, false);
        let mut best: Option<Place> = None;
        for piece in found.lost.pieces(of.xid)? {
            progress.check().map_err(io::Error::other)?;
            found.lost.of_piece(piece, |entry| {
                let crate::lost::Entry::Row(row) = entry else { return Ok(()) };
                let this = number;
                number += 1;
                let Some(part) = part_of(found, parts, &row.shape) else { return Ok(()) };
                let Some(count) = counts.get_mut(part) else { return Ok(()) };
                let within = *count;
                *count += 1;
                let table = parts.get(part).map_or(0, |p| p.table as usize);
                if self.tables.as_ref().is_some_and(|t| !t.get(table).copied().unwrap_or(false)) {
                    return Ok(());
                }
                let right_side = match (xact == self.from.0, self.from.1) {
                    (false, _) => true,
                    (true, None) => self.forward != wrapped,
                    (true, Some((of, n))) => {
                        let here = of.map_or(this == n, |of| of == part && within == n);
                        let side = if here {
                            Ordering::Equal
                        } else if passed {
                            Ordering::Greater
                        } else {
                            Ordering::Less
                        };
                        passed |= here;
                        match (self.forward, wrapped) {
                            (true, false) => side.is_gt(),
                            (true, true) => side.is_le(),
                            (false, false) => side.is_lt(),
                            (false, true) => side.is_ge(),
                        }
                    }
                };
                if !right_side || (self.forward && best.is_some()) {
                    return Ok(());
                }
                if Line::matches(&found.lost, &row, &self.wanted) {
                    best = Some(Place { xact, row: this, part, within });
                }
                Ok(())
            })?;
            if self.forward && best.is_some() {
                break;
            }
        }
        Ok(best)
    }
}

/// Writes what is lost as an SQL script and as JSON lines: everything, or only of some tables.
pub fn export(
    (script_to, lines_to): (&Path, &Path),
    (options, diagnosis): (&Options, &Diagnosis),
    all: &Found,
    tables: Option<&[String]>,
    worker: &Worker,
) {
    let progress = &worker.progress;
    let tried = || -> Result<String, String> {
        let filter = Filter { tables: tables.unwrap_or_default().to_vec(), xids: Vec::new() };
        let chosen;
        let lost = if tables.is_some() {
            chosen = lost(options, &diagnosis.facts, &filter, progress).map_err(|e| e.to_string())?;
            &chosen
        } else {
            &all.lost
        };
        let counts = lost.counts().map_err(|e| e.to_string())?;
        let conflicts = conflicts(options, lost, &filter, progress).map_err(|e| e.to_string())?;
        let system_identifier = diagnosis.facts.target.control.system_identifier;
        let on_conflict = sql::OnConflict::Error;
        let script =
            sql::Script { lost, counts: &counts, conflicts: &conflicts, on_conflict, system_identifier };
        let told = export::write(script_to, |out| script.write(out))?;
        export::write(lines_to, |out| jsonl::write(lost, &counts, out))
            .map_err(|why| format!("{told}; {why}"))?;
        let name = lines_to.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(format!("{told}, and beside it {}", words::clean(&name)))
    };
    worker.answer(tried().unwrap_or_else(|error| error));
}

/// What the source did since the divergence is found in the same way, with the roles changed.
fn conflicts(
    options: &Options,
    found: &Lost,
    filter: &Filter,
    progress: &Progress,
) -> Result<Conflicts, LostError> {
    let swapped =
        Options { target: options.source.clone(), source: options.target.clone(), ..options.clone() };
    let facts = engine::facts(&swapped, progress)?;
    let theirs = lost(&swapped, &facts, filter, progress)?;
    let mut conflicts = Conflicts::find(found, &theirs)?;
    if theirs.divergence.is_none() {
        conflicts.unseen.push("its WAL since the divergence could not be read".into());
    }
    Ok(conflicts)
}
