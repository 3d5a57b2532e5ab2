//! What the reading of directories and archives says of the bundled pairs, against what SQL and the scripts that made
//! them recorded.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers, too

#[path = "common/pairs.rs"]
mod pairs;

use std::path::Path;

use forkpoint::pg::control::ControlFile;
use forkpoint::pg::{Lsn, SegmentSize, WalName};
use forkpoint::source::leftovers::Leftovers;
use forkpoint::source::settings::Settings;
use forkpoint::source::slots;
use forkpoint::source::trees::{Kind, Trees, relation_file};
use forkpoint::source::walset::{Place, Reason, WalIdentity, WalSet, conflicts};

/// The WAL of one side of an unpacked pair, and the scenario's archive if it has one.
fn wal_of(dir: &Path, side: &str) -> WalSet {
    let data = dir.join(side);
    let control = std::fs::read(data.join("global/pg_control")).unwrap();
    let control = ControlFile::parse(&control).unwrap();
    let size = SegmentSize::new(control.wal_segment_size).unwrap();
    let identity =
        WalIdentity { system_identifier: control.system_identifier, magic: None, major: Some(control.major) };
    let archive = dir.join("archive");
    let archives = if archive.exists() { vec![archive] } else { Vec::new() };
    WalSet::new(&data.join(control.major.wal_dir()), &archives, None, size, identity)
}

fn strings<'a>(value: &'a serde_json::Value, key: &str) -> Vec<&'a str> {
    value[key].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

#[test]
fn segments_that_only_a_compressed_archive_has() {
    let dir = pairs::unpack("recycled-archive");
    let truth = pairs::truth("recycled-archive");
    let set = wal_of(&dir, "target");
    let mut kinds = std::collections::BTreeSet::new();
    for name in strings(&truth, "wal_only_in_archive") {
        let Some(WalName::Segment(timeline, segno)) = WalName::parse(name, set.segment_size()) else {
            panic!("{name}")
        };
        let segment = set.open(timeline, segno).unwrap().unwrap_or_else(|| panic!("{name} was not found"));
        assert_eq!((segment.place, segment.len), (Place::Archive(0), set.segment_size().bytes()), "{name}");
        assert_eq!(set.places(timeline, segno)[0].path, segment.path, "{name}");
        let mut page = [0; 16];
        assert_eq!(segment.read_at(0, &mut page).unwrap(), 16);
        let address = u64::from_le_bytes(page[8..].try_into().unwrap());
        assert_eq!(Lsn(address), set.segment_size().start(segno), "{name}");
        kinds.insert(segment.path.extension().map(|e| e.to_string_lossy().into_owned()));
    }
    assert!(kinds.len() >= 5, "compressions seen: {kinds:?}");
    assert_eq!(set.histories().len(), 1, "the archive's 00000002.history");
    assert!(set.problems().is_empty(), "{:?}", set.problems());
}

#[test]
fn slots_of_both_sides() {
    let dir = pairs::unpack("slots");
    let truth = pairs::truth("slots");
    for (side, key) in [("target", "slots"), ("source", "source_slots")] {
        let (found, problems) = slots::read(&dir.join(side));
        assert!(problems.is_empty(), "{problems:?}");
        let said = truth[key].as_array().unwrap();
        assert_eq!(found.len(), said.len(), "{side}");
        for (slot, said) in found.iter().zip(said) {
            assert_eq!(slot.name, said["slot_name"].as_str().unwrap());
            assert_eq!(slot.is_physical(), said["slot_type"] == "physical");
            let lsn = |key: &str| said[key].as_str().map_or(Lsn::INVALID, |t| t.parse().unwrap());
            // SQL was asked before the stop, and a consumer or the stop may have moved it since
            assert!(slot.restart_lsn >= lsn("restart_lsn"), "{slot:?} {said}");
            assert!(slot.confirmed_flush >= lsn("confirmed_flush_lsn"), "{slot:?} {said}");
        }
    }
}

/// All segment and history names of these sets.
fn all_names(sets: &[&WalSet]) -> Vec<WalName> {
    let mut names = Vec::new();
    for set in sets {
        for timeline in set.timelines() {
            names.extend(set.segments(timeline).map(|segno| WalName::Segment(timeline, segno)));
        }
        names.extend(set.histories().iter().map(|h| WalName::History(h.timeline)));
    }
    names.sort_unstable();
    names.dedup();
    names
}

