//! Types made of others: arrays (arrayfuncs.c), composite types (rowtypes.c), ranges (rangetypes.c), multiranges
//! (multirangetypes.c), vectors (int.c, oid.c).

use std::borrow::Cow;
use std::fmt::Write as _;

use super::{Writer, Written, Wrong};
use crate::pg::Oid;
use crate::pg::bytes::Bytes;
use crate::rows::field::{Fields, Padding};
use crate::rows::model::{Align, Column, TypeKind};
use crate::rows::tuple::{Datum, Header};

/// Bytes of a varlena's header that are gone and yet count for alignment.
const HEADER: usize = 4;
/// `MAXDIM`.
const MAX_DIMENSIONS: usize = 6;
/// `MaxArraySize`.
const MAX_ELEMENTS: usize = 0x07FF_FFFF;

/// `RangeType`'s flags.
const EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;
const LOWER_NULL: u8 = 0x20;
const UPPER_NULL: u8 = 0x40;

/// An array (`ArrayType`, array.h).
pub(in crate::rows) struct Array<'a> {
    bytes: &'a [u8],
    /// Number of elements and first index of each dimension.
    dimensions: Vec<(usize, i32)>,
    count: usize,
    element: Oid,
    nulls: Option<&'a [u8]>,
    data_at: usize,
}

impl<'a> Array<'a> {
    /// Reads it, its header of four bytes gone.
    pub(in crate::rows) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        Self::parts(bytes).map_err(|wrong| match wrong {
            Wrong::Broken(why) => why,
            Wrong::Told(told) => told.to_string(),
        })
    }

    fn parts(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let mut data = Bytes::new(bytes);
        let (count, offset, element) = (data.u32()? as usize, data.u32()? as usize, data.u32()?);
        if count > MAX_DIMENSIONS {
            return Err(format!("{count} dimensions").into());
        }
        let sizes = Bytes::new(data.take(count * 4)?);
        let mut dimensions = Vec::new();
        let mut all = 1_usize;
        for n in 0..count {
            let size = usize::try_from(sizes.i32_at(n * 4)?).map_err(|_| "a negative number of elements")?;
            dimensions.push((size, data.i32()?));
            all = all.saturating_mul(size);
            if all > MAX_ELEMENTS {
                return Err("more elements than an array can have".into());
            }
        }
        let all = if count == 0 { 0 } else { all };
        // no offset: no nulls, and the elements follow
        let (nulls, data_at) = if offset == 0 {
            (None, (data.position() + HEADER).next_multiple_of(Align::Double.bytes()) - HEADER)
        } else {
            let at = offset.checked_sub(HEADER).ok_or("elements begin within the header")?;
            (Some(data.take(all.div_ceil(8))?), at)
        };
        if nulls.is_none() && all > bytes.len() {
            return Err(format!("{all} elements in {} bytes", bytes.len()).into());
        }
        Ok(Self { bytes, dimensions, count: all, element, nulls, data_at })
    }

    /// The elements in their order; `None` for NULL.
    pub(in crate::rows) fn elements(
        &self,
        len: i16,
        align: Align,
    ) -> impl Iterator<Item = Result<Option<Cow<'a, [u8]>>, String>> {
        let mut fields = Fields::new(self.bytes, self.data_at, HEADER);
        let nulls = self.nulls;
        (0..self.count).map(move |n| {
            let byte = nulls.map_or(u8::MAX, |nulls| nulls.get(n / 8).copied().unwrap_or_default());
            if byte >> (n % 8) & 1 == 0 {
                return Ok(None);
            }
            fields.next_plain(len, align, Padding::Nominal).map(Some)
        })
    }
}

