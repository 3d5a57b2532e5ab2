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
