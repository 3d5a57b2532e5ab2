//! A data directory, opened for reading only.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use thiserror::Error;

use crate::pg::Major;
use crate::pg::control::{CONTROL_FILE_SIZE, ControlError, ControlFile};

/// Where the control file lies within the data directory.
pub const CONTROL_FILE: &str = "global/pg_control";

/// Longest `PG_VERSION` that is read, in bytes.
const VERSION_LIMIT: u64 = 64;
/// Longest `pg_control` that is read, in bytes; a right one has 8192.
const CONTROL_LIMIT: u64 = 8 * CONTROL_FILE_SIZE as u64;
/// How often a control file whose CRC is wrong is read again, and how long to wait before, as PostgreSQL's own
/// programs do (`get_controlfile`).
const CONTROL_RETRIES: u32 = 10;
const CONTROL_PAUSE: Duration = Duration::from_millis(10);
/// How many entries of a directory are looked at for a hint in an error.
const HINT_ENTRIES: usize = 1000;

/// A data directory.
#[derive(Debug, Clone)]
pub struct DataDir {
    path: PathBuf,
    major: Option<Major>,
    identity: Identity,
}

/// What makes two paths the same directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
}

impl Identity {
    /// That of a file or directory.
    pub fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// Why a path cannot be taken for a data directory.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Nothing lies at the path.
    #[error("{} does not exist; give the path of a data directory (the one that holds PG_VERSION)", path.display())]
    Missing {
        /// The path as given.
        path: PathBuf,
    },
    /// Something else than a directory lies there.
    #[error("{} is not a directory; give the data directory itself, not a file or an archive of it", path.display())]
    NotADirectory {
        /// The path as given.
        path: PathBuf,
    },
    /// The directory cannot be entered or listed.
    #[error("{}: permission denied; run as its owner{} or as root", path.display(), owner_text(*.owner))]
    Permission {
        /// What could not be read.
        path: PathBuf,
        /// Its owner's number, if that can be seen.
        owner: Option<u32>,
    },
    /// Nothing is in it.
    #[error(
        "{} is empty; give the path of a data directory, and see that the file system that should hold it is mounted",
        path.display()
    )]
    Empty {
        /// The path as given.
        path: PathBuf,
    },
    /// It lacks what every data directory has.
    #[error("{} is not a data directory: {missing} is missing{}", path.display(), instead(.hint.as_deref()))]
    NotADataDirectory {
        /// The path as given.
        path: PathBuf,
        /// What it lacks.
        missing: &'static str,
        /// A data directory above or below it.
        hint: Option<PathBuf>,
    },
    /// `PG_VERSION` names no major that is known.
    #[error("{} says {text:?}; known are the majors 9.0 to 9.6 and 10 to 19: give a data directory of one of these", path.display())]
    UnknownVersion {
        /// `PG_VERSION`.
        path: PathBuf,
        /// Its first line.
        text: String,
    },
    /// Reading failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn owner_text(uid: Option<u32>) -> String {
    uid.map(|uid| format!(" (user number {uid})")).unwrap_or_default()
}

fn instead(hint: Option<&Path>) -> String {
    let hint = hint.map(|hint| format!("; {} is one", hint.display()));
    hint.unwrap_or_else(|| "; give the directory that holds PG_VERSION, global/ and base/".to_owned())
}

/// Why a file of a data directory cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is not there.
    #[error("{} does not exist", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The caller may not read it.
    #[error("{}: permission denied; run as the data directory's owner or as root", path.display())]
    Permission {
        /// The file.
        path: PathBuf,
    },
    /// Not a regular file: reading it might never end.
    #[error("{} is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// Longer than anything that PostgreSQL would put there.
    #[error("{} has {size} bytes, more than the {limit} that are read of such a file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        size: u64,
        /// The longest that is read, in bytes.
        limit: u64,
    },
    /// Reading failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl ReadError {
    fn new(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::NotFound => Self::Missing { path },
            ErrorKind::PermissionDenied => Self::Permission { path },
            _ => Self::Io { path, source },
        }
    }

    /// The file that it is about.
    pub fn path(&self) -> &Path {
        let (Self::Missing { path }
        | Self::Permission { path }
        | Self::NotAFile { path }
        | Self::TooLarge { path, .. }
        | Self::Io { path, .. }) = self;
        path
    }
}

