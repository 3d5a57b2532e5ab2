//! Both programs on copies of one target: what they say and what they leave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use super::cluster::Cluster;
use super::scenario::tree;
use super::{Server, give_away, other_user, scratch};

/// A number from the environment.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// The program under its own name and under that of its peer, where the user whom servers run as may run it.
pub fn programs() -> &'static Path {
    static PLACE: OnceLock<tempfile::TempDir> = OnceLock::new();
    PLACE
        .get_or_init(|| {
            let place = scratch();
            fs::set_permissions(place.path(), PermissionsExt::from_mode(0o755)).unwrap();
            let own = place.path().join("forkpoint");
            fs::copy(env!("CARGO_BIN_EXE_forkpoint"), &own).unwrap();
            symlink("forkpoint", place.path().join("pg_rewind")).unwrap();
            place
        })
        .path()
}

/// Who rewinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The major's own pg_rewind.
    Peer,
    /// forkpoint, called pg_rewind.
    Us,
    /// forkpoint rewind.
    Subcommand,
}

/// The program with its surroundings, without arguments.
pub fn program(by: By, target: &Cluster) -> Command {
    let mut command = target.command("pg_rewind");
    if by != By::Peer {
        let name = if by == By::Us { "pg_rewind" } else { "forkpoint" };
        let mut ours = Command::new(programs().join(name));
        ours.env_clear()
            .envs(command.get_envs().filter_map(|(k, v)| Some((k, v?))))
            .current_dir(target.dir());
        if let Some((uid, gid)) = other_user() {
            ours.uid(uid).gid(gid);
        }
        // the scratch directory may be on a filesystem in memory, where an undo store needs a place of its own
        let store = target.dir().join("undo");
        if !store.exists() {
            fs::create_dir(&store).unwrap();
            give_away(&store);
        }
        ours.env("FORKPOINT_UNDO_DIR", store);
        let path =
            std::env::join_paths([&target.server().bin, Path::new("/usr/bin"), Path::new("/bin")]).unwrap();
        ours.env("PATH", path);
        if by == By::Subcommand {
            ours.arg("rewind");
        }
        command = ours;
    }
    command
}

/// Runs one of them.
pub fn rewind(by: By, target: &Cluster, source: &Path, options: &[String]) -> Output {
    let mut command = program(by, target);
    let config = target.dir().join("elsewhere.conf");
    let options = options.iter().map(|o| o.replace("@CONFIG@", config.to_str().unwrap()));
    command.args(options).arg("-D").arg(target.pgdata()).arg("--source-pgdata").arg(source);
    command.stdin(Stdio::null()).output().expect("rewind")
}

/// What was said, without what may differ: the names of program and directories, the order in which a hash table gives its
/// entries, how often progress was shown, and what a server says of its own recovery.
pub fn words(by: By, target: &Cluster, output: &Output) -> (Option<i32>, String, Vec<String>) {
    let clean = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(target.dir().to_str().unwrap(), "<target>");
        let text = text.replace(target.server().bin.join("pg_rewind").to_str().unwrap(), "pg_rewind");
        if by == By::Subcommand { text.replace("forkpoint rewind", "pg_rewind") } else { text }
    };
    let server_says = |line: &str| {
        line.is_empty()
            || line.starts_with(|c: char| c.is_ascii_digit()) && line.contains(" [")
            || line.starts_with("PostgreSQL stand-alone backend")
            || line.starts_with("backend>")
    };
    let out: Vec<String> =
        clean(&output.stdout).lines().filter(|l| !server_says(l)).map(str::to_owned).collect();
    let err = clean(&output.stderr);
    let mut excluded = Vec::new();
    let mut kept: Vec<String> = Vec::new();
    // 16.2 has neither the source's history in --debug nor segments that are kept; later minors have
    let old_minor = target.server().major == "16";
    let mut in_source_history = false;
    for line in err.lines() {
        in_source_history = old_minor
            && (line.ends_with("Source timeline history:")
                || in_source_history && !line.ends_with("Target timeline history:"));
        let removed = line.starts_with("pg_rewind: pg_wal/0") && line.ends_with(" (REMOVE)");
        if in_source_history || old_minor && (removed || line.contains(": Not removing file ")) {
            continue;
        }
        if line.starts_with("pg_rewind: note: ") || server_says(line) {
            continue;
        }
        if line.contains(" excluded from source file list")
            || line.contains(": Not removing file ")
            || line.contains("using file \"")
        {
            excluded.push(line.to_owned());
            continue;
        }
        // how often it is shown depends on the time; the last one before the label says the sum
        let progress = |l: &str| l.ends_with(") copied") && l.contains(" kB (");
        if progress(line) {
            if kept.last().is_some_and(|last| progress(last)) {
                kept.pop();
            } else if kept
                .last()
                .is_some_and(|last| last.ends_with("creating backup label and updating control file"))
            {
                continue;
            }
        }
        kept.push(line.to_owned());
    }
    excluded.sort();
    excluded.dedup();
    kept.extend(excluded);
    (output.status.code(), out.join("\n"), kept)
}

