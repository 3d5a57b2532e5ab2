//! The bundled pairs of data directories.

use std::fs::File;
use std::path::{Path, PathBuf};

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

fn unpack_into(scenario: &str, dir: &Path) {
    let file = File::open(testdata().join(scenario).join("pair.tar.zst")).unwrap();
    let mut decoder = ruzstd::decoding::StreamingDecoder::new(file).unwrap();
    let mut archive = tar::Archive::new(&mut decoder);
    archive.set_preserve_permissions(true);
    archive.set_preserve_mtime(true);
    archive.unpack(dir).unwrap();
}

/// Unpacks `scenario` to a directory of its own, for tests that change it.
pub fn unpack_fresh(scenario: &str) -> TempDir {
    let dir = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    unpack_into(scenario, dir.path());
    dir
}

/// The unpacked `scenario`, shared by all tests and kept for the next run; to be read only.
pub fn unpack(scenario: &str) -> PathBuf {
    let bytes = std::fs::read(testdata().join(scenario).join("pair.tar.zst")).unwrap();
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pairs");
    let dir = place.join(format!("{scenario}-{:08x}", crc32c::crc32c(&bytes)));
    if !dir.exists() {
        std::fs::create_dir_all(&place).unwrap();
        let fresh = TempDir::new_in(&place).unwrap();
        unpack_into(scenario, fresh.path());
        // several test programs may do the same at once: the first one's stays
        if std::fs::rename(fresh.path(), &dir).is_ok() {
            let _ = fresh.keep();
        }
    }
    dir
}

/// What SQL said while the servers of `scenario` ran.
pub fn truth(scenario: &str) -> serde_json::Value {
    let text = std::fs::read_to_string(testdata().join(scenario).join("truth.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}
