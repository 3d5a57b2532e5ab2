//! numeric (numeric.c) and money (cash.c).

use std::fmt::Write as _;

use super::Written;
use crate::pg::bytes::Bytes;

/// Decimal digits to one of numeric's (`DEC_DIGITS`).
const DIGITS: usize = 4;
/// One more than the largest of numeric's digits (`NBASE`).
const BASE: u16 = 10_000;

/// Two high bits of the header (`NUMERIC_SIGN_MASK`) and what they say.
const KIND: u16 = 0xC000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xC000;

/// Whole headers of what is no number (`NUMERIC_EXT_SIGN_MASK`); infinities from 14 on.
const SPECIAL_BITS: u16 = 0xF000;
const NAN: u16 = 0xC000;
const INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Fields of a short header.
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_SCALE: u16 = 0x1F80;
const SHORT_SCALE_SHIFT: u16 = 7;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
const SHORT_WEIGHT: u16 = 0x003F;

/// Number of decimal places in a long header (`NUMERIC_DSCALE_MASK`).
const LONG_SCALE: u16 = 0x3FFF;

/// `numeric_out`.
pub(super) fn numeric(out: &mut String, bytes: &[u8]) -> Written {
    let mut data = Bytes::new(bytes);
    let header = data.u16()?;
    let (negative, scale, weight) = match header & KIND {
        SPECIAL => {
            out.push_str(match header & SPECIAL_BITS {
                NAN => "NaN",
                INFINITY => "Infinity",
                NEGATIVE_INFINITY => "-Infinity",
                _ => return Err(format!("header {header:#06X}").into()),
            });
            return Ok(());
        }
        SHORT => {
            let sign = if header & SHORT_WEIGHT_NEGATIVE == 0 { 0 } else { !SHORT_WEIGHT };
            let weight = (header & SHORT_WEIGHT | sign) as i16;
            (header & SHORT_NEGATIVE != 0, (header & SHORT_SCALE) >> SHORT_SCALE_SHIFT, weight)
        }
        kind => (kind == NEGATIVE, header & LONG_SCALE, data.u16()? as i16),
    };
    let weight = i32::from(weight);
    let digit = |n: i32| -> Result<u16, String> {
        let at = usize::try_from(n).ok().map(|n| n * 2).filter(|at| *at < data.remaining());
        let digit = at.map_or(Ok(0), |at| Bytes::new(data.rest()).u16_at(at)).map_err(|s| s.to_string())?;
        if digit < BASE { Ok(digit) } else { Err(format!("digit {digit} of base {BASE}")) }
    };
    if negative {
        out.push('-');
    }
    write!(out, "{}", if weight < 0 { 0 } else { digit(0)? })?;
    for n in 1..=weight {
        write!(out, "{:0DIGITS$}", digit(n)?)?;
    }
    if scale > 0 {
        out.push('.');
        let end = out.len() + usize::from(scale);
        for n in weight + 1.. {
            write!(out, "{:0DIGITS$}", digit(n)?)?;
            if out.len() >= end {
                break;
            }
        }
        out.truncate(end);
    }
    Ok(())
}

/// `cash_out` with lc_monetary = C.
pub(super) fn money(out: &mut String, cents: i64) -> Written {
    let (whole, cents_left) = (cents.unsigned_abs() / 100, cents.unsigned_abs() % 100);
    out.push_str(if cents < 0 { "-$" } else { "$" });
    let digits = whole.to_string();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    write!(out, ".{cents_left:02}")?;
    Ok(())
}
