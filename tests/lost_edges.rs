//! Lost rows where the WAL does not show them as usual: files filled without WAL, catalogs that were rewritten, databases
//! that are gone; and what the outputs say of it. Truth comes from the server that wrote the rows.
//!
//! Runs on the newest and the oldest installed major with all client programs; `FORKPOINT_MAJORS` narrows or widens that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::Server;
use common::cluster::{Cluster, Mode};
use common::majors::chosen;
use serde_json::Value;

fn servers() -> Vec<Server> {
    chosen(&["13", "17"])
}

fn forkpoint(args: &[&str], target: &Path, source: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("lost").args(args).arg(target).arg(source).stdin(Stdio::null()).output().expect("forkpoint")
}

fn answer(args: &[&str], target: &Path, source: &Path) -> String {
    let output = forkpoint(args, target, source);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "forkpoint lost {args:?}: {}\n{said}", output.status);
    String::from_utf8(output.stdout).expect("UTF-8")
}

struct Pair {
    old: Cluster,
    new: Cluster,
}

impl Pair {
    /// A primary with these tables and its promoted standby; both run.
    fn new(server: &Server, settings: &[(&str, &str)], tables: &str) -> Self {
        let old = Cluster::init(server, settings);
        old.start();
        old.sql(tables);
        let new = old.standby();
        new.start();
        old.sql("CHECKPOINT");
        new.wait_for(&old);
        new.promote();
        Self { old, new }
    }

    fn stop(&self, mode: Mode) {
        self.old.stop(mode);
        self.new.stop(Mode::Fast);
    }

    fn answer(&self, args: &[&str]) -> String {
        answer(args, &self.old.pgdata(), &self.new.pgdata())
    }

    fn lines(&self) -> Vec<Value> {
        let text = self.answer(&["--format", "jsonl"]);
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")))
            .collect()
    }

    /// Files that `--format csv` makes, by name.
    fn csv(&self) -> BTreeMap<String, String> {
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("rows");
        self.answer(&["--format", "csv", "-o", folder.to_str().unwrap()]);
        let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
        files
            .map(|file| {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                (name, fs::read_to_string(file).unwrap())
            })
            .collect()
    }
}

fn unseen(lines: &[Value]) -> Vec<&str> {
    let summary = lines.last().expect("a summary");
    let all = summary["unseen"].as_array().unwrap().iter().map(|s| s.as_str().unwrap());
    let all: Vec<&str> = all.collect();
    assert!(all.is_empty() || summary["complete"] == false, "{summary}");
    all
}

/// Rows of a table as they were inserted, each as its columns' values with `|` in between.
fn inserted(lines: &[Value], table: &str) -> Vec<String> {
    let rows = lines.iter().filter(|l| l["kind"] == "row" && l["table"] == table && l["change"] == "insert");
    let mut rows: Vec<String> = rows
        .map(|l| {
            assert_eq!(l["complete"], true, "{l}");
            let values = l["new"].as_object().expect("values").values();
            values.map(|v| v.as_str().unwrap_or("").to_owned()).collect::<Vec<_>>().join("|")
        })
        .collect();
    rows.sort();
    rows
}

fn selected(cluster: &Cluster, query: &str) -> Vec<String> {
    let mut rows: Vec<String> = cluster.sql(query).lines().map(str::to_owned).collect();
    rows.sort();
    rows
}

fn texts(lines: &[Value]) -> Vec<&str> {
    lines.iter().filter_map(|l| l["text"].as_str()).collect()
}

