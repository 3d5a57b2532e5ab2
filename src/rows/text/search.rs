//! tsvector (tsvector.c, ts_type.h) and snapshots (xid8funcs.c).

use std::fmt::Write as _;

use super::{Written, room, utf8};
use crate::pg::bytes::Bytes;

/// Most positions of a lexeme (`MAXNUMPOS`).
const MAX_POSITIONS: u16 = 256;
/// A position's low bits (`WEP_GETPOS`); its weight is above them.
const POSITION_BITS: u16 = 14;

/// `tsvectorout`: a word for each lexeme (whether it has positions 1 bit, length 11, place 20), then the lexemes with their
/// positions.
pub(super) fn tsvector(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    let count = usize::try_from(data.i32()?).map_err(|_| "a negative number of lexemes")?;
    let mut entries = Bytes::new(data.take(count.saturating_mul(4))?);
    let lexemes = Bytes::new(data.rest());
    for n in 0..count {
        let entry = entries.u32()?;
        let (has_positions, len, at) =
            (entry & 1 == 1, (entry >> 1 & 0x7FF) as usize, (entry >> 12) as usize);
        room(out)?;
        if n > 0 {
            out.push(' ');
        }
        out.push('\'');
        for c in utf8(lexemes.slice_at(at, len)?)?.chars() {
            if matches!(c, '\'' | '\\') {
                out.push(c);
            }
            out.push(c);
        }
        out.push('\'');
        if has_positions {
            positions(out, lexemes, (at + len).next_multiple_of(2))?;
        }
    }
    Ok(())
}

fn positions(out: &mut String, lexemes: Bytes<'_>, at: usize) -> Written {
    let count = lexemes.u16_at(at)?;
    if count > MAX_POSITIONS {
        return Err(format!("{count} positions of a lexeme").into());
    }
    for n in 0..usize::from(count) {
        let position = lexemes.u16_at(at + 2 + 2 * n)?;
        write!(out, "{}{}", if n == 0 { ':' } else { ',' }, position & ((1 << POSITION_BITS) - 1))?;
        out.push_str(match position >> POSITION_BITS {
            3 => "A",
            2 => "B",
            1 => "C",
            _ => "",
        });
    }
    Ok(())
}

/// `pg_snapshot_out`: number of transactions, xmin, xmax, transactions.
pub(super) fn snapshot(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    let count = data.u32()?;
    write!(out, "{}:{}:", data.u64()?, data.u64()?)?;
    for n in 0..count {
        write!(out, "{}{}", if n == 0 { "" } else { "," }, data.u64()?)?;
    }
    Ok(())
}
