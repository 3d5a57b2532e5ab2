//! A standby that was killed with WAL past the divergence, none of which had reached its files: on real servers, that it
//! may follow once that WAL is set aside, as the report says, and that its rows are then the source's.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    reason = "a test that fails here has failed"
)]

mod common;

use std::fs;
use std::process::{Command, Stdio};

use common::cluster::{Cluster, Mode, whole};
use common::{Server, give_away, installed, ran_with};
use serde_json::Value;

/// What every row of the tables is, by heap and by index.
const ROWS: &str = "SELECT count(*), sum(hashtext(t::text)) FROM wide t; \
                    SET enable_seqscan = off; SELECT count(*), sum(hashtext(t::text)) FROM wide t WHERE id > 0; \
                    SELECT count(*) FROM pg_class WHERE relname LIKE 'lost%'";

fn report(target: &Cluster, source: &Cluster) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .arg("report")
        .args([target.pgdata(), source.pgdata()])
        .args(["--format", "json", "--quiet"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = serde_json::from_slice(&output.stdout);
    assert!(said.is_ok(), "{}", String::from_utf8_lossy(&output.stderr));
    said.unwrap()
}

fn on(server: &Server) {
    let lazy = [("bgwriter_lru_maxpages", "0"), ("checkpoint_timeout", "1h"), ("shared_buffers", "64MB")];
    let primary = Cluster::init(server, &lazy);
    primary.start();
    primary.sql("CREATE TABLE wide (id int PRIMARY KEY, v text)");
    primary.sql("INSERT INTO wide SELECT g, 'old' FROM generate_series(1, 3000) g");
    let (source, target) = (primary.standby(), primary.standby());
    for standby in [&source, &target] {
        standby.start();
        standby.wait_for(&primary);
    }
    primary.sql("CHECKPOINT");
    target.wait_for(&primary);
    target.sql("CHECKPOINT");
    primary.sql("UPDATE wide SET v = 'new'");
    primary.sql("CHECKPOINT");
    for standby in [&source, &target] {
        standby.wait_for(&primary);
    }
    source.stop(Mode::Fast);
    primary.sql(
        "UPDATE wide SET v = 'lost' WHERE id % 3 = 0; CREATE TABLE lost (i int); INSERT INTO lost VALUES (1)",
    );
    primary.sql("DELETE FROM wide WHERE id % 7 = 0; VACUUM wide");
    target.wait_for(&primary);
    target.stop(Mode::Immediate);
    primary.stop(Mode::Immediate);
    source.start();
    source.promote();
    source.sql("INSERT INTO wide SELECT g, 'source' FROM generate_series(4000, 4500) g; CHECKPOINT");

    let major = &server.major;
    let said = report(&target, &source);
    let verdict = &said["verdict"];
    assert_eq!(verdict["action"], "follow", "{major}: {verdict}\n{}", said["target"]["control"]);
    assert_eq!(verdict["blocked_by"], serde_json::json!(["FP03"]), "{major}: {verdict}");

    // as FP03 says
    let lsn = said["divergence"]["lsn"].as_str().unwrap();
    let (high, low) = lsn.split_once('/').unwrap();
    let at = u64::from_str_radix(high, 16).unwrap() << 32 | u64::from_str_radix(low, 16).unwrap();
    let segment = |n: u64| format!("00000001{:08X}{:08X}", n >> 12, n & 0xFFF);
    let aside = target.dir().join("aside");
    fs::create_dir(&aside).unwrap();
    let mut moved = 0;
    for n in at >> 20.. {
        let from = target.pgdata().join("pg_wal").join(segment(n));
        if !from.exists() {
            break;
        }
        fs::rename(&from, aside.join(segment(n))).unwrap();
        moved += 1;
    }
    assert!(moved > 0);
    let history = target.pgdata().join("pg_wal/00000002.history");
    fs::copy(source.pgdata().join("pg_wal/00000002.history"), &history).unwrap();
    give_away(&history);
    target.follow(&source);
    target.start();
    target.wait_for(&source);
    let (ours, theirs) = (target.sql(ROWS), source.sql(ROWS));
    assert_eq!(ours, theirs, "{major}\n{}", target.log());
    assert!(theirs.ends_with("\n0") && theirs.starts_with("3501|"), "{theirs}");
}

#[test]
fn a_killed_standby_follows_once_the_wal_it_only_received_is_aside() {
    let servers: Vec<Server> =
        installed().into_iter().filter(|s| ["13", "15", "18"].contains(&&*s.major) && whole(s)).collect();
    ran_with("received", &servers);
    for server in &servers {
        on(server);
    }
}
