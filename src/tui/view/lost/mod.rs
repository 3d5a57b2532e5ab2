//! The transactions that a rewind discards, in the order of their commits, with their tables and rows.

mod draw;
mod found;
mod listed;
mod row;
mod work;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::{Context, Prompt, Shared, View, export};
use crate::facts::Role;
use crate::pg::Xid;
use crate::report::words;
use crate::tui::action::Action;
use crate::tui::app::Go;
use crate::tui::jobs::{Answer, Slot};
use crate::tui::look::PLAIN;
use crate::tui::widget::list::List;
use crate::tui::widget::pane::pressed;
use crate::tui::widget::prose::{Para, Scroll};

use self::found::{Contents, Found};
use self::listed::{Listed, One};
use self::row::Page;
use self::work::{AROUND, Collected, Of, Read, Search, Searched, Stretch};

/// How the collecting stands.
#[derive(Debug, Default)]
enum Stand {
    #[default]
    NotBegun,
    Running,
    Stopped,
    Failed(String),
    Known(Arc<Found>),
}

/// The panes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Pane {
    #[default]
    Transactions,
    Parts,
    Rows,
}

impl Pane {
    const ALL: [Self; 3] = [Self::Transactions, Self::Parts, Self::Rows];
}

/// What the second pane lists.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Rows of all tables in their order.
    All(u64),
    /// Rows of one of the transaction's parts.
    Table(usize),
    /// A relation whose rows are not collected (yet).
    Relation(String),
    /// Something else that happened.
    Event(String),
    /// Something to know.
    Note(String),
}

/// What the first pane lists before the transactions.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Note {
    sign: &'static str,
    line: String,
    text: Vec<String>,
}

/// The sixth view.
#[derive(Debug, Default)]
pub struct LostView {
    stand: Stand,
    listed: Listed,
    notes: Vec<Note>,
    /// Places of the transactions that the filter lets through.
    among: Option<Vec<usize>>,
    tables: Option<Vec<bool>>,
    filter: String,
    search: String,
    pane: Pane,
    enlarged: bool,
    xacts: List,
    parts: List,
    rows: List,
    items: Vec<Item>,
    contents: Option<(usize, Arc<Contents>)>,
    stretch: Option<Stretch>,
    /// What is being read.
    reading: Option<(Of, u64)>,
    open: Option<(Page, Scroll)>,
    marks: BTreeSet<Xid>,
    drawn: [Cell<Rect>; 3],
}

impl LostView {
    /// Lines of the first pane.
    fn first_len(&self) -> usize {
        self.notes.len() + self.among.as_ref().map_or_else(|| self.listed.len(), Vec::len)
    }

    /// The transaction in a line of the first pane, its place.
    fn place(&self, line: usize) -> Option<usize> {
        let at = line.checked_sub(self.notes.len())?;
        match &self.among {
            Some(among) => among.get(at).copied(),
            None => (at < self.listed.len()).then_some(at),
        }
    }

    /// The selected transaction.
    fn xact(&self) -> Option<usize> {
        self.place(self.xacts.selected())
    }

    fn one(&self) -> Option<One> {
        self.listed.get(self.xact()?)
    }

    const fn found(&self) -> Option<&Arc<Found>> {
        match &self.stand {
            Stand::Known(found) => Some(found),
            _ => None,
        }
    }

    fn item(&self) -> Option<&Item> {
        self.items.get(self.parts.selected())
    }

    /// The rows that the third pane shows, and how many there are.
    fn of(&self) -> Option<(Of, u64)> {
        let xact = self.xact()?;
        let found = self.found()?;
        match self.item()? {
            Item::All(rows) => Some((Of { xact, part: None }, *rows)),
            Item::Table(part) => {
                let rows = total(&found.parts(xact).get(*part)?.counts);
                Some((Of { xact, part: Some(*part) }, rows))
            }
            _ => None,
        }
    }

    fn rows_len(&self) -> usize {
        self.of().map_or(0, |(_, rows)| rows as usize)
    }

