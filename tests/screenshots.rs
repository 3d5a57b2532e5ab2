//! The pictures of the README are made by the program itself: `UPDATE_SCREENSHOTS=1 cargo test --test screenshots`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::path::Path;
use std::process::Command;

/// What a terminal shows of `forkpoint ARGS`, from the line that starts with `from` on, at most `lines` of it.
fn picture(args: &[&str], from: &str, lines: usize) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .args(args)
        .args(["--color", "always", "--quiet"])
        .env("TZ", "UTC")
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let shown: Vec<&str> = text.lines().skip_while(|l| !l.contains(from)).take(lines).collect();
    assert!(!shown.is_empty(), "{args:?} has no line with {from:?}");
    let shown = format!("$ forkpoint {}\n{}\n", args.join(" "), shown.join("\n"));
    anstyle_svg::Term::new().render_svg(&shown)
}

#[test]
fn pictures_are_up_to_date() {
    for (name, svg) in [
        ("report.svg", picture(&["demo"], "REWIND", 58)),
        ("lost.svg", picture(&["demo"], "Transactions that a rewind discards", 26)),
        ("twins.svg", picture(&["demo", "twins"], "RE-CLONE", 52)),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("screenshots").join(name);
        if std::env::var_os("UPDATE_SCREENSHOTS").is_some() {
            std::fs::write(&path, &svg).unwrap();
        }
        let stored = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(stored == svg, "{name} is out of date: UPDATE_SCREENSHOTS=1 cargo test --test screenshots");
    }
}
