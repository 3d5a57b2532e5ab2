//! All keys, searchable.

use crossterm::event::{KeyCode, KeyEvent};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use tui_input::Input;

use super::action::{Action, ViewId};
use super::app::edit;
use super::keymap::{BINDINGS, Binding, Scope};
use super::look::{CODE, DIM, PLAIN};
use super::widget::list::List;
use super::widget::pane::{clean, fit, marks, put, put_row, titled};

/// Columns from which on the commands' names have a column.
const WIDE: u16 = 110;

/// The help, and what was typed to search it.
#[derive(Debug, Default)]
pub struct Help {
    input: Input,
    list: List,
}

impl Help {
    /// The bindings that match, those that hold in this view first.
    fn rows(&self, view: ViewId) -> Vec<&'static Binding> {
        let wanted = self.input.value().to_lowercase();
        let matches = |b: &&Binding| {
            b.help.to_lowercase().contains(&wanted)
                || b.name.contains(&wanted)
                || b.keys.iter().any(|key| key.name().to_lowercase() == wanted)
        };
        let here = BINDINGS.iter().filter(|b| b.scope.holds(view));
        here.chain(BINDINGS.iter().filter(|b| !b.scope.holds(view))).filter(matches).collect()
    }

    /// Takes a key; true: the help is to be closed.
    pub fn key(&mut self, key: &KeyEvent, view: ViewId) -> bool {
        let len = self.rows(view).len();
        let action = match key.code {
            KeyCode::Esc | KeyCode::Enter => return true,
            KeyCode::Up => Action::Up,
            KeyCode::Down => Action::Down,
            KeyCode::PageUp => Action::PageUp,
            KeyCode::PageDown => Action::PageDown,
            _ => {
                if let Some(request) = edit(key) {
                    self.input.handle(request);
                    self.list.select(0, len);
                }
                return false;
            }
        };
        self.list.moved(action, len);
        false
    }

    /// Draws it over the body.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, view: ViewId) {
        let rows = self.rows(view);
        let title = format!("Keys, those of {} first: type to search, Esc closes", view.title());
        let body = titled(buffer, area, &title, true);
        let search = Line::from(vec![
            Span::styled("search: ", DIM),
            Span::styled(clean(self.input.value()), PLAIN),
            Span::styled("▌", DIM),
        ]);
        put(buffer, body, 0, &search);
        let rest = super::widget::pane::below(body, 1);
        let wide = body.width >= WIDE;
        // on a narrow screen the command's name is told of the selected line only
        let list = if wide { rest } else { Rect { height: rest.height.saturating_sub(1), ..rest } };
        let seen = self.list.window(rows.len(), list.height as usize);
        marks(buffer, area, &seen, rows.len());
        for (line, index) in seen.enumerate() {
            let Some(binding) = rows.get(index) else { continue };
            let keys: Vec<_> = binding.keys.iter().map(|key| key.name()).collect();
            let name = if wide { fit(&format!(":{}", binding.name), 21) } else { String::new() };
            let text = Line::from(vec![
                Span::styled(fit(&keys.join(" "), 18), CODE),
                Span::styled(name, DIM),
                Span::styled(binding.help, if binding.scope.holds(view) { PLAIN } else { DIM }),
            ]);
            put_row(buffer, list, line as u16, &text, index == self.list.selected(), true);
        }
        if let Some(binding) = rows.get(self.list.selected()).filter(|_| !wide) {
            let place = match binding.scope {
                Scope::Everywhere => String::new(),
                Scope::In(views) => {
                    format!(", in {}", views.iter().map(|v| v.title()).collect::<Vec<_>>().join(", "))
                }
            };
            let name = Line::styled(format!("command :{}{place}", binding.name), DIM);
            put(buffer, rest, list.height, &name);
        }
        if rows.is_empty() {
            put(buffer, list, 0, &Line::styled("no key does that", DIM));
        }
    }
}
