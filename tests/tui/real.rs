//! The fourth story for real: a copy of a bundled pair is rewound from the screen, stopped half-way, gone on with, and
//! put back. The program refuses to run as root: as root the test starts itself again as another user.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use forkpoint::diagnosis::engine::{Options, Phase, Progress};
use forkpoint::plan;
use forkpoint::tui::executor::{Command, Ended, Executor, RealExecutor};
use forkpoint::tui::start::What;

use crate::robot::{Robot, unpack};

/// Set in the second process: the directory that it works in.
const CHILD: &str = "FORKPOINT_TEST_CHILD";

/// Numbers of the user `postgres`, else `nobody`, when this runs as root.
fn other_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let find = |name: &str| {
        let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(|field| field.parse().unwrap());
        Some((numbers.next()?, numbers.next()?))
    };
    find("postgres").or_else(|| find("nobody"))
}

fn entries(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        if fs::symlink_metadata(&path).unwrap().is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        found.push(path);
    }
    found
}

/// What is to be seen of an entry: mode, owner, times, the file itself, its content.
type Seen = (u32, u32, (i64, i64), u64, Vec<u8>);

fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let seen = |path: &Path| {
        let meta = fs::symlink_metadata(path).unwrap();
        let content = if meta.is_file() { fs::read(path).unwrap() } else { Vec::new() };
        // a directory that was removed is made again
        let inode = if meta.is_dir() { 0 } else { meta.ino() };
        (meta.mode(), meta.uid(), (meta.mtime(), meta.mtime_nsec()), inode, content)
    };
    entries(root).into_iter().map(|path| (path.strip_prefix(root).unwrap().to_owned(), seen(&path))).collect()
}

#[track_caller]
fn assert_same(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>) {
    for path in found.keys().chain(expected.keys()) {
        let (found, expected) = (found.get(path), expected.get(path));
        assert!(
            found == expected,
            "{}: {:?} {:?}",
            path.display(),
            found.map(|s| (s.0, s.1, s.2, s.3, s.4.len())),
            expected.map(|s| (s.0, s.1, s.2, s.3, s.4.len()))
        );
    }
}

/// The real one, stopped as by Ctrl-C as soon as something was copied.
struct Stopped(RealExecutor);

impl Executor for Stopped {
    fn execute(&self, command: &Command, progress: &Progress) -> Ended {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if progress.phase() == Phase::Rewinding && progress.bytes().0 > 0 {
                        progress.cancel();
                        return;
                    }
                    std::hint::spin_loop();
                }
            });
            let ended = self.0.execute(command, progress);
            over.store(true, Ordering::Relaxed);
            ended
        })
    }
}

/// The real one, while a server seems to write WAL that is watched.
struct Disturbed(RealExecutor, PathBuf);

impl Executor for Disturbed {
    fn execute(&self, command: &Command, progress: &Progress) -> Ended {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    if progress.phase() == Phase::Watching {
                        std::thread::sleep(std::time::Duration::from_secs(3));
                        fs::write(&self.1, "written").unwrap();
                        return;
                    }
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            });
            let ended = self.0.execute(command, progress);
            over.store(true, Ordering::Relaxed);
            ended
        })
    }
}

fn open(place: &Path, stops: bool) -> Robot {
    let real = || RealExecutor { threads: 1, undo_dir: Some(place.to_owned()) };
    let options = Options {
        target: place.join("target"),
        source: place.join("source"),
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    };
    let mut robot = Robot::start(What::Pair(Box::new(options)), (100, 40), false);
    robot.app.shared.undo_dir = real().undo_dir();
    robot.app.shared.unable = real().refuses(&place.join("target"));
    robot.carries_out =
        if stops { Some(Arc::new(Stopped(real()))) } else { Some(Arc::new(real()) as Arc<dyn Executor>) };
    robot.settle();
    robot.keys("7");
    robot
}

