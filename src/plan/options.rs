//! What a plan is made with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::keep::Pattern;
use super::path::PlanPath;

/// What a plan is made with, beside the two directories.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanOptions {
    /// Files of the target that stay as they are.
    pub keep: Vec<Pattern>,
    /// Connection string of the source: the result becomes its standby.
    pub standby: Option<String>,
    /// Where tablespaces that only the source has are put.
    pub tablespace_mapping: Vec<TablespaceMapping>,
    /// Compare all relation files instead of reading the target's WAL.
    pub compare: bool,
    /// The source is an atomic snapshot of a running server.
    pub source_snapshot: bool,
    /// Archives of WAL.
    pub archives: Vec<PlanPath>,
    /// A command that fetches archived WAL, to read it.
    pub restore_command: Option<String>,
    /// Exactly what the pg_rewind of the target's major would do, or a refusal.
    pub pg_rewind_compatible: bool,
}

/// A tablespace's directory on the source, and where it goes on the target; both absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TablespaceMapping {
    /// The text of the source's link.
    pub old: PlanPath,
    /// An empty directory.
    pub new: PlanPath,
}
