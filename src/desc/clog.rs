//! Records of the resource manager CLOG (`clog_desc`).

use super::{Cursor, Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const ZEROPAGE: u8 = 0x00;
const TRUNCATE: u8 = 0x10;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        ZEROPAGE => {
            out.text("page ");
            page(s.major, &mut main, out)?;
        }
        TRUNCATE => {
            out.text("page ");
            page(s.major, &mut main, out)?;
            out.text("; oldestXact ");
            main.u32()?.number(out, "oldest_xact");
        }
        _ => {}
    }
    Ok(())
}

/// Number of a page of an SLRU: 64 bits from 17 on.
pub(super) fn page<O: Out>(major: Major, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    if major >= Major::V17 {
        let page = main.i64()?;
        out.field("page", Value::I(page.value), page.at);
    } else {
        let page = main.i32()?;
        out.field("page", Value::I(i64::from(page.value)), page.at);
    }
    Ok(())
}
