//! `--verify=full`: what replay does not mend is found before the control file comes back, and what two sound servers have
//! different is not reported. On every captured pair that can be rewound, and on failovers of real servers.
//!
//! `FORKPOINT_VERIFIES=20` tries so many random failovers of each major and story, `FORKPOINT_MAJORS` narrows the majors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use common::cluster::{Cluster, Mode};
use common::drop_in::{bundled, number, programs};
use common::majors::{say, server};
use common::scenario::{Story, Wishes, make};
use common::{Server, give_away, other_user};
use forkpoint::pg::{BLOCK_SIZE, checksum, mask, page};
use forkpoint::source::trees::relation_file;

/// The program on a target, in the directory that holds it.
fn run(target: &Cluster, args: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(programs().join("forkpoint"));
    command.args(args).current_dir(target.dir()).stdin(Stdio::null()).env("TZ", "UTC");
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    let output = command.output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    (output.status.code(), text)
}

fn ends(target: &Cluster, args: &[&str], status: i32) -> String {
    let (found, text) = run(target, args);
    assert_eq!(found, Some(status), "{args:?}: {text}");
    text
}

/// Plans, and carries that out with all of it verified; `None`: there is nothing to do, or the plan is refused.
fn verified(target: &Cluster, source: &Path) -> Option<(Option<i32>, String)> {
    let undo = target.dir().join("undo");
    if !undo.exists() {
        fs::create_dir(&undo).unwrap();
        give_away(&undo);
    }
    let (planned, _) = run(target, &["plan", "data", source.to_str().unwrap(), "-o", "plan.json", "-q"]);
    if planned != Some(0) || !target.dir().join("plan.json").exists() {
        return None;
    }
    // a crashed target would be watched for a while
    let state = fs::read(target.pgdata().join("global/pg_control")).unwrap()[16];
    let crashed = !matches!(state, 1 | 2);
    let mut args = vec!["apply", "plan.json", "--yes", "--verify=full", "--undo-dir", "undo", "-q"];
    args.extend(crashed.then_some("--target-is-stopped"));
    Some(run(target, &args))
}

/// Relation files of a data directory.
fn relations(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut todo = vec![data.join("base"), data.join("global")];
    while let Some(path) = todo.pop() {
        for entry in fs::read_dir(path).unwrap().map(|e| e.unwrap().path()) {
            let name = entry.strip_prefix(data).unwrap().to_owned();
            if entry.is_dir() {
                todo.push(entry);
            } else if relation_file(&name).is_some() {
                found.insert(name, fs::read(entry).unwrap());
            }
        }
    }
    found
}

#[test]
fn every_captured_pair() {
    let (mut passed, mut not) = (Vec::new(), Vec::new());
    for scenario in pairs::scenarios() {
        let directory = pairs::unpack(&scenario);
        let whole =
            ["target", "source"].iter().all(|side| directory.join(side).join("global/pg_control").exists());
        // its links lead out of what a copy of the directory holds
        if !whole || scenario == "tablespaces" {
            continue;
        }
        // no server runs here
        let nobody = Server { major: String::new(), bin: PathBuf::new() };
        let [target, source] = ["target", "source"].map(|side| bundled(&nobody, &directory.join(side)));
        match verified(&target, &source.pgdata()) {
            None => not.push(scenario),
            Some((status, text)) => {
                assert_eq!(status, Some(0), "{scenario}: {text}");
                passed.push(scenario);
            }
        }
    }
    say(&format!("verified: {}", passed.join(", ")));
    say(&format!("no plan: {}", not.join(", ")));
    assert!(passed.len() >= 15, "too few: {passed:?}");
}

