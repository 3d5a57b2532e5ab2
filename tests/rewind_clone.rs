//! Undone after a real server has replayed on the result, was promoted and has written: by a complete clone of the target,
//! full copies and clones that share blocks. With tablespaces.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::cluster::{Cluster, Mode};
use common::{Server, other_user};

/// Set in a test's second process, whose temporary files lie on a filesystem that clones.
const CHILD: &str = "FORKPOINT_TEST_CHILD";

fn say(line: &str) {
    drop(writeln!(std::io::stderr(), "{line}"));
}

fn server(test: &str) -> Option<Server> {
    let installed = common::installed().into_iter().rev();
    let found = installed.into_iter().find(|s| s.major != "19" && common::cluster::whole(s));
    if found.is_none() {
        say(&format!("{test}: skipped: no PostgreSQL with client programs is installed"));
    }
    found
}

/// What `stat` says of an entry, and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    modified: (i64, i64),
    content: Vec<u8>,
    link: PathBuf,
}

fn tree(roots: &[PathBuf]) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut todo = roots.to_vec();
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        let link = meta.is_symlink();
        let seen = Seen {
            mode: meta.mode(),
            owner: (meta.uid(), meta.gid()),
            // a link that replay removed is made again
            modified: if link { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) },
            content: if meta.is_file() { fs::read(&path).unwrap() } else { Vec::new() },
            link: if link { fs::read_link(&path).unwrap() } else { PathBuf::new() },
        };
        found.insert(path, seen);
    }
    found
}

fn assert_same(found: &BTreeMap<PathBuf, Seen>, expected: &BTreeMap<PathBuf, Seen>, what: &str) {
    for path in found.keys().chain(expected.keys()) {
        let short = |seen: Option<&Seen>| {
            seen.map(|s| Seen { content: s.content.len().to_string().into_bytes(), ..s.clone() })
        };
        let (a, b) = (found.get(path), expected.get(path));
        assert!(a == b, "{what}: {}: found {:?}, expected {:?}", path.display(), short(a), short(b));
    }
}

/// A failover, both sides stopped; the old primary's directory holds a copy of the program.
struct Pair {
    old: Cluster,
    new: Cluster,
}

impl Pair {
    fn new(server: &Server) -> Self {
        Self::stopped(server, Mode::Fast)
    }

    /// `how` the old primary was stopped.
    fn stopped(server: &Server, how: Mode) -> Self {
        let old = Cluster::init(server, &[]);
        for name in ["space", "dropped"] {
            fs::create_dir(old.dir().join(name)).unwrap();
            common::give_away(&old.dir().join(name));
        }
        old.start();
        let at = |name: &str| old.dir().join(name).display().to_string();
        old.sql(&format!("CREATE TABLESPACE space LOCATION '{}'", at("space")));
        old.sql(&format!("CREATE TABLESPACE dropped LOCATION '{}'", at("dropped")));
        old.sql(
            "CREATE TABLE t AS SELECT g AS a, 'common' AS b FROM generate_series(1, 2000) g;
             CREATE TABLE s (a int, b text) TABLESPACE space;
             INSERT INTO s SELECT * FROM t; CREATE TABLE quiet AS SELECT * FROM t;
             CREATE TABLE d (a int) TABLESPACE dropped",
        );
        let new = old.standby();
        new.start();
        new.wait_for(&old);
        new.promote();
        old.sql("UPDATE t SET b = 'lost' WHERE a % 2 = 0; INSERT INTO s VALUES (0, 'lost')");
        old.sql("CREATE TABLE only_old (x int); INSERT INTO only_old VALUES (1)");
        // blocks that the old primary did not touch arrive by replay
        new.sql("UPDATE quiet SET b = 'kept'; UPDATE s SET b = 'kept' WHERE a % 3 = 0; DROP TABLE d");
        new.sql("CREATE TABLE only_new (x int)");
        old.stop(how);
        new.stop(Mode::Fast);
        let program = old.dir().join("forkpoint");
        let output = Command::new("cp").arg(env!("CARGO_BIN_EXE_forkpoint")).arg(&program).output().unwrap();
        common::assert_success("cp", &output);
        Self { old, new }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.old.dir().join("forkpoint"));
        command.args(args).current_dir(self.old.dir()).stdin(Stdio::null()).env("TZ", "UTC");
        if let Some((uid, gid)) = other_user() {
            command.uid(uid).gid(gid);
        }
        command
    }

    fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = self.command(args).output().unwrap();
        let text =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.code(), text)
    }

    fn ends(&self, args: &[&str], status: i32) -> String {
        let (found, text) = self.run(args);
        assert_eq!(found, Some(status), "{args:?}: {text}");
        text
    }

    fn roots(&self) -> Vec<PathBuf> {
        ["data", "space", "dropped"].map(|name| self.old.dir().join(name)).to_vec()
    }

    /// Rewinds, keeping `undo`; gives what it said.
    fn rewind(&self, undo: &str) -> String {
        let source = self.new.pgdata();
        let conninfo = self.new.conninfo();
        self.ends(&["plan", "data", source.to_str().unwrap(), "--standby", &conninfo, "-o", "plan.json"], 0);
        self.ends(&["apply", "plan.json", "--yes", "--undo", undo], 0)
    }
}

