//! What the fuzz targets do with their input. Each is one function, so that an input can be tried without a fuzzer.

use std::cell::RefCell;
use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;

use forkpoint::dump::clock::Clock;
use forkpoint::dump::expr::Filter;
use forkpoint::dump::json::Json;
use forkpoint::dump::text::{Style, Text};
use forkpoint::names::{Catalogs, DiskBlocks, Names, Replay};
use forkpoint::pg::catalog::{CatalogRow, ClassRow, DatabaseRow, NamespaceRow, Row, TablespaceRow};
use forkpoint::pg::control::{CheckpointCopy, ControlFile};
use forkpoint::pg::history::History;
use forkpoint::pg::page::{Page, PageMut};
use forkpoint::pg::relmap::RelMap;
use forkpoint::pg::tuple::{Tuple, TupleMut};
use forkpoint::pg::{BLOCK_SIZE, Lsn, Major, RelFile, SegmentSize, WalName};
use forkpoint::rows::{
    self, Align, Column, Settings as RowSettings, ToastPointer, ToastSource, Type, TypeKind, Types,
};
use forkpoint::rewind::journal;
use forkpoint::rewind::manifest::{Manifest, Pointer};
use forkpoint::scan::collect::Changed;
use forkpoint::scan::run::Collector;
use forkpoint::source::leftovers::{BackupLabel, Postmaster, parse_tablespace_map};
use forkpoint::source::restore::RestoreCommand;
use forkpoint::source::settings::{Settings, mask_secrets};
use forkpoint::source::{archive, compress, slots as replication_slots};
use forkpoint::wal::framer::{Flow, Framer, Sink};
use forkpoint::wal::page::PageHeader;
use forkpoint::wal::record::{Fragments, HEADER_SIZE, Parts, Record};
use forkpoint::wal::xact::XactRecord;
use forkpoint::wal::{Format, PAGE_SIZE, rmgr};

#[path = "../../tests/common/craft.rs"]
mod craft;
pub mod lost;

/// System identifier of what is made here, and of no cluster.
pub const SYSTEM: u64 = 0x0102_0304_0506_0708;

/// Majors whose WAL is read.
pub const MAJORS: [Major; 12] = [
    Major::V9_5,
    Major::V9_6,
    Major::V10,
    Major::V11,
    Major::V12,
    Major::V13,
    Major::V14,
    Major::V15,
    Major::V16,
    Major::V17,
    Major::V18,
    Major::V19,
];

fn major_of(byte: u8) -> Major {
    MAJORS[usize::from(byte) % MAJORS.len()]
}

/// Everything that reads a control file.
pub fn control(data: &[u8]) {
    let zone = jiff::tz::TimeZone::UTC;
    for hint in [None, Some(Major::V18)] {
        if let Ok(file) = ControlFile::parse_with_hint(data, hint) {
            let _ = (file.problems(data), file.segment_size(), file.version_dir());
            let _ = forkpoint::report::controldata::json(&file).to_string();
        }
    }
    for major in Major::ALL {
        let _ = ControlFile::parse_as(data, major);
        let _ = forkpoint::report::controldata::text(data, major, &zone);
        if let Ok(copy) = CheckpointCopy::parse(data, major) {
            let _ = copy.full_next_xid();
        }
    }
}

/// History files, alone and against another one: the first byte says where the second begins.
pub fn history(data: &[u8]) {
    let Some((&at, rest)) = data.split_first() else { return };
    let (one, other) = rest.split_at(usize::from(at).min(rest.len()));
    for timeline in [0, 1, 3, u32::MAX] {
        let (Ok(a), b) = (History::parse(one, timeline), History::parse(other, 7)) else { continue };
        assert!(!a.entries.is_empty());
        let _ = (a.problems(), a.parent(), a.switch_point(1), a.contains(2), a.entry(3));
        for e in &a.entries {
            let _ = (a.timeline_of(e.begin), a.timeline_of(e.end));
        }
        if let Ok(b) = b
            && let Some(prefix) = a.common_prefix(&b)
        {
            assert!(prefix.index < a.entries.len() && prefix.index < b.entries.len());
        }
    }
}

