//! What all groups of findings share: the pair seen from the question "can the target rejoin", words, builders.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use crate::facts::{DivergenceProof, Facts, Loss, NeededSegment, Relation, Role, Side, Unrelated};
use crate::pg::control::DbState;
use crate::pg::history::{History, HistoryEntry};
use crate::pg::{Lsn, Major, TimelineId, WalName};
use crate::scan::{RecordKind, XactEnd};
use crate::source::trees::{Entry, Kind, Tree};
use crate::wal::rmgr::{id, op};

use super::{Evidence, Finding, Severity};

/// What the rejoin would have to be, by the relation alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// The target can follow as it is.
    Follow,
    /// The target's WAL after the divergence has to go.
    Rewind,
    /// Neither: unrelated, undecided, the wrong way round.
    Neither,
}

/// The facts with what the findings ask of them again and again.
#[derive(Clone, Copy)]
pub(crate) struct Pair<'a> {
    pub facts: &'a Facts,
    pub major: Major,
    pub way: Way,
}

impl<'a> Pair<'a> {
    pub fn new(facts: &'a Facts) -> Self {
        let way = match facts.relation {
            Relation::SamePosition | Relation::TargetBehind => Way::Follow,
            Relation::Diverged | Relation::Twins { .. } => Way::Rewind,
            // the histories say where the source left, and the control file that the target got further
            Relation::Undecided if diverged_by_histories(facts) => Way::Rewind,
            Relation::SourceBehind | Relation::Unrelated(_) | Relation::Undecided => Way::Neither,
        };
        Self { facts, major: facts.major().unwrap_or(facts.target.control.major), way }
    }

    pub fn target(&self) -> &'a Side {
        &self.facts.target
    }

    pub fn source(&self) -> &'a Side {
        &self.facts.source
    }

    pub fn sides(&self) -> [&'a Side; 2] {
        [&self.facts.target, &self.facts.source]
    }

    /// One cluster, so that WAL positions of the two can be compared.
    pub fn related(&self) -> bool {
        !matches!(self.facts.relation, Relation::Unrelated(_)) || self.lineage_unknown()
    }

    /// A history file is missing, so that nothing can be said about a common beginning.
    pub fn lineage_unknown(&self) -> bool {
        self.facts.relation == Relation::Unrelated(Unrelated::NoCommonAncestor)
            && self.sides().iter().any(|s| !s.lineage.missing_history.is_empty())
    }

    /// An LSN as the server of this major prints it.
    pub fn lsn(&self, lsn: Lsn) -> String {
        server_lsn(lsn, self.major)
    }

    /// Divergence, when the target has to give up WAL behind it.
    pub fn divergence(&self) -> Option<(Lsn, TimelineId)> {
        if self.way != Way::Rewind {
            return None;
        }
        self.facts.divergence.as_ref().map(|d| (d.lsn, d.timeline))
    }

    /// The target was a standby when it stopped: files no newer than its last restartpoint, WAL from elsewhere.
    pub fn target_was_standby(&self) -> bool {
        let target = self.target();
        matches!(target.control.state, DbState::ShutDownInRecovery | DbState::InArchiveRecovery)
            && !self.rewound_by_pg_rewind()
    }

    /// The target is a standby that received WAL past the divergence and replayed none of it.
    pub fn only_received(&self) -> bool {
        self.facts.only_received()
    }

    /// pg_rewind ended on the target and no server was started since.
    pub fn rewound_by_pg_rewind(&self) -> bool {
        self.target()
            .leftovers
            .backup_label
            .as_ref()
            .is_some_and(crate::source::leftovers::BackupLabel::by_pg_rewind)
    }

    /// "1 commit", "3 commits", "at least 3 commits", for sentences about what is lost.
    pub fn commits(&self) -> Option<String> {
        match self.facts.loss.as_ref()? {
            Loss::Commits { commits, .. } => Some(plural(*commits, "committed transaction")),
            Loss::AtLeast { commits } if *commits > 0 => {
                Some(format!("at least {}", plural(*commits, "committed transaction")))
            }
            Loss::PreparedOnly { prepared } => Some(plural(*prepared, "prepared transaction")),
            Loss::AtLeast { .. } | Loss::Nothing | Loss::ShutdownCheckpointOnly | Loss::MaintenanceOnly => {
                None
            }
        }
    }

    /// After the divergence the target has transactions that were rolled back or never ended.
    pub fn has_unfinished_work(&self) -> bool {
        let Some((divergence, _)) = self.divergence() else { return false };
        self.facts.transactions.iter().any(|x| {
            x.end_lsn >= divergence
                && matches!(x.end, XactEnd::Aborted | XactEnd::AbortedPrepared | XactEnd::InProgress)
        })
    }

    /// One side's tree of files.
    pub fn tree(&self, role: Role) -> &'a Tree {
        match role {
            Role::Target => &self.facts.trees.target,
            Role::Source => &self.facts.trees.source,
        }
    }

    /// The entry of a tree at `path`.
    pub fn entry(&self, role: Role, path: &str) -> Option<Entry<'a>> {
        self.tree(role).get(Path::new(path))
    }

    /// The file `name` is in the side's own WAL directory.
    pub fn has_wal_file(&self, role: Role, name: &str) -> bool {
        self.entry(role, &format!("{}/{name}", self.major.wal_dir())).is_some_and(|e| e.kind == Kind::File)
    }
}

