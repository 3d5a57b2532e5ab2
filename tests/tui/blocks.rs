//! The blocks: the story "follow a block from the heat map to the record", and what the view says held against the
//! facts, the plan, the files and a small reader of its own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use forkpoint::diagnosis::engine::{self, Options, Progress};
use forkpoint::dump::expr::Filter;
use forkpoint::facts::{Facts, Role};
use forkpoint::pg::{Fork, RelFile};
use forkpoint::plan::model::Action as Done;
use forkpoint::plan::{PlanOptions, derive};
use forkpoint::report::dto::Report;
use forkpoint::report::json;
use forkpoint::tui::action::ViewId;
use forkpoint::tui::look::Look;
use forkpoint::tui::saved::Picture;
use forkpoint::tui::start::What;
use forkpoint::tui::wal::{Place, touches};

use crate::robot::{Robot, pair};

const BLOCK: usize = 8192;

fn options(target: PathBuf, source: PathBuf) -> Options {
    Options {
        target,
        source,
        archives: Vec::new(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    }
}

fn of_pair(name: &str) -> Options {
    let pair = pair(name);
    options(pair.join("target"), pair.join("source"))
}

/// The relation of that schema and name.
fn relation(facts: &Facts, name: &str) -> RelFile {
    let named = facts.names.relations.iter();
    *named.clone().find(|(_, n)| format!("{}.{}", n.schema, n.name) == name).unwrap().0
}

#[test]
fn follow_a_block_from_the_heat_map_to_the_record() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("4");
    robot.check("blocks-tree-80x24");
    robot.keys("/public.acct<Enter><Tab><Right>");
    robot.check("blocks-map-80x24");
    robot.keys("<Enter>");
    robot.check("blocks-page-80x24");
    robot.keys("<Tab>");
    robot.check("blocks-bytes-80x24");
    robot.keys("<Tab>");
    robot.check("blocks-records-80x24");
    robot.resize((120, 40));
    robot.check("blocks-records-120x40");
    robot.keys("<BackTab><BackTab>n");
    robot.check("blocks-page-120x40");
    robot.resize((40, 12));
    robot.check("blocks-page-40x12");
    robot.resize((120, 40));
    robot.keys("<Esc>");
    robot.check("blocks-map-120x40");
    robot.keys("<Enter><Tab><Tab><Down><Enter>");
    assert_eq!(robot.app.view, ViewId::Records, "Enter on a record shows it among the records");
    // it is there, with the block's others and no more
    robot.shows("0/1009BE0").shows("block = 1");
    robot.keys("4").shows("records that touch it");
}

/// Counts of a row of the tree: target, before, source, both; and bytes to copy as they are shown.
fn row(line: &str) -> Option<(String, [u64; 4], String)> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let number = |text: &str| if text == "–" { Some(0) } else { text.replace(',', "").parse().ok() };
    let copy = match words.pop()? {
        "–" => "–".to_owned(),
        unit => format!("{} {unit}", words.pop()?),
    };
    let mut counts = [0; 4];
    for slot in counts.iter_mut().rev() {
        *slot = number(words.pop()?)?;
    }
    words.pop()?;
    Some((words.join(" "), counts, copy))
}

