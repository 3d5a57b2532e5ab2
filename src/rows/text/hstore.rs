//! hstore (contrib/hstore: hstore.h, `hstore_out` in hstore_io.c).

use super::{Written, room, utf8};
use crate::pg::bytes::Bytes;

/// `HS_FLAG_NEWVERSION`: the format since 9.0.
const NEW_VERSION: u32 = 0x8000_0000;
/// `HS_COUNT_MASK`.
const COUNT: u32 = 0x0FFF_FFFF;
/// An entry (`HEntry`): the value is NULL, and where the string ends.
const NULL: u32 = 0x4000_0000;
const END: u32 = 0x3FFF_FFFF;

/// Number of pairs, an entry for each key and value in turn, the strings.
pub(super) fn hstore(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    let header = data.u32()?;
    if header & NEW_VERSION == 0 {
        return Err("its format is older than 9.0".into());
    }
    let count = (header & COUNT) as usize;
    let mut entries = Bytes::new(data.take(count * 8)?);
    let mut strings = Bytes::new(data.rest());
    let mut next = |out: &mut String| -> Written {
        let entry = entries.u32()?;
        let len = ((entry & END) as usize).checked_sub(strings.position()).ok_or("entries overlap")?;
        let text = strings.take(len)?;
        if entry & NULL != 0 {
            out.push_str("NULL");
            return Ok(());
        }
        out.push('"');
        for c in utf8(text)?.chars() {
            if matches!(c, '"' | '\\') {
                out.push('\\');
            }
            out.push(c);
        }
        out.push('"');
        Ok(())
    };
    for n in 0..count {
        if n > 0 {
            out.push_str(", ");
        }
        next(out)?;
        out.push_str("=>");
        next(out)?;
        room(out)?;
    }
    Ok(())
}
