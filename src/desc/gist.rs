//! Records of the resource manager Gist (`gist_desc`; structs in gistxlog.h).

use super::common::letter;
use super::{Cursor, Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const DELETE: u8 = 0x10;
const PAGE_REUSE: u8 = 0x20;
const PAGE_SPLIT: u8 = 0x30;
const PAGE_DELETE: u8 = 0x60;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    let horizon = if s.major >= Major::V16 { "snapshotConflictHorizon " } else { "latestRemovedXid " };
    match s.info() {
        PAGE_SPLIT => {
            // gistxlogPageSplit: right link, number of the page, whether it was a leaf
            main.skip(18)?;
            out.text("page_split: splits to ");
            main.u16()?.number(out, "npage");
            out.text(" pages");
        }
        DELETE if s.major >= Major::V12 => {
            out.text("delete: ");
            out.text(horizon);
            main.u32()?.number(out, "snapshot_conflict_horizon");
            out.text(", nitems: ");
            main.u16()?.number(out, "nitems");
            catalog(s, &mut main, out)?;
        }
        PAGE_REUSE if s.major >= Major::V12 => {
            out.text("rel ");
            main.rel()?.rel(out, "rel");
            out.text("; blk ");
            main.u32()?.number(out, "blk");
            out.text("; ");
            out.text(horizon);
            let xid = main.u64()?;
            out.field("snapshot_conflict_horizon", Value::FullXid(xid.value), xid.at);
            catalog(s, &mut main, out)?;
        }
        PAGE_DELETE if s.major >= Major::V12 => {
            out.text("deleteXid ");
            let xid = main.u64()?;
            out.field("delete_xid", Value::FullXid(xid.value), xid.at);
            out.text("; downlink ");
            main.u16()?.number(out, "downlink");
        }
        _ => {}
    }
    Ok(())
}

fn catalog<O: Out>(s: &Subject<'_>, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    if s.major >= Major::V17 {
        out.text(", isCatalogRel ");
        let is = main.u8()?;
        out.field("is_catalog_rel", letter(is.value != 0), is.at);
    }
    Ok(())
}