#[test]
fn counts_are_those_of_forkpoint_blocks_and_bytes_those_of_the_plan() {
    for name in ["basic-13", "basic-18", "tablespaces"] {
        let mut robot = Robot::open(name, (140, 300));
        robot.keys("4\\");
        let frame = robot.frame();
        let mut shown: BTreeMap<(String, String), ([u64; 4], String)> = BTreeMap::new();
        let mut database = String::new();
        for line in frame.lines() {
            if let Some(rest) = line.strip_prefix("▾ ") {
                database = rest.split_whitespace().next().unwrap().to_owned();
            } else if let Some((name, counts, copy)) = row(line) {
                shown.insert(
                    (database.clone(), name.trim_start_matches(['▸', ' ']).to_owned()),
                    (counts, copy),
                );
            }
        }
        let options = of_pair(name);
        let facts =
            engine::facts(&Options { blocks_only: true, ..options.clone() }, &Progress::default()).unwrap();
        let diagnosis = engine::diagnose(&options, &Progress::default()).unwrap();
        let plan = derive(&diagnosis, &PlanOptions::default(), &Progress::default()).unwrap();
        let version = facts.target.control.version_dir();
        let mut wanted: BTreeMap<(String, String), ([u64; 4], u64)> = BTreeMap::new();
        let mut seen = Vec::new();
        for (scan, side) in [(&facts.target_scan, Role::Target), (&facts.source_scan, Role::Source)] {
            for r in &scan.as_ref().unwrap().changes.relations {
                let (own, other) = match side {
                    Role::Target => (&facts.names, &facts.source_names),
                    Role::Source => (&facts.source_names, &facts.names),
                };
                let known = if side == Role::Source && seen.iter().any(|(rel, _)| *rel == r.rel) {
                    other
                } else {
                    own
                };
                let title = match known.relations.get(&r.rel) {
                    Some(n) => match (&n.toast_of, n.kind) {
                        (Some(of), 'i') => format!("{of} (TOAST index)"),
                        (Some(of), _) => format!("{of} (TOAST)"),
                        (None, _) => format!("{}.{}", n.schema, n.name),
                    },
                    None => r.rel.to_string(),
                };
                let database = match r.rel.db {
                    0 => "(shared)".to_owned(),
                    oid => facts.names.databases.get(&oid).cloned().unwrap_or_else(|| oid.to_string()),
                };
                let entry = wanted.entry((database, title)).or_default();
                let len = |c: &Option<forkpoint::scan::ForkChanges>| c.as_ref().map_or(0, |c| c.blocks.len());
                match side {
                    Role::Target => {
                        entry.0[0] += len(&r.after);
                        entry.0[1] += len(&r.before);
                        let theirs = facts.source_scan.iter().flat_map(|s| &s.changes.relations);
                        let theirs = theirs.clone().find(|o| (o.rel, o.fork) == (r.rel, r.fork));
                        let theirs = theirs.and_then(|o| o.after.as_ref());
                        if let (Some(a), Some(b)) = (&r.after, theirs) {
                            entry.0[3] += a.blocks.common(&b.blocks);
                        }
                    }
                    Role::Source => entry.0[2] += len(&r.after),
                }
                if !seen.contains(&(r.rel, r.fork)) {
                    seen.push((r.rel, r.fork));
                    entry.1 += planned(&plan, &r.rel.path(r.fork, &version));
                }
            }
        }
        assert!(!wanted.is_empty());
        for (title, (counts, bytes)) in wanted {
            let found = shown.get(&title).unwrap_or_else(|| panic!("{title:?} is not in\n{frame}"));
            assert_eq!(found.0, counts, "{name}: {title:?}\n{frame}");
            let bytes = if bytes == 0 { "–".into() } else { forkpoint::report::words::bytes(bytes) };
            assert_eq!(found.1, bytes, "{name}: bytes to copy for {title:?}\n{frame}");
        }
    }
}

/// Bytes of the blocks of a file that the plan takes from the source.
fn planned(plan: &forkpoint::plan::Plan, path: &str) -> u64 {
    let entry = plan.entries.iter().find(|e| e.path.as_path() == Path::new(path));
    entry.map_or(0, |entry| blocks_of(&entry.action)) * BLOCK as u64
}

fn blocks_of(action: &Done) -> u64 {
    match action {
        Done::Change { blocks, .. } => blocks.iter().map(|b| u64::from(b.count)).sum(),
        _ => 0,
    }
}

