//! From two directories to a diagnosis: the engine that every frontend uses.

use std::path::Path;

use crate::facts::gather::input;
use crate::findings::{codes, find};
use crate::pg::control::ControlFile;
use crate::source::datadir::DataDir;

use super::verdict::judge;
use super::{Diagnosis, log};

pub use super::timelines::{Timelines, timelines};
pub use crate::facts::gather::{DiagnoseError, Options, facts};
pub use crate::scan::progress::{Cancelled, Phase, Progress};

/// A message of a server's log that belongs to a finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMatch {
    /// Number of its line, from 1.
    pub line: u64,
    /// The message as it stands there.
    pub message: String,
    /// Code of the finding.
    pub code: &'static str,
    /// What the code stands for, one line.
    pub title: String,
    /// Whether the directories bear it out; `None` where they cannot tell.
    pub borne_out: Option<bool>,
    /// Why, with this pair's figures.
    pub why: String,
}

/// Diagnoses a pair.
///
/// # Errors
/// As [`facts`].
pub fn diagnose(options: &Options, progress: &Progress) -> Result<Diagnosis, DiagnoseError> {
    let facts = facts(options, progress)?;
    let findings = find(&facts);
    let verdict = judge(&facts, &findings);
    Ok(Diagnosis { facts, findings, verdict })
}

/// Reads the control file of a directory.
///
/// # Errors
/// The directory or its control file cannot be read.
pub fn control(dir: &Path) -> Result<ControlFile, DiagnoseError> {
    let dir = DataDir::open(dir).map_err(|e| input(e.to_string(), ""))?;
    dir.control().map(|c| c.0).map_err(|e| input(e.to_string(), ""))
}

/// Finds the messages of a server's log that belong to findings, and compares them with the directories.
pub fn match_log(diagnosis: &Diagnosis, log: &str) -> Vec<LogMatch> {
    log::explain(log, Some(diagnosis))
        .into_iter()
        .map(|m| LogMatch {
            line: m.line as u64,
            why: m.why(),
            message: m.message,
            code: m.code,
            title: codes::title(m.code).to_owned(),
            borne_out: m.finding_matches,
        })
        .collect()
}
