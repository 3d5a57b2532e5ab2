//! The fourth of the four stories: preview, carry out and undo a rewind on a copy.

use forkpoint::diagnosis::engine::Progress;
use forkpoint::plan::{self, Plan, PlanOptions};
use forkpoint::tui::executor::Command;
use forkpoint::tui::start::What;

use crate::robot::{Robot, WIDE, pair};

fn truth(name: &str, options: &PlanOptions) -> Plan {
    let pair = pair(name);
    let (target, source) = (pair.join("target"), pair.join("source"));
    plan::make((&target, &source), options, 1, &Progress::default()).unwrap().1
}

#[test]
fn preview() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("7");
    robot.check("plan-80x24");
    let plan = truth("basic-18", &PlanOptions::default());
    robot.shows(&format!("entry 1 of {}", plan.entries.len()));
    robot.keys("<Enter>");
    // paths, times and owners are those of the scratch directory
    robot.shows("copy base/1/1247_fsm").shows("24,576 bytes, mode 0600");
    robot.keys("<Esc><Tab><Enter>");
    robot.shows(&plan.id[..32]);
    robot.resize(WIDE);
    robot.keys("").shows("What would be done");
    robot.resize((80, 24));
    robot.keys("<Esc><Tab><Enter>");
    robot.check("plan-check-80x24");
    robot.keys("<Esc><Tab>").resize((120, 40));
    robot.check("plan-120x40");
    // nothing was carried out
    assert!(robot.executor.0.lock().unwrap().is_empty());
}

#[test]
fn every_entry_is_there_whatever_it_is_sorted_by() {
    let plan = truth("basic-18", &PlanOptions::default());
    let paths: Vec<String> = plan.entries.iter().map(|e| e.path.as_path().display().to_string()).collect();
    let mut robot = Robot::open("basic-18", (120, 40));
    robot.keys("7");
    for by in ["in the order in which they are done", "by path", "by bytes", "by action"] {
        robot.shows(by);
        robot.keys("g");
        let mut seen = Vec::new();
        for _ in &plan.entries {
            // y copies the path
            robot.keys("yj");
            seen.push(robot.copied.pop().unwrap());
        }
        if by == "by path" {
            assert!(seen.is_sorted(), "{by}");
        }
        if by == "in the order in which they are done" {
            assert_eq!(seen, paths);
        }
        seen.sort();
        let mut all = paths.clone();
        all.sort();
        assert_eq!(seen, all, "{by}");
        robot.keys("o");
    }
}

/// Sorting, filtering and searching are jobs: a key only asks for them.
#[test]
fn a_key_waits_for_no_list() {
    use crossterm::event::{KeyCode, KeyModifiers};

    let mut robot = Robot::open("basic-18", (120, 40));
    robot.keys("7j");
    let path = robot.keys("y").copied.pop().unwrap();
    robot.press(KeyCode::Char('o'), KeyModifiers::NONE);
    robot.shows(", in the order in which they are done");
    robot.settle();
    robot.shows(", by path ");
    // what was selected still is
    assert_eq!(robot.keys("y").copied.pop().unwrap(), path);
    // stopped: neither another order nor another filter is told
    robot.press(KeyCode::Char('o'), KeyModifiers::NONE);
    robot.press(KeyCode::Char('c'), KeyModifiers::CONTROL);
    robot.settle();
    robot.shows(", by path ").shows("stopped");
    robot.keys("o").shows(", by bytes ");
    robot.keys("&no such path<Enter>").shows("nothing has \"no such path\"").shows("entry 0 of 0");
    robot.keys("<Esc>");
    robot.keys("/pg_xact<Enter>");
    assert!(robot.keys("y").copied.pop().unwrap().starts_with("pg_xact"));
    robot.keys("/no such path<Enter>").shows("no path has \"no such path\"");
}

#[test]
fn a_file_is_kept_or_not() {
    let mut robot = Robot::open("basic-18", (120, 40));
    robot.keys("7/postgresql.conf<Enter>K");
    let options = PlanOptions { keep: vec!["postgresql.conf".parse().unwrap()], ..PlanOptions::default() };
    let plan = truth("basic-18", &options);
    robot.shows("chosen: keep postgresql.conf");
    robot.keys("e").shows("Writes the plan as JSON");
    robot.resize(WIDE);
    robot.keys("<Enter>");
    let written = written(&robot);
    assert_eq!(written, plan);
    robot.keys("K");
    assert!(!robot.frame().contains("chosen:"));
    // what belongs to the data stays what it is
    robot.keys("&base/<Enter>gK");
    robot.shows("belongs to the data");
    assert!(!robot.frame().contains("chosen:"));
    robot.keys("<Esc>C");
    robot.shows("all relation files compared");
}