impl Writer<'_> {
    /// `array_out`.
    pub(super) fn array(&self, out: &mut String, element: Oid, bytes: &[u8], depth: u32) -> Written {
        let array = Array::parts(bytes)?;
        if array.element != element {
            let (named, wanted) = (self.types.name(array.element), self.types.name(element));
            return Err(format!("elements of type {named} instead of {wanted}").into());
        }
        let (len, align) = self.layout(element)?;
        let delimiter = self.types.get(element).map_or(',', |one| char::from(one.delimiter));
        if array.count == 0 {
            out.push_str("{}");
            return Ok(());
        }
        if array.dimensions.iter().any(|(_, first)| *first != 1) {
            for (size, first) in &array.dimensions {
                let last = i64::from(*first) + *size as i64 - 1;
                write!(out, "[{first}:{last}]")?;
            }
            out.push('=');
        }
        // an element opens and closes as many braces as dimensions begin and end with it
        let mut inner = 1;
        let steps: Vec<usize> = array
            .dimensions
            .iter()
            .rev()
            .map(|(size, _)| {
                inner *= size;
                inner
            })
            .collect();
        for (n, value) in array.elements(len, align).enumerate() {
            if n > 0 {
                out.push(delimiter);
            }
            out.extend(steps.iter().filter(|step| n % **step == 0).map(|_| '{'));
            match value? {
                None => out.push_str("NULL"),
                Some(bytes) => {
                    let start = out.len();
                    self.value(out, element, &bytes, depth)?;
                    let special = |c: char| c == delimiter || matches!(c, '{' | '}');
                    quote(out, start, Escape::Backslash, |text| {
                        text.eq_ignore_ascii_case("NULL") || text.contains(special)
                    });
                }
            }
            out.extend(steps.iter().filter(|step| (n + 1) % **step == 0).map(|_| '}'));
        }
        Ok(())
    }

    /// `int2vectorout`, `oidvectorout`.
    pub(super) fn vector(&self, out: &mut String, element: Oid, bytes: &[u8], depth: u32) -> Written {
        let array = Array::parts(bytes)?;
        let (len, align) = self.layout(element)?;
        for (n, value) in array.elements(len, align).enumerate() {
            if n > 0 {
                out.push(' ');
            }
            self.value(out, element, &value?.ok_or("a NULL in a vector")?, depth)?;
        }
        Ok(())
    }

    /// `record_out`; the value is a tuple, its header of four bytes gone.
    pub(super) fn composite(
        &self,
        out: &mut String,
        columns: &[Column],
        bytes: &[u8],
        depth: u32,
    ) -> Written {
        let data = Bytes::new(bytes);
        let at = |offset: usize| offset - HEADER;
        let header = Header {
            infomask2: data.u16_at(at(18))?,
            infomask: data.u16_at(at(20))?,
            hoff: data.u8_at(at(22))?,
        };
        let rest = bytes.get(at(crate::pg::tuple::HEADER_SIZE)..).unwrap_or_default();
        out.push('(');
        let mut first = true;
        for (column, value) in columns.iter().zip(header.columns(rest, columns)) {
            if column.dropped {
                continue;
            }
            if !first {
                out.push(',');
            }
            first = false;
            match value {
                Datum::Null | Datum::Missing => {}
                Datum::Plain(bytes) => {
                    let start = out.len();
                    self.value(out, column.type_oid, &bytes, depth)?;
                    let special = |c: char| matches!(c, '(' | ')' | ',');
                    quote(out, start, Escape::Double, |text| text.contains(special));
                }
                Datum::External(_) => return Err("a TOAST pointer within a value".into()),
                Datum::Broken(why) => return Err(why.into()),
            }
        }
        out.push(')');
        Ok(())
    }

    /// `range_out`; behind the range's own OID the bounds, and flags in the last byte.
    pub(super) fn range(&self, out: &mut String, subtype: Oid, bytes: &[u8], depth: u32) -> Written {
        let (flags, bounds) = bytes.split_last().ok_or("no flags")?;
        let mut fields = Fields::new(bounds, HEADER, HEADER);
        self.bounds(out, subtype, *flags, &mut fields, depth)
    }

    fn bounds(
        &self,
        out: &mut String,
        subtype: Oid,
        flags: u8,
        fields: &mut Fields<'_>,
        depth: u32,
    ) -> Written {
        let (len, align) = self.layout(subtype)?;
        if flags & EMPTY != 0 {
            out.push_str("empty");
            return Ok(());
        }
        let mut bound = |out: &mut String, without: u8| -> Written {
            if flags & without != 0 {
                return Ok(());
            }
            let bytes = fields.next_plain(len, align, Padding::Packed)?;
            let start = out.len();
            self.value(out, subtype, &bytes, depth)?;
            let special = |c: char| matches!(c, '(' | ')' | '[' | ']' | ',');
            quote(out, start, Escape::Double, |text| text.contains(special));
            Ok(())
        };
        out.push(if flags & LOWER_INCLUSIVE == 0 { '(' } else { '[' });
        bound(out, LOWER_INFINITE | LOWER_NULL)?;
        out.push(',');
        bound(out, UPPER_INFINITE | UPPER_NULL)?;
        out.push(if flags & UPPER_INCLUSIVE == 0 { ')' } else { ']' });
        Ok(())
    }

    /// `multirange_out`: its OID, number of ranges, a word for each but the first that says where its bounds are, flags
    /// of each, bounds of each.
    pub(super) fn multirange(&self, out: &mut String, range: Oid, bytes: &[u8], depth: u32) -> Written {
        let Some(TypeKind::Range { subtype }) = self.types.get(range).map(|one| &one.kind) else {
            return Err(format!("its range type is {}", self.types.name(range)).into());
        };
        let (_, align) = self.layout(*subtype)?;
        let mut data = Bytes::new(bytes);
        data.skip(size_of::<Oid>())?;
        let count = data.u32()? as usize;
        data.skip(count.saturating_sub(1).saturating_mul(4))?;
        let flags = data.take(count)?;
        let mut fields = Fields::new(bytes, data.position(), HEADER);
        out.push('{');
        for (n, flags) in flags.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            fields.align(align);
            self.bounds(out, *subtype, *flags, &mut fields, depth)?;
        }
        out.push('}');
        Ok(())
    }

    /// Length and alignment of values of a type.
    fn layout(&self, type_oid: Oid) -> Result<(i16, Align), Wrong> {
        let one =
            self.types.get(type_oid).ok_or_else(|| super::Untextable::Type(self.types.name(type_oid)))?;
        Ok((one.len, one.align))
    }
}

/// How quotes and backslashes are written within quotes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Escape {
    /// With a backslash in front.
    Backslash,
    /// Twice.
    Double,
}

/// Puts what was written from `start` on in quotes if it is empty, holds quotes, backslashes or white space, or `needed`.
fn quote(out: &mut String, start: usize, escape: Escape, needed: impl Fn(&str) -> bool) {
    let text = out.get(start..).unwrap_or_default();
    let space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}' | '"' | '\\');
    if !text.is_empty() && !text.contains(space) && !needed(text) {
        return;
    }
    let text = text.to_owned();
    out.truncate(start);
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push(if escape == Escape::Backslash { '\\' } else { c });
        }
        out.push(c);
    }
    out.push('"');
}
