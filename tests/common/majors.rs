//! Which majors a test runs on: `FORKPOINT_MAJORS="13 18"` only these; one that is not installed is skipped with a line on
//! stderr, unless it or `FORKPOINT_EXPECT_MAJORS` names it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use super::cluster::whole;
use super::{Server, installed};

/// The majors whose client programs are at hand more often than not.
pub const MAJORS: [&str; 6] = ["13", "15", "16", "17", "18", "19"];

/// Says something that the test harness does not swallow.
pub fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// Whether a list of majors in the environment has this one; `None` without a list.
fn listed(variable: &str, major: &str) -> Option<bool> {
    let list = std::env::var(variable).ok().filter(|list| !list.trim().is_empty())?;
    Some(list.split_whitespace().any(|m| m == major))
}

/// Whether `FORKPOINT_MAJORS` leaves this major out, which is said.
fn left_out(major: &str) -> bool {
    let left_out = listed("FORKPOINT_MAJORS", major) == Some(false);
    if left_out {
        say(&format!("PostgreSQL {major} was skipped: FORKPOINT_MAJORS names others only"));
    }
    left_out
}

/// Says that a major is not there, and fails where it was asked for by name.
fn missing(major: &str, what: &str) {
    say(&format!("PostgreSQL {major} was skipped: {what}"));
    for variable in ["FORKPOINT_MAJORS", "FORKPOINT_EXPECT_MAJORS"] {
        assert!(listed(variable, major) != Some(true), "{variable} names {major}: {what}");
    }
}

/// A whole installation of that major, unless `FORKPOINT_MAJORS` names others only.
pub fn server(major: &str) -> Option<Server> {
    if left_out(major) { None } else { server_of(major) }
}

/// A whole installation of the one major that a test is about, whatever `FORKPOINT_MAJORS` says.
pub fn server_of(major: &str) -> Option<Server> {
    let found = installed().into_iter().find(|s| s.major == major && whole(s));
    if found.is_none() {
        missing(major, "not installed with its client programs");
    }
    found
}

/// For what is the same in every major: the newest whole installation that `FORKPOINT_MAJORS` allows.
pub fn any_server() -> Option<Server> {
    let all = installed().into_iter().filter(whole);
    let mut allowed: Vec<_> = all.filter(|s| listed("FORKPOINT_MAJORS", &s.major) != Some(false)).collect();
    // a release candidate's only where there is no other
    if allowed.len() > 1 {
        allowed.retain(|s| s.major != "19");
    }
    let found = allowed.pop();
    if found.is_none() {
        say("skipped: no installation with its client programs that FORKPOINT_MAJORS allows");
        let named = std::env::var("FORKPOINT_MAJORS").unwrap_or_default();
        assert!(named.trim().is_empty(), "FORKPOINT_MAJORS names {named}, and none of these has pg_rewind");
    }
    found
}

/// Whole installations of the majors that `FORKPOINT_MAJORS` names, or of `usual`; of another one if there is none of them.
pub fn chosen(usual: &[&str]) -> Vec<Server> {
    let all: Vec<Server> = installed().into_iter().filter(whole).collect();
    let is_wanted =
        |s: &&Server| listed("FORKPOINT_MAJORS", &s.major).unwrap_or(usual.contains(&s.major.as_str()));
    let some: Vec<Server> = all.iter().filter(is_wanted).cloned().collect();
    if !some.is_empty() {
        return some;
    }
    any_server().into_iter().collect()
}

/// The servers of a major without client programs of its own, with those of the newest installed major beside them:
/// `place` gets a directory of links.
pub fn server_alone(major: &str, place: &Path) -> Option<Server> {
    if left_out(major) {
        return None;
    }
    let all = installed();
    let own = all.iter().find(|s| s.major == major);
    // a release candidate's are for trying out
    let clients = all.iter().rev().find(|s| whole(s) && s.major != "19");
    let (Some(own), Some(clients)) = (own, clients) else {
        missing(major, "not installed, or no client programs of another major");
        return None;
    };
    for program in ["initdb", "pg_ctl", "postgres"] {
        symlink(own.bin.join(program), place.join(program)).unwrap();
    }
    for program in ["psql", "pg_basebackup", "pg_dumpall", "pg_dump"] {
        symlink(clients.bin.join(program), place.join(program)).unwrap();
    }
    fs::set_permissions(place, PermissionsExt::from_mode(0o755)).unwrap();
    Some(Server { major: major.to_owned(), bin: place.to_owned() })
}

/// Says on which of [`MAJORS`] a test program ran, and fails where the environment expects one that it has no test for.
pub fn told(what: &str) {
    let (ran, missing): (Vec<_>, Vec<_>) = MAJORS.into_iter().partition(|major| server(major).is_some());
    say(&format!(
        "{what} ran on PostgreSQL {}",
        if ran.is_empty() { "(none)".into() } else { ran.join(", ") }
    ));
    if !missing.is_empty() {
        say(&format!("{what} skipped PostgreSQL {}", missing.join(", ")));
    }
    let unknown = std::env::var("FORKPOINT_EXPECT_MAJORS").unwrap_or_default();
    let unknown: Vec<_> = unknown.split_whitespace().filter(|major| !MAJORS.contains(major)).collect();
    assert!(unknown.is_empty(), "FORKPOINT_EXPECT_MAJORS names {unknown:?}, for which there is no test");
}
