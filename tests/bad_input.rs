//! Damaged directories: a clear answer or a clear error, in time and in bounded memory, and the rest still reported.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/craft.rs"]
mod craft;
#[path = "common/pairs.rs"]
mod pairs;

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use forkpoint::pg::control::ControlFile;
use forkpoint::pg::{Lsn, Major};
use forkpoint::wal::{Format, PAGE_SIZE};
use serde_json::Value;

/// No answer takes longer.
const LIMIT: Duration = Duration::from_secs(60);
/// No answer takes more memory (KiB).
const MEMORY: u64 = 300 << 10;
const PAIR: &str = "basic-18";

/// A pair that may be damaged.
struct Scene {
    root: tempfile::TempDir,
    more: Vec<String>,
    limit: Duration,
}

/// What a run of the program said.
struct Ran {
    what: String,
    status: i32,
    out: String,
    err: String,
}

impl Scene {
    fn new() -> Self {
        Self::of(PAIR)
    }

    fn of(scenario: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        pairs::unpack_to(scenario, root.path());
        Self { root, more: Vec::new(), limit: LIMIT }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn target(&self, name: &str) -> PathBuf {
        self.at("target").join(name)
    }

    fn source(&self, name: &str) -> PathBuf {
        self.at("source").join(name)
    }

    /// The newest segment in use of a side.
    fn segment(&self, side: &str) -> PathBuf {
        let control = fs::read(self.at(side).join("global/pg_control")).unwrap();
        let control = ControlFile::parse(&control).unwrap();
        let timeline = control.checkpoint_copy.timeline;
        let name = forkpoint::pg::walname::segment_name(
            timeline,
            control.checkpoint,
            control.segment_size().unwrap(),
        );
        self.at(side).join("pg_wal").join(name)
    }

    fn run(&self, args: &[&str]) -> Ran {
        self.run_as(Command::new(env!("CARGO_BIN_EXE_forkpoint")), args)
    }

    fn run_as(&self, mut command: Command, args: &[&str]) -> Ran {
        let what = format!("forkpoint {}", args.join(" "));
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        command.args(args).current_dir("/").stdin(Stdio::null());
        command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let mut peak = 0;
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            peak = peak.max(high_water(child.id()));
            if start.elapsed() > self.limit {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{what}: no end after {:?}", self.limit);
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        assert!(peak < MEMORY, "{what}: {peak} KiB");
        let text = |file: File| {
            let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
            file.read_exact_at(&mut bytes, 0).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let ran = Ran { status: status.code().unwrap_or(-1), out: text(out), err: text(err), what };
        let what = &ran.what;
        assert!(!ran.err.contains("panicked") && !ran.err.contains("a bug"), "{what}: {}", ran.err);
        // what stands in files must not reach the terminal as it is
        for text in [&ran.out, &ran.err] {
            let control = text.chars().find(|c| c.is_control() && *c != '\n');
            assert_eq!(control, None, "{what}");
        }
        ran
    }

    /// Runs every command; each answers (0, or 3 for a verdict without enough evidence) or says what is wrong with
    /// which file. Returns the JSON report, unless the pair cannot be read at all.
    fn check(&self, wrong: &Path) -> Option<Value> {
        let dir = |name: &str| self.at(name).to_str().unwrap().to_owned();
        let (target, source) = (dir("target"), dir("source"));
        let more: Vec<&str> = self.more.iter().map(String::as_str).collect();
        let with = |words: &[&str]| {
            let args: Vec<&str> = words.iter().copied().chain(more.iter().copied()).collect();
            self.run(&args)
        };
        let json = with(&["report", &target, &source, "--format", "json"]);
        let mut all = vec![
            with(&["report", &target, &source]),
            with(&["report", &target, &source, "-v", "--format", "markdown", "--threads", "1"]),
            with(&["blocks", &target, &source]),
            with(&["lost", &target, &source, "--format", "jsonl"]),
            with(&["lost", &source, &target, "--format", "sql"]),
            self.run(&["timelines", &target, &source]),
            with(&["snapshots", &source, &target]),
        ];
        let answered = !json.out.is_empty();
        let value = answered.then(|| serde_json::from_str(&json.out).unwrap());
        all.push(json);
        for ran in &all {
            assert!(matches!(ran.status, 0 | 3), "{}: {} {}", ran.what, ran.status, ran.err);
            if ran.out.is_empty() {
                assert_eq!(ran.status, 3, "{}", ran.what);
                says(&ran.err, wrong);
            } else {
                // notes
                assert!(ran.err.lines().all(|l| l.starts_with("forkpoint: ")), "{}: {}", ran.what, ran.err);
            }
        }
        for side in [&target, &source] {
            let ran = self.run(&["controldata", side]);
            assert!(matches!(ran.status, 0 | 1), "{}: {}", ran.what, ran.status);
            assert!(ran.status == 0 || !ran.err.is_empty(), "{}", ran.what);
        }
        value
    }

    /// Both sides could be read: the report.
    fn report(&self, wrong: &Path) -> Value {
        let value = self.check(wrong).expect("a report");
        // nothing but what is damaged is missing
        for side in ["target", "source"] {
            assert!(value[side]["control"]["checkpoint"].is_string());
            assert!(value["files"][side]["entries"].as_u64() > Some(1000));
        }
        value
    }

    /// The report cannot be made; the error names the file.
    fn refused(&self, wrong: &Path) {
        assert!(self.check(wrong).is_none());
    }
}

/// Peak resident memory of a process so far, KiB.
fn high_water(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// One line that names the file and goes on behind the fact with what to do.
fn says(err: &str, wrong: &Path) {
    let err = err.strip_prefix("forkpoint: ").unwrap_or_else(|| panic!("{err:?}"));
    assert_eq!(err.lines().count(), 1, "{err}");
    assert!(err.contains(wrong.to_str().unwrap()), "{err} does not name {}", wrong.display());
    assert!(err.contains("; ") || err.contains(": give"), "{err} does not say what to do");
}

/// Whether any sentence of the report names the file.
fn names(report: &Value, wrong: &Path) -> bool {
    let wrong = wrong.to_str().unwrap();
    let mut parts = vec![&report["unseen"], &report["names"]["problems"], &report["files"]["problems"]];
    parts.extend(["target", "source"].map(|side| &report[side]["rejected_wal"]));
    parts.extend(["target", "source"].map(|side| &report[side]["settings"]["problems"]));
    parts.iter().any(|part| part.to_string().contains(wrong))
}

/// Committed transactions that the report counts, by whatever certainty.
fn commits(report: &Value) -> Option<u64> {
    report["loss"]["commits"].as_u64()
}

fn write_at(path: &Path, offset: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, offset).unwrap();
}

fn cut(path: &Path, length: u64) {
    OpenOptions::new().write(true).create(true).truncate(false).open(path).unwrap().set_len(length).unwrap();
}

fn fifo(path: &Path) {
    let _ = fs::remove_file(path);
    let made = rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o600.into(), 0);
    made.unwrap();
}

/// Bytes without any order, the same in every run.
fn junk(length: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(&mut next).take(length).collect()
}

#[test]
fn no_data_directory() {
    let scene = Scene::new();
    let target = scene.at("target");
    let put = |name: &str| fs::rename(scene.at("kept"), scene.at(name)).unwrap();
    fs::rename(&target, scene.at("kept")).unwrap();
    let one = |scene: &Scene, wrong: &Path| {
        let source = scene.at("source").to_str().unwrap().to_owned();
        let target = scene.at("target").to_str().unwrap().to_owned();
        for command in ["report", "blocks", "lost"] {
            for pair in [[&target, &source], [&source, &target]] {
                let ran = scene.run(&[command, pair[0], pair[1]]);
                assert_eq!((ran.status, ran.out.as_str()), (3, ""), "{}", ran.what);
                says(&ran.err, wrong);
            }
        }
        // a snapshot that cannot be read is one that cannot be used
        let ran = scene.run(&["snapshots", &source, &target, "--format", "json"]);
        // one that is no directory at all is an error, too, once the others are judged
        assert_eq!(ran.status, if scene.at("target").is_dir() { 0 } else { 3 });
        assert!(ran.out.contains("unusable") && ran.out.contains(wrong.to_str().unwrap()), "{}", ran.out);
        let ran = scene.run(&["controldata", &target]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""));
        says(&ran.err, wrong);
    };
    one(&scene, &target); // missing
    fs::write(&target, "x").unwrap();
    one(&scene, &target);
    fs::remove_file(&target).unwrap();
    fs::create_dir(&target).unwrap();
    one(&scene, &target); // empty
    fs::create_dir(target.join("base")).unwrap();
    one(&scene, &target); // something else
    fs::remove_dir_all(&target).unwrap();
    symlink(&target, &target).unwrap();
    let source = scene.at("source");
    let ran = scene.run(&["report", target.to_str().unwrap(), source.to_str().unwrap()]);
    assert_eq!(ran.status, 3);
    fs::remove_file(&target).unwrap();
    put("target");
    fs::rename(scene.target("global"), scene.target("lobal")).unwrap();
    one(&scene, &target);
    fs::rename(scene.target("lobal"), scene.target("global")).unwrap();
    fs::write(scene.target("PG_VERSION"), "99\n").unwrap();
    one(&scene, &scene.target("PG_VERSION"));
    cut(&scene.target("PG_VERSION"), 5 << 30);
    one(&scene, &scene.target("PG_VERSION"));
    fifo(&scene.target("PG_VERSION"));
    one(&scene, &scene.target("PG_VERSION"));
}

#[test]
fn a_live_server() {
    let scene = Scene::new();
    let mut other = Command::new("sleep").arg("600").spawn().unwrap();
    let target = scene.at("target").canonicalize().unwrap();
    fs::write(scene.target("postmaster.pid"), format!("{}\n{}\n", other.id(), target.display())).unwrap();
    let report = scene.report(&target);
    other.kill().unwrap();
    other.wait().unwrap();
    let postmaster = &report["target"]["leftovers"]["postmaster"];
    assert_eq!(
        (&postmaster["alive"], &postmaster["same_directory"]),
        (&true.into(), &true.into()),
        "{postmaster}"
    );
    assert_eq!(commits(&report), Some(22)); // read anyway
    fs::write(scene.target("postmaster.pid"), b"\xFF\x1B[31m\n/tmp\n").unwrap();
    assert!(names(&scene.report(&target), &scene.target("postmaster.pid")));
}

#[test]
fn a_control_file_that_is_none() {
    let scene = Scene::new();
    let path = scene.target("global/pg_control");
    let good = fs::read(&path).unwrap();
    let swapped: Vec<u8> = [&good[..8], &[good[11], good[10], good[9], good[8]], &good[12..]].concat();
    let version = [&good[..8], &9999_u32.to_le_bytes(), &good[12..]].concat();
    for bad in [&good[..0], &good[..100], &junk(8192), &swapped, &version] {
        fs::write(&path, bad).unwrap();
        scene.refused(&path);
    }
    fs::write(&path, &swapped).unwrap();
    let ran =
        scene.run(&["report", scene.at("target").to_str().unwrap(), scene.at("source").to_str().unwrap()]);
    assert!(ran.err.contains("big-endian") && ran.err.contains("offset 8"), "{}", ran.err);
    fs::remove_file(&path).unwrap();
    scene.refused(&path);
    fifo(&path);
    scene.refused(&path);
    fs::remove_file(&path).unwrap();
    cut(&path, 5 << 30);
    scene.refused(&path);
}

#[test]
fn a_control_file_of_a_wrong_crc() {
    let scene = Scene::new();
    let path = scene.target("global/pg_control");
    let good = fs::read(&path).unwrap();
    // checkpoint, redo, timeline, minRecoveryPoint, segment size: as far off as they can be
    for offset in (0..280).step_by(4).filter(|at| !(8..16).contains(at)) {
        for value in [0, u32::MAX] {
            let mut bad = good.clone();
            bad[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
            if bad == good {
                continue;
            }
            fs::write(&path, &bad).unwrap();
            let args = ["report", scene.at("target").to_str().unwrap(), scene.at("source").to_str().unwrap()]
                .map(str::to_owned);
            let ran = scene.run(&[&args[0], &args[1], &args[2], "--format", "json"]);
            assert!(
                matches!(ran.status, 0 | 3) && !ran.out.is_empty(),
                "{offset}: {} {}",
                ran.status,
                ran.err
            );
            let report: Value = serde_json::from_str(&ran.out).unwrap();
            assert_eq!(report["target"]["control"]["crc_ok"], false, "{offset}");
        }
    }
    let mut bad = good.clone();
    bad[40..48].copy_from_slice(&[0xFF; 8]);
    fs::write(&path, &bad).unwrap();
    scene.report(&path);
}

#[test]
fn a_history_file_that_is_none() {
    let scene = Scene::new();
    let path = scene.source("pg_wal/00000002.history");
    let good = fs::read(&path).unwrap();
    let line = String::from_utf8(good.clone()).unwrap();
    let cases: [(&str, Vec<u8>); 5] = [
        ("junk", junk(500)),
        ("itself", format!("{line}2\t0/2000000\ty\n").into_bytes()),
        ("a cycle", line.replacen('1', "3", 1).into_bytes()),
        ("falling LSNs", format!("0\t0/2000000\ty\n{line}").into_bytes()),
        ("too much", vec![b'#'; 2 << 20]),
    ];
    for (what, bad) in cases {
        fs::write(&path, bad).unwrap();
        let report = scene.report(&path);
        assert!(names(&report, &path), "{what}: {}", report["unseen"]);
        // never a verdict from what could not be read
        assert_ne!(report["relation"]["kind"], "diverged", "{what}");
        assert_ne!(report["verdict"]["action"], "follow", "{what}");
    }
    fifo(&path);
    assert!(names(&scene.report(&path), &path));
    fs::remove_file(&path).unwrap();
    assert_eq!(scene.report(&path)["source"]["missing_history"], serde_json::json!([2]));
    // no terminal's controls, no bytes that are not text
    fs::write(&path, line.replace("no recovery", "\u{1B}[31mred\u{7}\0").as_bytes()).unwrap();
    let report = scene.report(&path);
    assert_eq!(commits(&report), Some(22));
    fs::write(&path, [line.trim_end().as_bytes(), b" \xFF\xFE\x9B\n"].concat()).unwrap();
    assert_eq!(commits(&scene.report(&path)), Some(22));
    // others that nobody needs, and that are long
    let mut many = String::new();
    for n in 1..45_000 {
        let _ = writeln!(many, "{n}\t0/{:X}\t.", 0x0100_C968 + n);
    }
    fs::write(scene.source("pg_wal/FFFFFFFF.history"), &many).unwrap();
    fs::write(&path, [good, b"# nothing\n".repeat(100_000)].concat()).unwrap();
    assert_eq!(commits(&scene.report(&path)), Some(22));
}

#[test]
fn a_segment_that_is_not_what_its_name_says() {
    let scene = Scene::new();
    let path = scene.segment("target");
    let good = fs::read(&path).unwrap();
    let patched = |at: usize, bytes: &[u8]| {
        let mut copy = good.clone();
        copy[at..at + bytes.len()].copy_from_slice(bytes);
        copy
    };
    let of_source = fs::read(scene.segment("source")).unwrap();
    assert_eq!(of_source.len(), good.len());
    let cases: [(&str, Vec<u8>); 8] = [
        ("empty", Vec::new()),
        ("zeroed", vec![0; good.len()]),
        ("too long", [&good[..], &[0; 8192]].concat()),
        ("of another system", patched(24, b"12345678")),
        ("of another segment size", patched(32, &(16_u32 << 20).to_le_bytes())),
        ("of another major", patched(0, &0xD116_u16.to_le_bytes())),
        ("another segment", patched(8, &0x7000_0000_u64.to_le_bytes())),
        ("junk", junk(good.len())),
    ];
    for (what, bad) in cases {
        fs::write(&path, bad).unwrap();
        let report = scene.report(&path);
        assert!(names(&report, &path), "{what}: {}", report["target"]["rejected_wal"]);
        // the divergence is known from the history; what was lost is not
        assert_eq!(report["divergence"]["timeline"], 1, "{what}");
        assert_eq!(commits(&report), None, "{what}");
        assert!(report["source_changes"]["records"].as_u64() > Some(0), "{what}");
        assert!(!report["unseen"].as_array().unwrap().is_empty(), "{what}");
    }
    fs::remove_file(&path).unwrap();
    for made in [fifo as fn(&Path), |path| fs::create_dir(path).unwrap(), |path| symlink(path, path).unwrap()]
    {
        made(&path);
        let report = scene.report(&path);
        assert!(!report["unseen"].as_array().unwrap().is_empty());
        if path.is_dir() {
            fs::remove_dir(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
    }
    // short: as far as it goes
    for length in [100_000, 98_304 + 500] {
        fs::write(&path, &good[..length]).unwrap();
        let report = scene.report(&path);
        assert!(names(&report, &path));
        assert_eq!(report["loss"]["kind"], "at_least");
        assert_eq!(report["target"]["end_of_wal"]["kind"], "torn");
        assert_eq!(report["target"]["end_of_wal"]["path"], path.to_str().unwrap());
    }
    // under another's name, beside the right one
    fs::write(&path, &good).unwrap();
    fs::copy(&path, path.with_file_name("000000010000000000000011")).unwrap();
    fs::copy(&path, path.with_file_name("00000001FFFFFFFF00000FFF")).unwrap();
    fs::copy(scene.segment("source"), scene.source("pg_wal/00000001FFFFFFFF00000FFF")).unwrap();
    assert_eq!(commits(&scene.report(&path)), Some(22));
}

#[test]
fn damage_in_the_middle() {
    let scene = Scene::new();
    let path = scene.segment("target");
    let good = fs::read(&path).unwrap();
    for (offset, bytes) in [(163_840 + 500, &b"XXXXXXXX"[..]), (163_840, b"XXXXXXXX"), (163_840, &[0; 8192])]
    {
        fs::write(&path, &good).unwrap();
        write_at(&path, offset, bytes);
        let report = scene.report(&path);
        let end = &report["target"]["end_of_wal"];
        assert_eq!(end["kind"], "damaged", "{end}");
        assert_eq!(end["path"], path.to_str().unwrap());
        assert!(
            end["offset"].as_u64().is_some() && end["next_valid"].is_string() && end["lsn"].is_string(),
            "{end}"
        );
        assert_eq!(report["loss"]["kind"], "at_least");
        assert!(commits(&report) < Some(22));
    }
}

#[test]
fn a_wal_directory_that_is_none() {
    let scene = Scene::new();
    for side in ["target", "source"] {
        let path = scene.at(side).join("pg_wal");
        let kept = scene.at("kept");
        fs::rename(&path, &kept).unwrap();
        assert!(names(&scene.report(&path), &path), "missing");
        for link in ["pg_wal", "/does/not/exist", "PG_VERSION"] {
            symlink(link, &path).unwrap();
            assert!(names(&scene.report(&path), &path), "{link}");
            fs::remove_file(&path).unwrap();
        }
        fs::write(&path, "x").unwrap();
        assert!(names(&scene.report(&path), &path), "a file");
        fs::remove_file(&path).unwrap();
        // a link that is as it should be
        symlink(&kept, &path).unwrap();
        assert_eq!(commits(&scene.report(&path)), Some(22));
        fs::remove_file(&path).unwrap();
        fs::rename(&kept, &path).unwrap();
    }
    for (name, to) in [("99998", "99998"), ("99999", "..")] {
        symlink(to, scene.target("pg_tblspc").join(name)).unwrap();
    }
    let report = scene.report(&scene.target("pg_tblspc/99998"));
    assert!(names(&report, &scene.target("pg_tblspc/99998")));
    assert_eq!(commits(&report), Some(22));
}

#[test]
fn a_file_in_a_place_where_it_should_not_be() {
    let scene = Scene::new();
    let kept = scene.at("kept");
    let conf = scene.target("postgresql.conf");
    for name in
        ["postgresql.conf", "backup_label", "postmaster.pid", "tablespace_map", "global/pg_filenode.map"]
    {
        let path = scene.target(name);
        let there = fs::rename(&path, &kept).is_ok();
        fifo(&path);
        let report = scene.report(&path);
        assert!(names(&report, &path), "{name}: a pipe");
        assert_eq!(commits(&report), Some(22), "{name}: a pipe");
        fs::remove_file(&path).unwrap();
        symlink(path.file_name().unwrap(), &path).unwrap();
        assert_eq!(commits(&scene.report(&path)), Some(22), "{name}: a loop");
        fs::remove_file(&path).unwrap();
        cut(&path, 5 << 30);
        assert_eq!(commits(&scene.report(&path)), Some(22), "{name}: 5 GB");
        fs::remove_file(&path).unwrap();
        if there {
            fs::rename(&kept, &path).unwrap();
        }
    }
    for text in
        ["include 'postgresql.conf'\nwal_log_hints = on\n", "include '/dev/zero'\nwal_log_hints = on\n"]
    {
        fs::write(&conf, text).unwrap();
        let report = scene.report(&conf);
        assert!(report["unseen"].to_string().contains(if text.contains("zero") {
            "/dev/zero"
        } else {
            "itself"
        }));
        assert!(report["target"]["settings"]["set"].to_string().contains("wal_log_hints"));
    }
    // what a password stands in is not shown, whatever else is there
    fs::write(
        &conf,
        [b"primary_conninfo = 'host=\x1B[31m password=hunter2 \xFF\0'\n".to_vec(), junk(3 << 20)].concat(),
    )
    .unwrap();
    let report = scene.report(&conf);
    assert!(!report.to_string().contains("hunter2"));
    assert!(report["unseen"].as_array().unwrap().len() < 10);
}

#[test]
fn names_that_are_not_text() {
    let scene = Scene::new();
    for name in [
        &b"a\x1B[31mb"[..],
        b"\xFF\xFE",
        b"new\nline",
        b"base/\x07",
        b"pg_wal/\xFF.history",
        b"pg_wal/0\x1B.gz",
    ] {
        fs::write(scene.target("").join(OsStr::from_bytes(name)), "x").unwrap();
        fs::write(scene.source("").join(OsStr::from_bytes(name)), "xy").unwrap();
    }
    fs::create_dir(scene.target("").join(OsStr::from_bytes(b"pg_replslot/\xFF\x1B[0m"))).unwrap();
    assert_eq!(commits(&scene.report(&scene.at("target"))), Some(22));
    // the data directory's own name
    let odd = scene.root.path().join(OsStr::from_bytes(b"\x1B[31m\xFF\n"));
    fs::rename(scene.at("target"), &odd).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("report").arg(&odd);
    let ran = scene.run_as(command, &[scene.at("source").to_str().unwrap(), "--format", "json"]);
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(report["target"]["path"]["base64"].is_string(), "{}", report["target"]["path"]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_forkpoint"));
    command.arg("report").arg(&odd);
    let ran = scene.run_as(command, &[scene.at("source").to_str().unwrap(), "-v"]);
    assert!(!ran.out.is_empty());
}

#[test]
fn catalogs_that_are_damaged() {
    let scene = Scene::of("crashed-target");
    let healthy = commits(&scene.report(&scene.at("target")));
    for side in ["target", "source"] {
        for (name, length) in
            [("base/5/1259", 131_072), ("global/pg_filenode.map", 524), ("pg_xact/0000", 8192)]
        {
            fs::write(scene.at(side).join(name), junk(length)).unwrap();
        }
        fifo(&scene.at(side).join("base/5/2615"));
        fs::remove_file(scene.at(side).join("global/1262")).unwrap();
    }
    let report = scene.report(&scene.at("target"));
    assert_eq!(commits(&report), healthy);
    assert!(!report["names"]["problems"].as_array().unwrap().is_empty());
}

#[test]
fn files_that_may_not_be_read() {
    let Some((uid, gid)) = common::other_user() else {
        println!("not run as root: tests/read_only.rs covers a user's own rights");
        return;
    };
    let scene = Scene::new();
    fs::set_permissions(scene.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = scene.at("forkpoint");
    fs::copy(env!("CARGO_BIN_EXE_forkpoint"), &program).unwrap();
    let mut queue = vec![scene.at("target"), scene.at("source")];
    while let Some(path) = queue.pop() {
        let is_dir = path.is_dir();
        if is_dir {
            queue.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(if is_dir { 0o755 } else { 0o644 })).unwrap();
    }
    let run = || {
        let mut command = Command::new(&program);
        command.uid(uid).gid(gid);
        let (target, source) = (scene.at("target"), scene.at("source"));
        scene.run_as(
            command,
            &["report", target.to_str().unwrap(), source.to_str().unwrap(), "--format", "json"],
        )
    };
    let whole: Value = serde_json::from_str(&run().out).unwrap();
    assert_eq!(commits(&whole), Some(22));
    let forbid = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    for name in
        ["postgresql.conf", "base/5/1259", "pg_replslot", "pg_wal/archive_status", "global/pg_filenode.map"]
    {
        let path = scene.target(name);
        let mode = fs::metadata(&path).unwrap().permissions();
        forbid(&path);
        let report: Value = serde_json::from_str(&run().out).unwrap();
        assert!(names(&report, &path), "{name}: {}", report["unseen"]);
        assert_eq!(commits(&report), Some(22), "{name}");
        fs::set_permissions(&path, mode).unwrap();
    }
    forbid(&scene.segment("target"));
    let report: Value = serde_json::from_str(&run().out).unwrap();
    assert!(names(&report, &scene.segment("target")));
    assert_eq!(report["relation"]["kind"], whole["relation"]["kind"]);
    fs::set_permissions(scene.segment("target"), fs::Permissions::from_mode(0o644)).unwrap();
    forbid(&scene.target("pg_wal"));
    let report: Value = serde_json::from_str(&run().out).unwrap();
    assert!(names(&report, &scene.target("pg_wal")));
    for wrong in [scene.target("global/pg_control"), scene.at("target")] {
        forbid(&wrong);
        let ran = run();
        assert_eq!((ran.status, ran.out.as_str()), (3, ""));
        says(&ran.err, &wrong);
        fs::set_permissions(&wrong, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[test]
fn archives_that_contradict_themselves() {
    let mut scene = Scene::new();
    let (one, two) = (scene.at("one"), scene.at("two"));
    let segment = scene.segment("target");
    let name = segment.file_name().unwrap();
    for dir in [&one, &two] {
        fs::create_dir(dir).unwrap();
        fs::copy(&segment, dir.join(name)).unwrap();
        scene.more.extend(["--wal-archive".to_owned(), dir.to_str().unwrap().to_owned()]);
    }
    // the same record, other content: the bytes of a row within a record, and a file that breaks off
    write_at(&two.join(name), 163_840 + 500, b"XXXXXXXX");
    fs::write(two.join("000000010000000000000011.gz"), [&[0x1F, 0x8B, 8, 0], &junk(200)[..]].concat())
        .unwrap();
    fs::write(two.join("000000010000000000000012.zst"), junk(200)).unwrap();
    symlink(&two, two.join("loop")).unwrap();
    fifo(&two.join("000000010000000000000013"));
    for n in 0..2000 {
        fs::write(one.join(format!("{:024X}", 0x0200_0000_0000_0000_0000_u128 + n)), "").unwrap();
    }
    let report = scene.report(&one);
    assert_eq!(commits(&report), Some(22));
    let conflict = report["archive_conflicts"].to_string();
    assert!(conflict.contains(two.join(name).to_str().unwrap()), "{conflict}");
    // an archive that is not there: a typing error would otherwise end in a wrong verdict
    let (target, source) = (scene.at("target"), scene.at("source"));
    let output = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .arg("report")
        .args([&target, &source])
        .args(["--wal-archive", "/does/not/exist"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/does/not/exist"), "{output:?}");
}

#[test]
fn restore_commands_that_fail() {
    let mut scene = Scene::new();
    let path = scene.segment("target");
    fs::remove_file(&path).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    for (command, said) in [
        ("echo no such %f at %p >&2; exit 3", "exit status 3"),
        ("/does/not/exist %f %p", "127"),
        ("true %f %p", "no file"),
        ("head -c 100 /dev/urandom > %p; true %f", "unknown"),
        ("mkfifo %p; true %f", "no regular file"),
        ("yes %f | head -c 10000000 >&2; false %p", "exit status 1"),
        ("kill -9 $$; : %f %p", "signal 9"),
    ] {
        scene.more = vec!["--restore-command".into(), command.into()];
        let report = scene.report(&path);
        let rejected = report["target"]["rejected_wal"].to_string();
        assert!(rejected.contains(said), "{command}: {rejected}");
        assert!(report.to_string().contains(&name));
    }
}

#[test]
fn a_restore_command_that_hangs() {
    let scene = Scene { limit: Duration::from_secs(100), ..Scene::new() };
    let path = scene.segment("target");
    fs::remove_file(&path).unwrap();
    let start = Instant::now();
    let (target, source) = (scene.at("target"), scene.at("source"));
    let args = ["report", target.to_str().unwrap(), source.to_str().unwrap(), "--format", "json"];
    let ran = scene.run(&[&args[..], &["--restore-command", "sleep 1000; : %f %p"]].concat());
    // killed once, not once for each file and side
    assert!(start.elapsed() < Duration::from_secs(90));
    let report: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(report["target"]["rejected_wal"].to_string().contains("killed after 60 s"));
    assert!(report["source_changes"]["records"].as_u64() > Some(0));
}

/// WAL behind the target's end: page headers, links and CRCs are right, the content is whatever is given.
fn append(scene: &Scene, records: &[(u8, u8, u32, Vec<u8>)]) -> Lsn {
    let control = ControlFile::parse(&fs::read(scene.target("global/pg_control")).unwrap()).unwrap();
    let size = control.segment_size().unwrap();
    let format =
        Format { major: Major::V18, system_identifier: control.system_identifier, segment_size: size };
    // the last record of a clean stop is the shutdown checkpoint: a segment of its own follows a switch
    let path = scene.segment("target");
    let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let page_at = control.checkpoint.page_start();
    let mut page = [0; PAGE_SIZE];
    file.read_exact_at(&mut page, size.offset(page_at)).unwrap();
    let used = control.checkpoint.page_offset() + 120;
    assert!(page[used..].iter().all(|b| *b == 0), "the checkpoint is the last record");
    let mut switch = vec![0; 24];
    switch[..4].copy_from_slice(&24_u32.to_le_bytes());
    switch[8..16].copy_from_slice(&control.checkpoint.0.to_le_bytes());
    switch[16] = 0x40;
    let sum = !forkpoint::wal::crc::update(forkpoint::wal::crc::INIT, &switch[..20]);
    switch[20..].copy_from_slice(&sum.to_le_bytes());
    let at = control.checkpoint.plus(120);
    file.write_all_at(&switch, size.offset(at)).unwrap();
    let dir = scene.target("pg_wal");
    let mut open: Option<(u64, File)> = None;
    let start = size.start(size.segno(at) + 1);
    let mut craft = craft::Craft::new(format, 1, start, at, |lsn: Lsn, bytes: &[u8; PAGE_SIZE]| {
        let segno = size.segno(lsn);
        if open.as_ref().is_none_or(|(n, _)| *n != segno) {
            let file = File::create(dir.join(forkpoint::pg::walname::segment_name(1, lsn, size))).unwrap();
            file.set_len(size.bytes()).unwrap();
            open = Some((segno, file));
        }
        open.as_ref().unwrap().1.write_all_at(bytes, size.offset(lsn)).unwrap();
    });
    for (rmid, info, xid, body) in records {
        craft.record(*rmid, *info, *xid, body);
    }
    craft.finish()
}

#[test]
fn wal_that_is_valid_and_absurd() {
    use craft::{block_ref, main_data};
    let scene = Scene::new();
    // the target is then one that crashed: its catalogs are replayed
    let path = scene.target("global/pg_control");
    let mut control = fs::read(&path).unwrap();
    control[16..20].copy_from_slice(&6_u32.to_le_bytes());
    let sum = forkpoint::wal::crc::of(&control[..292]);
    control[292..296].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, &control).unwrap();
    assert!(ControlFile::parse(&control).unwrap().crc_ok);

    let (xlog, xact, smgr, dbase, heap2, heap) = (0, 1, 2, 4, 9, 10);
    let catalog = (1663, 5, 1259);
    let huge = |flags: u32, count: u32| {
        main_data(&[&7_u64.to_le_bytes()[..], &flags.to_le_bytes(), &count.to_le_bytes(), &[0; 16]].concat())
    };
    let mut records = vec![
        (xact, 0x80, 900, huge(2, 1 << 31)),
        (xact, 0x80, 901, huge(4, u32::MAX)),
        (xact, 0x80, 902, huge(8, u32::MAX)),
        (xact, 0x80, 903, huge(0x100, u32::MAX)),
        (xact, 0x80, 904, huge(0x80, 0x4141_4141)),
        (xact, 0x80, 905, huge(u32::MAX, 1)),
        (xact, 0x10, 906, main_data(&[0xFF; 200])),
        (xact, 0x10, 907, main_data(&[0; 80])),
        (xact, 0x00, 908, Vec::new()),
        (xact, 0x50, 909, main_data(&[[9, 0, 0, 0], [0xFF; 4]].concat())),
        (smgr, 0x20, 910, main_data(&[0xFF; 20])),
        (smgr, 0x10, 911, main_data(&[1; 16])),
        (dbase, 0x00, 912, main_data(&[0xFF; 16])),
        (dbase, 0x20, 913, main_data(&[[1, 0, 0, 0], [0xFF; 4]].concat())),
        (6, 0x20, 914, main_data(&[0xFF; 12])),
        (7, 0x00, 915, main_data(&[[0; 4], [0x7F, 6, 0, 0], [0xFF; 4]].concat())),
        // a checkpoint of no time
        (xlog, 0x10, 0, main_data(&[0xFF; 88])),
        // catalogs with blocks at the end of what a number holds, cut, and pages made from nothing
        (heap, 0x80, 916, [&block_ref(0, catalog, 0x40, u32::MAX)[..], &main_data(&[1, 0, 0])].concat()),
        (heap, 0x10, 916, [&block_ref(0, catalog, 0, 0)[..], &main_data(&[0xFF; 8])].concat()),
        (heap2, 0x10, 917, [&block_ref(0, catalog, 0, 1)[..], &main_data(&[0xFF; 8])].concat()),
        (
            smgr,
            0x20,
            918,
            main_data(
                &[
                    &[0; 4][..],
                    &1663_u32.to_le_bytes(),
                    &5_u32.to_le_bytes(),
                    &1259_u32.to_le_bytes(),
                    &[7, 0, 0, 0],
                ]
                .concat(),
            ),
        ),
        // what is no header of a fragment
        (heap, 0, 919, vec![33]),
        (heap, 0, 920, vec![0xFE, 0xFF, 0xFF, 0xFF, 0xFF]),
        (heap, 0, 921, vec![5, 0x80, 0, 0, 1, 0, 0, 0]),
    ];
    // images that do not unpack to a page: pglz, lz4, zstd, plain of another length
    for (info, length) in [(7_u8, 40_u16), (11, 40), (19, 40), (3, 100), (0xFF, 9)] {
        let mut body = vec![0, 0x10, 0, 0];
        body.extend_from_slice(&length.to_le_bytes());
        body.extend_from_slice(&[100, 0, info]);
        if info & 0x1C != 0 {
            body.extend_from_slice(&5000_u16.to_le_bytes());
        }
        for n in [1663_u32, 5, 1259, 3] {
            body.extend_from_slice(&n.to_le_bytes());
        }
        body.extend_from_slice(&junk(usize::from(length)));
        records.push((xlog, 0xB0, 0, body));
    }
    // a catalog of ten thousand blocks, each a page of zeros in a few bytes, and one far away
    for block in (0..10_000).chain([u32::MAX, u32::MAX - 1, 1 << 20, (1 << 20) - 1]) {
        // LZ4: one literal zero, a match of all but the last five, which are literals
        let packed = [&[0x1F, 0, 1, 0][..], &[255; 32], &[7, 0x50, 0, 0, 0, 0, 0]].concat();
        let mut body = vec![0, 0x10, 0, 0, packed.len() as u8, 0, 0, 0, 10];
        for n in [1663_u32, 5, 1259, block] {
            body.extend_from_slice(&n.to_le_bytes());
        }
        body.extend_from_slice(&packed);
        records.push((xlog, 0xB0, 0, body));
    }
    // ten thousand relations, databases and transactions
    for n in 0..10_000_u32 {
        let rel = (n.wrapping_mul(2_654_435_761), n, u32::MAX - n);
        records.push((
            heap,
            0,
            n,
            [&block_ref(0, rel, (n % 4) as u8, n.wrapping_mul(65_537))[..], &main_data(&[1, 0, 0])].concat(),
        ));
        records.push((
            dbase,
            0x00,
            n,
            main_data(
                &[
                    &n.to_le_bytes()[..],
                    &1663_u32.to_le_bytes(),
                    &5_u32.to_le_bytes(),
                    &1663_u32.to_le_bytes(),
                ]
                .concat(),
            ),
        ));
        records.push((xact, 0, n * 400_000, main_data(&u64::MAX.to_le_bytes())));
    }
    let end = append(&scene, &records);
    let report = scene.report(&scene.at("target"));
    assert_eq!(report["target"]["end_of_wal"]["lsn"], end.to_string(), "{}", report["target"]["end_of_wal"]);
    // what was there before the absurd is still counted
    assert!(commits(&report) >= Some(22));
    assert!(!report["names"]["problems"].as_array().unwrap().is_empty());
}

#[test]
fn a_record_that_runs_past_the_end() {
    for total in [24, 100, 1 << 20, (1020 << 20) - 1, 1 << 30, u32::MAX] {
        let scene = Scene::new();
        let end = append(&scene, &[(10, 0, 7, vec![33])]);
        // the header of the next one, of which nothing else is there
        let segment = scene.target("pg_wal").join(forkpoint::pg::walname::segment_name(
            1,
            end,
            forkpoint::pg::SegmentSize::new(1 << 20).unwrap(),
        ));
        let mut header = vec![0; 24];
        header[..4].copy_from_slice(&u32::to_le_bytes(total));
        header[8..16].copy_from_slice(&(end.0 - 32).to_le_bytes());
        header[17] = 10;
        write_at(&segment, end.0 % (1 << 20), &header);
        let report = scene.report(&segment);
        let at = &report["target"]["end_of_wal"];
        assert_eq!(at["lsn"], end.to_string(), "{total}: {at}");
        assert_eq!(at["path"], segment.to_str().unwrap(), "{total}");
        assert_eq!(commits(&report), Some(22), "{total}");
    }
}

#[test]
fn nothing_but_wal_is_read_from_what_is_not_a_file() {
    // a directory, a device, a socket by the name of the newest segment's successor
    let scene = Scene::new();
    let next = scene.target("pg_wal/000000010000000000000011");
    symlink("/dev/zero", &next).unwrap();
    assert_eq!(commits(&scene.report(&next)), Some(22));
    fs::remove_file(&next).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&next).unwrap();
    assert_eq!(commits(&scene.report(&next)), Some(22));
    let mut log = File::open("/dev/zero").unwrap().take(1 << 20);
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes).unwrap();
    let path = scene.at("log");
    fs::write(&path, [&bytes[..], &junk(1 << 20), b"\xFF\nFATAL:  \x1B[31mcould not connect\n"].concat())
        .unwrap();
    let (target, source) = (scene.at("target"), scene.at("source"));
    let ran = scene.run(&[
        "report",
        target.to_str().unwrap(),
        source.to_str().unwrap(),
        "--log",
        path.to_str().unwrap(),
    ]);
    assert!(!ran.out.is_empty());
}

/// A pair with one segment of 1 GB made from scratch: on timeline 1 a checkpoint and a commit, then the divergence, then on the
/// target `behind` (body and zero bytes of a logical message) and a commit.
fn with_large_segments(segno: u64, behind: (&[u8], usize)) -> Scene {
    use craft::main_data;
    let scene = Scene::new();
    let size = forkpoint::pg::SegmentSize::new(1 << 30).unwrap();
    let segment_at = 224; // xlog_seg_size in 18
    let start = size.start(segno);
    let mut fork = Lsn::INVALID;
    for side in ["target", "source"] {
        let path = scene.at(side).join("global/pg_control");
        let mut control = fs::read(&path).unwrap();
        let system = u64::from_le_bytes(*control.first_chunk().unwrap());
        let place = (0..280).step_by(4).find(|at| {
            control[*at..*at + 4] == (1_u32 << 20).to_le_bytes()
                && control[*at - 4..*at] == 8192_u32.to_le_bytes()
        });
        let place = place.unwrap_or(segment_at);
        control[place..place + 4].copy_from_slice(&(1_u32 << 30).to_le_bytes());
        let wal = scene.at(side).join("pg_wal");
        fs::remove_dir_all(&wal).unwrap();
        fs::create_dir(&wal).unwrap();
        let timeline = if side == "target" { 1 } else { 2 };
        let file =
            File::create(wal.join(forkpoint::pg::walname::segment_name(timeline, start, size))).unwrap();
        file.set_len(1 << 30).unwrap();
        let format = Format { major: Major::V18, system_identifier: system, segment_size: size };
        let mut craft =
            craft::Craft::new(format, 1, start, Lsn(0x3000_0000), |lsn: Lsn, bytes: &[u8; PAGE_SIZE]| {
                if bytes[24..].iter().any(|b| *b != 0)
                    || lsn < start.plus(1 << 20)
                    || lsn.0.is_multiple_of(1 << 20)
                {
                    file.write_all_at(bytes, size.offset(lsn)).unwrap();
                } else {
                    file.write_all_at(&bytes[..24], size.offset(lsn)).unwrap();
                }
            });
        // one server wrote it
        let mut copy = fs::read(scene.target("global/pg_control")).unwrap()[40..128].to_vec();
        let redo = craft.next();
        copy[..8].copy_from_slice(&redo.0.to_le_bytes());
        copy[8..16].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0]);
        let checkpoint = craft.record(0, 0x10, 0, &main_data(&copy));
        craft.record(1, 0, 800, &main_data(&777_u64.to_le_bytes()));
        fork = craft.next();
        if side == "target" {
            craft.record_with(21, 0, 801, behind.0, behind.1);
            craft.record(1, 0, 801, &main_data(&778_u64.to_le_bytes()));
        } else {
            craft.timeline = 2;
            let end = [&779_u64.to_le_bytes()[..], &[2, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0]].concat();
            craft.record(0, 0x90, 0, &main_data(&end));
            fs::write(wal.join("00000002.history"), format!("1\t{fork}\tx\n")).unwrap();
        }
        craft.finish();
        control[32..40].copy_from_slice(&checkpoint.0.to_le_bytes());
        control[40..128].copy_from_slice(&copy);
        if side == "source" {
            control[48..52].copy_from_slice(&1_u32.to_le_bytes());
        }
        control[16..20].copy_from_slice(&6_u32.to_le_bytes());
        let sum = forkpoint::wal::crc::of(&control[..292]);
        control[292..296].copy_from_slice(&sum.to_le_bytes());
        assert!(ControlFile::parse(&control).unwrap().crc_ok);
        fs::write(&path, control).unwrap();
    }
    assert!(fork.is_valid());
    scene
}

#[test]
fn segments_of_a_gigabyte() {
    let scene = with_large_segments(1, (&craft::main_data(&[0; 40]), 0));
    let report = scene.report(&scene.at("target"));
    assert_eq!(report["target"]["wal_segment_size"], 1 << 30);
    assert_eq!(commits(&report), Some(1), "{}", report["loss"]);
    assert_eq!(report["target"]["end_of_wal"]["kind"], "zeros");
}

#[test]
fn the_last_segment_that_there_can_be() {
    let scene = with_large_segments((1 << 34) - 1, (&craft::main_data(&[0; 40]), 0));
    let report = scene.report(&scene.at("target"));
    assert_eq!(commits(&report), Some(1), "{}", report["loss"]);
    // and all of the WAL before it claimed to be needed
    let path = scene.target("global/pg_control");
    let mut control = fs::read(&path).unwrap();
    control[40..48].copy_from_slice(&0x28_u64.to_le_bytes());
    let sum = forkpoint::wal::crc::of(&control[..292]);
    control[292..296].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, control).unwrap();
    let report = scene.report(&path);
    assert!(
        report["wal"]["follow"]["why"].as_str().unwrap().contains("are listed"),
        "{}",
        report["wal"]["follow"]["why"]
    );
}

#[test]
fn a_record_of_almost_a_gigabyte() {
    let length = 900 << 20;
    let head = [&[254][..], &(length as u32).to_le_bytes()].concat();
    let scene = with_large_segments(1, (&head, length));
    let report = scene.report(&scene.at("target"));
    assert_eq!(commits(&report), Some(1), "{}", report["loss"]);
}
