use proptest::prelude::*;

use super::release::{CATALOG_OFFSET, VERSION_OFFSET};
use super::*;

fn sample(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/testdata/control/{name}/pg_control", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn with_u32(mut bytes: Vec<u8>, offset: usize, value: u32) -> Vec<u8> {
    bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

/// Offsets as measured on real files: the checkpoint copy's size, WAL segment size's place, the CRC's place.
#[test]
fn layouts() {
    use Major::*;
    let expected = |major| match major {
        V9_0 | V9_1 => (56, 164, 184),
        V9_2 => (64, 180, 200),
        V9_3 => (72, 204, 228),
        V9_4 => (72, 212, 240),
        V9_5 | V9_6 => (80, 228, 256),
        V10 => (80, 228, 288),
        V11 => (80, 220, 280),
        V12 | V13 | V14 | V15 | V16 | V17 => (88, 228, 288),
        V18 => (88, 228, 292),
        V19 => (96, 240, 308),
    };
    for major in Major::ALL {
        let (checkpoint_size, segment_size_at, crc_at) = expected(major);
        let zeros = [0; 512];
        let mut fields = Fields::new(&zeros, major);
        CheckpointCopy::read(&mut fields).unwrap();
        assert_eq!(fields.bytes.position().next_multiple_of(8), checkpoint_size, "{major}");
        let (_, crc) = ControlFile::read(&zeros, major).unwrap();
        assert_eq!(crc.crc, crc_at, "{major}");
        let one_there = with_u32(zeros.to_vec(), segment_size_at, 77);
        assert_eq!(ControlFile::parse_as(&one_there, major).unwrap().wal_segment_size, 77, "{major}");
    }
}

#[test]
fn both_checksums() {
    for name in [
        "9.0",
        "9.1",
        "9.2",
        "9.3",
        "9.4",
        "9.5-target",
        "9.6-source",
        "10",
        "11",
        "12",
        "13",
        "14",
        "15",
        "16",
        "17",
        "18",
        "19",
    ] {
        let bytes = sample(name);
        let major = Major::from_pg_version(name.split('-').next().unwrap());
        let control = ControlFile::parse_with_hint(&bytes, major).unwrap();
        assert!(control.crc_ok, "{name}");
        assert_eq!(Some(control.major), major);
        let problems = control.problems(&bytes);
        // 9.0 to 9.4 were built from the points at which their branches began
        let early = ["9.0", "9.4"].contains(&name);
        assert_eq!(problems.len(), usize::from(early), "{name}: {problems:?}");
        assert!(problems.iter().all(|p| matches!(p, ControlProblem::CatalogVersion { .. })));
        let damaged = with_u32(bytes, 24, 0);
        let control = ControlFile::parse_with_hint(&damaged, major).unwrap();
        assert!(!control.crc_ok, "{name}");
        let problems = control.problems(&damaged);
        let [ControlProblem::Crc { stored, computed, .. }, ..] = problems.as_slice() else {
            panic!("{problems:?}")
        };
        assert_ne!(stored, computed);
    }
}

#[test]
fn fields_of_17_and_19() {
    let control = ControlFile::parse(&sample("17")).unwrap();
    assert_eq!(control.version_dir(), "PG_17_202406281");
    assert_eq!(control.segment_size(), Some(SegmentSize::DEFAULT));
    assert!(control.state.is_shut_down());
    assert_eq!(control.checkpoint_copy.redo, control.checkpoint);
    assert_eq!(control.checkpoint_copy.full_next_xid(), u64::from(control.checkpoint_copy.next_xid));
    assert_eq!(control.checkpoint_copy.wal_level, Some(1));
    let control = ControlFile::parse(&sample("19")).unwrap();
    assert_eq!(control.slru_pages_per_segment, Some(32));
    assert_eq!(control.data_checksum_version_init, control.data_checksum_version);
    assert_eq!(control.default_char_signed, Some(true));
}

#[test]
fn majors_that_share_a_version() {
    for (catalog, major) in [(202_007_201, Major::V13), (202_107_181, Major::V14), (202_307_071, Major::V16)]
    {
        let bytes = with_u32(sample("15"), CATALOG_OFFSET, catalog);
        assert_eq!(ControlFile::parse_with_hint(&bytes, Some(Major::V15)).unwrap().major, major);
    }
    let odd = with_u32(sample("15"), CATALOG_OFFSET, 202_301_010);
    assert_eq!(ControlFile::parse_with_hint(&odd, Some(Major::V15)).unwrap().major, Major::V15);
    for hint in [None, Some(Major::V17)] {
        let error = ControlFile::parse_with_hint(&odd, hint).unwrap_err();
        assert_eq!(error, ControlError::UnknownCatalog { version: 1300, found: 202_301_010 });
        assert!(error.to_string().contains("offset 12"), "{error}");
        assert!(error.to_string().contains("202107181 (14)"), "{error}");
    }
    let odd = with_u32(sample("17"), CATALOG_OFFSET, 1);
    assert_eq!(ControlFile::parse_with_hint(&odd, Some(Major::V15)).unwrap().major, Major::V17);
}

#[test]
fn what_is_no_control_file() {
    let error = ControlFile::parse(&[]).unwrap_err();
    assert_eq!(error.to_string(), "the control file ends too early: 4 bytes wanted at offset 8, 0 there");
    let error = ControlFile::parse(&sample("17")[..290]).unwrap_err();
    assert_eq!(error.to_string(), "the control file ends too early: 4 bytes wanted at offset 288, 2 there");
    let error =
        ControlFile::parse(&with_u32(sample("17"), VERSION_OFFSET, 1700u32.swap_bytes())).unwrap_err();
    assert_eq!(error, ControlError::ByteOrder { found: 1700u32.swap_bytes(), swapped: 1700 });
    assert!(error.to_string().contains("written on a big-endian machine"));
    let error = ControlFile::parse(&[0; 8192]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the control file has an unknown version: 0 at offset 8; known are 903 (9.0/9.1), 922 (9.2), 937 (9.3), \
         942 (9.4/9.5), 960 (9.6), 1002 (10), 1100 (11), 1201 (12), 1300 (13/14/15/16), 1700 (17), 1800 (18), \
         1905 (19)"
    );
}

#[test]
fn one_problem_each() {
    let bytes = sample("17");
    let only = |bytes: &[u8]| {
        let control = ControlFile::parse(bytes).unwrap();
        let mut problems = control.problems(bytes);
        problems.retain(|p| !matches!(p, ControlProblem::Crc { .. }));
        assert_eq!(problems.len(), 1, "{problems:?}");
        problems.remove(0)
    };
    assert_eq!(only(&bytes[..4096]), ControlProblem::FileSize { found: 4096 });
    assert_eq!(only(&with_u32(bytes.clone(), 16, 9)), ControlProblem::State { found: 9 });
    assert!(matches!(
        only(&with_u32(bytes.clone(), 204, 4)),
        ControlProblem::Machine { max_align: 4, float_format } if float_format.to_bits() == FLOAT_FORMAT.to_bits()
    ));
    assert_eq!(only(&with_u32(bytes.clone(), 216, 32768)), ControlProblem::BlockSize { found: 32768 });
    assert_eq!(only(&with_u32(bytes.clone(), 220, 1)), ControlProblem::RelationSegmentSize { found: 1 });
    assert_eq!(only(&with_u32(bytes.clone(), 224, 1)), ControlProblem::WalBlockSize { found: 1 });
    for found in [0, 1, 3 << 20, 1 << 19, 1 << 31] {
        assert_eq!(only(&with_u32(bytes.clone(), 228, found)), ControlProblem::WalSegmentSize { found });
    }
    assert_eq!(only(&with_u32(bytes.clone(), 232, 128)), ControlProblem::NameDataLen { found: 128 });
    let odd_catalog = with_u32(bytes.clone(), 12, 5);
    assert!(matches!(only(&odd_catalog), ControlProblem::CatalogVersion { found: 5, .. }));
}

#[test]
fn checkpoint_records() {
    let bytes = sample("19");
    let control = ControlFile::parse(&bytes).unwrap();
    assert_eq!(CheckpointCopy::parse(&bytes[40..136], Major::V19).unwrap(), control.checkpoint_copy);
    assert!(CheckpointCopy::parse(&bytes[40..160], Major::V19).is_ok());
    assert_eq!(
        CheckpointCopy::parse(&bytes[40..128], Major::V19),
        Err(Short { offset: 88, wanted: 4, available: 0 })
    );
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes: Vec<u8>, hint in prop::option::of(0..Major::ALL.len())) {
        let hint = hint.map(|i| Major::ALL[i]);
        let _ = ControlFile::parse_with_hint(&bytes, hint);
        for major in Major::ALL {
            let _ = CheckpointCopy::parse(&bytes, major);
            if let Ok(control) = ControlFile::parse_as(&bytes, major) {
                control.problems(&bytes);
            }
        }
    }

    #[test]
    fn mutated_files_never_panic(
        name in prop::sample::select(vec!["9.0", "9.2", "9.4", "9.6-source", "13", "17", "19"]),
        changes in prop::collection::vec((0..320usize, any::<u8>()), 1..9),
        length in 0..=8192usize,
    ) {
        let mut bytes = sample(name);
        for (offset, value) in changes {
            bytes[offset] = value;
        }
        bytes.truncate(length);
        if let Ok(control) = ControlFile::parse_with_hint(&bytes, Some(Major::V9_0)) {
            control.problems(&bytes);
        }
    }
}
