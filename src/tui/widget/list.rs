//! Where one is in a list of any length: the selected row, and the first one that is seen.

use std::cell::Cell;

use crate::tui::action::Action;

/// The position in a list. The list itself lies elsewhere and may have millions of rows.
#[derive(Debug, Clone, Default)]
pub struct List {
    selected: usize,
    /// First row that is seen; follows the selection when it is drawn.
    top: Cell<usize>,
    /// Rows that are seen, as drawn last.
    height: Cell<usize>,
}

impl List {
    /// The selected row.
    pub const fn selected(&self) -> usize {
        self.selected
    }

    /// Selects a row.
    pub fn select(&mut self, row: usize, len: usize) {
        self.selected = row.min(len.saturating_sub(1));
    }

    /// Moves as the action says; false: it is no movement. Needs the number of rows.
    pub fn moved(&mut self, action: Action, len: usize) -> bool {
        let page = self.height.get().saturating_sub(1).max(1);
        let to = match action {
            Action::Up => self.selected.saturating_sub(1),
            Action::Down => self.selected.saturating_add(1),
            Action::PageUp => self.selected.saturating_sub(page),
            Action::PageDown => self.selected.saturating_add(page),
            Action::First => 0,
            Action::Last => len,
            _ => return false,
        };
        self.select(to, len);
        true
    }

    /// Selects the next row, or the one before, that `matches`, once around; false: there is none.
    pub fn find(&mut self, len: usize, back: bool, matches: impl Fn(usize) -> bool) -> bool {
        let at = self.selected;
        let row = |by: usize| if back { (at + len - by) % len } else { (at + by) % len };
        let found = (1..=len).map(row).find(|&n| matches(n));
        if let Some(row) = found {
            self.select(row, len);
        }
        found.is_some()
    }

    /// The rows that are seen in `height` lines; the selected one is among them.
    pub fn window(&self, len: usize, height: usize) -> std::ops::Range<usize> {
        self.height.set(height);
        let selected = self.selected.min(len.saturating_sub(1));
        let mut top = self.top.get().min(selected);
        if height > 0 && selected >= top + height {
            top = selected + 1 - height;
        }
        // no empty lines below while there are rows above
        top = top.min(len.saturating_sub(height));
        self.top.set(top);
        top..len.min(top.saturating_add(height))
    }

    /// Selects the row that was clicked, in this line of the list; whether it was selected before. `None`: no row is there.
    pub fn clicked(&mut self, line: usize, len: usize) -> Option<bool> {
        let row = self.at_line(line);
        let again = row == self.selected;
        (row < len).then(|| {
            self.select(row, len);
            again
        })
    }

    /// The row that was drawn in this line of the list.
    pub fn at_line(&self, line: usize) -> usize {
        self.top.get().saturating_add(line)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_selected_row_is_always_seen(len in 0usize..50, steps in proptest::collection::vec((0usize..6, 0usize..12), 0..40)) {
            let mut list = List::default();
            for (step, height) in steps {
                let action = [Action::Up, Action::Down, Action::PageUp, Action::PageDown, Action::First, Action::Last][step];
                prop_assert!(list.moved(action, len));
                let window = list.window(len, height);
                prop_assert!(window.len() == height.min(len));
                prop_assert!(len == 0 || height == 0 || window.contains(&list.selected()));
            }
        }
    }
}
