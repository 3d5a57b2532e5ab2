//! Replication slots (`pg_replslot/NAME/state`, slot.c).

use std::io;
use std::io::Read;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::pg::bytes::{Bytes, Short};
use crate::pg::{Lsn, Oid, Xid};

/// `SLOT_MAGIC`.
const MAGIC: u32 = 0x0105_1CA1;
/// Magic and CRC, which the CRC does not cover; the version follows.
const UNCHECKED: usize = 8;
/// The persistent data begins here.
const DATA: usize = 16;
/// `NAMEDATALEN`.
const NAME: usize = 64;
/// No state file is longer (bytes).
const LIMIT: u64 = 4096;

/// A replication slot as it lies on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub name: String,
    /// Database of a logical slot; 0 for a physical one.
    pub database: Oid,
    /// Oldest WAL that it holds.
    pub restart_lsn: Lsn,
    /// For logical slots: what the consumer has confirmed.
    pub confirmed_flush: Lsn,
    /// For logical slots: the output plugin.
    pub plugin: String,
    /// Oldest transaction that it holds.
    pub xmin: Xid,
    /// Oldest catalog transaction that it holds.
    pub catalog_xmin: Xid,
    /// Survives a restart (not temporary).
    pub persistent: bool,
    /// Invalidated, 13+ (up to 15 it has lost its WAL position, from 16 it carries a cause).
    pub invalidated: bool,
    /// Failover slot, 17+.
    pub failover: bool,
    /// Synced from the primary, 17+.
    pub synced: bool,
}

/// A state file that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BadSlot {
    /// It ends too early.
    #[error(transparent)]
    Short(#[from] Short),
    /// It begins with another number than a slot.
    #[error("magic {0:08X} at offset 0 instead of 01051CA1")]
    Magic(u32),
    /// A version and length (bytes) that no known major writes.
    #[error("version {0} with {1} bytes of data, which no known major writes")]
    Version(u32, u32),
    /// The CRC-32C is wrong.
    #[error("CRC {stored:08X} at offset 4, computed {computed:08X}")]
    Crc {
        /// In the file.
        stored: u32,
        /// Of the bytes from offset 8.
        computed: u32,
    },
}

impl Slot {
    /// A physical slot, that of a standby or of a WAL receiver, belongs to no database.
    pub const fn is_physical(&self) -> bool {
        self.database == 0
    }

    /// Reads a state file's content. Which layout it has follows from its version and length: 2 with 160 bytes (9.5
    /// to 12), 168 (13) or 184 (14, 15), 3 (16) and 5 (17 to 19) with 184.
    ///
    /// # Errors
    /// It is short, no slot's, of an unknown layout, or its CRC is wrong.
    pub fn parse(content: &[u8]) -> Result<Self, BadSlot> {
        let bytes = Bytes::new(content);
        let magic = bytes.u32_at(0)?;
        if magic != MAGIC {
            return Err(BadSlot::Magic(magic));
        }
        let (stored, version, length) = (bytes.u32_at(4)?, bytes.u32_at(8)?, bytes.u32_at(12)?);
        let plugin_at = match (version, length) {
            (2, 160) => 112,
            (2, 168) => 120,
            (2 | 3 | 5, 184) => 129,
            _ => return Err(BadSlot::Version(version, length)),
        };
        let computed = crc32c::crc32c(bytes.slice_at(UNCHECKED, DATA - UNCHECKED + length as usize)?);
        if computed != stored {
            return Err(BadSlot::Crc { stored, computed });
        }
        let text = |at: usize| -> Result<String, Short> {
            let name = bytes.slice_at(at, NAME)?;
            let end = name.iter().position(|b| *b == 0).unwrap_or(NAME);
            Ok(String::from_utf8_lossy(name.get(..end).unwrap_or_default()).into_owned())
        };
        let restart_lsn = Lsn(bytes.u64_at(96)?);
        let invalidated = match (version, length) {
            (2, 160) => false,
            // invalidated_at, the LSN that it lost
            (2, _) => bytes.u64_at(104)? != 0 && !restart_lsn.is_valid(),
            // ReplicationSlotInvalidationCause
            _ => bytes.u32_at(104)? != 0,
        };
        Ok(Self {
            name: text(DATA)?,
            database: bytes.u32_at(80)?,
            persistent: bytes.u32_at(84)? == 0,
            xmin: bytes.u32_at(88)?,
            catalog_xmin: bytes.u32_at(92)?,
            restart_lsn,
            invalidated,
            confirmed_flush: Lsn(bytes.u64_at(if length == 160 { 104 } else { 112 })?),
            plugin: text(plugin_at)?,
            synced: version >= 5 && bytes.u8_at(193)? != 0,
            failover: version >= 5 && bytes.u8_at(194)? != 0,
        })
    }
}