/// Rewound, replayed, promoted, written to, undone, started as it was.
fn there_and_back(server: &Server, undo: &str) -> Pair {
    let pair = Pair::new(server);
    let (old, new) = (&pair.old, &pair.new);
    let before = tree(&pair.roots());
    let text = pair.rewind(undo);
    assert!(text.contains("also after a server has started"), "{text}");

    // nothing has happened yet: what was kept of the changes is enough
    pair.ends(&["undo", "data"], 0);
    assert_same(&tree(&pair.roots()), &before, "undone before a server was started");
    pair.rewind(undo);

    new.start();
    old.start();
    new.sql("INSERT INTO only_new VALUES (1); DROP TABLESPACE dropped");
    old.wait_for(new);
    assert_eq!(old.sql("SELECT count(*) FROM quiet WHERE b = 'kept'"), "2000");
    let text = pair.ends(&["undo", "data", "--yes"], 4);
    assert!(text.contains("a server runs"), "{text}");
    new.stop(Mode::Fast);
    old.promote();
    old.sql("CREATE TABLE work AS SELECT g FROM generate_series(1, 10000) g; CREATE DATABASE more");
    old.stop(Mode::Fast);

    let text = pair.ends(&["status", "data"], 0);
    assert!(text.contains("away what the server did since"), "{text}");
    let json: serde_json::Value =
        serde_json::from_str(&pair.ends(&["status", "data", "--format", "json"], 0)).unwrap();
    assert_eq!(
        (&json["can_undo"], &json["rewind"]["clone"], &json["rewind"]["undo_drops_work"]),
        (&true.into(), &true.into(), &true.into()),
        "{json}"
    );
    let text = pair.ends(&["undo", "data"], 4);
    assert!(text.contains("no terminal"), "{text}");
    assert!(old.pgdata().join("global/pg_control").exists());
    pair.ends(&["undo", "data", "--yes"], 0);
    assert_same(&tree(&pair.roots()), &before, "undone after a server has used it");
    old.start();
    assert_eq!(old.sql("SELECT count(*) FROM t WHERE b = 'lost'"), "1000");
    assert_eq!(old.sql("SELECT count(*) FROM quiet WHERE b = 'kept'"), "0");
    assert_eq!(old.sql("SELECT x FROM only_old"), "1");
    old.stop(Mode::Fast);
    pair.ends(&["undo", "data", "--discard", "--yes"], 0);
    assert!(!old.dir().join("data.forkpoint").exists());
    pair
}

#[test]
fn a_full_copy() {
    let Some(server) = server("a_full_copy") else { return };
    there_and_back(&server, "copy");
    say(&format!("a_full_copy: ran with PostgreSQL {}", server.major));
}

