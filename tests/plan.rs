//! Plans held against what the real pg_rewind would do, and every point of the preflight against a directory that has
//! the fault.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::cluster::{Cluster, Mode, snapshot, whole};
use common::{Server, other_user};
use forkpoint::plan::model::{Action, BlockRange, Entry, Origin, Outcome, Why};
use forkpoint::plan::options::TablespaceMapping;
use forkpoint::plan::path::{PlanPath, RelPath};
use forkpoint::plan::{Plan, PlanError, PlanOptions, make};
use forkpoint::scan::progress::Progress;

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn plan_with(target: &Path, source: &Path, options: &PlanOptions) -> Result<Plan, PlanError> {
    make((target, source), options, 2, &Progress::default()).map(|(_, plan)| plan)
}

fn plan(target: &Path, source: &Path) -> Plan {
    plan_with(target, source, &PlanOptions::default()).unwrap()
}

fn as_pg_rewind() -> PlanOptions {
    PlanOptions { pg_rewind_compatible: true, ..PlanOptions::default() }
}

fn refused(plan: &Plan) -> BTreeSet<&str> {
    plan.refusals().map(|c| c.code.as_str()).collect()
}

fn warned(plan: &Plan) -> BTreeSet<&str> {
    plan.preflight.iter().filter(|c| c.outcome == Outcome::Warning).map(|c| c.code.as_str()).collect()
}

// ---- pg_rewind's own list ----

/// An entry as `pg_rewind --debug` prints it: path, action, blocks.
type Line = (String, String, Vec<u64>);

/// What `pg_rewind --dry-run --debug` lists, in its order; `None` where nothing is to be done, an error where it refuses.
fn pg_rewind(command: &mut Command, target: &Path, source: &Path) -> Result<Option<Vec<Line>>, String> {
    command.args(["--dry-run", "--debug", "--no-ensure-shutdown", "--target-pgdata"]);
    let output = command.arg(target).arg("--source-pgdata").arg(source).output().expect("pg_rewind");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let mut lines: Vec<Line> = Vec::new();
    for line in text.lines() {
        let line = line.trim_start_matches("pg_rewind:").trim().trim_start_matches("debug: ").trim();
        if let Some(block) = line.strip_prefix("block ").and_then(|b| b.parse().ok()) {
            lines.last_mut().unwrap().2.push(block);
        } else if let Some((path, action)) = line.rsplit_once(" (") {
            let action = action.trim_end_matches(')');
            if ["CREATE", "COPY", "COPY_TAIL", "NONE", "TRUNCATE", "REMOVE"].contains(&action) {
                lines.push((path.to_owned(), action.to_owned(), Vec::new()));
            }
        }
    }
    if !output.status.success() {
        return Err(text.lines().last().unwrap_or_default().to_owned());
    }
    if text.contains("no rewind required") {
        return Ok(None);
    }
    // 13 copies it like any file, and writes it at the end like the others; 19 lists WAL that it does not touch
    lines.retain(|l| l.0 != "global/pg_control" && (l.1 != "NONE" || !l.2.is_empty()));
    Ok(Some(lines))
}

fn blocks_of(ranges: &[BlockRange]) -> Vec<u64> {
    ranges.iter().flat_map(|r| u64::from(r.first)..u64::from(r.first) + u64::from(r.count)).collect()
}

fn line(entry: &Entry) -> Option<Line> {
    let (action, blocks) = match &entry.action {
        Action::Keep => return None,
        Action::CreateDirectory | Action::CreateSymlink { .. } => ("CREATE", Vec::new()),
        Action::Copy { .. } => ("COPY", Vec::new()),
        Action::Change { blocks, tail: Some(_), .. } => ("COPY_TAIL", blocks_of(blocks)),
        Action::Change { blocks, truncate_to: Some(_), .. } => ("TRUNCATE", blocks_of(blocks)),
        Action::Change { blocks, .. } => ("NONE", blocks_of(blocks)),
        Action::Remove => ("REMOVE", Vec::new()),
    };
    Some((entry.path.to_string(), action.to_owned(), blocks))
}

/// The first differences of two lists, which have to be the same in the same order.
fn compare(what: &str, plan: &Plan, theirs: &[Line], major: &str) {
    let mut ours: Vec<Line> = plan.entries.iter().filter_map(line).collect();
    let mut theirs = theirs.to_vec();
    if major == "16" {
        // 16.2 does not yet keep WAL, nor leave .DS_Store behind
        let kept = |l: &Line| (l.1 == "REMOVE" && l.0.starts_with("pg_wal/")) || l.0 == ".DS_Store";
        ours.retain(|l| !kept(l));
        theirs.retain(|l| !kept(l));
    }
    let only =
        |a: &[Line], b: &[Line]| a.iter().filter(|l| !b.contains(l)).take(10).cloned().collect::<Vec<_>>();
    let (more, fewer) = (only(&ours, &theirs), only(&theirs, &ours));
    assert!(
        more.is_empty() && fewer.is_empty(),
        "{what}: only by forkpoint {more:?}\nonly by pg_rewind {fewer:?}"
    );
    assert!(ours == theirs, "{what}: the same entries in another order");
}

// ---- bundled pairs ----

