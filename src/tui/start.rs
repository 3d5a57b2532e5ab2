//! Opens the screen and keeps it going: events in, effects out.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{panic, thread};

use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::{SIGHUP, SIGTERM, SIGTSTP};
use signal_hook::iterator::Signals;
use thiserror::Error;

use super::app::{App, Effect};
use super::executor::{Ended, Executor};
use super::jobs::{Event, Job, Slot};
use super::look::Look;
use super::saved::Picture;
use super::terminal::{self, Screen};
use super::view::Shared;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::{self, Options};

/// How often the figures of work that runs are drawn.
const TICK: Duration = Duration::from_millis(100);

/// How often it is looked whether the terminal is still there.
const WATCH: Duration = Duration::from_millis(500);
/// Events are taken together for so long at most.
const BATCH: Duration = Duration::from_millis(20);

/// What is looked at.
#[derive(Debug)]
pub enum What {
    /// Two data directories.
    Pair(Box<Options>),
    /// A stored report.
    Report(Box<Picture>),
    /// A stored plan.
    Plan(Box<crate::plan::Plan>),
}

/// How the screen is opened.
#[derive(Debug)]
pub struct Start {
    /// What is looked at.
    pub what: What,
    /// Carrying out is removed.
    pub read_only: bool,
    /// What the terminal can show.
    pub look: Look,
    /// The mouse is taken.
    pub mouse: bool,
    /// Where exports go.
    pub folder: PathBuf,
}

/// How it came to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// The user had enough.
    Quit,
    /// A signal, or the terminal is gone.
    Ended,
}

/// Why the screen ended by itself.
#[derive(Debug, Error)]
pub enum ScreenError {
    /// The terminal does not take part.
    #[error("the terminal: {0}")]
    Terminal(io::Error),
    /// A bug, in the words of its panic.
    #[error("{0}")]
    Bug(String),
}

/// The answer of the diagnosis.
#[derive(Debug)]
pub enum Diagnosed {
    /// It is there.
    Known(Arc<Diagnosis>, Arc<Picture>),
    /// There is none, and why.
    Failed(String),
}

/// The state at the beginning, with the diagnosis under way.
pub fn app(start: Start) -> App {
    let Start { what, read_only, mouse, folder, .. } = start;
    let mut shared = Shared {
        failed: None,
        pair: None,
        diagnosis: None,
        picture: None,
        plan: None,
        read_only,
        unable: None,
        undo_dir: None,
        folder,
    };
    let mut job = None;
    match what {
        What::Pair(options) => {
            let options = Arc::new(*options);
            shared.pair = Some(Arc::clone(&options));
            job = Some(diagnosis(options));
        }
        What::Report(picture) => shared.picture = Some(Arc::from(picture)),
        What::Plan(plan) => shared.plan = Some(Arc::from(plan)),
    }
    let mut app = App::new(shared, mouse);
    if let Some(job) = job {
        app.jobs.start(job);
    }
    app.opened();
    app
}

/// The diagnosis as work in the background.
pub fn diagnosis(options: Arc<Options>) -> Job {
    Job {
        slot: Slot::Diagnosis,
        label: "diagnosing",
        work: Box::new(move |worker| {
            let answer = match engine::diagnose(&options, &worker.progress) {
                Ok(diagnosis) => {
                    let picture = Picture::new(&diagnosis);
                    Diagnosed::Known(Arc::new(diagnosis), Arc::new(picture))
                }
                Err(error) => Diagnosed::Failed(error.to_string()),
            };
            worker.answer(answer);
        }),
    }
}

/// Work that carries a command out.
pub fn execution(executor: Arc<dyn Executor>, command: super::executor::Command) -> Job {
    Job {
        slot: Slot::Execution,
        label: "carrying out",
        work: Box::new(move |worker| {
            let ended: Ended = executor.execute(&command, &worker.progress);
            worker.answer(ended);
        }),
    }
}