/// A page of every kind of index, tuples that ended, entries found dead, a sequence between two records: all on disk
/// before the failover, and each server has its own hints of it.
fn with_hints(server: &Server) -> (Cluster, Cluster) {
    let old = Cluster::init(server, &[]);
    old.start();
    old.sql(
        "CREATE TABLE hinted (id int PRIMARY KEY, n int, w text, p point, a int[]);
         CREATE INDEX ON hinted USING hash (n); CREATE INDEX ON hinted USING gist (p);
         CREATE INDEX ON hinted USING gin (a); CREATE INDEX ON hinted USING spgist (w);
         CREATE INDEX ON hinted USING brin (id); CREATE SEQUENCE counter;
         CREATE TABLE pending (a int[]);
         CREATE INDEX pending_a ON pending USING gin (a) WITH (fastupdate = on);
         CREATE TABLE quiet (id int, w text); CREATE TABLE busy (id int);
         INSERT INTO quiet SELECT i, md5(i::text) FROM generate_series(1, 2000) i; CHECKPOINT",
    );
    let new = old.standby();
    new.start();
    old.sql(
        "INSERT INTO hinted SELECT i, i % 50, md5(i::text), point(i, i), ARRAY[i, i + 1] FROM generate_series(1, 3000) i",
    );
    old.sql("DELETE FROM hinted WHERE id % 7 = 0");
    old.sql("UPDATE hinted SET n = n + 1 WHERE id % 11 = 0");
    old.sql("BEGIN; DELETE FROM hinted WHERE id % 13 = 0; ROLLBACK");
    for scan in ["n = 5", "id < 2000", "p <@ box '((0,0),(900,900))'", "w < 'c'"] {
        old.sql(&format!(
            "SET enable_seqscan = off; SET enable_bitmapscan = off; SELECT count(*) FROM hinted WHERE {scan}"
        ));
    }
    // the list of entries that are not in the index yet is emptied: replay makes its pages anew
    old.sql("INSERT INTO pending SELECT ARRAY[i, i + 1, i + 2] FROM generate_series(1, 3000) i");
    old.sql("VACUUM pending");
    old.sql("SELECT count(*) FROM hinted; SELECT nextval('counter') FROM generate_series(1, 5)");
    new.wait_for(&old);
    old.sql("CHECKPOINT");
    new.wait_for(&old);
    new.sql("CHECKPOINT");
    new.promote();
    old.sql("INSERT INTO busy SELECT generate_series(1, 500); UPDATE hinted SET n = 0 WHERE id = 1");
    new.sql("INSERT INTO busy SELECT generate_series(1, 5)");
    old.stop(Mode::Fast);
    new.stop(Mode::Fast);
    (old, new)
}

/// Changes a value on block 3 of `quiet`, with a checksum that is right, and gives the file's path.
fn another_value(target: &Cluster, file: &str) -> PathBuf {
    let path = target.pgdata().join(file);
    let mut bytes = fs::read(&path).unwrap();
    let page: &mut [u8; BLOCK_SIZE] = bytes[3 * BLOCK_SIZE..4 * BLOCK_SIZE].first_chunk_mut().unwrap();
    let upper = usize::from(u16::from_le_bytes([page[14], page[15]]));
    page[upper + 30] ^= 1;
    let sum = checksum::of(page, 3);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    path
}

/// What happens to the target after everything was copied is found before the control file comes back, and once it is
/// mended the rewind is completed. `quiet` is a relation of which no block is copied, of `copied` the first one is.
fn changed_half_way(old: &Cluster, source: &Path, quiet: &str, copied: &str) {
    let target = old.copy();
    let path = another_value(&target, quiet);
    assert_eq!(verified(&target, source).unwrap().0, Some(5));
    let right = fs::read(old.pgdata().join(quiet)).unwrap();
    let resumed = |status| {
        let text = ends(&target, &["resume", "data", "--undo-dir", "undo", "--verify=full", "-q"], status);
        assert_eq!(target.pgdata().join("global/pg_control").exists(), status == 0, "{text}");
        text
    };
    fs::write(&path, &right).unwrap();

    let block = target.pgdata().join(copied);
    let whole = fs::read(&block).unwrap();
    let theirs = fs::read(source.join(copied)).unwrap();
    assert!(whole[..BLOCK_SIZE] == theirs[..BLOCK_SIZE], "the first block of {copied} was to be copied");
    let mut other = whole.clone();
    other[BLOCK_SIZE - 3] ^= 1;
    fs::write(&block, other).unwrap();
    let text = resumed(5);
    assert!(text.contains(copied) && text.contains("read back"), "{text}");
    fs::write(&block, whole).unwrap();

    fs::write(&path, [&right[..], &[0; BLOCK_SIZE]].concat()).unwrap();
    let more = path.with_file_name("77777");
    fs::write(&more, [0; BLOCK_SIZE]).unwrap();
    // pg_aggregate, which nobody has written to
    let gone = path.with_file_name("2600");
    let kept = path.with_file_name("kept");
    fs::rename(&gone, &kept).unwrap();
    let text = resumed(5);
    let longer =
        format!("{quiet}: it has {} bytes, the source's has {}", right.len() + BLOCK_SIZE, right.len());
    assert!(text.contains(&longer) && text.contains("77777: the source does not have it"), "{text}");
    assert!(text.contains("2600: only the source has it"), "{text}");
    fs::write(&path, &right).unwrap();
    fs::remove_file(&more).unwrap();
    fs::rename(&kept, &gone).unwrap();
    resumed(0);
}

