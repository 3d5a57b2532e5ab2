//! Records of the resource manager Database (`dbase_desc`).

use super::{Out, Read, Subject};
use crate::pg::bytes::Short;
use crate::pg::{Major, Oid};

/// To 14 CREATE, from 15 CREATE_FILE_COPY.
const CREATE: u8 = 0x00;
const DROP_TO_14: u8 = 0x10;
const CREATE_WAL_LOG: u8 = 0x10;
const DROP: u8 = 0x20;

pub(super) fn describe<O: Out>(s: &Subject<'_>, out: &mut O) -> Result<(), Short> {
    let mut main = s.main();
    let from_15 = s.major >= Major::V15;
    // the tablespace first from 12 on
    let pair = |out: &mut O, space: (&'static str, &Read<Oid>), db: (&'static str, &Read<Oid>)| {
        let (one, other) = if s.major >= Major::V12 { (space, db) } else { (db, space) };
        one.1.number(out, one.0);
        out.text("/");
        other.1.number(out, other.0);
    };
    match s.info() {
        CREATE => {
            let (db, space, from_db, from_space) = (main.u32()?, main.u32()?, main.u32()?, main.u32()?);
            out.text("copy dir ");
            pair(out, ("from_tablespace", &from_space), ("from_database", &from_db));
            out.text(" to ");
            pair(out, ("tablespace", &space), ("database", &db));
        }
        CREATE_WAL_LOG if from_15 => {
            let (db, space) = (main.u32()?, main.u32()?);
            out.text("create dir ");
            pair(out, ("tablespace", &space), ("database", &db));
        }
        info if info == if from_15 { DROP } else { DROP_TO_14 } => {
            let db = main.u32()?;
            out.text("dir");
            out.open("directories");
            // to 12 one record for each tablespace
            let count = if s.major >= Major::V13 { main.i32()?.value } else { 1 };
            for _ in 0..count {
                out.item();
                out.text(" ");
                let space = main.u32()?;
                pair(out, ("tablespace", &space), ("database", &db));
            }
            out.close();
        }
        _ => {}
    }
    Ok(())
}
