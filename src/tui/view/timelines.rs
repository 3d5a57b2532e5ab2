//! The tree of timelines over both sides and the archives, with histories, and the WAL segments along it.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::explained::{Explained, Subject};
use crate::pg::{Lsn, TimelineId};
use crate::report::dto::{LineageEntry, NeededSegment, Relation, Side};
use crate::tui::frame::path;
use crate::tui::look::{BAD, CODE, DIM, MATCH, PLAIN, STRONG, WARN};
use crate::tui::saved::Picture;
use crate::tui::widget::pane::{span, titled};
use crate::tui::widget::prose::Para;

/// The third view.
pub type Timelines = Explained<Branches>;

/// Timelines, and the WAL along them.
#[derive(Debug)]
pub struct Branches;

/// A timeline at its place in the tree.
#[derive(Debug)]
struct Node {
    timeline: TimelineId,
    begin: Lsn,
    /// Why the one before it ended, from the history file.
    reason: String,
    /// Sides that are on it now, with the end of their WAL.
    ends: Vec<(&'static str, Option<Lsn>)>,
    /// Sides whose history goes through it.
    through: Vec<&'static str>,
    /// History files of this timeline.
    files: Vec<HistoryAt>,
    children: Vec<Node>,
}

#[derive(Debug)]
struct HistoryAt {
    place: String,
    lines: Vec<String>,
}

/// A line, and what is said of it below.
#[derive(Debug)]
pub struct Row {
    line: Vec<Span<'static>>,
    detail: Vec<Para>,
}

impl Row {
    fn text(&self) -> String {
        self.line.iter().map(|s| s.content.as_ref()).collect()
    }
}

/// Goes down the tree along a history, and makes what is missing; gives the last node.
fn along<'a>(
    roots: &'a mut Vec<Node>,
    entries: &[LineageEntry],
    side: Option<&'static str>,
) -> Option<&'a mut Node> {
    let (first, rest) = entries.split_first()?;
    let at = roots.iter().position(|n| n.timeline == first.timeline && n.begin == first.begin);
    let at = at.unwrap_or_else(|| {
        roots.push(Node {
            timeline: first.timeline,
            begin: first.begin,
            reason: String::new(),
            ends: Vec::new(),
            through: Vec::new(),
            files: Vec::new(),
            children: Vec::new(),
        });
        roots.len() - 1
    });
    let node = roots.get_mut(at)?;
    node.through.extend(side.filter(|s| !node.through.contains(s)));
    if rest.is_empty() {
        return Some(node);
    }
    let reason = first.reason.clone();
    let child = along(&mut node.children, rest, side)?;
    if rest.len() == 1 && child.reason.is_empty() {
        child.reason = reason;
    }
    Some(child)
}

fn tree(picture: &Picture) -> Vec<Node> {
    let mut roots = Vec::new();
    for (name, side) in [("target", &picture.target), ("source", &picture.source)] {
        if let Some(node) = along(&mut roots, &side.lineage, Some(name)) {
            node.ends.push((name, side.end_of_wal.as_ref().map(|e| e.lsn)));
        }
    }
    for side in [&picture.target, &picture.source] {
        for file in &side.histories {
            if let Some(node) = along(&mut roots, &file.entries, None) {
                let place = path(&file.path);
                if !node.files.iter().any(|f| f.place == place) {
                    node.files.push(HistoryAt { place, lines: file.lines.clone() });
                }
            }
        }
    }
    roots
}

