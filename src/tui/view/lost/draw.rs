//! Drawing: transactions, what the selected one did, its rows.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::{Item, LostView, Pane, Stand};
use crate::report::words;
use crate::tui::look::{BAD, CODE, DIM, GOOD, PLAIN, STRONG, WARN};
use crate::tui::view::Shared;
use crate::tui::widget::pane::{below, columns, first_rows, fit, marks, put, put_row, right, span, titled};
use crate::tui::widget::prose::{Para, Scroll};

/// Below these, only the pane that has the keys is shown.
const SMALL: (u16, u16) = (60, 12);

/// Draws the view.
pub fn draw(view: &LostView, buffer: &mut Buffer, area: Rect, shared: &Shared) {
    for drawn in &view.drawn {
        drawn.set(Rect::default());
    }
    if shared.picture.is_none() {
        let text = if shared.plan.is_some() {
            "This is a stored plan: 7 shows it. Which rows are lost needs the directories, or a report."
        } else {
            "Which transactions a rewind discards is known once the diagnosis is finished."
        };
        Scroll::default().draw(buffer, area, &[Para::new(text, PLAIN)]);
        return;
    }
    if let Some((page, scroll)) = &view.open {
        let title = match view.rows_len() {
            0 => "Esc closes".to_owned(),
            len => format!("row {} of {len}: Esc closes, Tab shows the next", view.rows.selected() + 1),
        };
        scroll.draw_titled(buffer, area, (&title, true), &page.paras);
        return;
    }
    let head = head(view, shared);
    let lines = head.lines(area.width as usize);
    let lines = lines.iter().take(if area.height < SMALL.1 { 1 } else { 3 });
    let mut used = 0;
    for line in lines {
        put(buffer, area, used, line);
        used += 1;
    }
    let area = below(area, used);
    if view.enlarged || area.width < SMALL.0 || area.height + used < SMALL.1 {
        match view.pane {
            Pane::Transactions => transactions(view, buffer, area),
            Pane::Parts => parts(view, buffer, area),
            Pane::Rows => rows(view, buffer, area, shared),
        }
        return;
    }
    let wanted = view.first_len().max(view.items.len()) as u16 + 1;
    let upper = wanted.clamp(4, (area.height / 2).max(4));
    let top = first_rows(area, upper);
    let (left, right) = columns(top, (area.width * 11 / 20).max(43));
    transactions(view, buffer, left);
    parts(view, buffer, right);
    rows(view, buffer, below(area, upper), shared);
}

/// What is lost in sum, or why it is not known.
fn head(view: &LostView, shared: &Shared) -> Para {
    let mut para = Para::default();
    if shared.pair.is_none() {
        let stored = shared.picture.as_ref().and_then(|p| p.lost_rows.as_ref());
        para = para.with("A stored report: its rows need the directories (forkpoint lost). ", DIM);
        if let Some(sum) = stored.and_then(stored_sum) {
            para = para.with(sum, STRONG);
        }
        return para;
    }
    let divergence = shared.picture.as_ref().and_then(|p| p.divergence.as_ref());
    match &view.stand {
        Stand::Failed(error) => para
            .with("✗ ", BAD)
            .with(format!("the rows could not be collected: {error} (Enter tries again)"), PLAIN),
        Stand::Stopped => {
            para.with("! ", WARN).with("collecting the rows was stopped; Enter begins anew", PLAIN)
        }
        Stand::NotBegun | Stand::Running => {
            let n = words::counted(view.listed.len() as u64, "transaction");
            para.with(format!("{n}; their rows are being collected from the target's WAL"), PLAIN)
        }
        Stand::Known(found) => {
            let lost = &found.lost;
            if lost.transactions.is_empty() && lost.divergence.is_none() {
                return if lost.unseen.is_empty() {
                    para.with("✓ ", GOOD)
                        .with("Nothing is discarded: the target wrote nothing of its own.", PLAIN)
                } else {
                    para.with("? ", WARN).with("What a rewind discards is not known:", PLAIN)
                };
            }
            let committed = lost.transactions.iter().filter(|x| x.ending.loses_rows()).count() as u64;
            let least = if lost.cut_short { "at least " } else { "" };
            let after = divergence.map(|d| format!(" committed after {}", d.lsn)).unwrap_or_default();
            let sum = found.sum();
            let n = words::count;
            let text = format!(
                "A rewind discards {least}{}{after}; rows: +{} inserted, ~{} updated, -{} deleted",
                words::counted(committed, "transaction"),
                n(sum.inserted),
                n(sum.updated),
                n(sum.deleted)
            );
            para = para.with(text, STRONG);
            if sum.incomplete > 0 {
                para = para.with(format!("; ? {} not found whole", n(sum.incomplete)), WARN);
            }
            for (word, said) in
                [("prepared", "left prepared"), ("decision", "decided after it, prepared before")]
            {
                let n = lost.transactions.iter().filter(|x| x.ending.word().starts_with(word)).count();
                if n > 0 {
                    para = para.with(format!("; {n} {said}"), WARN);
                }
            }
            if !view.filter.is_empty() {
                let listed = view.among.as_ref().map_or(0, Vec::len) as u64;
                para = para.with(
                    format!("; shown: {} with {:?} in a table's name (Esc)", n(listed), view.filter),
                    CODE,
                );
            }
            para
        }
    }
}

