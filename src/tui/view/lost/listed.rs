//! The transactions, from what is known so far: the diagnosis, a stored report, or the rows that were collected.

use std::collections::HashMap;
use std::sync::Arc;

use super::found::Found;
use crate::diagnosis::Diagnosis;
use crate::lost::Ending;
use crate::pg::{Lsn, Xid};
use crate::report::dto;
use crate::report::words;
use crate::scan::{Xact, XactEnd};
use crate::tui::saved::Picture;

/// Where the list comes from.
#[derive(Debug, Default)]
pub enum Listed {
    /// Nothing is known yet.
    #[default]
    Nothing,
    /// The diagnosis: places in its transactions, in the order of their end.
    Facts(Arc<Diagnosis>, Vec<u32>),
    /// A stored report, in the same way.
    Stored(Arc<Picture>, Vec<u32>),
    /// What was collected.
    Found(Arc<Found>),
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct One {
    /// Its identifier.
    pub xid: Xid,
    /// How it ended, in a word; what a rewind loses of it.
    pub ended: Ended,
    /// When.
    pub time: String,
    /// Start of the record that ended it.
    pub lsn: Lsn,
    /// Start of its first record.
    pub first: Lsn,
    /// Rows of tables, once they are counted.
    pub rows: Option<u64>,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Its rows are lost.
    Committed,
    /// Prepared and committed after the divergence.
    CommittedPrepared(String),
    /// Left prepared.
    Prepared(String),
    /// Prepared before the divergence: the decision is lost.
    Decision(String, &'static str),
}

impl Ended {
    fn of(ending: &Ending) -> Self {
        match ending {
            Ending::Committed => Self::Committed,
            Ending::CommittedPrepared(gid) => Self::CommittedPrepared(gid.clone()),
            Ending::DecisionCommit(gid) => Self::Decision(gid.clone(), "committed"),
            Ending::DecisionRollback(gid) => Self::Decision(gid.clone(), "rolled back"),
            Ending::Prepared(gid) => Self::Prepared(gid.clone()),
        }
    }

    /// A word for the list; nothing for the usual.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Committed => "",
            Self::CommittedPrepared(_) => "two-phase",
            Self::Prepared(_) => "prepared",
            Self::Decision(..) => "decision",
        }
    }

    /// What is to be said beside its time.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Self::Committed => None,
            Self::CommittedPrepared(gid) => Some(format!("prepared as '{gid}', then committed")),
            Self::Prepared(gid) => Some(format!(
                "prepared as '{gid}' and left so: neither committed nor rolled back; a rewind discards it"
            )),
            Self::Decision(gid, what) => Some(format!(
                "prepared as '{gid}' before the divergence and {what} after it: the source has it prepared still; only the \
                 decision is lost"
            )),
        }
    }
}

impl Listed {
    /// Of a diagnosis.
    pub fn facts(diagnosis: &Arc<Diagnosis>) -> Self {
        let facts = &diagnosis.facts;
        let Some(divergence) = &facts.divergence else { return Self::Nothing };
        let all = || facts.transactions.iter().zip(0u32..);
        let mut lost: Vec<u32> =
            all().filter(|(x, _)| discarded(x, divergence.lsn)).map(|(_, at)| at).collect();
        lost.sort_by_key(|&at| {
            facts.transactions.get(at as usize).map(|x| (x.end == XactEnd::Prepared, x.end_lsn))
        });
        Self::Facts(Arc::clone(diagnosis), lost)
    }

