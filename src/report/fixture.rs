//! A diagnosis made by hand, with everything in it that a report must survive.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::diagnosis::Diagnosis;
use crate::diagnosis::verdict::{Action, Picture, Verdict};
use crate::facts::*;
use crate::findings::{Evidence, Finding, Severity};
use crate::names::{Names, RelName};
use crate::pg::control::{CheckpointCopy, ControlFile, DbState};
use crate::pg::history::{History, HistoryEntry};
use crate::pg::{Fork, Lsn, Major, RelFile, SegmentSize};
use crate::scan::*;
use crate::source::datadir::DataDir;
use crate::source::leftovers::{BackupLabel, Leftovers, Postmaster};
use crate::source::settings::{Setting, Settings};
use crate::source::slots::Slot;
use crate::source::trees::{Entry, Kind, Trees};
use crate::source::walset::{Conflict, Place, Reason, Rejected};

/// Must never be seen.
pub const PASSWORD: &str = "hunter2";
/// Steers a terminal, breaks a table, begins a list.
pub const NASTY: &str = "- a|b`c\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\n表表";
/// Name of the target's directory: not UTF-8.
pub const NAME: &[u8] = b"target\xFF|\x1b[31m";

pub const ORDERS: RelFile = RelFile { spc: 1663, db: 5, rel: 16384 };
pub const UNNAMED: RelFile = RelFile { spc: 16999, db: 5, rel: 16400 };

pub fn control(timeline: u32, checkpoint: u64) -> ControlFile {
    ControlFile {
        major: Major::V18,
        system_identifier: 7_400_000_000_000_000_001,
        pg_control_version: 1800,
        catalog_version: 202_506_291,
        state: DbState::ShutDown,
        time: 1_750_000_000,
        checkpoint: Lsn(checkpoint),
        prev_checkpoint: None,
        checkpoint_copy: CheckpointCopy {
            redo: Lsn(checkpoint),
            timeline,
            prev_timeline: Some(timeline),
            full_page_writes: Some(true),
            wal_level: Some(1),
            logical_decoding: None,
            next_xid_epoch: 3,
            next_xid: 800,
            next_oid: 24_000,
            next_multi: 1,
            next_multi_offset: 0,
            oldest_xid: 731,
            oldest_xid_db: 1,
            oldest_multi: Some(1),
            oldest_multi_db: Some(1),
            time: i64::MAX,
            oldest_commit_ts_xid: Some(0),
            newest_commit_ts_xid: Some(0),
            oldest_active_xid: 0,
        },
        unlogged_lsn: Some(Lsn(1000)),
        min_recovery_point: Lsn::INVALID,
        min_recovery_point_tli: Some(0),
        backup_start_point: Lsn::INVALID,
        backup_end_point: Some(Lsn::INVALID),
        backup_end_required: Some(false),
        wal_level: 1,
        wal_log_hints: Some(false),
        max_connections: 100,
        max_worker_processes: Some(8),
        max_wal_senders: Some(10),
        max_prepared_xacts: 0,
        max_locks_per_xact: 64,
        track_commit_timestamp: Some(false),
        max_align: 8,
        float_format: 1_234_567.0,
        block_size: 8192,
        relation_segment_size: 131_072,
        slru_pages_per_segment: None,
        wal_block_size: 8192,
        wal_segment_size: 16 << 20,
        name_data_len: 64,
        index_max_keys: 32,
        toast_max_chunk_size: 1996,
        large_object_chunk_size: Some(2048),
        integer_datetimes: None,
        float4_by_value: None,
        float8_by_value: true,
        data_checksum_version: Some(1),
        data_checksum_version_init: None,
        default_char_signed: Some(true),
        mock_authentication_nonce: Some([7; 32]),
        crc: 1,
        crc_ok: true,
    }
}

fn history(parents: &[(u32, u64)], timeline: u32) -> History {
    let mut begin = Lsn::INVALID;
    let mut entries = Vec::new();
    for &(parent, end) in parents {
        let reason = "no recovery target specified".to_owned();
        entries.push(HistoryEntry { timeline: parent, begin, end: Lsn(end), reason });
        begin = Lsn(end);
    }
    entries.push(HistoryEntry { timeline, begin, end: Lsn::MAX, reason: String::new() });
    History { timeline, entries, lines: vec![format!("# {NASTY}"), "1\t0/3000000\tx".into()] }
}

