//! The views, one file each, and what they have in common.

pub mod blocks;
pub mod control;
mod explained;
pub mod export;
pub mod lost;
pub mod overview;
pub mod plan;
pub mod records;
pub mod timelines;

use std::path::PathBuf;
use std::sync::Arc;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::action::{Action, ViewId};
use super::app::{Ask, Effect, Go};
use super::jobs::{Answer, Job, Slot, Worker};
use super::saved::Picture;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::Options;

/// What every view can see.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The directories; `None` where a saved report or plan is looked at.
    pub pair: Option<Arc<Options>>,
    /// What was found out, once it was.
    pub diagnosis: Option<Arc<Diagnosis>>,
    /// The same as the report has it, also from a file.
    pub picture: Option<Arc<Picture>>,
    /// A stored plan that is looked at.
    pub plan: Option<Arc<crate::plan::Plan>>,
    /// Why there is no diagnosis.
    pub failed: Option<String>,
    /// Carrying out is removed.
    pub read_only: bool,
    /// Why this user can carry nothing out.
    pub unable: Option<String>,
    /// Where undo stores are made and looked for; beside the target if not given.
    pub undo_dir: Option<PathBuf>,
    /// Where exports go: the directory in which the program was started.
    pub folder: PathBuf,
}

impl Shared {
    /// The verdict, where it is not that the target is to be rewound: not to be overlooked before a plan is carried out.
    pub fn doubt(&self) -> Option<String> {
        let verdict = &self.picture.as_ref()?.verdict;
        let sure = verdict.action == "rewind" && verdict.blocked_by.is_empty();
        (!sure).then(|| format!("The report says: {}", verdict.line))
    }

    /// What is said in place of a report that is not there.
    pub fn without_picture(&self) -> String {
        match (&self.failed, &self.plan) {
            (Some(failed), _) => format!(
                "✗ There is no diagnosis: {failed} If a rewind of the target was interrupted, 7 says so and goes on with it or \
                 puts the target back; forkpoint status TARGET says the same."
            ),
            (None, Some(_)) => "This is a stored plan: 7 shows it.".into(),
            (None, None) => {
                "Reading both directories; what is known is shown as it comes. Nothing is written.".into()
            }
        }
    }
}

/// What a view may do beside changing its own state.
#[derive(Debug)]
pub struct Context<'a> {
    /// What it can see.
    pub shared: &'a Shared,
    effects: &'a mut Vec<Effect>,
}

impl<'a> Context<'a> {
    /// For one call of a view.
    pub const fn new(shared: &'a Shared, effects: &'a mut Vec<Effect>) -> Self {
        Self { shared, effects }
    }

    /// Starts work in the background. Its answers come to [`View::receive`] of the view that has the slot.
    pub fn run(&mut self, slot: Slot, label: &'static str, work: impl FnOnce(&Worker) + Send + 'static) {
        self.effects.push(Effect::Run(Job { slot, label, work: Box::new(work) }));
    }

    /// Stops work.
    pub fn stop(&mut self, slot: Slot) {
        self.effects.push(Effect::Stop(slot));
    }

    /// Says something in the line above the keys.
    pub fn say(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Say(text.into()));
    }

    /// Puts a text into the clipboard.
    pub fn copy(&mut self, text: impl Into<String>) {
        self.effects.push(Effect::Copy(text.into()));
    }

    /// Goes to something in another view.
    pub fn go(&mut self, go: Go) {
        self.effects.push(Effect::Go(go));
    }

    /// Asks for a word before something is carried out.
    pub fn ask(&mut self, ask: Ask) {
        self.effects.push(Effect::Ask(ask));
    }
}

/// One of the seven.
pub trait View {
    /// Does what the user wants; what it does not know it leaves alone.
    fn update(&mut self, action: Action, context: &mut Context<'_>);

    /// An answer of work that it started.
    fn receive(&mut self, _slot: Slot, _answer: Answer, _context: &mut Context<'_>) {}

    /// Work that it started ended, with or without an answer.
    fn ended(&mut self, _slot: Slot, _context: &mut Context<'_>) {}

    /// The view is shown, or the diagnosis arrived while it is: time to start what it needs.
    fn shown(&mut self, _context: &mut Context<'_>) {}

    /// The user was sent here from another view.
    fn go(&mut self, _go: Go, _from: ViewId, _context: &mut Context<'_>) {}

    /// Why an action does nothing now; the footer shows it in grey and says so when it is tried.
    fn refuses(&self, _action: Action, _shared: &Shared) -> Option<String> {
        None
    }

    /// What is written where an export is asked for.
    fn exports(&self) -> Option<&'static str> {
        None
    }

    /// A text was entered: for the search, the filter, the export. An error is shown and asked again.
    fn entered(&mut self, _prompt: Prompt, _text: &str, _context: &mut Context<'_>) -> Result<(), String> {
        Ok(())
    }

    /// What is wrong with a text that is being typed.
    fn check(&self, _prompt: Prompt, _text: &str, _shared: &Shared) -> Result<(), String> {
        Ok(())
    }

    /// What the prompt starts with: the filter that holds, a name for the export.
    fn prompt(&self, _prompt: Prompt, _shared: &Shared) -> String {
        String::new()
    }

    /// The mouse, within the area that was drawn last.
    fn mouse(&mut self, _event: MouseEvent, _area: Rect, _context: &mut Context<'_>) {}

    /// Draws it.
    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared);
}

/// What is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Prompt {
    Search,
    Filter,
    Command,
    Export,
}

/// Which view takes answers of a slot.
pub const fn of_slot(slot: Slot) -> Option<ViewId> {
    match slot {
        Slot::Diagnosis | Slot::Export => None,
        Slot::Index | Slot::Records | Slot::Search => Some(ViewId::Records),
        Slot::Tree | Slot::Page | Slot::BlockRecords => Some(ViewId::Blocks),
        Slot::Lost | Slot::LostSearch => Some(ViewId::Lost),
        Slot::Plan | Slot::PlanRows | Slot::PlanSearch | Slot::Execution => Some(ViewId::Plan),
    }
}
