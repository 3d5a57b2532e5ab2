//! The listing for reading.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::super::words;
use super::{Summary, jsonl};
use crate::lost::{Change, Counts, Ending, Entry, Event, Lost, LostXact, RowChange, Shape, Value, Version};

/// Characters of a value that are shown unless all is wanted.
const SHORT: usize = 80;

/// Writes the listing; with `all`, values whole and unchanged columns too.
///
/// # Errors
/// As the writer's, or rows cannot be read from the temporary file.
pub fn write(
    lost: &Lost,
    counts: &BTreeMap<(String, String), Counts>,
    all: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let summary = Summary::new(lost, counts);
    head(lost, &summary, out)?;
    let databases: BTreeSet<&str> = summary.tables.iter().map(|t| t.database.as_str()).collect();
    let listing = Listing { lost, all, with_database: databases.len() > 1 };
    for xact in &lost.transactions {
        writeln!(out)?;
        listing.transaction(xact, out)?;
    }
    if !lost.sequences.is_empty() {
        writeln!(out, "\nSequences that moved (up to 32 values further than what was given out)")?;
        for one in &lost.sequences {
            let name =
                if one.schema.is_empty() { one.name.clone() } else { format!("{}.{}", one.schema, one.name) };
            let called = if one.is_called { "" } else { ", not called" };
            writeln!(
                out,
                "  {} to {}{called}",
                words::clean(&format!("{}.{name}", one.database)),
                one.last_value
            )?;
        }
    }
    Ok(())
}

fn head(lost: &Lost, summary: &Summary, out: &mut dyn Write) -> io::Result<()> {
    let Some((divergence, timeline)) = lost.divergence else {
        for sentence in &summary.unseen {
            writeln!(out, "Not known: {}.", words::clean(sentence))?;
        }
        if summary.unseen.is_empty() {
            writeln!(out, "Nothing would be discarded: the target wrote nothing of its own.")?;
        }
        return Ok(());
    };
    let transactions = words::counted(summary.transactions, "transaction");
    let least = if lost.cut_short { "at least " } else { "" };
    let chosen = if lost.chosen { "Of what was chosen, a rewind" } else { "A rewind" };
    writeln!(
        out,
        "{chosen} discards {least}{transactions} committed after {divergence} on timeline {timeline}."
    )?;
    if summary.prepared > 0 {
        writeln!(out, "Left prepared: {}.", words::counted(summary.prepared, "transaction"))?;
    }
    if summary.decisions > 0 {
        writeln!(
            out,
            "Prepared before the divergence and decided after it: {}. The source has them prepared still; only the \
             decision is lost.",
            words::counted(summary.decisions, "transaction")
        )?;
    }
    if let Some((from, to)) = lost.read {
        writeln!(out, "WAL was read from {from} to {to}.")?;
    }
    if !summary.tables.is_empty() {
        let names: Vec<String> = summary
            .tables
            .iter()
            .map(|t| words::clean(&format!("{}.{}", t.database, t.table)).into_owned())
            .collect();
        let width = names.iter().map(|n| n.chars().count()).max().unwrap_or(0).max(5);
        writeln!(
            out,
            "\n  {:width$}  {:>10}  {:>10}  {:>10}  {:>10}",
            "table", "inserted", "updated", "deleted", "incomplete"
        )?;
        for (name, t) in names.iter().zip(&summary.tables) {
            let n = words::count;
            writeln!(
                out,
                "  {name:width$}  {:>10}  {:>10}  {:>10}  {:>10}",
                n(t.inserted),
                n(t.updated),
                n(t.deleted),
                n(t.incomplete)
            )?;
        }
    }
    for sentence in &summary.unseen {
        writeln!(out, "\nNot seen: {}.", words::clean(sentence))?;
    }
    Ok(())
}

struct Listing<'a> {
    lost: &'a Lost,
    all: bool,
    with_database: bool,
}

