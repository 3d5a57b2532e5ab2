//! jsonb (jsonb.h, `JsonbToCString` in jsonb.c, `escape_json` in json.c).

use std::fmt::Write as _;

use super::{Written, Wrong, numeric, room, utf8};
use crate::pg::bytes::Bytes;
use crate::rows::field::{Fields, Padding};
use crate::rows::model::Align;

/// A container's header: number of elements, or of pairs, and what it is.
const COUNT: u32 = 0x0FFF_FFFF;
const SCALAR: u32 = 0x1000_0000;
const OBJECT: u32 = 0x2000_0000;
const ARRAY: u32 = 0x4000_0000;

/// An entry (`JEntry`): length, or with this bit the offset of the end; and what it is.
const HAS_OFFSET: u32 = 0x8000_0000;
const OFFSET_OR_LENGTH: u32 = 0x0FFF_FFFF;
const KIND: u32 = 0x7000_0000;
const STRING: u32 = 0x0000_0000;
const NUMERIC: u32 = 0x1000_0000;
const FALSE: u32 = 0x2000_0000;
const TRUE: u32 = 0x3000_0000;
const NULL: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;

/// An object or array of which some elements are written.
struct Container<'a> {
    /// Entries of the elements; of an object those of all keys, then those of all values.
    entries: Bytes<'a>,
    data: Bytes<'a>,
    count: usize,
    object: bool,
    scalar: bool,
    written: usize,
    /// Where the next element, or key, begins; and the next value of an object.
    next: [usize; 2],
}

impl<'a> Container<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Wrong> {
        let mut data = Bytes::new(bytes);
        let header = data.u32()?;
        let object = header & OBJECT != 0;
        if object == (header & ARRAY != 0) {
            return Err(format!("container header {header:#010X}").into());
        }
        let count = (header & COUNT) as usize;
        let all = if object { count * 2 } else { count };
        let entries = Bytes::new(data.take(all * 4)?);
        let data = Bytes::new(data.rest());
        let mut one =
            Self { entries, data, count, object, scalar: header & SCALAR != 0, written: 0, next: [0; 2] };
        if object {
            // values follow the keys
            let mut at = 0;
            for n in 0..count {
                at = one.end(n, at)?;
            }
            one.next = [0, at];
        }
        Ok(one)
    }

    /// Where entry `n`, which begins at `at`, ends.
    fn end(&self, n: usize, at: usize) -> Result<usize, Wrong> {
        let entry = self.entries.u32_at(n * 4)?;
        let size = (entry & OFFSET_OR_LENGTH) as usize;
        let end = if entry & HAS_OFFSET == 0 { at + size } else { size };
        if end < at { Err("entries overlap".into()) } else { Ok(end) }
    }

    /// Kind, where it begins, and bytes of the next key (`0`) or value (`1`) of an object, or of the next element.
    fn take(&mut self, n: usize, which: usize) -> Result<(u32, usize, &'a [u8]), Wrong> {
        let next = self.next.get(which).copied().unwrap_or_default();
        let end = self.end(n, next)?;
        let bytes = self.data.slice_at(next, end - next)?;
        if let Some(place) = self.next.get_mut(which) {
            *place = end;
        }
        Ok((self.entries.u32_at(n * 4)? & KIND, next, bytes))
    }

    const fn brackets(&self) -> [&'static str; 2] {
        if self.object {
            ["{", "}"]
        } else if self.scalar {
            ["", ""]
        } else {
            ["[", "]"]
        }
    }
}

/// `jsonb_out`.
pub(super) fn jsonb(out: &mut String, bytes: &[u8]) -> Written {
    let root = Container::read(bytes)?;
    out.push_str(root.brackets()[0]);
    // nested without limit, so not by recursion
    let mut open = vec![root];
    while let Some(container) = open.last_mut() {
        let n = container.written;
        if n == container.count {
            out.push_str(container.brackets()[1]);
            open.pop();
            continue;
        }
        container.written += 1;
        room(out)?;
        if n > 0 {
            out.push_str(", ");
        }
        let (kind, at, bytes) = if container.object {
            let (kind, _, key) = container.take(n, 0)?;
            if kind != STRING {
                return Err("a key is no string".into());
            }
            string(out, utf8(key)?)?;
            out.push_str(": ");
            container.take(container.count + n, 1)?
        } else {
            container.take(n, 0)?
        };
        // numbers and containers begin at multiples of four
        let aligned = bytes.get(at.next_multiple_of(4) - at..);
        match kind {
            STRING => string(out, utf8(bytes)?)?,
            NUMERIC => {
                let number = aligned.ok_or("a number ends early")?;
                let number = Fields::new(number, 0, 0).next_plain(-1, Align::Int, Padding::Packed)?;
                numeric::numeric(out, &number)?;
            }
            FALSE => out.push_str("false"),
            TRUE => out.push_str("true"),
            NULL => out.push_str("null"),
            CONTAINER => {
                let inner = Container::read(aligned.ok_or("a container ends early")?)?;
                out.push_str(inner.brackets()[0]);
                open.push(inner);
            }
            other => return Err(format!("entry of kind {other:#010X}").into()),
        }
    }
    Ok(())
}

fn string(out: &mut String, text: &str) -> Written {
    out.push('"');
    for c in text.chars() {
        match c {
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\0'..' ' => write!(out, "\\u{:04x}", u32::from(c))?,
            _ => out.push(c),
        }
    }
    out.push('"');
    Ok(())
}
