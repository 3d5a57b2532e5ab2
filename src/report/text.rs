//! A report for a terminal, at most as wide as asked for.

use std::io::{self, Write};

use unicode_width::UnicodeWidthChar;

use super::doc::{Block, Column, Inline, Style};
use super::words;
use crate::findings::Severity;

/// How to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextStyle {
    /// Escape sequences for the 16 colours of every terminal.
    pub color: bool,
    /// Lines and signs beyond ASCII; without it they become ASCII (names stay as they are).
    pub unicode: bool,
    /// Columns.
    pub width: usize,
}

impl Default for TextStyle {
    fn default() -> Self {
        Self { color: false, unicode: true, width: 80 }
    }
}

/// Below this no table can be drawn.
const MIN_WIDTH: usize = 40;

/// Draws the parts one after the other.
pub fn render(blocks: &[Block], style: TextStyle, out: &mut dyn Write) -> io::Result<()> {
    let mut pen = Pen { style: TextStyle { width: style.width.max(MIN_WIDTH), ..style }, out };
    for (index, block) in blocks.iter().enumerate() {
        // a table, a list belongs to what introduces it
        let joined = matches!(
            (index.checked_sub(1).and_then(|i| blocks.get(i)), block),
            (None | Some(Block::Heading(_)), _)
                | (Some(Block::Para(_)), Block::Table { .. } | Block::List { .. })
                | (Some(Block::Branch { .. }), Block::Branch { .. })
        );
        if !joined {
            writeln!(pen.out)?;
        }
        pen.block(block)?;
    }
    Ok(())
}

/// A character with its style, cleaned.
type Cell = (char, Style);

struct Pen<'a> {
    style: TextStyle,
    out: &'a mut dyn Write,
}

