//! Rewinds on real filesystems: undone to the same bytes, modes, owners, times, links and extended attributes; killed at
//! random moments; on a disk that fills up; refused where they must be.
//!
//! The program refuses to run as root. As root a test starts itself again as the user that servers run as.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "rewind_faults/pair.rs"]
mod pair;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use common::cluster::{Cluster, Mode};
use common::{other_user, scratch};
use forkpoint::plan::Plan;
use forkpoint::plan::model::{Action, Entry, Kind as FileKind, Origin};
use forkpoint::rewind::disk::{Access, At, Disk, Xattrs};
use forkpoint::rewind::{Going, Limits, Options, RealDisk, State, Verify, apply, resume, status, undo};
use forkpoint::scan::progress::Progress;
use pair::pairs;

/// Set in a test's second process: the directory that it works in.
const CHILD: &str = "FORKPOINT_TEST_CHILD";

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

/// By another process: a program that is open for writing here, when a neighbouring test starts one of its own, is busy.
fn copy_program(from: &Path, to: &Path) {
    let output = Command::new("cp").arg(from).arg(to).output().unwrap();
    common::assert_success("cp", &output);
}

/// The directory to work in, if this is the second process; the first one waits for it and is done.
fn as_other_user(test: &str, place: &Path) -> Option<PathBuf> {
    if let Some(place) = std::env::var_os(CHILD) {
        return Some(place.into());
    }
    let Some((uid, gid)) = other_user() else { return Some(place.to_owned()) };
    let controls = scratch();
    for (name, bytes) in ["target", "source"].iter().zip(pair::CONTROLS.iter()) {
        fs::write(controls.path().join(name), bytes).unwrap();
        fs::set_permissions(controls.path().join(name), fs::Permissions::from_mode(0o644)).unwrap();
    }
    // where the build lies others may not look
    let program = controls.path().join("test");
    copy_program(&std::env::current_exe().unwrap(), &program);
    let output = Command::new(&program)
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, place)
        .env(pair::CONTROLS_VARIABLE, controls.path())
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{test}: {}\n{}{text}",
        output.status,
        String::from_utf8_lossy(&output.stdout)
    );
    for line in text.lines().filter(|line| line.contains(test)) {
        say(line);
    }
    None
}

/// What is to be seen of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    accessed: (i64, i64),
    links: u64,
    inode: u64,
    content: Vec<u8>,
    link: PathBuf,
    xattrs: Xattrs,
}

/// All entries below some directories. The inodes of directories and the access times of links are left out: a
/// directory that was removed is made again, and whoever reads a link changes its time.
fn tree(roots: &[PathBuf]) -> BTreeMap<PathBuf, Seen> {
    let disk = RealDisk::new();
    let mut found = BTreeMap::new();
    let mut todo = roots.to_vec();
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let accessed = if meta.is_symlink() { (0, 0) } else { (meta.atime(), meta.atime_nsec()) };
        let seen = Seen {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            modified: (meta.mtime(), meta.mtime_nsec()),
            accessed,
            links: if meta.is_dir() { 0 } else { meta.nlink() },
            inode: if meta.is_dir() { 0 } else { meta.ino() },
            content: Vec::new(),
            link: if meta.is_symlink() { fs::read_link(&path).unwrap() } else { PathBuf::new() },
            xattrs: Xattrs::new(),
        };
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        found.insert(path, seen);
    }
    // reading changes access times, also those of a file's other name
    for (path, seen) in &mut found {
        let meta = fs::symlink_metadata(path).unwrap();
        if meta.is_file() {
            seen.content = fs::read(path).unwrap();
        }
        if !meta.is_symlink() {
            let root = disk.open_root(path.parent().unwrap()).unwrap();
            let at = At::new(root, path.file_name().unwrap());
            seen.xattrs = disk.open(at, Access::Read).unwrap().xattrs().unwrap();
        }
    }
    found
}

fn assert_same(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>, what: &str) {
    for path in found.keys().chain(expected.keys()) {
        let short =
            |seen: Option<&Seen>| seen.map(|s| Seen { content: vec![s.content.len() as u8], ..s.clone() });
        let (a, b) = (found.get(path), expected.get(path));
        assert!(a == b, "{what}: {}: found {:?}, expected {:?}", path.display(), short(a), short(b));
    }
}

fn build(base: &Path) -> (pair::Pair, Plan) {
    let disk = RealDisk::new();
    let made = pair::build(&disk, base, |from, to| fs::hard_link(base.join(from), base.join(to)).unwrap());
    // a hole, and one name more outside of the directory for a file that is removed
    fs::hard_link(base.join("data/base/5/200"), base.join("outside")).unwrap();
    let plan = pair::plan(&disk, &made);
    (made, plan)
}

fn options() -> Options {
    Options {
        limits: Limits { operations: 6, packed: 50_000, unsynced: 60_000 },
        threads: 3,
        ..Options::default()
    }
}

#[test]
fn undone_to_the_last_attribute() {
    let place = scratch();
    let Some(base) = as_other_user("undone_to_the_last_attribute", place.path()) else { return };
    let (made, plan) = build(&base);
    let disk = RealDisk::new();
    let mut entries = 0;
    let mut kept = 0;
    for verify in [Verify::Nothing, Verify::Written] {
        // reading changes access times where they are older than the change; then no more
        tree(&made.belongs());
        let before = tree(&made.belongs());
        let options = Options { verify, ..options() };
        apply(&plan, &options, &disk, &Progress::default()).unwrap();
        for (path, content) in pair::expected() {
            assert_eq!(fs::read(made.target().join(path)).unwrap(), content, "{path}");
        }
        for path in pair::GONE {
            assert!(fs::symlink_metadata(made.target().join(path)).is_err(), "{path}");
        }
        let conf = fs::metadata(made.target().join("postgresql.conf")).unwrap();
        let was = &before[&made.target().join("postgresql.conf")];
        assert_eq!((conf.mode(), conf.uid(), conf.gid()), (was.mode, was.owner.0, was.owner.1));
        let state = status(&made.target(), None, &disk).unwrap();
        assert_eq!(state.state, State::Done);
        undo(&made.target(), None, &disk, &Progress::default()).unwrap();
        assert_same(&tree(&made.belongs()), &before, "undone");
        (entries, kept) = (before.len(), was.xattrs.len());
    }
    say(&format!("undone_to_the_last_attribute: {entries} entries; extended attributes: {kept}"));
}

/// A rewind that makes room for itself and is then refused or killed leaves the way back of the one before.
#[test]
fn a_finished_store_outlives_a_refusal() {
    let place = scratch();
    let Some(base) = as_other_user("a_finished_store_outlives_a_refusal", place.path()) else { return };
    let (made, plan) = build(&base);
    let disk = RealDisk::new();
    let target = made.target();
    tree(&made.belongs());
    let before = tree(&made.belongs());
    let next = Options { replace_finished: true, ..options() };
    let (store, aside) = (base.join("data.forkpoint"), base.join("data.forkpoint.previous"));
    let found = |place: &Path, what: &str| {
        let status = status(&target, None, &disk).unwrap();
        assert_eq!(status.state, State::Done, "{what}: {status:?}");
        assert_eq!(status.rewind.unwrap().store, place, "{what}");
    };
    apply(&plan, &options(), &disk, &Progress::default()).unwrap();

    // the target is not what the plan was made of any more
    let failed = apply(&plan, &next, &disk, &Progress::default()).unwrap_err();
    assert!(!failed.halfway && failed.to_string().contains("pg_control"), "{failed}");
    found(&store, "refused");
    // killed while the next store was made
    fs::rename(&store, &aside).unwrap();
    found(&aside, "set aside");
    fs::create_dir(&store).unwrap();
    fs::write(store.join("lock"), "").unwrap();
    found(&aside, "half the next store");
    apply(&plan, &next, &disk, &Progress::default()).unwrap_err();
    found(&store, "refused after that");
    assert!(!aside.exists() && store.join("manifest.json").exists());
    // another rewind's store counts for nothing under that name
    fs::rename(&store, &aside).unwrap();
    let pointer = fs::read_to_string(target.join("forkpoint.state")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&pointer).unwrap();
    let operation = parsed["operation"].as_str().unwrap();
    fs::write(target.join("forkpoint.state"), pointer.replace(operation, "0123456789abcdef")).unwrap();
    assert_eq!(status(&target, None, &disk).unwrap().state, State::None);
    fs::write(target.join("forkpoint.state"), pointer).unwrap();
    fs::rename(&aside, &store).unwrap();

    undo(&target, None, &disk, &Progress::default()).unwrap();
    assert_same(&tree(&made.belongs()), &before, "undone");
    let before = tree(&made.belongs());
    apply(&plan, &options(), &disk, &Progress::default()).unwrap();
    fs::rename(&store, &aside).unwrap();
    undo(&target, None, &disk, &Progress::default()).unwrap();
    assert_same(&tree(&made.belongs()), &before, "undone from where it was set aside");
}

