//! The text of control files equals pg_controldata's: recorded for every major, live for those that are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use forkpoint::pg::control::ControlFile;
use forkpoint::pg::{Lsn, Major};
use forkpoint::report::controldata::{Output, json, text};
use forkpoint::report::timezone;
use forkpoint::source::datadir::{CONTROL_FILE, DataDir};
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::common::Server;

const ZONES: [&str; 7] = [
    "UTC",
    "Europe/Berlin",
    "America/St_Johns",
    ":Asia/Kathmandu",
    "CET-1CEST",
    "NZST-12NZDT,M9.5.0,M4.1.0/3",
    "No/Such_Zone",
];

#[test]
fn recorded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/control");
    let mut seen = 0;
    for entry in fs::read_dir(&root).unwrap() {
        let dir = entry.unwrap().path();
        let name = dir.file_name().unwrap().to_str().unwrap().to_owned();
        let bytes = fs::read(dir.join("pg_control")).unwrap();
        let major = Major::from_pg_version(name.split('-').next().unwrap()).unwrap();
        assert_eq!(ControlFile::parse_with_hint(&bytes, Some(major)).unwrap().major, major);
        // of 10, 11, 12 and 14 there were only the servers, without pg_controldata
        let Ok(expected) = fs::read_to_string(dir.join("controldata.txt")) else { continue };
        let output = text(&bytes, major, &TimeZone::UTC).unwrap();
        assert_eq!(output, Output { stdout: expected, stderr: String::new() }, "{name}");
        seen += 1;
    }
    assert_eq!(seen, 15);
}

/// Runs pg_controldata on the directory and compares what it writes with ours.
fn compare(server: &Server, dir: &Path, zone: &str, what: &str) {
    let what = format!("{} {what} TZ={zone}", server.major);
    let theirs = server.command("pg_controldata").env("TZ", zone).arg(dir).output().unwrap();
    common::assert_success(&what, &theirs);
    let dir = DataDir::open(dir).unwrap();
    let bytes = dir.control_bytes().unwrap();
    let ours = text(&bytes, dir.major().unwrap(), &timezone::named(OsStr::new(zone), None)).unwrap();
    assert_eq!(ours.stdout, String::from_utf8(theirs.stdout).unwrap(), "{what}");
    assert_eq!(ours.stderr, String::from_utf8(theirs.stderr).unwrap(), "{what}");
}

#[test]
fn live() {
    let mut servers = common::installed();
    servers.retain(|server| {
        let known = Major::ALL.iter().any(|major| major.name() == server.major);
        if server.program("pg_controldata").is_none() {
            println!("PostgreSQL {} comes without pg_controldata", server.major);
        }
        known && server.program("initdb").is_some()
    });
    common::ran_with("controldata", &servers);
    let scratch = common::scratch();
    for server in &servers {
        let dir = scratch.path().join(&server.major);
        server.initdb(&dir, &[]);
        let (control, bytes) = DataDir::open(&dir).unwrap().control().unwrap();
        assert_eq!(control.major.name(), server.major);
        assert_eq!(control.problems(&bytes), []);
        assert!(control.crc_ok && control.state.is_shut_down());
        assert_eq!(fs::read(dir.join("PG_VERSION")).unwrap(), format!("{}\n", server.major).into_bytes());
        if server.program("pg_controldata").is_some() {
            for zone in ZONES {
                compare(server, &dir, zone, "as made");
            }
            damaged(server, &dir, &bytes);
            fs::write(dir.join(CONTROL_FILE), &bytes).unwrap();
        }
        functions(server, &dir, &json(&control));
    }
}

