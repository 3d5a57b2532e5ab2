//! The terminal: taken when the screen opens, given back whatever happens.

use std::io::{self, Write};
use std::mem::ManuallyDrop;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crossterm::cursor::{Hide, Show};
use crossterm::event::{
    DisableBracketedPaste, DisableMouseCapture, EnableBracketedPaste, EnableMouseCapture,
};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Rect;

use super::app::App;
use super::look::Look;

/// Longer texts are not put into the clipboard: terminals cut them off or ignore them.
const LONGEST_COPY: usize = 74_994;

/// A terminal in raw mode with an alternate screen; dropping it gives it back.
pub struct Screen {
    /// Its own end prints to standard error where the terminal is gone, and where that is gone too it panics: [`Screen`]
    /// has given back all there is.
    terminal: ManuallyDrop<Terminal<CrosstermBackend<io::Stdout>>>,
    look: Look,
    mouse: bool,
    taken: bool,
}

impl Screen {
    /// Takes the terminal that standard output is.
    ///
    /// # Errors
    /// It is none, or it refuses.
    pub fn take(look: Look, mouse: bool) -> io::Result<Self> {
        let terminal = ManuallyDrop::new(Terminal::new(CrosstermBackend::new(io::stdout()))?);
        let mut screen = Self { terminal, look, mouse, taken: false };
        screen.enter()?;
        Ok(screen)
    }

    fn enter(&mut self) -> io::Result<()> {
        self.taken = true;
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, EnableBracketedPaste, Hide)?;
        if self.mouse {
            execute!(io::stdout(), EnableMouseCapture)?;
        }
        self.redraw()
    }

    /// Gives the terminal back; every step is tried, whatever the ones before said.
    fn leave(&mut self) {
        if std::mem::take(&mut self.taken) {
            let mut out = io::stdout();
            let _ = execute!(out, DisableMouseCapture);
            let _ = execute!(out, DisableBracketedPaste);
            let _ = execute!(out, LeaveAlternateScreen, Show);
            let _ = disable_raw_mode();
        }
    }

    /// Draws the state.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, app: &App) -> io::Result<()> {
        let look = self.look;
        self.terminal.draw(|frame| {
            let buffer = frame.buffer_mut();
            app.draw(buffer);
            look.finish(buffer);
        })?;
        Ok(())
    }

    /// Draws everything anew with the next frame.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn redraw(&mut self) -> io::Result<()> {
        // ratatui's clear asks the terminal where the cursor is, and not every terminal answers
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }

    /// Takes the mouse, or leaves it to the terminal.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn mouse(&mut self, on: bool) -> io::Result<()> {
        self.mouse = on;
        if on {
            execute!(io::stdout(), EnableMouseCapture)
        } else {
            execute!(io::stdout(), DisableMouseCapture)
        }
    }

    /// Gives the terminal back, stops the program as Ctrl-Z does, and takes it again when it goes on.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn suspend(&mut self) -> io::Result<()> {
        self.leave();
        signal_hook::low_level::raise(signal_hook::consts::SIGSTOP)?;
        self.enter()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Puts a text into the clipboard of the terminal, wherever that is (OSC 52); false: it is too long.
///
/// # Errors
/// The terminal is gone.
pub fn copy(text: &str) -> io::Result<bool> {
    if text.len() > LONGEST_COPY {
        return Ok(false);
    }
    let mut out = io::stdout();
    write!(out, "\x1b]52;c;{}\x07", STANDARD.encode(text))?;
    out.flush()?;
    Ok(true)
}
