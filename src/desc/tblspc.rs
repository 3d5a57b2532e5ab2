//! Records of the resource manager Tablespace (`tblspc_desc`).

use super::{Out, Subject, Value};
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        op::TBLSPC_CREATE => {
            main.u32()?.number(out, "tablespace");
            out.text(" \"");
            let path = main.c_string()?;
            out.field("path", Value::Bytes(path.value), path.at);
            out.text("\"");
        }
        op::TBLSPC_DROP => main.u32()?.number(out, "tablespace"),
        _ => {}
    }
    Ok(())
}
