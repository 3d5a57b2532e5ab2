//! From a diagnosis to a plan.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine::{self, DiagnoseError};
use crate::facts::{DivergenceProof, Facts, Loss, Relation, Side};
use crate::findings::wal::make_readable;
use crate::pg::Major;
use crate::pg::control::DbState;
use crate::scan::progress::Progress;
use crate::source::trees::Tree;

use super::entries::{self, Built};
use super::label;
use super::load::sha256;
use super::model::{
    CheckpointPosition, Lost, Mode, NewControl, Plan, Position, Route, SCHEMA_VERSION, SideState, Tablespace,
};
use super::options::PlanOptions;
use super::path::{PlanPath, RelPath};
use super::preflight;
use super::standby;
use super::totals;
use super::wal::{self, Wal};

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanError {
    /// There is nothing to rewind; what there is to do instead.
    #[error("nothing has to be rewound: {line}")]
    NotNeeded {
        /// The verdict.
        line: String,
        /// What to do.
        next_steps: Vec<String>,
    },
    /// No plan can be made, or none that would help.
    #[error("{what}. {advice}")]
    Impossible {
        /// What stands in the way.
        what: String,
        /// What to do.
        advice: String,
    },
    /// --keep means what has to change.
    #[error(
        "--keep {pattern} means {}, which belongs to the data: kept, it would not fit the rest. Keep configuration, keys \
         and logs only.",
        path.display()
    )]
    Keep {
        /// The pattern.
        pattern: String,
        /// What it matches.
        path: PathBuf,
    },
    /// A file or directory cannot be read.
    #[error("{}: {error}. Read both directories as a user who may.", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// A name that no plan can hold.
    #[error("{0}")]
    Path(String),
    /// There is no diagnosis.
    #[error(transparent)]
    Diagnose(#[from] DiagnoseError),
    /// [`Progress::cancel`] was called.
    #[error("interrupted")]
    Cancelled,
}

fn impossible(what: impl Into<String>, advice: impl Into<String>) -> PlanError {
    PlanError::Impossible { what: what.into(), advice: advice.into() }
}

/// There is no common checkpoint from which blocks could be searched.
fn without_checkpoint(facts: &Facts) -> PlanError {
    let what = "the last checkpoint before the divergence was not found in the target's WAL";
    let ways = "give an archive that has it with --wal-archive, or use --compare, which compares all relation files with the \
                stopped source";
    match facts.unreadable_before_checkpoint() {
        Some(file) => impossible(
            format!("{what}: {} is there, and {}", file.path.display(), file.reason),
            format!("{}, or {ways}", make_readable(&[file])),
        ),
        None => impossible(what, format!("To go on, {ways}")),
    }
}

/// Diagnoses two directories and makes the plan; `threads` read the WAL.
///
/// # Errors
/// As [`PlanError`] says.
pub fn make(
    (target, source): (&Path, &Path),
    options: &PlanOptions,
    threads: usize,
    progress: &Progress,
) -> Result<(Diagnosis, Plan), PlanError> {
    let diagnosis = engine::diagnose(
        &engine::Options {
            target: target.to_owned(),
            source: source.to_owned(),
            archives: options.archives.iter().map(|a| a.as_path().to_owned()).collect(),
            restore_command: options.restore_command.clone(),
            threads,
            scan_source: true,
            blocks_only: false,
        },
        progress,
    )?;
    let plan = derive(&diagnosis, options, progress)?;
    Ok((diagnosis, plan))
}

