//! The report in a store: of a large pair it has a hundred megabytes, so it goes to the disk as it is made.

use std::fmt;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use super::disk::{At, Disk, DiskFile, Root};
use super::error::{Doing, Trouble};
use super::store::FILE_MODE;

/// The report's name in a store.
pub const NAME: &str = "report.json";
/// Bytes written at once.
const CHUNK: usize = 1 << 20;

/// What writes a report as JSON.
type Writer = dyn Fn(&mut dyn Write) -> io::Result<()> + Send + Sync;

/// A report that is written when the store is made.
#[derive(Clone)]
pub struct Report(Arc<Writer>);

impl Report {
    /// That which `write` writes.
    pub fn new(write: impl Fn(&mut dyn Write) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

struct Appended<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
}

impl Write for Appended<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write_at(bytes, self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes it into a store; it is not synced.
pub fn put(disk: &dyn Disk, root: Root, dir: &Path, report: &Report) -> Result<Box<dyn DiskFile>, Trouble> {
    let full = dir.join(NAME);
    let file = disk.create(At::new(root, NAME), FILE_MODE).doing("could not be made", &full)?;
    let mut out = BufWriter::with_capacity(CHUNK, Appended { file: &*file, offset: 0 });
    (report.0)(&mut out).and_then(|()| out.flush()).doing("could not be written", &full)?;
    drop(out);
    Ok(file)
}
