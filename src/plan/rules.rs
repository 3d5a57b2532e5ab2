//! What pg_rewind does with each path: its exclusions and its decisions (`check_file_excluded` and `decide_file_action`
//! of filemap.c).

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::pg::{Major, RelFile};
use crate::source::trees::{Entry, Kind, Pair, relation_file};

/// Directories at the top whose content is never part of a copy (`excludeDirContents`).
const EXCLUDED_CONTENTS: [&[u8]; 7] = [
    b"pg_dynshmem/",
    b"pg_notify/",
    b"pg_replslot/",
    b"pg_serial/",
    b"pg_snapshots/",
    b"pg_stat_tmp/",
    b"pg_subtrans/",
];
/// Names of files that are never part of a copy, wherever they lie (`excludeFiles`).
const EXCLUDED_NAMES: [&[u8]; 7] = [
    b"backup_label",
    b"backup_manifest",
    b"current_logfiles.tmp",
    b"postgresql.auto.conf.tmp",
    b"postmaster.opts",
    b"postmaster.pid",
    b"tablespace_map",
];
/// The same by the beginning of the name (`RELCACHE_INIT_FILENAME`).
const EXCLUDED_BEGINNING: &[u8] = b"pg_internal.init";
/// Temporary files and directories (`PG_TEMP_FILE_PREFIX`, `PG_TEMP_FILES_DIR`), not at the top.
const TEMPORARY: &[u8] = b"/pgsql_tmp";
/// Metadata of macOS.
const DS_STORE: &[u8] = b".DS_Store";
const PG_VERSION: &[u8] = b"PG_VERSION";
const CONTROL_FILE: &[u8] = b"global/pg_control";
/// This program's own files at the target, never touched, never copied from a source.
const OWN: [&[u8]; 2] = [b"forkpoint.state", b"global/pg_control.forkpoint"];

/// What the rules say of a path, before sizes and blocks of relation files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Stays as it is, or stays away.
    Nothing,
    /// This program's own, on the target.
    Own,
    /// Made or copied, because only the source has it.
    SourceOnly,
    /// Removed, because only the target has it.
    TargetOnly,
    /// Removed, because it is no part of a copy.
    Excluded,
    /// Of different types; nobody knows what to do.
    TypesDiffer,
    /// A file of both that is copied whole.
    Copy,
    /// A relation file of both.
    Relation(RelFile, u32),
}

/// Whether a path is never part of a copy.
pub fn is_excluded(path: &[u8]) -> bool {
    let name = path.rsplit(|b| *b == b'/').next().unwrap_or_default();
    contains(path, TEMPORARY)
        || EXCLUDED_NAMES.contains(&name)
        || name.starts_with(EXCLUDED_BEGINNING)
        || EXCLUDED_CONTENTS.iter().any(|dir| path.starts_with(dir))
}

/// The relation file at this path, of this cluster's own `version_dir` where it lies in a tablespace.
pub fn relation(path: &Path, version_dir: &str) -> Option<(RelFile, u32)> {
    let mut names = path.as_os_str().as_bytes().split(|b| *b == b'/');
    let in_tablespace = names.next() == Some(b"pg_tblspc");
    if in_tablespace && names.nth(1) != Some(version_dir.as_bytes()) {
        return None;
    }
    relation_file(path)
}

fn seen<'a>(entry: Option<&Entry<'a>>) -> Option<Entry<'a>> {
    entry.copied().filter(|e| e.kind != Kind::Other)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|w| w == part)
}

/// What happens to a path. `old_rules`: those of 13, in which PG_VERSION is never copied and .DS_Store is a file like
/// any other.
pub fn rule(pair: &Pair<'_>, version_dir: &str, old_rules: bool) -> Rule {
    let (target, source) = match pair {
        Pair::Target(t) => (Some(t), None),
        Pair::Source(s) => (None, Some(s)),
        Pair::Both(t, s) => (Some(t), Some(s)),
    };
    // sockets and the like are not seen
    let (target, source) = (seen(target), seen(source));
    let Some(any) = target.or(source) else { return Rule::Nothing };
    let path = any.path.as_os_str().as_bytes();
    if OWN.contains(&path) {
        return if target.is_some() { Rule::Own } else { Rule::Nothing };
    }
    if path == CONTROL_FILE || (!old_rules && contains(path, DS_STORE)) {
        return Rule::Nothing;
    }
    if is_excluded(path) {
        return if target.is_some() { Rule::Excluded } else { Rule::Nothing };
    }
    let version_file = path.ends_with(PG_VERSION);
    match (target, source) {
        (None, Some(_)) if old_rules && version_file => Rule::Nothing,
        (None, Some(_)) => Rule::SourceOnly,
        (Some(_), None) => Rule::TargetOnly,
        (Some(t), Some(s)) if t.kind != s.kind => Rule::TypesDiffer,
        (Some(t), Some(_)) => match t.kind {
            Kind::File if version_file => Rule::Nothing,
            Kind::File => match relation(t.path, version_dir) {
                Some((rel, segment)) => Rule::Relation(rel, segment),
                None => Rule::Copy,
            },
            _ => Rule::Nothing,
        },
        (None, None) => Rule::Nothing,
    }
}

