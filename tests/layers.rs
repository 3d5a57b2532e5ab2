//! The rooms of ARCHITECTURE.md: none uses one below it, and few open files.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Files outside `source/` that may open files for reading, and why.
const MAY_READ: [(&str, &str); 14] = [
    ("tui/view/export.rs", "a new file that the user exports, never inside a data directory"),
    ("cli/tui.rs", "a stored report or plan"),
    ("names/disk.rs", "blocks of catalogs, by `pread`"),
    ("report/timezone.rs", "the time zone of TZ, as the C library reads it"),
    ("cli/report.rs", "the server's log that --log names"),
    ("cli/output.rs", "whether -o lies inside a data directory"),
    ("cli/folder.rs", "whether the directory that -o names is empty"),
    ("cli/demo.rs", "the bundled pair in a temporary directory"),
    ("plan/load.rs", "a stored plan"),
    ("plan/compare.rs", "relation files of both sides, block by block"),
    ("plan/preflight/pages.rs", "pages of the source that would be copied"),
    ("cli/waldump/images.rs", "whether the directory of --save-fullpage is empty"),
    ("dropin/control.rs", "PG_VERSION, control files and histories, with pg_rewind's messages"),
    ("cli/before.rs", "the undo store's pack, for a scratch directory"),
];

/// Files that may write, make or remove something, and why.
const MAY_WRITE: [(&str, &str); 14] = [
    ("tui/view/export.rs", "a new file that the user exports, never inside a data directory"),
    ("cli/output.rs", "what -o names"),
    ("cli/folder.rs", "the directory that -o names"),
    ("lost/scratch.rs", "scratch: what does not fit into memory, in nameless files"),
    ("cli/demo.rs", "the bundled pair in a temporary directory"),
    ("source/walset/mod.rs", "scratch: the restore command's directory"),
    ("source/walset/judge.rs", "scratch: unpacked segments in nameless files"),
    ("source/waltar.rs", "scratch: an unpacked tar archive in a nameless file"),
    ("cli/waldump/images.rs", "page images into the directory of --save-fullpage"),
    ("source/restore.rs", "runs the restore command in scratch"),
    ("dropin/server.rs", "runs the target's postgres: its configuration, its crash recovery"),
    ("dropin/run.rs", "scratch: segments that -c fetches"),
    ("cli/demo_rewind.rs", "the bundled pair's undo store in a temporary directory"),
    ("cli/before.rs", "scratch: a data directory as it was before its rewind"),
];

const READS: [&str; 11] = [
    "File::open",
    "File::options",
    "OpenOptions",
    "fs::read(",
    "fs::read_to_string(",
    "fs::read_dir(",
    "read_dir(",
    "openat(",
    "openat2(",
    "memmap2::",
    "Mmap::",
];

const WRITES: [&str; 37] = [
    "OpenOptions",
    "File::options",
    "File::create",
    "fs::write(",
    "fs::copy(",
    "fs::rename(",
    "fs::remove_",
    "fs::create_dir",
    "fs::hard_link(",
    "fs::set_permissions(",
    "set_permissions(",
    "set_modified(",
    "set_times(",
    "set_len(",
    "write_at(",
    "write_all_at(",
    "fs::symlink(",
    "unix::fs::",
    "tempfile(",
    "tempfile_in(",
    "tempdir(",
    "tempdir_in(",
    "tempfile::Builder",
    "DirBuilder::new()",
    "Command::new(",
    "unlink",
    "renameat",
    "mkdir",
    "ftruncate",
    "fchmod",
    "utimens",
    "O_WRONLY",
    "OFlags::WRONLY",
    "OFlags::RDWR",
    "OFlags::CREATE",
    "MmapMut",
    "map_mut",
];

/// Extension traits and the like that only look as if they wrote.
const HARMLESS: [&str; 4] = ["std::os::unix::fs::", "symlink_metadata(", "is_symlink(", "man::"];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The rooms in the order of the table, and which others each may use.
fn rooms() -> Vec<(String, Vec<String>)> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let names = |cell: &str| -> Vec<String> {
        cell.split('`').skip(1).step_by(2).map(|name| name.trim_end_matches('/').to_owned()).collect()
    };
    let mut rooms: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        let (name, may) = (names(cells[0]).remove(0), cells.last().unwrap().trim());
        let uses = match may {
            "–" => Vec::new(),
            "all above" => rooms.iter().map(|(room, _)| room.clone()).collect(),
            list => names(list),
        };
        assert!(may == "–" || !uses.is_empty(), "ARCHITECTURE.md: {name}: {may:?} is not understood");
        for used in &uses {
            assert!(
                rooms.iter().any(|(room, _)| room == used),
                "ARCHITECTURE.md: {name} uses {used} below it"
            );
        }
        rooms.push((name, uses));
    }
    assert!(rooms.len() > 5, "ARCHITECTURE.md: its table was not found");
    rooms
}

