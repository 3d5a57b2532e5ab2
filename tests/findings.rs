//! Every finding code: a fixture that triggers it, or why directories cannot prove it.
//!
//! A fixture is a pair that was captured from real servers, or a copy of one that was changed on disk. Where neither
//! can bring a state about (a full disk, two tablespaces of one OID), the facts of a real pair are changed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "common/pairs.rs"]
mod pairs;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use forkpoint::diagnosis::Diagnosis;
use forkpoint::diagnosis::engine::{Options, Progress, facts};
use forkpoint::diagnosis::log::explain;
use forkpoint::diagnosis::verdict::{Action, Picture, judge};
use forkpoint::facts::{Facts, FreeSpace, Loss, Role, Unproven, Unseen};
use forkpoint::findings::{CODES, Finding, Provable, Severity, find};
use forkpoint::pg::Lsn;
use forkpoint::pg::control::ControlFile;
use forkpoint::scan::{FileEvent, PlacedEvent, Xact, XactEnd};
use forkpoint::source::archive::Place;
use forkpoint::source::walset::{Reason, Rejected};

fn facts_of(target: &Path, source: &Path, archives: &[PathBuf]) -> Facts {
    let options = Options {
        target: target.into(),
        source: source.into(),
        archives: archives.to_vec(),
        restore_command: None,
        threads: 1,
        scan_source: true,
        blocks_only: false,
    };
    facts(&options, &Progress::default()).unwrap()
}

fn conclude(facts: Facts) -> Diagnosis {
    let findings = find(&facts);
    let verdict = judge(&facts, &findings);
    Diagnosis { facts, findings, verdict }
}

/// A captured pair as it is, with its archive.
fn real(scenario: &str) -> Facts {
    let dir = pairs::unpack(scenario);
    let archive = dir.join("archive");
    let archives = if archive.exists() { vec![archive] } else { Vec::new() };
    facts_of(&dir.join("target"), &dir.join("source"), &archives)
}

/// A copy of a captured pair that may be changed.
struct Copy {
    dir: tempfile::TempDir,
}

impl Copy {
    fn of(scenario: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let from = pairs::unpack(scenario).join(".");
        let copied = std::process::Command::new("cp").arg("-a").arg(from).arg(dir.path()).status().unwrap();
        assert!(copied.success());
        Self { dir }
    }

    fn target(&self) -> PathBuf {
        self.dir.path().join("target")
    }

    fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    fn facts(&self) -> Facts {
        let archive = self.dir.path().join("archive");
        let archives = if archive.exists() { vec![archive] } else { Vec::new() };
        facts_of(&self.target(), &self.source(), &archives)
    }
}

fn write(path: impl AsRef<Path>, text: &str) {
    fs::write(path, text).unwrap();
}

fn append(path: impl AsRef<Path>, text: &str) {
    let old = fs::read_to_string(&path).unwrap();
    fs::write(path, old + "\n" + text + "\n").unwrap();
}

fn set_mode(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
}

/// Names of the WAL segments in a directory, sorted.
fn segments(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|n| n.len() == 24)
        .collect();
    names.sort();
    names
}

/// Changes one field of a control file and makes its CRC right again. The field is found by what it does.
fn set_control<T: PartialEq>(dir: &Path, field: impl Fn(&ControlFile) -> T, value: &[u8]) {
    let path = dir.join("global/pg_control");
    let mut bytes = fs::read(&path).unwrap();
    let before = field(&ControlFile::parse(&bytes).unwrap());
    let crc_at = (200..400)
        .find(|at| crc32c::crc32c(&bytes[..*at]).to_le_bytes() == bytes[*at..*at + 4])
        .expect("a control file with a right CRC");
    let at = (0..crc_at)
        .find(|at| {
            let mut changed = bytes.clone();
            changed[*at] ^= 1;
            ControlFile::parse(&changed).is_ok_and(|c| field(&c) != before)
        })
        .expect("a byte that changes the field");
    bytes[at..at + value.len()].copy_from_slice(value);
    let crc = crc32c::crc32c(&bytes[..crc_at]).to_le_bytes();
    bytes[crc_at..crc_at + 4].copy_from_slice(&crc);
    fs::write(path, bytes).unwrap();
}

/// Overwrites bytes of the target's WAL at `lsn` of timeline 1.
fn damage_wal(copy: &Copy, lsn: Lsn, bytes: &[u8]) {
    let facts = copy.facts();
    let size = facts.target.segment_size;
    let name = forkpoint::pg::WalName::Segment(1, size.segno(lsn)).file_name(size);
    let path = copy.target().join("pg_wal").join(name);
    let mut content = fs::read(&path).unwrap();
    let at = size.offset(lsn) as usize;
    content[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, content).unwrap();
}

/// The history that the source was promoted with, its switch point replaced.
fn move_switch_point(copy: &Copy, to: Lsn) {
    let path = copy.source().join("pg_wal/00000002.history");
    let text = fs::read_to_string(&path).unwrap();
    let fields: Vec<&str> = text.trim_end().split('\t').collect();
    write(path, &format!("{}\t{to}\t{}\n", fields[0], fields[2]));
}

/// A code, the warnings and errors (with `!`) that its fixture gives, and the fixture.
struct Case {
    code: &'static str,
    expected: &'static [&'static str],
    fixture: fn() -> Facts,
}

