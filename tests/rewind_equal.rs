//! `forkpoint rewind` against the pg_rewind of each major: the same target, rewound by both, has to be the same tree with
//! the same words said about it, and a real server has to run on it.
//!
//! Every run takes two random failovers for each installed major. `FORKPOINT_SCENARIOS=20` takes 20 for each,
//! `FORKPOINT_SEED=7` other ones than the default, `FORKPOINT_MAJORS="13 18"` only these majors.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::{Duration, Instant};

use common::cluster::{Cluster, Mode, whole};
use common::drop_in::{By, Leave, both, both_dry, both_unchanged, number, rewind};
use common::majors::{say, server, server_alone};
use common::scenario::{Random, STORIES, Scenario, Story, Wishes, make};
use common::{Server, scratch};

/// A real server runs on the result as a standby of the source, with every row of it.
fn serves(scenario: &Scenario, rewound: &Cluster) {
    let source = &scenario.source;
    let about = &scenario.told;
    source.start();
    if scenario.story == Story::StandbySource {
        source.promote();
    }
    // looking for it among all extensions reads the control files of all
    source.sql(
        "DO $$ BEGIN CREATE EXTENSION amcheck; EXCEPTION WHEN undefined_file OR feature_not_supported THEN NULL; END $$ LANGUAGE plpgsql",
    );
    let amcheck = source.sql("SELECT count(*) FROM pg_extension WHERE extname = 'amcheck'") == "1";
    // a standby has a sequence's value as far ahead as the WAL says, until it is set
    source.sql("CREATE TABLE afterwards AS SELECT 1 AS a; SELECT setval('s0', 12345)");
    rewound.follow(source);
    rewound.start();
    rewound.wait_for(source);
    let streaming =
        || source.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1";
    let deadline = Instant::now() + Duration::from_secs(30);
    while !streaming() {
        assert!(Instant::now() < deadline, "{about}\n{}", rewound.log());
        std::thread::sleep(Duration::from_millis(50));
    }
    let dump = |cluster: &Cluster| {
        let mut command = cluster.command("pg_dumpall");
        command.args(["--no-unlogged-table-data", "-d"]).arg(cluster.conninfo());
        let text = cluster.done(&mut command);
        // newer minors put a random word around the dump
        let text = text.replace(cluster.dir().to_str().unwrap(), "<tablespaces>");
        text.lines().filter(|l| !l.contains("restrict ")).map(str::to_owned).collect::<Vec<_>>()
    };
    let (ours, theirs) = (dump(rewound), dump(source));
    let first = ours.iter().zip(&theirs).find(|(a, b)| a != b);
    assert!(
        ours == theirs,
        "{about}\n    dumps differ: {:?}, {} and {} lines",
        first,
        ours.len(),
        theirs.len()
    );
    if amcheck {
        rewound.sql(
            "SELECT bt_index_check(c.oid) FROM pg_class c JOIN pg_index i ON i.indexrelid = c.oid
               JOIN pg_am a ON a.oid = c.relam
              WHERE a.amname = 'btree' AND c.relpersistence = 'p' AND i.indisvalid AND i.indisready",
        );
        if rewound.server().major.parse::<u32>().unwrap() >= 14 {
            let bad = rewound.sql(
                "SELECT c.relname, v FROM pg_class c, LATERAL verify_heapam(c.oid) v
                  WHERE c.relkind IN ('r', 't', 'm') AND c.relpersistence = 'p'",
            );
            assert_eq!(bad, "", "{about}");
        }
    }
    rewound.stop(Mode::Fast);
    source.stop(Mode::Fast);
    if !whole(rewound.server()) {
        // the dump has read every page of tables, and the server checks them
        return;
    }
    let mut command = rewound.command("pg_checksums");
    rewound.done(command.arg("--check").arg("-D").arg(rewound.pgdata()));
}

