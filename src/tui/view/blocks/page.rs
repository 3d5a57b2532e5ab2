//! A block as both sides have it: header, line pointers, tuples in words, and the bytes that differ.

use ratatui::text::{Line, Span};

use crate::pg::page::{Header, LineState, Page, PageBytes, flags};
use crate::pg::tuple::{Tuple, infomask, infomask2};
use crate::pg::{BLOCK_SIZE, BlockNumber, Fork, RelFile, checksum};
use crate::report::words;
use crate::source::block::{Block, Found};
use crate::tui::look::{DIM, MATCH, PLAIN, WARN};
use crate::tui::widget::pane::{display_width, fit, span};

/// A line of the comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub label: String,
    /// The target's.
    pub target: String,
    /// The source's.
    pub source: String,
    /// They are not the same.
    pub differs: bool,
}

/// A block of both sides.
#[derive(Debug)]
pub struct Pages {
    /// The target's.
    pub target: Block,
    /// The source's.
    pub source: Block,
    /// What they say, side by side.
    pub rows: Vec<Row>,
    /// Line pointers that differ.
    pub differing: usize,
}

/// What is known of the relation.
#[derive(Debug, Clone, Copy)]
pub struct About {
    /// `relkind`, where known.
    pub kind: Option<char>,
    /// Checksums are on, on the target and on the source.
    pub checksums: (bool, bool),
}

/// The page, if there is one.
pub fn page_of(block: &Block) -> Option<&PageBytes> {
    match &block.found {
        Found::Page(page) => Some(page),
        _ => None,
    }
}

/// Why there is no page.
fn absence(block: &Block) -> Option<String> {
    Some(match &block.found {
        Found::Page(_) => return None,
        Found::NoFile => "the file is not there".into(),
        Found::Beyond(length) => format!("beyond the file's end at {} bytes", words::count(*length)),
        Found::Unreadable(why) => format!("cannot be read: {why}"),
    })
}

impl Pages {
    /// Describes both.
    pub fn new(place: (RelFile, Fork, BlockNumber), target: Block, source: Block, about: About) -> Self {
        let (ours, theirs) = (page_of(&target), page_of(&source));
        let mut rows = Vec::new();
        let whole = |block: &Block, page| absence(block).unwrap_or_else(|| state(page));
        let (left, right) = (whole(&target, ours), whole(&source, theirs));
        rows.push(Row { label: "page".into(), differs: left != right, target: left, source: right });
        let left = ours.map(|p| fields(p, place.2, about.checksums.0)).unwrap_or_default();
        let right = theirs.map(|p| fields(p, place.2, about.checksums.1)).unwrap_or_default();
        let longer = if left.is_empty() { &right } else { &left };
        for (n, (label, _)) in longer.iter().enumerate() {
            let value = |side: &[(&str, String)]| side.get(n).map(|f| f.1.clone()).unwrap_or_default();
            let (target, source) = (value(&left), value(&right));
            rows.push(Row { label: (*label).into(), differs: target != source, target, source });
        }
        let heap = |page: &PageBytes| {
            place.1 == Fork::Main
                && match about.kind {
                    Some(kind) => matches!(kind, 'r' | 't' | 'm' | 'S' | 'p'),
                    None => usize::from(Header::read(page).special) == BLOCK_SIZE,
                }
        };
        let items = |page: Option<&PageBytes>| page.map(|p| items(p, heap(p))).unwrap_or_default();
        let (left, right) = (items(ours), items(theirs));
        let mut differing = 0;
        for n in 0..left.len().max(right.len()) {
            let item = |side: &[Item]| side.get(n).map(|i| i.text.clone()).unwrap_or_default();
            let differs = left.get(n) != right.get(n);
            differing += usize::from(differs);
            let (target, source) = (item(&left), item(&right));
            rows.push(Row { label: format!("item {}", n + 1), target, source, differs });
        }
        Self { target, source, rows, differing }
    }

    /// Line pointers of the page that has more.
    pub fn items(&self) -> usize {
        self.rows.iter().filter(|r| r.label.starts_with("item ")).count()
    }

    /// The bytes side by side.
    pub fn hex(&self, per_row: usize) -> Vec<HexLine> {
        hex_lines((page_of(&self.target), page_of(&self.source)), per_row)
    }

    /// Bytes that differ; `None` if one page is missing.
    pub fn differing_bytes(&self) -> Option<usize> {
        let (ours, theirs) = (page_of(&self.target)?, page_of(&self.source)?);
        Some(ours.iter().zip(theirs).filter(|(a, b)| a != b).count())
    }
}

