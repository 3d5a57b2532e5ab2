//! A changed row as a line, and as a page with all its columns.

use crate::lost::{Change, Lost, Origin, RowChange, Shape, Value, Version};
use crate::report::words;
use crate::tui::look::{BAD, CODE, DIM, GOOD, PLAIN, STRONG, WARN};
use crate::tui::widget::prose::Para;
use ratatui::style::Style;

/// Characters of a value in a line.
const SHORT: usize = 60;
/// Characters of a line; what is seen is cut to the screen.
const LINE: usize = 500;
/// Characters of a value on the page.
const LONG: usize = 100_000;

/// A row in a list.
#[derive(Debug, Clone)]
pub struct Line {
    /// `+`, `-` or `~`.
    pub sign: &'static str,
    /// The sign's style.
    pub style: Style,
    /// Its table, where rows of several are listed.
    pub table: String,
    /// Columns and values.
    pub text: String,
    /// Before and after were found whole.
    pub whole: bool,
}

/// `+`, `-`, `~`: inserted, deleted, updated.
pub const fn sign(change: Change) -> (&'static str, Style) {
    match change {
        Change::Insert => ("+", GOOD),
        Change::Delete => ("-", BAD),
        Change::Update => ("~", WARN),
    }
}

type Values = Option<Vec<(usize, Value)>>;

fn values(lost: &Lost, row: &RowChange) -> (Values, Values) {
    let of = |version: &Option<Version>| version.as_ref().map(|v| lost.values(&row.shape, v));
    (of(&row.old), of(&row.new))
}

fn name(shape: &Shape, at: usize) -> &str {
    shape.columns.get(at).map_or("?", |column| column.name.as_str())
}

fn is_key(shape: &Shape, at: usize) -> bool {
    shape.columns.get(at).is_some_and(|c| shape.key.contains(&c.number))
}

/// A value, cut to so many characters.
fn shown(value: &Value, most: usize) -> String {
    let cut = |text: &str| match text.char_indices().nth(most) {
        Some((at, _)) => {
            format!(
                "{}… ({} characters)",
                text.get(..at).unwrap_or(text),
                words::count(text.chars().count() as u64)
            )
        }
        None => text.to_owned(),
    };
    match value {
        Value::Null => "NULL".into(),
        Value::Text(text) => format!("'{}'", cut(text)),
        Value::Hex { type_name, hex } => format!("\\x{} (of type {type_name})", cut(hex)),
        Value::Unknown(why) => format!("? ({why})"),
    }
}

impl Line {
    /// Of a row.
    pub fn new(lost: &Lost, row: &RowChange, table: String) -> Self {
        let (old, new) = values(lost, row);
        let (sign, style) = sign(row.change);
        let shape = &row.shape;
        let list = |values: &Values| match values {
            None => "the row was not found".to_owned(),
            Some(values) => {
                let one =
                    |(at, value): &(usize, Value)| format!("{}={}", name(shape, *at), shown(value, SHORT));
                values.iter().map(one).collect::<Vec<_>>().join(", ")
            }
        };
        let text = match (row.change, &old, &new) {
            (Change::Insert, ..) => list(&new),
            (Change::Delete, ..) => list(&old),
            (Change::Update, Some(old), Some(new)) => {
                let mut parts = Vec::new();
                for ((at, before), (_, after)) in old.iter().zip(new) {
                    let name = name(shape, *at);
                    if before != after {
                        parts.push(format!("{name}: {} → {}", shown(before, SHORT), shown(after, SHORT)));
                    } else if is_key(shape, *at) || shape.key.is_empty() {
                        parts.push(format!("{name}={}", shown(after, SHORT)));
                    }
                }
                parts.join(", ")
            }
            (Change::Update, ..) => format!("{} → {}", list(&old), list(&new)),
        };
        let text = text.chars().take(LINE).collect();
        Self { sign, style, table, text, whole: lost.is_whole(row) }
    }