/// A page header and its line pointers as bufpage.h and itemid.h lay them out: what the frame has to say.
fn told(page: &[u8]) -> (Vec<(&'static str, String)>, Vec<String>) {
    let u16_at = |at: usize| u16::from_le_bytes([page[at], page[at + 1]]);
    let u32_at = |at: usize| u32::from(u16_at(at)) | u32::from(u16_at(at + 2)) << 16;
    let fields = vec![
        ("lsn", format!("{:X}/{:X}", u32_at(0), u32_at(4))),
        ("checksum", format!("{:#06X}, right", u16_at(8))),
        ("lower", u16_at(12).to_string()),
        ("upper", format!("{}, {} bytes free", u16_at(14), u16_at(14) - u16_at(12))),
        ("version", format!("{}, page size {}", page[18], u16_at(18) & 0xFF00)),
        ("prune xid", if u32_at(20) == 0 { "none".into() } else { u32_at(20).to_string() }),
    ];
    let items = (24..usize::from(u16_at(12)))
        .step_by(4)
        .map(|at| {
            let word = u32_at(at);
            let (offset, state, length) = (word & 0x7FFF, word >> 15 & 3, word >> 17);
            match state {
                0 => "unused".into(),
                2 => format!("redirected to item {offset}"),
                3 => "dead".into(),
                _ => {
                    let t = offset as usize;
                    let block = u32::from(u16_at(t + 12)) << 16 | u32::from(u16_at(t + 14));
                    let mut text = format!(
                        "normal at {offset}, {length} bytes, xmin {}, xmax {}, ctid ({block},{})",
                        u32_at(t),
                        u32_at(t + 4),
                        u16_at(t + 16)
                    );
                    let (mask, mask2) = (u16_at(t + 20), u16_at(t + 18));
                    for (holds, word) in [
                        (mask & 0x300 == 0x300, "xmin frozen"),
                        (mask & 0x300 == 0x100, "xmin committed"),
                        (mask & 0x300 == 0x200, "xmin aborted"),
                        (mask & 0x800 != 0, "xmax invalid"),
                        (mask & 0x400 != 0, "xmax committed"),
                        (mask & 0x1000 != 0, "xmax is a multixact"),
                        (mask & 0x50 == 0x50, "share lock"),
                        (mask & 0x50 == 0x40, "exclusive lock"),
                        (mask & 0x50 == 0x10, "key share lock"),
                        (mask & 0x80 != 0, "locked only"),
                        (mask & 0x2000 != 0, "made by an update"),
                        (mask & 0x20 != 0, "combo command"),
                        (mask & 0x4 != 0, "values out of line"),
                        (mask & 0x1 != 0, "has nulls"),
                        (mask2 & 0x2000 != 0, "keys updated or deleted"),
                        (mask2 & 0x4000 != 0, "HOT updated"),
                        (mask2 & 0x8000 != 0, "heap only"),
                    ] {
                        if holds {
                            text = format!("{text}, {word}");
                        }
                    }
                    let columns = mask2 & 0x7FF;
                    text = format!("{text}, {columns} column{}", if columns == 1 { "" } else { "s" });
                    text
                }
            }
        })
        .collect();
    (fields, items)
}

fn page(side: &Path, file: &str, block: usize) -> Vec<u8> {
    fs::read(side.join(file)).unwrap()[block * BLOCK..][..BLOCK].to_vec()
}

/// The two sides of the line with this label.
fn line_of(frame: &str, label: &str) -> (String, String, bool) {
    let line = frame
        .lines()
        .find(|l| l.starts_with(&format!("{label:<11}")))
        .unwrap_or_else(|| panic!("{label}\n{frame}"));
    let rest: String = line.chars().skip(11).collect();
    let side = (600 - 14) / 2;
    let left: String = rest.chars().take(side).collect();
    let right: String = rest.chars().skip(side + 3).collect();
    let sign: String = rest.chars().skip(side).take(3).collect();
    (left.trim_end().to_owned(), right.trim_end().to_owned(), sign.contains('≠'))
}

#[test]
fn headers_line_pointers_and_tuples_are_those_in_the_files() {
    for (name, table) in
        [("basic-18", "public.acct"), ("basic-13", "public.acct"), ("basic-18", "pg_catalog.pg_class")]
    {
        let mut robot = Robot::open(name, (600, 420));
        robot.keys("4");
        let facts = robot.app.shared.diagnosis.clone().unwrap();
        let rel = relation(&facts.facts, table);
        robot.keys(&format!("/{rel}<Enter><Tab><Enter>\\"));
        let frame = robot.frame();
        let file = rel.path(Fork::Main, "");
        let ours = page(facts.facts.target.dir.path(), &file, 0);
        let theirs = page(facts.facts.source.dir.path(), &file, 0);
        let (ours_said, theirs_said) = (told(&ours), told(&theirs));
        for ((label, left), (_, right)) in ours_said.0.iter().zip(&theirs_said.0) {
            assert_eq!(
                line_of(&frame, label),
                (left.clone(), right.clone(), left != right),
                "{table}: {label}"
            );
        }
        let items = ours_said.1.len().max(theirs_said.1.len());
        assert!(items > 3);
        for n in 0..items {
            let said = |side: &[String]| side.get(n).cloned().unwrap_or_default();
            let line = line_of(&frame, &format!("item {}", n + 1));
            assert_eq!(
                (line.0, line.1),
                (said(&ours_said.1), said(&theirs_said.1)),
                "{table}: item {}",
                n + 1
            );
        }
        let differing = ours.iter().zip(&theirs).filter(|(a, b)| a != b).count();
        robot.keys("<Tab>");
        robot.shows(&format!("bytes: {differing} of 8,192 differ"));
        // the bytes' columns, not the letters'
        let stars = |l: &str| {
            l.chars().enumerate().filter(|(n, c)| *c == '*' && (*n < 52 || (71..119).contains(n))).count()
        };
        let stars: usize = robot.frame().lines().map(stars).sum();
        assert_eq!(stars, 2 * differing, "each on both sides\n{}", robot.frame());
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            copy(&entry.path(), &to);
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path()).unwrap(), to).unwrap();
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn one_byte_that_differs_is_the_whole_difference() {
    let temp = tempfile::tempdir().unwrap();
    let from = std::env::current_dir().unwrap();
    let from = from.join(pair("basic-18")).canonicalize().unwrap();
    for side in ["target", "source"] {
        copy(&from.join(side), &temp.path().join(side));
    }
    let (target, source) = (temp.path().join("target"), temp.path().join("source"));
    let mut bytes = fs::read(target.join("base/5/16385")).unwrap();
    let at = BLOCK + 8000;
    bytes[at] ^= 0x20;
    fs::write(source.join("base/5/16385"), &bytes).unwrap();
    let mut robot = Robot::start(What::Pair(Box::new(options(target, source))), (80, 24), true);
    robot.settle();
    robot.keys("4/public.acct<Enter><Tab><Right><Enter>");
    robot.shows("WRONG").shows("1 differ");
    robot.keys("<Tab>");
    robot.shows("bytes: 1 of 8,192 differ").shows("8,000 bytes equal").shows("184 bytes equal");
    let frame = robot.frame();
    let (was, is) = (bytes[at] ^ 0x20, bytes[at]);
    let line = frame.lines().find(|l| l.starts_with("1f40")).unwrap();
    assert!(line.contains(&format!("*{was:02x} ")) && line.contains(&format!("*{is:02x} ")), "{line}");
    assert_eq!(line.matches('*').count(), 2, "{line}");
}

#[test]
fn what_one_side_lacks_is_said() {
    let mut robot = Robot::open("basic-18", (100, 30));
    robot.keys("4&lost_table<Enter>");
    robot.shows("with \"lost_table\" of");
    robot.keys("/public.lost_table<Enter><Tab>").shows("source no file");
    robot.keys("<Enter>").shows("the file is not there");
    robot.keys("<Tab>").shows("there is no page to compare with");
}

#[test]
fn sorted_filtered_searched() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("4").shows("target▼");
    robot.keys("o").shows("before▼");
    robot.shows("sorted by blocks that the target changed before");
    robot.keys("ooo").shows("to copy▼");
    robot.keys("o").shows("name▲");
    robot.keys("&public.acct_pk<Enter>").shows("public.acct_pkey");
    assert!(!robot.frame().contains("pg_class"), "{}", robot.frame());
    robot.keys("<Esc>").shows("54 relation forks; blocks changed");
    robot.keys("&nonsense").shows("no relation has \"nonsense\"");
    robot.keys("<Enter><Esc>").shows("54 relation forks; blocks changed");
    robot.keys("/16385<Enter><Tab>").shows("public.acct main");
    robot.keys("<Esc>&1663/5/16385<Enter>").shows("public.acct");
    // the other side
    robot.keys("<Esc><Tab>s").shows("target's changes");
    robot.keys("s").shows("source's changes");
    // marks
    robot.keys("sm").shows("◆");
    robot.keys("y");
    assert_eq!(robot.copied.last().unwrap(), "postgres.public.acct main block 0 base/5/16385");
    robot.keys("<Tab>gm").shows("marks are for blocks");
    robot.keys("'").shows("━ public.acct main");
    robot.keys("r");
    assert_eq!(robot.app.view, ViewId::Records);
}