fn state(page: Option<&PageBytes>) -> String {
    let Some(page) = page else { return String::new() };
    if page.iter().all(|b| *b == 0) {
        return "never filled: zeros only".into();
    }
    match Page::read(page) {
        Ok(Some(_)) => "whole".into(),
        Ok(None) => "its header is one of a page that was never filled".into(),
        Err(error) => format!("damaged: {error}"),
    }
}

fn fields(page: &PageBytes, block: BlockNumber, checksums: bool) -> Vec<(&'static str, String)> {
    if page.iter().all(|b| *b == 0) {
        return Vec::new();
    }
    let header = Header::read(page);
    let right = checksum::of(page, block);
    let sum = match (checksums, header.checksum) {
        (false, 0) => "0, checksums are off".into(),
        (false, sum) => format!("{sum:#06X}, not looked at: off"),
        (true, sum) if sum == right => format!("{sum:#06X}, right"),
        (true, sum) => format!("{sum:#06X}, WRONG: {right:#06X} expected"),
    };
    let bits = [
        (flags::HAS_FREE_LINES, "has free line pointers"),
        (flags::PAGE_FULL, "full"),
        (flags::ALL_VISIBLE, "all visible"),
    ];
    let free = i32::from(header.upper) - i32::from(header.lower);
    vec![
        ("lsn", header.lsn.to_string()),
        ("checksum", sum),
        ("flags", flag_words(header.flags, &bits)),
        ("lower", header.lower.to_string()),
        ("upper", format!("{}, {free} bytes free", header.upper)),
        ("special", special(page, &header)),
        ("version", format!("{}, page size {}", header.version, header.size)),
        ("prune xid", if header.prune_xid == 0 { "none".into() } else { header.prune_xid.to_string() }),
    ]
}

/// Bits in words; what has no word as a number.
fn flag_words(value: u16, bits: &[(u16, &str)]) -> String {
    let mut left = value;
    let mut found: Vec<String> = Vec::new();
    for (bit, word) in bits {
        if value & bit != 0 {
            found.push((*word).into());
            left &= !bit;
        }
    }
    if left != 0 {
        found.push(format!("{left:#06X}"));
    }
    if found.is_empty() { "none".into() } else { found.join(", ") }
}

/// The special space: of indexes and sequences, told apart by their marks (`nbtree.h`, `hash.h`, `gist.h`,
/// `spgist_private.h`, `ginblock.h`, `brin_page.h`, `sequence.c`).
fn special(page: &PageBytes, header: &Header) -> String {
    const BTREE: [(u16, &str); 9] = [
        (1, "leaf"),
        (2, "root"),
        (4, "deleted"),
        (8, "meta"),
        (16, "half dead"),
        (32, "split end"),
        (64, "has garbage"),
        (128, "incomplete split"),
        (256, "has full xid"),
    ];
    const GIN: [(u16, &str); 8] = [
        (1, "data"),
        (2, "leaf"),
        (4, "deleted"),
        (8, "meta"),
        (16, "list"),
        (32, "list of full row"),
        (64, "incomplete split"),
        (128, "compressed"),
    ];
    let start = usize::from(header.special);
    if start == BLOCK_SIZE {
        return "none".into();
    }
    let Some(bytes) = page.get(start..).filter(|b| !b.is_empty()) else {
        return format!("{start}, beyond the page");
    };
    let word =
        |at: usize| bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u16::from_le_bytes(*b));
    let long = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
    let block = |n: u32| if n == u32::MAX || n == 0 { "none".to_owned() } else { n.to_string() };
    let about = match (bytes.len(), word(bytes.len().saturating_sub(2))) {
        (8, _) if long(0) == 0x1717 => "sequence".into(),
        (8, 0xF091) => "brin: meta".into(),
        (8, 0xF092) => "brin: range map".into(),
        (8, 0xF093) => "brin: summaries".into(),
        (8, 0xFF82) => "spgist".into(),
        (8, bits) if bits < 0x100 => format!("gin: right {}, {}", block(long(0)), flag_words(bits, &GIN)),
        (16, 0xFF80) => format!("hash: previous {}, next {}", block(long(0)), block(long(4))),
        (16, 0xFF81) => format!("gist: right {}", block(long(8))),
        (16, cycle) if cycle <= 0xFF7F => format!(
            "btree: left {}, right {}, level {}, {}",
            block(long(0)),
            block(long(4)),
            long(8),
            flag_words(word(12), &BTREE)
        ),
        (length, _) => {
            let hex: Vec<_> = bytes.iter().take(16).map(|b| format!("{b:02x}")).collect();
            format!("{length} bytes: {}", hex.join(" "))
        }
    };
    format!("{start}: {about}")
}

