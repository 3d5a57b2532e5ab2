//! An entry of the plan as a line, and as a page.

use crate::plan::model::{Action, Entry, Origin};
use crate::report::words;
use crate::tui::look::{CODE, DIM, PLAIN, STRONG};
use crate::tui::widget::prose::Para;

/// Block ranges that are told one by one.
const RANGES: usize = 1000;

/// The action in a word.
pub const fn word(entry: &Entry) -> &'static str {
    match &entry.action {
        Action::Keep => "keep",
        Action::CreateDirectory => "make dir",
        Action::CreateSymlink { .. } => "make link",
        Action::Copy { .. } => "copy",
        Action::Change { .. } => "change",
        Action::Remove => "remove",
    }
}

/// Blocks that are copied.
pub fn blocks(entry: &Entry) -> u64 {
    match &entry.action {
        Action::Change { blocks, .. } => blocks.iter().map(|b| u64::from(b.count)).sum(),
        _ => 0,
    }
}

/// Bytes that are written, or given up where something is removed.
pub fn bytes(entry: &Entry, block_size: u32) -> u64 {
    match &entry.action {
        Action::Copy { size, .. } => *size,
        Action::Change { tail, .. } => {
            blocks(entry) * u64::from(block_size) + tail.map_or(0, |t| t.to.saturating_sub(t.from))
        }
        Action::Remove => entry.target.as_ref().map_or(0, |seen| seen.size),
        Action::Keep | Action::CreateDirectory | Action::CreateSymlink { .. } => 0,
    }
}

/// Everything about an entry.
pub fn page(entry: &Entry, block_size: u32) -> Vec<Para> {
    let fact =
        |name: &str, value: String| Para::new(format!("{name:<12}"), DIM).with(value, PLAIN).indented(12);
    let path = words::path(entry.path.as_path());
    let mut paras = vec![Para::new(format!("{} ", word(entry)), STRONG).with(path, CODE), Para::gap()];
    paras.push(fact("why", why(entry)));
    match &entry.action {
        Action::Keep => paras.push(fact("action", "nothing: it stays as it is".into())),
        Action::CreateDirectory => paras.push(fact("action", "a directory is made".into())),
        Action::CreateSymlink { to } => {
            paras.push(fact("action", format!("a link is made to {}", words::path(to.as_path()))));
        }
        Action::Copy { size, from } => {
            let from = match from {
                Origin::Source => "the source's file of the same path".to_owned(),
                Origin::Archive(path) => words::path(path.as_path()),
                Origin::RestoreCommand => "the restore command, run before the first change".to_owned(),
            };
            paras.push(fact("action", format!("the whole file is copied, {}", words::bytes(*size))));
            paras.push(fact("from", from));
        }
        Action::Change { blocks: ranges, tail, truncate_to } => {
            let n = blocks(entry);
            if n > 0 {
                let bytes = words::bytes(n * u64::from(block_size));
                paras.push(fact(
                    "action",
                    format!("{} copied from the source, {bytes}", words::counted(n, "block")),
                ));
            }
            if let Some(tail) = tail {
                let bytes = words::bytes(tail.to.saturating_sub(tail.from));
                paras.push(fact("tail", format!("{bytes} appended from offset {}", words::count(tail.from))));
            }
            if let Some(to) = truncate_to {
                paras.push(fact("cut", format!("to {} bytes ({})", words::count(*to), words::bytes(*to))));
            }
            let told: Vec<_> = ranges
                .iter()
                .take(RANGES)
                .map(|r| match r.count {
                    1 => r.first.to_string(),
                    n => format!("{}-{}", r.first, r.first.saturating_add(n - 1)),
                })
                .collect();
            if !told.is_empty() {
                let more = if ranges.len() > RANGES { " …" } else { "" };
                paras.push(fact("blocks", format!("{}{more} (of this file)", told.join(" "))));
            }
        }
        Action::Remove => paras.push(fact("action", "it is removed (into the undo store)".into())),
    }
    for (side, seen) in [("target", &entry.target), ("source", &entry.source)] {
        if let Some(seen) = seen {
            paras.push(fact(
                side,
                format!(
                    "{}, {} bytes, mode {}, owner {}:{}, changed {}",
                    seen.kind,
                    words::count(seen.size),
                    seen.mode,
                    seen.uid,
                    seen.gid,
                    seen.modified
                ),
            ));
        }
    }
    paras
}

/// Why, in a sentence.
fn why(entry: &Entry) -> String {
    use crate::plan::model::Why;
    match entry.why {
        Why::Changed => "the target's WAL names blocks of it, or its length differs",
        Why::Differs => "compared with the source's, it differs",
        Why::Other => "it is no relation file: such files are copied whole",
        Why::Wal => "a WAL segment of the source",
        Why::MissingWal => "WAL that replay needs and that the source does not have",
        Why::SourceOnly => "only the source has it",
        Why::TargetOnly => "only the target has it",
        Why::Excluded => "it is never part of a copy, like postmaster.pid",
        Why::NeededWal => "WAL that replay needs and that the source does not have: the target's own stays",
        Why::Kept => "asked for with keep",
        Why::Own => "forkpoint's own",
    }
    .to_owned()
}
