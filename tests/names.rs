//! Names equal what SQL said while the captured servers ran.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/pairs.rs"]
mod pairs;

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use forkpoint::names::{Catalogs, DiskBlocks, Names, Replay};
use forkpoint::pg::history::{History, HistoryEntry};
use forkpoint::pg::page::{self, LineState, Page, PageBytes};
use forkpoint::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
use forkpoint::pg::tuple::{Tuple, infomask};
use forkpoint::pg::walname::segment_name;
use forkpoint::pg::{BLOCK_SIZE, Lsn, Major, RelFile, SegmentSize, TimelineId, WalName, checksum};
use forkpoint::scan::path::{OpenSegment, Segments, WalPath};
use forkpoint::scan::progress::Progress;
use forkpoint::scan::walk::{Start, Stop, walk};
use forkpoint::wal::Format;
use forkpoint::wal::framer::Sink;
use forkpoint::wal::record::Record;
use forkpoint::wal::rmgr::{id, op};
use serde_json::Value;

/// A data directory and the little of pg_control that these tests need.
struct Cluster {
    path: PathBuf,
    major: Major,
    control: Vec<u8>,
}

impl Cluster {
    fn open(path: &Path) -> Self {
        let major = Major::from_pg_version(&fs::read_to_string(path.join("PG_VERSION")).unwrap()).unwrap();
        Self { path: path.to_owned(), major, control: fs::read(path.join("global/pg_control")).unwrap() }
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.control[at..at + 4].try_into().unwrap())
    }

    fn redo_at(&self) -> usize {
        if self.major >= Major::V11 { 40 } else { 48 }
    }

    fn disk(&self) -> DiskBlocks {
        let slru_pages = (self.major >= Major::V19).then(|| self.u32(232));
        DiskBlocks::with_layout(&self.path, self.major, self.u32(12), 131_072, slru_pages)
    }

    /// Stopped as a primary stops: everything is on disk.
    fn shut_down(&self) -> bool {
        self.u32(16) == 1
    }

    fn history(&self) -> History {
        let newest = |tli: &TimelineId| self.path.join(format!("pg_wal/{tli:08X}.history")).is_file();
        let timeline = (2..20).rev().find(newest).unwrap_or(1);
        let text =
            fs::read_to_string(self.path.join(format!("pg_wal/{timeline:08X}.history"))).unwrap_or_default();
        let mut entries = Vec::new();
        let mut begin = Lsn::INVALID;
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let mut fields = line.split('\t');
            let timeline = fields.next().unwrap().trim().parse().unwrap();
            let end: Lsn = fields.next().unwrap().parse().unwrap();
            entries.push(HistoryEntry { timeline, begin, end, reason: String::new() });
            begin = end;
        }
        entries.push(HistoryEntry { timeline, begin, end: Lsn::MAX, reason: String::new() });
        History { timeline, entries, lines: Vec::new() }
    }

    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.control[at..at + 8].try_into().unwrap())
    }

    fn redo(&self) -> Lsn {
        Lsn(self.u64(self.redo_at()))
    }

    /// Reads the WAL in the directory.
    fn read_wal(&self, start: Start, sink: &mut impl Sink) -> Stop {
        let format =
            Format { major: self.major, system_identifier: self.u64(0), segment_size: self.segment_size() };
        let history = self.history();
        let store = WalFiles { directory: self.path.join("pg_wal"), segment_size: self.segment_size() };
        let path = WalPath { format, history: &history, store: &store };
        walk(&path, start, Lsn::MAX, sink, &Progress::default(), &mut Vec::new()).unwrap()
    }

    fn segment_size(&self) -> SegmentSize {
        SegmentSize::new(if self.major >= Major::V11 { 1 << 20 } else { 16 << 20 }).unwrap()
    }

    /// The oldest redo pointer from which the directory has WAL.
    fn oldest_redo(&self) -> Lsn {
        let entries = fs::read_dir(self.path.join("pg_wal")).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let segno = |name: String| match WalName::parse(&name, self.segment_size()) {
            Some(WalName::Segment(_, segno)) => Some(segno),
            _ => None,
        };
        let first = entries.filter_map(|entry| segno(name(entry.unwrap()))).min().unwrap();
        let mut found = Checkpoints::default();
        self.read_wal(Start::Page(self.segment_size().start(first)), &mut found);
        found.redo.unwrap()
    }

    /// The catalogs with the WAL in the directory replayed over them, and how many times it was read.
    fn replayed(&self) -> (Catalogs, u32) {
        let redo = self.redo();
        let mut replay = Replay::new(self.disk());
        let mut passes = 0;
        loop {
            let stop = self.read_wal(Start::Record(redo), &mut replay);
            assert!(stop.last >= redo, "no record at {redo}: {:?}", stop.problem);
            passes += 1;
            if !replay.needs_another_pass() {
                return (replay.into_catalogs(), passes);
            }
        }
    }

    fn catalogs(&self) -> Catalogs {
        if self.shut_down() { Catalogs::on_disk(self.disk()) } else { self.replayed().0 }
    }
}