/// Diverged by what history and control file say, although the WAL to see it with is missing.
fn diverged_by_histories(facts: &Facts) -> bool {
    facts.divergence.as_ref().is_some_and(|d| {
        matches!(d.shown_by, DivergenceProof::History(_))
            && facts.target.control_end.is_some_and(|end| end > d.lsn)
    })
}

/// An LSN as a server of `major` prints it: 19 pads the second half.
pub(crate) fn server_lsn(lsn: Lsn, major: Major) -> String {
    if major >= Major::V19 {
        format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
    } else {
        lsn.to_string()
    }
}

/// "target" or "source".
pub(crate) const fn side_name(role: Role) -> &'static str {
    match role {
        Role::Target => "target",
        Role::Source => "source",
    }
}

/// "1 file", "2 files".
pub(crate) fn plural(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The first few of a list, and how many more there are.
pub(crate) fn some_of<T: Display>(items: impl IntoIterator<Item = T>, limit: usize) -> String {
    let mut text = Vec::new();
    let mut more = 0;
    for item in items {
        if text.len() < limit {
            text.push(item.to_string());
        } else {
            more += 1;
        }
    }
    let list = text.join(", ");
    if more == 0 { list } else { format!("{list} and {more} more") }
}

/// A path as one word of a shell command.
pub(crate) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_./-".contains(&b)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

/// Name of a timeline's history file.
pub(crate) fn history_name(timeline: TimelineId) -> String {
    format!("{timeline:08X}.history")
}

/// The entry of `timeline`.
pub(crate) fn entry_of(history: &History, timeline: TimelineId) -> Option<&HistoryEntry> {
    history.entries.iter().find(|e| e.timeline == timeline)
}

/// The timeline that the byte at `lsn` belongs to.
pub(crate) fn timeline_at(history: &History, lsn: Lsn) -> Option<TimelineId> {
    history.entries.iter().find(|e| e.begin <= lsn && lsn < e.end).map(|e| e.timeline)
}

/// The next timeline of a history after `timeline`.
pub(crate) fn child_of(history: &History, timeline: TimelineId) -> Option<TimelineId> {
    history.entries.iter().map(|e| e.timeline).find(|t| *t > timeline)
}

/// Name of the segment that holds `lsn` on the timelines of `side`.
pub(crate) fn segment_name(side: &Side, timeline: TimelineId, lsn: Lsn) -> String {
    WalName::Segment(timeline, side.segment_size.segno(lsn)).file_name(side.segment_size)
}

/// The side's control file.
pub(crate) fn control_path(side: &Side) -> PathBuf {
    side.dir.path().join("global/pg_control")
}

/// Evidence from a control file.
pub(crate) fn control_says(side: &Side, value: impl Into<String>) -> Evidence {
    Evidence { path: Some(control_path(side)), value: value.into(), ..Evidence::default() }
}

/// Evidence from any file.
pub(crate) fn file_says(path: impl Into<PathBuf>, value: impl Into<String>) -> Evidence {
    Evidence { path: Some(path.into()), value: value.into(), ..Evidence::default() }
}

/// Evidence from the WAL.
pub(crate) fn wal_says(timeline: TimelineId, lsn: Lsn, value: impl Into<String>) -> Evidence {
    Evidence { lsn: Some(lsn), timeline: Some(timeline), value: value.into(), ..Evidence::default() }
}

/// Evidence: where a side's WAL ends.
pub(crate) fn end_of(side: &Side) -> Option<Evidence> {
    let end = side.end.as_ref()?;
    Some(Evidence {
        path: end.path.clone(),
        offset: end.path.is_some().then_some(end.offset),
        lsn: Some(end.lsn),
        timeline: Some(end.timeline),
        value: format!(
            "the {}'s WAL ends at {} on timeline {}{}",
            side_name(side.role),
            end.lsn,
            end.timeline,
            if end.message.is_empty() { String::new() } else { format!(" ({})", end.message) }
        ),
    })
}

/// Evidence: the line of a side's history where `timeline` was left.
pub(crate) fn switch_line(side: &Side, timeline: TimelineId) -> Option<Evidence> {
    let history = &side.lineage.history;
    let entry = entry_of(history, timeline)?;
    if entry.end == Lsn::MAX {
        return None;
    }
    let path =
        side.lineage.known.iter().find(|k| k.history.timeline == history.timeline).map(|k| k.path.clone());
    let path = path.or_else(|| {
        side.lineage
            .known
            .iter()
            .find(|k| entry_of(&k.history, timeline).is_some_and(|e| e.end == entry.end))
            .map(|k| k.path.clone())
    });
    Some(Evidence {
        path,
        offset: None,
        lsn: Some(entry.end),
        timeline: Some(timeline),
        value: format!(
            "the {}'s history leaves timeline {timeline} at {}{}",
            side_name(side.role),
            entry.end,
            if entry.reason.is_empty() { String::new() } else { format!(" ({})", entry.reason) }
        ),
    })
}

/// A state as pg_controldata prints it.
pub(crate) fn state_name(state: DbState) -> String {
    match state {
        DbState::StartingUp => "starting up".into(),
        DbState::ShutDown => "shut down".into(),
        DbState::ShutDownInRecovery => "shut down in recovery".into(),
        DbState::ShuttingDown => "shutting down".into(),
        DbState::InCrashRecovery => "in crash recovery".into(),
        DbState::InArchiveRecovery => "in archive recovery".into(),
        DbState::InProduction => "in production".into(),
        DbState::Unrecognized(n) => format!("unrecognized ({n})"),
    }
}

/// The state is one that a clean stop leaves.
pub(crate) const fn cleanly_stopped(state: DbState) -> bool {
    matches!(state, DbState::ShutDown | DbState::ShutDownInRecovery)
}

/// A CHECKPOINT_SHUTDOWN record.
pub(crate) const fn is_shutdown_checkpoint(kind: RecordKind) -> bool {
    kind.rmid == id::XLOG && kind.op == op::XLOG_CHECKPOINT_SHUTDOWN
}

/// Names of segments, for a sentence.
pub(crate) fn names<'a>(segments: impl IntoIterator<Item = &'a NeededSegment>) -> String {
    some_of(segments.into_iter().map(|s| s.name.as_str()), 4)
}