const fn case(code: &'static str, expected: &'static [&'static str], fixture: fn() -> Facts) -> Case {
    Case { code, expected, fixture }
}

fn cases() -> Vec<Case> {
    vec![
        case("FP01", &["FP01!"], || real("basic-18")),
        case("FP01", &["FP01!"], || real("basic-10")),
        case("FP02", &["FP02!"], || {
            let copy = Copy::of("switchover");
            let end = copy.facts().target.control.checkpoint;
            move_switch_point(&copy, end);
            copy.facts()
        }),
        case("FP03", &["FP03!"], || real("standby-ahead")),
        case("FP03", &["FP03!"], || real("standby-received-only")),
        case("FP04", &["FP01!"], || real("contrecord")),
        case("FP05", &["FP05!"], || {
            let dir = pairs::unpack("basic-18");
            facts_of(&dir.join("source"), &dir.join("target"), &[])
        }),
        case("FP06", &["FP06!", "FP61"], || {
            let copy = Copy::of("rewound");
            set_control(&copy.target(), |c| c.min_recovery_point_tli, &1_u32.to_le_bytes());
            copy.facts()
        }),
        case("FP07", &["FP01!", "FP07", "FP71"], || real("just-promoted")),
        case("FP07", &["FP01!", "FP07!", "FP71"], || {
            let copy = Copy::of("just-promoted");
            let checkpoint = copy.facts().source.control.checkpoint;
            set_control(&copy.source(), |c| c.min_recovery_point_tli, &1_u32.to_le_bytes());
            set_control(&copy.source(), |c| c.min_recovery_point, &checkpoint.0.to_le_bytes());
            copy.facts()
        }),
        case("FP08", &["FP08!"], || real("twins")),
        case("FP08", &["FP08!"], || real("twins-middle")),
        case("FP09", &["FP61", "FP62"], || real("switchover")),
        case("FP10", &["FP10!"], || {
            let mut facts = real("cascade-1-2-3b");
            let history = &mut facts.source.lineage.history;
            history.entries.retain(|e| e.timeline != 2);
            facts
        }),
        case("FP11", &["FP11!"], || {
            let copy = Copy::of("cascade-1-2-3");
            let path = copy.source().join("pg_wal/00000003.history");
            let text = fs::read_to_string(&path).unwrap();
            write(path, text.trim_start().split_once('\n').unwrap().1.trim_start());
            copy.facts()
        }),
        case("FP12", &["FP12!"], || {
            facts_of(
                &pairs::unpack("basic-18").join("target"),
                &pairs::unpack("compress-lz4").join("source"),
                &[],
            )
        }),
        case("FP13", &["FP13!"], || {
            let copy = Copy::of("basic-18");
            set_control(&copy.source(), |c| c.catalog_version, &202_406_281_u32.to_le_bytes());
            copy.facts()
        }),
        case("FP13", &["FP01!", "FP13"], || rejected(Reason::OtherMajor(0xD110))),
        case("FP14", &["FP01!", "FP14!"], || {
            let copy = Copy::of("basic-18");
            let path = copy.target().join("global/pg_control");
            let mut bytes = fs::read(&path).unwrap();
            bytes[200] ^= 0x40;
            fs::write(path, bytes).unwrap();
            copy.facts()
        }),
        case("FP14", &["FP01!", "FP14!"], || {
            let copy = Copy::of("basic-18");
            let path = copy.target().join("global/pg_control");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..512]).unwrap();
            copy.facts()
        }),
        case("FP15", &["FP01!", "FP15!"], || real("no-hints")),
        case("FP16", &["FP01!", "FP16"], || real("crashed-target")),
        case("FP17", &["FP01!", "FP17"], || {
            let copy = Copy::of("basic-18");
            fs::remove_file(copy.target().join("postgresql.conf")).unwrap();
            copy.facts()
        }),
        case("FP18", &["FP01!"], || real("contrecord")),
        case("FP19", &["FP01!", "FP19", "FP25"], || real("recycled-archive")),
        case("FP19", &["FP01!", "FP19!"], || {
            let dir = pairs::unpack("recycled-archive");
            facts_of(&dir.join("target"), &dir.join("source"), &[])
        }),
        case("FP21", &["FP01!", "FP21!"], || {
            let copy = Copy::of("basic-18");
            let divergence = copy.facts().divergence.unwrap().lsn;
            damage_wal(&copy, divergence.plus(8), &[0x65, 0x65, 0x6B, 0x6C, 0x79, 0, 0, 0]);
            copy.facts()
        }),
        case("FP21", &["FP01!", "FP21"], || rejected(Reason::OtherSystem(42))),
        case("FP22", &["FP01!", "FP22!"], || {
            let copy = Copy::of("basic-18");
            let first = copy.facts().transactions.iter().map(|x| x.end_lsn).min().unwrap();
            damage_wal(&copy, first, &[0; 64]);
            copy.facts()
        }),
        case("FP22", &[], || real("healthy-standby")),
        case("FP23", &["FP23!", "FP61", "FP62"], || {
            let dir = pairs::unpack("healthy-standby");
            let mut facts = facts_of(&dir.join("source"), &dir.join("target"), &[]);
            facts.relation = forkpoint::facts::Relation::TargetBehind;
            let size = facts.target.segment_size.bytes();
            let end = facts.target.end.as_mut().unwrap();
            end.lsn = end.lsn.plus(size);
            facts
        }),
        case("FP24", &["FP01!"], || real("contrecord")),
        case("FP25", &["FP01!", "FP19", "FP25"], || real("recycled-archive")),
        case("FP26", &["FP01!", "FP26", "FP45"], || real("slots")),
        case("FP26", &["FP26"], || {
            let copy = Copy::of("healthy-standby");
            append(copy.target().join("postgresql.auto.conf"), "primary_slot_name = 'standby_7'");
            copy.facts()
        }),
        case("FP27", &["FP27!"], || {
            let copy = Copy::of("switchover");
            for name in segments(&copy.target().join("pg_wal")) {
                fs::remove_file(copy.target().join("pg_wal").join(name)).unwrap();
            }
            copy.facts()
        }),
        case("FP27", &["FP27", "FP61", "FP62"], wal_in_the_archive_only),
        case("FP28", &["FP01!", "FP19", "FP25", "FP28!"], || {
            let mut facts = real("recycled-archive");
            let lost = facts.wal.follow.as_mut().unwrap();
            lost.segments.iter_mut().find(|s| !s.on_target && !s.on_source).unwrap().found.clear();
            facts
        }),
        case("FP29", &["FP29"], || {
            let copy = Copy::of("rewound");
            let end = copy.facts().source.end.unwrap().lsn;
            let page = Lsn(end.page_start().0 + 8192);
            set_control(&copy.target(), |c| c.min_recovery_point, &page.plus(24).0.to_le_bytes());
            copy.facts()
        }),
        case("FP30", &["FP01!", "FP30"], || {
            let mut facts = real("basic-13");
            let dir = facts.target.dir.path().to_path_buf();
            let need = facts.wal.follow.as_mut().unwrap();
            let first = &mut need.segments[0];
            (first.on_target, first.on_source) = (true, false);
            first.found = vec![dir.join("pg_wal").join(&first.name)];
            facts
        }),
        case("FP31", &["FP31!", "FP32!"], || real("half-rewound")),
        case("FP31", &["FP31!", "FP32!"], || real("half-rewound-blocks")),
        case("FP32", &["FP01!", "FP32!"], || {
            let copy = Copy::of("basic-18");
            set_mode(copy.target().join("pg_ident.conf"), 0o400);
            copy.facts()
        }),
        case("FP33", &["FP01!", "FP33!"], || {
            let copy = Copy::of("basic-18");
            fs::create_dir(copy.source().join("log")).unwrap();
            std::os::unix::fs::symlink("/var/log", copy.target().join("log")).unwrap();
            copy.facts()
        }),
        case("FP37", &["FP01!", "FP37!"], || {
            let mut facts = real("basic-18");
            facts.target_space = vec![FreeSpace { at: PathBuf::new(), bytes: 8192 }];
            facts
        }),
        case("FP38", &["FP01!", "FP38"], || {
            let copy = Copy::of("basic-18");
            write(copy.target().join("server.crt"), "of this host");
            write(copy.source().join("server.crt"), "of the other host");
            copy.facts()
        }),
        case("FP39", &["FP01!", "FP39!"], || {
            let mut facts = real("tablespaces");
            let lsn = facts.divergence.as_ref().unwrap().lsn;
            for (scan, path) in [(&mut facts.target_scan, "/mnt/a"), (&mut facts.source_scan, "/mnt/b")] {
                let event = FileEvent::TablespaceCreated(16_500, path.into());
                let events = &mut scan.as_mut().unwrap().changes.events;
                events.push(PlacedEvent { lsn, xid: 0, after: true, event });
            }
            facts
        }),
        case("FP40", &["FP01!", "FP40"], || real("archive-conflict")),
        case("FP41", &["FP01!", "FP40"], || real("archive-conflict")),
        case("FP41", &["FP01!", "FP41"], || {
            let copy = Copy::of("basic-18");
            let archive = copy.dir.path().join("archive");
            fs::create_dir(&archive).unwrap();
            write(archive.join("00000003.history"), "1\t0/500000\tno recovery target specified\n");
            copy.facts()
        }),
        case("FP42", &["FP01!"], || real("maintenance-only")),
        case("FP43", &["FP01!"], || real("basic-18")),
        case("FP44", &["FP01!", "FP44!"], || real("checksums-mismatch")),
        case("FP45", &["FP01!", "FP26", "FP45"], || real("slots")),
        case("FP60", &["FP60!"], || {
            let copy = Copy::of("healthy-standby");
            let mut other = std::process::Command::new("sleep").arg("60").spawn().unwrap();
            write(
                copy.target().join("postmaster.pid"),
                &format!("{}\n{}\n", other.id(), copy.target().display()),
            );
            let facts = copy.facts();
            other.kill().unwrap();
            other.wait().unwrap();
            facts
        }),
        case("FP61", &["FP61", "FP62"], || real("switchover")),
        case("FP62", &["FP61", "FP62"], || real("switchover")),
        case("FP63", &["FP01!", "FP63!"], || {
            let copy = Copy::of("basic-18");
            // a rewind that is over
            write(copy.target().join("forkpoint.state"), "{}");
            assert!(!conclude(copy.facts()).findings.iter().any(|f| f.code == "FP63"));
            write(copy.target().join("global/pg_control.forkpoint"), "");
            copy.facts()
        }),
        case("FP64", &["FP61", "FP62", "FP64!"], || {
            let dir = pairs::unpack("basic-18").join("target");
            facts_of(&dir, &dir, &[])
        }),
        case("FP65", &["FP65!"], || {
            let copy = Copy::of("healthy-standby");
            append(copy.target().join("postgresql.auto.conf"), "max_connections = 5");
            copy.facts()
        }),
        case("FP66", &["FP66!"], || {
            let copy = Copy::of("healthy-standby");
            set_control(&copy.source(), |c| c.wal_level, &0_u32.to_le_bytes());
            copy.facts()
        }),
        case("FP67", &["FP01!", "FP67"], || {
            let mut facts = real("cascade-1-2-3b");
            let to = facts.divergence.as_ref().unwrap().lsn;
            facts.unproven =
                vec![Unproven { timeline: 2, from: Lsn(to.0 - 4096), to, missing_on: Role::Source }];
            facts
        }),
        case("FP68", &["FP68!"], || {
            let copy = Copy::of("healthy-standby");
            let at = copy.facts().target.control.checkpoint;
            let redo = copy.facts().target.control.checkpoint_copy.redo;
            write(
                copy.target().join("backup_label"),
                &format!(
                    "START WAL LOCATION: {redo} (file x)\nCHECKPOINT LOCATION: {at}\nBACKUP METHOD: streamed\n\
                     BACKUP FROM: primary\nSTART TIMELINE: 1\nINCREMENTAL FROM LSN: 0/300000\n"
                ),
            );
            copy.facts()
        }),
        case("FP69", &["FP61", "FP62"], || {
            let dir = pairs::unpack("snapshots");
            facts_of(&dir.join("base-backup"), &dir.join("source"), &[])
        }),
        case("FP70", &["FP61"], || real("rewound")),
        case("FP71", &["FP01!", "FP07", "FP71"], || real("just-promoted")),
        case("FP72", &["FP72!"], || {
            let dir = pairs::unpack("healthy-standby");
            facts_of(&dir.join("source"), &dir.join("target"), &[])
        }),
        case("FP73", &["FP01!", "FP73!"], || {
            let copy = Copy::of("tablespaces");
            for entry in fs::read_dir(copy.target().join("pg_tblspc")).unwrap() {
                fs::remove_file(entry.unwrap().path()).unwrap();
            }
            copy.facts()
        }),
        case("FP74", &["FP01!", "FP74!"], || {
            let copy = Copy::of("basic-18");
            let at = copy.facts().source.control.checkpoint;
            write(
                copy.source().join("backup_label"),
                &format!(
                    "START WAL LOCATION: {at} (file x)\nCHECKPOINT LOCATION: {at}\nBACKUP METHOD: streamed\n\
                     BACKUP FROM: primary\nSTART TIMELINE: 2\n"
                ),
            );
            copy.facts()
        }),
        case("FP75", &["FP03!", "FP16!", "FP75!"], behind_what_it_replayed),
        case("FP76", &["FP76!"], || {
            let copy = Copy::of("healthy-standby");
            write(copy.target().join("recovery.conf"), "standby_mode = 'on'\n");
            copy.facts()
        }),
        case("FP77", &["FP61", "FP62", "FP77"], || {
            let copy = Copy::of("switchover");
            append(copy.target().join("postgresql.auto.conf"), "recovery_target_timeline = 'current'");
            copy.facts()
        }),
        case("FP78", &["FP61", "FP78"], || {
            let copy = Copy::of("healthy-standby");
            let dir = copy.target();
            fs::rename(dir.join("standby.signal"), dir.join("recovery.signal")).unwrap();
            copy.facts()
        }),
        case("FP79", &["FP01!"], || {
            let copy = Copy::of("basic-18");
            set_control(&copy.source(), |c| c.checkpoint_copy.full_page_writes, &[0]);
            copy.facts()
        }),
        case("FP80", &["FP80!"], || {
            let copy = Copy::of("cascade-1-2-3");
            fs::remove_file(copy.source().join("pg_wal/00000003.history")).unwrap();
            copy.facts()
        }),
        case("FP81", &["FP01!", "FP40"], || real("archive-conflict")),
    ]
}