impl Pen<'_> {
    fn block(&mut self, block: &Block) -> io::Result<()> {
        let width = self.style.width;
        match block {
            Block::Verdict { sign, style, line } => {
                let mut all = Inline::new().with(*style, format!("{sign} "));
                all.0.extend(line.0.iter().cloned().map(|mut span| {
                    span.style = *style;
                    span
                }));
                self.wrapped(&all, "", "  ")
            }
            Block::Heading(title) => {
                self.wrapped(&Inline::new().with(Style::Strong, title.as_str()), "", "")?;
                let line = "─".repeat(display_width(&words::clean(title)).min(width));
                self.wrapped(&line.into(), "", "")
            }
            Block::Para(inline) => self.wrapped(inline, "", ""),
            Block::Pairs(pairs) => {
                let label =
                    pairs.iter().map(|(l, _)| display_width(&words::clean(l))).max().unwrap_or(0).min(26);
                for (name, value) in pairs {
                    let name = words::clean(name);
                    let pad = " ".repeat(label.saturating_sub(display_width(&name)));
                    self.wrapped(value, &format!("{name}{pad}  "), &" ".repeat(label + 2))?;
                }
                Ok(())
            }
            Block::Table { columns, rows } => self.table(columns, rows),
            Block::List { numbered, items } => {
                for (index, item) in items.iter().enumerate() {
                    let mark = if *numbered { format!("{:>2}. ", index + 1) } else { " - ".into() };
                    self.wrapped(item, &mark, &" ".repeat(mark.len()))?;
                }
                Ok(())
            }
            Block::Drawing(lines) => {
                for line in lines {
                    let cells = self.cells(&line.as_str().into());
                    let mut used = 0;
                    let fitting: Vec<Cell> = cells
                        .into_iter()
                        .take_while(|(c, _)| {
                            used += char_width(*c);
                            used <= width
                        })
                        .collect();
                    self.line("", &fitting)?;
                }
                Ok(())
            }
            Block::Branch { first, text } => {
                // a tree that is too deep for the width loses its left side
                let skip = first.chars().count().saturating_sub(width / 2);
                let first: String = plain(&first.chars().skip(skip).collect::<String>().into());
                let first: String = self.cells(&first.into()).into_iter().map(|(c, _)| c).collect();
                let rest: String =
                    first.chars().map(|c| if matches!(c, '│' | '├' | '|') { c } else { ' ' }).collect();
                self.wrapped(text, &first, &rest.replace('├', "│"))
            }
            Block::Finding { severity, code, title, body } => {
                let (sign, style) = severity_sign(*severity);
                let head = Inline::new()
                    .with(style, format!("{sign} {:<7}", words::severity(*severity)))
                    .text(format!(" {code}  "));
                let indent = display_width(&plain(&head));
                let mut all = head;
                all.0.extend(title.0.iter().cloned().map(|mut span| {
                    span.style = Style::Strong;
                    span
                }));
                self.wrapped(&all, "", &" ".repeat(indent))?;
                for (label, value) in body {
                    let first = if label.is_empty() { "  ".into() } else { format!("  {label:<7} ") };
                    let rest = " ".repeat(display_width(&first));
                    self.wrapped(value, &first, &rest)?;
                }
                Ok(())
            }
        }
    }

    /// Wraps at blanks; words that are too long are cut, behind a slash or the like where there is one.
    fn wrapped(&mut self, inline: &Inline, first: &str, rest: &str) -> io::Result<()> {
        let cells = self.cells(inline);
        let indent = display_width(first).max(display_width(rest));
        let lines = wrap(&cells, self.style.width.saturating_sub(indent).max(1));
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { first } else { rest }, line)?;
        }
        if lines.is_empty() { self.line(first, &[]) } else { Ok(()) }
    }

    fn table(&mut self, columns: &[Column], rows: &[Vec<Inline>]) -> io::Result<()> {
        const GAP: usize = 2;
        let cells: Vec<Vec<Vec<Cell>>> =
            rows.iter().map(|row| row.iter().map(|cell| self.cells(cell)).collect()).collect();
        let mut widths: Vec<usize> = columns.iter().map(|c| display_width(c.title)).collect();
        for row in &cells {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cells_width(cell));
            }
        }
        let room = self.style.width.saturating_sub(GAP * columns.len().saturating_sub(1));
        while widths.iter().sum::<usize>() > room {
            let widest = |flexible_only: bool, least: usize| {
                widths
                    .iter()
                    .enumerate()
                    .filter(|&(i, &w)| {
                        w > least && (!flexible_only || columns.get(i).is_some_and(|c| c.flexible))
                    })
                    .max_by_key(|&(_, &w)| w)
                    .map(|(i, _)| i)
            };
            let Some(index) = widest(true, 14).or_else(|| widest(false, 1)) else { break };
            if let Some(width) = widths.get_mut(index) {
                *width -= 1;
            }
        }
        let titles: Vec<Vec<Cell>> =
            columns.iter().map(|c| self.cells(&Inline::new().with(Style::Strong, c.title))).collect();
        for row in std::iter::once(&titles).chain(&cells) {
            let wrapped: Vec<Vec<Vec<Cell>>> =
                row.iter().zip(&widths).map(|(cell, &width)| wrap(cell, width)).collect();
            let height = wrapped.iter().map(Vec::len).max().unwrap_or(0);
            for index in 0..height {
                let mut line: Vec<Cell> = Vec::new();
                let blank = (' ', Style::Plain);
                for (at, ((column, &width), lines)) in columns.iter().zip(&widths).zip(&wrapped).enumerate() {
                    let content: &[Cell] = lines.get(index).map_or(&[], Vec::as_slice);
                    let pad = width.saturating_sub(cells_width(content));
                    let gap = if at == 0 { 0 } else { GAP };
                    line.extend(std::iter::repeat_n(blank, gap + if column.right { pad } else { 0 }));
                    line.extend_from_slice(content);
                    if !column.right {
                        line.extend(std::iter::repeat_n(blank, pad));
                    }
                }
                self.line("", &line)?;
            }
        }
        Ok(())
    }

    /// Cleaned characters with their styles; signs become ASCII here, where they count for the width.
    fn cells(&self, inline: &Inline) -> Vec<Cell> {
        let mut cells = Vec::new();
        for span in &inline.0 {
            for c in words::clean(&span.text).chars() {
                match ascii(c).filter(|_| !self.style.unicode) {
                    Some(text) => cells.extend(text.chars().map(|c| (c, span.style))),
                    None => cells.push((c, span.style)),
                }
            }
        }
        cells
    }

    /// One line, without blanks at its end.
    fn line(&mut self, indent: &str, cells: &[Cell]) -> io::Result<()> {
        let end = cells.iter().rposition(|(c, _)| *c != ' ').map_or(0, |at| at + 1);
        let cells = cells.get(..end).unwrap_or_default();
        let indent = if cells.is_empty() { indent.trim_end() } else { indent };
        let mut text = indent.to_owned();
        let mut current = "";
        for &(c, style) in cells {
            let code = if self.style.color { sgr(style) } else { "" };
            if code != current {
                if !current.is_empty() {
                    text.push_str("\x1b[0m");
                }
                text.push_str(code);
                current = code;
            }
            text.push(c);
        }
        if !current.is_empty() {
            text.push_str("\x1b[0m");
        }
        text.push('\n');
        self.out.write_all(text.as_bytes())
    }
}

