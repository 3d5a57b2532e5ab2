//! PostgreSQL's own compression (`pglz_decompress`, pg_lzcompress.c).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use thiserror::Error;

/// A stream that does not unpack to the announced size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PglzError {
    /// It ends too early, or has bytes left at the end.
    #[error("compressed data do not unpack to the announced {0} bytes")]
    WrongSize(usize),
    /// A reference points before the start of what is already unpacked.
    #[error("compressed data refer to {distance} bytes before offset {offset}")]
    BadReference {
        /// Bytes unpacked so far.
        offset: usize,
        /// How far back the reference points.
        distance: usize,
    },
}

/// Unpacks `packed` into the whole of `out`.
///
/// # Errors
/// The stream is damaged: it unpacks to more or fewer bytes than `out` has, or refers to bytes that are not there.
pub fn decompress(packed: &[u8], out: &mut [u8]) -> Result<(), PglzError> {
    let wrong = PglzError::WrongSize(out.len());
    let mut input = packed.iter().copied();
    let mut next = || input.next().ok_or(wrong);
    let (mut at, end) = (0, out.len());
    let mut control = 0u32;
    while at < end {
        // eight items to each control byte, from its low bit; the marker bit tells when it is used up
        if control <= 1 {
            control = u32::from(next()?) | 0x100;
        }
        if control & 1 == 0 {
            *out.get_mut(at).ok_or(wrong)? = next()?;
            at += 1;
        } else {
            let (first, second) = (usize::from(next()?), usize::from(next()?));
            let distance = (first & 0xF0) << 4 | second;
            let mut length = (first & 0x0F) + 3;
            if length == 18 {
                length += usize::from(next()?);
            }
            if distance == 0 || distance > at {
                return Err(PglzError::BadReference { offset: at, distance });
            }
            // the last reference may promise more than is left; the server stops at the end as well
            for to in at..(at + length).min(end) {
                let byte = out.get(to - distance).copied().ok_or(wrong)?;
                *out.get_mut(to).ok_or(wrong)? = byte;
            }
            at = (at + length).min(end);
        }
        control >>= 1;
    }
    if input.next().is_some() { Err(wrong) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn literals_and_references() {
        let mut out = [0; 20];
        // a, b literal; 18 bytes from 2 back, in the long form
        decompress(&[0b100, b'a', b'b', 0x0F, 2, 0], &mut out).unwrap();
        assert_eq!(&out, b"abababababababababab");
    }

    #[test]
    fn damage_is_told() {
        let mut out = [0; 20];
        assert_eq!(decompress(&[], &mut out), Err(PglzError::WrongSize(20)));
        assert_eq!(
            decompress(&[0b1, 0, 1], &mut out),
            Err(PglzError::BadReference { offset: 0, distance: 1 })
        );
        let distance_0 = decompress(&[0b10, b'a', 0, 0], &mut out);
        assert_eq!(distance_0, Err(PglzError::BadReference { offset: 1, distance: 0 }));
        assert_eq!(decompress(&[0, b'a', b'b'], &mut [0; 1]), Err(PglzError::WrongSize(1)));
        assert_eq!(decompress(&[], &mut []), Ok(()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(packed in prop::collection::vec(any::<u8>(), 0..200), size in 0usize..9000) {
            let _ = decompress(&packed, &mut vec![0; size]);
        }

        #[test]
        fn literals_come_back(data in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut packed = Vec::new();
            for eight in data.chunks(8) {
                packed.push(0);
                packed.extend_from_slice(eight);
            }
            let mut out = vec![0; data.len()];
            decompress(&packed, &mut out).unwrap();
            prop_assert_eq!(out, data);
        }
    }
}