/// The place of the CRC in the control file of a major.
pub fn crc_offset(major: &str) -> usize {
    match major {
        "18" => 292,
        "19" => 308,
        _ => 288,
    }
}

/// Path to type, mode and owner, and content.
pub type Tree = BTreeMap<PathBuf, (String, Vec<u8>)>;

/// The tree without the two times, and without what only an undo needs.
pub fn comparable(target: &Cluster) -> Tree {
    let mut found = tree(&target.pgdata());
    found.remove(Path::new("forkpoint.state"));
    if let Some((_, control)) = found.get_mut(Path::new("global/pg_control")) {
        let crc = crc_offset(&target.server().major);
        control[24..32].fill(0);
        control[crc..crc + 4].fill(0);
    }
    if let Some((_, label)) = found.get_mut(Path::new("backup_label")) {
        let text = String::from_utf8(label.clone()).unwrap();
        *label = text
            .lines()
            .filter(|l| !l.starts_with("START TIME: "))
            .collect::<Vec<_>>()
            .join("\n")
            .into_bytes();
    }
    found
}

/// What differs.
pub fn differences(ours: &Tree, theirs: &Tree) -> Vec<String> {
    let mut found = Vec::new();
    for path in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        match (ours.get(path), theirs.get(path)) {
            (Some(a), Some(b)) if a == b => {}
            (Some(a), Some(b)) if a.0 != b.0 => {
                found.push(format!("{}: {} here, {} by pg_rewind", path.display(), a.0, b.0));
            }
            (Some(a), Some(b)) => {
                let first = a.1.iter().zip(&b.1).position(|(x, y)| x != y);
                let (la, lb) = (a.1.len(), b.1.len());
                found.push(format!(
                    "{}: {la} bytes here, {lb} by pg_rewind, first difference {first:?}",
                    path.display()
                ));
            }
            (Some(a), None) => found.push(format!("{}: only here, {}", path.display(), a.0)),
            (None, Some(b)) => found.push(format!("{}: only by pg_rewind, {}", path.display(), b.0)),
            (None, None) => {}
        }
    }
    found
}

/// As many as one wants to read.
pub fn first_lines(lines: &[String]) -> String {
    lines.iter().take(30).fold(String::new(), |all, line| all + "\n      " + line)
}

/// Runs both on the target itself, which neither may change: they refuse, or it is a dry run. Gives back the status.
pub fn both_unchanged(
    (target, source): (&Cluster, &Path),
    told: &str,
    by: By,
    options: &[&str],
) -> Option<i32> {
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    let before = comparable(target);
    let peer = rewind(By::Peer, target, source, &options);
    let output = rewind(by, target, source, &options);
    let about = format!("{told}  options {options:?}");
    let status = same_words(&about, (by, target, &output), (target, &peer));
    let found = differences(&comparable(target), &before);
    assert!(found.is_empty(), "{about}\n    it was changed:{}", first_lines(&found));
    status
}

