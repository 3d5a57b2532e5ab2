//! Numbers into a byte buffer, without going through `fmt`.

use crate::pg::{Lsn, Major};

const DIGITS: [u8; 16] = *b"0123456789ABCDEF";
/// `00` to `FF`
const HEX_PAIRS: [[u8; 2]; 256] = {
    let mut pairs = [[b'0'; 2]; 256];
    let mut n = 0;
    while n < 256 {
        pairs[n] = [DIGITS[n >> 4], DIGITS[n & 15]];
        n += 1;
    }
    pairs
};
/// Numbers below this have at most eight digits.
const EIGHT_DIGITS: u32 = 100_000_000;

/// Appends the first `used` bytes of `bytes`. The copy has a length that is known, which saves the call that copying
/// a few bytes otherwise costs.
#[inline(always)]
#[expect(clippy::inline_always, reason = "the length has to be seen where it is called")]
pub fn push<const N: usize>(out: &mut Vec<u8>, bytes: &[u8; N], used: usize) {
    let len = out.len();
    out.extend_from_slice(bytes);
    out.truncate(len + used.min(N));
}

/// The eight digits of a number, as values, the first in the lowest byte. All eight at once: halves of four digits in
/// 32 bits each, quarters in 16, digits in 8; the factors divide by 100 and 10 what is below 10000 and 100.
#[inline]
const fn eight_digits(value: u32) -> u64 {
    let halves = (value / 10_000) as u64 | ((value % 10_000) as u64) << 32;
    let hundreds = ((halves * 10_486) >> 20) & 0x7F_0000_007F;
    let quarters = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((quarters * 103) >> 10) & 0x000F_000F_000F_000F;
    tens | (quarters - 10 * tens) << 8
}

/// `0` in each byte.
const ZEROS: u64 = 0x3030_3030_3030_3030;
/// What makes a `0` a blank, in each byte.
const ZERO_TO_BLANK: u64 = 0x1010_1010_1010_1010;

/// Zeros before the first digit other than 0, at most seven.
#[inline]
const fn leading_zeros(digits: u64) -> u32 {
    let zeros = digits.trailing_zeros() / 8;
    if zeros > 7 { 7 } else { zeros }
}

/// `%u`
#[inline]
pub fn decimal(out: &mut Vec<u8>, value: u64) {
    if value < 10 {
        out.push(b'0' + value as u8);
    } else if value < u64::from(EIGHT_DIGITS) {
        let digits = eight_digits(value as u32);
        let zeros = leading_zeros(digits);
        push(out, &((digits + ZEROS) >> (8 * zeros)).to_le_bytes(), 8 - zeros as usize);
    } else {
        out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }
}

/// `%d`
#[inline]
pub fn signed(out: &mut Vec<u8>, value: i64) {
    if value < 0 {
        out.push(b'-');
    }
    decimal(out, value.unsigned_abs());
}

/// `%6u`, `%10u` …: between six and ten digits wide.
#[inline]
pub fn padded<const WIDTH: usize>(out: &mut Vec<u8>, value: u32) {
    let room = 10u32.checked_pow(WIDTH as u32).unwrap_or(u32::MAX).min(EIGHT_DIGITS);
    if value >= room {
        let number = itoa::Buffer::new().format(value).len();
        out.resize(out.len() + WIDTH.saturating_sub(number), b' ');
        decimal(out, u64::from(value));
        return;
    }
    let digits = eight_digits(value);
    let blanks = ZERO_TO_BLANK & ((1 << (8 * leading_zeros(digits))) - 1);
    let text = ((digits + ZEROS) ^ blanks).to_le_bytes();
    if WIDTH < 8 {
        let text = u64::from_le_bytes(text) >> (8 * (8 - WIDTH));
        push(out, &text.to_le_bytes(), WIDTH);
    } else {
        push(out, b"  ", WIDTH - 8);
        out.extend_from_slice(&text);
    }
}