/// One page header: two bytes choose major and position.
pub fn wal_page(data: &[u8]) {
    let [choice, place, rest @ ..] = data else { return };
    let mut page = [0; PAGE_SIZE];
    let n = rest.len().min(PAGE_SIZE);
    page[..n].copy_from_slice(&rest[..n]);
    let major = major_of(*choice);
    // mostly the header's own word, so that more than the first check is reached
    let word = |at: usize| page[at..at + 8].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
    let size = SegmentSize::new(1 << (20 + place % 11)).unwrap_or(SegmentSize::DEFAULT);
    let format = Format { major, system_identifier: word(24), segment_size: size };
    let at = Lsn(word(8) / PAGE_SIZE as u64 * PAGE_SIZE as u64);
    if let Err(problem) = PageHeader::check(&page, at, &format) {
        let _ = problem.message(major, size, 1);
    }
}

/// Looks at every record in every way.
struct Everything<'a> {
    major: Major,
    changed: Changed,
    replay: &'a mut Replay,
    last_end: Lsn,
}

impl Sink for Everything<'_> {
    fn wants_whole(&self, rmid: u8, _: u8) -> bool {
        // both kinds of readers
        rmid % 2 == 0 || self.changed.wants_whole(rmid, 0)
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        assert!(record.lsn >= self.last_end, "records overlap");
        assert!(record.bytes.len() <= record.total_len as usize);
        self.last_end = record.end;
        if let Ok(decoded) = record.decode(self.major) {
            let sum = decoded.main.len()
                + decoded
                    .blocks
                    .iter()
                    .map(|b| b.data.len() + b.image.map_or(0, |i| i.bytes.len()))
                    .sum::<usize>();
            assert!(sum <= record.total_len as usize);
            assert_eq!(record.main_data(self.major), Some(decoded.main));
        }
        let mut fragments = Fragments::new(record, self.major);
        while let Ok(Some(_)) = fragments.next_fragment() {}
        let _ = (rmgr::name(record.rmid), rmgr::op_name(record.rmid, record.info, self.major));
        if let Some(main) = record.main_data(self.major) {
            let _ = CheckpointCopy::parse(main, self.major);
            let _ = XactRecord::parse(main, record.info, record.xid, self.major);
        }
        self.changed.record(record);
        self.replay.apply(record);
        true
    }
}

fn replay_over_nothing(major: Major) -> Replay {
    let disk = DiskBlocks::with_layout(Path::new("/nonexistent"), major, 0, 131_072, None);
    let mut replay = Replay::new(disk);
    for rel in [1259, 1262, 2615, 1213] {
        for (spc, db) in [(1663, 1), (1663, 5), (1664, 0)] {
            replay.follow(RelFile { spc, db, rel });
        }
    }
    replay
}

fn feed(framer: &mut Framer, pages: &[(Lsn, Box<[u8; PAGE_SIZE]>)], major: Major) {
    let mut replay = replay_over_nothing(major);
    let mut sink = Everything {
        major,
        changed: Changed::new(major, Lsn(0x20_0000)),
        replay: &mut replay,
        last_end: Lsn::INVALID,
    };
    for (at, page) in pages {
        match framer.page(*at, page, &mut sink) {
            Ok(Flow::More) => {}
            Ok(Flow::Done) => break,
            Err(problem) => {
                let _ = problem.message(major, SegmentSize::DEFAULT, 1);
                break;
            }
        }
    }
    let _ = (framer.partial_record(), framer.next_record());
    let mut all = Changed::new(major, Lsn(0x20_0000));
    all.merge(sink.changed);
    let collected = all.finish(700);
    for relation in &collected.changes.relations {
        for side in [&relation.before, &relation.after].into_iter().flatten() {
            let _ = side.blocks.ranges().take(1000).count();
        }
    }
    let catalogs: Catalogs = replay.into_catalogs();
    let _ = Names::load(&catalogs, None, None);
}

