//! Numbers as C reads them: what is no number ends it, what is too large wraps.

/// `%X/%X`
pub fn lsn(text: &[u8]) -> Option<u64> {
    let (high, rest) = hex(text)?;
    let (low, _) = hex(rest.strip_prefix(b"/")?)?;
    Some(u64::from(high) << 32 | u64::from(low))
}

/// `%u/%u/%u`
pub fn three(text: &[u8]) -> Option<[u32; 3]> {
    let (first, rest) = integer(text)?;
    let (second, rest) = integer(rest.strip_prefix(b"/")?)?;
    let (third, _) = integer(rest.strip_prefix(b"/")?)?;
    Some([first as u32, second as u32, third as u32])
}

/// `%d` or `%u`: the lower 32 bits of it.
pub fn number(text: &[u8]) -> Option<u32> {
    integer(text).map(|(value, _)| value as u32)
}

/// `%08X` three times: timeline and the two halves of a segment's number.
pub fn segment_name(name: &[u8]) -> Option<[u32; 3]> {
    let part = |n: usize| {
        let digits = name.get(8 * n..8 * n + 8)?;
        hex(digits).filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
    };
    Some([part(0)?, part(1)?, part(2)?])
}

/// `strtoul(…, 0)`: decimal, octal after 0, hexadecimal after 0x; `None` if anything but blanks follows.
pub fn any_base(text: &[u8]) -> Option<Result<u64, ()>> {
    let (negative, digits) = sign(blanks(text));
    let (base, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => (16, rest),
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let count = digits.iter().take_while(|&&b| char::from(b).is_digit(base)).count();
    let (digits, rest) = digits.split_at(count);
    // no digits: nothing is read, and all of it is what follows
    if !blanks(rest).is_empty() || (count == 0 && !text.is_empty()) {
        return None;
    }
    let value = digits.iter().try_fold(0u64, |value, &b| {
        let digit = char::from(b).to_digit(base).unwrap_or(0);
        value.checked_mul(u64::from(base))?.checked_add(u64::from(digit))
    });
    Some(value.map(|v| if negative { v.wrapping_neg() } else { v }).ok_or(()))
}

fn blanks(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    }
}

fn hex(text: &[u8]) -> Option<(u32, &[u8])> {
    let (negative, text) = sign(blanks(text));
    let digits = match text {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => rest,
        _ => text,
    };
    let count = digits.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let value = digits.iter().try_fold(0u64, |value, &b| {
        value.checked_mul(16)?.checked_add(u64::from(char::from(b).to_digit(16).unwrap_or(0)))
    });
    let value = value.unwrap_or(u64::MAX);
    Some((if negative { value.wrapping_neg() } else { value } as u32, rest))
}

fn integer(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = sign(blanks(text));
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(count);
    let value = digits
        .iter()
        .try_fold(0i64, |value, &b| value.checked_mul(10)?.checked_add(i64::from(b - b'0')))
        .unwrap_or(i64::MAX);
    Some((if negative { value.wrapping_neg() } else { value }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_c_has_it() {
        assert_eq!(lsn(b" 0/3000028xyz"), Some(0x300_0028));
        assert_eq!(lsn(b"0x1/0xA"), Some(0x1_0000_000A));
        assert_eq!((lsn(b"0"), lsn(b"x/1"), lsn(b"0/")), (None, None, None));
        assert_eq!(three(b"1663/5/16384 and more"), Some([1663, 5, 16384]));
        assert_eq!((three(b"1663/5"), three(b"a/5/6")), (None, None));
        assert_eq!((number(b"-1"), number(b"7x"), number(b"x")), (Some(u32::MAX), Some(7), None));
        assert_eq!(segment_name(b"0000000A00000001000000FF.partial"), Some([10, 1, 255]));
        assert_eq!(segment_name(b"0000000A0000000"), None);
        assert_eq!(any_base(b"0x1F "), Some(Ok(31)));
        assert_eq!(any_base(b"010"), Some(Ok(8)));
        assert_eq!(any_base(b""), Some(Ok(0)));
        assert_eq!((any_base(b"1x"), any_base(b"x")), (None, None));
        assert_eq!(any_base(b"99999999999999999999"), Some(Err(())));
    }
}
