//! Files that are asked for: where, never over another one, never in a data directory.

use std::fs;
use std::path::PathBuf;

use forkpoint::tui::start::What;

use crate::robot::{Robot, WIDE, pair};

fn place() -> PathBuf {
    std::env::current_dir().unwrap()
}

#[test]
fn a_name_is_asked_for_and_nothing_is_overwritten() {
    let mut robot = Robot::open("basic-18", WIDE);
    let folder = place().join("exports");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("mine.json"), "mine").unwrap();
    let entries = || fs::read_dir(&folder).unwrap().count();
    robot.keys("e").shows("Writes the report as JSON; no file is overwritten.");
    // nothing is there before Enter, nor after Esc
    robot.keys("<C-u>exports/new.json<Esc>");
    assert_eq!(entries(), 1);
    robot.keys("e<C-u>exports/mine.json<Enter>");
    robot.shows("mine.json exists already").shows("give another name");
    assert_eq!(fs::read_to_string(folder.join("mine.json")).unwrap(), "mine");
    // it asks again with what was typed
    robot.keys("<Backspace><Backspace><Backspace><Backspace><Backspace>2.json<Enter>");
    robot.shows("written: ").shows("mine2.json");
    let written: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("mine2.json")).unwrap()).unwrap();
    assert_eq!(written["verdict"]["action"], "rewind");
    for (given, why) in [
        ("exports", "is a directory: add a file name"),
        ("nowhere/x.json", "No such file or directory"),
        ("", "give the path of a new file"),
        ("basic-18/target/x.json", "lies inside basic-18/target, and nothing is written there"),
        ("basic-18/source/pg_wal/x.json", "lies inside basic-18/source, and nothing is written there"),
    ] {
        robot.keys("e<C-u>").keys(given).keys("<Enter>").shows(why);
        assert!(!robot.frame().contains("os error"));
        robot.keys("<Esc>");
    }
    assert_eq!(entries(), 2);
    assert!(!pair("basic-18").join("target/x.json").exists());
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_name_that_is_given_first_is_free() {
    let mut robot = Robot::open("basic-18", WIDE);
    robot.keys("7e");
    robot.shows("/forkpoint-plan");
    let frame = robot.frame();
    let path = frame.split("to /").nth(1).unwrap().split('\u{258c}').next().unwrap().to_owned();
    fs::write(format!("/{path}"), "there").unwrap();
    robot.keys("<Esc>e");
    assert!(!robot.frame().contains(&path), "{}", robot.frame());
    robot.keys("<Esc>");
    fs::remove_file(format!("/{path}")).unwrap();
}

#[test]
fn with_read_only_it_is_said_what_that_is_for() {
    let pair = pair("basic-18");
    let options = forkpoint::diagnosis::engine::Options {
        target: pair.join("target"),
        source: pair.join("source"),
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    };
    let mut robot = Robot::start(What::Pair(Box::new(options)), (80, 24), true);
    robot.settle();
    robot.keys("e").shows("overwritten. --read-only is for");
}
