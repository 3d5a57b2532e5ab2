//! Records of the resource manager CommitTs (`commit_ts_desc`; structs in commit_ts.h).

use super::{Cursor, Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const ZEROPAGE: u8 = 0x00;
const TRUNCATE: u8 = 0x10;
/// Until 13.
const SETTS: u8 = 0x20;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        ZEROPAGE => page(s.major, &mut main, out)?,
        TRUNCATE => {
            out.text("pageno ");
            page(s.major, &mut main, out)?;
            out.text(", oldestXid ");
            main.u32()?.number(out, "oldest_xid");
        }
        SETTS if s.major < Major::V14 => {
            out.text("set ");
            let time = main.i64()?;
            out.field("time", Value::Time(time.value), time.at);
            out.text("/");
            main.u16()?.number(out, "node");
            main.align(4)?;
            out.text(" for: ");
            out.open("xids");
            out.item();
            main.u32()?.number(out, "");
            while main.remaining() >= size_of::<u32>() {
                out.text(", ");
                out.item();
                main.u32()?.number(out, "");
            }
            out.close();
        }
        _ => {}
    }
    Ok(())
}

/// Number of a page: 64 bits wide from 17 on.
fn page<O: Out>(major: Major, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let (value, at) = if major >= Major::V17 {
        let wide = main.i64()?;
        (wide.value, wide.at)
    } else {
        let narrow = main.i32()?;
        (narrow.value.into(), narrow.at)
    };
    out.field("pageno", Value::I(value), at);
    Ok(())
}