/// A line pointer in words, with what it points to for comparing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Item {
    text: String,
    bytes: Vec<u8>,
}

fn items(page: &PageBytes, heap: bool) -> Vec<Item> {
    let Ok(Some(read)) = Page::read(page) else { return Vec::new() };
    (1..=read.item_count())
        .map(|number| {
            let Some(pointer) = read.line_pointer(number) else { return Item::default() };
            let bytes = read.item(number).unwrap_or_default();
            let at = format!("at {}, {} bytes", pointer.offset, pointer.length);
            let text = match pointer.state {
                LineState::Unused => "unused".into(),
                LineState::Redirect => format!("redirected to item {}", pointer.offset),
                LineState::Dead if pointer.length == 0 => "dead".into(),
                LineState::Dead => format!("dead {at}"),
                LineState::Normal if bytes.is_empty() => format!("normal {at}: not within the page"),
                LineState::Normal if heap => format!("normal {at}{}", tuple_words(bytes)),
                LineState::Normal => format!("normal {at}"),
            };
            Item { text, bytes: bytes.to_vec() }
        })
        .collect()
}

/// A tuple's header in words.
fn tuple_words(bytes: &[u8]) -> String {
    let Ok(tuple) = Tuple::read(bytes) else { return ": no tuple".into() };
    let (mask, mask2) = (tuple.infomask(), tuple.infomask2());
    let (block, number) = tuple.ctid();
    let mut parts = vec![
        format!("xmin {}", tuple.xmin()),
        format!("xmax {}", tuple.xmax()),
        format!("ctid ({block},{number})"),
    ];
    let mut say = |word: &str| parts.push(word.into());
    match mask & infomask::XMIN_FROZEN {
        infomask::XMIN_FROZEN => say("xmin frozen"),
        infomask::XMIN_COMMITTED => say("xmin committed"),
        infomask::XMIN_INVALID => say("xmin aborted"),
        _ => {}
    }
    let has = |bit: u16| mask & bit != 0;
    if has(infomask::XMAX_INVALID) {
        say("xmax invalid");
    }
    if has(infomask::XMAX_COMMITTED) {
        say("xmax committed");
    }
    if has(infomask::XMAX_IS_MULTI) {
        say("xmax is a multixact");
    }
    match (has(infomask::XMAX_EXCL_LOCK), has(infomask::XMAX_KEYSHR_LOCK)) {
        (true, true) => say("share lock"),
        (true, false) => say("exclusive lock"),
        (false, true) => say("key share lock"),
        (false, false) => {}
    }
    for (bit, word) in [
        (infomask::XMAX_LOCK_ONLY, "locked only"),
        (infomask::UPDATED, "made by an update"),
        (infomask::COMBO_CID, "combo command"),
        (infomask::HAS_EXTERNAL, "values out of line"),
        (infomask::HAS_NULLS, "has nulls"),
        (infomask::HAS_OID, "has an OID"),
        (infomask::MOVED, "moved by VACUUM FULL"),
    ] {
        if has(bit) {
            say(word);
        }
    }
    for (bit, word) in [
        (infomask2::KEYS_UPDATED, "keys updated or deleted"),
        (infomask2::HOT_UPDATED, "HOT updated"),
        (infomask2::HEAP_ONLY, "heap only"),
    ] {
        if mask2 & bit != 0 {
            say(word);
        }
    }
    parts.push(words::counted(u64::from(mask2 & infomask2::COLUMNS), "column"));
    format!(", {}", parts.join(", "))
}

/// A text in lines of so many columns, broken at blanks.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.is_empty() && display_width(&line) + 1 + display_width(word) > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
    lines
}

/// A line of the comparison as it is drawn.
#[derive(Debug)]
pub struct TextLine {
    /// A difference begins here.
    pub begins: bool,
    /// Its text.
    pub line: Line<'static>,
}

