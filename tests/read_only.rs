//! Nothing in a data directory is opened for writing, changed, or needs to be writable.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sha2::{Digest, Sha256};

/// System calls that open, make, change or remove something by its name, and those that change an open file.
const CALLS: &str = "open,openat,openat2,creat,unlink,unlinkat,rename,renameat,renameat2,mkdir,mkdirat,rmdir,link,\
linkat,symlink,symlinkat,truncate,ftruncate,chmod,fchmod,fchmodat,chown,fchown,lchown,fchownat,utime,utimes,\
utimensat,futimesat,setxattr,lsetxattr,fsetxattr,removexattr,lremovexattr,fremovexattr,mknod,mknodat,flock,\
fallocate,mmap";

/// A whole file system tree: what each entry is and holds.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    size: u64,
    owner: (u32, u32),
    /// Nanoseconds of the last change of the content and of the inode.
    times: (i128, i128),
    content: Vec<u8>,
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut found = BTreeMap::new();
    let mut queue = vec![root.to_owned()];
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            queue.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().as_os_str().as_bytes().to_vec()
        } else {
            Sha256::digest(fs::read(&path).unwrap()).to_vec()
        };
        let nanoseconds = |s: i64, n: i64| i128::from(s) * 1_000_000_000 + i128::from(n);
        let seen = Seen {
            mode: meta.mode(),
            size: if meta.is_dir() { 0 } else { meta.size() },
            owner: (meta.uid(), meta.gid()),
            times: (
                nanoseconds(meta.mtime(), meta.mtime_nsec()),
                nanoseconds(meta.ctime(), meta.ctime_nsec()),
            ),
            content,
        };
        found.insert(path, seen);
    }
    found
}

/// Every command that reads a pair.
fn commands(dir: &Path) -> Vec<Vec<String>> {
    let at = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (target, source) = (at("target"), at("source"));
    let mut archive = Vec::new();
    if dir.join("archive").is_dir() {
        archive = vec!["--wal-archive".to_owned(), at("archive")];
        let command = format!("cp {}/%f %p", at("archive"));
        archive.extend(["--restore-command".to_owned(), command]);
    }
    let with = |words: &[&str], more: &[String]| -> Vec<String> {
        words.iter().map(|w| (*w).to_owned()).chain(more.iter().cloned()).collect()
    };
    let only_archive: Vec<String> = archive.iter().take(2).cloned().collect();
    vec![
        with(&["report", &target, &source, "--format", "json"], &archive),
        with(&["report", &target, &source, "-v", "--threads", "2"], &archive),
        with(&["blocks", &target, &source], &archive),
        with(&["lost", &target, &source], &archive),
        with(&["lost", "--format", "sql", &target, &source], &archive),
        with(&["timelines", &target, &source], &only_archive),
        with(&["snapshots", &source, &target], &archive),
        with(&["controldata", &target], &[]),
        with(&["controldata", &source, "--format", "json"], &[]),
    ]
}

fn assert_same(before: &BTreeMap<PathBuf, Seen>, after: &BTreeMap<PathBuf, Seen>, what: &str) {
    for (path, seen) in before {
        assert_eq!(after.get(path), Some(seen), "{what} changed {}", path.display());
    }
    for path in after.keys() {
        assert!(before.contains_key(path), "{what} made {}", path.display());
    }
}

/// A line of strace that may change something in the pair's directories.
fn writes(line: &str, dir: &str) -> bool {
    // the arguments alone: "resumed" lines and results name nothing
    let Some((call, _)) = line.split_once('(') else { return false };
    let call = call.rsplit(' ').next().unwrap_or_default();
    match call {
        // with -y a descriptor shows its path
        "open" | "openat" | "openat2" => {
            let flags = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_TMPFILE", "O_APPEND"];
            line.contains(dir) && flags.iter().any(|flag| line.contains(flag))
        }
        "mmap" => line.contains(dir) && line.contains("PROT_WRITE") && line.contains("MAP_SHARED"),
        _ => line.contains(dir),
    }
}

