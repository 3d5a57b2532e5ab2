//! A heap tuple's column values (`heap_deform_tuple`, heaptuple.c).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use std::borrow::Cow;

use super::field::{Field, Fields, Padding};
use super::model::Column;
use super::text::container::Array;
use super::toast::{ToastPointer, ToastSource};
use crate::pg::bytes::{Bytes, Short};
use crate::pg::tuple::HEADER_SIZE;

/// Low bits of `t_infomask2`: number of columns (`HEAP_NATTS_MASK`).
const COLUMN_COUNT: u16 = 0x07FF;
/// Bit of `t_infomask`: there is a bitmap of columns that are not null (`HEAP_HASNULL`).
const HAS_NULLS: u16 = 0x0001;

/// A column's value in a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Datum<'a> {
    /// NULL.
    Null,
    /// The column is younger than the row and has no default for such rows: NULL.
    Missing,
    /// Its bytes, without a varlena's header and unpacked.
    Plain(Cow<'a, [u8]>),
    /// Stored out of line.
    External(ToastPointer),
    /// It cannot be read: why.
    Broken(String),
}

impl<'a> Datum<'a> {
    /// The value's bytes as in [`Datum::Plain`], fetched if stored out of line; `None` for NULL.
    ///
    /// # Errors
    /// Why it cannot be read, or is not to be had.
    pub fn bytes(self, toast: &mut dyn ToastSource) -> Result<Option<Cow<'a, [u8]>>, String> {
        match self {
            Self::Null | Self::Missing => Ok(None),
            Self::Plain(bytes) => Ok(Some(bytes)),
            Self::External(pointer) => Ok(Some(pointer.unpack(toast.fetch(&pointer)?)?.into())),
            Self::Broken(why) => Err(why),
        }
    }
}

/// What a tuple's header says of its columns, as WAL records hold it too (`xl_heap_header`, heapam_xlog.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// `t_infomask2`.
    pub infomask2: u16,
    /// `t_infomask`.
    pub infomask: u16,
    /// `t_hoff`.
    pub hoff: u8,
}

impl Header {
    /// Number of columns that the tuple has.
    pub const fn column_count(self) -> u16 {
        self.infomask2 & COLUMN_COUNT
    }

    /// Values of `columns`, which are those of pg_attribute from number 1 on without gaps, dropped ones too, for which
    /// what is still there comes back. `rest` is the tuple from byte 23 on: bitmap, padding, an old row's OID, data.
    pub fn columns<'a>(self, rest: &'a [u8], columns: &[Column]) -> Vec<Datum<'a>> {
        match self.parts(rest) {
            Ok((bitmap, data)) => self.walk(bitmap, data, columns),
            Err(why) => vec![Datum::Broken(why); columns.len()],
        }
    }

    /// Bitmap and data.
    fn parts(self, rest: &[u8]) -> Result<(Option<&[u8]>, &[u8]), String> {
        let hoff = usize::from(self.hoff);
        let bitmap_size =
            if self.infomask & HAS_NULLS == 0 { 0 } else { usize::from(self.column_count()).div_ceil(8) };
        let data = hoff.checked_sub(HEADER_SIZE).filter(|at| *at >= bitmap_size);
        let data = data.and_then(|at| rest.get(at..)).ok_or_else(|| {
            format!("columns at offset {hoff} of a tuple of {} bytes", HEADER_SIZE + rest.len())
        })?;
        Ok((rest.get(..bitmap_size).filter(|bitmap| !bitmap.is_empty()), data))
    }

    fn walk<'a>(self, bitmap: Option<&[u8]>, data: &'a [u8], columns: &[Column]) -> Vec<Datum<'a>> {
        let mut fields = Fields::new(data, 0, 0);
        let mut broken: Option<String> = None;
        let mut value = |index: usize, column: &Column| {
            if usize::try_from(column.number) != Ok(index + 1) {
                let why = format!("column number {} where {} is due", column.number, index + 1);
                broken = Some(why.clone());
                return Datum::Broken(why);
            }
            if index >= usize::from(self.column_count()) {
                return column.missing.clone().map_or(Datum::Missing, |bytes| Datum::Plain(bytes.into()));
            }
            if let Some(why) = &broken {
                return Datum::Broken(why.clone());
            }
            let byte = bitmap.map_or(Some(u8::MAX), |bitmap| bitmap.get(index / 8).copied());
            if byte.is_some_and(|byte| byte >> (index % 8) & 1 == 0) {
                return Datum::Null;
            }
            match fields.next(column.len, column.align, Padding::Packed) {
                Ok(Field::Plain(bytes)) => Datum::Plain(bytes),
                Ok(Field::External(pointer)) => Datum::External(pointer),
                Err(why) => {
                    broken = Some(format!("it follows column {}, which cannot be read", column.number));
                    Datum::Broken(why)
                }
            }
        };
        columns.iter().enumerate().map(|(index, column)| value(index, column)).collect()
    }
}

/// Header of a whole tuple, as it lies on a page.
///
/// # Errors
/// The tuple is shorter than a header.
pub fn header(tuple: &[u8]) -> Result<Header, Short> {
    let bytes = Bytes::new(tuple);
    let (infomask2, infomask) = (bytes.u16_at(18)?, bytes.u16_at(20)?);
    Ok(Header { infomask2, infomask, hoff: bytes.u8_at(22)? })
}

/// Values of the columns of a whole tuple, as it lies on a page; see [`Header::columns`].
pub fn columns<'a>(tuple: &'a [u8], columns: &[Column]) -> Vec<Datum<'a>> {
    match header(tuple) {
        Ok(header) => header.columns(tuple.get(HEADER_SIZE..).unwrap_or_default(), columns),
        Err(short) => vec![Datum::Broken(short.to_string()); columns.len()],
    }
}