/// A clean switchover whose old primary lost its WAL directory's content: all of it lies in the archive.
fn wal_in_the_archive_only() -> Facts {
    let copy = Copy::of("switchover");
    let archive = copy.dir.path().join("archive");
    fs::create_dir(&archive).unwrap();
    for name in segments(&copy.target().join("pg_wal")) {
        fs::rename(copy.target().join("pg_wal").join(&name), archive.join(&name)).unwrap();
        // what the source has of the same name is left out of the question
        let _ = fs::remove_file(copy.source().join("pg_wal").join(&name));
    }
    copy.facts()
}

/// A standby that was killed and had flushed what it replayed behind the divergence, with an old restartpoint.
fn behind_what_it_replayed() -> Facts {
    let copy = Copy::of("restartpoint-behind");
    let replayed = copy.facts().target.end.unwrap().lsn;
    set_control(&copy.target(), |c| c.min_recovery_point, &replayed.0.to_le_bytes());
    copy.facts()
}

/// A real pair with one segment among the target's that is not what its name says.
fn rejected(reason: Reason) -> Facts {
    let mut facts = real("basic-18");
    let path = facts.target.dir.path().join("pg_wal/00000001000000000000000E");
    facts.target.rejected = vec![Rejected { timeline: 1, segno: 14, path, place: Place::Own, reason }];
    facts
}