#[test]
fn strace_lines_are_understood() {
    for (line, is) in [
        (
            r#"7 openat(AT_FDCWD</>, "/d/target/PG_VERSION", O_RDONLY|O_CLOEXEC) = 3</d/target/PG_VERSION>"#,
            false,
        ),
        (r#"openat(AT_FDCWD</>, "/d/target/x", O_RDWR|O_CREAT, 0666) = 3"#, true),
        (r#"[pid 8] openat(AT_FDCWD</tmp>, "/tmp/.tmpX", O_RDWR|O_TMPFILE, 0600) = 3"#, false),
        (r"9 utimensat(3</d/target/x>, NULL, NULL, 0) = 0", true),
        (r#"9 rename("/tmp/a", "/tmp/b") = 0"#, false),
        (r"9 mmap(NULL, 4096, PROT_READ, MAP_SHARED, 3</d/target/x>, 0) = 0x7f", false),
        (r"9 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 3</d/target/x>, 0) = 0x7f", true),
    ] {
        assert_eq!(writes(line, "/d/"), is, "{line}");
    }
}

#[test]
fn no_command_opens_anything_for_writing() {
    let strace = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let strace = strace.is_ok_and(|s| s.success());
    if !strace {
        println!("strace is not installed: compared by content");
    }
    for scenario in ["crashed-create-table", "recycled-archive", "tablespaces", "half-rewound"] {
        if !pairs::scenarios().iter().any(|name| name == scenario) {
            println!("{scenario} is not there");
            continue;
        }
        let scratch = tempfile::tempdir().unwrap();
        pairs::unpack_to(scenario, scratch.path());
        let root = scratch.path().canonicalize().unwrap();
        let log = tempfile::tempdir().unwrap();
        let log = log.path().join("strace");
        let before = tree(&root);
        for args in commands(&root) {
            let what = format!("{scenario}: forkpoint {}", args.join(" "));
            let mut command = if strace {
                let mut command = Command::new("strace");
                command
                    .args(["-f", "-y", "-s", "4096", "-e"])
                    .arg(format!("trace={CALLS}"))
                    .arg("-o")
                    .arg(&log);
                command.arg(env!("CARGO_BIN_EXE_forkpoint"));
                command
            } else {
                Command::new(env!("CARGO_BIN_EXE_forkpoint"))
            };
            let output = command.args(&args).current_dir("/").stdin(Stdio::null()).output().unwrap();
            // its WAL since the divergence is gone, and `lost` says so
            let status = if scenario == "half-rewound" && what.contains("forkpoint lost") { 3 } else { 0 };
            assert_eq!(
                output.status.code(),
                Some(status),
                "{what}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            if strace {
                let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
                let dir = format!("{}/", root.display());
                assert!(text.contains(&dir), "{what}: strace saw nothing\n{text}");
                // the restore command's own programs only read the archive
                let bad: Vec<&str> = text.lines().filter(|line| writes(line, &dir)).collect();
                assert!(bad.is_empty(), "{what}:\n{}", bad.join("\n"));
            }
            assert_same(&before, &tree(&root), &what);
        }
    }
}

#[test]
fn an_unprivileged_user_needs_to_read_only() {
    let scratch = tempfile::tempdir().unwrap();
    fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
    pairs::unpack_to("crashed-target", scratch.path());
    let (mut queue, mut all) = (vec![scratch.path().to_owned()], Vec::new());
    while let Some(path) = queue.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            queue.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        if !meta.is_symlink() {
            all.push((path, meta.is_dir()));
        }
    }
    for (path, is_dir) in &all {
        let mode = if *is_dir { 0o555 } else { 0o444 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    // the program may lie where the other user cannot reach it
    let program = tempfile::tempdir().unwrap();
    fs::set_permissions(program.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = program.path().join("forkpoint");
    fs::copy(env!("CARGO_BIN_EXE_forkpoint"), &copy).unwrap();
    let before = tree(scratch.path());
    for args in commands(scratch.path()) {
        let mut command = Command::new(&copy);
        if let Some((uid, gid)) = common::other_user() {
            command.uid(uid).gid(gid);
        }
        let output = command.args(&args).current_dir("/").stdin(Stdio::null()).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{err}");
        if args.iter().any(|arg| arg == "json") && args.iter().any(|arg| arg == "report") {
            // that the server could not write there is another matter, and a finding
            let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
            assert_eq!(report["unseen"], serde_json::json!([]), "{args:?}");
            assert_eq!(report["files"]["problems"], serde_json::json!([]), "{args:?}");
        }
    }
    assert_same(&before, &tree(scratch.path()), "a user without rights");
    for (path, is_dir) in &all {
        // to be removed again
        let mode = if *is_dir { 0o755 } else { 0o644 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
}
