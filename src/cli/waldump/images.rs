//! `--save-fullpage`: page images as files.

use std::fs::{self, DirBuilder};
use std::io::ErrorKind;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::voice::End;
use crate::dump::read::os_words;
use crate::names::image::restore;
use crate::pg::TimelineId;
use crate::wal::Record;
use crate::wal::record::{Image, Parts};

/// Mode of new directories (`pg_dir_create_mode`).
const MODE: u32 = 0o700;

/// A directory for page images.
#[derive(Debug, Clone)]
pub struct Images {
    dir: PathBuf,
    timeline: TimelineId,
}

impl Images {
    /// Makes the directory, or takes an empty one, outside of what is read.
    pub fn new(dir: PathBuf, timeline: TimelineId) -> Self {
        Self { dir, timeline }
    }

    /// Saves the images of a record.
    ///
    /// # Errors
    /// An image is damaged, or its file cannot be written.
    pub fn save(&self, record: &Record<'_>, parts: &Parts) -> Result<(), String> {
        for block in &parts.blocks {
            let Some(header) = block.header.image else { continue };
            let image = Image {
                hole_offset: header.hole_offset,
                hole_length: header.hole_length,
                apply: header.apply,
                compression: header.compression,
                bytes: record.slice(&block.image),
            };
            let page = restore(&image).map_err(|_| {
                format!("could not decompress image at {}, block {}", record.lsn, block.header.id)
            })?;
            let rel = block.header.rel;
            let path = self.dir.join(format!(
                "{:08X}-{:08X}-{:08X}.{}.{}.{}.{}_{}",
                self.timeline,
                record.lsn.0 >> 32,
                record.lsn.0 as u32,
                rel.spc,
                rel.db,
                rel.rel,
                block.header.block,
                block.header.fork
            ));
            fs::write(&path, *page)
                .map_err(|e| format!("could not write file \"{}\": {}", path.display(), os_words(&e)))?;
        }
        Ok(())
    }
}

/// Makes the directory if it does not exist; one that does has to be empty. `read` is what is read: nothing is made
/// there.
///
/// # Errors
/// It is not empty, lies in what is read, or cannot be made.
pub fn prepare(dir: &Path, read: &[PathBuf]) -> Result<(), End> {
    let shown = dir.display();
    let fatal = |text: String| Err(End::Fatal(text));
    match fs::read_dir(dir) {
        Ok(mut entries) => {
            if entries.next().is_some() {
                return fatal(format!("directory \"{shown}\" exists but is not empty"));
            }
        }
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return fatal(format!("could not access directory \"{shown}\": {}", os_words(&e))),
    }
    let existing = dir.ancestors().find_map(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        fs::canonicalize(above).ok()
    });
    let inside = |root: &PathBuf| {
        let root = fs::canonicalize(root).ok();
        root.is_some_and(|root| existing.as_ref().is_some_and(|path| path.starts_with(root)))
    };
    if let Some(root) = read.iter().find(|root| inside(root)) {
        return fatal(format!(
            "directory \"{shown}\" lies in \"{}\", and nothing there is ever written",
            root.display()
        ));
    }
    match DirBuilder::new().recursive(true).mode(MODE).create(dir) {
        Ok(()) => Ok(()),
        Err(e) => fatal(format!("could not create directory \"{shown}\": {}", os_words(&e))),
    }
}