/// Opens the screen and stays until the user has enough.
///
/// # Errors
/// The terminal does not take part, or there was a bug.
pub fn run(start: Start, executor: &Arc<dyn Executor>) -> Result<Over, ScreenError> {
    let look = start.look;
    let mut app = app(start);
    app.shared.undo_dir = executor.undo_dir();
    app.shared.unable = app.shared.pair.as_ref().and_then(|pair| executor.refuses(&pair.target));
    let send = app.jobs.sender();
    let bug = Arc::new(Mutex::new(None));
    let told = Arc::clone(&bug);
    let before = panic::take_hook();
    // nothing may be printed over the screen: the text comes when the terminal is as it was
    panic::set_hook(Box::new(move |info| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        told.get_or_insert_with(|| info.to_string().replace('\n', " "));
    }));
    let result = panic::catch_unwind(panic::AssertUnwindSafe(|| {
        let mut screen = Screen::take(look, app.mouse)?;
        let signals = signals(send.clone())?;
        keys(send)?;
        let mut result = keep_going(&mut app, &mut screen, executor);
        if result.is_err() {
            leave(&mut app);
            if hung_up() {
                result = Ok(Over::Ended);
            }
        }
        signals.close();
        result
    }));
    panic::set_hook(before);
    if let Ok(result) = result {
        return result.map_err(ScreenError::Terminal);
    }
    let text = bug.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default();
    Err(ScreenError::Bug(text))
}

fn keep_going(app: &mut App, screen: &mut Screen, executor: &Arc<dyn Executor>) -> io::Result<Over> {
    loop {
        screen.draw(app)?;
        let patience = if app.jobs.running().is_empty() { WATCH } else { TICK };
        let Some(first) = app.jobs.next(patience) else {
            if hung_up() {
                leave(app);
                return Ok(Over::Ended);
            }
            continue;
        };
        // what is there already is taken before the next frame, as long as that does not keep the eye waiting
        let begun = Instant::now();
        let mut next = Some(first);
        while let Some(event) = next {
            let over = if matches!(event, Event::End) { Over::Ended } else { Over::Quit };
            for effect in app.update(event) {
                match effect {
                    Effect::Quit => {
                        leave(app);
                        return Ok(over);
                    }
                    Effect::Execute(command) => app.jobs.start(execution(Arc::clone(executor), *command)),
                    Effect::Suspend => screen.suspend()?,
                    Effect::Redraw => screen.redraw()?,
                    Effect::Mouse(on) => screen.mouse(on)?,
                    Effect::Copy(text) => {
                        let copied = terminal::copy(&text)?;
                        let said =
                            if copied { "copied" } else { "too long for a terminal's clipboard; e exports" };
                        app.said = Some(said.into());
                    }
                    // `App::update` has done these
                    Effect::Run(_) | Effect::Stop(_) | Effect::Say(_) | Effect::Go(_) | Effect::Ask(_) => {}
                }
            }
            next = if begun.elapsed() < BATCH { app.jobs.at_hand() } else { None };
        }
    }
}

/// Something that writes gets to its safe point first.
fn leave(app: &mut App) {
    app.jobs.ask_to_stop(Slot::Execution);
    while app.executing() {
        if let Some(event) = app.jobs.next(TICK) {
            app.jobs.counts(&event);
        }
    }
}

/// Signals become events.
fn signals(send: SyncSender<Event>) -> io::Result<signal_hook::iterator::Handle> {
    let mut signals = Signals::new([SIGTERM, SIGHUP, SIGTSTP])?;
    let handle = signals.handle();
    thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            let event = if signal == SIGTSTP { Event::Suspend } else { Event::End };
            if send.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(handle)
}

/// The terminal is gone although no signal said so. crossterm does not see that: it goes on reading, without a pause.
fn hung_up() -> bool {
    let input = io::stdin();
    let mut polled = [PollFd::new(&input, PollFlags::empty())];
    let looked = rustix::event::poll(&mut polled, Some(&Timespec::default()));
    looked.is_ok() && polled.iter().any(|p| p.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

/// Keys become events. The thread ends with the program.
fn keys(send: SyncSender<Event>) -> io::Result<()> {
    thread::Builder::new().name("keys".into()).spawn(move || {
        while let Ok(event) = crossterm::event::read() {
            if send.send(Event::Terminal(event)).is_err() {
                return;
            }
        }
        // the terminal is gone
        let _ = send.send(Event::End);
    })?;
    Ok(())
}
