//! Pages of relations that were changed later than a position in the WAL: each bears the LSN of its last change.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::trees::{Kind, Tree, relation_file};
use crate::pg::control::ControlFile;
use crate::pg::page::{self, Page};
use crate::pg::{BLOCK_SIZE, BlockNumber, Lsn, checksum};

/// Bytes that are read at a time.
const WINDOW: usize = 256 << 10;
/// So many pages are proof enough.
const ENOUGH: u64 = 64;
/// Not more than so many pages are looked at (64 GiB).
const MAX_PAGES: u64 = 1 << 23;

/// What the pages of a data directory say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewerPages {
    /// Pages with a larger LSN were looked for.
    pub after: Lsn,
    /// Pages looked at.
    pub looked_at: u64,
    /// Pages found.
    pub found: u64,
    /// The one with the largest LSN of those: file within the data directory, number of the block within the relation.
    pub newest: Option<(PathBuf, BlockNumber, Lsn)>,
    /// Every page was looked at. If not, there may be more.
    pub complete: bool,
    /// Files that could not be read, with the reason.
    pub problems: Vec<(PathBuf, String)>,
}

/// Looks for pages of relations (main forks, as pg_rewind lists them) whose LSN is beyond `after`. A page counts only
/// with a header that makes sense and, where checksums are on, with the right one. `go_on` is told how many bytes were
/// read and says whether to go on.
pub fn newer_than(
    root: &Path,
    tree: &Tree,
    control: &ControlFile,
    after: Lsn,
    go_on: &mut dyn FnMut(u64) -> bool,
) -> NewerPages {
    let mut search = Search {
        checksums: control.data_checksum_version.is_some_and(|version| version > 0),
        go_on,
        seen: NewerPages {
            after,
            looked_at: 0,
            found: 0,
            newest: None,
            complete: true,
            problems: Vec::new(),
        },
    };
    for entry in tree.iter().filter(|e| e.kind == Kind::File) {
        let Some((_, segment)) = relation_file(entry.path) else { continue };
        let first = control.relation_segment_size.saturating_mul(segment);
        match search.file(root, entry.path, first) {
            Ok(true) => {}
            Ok(false) => {
                search.seen.complete = false;
                break;
            }
            // dropped meanwhile
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                search.seen.complete = false;
                search.seen.problems.push((root.join(entry.path), format!("could not be read: {e}")));
            }
        }
    }
    search.seen
}

struct Search<'a> {
    checksums: bool,
    go_on: &'a mut dyn FnMut(u64) -> bool,
    seen: NewerPages,
}

impl Search<'_> {
    /// False when there is enough, or too much, or the work is to stop.
    fn file(&mut self, root: &Path, path: &Path, first: BlockNumber) -> io::Result<bool> {
        let file = File::open(root.join(path))?;
        let mut buffer = vec![0; WINDOW];
        let mut at = 0;
        loop {
            let read = match file.read_at(&mut buffer, at) {
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let (pages, _) = buffer.get(..read).unwrap_or_default().as_chunks::<BLOCK_SIZE>();
            // a page that is being added by a server is not there yet
            if pages.is_empty() {
                return Ok(true);
            }
            let base = first.saturating_add((at / BLOCK_SIZE as u64) as u32);
            for (number, bytes) in (base..).zip(pages) {
                self.page(path, number, bytes);
            }
            at += (pages.len() * BLOCK_SIZE) as u64;
            self.seen.looked_at += pages.len() as u64;
            let more = self.seen.found < ENOUGH && self.seen.looked_at < MAX_PAGES;
            if !(self.go_on)(read as u64) || !more {
                return Ok(false);
            }
        }
    }

    fn page(&mut self, path: &Path, number: BlockNumber, bytes: &page::PageBytes) {
        let lsn = page::lsn(bytes);
        if lsn <= self.seen.after || !matches!(Page::read(bytes), Ok(Some(_))) {
            return;
        }
        if self.checksums && page::stored_checksum(bytes) != checksum::of(bytes, number) {
            return;
        }
        self.seen.found += 1;
        if self.seen.newest.as_ref().is_none_or(|newest| newest.2 < lsn) {
            self.seen.newest = Some((path.to_path_buf(), number, lsn));
        }
    }
}