/// Without WAL there is no row in it: images of small files, the files of larger ones, or a plain word.
#[test]
fn files_filled_without_wal() {
    for server in servers() {
        for crash in [false, true] {
            let pair = Pair::new(
                &server,
                &[("max_wal_size", "2GB")],
                "CREATE TABLE kept (id int PRIMARY KEY, v text); INSERT INTO kept VALUES (1, 'before')",
            );
            let old = &pair.old;
            old.stop(Mode::Fast);
            old.configure(&[("wal_level", "minimal"), ("max_wal_senders", "0")]);
            old.start();
            old.sql(
                "BEGIN; CREATE TABLE small (id int PRIMARY KEY, v text); INSERT INTO small SELECT i, 'v' || i FROM \
                 generate_series(1, 9) i; UPDATE small SET v = 'changed' WHERE id = 2; DELETE FROM small WHERE id = 3; \
                 SAVEPOINT s; INSERT INTO small VALUES (100, 'rolled back'); ROLLBACK TO s; COMMIT",
            );
            let small = selected(old, "SELECT * FROM small");
            old.sql("UPDATE small SET v = 'later' WHERE id = 4");
            old.sql("BEGIN; TRUNCATE kept; INSERT INTO kept VALUES (7, 'after'), (8, NULL); COMMIT");
            old.sql(
                "BEGIN; CREATE TABLE large (id int PRIMARY KEY, v text); INSERT INTO large SELECT i, repeat('x', 200) || i \
                 FROM generate_series(1, 15000) i; INSERT INTO large SELECT 20000, string_agg(md5(n::text), '') FROM \
                 generate_series(1, 500) n; DELETE FROM large WHERE id = 77; COMMIT",
            );
            let large = selected(old, "SELECT * FROM large");
            old.sql("UPDATE large SET v = 'once more' WHERE id = 5");
            old.sql("CREATE TABLE made AS SELECT i AS id, 'made ' || i AS v FROM generate_series(1, 3) i");
            let fill = |name: &str| {
                old.sql(&format!(
                    "BEGIN; CREATE TABLE {name} (id int, v text); INSERT INTO {name} SELECT i, repeat('y', 200) FROM \
                     generate_series(1, 15000) i; COMMIT"
                ));
            };
            fill("gone");
            old.sql("DROP TABLE gone");
            fill("vacuumed");
            old.sql("DELETE FROM vacuumed WHERE id <= 100");
            old.sql("VACUUM vacuumed");
            old.sql("BEGIN; CREATE TABLE hollow (id int); COMMIT");
            pair.stop(if crash { Mode::Immediate } else { Mode::Fast });
            let what = format!("PostgreSQL {}, crash {crash}", server.major);
            let lines = pair.lines();
            assert_eq!(inserted(&lines, "small"), small, "{what}");
            assert_eq!(inserted(&lines, "kept"), ["7|after", "8|"], "{what}");
            assert!(inserted(&lines, "large") == large, "{what}: rows of large");
            assert_eq!(inserted(&lines, "made"), ["1|made 1", "2|made 2", "3|made 3"], "{what}");
            // after a crash the file may be older than what was vacuumed
            let left = inserted(&lines, "vacuumed").len();
            assert!(left == 14_900 || (crash && left == 15_000), "{what}: {left}");
            let updates: Vec<_> = lines.iter().filter(|l| l["change"] == "update").collect();
            assert_eq!(updates.len(), 2, "{what}");
            assert!(updates.iter().all(|l| l["complete"] == true), "{what}: {updates:#?}");
            let unseen = unseen(&lines);
            let of = |table: &str| unseen.iter().filter(|u| u.contains(&format!("public.{table} "))).count();
            assert_eq!((of("gone"), of("vacuumed"), unseen.len()), (1, 1, 2), "{what}: {unseen:#?}");
            let told: Vec<_> = lines.iter().filter(|l| l["what"] == "not_found").collect();
            assert_eq!(told.len(), 2, "{what}: {told:#?}");
            // in every format
            let text = pair.answer(&[]);
            let sql = pair.answer(&["--format", "sql"]);
            let csv = pair.csv();
            for said in [&text, &sql, &csv["_not_seen.csv"]] {
                assert!(said.contains("rows of public.gone that it wrote into the file"), "{what}");
                assert!(said.contains("wal_level was minimal"), "{what}");
            }
            assert!(csv["_events.csv"].contains(",not_found,"), "{what}");
            assert!(sql.contains("INSERT INTO public.small (id, v) VALUES ('1', 'v1')"), "{what}");
        }
    }
}