/// A filesystem in a file, mounted; `None` where that is not possible.
struct Mounted(PathBuf);

impl Mounted {
    fn new(place: &Path, megabytes: u64) -> Option<Self> {
        let (image, at) = (place.join("image"), place.join("mounted"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let ran = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let made = ran(Command::new("mkfs.ext4").args(["-q", "-m", "0", "-b", "4096"]).arg(&image));
        if !made || !ran(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at)) {
            return None;
        }
        let (uid, gid) = other_user().unwrap_or((0, 0));
        chown(&at, Some(uid), Some(gid)).unwrap();
        Some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(&self.0).output());
    }
}

#[test]
fn a_small_filesystem_that_fills_up() {
    let test = "a_small_filesystem_that_fills_up";
    let mut place = std::env::var_os(CHILD).map_or_else(|| scratch().keep(), PathBuf::from);
    let mut mounted = None;
    if std::env::var_os(CHILD).is_none() {
        mounted = other_user().and_then(|_| Mounted::new(&place, 16));
        let Some(at) = &mounted else {
            say(&format!("{test}: skipped: only root can mount a filesystem, and here even root cannot"));
            fs::remove_dir_all(&place).unwrap();
            return;
        };
        place.clone_from(&at.0);
    }
    if let Some(base) = as_other_user(test, &place) {
        let disk = RealDisk::new();
        let mut full = 0;
        let mut done = 0;
        for room in (0..).map(|n| n * 48 * 1024) {
            let base = base.join(format!("try-{room}"));
            fs::create_dir(&base).unwrap();
            let (made, plan) = build(&base);
            tree(&made.belongs());
            let before = tree(&made.belongs());
            let filler = base.join("filler");
            fill(&filler, room);
            // what the check of room does not see
            let options = Options { check_room: false, ..options() };
            match apply(&plan, &options, &disk, &Progress::default()) {
                Ok(_) => done += 1,
                Err(failed) => {
                    full += 1;
                    let text = failed.to_string();
                    assert!(text.contains("No space left"), "{room}: {text}");
                    if status(&made.target(), None, &disk).unwrap().state != State::None {
                        if full % 2 == 0 {
                            fs::remove_file(&filler).unwrap();
                            let going = Going { limits: options.limits, ..Going::default() };
                            resume(&made.target(), None, &going, &disk, &Progress::default()).unwrap();
                            for (path, content) in pair::expected() {
                                assert_eq!(fs::read(made.target().join(path)).unwrap(), content, "{path}");
                            }
                        }
                        undo(&made.target(), None, &disk, &Progress::default())
                            .unwrap_or_else(|e| panic!("{room}: undo: {e}"));
                    }
                    assert_same(&tree(&made.belongs()), &before, &format!("room for {room} bytes"));
                }
            }
            fs::remove_dir_all(&base).unwrap();
            if done == 2 {
                break;
            }
        }
        assert!(full > 5, "{full}");
        say(&format!(
            "{test}: {full} amounts of room on a real filesystem, undone while it was full or resumed"
        ));
    }
    drop(mounted);
    if std::env::var_os(CHILD).is_none() {
        fs::remove_dir_all(place.parent().unwrap()).unwrap();
    }
}

/// Fills the filesystem and leaves `room` bytes.
fn fill(filler: &Path, room: u64) {
    let mut file = fs::File::create(filler).unwrap();
    let chunk = vec![0xA5; 64 * 1024];
    for size in [chunk.len(), 4096] {
        while file.write_all(&chunk[..size]).is_ok() {}
    }
    let length = file.metadata().unwrap().len();
    file.set_len(length.saturating_sub(room)).unwrap();
    file.sync_all().unwrap();
}

/// A bundled pair that the servers' user owns, with a copy of the program that it may run.
struct Bundled {
    place: tempfile::TempDir,
}

impl Bundled {
    fn new(scenario: &str) -> Self {
        let place = scratch();
        let me = Self { place };
        pairs::unpack_to(scenario, me.place.path());
        // a real cluster's directories; the packs keep no owner
        let mut todo = vec![me.place.path().to_owned()];
        while let Some(path) = todo.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            if let Some((uid, gid)) = other_user() {
                std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
            }
            if meta.is_dir() {
                todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            }
        }
        copy_program(Path::new(env!("CARGO_BIN_EXE_forkpoint")), &me.at("forkpoint"));
        me
    }

    fn at(&self, path: &str) -> PathBuf {
        self.place.path().join(path)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.at("forkpoint"));
        command.args(args).current_dir(self.place.path()).stdin(Stdio::null()).env("TZ", "UTC");
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it and expects this exit status; gives both outputs.
    fn ends(&self, args: &[&str], status: i32) -> String {
        let output = self.run(args);
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        text
    }

    fn state(&self) -> String {
        let text = self.ends(&["status", "target", "--format", "json"], 0);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["state"].as_str().unwrap().to_owned()
    }

    /// The target without what is different in every run: access times, the time in backup_label and in the control
    /// file with its CRC, the pointer.
    fn result(&self) -> BTreeMap<PathBuf, (u32, Vec<u8>)> {
        let mut found = BTreeMap::new();
        for (path, seen) in tree(&[self.at("target")]) {
            let name = path.strip_prefix(self.place.path()).unwrap().to_owned();
            let mut content = seen.content;
            if name.ends_with("forkpoint.state") {
                continue;
            }
            if name.ends_with("backup_label") {
                let text = String::from_utf8(content).unwrap();
                content =
                    text.lines().filter(|l| !l.starts_with("START TIME")).collect::<String>().into_bytes();
            } else if name.ends_with("pg_control") {
                content.drain(288..296);
                content.drain(24..32);
            }
            found.insert(name, (seen.mode, content));
        }
        found
    }

    /// The target as undo has to leave it.
    fn original(&self) -> BTreeMap<PathBuf, Seen> {
        let mut found = tree(&[self.at("target")]);
        for seen in found.values_mut() {
            // diagnosing reads
            seen.accessed = (0, 0);
        }
        found
    }
}

