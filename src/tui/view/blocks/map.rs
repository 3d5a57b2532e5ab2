//! The blocks of a relation fork over its length, a sign for each stretch of them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::tree::BLOCK;
use crate::pg::BlockNumber;
use crate::report::words;
use crate::scan::BlockSet;
use crate::tui::action::Action;
use crate::tui::look::{BAD, CODE, DIM, PLAIN, STRONG, WARN};
use crate::tui::saved::{Lengths, Relation};
use crate::tui::widget::pane::{put, right, row_style, span};

/// Whose changes are seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Whose {
    /// Both sides', and where they meet.
    #[default]
    Both,
    /// The target's.
    Target,
    /// The source's.
    Source,
}

impl Whose {
    /// The next one.
    pub const fn next(self) -> Self {
        match self {
            Self::Both => Self::Target,
            Self::Target => Self::Source,
            Self::Source => Self::Both,
        }
    }

    /// In words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Both => "both sides' changes",
            Self::Target => "target's changes",
            Self::Source => "source's changes",
        }
    }
}

/// How long a relation fork is, in blocks, and how that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extent {
    /// Blocks of the longer side.
    pub blocks: u32,
    /// In words.
    pub words: String,
}

impl Extent {
    /// Of a relation fork; `measured`: file lengths are known.
    pub fn of(relation: &Relation, lengths: Lengths, measured: bool) -> Self {
        let sets = [
            &relation.target.before,
            &relation.target.after,
            &relation.source.before,
            &relation.source.after,
        ];
        let seen = sets.iter().filter_map(|s| s.last()).max().map_or(0, |last| last.saturating_add(1));
        let blocks = |bytes: Option<u64>| bytes.map(|b| u32::try_from(b / BLOCK).unwrap_or(u32::MAX));
        let (target, source) = (blocks(lengths.target), blocks(lengths.source));
        let file = |blocks: Option<u32>| match blocks {
            Some(n) => words::count(u64::from(n)),
            None => "no file".into(),
        };
        let longest = target.max(source).unwrap_or(0);
        let mut words = if measured {
            format!("blocks in files: target {}, source {}", file(target), file(source))
        } else {
            format!("{} up to the last changed one", words::counted(u64::from(seen), "block"))
        };
        if measured && seen > longest {
            words = format!("{words}; WAL names {}", words::count(u64::from(seen)));
        }
        Self { blocks: longest.max(seen).max(1), words }
    }
}

/// Changes in a stretch of blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Seen {
    target: u64,
    before: u64,
    source: u64,
    both: u64,
}

impl Seen {
    fn of(relation: &Relation, from: u32, to: u32) -> Self {
        let (target, source) = (&relation.target, &relation.source);
        Self {
            target: target.after.within(from, to),
            before: target.before.within(from, to),
            source: source.after.within(from, to),
            both: target.after.common_within(&source.after, from, to),
        }
    }

    const fn changed(self, whose: Whose) -> u64 {
        match whose {
            Whose::Both => self.target + self.source - self.both,
            Whose::Target => self.target,
            Whose::Source => self.source,
        }
    }

    fn sign(self, whose: Whose, blocks: u64) -> (&'static str, Style) {
        let changed = self.changed(whose);
        if whose == Whose::Both && self.both > 0 {
            return ("╳", BAD);
        }
        let before = self.before > 0 && whose != Whose::Source;
        match (changed * 4).checked_div(blocks.max(1)) {
            _ if changed == 0 && before => ("+", WARN),
            _ if changed == 0 => ("·", DIM),
            Some(0) => ("░", CODE),
            Some(1) => ("▒", CODE),
            Some(2) => ("▓", CODE),
            _ => ("█", CODE),
        }
    }
}

/// How the cells lay, as drawn last.
#[derive(Debug, Clone, Copy)]
struct Grid {
    per: u32,
    columns: u32,
    rows: u32,
    /// Where the first cell is.
    place: Rect,
}

impl Default for Grid {
    fn default() -> Self {
        Self { per: 1, columns: 1, rows: 1, place: Rect::default() }
    }
}

/// Where one is in a relation fork.
#[derive(Debug, Default)]
pub struct Map {
    /// Stretches that were entered, each within the one before; from, to.
    stretches: Vec<(u32, u32)>,
    cursor: BlockNumber,
    grid: Cell<Grid>,
    /// What was counted last.
    cells: RefCell<Cells>,
}

