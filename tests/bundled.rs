//! The bundled pairs against what SQL, pg_rewind and pg_waldump said of them when they were captured.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "common/pairs.rs"]
mod pairs;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, OnceLock};

use forkpoint::diagnosis::engine::{Options, Progress, diagnose, facts};
use forkpoint::facts::{Facts, Loss, Relation};
use forkpoint::pg::{BLOCK_SIZE, Fork, Lsn, WalName};
use forkpoint::report::dto;
use forkpoint::scan::{EndKind, Xact, XactEnd};
use forkpoint::wal::rmgr;
use serde_json::Value;

fn facts_with(scenario: &str, threads: usize) -> Facts {
    let dir = pairs::unpack(scenario);
    let archive = dir.join("archive");
    let options = Options {
        target: dir.join("target"),
        source: dir.join("source"),
        archives: if archive.exists() { vec![archive] } else { Vec::new() },
        restore_command: None,
        threads,
        scan_source: true,
        blocks_only: false,
    };
    facts(&options, &Progress::default()).unwrap()
}

/// The facts of a bundled pair, found out once.
fn facts_of(scenario: &str) -> Arc<Facts> {
    type Known = Mutex<HashMap<String, Arc<OnceLock<Arc<Facts>>>>>;
    static KNOWN: LazyLock<Known> = LazyLock::new(Known::default);
    let known = KNOWN.lock().unwrap().entry(scenario.to_owned()).or_default().clone();
    known.get_or_init(|| Arc::new(facts_with(scenario, 2))).clone()
}

fn recorded(scenario: &str, file: &str) -> Option<String> {
    fs::read_to_string(pairs::testdata().join(scenario).join(file)).ok()
}

/// The two LSNs of a message like "servers diverged at WAL location 0/F0C968 on timeline 1".
fn told(text: &str, before: &str) -> Option<(Lsn, u32)> {
    let line = text.lines().find_map(|l| l.split_once(before))?.1;
    let (lsn, timeline) = line.trim().split_once(" on timeline ")?;
    Some((lsn.parse().unwrap(), timeline.trim().parse().unwrap()))
}

#[test]
fn divergence_and_checkpoint_are_pg_rewinds() {
    // where pg_rewind is known to be wrong, what is right instead
    let mut compared = 0;
    for scenario in pairs::scenarios() {
        let files = ["pg_rewind.txt", "pg_rewind-archive.txt", "pg_rewind-recovered.txt"];
        for text in files.iter().filter_map(|f| recorded(&scenario, f)) {
            if scenario.starts_with("twins") {
                continue;
            }
            let facts = facts_of(&scenario);
            if let Some((lsn, timeline)) = told(&text, "servers diverged at WAL location ") {
                let ours = facts.divergence.as_ref().unwrap();
                assert_eq!((ours.lsn, ours.timeline), (lsn, timeline), "{scenario}");
                let rewinds = !text.contains("no rewind required");
                assert_eq!(ours.pg_rewind, rewinds.then_some((lsn, timeline)), "{scenario}");
                compared += 1;
            }
            if let Some((lsn, timeline)) = told(&text, "rewinding from last common checkpoint at ") {
                let ours = facts.common_checkpoint.unwrap();
                assert_eq!((ours.lsn, ours.timeline), (lsn, timeline), "{scenario}");
                assert_eq!(facts.relation, Relation::Diverged, "{scenario}");
                compared += 1;
            }
            // pg_rewind judges a standby by what it replayed, and a pair with one timeline number not at all
            let excepted = ["standby-received-only", "rewound"].contains(&scenario.as_str());
            if text.contains("no rewind required") && !excepted {
                let follows = matches!(facts.relation, Relation::SamePosition | Relation::TargetBehind);
                assert!(follows, "{scenario}: {:?}", facts.relation);
                compared += 1;
            }
        }
    }
    assert!(compared >= 50, "{compared}");
}

#[test]
fn relations_of_the_pairs() {
    use Relation::{Diverged, SamePosition, TargetBehind};
    for (scenario, relation) in [
        ("switchover", TargetBehind),
        ("before-switchover", SamePosition),
        ("same-position", SamePosition),
        ("healthy-standby", TargetBehind),
        ("crashed-target", Diverged),
        ("standby-ahead", Diverged),
        ("standby-received-only", Diverged),
        ("cascade-1-2-3", Diverged),
        ("cascade-1-2-3b", Diverged),
        ("just-promoted", Diverged),
        ("half-rewound", Diverged),
        ("contrecord", Diverged),
        ("twins", Relation::Twins { timeline: 2 }),
        ("twins-middle", Relation::Twins { timeline: 2 }),
    ] {
        assert_eq!(facts_of(scenario).relation, relation, "{scenario}");
    }
}