fn side(role: Role, dir: &Path, timeline: u32, end: u64) -> Side {
    std::fs::create_dir_all(dir.join("global")).unwrap();
    std::fs::write(dir.join("PG_VERSION"), "18\n").unwrap();
    let history = if timeline == 1 { history(&[], 1) } else { history(&[(1, 0x300_0000)], timeline) };
    let setting = |name: &str, value: &str| Setting {
        name: name.into(),
        value: value.into(),
        path: dir.join("postgresql.conf"),
        line: 3,
    };
    Side {
        role,
        dir: DataDir::open(dir).unwrap(),
        control: control(timeline, end - 100),
        segment_size: SegmentSize::DEFAULT,
        leftovers: Leftovers {
            backup_label: Some(BackupLabel {
                start: Some(Lsn(0x200_0000)),
                start_file: Some("000000010000000000000002".into()),
                checkpoint: None,
                method: "pg_rewind".into(),
                from: "standby".into(),
                timeline: Some(1),
                incremental_from: None,
                lines: vec![NASTY.into()],
            }),
            tablespace_map: Some(vec![(16999, NASTY.into())]),
            postmaster: Some(Postmaster { pid: 1, data_dir: dir.into(), same_directory: false, alive: true }),
            not_archived: vec!["000000010000000000000003".into()],
            others: vec![dir.join("x")],
            ..Leftovers::default()
        },
        settings: Settings {
            set: vec![
                setting("primary_conninfo", &format!("host=a password={PASSWORD}")),
                setting("restore_command", &format!("PGPASSWORD='{PASSWORD}' get %f %p")),
            ],
            has_postgresql_conf: true,
            problems: vec![format!("line 4: postgresql://u:{PASSWORD}@h is no path")],
        },
        slots: vec![Slot {
            name: "slot".into(),
            database: 0,
            restart_lsn: Lsn(0x200_0000),
            confirmed_flush: Lsn::INVALID,
            plugin: String::new(),
            xmin: 0,
            catalog_xmin: 0,
            persistent: true,
            invalidated: false,
            failover: false,
            synced: false,
        }],
        lineage: Lineage {
            history: history.clone(),
            timeline,
            control_timeline: 1,
            evidence: if timeline == 1 {
                LineageEvidence::Control
            } else {
                LineageEvidence::FirstRecord(Lsn(0x300_0000))
            },
            missing_history: Vec::new(),
            known: vec![FoundHistory { history, path: dir.join("pg_wal/00000002.history"), own: true }],
        },
        end: Some(WalEnd {
            timeline,
            lsn: Lsn(end),
            last_record: Lsn(end - 100),
            last_kind: RecordKind { rmid: 0, op: 0 },
            kind: EndKind::Zeros,
            complete: true,
            message: format!("invalid record length at {}: expected at least 24, got 0", Lsn(end)),
            meaning: "Nothing was written there; this is how WAL normally ends.".into(),
            path: Some(dir.join("pg_wal/000000010000000000000003")),
            offset: 12,
        }),
        control_end: Some(Lsn(end)),
        rejected: vec![Rejected {
            timeline: 1,
            segno: 9,
            path: dir.join("pg_wal/000000010000000000000009"),
            place: Place::Own,
            reason: Reason::Zeros,
        }],
    }
}

fn changes(blocks: impl IntoIterator<Item = u32>) -> ForkChanges {
    ForkChanges {
        blocks: blocks.into_iter().collect(),
        references: 40,
        images: 4,
        first: Lsn(0x300_0100),
        last: Lsn(0x300_0200),
        kinds: vec![(RecordKind { rmid: 10, op: 0 }, 30), (RecordKind { rmid: 200, op: 0x30 }, 10)],
    }
}

