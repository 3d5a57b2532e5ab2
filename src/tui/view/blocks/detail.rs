//! One block: its pages on both sides, the bytes that differ, the records that touched it.

use std::cell::Cell;
use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::page::{self, About, Pages};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::Options;
use crate::facts::Role;
use crate::pg::{BlockNumber, Fork, Lsn, Major, RelFile};
use crate::report::words;
use crate::scan::RecordKind;
use crate::source::block;
use crate::tui::action::Action;
use crate::tui::app::Go;
use crate::tui::jobs::{Answer, Slot};
use crate::tui::look::{CODE, DIM, PLAIN, STRONG, WARN};
use crate::tui::view::{Context, Shared};
use crate::tui::wal::{Place, Touch, Touches, touches};
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{below, display_width, fit, marks, put, put_row, span, titled};
use crate::wal::rmgr;

/// Records of each side that are listed.
const LISTED: usize = 10_000;
/// From this height on, all panes have lines.
const TALL: u16 = 30;

/// The panes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Pane {
    #[default]
    Fields,
    Bytes,
    Records,
}

impl Pane {
    const ALL: [Self; 3] = [Self::Fields, Self::Bytes, Self::Records];

    fn step(self, by: usize) -> Self {
        Self::ALL.get((self as usize + by) % Self::ALL.len()).copied().unwrap_or_default()
    }
}

/// What is known of a side's records.
#[derive(Debug, Default)]
enum Known {
    #[default]
    Waiting,
    Touches(Touches),
    Failed(String),
}

/// The answer of the work that looks for records.
#[derive(Debug)]
struct Searched {
    role: Role,
    found: Result<Touches, String>,
}

/// A row of the list of records.
#[derive(Debug, Clone, Copy)]
enum Row {
    Side(Role),
    Touch(Role, usize),
    More(Role, u64),
}

/// A block that is looked at.
#[derive(Debug)]
pub struct Detail {
    /// The relation.
    pub rel: RelFile,
    /// Its fork.
    pub fork: Fork,
    /// The block.
    pub block: BlockNumber,
    /// The relation's name.
    title: String,
    pages: Option<Pages>,
    records: [Known; 2],
    pane: Pane,
    fields: List,
    bytes: List,
    list: List,
    /// Columns, as drawn last.
    width: Cell<u16>,
    /// Where the list of records was drawn.
    drawn: Cell<Rect>,
}

const ROLES: [Role; 2] = [Role::Target, Role::Source];

const fn side(role: Role) -> &'static str {
    match role {
        Role::Target => "target",
        Role::Source => "source",
    }
}

impl Detail {
    /// Opens a block: reads its pages and looks for its records.
    pub fn open(
        (rel, fork, block): (RelFile, Fork, BlockNumber),
        (title, kind): (String, Option<char>),
        context: &mut Context<'_>,
    ) -> Option<Self> {
        let diagnosis = context.shared.diagnosis.clone()?;
        let options = context.shared.pair.clone()?;
        read_pages(context, Arc::clone(&diagnosis), (rel, fork, block), kind);
        find_records(context, diagnosis, options, Place { rel, fork, block: Some(block) });
        Some(Self {
            rel,
            fork,
            block,
            title,
            pages: None,
            records: [Known::Waiting, Known::Waiting],
            pane: Pane::default(),
            fields: List::default(),
            bytes: List::default(),
            list: List::default(),
            width: Cell::new(80),
            drawn: Cell::default(),
        })
    }

    /// The same pane of another block.
    pub fn at_pane_of(mut self, other: Option<&Self>) -> Self {
        if let Some(other) = other {
            self.pane = other.pane;
            self.width.set(other.width.get());
        }
        self
    }

    /// The pane that has the keys shows differences.
    pub fn has_differences(&self) -> bool {
        self.beginnings().contains(&true)
    }

    /// An answer of the work that was started.
    pub fn receive(&mut self, slot: Slot, answer: Answer) {
        match slot {
            Slot::Page => {
                if let Ok(pages) = answer.downcast::<Pages>() {
                    self.pages = Some(*pages);
                }
            }
            Slot::BlockRecords => {
                if let Ok(searched) = answer.downcast::<Searched>() {
                    let Searched { role, found } = *searched;
                    if let Some(known) = self.records.get_mut(role as usize) {
                        *known = match found {
                            Ok(touches) => Known::Touches(touches),
                            Err(why) => Known::Failed(why),
                        };
                    }
                }
            }
            _ => {}
        }
    }

