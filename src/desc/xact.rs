//! Records of the resource manager Transaction (`xact_desc`).

use super::common::numbers;
use super::standby::invalidations;
use super::{Cursor, Out, Read, Subject, Value};
use crate::pg::bytes::Short;
use crate::pg::{Fork, Major, Oid};
use crate::wal::rmgr::op;

const INVALIDATION: u8 = 0x60;
/// `XLOG_XACT_HAS_INFO`
const HAS_INFO: u8 = 0x80;

/// Bits of `xl_xact_xinfo` (xact.h).
mod xinfo {
    pub const DBINFO: u32 = 1;
    pub const SUBXACTS: u32 = 1 << 1;
    pub const RELFILES: u32 = 1 << 2;
    pub const INVALS: u32 = 1 << 3;
    pub const TWOPHASE: u32 = 1 << 4;
    pub const ORIGIN: u32 = 1 << 5;
    pub const GID: u32 = 1 << 7;
    pub const DROPPED_STATS: u32 = 1 << 8;
    pub const APPLY_FEEDBACK: u32 = 1 << 29;
    pub const INIT_FILE_INVAL: u32 = 1 << 30;
    pub const FORCE_SYNC_COMMIT: u32 = 1 << 31;
}

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    match s.info() & op::XACT_MASK {
        op::XACT_COMMIT | op::XACT_COMMIT_PREPARED => end(s, main, true, out)?,
        op::XACT_ABORT | op::XACT_ABORT_PREPARED => end(s, main, false, out)?,
        // earlier majors only give its name
        op::XACT_PREPARE if s.major >= Major::V13 => prepare(s, main, out)?,
        op::XACT_ASSIGNMENT => {
            out.text("xtop ");
            main.u32()?.number(out, "xtop");
            out.text(": subxacts:");
            let count = main.i32()?;
            numbers(out, "subxacts", &mut main, count.value)?;
        }
        INVALIDATION if s.major >= Major::V14 => {
            let count = main.i32()?;
            let nothing = Read { value: 0, at: 0..0 };
            invalidations(out, &mut main, count.value, (0, 0), &nothing)?;
        }
        _ => {}
    }
    Ok(())
}

/// A list in a record: how many elements, and a cursor at the first.
type List<'a> = Option<(i32, Cursor<'a>)>;

/// Length of an element in bytes, for lists that are skipped and printed later.
fn list<'a>(main: &mut Cursor<'a>, present: bool, size: usize) -> Result<List<'a>, Short> {
    if !present {
        return Ok(None);
    }
    let count = main.i32()?;
    let elements = main.clone();
    main.skip((count.value.max(0) as usize).saturating_mul(size))?;
    Ok(Some((count.value, elements)))
}

/// Length of a dropped statistics entry: its object's number has 64 bits from 18 on.
const fn stats_size(major: Major) -> usize {
    if major as u8 >= Major::V18 as u8 { 16 } else { 12 }
}

/// `ParseCommitRecord` and `ParseAbortRecord`: what is printed first need not come first.
fn end<O: Out>(s: &Subject<'_>, mut main: Cursor<'_>, commit: bool, out: &mut O) -> Result<(), Short> {
    let time = main.i64()?;
    let info = if s.record.info & HAS_INFO == 0 { Read { value: 0, at: 0..0 } } else { main.u32()? };
    let has = |bit: u32| info.value & bit != 0;
    let mut ids: (Oid, Oid) = (0, 0);
    if has(xinfo::DBINFO) {
        ids = (main.u32()?.value, main.u32()?.value);
    }
    let subxacts = list(&mut main, has(xinfo::SUBXACTS), 4)?;
    let rels = list(&mut main, has(xinfo::RELFILES), 12)?;
    let stats = list(&mut main, s.major >= Major::V15 && has(xinfo::DROPPED_STATS), stats_size(s.major))?;
    let invals = list(&mut main, commit && has(xinfo::INVALS), 16)?;
    let prepared = if has(xinfo::TWOPHASE) { Some(main.u32()?) } else { None };
    if prepared.is_some() && has(xinfo::GID) && s.major >= Major::V11 {
        main.c_string()?;
    }
    if let Some(xid) = prepared.filter(|xid| xid.value != 0) {
        xid.number(out, "prepared_xid");
        out.text(": ");
    }
    out.field("time", Value::Time(time.value), time.at);
    relations(out, "rels", "; rels:", rels)?;
    if let Some((count, mut xids)) = subxacts.filter(|l| l.0 > 0) {
        out.text("; subxacts:");
        numbers(out, "subxacts", &mut xids, count)?;
    }
    if commit {
        dropped_stats(s.major, out, "dropped_stats", "; dropped stats:", stats)?;
        if let Some((count, mut messages)) = invals {
            let init_file = Read { value: u8::from(has(xinfo::INIT_FILE_INVAL)), at: info.at.clone() };
            invalidations(out, &mut messages, count, ids, &init_file)?;
        }
        if s.major >= Major::V15 && has(xinfo::APPLY_FEEDBACK) {
            out.text("; ");
            out.field("apply_feedback", Value::Bool(true, "apply_feedback", ""), info.at.clone());
        }
        if has(xinfo::FORCE_SYNC_COMMIT) {
            out.text("; ");
            out.field("sync", Value::Bool(true, "sync", ""), info.at.clone());
        }
        if has(xinfo::ORIGIN) {
            let (lsn, at) = (main.lsn()?, main.i64()?);
            origin(s, out, &lsn, &at);
        }
    } else {
        if s.major >= Major::V15 && has(xinfo::ORIGIN) {
            let (lsn, at) = (main.lsn()?, main.i64()?);
            origin(s, out, &lsn, &at);
        }
        dropped_stats(s.major, out, "dropped_stats", "; dropped stats:", stats)?;
    }
    Ok(())
}

