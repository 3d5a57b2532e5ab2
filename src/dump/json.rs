//! Records as JSON, one object to a line.

use std::sync::Arc;

use super::text::method;
use super::write::{decimal, hex, lsn, signed};
use crate::desc::{self, Out, Subject, Value};
use crate::names::Names;
use crate::pg::control::catalog_version;
use crate::pg::{Lsn, Major, RelFile, TimestampTz};
use crate::wal::Record;
use crate::wal::record::{BlockPart, Parts, Place};
use crate::wal::rmgr;

/// Seconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin.
const PG_EPOCH: i64 = 946_684_800;

/// Where in the object the description is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    /// Members of an object; true once there is one.
    Object(bool),
    /// Elements of a list; true once there is one.
    List(bool),
}

/// Writes records into a buffer.
#[derive(Debug)]
pub struct Json {
    /// What was written.
    pub buffer: Vec<u8>,
    names: Option<Arc<Names>>,
    major: Major,
    version_dir: String,
    levels: Vec<Level>,
    /// An element was begun and nothing of it written.
    pending: bool,
}

impl Json {
    /// Nothing written yet.
    pub fn new(major: Major, names: Option<Arc<Names>>) -> Self {
        Self {
            buffer: Vec::new(),
            names,
            major,
            version_dir: format!("PG_{}_{}", major.name(), catalog_version(major)),
            levels: Vec::new(),
            pending: false,
        }
    }

    /// Appends a record.
    pub fn record(&mut self, record: &Record<'_>, parts: &Parts) {
        self.head(record);
        if let Some(xid) = parts.toplevel_xid {
            self.number("top_xid", u64::from(xid));
        }
        if let Some(origin) = parts.origin {
            self.number("origin", u64::from(origin));
        }
        self.number("length", u64::from(record.total_len));
        let images: u32 = parts.blocks.iter().map(|b| b.image.end - b.image.start).sum();
        self.number("image_length", u64::from(images));
        self.key("description");
        self.begin(Level::Object(false));
        let subject = Subject { record, parts, major: self.major };
        let result = desc::describe(&subject, self);
        // an error leaves lists open
        while self.levels.len() > 1 {
            self.end();
        }
        self.key("blocks");
        self.begin(Level::List(false));
        for block in &parts.blocks {
            self.separate();
            self.block(block);
        }
        self.end();
        if let Err(short) = result {
            self.member("error", &short.to_string());
        }
        self.end();
        self.buffer.push(b'\n');
    }

    /// Appends a record whose inside does not add up.
    pub fn undecodable(&mut self, record: &Record<'_>, why: &str) {
        self.head(record);
        self.number("length", u64::from(record.total_len));
        self.member("error", why);
        self.end();
        self.buffer.push(b'\n');
    }

    fn head(&mut self, record: &Record<'_>) {
        self.levels.clear();
        self.pending = false;
        self.begin(Level::Object(false));
        self.lsn("lsn", record.lsn);
        self.lsn("end", record.end);
        self.lsn("prev", record.prev);
        self.member("rmgr", &rmgr::name(record.rmid));
        self.key("op");
        match rmgr::op_name(record.rmid, record.info, self.major) {
            Some(name) => self.string(name),
            None => self.buffer.extend_from_slice(b"null"),
        }
        self.number("info", u64::from(record.info));
        self.number("xid", u64::from(record.xid));
    }

    fn block(&mut self, block: &BlockPart) {
        let header = &block.header;
        self.begin(Level::Object(false));
        self.number("id", u64::from(header.id));
        self.key("rel");
        self.rel(header.rel);
        if let Some(names) = self.names.clone()
            && names.relations.contains_key(&header.rel)
        {
            self.member("name", &names.describe(header.rel));
        }
        self.member("fork", header.fork.name());
        self.number("block", u64::from(header.block));
        self.key("will_init");
        self.bool(header.will_init);
        self.number("data_length", u64::from(header.data_len));
        if let Some(image) = header.image {
            self.key("image");
            self.begin(Level::Object(false));
            self.number("length", u64::from(image.len));
            self.number("hole_offset", u64::from(image.hole_offset));
            self.number("hole_length", u64::from(image.hole_length));
            self.member("compression", method(image.compression));
            self.key("apply");
            self.bool(image.apply);
            self.end();
        }
        self.end();
    }

    fn begin(&mut self, level: Level) {
        self.buffer.push(if matches!(level, Level::List(_)) { b'[' } else { b'{' });
        self.levels.push(level);
    }

    fn end(&mut self) {
        match self.levels.pop() {
            Some(Level::List(_)) => self.buffer.push(b']'),
            Some(Level::Object(_)) => self.buffer.push(b'}'),
            None => {}
        }
    }

