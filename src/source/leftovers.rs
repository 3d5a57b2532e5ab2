//! Files in a data directory that change how a server would start on it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

use crate::pg::{Lsn, Major, TimelineId};

/// Longest file of these that is read; the rest of a longer one is left out (bytes).
const LIMIT: u64 = 1 << 20;
/// Leftovers that are told by their names alone, within the data directory.
/// Where forkpoint notes the undo store of a rewind; gone after undo and undo --discard.
pub const FORKPOINT_STATE: &str = "forkpoint.state";

const OTHERS: [&str; 8] = [
    "backup_label.old",
    "fallback_promote",
    FORKPOINT_STATE,
    "global/pg_control.forkpoint",
    "global/pg_control.old",
    "postgresql.auto.conf.tmp",
    "promote",
    "tablespace_map.old",
];

/// What lies around.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// `backup_label`, read.
    pub backup_label: Option<BackupLabel>,
    /// `tablespace_map`: OID and path of each line.
    pub tablespace_map: Option<Vec<(u32, String)>>,
    /// `standby.signal` is there.
    pub standby_signal: bool,
    /// `recovery.signal` is there.
    pub recovery_signal: bool,
    /// `recovery.conf` is there (its settings are in `Settings`).
    pub recovery_conf: bool,
    /// `recovery.done` is there.
    pub recovery_done: bool,
    /// `postmaster.pid`, read.
    pub postmaster: Option<Postmaster>,
    /// `pg_wal/archive_status/*.ready`: names of segments and histories not yet archived, sorted.
    pub not_archived: Vec<String>,
    /// A forkpoint or pg_rewind leftover, sentinel or set-aside control file, by name.
    pub others: Vec<PathBuf>,
    /// What could not be read, each a sentence with the file.
    pub problems: Vec<String>,
}

/// `backup_label`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// START WAL LOCATION.
    pub start: Option<Lsn>,
    /// The segment named behind it.
    pub start_file: Option<String>,
    /// CHECKPOINT LOCATION.
    pub checkpoint: Option<Lsn>,
    /// BACKUP METHOD: `streamed`, `pg_start_backup`, `pg_rewind`.
    pub method: String,
    /// BACKUP FROM: `primary`, `master`, `standby`.
    pub from: String,
    /// START TIMELINE.
    pub timeline: Option<TimelineId>,
    /// INCREMENTAL FROM LSN (17+): the server refuses to start on such a directory.
    pub incremental_from: Option<Lsn>,
    /// The lines as they stand.
    pub lines: Vec<String>,
}

impl BackupLabel {
    /// True for the label that pg_rewind leaves behind.
    pub fn by_pg_rewind(&self) -> bool {
        self.method == "pg_rewind"
    }
}

/// `postmaster.pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    /// Line 1: the process.
    pub pid: i64,
    /// Line 2: the data directory it was started with.
    pub data_dir: PathBuf,
    /// Line 2 is this very directory (same device and inode); a snapshot carries another's.
    pub same_directory: bool,
    /// A process of that number lives on this machine, be it a server or, after a restart of the machine, another
    /// program that got the number. Never this program, nor the one that started it.
    pub alive: bool,
}

impl Postmaster {
    /// A server runs on this very directory, as far as this machine can tell.
    pub const fn running(&self) -> bool {
        self.same_directory && self.alive
    }
}

impl BackupLabel {
    /// Reads a label's text. Lines that are not known stay in `lines`.
    pub fn parse(text: &str) -> Self {
        let mut label = Self {
            start: None,
            start_file: None,
            checkpoint: None,
            method: String::new(),
            from: String::new(),
            timeline: None,
            incremental_from: None,
            lines: text.lines().map(str::to_owned).collect(),
        };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(": ") else { continue };
            let value = value.trim();
            match key {
                "START WAL LOCATION" => {
                    let (lsn, file) = value.split_once(' ').unwrap_or((value, ""));
                    label.start = lsn.parse().ok();
                    let file = file.trim().strip_prefix("(file ").and_then(|f| f.strip_suffix(')'));
                    label.start_file = file.map(str::to_owned);
                }
                "CHECKPOINT LOCATION" => label.checkpoint = value.parse().ok(),
                "BACKUP METHOD" => value.clone_into(&mut label.method),
                "BACKUP FROM" => value.clone_into(&mut label.from),
                "START TIMELINE" => label.timeline = value.parse().ok(),
                "INCREMENTAL FROM LSN" => label.incremental_from = value.parse().ok(),
                _ => {}
            }
        }
        label
    }

    /// The value of any line by its name, like `LABEL` or `STOP TIME`.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.lines.iter().find_map(|l| l.strip_prefix(name)?.strip_prefix(": ")).map(str::trim)
    }

    /// LABEL.
    pub fn label(&self) -> Option<&str> {
        self.field("LABEL")
    }
}

