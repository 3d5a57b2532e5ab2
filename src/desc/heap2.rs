//! Records of the resource manager Heap2 (`heap2_desc`).

use super::common::{array, letter, offsets};
use super::heap::{lock, lock_flags, plain_lock};
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

/// To 13 CLEAN, to 16 PRUNE, from 17 PRUNE_ON_ACCESS.
const OP_10: u8 = 0x10;
/// To 13 FREEZE_PAGE, to 16 VACUUM, from 17 PRUNE_VACUUM_SCAN.
const OP_20: u8 = 0x20;
/// To 13 CLEANUP_INFO, to 16 FREEZE_PAGE, from 17 PRUNE_VACUUM_CLEANUP.
const OP_30: u8 = 0x30;
const VISIBLE: u8 = 0x40;
const MULTI_INSERT: u8 = 0x50;
const LOCK_UPDATED: u8 = 0x60;
const NEW_CID: u8 = 0x70;

/// `XLH_INSERT_ALL_FROZEN_SET` (14+)
const ALL_FROZEN_SET: u8 = 1 << 5;
/// `VISIBILITYMAP_ALL_VISIBLE | VISIBILITYMAP_ALL_FROZEN`, which such an insertion sets
const VM_ALL_VISIBLE_AND_FROZEN: u64 = 3;

/// `XLHP_*` (heapam_xlog.h, 17+)
mod xlhp {
    pub const IS_CATALOG_REL: u16 = 1 << 1;
    pub const HAS_CONFLICT_HORIZON: u16 = 1 << 3;
    pub const HAS_FREEZE_PLANS: u16 = 1 << 4;
    pub const HAS_REDIRECTIONS: u16 = 1 << 5;
    pub const HAS_DEAD_ITEMS: u16 = 1 << 6;
    pub const HAS_NOW_UNUSED_ITEMS: u16 = 1 << 7;
    /// 19+
    pub const VM_ALL_VISIBLE: u16 = 1 << 8;
    /// 19+
    pub const VM_ALL_FROZEN: u16 = 1 << 9;
}

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let operation = s.info() & op::HEAP_MASK;
    match operation {
        OP_10 | OP_20 | OP_30 if s.major >= Major::V17 => prune_and_freeze(s, out),
        VISIBLE | MULTI_INSERT | LOCK_UPDATED | NEW_CID => common(s, operation, out),
        OP_10 if s.major >= Major::V16 => prune_16(s, out),
        OP_10 if s.major >= Major::V14 => {
            let mut main = s.main();
            out.text("latestRemovedXid ");
            main.u32()?.number(out, "latest_removed_xid");
            out.text(" nredirected ");
            main.u16()?.number(out, "nredirected");
            out.text(" ndead ");
            main.u16()?.number(out, "ndead");
            Ok(())
        }
        OP_20 if s.major >= Major::V14 => vacuum(s, out),
        OP_30 if s.major >= Major::V16 => freeze_16(s, out),
        OP_20 if s.major < Major::V14 => freeze(s, out),
        OP_30 if s.major >= Major::V14 => freeze(s, out),
        OP_10 => {
            out.text("remxid ");
            s.main().u32()?.number(out, "latest_removed_xid");
            Ok(())
        }
        OP_30 => {
            let mut main = s.main();
            main.skip(12)?; // the relation
            out.text("remxid ");
            main.u32()?.number(out, "latest_removed_xid");
            Ok(())
        }
        _ => Ok(()),
    }
}