/// `%X` with at least `width` digits.
#[inline]
pub fn hex(out: &mut Vec<u8>, value: u64, width: usize) {
    if value < 16 && width < 2 {
        out.push(DIGITS[value as usize & 15]);
    } else if value < 256 && width < 3 && (value >= 16 || width == 2) {
        out.extend_from_slice(&HEX_PAIRS[value as usize & 255]);
    } else {
        long_hex(out, value, width);
    }
}

fn long_hex(out: &mut Vec<u8>, value: u64, width: usize) {
    let needed = (67 - value.leading_zeros() as usize) / 4;
    let len = needed.max(width).clamp(1, 16);
    let mut digits = [0; 16];
    for (n, digit) in digits.iter_mut().enumerate() {
        *digit = DIGITS[(value >> (60 - 4 * n)) as usize & 15];
    }
    out.extend_from_slice(&digits[16 - len..]);
}

/// `%08X`
#[inline]
pub fn hex8(out: &mut Vec<u8>, value: u32) {
    let [a, b, c, d] = value.to_be_bytes().map(|byte| HEX_PAIRS[usize::from(byte)]);
    out.extend_from_slice(&[a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1]]);
}

/// `%X/%08X`
#[inline]
pub fn padded_lsn(out: &mut Vec<u8>, lsn: Lsn) {
    hex(out, lsn.0 >> 32, 1);
    out.push(b'/');
    hex8(out, lsn.0 as u32);
}

/// An LSN as the major's programs print it: from 19 on the second half has eight digits.
#[inline]
pub fn lsn(out: &mut Vec<u8>, lsn: Lsn, major: Major) {
    if major >= Major::V19 {
        padded_lsn(out, lsn);
    } else {
        hex(out, lsn.0 >> 32, 1);
        out.push(b'/');
        hex(out, lsn.0 & 0xFFFF_FFFF, 1);
    }
}

/// `%g`: six significant digits, with an exponent where that is shorter.
#[cold]
pub fn general(out: &mut Vec<u8>, value: f64) {
    const DIGITS: i32 = 6;
    if !value.is_finite() {
        let word: &[u8] = if value.is_nan() { b"nan" } else { b"inf" };
        out.extend_from_slice(if value.is_sign_negative() { b"-" } else { b"" });
        out.extend_from_slice(word);
        return;
    }
    // rounded first: what becomes 1000000 by that has an exponent
    let scientific = format!("{value:.5e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let strip = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    let text = if (-4..DIGITS).contains(&exponent) {
        strip(&format!("{value:.*}", (DIGITS - 1 - exponent) as usize))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", strip(mantissa), exponent.abs())
    };
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn general_numbers_as_c_has_them() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (100_000.0, "100000"),
            (999_999.5, "1e+06"),
            (1_234_567.0, "1.23457e+06"),
            (0.5, "0.5"),
            (0.000_12, "0.00012"),
            (0.000_012, "1.2e-05"),
            (-2.5e100, "-2.5e+100"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(text(|o| general(o, value)), expected);
        }
    }

    proptest! {
        #[test]
        fn as_fmt_has_it(value: u64, shift in 0u32..64, signed_value: i64) {
            let value = value >> shift;
            prop_assert_eq!(text(|o| decimal(o, value)), value.to_string());
            prop_assert_eq!(text(|o| signed(o, signed_value)), signed_value.to_string());
            prop_assert_eq!(text(|o| hex(o, value, 1)), format!("{value:X}"));
            prop_assert_eq!(text(|o| hex(o, value, 2)), format!("{value:02X}"));
            prop_assert_eq!(text(|o| hex8(o, value as u32)), format!("{:08X}", value as u32));
            prop_assert_eq!(text(|o| padded::<6>(o, value as u32)), format!("{:6}", value as u32));
            prop_assert_eq!(text(|o| padded::<10>(o, value as u32)), format!("{:10}", value as u32));
            prop_assert_eq!(text(|o| lsn(o, Lsn(value), Major::V18)), Lsn(value).to_string());
            let padded = format!("{:X}/{:08X}", value >> 32, value as u32);
            prop_assert_eq!(text(|o| lsn(o, Lsn(value), Major::V19)), padded);
        }
    }
}
