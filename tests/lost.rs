//! Lost rows as forkpoint reads them, held against what triggers recorded while the server ran, and the SQL script
//! held against what it brings back.
//!
//! A major that is not installed is skipped with a line on stderr, unless `FORKPOINT_EXPECT_MAJORS` ("13 15") names it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::Server;
use common::cluster::{Cluster, Mode, Session};
use common::majors::{say, server, told};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
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
            fn rows_of_replica() {
                on(|s| super::rows(s, super::Case { wal_level: "replica", vacuum: false, crash: false }));
            }
            #[test]
            fn rows_of_logical_after_vacuum() {
                on(|s| super::rows(s, super::Case { wal_level: "logical", vacuum: true, crash: false }));
            }
            #[test]
            fn rows_after_a_crash() {
                on(|s| super::rows(s, super::Case { wal_level: "replica", vacuum: true, crash: true }));
            }
            #[test]
            fn the_script_brings_them_back() {
                on(super::script);
            }
            #[test]
            fn words_for_ddl() {
                on(super::ddl);
            }
            #[test]
            fn it_began_before_the_checkpoint() {
                on(super::before_the_checkpoint);
            }
            #[test]
            fn without_full_page_images() {
                on(super::without_images);
            }
        }
    )* };
}
on_every_major!(pg13 "13", pg15 "15", pg16 "16", pg17 "17", pg18 "18", pg19 "19");

#[test]
fn majors() {
    told("tests of lost rows");
}

// ---- what forkpoint says ----

/// An object's members in their order.
#[derive(Debug, Clone, PartialEq)]
struct Ordered(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Ordered;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

impl Ordered {
    /// As `record_out` prints a row.
    fn record(&self) -> String {
        let field = |value: &Value| {
            let text = match value {
                Value::Null => return String::new(),
                Value::String(text) => text,
                other => return format!("<{other}>"),
            };
            let special = |c: char| {
                matches!(c, '"' | '\\' | '(' | ')' | ',' | ' ' | '\t' | '\n' | '\r' | '\x0b' | '\x0c')
            };
            if text.is_empty() || text.contains(special) {
                format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\"\""))
            } else {
                text.clone()
            }
        };
        format!("({})", self.0.iter().map(|(_, value)| field(value)).collect::<Vec<_>>().join(","))
    }
}

#[derive(Debug, Clone, Deserialize)]
struct Line {
    kind: String,
    #[serde(default)]
    xid: u32,
    #[serde(default)]
    schema: String,
    #[serde(default)]
    table: Value,
    #[serde(default)]
    change: String,
    old: Option<Ordered>,
    new: Option<Ordered>,
    old_from: Option<String>,
    #[serde(default)]
    complete: bool,
    #[serde(default)]
    ending: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    last_value: i64,
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    unseen: Vec<String>,
}

fn forkpoint(args: &[&str], target: &Path, source: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("lost").args(args).arg(target).arg(source).stdin(Stdio::null());
    command.output().expect("forkpoint")
}

