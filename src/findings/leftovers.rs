//! Findings about files that change how a server starts, and what earlier attempts left.

use crate::facts::{Relation, Role};
use crate::pg::control::DbState;
use crate::pg::{Major, WalName};
use crate::source::leftovers::{FORKPOINT_STATE, Postmaster};

use super::common::{
    Pair, Way, control_says, end_of, entry_of, file_says, finding, history_name, side_name, some_of,
    state_name,
};
use super::{Evidence, Finding, Severity};

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(running(pair));
    found.extend(incremental(pair));
    found.extend(set_aside(pair));
    found.extend(no_configuration(pair));
    found.extend(recovery_conf(pair));
    if !pair.related() {
        return found;
    }
    found.extend(half_rewound(pair));
    found.extend(second_primary(pair));
    found.extend(no_primary(pair));
    found.extend(base_backup(pair));
    found.extend(rewound(pair));
    found.extend(source_is_backup(pair));
    found.extend(promotes(pair));
    found
}

/// The target is the stopped old primary of a switchover that has not happened yet.
pub(crate) fn before_switchover(pair: &Pair<'_>) -> bool {
    pair.facts.relation == Relation::SamePosition
        && pair.target().control.state == DbState::ShutDown
        && !pair.target().leftovers.standby_signal
        && (pair.source().control.state == DbState::ShutDownInRecovery
            || pair.source().leftovers.standby_signal)
}

/// FP31: whole files of the source are in the target's WAL directory, while pg_control is still the old primary's.
pub(super) fn half_rewound(pair: &Pair<'_>) -> Option<Finding> {
    let (target, source) = (pair.target(), pair.source());
    let newest = source.lineage.timeline;
    let control = &target.control;
    let own = control.checkpoint_copy.timeline;
    let primary = matches!(
        control.state,
        DbState::ShutDown | DbState::ShuttingDown | DbState::InProduction | DbState::InCrashRecovery
    );
    if !pair.related()
        || pair.rewound_by_pg_rewind()
        || !primary
        || newest <= own
        || source.lineage.control_timeline <= own
    {
        return None;
    }
    let name = history_name(newest);
    if entry_of(&source.lineage.history, own).is_none() || !pair.has_wal_file(Role::Target, &name) {
        return None;
    }
    let size = target.segment_size;
    let copied: Vec<String> = pair
        .tree(Role::Target)
        .iter()
        .filter(|e| e.path.parent().is_some_and(|p| p.as_os_str() == pair.major.wal_dir()))
        .filter_map(|e| e.path.file_name()?.to_str())
        .filter(|n| matches!(WalName::parse(n, size), Some(WalName::Segment(t, _)) if t > own))
        .map(str::to_owned)
        .collect();
    if copied.is_empty() {
        return None;
    }
    let dir = target.dir.path().join(pair.major.wal_dir());
    let cut = target
        .end
        .as_ref()
        .filter(|e| target.control_end.is_some_and(|at| e.timeline == own && e.lsn < at))
        .map_or_else(String::new, |e| {
            format!(
                " The target's own WAL was overwritten too: it breaks off at {}, before the checkpoint at {} that \
                 pg_control names.",
                e.lsn, control.checkpoint
            )
        });
    let mut proof = vec![
        file_says(
            dir.join(&name),
            format!("the source's history file is in the target's {}", pair.major.wal_dir()),
        ),
        file_says(
            dir.join(copied.first().map_or("", String::as_str)),
            format!("WAL of the source: {}", some_of(copied.iter(), 4)),
        ),
        control_says(
            target,
            format!(
                "Database cluster state: {}, checkPoint = {} on timeline {own}",
                state_name(control.state),
                control.checkpoint
            ),
        ),
    ];
    proof.extend(end_of(target));
    Some(
        finding("FP31", Severity::Error)
            .explain(format!(
                "The target's control file is still that of the old primary (timeline {own}, \"{}\"), but its {} \
                 already holds the source's files of timeline {newest}. pg_rewind copies files first and writes \
                 pg_control last: it stopped in between. The data files may be a mixture of both sides, although the \
                 control file looks as if the server could be started.{cut}",
                state_name(control.state),
                pair.major.wal_dir()
            ))
            .proof(proof)
            .logs([
                "pg_rewind: error: unexpected result while fetching remote files: SSL SYSCALL error: EOF detected",
                "pg_rewind: error: could not open target file \"…\": Permission denied",
            ])
            .remedy(
                "Do not start the target, and do not trust a second pg_rewind: the WAL that tells it which blocks the \
                 target changed may be overwritten already. Put back a snapshot of the target from before the attempt \
                 and remove what made it fail; or copy every file that differs from the stopped source; or clone the \
                 target anew.",
            ),
    )
}