#[test]
fn without_letters_beyond_ascii() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.look = Look { color: false, unicode: false };
    robot.keys("4/public.acct<Enter><Tab>");
    robot.shows("0 xx").shows("targetv");
    robot.keys("<Enter>").shows("! 0/1010E58");
    assert!(robot.frame().is_ascii(), "{}", robot.frame());
    assert!(!robot.frame().contains('?') || robot.frame().matches('?').count() == 1, "{}", robot.frame());
}

#[test]
fn a_stored_report_has_tree_and_map_but_no_pages() {
    let diagnosis = engine::diagnose(&of_pair("basic-18"), &Progress::default()).unwrap();
    let mut stored = Vec::new();
    json::write(&Report::from(&diagnosis), &mut stored).unwrap();
    let picture = Picture::read(&stored).unwrap();
    let mut robot = Robot::start(What::Report(Box::new(picture)), (80, 24), true);
    robot.keys("4").shows("target▼");
    robot.keys("/public.acct<Enter><Tab>").shows("2 blocks up to the last changed one");
    robot.shows("╳╳");
    robot.keys("<Enter>").shows("pages need the two directories: this is a stored report");
    robot.keys("r").shows("records need the two directories");
    assert_eq!(robot.app.view, ViewId::Blocks);
}

#[test]
fn records_of_a_block_are_all_there() {
    for name in ["basic-13", "basic-18", "recycled-archive", "twins"] {
        let mut options = of_pair(name);
        let archive = pair(name).join("archive");
        options.archives = archive.is_dir().then_some(archive).into_iter().collect();
        let progress = Progress::default();
        let facts = engine::facts(&options, &progress).unwrap();
        let mut compared = 0;
        for (role, scan) in [(Role::Target, &facts.target_scan), (Role::Source, &facts.source_scan)] {
            let scan = scan.as_ref().unwrap();
            for r in scan.changes.relations.iter().filter(|r| r.rel.rel >= 16384).take(6) {
                let (mut found, mut references) = (0, 0);
                let mut blocks = Vec::new();
                for changes in [&r.before, &r.after].into_iter().flatten() {
                    references += changes.references;
                    blocks.extend(changes.blocks.iter());
                }
                blocks.sort_unstable();
                blocks.dedup();
                for block in blocks {
                    let place = Place { rel: r.rel, fork: r.fork, block: Some(block) };
                    let touched = touches(&options, &facts, (role, place), 3, &progress).unwrap();
                    assert!(touched.first.len() <= 3 && touched.first.is_sorted_by_key(|t| t.lsn));
                    assert_eq!((touched.broken, touched.cut), (0, None));
                    found += touched.first.len() as u64 + touched.more;
                    assert!(Filter::parse(&place.filter(), &|_| Err(String::new())).is_ok());
                }
                assert_eq!(found, references, "{name} {role:?} {}", r.rel);
                compared += 1;
            }
        }
        assert!(compared > 2, "{name}");
    }
}

