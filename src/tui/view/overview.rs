//! The verdict, the branches, the findings, the figures.

use std::cell::Cell;

use crossterm::event::MouseEvent;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Context, Prompt, Shared, View, export};
use crate::report::dto::{Finding, Loss, PathText, Relation};
use crate::report::words;
use crate::source::leftovers::FORKPOINT_STATE;
use crate::tui::action::Action;
use crate::tui::frame::{path, sign};
use crate::tui::jobs::Slot;
use crate::tui::look::{BAD, CODE, DIM, PLAIN, STRONG, WARN};
use crate::tui::saved::Picture;
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{below, fit, marks, pressed, put, put_row, span, titled};
use crate::tui::widget::prose::{Para, Scroll};

/// The first view.
#[derive(Debug, Default)]
pub struct Overview {
    list: List,
    /// The finding that is open, with how far it is scrolled.
    open: Option<Scroll>,
    /// Where the list was drawn.
    drawn: Cell<Rect>,
}

/// A row of the list below the drawing: what to do, then the findings.
enum Row<'a> {
    Finding(&'a Finding),
    Step(usize, &'a str),
    Route(&'a str),
    /// What can be done on this screen.
    Here(&'static str),
    Unseen(&'a crate::report::dto::Unseen),
}

fn rows(picture: &Picture) -> Vec<Row<'_>> {
    let findings = picture.findings.iter().map(Row::Finding);
    let steps = picture.verdict.next_steps.iter().enumerate().map(|(n, s)| Row::Step(n + 1, s));
    let routes = picture.verdict.other_routes.iter().map(|r| Row::Route(r));
    let unseen = picture.unseen.iter().map(Row::Unseen);
    findings.chain(here(picture).map(Row::Here)).chain(steps).chain(routes).chain(unseen).collect()
}

/// The ways that lead on from here without another program.
fn here(picture: &Picture) -> impl Iterator<Item = &'static str> {
    let state = |name: &PathText| matches!(name, PathText::Text(name) if name == FORKPOINT_STATE);
    let way = if matches!(picture.relation, Relation::Twins { .. }) {
        Some(
            "7 (Plan) is a way: forkpoint's own rewind goes by where the records part, not by timeline numbers, with a preview \
             and a way back.",
        )
    } else if picture.verdict.action == "rewind" {
        Some("7 (Plan) is a way: forkpoint's own rewind, with a preview and a way back.")
    } else {
        None
    };
    let back = picture.target.leftovers.others.iter().any(state).then_some(
        "7 (Plan), then U puts the target back as it was before forkpoint rewound it, as long as no server was started on it.",
    );
    way.into_iter().chain(back)
}

fn severity(severity: &str) -> (&'static str, Style) {
    match severity {
        "error" => ("✗", BAD),
        "warning" => ("!", WARN),
        _ => ("·", PLAIN),
    }
}

impl Row<'_> {
    fn line(&self, width: usize) -> Line<'static> {
        match self {
            Self::Finding(f) => {
                let (sign, style) = severity(&f.severity);
                Line::from(vec![
                    Span::styled(format!("{sign} "), style),
                    span(fit(&f.code, 5), CODE),
                    Span::styled(fit(&f.title, width.saturating_sub(7)), PLAIN),
                ])
            }
            Self::Step(n, text) => Line::from(vec![
                Span::styled(format!("{n}. "), STRONG),
                Span::styled(fit(first_line(text), width.saturating_sub(3)), PLAIN),
            ]),
            Self::Here(text) => Line::from(vec![
                Span::styled("→ ", STRONG),
                Span::styled(fit(text, width.saturating_sub(2)), PLAIN),
            ]),
            Self::Route(text) => {
                let text = Span::styled(fit(first_line(text), width.saturating_sub(3)), PLAIN);
                Line::from(vec![Span::styled("or ", DIM), text])
            }
            Self::Unseen(unseen) => Line::from(vec![
                Span::styled("? ", WARN),
                Span::styled(fit(&format!("not seen: {}", unseen.what), width.saturating_sub(2)), PLAIN),
            ]),
        }
    }

    fn paras(&self) -> Vec<Para> {
        match self {
            Self::Finding(f) => finding(f),
            Self::Step(n, text) => {
                vec![Para::new(format!("Step {n}"), STRONG), Para::gap(), Para::new(*text, PLAIN)]
            }
            Self::Here(text) => {
                vec![Para::new("On this screen", STRONG), Para::gap(), Para::new(*text, PLAIN)]
            }
            Self::Route(text) => {
                vec![
                    Para::new("What remains if that way is closed", STRONG),
                    Para::gap(),
                    Para::new(*text, PLAIN),
                ]
            }
            Self::Unseen(unseen) => {
                let mut paras = vec![Para::new("What could not be seen", STRONG), Para::gap()];
                paras.push(Para::new(&unseen.what, PLAIN));
                paras.push(Para::new(&unseen.consequence, PLAIN));
                paras.extend(unseen.path.as_ref().map(|p| Para::new(path(p), CODE)));
                paras
            }
        }
    }

    fn text(&self) -> String {
        let paras = self.paras();
        let lines = paras.iter().map(|p| p.spans.iter().map(|s| s.0.as_str()).collect::<String>());
        lines.collect::<Vec<_>>().join("\n")
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// A finding with its evidence, the server's words, and the remedy.
fn finding(f: &Finding) -> Vec<Para> {
    let (sign, style) = severity(&f.severity);
    let mut paras = vec![
        Para::new(format!("{sign} {} ", f.severity), style)
            .with(f.code.to_string(), CODE)
            .with(format!("  {}", f.title), STRONG),
        Para::gap(),
        Para::new(&f.explanation, PLAIN),
    ];
    let mut part = |title: &str| {
        paras.push(Para::gap());
        paras.push(Para::new(title, STRONG));
    };
    if !f.evidence.is_empty() {
        part("Evidence");
    }
    for e in &f.evidence {
        let mut places = Vec::new();
        places.extend(e.path.as_ref().map(path));
        places.extend(e.offset.map(|o| format!("offset {o}")));
        places.extend(e.lsn.map(|l| l.to_string()));
        places.extend(e.timeline.map(|t| format!("timeline {t}")));
        let mut para = Para::new("- ", DIM).with(&e.value, PLAIN).indented(2);
        if !places.is_empty() {
            para = para.with(format!("  ({})", places.join(", ")), CODE);
        }
        paras.push(para);
    }
    if !f.server_log.is_empty() {
        paras.push(Para::gap());
        paras.push(Para::new("What PostgreSQL or pg_rewind logs because of it", STRONG));
        paras.extend(f.server_log.iter().map(|l| Para::new(l, CODE).indented(2)));
    }
    paras.push(Para::gap());
    paras.push(Para::new("What to do", STRONG));
    paras.push(Para::new(&f.remedy, PLAIN));
    paras
}

/// The figures in a few words each.
fn figures(picture: &Picture) -> Vec<(&'static str, String)> {
    let lost = match (&picture.loss, picture.verdict.lost_commits) {
        (Some(Loss::AtLeast { commits }), _) => format!("at least {}", words::count(*commits)),
        (_, Some(n)) => words::count(n),
        (_, None) => "not known".into(),
    };
    let count =
        |pick: fn(&crate::tui::saved::Relation) -> u64| picture.relations.iter().map(pick).sum::<u64>();
    let after = count(|r| r.target.after.len());
    let touched = picture.relations.iter().filter(|r| !r.target.after.is_empty()).count();
    let changed = picture.relations.iter().map(|r| r.target.changed(u32::MAX)).sum::<u64>();
    let mut out = vec![("commits lost", lost)];
    if picture.records.0.is_some() {
        let blocks = words::count(after);
        out.push(("blocks changed", format!("{blocks} in {touched} relation forks after the divergence")));
        out.push((
            "blocks to copy",
            match picture.to_copy {
                Some(n) => {
                    format!(
                        "{} = {} by the target's WAL; the rest: view 7",
                        words::count(n),
                        words::block_bytes(n)
                    )
                }
                None => {
                    format!("at most {}: a stored report lacks the files' lengths", words::count(changed))
                }
            },
        ));
    }
    if let Some(follow) = &picture.wal.follow {
        let holes = follow.holes.len();
        let here = follow.segments.iter().filter(|s| s.on_target).count();
        let there = follow.segments.iter().filter(|s| s.on_source).count();
        let total = follow.segments.len();
        let missing = if holes == 0 { "none missing".into() } else { format!("{holes} MISSING") };
        out.push((
            "WAL needed to follow",
            format!(
                "{} to {}: {}, {there} on the source, {here} on the target, {missing}",
                follow.from,
                follow.to,
                words::counted(total as u64, "segment")
            ),
        ));
    }
    out
}

impl View for Overview {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        let Some(picture) = context.shared.picture.clone() else { return };
        let rows = rows(&picture);
        if let Some(scroll) = &mut self.open {
            if scroll.moved(action) {
                return;
            }
            match action {
                Action::Back | Action::Left => self.open = None,
                Action::NextPane => {
                    self.list.moved(Action::Down, rows.len());
                    scroll.reset();
                }
                Action::PreviousPane => {
                    self.list.moved(Action::Up, rows.len());
                    scroll.reset();
                }
                _ => {}
            }
        } else if !self.list.moved(action, rows.len())
            && matches!(action, Action::Enter | Action::Right)
            && !rows.is_empty()
        {
            self.open = Some(Scroll::default());
        }
        if action == Action::Copy
            && let Some(row) = rows.get(self.list.selected())
        {
            context.copy(row.text());
        }
    }

    fn exports(&self) -> Option<&'static str> {
        Some("the report as JSON")
    }

    fn prompt(&self, prompt: Prompt, shared: &Shared) -> String {
        match prompt {
            Prompt::Export => export::unused(&shared.folder, "forkpoint-report", &["json"]),
            _ => String::new(),
        }
    }

    fn entered(&mut self, prompt: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        let (Prompt::Export, Some(diagnosis)) = (prompt, context.shared.diagnosis.clone()) else {
            return Ok(());
        };
        let path = export::new_file(text, context.shared)?;
        context.run(Slot::Export, "writing the report", move |worker| {
            let report = crate::report::dto::Report::from(&*diagnosis);
            let told = export::write(&path, |out| crate::report::json::write(&report, out));
            worker.answer(told.unwrap_or_else(|why| why));
        });
        Ok(())
    }

    fn refuses(&self, action: Action, shared: &Shared) -> Option<String> {
        match action {
            Action::Export if shared.diagnosis.is_none() => Some(
                if shared.pair.is_some() { "the diagnosis is not finished" } else { "it is a file already" }
                    .into(),
            ),
            Action::Back if self.open.is_none() => Some("nothing is open; q quits".into()),
            _ => None,
        }
    }

    fn mouse(&mut self, event: MouseEvent, _area: Rect, context: &mut Context<'_>) {
        let (Some(picture), None) = (&context.shared.picture, &self.open) else { return };
        let Some(((), line)) = pressed(event, [()], std::slice::from_ref(&self.drawn)) else { return };
        if self.list.clicked(line, rows(picture).len()) == Some(true) {
            self.open = Some(Scroll::default());
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        let Some(picture) = &shared.picture else {
            let text = shared.without_picture();
            Scroll::default().draw(buffer, area, &[Para::new(text, PLAIN)]);
            return;
        };
        let rows = rows(picture);
        if let (Some(scroll), Some(row)) = (&self.open, rows.get(self.list.selected())) {
            let title =
                format!("{} of {}: Esc closes, Tab shows the next", self.list.selected() + 1, rows.len());
            scroll.draw_titled(buffer, area, (&title, true), &row.paras());
            return;
        }
        let (sign, style) = sign(picture);
        let verdict = Para::new(format!("{sign} "), style).with(&picture.verdict.line, style).indented(2);
        let mut line = 0;
        for text in verdict.lines(area.width as usize) {
            put(buffer, area, line, &text);
            line += 1;
        }
        for drawn in &picture.drawing {
            put(buffer, area, line, &Line::from(span(drawn, PLAIN)));
            line += 1;
        }
        for (name, value) in figures(picture) {
            let text = Para::new(format!("{name:<22}"), DIM).with(value, PLAIN).indented(22);
            for text in text.lines(area.width as usize) {
                put(buffer, area, line, &text);
                line += 1;
            }
        }
        // the list keeps a few lines however small the screen is
        let line = line.min(area.height.saturating_sub(5));
        let rest = below(area, line);
        for y in rest.y..rest.bottom() {
            for x in rest.x..rest.right() {
                if let Some(cell) = buffer.cell_mut((x, y)) {
                    cell.reset();
                }
            }
        }
        let findings = words::counted(picture.findings.len() as u64, "finding");
        let seen = self.list.window(rows.len(), rest.height.saturating_sub(1) as usize);
        let title = format!("{findings}, {} in the way; then what to do", picture.verdict.blocked_by.len());
        let list = titled(buffer, rest, &title, true);
        marks(buffer, rest, &seen, rows.len());
        self.drawn.set(list);
        for (row, index) in seen.enumerate() {
            if let Some(item) = rows.get(index) {
                let line = item.line(list.width as usize);
                put_row(buffer, list, row as u16, &line, index == self.list.selected(), true);
            }
        }
    }
}