/// The plan that was written last, its file as `forkpoint plan -o` writes it.
fn written(robot: &Robot) -> Plan {
    let frame = robot.frame();
    let path = frame.split("written: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let bytes = std::fs::read(&path).unwrap();
    let plan = plan::load(std::path::Path::new(&path)).unwrap();
    let mut again = Vec::new();
    forkpoint::report::json::write(&plan, &mut again).unwrap();
    assert_eq!(bytes, again);
    plan
}

#[test]
fn carried_out_only_after_the_right_word() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("7X");
    robot.shows("basic-18/source.").shows("22 committed transactions discarded.").shows("target.forkpoint");
    robot.shows("Type target and Enter to go on; Esc cancels.");
    for wrong in ["<Enter>", "Target<Enter>", "targe<Enter>", "target<Esc>", "y<Enter>", "target<C-c>"] {
        robot.keys(wrong);
        assert!(robot.executor.0.lock().unwrap().is_empty(), "{wrong}");
        robot.keys("X");
    }
    robot.keys("target<Enter>");
    let plan = truth("basic-18", &PlanOptions::default());
    let asked = robot.executor.0.lock().unwrap().clone();
    assert_eq!(asked, [Command::Apply { plan: Box::new(plan), stopped: false }]);
    robot.shows("done by the stand-in");
    // no rewind was begun, so there is nothing to go on with or to undo
    robot.keys("<Esc>R").shows("no rewind of the target is half-way");
    robot.keys("<Esc>U").shows("no rewind of the target is known");
    assert_eq!(robot.executor.0.lock().unwrap().len(), 1);
}

#[test]
fn a_target_that_was_not_shut_down_needs_a_second_word() {
    let mut robot = Robot::open("crashed-target", (80, 24));
    robot.keys("7X");
    robot.keys("target<Enter>");
    robot.shows("says \"in production\"").shows("Type stopped and Enter to go on; Esc cancels.");
    assert!(robot.executor.0.lock().unwrap().is_empty());
    robot.keys("<Enter>");
    assert!(robot.executor.0.lock().unwrap().is_empty());
    robot.keys("Xtarget<Enter>stopped<Enter>");
    let asked = robot.executor.0.lock().unwrap().clone();
    assert!(matches!(asked.as_slice(), [Command::Apply { stopped: true, .. }]), "{asked:?}");
}

#[test]
fn read_only_has_nothing_to_carry_out() {
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
    for key in ["X", "R", "U"] {
        robot.keys("7").keys(key);
        robot.shows("opened with --read-only");
        robot.keys("target<Enter>");
        assert!(robot.app.overlay.is_none());
    }
    assert!(robot.executor.0.lock().unwrap().is_empty());
}

#[test]
fn a_stored_plan_is_only_shown() {
    let plan = truth("basic-18", &PlanOptions::default());
    let entries = plan.entries.len();
    let mut robot = Robot::start(What::Plan(Box::new(plan)), (80, 24), false);
    robot.settle();
    robot.shows(&format!("of {entries}"));
    robot.keys("X").shows("forkpoint apply carries it out");
    robot.keys("target<Enter>");
    assert!(robot.executor.0.lock().unwrap().is_empty());
}

#[test]
fn where_nothing_has_to_be_rewound_the_way_on_is_told() {
    let mut robot = Robot::open("switchover", (80, 24));
    robot.keys("7");
    robot.shows("Nothing has to be rewound");
    robot.check("plan-not-needed-80x24");
    robot.keys("X").shows("there is no plan");
}

#[test]
fn who_may_not_carry_it_out_hears_it_before_the_question() {
    use forkpoint::tui::executor::{Executor, RealExecutor};

    let mut robot = Robot::open("basic-18", (80, 24));
    let real = RealExecutor { threads: 1, undo_dir: None };
    let told = real.refuses(&pair("basic-18").join("target"));
    // the pair belongs to whoever runs this; root may not all the same
    assert_eq!(told.is_some(), rustix::process::geteuid().is_root());
    robot.app.shared.unable = Some("root carries nothing out: start this as the owner".into());
    robot.keys("7").shows("root carries nothing out");
    for key in ["X", "R", "U"] {
        robot.keys(key).shows("root carries nothing out: start this as the owner");
        robot.keys("target<Enter>");
        assert!(robot.app.overlay.is_none());
    }
    // as root the real one refuses, too, whatever reaches it
    if told.is_some() {
        let plan = truth("basic-18", &PlanOptions::default());
        let command = Command::Apply { plan: Box::new(plan), stopped: false };
        let ended = real.execute(&command, &Progress::default());
        assert!(!ended.done && ended.lines[0].contains("root"), "{:?}", ended.lines);
    }
}
