//! A stored plan, read back: nothing in it is believed before it was checked.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

use super::label;
use super::model::{Action, Origin, Plan, SCHEMA_VERSION};

/// Largest plan that is read, in bytes: some 250 bytes for each file of a cluster.
const LARGEST: u64 = 4 << 30;

/// Files that the executor alone writes, and that no entry may name.
const RESERVED: [&str; 3] = ["forkpoint.state", "global/pg_control", "global/pg_control.forkpoint"];

/// Why a stored plan cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{} could not be read: {error}; give the file that forkpoint plan -o wrote", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is no plan, or it was edited into none.
    #[error("it is not a plan that can be used: {0}; make it anew with forkpoint plan")]
    Content(String),
    /// Of another version of the format.
    #[error(
        "the plan has format version {found}, this program knows {SCHEMA_VERSION}; make it anew with forkpoint plan"
    )]
    Version {
        /// As read.
        found: u64,
    },
    /// The content is not what was planned.
    #[error(
        "the plan was changed after it was made: its identity is {stored}, its content's is {computed}; make it anew \
         with forkpoint plan"
    )]
    Identity {
        /// As stored.
        stored: String,
        /// Of the content.
        computed: String,
    },
}

/// Reads and checks a stored plan: version, identity, every path, every range.
///
/// # Errors
/// As [`LoadError`] says.
pub fn load(path: &Path) -> Result<Plan, LoadError> {
    let failed = |error| LoadError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(LARGEST).read_to_end(&mut bytes).map_err(failed)?;
    Plan::from_json(&bytes)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Plan {
    /// The identity of its content: SHA-256 over it as compact JSON, in the order of the members, with an empty `id`.
    pub fn identity(&self) -> String {
        let mut hash = Hasher(Sha256::new());
        let unnamed = Self { id: String::new(), ..self.clone() };
        // writing to a hash cannot fail, and every map has keys that are strings
        let _ = serde_json::to_writer(&mut hash, &unnamed);
        let mut text = String::with_capacity(64);
        for byte in hash.0.finalize() {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// Puts the identity in.
    #[must_use]
    pub fn sealed(mut self) -> Self {
        self.id = self.identity();
        self
    }

    /// Reads and checks a plan.
    ///
    /// # Errors
    /// As [`LoadError`] says.
    pub fn from_json(bytes: &[u8]) -> Result<Self, LoadError> {
        #[derive(serde::Deserialize)]
        struct Version {
            schema_version: u64,
        }
        let content = |e: serde_json::Error| LoadError::Content(e.to_string());
        let Version { schema_version } = serde_json::from_slice(bytes).map_err(content)?;
        if schema_version != u64::from(SCHEMA_VERSION) {
            return Err(LoadError::Version { found: schema_version });
        }
        let plan: Self = serde_json::from_slice(bytes).map_err(content)?;
        plan.check().map_err(LoadError::Content)?;
        let computed = plan.identity();
        if computed != plan.id {
            return Err(LoadError::Identity { stored: plan.id, computed });
        }
        Ok(plan)
    }

    /// What its identity cannot vouch for, as anyone can compute it.
    fn check(&self) -> Result<(), String> {
        for side in self.sides() {
            if !side.path.as_path().is_absolute() {
                return Err(format!("the directory {} is not absolute", side.path));
            }
        }
        if self.backup_label.matches(label::TIME).count() != 1 {
            return Err("its backup_label has no place for the time".into());
        }
        let standby = self.standby.iter();
        for path in standby.flat_map(|s| std::iter::once(&s.file).chain(&s.signal)) {
            let known = ["postgresql.auto.conf", "recovery.conf", "standby.signal"];
            if !known.iter().any(|k| k.as_bytes() == path.as_bytes()) {
                return Err(format!("{path} is no file that makes a standby"));
            }
        }
        for entry in &self.entries {
            let path = &entry.path;
            if RESERVED.iter().any(|r| r.as_bytes() == path.as_bytes()) && entry.action != Action::Keep {
                return Err(format!("{path} is never changed by an entry"));
            }
            match &entry.action {
                Action::Change { blocks, tail, truncate_to } => {
                    let mut end = 0;
                    for range in blocks {
                        let next = u64::from(range.first) + u64::from(range.count);
                        if range.count == 0 || u64::from(range.first) < end || next > u64::from(u32::MAX) {
                            return Err(format!("{path}: its block ranges are not in order"));
                        }
                        end = next;
                    }
                    if tail.is_some_and(|t| t.from >= t.to) || (tail.is_some() && truncate_to.is_some()) {
                        return Err(format!("{path}: its tail is none"));
                    }
                }
                Action::Copy { from: Origin::Archive(from), .. } => {
                    let in_wal = path.as_bytes().starts_with(b"pg_wal/");
                    if !in_wal || !from.as_path().is_absolute() {
                        return Err(format!("{path}: only WAL is copied from archives, from absolute paths"));
                    }
                }
                Action::Copy { from: Origin::RestoreCommand, .. } => {
                    let name = path.as_path().strip_prefix("pg_wal").ok();
                    if name.is_none_or(|name| name.iter().count() != 1)
                        || self.options.restore_command.is_none()
                    {
                        return Err(format!("{path}: only WAL is brought by a restore command"));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

struct Hasher(Sha256);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