/// Changes in each cell of a stretch. Counting those of a relation of 1 TiB takes longer than a frame may.
#[derive(Debug, Default)]
struct Cells {
    /// From, to, blocks in a cell.
    of: (u32, u32, u32),
    seen: Vec<Seen>,
}

impl Cells {
    fn of(&mut self, relation: &Relation, (from, to, per): (u32, u32, u32)) -> &[Seen] {
        if self.of != (from, to, per) {
            self.of = (from, to, per);
            let starts = (from..to).step_by(per as usize);
            self.seen = starts.map(|at| Seen::of(relation, at, at.saturating_add(per).min(to))).collect();
        }
        &self.seen
    }
}

impl Map {
    /// The first block of the cell under the cursor.
    pub const fn block(&self) -> BlockNumber {
        self.cursor
    }

    /// The cell under the cursor is one block.
    pub fn is_single(&self) -> bool {
        self.grid.get().per == 1
    }

    fn stretch(&self, extent: &Extent) -> (u32, u32) {
        let (from, to) = self.stretches.last().copied().unwrap_or((0, extent.blocks));
        (from, to.min(extent.blocks).max(from.saturating_add(1)))
    }

    /// Enters the cell under the cursor; false if it is one block already.
    pub fn zoom(&mut self, extent: &Extent) -> bool {
        let per = self.grid.get().per;
        if per == 1 {
            return false;
        }
        let (from, to) = self.stretch(extent);
        let start = from + (self.cursor.max(from) - from) / per * per;
        self.stretches.push((start, start.saturating_add(per).min(to)));
        self.cursor = start;
        true
    }

    /// Leaves the stretch; false if it is the whole relation fork.
    pub fn leave(&mut self) -> bool {
        self.stretches.pop().is_some()
    }

    /// Moves the cursor; false: it is no movement.
    pub fn moved(&mut self, action: Action, extent: &Extent) -> bool {
        let Grid { per, columns, rows, .. } = self.grid.get();
        let (from, to) = self.stretch(extent);
        let row = per.saturating_mul(columns);
        let back = |by: u32| self.cursor.checked_sub(by).filter(|b| *b >= from);
        let ahead = |by: u32| self.cursor.checked_add(by).filter(|b| *b < to);
        let last = from + (to - 1 - from) / per * per;
        let page = row.saturating_mul(rows.saturating_sub(1).max(1));
        self.cursor = match action {
            Action::Left => back(per).unwrap_or(self.cursor),
            Action::Right => ahead(per).unwrap_or(self.cursor),
            Action::Up => back(row).unwrap_or(self.cursor),
            Action::Down => ahead(row).unwrap_or(self.cursor),
            Action::PageUp => back(page).unwrap_or(from),
            Action::PageDown => ahead(page).unwrap_or(last),
            Action::First => from,
            Action::Last => last,
            _ => return false,
        };
        true
    }

    /// Puts the cursor on a block; the stretches that lack it are left.
    pub fn go(&mut self, block: BlockNumber) {
        while self.stretches.last().is_some_and(|(from, to)| !(*from..*to).contains(&block)) {
            self.stretches.pop();
        }
        self.cursor = block;
    }

    /// Puts the cursor where the mouse is; `Some(true)` if it was there before.
    pub fn point(&mut self, column: u16, row: u16, extent: &Extent) -> Option<bool> {
        let Grid { per, columns, place, .. } = self.grid.get();
        if !place.contains((column, row).into()) {
            return None;
        }
        let (from, to) = self.stretch(extent);
        let cell = u32::from(row - place.y).saturating_mul(columns) + u32::from(column - place.x);
        let block = from.checked_add(cell.checked_mul(per)?).filter(|b| *b < to)?;
        let again = (block..block.saturating_add(per)).contains(&self.cursor);
        self.cursor = block;
        Some(again)
    }

