//! What pg_rewind refuses, `forkpoint rewind` refuses in the same words and with the same status, and the target stays as
//! it was.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cluster::{Cluster, Mode};
use common::drop_in::{By, both_unchanged, crc_offset, programs};
use common::majors::{say, server, server_of};
use common::scenario::{Scenario, Story, Wishes, make};
use common::{Server, give_away};

/// Offset of the system identifier, the state and the data checksums' neighbours in every control file.
const SYSTEM: usize = 0;
const STATE: usize = 16;
const IN_PRODUCTION: u8 = 6;

/// Changes a control file and gives it a CRC that fits.
fn edit_control(major: &str, data: &Path, edit: impl Fn(&mut [u8])) {
    let path = data.join("global/pg_control");
    let mut bytes = fs::read(&path).unwrap();
    edit(&mut bytes);
    let crc = crc_offset(major);
    let sum = crc32c::crc32c(&bytes[..crc]);
    bytes[crc..crc + 4].copy_from_slice(&sum.to_le_bytes());
    replace(&path, &bytes);
}

/// Puts another file in the place of one that other copies have too.
fn replace(path: &Path, content: &[u8]) {
    let mode = fs::metadata(path).map_or_else(|_| Permissions::from_mode(0o600), |m| m.permissions());
    let _ = fs::remove_file(path);
    fs::write(path, content).unwrap();
    fs::set_permissions(path, mode).unwrap();
    give_away(path);
}

/// Changes bytes of a file.
fn patch(path: &Path, change: impl Fn(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    replace(path, &bytes);
}

/// Segments of a timeline in a WAL directory, in order.
fn segments(data: &Path, timeline: u32) -> Vec<PathBuf> {
    let start = format!("{timeline:08X}");
    let mut found: Vec<PathBuf> = fs::read_dir(data.join("pg_wal"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| {
            let name = p.file_name().unwrap().to_str().unwrap();
            name.len() == 24 && name.starts_with(&start)
        })
        .collect();
    found.sort();
    found
}

/// The segment in which the second timeline begins, as its history file says.
fn segment_of_divergence(source: &Path) -> String {
    let history = fs::read_to_string(source.join("pg_wal/00000002.history")).unwrap();
    let lsn = history.split('\t').nth(1).unwrap();
    let (high, low) = lsn.split_once('/').unwrap();
    let [high, low] = [high, low].map(|h| u64::from_str_radix(h, 16).unwrap());
    format!("00000001{high:08X}{:08X}", low >> 20)
}

struct Case<'a> {
    server: &'a Server,
    scenario: &'a Scenario,
    count: usize,
}

impl Case<'_> {
    /// Both refuse copies that `change` (target, source) has changed.
    fn refused(&mut self, what: &str, options: &[&str], change: impl Fn(&Path, &Path)) {
        let (target, source) = (self.scenario.target.linked_copy(), self.scenario.source.linked_copy());
        change(&target.pgdata(), &source.pgdata());
        let by = if self.count.is_multiple_of(2) { By::Us } else { By::Subcommand };
        let options: Vec<&str> = ["-N"].iter().chain(options).copied().collect();
        let told = format!("PostgreSQL {}: {what}", self.server.major);
        let status = both_unchanged((&target, &source.pgdata()), &told, by, &options);
        assert_eq!(status, Some(1), "{told}");
        self.count += 1;
    }
}

