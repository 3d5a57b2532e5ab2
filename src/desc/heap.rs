//! Records of the resource manager Heap (`heap_desc`). From 16 on the text is `key: value`.

use super::common::{Words, array, flags};
use super::standby::invalidations;
use super::{Cursor, Out, Read, Subject};
use crate::pg::Major;
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

const INSERT: u8 = 0x00;
const DELETE: u8 = 0x10;
const UPDATE: u8 = 0x20;
const TRUNCATE: u8 = 0x30;
const HOT_UPDATE: u8 = 0x40;
const CONFIRM: u8 = 0x50;
const LOCK: u8 = 0x60;
const INPLACE: u8 = 0x70;

/// `XLHL_*` (heapam_xlog.h)
const INFOBITS: [(u8, &str); 5] =
    [(1, "IS_MULTI"), (2, "LOCK_ONLY"), (4, "EXCL_LOCK"), (8, "KEYSHR_LOCK"), (16, "KEYS_UPDATED")];
/// `XLH_TRUNCATE_*`
const TRUNCATE_FLAGS: [(u8, &str); 2] = [(1, "CASCADE"), (2, "RESTART_SEQS")];
const TRUNCATE_WORDS: [(u8, &str); 2] = [(1, "cascade"), (2, "restart_seqs")];

/// A list of set infobits.
#[inline]
pub(super) fn infobits<O: Out>(out: &mut O, name: &'static str, bits: &Read<u8>, words: Words) {
    flags(out, name, bits, &INFOBITS, words);
}

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    if s.major >= Major::V16 { keyed(s, out) } else { plain(s, out) }
}

fn keyed<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() & op::HEAP_MASK {
        INSERT => {
            out.text("off: ");
            main.u16()?.number(out, "off");
            out.text(", flags: ");
            main.u8()?.hex(out, "flags");
        }
        DELETE | LOCK => lock(&mut main, out)?,
        UPDATE | HOT_UPDATE => {
            let (old_xmax, old_off, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            out.text("old_xmax: ");
            old_xmax.number(out, "old_xmax");
            out.text(", old_off: ");
            old_off.number(out, "old_off");
            out.text(", old_infobits: ");
            infobits(out, "old_infobits", &bits, Words::Bracketed);
            out.text(", flags: ");
            flags.hex(out, "flags");
            out.text(", new_xmax: ");
            main.u32()?.number(out, "new_xmax");
            out.text(", new_off: ");
            main.u16()?.number(out, "new_off");
        }
        TRUNCATE => {
            main.skip(4)?; // the database
            let (count, bits) = (main.u32()?, main.u8()?);
            main.align(4)?;
            out.text("flags: ");
            flags(out, "flags", &bits, &TRUNCATE_FLAGS, Words::Bracketed);
            out.text(", nrelids: ");
            count.number(out, "nrelids");
            out.text(", relids:");
            array(out, "relids", count.value as usize, |out| {
                main.u32()?.number(out, "");
                Ok(())
            })?;
        }
        CONFIRM => {
            out.text("off: ");
            main.u16()?.number(out, "off");
        }
        INPLACE => {
            out.text("off: ");
            main.u16()?.number(out, "off");
            if s.major >= Major::V18 {
                main.align(4)?;
                let (db, space, init_file) = (main.u32()?, main.u32()?, main.u8()?);
                main.align(4)?;
                let count = main.i32()?;
                invalidations(out, &mut main, count.value, (db.value, space.value), &init_file)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// `xl_heap_lock`, `xl_heap_lock_updated` and the beginning of `xl_heap_delete` from 16 on.
pub(super) fn lock<O: Out>(main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    out.text("xmax: ");
    main.u32()?.number(out, "xmax");
    out.text(", off: ");
    main.u16()?.number(out, "off");
    out.text(", infobits: ");
    infobits(out, "infobits", &main.u8()?, Words::Bracketed);
    out.text(", flags: ");
    main.u8()?.hex(out, "flags");
    Ok(())
}

/// A lock as versions up to 15 tell it; `name` is what they call the locker.
pub(super) fn plain_lock<O: Out>(
    main: &mut Cursor<'_>,
    major: Major,
    name: &'static str,
    out: &mut O,
) -> Result<(), Short> {
    let (xid, off, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
    out.text("off ");
    off.number(out, "off");
    out.text(": ");
    out.text(name);
    out.text(" ");
    xid.number(out, name);
    out.text(": flags ");
    lock_flags(major, &flags, out);
    out.text(" ");
    infobits(out, "infobits", &bits, Words::Trailing);
    Ok(())
}

/// The flags of a lock or of visibility: a decimal number until 11.
pub(super) fn lock_flags<O: Out>(major: Major, flags: &Read<u8>, out: &mut O) {
    if major >= Major::V12 { flags.hex(out, "flags") } else { flags.number(out, "flags") }
}

fn plain<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    // until 11 flags are told of locks only
    let with_flags = s.major >= Major::V12;
    match s.info() & op::HEAP_MASK {
        INSERT => {
            out.text("off ");
            main.u16()?.number(out, "off");
            if with_flags {
                out.text(" flags ");
                main.u8()?.hex(out, "flags");
            }
        }
        DELETE => {
            main.skip(4)?; // xmax, not told
            out.text("off ");
            main.u16()?.number(out, "off");
            let bits = main.u8()?;
            if with_flags {
                out.text(" flags ");
                main.u8()?.hex(out, "flags");
            }
            out.text(" ");
            infobits(out, "infobits", &bits, Words::Trailing);
        }
        UPDATE | HOT_UPDATE => {
            let (old_xmax, old_off, bits, flags) = (main.u32()?, main.u16()?, main.u8()?, main.u8()?);
            out.text("off ");
            old_off.number(out, "old_off");
            out.text(" xmax ");
            old_xmax.number(out, "old_xmax");
            if with_flags {
                out.text(" flags ");
                flags.hex(out, "flags");
            }
            out.text(" ");
            infobits(out, "old_infobits", &bits, Words::Trailing);
            let (new_xmax, new_off) = (main.u32()?, main.u16()?);
            out.text("; new off ");
            new_off.number(out, "new_off");
            out.text(" xmax ");
            new_xmax.number(out, "new_xmax");
        }
        TRUNCATE if s.major >= Major::V11 => {
            main.skip(4)?; // the database
            let (count, bits) = (main.u32()?, main.u8()?);
            main.align(4)?;
            flags(out, "flags", &bits, &TRUNCATE_WORDS, Words::Trailing);
            out.text("nrelids ");
            count.number(out, "nrelids");
            out.text(" relids");
            super::common::numbers(out, "relids", &mut main, count.value.min(i32::MAX as u32) as i32)?;
        }
        CONFIRM | INPLACE => {
            out.text("off ");
            main.u16()?.number(out, "off");
        }
        LOCK => plain_lock(&mut main, s.major, "xid", out)?,
        _ => {}
    }
    Ok(())
}
