//! Databases, relations and their forks, with counts of changed blocks.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use ratatui::text::{Line, Span};

use crate::facts::Facts;
use crate::pg::{BLOCK_SIZE, Fork, Oid, RelFile};
use crate::report::words;
use crate::tui::action::Action;
use crate::tui::look::{DIM, PLAIN, STRONG};
use crate::tui::saved::{Lengths, Picture, Relation};
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{display_width, fit, right};

/// Bytes of a block.
pub const BLOCK: u64 = BLOCK_SIZE as u64;
/// Columns of the names that are never given away.
const NAME: usize = 16;

/// Changed blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// The target's after the divergence.
    pub after: u64,
    /// The target's between the last common checkpoint and the divergence.
    pub before: u64,
    /// The source's after the divergence.
    pub source: u64,
    /// Both sides' after the divergence.
    pub both: u64,
    /// Bytes of them that a rewind by WAL copies; without the files' lengths, of those that the target changed.
    pub copy: u64,
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.after += other.after;
        self.before += other.before;
        self.source += other.source;
        self.both += other.both;
        self.copy += other.copy;
    }

    const fn of(self, column: Column) -> u64 {
        match column {
            Column::Name | Column::After => self.after,
            Column::Before => self.before,
            Column::Source => self.source,
            Column::Both => self.both,
            Column::Copy => self.copy,
        }
    }
}

/// What the list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Column {
    Name,
    #[default]
    After,
    Before,
    Source,
    Both,
    Copy,
}

impl Column {
    const ALL: [Self; 6] = [Self::Name, Self::After, Self::Before, Self::Source, Self::Both, Self::Copy];

    const fn title(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::After => "target",
            Self::Before => "before",
            Self::Source => "source",
            Self::Both => "both",
            Self::Copy => "to copy",
        }
    }

    /// The least important is left out first where there is no room.
    const fn weight(self) -> u8 {
        match self {
            Self::Name | Self::After => 0,
            Self::Copy => 2,
            Self::Source => 1,
            Self::Both => 3,
            Self::Before => 4,
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Name => "by name",
            Self::After => "by blocks that the target changed after the divergence",
            Self::Before => "by blocks that the target changed before the divergence",
            Self::Source => "by blocks that the source changed after the divergence",
            Self::Both => "by blocks that both changed after the divergence",
            Self::Copy => "by bytes of changed blocks to copy; tails and whole files: 7",
        }
    }
}

/// Relation forks of one relation: indexes into the picture's relations.
#[derive(Debug)]
struct Group {
    forks: std::ops::Range<usize>,
    counts: Counts,
    /// Database, schema and name as they are searched.
    words: String,
}

#[derive(Debug)]
struct Database {
    oid: Oid,
    name: String,
    groups: std::ops::Range<usize>,
    counts: Counts,
}

/// What a row stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    /// A database, by its place.
    Database(usize),
    /// A relation.
    Relation(usize),
    /// A fork, by its place in the picture.
    Fork(usize),
}

/// The tree.
#[derive(Debug, Default)]
pub struct Tree {
    list: List,
    rows: Vec<Row>,
    databases: Vec<Database>,
    groups: Vec<Group>,
    lengths: Vec<Lengths>,
    counts: Vec<Counts>,
    /// Databases that are collapsed, relations that are expanded, by their numbers.
    collapsed: BTreeSet<Oid>,
    expanded: BTreeSet<RelFile>,
    sort: Column,
    /// What the filter asks for.
    pub filter: String,
    search: String,
    /// File lengths are known.
    pub measured: bool,
}

