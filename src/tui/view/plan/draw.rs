//! Drawing: figures, preflight, entries.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::work::NoPlan;
use super::{Open, Pane, PlanView, Stand, entry, path};
use crate::plan::Plan;
use crate::plan::model::{Check, Count, Outcome, Route};
use crate::report::content::Detail;
use crate::report::{plan as view_of, text, words};
use crate::rewind::State;
use crate::tui::frame::sign;
use crate::tui::look::{BAD, CODE, DIM, GOOD, PLAIN, STRONG, WARN};
use crate::tui::view::Shared;
use crate::tui::widget::pane::{below, columns, first_rows, fit, marks, put, put_row, right, span, titled};
use crate::tui::widget::prose::{Para, Scroll};

/// Below these, only the pane that has the keys is shown.
const SMALL: (u16, u16) = (60, 12);

/// The whole summary as `forkpoint plan` prints it.
pub fn summary(plan: &Plan, width: usize) -> Vec<String> {
    let style = text::TextStyle { color: false, unicode: true, width };
    let mut out = Vec::new();
    // writing into memory cannot fail
    let _ = text::render(&view_of::content(plan, Detail { all: false }), style, &mut out);
    String::from_utf8_lossy(&out).trim_start_matches('\n').lines().map(str::to_owned).collect()
}

/// How carrying out ended, and what can be done now.
pub fn outcome(view: &PlanView, shared: &Shared) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(ended) = &view.ended {
        lines.extend(ended.lines.iter().cloned());
        lines.push(String::new());
    }
    match &view.standing {
        None => lines.push("Looking how the target stands …".into()),
        Some(Err(error)) => lines.push(format!("How the target stands cannot be seen: {error}")),
        Some(Ok(standing)) => {
            let text = standing.text.iter().skip_while(|line| line.is_empty());
            lines.extend(text.cloned());
            let may = shared.unable.is_none() && !shared.read_only;
            let keys = [
                (standing.report.can_resume, "R goes on with it"),
                (standing.report.can_undo, "U puts the target back"),
            ];
            let keys: Vec<_> = keys.into_iter().filter(|(can, _)| *can && may).map(|(_, key)| key).collect();
            if !keys.is_empty() {
                let asks = if keys.len() == 1 { "It asks" } else { "Both ask" };
                lines.push(String::new());
                lines.push(format!("Here: {}. {asks} first.", keys.join(", ")));
            }
        }
    }
    lines
}

fn lines_of(lines: &[String]) -> Vec<Para> {
    lines
        .iter()
        .map(|line| {
            let style = match line.chars().next() {
                Some('✓') => GOOD,
                Some('!') => WARN,
                Some('✗') => BAD,
                _ => PLAIN,
            };
            let indent = line.chars().take_while(|c| *c == ' ').count();
            Para::new(line.clone(), style).indented(indent)
        })
        .collect()
}

/// Draws the view.
pub fn draw(view: &PlanView, buffer: &mut Buffer, area: Rect, shared: &Shared) {
    for drawn in &view.drawn {
        drawn.set(Rect::default());
    }
    if let Some((open, scroll)) = &view.open {
        return opened(view, *open, scroll, buffer, area, shared);
    }
    let Some(plan) = &view.plan else {
        view.summary.draw(buffer, area, &no_plan(view, shared));
        return;
    };
    let head = head(view, plan, shared);
    let mut used = 0;
    for line in head.iter().flat_map(|para| para.lines(area.width as usize)).take(if area.height < SMALL.1 {
        1
    } else {
        4
    }) {
        put(buffer, area, used, &line);
        used += 1;
    }
    let area = below(area, used);
    if view.enlarged || area.width < SMALL.0 || area.height + used < SMALL.1 {
        match view.pane {
            Pane::Summary => figures(view, plan, buffer, area),
            Pane::Checks => checks(view, plan, buffer, area),
            Pane::Entries => entries(view, plan, buffer, area),
        }
        return;
    }
    let upper = (area.height / 2).clamp(4, 12);
    let (left, right) = columns(first_rows(area, upper), area.width / 2);
    figures(view, plan, buffer, left);
    checks(view, plan, buffer, right);
    entries(view, plan, buffer, below(area, upper));
}

