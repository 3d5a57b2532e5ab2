//! The verdict: one line first, then what to do.

use crate::findings::common::{
    Pair, Way, entry_of, history_name, is_shutdown_checkpoint, plural, segment_name, shell_word,
};
use crate::findings::leftovers::{before_switchover, starts_as_standby};
use crate::findings::wal::make_readable;
use crate::findings::{Finding, Severity};
use crate::pg::Major;
use crate::pg::control::DbState;
use crate::source::leftovers::Postmaster;
use crate::source::walset::{Reason, Rejected};

use crate::facts::{Facts, Loss, NeededSegment, Relation, Unrelated, WalNeed};

/// What has to be done for the rejoin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Nothing: both stand at the same position.
    Same,
    /// Start the target as a standby of the source.
    Follow,
    /// Take back what the target wrote after the divergence, then follow.
    Rewind,
    /// The WAL route is closed, or pg_rewind would do harm: copy the source anew, or compare all files with it.
    ReClone,
    /// The two have nothing to do with each other.
    Unrelated,
    /// The evidence does not suffice, or a person has to decide first.
    Undecided,
}

/// Which of the pictures that explanations of timelines draw this pair is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Picture {
    /// The source was promoted without the target's consent.
    Failover,
    /// The target was stopped cleanly, the source had everything, and was promoted then.
    Switchover,
    /// Both are stopped at the same shutdown checkpoint, and nobody was promoted yet: safe to switch.
    BeforeSwitchover,
    /// Two servers were promoted on their own to the same timeline number.
    Twins,
    /// The target is a standby of the source.
    Standby,
    /// The target was rewound and not started since.
    Rewound,
    /// None of them.
    None,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// What has to be done.
    pub action: Action,
    /// The line that comes first in every report: what to do, why, what is lost, what stands in the way.
    pub line: String,
    /// Which picture it is.
    pub picture: Picture,
    /// How many committed transactions the action discards, at least; `None` when that could not be seen.
    pub lost_commits: Option<u64>,
    /// Codes of the findings that stand in the way.
    pub blocked_by: Vec<&'static str>,
    /// What the target lacks to follow.
    pub lacks: Vec<String>,
    /// What to do, in order.
    pub next_steps: Vec<String>,
    /// Other ways to the goal, where the first is closed.
    pub other_routes: Vec<String>,
}

/// Errors that say why a rewind is needed rather than what hinders it.
const REASONS: [&str; 6] = ["FP01", "FP02", "FP03", "FP04", "FP10", "FP43"];
/// Errors of the target that close the WAL route: what changed, or what has to be replayed, cannot be known.
const CLOSES_REWIND: [&str; 9] = ["FP14", "FP15", "FP19", "FP21", "FP22", "FP27", "FP28", "FP31", "FP68"];
/// Errors of the target that close the way to follow as it is.
const CLOSES_FOLLOW: [&str; 8] = ["FP06", "FP14", "FP25", "FP27", "FP28", "FP31", "FP66", "FP68"];
/// Errors with which pg_rewind must not be run although a rewind is what is needed.
const NOT_BY_PG_REWIND: [&str; 5] = ["FP08", "FP16", "FP39", "FP73", "FP75"];

/// Errors that WAL from an archive or a peer may remove.
const MISSING_WAL: [&str; 3] = ["FP19", "FP25", "FP28"];

/// What has to be seen to before anything else.
const FATAL: [&str; 5] = ["FP60", "FP63", "FP64", "FP76", "FP78"];

/// Judges the pair.
pub fn judge(facts: &Facts, findings: &[Finding]) -> Verdict {
    let pair = Pair::new(facts);
    let case = Case { pair, findings };
    let action = case.action();
    let blocked_by = case.blocked_by(action);
    let lost_commits = case.lost_commits(action);
    let lacks = case.lacks(action);
    Verdict {
        line: case.line(action, &blocked_by, &lacks),
        picture: case.picture(),
        next_steps: case.next_steps(action),
        other_routes: case.other_routes(action),
        action,
        lost_commits,
        blocked_by,
        lacks,
    }
}

