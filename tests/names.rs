//! Names equal what SQL said while the captured servers ran.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::cluster::{Cluster as Running, Mode, whole};
use forkpoint::names::{Catalogs, DiskBlocks, Names, Replay};
use forkpoint::pg::control::{ControlFile, DbState};
use forkpoint::pg::history::History;
use forkpoint::pg::page::{self, LineState, Page, PageBytes};
use forkpoint::pg::relfile::{DEFAULT_TABLESPACE, GLOBAL_TABLESPACE};
use forkpoint::pg::tuple::{Tuple, infomask};
use forkpoint::pg::{BLOCK_SIZE, Lsn, Major, RelFile, SegmentSize, TimelineId, WalName, checksum};
use forkpoint::scan::path::WalPath;
use forkpoint::scan::progress::Progress;
use forkpoint::scan::walk::{Start, Stop, record_start, walk};
use forkpoint::source::walset::{WalIdentity, WalSet};
use forkpoint::wal::Format;
use forkpoint::wal::framer::Sink;
use forkpoint::wal::record::Record;
use forkpoint::wal::rmgr::{id, op};
use serde_json::Value;

/// A data directory and its control file.
struct Cluster {
    path: PathBuf,
    control: ControlFile,
}

impl Cluster {
    fn open(path: &Path) -> Self {
        let control = ControlFile::parse(&fs::read(path.join("global/pg_control")).unwrap()).unwrap();
        Self { path: path.to_owned(), control }
    }

    fn disk(&self) -> DiskBlocks {
        DiskBlocks::new(&self.path, &self.control)
    }

    /// Stopped as a primary stops: everything is on disk.
    fn shut_down(&self) -> bool {
        self.control.state == DbState::ShutDown
    }

    fn history(&self) -> History {
        let file = |tli: TimelineId| self.path.join(format!("pg_wal/{tli:08X}.history"));
        let newest = (2..20).rev().find(|tli| file(*tli).is_file());
        newest.map_or(History::single(1), |tli| History::parse(fs::read(file(tli)).unwrap(), tli).unwrap())
    }

    fn redo(&self) -> Lsn {
        record_start(self.control.checkpoint_copy.redo, self.segment_size().bytes())
    }

    /// Reads the WAL in the directory.
    fn read_wal(&self, start: Start, sink: &mut impl Sink) -> Stop {
        let (major, segment_size) = (self.control.major, self.segment_size());
        let system_identifier = self.control.system_identifier;
        let identity = WalIdentity { system_identifier, magic: None, major: Some(major) };
        let store = WalSet::new(&self.path.join("pg_wal"), &[], None, segment_size, identity);
        let format = Format { major, system_identifier, segment_size };
        let path = WalPath { format, history: &self.history(), store: &store };
        walk(&path, start, Lsn::MAX, sink, &Progress::default(), &mut Vec::new()).unwrap()
    }