impl Tree {
    /// Of a picture; file lengths from the facts, where there are any.
    pub fn new(picture: &Picture, facts: Option<&Facts>) -> Self {
        let mut tree = Self::default();
        for relation in &picture.relations {
            let lengths = facts.and_then(|facts| Lengths::of(relation, facts));
            tree.measured |= lengths.is_some();
            tree.counts.push(counts(relation, lengths));
            tree.lengths.push(lengths.unwrap_or_default());
        }
        // databases by number are not together where there are tablespaces
        let mut order: Vec<(usize, &Relation)> = picture.relations.iter().enumerate().collect();
        order.sort_by_key(|(n, r)| (r.rel.db, *n));
        for (index, relation) in order {
            let counts = tree.counts.get(index).copied().unwrap_or_default();
            if tree.databases.last().is_none_or(|d| d.oid != relation.rel.db) {
                let name = if relation.database.is_empty() { "(shared)" } else { &relation.database };
                let groups = tree.groups.len()..tree.groups.len();
                let (name, oid) = (name.to_owned(), relation.rel.db);
                tree.databases.push(Database { oid, name, groups, counts: Counts::default() });
            }
            let same = |g: &&mut Group| {
                let first = picture.relations.get(g.forks.start);
                first.is_some_and(|first| first.rel == relation.rel)
            };
            match tree.groups.last_mut().filter(same) {
                Some(group) => {
                    group.forks.end = index + 1;
                    group.counts.add(counts);
                }
                None => tree.groups.push(Group {
                    forks: index..index + 1,
                    counts,
                    words: format!(
                        "{}.{} {} {} {}",
                        relation.database,
                        name(relation),
                        relation.title(),
                        relation.rel,
                        relation.path
                    )
                    .to_lowercase(),
                }),
            }
            let end = tree.groups.len();
            if let Some(database) = tree.databases.last_mut() {
                database.groups.end = end;
                database.counts.add(counts);
            }
        }
        tree
    }

    /// Takes over what the user chose in another tree.
    pub fn like(mut self, other: &Self, picture: &Picture) -> Self {
        self.sort = other.sort;
        self.filter.clone_from(&other.filter);
        self.collapsed.clone_from(&other.collapsed);
        self.expanded.clone_from(&other.expanded);
        self.arrange(picture);
        self
    }

    /// Sorts, filters and lists the rows anew; the selection stays on what it was.
    fn arrange(&mut self, picture: &Picture) {
        let was = self.selected();
        let wanted = self.filter.to_lowercase();
        let sort = self.sort;
        let mut rows = Vec::new();
        let key = |counts: Counts| if sort == Column::Name { 0 } else { counts.of(sort) };
        let mut databases: Vec<usize> = (0..self.databases.len()).collect();
        databases.sort_by_key(|&d| {
            let d = self.databases.get(d);
            (Reverse(key(d.map(|d| d.counts).unwrap_or_default())), d.map(|d| d.name.clone()))
        });
        for d in databases {
            let Some(database) = self.databases.get(d) else { continue };
            let holds = |g: &usize| {
                wanted.is_empty() || self.groups.get(*g).is_some_and(|g| g.words.contains(&wanted))
            };
            let mut groups: Vec<usize> = database.groups.clone().filter(holds).collect();
            if groups.is_empty() {
                continue;
            }
            rows.push(Row::Database(d));
            if self.collapsed.contains(&database.oid) {
                continue;
            }
            groups.sort_by_cached_key(|&g| {
                let group = self.groups.get(g);
                let relation = group.and_then(|g| picture.relations.get(g.forks.start));
                (Reverse(key(group.map(|g| g.counts).unwrap_or_default())), relation.map(name))
            });
            for g in groups {
                rows.push(Row::Relation(g));
                let Some(group) = self.groups.get(g).filter(|g| g.forks.len() > 1) else { continue };
                let rel = picture.relations.get(group.forks.start).map(|r| r.rel);
                if rel.is_some_and(|rel| self.expanded.contains(&rel)) {
                    rows.extend(group.forks.clone().map(Row::Fork));
                }
            }
        }
        let at = was.and_then(|was| rows.iter().position(|r| *r == was)).unwrap_or(0);
        self.rows = rows;
        self.list.select(at, self.rows.len());
    }

    /// The selected row.
    pub fn selected(&self) -> Option<Row> {
        self.rows.get(self.list.selected()).copied()
    }

    /// Number of rows.
    pub const fn len(&self) -> usize {
        self.rows.len()
    }

    /// The relation fork that is selected, if it is one; of a relation with several the main fork.
    pub fn fork(&self) -> Option<usize> {
        match self.selected()? {
            Row::Database(_) => None,
            Row::Relation(g) => self.groups.get(g).map(|g| g.forks.start),
            Row::Fork(index) => Some(index),
        }
    }

    /// Several forks of the selected relation have changes, so that it can be expanded.
    pub fn has_forks(&self) -> bool {
        matches!(self.selected(), Some(Row::Relation(g)) if self.groups.get(g).is_some_and(|g| g.forks.len() > 1))
    }

    /// Lengths of the files of a relation fork.
    pub fn lengths(&self, fork: usize) -> Lengths {
        self.lengths.get(fork).copied().unwrap_or_default()
    }

