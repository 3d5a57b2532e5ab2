//! A checked little-endian cursor: every read says where it ran short instead of panicking.

use thiserror::Error;

/// Bytes ended before a value did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{wanted} bytes wanted at offset {offset}, {available} there")]
pub struct Short {
    /// Offset in the buffer, in bytes, at which the value begins.
    pub offset: usize,
    /// Length of the value in bytes.
    pub wanted: usize,
    /// Bytes left at that offset.
    pub available: usize,
}

/// Reads little-endian integers from a slice, front to back or at offsets, never outside of it.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    data: &'a [u8],
    pos: usize,
}

macro_rules! integers {
    ($($name:ident $at:ident $ty:ty),*) => {$(
        #[doc = concat!("The next `", stringify!($ty), "`, and moves past it.")]
        #[inline]
        pub fn $name(&mut self) -> Result<$ty, Short> {
            let value = self.$at(self.pos)?;
            self.pos += size_of::<$ty>();
            Ok(value)
        }
        #[doc = concat!("The `", stringify!($ty), "` at `offset` bytes; does not move.")]
        #[inline]
        pub fn $at(&self, offset: usize) -> Result<$ty, Short> {
            match self.data.get(offset..).and_then(|d| d.first_chunk()) {
                Some(chunk) => Ok(<$ty>::from_le_bytes(*chunk)),
                None => Err(self.short(offset, size_of::<$ty>())),
            }
        }
    )*};
}

impl<'a> Bytes<'a> {
    /// A cursor at the start of `data`.
    pub const fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0 }
    }

    integers!(u8 u8_at u8, u16 u16_at u16, u32 u32_at u32, u64 u64_at u64, i32 i32_at i32, i64 i64_at i64, f64 f64_at f64);

    /// The next `len` bytes, and moves past them.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let taken = self.slice_at(self.pos, len)?;
        self.pos += len;
        Ok(taken)
    }

    /// `len` bytes at `offset`; does not move.
    #[inline]
    pub fn slice_at(&self, offset: usize, len: usize) -> Result<&'a [u8], Short> {
        self.data.get(offset..).and_then(|d| d.get(..len)).ok_or_else(|| self.short(offset, len))
    }

    /// Moves past `len` bytes.
    #[inline]
    pub fn skip(&mut self, len: usize) -> Result<(), Short> {
        self.take(len).map(|_| ())
    }

    /// Moves to the next multiple of `align` (a power of two), counted from the start of the slice.
    #[inline]
    pub fn align(&mut self, align: usize) -> Result<(), Short> {
        let next = self.pos.next_multiple_of(align);
        self.skip(next - self.pos)
    }

    /// Offset of the next byte to read.
    pub const fn position(&self) -> usize {
        self.pos
    }

    /// What is left, without moving.
    pub fn rest(&self) -> &'a [u8] {
        self.data.get(self.pos..).unwrap_or_default()
    }

    /// Number of bytes left.
    pub const fn remaining(&self) -> usize {
        self.data.len().saturating_sub(self.pos)
    }

    const fn short(&self, offset: usize, wanted: usize) -> Short {
        Short { offset, wanted, available: self.data.len().saturating_sub(offset) }
    }
}
