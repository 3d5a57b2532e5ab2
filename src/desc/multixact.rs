//! Records of the resource manager MultiXact (`multixact_desc`).

use super::clog::page;
use super::{Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const ZERO_OFF_PAGE: u8 = 0x00;
const ZERO_MEM_PAGE: u8 = 0x10;
const CREATE_ID: u8 = 0x20;
const TRUNCATE_ID: u8 = 0x30;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    let wide = s.major >= Major::V19;
    match s.info() {
        ZERO_OFF_PAGE | ZERO_MEM_PAGE => page(s.major, &mut main, out)?,
        CREATE_ID => {
            main.u32()?.number(out, "multi");
            out.text(" offset ");
            if wide {
                main.align(8)?;
                main.u64()?.number(out, "offset");
            } else {
                main.u32()?.number(out, "offset");
            }
            out.text(" nmembers ");
            let count = main.i32()?;
            out.field("nmembers", Value::I(i64::from(count.value)), count.at);
            out.text(": ");
            out.open("members");
            for _ in 0..count.value {
                out.item();
                main.u32()?.number(out, "xid");
                out.text(" (");
                let status = main.u32()?;
                out.field("status", Value::Str(status_name(status.value)), status.at);
                out.text(") ");
            }
            out.close();
        }
        TRUNCATE_ID if wide => {
            main.skip(4)?; // the database
            out.text("oldestMulti ");
            main.u32()?.number(out, "oldest_multi");
            out.text(", oldestOffset ");
            main.u64()?.number(out, "oldest_offset");
        }
        TRUNCATE_ID => {
            main.skip(4)?; // the database
            out.text("offsets [");
            main.u32()?.number(out, "start_offset");
            out.text(", ");
            main.u32()?.number(out, "end_offset");
            out.text("), members [");
            main.u32()?.number(out, "start_member");
            out.text(", ");
            main.u32()?.number(out, "end_member");
            out.text(")");
        }
        _ => {}
    }
    Ok(())
}

/// `MultiXactStatus`
const fn status_name(status: u32) -> &'static str {
    match status {
        0 => "keysh",
        1 => "sh",
        2 => "fornokeyupd",
        3 => "forupd",
        4 => "nokeyupd",
        5 => "upd",
        _ => "unk",
    }
}
