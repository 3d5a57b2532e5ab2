//! The lines of `--debug` and `--progress` about files.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::pg::{Major, SegmentSize, WalName};
use crate::plan::Plan;
use crate::plan::model::{Action, Entry, Why};
use crate::plan::rules;
use crate::source::trees::{Entry as Listed, Kind, Pair, Trees};

use super::fetched::Fetched;
use super::log::Log;

const BLOCK: u64 = crate::pg::BLOCK_SIZE as u64;
const CONTROL_FILE: &str = "global/pg_control";
/// Paths with this part are excluded without a word (`PG_TEMP_FILE_PREFIX`).
const TEMPORARY: &[u8] = b"/pgsql_tmp";

/// An entry as pg_rewind lists it.
struct Line<'a> {
    action: &'static str,
    blocks: Vec<(u32, u32)>,
    path: &'a Path,
}

/// Rank of an action in the order of execution (`file_action_t`), and whether paths go backwards.
fn rank(action: &str) -> (u8, bool) {
    match action {
        "CREATE" => (0, false),
        "COPY" => (1, false),
        "COPY_TAIL" => (2, false),
        "NONE" => (3, false),
        "TRUNCATE" => (4, false),
        _ => (5, true),
    }
}

fn line(entry: &Entry) -> Option<Line<'_>> {
    let path = entry.path.as_path();
    let (action, blocks) = match &entry.action {
        Action::CreateDirectory | Action::CreateSymlink { .. } => ("CREATE", Vec::new()),
        Action::Copy { .. } => ("COPY", Vec::new()),
        Action::Remove => ("REMOVE", Vec::new()),
        Action::Keep => return None,
        Action::Change { blocks, tail, truncate_to } => {
            let action = match (tail, truncate_to) {
                (Some(_), _) => "COPY_TAIL",
                (None, Some(_)) => "TRUNCATE",
                (None, None) => "NONE",
            };
            (action, blocks.iter().map(|r| (r.first, r.count)).collect())
        }
    };
    Some(Line { action, blocks, path })
}

/// What is not copied, as it is said while both sides are listed or decided on.
pub fn excluded(target: &Path, trees: &Trees, plan: &Plan, fetched: &Fetched, log: &mut Log<'_>) {
    for name in &fetched.all {
        let path = target.join("pg_wal").join(name);
        log.debug(&format!("using file \"{}\" restored from archive", path.display()));
    }
    let major = log.major();
    let named = |e: &Listed<'_>| {
        let bytes = e.path.as_os_str().as_bytes();
        let temporary = bytes.windows(TEMPORARY.len()).any(|w| w == TEMPORARY);
        e.kind != Kind::Other && rules::is_excluded(bytes) && !temporary
    };
    for pair in trees.pairs() {
        let entry = match pair {
            Pair::Target(t) if major >= Major::V14 => t,
            Pair::Source(s) | Pair::Both(_, s) => s,
            Pair::Target(_) => continue,
        };
        if named(&entry) {
            log.debug(&format!("entry \"{}\" excluded from source file list", entry.path.display()));
        }
    }
    for entry in plan.entries.iter().filter(|e| e.action == Action::Keep && e.why == Why::NeededWal) {
        log.debug(&format!("Not removing file \"{}\" because it is required for recovery", entry.path));
    }
    for name in &fetched.kept {
        log.debug(&format!("Not removing file \"pg_wal/{name}\" because it is required for recovery"));
    }
}

/// The file map.
pub fn map(trees: &Trees, plan: &Plan, fetched: &Fetched, log: &mut Log<'_>) {
    let size = SegmentSize::new(plan.segment_size).unwrap_or(SegmentSize::DEFAULT);
    let wal = |names: &[String]| names.iter().map(|n| Path::new("pg_wal").join(n)).collect::<Vec<_>>();
    let (removed, same) = (wal(&fetched.removed), wal(&fetched.same));
    let mut lines: BTreeMap<&Path, Line<'_>> =
        plan.entries.iter().filter_map(line).map(|l| (l.path, l)).collect();
    for path in &same {
        lines.insert(path, Line { action: "NONE", blocks: Vec::new(), path });
    }
    let mut add = |path, action| {
        lines.entry(path).or_insert(Line { action, blocks: Vec::new(), path });
    };
    for path in &removed {
        add(path, "REMOVE");
    }
    if log.major() < Major::V14 {
        // it is copied like any other, and overwritten in the end
        add(Path::new(CONTROL_FILE), "COPY");
    }
    if log.major() >= Major::V19 {
        for pair in trees.pairs() {
            let (Pair::Target(e) | Pair::Source(e) | Pair::Both(e, _)) = pair;
            let name = e.path.strip_prefix("pg_wal").ok().and_then(Path::to_str);
            let segment = name.and_then(|n| WalName::parse(n, size));
            if matches!(segment, Some(WalName::Segment(..))) && e.kind == Kind::File {
                add(e.path, "NONE");
            }
        }
    }
    let mut sorted: Vec<Line<'_>> = lines.into_values().collect();
    sorted.sort_by(|a, b| {
        let ((x, backwards), (y, _)) = (rank(a.action), rank(b.action));
        let paths = a.path.as_os_str().as_bytes().cmp(b.path.as_os_str().as_bytes());
        x.cmp(&y).then(if backwards { paths.reverse() } else { paths })
    });
    for line in sorted {
        log.debug(&format!("{} ({})", line.path.display(), line.action));
        for (first, count) in line.blocks {
            for block in first..first.saturating_add(count) {
                log.debug(&format!("block {block}"));
            }
        }
    }
}

/// Bytes to copy, and bytes of all files of the source.
pub fn sizes(trees: &Trees, plan: &Plan, fetched: &Fetched, major: Major) -> (u64, u64) {
    let mut fetch = 0;
    for entry in &plan.entries {
        match &entry.action {
            Action::Copy { size, .. } if entry.why != Why::MissingWal => fetch += size,
            Action::Change { blocks, tail, .. } => {
                fetch += blocks.iter().map(|r| u64::from(r.count) * BLOCK).sum::<u64>();
                let length = entry.target.as_ref().map_or(0, |t| t.size);
                fetch += tail.map_or(0, |t| t.to.saturating_sub(length));
            }
            _ => {}
        }
    }
    fetch = u64::saturating_sub(fetch, fetched.same.len() as u64 * u64::from(plan.segment_size));
    let mut total = 0;
    for entry in trees.source.iter().filter(|e| e.kind == Kind::File) {
        let listed = major >= Major::V14 || !rules::is_excluded(entry.path.as_os_str().as_bytes());
        total += if listed { entry.size } else { 0 };
    }
    if major < Major::V14 {
        fetch += trees.source.get(Path::new(CONTROL_FILE)).map_or(0, |e| e.size);
    }
    (fetch, total)
}

/// The line that says how much is copied.
pub fn copied(done: u64, fetch: u64) -> String {
    let all = (fetch.max(done) / 1024).to_string();
    let percent = (done * 100).checked_div(fetch).map_or(0, |percent| percent.min(100));
    let width = all.len();
    format!("{:>width$}/{all} kB ({percent}%) copied", done / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress() {
        assert_eq!(copied(0, 0), "0/0 kB (0%) copied");
        assert_eq!(copied(1024, 102_400), "  1/100 kB (1%) copied");
        assert_eq!(copied(102_400, 102_400), "100/100 kB (100%) copied");
    }
}
