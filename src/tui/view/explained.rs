//! A list of lines that are explained below it: what Control and Timelines have in common.

use std::cell::Cell;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::{Context, Prompt, Shared, View};
use crate::tui::action::Action;
use crate::tui::look::PLAIN;
use crate::tui::saved::Picture;
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{below, first_rows, marks, pressed, put_row};
use crate::tui::widget::prose::{Para, Scroll};

/// What is listed.
pub trait Subject {
    /// A line of the list.
    type Row;

    /// All lines.
    fn rows(picture: &Picture) -> Vec<Self::Row>;

    /// What is searched and copied.
    fn text(row: &Self::Row) -> String;

    /// Rows of the screen for the list with what is above it, of so many.
    fn upper(rows: &[Self::Row], height: u16) -> u16;

    /// Draws the row above the list.
    fn head(buffer: &mut Buffer, area: Rect);

    /// A line; `found`: the search found it.
    fn line(row: &Self::Row, width: usize, found: bool) -> Line<'static>;

    /// The title over the explanation of a line.
    fn title(row: &Self::Row, rows: &[Self::Row]) -> String;

    /// The explanation; `width`: columns of the list.
    fn explanation(row: &Self::Row, width: usize) -> Vec<Para>;
}

/// The view of a subject.
#[derive(Debug)]
pub struct Explained<S> {
    list: List,
    search: String,
    /// The explanation has the whole body.
    open: Option<Scroll>,
    /// Where the list was drawn.
    drawn: Cell<Rect>,
    subject: std::marker::PhantomData<S>,
}

impl<S> Default for Explained<S> {
    fn default() -> Self {
        Self {
            list: List::default(),
            search: String::new(),
            open: None,
            drawn: Cell::default(),
            subject: std::marker::PhantomData,
        }
    }
}

impl<S: Subject> Explained<S> {
    fn says(&self, row: &S::Row) -> bool {
        !self.search.is_empty() && S::text(row).to_lowercase().contains(&self.search.to_lowercase())
    }

    fn find(&mut self, rows: &[S::Row], back: bool) -> bool {
        let found: Vec<bool> = rows.iter().map(|row| self.says(row)).collect();
        self.list.find(rows.len(), back, |n| found.get(n).copied().unwrap_or(false))
    }
}

impl<S: Subject> View for Explained<S> {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        let Some(picture) = context.shared.picture.clone() else { return };
        let rows = S::rows(&picture);
        if let Some(scroll) = &mut self.open {
            if scroll.moved(action) {
                return;
            }
            let step = match action {
                Action::Back | Action::Left => {
                    self.open = None;
                    return;
                }
                Action::NextPane => Some(Action::Down),
                Action::PreviousPane => Some(Action::Up),
                _ => None,
            };
            if let Some(step) = step {
                scroll.reset();
                self.list.moved(step, rows.len());
                return;
            }
        } else if self.list.moved(action, rows.len()) {
            return;
        }
        match action {
            Action::Enter | Action::Right if !rows.is_empty() => self.open = Some(Scroll::default()),
            Action::NextMatch | Action::PreviousMatch
                if !self.find(&rows, action == Action::PreviousMatch) =>
            {
                context.say(format!("{} is nowhere", self.search));
            }
            Action::Copy => {
                if let Some(row) = rows.get(self.list.selected()) {
                    context.copy(S::text(row));
                }
            }
            _ => {}
        }
    }

    fn refuses(&self, action: Action, _: &Shared) -> Option<String> {
        match action {
            Action::NextMatch | Action::PreviousMatch if self.search.is_empty() => {
                Some("search first, with /".into())
            }
            Action::Back if self.open.is_none() => Some("nothing is open; q quits".into()),
            Action::NextPane | Action::PreviousPane if self.open.is_none() => {
                Some("there is one pane: Enter opens the explanation".into())
            }
            Action::Enlarge => Some("there is nothing to enlarge: Enter opens the explanation".into()),
            _ => None,
        }
    }

    fn prompt(&self, _: Prompt, _: &Shared) -> String {
        self.search.clone()
    }

    fn entered(&mut self, _: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        text.clone_into(&mut self.search);
        let Some(picture) = context.shared.picture.clone() else { return Ok(()) };
        if text.is_empty() || self.find(&S::rows(&picture), false) {
            Ok(())
        } else {
            Err("nothing here says so".into())
        }
    }

    fn mouse(&mut self, event: MouseEvent, _: Rect, context: &mut Context<'_>) {
        let (Some(picture), None) = (&context.shared.picture, &self.open) else { return };
        let Some(((), line)) = pressed(event, [()], std::slice::from_ref(&self.drawn)) else { return };
        if self.list.clicked(line, S::rows(picture).len()) == Some(true) {
            self.open = Some(Scroll::default());
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        let Some(picture) = &shared.picture else {
            Scroll::default().draw(buffer, area, &[Para::new(shared.without_picture(), PLAIN)]);
            return;
        };
        let rows = S::rows(picture);
        let width = area.width as usize;
        let row = rows.get(self.list.selected());
        if let (Some(scroll), Some(row)) = (&self.open, row) {
            let title =
                format!("{} of {}: Esc closes, Tab shows the next", self.list.selected() + 1, rows.len());
            let mut paras =
                vec![Para::new(S::text(row).trim().to_owned(), crate::tui::look::STRONG), Para::gap()];
            // as if there were no room in the list: told in full
            paras.extend(S::explanation(row, 0));
            scroll.draw_titled(buffer, area, (&title, true), &paras);
            return;
        }
        let height = S::upper(&rows, area.height);
        let (upper, lower) = (first_rows(area, height), below(area, height));
        S::head(buffer, upper);
        let list = below(upper, 1);
        self.drawn.set(list);
        let seen = self.list.window(rows.len(), list.height as usize);
        marks(buffer, upper, &seen, rows.len());
        for (line, index) in seen.enumerate() {
            let Some(row) = rows.get(index) else { continue };
            let text = S::line(row, width, self.says(row));
            put_row(buffer, list, line as u16, &text, index == self.list.selected(), true);
        }
        if let Some(row) = row {
            let title = S::title(row, &rows);
            Scroll::default().draw_titled(buffer, lower, (&title, false), &S::explanation(row, width));
        }
    }
}