/// Why a data directory's control file cannot be read.
#[derive(Debug, Error)]
pub enum ControlReadError {
    /// It is not there.
    #[error("{} does not exist{}", path.display(), set_aside_text(set_aside))]
    Missing {
        /// `global/pg_control`.
        path: PathBuf,
        /// Files beside it that look like a copy that was set aside.
        set_aside: Vec<PathBuf>,
    },
    /// It could not be read.
    #[error("{read}{advice}", read = .0, advice = unreadable_advice(.0))]
    Read(ReadError),
    /// Its content is no control file.
    #[error("{}: {source}; {}", path.display(), content_advice(source))]
    Content {
        /// `global/pg_control`.
        path: PathBuf,
        /// Why.
        source: ControlError,
    },
}

/// Of a file that only may not be read, the error itself says what to do.
const fn unreadable_advice(error: &ReadError) -> &'static str {
    match error {
        ReadError::Permission { .. } => "",
        _ => {
            "; without it nothing can be said: restore it from a backup or a snapshot of this very directory"
        }
    }
}

const fn content_advice(error: &ControlError) -> &'static str {
    match error {
        ControlError::ByteOrder { .. } => "look at this cluster on a machine of its own kind",
        _ => {
            "restore it from a backup or a snapshot of this very directory, and run neither pg_resetwal nor touch"
        }
    }
}

fn set_aside_text(set_aside: &[PathBuf]) -> String {
    if set_aside.is_empty() {
        return "; without it nothing can be said, and no server starts: restore it from a backup or a snapshot of \
                this very directory, and run neither pg_resetwal nor touch"
            .to_owned();
    }
    let names = set_aside.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    format!(
        "; a copy was set aside: {names}. A rewind that was interrupted does that on purpose: resume or undo it with \
         the program that began it"
    )
}