    /// Draws it: cells, what is under the cursor, the legend.
    pub fn draw(
        &self,
        buffer: &mut Buffer,
        area: Rect,
        (relation, extent, whose): (&Relation, &Extent, Whose),
        (marks, focused): (&BTreeSet<BlockNumber>, bool),
    ) {
        let (from, to) = self.stretch(extent);
        let label = words::count(u64::from(to)).len() + 1;
        let tail: u16 = match area.height {
            0..=2 => 0,
            3..=5 => 1,
            _ => 2,
        };
        let rows = u32::from(area.height - tail).max(1);
        let room = usize::from(area.width).saturating_sub(label).max(1) as u32;
        // borders of rows that are easy to read
        let columns = if room >= 16 { room / 8 * 8 } else { room };
        let mut per = 1u32;
        while u64::from(per) * u64::from(columns) * u64::from(rows) < u64::from(to - from) {
            per = per.saturating_mul(2);
        }
        let cells = (to - from).div_ceil(per);
        let seen_rows = cells.div_ceil(columns).min(rows);
        let place = Rect {
            x: area.x + label as u16,
            y: area.y,
            width: (columns as u16).min(area.width.saturating_sub(label as u16)),
            height: seen_rows as u16,
        };
        self.grid.set(Grid { per, columns, rows: seen_rows, place });
        let under = self.cursor.clamp(from, to - 1);
        let under = from + (under - from) / per * per;
        let mut counted = self.cells.borrow_mut();
        let counted = counted.of(relation, (from, to, per));
        for row in 0..seen_rows {
            let first = from + row * columns * per;
            let mut spans =
                vec![Span::styled(format!("{} ", right(&words::count(u64::from(first)), label - 1)), DIM)];
            for cell in 0..columns {
                let Some(start) = first.checked_add(cell.saturating_mul(per)).filter(|s| *s < to) else {
                    break;
                };
                let end = start.saturating_add(per).min(to);
                let (sign, style) = if marks.range(start..end).next().is_some() {
                    ("◆", STRONG)
                } else {
                    let seen = counted.get(((start - from) / per) as usize).copied().unwrap_or_default();
                    seen.sign(whose, u64::from(end - start))
                };
                let style = if start == under { style.patch(row_style(true, focused)) } else { style };
                spans.push(Span::styled(sign, style));
            }
            put(buffer, area, row as u16, &Line::from(spans));
        }
        if tail > 0 {
            let end = under.saturating_add(per).min(to);
            put(buffer, area, seen_rows as u16, &under_cursor(relation, under, end));
        }
        if tail > 1 {
            let blocks = words::counted(u64::from(per), "block");
            let mut text = format!("1 cell = {blocks}, {}", words::block_bytes(u64::from(per)));
            if area.width >= 76 {
                text.push_str("; ░▒▓█ up to 25, 50, 75, 100 %, ╳ by both, + before only");
            }
            put(buffer, area, seen_rows as u16 + 1, &Line::from(span(text, DIM)));
        }
    }
}

fn under_cursor(relation: &Relation, from: u32, to: u32) -> Line<'static> {
    let seen = Seen::of(relation, from, to);
    let number = |n: u32| words::count(u64::from(n));
    let (what, text) = if to - from == 1 {
        let target = match (seen.target, seen.before) {
            (0, 0) => None,
            (0, _) => Some("by the target before the divergence"),
            (_, 0) => Some("by the target"),
            _ => Some("by the target (before the divergence, too)"),
        };
        let source = (seen.source > 0).then_some("by the source");
        let by: Vec<_> = target.into_iter().chain(source).collect();
        let text = if by.is_empty() { "not changed".into() } else { format!("changed {}", by.join(" and ")) };
        (format!("block {}", number(from)), text)
    } else {
        let parts: Vec<_> = [
            (seen.target, "by the target"),
            (seen.before, "before the divergence"),
            (seen.source, "by the source"),
            (seen.both, "by both"),
        ]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, who)| format!("{} {who}", words::count(n)))
        .collect();
        let text = if parts.is_empty() { "none changed".into() } else { parts.join(", ") };
        (format!("blocks {}–{}", number(from), number(to - 1)), text)
    };
    Line::from(vec![span(format!("{what}: "), STRONG), span(text, PLAIN)])
}

