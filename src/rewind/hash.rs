//! SHA-256 as text.

use std::fmt::Write;

use sha2::{Digest, Sha256};

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
