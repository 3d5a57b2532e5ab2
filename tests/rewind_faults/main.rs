//! Every changing call of a rewind fails, is cut short, or is the last one, and what was not synced is forgotten or not;
//! then `resume` completes the target to the bytes of an uninterrupted run, and `undo` puts it back to what it was. Both
//! are interrupted at each of their own calls as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use forkpoint::pg::Lsn;
use forkpoint::plan::Plan;
use forkpoint::rewind::disk::{Access, At, Disk, Kind, write_all_at};
use forkpoint::rewind::{
    Failed, Going, Keep, Limits, Options, Report, State, SyncMethod, Trouble, apply, resume, status, undo,
};
use forkpoint::scan::progress::Progress;

mod memory;
mod pair;

use memory::{EIO, ENOSPC, Fault, Lose, MemoryDisk, Seen, chance};
use pair::Pair;

type Trees = Vec<BTreeMap<PathBuf, Seen>>;

/// A pair in memory, and what becomes of it.
struct Stage {
    start: MemoryDisk,
    pair: Pair,
    plan: Plan,
    options: Options,
    /// The target as it was.
    before: Trees,
    /// And as it is after an uninterrupted run.
    after: Trees,
    /// Changing calls of that.
    calls: usize,
}

fn trees(disk: &MemoryDisk, pair: &Pair, times: bool) -> Trees {
    pair.belongs().iter().map(|path| disk.tree(path, times)).collect()
}

/// Without the pointer to the store, which an undone or unbegun target does not have.
fn after(disk: &MemoryDisk, pair: &Pair) -> Trees {
    let mut trees = trees(disk, pair, false);
    trees[0].remove(Path::new("forkpoint.state"));
    trees
}

/// Small batches, so that there are several.
fn limits() -> Limits {
    Limits { operations: 5, packed: 30_000, unsynced: 60_000 }
}

fn going() -> Going {
    Going { limits: limits(), ..Going::default() }
}

fn stage(change: impl FnOnce(&mut Options)) -> Stage {
    stage_on(MemoryDisk::new(), change)
}

fn stage_on(start: MemoryDisk, change: impl FnOnce(&mut Options)) -> Stage {
    let top = start.open_root(Path::new("/")).unwrap();
    start.mkdir(At::new(top, "base"), 0o755).unwrap();
    let base = start.open_root(Path::new("/base")).unwrap();
    let pair = pair::build(&start, Path::new("/base"), |from, to| {
        start.link(At::new(base, from), At::new(base, to));
    });
    start.settle();
    let plan = pair::plan(&start, &pair);
    let mut options = Options {
        limits: limits(),
        report: Some(Report::new(|out| out.write_all(b"{}"))),
        ..Options::default()
    };
    change(&mut options);
    let before = trees(&start, &pair, true);
    let done = start.fork();
    done.arm(Fault::None);
    let outcome = apply(&plan, &options, &done, &Progress::default()).unwrap();
    assert_eq!(outcome.undo, options.undo);
    let calls = done.calls();
    Stage { after: after(&done, &pair), before, calls, start, pair, plan, options }
}

impl Stage {
    fn apply(&self, disk: &MemoryDisk) -> Result<(), Failed> {
        apply(&self.plan, &self.options, disk, &Progress::default()).map(|_| ())
    }

    fn resume(&self, disk: &MemoryDisk) -> Result<(), Failed> {
        resume(&self.pair.target(), None, &going(), disk, &Progress::default()).map(|_| ())
    }

    fn undo(&self, disk: &MemoryDisk) -> Result<(), Failed> {
        undo(&self.pair.target(), None, disk, &Progress::default()).map(|_| ())
    }

    fn state(&self, disk: &MemoryDisk) -> State {
        status(&self.pair.target(), None, disk).unwrap().state
    }

    /// Completes it, whatever happened before.
    fn complete(&self, disk: &MemoryDisk, what: &dyn Fn() -> String) {
        match self.state(disk) {
            State::None => {
                assert_same(&trees(disk, &self.pair, true), &self.before, &|| {
                    format!("{}: nothing begun", what())
                });
                self.apply(disk).unwrap_or_else(|e| panic!("{}: apply once more: {e}", what()));
            }
            State::InProgress | State::Done => {
                self.resume(disk).unwrap_or_else(|e| panic!("{}: resume: {e}", what()));
            }
            other => panic!("{}: {other:?}", what()),
        }
        assert_same(&after(disk, &self.pair), &self.after, &|| format!("{}: resumed", what()));
        assert_eq!(self.state(disk), State::Done, "{}", what());
    }

