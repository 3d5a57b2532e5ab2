//! Values stored out of line, and compressed ones (varatt.h, toast_internals.h, detoast.c).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use crate::pg::bytes::{Bytes, Short};
use crate::pg::{Oid, pglz};

/// Longest value there can be, in bytes (`MaxAllocSize`).
pub(super) const MAX_SIZE: usize = 0x3FFF_FFFF;

/// Size of a varlena's long header in bytes (`VARHDRSZ`).
const LONG_HEADER: u32 = 4;
/// Low 30 bits of `va_extinfo` and `va_tcinfo` are a size (`VARLENA_EXTSIZE_MASK`); the others, the method.
const SIZE_BITS: u32 = 30;
/// `TOAST_PGLZ_COMPRESSION_ID`.
const PGLZ: u32 = 0;
/// `TOAST_LZ4_COMPRESSION_ID`, 14 on.
const LZ4: u32 = 1;
/// No method unpacks a byte to more (LZ4: 255 for a byte of a match's length).
const MOST_FROM_ONE_BYTE: usize = 256;

/// Where a value lies that was moved out of line (`varatt_external`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ToastPointer {
    /// Size of the value in bytes, unpacked, without a header (`va_rawsize` - 4).
    pub size: u32,
    /// Bytes that the chunks hold together (`va_extinfo`, without the method from 14 on).
    pub stored: u32,
    /// Compression's number of 14 on (the upper bits of `va_extinfo`); 0, PGLZ, before.
    pub method: u32,
    /// `chunk_id` in the TOAST table (`va_valueid`).
    pub value: Oid,
    /// OID of the TOAST table (`va_toastrelid`).
    pub table: Oid,
}

impl ToastPointer {
    /// Size in bytes of a pointer's body, behind its two bytes of header.
    pub(super) const BODY: usize = 16;

    /// Reads the body.
    pub(super) fn read(body: &[u8]) -> Result<Self, Short> {
        let bytes = Bytes::new(body);
        let info = bytes.u32_at(4)?;
        Ok(Self {
            size: bytes.u32_at(0)?.saturating_sub(LONG_HEADER),
            stored: info & size_mask(),
            method: info >> SIZE_BITS,
            value: bytes.u32_at(8)?,
            table: bytes.u32_at(12)?,
        })
    }

    /// Whether the chunks hold it compressed (`VARATT_EXTERNAL_IS_COMPRESSED`).
    pub const fn compressed(&self) -> bool {
        self.stored < self.size
    }

    /// The stored bytes from the TOAST table's chunks (`chunk_seq`, `chunk_data`), which may come in any order and
    /// doubly.
    ///
    /// # Errors
    /// A chunk is missing, two with the same number differ, or they hold other than [`stored`](Self::stored) bytes.
    pub fn assemble<T: AsRef<[u8]>>(&self, mut chunks: Vec<(i32, T)>) -> Result<Vec<u8>, String> {
        chunks.sort_by_key(|(number, _)| *number);
        let mut stored = Vec::new();
        let mut last: Option<&(i32, T)> = None;
        let mut wanted = 0;
        for chunk in &chunks {
            let (number, bytes) = (chunk.0, chunk.1.as_ref());
            if last.is_some_and(|(n, b)| *n == number && b.as_ref() == bytes) {
                continue;
            }
            if number != wanted {
                return Err(format!(
                    "value {} of TOAST table {}: chunk {number} found where {wanted} is due",
                    self.value, self.table
                ));
            }
            stored.extend_from_slice(bytes);
            wanted += 1;
            last = Some(chunk);
        }
        self.check(&stored)?;
        Ok(stored)
    }

    /// The value from its stored bytes.
    ///
    /// # Errors
    /// There are other than [`stored`](Self::stored) bytes, or they do not unpack to [`size`](Self::size).
    pub fn unpack(&self, stored: Vec<u8>) -> Result<Vec<u8>, String> {
        self.check(&stored)?;
        if !self.compressed() {
            return Ok(stored);
        }
        let value = unpack(&stored)?;
        if value.len() == self.size as usize {
            Ok(value)
        } else {
            Err(format!("{} bytes unpacked, {} announced by the pointer", value.len(), self.size))
        }
    }