/// A segment that is needed, once, whatever it is needed for.
fn segments(picture: &Picture) -> Vec<(&NeededSegment, Vec<&'static str>)> {
    let mut out: Vec<(&NeededSegment, Vec<&'static str>)> = Vec::new();
    let needs =
        [(&picture.wal.find_blocks, "to find the blocks"), (&picture.wal.follow, "to follow the source")];
    for (need, why) in needs {
        for segment in need.iter().flat_map(|n| &n.segments) {
            match out.iter_mut().find(|(s, _)| s.name == segment.name) {
                Some((_, whys)) => whys.push(why),
                None => out.push((segment, vec![why])),
            }
        }
    }
    out.sort_by_key(|(s, _)| (s.timeline, s.segno));
    out
}

fn rows(picture: &Picture) -> Vec<Row> {
    let mut rows = Vec::new();
    let segments = segments(picture);
    for root in &tree(picture) {
        branch(root, None, 0, picture, &segments, &mut rows);
    }
    for (name, side) in [("target", &picture.target), ("source", &picture.source)] {
        for timeline in &side.missing_history {
            let text = format!("{timeline:08X}.history is missing for the {name}");
            rows.push(Row {
                line: vec![Span::styled("✗ ", BAD), span(&text, BAD)],
                detail: vec![Para::new(
                    format!("{text}. It lies in pg_wal of a server that went through the promotion, or in the archive; give \
                     the archive with --wal-archive."),
                    PLAIN,
                )],
            });
        }
    }
    rows
}

fn branch(
    node: &Node,
    parent: Option<TimelineId>,
    depth: usize,
    picture: &Picture,
    segments: &[(&NeededSegment, Vec<&'static str>)],
    rows: &mut Vec<Row>,
) {
    let indent = "   ".repeat(depth);
    let lead = if depth == 0 { String::new() } else { format!("{}└▶ ", "   ".repeat(depth - 1)) };
    let mut line = vec![Span::styled(lead, DIM), Span::styled(format!("timeline {}", node.timeline), STRONG)];
    let mut detail = vec![Para::new(format!("Timeline {}", node.timeline), STRONG)];
    if let Some(parent) = parent {
        line.push(span(format!("  from {parent} at {}", node.begin), PLAIN));
        let why = if node.reason.is_empty() { "no reason is given" } else { &node.reason };
        detail.push(Para::new(format!("It left timeline {parent} at {}: {why}.", node.begin), PLAIN));
    }
    if let Relation::Twins { timeline } = picture.relation
        && timeline == node.timeline
    {
        line.push(Span::styled("  ✗ twins", BAD));
        detail.push(Para::new(
            "Both sides claim this timeline with different records: two servers were promoted on their own. Its number is \
             no sign that they have it in common.",
            WARN,
        ));
    }
    for (name, end) in &node.ends {
        let at = end.map_or_else(|| "end not known".into(), |e| e.to_string());
        line.push(span(format!("  {name} ends at {at}"), CODE));
        let side: &Side = if *name == "target" { &picture.target } else { &picture.source };
        let evidence = side.end_of_wal.as_ref().map_or_else(
            || "Where its WAL ends could not be read.".to_owned(),
            |e| {
                format!(
                    "The {name}'s WAL ends at {} ({}): {}.",
                    e.lsn,
                    e.message,
                    e.meaning.trim_end_matches('.')
                )
            },
        );
        detail.push(Para::new(evidence, PLAIN));
    }
    if !node.through.is_empty() {
        detail.push(Para::new(format!("In the history of: {}.", node.through.join(" and ")), PLAIN));
    }
    for file in &node.files {
        detail.push(Para::new("History file ", DIM).with(&file.place, CODE));
        detail.extend(
            file.lines.iter().map(|l| Para::new(format!("  {}", l.replace('\t', "  ")), PLAIN).indented(4)),
        );
    }
    rows.push(Row { line, detail });
    if let Some(c) =
        picture.checkpoint.as_ref().filter(|c| c.timeline == node.timeline && node.through.len() == 2)
    {
        rows.push(Row {
            line: vec![
                Span::styled(format!("{indent}  ● "), CODE),
                span(format!("last common checkpoint {}, redo {}", c.lsn, c.redo), PLAIN),
            ],
            detail: vec![Para::new(
                format!(
                    "The last checkpoint before the divergence on the target, a {} one. The changed blocks are looked for from \
                     here on.",
                    if c.shutdown { "shutdown" } else { "online" }
                ),
                PLAIN,
            )],
        });
    }
    if let Some(d) =
        picture.divergence.as_ref().filter(|d| d.timeline == node.timeline && node.through.len() == 2)
    {
        rows.push(Row {
            line: vec![
                Span::styled(format!("{indent}  ◆ "), WARN),
                span(format!("divergence at {}", d.lsn), WARN),
            ],
            detail: vec![Para::new(
                format!(
                    "Up to {} both sides have the same WAL; shown by: {}.",
                    d.lsn,
                    match d.shown_by.as_ref() {
                        "history" => "a line of a history file",
                        "records" => "the first record that differs",
                        _ => "one side simply ends there",
                    }
                ),
                PLAIN,
            )],
        });
    }
    for (segment, whys) in segments.iter().filter(|(s, _)| s.timeline == node.timeline) {
        let missing = segment.found.is_empty();
        let mut places = Vec::new();
        places.extend(segment.on_target.then_some("target"));
        places.extend(segment.on_source.then_some("source"));
        places.extend((!missing && places.is_empty()).then_some("archive"));
        let (sign, style) = if missing { ("✗", BAD) } else { ("✓", PLAIN) };
        let place = if missing { "MISSING".to_owned() } else { places.join(", ") };
        let mut detail = vec![Para::new(format!("Needed {}.", whys.join(" and ")), PLAIN)];
        detail.extend(segment.found.iter().map(|p| Para::new("- ", DIM).with(path(p), CODE).indented(2)));
        if missing {
            detail.push(Para::new(
                "Found nowhere. Give an archive that has it with --wal-archive or --restore-command.",
                WARN,
            ));
        }
        rows.push(Row {
            line: vec![
                Span::styled(format!("{indent}  {sign} "), style),
                span(&segment.name, if missing { BAD } else { PLAIN }),
                span(format!("  {place}"), if missing { BAD } else { DIM }),
            ],
            detail,
        });
    }
    for child in &node.children {
        branch(child, Some(node.timeline), depth + 1, picture, segments, rows);
    }
}

impl Subject for Branches {
    type Row = Row;

    fn rows(picture: &Picture) -> Vec<Row> {
        rows(picture)
    }

    fn text(row: &Row) -> String {
        row.text()
    }

    fn upper(rows: &[Row], height: u16) -> u16 {
        (rows.len() as u16).saturating_add(1).min(height * 3 / 5)
    }

    fn head(buffer: &mut Buffer, area: Rect) {
        titled(buffer, area, "timelines, and the WAL that is needed along them", true);
    }

    fn line(row: &Row, _: usize, found: bool) -> Line<'static> {
        let mut spans = row.line.clone();
        if found {
            for span in &mut spans {
                span.style = span.style.patch(MATCH);
            }
        }
        Line::from(spans)
    }

    fn title(_: &Row, _: &[Row]) -> String {
        "what is selected".into()
    }

    fn explanation(row: &Row, _: usize) -> Vec<Para> {
        row.detail.clone()
    }
}
