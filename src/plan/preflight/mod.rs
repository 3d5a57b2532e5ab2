//! What is looked at before the first write, so that nothing is found out half-way.

mod files;
mod pages;
mod sides;
mod space;
mod wal;

use std::path::Path;

use crate::diagnosis::Diagnosis;
use crate::facts::Facts;
use crate::pg::Major;
use crate::scan::progress::Progress;

use super::derive::PlanError;
use super::entries::Built;
use super::model::{Check, Outcome, ReplayStart, Totals};
use super::options::PlanOptions;
use super::path::PlanPath;
use super::wal::Needed;

/// Of many alike, so many are listed one by one.
const LISTED: usize = 20;

/// What is checked.
pub struct Ground<'a> {
    pub diagnosis: &'a Diagnosis,
    pub options: &'a PlanOptions,
    pub target: &'a Path,
    pub source: &'a Path,
    pub built: &'a Built,
    pub totals: &'a Totals,
    pub replay_start: &'a ReplayStart,
    /// WAL for replay; none where there is far too much.
    pub needed: Option<&'a [Needed]>,
    pub kept_by_pg_rewind: Option<&'a [String]>,
}

impl Ground<'_> {
    const fn facts(&self) -> &Facts {
        &self.diagnosis.facts
    }

    fn major(&self) -> Major {
        self.facts().target.control.major
    }
}

/// What to do where only forkpoint's own plan goes further than pg_rewind.
const BEYOND_PG_REWIND: &str =
    "Use forkpoint plan, which does more than pg_rewind, and then forkpoint apply.";

/// A point of the list: its code, what is said where nothing is wrong, and what looks.
type Point = (&'static str, &'static str, fn(&Ground<'_>) -> Vec<Found>);

/// Something that a point found.
pub struct Found {
    outcome: Outcome,
    place: Option<PlanPath>,
    what: String,
    advice: String,
}

fn refusal(what: impl Into<String>, advice: impl Into<String>) -> Found {
    Found { outcome: Outcome::Refusal, place: None, what: what.into(), advice: advice.into() }
}

fn warning(what: impl Into<String>, advice: impl Into<String>) -> Found {
    Found { outcome: Outcome::Warning, ..refusal(what, advice) }
}

impl Found {
    fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.place = Some(PlanPath::from(path.as_ref()));
        self
    }
}

const POINTS: [Point; 30] = [
    ("target-stopped", "No server runs on the target.", sides::target_stopped),
    ("source-stopped", "No server runs on the source.", sides::source_stopped),
    ("source-state", "The source's state is one that can be copied.", sides::source_state),
    ("control-files", "Both control files are whole.", sides::control_files),
    ("build", "Both sides have sizes that this program knows.", sides::build),
    ("checksums", "Page checksums are on, or off, on both sides alike.", sides::checksums),
    ("hint-bits", "Changed hint bits are in the WAL, or do not matter.", sides::hint_bits),
    ("leftovers", "Nothing is left of an earlier attempt.", sides::leftovers),
    ("source-backup-label", "The source is no backup in progress.", sides::source_backup_label),
    ("lineage", "The common past was compared record by record.", sides::lineage),
    ("twins", "No timeline was begun by both sides on their own.", sides::twins),
    ("replay-start", "Replay starts where both sides' files allow it.", sides::replay_start),
    ("target-wal", "The target's WAL was read to its end.", wal::target_wal),
    ("source-wal", "The source's WAL was read to its end.", wal::source_wal),
    ("wal-for-replay", "All WAL that replay needs is there.", wal::for_replay),
    ("history-file", "The history file of the source's timeline is there.", wal::history_file),
    ("not-archived", "No WAL is lost that was not archived yet.", wal::not_archived),
    ("listing", "Both trees were listed whole.", files::listing),
    ("same-files", "The two sides share no file and no directory.", files::shared),
    ("types", "What both sides have is of the same type.", files::types),
    ("links", "No link leads a path elsewhere.", files::links),
    ("hard-links", "No file to be changed has a second name.", files::hard_links),
    ("attributes", "No file to be changed has an ACL or other attributes.", files::attributes),
    ("sockets", "No socket or other special file is in the way.", files::in_the_way),
    (
        "tablespaces",
        "Every tablespace of the source has a place of its own on the target.",
        files::tablespaces,
    ),
    (
        "permissions",
        "Every file to be changed can be written, every one to be read can be read.",
        files::permissions,
    ),
    ("databases", "Every database of the source arrives whole.", files::databases),
    ("signals", "No file of the source makes the target promote itself.", files::signals),
    ("secrets", "The plan holds no password.", sides::secrets),
    ("keep", "Every --keep names something.", files::keep),
];

/// Looks at everything, in a fixed order: each point gives one check that all is well, or what it found.
///
/// # Errors
/// Cancelled, or a file of the source cannot be read.
pub fn checks(ground: &Ground<'_>, progress: &Progress) -> Result<Vec<Check>, PlanError> {
    let mut checks = Vec::new();
    let mut add = |code: &str, fine: &str, found: Vec<Found>| {
        if found.is_empty() {
            checks.push(Check {
                code: code.into(),
                outcome: Outcome::Ok,
                place: None,
                what: fine.into(),
                advice: String::new(),
            });
        }
        checks.extend(found.into_iter().map(|Found { outcome, place, what, advice }| Check {
            code: code.into(),
            outcome,
            place,
            what,
            advice,
        }));
    };
    for (code, fine, look) in POINTS {
        add(code, fine, look(ground));
    }
    add("space", "Every filesystem of the target has room.", space::space(ground));
    let bad = pages::source_pages(ground, progress)?;
    add("source-pages", "Every page that is copied has the right checksum, or the cluster has none.", bad);
    Ok(checks)
}
