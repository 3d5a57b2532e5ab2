//! What to do with the target.

/// The way back into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Both are at the same position: nothing to do.
    Same,
    /// The target can follow the source as it is.
    Follow,
    /// The target must be rewound first.
    Rewind,
    /// Only a new copy of the source helps.
    ReClone,
    /// The two have nothing to do with each other.
    Unrelated,
    /// The evidence does not suffice.
    Undecided,
}

/// Which of the pictures that explanations of timelines draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Picture {
    /// The source was promoted while the target went on.
    Failover,
    /// The target stopped cleanly, then the source was promoted.
    Switchover,
    /// Both are stopped at the same shutdown checkpoint and neither was promoted.
    BeforeSwitchover,
    /// Both were promoted on their own.
    Twins,
    /// The target is a standby on the source's line.
    Standby,
    /// The target was rewound before, wholly or half.
    Rewound,
    /// None of them.
    None,
}

/// What to do, and what stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The way back.
    pub action: Action,
    /// The one line that comes first.
    pub line: String,
    /// The picture that it is.
    pub picture: Picture,
    /// Committed transactions that a rewind discards, if known.
    pub lost_commits: Option<u64>,
    /// Codes of the findings that stand in the way.
    pub blocked_by: Vec<&'static str>,
    /// What the target lacks to follow: standby.signal, primary_conninfo, 00000002.history (in archive …).
    pub lacks: Vec<String>,
    /// What to do, in order.
    pub next_steps: Vec<String>,
    /// What remains if that way is closed.
    pub other_routes: Vec<String>,
}