    /// A comma unless it is the first member or element.
    fn separate(&mut self) {
        if let Some(Level::Object(any) | Level::List(any)) = self.levels.last_mut() {
            if *any {
                self.buffer.push(b',');
            }
            *any = true;
        }
    }

    fn key(&mut self, name: &str) {
        self.separate();
        self.string(name);
        self.buffer.push(b':');
    }

    fn member(&mut self, name: &str, value: &str) {
        self.key(name);
        self.string(value);
    }

    fn number(&mut self, name: &str, value: u64) {
        self.key(name);
        decimal(&mut self.buffer, value);
    }

    fn lsn(&mut self, name: &str, value: Lsn) {
        self.key(name);
        self.bare_lsn(value);
    }

    fn bare_lsn(&mut self, value: Lsn) {
        self.buffer.push(b'"');
        // without leading zeros whatever the major
        lsn(&mut self.buffer, value, Major::V18);
        self.buffer.push(b'"');
    }

    fn rel(&mut self, rel: RelFile) {
        self.buffer.push(b'"');
        for (n, part) in [rel.spc, rel.db, rel.rel].into_iter().enumerate() {
            if n > 0 {
                self.buffer.push(b'/');
            }
            decimal(&mut self.buffer, u64::from(part));
        }
        self.buffer.push(b'"');
    }

    fn bool(&mut self, value: bool) {
        self.buffer.extend_from_slice(if value { b"true" } else { b"false" });
    }

    fn string(&mut self, text: &str) {
        // writing into a Vec cannot fail, nor can a string be no JSON
        let _ = serde_json::to_writer(&mut self.buffer, text);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        if let Ok(text) = std::str::from_utf8(bytes) {
            self.string(text);
        } else {
            self.buffer.extend_from_slice(b"{\"base64\":\"");
            base64(&mut self.buffer, bytes);
            self.buffer.extend_from_slice(b"\"}");
        }
    }

    fn time(&mut self, time: TimestampTz) {
        let stamp = time.checked_add(PG_EPOCH * 1_000_000).map(jiff::Timestamp::from_microsecond);
        match stamp {
            // four digits of a year are all that RFC 3339 has
            Some(Ok(stamp)) if (0..=253_402_300_799).contains(&stamp.as_second()) => {
                self.string(&stamp.to_string());
            }
            _ => signed(&mut self.buffer, time),
        }
    }

    fn value(&mut self, value: Value<'_>) {
        match value {
            Value::U(n) | Value::Hex(n) => decimal(&mut self.buffer, n),
            Value::I(n) => signed(&mut self.buffer, n),
            Value::Lsn(at) => self.bare_lsn(at),
            Value::FullXid(n) => {
                self.buffer.push(b'"');
                decimal(&mut self.buffer, n);
                self.buffer.push(b'"');
            }
            Value::Time(time) => self.time(time),
            Value::Rel(rel) => self.rel(rel),
            Value::Path(rel, fork) => {
                let path = rel.path(fork, &self.version_dir);
                self.string(&path);
            }
            Value::Str(text) => self.string(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::HexBytes(bytes) => {
                self.buffer.push(b'"');
                for &byte in bytes {
                    hex(&mut self.buffer, u64::from(byte), 2);
                }
                self.buffer.push(b'"');
            }
            Value::Bool(value, ..) => self.bool(value),
            Value::Float(value, _) | Value::General(value) => match serde_json::Number::from_f64(value) {
                Some(number) => self.buffer.extend_from_slice(number.to_string().as_bytes()),
                None => self.buffer.extend_from_slice(b"null"),
            },
        }
    }

    /// Before a value or a list: the comma, the brace of an element that has names, and the name.
    fn place(&mut self, name: &'static str) {
        let begun = std::mem::take(&mut self.pending);
        if name.is_empty() {
            self.separate();
            return;
        }
        if begun {
            self.separate();
            self.begin(Level::Object(false));
        }
        self.key(name);
    }

    /// The element before, if it is an object, is finished.
    fn finish_element(&mut self) {
        self.pending = false;
        if let [.., Level::List(_), Level::Object(_)] = self.levels[..] {
            self.end();
        }
    }
}

impl Out for Json {
    fn text(&mut self, _: &str) {}

    fn field(&mut self, name: &'static str, value: Value<'_>, _: Place) {
        self.place(name);
        self.value(value);
    }

    fn open(&mut self, name: &'static str) {
        self.place(name);
        self.begin(Level::List(false));
    }

    fn item(&mut self) {
        self.finish_element();
        self.pending = true;
    }

    fn close(&mut self) {
        self.finish_element();
        if let Some(Level::List(_)) = self.levels.last() {
            self.end();
        }
    }
}

fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    const ALPHABET: [u8; 64] = *b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let byte = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for n in 0..4 {
            out.push(if n > chunk.len() { b'=' } else { ALPHABET[(bits >> (18 - 6 * n)) as usize & 63] });
        }
    }
}

