//! The only way from the screen to something that writes into a data directory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnosis::engine::DiagnoseError;
use crate::plan::{self, Plan, PlanError};
use crate::report::{json, question, words};
use crate::rewind::quiet::{self, quiet};
use crate::rewind::room::lacking;
use crate::rewind::{
    self, Failed, Going, NotReady, Options, Outcome, RealDisk, State, Trouble, ready, ready_to_undo, status,
};
use crate::scan::progress::{Phase, Progress};

/// What is to be carried out, confirmed by the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The plan that was shown.
    Apply {
        /// The plan.
        plan: Box<Plan>,
        /// The user says that no server runs on the target although it was not shut down.
        stopped: bool,
    },
    /// Go on where a rewind of this target was interrupted.
    Resume(PathBuf),
    /// Put this target back.
    Undo(PathBuf),
}

impl Command {
    /// The directory that is changed.
    pub fn target(&self) -> &Path {
        match self {
            Self::Apply { plan, .. } => plan.target.path.as_path(),
            Self::Resume(target) | Self::Undo(target) => target,
        }
    }
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// It was done.
    pub done: bool,
    /// What is to be said, a sentence each.
    pub lines: Vec<String>,
}

/// Carries out. The property tests have a stand-in.
pub trait Executor: Send + Sync {
    /// Carries out; `progress` says how far it is and stops it at a safe point.
    fn execute(&self, command: &Command, progress: &Progress) -> Ended;

    /// Why it would carry nothing out on this target, whatever is asked of it.
    fn refuses(&self, _target: &Path) -> Option<String> {
        None
    }

    /// Where undo stores are made and looked for; beside the target if not given.
    fn undo_dir(&self) -> Option<PathBuf> {
        None
    }
}

/// The real one: as `forkpoint apply`, `resume` and `undo`, in the same order and with the same checks.
#[derive(Debug)]
pub struct RealExecutor {
    /// Threads that read WAL and copy.
    pub threads: usize,
    /// Where undo stores are made and looked for, absolute; beside the target if not given.
    pub undo_dir: Option<PathBuf>,
}

impl Executor for RealExecutor {
    fn execute(&self, command: &Command, progress: &Progress) -> Ended {
        let disk = RealDisk::new();
        let done = match command {
            Command::Apply { plan, stopped } => self.apply(plan, *stopped, &disk, progress),
            Command::Resume(target) => self.resume(target, &disk, progress),
            Command::Undo(target) => self.undo(target, &disk, progress),
        };
        match done {
            Ok(lines) => Ended { done: true, lines },
            Err(line) => Ended { done: false, lines: vec![line] },
        }
    }

    fn undo_dir(&self) -> Option<PathBuf> {
        self.undo_dir.clone()
    }

    fn refuses(&self, target: &Path) -> Option<String> {
        RealDisk::new().as_owner(target).err().map(|why| why.to_string())
    }
}

impl RealExecutor {
    fn apply(
        &self,
        plan: &Plan,
        stopped: bool,
        disk: &RealDisk,
        progress: &Progress,
    ) -> Result<Vec<String>, String> {
        let (target, source) = (plan.target.path.as_path(), plan.source.path.as_path());
        let make = || plan::make((target, source), &plan.options, self.threads, progress);
        let differs = |made: &Plan| question::changed(plan, made);
        let (diagnosis, made) =
            ready((target, self.store()), disk, make, differs).map_err(|why| not_ready(why, target))?;
        if let Some(lack) = lacking(&made, target, &BTreeMap::new()).filter(|_| self.undo_dir.is_none()) {
            return Err(format!(
                "{} Make room, or give a directory on another filesystem for the undo store with --undo-dir.",
                question::no_room(&lack)
            ));
        }
        if !made.target.state.starts_with("shut down") {
            if !stopped {
                return Err("The target was not shut down, and nobody said that no server runs on it.".into());
            }
            progress.begin(Phase::Watching, 0);
            let still = quiet(disk, target, quiet::WATCH, progress);
            if !still.map_err(|trouble| self.ended(&Failed { trouble, halfway: false }, target, disk))? {
                return Err(question::not_quiet(target));
            }
        }
        let options = Options {
            threads: self.threads,
            target_is_stopped: stopped,
            undo_dir: self.undo_dir.clone(),
            report: Some(json::for_store(Arc::new(diagnosis))),
            ..Options::default()
        };
        let outcome = rewind::apply(&made, &options, disk, progress);
        let outcome = outcome.map_err(|failed| self.ended(&failed, target, disk))?;
        let mut lines = finished(target, &outcome);
        lines.extend(made.next_steps);
        Ok(lines)
    }

    fn resume(&self, target: &Path, disk: &RealDisk, progress: &Progress) -> Result<Vec<String>, String> {
        disk.as_owner(target).map_err(|trouble| trouble.to_string())?;
        let going = Going { threads: self.threads, ..Going::default() };
        let outcome = rewind::resume(target, self.store(), &going, disk, progress);
        let outcome = outcome.map_err(|failed| self.ended(&failed, target, disk))?;
        Ok(finished(target, &outcome))
    }

    fn undo(&self, target: &Path, disk: &RealDisk, progress: &Progress) -> Result<Vec<String>, String> {
        let watch = || {
            progress.begin(Phase::Watching, 0);
            quiet(disk, target, quiet::WATCH, progress)
        };
        ready_to_undo((target, self.store()), disk, watch).map_err(|why| not_ready(why, target))?;
        let undone = rewind::undo(target, self.store(), disk, progress);
        let store = undone.map_err(|failed| self.ended(&failed, target, disk))?;
        let shown = words::path(target);
        Ok(vec![
            format!("{shown} is what it was before the rewind."),
            format!("forkpoint undo {shown} --discard removes {}.", words::path(&store)),
        ])
    }

    fn store(&self) -> Option<&Path> {
        self.undo_dir.as_deref()
    }

    /// What is the matter. What can be done now, the status of the target says.
    fn ended(&self, failed: &Failed, target: &Path, disk: &RealDisk) -> String {
        let halfway = failed.halfway
            && !status(target, self.store(), disk)
                .is_ok_and(|status| matches!(status.state, State::None | State::Done));
        match (&failed.trouble, halfway) {
            (Trouble::Cancelled, false) => STOPPED.to_owned(),
            (Trouble::Cancelled, true) => "Stopped half-way, at a safe point.".to_owned(),
            (trouble, false) => {
                format!("{}. Nothing was changed.", trouble.to_string().trim_end_matches('.'))
            }
            (trouble, true) => {
                format!("{}. {} is half-way.", trouble.to_string().trim_end_matches('.'), words::path(target))
            }
        }
    }
}

/// Why nothing was begun.
fn not_ready(why: NotReady, target: &Path) -> String {
    match why {
        NotReady::Trouble(Trouble::Cancelled)
        | NotReady::Plan(PlanError::Cancelled | PlanError::Diagnose(DiagnoseError::Cancelled)) => {
            STOPPED.to_owned()
        }
        NotReady::Busy => question::not_quiet(target),
        why @ NotReady::Another(_) => {
            format!("{why} Open this again and look at the new one. Nothing was changed.")
        }
        why => format!("{}. Nothing was changed.", why.to_string().trim_end_matches('.')),
    }
}

const STOPPED: &str = "Stopped; nothing was changed.";

fn finished(target: &Path, outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("The rewind of {} is finished.", words::path(target))];
    if outcome.undo {
        lines.push(format!(
            "Until a server is started on it, U puts it back; what it had before is in {}.",
            words::path(&outcome.store)
        ));
    }
    lines
}
