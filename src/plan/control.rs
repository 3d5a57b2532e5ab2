//! The new control file's bytes.

use crate::pg::Major;
use crate::pg::control::{ControlError, with_recovery_point};

use super::model::NewControl;

/// The bytes that `global/pg_control` of the target gets: those of the source's with the plan's values. `time` is in
/// seconds since 1970; with the same one the result is the same.
///
/// # Errors
/// `source` is no control file.
pub fn bytes(
    new: &NewControl,
    source: &[u8],
    major: Option<Major>,
    time: i64,
) -> Result<Vec<u8>, ControlError> {
    let at = new.min_recovery_point;
    with_recovery_point(source, major, (at.lsn, at.timeline), time)
}
