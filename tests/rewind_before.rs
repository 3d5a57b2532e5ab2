//! What a rewind discarded is told from its undo store as it was told before the rewind: rows and report, over bundled
//! pairs, half-way and finished, from what was kept and from a clone.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::fs;
use std::io::Write as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::cluster::{Cluster, Mode};
use common::{other_user, scratch};

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Directories below a place that the servers' user may use, and the program.
struct Place {
    scratch: tempfile::TempDir,
    target: PathBuf,
    source: PathBuf,
}

impl Place {
    fn bundled(scenario: &str) -> Self {
        let place = scratch();
        pairs::unpack_to(scenario, place.path());
        let mut todo = vec![place.path().to_owned()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            if let Some((uid, gid)) = other_user() {
                std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
            }
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
        let (target, source) = (place.path().join("target"), place.path().join("source"));
        Self::of(place, target, source)
    }

    fn of(place: tempfile::TempDir, target: PathBuf, source: PathBuf) -> Self {
        let program = place.path().join("forkpoint");
        let output = Command::new("cp").arg(env!("CARGO_BIN_EXE_forkpoint")).arg(program).output().unwrap();
        common::assert_success("cp", &output);
        Self { scratch: place, target, source }
    }

    fn store(&self) -> PathBuf {
        let mut name = self.target.clone().into_os_string();
        name.push(".forkpoint");
        name.into()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.scratch.path().join("forkpoint"));
        command.args(args).current_dir(self.scratch.path()).stdin(Stdio::null()).env("TZ", "UTC");
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Exit status, standard output, standard error.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn ends(&self, args: &[&str], status: i32) -> String {
        let (found, out, err) = self.run(args);
        assert_eq!(found, Some(status), "{args:?}: {out}{err}");
        format!("{out}{err}")
    }

    fn plan(&self) -> bool {
        let (target, source) = (self.target.to_str().unwrap(), self.source.to_str().unwrap());
        self.run(&["plan", target, source, "-o", "plan.json", "-q"]).0 == Some(0)
    }

    /// What `lost` and `report` say, where the directory that stands for the target is called TARGET.
    fn said(&self, target: &Path) -> (Option<i32>, String, serde_json::Value) {
        let (target, source) = (target.to_str().unwrap(), self.source.to_str().unwrap());
        let (status, lost, errors) = self.run(&["lost", target, source, "--format", "jsonl"]);
        assert!(status == Some(0) || status == Some(3), "{lost}{errors}");
        let (_, report, errors) = self.run(&["report", target, source, "--format", "json"]);
        let mut json: serde_json::Value =
            serde_json::from_str(&report).unwrap_or_else(|e| panic!("{e}: {report}{errors}"));
        let path = json["target"]["path"].as_str().unwrap().to_owned();
        plain(&mut json, &path);
        (status, lost.replace(&path, "TARGET"), json)
    }
}

/// Without paths, and without the room that is free.
fn plain(json: &mut serde_json::Value, path: &str) {
    match json {
        // of files behind links the name
        serde_json::Value::String(text) if text.starts_with('/') && text != path => {
            *text = Path::new(text).file_name().unwrap_or_default().to_string_lossy().into_owned();
        }
        serde_json::Value::String(text) => *text = text.replace(path, "TARGET"),
        serde_json::Value::Array(list) => list.iter_mut().for_each(|v| plain(v, path)),
        serde_json::Value::Object(map) => {
            map.retain(|key, _| !["target_space"].contains(&key.as_str()));
            map.values_mut().for_each(|v| plain(v, path));
        }
        _ => {}
    }
}

fn assert_same(
    found: &(Option<i32>, String, serde_json::Value),
    expected: &(Option<i32>, String, serde_json::Value),
    what: &str,
) {
    assert_eq!(found.0, expected.0, "{what}: status");
    for (a, b) in found.1.lines().zip(expected.1.lines()) {
        assert_eq!(a, b, "{what}");
    }
    assert_eq!(found.1, expected.1, "{what}: lost");
    let (a, b) = (found.2.as_object().unwrap(), expected.2.as_object().unwrap());
    let none = Vec::new();
    let findings = |of: &serde_json::Value| of["findings"].as_array().unwrap_or(&none).clone();
    for (found, expected) in findings(&found.2).iter().zip(&findings(&expected.2)) {
        assert_eq!(found, expected, "{what}: report: {found:#} instead of {expected:#}");
    }
    for (key, value) in b {
        assert_eq!(a.get(key), Some(value), "{what}: report: {key}");
    }
}

#[test]
fn bundled_pairs() {
    let mut rows = 0;
    let mut told = Vec::new();
    for scenario in ["basic-13", "basic-18", "tablespaces", "crashed-target", "compress-lz4", "contrecord"] {
        let place = Place::bundled(scenario);
        if !place.plan() {
            say(&format!("bundled_pairs: {scenario}: no plan"));
            continue;
        }
        let expected = place.said(&place.target);
        rows += expected.1.lines().filter(|line| line.contains("\"row\"")).count();
        for undo in ["changes", "copy"] {
            let apply = ["apply", "plan.json", "--yes", "-q", "--target-is-stopped", "--undo", undo];
            place.ends(&apply, 0);
            assert_same(&place.said(&place.store()), &expected, &format!("{scenario}, {undo}"));
            let (_, _, errors) =
                place.run(&["lost", place.target.to_str().unwrap(), place.source.to_str().unwrap()]);
            assert!(errors.contains("was rewound") && errors.contains(".forkpoint"), "{errors}");
            place.ends(&["undo", place.target.to_str().unwrap(), "-q"], 0);
            let store = place.store();
            let asked = ["lost", store.to_str().unwrap(), place.source.to_str().unwrap()];
            assert!(place.ends(&asked, 4).contains("was undone"));
            assert_same(&place.said(&place.target), &expected, &format!("{scenario}, undone"));
            place.ends(&["undo", place.target.to_str().unwrap(), "--discard", "--yes", "-q"], 0);
            assert!(place.ends(&asked, 3).contains("--discard"));
        }
        told.push(scenario);
    }
    assert!(told.len() > 4 && rows > 50, "{told:?} {rows}");
    say(&format!("bundled_pairs: {}: {rows} rows told from the store as before", told.join(", ")));
}

#[test]
fn half_way() {
    let place = Place::bundled("basic-18");
    assert!(place.plan());
    let expected = place.said(&place.target);
    let aside = place.target.join("global/pg_control.forkpoint");
    let mut halfway = 0;
    for n in 0..20u64 {
        let mut child = place.command(&["apply", "plan.json", "--yes", "-q", "--undo=changes"]);
        let mut child = child.stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
        // from then on until it is finished it is half-way
        while !aside.exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(3 * n));
        let _ = child.kill();
        let killed = child.wait().unwrap().signal() == Some(9);
        let status = place.ends(&["status", place.target.to_str().unwrap(), "--format", "json"], 0);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let state = status["state"].as_str().unwrap();
        if matches!(state, "none" | "undone") {
            continue;
        }
        if killed && state == "in_progress" {
            halfway += 1;
        }
        assert_same(&place.said(&place.store()), &expected, &format!("killed after {n}: {state}"));
        place.ends(&["undo", place.target.to_str().unwrap(), "-q"], 0);
        if halfway >= 5 {
            break;
        }
    }
    assert!(halfway > 0, "it was never half-way: a poor test");
    say(&format!("half_way: {halfway} times half-way, told from the store"));
}

