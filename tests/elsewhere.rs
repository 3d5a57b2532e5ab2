//! What lies elsewhere: behind a restore command or in another snapshot; and that waiting for it ends at a signal.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

#[path = "common/pairs.rs"]
mod pairs;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json(args: &[&str]) -> Value {
    let Output { status, stdout, stderr } = command(args).args(["--format", "json"]).output().unwrap();
    assert!([0, 3].contains(&status.code().unwrap()), "{args:?} {}", String::from_utf8_lossy(&stderr));
    serde_json::from_slice(&stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn of(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        pairs::unpack_to(scenario, dir.path());
        fs::create_dir(dir.path().join("store")).unwrap();
        Self { dir }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn path(&self, name: &str) -> String {
        text(&self.at(name)).to_owned()
    }

    /// A restore command that notes what it was asked for.
    fn restore(&self) -> String {
        let root = self.dir.path().display();
        format!("echo %f >> {root}/asked; cp {root}/store/%f %p")
    }

    fn asked(&self) -> Vec<String> {
        let asked = fs::read_to_string(self.at("asked")).unwrap_or_default();
        asked.lines().map(str::to_owned).collect()
    }
}

fn codes(report: &Value) -> Vec<&str> {
    report["findings"].as_array().unwrap().iter().filter_map(|f| f["code"].as_str()).collect()
}

#[test]
fn a_history_file_that_neither_side_has_is_asked_for() {
    let scene = Scene::of("cascade-1-2-3");
    let (target, source) = (scene.path("target"), scene.path("source"));
    let whole = json(&["report", &target, &source]);
    assert!(scene.asked().is_empty());
    for side in ["target", "source"] {
        let from = scene.at(side).join("pg_wal/00000003.history");
        if from.exists() {
            fs::rename(from, scene.at("store/00000003.history")).unwrap();
        }
    }
    let without = json(&["report", &target, &source]);
    assert!(codes(&without).contains(&"FP80"), "{:?}", codes(&without));
    let restore = scene.restore();
    let with = json(&["report", &target, &source, "--restore-command", &restore]);
    assert!(!codes(&with).contains(&"FP80"), "{:?}", codes(&with));
    assert!(scene.asked().contains(&"00000003.history".to_owned()), "{:?}", scene.asked());
    for what in ["relation", "divergence", "common_checkpoint"] {
        assert_eq!(with[what], whole[what], "{what}");
    }
    assert_eq!(with["verdict"]["action"], whole["verdict"]["action"]);
    assert_ne!(with["divergence"], without["divergence"]);
    let snapshots = json(&["snapshots", &source, &target, "--restore-command", &restore]);
    assert_eq!(snapshots["snapshots"][0]["action"], "rewind", "{snapshots}");
}

#[test]
fn a_history_file_at_hand_is_not_asked_for() {
    let scene = Scene::of("cascade-1-2-3");
    json(&["report", &scene.path("target"), &scene.path("source"), "--restore-command", &scene.restore()]);
    assert!(!scene.asked().iter().any(|name| name.ends_with(".history")), "{:?}", scene.asked());
}

#[test]
fn the_tree_of_timelines_has_what_the_restore_command_brings() {
    let scene = Scene::of("cascade-1-2-3");
    let source = scene.path("source");
    let whole = json(&["timelines", &source]);
    let own = scene.at("source/pg_wal/00000003.history");
    fs::rename(&own, scene.at("store/00000003.history")).unwrap();
    let restore = scene.restore();
    for threads in ["1", "2"] {
        let with = json(&["timelines", &source, "--restore-command", &restore, "--threads", threads]);
        let numbers = |tree: &Value| -> Vec<String> {
            let text = tree.to_string();
            text.match_indices("\"timeline\":").map(|(at, _)| text[at..at + 13].to_owned()).collect()
        };
        assert_eq!(numbers(&with), numbers(&whole));
    }
    // as a server does, newer ones are asked for until there is none
    let history = fs::read_to_string(scene.at("store/00000003.history")).unwrap();
    let newer = format!("{}\n3\tF/F0000000\tpromoted once more\n", history.trim_end());
    fs::write(scene.at("store/00000004.history"), newer).unwrap();
    fs::remove_file(scene.at("asked")).unwrap();
    let with = json(&["timelines", &source, "--restore-command", &restore]);
    assert!(with.to_string().contains("promoted once more"), "{with}");
    let asked = scene.asked();
    assert!(asked.contains(&"00000005.history".to_owned()), "{asked:?}");
    assert!(!asked.contains(&"00000006.history".to_owned()), "{asked:?}");
    assert_eq!(with["unseen"].as_array().map(Vec::len), whole["unseen"].as_array().map(Vec::len), "{with}");
}

#[test]
fn wal_of_one_snapshot_serves_another() {
    let scene = Scene::of("snapshots");
    let (source, backup, later) = (scene.path("source"), scene.path("base-backup"), scene.path("target"));
    for side in ["source", "base-backup"] {
        fs::remove_file(scene.at(side).join("pg_wal/000000010000000000000010")).unwrap();
    }
    let alone = json(&["snapshots", &source, &backup]);
    assert_eq!(alone["snapshots"][0]["action"], "unusable", "{alone}");
    let both = json(&["snapshots", &source, &backup, &later]);
    let first = &both["snapshots"][0];
    assert_eq!(first["action"], "follow", "{both}");
    assert!(first["why"].as_str().unwrap().contains("consistent from 0/1000120"), "{first}");
    assert!(first["wal"].to_string().contains("target/pg_wal/000000010000000000000010"), "{first}");
    assert!(!first["why"].as_str().unwrap().contains("But "), "{first}");
    assert_eq!(both["snapshots"][1]["action"], "rewind", "{both}");
    // what that one wrote after it left the source's line is nobody else's
    let only = scene.at("target/pg_wal");
    fs::rename(only.join("000000010000000000000010"), only.join("000000010000000000000012")).unwrap();
    assert_eq!(json(&["snapshots", &source, &backup, &later])["snapshots"][0]["action"], "unusable");
}

#[test]
fn a_backup_does_not_go_on_into_the_archive() {
    let scene = Scene::of("snapshots");
    let (source, backup, before) =
        (scene.path("source"), scene.path("base-backup"), scene.path("snap-before"));
    let alone = json(&["snapshots", &source, &backup, &before]);
    let archive = scene.path("target/pg_wal");
    let with = json(&["snapshots", &source, &backup, &before, "--wal-archive", &archive]);
    for n in [0, 1] {
        for what in ["action", "recommended"] {
            assert_eq!(with["snapshots"][n][what], alone["snapshots"][n][what], "{n} {what}");
        }
        assert_eq!(with["snapshots"][n]["end_of_wal"]["lsn"], alone["snapshots"][n]["end_of_wal"]["lsn"]);
    }
    let report = json(&["report", &backup, &source, "--wal-archive", &archive]);
    assert_eq!(report["verdict"]["action"], "follow", "{}", report["verdict"]);
}

#[test]
fn what_a_transaction_drops_comes_before_the_catalogs() {
    let scene = Scene::of("basic-18");
    let (target, source) = (scene.path("target"), scene.path("source"));
    let report = ["report", &target, &source, "-v", "--quiet", "--format", "markdown"];
    let output = command(&report).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let truth = pairs::truth("basic-18");
    for (sql, table) in [
        ("CREATE TABLE lost_table (a int, b text)", "public.lost_table"),
        ("CREATE INDEX lost_table_a ON lost_table (a)", "public.lost_table_a"),
        ("TRUNCATE note", "public.note"),
        ("DROP TABLE app.scrap", "app.scrap"),
    ] {
        let lost = truth["lost"].as_array().unwrap();
        let xid = lost.iter().find(|x| x["sql"] == sql).unwrap()["xid"].to_string();
        let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
        let row = text.lines().map(cells).find(|cells| cells.get(2) == Some(&xid)).unwrap();
        let relations = row.iter().rfind(|cell| !cell.is_empty()).unwrap();
        assert!(relations.starts_with(&format!("`postgres.{table}`")), "{sql}: {row:?}");
    }
}

#[test]
fn the_demo_takes_what_all_commands_take() {
    let output = command(&["demo", "--threads", "1", "--wal-archive", "/does/not/exist"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let output = command(&["demo", "--threads", "1", "--quiet"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn every_command_stops_at_a_signal_while_it_waits_for_a_restore_command() {
    let scene = Scene::of("recycled-archive");
    let (target, source) = (scene.path("target"), scene.path("source"));
    let mark = scene.at("mark");
    let restore = format!("touch {}; sleep 600; : %f %p", mark.display());
    for args in [
        &["report", &target, &source][..],
        &["blocks", &target, &source],
        &["snapshots", &source, &target],
        &["timelines", &target, &source],
    ] {
        let mut child = command(args).args(["--restore-command", &restore]).spawn().unwrap();
        let started = Instant::now();
        while !mark.exists() {
            assert!(started.elapsed() < Duration::from_secs(60), "{args:?} did not ask");
            std::thread::sleep(Duration::from_millis(5));
        }
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let status = child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(130), None), "{args:?}");
        // the command would be killed by its own limit only after a minute
        assert!(started.elapsed() < Duration::from_secs(50), "{args:?}");
        fs::remove_file(&mark).unwrap();
    }
}