    /// Changed blocks of a relation fork.
    pub fn counts(&self, fork: usize) -> Counts {
        self.counts.get(fork).copied().unwrap_or_default()
    }

    /// Moves the selection; false: it is no movement.
    pub fn moved(&mut self, action: Action) -> bool {
        self.list.moved(action, self.rows.len())
    }

    /// Selects the row that was drawn in this line; true if it was selected before.
    pub fn point(&mut self, line: usize) -> bool {
        let row = self.list.at_line(line);
        let again = row == self.list.selected();
        self.list.select(row, self.rows.len());
        again && row < self.rows.len()
    }

    /// Expands what is selected; false if there is nothing to expand.
    pub fn expand(&mut self, picture: &Picture) -> bool {
        let done = match self.selected() {
            Some(Row::Database(d)) => {
                let oid = self.databases.get(d).map(|d| d.oid);
                oid.is_some_and(|oid| self.collapsed.remove(&oid))
            }
            Some(Row::Relation(_)) if self.has_forks() => {
                self.rel(picture).is_some_and(|rel| self.expanded.insert(rel))
            }
            _ => false,
        };
        if done {
            self.arrange(picture);
        }
        done
    }

    /// Collapses what is selected, or goes to what it belongs to; false at the top.
    pub fn collapse(&mut self, picture: &Picture) -> bool {
        let done = match self.selected() {
            Some(Row::Database(d)) => {
                let oid = self.databases.get(d).map(|d| d.oid);
                oid.is_some_and(|oid| self.collapsed.insert(oid))
            }
            Some(Row::Relation(_)) if self.rel(picture).is_some_and(|rel| self.expanded.remove(&rel)) => true,
            Some(Row::Relation(_) | Row::Fork(_)) => return self.up(),
            None => false,
        };
        if done {
            self.arrange(picture);
        }
        done
    }

    /// Collapses or expands.
    pub fn toggle(&mut self, picture: &Picture) {
        if !self.expand(picture) {
            self.collapse(picture);
        }
    }

    fn rel(&self, picture: &Picture) -> Option<RelFile> {
        picture.relations.get(self.fork()?).map(|r| r.rel)
    }

    fn up(&mut self) -> bool {
        let at = self.list.selected();
        let depth = |row: &Row| match row {
            Row::Database(_) => 0,
            Row::Relation(_) => 1,
            Row::Fork(_) => 2,
        };
        let here = self.rows.get(at).map_or(0, depth);
        let above = self.rows.iter().take(at).rposition(|row| depth(row) < here);
        if let Some(above) = above {
            self.list.select(above, self.rows.len());
        }
        above.is_some()
    }

    /// Selects a relation fork, whatever has to be expanded for it; false if it has no changes.
    pub fn select(&mut self, picture: &Picture, rel: RelFile, fork: Fork) -> bool {
        let found = picture.relations.iter().position(|r| (r.rel, r.fork) == (rel, fork));
        let Some(index) = found else { return false };
        let group = self.groups.iter().position(|g| g.forks.contains(&index));
        let Some(g) = group else { return false };
        let words = self.groups.get(g).map(|g| g.words.clone()).unwrap_or_default();
        if !words.contains(&self.filter.to_lowercase()) {
            self.filter.clear();
        }
        self.collapsed.remove(&rel.db);
        let several = self.groups.get(g).is_some_and(|g| g.forks.len() > 1);
        if several && fork != Fork::Main {
            self.expanded.insert(rel);
        }
        self.arrange(picture);
        let row = if several && fork != Fork::Main { Row::Fork(index) } else { Row::Relation(g) };
        if let Some(at) = self.rows.iter().position(|r| *r == row) {
            self.list.select(at, self.rows.len());
        }
        true
    }