    /// Puts it back, whatever happened before.
    fn back(&self, disk: &MemoryDisk, what: &dyn Fn() -> String) {
        if self.state(disk) != State::None {
            self.undo(disk).unwrap_or_else(|e| panic!("{}: undo: {e}", what()));
            assert_eq!(self.state(disk), State::Undone, "{}", what());
        }
        assert_same(&trees(disk, &self.pair, true), &self.before, &|| format!("{}: undone", what()));
    }
}

fn assert_same(found: &Trees, expected: &Trees, what: &dyn Fn() -> String) {
    if found == expected {
        return;
    }
    for (found, expected) in found.iter().zip(expected) {
        for path in found.keys().chain(expected.keys()) {
            let (a, b) = (found.get(path), expected.get(path));
            let short = |seen: Option<&Seen>| {
                seen.map(|s| {
                    let end = s.content.len().min(60);
                    format!(
                        "{:?} {:o} {:?} {} {:?}",
                        s.kind,
                        s.mode,
                        s.times,
                        s.content.len(),
                        &s.content[..end]
                    )
                })
            };
            assert!(a == b, "{}: {}: found {:?}, expected {:?}", what(), path.display(), short(a), short(b));
        }
    }
}

/// Restarts the machine a few ways.
fn losses(seed: u64, random: u64) -> Vec<Lose> {
    let chances = (0..random).map(|n| Lose::Some(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (n + 1)));
    [Lose::Nothing, Lose::Everything].into_iter().chain(chances).collect()
}

#[test]
fn uninterrupted() {
    let stage = stage(|_| {});
    let target = &stage.after[0];
    for (path, content) in pair::expected() {
        assert!(target[Path::new(path)].content == content, "{path}");
    }
    for path in pair::GONE {
        assert!(!target.contains_key(Path::new(path)), "{path}");
    }
    let label = String::from_utf8(target[Path::new("backup_label")].content.clone()).unwrap();
    assert!(
        label.contains("BACKUP METHOD: pg_rewind\n") && label.contains("START TIME: 2026-09-"),
        "{label}"
    );
    let old = &stage.before[0][Path::new("postgresql.conf")];
    let new = &target[Path::new("postgresql.conf")];
    assert_eq!((new.mode, new.owner, &new.xattrs), (old.mode, old.owner, &old.xattrs));
    // written in place, as pg_rewind does: the second name sees it
    assert_eq!(target[Path::new("base/5/104")].content, target[Path::new("base/5/103")].content);
    let wal = &stage.after[1];
    assert_eq!(wal[Path::new("000000010000000000000003")].content, b"a segment of the source's history");
    assert!(!wal.contains_key(Path::new("000000010000000000000004")));

    let disk = stage.start.fork();
    stage.apply(&disk).unwrap();
    // what it lost by the rewind is in the store
    let store = disk.tree(Path::new("/base/data.forkpoint"), false);
    assert!(store.contains_key(Path::new("moved/pg_wal/000000010000000000000004")));
    assert_eq!(store[Path::new("report.json")].content, b"{}");
    let again = stage.apply(&disk).unwrap_err();
    assert!(!again.halfway && again.to_string().contains("--discard"), "{again}");
    stage.back(&disk, &|| "undo".into());
    // undone is undone
    stage.undo(&disk).unwrap();
    assert_same(&trees(&disk, &stage.pair, true), &stage.before, &|| "undone twice".into());
    assert!(stage.resume(&disk).is_err());
    // and makes room for the next
    stage.apply(&disk).unwrap();
    assert_same(&after(&disk, &stage.pair), &stage.after, &|| "applied again".into());
}

