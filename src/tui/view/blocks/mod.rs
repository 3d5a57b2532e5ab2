//! Changed blocks: databases and relations as a tree, a relation over its length, down to one block on both sides.

mod detail;
mod map;
mod page;
mod tree;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use self::detail::Detail;
use self::map::{Extent, Map, Whose, neighbour};
use self::tree::{Row, Tree, fork_words, name, qualified};
use super::{Context, Prompt, Shared, View};
use crate::facts::Role;
use crate::pg::{BlockNumber, Fork, RelFile};
use crate::report::words;
use crate::tui::action::Action;
use crate::tui::app::Go;
use crate::tui::jobs::{Answer, Slot};
use crate::tui::look::PLAIN;
use crate::tui::saved::{Picture, Relation};
use crate::tui::wal::Place;
use crate::tui::widget::pane::{below, first_rows, marks, put, put_row, titled};
use crate::tui::widget::prose::{Para, Scroll};

/// Below this height only the pane with the keys is seen.
const BOTH: u16 = 14;
const NO_PAGES: &str = "pages need the two directories: this is a stored report";

/// Which pane has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Focus {
    #[default]
    Tree,
    Map,
}

/// A block that was marked.
type Mark = (RelFile, Fork, BlockNumber);

/// The view.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The picture that the tree was made of.
    picture: Option<Arc<Picture>>,
    tree: Tree,
    /// It is on its way.
    listing: bool,
    map: Map,
    /// The relation fork that the map is of, by its place in the picture.
    mapped: Option<usize>,
    focus: Focus,
    whose: Whose,
    enlarged: bool,
    detail: Option<Detail>,
    marks: BTreeSet<Mark>,
    /// The mark that was gone to last.
    mark: Option<Mark>,
    /// Where tree and map were drawn.
    drawn: Cell<(Rect, Rect)>,
}

