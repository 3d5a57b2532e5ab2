//! The first of the four stories: find why a rejoin failed.

use crate::robot::Robot;

#[test]
fn find_why_a_rejoin_failed() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.check("overview-80x24");
    robot.keys("<Enter>");
    robot.check("overview-finding-80x24");
    robot.resize((120, 40));
    robot.check("overview-finding-120x40");
    robot.keys("<Esc>");
    robot.check("overview-120x40");
}

#[test]
fn control_files_side_by_side() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("2");
    robot.check("control-80x24");
    robot.keys("/minRec<Enter>").shows("may not open before");
    robot.check("control-search-80x24");
}

#[test]
fn timelines_and_segments() {
    for (name, frame) in [
        ("cascade-1-2-3", "timelines-cascade"),
        ("recycled-archive", "timelines-archive"),
        ("twins", "timelines-twins"),
    ] {
        let mut robot = Robot::open(name, (80, 24));
        robot.keys("3");
        robot.check(&format!("{frame}-80x24"));
        robot.resize((120, 40));
        robot.keys("jj");
        robot.check(&format!("{frame}-120x40"));
    }
}

#[test]
fn the_table_of_keys_in_the_readme_is_the_one_that_is_used() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- keys -->\n", "<!-- /keys -->");
    let from = readme.find(start).unwrap() + start.len();
    let to = readme.find(end).unwrap();
    let table = forkpoint::tui::keymap::markdown();
    if std::env::var_os("UPDATE_FRAMES").is_some() {
        std::fs::write(&path, format!("{}\n{table}\n{}", &readme[..from], &readme[to..])).unwrap();
        return;
    }
    assert_eq!(
        readme[from..to].trim(),
        table.trim(),
        "UPDATE_FRAMES=1 cargo test --test tui brings it up to date"
    );
}

