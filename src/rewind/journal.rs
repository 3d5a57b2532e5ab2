//! The journal: what was done so far, one checksummed record after the other.
//!
//! A record is its length and the CRC-32C of its payload, both as little-endian 32-bit numbers, and the payload, JSON.
//! Records are only ever appended, and each is synced before anything relies on it; so what is incomplete at the end
//! never happened.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use super::disk::{Meta, Stamp, Xattrs};
use crate::plan::model::decimal;
use crate::plan::path::PlanPath;

/// Version of the store's format.
pub const FORMAT: u32 = 1;
/// Longest payload in bytes.
const LONGEST: u32 = 256 << 20;
/// Bytes before the payload.
const HEAD: usize = 8;

/// One step that is safe on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case", deny_unknown_fields)]
pub enum Record {
    /// The first one.
    Begin(Box<Begin>),
    /// What lies where the next operations will write is safe.
    Saved(Saved),
    /// All operations before this one are on disk.
    Performed {
        /// Number of the first operation that may not be.
        operations: usize,
    },
    /// The new control file and backup_label, before they are put in place.
    Finishing(Finishing),
    /// The rewind is finished.
    Done {
        /// Seconds since 1970 UTC.
        at: i64,
    },
    /// From here on there is only the way back.
    UndoBegun {
        /// Seconds since 1970 UTC.
        at: i64,
    },
    /// The way back goes by the clone: what is kept otherwise is not enough.
    ByClone,
    /// The target is what it was but for its control file.
    Restored,
    /// The target is what it was.
    Undone {
        /// Seconds since 1970 UTC.
        at: i64,
    },
    /// The store is being removed.
    Discarding {
        /// Seconds since 1970 UTC.
        at: i64,
    },
}

/// What stays the same however often the work is interrupted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begin {
    /// Version of the store's format.
    pub format: u32,
    /// When it started, in seconds since 1970 UTC: the time in the new control file.
    pub at: i64,
    /// The same as backup_label says it.
    pub start_time: String,
    /// SHA-256 of the control file.
    pub control_sha256: String,
    /// The control file's attributes.
    pub control: Attributes,
    /// The data directory's.
    pub data_directory: Attributes,
    /// Those of `global`.
    pub global: Attributes,
}

/// The state before a batch of operations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Saved {
    /// Number of the first operation.
    pub first: usize,
    /// One for each operation from the first on.
    pub items: Vec<Item>,
    /// Directories whose times change for the first time.
    pub directories: Vec<Directory>,
}

/// A directory in which names come or go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Directory {
    /// Within the data directory; empty for itself. A link's path stands for the directory behind it.
    pub path: PlanPath,
    /// As it was.
    pub attributes: Attributes,
}

/// What lay where an operation writes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What it was.
    pub before: Before,
    /// What will be written there, where that is made of what was there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Content>,
}

/// A small file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content(#[serde(with = "bytes")] pub Vec<u8>);

/// The state of one path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Before {
    /// Nothing changes, or nothing is kept (`--no-undo`).
    Unsaved,
    /// Nothing was there.
    Absent,
    /// It is moved into the store.
    Moved(Moved),
    /// A file that is changed in place, or that cannot be moved: these parts of it lie in the pack.
    Packed {
        /// Its attributes.
        attributes: Attributes,
        /// Its length in bytes.
        size: u64,
        /// What will change of it.
        pieces: Vec<Piece>,
    },
    /// A link that cannot be moved.
    Link(PlanPath),
    /// A directory, empty by now.
    Directory(Attributes),
}

/// A file or link that is moved, and what it is known by when it is moved back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moved {
    /// Its attributes.
    pub attributes: Attributes,
    /// Its length in bytes.
    pub size: u64,
    /// Its `st_ino`, which a move within a filesystem keeps.
    #[serde(with = "decimal")]
    pub inode: u64,
    /// Of its bytes; none of a link, of a file that was too large to be read only for this, or that nobody may read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

impl Moved {
    /// Not hashed yet.
    pub fn new(meta: &Meta, xattrs: Xattrs) -> Self {
        let attributes = Attributes::new(meta, xattrs);
        Self { attributes, size: meta.size, inode: meta.inode, sha256: None }
    }
}

