//! The operations of a plan in their order: its entries, then the files that the plan makes of itself.

use std::path::Path;

use super::journal::Begin;
use crate::plan::Plan;
use crate::plan::label;
use crate::plan::model::{Action, Seen};

/// The path of backup_label.
pub const LABEL: &str = "backup_label";

/// One path, and what is done with it.
#[derive(Debug, Clone)]
pub struct Op<'a> {
    /// Within the data directory.
    pub path: &'a Path,
    /// What is done.
    pub what: What<'a>,
    /// What the plan saw there; `None`: nothing.
    pub target: Option<&'a Seen>,
    /// What the plan saw on the source.
    pub source: Option<&'a Seen>,
    /// It stands in the plan as an entry, so `target` and `source` count.
    pub planned: bool,
}

/// What is done.
#[derive(Debug, Clone)]
pub enum What<'a> {
    /// As in [`Action`].
    Planned(&'a Action),
    /// A small file is written.
    Write(Vec<u8>),
    /// Lines are appended to a small file, which is made if it is not there.
    Append(&'a [u8]),
}

impl What<'_> {
    /// Whether the whole of a file that is there is replaced.
    pub const fn replaces(&self) -> bool {
        matches!(self, Self::Planned(Action::Copy { .. }))
    }
}

/// All operations.
pub fn of<'a>(plan: &'a Plan, begin: &Begin) -> Vec<Op<'a>> {
    let entries = plan.entries.iter().map(|entry| Op {
        path: entry.path.as_path(),
        what: What::Planned(&entry.action),
        target: entry.target.as_ref(),
        source: entry.source.as_ref(),
        planned: true,
    });
    let own = |path: &'a Path, what| Op { path, what, target: None, source: None, planned: false };
    let label = label::with_time(&plan.backup_label, &begin.start_time);
    let mut last = vec![own(Path::new(LABEL), What::Write(label.into_bytes()))];
    if let Some(standby) = &plan.standby {
        last.push(own(standby.file.as_path(), What::Append(standby.lines.as_bytes())));
        if let Some(signal) = &standby.signal {
            last.push(own(signal.as_path(), What::Write(Vec::new())));
        }
    }
    entries.chain(last).collect()
}

/// Bytes that an operation writes.
pub fn bytes(op: &Op<'_>, block_size: u32) -> u64 {
    match &op.what {
        What::Planned(Action::Copy { size, .. }) => *size,
        What::Planned(Action::Change { blocks, tail, .. }) => {
            let blocks: u64 = blocks.iter().map(|r| u64::from(r.count) * u64::from(block_size)).sum();
            blocks + tail.map_or(0, |t| t.to - t.from)
        }
        What::Write(content) => content.len() as u64,
        What::Append(lines) => lines.len() as u64,
        What::Planned(_) => 0,
    }
}