    /// Selects a transaction, if it is listed.
    fn select_xact(&mut self, place: usize) {
        let at = match &self.among {
            Some(among) => among.binary_search(&place).ok(),
            None => Some(place),
        };
        if let Some(at) = at {
            self.xacts.select(self.notes.len() + at, self.first_len());
        }
    }

    /// Another transaction is selected: what the other panes show is another.
    fn changed(&mut self, context: &mut Context<'_>) {
        self.parts = List::default();
        self.rows = List::default();
        self.items = self.items_now();
        self.want(context);
    }

    /// The second pane's lines.
    fn items_now(&self) -> Vec<Item> {
        let Some(place) = self.xact() else { return Vec::new() };
        let mut items = Vec::new();
        let Some(one) = self.listed.get(place) else { return items };
        let Some(found) = self.found() else {
            match self.listed.relations(place) {
                Some(names) => items.extend(names.into_iter().map(Item::Relation)),
                None => items.push(Item::Note("which relations it touched was not kept".into())),
            }
            items.extend(one.ended.sentence().map(Item::Note));
            return items;
        };
        let parts = found.parts(place);
        let wanted = |at: &usize| {
            let table = parts.get(*at).map(|p| p.table as usize);
            let lets = |tables: &Vec<bool>| table.and_then(|t| tables.get(t)).copied().unwrap_or(false);
            self.tables.as_ref().is_none_or(lets)
        };
        if parts.len() > 1 && self.tables.is_none() {
            items.push(Item::All(parts.iter().map(|p| total(&p.counts)).sum()));
        }
        items.extend((0..parts.len()).filter(wanted).map(Item::Table));
        items.extend(one.ended.sentence().map(Item::Note));
        if let Some(xact) = found.lost.transactions.get(place) {
            if xact.begins_earlier && xact.ending.gid().is_none() {
                items.push(Item::Note(
                    "it may have written before the WAL at hand; what it wrote there is not listed".into(),
                ));
            }
            if let Some(origin) = xact.origin {
                let at = xact.origin_lsn.map(|lsn| format!(" at {lsn}")).unwrap_or_default();
                items.push(Item::Note(format!("from replication origin {origin}{at}")));
            }
        }
        if let Some((_, contents)) = self.contents.as_ref().filter(|(of, _)| *of == place) {
            items.extend(contents.events.iter().cloned().map(Item::Event));
            if contents.more_events > 0 {
                let more = words::count(contents.more_events);
                items.push(Item::Note(format!("and {more} more events; e writes them all")));
            }
        }
        if items.is_empty() {
            items.push(Item::Note("it changed no row".into()));
        }
        items
    }

    /// Starts reading what is seen and not there.
    fn want(&mut self, context: &mut Context<'_>) {
        let Some(found) = self.found().cloned() else { return };
        let Some(xact) = self.xact() else { return };
        let known = self.contents.as_ref().filter(|(of, _)| *of == xact).map(|(_, c)| Arc::clone(c));
        let around = self.rows.selected() as u64;
        let of = match self.of() {
            Some((of, _)) => of,
            // only the contents are wanted
            None if known.is_none() => Of { xact, part: None },
            None => return,
        };
        let there = self.stretch.as_ref().is_some_and(|s| {
            let last = s.first + s.lines.len() as u64;
            let whole =
                (s.lines.len() as u64) < 2 * AROUND || self.of().is_some_and(|(_, rows)| last >= rows);
            s.of == of
                && s.first <= around.saturating_sub(AROUND / 3)
                && (whole || around + AROUND / 3 <= last)
        });
        let on_its_way =
            self.reading.is_some_and(|(reading, at)| reading == of && at.abs_diff(around) < AROUND / 3);
        if there && known.is_some() || on_its_way {
            return;
        }
        self.reading = Some((of, around));
        context.run(Slot::Lost, "", move |worker| work::read(&found, of, known, around, worker));
    }

