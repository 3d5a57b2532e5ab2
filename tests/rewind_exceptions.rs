//! Where pg_rewind goes ahead and leaves a target that is damaged, cannot start, or has wrong rows: each test shows that it
//! does, and that `forkpoint rewind` says no before the first write and names the way on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use common::cluster::{Cluster, Mode};
use common::drop_in::{By, both_unchanged, bundled, comparable, differences, program, rewind};
use common::majors::{any_server, say, server_of};
use common::scenario::{Scenario, Story, Wishes, make};
use common::{Server, give_away};

/// `DB_SHUTDOWNED`, at offset 16 of a control file.
const SHUT_DOWN: u8 = 1;

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// forkpoint refuses, and changes nothing. Then pg_rewind is let loose on a copy, which is given back with what it said.
fn refused(about: &str, target: &Cluster, source: &Path, word: &str) -> (Cluster, Output) {
    let options = ["--no-sync".to_owned()];
    for dry in [false, true] {
        let state = comparable(target).remove(Path::new("global/pg_control")).unwrap().1[16];
        if dry && state != SHUT_DOWN {
            // without the recovery a dry run ends before
            continue;
        }
        let ours = target.copy();
        let before = comparable(&ours);
        let options: Vec<String> = options.iter().cloned().chain(dry.then(|| "-n".to_owned())).collect();
        let output = rewind(By::Us, &ours, source, &options);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(1), "{about}: {said}");
        assert!(said.contains("forkpoint plan") && said.contains(word), "{about}: {said}");
        let found = differences(&comparable(&ours), &before);
        assert!(found.is_empty(), "{about}: {found:?}");
        assert!(!ours.dir().join("undo/data.forkpoint").exists(), "{about}: an undo store was begun");
    }
    let theirs = target.copy();
    let output = rewind(By::Peer, &theirs, source, &options);
    (theirs, output)
}

fn base(server: &Server, seed: u64) -> Scenario {
    make(server, Wishes { seed, story: Story::Failover, stop: Mode::Fast, archived: false })
}

/// Starts a standby that may not get far, and gives its log.
fn tried(cluster: &Cluster, source: &Cluster) -> String {
    cluster.follow(source);
    let options = format!("-k {} -p 5", cluster.dir().display());
    let mut command = cluster.command("pg_ctl");
    let log = cluster.dir().join("log");
    command.args(["start", "-w", "-t", "5", "-o", &options, "-D"]).arg(cluster.pgdata()).arg("-l").arg(log);
    let started = command.output().unwrap().status.success();
    let mut stop = cluster.command("pg_ctl");
    stop.args(["stop", "-m", "immediate", "-D"]).arg(cluster.pgdata());
    let _ = stop.output();
    format!("started: {started}\n{}", cluster.log())
}

#[test]
fn twins() {
    let Some(server) = server_of("18") else { return };
    let [target, source] =
        ["target", "source"].map(|side| bundled(&server, &pairs::unpack("twins").join(side)));
    let (theirs, output) = refused("twins", &target, &source.pgdata(), "timeline 2");
    assert!(output.status.success() && text(&output).contains("no rewind required"), "{}", text(&output));
    let same = differences(&comparable(&theirs), &comparable(&target));
    assert!(same.is_empty(), "both wrote on timeline 2, and nothing was done: {same:?}");
}