/// Views 1, 4 and 7 count the same blocks: those of the plan, file by file.
#[test]
fn the_blocks_to_copy_are_the_plans_in_every_view() {
    use forkpoint::report::words;

    let mut counted = 0;
    for name in ["basic-18", "basic-10", "twins", "cascade-1-2-3", "tablespaces", "maintenance-only"] {
        let mut robot = Robot::open(name, (160, 60));
        let diagnosis = robot.app.shared.diagnosis.clone().unwrap();
        let plan = derive(&diagnosis, &PlanOptions::default(), &Progress::default()).unwrap();
        let all: u64 = plan.entries.iter().map(|e| blocks_of(&e.action)).sum();
        counted += all;
        let shown = format!("{} = {}", words::count(all), words::bytes(all * 8192));
        robot.shows(&format!("blocks to copy        {shown} by the target's WAL"));
        robot.keys("7").shows(&format!("blocks      {shown} in "));
        robot.keys("4");
        let frame = robot.frame();
        let rows: Vec<&str> = frame.lines().filter(|l| l.starts_with(['▾', '▸'])).collect();
        assert!(!rows.is_empty(), "{frame}");
        for row in rows {
            let database = row.split_whitespace().nth(1).unwrap();
            let within = |path: &str| {
                let relations = &robot.app.shared.picture.as_ref().unwrap().relations;
                let file = path.split('.').next().unwrap();
                let known = relations.iter().find(|r| r.path == file);
                known.is_some_and(|r| {
                    r.database == database || (r.database.is_empty() && database == "(shared)")
                })
            };
            let here = plan.entries.iter().filter(|e| within(&e.path.as_path().to_string_lossy()));
            let bytes = here.map(|e| blocks_of(&e.action)).sum::<u64>() * 8192;
            let told = if bytes == 0 { "–".to_owned() } else { words::bytes(bytes) };
            assert!(row.trim_end().ends_with(&told), "{name} {told}: {row}");
        }
    }
    assert!(counted > 60, "{counted}");
}
