//! Where an answer goes: standard output, or a file that is never inside a data directory.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::console::Console;
use super::exit::{self, Failure};
use crate::report::words;
use crate::source::inside::inside;

/// A place for an answer, checked before any work is done.
#[derive(Debug)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// A file that appears whole or not at all.
    File(PathBuf),
    /// A device or a pipe: there is nothing to replace.
    Device(PathBuf),
}

impl Output {
    /// The file, refused inside any of `directories`; standard output without one.
    pub fn new(file: Option<&Path>, directories: &[&Path]) -> Result<Self, Failure> {
        let Some(given) = file else { return Ok(Self::Stdout) };
        let unusable = |why: &dyn std::fmt::Display| {
            Failure::new(
                exit::USAGE,
                format!("{} cannot be written: {why}. Give another file with -o.", words::path(given)),
            )
        };
        let metadata = match fs::metadata(given) {
            Ok(metadata) if metadata.is_dir() => return Err(unusable(&"it is a directory")),
            Ok(metadata) => Some(metadata),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unusable(&error)),
        };
        // a link is followed, so that what it points to is replaced; a dangling one is replaced itself
        let path = match &metadata {
            Some(_) => fs::canonicalize(given).map_err(|e| unusable(&e))?,
            None => given.to_owned(),
        };
        let name = path.file_name().ok_or_else(|| unusable(&"it has no file name"))?;
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let parent = fs::canonicalize(parent).map_err(|e| unusable(&e))?;
        if let Some(inside) = inside(&parent, directories) {
            return Err(Failure::new(
                exit::REFUSED,
                format!(
                    "{} lies inside {}, and nothing there is ever written. Give a file elsewhere with -o.",
                    words::path(given),
                    words::path(inside)
                ),
            ));
        }
        let path = parent.join(name);
        Ok(if metadata.is_none_or(|m| m.is_file()) { Self::File(path) } else { Self::Device(path) })
    }

    /// It is standard output.
    pub const fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes the answer. A reader that has seen enough is no failure.
    pub fn write(
        self,
        console: &Console,
        render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let guarded = |inner: &mut dyn Write| {
            let mut out = BufWriter::new(Guarded { inner, console });
            render(&mut out).and_then(|()| out.flush())
        };
        let (result, place) = match &self {
            Self::Stdout => (guarded(&mut io::stdout().lock()), "standard output".to_owned()),
            Self::Device(path) => {
                let result =
                    OpenOptions::new().write(true).open(path).and_then(|mut file| guarded(&mut file));
                (result, words::path(path))
            }
            Self::File(path) => (replace(path, guarded), words::path(path)),
        };
        match result {
            Ok(()) => Ok(()),
            Err(_) if console.interrupted() => Err(Failure::new(exit::INTERRUPTED, "interrupted")),
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            Err(error) => Err(Failure::new(
                exit::FAILED,
                format!(
                    "{place} could not be written: {error}. Nothing in the data directories was touched."
                ),
            )),
        }
    }
}

/// Writes beside the file, then puts it in its place.
fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // an existing file keeps its mode, a new one takes the umask's
    let kept = fs::metadata(path).ok().map(|m| m.permissions().mode() & 0o777);
    builder.prefix(".forkpoint-").permissions(Permissions::from_mode(kept.unwrap_or(0o666)));
    let mut file = builder.tempfile_in(parent)?;
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}

/// Stops at a signal.
struct Guarded<'a> {
    inner: &'a mut dyn Write,
    console: &'a Console,
}

impl Write for Guarded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.console.interrupted() {
            return Err(io::Error::other("interrupted"));
        }
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::super::args::{ConsoleArgs, When};
    use super::*;

    fn console() -> Console {
        Console::new(ConsoleArgs { color: When::Never, quiet: true, verbose: false })
    }

    #[test]
    fn never_inside_a_data_directory() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        for dir in ["data/base", "data/pg_tblspc", "space", "wal", "other"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        symlink(at("space"), at("data/pg_tblspc/16384")).unwrap();
        symlink(at("wal"), at("data/pg_wal")).unwrap();
        symlink(at("data"), at("link")).unwrap();
        fs::write(at("data/x"), "").unwrap();
        symlink(at("data/x"), at("other/to-x")).unwrap();
        let data = at("data");
        for refused in [
            "data/r",
            "data/base/r",
            "data/base/../r",
            "link/base/r",
            "space/r",
            "wal/r",
            "other/to-x",
            "data/x",
        ] {
            let failure = Output::new(Some(&at(refused)), &[&data]).unwrap_err();
            assert_eq!(failure.status, exit::REFUSED, "{refused}");
            assert!(failure.message.contains("lies inside"), "{failure:?}");
        }
        for fine in ["other/r", "r", "data/../r"] {
            assert!(matches!(Output::new(Some(&at(fine)), &[&data]), Ok(Output::File(_))), "{fine}");
        }
        assert!(matches!(Output::new(Some(Path::new("/dev/null")), &[&data]), Ok(Output::Device(_))));
        assert_eq!(Output::new(Some(&at("no/r")), &[&data]).unwrap_err().status, exit::USAGE);
        assert_eq!(Output::new(Some(&at("other")), &[&data]).unwrap_err().status, exit::USAGE);
    }

    #[test]
    fn whole_or_not_at_all() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("report");
        fs::write(&file, "before").unwrap();
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let output = || Output::new(Some(&file), &[]).unwrap();
        let failure = output()
            .write(&console(), |out| {
                out.write_all(b"half")?;
                Err(io::Error::other("no space"))
            })
            .unwrap_err();
        assert_eq!(failure.status, exit::FAILED);
        assert_eq!(fs::read_to_string(&file).unwrap(), "before");
        output().write(&console(), |out| out.write_all(b"after")).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "after");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let broken = Output::Stdout.write(&console(), |_| Err(ErrorKind::BrokenPipe.into()));
        assert_eq!(broken, Ok(()));
    }
}
