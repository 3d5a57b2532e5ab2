//! Records of the resource manager RelMap (`relmap_desc`).

use super::{Out, Subject, Value};
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    if s.info() == op::RELMAP_UPDATE {
        out.text("database ");
        main.u32()?.number(out, "database");
        out.text(" tablespace ");
        main.u32()?.number(out, "tablespace");
        out.text(" size ");
        let size = main.i32()?;
        out.field("size", Value::I(i64::from(size.value)), size.at);
    }
    Ok(())
}
