//! Any keys and sizes: no panic, and without a typed confirmation nothing reaches the executor.

use crossterm::event::{KeyCode, KeyModifiers};
use proptest::prelude::*;

use crate::robot::Robot;

#[derive(Debug, Clone)]
enum Step {
    Key(KeyCode, KeyModifiers),
    Size(u16, u16),
    Settle,
}

fn key() -> impl Strategy<Value = Step> {
    let plain = |code| Step::Key(code, KeyModifiers::NONE);
    let code = prop_oneof![
        6 => prop::sample::select(vec!['X', 'R', 'U', 'K', 'C', '7', '6']).prop_map(KeyCode::Char),
        // all of the word but its last letter, and the second word's: by chance it is never whole
        4 => prop::sample::select(vec!['t', 'a', 'r', 'g', 'e', 's', 'o', 'p', 'd']).prop_map(KeyCode::Char),
        6 => prop::sample::select(vec![
            KeyCode::Enter, KeyCode::Esc, KeyCode::Tab, KeyCode::BackTab, KeyCode::Up, KeyCode::Down,
            KeyCode::Left, KeyCode::Right, KeyCode::PageUp, KeyCode::PageDown, KeyCode::Home, KeyCode::End,
            KeyCode::Backspace, KeyCode::Delete, KeyCode::F(1),
        ]),
        6 => prop::char::range(' ', '~').prop_map(KeyCode::Char),
        1 => any::<char>().prop_map(KeyCode::Char),
    ];
    prop_oneof![
        30 => code.prop_map(plain),
        2 => prop::char::range('a', 'z').prop_map(|c| Step::Key(KeyCode::Char(c), KeyModifiers::CONTROL)),
        2 => (0u16..130, 0u16..50).prop_map(|(w, h)| Step::Size(w, h)),
        4 => Just(Step::Settle),
    ]
}

/// Where it begins: also with a word that lacks its last letter, and with the first of two words.
const STARTS: &[(&str, &str)] = &[
    ("basic-18", ""),
    ("basic-18", "6"),
    ("basic-18", "7"),
    ("basic-18", "7X"),
    ("basic-18", "7Xtarge"),
    ("crashed-target", "7Xtarget<Enter>"),
    ("crashed-target", "7Xtarget<Enter>stoppe"),
];

/// Whether the right word was typed where it was asked for, counted by itself: what the keys put into the question.
fn confirmed(robot: &Robot) -> bool {
    matches!(
        &robot.app.overlay,
        Some(forkpoint::tui::app::Overlay::Ask { ask, input }) if ask.word == input.value()
    )
}

fn exporting(robot: &Robot) -> bool {
    use forkpoint::tui::app::Overlay;
    use forkpoint::tui::view::Prompt;

    matches!(&robot.app.overlay, Some(Overlay::Prompt { prompt: Prompt::Export, .. }))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]
    #[test]
    fn any_keys(steps in prop::collection::vec(key(), 1..80), start in prop::sample::select(STARTS)) {
        let mut robot = Robot::open(start.0, (80, 24));
        robot.keys(start.1);
        let mut allowed = 0;
        for step in steps {
            match step {
                // a file may be asked for anywhere: not by chance
                Step::Key(KeyCode::Enter, _) if exporting(&robot) => {}
                Step::Key(code, modifiers) => {
                    allowed += usize::from(code == KeyCode::Enter && confirmed(&robot));
                    robot.press(code, modifiers);
                }
                Step::Size(width, height) => robot.resize((width, height)),
                Step::Settle => robot.settle(),
            }
            robot.frame();
            if robot.quit {
                break;
            }
        }
        prop_assert!(robot.executor.0.lock().unwrap().len() <= allowed);
    }
}

#[test]
fn the_right_word_does_reach_it() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("7X");
    for c in "target".chars() {
        robot.press(KeyCode::Char(c), KeyModifiers::NONE);
    }
    assert!(confirmed(&robot));
    robot.press(KeyCode::Enter, KeyModifiers::NONE);
    robot.settle();
    assert_eq!(robot.executor.0.lock().unwrap().len(), 1);
}
