//! Files in a data directory that change how a server would start on it.

use std::path::PathBuf;

use crate::pg::{Lsn, TimelineId};

/// What lies around.
#[derive(Debug, Clone, Default)]
pub struct Leftovers {
    /// `backup_label`, read.
    pub backup_label: Option<BackupLabel>,
    /// `tablespace_map`: OID and path of each line.
    pub tablespace_map: Option<Vec<(u32, String)>>,
    /// `standby.signal` is there.
    pub standby_signal: bool,
    /// `recovery.signal` is there.
    pub recovery_signal: bool,
    /// `recovery.conf` is there (its settings are in `Settings`).
    pub recovery_conf: bool,
    /// `recovery.done` is there.
    pub recovery_done: bool,
    /// `postmaster.pid`, read.
    pub postmaster: Option<Postmaster>,
    /// `pg_wal/archive_status/*.ready`: names of segments and histories not yet archived, sorted.
    pub not_archived: Vec<String>,
    /// A forkpoint or pg_rewind leftover, sentinel or set-aside control file, by name.
    pub others: Vec<PathBuf>,
}

/// `backup_label`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupLabel {
    /// START WAL LOCATION.
    pub start: Option<Lsn>,
    /// The segment named behind it.
    pub start_file: Option<String>,
    /// CHECKPOINT LOCATION.
    pub checkpoint: Option<Lsn>,
    /// BACKUP METHOD: `streamed`, `pg_start_backup`, `pg_rewind`.
    pub method: String,
    /// BACKUP FROM: `primary`, `master`, `standby`.
    pub from: String,
    /// START TIMELINE.
    pub timeline: Option<TimelineId>,
    /// INCREMENTAL FROM LSN (17+): the server refuses to start on such a directory.
    pub incremental_from: Option<Lsn>,
    /// The lines as they stand.
    pub lines: Vec<String>,
}

impl BackupLabel {
    /// True for the label that pg_rewind leaves behind.
    pub fn by_pg_rewind(&self) -> bool {
        self.method == "pg_rewind"
    }
}

/// `postmaster.pid`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postmaster {
    /// Line 1: the process.
    pub pid: i64,
    /// Line 2: the data directory it was started with.
    pub data_dir: PathBuf,
    /// Line 2 is this very directory (same device and inode); a snapshot carries another's.
    pub same_directory: bool,
    /// A process of that number lives on this machine.
    pub alive: bool,
}

impl Postmaster {
    /// A server runs on this very directory, as far as this machine can tell.
    pub const fn running(&self) -> bool {
        self.same_directory && self.alive
    }
}