/// A server replays on the result: with a clone all is told as before; without one it is told as long as catalogs stay as
/// they were, and refused with the reason after that.
#[test]
fn after_replay() {
    let test = "after_replay";
    let installed = common::installed().into_iter().rev();
    let Some(server) = installed.into_iter().find(|s| s.major != "19" && common::cluster::whole(s)) else {
        say(&format!("{test}: skipped: no PostgreSQL with client programs is installed"));
        return;
    };
    for (undo, ddl) in [("changes", false), ("changes", true), ("copy", true)] {
        let old = Cluster::init(&server, &[]);
        fs::create_dir(old.dir().join("space")).unwrap();
        common::give_away(&old.dir().join("space"));
        old.start();
        let space = old.dir().join("space");
        old.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", space.display()));
        old.sql(
            "CREATE TABLE t (a int PRIMARY KEY, b text) TABLESPACE space;
             INSERT INTO t SELECT g, repeat(md5(g::text), 300) FROM generate_series(1, 500) g;
             ALTER TABLE t ALTER b SET STORAGE EXTERNAL; CHECKPOINT",
        );
        let new = old.standby();
        new.start();
        new.wait_for(&old);
        new.promote();
        old.sql("UPDATE t SET b = b || 'lost' WHERE a % 50 = 0; DELETE FROM t WHERE a = 7");
        old.sql("CREATE TABLE only_old (x int); INSERT INTO only_old VALUES (1)");
        new.sql("UPDATE t SET b = 'kept' WHERE a % 30 = 0");
        if ddl {
            new.sql("CREATE TABLE only_new (y text); INSERT INTO only_new VALUES ('kept')");
        }
        old.stop(Mode::Fast);
        new.stop(Mode::Fast);
        let place = Place::of(scratch(), old.pgdata(), new.pgdata());
        assert!(place.plan());
        let conninfo = new.conninfo();
        let (target, source) = (old.pgdata(), new.pgdata());
        let (target, source) = (target.to_str().unwrap(), source.to_str().unwrap());
        place.ends(&["plan", target, source, "--standby", &conninfo, "-o", "plan.json", "-q"], 0);
        let expected = place.said(&old.pgdata());
        assert!(expected.1.contains("only_old"), "{}", expected.1);
        place.ends(&["apply", "plan.json", "--yes", "-q", "--undo", undo], 0);
        assert_same(&place.said(&place.store()), &expected, &format!("{undo}: before a server is started"));
        new.start();
        old.start();
        old.wait_for(&new);
        old.sql("CHECKPOINT");
        old.stop(Mode::Fast);
        new.stop(Mode::Fast);
        let store = place.store();
        let (store, what) = (store.to_str().unwrap(), format!("{undo}, ddl {ddl}: replayed"));
        if undo == "changes" && ddl {
            let text = place.ends(&["lost", store, source], 4);
            assert!(text.contains("replay has changed block") && text.contains("moved/pg_wal"), "{text}");
            continue;
        }
        // the source went on meanwhile, which its part of the report says
        let found = place.said(&place.store());
        assert_eq!(found.1, expected.1, "{what}");
        let verdict = |said: &serde_json::Value| said["divergence"].clone();
        assert_eq!(verdict(&found.2), verdict(&expected.2), "{what}");
    }
    say(&format!("{test}: ran with PostgreSQL {}", server.major));
}
