//! Findings about what the control files say.

use crate::facts::Side;
use crate::pg::Major;

use super::common::{
    Pair, Way, cleanly_stopped, control_path, control_says, file_says, finding, side_name, state_name,
};
use super::{Evidence, Finding, Severity};

/// Bytes of a control file (`PG_CONTROL_FILE_SIZE`).
const CONTROL_SIZE: u64 = 8192;

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(pair.sides().into_iter().filter_map(|side| damaged(pair, side)));
    if !pair.related() {
        return found;
    }
    found.extend(no_hints(pair));
    found.extend(not_clean(pair));
    found.extend(source_not_clean(pair));
    found.extend(checksums_differ(pair));
    found.extend(lower_settings(pair));
    found.extend(minimal_wal(pair));
    found.extend(older_files(pair));
    found.extend(no_full_pages(pair));
    found
}

/// FP14.
fn damaged(pair: &Pair<'_>, side: &Side) -> Option<Finding> {
    let size = pair.entry(side.role, "global/pg_control").map(|e| e.size).filter(|n| *n != CONTROL_SIZE);
    if size.is_none() && side.control.crc_ok {
        return None;
    }
    let name = side_name(side.role);
    let (what, log) = match size {
        Some(size) => (
            format!("it has {size} bytes instead of {CONTROL_SIZE}"),
            if pair.major >= Major::V12 {
                format!("pg_rewind: error: unexpected control file size {size}, expected {CONTROL_SIZE}")
            } else {
                format!("unexpected control file size {size}, expected {CONTROL_SIZE}")
            },
        ),
        None => (
            format!("its checksum is {:08X} and does not fit its content", side.control.crc),
            if pair.major >= Major::V12 {
                "pg_rewind: error: unexpected control file CRC".to_owned()
            } else {
                "unexpected control file CRC".to_owned()
            },
        ),
    };
    let server = if side.control.crc_ok {
        None
    } else {
        Some("FATAL:  incorrect checksum in control file".to_owned())
    };
    Some(
        finding("FP14", Severity::Error)
            .title(format!("The {name}'s pg_control is damaged"))
            .explain(format!(
                "{} is damaged: {what}. Everything that this report takes from it is uncertain, and no server starts \
                 on it. A pg_rewind that failed half-way leaves such a file.",
                control_path(side).display()
            ))
            .proof([
                Evidence {
                    path: Some(control_path(side)),
                    offset: size,
                    value: what.clone(),
                    ..Evidence::default()
                },
            ])
            .logs([log])
            .logs(server)
            .remedy(if side.role == crate::facts::Role::Target {
                "Put back a copy of pg_control of the same moment (a snapshot of the directory), or clone the target \
                 anew with pg_basebackup. Never pg_resetwal, and never an empty file in its place."
            } else {
                "If the source runs, ask again: it may have been caught in the middle of a write. If not, restore the \
                 source before anything is made to follow it. Never pg_resetwal."
            }),
    )
}

/// FP15.
fn no_hints(pair: &Pair<'_>) -> Option<Finding> {
    let control = &pair.target().control;
    if pair.way != Way::Rewind
        || control.data_checksum_version == Some(1)
        || control.wal_log_hints == Some(true)
    {
        return None;
    }
    Some(
        finding("FP15", Severity::Error)
            .explain(
                "On the target neither data checksums nor wal_log_hints were on. Hint bits that it set after the divergence \
                 changed pages without a record in the WAL; the WAL therefore does not name every block to copy, and \
                 pg_rewind refuses.",
            )
            .proof([control_says(
                pair.target(),
                format!(
                    "wal_log_hints = {}, Data page checksum version = {}",
                    if control.wal_log_hints == Some(true) { "on" } else { "off" },
                    control.data_checksum_version.unwrap_or_default()
                ),
            )])
            .logs(["pg_rewind: error: target server needs to use either data checksums or \"wal_log_hints = on\""])
            .remedy(
                "Compare all files with the stopped source and copy those that differ (both servers stopped; rsync \
                 --checksum --delete does it), or clone the target anew with pg_basebackup. Setting wal_log_hints now \
                 does not bring back what was not logged. Set it on the source, so that the next rejoin can rewind.",
            ),
    )
}