fn scan(from: u64, to: u64, blocks: &[u32]) -> SideScan {
    let event = |event| PlacedEvent { lsn: Lsn(from), xid: 750, after: true, event };
    SideScan {
        from: Lsn(from),
        to: Lsn(to),
        records: 12_345,
        gaps: Vec::new(),
        bytes: to - from,
        changes: Changes {
            relations: vec![
                RelationChanges {
                    rel: ORDERS,
                    fork: Fork::Main,
                    before: Some(changes([1, 2, 3])),
                    after: Some(changes(blocks.iter().copied())),
                },
                RelationChanges { rel: UNNAMED, fork: Fork::Vm, before: None, after: Some(changes([0])) },
            ],
            events: vec![
                event(FileEvent::Created(ORDERS, Fork::Main)),
                event(FileEvent::Truncated(ORDERS, 7)),
                event(FileEvent::Dropped(UNNAMED)),
                event(FileEvent::DatabaseCreated(5, 1663)),
                event(FileEvent::DatabaseDropped(6, vec![1663, 16999])),
                event(FileEvent::TablespaceCreated(16999, NASTY.into())),
                event(FileEvent::TablespaceDropped(16999)),
                event(FileEvent::RelationMap(0)),
            ],
            kinds: vec![(RecordKind { rmid: 10, op: 0 }, 3, 4)],
        },
    }
}

fn need(target: &Path) -> WalNeed {
    let segment = |segno: u64, found: Vec<PathBuf>| NeededSegment {
        name: format!("0000000100000000{segno:08X}"),
        timeline: 1,
        segno,
        on_target: found.iter().any(|p| p.starts_with(target)),
        on_source: false,
        found,
    };
    WalNeed {
        from: Lsn(0x200_0000),
        to: Lsn(0x500_0000),
        why: "the last common checkpoint".into(),
        segments: vec![
            segment(2, vec![target.join("pg_wal/000000010000000000000002")]),
            segment(3, vec![target.join("pg_wal/000000010000000000000003")]),
            segment(4, Vec::new()),
            segment(5, vec![PathBuf::from("/archive/000000010000000000000005.zst")]),
        ],
    }
}