fn warnings_and_errors(findings: &[Finding]) -> Vec<String> {
    let mut codes: Vec<String> = findings
        .iter()
        .filter(|f| f.severity > Severity::Info)
        .map(|f| format!("{}{}", f.code, if f.severity == Severity::Error { "!" } else { "" }))
        .collect();
    codes.sort();
    codes.dedup();
    codes
}

/// What is wrong with a case, in sentences.
fn try_case(case: &Case, show: bool) -> Vec<String> {
    let mut wrong = Vec::new();
    let diagnosis = conclude((case.fixture)());
    let findings = &diagnosis.findings;
    if show {
        println!("{:#?}\n{findings:#?}", diagnosis.verdict);
    }
    let what = format!("{} ({})", case.code, diagnosis.verdict.line);
    let found = warnings_and_errors(findings);
    if !findings.iter().any(|f| f.code == case.code) {
        wrong.push(format!("{what}: not found, but {found:?}"));
    } else if found != case.expected {
        wrong.push(format!("{what}: {found:?}, expected {:?}", case.expected));
    }
    for f in findings {
        let texts = [&f.title, &f.explanation, &f.remedy];
        let complete = texts.iter().all(|t| !t.is_empty()) && !f.evidence.is_empty();
        if !complete || texts.iter().any(|t| t.contains("  ") || t.contains('\n')) {
            wrong.push(format!("{what}: {f:?} is not complete"));
        }
        let forbidden = f.remedy.contains("pg_resetwal")
            && !["not use pg_resetwal", "Never pg_resetwal"].iter().any(|n| f.remedy.contains(n));
        if f.remedy.contains("touch") || forbidden {
            wrong.push(format!("{what}: {}", f.remedy));
        }
        if !CODES.iter().any(|c| c.code == f.code && c.provable == Provable::Directories) {
            wrong.push(format!("{what}: {} is no code that directories prove", f.code));
        }
    }
    wrong
}