/// A stretch of a file, and where in the pack it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// In the file, in bytes.
    pub offset: u64,
    /// In bytes.
    pub length: u64,
    /// In the pack, in bytes.
    pub at: u64,
    /// Of its bytes.
    pub sha256: String,
}

/// What a finished rewind leaves, by which it is known again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finishing {
    /// SHA-256 of the new control file.
    pub control_sha256: String,
    /// SHA-256 of backup_label.
    pub label_sha256: String,
}

/// All of an entry but its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attributes {
    /// Permissions.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Last access.
    pub accessed: Stamp,
    /// Last change.
    pub modified: Stamp,
    /// Extended attributes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub xattrs: Vec<Xattr>,
}

/// An extended attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Xattr {
    /// Its name.
    pub name: PlanPath,
    /// Its value.
    #[serde(with = "bytes")]
    pub value: Vec<u8>,
}

impl Attributes {
    /// From what the filesystem says.
    pub fn new(meta: &Meta, xattrs: Xattrs) -> Self {
        let xattrs = xattrs
            .into_iter()
            .map(|(name, value)| Xattr { name: PlanPath::from(name.as_ref()), value })
            .collect();
        let Meta { mode, uid, gid, accessed, modified, .. } = *meta;
        Self { mode, uid, gid, accessed, modified, xattrs }
    }
}

/// Why a journal cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadJournal {
    /// It has not even a beginning.
    #[error("its journal has no first record; nothing in the data directory was changed by it")]
    Empty,
    /// A record is whole and says nothing that this program knows.
    #[error("the journal's record at offset {offset} is not understood: {why}; another version wrote it")]
    Unknown {
        /// In bytes.
        offset: usize,
        /// What the parser said.
        why: String,
    },
    /// A newer format.
    #[error("its format is {found}, this program knows {FORMAT}; use the version that made it")]
    Format {
        /// As stored.
        found: u32,
    },
    /// Behind a damaged record there is a whole one: this is no interrupted write.
    #[error("the journal is damaged at offset {offset}: a whole record follows there at offset {next}")]
    Damaged {
        /// Of the damage, in bytes.
        offset: usize,
        /// Of the whole record behind it.
        next: usize,
    },
    /// Records that do not follow each other.
    #[error("the journal's record {number} does not fit those before it: {what}")]
    Order {
        /// Counted from 1.
        number: usize,
        /// What does not fit.
        what: &'static str,
    },
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Journal {
    /// The first record.
    pub begin: Box<Begin>,
    /// One for each operation that was prepared.
    pub items: Vec<Item>,
    /// Number of the first operation of each batch.
    pub batches: Vec<usize>,
    /// Directories as they were.
    pub directories: Vec<Directory>,
    /// Operations that are on disk.
    pub performed: usize,
    /// Set once the new control file is ready.
    pub finishing: Option<Finishing>,
    /// When the rewind was finished.
    pub done: Option<i64>,
    /// When undoing began.
    pub undo_begun: Option<i64>,
    /// The way back goes by the clone.
    pub by_clone: bool,
    /// All but the control file is as it was.
    pub restored: bool,
    /// When undoing was finished.
    pub undone: Option<i64>,
    /// When removing the store began.
    pub discarding: Option<i64>,
    /// Bytes of whole records; what follows was being written.
    pub length: usize,
}

/// A record as it is appended.
pub fn encode(record: &Record) -> Result<Vec<u8>, serde_json::Error> {
    let payload = serde_json::to_vec(record)?;
    let mut bytes = Vec::with_capacity(HEAD + payload.len());
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc32c::crc32c(&payload).to_le_bytes());
    bytes.extend(payload);
    Ok(bytes)
}

/// The payload of the record at `offset`, if it is whole.
fn payload(bytes: &[u8], offset: usize) -> Option<&[u8]> {
    let head = bytes.get(offset..)?.get(..HEAD)?;
    let (length, crc) = head.split_at_checked(4)?;
    let length = u32::from_le_bytes(length.try_into().ok()?);
    let crc = u32::from_le_bytes(crc.try_into().ok()?);
    if length == 0 || length > LONGEST {
        return None;
    }
    let payload = bytes.get(offset + HEAD..)?.get(..length as usize)?;
    (crc32c::crc32c(payload) == crc).then_some(payload)
}

