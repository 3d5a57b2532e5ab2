//! The fields of a record: which is selected, which groups are open.

use std::collections::HashSet;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::dump::tree::{Node, Tree};
use crate::tui::action::Action;
use crate::tui::look::{CODE, DIM, PLAIN};
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{marks, put_row, span};

/// The state of the pane.
#[derive(Debug, Default)]
pub struct Fields {
    list: List,
    /// Groups that are closed, by their paths.
    closed: HashSet<String>,
    /// The fields that are not within a closed group.
    visible: Vec<usize>,
    /// Path of the selected field.
    path: String,
}

impl Fields {
    /// Another record: the field of the same name stays selected.
    pub fn show(&mut self, tree: &Tree) {
        self.lay_out(tree);
        let at = self.visible.iter().position(|node| tree.path(*node) == self.path);
        self.list.select(at.unwrap_or(0), self.visible.len());
    }

    fn lay_out(&mut self, tree: &Tree) {
        self.visible.clear();
        let mut within: Option<usize> = None;
        for (number, node) in tree.nodes.iter().enumerate() {
            if within.is_some_and(|depth| node.depth > depth) {
                continue;
            }
            within = None;
            self.visible.push(number);
            if !self.closed.is_empty() && tree.is_group(number) && self.closed.contains(&tree.path(number)) {
                within = Some(node.depth);
            }
        }
    }

    fn node(&self) -> Option<usize> {
        self.visible.get(self.list.selected()).copied()
    }

    fn selected<'a>(&self, tree: &'a Tree) -> Option<&'a Node> {
        tree.nodes.get(self.node()?)
    }

    /// Bytes of the selected field.
    pub fn range(&self, tree: &Tree) -> std::ops::Range<usize> {
        self.selected(tree).map_or(0..0, |n| n.at.start as usize..n.at.end as usize)
    }

    /// Where the selected field begins; the record itself for one without bytes.
    pub fn first_byte(&self, tree: &Tree) -> usize {
        let range = self.range(tree);
        if range.is_empty() { 0 } else { range.start }
    }

    /// Number of the block reference that the selected field belongs to.
    pub fn block(&self, tree: &Tree) -> Option<u8> {
        self.selected(tree)?.block
    }

    /// The selected field as text.
    pub fn text(&self, tree: &Tree) -> String {
        self.selected(tree).map(text).unwrap_or_default()
    }

    /// Moves, opens and closes; false: the action means something else.
    pub fn act(&mut self, action: Action, tree: &Tree) -> bool {
        let done = self.list.moved(action, self.visible.len()) || self.fold(action, tree);
        if done {
            self.path = self.node().map(|node| tree.path(node)).unwrap_or_default();
        }
        done
    }

    fn fold(&mut self, action: Action, tree: &Tree) -> bool {
        let Some(node) = self.node() else { return false };
        let path = tree.path(node);
        let (group, closed) = (tree.is_group(node), self.closed.contains(&path));
        match action {
            Action::Enter | Action::Right if group && closed => {
                self.closed.remove(&path);
            }
            Action::Enter | Action::Left if group && !closed => {
                self.closed.insert(path);
            }
            Action::Left => {
                let Some(parent) = tree.parent(node) else { return false };
                self.select(parent);
            }
            _ => return false,
        }
        self.lay_out(tree);
        true
    }

    fn select(&mut self, node: usize) {
        if let Some(at) = self.visible.iter().position(|visible| *visible == node) {
            self.list.select(at, self.visible.len());
        }
    }

    /// Selects the innermost field that holds the byte, and opens the groups around it.
    pub fn find(&mut self, tree: &Tree, byte: u32) {
        let Some(node) = tree.holding(byte) else { return };
        let mut around = tree.parent(node);
        while let Some(group) = around {
            self.closed.remove(&tree.path(group));
            around = tree.parent(group);
        }
        self.lay_out(tree);
        self.select(node);
        self.path = tree.path(node);
    }

    /// A line was clicked; `again`: the pane had the keys already, so a click on the selected field opens or closes it.
    pub fn click(&mut self, line: usize, again: bool, tree: &Tree) {
        let row = self.list.at_line(line);
        if again && row == self.list.selected() {
            self.act(Action::Enter, tree);
        } else if row < self.visible.len() {
            self.list.select(row, self.visible.len());
            self.path = self.node().map(|node| tree.path(node)).unwrap_or_default();
        }
    }

    /// Draws what is seen of it below its title.
    pub fn draw(&self, buffer: &mut Buffer, (title, area): (Rect, Rect), tree: &Tree, focused: bool) {
        let window = self.list.window(self.visible.len(), usize::from(area.height));
        marks(buffer, title, &window, self.visible.len());
        for (row, at) in window.enumerate() {
            let Some(&number) = self.visible.get(at) else { continue };
            let Some(node) = tree.nodes.get(number) else { continue };
            let sign = match (tree.is_group(number), self.closed.contains(&tree.path(number))) {
                (true, true) => "▸ ",
                (true, false) => "▾ ",
                (false, _) => "  ",
            };
            let line = Line::from(vec![
                Span::styled(format!("{}{sign}", "  ".repeat(node.depth)), DIM),
                span(&node.name, CODE),
                Span::styled(if node.value.is_empty() { "" } else { ": " }, DIM),
                span(&node.value, PLAIN),
            ]);
            put_row(buffer, area, row as u16, &line, at == self.list.selected(), focused);
        }
    }
}

fn text(node: &Node) -> String {
    format!("{}: {}", node.name, node.value)
}