/// Every source file of a room with what it holds besides comments and tests.
fn files(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut queue = vec![dir.to_owned()];
    while let Some(at) = queue.pop() {
        for entry in fs::read_dir(at).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                queue.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.clone(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    // modules that are there for tests only
    let only_tests: Vec<PathBuf> = found
        .iter()
        .flat_map(|(path, text)| {
            let parent = path.parent().unwrap().to_owned();
            let lines: Vec<&str> = text.lines().collect();
            let named = lines.windows(2).filter(|w| w[0] == "#[cfg(test)]").filter_map(|w| {
                let name =
                    w[1].trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';')?.to_owned();
                Some(name)
            });
            named.map(move |name| parent.join(format!("{name}.rs"))).collect::<Vec<_>>()
        })
        .collect();
    found.retain(|(path, _)| !only_tests.contains(path));
    for (_, text) in &mut found {
        *text = code(text);
    }
    found
}

/// Without comments, and without the modules of tests, which stand last.
fn code(text: &str) -> String {
    let mut kept = String::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let tests =
            line == "#[cfg(test)]" && lines.peek().is_some_and(|l| l.starts_with("mod ") && l.ends_with('{'));
        if tests {
            break;
        }
        kept.push_str(if line.trim_start().starts_with("//") { "" } else { line });
        kept.push('\n');
    }
    kept
}

/// Rooms that the code names, each with the line of the first place.
fn used(code: &str, rooms: &[(String, Vec<String>)]) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut note = |at: usize, name: &str| {
        let name = name.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap_or_default();
        if rooms.iter().any(|(room, _)| room == name) {
            let line = code[..at].matches('\n').count() + 1;
            found.entry(name.to_owned()).or_insert(line);
        }
    };
    for prefix in ["crate::", "forkpoint::", "super::super::"] {
        for (at, _) in code.match_indices(prefix) {
            let rest = &code[at + prefix.len()..];
            if let Some(group) = rest.strip_prefix('{') {
                let (mut depth, mut start) = (0, true);
                for (n, c) in group.char_indices() {
                    match c {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        c if start && depth == 0 && !c.is_whitespace() => {
                            note(at, &group[n..]);
                            start = false;
                        }
                        _ => {}
                    }
                }
            } else {
                note(at, rest);
            }
        }
    }
    found
}

#[test]
fn no_room_uses_one_below_it() {
    let rooms = rooms();
    let mut wrong = Vec::new();
    let mut uses = 0;
    for (room, may) in &rooms {
        let dir = root().join("src").join(room);
        assert!(dir.is_dir(), "ARCHITECTURE.md names {room}/, which is not there");
        for (path, code) in files(&dir) {
            for (name, line) in used(&code, &rooms) {
                uses += 1;
                if name != *room && !may.contains(&name) {
                    wrong
                        .push(format!("{}:{line} uses {name}", path.strip_prefix(root()).unwrap().display()));
                }
            }
        }
    }
    assert!(uses > 50, "the paths were not found: {uses}");
    assert!(wrong.is_empty(), "ARCHITECTURE.md does not allow:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_in_the_table() {
    let rooms = rooms();
    for entry in fs::read_dir(root().join("src")).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            assert!(rooms.iter().any(|(room, _)| *room == name), "{name}/ is not in ARCHITECTURE.md");
        } else {
            assert!(["lib.rs", "main.rs"].contains(&name.as_str()), "src/{name} is in no room");
        }
    }
}

/// Places in files other than those allowed that hold one of the words.
fn places(words: &[&str], allowed: &[(&str, &str)], whole_rooms: &[&str]) -> Vec<String> {
    let src = root().join("src");
    let mut found = Vec::new();
    let mut needed: Vec<&str> = allowed.iter().map(|(file, _)| *file).collect();
    for (path, code) in files(&src) {
        let name = path.strip_prefix(&src).unwrap().to_str().unwrap().to_owned();
        if whole_rooms.iter().any(|room| name.starts_with(room)) {
            continue;
        }
        for (n, line) in code.lines().enumerate() {
            let line = HARMLESS.iter().fold(line.to_owned(), |line, word| line.replace(word, ""));
            if words.iter().any(|word| line.contains(word)) {
                needed.retain(|file| *file != name);
                if allowed.iter().all(|(file, _)| *file != name) {
                    found.push(format!("src/{name}:{}: {}", n + 1, line.trim()));
                }
            }
        }
    }
    for file in needed {
        assert!(src.join(file).is_file(), "src/{file} is listed here and is not there");
    }
    found
}

#[test]
fn only_source_opens_files() {
    let found = places(&READS, &MAY_READ, &["source/", "rewind/"]);
    assert!(found.is_empty(), "files are opened outside of src/source:\n{}", found.join("\n"));
}

#[test]
fn nothing_writes_but_output_and_scratch() {
    let found = places(&WRITES, &MAY_WRITE, &["rewind/"]);
    assert!(found.is_empty(), "something is written, made or started:\n{}", found.join("\n"));
}

/// The one room that writes into data directories does so in one file, under the trait that tests stand in for.
#[test]
fn one_file_of_the_rewind_reaches_the_system() {
    let words = ["std::fs", "rustix::", "process::Command", "tempfile"];
    let only: Vec<_> = places(&words, &[("rewind/real.rs", "the filesystem")], &[])
        .into_iter()
        .filter(|place| place.starts_with("src/rewind/"))
        .collect();
    assert!(only.is_empty(), "these bypass rewind/real.rs:\n{}", only.join("\n"));
}