/// Whether the pg_rewind of a major goes by the rules of 13; 10 to 12 are treated as 13.
pub fn old_rules(major: Major) -> bool {
    major <= Major::V13
}

#[cfg(test)]
mod tests {
    use super::*;

    const VERSION_DIR: &str = "PG_17_202406281";

    fn entry(path: &str, kind: Kind) -> Entry<'_> {
        Entry { path: Path::new(path), kind, size: 0, mode: 0o600, uid: 0, link: None }
    }

    fn both(path: &str) -> Rule {
        rule(&Pair::Both(entry(path, Kind::File), entry(path, Kind::File)), VERSION_DIR, false)
    }

    #[test]
    fn excluded_paths() {
        for path in [
            "pg_replslot/x",
            "pg_replslot/x/state",
            "pg_stat_tmp/x",
            "postmaster.pid",
            "base/5/pg_internal.init",
            "global/pg_internal.init.123",
            "base/pgsql_tmp",
            "base/pgsql_tmp/pgsql_tmp1.0",
            "log/backup_label",
            "backup_manifest",
        ] {
            assert!(is_excluded(path.as_bytes()), "{path}");
        }
        for path in [
            "pg_replslot",
            "pgsql_tmp1",
            "a/pg_replslot/x",
            "postmaster.pid2",
            "pg_stat/x",
            "postgresql.conf",
        ] {
            assert!(!is_excluded(path.as_bytes()), "{path}");
        }
    }

    #[test]
    fn decisions() {
        let one = |path, target, old| {
            let e = entry(path, Kind::File);
            rule(&if target { Pair::Target(e) } else { Pair::Source(e) }, VERSION_DIR, old)
        };
        assert_eq!(one("base/5/PG_VERSION", false, false), Rule::SourceOnly);
        assert_eq!(one("base/5/PG_VERSION", false, true), Rule::Nothing);
        assert_eq!(one("base/5/PG_VERSION", true, true), Rule::TargetOnly);
        assert_eq!(one("postmaster.pid", true, false), Rule::Excluded);
        assert_eq!(one("postmaster.pid", false, false), Rule::Nothing);
        assert_eq!(one(".DS_Store", false, false), Rule::Nothing);
        assert_eq!(one(".DS_Store", false, true), Rule::SourceOnly);
        assert_eq!(
            (one("forkpoint.state", true, false), one("forkpoint.state", false, false)),
            (Rule::Own, Rule::Nothing)
        );
        assert_eq!(both("global/pg_control"), Rule::Nothing);
        assert_eq!(both("base/5/PG_VERSION"), Rule::Nothing);
        assert_eq!(both("postgresql.conf"), Rule::Copy);
        assert_eq!(both("base/5/16384_fsm"), Rule::Copy);
        let rel = RelFile { spc: 1663, db: 5, rel: 16384 };
        assert_eq!(both("base/5/16384.2"), Rule::Relation(rel, 2));
        let moved = RelFile { spc: 9, ..rel };
        assert_eq!(both("pg_tblspc/9/PG_17_202406281/5/16384"), Rule::Relation(moved, 0));
        assert_eq!(both("pg_tblspc/9/PG_16_202307071/5/16384"), Rule::Copy);
        let differ = Pair::Both(entry("x", Kind::File), entry("x", Kind::Directory));
        assert_eq!(rule(&differ, VERSION_DIR, false), Rule::TypesDiffer);
        let socket = Pair::Both(entry("x", Kind::Other), entry("x", Kind::File));
        assert_eq!(rule(&socket, VERSION_DIR, false), Rule::SourceOnly);
        let dir = Pair::Both(entry("base", Kind::Directory), entry("base", Kind::Directory));
        assert_eq!(rule(&dir, VERSION_DIR, false), Rule::Nothing);
    }
}