    /// The work is over: what did not come will not.
    pub fn ended(&mut self, slot: Slot) {
        if slot == Slot::BlockRecords {
            for known in &mut self.records {
                if matches!(known, Known::Waiting) {
                    *known = Known::Failed("stopped".into());
                }
            }
        }
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for role in ROLES {
            rows.push(Row::Side(role));
            if let Some(Known::Touches(touches)) = self.records.get(role as usize) {
                rows.extend((0..touches.first.len()).map(|n| Row::Touch(role, n)));
                if touches.more > 0 {
                    rows.push(Row::More(role, touches.more));
                }
            }
        }
        rows
    }

    fn touch(&self, role: Role, n: usize) -> Option<&Touch> {
        match self.records.get(role as usize) {
            Some(Known::Touches(touches)) => touches.first.get(n),
            _ => None,
        }
    }

    fn known(&self, role: Role) -> String {
        match self.records.get(role as usize) {
            Some(Known::Touches(t)) => {
                let mut text = words::counted(t.first.len() as u64 + t.more, "record");
                if t.broken > 0 {
                    let _ = write!(text, ", {} not understood", words::count(t.broken));
                }
                if let Some(at) = t.cut {
                    let _ = write!(text, ", read to {at} only");
                }
                text
            }
            Some(Known::Failed(why)) => format!("not known: {why}"),
            _ => "looking …".into(),
        }
    }