#[test]
fn every_code_has_its_fixture() {
    let cases = cases();
    let only = std::env::var("CASE").ok();
    let next = AtomicUsize::new(0);
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if only.as_ref().is_none_or(|c| c == case.code) {
                        let found = try_case(case, only.is_some());
                        wrong.lock().unwrap().extend(found);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for code in CODES {
        match code.provable {
            Provable::Directories => {
                assert!(cases.iter().any(|c| c.code == code.code), "{} has no fixture", code.code);
            }
            Provable::LogOnly(reason) => {
                assert!(!reason.is_empty() && !cases.iter().any(|c| c.code == code.code), "{}", code.code);
            }
        }
    }
    let by_log: Vec<&str> =
        CODES.iter().filter(|c| c.provable != Provable::Directories).map(|c| c.code).collect();
    assert_eq!(by_log, ["FP20", "FP34", "FP35", "FP36"]);
}

#[test]
fn healthy_pairs_have_no_warning_but_what_is_lacking() {
    let healthy: [(&str, &[&str], Action, Picture); 4] = [
        ("healthy-standby", &[], Action::Follow, Picture::Standby),
        ("same-position", &[], Action::Same, Picture::Standby),
        ("before-switchover", &[], Action::Same, Picture::BeforeSwitchover),
        ("switchover", &["FP61", "FP62"], Action::Follow, Picture::Switchover),
    ];
    for (scenario, expected, action, picture) in healthy {
        let diagnosis = conclude(real(scenario));
        assert_eq!(warnings_and_errors(&diagnosis.findings), expected, "{scenario}");
        let verdict = &diagnosis.verdict;
        assert_eq!((verdict.action, verdict.picture), (action, picture), "{scenario}");
        assert_eq!(verdict.lost_commits, Some(0), "{scenario}");
        assert!(verdict.blocked_by.is_empty() && verdict.other_routes.is_empty(), "{scenario}: {verdict:?}");
        let lacks: &[&str] =
            if scenario == "switchover" { &["standby.signal", "primary_conninfo"] } else { &[] };
        assert_eq!(verdict.lacks, lacks, "{scenario}");
        assert!(!verdict.next_steps.is_empty() && verdict.line.contains("nothing is lost"), "{scenario}");
    }
}

#[test]
fn verdicts() {
    type Expected = (&'static str, Action, Picture, Option<u64>, &'static [&'static str]);
    let expected: [Expected; 10] = [
        ("basic-18", Action::Rewind, Picture::Failover, Some(22), &[]),
        ("maintenance-only", Action::Rewind, Picture::Failover, Some(0), &[]),
        ("no-hints", Action::ReClone, Picture::Failover, Some(3), &["FP15"]),
        ("checksums-mismatch", Action::Rewind, Picture::Failover, Some(3), &["FP44"]),
        ("twins", Action::ReClone, Picture::Twins, Some(3), &["FP08"]),
        ("twins-middle", Action::ReClone, Picture::Twins, Some(4), &["FP08"]),
        ("half-rewound", Action::ReClone, Picture::None, None, &["FP31", "FP32"]),
        ("rewound", Action::Follow, Picture::Rewound, Some(0), &[]),
        ("standby-received-only", Action::Follow, Picture::Failover, Some(3), &["FP03"]),
        ("restartpoint-behind", Action::Follow, Picture::Failover, Some(3), &["FP03"]),
    ];
    for (scenario, action, picture, lost, blocked_by) in expected {
        let verdict = conclude(real(scenario)).verdict;
        assert_eq!((verdict.action, verdict.picture), (action, picture), "{scenario}: {}", verdict.line);
        assert_eq!((verdict.lost_commits, verdict.blocked_by.as_slice()), (lost, blocked_by), "{scenario}");
        for code in blocked_by {
            assert!(verdict.line.contains(code), "{scenario}: {}", verdict.line);
        }
        let closed = action == Action::ReClone;
        if ["FP08", "FP75"].iter().any(|c| blocked_by.contains(c)) {
            assert!(
                verdict.line.starts_with("RE-CLONE: pg_rewind would leave wrong rows"),
                "{}",
                verdict.line
            );
            assert!(verdict.line.contains("would be lost"), "{}", verdict.line);
        }
        assert_eq!(closed, !verdict.other_routes.is_empty(), "{scenario}");
        let steps = format!("{:?}{:?}", verdict.next_steps, verdict.other_routes);
        assert!(!steps.contains("pg_resetwal") && !steps.contains("touch"), "{scenario}: {steps}");
    }
}

/// Makes a page of the target look as if a record that ends at `lsn` had changed it, checksum included.
fn change_page(copy: &Copy, lsn: Lsn) -> PathBuf {
    use forkpoint::pg::{BLOCK_SIZE, checksum};
    let base = copy.target().join("base/5");
    let mut files: Vec<PathBuf> = fs::read_dir(base).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.file_name().unwrap().to_str().unwrap().bytes().all(|b| b.is_ascii_digit()));
    files.sort();
    let path = files.into_iter().find(|p| p.metadata().unwrap().len() >= 2 * BLOCK_SIZE as u64).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let page: &mut [u8; BLOCK_SIZE] = (&mut bytes[BLOCK_SIZE..2 * BLOCK_SIZE]).try_into().unwrap();
    page[..4].copy_from_slice(&((lsn.0 >> 32) as u32).to_le_bytes());
    page[4..8].copy_from_slice(&(lsn.0 as u32).to_le_bytes());
    let sum = checksum::of(page, 1);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    path
}

/// `DB_IN_ARCHIVE_RECOVERY`
const IN_ARCHIVE_RECOVERY: u32 = 5;

#[test]
fn a_killed_standby_that_only_received_wal_may_follow() {
    let copy = Copy::of("standby-received-only");
    let end = copy.facts().target.control_end.unwrap();
    set_control(&copy.target(), |c| c.state, &IN_ARCHIVE_RECOVERY.to_le_bytes());
    set_control(&copy.target(), |c| c.min_recovery_point, &end.0.to_le_bytes());
    let facts = copy.facts();
    let pages = facts.newer_pages.clone().unwrap();
    assert!(pages.complete && pages.found == 0 && pages.looked_at > 100, "{pages:?}");
    assert_eq!(pages.after, facts.divergence.as_ref().unwrap().lsn);
    let diagnosis = conclude(facts);
    assert_eq!(warnings_and_errors(&diagnosis.findings), ["FP03!"]);
    assert_eq!(diagnosis.verdict.action, Action::Follow, "{}", diagnosis.verdict.line);
    assert!(diagnosis.verdict.line.contains("once WAL is moved aside"), "{}", diagnosis.verdict.line);
    let fp03 = diagnosis.findings.iter().find(|f| f.code == "FP03").unwrap();
    assert!(fp03.evidence.iter().any(|e| e.value.starts_with("none of ")), "{fp03:#?}");
    assert!(fp03.remedy.starts_with("Before the target is started"), "{}", fp03.remedy);

    // without queries commits reach pg_xact without a trace in the control file
    let configuration = copy.target().join("postgresql.auto.conf");
    let kept = fs::read(&configuration).unwrap_or_default();
    fs::write(&configuration, [&kept[..], b"\nhot_standby = off\n"].concat()).unwrap();
    assert_ne!(conclude(copy.facts()).verdict.action, Action::Follow);
    fs::write(&configuration, kept).unwrap();

    // one page that was changed behind the divergence, and it has to be rewound
    let changed = change_page(&copy, pages.after.plus(80));
    let diagnosis = conclude(copy.facts());
    assert_ne!(diagnosis.verdict.action, Action::Follow, "{}", diagnosis.verdict.line);
    let fp03 = diagnosis.findings.iter().find(|f| f.code == "FP03").unwrap();
    let shown = fp03.evidence.iter().find(|e| e.path.as_ref() == Some(&changed)).unwrap();
    assert_eq!((shown.lsn, shown.offset), (Some(pages.after.plus(80)), Some(8192)), "{fp03:#?}");

    // a page with a wrong checksum proves nothing
    let mut bytes = fs::read(&changed).unwrap();
    bytes[8192 + 100] ^= 1;
    fs::write(&changed, bytes).unwrap();
    assert_eq!(copy.facts().newer_pages.unwrap().found, 0);

    // control file and WAL say enough of one that replayed it
    fs::write(&changed, fs::read(&changed).unwrap()).unwrap();
    set_control(&copy.target(), |c| c.min_recovery_point, &pages.after.plus(80).0.to_le_bytes());
    let facts = copy.facts();
    assert_eq!(facts.newer_pages, None);
    assert_ne!(conclude(facts).verdict.action, Action::Follow);
}

#[test]
fn pages_tell_that_a_target_went_on_whose_wal_is_gone() {
    let copy = Copy::of("crashed-target");
    let facts = copy.facts();
    let (divergence, size) = (facts.divergence.unwrap().lsn, facts.target.segment_size);
    assert!(facts.newer_pages.is_none(), "the WAL says it all");
    for name in segments(&copy.target().join("pg_wal")) {
        let path = copy.target().join("pg_wal").join(name);
        let segno = u64::from_str_radix(&path.file_name().unwrap().to_str().unwrap()[16..], 16).unwrap();
        if segno >= size.segno(divergence) {
            fs::remove_file(path).unwrap();
        }
    }
    let end = copy.facts().target.end;
    let before = copy.facts().newer_pages.unwrap();
    assert_eq!(before.after, divergence.max(end.map_or(Lsn::INVALID, |e| e.lsn)));
    let lsn = divergence.plus(0x0100_0000);
    let changed = change_page(&copy, lsn);
    let facts = copy.facts();
    assert_eq!(facts.relation, forkpoint::facts::Relation::Diverged);
    assert_eq!(facts.newer_pages.as_ref().unwrap().newest.as_ref().unwrap().2, lsn);
    let diagnosis = conclude(facts);
    let fp01 = diagnosis.findings.iter().find(|f| f.code == "FP01").unwrap();
    assert!(fp01.evidence.iter().any(|e| e.path.as_ref() == Some(&changed)), "{fp01:#?}");
}

#[test]
fn where_pg_rewind_must_not_run_no_step_runs_it() {
    for case in cases().iter().filter(|c| ["FP08", "FP39", "FP73", "FP75"].contains(&c.code)) {
        let verdict = conclude((case.fixture)()).verdict;
        assert_eq!(verdict.action, Action::ReClone, "{}: {}", case.code, verdict.line);
        assert!(verdict.line.starts_with("RE-CLONE: pg_rewind would "), "{}", verdict.line);
        assert!(verdict.line.contains(case.code) && !verdict.other_routes.is_empty(), "{verdict:?}");
        assert!(!verdict.next_steps.iter().any(|s| s.contains("pg_rewind -D")), "{verdict:?}");
        assert!(verdict.next_steps.iter().any(|s| s.contains("pg_basebackup")), "{verdict:?}");
    }
}

#[test]
fn wal_that_an_archive_may_have_is_asked_for_before_a_new_copy() {
    let dir = pairs::unpack("recycled-archive");
    let facts = facts_of(&dir.join("target"), &dir.join("source"), &[]);
    let missing: Vec<String> = facts
        .wal
        .find_blocks
        .iter()
        .flat_map(forkpoint::facts::WalNeed::holes)
        .map(|s| s.name.clone())
        .collect();
    assert!(!missing.is_empty());
    let verdict = conclude(facts).verdict;
    assert_eq!(verdict.action, Action::Undecided, "{}", verdict.line);
    assert!(
        verdict.line.starts_with("UNDECIDED: ") && verdict.line.contains("missing here"),
        "{}",
        verdict.line
    );
    let [ask, copy] = verdict.next_steps.as_slice() else { panic!("{:?}", verdict.next_steps) };
    assert!(ask.contains("--wal-archive DIR") && ask.contains(&missing[0]), "{ask}");
    assert!(ask.contains(missing.last().unwrap()), "{ask}");
    assert!(copy.starts_with("Only if they are nowhere") && copy.contains("pg_basebackup"), "{copy}");
    // the same for WAL that is needed only to follow
    let mut facts = real("recycled-archive");
    let need = facts.wal.follow.as_mut().unwrap();
    let lost = need.segments.iter_mut().find(|s| !s.on_target && !s.on_source).unwrap();
    lost.found.clear();
    let name = lost.name.clone();
    let verdict = conclude(facts).verdict;
    assert_eq!(verdict.action, Action::Undecided, "{}", verdict.line);
    assert!(verdict.line.contains("1 segment of WAL") && verdict.line.contains(&name), "{}", verdict.line);
}

#[test]
fn wal_that_an_archive_has_is_copied_rather_than_everything() {
    let diagnosis = conclude(wal_in_the_archive_only());
    let verdict = &diagnosis.verdict;
    assert_eq!(verdict.action, Action::Follow, "{}", verdict.line);
    assert!(
        verdict.blocked_by.is_empty() && verdict.line.contains("the WAL that it starts from"),
        "{}",
        verdict.line
    );
    let copy =
        verdict.next_steps.iter().position(|s| s.starts_with("FP27: Before the target is started, copy"));
    let start = verdict.next_steps.iter().position(|s| s.starts_with("Start the target")).unwrap();
    assert!(copy.is_some_and(|copy| copy < start), "{:#?}", verdict.next_steps);
    let step = &verdict.next_steps[copy.unwrap()];
    let control = &diagnosis.facts.target.control;
    let size = diagnosis.facts.target.segment_size;
    let name = forkpoint::pg::WalName::Segment(1, size.segno(control.checkpoint)).file_name(size);
    assert!(step.contains(&name) && step.contains("/archive/") && step.contains("pg_wal"), "{step}");
}

#[test]
fn arguments_the_wrong_way_round_are_not_called_a_failover() {
    let dir = pairs::unpack("basic-18");
    let verdict = conclude(facts_of(&dir.join("source"), &dir.join("target"), &[])).verdict;
    assert_eq!((verdict.action, verdict.picture), (Action::Undecided, Picture::None), "{}", verdict.line);
    assert!(
        verdict.line.starts_with("WRONG WAY ROUND? the target (TARGET) was promoted to timeline 2"),
        "{}",
        verdict.line
    );
    assert!(verdict.next_steps[0].contains("exchange the two arguments"), "{:?}", verdict.next_steps);
    assert!(verdict.next_steps[1].starts_with("Only if the promotion of TARGET was the mistake"));
    let rewind = verdict.next_steps.iter().position(|s| s.contains("pg_rewind -D")).unwrap();
    assert!(rewind > 1, "{:?}", verdict.next_steps);
}

#[test]
fn one_directory_given_twice_is_no_pair() {
    let copy = Copy::of("basic-18");
    let again = copy.dir.path().join("again");
    std::os::unix::fs::symlink(copy.target(), &again).unwrap();
    for source in [copy.target(), again] {
        let diagnosis = conclude(facts_of(&copy.target(), &source, &[]));
        let verdict = &diagnosis.verdict;
        assert_eq!((verdict.action, verdict.picture), (Action::Undecided, Picture::None), "{}", verdict.line);
        assert_eq!(verdict.line, "UNDECIDED: TARGET and SOURCE are the same directory");
        assert_eq!(verdict.blocked_by, ["FP64"]);
        assert!(verdict.next_steps.len() == 1 && verdict.next_steps[0].starts_with("Name the other"));
    }
}

#[test]
fn configuration_is_saved_before_pg_rewind_and_put_back_after_it() {
    let copy = Copy::of("basic-18");
    write(copy.target().join("server's key.key"), "of this host");
    let steps = conclude(copy.facts()).verdict.next_steps;
    let at = |what: &str| {
        steps.iter().position(|s| s.contains(what)).unwrap_or_else(|| panic!("{what}: {steps:?}"))
    };
    let saved = at("copy these files out of the target: ");
    // the configuration is the same to the byte on both sides
    assert!(!steps[saved].contains("postgresql.conf") && steps[saved].contains(r"'server'\''s key.key'"));
    assert!(saved < at("pg_rewind -D") && at("pg_rewind -D") < at("put them back"), "{steps:?}");
    assert!(at("put them back") < at("Start the target"), "{steps:?}");
}

#[test]
fn paths_in_commands_are_quoted() {
    let copy = Copy::of("basic-18");
    let target = copy.dir.path().join("it's the target");
    fs::rename(copy.target(), &target).unwrap();
    let verdict = conclude(facts_of(&target, &copy.source(), &[])).verdict;
    let step = verdict.next_steps.iter().find(|s| s.contains("pg_rewind -D")).unwrap();
    assert!(step.contains(&format!("-D '{}", copy.dir.path().display())), "{step}");
    assert!(step.contains(r"/it'\''s the target' --source-server"), "{step}");
}

#[test]
fn work_that_was_rolled_back_is_not_called_maintenance() {
    let mut facts = real("maintenance-only");
    facts.transactions.clear();
    assert!(conclude(facts).verdict.line.contains("only maintenance"));
    let mut facts = real("maintenance-only");
    let donor = real("basic-18").transactions.into_iter().next().unwrap();
    let lsn = facts.divergence.as_ref().unwrap().lsn;
    for end in [XactEnd::Aborted, XactEnd::InProgress] {
        facts.transactions = vec![Xact { end, end_lsn: lsn.plus(64), ..donor.clone() }];
        let findings = find(&facts);
        let line = judge(&facts, &findings).line;
        assert!(
            !line.contains("only maintenance") && line.contains("rolled back or never finished"),
            "{line}"
        );
    }
}

#[test]
fn an_unknown_number_of_commits_is_not_at_least_none() {
    let mut facts = real("basic-18");
    facts.loss = Some(Loss::AtLeast { commits: 0 });
    let diagnosis = conclude(facts);
    assert!(diagnosis.verdict.line.contains("it cannot be told how many"), "{}", diagnosis.verdict.line);
    assert!(!format!("{:?}{:?}", diagnosis.verdict, diagnosis.findings).contains("at least 0"));
    assert_eq!(diagnosis.verdict.lost_commits, None);
}

/// Without the checkpoint before the divergence, the file is named at which the search for it ended, and no other.
#[test]
fn the_file_that_hides_the_checkpoint_is_named() {
    let told = |unreadable: &[u64], hole: u64| {
        let mut facts = real("basic-18");
        let file = |n: &u64| PathBuf::from(format!("/t/pg_wal/{n}"));
        let why = "could not be read: Input/output error (os error 5)";
        let reach = facts.target.segment_size.segno(facts.divergence.as_ref().unwrap().lsn);
        facts.common_checkpoint = None;
        facts.wal.find_blocks = None;
        facts.target.rejected = unreadable
            .iter()
            .map(|n| Rejected {
                timeline: 1,
                segno: reach + n - 10,
                path: file(n),
                place: Place::Own,
                reason: Reason::Unreadable(why.into()),
            })
            .collect();
        facts.unseen = [hole, 11]
            .map(|n| Unseen { path: Some(file(&n)), what: String::new(), consequence: String::new() })
            .into();
        let found = conclude(facts).findings;
        format!("{:?}", found.iter().find(|f| f.code == "FP19").unwrap())
    };
    // 10 holds the divergence, 11 lies behind it
    let one = told(&[11, 10, 8], 8);
    assert!(one.contains("/t/pg_wal/8 is there") && one.contains("Find out why"), "{one}");
    assert!(!one.contains("/t/pg_wal/10") && !one.contains("/t/pg_wal/11"), "{one}");
    assert!(!one.contains("Permission denied") && !one.contains("Make readable"), "{one}");
    let none = told(&[11, 10], 9);
    assert!(!none.contains("is there") && none.contains("older WAL in an archive"), "{none}");
}

/// One message of every code that has one, as servers and tools of several majors print it, and the figures in it.
const MESSAGES: &[(&str, &str, &[&str])] = &[
    (
        "FP01",
        "2026-11-20 08:45:52.211 UTC [4711] FATAL:  requested timeline 2 is not a child of this server's history\n\
         2026-11-20 08:45:52.211 UTC [4711] DETAIL:  Latest checkpoint is at 0/F5ED78 on timeline 1, but in the history of \
         the requested timeline, the server forked off from that timeline at 0/F0C968.",
        &["2", "0/F5ED78", "1", "0/F0C968"],
    ),
    (
        "FP02",
        "DETAIL:  Latest checkpoint in file \"global/pg_control\" is at 0/00F5ED78 on timeline 1, but in the history of the \
         requested timeline, the server forked off from that timeline at 0/00F5ED78.",
        &["global/pg_control", "0/00F5ED78", "1", "0/00F5ED78"],
    ),
    (
        "FP03",
        "LOG:  new timeline 2 forked off current database system timeline 1 before current recovery point 0/5000098",
        &["2", "1", "0/5000098"],
    ),
    (
        "FP04",
        "FATAL:  could not receive data from WAL stream: ERROR:  requested starting point 0/4000000 on timeline 1 is not in \
         this server's history\n\tDETAIL:  This server's history forked from timeline 1 at 0/3007E60.",
        &["0/4000000", "1", "1", "0/3007E60"],
    ),
    ("FP05", "FATAL:  highest timeline 2 of the primary is behind recovery timeline 3", &["2", "3"]),
    ("FP05", "ERROR: this node's timeline is ahead of the rejoin target node's timeline", &[]),
    (
        "FP06",
        "FATAL:  requested timeline 3 does not contain minimum recovery point 0/56000028 on timeline 2",
        &["3", "0/56000028", "2"],
    ),
    (
        "FP07",
        "pg_rewind: source and target cluster are on the same timeline\npg_rewind: no rewind required",
        &[],
    ),
    ("FP09", "pg_rewind: no rewind required", &[]),
    ("FP10", "ERROR:  requested timeline 3 is not in this server's history", &["3"]),
    ("FP10", "2026-11-20 08:45:52,211 INFO: Local timeline=3 lsn=0/5000060", &["3", "0/5000060"]),
    (
        "FP11",
        "pg_rewind: error: could not find common ancestor of the source and target cluster's timelines",
        &[],
    ),
    ("FP12", "pg_rewind: fatal: source and target clusters are from different systems", &[]),
    (
        "FP12",
        "FATAL:  database system identifier differs between the primary and standby\nDETAIL:  The primary's identifier is \
         7710172179390066316, the standby's identifier is 7710172179390066317.",
        &["7710172179390066316", "7710172179390066317"],
    ),
    ("FP13", "pg_rewind: error: clusters are not compatible with this version of pg_rewind", &[]),
    (
        "FP13",
        "LOG:  invalid magic number D110 in WAL segment 000000010000000000000003, LSN 0/3000000, offset 0",
        &["D110", "000000010000000000000003"],
    ),
    ("FP14", "pg_rewind: error: unexpected control file CRC", &[]),
    ("FP14", "pg_rewind: fatal: unexpected control file size 0, expected 8192", &["0", "8192"]),
    (
        "FP15",
        "pg_rewind: error: target server needs to use either data checksums or \"wal_log_hints = on\"",
        &[],
    ),
    ("FP16", "pg_rewind: error: target server must be shut down cleanly", &[]),
    (
        "FP17",
        "postgres: could not access the server configuration file \"/var/lib/pg/data/postgresql.conf\": No such file or \
         directory",
        &["/var/lib/pg/data/postgresql.conf"],
    ),
    (
        "FP18",
        "pg_rewind: executing \"/usr/lib/postgresql/17/bin/postgres\" for target server to complete crash recovery",
        &[],
    ),
    (
        "FP19",
        "pg_rewind: error: could not open file \"/data/pg_wal/000000010000000000000015\": No such file or directory\n\
         pg_rewind: error: could not find previous WAL record at 0/1500FC0",
        &["/data/pg_wal/000000010000000000000015", "0/1500FC0"],
    ),
    (
        "FP20",
        "pg_rewind: error: could not restore file \"000000010000000000000015\" from archive",
        &["000000010000000000000015"],
    ),
    ("FP21", "LOG:  record with incorrect prev-link 79/6C6B6565 at 0/3000060", &["79/6C6B6565", "0/3000060"]),
    ("FP22", "LOG:  invalid record length at 0/3064148: wanted 24, got 0", &["0/3064148", "24", "0"]),
    (
        "FP22",
        "LOG:  invalid record length at 0/03064148: expected at least 24, got 0",
        &["0/03064148", "24", "0"],
    ),
    (
        "FP23",
        "ERROR:  requested starting point 0/4000000 is ahead of the WAL flush position of this server 0/3FFFF58",
        &["0/4000000", "0/3FFFF58"],
    ),
    ("FP24", "LOG:  there is no contrecord flag at 0/3000000", &["0/3000000"]),
    (
        "FP24",
        "LOG:  invalid contrecord length 114 (expected 14400) at 0/2FFFFD8",
        &["114", "14400", "0/2FFFFD8"],
    ),
    (
        "FP25",
        "2026-11-20 08:45:52.211 UTC,\"repl\",,4711,\"10.0.0.2:5000\",655d.1,1,\"idle\",2026-11-20 08:45:52 UTC,3/0,0,ERROR,\
         58P01,\"requested WAL segment 000000020000000000000017 has already been removed\",,,,,,\"START_REPLICATION\",,,\
         \"standby\",\"walsender\",,0",
        &["000000020000000000000017"],
    ),
    (
        "FP26",
        "{\"timestamp\":\"2026-11-20 08:45:52.211 UTC\",\"error_severity\":\"ERROR\",\"message\":\"replication slot \
         \\\"node_2\\\" does not exist\"}",
        &["node_2"],
    ),
    (
        "FP27",
        "LOG:  invalid primary checkpoint record\nPANIC:  could not locate a valid checkpoint record",
        &[],
    ),
    ("FP28", "FATAL:  WAL ends before consistent recovery point", &[]),
    (
        "FP29",
        "FATAL:  the database system is not yet accepting connections\nDETAIL:  Consistent recovery state has not been yet \
         reached.",
        &[],
    ),
    (
        "FP30",
        "pg_rewind: Not removing file \"pg_wal/000000010000000000000012\" because it is required for recovery",
        &["pg_wal/000000010000000000000012"],
    ),
    (
        "FP31",
        "pg_rewind: error: unexpected result while fetching remote files: SSL SYSCALL error: EOF detected",
        &[],
    ),
    (
        "FP32",
        "pg_rewind: error: could not open target file \"/data/server.key\": Permission denied",
        &["/data/server.key"],
    ),
    ("FP33", "pg_rewind: error: file \"log\" is of different type in source and target", &["log"]),
    (
        "FP34",
        "pg_rewind: error: could not remove directory \"/data/pg_wal/.wal-g/prefetch\": Directory not empty",
        &["/data/pg_wal/.wal-g/prefetch"],
    ),
    (
        "FP35",
        "pg_rewind: error: could not fetch file list: ERROR:  permission denied for function pg_ls_dir",
        &[],
    ),
    ("FP36", "pg_rewind: fatal: source server must not be in recovery mode", &[]),
    (
        "FP37",
        "pg_rewind: error: could not write file \"/data/pg_wal/000000020000000000000017\": No space left on device",
        &[],
    ),
    (
        "FP38",
        "FATAL:  could not load server certificate file \"server.crt\": No such file or directory",
        &["server.crt"],
    ),
    (
        "FP40",
        "ERROR: [045]: WAL file '000000010000000000000011' already exists in the repo1 archive with a different checksum",
        &[],
    ),
    (
        "FP41",
        "ERROR: [058]: target timeline 3 forked from backup timeline 2 at 0/3000000 which is before backup lsn of 0/5000028",
        &["2"],
    ),
    ("FP44", "WARNING:  page verification failed, calculated checksum 20919 but expected 0", &["20919", "0"]),
    ("FP60", "FATAL:  lock file \"postmaster.pid\" already exists", &[]),
    ("FP62", "WARNING:  specified neither \"primary_conninfo\" nor \"restore_command\"", &[]),
    (
        "FP65",
        "FATAL:  hot standby is not possible because max_connections = 5 is a lower setting than on the master server (its \
         value was 20)",
        &["max_connections", "5"],
    ),
    (
        "FP65",
        "DETAIL:  max_connections = 5 is a lower setting than on the primary server, where its value was 20.",
        &["max_connections", "5", "20"],
    ),
    ("FP66", "FATAL:  WAL was generated with \"wal_level=minimal\", cannot continue recovering", &[]),
    ("FP68", "FATAL:  this is an incremental backup, not a data directory", &[]),
    ("FP71", "pg_rewind: error: source data directory must be shut down cleanly", &[]),
    (
        "FP73",
        "pg_rewind: error: could not create symbolic link at \"/data/pg_tblspc/16500\": File exists",
        &["/data/pg_tblspc/16500"],
    ),
    ("FP76", "FATAL:  using recovery command file \"recovery.conf\" is not supported", &["recovery.conf"]),
    ("FP78", "FATAL:  must specify restore_command when standby mode is not enabled", &[]),
    ("FP79", "pg_rewind: error: \"full_page_writes\" must be enabled in the source server", &[]),
    (
        "FP80",
        "pg_rewind: error: could not open file \"/data/pg_wal/00000003.history\": No such file or directory",
        &["/data/pg_wal/00000003.history"],
    ),
];

#[test]
fn every_code_with_a_message_is_named_by_it() {
    for (code, message, figures) in MESSAGES {
        let found = explain(message, None);
        assert_eq!(found.len(), 1, "{message}: {found:#?}");
        let found = &found[0];
        assert_eq!(found.code, *code, "{message}");
        let values: Vec<&str> = found.figures.iter().map(|f| f.value.as_str()).collect();
        assert_eq!(values, *figures, "{message}");
        assert!(!found.what_it_means.is_empty() && found.finding_matches.is_none(), "{message}");
    }
    // what these are about is seen in directories only: nothing is logged, or nothing of their own
    let silent = ["FP08", "FP39", "FP42", "FP43", "FP45"];
    for code in CODES.iter().filter(|c| c.code <= "FP45") {
        let named = MESSAGES.iter().any(|(c, ..)| *c == code.code);
        assert_eq!(named, !silent.contains(&code.code), "{}", code.code);
    }
}

#[test]
fn what_a_finding_would_log_is_named_as_that_finding() {
    for (scenario, code) in [
        ("basic-10", "FP01"),
        ("basic-19", "FP01"),
        ("basic-18", "FP01"),
        ("twins", "FP08"),
        ("no-hints", "FP15"),
        ("checksums-mismatch", "FP44"),
        ("standby-ahead", "FP03"),
        ("recycled-archive", "FP19"),
        ("recycled-archive", "FP25"),
        ("slots", "FP26"),
        ("just-promoted", "FP71"),
    ] {
        let diagnosis = conclude(real(scenario));
        let finding = diagnosis.findings.iter().find(|f| f.code == code).unwrap();
        let log = finding.server_log.join("\n");
        let found = explain(&log, Some(&diagnosis));
        assert!(found.iter().any(|m| m.code == code), "{scenario} {log}: {found:#?}");
        for m in &found {
            assert_ne!(m.finding_matches, Some(false), "{scenario}: {m:#?}");
        }
    }
}

#[test]
fn a_message_of_another_moment_is_told_from_this_pairs() {
    let diagnosis = conclude(real("basic-18"));
    let control = &diagnosis.facts.target.control;
    let divergence = diagnosis.facts.divergence.as_ref().unwrap().lsn;
    let message = |checkpoint: Lsn, divergence: Lsn| {
        format!(
            "FATAL:  requested timeline 2 is not a child of this server's history\nDETAIL:  Latest checkpoint in file \
             \"global/pg_control\" is at {checkpoint} on timeline 1, but in the history of the requested timeline, the \
             server forked off from that timeline at {divergence}."
        )
    };
    let ours = &explain(&message(control.checkpoint, divergence), Some(&diagnosis))[0];
    assert_eq!((ours.code, ours.finding_matches), ("FP01", Some(true)));
    assert!(ours.figures.iter().filter(|f| f.agrees == Some(true)).count() >= 3, "{ours:#?}");
    let other = &explain(&message(control.checkpoint, Lsn(0x30)), Some(&diagnosis))[0];
    assert_eq!((other.code, other.finding_matches), ("FP01", Some(false)));
    let absent = &explain("pg_rewind: error: unexpected control file CRC", Some(&diagnosis))[0];
    assert_eq!((absent.code, absent.finding_matches), ("FP14", Some(false)));
    let log_only =
        &explain("pg_rewind: fatal: source server must not be in recovery mode", Some(&diagnosis))[0];
    assert_eq!((log_only.code, log_only.finding_matches), ("FP36", None));
}