/// Looks for the first checkpoint whose redo pointer is not before the first record.
#[derive(Default)]
struct Checkpoints {
    begin: Option<Lsn>,
    redo: Option<Lsn>,
}

impl Sink for Checkpoints {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        rmid == id::XLOG && info & 0xF0 <= op::XLOG_CHECKPOINT_ONLINE
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        let begin = *self.begin.get_or_insert(record.lsn);
        if self.wants_whole(record.rmid, record.info) {
            let redo = Lsn(u64::from_le_bytes(record.bytes[26..34].try_into().unwrap()));
            self.redo = Some(redo).filter(|redo| *redo >= begin);
        }
        self.redo.is_none()
    }
}

struct WalFiles {
    directory: PathBuf,
    segment_size: SegmentSize,
}

impl Segments for WalFiles {
    fn open(&self, timeline: TimelineId, segno: u64) -> Option<OpenSegment> {
        let name = segment_name(timeline, self.segment_size.start(segno), self.segment_size);
        let path = self.directory.join(name);
        let file = Arc::new(File::open(&path).ok()?);
        let len = file.metadata().unwrap().len();
        Some(OpenSegment { file, path, len })
    }
}

/// Numbers of the relation whose first file is `path`.
fn rel_file(path: &str, databases: &HashMap<String, u32>, database: &str) -> RelFile {
    let number = |text: &str| text.parse::<u32>().unwrap();
    match path.split('/').collect::<Vec<_>>()[..] {
        ["global", rel] => RelFile { spc: GLOBAL_TABLESPACE, db: 0, rel: number(rel) },
        ["base", db, rel] => {
            assert_eq!(databases[database], number(db));
            RelFile { spc: DEFAULT_TABLESPACE, db: number(db), rel: number(rel) }
        }
        ["pg_tblspc", spc, _, db, rel] => RelFile { spc: number(spc), db: number(db), rel: number(rel) },
        _ => panic!("{path}"),
    }
}

fn named(list: &Value) -> HashMap<String, u32> {
    let pair = |e: &Value| (e["name"].as_str().unwrap().to_owned(), e["oid"].as_u64().unwrap() as u32);
    list.as_array().unwrap().iter().map(pair).collect()
}

/// Compares with the relations that SQL listed; returns how many had files.
fn compare(what: &str, names: &Names, relations: &Value, databases: &HashMap<String, u32>) -> usize {
    let mut compared = 0;
    for truth in relations.as_array().unwrap() {
        let text = |key: &str| truth[key].as_str().unwrap();
        let Some(path) = truth["path"].as_str() else { continue };
        let rel = rel_file(path, databases, text("database"));
        let found = names.relations.get(&rel).unwrap_or_else(|| panic!("{what}: {rel} has no name: {truth}"));
        let database = (rel.db != 0).then(|| text("database"));
        assert_eq!(
            (found.database.as_deref(), &*found.schema, &*found.name, found.oid, found.kind.to_string()),
            (
                database,
                text("schema"),
                text("name"),
                truth["oid"].as_u64().unwrap() as u32,
                text("kind").to_owned()
            ),
            "{what}: {rel}"
        );
        assert!(!found.from_source, "{what}: {rel}");
        compared += 1;
    }
    for (name, oid) in databases {
        assert_eq!(names.databases.get(oid), Some(name), "{what}");
    }
    compared
}

/// The scenarios' two sides with what SQL said of each: everything where that was recorded, else what users made.
fn sides(scenario: &str) -> Vec<(&'static str, Value, Value)> {
    let truth = pairs::truth(scenario);
    let full = pairs::zstd_file(scenario, "relations.json.zst");
    let full = full.map_or(truth.clone(), |bytes| serde_json::from_slice(&bytes).unwrap());
    let of_source = truth.get("source_databases").unwrap_or(&truth["databases"]);
    vec![
        ("target", full["relations"].clone(), truth["databases"].clone()),
        ("source", full["source_relations"].clone(), of_source.clone()),
    ]
}

fn check_both_sides(scenario: &str) -> usize {
    let directory = pairs::unpack(scenario);
    let mut compared = 0;
    for (side, relations, databases) in sides(scenario) {
        // where pg_rewind ran, SQL speaks of the target as it was before
        let before = directory.join(format!("{side}-before"));
        let cluster = Cluster::open(&if before.is_dir() { before } else { directory.join(side) });
        let names = Names::load(&cluster.catalogs(), None);
        let what = format!("{scenario} {side}");
        assert_eq!(names.problems, Vec::<String>::new(), "{what}");
        assert_eq!(names.replayed, !cluster.shut_down(), "{what}");
        compared += compare(&what, &names, &relations, &named(&databases));
    }
    compared
}

#[test]
fn every_relation_of_every_major() {
    for major in 10..=19 {
        let compared = check_both_sides(&format!("basic-{major}"));
        // initdb alone makes over 200 files in each of three databases
        assert!(compared > 1300, "basic-{major}: {compared}");
    }
}