#[test]
fn killed_at_random_moments() {
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let apply = ["apply", "plan.json", "--yes", "-q"];
    let start = Instant::now();
    pair.ends(&apply, 0);
    let whole = start.elapsed();
    let expected = pair.result();
    assert_eq!(pair.state(), "done");
    pair.ends(&["undo", "target"], 0);
    assert_same(&pair.original(), &before, "undone");

    let rounds = std::env::var("FORKPOINT_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(24u32);
    let mut counts = BTreeMap::<&str, u32>::new();
    let mut seed = u64::from(std::process::id()) | 1;
    for round in 0..rounds {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // deriving the plan takes a part of the time, and nothing happens in it
        let wait = whole.mul_f64((seed >> 40) as f64 / f64::from(1 << 24));
        let mut child = pair.command(&apply).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(wait);
        let _ = child.kill();
        let killed = child.wait().unwrap().signal() == Some(9);
        let what = format!("round {round}, killed {killed} after {wait:?} of {whole:?}");
        let state = pair.state();
        match state.as_str() {
            "none" | "undone" => *counts.entry("before the first change").or_default() += 1,
            "in_progress" if round % 3 == 0 => {
                // killed once more, while it goes on
                let mut child =
                    pair.command(&["resume", "target", "-q"]).stderr(Stdio::null()).spawn().unwrap();
                std::thread::sleep(wait / 8);
                let _ = child.kill();
                child.wait().unwrap();
                pair.ends(&["resume", "target", "-q"], 0);
                assert!(pair.result() == expected, "{what}: resumed");
                *counts.entry("half-way, resumed after a second kill").or_default() += 1;
            }
            "in_progress" if round % 3 == 1 => {
                pair.ends(&["resume", "target", "-q"], 0);
                assert!(pair.result() == expected, "{what}: resumed");
                *counts.entry("half-way, resumed").or_default() += 1;
            }
            "in_progress" => *counts.entry("half-way, undone").or_default() += 1,
            "done" => *counts.entry("finished").or_default() += 1,
            other => panic!("{what}: {other}"),
        }
        if !matches!(state.as_str(), "none" | "undone") {
            pair.ends(&["undo", "target", "-q"], 0);
        }
        assert_same(&pair.original(), &before, &what);
    }
    say(&format!("killed_at_random_moments: {rounds} kills: {counts:?}"));
}

/// What a plan's edit is refused with, and the edit.
type Edit<'a> = (&'a str, &'a dyn Fn(&mut serde_json::Value));

#[test]
fn refused_before_anything_is_written() {
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let apply = ["apply", "plan.json", "--yes"];
    let refused = |args: &[&str], status: i32, words: &str| {
        let text = pair.ends(args, status);
        assert!(text.contains(words), "{args:?}: {text}");
        assert_same(&pair.original(), &before, words);
        assert!(!pair.at("target.forkpoint").exists(), "{args:?}");
    };
    refused(&["apply", "plan.json"], 4, "no terminal");
    refused(&["resume", "target"], 4, "no rewind of");
    refused(&["undo", "target"], 4, "no rewind of");
    refused(&["apply", "plan.json", "--yes", "--undo-dir", "target/base"], 4, "inside one of the two");
    refused(&["apply", "plan.json", "--yes", "--undo-dir", "source"], 4, "inside one of the two");
    refused(&["apply", "no.json", "--yes"], 3, "no.json");
    if other_user().is_some() {
        let root = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
            .args(apply)
            .current_dir(pair.place.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&root.stderr);
        assert!(root.status.code() == Some(4) && text.contains("root"), "{text}");
        assert_same(&pair.original(), &before, "root");
    } else {
        say("refused_before_anything_is_written: root is not tried: the test does not run as root");
    }

    // edited, with the identity that belongs to what it says now
    let plan: serde_json::Value = serde_json::from_slice(&fs::read(pair.at("plan.json")).unwrap()).unwrap();
    let edits: [Edit<'_>; 4] = [
        ("upwards", &|p| p["entries"][0]["path"] = "../../etc/passwd".into()),
        ("another one", &|p| {
            p["entries"].as_array_mut().unwrap().pop();
        }),
        ("another one", &|p| {
            let changed = p["entries"].as_array_mut().unwrap().iter_mut();
            let entry = changed.filter(|e| e["action"]["change"]["blocks"][0].is_object()).last().unwrap();
            entry["action"]["change"]["blocks"].as_array_mut().unwrap().pop();
        }),
        ("another one", &|p| p["min_recovery_point"]["lsn"] = "0/10".into()),
    ];
    for (words, edit) in edits {
        let mut edited = plan.clone();
        edit(&mut edited);
        let mut bytes = serde_json::to_vec(&edited).unwrap();
        if let Ok(plan) = serde_json::from_slice::<Plan>(&bytes) {
            bytes = serde_json::to_vec(&plan.sealed()).unwrap();
        }
        fs::write(pair.at("edited.json"), bytes).unwrap();
        refused(&["apply", "edited.json", "--yes"], 4, words);
    }
    let mut unsealed = plan.clone();
    unsealed["min_recovery_point"]["lsn"] = "0/10".into();
    fs::write(pair.at("edited.json"), serde_json::to_vec(&unsealed).unwrap()).unwrap();
    refused(&["apply", "edited.json", "--yes"], 4, "changed after it was made");

    // a server runs, as far as its lock file says
    let mut sleeper =
        Command::new("sleep").arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut ended = Vec::new();
    for side in ["target", "source"] {
        let file = pair.at(side).join("postmaster.pid");
        fs::write(&file, format!("{}\n{}\n", sleeper.id(), pair.at(side).display())).unwrap();
        ended.push((side, pair.run(&apply).status.code()));
        fs::remove_file(&file).unwrap();
    }
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
    assert_eq!(ended, [("target", Some(4)), ("source", Some(4))]);
    assert!(!pair.at("target.forkpoint").exists());

    // another forkpoint works on it
    let root = RealDisk::new();
    let at = root.open_root(&pair.at("target")).unwrap();
    let held = root.lock(At::new(at, "")).unwrap();
    let text = pair.ends(&apply, 4);
    assert!(held.is_some() && text.contains("another forkpoint"), "{text}");
    drop(held);

    // something of the target is different by now
    fs::write(pair.at("target/PG_VERSION.bak"), "18\n").unwrap();
    pair.ends(&apply, 4);
    fs::remove_file(pair.at("target/PG_VERSION.bak")).unwrap();
}

#[test]
fn stopped_by_a_signal_and_resumed() {
    let pair = Bundled::new("basic-18");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let start = Instant::now();
    pair.ends(&["apply", "plan.json", "--yes", "-q"], 0);
    let whole = start.elapsed();
    let expected = pair.result();
    pair.ends(&["undo", "target", "-q"], 0);
    let mut halfway = 0;
    for n in 0..40u32 {
        let mut child = pair.command(&["apply", "plan.json", "--yes"]);
        let child = child.stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(0.5 + f64::from(n) / 80.0));
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        match (output.status.code(), pair.state().as_str()) {
            (Some(130), "none" | "undone") => continue,
            (Some(5), "in_progress") => {
                halfway += 1;
                assert!(text.contains("forkpoint resume") && text.contains("forkpoint undo"), "{text}");
                let says = pair.ends(&["status", "target"], 0);
                assert!(says.contains("half-way"), "{says}");
                pair.ends(&["resume", "target", "-q"], 0);
                assert!(pair.result() == expected);
            }
            (Some(0), "done") => {}
            other => panic!("{other:?}: {text}"),
        }
        pair.ends(&["undo", "target", "-q"], 0);
        if halfway >= 3 {
            break;
        }
    }
    say(&format!("stopped_by_a_signal_and_resumed: {halfway} times half-way"));
}