    fn collect(&mut self, context: &mut Context<'_>) {
        let (Some(options), Some(diagnosis)) =
            (context.shared.pair.clone(), context.shared.diagnosis.clone())
        else {
            return;
        };
        self.stand = Stand::Running;
        context.run(Slot::Lost, "collecting lost rows", move |worker| {
            work::collect(&options, &diagnosis, worker);
        });
    }

    /// Reads the selected row with all its columns.
    fn page(&mut self, show: bool, context: &mut Context<'_>) {
        let (Some(found), Some((of, _)), Some((_, contents))) =
            (self.found().cloned(), self.of(), self.contents.clone())
        else {
            return;
        };
        let row = self.rows.selected() as u64;
        self.reading = None;
        context.run(Slot::Lost, "", move |worker| work::page(&found, of, &contents, row, show, worker));
    }

    fn collected(&mut self, found: Arc<Found>, context: &mut Context<'_>) {
        let selected = self.one().map(|one| one.xid);
        let was_note = self.xacts.selected() < self.notes.len();
        self.notes = notes(&found);
        self.stand = Stand::Known(Arc::clone(&found));
        self.listed = Listed::Found(found);
        self.refilter();
        match selected.and_then(|xid| self.listed.place(xid)) {
            Some(place) => self.select_xact(place),
            None if !was_note || self.listed.len() > 0 => {
                self.xacts.select(self.notes.len(), self.first_len());
            }
            None => {}
        }
        self.changed(context);
    }

    fn refilter(&mut self) {
        self.among = (!self.filter.is_empty()).then(|| self.listed.matching(&self.filter));
        self.tables = match &self.stand {
            Stand::Known(found) if !self.filter.is_empty() => Some(listed::tables(found, &self.filter)),
            _ => None,
        };
    }

    fn seek(&mut self, forward: bool, context: &mut Context<'_>) {
        let Some(found) = self.found().cloned() else { return };
        let row = self.of().map(|(of, _)| (of.part, self.rows.selected() as u64));
        // from a note everything comes after
        let from = match self.xact() {
            Some(xact) => (xact, row.filter(|_| self.pane == Pane::Rows)),
            None => (self.place(self.notes.len()).unwrap_or(0), None),
        };
        let search = Search {
            wanted: self.search.to_lowercase(),
            among: self.among.clone(),
            tables: self.tables.clone(),
            from,
            forward,
        };
        context.run(Slot::LostSearch, "searching values", move |worker| search.run(&found, worker));
    }

    fn arrive(&mut self, place: work::Place, context: &mut Context<'_>) {
        self.select_xact(place.xact);
        self.parts = List::default();
        self.items = self.items_now();
        let all = self.items.iter().position(|item| matches!(item, Item::All(_)));
        let table = self.items.iter().position(|item| *item == Item::Table(place.part));
        let row = if all.is_some() { place.row } else { place.within };
        self.parts.select(all.or(table).unwrap_or(0), self.items.len());
        self.rows = List::default();
        self.rows.select(row as usize, self.rows_len());
        self.pane = Pane::Rows;
        self.want(context);
    }

    fn next_mark(&mut self, context: &mut Context<'_>) {
        let here = self.xacts.selected();
        let len = self.first_len();
        let marked = |line: &usize| {
            self.place(*line)
                .and_then(|at| self.listed.get(at))
                .is_some_and(|one| self.marks.contains(&one.xid))
        };
        let next = (here + 1..len).chain(0..=here.min(len.saturating_sub(1))).find(marked);
        if let Some(line) = next {
            self.xacts.select(line, len);
            self.changed(context);
        }
    }

    fn enter(&mut self, context: &mut Context<'_>) {
        match self.pane {
            Pane::Transactions => self.pane = Pane::Parts,
            Pane::Parts => self.pane = Pane::Rows,
            Pane::Rows => match self.told() {
                Some((_, lines)) => {
                    let paras = lines.iter().map(|line| Para::new(line, PLAIN)).collect();
                    self.open = Some((Page { paras, text: lines.join("\n") }, Scroll::default()));
                }
                None => self.page(true, context),
            },
        }
    }

