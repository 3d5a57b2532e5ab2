//! The bundled pairs of data directories, unpacked once per process.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use tempfile::TempDir;

/// Where the bundled scenarios lie.
pub fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Names of all bundled scenarios.
pub fn scenarios() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(testdata())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("pair.tar.zst").exists())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Unpacks `scenario` to a fresh directory, for tests that change it.
pub fn unpack_fresh(scenario: &str) -> TempDir {
    let dir = TempDir::new().unwrap();
    let file = File::open(testdata().join(scenario).join("pair.tar.zst")).unwrap();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    let mut archive = tar::Archive::new(&mut decoder);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.unpack(dir.path()).unwrap();
    dir
}

/// The unpacked `scenario`, shared by all tests of the process, which only read it.
pub fn unpack(scenario: &str) -> PathBuf {
    type Slots = Mutex<HashMap<String, Arc<OnceLock<TempDir>>>>;
    static UNPACKED: OnceLock<Slots> = OnceLock::new();
    let slot = UNPACKED.get_or_init(Slots::default).lock().unwrap().entry(scenario.to_owned()).or_default().clone();
    let dir = slot.get_or_init(|| unpack_fresh(scenario));
    // a static is never dropped: the directories go with the system's temporary files, so keep them small in number
    dir.path().to_owned()
}

/// What SQL said while the servers of `scenario` ran.
pub fn truth(scenario: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(testdata().join(scenario).join("truth.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
