//! A frame: title, tabs, the view, a line for what was said, the keys.
//!
//! ```text
//! forkpoint  TARGET (1) → SOURCE (2)   ✗ REWIND …
//! 1 Overview 2 Control 3 Timelines …
//! (the view)
//! (progress, or what was said)
//! Enter in  Esc out  / search  ? help  q quit
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Widget};

use tui_input::Input;

use super::action::{Action, ViewId};
use super::app::{App, Ask, Overlay};
use super::jobs::Running;
use super::keymap::{self, BINDINGS};
use super::look::{BAD, CODE, DIM, GOOD, PLAIN, SELECTED, STRONG, WARN};
use super::saved::Picture;
use super::view::Prompt;
use super::widget::pane::{clean, display_width, put, span};
use super::widget::prose::Para;
use crate::report::words;
use crate::scan::progress::Phase;

/// The row of the tabs.
pub const TABS_ROW: u16 = 1;
/// The smallest screen on which something sensible can be drawn.
const SMALLEST: (u16, u16) = (40, 10);

/// Draws everything.
pub fn draw(app: &App, buffer: &mut Buffer) {
    let area = *buffer.area();
    buffer.reset();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let text = format!("too small: needs 40x10, has {}x{}", area.width, area.height);
        put(buffer, area, 0, &Line::raw(text));
        return;
    }
    let row = |y: u16| Rect { y: area.y + y, height: 1, ..area };
    title(app, buffer, row(0));
    tabs(app, buffer, row(TABS_ROW));
    let body = Rect { y: area.y + 2, height: area.height - 4, ..area };
    app.body.set(body);
    let status = row(area.height - 2);
    let footer = row(area.height - 1);
    match &app.overlay {
        Some(Overlay::Help(help)) => help.draw(buffer, body, app.view),
        _ => app.view(app.view).draw(buffer, body, &app.shared),
    }
    if let Some(Overlay::Prompt { prompt, input, error }) = &app.overlay {
        let sign = match prompt {
            Prompt::Search => "/",
            Prompt::Filter => "&",
            Prompt::Command => ":",
            Prompt::Export => "to ",
        };
        typed(buffer, status, sign, input, PLAIN);
        let what = app.view(app.view).exports().filter(|_| *prompt == Prompt::Export);
        let above = Rect { y: status.y - 1, ..status };
        match (error, what) {
            (Some(error), _) => upwards(buffer, above, &Para::new(format!("✗ {error}"), BAD).indented(2)),
            (None, Some(what)) => {
                let safe = if app.shared.read_only {
                    "--read-only is for the data directories: nothing is written there."
                } else {
                    "Nothing is written into a data directory."
                };
                let text = format!("Writes {what}; no file is overwritten. {safe}");
                upwards(buffer, above, &Para::new(text, STRONG));
            }
            (None, None) => {}
        }
        let does = if *prompt == Prompt::Export { "writes it" } else { "takes it" };
        put(buffer, footer, 0, &Line::styled(format!("Enter {does}, Esc leaves"), DIM));
    } else if let Some(Overlay::Refused { sign, why, input }) = &app.overlay {
        typed(buffer, status, &format!("✗ {sign} "), input, DIM);
        let above = Rect { y: status.y - 1, ..status };
        upwards(buffer, above, &Para::new(why, STRONG));
        put(buffer, footer, 0, &Line::styled("Esc or Enter goes back; what is typed here does nothing", DIM));
    } else {
        say(app, buffer, status);
        keys(app, buffer, footer);
    }
    if let Some(Overlay::Ask { ask, input }) = &app.overlay {
        question(ask, input.value(), buffer, body);
    }
}

/// A line that is typed.
fn typed(buffer: &mut Buffer, area: Rect, sign: &str, input: &Input, style: Style) {
    let cursor = input.visual_cursor();
    let value = clean(input.value());
    // the end of a long line is what is being typed
    let room = (area.width as usize).saturating_sub(display_width(sign) + 2);
    let skipped: String = value.chars().skip(cursor.saturating_sub(room)).collect();
    let line = Line::from(vec![
        Span::styled(sign.to_owned(), STRONG),
        Span::styled(skipped, style),
        Span::styled("▌", DIM),
    ]);
    put(buffer, area, 0, &line);
}

