//! Real failovers on real servers, and forkpoint's report of them held against pg_rewind, pg_waldump and SQL.
//!
//! A major that is not installed is skipped with a line on stderr, unless `FORKPOINT_EXPECT_MAJORS` ("13 15") names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::cluster::{Cluster, Mode, Session, snapshot};
use common::majors::{MAJORS, say, server, told};
use common::{Server, other_user};
use serde_json::Value;

macro_rules! on_every_major {
    ($($module:ident $major:literal),*) => { $(
        mod $module {
            fn on(test: fn(&super::Server)) {
                if let Some(server) = super::server($major) {
                    test(&server);
                }
            }
            #[test]
            fn failover() {
                on(super::failover);
            }
            #[test]
            fn crashed_target() {
                on(super::crashed_target);
            }
            #[test]
            fn three_timelines() {
                on(super::three_timelines);
            }
            #[test]
            fn switchover() {
                on(super::switchover);
            }
        }
    )* };
}
on_every_major!(pg13 "13", pg15 "15", pg16 "16", pg17 "17", pg18 "18", pg19 "19");

#[test]
fn majors() {
    told("live tests");
}

// ---- mismatches ----

/// Collects what differs, so that one run shows everything.
struct Differences {
    what: String,
    found: Vec<String>,
}

impl Differences {
    fn new(server: &Server, what: &str) -> Self {
        Self { what: format!("PostgreSQL {}, {what}", server.major), found: Vec::new() }
    }

    fn add(&mut self, text: String) {
        self.found.push(text);
    }

    #[allow(clippy::needless_pass_by_value, reason = "so that callers can write values")]
    fn same<T: PartialEq + Debug>(&mut self, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.add(format!("{what}: forkpoint {ours:?}, expected {theirs:?}"));
        }
    }

    fn same_set<T: Ord + Debug>(&mut self, what: &str, ours: &BTreeSet<T>, theirs: &BTreeSet<T>) {
        let (more, fewer): (Vec<_>, Vec<_>) =
            (ours.difference(theirs).collect(), theirs.difference(ours).collect());
        if !more.is_empty() || !fewer.is_empty() {
            let (m, f) = (more.len(), fewer.len());
            let (more, fewer) = (&more[..m.min(12)], &fewer[..f.min(12)]);
            self.add(format!(
                "{what}: {m} only by forkpoint {more:?}, {f} missed {fewer:?} (of {})",
                theirs.len()
            ));
        }
    }

    fn same_map<K: Ord + Debug + Clone, V: Eq + Debug>(
        &mut self,
        what: &str,
        ours: &BTreeMap<K, V>,
        theirs: &BTreeMap<K, V>,
    ) {
        for key in ours.keys().chain(theirs.keys()).cloned().collect::<BTreeSet<_>>() {
            let (our, their) = (ours.get(&key), theirs.get(&key));
            if our != their {
                self.add(format!("{what} {key:?}: forkpoint {our:?}, expected {their:?}"));
            }
        }
    }

    fn none(self) {
        assert!(self.found.is_empty(), "{}:\n  {}", self.what, self.found.join("\n  "));
    }
}

// ---- forkpoint ----

fn forkpoint(args: &[&str], target: &Path, source: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("report").arg(target).arg(source).args(args).stdin(Stdio::null()).output().expect("forkpoint")
}

fn report(target: &Path, source: &Path, differ: &mut Differences) -> Value {
    let output = forkpoint(&["--format", "json", "--threads", "2"], target, source);
    let said = String::from_utf8_lossy(&output.stderr);
    differ.same("exit status", output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    let one = forkpoint(&["--format", "json", "--threads", "1"], target, source);
    let one: Value = serde_json::from_slice(&one.stdout).expect("JSON");
    for (name, ours) in report.as_object().into_iter().flatten() {
        // free space is another the next moment
        if one[name] != *ours && name != "target_space" {
            let first = first_difference(&one[name], ours, name);
            differ.add(format!("the number of threads changes the report: {first}"));
        }
    }
    report
}

/// The first place in which two values of one name differ.
fn first_difference(one: &Value, other: &Value, at: &str) -> String {
    match (one, other) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys())
            .find(|k| a.get(*k) != b.get(*k))
            .map(|k| first_difference(&one[k], &other[k], &format!("{at}.{k}")))
            .unwrap_or_default(),
        (Value::Array(a), Value::Array(b)) => match a.iter().zip(b).position(|(x, y)| x != y) {
            Some(i) => first_difference(&a[i], &b[i], &format!("{at}[{i}]")),
            None => format!("{at}: {} items with one thread, {} with two", a.len(), b.len()),
        },
        _ => format!("{at}: {one} with one thread, {other} with two"),
    }
}

fn lsn(text: &str) -> u64 {
    let (high, low) = text.split_once('/').unwrap_or_else(|| panic!("no LSN: {text:?}"));
    let part = |t| u64::from_str_radix(t, 16).unwrap_or_else(|_| panic!("no LSN: {text:?}"));
    part(high) << 32 | part(low)
}