/// Rows of an unlogged table become rows of the WAL, and are lost then.
#[test]
fn unlogged_tables_made_logged() {
    for server in servers() {
        for minimal in [false, true] {
            let pair = Pair::new(
                &server,
                &[],
                "CREATE UNLOGGED TABLE scratch (id int PRIMARY KEY, v text); INSERT INTO scratch SELECT i, 'early ' || i \
                 FROM generate_series(1, 4) i",
            );
            let old = &pair.old;
            if minimal {
                old.stop(Mode::Fast);
                old.configure(&[("wal_level", "minimal"), ("max_wal_senders", "0")]);
                old.start();
            }
            old.sql("INSERT INTO scratch VALUES (10, 'late'), (11, NULL)");
            old.sql(
                "INSERT INTO scratch SELECT 12, string_agg(md5(n::text), '') FROM generate_series(1, 300) n",
            );
            old.sql("DELETE FROM scratch WHERE id = 2");
            let expected = selected(old, "SELECT * FROM scratch");
            old.sql("ALTER TABLE scratch SET LOGGED");
            old.sql("UPDATE scratch SET v = 'changed' WHERE id = 1");
            old.sql("BEGIN; CREATE UNLOGGED TABLE within (id int); INSERT INTO within VALUES (1), (2); ALTER TABLE within SET LOGGED; COMMIT");
            old.sql("ALTER TABLE within SET UNLOGGED");
            old.sql("CREATE UNLOGGED TABLE never (id int)");
            pair.stop(Mode::Fast);
            let what = format!("PostgreSQL {}, minimal {minimal}", server.major);
            let lines = pair.lines();
            assert_eq!(inserted(&lines, "scratch"), expected, "{what}");
            let updates: Vec<_> = lines.iter().filter(|l| l["change"] == "update").collect();
            assert!(updates.len() == 1 && updates[0]["complete"] == true, "{what}: {updates:#?}");
            if !minimal {
                assert_eq!(inserted(&lines, "within"), ["1", "2"], "{what}");
                assert!(unseen(&lines).is_empty(), "{what}: {:#?}", unseen(&lines));
            }
            let texts = texts(&lines);
            for wanted in [
                "table public.scratch made logged; its rows",
                "table public.within made unlogged; what was written",
                "unlogged table public.never created (id int4); what is written to it is in no WAL",
            ] {
                assert!(texts.iter().any(|t| t.starts_with(wanted)), "{what}: {wanted} {texts:#?}");
            }
        }
    }
}

