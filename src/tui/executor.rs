//! The only way from the screen to something that writes into a data directory.

use std::path::{Path, PathBuf};

use crate::plan::Plan;
use crate::scan::progress::Progress;

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
}

/// Carries out with the executor of `forkpoint apply`.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealExecutor;

impl Executor for RealExecutor {
    fn execute(&self, _: &Command, _: &Progress) -> Ended {
        Ended { done: false, lines: vec!["not there yet".into()] }
    }
}
