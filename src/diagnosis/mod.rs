//! What is the matter with the two sides.

pub mod checkpoint;
pub mod compare;
pub mod ending;
pub mod engine;
pub mod facts;
pub mod lineage;
pub mod loss;
pub mod needs;
pub mod snapshots;
pub mod verdict;

/// Everything that a report says.
#[derive(Debug)]
pub struct Diagnosis {
    /// What was found out.
    pub facts: facts::Facts,
    /// What goes wrong because of it, most severe first.
    pub findings: Vec<crate::findings::Finding>,
    /// What to do.
    pub verdict: verdict::Verdict,
}
