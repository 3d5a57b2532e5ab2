//! What a rewind would do, file by file, and carrying it out.

mod ask;
mod draw;
mod entry;
mod work;

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Context, Prompt, Shared, View, export};
use crate::plan::keep::Pattern;
use crate::plan::model::Check;
use crate::plan::path::RelPath;
use crate::plan::{Plan, PlanOptions};
use crate::report::words;
use crate::rewind::State;
use crate::tui::action::Action;
use crate::tui::executor::Ended;
use crate::tui::jobs::{Answer, Slot};
use crate::tui::widget::list::List;
use crate::tui::widget::pane::pressed;
use crate::tui::widget::prose::Scroll;

use self::work::{NoPlan, Standing, Told};

/// How the making of the plan stands.
#[derive(Debug, Default)]
enum Stand {
    #[default]
    NotBegun,
    Running,
    Stopped,
    NoPlan(NoPlan),
    Known,
}

/// The panes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pane {
    Summary,
    Checks,
    #[default]
    Entries,
}

impl Pane {
    const ALL: [Self; 3] = [Self::Summary, Self::Checks, Self::Entries];
}

/// What the entries are sorted by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Order {
    #[default]
    Done,
    Path,
    Bytes,
    Action,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Done => Self::Path,
            Self::Path => Self::Bytes,
            Self::Bytes => Self::Action,
            Self::Action => Self::Done,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Done => "in the order in which they are done",
            Self::Path => "by path",
            Self::Bytes => "by bytes",
            Self::Action => "by action",
        }
    }
}

/// What is read on a page of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Summary,
    Check,
    Entry,
    /// How carrying out ended, and what can be done now.
    Outcome,
}

/// The seventh view.
#[derive(Debug, Default)]
pub struct PlanView {
    stand: Stand,
    /// The plan that is shown, also while another is made.
    plan: Option<Arc<Plan>>,
    wishes: PlanOptions,
    standing: Option<Result<Box<Standing>, String>>,
    looking: bool,
    ended: Option<Ended>,
    pane: Pane,
    enlarged: bool,
    summary: Scroll,
    checks: List,
    entries: List,
    /// Places of checks, what stands in the way first.
    check_order: Vec<usize>,
    /// Places of entries, sorted and filtered.
    rows: Arc<Vec<u32>>,
    /// How these are filtered and sorted.
    listed: (String, Order),
    /// How they are to be.
    order: Order,
    filter: String,
    /// The entry that was selected in another plan.
    stays: Option<RelPath>,
    search: String,
    open: Option<(Open, Scroll)>,
    drawn: [Cell<Rect>; 3],
}

impl PlanView {
    fn check(&self) -> Option<&Check> {
        self.plan.as_ref()?.preflight.get(*self.check_order.get(self.checks.selected())?)
    }

    fn entry(&self) -> Option<&crate::plan::model::Entry> {
        self.plan.as_ref()?.entries.get(*self.rows.get(self.entries.selected())? as usize)
    }

    fn take(&mut self, plan: Arc<Plan>, context: &mut Context<'_>) {
        self.check_order = (0..plan.preflight.len()).collect();
        self.check_order.sort_by_key(|&at| plan.preflight.get(at).map(|c| std::cmp::Reverse(c.outcome)));
        // another plan has other places
        self.stays = self.entry().map(|e| e.path.clone()).or(self.stays.take());
        self.plan = Some(plan);
        self.rows = Arc::default();
        self.arrange(context);
    }

    /// The rows anew. Sorting and filtering a million entries takes longer than a key may wait.
    fn arrange(&mut self, context: &mut Context<'_>) {
        let Some(plan) = self.plan.clone() else { return };
        let (filter, order) = (self.filter.clone(), self.order);
        context
            .run(Slot::PlanRows, "listing entries", move |worker| work::list(&plan, filter, order, worker));
    }

