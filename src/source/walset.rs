//! Where WAL lies: a side's own directory, archives, a restore command.

use std::path::PathBuf;

/// Two files of one name with different content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The name, a segment or a history.
    pub name: String,
    /// The files.
    pub paths: Vec<PathBuf>,
    /// First byte that differs, offset in the (uncompressed) file.
    pub offset: u64,
}
