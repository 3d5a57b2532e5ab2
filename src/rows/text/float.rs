//! float4 and float8: the shortest digits that read back as the same value (12 on, d2s.c and f2s.c), `%.6g` and `%.15g`
//! before (float.c with extra_float_digits = 0).

use super::Written;
use crate::pg::Major;

/// What differs between the two widths.
struct Width {
    /// Digits that any value keeps (`FLT_DIG`, `DBL_DIG`); also where exponents begin to be written.
    digits: usize,
    /// Digits that always tell two values apart.
    most: usize,
    /// Bits of the mantissa that are stored.
    mantissa_bits: u32,
    /// Exponent of the last bit of the smallest values.
    least_exponent: i32,
}

const SINGLE: Width = Width { digits: 6, most: 9, mantissa_bits: 23, least_exponent: -149 };
const DOUBLE: Width = Width { digits: 15, most: 17, mantissa_bits: 52, least_exponent: -1074 };

/// Decimal digits, with the power of ten of the first one.
struct Decimal {
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// From what `{:e}` prints of a positive number.
    fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once('e')?;
        let digits = mantissa.replace('.', "");
        let kept = digits.trim_end_matches('0').len().max(1);
        Some(Self { digits: digits.get(..kept)?.to_owned(), exponent: exponent.parse().ok()? })
    }

    fn to_text(&self) -> String {
        let (first, rest) = self.digits.split_at_checked(1).unwrap_or_default();
        format!("{first}.{rest}e{}", self.exponent)
    }
}

/// `float4out`.
pub(super) fn float4(out: &mut String, value: f32, major: Major) -> Written {
    let positive = value.abs();
    let bits = positive.to_bits();
    let shortest = || {
        let parses = |text: &str| text.parse() == Ok(positive);
        shortest(&SINGLE, bits.into(), &format!("{positive:e}"), |n| format!("{positive:.n$e}"), parses)
    };
    number(out, &SINGLE, value.into(), major, shortest)
}

/// `float8out`.
pub(super) fn float8(out: &mut String, value: f64, major: Major) -> Written {
    let positive = value.abs();
    let shortest = || {
        let parses = |text: &str| text.parse() == Ok(positive);
        let bits = positive.to_bits();
        shortest(&DOUBLE, bits, &format!("{positive:e}"), |n| format!("{positive:.n$e}"), parses)
    };
    number(out, &DOUBLE, value, major, shortest)
}

fn number(
    out: &mut String,
    width: &Width,
    value: f64,
    major: Major,
    shortest: impl FnOnce() -> Option<Decimal>,
) -> Written {
    if value.is_nan() {
        out.push_str("NaN");
        return Ok(());
    }
    if value.is_sign_negative() {
        out.push('-');
    }
    if value.is_infinite() {
        out.push_str("Infinity");
    } else if value == 0.0 {
        out.push('0');
    } else {
        let decimal = if major >= Major::V12 {
            shortest()
        } else {
            Decimal::parse(&format!("{:.*e}", width.digits - 1, value.abs()))
        };
        layout(out, width, &decimal.ok_or("no digits")?)?;
    }
    Ok(())
}

/// Rust's digits are the shortest that read back. PostgreSQL's also keep away from the ends of the value's interval, where
/// reading depends on how ties are rounded, and of two that are equally near its last digit is the even one, as that of
/// `{:.*e}` is.
fn shortest(
    width: &Width,
    bits: u64,
    rust: &str,
    rounded: impl Fn(usize) -> String,
    parses: impl Fn(&str) -> bool,
) -> Option<Decimal> {
    let ends = Ends::of(width, bits);
    for digits in Decimal::parse(rust)?.digits.len()..=width.most {
        let nearest = rounded(digits - 1);
        let power = nearest.split_once('e')?.1.parse::<i32>().ok()?;
        let whole: u64 = nearest.split('e').next()?.replace('.', "").parse().ok()?;
        // the nearest may lie outside where the interval is not symmetric
        for neighbour in [whole, whole + 1, whole - 1] {
            let text = neighbour.to_string();
            let exponent = power + text.len() as i32 - digits as i32;
            let kept = text.trim_end_matches('0').len().max(1);
            let candidate = Decimal { digits: text.get(..kept)?.to_owned(), exponent };
            if parses(&candidate.to_text()) && !ends.touched_by(&candidate) {
                return Some(candidate);
            }
        }
    }
    None
}

/// The ends of the interval of numbers that are nearest to a value, each as an odd integer times a power of two.
struct Ends([(u64, i32); 2]);

