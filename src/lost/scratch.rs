//! Nameless temporary files for what does not fit into memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// A temporary file without a name, made with the first write.
#[derive(Debug, Default)]
pub struct Scratch {
    file: Option<File>,
    len: u64,
}

impl Scratch {
    /// Adds bytes and says where they begin.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        let at = self.len;
        self.write(at, bytes)?;
        Ok(at)
    }

    /// Writes bytes at an offset up to the end.
    ///
    /// # Errors
    /// The file cannot be made or written.
    pub fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(tempfile::tempfile()?);
        }
        if let Some(file) = &self.file {
            file.write_all_at(bytes, at)?;
        }
        self.len = self.len.max(at + bytes.len() as u64);
        Ok(())
    }

    /// Reads bytes that were written.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(into, at),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