    /// Does what the user wants; false: it is not for this part.
    pub fn update(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::PreviousPane => self.pane = self.pane.step(Pane::ALL.len() - 1),
            Action::Enter if self.pane == Pane::Records => self.follow(context),
            Action::NextPane | Action::Enter => self.pane = self.pane.step(1),
            Action::Copy => context.copy(self.text(context.shared)),
            Action::NextMatch | Action::PreviousMatch => self.jump(action == Action::NextMatch, context),
            _ => {
                return match self.pane {
                    Pane::Fields => self.fields.moved(action, self.beginnings().len()),
                    Pane::Bytes => self.bytes.moved(action, self.beginnings().len()),
                    Pane::Records => self.list.moved(action, self.rows().len()),
                };
            }
        }
        true
    }

    /// Of each line of the pane, whether a difference begins there.
    fn beginnings(&self) -> Vec<bool> {
        let width = usize::from(self.width.get());
        match (self.pane, &self.pages) {
            (Pane::Fields, Some(pages)) => {
                page::lines(&pages.rows, width).iter().map(|line| line.begins).collect()
            }
            (Pane::Bytes, Some(pages)) => {
                let lines = pages.hex(page::hex_layout(width).0);
                let differs = |n: usize| matches!(lines.get(n), Some(page::HexLine::Bytes(_)));
                (0..lines.len()).map(|n| differs(n) && !n.checked_sub(1).is_some_and(differs)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Goes to the next difference, or the one before.
    fn jump(&mut self, forward: bool, context: &mut Context<'_>) {
        let begins = self.beginnings();
        let list = if self.pane == Pane::Fields { &mut self.fields } else { &mut self.bytes };
        let here = list.selected();
        let found = if forward {
            begins.iter().enumerate().skip(here + 1).find(|(_, b)| **b)
        } else {
            begins.iter().enumerate().take(here).rfind(|(_, b)| **b)
        };
        match found {
            Some((line, _)) => list.select(line, begins.len()),
            None => context.say("no further difference there"),
        }
    }

    fn follow(&self, context: &mut Context<'_>) {
        let (side, lsn) = match self.rows().get(self.list.selected()) {
            Some(Row::Touch(role, n)) => (*role, self.touch(*role, *n).map(|t| t.lsn)),
            Some(Row::Side(role) | Row::More(role, _)) => (*role, None),
            None => return,
        };
        let place = Place { rel: self.rel, fork: self.fork, block: Some(self.block) };
        context.go(Go::Records { side, filter: place.filter(), lsn });
    }

    /// A click within the list of records; true: on what was selected.
    pub fn point(&mut self, column: u16, row: u16) -> bool {
        let area = self.drawn.get();
        if self.pane != Pane::Records || !area.contains((column, row).into()) {
            return false;
        }
        let line = self.list.at_line(usize::from(row - area.y));
        let again = line == self.list.selected();
        self.list.select(line, self.rows().len());
        again
    }

    fn text(&self, shared: &Shared) -> String {
        let mut out = format!("{}\n", self.heading());
        match (self.pane, &self.pages) {
            (Pane::Fields, Some(pages)) => {
                for row in &pages.rows {
                    let sign = if row.differs { "≠" } else { "=" };
                    let _ = writeln!(out, "{}\t{}\t{sign}\t{}", row.label, row.target, row.source);
                }
            }
            (Pane::Bytes, Some(pages)) => {
                let layout = page::hex_layout(self.width.get().into());
                for line in pages.hex(layout.0) {
                    let _ = writeln!(out, "{}", page::hex_line(pages, line, layout));
                }
            }
            (Pane::Records, _) => {
                for row in self.rows() {
                    let _ = writeln!(out, "{}", self.line(row, shared));
                }
            }
            _ => {}
        }
        out
    }

    /// The block and where it lies.
    fn heading(&self) -> String {
        let block = words::count(u64::from(self.block));
        let place = self
            .pages
            .as_ref()
            .map(|p| format!(": {} at {}", words::path(&p.target.file), words::count(p.target.offset)));
        format!("block {block} of {}, {} fork{}", self.title, self.fork, place.unwrap_or_default())
    }

    fn line(&self, row: Row, shared: &Shared) -> Line<'static> {
        let facts = shared.diagnosis.as_ref().map(|d| &d.facts);
        let major = facts.and_then(crate::facts::Facts::major);
        let divergence = facts.and_then(|f| f.divergence.as_ref()).map(|d| d.lsn);
        match row {
            Row::Side(role) => Line::from(span(format!("{}: {}", side(role), self.known(role)), STRONG)),
            Row::More(_, more) => {
                let text = format!("  and {} more: Enter shows them all", words::count(more));
                Line::from(span(text, DIM))
            }
            Row::Touch(role, n) => match self.touch(role, n) {
                Some(touch) => touch_line(touch, major, divergence),
                None => Line::default(),
            },
        }
    }

    fn titles(&self) -> [String; 3] {
        let fields = match &self.pages {
            None => "pages: reading …".into(),
            Some(pages) => match pages.items() {
                0 => "page headers".into(),
                items => format!(
                    "page headers; {}, {} differ; n next",
                    words::counted(items as u64, "line pointer"),
                    words::count(pages.differing as u64)
                ),
            },
        };
        let bytes = match self.pages.as_ref().map(Pages::differing_bytes) {
            None => "bytes".into(),
            Some(None) => "bytes: there is no page to compare with".into(),
            Some(Some(0)) => "bytes: all 8,192 are the same".into(),
            Some(Some(n)) => format!("bytes: {} of 8,192 differ; n next", words::count(n as u64)),
        };
        let [target, source] = ROLES.map(|role| self.known(role));
        [fields, bytes, format!("records that touch it: target {target}, source {source}")]
    }

    /// Draws it. Only the pane that has the keys has lines, unless there is room for all.
    pub fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared, (enlarged, marked): (bool, bool)) {
        self.width.set(area.width);
        let mark = if marked { "◆ " } else { "" };
        let heading = format!("{mark}{}", self.heading());
        let hint = "  ←→ other changed blocks";
        let fits = display_width(&heading) + display_width(hint) <= usize::from(area.width);
        let hint = Span::styled(if fits { hint } else { "" }, DIM);
        put(buffer, area, 0, &Line::from(vec![span(heading, STRONG), hint]));
        let area = below(area, 1);
        let titles = self.titles();
        let heights = self.heights(area.height, enlarged);
        let mut y = area.y;
        for (pane, (title, height)) in Pane::ALL.into_iter().zip(titles.iter().zip(heights)) {
            if height == 0 {
                continue;
            }
            let place = Rect { y, height, ..area };
            let here = titled(buffer, place, title, pane == self.pane);
            y += height;
            if here.height > 0 {
                let (seen, len) = self.pane_lines(pane, buffer, here, shared);
                marks(buffer, place, &seen, len);
            }
        }
    }

    fn heights(&self, height: u16, enlarged: bool) -> [u16; 3] {
        let mut heights = [0; 3];
        let others = match (enlarged, height) {
            (true, _) | (_, 0..=4) => 0,
            (false, TALL..) => (height / 4).min(12),
            _ => 1,
        };
        for (pane, slot) in Pane::ALL.into_iter().zip(&mut heights) {
            *slot = if pane == self.pane { height - 2 * others } else { others };
        }
        heights
    }

    /// Draws the lines; which are seen, and how many there are.
    fn pane_lines(
        &self,
        pane: Pane,
        buffer: &mut Buffer,
        area: Rect,
        shared: &Shared,
    ) -> (Range<usize>, usize) {
        let focused = pane == self.pane;
        let width = usize::from(area.width);
        match (pane, &self.pages) {
            (Pane::Fields | Pane::Bytes, None) => {
                put(buffer, area, 0, &Line::from(Span::styled("reading …", DIM)));
                (0..0, 0)
            }
            (Pane::Fields, Some(pages)) => {
                let head = page::Row {
                    label: String::new(),
                    target: "target".into(),
                    source: "source".into(),
                    differs: false,
                };
                for head in page::lines(&[head], width) {
                    put(buffer, area, 0, &head.line.style(STRONG));
                }
                let area = below(area, 1);
                let lines = page::lines(&pages.rows, width);
                let seen = self.fields.window(lines.len(), area.height.into());
                for (row, index) in seen.clone().enumerate() {
                    if let Some(line) = lines.get(index) {
                        let selected = index == self.fields.selected() && focused;
                        put_row(buffer, area, row as u16, &line.line, selected, focused);
                    }
                }
                (seen, lines.len())
            }
            (Pane::Bytes, Some(pages)) => {
                let layout = page::hex_layout(width);
                let lines = pages.hex(layout.0);
                let head = hex_head(layout);
                put(buffer, area, 0, &Line::from(Span::styled(head, STRONG)));
                let area = below(area, 1);
                let seen = self.bytes.window(lines.len(), area.height.into());
                for (row, index) in seen.clone().enumerate() {
                    if let Some(line) = lines.get(index) {
                        let line = page::hex_line(pages, *line, layout);
                        let selected = index == self.bytes.selected() && focused;
                        put_row(buffer, area, row as u16, &line, selected, focused);
                    }
                }
                (seen, lines.len())
            }
            (Pane::Records, _) => {
                let rows = self.rows();
                self.drawn.set(area);
                let seen = self.list.window(rows.len(), area.height.into());
                for (row, index) in seen.clone().enumerate() {
                    if let Some(item) = rows.get(index) {
                        let line = self.line(*item, shared);
                        let selected = index == self.list.selected();
                        put_row(buffer, area, row as u16, &line, selected, focused);
                    }
                }
                (seen, rows.len())
            }
        }
    }
}

/// Titles over the two sides' bytes.
fn hex_head((per_row, letters): (usize, bool)) -> String {
    let side = 3 * per_row + if letters { 1 + per_row } else { 0 };
    format!("     {} {}", fit("target", side), "source")
}

fn touch_line(touch: &Touch, major: Option<Major>, divergence: Option<Lsn>) -> Line<'static> {
    let kind = RecordKind { rmid: touch.rmid, op: rmgr::operation(touch.rmid, touch.info) };
    let name = words::kind(kind, major);
    let xid = if touch.xid == 0 { String::new() } else { format!("xid {}", touch.xid) };
    let mut more = Vec::new();
    if touch.init {
        more.push("new page");
    }
    if touch.image {
        more.push("image");
    }
    if divergence.is_some_and(|lsn| touch.lsn < lsn) {
        more.push("before the divergence");
    }
    let lsn = touch.lsn.to_string();
    let mut spans = vec![
        Span::raw("  "),
        Span::styled(fit(&lsn, display_width(&lsn).max(12)), CODE),
        span(fit(&name, 22), PLAIN),
        span(fit(&xid, 14), PLAIN),
    ];
    spans.push(span(more.join(", "), WARN));
    Line::from(spans)
}

fn read_pages(
    context: &mut Context<'_>,
    diagnosis: Arc<Diagnosis>,
    place: (RelFile, Fork, BlockNumber),
    kind: Option<char>,
) {
    context.run(Slot::Page, "", move |worker| {
        let (rel, fork, block) = place;
        let [target, source] = [&diagnosis.facts.target, &diagnosis.facts.source];
        let read =
            |side: &crate::facts::Side| block::read(side.dir.path(), &side.control, (rel, fork), block);
        let on = |side: &crate::facts::Side| side.control.data_checksum_version == Some(1);
        let about = About { kind, checksums: (on(target), on(source)) };
        worker.answer(Pages::new(place, read(target), read(source), about));
    });
}

fn find_records(context: &mut Context<'_>, diagnosis: Arc<Diagnosis>, options: Arc<Options>, place: Place) {
    context.run(Slot::BlockRecords, "looking for records of the block", move |worker| {
        for role in ROLES {
            let found = touches(&options, &diagnosis.facts, (role, place), LISTED, &worker.progress);
            if !worker.answer(Searched { role, found }) {
                return;
            }
        }
    });
}
