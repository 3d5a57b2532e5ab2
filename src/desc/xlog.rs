//! Records of the resource manager XLOG (`xlog_desc`).

use super::common::{wal_level, word};
use super::{Cursor, Out, Subject, Value};
use crate::pg::Major;
use crate::pg::bytes::Short;
use crate::wal::rmgr::op;

const NEXTOID: u8 = 0x30;
const PARAMETER_CHANGE: u8 = 0x60;
const RESTORE_POINT: u8 = 0x70;
const FPW_CHANGE: u8 = 0x80;
const CHECKPOINT_REDO: u8 = 0xE0;
const LOGICAL_DECODING_STATUS_CHANGE: u8 = 0xF0;
/// Length of a restore point's name with its zero, in bytes (`MAXFNAMELEN`).
const RESTORE_POINT_NAME: usize = 64;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() {
        op::XLOG_CHECKPOINT_SHUTDOWN => checkpoint(s.major, &mut main, "shutdown", out)?,
        op::XLOG_CHECKPOINT_ONLINE => checkpoint(s.major, &mut main, "online", out)?,
        NEXTOID => main.u32()?.number(out, "next_oid"),
        op::XLOG_BACKUP_END => {
            let start = main.lsn()?;
            out.field("start", Value::Lsn(start.value), start.at);
        }
        PARAMETER_CHANGE => parameters(s.major, &mut main, out)?,
        RESTORE_POINT => {
            main.skip(8)?;
            let len = main.remaining().min(RESTORE_POINT_NAME);
            let name = main.bytes(len)?;
            let end = name.value.iter().position(|&b| b == 0).unwrap_or(len);
            out.field("name", Value::Bytes(name.value.get(..end).unwrap_or_default()), name.at);
        }
        FPW_CHANGE => {
            let on = main.u8()?;
            out.field("fpw", word(on.value != 0), on.at);
        }
        op::XLOG_END_OF_RECOVERY => {
            let time = main.i64()?;
            out.text("tli ");
            main.u32()?.number(out, "tli");
            out.text("; prev tli ");
            main.u32()?.number(out, "prev_tli");
            out.text("; time ");
            out.field("time", Value::Time(time.value), time.at);
            if s.major >= Major::V17 {
                out.text("; wal_level ");
                level(&mut main, out)?;
            }
        }
        op::XLOG_OVERWRITE_CONTRECORD => {
            out.text("lsn ");
            let lsn = main.lsn()?;
            out.field("lsn", Value::Lsn(lsn.value), lsn.at);
            out.text("; time ");
            let time = main.i64()?;
            out.field("time", Value::Time(time.value), time.at);
        }
        CHECKPOINT_REDO if s.major >= Major::V17 => {
            out.text("wal_level ");
            level(&mut main, out)?;
        }
        LOGICAL_DECODING_STATUS_CHANGE if s.major >= Major::V19 => {
            let on = main.u8()?;
            out.field("logical_decoding", word(on.value != 0), on.at);
        }
        _ => {}
    }
    Ok(())
}

fn level<O: Out>(main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let level = main.i32()?;
    out.field("wal_level", wal_level(level.value), level.at);
    Ok(())
}

/// `CheckPoint` (pg_control.h): full xids came with 12, the level with 17, logical decoding and 64-bit multixact
/// offsets with 19.
fn checkpoint<O: Out>(
    major: Major,
    main: &mut Cursor<'_>,
    kind: &'static str,
    out: &mut O,
) -> Result<(), Short> {
    out.text("redo ");
    let redo = main.lsn()?;
    out.field("redo", Value::Lsn(redo.value), redo.at);
    out.text("; tli ");
    main.u32()?.number(out, "tli");
    out.text("; prev tli ");
    main.u32()?.number(out, "prev_tli");
    out.text("; fpw ");
    let fpw = main.u8()?;
    out.field("fpw", word(fpw.value != 0), fpw.at);
    main.align(4)?;
    if major >= Major::V17 {
        out.text("; wal_level ");
        level(main, out)?;
    }
    if major >= Major::V19 {
        out.text("; logical decoding ");
        let logical = main.u8()?;
        out.field("logical_decoding", word(logical.value != 0), logical.at);
    }
    out.text("; xid ");
    if major >= Major::V12 {
        main.align(8)?;
        let xid = main.u64()?;
        out.field("next_xid", Value::FullXid(xid.value), xid.at);
    } else {
        let (epoch, xid) = (main.u32()?, main.u32()?);
        let full = u64::from(epoch.value) << 32 | u64::from(xid.value);
        out.field("next_xid", Value::FullXid(full), epoch.at.start..xid.at.end);
    }
    out.text("; oid ");
    main.u32()?.number(out, "next_oid");
    out.text("; multi ");
    main.u32()?.number(out, "next_multi");
    out.text("; offset ");
    if major >= Major::V19 {
        main.u64()?.number(out, "next_multi_offset");
    } else {
        main.u32()?.number(out, "next_multi_offset");
    }
    out.text("; oldest xid ");
    main.u32()?.number(out, "oldest_xid");
    out.text(" in DB ");
    main.u32()?.number(out, "oldest_xid_db");
    out.text("; oldest multi ");
    main.u32()?.number(out, "oldest_multi");
    out.text(" in DB ");
    main.u32()?.number(out, "oldest_multi_db");
    main.align(8)?;
    main.skip(8)?; // its time, which pg_waldump does not tell
    out.text("; oldest/newest commit timestamp xid: ");
    main.u32()?.number(out, "oldest_commit_ts_xid");
    out.text("/");
    main.u32()?.number(out, "newest_commit_ts_xid");
    out.text("; oldest running xid ");
    main.u32()?.number(out, "oldest_active_xid");
    out.text("; ");
    out.field("kind", Value::Str(kind), 0..0);
    Ok(())
}

/// `xl_parameter_change` (xlog_internal.h): `max_wal_senders` came with 12.
fn parameters<O: Out>(major: Major, main: &mut Cursor<'_>, out: &mut O) -> Result<(), Short> {
    let mut number = |main: &mut Cursor<'_>, words: &str, name: &'static str| -> Result<(), Short> {
        out.text(words);
        let value = main.i32()?;
        out.field(name, Value::I(i64::from(value.value)), value.at);
        Ok(())
    };
    number(main, "max_connections=", "max_connections")?;
    number(main, " max_worker_processes=", "max_worker_processes")?;
    if major >= Major::V12 {
        number(main, " max_wal_senders=", "max_wal_senders")?;
    }
    number(main, " max_prepared_xacts=", "max_prepared_xacts")?;
    number(main, " max_locks_per_xact=", "max_locks_per_xact")?;
    out.text(" wal_level=");
    level(main, out)?;
    out.text(" wal_log_hints=");
    let hints = main.u8()?;
    out.field("wal_log_hints", Value::Bool(hints.value != 0, "on", "off"), hints.at);
    out.text(" track_commit_timestamp=");
    let track = main.u8()?;
    out.field("track_commit_timestamp", Value::Bool(track.value != 0, "on", "off"), track.at);
    Ok(())
}
