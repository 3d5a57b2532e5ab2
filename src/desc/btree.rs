//! Records of the resource manager Btree (`btree_desc`; structs in nbtxlog.h). From 16 on the text is `key: value`.

use super::common::{array, letter, offsets};
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const INSERT_LEAF: u8 = 0x00;
const INSERT_UPPER: u8 = 0x10;
const INSERT_META: u8 = 0x20;
const SPLIT_L: u8 = 0x30;
const SPLIT_R: u8 = 0x40;
/// 13+; until 10 a split of the root, in 11 one with a high key
const INSERT_POST: u8 = 0x50;
/// as [`INSERT_POST`]
const DEDUP: u8 = 0x60;
const DELETE: u8 = 0x70;
const UNLINK_PAGE: u8 = 0x80;
const UNLINK_PAGE_META: u8 = 0x90;
const NEWROOT: u8 = 0xA0;
const MARK_PAGE_HALFDEAD: u8 = 0xB0;
const VACUUM: u8 = 0xC0;
const REUSE_PAGE: u8 = 0xD0;
const META_CLEANUP: u8 = 0xE0;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let label = Label(s.major >= Major::V16);
    let mut main = s.main();
    match s.info() {
        INSERT_LEAF | INSERT_UPPER | INSERT_META => insert(label, &mut main, out)?,
        INSERT_POST if s.major >= Major::V13 => insert(label, &mut main, out)?,
        DEDUP if s.major >= Major::V13 => {
            label.first(out, "nintervals");
            main.u16()?.number(out, "nintervals");
        }
        SPLIT_L | SPLIT_R | INSERT_POST | DEDUP if s.major != Major::V12 || s.info() < INSERT_POST => {
            split(s.major, label, &mut main, out)?;
        }
        VACUUM => vacuum(s, label, &mut main, out)?,
        DELETE => delete(s, label, &mut main, out)?,
        MARK_PAGE_HALFDEAD => {
            main.skip(4)?; // where in the parent, and padding
            let (leaf, left, right, top) = (main.u32()?, main.u32()?, main.u32()?, main.u32()?);
            label.first(out, "topparent");
            top.number(out, "topparent");
            label.next(out, "leaf");
            leaf.number(out, "leaf");
            label.next(out, "left");
            left.number(out, "left");
            label.next(out, "right");
            right.number(out, "right");
        }
        UNLINK_PAGE | UNLINK_PAGE_META => removed_page(s.major, label, &mut main, out)?,
        NEWROOT => {
            main.skip(4)?; // the block, which is block 0 too
            out.text(if label.0 { "level: " } else { "lev " });
            main.u32()?.number(out, "level");
        }
        REUSE_PAGE => {
            label.first(out, "rel");
            main.rel()?.rel(out, "rel");
            main.skip(4)?; // the block
            label.next(out, if label.0 { "snapshotConflictHorizon" } else { "latestRemovedXid" });
            if s.major >= Major::V14 {
                let horizon = main.u64()?;
                out.field("snapshot_conflict_horizon", Value::FullXid(horizon.value), horizon.at);
            } else {
                main.u32()?.number(out, "snapshot_conflict_horizon");
            }
            if s.major >= Major::V17 {
                catalog(&mut main, out)?;
            }
        }
        META_CLEANUP => meta_cleanup(s, label, out)?,
        _ => {}
    }
    Ok(())
}

/// How the major writes names before numbers: `name: 1, name: 2`, until 15 `name 1; name 2`.
#[derive(Clone, Copy)]
struct Label(bool);

impl Label {
    #[inline]
    fn first<O: Out>(self, out: &mut O, word: &str) {
        out.text(word);
        out.text(if self.0 { ": " } else { " " });
    }

    #[inline]
    fn next<O: Out>(self, out: &mut O, word: &str) {
        out.text(if self.0 { ", " } else { "; " });
        self.first(out, word);
    }
}

#[inline]
fn insert<O: Out>(label: Label, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    label.first(out, "off");
    main.u16()?.number(out, "off");
    Ok(())
}

fn split<O: Out>(major: Major, label: Label, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let posting = major >= Major::V13;
    label.first(out, "level");
    main.u32()?.number(out, "level");
    out.text(", ");
    label.first(out, if posting { "firstrightoff" } else { "firstright" });
    main.u16()?.number(out, "firstrightoff");
    out.text(", ");
    label.first(out, "newitemoff");
    main.u16()?.number(out, "newitemoff");
    if posting {
        out.text(", ");
        label.first(out, "postingoff");
        main.u16()?.number(out, "postingoff");
    }
    Ok(())
}

fn vacuum<O: Out>(s: &Subject<'_>, label: Label, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    if s.major < Major::V13 {
        label.first(out, "lastBlockVacuumed");
        main.u32()?.number(out, "last_block_vacuumed");
        return Ok(());
    }
    let (deleted, updated) = (main.u16()?, main.u16()?);
    label.first(out, "ndeleted");
    deleted.number(out, "ndeleted");
    label.next(out, "nupdated");
    updated.number(out, "nupdated");
    if s.major >= Major::V16 {
        items(s, deleted.value, updated.value, out)?;
    }
    Ok(())
}

