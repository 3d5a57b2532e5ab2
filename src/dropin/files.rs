//! What pg_rewind refuses once it has listed both sides.

use std::path::Path;

use crate::pg::Major;
use crate::source::trees::{Entry, Kind, Pair, Trees, relation_file};

use super::log::{Ended, Log};

/// Ends the program where pg_rewind of this major would, because of the kinds of two entries.
///
/// # Errors
/// It would; that was said.
pub fn check(trees: &Trees, target: &Path, log: &mut Log<'_>) -> Result<(), Ended> {
    for entry in &trees.source {
        if entry.kind != Kind::File && entry.kind != Kind::Other && relation_file(entry.path).is_some() {
            let path = entry.path.display();
            return Err(log.fatal(&format!("data file \"{path}\" in source is not a regular file")));
        }
    }
    for pair in trees.pairs() {
        let Pair::Both(ours, theirs) = pair else { continue };
        if ours.kind == theirs.kind
            || [ours.kind, theirs.kind].contains(&Kind::Other)
            || ours.path.ends_with("pg_control")
        {
            continue;
        }
        if log.major() >= Major::V14 {
            let path = ours.path.display();
            return Err(log.fatal(&format!("file \"{path}\" is of different type in source and target")));
        }
        let path = target.join(ours.path);
        return Err(log.fatal(&format!("\"{}\" is not a {}", path.display(), expected(theirs))));
    }
    Ok(())
}

const fn expected(entry: Entry<'_>) -> &'static str {
    match entry.kind {
        Kind::Directory => "directory",
        Kind::Symlink => "symbolic link",
        Kind::File | Kind::Other => "regular file",
    }
}