    fn check(&self, stored: &[u8]) -> Result<(), String> {
        if stored.len() == self.stored as usize {
            return Ok(());
        }
        Err(format!(
            "value {} of TOAST table {}: {} bytes found, {} announced",
            self.value,
            self.table,
            stored.len(),
            self.stored
        ))
    }
}

/// Where out-of-line values come from.
pub trait ToastSource {
    /// The stored bytes of a value: all chunks in order, still compressed ([`ToastPointer::assemble`]).
    ///
    /// # Errors
    /// Why they are not to be had, as one sentence for people.
    fn fetch(&mut self, pointer: &ToastPointer) -> Result<Vec<u8>, String>;
}

const fn size_mask() -> u32 {
    (1 << SIZE_BITS) - 1
}

/// Unpacks `va_tcinfo` and the compressed bytes behind it.
pub(super) fn unpack(packed: &[u8]) -> Result<Vec<u8>, String> {
    let mut bytes = Bytes::new(packed);
    let info = bytes.u32().map_err(|short| short.to_string())?;
    let (size, packed) = ((info & size_mask()) as usize, bytes.rest());
    if size > packed.len().saturating_mul(MOST_FROM_ONE_BYTE).min(MAX_SIZE) {
        return Err(format!("{} compressed bytes cannot unpack to {size}", packed.len()));
    }
    let mut value = vec![0; size];
    match info >> SIZE_BITS {
        PGLZ => pglz::decompress(packed, &mut value).map_err(|wrong| wrong.to_string())?,
        LZ4 => {
            let got = lz4_flex::block::decompress_into(packed, &mut value)
                .map_err(|wrong| format!("LZ4: {wrong}"))?;
            if got != size {
                return Err(format!("LZ4: {got} bytes unpacked, {size} announced"));
            }
        }
        other => return Err(format!("compression method {other} is not known")),
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTER: ToastPointer = ToastPointer { size: 5, stored: 5, method: 0, value: 7, table: 8 };

    #[test]
    fn chunks_come_together() {
        let chunks = vec![(1, &b"lo"[..]), (0, &b"hel"[..]), (1, &b"lo"[..])];
        assert_eq!(POINTER.assemble(chunks).unwrap(), b"hello");
        let gap = POINTER.assemble(vec![(0, b"hel"), (2, b"lo.")]).unwrap_err();
        assert_eq!(gap, "value 7 of TOAST table 8: chunk 2 found where 1 is due");
        let differ = POINTER.assemble(vec![(0, b"hel"), (0, b"HEL")]).unwrap_err();
        assert_eq!(differ, "value 7 of TOAST table 8: chunk 0 found where 1 is due");
        let short = POINTER.assemble(vec![(0, b"hel")]).unwrap_err();
        assert_eq!(short, "value 7 of TOAST table 8: 3 bytes found, 5 announced");
    }

    #[test]
    fn a_size_is_not_believed() {
        let packed = [&0x3FFF_FFFFu32.to_le_bytes()[..], &[0; 20]].concat();
        assert_eq!(unpack(&packed).unwrap_err(), "20 compressed bytes cannot unpack to 1073741823");
        let method = [&(2u32 << 30).to_le_bytes()[..], &[0; 20]].concat();
        assert_eq!(unpack(&method).unwrap_err(), "compression method 2 is not known");
    }

    #[test]
    fn lz4_unpacks() {
        let plain = b"abcabcabcabcabcabcabcabcabcabcabc";
        let mut packed = (1u32 << 30 | plain.len() as u32).to_le_bytes().to_vec();
        packed.extend_from_slice(&lz4_flex::block::compress(plain));
        assert_eq!(unpack(&packed).unwrap(), plain);
        let pointer = ToastPointer { size: 33, stored: packed.len() as u32, ..POINTER };
        assert_eq!(pointer.unpack(packed.clone()).unwrap(), plain);
        let pointer = ToastPointer { size: 34, ..pointer };
        assert_eq!(pointer.unpack(packed).unwrap_err(), "33 bytes unpacked, 34 announced by the pointer");
    }
}