/// A stored report gives the same picture as the diagnosis that it was made of.
#[test]
fn a_stored_report_looks_the_same() {
    use forkpoint::tui::saved::Picture;
    use forkpoint::tui::start::What;

    for name in ["basic-18", "twins", "cascade-1-2-3", "switchover", "crashed-target", "recycled-archive"] {
        let live = Robot::open(name, (120, 40));
        let diagnosis = live.app.shared.diagnosis.clone().unwrap();
        let mut json = Vec::new();
        let report = forkpoint::report::dto::Report::from(&*diagnosis);
        forkpoint::report::json::write(&report, &mut json).unwrap();
        let picture = Picture::read(&json).unwrap();
        let (stored, known) = (&picture, live.app.shared.picture.as_ref().unwrap());
        assert_eq!(stored.relations, known.relations, "{name}");
        assert_eq!(stored.drawing, known.drawing, "{name}");
        assert_eq!(stored.records, known.records, "{name}");
        assert!(!stored.relations.is_empty() || name == "switchover" || name == "twins", "{name}");
        let mut from_file = Robot::start(What::Report(Box::new(picture)), (120, 40), true);
        from_file.settle();
        let mut live = live;
        for keys in ["1", "<Enter>", "<Esc>2", "3"] {
            // a stored report does not have the files' lengths, and says so
            let but = |line: &&str| !line.starts_with("blocks to copy");
            let body = |robot: &Robot| {
                let frame = robot.frame();
                frame.lines().take(38).filter(but).map(str::to_owned).collect::<Vec<_>>()
            };
            live.keys(keys);
            from_file.keys(keys);
            assert_eq!(body(&live), body(&from_file), "{name} {keys}");
        }
    }
    let wrong = Picture::read(br#"{"schema_version": 99}"#).unwrap_err().to_string();
    assert!(wrong.contains("format 99"), "{wrong}");
    assert!(Picture::read(b"[1]").is_err() && Picture::read(b"").is_err());
}

#[test]
fn the_same_directory_twice_is_no_success() {
    use forkpoint::tui::start::What;

    let target = crate::robot::pair("basic-18").join("target");
    let mut robot = Robot::open("basic-18", (80, 24));
    let options = forkpoint::diagnosis::engine::Options {
        source: target.clone(),
        target,
        ..(**robot.app.shared.pair.as_ref().unwrap()).clone()
    };
    robot = Robot::start(What::Pair(Box::new(options)), (80, 24), false);
    robot.settle();
    for view in ["1", "7"] {
        robot.keys(view).shows("same");
        let frame = robot.frame();
        assert!(!frame.contains('✓'), "{frame}");
    }
    robot.shows("✗ There is no plan.").shows("both sides are the same directory");
}

#[test]
fn the_way_on_from_here_is_named() {
    let mut robot = Robot::open("twins", (80, 24));
    robot.keys("/x<Enter>");
    while !robot.frame().contains("→ 7 (Plan) is a way") {
        let before = robot.frame();
        robot.keys("j");
        assert_ne!(robot.frame(), before, "it is never told");
    }
    robot.check("overview-twins-80x24");
    // and it is one
    robot.keys("7").shows("! The target can be rewound");
}

/// How much of a page is not seen is told, and it is right.
#[test]
fn pages_say_what_is_not_seen() {
    for size in [(80, 24), (40, 10), (200, 60)] {
        let mut robot = Robot::open("basic-18", size);
        for keys in
            ["<Enter>", "<Tab>", "<Tab>", "<Esc>2<Enter>", "<Esc>3<Enter>", "<Esc>7<Tab><Enter>", "<Tab>"]
        {
            robot.keys(keys).keys("g");
            let below = |robot: &Robot| -> usize {
                let frame = robot.frame();
                let arrow =
                    frame.lines().find_map(|line| line.split_once('↓').filter(|_| line.contains('━')));
                let number = |rest: &str| rest.trim_start().split([' ', '━']).next().unwrap().to_owned();
                arrow.map_or(0, |(_, rest)| number(rest).parse().unwrap_or_else(|_| panic!("{frame}")))
            };
            let told = below(&robot);
            for left in (0..told).rev() {
                robot.keys("j");
                assert_eq!(below(&robot), left, "{keys} at {size:?}");
            }
            let end = robot.frame();
            robot.keys("j");
            assert_eq!(robot.frame(), end, "{keys} at {size:?}: it goes on");
            assert_eq!(end.contains('↑'), told > 0, "{end}");
        }
    }
}

#[test]
fn all_tabs_are_seen_on_a_narrow_screen() {
    use crossterm::event::{Event, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
    use forkpoint::tui::action::ViewId;

    let mut robot = Robot::open("basic-18", (40, 10));
    for view in ViewId::ALL {
        let number = (view.index() + 1).to_string();
        robot.keys(&number).shows(view.title());
        let tabs = robot.frame().lines().nth(1).unwrap().to_owned();
        for n in 1..=7 {
            assert!(tabs.contains(&format!(" {n}")), "{tabs:?}");
        }
        // each leads to its view
        for other in ViewId::ALL {
            robot.keys(&number);
            let column = tabs.find(&format!(" {}", other.index() + 1)).unwrap() as u16 + 1;
            let kind = MouseEventKind::Down(MouseButton::Left);
            let event = MouseEvent { kind, column, row: 1, modifiers: KeyModifiers::NONE };
            robot.event(forkpoint::tui::jobs::Event::Terminal(Event::Mouse(event)));
            robot.settle();
            assert_eq!(robot.app.view, other);
        }
    }
    robot.keys("1");
    robot.check("overview-40x10");
}

#[test]
fn control_files_show_what_pg_controldata_prints() {
    let mut robot = Robot::open("basic-18", (120, 80));
    robot.keys("2");
    let control = &robot.app.shared.picture.as_ref().unwrap().target.control;
    let line = |robot: &Robot, name: &str| {
        let frame = robot.frame();
        frame.lines().find(|l| l.trim_start_matches(['≠', ' ']).starts_with(name)).unwrap().to_owned()
    };
    let crc = format!("{:08X}", control.crc);
    assert!(line(&robot, "CRC ").contains(&crc), "{}", line(&robot, "CRC "));
    assert_eq!(control.wal_level, 1);
    for name in ["wal_level ", "checkpoint's wal_level "] {
        assert_eq!(line(&robot, name).matches("replica").count(), 2, "{}", line(&robot, name));
    }
}
