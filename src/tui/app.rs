//! The state of the screen: an event becomes an action, an action changes the state, a frame is drawn from it.

use crossterm::event::{
    Event as TerminalEvent, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, MouseEvent, MouseEventKind,
};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use tui_input::{Input, InputRequest};

use super::action::{Action, ViewId};
use super::executor::Command;
use super::frame;
use super::help::Help;
use super::jobs::{Event, Job, Jobs, Slot};
use super::keymap::{self, BINDINGS};
use super::start::Diagnosed;
use super::view::{
    Context, Prompt, Shared, View, blocks, control, lost, of_slot, overview, plan, records, timelines,
};
use crate::facts::Role;
use crate::pg::Lsn;

/// What is said until something that writes has stopped.
const STOPPING: &str = "stopping at the next safe point …";

/// What only the host can do.
#[derive(Debug)]
pub enum Effect {
    /// Start work.
    Run(Job),
    /// Stop work.
    Stop(Slot),
    /// Say something.
    Say(String),
    /// Put into the clipboard.
    Copy(String),
    /// Go somewhere.
    Go(Go),
    /// Ask for a word.
    Ask(Ask),
    /// Carry out: only after the word was typed.
    Execute(Box<Command>),
    /// Stop the program for a while.
    Suspend,
    /// Take the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
}

/// Something in another view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Go {
    /// Records of one side that a filter lets through.
    Records {
        /// Whose.
        side: Role,
        /// The filter; empty for all.
        filter: String,
        /// The record to select.
        lsn: Option<Lsn>,
    },
    /// A view as it is.
    View(ViewId),
}

/// A question before something is carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// What would happen.
    pub lines: Vec<String>,
    /// The word to type.
    pub word: String,
    /// What is carried out then.
    pub command: Command,
    /// What is asked before that, too.
    pub then: Option<Box<Ask>>,
}

/// What lies over the view.
#[derive(Debug)]
pub enum Overlay {
    /// All keys.
    Help(Help),
    /// A line is typed.
    Prompt {
        /// What for.
        prompt: Prompt,
        /// What was typed.
        input: Input,
        /// What is wrong with it.
        error: Option<String>,
    },
    /// A key that asks for a text was refused: what is typed after it must not act as keys.
    Refused {
        /// What stands before the text.
        sign: String,
        /// Why.
        why: String,
        /// What was typed.
        input: Input,
    },
    /// A word is asked for.
    Ask {
        /// The question.
        ask: Ask,
        /// What was typed.
        input: Input,
    },
}

/// Everything.
pub struct App {
    /// What every view sees.
    pub shared: Shared,
    /// The view that is shown.
    pub view: ViewId,
    /// What lies over it.
    pub overlay: Option<Overlay>,
    /// What was said last.
    pub said: Option<String>,
    /// The mouse is taken.
    pub mouse: bool,
    /// Work that runs.
    pub jobs: Jobs,
    /// Ctrl-C was pressed when nothing could be stopped.
    cancelled: bool,
    /// The area of the view, as drawn last.
    pub body: std::cell::Cell<Rect>,
    overview: overview::Overview,
    control: control::Control,
    timelines: timelines::Timelines,
    blocks: blocks::Blocks,
    records: records::Records,
    lost: lost::LostView,
    plan: plan::PlanView,
}

impl App {
    /// Nothing known yet.
    pub fn new(shared: Shared, mouse: bool) -> Self {
        Self {
            shared,
            view: ViewId::Overview,
            overlay: None,
            said: None,
            mouse,
            jobs: Jobs::default(),
            cancelled: false,
            body: std::cell::Cell::default(),
            overview: overview::Overview::default(),
            control: control::Control::default(),
            timelines: timelines::Timelines::default(),
            blocks: blocks::Blocks::default(),
            records: records::Records::default(),
            lost: lost::LostView::default(),
            plan: plan::PlanView::default(),
        }
    }

    /// The view itself.
    pub fn view(&self, view: ViewId) -> &dyn View {
        match view {
            ViewId::Overview => &self.overview,
            ViewId::Control => &self.control,
            ViewId::Timelines => &self.timelines,
            ViewId::Blocks => &self.blocks,
            ViewId::Records => &self.records,
            ViewId::Lost => &self.lost,
            ViewId::Plan => &self.plan,
        }
    }

