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
use forkpoint::pg::page::{self, PageBytes};
use forkpoint::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
use forkpoint::pg::walname::segment_name;
use forkpoint::pg::{BLOCK_SIZE, Lsn, Major, RelFile, SegmentSize, TimelineId, checksum};
use forkpoint::scan::path::{OpenSegment, Segments, WalPath};
use forkpoint::scan::progress::Progress;
use forkpoint::scan::walk::{Start, walk};
use forkpoint::wal::Format;
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

    /// The catalogs with the WAL in the directory replayed over them, and how many times it was read.
    fn replayed(&self) -> (Catalogs, u32) {
        let bytes = |at: usize| u64::from_le_bytes(self.control[at..at + 8].try_into().unwrap());
        let redo = Lsn(bytes(self.redo_at()));
        let segment_size =
            SegmentSize::new(if self.major >= Major::V11 { 1 << 20 } else { 16 << 20 }).unwrap();
        let format = Format { major: self.major, system_identifier: bytes(0), segment_size };
        let history = self.history();
        let store = WalFiles { directory: self.path.join("pg_wal"), segment_size };
        let path = WalPath { format, history: &history, store: &store };
        let mut replay = Replay::new(self.disk());
        let mut passes = 0;
        loop {
            let mut buffer = Vec::new();
            let stop =
                walk(&path, Start::Record(redo), Lsn::MAX, &mut replay, &Progress::default(), &mut buffer)
                    .unwrap();
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
        let cluster = Cluster::open(&directory.join(side));
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
