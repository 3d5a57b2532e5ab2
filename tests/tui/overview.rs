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
