//! New files that the user asks for: never in a data directory, never over another file.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::Shared;
use crate::report::words;
use crate::source::inside::inside;

/// A path in the folder that no file has yet, with any of the extensions; the first one is told.
pub fn unused(folder: &Path, name: &str, extensions: &[&str]) -> String {
    let free = |stem: &String| {
        let taken = |e: &&str| fs::symlink_metadata(folder.join(format!("{stem}.{e}"))).is_ok();
        !extensions.iter().any(taken)
    };
    let stems = std::iter::once(name.to_owned()).chain((2..1000).map(|n| format!("{name}-{n}")));
    let stem = stems.into_iter().find(free).unwrap_or_else(|| name.to_owned());
    let extension = extensions.first().copied().unwrap_or_default();
    folder.join(format!("{stem}.{extension}")).to_string_lossy().into_owned()
}

/// The file that was asked for, relative to the folder; it does not exist yet.
///
/// # Errors
/// Why it cannot be written, and what to do.
pub fn new_file(text: &str, shared: &Shared) -> Result<PathBuf, String> {
    let text = text.trim();
    let given = shared.folder.join(text);
    let Some(name) = given.file_name().filter(|_| !text.is_empty() && !text.ends_with('/')) else {
        return Err("give the path of a new file".into());
    };
    let parent = given.parent().unwrap_or(&shared.folder);
    let parent =
        parent.canonicalize().map_err(|error| format!("{}: {}", words::path(parent), words::io(&error)))?;
    let directories: Vec<&Path> =
        shared.pair.iter().flat_map(|pair| [pair.target.as_path(), pair.source.as_path()]).collect();
    if let Some(directory) = inside(&parent, &directories) {
        return Err(format!(
            "it lies inside {}, and nothing is written there: give a file elsewhere",
            words::path(directory)
        ));
    }
    unwritten(parent.join(name))
}

/// The path, if there is nothing yet.
///
/// # Errors
/// There is something.
pub fn unwritten(path: PathBuf) -> Result<PathBuf, String> {
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path),
        Err(error) => Err(format!("{}: {}", words::path(&path), words::io(&error))),
        Ok(meta) if meta.is_dir() => Err(format!("{} is a directory: add a file name", words::path(&path))),
        Ok(_) => {
            Err(format!("{} exists already and is not overwritten: give another name", words::path(&path)))
        }
    }
}

/// Writes the file and says where. What could not be written whole is removed.
///
/// # Errors
/// Why it could not be written.
pub fn write(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<String, String> {
    let told = |error: io::Error| format!("not written to {}: {}", words::path(path), words::io(&error));
    let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(told)?;
    let mut out = BufWriter::new(file);
    let written =
        write(&mut out).and_then(|()| out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all());
    if let Err(error) = written {
        return Err(match fs::remove_file(path) {
            Ok(()) => told(error),
            Err(left) => {
                format!("{}; what is there of it could not be removed: {}", told(error), words::io(&left))
            }
        });
    }
    Ok(format!("written: {}", words::path(path)))
}