impl DataDir {
    /// Opens a data directory: it has a `PG_VERSION` of a known major and a directory `global`. Nothing is kept open.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let metadata = fs::metadata(&path).map_err(|e| open_error(&path, e))?;
        if !metadata.is_dir() {
            return Err(OpenError::NotADirectory { path });
        }
        let mut dir = Self { identity: Identity::of(&metadata), path, major: None };
        let version = match dir.read_small("PG_VERSION", VERSION_LIMIT) {
            Ok(version) => version,
            Err(error) => return Err(dir.no_version(error)),
        };
        let version = String::from_utf8_lossy(&version);
        dir.major = Major::from_pg_version(&version);
        if dir.major.is_none() {
            let text = version.lines().next().unwrap_or_default().to_owned();
            return Err(OpenError::UnknownVersion { path: dir.path.join("PG_VERSION"), text });
        }
        // A database's directory has a PG_VERSION too.
        if !dir.path.join("global").is_dir() {
            let hint = fs::canonicalize(&dir.path).ok().and_then(|p| above(&p));
            return Err(OpenError::NotADataDirectory { path: dir.path, missing: "global/", hint });
        }
        Ok(dir)
    }

    fn no_version(self, error: ReadError) -> OpenError {
        let path = self.path;
        match error {
            ReadError::Missing { .. } => {
                match fs::read_dir(&path).map(|mut entries| entries.next().is_none()) {
                    Ok(true) => OpenError::Empty { path },
                    Ok(false) => {
                        let hint =
                            below(&path).or_else(|| fs::canonicalize(&path).ok().and_then(|p| above(&p)));
                        OpenError::NotADataDirectory { path, missing: "PG_VERSION", hint }
                    }
                    Err(error) => open_error(&path, error),
                }
            }
            ReadError::Permission { path } => open_error(&path, ErrorKind::PermissionDenied.into()),
            ReadError::Io { path, source } => OpenError::Io { path, source },
            ReadError::NotAFile { path: file } | ReadError::TooLarge { path: file, .. } => OpenError::Io {
                path: file,
                source: io::Error::new(
                    ErrorKind::InvalidData,
                    "not the small file that a data directory has; restore it from a backup or a peer of the same major",
                ),
            },
        }
    }

    /// The directory as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The major in PG_VERSION, if it is a known one.
    pub const fn major(&self) -> Option<Major> {
        self.major
    }

    /// Device and inode that the directory had when it was opened.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Reads a whole file of at most `limit` bytes; a longer one is refused.
    pub fn read_small(&self, relative: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, ReadError> {
        let path = self.path.join(relative);
        let (file, size) = open_regular(&path)?;
        if size > limit {
            return Err(ReadError::TooLarge { path, size, limit });
        }
        let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
        // A file may grow while it is read, and some file systems say 0.
        match file.take(limit + 1).read_to_end(&mut content) {
            Ok(read) if read as u64 > limit => Err(ReadError::TooLarge { path, size: read as u64, limit }),
            Ok(_) => Ok(content),
            Err(error) => Err(ReadError::new(path, error)),
        }
    }

    /// Reads `global/pg_control`; the bytes are the whole file. A running server writes it in place: where the CRC is
    /// wrong it is read again, until it is right or stays the same. A CRC that stays wrong, and a file that is not
    /// 8192 bytes long, are no errors ([`ControlFile::problems`]).
    pub fn control(&self) -> Result<(ControlFile, Vec<u8>), ControlReadError> {
        let right = |bytes: &[u8]| ControlFile::parse_with_hint(bytes, self.major).is_ok_and(|c| c.crc_ok);
        let bytes = read_settled(right, || self.control_bytes())?;
        match ControlFile::parse_with_hint(&bytes, self.major) {
            Ok(control) => Ok((control, bytes)),
            Err(source) => Err(ControlReadError::Content { path: self.path.join(CONTROL_FILE), source }),
        }
    }

    /// The bytes of `global/pg_control`, read once.
    pub fn control_bytes(&self) -> Result<Vec<u8>, ControlReadError> {
        self.read_small(CONTROL_FILE, CONTROL_LIMIT).map_err(|error| match error {
            ReadError::Missing { path } => ControlReadError::Missing { path, set_aside: self.set_aside() },
            other => ControlReadError::Read(other),
        })
    }

    /// Files in `global` that look like a control file under another name, sorted.
    fn set_aside(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path.join("global")) else { return Vec::new() };
        let looks_like_it = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.len() > "pg_control".len() && name.contains("pg_control")
        };
        let mut found = entries.flatten().map(|e| e.path()).filter(looks_like_it).collect::<Vec<_>>();
        found.sort();
        found
    }

    /// The directory that WAL is in (`pg_wal`, to 9.6 `pg_xlog`), with a symlink resolved. Fails when it, or what the
    /// link points to, is not there.
    pub fn wal_dir(&self) -> Result<PathBuf, ReadError> {
        let path = self.path.join(self.major.map_or("pg_wal", Major::wal_dir));
        let is_link = fs::symlink_metadata(&path).map_err(|e| ReadError::new(path.clone(), e))?.is_symlink();
        let resolved = if is_link {
            let target = fs::read_link(&path).map_or_else(|_| path.clone(), |target| self.path.join(target));
            fs::canonicalize(&path).map_err(|e| ReadError::new(target, e))?
        } else {
            path.clone()
        };
        match fs::metadata(&resolved) {
            Ok(metadata) if metadata.is_dir() => Ok(resolved),
            Ok(_) => Err(ReadError::Io { path, source: ErrorKind::NotADirectory.into() }),
            Err(error) => Err(ReadError::new(path, error)),
        }
    }
}

