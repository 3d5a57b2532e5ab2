//! A directory of files as an answer: it appears whole or not at all, and never inside a data directory.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::exit::{self, Failure};
use crate::report::words;
use crate::source::inside::inside;

/// A directory that is being filled.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    filling: TempDir,
}

impl Folder {
    /// The directory, which must not exist or be empty; refused inside any of `directories`.
    pub fn new(given: &Path, directories: &[&Path]) -> Result<Self, Failure> {
        let unusable = |why: &dyn std::fmt::Display| {
            let text =
                format!("{} cannot be filled: {why}. Give another directory with -o.", words::path(given));
            Failure::new(exit::USAGE, text)
        };
        match fs::read_dir(given) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(unusable(&"it is not empty"));
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(&error)),
        }
        let whole = std::path::absolute(given).map_err(|e| unusable(&e))?;
        let name = whole.file_name().ok_or_else(|| unusable(&"it has no name"))?;
        let parent = whole.parent().ok_or_else(|| unusable(&"it has no name"))?;
        let parent = fs::canonicalize(parent).map_err(|e| unusable(&e))?;
        if let Some(inside) = inside(&parent, directories) {
            let text = format!(
                "{} lies inside {}, and nothing there is ever written. Give a directory elsewhere with -o.",
                words::path(given),
                words::path(inside)
            );
            return Err(Failure::new(exit::REFUSED, text));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".forkpoint-").permissions(Permissions::from_mode(0o777));
        let filling = builder.tempdir_in(&parent).map_err(|e| unusable(&e))?;
        Ok(Self { path: parent.join(name), filling })
    }

    /// Opens a file in it, a new one or, to go on with, one that is there.
    ///
    /// # Errors
    /// As `open`.
    pub fn open(&self, name: &str, again: bool) -> io::Result<Box<dyn Write>> {
        let path = self.filling.path().join(name);
        let file = if again { OpenOptions::new().append(true).open(path)? } else { File::create_new(path)? };
        Ok(Box::new(BufWriter::new(file)))
    }

    /// Everything is written: the directory gets its name.
    pub fn finish(self) -> Result<(), Failure> {
        let failed = |e: io::Error| {
            let text = format!(
                "{} could not be written: {e}. Nothing in the data directories was touched.",
                words::path(&self.path)
            );
            Failure::new(exit::FAILED, text)
        };
        // an empty one is replaced
        fs::rename(self.filling.path(), &self.path).map_err(failed)?;
        let _ = self.filling.keep();
        Ok(())
    }
}
