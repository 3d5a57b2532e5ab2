//! A data directory, opened for reading only.

use std::path::PathBuf;

use crate::pg::Major;

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    major: Option<Major>,
}

impl DataDir {
    /// The directory as it was given.
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }

    /// The major in PG_VERSION, if it is a known one.
    pub const fn major(&self) -> Option<Major> {
        self.major
    }
}