/// FP60.
fn running(pair: &Pair<'_>) -> Vec<Finding> {
    pair.sides()
        .into_iter()
        .filter_map(|side| {
            let pid = side.leftovers.postmaster.as_ref().filter(|p| Postmaster::running(p))?;
            let name = side_name(side.role);
            let severity = if side.role == Role::Target { Severity::Error } else { Severity::Warning };
            Some(
                finding("FP60", severity)
                    .title(format!("A server runs on the {name}"))
                    .explain(format!(
                        "Process {} runs on this directory. What the report says of the {name} is true of the moment at \
                         which each file was read, and no more.",
                        pid.pid
                    ))
                    .proof([file_says(
                        side.dir.path().join("postmaster.pid"),
                        format!("process {}, data directory {}", pid.pid, pid.data_dir.display()),
                    )])
                    .logs((side.role == Role::Target).then_some("pg_rewind: error: target server must be shut down cleanly"))
                    .remedy(if side.role == Role::Target {
                        "Stop the target cleanly (pg_ctl stop -m fast) and ask again."
                    } else {
                        "Ask again with the source stopped, or take the figures of the source as a moment's."
                    }),
            )
        })
        .collect()
}

/// FP68.
fn incremental(pair: &Pair<'_>) -> Vec<Finding> {
    pair.sides()
        .into_iter()
        .filter_map(|side| {
            let from = side.leftovers.backup_label.as_ref()?.incremental_from?;
            Some(
                finding("FP68", Severity::Error)
                    .explain(format!(
                        "The {} is an incremental backup: its files hold only what changed since {from}, and no server \
                         starts on it.",
                        side_name(side.role)
                    ))
                    .proof([Evidence {
                        path: Some(side.dir.path().join("backup_label")),
                        lsn: Some(from),
                        value: format!("INCREMENTAL FROM LSN: {from}"),
                        ..Evidence::default()
                    }])
                    .logs([
                        "FATAL:  this is an incremental backup, not a data directory",
                        "HINT:  Use pg_combinebackup to reconstruct a valid data directory.",
                    ])
                    .remedy("Make a data directory of it with pg_combinebackup first."),
            )
        })
        .collect()
}

/// FP63: a control file that was set aside. `forkpoint.state` alone is the note of a rewind that is over.
fn set_aside(pair: &Pair<'_>) -> Option<Finding> {
    const OURS: &str = "global/pg_control.forkpoint";
    let names = [OURS, "global/pg_control.old"];
    let others: Vec<&str> = pair
        .target()
        .leftovers
        .others
        .iter()
        .filter_map(|p| p.to_str())
        .filter(|p| names.contains(p))
        .collect();
    if others.is_empty() {
        return None;
    }
    let old = others.contains(&"global/pg_control.old");
    Some(
        finding("FP63", Severity::Error)
            .explain(format!(
                "In the target lies what a tool leaves while it is at work, or when it was stopped half-way: {}.{}",
                some_of(others.iter(), 4),
                if old {
                    " pg_upgrade puts pg_control.old in the place of pg_control when the files of this cluster now \
                     belong to a newer one (--link)."
                } else {
                    ""
                }
            ))
            .proof(others.iter().map(|p| file_says(pair.target().dir.path().join(p), "is there")))
            .remedy(if others.contains(&OURS) {
                "Do not start the target: forkpoint is half-way through a rewind of it. forkpoint status TARGET says how it \
                 stands; forkpoint resume completes it, forkpoint undo puts the target back."
            } else {
                "Do not start the target before it is known what put it there. Let that tool finish or undo its work."
            }),
    )
}

/// FP17.
fn no_configuration(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    if target.settings.has_postgresql_conf {
        return None;
    }
    let severity = if pair.way == Way::Rewind { Severity::Warning } else { Severity::Info };
    let path = target.dir.path().join("postgresql.conf");
    Some(
        finding("FP17", severity)
            .explain(format!(
                "The target has no postgresql.conf in its data directory (Debian keeps it in /etc/postgresql, \
                 containers elsewhere). The report does not know its settings, and pg_rewind cannot run a server on it, \
                 neither to recover a crashed target nor to read restore_command.{}",
                if pair.major >= Major::V15 { " From 15 on it takes --config-file." } else { "" }
            ))
            .proof([file_says(path.clone(), "is missing")])
            .logs([
                format!("postgres: could not access the server configuration file \"{}\": No such file or directory", path.display()),
                "pg_rewind: error: postgres single-user mode in target cluster failed".to_owned(),
            ])
            .remedy(if pair.major >= Major::V15 {
                "Run pg_rewind with --config-file=FILE."
            } else {
                "Copy postgresql.conf (and what it includes) into the target for the time of the rewind."
            }),
    )
}