/// Reads `tablespace_map`: lines of OID and path, in which a backslash stands before a line end or a backslash that
/// belongs to the path. Lines without a number are left out.
pub fn parse_tablespace_map(content: &[u8]) -> Vec<(u32, String)> {
    let mut map = Vec::new();
    let mut line: Vec<u8> = Vec::new();
    let mut escaped = false;
    for &b in content.iter().chain(b"\n") {
        if escaped {
            line.push(b);
            escaped = false;
        } else if b == b'\\' {
            escaped = true;
        } else if b == b'\n' || b == b'\r' {
            let text = String::from_utf8_lossy(&line);
            if let Some((oid, path)) = text.split_once(' ')
                && let Ok(oid) = oid.parse()
            {
                map.push((oid, path.to_owned()));
            }
            line.clear();
        } else {
            line.push(b);
        }
    }
    map
}

impl Postmaster {
    /// Reads `postmaster.pid` of the directory `dir`; `None` where its first line is no number. A server in
    /// single-user mode writes its number with a minus sign; that is left out here.
    pub fn parse(content: &[u8], dir: &Path) -> Option<Self> {
        let mut lines = content.split(|b| *b == b'\n');
        let pid: i64 = std::str::from_utf8(lines.next()?).ok()?.trim().parse().ok()?;
        let pid = pid.checked_abs()?;
        let line = lines.next().unwrap_or_default();
        let data_dir = PathBuf::from(std::ffi::OsStr::from_bytes(line.strip_suffix(b"\r").unwrap_or(line)));
        let identity = |p: &Path| std::fs::metadata(p).ok().map(|m| (m.dev(), m.ino()));
        let same_directory = data_dir.is_absolute() && {
            let this = identity(dir);
            this.is_some() && this == identity(&data_dir)
        };
        Some(Self { pid, data_dir, same_directory, alive: alive(pid) })
    }
}

/// Whether a process of that number lives; `EPERM` means that it does and is another user's. As the server, takes no
/// heed of its own number and its parent's: a lock file that names them is left from before a restart.
fn alive(pid: i64) -> bool {
    let Some(pid) = i32::try_from(pid).ok().filter(|p| *p > 0).and_then(Pid::from_raw) else { return false };
    if pid == rustix::process::getpid() || Some(pid) == rustix::process::getppid() {
        return false;
    }
    match rustix::process::test_kill_process(pid) {
        Ok(()) => true,
        Err(e) => e == rustix::io::Errno::PERM,
    }
}

impl Leftovers {
    /// Looks for them in the data directory `dir`, whose WAL directory is `wal_dir` (it may be missing). Nothing is
    /// written. What is there and cannot be read is told in `problems`.
    pub fn read(dir: &Path, major: impl Into<Option<Major>>, wal_dir: &Path) -> Self {
        let mut found = Self::default();
        let there = |name: &str| dir.join(name).symlink_metadata().is_ok();
        if let Some(content) = found.content(&dir.join("backup_label")) {
            found.backup_label = Some(BackupLabel::parse(&String::from_utf8_lossy(&content)));
        }
        // before 9.5 the name means nothing
        if major.into().is_none_or(|m| m >= Major::V9_5)
            && let Some(content) = found.content(&dir.join("tablespace_map"))
        {
            found.tablespace_map = Some(parse_tablespace_map(&content));
        }
        found.standby_signal = there("standby.signal");
        found.recovery_signal = there("recovery.signal");
        found.recovery_conf = there("recovery.conf");
        found.recovery_done = there("recovery.done");
        let pid_file = dir.join("postmaster.pid");
        if let Some(content) = found.content(&pid_file) {
            found.postmaster = Postmaster::parse(&content, dir);
            if found.postmaster.is_none() {
                found.problems.push(format!("{}: its first line is no process number", pid_file.display()));
            }
        }
        found.others.extend(OTHERS.into_iter().filter(|n| there(n)).map(PathBuf::from));
        found.wal(dir, wal_dir);
        found.others.sort();
        found
    }