/// `archived`: the target's WAL lies in an archive, and `-c` is given.
fn one(server: &Server, seed: u64, story: Story, archived: bool) {
    let mut random = Random::new(seed ^ 0x5EED);
    let stop = if archived || random.one_in(2) { Mode::Fast } else { Mode::Immediate };
    let scenario = make(server, Wishes { seed, story, stop, archived });
    say(&scenario.told);
    let major: u32 = server.major.parse().unwrap();
    let mut options = vec!["--no-sync"];
    if archived {
        options.push("-c");
    }
    if major >= 14 && random.one_in(2) {
        options.extend(["--config-file", "@CONFIG@"]);
    }
    let source = scenario.source.pgdata();
    let pair = (&scenario.target, source.as_path());
    let by = if random.one_in(2) { By::Us } else { By::Subcommand };
    if scenario.crashed {
        // refused: it would need crash recovery first
        for option in ["--no-ensure-shutdown", "--dry-run"] {
            let status = both_unchanged(pair, &scenario.told, by, &["-N", option]);
            assert_eq!(status, Some(1));
        }
    } else if archived {
        let status = both_dry(pair, &scenario.told, by, &["-N", "-c", "-n"]);
        assert_eq!(status, Some(0), "{}", scenario.told);
    } else {
        let dry: Vec<&str> = options.iter().copied().chain(["--dry-run", "--debug", "-P"]).collect();
        let status = both_unchanged(pair, &scenario.told, by, &dry);
        assert_eq!(status, Some(0), "{}", scenario.told);
    }
    if random.one_in(2) {
        options.push("--debug");
    }
    if random.one_in(3) {
        options.push("--progress");
    }
    let leave = if scenario.crashed { Leave::SameButRecovery } else { Leave::Same };
    let (rewound, status) = both(pair, &scenario.told, by, &options, leave);
    assert_eq!(status, Some(0), "{}", scenario.told);
    serves(&scenario, &rewound);
}

/// Stories in which the target is a primary that has WAL of its own to discard.
const PRIMARIES: [Story; 3] = [Story::Failover, Story::TwoFailovers, Story::MiddlePrimary];

/// Random failovers on one major, every other one with the target's WAL in an archive.
fn random_failovers(major: &str) {
    let Some(server) = server(major) else { return };
    let count = number("FORKPOINT_SCENARIOS", 2);
    let base = number("FORKPOINT_SEED", 1);
    let own: u64 = major.parse().unwrap();
    for n in 0..count {
        let seed = base * 1000 + own + n * 100;
        let archived = n % 2 == 1;
        let stories: &[Story] = if archived { &PRIMARIES } else { &STORIES };
        one(
            &server,
            seed,
            stories[usize::try_from(own + base - 1 + n / 2).unwrap() % stories.len()],
            archived,
        );
    }
    say(&format!("PostgreSQL {major}: equal to pg_rewind in {count} random failovers"));
}

macro_rules! on_every_major {
    ($($name:ident $major:literal),*) => { $(
        #[test]
        fn $name() {
            random_failovers($major);
        }
    )* };
}
on_every_major!(pg13 "13", pg15 "15", pg16 "16", pg17 "17", pg18 "18", pg19 "19");

/// Majors of which no pg_rewind is at hand: a server has to run on the result, with the source's rows.
fn without_peer(major: &str) {
    let place = scratch();
    let Some(server) = server_alone(major, place.path()) else { return };
    let own: u64 = major.parse().unwrap();
    for (n, story) in [Story::Failover, Story::TwoFailovers].into_iter().enumerate() {
        let seed = number("FORKPOINT_SEED", 1) * 1000 + own + n as u64 * 100;
        let scenario = make(&server, Wishes { seed, story, stop: Mode::Fast, archived: false });
        say(&scenario.told);
        let rewound = scenario.target.copy();
        let output = rewind(By::Subcommand, &rewound, &scenario.source.pgdata(), &["-N".to_owned()]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{}\n{text}", scenario.told);
        serves(&scenario, &rewound);
    }
    say(&format!("PostgreSQL {major}: rewound servers have the source's rows after 2 random failovers"));
}

macro_rules! without_peer {
    ($($name:ident $major:literal),*) => { $(
        #[test]
        fn $name() {
            without_peer($major);
        }
    )* };
}
without_peer!(pg10 "10", pg11 "11", pg12 "12", pg14 "14");