fn answer(args: &[&str], target: &Path, source: &Path) -> String {
    let output = forkpoint(args, target, source);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "forkpoint lost {args:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn lines(args: &[&str], target: &Path, source: &Path) -> Vec<Line> {
    let text = answer(&[&["--format", "jsonl"], args].concat(), target, source);
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

/// A change as the triggers recorded it: transaction, table, what, before, after.
type Change = (u32, String, String, String, String);

fn changes(lines: &[Line]) -> Vec<Change> {
    let record = |row: &Option<Ordered>| row.as_ref().map(Ordered::record).unwrap_or_default();
    let of = lines.iter().filter(|l| l.kind == "row");
    let mut changes: Vec<Change> = of
        .map(|l| {
            let table = format!("{}.{}", l.schema, l.table.as_str().unwrap_or_default());
            (l.xid, table, l.change.clone(), record(&l.old), record(&l.new))
        })
        .collect();
    changes.sort();
    changes
}

// ---- servers ----

/// Records rows as text in a table that is not in WAL.
const AUDIT: &str = "
CREATE SCHEMA audit;
CREATE UNLOGGED TABLE audit.log (xid bigint, tab text, op text, old text, new text);
CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO audit.log VALUES (txid_current(), TG_TABLE_SCHEMA || '.' || TG_TABLE_NAME, lower(TG_OP),
    CASE WHEN TG_OP <> 'INSERT' THEN OLD::text END, CASE WHEN TG_OP <> 'DELETE' THEN NEW::text END);
  RETURN NULL;
END $$;
CREATE FUNCTION audit.watch(tab regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION audit.note()', tab);
END $$;
";

/// A table of every type that a table usually has, and tables of other kinds.
const TABLES: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE TYPE pair AS (n int, t text);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE floatrange AS RANGE (subtype = float8);
CREATE TABLE kinds (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, gone1 text, yes bool, small int2, big int8, r4 float4, r8 float8,
  amount numeric, name text, label varchar(20), code char(5), raw bytea, day date, clock time, clockz timetz,
  plain timestamp, at timestamptz, span interval, key uuid, j json, jb jsonb, host inet, net cidr, mac macaddr, o oid,
  nm name, c \"char\", bits bit(4), vbits varbit, cash money, pt point, bx box, m mood, ints int[], texts text[][],
  r int4range, fr floatrange, p pair, pos positive, moods mood[], gone2 int, twice int GENERATED ALWAYS AS (small * 2) STORED
);
ALTER TABLE kinds DROP COLUMN gone1;
INSERT INTO kinds (yes, small, big, r4, r8, amount, name, label, code, raw, day, clock, clockz, plain, at, span, key, j, jb,
  host, net, mac, o, nm, c, bits, vbits, cash, pt, bx, m, ints, texts, r, fr, p, pos, moods, gone2)
SELECT i % 2 = 0, i, i * 10000000000, i / 3.0, i / 7.0, i * 1.10, 'name ' || i, 'l' || i, 'c' || i,
  decode(md5(i::text), 'hex'), date '2024-02-29' + i, time '01:02:03.5', timetz '01:02:03+05:30',
  timestamp '1999-12-31 23:59:59.999' + i * interval '1 day', timestamptz '2020-01-01 00:00:00+00' - i * interval '1000 day',
  i * interval '1 mon 2 day 03:04:05', md5(i::text)::uuid, '{\"a\": [1, 2 , null]}', ('{\"b\": ' || i || ', \"a\": \"x\"}')::jsonb,
  ('10.0.0.' || i)::inet, '192.168.0.0/16', '08:00:2b:01:02:03', i, 'nm' || i, 'z', B'1010', B'10101', i::numeric::money,
  point(i, -i), box(point(0, 0), point(i, i)), 'ok', ARRAY[i, NULL, 3], ARRAY[['a', 'b,c'], ['d\"e', 'NULL']],
  int4range(i, i + 10), floatrange(1.5, 2.5, '[]'), ROW(i, 'in \"pair\"'::text)::pair, i, ARRAY['sad', 'happy']::mood[], i
FROM generate_series(1, 60) i;
ALTER TABLE kinds DROP COLUMN gone2;
ALTER TABLE kinds ADD COLUMN later text DEFAULT 'a default of later';
ALTER TABLE kinds ADD COLUMN latest int;
CREATE TABLE plain (line text, p point, n numeric);
INSERT INTO plain SELECT 'same', point(1, 2), 1.50 FROM generate_series(1, 5);
INSERT INTO plain SELECT 'line ' || i, NULL, i FROM generate_series(1, 20) i;
CREATE TABLE two (a int, b text, v text, PRIMARY KEY (b, a));
INSERT INTO two SELECT i % 7, 'b' || i, 'v' FROM generate_series(1, 50) i;
CREATE TABLE big (id int PRIMARY KEY, body text, other int);
INSERT INTO big SELECT i, (SELECT string_agg(md5(i || '.' || n), '') FROM generate_series(1, 300) n), i FROM generate_series(1, 6) i;
INSERT INTO big SELECT i, repeat('compressible ', 2000), i FROM generate_series(11, 13) i;
CREATE TABLE parted (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (100);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (100) TO (200);
INSERT INTO parted VALUES (1, 'one'), (150, 'other');
CREATE TABLE many (id int PRIMARY KEY, v text, pad text);
INSERT INTO many SELECT i, 'v' || i, repeat('x', 50) FROM generate_series(1, 2000) i;
CREATE TABLE calm (id int PRIMARY KEY, v text);
INSERT INTO calm VALUES (1, 'one');
CREATE TABLE calm2 (id int PRIMARY KEY, v text);
INSERT INTO calm2 VALUES (1, 'one');
CREATE SEQUENCE counter;
SELECT audit.watch(t) FROM unnest(ARRAY['kinds', 'plain', 'two', 'big', 'parted_1', 'parted_2', 'many', 'calm', 'calm2']::regclass[]) t;
";

/// What is different with `wal_level` logical; not every server was built with LZ4.
const LOGICAL: &str = "ALTER TABLE plain REPLICA IDENTITY FULL;
DO $$ BEGIN
  ALTER TABLE big ALTER body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;
";

/// Statements whose rows are all told alike; each is a transaction unless it says otherwise.
const WORK: &[&str] = &[
    "INSERT INTO kinds (yes, small, big, amount, name, at, day, jb, m, p, raw, span, r8) VALUES
       (true, 7, -9223372036854775808, 'NaN', E'new\\n\"line\" \\\\ '' x', 'infinity', '0044-03-15 BC', '[1.50, {\"k\": null}]', 'sad',
        '(,)', '\\x00ff', '-1 year -2 mons +3 days -04:05:06.789', '-Infinity'), (NULL, NULL, NULL, NULL, '', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
    "UPDATE kinds SET name = 'changed ' || id, amount = amount * 2 WHERE id BETWEEN 1 AND 20",
    "UPDATE kinds SET m = 'happy', moods = '{}', ints = NULL, latest = 5 WHERE id = 3",
    "UPDATE kinds SET small = 9 WHERE id = 4",
    "DELETE FROM kinds WHERE id BETWEEN 30 AND 35",
    "BEGIN; UPDATE two SET v = 'w' WHERE a = 3; DELETE FROM two WHERE a = 4; INSERT INTO two VALUES (100, 'new', NULL); COMMIT",
    "BEGIN; INSERT INTO two VALUES (200, 'x', 'kept'); SAVEPOINT s; INSERT INTO two VALUES (201, 'x', 'rolled back'); \
     ROLLBACK TO s; INSERT INTO two VALUES (202, 'x', 'kept too'); RELEASE s; UPDATE two SET v = 'again' WHERE a = 200; COMMIT",
    "BEGIN; DELETE FROM two WHERE a = 1; ROLLBACK",
    "INSERT INTO two VALUES (100, 'new', 'conflict'), (300, 'y', 'fresh') ON CONFLICT (b, a) DO UPDATE SET v = excluded.v",
    "INSERT INTO two VALUES (100, 'new', 'ignored') ON CONFLICT DO NOTHING",
    "DELETE FROM plain WHERE ctid = (SELECT min(ctid::text)::tid FROM plain WHERE line = 'same')",
    "UPDATE plain SET n = 2.50 WHERE ctid = (SELECT min(ctid::text)::tid FROM plain WHERE line = 'same')",
    "INSERT INTO plain SELECT 'copy ' || i, point(i, i), i FROM generate_series(1, 300) i",
    "INSERT INTO big SELECT 20, (SELECT string_agg(md5('new' || n), '') FROM generate_series(1, 400) n), 1",
    "INSERT INTO big SELECT i, repeat('compress me ' || i, 3000), i FROM generate_series(21, 23) i",
    "DELETE FROM big WHERE id = 22",
    "UPDATE big SET other = other + 100 WHERE id IN (1, 2, 11)",
    "UPDATE big SET body = 'short now' WHERE id = 3",
    "DELETE FROM big WHERE id IN (4, 12)",
    "UPDATE parted SET k = 160, v = 'moved' WHERE k = 1",
    "UPDATE many SET v = 'u' || id WHERE id % 3 = 0",
    "DELETE FROM many WHERE id % 7 = 0",
    "UPDATE many SET v = v || '!' WHERE id % 2 = 0",
    "SELECT count(nextval('counter')) FROM generate_series(1, 40)",
];

#[derive(Debug, Clone, Copy)]
struct Case {
    wal_level: &'static str,
    vacuum: bool,
    crash: bool,
}

/// A primary whose standby was promoted: both run, apart.
struct Pair {
    old: Cluster,
    new: Cluster,
    /// Opened before the divergence, and not yet committed.
    session: Session,
}

fn diverged(server: &Server, settings: &[(&str, &str)], tables: &str) -> Pair {
    let old = Cluster::init(server, settings);
    old.start();
    old.sql(AUDIT);
    old.sql(tables);
    let new = old.standby();
    new.start();
    old.sql("CHECKPOINT");
    let mut session = old.session("early");
    session
        .run(&old, "BEGIN; INSERT INTO calm VALUES (-1, 'early'); UPDATE calm SET v = 'early' WHERE id = 1");
    old.sql("BEGIN; INSERT INTO calm VALUES (-9, 'prepared before'); PREPARE TRANSACTION 'early gid'");
    new.wait_for(&old);
    new.promote();
    // what was recorded up to here is no loss, but for what is not committed yet
    old.sql("DELETE FROM audit.log");
    Pair { old, new, session }
}

impl Pair {
    /// Runs statements on the old primary, and what triggers recorded of those that committed.
    fn work(&mut self, statements: &[&str]) -> Vec<Change> {
        for statement in statements {
            self.old.sql(statement);
        }
        self.session.run(&self.old, "INSERT INTO calm VALUES (-2, 'late'); COMMIT");
        let text = self.old.sql(
            "SELECT json_build_array(xid, tab, op, coalesce(old, ''), coalesce(new, '')) FROM audit.log",
        );
        let mut changes: Vec<Change> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect();
        changes.sort();
        changes
    }

    fn stop(&self, crash: bool) {
        self.old.stop(if crash { Mode::Immediate } else { Mode::Fast });
        self.new.stop(Mode::Fast);
    }
}

fn compare(what: &str, found: &[Change], expected: &[Change]) {
    let count = |list: &[Change]| {
        let mut counts: BTreeMap<Change, i64> = BTreeMap::new();
        for one in list {
            *counts.entry(one.clone()).or_default() += 1;
        }
        counts
    };
    let (ours, theirs) = (count(found), count(expected));
    let more: Vec<_> = ours.iter().filter(|(c, n)| theirs.get(*c) != Some(n)).take(5).collect();
    let fewer: Vec<_> = theirs.iter().filter(|(c, n)| ours.get(*c) != Some(n)).take(5).collect();
    assert!(
        more.is_empty() && fewer.is_empty(),
        "{what}: {} found, {} recorded\nonly found:\n{more:#?}\nonly recorded:\n{fewer:#?}",
        found.len(),
        expected.len()
    );
}

fn rows(server: &Server, case: Case) {
    let settings = [("wal_level", case.wal_level), ("max_prepared_transactions", "5")];
    let full = if case.wal_level == "logical" { LOGICAL } else { "" };
    // 13 has one compression method
    let full = if server.major == "13" { full.split_once(';').map_or("", |(first, _)| first) } else { full };
    let mut pair = diverged(server, &settings, &format!("{TABLES}{full}"));
    let (first, second) = WORK.split_at(WORK.len() / 2);
    for statement in first {
        pair.old.sql(statement);
    }
    if case.vacuum {
        pair.old.sql("VACUUM");
        pair.old.sql("CHECKPOINT");
    }
    let mut expected = pair.work(second);
    if case.vacuum {
        pair.old.sql("VACUUM (FREEZE)");
    }
    pair.old.sql("COMMIT PREPARED 'early gid'");
    pair.old.sql("BEGIN; INSERT INTO two VALUES (-3, 'left', 'prepared'); PREPARE TRANSACTION 'late gid'");
    pair.stop(case.crash);
    let what = format!("PostgreSQL {}, {case:?}", server.major);
    let lines = lines(&[], &pair.old.pgdata(), &pair.new.pgdata());
    let incomplete: Vec<_> = lines.iter().filter(|l| l.kind == "row" && !l.complete).take(5).collect();
    assert!(incomplete.is_empty(), "{what}: not complete: {incomplete:#?}");
    let ending = |wanted: &str| -> BTreeSet<u32> {
        lines.iter().filter(|l| l.kind == "transaction" && l.ending == wanted).map(|l| l.xid).collect()
    };
    let (prepared, decided) = (ending("prepared"), ending("decision_commit"));
    assert_eq!((prepared.len(), decided.len()), (1, 1), "{what}");
    let found = changes(&lines);
    let (left, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|c| prepared.contains(&c.0));
    assert_eq!(left.len(), 1, "{what}");
    assert_eq!((left[0].1.as_str(), left[0].4.as_str()), ("public.two", "(-3,left,prepared)"), "{what}");
    // what the open transaction wrote before the divergence is lost too
    let early = found.iter().find(|c| c.4.starts_with("(-2,")).map(|c| c.0);
    let early = early.unwrap_or_else(|| panic!("{what}: the transaction that began before the divergence"));
    let before: Vec<_> = found.iter().filter(|c| c.0 == early && !c.4.starts_with("(-2,")).cloned().collect();
    assert_eq!(before.len(), 2, "{what}: {before:?}");
    // the prepared one's rows were recorded when it was decided
    expected.retain(|c| !decided.contains(&c.0));
    expected.sort();
    compare(&what, &found, &expected);
    let summary = lines.last().expect("a summary");
    assert_eq!((summary.kind.as_str(), &summary.unseen), ("summary", &Vec::new()), "{what}");
    let counter = lines.iter().find(|l| l.kind == "sequence" && l.name == "counter").expect("a sequence");
    assert!((40..=72).contains(&counter.last_value), "{what}: {counter:?}");
    assert!(found.len() > 1000, "{what}: {}", found.len());
    let sources: BTreeSet<_> = lines.iter().filter_map(|l| l.old_from.as_deref()).collect();
    assert!(sources.contains("page"), "{what}: {sources:?}");
}

const CONTENT: &[&str] = &["kinds", "plain", "two", "big", "parted", "many", "calm"];

fn content(cluster: &Cluster) -> Vec<String> {
    let table =
        |name: &&str| cluster.sql(&format!("SELECT t::text FROM {name} t ORDER BY t::text COLLATE \"C\""));
    CONTENT.iter().map(table).collect()
}

fn script(server: &Server) {
    let mut pair = diverged(server, &[("max_prepared_transactions", "5")], TABLES);
    pair.work(WORK);
    pair.old.sql("COMMIT PREPARED 'early gid'");
    let recorded = content(&pair.old);
    pair.new.sql("COMMIT PREPARED 'early gid'");
    pair.new.sql("CREATE TABLE of_its_own (a int); INSERT INTO of_its_own VALUES (1)");
    pair.stop(false);
    let (target, source) = (pair.old.pgdata(), pair.new.pgdata());
    let text = answer(&["--format", "sql"], &target, &source);
    assert!(text.contains("changed none of these keys"), "{}", &text[..2000]);
    pair.new.start();
    pair.new.sql(&text);
    let brought = content(&pair.new);
    for ((name, ours), theirs) in CONTENT.iter().zip(&brought).zip(&recorded) {
        let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (ours.lines().collect(), theirs.lines().collect());
        let (more, fewer): (Vec<_>, Vec<_>) =
            (ours.difference(&theirs).take(3).collect(), theirs.difference(&ours).take(3).collect());
        assert_eq!((more, fewer), (vec![], vec![]), "PostgreSQL {}: {name}", server.major);
    }
    assert_eq!(brought, recorded, "PostgreSQL {}", server.major);
    assert!(pair.new.sql("SELECT last_value FROM counter").parse::<i64>().unwrap() >= 40);
    // a second time every guard and key stops it
    let again = pair.new.try_sql(&text);
    assert!(!again.status.success());
    // what both sides changed is said on top
    pair.new.sql("UPDATE many SET v = 'of the new primary' WHERE id = 3; DELETE FROM two WHERE a = 100");
    pair.new.sql("UPDATE plain SET line = 'mine' WHERE line = 'line 1'");
    pair.new.stop(Mode::Fast);
    let text = answer(&["--format", "sql", "--on-conflict", "nothing"], &target, &source);
    assert!(text.contains("-- WARNING: the new primary has changed"), "{}", &text[..2000]);
    assert!(
        text.contains("postgres.public.many id='3': it has now id='3', v='of the new primary'"),
        "{}",
        &text[..3000]
    );
    assert!(text.contains("public.two a='100', b='new': it deleted the row"), "{}", &text[..3000]);
    assert!(text.contains("ON CONFLICT DO NOTHING;"));
    // a row that is not what it was: the guard raises and names it
    pair.new.start();
    pair.new.sql("DELETE FROM kinds");
    let stopped = pair.new.try_sql(&text);
    let said = String::from_utf8_lossy(&stopped.stderr);
    assert!(!stopped.status.success() && said.contains("hit 0 rows instead of one"), "{said}");
}

fn ddl(server: &Server) {
    let mut pair = diverged(server, &[("max_prepared_transactions", "5")], TABLES);
    let lo = "SELECT lo_from_bytea(54321, 'a large object')";
    let mut expected = pair.work(&[
        "INSERT INTO two VALUES (500, 'before', 'ddl')",
        "ALTER TABLE two ADD COLUMN extra int DEFAULT 7",
        "INSERT INTO two VALUES (501, 'after add', 'x', 8)",
        "UPDATE two SET extra = 9 WHERE a = 500",
        "ALTER TABLE two DROP COLUMN v",
        "INSERT INTO two VALUES (502, 'after drop', 10)",
        "ALTER TABLE two ALTER COLUMN extra TYPE text USING 'is ' || extra",
        "UPDATE two SET extra = 'rewritten' WHERE a = 501",
        "BEGIN; CREATE TYPE size AS ENUM ('s', 'm'); CREATE TABLE fresh (id int PRIMARY KEY, s size, at timestamptz); \
         SELECT audit.watch('fresh'); INSERT INTO fresh VALUES (1, 'm', '2025-01-02 03:04:05+00'); COMMIT",
        "ALTER TYPE size ADD VALUE 'l'",
        "INSERT INTO fresh VALUES (2, 'l', NULL)",
        "ALTER TABLE fresh RENAME TO renamed",
        "DELETE FROM renamed WHERE id = 1",
        "CREATE INDEX fresh_at ON renamed (at)",
        "VACUUM FULL many",
        "VACUUM FULL pg_class",
        "VACUUM FULL pg_attribute",
        "VACUUM FULL pg_type",
        "VACUUM FULL pg_namespace",
        "ALTER TABLE calm2 ADD COLUMN more int DEFAULT 1",
        "UPDATE calm2 SET more = 2",
        "VACUUM FULL pg_class",
        "ALTER TABLE calm2 RENAME COLUMN more TO less",
        "VACUUM FULL pg_attribute",
        "INSERT INTO calm2 VALUES (2, 'two', 3)",
        "UPDATE many SET v = 'after rewrite' WHERE id = 5",
        "CLUSTER many USING many_pkey",
        "TRUNCATE plain",
        "INSERT INTO plain VALUES ('after truncate', NULL, 0)",
        "CREATE TABLE short (a int); SELECT audit.watch('short')",
        "INSERT INTO short VALUES (1), (2)",
        "BEGIN; SAVEPOINT s; ALTER TABLE short ADD COLUMN never int; ROLLBACK TO s; INSERT INTO short VALUES (3); COMMIT",
        "DROP TABLE short",
        "VACUUM FULL pg_enum",
        "VACUUM",
        lo,
        "SELECT pg_logical_emit_message(true, 'forkpoint', 'a message')",
        "CREATE MATERIALIZED VIEW mv AS SELECT count(*) FROM many",
        "REFRESH MATERIALIZED VIEW mv",
    ]);
    // rows of tables are told as of then; the materialized view's are no rows of a table
    pair.old.sql("ROLLBACK PREPARED 'early gid'");
    pair.stop(false);
    let what = format!("PostgreSQL {}", server.major);
    let lines = lines(&[], &pair.old.pgdata(), &pair.new.pgdata());
    let mut found = changes(&lines);
    found.retain(|c| c.1 != "public.mv");
    let early = found.iter().find(|c| c.4.starts_with("(-2,")).map(|c| c.0).expect("the early one");
    found.retain(|c| c.0 != early);
    expected.retain(|c| c.0 != early);
    compare(&what, &found, &expected);
    let words: Vec<&str> = lines.iter().filter(|l| l.what == "ddl").map(|l| l.text.as_str()).collect();
    for wanted in [
        "column more int4 added to table public.calm2",
        "column more of table public.calm2 renamed to less",
        "column extra int4 added to table public.two",
        "column v dropped from table public.two",
        "type of column extra of table public.two changed from int4 to text",
        "table public.two rewritten into a new file",
        "enum type public.size created",
        "table public.fresh created (id int4, s size, at timestamptz)",
        "value 'l' added to type public.size",
        "table public.fresh renamed to renamed",
        "index public.fresh_at built on public.renamed",
        "table public.many rewritten into a new file",
        "table public.plain truncated",
        "table public.short created (a int4)",
        "table public.short dropped",
        "materialized view public.mv refreshed",
    ] {
        // what went with it stands behind a semicolon
        let said = |word: &&str| word.split(';').next() == Some(wanted);
        assert!(words.iter().any(said), "{what}: {wanted:?} is not among {words:#?}");
    }
    assert!(words.iter().all(|w| !w.contains("never") && !w.contains("pg_temp")), "{what}: {words:#?}");
    let message = lines.iter().find(|l| l.what == "message").expect("a message");
    assert_eq!(message.prefix, "forkpoint", "{what}");
    assert!(lines.iter().any(|l| l.what == "large_object"), "{what}");
    assert!(lines.iter().any(|l| l.ending == "decision_rollback"), "{what}");
}

fn before_the_checkpoint(server: &Server) {
    let old = Cluster::init(server, &[]);
    old.start();
    old.sql("CREATE TABLE slow (id int PRIMARY KEY, v text); INSERT INTO slow SELECT i, 'v' FROM generate_series(1, 9) i");
    let new = old.standby();
    new.start();
    let mut session = old.session("slow");
    session.run(
        &old,
        "BEGIN; UPDATE slow SET v = 'early' WHERE id < 4; SAVEPOINT a; DELETE FROM slow WHERE id = 9",
    );
    for _ in 0..3 {
        old.sql("SELECT pg_switch_wal(); CREATE TABLE IF NOT EXISTS filler (a int)");
    }
    old.sql("CHECKPOINT");
    old.sql("SELECT pg_switch_wal(); INSERT INTO filler VALUES (1)");
    new.wait_for(&old);
    new.promote();
    session.run(&old, "INSERT INTO slow VALUES (10, 'late'); COMMIT");
    drop(session);
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    let what = format!("PostgreSQL {}", server.major);
    let (target, source) = (old.pgdata(), new.pgdata());
    let all = lines(&[], &target, &source);
    assert!(all.last().unwrap().unseen.is_empty(), "{what}: {all:#?}");
    let told: Vec<(String, String)> =
        changes(&all).into_iter().filter(|c| c.1 == "public.slow").map(|c| (c.3, c.4)).collect();
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let mut expected: Vec<_> = (1..4).map(|i| (format!("({i},v)"), format!("({i},early)"))).collect();
    expected.extend([pair("(9,v)", ""), pair("", "(10,late)")]);
    let sorted = |mut list: Vec<(String, String)>| {
        list.sort();
        list
    };
    assert_eq!(sorted(told), sorted(expected), "{what}");
    // the WAL in which it began is gone on both sides
    let report = report_json(&target, &source, false);
    let checkpoint = report["last_common_checkpoint"]["lsn"].as_str().expect("a checkpoint").to_owned();
    let (high, low) = checkpoint.split_once('/').unwrap();
    let lsn = u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap();
    let first = format!("00000001{:08X}{:08X}", lsn >> 32, (lsn & 0xFFFF_FFFF) >> 20);
    for dir in [&target, &source] {
        for entry in fs::read_dir(dir.join("pg_wal")).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            if name.len() == 24 && name < first {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }
    let some = lines(&[], &target, &source);
    let unseen = &some.last().unwrap().unseen;
    assert!(unseen.iter().any(|u| u.contains("may have begun before the WAL at hand")), "{what}: {unseen:?}");
    assert!(changes(&some).iter().any(|c| c.4 == "(10,late)"), "{what}: {some:#?}");
}

fn report_json(target: &Path, source: &Path, rows: bool) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.args(["report", "--format", "json"]).arg(target).arg(source);
    if rows {
        command.arg("--rows");
    }
    let output = command.output().expect("forkpoint");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Where WAL has no full-page images, rows come from heap files.
fn without_images(server: &Server) {
    let mut pair =
        diverged(server, &[("max_prepared_transactions", "5"), ("full_page_writes", "off")], TABLES);
    let expected = pair.work(&[
        "UPDATE many SET v = 'u' || id WHERE id % 3 = 0",
        "DELETE FROM two WHERE a = 4",
        "UPDATE big SET other = 1 WHERE id = 1",
        "INSERT INTO plain VALUES ('x', NULL, 1)",
    ]);
    pair.old.sql("ROLLBACK PREPARED 'early gid'");
    pair.stop(false);
    let lines = lines(&[], &pair.old.pgdata(), &pair.new.pgdata());
    compare(&format!("PostgreSQL {}, no images", server.major), &changes(&lines), &expected);
    let sources: BTreeSet<_> = lines.iter().filter_map(|l| l.old_from.as_deref()).collect();
    assert!(sources.contains("source"), "{sources:?}");
}

/// Records of RFC 4180; a quoted empty field is `Some("")`, an empty one `None`.
fn csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), None::<String>);
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.get_or_insert_default().push('"');
            }
            '"' => {
                quoted = !quoted;
                field.get_or_insert_default();
            }
            ',' if !quoted => row.push(field.take()),
            '\r' if !quoted => {}
            '\n' if !quoted => {
                row.push(field.take());
                rows.push(std::mem::take(&mut row));
            }
            c => field.get_or_insert_default().push(c),
        }
    }
    rows
}

