//! Records of the resource manager Hash (`hash_desc`; structs in hash_xlog.h).

use super::common::letter;
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const INIT_META_PAGE: u8 = 0x00;
const INIT_BITMAP_PAGE: u8 = 0x10;
const INSERT: u8 = 0x20;
const ADD_OVFL_PAGE: u8 = 0x30;
const SPLIT_ALLOCATE_PAGE: u8 = 0x40;
const SPLIT_COMPLETE: u8 = 0x60;
const MOVE_PAGE_CONTENTS: u8 = 0x70;
const SQUEEZE_PAGE: u8 = 0x80;
const DELETE: u8 = 0x90;
const UPDATE_META_PAGE: u8 = 0xB0;
const VACUUM_ONE_PAGE: u8 = 0xC0;

/// `XLH_SPLIT_META_UPDATE_MASKS`
const UPDATES_MASKS: u8 = 1;
/// `XLH_SPLIT_META_UPDATE_SPLITPOINT`
const UPDATES_SPLITPOINT: u8 = 2;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    let newest = s.major >= Major::V19;
    match s.info() {
        INIT_META_PAGE => {
            out.text("num_tuples ");
            general(&main.f64()?, out, "num_tuples");
            let procedure = main.u32()?;
            if newest {
                out.text(", procid ");
                procedure.number(out, "procid");
            }
            out.text(", fillfactor ");
            main.u16()?.number(out, "fillfactor");
        }
        INIT_BITMAP_PAGE => {
            out.text("bmsize ");
            main.u16()?.number(out, "bmsize");
        }
        INSERT => {
            out.text("off ");
            main.u16()?.number(out, "off");
        }
        ADD_OVFL_PAGE => {
            out.text("bmsize ");
            main.u16()?.number(out, "bmsize");
            out.text(", bmpage_found ");
            flag(&mut main, out, "bmpage_found")?;
        }
        SPLIT_ALLOCATE_PAGE => {
            out.text("new_bucket ");
            main.u32()?.number(out, "new_bucket");
            let (old, new, bits) = (main.u16()?, main.u16()?, main.u8()?);
            if newest {
                out.text(", old_bucket_flag ");
                old.number(out, "old_bucket_flag");
                out.text(", new_bucket_flag ");
                new.number(out, "new_bucket_flag");
            }
            out.text(", meta_page_masks_updated ");
            out.field("meta_page_masks_updated", letter(bits.value & UPDATES_MASKS != 0), bits.at.clone());
            out.text(", issplitpoint_changed ");
            out.field("issplitpoint_changed", letter(bits.value & UPDATES_SPLITPOINT != 0), bits.at);
        }
        SPLIT_COMPLETE => {
            out.text("old_bucket_flag ");
            main.u16()?.number(out, "old_bucket_flag");
            out.text(", new_bucket_flag ");
            main.u16()?.number(out, "new_bucket_flag");
        }
        MOVE_PAGE_CONTENTS => {
            out.text("ntups ");
            main.u16()?.number(out, "ntups");
            out.text(", is_primary ");
            flag(&mut main, out, "is_primary")?;
        }
        SQUEEZE_PAGE => {
            out.text("prevblkno ");
            main.u32()?.number(out, "prevblkno");
            out.text(", nextblkno ");
            main.u32()?.number(out, "nextblkno");
            out.text(", ntups ");
            main.u16()?.number(out, "ntups");
            out.text(", is_primary ");
            flag(&mut main, out, "is_primary")?;
            if newest {
                out.text(", is_previous ");
                flag(&mut main, out, "is_previous")?;
            }
        }
        DELETE => {
            out.text("clear_dead_marking ");
            flag(&mut main, out, "clear_dead_marking")?;
            out.text(", is_primary ");
            flag(&mut main, out, "is_primary")?;
        }
        UPDATE_META_PAGE => {
            out.text("ntuples ");
            general(&main.f64()?, out, "ntuples");
        }
        VACUUM_ONE_PAGE => vacuum_one_page(s.major, &mut main, out)?,
        _ => {}
    }
    Ok(())
}

/// `xl_hash_vacuum_one_page`: until 11 it named the heap, from 12 on the horizon.
fn vacuum_one_page<O: Out>(major: Major, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let horizon = if major < Major::V12 {
        main.skip(12)?;
        None
    } else {
        Some(main.u32()?)
    };
    out.text("ntuples ");
    if major >= Major::V16 {
        main.u16()?.number(out, "ntuples");
    } else {
        let count = main.i32()?;
        out.field("ntuples", Value::I(count.value.into()), count.at);
    }
    if let Some(horizon) = horizon {
        out.text(match major {
            m if m >= Major::V16 => ", snapshotConflictHorizon ",
            m if m >= Major::V14 => ", latestRemovedXid ",
            _ => ", latest removed xid ",
        });
        horizon.number(out, "snapshot_conflict_horizon");
    }
    if major >= Major::V17 {
        out.text(", isCatalogRel ");
        flag(main, out, "is_catalog_rel")?;
    }
    Ok(())
}

#[inline]
fn flag<O: Out>(main: &mut Cursor<'_>, out: &mut O, name: &'static str) -> Result<(), Short> {
    let set = main.u8()?;
    out.field(name, letter(set.value != 0), set.at);
    Ok(())
}

fn general<O: Out>(read: &Read<f64>, out: &mut O, name: &'static str) {
    out.field(name, Value::General(read.value), read.at.clone());
}
