//! What a store says of itself (`manifest.json`), and the file in the target that says where the store is.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::clone;
use super::disk::Meta;
use super::journal::FORMAT;
use super::work::Verify;
use crate::plan::model::decimal;
use crate::plan::path::{PlanPath, RelPath};

/// Longest file of either kind.
pub const LIMIT: u64 = 1 << 20;
/// The pointer's name in the data directory.
pub const POINTER: &str = "forkpoint.state";

/// What a store is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the store's format.
    pub format: u32,
    /// Version of the program that made it.
    pub program: String,
    /// Number of this rewind, unlike any other's.
    pub operation: String,
    /// The plan's `id`.
    pub plan: String,
    /// The target's path when it was made.
    pub target: PlanPath,
    /// The target's `st_dev` and `st_ino`.
    pub identity: Identity,
    /// Whether preimages are kept.
    pub undo: bool,
    /// The complete clone of the target, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clone: Option<clone::Note>,
    /// How the target is synced.
    pub sync: SyncMethod,
    /// What is looked at before the control file comes back, whoever completes the rewind.
    #[serde(default, skip_serializing_if = "Verify::is_nothing")]
    pub verify: Verify,
    /// Directories of the store on other filesystems.
    pub annexes: Vec<Annex>,
}

/// What a data directory is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// `st_dev`.
    #[serde(with = "decimal")]
    pub device: u64,
    /// `st_ino`.
    #[serde(with = "decimal")]
    pub inode: u64,
    /// Of its control file.
    #[serde(with = "decimal")]
    pub system_identifier: u64,
}

impl Identity {
    /// Of a directory.
    pub const fn new(meta: &Meta, system_identifier: u64) -> Self {
        Self { device: meta.device, inode: meta.inode, system_identifier }
    }
}

/// A part of the store beside a tablespace or a WAL directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Annex {
    /// The link in the data directory.
    pub link: RelPath,
    /// Where it is.
    pub path: PlanPath,
}

/// How what was written reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncMethod {
    /// Each file and directory that was written, after a call for each filesystem as a whole.
    #[default]
    Syncfs,
    /// Each file and directory by itself.
    Fsync,
    /// Not at all; store and journal are synced nevertheless.
    None,
}

/// Where a target's store is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pointer {
    /// Version of the store's format.
    pub format: u32,
    /// The manifest's.
    pub operation: String,
    /// Absolute.
    pub store: PlanPath,
    /// Of the directory that this was written into: elsewhere it is a copy and means nothing.
    pub identity: Identity,
}

/// Why such a file cannot be read.
#[derive(Debug, Error)]
pub enum BadFile {
    /// No JSON, or not of this kind.
    #[error("it is not understood: {0}")]
    Json(#[from] serde_json::Error),
    /// Of another version.
    #[error("its format is {0}, this program knows {FORMAT}; use the version that made it")]
    Format(u32),
}

#[derive(Deserialize)]
struct Head {
    format: u32,
}

fn parse<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, BadFile> {
    let Head { format } = serde_json::from_slice(bytes)?;
    if format != FORMAT {
        return Err(BadFile::Format(format));
    }
    Ok(serde_json::from_slice(bytes)?)
}

impl Manifest {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadFile> {
        parse(bytes)
    }
}

impl Pointer {
    /// Reads one.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadFile> {
        parse(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_back_and_nothing_else() {
        let identity = Identity { device: 1, inode: u64::MAX, system_identifier: 7 };
        let pointer = Pointer {
            format: FORMAT,
            operation: "ab".into(),
            store: PlanPath::from("/s".as_ref()),
            identity,
        };
        let text = serde_json::to_string(&pointer).unwrap();
        assert_eq!(Pointer::parse(text.as_bytes()).unwrap(), pointer);
        let newer = text.replace(r#""format":1"#, r#""format":2"#);
        assert!(matches!(Pointer::parse(newer.as_bytes()), Err(BadFile::Format(2))));
        for wrong in ["", "{}", "[]", &text[..20], &text.replace("store", "stare")] {
            assert!(Pointer::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(Manifest::parse(text.as_bytes()).is_err());
    }
}