const fn sgr(style: Style) -> &'static str {
    match style {
        Style::Plain | Style::Code => "",
        Style::Strong => "\x1b[1m",
        Style::Good => "\x1b[32m",
        Style::Warn => "\x1b[33m",
        Style::Bad => "\x1b[31m",
    }
}

/// Sign and style of a severity.
pub const fn severity_sign(severity: Severity) -> (char, Style) {
    match severity {
        Severity::Error => ('✗', Style::Bad),
        Severity::Warning => ('!', Style::Warn),
        Severity::Info => ('·', Style::Plain),
    }
}

/// What stands for a sign of ours where only ASCII can be shown.
const fn ascii(c: char) -> Option<&'static str> {
    Some(match c {
        '─' | '–' => "-",
        '│' => "|",
        '┬' | '├' | '┴' | '└' | '┌' | '┐' | '┘' => "+",
        '●' | '•' | '·' => "*",
        '■' => "#",
        '▶' => ">",
        '╳' | '✗' => "x",
        '✓' => "=",
        '→' => "->",
        '…' => "...",
        'µ' => "u",
        _ => return None,
    })
}

fn plain(inline: &Inline) -> String {
    inline.0.iter().map(|s| words::clean(&s.text).into_owned()).collect()
}

/// Columns that a character takes; every ambiguous one counts as one.
fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

fn cells_width(cells: &[Cell]) -> usize {
    cells.iter().map(|(c, _)| char_width(*c)).sum()
}

/// Columns that a text takes.
pub fn display_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// Whether these take more than `width` columns; looks no further than that, as a file's line may have a million.
fn wider<'a>(cells: impl Iterator<Item = &'a Cell>, width: usize) -> bool {
    let mut used = 0;
    cells.map(|(c, _)| char_width(*c)).any(|columns| {
        used += columns;
        used > width
    })
}