/// Reads a journal.
///
/// # Errors
/// It is damaged, or of a version that is not known. What is incomplete at its end is no error.
pub fn parse(bytes: &[u8]) -> Result<Journal, BadJournal> {
    let mut offset = 0;
    let mut records = Vec::new();
    while let Some(payload) = payload(bytes, offset) {
        if records.is_empty() {
            format_of(payload)?;
        }
        let record = serde_json::from_slice(payload)
            .map_err(|e| BadJournal::Unknown { offset, why: e.to_string() })?;
        records.push(record);
        offset += HEAD + payload.len();
    }
    // the length of a torn record is there or not; if it is, the next record would follow it
    if let Some(head) = bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>()) {
        let next = offset + HEAD + u32::from_le_bytes(*head).min(LONGEST) as usize;
        if next > offset + HEAD && payload(bytes, next).is_some() {
            return Err(BadJournal::Damaged { offset, next });
        }
    }
    let mut journal = fold(records)?;
    journal.length = offset;
    Ok(journal)
}

/// Refuses another format before its members are looked at.
fn format_of(payload: &[u8]) -> Result<(), BadJournal> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
    }
    match serde_json::from_slice::<Head>(payload) {
        Ok(Head { format: FORMAT }) | Err(_) => Ok(()),
        Ok(Head { format }) => Err(BadJournal::Format { found: format }),
    }
}

fn fold(records: Vec<Record>) -> Result<Journal, BadJournal> {
    let mut records = records.into_iter();
    let Some(Record::Begin(begin)) = records.next() else { return Err(BadJournal::Empty) };
    let mut journal = Journal {
        begin,
        items: Vec::new(),
        batches: Vec::new(),
        directories: Vec::new(),
        performed: 0,
        finishing: None,
        done: None,
        undo_begun: None,
        by_clone: false,
        restored: false,
        undone: None,
        discarding: None,
        length: 0,
    };
    for (n, record) in records.enumerate() {
        let order = |what| BadJournal::Order { number: n + 2, what };
        let back = journal.undo_begun.is_some();
        match record {
            Record::Begin(_) => return Err(order("a second beginning")),
            Record::Saved(_) | Record::Performed { .. } | Record::Finishing(_) | Record::Done { .. }
                if back =>
            {
                return Err(order("work after undoing began"));
            }
            Record::Saved(saved) => {
                if saved.first != journal.items.len() {
                    return Err(order("operations are missing"));
                }
                journal.batches.push(saved.first);
                journal.items.extend(saved.items);
                journal.directories.extend(saved.directories);
            }
            Record::Performed { operations } => {
                if operations > journal.items.len() || operations < journal.performed {
                    return Err(order("operations that were not prepared"));
                }
                journal.performed = operations;
            }
            Record::Finishing(finishing) => journal.finishing = Some(finishing),
            Record::Done { at } => journal.done = Some(at),
            Record::UndoBegun { at } => journal.undo_begun = Some(at),
            Record::ByClone => journal.by_clone = true,
            Record::Restored => journal.restored = true,
            Record::Undone { at } => journal.undone = Some(at),
            Record::Discarding { at } => journal.discarding = Some(at),
        }
    }
    Ok(journal)
}