#[test]
fn discarded_on_request_only() {
    let pair = Bundled::new("basic-18");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    pair.ends(&["apply", "plan.json", "--yes", "-q", "--sync-method", "fsync", "--verify"], 0);
    let text = pair.ends(&["status", "target"], 0);
    assert!(text.contains("finished") && text.contains("target.forkpoint"), "{text}");
    let wal = fs::read_dir(pair.at("target.forkpoint/moved/pg_wal")).unwrap().count();
    assert!(wal > 0 && pair.at("target.forkpoint/report.json").exists());
    pair.ends(&["undo", "target", "--discard"], 4);
    assert!(pair.at("target.forkpoint").exists());
    pair.ends(&["undo", "target", "--discard", "--yes"], 0);
    assert!(!pair.at("target.forkpoint").exists() && !pair.at("target/forkpoint.state").exists());
    assert_eq!(pair.state(), "none");
    let names: Vec<OsString> =
        fs::read_dir(pair.place.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(names.iter().all(|n| !n.to_string_lossy().ends_with(".previous")), "{names:?}");
}

/// A segment of the target that this user may not read is not missing, and one that is cut short behind its last record
/// serves, as it does for pg_rewind.
#[test]
fn a_segment_that_is_closed_or_cut_short() {
    let pair = Bundled::new("basic-17");
    let name = "00000001000000000000000F";
    let segment = pair.at("target/pg_wal").join(name);
    let mode = |mode| fs::set_permissions(&segment, fs::Permissions::from_mode(mode)).unwrap();
    let report = || {
        let text =
            String::from_utf8(pair.run(&["report", "target", "source", "--format", "json"]).stdout).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (json["verdict"]["line"].as_str().unwrap().to_owned(), text)
    };
    mode(0);
    let (first, text) = report();
    assert!(first.contains("cannot be read") && first.contains("Permission denied"), "{first}");
    assert!(!first.contains("missing") && !first.contains("re-clone"), "{first}");
    assert!(text.contains(&format!("Make readable for the user who asks: target/pg_wal/{name}")), "{text}");
    let text = pair.ends(&["plan", "target", "source", "-o", "plan.json"], 4);
    assert!(text.contains(name) && text.contains("Permission denied") && text.contains("readable"), "{text}");
    mode(0o600);

    let whole = fs::metadata(&segment).unwrap().len();
    fs::File::options().write(true).open(&segment).unwrap().set_len(whole / 2).unwrap();
    let (first, text) = report();
    assert!(first.contains("REWIND: ") && first.contains("nothing stands in the way"), "{first}");
    assert!(!text.contains("FP19"), "{text}");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    if let Some(program) =
        common::installed().iter().find(|s| s.major == "17").and_then(|s| s.program("pg_rewind"))
    {
        let mut theirs = Command::new(program);
        theirs.args(["-n", "-D", "target", "--source-pgdata", "source"]).current_dir(pair.place.path());
        if let Some((uid, gid)) = other_user() {
            theirs.uid(uid).gid(gid);
        }
        common::assert_success("pg_rewind", &theirs.output().unwrap());
    } else {
        say("a_segment_that_is_closed_or_cut_short: pg_rewind of 17 was not asked: it is not installed");
    }
    pair.ends(&["apply", "plan.json", "--yes", "--verify=full", "-q"], 0);
    pair.ends(&["undo", "target", "-q"], 0);
    // cut before its last record: what was there is missing now
    fs::File::options().write(true).open(&segment).unwrap().set_len(whole / 4).unwrap();
    let (first, _) = report();
    assert!(!first.contains("REWIND: "), "{first}");
}

/// A killed server's last segment that is cut short is damage, not the end of its WAL: what lay behind the cut may have
/// changed blocks, and commits in it may have been confirmed.
#[test]
fn a_killed_servers_last_segment_that_is_cut_short() {
    let pair = Bundled::new("crashed-target");
    let name = "000000010000000000000011";
    let segment = pair.at("target/pg_wal").join(name);
    let cut = |at| fs::File::options().write(true).open(&segment).unwrap().set_len(at).unwrap();
    let report = || {
        let text = pair.ends(&["report", "target", "source", "--format", "json"], 3);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        (json["verdict"]["line"].as_str().unwrap().to_owned(), in_one_line(&text))
    };
    // 3 of 22 transactions lie behind it, and the last record before it has its end behind it
    for at in [344_064, 348_000] {
        cut(at);
        let (line, text) = report();
        assert!(
            line.starts_with("UNDECIDED: 1 segment of WAL that a rewind needs is here and cut short"),
            "{line}"
        );
        assert!(line.contains(name) && line.contains("at least 19 commits"), "{line}");
        for wrong in [
            "FP24",
            "confirmed to a client",
            "The WAL ends where it should",
            "found nowhere",
            "nothing stands",
        ] {
            assert!(!text.contains(wrong), "{wrong}: {text}");
        }
        assert!(text.contains("FP19") && text.contains("1 segment of it is there and cut short"), "{text}");
        let told = in_one_line(&pair.ends(&["plan", "target", "source", "-o", "plan.json"], 4));
        assert!(told.contains(&format!("segment {name} is cut short: it has {at} bytes")), "{told}");
        pair.ends(&["apply", "plan.json", "--yes", "--target-is-stopped"], 4);
    }
    // comparing all files does not need it
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "--compare", "-q"], 0);
    // behind the end of its WAL nothing is missing
    let truth = pairs::truth("crashed-target");
    let end: forkpoint::pg::Lsn = truth["lsn"]["target_last_flush"].as_str().unwrap().parse().unwrap();
    let place = tempfile::tempdir().unwrap();
    pairs::unpack_to("crashed-target", place.path());
    fs::copy(place.path().join("target/pg_wal").join(name), &segment).unwrap();
    cut((end.0 % (1 << 20)).next_multiple_of(8192));
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
}

/// Without the line breaks that depend on how long paths are.
fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Changes one byte in the middle of a file and leaves its times as they are. Gives back what was there.
fn damage(path: &Path) -> Vec<u8> {
    let whole = fs::read(path).unwrap();
    let mut bytes = whole.clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    overwrite(path, &bytes);
    whole
}

fn overwrite(path: &Path, bytes: &[u8]) {
    let modified = fs::metadata(path).unwrap().modified().unwrap();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    file.write_all(bytes).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    file.set_modified(modified).unwrap();
}

#[test]
fn damage_in_the_store_is_found_before_anything_is_put_back() {
    let pair = Bundled::new("basic-18");
    let empty = pair.at("target/base/pgsql_tmp");
    fs::create_dir_all(&empty).unwrap();
    common::give_away(&empty);
    // large, and of the target only, so it is moved as it is
    let large = pair.at("target/base/5/99999");
    fs::File::create(&large).unwrap().set_len((64 << 20) + 8192).unwrap();
    common::give_away(&large);
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    pair.ends(&["apply", "plan.json", "--yes", "-q"], 0);
    let rewound = pair.original();
    let store = pair.at("target.forkpoint");
    let wal = fs::read_dir(store.join("moved/pg_wal")).unwrap().map(|e| e.unwrap().path());
    let segment = wal.into_iter().max_by_key(|p| (fs::metadata(p).unwrap().len(), p.clone())).unwrap();
    let name = segment.file_name().unwrap().to_str().unwrap().to_owned();
    let refused = |file: &Path, words: &str| {
        let whole = damage(file);
        let text = pair.ends(&["undo", "target"], 3);
        assert!(text.contains(words) && text.contains("SHA-256") || words == "pg_control", "{text}");
        assert!(!text.contains("half-way"), "{text}");
        assert_same(&pair.original(), &rewound, words);
        assert_eq!(pair.state(), "done", "{text}");
        overwrite(file, &whole);
    };
    refused(&segment, &name);
    refused(&store.join("moved/base/5/99999"), "base/5/99999");
    refused(&store.join("pack"), "pack");
    refused(&store.join("moved/global/pg_control"), "pg_control");
    // cut, and gone
    let whole = fs::read(&segment).unwrap();
    overwrite(&segment, &whole[..5]);
    let text = pair.ends(&["undo", "target"], 3);
    assert!(text.contains(&name) && text.contains("5 bytes"), "{text}");
    overwrite(&segment, &whole);
    fs::rename(&segment, pair.at("elsewhere")).unwrap();
    let text = pair.ends(&["undo", "target"], 3);
    assert!(text.contains(&name) && text.contains("not in the store any more"), "{text}");
    assert_same(&pair.original(), &rewound, "a file of the store that is gone");
    fs::rename(pair.at("elsewhere"), &segment).unwrap();
    pair.ends(&["undo", "target", "-q"], 0);
    assert_same(&pair.original(), &before, "undone");
    // times and all: the same plan still fits
    pair.ends(&["apply", "plan.json", "--yes", "-q"], 0);
    assert!(!empty.exists());
}