/// A failover in which 30 commits are lost; the directories exist as long as the first value.
pub fn failover() -> (TempDir, Diagnosis) {
    let temp = TempDir::new().unwrap();
    let (target, source) = (temp.path().join(OsStr::from_bytes(NAME)), temp.path().join("source"));
    let xact = |index: u32, end: XactEnd| Xact {
        xid: 750 + index,
        end,
        end_lsn: Lsn(0x300_0100 + u64::from(index)),
        time: Some(if index == 7 { i64::MAX } else { 800_000_000_000_000 + i64::from(index) * 1_500_000 }),
        first_lsn: Lsn(0x300_0000),
        may_begin_earlier: index == 0,
        records: 1_000_000,
        relations: index % 3,
        subxacts: 0,
        prepared: (end == XactEnd::Prepared)
            .then(|| Box::new(Prepared { lsn: Lsn(0x2FF_0000), gid: NASTY.into() })),
    };
    let mut transactions: Vec<Xact> = (0..30).map(|i| xact(i, XactEnd::Committed)).collect();
    transactions.push(xact(31, XactEnd::Prepared));
    transactions.push(xact(32, XactEnd::Aborted));
    transactions.push(Xact { time: None, ..xact(33, XactEnd::InProgress) });
    transactions.push(Xact {
        prepared: Some(Box::new(Prepared { lsn: Lsn(0x2FF_0000), gid: "gx".into() })),
        ..xact(34, XactEnd::CommittedPrepared)
    });
    let mut names = Names { replayed: true, problems: vec![NASTY.into()], ..Names::default() };
    names.databases.insert(5, NASTY.into());
    names.tablespaces.insert(1663, "pg_default".into());
    names.relations.insert(
        ORDERS,
        RelName {
            database: Some("shop".into()),
            schema: "public".into(),
            name: format!("orders {NASTY}"),
            oid: 16380,
            kind: 'r',
            persistence: 'p',
            toast_of: None,
            from_source: false,
        },
    );
    let entry = |path: &'static str| Entry {
        path: path.as_ref(),
        kind: Kind::File,
        size: 8192,
        mode: 0o600,
        uid: 0,
        link: None,
    };
    let finding = |code, severity| Finding {
        code,
        severity,
        title: format!("The target wrote past the divergence {NASTY}"),
        explanation: format!("Its checkpoint lies {NASTY} behind it; the conninfo is password={PASSWORD}"),
        evidence: vec![
            Evidence {
                path: Some(target.join("global/pg_control")),
                offset: Some(40),
                lsn: Some(Lsn(0x400_0000)),
                timeline: Some(1),
                value: format!("primary_conninfo = postgres://u:{PASSWORD}@h/db"),
            },
            Evidence { value: NASTY.into(), ..Evidence::default() },
        ],
        server_log: vec!["FATAL:  requested timeline 2 is not a child of this server's history".into()],
        remedy: "Rewind it: `pg_rewind --target-pgdata=… --source-pgdata=…`".into(),
    };
    let diagnosis = Diagnosis {
        facts: Facts {
            target: side(Role::Target, &target, 1, 0x400_0000),
            source: side(Role::Source, &source, 2, 0x500_0000),
            relation: Relation::Diverged,
            divergence: Some(Divergence {
                lsn: Lsn(0x300_0000),
                timeline: 1,
                shown_by: DivergenceProof::History(2),
                pg_rewind: None,
            }),
            unproven: vec![Unproven {
                timeline: 1,
                from: Lsn(0x100_0000),
                to: Lsn(0x200_0000),
                missing_on: Role::Source,
            }],
            common_checkpoint: Some(Checkpoint {
                lsn: Lsn(0x200_0060),
                end: Lsn(0x200_00D8),
                redo: Lsn(0x200_0028),
                timeline: 1,
                shutdown: false,
                next_xid: 750,
                oldest_active_xid: 749,
            }),
            target_scan: Some(scan(0x200_0060, 0x400_0000, &[2, 3, 4, 5, 70_000, 70_002])),
            source_scan: Some(scan(0x300_0000, 0x500_0000, &[3, 4, 70_002, 90_000])),
            transactions,
            relation_sets: RelationSets {
                sets: vec![vec![], vec![ORDERS], vec![ORDERS, UNNAMED]],
                overflow: None,
            },
            loss: Some(Loss::Commits { commits: 31, first: 800_000_000_000_000, last: i64::MAX }),
            wal: WalNeeds { start: None, find_blocks: Some(need(&target)), follow: Some(need(&target)) },
            target_backup_end: Some(Lsn(0x210_0000)),
            newer_pages: None,
            same_content: Vec::new(),
            target_space: vec![FreeSpace { at: "pg_wal".into(), bytes: 1 << 30 }],
            names,
            source_names: Names::default(),
            trees: Trees {
                target: [entry("a"), entry("b")].into_iter().collect(),
                source: [entry("a")].into_iter().collect(),
                problems: vec![(target.join("log"), "permission denied".into())],
            },
            archive_conflicts: vec![Conflict {
                name: "000000010000000000000003".into(),
                paths: vec!["/archive/a".into(), target.join("b")],
                offset: 8192,
            }],
            unseen: vec![Unseen {
                path: Some(target.join("pg_wal/000000010000000000000004")),
                what: format!("it ends at offset 8192 {NASTY}"),
                consequence: "changes after 0/4000000 are not known".into(),
            }],
        },
        findings: vec![
            finding("FP30", Severity::Info),
            finding("FP01", Severity::Error),
            finding("FP19", Severity::Warning),
        ],
        verdict: Verdict {
            action: Action::Rewind,
            line: "Rewind: 31 committed transactions are lost, and WAL segment 4 is missing".into(),
            picture: Picture::Failover,
            lost_commits: Some(31),
            blocked_by: vec!["FP19"],
            lacks: vec![format!("primary_conninfo = host=a password={PASSWORD}")],
            next_steps: vec!["Fetch `000000010000000000000004`.".into(), NASTY.into()],
            other_routes: vec!["A new copy of the source.".into()],
        },
    };
    (temp, diagnosis)
}
