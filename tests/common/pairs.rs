//! The captured clusters under `testdata/`, unpacked.
#![allow(dead_code)] // no test needs all of it
#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use ruzstd::decoding::StreamingDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Packs may refer so many bytes back (`zstd --long=26`).
const WINDOW: u64 = 64 << 20;

/// Directory of the captured clusters.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Names of the scenarios that are there, sorted.
pub fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("pair.tar.zst").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// What SQL said about the scenario's servers while they ran.
pub fn truth(scenario: &str) -> Value {
    serde_json::from_slice(&fs::read(testdata().join(scenario).join("truth.json")).unwrap()).unwrap()
}

/// A compressed file beside the pair, unpacked; `None` if the scenario does not have it.
pub fn zstd_file(scenario: &str, name: &str) -> Option<Vec<u8>> {
    let file = File::open(testdata().join(scenario).join(name)).ok()?;
    let mut content = Vec::new();
    decoder(file).read_to_end(&mut content).unwrap();
    Some(content)
}

/// The scenario's directories (`target`, `source`, …), unpacked once and kept under `target/tmp` for later runs.
/// They are shared: a test that changes something takes a copy, see [`unpack_to`].
pub fn unpack(scenario: &str) -> PathBuf {
    /// Where a scenario lies, once it is unpacked.
    type Place = Arc<Mutex<Option<PathBuf>>>;
    static DONE: LazyLock<Mutex<HashMap<String, Place>>> = LazyLock::new(Mutex::default);
    let place = Arc::clone(DONE.lock().unwrap().entry(scenario.to_owned()).or_default());
    let mut done = place.lock().unwrap();
    if let Some(path) = &*done {
        return path.clone();
    }
    let pack = fs::read(testdata().join(scenario).join("pair.tar.zst")).unwrap();
    let digest = format!("{:016x}", u64::from_le_bytes(*Sha256::digest(&pack).first_chunk().unwrap()));
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pairs");
    let path = root.join(format!("{scenario}-{digest}"));
    if !path.is_dir() {
        fs::create_dir_all(&root).unwrap();
        for old in fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().path()) {
            let name = old.file_name().unwrap().to_string_lossy().into_owned();
            if name.strip_prefix(scenario).is_some_and(|rest| rest.len() == 17 && rest.starts_with('-')) {
                let _ = fs::remove_dir_all(old);
            }
        }
        // other test processes may do the same: the first to rename wins
        let scratch = tempfile::tempdir_in(&root).unwrap();
        unpack_to(scenario, scratch.path());
        let _ = fs::rename(scratch.path(), &path);
    }
    assert!(path.is_dir(), "{} was not unpacked", path.display());
    *done = Some(path.clone());
    path
}

/// Unpacks the scenario's directories into an existing directory, for a test that changes them.
pub fn unpack_to(scenario: &str, directory: &Path) {
    let file = File::open(testdata().join(scenario).join("pair.tar.zst")).unwrap();
    let mut archive = tar::Archive::new(decoder(file));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type() == tar::EntryType::Regular {
            let path = directory.join(entry.path().unwrap());
            let mode = entry.header().mode().unwrap();
            sparse_copy(&mut entry, &path);
            let time =
                std::time::UNIX_EPOCH + std::time::Duration::from_secs(entry.header().mtime().unwrap());
            let file = File::options().write(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
            file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        } else {
            entry.unpack_in(directory).unwrap();
        }
    }
}

fn decoder(file: File) -> impl Read {
    StreamingDecoder::new_with_max_window_size(BufReader::new(file), WINDOW).unwrap()
}

/// Copies to a new file and leaves out blocks of zeros: most WAL segments are hardly used.
fn sparse_copy(from: &mut impl Read, to: &Path) {
    const BLOCK: usize = 4096;
    let mut file = File::create(to).unwrap();
    let mut buffer = vec![0; 64 * BLOCK];
    let mut length = 0;
    loop {
        let mut filled = 0;
        while filled < buffer.len() {
            match from.read(&mut buffer[filled..]).unwrap() {
                0 => break,
                n => filled += n,
            }
        }
        if filled == 0 {
            break;
        }
        for block in buffer[..filled].chunks(BLOCK) {
            if block.iter().all(|byte| *byte == 0) {
                file.seek(SeekFrom::Current(block.len() as i64)).unwrap();
            } else {
                file.write_all(block).unwrap();
            }
        }
        length += filled as u64;
    }
    file.set_len(length).unwrap();
}
