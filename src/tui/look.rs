//! Colours and letters: the terminal's own palette, and never a colour alone.

use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier, Style};

/// What the terminal can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Colours are wanted.
    pub color: bool,
    /// Letters beyond ASCII can be shown.
    pub unicode: bool,
}

/// The selected line of the pane that has the keys.
pub const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
/// The selected line of another pane.
pub const SELECTED_ELSEWHERE: Style = Style::new().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED));
/// Titles.
pub const STRONG: Style = Style::new().add_modifier(Modifier::BOLD);
/// What matters less.
pub const DIM: Style = Style::new().add_modifier(Modifier::DIM);
/// Plain text.
pub const PLAIN: Style = Style::new();
/// All is well.
pub const GOOD: Style = Style::new().fg(Color::Green);
/// Something to look at.
pub const WARN: Style = Style::new().fg(Color::Yellow);
/// Something stands in the way.
pub const BAD: Style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
/// Names, numbers, commands.
pub const CODE: Style = Style::new().fg(Color::Cyan);
/// What a search found.
pub const MATCH: Style = Style::new().add_modifier(Modifier::UNDERLINED.union(Modifier::BOLD));

impl Look {
    /// Takes out of a finished frame what the terminal cannot show. The colours are taken from the cells because
    /// crossterm's way to leave them out resets the selection, too.
    pub fn finish(self, buffer: &mut Buffer) {
        if self.color && self.unicode {
            return;
        }
        for cell in &mut buffer.content {
            if !self.color {
                cell.fg = Color::Reset;
                cell.bg = Color::Reset;
            }
            if !self.unicode && !cell.symbol().is_ascii() {
                let first = cell.symbol().chars().next().unwrap_or(' ');
                // one cell each: what has no equal of one letter is a question mark
                cell.set_symbol(ascii(first).unwrap_or("?"));
            }
        }
    }
}

/// What stands for a sign of ours, one letter for one letter.
const fn ascii(c: char) -> Option<&'static str> {
    Some(match c {
        '┌' | '┐' | '└' | '┘' | '├' | '┤' | '┬' | '┴' | '┼' | '✓' => "+",
        '─' | '–' => "-",
        '│' | '▌' | '▐' => "|",
        '█' | '■' => "#",
        '▓' => "%",
        '▒' | '▄' | '━' => "=",
        '░' => ":",
        '·' | '▁' | '▂' => ".",
        '≠' | '⚠' => "!",
        '•' | '●' | '◆' => "*",
        'µ' => "u",
        '▶' | '▸' | '→' => ">",
        '▼' | '▾' | '↓' => "v",
        '◀' | '←' => "<",
        '▲' | '↑' => "^",
        '○' => "o",
        '✗' | '╳' => "x",
        '…' => "~",
        _ => return None,
    })
}