/// The sum of lost rows in a stored report.
fn stored_sum(value: &serde_json::Value) -> Option<String> {
    let tables = value.get("tables")?.as_array()?;
    let sum = |what: &str| tables.iter().filter_map(|t| t.get(what)?.as_u64()).sum::<u64>();
    let unseen = value.get("unseen").and_then(|u| u.as_array()).map_or(0, Vec::len) as u64;
    let n = words::count;
    let incomplete = match sum("incomplete") {
        0 => String::new(),
        found => format!(" {} not found whole.", n(found)),
    };
    let unseen = match unseen {
        0 => String::new(),
        _ => format!(" {} not seen.", words::counted(unseen, "thing")),
    };
    Some(format!(
        "Rows lost: +{} inserted, ~{} updated, -{} deleted in {}.{incomplete}{unseen}",
        n(sum("inserted")),
        n(sum("updated")),
        n(sum("deleted")),
        words::counted(tables.len() as u64, "table")
    ))
}

fn transactions(view: &LostView, buffer: &mut Buffer, area: Rect) {
    let focused = view.pane == Pane::Transactions;
    let len = view.first_len();
    let count = len - view.notes.len();
    let at = (view.xacts.selected() + 1).saturating_sub(view.notes.len());
    let title = match count {
        0 => "no transaction".to_owned(),
        _ if at == 0 => words::counted(count as u64, "transaction"),
        _ => format!("transaction {} of {}", words::count(at as u64), words::count(count as u64)),
    };
    let body = titled(buffer, area, &title, focused);
    view.drawn[0].set(body);
    let width = body.width as usize;
    let seen = view.xacts.window(len, body.height as usize);
    marks(buffer, area, &seen, len);
    for (row, line) in seen.enumerate() {
        let text = if let Some(note) = view.notes.get(line) {
            let style = if note.sign == "?" { WARN } else { PLAIN };
            Line::from(vec![
                Span::styled(format!("{} ", note.sign), style),
                span(fit(&note.line, width - 2), PLAIN),
            ])
        } else {
            let Some(one) = view.place(line).and_then(|at| view.listed.get(at)) else { continue };
            let mark = if view.marks.contains(&one.xid) { "●" } else { " " };
            let rows = one.rows.map(|n| words::counted(n, "row")).unwrap_or_default();
            // the date is the same for most, and the seconds are what tells them apart
            let time = one.time.trim_end_matches(" UTC");
            let mut spans = vec![
                Span::styled(mark, WARN),
                span(right(&one.xid.to_string(), 10), CODE),
                Span::raw(" "),
                span(fit(time, 19), PLAIN),
                Span::raw(" "),
            ];
            let rest = width.saturating_sub(32);
            let word = one.ended.word();
            if rest > 26 {
                spans.push(span(fit(&rows, 12), PLAIN));
                spans.push(span(fit(word, 10), WARN));
                spans.push(span(one.lsn.to_string(), DIM));
            } else if word.is_empty() {
                spans.push(span(rows, PLAIN));
            } else {
                spans.push(span(word, WARN));
            }
            Line::from(spans)
        };
        put_row(buffer, body, row as u16, &text, line == view.xacts.selected(), focused);
    }
}