/// A filesystem in a file, mounted.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(kind: &str) -> Option<Self> {
        let place = common::scratch();
        let (image, at) = (place.path().join("image"), place.path().join("mounted"));
        fs::create_dir(&at).unwrap();
        fs::File::create(&image).unwrap().set_len(900 << 20).unwrap();
        let ran = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let made = ran(Command::new(format!("mkfs.{kind}")).arg("-q").arg(&image))
            && ran(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at));
        if !made {
            return None;
        }
        let (uid, gid) = other_user().unwrap_or((0, 0));
        chown(&at, Some(uid), Some(gid)).unwrap();
        Some(Self(place))
    }

    fn at(&self) -> PathBuf {
        self.0.path().join("mounted")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg(self.at()).output());
    }
}

fn used(path: &Path) -> u64 {
    let space = rustix::fs::statvfs(path).unwrap();
    (space.f_blocks - space.f_bfree) * space.f_frsize
}

/// Runs a test again on each filesystem that clones and that can be made here.
fn where_files_are_cloned(test: &str) {
    let mut ran = 0;
    for kind in ["xfs", "btrfs"] {
        let Some(mounted) = Mounted::new(kind) else { continue };
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(CHILD, kind)
            .env("TMPDIR", mounted.at())
            .output()
            .unwrap();
        common::assert_success(kind, &output);
        for line in String::from_utf8_lossy(&output.stderr).lines().filter(|line| line.contains(test)) {
            say(line);
        }
        ran += 1;
    }
    if ran == 0 {
        say(&format!("{test}: skipped: neither an XFS nor a Btrfs filesystem can be made and mounted here"));
    }
}