fn opened(view: &PlanView, open: Open, scroll: &Scroll, buffer: &mut Buffer, area: Rect, shared: &Shared) {
    let (title, paras) = match (open, &view.plan) {
        (Open::Outcome, _) => {
            let lines = outcome(view, shared);
            let done = view.ended.as_ref().map(|e| e.done);
            let title = match done {
                Some(true) => "done: Esc closes",
                Some(false) => "not done: Esc closes",
                None => "a rewind of this target: Esc closes",
            };
            (title.to_owned(), lines_of(&lines))
        }
        (Open::Summary, Some(plan)) => {
            ("the plan: Esc closes".to_owned(), lines_of(&summary(plan, area.width as usize)))
        }
        (Open::Check, _) => {
            let title = format!(
                "check {} of {}: Esc closes, Tab shows the next",
                view.checks.selected() + 1,
                view.check_order.len()
            );
            (title, view.check().map(check_page).unwrap_or_default())
        }
        (Open::Entry, Some(plan)) => {
            let title = format!(
                "entry {} of {}: Esc closes, Tab shows the next",
                view.entries.selected() + 1,
                view.rows.len()
            );
            (title, view.entry().map(|e| entry::page(e, plan.block_size)).unwrap_or_default())
        }
        (Open::Summary | Open::Entry, None) => ("nothing: Esc closes".to_owned(), Vec::new()),
    };
    scroll.draw_titled(buffer, area, (&title, true), &paras);
}

/// Why no plan is shown.
fn no_plan(view: &PlanView, shared: &Shared) -> Vec<Para> {
    if shared.pair.is_none() {
        let text = "This is a stored report: a plan is made from the directories (forkpoint plan), or open a stored plan.";
        return vec![Para::new(text, PLAIN)];
    }
    if view.halfway() {
        return lines_of(&outcome(view, shared));
    }
    if let Some(Err(error)) = &view.standing {
        return vec![
            Para::new("✗ ", BAD)
                .with(format!("Whether the target was rewound cannot be seen: {error}"), PLAIN),
            Para::new("Enter looks again.", PLAIN),
        ];
    }
    match &view.stand {
        Stand::NoPlan(NoPlan::NotNeeded(line, steps)) => {
            // the target may be in the way of itself all the same
            let (sign, style) = shared.picture.as_ref().map_or(('!', WARN), |p| sign(p));
            let mut paras = vec![
                Para::new(format!("{sign} "), style).with("Nothing has to be rewound.", STRONG),
                Para::gap(),
                Para::new(line, PLAIN),
                Para::gap(),
            ];
            if view.standing().is_some_and(|s| s.state == State::Done && s.report.can_undo) {
                let text =
                    "The target was rewound by forkpoint: U puts it back as it was before. It asks first.";
                paras.extend([Para::new("→ ", STRONG).with(text, PLAIN).indented(2), Para::gap()]);
            }
            paras.extend(
                steps
                    .iter()
                    .zip(1..)
                    .map(|(step, n)| Para::new(format!("{n}. "), STRONG).with(step, PLAIN).indented(3)),
            );
            paras
        }
        Stand::NoPlan(NoPlan::Refused(why) | NoPlan::Failed(why)) => {
            let mut paras = vec![
                Para::new("✗ ", BAD).with("There is no plan.", STRONG),
                Para::gap(),
                Para::new(why, PLAIN),
            ];
            let way = if view.wishes.compare {
                "C reads the target's WAL again instead of comparing."
            } else {
                "C compares all relation files instead of reading the target's WAL."
            };
            paras.extend([Para::gap(), Para::new(way, PLAIN)]);
            paras
        }
        Stand::Stopped => vec![Para::new("! Making the plan was stopped; Enter begins anew.", WARN)],
        _ if shared.diagnosis.is_none() => {
            vec![Para::new("The plan is made once the diagnosis is finished.", PLAIN)]
        }
        _ => vec![Para::new("The plan is being made, by reading alone.", PLAIN)],
    }
}

