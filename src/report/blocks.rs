//! Every changed block of the target, as text and JSON.

use std::io::{self, Write};

use schemars::JsonSchema;
use serde::Serialize;

use super::dto::{Checkpoint, Divergence, SCHEMA_VERSION, Scan, Tool};
use super::words;
use crate::facts::Facts;
use crate::pg::RelFile;
use crate::scan::ForkChanges;

/// Every block that the target changed since the last common checkpoint.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(title = "forkpoint blocks")]
pub struct Report<'a> {
    /// Version of this format.
    pub schema_version: u32,
    /// What made it.
    pub tool: Tool,
    /// Only this relation was asked for.
    pub only: Option<String>,
    /// Where the two sides part.
    pub divergence: Option<Divergence>,
    /// The last checkpoint before the divergence on the target.
    pub last_common_checkpoint: Option<Checkpoint>,
    /// What changed; null where the target's WAL could not be read.
    pub changes: Option<Scan<'a>>,
}

/// Which relations are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter(String);

impl std::fmt::Display for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Filter {
    /// From `name`, `schema.name`, `database.schema.name` (quoted or not), a file number, `tablespace/database/number`,
    /// `database/number`, or a path in the data directory as `base/5/1247` and `global/1262`.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether it names this relation.
    pub fn wants(&self, rel: RelFile, facts: &Facts) -> bool {
        let wanted = self.0.as_str();
        let path = match rel.spc {
            1663 => format!("base/{}/{}", rel.db, rel.rel),
            1664 => format!("global/{}", rel.rel),
            _ => String::new(),
        };
        if [rel.to_string(), rel.rel.to_string(), format!("{}/{}", rel.db, rel.rel), path]
            .iter()
            .any(|own| own == wanted)
        {
            return true;
        }
        let plain = wanted.replace('"', "");
        facts.names.relations.get(&rel).is_some_and(|name| {
            [name.name.clone(), format!("{}.{}", name.schema, name.name), facts.names.describe(rel)]
                .iter()
                .any(|own| own == wanted || own.replace('"', "") == plain)
        })
    }

    /// Whether any relation that the target changed, made, cut or dropped has that name.
    pub fn known(&self, facts: &Facts) -> bool {
        let changes = || facts.target_scan.iter().map(|s| &s.changes);
        let changed = changes().flat_map(|c| &c.relations).map(|r| r.rel);
        let events = changes().flat_map(|c| &c.events).filter_map(|e| super::dto::event_relation(&e.event));
        changed.chain(events).any(|rel| self.wants(rel, facts))
    }
}

impl<'a> Report<'a> {
    /// Of these facts.
    pub fn new(facts: &'a Facts, filter: Option<&'a Filter>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            only: filter.map(|f| f.0.clone()),
            divergence: facts.divergence.as_ref().map(Into::into),
            last_common_checkpoint: facts.common_checkpoint.as_ref().map(Into::into),
            changes: facts.target_scan.as_ref().map(|scan| {
                Scan::filtered(scan, facts, &facts.target, filter.map(|f| move |rel| f.wants(rel, facts)))
            }),
        }
    }
}

/// A line for each relation fork, then its blocks as ranges, wrapped at `width`.
pub fn text(facts: &Facts, filter: Option<&Filter>, width: usize, out: &mut dyn Write) -> io::Result<()> {
    let Some(scan) = &facts.target_scan else {
        return writeln!(out, "The target's WAL could not be read.");
    };
    let mut any = false;
    for r in scan.changes.relations.iter().filter(|r| filter.is_none_or(|f| f.wants(r.rel, facts))) {
        if any {
            writeln!(out)?;
        }
        any = true;
        writeln!(out, "{}", words::clean(&facts.relation_name(r.rel)))?;
        let path = r.rel.path(r.fork, &super::dto::version_dir(&facts.target.control));
        writeln!(out, "  {} {path}", r.fork)?;
        for (word, changes) in [("before the divergence", &r.before), ("after the divergence", &r.after)] {
            if let Some(changes) = changes {
                one(word, changes, width, out)?;
            }
        }
    }
    if any { Ok(()) } else { writeln!(out, "No changed block.") }
}

fn one(word: &str, changes: &ForkChanges, width: usize, out: &mut dyn Write) -> io::Result<()> {
    writeln!(
        out,
        "  {word}: {}, {}, {}",
        words::counted(changes.blocks.len(), "block"),
        words::counted(changes.references, "reference"),
        words::counted(changes.images, "image"),
    )?;
    writeln!(out, "  from {} to {}", changes.first, changes.last)?;
    let mut column = 0;
    for (first, last) in changes.blocks.ranges() {
        let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
        if column > 0 && column + 1 + range.len() > width {
            writeln!(out)?;
            column = 0;
        }
        let gap = if column == 0 { "    " } else { " " };
        write!(out, "{gap}{range}")?;
        column += gap.len() + range.len();
    }
    writeln!(out)
}
