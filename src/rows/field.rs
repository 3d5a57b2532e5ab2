//! Values one after another, as tuples, arrays and ranges hold them (tupmacs.h, varatt.h).

#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

use std::borrow::Cow;

use super::model::Align;
use super::toast::{self, ToastPointer};
use crate::pg::bytes::{Bytes, Short};

/// `VARTAG_ONDISK`, the only tag that is stored.
const ON_DISK: u8 = 18;
/// A varlena whose first byte is this one is a TOAST pointer (`VARATT_IS_1B_E`).
const EXTERNAL: u8 = 1;

/// A value in its place.
#[derive(Debug)]
pub(super) enum Field<'a> {
    /// Its bytes without a header, unpacked.
    Plain(Cow<'a, [u8]>),
    /// It lies elsewhere.
    External(ToastPointer),
}

/// How a varlena is aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    /// Only one with a long header (`att_align_pointer`).
    Packed,
    /// Each (`att_align_nominal`).
    Nominal,
}

/// A cursor over values.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    bytes: Bytes<'a>,
    at: usize,
    /// Bytes in front of the slice that count for alignment.
    before: usize,
}

impl<'a> Fields<'a> {
    /// A cursor at `at` of `data`, in front of which there were `before` bytes.
    pub(super) const fn new(data: &'a [u8], at: usize, before: usize) -> Self {
        Self { bytes: Bytes::new(data), at, before }
    }

    pub(super) const fn align(&mut self, align: Align) {
        self.at = (self.at + self.before).next_multiple_of(align.bytes()) - self.before;
    }

    /// The next value.
    pub(super) fn next(&mut self, len: i16, align: Align, padding: Padding) -> Result<Field<'a>, String> {
        match len {
            -1 => self.varlena(align, padding),
            -2 => {
                self.align(align);
                let end = self.rest().iter().position(|b| *b == 0).ok_or("a string does not end")?;
                let value = self.take(end).map_err(text)?;
                self.at += 1;
                Ok(Field::Plain(value.into()))
            }
            1.. => {
                self.align(align);
                Ok(Field::Plain(self.take(len as usize).map_err(text)?.into()))
            }
            _ => Err(format!("no value is {len} bytes long")),
        }
    }

    /// The next value, where none can lie elsewhere.
    pub(super) fn next_plain(
        &mut self,
        len: i16,
        align: Align,
        padding: Padding,
    ) -> Result<Cow<'a, [u8]>, String> {
        match self.next(len, align, padding)? {
            Field::Plain(bytes) => Ok(bytes),
            Field::External(_) => Err("a TOAST pointer within a value".into()),
        }
    }

    fn varlena(&mut self, align: Align, padding: Padding) -> Result<Field<'a>, String> {
        // padding is zeros, and no header begins with one
        if padding == Padding::Nominal || self.bytes.u8_at(self.at).map_err(text)? == 0 {
            self.align(align);
        }
        let first = self.bytes.u8_at(self.at).map_err(text)?;
        if first == EXTERNAL {
            let tag = self.bytes.u8_at(self.at + 1).map_err(text)?;
            if tag != ON_DISK {
                return Err(format!("TOAST pointer of kind {tag}, of which none are stored"));
            }
            self.at += 2;
            return ToastPointer::read(self.take(ToastPointer::BODY).map_err(text)?)
                .map(Field::External)
                .map_err(text);
        }
        if first & 1 == 1 {
            self.at += 1;
            let len = usize::from(first >> 1) - 1;
            return Ok(Field::Plain(self.take(len).map_err(text)?.into()));
        }
        let header = self.bytes.u32_at(self.at).map_err(text)?;
        let len = (header >> 2) as usize;
        let body = len.checked_sub(4).ok_or_else(|| format!("length {len} of a value with its header"))?;
        self.at += 4;
        let body = self.take(body).map_err(text)?;
        Ok(Field::Plain(if header & 3 == 2 { toast::unpack(body)?.into() } else { body.into() }))
    }

    fn rest(&self) -> &'a [u8] {
        let mut bytes = self.bytes;
        let _ = bytes.skip(self.at);
        bytes.rest()
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Short> {
        let taken = self.bytes.slice_at(self.at, len)?;
        self.at += len;
        Ok(taken)
    }
}

fn text(short: Short) -> String {
    short.to_string()
}
