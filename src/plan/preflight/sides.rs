//! The two sides as servers: running, states, checksums, leftovers, lineage.

use crate::facts::{Relation, Role, Side};
use crate::findings::{Finding, Severity};
use crate::pg::BLOCK_SIZE;
use crate::pg::control::{ControlFile, DbState};
use crate::source::{processes, shm};

use super::super::model::ReplayStart;
use super::super::wal as plan_wal;
use super::{BEYOND_PG_REWIND, Found, Ground, refusal, warning};

pub fn target_stopped(g: &Ground<'_>) -> Vec<Found> {
    stopped(&g.facts().target, "target")
}

pub fn source_stopped(g: &Ground<'_>) -> Vec<Found> {
    stopped(&g.facts().source, "source")
}

fn stopped(side: &Side, name: &str) -> Vec<Found> {
    let root = side.dir.path();
    if let Some(postmaster) = side.leftovers.postmaster.as_ref().filter(|p| p.same_directory) {
        if postmaster.alive {
            let what = format!(
                "Process {} of postmaster.pid lives: a server may run on the {name}.",
                postmaster.pid
            );
            return vec![
                refusal(what, "Stop it with pg_ctl stop, or remove a stale postmaster.pid.").at(root),
            ];
        }
        if shm::attached(root) {
            let what = format!(
                "Processes are still attached to the shared memory of the {name}'s server, though its postmaster is gone."
            );
            return vec![refusal(what, "Wait for them to end, or end them.").at(root)];
        }
    }
    // a removed lock file hides no server
    if let Some(pid) = processes::server_in(side.dir.identity()) {
        let what = format!("Process {pid}, a PostgreSQL server's, works in it: a server runs on the {name}.");
        return vec![
            refusal(what, "Stop it; if pg_ctl stop finds no postmaster.pid, end that process with SIGINT.")
                .at(root),
        ];
    }
    Vec::new()
}

pub fn source_state(g: &Ground<'_>) -> Vec<Found> {
    let source = &g.facts().source;
    let control = &source.control;
    let root = source.dir.path();
    let full_page_writes = control.checkpoint_copy.full_page_writes;
    match (control.state, g.options.source_snapshot) {
        (DbState::ShutDown, _) => Vec::new(),
        (DbState::ShutDownInRecovery, _) => {
            // pg_rewind takes the last checkpoint where the files may be newer; a restartpoint on the very last record sets
            // the end of that record
            let newest = source.end.as_ref().is_some_and(|end| {
                end.last_record == control.checkpoint && control.min_recovery_point <= end.lsn
            });
            if g.options.pg_rewind_compatible && control.min_recovery_point > control.checkpoint && !newest {
                let what = format!(
                    "The source is a standby whose files go up to {}, beyond its last checkpoint at {}: pg_rewind would \
                     let the target open before it is consistent.",
                    control.min_recovery_point, control.checkpoint
                );
                return vec![refusal(what, BEYOND_PG_REWIND).at(root)];
            }
            Vec::new()
        }
        (DbState::InProduction | DbState::InArchiveRecovery, true) => {
            let mut found = Vec::new();
            if full_page_writes == Some(false) {
                let what = "full_page_writes was off on the source at its last checkpoint: pages torn in the snapshot \
                            could not be mended.";
                let advice = "Turn it on, CHECKPOINT, and take a new snapshot.";
                found.push(refusal(what, advice).at(root));
            }
            if control.state == DbState::InArchiveRecovery && !control.min_recovery_point.is_valid() {
                let what = "The snapshot is of a standby without a minimum recovery point.";
                found.push(
                    refusal(what, "Take a snapshot of one that has replayed more, or of the primary.")
                        .at(root),
                );
            }
            found
        }
        (state, snapshot) => {
            let what = format!("The source's state is \"{state}\": it was not shut down cleanly.");
            let advice = if snapshot {
                "Take the snapshot of a server in production, or of a standby that has reached consistency."
            } else {
                "Stop it with pg_ctl stop -m fast; if this is an atomic snapshot of a running server, say so with \
                 --source-snapshot."
            };
            vec![refusal(what, advice).at(root)]
        }
    }
}