fn lsn_of(value: &Value) -> Option<u64> {
    value.as_str().map(lsn)
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn records_by_kind(scan: &Value) -> BTreeMap<String, u64> {
    items(&scan["kinds"])
        .map(|k| {
            let name = k["operation"].as_str().map_or_else(
                || format!("UNKNOWN ({:x})", k["info"].as_u64().unwrap_or_default()),
                str::to_owned,
            );
            let count = k["before"].as_u64().unwrap_or_default() + k["after"].as_u64().unwrap_or_default();
            (format!("{}/{name}", text_of(&k["rmgr"])), count)
        })
        .filter(|k| k.1 > 0)
        .collect()
}

/// Main-fork blocks by segment file, in both directories and within both files: what pg_rewind prints.
fn blocks_as_pg_rewind_has_them(report: &Value, target: &Path, source: &Path) -> BTreeSet<(String, u64)> {
    const SEGMENT: u64 = 131_072;
    let mut blocks = BTreeSet::new();
    for relation in items(&report["target_changes"]["relations"]).filter(|r| r["fork"] == "main") {
        let path = text_of(&relation["path"]);
        for range in ["before", "after"].into_iter().flat_map(|when| items(&relation[when]["ranges"])) {
            for block in range[0].as_u64().unwrap()..=range[1].as_u64().unwrap() {
                let file = if block < SEGMENT { path.clone() } else { format!("{path}.{}", block / SEGMENT) };
                let within = block % SEGMENT;
                let fits =
                    |root: &Path| root.join(&file).metadata().is_ok_and(|m| (within + 1) * 8192 <= m.len());
                if fits(target) && fits(source) {
                    blocks.insert((file, within));
                }
            }
        }
    }
    blocks
}

// ---- the peers ----

/// What `pg_rewind --dry-run --debug` prints.
#[derive(Debug)]
struct Rewind {
    divergence: Option<(u64, u64)>,
    checkpoint: Option<(u64, u64)>,
    needed: bool,
    blocks: BTreeSet<(String, u64)>,
}

fn pg_rewind(cluster: &Cluster, target: &Path, source: &Path) -> Rewind {
    let mut command = cluster.command("pg_rewind");
    command.args(["--dry-run", "--debug", "--target-pgdata"]).arg(target).arg("--source-pgdata").arg(source);
    let output = command.output().expect("pg_rewind");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "PostgreSQL {}: pg_rewind: {text}", cluster.server().major);
    let place = |start: &str| {
        let rest = text.lines().find_map(|l| l.split_once(start))?.1;
        let (at, timeline) = rest.split_once(" on timeline ")?;
        Some((lsn(at), timeline.trim().parse().ok()?))
    };
    let (mut blocks, mut file) = (BTreeSet::new(), String::new());
    for line in text.lines() {
        let line = line.trim_start_matches("pg_rewind:").trim().trim_start_matches("debug: ").trim();
        if let Some(block) = line.strip_prefix("block ").and_then(|b| b.parse().ok()) {
            blocks.insert((file.clone(), block));
        } else if let Some((path, _)) = line.rsplit_once(" (") {
            path.clone_into(&mut file);
        }
    }
    Rewind {
        divergence: place("servers diverged at WAL location "),
        checkpoint: place("rewinding from last common checkpoint at "),
        needed: !text.contains("no rewind required"),
        blocks,
    }
}

/// Records by kind of a range of one timeline, and what pg_waldump says at its end.
fn pg_waldump(
    server: &Server,
    data: &Path,
    timeline: u64,
    from: u64,
    to: Option<u64>,
) -> (BTreeMap<String, u64>, String) {
    let show = |lsn: u64| format!("{:X}/{:X}", lsn >> 32, lsn & 0xFFFF_FFFF);
    let mut command = Command::new(server.bin.join("pg_waldump"));
    command.env("LC_ALL", "C").arg("--stats=record").arg("-p").arg(data.join("pg_wal"));
    command.args(["-t", &timeline.to_string(), "-s", &show(from)]);
    if let Some(to) = to {
        command.args(["-e", &show(to)]);
    }
    let output = command.output().expect("pg_waldump");
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    // where WAL ends with a segment, it gives up without its statistics: have it stop there
    if let Some((_, rest)) = said.split_once("could not find file \"").filter(|_| to.is_none()) {
        let segno = rest.get(8..24).and_then(|n| {
            Some(u64::from_str_radix(&n[..8], 16).ok()? << 12 | u64::from_str_radix(&n[8..], 16).ok()?)
        });
        let end = segno.expect("a segment's name") << 20;
        return (pg_waldump(server, data, timeline, from, Some(end)).0, said);
    }
    let mut kinds = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((kind, count)) =
            line.split_once(" (").and_then(|(start, _)| start.trim_end().rsplit_once(' '))
        else {
            continue;
        };
        if let Ok(count) = count.parse::<u64>()
            && kind.contains('/')
        {
            *kinds.entry(kind.trim().to_owned()).or_default() += count;
        }
    }
    (kinds, said)
}