/// Crash recovery by a server changes the target before there is a plan: what undo leads back to.
fn recovered_and_undone(server: &Server, clones: bool) {
    let pair = Pair::stopped(server, Mode::Immediate);
    let (old, source) = (&pair.old, pair.new.pgdata());
    let before = tree(&pair.roots());
    let bin = server.bin.to_str().unwrap();
    let rewind = ["rewind", "-D", "data", "--source-pgdata", source.to_str().unwrap(), "--bindir", bin];
    let waiting = old.dir().join("data.forkpoint.recovery");
    if clones {
        // a run that recovers and comes no further: the next one finds the clone
        let other = old.dir().join("data.forkpoint");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("mine"), "").unwrap();
        let text = pair.ends(&rewind, 1);
        assert!(text.contains("no store of this data directory") && waiting.exists(), "{text}");
        assert!(text.contains("Nothing in the target was changed but by crash recovery."), "{text}");
        // undo by it would take away what came since
        fs::write(old.pgdata().join("fetched"), "").unwrap();
        let text = pair.ends(&rewind, 1);
        assert!(text.contains("has changed since it was recovered") && waiting.exists(), "{text}");
        fs::remove_file(old.pgdata().join("fetched")).unwrap();
        // killed while the store took it in
        fs::remove_file(other.join("mine")).unwrap();
        common::give_away(&other);
        for name in ["clone", "clone.json", "clone.1"] {
            fs::rename(waiting.join(name), other.join(name)).unwrap();
        }
        let text = pair.ends(&rewind, 0);
        assert!(text.contains("before an earlier run recovered it is kept as a clone"), "{text}");
        assert!(!waiting.exists(), "{text}");
        let links = fs::read_dir(other.join("clone/pg_tblspc")).unwrap();
        let links: Vec<PathBuf> = links.map(|e| fs::read_link(e.unwrap().path()).unwrap()).collect();
        assert_eq!(links.len(), 2);
        for link in links {
            assert!(link.is_dir() && link.starts_with(&other), "{}", link.display());
        }
        let text = pair.ends(&["undo", "data"], 4);
        assert!(text.contains("no terminal"), "{text}");
        pair.ends(&["undo", "data", "--yes"], 0);
        assert_same(&tree(&pair.roots()), &before, "undone to before an earlier run's recovery");
    }
    let text = pair.ends(&rewind, 0);
    assert!(!waiting.exists(), "{text}");
    let kept = if clones { "is kept as a clone" } else { "undo will return only to the state after it" };
    assert!(text.contains(kept), "{text}");
    pair.ends(&["undo", "data", "--yes"], 0);
    let now = tree(&pair.roots());
    if !clones {
        let state =
            |tree: &BTreeMap<PathBuf, Seen>| tree[&old.pgdata().join("global/pg_control")].content[16];
        // in production; shut down
        assert_eq!((state(&before), state(&now)), (6, 1));
        return;
    }
    assert_same(&now, &before, "undone to before the recovery");
    // killed on the way there and on the way back
    let mut halfway = [0, 0];
    for round in 0..12u32 {
        let there = round % 2 == 0;
        if !there {
            pair.ends(&rewind, 0);
        }
        let start = Instant::now();
        let mut child = pair.command(if there { &rewind } else { &["undo", "data", "--yes"] });
        let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let aside = old.pgdata().join("global/pg_control.forkpoint");
        let begun = || if there { aside.exists() } else { !old.pgdata().join("global/pg_control").exists() };
        while !begun() && child.try_wait().unwrap().is_none() && start.elapsed() < Duration::from_secs(30) {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(u64::from(round * round / 4)));
        let _ = child.kill();
        child.wait().unwrap();
        let json = pair.ends(&["status", "data", "--format", "json"], 0);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let state = json["state"].as_str().unwrap();
        halfway[usize::from(there)] += u32::from(matches!(state, "in_progress" | "undoing"));
        if state != "undone" {
            pair.ends(&["undo", "data", "--yes"], 0);
        }
        assert_same(&tree(&pair.roots()), &before, &format!("round {round}, killed while {state}"));
    }
    assert!(halfway[0] > 0 && halfway[1] > 0, "{halfway:?} times half-way: a poor test");
    // once more, with work of a server on the result
    pair.ends(&rewind, 0);
    pair.new.start();
    old.follow(&pair.new);
    old.start();
    old.wait_for(&pair.new);
    old.stop(Mode::Fast);
    pair.new.stop(Mode::Fast);
    pair.ends(&["undo", "data", "--yes"], 0);
    assert_same(&tree(&pair.roots()), &before, "undone after a server has used it");
    old.start();
    assert_eq!(old.sql("SELECT count(*) FROM t WHERE b = 'lost'"), "1000");
    old.stop(Mode::Fast);
    // recovered by now, and not to be rewound: a clone of that is of no use
    let crashed = old.pgdata();
    let same = old.copy();
    fs::rename(same.pgdata(), old.dir().join("same")).unwrap();
    old.start();
    old.sql("CREATE TABLE again (a int)");
    old.stop(Mode::Immediate);
    let (status, text) = pair.run(&["rewind", "-D", "data", "--source-pgdata", "same", "--bindir", bin]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("no rewind required") && !waiting.exists(), "{}: {text}", crashed.display());
    assert!(text.contains("from before crash recovery") && text.contains("is removed"), "{text}");
    // a server ran between the recovery and the next run: undo must not lead back to before that
    old.start();
    old.stop(Mode::Immediate);
    let other = old.dir().join("data.forkpoint");
    fs::remove_dir_all(&other).unwrap();
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine"), "").unwrap();
    pair.ends(&rewind, 1);
    assert!(waiting.exists());
    // nor is it replaced by one of a later state
    old.start();
    old.stop(Mode::Immediate);
    let control = || fs::read(waiting.join("clone/global/pg_control")).unwrap();
    let kept = control();
    let text = pair.ends(&rewind, 1);
    assert!(text.contains("lies there from before") && control() == kept, "{text}");
    old.start();
    old.stop(Mode::Fast);
    fs::remove_dir_all(&other).unwrap();
    let text = pair.ends(&rewind, 0);
    assert!(!text.contains("is kept as a clone") && waiting.exists(), "{text}");
    assert!(text.contains("has changed since it was recovered"), "{text}");
    // someone's directory stays; and nothing is made in the source
    pair.ends(&["undo", "data", "--yes"], 0);
    fs::remove_dir_all(&waiting).unwrap();
    fs::create_dir(&waiting).unwrap();
    fs::write(waiting.join("making"), "mine").unwrap();
    old.start();
    old.stop(Mode::Immediate);
    let text = pair.ends(&rewind, 0);
    assert!(text.contains("lies there from before") && waiting.join("making").exists(), "{text}");
    pair.ends(&["undo", "data", "--yes"], 0);
    old.start();
    old.stop(Mode::Immediate);
    let unchanged = tree(std::slice::from_ref(&source));
    let text = pair.ends(&[&rewind[..], &["--undo-dir", pair.new.pgdata().to_str().unwrap()]].concat(), 1);
    assert!(text.contains("inside one of the two data directories"), "{text}");
    assert_same(&tree(&[source]), &unchanged, "the source");
}