/// A run of raw pages: the first byte chooses the major where the magic names none, the second where to begin.
pub fn framer(data: &[u8]) {
    let [choice, mode, rest @ ..] = data else { return };
    let word =
        |at: usize| rest.get(at..at + 8).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b));
    let major =
        Major::from_wal_magic(word(0) as u16).filter(|m| *m >= Major::V9_5).unwrap_or(major_of(*choice));
    let size = SegmentSize::new(word(32) as u32).unwrap_or(SegmentSize::DEFAULT);
    let format = Format { major, system_identifier: word(24), segment_size: size };
    let start = Lsn(word(8) / PAGE_SIZE as u64 * PAGE_SIZE as u64);
    let mut pages = Vec::new();
    for (n, chunk) in rest.chunks(PAGE_SIZE).enumerate() {
        let mut page = Box::new([0; PAGE_SIZE]);
        page[..chunk.len()].copy_from_slice(chunk);
        pages.push((start.plus((n * PAGE_SIZE) as u64), page));
    }
    let mut framer = match mode % 3 {
        0 => Framer::resync(format, Lsn::MAX),
        1 => Framer::at(format, start, Lsn::MAX),
        _ => Framer::at(format, start.plus(u64::from(*mode) * 8), start.plus(20_000)),
    };
    feed(&mut framer, &pages, major);
}

/// Records with right headers and CRCs around arbitrary content: major, then for each record resource manager, info,
/// transaction (2 bytes), length (2 bytes), body.
pub fn records(data: &[u8]) {
    let [choice, place, rest @ ..] = data else { return };
    let mut rest = rest;
    let major = major_of(*choice);
    let size = SegmentSize::new(1 << 20).unwrap_or(SegmentSize::DEFAULT);
    let format = Format { major, system_identifier: SYSTEM, segment_size: size };
    let start = match place % 4 {
        0 => Lsn(0x10_0000),
        1 => Lsn(0x1F_E000),
        2 => Lsn(0x20_0000),
        // the last pages that there can be
        _ => Lsn(u64::MAX - 0x1FFFF),
    };
    let mut pages = Vec::new();
    let mut craft = craft::Craft::new(format, 1, start, Lsn(0x28), |at, page: &[u8; PAGE_SIZE]| {
        pages.push((at, Box::new(*page)));
    });
    while let [rmid, info, x, y, l, h, more @ ..] = rest {
        let length = usize::from(u16::from_le_bytes([*l, *h])).min(more.len());
        let (body, left) = more.split_at(length);
        craft.record(*rmid % 24, *info, u32::from(u16::from_le_bytes([*x, *y])), body);
        rest = left;
        if craft.prev.since(start) > 100_000 {
            break;
        }
    }
    craft.finish();
    feed(&mut Framer::at(format, start, Lsn::MAX), &pages, major);
}

/// Main data of a record that ends a transaction: major, info, data.
pub fn xact(data: &[u8]) {
    let [choice, info, rest @ ..] = data else { return };
    if let Ok(record) = XactRecord::parse(rest, *info, 7, major_of(*choice)) {
        assert!(record.subxacts.len() * 4 + record.dropped.len() * 12 + record.gid.len() <= rest.len());
    }
}

/// The description of a record, as a line with and without details and as JSON: major, resource manager, info, then its
/// body.
pub fn describe(data: &[u8]) {
    let [choice, rmid, info, body @ ..] = data else { return };
    let major = major_of(*choice);
    let mut bytes = vec![0; HEADER_SIZE];
    bytes.extend_from_slice(body);
    let record = Record {
        lsn: Lsn(0x300_0028),
        end: Lsn(0x300_0028 + bytes.len() as u64),
        xid: 7,
        prev: Lsn(0x300_0000),
        info: *info,
        rmid: *rmid,
        total_len: bytes.len() as u32,
        bytes: &bytes,
    };
    let mut parts = Parts::default();
    if let Err(error) = parts.read(&record, major) {
        let mut json = Json::new(major, None);
        json.undecodable(&record, error.0);
        return;
    }
    for details in [false, true] {
        let style = Style { details, names: None };
        let mut text = Text::new(major, style, Clock::new(jiff::tz::TimeZone::UTC));
        text.record(&record, &parts);
        assert!(text.buffer.starts_with(b"rmgr: ") && text.buffer.ends_with(b"\n"));
    }
    let mut json = Json::new(major, None);
    json.record(&record, &parts);
    assert!(serde_json::from_slice::<serde_json::Value>(&json.buffer).is_ok());
    // a filter sees the same
    if let Ok(filter) = Filter::parse("rel = 1663/5/16384 or not fpi > 3 and op = INSERT", &|_| Ok(Vec::new())) {
        let _ = filter.holds(&record, &parts, major);
    }
}