    /// What the third pane says where it has no rows: its title and lines.
    fn told(&self) -> Option<(&'static str, Vec<String>)> {
        if let Some(note) = self.notes.get(self.xacts.selected()) {
            return Some((if note.sign == "?" { "not seen" } else { "to know" }, note.text.clone()));
        }
        match self.item() {
            Some(Item::Event(text)) if self.found().is_some() => Some(("event", vec![text.clone()])),
            Some(Item::Note(text)) if self.found().is_some() => Some(("to know", vec![text.clone()])),
            _ => None,
        }
    }

    fn copy(&mut self, context: &mut Context<'_>) {
        if let Some((page, _)) = &self.open {
            context.copy(page.text.clone());
            return;
        }
        match self.pane {
            Pane::Rows if self.of().is_some() => self.page(false, context),
            Pane::Transactions => match (self.one(), self.notes.get(self.xacts.selected())) {
                (Some(one), _) => {
                    context.copy(format!("transaction {} {} record at {}", one.xid, one.time, one.lsn));
                }
                (None, Some(note)) => context.copy(note.text.join("\n")),
                (None, None) => {}
            },
            _ => {
                let text = match self.item() {
                    Some(Item::Event(text) | Item::Note(text) | Item::Relation(text)) => text.clone(),
                    Some(Item::Table(part)) => self.part_name(*part),
                    _ => return,
                };
                context.copy(text);
            }
        }
    }

    fn part_name(&self, part: usize) -> String {
        let (Some(found), Some(xact)) = (self.found(), self.xact()) else { return String::new() };
        found.parts(xact).get(part).map(|p| found.table_name(p.table)).unwrap_or_default()
    }

    fn export(&self, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        let (Some(options), Some(diagnosis), Some(found)) =
            (context.shared.pair.clone(), context.shared.diagnosis.clone(), self.found().cloned())
        else {
            return Ok(());
        };
        let given = export::new_file(text, context.shared)?;
        let (script, lines) = if given.extension().is_some_and(|e| e == "jsonl") {
            (export::unwritten(given.with_extension("sql"))?, given)
        } else {
            let lines = export::unwritten(given.with_extension("jsonl"))?;
            (given, lines)
        };
        let tables = self.tables.as_ref().map(|tables| {
            let all = found.tables.iter().zip(tables).filter(|(_, wanted)| **wanted);
            all.map(|(t, _)| format!("{}.{}", t.database, t.name)).collect::<Vec<_>>()
        });
        context.run(Slot::Export, "writing the lost rows", move |worker| {
            work::export((&script, &lines), (&options, &diagnosis), &found, tables.as_deref(), worker);
        });
        Ok(())
    }
}

fn total(counts: &crate::lost::Counts) -> u64 {
    counts.inserted + counts.updated + counts.deleted
}

/// What is not seen, and what no transaction takes back.
fn notes(found: &Found) -> Vec<Note> {
    let lost = &found.lost;
    let unseen = lost.unseen.iter().map(|sentence| Note {
        sign: "?",
        line: format!("not seen: {sentence}"),
        text: vec![format!("Not seen: {sentence}.")],
    });
    let mut notes: Vec<Note> = unseen.collect();
    if !lost.sequences.is_empty() {
        let mut text = vec![
            "Sequences that moved after the divergence, up to 32 values further than what was given out; \
                             no transaction takes that back."
                .to_owned(),
        ];
        text.extend(lost.sequences.iter().map(|s| {
            let name = if s.schema.is_empty() { s.name.clone() } else { format!("{}.{}", s.schema, s.name) };
            let called = if s.is_called { "" } else { ", not called" };
            format!("{}.{name} to {}{called}", s.database, s.last_value)
        }));
        notes.push(Note {
            sign: "·",
            line: format!("{} moved", words::counted(lost.sequences.len() as u64, "sequence")),
            text,
        });
    }
    notes
}