fn relations<O: Out>(out: &mut O, name: &'static str, words: &str, rels: List<'_>) -> Result<(), Short> {
    let Some((count, mut rels)) = rels.filter(|l| l.0 > 0) else { return Ok(()) };
    out.text(words);
    out.open(name);
    for _ in 0..count {
        out.item();
        out.text(" ");
        let rel = rels.rel()?;
        out.field("", Value::Path(rel.value, Fork::Main), rel.at);
    }
    out.close();
    Ok(())
}

fn dropped_stats<O: Out>(
    major: Major,
    out: &mut O,
    name: &'static str,
    words: &str,
    stats: List<'_>,
) -> Result<(), Short> {
    let Some((count, mut stats)) = stats.filter(|l| l.0 > 0) else { return Ok(()) };
    out.text(words);
    out.open(name);
    for _ in 0..count {
        out.item();
        out.text(" ");
        let kind = stats.i32()?;
        out.field("kind", Value::I(i64::from(kind.value)), kind.at);
        out.text("/");
        stats.u32()?.number(out, "database");
        out.text("/");
        if major >= Major::V18 {
            stats.u64()?.number(out, "object");
        } else {
            stats.u32()?.number(out, "object");
        }
    }
    out.close();
    Ok(())
}

fn origin<O: Out>(s: &Subject<'_>, out: &mut O, lsn: &Read<crate::pg::Lsn>, time: &Read<i64>) {
    out.text("; origin: node ");
    out.field("origin", Value::U(u64::from(s.parts.origin.unwrap_or(0))), 0..0);
    out.text(", lsn ");
    out.field("origin_lsn", Value::Lsn(lsn.value), lsn.at.clone());
    out.text(", at ");
    out.field("origin_time", Value::Time(time.value), time.at.clone());
}

/// `xl_xact_prepare` (`TwoPhaseFileHeader`) and what follows it, each piece padded to 8 bytes.
fn prepare<O: Out>(s: &Subject<'_>, mut main: Cursor<'_>, out: &mut O) -> Result<(), Short> {
    main.skip(12)?; // magic, length, xid
    let db = main.u32()?;
    let time = main.i64()?;
    main.skip(4)?; // owner
    let (subxacts, commit_rels, abort_rels) = (main.i32()?, main.i32()?, main.i32()?);
    let (mut commit_stats, mut abort_stats) = (0, 0);
    if s.major >= Major::V15 {
        (commit_stats, abort_stats) = (main.i32()?.value, main.i32()?.value);
    }
    let (invals, init_file) = (main.i32()?, main.u8()?);
    main.align(2)?;
    let gid_len = main.u16()?;
    main.align(8)?;
    let (lsn, at) = (main.lsn()?, main.i64()?);
    let gid_field = main.bytes(usize::from(gid_len.value))?;
    let gid = gid_field.value.split(|&b| b == 0).next().unwrap_or_default();
    let mut piece = |count: i32, size: usize| -> Result<List<'_>, Short> {
        main.align(8)?;
        let elements = main.clone();
        main.skip((count.max(0) as usize).saturating_mul(size))?;
        Ok(Some((count, elements)))
    };
    let xids = piece(subxacts.value, 4)?;
    let commit_rels = piece(commit_rels.value, 12)?;
    let abort_rels = piece(abort_rels.value, 12)?;
    let (mut on_commit, mut on_abort) = (None, None);
    if s.major >= Major::V15 {
        on_commit = piece(commit_stats, stats_size(s.major))?;
        on_abort = piece(abort_stats, stats_size(s.major))?;
    }
    let messages = piece(invals.value, 16)?;
    out.text("gid ");
    out.field("gid", Value::Bytes(gid), gid_field.at);
    out.text(": ");
    out.field("time", Value::Time(time.value), time.at);
    relations(out, "commit_rels", "; rels(commit):", commit_rels)?;
    relations(out, "abort_rels", "; rels(abort):", abort_rels)?;
    dropped_stats(s.major, out, "commit_dropped_stats", "; commit dropped stats:", on_commit)?;
    dropped_stats(s.major, out, "abort_dropped_stats", "; abort dropped stats:", on_abort)?;
    if let Some((count, mut xids)) = xids.filter(|l| l.0 > 0) {
        out.text("; subxacts:");
        numbers(out, "subxacts", &mut xids, count)?;
    }
    if let Some((count, mut messages)) = messages {
        // the tablespace is not in the record, and pg_waldump prints 0
        invalidations(out, &mut messages, count, (db.value, 0), &init_file)?;
    }
    if s.major >= Major::V15 && s.parts.origin.is_some_and(|o| o != 0) {
        origin(s, out, &lsn, &at);
    }
    Ok(())
}
