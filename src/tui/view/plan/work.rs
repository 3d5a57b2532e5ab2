//! What runs in the background: looking how an earlier rewind stands, making the plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnosis::Diagnosis;
use crate::plan::path::PlanPath;
use crate::plan::{Plan, PlanError, PlanOptions, derive};
use crate::report::rewind::Report;
use crate::report::{rewind as view, text};
use crate::rewind::{RealDisk, State, status};
use crate::tui::jobs::Worker;

/// How a rewind of the target stands.
#[derive(Debug, Clone)]
pub struct Standing {
    /// The target, absolute.
    pub target: PathBuf,
    /// How far it got.
    pub state: State,
    /// As `forkpoint status --format json` has it.
    pub report: Report,
    /// As `forkpoint status` prints it.
    pub text: Vec<String>,
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoPlan {
    /// There is nothing to rewind: why, and what to do instead.
    NotNeeded(String, Vec<String>),
    /// What was asked for cannot be.
    Refused(String),
    /// Something stands in the way.
    Failed(String),
}

/// What the work says.
#[derive(Debug)]
pub enum Told {
    /// How an earlier rewind stands; an error where that cannot be seen.
    Standing(Result<Box<Standing>, String>),
    /// The plan.
    Plan(Box<PlanOptions>, Result<Arc<Plan>, NoPlan>),
}

/// Looks at the target.
pub fn look(target: &Path, undo_dir: Option<&Path>, worker: &Worker) {
    let disk = RealDisk::new();
    let looked = target.canonicalize().map_err(|e| e.to_string()).and_then(|target| {
        let found = status(&target, undo_dir, &disk).map_err(|e| e.to_string())?;
        let mut text = Vec::new();
        // writing into memory cannot fail
        let _ = text::render(&view::content(&target, &found), text::TextStyle::default(), &mut text);
        let text = String::from_utf8_lossy(&text).lines().map(str::to_owned).collect();
        let report = Report::new(&target, &found);
        Ok(Box::new(Standing { state: found.state, report, text, target }))
    });
    worker.answer(Told::Standing(looked));
}

/// Makes the plan.
pub fn make(diagnosis: &Diagnosis, archives: &[PathBuf], wishes: PlanOptions, worker: &Worker) {
    let absolute = archives.iter().map(|path| match path.canonicalize() {
        Ok(path) => Ok(PlanPath::from(path.as_path())),
        Err(error) => Err(NoPlan::Failed(format!("{}: {error}", path.display()))),
    });
    let made = absolute.collect::<Result<_, _>>().and_then(|archives| {
        let options = PlanOptions { archives, ..wishes.clone() };
        derive(diagnosis, &options, &worker.progress).map(Arc::new).map_err(|error| match error {
            PlanError::NotNeeded { line, next_steps } => NoPlan::NotNeeded(line, next_steps),
            error @ PlanError::Keep { .. } => NoPlan::Refused(error.to_string()),
            error => NoPlan::Failed(error.to_string()),
        })
    });
    worker.answer(Told::Plan(Box::new(wishes), made));
}