mod bytes {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer};

    pub fn serialize<S: Serializer>(value: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(value))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Attributes {
        let xattrs = vec![Xattr { name: PlanPath::from("user.x".as_ref()), value: vec![0, 255] }];
        Attributes { mode: 0o600, uid: 1, gid: 2, accessed: Stamp(-1, 5), modified: Stamp(3, 4), xattrs }
    }

    fn records() -> Vec<Record> {
        let begin = Begin {
            format: FORMAT,
            at: 1_790_000_000,
            start_time: "2026-09-21 14:13:20 UTC".into(),
            control_sha256: "00".into(),
            control: attributes(),
            data_directory: attributes(),
            global: attributes(),
        };
        let piece = Piece { offset: 8192, length: 16384, at: 0, sha256: "ab".into() };
        let item = |before| Item { before, content: None };
        let saved = Saved {
            first: 0,
            items: vec![
                item(Before::Unsaved),
                item(Before::Absent),
                item(Before::Moved(Moved {
                    attributes: attributes(),
                    size: 7,
                    inode: u64::MAX,
                    sha256: Some("01".into()),
                })),
                item(Before::Packed { attributes: attributes(), size: 24576, pieces: vec![piece] }),
                item(Before::Link(PlanPath::from("/else where".as_ref()))),
                Item { before: Before::Directory(attributes()), content: Some(Content(b"x = 1\n".to_vec())) },
            ],
            directories: vec![Directory {
                path: PlanPath::from("base/1".as_ref()),
                attributes: attributes(),
            }],
        };
        let finishing = Finishing { control_sha256: "cd".into(), label_sha256: "ef".into() };
        vec![
            Record::Begin(Box::new(begin)),
            Record::Saved(saved),
            Record::Performed { operations: 6 },
            Record::Finishing(finishing),
            Record::Done { at: 1 },
            Record::UndoBegun { at: 2 },
            Record::Restored,
            Record::Undone { at: 3 },
            Record::Discarding { at: 4 },
        ]
    }

    #[test]
    fn what_is_cut_never_happened() {
        let mut bytes = Vec::new();
        let mut ends = vec![];
        for record in records() {
            bytes.extend(encode(&record).unwrap());
            ends.push(bytes.len());
        }
        let whole = parse(&bytes).unwrap();
        assert_eq!((whole.items.len(), whole.performed, whole.length), (6, 6, bytes.len()));
        assert_eq!((whole.done, whole.undo_begun, whole.undone), (Some(1), Some(2), Some(3)));
        for cut in 0..bytes.len() {
            let found = parse(&bytes[..cut]);
            match ends.iter().rposition(|end| *end <= cut) {
                None => assert_eq!(found, Err(BadJournal::Empty), "{cut}"),
                Some(n) => {
                    let journal = found.unwrap();
                    assert_eq!(journal.length, ends[n], "{cut}");
                    assert_eq!(journal.items.is_empty(), n == 0, "{cut}");
                }
            }
        }
    }

    #[test]
    fn damage_in_the_middle_is_told() {
        let encoded: Vec<Vec<u8>> = records().iter().map(|r| encode(r).unwrap()).collect();
        let bytes = encoded.concat();
        for (offset, _) in bytes.iter().enumerate().filter(|(n, _)| n % 4 != 3 || *n > 8) {
            let mut damaged = bytes.clone();
            damaged[offset] ^= 1;
            if let Ok(journal) = parse(&damaged) {
                // a length that points elsewhere hides what follows, and no more is believed
                assert!(journal.length <= offset, "{offset}");
            }
        }
        let mut damaged = bytes.clone();
        let second = encoded[0].len();
        damaged[second + HEAD + 3] ^= 1;
        let next = second + encoded[1].len();
        assert_eq!(parse(&damaged), Err(BadJournal::Damaged { offset: second, next }));
    }

    #[test]
    fn other_formats_and_orders_are_refused() {
        let text = String::from_utf8(encode(&records()[0]).unwrap()[HEAD..].to_vec()).unwrap();
        let newer = text.replace(r#""format":1"#, r#""format":2,"more":3"#);
        let mut bytes = (newer.len() as u32).to_le_bytes().to_vec();
        bytes.extend(crc32c::crc32c(newer.as_bytes()).to_le_bytes());
        bytes.extend(newer.as_bytes());
        assert_eq!(parse(&bytes), Err(BadJournal::Format { found: 2 }));
        let order = |order: &[usize]| {
            let all = records();
            parse(&order.iter().flat_map(|n| encode(&all[*n]).unwrap()).collect::<Vec<_>>())
        };
        assert!(order(&[0, 1, 2]).is_ok());
        for wrong in [vec![0, 0], vec![0, 2], vec![0, 5, 1], vec![0, 1, 1], vec![0, 5, 4]] {
            assert!(matches!(order(&wrong), Err(BadJournal::Order { .. })), "{wrong:?}");
        }
        assert_eq!(order(&[1]), Err(BadJournal::Empty));
    }
}
