//! What changed between two derivations of a plan.

use std::collections::HashMap;

use super::model::{Entry, Plan, SideState};
use super::path::RelPath;

/// Of many alike, so many are named.
const NAMED: usize = 10;

impl Plan {
    /// What has changed since this plan was made, each a sentence; empty if `now`, made with the same options, would do
    /// exactly the same to the same files. What was checked counts by the refusals of `now` and not here: it depends on
    /// who asks, and on room that comes and goes.
    pub fn changes(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut say = |changed: bool, what: &str| {
            if changed {
                found.push(format!("{what} changed since the plan was made."));
            }
        };
        say(self.program != now.program, "The program's version");
        say(self.options != now.options, "What was asked for");
        for (name, was, is) in [("target", &self.target, &now.target), ("source", &self.source, &now.source)]
        {
            let SideState { path, control_sha256, end_of_wal, .. } = was;
            say(*path != is.path, &format!("The path of the {name}"));
            say(*control_sha256 != is.control_sha256, &format!("The control file of the {name}"));
            say(*end_of_wal != is.end_of_wal, &format!("The end of the {name}'s WAL"));
            let same = SideState {
                path: path.clone(),
                control_sha256: control_sha256.clone(),
                end_of_wal: *end_of_wal,
                ..is.clone()
            };
            say(*was != same, &format!("The {name} (its directory, state, WAL directory or tablespaces)"));
        }
        self.entry_changes(now, &mut found);
        let rest = Self {
            id: self.id.clone(),
            program: self.program.clone(),
            options: self.options.clone(),
            target: self.target.clone(),
            source: self.source.clone(),
            entries: self.entries.clone(),
            totals: self.totals.clone(),
            preflight: self.preflight.clone(),
            next_steps: self.next_steps.clone(),
            loss: self.loss.clone(),
            ..now.clone()
        };
        if *self != rest {
            found.push("Positions, modes or the lines of a standby changed since the plan was made.".into());
        }
        found
    }

    fn entry_changes(&self, now: &Self, found: &mut Vec<String>) {
        if self.entries == now.entries {
            return;
        }
        let index = |plan: &Self| -> HashMap<RelPath, Entry> {
            plan.entries.iter().map(|e| (e.path.clone(), e.clone())).collect()
        };
        let (was, is) = (index(self), index(now));
        let mut changed = Vec::new();
        for entry in &self.entries {
            match is.get(&entry.path) {
                None => changed.push(format!("{} is no longer to be changed.", entry.path)),
                Some(other) if other == entry => {}
                Some(other) if other.action == entry.action => {
                    changed.push(format!("{} changed since the plan was made.", entry.path));
                }
                Some(_) => changed.push(format!("Something else has to be done to {}.", entry.path)),
            }
        }
        changed.extend(
            now.entries
                .iter()
                .filter(|e| !was.contains_key(&e.path))
                .map(|e| format!("{} has to be changed too.", e.path)),
        );
        if changed.is_empty() {
            changed.push("The order of the entries changed.".into());
        }
        let more = changed.len().saturating_sub(NAMED);
        changed.truncate(NAMED);
        if more > 0 {
            changed.push(format!("And {more} more."));
        }
        found.append(&mut changed);
    }
}