/// Fails, cuts or kills at each call of an apply, restarts in several ways, goes on and goes back.
fn every_point(stage: &Stage, name: &str, random: u64) {
    let mut points = 0;
    for call in 1..=stage.calls {
        for fault in
            [Fault::Error(call, EIO), Fault::Error(call, ENOSPC), Fault::Kill(call), Fault::Short(call)]
        {
            let broken = stage.start.fork();
            broken.arm(fault);
            let failed = stage.apply(&broken);
            if matches!(fault, Fault::Kill(_) | Fault::Short(_)) {
                assert!(failed.is_err(), "{fault:?}");
            }
            let live = matches!(fault, Fault::Error(..));
            // an error leaves the machine as it is; besides, it may go down after it
            let ways = losses(call as u64, random).into_iter().map(Some).chain(live.then_some(None));
            for way in ways {
                let what = || format!("{name}: {fault:?} of {}, {way:?}", stage.calls);
                let after = || {
                    let disk = broken.fork();
                    match way {
                        Some(lose) => disk.restart(lose),
                        None => disk.arm(Fault::None),
                    }
                    disk
                };
                let forward = after();
                stage.complete(&forward, &what);
                // the power may fail right after it has said that it is done
                forward.restart(Lose::Everything);
                if stage.options.sync != SyncMethod::None {
                    assert_same(&self::after(&forward, &stage.pair), &stage.after, &|| {
                        format!("{}: durable", what())
                    });
                }
                points += 1;
                if stage.options.undo {
                    let back = after();
                    stage.back(&back, &what);
                    back.restart(Lose::Everything);
                    assert_same(&trees(&back, &stage.pair, true), &stage.before, &|| {
                        format!("{}: durable", what())
                    });
                    points += 1;
                }
            }
        }
    }
    println!("{name}: {} calls, {points} interruptions resumed or undone", stage.calls);
}

#[test]
fn every_call_of_an_apply() {
    every_point(&stage(|_| {}), "syncfs", 3);
}

#[test]
fn every_call_with_fsync() {
    every_point(&stage(|o| o.sync = SyncMethod::Fsync), "fsync", 1);
}

#[test]
fn every_call_where_syncfs_hides_errors() {
    let disk = MemoryDisk::new();
    disk.hide_errors_of_syncfs();
    let stage = stage_on(disk, |_| {});
    // each file that was written is asked as well
    assert!(stage.calls > self::stage(|_| {}).calls + 10, "{}", stage.calls);
    every_point(&stage, "syncfs that hides errors", 1);
}

#[test]
fn every_call_without_undo() {
    every_point(&stage(|o| o.undo = false), "no undo", 2);
}

#[test]
fn every_call_with_a_clone() {
    every_point(&stage(|o| o.keep = Keep::Copy), "a full copy", 0);
}

/// What a server does on the result: other blocks of all files, files and directories that come and go, a tablespace
/// that is dropped, one that is made, the control file, backup_label.
fn work(disk: &MemoryDisk, pair: &Pair) {
    let base = disk.open_root(&pair.base).unwrap();
    let at = |path: &'static str| At::new(base, path);
    let write = |path: &'static str, bytes: &[u8], offset| {
        write_all_at(&*disk.open(at(path), Access::Write).unwrap(), bytes, offset).unwrap();
    };
    for path in ["data/base/5/100", "data/base/5/103", "other/space/PG_18_202506291/5/400"] {
        write(path, b"replayed", 8192 + 500);
    }
    write("data/global/pg_control", b"in production", 16);
    disk.rename(at("data/backup_label"), at("data/backup_label.old")).unwrap();
    disk.unlink(at("data/standby.signal")).unwrap();
    for path in ["data/base/11", "data/base/5/101.d", "wal/archive_status"] {
        disk.mkdir(at(path), 0o700).unwrap();
    }
    for path in ["data/base/11/1", "data/postmaster.opts", "wal/000000020000000000000005", "data/base/9"] {
        write_all_at(&*disk.create(at(path), 0o640).unwrap(), b"0\nnew", 0).unwrap();
    }
    disk.unlink(at("data/base/5/101")).unwrap();
    disk.rename(at("data/base/5/101.d"), at("data/base/5/101")).unwrap();
    disk.unlink(at("data/pg_hba.conf")).unwrap();
    disk.symlink(Path::new("/elsewhere"), at("data/pg_hba.conf")).unwrap();
    disk.unlink(at("data/pg_tblspc/16384")).unwrap();
    disk.symlink(Path::new("/base/wal"), at("data/pg_tblspc/16999")).unwrap();
    disk.unlink(at("other/space/PG_18_202506291/5/400_fsm")).unwrap();
    // another cluster's
    disk.mkdir(at(FOREIGN), 0o700).unwrap();
    disk.settle();
}

/// The directory of another cluster in a tablespace's.
const FOREIGN: &str = "other/space/PG_17_202406281";