impl View for LostView {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        if let Some((_, scroll)) = &mut self.open {
            if scroll.moved(action) {
                return;
            }
            let next = match action {
                Action::Back | Action::Left => {
                    self.open = None;
                    return;
                }
                Action::NextPane => Action::Down,
                Action::PreviousPane => Action::Up,
                Action::Copy => return self.copy(context),
                _ => return,
            };
            let len = self.rows_len();
            self.rows.moved(next, len);
            self.page(true, context);
            return;
        }
        let moved = match self.pane {
            Pane::Transactions => {
                let len = self.first_len();
                let before = self.xacts.selected();
                let moved = self.xacts.moved(action, len);
                if self.xacts.selected() != before {
                    self.changed(context);
                }
                moved
            }
            Pane::Parts => {
                let before = self.parts.selected();
                let moved = self.parts.moved(action, self.items.len());
                if self.parts.selected() != before {
                    self.rows = List::default();
                    self.want(context);
                }
                moved
            }
            Pane::Rows => {
                let len = self.rows_len();
                let moved = self.rows.moved(action, len);
                if moved {
                    self.want(context);
                }
                moved
            }
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
            Action::Right if self.pane != Pane::Rows => self.pane = pane(1),
            Action::Enter if matches!(self.stand, Stand::Stopped | Stand::Failed(_)) => self.collect(context),
            Action::Enter => self.enter(context),
            Action::Back if self.enlarged => self.enlarged = false,
            Action::Left | Action::Back if self.pane != Pane::Transactions => self.pane = pane(2),
            Action::Back if !self.filter.is_empty() => {
                // cannot fail: there is nothing to check
                let _ = self.entered(Prompt::Filter, "", context);
            }
            Action::Enlarge => self.enlarged = !self.enlarged,
            Action::NextMatch => self.seek(true, context),
            Action::PreviousMatch => self.seek(false, context),
            Action::Mark => {
                let Some(one) = self.one() else { return };
                if self.marks.remove(&one.xid) {
                    context.say("the mark is gone");
                } else {
                    self.marks.insert(one.xid);
                    context.say(format!("{} is marked; ' goes from mark to mark", one.xid));
                }
            }
            Action::NextMark => self.next_mark(context),
            Action::ShowRecords => {
                if let Some(one) = self.one() {
                    let filter = format!("xid = {}", one.xid);
                    context.go(Go::Records { side: Role::Target, filter, lsn: Some(one.first) });
                }
            }
            Action::Copy => self.copy(context),
            _ => {}
        }
    }

    fn receive(&mut self, slot: Slot, answer: Answer, context: &mut Context<'_>) {
        if slot == Slot::LostSearch {
            if let Ok(searched) = answer.downcast::<Searched>() {
                match searched.place {
                    Some(place) => {
                        self.arrive(place, context);
                        if searched.wrapped {
                            context.say("the search went on at the other end");
                        }
                    }
                    None => context.say(format!("no value has {:?}", self.search)),
                }
            }
            return;
        }
        let answer = match answer.downcast::<Collected>() {
            Ok(collected) => {
                match *collected {
                    Collected::Known(found) => self.collected(found, context),
                    Collected::Failed(error) => self.stand = Stand::Failed(error),
                }
                return;
            }
            Err(answer) => answer,
        };
        let Ok(read) = answer.downcast::<Read>() else { return };
        match *read {
            Read::Stretch(stretch) => {
                self.reading = None;
                if self.xact() == Some(stretch.of.xact) {
                    let selected = self.item().cloned();
                    self.contents = Some((stretch.of.xact, Arc::clone(&stretch.contents)));
                    self.items = self.items_now();
                    let at = selected.and_then(|item| self.items.iter().position(|i| *i == item));
                    self.parts.select(at.unwrap_or(0), self.items.len());
                }
                self.stretch = Some(stretch);
                self.want(context);
            }
            Read::Page(page, true) => {
                self.open = Some((page, Scroll::default()));
                self.want(context);
            }
            Read::Page(page, false) => {
                context.copy(page.text);
                self.want(context);
            }
            Read::Failed(error) => {
                self.reading = None;
                context.say(error);
            }
        }
    }

    fn ended(&mut self, slot: Slot, _context: &mut Context<'_>) {
        if slot == Slot::Lost {
            self.reading = None;
            if matches!(self.stand, Stand::Running) {
                self.stand = Stand::Stopped;
            }
        }
    }

    fn shown(&mut self, context: &mut Context<'_>) {
        if let (Listed::Nothing, Some(picture)) = (&self.listed, &context.shared.picture) {
            self.listed = match &context.shared.diagnosis {
                Some(diagnosis) => Listed::facts(diagnosis),
                None => Listed::stored(picture),
            };
            self.refilter();
            self.changed(context);
        }
        if matches!(self.stand, Stand::NotBegun) {
            self.collect(context);
        }
        self.want(context);
    }

    fn refuses(&self, action: Action, shared: &Shared) -> Option<String> {
        let stored = shared.pair.is_none();
        let no_rows = || match &self.stand {
            _ if stored => Some("a stored report has no rows; it needs the directories".to_owned()),
            Stand::Known(_) => None,
            Stand::Failed(_) => Some("the rows could not be collected".to_owned()),
            Stand::Stopped => Some("collecting was stopped; Enter begins anew".to_owned()),
            Stand::NotBegun | Stand::Running => Some("the rows are still being collected".to_owned()),
        };
        match action {
            Action::Export | Action::Search => no_rows(),
            Action::NextMatch | Action::PreviousMatch => no_rows()
                .or_else(|| self.search.is_empty().then(|| "nothing was searched for; / does".to_owned())),
            Action::ShowRecords if stored => {
                Some("a stored report has no records; it needs the directories".into())
            }
            Action::ShowRecords | Action::Mark if self.one().is_none() => {
                Some("no transaction is selected".into())
            }
            Action::NextMark if self.marks.is_empty() => Some("nothing is marked; m does".into()),
            Action::Back
                if self.open.is_none()
                    && !self.enlarged
                    && self.pane == Pane::Transactions
                    && self.filter.is_empty() =>
            {
                Some("nothing is open; q quits".into())
            }
            _ => None,
        }
    }

    fn entered(&mut self, prompt: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        match prompt {
            Prompt::Filter => {
                let selected = self.one().map(|one| one.xid);
                text.trim().clone_into(&mut self.filter);
                self.refilter();
                let place = selected.and_then(|xid| self.listed.place(xid));
                self.xacts.select(self.notes.len(), self.first_len());
                if let Some(place) = place {
                    self.select_xact(place);
                }
                self.changed(context);
                if self.among.as_ref().is_some_and(Vec::is_empty) {
                    context.say(format!("no transaction changed a table with {:?} in its name", self.filter));
                }
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
        Some("the lost rows as an SQL script, and beside it as JSON lines (.jsonl)")
    }

    fn prompt(&self, prompt: Prompt, shared: &Shared) -> String {
        match prompt {
            Prompt::Filter => self.filter.clone(),
            Prompt::Export => export::unused(&shared.folder, "forkpoint-lost", &["sql", "jsonl"]),
            Prompt::Search | Prompt::Command => String::new(),
        }
    }

    fn mouse(&mut self, event: MouseEvent, _area: Rect, context: &mut Context<'_>) {
        let at = pressed(event, Pane::ALL, &self.drawn).filter(|_| self.open.is_none());
        let Some((pane, line)) = at else { return };
        let same = self.pane == pane;
        self.pane = pane;
        let (first, rows) = (self.first_len(), self.rows_len());
        let (list, len) = match pane {
            Pane::Transactions => (&mut self.xacts, first),
            Pane::Parts => (&mut self.parts, self.items.len()),
            Pane::Rows => (&mut self.rows, rows),
        };
        let Some(again) = list.clicked(line, len) else { return };
        match pane {
            _ if again && same => self.enter(context),
            Pane::Transactions if !again => self.changed(context),
            Pane::Parts if !again => {
                self.rows = List::default();
                self.want(context);
            }
            _ => self.want(context),
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        draw::draw(self, buffer, area, shared);
    }
}