/// FP16.
fn not_clean(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let state = target.control.state;
    let running =
        target.leftovers.postmaster.as_ref().is_some_and(crate::source::leftovers::Postmaster::running);
    let rewinds = pair.way == Way::Rewind && !pair.only_received();
    if !rewinds || cleanly_stopped(state) || running || pair.rewound_by_pg_rewind() {
        return None;
    }
    let standby = pair.target_was_standby();
    let what_happens = match (pair.major >= Major::V13, standby) {
        (true, false) => {
            "pg_rewind recovers it first with a single-user server, which writes to the target and may recycle WAL \
             that is needed afterwards; with --dry-run or --no-ensure-shutdown it refuses instead."
        }
        (true, true) => {
            "pg_rewind tries to recover it first with a single-user server, which refuses where standby.signal is \
             present; with --dry-run or --no-ensure-shutdown pg_rewind refuses."
        }
        (false, _) => "pg_rewind of this major refuses.",
    };
    let mut log = vec!["pg_rewind: error: target server must be shut down cleanly".to_owned()];
    if standby && target.leftovers.standby_signal && pair.major >= Major::V12 {
        log.insert(0, "FATAL:  standby mode is not supported by single-user servers".to_owned());
    }
    // a single-user server cannot recover a standby, and pg_rewind has no other way
    let stuck = standby && target.leftovers.standby_signal && pair.major >= Major::V13;
    Some(
        finding("FP16", if stuck { Severity::Error } else { Severity::Warning })
            .explain(format!(
                "The target's state is \"{}\": it crashed or was killed. {what_happens} This report read its WAL to \
                 the real end and does not need that.",
                state_name(state)
            ))
            .proof([control_says(target, format!("Database cluster state: {}", state_name(state)))])
            .logs(log)
            .remedy(if stuck {
                "Make sure that no server runs on it, on any host. pg_rewind cannot be run on a standby that was killed: \
                 keep the directory until nobody needs it, and clone the source anew."
            } else if pair.major >= Major::V13 {
                "Make sure that no server runs on it, on any host. Copy its WAL directory elsewhere before pg_rewind is \
                 run, then let pg_rewind do the recovery."
            } else {
                "Make sure that no server runs on it, on any host. Copy its WAL directory elsewhere, start the target \
                 where no client reaches it, and stop it cleanly (pg_ctl stop -m fast)."
            }),
    )
}

/// FP71.
fn source_not_clean(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.source();
    let state = source.control.state;
    if pair.way != Way::Rewind || cleanly_stopped(state) {
        return None;
    }
    Some(
        finding("FP71", Severity::Warning)
            .explain(format!(
                "The source's state is \"{}\": it runs, crashed, or this is a snapshot of a running server. pg_rewind \
                 --source-pgdata refuses such a source; --source-server reads from the running one.",
                state_name(state)
            ))
            .proof([control_says(source, format!("Database cluster state: {}", state_name(state)))])
            .logs(["pg_rewind: error: source data directory must be shut down cleanly"])
            .remedy(
                "Run pg_rewind with --source-server against the running source; or start the source and stop it \
                 cleanly, then use --source-pgdata.",
            ),
    )
}

/// FP44.
fn checksums_differ(pair: &Pair<'_>) -> Option<Finding> {
    let on = |side: &Side| side.control.data_checksum_version.map(|v| v > 0);
    let (target, source) = (on(pair.target())?, on(pair.source())?);
    if target == source || pair.way == Way::Neither {
        return None;
    }
    let (with, without) = if target { ("target", "source") } else { ("source", "target") };
    let severity = if pair.way == Way::Rewind { Severity::Error } else { Severity::Warning };
    Some(
        finding("FP44", severity)
            .explain(format!(
                "Data checksums are on for the {with} and off for the {without}. pg_rewind mixes pages of both and \
                 takes pg_control from the source: {}.",
                if target {
                    "afterwards the target counts as one without checksums, unnoticed"
                } else {
                    "afterwards pages that it did not copy have no checksum, and reading them fails"
                }
            ))
            .proof(pair.sides().map(|s| {
                control_says(s, format!("Data page checksum version: {}", s.control.data_checksum_version.unwrap_or_default()))
            }))
            .logs((!target).then_some("WARNING:  page verification failed, calculated checksum 12345 but expected 0"))
            .remedy(
                "Make both sides equal before the rewind: pg_checksums --enable (or --disable) on the stopped target. \
                 If pages were mixed already, clone the target anew.",
            ),
    )
}