    /// Lets a view do something; gives what only the host can do.
    fn with<T>(
        &mut self,
        view: ViewId,
        act: impl FnOnce(&mut dyn View, &mut Context<'_>) -> T,
    ) -> (T, Vec<Effect>) {
        let mut effects = Vec::new();
        let mut context = Context::new(&self.shared, &mut effects);
        let view: &mut dyn View = match view {
            ViewId::Overview => &mut self.overview,
            ViewId::Control => &mut self.control,
            ViewId::Timelines => &mut self.timelines,
            ViewId::Blocks => &mut self.blocks,
            ViewId::Records => &mut self.records,
            ViewId::Lost => &mut self.lost,
            ViewId::Plan => &mut self.plan,
        };
        let result = act(view, &mut context);
        (result, effects)
    }

    /// The screen opens: a stored plan is shown where it belongs.
    pub fn opened(&mut self) {
        let view = if self.shared.plan.is_some() { ViewId::Plan } else { ViewId::Overview };
        let effects = self.show(view);
        self.settle(effects);
    }

    /// Draws a frame.
    pub fn draw(&self, buffer: &mut Buffer) {
        frame::draw(self, buffer);
    }

    /// Takes an event; gives what the host has to do.
    pub fn update(&mut self, event: Event) -> Vec<Effect> {
        if !self.jobs.counts(&event) {
            return Vec::new();
        }
        let effects = match event {
            Event::Terminal(event) => self.terminal(event),
            Event::End => vec![Effect::Quit],
            Event::Suspend => vec![Effect::Suspend],
            Event::Answer { slot: Slot::Diagnosis, answer, .. } => self.diagnosed(answer),
            Event::Answer { slot: Slot::Export, answer, .. } => {
                self.said = answer.downcast::<String>().ok().map(|text| *text);
                Vec::new()
            }
            Event::Answer { slot, answer, .. } => of_slot(slot)
                .map_or_else(Vec::new, |view| self.with(view, |v, c| v.receive(slot, answer, c)).1),
            Event::Ended { slot, bug, .. } => {
                if let Some(bug) = bug {
                    let text = format!("a bug in {slot:?}: {bug}; please report it");
                    if slot == Slot::Diagnosis {
                        self.shared.failed = Some(text.clone());
                    }
                    self.said = Some(text);
                }
                if slot == Slot::Execution && self.said.as_deref() == Some(STOPPING) {
                    self.said = None;
                }
                of_slot(slot).map_or_else(Vec::new, |view| self.with(view, |v, c| v.ended(slot, c)).1)
            }
        };
        self.settle(effects)
    }

    /// Goes to something in a view, as another view would send the user there.
    pub fn go(&mut self, go: Go) -> Vec<Effect> {
        self.settle(vec![Effect::Go(go)])
    }

    /// Does what needs no host.
    fn settle(&mut self, effects: Vec<Effect>) -> Vec<Effect> {
        let mut left = Vec::new();
        for effect in effects {
            match effect {
                Effect::Run(job) => self.jobs.start(job),
                Effect::Stop(slot) => self.jobs.stop(slot),
                Effect::Say(text) => self.said = Some(text),
                Effect::Ask(ask) => self.overlay = Some(Overlay::Ask { ask, input: Input::default() }),
                Effect::Go(go) => {
                    let view = match &go {
                        Go::Records { .. } => ViewId::Records,
                        Go::View(view) => *view,
                    };
                    let from = self.view;
                    let mut more = self.show(view);
                    more.extend(self.with(view, |v, c| v.go(go, from, c)).1);
                    left.extend(self.settle(more));
                }
                other => left.push(other),
            }
        }
        left
    }

    fn show(&mut self, view: ViewId) -> Vec<Effect> {
        self.view = view;
        self.with(view, |v, c| v.shown(c)).1
    }

    fn diagnosed(&mut self, answer: super::jobs::Answer) -> Vec<Effect> {
        match answer.downcast::<Diagnosed>().map(|d| *d) {
            Ok(Diagnosed::Known(diagnosis, picture)) => {
                self.shared.diagnosis = Some(diagnosis);
                self.shared.picture = Some(picture);
                let view = self.view;
                self.show(view)
            }
            Ok(Diagnosed::Failed(text)) => {
                self.shared.failed = Some(text);
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    fn terminal(&mut self, event: TerminalEvent) -> Vec<Effect> {
        match event {
            TerminalEvent::Key(key) if key.kind != KeyEventKind::Release => self.key(&key),
            TerminalEvent::Mouse(mouse) => self.pointed(mouse),
            TerminalEvent::Paste(text) => {
                if let Some(
                    Overlay::Prompt { input, .. }
                    | Overlay::Ask { input, .. }
                    | Overlay::Refused { input, .. },
                ) = &mut self.overlay
                {
                    for c in text.chars().filter(|c| !c.is_control()) {
                        input.handle(InputRequest::InsertChar(c));
                    }
                    self.checked();
                }
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        let ctrl = |c| key.code == KeyCode::Char(c) && key.modifiers.contains(KeyModifiers::CONTROL);
        if ctrl('z') {
            return vec![Effect::Suspend];
        }
        if ctrl('l') {
            return vec![Effect::Redraw];
        }
        match &mut self.overlay {
            Some(_) if ctrl('c') => {
                self.overlay = None;
                Vec::new()
            }
            Some(Overlay::Help(help)) => {
                if help.key(key, self.view) {
                    self.overlay = None;
                }
                Vec::new()
            }
            Some(Overlay::Prompt { .. }) => self.typed(key),
            Some(Overlay::Ask { .. }) => self.answered(key),
            Some(Overlay::Refused { input, .. }) => {
                match key.code {
                    KeyCode::Esc | KeyCode::Enter => self.overlay = None,
                    _ => {
                        if let Some(request) = edit(key) {
                            input.handle(request);
                        }
                    }
                }
                Vec::new()
            }
            None => {
                let action = keymap::action(key, self.view);
                if action != Some(Action::Cancel) {
                    self.cancelled = false;
                }
                self.said = None;
                match (action, keymap::elsewhere(key)) {
                    (Some(action), _) => self.act(action),
                    (None, Some(binding)) => {
                        self.refuse(binding.action, binding.not_in(self.view));
                        Vec::new()
                    }
                    (None, None) => Vec::new(),
                }
            }
        }
    }

    /// Does what an action means.
    pub fn act(&mut self, action: Action) -> Vec<Effect> {
        if let Some(why) = self.refuses(action) {
            self.refuse(action, why);
            return Vec::new();
        }
        match action {
            Action::Quit => self.quit(),
            Action::View(view) => self.show(view),
            Action::NextView => self.show(self.neighbour(1)),
            Action::PreviousView => self.show(self.neighbour(ViewId::ALL.len() - 1)),
            Action::Help => {
                self.overlay = Some(Overlay::Help(Help::default()));
                Vec::new()
            }
            Action::Search => self.prompt(Prompt::Search),
            Action::Filter => self.prompt(Prompt::Filter),
            Action::Command => self.prompt(Prompt::Command),
            Action::Export => self.prompt(Prompt::Export),
            Action::Suspend => vec![Effect::Suspend],
            Action::Redraw => vec![Effect::Redraw],
            Action::Mouse => {
                self.mouse = !self.mouse;
                let text =
                    if self.mouse { "the mouse works here" } else { "the mouse is left to the terminal" };
                self.said = Some(text.into());
                vec![Effect::Mouse(self.mouse)]
            }
            Action::Cancel => self.cancel(),
            other => {
                let view = self.view;
                self.with(view, |v, c| v.update(other, c)).1
            }
        }
    }

    /// Why an action does nothing now.
    pub fn refuses(&self, action: Action) -> Option<String> {
        if self.executing() && matches!(action, Action::CarryOut | Action::Resume | Action::Undo) {
            return Some("something is being carried out; Ctrl-C stops it at a safe point".into());
        }
        self.view(self.view).refuses(action, &self.shared)
    }

    /// Says why nothing is done. Where a text would have been typed, it still can be, and does nothing.
    fn refuse(&mut self, action: Action, why: String) {
        if action.asks() {
            let key = BINDINGS.iter().find(|b| b.action == action).and_then(|b| b.keys.first());
            let sign = key.map(|key| key.name()).unwrap_or_default();
            self.overlay = Some(Overlay::Refused { sign, why, input: Input::default() });
        } else {
            self.said = Some(why);
        }
    }

    fn neighbour(&self, by: usize) -> ViewId {
        let at = (self.view.index() + by) % ViewId::ALL.len();
        ViewId::ALL.get(at).copied().unwrap_or(self.view)
    }

    /// Something that writes is on its way.
    pub fn executing(&self) -> bool {
        self.jobs.running().contains_key(&Slot::Execution)
    }

    fn quit(&mut self) -> Vec<Effect> {
        if self.executing() {
            self.said =
                Some("a data directory is being changed: Ctrl-C stops at a safe point, then q quits".into());
            return Vec::new();
        }
        vec![Effect::Quit]
    }

    /// Stops what runs; where nothing does, the second time ends the program.
    fn cancel(&mut self) -> Vec<Effect> {
        if self.executing() {
            self.jobs.ask_to_stop(Slot::Execution);
            self.said = Some(STOPPING.into());
            return Vec::new();
        }
        let slots: Vec<_> = self.jobs.running().keys().copied().collect();
        if slots.is_empty() || self.cancelled {
            if self.cancelled {
                return vec![Effect::Quit];
            }
            self.cancelled = true;
            self.said = Some("nothing runs; Ctrl-C again quits".into());
            return Vec::new();
        }
        self.cancelled = true;
        self.said = Some("stopped; Ctrl-C again quits".into());
        let mut effects = Vec::new();
        for slot in slots {
            self.jobs.stop(slot);
            if slot == Slot::Diagnosis {
                self.shared.failed = Some("The diagnosis was stopped. Start again to have one.".into());
            }
            if let Some(view) = of_slot(slot) {
                effects.extend(self.with(view, |v, c| v.ended(slot, c)).1);
            }
        }
        effects
    }

    fn prompt(&mut self, prompt: Prompt) -> Vec<Effect> {
        let text = if prompt == Prompt::Command {
            String::new()
        } else {
            self.view(self.view).prompt(prompt, &self.shared)
        };
        self.overlay = Some(Overlay::Prompt { prompt, input: Input::new(text), error: None });
        Vec::new()
    }

    fn typed(&mut self, key: &KeyEvent) -> Vec<Effect> {
        let Some(Overlay::Prompt { prompt, input, .. }) = &mut self.overlay else { return Vec::new() };
        let (prompt, text) = (*prompt, input.value().to_owned());
        match key.code {
            KeyCode::Esc => self.overlay = None,
            KeyCode::Enter if prompt == Prompt::Command => {
                self.overlay = None;
                return self.command(text.trim());
            }
            KeyCode::Enter => {
                let view = self.view;
                let (entered, effects) = self.with(view, |v, c| v.entered(prompt, &text, c));
                match entered {
                    Ok(()) => self.overlay = None,
                    Err(why) => {
                        if let Some(Overlay::Prompt { error, .. }) = &mut self.overlay {
                            *error = Some(why);
                        }
                    }
                }
                return effects;
            }
            KeyCode::Tab if prompt == Prompt::Command => {
                if let Some(whole) = complete(&text) {
                    *input = Input::new(whole.to_owned());
                }
            }
            _ => {
                if let Some(request) = edit(key) {
                    input.handle(request);
                    self.checked();
                }
            }
        }
        Vec::new()
    }

    /// Says what is wrong with what is typed, while it is.
    fn checked(&mut self) {
        let Some(Overlay::Prompt { prompt, input, .. }) = &self.overlay else { return };
        let wrong = if matches!(prompt, Prompt::Command | Prompt::Export) || input.value().is_empty() {
            None
        } else {
            self.view(self.view).check(*prompt, input.value(), &self.shared).err()
        };
        if let Some(Overlay::Prompt { error, .. }) = &mut self.overlay {
            *error = wrong;
        }
    }

    fn command(&mut self, name: &str) -> Vec<Effect> {
        if name.is_empty() {
            return Vec::new();
        }
        #[cfg(debug_assertions)]
        if let Some(effects) = self.bug(name) {
            return effects;
        }
        let name = if name == "q" { "quit" } else { name };
        let whole = BINDINGS.iter().find(|b| b.name == name);
        let found =
            whole.or_else(|| complete(name).and_then(|name| BINDINGS.iter().find(|b| b.name == name)));
        match found {
            Some(binding) if binding.scope.holds(self.view) => self.act(binding.action),
            Some(binding) => {
                self.refuse(binding.action, binding.not_in(self.view));
                Vec::new()
            }
            None => {
                self.said = Some(format!("there is no command {name:?}; ? lists all"));
                Vec::new()
            }
        }
    }

    /// Bugs on demand, for the tests that the terminal is given back: not in a release.
    #[cfg(debug_assertions)]
    #[expect(clippy::panic, reason = "that is what it is for")]
    fn bug(&mut self, name: &str) -> Option<Vec<Effect>> {
        match name {
            "panic" => panic!("on demand"),
            "panic-behind" => {
                let work = Box::new(|_: &super::jobs::Worker| panic!("on demand"));
                self.jobs.start(Job { slot: Slot::Export, label: "", work });
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn answered(&mut self, key: &KeyEvent) -> Vec<Effect> {
        let Some(Overlay::Ask { ask, input }) = &mut self.overlay else { return Vec::new() };
        match key.code {
            KeyCode::Esc => {
                self.overlay = None;
                self.said = Some("not confirmed; nothing was changed".into());
            }
            KeyCode::Enter => {
                let confirmed = input.value() == ask.word && !self.shared.read_only;
                let (command, then) = (ask.command.clone(), ask.then.take());
                self.overlay = None;
                match then {
                    Some(next) if confirmed => {
                        self.overlay = Some(Overlay::Ask { ask: *next, input: Input::default() });
                        return Vec::new();
                    }
                    None if confirmed => return vec![Effect::Execute(Box::new(command))],
                    _ => {}
                }
                self.said = Some("not confirmed; nothing was changed".into());
            }
            _ => {
                if let Some(request) = edit(key) {
                    input.handle(request);
                }
            }
        }
        Vec::new()
    }

    fn pointed(&mut self, event: MouseEvent) -> Vec<Effect> {
        if self.overlay.is_some() || !self.mouse {
            return Vec::new();
        }
        if matches!(event.kind, MouseEventKind::Down(_)) && event.row == frame::TABS_ROW {
            let tab = frame::tab_at(event.column, self.view, self.body.get().width);
            return tab.map_or_else(Vec::new, |view| self.show(view));
        }
        let (view, body) = (self.view, self.body.get());
        match event.kind {
            MouseEventKind::ScrollUp => self.with(view, |v, c| v.update(Action::Up, c)).1,
            MouseEventKind::ScrollDown => self.with(view, |v, c| v.update(Action::Down, c)).1,
            _ => self.with(view, |v, c| v.mouse(event, body, c)).1,
        }
    }
}

/// What a key does to a line that is typed.
pub fn edit(key: &KeyEvent) -> Option<InputRequest> {
    let ctrl = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('a') if ctrl => InputRequest::GoToStart,
        KeyCode::Char('e') if ctrl => InputRequest::GoToEnd,
        KeyCode::Char('u') if ctrl => InputRequest::DeleteLine,
        KeyCode::Char('k') if ctrl => InputRequest::DeleteTillEnd,
        KeyCode::Char('w') if ctrl => InputRequest::DeletePrevWord,
        KeyCode::Char(c) if !ctrl => InputRequest::InsertChar(c),
        KeyCode::Backspace => InputRequest::DeletePrevChar,
        KeyCode::Delete => InputRequest::DeleteNextChar,
        KeyCode::Left => InputRequest::GoToPrevChar,
        KeyCode::Right => InputRequest::GoToNextChar,
        KeyCode::Home => InputRequest::GoToStart,
        KeyCode::End => InputRequest::GoToEnd,
        _ => return None,
    })
}

/// The only command that begins so.
fn complete(text: &str) -> Option<&'static str> {
    let mut names = BINDINGS.iter().map(|b| b.name).filter(|name| name.starts_with(text));
    let first = names.next()?;
    names.all(|name| name == first).then_some(first)
}