fn title(app: &App, buffer: &mut Buffer, area: Rect) {
    let mut spans = vec![Span::styled("forkpoint ", STRONG)];
    let shared = &app.shared;
    let names = match (&shared.picture, &shared.pair, &shared.plan) {
        (Some(picture), ..) => Some((
            format!("{} ({})", last(&path(&picture.target.path)), picture.target.timeline),
            format!("{} ({})", last(&path(&picture.source.path)), picture.source.timeline),
        )),
        (None, Some(pair), _) => Some((last(&words::path(&pair.target)), last(&words::path(&pair.source)))),
        (None, None, Some(plan)) => Some((
            last(&words::path(plan.target.path.as_path())),
            last(&words::path(plan.source.path.as_path())),
        )),
        (None, None, None) => None,
    };
    if let Some((target, source)) = names {
        spans.push(span(target, PLAIN));
        spans.push(Span::styled(" → ", DIM));
        spans.push(span(source, PLAIN));
        spans.push(Span::raw("  "));
    }
    if let Some(picture) = &shared.picture {
        let (sign, style) = sign(picture);
        spans.push(Span::styled(format!("{sign} "), style));
        spans.push(span(verdict(picture), style));
    } else if let Some(failed) = &shared.failed {
        spans.push(span(format!("✗ {failed}"), BAD));
    }
    put(buffer, area, 0, &Line::from(spans));
}

/// The last part of a path, with the one before where there is room: enough to tell two directories apart.
fn last(path: &str) -> String {
    let parts: Vec<_> = path.rsplit('/').filter(|p| !p.is_empty()).take(2).collect();
    parts.first().map_or_else(|| path.to_owned(), |name| (*name).to_owned())
}

/// A path of the report.
pub fn path(path: &crate::report::dto::PathText) -> String {
    match path {
        crate::report::dto::PathText::Text(text) => text.clone(),
        crate::report::dto::PathText::Bytes { base64 } => format!("base64:{base64}"),
    }
}

/// The verdict's sign and style: the same as in the text report.
pub fn sign(picture: &Picture) -> (char, Style) {
    match picture.verdict.action.as_ref() {
        "same" | "follow" => ('✓', GOOD),
        "rewind" if picture.verdict.blocked_by.is_empty() => ('!', WARN),
        _ => ('✗', BAD),
    }
}

/// The verdict in a few words.
fn verdict(picture: &Picture) -> String {
    let action = picture.verdict.action.to_uppercase();
    let blocked = match picture.verdict.blocked_by.len() {
        0 => String::new(),
        n => format!(", {} in the way", words::counted(n as u64, "finding")),
    };
    match (picture.verdict.action.as_ref(), picture.verdict.lost_commits) {
        ("rewind", Some(lost)) => format!("{action}: {} lost{blocked}", words::counted(lost, "commit")),
        _ => format!("{action}{blocked}"),
    }
}

/// The tabs on a screen of this width; where there is no room, only the shown view has its name.
fn tabs_of(shown: ViewId, width: u16) -> [(ViewId, String); 7] {
    let whole = |view: ViewId| format!(" {} {} ", view.index() + 1, view.title());
    let fits = ViewId::ALL.iter().map(|&view| display_width(&whole(view))).sum::<usize>() <= width.into();
    ViewId::ALL.map(|view| {
        let text = if fits || view == shown { whole(view) } else { format!(" {} ", view.index() + 1) };
        (view, text)
    })
}

/// The view whose tab is in this column.
pub fn tab_at(column: u16, shown: ViewId, width: u16) -> Option<ViewId> {
    let mut left = 0;
    let found = tabs_of(shown, width).into_iter().find(|(_, text)| {
        left += display_width(text);
        usize::from(column) < left
    });
    found.map(|(view, _)| view)
}

fn tabs(app: &App, buffer: &mut Buffer, area: Rect) {
    let style = |view| if view == app.view { SELECTED } else { PLAIN };
    let spans: Vec<_> = tabs_of(app.view, area.width)
        .into_iter()
        .map(|(view, text)| Span::styled(text, style(view)))
        .collect();
    put(buffer, area, 0, &Line::from(spans));
    buffer.set_style(area, Style::new().add_modifier(Modifier::UNDERLINED));
}

/// How far work is, in words.
fn progress(running: &Running) -> String {
    let (label, progress) = (running.label, &running.progress);
    let (done, total) = progress.bytes();
    let phase = words::phase(progress.phase());
    if total == 0 {
        return format!("{label}: {phase}");
    }
    let percent = done.min(total) as u128 * 100 / u128::from(total);
    let files = match progress.counted() {
        (files, all) if all > 0 && progress.phase() == Phase::Rewinding => {
            format!(", {} of {} files", words::count(files), words::count(all))
        }
        _ => String::new(),
    };
    let left = match running.left().map(|left| left.as_secs()) {
        None => String::new(),
        Some(seconds @ 0..60) => format!(", {seconds} s left"),
        Some(seconds @ 60..3600) => format!(", {} min left", seconds.div_ceil(60)),
        Some(seconds) => format!(", {} h {} min left", seconds / 3600, seconds % 3600 / 60),
    };
    format!("{label}: {phase} {} of {} ({percent} %){files}{left}", words::bytes(done), words::bytes(total))
}

