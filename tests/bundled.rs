//! The bundled pairs against what the real programs and SQL said of them.

#[path = "common/pairs.rs"]
mod pairs;

use forkpoint::diagnosis::engine::{Options, Progress, facts};
use forkpoint::diagnosis::facts::Facts;

fn facts_of(scenario: &str) -> Facts {
    let dir = pairs::unpack(scenario);
    let archive = dir.join("archive");
    let options = Options {
        target: dir.join("target"),
        source: dir.join("source"),
        archives: if archive.exists() { vec![archive] } else { Vec::new() },
        restore_command: None,
        threads: 2,
        scan_source: true,
    };
    facts(&options, &Progress::default()).unwrap()
}

#[test]
fn show() {
    for scenario in pairs::scenarios() {
        let dir = pairs::unpack(&scenario);
        if !dir.join("target").exists() {
            continue;
        }
        let f = facts_of(&scenario);
        println!(
            "== {scenario}: {:?}\n   div {:?}\n   lcc {:?}\n   target tli {} {:?} end {:?}\n   source tli {} {:?} end {:?}\n   loss {:?} xacts {}\n   unproven {:?} unseen {:?}",
            f.relation,
            f.divergence,
            f.common_checkpoint.map(|c| (c.lsn.to_string(), c.redo.to_string())),
            f.target.lineage.timeline,
            f.target.lineage.evidence,
            f.target.end.as_ref().map(|e| (e.lsn.to_string(), e.kind, e.message.clone())),
            f.source.lineage.timeline,
            f.source.lineage.evidence,
            f.source.end.as_ref().map(|e| (e.lsn.to_string(), e.kind, e.message.clone())),
            f.loss,
            f.transactions.len(),
            f.unproven,
            f.unseen
        );
        for need in [&f.wal.find_blocks, &f.wal.follow].into_iter().flatten() {
            println!(
                "   need {}..{} {} segs {} holes {:?}",
                need.from,
                need.to,
                need.why,
                need.segments.len(),
                need.holes().map(|s| &s.name).collect::<Vec<_>>()
            );
        }
    }
}