    /// They are there; the selected entry stays selected if it is still among them.
    fn arranged(&mut self, listed: work::Listed, context: &mut Context<'_>) {
        if self.plan.as_ref().is_none_or(|plan| !Arc::ptr_eq(plan, &listed.plan)) {
            return;
        }
        let path = self.entry().map(|e| e.path.clone()).or(self.stays.take());
        self.rows = Arc::new(listed.rows);
        self.listed = (listed.filter, listed.order);
        let same = |at: &u32| {
            let entry = listed.plan.entries.get(*at as usize);
            path.is_some() && entry.map(|e| &e.path) == path.as_ref()
        };
        let place = self.rows.iter().position(same).unwrap_or(0);
        self.entries.select(place, self.rows.len());
        if self.rows.is_empty() && !self.filter.is_empty() {
            context.say(format!("nothing has {:?} in its path, action or reason", self.filter));
        }
    }

    fn look(&mut self, context: &mut Context<'_>) {
        let Some(pair) = context.shared.pair.clone() else { return };
        self.looking = true;
        let undo_dir = context.shared.undo_dir.clone();
        context.run(Slot::Plan, "", move |worker| work::look(&pair.target, undo_dir.as_deref(), worker));
    }

    fn make(&mut self, wishes: PlanOptions, context: &mut Context<'_>) {
        let (Some(pair), Some(diagnosis)) = (context.shared.pair.clone(), context.shared.diagnosis.clone())
        else {
            return;
        };
        self.stand = Stand::Running;
        context.run(Slot::Plan, "making the plan", move |worker| {
            let wishes = PlanOptions { restore_command: pair.restore_command.clone(), ..wishes };
            work::make(&diagnosis, &pair.archives, wishes, worker);
        });
    }

    /// How an earlier rewind stands comes first, then the plan.
    fn begin(&mut self, context: &mut Context<'_>) {
        if context.shared.pair.is_none() {
            if let (None, Some(plan)) = (&self.plan, &context.shared.plan) {
                self.take(Arc::clone(plan), context);
                self.stand = Stand::Known;
            }
        } else if self.standing.is_none() {
            if !self.looking {
                self.look(context);
            }
        } else if matches!(self.stand, Stand::NotBegun) && !self.halfway() {
            self.make(self.wishes.clone(), context);
        }
    }

    fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()?.as_ref().ok().map(|s| &**s)
    }

    fn halfway(&self) -> bool {
        self.standing().is_some_and(|s| !matches!(s.state, State::None | State::Done | State::Undone))
    }

    fn keep(&mut self, context: &mut Context<'_>) {
        let Some(path) = self.entry().and_then(|e| e.path.as_path().to_str().map(str::to_owned)) else {
            return;
        };
        let pattern: Pattern = match glob::Pattern::escape(&path).parse() {
            Ok(pattern) => pattern,
            Err(error) => return context.say(error.to_string()),
        };
        let mut wishes = self.wishes.clone();
        let before = wishes.keep.len();
        wishes.keep.retain(|p| !p.matches(Path::new(&path)));
        if wishes.keep.len() == before {
            wishes.keep.push(pattern);
        }
        self.make(wishes, context);
    }

    fn seek(&self, forward: bool, context: &mut Context<'_>) {
        let Some(plan) = self.plan.clone() else { return };
        let (rows, wanted, here) =
            (Arc::clone(&self.rows), self.search.to_lowercase(), self.entries.selected());
        context.run(Slot::PlanSearch, "searching", move |worker| {
            work::seek(&plan, rows, &wanted, (here, forward), worker);
        });
    }

    fn export(&self, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        let Some(plan) = self.plan.clone() else { return Ok(()) };
        let path = export::new_file(text, context.shared)?;
        context.run(Slot::Export, "writing the plan", move |worker| {
            let told = export::write(&path, |out| crate::report::json::write(&*plan, out));
            worker.answer(told.unwrap_or_else(|why| why));
        });
        Ok(())
    }

    fn text(&self, shared: &Shared) -> Option<String> {
        let check = |c: &Check| format!("{} {}", c.what, c.advice).trim_end().to_owned();
        match (self.open.as_ref().map(|o| o.0), self.pane) {
            (Some(Open::Outcome), _) => Some(draw::outcome(self, shared).join("\n")),
            (Some(Open::Summary), _) | (None, Pane::Summary) => {
                self.plan.as_ref().map(|plan| draw::summary(plan, 100).join("\n"))
            }
            (Some(Open::Check), _) | (None, Pane::Checks) => self.check().map(check),
            (Some(Open::Entry), _) | (None, Pane::Entries) => self.entry().map(path),
        }
    }

    /// The list that has the keys, and its length.
    fn list(&mut self) -> Option<(&mut List, usize)> {
        match self.pane {
            _ if self.plan.is_none() => None,
            Pane::Summary => None,
            Pane::Checks => Some((&mut self.checks, self.check_order.len())),
            Pane::Entries => Some((&mut self.entries, self.rows.len())),
        }
    }

    fn enter(&mut self) {
        let open = match self.pane {
            Pane::Summary if self.plan.is_some() => Open::Summary,
            Pane::Checks if self.check().is_some() => Open::Check,
            Pane::Entries if self.entry().is_some() => Open::Entry,
            _ => return,
        };
        self.open = Some((open, Scroll::default()));
    }

    /// Why nothing is carried out, whichever it is.
    fn nothing_is_carried_out(shared: &Shared) -> Option<String> {
        if shared.pair.is_none() {
            return Some("a stored plan is only shown; forkpoint apply carries it out".into());
        }
        if shared.read_only {
            return Some("opened with --read-only: nothing is carried out".into());
        }
        shared.unable.clone()
    }

    fn may_not_apply(&self, shared: &Shared) -> Option<String> {
        if let Some(why) = Self::nothing_is_carried_out(shared) {
            return Some(why);
        }
        let standing = match &self.standing {
            None => return Some("not looked yet whether a rewind was begun".into()),
            Some(Err(error)) => return Some(error.clone()),
            Some(Ok(standing)) => standing,
        };
        match standing.state {
            State::None | State::Undone => {}
            State::Done => return Some("the target was rewound already; U puts it back".into()),
            State::InProgress => return Some("a rewind is half-way: R goes on, U puts it back".into()),
            State::Undoing => return Some("undoing is half-way: U goes on with it".into()),
            State::StoreMissing => {
                let told = standing.report.strange.iter().chain(&standing.report.next_steps).cloned();
                return Some(told.collect::<Vec<_>>().join(". "));
            }
            State::Discarding => {
                return Some(
                    "an undo store is being removed: forkpoint undo --discard goes on with it".into(),
                );
            }
        }
        match &self.stand {
            Stand::Known => {}
            Stand::NoPlan(_) => return Some("there is no plan".into()),
            Stand::Stopped => return Some("making the plan was stopped; Enter begins anew".into()),
            Stand::NotBegun | Stand::Running => return Some("the plan is still being made".into()),
        }
        let refusal = self.plan.as_ref()?.refusals().next()?;
        Some(format!("the preflight refuses it: {}", refusal.what))
    }
}

/// The path as it is shown.
fn path(entry: &crate::plan::model::Entry) -> String {
    words::path(entry.path.as_path())
}

