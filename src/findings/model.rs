//! What a finding is.

use std::path::PathBuf;

use crate::pg::{Lsn, TimelineId};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing to do.
    Info,
    /// Something will go wrong or be lost if it is not looked at.
    Warning,
    /// Stands in the way of the rejoin.
    Error,
}

/// One piece of evidence: where it was read and what stands there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The file.
    pub path: Option<PathBuf>,
    /// Offset in the file in bytes.
    pub offset: Option<u64>,
    /// Position in the WAL.
    pub lsn: Option<Lsn>,
    /// Timeline.
    pub timeline: Option<TimelineId>,
    /// What stands there, one sentence or `field = value`.
    pub value: String,
}

/// One way in which the rejoin fails, or a thing worth knowing, with its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable code: FP01 to FP45 are known ways in which a rejoin fails, own ones from FP60.
    pub code: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// One line, no full stop.
    pub title: String,
    /// What it means here, in plain sentences with the figures of this pair.
    pub explanation: String,
    /// The proof.
    pub evidence: Vec<Evidence>,
    /// What PostgreSQL (or pg_rewind) would log because of it, with this pair's figures.
    pub server_log: Vec<String>,
    /// What to do.
    pub remedy: String,
}
