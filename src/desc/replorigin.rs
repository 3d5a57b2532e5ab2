//! Records of the resource manager ReplicationOrigin (`replorigin_desc`; structs in origin.h).

use super::{Out, Subject, Value};
use crate::pg::bytes::Short;

const SET: u8 = 0x00;
const DROP: u8 = 0x10;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        SET => {
            let (lsn, node, force) = (main.lsn()?, main.u16()?, main.u8()?);
            out.text("set ");
            node.number(out, "node");
            out.text("; lsn ");
            out.field("lsn", Value::Lsn(lsn.value), lsn.at);
            out.text("; force: ");
            out.field("force", Value::Bool(force.value != 0, "1", "0"), force.at);
        }
        DROP => {
            out.text("drop ");
            main.u16()?.number(out, "node");
        }
        _ => {}
    }
    Ok(())
}