/// What a row looks like is found although the catalogs lie in other files now, and their own rows are none of a table.
#[test]
fn rewritten_catalogs() {
    for server in servers() {
        for images in ["on", "off"] {
            let pair = Pair::new(
                &server,
                &[("full_page_writes", images)],
                "CREATE TYPE colour AS ENUM ('red', 'green'); CREATE TYPE pair AS (n int, c colour);
                 CREATE TABLE first (id int PRIMARY KEY, c colour, p pair); CREATE TABLE second (a int, b text);
                 INSERT INTO first VALUES (1, 'red', ROW(1, 'green')); INSERT INTO second VALUES (1, 'one')",
            );
            let old = &pair.old;
            old.sql("INSERT INTO first VALUES (2, 'green', ROW(7, 'red'))");
            old.sql("UPDATE second SET b = 'uno'");
            old.sql("VACUUM FULL pg_attribute");
            old.sql("VACUUM FULL pg_class");
            old.sql("VACUUM FULL pg_type");
            old.sql("VACUUM FULL pg_enum");
            old.sql("VACUUM FULL pg_namespace");
            old.sql("INSERT INTO first VALUES (3, 'red', NULL)");
            old.sql("CREATE TABLE third (x int, y colour)");
            old.sql("INSERT INTO third VALUES (1, 'green')");
            old.sql("ALTER TABLE second ADD COLUMN c int DEFAULT 5");
            old.sql("VACUUM FULL pg_attribute");
            old.sql("VACUUM FULL pg_class");
            old.sql("VACUUM FULL pg_index");
            old.sql("UPDATE second SET c = 6");
            old.sql("ALTER TABLE third RENAME TO fourth");
            old.sql("INSERT INTO fourth VALUES (2, 'red')");
            pair.stop(Mode::Fast);
            let what = format!("PostgreSQL {}, images {images}", server.major);
            let lines = pair.lines();
            let rows: Vec<String> = lines
                .iter()
                .filter(|l| l["kind"] == "row")
                .map(|l| {
                    assert_eq!(l["complete"], true, "{what}: {l}");
                    format!(
                        "{} {} {} {}",
                        l["schema"].as_str().unwrap(),
                        l["table"].as_str().unwrap(),
                        l["old"],
                        l["new"]
                    )
                })
                .collect();
            assert_eq!(
                rows,
                [
                    r#"public first null {"c":"green","id":"2","p":"(7,red)"}"#,
                    r#"public second {"a":"1","b":"one"} {"a":"1","b":"uno"}"#,
                    r#"public first null {"c":"red","id":"3","p":null}"#,
                    r#"public third null {"x":"1","y":"green"}"#,
                    r#"public second {"a":"1","b":"uno","c":"5"} {"a":"1","b":"uno","c":"6"}"#,
                    r#"public fourth null {"x":"2","y":"red"}"#,
                ],
                "{what}"
            );
            assert!(unseen(&lines).is_empty(), "{what}: {:#?}", unseen(&lines));
            assert!(lines.iter().all(|l| l["what"] != "nameless"), "{what}");
            let sql = pair.answer(&["--format", "sql"]);
            for line in sql.lines().filter(|l| l.contains("pg_catalog") || l.contains("pg_attribute")) {
                let told = line.starts_with("--")
                    || line.contains("pg_control_system")
                    || line.contains("pg_is_in_recovery");
                assert!(told || line.contains("current_database"), "{what}: {line}");
            }
            let csv = pair.csv();
            assert!(csv.keys().all(|name| !name.contains("pg_")), "{what}: {:?}", csv.keys());
        }
    }
}

/// What CSV says besides the values.
#[test]
fn csv_tells_prepared_and_undecoded() {
    for server in servers() {
        let pair = Pair::new(
            &server,
            &[("max_prepared_transactions", "5")],
            "CREATE TABLE odd (id int PRIMARY KEY, q tsquery, r regclass, b bytea); CREATE TABLE other (id int)",
        );
        let old = &pair.old;
        old.sql("INSERT INTO odd VALUES (1, 'cat & rat', 'pg_class', '\\x01ff'), (2, NULL, NULL, '\\x02')");
        old.sql("BEGIN; INSERT INTO odd (id) VALUES (3); PREPARE TRANSACTION 'a, \"gid\"'");
        old.sql("BEGIN; INSERT INTO odd (id) VALUES (4); PREPARE TRANSACTION 'done'");
        old.sql("COMMIT PREPARED 'done'");
        old.sql("TRUNCATE other");
        pair.stop(Mode::Fast);
        let csv = pair.csv();
        let rows: Vec<&str> = csv["postgres.public.odd.csv"].lines().collect();
        assert_eq!(rows[0], "change,xid,ending,time,lsn,complete,undecoded,id,q,r,b");
        let find = |id: &str| -> String {
            let of = rows[1..].iter().find(|row| row.contains(&format!(",{id},"))).expect("a row");
            (*of).to_owned()
        };
        let undecoded = find("1");
        assert!(undecoded.contains(",committed,") && undecoded.contains(",true,\"q, r\",1,"), "{undecoded}");
        assert!(find("2").contains(",true,,2,,,\\x02"), "{rows:#?}");
        assert!(find("3").contains(",prepared,"), "{rows:#?}");
        assert!(find("4").contains(",committed_prepared,"), "{rows:#?}");
        let events = &csv["_events.csv"];
        assert!(events.starts_with("xid,ending,gid,time,lsn,what,text\r\n"), "{events}");
        assert!(events.contains(",ddl,table public.other truncated; the source has it empty"), "{events}");
    }
}