#[test]
fn before_crash_recovery() {
    let test = "before_crash_recovery";
    let Some(server) = server(test) else { return };
    if let Some(kind) = std::env::var_os(CHILD) {
        recovered_and_undone(&server, true);
        say(&format!("{test}: {}: undone to before the recovery", kind.to_string_lossy()));
        return;
    }
    if clones_here() {
        say(&format!(
            "{test}: the filesystem of the temporary directory clones: the other message was not tried"
        ));
    } else {
        recovered_and_undone(&server, false);
    }
    where_files_are_cloned(test);
}

/// Whether the filesystem of the temporary directory clones.
fn clones_here() -> bool {
    let place = common::scratch();
    let (from, to) = (place.path().join("from"), place.path().join("to"));
    fs::write(&from, vec![7; 65536]).unwrap();
    let output = Command::new("cp").arg("--reflink=always").args([from, to]).output();
    output.is_ok_and(|output| output.status.success())
}

#[test]
fn a_clone_that_shares_blocks() {
    let test = "a_clone_that_shares_blocks";
    let Some(server) = server(test) else { return };
    if let Some(kind) = std::env::var_os(CHILD) {
        let pair = there_and_back(&server, "clone");
        // by itself, where it can be had
        let before = used(pair.old.dir());
        let text = pair.rewind("auto");
        assert!(text.contains("also after a server has started"), "{text}");
        let manifest = fs::read(pair.old.dir().join("data.forkpoint/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["clone"]["how"], "reflink");
        let size: u64 = tree(&[pair.old.pgdata()]).values().map(|s| s.content.len() as u64).sum();
        let grown = used(pair.old.dir()).saturating_sub(before);
        assert!(grown < size / 2, "{grown} bytes more for a clone of {size}");
        let kind = kind.to_string_lossy();
        say(&format!("{test}: {kind}: PostgreSQL {}: {size} bytes cloned, {grown} more used", server.major));
        return;
    }
    where_files_are_cloned(test);
}

#[test]
fn what_cannot_be_cloned_is_told() {
    let Some(server) = server("what_cannot_be_cloned_is_told") else { return };
    let pair = Pair::new(&server);
    if clones_here() {
        say("what_cannot_be_cloned_is_told: skipped: the filesystem of the temporary directory clones");
        return;
    }
    let before = tree(&pair.roots());
    let source = pair.new.pgdata();
    pair.ends(&["plan", "data", source.to_str().unwrap(), "-o", "plan.json"], 0);
    let text = pair.ends(&["apply", "plan.json", "--yes", "--undo=clone"], 4);
    assert!(text.contains("cannot clone") && text.contains("--undo=copy"), "{text}");
    assert_same(&tree(&pair.roots()), &before, "refused");
    for name in ["data.forkpoint", "space.forkpoint"] {
        assert!(!pair.old.dir().join(name).exists(), "{name} is left over");
    }
    let text = pair.ends(&["apply", "plan.json", "--yes"], 0);
    assert!(text.contains("until a server is started on it"), "{text}");
    assert!(!pair.old.dir().join("data.forkpoint/clone").exists());
}
