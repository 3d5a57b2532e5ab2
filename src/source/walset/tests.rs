//! Segments and histories in all places and states.

use std::io::Write;
use std::time::{Duration, Instant};

use super::judge::LONG_HEADER;
use super::*;
use crate::wal::PAGE_SIZE;

const SYSTEM: u64 = 7_301_234_567_890_123_456;
const MB: u64 = 1 << 20;

fn size() -> SegmentSize {
    SegmentSize::new(1 << 20).unwrap()
}

fn identity() -> WalIdentity {
    WalIdentity { system_identifier: SYSTEM, magic: None, major: Some(Major::V17) }
}

/// A segment with good page headers on its first `pages` pages, all else zeros.
fn segment(timeline: u32, segno: u64, pages: usize) -> Vec<u8> {
    let mut bytes = vec![0; MB as usize];
    for n in 0..pages {
        let page = &mut bytes[n * PAGE_SIZE..(n + 1) * PAGE_SIZE];
        page[..2].copy_from_slice(&Major::V17.wal_magic().to_le_bytes());
        page[2] = if n == 0 { 2 } else { 0 };
        page[4..8].copy_from_slice(&timeline.to_le_bytes());
        page[8..16].copy_from_slice(&(segno * MB + (n * PAGE_SIZE) as u64).to_le_bytes());
        if n == 0 {
            page[24..32].copy_from_slice(&SYSTEM.to_le_bytes());
            page[32..36].copy_from_slice(&(MB as u32).to_le_bytes());
            page[36..40].copy_from_slice(&8192_u32.to_le_bytes());
        }
    }
    bytes
}

/// Puts a record of `len` bytes at `at` whose content follows from `seed`; its end, aligned.
fn record(bytes: &mut [u8], start: u64, at: usize, prev: usize, len: usize, seed: u8) -> usize {
    let prev = if prev == 0 { start - 100 } else { start + prev as u64 };
    bytes[at..at + 4].copy_from_slice(&(len as u32).to_le_bytes());
    bytes[at + 8..at + 16].copy_from_slice(&prev.to_le_bytes());
    bytes[at + 24..at + len].fill(seed);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[at + 24..at + len]), &bytes[at..at + 20]);
    bytes[at + 20..at + 24].copy_from_slice(&crc.to_le_bytes());
    (at + len).next_multiple_of(8)
}

fn name(segno: u64) -> String {
    WalName::Segment(1, segno).file_name(size())
}

struct Place3 {
    dir: tempfile::TempDir,
}