/// A filter expression.
pub fn expression(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Err(error) = Filter::parse(&text, &|_| Ok(Vec::new())) {
        assert!(error.at <= text.len());
        let _ = error.pointer(&text);
    }
}

/// A relation map.
pub fn relmap(data: &[u8]) {
    if let Ok(map) = RelMap::parse(data) {
        let _ = map.file_number(1259);
    }
}

fn page_of(data: &[u8]) -> Box<[u8; BLOCK_SIZE]> {
    let mut page = Box::new([0; BLOCK_SIZE]);
    // the header from the front, tuples from the back: a short input makes a whole page
    let head = data.len().min(600);
    page[..head].copy_from_slice(&data[..head]);
    let tail = &data[head..];
    let n = tail.len().min(BLOCK_SIZE - head);
    page[BLOCK_SIZE - n..].copy_from_slice(&tail[tail.len() - n..]);
    page
}

fn rows(item: &[u8], major: Major) {
    let Ok(tuple) = Tuple::read(item) else { return };
    let _ = (tuple.xmin(), tuple.xmax(), tuple.infomask(), tuple.oid(), tuple.data());
    let _ = ClassRow::read(Row::new(tuple, major)).map(|r| r.has_files());
    let _ = DatabaseRow::read(Row::new(tuple, major));
    let _ = NamespaceRow::read(Row::new(tuple, major));
    let _ = TablespaceRow::read(Row::new(tuple, major));
}

/// A page of a heap and what may be done to it: major, operations, page.
pub fn page(data: &[u8]) {
    let [choice, number, length, rest @ ..] = data else { return };
    let mut bytes = page_of(rest);
    let _ = forkpoint::pg::checksum::of(&bytes, u32::from(*number));
    if let Ok(Some(page)) = Page::read(&bytes) {
        for (_, item) in page.items() {
            rows(item, major_of(*choice));
        }
        let _ = (page.item_count(), page.line_pointer(u16::from(*number)), page.item(0), page.item(u16::MAX));
    }
    if let Ok(mut page) = PageMut::open(&mut bytes) {
        page.set_lsn(Lsn(7));
        let _ = page.item(u16::from(*number)).map(|i| i.len());
        let _ = page.add_item(u16::from(*number), &vec![1; usize::from(*length) * 8]);
        page.compact();
        let _ = page.add_item(1, &[2; 40]);
        page.set_all_visible(true);
    }
    let _ = Page::read(&bytes);
}

/// A tuple.
pub fn tuple(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else { return };
    rows(rest, major_of(*choice));
    let mut bytes = rest.to_vec();
    if let Ok(mut tuple) = TupleMut::open(&mut bytes) {
        tuple.reset_command();
        tuple.set_hoff(*choice);
        let _ = tuple.data().len();
        tuple.set_xvac(3);
        tuple.set_ctid(1, 2);
    }
}

/// Gives the same bytes for every value.
struct Same<'a>(&'a [u8]);

impl ToastSource for Same<'_> {
    fn fetch(&mut self, pointer: &ToastPointer) -> Result<Vec<u8>, String> {
        let _ = pointer.assemble(vec![(1, self.0), (0, self.0)]);
        Ok(self.0.to_vec())
    }
}

fn column(number: usize, type_oid: u32, len: i16, align: Align) -> Column {
    Column { type_oid, ..Column::stored(number as i16, "c".into(), len, align) }
}

fn align_of(byte: u8) -> Align {
    [Align::Char, Align::Short, Align::Int, Align::Double][usize::from(byte) % 4]
}