/// Unpacks a pair, gives it to the user who may run pg_rewind.
fn unpacked(scenario: &str) -> tempfile::TempDir {
    let dir = common::scratch();
    pairs::unpack_to(scenario, dir.path());
    if other_user().is_some() {
        let mut todo = vec![dir.path().to_owned()];
        while let Some(path) = todo.pop() {
            let (uid, gid) = other_user().unwrap();
            std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
            if path.symlink_metadata().unwrap().is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
    }
    dir
}

/// Over every bundled pair: the entries are those of the real pg_rewind of that major, in its order. What pg_rewind
/// refuses, or says is not needed, has no such plan.
#[test]
fn bundled_pairs_as_pg_rewind() {
    let servers = common::installed();
    let (mut equal, mut refusals, mut idle, mut without) = (0, Vec::new(), 0, 0);
    for scenario in pairs::scenarios() {
        let major = pairs::truth(&scenario)["major"].as_str().unwrap().to_owned();
        let Some(server) = servers.iter().find(|s| s.major == major && whole(s)) else {
            without += 1;
            continue;
        };
        let dir = unpacked(&scenario);
        let (target, source) = (dir.path().join("target"), dir.path().join("source"));
        let theirs = pg_rewind(&mut server.command("pg_rewind"), &target, &source);
        let ours = plan_with(&target, &source, &as_pg_rewind());
        match (theirs, ours) {
            (Ok(Some(theirs)), Ok(plan)) => {
                // where both claim a timeline number, pg_rewind looks for changes from another place
                if !refused(&plan).contains("twins") {
                    compare(&scenario, &plan, &theirs, &major);
                    equal += 1;
                }
            }
            (Ok(None), Err(PlanError::NotNeeded { .. })) => idle += 1,
            // twins of one timeline, or control files that name the old one: refused rather than "no rewind required"
            (Ok(None), Ok(plan)) => assert!(!refused(&plan).is_empty(), "{scenario}"),
            (Ok(Some(_)), Err(e)) => panic!("{scenario}: pg_rewind would do it, forkpoint: {e}"),
            (Ok(None), Err(e)) => refusals.push(format!("{scenario} ({e})")),
            (Err(theirs), Ok(plan)) => {
                refusals.push(format!("{scenario} ({theirs}; forkpoint: {:?})", refused(&plan)));
            }
            (Err(theirs), Err(ours)) => refusals.push(format!("{scenario} ({theirs}; forkpoint: {ours})")),
        }
    }
    say(&format!(
        "bundled pairs: {equal} plans equal to pg_rewind's list, {idle} not needed for both, {without} without the programs"
    ));
    for refusal in &refusals {
        say(&format!("    not by pg_rewind: {refusal}"));
    }
    let installed = servers.iter().any(|s| s.major == "18" && whole(s));
    assert!(!installed || equal >= 15, "{equal}");
}

/// Plans of every bundled pair survive JSON, and making one twice gives the same.
#[test]
fn every_plan_is_deterministic_and_survives_json() {
    let mut made = 0;
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        let (target, source) = (dir.join("target"), dir.join("source"));
        let options = PlanOptions { archives: archives(&dir), ..PlanOptions::default() };
        let Ok(plan) = plan_with(&target, &source, &options) else { continue };
        made += 1;
        if scenario.starts_with("basic-") {
            assert!(refused(&plan).is_empty(), "{scenario}: {:?}", plan.refusals().collect::<Vec<_>>());
        }
        assert_eq!(plan_with(&target, &source, &options).unwrap(), plan, "{scenario}");
        let json = serde_json::to_vec(&plan).unwrap();
        assert_eq!(Plan::from_json(&json).unwrap(), plan, "{scenario}");
        assert_eq!(plan.id, plan.identity());
        // pg_rewind has nothing to do where WAL was received and never replayed
        let own = plan_with(&target, &source, &PlanOptions { pg_rewind_compatible: true, ..options });
        let own = match own {
            Err(PlanError::NotNeeded { .. }) if scenario == "standby-received-only" => continue,
            own => own.unwrap(),
        };
        let beside = |p: &Plan| {
            p.entries
                .iter()
                .filter(|e| !e.path.as_bytes().starts_with(b"pg_wal/"))
                .cloned()
                .collect::<Vec<_>>()
        };
        if major_of(&plan) > 13 {
            assert_eq!(beside(&plan), beside(&own), "{scenario}: pg_rewind's rules, but for WAL");
        }
    }
    assert!(made >= 25, "{made}");
}

fn major_of(plan: &Plan) -> u32 {
    plan.major.parse().unwrap()
}

fn archives(dir: &Path) -> Vec<PlanPath> {
    let archive = dir.join("archive");
    if archive.is_dir() { vec![PlanPath::from(archive.as_path())] } else { Vec::new() }
}

/// The pair of a scenario in a directory of its own.
struct Pair {
    dir: tempfile::TempDir,
}

impl Pair {
    fn new(scenario: &str) -> Self {
        let dir = common::scratch();
        pairs::unpack_to(scenario, dir.path());
        Self { dir }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn plan(&self) -> Plan {
        plan(&self.target(), &self.source())
    }

    fn with(&self, options: &PlanOptions) -> Result<Plan, PlanError> {
        plan_with(&self.target(), &self.source(), options)
    }
}

// ---- positions ----

#[test]
fn replay_starts_at_the_oldest_redo() {
    let pair = Pair::new("basic-18");
    let normal = pair.plan();
    assert_eq!(normal.replay_start.redo, normal.last_common_checkpoint.unwrap().redo);
    assert!(refused(&normal).is_empty(), "{:?}", normal.preflight);
    assert_eq!(normal.min_recovery_point.lsn, normal.source.checkpoint.lsn);
    let label = format!("START WAL LOCATION: {} (file 0000000", normal.replay_start.redo);
    assert!(normal.backup_label.starts_with(&label), "{}", normal.backup_label);

    let pair = Pair::new("restartpoint-behind");
    let behind = pair.plan();
    assert_eq!(behind.replay_start.redo, behind.target.checkpoint.redo);
    assert!(behind.replay_start.redo < behind.last_common_checkpoint.unwrap().redo);
    assert!(!refused(&behind).contains("replay-start"), "{:?}", behind.preflight);
    let theirs = pair.with(&as_pg_rewind()).unwrap();
    assert!(refused(&theirs).contains("replay-start"), "{:?}", theirs.preflight);
    assert_eq!(theirs.replay_start.redo, theirs.last_common_checkpoint.unwrap().redo);
}

#[test]
fn twins_are_rewound_from_the_proven_divergence() {
    for scenario in ["twins", "twins-middle"] {
        let pair = Pair::new(scenario);
        let plan = pair.plan();
        assert!(
            refused(&plan).is_empty() && warned(&plan).contains("twins"),
            "{:?}",
            plan.refusals().collect::<Vec<_>>()
        );
        assert!(plan.last_common_checkpoint.unwrap().lsn < plan.divergence.lsn);
        // what the other twin wrote to a segment of that number never stays
        let kept = plan.entries.iter().filter(|e| e.why == Why::NeededWal);
        let size = u64::from(plan.segment_size);
        for entry in kept {
            let name = entry.path.to_string();
            let segno = u64::from_str_radix(&name[name.len() - 8..], 16).unwrap();
            assert!((segno + 1) * size <= plan.divergence.lsn.0, "{scenario}: {name}");
        }
        let theirs = pair.with(&as_pg_rewind());
        assert!(theirs.is_err() || refused(&theirs.unwrap()).contains("twins"), "{scenario}");
    }
}

#[test]
fn a_crashed_target_needs_no_recovery() {
    let pair = Pair::new("crashed-target");
    let plan = pair.plan();
    assert!(refused(&plan).is_empty(), "{:?}", plan.refusals().collect::<Vec<_>>());
    assert_eq!(plan.target.state, "in production");
    assert!(
        plan.entries.iter().any(|e| matches!(&e.action, Action::Change { blocks, .. } if !blocks.is_empty()))
    );
}

#[test]
fn a_snapshot_of_a_running_source() {
    let pair = Pair::new("basic-18");
    set_state(&pair.source(), 6);
    let plan = pair.plan();
    assert!(refused(&plan).contains("source-state"), "{:?}", plan.refusals().collect::<Vec<_>>());
    let snapshot = pair.with(&PlanOptions { source_snapshot: true, ..PlanOptions::default() }).unwrap();
    assert!(!refused(&snapshot).contains("source-state"), "{:?}", snapshot.preflight);
    let end = snapshot.source.end_of_wal.unwrap();
    assert_eq!(snapshot.min_recovery_point, end);
    assert!(end.lsn > snapshot.source.checkpoint.lsn);
}

/// Rewrites a control file's state, and its CRC (18: at 292, one after a field of 18).
fn set_state(dir: &Path, state: u32) {
    let path = dir.join("global/pg_control");
    let mut bytes = fs::read(&path).unwrap();
    bytes[16..20].copy_from_slice(&state.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..292]);
    bytes[292..296].copy_from_slice(&crc.to_le_bytes());
    fs::write(path, bytes).unwrap();
}

