//! What has to hold before a data directory is changed, whoever asks for it: the command line and the screen.

use std::path::Path;

use thiserror::Error;

use super::apply::free_to_begin;
use super::error::Trouble;
use super::real::RealDisk;
use super::status::status;
use crate::facts::gather::DiagnoseError;
use crate::pg::control::DbState;
use crate::plan::{Plan, PlanError};
use crate::source::datadir::DataDir;

/// Why nothing is begun. Nothing was changed.
#[derive(Debug, Error)]
pub enum NotReady {
    /// Whoever asks is not the owner, another one works on the directory, or it is half-way.
    #[error(transparent)]
    Trouble(#[from] Trouble),
    /// There is nothing to rewind any more, in the report's words.
    #[error("the plan does not fit any more: nothing has to be rewound. {0}")]
    NotNeeded(String),
    /// The plan cannot be made anew.
    #[error(transparent)]
    Plan(PlanError),
    /// The plan, made anew, is another one: what is different.
    #[error("the plan, made anew, is another one. {0}")]
    Another(String),
    /// The preflight refuses it.
    #[error("{0}")]
    Refused(String),
    /// It changed while it was watched.
    #[error("a server runs on it")]
    Busy,
}

/// Makes the plan anew and holds it against the one that was looked at. `make` gives it with what it was made of;
/// `differs` says what is another now. Another rewind that is under way or half-way is the reason that is told.
///
/// # Errors
/// Why it is not carried out.
pub fn ready<D>(
    (target, undo_dir): (&Path, Option<&Path>),
    disk: &RealDisk,
    make: impl FnOnce() -> Result<(D, Plan), PlanError>,
    differs: impl FnOnce(&Plan) -> Option<String>,
) -> Result<(D, Plan), NotReady> {
    disk.as_owner(target)?;
    let free = || free_to_begin(target, undo_dir, disk);
    free()?;
    let (of, plan) = match make() {
        Ok(made) => made,
        Err(error @ (PlanError::Cancelled | PlanError::Diagnose(DiagnoseError::Cancelled))) => {
            return Err(NotReady::Plan(error));
        }
        Err(error) => {
            // another one may have begun in the meantime: then that is the reason
            free()?;
            return Err(match error {
                PlanError::NotNeeded { line, .. } => NotReady::NotNeeded(line),
                other => NotReady::Plan(other),
            });
        }
    };
    let another = differs(&plan).map(NotReady::Another);
    let refused = || plan.refusals().next().map(|c| NotReady::Refused(format!("{} {}", c.what, c.advice)));
    match another.or_else(refused) {
        Some(why) => {
            free()?;
            Err(why)
        }
        None => Ok((of, plan)),
    }
}

/// Whether undoing throws away what came into the directory since. Where a server has worked on it, none may run any more,
/// and if it was not shut down `watch` looks whether it stays as it is.
///
/// # Errors
/// Whoever asks may not, how it stands cannot be seen, or a server runs on it.
pub fn ready_to_undo(
    (target, undo_dir): (&Path, Option<&Path>),
    disk: &RealDisk,
    watch: impl FnOnce() -> Result<bool, Trouble>,
) -> Result<bool, NotReady> {
    disk.as_owner(target)?;
    let rewind = status(target, undo_dir, disk)?.rewind;
    let drops = rewind.as_ref().is_some_and(|rewind| rewind.drops_work);
    let worked_on = rewind.is_some_and(|rewind| rewind.worked_on);
    if worked_on && !shut_down(target) && !watch()? {
        return Err(NotReady::Busy);
    }
    Ok(drops)
}

/// The control file says so.
fn shut_down(target: &Path) -> bool {
    let control = DataDir::open(target).ok().and_then(|dir| dir.control().ok());
    control
        .is_some_and(|(control, _)| matches!(control.state, DbState::ShutDown | DbState::ShutDownInRecovery))
}
