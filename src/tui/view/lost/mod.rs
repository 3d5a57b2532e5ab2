//! TODO.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Context, Shared, View};
use crate::tui::action::Action;

/// The view.
#[derive(Debug, Default)]
pub struct LostView {}

impl View for LostView {
    fn update(&mut self, _action: Action, _context: &mut Context<'_>) {}

    fn draw(&self, _buffer: &mut Buffer, _area: Rect, _shared: &Shared) {}
}
