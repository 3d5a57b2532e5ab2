//! A small pair of data directories and the plan for it, made through a [`Disk`]: every kind of operation once, on the
//! data directory, behind a WAL directory's link, and in a tablespace on a filesystem of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use forkpoint::pg::control::ControlFile;
use forkpoint::pg::{Lsn, SegmentSize, checksum};
use forkpoint::plan::model::{
    Action, BlockRange, ByteRange, CheckpointPosition, Entry, FileTime, Lost, Mode, NewControl, Origin, Plan,
    Position, ReplayStart, Route, SCHEMA_VERSION, Seen, SideState, Standby, Tablespace, Totals, Why,
};
use forkpoint::plan::path::{PlanPath, RelPath};
use forkpoint::plan::{PlanOptions, label, load, model};
use forkpoint::rewind::disk::{Access, At, Disk, Kind, Root, Stamp, write_all_at};

#[path = "../common/pairs.rs"]
pub mod pairs;

/// Bytes of a block.
const BLOCK: usize = 8192;
/// No page is newer.
pub const NEWEST: Lsn = Lsn(0x500_0000);
/// The directory of a tablespace's files.
const VERSION: &str = "PG_18_202506291";

/// Names the directory that [`CONTROLS`] lie in, for a process that may not read the bundled pairs.
pub const CONTROLS_VARIABLE: &str = "FORKPOINT_TEST_CONTROLS";

/// Control files of real servers, the target's and the source's.
pub static CONTROLS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
    let given = std::env::var_os(CONTROLS_VARIABLE).map(PathBuf::from);
    ["target", "source"].map(|side| match &given {
        Some(dir) => std::fs::read(dir.join(side)).unwrap(),
        None => std::fs::read(pairs::unpack("basic-18").join(side).join("global/pg_control")).unwrap(),
    })
});

/// What is put where.
enum What {
    Directory,
    File(Vec<u8>),
    Link(String),
}

/// A page that was filled with `byte`, with its checksum.
pub fn page(byte: u8, block: u32, lsn: Lsn) -> Vec<u8> {
    let mut page = [byte; BLOCK];
    page[..4].copy_from_slice(&((lsn.0 >> 32) as u32).to_le_bytes());
    page[4..8].copy_from_slice(&(lsn.0 as u32).to_le_bytes());
    let sum = checksum::of(&page, block);
    page[8..10].copy_from_slice(&sum.to_le_bytes());
    page.to_vec()
}

fn pages(bytes: &[u8]) -> What {
    let pages = bytes.iter().zip(0..).map(|(byte, n)| page(*byte, n, Lsn(0x100_0000 + u64::from(*byte))));
    What::File(pages.flatten().collect())
}

fn text(text: &str) -> What {
    What::File(text.as_bytes().to_vec())
}

fn dir(path: &str) -> (String, What) {
    (path.into(), What::Directory)
}

fn file(path: &str, what: What) -> (String, What) {
    (path.into(), what)
}

/// Makes entries below a root, with modes, times and extended attributes of all sorts.
fn make(disk: &dyn Disk, root: Root, entries: &[(String, What)]) {
    for (n, (path, what)) in entries.iter().enumerate() {
        let at = At::new(root, path);
        let time = Stamp(1_700_000_000 + n as i64, 123_456_000 + n as u32);
        match what {
            What::Directory => disk.mkdir(at, 0o700).unwrap(),
            What::Link(to) => disk.symlink(Path::new(to), at).unwrap(),
            What::File(content) => {
                let file = disk.create(at, if n % 3 == 0 { 0o640 } else { 0o600 }).unwrap();
                write_all_at(&*file, content, 0).unwrap();
                if path.ends_with("postgresql.conf") {
                    // where the filesystem has none the test goes without
                    let _ = file.set_xattr(OsStr::new("user.forkpoint"), b"kept\0");
                }
                file.set_times(Stamp(time.0 - 5, time.1), time).unwrap();
            }
        }
    }
    // directories last: names came into them
    for (n, (path, what)) in entries.iter().enumerate() {
        if matches!(what, What::Directory) {
            let time = Stamp(1_600_000_000 + n as i64, 7);
            disk.open(At::new(root, path), Access::Read).unwrap().set_times(time, time).unwrap();
        }
    }
}

/// The directories.
#[derive(Debug, Clone)]
pub struct Pair {
    pub base: PathBuf,
}