/// A database that came and went: told in plain words, with its rows.
#[test]
fn databases_made_and_dropped() {
    for server in servers() {
        let major: u32 = server.major.parse().unwrap();
        let strategies: &[&str] =
            if major >= 15 { &[" STRATEGY wal_log", " STRATEGY file_copy"] } else { &[""] };
        for strategy in strategies {
            let pair = Pair::new(&server, &[], "CREATE TABLE calm (id int PRIMARY KEY, v text)");
            let old = &pair.old;
            old.sql(&format!("CREATE DATABASE brief{strategy}"));
            old.sql_in("brief", "CREATE TABLE notes (id int PRIMARY KEY, v text)");
            old.sql_in("brief", "INSERT INTO notes VALUES (1, 'one'), (2, 'two')");
            old.sql_in("brief", "UPDATE notes SET v = 'deux' WHERE id = 2");
            old.sql("INSERT INTO calm VALUES (1, 'calm')");
            old.sql("DROP DATABASE brief");
            old.sql(&format!("CREATE DATABASE stays{strategy}"));
            old.sql_in("stays", "CREATE TABLE notes2 (id int); INSERT INTO notes2 VALUES (5)");
            pair.stop(Mode::Fast);
            let what = format!("PostgreSQL {}{strategy}", server.major);
            let text = pair.answer(&[]);
            assert!(!text.contains("No such file"), "{what}: {text}");
            let lines = pair.lines();
            assert!(unseen(&lines).is_empty(), "{what}: {:#?}", unseen(&lines));
            assert_eq!(inserted(&lines, "notes"), ["1|one", "2|two"], "{what}");
            assert_eq!(inserted(&lines, "notes2"), ["5"], "{what}");
            assert_eq!(inserted(&lines, "calm"), ["1|calm"], "{what}");
            let texts = texts(&lines);
            for wanted in ["database brief created", "database brief dropped", "database stays created"] {
                assert!(texts.contains(&wanted), "{what}: {texts:#?}");
            }
            let update = lines.iter().find(|l| l["change"] == "update").expect("an update");
            assert_eq!(
                (&update["new"]["v"], &update["database"]),
                (&"deux".into(), &"brief".into()),
                "{what}"
            );
            let sql = pair.answer(&["--format", "sql"]);
            assert!(
                !sql.contains("dbname='brief'") && sql.contains("rows are of database brief"),
                "{what}: {sql}"
            );
            assert!(sql.contains("Database stays was made after the divergence"), "{what}: {sql}");
            pair.new.start();
            pair.new.sql("CREATE DATABASE stays");
            pair.new.sql_in("stays", "CREATE TABLE notes2 (id int)");
            pair.new.sql(&sql);
            assert_eq!(pair.new.sql("SELECT * FROM calm"), "1|calm", "{what}");
            assert_eq!(pair.new.sql_in("stays", "SELECT * FROM notes2"), "5", "{what}");
        }
    }
}