/// The block that was changed next to this one, on either side; `forward` or back.
pub fn neighbour(relation: &Relation, block: BlockNumber, forward: bool) -> Option<BlockNumber> {
    let sets = [&relation.target.before, &relation.target.after, &relation.source.after];
    let next = |set: &&BlockSet| {
        if forward { set.next_from(block.checked_add(1)?) } else { set.last_before(block) }
    };
    let found = sets.iter().filter_map(next);
    if forward { found.min() } else { found.max() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pg::{Fork, RelFile};
    use crate::tui::saved::Blocks;

    fn relation(target: &[u32], source: &[u32]) -> Relation {
        let set =
            |blocks: &[u32]| Blocks { before: BlockSet::default(), after: blocks.iter().copied().collect() };
        Relation {
            rel: RelFile { spc: 1663, db: 5, rel: 16385 },
            fork: Fork::Main,
            database: "d".into(),
            schema: Some("s".into()),
            name: Some("t".into()),
            kind: Some('r'),
            toast_of: None,
            path: "base/5/16385".into(),
            target: set(target),
            source: set(source),
        }
    }

    fn drawn(map: &Map, relation: &Relation, extent: &Extent, size: (u16, u16)) -> String {
        let area = Rect::new(0, 0, size.0, size.1);
        let mut buffer = Buffer::empty(area);
        map.draw(&mut buffer, area, (relation, extent, Whose::Both), (&BTreeSet::new(), true));
        let rows = buffer.content.chunks(size.0.into());
        rows.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>() + "\n").collect()
    }

    #[test]
    fn down_to_one_block() {
        let relation = relation(&[777_777, 900_000], &[777_777]);
        let lengths = Lengths { target: Some(1_000_000 * BLOCK), source: Some(900_000 * BLOCK) };
        let extent = Extent::of(&relation, lengths, true);
        assert_eq!(extent.blocks, 1_000_000);
        let mut map = Map::default();
        map.go(777_777);
        let mut steps = 0;
        loop {
            let frame = drawn(&map, &relation, &extent, (80, 10));
            assert_eq!(frame.matches('╳').count(), 1 + usize::from(frame.contains("╳ by both")), "{frame}");
            // the cursor is at the start of a cell that has the block
            let per = map.grid.get().per;
            let (from, _) = map.stretch(&extent);
            map.go(from + (777_777 - from) / per * per);
            if !map.zoom(&extent) {
                break;
            }
            steps += 1;
        }
        assert!(map.is_single() && map.block() == 777_777, "{map:?}");
        assert!(
            drawn(&map, &relation, &extent, (80, 10))
                .contains("block 777,777: changed by the target and by the source")
        );
        assert!((1..5).contains(&steps), "{steps}");
        for _ in 0..steps {
            assert!(map.leave());
        }
        assert!(!map.leave());
    }

    #[test]
    fn cells_are_counted_once_for_a_stretch() {
        let (one, none) = (relation(&[3, 9, 10], &[9]), relation(&[], &[]));
        let mut cells = Cells::default();
        let seen = |cells: &[Seen]| cells.iter().map(|s| (s.target, s.both)).collect::<Vec<_>>();
        let counted = [(1, 0), (2, 1), (0, 0)];
        assert_eq!(seen(cells.of(&one, (0, 20, 8))), counted);
        // a frame of the same stretch does not look at the relation again
        assert_eq!(seen(cells.of(&none, (0, 20, 8))), counted);
        assert_eq!(seen(cells.of(&one, (8, 12, 2))), [(1, 1), (1, 0)]);
    }

    #[test]
    fn neighbours() {
        let relation = relation(&[3, 9], &[5]);
        assert_eq!(neighbour(&relation, 3, true), Some(5));
        assert_eq!(neighbour(&relation, 9, false), Some(5));
        assert_eq!(neighbour(&relation, 9, true), None);
        assert_eq!(neighbour(&relation, 3, false), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn each_changed_block_is_in_one_cell_and_nothing_panics(
            target in proptest::collection::vec(prop_oneof![0u32..200, any::<u32>()], 0..20),
            length in prop_oneof![0u64..500, 0u64..1 << 33],
            steps in proptest::collection::vec((0usize..11, 1u16..130, 1u16..20), 1..12),
        ) {
            let relation = relation(&target, &[]);
            let extent = Extent::of(&relation, Lengths { target: Some(length * BLOCK), source: None }, true);
            let mut map = Map::default();
            for (step, width, height) in steps {
                drawn(&map, &relation, &extent, (width, height));
                let Grid { per, columns, rows, .. } = map.grid.get();
                let (from, to) = map.stretch(&extent);
                prop_assert!(u64::from(per) * u64::from(columns) * u64::from(rows) >= u64::from(to - from));
                prop_assert!((from..to).contains(&map.cursor));
                let actions = [Action::Left, Action::Right, Action::Up, Action::Down, Action::PageUp,
                    Action::PageDown, Action::First, Action::Last];
                match step {
                    8 => { map.zoom(&extent); }
                    9 => { map.leave(); }
                    10 => { map.point(width / 2, height / 2, &extent); }
                    step => { map.moved(actions[step], &extent); }
                }
            }
        }
    }
}