fn say(app: &App, buffer: &mut Buffer, area: Rect) {
    let running = app.jobs.running().iter().filter(|(_, r)| !r.label.is_empty()).map(|(_, r)| r);
    let mut parts: Vec<_> = running.map(progress).collect();
    let style = if parts.is_empty() { PLAIN } else { CODE };
    if !parts.is_empty() {
        parts.push("Ctrl-C stops".into());
    }
    match &app.said {
        Some(said) => upwards(buffer, area, &Para::new(said, STRONG)),
        None => put(buffer, area, 0, &Line::from(span(parts.join("  "), style))),
    }
}

/// Draws a text that ends in this row, over the rows above it as far as it needs them.
fn upwards(buffer: &mut Buffer, area: Rect, para: &Para) {
    let lines = para.lines(area.width as usize);
    let rows = (lines.len() as u16).min(area.y.saturating_sub(TABS_ROW));
    let over = Rect { y: area.y + 1 - rows.max(1), height: rows, ..area };
    Clear.render(over, buffer);
    for (row, line) in lines.iter().take(rows as usize).enumerate() {
        put(buffer, over, row as u16, line);
    }
}

/// The keys that mean something here, as many as fit; grey where they do nothing now.
fn keys(app: &App, buffer: &mut Buffer, area: Rect) {
    let always = [Action::Help, Action::Quit];
    let item = |b: &keymap::Binding| {
        let key = b.keys.first().map(|k| k.name()).unwrap_or_default();
        let off = app.refuses(b.action).is_some();
        let width = display_width(&key) + display_width(b.short) + 3;
        let (strong, plain) = if off { (DIM, DIM) } else { (CODE, PLAIN) };
        (
            vec![Span::styled(key, strong), Span::raw(" "), Span::styled(b.short, plain), Span::raw("  ")],
            width,
        )
    };
    let here = |b: &&keymap::Binding| !b.short.is_empty() && b.scope.holds(app.view);
    let last: Vec<_> =
        BINDINGS.iter().filter(here).filter(|b| always.contains(&b.action)).map(item).collect();
    let mut room = (area.width as usize).saturating_sub(last.iter().map(|i| i.1).sum());
    let mut spans = Vec::new();
    // what does something now comes first
    let (on, off): (Vec<_>, Vec<_>) = BINDINGS
        .iter()
        .filter(here)
        .filter(|b| !always.contains(&b.action))
        .partition(|b| app.refuses(b.action).is_none());
    for (item, width) in on.into_iter().chain(off).map(item) {
        if width > room {
            continue;
        }
        room -= width;
        spans.extend(item);
    }
    spans.extend(last.into_iter().flat_map(|i| i.0));
    put(buffer, area, 0, &Line::from(spans));
}

fn question(ask: &Ask, typed: &str, buffer: &mut Buffer, body: Rect) {
    let width = body.width.saturating_sub(4).min(76);
    let mut lines: Vec<Line<'_>> = Vec::new();
    for text in &ask.lines {
        lines.extend(Para::new(text, PLAIN).lines(width as usize - 4));
    }
    lines.push(Line::raw(""));
    lines.push(Line::from(vec![
        Span::raw("Type "),
        span(&ask.word, CODE),
        Span::raw(" and Enter to go on; Esc cancels."),
    ]));
    lines.push(Line::from(vec![Span::styled("> ", STRONG), span(typed, PLAIN), Span::styled("▌", DIM)]));
    let height = (lines.len() as u16 + 2).min(body.height);
    let area =
        Rect { x: body.x + (body.width - width) / 2, y: body.y + (body.height - height) / 2, width, height };
    let bar = "─".repeat(width as usize - 2);
    put(buffer, area, 0, &Line::styled(format!("┌{bar}┐"), WARN));
    let room = height.saturating_sub(2);
    // where there is no room for all of it: what would happen, and what is typed
    let end = lines.len().saturating_sub(2);
    let gone = (room as usize).saturating_sub(2).min(end)..end;
    let shown = lines.iter().enumerate().filter(|(n, _)| !gone.contains(n)).map(|(_, line)| line);
    for (row, line) in shown.take(room as usize).enumerate() {
        let row = row as u16 + 1;
        put(buffer, area, row, &Line::styled(format!("│{}│", " ".repeat(width as usize - 2)), WARN));
        put(buffer, Rect { x: area.x + 2, width: width - 4, ..area }, row, line);
    }
    put(buffer, area, height - 1, &Line::styled(format!("└{bar}┘"), WARN));
}