/// A dry run of both. pg_rewind may leave in its copy what it fetched from an archive; here the target stays as it was.
pub fn both_dry((target, source): (&Cluster, &Path), told: &str, by: By, options: &[&str]) -> Option<i32> {
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    let [ours, theirs] = [target.copy(), target.copy()];
    let before = comparable(&ours);
    let peer = rewind(By::Peer, &theirs, source, &options);
    let output = rewind(by, &ours, source, &options);
    let about = format!("{told}  options {options:?}");
    let status = same_words(&about, (by, &ours, &output), (&theirs, &peer));
    let found = differences(&comparable(&ours), &before);
    assert!(found.is_empty(), "{about}\n    it was changed:{}", first_lines(&found));
    status
}

/// Panics unless both said the same; gives back the status.
fn same_words(
    about: &str,
    (by, ours, output): (By, &Cluster, &Output),
    (theirs, peer): (&Cluster, &Output),
) -> Option<i32> {
    let (we, they) = (words(by, ours, output), words(By::Peer, theirs, peer));
    if we != they {
        let extra = |a: &[String], b: &[String]| -> Vec<String> {
            a.iter().filter(|l| !b.contains(l)).cloned().collect()
        };
        let in_order = we.2.iter().zip(&they.2).filter(|(a, b)| a != b).map(|(a, b)| format!("{a} | {b}"));
        panic!(
            "{about}\n    status {:?}, pg_rewind's {:?}\n    stdout {:?} and {:?}\n    only here:{}\n    only pg_rewind:{}\n    in its order:{}",
            we.0,
            they.0,
            we.1,
            they.1,
            first_lines(&extra(&we.2, &they.2)),
            first_lines(&extra(&they.2, &we.2)),
            first_lines(&in_order.collect::<Vec<_>>()),
        );
    }
    we.0
}

/// What both are to leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The same tree.
    Same,
    /// The same tree, but for what the crash recovery of each copy wrote into the target's own WAL: it has times in it.
    SameButRecovery,
}

/// Runs both with the same options on copies of the target and compares what they say and what they leave.
/// Gives back the copy that forkpoint rewound, and the status.
pub fn both(
    (target, source): (&Cluster, &Path),
    told: &str,
    by: By,
    options: &[&str],
    leave: Leave,
) -> (Cluster, Option<i32>) {
    let [ours, theirs] = [target.copy(), target.copy()];
    let options: Vec<String> = options.iter().map(|o| (*o).to_owned()).collect();
    for copy in [&ours, &theirs] {
        if options.iter().any(|o| o.contains("@CONFIG@")) {
            let moved = copy.dir().join("elsewhere.conf");
            fs::copy(copy.pgdata().join("postgresql.conf"), &moved).unwrap();
            give_away(&moved);
        }
    }
    let peer = rewind(By::Peer, &theirs, source, &options);
    let output = rewind(by, &ours, source, &options);
    let about = format!("{told}  options {options:?}");
    let status = same_words(&about, (by, &ours, &output), (&theirs, &peer));
    let (mut after, mut by_peer) = (comparable(&ours), comparable(&theirs));
    if leave == Leave::SameButRecovery {
        for (path, (_, content)) in after.iter_mut().chain(&mut by_peer) {
            let own = path.starts_with("pg_wal") && !source.join(path).exists();
            if own && content.len() >= 1 << 20 {
                content.clear();
            }
        }
    }
    if ours.server().major == "16" {
        // as above: 16.2 removes segments that later minors keep
        after.retain(|path, _| {
            let name = path.strip_prefix("pg_wal").ok().and_then(Path::to_str).unwrap_or_default();
            name.len() != 24 || by_peer.contains_key(path)
        });
    }
    let found = differences(&after, &by_peer);
    assert!(found.is_empty(), "{about}\n    {} differences:{}", found.len(), first_lines(&found));
    (ours, status)
}

/// One directory of a captured pair, owned by the user whom servers run as, for a server of its major.
pub fn bundled(server: &Server, from: &Path) -> Cluster {
    let cluster = Cluster::empty(server);
    let copied = Command::new("cp").arg("-a").arg(from).arg(cluster.pgdata()).status().unwrap();
    assert!(copied.success(), "{}", from.display());
    let mut todo = vec![cluster.pgdata()];
    while let Some(path) = todo.pop() {
        if path.is_symlink() {
            continue;
        }
        give_away(&path);
        if path.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
    }
    cluster
}
