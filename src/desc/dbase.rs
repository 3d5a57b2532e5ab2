//! Records of the resource manager Database.

use super::{Out, Subject};
use crate::pg::bytes::Short;

pub(super) fn describe<O: Out>(_: &Subject<'_>, _: &mut O) -> Result<(), Short> {
    Ok(())
}
