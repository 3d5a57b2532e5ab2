//! `forkpoint waldump` prints what pg_waldump of the WAL's major prints, and what it adds is right.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use forkpoint::dump::clock::Clock;
use forkpoint::dump::json::{Json, schema};
use forkpoint::dump::text::{Style, Text};
use forkpoint::pg::{Fork, Lsn, Major, RelFile};
use forkpoint::wal::Record;
use forkpoint::wal::record::{BlockHeader, BlockPart, Compression, ImageHeader, Parts};
use proptest::prelude::*;
use serde_json::Value;

use crate::common::cluster::{Cluster, Mode, whole};
use crate::common::{Server, installed, ran_with};

const OURS: &str = env!("CARGO_BIN_EXE_forkpoint");

fn servers(test: &str) -> Vec<Server> {
    let servers: Vec<_> = installed().into_iter().filter(|s| s.program("pg_waldump").is_some()).collect();
    ran_with(test, &servers);
    servers
}

fn run(mut command: Command, arguments: &[String], cwd: &Path, zone: &str) -> Output {
    command.args(arguments).current_dir(cwd).env("LC_ALL", "C").env("TZ", zone).env_remove("PGDATA");
    command.stdin(Stdio::null()).output().unwrap()
}

fn ours(arguments: &[String], cwd: &Path) -> Output {
    let mut command = Command::new(OURS);
    command.arg("waldump");
    run(command, arguments, cwd, "UTC")
}