/// The same over every timeline of a side from `from` to its end; the message is that of the last one.
fn pg_waldump_of_side(
    server: &Server,
    data: &Path,
    side: &Value,
    from: u64,
) -> (BTreeMap<String, u64>, String) {
    let (mut kinds, mut message) = (BTreeMap::new(), String::new());
    for entry in items(&side["lineage"]) {
        let (begin, end) = (lsn_of(&entry["begin"]).unwrap_or(0).max(from), lsn_of(&entry["end"]));
        if end.is_some_and(|end| end <= begin) {
            continue;
        }
        let (more, said) = pg_waldump(server, data, entry["timeline"].as_u64().unwrap(), begin, end);
        for (kind, count) in more {
            *kinds.entry(kind).or_default() += count;
        }
        message = said;
    }
    (kinds, message)
}

// ---- what SQL says ----

/// A transaction as the session saw it.
#[derive(Debug, Clone)]
struct Recorded {
    xid: u64,
    tables: BTreeSet<String>,
}

/// What the old primary said before it stopped.
#[derive(Debug, Default)]
struct Truth {
    /// Commit time in microseconds since 1970 of every top-level transaction that committed after the divergence.
    committed: BTreeMap<u64, i64>,
    aborted: BTreeSet<u64>,
    /// Subtransactions. What was rolled back to a savepoint left a record of its own, and nothing in WAL says whose
    /// it was: it may count as a transaction that was rolled back.
    subtransactions: BTreeSet<u64>,
    prepared: BTreeMap<String, u64>,
    in_progress: Option<u64>,
    recorded: Vec<Recorded>,
    /// Database OID and file number to schema, name, kind, persistence, OID and the table that a TOAST table is of.
    names: BTreeMap<(u64, u64), [String; 6]>,
    tables: BTreeSet<String>,
}

const TOUCHED: &str = "SELECT 'xid', txid_current();
    SELECT 'table', relname FROM pg_stat_xact_user_tables
     WHERE schemaname = 'public' AND n_tup_ins + n_tup_upd + n_tup_del > 0;";

/// Runs a transaction and has the server say which it was and what it touched.
fn transaction(cluster: &Cluster, text: &str, end: &str) -> Recorded {
    let said = cluster.sql(&format!("BEGIN; {text}; {TOUCHED} {end};"));
    let mut recorded = Recorded { xid: 0, tables: BTreeSet::new() };
    for line in said.lines() {
        match line.split_once('|') {
            Some(("xid", xid)) => recorded.xid = xid.parse().unwrap(),
            Some(("table", table)) => drop(recorded.tables.insert(table.to_owned())),
            _ => {}
        }
    }
    recorded
}

fn next_xid(cluster: &Cluster) -> u64 {
    cluster.sql("SELECT txid_snapshot_xmax(txid_current_snapshot())").parse().unwrap()
}

fn names(cluster: &Cluster) -> BTreeMap<(u64, u64), [String; 6]> {
    let mut names = BTreeMap::new();
    for row in cluster.sql("SELECT datname, oid FROM pg_database WHERE datallowconn").lines() {
        let (database, oid) = row.split_once('|').unwrap();
        let rows = cluster.sql_in(
            database,
            "SELECT c.relisshared, pg_relation_filenode(c.oid), n.nspname, c.relname, c.relkind, c.relpersistence, c.oid,
                    coalesce(tn.nspname || '.' || t.relname, '')
               FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               LEFT JOIN pg_index i ON i.indexrelid = c.oid AND n.nspname = 'pg_toast'
               LEFT JOIN pg_class t ON t.reltoastrelid = coalesce(i.indrelid, c.oid)
               LEFT JOIN pg_namespace tn ON tn.oid = t.relnamespace
              WHERE pg_relation_filenode(c.oid) IS NOT NULL",
        );
        for row in rows.lines() {
            let f: Vec<&str> = row.split('|').collect();
            let database = if f[0] == "t" { 0 } else { oid.parse().unwrap() };
            names.insert((database, f[1].parse().unwrap()), [2, 3, 4, 5, 6, 7].map(|i| f[i].to_owned()));
        }
    }
    names
}

impl Truth {
    /// Asks the server, just before it stops: transactions from `first` on, and those of `earlier`, committed after
    /// the divergence, except subtransactions.
    fn ask(&mut self, cluster: &Cluster, first: u64, earlier: &[u64]) {
        let mut xids: Vec<u64> = (first..next_xid(cluster)).chain(earlier.iter().copied()).collect();
        xids.retain(|x| !self.subtransactions.contains(x));
        let list = xids.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
        let rows = cluster.sql(&format!(
            "SELECT x, (extract(epoch FROM pg_xact_commit_timestamp(x::text::xid)) * 1000000)::bigint, txid_status(x)
               FROM unnest(ARRAY[{list}]::bigint[]) x"
        ));
        for row in rows.lines() {
            let f: Vec<&str> = row.split('|').collect();
            let xid = f[0].parse().unwrap();
            match (f[1].parse(), f[2]) {
                (Ok(time), _) => drop(self.committed.insert(xid, time)),
                (_, "aborted") => drop(self.aborted.insert(xid)),
                _ => {}
            }
        }
        for row in cluster.sql("SELECT gid, transaction FROM pg_prepared_xacts").lines() {
            let (gid, xid) = row.split_once('|').unwrap();
            self.prepared.insert(gid.to_owned(), xid.parse().unwrap());
        }
        self.names = names(cluster);
        self.tables =
            self.names.values().filter(|n| n[0] == "public" && n[2] == "r").map(|n| n[1].clone()).collect();
    }
}