/// A tuple's columns: their number, length and alignment of each, what a TOAST table gives, the tuple.
pub fn columns(data: &[u8]) {
    let [count, stored, rest @ ..] = data else { return };
    let Some((kinds, rest)) = rest.split_at_checked(usize::from(count % 40)) else { return };
    let layout: Vec<Column> = kinds
        .iter()
        .enumerate()
        .map(|(n, kind)| column(n + 1, 0, i16::from(kind >> 2) % 20 - 3, align_of(*kind)))
        .collect();
    let (stored, tuple) = rest.split_at(usize::from(*stored).min(rest.len()));
    let values = rows::columns(tuple, &layout);
    assert_eq!(values.len(), layout.len());
    for (value, column) in values.into_iter().zip(&layout) {
        if let Ok(Some(bytes)) = value.bytes(&mut Same(stored)) {
            let _ = rows::tuple::missing_value(&bytes, column);
        }
    }
}

thread_local! {
    static TYPES: Types = types();
}

/// The built-in types, and from 60000 on an enum, composite types, a domain, an array, a range, a multirange, hstore.
fn types() -> Types {
    let mut types = Types::builtin();
    let columns =
        |second| TypeKind::Composite(vec![column(1, 23, 4, Align::Int), column(2, second, -1, Align::Int)]);
    let own = [
        ("label", TypeKind::Enum(vec![(1, "one".into()), (0x0101_0101, "two, \"three\"".into())]), 4),
        ("pair", columns(25), -1),
        ("pairs", columns(60_001), -1),
        ("domain", TypeKind::Domain { base: 60_002, typmod: -1 }, -1),
        ("array", TypeKind::Array { element: 60_003 }, -1),
        ("range", TypeKind::Range { subtype: 25 }, -1),
        ("multirange", TypeKind::Multirange { range: 60_005 }, -1),
        ("hstore", TypeKind::Base, -1),
        ("endless", columns(60_008), -1),
    ];
    for (n, (name, kind, len)) in own.into_iter().enumerate() {
        let (name, schema) = (name.into(), "public".into());
        let (oid, align) = (60_000 + n as u32, Align::Int);
        types.add(Type { oid, name, schema, kind, len, align, delimiter: b',' });
    }
    types
}

/// A value's text: major and zone, the type's OID, the value.
pub fn text(data: &[u8]) {
    let [choice, low, high, bytes @ ..] = data else { return };
    let time_zone =
        if *choice < 128 { jiff::tz::TimeZone::UTC } else { jiff::tz::TimeZone::fixed(jiff::tz::offset(-5)) };
    let settings = RowSettings { major: major_of(*choice % 128), time_zone };
    TYPES.with(|types| {
        let oid = u32::from(u16::from_le_bytes([*low, *high]));
        if let Ok(text) = rows::text(oid, bytes, types, &settings) {
            assert!(text.len() <= 40_000 * (bytes.len() + 1));
            let _ = (rows::sql_literal(&text), rows::quote_ident(&text));
        }
    });
}

/// PGLZ: length of the output, packed bytes.
pub fn pglz(data: &[u8]) {
    let [l, h, rest @ ..] = data else { return };
    let mut out = vec![0; usize::from(u16::from_le_bytes([*l, *h])) % (BLOCK_SIZE + 1)];
    let _ = forkpoint::pg::pglz::decompress(rest, &mut out);
}

/// A full-page image over a catalog: major, kind of compression, hole, packed bytes.
pub fn image(data: &[u8]) {
    let [choice, kind, o1, o2, l1, l2, rest @ ..] = data else { return };
    let rest = &rest[..rest.len().min(9000)];
    let major = major_of(*choice);
    let mut body = vec![0, 0x10, 0, 0];
    body.extend_from_slice(&(rest.len() as u16).to_le_bytes());
    body.extend_from_slice(&[*o1, *o2]);
    let info = if major >= Major::V15 {
        [3, 7, 11, 19][usize::from(*kind) % 4]
    } else {
        [5, 7][usize::from(*kind) % 2]
    };
    body.push(info);
    let plain = if major >= Major::V15 { info == 3 } else { info == 5 };
    if !plain {
        body.extend_from_slice(&[*l1, *l2]);
    }
    for n in [1664_u32, 0, 1262, u32::from(*kind)] {
        body.extend_from_slice(&n.to_le_bytes());
    }
    body.extend_from_slice(rest);
    // FPI
    let mut input = vec![*choice, 0, 0, 0xB0, 0, 0];
    input.extend_from_slice(&(body.len() as u16).to_le_bytes());
    input.extend_from_slice(&body);
    records(&input);
}