#[test]
fn twins_part_at_the_first_record_of_the_timeline_that_both_claim() {
    for scenario in ["twins", "twins-middle"] {
        let facts = facts_of(scenario);
        let truth = pairs::truth(scenario);
        let switch: Lsn = truth["target_switch"][0]["lsn"].as_str().unwrap().parse().unwrap();
        let divergence = facts.divergence.as_ref().unwrap();
        assert_eq!(divergence.timeline, 1, "{scenario}");
        // CHECKPOINT_SHUTDOWN or END_OF_RECOVERY begins the timeline; both have the second it was made in or less
        assert!(
            divergence.lsn >= switch && divergence.lsn.since(switch) < 256,
            "{scenario} {}",
            divergence.lsn
        );
        assert!(facts.common_checkpoint.unwrap().lsn <= switch, "{scenario}");
    }
}

#[test]
fn just_promoted_source_is_on_its_new_timeline() {
    let facts = facts_of("just-promoted");
    assert_eq!(facts.source.control.checkpoint_copy.timeline, 1);
    assert_eq!(facts.source.lineage.timeline, 2);
}

/// `kind → number` as pg_waldump --stats=record prints them.
fn stats(text: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(count)) = (words.next(), words.next()) else { continue };
        if kind.contains('/')
            && let Ok(count) = count.parse()
        {
            counts.insert(kind.to_owned(), count);
        }
    }
    counts
}