// ---- the comparison ----

/// Holds a report against pg_rewind and pg_waldump. `rewindable` is the target where it is cleanly stopped, else a copy
/// of it that went through crash recovery.
fn compare(
    cluster: &Cluster,
    target: &Path,
    rewindable: &Path,
    source: &Path,
    what: &str,
) -> (Value, Differences) {
    let mut differ = Differences::new(cluster.server(), what);
    let report = report(target, source, &mut differ);
    let rewind = pg_rewind(cluster, rewindable, source);

    let action = text_of(&report["verdict"]["action"]);
    let (wants, refuses) = (action == "rewind", ["follow", "same"].contains(&action.as_str()));
    if wants != rewind.needed || refuses == rewind.needed {
        differ.add(format!("verdict {:?}, pg_rewind: {}", report["verdict"]["line"], rewind.needed));
    }
    if let Some((at, timeline)) = rewind.divergence {
        let place = |p: &Value| lsn_of(&p["lsn"]).zip(p["timeline"].as_u64());
        differ.same("divergence", place(&report["divergence"]), Some((at, timeline)));
        let theirs = place(&report["divergence"]["pg_rewind"]);
        if rewind.needed || theirs.is_some() {
            differ.same("divergence as pg_rewind has it", theirs, Some((at, timeline)));
        }
    }
    if let Some((at, timeline)) = rewind.checkpoint {
        let ours = &report["last_common_checkpoint"];
        differ.same(
            "last common checkpoint",
            (lsn_of(&ours["lsn"]), ours["timeline"].as_u64()),
            (Some(at), Some(timeline)),
        );
    }
    if rewind.needed {
        let ours = blocks_as_pg_rewind_has_them(&report, rewindable, source);
        differ.same_set("blocks", &ours, &rewind.blocks);
        assert!(rewind.blocks.len() > 3, "pg_rewind would copy no blocks: a poor test");
    }
    let server = cluster.server();
    for (side, changes, data) in [("target", "target_changes", target), ("source", "source_changes", source)]
    {
        let Some(from) = lsn_of(&report[changes]["from"]) else {
            if rewind.needed {
                differ.add(format!("{changes} is missing"));
            }
            continue;
        };
        let (kinds, message) = pg_waldump_of_side(server, data, &report[side], from);
        differ.same_map(&format!("records of the {side}"), &records_by_kind(&report[changes]), &kinds);
        differ.same(
            &format!("number of records of the {side}"),
            report[changes]["records"].as_u64(),
            Some(kinds.values().sum()),
        );
        let ours = text_of(&report[side]["end_of_wal"]["message"]);
        // behind a file that is missing stands the system's word for it
        let theirs = message.trim_end_matches(": No such file or directory");
        if ours.is_empty() || !theirs.ends_with(&ours) {
            differ.add(format!("end of the {side}'s WAL: forkpoint {ours:?}, pg_waldump {message:?}"));
        }
    }
    if items(&report["unseen"]).count() > 0 {
        differ.add(format!("unseen: {}", report["unseen"]));
    }
    for finding in items(&report["findings"]) {
        say(&format!("    {} {} {}", differ.what, finding["code"], finding["title"]));
    }
    (report, differ)
}

fn microseconds(value: &Value) -> Option<i64> {
    let time: jiff::Timestamp = value.as_str()?.parse().ok()?;
    Some(time.as_microsecond())
}