/// FP76.
fn recovery_conf(pair: &Pair<'_>) -> Option<Finding> {
    let left = &pair.target().leftovers;
    let dir = pair.target().dir.path();
    if pair.major >= Major::V12 && left.recovery_conf {
        return Some(
            finding("FP76", Severity::Error)
                .explain(format!(
                    "The target has a recovery.conf. A server of {} refuses to start as long as it is there; its \
                     settings belong into postgresql.auto.conf, and standby.signal makes a standby.",
                    pair.major
                ))
                .proof([file_says(dir.join("recovery.conf"), "is there")])
                .logs(["FATAL:  using recovery command file \"recovery.conf\" is not supported"])
                .remedy(
                    "Move its settings (primary_conninfo, restore_command, recovery_target_timeline) to \
                     postgresql.auto.conf, remove the file, and make an empty standby.signal.",
                ),
        );
    }
    if pair.major < Major::V12 && left.standby_signal {
        return Some(
            finding("FP76", Severity::Warning)
                .explain(format!(
                    "The target has a standby.signal. A server of {} does not know that file and starts as a primary \
                     unless recovery.conf says standby_mode = 'on'.",
                    pair.major
                ))
                .proof([file_says(dir.join("standby.signal"), "is there")])
                .remedy("Write recovery.conf with standby_mode = 'on' and primary_conninfo."),
        );
    }
    None
}

/// True when a server started on the target becomes a standby.
pub(crate) fn starts_as_standby(pair: &Pair<'_>) -> bool {
    let target = pair.target();
    if pair.major >= Major::V12 {
        return target.leftovers.standby_signal;
    }
    let on = |v: &str| matches!(v.to_ascii_lowercase().as_str(), "on" | "true" | "yes" | "1");
    target.leftovers.recovery_conf && target.settings.get("standby_mode").is_some_and(|s| on(&s.value))
}

/// FP61.
fn second_primary(pair: &Pair<'_>) -> Option<Finding> {
    if pair.way != Way::Follow || starts_as_standby(pair) {
        return None;
    }
    let target = pair.target();
    let file =
        if pair.major >= Major::V12 { "standby.signal" } else { "recovery.conf with standby_mode = 'on'" };
    let severity = if before_switchover(pair) { Severity::Info } else { Severity::Warning };
    let path =
        target.dir.path().join(if pair.major >= Major::V12 { "standby.signal" } else { "recovery.conf" });
    let after_rewind = if pair.rewound_by_pg_rewind() {
        " After a rewind it even does so on the source's own timeline."
    } else {
        ""
    };
    Some(
        finding("FP61", severity)
            .explain(format!(
                "The target has no {file}. A plain start makes it a primary that accepts writes beside the source: the \
                 next divergence.{after_rewind}"
            ))
            .proof([file_says(path, "does not make it a standby")])
            .logs(["LOG:  database system is ready to accept connections"])
            .remedy(if pair.major >= Major::V12 {
                "Before the target is started: make an empty standby.signal in it and set primary_conninfo in \
                 postgresql.auto.conf."
            } else {
                "Before the target is started: write recovery.conf with standby_mode = 'on', primary_conninfo, and \
                 recovery_target_timeline = 'latest'."
            }),
    )
}

/// FP62.
fn no_primary(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let set = |name: &str| target.settings.get(name).is_some_and(|s| !s.value.trim().is_empty());
    if pair.way != Way::Follow || set("primary_conninfo") {
        return None;
    }
    let archive = set("restore_command");
    let severity = if archive || before_switchover(pair) { Severity::Info } else { Severity::Warning };
    let log = match pair.major {
        m if m >= Major::V17 => "WARNING:  specified neither \"primary_conninfo\" nor \"restore_command\"",
        m if m >= Major::V12 => "WARNING:  specified neither primary_conninfo nor restore_command",
        _ => {
            "WARNING:  recovery command file \"recovery.conf\" specified neither primary_conninfo nor restore_command"
        }
    };
    let place = if pair.major >= Major::V12 { "postgresql.auto.conf" } else { "recovery.conf" };
    Some(
        finding("FP62", severity)
            .explain(if archive {
                "primary_conninfo is not set on the target: as a standby it reads the archive only and is always some \
                 segments behind."
            } else {
                "primary_conninfo is not set on the target, and neither is restore_command: as a standby it waits for \
                 WAL that nobody sends."
            })
            .proof([file_says(target.dir.path().join(place), "primary_conninfo is not set")])
            .logs((!archive).then_some(log))
            .remedy(format!("Set primary_conninfo in {place} of the target so that it leads to the source.")),
    )
}

