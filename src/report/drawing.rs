//! The timelines as a picture of a few lines.

use super::words;
use crate::diagnosis::Diagnosis;
use crate::facts::{Relation, Role, Side};
use crate::pg::{Lsn, TimelineId};

/// Column of the last common checkpoint, of the divergence, and of the ends.
const CHECKPOINT: usize = 7;
const PARTING: usize = 20;
const END: usize = 33;

/// The picture, at most 80 columns wide; empty where too little is known.
pub fn draw(diagnosis: &Diagnosis) -> Vec<String> {
    let facts = &diagnosis.facts;
    let (target, source) = (&facts.target, &facts.source);
    if let Relation::Unrelated(_) = facts.relation {
        return [target, source].map(|side| format!("{}▶ {}", line(2, END), end(side))).into();
    }
    if facts.relation == Relation::SamePosition {
        let at = position(target).map_or_else(|| "the same position".into(), |lsn| lsn.to_string());
        return vec![
            path_of(target, target.lineage.timeline),
            format!("{}■ target and source both end at {at}", line(2, END)),
        ];
    }
    let Some(divergence) = &facts.divergence else { return Vec::new() };
    let parting = divergence.lsn;
    let mut lines = vec![path_of(target, divergence.timeline)];

    let mut top = line(2, PARTING);
    let checkpoint = facts.common_checkpoint.as_ref();
    if checkpoint.is_some() {
        top = replace(&top, CHECKPOINT, '●');
    }
    let goes_on =
        |side: &Side| position(side).is_none_or(|lsn| lsn > parting) && facts.relation != behind(side.role);
    let (target_on, source_on) = (goes_on(target), goes_on(source));
    let bar =
        if checkpoint.is_some() { format!("{:CHECKPOINT$}│", "") } else { " ".repeat(CHECKPOINT + 1) };
    let branch = |tail: String| format!("{bar}{:1$}{tail}", "", PARTING - CHECKPOINT - 1);
    let same_line = |side: &Side| side.lineage.timeline == divergence.timeline;
    match (target_on, source_on) {
        (true, true) => {
            lines.push(format!("{top}┬{}╳ {}", line(PARTING + 1, END), end(target)));
            lines.push(branch("│".into()));
            lines.push(branch(format!("└{}▶ {}", line(PARTING + 1, END), end(source))));
        }
        (false, false) => lines.push(format!("{top}■ both end here")),
        (one, _) => {
            let (on, off) = if one { (target, source) } else { (source, target) };
            if same_line(on) {
                lines.push(format!("{top}┬{}▶ {}", line(PARTING + 1, END), end(on)));
                lines.push(branch(format!("└ {}", ends_here(off))));
            } else {
                lines.push(format!("{top}┬ {}", ends_here(off)));
                lines.push(branch("│".into()));
                lines.push(branch(format!("└{}▶ {}", line(PARTING + 1, END), end(on))));
            }
        }
    }
    let label = if target_on && source_on || !same_line(source) { "divergence" } else { "common up to" };
    lines.push(branch(format!("{label} {parting} on timeline {}", divergence.timeline)));
    if let Some(checkpoint) = checkpoint {
        lines.push(format!(
            "{:CHECKPOINT$}last common checkpoint {}, redo {}",
            "", checkpoint.lsn, checkpoint.redo
        ));
    }
    if let Some(twin) = twin_of(&facts.relation) {
        lines.push(format!("  two branches claim timeline {twin}"));
    }
    lines
}

const fn behind(role: Role) -> Relation {
    match role {
        Role::Target => Relation::TargetBehind,
        Role::Source => Relation::SourceBehind,
    }
}

const fn twin_of(relation: &Relation) -> Option<TimelineId> {
    if let Relation::Twins { timeline } = relation { Some(*timeline) } else { None }
}

fn line(from: usize, to: usize) -> String {
    let indent = if from == 2 { "  " } else { "" };
    format!("{indent}{}", "─".repeat(to.saturating_sub(from)))
}

fn replace(text: &str, column: usize, with: char) -> String {
    text.chars().enumerate().map(|(at, c)| if at == column { with } else { c }).collect()
}

fn position(side: &Side) -> Option<Lsn> {
    side.end.as_ref().map(|end| end.lsn)
}

const fn name(side: &Side) -> &'static str {
    match side.role {
        Role::Target => "target",
        Role::Source => "source",
    }
}

fn end(side: &Side) -> String {
    let at = position(side).map_or_else(|| "end unknown".into(), |lsn| lsn.to_string());
    format!("{} {at}, timeline {}", name(side), side.lineage.timeline)
}

fn ends_here(side: &Side) -> String {
    let at = position(side).map_or_else(String::new, |lsn| format!(" at {lsn}"));
    format!("the {} ends{at}", name(side))
}

/// The timelines up to the common one: `timelines 1 → 2 → 3`.
fn path_of(side: &Side, last: TimelineId) -> String {
    let mut path: Vec<TimelineId> = side.lineage.history.entries.iter().map(|e| e.timeline).collect();
    match path.iter().position(|&t| t == last) {
        Some(at) => path.truncate(at + 1),
        None => path = vec![last],
    }
    let mut names: Vec<String> = path.iter().map(u32::to_string).collect();
    if names.len() > 6 {
        names.splice(1..names.len() - 2, ["…".to_owned()]);
    }
    let word = if names.len() == 1 { "timeline" } else { "timelines" };
    words::clean(&format!("  {word} {}", names.join(" → "))).into_owned()
}