    /// forkpoint rewound the directory, or one that this is a copy of, and that was neither undone nor made final.
    pub fn forkpoint_state(&self) -> bool {
        self.others.iter().any(|name| name == Path::new(FORKPOINT_STATE))
    }

    /// `archive_status` and the unfinished files of the WAL directory.
    fn wal(&mut self, dir: &Path, wal_dir: &Path) {
        let status = wal_dir.join("archive_status");
        match std::fs::read_dir(&status) {
            Ok(entries) => {
                let names = entries.flatten().filter_map(|e| e.file_name().into_string().ok());
                self.not_archived =
                    names.filter_map(|n| n.strip_suffix(".ready").map(str::to_owned)).collect();
                self.not_archived.sort_unstable();
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => self.problems.push(format!("{}: could not be listed: {e}", status.display())),
        }
        // a WAL directory that cannot be listed is told by the WAL set
        let Ok(entries) = std::fs::read_dir(wal_dir) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let bytes = name.as_bytes();
            if bytes.ends_with(b".partial")
                || bytes.starts_with(b"xlogtemp.")
                || matches!(bytes, b"RECOVERYXLOG" | b"RECOVERYHISTORY")
            {
                let path = entry.path();
                self.others.push(path.strip_prefix(dir).map_or_else(|_| path.clone(), Path::to_path_buf));
            }
        }
    }