impl Pair {
    pub fn target(&self) -> PathBuf {
        self.base.join("data")
    }

    pub fn source(&self) -> PathBuf {
        self.base.join("source")
    }

    /// Everything that belongs to the target.
    pub fn belongs(&self) -> [PathBuf; 3] {
        [self.target(), self.base.join("wal"), self.base.join("other/space")]
    }
}

/// Makes both directories below `base`, which is there and empty. `link` gives a file a second name.
pub fn build(disk: &dyn Disk, base: &Path, link: impl Fn(&str, &str)) -> Pair {
    let root = disk.open_root(base).unwrap();
    let absolute = |path: &str| What::Link(base.join(path).to_str().unwrap().to_owned());
    for side in ["data", "source"] {
        let target = side == "data";
        let (wal, space) = if target { ("wal", "other/space") } else { ("source-wal", "source-space") };
        let mut entries = vec![dir(wal)];
        if target {
            entries.push(dir("other"));
        }
        entries.push(dir(space));
        let common = [
            dir(side),
            dir(&format!("{side}/global")),
            file(&format!("{side}/global/pg_control"), What::File(CONTROLS[usize::from(!target)].clone())),
            file(&format!("{side}/PG_VERSION"), text("18\n")),
            dir(&format!("{side}/base")),
            dir(&format!("{side}/base/5")),
            dir(&format!("{side}/pg_tblspc")),
            file(&format!("{side}/pg_tblspc/16384"), absolute(space)),
            file(&format!("{side}/pg_wal"), absolute(wal)),
            dir(&format!("{space}/{VERSION}")),
            dir(&format!("{space}/{VERSION}/5")),
        ];
        entries.extend(common);
        let t = |path: &str, bytes: &[u8]| file(&format!("{side}/{path}"), pages(bytes));
        if target {
            entries.extend([
                // changed, and longer on the source
                t("base/5/100", b"abcdef"),
                // changed, and shorter
                t("base/5/101", b"abcdefgh"),
                // cut to nothing
                t("base/5/102", b"abc"),
                // hard-linked, changed
                t("base/5/103", b"abc"),
                t("base/5/200", b"target"),
                file("data/base/5/103_fsm", text("free space map of the target")),
                dir("data/base/9"),
                t("base/9/300", b"gone"),
                file("data/base/9/PG_VERSION", text("18\n")),
                dir("data/base/9/deep"),
                file("data/base/9/deep/file", text("deep")),
                dir("data/base/pgsql_tmp"),
                file("data/base/9/link", What::Link("../5/100".into())),
                file("data/postgresql.conf", text("port = 1\n")),
                file("data/postgresql.auto.conf", text("work_mem = '1MB'")),
                file("data/pg_hba.conf", text("local all all trust\n")),
                file("data/backup_label", text("an old label\n")),
                file("wal/000000010000000000000003", text("a segment of the target's history")),
                file("wal/000000010000000000000004", text("a segment that only the target has")),
                file(&format!("other/space/{VERSION}/5/400"), pages(b"spacey")),
                file(&format!("other/space/{VERSION}/5/401"), pages(b"gone")),
                file(&format!("other/space/{VERSION}/5/400_fsm"), text("its free space map")),
            ]);
        } else {
            entries.extend([
                t("base/5/100", b"aBCdefGH"),
                t("base/5/101", b"abCDe"),
                t("base/5/102", b""),
                t("base/5/103", b"aBc"),
                t("base/5/201", b"new"),
                file("source/base/5/103_fsm", text("free space map of the source, which is longer")),
                dir("source/base/7"),
                file("source/base/7/PG_VERSION", text("18\n")),
                t("base/7/500", b"a new database"),
                file("source/base/7/link", What::Link("500".into())),
                file("source/postgresql.conf", text("port = 2\nwork_mem = '2MB'\n")),
                file("source/postgresql.auto.conf", text("work_mem = '3MB'\n")),
                file("source/pg_hba.conf", text("local all all reject\n")),
                file("source-wal/000000010000000000000003", text("a segment of the source's history")),
                file("source-wal/00000002.history", text("1\t0/3000000\tno recovery target specified\n")),
                file(&format!("source-space/{VERSION}/5/400"), pages(b"spaCeytail")),
                file(&format!("source-space/{VERSION}/5/400_fsm"), text("the source's free space map")),
            ]);
        }
        make(disk, root, &entries);
    }
    link("data/base/5/103", "data/base/5/104");
    Pair { base: base.to_owned() }
}