/// Holds a report against what SQL said.
fn compare_with_sql(report: &Value, truth: &Truth, differ: &mut Differences) {
    let transactions: BTreeMap<u64, &Value> =
        items(&report["transactions"]).map(|t| (t["xid"].as_u64().unwrap(), t)).collect();
    let lost: BTreeMap<u64, i64> = transactions
        .iter()
        .filter(|(_, t)| t["lost"] == true)
        .map(|(&xid, t)| (xid, microseconds(&t["time"]).unwrap_or_default()))
        .collect();
    differ.same_map("commit time of transaction", &lost, &truth.committed);
    let commits = truth.committed.len() as u64;
    differ.same("lost commits", report["verdict"]["lost_commits"].as_u64(), Some(commits));
    differ.same("commits of the loss", report["loss"]["commits"].as_u64(), Some(commits));
    differ.same(
        "first commit",
        microseconds(&report["loss"]["first"]),
        truth.committed.values().min().copied(),
    );
    differ.same(
        "last commit",
        microseconds(&report["loss"]["last"]),
        truth.committed.values().max().copied(),
    );
    let ends = |wanted: &[&str]| {
        transactions
            .iter()
            .filter(|(_, t)| wanted.contains(&t["end"].as_str().unwrap_or_default()))
            .map(|(&xid, _)| xid)
            .collect::<BTreeSet<u64>>()
    };
    let aborted = ends(&["aborted", "aborted_prepared"]);
    differ.same_set(
        "aborted transactions",
        &aborted.difference(&truth.subtransactions).copied().collect(),
        &truth.aborted,
    );
    differ.same_set(
        "prepared transactions",
        &ends(&["prepared"]),
        &truth.prepared.values().copied().collect(),
    );
    differ.same_set("open transactions", &ends(&["in_progress"]), &truth.in_progress.into_iter().collect());
    for (gid, xid) in &truth.prepared {
        differ.same("gid", transactions.get(xid).map(|t| text_of(&t["gid"])), Some(gid.clone()));
    }
    for recorded in &truth.recorded {
        let Some(ours) = transactions.get(&recorded.xid) else {
            differ.add(format!("transaction {} is missing", recorded.xid));
            continue;
        };
        let tables = items(&ours["relations"])
            .filter_map(|r| r["name"].as_str()?.strip_prefix("postgres.public."))
            .filter(|name| truth.tables.contains(*name))
            .map(str::to_owned)
            .collect::<BTreeSet<_>>();
        let theirs = recorded.tables.intersection(&truth.tables).cloned().collect();
        differ.same_set(&format!("tables of transaction {}", recorded.xid), &tables, &theirs);
    }
    let mut named = 0;
    for relation in items(&report["target_changes"]["relations"]) {
        let file = text_of(&relation["file"]);
        let number = file.rsplit('/').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let Some(theirs) = truth.names.get(&(relation["database_oid"].as_u64().unwrap(), number)) else {
            continue;
        };
        let ours = [
            text_of(&relation["schema"]),
            text_of(&relation["name"]),
            text_of(&relation["relkind"]),
            text_of(&relation["persistence"]),
            relation["oid"].as_u64().map(|o| o.to_string()).unwrap_or_default(),
            text_of(&relation["toast_of"]),
        ];
        differ.same(&format!("name of {file}"), &ours, theirs);
        named += 1;
    }
    if named < 20 {
        differ.add(format!("only {named} relations have a name in SQL: a poor test"));
    }
}

// ---- the clusters ----

const SETTINGS: &[(&str, &str)] = &[("track_commit_timestamp", "on"), ("max_prepared_transactions", "10")];

const SCHEMA: &str = "
    CREATE TABLE plain (id int, t text);
    CREATE TABLE keyed (id bigint PRIMARY KEY, t text, n int, tags int[], place point, at timestamptz DEFAULT now());
    CREATE INDEX keyed_hash ON keyed USING hash (n);
    CREATE INDEX keyed_gin ON keyed USING gin (tags);
    CREATE INDEX keyed_gist ON keyed USING gist (place);
    CREATE INDEX keyed_spgist ON keyed USING spgist (place);
    CREATE INDEX keyed_brin ON keyed USING brin (at);
    CREATE INDEX keyed_text ON keyed (t, n DESC) WHERE n > 5;
    CREATE TABLE wide (id serial PRIMARY KEY, body text);
    ALTER TABLE wide ALTER body SET STORAGE EXTERNAL;
    CREATE TABLE doomed AS SELECT generate_series(1, 2000) AS i;
    CREATE TABLE emptied AS SELECT generate_series(1, 2000) AS i;
    CREATE TABLE tail AS SELECT generate_series(1, 20000) AS i;
    CREATE UNLOGGED TABLE fleeting (i int PRIMARY KEY);
    CREATE TABLE parts (k int, v text) PARTITION BY LIST (k);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE parts_2 PARTITION OF parts FOR VALUES IN (2);
    CREATE TABLE pending (gid text);
    CREATE TABLE held (i int);
    CREATE MATERIALIZED VIEW summary AS SELECT count(*) AS n FROM keyed;
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE SCHEMA \"Odd Schema\";
    CREATE TABLE \"Odd Schema\".\"Strange \"\"name\"\"\" (i int);
    CREATE SEQUENCE counter;";

const ROWS: &str =
    "INSERT INTO keyed SELECT i, md5(i::text), i % 50, ARRAY[i % 7, i % 11], point(i % 97, i % 89)
      FROM generate_series({from}, {to}) i";

fn rows(from: u32, to: u32) -> String {
    ROWS.replace("{from}", &from.to_string()).replace("{to}", &to.to_string())
}

/// A primary with data, a standby that has replayed everything; both run.
fn primary_and_standby(server: &Server) -> (Cluster, Cluster) {
    let primary = Cluster::init(server, SETTINGS);
    primary.start();
    primary.sql(SCHEMA);
    primary.sql("CREATE DATABASE other");
    primary.sql_in("other", "CREATE TABLE over_there (i int PRIMARY KEY, t text)");
    primary.sql(&rows(1, 1500));
    primary.sql(
        "INSERT INTO wide (body) SELECT repeat(md5(i::text), 300) FROM generate_series(1, 20) i; ANALYZE",
    );
    let standby = primary.standby();
    standby.start();
    // the last common checkpoint, and changes between it and the divergence
    primary.sql("CHECKPOINT");
    primary.sql(&rows(1501, 1800));
    primary.sql("UPDATE keyed SET n = n + 1 WHERE id < 50; INSERT INTO plain SELECT i, 'before' FROM generate_series(1, 300) i");
    (primary, standby)
}