/// Makes the plan, by reading alone. The same directories and options give the same plan.
///
/// # Errors
/// As [`PlanError`] says. What forbids carrying out a plan that can be made is in its `preflight`.
pub fn derive(diagnosis: &Diagnosis, options: &PlanOptions, progress: &Progress) -> Result<Plan, PlanError> {
    let facts = &diagnosis.facts;
    feasible(diagnosis, options)?;
    let control = &facts.target.control;
    let major = control.major;
    let roots = [resolved(&facts.target)?, resolved(&facts.source)?];
    let [target, source] = [roots[0].as_path(), roots[1].as_path()];
    let compatible = options.pg_rewind_compatible.then_some(major);
    let start =
        wal::replay_start(facts, compatible, options.compare).ok_or_else(|| without_checkpoint(facts))?;
    let min_recovery_point = min_recovery_point(&facts.source, options);
    let divergence = facts.divergence.as_ref();
    let wal = Wal::new(facts, options)
        .ok_or_else(|| impossible("a WAL directory cannot be listed", "See forkpoint report"))?;
    let end = facts.source.end.as_ref().map_or(min_recovery_point.lsn, |e| e.lsn.max(min_recovery_point.lsn));
    let common_to = divergence.map(|d| d.lsn);
    let needed = wal.needed(facts, (start.redo, end), common_to);
    let kept_by_pg_rewind = match (compatible, &facts.common_checkpoint, divergence) {
        (Some(_), Some(common), Some(d)) => Some(wal.kept_by_pg_rewind(facts, common, d.lsn)),
        (Some(_), ..) => Some(Vec::new()),
        (None, ..) => None,
    };
    let ground = entries::Ground {
        facts,
        options,
        target,
        source,
        needed: needed.as_deref().unwrap_or_default(),
        kept_by_pg_rewind,
        history: wal.missing_history(facts),
        divergence: common_to,
    };
    let built = entries::build(&ground, progress)?;
    let totals = totals::of(&built.entries, built.unchanged, (target, &facts.trees.target), options);
    let preflight = preflight::checks(
        &preflight::Ground {
            diagnosis,
            options,
            target,
            source,
            built: &built,
            totals: &totals,
            replay_start: &start,
            needed: needed.as_deref(),
            kept_by_pg_rewind: ground.kept_by_pg_rewind.as_deref(),
        },
        progress,
    )?;
    let standby = options.standby.as_deref().map(|conninfo| standby::lines(conninfo, major)).transpose()?;
    let (file_mode, directory_mode) = modes(target)?;
    let Built { entries, .. } = built;
    let source_state = state(&facts.source, source, &facts.trees.source)?;
    Ok(Plan {
        schema_version: SCHEMA_VERSION,
        id: String::new(),
        program: env!("CARGO_PKG_VERSION").into(),
        major: major.name().into(),
        system_identifier: control.system_identifier,
        block_size: control.block_size,
        segment_size: control.wal_segment_size,
        options: options.clone(),
        target: state(&facts.target, target, &facts.trees.target)?,
        route: if options.compare { Route::Compare } else { Route::Wal },
        divergence: divergence.map_or(
            Position {
                lsn: facts.source.control.checkpoint,
                timeline: facts.source.control.checkpoint_copy.timeline,
            },
            |d| Position { lsn: d.lsn, timeline: d.timeline },
        ),
        last_common_checkpoint: facts.common_checkpoint.as_ref().map(|c| CheckpointPosition {
            lsn: c.lsn,
            redo: c.redo,
            timeline: c.timeline,
        }),
        backup_label: label::text(&start, facts.target.segment_size, major),
        replay_start: start,
        min_recovery_point,
        file_mode,
        directory_mode,
        entries,
        control: NewControl {
            source_sha256: source_state.control_sha256.clone(),
            state: DbState::InArchiveRecovery.text().into(),
            min_recovery_point,
        },
        source: source_state,
        next_steps: next_steps(diagnosis, options, standby.is_some(), major),
        standby,
        totals,
        loss: lost(diagnosis),
        preflight,
    }
    .sealed())
}

/// Whether a rewind is what these two need.
fn feasible(diagnosis: &Diagnosis, options: &PlanOptions) -> Result<(), PlanError> {
    let facts = &diagnosis.facts;
    let line = || diagnosis.verdict.line.trim_end_matches('.').to_owned();
    let see = "See forkpoint report for what is known";
    let major = facts.target.control.major;
    if let Relation::Unrelated(_) = facts.relation {
        return Err(impossible(line(), see));
    }
    if major < Major::V10 {
        return Err(impossible(
            format!("these are directories of PostgreSQL {major}, and a plan can be made from 10 on"),
            "Use the pg_rewind of that major",
        ));
    }
    if options.compare && (options.source_snapshot || options.pg_rewind_compatible) {
        return Err(impossible(
            "--compare needs a source that was stopped cleanly",
            "Stop the source with pg_ctl stop -m fast, and leave --source-snapshot out",
        ));
    }
    if facts.target.dir.identity() == facts.source.dir.identity() {
        return Err(impossible("both sides are the same directory", "Give the old primary and the new one"));
    }
    match &facts.relation {
        Relation::Unrelated(_) => Err(impossible(line(), see)),
        Relation::Twins { .. } => Ok(()),
        // WAL that was received and never replayed is in no file
        _ if options.pg_rewind_compatible
            && facts.divergence.as_ref().is_some_and(|d| d.pg_rewind.is_none()) =>
        {
            Err(PlanError::NotNeeded { line: line(), next_steps: diagnosis.verdict.next_steps.clone() })
        }
        Relation::Diverged => Ok(()),
        Relation::SourceBehind if left_by_history(facts) => Ok(()),
        Relation::SourceBehind => {
            Err(impossible(line(), "Are the two directories given the right way round"))
        }
        _ if options.compare => Ok(()),
        Relation::SamePosition | Relation::TargetBehind => {
            Err(PlanError::NotNeeded { line: line(), next_steps: diagnosis.verdict.next_steps.clone() })
        }
        Relation::Undecided => {
            let advice = format!(
                "{see}; --compare makes a plan without the target's WAL, by comparing all relation files with the \
                 stopped source"
            );
            Err(impossible(line(), advice))
        }
    }
}

/// The source stayed on the timeline that the target left, and has all that is common.
fn left_by_history(facts: &Facts) -> bool {
    facts.divergence.as_ref().is_some_and(|d| {
        matches!(d.shown_by, DivergenceProof::History(_))
            && facts.source.end.as_ref().is_some_and(|end| end.lsn >= d.lsn)
    })
}

fn resolved(side: &Side) -> Result<PathBuf, PlanError> {
    let path = side.dir.path();
    path.canonicalize().map_err(|e| PlanError::Read { path: path.to_owned(), error: e.to_string() })
}

