//! The settings that matter for a rejoin, as the configuration files say.

use std::path::PathBuf;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Lower case.
    pub name: String,
    /// Unquoted; passwords in connection strings are masked when the file is read.
    pub value: String,
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: u32,
}

/// Settings of one side: the last assignment of each name counts, as the server reads them
/// (postgresql.conf with its includes, then postgresql.auto.conf; to 11 recovery.conf too).
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Settings that matter here and are set.
    pub set: Vec<Setting>,
    /// postgresql.conf is there.
    pub has_postgresql_conf: bool,
    /// Files or lines that could not be read, each a sentence.
    pub problems: Vec<String>,
}

impl Settings {
    /// The value that counts, if it is set anywhere.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.set.iter().rev().find(|s| s.name == name)
    }
}
