//! What was collected, transaction by transaction: which tables, how many rows. The rows stay in the temporary file.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use crate::lost::{Change, Counts, Entry, Lost, LostError, Piece, RowChange, Shape};
use crate::report::lost::text::event_text;
use crate::scan::progress::Progress;

/// Events of one transaction that are shown one by one.
const MAX_EVENTS: usize = 5000;

/// A table: database and `schema.name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// Its database.
    pub database: String,
    /// `schema.name`.
    pub name: String,
}

/// Rows of a table that one transaction changed.
#[derive(Debug, Clone)]
pub struct Part {
    /// Which table, a place in [`Found::tables`].
    pub table: u32,
    /// How many rows.
    pub counts: Counts,
}

/// All of it.
#[derive(Debug)]
pub struct Found {
    /// What the engine collected.
    pub lost: Lost,
    /// Tables that rows are of.
    pub tables: Vec<Table>,
    parts: Vec<Part>,
    /// Where the parts of each transaction begin in `parts`, and at last where they end.
    starts: Vec<usize>,
}

impl Found {
    /// Counts what was collected.
    ///
    /// # Errors
    /// The temporary file cannot be read, or the work was cancelled.
    pub fn new(lost: Lost, progress: &Progress) -> Result<Self, LostError> {
        let mut numbers = Numbers::default();
        let (mut parts, mut starts): (Vec<Part>, _) = (Vec::new(), Vec::new());
        for xact in &lost.transactions {
            progress.check()?;
            let first = parts.len();
            starts.push(first);
            if xact.rows == 0 {
                continue;
            }
            lost.each(xact.xid, |entry| {
                let Entry::Row(row) = entry else { return Ok(()) };
                let table = numbers.of(&row.shape);
                let of = parts.get(first..).unwrap_or_default().iter().position(|p| p.table == table);
                let at = of.map_or_else(
                    || {
                        parts.push(Part { table, counts: Counts::default() });
                        parts.len() - 1
                    },
                    |at| first + at,
                );
                if let Some(part) = parts.get_mut(at) {
                    add(&mut part.counts, &row, lost.is_whole(&row));
                }
                Ok(())
            })?;
        }
        starts.push(parts.len());
        Ok(Self { lost, tables: numbers.tables, parts, starts })
    }

    /// What the transaction at this place changed, table by table.
    pub fn parts(&self, xact: usize) -> &[Part] {
        let (Some(&from), Some(&to)) = (self.starts.get(xact), self.starts.get(xact + 1)) else {
            return &[];
        };
        self.parts.get(from..to).unwrap_or_default()
    }

    /// The table's name; with its database where there are several.
    pub fn table_name(&self, table: u32) -> String {
        let Some(found) = self.tables.get(table as usize) else { return String::new() };
        let several = self.tables.iter().any(|t| t.database != found.database);
        if several { format!("{}.{}", found.database, found.name) } else { found.name.clone() }
    }

    /// The sum over all transactions whose rows are lost or left prepared.
    pub fn sum(&self) -> Counts {
        let mut sum = Counts::default();
        for part in &self.parts {
            sum.inserted += part.counts.inserted;
            sum.updated += part.counts.updated;
            sum.deleted += part.counts.deleted;
            sum.incomplete += part.counts.incomplete;
        }
        sum
    }
}

fn add(counts: &mut Counts, row: &RowChange, whole: bool) {
    match row.change {
        Change::Insert => counts.inserted += 1,
        Change::Update => counts.updated += 1,
        Change::Delete => counts.deleted += 1,
    }
    counts.incomplete += u64::from(!whole);
}

/// Gives tables numbers: a table has several shapes where its columns changed.
#[derive(Debug, Default)]
struct Numbers {
    tables: Vec<Table>,
    by_name: HashMap<Table, u32>,
    by_shape: HashMap<usize, u32>,
}

impl Numbers {
    fn of(&mut self, shape: &Arc<Shape>) -> u32 {
        let next = self.tables.len() as u32;
        let (tables, by_name) = (&mut self.tables, &mut self.by_name);
        // the shapes live as long as what was collected
        *self.by_shape.entry(Arc::as_ptr(shape).addr()).or_insert_with(|| {
            let table = Table { database: shape.database_name.clone(), name: shape.qualified() };
            *by_name.entry(table).or_insert_with_key(|table| {
                tables.push(table.clone());
                next
            })
        })
    }
}

/// What a transaction did, but for its rows, and where those lie.
#[derive(Debug)]
pub struct Contents {
    /// Everything that is no row, in words.
    pub events: Vec<String>,
    /// So many more.
    pub more_events: u64,
    /// For each piece of it: how many rows of all tables come before it, then of each part.
    pieces: Vec<(Piece, u64, Vec<u64>)>,
}

impl Contents {
    /// Goes through a transaction once.
    ///
    /// # Errors
    /// The temporary file cannot be read, or the work was cancelled.
    pub fn new(found: &Found, xact: usize, progress: &Progress) -> io::Result<Self> {
        let Some(of) = found.lost.transactions.get(xact) else {
            return Err(io::Error::other("there is no such transaction"));
        };
        let parts = found.parts(xact);
        let (mut events, mut more_events) = (Vec::new(), 0);
        let (mut all, mut each) = (0, vec![0; parts.len()]);
        let mut pieces = Vec::new();
        for piece in found.lost.pieces(of.xid)? {
            progress.check().map_err(io::Error::other)?;
            pieces.push((piece, all, each.clone()));
            found.lost.of_piece(piece, |entry| {
                match entry {
                    Entry::Row(row) => {
                        all += 1;
                        let part = part_of(found, parts, &row.shape);
                        if let Some(count) = part.and_then(|part| each.get_mut(part)) {
                            *count += 1;
                        }
                    }
                    Entry::Event(_, event) if events.len() < MAX_EVENTS => events.push(event_text(&event)),
                    Entry::Event(..) => more_events += 1,
                }
                Ok(())
            })?;
        }
        Ok(Self { events, more_events, pieces })
    }

