//! All codes, with what they are about and whether two directories can prove them.

/// Whether two directories, their WAL and archives can prove a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provable {
    /// They can.
    Directories,
    /// Only a log can, for this reason.
    LogOnly(&'static str),
}

/// A finding code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// `FP01` …; stable.
    pub code: &'static str,
    /// What it is about, one line.
    pub title: &'static str,
    /// Whether two directories can prove it.
    pub provable: Provable,
}

const fn by_files(code: &'static str, title: &'static str) -> Code {
    Code { code, title, provable: Provable::Directories }
}

const fn by_log(code: &'static str, title: &'static str, reason: &'static str) -> Code {
    Code { code, title, provable: Provable::LogOnly(reason) }
}

/// Every code: FP01 to FP45 are known ways in which a rejoin fails, FP60 and up are forkpoint's own.
pub const CODES: &[Code] = &[
    by_files("FP01", "The target wrote WAL after the divergence"),
    by_files("FP02", "Only the target's shutdown checkpoint lies after the divergence"),
    by_files("FP03", "The target is a standby that got further than the promoted server"),
    by_files("FP04", "The source will not stream from where the target asks to start"),
    by_files("FP05", "The target's timeline is newer than the source's"),
    by_files("FP06", "The minimum recovery point carries a timeline that the source had left"),
    by_files("FP07", "The source's control file still names the timeline before its promotion"),
    by_files("FP08", "Both sides were promoted on their own to the same timeline number"),
    by_files("FP09", "The target can follow but has no history file of the source's timeline"),
    by_files("FP10", "The target's timeline is a dead branch that the source never went through"),
    by_files("FP11", "The timelines have no common beginning"),
    by_files("FP12", "The two directories are of different systems"),
    by_files("FP13", "Files of different majors"),
    by_files("FP14", "pg_control is damaged"),
    by_files("FP15", "Neither data checksums nor wal_log_hints: changed hint bits left no trace in the WAL"),
    by_files("FP16", "The target was not shut down cleanly"),
    by_files("FP17", "The target has no postgresql.conf where pg_rewind looks for it"),
    by_files("FP18", "The target was started or recovered again after the divergence"),
    by_files("FP19", "WAL that pg_rewind has to read is not in the target's WAL directory"),
    by_log(
        "FP20",
        "restore_command fails though the archive has the file",
        "what an archive helper was asked for and answered is in its log only; a file that lies in the archive \
         proves nothing about the helper",
    ),
    by_files("FP21", "A WAL segment is of another branch than its name says"),
    by_files("FP22", "Where the WAL ends"),
    by_files("FP23", "The target has WAL beyond the end of the source's on the same timeline"),
    by_files("FP24", "A record was torn at the end of WAL"),
    by_files("FP25", "WAL that the target needs to follow is no longer on the source"),
    by_files("FP26", "Replication slots"),
    by_files("FP27", "The checkpoint that the target starts from is not in its WAL"),
    by_files("FP28", "A hole in the WAL between the start of replay and the minimum recovery point"),
    by_files("FP29", "The minimum recovery point lies in a page header, where no record ends"),
    by_files("FP30", "pg_rewind removes WAL that the rewound target needs"),
    by_files("FP31", "An earlier pg_rewind stopped half-way"),
    by_files("FP32", "Files in the target that pg_rewind cannot write"),
    by_files("FP33", "Entries that are of a different type on the two sides, or no regular file"),
    by_log(
        "FP34",
        "Another program changed the target while it was being rewound",
        "two directories show one moment; that something changed between listing and removing them is seen only \
         by the program that failed",
    ),
    by_log(
        "FP35",
        "The role that pg_rewind connects with lacks grants",
        "grants matter only to a connection to a running source; reading its directory needs none",
    ),
    by_log(
        "FP36",
        "The connection to the source was refused, cancelled or hung",
        "it happens between pg_rewind and a running source; nothing of it is written to either directory",
    ),
    by_files("FP37", "Not enough free space for what pg_rewind copies"),
    by_files("FP38", "Configuration and keys of the target are replaced by the source's"),
    by_files("FP39", "Both branches made a tablespace with the same OID"),
    by_files("FP40", "Two WAL segments of one name with different content: two servers wrote one timeline"),
    by_files("FP41", "A history file in the archive that is not on the source's line"),
    by_files("FP42", "Nothing is lost: after the divergence there is only maintenance"),
    by_files("FP43", "The higher LSN is on the older timeline"),
    by_files("FP44", "Data checksums are on for one side only"),
    by_files("FP45", "The consumer of a logical slot is ahead of the divergence"),
    by_files("FP60", "A server runs on the directory"),
    by_files("FP61", "The target would start as a second primary"),
    by_files("FP62", "The target is not told where its primary is"),
    by_files("FP63", "Leftovers of a tool that had set files aside"),
    by_files("FP64", "Both sides use the same directory"),
    by_files("FP65", "Settings of the target are lower than the source's: a hot standby refuses"),
    by_files("FP66", "The source writes WAL with wal_level = minimal"),
    by_files("FP67", "The common past could not be compared record by record"),
    by_files("FP68", "The directory is an incremental backup"),
    by_files("FP69", "The target has a backup_label: it is a base backup"),
    by_files("FP70", "The target was rewound and not started since"),
    by_files("FP71", "The source was not shut down cleanly"),
    by_files("FP72", "The two directories are probably given the wrong way round"),
    by_files("FP73", "A tablespace was made on the source after the divergence"),
    by_files("FP74", "The source has a backup_label"),
    by_files("FP75", "The target's files are older than the last common checkpoint"),
    by_files("FP76", "recovery.conf and this major do not go together"),
    by_files("FP77", "The target is set to stay on its timeline"),
    by_files("FP78", "recovery.signal: the target would recover and then promote itself"),
    by_files("FP79", "full_page_writes is off on the source"),
    by_files("FP80", "A history file is missing"),
    by_files("FP81", "WAL of the target after the divergence is still waiting to be archived"),
];

/// The title of a code; empty for one that does not exist.
pub fn title(code: &str) -> &'static str {
    CODES.iter().find(|c| c.code == code).map_or("", |c| c.title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_failure_once_and_in_order() {
        let codes: Vec<&str> = CODES.iter().map(|c| c.code).collect();
        for n in 1..=45 {
            assert_eq!(codes[n - 1], format!("FP{n:02}"));
        }
        assert!(codes.is_sorted() && codes.windows(2).all(|w| w[0] != w[1]));
    }
}
