//! How the records are drawn.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};

use super::reel::{Reel, side_of};
use super::row::Row;
use super::{Pane, Records, Selected, nothing};
use crate::dump::browse::{NoticeKind, RowKind, look};
use crate::facts::{Facts, Role};
use crate::pg::Lsn;
use crate::scan::walk::Start;
use crate::tui::look::{CODE, DIM, PLAIN, STRONG, WARN};
use crate::tui::view::Shared;
use crate::tui::widget::hex::{self, Lit};
use crate::tui::widget::pane::{columns, fit, marks, put, put_row, right, span, titled};
use crate::tui::widget::prose::{Para, Scroll};

/// Bytes of the selected field.
const LIT: Style = Style::new().add_modifier(Modifier::BOLD.union(Modifier::UNDERLINED));

/// Where the panes lie.
struct Layout {
    list: Rect,
    fields: Rect,
    bytes: Rect,
}

impl Layout {
    fn new(view: &Records, area: Rect, len: usize) -> Self {
        let none = Rect { width: 0, height: 0, ..area };
        if view.enlarged {
            let mut layout = Self { list: none, fields: none, bytes: none };
            match view.pane {
                Pane::List => layout.list = area,
                Pane::Fields => layout.fields = area,
                Pane::Bytes => layout.bytes = area,
            }
            return layout;
        }
        let upper = area.height / 2;
        let list = Rect { height: upper, ..area };
        let lower = Rect { y: area.y + upper, height: area.height - upper, ..area };
        let (wide, narrow) = hex::widths(len);
        // the fields need room for names and values
        let hex = if lower.width >= wide + 44 { wide } else { narrow.min(lower.width / 2) };
        let (fields, bytes) = columns(lower, lower.width - hex - 1);
        Self { list, fields, bytes }
    }
}

/// Draws the view.
pub fn draw(view: &Records, buffer: &mut Buffer, area: Rect, shared: &Shared) {
    let text = match (&shared.diagnosis, &view.side().reel) {
        (None, _) if shared.pair.is_some() => {
            "The records come when the diagnosis is finished; it says where they begin.".to_owned()
        }
        (None, _) => {
            let mut text = nothing(shared);
            text.push_str(". Open both directories to see them.");
            text
        }
        (_, Some(Err(why))) => format!("The {} has no records to show: {why}", word(view.role())),
        (_, None) => format!("Opening the {}'s WAL …", word(view.role())),
        (Some(diagnosis), Some(Ok(reel))) => {
            panes(view, buffer, area, reel, &diagnosis.facts);
            return;
        }
    };
    Scroll::default().draw(buffer, area, &[Para::new(text, PLAIN)]);
}

fn panes(view: &Records, buffer: &mut Buffer, area: Rect, reel: &Reel, facts: &Facts) {
    let detail = view.listing().detail.as_ref().map(|d| &d.1);
    let layout = Layout::new(view, area, detail.map_or(0, |d| d.bytes.len()));
    for (cell, pane) in view.areas.iter().zip([layout.list, layout.fields, layout.bytes]) {
        cell.set(Rect { width: 0, height: 0, ..pane });
    }
    if layout.list.height > 0 {
        list(view, buffer, layout.list, reel);
    }
    let (fields_focus, bytes_focus) = (view.pane == Pane::Fields, view.pane == Pane::Bytes);
    let selected = view.listing().selected();
    if let Some(Selected::Notice(kind)) = selected {
        let area = if layout.fields.height > 0 { layout.fields } else { layout.bytes };
        if area.height > 0 {
            let area = Rect { width: area.width.max(layout.fields.width + layout.bytes.width), ..area };
            let title = (title_of(&kind), fields_focus || bytes_focus);
            Scroll::default().draw_titled(buffer, area, title, &explained(&kind, view.role(), facts));
        }
        return;
    }
    let Some(detail) = detail else { return };
    if layout.fields.height > 0 {
        let title = format!("record at {}", detail.lsn);
        let body = titled(buffer, layout.fields, &title, fields_focus);
        view.areas[1].set(body);
        view.fields.draw(buffer, (layout.fields, body), &detail.tree, fields_focus);
    }
    if layout.bytes.height > 0 {
        let range = view.fields.range(&detail.tree);
        let title = match (range.len(), detail.bytes.len() < detail.len as usize) {
            (_, true) => format!("first {} of {} bytes", detail.bytes.len(), detail.len),
            (0, false) => format!("{} bytes", detail.len),
            // as the offsets beside the bytes
            (1, false) => format!("byte 0x{:X} of {}", range.start, detail.len),
            (_, false) => format!("bytes 0x{:X}–0x{:X} of {}", range.start, range.end - 1, detail.len),
        };
        let body = titled(buffer, layout.bytes, &title, bytes_focus);
        view.areas[2].set(body);
        let lit = [Lit { bytes: range, style: LIT }];
        view.hex.draw(buffer, (layout.bytes, body), &detail.bytes, &lit, bytes_focus);
    }
}

