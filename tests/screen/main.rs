//! The screen in a real pseudo-terminal: it opens, it draws, and the terminal is afterwards what it was.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::expect_used, reason = "tests")]

#[path = "../common/pairs.rs"]
mod pairs;
mod pty;

use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use pty::{Pty, same_modes};

const SIZE: (u16, u16) = (80, 24);

fn demo(size: (u16, u16), environment: &[(&str, &str)]) -> Pty {
    Pty::start(&["demo"], size, Path::new("/"), environment)
}

/// Everything that was switched on was switched off again, the modes are those from before, and it ended with `status`.
fn given_back(mut pty: Pty, before: &rustix::termios::Termios, status: i32) {
    assert_eq!(pty.end(), status, "{}", pty.text());
    assert!(same_modes(before, &pty.modes()), "the terminal's modes differ");
    let written = pty.written();
    for (on, off) in [
        ("\x1b[?1049h", "\x1b[?1049l"),
        ("\x1b[?2004h", "\x1b[?2004l"),
        ("\x1b[?1000h", "\x1b[?1000l"),
        ("\x1b[?25l", "\x1b[?25h"),
    ] {
        assert!(written.contains(on), "{on:?} was never switched on");
        assert!(written.rfind(off) > written.rfind(on), "{on:?} stays on");
    }
}

#[test]
fn starts_and_quits() {
    let mut pty = demo(SIZE, &[]);
    let before = pty.modes();
    pty.wait_for("REWIND");
    assert!(!same_modes(&before, &pty.modes()), "not in raw mode");
    pty.type_keys("q");
    given_back(pty, &before, 0);
}

#[test]
fn signals_end_it_and_the_terminal_is_given_back() {
    for signal in [Signal::TERM, Signal::HUP] {
        let pty = demo(SIZE, &[]);
        let before = pty.modes();
        pty.wait_for("REWIND");
        kill_process(pty.pid(), signal).unwrap();
        given_back(pty, &before, 130);
    }
}

/// It is not the terminal that controls the program, so no signal says that it is gone.
#[test]
fn a_terminal_that_hangs_up_without_a_signal_ends_it() {
    for keys in ["", "6", "5G"] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_forkpoint"));
        command.arg("demo").current_dir("/").env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        let mut pty = Pty::run(command, SIZE);
        pty.wait_for("REWIND");
        pty.type_keys(keys);
        pty.hang_up();
        assert_eq!(pty.end(), 130, "{keys:?}");
    }
}

#[test]
fn a_bug_gives_the_terminal_back_and_says_so() {
    let mut pty = demo(SIZE, &[]);
    let before = pty.modes();
    pty.wait_for("REWIND");
    // only in builds for tests
    pty.type_keys(":panic\r");
    pty.wait_for("a bug");
    assert!(pty.text().contains("Nothing in the data directories was written"), "{}", pty.text());
    given_back(pty, &before, 6);
}

#[test]
fn a_bug_in_the_background_leaves_the_screen() {
    let mut pty = demo(SIZE, &[]);
    let before = pty.modes();
    pty.wait_for("REWIND");
    pty.type_keys(":panic-behind\r");
    pty.wait_for("a bug in Export");
    pty.type_keys("2");
    pty.wait_for("system identifier");
    pty.type_keys("q");
    given_back(pty, &before, 0);
}

#[test]
fn ctrl_z_gives_the_terminal_back_for_a_while() {
    let mut pty = demo(SIZE, &[]);
    let before = pty.modes();
    pty.wait_for("REWIND");
    let pid = pty.pid();
    let stopped = || {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap();
        stat.rsplit(')').next().unwrap().trim_start().starts_with('T')
    };
    pty.type_keys("\x1a");
    pty.wait("the program stops", |_| stopped());
    assert!(same_modes(&before, &pty.modes()), "the shell would get a raw terminal");
    kill_process(pid, Signal::CONT).unwrap();
    pty.type_keys("2");
    pty.wait_for("system identifier");
    pty.type_keys("q");
    given_back(pty, &before, 0);
}

#[test]
fn any_size_and_a_new_one_while_it_reads() {
    let mut pty = demo((1, 1), &[]);
    let before = pty.modes();
    for size in [(500, 200), (1, 1), (80, 24), (39, 9), (40, 10), (200, 60), (3, 100), (80, 24)] {
        pty.resize(size);
        thread::sleep(Duration::from_millis(60));
    }
    pty.wait_for("REWIND");
    for size in [(500, 200), (40, 10)] {
        pty.resize(size);
        pty.wait("tabs are drawn", |text| text.contains("1 Overview"));
    }
    pty.resize((39, 9));
    pty.wait_for("too small");
    pty.resize(SIZE);
    pty.wait_for("REWIND");
    pty.type_keys("q");
    given_back(pty, &before, 0);
}

#[test]
fn without_colours_the_selection_is_still_seen() {
    let mut pty = demo(SIZE, &[("NO_COLOR", "1")]);
    let before = pty.modes();
    pty.wait_for("REWIND");
    pty.settle();
    let (coloured, reversed) = pty.look(|screen| {
        let cells = (0..SIZE.1).flat_map(|y| (0..SIZE.0).map(move |x| (y, x)));
        let cells: Vec<_> = cells.filter_map(|(y, x)| screen.cell(y, x)).collect();
        let coloured = cells.iter().filter(|c| c.fgcolor() != vt100::Color::Default).count();
        (coloured, cells.iter().filter(|c| c.inverse()).count())
    });
    assert_eq!(coloured, 0);
    assert!(reversed > 40, "{reversed}");
    pty.type_keys("q");
    given_back(pty, &before, 0);
}

#[test]
fn without_utf_8_all_is_ascii() {
    for (args, environment) in
        [(&["demo"][..], [("LC_ALL", "C")]), (&["demo", "--ascii"], [("LC_ALL", "C.UTF-8")])]
    {
        let mut pty = Pty::start(args, SIZE, Path::new("/"), &environment);
        let before = pty.modes();
        pty.wait_for("REWIND");
        for key in ["2", "3", "4", "5", "6", "7", "?"] {
            pty.type_keys(key);
            pty.settle();
            let text = pty.text();
            assert!(text.is_ascii(), "{key}: {text}");
        }
        pty.type_keys("\x1b");
        pty.settle();
        pty.type_keys("q");
        given_back(pty, &before, 0);
    }
}

#[test]
fn without_a_terminal_it_is_the_text_report() {
    let pair = pairs::unpack("basic-18");
    let run = |args: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_forkpoint"));
        command.args(args).current_dir(&pair).output().unwrap()
    };
    for args in [&["./target", "source"][..], &["target", "source"], &["tui", "target", "source"]] {
        let report = run(&["report", args[args.len() - 2], "source"]);
        assert!(report.status.success() && report.stdout.len() > 1000);
        assert!(run(args).stdout == report.stdout, "{args:?}");
    }
}