/// Does it on a copy of a bundled pair, as root in a process of another user.
fn on_a_copy(test: &str, name: &str, act: fn(&Path)) {
    if let Some(place) = std::env::var_os(CHILD) {
        return act(Path::new(&place));
    }
    let scratch = tempfile::Builder::new().prefix("forkpoint-test-").tempdir().unwrap();
    unpack(name, scratch.path());
    let Some((uid, gid)) = other_user() else { return act(&scratch.path().canonicalize().unwrap()) };
    for path in entries(scratch.path()) {
        std::os::unix::fs::lchown(&path, Some(uid), Some(gid)).unwrap();
    }
    // where the build lies others may not look; by another process, as a program that is open for writing here when a
    // neighbouring test starts one of its own is busy
    let programs = tempfile::Builder::new().prefix("forkpoint-test-").tempdir().unwrap();
    chown(programs.path(), Some(uid), Some(gid)).unwrap();
    let program = programs.path().join("test");
    let copied = Process::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status().unwrap();
    assert!(copied.success());
    let output = Process::new(&program)
        .args([test, "--exact", "--nocapture"])
        .env(CHILD, scratch.path().canonicalize().unwrap())
        .env(crate::robot::FOLDER, programs.path())
        .uid(uid)
        .gid(gid)
        .current_dir("/")
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.contains("1 passed"), "{}\n{out}{err}", output.status);
}

#[test]
fn carried_out_stopped_resumed_and_undone_on_a_copy() {
    on_a_copy("real::carried_out_stopped_resumed_and_undone_on_a_copy", "basic-18", journey);
}

#[test]
fn a_target_that_was_not_shut_down_is_watched() {
    on_a_copy("real::a_target_that_was_not_shut_down_is_watched", "crashed-target", watched);
}

fn watched(place: &Path) {
    let target = place.join("target");
    let before = tree(&target);
    let words = "Xtarget<Enter>stopped<Enter>";
    // something writes WAL meanwhile
    let file = target.join("pg_wal/000000010000000000000099");
    let mut robot = open(place, false);
    let real = RealExecutor { threads: 1, undo_dir: Some(place.to_owned()) };
    robot.carries_out = Some(Arc::new(Disturbed(real, file.clone())));
    // the whole sentence, whatever the width makes of it
    let told = robot.keys(words).keys("y").copied.pop().unwrap();
    assert!(told.contains("changed while it was watched: a server runs on it"), "{told}");
    fs::remove_file(&file).unwrap();
    let mut robot = open(place, false);
    let begin = std::time::Instant::now();
    robot.keys(words).shows("is finished");
    assert!(begin.elapsed().as_secs() >= 10);
    assert_ne!(tree(&target), before);
    robot.keys("Utarget<Enter>").shows("is what it was before the rewind");
    let after = tree(&target);
    // the file that came and went left its trace in the directory's time
    let but_wal = |tree: &BTreeMap<PathBuf, Seen>| {
        let mut tree = tree.clone();
        tree.remove(Path::new("pg_wal"));
        tree
    };
    assert_same(&but_wal(&after), &but_wal(&before));
}