impl Blocks {
    fn relation<'a>(&self, picture: &'a Picture) -> Option<(usize, &'a Relation)> {
        let index = self.mapped?;
        Some((index, picture.relations.get(index)?))
    }

    fn extent(&self, index: usize, relation: &Relation) -> Extent {
        Extent::of(relation, self.tree.lengths(index), self.tree.measured)
    }

    /// The map follows the tree.
    fn follow(&mut self) {
        let fork = self.tree.fork();
        if fork != self.mapped {
            self.mapped = fork;
            self.map = Map::default();
        }
        if fork.is_none() {
            self.focus = Focus::Tree;
        }
    }

    fn open(&mut self, (rel, fork, block): Mark, context: &mut Context<'_>) {
        let Some(picture) = self.picture.clone() else { return };
        let known = picture.relations.iter().find(|r| (r.rel, r.fork) == (rel, fork));
        let about = known.map_or_else(|| (rel.to_string(), None), |r| (qualified(r), r.kind));
        match Detail::open((rel, fork, block), about, context) {
            Some(detail) => {
                self.detail = Some(detail.at_pane_of(self.detail.as_ref()));
                self.map.go(block);
            }
            None => context.say(NO_PAGES),
        }
    }

    /// The block that is looked at, or under the cursor of the map.
    fn block(&self, picture: &Picture) -> Option<Mark> {
        match &self.detail {
            Some(detail) => Some((detail.rel, detail.fork, detail.block)),
            None if self.focus == Focus::Map => {
                let (_, relation) = self.relation(picture)?;
                Some((relation.rel, relation.fork, self.map.block()))
            }
            None => None,
        }
    }

    fn show_records(&self, picture: &Picture, context: &mut Context<'_>) {
        let place = match (&self.detail, self.relation(picture)) {
            (Some(d), _) => Place { rel: d.rel, fork: d.fork, block: Some(d.block) },
            (None, Some((_, r))) => {
                let single = self.focus == Focus::Map && self.map.is_single();
                Place { rel: r.rel, fork: r.fork, block: single.then(|| self.map.block()) }
            }
            (None, None) => return,
        };
        let relation = picture.relations.iter().find(|r| (r.rel, r.fork) == (place.rel, place.fork));
        let target = relation.is_none_or(|r| {
            let holds =
                |set: &crate::scan::BlockSet| place.block.map_or(!set.is_empty(), |b| set.contains(b));
            holds(&r.target.after) || holds(&r.target.before) || !holds(&r.source.after)
        });
        let side = match self.whose {
            Whose::Target => Role::Target,
            Whose::Both if target => Role::Target,
            Whose::Both | Whose::Source => Role::Source,
        };
        context.go(Go::Records { side, filter: place.filter(), lsn: None });
    }

    fn copy(&self, picture: &Picture, context: &mut Context<'_>) {
        let text = match (self.focus, self.relation(picture)) {
            (Focus::Map, Some((_, r))) => {
                Some(format!("{} {} block {} {}", qualified(r), r.fork, self.map.block(), r.path))
            }
            _ => self.tree.text(picture),
        };
        if let Some(text) = text {
            context.copy(text);
        }
    }

    fn toggle_mark(&mut self, picture: &Picture, context: &mut Context<'_>) {
        let Some(mark) = self.block(picture) else { return };
        if self.marks.remove(&mark) {
            context.say("the mark is gone");
        } else {
            self.marks.insert(mark);
            context.say(format!("block {} is marked; ' goes from mark to mark", words::count(mark.2.into())));
        }
    }

    fn next_mark(&mut self, picture: &Picture, context: &mut Context<'_>) {
        let next = self.mark.and_then(|last| self.marks.iter().find(|m| **m > last));
        let Some(&mark) = next.or_else(|| self.marks.first()) else { return };
        self.mark = Some(mark);
        self.place(picture, mark);
        if self.detail.is_some() {
            self.open(mark, context);
        }
    }

    /// Puts tree and map on a block; false if its relation has no changes.
    fn place(&mut self, picture: &Picture, (rel, fork, block): Mark) -> bool {
        let found = self.tree.select(picture, rel, fork);
        if found {
            self.follow();
            self.map.go(block);
            self.focus = Focus::Map;
        }
        found
    }

    fn in_detail(&mut self, action: Action, picture: &Picture, context: &mut Context<'_>) {
        let Some(detail) = &mut self.detail else { return };
        if detail.update(action, context) {
            return;
        }
        match action {
            Action::Back => {
                self.detail = None;
                context.stop(Slot::Page);
                context.stop(Slot::BlockRecords);
            }
            Action::Left | Action::Right => {
                let (rel, fork, block) = (detail.rel, detail.fork, detail.block);
                let relation = picture.relations.iter().find(|r| (r.rel, r.fork) == (rel, fork));
                let next = relation.and_then(|r| neighbour(r, block, action == Action::Right));
                match next {
                    Some(next) => self.open((rel, fork, next), context),
                    None => context.say("no block was changed there"),
                }
            }
            _ => {}
        }
    }

    fn in_tree(&mut self, action: Action, picture: &Picture, context: &mut Context<'_>) {
        if self.tree.moved(action) {
            self.follow();
            return;
        }
        match action {
            Action::Enter
                if self.tree.has_forks() || matches!(self.tree.selected(), Some(Row::Database(_))) =>
            {
                self.tree.toggle(picture);
            }
            Action::Enter | Action::NextPane | Action::PreviousPane if self.mapped.is_some() => {
                self.focus = Focus::Map;
            }
            Action::Right => {
                self.tree.expand(picture);
            }
            Action::Back if !self.tree.filter.is_empty() => {
                // an empty filter lets everything through
                let _ = self.tree.set_filter(picture, "");
            }
            Action::Left | Action::Back => {
                self.tree.collapse(picture);
            }
            Action::Sort => {
                let by = self.tree.sort(picture);
                context.say(format!("sorted {by}"));
            }
            Action::NextMatch | Action::PreviousMatch => {
                if let Err(why) = self.tree.next(picture, action == Action::NextMatch) {
                    context.say(why);
                }
            }
            _ => {}
        }
        self.follow();
    }

    fn in_map(&mut self, action: Action, picture: &Picture, context: &mut Context<'_>) {
        let Some((index, relation)) = self.relation(picture) else { return };
        let extent = self.extent(index, relation);
        if self.map.moved(action, &extent) {
            return;
        }
        match action {
            Action::Enter if !self.map.zoom(&extent) => {
                let place = (relation.rel, relation.fork, self.map.block());
                self.open(place, context);
            }
            Action::Back if !self.map.leave() => self.focus = Focus::Tree,
            Action::NextPane | Action::PreviousPane => self.focus = Focus::Tree,
            _ => {}
        }
    }

    fn tree_title(&self, picture: &Picture) -> String {
        let all = words::counted(picture.relations.len() as u64, "relation fork");
        match self.tree.filter.as_str() {
            "" => format!("{all}; blocks changed after the divergence, and before it"),
            filter => format!("with {filter:?} of {all}; Esc shows all"),
        }
    }

    fn draw_tree(&self, buffer: &mut Buffer, area: Rect, picture: &Picture) -> Rect {
        let focused = self.focus == Focus::Tree;
        let title = area;
        let area = titled(buffer, area, &self.tree_title(picture), focused);
        put(buffer, area, 0, &self.tree.head(area.width.into()));
        let area = below(area, 1);
        let seen = self.tree.window(area.height.into());
        marks(buffer, title, &seen, self.tree.len());
        for (line, row) in seen.enumerate() {
            if let Some(text) = self.tree.line(picture, row, area.width.into()) {
                put_row(buffer, area, line as u16, &text, self.tree.is_selected(row), focused);
            }
        }
        area
    }

    fn draw_map(&self, buffer: &mut Buffer, area: Rect, picture: &Picture) -> Rect {
        let focused = self.focus == Focus::Map;
        let Some((index, relation)) = self.relation(picture) else {
            let area = titled(buffer, area, "blocks", focused);
            put(buffer, area, 0, &Line::raw("Choose a relation above to see its blocks."));
            return area;
        };
        let extent = self.extent(index, relation);
        let title = format!(
            "{} {}, {}; {}",
            name(relation),
            fork_words(relation.fork),
            self.whose.words(),
            extent.words
        );
        let area = titled(buffer, area, &title, focused);
        let marks: BTreeSet<BlockNumber> = self
            .marks
            .range((relation.rel, relation.fork, 0)..=(relation.rel, relation.fork, BlockNumber::MAX))
            .map(|m| m.2)
            .collect();
        self.map.draw(buffer, area, (relation, &extent, self.whose), (&marks, focused));
        area
    }
}