/// The old primary goes on after the divergence: everything that leaves other traces in the WAL.
fn goes_on(old: &Cluster, truth: &mut Truth) {
    let committed = [
        rows(2001, 2400),
        "UPDATE keyed SET t = t || 'x', n = n + 100 WHERE id BETWEEN 100 AND 200".into(),
        "DELETE FROM keyed WHERE id BETWEEN 300 AND 350; INSERT INTO plain VALUES (7, 'seven')".into(),
        "INSERT INTO wide (body) SELECT repeat(md5(i::text), 400) FROM generate_series(1, 10) i".into(),
        "INSERT INTO parts SELECT 1 + i % 2, 'p' FROM generate_series(1, 100) i".into(),
        "INSERT INTO \"Odd Schema\".\"Strange \"\"name\"\"\" VALUES (1)".into(),
    ];
    for text in &committed {
        truth.recorded.push(transaction(old, text, "COMMIT"));
    }
    old.sql("CHECKPOINT");
    // subtransactions: released, rolled back, and nested
    let savepoints = "INSERT INTO plain VALUES (1, 'top'); SAVEPOINT a; INSERT INTO plain VALUES (2, 'a'); \
         SAVEPOINT b; INSERT INTO plain VALUES (3, 'b'); ROLLBACK TO b; RELEASE a; SAVEPOINT c; UPDATE plain SET t = 'c' WHERE id = 7";
    let before = next_xid(old);
    let recorded = transaction(old, savepoints, "COMMIT");
    truth.subtransactions.extend((before..next_xid(old)).filter(|&x| x != recorded.xid));
    truth.recorded.push(recorded);
    // more subtransactions than an entry of the process array holds, so that XACT_ASSIGNMENT is written
    let many = (1..90).fold("INSERT INTO held VALUES (0)".to_owned(), |mut text, i| {
        write!(text, "; SAVEPOINT s{i}; INSERT INTO held VALUES ({i})").unwrap();
        text
    });
    let before = next_xid(old);
    let recorded = transaction(old, &many, "COMMIT");
    truth.subtransactions.extend((before..next_xid(old)).filter(|&x| x != recorded.xid));
    truth.recorded.push(recorded);

    truth.recorded.push(transaction(
        old,
        "INSERT INTO plain SELECT i, 'gone' FROM generate_series(1, 50) i",
        "ROLLBACK",
    ));
    old.sql("CREATE TABLE made (id int PRIMARY KEY, t text); INSERT INTO made SELECT i, 'm' FROM generate_series(1, 500) i");
    old.sql("DROP TABLE doomed");
    old.sql("TRUNCATE emptied");
    old.sql("INSERT INTO emptied SELECT generate_series(1, 10)");
    old.sql("DELETE FROM tail WHERE i > 300");
    old.sql("VACUUM tail");
    old.sql("INSERT INTO fleeting SELECT generate_series(1, 100)");
    old.sql("REFRESH MATERIALIZED VIEW summary");
    old.sql("CREATE INDEX made_later ON plain (t)");
    old.sql("ALTER TYPE mood ADD VALUE 'happy'");
    old.sql("ALTER TABLE emptied ADD COLUMN more int DEFAULT 5");
    old.sql("SELECT nextval('counter') FROM generate_series(1, 40)");
    old.sql("CREATE TABLE briefly (i int); INSERT INTO briefly SELECT generate_series(1, 400); DROP TABLE briefly");
    old.sql_in("other", "INSERT INTO over_there SELECT i, 'o' FROM generate_series(1, 300) i");
    old.sql("CREATE DATABASE later");
    old.sql_in("later", "CREATE TABLE there_too AS SELECT generate_series(1, 100) AS i");
    old.sql("VACUUM FULL keyed");
    old.sql("CLUSTER wide USING wide_pkey");
    old.sql("VACUUM (ANALYZE)");
    old.sql("CHECKPOINT");
    old.sql("BEGIN; INSERT INTO pending VALUES ('decided'); PREPARE TRANSACTION 'decided'");
    old.sql("BEGIN; INSERT INTO pending VALUES ('undone'); PREPARE TRANSACTION 'undone'");
    old.sql("BEGIN; INSERT INTO pending VALUES ('left'); PREPARE TRANSACTION 'left open'");
    old.sql("COMMIT PREPARED 'decided'");
    old.sql("ROLLBACK PREPARED 'undone'");
    truth.recorded.push(transaction(
        old,
        "INSERT INTO plain SELECT i, 'late' FROM generate_series(1, 100) i",
        "COMMIT",
    ));
}