/// The slots of a data directory, sorted by name, and what could not be read, each with a sentence. Directories whose
/// name ends in `.tmp` are slots that were just being made or dropped; the server removes them, and so they are left
/// out here.
pub fn read(dir: &Path) -> (Vec<Slot>, Vec<(PathBuf, String)>) {
    let mut slots = Vec::new();
    let mut problems = Vec::new();
    let root = dir.join("pg_replslot");
    let entries = match std::fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return (slots, problems),
        Err(e) => return (slots, vec![(root, format!("could not be listed: {e}"))]),
    };
    for entry in entries.flatten() {
        let is_dir = entry.file_type().is_ok_and(|t| t.is_dir());
        if !is_dir || entry.file_name().as_encoded_bytes().ends_with(b".tmp") {
            continue;
        }
        let path = entry.path().join("state");
        match read_state(&path) {
            Ok(slot) => slots.push(slot),
            Err(what) => problems.push((path, what)),
        }
    }
    slots.sort_by(|a, b| a.name.cmp(&b.name));
    problems.sort();
    (slots, problems)
}

fn read_state(path: &Path) -> Result<Slot, String> {
    let failed = |e: io::Error| format!("could not be read: {e}");
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        return Err("not a regular file".into());
    }
    let mut content = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LIMIT).read_to_end(&mut content).map_err(failed)?;
    Slot::parse(&content).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/slot-states")
    }

    #[test]
    fn every_major_s_slots_are_what_the_server_said() {
        let mut seen = 0;
        for major in 10..=19 {
            let dir = fixtures().join(major.to_string());
            let said = fs::read_to_string(dir.join("slots.json")).unwrap();
            let said: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
            assert!(said.len() >= 4, "{major}");
            for row in said {
                let name = row["slot_name"].as_str().unwrap();
                let slot = Slot::parse(&fs::read(dir.join(format!("{name}.state"))).unwrap()).unwrap();
                let text = |key: &str| row[key].as_str().map(str::to_owned);
                let lsn = |l: Lsn| l.is_valid().then_some(l);
                let said_lsn = |key: &str| row[key].as_str().map(|t| t.parse::<Lsn>().unwrap());
                let number = |n: u32| (n != 0).then(|| n.to_string());
                let what = format!("{major} {name}");
                assert_eq!(slot.name, name);
                assert_eq!(number(slot.database), text("datoid"), "{what}");
                assert_eq!(slot.is_physical(), row["slot_type"] == "physical", "{what}");
                assert_eq!(number(slot.catalog_xmin), text("catalog_xmin"), "{what}");
                assert_eq!(number(slot.xmin), text("xmin"), "{what}");
                assert_eq!((!slot.plugin.is_empty()).then_some(slot.plugin), text("plugin"), "{what}");
                assert_eq!(lsn(slot.confirmed_flush), said_lsn("confirmed_flush_lsn"), "{what}");
                assert_eq!(lsn(slot.restart_lsn), said_lsn("restart_lsn"), "{what}");
                assert_eq!(slot.invalidated, row["wal_status"] == "lost", "{what}");
                assert!(slot.persistent, "{what}");
                assert_eq!(slot.failover, row["failover"] == true, "{what}");
                assert_eq!(slot.synced, row["synced"] == true, "{what}");
                seen += 1;
            }
        }
        assert!(seen > 60, "{seen}");
    }

    #[test]
    fn a_directory_of_slots() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("pg_replslot");
        assert_eq!(read(dir.path()), (vec![], vec![]));
        let good = fs::read(fixtures().join("17/logical_live.state")).unwrap();
        let mut bad = good.clone();
        bad[100] ^= 1;
        for (name, content) in [("b", &good), ("broken", &bad), ("x.tmp", &good), ("empty", &Vec::new())] {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("state"), content).unwrap();
        }
        fs::create_dir_all(root.join("dir/state")).unwrap();
        let (slots, problems) = read(dir.path());
        assert_eq!(slots.len(), 1);
        assert!(slots[0].name == "logical_live" && !slots[0].invalidated);
        let what: Vec<_> = problems.iter().map(|(_, w)| w.as_str()).collect();
        assert!(what[0].starts_with("CRC ") && what[0].contains("at offset 4, computed"), "{what:?}");
        assert_eq!(what[1..], ["not a regular file", "4 bytes wanted at offset 0, 0 there"]);
    }

    proptest! {
        #[test]
        fn junk_never_panics(mut junk in proptest::collection::vec(any::<u8>(), 0..220), version in 0..7_u32, length in 150..190_u32) {
            let _ = Slot::parse(&junk);
            if junk.len() >= 16 {
                junk[..4].copy_from_slice(&MAGIC.to_le_bytes());
                junk[8..12].copy_from_slice(&version.to_le_bytes());
                junk[12..16].copy_from_slice(&length.to_le_bytes());
                let end = junk.len().min(DATA + length as usize);
                let crc = crc32c::crc32c(&junk[8..end]);
                junk[4..8].copy_from_slice(&crc.to_le_bytes());
                let _ = Slot::parse(&junk);
            }
        }
    }
}