fn seen(disk: &dyn Disk, at: At<'_>) -> Option<Seen> {
    let meta = disk.metadata(at).ok()?;
    let kind = match meta.kind {
        Kind::File => model::Kind::File,
        Kind::Directory => model::Kind::Directory,
        _ => model::Kind::Symlink,
    };
    Some(Seen {
        kind,
        size: if meta.kind == Kind::File { meta.size } else { 0 },
        mode: Mode(meta.mode),
        uid: meta.uid,
        gid: meta.gid,
        modified: FileTime { seconds: meta.modified.0, nanoseconds: meta.modified.1 },
        links: (meta.kind == Kind::File && meta.links > 1).then_some(meta.links),
        to: (meta.kind == Kind::Symlink).then(|| PlanPath::from(disk.read_link(at).unwrap().as_path())),
    })
}

fn side(disk: &dyn Disk, pair: &Pair, target: bool) -> SideState {
    let path = if target { pair.target() } else { pair.source() };
    let root = disk.open_root(&path).unwrap();
    let meta = disk.metadata(At::new(root, "")).unwrap();
    let bytes = &CONTROLS[usize::from(!target)];
    let control = ControlFile::parse(bytes).unwrap();
    let space = pair.base.join(if target { "other/space" } else { "source-space" });
    let wal = pair.base.join(if target { "wal" } else { "source-wal" });
    SideState {
        path: path.as_path().into(),
        device: meta.device,
        inode: meta.inode,
        control_sha256: load::sha256(bytes),
        state: "shut down".into(),
        checkpoint: CheckpointPosition {
            lsn: control.checkpoint,
            redo: control.checkpoint_copy.redo,
            timeline: control.checkpoint_copy.timeline,
        },
        min_recovery_point: control.min_recovery_point,
        timeline: control.checkpoint_copy.timeline,
        end_of_wal: None,
        wal_directory: Some(wal.as_path().into()),
        tablespaces: vec![Tablespace { path: rel("pg_tblspc/16384"), to: space.as_path().into() }],
    }
}

pub fn rel(path: &str) -> RelPath {
    RelPath::new(path.as_bytes()).unwrap()
}

fn change(blocks: &[(u32, u32)], tail: Option<(u64, u64)>, truncate_to: Option<u64>) -> Action {
    let block = BLOCK as u64;
    Action::Change {
        blocks: blocks.iter().map(|(first, count)| BlockRange { first: *first, count: *count }).collect(),
        tail: tail.map(|(from, to)| ByteRange { from: from * block, to: to * block }),
        truncate_to: truncate_to.map(|blocks| blocks * block),
    }
}