/// A pair on its two timelines, both stopped; the old primary cleanly or not.
fn pair(server: &Server, stop: Mode) -> (Cluster, Cluster, Truth) {
    let (old, new) = primary_and_standby(server);
    let mut truth = Truth::default();
    // open at the divergence: a prepared transaction, and one of a session
    old.sql("BEGIN; INSERT INTO pending VALUES ('before'); SAVEPOINT s; INSERT INTO held VALUES (1); PREPARE TRANSACTION 'from before'");
    let earlier_prepared: u64 = old.sql("SELECT transaction FROM pg_prepared_xacts").parse().unwrap();
    let mut session = old.session("spans the divergence");
    session.run(&old, "BEGIN; INSERT INTO plain VALUES (99, 'spans the divergence')");
    let spanning: u64 = old
        .sql("SELECT backend_xid FROM pg_stat_activity WHERE application_name = 'spans the divergence'")
        .parse()
        .unwrap();
    // its commit has the open transactions' records flushed
    old.sql("INSERT INTO plain VALUES (0, 'the last before the divergence')");
    new.wait_for(&old);
    new.promote();
    let first = next_xid(&old);
    new.sql(&rows(5001, 5200));
    new.sql("DELETE FROM plain WHERE id < 20; CREATE TABLE on_the_new_one AS SELECT generate_series(1, 100) AS i; CHECKPOINT");
    new.sql("UPDATE keyed SET n = 0 WHERE id BETWEEN 120 AND 140");

    session.run(&old, "UPDATE held SET i = i + 1; INSERT INTO plain VALUES (100, 'after it'); COMMIT");
    goes_on(&old, &mut truth);
    old.sql("COMMIT PREPARED 'from before'");
    let mut open: Option<Session> = None;
    if stop == Mode::Immediate {
        // nothing of this is in the catalog's files on disk
        old.sql("CREATE TABLE just_made (id int PRIMARY KEY, t text)");
        let text = "INSERT INTO just_made SELECT i, repeat('j', 40) FROM generate_series(1, 400) i";
        truth.recorded.push(transaction(&old, text, "COMMIT"));
        old.sql("ALTER TABLE plain RENAME TO renamed; VACUUM FULL pg_class; CREATE TABLE after_that (i int)");
        let mut session = old.session("never ends");
        session.run(&old, "BEGIN; INSERT INTO parts SELECT 1, 'open' FROM generate_series(1, 100) i");
        let xid = old.sql("SELECT backend_xid FROM pg_stat_activity WHERE application_name = 'never ends'");
        truth.in_progress = Some(xid.parse().unwrap());
        open = Some(session);
        // a commit behind it, so that its records are on disk
        truth.recorded.push(transaction(&old, "INSERT INTO held VALUES (11)", "COMMIT"));
    }
    truth.ask(&old, first, &[earlier_prepared, spanning]);
    if let Some(xid) = truth.in_progress {
        truth.committed.remove(&xid);
    }
    // names at the end: a table that was renamed is known by its last name
    for recorded in &mut truth.recorded {
        if truth.tables.contains("renamed") && recorded.tables.remove("plain") {
            recorded.tables.insert("renamed".into());
        }
    }
    old.stop(stop);
    drop(open);
    new.stop(Mode::Fast);
    (old, new, truth)
}

// ---- the tests ----

fn failover(server: &Server) {
    let (old, new, truth) = pair(server, Mode::Fast);
    let before = (snapshot(&old.pgdata()), snapshot(&new.pgdata()));
    let (report, mut differ) = compare(&old, &old.pgdata(), &old.pgdata(), &new.pgdata(), "failover");
    compare_with_sql(&report, &truth, &mut differ);
    differ.same("picture", report["verdict"]["picture"].as_str(), Some("failover"));
    differ.same("changed files", before == (snapshot(&old.pgdata()), snapshot(&new.pgdata())), true);
    differ.none();
}

fn crashed_target(server: &Server) {
    let (old, new, truth) = pair(server, Mode::Immediate);
    let recovered = old.copy();
    let mut single = recovered.command("postgres");
    single.args(["--single", "-F", "-D"]).arg(recovered.pgdata()).arg("template1");
    let output = single.stdin(Stdio::null()).output().expect("postgres --single");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let what = "crashed target";
    let (report, mut differ) = compare(&old, &old.pgdata(), &recovered.pgdata(), &new.pgdata(), what);
    compare_with_sql(&report, &truth, &mut differ);
    differ.same("names are replayed", report["names"]["replayed"].as_bool(), Some(true));
    differ.none();
}

fn three_timelines(server: &Server) {
    let (first, second) = primary_and_standby(server);
    let third = first.standby();
    third.start();
    third.wait_for(&first);
    second.wait_for(&first);
    second.promote();
    second.sql("INSERT INTO plain SELECT i, 'second' FROM generate_series(1, 400) i");
    third.stop(Mode::Fast);
    third.follow(&second);
    third.start();
    third.wait_for(&second);
    third.promote();
    third.sql("INSERT INTO plain SELECT i, 'third' FROM generate_series(1, 400) i; CHECKPOINT");
    for (cluster, word) in [(&first, "first"), (&second, "second")] {
        cluster.sql(&format!(
            "UPDATE keyed SET t = '{word}' WHERE id % 9 = 0; DELETE FROM wide WHERE id < 5; CHECKPOINT"
        ));
        cluster.sql(&rows(9001, 9050));
    }
    for cluster in [&third, &second, &first] {
        cluster.stop(Mode::Fast);
    }
    let mut all = Differences::new(server, "three timelines");
    for (target, source, what) in
        [(&first, &third, "1 to 3"), (&second, &third, "2 to 3"), (&first, &second, "1 to 2")]
    {
        let (_, differ) = compare(target, &target.pgdata(), &target.pgdata(), &source.pgdata(), what);
        all.found.extend(differ.found.into_iter().map(|d| format!("{what}: {d}")));
    }
    all.none();
}

