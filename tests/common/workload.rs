//! A workload that makes a server write every kind of WAL record that its major has, in a few seconds.
//!
//! The statements are `tests/waldump/*.sql`; what SQL cannot do (a crash in the middle of a record, other settings,
//! a promotion) is here.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::Path;

use super::cluster::{Cluster, Mode};
use super::{Server, give_away};

/// 500 transactions later a new segment of pg_commit_ts begins, and 512 after that one of pg_xact: few are enough to
/// see both, and, once all is frozen, to see the old segments go.
const NEXT_XID: u32 = 26_208 * 80 - 500;
/// Bytes of a segment of pg_xact.
const XACT_SEGMENT: usize = 32 * 8192;
/// Length of the record that is torn, in bytes: several segments of 1 MB.
const TORN: usize = 3_000_000;

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/waldump").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A cluster of `server` before its first start: `run` makes the records.
pub fn fresh(server: &Server) -> Cluster {
    let mut settings = vec![
        ("max_wal_size", "4GB"),
        ("wal_level", "logical"),
        ("track_commit_timestamp", "on"),
        ("max_prepared_transactions", "10"),
        ("max_parallel_workers_per_gather", "0"),
    ];
    if server.major != "10" {
        settings.push(("jit", "off"));
        settings.push(("max_parallel_maintenance_workers", "0"));
    }
    let cluster = Cluster::init(server, &settings);
    if server.bin.join("pg_resetwal").exists() {
        let data = cluster.pgdata();
        cluster.done(cluster.command("pg_resetwal").args(["-x", &NEXT_XID.to_string(), "-D"]).arg(&data));
        let segment = data.join("pg_xact/0001");
        fs::write(&segment, vec![0; XACT_SEGMENT]).unwrap();
        give_away(&segment);
    }
    cluster
}

/// Runs all of it on a cluster that [`fresh`] made. It is stopped at the end, and on timeline 2.
pub fn run(cluster: &Cluster) {
    let tablespace = cluster.dir().join("tablespace");
    fs::create_dir(&tablespace).unwrap();
    give_away(&tablespace);
    // an extension that writes generic records
    let extension = if cluster.server().major == "16" { "vector" } else { "bloom" };
    let variables = format!("\\set tablespace '{}'\n\\set extension {extension}\n", tablespace.display());
    let sql = |name: &str| cluster.sql(&format!("{variables}{}", script(name)));

    cluster.start();
    for name in ["heap", "btree", "hash", "gin", "gist", "spgist", "brin", "server", "logical", "generic"] {
        sql(&format!("{name}.sql"));
    }
    if cluster.server().bin.join("pgbench").exists() {
        cluster.done(cluster.client("pgbench").args(["-i", "-q", "postgres"]));
        cluster.done(cluster.client("pgbench").args(["-c", "4", "-t", "200", "postgres"]));
    }
    cluster.sql("ALTER DATABASE template0 ALLOW_CONNECTIONS true");
    for database in ["postgres", "template1", "template0", "postgres"] {
        cluster.sql_in(
            database,
            "SET vacuum_multixact_freeze_min_age = 0; SET vacuum_multixact_freeze_table_age = 0;
             VACUUM FREEZE;",
        );
    }
    cluster.stop(Mode::Fast);

    restarted(cluster, &[("wal_level", "replica")]);
    sql("replica.sql");
    tear(cluster);
    cluster.stop(Mode::Fast);

    restarted(cluster, &[("wal_level", "minimal"), ("max_wal_senders", "0")]);
    sql("minimal.sql");
    cluster.stop(Mode::Fast);

    restarted(cluster, &[("wal_level", "replica"), ("max_wal_senders", "5")]);
    cluster.stop(Mode::Fast);
    make_standby(cluster);
    cluster.start();
    cluster.promote();
    cluster.sql("CREATE TABLE after_promotion (a int)");
    cluster.stop(Mode::Fast);
}

/// Lets a stopped cluster replay what lies in its pg_wal at its next start, and wait for more.
pub fn make_standby(cluster: &Cluster) {
    let (name, text) = match cluster.server().major.as_str() {
        "10" | "11" => ("recovery.conf", "standby_mode = on\n"),
        _ => ("standby.signal", ""),
    };
    let file = cluster.pgdata().join(name);
    fs::write(&file, text).unwrap();
    give_away(&file);
}

fn restarted(cluster: &Cluster, settings: &[(&str, &str)]) {
    cluster.configure(settings);
    cluster.start();
}

/// Crashes in the middle of a record that lies in several segments, of which only the first is left: the next start
/// writes OVERWRITE_CONTRECORD.
fn tear(cluster: &Cluster) {
    cluster.sql("SELECT pg_switch_wal(); CHECKPOINT;");
    let first = cluster.sql("SELECT pg_walfile_name(pg_current_wal_insert_lsn())");
    let length = if cluster.server().major == "10" { 16 * TORN } else { TORN };
    cluster.sql(&format!("SELECT pg_logical_emit_message(false, 'torn', repeat('x', {length}))"));
    cluster.stop(Mode::Immediate);
    for name in segments(cluster) {
        if name > first {
            fs::remove_file(cluster.pgdata().join("pg_wal").join(name)).unwrap();
        }
    }
    cluster.start();
}

/// Names of the segments in a cluster's pg_wal, in order.
pub fn segments(cluster: &Cluster) -> Vec<String> {
    let entries = fs::read_dir(cluster.pgdata().join("pg_wal")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> =
        names.filter(|n| n.len() == 24 && n.bytes().all(|b| b.is_ascii_hexdigit())).collect();
    found.sort();
    found
}

/// The position of the first record of a timeline's first segment at hand, as `-s` takes it.
pub fn start(cluster: &Cluster, timeline: u32) -> String {
    let prefix = format!("{timeline:08X}");
    let names = segments(cluster);
    let first = names.iter().find(|name| name.starts_with(&prefix)).expect("a segment");
    let part = |range: std::ops::Range<usize>| u64::from_str_radix(&first[range], 16).unwrap();
    let size = if cluster.server().major == "10" { 16 << 20 } else { 1 << 20 };
    // the first page has the long header
    format!("{:X}/{:X}", part(8..16), part(16..24) * size + 40)
}