/// Compares with what the server's own functions read from the file, which majors without their pg_controldata have.
fn functions(server: &Server, dir: &Path, ours: &Value) {
    let mut command = server.command("postgres");
    command.args(["--single", "-D"]).arg(dir).arg("postgres");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // After a clean stop a start writes no checkpoint, so they still see the one that we saw.
    let queries = ["checkpoint", "init", "system"].map(|name| format!("select * from pg_control_{name}()\n"));
    child.stdin.take().unwrap().write_all(queries.concat().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    common::assert_success(&format!("postgres --single of {}", server.major), &output);
    let copy = &ours["checkpoint_copy"];
    let mut compared = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        // "\t 1: checkpoint_lsn = "0/1763E60"\t(typeid = 3220, len = 8, typmod = -1, byval = t)"
        let Some((name, value)) = line
            .split_once(" = \"")
            .and_then(|(name, rest)| Some((name.split_once(": ")?.1, rest.split_once('"')?.0)))
        else {
            continue;
        };
        let ours = match name {
            "checkpoint_lsn" => &ours["checkpoint"],
            "prior_lsn" => &ours["prev_checkpoint"],
            "redo_lsn" => &copy["redo"],
            "timeline_id" => &copy["timeline"],
            "prev_timeline_id" => &copy["prev_timeline"],
            "full_page_writes" => &copy["full_page_writes"],
            "next_oid" => &copy["next_oid"],
            "next_multixact_id" => &copy["next_multi"],
            "next_multi_offset" => &copy["next_multi_offset"],
            "oldest_xid" => &copy["oldest_xid"],
            "oldest_xid_dbid" => &copy["oldest_xid_db"],
            "oldest_active_xid" => &copy["oldest_active_xid"],
            "oldest_multi_xid" => &copy["oldest_multi"],
            "oldest_multi_dbid" => &copy["oldest_multi_db"],
            "oldest_commit_ts_xid" => &copy["oldest_commit_ts_xid"],
            "newest_commit_ts_xid" => &copy["newest_commit_ts_xid"],
            "max_data_alignment" => &ours["max_align"],
            "database_block_size" => &ours["block_size"],
            "blocks_per_segment" => &ours["relation_segment_size"],
            "wal_block_size" => &ours["wal_block_size"],
            "bytes_per_wal_segment" => &ours["wal_segment_size"],
            "max_identifier_length" => &ours["name_data_len"],
            "max_index_columns" => &ours["index_max_keys"],
            "max_toast_chunk_size" => &ours["toast_max_chunk_size"],
            "large_object_chunk_size" => &ours["large_object_chunk_size"],
            "float4_pass_by_value" => &ours["float4_by_value"],
            "float8_pass_by_value" => &ours["float8_by_value"],
            "data_page_checksum_version" => &ours["data_checksum_version"],
            "default_char_signedness" => &ours["default_char_signed"],
            "pg_control_version" => &ours["pg_control_version"],
            "catalog_version_no" => &ours["catalog_version"],
            "system_identifier" => &ours["system_identifier"],
            _ => continue,
        };
        let theirs = match ours {
            Value::Bool(_) => Value::from(value == "t"),
            Value::Number(_) => Value::from(value.parse::<u64>().unwrap()),
            _ if value.contains('/') => Value::from(value.parse::<Lsn>().unwrap().to_string()),
            _ => Value::from(value),
        };
        assert_eq!(*ours, theirs, "{} {name}", server.major);
        compared += 1;
    }
    assert!(compared >= 29, "{}: {compared}", server.major);
}

fn damaged(server: &Server, dir: &Path, bytes: &[u8]) {
    let major: Major = Major::from_pg_version(&server.major).unwrap();
    let offset = |find: fn(&ControlFile) -> u32| {
        // the four bytes that the field is read from
        (0..bytes.len()).step_by(4).find(|at| {
            let mut changed = bytes.to_vec();
            changed[*at] ^= 1;
            let read = |bytes: &[u8]| find(&ControlFile::parse_as(bytes, major).unwrap());
            read(&changed) != read(bytes)
        })
    };
    let segment_size = offset(|c| c.wal_segment_size).unwrap();
    let wal_level = offset(|c| c.wal_level).unwrap();
    // of every major from 13 on
    let (version, state, time, nonce) = (8, 16, 24, 280);
    let mut changes = vec![
        ("wrong CRC", nonce, vec![bytes[nonce] ^ 1]),
        ("other version", version, 1301u32.to_le_bytes().to_vec()),
        ("swapped version", version, bytes[version..version + 4].iter().rev().copied().collect()),
        ("unknown state", state, vec![77]),
        ("unknown wal_level", wal_level, vec![77]),
        ("year 68", time, (-60_000_000_000i64).to_le_bytes().to_vec()),
        ("local mean time", time, (-3_000_000_000i64).to_le_bytes().to_vec()),
        ("summer", time, 1_750_000_000i64.to_le_bytes().to_vec()),
        ("year 148272", time, 4_616_870_400_000i64.to_le_bytes().to_vec()),
    ];
    for size in [0u32, 1, 12345, 3 << 20, 1 << 19, i32::MAX.cast_unsigned()] {
        changes.push(("segment size", segment_size, size.to_le_bytes().to_vec()));
    }
    for (what, at, change) in changes {
        let mut damaged = bytes.to_vec();
        damaged[at..at + change.len()].copy_from_slice(&change);
        fs::write(dir.join(CONTROL_FILE), &damaged).unwrap();
        // C libraries disagree on what a rule in TZ means far from now.
        let far = ["year 68", "local mean time", "year 148272"].contains(&what);
        for zone in ZONES.into_iter().filter(|zone| !far || !zone.contains('-')) {
            compare(server, dir, zone, what);
        }
    }
}