impl Ends {
    fn of(width: &Width, bits: u64) -> Self {
        let field = bits & ((1 << width.mantissa_bits) - 1);
        let exponent = (bits >> width.mantissa_bits) as i32;
        let (mantissa, power) = if exponent == 0 {
            (field, width.least_exponent)
        } else {
            (field | 1 << width.mantissa_bits, width.least_exponent + exponent - 1)
        };
        // below a power of two values lie twice as close
        let below = if field == 0 && exponent > 1 {
            (4 * mantissa - 1, power - 2)
        } else {
            ((2 * mantissa).saturating_sub(1), power - 1)
        };
        Self([below, (2 * mantissa + 1, power - 1)])
    }

    fn touched_by(&self, decimal: &Decimal) -> bool {
        let Ok(digits) = decimal.digits.parse::<u64>() else { return false };
        let ten = decimal.exponent + 1 - decimal.digits.len() as i32;
        // digits * 10^ten = odd * 2^power * 5^ten * 2^ten
        let twos = digits.trailing_zeros();
        let Some(digits) = digits.checked_shr(twos) else { return false };
        let Some(fives) = 5_u128.checked_pow(ten.unsigned_abs()) else { return false };
        self.0.iter().any(|(odd, power)| {
            let (left, right) = if ten >= 0 { (digits, *odd) } else { (*odd, digits) };
            twos as i32 + ten == *power && u128::from(left).checked_mul(fives) == Some(right.into())
        })
    }
}

/// As `%g` does, and as `to_chars` in d2s.c does: without an exponent from 1e-4 on until the digits run out.
fn layout(out: &mut String, width: &Width, decimal: &Decimal) -> Written {
    use std::fmt::Write as _;
    let Decimal { digits, exponent } = decimal;
    let point = exponent + 1;
    if *exponent < -4 || *exponent >= width.digits as i32 {
        let (first, rest) = digits.split_at_checked(1).unwrap_or_default();
        out.push_str(first);
        if !rest.is_empty() {
            write!(out, ".{rest}")?;
        }
        let sign = if *exponent < 0 { '-' } else { '+' };
        write!(out, "e{sign}{:02}", exponent.unsigned_abs())?;
    } else if point <= 0 {
        write!(out, "0.{:0>1$}", digits, digits.len() + point.unsigned_abs() as usize)?;
    } else {
        let point = point as usize;
        match digits.split_at_checked(point) {
            Some((whole, "")) => out.push_str(whole),
            Some((whole, fraction)) => write!(out, "{whole}.{fraction}")?,
            None => write!(out, "{digits:0<point$}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn double(value: f64, major: Major) -> String {
        let mut out = String::new();
        assert!(float8(&mut out, value, major).is_ok());
        out
    }

    fn single(value: f32, major: Major) -> String {
        let mut out = String::new();
        assert!(float4(&mut out, value, major).is_ok());
        out
    }

    /// The server's own regression test (float8.sql, float4.sql) prints these.
    #[test]
    fn shortest_as_the_server_prints() {
        for (bits, text) in [
            (0x44B5_2D02_C7E1_4AF6_u64, "9.999999999999999e+22"),
            (0x1, "5e-324"),
            (0x7FEF_FFFF_FFFF_FFFF, "1.7976931348623157e+308"),
            (0x3FB9_9999_9999_999A, "0.1"),
            (0x4340_0000_0000_0000, "9.007199254740992e+15"),
            (0x430C_6BF5_2634_0000, "1e+15"),
            (0x42D6_BCC4_1E90_0000, "100000000000000"),
            (0x3F1A_36E2_EB1C_432D, "0.0001"),
            (0x3EE4_F8B5_88E3_68F1, "1e-05"),
            (0x8000_0000_0000_0000, "-0"),
            (0xFFF0_0000_0000_0000, "-Infinity"),
        ] {
            assert_eq!(double(f64::from_bits(bits), Major::V12), text, "{bits:#X}");
        }
        for (value, text) in
            [(1e-45_f32, "1e-45"), (3.402_823_5e38, "3.4028235e+38"), (999_999.0, "999999"), (1e6, "1e+06")]
        {
            assert_eq!(single(value, Major::V12), text);
        }
    }

    #[test]
    fn fifteen_digits_before_12() {
        for (value, text) in [
            (0.1, "0.1"),
            (1.0 / 3.0, "0.333333333333333"),
            (123_456_789_012_345_680.0, "1.23456789012346e+17"),
            (999_999_999_999_999.9, "1e+15"),
            (0.000_123_456, "0.000123456"),
            (1e-5, "1e-05"),
            (1e300, "1e+300"),
        ] {
            assert_eq!(double(value, Major::V11), text);
        }
        assert_eq!(single(16_777_216.0, Major::V11), "1.67772e+07");
    }

    proptest! {
        #[test]
        fn the_text_reads_back(bits in any::<u64>(), short in any::<u32>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                prop_assert_eq!(double(value, Major::V12).parse::<f64>().unwrap().to_bits(), bits);
            }
            let value = f32::from_bits(short);
            if value.is_finite() {
                prop_assert_eq!(single(value, Major::V12).parse::<f32>().unwrap().to_bits(), short);
            }
        }
    }
}
