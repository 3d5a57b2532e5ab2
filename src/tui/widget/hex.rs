//! Bytes in hex: offsets, 16 or 8 bytes a row, the printable ones beside it, lit stretches, a cursor.

use std::cell::Cell;
use std::ops::Range;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::pane::{marks, put};
use crate::tui::action::Action;
use crate::tui::look::{DIM, PLAIN, SELECTED, SELECTED_ELSEWHERE};

/// Bytes of a row, where there is room.
const WIDE: usize = 16;
/// Where there is less.
const NARROW: usize = 8;

/// Bytes that are told apart from the others. Where several hold a byte, the styles add up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lit {
    /// Which, as offsets into what is shown.
    pub bytes: Range<usize>,
    /// How.
    pub style: Style,
}

/// Which bytes are seen, and where the cursor is.
#[derive(Debug, Clone, Default)]
pub struct Hex {
    cursor: usize,
    /// First row that is seen.
    top: Cell<usize>,
    /// Rows that are seen, as drawn last.
    height: Cell<usize>,
    /// Bytes of a row, as drawn last.
    per_row: Cell<usize>,
    /// Where it was drawn.
    drawn: Cell<Rect>,
    /// Digits of an offset, as drawn last.
    digits: Cell<usize>,
}

/// Columns of a row: the offset, the bytes with a blank before each and one more in the middle, the letters.
const fn columns(digits: usize, per_row: usize) -> usize {
    digits + 3 * per_row + if per_row > NARROW { 1 } else { 0 } + 1 + per_row
}

/// Columns that `len` bytes take at sixteen and at eight a row.
pub const fn widths(len: usize) -> (u16, u16) {
    let digits = digits(len);
    (columns(digits, WIDE) as u16, columns(digits, NARROW) as u16)
}

const fn digits(len: usize) -> usize {
    if len <= 0x1_0000 {
        4
    } else if len <= 0x100_0000 {
        6
    } else {
        8
    }
}

impl Hex {
    /// The byte under the cursor.
    pub const fn cursor(&self) -> usize {
        self.cursor
    }

    /// Puts the cursor on a byte of `len`.
    pub const fn place(&mut self, byte: usize, len: usize) {
        self.cursor = if byte < len { byte } else { len.saturating_sub(1) };
    }

    /// Moves as the action says, over `len` bytes; false: it is no movement.
    pub fn moved(&mut self, action: Action, len: usize) -> bool {
        let row = self.per_row.get().max(1);
        let page = row * self.height.get().saturating_sub(1).max(1);
        let back = |by: usize| self.cursor.saturating_sub(by);
        let on = |by: usize| self.cursor.saturating_add(by).min(len.saturating_sub(1));
        let to = match action {
            Action::Left => back(1),
            Action::Right => on(1),
            Action::Up if self.cursor < row => self.cursor,
            Action::Up => back(row),
            Action::Down if self.cursor / row == len.saturating_sub(1) / row => self.cursor,
            Action::Down => on(row),
            Action::PageUp if self.cursor < page => self.cursor % row,
            Action::PageUp => back(page),
            Action::PageDown => on(page),
            Action::First => 0,
            Action::Last => len,
            _ => return false,
        };
        self.place(to, len);
        true
    }

    /// The byte that was drawn there: in hex or as a letter.
    pub fn at_point(&self, column: u16, row: u16, len: usize) -> Option<usize> {
        let area = self.drawn.get();
        if !area.contains((column, row).into()) {
            return None;
        }
        let (per_row, digits) = (self.per_row.get().max(1), self.digits.get());
        let line = self.top.get() + usize::from(row - area.y);
        let x = usize::from(column - area.x).checked_sub(digits)?;
        let gap = usize::from(per_row > NARROW);
        let letters = 3 * per_row + gap + 1;
        let within = if x >= letters {
            x - letters
        } else if x >= 3 * NARROW + gap {
            (x - gap) / 3
        } else {
            (x / 3).min(NARROW.min(per_row) - 1)
        };
        let byte = line * per_row + within;
        (within < per_row && byte < len).then_some(byte)
    }

    /// Draws the rows that are seen; the cursor is among them. `focused`: the pane has the keys.
    pub fn draw(
        &self,
        buffer: &mut Buffer,
        (title, area): (Rect, Rect),
        bytes: &[u8],
        lit: &[Lit],
        focused: bool,
    ) {
        let digits = digits(bytes.len());
        let width = usize::from(area.width);
        let per_row = if columns(digits, WIDE) <= width {
            WIDE
        } else if columns(digits, NARROW) <= width {
            NARROW
        } else {
            NARROW / 2
        };
        let height = usize::from(area.height);
        self.drawn.set(area);
        self.digits.set(digits);
        self.height.set(height);
        // another width: the first byte that was seen stays in sight
        let before = self.per_row.replace(per_row).max(1);
        let rows = bytes.len().div_ceil(per_row);
        let at = self.cursor / per_row;
        let mut top = (self.top.get() * before / per_row).min(at);
        if height > 0 && at >= top + height {
            top = at + 1 - height;
        }
        let top = top.min(rows.saturating_sub(height));
        self.top.set(top);
        marks(buffer, title, &(top..rows.min(top + height)), rows);
        for row in 0..height.min(rows.saturating_sub(top)) {
            let start = (top + row) * per_row;
            let part = bytes.get(start..bytes.len().min(start + per_row)).unwrap_or_default();
            put(buffer, area, row as u16, &self.row(start, part, per_row, digits, lit, focused));
        }
    }