/// Whether it can be carried out, what is lost, what was chosen.
fn head(view: &PlanView, plan: &Plan, shared: &Shared) -> Vec<Para> {
    let mut paras = Vec::new();
    if let Some(standing) = view.standing().filter(|s| s.state != State::None) {
        let text = match standing.state {
            State::Done if standing.report.can_undo => "The target was rewound already; U puts it back.",
            State::Done => "The target was rewound already.",
            State::Undone => "An earlier rewind of the target was undone.",
            _ => "A rewind of the target is half-way.",
        };
        paras.push(Para::new("! ", WARN).with(text, STRONG));
        if !matches!(standing.state, State::Done | State::Undone) {
            // the plan was made of a target that is no more what it was
            let way = "R goes on with it, U puts the target back. Below is the plan as it was made before.";
            paras.push(Para::new("! ", WARN).with(way, PLAIN));
            return paras;
        }
    }
    if let Some(doubt) = shared.doubt() {
        paras.push(Para::new("✗ ", BAD).with(doubt, BAD));
    }
    let refusals = plan.refusals().count() as u64;
    let n = |n| words::counted(n, "committed transaction");
    let lost = match (plan.loss.commits, plan.loss.at_least) {
        (None, _) => "what is lost is not known".to_owned(),
        (Some(0), false) => "no committed transaction is lost".into(),
        (Some(lost), false) => format!("{} lost", n(lost)),
        (Some(lost), true) => format!("at least {} lost", n(lost)),
    };
    let mut para = if refusals > 0 {
        let text =
            format!("This plan is not carried out: {} in the way", words::counted(refusals, "refusal"));
        Para::new("✗ ", BAD).with(text, BAD)
    } else if plan.loss.commits == Some(0) {
        Para::new("✓ ", GOOD).with(format!("The target can be rewound: {lost}"), GOOD)
    } else {
        Para::new("! ", WARN).with(format!("The target can be rewound: {lost}"), WARN)
    };
    let options = &plan.options;
    let mut chosen: Vec<String> = options.keep.iter().map(|p| format!("keep {p}")).collect();
    if options.compare {
        chosen.push("all relation files compared".into());
    }
    if !chosen.is_empty() {
        para = para.with(format!("; chosen: {}", chosen.join(", ")), CODE);
    }
    if shared.pair.is_none() {
        para = para.with(" (a stored plan: forkpoint apply carries it out)", DIM);
    } else if let Some(why) = shared.unable.as_ref().filter(|_| !shared.read_only) {
        paras.push(para);
        para = Para::new("! ", WARN).with(why, PLAIN);
    } else if matches!(view.stand, Stand::Running) {
        para = para.with("; another plan is being made", CODE);
    }
    paras.push(para);
    paras
}

fn figures(view: &PlanView, plan: &Plan, buffer: &mut Buffer, area: Rect) {
    let fact =
        |name: &str, value: String| Para::new(format!("{name:<12}"), DIM).with(value, PLAIN).indented(12);
    let totals = &plan.totals;
    let files =
        |count: Count| format!("{}, {}", words::counted(count.files, "file"), words::bytes(count.bytes));
    let mut paras = Vec::new();
    let by = match plan.route {
        Route::Wal => "the target's WAL",
        Route::Compare => "comparing all relation files",
    };
    let n = totals.blocks.bytes / u64::from(plan.block_size.max(1));
    let within = words::counted(totals.blocks.files, "file");
    let (n, bytes) = (words::count(n), words::bytes(totals.blocks.bytes));
    paras.push(fact("blocks", format!("{n} = {bytes} in {within}, by {by}")));
    for (name, count) in [
        ("tails", totals.tails),
        ("copied", totals.copied),
        ("WAL", totals.wal),
        ("cut", totals.truncated),
        ("removed", totals.removed),
    ] {
        if count.files > 0 {
            paras.push(fact(name, files(count)));
        }
    }
    for (name, count) in [("made", totals.created), ("kept", totals.kept)] {
        if count > 0 {
            paras.push(fact(name, words::count(count)));
        }
    }
    for f in &totals.filesystems {
        let at = f.at.as_path();
        let at = if at.as_os_str().is_empty() { String::new() } else { format!(" at {}", words::path(at)) };
        paras.push(fact(
            "needs free",
            format!("{}, with undo {}{at}", words::bytes(f.needed), words::bytes(f.needed_with_undo)),
        ));
    }
    paras.push(fact("parts at", format!("{} on timeline {}", plan.divergence.lsn, plan.divergence.timeline)));
    let start = &plan.replay_start;
    paras.push(fact("replay from", format!("{}, {}", start.redo, start.why)));
    let end = &plan.min_recovery_point;
    paras.push(fact("consistent", format!("from {} on timeline {}", end.lsn, end.timeline)));
    let label = plan.backup_label.lines().filter(|l| !l.trim().is_empty());
    paras.extend(label.map(|line| Para::new("label       ", DIM).with(line, CODE).indented(12)));
    let body = view.summary.draw_titled(buffer, area, ("summary", view.pane == Pane::Summary), &paras);
    view.drawn[0].set(body);
}

