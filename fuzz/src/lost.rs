//! Lost rows of a bundled pair whose WAL records (with a right CRC again) and heap files are damaged.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use forkpoint::diagnosis::engine;
use forkpoint::facts::gather::{Options, Progress};
use forkpoint::lost::{Conflicts, Filter, lost as collect};
use forkpoint::pg::{BLOCK_SIZE, Lsn, Major, SegmentSize};
use forkpoint::report::lost::{csv, jsonl, sql, text};
use forkpoint::source::compress;
use forkpoint::wal::framer::{Flow, Framer, Sink};
use forkpoint::wal::record::{HEADER_SIZE, Record};
use forkpoint::wal::{Format, PAGE_SIZE};

const PAIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testdata/basic-17/pair.tar.zst");
/// Where the CRC stands in a record's header.
const CRC: usize = 20;
/// Bytes of the input for one change.
const CHANGE: usize = 7;

/// A record that lies on one page: its file, and where in it.
struct Place {
    file: usize,
    at: u64,
    len: usize,
}

struct Pair {
    _dir: tempfile::TempDir,
    options: Options,
    files: Vec<File>,
    /// Heap files among `files`, with their blocks.
    heaps: Vec<(usize, u64)>,
    records: Vec<Place>,
}

/// Collects where records lie.
struct Places {
    file: usize,
    start: Lsn,
    found: Vec<Place>,
}

impl Sink for Places {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        true
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        let at = record.lsn.since(self.start);
        let len = record.total_len as usize;
        if at % PAGE_SIZE as u64 + len as u64 <= PAGE_SIZE as u64 {
            self.found.push(Place { file: self.file, at, len });
        }
        true
    }
}

impl Pair {
    fn unpack() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let packed = BufReader::new(File::open(PAIR).expect("the bundled pair"));
        let stream = compress::decoder(compress::Format::Zstd, packed);
        tar::Archive::new(stream).unpack(dir.path()).expect("the bundled pair");
        let (target, source) = (dir.path().join("target"), dir.path().join("source"));
        let mut pair = Self {
            options: Options {
                target: target.clone(),
                source,
                archives: Vec::new(),
                restore_command: None,
                threads: 1,
                scan_source: false,
                blocks_only: false,
            },
            _dir: dir,
            files: Vec::new(),
            heaps: Vec::new(),
            records: Vec::new(),
        };
        for path in listed(&target.join("pg_wal")).into_iter().filter(|path| is_named(path, 24)) {
            pair.wal(&path);
        }
        for database in listed(&target.join("base")).into_iter().filter(|path| path.is_dir()) {
            for path in listed(&database).into_iter().filter(|path| is_number(path)) {
                let file = open(&path);
                let blocks = file.metadata().map_or(0, |m| m.len()) / BLOCK_SIZE as u64;
                if blocks > 0 {
                    pair.heaps.push((pair.files.len(), blocks));
                    pair.files.push(file);
                }
            }
        }
        pair
    }

    fn wal(&mut self, path: &Path) {
        let bytes = fs::read(path).expect("WAL");
        let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().expect("a header"));
        let major = Major::from_wal_magic(word(0) as u16).expect("a major");
        let segment_size = SegmentSize::new(word(32) as u32).expect("a size");
        let format = Format { major, system_identifier: word(24), segment_size };
        let mut places = Places { file: self.files.len(), start: Lsn(word(8)), found: Vec::new() };
        let mut framer = Framer::resync(format, Lsn::MAX);
        for (n, page) in bytes.as_chunks::<PAGE_SIZE>().0.iter().enumerate() {
            match framer.page(Lsn(word(8) + (n * PAGE_SIZE) as u64), page, &mut places) {
                Ok(Flow::More) => {}
                _ => break,
            }
        }
        self.records.append(&mut places.found);
        self.files.push(open(path));
    }

    /// Makes a change, and says what undoes it.
    fn change(&self, change: &[u8]) -> Option<(usize, u64, Vec<u8>)> {
        let [which_low, which_high, at_low, at_high, block, low, high] = *change else { return None };
        let which = usize::from(u16::from_le_bytes([which_low, which_high]));
        let at = usize::from(u16::from_le_bytes([at_low, at_high]));
        if which % 4 == 0 {
            let (file, blocks) = *self.heaps.get((which / 4) % self.heaps.len().max(1))?;
            let offset = (u64::from(block) % blocks) * BLOCK_SIZE as u64 + (at % (BLOCK_SIZE - 1)) as u64;
            let mut before = vec![0; 2];
            self.files[file].read_exact_at(&mut before, offset).ok()?;
            self.files[file].write_all_at(&[low, high], offset).ok()?;
            return Some((file, offset, before));
        }
        let place = self.records.get(which % self.records.len().max(1))?;
        let mut before = vec![0; place.len];
        self.files[place.file].read_exact_at(&mut before, place.at).ok()?;
        let mut record = before.clone();
        // flags and resource manager, transaction, or the body
        match block % 8 {
            0 => record[16] = low,
            1 => record[17] = low % 22,
            2 => record[4] = low,
            _ if place.len > HEADER_SIZE => {
                let room = place.len - HEADER_SIZE;
                record[HEADER_SIZE + at % room] = low;
                record[HEADER_SIZE + (at + 1) % room] = high;
            }
            _ => {}
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&record[HEADER_SIZE..]), &record[..CRC]);
        record[CRC..HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
        self.files[place.file].write_all_at(&record, place.at).ok()?;
        Some((place.file, place.at, before))
    }

    fn run(&self) {
        let progress = Progress::default();
        let Ok(facts) = engine::facts(&self.options, &progress) else { return };
        let Ok(found) = collect(&self.options, &facts, &Filter::default(), &progress) else { return };
        let counts = found.counts().expect("counts");
        let mut nowhere = io::sink();
        text::write(&found, &counts, true, &mut nowhere).expect("text");
        jsonl::write(&found, &counts, &mut nowhere).expect("JSON");
        csv::write(&found, &mut |_, _| Ok(Box::new(io::sink())), &|| Ok(())).expect("CSV");
        let conflicts = Conflicts::default();
        let script = sql::Script {
            lost: &found,
            counts: &counts,
            conflicts: &conflicts,
            on_conflict: sql::OnConflict::Error,
            system_identifier: 1,
        };
        script.write(&mut nowhere).expect("SQL");
    }
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|e| e.path()).collect();
    paths.sort();
    paths
}

fn is_named(path: &Path, length: usize) -> bool {
    path.file_name().is_some_and(|name| name.len() == length)
}

fn is_number(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().iter().all(u8::is_ascii_digit))
}

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).open(path).expect("a file of the pair")
}

/// Changes the pair as the input says, collects and writes its lost rows, and takes the changes back.
pub fn lost(data: &[u8]) {
    thread_local! {
        static PAIR: RefCell<Option<Pair>> = const { RefCell::new(None) };
    }
    PAIR.with_borrow_mut(|pair| {
        let pair = pair.get_or_insert_with(Pair::unpack);
        let undo: Vec<_> = data.chunks_exact(CHANGE).take(64).filter_map(|change| pair.change(change)).collect();
        pair.run();
        for (file, at, before) in undo.into_iter().rev() {
            pair.files[file].write_all_at(&before, at).expect("a file of the pair");
        }
    });
}
