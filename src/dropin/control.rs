//! Control files as pg_rewind reads and checks them.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use crate::pg::control::{CONTROL_FILE_SIZE, ControlFile, DbState};
use crate::pg::{Major, TimelineId};

use super::log::{Ended, Log, strerror};

/// `PG_DATA_CHECKSUM_VERSION`: checksums are on. Other values are states on the way there.
const CHECKSUMS_ON: u32 = 1;

/// A control file and its bytes, to see later whether it has changed.
#[derive(Debug, Clone)]
pub struct Control {
    /// What it says.
    pub file: ControlFile,
    /// The whole file.
    pub bytes: Vec<u8>,
}

impl Control {
    /// The timeline that the side is on: from 16 on that of the minimum recovery point too, since the checkpoint of a
    /// promotion may still be to come.
    pub fn timeline(&self) -> TimelineId {
        let checkpoint = self.file.checkpoint_copy.timeline;
        if self.file.major < Major::V16 {
            return checkpoint;
        }
        checkpoint.max(self.file.min_recovery_point_tli.unwrap_or_default())
    }

    /// The server was not stopped in an orderly way.
    pub const fn unclean(&self) -> bool {
        !matches!(self.file.state, DbState::ShutDown | DbState::ShutDownInRecovery)
    }
}

/// The major that the target is of, by its PG_VERSION or else its control file; `None` if neither tells.
pub fn major_of(target: &Path) -> Option<Major> {
    let named = fs::read_to_string(target.join("PG_VERSION")).ok();
    named.and_then(|text| Major::from_pg_version(text.trim())).or_else(|| {
        let bytes = fs::read(target.join("global/pg_control")).ok()?;
        ControlFile::parse(&bytes).ok().map(|control| control.major)
    })
}

/// A whole file below `dir`.
///
/// # Errors
/// It cannot be read; that was said.
pub fn slurp(dir: &Path, relative: &str, log: &mut Log<'_>) -> Result<Vec<u8>, Ended> {
    let path = dir.join(relative);
    fs::read(&path).map_err(|e| {
        let what = if e.kind() == ErrorKind::IsADirectory { "read file" } else { "open file" };
        let end = if what == "open file" { " for reading" } else { "" };
        log.fatal(&format!("could not {what} \"{}\"{end}: {}", path.display(), strerror(&e)))
    })
}

/// Reads a control file with the layout of the target's major, as a pg_rewind of that major would.
///
/// # Errors
/// It cannot be used; that was said.
pub fn read(dir: &Path, major: Major, log: &mut Log<'_>) -> Result<Control, Ended> {
    let bytes = slurp(dir, "global/pg_control", log)?;
    if bytes.len() != CONTROL_FILE_SIZE {
        let text = format!("unexpected control file size {}, expected {CONTROL_FILE_SIZE}", bytes.len());
        return Err(log.fatal(&text));
    }
    let file = ControlFile::parse_as(&bytes, major).map_err(|_| log.fatal("unexpected control file CRC"))?;
    if file.segment_size().is_none() {
        let size = file.wal_segment_size.cast_signed();
        let s = if size == 1 { "" } else { "s" };
        if major >= Major::V16 {
            log.error(&format!("invalid WAL segment size in control file ({size} byte{s})"));
            log.detail("The WAL segment size must be a power of two between 1 MB and 1 GB.");
            return Err(super::log::FAILED);
        }
        return Err(log.fatal(&format!(
            "WAL segment size must be a power of two between 1 MB and 1 GB, but the control file specifies {size} byte{s}"
        )));
    }
    if !file.crc_ok {
        return Err(log.fatal("unexpected control file CRC"));
    }
    Ok(Control { file, bytes })
}

/// pg_rewind's checks of both control files, in its order.
///
/// # Errors
/// The two cannot be rewound so; that was said.
pub fn check(target: &Control, source: &Control, log: &mut Log<'_>) -> Result<(), Ended> {
    let (ours, theirs) = (&target.file, &source.file);
    if ours.system_identifier != theirs.system_identifier {
        return Err(log.fatal("source and target clusters are from different systems"));
    }
    let expected =
        (crate::pg::control::control_version(ours.major), crate::pg::control::catalog_version(ours.major));
    if [ours, theirs].iter().any(|c| (c.pg_control_version, c.catalog_version) != expected) {
        return Err(log.fatal("clusters are not compatible with this version of pg_rewind"));
    }
    if ours.data_checksum_version != Some(CHECKSUMS_ON) && ours.wal_log_hints != Some(true) {
        return Err(log.fatal("target server needs to use either data checksums or \"wal_log_hints = on\""));
    }
    if target.unclean() {
        return Err(log.fatal("target server must be shut down cleanly"));
    }
    if source.unclean() {
        return Err(log.fatal("source data directory must be shut down cleanly"));
    }
    Ok(())
}
