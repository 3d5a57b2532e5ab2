//! Records of the resource manager Gin (`gin_desc`; structs in ginxlog.h, ginblock.h).

use super::common::letter;
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const INSERT: u8 = 0x20;
const SPLIT: u8 = 0x30;
const UPDATE_META_PAGE: u8 = 0x60;
const INSERT_LISTPAGE: u8 = 0x70;
const DELETE_LISTPAGE: u8 = 0x80;
const VACUUM_DATA_LEAF_PAGE: u8 = 0x90;

const IS_DATA: u16 = 1;
const IS_LEAF: u16 = 2;
const SPLITS_ROOT: u16 = 4;

const SEGMENT_DELETE: u8 = 1;
const SEGMENT_INSERT: u8 = 2;
const SEGMENT_REPLACE: u8 = 3;
const SEGMENT_ADD_ITEMS: u8 = 4;

/// `sizeof(GinMetaPageData)`
const META_SIZE: usize = 56;
/// `sizeof(ItemPointerData)`
const ITEM_POINTER_SIZE: usize = 6;
const NO_BLOCK: u32 = u32::MAX;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        INSERT => insert(s, &mut main, out)?,
        SPLIT => {
            // ginxlogSplit: relation, old right link
            main.skip(16)?;
            let (left, right, flags) = (main.u32()?, main.u32()?, main.u16()?);
            out.text("isrootsplit: ");
            flag(&flags, SPLITS_ROOT, out, "isrootsplit");
            out.text(" isdata: ");
            flag(&flags, IS_DATA, out, "isdata");
            out.text(" isleaf: ");
            flag(&flags, IS_LEAF, out, "isleaf");
            if s.major >= Major::V19 && flags.value & IS_LEAF == 0 {
                out.text(" children: ");
                left.number(out, "left_child");
                out.text("/");
                right.number(out, "right_child");
            }
        }
        VACUUM_DATA_LEAF_PAGE => {
            if s.has_image(0) {
                full_page(s, out);
            } else if let Some(mut data) = s.block_data(0) {
                segments(&mut data, out)?;
            }
        }
        UPDATE_META_PAGE if s.major >= Major::V19 => {
            // ginxlogUpdateMeta: relation, metadata
            main.skip(12)?;
            main.align(8)?;
            main.skip(META_SIZE)?;
            let (tail, right, count) = (main.u32()?, main.u32()?, main.i32()?);
            out.text("ntuples: ");
            signed(&count, out, "ntuples");
            unless_none(&tail, out, " prevTail: ", "prev_tail");
            unless_none(&right, out, " newRightlink: ", "new_rightlink");
        }
        INSERT_LISTPAGE if s.major >= Major::V19 => {
            let (right, count) = (main.u32()?, main.i32()?);
            out.text("ntuples: ");
            signed(&count, out, "ntuples");
            unless_none(&right, out, " rightlink: ", "rightlink");
        }
        DELETE_LISTPAGE => {
            main.skip(META_SIZE)?;
            out.text("ndeleted: ");
            signed(&main.i32()?, out, "ndeleted");
        }
        _ => {}
    }
    Ok(())
}

fn insert<O: Out>(s: &Subject<'_>, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let flags = main.u16()?;
    let (data, leaf) = (flags.value & IS_DATA != 0, flags.value & IS_LEAF != 0);
    out.text("isdata: ");
    flag(&flags, IS_DATA, out, "isdata");
    out.text(" isleaf: ");
    flag(&flags, IS_LEAF, out, "isleaf");
    if !leaf {
        out.text(" children: ");
        block(main)?.number(out, "left_child");
        out.text("/");
        block(main)?.number(out, "right_child");
    }
    if s.has_image(0) {
        full_page(s, out);
        return Ok(());
    }
    let Some(mut page) = s.block_data(0) else { return Ok(()) };
    if !data {
        page.skip(2)?; // the offset
        out.text(" isdelete: ");
        let delete = page.u8()?;
        out.field("isdelete", letter(delete.value != 0), delete.at);
    } else if leaf {
        segments(&mut page, out)?;
    } else {
        page.skip(2)?; // the offset
        out.text(" pitem: ");
        block(&mut page)?.number(out, "child");
        out.text("-");
        block(&mut page)?.number(out, "key_block");
        out.text("/");
        page.u16()?.number(out, "key_offset");
    }
    Ok(())
}

/// Until 18 an image is mentioned.
fn full_page<O: Out>(s: &Subject<'_>, out: &mut O) {
    let image = s.block(0).and_then(|block| block.header.image);
    if let Some(image) = image.filter(|_| s.major < Major::V19) {
        out.text(if image.apply { " (full page image)" } else { " (full page image, for WAL verification)" });
    }
}

/// What became of the compressed lists on a leaf page (`desc_recompress_leaf`).
fn segments<O: Out>(data: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let count = data.u16()?;
    out.text(" ");
    count.number(out, "nsegments");
    out.text(" segments:");
    out.open("segments");
    for _ in 0..count.value {
        let (number, action) = (data.u8()?, data.u8()?);
        out.item();
        out.text(" ");
        number.number(out, "segment");
        match action.value {
            SEGMENT_ADD_ITEMS => {
                let added = data.u16()?;
                data.skip(usize::from(added.value) * ITEM_POINTER_SIZE)?;
                out.text(" (");
                out.field("action", Value::Str("add"), action.at);
                out.text(" ");
                added.number(out, "items");
                out.text(" items)");
            }
            SEGMENT_DELETE => named(&action, "delete", out),
            SEGMENT_INSERT | SEGMENT_REPLACE => {
                // GinPostingList: the first item, a length, so many bytes and padding
                data.skip(ITEM_POINTER_SIZE)?;
                let len = usize::from(data.u16()?.value);
                data.skip(len.next_multiple_of(2))?;
                named(&action, if action.value == SEGMENT_INSERT { "insert" } else { "replace" }, out);
            }
            _ => {
                out.text(" unknown action ");
                action.number(out, "action");
                out.text(" ???");
                break;
            }
        }
    }
    out.close();
    Ok(())
}

fn named<O: Out>(action: &Read<u8>, word: &str, out: &mut O) {
    out.text(" (");
    out.field("action", Value::Str(word), action.at.clone());
    out.text(")");
}

/// `BlockIdData`: the high half first.
fn block(cursor: &mut Cursor<'_>) -> Result<Read<u32>, Short> {
    let (high, low) = (cursor.u16()?, cursor.u16()?);
    Ok(Read { value: u32::from(high.value) << 16 | u32::from(low.value), at: high.at.start..low.at.end })
}

fn flag<O: Out>(flags: &Read<u16>, bit: u16, out: &mut O, name: &'static str) {
    out.field(name, letter(flags.value & bit != 0), flags.at.clone());
}

fn signed<O: Out>(read: &Read<i32>, out: &mut O, name: &'static str) {
    out.field(name, Value::I(read.value.into()), read.at.clone());
}

fn unless_none<O: Out>(block: &Read<u32>, out: &mut O, words: &str, name: &'static str) {
    if block.value != NO_BLOCK {
        out.text(words);
        block.number(out, name);
    }
}