    /// Sorts by the next column; says by which.
    pub fn sort(&mut self, picture: &Picture) -> &'static str {
        let at = Column::ALL.iter().position(|c| *c == self.sort).unwrap_or(0) + 1;
        self.sort = Column::ALL.get(at % Column::ALL.len()).copied().unwrap_or_default();
        self.arrange(picture);
        self.sort.words()
    }

    /// Shows only what has the text in its name, numbers or path.
    ///
    /// # Errors
    /// Nothing has it.
    pub fn set_filter(&mut self, picture: &Picture, text: &str) -> Result<(), String> {
        self.check(text)?;
        text.clone_into(&mut self.filter);
        self.arrange(picture);
        Ok(())
    }

    /// Whether anything has the text.
    ///
    /// # Errors
    /// Nothing has it.
    pub fn check(&self, text: &str) -> Result<(), String> {
        let wanted = text.to_lowercase();
        if self.groups.is_empty() || self.groups.iter().any(|g| g.words.contains(&wanted)) {
            Ok(())
        } else {
            Err(format!("no relation has {text:?} in its name, numbers or path"))
        }
    }

    /// Remembers what is searched for.
    pub fn search(&mut self, text: &str) {
        self.search = text.to_lowercase();
    }

    /// Goes to the next relation that has the searched text; collapsed databases are opened for it.
    ///
    /// # Errors
    /// There is none, and why.
    pub fn next(&mut self, picture: &Picture, forward: bool) -> Result<(), String> {
        if self.search.is_empty() {
            return Err("nothing was searched for: / asks".into());
        }
        let hidden = std::mem::take(&mut self.collapsed);
        self.arrange(picture);
        let here = self.list.selected();
        let matches = |at: &usize| match self.rows.get(*at) {
            Some(Row::Relation(g)) => self.groups.get(*g).is_some_and(|g| g.words.contains(&self.search)),
            _ => false,
        };
        let len = self.rows.len();
        let round = |step: usize| (here + if forward { step } else { len - step }) % len.max(1);
        let found = (1..=len).map(round).find(matches);
        if let Some(found) = found {
            self.list.select(found, len);
        }
        // only the database that has it stays open
        let keep = found.and_then(|at| self.rows.get(..=at)).and_then(|rows| {
            rows.iter().rev().find_map(|r| match r {
                Row::Database(d) => self.databases.get(*d).map(|d| d.oid),
                _ => None,
            })
        });
        self.collapsed = hidden;
        if let Some(keep) = keep {
            self.collapsed.remove(&keep);
        }
        self.arrange(picture);
        found
            .map(|_| ())
            .ok_or_else(|| format!("no relation has {:?} in its name, numbers or path", self.search))
    }

    /// Columns that a column takes: its title with the sign, or its largest number, and a blank.
    fn width_of(&self, column: Column) -> usize {
        let title = column.title().len() + 2;
        let largest = self.databases.iter().map(|d| d.counts.of(column)).max().unwrap_or(0);
        match column {
            Column::Name => NAME,
            Column::Copy => 11,
            _ => title.max(words::count(largest).len() + 1),
        }
    }

    fn columns(&self, width: usize) -> (usize, bool, Vec<Column>) {
        let mut columns: Vec<Column> = Column::ALL.into_iter().filter(|c| *c != Column::Name).collect();
        let used = |columns: &[Column]| columns.iter().map(|c| self.width_of(*c)).sum::<usize>();
        // what is sorted by is always seen
        while used(&columns) + NAME > width {
            let sort = self.sort;
            let drop = columns.iter().filter(|c| **c != sort).max_by_key(|c| c.weight()).copied();
            let Some(drop) = drop else { break };
            columns.retain(|c| *c != drop);
        }
        let left = width.saturating_sub(used(&columns));
        let kind = left >= NAME + 10;
        (if kind { left - 10 } else { left }, kind, columns)
    }

    /// The titles of the columns, with a sign at the one that is sorted by.
    pub fn head(&self, width: usize) -> Line<'static> {
        let (name, kind, columns) = self.columns(width);
        let sign =
            |c: Column| if c == self.sort { if c == Column::Name { "▲" } else { "▼" } } else { "" };
        let mut spans = vec![Span::styled(fit(&format!("name{}", sign(Column::Name)), name), DIM)];
        if kind {
            spans.push(Span::styled(fit("kind", 10), DIM));
        }
        for column in columns {
            let style = if column == self.sort { STRONG } else { DIM };
            // without the files' lengths nobody knows what is copied
            let title = match column {
                Column::Copy if !self.measured => "changed",
                column => column.title(),
            };
            let text = format!("{title}{}", sign(column));
            spans.push(Span::styled(right(&text, self.width_of(column)), style));
        }
        Line::from(spans)
    }

    /// The rows that are seen in so many lines, with their numbers.
    pub fn window(&self, height: usize) -> std::ops::Range<usize> {
        self.list.window(self.rows.len(), height)
    }

    /// Whether this row is the selected one.
    pub const fn is_selected(&self, row: usize) -> bool {
        row == self.list.selected()
    }

    /// A row.
    pub fn line(&self, picture: &Picture, row: usize, width: usize) -> Option<Line<'static>> {
        let row = *self.rows.get(row)?;
        let (name_width, with_kind, columns) = self.columns(width);
        let (text, kind, counts) = match row {
            Row::Database(d) => {
                let database = self.databases.get(d)?;
                let sign = if self.collapsed.contains(&database.oid) { "▸" } else { "▾" };
                (format!("{sign} {}", database.name), String::new(), database.counts)
            }
            Row::Relation(g) => {
                let group = self.groups.get(g)?;
                let relation = picture.relations.get(group.forks.start)?;
                let several = group.forks.len() > 1;
                let sign = match (several, self.expanded.contains(&relation.rel)) {
                    (false, _) => " ",
                    (true, false) => "▸",
                    (true, true) => "▾",
                };
                let kind = match relation.fork {
                    _ if several => kind(relation).to_owned(),
                    Fork::Main => kind(relation).to_owned(),
                    fork => format!("{} {fork}", kind(relation)),
                };
                let mut name = name(relation);
                // psql leaves it out, too
                if display_width(&name) + 5 > name_width
                    && let Some(short) = name.strip_prefix("pg_catalog.")
                {
                    name = short.to_owned();
                }
                (format!("  {sign} {name}"), kind, group.counts)
            }
            Row::Fork(index) => {
                let relation = picture.relations.get(index)?;
                (format!("      {}", fork_words(relation.fork)), String::new(), self.counts(index))
            }
        };
        let style = if matches!(row, Row::Database(_)) { STRONG } else { PLAIN };
        let mut spans = vec![Span::styled(format!("{} ", fit(&text, name_width.saturating_sub(1))), style)];
        if with_kind {
            spans.push(Span::styled(fit(&kind, 10), DIM));
        }
        for column in columns {
            let value = counts.of(column);
            let text = match column {
                _ if value == 0 => "–".to_owned(),
                Column::Copy => words::bytes(value),
                _ => words::count(value),
            };
            spans.push(Span::styled(
                right(&text, self.width_of(column)),
                if value == 0 { DIM } else { PLAIN },
            ));
        }
        Some(Line::from(spans))
    }

    /// What `y` copies of the selected row.
    pub fn text(&self, picture: &Picture) -> Option<String> {
        Some(match self.selected()? {
            Row::Database(d) => self.databases.get(d)?.name.clone(),
            Row::Relation(_) | Row::Fork(_) => {
                let relation = picture.relations.get(self.fork()?)?;
                format!("{} {} {}", qualified(relation), relation.fork, relation.path)
            }
        })
    }
}

