//! Whether a directory that was not shut down is left alone. A server on another machine with the same storage leaves no
//! other trace here.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::control;
use super::disk::{At, Disk, Root, Stamp, absent_is_none};
use super::error::{Doing, Trouble};
use crate::scan::progress::Progress;

/// A running server writes its control file or WAL within that time: it logs running transactions every 15 s at most
/// when something happened, and a busy one much more often.
pub const WATCH: Duration = Duration::from_secs(10);
/// How often the wish to stop is looked at.
const TICK: Duration = Duration::from_millis(50);

type Traces = (Option<Vec<u8>>, Vec<(std::ffi::OsString, u64, Stamp)>);

fn traces(disk: &dyn Disk, root: Root, wal: Option<Root>, path: &Path) -> Result<Traces, Trouble> {
    let control = control::read(disk, root, path)?;
    let mut files = Vec::new();
    if let Some(wal) = wal {
        for name in disk.list(At::new(wal, "")).doing("could not be listed", path)? {
            let found = absent_is_none(disk.metadata(At::new(wal, &name)));
            if let Some(meta) = found.doing("could not be looked at", path)? {
                files.push((name, meta.size, meta.modified));
            }
        }
    }
    Ok((control, files))
}

/// Looks at control file and WAL directory twice, `wait` apart: true if they stay the same.
///
/// # Errors
/// They cannot be read, or the user wants to stop.
pub fn quiet(disk: &dyn Disk, target: &Path, wait: Duration, progress: &Progress) -> Result<bool, Trouble> {
    let root = disk.open_root(target).doing("could not be opened", target)?;
    let wal = ["pg_wal", "pg_xlog"].iter().find_map(|name| disk.open_root(&target.join(name)).ok());
    let before = traces(disk, root, wal, target)?;
    let start = Instant::now();
    while start.elapsed() < wait {
        progress.check()?;
        thread::sleep(TICK);
    }
    Ok(traces(disk, root, wal, target)? == before)
}