fn parts(view: &LostView, buffer: &mut Buffer, area: Rect) {
    let focused = view.pane == Pane::Parts;
    let title = match view.one() {
        Some(one) if view.found().is_some() => format!("what {} did", one.xid),
        Some(one) => format!("what {} touched", one.xid),
        None => "what it did".into(),
    };
    let body = titled(buffer, area, &title, focused);
    view.drawn[1].set(body);
    let width = body.width as usize;
    let seen = view.parts.window(view.items.len(), body.height as usize);
    marks(buffer, area, &seen, view.items.len());
    for (row, at) in seen.enumerate() {
        let Some(item) = view.items.get(at) else { continue };
        let line = match item {
            Item::All(rows) => {
                Line::from(span(format!("all tables: {}", words::counted(*rows, "row")), PLAIN))
            }
            Item::Table(part) => table(view, *part, width),
            Item::Relation(name) => Line::from(span(name, PLAIN)),
            Item::Event(text) => Line::from(vec![Span::styled("◆ ", CODE), span(text, PLAIN)]),
            Item::Note(text) => Line::from(vec![Span::styled("! ", WARN), span(text, PLAIN)]),
        };
        put_row(buffer, body, row as u16, &line, at == view.parts.selected(), focused);
    }
}

fn table(view: &LostView, part: usize, width: usize) -> Line<'static> {
    let (Some(found), Some(xact)) = (view.found(), view.xact()) else { return Line::default() };
    let Some(of) = found.parts(xact).get(part) else { return Line::default() };
    let numbers: Vec<String> =
        [("+", of.counts.inserted), ("~", of.counts.updated), ("-", of.counts.deleted)]
            .into_iter()
            .filter(|(_, n)| *n > 0)
            .map(|(sign, n)| format!(" {sign}{}", words::count(n)))
            .collect();
    let numbers = numbers.concat();
    let unknown = if of.counts.incomplete > 0 {
        format!(" ?{}", words::count(of.counts.incomplete))
    } else {
        String::new()
    };
    let name = found.table_name(of.table);
    let room = width.saturating_sub(numbers.len() + unknown.len());
    Line::from(vec![
        span(fit(&name, room), PLAIN),
        Span::styled(numbers, STRONG),
        Span::styled(unknown, WARN),
    ])
}

fn rows(view: &LostView, buffer: &mut Buffer, area: Rect, shared: &Shared) {
    let focused = view.pane == Pane::Rows;
    let len = view.rows_len();
    let text = |title: &str, paras: &[Para], buffer: &mut Buffer| {
        Scroll::default().draw_titled(buffer, area, (title, focused), paras);
    };
    if let Some((title, lines)) = view.told() {
        let paras: Vec<_> = lines.iter().map(|t| Para::new(t, PLAIN)).collect();
        return text(title, &paras, buffer);
    }
    if view.found().is_none() {
        let sentence = match &view.stand {
            _ if shared.pair.is_none() => "Rows need the directories: forkpoint TARGET SOURCE",
            Stand::Failed(_) | Stand::Stopped => "The rows were not collected.",
            _ if shared.diagnosis.is_none() => "The diagnosis comes first.",
            _ => "The rows come once the target's WAL was read twice.",
        };
        return text("rows", &[Para::new(sentence, DIM)], buffer);
    }
    let Some((of, count)) = view.of() else {
        return text("rows", &[], buffer);
    };
    let name = of.part.map_or_else(|| "all tables".to_owned(), |part| view.part_name(part));
    let title =
        format!("{name}: row {} of {}", words::count(view.rows.selected() as u64 + 1), words::count(count));
    let body = titled(buffer, area, &title, focused);
    view.drawn[2].set(body);
    let stretch = view.stretch.as_ref().filter(|s| s.of == of);
    let seen = view.rows.window(len, body.height as usize);
    marks(buffer, area, &seen, len);
    for (row, at) in seen.enumerate() {
        let line = stretch.and_then(|s| s.lines.get((at as u64).checked_sub(s.first)? as usize)).map_or_else(
            || Line::from(Span::styled("…", DIM)),
            |line| {
                let mut spans = vec![Span::styled(format!("{} ", line.sign), line.style)];
                if !line.table.is_empty() {
                    spans.push(span(format!("{}  ", line.table), DIM));
                }
                if !line.whole {
                    spans.push(Span::styled("? ", WARN));
                }
                spans.push(span(fit(&line.text, body.width as usize), PLAIN));
                Line::from(spans)
            },
        );
        put_row(buffer, body, row as u16, &line, at == view.rows.selected(), focused);
    }
}