impl Place3 {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for sub in ["pg_wal", "a", "b"] {
            std::fs::create_dir(dir.path().join(sub)).unwrap();
        }
        Self { dir }
    }

    fn put(&self, path: &str, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn set(&self, restore: Option<&str>) -> WalSet {
        let at = |sub| self.dir.path().join(sub);
        let restore =
            restore.map(|c| RestoreCommand::new(c).unwrap().with_timeout(Duration::from_millis(400)));
        WalSet::new(&at("pg_wal"), &[at("a"), at("b")], restore, size(), identity())
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut out = lz4_flex::frame::FrameEncoder::new(Vec::new());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

#[test]
fn the_first_usable_copy_wins_and_the_others_are_told() {
    let p = Place3::new();
    p.put(&format!("pg_wal/{}", name(7)), &segment(1, 5, 3)); // recycled
    let mut other = segment(1, 7, 3);
    other[24] ^= 1;
    p.put(&format!("a/{}", name(7)), &other);
    let good = p.put(&format!("b/0000000100000000/{}.gz", name(7)), &gzip(&segment(1, 7, 128)));
    let set = p.set(None);
    assert_eq!(set.candidates(1, 7).len(), 3);
    assert_eq!(set.first_and_last(1), Some((7, 7)));
    let found = set.open(1, 7).unwrap().unwrap();
    assert_eq!((found.path.clone(), found.len, found.place), (good, MB, Place::Archive(1)));
    let mut page = [0; 16];
    assert_eq!(found.read_at(8192, &mut page).unwrap(), 16);
    assert_eq!(u64::from_le_bytes(page[8..].try_into().unwrap()), 7 * MB + 8192);
    assert_eq!(found.read_at(MB - 4, &mut page).unwrap(), 4);
    assert_eq!(found.read_at(MB + 4, &mut page).unwrap(), 0);
    let reasons: Vec<String> = set.rejected_for(1, 7).iter().map(|r| r.reason.to_string()).collect();
    assert_eq!(
        reasons,
        [
            "recycled: its first page is of 0/500000 on timeline 1".into(),
            format!("of another system, {}", SYSTEM ^ 1)
        ]
    );
    // again: from the cache, and nothing told twice
    assert!(set.open(1, 7).unwrap().is_some());
    assert_eq!(set.rejected().len(), 2);
    assert_eq!(set.places(1, 7).len(), 1);
    assert!(set.open(1, 8).unwrap().is_none());
    assert!(set.open(9, 8).unwrap().is_none());
}

#[test]
fn every_reason() {
    let p = Place3::new();
    let edited = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = segment(1, 3, 2);
        edit(&mut bytes);
        bytes
    };
    let mut damaged = gzip(&segment(1, 3, 2));
    damaged.truncate(damaged.len() / 2);
    let long = gzip(&[segment(1, 3, 2), vec![0; 1]].concat());
    let cases: Vec<(Vec<u8>, &str, bool)> = vec![
        (vec![], "short: 0 of 1048576 bytes", true),
        (segment(1, 3, 2)[..4096].to_vec(), "short: 4096 of 1048576 bytes", true),
        (segment(1, 3, 2)[..20].to_vec(), "short: 20 of 1048576 bytes", true),
        (edited(&|b| b.push(0)), "longer than a segment of 1048576 bytes", true),
        (long, "longer than a segment of 1048576 bytes", true),
        (gzip(&segment(1, 3, 2)[..9000]), "short: 9000 of 1048576 bytes", true),
        (vec![0; MB as usize], "all zeros", false),
        (edited(&|b| b[..64].fill(0)), "begins with 8192 zero bytes instead of a page", true),
        (
            edited(&|b| b[..2].copy_from_slice(&[0x10, 0xD1])),
            "another major's magic D110 (PostgreSQL 15)",
            false,
        ),
        (edited(&|b| b[..2].copy_from_slice(&[0xFE, 0xD1])), "an unknown magic D1FE", false),
        (edited(&|b| b[4] = 2), "of timeline 2, which is later than its name says", false),
        (edited(&|b| b[2] = 0), "its first page has no long header", true),
        (edited(&|b| b[34] = 1), "of another segment size, 65536 bytes", false),
        (edited(&|b| b[37] = 0x40), "of another page size, 16384 bytes", false),
        (
            b"Salted__12345678 and so on".to_vec(),
            "encrypted by OpenSSL, as pgBackRest does (starts with 53 61 6C 74 65 64 5F 5F)",
            true,
        ),
        (
            b"nothing known".to_vec(),
            "encrypted or of an unknown compression, starts with 6E 6F 74 68 69 6E 67 20",
            true,
        ),
    ];
    for (bytes, reason, is_error) in cases {
        p.put(&format!("a/{}", name(3)), &bytes);
        let set = p.set(None);
        assert!(
            set.places(1, 3).is_empty() || reason.starts_with("short: 9000") || bytes[0] == 0x1F,
            "{reason}"
        );
        let set = p.set(None);
        assert_eq!(set.open(1, 3).is_err(), is_error, "{reason}");
        assert_eq!(set.rejected_for(1, 3)[0].reason.to_string(), reason);
    }
    p.put(&format!("a/{}", name(3)), &damaged);
    let set = p.set(None);
    let error = set.open(1, 3).unwrap_err().to_string();
    assert!(error.contains(&name(3)) && error.contains("damaged gzip data after"), "{error}");

    std::fs::remove_file(p.dir.path().join("a").join(name(3))).unwrap();
    std::fs::create_dir(p.dir.path().join("a").join(name(3))).unwrap();
    std::os::unix::fs::symlink("/dev/zero", p.dir.path().join("b").join(name(3))).unwrap();
    std::os::unix::fs::symlink("nowhere", p.dir.path().join("pg_wal").join(name(3))).unwrap();
    let fifo = p.dir.path().join("b").join(name(4));
    assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
    let set = p.set(None);
    let error = set.open(1, 3).unwrap_err().to_string();
    assert!(
        error.contains("not a regular file") && error.contains("could not be read: No such file"),
        "{error}"
    );
    assert!(set.open(1, 4).unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn partials_and_damaged_copies() {
    let p = Place3::new();
    p.put(&format!("a/{}.partial", name(3)), &segment(1, 3, 2)[..3 * PAGE_SIZE]);
    let mut whole = segment(1, 4, 128);
    for (n, b) in whole.iter_mut().enumerate().filter(|(n, _)| n % PAGE_SIZE >= LONG_HEADER) {
        *b = ((n as u32).wrapping_mul(2_654_435_761) >> 24) as u8;
    }
    let packed = gzip(&whole);
    p.put(&format!("a/{}.gz.partial", name(4)), &packed[..packed.len() / 2]);
    p.put(&format!("b/{}", name(5)), &segment(1, 5, 128)[..500_000]);
    let set = p.set(None);
    let found = set.open(1, 3).unwrap().unwrap();
    assert!(found.partial && found.len == 3 * PAGE_SIZE as u64);
    assert!(set.open(1, 4).unwrap().unwrap().len < MB);
    assert!(set.open(1, 5).is_err());
    assert_eq!(set.open_damaged(1, 5).unwrap().len, 500_000);
    // a whole one is preferred, in whichever archive
    p.put(&format!("b/{}", name(3)), &segment(1, 3, 2));
    assert!(!p.set(None).open(1, 3).unwrap().unwrap().partial);
}

#[test]
fn the_restore_command_comes_last_and_once() {
    let p = Place3::new();
    p.put(&format!("store/{}", name(9)), &gzip(&segment(1, 9, 2)));
    p.put(&format!("store/{}", name(10)), &segment(1, 4, 2));
    p.put("store/00000002.history", b"1\t0/300000\tno recovery target specified\n");
    let root = p.dir.path().display().to_string();
    let set = p.set(Some(&format!("echo %f >> {root}/runs; cp {root}/store/%f %p")));
    let found = set.open(1, 9).unwrap().unwrap();
    assert_eq!(found.place, Place::Restored);
    assert_eq!(set.places(1, 9)[0].place, Place::Restored);
    assert!(set.open(1, 9).unwrap().is_some());
    assert!(set.open(1, 10).unwrap().is_none());
    assert!(set.open(1, 11).unwrap().is_none() && set.open(1, 11).unwrap().is_none());
    let reason = set.rejected_for(1, 11)[0].reason.to_string();
    assert!(reason.starts_with("restore command: exit status 1: cp: cannot stat"), "{reason}");
    assert_eq!(set.restored_history(2).unwrap().bytes.len(), 40);
    assert!(set.restored_history(3).is_none() && set.problems().is_empty());
    let runs = std::fs::read_to_string(p.dir.path().join("runs")).unwrap();
    let wanted = [name(9), name(10), name(11), "00000002.history".into(), "00000003.history".into()];
    assert_eq!(runs.lines().collect::<Vec<_>>(), wanted);
    assert!(std::fs::read_dir(p.dir.path().join("pg_wal")).unwrap().next().is_none());
}

#[test]
fn nothing_is_listed_decoded_or_run_after_a_cancel() {
    let p = Place3::new();
    p.put(&format!("pg_wal/{}", name(3)), &segment(1, 3, 2));
    p.put(&format!("a/{}.gz", name(4)), &gzip(&segment(1, 4, 2)));
    p.put(&format!("b/{}", name(4)), &segment(1, 4, 2));
    let root = p.dir.path();
    let cancel = Arc::new(AtomicBool::new(false));
    let restore = RestoreCommand::new(format!("touch {}/ran; false %f %p", root.display())).unwrap();
    let list = || {
        let archives = [root.join("a"), root.join("b")];
        let of = (size(), identity());
        WalSet::until(&root.join("pg_wal"), &archives, Some(restore.clone()), of, Arc::clone(&cancel))
    };
    let set = list();
    assert!(set.open(1, 3).unwrap().is_some() && set.places(1, 4).len() == 2);
    cancel.store(true, Ordering::Relaxed);
    assert!(set.open(1, 3).unwrap().is_none() && set.open(1, 5).unwrap().is_none());
    assert!(set.places(1, 4).is_empty() && set.open_damaged(1, 4).is_none());
    assert!(set.restored_history(2).is_none() && !root.join("ran").exists());
    let candidate = set.candidates(1, 4).remove(0);
    assert!(matches!(set.read_candidate((1, 4), &candidate), Err(Reason::Unreadable(_))));
    let listed_late = list();
    assert!(listed_late.timelines().is_empty() && listed_late.candidates(1, 3).is_empty());
}

#[test]
fn a_restore_command_that_hangs_is_not_run_again() {
    let p = Place3::new();
    let set = p.set(Some("sleep 100"));
    let started = Instant::now();
    for segno in 0..20 {
        assert!(set.open(1, segno).unwrap().is_none());
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    let reason = set.rejected_for(1, 0)[0].reason.to_string();
    assert!(reason.contains("killed after 0.4 s"), "{reason}");
}

#[test]
fn layouts_links_and_loops() {
    let p = Place3::new();
    let sha = "0123456789abcdef0123456789abcdef01234567";
    p.put(&format!("a/archive/main/17-1/0000000100000000/{}-{sha}.gz", name(3)), &gzip(&segment(1, 3, 2)));
    p.put(&format!("a/archive/main/17-1/00000002.history-{sha}.gz"), &gzip(b"1\t0/3\tx\n"));
    p.put(&format!("a/backup/main/{}", name(4)), &segment(1, 4, 2));
    p.put(&format!("a/srv/wals/0000000100000000/{}", name(5)), &lz4(&segment(1, 5, 2)));
    p.put(&format!("real/{}", name(6)), &segment(1, 6, 2));
    p.put("pg_wal/00000003.history", b"1\t0/4\ty\n");
    p.put("pg_wal/000000010000000000000002.00000028.backup", b"START WAL LOCATION");
    let at = |sub: &str| p.dir.path().join(sub);
    std::os::unix::fs::symlink(at("a"), at("a/srv/loop")).unwrap();
    std::os::unix::fs::symlink("loop2", at("a/loop2")).unwrap();
    std::os::unix::fs::symlink(at("real"), at("b/link")).unwrap();
    std::os::unix::fs::symlink(at("pg_wal"), at("b/own")).unwrap();
    let set = p.set(None);
    assert_eq!(set.timelines(), [1]);
    assert_eq!(set.segments(1).collect::<Vec<_>>(), [3, 5, 6]);
    for segno in [3, 5, 6] {
        assert!(set.open(1, segno).unwrap().is_some(), "{segno}");
    }
    let histories = set.histories();
    assert_eq!(histories.iter().map(|h| (h.timeline, h.own)).collect::<Vec<_>>(), [(3, true), (2, false)]);
    assert_eq!(histories[1].bytes, b"1\t0/3\tx\n");
    assert_eq!(set.backup_records().len(), 1);
    assert_eq!(set.problems(), []);
    // names with more than 255 in their last part are of segments smaller than 16 MB
    p.put("pg_wal/000000010000000000000ABC", b"");
    let set = WalSet::new(&at("pg_wal"), &[], None, SegmentSize::DEFAULT, identity());
    assert!(set.problems()[0].1.contains("another segment size"), "{:?}", set.problems());
    // a missing directory is told
    let set = WalSet::new(&at("nowhere"), &[at("gone")], None, size(), identity());
    assert_eq!(set.problems().len(), 2);
    assert!(set.open(1, 3).unwrap().is_none());
}

#[test]
fn many_names_are_listed_fast() {
    let p = Place3::new();
    for segno in 0..20_000 {
        File::create(p.dir.path().join("pg_wal").join(name(segno))).unwrap();
    }
    let started = Instant::now();
    let set = p.set(None);
    let took = started.elapsed();
    assert_eq!(set.first_and_last(1), Some((0, 19_999)));
    assert_eq!(set.segments(1).count(), 20_000);
    assert_eq!(set.candidates(1, 12_345).len(), 1);
    assert!(took < Duration::from_secs(1), "{took:?}");
    eprintln!("20,000 names: {took:?}");
}

#[test]
fn conflicts_are_told_from_older_copies() {
    let start = 3 * MB;
    // three records on page 0, then a good page 1 where `pages` is 2
    let wal = |pages: usize, seeds: &[u8]| {
        let mut bytes = segment(1, 3, pages);
        let (mut at, mut prev) = (LONG_HEADER, 0);
        for seed in seeds {
            let end = record(&mut bytes, start, at, prev, 200, *seed);
            (prev, at) = (at, end);
        }
        bytes
    };
    let verdict = |a: &[u8], b: &[u8]| {
        let p = Place3::new();
        p.put(&format!("pg_wal/{}", name(3)), a);
        p.put(&format!("a/{}.gz", name(3)), &gzip(b));
        let found = p.set(None).conflicts(&[WalName::Segment(1, 3), WalName::History(2)]);
        found.first().map(|c| c.offset)
    };
    let base = wal(1, &[1, 2, 3]);
    assert_eq!(verdict(&base, &base), None);
    assert_eq!(verdict(&wal(1, &[1, 2]), &base), None, "a prefix with zeros behind it");
    // prefix with what a recycled file held behind it: no record of this place
    let mut stale = wal(1, &[1, 2, 3]);
    stale[LONG_HEADER + 400..LONG_HEADER + 3000].fill(0xAB);
    assert_eq!(verdict(&stale, &base), None, "a prefix with junk behind it");
    let third = LONG_HEADER as u64 + 400;
    assert_eq!(verdict(&wal(1, &[1, 2, 9]), &base), Some(third + 20), "another third record");
    assert_eq!(verdict(&wal(2, &[1, 9, 3]), &wal(2, &[1, 2, 3])), Some(third - 200 + 20));
    // both live, and a page further on that only one has
    assert_eq!(verdict(&wal(2, &[1, 2, 3]), &base), None);
    let p = Place3::new();
    p.put("pg_wal/00000002.history", b"1\t0/300000\tx\n");
    p.put("b/00000002.history.gz", &gzip(b"1\t0/400000\tx\n"));
    let found = p.set(None).conflicts(&[WalName::History(2)]);
    assert_eq!((found.len(), found[0].offset), (1, 4));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]
    #[test]
    fn junk_files_never_panic(junk in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..100), keep in 0..40_usize) {
        let p = Place3::new();
        let mut bytes = segment(1, 3, 2);
        bytes[keep..keep + junk.len()].copy_from_slice(&junk);
        p.put(&format!("pg_wal/{}", name(3)), &bytes);
        p.put(&format!("a/{}", name(3)), &segment(1, 3, 2));
        let set = p.set(None);
        let _ = (set.open(1, 3), set.places(1, 3), set.conflicts(&[WalName::Segment(1, 3)]));
    }
}
