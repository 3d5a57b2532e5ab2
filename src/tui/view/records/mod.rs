//! WAL records of a side: a list, the fields of the selected one, its bytes.

mod draw;
mod fields;
mod reel;
mod row;
mod work;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use self::fields::Fields;
use self::reel::{Reel, Until};
use self::row::{Detail, Query, Row};
use self::work::{Located, Opening, Read, Sifted, Told};
use super::{Context, Prompt, Shared, View};
use crate::dump::browse::{Index, NoticeKind, RowKind, SharedIndex, look};
use crate::dump::expr::Filter;
use crate::facts::Role;
use crate::pg::{Fork, Lsn};
use crate::report::controldata::hex;
use crate::tui::action::{Action, ViewId};
use crate::tui::app::Go;
use crate::tui::jobs::{Answer, Slot};
use crate::tui::wal::Pair;
use crate::tui::widget::hex::Hex;
use crate::tui::widget::list::List;
use crate::tui::widget::pane::pressed;

/// Rows that are kept ready on either side of the selected one: more than any screen has.
const AROUND: usize = 512;
/// Filters over each other that are kept for the way back.
const MOST_FILTERS: usize = 16;
/// When fewer are ready, more are read.
const NEAR: usize = 200;

/// Which part has the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pane {
    #[default]
    List,
    Fields,
    Bytes,
}

impl Pane {
    const fn next(self) -> Self {
        match self {
            Self::List => Self::Fields,
            Self::Fields => Self::Bytes,
            Self::Bytes => Self::List,
        }
    }
}

/// A list of records: all of a side, or those that a filter lets through.
#[derive(Default)]
struct Listing {
    index: Arc<SharedIndex>,
    filter: Option<Arc<Filter>>,
    /// The filter as text; empty for all.
    text: String,
    /// What it lets through, in words.
    label: String,
    list: List,
    /// Number of the first record that was read, and the rows from there on.
    ready: (usize, Vec<Row>),
    /// The record that is shown whole, by its number.
    detail: Option<(usize, Detail)>,
    /// A record that is to be selected once it was found, and whether to say so if it is not there.
    goto: Option<(Lsn, bool)>,
    /// The user did not want to wait for all of it.
    stopped: bool,
    /// It was seen: where one is in it is a place to come back to.
    seen: Cell<bool>,
}

/// What a row is, without holding on to the index.
enum Selected {
    Record(usize),
    Notice(NoticeKind),
}

impl Listing {
    fn is_of(&self, index: &Arc<SharedIndex>) -> bool {
        Arc::ptr_eq(&self.index, index)
    }

    fn row(&self, record: usize) -> Option<&Row> {
        self.ready.1.get(record.checked_sub(self.ready.0)?)
    }

    fn selected(&self) -> Option<Selected> {
        match look(&self.index).row(self.list.selected())? {
            RowKind::Record(number) => Some(Selected::Record(number)),
            RowKind::Notice(notice) => Some(Selected::Notice(notice.kind.clone())),
        }
    }

    fn selected_record(&self) -> Option<usize> {
        match self.selected()? {
            Selected::Record(number) => Some(number),
            Selected::Notice(_) => None,
        }
    }

    fn selected_row(&self) -> Option<&Row> {
        self.row(self.selected_record()?)
    }

    /// The record near to which the selection is.
    fn near(&self, index: &Index) -> usize {
        let selected = self.list.selected();
        let record = (0..=2).filter_map(|n| index.row(selected.checked_sub(n)?)).find_map(|row| match row {
            RowKind::Record(number) => Some(number),
            RowKind::Notice(_) => None,
        });
        record.unwrap_or(0)
    }
}

/// A side.
#[derive(Default)]
struct Side {
    /// Its WAL; else why there is none.
    reel: Option<Result<Arc<Reel>, String>>,
    whole: Listing,
    /// Filters, each chosen while the one before it held.
    filtered: Vec<Listing>,
    marks: BTreeSet<Lsn>,
}

/// Another view sent the user here.
struct Came {
    from: ViewId,
    /// To the source; else to the target.
    to_source: bool,
    /// Filters of that side before, and with the one that was asked for.
    filters: (usize, usize),
    /// The source was shown before.
    source: bool,
}

impl Side {
    fn listing(&self) -> &Listing {
        self.filtered.last().unwrap_or(&self.whole)
    }

    fn listing_mut(&mut self) -> &mut Listing {
        self.filtered.last_mut().unwrap_or(&mut self.whole)
    }