    fn row(
        &self,
        start: usize,
        part: &[u8],
        per_row: usize,
        digits: usize,
        lit: &[Lit],
        focused: bool,
    ) -> Line<'static> {
        let style = |at: usize| {
            let styles = lit.iter().filter(|l| l.bytes.contains(&at)).map(|l| l.style);
            styles.fold(PLAIN, Style::patch)
        };
        let cursor = |at: usize| if focused { SELECTED } else { SELECTED_ELSEWHERE }.patch(style(at));
        let shown = |at: usize| if at == self.cursor { cursor(at) } else { style(at) };
        // what lies between two bytes is lit as both are, so that a stretch is seen as one
        let between = |at: usize| {
            let both = lit.iter().filter(|l| at > 0 && l.bytes.contains(&at) && l.bytes.contains(&(at - 1)));
            both.map(|l| l.style).fold(PLAIN, Style::patch).remove_modifier(Modifier::REVERSED)
        };
        let mut spans = vec![Span::styled(format!("{start:0digits$X}"), DIM)];
        for n in 0..per_row {
            let at = start + n;
            let blank = if n == NARROW { "  " } else { " " };
            match part.get(n) {
                Some(byte) => {
                    spans.push(Span::styled(blank, if n == 0 { PLAIN } else { between(at) }));
                    spans.push(Span::styled(format!("{byte:02X}"), shown(at)));
                }
                None => spans.push(Span::raw(format!("{blank}  "))),
            }
        }
        spans.push(Span::raw(" "));
        for (n, &byte) in part.iter().enumerate() {
            let letter = if (0x20..0x7F).contains(&byte) { char::from(byte) } else { '.' };
            spans.push(Span::styled(letter.to_string(), shown(start + n)));
        }
        Line::from(spans)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drawn(hex: &Hex, (width, height): (u16, u16), bytes: &[u8], lit: &[Lit]) -> (Buffer, Vec<String>) {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        hex.draw(&mut buffer, (Rect::default(), area), bytes, lit, true);
        let lines = buffer.content.chunks(usize::from(width));
        let lines =
            lines.map(|row| row.iter().map(ratatui::buffer::Cell::symbol).collect::<String>()).collect();
        (buffer, lines)
    }

    #[test]
    fn sixteen_eight_or_four_bytes_a_row() {
        let bytes: Vec<u8> = (0x38..0x4B).collect();
        let hex = Hex::default();
        let lines = drawn(&hex, (70, 3), &bytes, &[]).1;
        assert_eq!(lines[0], "0000 38 39 3A 3B 3C 3D 3E 3F  40 41 42 43 44 45 46 47 89:;<=>?@ABCDEFG");
        assert_eq!(lines[1].trim_end(), format!("0010 48 49 4A{}HIJ", " ".repeat(41)));
        assert_eq!(widths(bytes.len()), (70, 37));
        let lines = drawn(&hex, (69, 3), &bytes, &[]).1;
        assert_eq!(lines[0].trim_end(), "0000 38 39 3A 3B 3C 3D 3E 3F 89:;<=>?");
        assert_eq!(lines[2].trim_end(), "0010 48 49 4A                HIJ");
        assert_eq!(drawn(&hex, (36, 3), &bytes, &[]).1[1].trim_end(), "0004 3C 3D 3E 3F <=>?");
    }

    #[test]
    fn lit_bytes_and_what_lies_between_them() {
        let lit = Lit { bytes: 1..3, style: Style::new().add_modifier(Modifier::UNDERLINED) };
        let (buffer, _) = drawn(&Hex::default(), (37, 2), &[7; 9], &[lit]);
        let lit: Vec<usize> = (0..37)
            .filter(|&x| buffer[(x as u16, 0)].style().add_modifier.contains(Modifier::UNDERLINED))
            .collect();
        assert_eq!(lit, [8, 9, 10, 11, 12, 30, 31]);
        assert!(buffer[(5, 0)].style().add_modifier.contains(Modifier::REVERSED), "the cursor");
    }

    #[test]
    fn the_cursor_keeps_its_column() {
        let mut hex = Hex::default();
        drawn(&hex, (70, 4), &[0; 100], &[]);
        hex.place(99, 100);
        hex.moved(Action::Up, 100);
        assert_eq!(hex.cursor(), 83);
        hex.moved(Action::PageUp, 100);
        assert_eq!(hex.cursor(), 35);
        hex.moved(Action::PageUp, 100);
        assert_eq!(hex.cursor(), 3);
        hex.moved(Action::Up, 100);
        assert_eq!(hex.cursor(), 3);
        hex.moved(Action::Last, 100);
        hex.moved(Action::Down, 100);
        assert_eq!(hex.cursor(), 99);
    }

    proptest! {
        #[test]
        fn a_byte_is_found_where_it_was_drawn(
            len in 0usize..300, at in 0usize..400, width in 20u16..90, height in 1u16..9
        ) {
            let bytes: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let mut hex = Hex::default();
            hex.place(at, len);
            let (buffer, _) = drawn(&hex, (width, height), &bytes, &[]);
            let mut seen = false;
            for y in 0..height {
                for x in 0..width {
                    let reversed = buffer[(x, y)].style().add_modifier.contains(Modifier::REVERSED);
                    let found = hex.at_point(x, y, len);
                    prop_assert!(found.is_none_or(|byte| byte < len));
                    if reversed {
                        prop_assert_eq!(found, Some(hex.cursor()));
                        seen = true;
                    }
                }
            }
            prop_assert_eq!(seen, len > 0);
        }
    }
}