#[test]
fn every_scenario() {
    for scenario in pairs::scenarios() {
        let directory = pairs::unpack(&scenario);
        if !scenario.starts_with("basic-") && directory.join("target/PG_VERSION").is_file() {
            eprintln!("{scenario}: {}", check_both_sides(&scenario));
        }
    }
}

/// Relations with heap pages, as SQL listed them.
fn heaps(relations: &Value, databases: &HashMap<String, u32>) -> Vec<RelFile> {
    let heap = |r: &&Value| matches!(r["kind"].as_str(), Some("r" | "t" | "m")) && r["path"].is_string();
    let file = |r: &Value| rel_file(r["path"].as_str().unwrap(), databases, r["database"].as_str().unwrap());
    relations.as_array().unwrap().iter().filter(heap).map(file).collect()
}

/// What of a page replay must rebuild: hint bits and command numbers are not in WAL.
fn essence(bytes: &PageBytes) -> Vec<(LineState, u16, Option<(u32, u32, [u8; 6], u16, u16, Vec<u8>)>)> {
    let Some(page) = Page::read(bytes).unwrap() else { return Vec::new() };
    let hints =
        infomask::XMIN_COMMITTED | infomask::XMIN_INVALID | infomask::XMAX_COMMITTED | infomask::XMAX_INVALID;
    let mut lines = Vec::new();
    for number in 1..=page.item_count() {
        let pointer = page.line_pointer(number).unwrap();
        let tuple = page.item(number).map(|item| {
            let tuple = Tuple::read(item).unwrap();
            let mut mask = tuple.infomask() & !infomask::COMBO_CID;
            if mask & infomask::XMIN_FROZEN != infomask::XMIN_FROZEN {
                mask &= !(infomask::XMIN_COMMITTED | infomask::XMIN_INVALID);
            }
            mask &= !(hints & !infomask::XMIN_FROZEN);
            let word = |at: usize| u16::from_le_bytes([item[at], item[at + 1]]);
            (
                tuple.xmin(),
                tuple.xmax(),
                item[12..18].try_into().unwrap(),
                word(18),
                mask,
                item[22..].to_vec(),
            )
        });
        let redirected_to = if pointer.state == LineState::Redirect { pointer.offset } else { 0 };
        lines.push((pointer.state, redirected_to, tuple));
    }
    while lines.last().is_some_and(|line| line.0 == LineState::Unused) {
        lines.pop();
    }
    lines
}

/// WAL from the oldest checkpoint on, replayed over the files of a server that was stopped later: the first full-page
/// image takes each page back, and redo must bring it to where the server left it.
#[test]
fn replay_rebuilds_the_pages_that_servers_wrote() {
    for major in 10..=19 {
        let scenario = format!("basic-{major}");
        let directory = pairs::unpack(&scenario);
        for (side, relations, databases) in sides(&scenario) {
            let cluster = Cluster::open(&directory.join(side));
            let mut heaps = heaps(&relations, &named(&databases));
            heaps.dedup();
            let mut replay = Replay::new(cluster.disk());
            heaps.iter().for_each(|rel| replay.follow(*rel));
            let mut kinds = Kinds { replay, seen: HashMap::new() };
            let stop = cluster.read_wal(Start::Record(cluster.oldest_redo()), &mut kinds);
            let disk = Catalogs::on_disk(cluster.disk());
            let replayed = kinds.replay.into_catalogs();
            let (mut compared, mut changed) = (0, 0);
            for rel in heaps {
                let count = replayed.blocks().block_count(rel).unwrap();
                assert_eq!(count, disk.blocks().block_count(rel).unwrap(), "{scenario} {side} {rel}");
                for block in 0..count {
                    let (mut ours, mut theirs) = ([0; BLOCK_SIZE], [0; BLOCK_SIZE]);
                    assert!(replayed.blocks().read_block(rel, block, &mut ours).unwrap());
                    assert!(disk.blocks().read_block(rel, block, &mut theirs).unwrap());
                    assert_eq!(essence(&ours), essence(&theirs), "{scenario} {side} {rel} block {block}");
                    compared += 1;
                    changed += u32::from(ours != theirs);
                }
            }
            let mut seen: Vec<_> = kinds.seen.into_iter().collect();
            seen.sort();
            eprintln!(
                "{scenario} {side}: {compared} pages, {changed} with other hints, to {}: {seen:02X?}",
                stop.next
            );
        }
    }
}

/// Counts the heap records that a replay is fed.
struct Kinds {
    replay: Replay,
    seen: HashMap<(u8, u8), u32>,
}

impl Sink for Kinds {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        self.replay.wants_whole(rmid, info)
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        if matches!(record.rmid, id::HEAP | id::HEAP2) {
            *self.seen.entry((record.rmid, record.info & 0xF0)).or_default() += 1;
        }
        self.replay.record(record)
    }
}
