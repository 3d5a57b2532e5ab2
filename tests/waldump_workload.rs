//! `forkpoint waldump` against pg_waldump over everything that a workload makes a server write (`common/workload.rs`):
//! not one line may differ, and no operation that the major has may be missing from the workload.
//!
//! Majors without client programs are held against their own servers: a standby that says more than usual while it
//! replays gives the description of each record with a transaction id in its log.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use forkpoint::pg::Major;
use forkpoint::wal::rmgr;

mod common;
use common::cluster::{Cluster, whole};
use common::{Server, installed, ran_with, workload};

/// Operations that the workload cannot make a server write: (resource manager, operation, why).
const UNREACHABLE: [(&str, &str, &str); 4] = [
    ("XLOG", "NOOP", "no code of the server writes it"),
    ("XLOG", "FPI_MULTI", "10 and 11 define it and never write it"),
    (
        "Heap",
        "HOT_UPDATE+INIT",
        "the old version lies on the same page, so the new one is never the first on it",
    ),
    ("CommitTs", "SETTS", "until 13 defined for a caller that asks for WAL; none does"),
];

fn forkpoint() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("waldump");
    command
}

/// The installation of a major, if there is one with client programs (or without, as wanted).
fn server(test: &str, major: &str, with_clients: bool) -> Option<Server> {
    let found = installed().into_iter().find(|s| s.major == major && whole(s) == with_clients);
    ran_with(test, found.as_slice());
    found
}

/// The statistics that PREPARE says are dropped with a transaction: 16.2 has them in its WAL and does not show them,
/// later minors do. A line without them, the way 16.2 prints it.
fn without_stats(line: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(line);
    if !text.contains(", desc: PREPARE ") {
        return line.to_owned();
    }
    let end = if text.ends_with('\n') { "\n" } else { "" };
    let parts = text.trim_end_matches('\n').split("; ");
    let kept =
        parts.filter(|p| !p.starts_with("commit dropped stats:") && !p.starts_with("abort dropped stats:"));
    let kept: Vec<_> = kept.collect();
    format!("{}{end}", kept.join("; ")).into_bytes()
}

/// Runs a program and the other with the same arguments and compares what they write, line for line.
fn same_output(
    ours: &mut Command,
    theirs: &mut Command,
    arguments: &[&str],
    pg_wal: &Path,
    forgetful: bool,
) -> u64 {
    let child = |command: &mut Command| {
        command.args(arguments).arg("-p").arg(pg_wal).env("TZ", "UTC").env("LC_ALL", "C");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (mut our, mut their) = (child(ours), child(theirs));
    let mut our_lines = BufReader::with_capacity(1 << 20, our.stdout.take().unwrap());
    let mut their_lines = BufReader::with_capacity(1 << 20, their.stdout.take().unwrap());
    let (mut mine, mut wanted) = (Vec::new(), Vec::new());
    let (mut count, mut wrong) = (0_u64, Vec::new());
    loop {
        mine.clear();
        wanted.clear();
        our_lines.read_until(b'\n', &mut mine).unwrap();
        their_lines.read_until(b'\n', &mut wanted).unwrap();
        if mine.is_empty() && wanted.is_empty() {
            break;
        }
        count += 1;
        if mine != wanted && !(forgetful && without_stats(&mine) == wanted) {
            let cut =
                |line: &[u8]| String::from_utf8_lossy(&line[..line.len().min(600)]).trim_end().to_owned();
            wrong.push(format!("line {count}\n  ours   {}\n  theirs {}", cut(&mine), cut(&wanted)));
            if wrong.len() >= 20 || mine.is_empty() || wanted.is_empty() {
                break;
            }
        }
    }
    drop((our_lines, their_lines));
    let end = |child: &mut std::process::Child| {
        let mut text = String::new();
        child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (child.wait().unwrap().code(), text)
    };
    let ((our_code, our_words), (their_code, their_words)) = (end(&mut our), end(&mut their));
    assert!(wrong.is_empty(), "{arguments:?}: of {count} lines\n{}\n{our_words}", wrong.join("\n"));
    // each names itself in front
    let message = |text: &str| text.split_once(": ").map_or_else(String::new, |(_, rest)| rest.to_owned());
    assert_eq!(message(&our_words), message(&their_words), "{arguments:?}: the end");
    assert_eq!(our_code, their_code, "{arguments:?}: {our_words}");
    count
}

/// Names of operations that `pg_waldump --stats=record` counted.
fn counted(theirs: &mut Command, arguments: &[&str], pg_wal: &Path) -> BTreeSet<String> {
    let output = theirs.args(arguments).args(["--stats=record", "-p"]).arg(pg_wal).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let names = text.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.contains('/')).map(ToOwned::to_owned).collect()
}