const FAMILY: &str = "
CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v text);
CREATE TABLE child (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE ON UPDATE CASCADE, v text);
CREATE TABLE grandchild (id int PRIMARY KEY, child int REFERENCES child ON DELETE CASCADE);
CREATE TABLE loose (parent int REFERENCES parent ON DELETE SET NULL ON UPDATE CASCADE, v text);
CREATE TABLE tree (id int PRIMARY KEY, above int REFERENCES tree ON DELETE CASCADE);
CREATE TABLE keyless (v text);
INSERT INTO parent (v) SELECT 'p' || i FROM generate_series(1, 6) i;
INSERT INTO child SELECT i, i % 6 + 1, 'c' || i FROM generate_series(1, 12) i;
INSERT INTO grandchild SELECT i, i FROM generate_series(1, 12) i;
INSERT INTO loose SELECT i % 6 + 1, 'l' || i FROM generate_series(1, 12) i;
INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2), (4, 1), (5, NULL), (6, 5);
";

/// The script on the new primary: identity columns, what foreign keys do of themselves, going on after an error.
#[test]
fn scripts_go_through_and_go_on() {
    const TABLES: [&str; 6] = ["parent", "child", "grandchild", "loose", "tree", "keyless"];
    for server in servers() {
        let pair = Pair::new(&server, &[], FAMILY);
        let old = &pair.old;
        old.sql("INSERT INTO keyless VALUES ('first')");
        old.sql("DELETE FROM parent WHERE id = 2");
        old.sql("DELETE FROM tree WHERE id = 1");
        old.sql("ALTER TABLE parent ALTER id SET GENERATED BY DEFAULT; UPDATE parent SET id = 100 WHERE id = 3; ALTER TABLE parent ALTER id SET GENERATED ALWAYS");
        old.sql("BEGIN; ALTER TABLE parent ALTER id SET GENERATED BY DEFAULT; UPDATE parent SET id = 101 WHERE id = 4; \
                 ALTER TABLE parent ALTER id SET GENERATED ALWAYS; UPDATE parent SET v = 'x' WHERE id = 101; COMMIT");
        old.sql("BEGIN; ALTER TABLE parent ALTER id SET GENERATED BY DEFAULT; COMMIT");
        old.sql("UPDATE child SET v = 'by hand' WHERE id = 12");
        old.sql("INSERT INTO keyless VALUES ('last')");
        let content = |cluster: &Cluster| -> Vec<Vec<String>> {
            TABLES.iter().map(|table| selected(cluster, &format!("SELECT * FROM {table}"))).collect()
        };
        let expected = content(old);
        pair.stop(Mode::Fast);
        let what = format!("PostgreSQL {}", server.major);
        let sql = pair.answer(&["--format", "sql"]);
        assert!(sql.contains("-v forkpoint_from=N"), "{what}: {sql}");
        pair.new.start();
        // something in its way
        pair.new.sql("BEGIN; SET LOCAL session_replication_role = replica; UPDATE child SET id = 120 WHERE id = 12; COMMIT");
        let stopped = pair.new.try_sql(&sql);
        let said = String::from_utf8_lossy(&stopped.stderr).into_owned();
        assert!(
            !stopped.status.success() && said.contains("update of public.child id='12'"),
            "{what}: {said}"
        );
        let number: u32 = said
            .split("go on with psql -v forkpoint_from=")
            .nth(1)
            .and_then(|rest| rest.split('.').next()?.parse().ok())
            .unwrap_or_else(|| panic!("{what}: {said}"));
        assert_eq!(pair.new.sql("SELECT * FROM keyless"), "first", "{what}");
        assert!(sql.contains(&format!("-- Number {number} of this script.")), "{what}");
        pair.new.sql("BEGIN; SET LOCAL session_replication_role = replica; UPDATE child SET id = 12 WHERE id = 120; COMMIT");
        pair.new.sql(&format!("\\set forkpoint_from {number}\n{sql}"));
        assert_eq!(content(&pair.new), expected, "{what}");
        let always = pair.new.sql(
            "SELECT attidentity FROM pg_attribute WHERE attrelid = 'parent'::regclass AND attname = 'id'",
        );
        assert_eq!(always, "a", "{what}");
        // a row that is gone for another reason stops it still
        pair.new.sql("DELETE FROM loose; DELETE FROM grandchild; DELETE FROM child");
        let again = pair.new.try_sql(&format!("\\set forkpoint_from {number}\n{sql}"));
        assert!(!again.status.success(), "{what}");
    }
}