#[test]
fn several_databases_files_and_filters() {
    let Some(server) = server("18").or_else(|| server("13")) else {
        say("several_databases_files_and_filters: skipped, no PostgreSQL");
        return;
    };
    let old = Cluster::init(&server, &[]);
    old.start();
    let odd = "it's \\ a \"db\"";
    old.sql("CREATE DATABASE other");
    old.sql(&format!("CREATE DATABASE \"{}\"", odd.replace('"', "\"\"")));
    let tables = "CREATE SCHEMA \"S/x\"; CREATE TABLE \"S/x\".\"T a\" (\"Id\" int PRIMARY KEY, \"select\" text); \
                  INSERT INTO \"S/x\".\"T a\" VALUES (1, 'one')";
    old.sql(tables);
    old.sql_in("other", tables);
    let info = format!("dbname='{}'", odd.replace('\\', "\\\\").replace('\'', "\\'"));
    old.sql_in(&info, tables);
    let new = old.standby();
    new.start();
    new.wait_for(&old);
    new.promote();
    let work = "INSERT INTO \"S/x\".\"T a\" VALUES (2, ''), (3, NULL), (4, E'a,\"b\"\\n\\\\x'); \
                UPDATE \"S/x\".\"T a\" SET \"select\" = 'uno' WHERE \"Id\" = 1";
    for database in ["postgres", "other", &info] {
        old.sql_in(database, work);
    }
    let select = "SELECT t::text FROM \"S/x\".\"T a\" t ORDER BY \"Id\"";
    let recorded = old.sql(select);
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    let (target, source) = (old.pgdata(), new.pgdata());
    let script = answer(&["--format", "sql"], &target, &source);
    new.start();
    new.sql(&script);
    for database in ["postgres", "other", &info] {
        assert_eq!(new.sql_in(database, select), recorded, "{database}");
    }
    new.stop(Mode::Fast);
    // one file for each table
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("rows");
    answer(&["--format", "csv", "-o", folder.to_str().unwrap()], &target, &source);
    let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 3, "{files:?}");
    for file in files {
        let rows = csv(&fs::read_to_string(&file).unwrap());
        let head: Vec<_> = rows[0].iter().map(|f| f.clone().unwrap()).collect();
        let wanted = ["change", "xid", "ending", "time", "lsn", "complete", "undecoded", "Id", "select"];
        assert_eq!(head, wanted);
        let values: Vec<_> =
            rows[1..].iter().map(|r| (r[0].clone().unwrap(), r[7].clone().unwrap(), r[8].clone())).collect();
        let row = |change: &str, id: &str, text: Option<&str>| {
            (change.to_owned(), id.to_owned(), text.map(str::to_owned))
        };
        assert_eq!(
            values,
            [
                row("insert", "2", Some("")),
                row("insert", "3", None),
                row("insert", "4", Some("a,\"b\"\n\\x")),
                row("update_before", "1", Some("one")),
                row("update_after", "1", Some("uno")),
            ]
        );
    }
    let again = forkpoint(&["--format", "csv", "-o", folder.to_str().unwrap()], &target, &source);
    assert_eq!(again.status.code(), Some(2));
    assert_eq!(forkpoint(&["--format", "csv"], &target, &source).status.code(), Some(2));
    let inside = target.join("base/rows");
    let refused = forkpoint(&["--format", "csv", "-o", inside.to_str().unwrap()], &target, &source);
    assert_eq!(refused.status.code(), Some(4));
    // filters
    let all = lines(&[], &target, &source);
    let xids: BTreeSet<u32> = all.iter().filter(|l| l.kind == "row").map(|l| l.xid).collect();
    let xid = xids.first().unwrap().to_string();
    let one = lines(&["--xid", &xid], &target, &source);
    assert!(one.iter().filter(|l| l.kind == "row").all(|l| l.xid.to_string() == xid));
    assert!(one.iter().any(|l| l.kind == "row"));
    assert_eq!(changes(&lines(&["--table", "S/x.T a"], &target, &source)).len(), changes(&all).len());
    assert_eq!(changes(&lines(&["--table", "other.S/x.T a"], &target, &source)).len(), 4);
    assert_eq!(changes(&lines(&["--table", "nothing"], &target, &source)).len(), 0);
    // the report's sum
    let report = report_json(&target, &source, true);
    assert_eq!(report["lost_rows"]["transactions"], 6, "{report}");
    assert_eq!(report["lost_rows"]["complete"], true);
    let of_table: Vec<_> = report["lost_rows"]["tables"].as_array().unwrap().iter().collect();
    assert_eq!(of_table.len(), 3);
    assert_eq!((&of_table[0]["inserted"], &of_table[0]["updated"]), (&3.into(), &1.into()));
    assert_eq!(report["lost_rows_note"], Value::Null);
    let report = report_json(&target, &source, false);
    assert_eq!(report["lost_rows"], Value::Null);
    assert!(report["lost_rows_note"].as_str().unwrap().contains("--rows"), "{report}");
}

