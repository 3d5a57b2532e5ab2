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
            let body = |robot: &Robot| robot.frame().lines().take(38).map(str::to_owned).collect::<Vec<_>>();
            live.keys(keys);
            from_file.keys(keys);
            assert_eq!(body(&live), body(&from_file), "{name} {keys}");
        }
    }
    let wrong = Picture::read(br#"{"schema_version": 99}"#).unwrap_err().to_string();
    assert!(wrong.contains("format 99"), "{wrong}");
    assert!(Picture::read(b"[1]").is_err() && Picture::read(b"").is_err());
}