fn wrap(cells: &[Cell], width: usize) -> Vec<Vec<Cell>> {
    let mut lines = Vec::new();
    let mut line: Vec<Cell> = Vec::new();
    let mut rest = cells;
    while !rest.is_empty() {
        let blanks = rest.iter().take_while(|(c, _)| *c == ' ').count();
        let word = rest.iter().skip(blanks).take_while(|(c, _)| *c != ' ').count();
        let (gap, after) = rest.split_at(blanks);
        let (mut word, after) = after.split_at(word);
        rest = after;
        if word.is_empty() {
            break;
        }
        if !line.is_empty() && wider(line.iter().chain(gap).chain(word), width) {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() || lines.is_empty() {
            line.extend(gap.iter().take(width.saturating_sub(1)));
        }
        while wider(line.iter().chain(word), width) {
            let room = width.saturating_sub(cells_width(&line));
            let mut used = 0;
            let fits = word
                .iter()
                .take_while(|(c, _)| {
                    used += char_width(*c);
                    used <= room
                })
                .count();
            let slash = word
                .iter()
                .take(fits)
                .rposition(|(c, _)| matches!(c, '/' | ',' | '.' | '_'))
                .map(|at| at + 1);
            let cut = slash.filter(|&at| at * 2 > fits).unwrap_or(fits);
            if cut == 0 && line.is_empty() {
                // not even one wide character fits; nothing sensible can be drawn
                word = &[];
                break;
            }
            let (head, tail) = word.split_at(cut);
            line.extend_from_slice(head);
            lines.push(std::mem::take(&mut line));
            word = tail;
        }
        line.extend_from_slice(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn draw(blocks: &[Block], style: TextStyle) -> String {
        let mut out = Vec::new();
        render(blocks, style, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_word_of_a_million_letters_is_cut_in_time() {
        let started = std::time::Instant::now();
        let cells = vec![('x', Style::Plain); 1_000_000];
        assert_eq!(wrap(&cells, 80).len(), 12_500);
        assert!(started.elapsed().as_secs() < 10);
    }

    fn any_block() -> impl Strategy<Value = Block> {
        let text = "[a-z /\\|表\u{1b}\u{301}é]{0,120}".prop_map(Inline::from);
        let cell = text.clone();
        prop_oneof![
            text.clone().prop_map(Block::Para),
            text.clone().prop_map(|line| Block::Verdict { sign: '✗', style: Style::Bad, line }),
            proptest::collection::vec(("[a-z]{0,20}", text.clone()), 0..4).prop_map(Block::Pairs),
            proptest::collection::vec(text.clone(), 0..4)
                .prop_map(|items| Block::List { numbered: true, items }),
            text.prop_map(|title| Block::Finding {
                severity: Severity::Error,
                code: "FP01",
                title: title.clone(),
                body: vec![("", title.clone()), ("proof", title)],
            }),
            proptest::collection::vec(proptest::collection::vec(cell, 6), 0..4).prop_map(|rows| {
                Block::Table {
                    columns: vec![
                        Column::left("one"),
                        Column::right("two"),
                        Column::flexible("three"),
                        Column::left("four"),
                        Column::right("five"),
                        Column::flexible("six"),
                    ],
                    rows,
                }
            }),
        ]
    }

    proptest! {
        #[test]
        fn nothing_is_wider_than_the_terminal(
            blocks in proptest::collection::vec(any_block(), 0..5), width in 40usize..120, unicode: bool
        ) {
            for line in draw(&blocks, TextStyle { color: false, unicode, width }).lines() {
                prop_assert!(display_width(line) <= width, "{line:?}");
                prop_assert!(!line.chars().any(words::unsafe_char));
            }
        }

        #[test]
        fn colour_adds_escapes_and_nothing_else(blocks in proptest::collection::vec(any_block(), 0..5)) {
            let mut colored = draw(&blocks, TextStyle { color: true, ..TextStyle::default() });
            for code in ["0", "1", "31", "32", "33"] {
                colored = colored.replace(&format!("\x1b[{code}m"), "");
            }
            prop_assert_eq!(colored, draw(&blocks, TextStyle::default()));
        }

        #[test]
        fn wrapping_loses_no_letter(text in "[a-z表 /]{0,200}", width in 2usize..50) {
            let cells: Vec<Cell> = text.chars().map(|c| (c, Style::Plain)).collect();
            let kept: String = wrap(&cells, width).concat().into_iter().map(|(c, _)| c).filter(|c| *c != ' ').collect();
            prop_assert_eq!(kept, text.replace(' ', ""));
        }
    }

    #[test]
    fn ascii_where_nothing_else_can_be_shown() {
        let blocks = [Block::Drawing(vec!["──●┬▶ …".into()]), Block::Heading("Größe".into())];
        let text = draw(&blocks, TextStyle { unicode: false, ..TextStyle::default() });
        assert_eq!(text, "--*+> ...\n\nGröße\n-----\n");
    }
}