/// Kills a rewind as soon as its control file lies aside. False if that was too late.
fn killed_half_way(pair: &Bundled, rewind: &[&str]) -> bool {
    let aside = pair.at("target/global/pg_control.forkpoint");
    let mut child = pair.command(rewind).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while child.try_wait().unwrap().is_none() && !aside.exists() {
        std::thread::sleep(std::time::Duration::from_micros(50));
    }
    let _ = child.kill();
    child.wait().unwrap();
    aside.exists() && pair.state() == "in_progress"
}

/// Kills a rewind until it leaves the target half-way.
fn stop_half_way(pair: &Bundled, rewind: &[&str]) {
    for _ in 0..20 {
        if killed_half_way(pair, rewind) {
            return;
        }
        if matches!(pair.state().as_str(), "done" | "in_progress") {
            pair.ends(&["undo", "target", "-q"], 0);
        }
    }
    panic!("never half-way");
}

#[test]
fn a_store_that_is_missing_half_way() {
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    for dir in ["stores", "empty"] {
        fs::create_dir(pair.at(dir)).unwrap();
        common::give_away(&pair.at(dir));
    }
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    stop_half_way(&pair, &["apply", "plan.json", "--yes", "-q", "--undo-dir", "stores"]);
    fs::rename(pair.at("stores"), pair.at("away")).unwrap();
    let store = pair.at("stores/target.forkpoint");
    let text = pair.ends(&["status", "target"], 0);
    for words in [
        "half-way",
        store.to_str().unwrap(),
        "--undo-dir",
        "Mount",
        "Never run pg_resetwal",
        "copy the source anew",
    ] {
        assert!(in_one_line(&text).contains(words), "{words}: {text}");
    }
    assert_eq!(pair.state(), "store_missing");
    for args in [&["undo", "target", "--undo-dir", "empty"][..], &["resume", "target", "--undo-dir", "empty"]]
    {
        let text = pair.ends(args, 4);
        assert!(text.contains("is not there") && text.contains("empty either"), "{text}");
    }
    for args in [&["undo", "target"][..], &["resume", "target"], &["apply", "plan.json", "--yes"]] {
        let text = pair.ends(args, 4);
        assert!(text.contains("is half-way") && text.contains("--undo-dir"), "{args:?}: {text}");
    }
    let text = pair.ends(&["undo", "target", "--undo-dir", "nowhere"], 3);
    assert!(text.contains("nowhere") && text.contains("the store was made in"), "{text}");
    // the directory that it lies in, or the store itself
    let text = pair.ends(&["status", "target", "--undo-dir", "away/target.forkpoint"], 0);
    assert!(text.contains("forkpoint resume"), "{text}");
    pair.ends(&["undo", "target", "--undo-dir", "away", "-q"], 0);
    assert_same(&pair.original(), &before, "undone");
    // what is no cluster is not half-way
    let text = pair.ends(&["status", "empty"], 0);
    assert!(text.contains("No rewind"), "{text}");
}

#[test]
fn what_is_said_when_it_cannot_go_on() {
    let pair = Bundled::new("basic-18");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let apply = ["apply", "plan.json", "--yes", "-q"];
    let text = pair.ends(&["apply", "plan.json", "--yes", "--undo-dir", "nowhere"], 3);
    assert!(text.contains("--undo-dir nowhere") && text.contains("Make the directory first"), "{text}");
    pair.ends(&apply, 0);
    // an undo that was begun and does not get to its end
    let store = pair.at("target.forkpoint");
    let hole = pair.at("target/base/5");
    fs::set_permissions(&hole, fs::Permissions::from_mode(0o500)).unwrap();
    let text = pair.ends(&["undo", "target"], 5);
    assert!(
        text.contains("Undoing") && text.contains("forkpoint undo") && !text.contains("resume"),
        "{text}"
    );
    let text = pair.ends(&["resume", "target"], 5);
    assert!(text.contains("cannot be completed any more") && !text.contains("forkpoint resume"), "{text}");
    let text = pair.ends(&apply, 4);
    assert!(text.contains("undoing an earlier rewind was begun"), "{text}");
    fs::set_permissions(&hole, fs::Permissions::from_mode(0o700)).unwrap();
    pair.ends(&["undo", "target", "-q"], 0);
    // half-way without an undo store
    stop_half_way(&pair, &["apply", "plan.json", "--yes", "-q"]);
    assert!(store.exists());
    let text = pair.ends(&apply, 4);
    assert!(text.contains("half-way") && text.contains("or back with forkpoint undo"), "{text}");
    pair.ends(&["undo", "target", "-q"], 0);
    let no_undo = ["apply", "plan.json", "--yes", "-q", "--no-undo"];
    stop_without_undo(&pair, &no_undo);
    let text = pair.ends(&["undo", "target"], 5);
    assert!(text.contains("--no-undo") && text.contains("go on with forkpoint resume"), "{text}");
    assert!(!text.contains("back with") && !text.contains("undo target again"), "{text}");
    pair.ends(&["resume", "target", "-q"], 0);
}

/// As above; without a store each try takes a copy of the pair, as nothing can be put back.
fn stop_without_undo(pair: &Bundled, apply: &[&str]) {
    let copy = |from: &str, to: &str| {
        let output = Command::new("cp").arg("-a").arg(pair.at(from)).arg(pair.at(to)).output().unwrap();
        common::assert_success("cp", &output);
    };
    for _ in 0..20 {
        fs::rename(pair.at("target"), pair.at("kept")).unwrap();
        copy("kept", "target");
        pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
        if killed_half_way(pair, apply) {
            return;
        }
        fs::remove_dir_all(pair.at("target")).unwrap();
        drop(fs::remove_dir_all(pair.at("target.forkpoint")));
        fs::rename(pair.at("kept"), pair.at("target")).unwrap();
    }
    panic!("never half-way");
}