pub fn control_files(g: &Ground<'_>) -> Vec<Found> {
    let sides = [&g.facts().target, &g.facts().source];
    let damaged = sides.into_iter().filter(|s| !s.control.crc_ok);
    damaged
        .map(|s| {
            refusal(
                "The CRC of the control file is wrong.",
                "Take a copy of it from a backup; never run pg_resetwal.",
            )
            .at(s.dir.path().join("global/pg_control"))
        })
        .collect()
}

pub fn build(g: &Ground<'_>) -> Vec<Found> {
    let (target, source) = (&g.facts().target.control, &g.facts().source.control);
    let sizes =
        |c: &ControlFile| (c.block_size, c.relation_segment_size, c.wal_block_size, c.wal_segment_size);
    let known = (BLOCK_SIZE as u32, 131_072, crate::pg::WAL_PAGE_SIZE as u32, target.wal_segment_size);
    let mut found = Vec::new();
    if sizes(target) != known {
        let what = format!(
            "Blocks of {} bytes, relation files of {} blocks, WAL pages of {} bytes: only the default sizes are known.",
            target.block_size, target.relation_segment_size, target.wal_block_size
        );
        found.push(refusal(what, "Use the pg_rewind of this build."));
    }
    if sizes(target) != sizes(source) {
        found.push(refusal(
            "The two sides were built, or initialised, with different sizes of blocks, files or WAL segments.",
            "Copy the source anew with pg_basebackup.",
        ));
    }
    found
}

pub fn checksums(g: &Ground<'_>) -> Vec<Found> {
    let version = |side: &Side| side.control.data_checksum_version.unwrap_or(0);
    let (target, source) = (version(&g.facts().target), version(&g.facts().source));
    if target == source && target <= 1 {
        return Vec::new();
    }
    let word = |v| match v {
        0 => "off",
        1 => "on",
        _ => "being changed",
    };
    let what = format!(
        "Page checksums are {} on the target and {} on the source: the result would be a mixture of pages with and \
         without them.",
        word(target),
        word(source)
    );
    vec![refusal(what, "Turn them on, or off, on both stopped sides with pg_checksums.")]
}

pub fn hint_bits(g: &Ground<'_>) -> Vec<Found> {
    let control = &g.facts().target.control;
    if g.options.compare || control.data_checksum_version == Some(1) || control.wal_log_hints == Some(true) {
        return Vec::new();
    }
    let what = "The target has neither data checksums nor wal_log_hints: which blocks changed is not all in its WAL.";
    vec![refusal(what, "Use --compare, which compares all relation files with the stopped source.")]
}

pub fn leftovers(g: &Ground<'_>) -> Vec<Found> {
    let facts = g.facts();
    let mut found = Vec::new();
    let root = facts.target.dir.path();
    for name in &facts.target.leftovers.others {
        let file = name.to_string_lossy();
        let found_here = match file.as_ref() {
            "global/pg_control.forkpoint" => refusal(
                "An earlier forkpoint apply was not finished.",
                "Run forkpoint status; then forkpoint resume or forkpoint undo.",
            ),
            "forkpoint.state" => warning(
                "An earlier forkpoint apply was finished or undone, and its undo store is still there.",
                "Run forkpoint status; forkpoint undo --discard gives the store up.",
            ),
            "global/pg_control.old" => refusal(
                "A tool (pg_upgrade or pg_combinebackup) had set the control file aside.",
                "Find out what happened to this directory first.",
            ),
            _ => continue,
        };
        found.push(found_here.at(root.join(name)));
    }
    // a half-done pg_rewind has mixed the files, and its source's WAL says nothing of what the target changed
    let stops: &[&str] = if g.options.compare { &["FP68"] } else { &["FP31", "FP68", "FP69"] };
    for finding in by_code(g, stops) {
        let advice = match finding.code {
            "FP31" => {
                "Use --compare, which compares all relation files with the stopped source, or copy the source anew."
            }
            _ => "See forkpoint report.",
        };
        found.push(refusal(format!("{}: {}.", finding.code, finding.title), advice).at(root));
    }
    found
}