    /// Whether a text occurs in a value of the row; small letters.
    pub fn matches(lost: &Lost, row: &RowChange, wanted: &str) -> bool {
        let (old, new) = values(lost, row);
        old.into_iter().chain(new).flatten().any(|(_, value)| match value {
            Value::Text(text) => text.to_lowercase().contains(wanted),
            Value::Hex { hex, .. } => hex.contains(wanted),
            Value::Null | Value::Unknown(_) => false,
        })
    }
}

/// A row with everything that is known of it.
#[derive(Debug, Clone)]
pub struct Page {
    /// What is drawn.
    pub paras: Vec<Para>,
    /// What is copied.
    pub text: String,
}

impl Page {
    /// Of a row of a transaction.
    pub fn new(lost: &Lost, row: &RowChange, transaction: &str) -> Self {
        let (old, new) = values(lost, row);
        let shape = &row.shape;
        let (sign, style) = sign(row.change);
        let did = match row.change {
            Change::Insert => "inserted",
            Change::Delete => "deleted",
            Change::Update => "updated",
        };
        let table = format!("{}.{}", shape.database_name, shape.qualified());
        let mut paras = vec![
            Para::new(format!("{sign} {did} "), style).with(table, STRONG),
            Para::new(format!("by {transaction}, record at {}", row.lsn), DIM),
            Para::gap(),
        ];
        let mut key = shape.key_names().collect::<Vec<_>>().join(", ");
        if key.is_empty() {
            key = "none: the row is known by all its columns".into();
        }
        let column =
            |at: usize| format!("{}{}", name(shape, at), if is_key(shape, at) { " (key)" } else { "" });
        match (row.change, &old, &new) {
            (Change::Update, Some(old), Some(new)) => {
                for ((at, before), (_, after)) in old.iter().zip(new) {
                    if before == after {
                        paras.push(
                            Para::new(format!("  {} = ", column(*at)), CODE)
                                .with(shown(after, LONG), PLAIN)
                                .indented(4),
                        );
                    } else {
                        paras.push(Para::new(format!("~ {}", column(*at)), WARN));
                        paras.push(
                            Para::new("    before ", DIM).with(shown(before, LONG), PLAIN).indented(11),
                        );
                        paras.push(
                            Para::new("    after  ", DIM).with(shown(after, LONG), STRONG).indented(11),
                        );
                    }
                }
            }
            (change, old, new) => {
                for (what, values, needed) in
                    [("before", old, change != Change::Insert), ("after", new, change != Change::Delete)]
                {
                    match values {
                        Some(values) => {
                            if change == Change::Update {
                                paras.push(Para::new(what, STRONG));
                            }
                            paras.extend(values.iter().map(|(at, value)| {
                                Para::new(format!("  {} = ", column(*at)), CODE)
                                    .with(shown(value, LONG), PLAIN)
                                    .indented(4)
                            }));
                        }
                        None if needed => {
                            paras.push(Para::new(format!("? the row {what} was not found"), WARN));
                        }
                        None => {}
                    }
                }
            }
        }
        paras.push(Para::gap());
        paras.push(Para::new("key: ", DIM).with(key, PLAIN));
        for (what, version) in [("before", &row.old), ("after", &row.new)] {
            if let Some(version) = version {
                paras.push(Para::new(format!("{what}: "), DIM).with(origin(version.from), PLAIN).indented(8));
            }
        }
        paras.push(if lost.is_whole(row) {
            Para::new("✓ complete: every value of before and after was found", GOOD)
        } else {
            Para::new("? not complete: what is marked with ? was not found", WARN)
        });
        let line = |p: &Para| p.spans.iter().map(|s| s.0.as_str()).collect::<String>();
        let text = paras.iter().map(line).collect::<Vec<_>>().join("\n");
        Self { paras, text }
    }
}

/// Where a version comes from, in words.
const fn origin(from: Origin) -> &'static str {
    match from {
        Origin::Record => "as it stands in the WAL record",
        Origin::Page => "from a full-page image in the WAL, with what the WAL changed of the page since",
        Origin::Target => "from the target's heap file",
        Origin::Source => {
            "from the source's heap file, not changed there since the divergence, with what the target's WAL changed"
        }
        Origin::Key => "from the replica identity in the WAL record: key columns only",
    }
}