#[test]
fn two_at_once() {
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let start = |_| {
        let mut command = pair.command(&["apply", "plan.json", "--yes"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for _ in 0..4 {
        let both: Vec<_> = (0..2).map(start).collect();
        let mut done = 0;
        for child in both {
            let output = child.wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            match output.status.code() {
                Some(0) => done += 1,
                Some(4) => {
                    let told = [
                        "another forkpoint works on it",
                        "finished in the meantime",
                        "earlier, finished rewind",
                    ];
                    assert!(told.iter().any(|words| text.contains(words)), "{text}");
                }
                other => panic!("{other:?}: {text}"),
            }
        }
        assert_eq!(done, 1);
        pair.ends(&["undo", "target", "-q"], 0);
        assert_same(&pair.original(), &before, "undone");
    }
}

#[test]
fn only_the_owner_changes_a_directory() {
    let test = "only_the_owner_changes_a_directory";
    if other_user().is_none() {
        say(&format!("{test}: skipped: only root can be somebody else"));
        return;
    }
    let pair = Bundled::new("basic-18");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    fs::set_permissions(pair.place.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for args in [&["apply", "plan.json", "--yes"][..], &["resume", "target"], &["undo", "target"]] {
        for uid in [0, 65_534] {
            let mut command = pair.command(args);
            let output = command.uid(uid).gid(uid).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{args:?}: {text}");
            assert!(text.contains("as the owner") && !text.contains("or as root"), "{args:?}: {text}");
        }
    }
    // what the owner could not give to its group again is found before the first write
    let control = pair.at("target/global/pg_control");
    chown(&control, None, Some(1)).unwrap();
    fs::set_permissions(&control, fs::Permissions::from_mode(0o640)).unwrap();
    let text = pair.ends(&["apply", "plan.json", "--yes"], 4);
    assert!(text.contains("pg_control: it belongs to user") && text.contains("chgrp"), "{text}");
    assert!(!pair.at("target.forkpoint").exists());
    // what a group may do nothing with can be another one's
    fs::set_permissions(&control, fs::Permissions::from_mode(0o600)).unwrap();
    let before = pair.original();
    let owners = |path: &Path| fs::metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
    let (uid, gid) = other_user().unwrap();
    pair.ends(&["apply", "plan.json", "--yes"], 0);
    assert_eq!(owners(&control), (uid, gid));
    pair.ends(&["undo", "target"], 0);
    assert_eq!(owners(&control), (uid, 1));
    assert_same(&pair.original(), &before, "a control file of another group");
}

#[test]
fn files_that_nobody_can_change() {
    let test = "files_that_nobody_can_change";
    let pair = Bundled::new("basic-18");
    let lock = |path: &str, how: &str| {
        Command::new("chattr").arg(how).arg(pair.at(path)).output().is_ok_and(|o| o.status.success())
    };
    if !lock("target/PG_VERSION", "+i") {
        say(&format!("{test}: skipped: chattr is not possible here"));
        return;
    }
    lock("target/PG_VERSION", "-i");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let plan: Plan = serde_json::from_slice(&fs::read(pair.at("plan.json")).unwrap()).unwrap();
    let is_removed =
        |e: &&Entry| e.action == Action::Remove && e.target.as_ref().unwrap().kind == FileKind::File;
    let removed = plan.entries.iter().find(is_removed).unwrap().path.to_string();
    for (path, keep) in [("postgresql.conf", true), ("pg_xact/0000", false), (&removed, false)] {
        let path = &format!("target/{path}");
        assert!(lock(path, "+i"), "{path}");
        let text = in_one_line(&pair.ends(&["plan", "target", "source"], 4));
        lock(path, "-i");
        assert!(text.contains("chattr -i"), "{path}: {text}");
        assert_eq!(text.contains("--keep postgresql.conf"), keep, "{path}: {text}");
        assert!(!text.contains("--keep pg_"), "{path}: {text}");
    }
    let text = pair.ends(&["plan", "target", "source", "--keep", "nosuch"], 0);
    assert!(text.contains("warning (keep): --keep nosuch names nothing"), "{text}");
}

/// Runs the program on a pseudo-terminal and types `answers`, one whenever it asks; gives its status and what it said.
fn on_terminal(pair: &Bundled, args: &[&str], answers: &[&[u8]]) -> (Option<i32>, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    use std::io::Read;
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = || fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let mut child = pair.command(args).stdin(slave()).stdout(Stdio::null()).stderr(slave()).spawn().unwrap();
    let mut master = fs::File::from(master);
    let (mut said, mut answers) = (String::new(), answers.iter());
    let mut asked = 0;
    let mut buffer = [0; 4096];
    // an error once nobody has the other side open any more
    while let Ok(n @ 1..) = master.read(&mut buffer) {
        said += &String::from_utf8_lossy(&buffer[..n]);
        if said.matches("to go on: ").count() > asked {
            asked += 1;
            master.write_all(answers.next().expect("another question")).unwrap();
        }
    }
    (child.wait().unwrap().code(), said)
}

#[test]
fn confirmed_on_a_terminal() {
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let answers: [&[u8]; 5] = [b"yes\n", b"\n", b"\x04", b"Target\n", b"target2\n"];
    for answer in answers {
        let (status, said) = on_terminal(&pair, &["apply", "plan.json"], &[answer]);
        assert_eq!(status, Some(4), "{answer:?}: {said}");
        assert!(said.contains("22 committed transactions discarded"), "{said}");
        assert!(said.contains("not confirmed; nothing was changed"), "{said}");
        assert_same(&pair.original(), &before, "not confirmed");
        assert!(!pair.at("target.forkpoint").exists());
    }
    let no_undo = ["apply", "plan.json", "--no-undo"];
    let (status, said) = on_terminal(&pair, &no_undo, &[b"target\n"]);
    assert!(status == Some(4) && said.contains("there is no way back"), "{said}");
    let (status, said) = on_terminal(&pair, &no_undo, &[b"no undo\n", b"no undo\n"]);
    assert_eq!(status, Some(4), "{said}");
    assert_same(&pair.original(), &before, "not confirmed");
    let (status, said) = on_terminal(&pair, &["apply", "plan.json"], &[b"target\n"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(pair.state(), "done");
    let (status, said) = on_terminal(&pair, &["undo", "target", "--discard"], &[b"yes\n"]);
    assert!(status == Some(4) && pair.at("target.forkpoint").exists(), "{said}");
    let (status, said) = on_terminal(&pair, &["undo", "target", "--discard"], &[b"discard\n"]);
    assert!(status == Some(0) && !pair.at("target.forkpoint").exists(), "{said}");
}

#[test]
fn a_target_that_was_not_shut_down_is_watched() {
    let pair = Bundled::new("crashed-target");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let before = pair.original();
    let start = Instant::now();
    let text = pair.ends(&["apply", "plan.json", "--yes"], 4);
    assert!(start.elapsed().as_secs() >= 10 && text.contains("watching it for 10 s"), "{text}");
    assert!(text.contains("--target-is-stopped"), "--yes does not vouch for it: {text}");
    assert_same(&pair.original(), &before, "nobody vouched for it");
    // somebody writes to it in the meantime
    let segment = fs::read_dir(pair.at("target/pg_wal")).unwrap().map(|e| e.unwrap().path());
    let segment = segment.into_iter().filter(|p| p.is_file()).max().unwrap();
    let command =
        pair.command(&["apply", "plan.json", "--yes", "--target-is-stopped"]).stderr(Stdio::piped()).spawn();
    let mut child = command.unwrap();
    let modified = fs::metadata(&segment).unwrap().modified().unwrap();
    let touched = fs::File::options().write(true).open(&segment).unwrap();
    let mut n = 0;
    while child.try_wait().unwrap().is_none() {
        n += 1;
        std::thread::sleep(std::time::Duration::from_millis(500));
        // it makes the plan anew first, which has to fit
        if start.elapsed().as_secs() > 10 && n > 12 {
            touched.set_modified(modified + std::time::Duration::from_secs(n)).unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("changed while it was watched"), "{text}");
    touched.set_modified(modified).unwrap();
    assert_same(&pair.original(), &before, "somebody wrote to it");
    pair.ends(&["apply", "plan.json", "--yes", "--target-is-stopped", "-q"], 0);
    pair.ends(&["undo", "target", "-q"], 0);
    assert_same(&pair.original(), &before, "undone");
}

#[test]
fn directories_that_lie_elsewhere_by_now() {
    let pair = Bundled::new("basic-18");
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    for side in ["target", "source"] {
        fs::rename(pair.at(side), pair.at(&format!("{side}2"))).unwrap();
    }
    let text = pair.ends(&["apply", "plan.json", "--yes"], 3);
    assert!(text.contains("target"), "{text}");
    let text = pair.ends(&["apply", "plan.json", "--yes", "--target", "target2", "--source", "target2"], 4);
    assert!(!pair.at("target2.forkpoint").exists(), "{text}");
    pair.ends(&["apply", "plan.json", "--yes", "-q", "--target", "target2", "--source", "source2"], 0);
    assert!(pair.at("target2.forkpoint").exists());
    pair.ends(&["undo", "target2", "-q"], 0);
}

#[test]
fn places_that_an_undo_store_does_not_fit_into() {
    let test = "places_that_an_undo_store_does_not_fit_into";
    let pair = Bundled::new("basic-18");
    let before = pair.original();
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    let refused = |dir: &Path, words: &str| {
        let text = pair.ends(&["apply", "plan.json", "--yes", "--undo-dir", dir.to_str().unwrap()], 4);
        assert!(text.contains(words) && text.contains("--undo-dir"), "{text}");
        assert_same(&pair.original(), &before, words);
        assert_eq!(
            fs::read_dir(dir).unwrap().filter(|e| e.as_ref().unwrap().file_name() != "lost+found").count(),
            0
        );
    };
    let memory = Path::new("/dev/shm");
    if memory.is_dir()
        && fs::metadata(memory).unwrap().dev() != fs::metadata(pair.at("target")).unwrap().dev()
    {
        let dir = tempfile::tempdir_in(memory).unwrap();
        common::give_away(dir.path());
        refused(dir.path(), "lies in memory");
    } else {
        say(&format!("{test}: no filesystem in memory here"));
    }
    let place = scratch();
    match other_user().and_then(|_| Mounted::new(place.path(), 4)) {
        Some(small) => refused(&small.0, "MiB free"),
        None => say(&format!("{test}: a small filesystem could not be mounted")),
    }
}

#[test]
fn wal_from_an_archive_and_from_a_restore_command() {
    let pair = Bundled::new("basic-18");
    let archive = pair.at("archive");
    fs::create_dir(&archive).unwrap();
    common::give_away(&archive);
    for side in ["source", "target"] {
        for file in fs::read_dir(pair.at(side).join("pg_wal")).unwrap().map(|e| e.unwrap().path()) {
            let name = file.file_name().unwrap().to_str().unwrap();
            if name.len() == 24 {
                fs::rename(&file, archive.join(name)).unwrap();
            }
        }
    }
    let before = pair.original();
    // at one of its calls it has nothing
    let (calls, fail) = (pair.at("calls"), pair.at("fail"));
    for (path, text) in [(&calls, ""), (&fail, "0\n")] {
        fs::write(path, text).unwrap();
        common::give_away(path);
    }
    let command = format!(
        "echo %f >> {0}; test $(wc -l < {0}) -ne $(cat {1}) && cp {2}/%f %p",
        calls.display(),
        fail.display(),
        archive.display()
    );
    let given = [["--wal-archive", "archive"], ["--restore-command", &command]];
    let mut results = Vec::new();
    for (n, option) in given.iter().enumerate() {
        let mut args = vec!["plan", "target", "source", "-o", "plan.json"];
        args.extend(option);
        let text = pair.ends(&args, 0);
        assert!(!text.contains("has to fetch it itself"), "{text}");
        let plan: Plan = serde_json::from_slice(&fs::read(pair.at("plan.json")).unwrap()).unwrap();
        let from = plan.entries.iter().filter(|e| match &e.action {
            Action::Copy { from: Origin::Archive(_), .. } => n == 0,
            Action::Copy { from: Origin::RestoreCommand, .. } => n == 1,
            _ => false,
        });
        let names: Vec<_> = from.map(|e| e.path.as_path().file_name().unwrap().to_owned()).collect();
        assert!(!names.is_empty(), "{option:?}: {text}");
        if n == 1 {
            // what cannot be brought any more when it is carried out
            let away = pair.at("away");
            fs::rename(archive.join(&names[0]), &away).unwrap();
            pair.ends(&["apply", "plan.json", "--yes"], 4);
            assert!(!pair.at("target.forkpoint").exists());
            assert_same(&pair.original(), &before, "the archive has lost a segment");
            fs::rename(&away, archive.join(&names[0])).unwrap();
            fs::write(&calls, "").unwrap();
        }
        pair.ends(&["apply", "plan.json", "--yes", "-q", "--verify"], 0);
        for name in &names {
            let brought = fs::read(pair.at("target/pg_wal").join(name)).unwrap();
            assert!(brought == fs::read(archive.join(name)).unwrap(), "{name:?}");
        }
        assert!(!pair.at("target.forkpoint/fetched").exists());
        results.push(pair.result());
        pair.ends(&["undo", "target", "-q"], 0);
        assert_same(&pair.original(), &before, "undone");
        pair.ends(&["undo", "target", "--discard", "--yes", "-q"], 0);
        assert!(!pair.at("target.forkpoint").exists());
        if n == 1 {
            // the last call brings what the store has to have
            let made = fs::read_to_string(&calls).unwrap().lines().count();
            fs::write(&fail, format!("{made}\n")).unwrap();
            fs::write(&calls, "").unwrap();
            let text = pair.ends(&["apply", "plan.json", "--yes"], 4);
            assert!(text.contains("which replay needs, was not brought"), "{text}");
            assert!(!pair.at("target.forkpoint").exists());
            assert_same(&pair.original(), &before, "the last segment was not brought");
        }
    }
    assert!(results[0] == results[1]);
}

#[test]
fn attributes_of_files_are_listed_and_kept() {
    let pair = Bundled::new("basic-18");
    let empty = pair.at("target/base/pgsql_tmp");
    fs::create_dir_all(&empty).unwrap();
    common::give_away(&empty);
    // user::rw-, user:1:r--, group::r--, mask::r--, other::---
    let entry = |tag: u16, perm: u16, id: u32| {
        [&tag.to_le_bytes()[..], &perm.to_le_bytes(), &id.to_le_bytes()].concat()
    };
    let acl = [
        2u32.to_le_bytes().to_vec(),
        entry(1, 6, u32::MAX),
        entry(2, 4, 1),
        entry(4, 4, u32::MAX),
        entry(16, 4, u32::MAX),
        entry(32, 0, u32::MAX),
    ]
    .concat();
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(pair.at(path), name, value, rustix::fs::XattrFlags::empty()).is_ok()
    };
    let fine = set("target/postgresql.conf", "user.note", b"mine")
        && set("target/postgresql.conf", "system.posix_acl_access", &acl)
        && set("target/base/pgsql_tmp", "user.empty", b"")
        && set("target/PG_VERSION", "user.version", b"18");
    if !fine {
        say("attributes_of_files_are_listed_and_kept: skipped: the filesystem has none");
        return;
    }
    let before = pair.original();
    let text = pair.ends(&["plan", "target", "source", "-o", "plan.json", "-v"], 0);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        text.contains("have attributes: 1 an ACL, 0 a security label") && text.contains("user.note"),
        "{text}"
    );
    pair.ends(&["apply", "plan.json", "--yes", "-q"], 0);
    let after = pair.original();
    let conf = pair.at("target/postgresql.conf");
    assert_eq!(after[&conf].xattrs, before[&conf].xattrs);
    assert_eq!((after[&conf].xattrs.len(), after[&conf].mode), (2, before[&conf].mode));
    assert!(!empty.exists());
    pair.ends(&["undo", "target", "-q"], 0);
    assert_same(&pair.original(), &before, "undone");
}

#[test]
fn the_drop_in_goes_on_with_the_same_rewind_only() {
    let pair = Bundled::new("basic-18");
    let rewind = ["rewind", "-D", "target", "--source-pgdata", "source"];
    let with = |more: &[&'static str]| -> Vec<&'static str> { rewind.iter().chain(more).copied().collect() };
    pair.ends(&rewind, 0);
    let expected = pair.result();
    pair.ends(&["undo", "target", "-q"], 0);
    stop_half_way(&pair, &rewind);
    let half = pair.original();
    let output = Command::new("cp").arg("-a").arg(pair.at("source")).arg(pair.at("other")).output().unwrap();
    common::assert_success("cp", &output);
    fs::create_dir(pair.at("empty")).unwrap();
    common::give_away(&pair.at("empty"));
    let refused = |args: &[&str], words: &str| {
        let text = pair.ends(args, 1);
        assert!(
            text.contains("half-way") && text.contains(words) && text.contains("forkpoint resume"),
            "{text}"
        );
        assert_same(&pair.original(), &half, words);
    };
    refused(&["rewind", "-D", "target", "--source-pgdata", "/nonexistent"], "/nonexistent");
    refused(&["rewind", "-D", "target", "--source-pgdata", "other"], "not \"other\"");
    refused(&["rewind", "-D", "target", "--source-pgdata", "target"], "not \"target\"");
    refused(&with(&["--no-undo"]), "--no-undo");
    refused(&with(&["--no-sync"]), "syncs in another way");
    refused(&with(&["--undo-dir", "empty"]), "undo store");
    let text = pair.ends(&rewind, 0);
    assert!(text.contains("is resumed") && text.contains("Done!"), "{text}");
    assert!(pair.result() == expected);
    // what apply began has a plan of its own
    pair.ends(&["undo", "target", "-q"], 0);
    pair.ends(&["plan", "target", "source", "-o", "plan.json", "-q"], 0);
    stop_half_way(&pair, &["apply", "plan.json", "--yes", "-q"]);
    let text = pair.ends(&rewind, 1);
    assert!(text.contains("forkpoint apply began it"), "{text}");
    pair.ends(&["undo", "target", "-q"], 0);
}

#[test]
fn no_link_leads_outside() {
    let place = scratch();
    let Some(base) = as_other_user("no_link_leads_outside", place.path()) else { return };
    let disk = RealDisk::new();
    for (n, link) in ["data/base/5", "data/base", "data/pg_tblspc"].into_iter().enumerate() {
        let base = base.join(n.to_string());
        fs::create_dir(&base).unwrap();
        let (made, plan) = build(&base);
        // after the plan was made a directory becomes a link to one that looks the same
        let elsewhere = base.join("elsewhere");
        fs::rename(base.join(link), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, base.join(link)).unwrap();
        let before = tree(std::slice::from_ref(&elsewhere));
        let failed = apply(&plan, &options(), &disk, &Progress::default()).unwrap_err();
        assert!(!failed.halfway, "{link}: {failed}");
        let mut after = tree(&[elsewhere]);
        for (path, seen) in &mut after {
            seen.accessed = before[path].accessed;
        }
        assert_same(&after, &before, link);
        assert_eq!(status(&made.target(), None, &disk).unwrap().state, State::None);
    }
}

/// A server without its lock file, which looks like a stopped one while nobody writes to it.
#[test]
fn a_server_whose_lock_file_was_removed() {
    let test = "a_server_whose_lock_file_was_removed";
    let installed = common::installed().into_iter().rev();
    let Some(server) = installed.into_iter().find(|s| s.major != "19" && common::cluster::whole(s)) else {
        say(&format!("{test}: skipped: no PostgreSQL with client programs is installed"));
        return;
    };
    let old = Cluster::init(&server, &[]);
    old.start();
    let new = old.standby();
    new.start();
    new.wait_for(&old);
    new.promote();
    old.sql("CREATE TABLE only_old (x int)");
    new.sql("CREATE TABLE only_new (x int); CHECKPOINT");
    let run = |args: &[&str]| {
        let program = old.dir().join("forkpoint");
        let mut command = Command::new(&program);
        command.args(args).current_dir(old.dir()).stdin(Stdio::null());
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        let output = command.output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    copy_program(Path::new(env!("CARGO_BIN_EXE_forkpoint")), &old.dir().join("forkpoint"));
    let source = new.pgdata();
    for (running, what) in [(&old, "target"), (&new, "source")] {
        let lock = running.pgdata().join("postmaster.pid");
        let kept = running.dir().join("kept.pid");
        fs::rename(&lock, &kept).unwrap();
        let (status, text) = run(&["plan", "data", source.to_str().unwrap(), "-o", "plan.json"]);
        fs::rename(&kept, &lock).unwrap();
        assert_eq!(status, Some(4), "{text}");
        let words = format!("a server runs on the {what}");
        assert!(text.contains("a PostgreSQL server's, works in it") && text.contains(&words), "{text}");
        running.stop(Mode::Fast);
    }
    let (status, text) = run(&["plan", "data", source.to_str().unwrap(), "-o", "plan.json"]);
    assert_eq!(status, Some(0), "{text}");
    // the executor looks by itself
    new.start();
    let lock = source.join("postmaster.pid");
    let kept = new.dir().join("kept.pid");
    fs::rename(&lock, &kept).unwrap();
    let disk = RealDisk::new();
    let found = disk.server_in(disk.open_root(&source).unwrap()).unwrap();
    fs::rename(&kept, &lock).unwrap();
    assert!(found.is_some());
    new.stop(Mode::Fast);
    assert_eq!(disk.server_in(disk.open_root(&source).unwrap()).unwrap(), None);
    say(&format!("{test}: ran with PostgreSQL {}", server.major));
}

#[test]
fn a_server_that_used_the_result_ends_the_way_back() {
    let test = "a_server_that_used_the_result_ends_the_way_back";
    let installed = common::installed().into_iter().rev();
    let Some(server) = installed.into_iter().find(|s| s.major != "19" && common::cluster::whole(s)) else {
        say(&format!("{test}: skipped: no PostgreSQL with client programs is installed"));
        return;
    };
    let old = Cluster::init(&server, &[]);
    old.start();
    let space = old.dir().join("space");
    fs::create_dir(&space).unwrap();
    common::give_away(&space);
    old.sql(&format!("CREATE TABLESPACE elsewhere LOCATION '{}'", space.display()));
    old.sql("CREATE TABLE t AS SELECT g AS a, 'common' AS b FROM generate_series(1, 1000) g");
    old.sql("CREATE TABLE far TABLESPACE elsewhere AS SELECT g AS a, 'common' AS b FROM generate_series(1, 1000) g");
    old.sql("CREATE TABLE gone TABLESPACE elsewhere AS SELECT g FROM generate_series(1, 1000) g; CHECKPOINT");
    let new = old.standby();
    new.start();
    new.wait_for(&old);
    new.promote();
    old.sql("UPDATE t SET b = 'lost' WHERE a % 2 = 0; CREATE TABLE only_old (x int)");
    old.sql("UPDATE far SET b = 'lost' WHERE a % 2 = 0; CREATE TABLE far_old (x int) TABLESPACE elsewhere");
    new.sql("UPDATE far SET b = 'kept' WHERE a % 5 = 0; DROP TABLE gone");
    new.sql("UPDATE t SET b = 'kept' WHERE a % 3 = 0; CREATE TABLE only_new (x int); CHECKPOINT");
    let port = new.sql("SHOW port");
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    let program = old.dir().join("forkpoint");
    copy_program(Path::new(env!("CARGO_BIN_EXE_forkpoint")), &program);
    let run = |args: &[&str]| {
        let mut command = Command::new(&program);
        command.args(args).current_dir(old.dir()).stdin(Stdio::null());
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        let output = command.output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    };
    let conninfo = format!("host={} port={port} user=postgres", new.dir().display());
    let source = new.pgdata();
    let (status, text) =
        run(&["plan", "data", source.to_str().unwrap(), "--standby", &conninfo, "-o", "plan.json"]);
    assert_eq!(status, Some(0), "{text}");
    let both = [old.pgdata(), space];
    let seen = || {
        let mut found = tree(&both);
        for seen in found.values_mut() {
            // diagnosing reads
            seen.accessed = (0, 0);
        }
        found
    };
    let before = seen();
    let (status, text) = run(&["apply", "plan.json", "--yes", "--verify"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(old.dir().join("data.forkpoint/moved/pg_tblspc").exists(), "files of the tablespace were kept");
    let (status, text) = run(&["undo", "data"]);
    assert_eq!(status, Some(0), "{text}");
    assert_same(&seen(), &before, "undone, with a tablespace");
    let (status, text) = run(&["apply", "plan.json", "--yes", "--verify"]);
    assert_eq!(status, Some(0), "{text}");
    new.start();
    old.start();
    new.sql("INSERT INTO only_new VALUES (1)");
    old.wait_for(&new);
    for query in [
        "SELECT md5(string_agg(a || b, ',' ORDER BY a)) FROM t",
        "SELECT md5(string_agg(a || b, ',' ORDER BY a)) FROM far",
        "SELECT to_regclass('far_old') IS NULL AND to_regclass('gone') IS NULL",
        "SELECT count(*) FROM only_new",
        "SELECT to_regclass('only_old') IS NULL",
    ] {
        assert_eq!(old.sql(query), new.sql(query), "{query}");
    }
    let (status, text) = run(&["status", "data"]);
    assert!(status == Some(0) && text.contains("a server has used the result"), "{text}");
    let (status, text) = run(&["undo", "data"]);
    assert!(status == Some(4) && text.contains("replay has begun"), "{text}");
    assert_eq!(old.sql("SELECT count(*) FROM only_new"), "1");
    say(&format!("{test}: ran with PostgreSQL {}", server.major));
}