const fn word(role: Role) -> &'static str {
    match role {
        Role::Target => "target",
        Role::Source => "source",
    }
}

/// Widths of the columns: they do not depend on what is seen, so nothing jumps.
struct Widths {
    lsn: usize,
    xid: usize,
    len: usize,
    operation: usize,
}

impl Widths {
    fn new(reel: &Reel, width: u16) -> Self {
        let xid = reel.next_xid.max(9999).to_string().len();
        Self {
            lsn: reel.end.to_string().len().max(9),
            xid: xid.max(4),
            len: 6,
            operation: if width < 100 { 20 } else { 28 },
        }
    }
}

fn list(view: &Records, buffer: &mut Buffer, area: Rect, reel: &Reel) {
    let listing = view.listing();
    listing.seen.set(true);
    let focused = view.pane == Pane::List;
    let body = titled(buffer, area, &title(view, reel), focused);
    let index = look(&listing.index);
    let rows = index.rows();
    let selected = listing.list.selected();
    let widths = Widths::new(reel, area.width);
    let head = format!(
        "   {} {} {} {} relation and block; what it says",
        fit("LSN", widths.lsn),
        right("xid", widths.xid),
        right("bytes", widths.len),
        fit("record", widths.operation),
    );
    put(buffer, body, 0, &Line::from(span(head, DIM)));
    let body = Rect { y: body.y + body.height.min(1), height: body.height.saturating_sub(1), ..body };
    view.areas[0].set(body);
    let seen = listing.list.window(rows, usize::from(body.height));
    marks(buffer, area, &seen, rows);
    for (line, at) in seen.enumerate() {
        let text = match index.row(at) {
            Some(RowKind::Record(number)) => match listing.row(number) {
                Some(row) => record(view, row, reel.course.divergence, &widths, usize::from(body.width)),
                None => Line::from(Span::styled("   …", DIM)),
            },
            Some(RowKind::Notice(of)) => {
                let style = if matches!(of.kind, NoticeKind::Divergence(_)) { STRONG } else { WARN };
                let text = format!("── {} ", notice(&of.kind, reel.role));
                Line::from(span(fit_with(&text, usize::from(body.width), '─'), style))
            }
            None => continue,
        };
        put_row(buffer, body, line as u16, &text, at == selected, focused);
    }
    if rows == 0 {
        let text = if index.complete() { "   no record" } else { "   reading …" };
        put(buffer, body, 0, &Line::from(Span::styled(text, DIM)));
    }
}

/// Filled with a letter rather than with blanks.
fn fit_with(text: &str, width: usize, fill: char) -> String {
    let fitted = fit(text, width);
    let kept = fitted.trim_end();
    let missing = fitted.chars().count() - kept.chars().count();
    if missing < 2 { fitted } else { format!("{kept} {}", fill.to_string().repeat(missing - 1)) }
}