/// The operations that a major has, as statistics name them.
fn defined(major: Major) -> BTreeSet<String> {
    let pairs =
        (0..=rmgr::id::LOGICALMSG).flat_map(|rmid| (0..=0xF0).step_by(16).map(move |info| (rmid, info)));
    pairs
        .filter_map(|(rmid, info)| {
            rmgr::op_name(rmid, info, major).map(|name| format!("{}/{name}", rmgr::name(rmid)))
        })
        .collect()
}

fn check_whole(major: &str) {
    let Some(server) = server("waldump_workload", major, true) else { return };
    let cluster = workload::fresh(&server);
    workload::run(&cluster);
    let pg_wal = cluster.pgdata().join("pg_wal");
    let version = cluster.done(cluster.command("pg_waldump").arg("--version"));
    let forgetful = version.trim_end().ends_with(" 16.2");
    let mut seen = BTreeSet::new();
    let mut lines = 0;
    for timeline in [1, 2] {
        let (number, start) = (timeline.to_string(), workload::start(&cluster, timeline));
        let range = ["-t", &number, "-s", &start];
        for extra in [&[][..], &["-b"], &["-z"], &["--stats=record"]] {
            let arguments = [&range[..], extra].concat();
            let mut theirs = cluster.command("pg_waldump");
            lines += same_output(&mut forkpoint(), &mut theirs, &arguments, &pg_wal, forgetful);
        }
        seen.append(&mut counted(&mut cluster.command("pg_waldump"), &range, &pg_wal));
    }
    let known = Major::ALL.into_iter().find(|m| m.name() == major).unwrap();
    let mut missing = defined(known);
    missing.retain(|name| !seen.contains(name));
    for (manager, operation, _) in UNREACHABLE {
        missing.remove(&format!("{manager}/{operation}"));
    }
    assert!(missing.is_empty(), "the workload lacks {missing:?}");
    let reached: Vec<_> = UNREACHABLE.iter().filter(|(m, o, _)| seen.contains(&format!("{m}/{o}"))).collect();
    assert!(reached.is_empty(), "listed as unreachable, and reached: {reached:?}");
    println!("PostgreSQL {major}: {lines} lines are the same; operations: {}", seen.len());
}

macro_rules! whole {
    ($($name:ident $major:literal)*) => {$(
        #[test]
        fn $name() {
            check_whole($major);
        }
    )*};
}
whole! {
    every_line_of_13 "13"
    every_line_of_15 "15"
    every_line_of_16 "16"
    every_line_of_17 "17"
    every_line_of_18 "18"
    every_line_of_19 "19"
}

/// A server without client programs, with those of another major: links to all of them in one directory.
fn completed(server: &Server) -> Option<(Server, tempfile::TempDir)> {
    let other = installed().into_iter().find(whole)?;
    let dir = common::scratch();
    let link = |from: &Path, program: &str| {
        std::os::unix::fs::symlink(from.join(program), dir.path().join(program)).unwrap();
    };
    for program in ["initdb", "pg_ctl", "postgres"] {
        link(&server.bin, program);
    }
    for program in ["psql", "pgbench"] {
        link(&other.bin, program);
    }
    Some((Server { major: server.major.clone(), bin: dir.path().to_owned() }, dir))
}

/// What a standby's log says of the records that it replayed: by position, operation and description.
///
/// Before it applies a record with a transaction id, it says which ids it knows, at a level that a setting (until 16)
/// raises to LOG, and the context of each message of its log is the record that it is at.
fn replayed(log: &str) -> BTreeMap<String, String> {
    let marker = "CONTEXT:  WAL redo at ";
    let lines = log.lines().filter_map(|line| line.split_once(marker));
    let pairs = lines.filter_map(|(_, rest)| rest.split_once(" for "));
    pairs.map(|(lsn, what)| (padded(lsn), without_blocks(what, "; blkref #").to_owned())).collect()
}

/// `0/ABC` as `0/00000ABC`.
fn padded(lsn: &str) -> String {
    let (high, low) = lsn.split_once('/').unwrap();
    format!("{high}/{low:0>8}")
}