/// The way back after a server has worked on the result, at each of its calls.
#[test]
fn every_call_of_an_undo_by_a_clone() {
    let stage = stage(|o| o.keep = Keep::Copy);
    let used = stage.start.fork();
    stage.apply(&used).unwrap();
    work(&used, &stage.pair);
    let rewind = status(&stage.pair.target(), None, &used).unwrap().rewind.unwrap();
    assert!(rewind.replayed && rewind.drops_work && rewind.no_undo.is_none(), "{rewind:?}");
    let whole = used.fork();
    whole.arm(Fault::None);
    stage.undo(&whole).unwrap();
    let calls = whole.calls();
    // a link that the server removed is made again, and its times cannot be set
    let timeless = |mut trees: Trees| {
        let links = trees.iter_mut().flat_map(|tree| tree.values_mut()).filter(|s| s.kind == Kind::Symlink);
        links.for_each(|link| link.times = None);
        trees
    };
    let before = timeless(stage.before.clone());
    let expected = |disk: &MemoryDisk, what: &dyn Fn() -> String| {
        let mut found = timeless(trees(disk, &stage.pair, true));
        assert!(found[2].remove(Path::new("PG_17_202406281")).is_some(), "{}", what());
        assert_same(&found, &before, what);
    };
    expected(&whole, &|| "undone".into());
    let mut points = 0;
    let mut seed = 7;
    for call in 1..=calls {
        for fault in [Fault::Error(call, EIO), Fault::Kill(call), Fault::Short(call)] {
            let ways = [Lose::Nothing, Lose::Everything];
            for lose in ways.into_iter().chain((0..3).map(|_| Lose::Some(chance(&mut seed)))) {
                let disk = used.fork();
                disk.arm(fault);
                let _ = stage.undo(&disk);
                disk.restart(lose);
                let what = || format!("{fault:?} of {calls}, {lose:?}");
                assert_ne!(stage.state(&disk), State::InProgress, "{}", what());
                stage.undo(&disk).unwrap_or_else(|e| panic!("{}: undo: {e}", what()));
                disk.restart(Lose::Everything);
                expected(&disk, &what);
                points += 1;
            }
        }
    }
    println!("undo by a clone: {calls} calls, {points} interruptions");
}

#[test]
fn a_clone_that_is_not_whole_is_not_used() {
    let stage = stage(|o| o.keep = Keep::Copy);
    let used = stage.start.fork();
    stage.apply(&used).unwrap();
    work(&used, &stage.pair);
    for (path, change) in [("clone/base/5/100", true), ("clone/base/5/200", false), ("clone.json", true)] {
        let disk = used.fork();
        let store = disk.open_root(Path::new("/base/data.forkpoint")).unwrap();
        let at = At::new(store, path);
        if change {
            disk.open(at, Access::Write).unwrap().write_at(b" ", 3).unwrap();
        } else {
            disk.unlink(at).unwrap();
        }
        let failed = stage.undo(&disk).unwrap_err();
        assert!(failed.to_string().contains("/base/data.forkpoint"), "{failed}");
        // nothing goes before it is known that all of the clone is there
        assert!(disk.tree(Path::new("/base/data"), false).contains_key(Path::new("base/11/1")));
    }
}

/// Interrupts what follows an interruption, at each of its own calls.
fn every_point_twice(
    name: &str,
    second: impl Fn(&Stage, &MemoryDisk) -> Result<(), Failed>,
    begun_only: bool,
) {
    let stage = stage(|_| {});
    let mut seed = 42;
    let mut points = 0;
    for first in (1..=stage.calls).step_by(3).chain([stage.calls + 1]) {
        let broken = stage.start.fork();
        broken.arm(Fault::Kill(first));
        let finished = stage.apply(&broken).is_ok();
        broken.restart(if first % 2 == 0 { Lose::Some(chance(&mut seed)) } else { Lose::Everything });
        if stage.state(&broken) == State::None || (finished && begun_only) {
            continue;
        }
        let whole = broken.fork();
        whole.arm(Fault::None);
        second(&stage, &whole).unwrap();
        let calls = whole.calls();
        for call in 1..=calls {
            let twice = broken.fork();
            twice.arm(if call % 3 == 0 { Fault::Short(call) } else { Fault::Kill(call) });
            assert!(second(&stage, &twice).is_err());
            let lose = match call % 4 {
                0 => Lose::Nothing,
                1 => Lose::Everything,
                _ => Lose::Some(chance(&mut seed)),
            };
            twice.restart(lose);
            let what = || {
                format!("{name}: killed at {first} of {}, then at {call} of {calls}, {lose:?}", stage.calls)
            };
            // the way back is open until the end; the way on until it was begun
            if !matches!(stage.state(&twice), State::Undoing | State::Undone) {
                stage.complete(&twice.fork(), &what);
                points += 1;
            }
            stage.back(&twice, &what);
            points += 1;
        }
    }
    println!("{name}: {points} second interruptions resumed or undone");
}

