//! `--keep`: files of the target that stay as they are.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Directories whose content belongs together with the WAL or with the relations.
const DIRECTORIES: [&str; 11] = [
    "base",
    "global",
    "pg_commit_ts",
    "pg_logical",
    "pg_multixact",
    "pg_replslot",
    "pg_subtrans",
    "pg_tblspc",
    "pg_twophase",
    "pg_wal",
    "pg_xact",
];
/// Names that belong to the data wherever they lie.
const NAMES: [&str; 5] =
    ["PG_VERSION", "backup_label", "pg_filenode.map", "postmaster.pid", "tablespace_map"];

/// A pattern of paths within the data directory: `*`, `?`, `[…]` within a name, `**` across directories. One that
/// matches a directory means everything in it too.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(with = "String")]
pub struct Pattern(glob::Pattern);

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "--keep \"{pattern}\": {why}; give a path within the data directory, like postgresql.conf or \"certs/*.pem\""
)]
pub struct BadPattern {
    pattern: String,
    why: String,
}

impl FromStr for Pattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        let bad = |why: &str| Err(BadPattern { pattern: text.to_owned(), why: why.to_owned() });
        let trimmed = text.trim_end_matches('/');
        if trimmed.starts_with('/') || text.starts_with('/') {
            return bad("it is absolute");
        }
        if trimmed.split('/').any(|name| matches!(name, "" | "." | "..")) {
            return bad("one of its names is empty, . or ..");
        }
        match glob::Pattern::new(trimmed) {
            Ok(pattern) => Ok(Self(pattern)),
            Err(e) => bad(e.msg),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str())
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Pattern {
    /// Whether `path`, within the data directory, or a directory above it is meant.
    pub fn matches(&self, path: &Path) -> bool {
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: false,
        };
        path.ancestors()
            .filter(|p| !p.as_os_str().is_empty())
            .any(|p| p.to_str().is_some_and(|text| self.0.matches_with(text, options)))
    }
}

/// Whether a file must never stay behind while the others become the source's: relation files and their forks, control
/// file, WAL, transaction status, relation maps, labels.
pub fn is_data(path: &Path) -> bool {
    let name = |n: &OsStr, list: &[&str]| list.iter().any(|l| l.as_bytes() == n.as_bytes());
    path.iter().next().is_some_and(|first| name(first, &DIRECTORIES))
        || path.file_name().is_some_and(|last| name(last, &NAMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let matches =
            |pattern: &str, path: &str| pattern.parse::<Pattern>().unwrap().matches(Path::new(path));
        assert!(matches("postgresql.conf", "postgresql.conf"));
        assert!(!matches("postgresql.conf", "old/postgresql.conf"));
        assert!(matches("*.conf", "pg_hba.conf") && !matches("*.conf", "conf.d/x.conf"));
        assert!(matches("certs", "certs/a/b.pem") && matches("certs/", "certs/b.pem"));
        assert!(matches("certs/*.pem", "certs/b.pem") && !matches("certs/*.pem", "certs/a/b.pem"));
        assert!(matches("**/*.pem", "certs/a/b.pem"));
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", ".", "[", "/"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_data() {
        for data in [
            "base/1/1259",
            "base",
            "global/pg_control",
            "pg_wal/x",
            "PG_VERSION",
            "base/5/PG_VERSION",
            "pg_xact/0000",
            "pg_tblspc/1",
            "backup_label",
            "pg_twophase",
            "pg_logical/snapshots/x",
        ] {
            assert!(is_data(Path::new(data)), "{data}");
        }
        for other in
            ["postgresql.conf", "pg_hba.conf", "log/x.log", "server.key", "pg_stat/x", "standby.signal"]
        {
            assert!(!is_data(Path::new(other)), "{other}");
        }
    }
}
