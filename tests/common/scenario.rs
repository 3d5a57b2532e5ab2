//! Random failovers on real servers: two stopped data directories of which one is to be rewound to follow the other.
//!
//! Everything random comes from the seed, which is printed with what was done, so that a failure can be made again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::cluster::{Cluster, Mode};
use super::{Server, give_away};

/// A small generator (splitmix64): the same numbers everywhere and for ever.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`.
    pub const fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// True once in `n` times.
    pub const fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What happened between the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Story {
    /// The standby was promoted while the old primary went on.
    Failover,
    /// Twice: the target is the first primary, the source the third one.
    TwoFailovers,
    /// Twice: the target is the second primary.
    MiddlePrimary,
    /// The target is a standby that got further than the promoted one.
    StandbyTarget,
    /// The source is a standby of the promoted server.
    StandbySource,
    /// The old primary was stopped first: nothing is to be rewound.
    Switchover,
}

/// All stories.
pub const STORIES: [Story; 6] = [
    Story::Failover,
    Story::TwoFailovers,
    Story::StandbyTarget,
    Story::StandbySource,
    Story::MiddlePrimary,
    Story::Switchover,
];

/// Two stopped servers, and what was done to them.
#[derive(Debug)]
pub struct Scenario {
    /// What was done, in order.
    pub told: String,
    /// What happened.
    pub story: Story,
    /// To be rewound.
    pub target: Cluster,
    /// To be followed; it can be started.
    pub source: Cluster,
    /// The target was killed.
    pub crashed: bool,
    /// An archive of the target's WAL, if segments were moved there from its WAL directory.
    pub archive: Option<PathBuf>,
    /// A server that is no longer needed, and what lies beside it.
    _others: Vec<Cluster>,
}

/// What a scenario is made with.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Where everything random comes from.
    pub seed: u64,
    /// What is to happen.
    pub story: Story,
    /// How the target ends.
    pub stop: Mode,
    /// The target's own WAL goes to an archive.
    pub archived: bool,
}

struct Maker {
    random: Random,
    told: String,
    major: u32,
    names: u32,
}

impl Maker {
    fn tell(&mut self, what: &str) {
        writeln!(self.told, "    {what}").unwrap();
    }

    fn sql(&mut self, on: (&Cluster, &str), text: &str) {
        self.tell(&format!("{}: {text}", on.1));
        on.0.sql(text);
    }

    fn name(&mut self) -> u32 {
        self.names += 1;
        self.names
    }

    /// What both sides share.
    fn past(&mut self, primary: &Cluster) {
        let tablespace = primary.dir().join("ts1");
        std::fs::create_dir(&tablespace).unwrap();
        give_away(&tablespace);
        let on = (primary, "primary");
        self.sql(on, &format!("CREATE TABLESPACE ts1 LOCATION '{}'", tablespace.display()));
        for n in 0..8 {
            let rows = 50 + self.random.below(1500);
            let space = if n % 4 == 3 { " TABLESPACE ts1" } else { "" };
            self.sql(
                on,
                &format!(
                    "CREATE TABLE t{n} (id bigint PRIMARY KEY, n int, words text){space};
                     INSERT INTO t{n} SELECT i, i % 97, repeat(md5(i::text), {}) FROM generate_series(1, {rows}) i;
                     CREATE INDEX ON t{n} (n)",
                    1 + n % 3
                ),
            );
        }
        self.sql(on, "ALTER TABLE t7 ALTER words SET STORAGE EXTERNAL; UPDATE t7 SET words = repeat(words, 90) WHERE id < 20");
        self.sql(
            on,
            "CREATE UNLOGGED TABLE u0 AS SELECT i FROM generate_series(1, 500) i; CREATE SEQUENCE s0",
        );
        self.sql(on, "CREATE DATABASE d0");
        self.sql(on, "CREATE DATABASE d1");
        primary.sql_in("d0", "CREATE TABLE in_d0 AS SELECT i FROM generate_series(1, 300) i");
        self.sql(on, "VACUUM; CHECKPOINT");
    }