#[test]
fn every_call_of_a_resume() {
    every_point_twice("resume", Stage::resume, true);
}

#[test]
fn every_call_of_an_undo() {
    every_point_twice("undo", Stage::undo, false);
}

#[test]
fn a_full_disk() {
    let stage = stage(|_| {});
    let mut full = 0;
    let mut done = 0;
    for room in (0..).map(|n| n * 4096) {
        let disk = stage.start.fork();
        disk.leave_room(Some(room));
        match stage.apply(&disk) {
            Ok(()) => done += 1,
            Err(failed) => {
                full += 1;
                let what = || format!("room for {room} bytes: {failed}");
                assert!(
                    matches!(&failed.trouble, Trouble::Io { error, .. } if error.raw_os_error() == Some(ENOSPC)),
                    "{}",
                    what()
                );
                // still full
                let back = disk.fork();
                stage.back(&back, &what);
                disk.leave_room(None);
                stage.complete(&disk, &what);
            }
        }
        if done > 2 {
            break;
        }
    }
    assert!(full > 50, "{full}");
    println!("a full disk: {full} amounts of room, undone on the full disk, and resumed with more");
}

#[test]
fn what_changed_is_not_overwritten() {
    let stage = stage(|_| {});
    let touch = |disk: &MemoryDisk, path: &str| {
        let base = disk.open_root(Path::new("/base")).unwrap();
        let file = disk.open(At::new(base, path), Access::Write).unwrap();
        file.write_at(b"touched", 0).unwrap();
    };
    for (path, source) in [
        ("data/base/5/100", false),
        ("data/global/pg_control", false),
        ("data/postgresql.conf", false),
        ("wal/000000010000000000000004", false),
        ("source/base/5/100", true),
        ("source/global/pg_control", true),
        ("source-wal/00000002.history", true),
    ] {
        let disk = stage.start.fork();
        touch(&disk, path);
        let before = trees(&disk, &stage.pair, true);
        let failed = stage.apply(&disk).unwrap_err();
        assert!(!failed.halfway, "{path}: {failed}");
        let expected = if source { "the source has changed" } else { "the target has changed" };
        assert!(failed.to_string().contains(expected), "{path}: {failed}");
        assert_same(&trees(&disk, &stage.pair, true), &before, &|| path.into());
        assert_eq!(stage.state(&disk), State::None);
    }
    // the source moves half-way: there is only the way back
    for call in (1..=stage.calls).step_by(7) {
        let disk = stage.start.fork();
        disk.arm(Fault::Kill(call));
        stage.apply(&disk).unwrap_err();
        disk.restart(Lose::Nothing);
        if stage.state(&disk) != State::InProgress {
            continue;
        }
        touch(&disk, "source/global/pg_control");
        let failed = stage.resume(&disk).unwrap_err();
        assert!(failed.halfway && matches!(failed.trouble, Trouble::SourceMoved { .. }), "{failed}");
        stage.back(&disk, &|| format!("source moved after {call}"));
    }
    // a server has begun to replay
    let disk = stage.start.fork();
    stage.apply(&disk).unwrap();
    touch(&disk, "data/global/pg_control");
    let failed = stage.undo(&disk).unwrap_err();
    assert!(!failed.halfway && failed.to_string().contains("replay has begun"), "{failed}");
    assert!(status(&stage.pair.target(), None, &disk).unwrap().rewind.unwrap().replayed);
}

#[test]
fn pages_that_must_not_be_copied() {
    for (lsn, damage, words) in [
        (pair::NEWEST, 0, None),
        (Lsn(pair::NEWEST.0 + 8), 0, Some("behind the minimum recovery point")),
        (pair::NEWEST, 1, Some("the page is damaged")),
    ] {
        let mut stage = stage(|_| {});
        let disk = stage.start.fork();
        let base = disk.open_root(Path::new("/base")).unwrap();
        let file = disk.open(At::new(base, "source/base/5/100"), Access::Write).unwrap();
        let mut page = pair::page(b'B', 1, lsn);
        page[4000] ^= damage;
        write_all_at(&*file, &page, 8192).unwrap();
        disk.settle();
        stage.plan = pair::plan(&disk, &stage.pair);
        let done = stage.apply(&disk);
        match words {
            None => done.unwrap(),
            Some(words) => {
                let failed = done.unwrap_err();
                assert!(failed.halfway && failed.to_string().contains(words), "{failed}");
                assert!(failed.to_string().contains("block 1 "), "{failed}");
                stage.back(&disk, &|| words.into());
            }
        }
    }
}
