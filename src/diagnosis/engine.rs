//! From two directories to a diagnosis: the engine that every frontend uses.

use std::path::Path;

use crate::facts::gather::input;
use crate::findings::find;
use crate::pg::control::ControlFile;
use crate::source::datadir::DataDir;

use super::Diagnosis;
use super::verdict::judge;

pub use super::timelines::{TimelineOptions, Timelines, timelines};
pub use crate::facts::gather::{DiagnoseError, Options, facts};
pub use crate::scan::progress::{Cancelled, Phase, Progress};

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
    let dir = DataDir::open(dir).map_err(|e| input(&e))?;
    dir.control().map(|c| c.0).map_err(|e| input(&e))
}