fn common<O: Out>(s: &Subject<'_>, operation: u8, out: &mut O) -> Result<(), Short> {
    let keyed = s.major >= Major::V16;
    let words = |new: &'static str, old: &'static str| if keyed { new } else { old };
    let mut main = s.main();
    match operation {
        VISIBLE => {
            out.text(words("snapshotConflictHorizon: ", "cutoff xid "));
            main.u32()?.number(out, words("snapshot_conflict_horizon", "cutoff_xid"));
            out.text(words(", flags: ", " flags "));
            lock_flags(s.major, &main.u8()?, out);
        }
        MULTI_INSERT => {
            let flags = main.u8()?;
            main.align(2)?;
            let count = main.u16()?;
            out.text(words("ntuples: ", ""));
            count.number(out, "ntuples");
            if s.major >= Major::V12 {
                out.text(words(", flags: ", " tuples flags "));
                flags.hex(out, "flags");
            } else {
                out.text(" tuples");
            }
            if s.major >= Major::V19 && flags.value & ALL_FROZEN_SET != 0 {
                out.text(", vm_flags: ");
                out.field("vm_flags", Value::Hex(VM_ALL_VISIBLE_AND_FROZEN), flags.at);
            }
            let made_new = s.info() & op::HEAP_INIT_PAGE != 0;
            if keyed && !made_new && s.block_data(0).is_some() {
                out.text(", offsets:");
                offsets(out, "offsets", &mut main, usize::from(count.value))?;
            }
        }
        LOCK_UPDATED if keyed => lock(&mut main, out)?,
        LOCK_UPDATED => plain_lock(&mut main, s.major, "xmax", out)?,
        _ => new_cid(&mut main, &words, out)?,
    }
    Ok(())
}

/// `xl_heap_new_cid`; the transaction in it is not told.
fn new_cid<O: Out>(
    main: &mut Cursor<'_>,
    words: &dyn Fn(&'static str, &'static str) -> &'static str,
    out: &mut O,
) -> Result<(), Short> {
    main.skip(4)?;
    let (cmin, cmax, combo, rel) = (main.u32()?, main.u32()?, main.u32()?, main.rel()?);
    // ItemPointerData: the block's number in two halves, the high one first
    let (high, low, off) = (main.u16()?, main.u16()?, main.u16()?);
    let block =
        Read { value: u32::from(high.value) << 16 | u32::from(low.value), at: high.at.start..low.at.end };
    out.text(words("rel: ", "rel "));
    rel.rel(out, "rel");
    out.text(words(", tid: ", "; tid "));
    block.number(out, "block");
    out.text("/");
    off.number(out, "off");
    out.text(words(", cmin: ", "; cmin: "));
    cmin.number(out, "cmin");
    out.text(", cmax: ");
    cmax.number(out, "cmax");
    out.text(", combo: ");
    combo.number(out, "combo");
    Ok(())
}

fn redirections<O: Out>(out: &mut O, data: &mut Cursor<'_>, count: usize) -> Result<(), Short> {
    array(out, "redirected", count, |out| {
        data.u16()?.number(out, "from");
        out.text("->");
        data.u16()?.number(out, "to");
        Ok(())
    })
}

/// `xl_heap_freeze_plan`, `xlhp_freeze_plan`: 12 bytes each; the offsets of all plans follow one after the other.
fn plans<O: Out>(
    out: &mut O,
    data: &mut Cursor<'_>,
    count: usize,
    frozen: &mut Cursor<'_>,
) -> Result<(), Short> {
    array(out, "plans", count, |out| {
        out.text("{ xmax: ");
        data.u32()?.number(out, "xmax");
        let (infomask2, infomask) = (data.u16()?, data.u16()?);
        out.text(", infomask: ");
        infomask.number(out, "infomask");
        out.text(", infomask2: ");
        infomask2.number(out, "infomask2");
        data.skip(2)?; // flags, padding
        let tuples = data.u16()?;
        out.text(", ntuples: ");
        tuples.number(out, "ntuples");
        out.text(", offsets:");
        offsets(out, "offsets", frozen, usize::from(tuples.value))?;
        out.text(" }");
        Ok(())
    })
}

const PLAN_SIZE: usize = 12;