    /// Takes the last filter away, to where one was before it; to the same record where that was never seen.
    fn unfilter(&mut self) {
        let Some(left) = self.filtered.pop() else { return };
        let at = left.selected_row().map(|row| row.lsn).or(left.goto.map(|(lsn, _)| lsn));
        let listing = self.listing_mut();
        if !listing.seen.get() && listing.goto.is_none() {
            listing.goto = at.map(|lsn| (lsn, false));
        }
    }
}

/// What work was asked for last.
#[derive(Clone)]
struct Asked {
    index: Arc<SharedIndex>,
    what: (Option<Lsn>, Option<(usize, usize)>, Option<usize>),
}

/// The view.
#[derive(Default)]
pub struct Records {
    until: Until,
    source: bool,
    pair: Option<Arc<Pair>>,
    sides: [Side; 2],
    pane: Pane,
    enlarged: bool,
    query: Option<Query>,
    fields: Fields,
    hex: Hex,
    /// The side that is being opened.
    opening: Option<Role>,
    /// The index that is being made.
    indexing: Option<Arc<SharedIndex>>,
    asked: Option<Asked>,
    came: Option<Came>,
    /// Where list, fields and bytes were drawn.
    areas: [Cell<Rect>; 3],
}

impl Drop for Records {
    fn drop(&mut self) {
        self.until.end();
    }
}

impl Records {
    const fn role(&self) -> Role {
        if self.source { Role::Source } else { Role::Target }
    }

    fn side(&self) -> &Side {
        let [target, source] = &self.sides;
        if self.source { source } else { target }
    }

    const fn side_mut(&mut self) -> &mut Side {
        let [target, source] = &mut self.sides;
        if self.source { source } else { target }
    }

    fn listing(&self) -> &Listing {
        self.side().listing()
    }

    fn listing_mut(&mut self) -> &mut Listing {
        self.side_mut().listing_mut()
    }

    fn sifted(&self) -> Option<Sifted> {
        let reel = self.side().reel.as_ref()?.as_ref().ok()?;
        let listing = self.listing();
        Some(Sifted {
            reel: Arc::clone(reel),
            index: Arc::clone(&listing.index),
            filter: listing.filter.clone(),
        })
    }

    /// Starts the work that what is to be seen needs.
    fn want(&mut self, context: &mut Context<'_>) {
        let (Some(options), Some(diagnosis)) = (&context.shared.pair, &context.shared.diagnosis) else {
            return;
        };
        let role = self.role();
        if self.side().reel.is_none() {
            if self.opening != Some(role) {
                let opening = Opening {
                    options: Arc::clone(options),
                    diagnosis: Arc::clone(diagnosis),
                    pair: self.pair.clone(),
                    role,
                    until: self.until.clone(),
                };
                self.opening = Some(role);
                self.indexing = None;
                context.run(Slot::Index, "records", move |worker| {
                    opening.open(worker);
                });
            }
            return;
        }
        let Some(sifted) = self.sifted() else { return };
        let listing = self.listing();
        let complete = look(&listing.index).complete();
        let under_way = self.indexing.as_ref().is_some_and(|index| listing.is_of(index));
        if !complete && !listing.stopped && !under_way {
            self.indexing = Some(Arc::clone(&sifted.index));
            let sifted = sifted.clone();
            context.run(Slot::Index, "records", move |worker| sifted.fill(worker));
        }
        let what = self.missing();
        let asked = self.asked.as_ref().is_some_and(|a| self.listing().is_of(&a.index) && a.what == what);
        if what != (None, None, None) && !asked {
            self.asked = Some(Asked { index: Arc::clone(&sifted.index), what });
            let (locate, window, detail) = what;
            context.run(Slot::Records, "", move |worker| {
                sifted.read(worker, locate, window, detail, AROUND);
            });
        }
    }

    /// What of the list is to be read.
    fn missing(&self) -> (Option<Lsn>, Option<(usize, usize)>, Option<usize>) {
        let listing = self.listing();
        let index = look(&listing.index);
        if let Some((lsn, _)) = listing.goto.filter(|(lsn, _)| index.covers(*lsn)) {
            return (Some(lsn), None, None);
        }
        let records = index.records();
        if records == 0 {
            return (None, None, None);
        }
        let near = listing.near(&index);
        let needed = (near.saturating_sub(NEAR), (near + NEAR).min(records));
        let (first, rows) = &listing.ready;
        let ready = *first <= needed.0 && needed.1 <= first + rows.len();
        let window =
            (!ready).then(|| (near.saturating_sub(AROUND), near.saturating_add(AROUND).min(records)));
        let wanted = match index.row(listing.list.selected()) {
            Some(RowKind::Record(number)) => Some(number),
            _ => None,
        };
        let detail = wanted.filter(|number| listing.detail.as_ref().is_none_or(|d| d.0 != *number));
        (None, window, detail)
    }

