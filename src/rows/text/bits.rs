//! Bytes and bits: bytea (varlena.c), bit and varbit (varbit.c), uuid (uuid.c).

use std::fmt::Write as _;

use super::Written;
use crate::pg::bytes::Bytes;

/// `byteaout` with bytea_output = hex.
pub(super) fn bytea(out: &mut String, bytes: &[u8]) -> Written {
    out.reserve(2 + 2 * bytes.len());
    out.push_str("\\x");
    hex(out, bytes)
}

fn hex(out: &mut String, bytes: &[u8]) -> Written {
    for byte in bytes {
        write!(out, "{byte:02x}")?;
    }
    Ok(())
}

/// `varbit_out`: the number of bits, then they, from each byte's high end.
pub(super) fn bit_string(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    let count = usize::try_from(data.i32()?).map_err(|_| "a negative number of bits")?;
    let bits = data.take(count.div_ceil(8))?;
    out.reserve(count);
    let all = bits.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1));
    out.extend(all.take(count).map(|bit| if bit == 0 { '0' } else { '1' }));
    Ok(())
}

/// `uuid_out`.
pub(super) fn uuid(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    for (n, len) in [4, 2, 2, 2, 6].into_iter().enumerate() {
        if n > 0 {
            out.push('-');
        }
        hex(out, data.take(len)?)?;
    }
    Ok(())
}