#[test]
fn a_million_rows_in_bounded_memory() {
    let Some(server) = server("18").or_else(|| server("13")) else {
        say("a_million_rows_in_bounded_memory: skipped, no PostgreSQL");
        return;
    };
    let old = Cluster::init(
        &server,
        &[("max_wal_size", "4GB"), ("statement_timeout", "0"), ("wal_keep_size", "4GB")],
    );
    old.start();
    old.sql("CREATE TABLE wide (id int PRIMARY KEY, v text)");
    old.sql("INSERT INTO wide SELECT i, 'v' || i FROM generate_series(1, 300000) i");
    let new = old.standby();
    new.start();
    new.wait_for(&old);
    new.promote();
    old.sql(
        "BEGIN; INSERT INTO wide SELECT i, 'lost ' || i FROM generate_series(300001, 700000) i; \
         UPDATE wide SET v = 'changed' WHERE id <= 300000; DELETE FROM wide WHERE id > 400000; COMMIT",
    );
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    let mut child = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .args(["lost", "--format", "jsonl", "-o", "/dev/null"])
        .args([old.pgdata(), new.pgdata()])
        .spawn()
        .expect("forkpoint");
    let mut peak = 0u64;
    let status = loop {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let high =
            status.lines().find_map(|l| l.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok());
        peak = peak.max(high.unwrap_or(0));
        if let Some(status) = child.try_wait().expect("wait") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    assert!(status.success());
    say(&format!("1,000,000 changed rows: {peak} kB at most"));
    assert!(peak > 0 && peak < 160 * 1024, "{peak} kB");
    let text = answer(&["--table", "wide"], &old.pgdata(), &new.pgdata());
    let counts = text.lines().find(|l| l.contains("postgres.public.wide")).expect("the table").to_owned();
    let numbers: Vec<&str> = counts.split_whitespace().skip(1).collect();
    assert_eq!(numbers, ["400,000", "300,000", "300,000", "0"], "{text}", text = &text[..500]);
}

// ---- captured pairs ----

/// Rows that a statement changed, from its command tag.
fn tagged(tag: &Value) -> Option<u64> {
    let words: Vec<&str> = tag.as_str()?.split(' ').collect();
    match words[..] {
        ["INSERT", "0", n] | ["UPDATE" | "DELETE", n] => n.parse().ok(),
        _ => None,
    }
}

#[test]
fn captured_pairs_are_told_in_full() {
    let schema = Command::new(env!("CARGO_BIN_EXE_forkpoint")).args(["schema", "lost"]).output().unwrap();
    let schema: Value = serde_json::from_slice(&schema.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut compared = 0;
    for scenario in pairs::scenarios() {
        let truth = pairs::truth(&scenario);
        let Some(truth) = truth["lost"].as_array() else { continue };
        let root = pairs::unpack(&scenario);
        let (target, source) = (root.join("target"), root.join("source"));
        if !target.is_dir() || !source.is_dir() {
            continue;
        }
        let archive = root.join("archive");
        let mut args = vec!["--format", "jsonl"];
        if archive.is_dir() {
            args.extend(["--wal-archive", archive.to_str().unwrap()]);
        }
        let output = forkpoint(&args, &target, &source);
        let text = String::from_utf8_lossy(&output.stdout);
        for line in text.lines().take(300) {
            let value: Value = serde_json::from_str(line).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{scenario}: {errors:#?}\n{line}");
        }
        let lines: Vec<Line> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{scenario}: {e}: {line}")))
            .collect();
        if lines.iter().all(|l| l.kind != "transaction") {
            continue;
        }
        for line in lines.iter().filter(|l| l.kind == "row") {
            assert!(line.complete, "{scenario}: {line:?}");
        }
        for one in truth.iter().filter(|t| t["kind"] == "commit") {
            let xid = one["xid"].as_u64().unwrap() as u32;
            let told = lines.iter().any(|l| l.kind == "transaction" && l.xid == xid);
            assert!(told, "{scenario}: transaction {xid} is not told: {one}");
            let [tag] = &one["tags"].as_array().unwrap()[..] else { continue };
            if let Some(rows) = tagged(tag).filter(|_| one.get("before_the_fork").is_none()) {
                let found = lines.iter().filter(|l| l.kind == "row" && l.xid == xid).count() as u64;
                assert_eq!(found, rows, "{scenario}: transaction {xid}: {one}");
                compared += 1;
            }
        }
    }
    assert!(compared > 100, "{compared}");
}

/// What cannot be read is not called nothing: behind damage the target may have lost more.
#[test]
fn wal_that_breaks_off_is_told() {
    let directory = common::scratch();
    pairs::unpack_to("basic-17", directory.path());
    let (target, source) = (directory.path().join("target"), directory.path().join("source"));
    let whole = forkpoint(&["--format", "jsonl"], &target, &source);
    assert_eq!(whole.status.code(), Some(0));
    // in the middle of what it wrote after the divergence, 0/F0ECF0 to 0/F5CF80
    let segment = target.join("pg_wal/00000001000000000000000F");
    let kept = fs::read(&segment).unwrap();
    let mut damaged = kept.clone();
    damaged[0x30000..0x30100].fill(0xA5);
    fs::write(&segment, damaged).unwrap();
    let text = forkpoint(&[], &target, &source);
    assert_eq!(text.status.code(), Some(3), "{text:?}");
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.starts_with("A rewind discards at least "), "{said}");
    let lines = forkpoint(&["--format", "jsonl"], &target, &source);
    let last = String::from_utf8_lossy(&lines.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(!last.contains(r#""complete":true"#) && !last.contains(r#""unseen":[]"#), "{last}");
    let script = forkpoint(&["--format", "sql"], &target, &source);
    let said = String::from_utf8_lossy(&script.stdout).into_owned();
    assert!(said.contains("at least ") && said.contains("went on behind that"), "{said}");

    fs::remove_file(&segment).unwrap();
    let text = forkpoint(&[], &target, &source);
    assert_eq!(text.status.code(), Some(3), "{text:?}");
    assert!(String::from_utf8_lossy(&text.stdout).starts_with("Not known: "), "{text:?}");
    fs::write(&segment, kept).unwrap();
    let none = forkpoint(&["--table", "public.nowhere"], &target, &source);
    assert!(String::from_utf8_lossy(&none.stdout).starts_with("Of what was chosen"), "{none:?}");
}

/// Where WAL is missing in the middle, what is found is not all of it.
#[test]
fn a_gap_in_the_wal_is_told() {
    let pair = pairs::unpack("recycled-archive");
    let (target, source) = (pair.join("target"), pair.join("source"));
    let archive = pair.join("archive");
    let whole = forkpoint(&["--wal-archive", archive.to_str().unwrap()], &target, &source);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    let said = String::from_utf8_lossy(&whole.stdout).into_owned();
    assert!(said.starts_with("A rewind discards 4 transactions"), "{said}");
    let text = forkpoint(&[], &target, &source);
    assert_eq!(text.status.code(), Some(3), "{text:?}");
    let said = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(said.starts_with("A rewind discards at least 1 transaction"), "{said}");
    let lines = forkpoint(&["--format", "jsonl"], &target, &source);
    let last = String::from_utf8_lossy(&lines.stdout).lines().last().unwrap_or_default().to_owned();
    assert!(!last.contains(r#""unseen":[]"#), "{last}");
}