    fn read(&mut self, read: Read, context: &mut Context<'_>) {
        let rows = look(&self.listing().index).rows();
        let listing = self.listing_mut();
        if let Some(located) = read.located {
            let (wanted, tell) = listing.goto.take().unwrap_or_default();
            match located {
                Located::At(record, lsn) => {
                    let row = look(&listing.index).row_of(record);
                    listing.list.select(row, rows);
                    if tell && wanted != lsn {
                        context.say(format!("no record begins at {wanted} here; the next one is selected"));
                    }
                }
                Located::Nowhere if tell => context.say(format!("no record at {wanted} or behind it here")),
                Located::Nowhere => {}
            }
        }
        if let Some(ready) = read.rows {
            listing.ready = ready;
        }
        if let Some(detail) = read.detail {
            listing.detail = Some(detail);
            self.detail_changed();
        }
    }

    /// Another record is shown whole, or another list.
    fn detail_changed(&mut self) {
        let side = &self.sides[usize::from(self.source)];
        let Some((_, detail)) = &side.listing().detail else { return };
        self.fields.show(&detail.tree);
        self.hex.place(self.fields.first_byte(&detail.tree), detail.bytes.len());
    }

    /// The record that is shown whole, if it is the selected one.
    fn detail(&self) -> Option<&Detail> {
        let listing = self.listing();
        let (number, detail) = listing.detail.as_ref()?;
        (listing.selected_record()? == *number).then_some(detail)
    }

    fn list_action(&mut self, action: Action, context: &mut Context<'_>) {
        let rows = look(&self.listing().index).rows();
        let listing = self.listing_mut();
        if listing.list.moved(action, rows) {
            listing.goto = None;
            if action == Action::Last {
                listing.stopped = false;
            }
            return;
        }
        match action {
            Action::Enter | Action::Right => self.pane = Pane::Fields,
            Action::Back if self.goes_back() => self.go_back(context),
            Action::Back if !self.side().filtered.is_empty() => self.drop_filter(),
            Action::Copy => {
                let listing = self.listing();
                let text = match listing.selected() {
                    Some(Selected::Record(_)) => listing.selected_row().map(|row| row.line.clone()),
                    Some(Selected::Notice(kind)) => Some(draw::notice(&kind, self.role())),
                    None => None,
                };
                if let Some(text) = text {
                    context.copy(text);
                }
            }
            _ => {}
        }
    }

    fn fields_action(&mut self, action: Action, context: &mut Context<'_>) {
        let Some((_, detail)) = &self.sides[usize::from(self.source)].listing().detail else { return };
        let tree = &detail.tree;
        if self.fields.act(action, tree) {
            self.hex.place(self.fields.first_byte(tree), detail.bytes.len());
            return;
        }
        match action {
            Action::Enter | Action::Right => self.pane = Pane::Bytes,
            Action::Left | Action::Back => self.pane = Pane::List,
            Action::Copy => context.copy(self.fields.text(tree)),
            _ => {}
        }
    }

    fn bytes_action(&mut self, action: Action, context: &mut Context<'_>) {
        let Some((_, detail)) = &self.sides[usize::from(self.source)].listing().detail else { return };
        if self.hex.moved(action, detail.bytes.len()) {
            self.fields.find(&detail.tree, self.hex.cursor() as u32);
            return;
        }
        match action {
            Action::Enter | Action::Back => self.pane = Pane::Fields,
            Action::Copy => {
                let range = self.fields.range(&detail.tree);
                let bytes = detail.bytes.get(range).filter(|b| !b.is_empty()).unwrap_or(&detail.bytes);
                context.copy(hex(bytes));
            }
            _ => {}
        }
    }

    /// One filter less, to where one was.
    fn drop_filter(&mut self) {
        self.side_mut().unfilter();
        self.pane = Pane::List;
        self.detail_changed();
    }

    fn drop_filters(&mut self) {
        let filtered = &mut self.side_mut().filtered;
        let last = filtered.len().saturating_sub(1);
        filtered.drain(..last);
        self.drop_filter();
    }

