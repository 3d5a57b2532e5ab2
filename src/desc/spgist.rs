//! Records of the resource manager SPGist (`spg_desc`; structs in spgxlog.h).

use super::common::letter;
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;

const ADD_LEAF: u8 = 0x10;
const MOVE_LEAFS: u8 = 0x20;
const ADD_NODE: u8 = 0x30;
const SPLIT_TUPLE: u8 = 0x40;
const PICKSPLIT: u8 = 0x50;
const VACUUM_LEAF: u8 = 0x60;
const VACUUM_ROOT: u8 = 0x70;
const VACUUM_REDIRECT: u8 = 0x80;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    if s.major >= Major::V14 { keyed(s, out) } else { plain(s, out) }
}

fn keyed<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        ADD_LEAF => {
            let (new_page, nulls) = (main.u8()?, main.u8()?);
            labelled(&mut main, out, "off: ", "off")?;
            labelled(&mut main, out, ", headoff: ", "headoff")?;
            parent(&mut main, out)?;
            mark(&new_page, out, " (newpage)", "newpage");
            mark(&nulls, out, " (nulls)", "nulls");
        }
        MOVE_LEAFS => {
            labelled(&mut main, out, "nmoves: ", "nmoves")?;
            let (new_page, replace, nulls) = (main.u8()?, main.u8()?, main.u8()?);
            main.align(2)?;
            parent(&mut main, out)?;
            mark(&new_page, out, " (newpage)", "newpage");
            mark(&replace, out, " (replacedead)", "replacedead");
            mark(&nulls, out, " (nulls)", "nulls");
        }
        ADD_NODE => {
            labelled(&mut main, out, "off: ", "off")?;
            labelled(&mut main, out, ", newoff: ", "newoff")?;
            let (new_page, block) = (main.u8()?, main.u8()?);
            out.text(", parentBlk: ");
            out.field("parent_blk", Value::I((block.value as i8).into()), block.at);
            parent(&mut main, out)?;
            mark(&new_page, out, " (newpage)", "newpage");
        }
        SPLIT_TUPLE => {
            labelled(&mut main, out, "prefixoff: ", "prefixoff")?;
            labelled(&mut main, out, ", postfixoff: ", "postfixoff")?;
            let (new_page, same) = (main.u8()?, main.u8()?);
            mark(&new_page, out, " (newpage)", "newpage");
            mark(&same, out, " (same)", "same");
        }
        PICKSPLIT => {
            let root = main.u8()?;
            main.align(2)?;
            labelled(&mut main, out, "ndelete: ", "ndelete")?;
            labelled(&mut main, out, ", ninsert: ", "ninsert")?;
            main.skip(2)?; // pages that are made new
            labelled(&mut main, out, ", inneroff: ", "inneroff")?;
            main.skip(1)?;
            let (nulls, inner) = (main.u8()?, main.u8()?);
            main.align(2)?;
            parent(&mut main, out)?;
            mark(&inner, out, " (innerIsParent)", "inner_is_parent");
            mark(&nulls, out, " (nulls)", "nulls");
            mark(&root, out, " (isRootSplit)", "is_root_split");
        }
        VACUUM_LEAF => {
            labelled(&mut main, out, "ndead: ", "ndead")?;
            labelled(&mut main, out, ", nplaceholder: ", "nplaceholder")?;
            labelled(&mut main, out, ", nmove: ", "nmove")?;
            labelled(&mut main, out, ", nchain: ", "nchain")?;
        }
        VACUUM_ROOT => labelled(&mut main, out, "ndelete: ", "ndelete")?,
        VACUUM_REDIRECT => {
            labelled(&mut main, out, "ntoplaceholder: ", "ntoplaceholder")?;
            labelled(&mut main, out, ", firstplaceholder: ", "firstplaceholder")?;
            out.text(if s.major >= Major::V16 {
                ", snapshotConflictHorizon: "
            } else {
                ", newestredirectxid: "
            });
            main.u32()?.number(out, "snapshot_conflict_horizon");
            if s.major >= Major::V17 {
                out.text(", isCatalogRel: ");
                let is = main.u8()?;
                out.field("is_catalog_rel", letter(is.value != 0), is.at);
            }
        }
        _ => {}
    }
    Ok(())
}

/// Until 13.
fn plain<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        ADD_LEAF => {
            let (new_page, nulls) = (main.u8()?, main.u8()?);
            out.text("add leaf to page");
            labelled(&mut main, out, "; off ", "off")?;
            labelled(&mut main, out, "; headoff ", "headoff")?;
            labelled(&mut main, out, "; parentoff ", "parentoff")?;
            mark(&new_page, out, " (newpage)", "newpage");
            mark(&nulls, out, " (nulls)", "nulls");
        }
        MOVE_LEAFS => {
            main.u16()?.number(out, "nmoves");
            out.text(" leafs");
        }
        ADD_NODE => labelled(&mut main, out, "off ", "off")?,
        SPLIT_TUPLE => {
            labelled(&mut main, out, "prefix off: ", "prefixoff")?;
            labelled(&mut main, out, ", postfix off: ", "postfixoff")?;
            let (new_page, same) = (main.u8()?, main.u8()?);
            out.text(" (same ");
            digit(&same, out, "same");
            out.text(", new ");
            digit(&new_page, out, "newpage");
            out.text(")");
        }
        PICKSPLIT => {
            let root = main.u8()?;
            main.align(2)?;
            labelled(&mut main, out, "ndel ", "ndelete")?;
            labelled(&mut main, out, "; nins ", "ninsert")?;
            main.skip(6)?; // pages that are made new, the inner tuple's offset, whether it is for nulls
            mark(&main.u8()?, out, " (innerIsParent)", "inner_is_parent");
            mark(&root, out, " (isRootSplit)", "is_root_split");
        }
        VACUUM_REDIRECT => {
            main.skip(4)?; // counts
            out.text("newest XID ");
            main.u32()?.number(out, "snapshot_conflict_horizon");
        }
        _ => {}
    }
    Ok(())
}

#[inline]
fn labelled<O: Out>(
    main: &mut Cursor<'_>,
    out: &mut O,
    words: &str,
    name: &'static str,
) -> Result<(), Short> {
    out.text(words);
    main.u16()?.number(out, name);
    Ok(())
}

#[inline]
fn parent<O: Out>(main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    labelled(main, out, ", parentoff: ", "parentoff")?;
    labelled(main, out, ", nodeI: ", "node_i")
}

/// Words that stand there if the byte is not 0.
#[inline]
fn mark<O: Out>(read: &Read<u8>, out: &mut O, words: &'static str, name: &'static str) {
    out.field(name, Value::Bool(read.value != 0, words, ""), read.at.clone());
}

fn digit<O: Out>(read: &Read<u8>, out: &mut O, name: &'static str) {
    out.field(name, Value::Bool(read.value != 0, "1", "0"), read.at.clone());
}