fn by_code<'a>(g: &'a Ground<'_>, codes: &'a [&str]) -> impl Iterator<Item = &'a Finding> {
    let errors = g.diagnosis.findings.iter().filter(|f| f.severity == Severity::Error);
    errors.filter(|f| codes.contains(&f.code))
}

pub fn source_backup_label(g: &Ground<'_>) -> Vec<Found> {
    let source = &g.facts().source;
    if source.leftovers.backup_label.is_none() {
        return Vec::new();
    }
    let what =
        "The source has a backup_label: it was restored or rewound, and no server was started on it since.";
    vec![
        refusal(what, "Start it, let it get consistent, and stop it.")
            .at(source.dir.path().join("backup_label")),
    ]
}

pub fn lineage(g: &Ground<'_>) -> Vec<Found> {
    if g.options.compare {
        return Vec::new();
    }
    let unproven = g.facts().unproven.iter();
    unproven
        .map(|u| {
            let side = if u.missing_on == Role::Target { "target" } else { "source" };
            let what = format!(
                "From {} to {} timeline {} could not be compared record by record, as the {side}'s WAL is gone",
                u.from, u.to, u.timeline
            );
            if matches!(g.facts().relation, Relation::Twins { .. }) {
                let what = format!("{what}: the two may have parted even earlier.");
                return refusal(what, "Use --compare, which compares all relation files with the stopped source.");
            }
            warning(
                format!("{what}: that both have the same past is what their histories say."),
                "If two servers may have been promoted to the same timeline, use --compare.",
            )
        })
        .collect()
}

pub fn twins(g: &Ground<'_>) -> Vec<Found> {
    let facts = g.facts();
    let Relation::Twins { timeline } = facts.relation else { return Vec::new() };
    let Some(divergence) = &facts.divergence else { return Vec::new() };
    let what = format!(
        "Both sides were promoted on their own to timeline {timeline}; the first record that differs is at {}.",
        divergence.lsn
    );
    if g.options.pg_rewind_compatible {
        let what = format!("{what} pg_rewind takes the timeline for a common one, and leaves wrong rows.");
        return vec![refusal(what, BEYOND_PG_REWIND)];
    }
    vec![warning(
        what,
        "The plan starts from there. Both sides' archives of this timeline hold different WAL: keep them apart.",
    )]
}

pub fn secrets(g: &Ground<'_>) -> Vec<Found> {
    let has = |text: &str| text.to_ascii_lowercase().contains("password");
    let urls = g
        .options
        .standby
        .as_deref()
        .and_then(|s| s.split_once("://"))
        .and_then(|(_, rest)| rest.split_once('@'));
    let in_url = urls.is_some_and(|(user, _)| user.contains(':'));
    if !(in_url || g.options.standby.as_deref().is_some_and(has)) {
        return Vec::new();
    }
    let what = "The connection string of --standby holds a password, and a stored plan holds it too.";
    vec![warning(what, "Use a passfile, or keep the plan where nobody else reads it.")]
}

/// Where pg_rewind's choice is unsound, its way is refused.
pub fn replay_start(g: &Ground<'_>) -> Vec<Found> {
    if !g.options.pg_rewind_compatible {
        return Vec::new();
    }
    let Some(ReplayStart { redo, why, .. }) = plan_wal::replay_start(g.facts(), None, false) else {
        return Vec::new();
    };
    if redo >= g.replay_start.redo {
        return Vec::new();
    }
    let what = format!(
        "Replay has to start at {redo}, {why}; pg_rewind would start it at {}, and rows would be old or missing.",
        g.replay_start.redo
    );
    vec![refusal(what, BEYOND_PG_REWIND)]
}