    /// Nothing was chosen here since another view sent the user.
    fn goes_back(&self) -> bool {
        let there = |came: &Came| if came.to_source == self.source { came.filters.1 } else { 0 };
        self.came.as_ref().is_some_and(|came| self.side().filtered.len() <= there(came))
    }

    /// To the view that sent the user here; what was seen here before is seen here again.
    fn go_back(&mut self, context: &mut Context<'_>) {
        let Some(came) = self.came.take() else { return };
        self.source = came.to_source;
        while self.side().filtered.len() > came.filters.0 {
            self.side_mut().unfilter();
        }
        self.source = came.source;
        self.detail_changed();
        context.go(Go::View(came.from));
    }

    fn set_filter(&mut self, text: &str, label: &str, context: &mut Context<'_>) -> Result<(), String> {
        let text = text.trim();
        if text.is_empty() {
            self.drop_filters();
            return Ok(());
        }
        let Some(diagnosis) = &context.shared.diagnosis else { return Err(nothing(context.shared)) };
        let filter = reel::filter(&diagnosis.facts, self.role(), text)?;
        if self.listing().text != text {
            let at = self.listing().selected_row().map(|row| row.lsn);
            let listing = Listing {
                filter: Some(Arc::new(filter)),
                text: text.to_owned(),
                label: label.trim().to_owned(),
                goto: at.map(|lsn| (lsn, false)),
                ..Listing::default()
            };
            let filtered = &mut self.side_mut().filtered;
            if filtered.len() == MOST_FILTERS {
                filtered.remove(0);
            }
            filtered.push(listing);
            self.pane = Pane::List;
        }
        Ok(())
    }

    fn follow(&mut self, followed: Option<(String, String)>, context: &mut Context<'_>) {
        if let Some((text, label)) = followed
            && let Err(why) = self.set_filter(&text, &label, context)
        {
            context.say(why);
        }
    }

    /// The filter for the block reference that is selected among the fields, else the first one; and in words.
    fn block_filter(&self) -> Option<(String, String)> {
        let row = self.listing().selected_row()?;
        let chosen =
            self.detail().and_then(|d| self.fields.block(&d.tree)).filter(|_| self.pane != Pane::List);
        let (_, rel, fork, block) =
            row.blocks.iter().find(|b| chosen.is_none_or(|id| b.0 == id)).or(row.blocks.first())?;
        let reel = self.side().reel.as_ref()?.as_ref().ok()?;
        let name = reel.names.describe(*rel);
        let label = match fork {
            Fork::Main => format!("block {block} of {name}"),
            fork => format!("block {block} of {name}, fork {}", fork.name()),
        };
        Some((format!("rel = {rel} and fork = {} and block = {block}", fork.name()), label))
    }

    fn transaction_filter(&self) -> Option<(String, String)> {
        let row = self.listing().selected_row().filter(|row| row.xid != 0)?;
        Some(match row.top.filter(|top| *top != row.xid) {
            Some(top) => (
                format!("top = {top} or xid = {}", row.xid),
                format!("transaction {top} and its part {}", row.xid),
            ),
            None => (format!("top = {}", row.xid), format!("transaction {}", row.xid)),
        })
    }

    fn previous_record(&mut self, context: &mut Context<'_>) {
        let Some(prev) = self.listing().selected_row().map(|row| row.prev) else { return };
        if !self.side().filtered.is_empty() {
            self.drop_filters();
            context.say("the filter was dropped: the previous record need not pass it");
        }
        self.goto(prev);
    }

    fn goto(&mut self, lsn: Lsn) {
        self.listing_mut().goto = Some((lsn, true));
    }

    fn search(&mut self, forward: bool, context: &mut Context<'_>) {
        let (Some(query), Some(sifted)) = (self.query.clone(), self.sifted()) else { return };
        let listing = self.listing();
        let from = listing.near(&look(&listing.index));
        context.run(Slot::Search, "searching", move |worker| {
            sifted.search(worker, &query, from, forward);
        });
    }

    fn mark(&mut self, context: &mut Context<'_>) {
        let Some(lsn) = self.listing().selected_row().map(|row| row.lsn) else { return };
        let marks = &mut self.side_mut().marks;
        if marks.remove(&lsn) {
            context.say("the mark is gone");
        } else {
            marks.insert(lsn);
            context.say(format!("{lsn} is marked; ' goes from mark to mark"));
        }
    }

