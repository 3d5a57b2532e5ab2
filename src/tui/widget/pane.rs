//! Panes: a titled line, a body, and rows of text in it.

use std::cell::Cell;

use crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use unicode_width::UnicodeWidthChar;

use crate::report::words;
use crate::tui::look::{CODE, DIM, SELECTED, SELECTED_ELSEWHERE, STRONG};

/// From this width on a title has room for words about what is not seen.
const WORDS: u16 = 60;

/// A text that comes from files, with what a terminal would obey made visible.
pub fn clean(text: impl AsRef<str>) -> String {
    words::clean(text.as_ref()).into_owned()
}

/// A piece of a line; cleaned.
pub fn span(text: impl AsRef<str>, style: Style) -> Span<'static> {
    Span::styled(clean(text), style)
}

/// The text within so many columns, with `…` at the end where something is left out, filled with blanks.
pub fn fit(text: &str, width: usize) -> String {
    let text = clean(text);
    let mut out = String::with_capacity(width);
    let mut used = 0;
    let whole: usize = text.chars().map(|c| c.width().unwrap_or(0)).sum();
    let room = if whole > width { width.saturating_sub(1) } else { width };
    for c in text.chars() {
        let columns = c.width().unwrap_or(0);
        if used + columns > room {
            break;
        }
        out.push(c);
        used += columns;
    }
    if whole > width && width > 0 {
        out.push('…');
        used += 1;
    }
    out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
    out
}

/// As [`fit`], to the right.
pub fn right(text: &str, width: usize) -> String {
    let fitted = fit(text, width);
    let trimmed = fitted.trim_end();
    format!("{}{trimmed}", " ".repeat(fitted.len() - trimmed.len()))
}

/// Draws a line at a row of the area; nothing outside it.
pub fn put(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>) {
    let area = area.intersection(*buffer.area());
    if row < area.height && area.width > 0 {
        buffer.set_line(area.x, area.y + row, line, area.width);
    }
}

/// The pane that was pressed, and the line in it; each with the area that it was drawn in.
pub fn pressed<P: Copy>(
    event: MouseEvent,
    panes: impl IntoIterator<Item = P>,
    areas: &[Cell<Rect>],
) -> Option<(P, usize)> {
    let down = matches!(event.kind, MouseEventKind::Down(_));
    panes.into_iter().zip(areas).filter(|_| down).find_map(|(pane, area)| {
        let area = area.get();
        area.contains((event.column, event.row).into()).then(|| (pane, usize::from(event.row - area.y)))
    })
}

/// How a row is drawn.
pub const fn row_style(selected: bool, focused: bool) -> Style {
    match (selected, focused) {
        (true, true) => SELECTED,
        (true, false) => SELECTED_ELSEWHERE,
        _ => Style::new(),
    }
}

/// Draws a row; a selected one over the whole width.
pub fn put_row(buffer: &mut Buffer, area: Rect, row: u16, line: &Line<'_>, selected: bool, focused: bool) {
    put(buffer, area, row, line);
    let clipped = area.intersection(*buffer.area());
    if row < clipped.height && selected {
        let style = row_style(selected, focused);
        buffer.set_style(Rect { y: clipped.y + row, height: 1, ..clipped }, style);
    }
}

/// The titled line of a pane, `── title ────`, bold where the pane has the keys; gives the area below it.
pub fn titled(buffer: &mut Buffer, area: Rect, title: &str, focused: bool) -> Rect {
    let width = area.width as usize;
    let shown = fit(title, width.saturating_sub(4).min(display_width(&clean(title))));
    let rest = width.saturating_sub(4 + display_width(&shown));
    let line = Line::from(vec![
        Span::styled(if focused { "━ " } else { "─ " }, if focused { STRONG } else { DIM }),
        Span::styled(shown, if focused { STRONG } else { Style::new() }),
        Span::styled(
            format!(" {}", if focused { "━" } else { "─" }.repeat(rest + 1)),
            if focused { STRONG } else { DIM },
        ),
    ]);
    put(buffer, area, 0, &line);
    below(area, 1)
}

/// Says at the right end of a title how much lies above and below of what is seen.
pub fn marks(buffer: &mut Buffer, title: Rect, seen: &std::ops::Range<usize>, len: usize) {
    let below = len.saturating_sub(seen.end);
    let one = |arrow: &str, n: usize| match n {
        0 => String::new(),
        n if title.width < WORDS => format!(" {arrow}{}", words::count(n as u64)),
        n => format!(" {arrow} {} more", words::count(n as u64)),
    };
    let text = format!("{}{}", one("↑", seen.start), one("↓", below));
    let width = display_width(&text) as u16;
    if width > 0 && width + 3 <= title.width {
        let area = Rect { x: title.right() - width - 2, width: width + 1, height: 1, ..title };
        put(buffer, area, 0, &Line::styled(format!("{text} "), CODE));
    }
}

/// Columns that a text takes.
pub fn display_width(text: &str) -> usize {
    text.chars().map(|c| c.width().unwrap_or(0)).sum()
}

/// The area without its first rows.
pub const fn below(area: Rect, rows: u16) -> Rect {
    let rows = if rows < area.height { rows } else { area.height };
    Rect { y: area.y.saturating_add(rows), height: area.height - rows, ..area }
}

/// The first rows of the area.
pub const fn first_rows(area: Rect, rows: u16) -> Rect {
    Rect { height: if rows < area.height { rows } else { area.height }, ..area }
}

/// Left and right part with one column between them; `left` columns for the left one.
pub const fn columns(area: Rect, left: u16) -> (Rect, Rect) {
    let left = if left < area.width { left } else { area.width };
    let gap = if left < area.width { 1 } else { 0 };
    (Rect { width: left, ..area }, Rect { x: area.x + left + gap, width: area.width - left - gap, ..area })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_letters_do_not_break_columns() {
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…  ".trim_end().to_owned() + " ");
        assert_eq!(fit("ab", 4), "ab  ");
        assert_eq!(right("ab", 4), "  ab");
        assert_eq!(fit("a\u{1b}[2Jb", 20).trim_end(), "a\\x1B[2Jb");
        for width in 0..12 {
            assert_eq!(display_width(&fit("a日b本c語d", width)), width);
        }
    }
}