    /// A file's content; `None` and perhaps a problem where there is none.
    fn content(&mut self, path: &Path) -> Option<Vec<u8>> {
        match read_regular(path) {
            Ok(content) => Some(content),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                self.problems.push(format!("{}: could not be read: {e}", path.display()));
                None
            }
        }
    }
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(LIMIT).read_to_end(&mut content)?;
    Ok(content)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn labels_of_the_majors() {
        let label = BackupLabel::parse(
            "START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/02000060\n\
             BACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-01-02 03:04:05 UTC\n\
             LABEL: pg_basebackup base backup: x\nSTART TIMELINE: 3\nINCREMENTAL FROM LSN: 0/1000028\n\
             INCREMENTAL FROM TLI: 2\n",
        );
        assert_eq!(label.start, Some(Lsn(0x200_0028)));
        assert_eq!(label.start_file.as_deref(), Some("000000010000000000000002"));
        assert_eq!(label.checkpoint, Some(Lsn(0x200_0060)));
        assert_eq!((label.method.as_str(), label.from.as_str()), ("streamed", "primary"));
        assert_eq!((label.timeline, label.incremental_from), (Some(3), Some(Lsn(0x100_0028))));
        assert_eq!(label.label(), Some("pg_basebackup base backup: x"));
        assert_eq!(label.field("START TIME"), Some("2026-01-02 03:04:05 UTC"));
        assert_eq!(label.field("INCREMENTAL FROM TLI"), Some("2"));
        assert_eq!(label.lines.len(), 9);
        assert!(!label.by_pg_rewind());
        let old = "START WAL LOCATION: 0/200\nBACKUP METHOD: pg_rewind\njunk\nSTART TIMELINE: -4\n";
        let old = BackupLabel::parse(old);
        assert!(old.by_pg_rewind() && old.start == Some(Lsn(0x200)) && old.start_file.is_none());
        assert_eq!(old.timeline, None);
    }

    #[test]
    fn tablespace_maps() {
        let map = parse_tablespace_map(
            b"16384 /a/b\n16385 /with space/c\n16386 /new\\\nline\\\\x\\\ry\r\nno number\n77 /end",
        );
        let paths: Vec<_> = map.iter().map(|(oid, path)| (*oid, path.as_str())).collect();
        let wanted = [(16384, "/a/b"), (16385, "/with space/c"), (16386, "/new\nline\\x\ry"), (77, "/end")];
        assert_eq!(paths, wanted);
    }

    #[test]
    fn a_directory_with_everything() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for sub in ["global", "pg_wal/archive_status", "tablespace_map"] {
            fs::create_dir_all(at(sub)).unwrap();
        }
        for name in [
            "standby.signal",
            "recovery.conf",
            "forkpoint.state",
            "global/pg_control.forkpoint",
            "pg_wal/000000010000000000000003.partial",
            "pg_wal/000000010000000000000003",
            "pg_wal/archive_status/00000002.history.ready",
            "pg_wal/archive_status/000000010000000000000003.partial.ready",
            "pg_wal/archive_status/000000010000000000000002.done",
        ] {
            fs::write(at(name), "").unwrap();
        }
        fs::write(at("backup_label"), "BACKUP METHOD: pg_rewind\n").unwrap();
        fs::write(at("postmaster.pid"), format!("1\n{}\n123\n5432\n", dir.path().display())).unwrap();
        let found = Leftovers::read(dir.path(), Major::V17, &at("pg_wal"));
        assert!(
            found.standby_signal && !found.recovery_signal && found.recovery_conf && !found.recovery_done
        );
        assert!(found.backup_label.unwrap().by_pg_rewind());
        assert!(found.postmaster.clone().unwrap().running(), "process 1 lives");
        assert_eq!(found.not_archived, ["000000010000000000000003.partial", "00000002.history"]);
        let others =
            ["forkpoint.state", "global/pg_control.forkpoint", "pg_wal/000000010000000000000003.partial"];
        assert_eq!(found.others, others.map(PathBuf::from));
        assert!(
            found.problems[0].contains("tablespace_map") && found.problems.len() == 1,
            "{:?}",
            found.problems
        );

        let empty = Leftovers::read(&at("global"), None, &at("nowhere"));
        assert!(empty.postmaster.is_none() && empty.problems.is_empty() && empty.not_archived.is_empty());
    }

    #[test]
    fn whose_process_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let of = |pid: i64, path: &Path| {
            Postmaster::parse(format!("{pid}\n{}\n", path.display()).as_bytes(), dir.path())
        };
        assert!(of(1, dir.path()).unwrap().running());
        let other = of(1, Path::new("/")).unwrap();
        assert!(other.alive && !other.same_directory && !other.running());
        assert!(!of(i64::from(std::process::id()), dir.path()).unwrap().alive);
        assert!(!of(0, dir.path()).unwrap().alive);
        assert!(!of(i64::from(i32::MAX), dir.path()).unwrap().alive);
        assert!(!of(i64::MAX, dir.path()).unwrap().alive);
        assert_eq!(of(-1, dir.path()).unwrap().pid, 1);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(of(1, &link).unwrap().same_directory);
        assert_eq!(Postmaster::parse(b"", dir.path()), None);
        assert_eq!(Postmaster::parse(b"x\n/\n", dir.path()), None);
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..300), lines in "([A-Z ]{0,20}(: )?[0-9A-F/ ()]{0,20}\n){0,9}") {
            let _ = BackupLabel::parse(&String::from_utf8_lossy(&junk));
            let _ = BackupLabel::parse(&lines);
            let _ = parse_tablespace_map(&junk);
            let _ = Postmaster::parse(&junk, Path::new("/"));
        }

        #[test]
        fn a_map_written_is_read(paths in proptest::collection::vec("/[a-z\\\\ \n\r]{0,12}", 0..5)) {
            let mut text = Vec::new();
            for (n, path) in paths.iter().enumerate() {
                text.extend(format!("{n} ").bytes());
                for b in path.bytes() {
                    if matches!(b, b'\n' | b'\r' | b'\\') {
                        text.push(b'\\');
                    }
                    text.push(b);
                }
                text.push(b'\n');
            }
            let wanted: Vec<_> = paths.into_iter().enumerate().map(|(n, p)| (n as u32, p)).collect();
            prop_assert_eq!(parse_tablespace_map(&text), wanted);
        }
    }
}