    fn next_mark(&mut self) {
        let here = self.listing().selected_row().map_or(Lsn::INVALID, |row| row.lsn);
        let marks = &self.side().marks;
        let next = marks.range(here.plus(1)..).next().or_else(|| marks.first());
        if let Some(next) = next.copied() {
            self.goto(next);
        }
    }
}

/// Why there are no records.
fn nothing(shared: &Shared) -> String {
    if shared.pair.is_some() {
        "the diagnosis is not finished".into()
    } else {
        "records are read from the data directories, and this was opened from a file".into()
    }
}

impl View for Records {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        if context.shared.diagnosis.is_none() {
            return;
        }
        match action {
            Action::NextPane => self.pane = self.pane.next(),
            Action::PreviousPane => self.pane = self.pane.next().next(),
            Action::Enlarge => self.enlarged = !self.enlarged,
            Action::OtherSide => {
                self.source = !self.source;
                self.pane = Pane::List;
                self.detail_changed();
            }
            Action::FollowBlock => self.follow(self.block_filter(), context),
            Action::FollowTransaction => self.follow(self.transaction_filter(), context),
            Action::PreviousRecord => self.previous_record(context),
            Action::NextMatch => self.search(true, context),
            Action::PreviousMatch => self.search(false, context),
            Action::Mark => self.mark(context),
            Action::NextMark => self.next_mark(),
            _ => match self.pane {
                Pane::List => self.list_action(action, context),
                Pane::Fields => self.fields_action(action, context),
                Pane::Bytes => self.bytes_action(action, context),
            },
        }
        self.want(context);
    }

    fn receive(&mut self, _slot: Slot, answer: Answer, context: &mut Context<'_>) {
        let Ok(told) = answer.downcast::<Told>() else { return };
        match *told {
            Told::Opened(pair, reel) => {
                self.opening = None;
                self.pair = Some(pair);
                let [target, source] = &mut self.sides;
                let side = if reel.role == Role::Source { source } else { target };
                side.reel = Some(Ok(reel));
            }
            Told::Failed(role, why) => {
                self.opening = None;
                let [target, source] = &mut self.sides;
                let side = if role == Role::Source { source } else { target };
                side.reel = Some(Err(why));
            }
            Told::Grown => {}
            Told::Read(index, read) => {
                self.asked = None;
                if self.listing().is_of(&index) {
                    self.read(*read, context);
                }
            }
            Told::Found(index, hit) => {
                if self.listing().is_of(&index) {
                    let text = self.query.as_ref().map(Query::text).unwrap_or_default();
                    let complete = look(&index).complete();
                    match hit.record {
                        Some(record) => {
                            let (row, rows) = {
                                let index = look(&index);
                                (index.row_of(record), index.rows())
                            };
                            self.listing_mut().list.select(row, rows);
                            if hit.wrapped {
                                context.say("the search went over the end and began anew");
                            }
                        }
                        None if complete => context.say(format!("no record holds {text:?}")),
                        None => {
                            context.say(format!("none of the records that were found so far holds {text:?}"));
                        }
                    }
                }
            }
        }
        self.want(context);
    }

    fn ended(&mut self, slot: Slot, context: &mut Context<'_>) {
        match slot {
            Slot::Index => {
                self.opening = None;
                if let Some(index) = self.indexing.take() {
                    let listing = self.listing_mut();
                    listing.stopped = listing.is_of(&index) && !look(&index).complete();
                    // a position that was waited for is not there
                    if !listing.stopped {
                        self.want(context);
                    }
                }
            }
            Slot::Records => self.asked = None,
            _ => {}
        }
    }

    fn shown(&mut self, context: &mut Context<'_>) {
        self.listing_mut().stopped = false;
        self.want(context);
    }

    fn go(&mut self, go: Go, from: ViewId, context: &mut Context<'_>) {
        let Go::Records { side, filter, lsn } = go else { return };
        if context.shared.diagnosis.is_none() {
            context.say(nothing(context.shared));
            return;
        }
        let source = std::mem::replace(&mut self.source, side == Role::Source);
        self.pane = Pane::List;
        if from != ViewId::Records {
            context.say(format!("Esc goes back to {}", from.title()));
        }
        let before = self.side().filtered.len();
        self.follow(Some((filter.clone(), filter)), context);
        let filters = (before, self.side().filtered.len());
        let to_source = self.source;
        self.came = (from != ViewId::Records).then_some(Came { from, to_source, filters, source });
        if let Some(lsn) = lsn {
            self.goto(lsn);
        }
        self.want(context);
    }

    fn refuses(&self, action: Action, shared: &Shared) -> Option<String> {
        let here = matches!(
            action,
            Action::OtherSide
                | Action::FollowBlock
                | Action::FollowTransaction
                | Action::PreviousRecord
                | Action::Search
                | Action::NextMatch
                | Action::PreviousMatch
                | Action::Filter
                | Action::Mark
                | Action::NextMark
                | Action::Copy
                | Action::Enter
                | Action::NextPane
                | Action::PreviousPane
                | Action::Enlarge
                | Action::Back
        );
        if !here {
            return None;
        }
        if shared.diagnosis.is_none() {
            return Some(nothing(shared));
        }
        if action == Action::OtherSide {
            return None;
        }
        match &self.side().reel {
            None => return Some("the WAL is being opened".into()),
            Some(Err(why)) => return Some(why.clone()),
            Some(Ok(_)) => {}
        }
        let row = self.listing().selected_row();
        let why = match action {
            Action::FollowBlock if self.block_filter().is_none() => "this record touches no block",
            Action::FollowTransaction if self.transaction_filter().is_none() => {
                "this record is of no transaction"
            }
            Action::PreviousRecord if row.is_none_or(|row| !row.prev.is_valid()) => {
                "there is no record before it"
            }
            Action::PreviousRecord if row.is_some_and(|row| self.before_the_first(row.prev)) => {
                "the record before it lies before those that are shown"
            }
            Action::NextMatch | Action::PreviousMatch if self.query.is_none() => {
                "nothing was searched for yet: / does"
            }
            Action::NextMark if self.side().marks.is_empty() => "there are no marks: m makes one",
            Action::Mark if row.is_none() => "this is no record",
            Action::Back
                if self.pane == Pane::List && self.side().filtered.is_empty() && !self.goes_back() =>
            {
                "there is no filter; q quits"
            }
            _ => return None,
        };
        Some(why.into())
    }

    fn entered(&mut self, prompt: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        match prompt {
            Prompt::Filter => self.set_filter(text, text, context)?,
            Prompt::Search if !text.is_empty() => {
                self.query = Some(Query::new(text));
                self.search(true, context);
            }
            _ => {}
        }
        self.want(context);
        Ok(())
    }

    fn check(&self, prompt: Prompt, text: &str, shared: &Shared) -> Result<(), String> {
        match (prompt, &shared.diagnosis) {
            (Prompt::Filter, Some(d)) if !text.trim().is_empty() => {
                reel::filter(&d.facts, self.role(), text).map(|_| ())
            }
            _ => Ok(()),
        }
    }

    fn prompt(&self, prompt: Prompt, _: &Shared) -> String {
        if prompt == Prompt::Filter { self.listing().text.clone() } else { String::new() }
    }

    fn mouse(&mut self, event: MouseEvent, _area: Rect, context: &mut Context<'_>) {
        let panes = [Pane::List, Pane::Fields, Pane::Bytes];
        let Some((pane, line)) = pressed(event, panes, &self.areas) else { return };
        let was = self.pane;
        self.pane = pane;
        match pane {
            Pane::List => {
                let rows = look(&self.listing().index).rows();
                let list = &mut self.listing_mut().list;
                let row = list.at_line(line);
                let again = was == pane && row == list.selected();
                list.select(row, rows);
                if again {
                    self.pane = Pane::Fields;
                }
            }
            Pane::Fields => {
                if let Some((_, detail)) = &self.sides[usize::from(self.source)].listing().detail {
                    self.fields.click(line, was == pane, &detail.tree);
                    self.hex.place(self.fields.first_byte(&detail.tree), detail.bytes.len());
                }
            }
            Pane::Bytes => {
                if let Some((_, detail)) = &self.sides[usize::from(self.source)].listing().detail
                    && let Some(byte) = self.hex.at_point(event.column, event.row, detail.bytes.len())
                {
                    self.hex.place(byte, detail.bytes.len());
                    self.fields.find(&detail.tree, byte as u32);
                }
            }
        }
        self.want(context);
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        draw::draw(self, buffer, area, shared);
    }
}

impl Records {
    /// The position lies before the first record that is shown.
    fn before_the_first(&self, lsn: Lsn) -> bool {
        let reel = self.side().reel.as_ref().and_then(|reel| reel.as_ref().ok());
        let first = reel.and_then(|reel| reel.course.stretches.first());
        first.is_some_and(|stretch| lsn < stretch.start.position())
    }
}
