//! A record as a tree of fields that know their bytes.

use std::sync::Arc;

use super::clock::Clock;
use super::text::{Style, Text, method};
use crate::desc::{self, Out, Subject, Value};
use crate::names::Names;
use crate::pg::Major;
use crate::wal::Record;
use crate::wal::record::{BlockPart, Compression, Fragment, Fragments, HEADER_SIZE, Parts, Place};
use crate::wal::rmgr;

/// A field, or a group of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// How deep it lies; what follows and lies deeper is in it.
    pub depth: usize,
    /// Its name; in lists of values the place.
    pub name: String,
    /// Its value as pg_waldump prints it; for a group a summary, or nothing.
    pub value: String,
    /// Its bytes, counted from the record's start; empty where it was concluded from others.
    pub at: Place,
    /// Number of the block reference that it is part of.
    pub block: Option<u8>,
}

/// All fields of a record, each group before what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    /// The fields.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// Whether it is a group with something in it.
    pub fn is_group(&self, node: usize) -> bool {
        match (self.nodes.get(node), self.nodes.get(node + 1)) {
            (Some(node), Some(next)) => next.depth > node.depth,
            _ => false,
        }
    }

    /// The group that it is in.
    pub fn parent(&self, node: usize) -> Option<usize> {
        let depth = self.nodes.get(node)?.depth;
        self.nodes.get(..node)?.iter().rposition(|n| n.depth < depth)
    }

    /// The names from the outermost group to it, with a slash behind each: the same in every record that has such a
    /// field.
    pub fn path(&self, node: usize) -> String {
        let own = self.nodes.get(node).map(|n| n.name.as_str()).unwrap_or_default();
        let above = self.parent(node).map(|parent| self.path(parent)).unwrap_or_default();
        format!("{above}{own}/")
    }

    /// The innermost field that holds this byte. A list of flags rather than one of them: they share their bytes.
    pub fn holding(&self, byte: u32) -> Option<usize> {
        let holds = self.nodes.iter().enumerate().filter(|(_, n)| n.at.contains(&byte));
        holds.min_by_key(|(_, n)| (n.at.end - n.at.start, n.depth == 0)).map(|(index, _)| index)
    }
}

/// Makes trees.
#[derive(Debug)]
pub struct Grower {
    text: Text,
    names: Option<Arc<Names>>,
    major: Major,
    nodes: Vec<Node>,
    lists: Vec<List>,
}

/// A list that is open.
#[derive(Debug)]
struct List {
    node: usize,
    items: usize,
    /// The element that has fields with names, once it has one.
    element: Option<usize>,
    /// Values without names.
    plain: Vec<String>,
}

/// More fields of a record than anybody looks at: an abort may name a hundred thousand subtransactions.
const FIELDS: usize = 4096;

/// Values that stand beside the name of their list.
const BESIDE: usize = 32;

const HEADER: Place = 0..HEADER_SIZE as u32;

impl Grower {
    /// For records of this major.
    pub fn new(major: Major, names: Option<Arc<Names>>, clock: Clock) -> Self {
        let text = Text::new(major, Style { details: false, names: None }, clock);
        Self { text, names, major, nodes: Vec::new(), lists: Vec::new() }
    }

    /// The tree of a record: what it says, its block references, its header.
    pub fn tree(&mut self, record: &Record<'_>) -> Tree {
        self.nodes.clear();
        let operation = rmgr::op_name(record.rmid, record.info, self.major).unwrap_or("UNKNOWN");
        let operation = format!("{} {operation}", rmgr::name(record.rmid));
        let mut parts = Parts::default();
        match parts.read_headers(record, self.major) {
            Err(error) => {
                self.push(0, "description", operation, 0..0, None);
                self.push(1, "broken", error.0.to_owned(), 0..0, None);
                self.header(record);
            }
            Ok(()) => {
                self.push(0, "description", operation, parts.main.clone(), None);
                if record.bytes.len() < record.total_len as usize {
                    let text = format!("only its first {} bytes are shown", record.bytes.len());
                    self.push(1, "long record", text, 0..0, None);
                } else {
                    self.description(record, &parts);
                }
                self.fragments(record, &parts);
                self.header(record);
                let len = parts.main.end - parts.main.start;
                if len > 0 {
                    self.push(0, "main data", bytes(len), parts.main.clone(), None);
                }
            }
        }
        Tree { nodes: std::mem::take(&mut self.nodes) }
    }

    fn push(&mut self, depth: usize, name: &str, value: String, at: Place, block: Option<u8>) {
        // what is outermost comes in any case
        if depth > 1 && self.nodes.len() >= FIELDS {
            return;
        }
        self.nodes.push(Node { depth, name: name.to_owned(), value, at, block });
    }

    fn description(&mut self, record: &Record<'_>, parts: &Parts) {
        self.lists.clear();
        let subject = Subject { record, parts, major: self.major };
        if let Err(short) = desc::describe(&subject, self) {
            while !self.lists.is_empty() {
                self.close();
            }
            self.push(1, "broken", short.to_string(), 0..0, None);
        }
    }