impl View for Blocks {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        let Some(picture) = self.picture.clone() else { return };
        match action {
            Action::Enlarge => self.enlarged = !self.enlarged,
            Action::ShowRecords => self.show_records(&picture, context),
            Action::Mark => self.toggle_mark(&picture, context),
            Action::NextMark => self.next_mark(&picture, context),
            Action::OtherSide if self.detail.is_none() => {
                self.whose = self.whose.next();
                context.say(format!("shown: {}", self.whose.words()));
            }
            Action::Copy if self.detail.is_none() => self.copy(&picture, context),
            _ if self.detail.is_some() => self.in_detail(action, &picture, context),
            Action::Sort | Action::NextMatch | Action::PreviousMatch => {
                self.in_tree(action, &picture, context);
            }
            _ if self.focus == Focus::Tree => self.in_tree(action, &picture, context),
            _ => self.in_map(action, &picture, context),
        }
    }

    fn receive(&mut self, slot: Slot, answer: Answer, _context: &mut Context<'_>) {
        let answer = match answer.downcast::<Tree>() {
            Ok(tree) => {
                self.tree = *tree;
                self.follow();
                return;
            }
            Err(answer) => answer,
        };
        if let Some(detail) = &mut self.detail {
            detail.receive(slot, answer);
        }
    }

    fn ended(&mut self, slot: Slot, _context: &mut Context<'_>) {
        if slot == Slot::Tree && std::mem::take(&mut self.listing) && self.tree.len() == 0 {
            // stopped: asked for again when the view is shown again
            self.picture = None;
        }
        if let Some(detail) = &mut self.detail {
            detail.ended(slot);
        }
    }

    fn shown(&mut self, context: &mut Context<'_>) {
        let Some(picture) = &context.shared.picture else { return };
        if self.picture.as_ref().is_some_and(|known| Arc::ptr_eq(known, picture)) {
            return;
        }
        let (picture, diagnosis) = (Arc::clone(picture), context.shared.diagnosis.clone());
        self.picture = Some(Arc::clone(&picture));
        let before = std::mem::take(&mut self.tree);
        self.listing = true;
        context.run(Slot::Tree, "listing relations", move |worker| {
            let facts = diagnosis.as_ref().map(|d| &d.facts);
            worker.answer(Tree::new(&picture, facts).like(&before, &picture));
        });
        self.mapped = None;
        self.detail = None;
        self.follow();
    }

    fn refuses(&self, action: Action, shared: &Shared) -> Option<String> {
        let needs = !matches!(
            action,
            Action::View(_)
                | Action::NextView
                | Action::PreviousView
                | Action::Help
                | Action::Command
                | Action::Quit
                | Action::Cancel
                | Action::Suspend
                | Action::Redraw
                | Action::Mouse
        );
        if needs && self.tree.len() == 0 && self.tree.filter.is_empty() {
            return Some(self.nothing(shared));
        }
        let in_map = self.detail.is_none() && self.focus == Focus::Map;
        let pages = shared.diagnosis.is_some();
        Some(
            match action {
                Action::Enter if in_map && self.map.is_single() && !pages => NO_PAGES,
                Action::ShowRecords if !pages => "records need the two directories: this is a stored report",
                Action::ShowRecords if self.detail.is_none() && self.mapped.is_none() => {
                    "choose a relation first"
                }
                Action::OtherSide | Action::Sort | Action::Search | Action::Filter
                    if self.detail.is_some() =>
                {
                    "not for one block: Esc goes back to the relations"
                }
                Action::NextMatch | Action::PreviousMatch
                    if self.detail.as_ref().is_some_and(|d| !d.has_differences()) =>
                {
                    "this pane has no differences"
                }
                Action::NextPane | Action::PreviousPane
                    if self.detail.is_none() && self.focus == Focus::Tree && self.mapped.is_none() =>
                {
                    "choose a relation first"
                }
                Action::Mark if self.detail.is_none() && !in_map => {
                    "marks are for blocks: go to the map with Tab"
                }
                Action::NextMark if self.marks.is_empty() => "no block is marked: m marks one",
                _ => return None,
            }
            .into(),
        )
    }

    fn entered(&mut self, prompt: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        let Some(picture) = self.picture.clone() else { return Ok(()) };
        match prompt {
            Prompt::Filter => self.tree.set_filter(&picture, text.trim())?,
            Prompt::Search => {
                self.tree.search(text.trim());
                self.tree.next(&picture, true)?;
            }
            Prompt::Command | Prompt::Export => {}
        }
        if self.tree.len() == 0 {
            context.say("nothing is left");
        }
        self.focus = Focus::Tree;
        self.follow();
        Ok(())
    }

    fn check(&self, _prompt: Prompt, text: &str, _shared: &Shared) -> Result<(), String> {
        self.tree.check(text.trim())
    }

    fn prompt(&self, prompt: Prompt, _: &Shared) -> String {
        if prompt == Prompt::Filter { self.tree.filter.clone() } else { String::new() }
    }

    fn mouse(&mut self, event: MouseEvent, _area: Rect, context: &mut Context<'_>) {
        if !matches!(event.kind, MouseEventKind::Down(_)) {
            return;
        }
        let Some(picture) = self.picture.clone() else { return };
        if let Some(detail) = &mut self.detail {
            if detail.point(event.column, event.row) {
                self.in_detail(Action::Enter, &picture, context);
            }
            return;
        }
        let (tree, map) = self.drawn.get();
        if tree.contains((event.column, event.row).into()) {
            let focused = self.focus == Focus::Tree;
            self.focus = Focus::Tree;
            let again = self.tree.point(usize::from(event.row - tree.y)) && focused;
            self.follow();
            if again {
                self.in_tree(Action::Enter, &picture, context);
            }
        } else if map.contains((event.column, event.row).into())
            && let Some((index, relation)) = self.relation(&picture)
        {
            let extent = self.extent(index, relation);
            let focused = self.focus == Focus::Map;
            self.focus = Focus::Map;
            if self.map.point(event.column, event.row, &extent) == Some(true) && focused {
                self.in_map(Action::Enter, &picture, context);
            }
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        let picture = match &self.picture {
            Some(picture) if self.tree.len() > 0 || !self.tree.filter.is_empty() => picture,
            _ => {
                Scroll::default().draw(buffer, area, &[Para::new(self.nothing(shared), PLAIN)]);
                return;
            }
        };
        if let Some(detail) = &self.detail {
            let place = (detail.rel, detail.fork, detail.block);
            detail.draw(buffer, area, shared, (self.enlarged, self.marks.contains(&place)));
            return;
        }
        if self.enlarged || area.height < BOTH {
            let drawn = match self.focus {
                Focus::Tree => (self.draw_tree(buffer, area, picture), Rect::default()),
                Focus::Map => (Rect::default(), self.draw_map(buffer, area, picture)),
            };
            self.drawn.set(drawn);
            return;
        }
        let lower = (area.height * 2 / 5).max(7);
        let tree = self.draw_tree(buffer, first_rows(area, area.height - lower), picture);
        let map = self.draw_map(buffer, below(area, area.height - lower), picture);
        self.drawn.set((tree, map));
    }
}

impl Blocks {
    /// Why there is nothing to see.
    fn nothing(&self, shared: &Shared) -> String {
        match (&shared.picture, &shared.plan) {
            (None, Some(_)) => "This is a stored plan: 7 shows it.".into(),
            (None, None) => {
                "Reading both directories: changed blocks are known when the diagnosis is there.".into()
            }
            (Some(_), _) if self.listing => "The relations are being listed.".into(),
            (Some(picture), _) if picture.records.0.is_none() => {
                "The target's WAL was not read, so its changed blocks are not known: 1 says why.".into()
            }
            (Some(picture), _) if !picture.relations.is_empty() => {
                "Listing the relations was stopped; 4 begins anew.".into()
            }
            (Some(_), _) => "No block was changed since the last common checkpoint.".into(),
        }
    }
}