/// FP65.
fn lower_settings(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    if pair.way != Way::Follow || !target.settings.has_postgresql_conf {
        return None;
    }
    if !target.settings.hot_standby() {
        return None;
    }
    let control = &source.control;
    let wanted = [
        ("max_connections", Some(control.max_connections)),
        ("max_worker_processes", control.max_worker_processes),
        ("max_wal_senders", control.max_wal_senders),
        ("max_prepared_transactions", Some(control.max_prepared_xacts)),
        ("max_locks_per_transaction", Some(control.max_locks_per_xact)),
    ];
    let mut proof = Vec::new();
    let mut low = Vec::new();
    for (name, wanted) in wanted {
        let Some(wanted) = wanted else { continue };
        // one that is not set anywhere is left alone: it may be given on the command line
        let Some(setting) = target.settings.get(name) else { continue };
        let Ok(value) = setting.value.trim().parse::<i32>() else { continue };
        if value < wanted {
            low.push((name, value, wanted));
            proof.push(file_says(setting.path.clone(), format!("line {}: {name} = {value}", setting.line)));
            proof.push(control_says(source, format!("{name} setting: {wanted}")));
        }
    }
    let (name, value, wanted) = *low.first()?;
    let log = if pair.major >= Major::V14 {
        vec![
            "WARNING:  hot standby is not possible because of insufficient parameter settings".to_owned(),
            format!(
                "DETAIL:  {name} = {value} is a lower setting than on the primary server, where its value was {wanted}."
            ),
            "FATAL:  recovery aborted because of insufficient parameter settings".to_owned(),
        ]
    } else {
        vec![format!(
            "FATAL:  hot standby is not possible because {name} = {value} is a lower setting than on the master server \
             (its value was {wanted})"
        )]
    };
    let list: Vec<String> = low.iter().map(|(n, v, w)| format!("{n} is {v}, the source's {w}")).collect();
    Some(
        finding("FP65", Severity::Error)
            .explain(format!("A hot standby needs at least the primary's values: {}.", list.join("; ")))
            .proof(proof)
            .logs(log)
            .remedy("Raise these settings on the target to the source's values before it is started."),
    )
}

/// FP66.
fn minimal_wal(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.source();
    if source.control.wal_level != 0 || pair.way == Way::Neither {
        return None;
    }
    let log = match pair.major {
        m if m >= Major::V17 => {
            "FATAL:  WAL was generated with \"wal_level=minimal\", cannot continue recovering"
        }
        m if m >= Major::V14 => {
            "FATAL:  WAL was generated with wal_level=minimal, cannot continue recovering"
        }
        _ => "WARNING:  WAL was generated with wal_level=minimal, data may be missing",
    };
    Some(
        finding("FP66", Severity::Error)
            .explain(
                "The source's control file says wal_level = minimal. Its WAL leaves out what a standby needs; a standby \
                 that replays it stops or misses data.",
            )
            .proof([control_says(source, "wal_level setting: minimal")])
            .logs([log])
            .remedy("Set wal_level = replica on the source, restart it, then clone the target anew."),
    )
}

/// FP75.
fn older_files(pair: &Pair<'_>) -> Option<Finding> {
    let (divergence, timeline) = pair.divergence()?;
    let checkpoint = pair.facts.common_checkpoint?;
    let control = &pair.target().control;
    let mut start = checkpoint.redo;
    if pair.major >= Major::V14 {
        start = start.min(pair.source().control.checkpoint_copy.redo);
    }
    let restartpoint = control.checkpoint_copy.redo;
    if restartpoint >= start || restartpoint >= divergence || pair.only_received() {
        return None;
    }
    Some(
        finding("FP75", Severity::Error)
            .explain(format!(
                "The target was a standby, and its last restartpoint has redo {restartpoint}; its data files are only \
                 as new as that. pg_rewind lets replay start at {start} (the last common checkpoint, {} on timeline \
                 {timeline}), so that what changed between the two is not replayed and old rows come back. pg_rewind \
                 says \"Done!\", the standby streams, and checksums pass.",
                checkpoint.lsn
            ))
            .proof([
                control_says(
                    pair.target(),
                    format!("Latest checkpoint's REDO location: {restartpoint} (state: {})", state_name(control.state)),
                ),
                Evidence {
                    lsn: Some(checkpoint.lsn),
                    timeline: Some(checkpoint.timeline),
                    value: format!("last common checkpoint, redo {}", checkpoint.redo),
                    ..Evidence::default()
                },
            ])
            .logs([format!(
                "pg_rewind: rewinding from last common checkpoint at {} on timeline {}",
                pair.lsn(checkpoint.lsn),
                checkpoint.timeline
            )])
            .remedy(
                "Do not run pg_rewind on the target as it is. Clone it anew with pg_basebackup; or start it once as a \
                 standby that is connected to nothing, let it replay what it has, stop it cleanly (pg_ctl stop -m \
                 fast), and ask for this report again: only when this finding is gone has the restartpoint moved far \
                 enough.",
            ),
    )
}

/// FP79.
fn no_full_pages(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.source();
    if pair.way != Way::Rewind || source.control.checkpoint_copy.full_page_writes != Some(false) {
        return None;
    }
    let severity = if cleanly_stopped(source.control.state) { Severity::Info } else { Severity::Warning };
    Some(
        finding("FP79", severity)
            .explain(
                "full_page_writes was off on the source at its last checkpoint. Pages that are read while the source \
                 runs can then be torn, and nothing repairs them; pg_rewind --source-server refuses.",
            )
            .proof([control_says(source, "Latest checkpoint's full_page_writes: off")])
            .logs([if pair.major >= Major::V17 {
                "pg_rewind: error: \"full_page_writes\" must be enabled in the source server"
            } else {
                "pg_rewind: error: full_page_writes must be enabled in the source server"
            }])
            .remedy("Stop the source for the rewind and use --source-pgdata, or turn full_page_writes on first."),
    )
}