/// From where on a server on the source's files is consistent.
fn min_recovery_point(source: &Side, options: &PlanOptions) -> Position {
    let control = &source.control;
    let checkpoint = Position { lsn: control.checkpoint, timeline: control.checkpoint_copy.timeline };
    let recorded = Position {
        lsn: control.min_recovery_point,
        timeline: control.min_recovery_point_tli.unwrap_or(checkpoint.timeline),
    };
    match (control.state, &source.end) {
        (_, _) if options.pg_rewind_compatible => checkpoint,
        (DbState::ShutDownInRecovery | DbState::InArchiveRecovery, _) if recorded.lsn > checkpoint.lsn => {
            recorded
        }
        (DbState::InProduction, Some(end)) if options.source_snapshot => {
            Position { lsn: end.lsn, timeline: end.timeline }
        }
        _ => checkpoint,
    }
}

fn state(side: &Side, root: &Path, tree: &Tree) -> Result<SideState, PlanError> {
    let control = &side.control;
    let read = |error: String| PlanError::Read { path: root.join("global/pg_control"), error };
    let bytes = side.dir.control_bytes().map_err(|e| read(e.to_string()))?;
    let meta =
        root.metadata().map_err(|e| PlanError::Read { path: root.to_owned(), error: e.to_string() })?;
    let wal_link = root.join("pg_wal").symlink_metadata().is_ok_and(|m| m.is_symlink());
    let wal = wal_link.then(|| side.dir.wal_dir().ok()).flatten();
    let tablespaces = totals::tablespaces(tree)
        .map(|(path, to)| {
            let path =
                RelPath::new(path.as_os_str().as_bytes()).map_err(|e| PlanError::Path(e.to_string()))?;
            Ok(Tablespace { path, to: PlanPath::from(to) })
        })
        .collect::<Result<_, PlanError>>()?;
    Ok(SideState {
        path: PlanPath::from(root),
        device: meta.dev(),
        inode: meta.ino(),
        control_sha256: sha256(&bytes),
        state: control.state.text().into(),
        checkpoint: CheckpointPosition {
            lsn: control.checkpoint,
            redo: control.checkpoint_copy.redo,
            timeline: control.checkpoint_copy.timeline,
        },
        min_recovery_point: control.min_recovery_point,
        timeline: side.lineage.timeline,
        end_of_wal: side.end.as_ref().map(|e| Position { lsn: e.lsn, timeline: e.timeline }),
        wal_directory: wal.as_deref().map(PlanPath::from),
        tablespaces,
    })
}

/// Modes of what is made: the group may read where the target's directory lets it (`GetDataDirectoryCreatePerm`).
fn modes(target: &Path) -> Result<(Mode, Mode), PlanError> {
    const GROUP: u32 = 0o050;
    let meta =
        target.metadata().map_err(|e| PlanError::Read { path: target.to_owned(), error: e.to_string() })?;
    Ok(if meta.mode() & GROUP == GROUP { (Mode(0o640), Mode(0o750)) } else { (Mode(0o600), Mode(0o700)) })
}

fn lost(diagnosis: &Diagnosis) -> Lost {
    let (commits, at_least) = match diagnosis.facts.loss {
        None => (None, true),
        Some(Loss::Commits { commits, .. }) => (Some(commits), false),
        Some(Loss::AtLeast { commits }) => (Some(commits), true),
        Some(_) => (Some(0), false),
    };
    Lost { commits, at_least, verdict: diagnosis.verdict.line.clone() }
}

fn next_steps(diagnosis: &Diagnosis, options: &PlanOptions, standby: bool, major: Major) -> Vec<String> {
    let mut steps = Vec::new();
    let replaced = |name: &str| {
        let path = Path::new(name);
        let facts = &diagnosis.facts;
        facts.trees.source.get(path).is_some()
            && !facts.same_content.iter().any(|p| p == path)
            && !options.keep.iter().any(|p| p.matches(path))
    };
    let files: Vec<&str> = ["postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"]
        .into_iter()
        .filter(|n| replaced(n))
        .collect();
    if !files.is_empty() {
        steps.push(format!(
            "Look through {}: they are the source's now. --keep keeps the target's.",
            files.join(", ")
        ));
    }
    let signal = Path::new("standby.signal");
    let copied =
        diagnosis.facts.trees.source.get(signal).is_some() && !options.keep.iter().any(|p| p.matches(signal));
    if copied && !standby {
        steps.push(
            "Look at primary_conninfo before the start: the source is a standby itself, and with its standby.signal and \
             settings the target would follow the server that the source follows."
                .into(),
        );
    } else if standby {
        steps.push("Start the target; it follows the source as a standby.".into());
    } else {
        steps.push(format!(
            "Do not start the target yet: without {} a plain start makes it a second primary on the source's timeline.",
            if major >= Major::V12 { "standby.signal" } else { "recovery.conf" }
        ));
        steps.push(standby::by_hand(major));
        steps.push("Then start it. --standby CONNINFO would write these lines.".into());
    }
    steps
}