/// The element of `attmissingval`, for [`Column::missing`]; `array` is that column of pg_attribute as in
/// [`Datum::Plain`], `column` the one that it belongs to.
///
/// # Errors
/// It is no array of one element of the column's length.
pub fn missing_value(array: &[u8], column: &Column) -> Result<Vec<u8>, String> {
    let array = Array::read(array)?;
    let mut elements = array.elements(column.len, column.align);
    match (elements.next(), elements.next()) {
        (Some(Ok(Some(bytes))), None) => Ok(bytes.into_owned()),
        (Some(Err(why)), _) => Err(why),
        _ => Err("not one value".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::model::Align;

    fn column(number: i16, len: i16, align: Align) -> Column {
        Column::stored(number, format!("c{number}"), len, align)
    }

    fn layout() -> Vec<Column> {
        vec![
            column(1, 4, Align::Int),
            column(2, -1, Align::Int),
            column(3, 8, Align::Double),
            column(4, -1, Align::Int),
            column(5, -2, Align::Char),
            column(6, 2, Align::Short),
            Column { missing: Some(b"later".to_vec()), ..column(7, -1, Align::Int) },
            column(8, 1, Align::Char),
        ]
    }

    /// Six columns, the third NULL: 7, "ab" short, NULL, "cdef" with a long header, "gh", 9.
    fn tuple() -> Vec<u8> {
        let mut tuple = vec![0; 24];
        tuple[18] = 6;
        tuple[20] = 1;
        tuple[22] = 24;
        tuple[23] = 0b11_1011;
        tuple.extend_from_slice(&[7, 0, 0, 0, 3 << 1 | 1, b'a', b'b', 0]);
        tuple.extend_from_slice(&[8 << 2, 0, 0, 0, b'c', b'd', b'e', b'f', b'g', b'h', 0, 0, 9, 0]);
        tuple
    }

    fn plain(bytes: &[u8]) -> Datum<'_> {
        Datum::Plain(bytes.into())
    }

    #[test]
    fn every_kind_of_column() {
        let (tuple, layout) = (tuple(), layout());
        let values = columns(&tuple, &layout);
        let expected = [
            plain(&[7, 0, 0, 0]),
            plain(b"ab"),
            Datum::Null,
            plain(b"cdef"),
            plain(b"gh"),
            plain(&[9, 0]),
            plain(b"later"),
            Datum::Missing,
        ];
        assert_eq!(values, expected);
        let header = Header { infomask2: 6, infomask: 1, hoff: 24 };
        assert_eq!(header.columns(&tuple[23..], &layout), expected);
    }

    #[test]
    fn behind_a_broken_value_nothing_is_believed() {
        let (mut tuple, layout) = (tuple(), layout());
        // the fourth column's length
        tuple[32] = 200;
        let values = columns(&tuple, &layout);
        assert_eq!(values[1], plain(b"ab"));
        assert_eq!(values[3], Datum::Broken("46 bytes wanted at offset 12, 10 there".into()));
        let after = Datum::Broken("it follows column 4, which cannot be read".into());
        assert_eq!(values[4..6], [after.clone(), after]);
        // these are not in the tuple at all
        assert_eq!(values[6..], [plain(b"later"), Datum::Missing]);
        tuple[22] = 23;
        assert_eq!(
            columns(&tuple, &layout)[0],
            Datum::Broken("columns at offset 23 of a tuple of 46 bytes".into())
        );
        assert_eq!(
            columns(&tuple[..20], &layout)[0],
            Datum::Broken("2 bytes wanted at offset 20, 0 there".into())
        );
    }

    struct Source(Vec<u8>);

    impl ToastSource for Source {
        fn fetch(&mut self, pointer: &ToastPointer) -> Result<Vec<u8>, String> {
            if pointer.value == 77 && pointer.table == 88 {
                Ok(self.0.clone())
            } else {
                Err("no such value".into())
            }
        }
    }

    #[test]
    fn a_value_out_of_line_is_fetched() {
        let mut tuple = vec![0; 24];
        (tuple[18], tuple[22]) = (1, 24);
        tuple.extend_from_slice(&[1, 18]);
        for word in [9_u32, 5, 77, 88] {
            tuple.extend_from_slice(&word.to_le_bytes());
        }
        let layout = [column(1, -1, Align::Int)];
        let value = columns(&tuple, &layout).remove(0);
        assert_eq!(value.clone().bytes(&mut Source(b"hello".to_vec())).unwrap().unwrap(), &b"hello"[..]);
        assert_eq!(
            value.bytes(&mut Source(b"hell".to_vec())).unwrap_err(),
            "value 77 of TOAST table 88: 4 bytes found, 5 announced"
        );
        tuple[25] = 3;
        let other = Datum::Broken("TOAST pointer of kind 3, of which none are stored".into());
        assert_eq!(columns(&tuple, &layout), [other]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            changes in prop::collection::vec((18usize..46, any::<u8>()), 0..6),
            len in 0usize..46,
            cut in any::<bool>(),
        ) {
            let mut tuple = tuple();
            for (at, value) in changes {
                tuple[at] = value;
            }
            if cut {
                tuple.truncate(len);
            }
            let values = columns(&tuple, &layout());
            prop_assert_eq!(values.len(), 8);
            for value in values {
                let _ = value.bytes(&mut Source(tuple.clone()));
            }
        }
    }
}