/// The JSON Schema of a line.
pub fn schema() -> schemars::Schema {
    let lsn = serde_json::json!({
        "type": "string", "pattern": "^[0-9A-F]{1,8}/[0-9A-F]{1,8}$",
        "description": "A position in the write-ahead log, %X/%X"
    });
    let number = serde_json::json!({"type": "integer", "minimum": 0});
    let rel = serde_json::json!({
        "type": "string", "pattern": "^[0-9]+/[0-9]+/[0-9]+$",
        "description": "tablespace/database/file number"
    });
    let image = serde_json::json!({
        "type": "object",
        "properties": {
            "length": number, "hole_offset": number, "hole_length": number,
            "compression": {"enum": ["none", "pglz", "lz4", "zstd"]},
            "apply": {"type": "boolean", "description": "Restored at replay; else for consistency checks only"}
        },
        "required": ["length", "hole_offset", "hole_length", "compression", "apply"],
        "additionalProperties": false
    });
    let block = serde_json::json!({
        "type": "object",
        "properties": {
            "id": number, "rel": rel,
            "name": {"type": "string", "description": "With --names: database.schema.relation"},
            "fork": {"enum": ["main", "fsm", "vm", "init"]},
            "block": number, "will_init": {"type": "boolean"}, "data_length": number, "image": image
        },
        "required": ["id", "rel", "fork", "block", "will_init", "data_length"],
        "additionalProperties": false
    });
    let value = serde_json::json!({
        "type": ["string", "number", "boolean", "null", "array", "object"],
        "description": "LSNs are %X/%X; full transaction identifiers decimal strings; times RFC 3339, outside its years \
                        microseconds since 2000; text that is not UTF-8 {\"base64\": …}"
    });
    schemars::json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "forkpoint waldump --format jsonl",
        "description": "One line of the output: a record, or with --stats a row of the statistics",
        "anyOf": [
            {
                "type": "object",
                "properties": {
                    "lsn": lsn, "end": lsn, "prev": lsn,
                    "rmgr": {"type": "string", "description": "Resource manager"},
                    "op": {
                        "type": ["string", "null"],
                        "description": "Operation; null where the major does not define it"
                    },
                    "info": {"type": "integer", "minimum": 0, "maximum": 255},
                    "xid": number,
                    "top_xid": {"type": "integer", "description": "Transaction that xid is a subtransaction of"},
                    "origin": {"type": "integer", "description": "Replication origin"},
                    "length": {"type": "integer", "description": "Whole length in bytes"},
                    "image_length": {"type": "integer", "description": "Bytes of it that are page images"},
                    "description": {
                        "type": "object", "additionalProperties": value,
                        "description": "The fields of the record's description; which ones, the operation and the major decide"
                    },
                    "blocks": {"type": "array", "items": block},
                    "error": {"type": "string", "description": "What is wrong with the inside of the record"}
                },
                "required": ["lsn", "end", "prev", "rmgr", "op", "info", "xid", "length"],
                "additionalProperties": false
            },
            {
                "type": "object",
                "properties": {
                    "rmgr": {"type": "string"},
                    "op": {"type": ["string", "null"]},
                    "count": number, "record_bytes": number, "image_bytes": number
                },
                "required": ["rmgr", "count", "record_bytes", "image_bytes"],
                "additionalProperties": false
            }
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(describe: impl FnOnce(&mut Json)) -> serde_json::Value {
        let mut json = Json::new(Major::V18, None);
        json.begin(Level::Object(false));
        describe(&mut json);
        while !json.levels.is_empty() {
            json.end();
        }
        serde_json::from_slice(&json.buffer).unwrap()
    }

    #[test]
    fn lists_of_values_objects_and_lists() {
        let found = written(|out| {
            out.field("a", Value::U(1), 0..0);
            out.open("list");
            for n in 0..2 {
                out.item();
                out.field("", Value::U(n), 0..0);
            }
            out.close();
            out.open("empty");
            out.close();
            out.open("plans");
            for n in 0..2 {
                out.item();
                out.field("x", Value::U(n), 0..0);
                out.open("offsets");
                out.item();
                out.field("", Value::Str("é\"\u{1}"), 0..0);
                out.close();
                out.field("y", Value::Bytes(&[0xFF, 0]), 0..0);
            }
            out.close();
            out.field("z", Value::Time(i64::MAX), 0..0);
        });
        let plan = |n: u64| serde_json::json!({"x": n, "offsets": ["é\"\u{1}"], "y": {"base64": "/wA="}});
        let expected = serde_json::json!({
            "a": 1, "list": [0, 1], "empty": [], "plans": [plan(0), plan(1)], "z": i64::MAX
        });
        assert_eq!(found, expected);
    }
}