fn hints_and_a_value(server: &Server) {
    let (old, new) = with_hints(server);
    let source = new.pgdata();
    let (ours, theirs) = (relations(&old.pgdata()), relations(&source));
    let mut hints = 0;
    for (path, ours) in &ours {
        let Some(theirs) = theirs.get(path) else { continue };
        let pages = ours.as_chunks::<BLOCK_SIZE>().0.iter().zip(theirs.as_chunks::<BLOCK_SIZE>().0);
        hints += pages.zip(0..).filter(|((a, b), n)| a != b && mask::difference(a, b, *n).is_none()).count();
    }
    assert!(hints > 10, "{hints} blocks differ by hints: a poor test");
    let sound = old.copy();
    let (status, text) = verified(&sound, &source).unwrap();
    assert_eq!(status, Some(0), "{text}");
    say(&format!("PostgreSQL {}: {hints} blocks that differ by hints alone are let pass", server.major));

    new.start();
    let file = new.sql("SELECT pg_relation_filepath('quiet')");
    let copied = new.sql("SELECT pg_relation_filepath('hinted')");
    new.stop(Mode::Fast);
    changed_half_way(&old, &source, &file, &copied);
    let changed = old.copy();
    let path = another_value(&changed, &file);
    let before = fs::read(&path).unwrap();
    let (status, text) = verified(&changed, &source).unwrap();
    assert_eq!(status, Some(5), "{text}");
    let said = text.contains(&format!("{file}, block 3: ")) && text.contains("1 place differs");
    assert!(said && text.contains("forkpoint undo") && text.contains("plan --compare"), "{text}");
    assert!(!changed.pgdata().join("global/pg_control").exists(), "no server may start on it");
    // without the option, too, and with less
    let resume = ["resume", "data", "--undo-dir", "undo", "-q"];
    for args in [&resume[..], &[&resume[..], &["--verify"]].concat()] {
        let text = ends(&changed, args, 5);
        assert!(text.contains(&format!("{file}, block 3: ")), "{args:?}: {text}");
        assert!(!changed.pgdata().join("global/pg_control").exists(), "{args:?}: {text}");
    }
    let text = ends(&changed, &resume, 5);
    assert!(text.contains("with --verify=none it takes the result as it is"), "{text}");
    let taken = old.copy();
    another_value(&taken, &file);
    assert_eq!(verified(&taken, &source).unwrap().0, Some(5));
    ends(&taken, &[&resume[..], &["--verify=none"]].concat(), 0);
    ends(&changed, &["undo", "data", "--undo-dir", "undo"], 0);
    assert_eq!(fs::read(&path).unwrap(), before);
    // what it advises
    let source = source.to_str().unwrap();
    ends(&changed, &["plan", "data", source, "--compare", "-o", "plan.json", "-q"], 0);
    ends(&changed, &["apply", "plan.json", "--yes", "--verify=full", "--undo-dir", "undo", "-q"], 0);
    let [a, b] = [fs::read(&path).unwrap(), fs::read(Path::new(source).join(&file)).unwrap()];
    assert_eq!(
        page::lsn(a[..BLOCK_SIZE].try_into().unwrap()),
        page::lsn(b[..BLOCK_SIZE].try_into().unwrap())
    );
    assert!(a == b, "{file} is not the source's");
}

#[test]
fn random_failovers() {
    let mut runs = 0;
    for major in ["13", "15", "16", "17", "18"] {
        let Some(server) = server(major) else { continue };
        let stories = [Story::Failover, Story::TwoFailovers, Story::MiddlePrimary, Story::StandbyTarget];
        let rounds = number("FORKPOINT_VERIFIES", 1);
        for n in 0..rounds * stories.len() as u64 {
            // one story for each major unless more is asked for
            if std::env::var_os("FORKPOINT_VERIFIES").is_none() && n != major.parse::<u64>().unwrap() % 4 {
                continue;
            }
            let story = stories[n as usize % stories.len()];
            let seed = number("FORKPOINT_SEED", 1) * 1000 + major.parse::<u64>().unwrap() + n * 100;
            let stop = if n % 3 == 2 { Mode::Immediate } else { Mode::Fast };
            let scenario = make(&server, Wishes { seed, story, stop, archived: false });
            let target = scenario.target.copy();
            if let Some((status, text)) = verified(&target, &scenario.source.pgdata()) {
                assert_eq!(status, Some(0), "{}\n{text}", scenario.told);
                runs += 1;
            }
        }
    }
    say(&format!("random failovers: {runs} verified"));
}

macro_rules! hints_of {
    ($($name:ident $major:literal),*) => { $(
        #[test]
        fn $name() {
            if let Some(server) = server($major) {
                hints_and_a_value(&server);
            }
        }
    )* };
}
hints_of!(hints_13 "13", hints_15 "15", hints_16 "16", hints_17 "17", hints_18 "18", hints_19 "19");