/// Replication origins have names.
#[test]
fn origins_have_names() {
    for server in servers() {
        for mode in [Mode::Fast, Mode::Immediate] {
            let pair = Pair::new(
                &server,
                &[],
                "CREATE TABLE calm (id int PRIMARY KEY); SELECT pg_replication_origin_create('before the fork')",
            );
            let old = &pair.old;
            old.sql(
                "SELECT pg_replication_origin_session_setup('before the fork'); INSERT INTO calm VALUES (1)",
            );
            old.sql("SELECT pg_replication_origin_create('after it')");
            old.sql(
                "SELECT pg_replication_origin_session_setup('after it'); BEGIN; SELECT \
                 pg_replication_origin_xact_setup('0/ABCDEF', now()); INSERT INTO calm VALUES (2); COMMIT",
            );
            old.sql("INSERT INTO calm VALUES (3)");
            pair.stop(mode);
            let what = format!("PostgreSQL {}", server.major);
            let lines = pair.lines();
            let of = |id: &str| {
                let row = lines.iter().find(|l| l["new"]["id"] == id).expect("a row");
                lines
                    .iter()
                    .find(|l| l["kind"] == "transaction" && l["xid"] == row["xid"])
                    .expect("its transaction")
            };
            assert_eq!(of("1")["origin_names"], serde_json::json!(["before the fork"]), "{what}");
            assert_eq!(of("2")["origin_names"], serde_json::json!(["after it"]), "{what}");
            assert_eq!(of("2")["origin_lsn"], "0/ABCDEF", "{what}");
            assert_eq!(of("3")["origin_names"], serde_json::json!([]), "{what}");
            let text = pair.answer(&[]);
            assert!(text.contains("from replication origin 2 'after it' at 0/ABCDEF"), "{what}: {text}");
        }
    }
}

/// What a DROP or TRUNCATE took with it is told.
#[test]
fn dropped_and_truncated() {
    for server in servers() {
        let pair = Pair::new(
            &server,
            &[],
            "CREATE TABLE one (id int, v text); INSERT INTO one SELECT i, repeat('x', 100) FROM generate_series(1, 300) i;
             CREATE TABLE two (id int); INSERT INTO two VALUES (1); CREATE TABLE bare (id int)",
        );
        let blocks = pair.old.sql("SELECT pg_relation_size('one') / 8192");
        pair.old.sql("TRUNCATE one");
        pair.old.sql("DROP TABLE two");
        pair.old.sql("DROP TABLE bare");
        pair.old.sql("CREATE TABLE own (id int); INSERT INTO own VALUES (1)");
        pair.old.sql("DROP TABLE own");
        pair.stop(Mode::Fast);
        let what = format!("PostgreSQL {}", server.major);
        let with_it = |blocks: &str| {
            format!(
                "; the rows that went with that are not listed: the source has the table's file still, {blocks}"
            )
        };
        let wanted = [
            format!("table public.one truncated{}", with_it(&format!("{blocks} blocks"))),
            format!("table public.two dropped{}", with_it("1 block")),
            "table public.bare dropped; the source has it empty".to_owned(),
        ];
        let lines = pair.lines();
        let texts: BTreeSet<&str> = texts(&lines).into_iter().collect();
        let (text, sql, csv) = (pair.answer(&[]), pair.answer(&["--format", "sql"]), pair.csv());
        for one in &wanted {
            assert!(texts.contains(one.as_str()), "{what}: {one}: {texts:#?}");
            for said in [&text, &sql, &csv["_events.csv"]] {
                assert!(said.contains(one.as_str()), "{what}: {one}: {said}");
            }
        }
        assert!(texts.contains("table public.own dropped"), "{what}: {texts:#?}");
    }
}
