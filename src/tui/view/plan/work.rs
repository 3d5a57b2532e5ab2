//! What runs in the background: looking how an earlier rewind stands, making the plan.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Order, entry, path};
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
    /// Its entries, sorted and filtered.
    Listed(Listed),
    /// A path with the searched text among these rows.
    Found(Arc<Vec<u32>>, Option<usize>),
}

/// Entries of a plan, sorted and filtered.
#[derive(Debug)]
pub struct Listed {
    /// The plan.
    pub plan: Arc<Plan>,
    /// Places of its entries.
    pub rows: Vec<u32>,
    /// What is in their path, action or reason.
    pub filter: String,
    /// What they are sorted by.
    pub order: Order,
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

/// Sorts and filters the entries.
pub fn list(plan: &Arc<Plan>, filter: String, order: Order, worker: &Worker) {
    let wanted = filter.to_lowercase();
    let of = |at: u32| plan.entries.get(at as usize);
    let lets = |at: &u32| {
        of(*at).is_some_and(|e| {
            wanted.is_empty()
                || path(e).to_lowercase().contains(&wanted)
                || entry::word(e).contains(&wanted)
                || e.why.text().to_lowercase().contains(&wanted)
        })
    };
    let mut rows: Vec<u32> = (0..plan.entries.len() as u32).filter(lets).collect();
    match order {
        Order::Done => {}
        Order::Path => {
            rows.sort_by(|a, b| of(*a).map(|e| e.path.as_path()).cmp(&of(*b).map(|e| e.path.as_path())));
        }
        Order::Bytes => {
            let bytes = |&at: &u32| std::cmp::Reverse(of(at).map(|e| entry::bytes(e, plan.block_size)));
            rows.sort_by_cached_key(bytes);
        }
        Order::Action => rows.sort_by_key(|&at| of(at).map(entry::word)),
    }
    worker.answer(Told::Listed(Listed { plan: Arc::clone(plan), rows, filter, order }));
}

/// Looks for a path with the text, small letters, from behind (or before) a row on and once around.
pub fn seek(plan: &Plan, rows: Arc<Vec<u32>>, wanted: &str, (here, forward): (usize, bool), worker: &Worker) {
    let len = rows.len();
    let round = |by: usize| if forward { (here + by) % len } else { (here + len - by) % len };
    let found = (1..=len).map(round).find(|&at| {
        let entry = rows.get(at).and_then(|&row| plan.entries.get(row as usize));
        entry.is_some_and(|e| path(e).to_lowercase().contains(wanted))
    });
    worker.answer(Told::Found(rows, found));
}