    /// Random work on a primary; `target`: on the side that is rewound, after the divergence.
    fn work(&mut self, on: (&Cluster, &str), steps: u64, target: bool) {
        for _ in 0..steps {
            let t = self.random.below(8);
            let table_there = on.0.sql(&format!("SELECT to_regclass('t{t}') IS NOT NULL")) == "t";
            let lot = self.random.below(if table_there { 22 } else { 10 });
            let n = self.name();
            let rows = 1 + self.random.below(1200);
            match lot {
                0 => self.sql(
                    on,
                    &format!("CREATE TABLE n{n} AS SELECT i, md5(i::text) AS m FROM generate_series(1, {rows}) i; CREATE INDEX ON n{n} (m)"),
                ),
                1 => self.sql(on, &format!("CREATE UNLOGGED TABLE nu{n} AS SELECT i FROM generate_series(1, {rows}) i")),
                2 => {
                    self.sql(on, &format!("CREATE DATABASE n{n}"));
                    on.0.sql_in(&format!("n{n}"), "CREATE TABLE x AS SELECT i FROM generate_series(1, 200) i");
                }
                // 13 leaves such a database without PG_VERSION: a test of its own shows it
                3 if !(target && self.major < 14) => self.sql(on, "DROP DATABASE IF EXISTS d1"),
                4 => self.sql(on, "CHECKPOINT"),
                5 => self.sql(on, "SELECT pg_switch_wal()"),
                6 => self.sql(on, &format!("SELECT lo_from_bytea(0, convert_to(repeat('x', {}), 'UTF8'))", rows * 7)),
                7 => self.sql(on, &format!("SELECT nextval('s0') FROM generate_series(1, {rows})")),
                8 => self.extra_files(on, n),
                9 if target => {
                    let place = on.0.dir().join(format!("new{n}"));
                    std::fs::create_dir(&place).unwrap();
                    give_away(&place);
                    self.sql(on, &format!("CREATE TABLESPACE n{n} LOCATION '{}'", place.display()));
                    self.sql(on, &format!("CREATE TABLE nt{n} TABLESPACE n{n} AS SELECT i FROM generate_series(1, 99) i"));
                }
                3 | 9 | 10 => self.sql(on, "VACUUM"),
                11 => self.sql(on, &format!("DROP TABLE t{t}")),
                12 => self.sql(on, &format!("TRUNCATE t{t}")),
                13 => self.sql(on, &format!("DELETE FROM t{t} WHERE id > {rows}; VACUUM t{t}")),
                14 => self.sql(on, &format!("VACUUM FULL t{t}")),
                15 => self.sql(on, &format!("CREATE INDEX ON t{t} (md5(words)) WHERE n < 50")),
                16 => self.sql(on, &format!("BEGIN; UPDATE t{t} SET n = n + 1; ROLLBACK")),
                17 => self.sql(on, &format!("SELECT count(*) FROM t{t} WHERE n = 5")),
                18 => {
                    let space = if self.random.one_in(2) { "ts1" } else { "pg_default" };
                    self.sql(on, &format!("ALTER TABLE t{t} SET TABLESPACE {space}"));
                }
                19 => self.sql(on, &format!("UPDATE t{t} SET n = n + {} WHERE id % 7 = {}", n, n % 7)),
                20 => self.sql(on, &format!("UPDATE t{t} SET words = repeat(words, 2) WHERE id % 50 = 1")),
                _ => self.sql(
                    on,
                    &format!("INSERT INTO t{t} SELECT {n}000000 + i, i, md5(i::text) FROM generate_series(1, {rows}) i"),
                ),
            }
        }
    }

