//! Paths of a plan. One that came from a file is checked before anything is done with it.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// Longest path that is accepted, in bytes (`PATH_MAX`).
const LONGEST: usize = 4096;

/// Any path: in JSON a string, or where it is not UTF-8 `{"base64": …}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanPath(PathBuf);

impl PlanPath {
    /// As the filesystem has it.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl From<&Path> for PlanPath {
    fn from(path: &Path) -> Self {
        Self(path.to_owned())
    }
}

impl fmt::Display for PlanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Json {
    /// UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Encoded),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Encoded {
    /// RFC 4648, with padding.
    base64: String,
}

fn to_json(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => Json::Text(text.to_owned()),
        Err(_) => Json::Bytes(Encoded { base64: STANDARD.encode(bytes) }),
    }
}

fn from_json(json: Json) -> Result<Vec<u8>, String> {
    match json {
        Json::Text(text) => Ok(text.into_bytes()),
        Json::Bytes(Encoded { base64 }) => STANDARD.decode(base64).map_err(|e| e.to_string()),
    }
}

impl Serialize for PlanPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self.0.as_os_str().as_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PlanPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = from_json(Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        if bytes.contains(&0) || bytes.len() > LONGEST {
            return Err(serde::de::Error::custom("no path can have a NUL byte or be that long"));
        }
        Ok(Self(PathBuf::from(OsString::from_vec(bytes))))
    }
}

impl JsonSchema for PlanPath {
    fn schema_name() -> Cow<'static, str> {
        "Path".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Json::json_schema(generator)
    }
}

/// A path within a data directory: relative, made of names only (never empty, `.` or `..`), without a NUL byte. It says
/// nothing of links; [`Self::may_be_link`] and [`super::disk::stays_inside`] do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(PathBuf);

/// Why bytes are no path within a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the path \"{}\" is refused: {why}", .path.escape_ascii())]
pub struct UnsafePath {
    path: Vec<u8>,
    why: &'static str,
}

impl RelPath {
    /// Checks the bytes of a path.
    ///
    /// # Errors
    /// It could lead outside the directory that it is meant for.
    pub fn new(bytes: &[u8]) -> Result<Self, UnsafePath> {
        let refuse = |why| Err(UnsafePath { path: bytes.iter().copied().take(LONGEST).collect(), why });
        if bytes.is_empty() {
            return refuse("it is empty");
        }
        if bytes.len() > LONGEST {
            return refuse("it is too long");
        }
        if bytes.contains(&0) {
            return refuse("it has a NUL byte");
        }
        if bytes.starts_with(b"/") {
            return refuse("it is absolute");
        }
        for name in bytes.split(|b| *b == b'/') {
            match name {
                b"" | b"." => return refuse("one of its names is empty"),
                b".." => return refuse("it leads upwards (..)"),
                _ => {}
            }
        }
        Ok(Self(PathBuf::from(OsStr::from_bytes(bytes))))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_os_str().as_bytes()
    }

    /// As a relative path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }

    /// Whether a directory at this path may be reached through a link: the WAL directory and tablespaces, as pg_rewind
    /// follows them. Everywhere else a link among a path's directories is refused.
    pub fn may_be_link(path: &Path) -> bool {
        let mut names = path.as_os_str().as_bytes().split(|b| *b == b'/');
        match (names.next(), names.next(), names.next()) {
            (Some(b"pg_wal"), None, None) => true,
            (Some(b"pg_tblspc"), Some(name), None) => !name.is_empty(),
            _ => false,
        }
    }

    /// The directories above it, outermost first, within the data directory.
    pub fn parents(&self) -> Vec<&Path> {
        let mut above: Vec<&Path> =
            self.0.ancestors().skip(1).filter(|p| !p.as_os_str().is_empty()).collect();
        above.reverse();
        above
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

impl Serialize for RelPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        to_json(self.as_bytes()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RelPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = from_json(Json::deserialize(deserializer)?).map_err(serde::de::Error::custom)?;
        Self::new(&bytes).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for RelPath {
    fn schema_name() -> Cow<'static, str> {
        "RelativePath".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        Json::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_leads_outside_is_refused() {
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "../../etc/passwd",
            "base/../../x",
            "base/..",
            ".",
            "./x",
            "base//1",
            "base/",
            "base/./1",
            "a\0b",
        ] {
            assert!(RelPath::new(bad.as_bytes()).is_err(), "{bad:?}");
            let json = serde_json::to_string(bad).unwrap();
            assert!(serde_json::from_str::<RelPath>(&json).is_err(), "{json}");
        }
        let hidden = format!(r#"{{"base64":"{}"}}"#, STANDARD.encode("../../etc/passwd"));
        assert!(serde_json::from_str::<RelPath>(&hidden).unwrap_err().to_string().contains("upwards"));
        assert!(serde_json::from_str::<RelPath>(r#"{"base64":"!"}"#).is_err());
        for fine in ["base/1/1259", "..x", "x..", "pg_tblspc/1/PG_17_202406281/5/16384.1", "a b'c"] {
            assert!(RelPath::new(fine.as_bytes()).is_ok(), "{fine:?}");
        }
    }

    #[test]
    fn links_are_followed_where_pg_rewind_follows_them() {
        for (path, may) in [
            ("pg_wal", true),
            ("pg_tblspc/16384", true),
            ("pg_tblspc", false),
            ("pg_tblspc/16384/PG_17_202406281", false),
            ("base", false),
            ("pg_wal/archive_status", false),
        ] {
            assert_eq!(RelPath::may_be_link(Path::new(path)), may, "{path}");
        }
        let path = RelPath::new(b"pg_tblspc/1/v/5/6").unwrap();
        let above = ["pg_tblspc", "pg_tblspc/1", "pg_tblspc/1/v", "pg_tblspc/1/v/5"].map(Path::new);
        assert_eq!(path.parents(), above);
    }

    proptest! {
        #[test]
        fn bytes_survive_json(bytes in proptest::collection::vec(1u8..=255, 1..40)) {
            if let Ok(path) = RelPath::new(&bytes) {
                let json = serde_json::to_string(&path).unwrap();
                prop_assert_eq!(serde_json::from_str::<RelPath>(&json).unwrap(), path);
            }
            let path = PlanPath::from(Path::new(OsStr::from_bytes(&bytes)));
            let json = serde_json::to_string(&path).unwrap();
            prop_assert_eq!(serde_json::from_str::<PlanPath>(&json).unwrap(), path);
        }
    }
}