/// A finding under construction.
pub(crate) fn finding(code: &'static str, severity: Severity) -> Finding {
    Finding {
        code,
        severity,
        title: super::codes::title(code).to_owned(),
        explanation: String::new(),
        evidence: Vec::new(),
        server_log: Vec::new(),
        remedy: String::new(),
    }
}

impl Finding {
    #[must_use]
    pub(crate) fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    #[must_use]
    pub(crate) fn explain(mut self, text: impl Into<String>) -> Self {
        self.explanation = text.into();
        self
    }

    #[must_use]
    pub(crate) fn proof(mut self, evidence: impl IntoIterator<Item = Evidence>) -> Self {
        self.evidence.extend(evidence);
        self
    }

    #[must_use]
    pub(crate) fn logs<S: Into<String>>(mut self, lines: impl IntoIterator<Item = S>) -> Self {
        self.server_log.extend(lines.into_iter().map(Into::into));
        self
    }

    #[must_use]
    pub(crate) fn remedy(mut self, text: impl Into<String>) -> Self {
        self.remedy = text.into();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        let word = |path: &str| shell_word(Path::new(path));
        assert_eq!(word("/srv/pg-18_a/data.1"), "/srv/pg-18_a/data.1");
        for path in ["/a b", "/it's", "/x;rm -rf $HOME", "/ü*", "", "/a\nb", "~"] {
            let command = format!("printf %s {}", word(path));
            let said = std::process::Command::new("sh").arg("-c").arg(command).output().unwrap();
            assert_eq!(String::from_utf8(said.stdout).unwrap(), path);
        }
    }
}
