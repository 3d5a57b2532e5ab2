//! What is the matter with the two sides.

pub mod engine;
pub mod log;
pub mod snapshots;
pub mod timelines;
pub mod verdict;

/// Everything that a report says.
#[derive(Debug)]
pub struct Diagnosis {
    /// What was found out.
    pub facts: crate::facts::Facts,
    /// What goes wrong because of it, most severe first.
    pub findings: Vec<crate::findings::Finding>,
    /// What to do.
    pub verdict: verdict::Verdict,
}