fn without_blocks<'a>(text: &'a str, marker: &str) -> &'a str {
    text.split(marker).next().unwrap_or_default().trim_end()
}

/// Times as a server's log has them (`12:00:00.5+00`) the way that pg_waldump has them (`12:00:00.500000 UTC`).
fn waldump_times(text: &str) -> String {
    let mut done = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("+00") {
        let (before, after) = rest.split_at(at);
        let digits = before.len() - before.trim_end_matches(|c: char| c.is_ascii_digit()).len();
        let fraction = before[..before.len() - digits].ends_with('.');
        let time = if fraction {
            format!("{before}{:0<width$}", "", width = 6 - digits.min(6))
        } else {
            format!("{before}.000000")
        };
        done.push_str(&time);
        done.push_str(" UTC");
        rest = &after[3..];
    }
    done + rest
}

/// Starts a standby and waits until it has nothing more to say.
fn replay(standby: &Cluster) {
    workload::make_standby(standby);
    standby.start();
    let log = standby.dir().join("log");
    let (mut size, mut quiet) = (0, 0);
    while quiet < 10 && standby.running() {
        std::thread::sleep(Duration::from_millis(200));
        let now = fs::metadata(&log).unwrap().len();
        quiet = if now == size { quiet + 1 } else { 0 };
        size = now;
    }
}

fn check_server(major: &str) {
    let Some(server) = server("waldump_workload (server's log)", major, false) else { return };
    let Some((server, _links)) = completed(&server) else {
        println!("PostgreSQL {major}: skipped, no installation with client programs");
        return;
    };
    let cluster = workload::fresh(&server);
    let before = cluster.copy();
    workload::run(&cluster);

    // the copy replays all of it
    let (from, to) = (cluster.pgdata().join("pg_wal"), before.pgdata().join("pg_wal"));
    fs::remove_dir_all(&to).unwrap();
    assert!(Command::new("cp").arg("-a").args([&from, &to]).status().unwrap().success());
    fs::remove_dir_all(cluster.dir().join("tablespace")).unwrap();
    fs::create_dir(cluster.dir().join("tablespace")).unwrap();
    common::give_away(&cluster.dir().join("tablespace"));
    before.configure(&[
        ("log_min_messages", "log"),
        ("trace_recovery_messages", "debug4"),
        ("max_connections", "120"),
        ("max_wal_senders", "20"),
        ("max_locks_per_transaction", "1000"),
        ("max_prepared_transactions", "20"),
        ("max_worker_processes", "16"),
    ]);
    replay(&before);
    let known = replayed(&before.log());

    let start = workload::start(&cluster, 1);
    let mut output = forkpoint()
        .args(["-t", "1", "-s", &start, "-p"])
        .arg(&from)
        .env("TZ", "UTC")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut compared = BTreeMap::<String, u64>::new();
    let mut wrong = Vec::new();
    for line in BufReader::with_capacity(1 << 20, output.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        let Some((head, description)) = line.split_once(", desc: ") else { continue };
        let name = head["rmgr: ".len()..].split(' ').next().unwrap();
        let lsn = head.split(", lsn: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap();
        let Some(wanted) = known.get(&padded(lsn)) else { continue };
        let (operation, text) = description.split_once(' ').unwrap_or((description, ""));
        let text = without_blocks(text, ", blkref #");
        // the log has no times of its own zone here: TZ is UTC on both sides
        let found = format!("{name}/{operation}: {text}");
        *compared.entry(format!("{name}/{operation}")).or_default() += 1;
        if found.trim_end() != waldump_times(wanted).trim_end() && wrong.len() < 20 {
            wrong.push(format!("{lsn}\n  ours   {found}\n  theirs {wanted}"));
        }
    }
    output.wait().unwrap();
    assert!(wrong.is_empty(), "PostgreSQL {major}\n{}", wrong.join("\n"));
    assert!(compared.len() >= 60, "only {compared:?}");
    let records: u64 = compared.values().sum();
    println!("PostgreSQL {major}: {records} descriptions are the same; operations: {}", compared.len());
}

macro_rules! servers {
    ($($name:ident $major:literal)*) => {$(
        #[test]
        fn $name() {
            check_server($major);
        }
    )*};
}
servers! {
    descriptions_of_the_server_10 "10"
    descriptions_of_the_server_11 "11"
    descriptions_of_the_server_12 "12"
    descriptions_of_the_server_14 "14"
}
