//! SHA-256 as text.

use std::fmt::Write;
use std::io;

use sha2::{Digest, Sha256};

use super::disk::{DiskFile, read_full_at};
use crate::scan::progress::Progress;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// In hexadecimal.
pub fn text(hasher: Sha256) -> String {
    let mut text = String::with_capacity(64);
    for byte in hasher.finalize() {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Of bytes.
pub fn of(bytes: &[u8]) -> String {
    text(Sha256::new_with_prefix(bytes))
}

/// Of a stretch of a file; `None` if it ends before, or if the user wants to stop.
pub fn of_stretch(
    file: &dyn DiskFile,
    offset: u64,
    length: u64,
    progress: &Progress,
) -> io::Result<Option<String>> {
    let mut buffer = vec![0; (CHUNK as u64).min(length) as usize];
    let mut hasher = Sha256::new();
    let mut done = 0;
    while done < length {
        if progress.check().is_err() {
            return Ok(None);
        }
        let want = (length - done).min(CHUNK as u64) as usize;
        let chunk = buffer.get_mut(..want).unwrap_or_default();
        if read_full_at(file, chunk, offset + done)? < want {
            return Ok(None);
        }
        hasher.update(&*chunk);
        done += want as u64;
    }
    Ok(Some(text(hasher)))
}