fn journey(place: &Path) {
    let target = place.join("target");
    let before = tree(&target);
    let source = tree(&place.join("source"));
    let plan =
        plan::make((&target, &place.join("source")), &plan::PlanOptions::default(), 1, &Progress::default());
    let plan = Box::new(plan.unwrap().1);
    let mut robot = open(place, false);
    robot.shows("The target can be rewound: 22 committed transactions lost");
    // preview changes nothing, and neither does a wrong word
    robot.keys("<Enter><Esc>Xtargett<Enter>");
    assert_same(&tree(&target), &before);

    robot.keys("Xtarget<Enter>");
    robot.shows("The rewind of").shows("is finished").shows("U puts it back");
    let rewound = tree(&target);
    assert_ne!(rewound, before);
    let same = |path: &str| {
        let of = |tree: &BTreeMap<PathBuf, Seen>| tree.get(Path::new(path)).map(|seen| seen.4.clone());
        assert_eq!(of(&rewound), of(&source), "{path}");
        assert_ne!(of(&rewound), of(&before), "{path}");
    };
    same("pg_xact/0000");
    same("base/5/16385");
    robot.keys("<Esc>X").shows("the target was rewound already");
    after_it(place);
    robot.keys("<Esc>R").shows("no rewind of the target is half-way");

    robot.keys("<Esc>Unotthis<Enter>");
    assert_same(&tree(&target), &rewound);
    robot.keys("Utarget<Enter>");
    robot.shows("is what it was before the rewind");
    assert_same(&tree(&target), &before);

    // once more, and stopped; a machine that is busy may be done before it is stopped
    let halfway = (0..20).any(|_| {
        let mut robot = open(place, true);
        robot.keys("Xtarget<Enter>");
        if robot.frame().contains("is finished") {
            robot.keys("Utarget<Enter>");
            assert_same(&tree(&target), &before);
            return false;
        }
        robot
            .shows("Stopped half-way, at a safe point")
            .shows("R goes on with it")
            .shows("U puts the target back");
        robot.keys("X").shows("a rewind is half-way");
        true
    });
    assert!(halfway);
    assert!(!target.join("global/pg_control").exists());
    half_way(place, &Command::Apply { plan, stopped: false });

    // another screen offers it at once
    let mut robot = open(place, false);
    robot.shows("half-way");
    robot.keys("X").shows("a rewind is half-way: R goes on, U puts it back");
    robot.keys("<Esc>Rtarget<Enter>");
    robot.shows("The rewind of").shows("is finished");
    same_content(&tree(&target), &rewound);
    robot.keys("Utarget<Enter>").shows("is what it was before the rewind");
    assert_same(&tree(&target), &before);
}

/// Whatever reaches the executor, it says what is the matter before it reads a plan's directories: as forkpoint apply.
fn half_way(place: &Path, command: &Command) {
    let real = RealExecutor { threads: 1, undo_dir: Some(place.to_owned()) };
    let before = tree(&place.join("target"));
    let told = |text: &str| {
        let ended = real.execute(command, &Progress::default());
        assert!(!ended.done && ended.lines[0].contains(text), "{text:?}: {:?}", ended.lines);
    };
    told("an earlier rewind is half-way");
    // its store is not to be found
    let store = place.join(forkpoint::rewind::store_name(&place.join("target")));
    let elsewhere = place.join("elsewhere");
    fs::rename(&store, &elsewhere).unwrap();
    told("undo store");
    let mut robot = open(place, false);
    robot.keys("X").shows("undo store").keys("target<Enter>");
    fs::rename(&elsewhere, &store).unwrap();
    assert_same(&tree(&place.join("target")), &before);
}

/// Opened after it, all views say who rewound it and how it is put back.
fn after_it(place: &Path) {
    let mut robot = open(place, false);
    robot.shows("✓ Nothing has to be rewound.").shows("The target was rewound by forkpoint: U puts it back");
    robot.keys("1").shows("→ 7 (Plan), then U puts the target back");
    while !robot.frame().lines().any(|line| line.contains("FP70")) {
        robot.keys("j");
    }
    robot.keys("g");
    while !robot.frame().contains("forkpoint's rewind has run to its end on the target") {
        robot.keys("<Esc>j<Enter>");
    }
    let text = robot.keys("y").copied.pop().unwrap();
    assert!(text.contains("forkpoint undo ") && text.contains("forkpoint.state"), "{text}");
    assert!(!text.contains("pg_rewind has run"), "{text}");
}

/// Two rewinds leave the same, but for the time in the label and in the control file.
fn same_content(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>) {
    let plain = |tree: &BTreeMap<PathBuf, Seen>| -> BTreeMap<PathBuf, Vec<u8>> {
        let timed = ["backup_label", "global/pg_control", "forkpoint.state"].map(Path::new);
        tree.iter()
            .filter(|(p, _)| !timed.contains(&p.as_path()))
            .map(|(p, s)| (p.clone(), s.4.clone()))
            .collect()
    };
    let (found, expected) = (plain(found), plain(expected));
    for path in found.keys().chain(expected.keys()) {
        assert!(found.get(path) == expected.get(path), "{}", path.display());
    }
}
