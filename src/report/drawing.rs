//! The timelines as a picture of a few lines.

use super::{dto, words};
use crate::diagnosis::Diagnosis;
use crate::facts;
use crate::pg::{Lsn, TimelineId};

/// Column of the last common checkpoint, of the divergence, and of the ends.
const CHECKPOINT: usize = 7;
const PARTING: usize = 20;
const END: usize = 33;

/// One side, as far as the picture shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Side {
    name: &'static str,
    /// End of its WAL.
    at: Option<Lsn>,
    timeline: TimelineId,
    /// All its timelines, in order.
    lineage: Vec<TimelineId>,
    /// Everything that it has, the other one has too.
    behind: bool,
}

/// What the picture is drawn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sketch {
    target: Side,
    source: Side,
    unrelated: bool,
    same_position: bool,
    twin: Option<TimelineId>,
    divergence: Option<(Lsn, TimelineId)>,
    /// The last common checkpoint and its redo pointer.
    checkpoint: Option<(Lsn, Lsn)>,
}

impl From<&Diagnosis> for Sketch {
    fn from(diagnosis: &Diagnosis) -> Self {
        use facts::Relation;
        let facts = &diagnosis.facts;
        let side = |side: &facts::Side, name, behind| Side {
            name,
            at: side.end.as_ref().map(|end| end.lsn),
            timeline: side.lineage.timeline,
            lineage: side.lineage.history.entries.iter().map(|e| e.timeline).collect(),
            behind: facts.relation == behind,
        };
        Self {
            target: side(&facts.target, "target", Relation::TargetBehind),
            source: side(&facts.source, "source", Relation::SourceBehind),
            unrelated: matches!(facts.relation, Relation::Unrelated(_)),
            same_position: facts.relation == Relation::SamePosition,
            twin: if let Relation::Twins { timeline } = facts.relation { Some(timeline) } else { None },
            divergence: facts.divergence.as_ref().map(|d| (d.lsn, d.timeline)),
            checkpoint: facts.common_checkpoint.as_ref().map(|c| (c.lsn, c.redo)),
        }
    }
}

impl Sketch {
    /// From the parts of a report that was stored.
    pub fn stored(
        relation: &dto::Relation,
        divergence: Option<&dto::Divergence>,
        checkpoint: Option<&dto::Checkpoint>,
        (target, source): (&dto::Side, &dto::Side),
    ) -> Self {
        use dto::Relation;
        let side = |side: &dto::Side, name, behind| Side {
            name,
            at: side.end_of_wal.as_ref().map(|end| end.lsn),
            timeline: side.timeline,
            lineage: side.lineage.iter().map(|e| e.timeline).collect(),
            behind: *relation == behind,
        };
        Self {
            target: side(target, "target", Relation::TargetBehind),
            source: side(source, "source", Relation::SourceBehind),
            unrelated: matches!(relation, Relation::Unrelated { .. }),
            same_position: *relation == Relation::SamePosition,
            twin: if let Relation::Twins { timeline } = relation { Some(*timeline) } else { None },
            divergence: divergence.map(|d| (d.lsn, d.timeline)),
            checkpoint: checkpoint.map(|c| (c.lsn, c.redo)),
        }
    }

    /// The picture, at most 80 columns wide; empty where too little is known.
    pub fn draw(&self) -> Vec<String> {
        let (target, source) = (&self.target, &self.source);
        if self.unrelated {
            return [target, source].map(|side| format!("{}▶ {}", line(2, END), end(side))).into();
        }
        if self.same_position {
            let at = target.at.map_or_else(|| "the same position".into(), |lsn| lsn.to_string());
            return vec![
                path_of(target, target.timeline),
                format!("{}■ target and source both end at {at}", line(2, END)),
            ];
        }
        let Some((parting, timeline)) = self.divergence else { return Vec::new() };
        let mut lines = vec![path_of(target, timeline)];

        let mut top = line(2, PARTING);
        if self.checkpoint.is_some() {
            top = replace(&top, CHECKPOINT, '●');
        }
        let goes_on = |side: &Side| side.at.is_none_or(|lsn| lsn > parting) && !side.behind;
        let (target_on, source_on) = (goes_on(target), goes_on(source));
        let bar = if self.checkpoint.is_some() {
            format!("{:CHECKPOINT$}│", "")
        } else {
            " ".repeat(CHECKPOINT + 1)
        };
        let branch = |tail: String| format!("{bar}{:1$}{tail}", "", PARTING - CHECKPOINT - 1);
        let same_line = |side: &Side| side.timeline == timeline;
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
        lines.push(branch(format!("{label} {parting} on timeline {timeline}")));
        if let Some((checkpoint, redo)) = self.checkpoint {
            lines.push(format!("{:CHECKPOINT$}last common checkpoint {checkpoint}, redo {redo}", ""));
        }
        if let Some(twin) = self.twin {
            lines.push(format!("  two branches claim timeline {twin}"));
        }
        lines
    }
}

fn line(from: usize, to: usize) -> String {
    let indent = if from == 2 { "  " } else { "" };
    format!("{indent}{}", "─".repeat(to.saturating_sub(from)))
}

fn replace(text: &str, column: usize, with: char) -> String {
    text.chars().enumerate().map(|(at, c)| if at == column { with } else { c }).collect()
}

fn end(side: &Side) -> String {
    let at = side.at.map_or_else(|| "end unknown".into(), |lsn| lsn.to_string());
    format!("{} {at}, timeline {}", side.name, side.timeline)
}

fn ends_here(side: &Side) -> String {
    let at = side.at.map_or_else(String::new, |lsn| format!(" at {lsn}"));
    format!("the {} ends{at}", side.name)
}

/// The timelines up to the common one: `timelines 1 → 2 → 3`.
fn path_of(side: &Side, last: TimelineId) -> String {
    let mut path = side.lineage.clone();
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