fn delete<O: Out>(s: &Subject<'_>, label: Label, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    if s.major < Major::V12 {
        main.skip(12)?; // the heap
        signed(&main.i32()?, out, "ndeleted");
        out.text(" items");
        return Ok(());
    }
    let horizon = main.u32()?;
    if s.major == Major::V12 {
        signed(&main.i32()?, out, "ndeleted");
        out.text(" items, latest removed xid ");
        horizon.number(out, "snapshot_conflict_horizon");
        return Ok(());
    }
    label.first(out, if label.0 { "snapshotConflictHorizon" } else { "latestRemovedXid" });
    horizon.number(out, "snapshot_conflict_horizon");
    label.next(out, "ndeleted");
    if s.major == Major::V13 {
        main.u32()?.number(out, "ndeleted");
        return Ok(());
    }
    let (deleted, updated) = (main.u16()?, main.u16()?);
    deleted.number(out, "ndeleted");
    label.next(out, "nupdated");
    updated.number(out, "nupdated");
    if s.major >= Major::V17 {
        catalog(main, out)?;
    }
    if s.major >= Major::V16 {
        items(s, deleted.value, updated.value, out)?;
    }
    Ok(())
}

/// The entries that went, and those that lost some of their row pointers (`delvacuum_desc`, block 0's data).
fn items<O: Out>(s: &Subject<'_>, deleted: u16, updated: u16, out: &mut O) -> Result<(), Short> {
    let Some(mut data) = s.block_data(0) else { return Ok(()) };
    out.text(", deleted:");
    offsets(out, "deleted", &mut data, usize::from(deleted))?;
    // their offsets come first, then for each what it lost
    let mut places = data.clone();
    data.skip(2 * usize::from(updated))?;
    out.text(", updated:");
    array(out, "updated", usize::from(updated), |out| {
        out.text("{ off: ");
        places.u16()?.number(out, "off");
        let count = data.u16()?;
        out.text(", nptids: ");
        count.number(out, "nptids");
        out.text(", ptids:");
        offsets(out, "ptids", &mut data, usize::from(count.value))?;
        out.text(" }");
        Ok(())
    })
}

fn removed_page<O: Out>(major: Major, label: Label, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let (left, right) = (main.u32()?, main.u32()?);
    label.first(out, "left");
    left.number(out, "left");
    label.next(out, "right");
    right.number(out, "right");
    if major >= Major::V14 {
        label.next(out, "level");
        main.u32()?.number(out, "level");
        main.align(8)?;
        label.next(out, "safexid");
        let safe = main.u64()?;
        out.field("safexid", Value::FullXid(safe.value), safe.at);
        for (word, name) in
            [("leafleft", "leafleft"), ("leafright", "leafright"), ("leaftopparent", "leaftopparent")]
        {
            label.next(out, word);
            main.u32()?.number(out, name);
        }
        return Ok(());
    }
    let (leaf_left, leaf_right, top, xid) = (main.u32()?, main.u32()?, main.u32()?, main.u32()?);
    label.next(out, "btpo_xact");
    xid.number(out, "btpo_xact");
    label.next(out, "leafleft");
    leaf_left.number(out, "leafleft");
    label.next(out, "leafright");
    leaf_right.number(out, "leafright");
    label.next(out, "topparent");
    top.number(out, "leaftopparent");
    Ok(())
}

/// `xl_btree_metadata` in block 0's data: 11 has no version in front.
fn meta_cleanup<O: Out>(s: &Subject<'_>, label: Label, out: &mut O) -> Result<(), Short> {
    let Some(mut data) = s.block_data(0) else { return Ok(()) };
    data.skip(if s.major == Major::V11 { 16 } else { 20 })?;
    if s.major >= Major::V14 {
        label.first(out, "last_cleanup_num_delpages");
        data.u32()?.number(out, "last_cleanup_num_delpages");
        return Ok(());
    }
    label.first(out, "oldest_btpo_xact");
    data.u32()?.number(out, "oldest_btpo_xact");
    data.align(8)?;
    out.text("; last_cleanup_num_heap_tuples: ");
    let tuples = data.f64()?;
    out.field("last_cleanup_num_heap_tuples", Value::Float(tuples.value, 6), tuples.at);
    Ok(())
}

fn catalog<O: Out>(main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    out.text(", isCatalogRel: ");
    let is = main.u8()?;
    out.field("is_catalog_rel", letter(is.value != 0), is.at);
    Ok(())
}

fn signed<O: Out>(read: &Read<i32>, out: &mut O, name: &'static str) {
    out.field(name, Value::I(read.value.into()), read.at.clone());
}