    /// The headers of block references and the small ones, with what they announce.
    fn fragments(&mut self, record: &Record<'_>, parts: &Parts) {
        let mut fragments = Fragments::new(record, self.major);
        let position = |f: &Fragments<'_>| (record.bytes.len() - f.behind()) as u32;
        let mut at = position(&fragments);
        let mut blocks = parts.blocks.iter();
        while let Ok(Some(fragment)) = fragments.next_fragment() {
            let end = position(&fragments);
            match fragment {
                Fragment::Block(_) => {
                    if let Some(block) = blocks.next() {
                        self.block(record, block, at..end);
                    }
                }
                Fragment::Origin(id) => self.push(0, "replication origin", id.to_string(), at..end, None),
                Fragment::TopLevelXid(xid) => {
                    self.push(0, "top transaction", xid.to_string(), at..end, None);
                }
                Fragment::Main(len) => self.push(0, "main data length", len.to_string(), at..end, None),
            }
            at = end;
        }
    }

    fn block(&mut self, record: &Record<'_>, block: &BlockPart, at: Place) {
        let header = &block.header;
        let id = Some(header.id);
        let name = self.names.as_ref().map_or_else(|| header.rel.to_string(), |n| n.describe(header.rel));
        let whole = format!("{name} {} block {}", header.fork.name(), header.block);
        let (from, end) = (at.start, at.end);
        self.push(0, &format!("block {}", header.id), whole, at, id);
        // the number and a relation of its own may be left out, the block's number never
        let number = end.saturating_sub(4);
        let rel = if header.image.map_or(4, |i| image_header(record, from, i.compression)) + from < number {
            number - 12..number
        } else {
            0..0
        };
        self.push(1, "relation", header.rel.to_string(), rel.clone(), id);
        if self.names.as_ref().is_some_and(|n| n.relations.contains_key(&header.rel)) {
            self.push(1, "name", name, rel, id);
        }
        self.push(1, "fork", header.fork.name().to_owned(), from + 1..from + 2, id);
        self.push(1, "block", header.block.to_string(), number..end, id);
        let init = if header.will_init { "yes" } else { "no" };
        self.push(1, "built anew", init.to_owned(), from + 1..from + 2, id);
        self.push(1, "data length", header.data_len.to_string(), from + 2..from + 4, id);
        if let Some(image) = header.image {
            let apply = if image.apply { "restored at replay" } else { "for verification only" };
            let to = from + image_header(record, from, image.compression);
            self.push(1, "image", apply.to_owned(), from + 4..to, id);
            self.push(2, "length", image.len.to_string(), from + 4..from + 6, id);
            self.push(2, "hole offset", image.hole_offset.to_string(), from + 6..from + 8, id);
            let hole = if to > from + 9 { from + 9..to } else { 0..0 };
            self.push(2, "hole length", image.hole_length.to_string(), hole, id);
            let packed = method(image.compression).to_owned();
            self.push(2, "compression", packed, from + 8..from + 9, id);
            self.push(1, "image bytes", bytes(u32::from(image.len)), block.image.clone(), id);
        }
        if header.data_len > 0 {
            self.push(1, "data", bytes(u32::from(header.data_len)), block.data.clone(), id);
        }
    }

    /// The fixed header (`XLogRecord`).
    fn header(&mut self, record: &Record<'_>) {
        let crc = record.slice(&(20..24)).first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        self.push(0, "header", bytes(HEADER.end), HEADER, None);
        self.push(1, "length", record.total_len.to_string(), 0..4, None);
        self.push(1, "transaction", record.xid.to_string(), 4..8, None);
        self.push(1, "previous record", record.prev.to_string(), 8..16, None);
        self.push(1, "info", format!("0x{:02X}", record.info), 16..17, None);
        let rmgr = format!("{} ({})", record.rmid, rmgr::name(record.rmid));
        self.push(1, "resource manager", rmgr, 17..18, None);
        self.push(1, "CRC-32C", format!("0x{crc:08X}"), 20..24, None);
    }

    /// Where the next field of the description goes; an element with names gets a node of its own first.
    fn depth(&mut self, name: &str) -> usize {
        let Some(list) = self.lists.last_mut() else { return 1 };
        let inside = self.nodes.get(list.node).map_or(1, |n| n.depth) + 1;
        if name.is_empty() {
            return inside;
        }
        if list.element.is_none() {
            list.element = Some(self.nodes.len());
            let name = format!("[{}]", list.items);
            self.push(inside, &name, String::new(), 0..0, None);
        }
        inside + 1
    }

    fn element_name(&self, name: &'static str) -> String {
        match self.lists.last() {
            Some(list) if name.is_empty() => format!("[{}]", list.items),
            _ => name.to_owned(),
        }
    }

    /// A group's bytes: from the first to the last of what is in it.
    fn close_group(&mut self, group: usize) {
        let within = self.nodes.get(group + 1..).unwrap_or_default().iter().filter(|n| !n.at.is_empty());
        let (from, to) = within.fold((u32::MAX, 0), |(from, to), n| (from.min(n.at.start), to.max(n.at.end)));
        if let Some(node) = self.nodes.get_mut(group).filter(|_| from < to) {
            node.at = from..to;
        }
    }

