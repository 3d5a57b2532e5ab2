//! Records of the resource manager Storage (`smgr_desc`).

use super::{Out, Subject, Value};
use crate::pg::Fork;
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        op::SMGR_CREATE => {
            let (rel, fork) = (main.rel()?, main.u32()?);
            let fork = Fork::from_number(fork.value.min(255) as u8).unwrap_or(Fork::Main);
            out.field("path", Value::Path(rel.value, fork), rel.at);
        }
        op::SMGR_TRUNCATE => {
            let (length, rel, flags) = (main.u32()?, main.rel()?, main.i32()?);
            out.field("path", Value::Path(rel.value, Fork::Main), rel.at);
            out.text(" to ");
            length.number(out, "blocks");
            out.text(" blocks flags ");
            out.field("flags", Value::I(i64::from(flags.value)), flags.at);
        }
        _ => {}
    }
    Ok(())
}
