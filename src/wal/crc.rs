//! CRC-32C as WAL records carry it (`pg_crc32c.h`): initial value and final inversion are the caller's.
//!
//! Three ways to one value: `crc-fast` folds page images by carry-less multiplication, which pays off on long runs
//! only; most records are below a few hundred bytes, where the processor's CRC instruction in a plain loop is several
//! times as fast; without that instruction there is the `crc32c` crate.

/// From this length on (bytes) folding is faster than the plain loop.
const LONG: usize = 512;

/// Initial value of a running checksum (`INIT_CRC32C`).
pub const INIT: u32 = 0xFFFF_FFFF;

/// Continues a running checksum, which starts as [`INIT`] and is inverted at the end.
#[inline]
pub fn update(crc: u32, data: &[u8]) -> u32 {
    if data.len() < LONG { short(crc, data) } else { long(crc, data) }
}

/// The crate's state is the running checksum itself: neither inverted nor reflected once more.
fn long(crc: u32, data: &[u8]) -> u32 {
    let mut digest =
        crc_fast::Digest::new_with_init_state(crc_fast::CrcAlgorithm::Crc32Iscsi, u64::from(crc));
    digest.update(data);
    digest.get_state() as u32
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

/// The checksum of a record: of what follows its header, then of the header up to the checksum (`ValidXLogRecord`).
#[inline]
pub fn of_record(record: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if record.len() < LONG && std::arch::is_x86_feature_detected!("sse4.2") {
        #[expect(unsafe_code, reason = "the feature that the function needs was just detected")]
        return unsafe { of_short_record(record) };
    }
    match (record.get(24..), record.first_chunk::<20>()) {
        (Some(body), Some(head)) => !update(!crc_fast::crc32_iscsi(body), head),
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
fn of_short_record(record: &[u8]) -> u32 {
    match (record.get(24..), record.first_chunk::<20>()) {
        (Some(body), Some(head)) => !of_head(with_instruction(INIT, body), head),
        _ => 0,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[inline]
fn of_head(crc: u32, head: &[u8; 20]) -> u32 {
    use std::arch::x86_64::{_mm_crc32_u32, _mm_crc32_u64};
    let (words, _) = head.as_chunks::<8>();
    let wide = words.iter().fold(u64::from(crc), |wide, word| _mm_crc32_u64(wide, u64::from_le_bytes(*word)));
    let [.., a, b, c, d] = *head;
    _mm_crc32_u32(wide as u32, u32::from_le_bytes([a, b, c, d]))
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "sse4.2")]
#[inline]
fn with_instruction(crc: u32, data: &[u8]) -> u32 {
    use std::arch::x86_64::_mm_crc32_u64;
    let (words, tail) = data.as_chunks::<8>();
    let mut wide = u64::from(crc);
    for word in words {
        wide = _mm_crc32_u64(wide, u64::from_le_bytes(*word));
    }
    if tail.is_empty() {
        return wide as u32;
    }
    // the last 1 to 7 bytes without a branch on how many: leading zeros leave a zero checksum as it is, so the bytes go
    // to the upper end of a word, with what the running checksum adds to them, and the rest of that is shifted out
    let bits = 8 * tail.len() as u32;
    let last = match data.last_chunk::<8>() {
        Some(word) => u64::from_le_bytes(*word) >> (64 - bits),
        None => tail.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)),
    };
    let value = last ^ (wide & ((1 << bits) - 1));
    (_mm_crc32_u64(0, value << (64 - bits)) ^ (wide >> bits)) as u32
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