fn switchover(server: &Server) {
    let (old, new) = primary_and_standby(server);
    new.wait_for(&old);
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    let (report, mut differ) =
        compare(&old, &old.pgdata(), &old.pgdata(), &new.pgdata(), "before a switchover");
    differ.same("picture", report["verdict"]["picture"].as_str(), Some("before_switchover"));
    new.start();
    new.promote();
    new.sql("INSERT INTO plain SELECT i, 'new' FROM generate_series(1, 400) i; CHECKPOINT");
    new.stop(Mode::Fast);
    let (report, after) = compare(&old, &old.pgdata(), &old.pgdata(), &new.pgdata(), "after a switchover");
    differ.found.extend(after.found.into_iter().map(|d| format!("after: {d}")));
    differ.same("picture", report["verdict"]["picture"].as_str(), Some("switchover"));
    differ.same("action", report["verdict"]["action"].as_str(), Some("follow"));
    differ.same("lost commits", report["verdict"]["lost_commits"].as_u64().unwrap_or(0), 0);
    differ.none();
}

/// A whole report opens nothing of either directory for writing.
#[test]
fn nothing_is_opened_for_writing() {
    let Some(server) = MAJORS.iter().rev().skip(1).find_map(|m| server(m)) else { return };
    let (old, new, _) = pair(&server, Mode::Immediate);
    let (target, source) = (old.pgdata(), new.pgdata());
    let before = (snapshot(&target), snapshot(&source));
    let output = forkpoint(&["--format", "text"], &target, &source);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    traced(&target, &source);
    assert!(before == (snapshot(&target), snapshot(&source)), "a file of the data directories changed");
    without_permission(&server, &target, &source);
}

/// Under strace: every call that names a file of the two, and every one that opens it.
fn traced(target: &Path, source: &Path) {
    let dir = tempfile::tempdir().expect("temporary directory");
    let trace = dir.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-s", "4096", "-y", "-e"]);
    command.arg("trace=%file,%desc").arg("-o").arg(&trace).arg(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("report").arg(target).arg(source).args(["--format", "json"]).stdin(Stdio::null());
    let Ok(output) = command.output() else {
        say("strace is not installed: opening for writing is shown by permissions and by comparison only");
        return;
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let calls = std::fs::read_to_string(&trace).expect("trace");
    let (target, source) = (target.to_string_lossy(), source.to_string_lossy());
    let concerning: Vec<&str> =
        calls.lines().filter(|l| l.contains(&*target) || l.contains(&*source)).collect();
    let opened = concerning.iter().filter(|l| l.contains("open")).count();
    assert!(opened > 20, "only {opened} files were opened: is this a trace of a report?");
    let harmless = [
        "open",
        "read",
        "pread",
        "stat",
        "lstat",
        "fstat",
        "newfstatat",
        "statx",
        "lseek",
        "close",
        "getdents",
        "access",
        "faccessat",
        "mmap",
        "fadvise",
        "execve",
        "ioctl",
        "fcntl",
        "statfs",
        "fstatfs",
        "poll",
        "write(1<",
        "write(2<",
    ];
    for line in concerning {
        let call = line.split_once(' ').map_or(line, |(_, call)| call.trim_start());
        let call = call.strip_prefix("<... ").unwrap_or(call);
        assert!(harmless.iter().any(|h| call.starts_with(h)), "an unexpected call: {line}");
        assert!(
            !["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"].iter().any(|flag| call.contains(flag)),
            "{line}"
        );
        assert!(
            !(call.starts_with("mmap") && call.contains("MAP_SHARED") && call.contains("PROT_WRITE")),
            "{line}"
        );
    }
}

/// As a user who may read both directories and write neither.
fn without_permission(server: &Server, target: &Path, source: &Path) {
    let Some((uid, gid)) = other_user() else {
        say("not root: that a report needs no permission to write is not shown");
        return;
    };
    let lock = |dir: &Path, owner: &str, mode: &str| {
        for (program, what) in [("chown", owner), ("chmod", mode)] {
            let status = Command::new(program).arg("-R").arg(what).arg(dir).status().expect(program);
            assert!(status.success());
        }
    };
    let dir = tempfile::tempdir().expect("temporary directory");
    std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).expect("chmod");
    let binary: PathBuf = dir.path().join("forkpoint");
    std::fs::copy(env!("CARGO_BIN_EXE_forkpoint"), &binary).expect("copy");
    for data in [target, source] {
        lock(data, "0:0", "u=rX,go=rX");
    }
    let mut command = Command::new(&binary);
    command
        .arg("report")
        .arg(target)
        .arg(source)
        .args(["--format", "json"])
        .current_dir("/")
        .stdin(Stdio::null());
    let output = command.uid(uid).gid(gid).output().expect("forkpoint");
    for data in [target, source] {
        lock(data, &format!("{uid}:{gid}"), "u=rwX,go=");
    }
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(theirs["unseen"], Value::Array(Vec::new()), "something could not be read");
    let mut differ = Differences::new(server, "without permission");
    let ours = report(target, source, &mut differ);
    differ.none();
    assert!(theirs["target_changes"] == ours["target_changes"], "the report depends on who runs it");
}
