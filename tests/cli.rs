//! The program as it is called: statuses, streams, files.

#![allow(clippy::unwrap_used, reason = "a test that fails here has failed")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

fn forkpoint(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forkpoint")).args(args).stdin(Stdio::null()).output().unwrap()
}

/// Status, standard output, standard error.
fn said(args: &[&str]) -> (i32, String, String) {
    let output = forkpoint(args);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_wrong_command_line_is_2() {
    for args in
        [&[][..], &["report", "only-one"], &["nonsense"], &["schema", "nonsense"], &["man", "nonsense"]]
    {
        let (status, out, err) = said(args);
        assert_eq!((status, out.as_str()), (2, ""), "{args:?}");
        assert!(!err.is_empty() && !err.contains("error:"), "{err}");
    }
}

#[test]
fn help_and_version_are_answers() {
    let (status, out, err) = said(&["--version"]);
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (0, concat!("forkpoint ", env!("CARGO_PKG_VERSION"), "\n"), "")
    );
    let (status, out, _) = said(&["report", "--help"]);
    assert!(status == 0 && out.contains("Exit status:"), "{out}");
}

#[test]
fn an_input_that_cannot_be_read_is_3_and_one_sentence_says_so() {
    let temp = tempfile::tempdir().unwrap();
    let empty = temp.path().to_str().unwrap();
    for args in [["report", "/does/not/exist", empty], ["report", empty, empty], ["blocks", empty, empty]] {
        let (status, out, err) = said(&args);
        assert_eq!((status, out.as_str()), (3, ""), "{args:?} {err}");
        assert!(err.starts_with("forkpoint: ") && err.lines().count() == 1, "{err}");
    }
}

#[test]
fn a_stored_file_that_cannot_be_read_is_named_without_the_systems_number() {
    for (file, why) in [("/nowhere/report.json", "No such file or directory"), ("/", "Is a directory")] {
        let (status, _, err) = said(&["view", file]);
        assert_eq!(status, 3, "{err}");
        assert!(err.contains(&format!("{file}: {why}")) && !err.contains("os error"), "{err}");
    }
}

#[test]
fn resume_takes_what_every_command_that_writes_takes() {
    let (with, without) = (said(&["resume", "--yes", "/nowhere"]), said(&["resume", "/nowhere"]));
    assert_eq!((with.0, &with), (3, &without));
}

#[test]
fn an_archive_that_cannot_be_listed_is_3_at_once() {
    for args in
        [["report", "/x", "/y"], ["blocks", "/x", "/y"], ["snapshots", "/x", "/y"], ["timelines", "/x", "/y"]]
    {
        let mut args = args.to_vec();
        args.extend(["--wal-archive", "/does/not/exist"]);
        let (status, out, err) = said(&args);
        assert_eq!((status, out.as_str()), (3, ""), "{args:?} {err}");
        assert!(
            err.contains("the archive /does/not/exist cannot be listed: it does not exist. Give"),
            "{err}"
        );
    }
}

#[test]
fn timelines_without_any_say_what_to_give() {
    let temp = tempfile::tempdir().unwrap();
    let (status, out, err) = said(&["timelines", temp.path().to_str().unwrap()]);
    assert_eq!((status, out.as_str()), (3, ""), "{err}");
    assert!(err.contains("no timeline was found") && err.contains("Give data directories"), "{err}");
    let (status, _, err) = said(&["timelines", "/does/not/exist"]);
    assert!(status == 3 && err.contains("does not exist") && err.contains("archives"), "{err}");
}

#[test]
fn an_unknown_demo_is_named_with_those_there_are() {
    let (status, _, err) = said(&["demo", "nonsense"]);
    assert!(status == 2 && err.contains("\"nonsense\"") && err.contains("switchover"), "{err}");
}

#[test]
fn a_refused_command_line_shows_no_password() {
    let (status, _, err) = said(&["report", "t", "s", "--restore-command", "cp postgres://u:se/SECRET@h"]);
    assert!(status == 2 && !err.contains("SECRET"), "{err}");
}

#[test]
fn controldata_fails_as_pg_controldata_does() {
    let (status, out, err) = said(&["controldata", "/does/not/exist"]);
    assert_eq!((status, out.as_str()), (1, ""));
    assert!(err.starts_with("forkpoint: /does/not/exist"), "{err}");
}

#[test]
fn an_output_inside_a_data_directory_is_refused_before_anything_is_read() {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_str().unwrap();
    let inside = temp.path().join("report");
    let (status, out, err) = said(&["report", dir, "/does/not/exist", "-o", inside.to_str().unwrap()]);
    assert_eq!((status, out.as_str()), (4, ""), "{err}");
    assert!(err.contains("lies inside") && !inside.exists());
}

#[test]
fn control_characters_of_an_argument_are_written_out() {
    let (status, _, err) = said(&["report", "/no\u{1b}[31m\u{9b}such", "/x"]);
    assert_eq!(status, 3);
    assert!(!err.trim_end().chars().any(char::is_control) && err.contains("\\x1B[31m\\x9Bsuch"), "{err:?}");
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let script = "\"$0\" schema report | true; exit \"${PIPESTATUS[0]}\"";
    let status = Command::new("bash").args(["-c", script, env!("CARGO_BIN_EXE_forkpoint")]).status().unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn schemas_pages_and_completions_are_what_they_say() {
    assert_eq!(said(&["schema"]), said(&["schema", "report"]));
    for of in ["report", "blocks", "lost", "snapshots", "timelines"] {
        let (status, out, _) = said(&["schema", of]);
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(status, 0);
        assert!(jsonschema::validator_for(&schema).is_ok());
        // of lines, the first has it
        let first = if of == "lost" { &schema["$defs"]["Header"] } else { &schema };
        assert!(first["properties"]["schema_version"].is_object(), "{of}");
    }
    let (status, page, _) = said(&["man"]);
    assert!(status == 0 && page.contains(".SH \"EXIT STATUS\""), "{page}");
    let (_, page, _) = said(&["man", "report"]);
    assert!(page.contains("restore\\-command") && page.contains(".SH \"EXIT STATUS\""), "{page}");
    for shell in ["bash", "zsh", "fish"] {
        let (status, script, _) = said(&["completions", shell]);
        assert!(status == 0 && script.contains("wal-archive"), "{shell}");
    }
}

#[test]
fn colour_only_on_demand() {
    if !Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/basic-18/pair.tar.zst")).exists() {
        let (status, out, _) = said(&["demo", "--list"]);
        assert_eq!((status, out.as_str()), (0, ""), "a demo without its data");
        return;
    }
    let (_, plain, _) = said(&["demo"]);
    let (_, colored, _) = said(&["demo", "--color", "always"]);
    assert!(!plain.contains('\u{1b}') && colored.contains("\u{1b}["), "{plain}");
    let (_, _, notes) = said(&["demo", "--quiet"]);
    assert_eq!(notes, "");
}