/// FP69.
fn base_backup(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let label = target.leftovers.backup_label.as_ref()?;
    if label.by_pg_rewind() || label.incremental_from.is_some() {
        return None;
    }
    let severity = if pair.way == Way::Rewind { Severity::Warning } else { Severity::Info };
    let start = label.start.map_or_else(|| "?".to_owned(), |l| l.to_string());
    Some(
        finding("FP69", severity)
            .explain(format!(
                "The target has a backup_label (method {}, from {start}): it is a base backup on which no server has \
                 been started, and becomes consistent only after replay of the WAL from {start} on.{}",
                label.method,
                if pair.way == Way::Rewind {
                    " pg_rewind removes the label without a word; what it then makes of such a directory is not consistent."
                } else {
                    ""
                }
            ))
            .proof([Evidence {
                path: Some(target.dir.path().join("backup_label")),
                lsn: label.start,
                timeline: label.timeline,
                value: label.lines.first().cloned().unwrap_or_default(),
                ..Evidence::default()
            }])
            .logs([format!("LOG:  starting backup recovery with redo LSN {start}")])
            .remedy(if pair.way == Way::Rewind {
                "Start it once as a standby until it says \"consistent recovery state reached\", stop it, and ask again; \
                 or take a backup from before the divergence."
            } else {
                "Keep backup_label where it is: without it the server starts from the wrong checkpoint."
            }),
    )
}

/// FP70.
fn rewound(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target();
    let label = target.leftovers.backup_label.as_ref().filter(|l| l.by_pg_rewind())?;
    // both leave the same label; only forkpoint leaves its state, until undo or undo --discard
    let ours = target.leftovers.forkpoint_state();
    let dir = target.dir.path().display();
    let remedy = format!(
        "Start it as a standby of the source. Look at primary_conninfo first: postgresql.auto.conf is the source's now. \
         Do not remove backup_label, and do not rewind it again.{}",
        if ours {
            format!(
                " As long as no server was started on it, forkpoint undo {dir} puts it back as it was before (on the \
                 screen: 7, then U); forkpoint status {dir} says whether it can."
            )
        } else {
            String::new()
        }
    );
    Some(
        finding("FP70", Severity::Info)
            .explain(format!(
                "{} has run to its end on the target, and no server was started on it since. When it starts, it \
                 replays from {} to at least {} before it is consistent.",
                if ours { "forkpoint's rewind" } else { "A rewind (by pg_rewind, or by forkpoint in its place)" },
                label.start.map_or_else(|| "?".to_owned(), |l| l.to_string()),
                target.control.min_recovery_point
            ))
            .proof([
                Evidence {
                    path: Some(target.dir.path().join("backup_label")),
                    lsn: label.start,
                    value: "BACKUP METHOD: pg_rewind".into(),
                    ..Evidence::default()
                },
                control_says(
                    target,
                    format!(
                        "Database cluster state: {}, minRecoveryPoint = {}",
                        state_name(target.control.state),
                        target.control.min_recovery_point
                    ),
                ),
            ])
            .proof(ours.then(|| Evidence {
                path: Some(target.dir.path().join(FORKPOINT_STATE)),
                value: "where forkpoint keeps what it changed".into(),
                ..Evidence::default()
            }))
            .logs(if pair.way == Way::Follow { None } else { Some("pg_rewind: error: target server must be shut down cleanly") })
            .remedy(remedy),
    )
}

/// FP74.
fn source_is_backup(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.source();
    let label = source.leftovers.backup_label.as_ref().filter(|l| l.incremental_from.is_none())?;
    if pair.way == Way::Neither {
        return None;
    }
    let severity = if pair.way == Way::Rewind { Severity::Error } else { Severity::Warning };
    Some(
        finding("FP74", severity)
            .explain(format!(
                "The source has a backup_label (method {}): it is a copy on which no server has been started, not \
                 consistent yet. pg_rewind does not look for it and copies pages of different moments.",
                label.method
            ))
            .proof([Evidence {
                path: Some(source.dir.path().join("backup_label")),
                lsn: label.start,
                timeline: label.timeline,
                value: label.lines.first().cloned().unwrap_or_default(),
                ..Evidence::default()
            }])
            .remedy("Start the source, let it become consistent, stop it cleanly, and ask again."),
    )
}

/// FP78.
fn promotes(pair: &Pair<'_>) -> Option<Finding> {
    let left = &pair.target().leftovers;
    if pair.way != Way::Follow || pair.major < Major::V12 || !left.recovery_signal || left.standby_signal {
        return None;
    }
    Some(
        finding("FP78", Severity::Warning)
            .explain(
                "The target has recovery.signal and no standby.signal: it replays what it finds and then opens as a \
                 primary on a new timeline.",
            )
            .proof([file_says(pair.target().dir.path().join("recovery.signal"), "is there")])
            .logs([if pair.major >= Major::V17 {
                "FATAL:  must specify \"restore_command\" when standby mode is not enabled"
            } else {
                "FATAL:  must specify restore_command when standby mode is not enabled"
            }])
            .remedy("Replace recovery.signal by an empty standby.signal."),
    )
}