#[test]
fn records_by_kind_are_pg_waldumps() {
    let mut compared = 0;
    for scenario in pairs::scenarios() {
        let Some(text) = recorded(&scenario, "waldump-target.stats") else { continue };
        let facts = facts_of(&scenario);
        let (Some(scan), Some(major)) = (&facts.target_scan, facts.major()) else { continue };
        let range = text.lines().find_map(|l| l.strip_prefix("WAL statistics between ")).unwrap_or_default();
        let (from, to) = range.trim_end_matches(':').split_once(" and ").unwrap_or_default();
        if from.parse() != Ok(scan.from) {
            continue; // pg_rewind named no checkpoint, or a wrong one, when this was recorded
        }
        assert_eq!(to.parse(), Ok(scan.to), "{scenario}");
        let ours: BTreeMap<String, u64> = scan
            .changes
            .kinds
            .iter()
            .map(|(kind, before, after)| {
                let op = rmgr::op_name(kind.rmid, kind.op, major).unwrap();
                (format!("{}/{op}", rmgr::name(kind.rmid)), before + after)
            })
            .collect();
        let mut theirs: BTreeMap<String, u64> = BTreeMap::new();
        for (kind, count) in stats(&text) {
            *theirs.entry(kind).or_default() += count;
        }
        assert_eq!(ours, theirs, "{scenario}");
        assert_eq!(scan.records, theirs.values().sum::<u64>(), "{scenario}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

#[test]
fn end_of_wal_is_told_as_pg_waldump_does() {
    let mut compared = 0;
    for scenario in pairs::scenarios() {
        let Some(text) = recorded(&scenario, "waldump-target.end") else { continue };
        let facts = facts_of(&scenario);
        let end = facts.target.end.as_ref().unwrap();
        let Some((_, message)) = text.trim().rsplit_once("error in WAL record at ") else { continue };
        let (last, message) = message.split_once(": ").unwrap();
        assert_eq!(end.message, message, "{scenario}");
        assert_eq!(Ok(end.last_record), last.parse(), "{scenario}");
        compared += 1;
    }
    assert!(compared >= 20, "{compared}");
}

/// Blocks that pg_rewind would copy, by path of the relation's file within the data directory.
fn pg_rewind_blocks(text: &str) -> BTreeSet<(String, u64)> {
    let mut blocks = BTreeSet::new();
    let mut path = String::new();
    for line in text.lines().map(|l| l.strip_prefix("pg_rewind: ").unwrap_or(l)) {
        if let Some(block) = line.trim().strip_prefix("block ") {
            blocks.insert((path.clone(), block.parse().unwrap()));
        } else if let Some((name, action)) = line.rsplit_once(" (")
            && action.ends_with(')')
        {
            name.clone_into(&mut path);
        }
    }
    blocks
}

/// What pg_rewind keeps of the changed blocks: those of main forks within files that both sides have.
fn filtered(facts: &Facts, dir: &Path) -> BTreeSet<(String, u64)> {
    let blocks_per_file = u64::from(facts.target.control.relation_segment_size);
    let version_dir = facts.target.control.version_dir();
    let mut kept = BTreeSet::new();
    for relation in &facts.target_scan.as_ref().unwrap().changes.relations {
        if relation.fork != Fork::Main {
            continue;
        }
        for block in [&relation.before, &relation.after].into_iter().flatten().flat_map(|c| c.blocks.iter()) {
            let (file, within) = (u64::from(block) / blocks_per_file, u64::from(block) % blocks_per_file);
            let mut path = relation.rel.path(Fork::Main, &version_dir);
            if file > 0 {
                path = format!("{path}.{file}");
            }
            let size = |side: &str| fs::metadata(dir.join(side).join(&path)).map_or(0, |m| m.len());
            if (within + 1) * BLOCK_SIZE as u64 <= size("target").min(size("source")) {
                kept.insert((path, u64::from(block)));
            }
        }
    }
    kept
}

#[test]
fn changed_blocks_are_pg_rewinds() {
    let mut compared = 0;
    // of twins pg_rewind compares the wrong stretch
    for scenario in pairs::scenarios().iter().filter(|s| !s.starts_with("twins")) {
        for file in ["pg_rewind.txt", "pg_rewind-archive.txt"] {
            let Some(text) = recorded(scenario, file) else { continue };
            if !text.contains("rewinding from last common checkpoint") || !text.contains("exit 0") {
                continue;
            }
            let facts = facts_of(scenario);
            let ours = filtered(&facts, &pairs::unpack(scenario));
            assert_eq!(ours, pg_rewind_blocks(&text), "{scenario}");
            assert!(!ours.is_empty(), "{scenario}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}

fn microseconds(time: &Value) -> i64 {
    let stamp: jiff::Timestamp = time.as_str().unwrap().parse().unwrap();
    stamp.as_microsecond() - 946_684_800_000_000
}

#[test]
fn lost_transactions_are_what_sql_recorded() {
    let mut compared = 0;
    for scenario in pairs::scenarios() {
        let truth = pairs::truth(&scenario);
        let facts = facts_of(&scenario);
        let Some(lost) = truth["lost"].as_array().filter(|l| !l.is_empty()) else { continue };
        if facts.target.end.as_ref().is_none_or(|e| e.last_record < facts.target.control.checkpoint) {
            continue; // a half-done pg_rewind has overwritten the WAL that would tell
        }
        if !matches!(facts.relation, Relation::Diverged | Relation::Twins { .. }) {
            continue;
        }
        let expected: Vec<(u64, i64)> = lost
            .iter()
            .filter(|t| t["kind"].as_str().unwrap().starts_with("commit"))
            .map(|t| (t["xid"].as_u64().unwrap(), microseconds(&t["commit_time"])))
            .collect();
        let commits: Vec<&Xact> = facts.transactions.iter().filter(|x| x.end.is_commit()).collect();
        let found: Vec<(u64, i64)> = commits.iter().map(|x| (u64::from(x.xid), x.time.unwrap())).collect();
        assert_eq!(found, expected, "{scenario}");
        if let Some(Loss::Commits { commits, first, last }) = facts.loss {
            assert_eq!(commits, expected.len() as u64, "{scenario}");
            assert_eq!(first, expected.iter().map(|t| t.1).min().unwrap(), "{scenario}");
            assert_eq!(last, expected.iter().map(|t| t.1).max().unwrap(), "{scenario}");
        } else {
            panic!("{scenario}: {:?}", facts.loss);
        }
        let prepared: BTreeSet<u64> = lost
            .iter()
            .filter(|t| t["kind"] == "prepare")
            .map(|t| t["xid"].as_u64().unwrap())
            .filter(|xid| !expected.iter().any(|e| e.0 == *xid))
            .collect();
        let left = facts.transactions.iter().filter(|x| x.end == XactEnd::Prepared);
        assert_eq!(left.map(|x| u64::from(x.xid)).collect::<BTreeSet<_>>(), prepared, "{scenario}");
        touched_tables(&scenario, &facts, lost, &commits);
        compared += 1;
    }
    assert!(compared >= 25, "{compared}");
}

/// Every table that a statement wrote to is among the relations of its transaction, by name.
fn touched_tables(scenario: &str, facts: &Facts, lost: &[Value], commits: &[&Xact]) {
    for transaction in lost {
        let sql = transaction["sql"].as_str().unwrap();
        if !["INSERT", "UPDATE", "DELETE", "SELECT nextval"].iter().any(|verb| sql.starts_with(verb)) {
            continue;
        }
        let Some(xact) = commits.iter().find(|x| u64::from(x.xid) == transaction["xid"]) else { continue };
        let touched: BTreeSet<String> = facts
            .relation_sets
            .get(xact.relations)
            .unwrap()
            .iter()
            .map(|&rel| facts.relation_name(rel))
            .collect();
        let database = transaction["database"].as_str().unwrap();
        for table in transaction["tables"].as_array().unwrap() {
            let name = format!("{database}.{}", table.as_str().unwrap());
            let known = touched.contains(&name);
            assert!(known, "{scenario} xid {}: {name} not in {touched:?}", xact.xid);
        }
    }
}

#[test]
fn nothing_is_lost_where_nothing_was_committed() {
    for scenario in ["switchover", "before-switchover", "same-position", "healthy-standby"] {
        assert_eq!(facts_of(scenario).loss, Some(Loss::Nothing), "{scenario}");
    }
    assert_eq!(facts_of("maintenance-only").loss, Some(Loss::MaintenanceOnly));
    // the target's own WAL was overwritten by the interrupted pg_rewind
    assert!(matches!(facts_of("half-rewound").loss, Some(Loss::AtLeast { .. })));
}

#[test]
fn the_wal_needed_starts_at_the_oldest_of_three_redo_pointers() {
    let facts = facts_of("restartpoint-behind");
    let truth = pairs::truth("restartpoint-behind");
    let follow = facts.wal.follow.as_ref().unwrap();
    assert_eq!(follow.from, facts.target.control.checkpoint_copy.redo);
    let common = facts.common_checkpoint.unwrap();
    assert!(follow.from < common.redo, "{} {}", follow.from, common.redo);
    assert_eq!(truth["restartpoint"].as_str().map(str::parse), Some(Ok(facts.target.control.checkpoint)));
}

#[test]
fn missing_segments_are_found_in_the_archive_and_without_it_all_holes_are_named_at_once() {
    let with = facts_of("recycled-archive");
    assert_eq!(with.wal.find_blocks.as_ref().unwrap().holes().count(), 0);
    let dir = pairs::unpack("recycled-archive");
    let options = Options {
        target: dir.join("target"),
        source: dir.join("source"),
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    };
    let without = facts(&options, &Progress::default()).unwrap();
    let truth = pairs::truth("recycled-archive");
    let only: BTreeSet<&str> =
        truth["wal_only_in_archive"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
    let holes = without.wal.find_blocks.unwrap();
    let holes: BTreeSet<&str> = holes.holes().map(|s| s.name.as_str()).collect();
    assert!(!holes.is_empty() && holes.is_subset(&only), "{holes:?} {only:?}");
}

#[test]
fn several_readers_find_what_one_finds() {
    for scenario in ["basic-18", "recycled-archive", "contrecord"] {
        let (one, many) = (facts_with(scenario, 1), facts_with(scenario, 4));
        assert_eq!(one.transactions, many.transactions, "{scenario}");
        assert_eq!(one.target.end, many.target.end, "{scenario}");
        let blocks = |f: &Facts| format!("{:?}", f.target_scan.as_ref().unwrap().changes);
        assert_eq!(blocks(&one), blocks(&many), "{scenario}");
    }
}

#[test]
fn ends_are_clean_where_servers_were_stopped_or_killed() {
    for scenario in pairs::scenarios() {
        let facts = facts_of(&scenario);
        for side in [&facts.target, &facts.source] {
            let end = side.end.as_ref().unwrap();
            let normal = matches!(end.kind, EndKind::Zeros | EndKind::Recycled | EndKind::Torn);
            assert!(normal, "{scenario} {:?}: {end:?}", side.role);
        }
    }
}

#[test]
fn a_killed_primary_without_its_last_segment_is_never_told_to_follow() {
    let dir = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    pairs::unpack_to("crashed-target", dir.path());
    let whole = facts_of("crashed-target");
    let (divergence, size) = (whole.divergence.as_ref().unwrap().lsn, whole.target.segment_size);
    // everything from the divergence on is gone, and what is left looks like a clean end on common ground
    let wal = dir.path().join("target/pg_wal");
    for entry in fs::read_dir(&wal).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if matches!(WalName::parse(&name, size), Some(WalName::Segment(_, segno)) if segno >= size.segno(divergence))
        {
            fs::remove_file(path).unwrap();
        }
    }
    let options = Options {
        target: dir.path().join("target"),
        source: dir.path().join("source"),
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    };
    let facts = facts(&options, &Progress::default()).unwrap();
    assert!(facts.target.end.as_ref().is_none_or(|end| !end.complete), "{:?}", facts.target.end);
    assert!(
        !matches!(facts.relation, Relation::TargetBehind | Relation::SamePosition),
        "{:?}",
        facts.relation
    );
    assert!(!matches!(facts.loss, Some(Loss::Nothing)), "{:?}", facts.loss);
}

#[test]
fn reports_of_every_pair_fit_the_schema() {
    let schema = serde_json::to_value(dto::schema::<dto::Report<'_>>()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        let options = Options {
            target: dir.join("target"),
            source: dir.join("source"),
            archives: Some(dir.join("archive")).filter(|a| a.exists()).into_iter().collect(),
            restore_command: None,
            threads: 1,
            scan_source: true,
            blocks_only: false,
        };
        let diagnosis = diagnose(&options, &Progress::default()).unwrap();
        let value = serde_json::to_value(dto::Report::from(&diagnosis)).unwrap();
        let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
        assert!(errors.is_empty(), "{scenario}: {errors:#?}");
    }
}
