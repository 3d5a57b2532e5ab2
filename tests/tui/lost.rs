//! The second of the four stories: see a lost row.

use forkpoint::diagnosis::engine::{Options, Progress, facts};
use forkpoint::lost::{Filter, Lost, lost};
use forkpoint::report::lost::jsonl;
use serde_json::Value;

use crate::robot::{Robot, WIDE, pair};

fn options(name: &str) -> Options {
    let pair = pair(name);
    let archive = pair.join("archive");
    Options {
        target: pair.join("target"),
        source: pair.join("source"),
        archives: archive.is_dir().then_some(archive).into_iter().collect(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    }
}

/// What `forkpoint lost --format jsonl` prints.
fn truth(name: &str) -> (Lost, Vec<Value>) {
    let options = options(name);
    let facts = facts(&options, &Progress::default()).unwrap();
    let found = lost(&options, &facts, &Filter::default(), &Progress::default()).unwrap();
    let mut out = Vec::new();
    jsonl::write(&found, &found.counts().unwrap(), &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let values = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (found, values)
}

fn rows(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|l| l["kind"] == "row").collect()
}

#[test]
fn see_a_lost_row() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6");
    robot.check("lost-80x24");
    let (found, lines) = truth("basic-18");
    // every transaction, and each one's rows
    for xact in &found.transactions {
        robot.shows(&format!("what {} did", xact.xid)).shows(&format!("{} ", xact.xid));
        robot.keys("j");
    }
    robot.keys("gj");
    // into the first transaction's rows, and the first row in full
    robot.keys("<Enter><Enter><Enter>");
    robot.check("lost-row-80x24");
    let first = rows(&lines)[0];
    assert_page(&mut robot, first);
    robot.keys("<Esc>").resize((120, 40));
    robot.check("lost-120x40");
}

/// The page shows the values that the export has.
fn assert_page(robot: &mut Robot, row: &Value) {
    let table = format!("{}.{}.{}", row["database"], row["schema"], row["table"]).replace('"', "");
    robot.shows(&table).shows(&format!("record at {}", row["lsn"]).replace('"', ""));
    // values may be longer than a screen: all of them are copied
    let page = robot.keys("y").copied.pop().unwrap();
    assert!(page.contains("✓ complete") == (row["complete"] == true), "{page}");
    for side in ["old", "new"] {
        for (column, value) in row[side].as_object().into_iter().flatten() {
            let shown = match value {
                Value::Null => "NULL".to_owned(),
                Value::String(text) => format!("'{text}'"),
                other => other["hex"].as_str().or(other["unknown"].as_str()).unwrap().to_owned(),
            };
            assert!(page.contains(column.as_str()) && page.contains(&shown), "{column} {shown} in\n{page}");
        }
    }
}

#[test]
fn every_lost_row_is_there() {
    for name in ["basic-13", "basic-18"] {
        let mut robot = Robot::open(name, (200, 60));
        robot.keys("6");
        let (found, lines) = truth(name);
        let all = rows(&lines);
        assert!(!all.is_empty());
        let mut seen = 0;
        for xact in &found.transactions {
            let of: Vec<_> = all.iter().filter(|r| r["xid"] == xact.xid).collect();
            if of.is_empty() {
                robot.keys("j");
                continue;
            }
            // through every row of it by Tab, from the first on
            robot.keys("<Tab><Tab><Enter>");
            for (n, row) in of.iter().enumerate() {
                robot.shows(&format!("row {} of {}", n + 1, of.len()));
                assert_page(&mut robot, row);
                robot.keys("<Tab>");
                seen += 1;
            }
            robot.keys("<Esc><Tab>j");
        }
        assert_eq!(seen, all.len(), "{name}");
    }
}

#[test]
fn a_value_is_searched_and_a_table_filtered() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6");
    let (_, lines) = truth("basic-18");
    // the last row's last text
    let all = rows(&lines);
    let last = all[all.len() - 1];
    let side = if last["new"].is_object() { "new" } else { "old" };
    let text =
        last[side].as_object().unwrap().values().filter_map(Value::as_str).max_by_key(|t| t.len()).unwrap();
    let hits = all.iter().filter(|row| row.to_string().contains(text)).count();
    robot.keys(&format!("/{text}<Enter>"));
    for _ in 1..hits {
        robot.keys("n");
    }
    robot.keys("<Enter>");
    robot.shows(&format!("'{text}'"));
    assert_page(&mut robot, last);
    robot.keys("<Esc>/no value is like this<Enter>");
    robot.shows("no value has \"no value is like this\"");
    // only one table
    let table = last["table"].as_str().unwrap();
    robot.keys("<Esc><Esc><Esc>").keys(&format!("&{table}<Enter>"));
    robot.shows("in a table's name");
    robot.keys("<Esc>&nothing like it<Enter>");
    robot.shows("no transaction changed a table with");
}

#[test]
fn the_records_of_a_transaction_are_one_key_away() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6r");
    assert_eq!(robot.app.view, forkpoint::tui::action::ViewId::Records);
}