// ---- preflight ----

#[test]
fn servers_that_run() {
    let pair = Pair::new("basic-18");
    for (dir, code) in [(pair.target(), "target-stopped"), (pair.source(), "source-stopped")] {
        let file = dir.join("postmaster.pid");
        fs::write(&file, format!("1\n{}\n1\n5432\n", dir.display())).unwrap();
        assert_eq!(refused(&pair.plan()), [code].into(), "process 1 lives");
        // a snapshot carries another directory's
        fs::write(&file, "1\n/\n1\n5432\n").unwrap();
        assert!(refused(&pair.plan()).is_empty());
        fs::remove_file(file).unwrap();
    }
}

#[test]
fn faults_of_files() {
    let pair = Pair::new("basic-18");
    let (target, source) = (pair.target(), pair.source());
    let check = |codes: &[&str], what: &str| {
        let plan = pair.plan();
        assert_eq!(
            refused(&plan),
            codes.iter().copied().collect(),
            "{what}: {:#?}",
            plan.refusals().collect::<Vec<_>>()
        );
        plan
    };
    check(&[], "as it is");

    let moved = target.join("pg_hba.conf");
    fs::remove_file(&moved).unwrap();
    fs::create_dir(&moved).unwrap();
    check(&["types"], "a directory in place of a file");
    fs::remove_dir(&moved).unwrap();
    fs::copy(source.join("pg_hba.conf"), &moved).unwrap();

    fs::set_permissions(&moved, fs::Permissions::from_mode(0o400)).unwrap();
    let plan = check(&["permissions"], "a file that cannot be written");
    assert!(
        plan.refusals().next().unwrap().place.as_ref().unwrap().to_string().ends_with("target/pg_hba.conf")
    );
    let keep = PlanOptions { keep: vec!["pg_hba.conf".parse().unwrap()], ..PlanOptions::default() };
    assert!(refused(&pair.with(&keep).unwrap()).is_empty(), "it does not have to be");
    fs::set_permissions(&moved, fs::Permissions::from_mode(0o600)).unwrap();

    fs::hard_link(&moved, pair.dir.path().join("elsewhere")).unwrap();
    assert!(warned(&check(&[], "a second name outside")).contains("hard-links"));
    fs::remove_file(source.join("pg_hba.conf")).unwrap();
    fs::hard_link(&moved, source.join("pg_hba.conf")).unwrap();
    check(&["same-files"], "a file that both have");
    fs::remove_file(source.join("pg_hba.conf")).unwrap();
    fs::copy(&moved, source.join("pg_hba.conf")).unwrap();

    fs::create_dir(target.join("extra")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(target.join("extra/s")).unwrap();
    check(&["sockets"], "a socket in a directory that has to go");
    drop(socket);
    fs::remove_dir_all(target.join("extra")).unwrap();

    // both moved a directory elsewhere: pg_rewind would not look into either
    for dir in [&target, &source] {
        let name = format!("{}-xact", dir.file_name().unwrap().display());
        fs::rename(dir.join("pg_xact"), pair.dir.path().join(&name)).unwrap();
        symlink(pair.dir.path().join(&name), dir.join("pg_xact")).unwrap();
    }
    check(&["links"], "a link where files of the cluster lie");
    for dir in [&target, &source] {
        let name = format!("{}-xact", dir.file_name().unwrap().display());
        fs::remove_file(dir.join("pg_xact")).unwrap();
        fs::rename(pair.dir.path().join(&name), dir.join("pg_xact")).unwrap();
    }

    fs::write(source.join("backup_label"), "START WAL LOCATION: 0/1 (file 0)\n").unwrap();
    assert!(refused(&pair.plan()).contains("source-backup-label"));
    fs::remove_file(source.join("backup_label")).unwrap();

    fs::write(target.join("global/pg_control.forkpoint"), "").unwrap();
    check(&["leftovers"], "an apply that was not finished");
    fs::remove_file(target.join("global/pg_control.forkpoint")).unwrap();
    fs::write(target.join("forkpoint.state"), "{}").unwrap();
    let plan = check(&[], "an apply that was");
    assert!(warned(&plan).contains("leftovers"));
    let own = plan.entries.iter().find(|e| e.path.to_string() == "forkpoint.state").unwrap();
    assert_eq!((own.action.clone(), own.why), (Action::Keep, Why::Own));
    fs::remove_file(target.join("forkpoint.state")).unwrap();
    check(&[], "mended");
}

#[test]
fn the_same_wal_directory_or_one_within_the_other() {
    let pair = Pair::new("basic-18");
    fs::remove_dir_all(pair.target().join("pg_wal")).unwrap();
    symlink(pair.source().join("pg_wal"), pair.target().join("pg_wal")).unwrap();
    match pair.with(&PlanOptions::default()) {
        Ok(plan) => {
            assert!(refused(&plan).contains("same-files"), "{:?}", plan.refusals().collect::<Vec<_>>());
        }
        Err(e) => assert!(matches!(e, PlanError::Impossible { .. } | PlanError::NotNeeded { .. }), "{e}"),
    }
    let pair = Pair::new("basic-18");
    let inside = pair.source().join("old");
    fs::rename(pair.target(), &inside).unwrap();
    let plan = plan(&inside, &pair.source());
    assert!(refused(&plan).contains("same-files"), "{:?}", plan.refusals().collect::<Vec<_>>());
}

#[test]
fn wrong_pages_of_the_source() {
    let pair = Pair::new("basic-18");
    let plan = pair.plan();
    let (path, block) = plan
        .entries
        .iter()
        .find_map(|e| match &e.action {
            Action::Change { blocks, .. } => Some((e.path.clone(), blocks.first()?.first)),
            _ => None,
        })
        .unwrap();
    let file = fs::File::options().read(true).write(true).open(pair.source().join(path.as_path())).unwrap();
    let at = u64::from(block) * 8192 + 5000;
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let plan = pair.plan();
    assert_eq!(refused(&plan), ["source-pages"].into());
    let check = plan.refusals().next().unwrap();
    assert!(check.what.starts_with(&format!("Block {block} ")), "{check:?}");
    assert!(check.place.as_ref().unwrap().to_string().ends_with(&path.to_string()));
}

#[test]
fn checksums_on_one_side_and_hint_bits() {
    let plan = Pair::new("checksums-mismatch").plan();
    assert!(refused(&plan).contains("checksums"), "{:?}", plan.refusals().collect::<Vec<_>>());
    let pair = Pair::new("no-hints");
    assert_eq!(refused(&pair.plan()), ["hint-bits"].into());
    let compared = pair.with(&PlanOptions { compare: true, ..PlanOptions::default() }).unwrap();
    assert!(refused(&compared).is_empty(), "{:?}", compared.preflight);
}

#[test]
fn an_interrupted_pg_rewind() {
    for scenario in ["half-rewound", "half-rewound-blocks"] {
        let pair = Pair::new(scenario);
        let made = pair.with(&PlanOptions::default());
        assert!(made.is_err() || !refused(&made.unwrap()).is_empty(), "{scenario}");
        let compared = pair.with(&PlanOptions { compare: true, ..PlanOptions::default() }).unwrap();
        // what the interrupted run tripped over is still there
        let left: BTreeSet<_> = refused(&compared).into_iter().filter(|c| *c != "permissions").collect();
        assert!(left.is_empty(), "{scenario}: {:?}", compared.preflight);
    }
}

#[test]
fn wal_not_yet_archived() {
    let pair = Pair::new("basic-18");
    let plan = pair.plan();
    let overwritten = plan.entries.iter().find(|e| e.why == Why::Wal && e.target.is_some()).unwrap();
    let name = overwritten.path.as_path().file_name().unwrap().to_str().unwrap().to_owned();
    fs::write(pair.target().join(format!("pg_wal/archive_status/{name}.ready")), "").unwrap();
    let plan = pair.plan();
    assert!(warned(&plan).contains("not-archived"), "{:?}", plan.refusals().collect::<Vec<_>>());
    assert!(plan.preflight.iter().any(|c| c.what.contains(&name)));
}

#[test]
fn wal_that_only_an_archive_has() {
    let pair = Pair::new("recycled-archive");
    let archive = pair.dir.path().join("archive");
    let options = PlanOptions { archives: archives(pair.dir.path()), ..PlanOptions::default() };
    let plan = pair.with(&options).unwrap();
    assert!(refused(&plan).is_empty(), "{:?}", plan.refusals().collect::<Vec<_>>());
    let copied: Vec<_> = plan
        .entries
        .iter()
        .filter(|e| matches!(&e.action, Action::Copy { from: Origin::Archive(from), .. } if from.as_path().starts_with(&archive)))
        .collect();
    let kept = plan.entries.iter().filter(|e| e.why == Why::NeededWal).count();
    assert!(!copied.is_empty() || kept > 0, "replay begins before what the source has");
    for entry in &copied {
        assert!(matches!(entry.action, Action::Copy { size, .. } if size == u64::from(plan.segment_size)));
    }
    match pair.with(&PlanOptions::default()) {
        Ok(without) => assert!(refused(&without).contains("wal-for-replay"), "{:?}", without.preflight),
        Err(e) => {
            assert!(e.to_string().contains("--compare") && e.to_string().contains("--wal-archive"), "{e}");
        }
    }
}

#[test]
fn a_tablespace_of_the_source() {
    let pair = Pair::new("basic-18");
    let (old, new) = (pair.dir.path().join("old"), pair.dir.path().join("new"));
    let version = "PG_18_202506291";
    fs::create_dir_all(old.join(version).join("5")).unwrap();
    fs::write(old.join(version).join("5/99999"), vec![0; 8192]).unwrap();
    symlink(&old, pair.source().join("pg_tblspc/70000")).unwrap();
    let plan = pair.plan();
    assert_eq!(refused(&plan), ["tablespaces"].into(), "{:?}", plan.refusals().collect::<Vec<_>>());
    let mapped = || {
        let mapping =
            TablespaceMapping { old: PlanPath::from(old.as_path()), new: PlanPath::from(new.as_path()) };
        pair.with(&PlanOptions { tablespace_mapping: vec![mapping], ..PlanOptions::default() }).unwrap()
    };
    assert_eq!(refused(&mapped()), ["tablespaces"].into(), "the new directory is not there");
    fs::create_dir(&new).unwrap();
    let plan = mapped();
    assert!(refused(&plan).is_empty(), "{:?}", plan.refusals().collect::<Vec<_>>());
    let link = plan.entries.iter().find(|e| e.path.to_string() == "pg_tblspc/70000").unwrap();
    assert_eq!(link.action, Action::CreateSymlink { to: PlanPath::from(new.as_path()) });
    assert!(plan.entries.iter().any(|e| e.path.to_string() == format!("pg_tblspc/70000/{version}/5/99999")));
    fs::write(new.join("x"), "").unwrap();
    assert_eq!(refused(&mapped()), ["tablespaces"].into(), "the new directory is not empty");
}

// ---- wishes ----

#[test]
fn files_that_are_kept() {
    let pair = Pair::new("basic-18");
    let keep = |patterns: &[&str]| {
        let keep = patterns.iter().map(|p| p.parse().unwrap()).collect();
        pair.with(&PlanOptions { keep, ..PlanOptions::default() })
    };
    fs::create_dir(pair.target().join("certs")).unwrap();
    fs::write(pair.target().join("certs/server.key"), "k").unwrap();
    fs::write(pair.source().join("source-only.conf"), "k").unwrap();
    let plan = keep(&["*.conf", "certs/*.key", "nothing"]).unwrap();
    assert!(warned(&plan).contains("keep"));
    let action = |path: &str| {
        plan.entries.iter().find(|e| e.path.to_string() == path).map(|e| (e.action.clone(), e.why))
    };
    for path in ["postgresql.conf", "pg_hba.conf", "certs/server.key", "certs"] {
        assert_eq!(action(path), Some((Action::Keep, Why::Kept)), "{path}");
    }
    assert_eq!(action("source-only.conf"), None, "stays away");
    for pattern in [
        "base",
        "global/*",
        "*",
        "**",
        "pg_wal/archive_status",
        "PG_VERSION",
        "**/PG_VERSION",
        "pg_xact/0000",
    ] {
        assert!(matches!(keep(&[pattern]), Err(PlanError::Keep { .. })), "{pattern}");
    }
}

#[test]
fn lines_of_a_standby() {
    let conninfo = "host=db2 password='it''s'";
    let options = PlanOptions { standby: Some(conninfo.into()), ..PlanOptions::default() };
    let plan = Pair::new("basic-18").with(&options).unwrap();
    let standby = plan.standby.clone().unwrap();
    assert_eq!(standby.file.to_string(), "postgresql.auto.conf");
    assert_eq!(standby.lines, "primary_conninfo = 'host=db2 password=''it''''s'''\n");
    assert!(!plan.next_steps.iter().any(|s| s.contains("second primary")));
    let old = Pair::new("basic-11").with(&options).unwrap().standby.unwrap();
    assert_eq!((old.file.to_string().as_str(), old.signal), ("recovery.conf", None));
    let without = Pair::new("basic-18").plan();
    assert!(without.next_steps.iter().any(|s| s.contains("second primary")));
}

#[test]
fn comparing_finds_every_block_that_differs() {
    let pair = Pair::new("basic-18");
    let plan = pair.with(&PlanOptions { compare: true, ..PlanOptions::default() }).unwrap();
    assert!(refused(&plan).is_empty(), "{:?}", plan.refusals().collect::<Vec<_>>());
    assert_eq!(plan.replay_start.redo, plan.source.checkpoint.redo);
    let mut compared = 0;
    for dir in ["global", "base/5", "base/1", "base/4"] {
        for entry in fs::read_dir(pair.source().join(dir)).unwrap().map(Result::unwrap) {
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{dir}/{name}");
            let (ours, theirs) = (pair.target().join(&path), pair.source().join(&path));
            if !name.bytes().all(|b| b.is_ascii_digit()) || !ours.is_file() {
                continue;
            }
            let (mut ours, theirs) = (fs::read(ours).unwrap(), fs::read(theirs).unwrap());
            let entry = plan.entries.iter().find(|e| e.path.to_string() == path);
            if let Some(Action::Change { blocks, tail, truncate_to }) = entry.map(|e| &e.action) {
                for block in blocks_of(blocks) {
                    let at = block as usize * 8192;
                    assert_ne!(ours[at..at + 8192], theirs[at..at + 8192], "{path} {block}");
                    ours[at..at + 8192].copy_from_slice(&theirs[at..at + 8192]);
                }
                if let Some(tail) = tail {
                    ours.truncate(tail.from as usize);
                    ours.extend_from_slice(&theirs[tail.from as usize..tail.to as usize]);
                }
                ours.truncate(truncate_to.map_or(ours.len(), |n| n as usize));
                compared += 1;
            }
            assert!(ours == theirs, "{path}");
        }
    }
    assert!(compared > 10, "{compared}");
    // WAL that is gone does not matter then
    for file in fs::read_dir(pair.target().join("pg_wal")).unwrap().map(|e| e.unwrap().path()) {
        if file.is_file() {
            fs::remove_file(file).unwrap();
        }
    }
    let error = pair.with(&PlanOptions::default());
    let named = match &error {
        Ok(plan) => plan.refusals().any(|c| c.advice.contains("--compare")),
        Err(e) => e.to_string().contains("--compare"),
    };
    assert!(named, "{error:?}");
    let again = pair.with(&PlanOptions { compare: true, ..PlanOptions::default() }).unwrap();
    assert!(refused(&again).is_empty(), "{:?}", again.preflight);
    let changes = |p: &Plan| p.entries.iter().filter(|e| e.why == Why::Differs).cloned().collect::<Vec<_>>();
    assert_eq!(changes(&again), changes(&plan));
}

// ---- stored plans ----

#[test]
fn plans_that_were_edited() {
    let plan = Pair::new("basic-18").plan();
    let json: serde_json::Value = serde_json::to_value(&plan).unwrap();
    let load = |json: &serde_json::Value| Plan::from_json(&serde_json::to_vec(json).unwrap());
    assert_eq!(load(&json).unwrap(), plan);
    let first = plan.entries.iter().position(|e| matches!(e.action, Action::Remove)).unwrap();
    for path in ["../../etc/passwd", "/etc/passwd", "base/../../x", "", "base//1"] {
        let mut edited = json.clone();
        edited["entries"][first]["path"] = path.into();
        let error = load(&edited).unwrap_err().to_string();
        assert!(error.contains("is refused"), "{path}: {error}");
    }
    let mut dropped = json.clone();
    let changed = plan
        .entries
        .iter()
        .position(|e| matches!(&e.action, Action::Change { blocks, .. } if blocks.len() > 1))
        .unwrap();
    dropped["entries"][changed]["action"]["change"]["blocks"].as_array_mut().unwrap().remove(0);
    assert!(load(&dropped).unwrap_err().to_string().contains("changed after it was made"));
    let mut extra = json.clone();
    extra["entries"][0]["more"] = 1.into();
    assert!(load(&extra).unwrap_err().to_string().contains("unknown field"));
    let mut newer = json.clone();
    newer["schema_version"] = 2.into();
    assert!(load(&newer).unwrap_err().to_string().contains("version 2"));
    assert!(Plan::from_json(b"{}").is_err() && Plan::from_json(b"").is_err());

    // with an identity that fits: what no plan may say
    let resealed = |change: &dyn Fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        Plan::from_json(&serde_json::to_vec(&plan.sealed()).unwrap()).map_err(|e| e.to_string())
    };
    assert!(resealed(&|_| ()).is_ok());
    let control = |p: &mut Plan| p.entries[first].path = RelPath::new(b"global/pg_control").unwrap();
    assert!(resealed(&control).unwrap_err().contains("never changed"));
    let unordered = |p: &mut Plan| {
        if let Action::Change { blocks, .. } = &mut p.entries[changed].action {
            blocks.reverse();
        }
    };
    assert!(resealed(&unordered).unwrap_err().contains("not in order"));
    let label = |p: &mut Plan| p.backup_label.clear();
    assert!(resealed(&label).unwrap_err().contains("backup_label"));
    let archive = |p: &mut Plan| {
        let from = Origin::Archive(PlanPath::from(Path::new("/etc/passwd")));
        p.entries[first].action = Action::Copy { size: 1, from };
        p.entries[first].path = RelPath::new(b"base/1").unwrap();
    };
    assert!(resealed(&archive).unwrap_err().contains("only WAL"));
}

