//! Paragraphs, wrapped to the width at hand, and scrolled.

use std::cell::Cell;
use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use super::pane::{clean, display_width, marks, put, titled};
use crate::tui::action::Action;
use crate::tui::look::DIM;

/// A paragraph: pieces of text, and columns by which its further lines are indented.
#[derive(Debug, Clone, Default)]
pub struct Para {
    /// The pieces.
    pub spans: Vec<(String, Style)>,
    /// Further lines begin so many columns to the right.
    pub indent: usize,
}

impl Para {
    /// Of one piece.
    pub fn new(text: impl Into<String>, style: Style) -> Self {
        Self { spans: vec![(text.into(), style)], indent: 0 }
    }

    /// An empty line.
    pub fn gap() -> Self {
        Self::default()
    }

    /// One more piece.
    #[must_use]
    pub fn with(mut self, text: impl Into<String>, style: Style) -> Self {
        self.spans.push((text.into(), style));
        self
    }

    /// Further lines are indented.
    #[must_use]
    pub const fn indented(mut self, columns: usize) -> Self {
        self.indent = columns;
        self
    }

    /// Its lines.
    pub fn lines(&self, width: usize) -> Vec<Line<'static>> {
        let width = width.max(8);
        let mut lines = Vec::new();
        let mut line: Vec<Span<'static>> = Vec::new();
        let mut used = 0;
        let indent = self.indent.min(width / 2);
        for (text, style) in &self.spans {
            let text = clean(text);
            for word in text.split_inclusive(' ') {
                let columns = display_width(word.trim_end_matches(' '));
                if used > indent && used + columns > width {
                    lines.push(Line::from(std::mem::take(&mut line)));
                    line.push(Span::raw(" ".repeat(indent)));
                    used = indent;
                }
                // a word that is longer than a line is broken anywhere
                let mut piece = String::new();
                for c in word.chars() {
                    let wide = c.width().unwrap_or(0);
                    if used + wide > width && c != ' ' {
                        line.push(Span::styled(std::mem::take(&mut piece), *style));
                        lines.push(Line::from(std::mem::take(&mut line)));
                        line.push(Span::raw(" ".repeat(indent)));
                        used = indent;
                    }
                    piece.push(c);
                    used += wide;
                }
                line.push(Span::styled(piece, *style));
            }
        }
        lines.push(Line::from(line));
        lines
    }
}

/// How far a text is scrolled.
#[derive(Debug, Clone, Default)]
pub struct Scroll {
    top: usize,
    height: Cell<usize>,
    lines: Cell<usize>,
}

impl Scroll {
    /// To the beginning.
    pub const fn reset(&mut self) {
        self.top = 0;
    }

    /// Moves as the action says; false: it is no movement.
    pub fn moved(&mut self, action: Action) -> bool {
        let page = self.height.get().saturating_sub(1).max(1);
        let last = self.lines.get().saturating_sub(self.height.get());
        self.top = match action {
            Action::Up => self.top.saturating_sub(1),
            Action::Down => self.top.saturating_add(1),
            Action::PageUp => self.top.saturating_sub(page),
            Action::PageDown => self.top.saturating_add(page),
            Action::First => 0,
            Action::Last => last,
            _ => return false,
        }
        .min(last);
        true
    }

    /// Draws the part that is seen, and in the last row how much is not.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, paras: &[Para]) {
        let lines: usize = paras.iter().map(|p| p.lines(area.width as usize).len()).sum();
        if lines <= area.height as usize || area.height < 2 {
            self.lines(buffer, area, paras);
            return;
        }
        let text = Rect { height: area.height - 1, ..area };
        let seen = self.lines(buffer, text, paras);
        let last = Rect { y: text.bottom(), height: 1, ..area };
        put(buffer, last, 0, &Line::styled("─".repeat(area.width as usize), DIM));
        marks(buffer, last, &seen, lines);
    }

    /// Draws a title and below it the part that is seen; how much is not stands in the title.
    pub fn draw_titled(
        &self,
        buffer: &mut Buffer,
        area: Rect,
        (title, focused): (&str, bool),
        paras: &[Para],
    ) -> Rect {
        let body = titled(buffer, area, title, focused);
        let seen = self.lines(buffer, body, paras);
        marks(buffer, area, &seen, self.lines.get());
        body
    }

    fn lines(&self, buffer: &mut Buffer, area: Rect, paras: &[Para]) -> Range<usize> {
        let lines: Vec<_> = paras.iter().flat_map(|p| p.lines(area.width as usize)).collect();
        let height = area.height as usize;
        self.height.set(height);
        self.lines.set(lines.len());
        let top = self.top.min(lines.len().saturating_sub(height));
        for (row, line) in lines.iter().skip(top).take(height).enumerate() {
            put(buffer, area, row as u16, line);
        }
        top..lines.len().min(top + height)
    }
}