    /// Files that are none of PostgreSQL's, and a configuration that differs.
    fn extra_files(&mut self, on: (&Cluster, &str), n: u32) {
        let data = on.0.pgdata();
        let odd = data.join(format!("extra {n} 'quoted'"));
        self.tell(&format!("{}: extra files", on.1));
        std::fs::create_dir_all(odd.join("sub/empty")).unwrap();
        for (path, content) in
            [(odd.join("a file"), "x"), (odd.join("sub/b"), ""), (data.join("shared.txt"), on.1)]
        {
            std::fs::write(&path, content.repeat(n as usize)).unwrap();
        }
        for path in [odd.clone(), odd.join("sub"), odd.join("sub/empty")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        for path in [odd.join("a file"), odd.join("sub/b"), data.join("shared.txt")] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        for path in [
            odd.clone(),
            odd.join("a file"),
            odd.join("sub"),
            odd.join("sub/b"),
            odd.join("sub/empty"),
            data.join("shared.txt"),
        ] {
            give_away(&path);
        }
        let seconds = 300 + n;
        on.0.configure(&[("checkpoint_timeout", &format!("{seconds}s"))]);
    }

    fn stop(&mut self, cluster: &Cluster, name: &str, mode: Mode) {
        self.tell(&format!("{name}: stopped, {mode:?}"));
        cluster.stop(mode);
    }

    fn promote(&mut self, cluster: &Cluster, name: &str) {
        self.tell(&format!("{name}: promoted"));
        cluster.promote();
        if self.major < 16 {
            // these look at the timeline of the last checkpoint only
            cluster.sql("CHECKPOINT");
        }
    }

    fn standby(&mut self, of: (&Cluster, &str), name: &str) -> Cluster {
        self.tell(&format!("{name}: a standby of {}", of.1));
        let standby = of.0.standby();
        standby.start();
        standby
    }
}

/// Makes a scenario.
pub fn make(server: &Server, wishes: Wishes) -> Scenario {
    let Wishes { seed, story, stop, archived } = wishes;
    let major = server.major.parse().unwrap();
    let mut m = Maker { random: Random::new(seed), told: String::new(), major, names: 0 };
    writeln!(
        m.told,
        "PostgreSQL {}, seed {seed}, {story:?}, target stopped {stop:?}, archived: {archived}",
        server.major
    )
    .unwrap();
    let mut settings = vec![("max_prepared_transactions", "5"), ("wal_log_hints", "on")];
    if m.random.one_in(2) {
        settings.push(("full_page_writes", "off"));
    }
    if m.random.one_in(3) {
        settings.push(("wal_compression", "on"));
    }
    let primary = Cluster::init(server, &settings);
    primary.start();
    m.past(&primary);
    let steps = m.random.below(5);
    m.work((&primary, "primary"), steps, false);

    let mut others = Vec::new();
    let many = |m: &mut Maker| 3 + m.random.below(10);
    let (target, source) = match story {
        Story::Failover | Story::Switchover | Story::TwoFailovers | Story::MiddlePrimary => {
            let second = m.standby((&primary, "primary"), "second");
            let twice = matches!(story, Story::TwoFailovers | Story::MiddlePrimary);
            let third = twice.then(|| m.standby((&primary, "primary"), "third"));
            let steps = m.random.below(6);
            m.work((&primary, "primary"), steps, false);
            second.wait_for(&primary);
            if let Some(third) = &third {
                third.wait_for(&primary);
                third.stop(Mode::Fast);
            }
            if m.random.one_in(2) {
                m.tell("second: restartpoint");
                second.sql("CHECKPOINT");
            }
            if story == Story::Switchover {
                m.stop(&primary, "primary", Mode::Fast);
            }
            m.promote(&second, "second");
            if story != Story::Switchover {
                let steps = many(&mut m);
                m.work((&primary, "primary"), steps, true);
                m.stop(&primary, "primary", stop);
            }
            let steps = many(&mut m);
            m.work((&second, "second"), steps, false);
            if let Some(third) = third {
                third.follow(&second);
                third.start();
                let steps = m.random.below(4);
                m.work((&second, "second"), steps, false);
                third.wait_for(&second);
                m.promote(&third, "third");
                let steps = many(&mut m);
                m.work((&third, "third"), steps, false);
                if story == Story::MiddlePrimary {
                    let steps = many(&mut m);
                    m.work((&second, "second"), steps, true);
                    m.stop(&second, "second", stop);
                    others.push(primary);
                    (second, third)
                } else {
                    m.stop(&second, "second", Mode::Fast);
                    others.push(second);
                    (primary, third)
                }
            } else {
                (primary, second)
            }
        }
        Story::StandbyTarget => {
            let second = m.standby((&primary, "primary"), "second");
            let third = m.standby((&primary, "primary"), "third");
            m.work((&primary, "primary"), 3, false);
            m.sql((&primary, "primary"), "CHECKPOINT");
            for standby in [&second, &third] {
                standby.wait_for(&primary);
                standby.sql("CHECKPOINT");
            }
            m.promote(&second, "second");
            let steps = many(&mut m);
            m.work((&primary, "primary"), steps, true);
            third.wait_for(&primary);
            if m.random.one_in(2) {
                m.tell("third: restartpoint");
                third.sql("CHECKPOINT");
            }
            m.stop(&third, "third", Mode::Fast);
            m.stop(&primary, "primary", Mode::Fast);
            others.push(primary);
            let steps = many(&mut m);
            m.work((&second, "second"), steps, false);
            (third, second)
        }
        Story::StandbySource => {
            let second = m.standby((&primary, "primary"), "second");
            let third = m.standby((&primary, "primary"), "third");
            second.wait_for(&primary);
            third.wait_for(&primary);
            third.stop(Mode::Fast);
            m.promote(&second, "second");
            let steps = many(&mut m);
            m.work((&primary, "primary"), steps, true);
            m.stop(&primary, "primary", stop);
            let steps = m.random.below(4);
            m.work((&second, "second"), steps, false);
            third.follow(&second);
            third.start();
            let steps = many(&mut m);
            m.work((&second, "second"), steps, false);
            third.wait_for(&second);
            // its last record is then the checkpoint that the restartpoint at its own end is made of
            m.stop(&second, "second", Mode::Fast);
            others.push(second);
            (primary, third)
        }
    };
    let standby_target = story == Story::StandbyTarget;
    if source.running() {
        m.stop(&source, "source", Mode::Fast);
    }
    let archive = archived.then(|| {
        m.tell("target: its WAL moved to an archive");
        archive_wal(&target)
    });
    Scenario {
        told: m.told,
        story,
        crashed: stop == Mode::Immediate && !standby_target && story != Story::Switchover,
        target,
        source,
        archive,
        _others: others,
    }
}

/// Moves all segments of the target's WAL to a directory beside it, and has its restore_command fetch them.
fn archive_wal(target: &Cluster) -> PathBuf {
    let archive = target.dir().join("archive");
    std::fs::create_dir(&archive).unwrap();
    give_away(&archive);
    for file in std::fs::read_dir(target.pgdata().join("pg_wal")).unwrap().map(|e| e.unwrap().path()) {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if name.len() == 24 {
            std::fs::rename(&file, archive.join(name)).unwrap();
        }
    }
    target.configure(&[("restore_command", &format!("cp \"{}/%f\" \"%p\"", archive.display()))]);
    archive
}

/// A tree as pg_rewind's result is compared: path to type, mode, owner and content or link.
pub fn tree(root: &Path) -> std::collections::BTreeMap<PathBuf, (String, Vec<u8>)> {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::BTreeMap::new();
    let mut todo = vec![PathBuf::new()];
    while let Some(relative) = todo.pop() {
        let path = root.join(&relative);
        let meta = std::fs::symlink_metadata(&path).unwrap();
        let in_tablespaces = relative.parent() == Some(Path::new("pg_tblspc"));
        let followed = meta.is_symlink() && (in_tablespaces || relative == Path::new("pg_wal"));
        if meta.is_dir() || followed && path.is_dir() {
            let list = std::fs::read_dir(&path).unwrap();
            todo.extend(list.map(|e| relative.join(e.unwrap().file_name())));
        }
        let (kind, content) = if meta.is_symlink() {
            let to = std::fs::read_link(&path).unwrap();
            let shown = if followed { to.file_name().unwrap().into() } else { to };
            ("link", shown.into_os_string().into_encoded_bytes())
        } else if meta.is_dir() {
            ("directory", Vec::new())
        } else {
            ("file", std::fs::read(&path).unwrap())
        };
        let mode = if meta.is_symlink() { 0 } else { meta.permissions().mode() };
        seen.insert(relative, (format!("{kind} {mode:o} {}:{}", meta.uid(), meta.gid()), content));
    }
    seen
}
