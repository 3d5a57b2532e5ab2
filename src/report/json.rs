//! JSON: one object, with a line for each thing that one would look for.

use std::io::{self, Write};
use std::sync::Arc;

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter, Serializer};

use super::{dto, words};
use crate::diagnosis::Diagnosis;
use crate::rewind::Report;

/// Depth down to which every value gets its own line.
const LINES: usize = 3;

/// Writes `value` and a line end.
pub fn write<T: Serialize + ?Sized>(value: &T, out: &mut dyn Write) -> io::Result<()> {
    let mut out = out;
    let mut serializer = Serializer::with_formatter(&mut out, Layout::default());
    value.serialize(&mut serializer).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

/// The report of a diagnosis, for an undo store.
pub fn for_store(diagnosis: Arc<Diagnosis>) -> Report {
    Report::new(move |out| write(&dto::Report::from(&*diagnosis), out))
}

/// Indents the upper levels, keeps the lower ones on one line, and escapes what could steer a terminal.
#[derive(Debug, Default)]
struct Layout {
    depth: usize,
    filled: bool,
}

impl Layout {
    fn line<W: ?Sized + Write>(&self, out: &mut W) -> io::Result<()> {
        out.write_all(b"\n")?;
        for _ in 0..self.depth {
            out.write_all(b"  ")?;
        }
        Ok(())
    }

    fn begin<W: ?Sized + Write>(&mut self, out: &mut W, sign: &[u8]) -> io::Result<()> {
        self.depth += 1;
        self.filled = false;
        out.write_all(sign)
    }

    fn end<W: ?Sized + Write>(&mut self, out: &mut W, sign: &[u8]) -> io::Result<()> {
        let lines = self.depth <= LINES;
        self.depth = self.depth.saturating_sub(1);
        if self.filled && lines {
            self.line(out)?;
        }
        self.filled = true;
        out.write_all(sign)
    }

    fn next<W: ?Sized + Write>(&self, out: &mut W, first: bool) -> io::Result<()> {
        match (first, self.depth <= LINES) {
            (true, true) => self.line(out),
            (true, false) => Ok(()),
            (false, true) => out.write_all(b",").and_then(|()| self.line(out)),
            (false, false) => out.write_all(b", "),
        }
    }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"[")
    }

    fn end_array<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"]")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.begin(out, b"{")
    }

    fn end_object<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.end(out, b"}")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, out: &mut W, fragment: &str) -> io::Result<()> {
        let mut done = 0;
        for (at, c) in fragment.char_indices().filter(|&(_, c)| words::unsafe_char(c)) {
            out.write_all(fragment.get(done..at).unwrap_or_default().as_bytes())?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
            done = at + c.len_utf8();
        }
        out.write_all(fragment.get(done..).unwrap_or_default().as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, out: &mut W, escape: CharEscape) -> io::Result<()> {
        serde_json::ser::CompactFormatter.write_char_escape(out, escape)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &Value) -> String {
        let mut out = Vec::new();
        write(value, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn upper_levels_have_lines() {
        let value = json!({"a": [], "b": {"c": [{"d": [1, [2, 3]], "e": {}}, 4]}});
        let expected = "{\n  \"a\": [],\n  \"b\": {\n    \"c\": [\n      {\"d\": [1, [2, 3]], \"e\": {}},\n      4\n    ]\n  }\n}\n";
        assert_eq!(text(&value), expected);
    }

    proptest! {
        #[test]
        fn reads_back_and_is_clean(s in any::<String>(), t in "[\u{7f}-\u{9f}\u{202e}\u{1b}\u{e0001}\"\\\\a]{0,20}") {
            let value = json!({ s.clone(): [t, {"x": [s]}] });
            let text = text(&value);
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            prop_assert!(!text.chars().any(|c| c != '\n' && words::unsafe_char(c)));
        }
    }
}