    fn finish_element(&mut self) {
        if let Some(element) = self.lists.last_mut().and_then(|list| list.element.take()) {
            self.close_group(element);
        }
    }
}

/// Length of a block reference's header up to its relation, with an image in it.
fn image_header(record: &Record<'_>, from: u32, compression: Compression) -> u32 {
    const HAS_HOLE: u8 = 1;
    let info = record.bytes.get(from as usize + 8).copied().unwrap_or(0);
    if compression != Compression::None && info & HAS_HOLE != 0 { 11 } else { 9 }
}

fn bytes(len: u32) -> String {
    format!("{len} {}", if len == 1 { "byte" } else { "bytes" })
}

impl Out for Grower {
    fn text(&mut self, _: &str) {}

    fn field(&mut self, name: &'static str, value: Value<'_>, at: Place) {
        let depth = self.depth(name);
        let shown = self.element_name(name);
        self.text.buffer.clear();
        self.text.field(name, value, at.clone());
        let text = String::from_utf8_lossy(&self.text.buffer).into_owned();
        if let Some(list) = self.lists.last_mut().filter(|l| name.is_empty() && l.plain.len() < BESIDE) {
            list.plain.push(text.clone());
        }
        self.push(depth, &shown, text, at, None);
    }

    fn open(&mut self, name: &'static str) {
        let depth = self.depth(name);
        let shown = self.element_name(name);
        self.lists.push(List { node: self.nodes.len(), items: 0, element: None, plain: Vec::new() });
        self.push(depth, &shown, String::new(), 0..0, None);
    }

    fn item(&mut self) {
        self.finish_element();
        if let Some(list) = self.lists.last_mut() {
            list.items += 1;
        }
    }

    fn close(&mut self) {
        self.finish_element();
        let Some(list) = self.lists.pop() else { return };
        let elements = if list.items == 1 { "element" } else { "elements" };
        let summary = match list.items {
            0 => "none".to_owned(),
            n if list.plain.len() == n => list.plain.join(", "),
            n => format!("{n} {elements}"),
        };
        if let Some(node) = self.nodes.get_mut(list.node) {
            node.value = summary;
        }
        self.close_group(list.node);
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn grown(describe: impl FnOnce(&mut Grower)) -> Tree {
        let mut grower = Grower::new(Major::V18, None, Clock::new(TimeZone::UTC));
        describe(&mut grower);
        Tree { nodes: grower.nodes }
    }

    fn lines(tree: &Tree) -> Vec<String> {
        let line = |n: &Node| format!("{} {}: {} @{}-{}", n.depth, n.name, n.value, n.at.start, n.at.end);
        tree.nodes.iter().map(line).collect()
    }

    #[test]
    fn lists_of_values_objects_and_lists() {
        let tree = grown(|out| {
            out.field("a", Value::U(1), 30..31);
            out.open("list");
            for n in 0..2 {
                out.item();
                out.field("", Value::U(n), 31 + n as u32..32 + n as u32);
            }
            out.close();
            out.open("empty");
            out.close();
            out.open("plans");
            for n in 0..2u32 {
                out.item();
                out.field("x", Value::U(n.into()), 40 + 4 * n..42 + 4 * n);
                out.open("offsets");
                out.item();
                out.field("", Value::Hex(7), 42 + 4 * n..43 + 4 * n);
                out.close();
                out.field("y", Value::Str("w"), 0..0);
            }
            out.close();
        });
        let expected = [
            "1 a: 1 @30-31",
            "1 list: 0, 1 @31-33",
            "2 [1]: 0 @31-32",
            "2 [2]: 1 @32-33",
            "1 empty: none @0-0",
            "1 plans: 2 elements @40-47",
            "2 [1]:  @40-43",
            "3 x: 0 @40-42",
            "3 offsets: 0x07 @42-43",
            "4 [1]: 0x07 @42-43",
            "3 y: w @0-0",
            "2 [2]:  @44-47",
            "3 x: 1 @44-46",
            "3 offsets: 0x07 @46-47",
            "4 [1]: 0x07 @46-47",
            "3 y: w @0-0",
        ];
        assert_eq!(lines(&tree), expected);
        assert_eq!(tree.holding(32), Some(3));
        assert_eq!(tree.holding(43), Some(5), "a byte between two elements is the list's");
        assert_eq!(tree.holding(39), None);
        assert_eq!((tree.parent(9), tree.parent(0)), (Some(8), None));
        assert_eq!(tree.path(9), "plans/[1]/offsets/[1]/");
        assert!(tree.is_group(1) && !tree.is_group(4));
    }

    #[test]
    fn flags_share_a_byte() {
        let tree = grown(|out| {
            out.open("flags");
            for word in ["A", "B"] {
                out.item();
                out.field("", Value::Str(word), 50..51);
            }
            out.close();
        });
        assert_eq!(tree.nodes[0].value, "A, B");
        assert_eq!(tree.holding(50), Some(0));
    }
}
