//! An undo store in place of a target: what the data directory was before it was rewound.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::console::Console;
use super::exit::{self, Failure};
use super::rewinding::before as failure;
use crate::report::words;
use crate::rewind::before::{Before, Origin, Parts, before, is_store};
use crate::rewind::{RealDisk, State, status};
use crate::source::view;

/// Bytes copied at once.
const CHUNK: u64 = 1 << 20;

/// A directory to read as the target, for as long as this lives.
pub struct Target {
    /// The data directory, or what shows it as it was.
    pub path: PathBuf,
    _scratch: Option<TempDir>,
}

/// What a user gave as the target: a data directory, or an undo store. `command` is what they called.
///
/// # Errors
/// It is a store that does not have the directory as it was, or the scratch directory cannot be made.
pub fn target(given: PathBuf, command: &str, source: &Path, console: &Console) -> Result<Target, Failure> {
    let disk = RealDisk::new();
    if !given.exists() && given.extension().is_some_and(|e| e == "forkpoint") {
        let text = format!(
            "{}: no undo store lies there. If it was removed by forkpoint undo --discard, or replaced by a later rewind's, \
             what it had is gone.",
            words::path(&given)
        );
        return Err(Failure::new(exit::INPUT, text));
    }
    if !is_store(&given, &disk) {
        hint(&given, command, source, &disk, console);
        return Ok(Target { path: given, _scratch: None });
    }
    let given = given.canonicalize().unwrap_or(given);
    match before(&given, &disk).map_err(|trouble| failure(&trouble))? {
        Before::Clone(path) => Ok(Target { path, _scratch: None }),
        Before::Parts(parts) => {
            let scratch = build(&parts).map_err(|error| {
                let text = format!(
                    "the scratch directory in {} that shows the data directory as it was: {error}. Files of relations that \
                     were changed are copied there: set TMPDIR to a directory with room.",
                    words::path(&std::env::temp_dir())
                );
                Failure::new(exit::FAILED, text)
            })?;
            Ok(Target { path: scratch.path().join("data"), _scratch: Some(scratch) })
        }
    }
}

/// Who asks about a directory that was rewound may mean what it was before.
fn hint(given: &Path, command: &str, source: &Path, disk: &RealDisk, console: &Console) {
    let Ok(given) = given.canonicalize() else { return };
    let Ok(found) = status(&given, None, disk) else { return };
    if let (State::Done | State::InProgress, Some(rewind)) = (found.state, found.rewind) {
        console.note(&format!(
            "{} was rewound. Of what it was before, forkpoint {command} {} {} tells",
            words::path(&given),
            words::path(&rewind.store),
            words::path(source)
        ));
    }
}

fn build(parts: &Parts) -> io::Result<TempDir> {
    let scratch = tempfile::Builder::new().prefix("forkpoint-before-").tempdir()?;
    let root = scratch.path().join("data");
    fs::create_dir(&root)?;
    let pack = File::open(&parts.pack)?;
    let mut behind = BTreeMap::new();
    for (path, origin) in &parts.entries {
        let at = root.join(path);
        match origin {
            Origin::Directory => fs::create_dir(&at)?,
            Origin::Link(_) if parts.links.contains(path) && path.starts_with("pg_tblspc") => {
                let to = scratch.path().join(format!("tablespace-{}", behind.len()));
                fs::create_dir(&to)?;
                symlink(&to, &at)?;
                behind.insert(path, to);
            }
            Origin::Link(_) if parts.links.contains(path) => fs::create_dir(&at)?,
            Origin::Link(to) => symlink(to, &at)?,
            Origin::File(now) => symlink(now, &at)?,
            Origin::Patched { now, size, pieces } => {
                let file = File::create(&at)?;
                if let Some(now) = now {
                    let now = File::open(now)?;
                    let length = now.metadata()?.len().min(*size);
                    // shares blocks or copies in the kernel where that can be
                    io::copy(&mut io::Read::take(&now, length), &mut &file)?;
                }
                file.set_len(*size)?;
                for piece in pieces {
                    copy(&pack, &file, piece.at, piece.offset, piece.length)?;
                }
            }
        }
    }
    view::declare(&root);
    Ok(scratch)
}

fn copy(from: &File, to: &File, at: u64, offset: u64, length: u64) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK.min(length) as usize];
    let mut done = 0;
    while done < length {
        let chunk = buffer.get_mut(..(length - done).min(CHUNK) as usize).unwrap_or_default();
        from.read_exact_at(chunk, at + done)?;
        to.write_all_at(chunk, offset + done)?;
        done += chunk.len() as u64;
    }
    Ok(())
}