/// The plan for the pair.
pub fn plan(disk: &dyn Disk, pair: &Pair) -> Plan {
    let roots: Vec<Vec<(&str, Root)>> =
        [("data", "wal", "other/space"), ("source", "source-wal", "source-space")]
            .map(|(data, wal, space)| {
                let open = |path: &str| disk.open_root(&pair.base.join(path)).unwrap();
                vec![("pg_wal/", open(wal)), ("pg_tblspc/16384/", open(space)), ("", open(data))]
            })
            .into();
    let look = |side: usize, path: &str| {
        let (prefix, root) = roots[side].iter().find(|(prefix, _)| path.starts_with(prefix)).unwrap();
        seen(disk, At::new(*root, &path[prefix.len()..]))
    };
    let copy = |path: &str| {
        let source = look(1, path).unwrap();
        Action::Copy { size: source.size, from: Origin::Source }
    };
    let space = |name: &str| format!("pg_tblspc/16384/{VERSION}/5/{name}");
    let mut actions: Vec<(String, Action, Why)> = vec![
        ("base/7".into(), Action::CreateDirectory, Why::SourceOnly),
        ("base/7/link".into(), Action::CreateSymlink { to: Path::new("500").into() }, Why::SourceOnly),
    ];
    let copies = [
        "base/5/103_fsm",
        "base/5/201",
        "base/7/500",
        "base/7/PG_VERSION",
        "pg_wal/000000010000000000000003",
        "pg_wal/00000002.history",
        "postgresql.auto.conf",
        "postgresql.conf",
    ];
    actions.extend(copies.map(|path| (path.to_owned(), copy(path), Why::Other)));
    actions.push((space("400_fsm"), copy(&space("400_fsm")), Why::Other));
    actions.extend([
        ("base/5/100".to_owned(), change(&[(1, 2)], Some((6, 8)), None), Why::Changed),
        (space("400"), change(&[(3, 1)], Some((6, 10)), None), Why::Changed),
        ("base/5/103".to_owned(), change(&[(1, 1)], None, None), Why::Changed),
        ("pg_hba.conf".to_owned(), Action::Keep, Why::Kept),
        ("base/5/101".to_owned(), change(&[(2, 2)], None, Some(5)), Why::Changed),
        ("base/5/102".to_owned(), change(&[], None, Some(0)), Why::Changed),
        (space("401"), Action::Remove, Why::TargetOnly),
    ]);
    let removed = [
        "pg_wal/000000010000000000000004",
        "base/9/link",
        "base/9/deep/file",
        "base/9/deep",
        "base/9/PG_VERSION",
        "base/9/300",
        "base/9",
        "base/pgsql_tmp",
        "base/5/200",
        "backup_label",
    ];
    actions.extend(removed.map(|path| (path.to_owned(), Action::Remove, Why::TargetOnly)));
    let entries = actions.into_iter().map(|(path, action, why)| {
        let (target, source) = (look(0, &path), look(1, &path));
        Entry { path: rel(&path), action, why, target, source }
    });
    let entries: Vec<Entry> = entries.collect();
    let start =
        ReplayStart { redo: Lsn(0x300_0028), checkpoint: Lsn(0x300_0060), timeline: 1, why: "a test".into() };
    let (target, source) = (side(disk, pair, true), side(disk, pair, false));
    let control = ControlFile::parse(&CONTROLS[0]).unwrap();
    let end = Position { lsn: NEWEST, timeline: 2 };
    Plan {
        schema_version: SCHEMA_VERSION,
        id: String::new(),
        program: "test".into(),
        major: "18".into(),
        system_identifier: control.system_identifier,
        block_size: BLOCK as u32,
        segment_size: control.wal_segment_size,
        options: PlanOptions::default(),
        control: NewControl {
            source_sha256: source.control_sha256.clone(),
            state: "in archive recovery".into(),
            min_recovery_point: end,
        },
        target,
        source,
        route: Route::Wal,
        divergence: Position { lsn: Lsn(0x300_0000), timeline: 1 },
        last_common_checkpoint: None,
        backup_label: label::text(&start, SegmentSize::DEFAULT, control.major),
        replay_start: start,
        min_recovery_point: end,
        file_mode: Mode(0o600),
        directory_mode: Mode(0o700),
        entries,
        standby: Some(Standby {
            file: rel("postgresql.auto.conf"),
            lines: "primary_conninfo = 'host=primary'\n".into(),
            signal: Some(rel("standby.signal")),
        }),
        totals: Totals::default(),
        loss: Lost { commits: Some(1), at_least: false, verdict: String::new() },
        preflight: Vec::new(),
        next_steps: Vec::new(),
    }
    .sealed()
}

/// What the target has to be like afterwards, of files by path: told here, not by the code under test.
pub fn expected() -> Vec<(&'static str, Vec<u8>)> {
    let of = |what: What| match what {
        What::File(content) => content,
        _ => unreachable!(),
    };
    vec![
        ("base/5/100", of(pages(b"aBCdefGH"))),
        ("base/5/101", of(pages(b"abCDe"))),
        ("base/5/102", Vec::new()),
        ("base/5/103", of(pages(b"aBc"))),
        ("base/5/103_fsm", b"free space map of the source, which is longer".to_vec()),
        ("base/5/201", of(pages(b"new"))),
        ("base/7/500", of(pages(b"a new database"))),
        ("base/7/PG_VERSION", b"18\n".to_vec()),
        ("pg_hba.conf", b"local all all trust\n".to_vec()),
        ("postgresql.conf", b"port = 2\nwork_mem = '2MB'\n".to_vec()),
        ("postgresql.auto.conf", b"work_mem = '3MB'\nprimary_conninfo = 'host=primary'\n".to_vec()),
        ("standby.signal", Vec::new()),
        ("PG_VERSION", b"18\n".to_vec()),
    ]
}

/// Paths that are gone afterwards.
pub const GONE: [&str; 4] =
    ["base/9", "base/5/200", "global/pg_control.forkpoint", "global/pg_control.forkpoint.new"];