#[test]
fn conflicts_in_archives_are_those_that_were_made() {
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        if !dir.join("archive").exists() || !dir.join("target/global/pg_control").exists() {
            continue;
        }
        let set = wal_of(&dir, "target");
        let found = set.conflicts(&all_names(&[&set]));
        let found: Vec<&str> = found.iter().map(|c| c.name.as_str()).collect();
        let truth = pairs::truth(&scenario);
        let wanted = if truth["conflicting_segments"].is_array() {
            strings(&truth, "conflicting_segments")
        } else {
            vec![]
        };
        // the truth names those that the target was seen to write; others of the same writer conflict as well
        assert!(wanted.iter().all(|name| found.contains(name)), "{scenario}: {found:?}");
        assert_eq!(wanted.is_empty(), found.is_empty(), "{scenario}: {found:?}");
    }
}

#[test]
fn a_side_that_only_ends_earlier_is_no_conflict() {
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        let control = |side: &str| dir.join(side).join("global/pg_control").exists();
        if !control("target") || !control("source") {
            continue;
        }
        let (target, source) = (wal_of(&dir, "target"), wal_of(&dir, "source"));
        if target.identity() != source.identity() {
            continue;
        }
        let sets = [&target, &source];
        let found = conflicts(&sets, &all_names(&sets));
        println!("{scenario}: {found:?}");
        let twins = scenario.contains("twins") || scenario == "archive-conflict";
        assert!(found.is_empty() || twins, "{scenario}: {found:?}");
        assert!(!found.is_empty() || !twins, "{scenario}: two histories of one timeline, and no conflict");
    }
}

#[test]
fn every_segment_is_opened_or_told() {
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        for side in ["target", "source"] {
            if !dir.join(side).join("global/pg_control").exists() {
                continue;
            }
            let set = wal_of(&dir, side);
            for timeline in set.timelines() {
                for segno in set.segments(timeline) {
                    let opened = set.open(timeline, segno).unwrap();
                    if opened.is_none() {
                        let why = set.rejected_for(timeline, segno);
                        assert!(why.iter().all(|r| r.reason.is_future()), "{scenario} {side}: {why:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn settings_leftovers_and_trees() {
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        let (target, source) = (dir.join("target"), dir.join("source"));
        if !target.join("PG_VERSION").exists() || !source.join("PG_VERSION").exists() {
            continue;
        }
        for data in [&target, &source] {
            let settings = Settings::read(data, None);
            if settings.has_postgresql_conf {
                assert!(settings.problems.is_empty(), "{scenario}: {:?}", settings.problems);
                assert!(
                    settings.get("max_wal_senders").is_some() || settings.get("wal_level").is_some(),
                    "{scenario}"
                );
            }
            let leftovers = Leftovers::read(data, None, &data.join("pg_wal"));
            assert!(leftovers.problems.is_empty(), "{scenario}: {:?}", leftovers.problems);
            assert!(!leftovers.postmaster.is_some_and(|p| p.running()), "{scenario}");
        }
        let trees = Trees::read(&target, &source);
        for tree in [&trees.target, &trees.source] {
            assert!(tree.get(Path::new("PG_VERSION")).is_some_and(|e| e.kind == Kind::File), "{scenario}");
            assert!(tree.iter().any(|e| relation_file(e.path).is_some()), "{scenario}");
        }
        assert!(trees.pairs().count() >= trees.target.len().max(trees.source.len()), "{scenario}");
        assert_eq!(trees.differing_types().count(), 0, "{scenario}");
    }
}

#[test]
fn a_recycled_segment_says_what_it_was() {
    let mut seen = 0;
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        if !dir.join("target/global/pg_control").exists() {
            continue;
        }
        let set = wal_of(&dir, "target");
        for timeline in set.timelines() {
            for segno in set.segments(timeline) {
                let _ = set.open(timeline, segno);
            }
        }
        for rejected in set.rejected() {
            if let Reason::Recycled { page, .. } = rejected.reason {
                assert!(page < set.segment_size().start(rejected.segno), "{scenario}: {rejected:?}");
                seen += 1;
            }
        }
    }
    println!("{seen} recycled files");
}
