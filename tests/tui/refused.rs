//! What is typed after a key that was refused does nothing.

use forkpoint::tui::action::ViewId;
use forkpoint::tui::start::What;

use crate::robot::{Robot, pair};

fn options(name: &str) -> forkpoint::diagnosis::engine::Options {
    let pair = pair(name);
    forkpoint::diagnosis::engine::Options {
        target: pair.join("target"),
        source: pair.join("source"),
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    }
}

/// Texts of which each letter means something somewhere.
const TYPED: [&str; 3] = ["/accounts", "&heap_q7X", "pgdata/yes"];

#[test]
fn a_text_after_a_refused_key_is_no_keys() {
    // a stored report: neither rows nor records can be searched
    let mut robot = Robot::open("basic-18", (80, 24));
    let diagnosis = robot.app.shared.diagnosis.clone().unwrap();
    let mut json = Vec::new();
    forkpoint::report::json::write(&forkpoint::report::dto::Report::from(&*diagnosis), &mut json).unwrap();
    let picture = forkpoint::tui::saved::Picture::read(&json).unwrap();
    let mut stored = Robot::start(What::Report(Box::new(picture)), (80, 24), true);
    stored.settle();
    for (view, key, why) in [
        ("1", "/", "search does nothing in Overview; it is for Control (2)"),
        ("1", "e", "it is a file already"),
        ("2", "&", "filter does nothing in Control"),
        ("4", "e", "export does nothing in Blocks; it is for Overview (1), Lost (6), Plan (7)"),
        ("5", "/", "records are read from the data directories"),
        ("6", "/", "a stored report has no rows"),
        ("6", "X", "carry-out does nothing in Lost; it is for Plan (7)"),
        ("7", "/", "there is no plan yet"),
        ("7", "&", "there is no plan yet"),
        ("7", "X", "a stored plan is only shown"),
        ("7", "U", "a stored plan is only shown"),
    ] {
        for typed in TYPED {
            stored.keys(view);
            let before = stored.frame();
            stored.keys(key).shows(why);
            stored.keys(typed).shows(why).shows(typed);
            stored.keys("<Enter>");
            assert_eq!(stored.frame(), before, "{view} {key} {typed}");
            assert!(!stored.quit && stored.copied.is_empty());
        }
    }
    // also where a command was entered by its name, and where a text is pasted
    robot.keys("2:carry-out<Enter>").shows("carry-out does nothing in Control");
    robot.keys("q7<Esc>").shows("system identifier");
    assert!(!robot.quit && robot.app.view == ViewId::Control);
}

#[test]
fn a_word_after_a_refused_question_is_no_keys() {
    let mut robot = Robot::start(What::Pair(Box::new(options("basic-18"))), (80, 24), true);
    robot.settle();
    robot.keys("7X").shows("opened with --read-only: nothing is carried out");
    robot.check("refused-80x24");
    robot.keys("target<Enter>");
    assert_eq!(robot.app.view, ViewId::Plan);
    assert!(robot.app.overlay.is_none() && robot.executor.0.lock().unwrap().is_empty());
}

#[test]
fn marks_where_there_are_none_say_so() {
    let mut robot = Robot::open("basic-18", (80, 24));
    for view in ["1", "2", "3", "7"] {
        robot.keys(view).keys("m").shows("mark does nothing in ");
        robot
            .keys("'")
            .shows("next-mark does nothing in ")
            .shows("it is for Records (5), Blocks (4), Lost (6)");
    }
    robot.keys("6m").shows("marked; ' goes from mark to mark").keys("m").shows("the mark is gone");
    robot.keys("5m").shows("marked; ' goes from mark to mark").keys("m").shows("the mark is gone");
}