    /// Goes through rows from `first` on, of one part or of all, until `take` has enough (false).
    ///
    /// # Errors
    /// The temporary file cannot be read, or the work was cancelled.
    pub fn rows(
        &self,
        found: &Found,
        xact: usize,
        part: Option<usize>,
        first: u64,
        progress: &Progress,
        mut take: impl FnMut(u64, &RowChange) -> bool,
    ) -> io::Result<()> {
        let parts = found.parts(xact);
        let before = |piece: &(Piece, u64, Vec<u64>)| match part {
            None => piece.1,
            Some(part) => piece.2.get(part).copied().unwrap_or(0),
        };
        let from = self.pieces.partition_point(|piece| before(piece) <= first).saturating_sub(1);
        let mut wanted = true;
        for (at, piece) in self.pieces.iter().enumerate().skip(from) {
            progress.check().map_err(io::Error::other)?;
            let mut number = before(piece);
            // a piece without any of them need not be read
            if self.pieces.get(at + 1).is_some_and(|next| before(next) == number) {
                continue;
            }
            found.lost.of_piece(piece.0, |entry| {
                if let Entry::Row(row) = entry
                    && wanted
                    && part.is_none_or(|part| part_of(found, parts, &row.shape) == Some(part))
                {
                    if number >= first {
                        wanted = take(number, &row);
                    }
                    number += 1;
                }
                Ok(())
            })?;
            if !wanted {
                break;
            }
        }
        Ok(())
    }
}

/// Which part of its transaction a row belongs to.
pub fn part_of(found: &Found, parts: &[Part], shape: &Shape) -> Option<usize> {
    parts.iter().position(|part| {
        found
            .tables
            .get(part.table as usize)
            .is_some_and(|t| t.database == shape.database_name && is_named(&t.name, shape))
    })
}

/// As `qualified() == name`, without making a text of it for every row.
fn is_named(name: &str, shape: &Shape) -> bool {
    if shape.schema.is_empty() {
        return name == shape.name;
    }
    let rest = name.strip_prefix(shape.schema.as_str()).and_then(|rest| rest.strip_prefix('.'));
    rest == Some(shape.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lost::{Ending, LostXact, Origin, Version};
    use crate::pg::{Lsn, RelFile};
    use crate::rows::Types;

    fn shape(name: &str) -> Arc<Shape> {
        Arc::new(Shape {
            database: 5,
            database_name: "shop".into(),
            schema: "public".into(),
            name: name.into(),
            oid: 20_000,
            file: RelFile { spc: 1663, db: 5, rel: 20_000 },
            kind: 'r',
            columns: Vec::new(),
            types: Arc::new(Types::builtin()),
            key: Vec::new(),
            toast: 0,
            transient_of: None,
        })
    }

    #[test]
    fn any_row_of_many_is_found_without_reading_all() {
        const ROWS: u64 = 60_000;
        // one table's rows among the other's: every seventh, and none in the last third
        let is_second = |n: u64| n % 7 == 3 && n < ROWS * 2 / 3;
        let (first, second) = (shape("a"), shape("b"));
        let row = |n: u64| {
            let shape = if is_second(n) { &second } else { &first };
            let new = Some(Version { tuple: vec![0; 100], from: Origin::Record });
            let change = Change::Insert;
            let row =
                RowChange { lsn: Lsn(n), change, shape: Arc::clone(shape), old: None, new, old_place: None };
            (7, Entry::Row(Box::new(row)))
        };
        let xact = LostXact {
            xid: 7,
            ending: Ending::Committed,
            time: None,
            lsn: Lsn(1),
            first: Lsn(1),
            begins_earlier: false,
            origin: None,
            origin_names: Vec::new(),
            origin_lsn: None,
            rows: ROWS,
        };
        let entries: Vec<_> = (0..ROWS).map(row).collect();
        let lost = Lost::made_of(vec![xact], &entries).unwrap();
        let progress = Progress::default();
        let found = Found::new(lost, &progress).unwrap();
        let contents = Contents::new(&found, 0, &progress).unwrap();
        assert!(contents.pieces.len() > 20, "{}", contents.pieces.len());
        for part in [None, Some(0), Some(1)] {
            let wanted: Vec<u64> =
                (0..ROWS).filter(|n| part.is_none_or(|part| is_second(*n) == (part == 1))).collect();
            if let Some(part) = part {
                assert_eq!(found.parts(0)[part].counts.inserted, wanted.len() as u64);
            }
            for begin in (0..wanted.len()).step_by(997).chain([wanted.len() - 1, wanted.len()]) {
                let mut seen = Vec::new();
                let take = |n: u64, row: &RowChange| {
                    seen.push((n, row.lsn.0));
                    seen.len() < 40
                };
                contents.rows(&found, 0, part, begin as u64, &progress, take).unwrap();
                let expected: Vec<_> =
                    (begin as u64..).zip(wanted.iter().copied().skip(begin).take(40)).collect();
                assert_eq!(seen, expected, "{part:?} from {begin}");
            }
        }
    }
}