#[test]
fn what_is_lost_is_written_to_files() {
    let mut robot = Robot::open("basic-18", WIDE);
    robot.keys("6e").shows("as an SQL script, and beside it as JSON lines");
    robot.keys("<C-u>rows.sql<Enter>").shows("written: ").shows("/rows.sql, and beside it rows.jsonl");
    let place = std::env::current_dir().unwrap();
    let read = |extension: &str| {
        let path = place.join(format!("rows{extension}"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        text
    };
    let (_, lines) = truth("basic-18");
    let written: Vec<Value> = read(".jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(written, lines);
    assert!(read(".sql").contains("BEGIN"));
}

#[test]
fn what_is_not_seen_is_told_on_the_screen() {
    // the target's WAL breaks off
    for name in ["crashed-target", "half-rewound", "maintenance-only", "switchover"] {
        let mut robot = Robot::open(name, (80, 24));
        robot.keys("6");
        let (found, _) = truth(name);
        let frame = robot.frame();
        assert_eq!(frame.contains("not seen:"), !found.unseen.is_empty(), "{name}\n{frame}");
        assert_eq!(frame.contains("discards at least"), found.cut_short, "{name}\n{frame}");
    }
}

/// A screen over what `forkpoint report --format json` writes.
fn stored(name: &str) -> Robot {
    let diagnosis = forkpoint::diagnosis::engine::diagnose(&options(name), &Progress::default()).unwrap();
    let mut json = Vec::new();
    forkpoint::report::json::write(&forkpoint::report::dto::Report::from(&diagnosis), &mut json).unwrap();
    let picture = forkpoint::tui::saved::Picture::read(&json).unwrap();
    let mut robot = Robot::start(forkpoint::tui::start::What::Report(Box::new(picture)), (80, 24), true);
    robot.settle();
    robot
}

#[test]
fn a_stored_report_has_the_transactions() {
    let mut robot = stored("basic-18");
    robot.keys("6");
    robot.shows("its rows need the directories");
    let (found, _) = truth("basic-18");
    for xact in &found.transactions {
        robot.shows(&format!("what {} touched", xact.xid)).shows(&format!("{} ", xact.xid));
        robot.keys("j");
    }
    robot.check("lost-stored-80x24");
    for key in ["e", "/", "n"] {
        robot.keys(key).shows("a stored report has no rows; it needs the directories");
        robot.keys("<Esc>");
    }
    robot.keys("r").shows("a stored report has no records");
}

#[test]
fn transactions_are_marked_copied_and_found_again() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6mjjmk");
    robot.shows("what 779 did");
    robot.keys("'").shows("what 780 did");
    robot.keys("'").shows("what 778 did");
    let copied = robot.keys("y").copied.pop().unwrap();
    assert!(copied.starts_with("transaction 778 "), "{copied}");
    // the row as text, without opening it
    let copied = robot.keys("<Tab><Tab>y").copied.pop().unwrap();
    assert!(copied.contains("owner = 'lost insert'"), "{copied}");
    // taken away again, the other one is the only one
    robot.keys("<Esc><Esc>m'").shows("what 780 did");
    robot.keys("'").shows("what 780 did");
}

#[test]
fn every_pane_has_the_whole_body_where_there_is_little_room() {
    let mut robot = Robot::open("basic-18", (40, 10));
    robot.keys("6");
    robot.check("lost-40x10");
    robot.keys("<Enter><Enter>");
    robot.shows("owner='lost insert'");
    robot.keys("<Enter>").shows("id (key) = '9001'");
    robot.keys("<PageDown>").shows("owner = 'lost insert'");
    robot.keys("<Esc>7").shows("copy");
    robot.check("plan-40x10");
}

#[test]
fn everything_that_is_no_row_is_listed_too() {
    let mut robot = Robot::open("basic-18", (200, 60));
    robot.keys("6");
    let (found, lines) = truth("basic-18");
    let mut seen = 0;
    for xact in &found.transactions {
        let events: Vec<&Value> =
            lines.iter().filter(|l| l["kind"] == "event" && l["xid"] == xact.xid).collect();
        let frame = robot.frame();
        assert_eq!(frame.matches('◆').count(), events.len(), "{frame}");
        for event in &events {
            if let Some(text) = event["text"].as_str() {
                let begin: String = text.chars().take(40).collect();
                robot.shows(&begin);
            }
            seen += 1;
        }
        robot.keys("j");
    }
    assert!(seen > 3, "{seen}");
}

#[test]
fn a_click_selects_and_another_one_opens() {
    use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6").shows("what 778 did");
    let mut click = |column, row| {
        let kind = MouseEventKind::Down(MouseButton::Left);
        let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
        robot.event(forkpoint::tui::jobs::Event::Terminal(Event::Mouse(event)));
        robot.settle();
        robot.frame()
    };
    // the third transaction, then its row twice
    assert!(click(10, 8).contains("what 780 did"));
    assert!(click(10, 14).contains("━ postgres."));
    assert!(click(10, 14).contains("by transaction 780"));
}