const fn outcome_sign(outcome: Outcome) -> (&'static str, Style) {
    match outcome {
        Outcome::Ok => ("✓ ", GOOD),
        Outcome::Warning => ("! ", WARN),
        Outcome::Refusal => ("✗ ", BAD),
    }
}

fn check_page(check: &Check) -> Vec<Para> {
    let (sign, style) = outcome_sign(check.outcome);
    let word = match check.outcome {
        Outcome::Ok => "in order",
        Outcome::Warning => "worth knowing",
        Outcome::Refusal => "refused",
    };
    let mut paras = vec![Para::new(format!("{sign}{word} "), style).with(&check.code, CODE), Para::gap()];
    if let Some(place) = &check.place {
        paras.push(Para::new(words::path(place.as_path()), CODE));
    }
    paras.push(Para::new(words::mask(&check.what).into_owned(), PLAIN));
    if !check.advice.is_empty() {
        paras.push(Para::gap());
        paras.push(Para::new("What to do", STRONG));
        paras.push(Para::new(words::mask(&check.advice).into_owned(), PLAIN));
    }
    paras
}

fn checks(view: &PlanView, plan: &Plan, buffer: &mut Buffer, area: Rect) {
    let focused = view.pane == Pane::Checks;
    let fine = plan.preflight.iter().filter(|c| c.outcome == Outcome::Ok).count();
    let title = format!("preflight: {fine} of {} in order", plan.preflight.len());
    let body = titled(buffer, area, &title, focused);
    view.drawn[1].set(body);
    let seen = view.checks.window(view.check_order.len(), body.height as usize);
    marks(buffer, area, &seen, view.check_order.len());
    for (row, at) in seen.enumerate() {
        let Some(check) = view.check_order.get(at).and_then(|&at| plan.preflight.get(at)) else { continue };
        let (sign, style) = outcome_sign(check.outcome);
        let line = Line::from(vec![
            Span::styled(sign, style),
            span(fit(&words::mask(&check.what), (body.width as usize).saturating_sub(2)), PLAIN),
        ]);
        put_row(buffer, body, row as u16, &line, at == view.checks.selected(), focused);
    }
}

fn entries(view: &PlanView, plan: &Plan, buffer: &mut Buffer, area: Rect) {
    let focused = view.pane == Pane::Entries;
    let mut title = format!(
        "entry {} of {}, {}",
        words::count((view.entries.selected() + 1).min(view.rows.len()) as u64),
        words::count(view.rows.len() as u64),
        view.listed.1.title()
    );
    let filter = &view.listed.0;
    if !filter.is_empty() {
        title =
            format!("{title}, with {filter:?} (Esc shows all {})", words::count(plan.entries.len() as u64));
    }
    let body = titled(buffer, area, &title, focused);
    view.drawn[2].set(body);
    let width = body.width as usize;
    let seen = view.entries.window(view.rows.len(), body.height as usize);
    marks(buffer, area, &seen, view.rows.len());
    for (row, at) in seen.enumerate() {
        let Some(entry) = view.rows.get(at).and_then(|&at| plan.entries.get(at as usize)) else { continue };
        let bytes = entry::bytes(entry, plan.block_size);
        let shown = if bytes > 0 { words::bytes(bytes) } else { String::new() };
        let blocks = match entry::blocks(entry) {
            0 => String::new(),
            n => words::counted(n, "block"),
        };
        let mut spans =
            vec![span(fit(entry::word(entry), 10), STRONG), span(right(&shown, 10), PLAIN), Span::raw(" ")];
        let mut room = width.saturating_sub(21);
        if width >= 60 {
            spans.push(span(right(&blocks, 11), PLAIN));
            spans.push(Span::raw(" "));
            room = room.saturating_sub(12);
        }
        let why = if width >= 76 { 17 } else { 0 };
        spans.push(span(fit(&path(entry), room.saturating_sub(why)), CODE));
        if why > 0 {
            spans.push(span(format!(" {}", entry.why.text()), DIM));
        }
        put_row(buffer, body, row as u16, &Line::from(spans), at == view.entries.selected(), focused);
    }
}