fn prune_and_freeze<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    let flags = if s.major >= Major::V19 {
        main.u16()?
    } else {
        main.skip(1)?; // the reason, which is in the operation
        let flags = main.u8()?;
        Read { value: u16::from(flags.value), at: flags.at }
    };
    let has = |bit: u16| flags.value & bit != 0;
    if has(xlhp::HAS_CONFLICT_HORIZON) {
        out.text("snapshotConflictHorizon: ");
        main.u32()?.number(out, "snapshot_conflict_horizon");
    }
    out.text(", isCatalogRel: ");
    out.field("is_catalog_rel", letter(has(xlhp::IS_CATALOG_REL)), flags.at.clone());
    if s.major >= Major::V19 && has(xlhp::VM_ALL_VISIBLE | xlhp::VM_ALL_FROZEN) {
        let bits = u64::from(has(xlhp::VM_ALL_VISIBLE)) | u64::from(has(xlhp::VM_ALL_FROZEN)) << 1;
        out.text(", vm_flags: ");
        out.field("vm_flags", Value::Hex(bits), flags.at.clone());
    }
    let Some(mut data) = s.block_data(0) else { return Ok(()) };
    let mut nplans = 0;
    let mut plan_data = data.clone();
    if has(xlhp::HAS_FREEZE_PLANS) {
        nplans = usize::from(data.u16()?.value);
        data.align(4)?;
        plan_data = data.clone();
        data.skip(nplans * PLAN_SIZE)?;
    }
    let mut items = |present: bool, size: usize| -> Result<(usize, Cursor<'_>), Short> {
        if !present {
            return Ok((0, data.clone()));
        }
        let count = usize::from(data.u16()?.value);
        let elements = data.clone();
        data.skip(count * size)?;
        Ok((count, elements))
    };
    let (nredirected, mut redirected) = items(has(xlhp::HAS_REDIRECTIONS), 4)?;
    let (ndead, mut dead) = items(has(xlhp::HAS_DEAD_ITEMS), 2)?;
    let (nunused, mut unused) = items(has(xlhp::HAS_NOW_UNUSED_ITEMS), 2)?;
    let counts = [
        (", nplans: ", "nplans", nplans),
        (", nredirected: ", "nredirected", nredirected),
        (", ndead: ", "ndead", ndead),
        (", nunused: ", "nunused", nunused),
    ];
    for (words, name, count) in counts {
        out.text(words);
        out.field(name, Value::U(count as u64), 0..0);
    }
    if nplans > 0 {
        out.text(", plans:");
        plans(out, &mut plan_data, nplans, &mut data)?;
    }
    if nredirected > 0 {
        out.text(", redirected:");
        redirections(out, &mut redirected, nredirected)?;
    }
    if ndead > 0 {
        out.text(", dead:");
        offsets(out, "dead", &mut dead, ndead)?;
    }
    if nunused > 0 {
        out.text(", unused:");
        offsets(out, "unused", &mut unused, nunused)?;
    }
    Ok(())
}

fn prune_16<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    out.text("snapshotConflictHorizon: ");
    main.u32()?.number(out, "snapshot_conflict_horizon");
    let (nredirected, ndead) = (main.u16()?, main.u16()?);
    out.text(", nredirected: ");
    nredirected.number(out, "nredirected");
    out.text(", ndead: ");
    ndead.number(out, "ndead");
    let Some(mut data) = s.block_data(0) else { return Ok(()) };
    let (nredirected, ndead) = (usize::from(nredirected.value), usize::from(ndead.value));
    let nunused = (data.remaining() / 2) as i64 - (nredirected * 2 + ndead) as i64;
    out.text(", nunused: ");
    out.field("nunused", Value::I(nunused), 0..0);
    out.text(", redirected:");
    redirections(out, &mut data, nredirected)?;
    out.text(", dead:");
    offsets(out, "dead", &mut data, ndead)?;
    out.text(", unused:");
    offsets(out, "unused", &mut data, nunused.max(0) as usize)
}

fn vacuum<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let count = s.main().u16()?;
    if s.major < Major::V16 {
        out.text("nunused ");
        count.number(out, "nunused");
        return Ok(());
    }
    out.text("nunused: ");
    count.number(out, "nunused");
    if let Some(mut data) = s.block_data(0) {
        out.text(", unused:");
        offsets(out, "unused", &mut data, usize::from(count.value))?;
    }
    Ok(())
}

fn freeze_16<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    out.text("snapshotConflictHorizon: ");
    main.u32()?.number(out, "snapshot_conflict_horizon");
    let count = main.u16()?;
    out.text(", nplans: ");
    count.number(out, "nplans");
    if let Some(mut data) = s.block_data(0) {
        let count = usize::from(count.value);
        let mut frozen = data.clone();
        frozen.skip(count * PLAN_SIZE)?;
        out.text(", plans:");
        plans(out, &mut data, count, &mut frozen)?;
    }
    Ok(())
}

fn freeze<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    out.text("cutoff xid ");
    main.u32()?.number(out, "cutoff_xid");
    out.text(" ntuples ");
    main.u16()?.number(out, "ntuples");
    Ok(())
}