/// Standard output of a run that has to succeed, or to end at the end of WAL.
fn text(arguments: &[&str]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let output = ours(&arguments, Path::new("/"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || error.contains("error in WAL record at"), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

/// Both programs with the same arguments: output, messages and status have to be the same.
fn compare(server: &Server, arguments: &[String], cwd: &Path, zone: &str) {
    let peer = server.program("pg_waldump").unwrap();
    let name = peer.to_str().unwrap().to_owned();
    let theirs = run(Command::new(peer), arguments, cwd, zone);
    let mut command = Command::new(OURS);
    command.arg("waldump");
    let ours = run(command, arguments, cwd, zone);
    let what = format!("{} {arguments:?}", server.major);
    let mut lines = theirs.stdout.split(|&b| b == b'\n').zip(ours.stdout.split(|&b| b == b'\n'));
    if let Some((theirs, ours)) = lines.find(|(theirs, ours)| theirs != ours) {
        panic!("{what}\n< {}\n> {}", String::from_utf8_lossy(theirs), String::from_utf8_lossy(ours));
    }
    assert_eq!(theirs.stdout.len(), ours.stdout.len(), "{what}");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&name, "X").replace("pg_waldump", "X");
    let heard = String::from_utf8_lossy(&ours.stderr).replace("forkpoint waldump", "X");
    assert_eq!(heard, said(&theirs.stderr), "{what}");
    assert_eq!(ours.status.code(), theirs.status.code(), "{what}");
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// Names of the segments in a WAL directory by timeline, sorted.
fn segments(dir: &Path) -> Vec<Vec<String>> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.len() == 24);
    names.sort();
    names.chunk_by(|a, b| a[..8] == b[..8]).map(<[String]>::to_vec).collect()
}

#[test]
fn every_captured_pair_line_for_line() {
    let servers = servers("every_captured_pair_line_for_line");
    for scenario in pairs::scenarios() {
        let major = pairs::truth(&scenario)["major"].as_str().unwrap_or_default().to_owned();
        let Some(server) = servers.iter().find(|s| s.major == major) else { continue };
        let root = pairs::unpack(&scenario);
        for side in ["target", "source"] {
            let dir = root.join(side).join("pg_wal");
            if !dir.is_dir() {
                continue;
            }
            for names in segments(&dir) {
                let (first, last) = (&names[0], &names[names.len() - 1]);
                for options in ["", "-b", "--stats=record"] {
                    compare(server, &words(&format!("{options} {first} {last}")), &dir, "Europe/Berlin");
                }
            }
        }
    }
}

/// Options, right and wrong; `D` is the WAL directory, `F` its first segment, `L` its last, `+N` the position N bytes
/// (hexadecimal) into the first.
const OPTIONS: &str = "
-p D F L
-p D F
F
D/F
/nonexistent/F
-p /nonexistent F
-p D 000000010000000000000FFF
-p D F 000000010000000000000FFF
-p D L F
-p D F L x
-p D
-p D -s +28
-p D -s +0
-p D -s +64
-p D -s +5000
-p D -s +2000 -e +6000
-p D -s +2000 -e +6010
-p D -s +2000 -e +7ff8
-p D -s +2000 -e +1000
-p D -s 0/0
-p D -s FF/0
-p D F -s FF/0
-p D F -e FF/0
-p D F -e +4000
-p D F -s +4000
-p D F -n 5
-p D F -n 0
-p D F -n -3
-p D F -n7 -b
-p D F -nx
-p D F -q
-p D F -q -z
-p D F -z
-p D F --stats
-p D F --stats=rmgr
-p D F --stats=record
-p D F --stats=foo
-p D F -z -x 99999999
-p D -s +3000 -z
-p D F -r Heap
-p D F --rmgr=btree -b
-p D F -r nix
-p D F -r Heap -r Btree
-r list
--rmgr=LIST
-p D F -x 600
-p D F --xid=4000000000
-p D F -x x
-p D -t 7 F
-p D -t 7 -s +28
-p D F -e x
-p D F -s x
-p D F -k
-p D F --nix
-p D F --nix=3
-p D F --quiet=1
-p D F --st
-p D F -e
-p D F --end
-p D F -n 1 --help
-p D F -n 1 -V
-p D -- F
--star +28 --pa D --en +3000 --bk
-bs +28 -pD -n2
-f -p D -s +28 -e +3000
";

/// From 15 on.
const OPTIONS_15: &str = "
-p D F -w
-p D F -w -z
-p D F -F vm
-p D F -F x
-p D F -R 1663/5/1259
-p D F -R 1663/5/1259 -B 0 -b
-p D F -R 1663/5/1259 -F main -z
-p D F -R x
-p D F -R 0/1/2
-p D F -B 3
-p D F -B x
-p D F -B 4294967295
-p D F -r custom128
-p D F -r custom127
-p D F -r customx
-p D F -r custom300
-p D F -r custom128 -z
-p D F -t x
";

/// From 16 on.
const OPTIONS_16: &str = "
-p D -t 0 F
-p D -t 0x1 F
-p D -t 99999999999 F
";

#[test]
fn every_option_line_for_line() {
    for server in servers("every_option_line_for_line") {
        let scenario = format!("basic-{}", server.major);
        if !pairs::scenarios().contains(&scenario) {
            continue;
        }
        let dir = pairs::unpack(&scenario).join("target/pg_wal");
        let names = segments(&dir).swap_remove(0);
        let first = &names[0];
        let begin = u64::from_str_radix(&first[16..], 16).unwrap() << 20;
        let from = |major: &str| server.major.parse::<u32>().unwrap() >= major.parse::<u32>().unwrap();
        let mut lines: Vec<&str> = OPTIONS.lines().collect();
        lines.extend(OPTIONS_15.lines().filter(|_| from("15")));
        lines.extend(OPTIONS_16.lines().filter(|_| from("16")));
        for line in lines.into_iter().filter(|line| !line.is_empty()) {
            let arguments: Vec<String> = words(line)
                .into_iter()
                .map(|word| match word.strip_prefix('+') {
                    Some(offset) => format!("0/{:X}", begin + u64::from_str_radix(offset, 16).unwrap()),
                    None => match word.as_str() {
                        "F" => first.clone(),
                        "L" => names[names.len() - 1].clone(),
                        "D" => dir.to_str().unwrap().to_owned(),
                        "-pD" => format!("-p{}", dir.display()),
                        _ => word
                            .replace("D/F", &format!("{}/{first}", dir.display()))
                            .replace("/F", &format!("/{first}")),
                    },
                })
                .collect();
            // without the directory as an argument it is the current one that says the major
            compare(&server, &arguments, &dir, "UTC");
        }
        compare(&server, std::slice::from_ref(first), dir.parent().unwrap(), "UTC");
    }
}

/// 19 reads tar archives; forkpoint those of every major.
#[test]
fn tar_archives_line_for_line() {
    const LINES: &str = "
-p wal.tar -s +28
-p wal.tar -s +28 -b
-p wal.tar -s +28 --stats=record
-p wal.tar.gz -s +28 -n 40
-p packed.tgz -s +28 -n 3
-p base.tar -s +28 -n 40
-p below.tar -s +28
-p first.tar -s +28
-p empty.tar -s +28
-p wal.tar -s +28 -e +4000 -q
-p wal.tar -s +64 -n 1
-p wal.tar -s FF/28
-p wal.tar -t 2 -s +28
-p wal.tar
-p wal.tar F
-p wal.tar F -s +28
-p wal.tar -f
-f -p wal.tar -s +28
-p nowhere.tar -s +28
-p plain.name -s +28
wal.tar -s +28 -n 5
./wal.tar -s +28 -n 5
wal.tar F -s +28
wal.tar F L -s +28
";
    for server in servers("tar_archives_line_for_line").into_iter().filter(whole) {
        let cluster = busy(&server);
        cluster.sql("SELECT pg_switch_wal(); CREATE TABLE behind (a int); INSERT INTO behind VALUES (1)");
        cluster.stop(Mode::Fast);
        let temp = tempfile::tempdir().unwrap();
        let wal = cluster.pgdata().join("pg_wal");
        let names = segments(&wal).swap_remove(0);
        let first = &names[0];
        let begin = u64::from_str_radix(&first[16..], 16).unwrap() << 20;
        let build = |name: &str, below: &str, names: &[String]| {
            let path = temp.path().join(name);
            let mut builder = tar::Builder::new(fs::File::create(&path).unwrap());
            for name in names {
                builder.append_path_with_name(wal.join(name), format!("{below}{name}")).unwrap();
            }
            builder.finish().unwrap();
            path
        };
        let all = build("wal.tar", "", &names);
        build("base.tar", "./pg_wal/", &names);
        build("below.tar", "data/", &names);
        build("first.tar", "", &names[..1]);
        fs::copy(&all, temp.path().join("plain.name")).unwrap();
        fs::write(temp.path().join("empty.tar"), b"x").unwrap();
        let packed = Command::new("gzip").arg("-c").arg(&all).output().unwrap().stdout;
        fs::write(temp.path().join("wal.tar.gz"), &packed).unwrap();
        fs::write(temp.path().join("packed.tgz"), &packed).unwrap();
        for line in LINES.lines().filter(|line| !line.is_empty()) {
            let arguments: Vec<String> = words(line)
                .into_iter()
                .map(|word| match (word.strip_prefix('+'), word.as_str()) {
                    (Some(offset), _) => format!("0/{:X}", begin + u64::from_str_radix(offset, 16).unwrap()),
                    (None, "F") => first.clone(),
                    (None, "L") => names[names.len() - 1].clone(),
                    (None, word) => word.to_owned(),
                })
                .collect();
            if server.major == "19" {
                compare(&server, &arguments, temp.path(), "UTC");
            }
        }
        // the same as of the directory
        let start = format!("0/{:X}", begin + 0x28);
        let of = |path: &str| {
            let output = ours(&words(&format!("-p {path} -s {start}")), temp.path());
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
        };
        let expected = of(wal.to_str().unwrap());
        assert!(expected.0.lines().count() > 100, "{expected:?}");
        assert!(of("wal.tar") == expected && of("wal.tar.gz") == expected, "PostgreSQL {}", server.major);
        let other = ours_fails(&words(&format!("-p wal.tar -s {start} --follow-history")), temp.path());
        assert!(other.contains("unpack it"), "{other}");
    }
}

#[test]
fn saved_page_images() {
    for server in servers("saved_page_images") {
        let scenario = format!("basic-{}", server.major);
        if server.major.parse::<u32>().unwrap() < 16 || !pairs::scenarios().contains(&scenario) {
            continue;
        }
        let dir = pairs::unpack(&scenario).join("target/pg_wal");
        let first = segments(&dir).swap_remove(0).swap_remove(0);
        let scratch = tempfile::tempdir().unwrap();
        let saved = |name: &str, command: Command| {
            let into = scratch.path().join(name);
            run(command, &words(&format!("-q --save-fullpage {} {first}", into.display())), &dir, "UTC");
            let mut files: Vec<_> = fs::read_dir(&into)
                .unwrap()
                .map(|e| e.unwrap())
                .map(|e| (e.file_name(), fs::read(e.path()).unwrap()))
                .collect();
            files.sort();
            files
        };
        let theirs = saved("theirs", Command::new(server.program("pg_waldump").unwrap()));
        let mut command = Command::new(OURS);
        command.arg("waldump");
        let ours = saved("ours", command);
        assert!(theirs.len() > 10 && ours == theirs, "{}: {} {}", server.major, ours.len(), theirs.len());
        // not empty any more, and never where the WAL is
        let there = words(&format!("--save-fullpage {} {first}", scratch.path().join("ours").display()));
        compare(&server, &there, &dir, "UTC");
        let inside = ours_fails(&words(&format!("--save-fullpage {0}/x {first}", dir.display())), &dir);
        assert!(inside.contains("nothing there is ever written") && !dir.join("x").exists(), "{inside}");
    }
}

fn ours_fails(arguments: &[String], cwd: &Path) -> String {
    let output = ours(arguments, cwd);
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A server with some WAL: several stretches of it, so that several readers have something to do.
fn busy(server: &Server) -> Cluster {
    let cluster = Cluster::init(server, &[("max_prepared_transactions", "2"), ("full_page_writes", "on")]);
    cluster.start();
    cluster.sql(
        "CREATE TABLE accounts (id int PRIMARY KEY, note text);
         INSERT INTO accounts SELECT n, repeat('x', 200) FROM generate_series(1, 40000) n;
         UPDATE accounts SET note = 'y' WHERE id % 3 = 0;
         DELETE FROM accounts WHERE id % 7 = 0;
         BEGIN; UPDATE accounts SET note = 'z' WHERE id = 1; PREPARE TRANSACTION 'gid';",
    );
    cluster.sql("COMMIT PREPARED 'gid'");
    cluster.sql("SELECT pg_create_restore_point('here')");
    cluster.sql("CHECKPOINT");
    cluster
}

#[test]
fn a_running_server_and_several_readers() {
    for server in servers("a_running_server_and_several_readers").iter().filter(|s| whole(s)) {
        let cluster = busy(server);
        let dir = cluster.pgdata().join("pg_wal");
        let flushed = cluster.sql("SELECT pg_switch_wal()").trim().to_owned();
        let names = segments(&dir).swap_remove(0);
        let first = &names[0];
        let start = format!("0/{:X}", (u64::from_str_radix(&first[16..], 16).unwrap() << 20) + 40);
        for options in ["", "-b", "-z", "--stats=record", "-r Heap", "-x 0", "-n 1000"] {
            for threads in ["1", "3"] {
                let arguments = format!("{options} -s {start} -e {flushed}");
                let theirs =
                    run(Command::new(server.program("pg_waldump").unwrap()), &words(&arguments), &dir, "UTC");
                let ours = ours(&words(&format!("{arguments} --threads {threads}")), &dir);
                assert!(theirs.stdout == ours.stdout, "{} {arguments}, {threads} threads", server.major);
                assert_eq!(theirs.status.code(), ours.status.code());
                assert!(theirs.stdout.len() > 500);
            }
        }
        let json = |threads: &str| {
            text(&[
                "--format=jsonl",
                "-p",
                dir.to_str().unwrap(),
                "-s",
                &start,
                "-e",
                &flushed,
                "--threads",
                threads,
            ])
        };
        assert!(json("1") == json("3"));
        follow(&cluster, &dir, &start);
        cluster.stop(Mode::Fast);
    }
}

/// `--follow` shows what a server writes while it looks.
fn follow(cluster: &Cluster, dir: &Path, from: &str) {
    let mut child = Command::new(OURS)
        .args(["waldump", "-f", "-r", "XLOG", "-p", dir.to_str().unwrap(), "-s", from])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    cluster.sql("SELECT pg_create_restore_point('first')");
    std::thread::sleep(Duration::from_millis(2500));
    cluster.sql("SELECT pg_create_restore_point('second'), pg_switch_wal()");
    cluster.sql("SELECT pg_create_restore_point('third')");
    std::thread::sleep(Duration::from_secs(3));
    // as Control-C
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let status = child.wait().unwrap();
    let mut out = String::new();
    std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut out).unwrap();
    let points: Vec<_> = out.lines().filter_map(|line| line.split("RESTORE_POINT ").nth(1)).collect();
    assert_eq!(points, ["here", "first", "second", "third"], "{out}");
    assert!(status.success());
}

fn objects(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn json_lines_are_as_their_schema_says() {
    let validator = jsonschema::validator_for(schema().as_value()).unwrap();
    for scenario in pairs::scenarios().into_iter().filter(|s| s.starts_with("basic-")) {
        let data = pairs::unpack(&scenario).join("target");
        let dir = data.join("pg_wal");
        for names in segments(&dir).into_iter().filter(|_| dir.is_dir()) {
            let (first, last) = (&names[0], &names[names.len() - 1]);
            let path = dir.to_str().unwrap();
            let lines = text(&["-p", path, first, last]).lines().count();
            let records = objects(&text(&["--format", "jsonl", "--names", "-p", path, first, last]));
            assert_eq!(records.len(), lines, "{scenario}");
            for (record, next) in records.iter().zip(&records[1..]) {
                assert!(validator.is_valid(record), "{record}");
                assert_eq!(record["lsn"], next["prev"]);
                assert!(record.get("error").is_none(), "{record}");
            }
            let named = records.iter().filter(|r| r["blocks"][0]["name"].is_string()).count();
            assert!(named > 0, "{scenario}");
            for row in objects(&text(&["--format", "jsonl", "--stats=record", "-p", path, first, last])) {
                assert!(validator.is_valid(&row), "{row}");
            }
        }
    }
}

#[test]
fn expressions_select() {
    let data = pairs::unpack("basic-18").join("target");
    let dir = data.join("pg_wal");
    let names = segments(&dir).swap_remove(0);
    let path = dir.to_str().unwrap();
    let all = text(&["-p", path, &names[0], &names[names.len() - 1]]);
    let selected = |expression: &str| {
        text(&["--where", expression, "--threads", "2", "-p", path, &names[0], &names[names.len() - 1]])
    };
    let containing = |wanted: &dyn Fn(&str) -> bool| {
        all.lines().filter(|line| wanted(line)).map(|line| line.to_owned() + "\n").collect::<String>()
    };
    let heap = containing(&|l| l.starts_with("rmgr: Heap "));
    assert!(!heap.is_empty());
    assert_eq!(selected("rmgr = Heap"), heap);
    assert_eq!(selected("not rmgr != heap"), heap);
    assert_eq!(selected("rmgr = Heap or rmgr = Heap2"), containing(&|l| l.starts_with("rmgr: Heap")));
    assert_eq!(
        selected("op in (COMMIT, ABORT)"),
        containing(&|l| l.contains("desc: COMMIT ") || l.contains("desc: ABORT "))
    );
    assert_eq!(selected("fpi > 0"), containing(&|l| l.contains(" FPW")));
    let truth = pairs::truth("basic-18");
    let relation = truth["relations"].as_array().unwrap().iter().find(|r| {
        let file = format!("/{} ", r["filenode"]);
        r["kind"] == "r" && all.contains(&file)
    });
    let relation = relation.expect("a table that the WAL touches");
    let name = format!("{}.{}", relation["schema"].as_str().unwrap(), relation["name"].as_str().unwrap());
    let file = format!("/{} ", relation["filenode"]);
    assert_eq!(selected(&format!("rel = {name}")), containing(&|l| l.contains(&file)));
    let wrong = ours_fails(
        &words("--where")
            .into_iter()
            .chain(["rel = public.nix".into(), names[0].clone()])
            .collect::<Vec<_>>(),
        &dir,
    );
    assert!(
        wrong.contains("at character 7: there is no relation \"public.nix\"")
            && wrong.contains("\n        ^"),
        "{wrong}"
    );
}

#[test]
fn a_history_is_followed() {
    let root = pairs::unpack("cascade-1-2-3");
    let dir = root.join("source/pg_wal");
    let newest = segments(&dir).pop().unwrap();
    let begin = segments(&dir)[0][0].clone();
    let start = format!("0/{:X}", (u64::from_str_radix(&begin[16..], 16).unwrap() << 20) + 40);
    let output =
        objects(&text(&["--follow-history", "--format=jsonl", "-p", dir.to_str().unwrap(), "-s", &start]));
    for (record, next) in output.iter().zip(&output[1..]) {
        assert_eq!(record["lsn"], next["prev"]);
    }
    let switches: BTreeSet<_> = output
        .iter()
        .filter(|r| r["op"] == "END_OF_RECOVERY" || r["op"] == "CHECKPOINT_SHUTDOWN")
        .filter_map(|r| Some((r["description"]["prev_tli"].as_u64()?, r["description"]["tli"].as_u64()?)))
        .filter(|(from, to)| from != to)
        .collect();
    assert_eq!(switches, BTreeSet::from([(1, 2), (2, 3)]));
    // it ends where the newest timeline alone ends
    let last = newest.last().unwrap();
    let alone = objects(&text(&["--format=jsonl", "-p", dir.to_str().unwrap(), &newest[0], last]));
    assert_eq!(output.last().unwrap()["lsn"], alone.last().unwrap()["lsn"]);
}

#[test]
fn archives_compressed_and_in_pieces() {
    let dir = pairs::unpack("basic-17").join("source/pg_wal");
    let names = segments(&dir).pop().unwrap();
    let (first, last) = (names[0].as_str(), names[names.len() - 1].as_str());
    let expected = text(&["-p", dir.to_str().unwrap(), first, last]);
    let scratch = tempfile::tempdir().unwrap();
    let (packed, plain) = (scratch.path().join("packed"), scratch.path().join("plain"));
    fs::create_dir_all(&packed).unwrap();
    fs::create_dir_all(&plain).unwrap();
    for (n, name) in names.iter().enumerate() {
        let bytes = fs::read(dir.join(name)).unwrap();
        if n % 2 == 1 {
            fs::write(plain.join(name), &bytes).unwrap();
        } else {
            let file = fs::File::create(packed.join(format!("{name}.gz"))).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(&bytes).unwrap();
            encoder.finish().unwrap();
        }
    }
    let path = |p: &PathBuf| p.to_str().unwrap().to_owned();
    assert_eq!(text(&["-p", &path(&plain), "--wal-archive", &path(&packed), first, last]), expected);
    assert_eq!(text(&["-p", &path(&packed), "-p", &path(&plain), first, last]), expected);
    if names.len() == 1 {
        assert_eq!(text(&["-p", &path(&packed), first]), expected);
    }
}

/// Resource manager, info, major, body, and of each block the length of its data, an image, made new.
type Strange = (u8, u8, usize, Vec<u8>, Vec<(u16, bool, bool)>);

fn record_strategy() -> impl Strategy<Value = Strange> {
    let block = (0u16..64, any::<bool>(), any::<bool>());
    let info = (0u8..16).prop_map(|n| n << 4);
    (
        0u8..=22,
        info,
        0usize..Major::ALL.len(),
        prop::collection::vec(any::<u8>(), 0..200),
        prop::collection::vec(block, 0..4),
    )
}

proptest! {
    /// Whatever is in a record: both views say something of it, and the JSON is JSON.
    #[test]
    fn no_record_is_too_strange((rmid, info, major, body, blocks) in record_strategy()) {
        let major = Major::ALL[major];
        let rmid = if rmid == 22 { 130 } else { rmid };
        let mut bytes = vec![0; 24];
        bytes.extend_from_slice(&body);
        let record = Record {
            lsn: Lsn(0x300_0100), end: Lsn(0x300_0100 + bytes.len() as u64), xid: 741, prev: Lsn(0x300_0050),
            info, rmid, total_len: bytes.len() as u32, bytes: &bytes,
        };
        let mut parts = Parts { origin: Some(1), ..Parts::default() };
        let mut at = 24;
        for (id, (len, image, will_init)) in blocks.into_iter().enumerate() {
            let end = (at + u32::from(len)).min(bytes.len() as u32);
            let image = image.then_some(ImageHeader {
                len: 0, hole_offset: 0, hole_length: 0, compression: Compression::None, apply: true,
            });
            let rel = RelFile { spc: 1663, db: 5, rel: 16384 };
            let header = BlockHeader {
                id: id as u8, rel, fork: Fork::Main, block: 7, will_init, image, data_len: (end - at) as u16,
            };
            parts.blocks.push(BlockPart { header, image: at..at, data: at..end });
            at = end;
        }
        parts.main = at..bytes.len() as u32;
        let style = Style { details: false, names: None };
        let mut text = Text::new(major, style, Clock::new(jiff::tz::TimeZone::UTC));
        text.record(&record, &parts);
        let line = text.buffer;
        prop_assert!(line.starts_with(b"rmgr: ") && line.ends_with(b"\n"));
        let mut json = Json::new(major, None);
        json.record(&record, &parts);
        let value: Value = serde_json::from_slice(&json.buffer).map_err(|e| {
            TestCaseError::fail(format!("{e}: {}", String::from_utf8_lossy(&json.buffer)))
        })?;
        // no member twice: the text would be longer than what it says
        prop_assert_eq!(value.to_string().len(), json.buffer.len() - 1, "{}", value);
    }
}
