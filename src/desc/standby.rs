//! Records of the resource manager Standby (`standby_desc`), and invalidation messages, which others have too.

use super::common::numbers;
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::bytes::Short;
use crate::pg::{Major, Oid};
use crate::wal::rmgr::op;

const LOCK: u8 = 0x00;
const INVALIDATIONS: u8 = 0x20;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        LOCK => {
            let count = main.i32()?;
            out.open("locks");
            for _ in 0..count.value {
                out.item();
                out.text("xid ");
                main.u32()?.number(out, "xid");
                out.text(" db ");
                main.u32()?.number(out, "database");
                out.text(" rel ");
                main.u32()?.number(out, "relation");
                out.text(" ");
            }
            out.close();
        }
        op::STANDBY_RUNNING_XACTS => running(s.major, &mut main, out)?,
        INVALIDATIONS => {
            let (db, space, init_file) = (main.u32()?, main.u32()?, main.u8()?);
            main.align(4)?;
            let count = main.i32()?;
            invalidations(out, &mut main, count.value, (db.value, space.value), &init_file)?;
        }
        _ => {}
    }
    Ok(())
}

/// `xl_running_xacts` (standbydefs.h). Subtransactions are told from 16 on.
fn running<O: Out>(major: Major, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let (count, sub_count, overflow) = (main.i32()?, main.i32()?, main.u8()?);
    main.align(4)?;
    let (next, oldest, latest) = (main.u32()?, main.u32()?, main.u32()?);
    out.text("nextXid ");
    next.number(out, "next_xid");
    out.text(" latestCompletedXid ");
    latest.number(out, "latest_completed_xid");
    out.text(" oldestRunningXid ");
    oldest.number(out, "oldest_running_xid");
    if count.value > 0 {
        out.text("; ");
        out.field("nxacts", Value::I(i64::from(count.value)), count.at);
        out.text(" xacts:");
        numbers(out, "xacts", main, count.value)?;
    }
    if overflow.value != 0 {
        out.text("; ");
        let words = if major >= Major::V16 { "subxid overflowed" } else { "subxid ovf" };
        out.field("subxid_overflow", Value::Bool(true, words, ""), overflow.at);
    }
    if major >= Major::V16 && sub_count.value > 0 {
        out.text("; ");
        out.field("nsubxacts", Value::I(i64::from(sub_count.value)), sub_count.at);
        out.text(" subxacts:");
        numbers(out, "subxacts", main, sub_count.value)?;
    }
    Ok(())
}

/// Messages of 16 bytes (`SharedInvalidationMessage`, sinval.h) as `standby_desc_invalidations` prints them; nothing
/// without any. `ids` are the database and its tablespace, `init_file` says that the relation cache's file goes.
pub(super) fn invalidations<O: Out>(
    out: &mut O,
    messages: &mut Cursor<'_>,
    count: i32,
    ids: (Oid, Oid),
    init_file: &Read<u8>,
) -> Result<(), Short> {
    if count <= 0 {
        return Ok(());
    }
    if init_file.value != 0 {
        out.text("; relcache init file inval dbid ");
        out.field("init_file_database", Value::U(u64::from(ids.0)), init_file.at.clone());
        out.text(" tsid ");
        out.field("init_file_tablespace", Value::U(u64::from(ids.1)), init_file.at.clone());
    }
    out.text("; inval msgs:");
    out.open("invalidations");
    for _ in 0..count {
        out.item();
        message(out, messages)?;
    }
    out.close();
    Ok(())
}

fn message<O: Out>(out: &mut O, messages: &mut Cursor<'_>) -> Result<(), Short> {
    let id = messages.u8()?;
    messages.skip(3)?;
    let (first, second) = (messages.u32()?, messages.u32()?);
    messages.skip(4)?;
    let number = i64::from(id.value as i8);
    // what each kind names lies in different places: (its name, words, member, value)
    let (kind, words, name, value) = match number {
        0.. => ("catcache", " ", "cache", Some((Value::I(number), id.at.clone()))),
        -1 => ("catalog", " ", "catalog", Some((Value::U(second.value.into()), second.at))),
        -2 => ("relcache", " ", "relation", Some((Value::U(second.value.into()), second.at))),
        -3 => ("smgr", "", "", None),
        -4 => ("relmap", " db ", "database", Some((Value::U(first.value.into()), first.at))),
        -5 => ("snapshot", " ", "relation", Some((Value::U(second.value.into()), second.at))),
        -6 => ("relsync", " ", "relation", Some((Value::U(second.value.into()), second.at))),
        _ => ("unrecognized id", " ", "id", Some((Value::I(number), id.at.clone()))),
    };
    out.text(" ");
    out.field("kind", Value::Str(kind), id.at);
    if let Some((value, at)) = value {
        out.text(words);
        out.field(name, value, at);
    }
    Ok(())
}
