//! `forkpoint rewind` against the pg_rewind of the same major on every captured pair.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/pairs.rs"]
mod pairs;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::drop_in::{By, Leave, both, both_unchanged, bundled, rewind};
use common::majors::{say, server};

/// Pairs on which pg_rewind goes ahead and does damage, or finds nothing to do where it should: here forkpoint refuses.
const UNSOUND: [&str; 3] = ["checksums-mismatch", "twins", "twins-middle"];
/// Not started since it was rewound: crash recovery, which both let a server do, is all that happens, with other times in
/// each copy.
const RECOVERED_ONLY: &str = "rewound";
/// Its links lead out of what a copy of the directory holds; the random failovers have tablespaces.
const LINKED: &str = "tablespaces";

#[test]
fn every_captured_pair() {
    let (mut equal, mut refused, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for scenario in pairs::scenarios() {
        let truth = pairs::truth(&scenario);
        let directory = pairs::unpack(&scenario);
        let both_sides =
            ["target", "source"].iter().all(|side| directory.join(side).join("global/pg_control").exists());
        if scenario == LINKED {
            continue;
        }
        let Some(server) = truth["major"].as_str().and_then(server).filter(|_| both_sides) else { continue };
        let [target, source] = ["target", "source"].map(|side| bundled(&server, &directory.join(side)));
        let source = source.pgdata();
        if UNSOUND.contains(&scenario.as_str()) {
            let output = rewind(By::Us, &target, &source, &["-N".to_owned()]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.code() != Some(1) || !said.contains("forkpoint plan") {
                wrong.push(format!("{scenario}: {said}"));
            }
            refused.push(scenario);
            continue;
        }
        let result = catch_unwind(AssertUnwindSafe(|| {
            let pair = (&target, source.as_path());
            both_unchanged(pair, &scenario, By::Us, &["-N", "-n", "--debug", "-P", "--no-ensure-shutdown"]);
            if scenario == RECOVERED_ONLY {
                return None;
            }
            both(pair, &scenario, By::Subcommand, &["-N"], Leave::SameButRecovery).1
        }));
        match result {
            Ok(status) => equal.push(format!("{scenario} ({status:?})")),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                wrong.push(text);
            }
        }
    }
    say(&format!("equal, with pg_rewind's status: {}", equal.join(", ")));
    say(&format!("refused where pg_rewind goes wrong: {}", refused.join(", ")));
    assert!(wrong.is_empty(), "{} pairs:\n{}", wrong.len(), wrong.join("\n\n"));
}
