//! Pieces that the descriptions of several resource managers share.

use super::{Cursor, Out, Read, Value};
use crate::pg::bytes::Short;

/// A list of `count` elements as `array_desc` (rmgrdesc_utils.c) prints it: ` [a, b]`.
pub(super) fn array<O: Out>(
    out: &mut O,
    name: &'static str,
    count: usize,
    mut element: impl FnMut(&mut O) -> Result<(), Short>,
) -> Result<(), Short> {
    out.text(" [");
    out.open(name);
    for n in 0..count {
        if n > 0 {
            out.text(", ");
        }
        out.item();
        element(out)?;
    }
    out.close();
    out.text("]");
    Ok(())
}

/// A list of `count` offset numbers as [`array`].
pub(super) fn offsets<O: Out>(
    out: &mut O,
    name: &'static str,
    cursor: &mut Cursor<'_>,
    count: usize,
) -> Result<(), Short> {
    array(out, name, count, |out| {
        cursor.u16()?.number(out, "");
        Ok(())
    })
}

/// A list of numbers, each with a blank before it.
pub(super) fn numbers<O: Out>(
    out: &mut O,
    name: &'static str,
    cursor: &mut Cursor<'_>,
    count: i32,
) -> Result<(), Short> {
    out.open(name);
    for _ in 0..count {
        out.item();
        out.text(" ");
        cursor.u32()?.number(out, "");
    }
    out.close();
    Ok(())
}

/// How the words of a set of flags stand in the text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Words {
    /// A blank after each.
    Trailing,
    /// `[a, b]`
    Bracketed,
}

/// The flags that are set, by their names.
pub(super) fn flags<O: Out>(
    out: &mut O,
    name: &'static str,
    read: &Read<u8>,
    known: &[(u8, &'static str)],
    words: Words,
) {
    if words == Words::Bracketed {
        out.text("[");
    }
    out.open(name);
    let mut first = true;
    for &(_, word) in known.iter().filter(|(bit, _)| read.value & bit != 0) {
        if words == Words::Bracketed && !first {
            out.text(", ");
        }
        first = false;
        out.item();
        out.field("", Value::Str(word), read.at.clone());
        if words == Words::Trailing {
            out.text(" ");
        }
    }
    out.close();
    if words == Words::Bracketed {
        out.text("]");
    }
}

/// `T` or `F`.
pub(super) const fn letter(value: bool) -> Value<'static> {
    Value::Bool(value, "T", "F")
}

/// `true` or `false`.
pub(super) const fn word(value: bool) -> Value<'static> {
    Value::Bool(value, "true", "false")
}

/// Name of a `wal_level` as pg_waldump knows it (`wal_level_options`).
pub(super) const fn wal_level(level: i32) -> Value<'static> {
    Value::Str(match level {
        0 => "minimal",
        1 => "replica",
        2 => "logical",
        _ => "?",
    })
}
