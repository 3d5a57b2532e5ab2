//! Pages of the source that would be copied: their checksums.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::pg::page::PageBytes;
use crate::pg::{BLOCK_SIZE, BlockNumber, checksum};
use crate::scan::progress::{Phase, Progress};

use super::super::derive::PlanError;
use super::super::model::{Action, Origin};
use super::{Found, Ground, LISTED, refusal, warning};

/// Blocks that are read at a time.
const BLOCKS: u64 = 64;
const BLOCK: u64 = BLOCK_SIZE as u64;
/// `RELSEG_SIZE`.
const SEGMENT_BLOCKS: u64 = 131_072;

/// Checks the checksum of every page that is to be copied, of relation files and their forks.
pub fn source_pages(g: &Ground<'_>, progress: &Progress) -> Result<Vec<Found>, PlanError> {
    if g.facts().source.control.data_checksum_version != Some(1) {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    let mut bad = 0u64;
    let entries = || {
        g.built.entries.iter().filter_map(|e| {
            let first = first_block(e.path.as_path(), &g.facts().source.control.version_dir())?;
            Some((e, first, ranges(&e.action)?))
        })
    };
    progress.begin(Phase::Comparing, entries().flat_map(|(_, _, r)| r).map(|(_, n)| n * BLOCK).sum());
    let mut buffer = vec![0; (BLOCKS * BLOCK) as usize];
    for (entry, first, ranges) in entries() {
        let path = g.source.join(entry.path.as_path());
        let failed = |e: io::Error| PlanError::Read { path: path.clone(), error: e.to_string() };
        let file = File::open(&path).map_err(failed)?;
        let mut wrong = None;
        for (start, count) in ranges {
            let mut at = start;
            while at < start + count {
                if progress.check().is_err() {
                    return Err(PlanError::Cancelled);
                }
                let blocks = BLOCKS.min(start + count - at);
                let buffer = buffer.get_mut(..(blocks * BLOCK) as usize).unwrap_or_default();
                match file.read_exact_at(buffer, at * BLOCK) {
                    Ok(()) => {}
                    Err(e) => return Err(failed(e)),
                }
                for (n, page) in buffer.as_chunks::<BLOCK_SIZE>().0.iter().enumerate() {
                    let block = at + n as u64;
                    if !is_right(page, (first + block) as BlockNumber) {
                        bad += 1;
                        wrong = wrong.or(Some(block));
                    }
                }
                progress.advance(blocks * BLOCK);
                at += blocks;
            }
        }
        if let Some(block) = wrong
            && found.len() < LISTED
        {
            let what =
                format!("Block {block} of the source's file has a wrong checksum, and would be copied.");
            found.push(if g.options.source_snapshot {
                let advice = "In a snapshot of a running server replay mends a page that was being written; verify \
                              the result with --verify.";
                warning(what, advice).at(path)
            } else {
                refusal(what, "Mend the source first: restore the block from a standby or a backup.").at(path)
            });
        }
    }
    if bad > found.len() as u64 && !found.is_empty() {
        let what =
            format!("{bad} pages of the source have wrong checksums; the first of each file is listed.");
        found.push(warning(what, String::new()));
    }
    Ok(found)
}

fn is_right(page: &PageBytes, block: BlockNumber) -> bool {
    // a page that was never filled has none
    page.iter().all(|b| *b == 0) || checksum::of(page, block) == crate::pg::page::stored_checksum(page)
}

/// The ranges of whole blocks that an entry copies from the source: first, count.
fn ranges(action: &Action) -> Option<Vec<(u64, u64)>> {
    match action {
        Action::Copy { size, from: Origin::Source } => Some(vec![(0, size / BLOCK)]),
        Action::Change { blocks, tail, .. } => {
            let mut all: Vec<_> = blocks.iter().map(|b| (u64::from(b.first), u64::from(b.count))).collect();
            all.extend(tail.map(|t| (t.from / BLOCK, (t.to / BLOCK).saturating_sub(t.from / BLOCK))));
            Some(all)
        }
        _ => None,
    }
}

/// The number, within its fork, of the first block of a relation file of any fork; `None` for other files.
fn first_block(path: &Path, version_dir: &str) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let (stem, segment) = name.split_once('.').unwrap_or((name, ""));
    let number = stem.split_once('_').map_or(stem, |(number, fork)| match fork {
        "fsm" | "vm" | "init" => number,
        _ => stem,
    });
    let plain = if segment.is_empty() { number.to_owned() } else { format!("{number}.{segment}") };
    let (_, segment) = super::super::rules::relation(&path.with_file_name(plain), version_dir)?;
    Some(u64::from(segment) * SEGMENT_BLOCKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_blocks() {
        let first = |path: &str| first_block(Path::new(path), "PG_17_202406281");
        assert_eq!(first("base/5/16384"), Some(0));
        assert_eq!(first("base/5/16384_fsm"), Some(0));
        assert_eq!(first("base/5/16384.2"), Some(2 * SEGMENT_BLOCKS));
        assert_eq!(first("base/5/16384_vm.1"), Some(SEGMENT_BLOCKS));
        assert_eq!(first("pg_tblspc/9/PG_17_202406281/5/16384_init"), Some(0));
        for other in [
            "base/5/PG_VERSION",
            "base/5/16384_x",
            "pg_xact/0000",
            "base/5/t3_16384",
            "base/5/pg_filenode.map",
        ] {
            assert_eq!(first(other), None, "{other}");
        }
    }
}