/// Reads until the content is `right` or the same twice in a row, a limited number of times.
fn read_settled<E>(
    right: impl Fn(&[u8]) -> bool,
    mut read: impl FnMut() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut bytes = read()?;
    for _ in 0..CONTROL_RETRIES {
        if right(&bytes) {
            break;
        }
        thread::sleep(CONTROL_PAUSE);
        let again = read()?;
        let settled = again == bytes;
        bytes = again;
        if settled {
            break;
        }
    }
    Ok(bytes)
}

fn open_error(path: &Path, source: io::Error) -> OpenError {
    let path = path.to_owned();
    match source.kind() {
        ErrorKind::NotFound => OpenError::Missing { path },
        ErrorKind::NotADirectory => OpenError::NotADirectory { path },
        ErrorKind::PermissionDenied => {
            let owner = fs::metadata(&path).ok().map(|metadata| metadata.uid());
            OpenError::Permission { path, owner }
        }
        _ => OpenError::Io { path, source },
    }
}

/// The file and its length. A pipe would be waited for when it is opened, so what it is is asked before.
fn open_regular(path: &Path) -> Result<(File, u64), ReadError> {
    let fail = |error| ReadError::new(path.to_owned(), error);
    if !fs::metadata(path).map_err(fail)?.is_file() {
        return Err(ReadError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    Ok((file, size))
}

fn is_data_directory(path: &Path) -> bool {
    path.join("PG_VERSION").is_file() && path.join("global").is_dir()
}

/// The nearest data directory that `path` lies in.
fn above(path: &Path) -> Option<PathBuf> {
    path.ancestors().skip(1).find(|p| is_data_directory(p)).map(Path::to_owned)
}

/// A data directory one or two levels below: `data`, `17/main` and the like.
fn below(path: &Path) -> Option<PathBuf> {
    let children = |path: &Path| {
        let mut found = Vec::new();
        for entry in fs::read_dir(path).into_iter().flatten().flatten().take(HINT_ENTRIES) {
            found.push(entry.path());
        }
        found.sort();
        found
    };
    let first = children(path);
    first.iter().find(|p| is_data_directory(p)).cloned().or_else(|| {
        let second = first.iter().take(HINT_ENTRIES / 10).flat_map(|p| children(p));
        second.into_iter().find(|p| is_data_directory(p))
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use tempfile::TempDir;

    use super::*;
    use crate::pg::control::ControlProblem;

    fn sample(major: &str) -> Vec<u8> {
        fs::read(format!("{}/testdata/control/{major}/pg_control", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn data_dir(at: &Path, major: &str) {
        fs::create_dir_all(at.join("global")).unwrap();
        fs::write(at.join("PG_VERSION"), format!("{major}\n")).unwrap();
        fs::write(at.join(CONTROL_FILE), sample(major)).unwrap();
    }

    fn refusal(path: &Path) -> String {
        DataDir::open(path).unwrap_err().to_string()
    }

    #[test]
    fn opens() {
        let temp = TempDir::new().unwrap();
        data_dir(temp.path(), "17");
        let dir = DataDir::open(temp.path()).unwrap();
        assert_eq!(dir.major(), Some(Major::V17));
        assert_eq!(dir.path(), temp.path());
        let (control, bytes) = dir.control().unwrap();
        assert!(control.crc_ok);
        assert_eq!(bytes, sample("17"));
        let link = temp.path().join("link");
        symlink(temp.path(), &link).unwrap();
        assert_eq!(DataDir::open(&link).unwrap().identity(), dir.identity());
    }

    #[test]
    fn what_is_no_data_directory() {
        let temp = TempDir::new().unwrap();
        let at = |name: &str| temp.path().join(name);
        let said = |path: &Path, text: &str| format!("{}{text}", path.display());
        assert_eq!(
            refusal(&at("none")),
            said(
                &at("none"),
                " does not exist; give the path of a data directory (the one that holds PG_VERSION)"
            )
        );
        fs::write(at("file"), "").unwrap();
        assert!(refusal(&at("file")).contains("file is not a directory"));
        assert!(refusal(&at("file/below")).contains("is not a directory"));
        fs::create_dir(at("empty")).unwrap();
        assert!(refusal(&at("empty")).contains("empty is empty; "));
        fs::create_dir_all(at("etc/x")).unwrap();
        assert!(refusal(&at("etc")).contains("etc is not a data directory: PG_VERSION is missing; give"));
        for inside in ["a/data", "b/17/main"] {
            data_dir(&at(inside), "17");
            let outside = at(inside.split('/').next().unwrap());
            let expected =
                format!(" is not a data directory: PG_VERSION is missing; {} is one", at(inside).display());
            assert_eq!(refusal(&outside), said(&outside, &expected));
        }
        fs::create_dir_all(at("a/data/base/5")).unwrap();
        fs::write(at("a/data/base/5/PG_VERSION"), "17\n").unwrap();
        let whole = fs::canonicalize(at("a/data")).unwrap();
        let expected = format!("global/ is missing; {} is one", whole.display());
        assert!(refusal(&at("a/data/base/5")).ends_with(&expected), "{}", refusal(&at("a/data/base/5")));
        fs::create_dir(at("a/data/pg_xact")).unwrap();
        fs::write(at("a/data/pg_xact/0000"), "").unwrap();
        let expected = format!("PG_VERSION is missing; {} is one", whole.display());
        assert!(refusal(&at("a/data/pg_xact")).ends_with(&expected), "{}", refusal(&at("a/data/pg_xact")));
        for (version, said) in [("8.4\n", "\"8.4\""), ("", "\"\""), ("99\njunk", "\"99\"")] {
            fs::write(at("a/data/PG_VERSION"), version).unwrap();
            assert!(refusal(&at("a/data")).contains(&format!("PG_VERSION says {said}; known are")));
        }
        fs::write(at("a/data/PG_VERSION"), "x".repeat(65)).unwrap();
        assert!(refusal(&at("a/data")).contains("not the small file"));
        let denied = open_error(temp.path(), ErrorKind::PermissionDenied.into()).to_string();
        let uid = fs::metadata(temp.path()).unwrap().uid();
        let expected = format!(": permission denied; run as its owner (user number {uid}) or as root");
        assert_eq!(denied, said(temp.path(), &expected));
        symlink("loop", at("loop")).unwrap();
        assert!(refusal(&at("loop")).contains("loop: "), "{}", refusal(&at("loop")));
    }

    #[test]
    fn a_file_that_may_not_be_read_needs_no_backup() {
        let error = ControlReadError::Read(ReadError::Permission { path: "x".into() });
        assert_eq!(error.to_string(), "x: permission denied; run as the data directory's owner or as root");
    }

    #[test]
    fn files_that_are_not_read() {
        let temp = TempDir::new().unwrap();
        data_dir(temp.path(), "17");
        let dir = DataDir::open(temp.path()).unwrap();
        let name = |name: &str| temp.path().join(name);
        fs::write(name("big"), [0; 100]).unwrap();
        let error = dir.read_small("big", 99).unwrap_err();
        assert!(
            error.to_string().ends_with("big has 100 bytes, more than the 99 that are read of such a file")
        );
        assert_eq!(dir.read_small("big", 100).unwrap().len(), 100);
        let error = dir.read_small("none", 10).unwrap_err();
        assert!(matches!(error, ReadError::Missing { .. }));
        assert_eq!(error.path(), name("none"));
        assert!(matches!(dir.read_small("global", 10), Err(ReadError::NotAFile { .. })));
        let made = Command::new("mkfifo").arg(name("pipe")).status().unwrap().success();
        assert!(made && matches!(dir.read_small("pipe", 10), Err(ReadError::NotAFile { .. })));
        symlink("/dev/zero", name("zero")).unwrap();
        assert!(matches!(dir.read_small("zero", 10), Err(ReadError::NotAFile { .. })));
    }

    #[test]
    fn control_files_that_are_not_right() {
        let temp = TempDir::new().unwrap();
        data_dir(temp.path(), "17");
        let dir = DataDir::open(temp.path()).unwrap();
        let file = temp.path().join(CONTROL_FILE);
        let mut bytes = sample("17");
        bytes[100] ^= 1;
        fs::write(&file, &bytes).unwrap();
        let (control, read) = dir.control().unwrap();
        assert!(!control.crc_ok);
        assert_eq!(read, bytes);
        fs::write(&file, &sample("17")[..4096]).unwrap();
        let (control, read) = dir.control().unwrap();
        assert_eq!(control.problems(&read), [ControlProblem::FileSize { found: 4096 }]);
        fs::write(&file, b"").unwrap();
        let error = dir.control().unwrap_err().to_string();
        assert!(error.contains(
            "pg_control: the control file ends too early: 4 bytes wanted at offset 8, 0 there; restore it"
        ));
        File::create(&file).unwrap().set_len(1 << 40).unwrap();
        assert!(matches!(dir.control(), Err(ControlReadError::Read(ReadError::TooLarge { .. }))));
        fs::remove_file(&file).unwrap();
        assert!(dir.control().unwrap_err().to_string().contains("pg_control does not exist; without it"));
        let aside = ["global/pg_control.bak", "global/pg_control.forkpoint", "global/pg_control.old"];
        for name in aside {
            fs::write(temp.path().join(name), "").unwrap();
        }
        let Err(ControlReadError::Missing { set_aside, .. }) = dir.control() else { panic!() };
        assert_eq!(set_aside, aside.map(|name| temp.path().join(name)));
        assert!(dir.control().unwrap_err().to_string().contains("pg_control.forkpoint"));
    }

    #[test]
    fn control_file_that_is_being_written() {
        let read = |contents: &[u8]| {
            let mut contents = contents.iter();
            let settled = read_settled(|bytes| bytes == [0], || contents.next().map(|c| vec![*c]).ok_or(()));
            (settled.unwrap(), contents.len())
        };
        assert_eq!(read(&[0, 9]), (vec![0], 1));
        assert_eq!(read(&[1, 2, 0, 9]), (vec![0], 1));
        assert_eq!(read(&[1, 2, 2, 0]), (vec![2], 1));
        assert_eq!(read(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]), (vec![11], 1));
    }

    #[test]
    fn wal_directories() {
        let temp = TempDir::new().unwrap();
        let (data, elsewhere) = (temp.path().join("data"), temp.path().join("wal"));
        data_dir(&data, "17");
        let dir = DataDir::open(&data).unwrap();
        assert!(matches!(dir.wal_dir().unwrap_err(), ReadError::Missing { .. }));
        symlink("../wal", data.join("pg_wal")).unwrap();
        let error = dir.wal_dir().unwrap_err();
        assert_eq!(error.path(), data.join("../wal"));
        fs::create_dir(&elsewhere).unwrap();
        assert_eq!(dir.wal_dir().unwrap(), fs::canonicalize(&elsewhere).unwrap());
        fs::remove_file(data.join("pg_wal")).unwrap();
        fs::write(data.join("pg_wal"), "").unwrap();
        assert!(matches!(dir.wal_dir(), Err(ReadError::Io { .. })));
        fs::remove_file(data.join("pg_wal")).unwrap();
        fs::create_dir(data.join("pg_wal")).unwrap();
        assert_eq!(dir.wal_dir().unwrap(), data.join("pg_wal"));
    }
}