fn title(view: &Records, reel: &Reel) -> String {
    let listing = view.listing();
    let (records, complete) = {
        let index = look(&listing.index);
        (index.records(), index.complete())
    };
    let from = match reel.course.stretches.first().map(|s| s.start) {
        Some(Start::Record(lsn)) => format!("from {lsn}"),
        Some(Start::Page(lsn)) => format!("from the first behind {lsn}"),
        None => String::new(),
    };
    let so_far = match (complete, listing.stopped) {
        (true, _) => "",
        (false, true) => " (stopped; G goes on)",
        (false, false) => " so far",
    };
    let at = listing.selected_record().map(|n| format!("{} of ", n + 1)).unwrap_or_default();
    // with a filter, what it is matters more than where the list begins
    let which = if listing.text.is_empty() { from } else { format!("& {}", listing.label) };
    format!("{}: {at}{records} records{so_far} {which}", word(reel.role))
}

fn record(
    view: &Records,
    row: &Row,
    divergence: Option<Lsn>,
    widths: &Widths,
    width: usize,
) -> Line<'static> {
    let mark = if view.side().marks.contains(&row.lsn) { "◆" } else { " " };
    // behind the divergence it is of this side alone
    let after = divergence.is_some_and(|d| row.lsn >= d);
    let sign = if after { Span::styled("● ", STRONG) } else { Span::styled("· ", DIM) };
    let xid = if row.xid == 0 { "-".to_owned() } else { row.xid.to_string() };
    let wide = |text: &str, width: usize| {
        if text.len() > width { text.to_owned() } else { right(text, width) }
    };
    let matched = view.query.as_ref().is_some_and(|query| row.holds(query));
    let what = if matched { crate::tui::look::MATCH } else { PLAIN };
    let mut spans = vec![
        Span::styled(mark, STRONG),
        sign,
        span(format!("{:<1$} ", row.lsn.to_string(), widths.lsn), CODE),
        span(wide(&xid, widths.xid), PLAIN),
        Span::raw(" "),
        span(wide(&row.len.to_string(), widths.len), PLAIN),
        Span::raw(" "),
        span(fit(&row.operation, widths.operation), PLAIN),
        Span::raw(" "),
    ];
    let used: usize = spans.iter().map(Span::width).sum();
    spans.push(span(fit(&row.what, width.saturating_sub(used)).trim_end(), what));
    Line::from(spans)
}

/// What lies between records, in a line.
pub fn notice(kind: &NoticeKind, role: Role) -> String {
    match kind {
        NoticeKind::Divergence(lsn) => {
            format!("divergence at {lsn}: what follows is the {}'s alone", word(role))
        }
        NoticeKind::Gap(from, to) => format!("WAL from {from} to {to} was found nowhere"),
        NoticeKind::End(lsn, message) if message.is_empty() => format!("end at {lsn}"),
        NoticeKind::End(lsn, message) => format!("end at {lsn}: {message}"),
    }
}

const fn title_of(kind: &NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Divergence(_) => "divergence",
        NoticeKind::Gap(..) => "missing WAL",
        NoticeKind::End(..) => "end of WAL",
    }
}

fn explained(kind: &NoticeKind, role: Role, facts: &Facts) -> Vec<Para> {
    let mut paras = vec![Para::new(notice(kind, role), STRONG), Para::gap()];
    let text = match (kind, role) {
        (NoticeKind::Divergence(_), Role::Target) => {
            "Records above this line are the source's too. A rewind discards those below it.".to_owned()
        }
        (NoticeKind::Divergence(_), Role::Source) => {
            "Records above this line are the target's too. The target lacks those below it.".to_owned()
        }
        (NoticeKind::Gap(..), _) => {
            "The segments in between are neither in the data directory nor in an archive that was named. Give more with \
             --wal-archive."
                .to_owned()
        }
        (NoticeKind::End(lsn, _), _) => match &side_of(facts, role).end {
            Some(end) if end.lsn == *lsn => end.meaning.clone(),
            _ => "The reader's message says why it could not go on; behind the last record of a server it always \
                  finds something that is no record."
                .to_owned(),
        },
    };
    paras.push(Para::new(text, PLAIN));
    paras
}