#[test]
fn twins_in_the_middle_of_both_histories() {
    let Some(server) = server_of("18") else { return };
    let [target, source] =
        ["target", "source"].map(|side| bundled(&server, &pairs::unpack("twins-middle").join(side)));
    let (theirs, output) = refused("twins in the middle", &target, &source.pgdata(), "timeline 2");
    assert!(text(&output).contains("Done!"), "{}", text(&output));
    source.start();
    theirs.follow(&source);
    theirs.start();
    theirs.wait_for(&source);
    let dump = |cluster: &Cluster| {
        let mut command = cluster.command("pg_dumpall");
        let text = cluster.done(command.args(["--no-unlogged-table-data", "-d"]).arg(cluster.conninfo()));
        text.lines().filter(|l| !l.contains("restrict ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, wanted) = (dump(&theirs), dump(&source));
    let wrong = ours.iter().filter(|line| !wanted.contains(line)).count();
    assert!(wrong > 0, "pg_rewind did well?");
    say(&format!(
        "twins in the middle: after pg_rewind the standby has {wrong} lines that its primary has not"
    ));
    theirs.stop(Mode::Immediate);
    source.stop(Mode::Immediate);
}

/// A target whose files are older than the last common checkpoint: pg_rewind refuses it too, because it was not shut down.
#[test]
fn restartpoint_before_the_common_checkpoint() {
    let Some(server) = server_of("18") else { return };
    let [target, source] =
        ["target", "source"].map(|side| bundled(&server, &pairs::unpack("restartpoint-behind").join(side)));
    let status = both_unchanged(
        (&target, &source.pgdata()),
        "restartpoint-behind",
        By::Subcommand,
        &["-N", "--no-ensure-shutdown"],
    );
    assert_eq!(status, Some(1));
}

#[test]
fn damage_and_dead_ends() {
    let Some(server) = any_server() else { return };
    let scenario = base(&server, 181);
    let (target, source) = (&scenario.target, &scenario.source);

    // a file that cannot be written: half of the target is changed by then
    let locked = target.copy();
    fs::set_permissions(locked.pgdata().join("postgresql.conf"), Permissions::from_mode(0o400)).unwrap();
    let (theirs, output) = refused("a read-only file", &locked, &source.pgdata(), "postgresql.conf");
    assert!(text(&output).contains("could not open target file"), "{}", text(&output));
    assert!(
        !differences(&comparable(&theirs), &comparable(&locked)).is_empty(),
        "pg_rewind changed nothing?"
    );

    // the same on a target that crashed: nothing is recovered either
    let crashed = target.copy();
    crashed.start();
    crashed.sql("CREATE TABLE before_the_crash AS SELECT i FROM generate_series(1, 500) i");
    crashed.stop(Mode::Immediate);
    fs::set_permissions(crashed.pgdata().join("postgresql.conf"), Permissions::from_mode(0o400)).unwrap();
    refused("a read-only file after a crash", &crashed, &source.pgdata(), "postgresql.conf");

    // what that leaves is taken for a good target by the next pg_rewind
    let halfway = theirs;
    fs::set_permissions(halfway.pgdata().join("postgresql.conf"), Permissions::from_mode(0o600)).unwrap();
    let again = halfway.copy();
    let output = rewind(By::Peer, &again, &source.pgdata(), &["-N".to_owned()]);
    say(&format!(
        "a second pg_rewind after one that failed: {}",
        text(&output).lines().last().unwrap_or_default()
    ));
    let ours = rewind(By::Us, &halfway, &source.pgdata(), &["-N".to_owned()]);
    assert_eq!(ours.status.code(), Some(1), "{}", text(&ours));

    // a tablespace that the source has made
    let with_space = source.copy();
    with_space.start();
    let place = with_space.dir().join("theirs");
    fs::create_dir(&place).unwrap();
    give_away(&place);
    with_space.sql(&format!("CREATE TABLESPACE theirs LOCATION '{}'", place.display()));
    with_space.sql("CREATE TABLE far TABLESPACE theirs AS SELECT i FROM generate_series(1, 1000) i");
    with_space.stop(Mode::Fast);
    let before = directory(&place);
    let (theirs, output) = refused("a new tablespace", target, &with_space.pgdata(), "tablespace");
    let link = fs::read_dir(theirs.pgdata().join("pg_tblspc"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| fs::read_link(p).is_ok_and(|to| to == place));
    assert!(link.is_some() || directory(&place) != before, "pg_rewind did well? {}", text(&output));

    // checksums on one side
    let without = target.copy();
    without.done(without.command("pg_checksums").arg("--disable").arg("-D").arg(without.pgdata()));
    without.start();
    without.sql(
        "CREATE TABLE unchecked AS SELECT i FROM generate_series(1, 1000) i; UPDATE t0 SET n = n; VACUUM",
    );
    without.stop(Mode::Fast);
    let (theirs, output) = refused("checksums on one side", &without, &source.pgdata(), "checksum");
    assert!(output.status.success(), "{}", text(&output));
    let mut check = theirs.command("pg_controldata");
    let shown = theirs.done(check.arg(theirs.pgdata()));
    let version = shown.lines().find(|l| l.starts_with("Data page checksum version")).unwrap().to_owned();
    assert!(version.ends_with('1'), "the target now claims to have checksums: {version}");

    // WAL that neither side has
    let gap = source.copy();
    gap.start();
    for n in 0..4 {
        gap.sql(&format!(
            "CREATE TABLE more{n} AS SELECT i FROM generate_series(1, 500) i; SELECT pg_switch_wal()"
        ));
    }
    gap.stop(Mode::Fast);
    let segments: Vec<PathBuf> = second_timeline(&gap.pgdata());
    assert!(segments.len() > 2, "{segments:?}: too little WAL for this test");
    fs::remove_file(&segments[1]).unwrap();
    let (theirs, output) = refused("WAL is gone", target, &gap.pgdata(), "WAL");
    assert!(text(&output).contains("Done!"), "{}", text(&output));
    gap.start();
    let log = tried(&theirs, &gap);
    assert!(log.starts_with("started: false"), "{log}");
    gap.stop(Mode::Fast);
}

fn directory(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![path.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_dir() {
                todo.push(entry.clone());
            }
            found.push(entry);
        }
    }
    found.sort();
    found
}

fn second_timeline(data: &Path) -> Vec<PathBuf> {
    let used = fs::read_dir(data.join("pg_wal")).unwrap().map(|e| e.unwrap().path()).filter(|p| {
        let name = p.file_name().unwrap().to_str().unwrap();
        // recycled files begin with another page address
        let address = fs::read(p).ok().and_then(|b| Some(u64::from_le_bytes(b.get(8..16)?.try_into().ok()?)));
        let own = u64::from_str_radix(name.get(16..24).unwrap_or_default(), 16).ok().map(|n| n << 20);
        name.len() == 24 && name.starts_with("00000002") && address == own
    });
    let mut found: Vec<PathBuf> = used.collect();
    found.sort();
    found
}

#[test]
fn database_dropped_on_the_target_of_13() {
    let Some(server) = server_of("13") else { return };
    let primary = Cluster::init(&server, &[]);
    primary.start();
    primary.sql("CREATE DATABASE shop");
    primary.sql_in("shop", "CREATE TABLE t AS SELECT 1 AS a");
    primary.sql("CHECKPOINT");
    let source = primary.standby();
    source.start();
    source.wait_for(&primary);
    source.promote();
    source.sql("CHECKPOINT");
    primary.sql("DROP DATABASE shop");
    primary.stop(Mode::Fast);
    source.stop(Mode::Fast);
    let (theirs, output) = refused("a dropped database", &primary, &source.pgdata(), "PG_VERSION");
    assert!(text(&output).contains("Done!"), "{}", text(&output));
    source.start();
    theirs.follow(&source);
    theirs.start();
    theirs.wait_for(&source);
    let mut psql = theirs.command("psql");
    psql.args(["-XAtc", "SELECT * FROM t", "-d"]).arg(format!("{} dbname=shop", theirs.conninfo()));
    let answer = psql.output().unwrap();
    assert!(!answer.status.success(), "pg_rewind did well? {}", String::from_utf8_lossy(&answer.stdout));
    say(&format!("13, a dropped database: {}", text(&answer).trim()));
    theirs.stop(Mode::Immediate);
    source.stop(Mode::Immediate);
}

#[test]
fn standby_source_ahead_of_its_checkpoint() {
    let Some(server) = any_server() else { return };
    let primary = Cluster::init(&server, &[]);
    primary.start();
    primary.sql("CREATE TABLE t AS SELECT i, 0 AS n FROM generate_series(1, 5000) i; CHECKPOINT");
    let [second, source] = [primary.standby(), primary.standby()];
    for standby in [&second, &source] {
        standby.start();
        standby.wait_for(&primary);
    }
    source.stop(Mode::Fast);
    second.promote();
    primary.sql("UPDATE t SET n = 1");
    primary.stop(Mode::Fast);
    source.follow(&second);
    source.start();
    second.sql("CHECKPOINT");
    second.sql("UPDATE t SET n = 2");
    source.wait_for(&second);
    source.stop(Mode::Fast);
    second.stop(Mode::Immediate);
    let point = |cluster: &Cluster| {
        let mut command = cluster.command("pg_controldata");
        let shown = cluster.done(command.arg(cluster.pgdata()));
        let line =
            shown.lines().find(|l| l.starts_with("Minimum recovery ending location")).unwrap().to_owned();
        let (high, low) = line.rsplit(' ').next().unwrap().split_once('/').unwrap();
        u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap()
    };
    let (theirs, output) = refused("a standby as source", &primary, &source.pgdata(), "standby");
    assert!(text(&output).contains("Done!"), "{}", text(&output));
    // files as new as the source's, and a point of consistency that lies before
    assert!(point(&theirs) < point(&source), "{} and {}", point(&theirs), point(&source));
}

/// Killed at any moment and run again, it ends with the same tree.
#[test]
fn killed_and_run_again() {
    let Some(server) = any_server() else { return };
    let scenario = base(&server, 182);
    let source = scenario.source.pgdata();
    let whole = scenario.target.copy();
    let output = rewind(By::Us, &whole, &source, &["-N".to_owned()]);
    assert!(output.status.success(), "{}", text(&output));
    let wanted = comparable(&whole);
    let mut halfway = 0;
    for attempt in 0..12 {
        let target = scenario.target.copy();
        let mut command = program(By::Us, &target);
        command.arg("-N").arg("-D").arg(target.pgdata()).arg("--source-pgdata").arg(&source);
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let set_aside = target.pgdata().join("global/pg_control.forkpoint");
        while !set_aside.exists() && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(attempt * attempt));
        let _ = child.kill();
        child.wait().unwrap();
        let aside = set_aside.exists();
        halfway += u32::from(aside);
        if aside || !target.pgdata().join("backup_label").exists() {
            let again = rewind(By::Us, &target, &source, &["-N".to_owned()]);
            assert!(again.status.success(), "{attempt}: {}", text(&again));
        }
        let found = differences(&comparable(&target), &wanted);
        assert!(found.is_empty(), "{attempt}: {found:?}");
    }
    assert!(halfway > 0, "it was never half-way: a poor test");
    say(&format!("killed and run again: 12 times, {halfway} of them half-way"));
}