#[test]
fn what_changed_since() {
    let pair = Pair::new("basic-18");
    let was = pair.plan();
    assert!(was.changes(&pair.plan()).is_empty());
    fs::write(pair.target().join("pg_hba.conf"), "# other\n").unwrap();
    assert_eq!(was.changes(&pair.plan()), ["pg_hba.conf changed since the plan was made."]);
    fs::write(pair.source().join("new.conf"), "").unwrap();
    let now = pair.plan();
    assert!(was.changes(&now).contains(&"new.conf has to be changed too.".to_owned()));
    assert!(now.changes(&was).contains(&"new.conf is no longer to be changed.".to_owned()));
    set_state(&pair.target(), 6);
    let changes = was.changes(&pair.plan());
    assert!(changes.iter().any(|c| c.starts_with("The control file of the target")), "{changes:?}");
    // who looks does not matter
    let mut other = was.clone();
    other.preflight.clear();
    assert!(was.changes(&other).is_empty());
    other.file_mode.0 = 0o640;
    assert_eq!(was.changes(&other).len(), 1);
}

#[test]
fn damaged_plans_never_load() {
    let plan = Pair::new("basic-18").plan();
    let json = serde_json::to_vec(&plan).unwrap();
    let step = json.len() / 300;
    for at in (0..json.len()).step_by(step) {
        for change in [0x01, 0x80] {
            let mut damaged = json.clone();
            damaged[at] ^= change;
            assert!(Plan::from_json(&damaged).is_err(), "byte {at}");
        }
    }
    for end in (0..json.len()).step_by(step * 3) {
        assert!(Plan::from_json(&json[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_filesystem_without_room() {
    let pair = Pair::new("basic-18");
    let file = fs::File::create(pair.source().join("huge")).unwrap();
    if file.set_len(8 << 40).is_err() {
        return say("skipped: no sparse file of 8 TB here");
    }
    let plan = pair.plan();
    assert_eq!(refused(&plan), ["space"].into(), "{:?}", plan.refusals().collect::<Vec<_>>());
    assert!(plan.totals.filesystems[0].needed > 8 << 40);
}

#[test]
fn planning_writes_nothing() {
    let pair = Pair::new("basic-18");
    let before = (snapshot(&pair.target()), snapshot(&pair.source()));
    for options in [
        PlanOptions::default(),
        as_pg_rewind(),
        PlanOptions { compare: true, standby: Some("host=x".into()), ..PlanOptions::default() },
    ] {
        pair.with(&options).unwrap();
    }
    assert!(before == (snapshot(&pair.target()), snapshot(&pair.source())));
}

#[test]
fn on_the_command_line() {
    let pair = Pair::new("basic-18");
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
        let output = command.arg("plan").arg(pair.target()).arg(pair.source()).args(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    };
    let file = pair.dir.path().join("plan.json");
    let (status, out, err) = run(&["-o", file.to_str().unwrap()]);
    assert_eq!((status, err.as_str()), (0, ""));
    assert!(out.contains("can be rewound") && out.contains("second primary"), "{out}");
    let stored = forkpoint::plan::load(&file).unwrap();
    assert!(out.contains(&stored.id[..40]), "{out}");
    let (status, out, _) = run(&["--format", "json"]);
    assert_eq!((status, Plan::from_json(out.as_bytes()).unwrap()), (0, stored));
    let (status, _, err) = run(&["-o", pair.target().join("plan.json").to_str().unwrap()]);
    assert_eq!(status, 4, "{err}");
    let (status, _, err) = run(&["--keep", "base"]);
    assert_eq!(status, 2, "{err}");
    let (_, out, _) = run(&["-v"]);
    assert!(out.contains("Every file") && out.contains("postgresql.conf"), "{out}");
    fs::write(pair.target().join("global/pg_control.forkpoint"), "").unwrap();
    let (status, out, _) = run(&[]);
    assert_eq!(status, 4);
    assert!(out.contains("not carried out") && out.contains("forkpoint resume"), "{out}");
    let schema = Command::new(env!("CARGO_BIN_EXE_forkpoint")).args(["schema", "plan"]).output().unwrap();
    let schema: serde_json::Value = serde_json::from_slice(&schema.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let plan = serde_json::to_value(pair.plan()).unwrap();
    let wrong: Vec<_> = validator.iter_errors(&plan).map(|e| e.to_string()).take(3).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

// ---- real failovers ----

/// A failover after which every kind of entry has to be dealt with.
fn failover(server: &Server) {
    let major: u32 = server.major.parse().unwrap();
    let settings: &[_] = if major >= 15 { &[("allow_in_place_tablespaces", "on")] } else { &[] };
    let primary = Cluster::init(server, settings);
    primary.start();
    primary.sql(
        "CREATE TABLE grows AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 2000) g;
         CREATE TABLE shrinks AS SELECT * FROM grows; CREATE TABLE dropped AS SELECT * FROM grows;
         CREATE TABLE changed AS SELECT * FROM grows; CREATE UNLOGGED TABLE fast AS SELECT * FROM grows;
         CREATE INDEX ON changed (a); VACUUM; CHECKPOINT;",
    );
    primary.sql("CREATE DATABASE dropped_on_target");
    if major >= 15 {
        primary.sql("CREATE TABLESPACE inside LOCATION ''");
        primary.sql("CREATE TABLE placed TABLESPACE inside AS SELECT * FROM grows");
    }
    let standby = primary.standby();
    standby.start();
    standby.wait_for(&primary);
    primary.sql("UPDATE changed SET b = 'before' WHERE a < 100");
    standby.wait_for(&primary);
    standby.promote();
    standby.sql("CHECKPOINT");
    primary.sql(
        "INSERT INTO grows SELECT g, 'target' FROM generate_series(1, 5000) g; DELETE FROM shrinks; VACUUM shrinks;
         DROP TABLE dropped; UPDATE changed SET b = 'target' WHERE a % 7 = 0; CREATE TABLE only_target AS SELECT 1 AS a;",
    );
    primary.sql("DROP DATABASE dropped_on_target");
    primary.sql("CREATE DATABASE only_target");
    standby.sql(
        "INSERT INTO shrinks SELECT * FROM grows; UPDATE changed SET b = 'source' WHERE a % 5 = 0;
         CREATE TABLE only_source AS SELECT * FROM grows;",
    );
    standby.sql("CREATE DATABASE only_source");
    if major >= 15 {
        primary.sql("UPDATE placed SET b = 'target'");
        standby.sql("INSERT INTO placed SELECT * FROM placed");
    }
    primary.stop(Mode::Fast);
    standby.stop(Mode::Fast);
    let (target, source) = (primary.pgdata(), standby.pgdata());
    for dir in
        [target.join("both dirs/a'b"), source.join("both dirs/c d"), target.join("gone"), source.join("new")]
    {
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("file"), "x").unwrap();
    }
    for path in ["base/pgsql_tmp", "pg_replslot/old", "log"] {
        fs::create_dir_all(target.join(path)).unwrap();
        fs::write(target.join(path).join("pgsql_tmp1.0"), "x").unwrap();
    }
    for path in [".DS_Store", "pg_internal.init.1", "postgresql.auto.conf.tmp", "zz PG_VERSION"] {
        fs::write(source.join(path), "x").unwrap();
    }
    symlink("/nowhere", source.join("link")).unwrap();
    symlink("/nowhere", target.join("old-link")).unwrap();
    for dir in [&target, &source] {
        let status =
            Command::new("chown").arg("-R").arg("--reference").arg(dir.join("PG_VERSION")).arg(dir).status();
        assert!(status.unwrap().success());
    }
    let theirs = pg_rewind(&mut primary.command("pg_rewind"), &target, &source).unwrap().unwrap();
    let ours = plan_with(&target, &source, &as_pg_rewind()).unwrap();
    compare(&format!("PostgreSQL {major}, failover"), &ours, &theirs, &server.major);
    let kinds: BTreeSet<&str> = theirs.iter().map(|l| l.1.as_str()).collect();
    assert_eq!(kinds, ["COPY", "COPY_TAIL", "CREATE", "NONE", "REMOVE", "TRUNCATE"].into(), "a poor test");
    let blocks: usize = theirs.iter().map(|l| l.2.len()).sum();
    assert!(blocks > 50, "{blocks}");
    let own = plan(&target, &source);
    assert!(refused(&own).is_empty(), "{:?}", own.refusals().collect::<Vec<_>>());
    assert_eq!(
        refused(&ours),
        if major == 13 { ["databases"].into() } else { [].into() },
        "{:?}",
        ours.preflight
    );
    let version =
        own.entries.iter().filter(|e| e.path.as_path().ends_with("PG_VERSION") && e.why == Why::SourceOnly);
    assert!(version.count() >= 2, "databases that only the source has arrive whole");
    say(&format!(
        "plan of a failover on PostgreSQL {major}: {} entries, {blocks} blocks, as pg_rewind",
        theirs.len()
    ));
}

/// The source has recycled WAL that replay needs and the target still has.
fn recycled_wal(server: &Server) {
    let primary = Cluster::init(server, &[("max_wal_size", "4MB"), ("min_wal_size", "2MB")]);
    primary.start();
    primary.sql(
        "CREATE TABLE t AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 2000) g; CHECKPOINT;",
    );
    let standby = primary.standby();
    standby.configure(&[("wal_keep_size", "0")]);
    standby.start();
    standby.wait_for(&primary);
    primary.sql("CHECKPOINT; UPDATE t SET b = 'before';");
    primary.sql("SELECT pg_switch_wal(); INSERT INTO t SELECT * FROM t;");
    standby.wait_for(&primary);
    standby.promote();
    primary.sql("INSERT INTO t VALUES (1, 'target')");
    standby.sql(
        "INSERT INTO t VALUES (2, 'source'); CHECKPOINT; INSERT INTO t VALUES (3, 'source'); CHECKPOINT;",
    );
    primary.stop(Mode::Fast);
    standby.stop(Mode::Fast);
    let (target, source) = (primary.pgdata(), standby.pgdata());
    let own = plan(&target, &source);
    let kept: Vec<_> =
        own.entries.iter().filter(|e| e.why == Why::NeededWal).map(|e| e.path.to_string()).collect();
    let theirs = plan_with(&target, &source, &as_pg_rewind()).unwrap();
    let list = pg_rewind(&mut primary.command("pg_rewind"), &target, &source).unwrap().unwrap();
    compare(&format!("PostgreSQL {}, recycled WAL", server.major), &theirs, &list, &server.major);
    for path in &kept {
        assert!(target.join(path).is_file() && !source.join(path).is_file(), "{path}");
    }
    assert!(!kept.is_empty(), "a poor test: the source has everything");
    assert!(refused(&own).is_empty(), "{:?}", own.refusals().collect::<Vec<_>>());
    // up to 13 it removes what the target needs
    let theirs = refused(&theirs);
    assert_eq!(theirs, if server.major == "13" { ["wal-for-replay"].into() } else { [].into() });
    say(&format!("recycled WAL on PostgreSQL {}: {} segments kept", server.major, kept.len()));
}

/// A standby as source, stopped: its files go up to its minimum recovery point, beyond its last restartpoint.
#[test]
fn a_standby_as_source() {
    let Some(server) = common::installed().into_iter().find(|s| s.major == "17" && whole(s)) else {
        return say("skipped: PostgreSQL 17 is not installed");
    };
    let old = Cluster::init(&server, &[]);
    old.start();
    old.sql(
        "CREATE TABLE t AS SELECT g AS a, repeat('x', 100) AS b FROM generate_series(1, 2000) g; CHECKPOINT;",
    );
    let new = old.standby();
    let below = old.standby();
    for standby in [&new, &below] {
        standby.start();
        standby.wait_for(&old);
    }
    below.stop(Mode::Fast);
    new.promote();
    below.follow(&new);
    below.start();
    old.sql("UPDATE t SET b = 'target' WHERE a % 3 = 0");
    new.sql("UPDATE t SET b = 'source' WHERE a % 5 = 0");
    below.wait_for(&new);
    old.stop(Mode::Fast);
    below.stop(Mode::Fast);
    let (target, source) = (old.pgdata(), below.pgdata());
    let own = plan(&target, &source);
    assert!(refused(&own).is_empty(), "{:?}", own.refusals().collect::<Vec<_>>());
    assert_eq!(own.source.state, "shut down in recovery");
    assert!(
        own.source.min_recovery_point > own.source.checkpoint.lsn,
        "a poor test: nothing behind the restartpoint"
    );
    assert_eq!(own.min_recovery_point.lsn, own.source.min_recovery_point);
    assert!(own.next_steps.iter().any(|s| s.contains("follow the server that the source follows")));
    let theirs = plan_with(&target, &source, &as_pg_rewind()).unwrap();
    assert_eq!(refused(&theirs), ["source-state"].into());
    let list = pg_rewind(&mut old.command("pg_rewind"), &target, &source).unwrap().unwrap();
    compare("a standby as source", &theirs, &list, "17");
}

/// A tablespace that the source made after the divergence: replay makes its link again, to the source's own directory.
#[test]
fn a_tablespace_made_after_the_divergence() {
    let Some(server) = common::installed().into_iter().find(|s| s.major == "17" && whole(s)) else {
        return say("skipped: PostgreSQL 17 is not installed");
    };
    let primary = Cluster::init(&server, &[]);
    primary.start();
    let standby = primary.standby();
    let other = primary.standby();
    for server in [&standby, &other] {
        server.start();
        server.wait_for(&primary);
    }
    other.stop(Mode::Fast);
    standby.promote();
    primary.sql("CREATE TABLE t AS SELECT 1 AS a");
    let (old, new) = (standby.dir().join("space"), primary.dir().join("space"));
    for dir in [&old, &new] {
        fs::create_dir(dir).unwrap();
        common::give_away(dir);
    }
    standby.sql(&format!("CREATE TABLESPACE s LOCATION '{}'", old.display()));
    standby.sql("CREATE TABLE placed TABLESPACE s AS SELECT 1 AS a; CHECKPOINT;");
    primary.stop(Mode::Fast);
    standby.stop(Mode::Fast);
    let (target, source) = (primary.pgdata(), standby.pgdata());
    let with = |compare, mapped: bool| {
        let mapping =
            TablespaceMapping { old: PlanPath::from(old.as_path()), new: PlanPath::from(new.as_path()) };
        let tablespace_mapping = if mapped { vec![mapping] } else { Vec::new() };
        plan_with(&target, &source, &PlanOptions { compare, tablespace_mapping, ..PlanOptions::default() })
            .unwrap()
    };
    assert_eq!(refused(&with(false, false)), ["tablespaces"].into());
    let replayed = with(false, true);
    assert_eq!(refused(&replayed), ["tablespaces"].into());
    assert!(replayed.refusals().next().unwrap().what.contains("replay would make the link again"));
    let compared = with(true, true);
    assert!(refused(&compared).is_empty(), "{:?}", compared.preflight);

    // what replay does with a link that is there already
    let link = fs::read_dir(source.join("pg_tblspc")).unwrap().next().unwrap().unwrap().file_name();
    let link = other.pgdata().join("pg_tblspc").join(link);
    symlink(&new, &link).unwrap();
    standby.start();
    other.follow(&standby);
    other.start();
    other.wait_for(&standby);
    assert_eq!(fs::read_link(&link).unwrap(), old, "replay turns it to the path of the CREATE TABLESPACE");
}

macro_rules! on_every_major {
    ($($module:ident $major:literal),*) => { $(
        mod $module {
            fn on(test: fn(&super::Server)) {
                match super::common::installed().into_iter().find(|s| s.major == $major && super::whole(s)) {
                    Some(server) => test(&server),
                    None => super::say(concat!("skipped: PostgreSQL ", $major, " is not installed")),
                }
            }
            #[test]
            fn failover() {
                on(super::failover);
            }
            #[test]
            fn recycled_wal() {
                on(super::recycled_wal);
            }
        }
    )* };
}
on_every_major!(pg13 "13", pg15 "15", pg16 "16", pg17 "17", pg18 "18", pg19 "19");