impl View for PlanView {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        match action {
            Action::CarryOut => return ask::carry_out(self, context),
            Action::Resume => return ask::resume(self, context),
            Action::Undo => return ask::undo(self, context),
            Action::Copy => {
                if let Some(text) = self.text(context.shared) {
                    context.copy(text);
                }
                return;
            }
            _ => {}
        }
        if let Some((open, scroll)) = &mut self.open {
            let open = *open;
            if scroll.moved(action) {
                return;
            }
            match action {
                Action::Back | Action::Left => self.open = None,
                Action::NextPane | Action::PreviousPane if matches!(open, Open::Check | Open::Entry) => {
                    scroll.reset();
                    let step = if action == Action::NextPane { Action::Down } else { Action::Up };
                    if let Some((list, len)) = self.list() {
                        list.moved(step, len);
                    }
                }
                _ => {}
            }
            return;
        }
        let moved = match self.list() {
            Some((list, len)) => list.moved(action, len),
            None => self.summary.moved(action),
        };
        if moved {
            return;
        }
        let pane = |by: usize| {
            let at = (self.pane as usize + by) % Pane::ALL.len();
            Pane::ALL.get(at).copied().unwrap_or_default()
        };
        match action {
            Action::NextPane => self.pane = pane(1),
            Action::PreviousPane => self.pane = pane(2),
            Action::Right if self.pane == Pane::Summary => self.pane = Pane::Checks,
            Action::Left if self.pane == Pane::Checks => self.pane = Pane::Summary,
            Action::Enter if self.ended.is_some() && self.plan.is_none() => {
                self.open = Some((Open::Outcome, Scroll::default()));
            }
            Action::Enter
                if self.plan.is_none()
                    && (matches!(self.stand, Stand::Stopped) || matches!(self.standing, Some(Err(_)))) =>
            {
                self.stand = Stand::NotBegun;
                self.standing = None;
                self.begin(context);
            }
            Action::Enter => self.enter(),
            Action::Back if self.enlarged => self.enlarged = false,
            Action::Back if !self.filter.is_empty() => {
                self.filter.clear();
                self.arrange(context);
            }
            Action::Enlarge => self.enlarged = !self.enlarged,
            Action::NextMatch => self.seek(true, context),
            Action::PreviousMatch => self.seek(false, context),
            Action::Sort => {
                self.order = self.order.next();
                self.arrange(context);
                context.say(format!("entries {}", self.order.title()));
            }
            Action::Keep => self.keep(context),
            Action::Compare => {
                let wishes = PlanOptions { compare: !self.wishes.compare, ..self.wishes.clone() };
                self.make(wishes, context);
            }
            _ => {}
        }
    }

    fn receive(&mut self, slot: Slot, answer: Answer, context: &mut Context<'_>) {
        if slot == Slot::Execution {
            if let Ok(ended) = answer.downcast::<Ended>() {
                self.ended = Some(*ended);
                self.open = Some((Open::Outcome, Scroll::default()));
                self.standing = None;
                self.look(context);
            }
            return;
        }
        match answer.downcast::<Told>().map(|told| *told) {
            Ok(Told::Standing(standing)) => {
                self.looking = false;
                self.standing = Some(standing);
                if self.halfway() && self.open.is_none() {
                    self.open = Some((Open::Outcome, Scroll::default()));
                }
                self.begin(context);
            }
            Ok(Told::Plan(wishes, Ok(plan))) => {
                self.wishes = *wishes;
                self.stand = Stand::Known;
                self.take(plan, context);
            }
            Ok(Told::Plan(_, Err(NoPlan::Refused(why)))) => {
                // what was asked for before holds again
                self.stand = if self.plan.is_some() { Stand::Known } else { Stand::NotBegun };
                context.say(why);
            }
            Ok(Told::Plan(wishes, Err(why))) => {
                self.wishes = *wishes;
                self.plan = None;
                self.stand = Stand::NoPlan(why);
            }
            Ok(Told::Listed(listed)) => self.arranged(listed, context),
            Ok(Told::Found(rows, found)) if Arc::ptr_eq(&rows, &self.rows) => match found {
                Some(at) => {
                    self.entries.select(at, rows.len());
                    self.pane = Pane::Entries;
                }
                None => context.say(format!("no path has {:?}", self.search)),
            },
            Ok(Told::Found(..)) | Err(_) => {}
        }
    }

    fn ended(&mut self, slot: Slot, context: &mut Context<'_>) {
        match slot {
            Slot::Execution if self.ended.is_none() || self.standing.is_some() => {
                // it ended without a word: what there is now has to be looked at
                self.standing = None;
                self.look(context);
            }
            Slot::Plan => {
                self.looking = false;
                if matches!(self.stand, Stand::Running) {
                    self.stand = if self.plan.is_some() { Stand::Known } else { Stand::Stopped };
                }
            }
            // stopped: what is seen is as it was
            Slot::PlanRows => (self.filter, self.order) = self.listed.clone(),
            _ => {}
        }
    }

    fn shown(&mut self, context: &mut Context<'_>) {
        self.begin(context);
    }

    fn refuses(&self, action: Action, shared: &Shared) -> Option<String> {
        let stored = shared.pair.is_none();
        let no_plan = || self.plan.is_none().then(|| "there is no plan yet".to_owned());
        match action {
            Action::CarryOut => self.may_not_apply(shared),
            Action::Resume => Self::nothing_is_carried_out(shared).or_else(|| {
                let can = self.standing().is_some_and(|s| s.report.can_resume);
                (!can).then(|| "no rewind of the target is half-way".into())
            }),
            Action::Undo => Self::nothing_is_carried_out(shared).or_else(|| match self.standing() {
                Some(s) if s.report.can_undo => None,
                Some(s) => Some(match &s.report.no_undo {
                    Some(why) => format!("it cannot be undone: {why}"),
                    None => "no rewind of the target is known".into(),
                }),
                None => Some("not known whether the target was rewound".into()),
            }),
            Action::Export if stored => Some("it is a file already".into()),
            Action::Keep | Action::Compare if stored => Some("a stored plan is only shown".into()),
            Action::Keep | Action::Compare if matches!(self.stand, Stand::Running) => {
                Some("the plan is still being made".into())
            }
            Action::Keep if self.pane != Pane::Entries => {
                Some("select a file in the list below first (Tab)".into())
            }
            Action::Compare if shared.diagnosis.is_none() => Some("the diagnosis is not finished".into()),
            Action::Export if !matches!(self.stand, Stand::Known) => Some("the plan is not finished".into()),
            Action::Export | Action::Keep | Action::Search | Action::Filter | Action::Sort => no_plan(),
            Action::NextMatch | Action::PreviousMatch => {
                self.search.is_empty().then(|| "nothing was searched for; / does".into())
            }
            Action::Back if self.open.is_none() && !self.enlarged && self.filter.is_empty() => {
                Some("nothing is open; q quits".into())
            }
            _ => None,
        }
    }

    fn entered(&mut self, prompt: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        match prompt {
            Prompt::Filter => {
                text.trim().clone_into(&mut self.filter);
                self.arrange(context);
                self.pane = Pane::Entries;
            }
            Prompt::Search if !text.is_empty() => {
                text.clone_into(&mut self.search);
                self.seek(true, context);
            }
            Prompt::Export => self.export(text, context)?,
            _ => {}
        }
        Ok(())
    }

    fn exports(&self) -> Option<&'static str> {
        Some("the plan as JSON, which forkpoint apply carries out")
    }

    fn prompt(&self, prompt: Prompt, shared: &Shared) -> String {
        match prompt {
            Prompt::Filter => self.filter.clone(),
            Prompt::Export => export::unused(&shared.folder, "forkpoint-plan", &["json"]),
            Prompt::Search | Prompt::Command => String::new(),
        }
    }

    fn mouse(&mut self, event: MouseEvent, _area: Rect, _context: &mut Context<'_>) {
        let at = pressed(event, Pane::ALL, &self.drawn).filter(|_| self.open.is_none());
        let Some((pane, line)) = at else { return };
        let same = self.pane == pane;
        self.pane = pane;
        let opens = match self.list() {
            None => same,
            Some((list, len)) => list.clicked(line, len) == Some(true) && same,
        };
        if opens {
            self.enter();
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        draw::draw(self, buffer, area, shared);
    }
}