struct Case<'a> {
    pair: Pair<'a>,
    findings: &'a [Finding],
}

fn and(items: &[impl AsRef<str>]) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [init @ .., last] => {
            let init: Vec<&str> = init.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", init.join(", "), last.as_ref())
        }
    }
}

impl Case<'_> {
    fn error(&self, code: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.code == code && f.severity == Severity::Error)
    }

    fn found(&self, code: &str) -> Option<&Finding> {
        self.findings.iter().find(|f| f.code == code)
    }

    fn warned(&self, code: &str) -> bool {
        self.found(code).is_some_and(|f| f.severity >= Severity::Warning)
    }

    /// An error that the target itself causes, rather than the source.
    fn closes(&self, codes: &[&str]) -> bool {
        let source = self.pair.source().dir.path();
        self.findings.iter().any(|f| {
            f.severity == Severity::Error
                && codes.contains(&f.code)
                && !f.evidence.first().and_then(|e| e.path.as_ref()).is_some_and(|p| p.starts_with(source))
        })
    }

    fn same_directory(&self) -> bool {
        self.pair.target().dir.identity() == self.pair.source().dir.identity()
    }

    /// The target was promoted where the two part, and the source stayed on the old timeline.
    fn target_was_promoted(&self) -> bool {
        let (target, source) = (&self.pair.target().lineage, &self.pair.source().lineage);
        let Some((lsn, timeline)) = self.pair.divergence() else { return false };
        !matches!(self.pair.facts.relation, Relation::Twins { .. })
            && target.timeline > source.timeline
            && source.timeline == timeline
            && entry_of(&target.history, timeline).is_some_and(|e| e.end == lsn)
    }

    fn not_by_pg_rewind(&self) -> bool {
        self.pair.way == Way::Rewind && NOT_BY_PG_REWIND.iter().any(|c| self.error(c).is_some())
    }

    /// Nothing but WAL that may lie in an archive stands in the way that these codes close.
    fn only_wal_is_missing(&self, closing: &[&str]) -> bool {
        let others: Vec<&str> = closing.iter().copied().filter(|c| !MISSING_WAL.contains(c)).collect();
        self.closes(&MISSING_WAL) && !self.closes(&others) && !self.not_by_pg_rewind()
    }

    fn waits_for_wal(&self, action: Action) -> bool {
        let closing: &[&str] = if self.pair.way == Way::Rewind { &CLOSES_REWIND } else { &CLOSES_FOLLOW };
        action == Action::Undecided
            && self.pair.way != Way::Neither
            && !self.same_directory()
            && !self.target_was_promoted()
            && self.only_wal_is_missing(closing)
    }

    /// Files of all the segments that cannot be had, if they are there and only cannot be read.
    fn unreadable_segments(&self) -> Vec<&Rejected> {
        let facts = self.pair.facts;
        let wal = &facts.wal;
        let rewinding = self.pair.way == Way::Rewind;
        let needs = [wal.find_blocks.as_ref().filter(|_| rewinding), wal.follow.as_ref()];
        let holes: Vec<_> =
            needs.into_iter().flatten().flat_map(WalNeed::holes).map(|s| (s.timeline, s.segno)).collect();
        let at = self
            .pair
            .divergence()
            .map(|(lsn, timeline)| (timeline, self.pair.target().segment_size.segno(lsn)));
        let asked = if holes.is_empty() { at.into_iter().collect() } else { holes };
        let mut files: Vec<&Rejected> =
            asked.iter().filter_map(|(timeline, segno)| facts.unreadable(*timeline, *segno)).collect();
        if files.len() < asked.len() {
            return Vec::new();
        }
        files.dedup_by_key(|f| (f.timeline, f.segno));
        files
    }

    /// Names of the segments that were found nowhere, in order.
    fn missing_segments(&self) -> Vec<String> {
        let wal = &self.pair.facts.wal;
        let mut holes: Vec<&NeededSegment> = Vec::new();
        if self.pair.way == Way::Rewind
            && let Some(need) = &wal.find_blocks
        {
            holes.extend(need.holes());
        }
        if let Some(need) = &wal.follow {
            holes.extend(need.holes());
        }
        let mut names: Vec<String> = holes.into_iter().map(|s| s.name.clone()).collect();
        if names.is_empty()
            && let Some((lsn, timeline)) = self.pair.divergence()
        {
            names.push(segment_name(self.pair.target(), timeline, lsn));
        }
        names.sort();
        names.dedup();
        names
    }

    /// All of them are there, and none is as long as a segment.
    fn cut_short(&self, names: &[String]) -> bool {
        let facts = self.pair.facts;
        let short = |name: &String| {
            facts.target.rejected.iter().chain(&facts.source.rejected).any(|r| {
                matches!(r.reason, Reason::Short { .. })
                    && r.path.file_name().is_some_and(|n| n == name.as_str())
            })
        };
        !names.is_empty() && names.iter().all(short)
    }

    /// The checkpoint that the blocks are searched from was not found either: older segments may be needed too.
    fn older_too(&self) -> &'static str {
        if self.pair.way == Way::Rewind && self.pair.facts.common_checkpoint.is_none() {
            " (and older ones, back to the last checkpoint before the divergence)"
        } else {
            ""
        }
    }

    fn closed(&self, closing: &[&str]) -> Action {
        if self.only_wal_is_missing(closing) { Action::Undecided } else { Action::ReClone }
    }

    fn action(&self) -> Action {
        if self.same_directory() {
            return Action::Undecided;
        }
        match self.pair.facts.relation {
            Relation::Unrelated(_) if !self.pair.lineage_unknown() => Action::Unrelated,
            _ if self.error("FP31").is_some() => Action::ReClone,
            _ if self.target_was_promoted() => Action::Undecided,
            Relation::Undecided if self.pair.way == Way::Rewind => self.rewind_or_clone(),
            Relation::Undecided | Relation::SourceBehind | Relation::Unrelated(_) => Action::Undecided,
            Relation::SamePosition | Relation::TargetBehind if self.closes(&CLOSES_FOLLOW) => {
                self.closed(&CLOSES_FOLLOW)
            }
            Relation::SamePosition if !self.pair.rewound_by_pg_rewind() => Action::Same,
            Relation::SamePosition | Relation::TargetBehind => Action::Follow,
            Relation::Diverged if self.pair.only_received() && !self.closes(&CLOSES_FOLLOW) => Action::Follow,
            Relation::Diverged | Relation::Twins { .. } => self.rewind_or_clone(),
        }
    }

    fn rewind_or_clone(&self) -> Action {
        if self.closes(&CLOSES_REWIND) {
            self.closed(&CLOSES_REWIND)
        } else if self.not_by_pg_rewind() {
            Action::ReClone
        } else {
            Action::Rewind
        }
    }

    fn blocked_by(&self, action: Action) -> Vec<&'static str> {
        let mut codes: Vec<&'static str> = self
            .findings
            .iter()
            .filter(|f| f.severity == Severity::Error)
            .filter(|f| !REASONS.contains(&f.code) || (action == Action::Follow && f.code == "FP03"))
            .map(|f| f.code)
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes
    }

    fn lost_commits(&self, action: Action) -> Option<u64> {
        if self.same_directory() {
            return None;
        }
        match self.pair.facts.loss {
            Some(Loss::Commits { commits, .. }) => Some(commits),
            Some(Loss::AtLeast { commits }) => (commits > 0).then_some(commits),
            // what the target had written may have been overwritten
            _ if self.error("FP31").is_some() => None,
            Some(
                Loss::Nothing
                | Loss::ShutdownCheckpointOnly
                | Loss::MaintenanceOnly
                | Loss::PreparedOnly { .. },
            ) => Some(0),
            None if matches!(action, Action::Same | Action::Follow) => Some(0),
            None => None,
        }
    }

    fn picture(&self) -> Picture {
        let pair = &self.pair;
        let (target, source) = (pair.target(), pair.source());
        let (old, new) = (target.lineage.timeline, source.lineage.timeline);
        if self.same_directory() {
            return Picture::None;
        }
        if pair.rewound_by_pg_rewind() {
            return Picture::Rewound;
        }
        match pair.facts.relation {
            Relation::Twins { .. } => Picture::Twins,
            Relation::SamePosition if before_switchover(pair) => Picture::BeforeSwitchover,
            Relation::SamePosition | Relation::TargetBehind
                if pair.target_was_standby() || (starts_as_standby(pair) && old == new) =>
            {
                Picture::Standby
            }
            Relation::TargetBehind if old < new => {
                let switched = entry_of(&source.lineage.history, old).map(|e| e.end);
                let at_the_end = target
                    .end
                    .as_ref()
                    .is_some_and(|e| Some(e.lsn) == switched && is_shutdown_checkpoint(e.last_kind));
                if at_the_end && target.control.state == DbState::ShutDown {
                    Picture::Switchover
                } else {
                    Picture::Failover
                }
            }
            Relation::Diverged | Relation::Undecided
                if pair.divergence().is_some_and(|(_, timeline)| new > timeline)
                    && self.error("FP31").is_none() =>
            {
                Picture::Failover
            }
            _ => Picture::None,
        }
    }

    fn lacks(&self, action: Action) -> Vec<String> {
        let pair = &self.pair;
        let mut lacks = Vec::new();
        if action != Action::Follow && !(action == Action::Same && pair.target_was_standby()) {
            return lacks;
        }
        let names = [
            (
                "FP61",
                if pair.major >= Major::V12 {
                    "standby.signal"
                } else {
                    "recovery.conf with standby_mode = 'on'"
                },
            ),
            ("FP62", "primary_conninfo"),
            ("FP77", "recovery_target_timeline = 'latest'"),
            ("FP27", "the WAL that it starts from, which lies elsewhere (see FP27)"),
        ];
        for (code, what) in names {
            if self.warned(code) {
                lacks.push(what.to_owned());
            }
        }
        if self.warned("FP09") {
            lacks.push(format!("{:08X}.history, which only the archive has", pair.source().lineage.timeline));
        }
        let dirs = [pair.target().dir.path(), pair.source().dir.path()];
        if let Some(need) = &pair.facts.wal.follow {
            let away = need.segments.iter().filter(|s| !s.on_target && !s.on_source);
            let (mut archived, mut gone): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
            for segment in away {
                let list = if segment.found.iter().any(|p| !dirs.iter().any(|d| p.starts_with(d))) {
                    &mut archived
                } else {
                    &mut gone
                };
                list.push(&segment.name);
            }
            for (list, place) in [(archived, "only the archive has"), (gone, "nobody has")] {
                match list.as_slice() {
                    [] => {}
                    [one] => lacks.push(format!("segment {one}, which {place}")),
                    [first, .., last] => {
                        lacks.push(format!("{} segments, {first} to {last}, which {place}", list.len()));
                    }
                }
            }
        }
        lacks
    }

    fn loss_words(&self) -> String {
        let pair = &self.pair;
        let place = pair
            .facts
            .divergence
            .as_ref()
            .map_or_else(String::new, |d| format!(" after {} on timeline {}", d.lsn, d.timeline));
        let wrote = if pair.target_was_standby() { "has" } else { "wrote" };
        match &pair.facts.loss {
            Some(Loss::Nothing) => format!("the target has nothing{place}; nothing is lost"),
            Some(Loss::ShutdownCheckpointOnly) => {
                format!("the target has only its shutdown checkpoint{place}; no data is lost")
            }
            Some(Loss::MaintenanceOnly) if pair.has_unfinished_work() => format!(
                "the target {wrote} nothing committed{place}: maintenance and work that was rolled back or never \
                 finished; no data is lost"
            ),
            Some(Loss::MaintenanceOnly) => {
                format!(
                    "the target {wrote} only maintenance{place} (vacuum, hints, checkpoints); no data is lost"
                )
            }
            Some(Loss::Commits { commits, .. }) => format!(
                "the target {wrote} {}{place} that the source never saw and that would be lost",
                plural(*commits, "commit")
            ),
            Some(Loss::PreparedOnly { prepared }) => format!(
                "the target committed nothing{place}, but prepared {} that the source never saw",
                plural(*prepared, "transaction")
            ),
            Some(Loss::AtLeast { commits: 0 }) => {
                format!(
                    "the target's WAL{place} could not be read to the end; it cannot be told how many commits are lost"
                )
            }
            Some(Loss::AtLeast { commits }) => format!(
                "the target {wrote} at least {}{place} that the source never saw; its WAL could not be read to the end",
                plural(*commits, "commit")
            ),
            None => format!(
                "the target {wrote} WAL{place} that the source never saw; what is in it could not be read"
            ),
        }
    }

    fn way_words(blocked_by: &[&str]) -> String {
        match blocked_by {
            [] => "nothing stands in the way".into(),
            [one] => format!("{one} stands in the way"),
            many => format!("{} stand in the way", and(many)),
        }
    }

    fn line(&self, action: Action, blocked_by: &[&'static str], lacks: &[String]) -> String {
        let pair = &self.pair;
        let (target, source) = (pair.target(), pair.source());
        let end = target
            .end
            .as_ref()
            .map_or_else(String::new, |e| format!(" {} on timeline {}", e.lsn, e.timeline));
        let blocked =
            if blocked_by.is_empty() { String::new() } else { format!("; {}", Self::way_words(blocked_by)) };
        let lacking =
            if lacks.is_empty() { String::new() } else { format!("; the target lacks {}", and(lacks)) };
        match action {
            Action::Unrelated => {
                let why = match &pair.facts.relation {
                    Relation::Unrelated(Unrelated::SystemIdentifier) => "they belong to different systems",
                    Relation::Unrelated(Unrelated::Major) => "they are of different majors",
                    _ => "their timelines have no common beginning",
                };
                format!("UNRELATED: {why}; the target can never follow this source and has to be cloned anew")
            }
            Action::Undecided if self.same_directory() => {
                "UNDECIDED: TARGET and SOURCE are the same directory".into()
            }
            Action::Undecided if self.target_was_promoted() => format!(
                "WRONG WAY ROUND? the target (TARGET) was promoted to timeline {} and the source was not: if the target \
                 is the new primary, exchange the two; if that promotion was the mistake, {}{blocked}",
                target.lineage.timeline,
                self.loss_words()
            ),
            Action::Undecided if self.waits_for_wal(action) => self.missing_line(&blocked),
            Action::Undecided if pair.facts.relation == Relation::SourceBehind => format!(
                "WRONG WAY ROUND? The target{} has everything that the source has and went on; exchange the two, or \
                 check which one is meant to be followed{blocked}",
                if end.is_empty() { String::new() } else { format!(", at{end},") }
            ),
            Action::Undecided => format!(
                "UNDECIDED: the evidence does not suffice to say how the two are related{}{blocked}",
                pair.facts
                    .unseen
                    .first()
                    .map_or_else(String::new, |u| format!(" ({})", u.what.trim_end_matches('.')))
            ),
            Action::Same if before_switchover(pair) => format!(
                "SAME POSITION, SAFE TO SWITCH: both are stopped after the same shutdown checkpoint, at{end}; nothing is \
                 lost{blocked}"
            ),
            Action::Same => {
                format!(
                    "SAME POSITION: both stand at{end}; nothing is lost and nothing has to be undone{lacking}{blocked}"
                )
            }
            Action::Follow if pair.way == Way::Rewind => format!(
                "FOLLOW, once WAL is moved aside: the target received WAL past the divergence and has none of it in its files; {}; see \
                 FP03 before it is started{lacking}",
                self.loss_words()
            ),
            Action::Follow => {
                let to = if source.lineage.timeline > target.lineage.timeline {
                    format!(" to timeline {}", source.lineage.timeline)
                } else {
                    String::new()
                };
                if pair.rewound_by_pg_rewind() {
                    return format!(
                        "FOLLOW: the target was rewound already and can be started as a standby of the source{lacking}{blocked}"
                    );
                }
                format!(
                    "FOLLOW: the target can follow the source as it is, from{}{to}; nothing is lost{lacking}{blocked}",
                    if end.is_empty() { " where it stopped".to_owned() } else { end }
                )
            }
            Action::Rewind => format!("REWIND: {}; {}", self.loss_words(), Self::way_words(blocked_by)),
            Action::ReClone if pair.way == Way::Follow || self.error("FP31").is_some() => {
                let what = if self.error("FP31").is_some() {
                    "an earlier rewind stopped half-way and left a mixture"
                } else {
                    "the target did not diverge, but it cannot follow"
                };
                format!("RE-CLONE: {what}; {}", Self::way_words(blocked_by))
            }
            Action::ReClone if self.not_by_pg_rewind() => format!(
                "RE-CLONE: pg_rewind would {} here; {}; {}",
                if self.error("FP08").or(self.error("FP75")).is_some() {
                    "leave wrong rows"
                } else {
                    "write through the link of another tablespace"
                },
                self.loss_words(),
                Self::way_words(blocked_by)
            ),
            Action::ReClone => format!(
                "RE-CLONE (or compare all files): {}; the rewind by WAL is closed, {}",
                self.loss_words(),
                Self::way_words(blocked_by)
            ),
        }
    }

    fn missing_line(&self, blocked: &str) -> String {
        let names = self.missing_segments();
        let (task, loss) = if self.pair.way == Way::Rewind {
            ("a rewind needs", format!("; {}", self.loss_words()))
        } else {
            ("the target needs to follow", String::new())
        };
        let which = match names.as_slice() {
            [one] => format!(" ({one})"),
            [first, .., last] => format!(" ({first} to {last})"),
            [] => String::new(),
        };
        let (verb, them) = if names.len() == 1 { ("is", "it") } else { ("are", "them") };
        if let [first, ..] = self.unreadable_segments().as_slice() {
            return format!(
                "UNDECIDED: {} of WAL that {task} {verb} here and cannot be read{which}: {}; make {them} readable and ask \
                 again{loss}{blocked}",
                plural(names.len() as u64, "segment"),
                first.reason
            );
        }
        let state = if self.cut_short(&names) { "here and cut short" } else { "missing here" };
        let whole = match (state, names.len()) {
            ("missing here", _) => them,
            (_, 1) => "it whole",
            _ => "them whole",
        };
        format!(
            "UNDECIDED: {} of WAL that {task} {verb} {state}{which}; find {whole} in an archive, else re-clone{loss}{blocked}",
            plural(names.len() as u64, "segment")
        )
    }

    fn missing_step(&self) -> String {
        let names = self.missing_segments();
        let list = match names.as_slice() {
            [first, .., last] if names.len() > 8 => {
                format!("{} segments, {first} to {last}", names.len())
            }
            few => few.join(", "),
        };
        let closed = self.unreadable_segments();
        if !closed.is_empty() {
            return format!("{}. Then ask again.", make_readable(&closed));
        }
        format!(
            "Look for these segments in the WAL archive, in backups and in the WAL directories of other standbys: \
             {list}{}. Then ask again with --wal-archive DIR for the place where they are.",
            self.older_too()
        )
    }

    /// The files of this host that FP38 names, for the steps around `pg_rewind`.
    fn own_files(&self) -> Option<String> {
        let finding = self.found("FP38")?;
        let target = self.pair.target().dir.path();
        let names: Vec<String> = finding
            .evidence
            .iter()
            .filter_map(|e| e.path.as_ref()?.strip_prefix(target).ok())
            .map(shell_word)
            .collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    fn standby_step(&self) -> String {
        if self.pair.major >= Major::V12 {
            "Make an empty standby.signal in the target and set primary_conninfo in its postgresql.auto.conf; without \
             them it starts as a second primary."
                .into()
        } else {
            "Write recovery.conf into the target: standby_mode = 'on', primary_conninfo, recovery_target_timeline = \
             'latest'; without it the target starts as a second primary."
                .into()
        }
    }

    fn clone_step(&self) -> String {
        format!(
            "Keep the old directory until nobody needs it, and clone the source into a new one: pg_basebackup -D NEW -R \
             -X stream -d 'CONNINFO OF THE SOURCE'{}.",
            if self
                .pair
                .tree(crate::facts::Role::Source)
                .iter()
                .any(|e| { e.path.parent().is_some_and(|p| p.as_os_str() == "pg_tblspc") })
            {
                " --tablespace-mapping=OLD=NEW (for each tablespace)"
            } else {
                ""
            }
        )
    }

    fn remedies(&self, codes: &[&str], steps: &mut Vec<String>) {
        for finding in
            self.findings.iter().filter(|f| codes.contains(&f.code) && f.severity >= Severity::Warning)
        {
            steps.push(format!("{}: {}", finding.code, finding.remedy));
        }
    }

    /// What has to be settled first. A running source is no obstacle, and nobody shall stop it for a report.
    fn fatal(&self, steps: &mut Vec<String>) {
        let target_runs = self.pair.target().leftovers.postmaster.as_ref().is_some_and(Postmaster::running);
        let codes: Vec<&str> = FATAL.into_iter().filter(|code| *code != "FP60" || target_runs).collect();
        self.remedies(&codes, steps);
    }

    fn rewind_steps(&self, steps: &mut Vec<String>) {
        let pair = &self.pair;
        // before anything else: the next steps may write to it
        if pair.commits().is_some() {
            steps.push(
                "If the transactions that are lost matter, look at their rows with forkpoint lost, and copy the target's \
                 directory before anything else is done with it: after pg_rewind they are nowhere."
                    .into(),
            );
        }
        self.fatal(steps);
        self.remedies(
            &["FP05", "FP07", "FP16", "FP17", "FP19", "FP27", "FP30", "FP32", "FP33", "FP37", "FP44", "FP74"],
            steps,
        );
        let own = self.own_files();
        if let Some(files) = &own {
            steps.push(format!("FP38: copy these files out of the target: {files}."));
        }
        let fetch = if self.warned("FP19") && pair.major >= Major::V13 { " -c" } else { "" };
        let follow = if pair.major >= Major::V13 { " -R" } else { "" };
        let (target, source) = (shell_word(pair.target().dir.path()), shell_word(pair.source().dir.path()));
        steps.push(format!(
            "As the server's user: pg_rewind -D {target} --source-server='CONNINFO OF THE SOURCE'{follow}{fetch} -P \
             (or --source-pgdata={source} while the source is stopped{}). Instead, with a preview and a way back, while the \
             source is stopped: forkpoint plan {target} {source} -o plan.json, then forkpoint apply plan.json.",
            if follow.is_empty() { "" } else { ", without -R" }
        ));
        if own.is_some() {
            steps.push(
                "FP38: put them back, each where it was; of postgresql.auto.conf keep the primary_conninfo that -R has \
                 written, or see to the next step."
                    .into(),
            );
        }
        steps.push(format!(
            "{}{}",
            if follow.is_empty() { "" } else { "Unless -R has done it: " },
            self.standby_step()
        ));
        self.remedies(&["FP25", "FP28"], steps);
        steps.push("Start the target and look for \"consistent recovery state reached\" in its log.".into());
    }

    fn next_steps(&self, action: Action) -> Vec<String> {
        let pair = &self.pair;
        let mut steps = Vec::new();
        match action {
            Action::Same if before_switchover(pair) => {
                steps.push("Promote the source.".into());
                steps.push(self.standby_step());
                steps.push("Start the target; it follows without a rewind.".into());
            }
            Action::Same | Action::Follow => {
                self.fatal(&mut steps);
                self.remedies(&["FP03", "FP09", "FP27", "FP25", "FP26", "FP44", "FP65", "FP77"], &mut steps);
                if self.warned("FP61") || self.warned("FP62") {
                    steps.push(self.standby_step());
                }
                if let Some(conninfo) = pair.target().settings.get("primary_conninfo") {
                    steps.push(format!(
                        "Check that the target's primary_conninfo leads to the source and not to a server that is gone: it \
                         is now \"{}\" ({}, line {}).",
                        conninfo.value,
                        conninfo.path.display(),
                        conninfo.line
                    ));
                }
                steps.push(
                    "Start the target and look for \"consistent recovery state reached\" and \"started streaming WAL\" in \
                     its log."
                        .into(),
                );
            }
            Action::Rewind => self.rewind_steps(&mut steps),
            Action::ReClone => {
                self.fatal(&mut steps);
                if self.not_by_pg_rewind() {
                    self.remedies(&NOT_BY_PG_REWIND, &mut steps);
                }
                steps.push(self.clone_step());
            }
            Action::Unrelated => {
                self.remedies(&["FP11", "FP12", "FP13"], &mut steps);
                steps.push(self.clone_step());
            }
            Action::Undecided if self.same_directory() => {
                steps.push(
                    "Name the other directory: TARGET is the one that shall rejoin, SOURCE the one that it shall follow."
                        .into(),
                );
            }
            Action::Undecided if self.target_was_promoted() => {
                let timeline = pair.target().lineage.timeline;
                steps.push(
                    "If TARGET is the new primary: exchange the two arguments and ask again. Nothing that follows \
                     applies then."
                        .into(),
                );
                steps.push(format!(
                    "Only if the promotion of TARGET was the mistake and SOURCE is the branch to keep, this and all that \
                     follows: promote the source once more, so that its timeline is beyond {timeline}, and move {} out of \
                     every archive.",
                    history_name(timeline)
                ));
                match self.rewind_or_clone() {
                    Action::Rewind => self.rewind_steps(&mut steps),
                    Action::Undecided => {
                        steps.push(self.missing_step());
                        steps.push(format!("Only if they are nowhere: {}", self.clone_step()));
                    }
                    _ => steps.push(self.clone_step()),
                }
            }
            Action::Undecided if self.waits_for_wal(action) => {
                self.fatal(&mut steps);
                steps.push(self.missing_step());
                if self.unreadable_segments().is_empty() {
                    steps.push(format!("Only if they are nowhere: {}", self.clone_step()));
                }
            }
            Action::Undecided => {
                self.fatal(&mut steps);
                self.remedies(&["FP72", "FP80", "FP14", "FP27"], &mut steps);
                if steps.is_empty() {
                    steps.push(
                        "Give more evidence: the WAL archive with --wal-archive, and everything that the report says it \
                         could not see."
                            .into(),
                    );
                }
            }
        }
        steps
    }

    fn other_routes(&self, action: Action) -> Vec<String> {
        let mut routes = Vec::new();
        let missing = ["FP19", "FP21", "FP22", "FP25", "FP27", "FP28"];
        let closed = action == Action::ReClone || self.waits_for_wal(action);
        if !closed {
            return routes;
        }
        if action == Action::ReClone && missing.iter().any(|c| self.error(c).is_some()) {
            routes.push(
                "Archive: find the missing WAL in an archive, a backup or on a peer, and ask again with --wal-archive; the \
                 rewind is open again when every segment is there."
                    .into(),
            );
        }
        routes.push(
            "Compare all files: with both servers stopped, copy every file that differs from the source into the target \
             and delete what the source does not have (rsync -a --checksum --delete, tablespaces too). It reads \
             everything and sends little."
                .into(),
        );
        if self.error("FP31").is_some() {
            routes.push("A snapshot of the target from before the failed rewind, if there is one.".into());
        }
        routes
    }
}