/// backup_label, tablespace_map, postmaster.pid.
pub fn backup_label(data: &[u8]) {
    let label = BackupLabel::parse(&String::from_utf8_lossy(data));
    let _ = (label.by_pg_rewind(), label.field("LABEL"), label.label());
    let _ = parse_tablespace_map(data);
    let _ = Postmaster::parse(data, Path::new("/nonexistent"));
}

thread_local! {
    static DIR: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

/// postgresql.conf and what it includes: parts are separated by a zero byte.
pub fn settings(data: &[u8]) {
    DIR.with_borrow_mut(|slot| {
        let place = if Path::new("/dev/shm").is_dir() { "/dev/shm".into() } else { std::env::temp_dir() };
        let dir = slot.get_or_insert_with(|| tempfile::tempdir_in(place).expect("a scratch directory"));
        let mut parts = data.split(|b| *b == 0);
        for name in ["postgresql.conf", "postgresql.auto.conf", "a.conf", "recovery.conf"] {
            fs::write(dir.path().join(name), parts.next().unwrap_or_default()).expect("scratch");
        }
        let settings = Settings::read(dir.path(), Major::V10);
        for (n, one) in settings.set.iter().enumerate() {
            assert!(settings.set[..n].iter().all(|s| s.name != one.name));
        }
    });
    let text = String::from_utf8_lossy(data);
    let masked = mask_secrets(&text);
    let _ = (forkpoint::report::words::mask(&masked), forkpoint::report::words::clean(&text));
}

/// A replication slot's state file.
pub fn slots(data: &[u8]) {
    let _ = replication_slots::Slot::parse(data).map(|s| s.is_physical());
}

/// Journal, manifest and pointer of an undo store. The journal also with right lengths and CRCs, which chance does not
/// find: each line of the input is one record's payload.
pub fn store(data: &[u8]) {
    let _ = Manifest::parse(data);
    let _ = Pointer::parse(data);
    let mut framed = Vec::new();
    for payload in data.split(|b| *b == b'\n') {
        framed.extend((payload.len() as u32).to_le_bytes());
        framed.extend(crc32c::crc32c(payload).to_le_bytes());
        framed.extend(payload);
    }
    for bytes in [data, &framed] {
        if let Ok(read) = journal::parse(bytes) {
            assert!(read.length <= bytes.len() && read.performed <= read.items.len());
            assert_eq!(journal::parse(&bytes[..read.length]), Ok(read));
        }
    }
}

/// Detection and decoding of compressed WAL, at most 1 MiB of it.
pub fn compressed(data: &[u8]) {
    let _ = compress::describe_unknown(data);
    if let Some(format) = compress::Format::detect(data) {
        let mut out = Vec::new();
        let _ = compress::decoder(format, Cursor::new(data)).take(1 << 20).read_to_end(&mut out);
    }
}

/// Names of WAL files, in directories and archives.
pub fn names(data: &[u8]) {
    for shift in [20, 24, 30] {
        let Some(size) = SegmentSize::new(1 << shift) else { continue };
        if let Some(found) = archive::parse_name(data, size)
            && !found.decorated
        {
            assert_eq!(found.name.file_name(size).as_bytes(), data);
        }
        if let Some(name) = std::str::from_utf8(data).ok().and_then(|text| WalName::parse(text, size)) {
            assert_eq!(name.file_name(size).as_bytes(), data);
        }
    }
}

/// The placeholders of a restore command.
pub fn restore(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(command) = RestoreCommand::new(text.clone()) {
        let done = command.substituted("F", Path::new("/p"));
        if !text.contains('%') {
            assert_eq!(done, *text);
        }
    }
}

/// A server's log, without a pair that bears it out.
pub fn log(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let lines = text.lines().count() as u64;
    for found in forkpoint::diagnosis::log::explain(&text, None) {
        assert!((1..=lines.max(1)).contains(&(found.line as u64)));
    }
}
