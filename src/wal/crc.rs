//! CRC-32C as WAL records carry it (`pg_crc32c.h`): initial value and final inversion are the caller's.
//!
//! The `crc32c` crate interleaves three streams, which pays off on page images only; most records are below a few
//! hundred bytes, where the processor's instruction in a plain loop is several times as fast.

/// From this length on (bytes) the crate is faster than the plain loop.
const LONG: usize = 512;

/// Initial value of a running checksum (`INIT_CRC32C`).
pub const INIT: u32 = 0xFFFF_FFFF;

/// Continues a running checksum, which starts as [`INIT`] and is inverted at the end.
#[inline]
pub fn update(crc: u32, data: &[u8]) -> u32 {
    if data.len() < LONG { short(crc, data) } else { !crc32c::crc32c_append(!crc, data) }
}

/// The checksum of `data` alone.
pub fn of(data: &[u8]) -> u32 {
    !update(INIT, data)
}

#[cfg(target_arch = "x86_64")]
#[inline]
fn short(crc: u32, data: &[u8]) -> u32 {
    if std::arch::is_x86_feature_detected!("sse4.2") {
        #[expect(unsafe_code, reason = "the feature that the function needs was just detected")]
        unsafe {
            with_instruction(crc, data)
        }
    } else {
        !crc32c::crc32c_append(!crc, data)
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline]
fn short(crc: u32, data: &[u8]) -> u32 {
    !crc32c::crc32c_append(!crc, data)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn with_instruction(crc: u32, data: &[u8]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u8, _mm_crc32_u16, _mm_crc32_u32, _mm_crc32_u64};
    let (words, mut tail) = data.as_chunks::<8>();
    let mut wide = u64::from(crc);
    for word in words {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
    }
    let mut crc = wide as u32;
    if let Some((four, rest)) = tail.split_first_chunk::<4>() {
        crc = _mm_crc32_u32(crc, u32::from_le_bytes(*four));
        tail = rest;
    }
    if let Some((two, rest)) = tail.split_first_chunk::<2>() {
        crc = _mm_crc32_u16(crc, u16::from_le_bytes(*two));
        tail = rest;
    }
    if let Some(&last) = tail.first() {
        crc = _mm_crc32_u8(crc, last);
    }
    crc
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_value() {
        // the check value of CRC-32C in the catalogue of parametrised CRC algorithms
        assert_eq!(of(b"123456789"), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn every_length_and_split_agree(data in proptest::collection::vec(any::<u8>(), 0..1500), at in any::<prop::sample::Index>()) {
            let at = at.index(data.len() + 1);
            let whole = crc32c::crc32c(&data);
            prop_assert_eq!(of(&data), whole);
            prop_assert_eq!(!update(update(INIT, &data[..at]), &data[at..]), whole);
        }
    }
}