/// `database.schema.relation`, as far as known.
pub fn qualified(relation: &Relation) -> String {
    match (&relation.name, relation.database.as_str()) {
        (None, _) | (_, "") => relation.title(),
        (Some(_), database) => format!("{database}.{}", relation.title()),
    }
}

/// A relation as the tree names it: a TOAST relation by its table.
pub fn name(relation: &Relation) -> String {
    match &relation.toast_of {
        Some(of) if relation.kind == Some('i') => format!("{of} (TOAST index)"),
        Some(of) => format!("{of} (TOAST)"),
        None => relation.title(),
    }
}

/// What kind of relation, in a word.
pub const fn kind(relation: &Relation) -> &'static str {
    match relation.kind {
        Some('r' | 'p') => "table",
        Some('i' | 'I') => "index",
        Some('S') => "sequence",
        Some('t') => "toast",
        Some('m') => "matview",
        Some(_) => "other",
        None => "unknown",
    }
}

/// A fork in words.
pub const fn fork_words(fork: Fork) -> &'static str {
    match fork {
        Fork::Main => "main",
        Fork::Fsm => "free space map",
        Fork::Vm => "visibility map",
        Fork::Init => "init fork",
    }
}

fn counts(relation: &Relation, lengths: Option<Lengths>) -> Counts {
    let Relation { target, source, .. } = relation;
    let copy = lengths.map_or_else(|| target.changed(u32::MAX), |lengths| lengths.to_copy(relation));
    Counts {
        after: target.after.len(),
        before: target.before.len(),
        source: source.after.len(),
        both: target.after.common(&source.after),
        copy: copy * BLOCK,
    }
}