/// The comparison in lines of so many columns.
pub fn lines(rows: &[Row], width: usize) -> Vec<TextLine> {
    let label = if width >= 60 { 11 } else { 9 };
    let side = width.saturating_sub(label + 3) / 2;
    let mut out = Vec::new();
    for row in rows {
        let (left, right) = (wrapped(&row.target, side), wrapped(&row.source, side));
        for n in 0..left.len().max(right.len()) {
            let piece = |side: &[String]| side.get(n).cloned().unwrap_or_default();
            let name = if n == 0 { row.label.as_str() } else { "" };
            let sign = if row.differs { " ≠ " } else { "   " };
            let style = if row.differs { WARN } else { PLAIN };
            out.push(TextLine {
                begins: n == 0 && row.differs,
                line: Line::from(vec![
                    span(fit(name, label), DIM),
                    span(fit(&piece(&left), side), style),
                    Span::styled(sign, WARN),
                    span(fit(&piece(&right), side), style),
                ]),
            });
        }
    }
    out
}

/// A line of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HexLine {
    /// The bytes from this offset on.
    Bytes(usize),
    /// So many bytes are the same on both sides.
    Equal(usize),
    /// So many bytes are zero.
    Zeros(usize),
}

/// Bytes of a row on each side that fit, and whether the letters fit too.
pub const fn hex_layout(width: usize) -> (usize, bool) {
    match width {
        137.. => (16, true),
        73.. => (8, true),
        55.. => (8, false),
        _ => (4, false),
    }
}

/// The rows in which both pages differ; all that are not zero where there is but one page, or no difference.
fn hex_lines(pages: (Option<&PageBytes>, Option<&PageBytes>), per_row: usize) -> Vec<HexLine> {
    let Some(any) = pages.0.or(pages.1) else { return Vec::new() };
    let different = match pages {
        (Some(a), Some(b)) => a != b,
        _ => false,
    };
    let mut lines: Vec<HexLine> = Vec::new();
    for offset in (0..BLOCK_SIZE).step_by(per_row) {
        let range = offset..offset + per_row;
        let of = |page: Option<&PageBytes>| page.and_then(|p| p.get(range.clone()).map(<[u8]>::to_vec));
        let line = if different {
            if of(pages.0) == of(pages.1) { HexLine::Equal(per_row) } else { HexLine::Bytes(offset) }
        } else if any.get(range.clone()).is_some_and(|b| b.iter().all(|b| *b == 0)) {
            HexLine::Zeros(per_row)
        } else {
            HexLine::Bytes(offset)
        };
        match (lines.last_mut(), line) {
            (Some(HexLine::Equal(n)), HexLine::Equal(more))
            | (Some(HexLine::Zeros(n)), HexLine::Zeros(more)) => {
                *n += more;
            }
            _ => lines.push(line),
        }
    }
    lines
}

/// A line of bytes as it is shown: a byte that differs has a star before it.
pub fn hex_line(pages: &Pages, line: HexLine, (per_row, letters): (usize, bool)) -> Line<'static> {
    let offset = match line {
        HexLine::Bytes(offset) => offset,
        HexLine::Equal(n) => {
            let text = format!("     … {} equal …", words::counted(n as u64, "byte"));
            return Line::from(Span::styled(text, DIM));
        }
        HexLine::Zeros(n) => {
            let text = format!("     … {} of zero …", words::counted(n as u64, "byte"));
            return Line::from(Span::styled(text, DIM));
        }
    };
    let (ours, theirs) = (page_of(&pages.target), page_of(&pages.source));
    let mut spans = vec![Span::styled(format!("{offset:04x}"), DIM)];
    for (side, other, gap) in [(ours, theirs, "  "), (theirs, ours, "")] {
        let at = |page: Option<&PageBytes>, n: usize| page.and_then(|p| p.get(offset + n).copied());
        for n in 0..per_row {
            let (own, other) = (at(side, n), at(other, n));
            let differs = own.is_some() && other.is_some() && own != other;
            let text = match own {
                Some(byte) => format!("{byte:02x}"),
                None => "  ".into(),
            };
            spans.push(Span::styled(if differs { "*" } else { " " }, WARN));
            spans.push(Span::styled(text, if differs { MATCH.patch(WARN) } else { PLAIN }));
        }
        if letters {
            let text: String = (0..per_row)
                .map(|n| match at(side, n) {
                    Some(byte) if byte.is_ascii_graphic() || byte == b' ' => byte as char,
                    Some(_) => '.',
                    None => ' ',
                })
                .collect();
            spans.push(Span::styled(format!(" {text}"), DIM));
        }
        spans.push(Span::raw(gap));
    }
    Line::from(spans)
}