    /// Of a stored report.
    pub fn stored(picture: &Arc<Picture>) -> Self {
        let Some(divergence) = &picture.divergence else { return Self::Nothing };
        let prepared = |x: &dto::Transaction| x.end.as_ref() == "prepared";
        let mut lost: Vec<u32> = picture
            .transactions
            .iter()
            .zip(0u32..)
            .filter(|(x, _)| (x.lost || prepared(x)) && x.end_lsn >= divergence.lsn)
            .map(|(_, at)| at)
            .collect();
        lost.sort_by_key(|&at| picture.transactions.get(at as usize).map(|x| (prepared(x), x.end_lsn)));
        Self::Stored(Arc::clone(picture), lost)
    }

    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Facts(_, places) | Self::Stored(_, places) => places.len(),
            Self::Found(found) => found.lost.transactions.len(),
        }
    }

    /// The one at a place.
    pub fn get(&self, at: usize) -> Option<One> {
        match self {
            Self::Nothing => None,
            Self::Facts(diagnosis, places) => {
                let divergence = diagnosis.facts.divergence.as_ref()?.lsn;
                let x = diagnosis.facts.transactions.get(*places.get(at)? as usize)?;
                let gid = || x.prepared.as_ref().map(|p| p.gid.to_string()).unwrap_or_default();
                let before = x.prepared.as_ref().is_none_or(|p| p.lsn < divergence);
                let ended = match x.end {
                    XactEnd::CommittedPrepared if before => Ended::Decision(gid(), "committed"),
                    XactEnd::CommittedPrepared => Ended::CommittedPrepared(gid()),
                    XactEnd::AbortedPrepared => Ended::Decision(gid(), "rolled back"),
                    XactEnd::Prepared => Ended::Prepared(gid()),
                    _ => Ended::Committed,
                };
                let time = x.time.map(words::time).unwrap_or_default();
                Some(One { xid: x.xid, ended, time, lsn: x.end_lsn, first: x.first_lsn, rows: None })
            }
            Self::Stored(picture, places) => {
                let divergence = picture.divergence.as_ref()?.lsn;
                let x = picture.transactions.get(*places.get(at)? as usize)?;
                let gid = || x.gid.clone().unwrap_or_default();
                let before = x.prepared_lsn.is_none_or(|lsn| lsn < divergence);
                let ended = match x.end.as_ref() {
                    "committed_prepared" if before => Ended::Decision(gid(), "committed"),
                    "committed_prepared" => Ended::CommittedPrepared(gid()),
                    "prepared" => Ended::Prepared(gid()),
                    _ => Ended::Committed,
                };
                let time = x.time.as_ref().map(stored_time).unwrap_or_default();
                Some(One { xid: x.xid, ended, time, lsn: x.end_lsn, first: x.first_lsn, rows: None })
            }
            Self::Found(found) => {
                let x = found.lost.transactions.get(at)?;
                let time = x.time.map(words::time).unwrap_or_default();
                let ended = Ended::of(&x.ending);
                Some(One { xid: x.xid, ended, time, lsn: x.lsn, first: x.first, rows: Some(x.rows) })
            }
        }
    }

    /// Where a transaction is, the place that it had being the best guess.
    pub fn place(&self, xid: Xid) -> Option<usize> {
        (0..self.len()).find(|&at| self.xid(at) == Some(xid))
    }

    fn xid(&self, at: usize) -> Option<Xid> {
        match self {
            Self::Nothing => None,
            Self::Facts(diagnosis, places) => {
                diagnosis.facts.transactions.get(*places.get(at)? as usize).map(|x| x.xid)
            }
            Self::Stored(picture, places) => {
                picture.transactions.get(*places.get(at)? as usize).map(|x| x.xid)
            }
            Self::Found(found) => found.lost.transactions.get(at).map(|x| x.xid),
        }
    }

    /// Names of the relations that it touched, as far as they are known without its rows; `None` if they are not.
    pub fn relations(&self, at: usize) -> Option<Vec<String>> {
        match self {
            Self::Facts(diagnosis, places) => {
                let facts = &diagnosis.facts;
                let x = facts.transactions.get(*places.get(at)? as usize)?;
                let set = facts.relation_sets.get(x.relations)?;
                Some(set.iter().map(|&rel| facts.relation_name(rel)).collect())
            }
            Self::Stored(picture, places) => {
                let x = picture.transactions.get(*places.get(at)? as usize)?;
                let named = |r: &dto::RelationRef| r.name.clone().unwrap_or_else(|| r.file.clone());
                Some(x.relations.as_ref()?.iter().map(named).collect())
            }
            _ => None,
        }
    }

    /// Places of those that changed a table with this in its name.
    pub fn matching(&self, part: &str) -> Vec<usize> {
        let part = part.to_lowercase();
        let has = |name: &str| name.to_lowercase().contains(&part);
        match self {
            Self::Found(found) => {
                let wanted = tables(found, &part);
                let is = |at: &usize| {
                    found.parts(*at).iter().any(|p| wanted.get(p.table as usize).copied().unwrap_or(false))
                };
                (0..self.len()).filter(is).collect()
            }
            Self::Facts(diagnosis, places) => {
                let facts = &diagnosis.facts;
                let mut known: HashMap<u32, bool> = HashMap::new();
                let mut is = |at: usize| {
                    let set = places.get(at).and_then(|&x| facts.transactions.get(x as usize));
                    set.is_some_and(|x| {
                        *known.entry(x.relations).or_insert_with(|| {
                            let set = facts.relation_sets.get(x.relations);
                            set.is_none_or(|set| set.iter().any(|&rel| has(&facts.relation_name(rel))))
                        })
                    })
                };
                (0..self.len()).filter(|&at| is(at)).collect()
            }
            _ => (0..self.len())
                .filter(|&at| self.relations(at).is_none_or(|names| names.iter().any(|n| has(n))))
                .collect(),
        }
    }
}

/// Which tables have this in their name; small letters.
pub fn tables(found: &Found, part: &str) -> Vec<bool> {
    let part = part.to_lowercase();
    let has = |t: &super::found::Table| format!("{}.{}", t.database, t.name).to_lowercase().contains(&part);
    found.tables.iter().map(has).collect()
}

/// As `lost` has it: a rewind discards it, or the decision about it.
fn discarded(xact: &Xact, divergence: Lsn) -> bool {
    let before = xact.prepared.as_ref().is_none_or(|p| p.lsn < divergence);
    let decided = xact.end.is_commit()
        || xact.end == XactEnd::Prepared
        || (xact.end == XactEnd::AbortedPrepared && before);
    decided && xact.end_lsn >= divergence
}

/// As the diagnosis' times are told.
fn stored_time(time: &dto::Time) -> String {
    match time {
        dto::Time::Raw(time) => words::time(*time),
        dto::Time::Text(text) => match text.get(..19) {
            Some(seconds) => format!("{} UTC", seconds.replace('T', " ")),
            None => text.clone(),
        },
    }
}
