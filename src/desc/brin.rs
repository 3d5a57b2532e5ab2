//! Records of the resource manager BRIN (`brin_desc`; structs in brin_xlog.h).

use super::{Cursor, Out, Subject};
use crate::pg::bytes::Short;

/// `XLOG_BRIN_OPMASK`; 0x80 says that the page is made new.
const OPERATION: u8 = 0x70;
const CREATE_INDEX: u8 = 0x00;
const INSERT: u8 = 0x10;
const UPDATE: u8 = 0x20;
const SAMEPAGE_UPDATE: u8 = 0x30;
const REVMAP_EXTEND: u8 = 0x40;
const DESUMMARIZE: u8 = 0x50;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() & OPERATION {
        CREATE_INDEX => {
            let (pages, version) = (main.u32()?, main.u16()?);
            out.text("v");
            version.number(out, "version");
            out.text(" pagesPerRange ");
            pages.number(out, "pages_per_range");
        }
        INSERT => {
            range(&mut main, out)?;
            out.text(" offnum ");
            main.u16()?.number(out, "offnum");
        }
        UPDATE => {
            let old = main.u16()?;
            main.align(4)?;
            range(&mut main, out)?;
            out.text(" old offnum ");
            old.number(out, "old_offnum");
            out.text(", new offnum ");
            main.u16()?.number(out, "offnum");
        }
        SAMEPAGE_UPDATE => {
            out.text("offnum ");
            main.u16()?.number(out, "offnum");
        }
        REVMAP_EXTEND => {
            out.text("targetBlk ");
            main.u32()?.number(out, "target_blk");
        }
        DESUMMARIZE => {
            out.text("pagesPerRange ");
            main.u32()?.number(out, "pages_per_range");
            out.text(", heapBlk ");
            main.u32()?.number(out, "heap_blk");
            out.text(", page offset ");
            main.u16()?.number(out, "offnum");
        }
        _ => {}
    }
    Ok(())
}

fn range<O: Out>(main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    out.text("heapBlk ");
    main.u32()?.number(out, "heap_blk");
    out.text(" pagesPerRange ");
    main.u32()?.number(out, "pages_per_range");
    Ok(())
}