fn refusals(major: &str) {
    let Some(server) = server(major) else { return };
    let number: u32 = major.parse().unwrap();
    let wishes =
        Wishes { seed: 4242 + u64::from(number), story: Story::Failover, stop: Mode::Fast, archived: false };
    let scenario = make(&server, wishes);
    let mut case = Case { server: &server, scenario: &scenario, count: 0 };
    let c = &mut case;
    c.refused("another system", &[], |_, s| edit_control(major, s, |b| b[SYSTEM] ^= 1));
    c.refused("another catalog version", &[], |_, s| edit_control(major, s, |b| b[12] ^= 1));
    c.refused("a source that was not stopped", &[], |_, s| {
        edit_control(major, s, |b| b[STATE] = IN_PRODUCTION);
    });
    c.refused("a target that was not stopped", &["--no-ensure-shutdown"], |t, _| {
        edit_control(major, t, |b| b[STATE] = IN_PRODUCTION);
    });
    c.refused("a wrong CRC on the target", &[], |t, _| {
        patch(&t.join("global/pg_control"), |b| b[crc_offset(major)] ^= 0xFF);
    });
    c.refused("a wrong CRC on the source", &[], |_, s| {
        patch(&s.join("global/pg_control"), |b| b[crc_offset(major)] ^= 0xFF);
    });
    c.refused("a control file that is too short", &[], |t, _| {
        patch(&t.join("global/pg_control"), |b| b.truncate(512));
    });
    c.refused("no control file", &[], |_, s| fs::remove_file(s.join("global/pg_control")).unwrap());
    c.refused("no history file", &["--debug"], |_, s| {
        fs::remove_file(s.join("pg_wal/00000002.history")).unwrap();
    });
    for (what, text) in [
        ("no number", "x\t0/3000000\tz\n"),
        ("no LSN", "1\n"),
        ("not ascending", "1\t0/3000000\tz\n1\t0/4000000\tz\n"),
        ("not below its own", "2\t0/3000000\tz\n"),
        ("no common ancestor", ""),
    ] {
        c.refused(what, &["--debug"], |_, s| {
            replace(&s.join("pg_wal/00000002.history"), text.as_bytes());
        });
    }
    c.refused("WAL of the divergence gone", &[], |t, s| {
        fs::remove_file(t.join("pg_wal").join(segment_of_divergence(s))).unwrap();
    });
    c.refused("WAL of the last checkpoint gone", &[], |t, _| {
        // recycled segments lie behind it
        for segment in segments(t, 1) {
            fs::remove_file(segment).unwrap();
        }
    });
    c.refused("a directory where the source has a file", &[], |t, s| {
        fs::create_dir(t.join("odd")).unwrap();
        give_away(&t.join("odd"));
        fs::write(s.join("odd"), "x").unwrap();
    });
    c.refused("a link where the source has a file", &[], |t, s| {
        symlink("nowhere", t.join("odd")).unwrap();
        fs::write(s.join("odd"), "x").unwrap();
    });
    c.refused("a relation that is a directory", &[], |_, s| fs::create_dir(s.join("base/1/99999")).unwrap());
    c.refused("no restore_command", &["-c"], |_, _| {});
    c.refused("a configuration that cannot be read", &["-c"], |t, _| {
        replace(&t.join("postgresql.conf"), b"what = 'is\n");
    });
    if number >= 15 {
        c.refused(
            "a configuration that is not there",
            &["-c", "--config-file=/nonexistent/x.conf"],
            |_, _| {},
        );
    }
    c.refused("a target that crashed and cannot be recovered", &[], |t, _| {
        edit_control(major, t, |b| b[STATE] = IN_PRODUCTION);
        replace(&t.join("postgresql.conf"), b"what = 'is\n");
    });
    say(&format!("PostgreSQL {major}: {} refusals in pg_rewind's words", case.count));
    hints(&server);
}

/// A cluster without checksums and without wal_log_hints.
fn hints(server: &Server) {
    let target = Cluster::init(server, &[]);
    let mut command = target.command("pg_checksums");
    target.done(command.arg("--disable").arg("-D").arg(target.pgdata()));
    target.start();
    let source = target.standby();
    source.start();
    source.wait_for(&target);
    source.promote();
    source.stop(Mode::Fast);
    target.stop(Mode::Fast);
    let told = format!("PostgreSQL {}: neither checksums nor hints", server.major);
    let status = both_unchanged((&target, &source.pgdata()), &told, By::Us, &["-N"]);
    assert_eq!(status, Some(1));
}

#[test]
fn pg13() {
    refusals("13");
}

#[test]
fn pg15() {
    refusals("15");
}

#[test]
fn pg16() {
    refusals("16");
}

#[test]
fn pg17() {
    refusals("17");
}

#[test]
fn pg18() {
    refusals("18");
}

#[test]
fn pg19() {
    refusals("19");
}

/// Runs a program without a data directory and gives status, standard output and standard error.
fn run(program: &Path, args: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(program);
    command.args(args).env("LC_ALL", "C").current_dir("/");
    let output = command.output().unwrap();
    let place = program.to_str().unwrap();
    let clean = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(place, "pg_rewind");
    (output.status.code(), clean(&output.stdout), clean(&output.stderr))
}

#[test]
fn mistakes_on_the_command_line() {
    let Some(server) = server_of("18") else { return };
    let (ours, theirs) = (programs().join("pg_rewind"), server.bin.join("pg_rewind"));
    for line in [
        "",
        "--not-a-valid-option",
        "-x",
        "-nD",
        "--source=x",
        "--dry-run=1",
        "--source-pgdata",
        "--no=1",
        "-n --help",
        "--sync-method=x",
        "-D t",
        "-D t --source-pgdata s --source-server c",
        "--source-pgdata s",
        "-D t --source-pgdata s -R",
        "-D t --source-pgdata s extra words",
        "-D t --source-pgdata s -- -n",
    ] {
        let args: Vec<&str> = line.split(' ').filter(|a| !a.is_empty()).collect();
        assert_eq!(run(&ours, &args), run(&theirs, &args), "{line}");
    }
    // as root both say that they will not, before they look at anything
    if rustix::process::geteuid().is_root() {
        let args = ["-D", "/nonexistent", "--source-pgdata", "/nonexistent"];
        let (status, _, said) = run(&ours, &args);
        assert!(said.contains("cannot be executed by \"root\""), "{said}");
        assert_eq!((status, said), {
            let (s, _, e) = run(&theirs, &args);
            (s, e)
        });
    }
    let (status, help, error) = run(&ours, &["--help"]);
    assert_eq!((status, error.as_str()), (Some(0), ""));
    let (_, peers, _) = run(&theirs, &["--help"]);
    for line in peers.lines().filter(|l| l.trim_start().starts_with('-')) {
        let option = line.split("  ").find(|part| !part.is_empty()).unwrap();
        assert!(help.contains(option), "{option} is not in the help");
    }
    let (status, version, error) = run(&ours, &["-V"]);
    assert!(
        status == Some(0) && error.is_empty() && version.starts_with("pg_rewind (PostgreSQL) "),
        "{version}"
    );
}