impl Listing<'_> {
    fn transaction(&self, xact: &LostXact, out: &mut dyn Write) -> io::Result<()> {
        let when = xact.time.map(words::time).unwrap_or_default();
        let did = match &xact.ending {
            Ending::Committed => format!("committed {when}"),
            Ending::CommittedPrepared(gid) => format!("prepared as '{gid}' and committed {when}"),
            Ending::DecisionCommit(gid) => format!(
                "prepared{} before the divergence, committed {when}: the source has it prepared; only the decision is lost",
                named(gid)
            ),
            Ending::DecisionRollback(gid) => format!(
                "prepared{} before the divergence, rolled back {when}: the source has it prepared; only the decision is lost",
                named(gid)
            ),
            Ending::Prepared(gid) => format!("prepared as '{gid}' {when} and left so"),
        };
        writeln!(out, "Transaction {}, {}, record at {}", xact.xid, words::clean(&did), xact.lsn)?;
        if let Some(origin) = xact.origin {
            let at = xact.origin_lsn.map(|lsn| format!(" at {lsn}")).unwrap_or_default();
            let name = match xact.origin_names.as_slice() {
                [] => String::new(),
                names => format!(" '{}'", names.join("' or '")),
            };
            writeln!(out, "  {}", words::clean(&format!("from replication origin {origin}{name}{at}")))?;
        }
        if xact.begins_earlier
            && !matches!(xact.ending, Ending::DecisionCommit(_) | Ending::DecisionRollback(_))
        {
            writeln!(out, "  it may have written before the WAL at hand; what it wrote there is not listed")?;
        }
        let mut table: Option<String> = None;
        let (mut anything, mut told) = (false, false);
        self.lost.each(xact.xid, |entry| {
            match entry {
                // the words before say it better
                Entry::Event(_, Event::Catalog { .. }) if told && !self.all => return Ok(()),
                _ => anything = true,
            }
            match entry {
                Entry::Event(_, event) => {
                    told |= matches!(event, Event::Ddl { .. });
                    table = None;
                    writeln!(out, "  {}", words::clean(&event_text(&event)))
                }
                Entry::Row(row) => {
                    let name = self.table_name(&row.shape);
                    if table.as_ref() != Some(&name) {
                        writeln!(out, "  {}", words::clean(&name))?;
                        table = Some(name);
                    }
                    writeln!(out, "    {}", words::clean(&self.row(&row)))
                }
            }
        })?;
        if !anything && xact.ending.loses_rows() {
            writeln!(out, "  no rows")?;
        }
        Ok(())
    }

    fn table_name(&self, shape: &Shape) -> String {
        if self.with_database {
            format!("{}.{}", shape.database_name, shape.qualified())
        } else {
            shape.qualified()
        }
    }

    fn row(&self, row: &RowChange) -> String {
        let values =
            |version: &Option<Version>| version.as_ref().map(|version| self.lost.values(&row.shape, version));
        let (old, new) = (values(&row.old), values(&row.new));
        let from =
            |version: &Option<Version>| version.as_ref().map_or("not found", |v| jsonl::origin(v.from));
        let (body, from) = match row.change {
            Change::Insert => (self.list(&row.shape, new.as_deref()), from(&row.new).to_owned()),
            Change::Delete => (self.list(&row.shape, old.as_deref()), from(&row.old).to_owned()),
            Change::Update => (
                self.update(&row.shape, old.as_deref(), new.as_deref()),
                format!("{} -> {}", from(&row.old), from(&row.new)),
            ),
        };
        let whole = if self.lost.is_whole(row) { "" } else { "; not complete" };
        format!("{:6}  {body}  [{from}{whole}]", jsonl::change(row.change))
    }

    fn list(&self, shape: &Shape, values: Option<&[(usize, Value)]>) -> String {
        let Some(values) = values else { return "the row was not found".into() };
        let list: Vec<String> = values
            .iter()
            .map(|(at, value)| format!("{}={}", column(shape, *at), self.shown(value)))
            .collect();
        list.join(", ")
    }

    fn update(
        &self,
        shape: &Shape,
        old: Option<&[(usize, Value)]>,
        new: Option<&[(usize, Value)]>,
    ) -> String {
        let (Some(old), Some(new)) = (old, new) else {
            return format!("{} -> {}", self.list(shape, old), self.list(shape, new));
        };
        let mut parts = Vec::new();
        for ((at, before), (_, after)) in old.iter().zip(new) {
            let name = column(shape, *at);
            let is_key = shape.columns.get(*at).is_some_and(|c| shape.key.contains(&c.number));
            if before != after {
                parts.push(format!("{name}: {} -> {}", self.shown(before), self.shown(after)));
            } else if self.all || is_key || shape.key.is_empty() {
                parts.push(format!("{name}={}", self.shown(after)));
            }
        }
        parts.join(", ")
    }

    fn shown(&self, value: &Value) -> String {
        let cut = |text: &str| match text.char_indices().nth(SHORT).filter(|_| !self.all) {
            Some((at, _)) => {
                format!("{}… ({} characters)", text.get(..at).unwrap_or(text), text.chars().count())
            }
            None => text.to_owned(),
        };
        match value {
            Value::Null => "NULL".into(),
            Value::Text(text) => format!("'{}'", cut(text)),
            Value::Hex { type_name, hex } => format!("\\x{} ({type_name})", cut(hex)),
            Value::Unknown(why) => format!("? ({why})"),
        }
    }
}

fn named(gid: &str) -> String {
    if gid.is_empty() { String::new() } else { format!(" as '{gid}'") }
}

fn column(shape: &Shape, at: usize) -> &str {
    shape.columns.get(at).map_or("?", |column| column.name.as_str())
}

/// What happened, in words.
pub fn event_text(event: &Event) -> String {
    let rows = |inserted, updated, deleted| {
        let parts = [(inserted, "inserted"), (updated, "updated"), (deleted, "deleted")];
        let said: Vec<String> = parts
            .iter()
            .filter(|(n, _)| *n > 0)
            .map(|(n, word)| format!("{} {word}", words::count(*n)))
            .collect();
        said.join(", ")
    };
    match event {
        Event::Ddl { text, .. } | Event::NotFound { text, .. } => text.clone(),
        Event::Catalog { catalog, inserted, updated, deleted } => {
            format!("rows of the catalog {catalog}: {}", rows(*inserted, *updated, *deleted))
        }
        Event::LargeObject { object, page, bytes, removed } => {
            let page = page.map(|page| format!(", page {page}")).unwrap_or_default();
            let did = match (removed, bytes) {
                (true, _) => " removed".to_owned(),
                (false, Some(bytes)) => format!(" written, {bytes} bytes"),
                (false, None) => " written".to_owned(),
            };
            format!("large object {object}{page}{did}")
        }
        Event::Message { prefix, content, transactional } => {
            let how = if *transactional { "" } else { ", not transactional" };
            format!("logical message '{prefix}'{how}: {content}")
        }
        Event::Nameless { file, inserted, updated, deleted } => {
            format!("rows of a relation without a name, file {file}: {}", rows(*inserted, *updated, *deleted))
        }
    }
}
