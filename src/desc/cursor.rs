//! Reading values that know where in the record they lie.

use crate::pg::bytes::Short;
use crate::pg::{Lsn, RelFile};
use crate::wal::record::Place;

use super::{Out, Value};

/// A value that was read, and where it lies in the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// The value.
    pub value: T,
    /// Its bytes, as offsets from the record's start.
    pub at: Place,
}

impl<T: Copy + Into<u64>> Read<T> {
    /// Gives it to `out` as a number.
    #[inline]
    pub fn number<O: Out>(&self, out: &mut O, name: &'static str) {
        out.field(name, Value::U(self.value.into()), self.at.clone());
    }

    /// Gives it to `out` as `0x%02X`.
    #[inline]
    pub fn hex<O: Out>(&self, out: &mut O, name: &'static str) {
        out.field(name, Value::Hex(self.value.into()), self.at.clone());
    }
}

impl Read<RelFile> {
    /// Gives it to `out` as `tablespace/database/file number`.
    #[inline]
    pub fn rel<O: Out>(&self, out: &mut O, name: &'static str) {
        out.field(name, Value::Rel(self.value), self.at.clone());
    }
}

/// Reads little-endian values of a part of a record, front to back.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    /// The whole record up to the part's end.
    bytes: &'a [u8],
    /// Where the part begins.
    start: u32,
    /// Offset from the record's start of what is read next.
    pos: u32,
}

macro_rules! integers {
    ($($name:ident $ty:ty),*) => {$(
        #[doc = concat!("The next `", stringify!($ty), "`.")]
        #[inline]
        pub fn $name(&mut self) -> Result<Read<$ty>, Short> {
            match self.bytes.get(self.pos as usize..).and_then(|d| d.first_chunk()) {
                Some(chunk) => {
                    let at = self.pos..self.pos + size_of::<$ty>() as u32;
                    self.pos = at.end;
                    Ok(Read { value: <$ty>::from_le_bytes(*chunk), at })
                }
                None => Err(self.short(size_of::<$ty>())),
            }
        }
    )*};
}

impl<'a> Cursor<'a> {
    /// The part of `record` (its bytes) that lies at `place`.
    #[inline]
    pub fn new(record: &'a [u8], place: &Place) -> Self {
        let bytes = record.get(..place.end as usize).unwrap_or(record);
        Self { bytes, start: place.start, pos: place.start }
    }

    integers!(u8 u8, u16 u16, u32 u32, u64 u64, i32 i32, i64 i64, f64 f64);

    /// An LSN.
    #[inline]
    pub fn lsn(&mut self) -> Result<Read<Lsn>, Short> {
        self.u64().map(|r| Read { value: Lsn(r.value), at: r.at })
    }

    /// The numbers of a relation: tablespace, database, file.
    #[inline]
    pub fn rel(&mut self) -> Result<Read<RelFile>, Short> {
        let start = self.pos;
        let (spc, db, rel) = (self.u32()?.value, self.u32()?.value, self.u32()?.value);
        Ok(Read { value: RelFile { spc, db, rel }, at: start..self.pos })
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: usize) -> Result<Read<&'a [u8]>, Short> {
        match self.bytes.get(self.pos as usize..).and_then(|d| d.get(..len)) {
            Some(value) => {
                let at = self.pos..self.pos + len as u32;
                self.pos = at.end;
                Ok(Read { value, at })
            }
            None => Err(self.short(len)),
        }
    }

    /// The bytes up to a zero, which is skipped; without a zero, all that is left.
    pub fn c_string(&mut self) -> Result<Read<&'a [u8]>, Short> {
        let rest = self.bytes.get(self.pos as usize..).unwrap_or_default();
        let len = rest.iter().position(|&b| b == 0);
        let text = self.bytes(len.unwrap_or(rest.len()))?;
        if len.is_some() {
            self.skip(1)?;
        }
        Ok(text)
    }

    /// Moves past `len` bytes.
    #[inline]
    pub fn skip(&mut self, len: usize) -> Result<(), Short> {
        self.bytes(len).map(|_| ())
    }

    /// Moves to the next multiple of `align` (a power of two), counted from the start of the part.
    #[inline]
    pub fn align(&mut self, align: u32) -> Result<(), Short> {
        let done = self.pos - self.start;
        self.skip((done.next_multiple_of(align) - done) as usize)
    }

    /// Bytes left.
    #[inline]
    pub const fn remaining(&self) -> usize {
        self.bytes.len().saturating_sub(self.pos as usize)
    }

    /// Offset from the part's start of what is read next.
    #[inline]
    pub const fn position(&self) -> u32 {
        self.pos - self.start
    }

    #[cold]
    fn short(&self, wanted: usize) -> Short {
        Short { offset: self.pos as usize, wanted, available: self.remaining() }
    }
}