    fn segment_size(&self) -> SegmentSize {
        SegmentSize::new(self.control.wal_segment_size).unwrap()
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
        let names = Names::load(&cluster.catalogs(), None, None);
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

/// A line pointer: its state, where it redirects to, its tuple.
type Line = (LineState, u16, Option<TupleEssence>);
/// A tuple: xmin, xmax, ctid, infomask2, infomask, and everything behind them.
type TupleEssence = (u32, u32, [u8; 6], u16, u16, Vec<u8>);

/// What of a page replay must rebuild: hint bits and command numbers are not in WAL.
fn essence(bytes: &PageBytes) -> Vec<Line> {
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
            for rel in &heaps {
                replay.follow(*rel);
            }
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
            seen.sort_unstable();
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

fn known(names: &Names, schema: &str, name: &str) -> bool {
    names.relations.values().any(|r| r.schema == schema && r.name == name && !r.from_source)
}

/// What came after the last checkpoint is in WAL only; VACUUM FULL of pg_class moved the catalog itself.
#[test]
fn a_crashed_targets_catalog_is_stale_without_replay() {
    let directory = pairs::unpack("crashed-create-table");
    let cluster = Cluster::open(&directory.join("target"));
    let stale = Names::load(&Catalogs::on_disk(cluster.disk()), None, None);
    assert!(!known(&stale, "fresh", "made"));
    let names = Names::load(&cluster.replayed().0, None, None);
    assert!(names.replayed);
    assert!(known(&names, "fresh", "made"));
    assert!(known(&names, "app", "kept_scrap") && !known(&names, "app", "scrap"));
}

/// Dropped on the target after the divergence: the source still has it, and the target's dead rows agree.
#[test]
fn a_relation_dropped_on_the_target_gets_the_sources_name() {
    for scenario in ["basic-10", "basic-14", "basic-18"] {
        let directory = pairs::unpack(scenario);
        let [target, source] =
            ["target", "source"].map(|side| Cluster::open(&directory.join(side)).catalogs());
        let truth = pairs::truth(scenario);
        let source_relations = truth["source_relations"].as_array().unwrap();
        let scrap = source_relations.iter().find(|r| r["name"] == "scrap").unwrap();
        let rel = rel_file(scrap["path"].as_str().unwrap(), &named(&truth["databases"]), "postgres");
        let both = Names::load(&target, Some(&source), None);
        assert_eq!(both.describe(rel), "postgres.app.scrap", "{scenario}");
        assert!(both.relations[&rel].from_source, "{scenario}");
        // TRUNCATE gave the table another file; the old one is still the table's
        let note =
            source_relations.iter().find(|r| r["name"] == "note" && r["database"] == "postgres").unwrap();
        let rel = rel_file(note["path"].as_str().unwrap(), &named(&truth["databases"]), "postgres");
        assert_eq!(both.describe(rel), "postgres.public.note", "{scenario}");
        assert!(both.relations[&rel].from_source, "{scenario}");
        // both sides gave the same number to different tables: the target's own name counts, made or dropped
        for name in ["lost_table", "lost_table_a"] {
            assert!(known(&both, "public", name), "{scenario} {name}");
        }
        // without the source the target's dead rows name it
        assert_eq!(Names::load(&target, None, None).describe(rel), "postgres.public.note", "{scenario}");
    }
}

#[test]
fn toast_tables_name_their_owners() {
    let directory = pairs::unpack("basic-18");
    let names = Names::load(&Cluster::open(&directory.join("target")).catalogs(), None, None);
    for relation in names.relations.values().filter(|r| r.schema == "pg_toast" && r.oid >= 16384) {
        assert!(relation.toast_of.is_some(), "{relation:?}");
    }
    let owner =
        |name: &str| names.relations.values().find(|r| r.name == name).and_then(|r| r.toast_of.clone());
    let doc = names.relations.values().find(|r| r.name == "doc").unwrap().oid;
    assert_eq!(owner(&format!("pg_toast_{doc}")).as_deref(), Some("app.doc"));
    assert_eq!(owner(&format!("pg_toast_{doc}_index")).as_deref(), Some("app.doc"));
    assert_eq!(owner("doc"), None);
}

/// A file that cannot be read costs its own names only, and is told.
#[test]
fn what_cannot_be_read_is_told() {
    let directory = tempfile::tempdir().unwrap();
    pairs::unpack_to("basic-18", directory.path());
    let target = directory.path().join("target");
    let shop = pairs::truth("basic-18")["databases"]
        .as_array()
        .unwrap()
        .iter()
        .find(|d| d["name"] == "shop")
        .unwrap()["oid"]
        .as_u64()
        .unwrap();
    let names = || Names::load(&Catalogs::on_disk(Cluster::open(&target).disk()), None, None);
    let of_shop =
        |names: &Names| names.relations.values().filter(|r| r.database.as_deref() == Some("shop")).count();
    let all = names();
    assert!(all.problems.is_empty() && of_shop(&all) > 100);

    let damage = |file: &str, at: usize| {
        let path = target.join(file);
        let mut bytes = fs::read(&path).unwrap();
        bytes[at] ^= 0xFF;
        fs::write(path, bytes).unwrap();
    };
    damage(&format!("base/{shop}/1259"), 19);
    let some = names();
    assert_eq!(some.problems.len(), 1, "{:?}", some.problems);
    assert!(some.problems[0].contains("block 0 of 1663/") && some.problems[0].contains("database shop"));
    assert!(of_shop(&some) > 50 && of_shop(&some) < of_shop(&all));

    fs::remove_file(target.join(format!("base/{shop}/1259"))).unwrap();
    let none = names();
    assert_eq!((none.problems.len(), of_shop(&none)), (1, 0), "{:?}", none.problems);
    assert!(none.problems[0].contains(&format!("base/{shop}/1259")), "{:?}", none.problems);
    assert_eq!(none.relations.len(), all.relations.len() - of_shop(&all));

    // a damaged map: the catalogs are where they were at first
    damage("global/pg_filenode.map", 30);
    damage("base/5/pg_filenode.map", 0);
    let guessed = names();
    assert_eq!(guessed.problems.len(), 3, "{:?}", guessed.problems);
    assert!(known(&guessed, "app", "doc"));

    fs::remove_file(target.join("global/1262")).unwrap();
    let nothing = names();
    assert!(nothing.relations.is_empty() && nothing.databases.is_empty());
    assert!(nothing.problems.iter().any(|p| p.contains("global/1262")), "{:?}", nothing.problems);
}

/// Every page of clusters with checksums carries the one that is computed.
#[test]
fn checksums_of_real_pages() {
    for scenario in ["basic-11", "basic-13", "basic-17", "basic-18", "basic-19"] {
        let target = pairs::unpack(scenario).join("target");
        let mut pages = 0;
        for database in fs::read_dir(target.join("base")).unwrap() {
            for file in fs::read_dir(database.unwrap().path()).unwrap().map(|e| e.unwrap()) {
                if !file.file_name().as_encoded_bytes()[0].is_ascii_digit() {
                    continue;
                }
                let bytes = fs::read(file.path()).unwrap();
                for (number, page) in bytes.as_chunks::<BLOCK_SIZE>().0.iter().enumerate() {
                    if page.iter().any(|byte| *byte != 0) {
                        let computed = checksum::of(page, number as u32);
                        assert_eq!(
                            page::stored_checksum(page),
                            computed,
                            "{} {number}",
                            file.path().display()
                        );
                        pages += 1;
                    }
                }
            }
        }
        assert!(pages > 1000, "{scenario}: {pages}");
    }
}

/// Hands a replay every record with some bytes changed.
struct Mutilate {
    replay: Replay,
    state: u64,
}

impl Mutilate {
    fn random(&mut self) -> usize {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize
    }
}

impl Sink for Mutilate {
    fn wants_whole(&self, rmid: u8, info: u8) -> bool {
        self.replay.wants_whole(rmid, info)
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        for _ in 0..4 {
            let mut bytes = record.bytes.to_vec();
            for _ in 0..=self.random() % 3 {
                let at = self.random() % bytes.len();
                bytes[at] = self.random() as u8;
            }
            // headers of blocks stay, mostly, or nothing would ever be followed
            let keep = if self.random().is_multiple_of(4) { 0 } else { bytes.len().min(50) };
            bytes[..keep].copy_from_slice(&record.bytes[..keep]);
            let end = if self.random().is_multiple_of(2) { Lsn::MAX } else { record.end };
            self.replay.apply(&Record { bytes: &bytes, end, ..*record });
        }
        self.replay.record(record)
    }
}

/// Damaged records may spoil names, but end nothing.
#[test]
fn damaged_records_never_panic() {
    for scenario in
        ["basic-10", "basic-14", "basic-16", "basic-18", "basic-19", "compress-zstd", "compress-lz4"]
    {
        let cluster = Cluster::open(&pairs::unpack(scenario).join("target"));
        let mut mutilate = Mutilate { replay: Replay::new(cluster.disk()), state: 1 };
        cluster.read_wal(Start::Record(cluster.oldest_redo()), &mut mutilate);
        let _ = mutilate.replay.needs_another_pass();
        let names = Names::load(&mutilate.replay.into_catalogs(), None, None);
        eprintln!("{scenario}: {} names, {} problems", names.relations.len(), names.problems.len());
    }
}

/// The row with the first file number was pruned; the number is the table's OID.
#[test]
fn a_pruned_row_is_not_needed_for_a_relations_first_file() {
    let target = Cluster::open(&pairs::unpack("basic-10").join("target")).catalogs();
    let truth = pairs::truth("basic-10");
    let db = named(&truth["databases"])["postgres"];
    let first = RelFile { spc: DEFAULT_TABLESPACE, db, rel: 16489 };
    let names = Names::load(&target, None, Some(&HashSet::from([first])));
    assert_eq!(names.describe(first), "postgres.public.lost_table");
    assert_eq!((names.relations[&first].oid, names.relations.len()), (16489, 1));
}

/// Every block reference in WAL, by relation.
struct Touched(Major, HashSet<RelFile>);

impl Sink for Touched {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        let decoded = record.decode(self.0).unwrap();
        self.1.extend(decoded.blocks.iter().map(|block| block.rel));
        true
    }
}

/// Relations of database `postgres` with their files as they are now: path of the file, name.
const FILES: &str = "SELECT pg_relation_filepath(c.oid), n.nspname || '.' || c.relname FROM pg_class c \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'i', 't', 'm', 'S') \
     AND c.relpersistence <> 't' AND pg_relation_filepath(c.oid) LIKE 'base/%'";

fn look(server: &Running, files: &mut BTreeMap<RelFile, String>) {
    for line in server.sql(FILES).lines() {
        let (path, name) = line.split_once('|').unwrap();
        let [_, db, rel] = path.split('/').collect::<Vec<_>>()[..] else { panic!("{path}") };
        let rel = RelFile { spc: DEFAULT_TABLESPACE, db: db.parse().unwrap(), rel: rel.parse().unwrap() };
        files.insert(rel, format!("postgres.{name}"));
    }
}

/// Rewriting a table gives it new files; the old ones, which WAL may have touched before, are still the table's.
#[test]
fn files_that_rewrites_left_behind_keep_their_names() {
    const TABLES: [&str; 6] = ["wide", "ordered", "altered", "cut", "gone", "rolled_back"];
    for major in ["15", "18"] {
        let Some(server) = common::installed().into_iter().find(|s| s.major == major && whole(s)) else {
            eprintln!("not installed: {major}");
            continue;
        };
        let target = Running::init(&server, &[("full_page_writes", "on")]);
        target.start();
        for table in TABLES {
            target.sql(&format!(
                "CREATE TABLE {table} (id int PRIMARY KEY, n int, body text);
                 ALTER TABLE {table} ALTER body SET STORAGE EXTERNAL;
                 INSERT INTO {table} SELECT g, g, repeat('x', 9000) FROM generate_series(1, 5) g;"
            ));
        }
        target.sql("CREATE MATERIALIZED VIEW seen AS SELECT * FROM wide; CREATE INDEX of_wide ON wide (n);");
        let source = target.standby();
        source.start();
        source.wait_for(&target);
        source.promote();
        target.sql("CHECKPOINT");
        let mut files = BTreeMap::new();
        look(&target, &mut files);
        let before = files.clone();
        for table in TABLES {
            target.sql(&format!("UPDATE {table} SET body = repeat('y', 9001), n = 7 WHERE id < 3"));
        }
        let steps = [
            "VACUUM FULL pg_class",
            "VACUUM FULL wide",
            "CLUSTER ordered USING ordered_pkey",
            "ALTER TABLE altered ALTER n TYPE bigint",
            "TRUNCATE cut",
            "REFRESH MATERIALIZED VIEW seen",
            "VACUUM FULL gone",
            "REINDEX TABLE altered",
            "REINDEX INDEX CONCURRENTLY of_wide",
            "BEGIN; ALTER TABLE rolled_back ALTER n TYPE bigint; ROLLBACK",
            "VACUUM FULL pg_proc",
            "VACUUM FULL pg_rewrite",
            "BEGIN; CREATE TABLE brief (n int, body text); INSERT INTO brief VALUES (1, repeat('z', 9000));
             ALTER TABLE brief ALTER n TYPE bigint; COMMIT",
            "INSERT INTO wide SELECT g, g, repeat('x', 9000) FROM generate_series(11, 15) g",
            "VACUUM FULL wide",
            "ALTER TABLE altered ALTER n TYPE int",
        ];
        for step in steps {
            target.sql(step);
            look(&target, &mut files);
        }
        target.sql("DROP TABLE gone");
        let mut now = BTreeMap::new();
        look(&target, &mut now);
        // given out on the target above, to other relations
        source.sql("CREATE TABLE elsewhere (n int PRIMARY KEY, body text); CREATE TABLE elsewhere_too (n int, body text)");
        target.stop(Mode::Fast);
        source.stop(Mode::Fast);

        let [mine, theirs] = [&target, &source].map(|side| Cluster::open(&side.pgdata()));
        let mut touched = Touched(mine.control.major, HashSet::new());
        mine.read_wal(Start::Record(mine.oldest_redo()), &mut touched);
        let touched = touched.1;
        let (mine, theirs) = (mine.catalogs(), theirs.catalogs());
        let both = Names::load_both(&mine, &theirs, &touched, &HashSet::new()).0;
        let alone = Names::load(&mine, None, Some(&touched));
        let mut wrong = Vec::new();
        for (what, names) in [("both", &both), ("alone", &alone)] {
            assert_eq!(names.problems, Vec::<String>::new());
            assert!(names.relations.keys().all(|rel| touched.contains(rel)));
            for rel in &touched {
                let (name, truth) = (names.relations.get(rel).map(|_| names.describe(*rel)), files.get(rel));
                // No trace is left of a file that is neither the first nor the last one once its rows are pruned.
                let needed = now.contains_key(rel) || (what == "both" && before.contains_key(rel));
                match (name, truth) {
                    (None, Some(truth)) if needed => wrong.push(format!("{what}: {rel} is not {truth}")),
                    (Some(name), Some(truth)) if name != *truth => {
                        wrong.push(format!("{what}: {rel} is {name}, not {truth}"));
                    }
                    (Some(name), None) if name.contains("pg_temp_") => {
                        wrong.push(format!("{what}: {rel} is {name}"));
                    }
                    _ => {}
                }
            }
        }
        assert!(wrong.is_empty(), "PostgreSQL {major}:\n{}", wrong.join("\n"));
        let left = |names: &Names| {
            before.keys().filter(|r| !now.contains_key(r) && names.relations.contains_key(r)).count()
        };
        eprintln!(
            "PostgreSQL {major}: {} touched; of those left behind {} are named, {} without the source",
            touched.len(),
            left(&both),
            left(&alone)
        );
        assert!(left(&both) > 20, "PostgreSQL {major}");
    }
}
