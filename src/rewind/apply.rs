//! Beginning a rewind, and going on with one.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};

use super::checks;
use super::clone::{self, Keep};
use super::control;
use super::copy::Checks;
use super::disk::{At, Disk, Root, absent_is_none, exists, sync_dir};
use super::early;
use super::error::{Doing, Failed, Trouble, refuse};
use super::fetched;
use super::hash;
use super::journal::{Attributes, Begin, FORMAT, Finishing, Journal, Record};
use super::manifest::{Identity, Manifest, Pointer, SyncMethod};
use super::ops;
use super::places::{self, Side};
use super::pointer;
use super::room;
use super::store::{self, Contents, Store};
use super::told::{self, Report};
use super::work::{Limits, Verify, Work};
use crate::pg::control::ControlFile;
use crate::plan::Plan;
use crate::plan::path::PlanPath;
use crate::scan::progress::Progress;

/// Names of a store, by which one is known that was never finished.
const OWN: [&str; 13] = [
    clone::DIRECTORY,
    clone::LISTING,
    clone::PROBE,
    "fetched",
    "journal",
    "lock",
    "manifest.json.new",
    "moved",
    "pack",
    "pg_control",
    "plan.json",
    told::NAME,
    "reserve",
];

/// How a rewind is carried out.
#[derive(Debug, Clone)]
pub struct Options {
    /// Keep what changes, so that it can be undone.
    pub undo: bool,
    /// What is kept for that.
    pub keep: Keep,
    /// Where the store is made; beside the data directory if not given.
    pub undo_dir: Option<PathBuf>,
    /// How the target is synced.
    pub sync: SyncMethod,
    /// Threads that copy.
    pub threads: usize,
    /// What is looked at before the control file comes back.
    pub verify: Verify,
    /// The store of a finished rewind makes room once this one is finished.
    pub replace_finished: bool,
    /// The user knows that no server runs on the target, although its control file says that it was not shut down.
    pub target_is_stopped: bool,
    /// Refuse where a filesystem has not the room that the rewind needs.
    pub check_room: bool,
    /// A clone of the target that was made before a server recovered it.
    pub early: Option<PathBuf>,
    /// The report, as JSON, for the store.
    pub report: Option<Report>,
    /// How much is done between two records of the journal.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            undo: true,
            keep: Keep::default(),
            undo_dir: None,
            sync: SyncMethod::default(),
            threads: 1,
            verify: Verify::Nothing,
            replace_finished: false,
            target_is_stopped: false,
            check_room: true,
            early: None,
            report: None,
            limits: Limits::default(),
        }
    }
}

/// A finished rewind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Where its store is.
    pub store: PathBuf,
    /// It can be undone.
    pub undo: bool,
    /// Also after a server has worked on it.
    pub clone: bool,
}

/// A time as backup_label says it (`%Y-%m-%d %H:%M:%S %Z`, local time).
fn label_time(at: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_second(at) else { return String::new() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Carries a plan out.
///
/// # Errors
/// With `halfway` false nothing in the target was changed.
pub fn apply(
    plan: &Plan,
    options: &Options,
    disk: &dyn Disk,
    progress: &Progress,
) -> Result<Outcome, Failed> {
    let at = disk.now();
    let begun = begin(plan, options, disk, progress, at).map_err(Failed::before)?;
    let Begun { mut store, target, source, pointer, previous, _lock } = begun;
    let written = pointer::write(disk, target.root, &target.path, &pointer);
    written.map_err(Failed::halfway)?;
    let options = Going { threads: options.threads, verify: None, limits: options.limits };
    let outcome = go_on(plan, &options, disk, progress, &mut store, &target, &source);
    let outcome = outcome.map_err(Failed::halfway)?;
    if let Some(previous) = previous {
        // finished: what cannot be cleared away is no reason to call it a failure
        let _ = store::remove_directory(disk, &previous);
    }
    Ok(outcome)
}

/// A rewind of which all is ready and nothing is done.
struct Begun {
    store: Store,
    target: Side,
    source: Side,
    pointer: Pointer,
    previous: Option<PathBuf>,
    _lock: Box<dyn std::any::Any + Send + Sync>,
}

fn begin(
    plan: &Plan,
    options: &Options,
    disk: &dyn Disk,
    progress: &Progress,
    at: i64,
) -> Result<Begun, Trouble> {
    if let Some(check) = plan.refusals().next() {
        return refuse(format!("the plan is refused by its own preflight: {} {}", check.what, check.advice));
    }
    let created = places::created_links(plan);
    let target_path = plan.target.path.as_path();
    let target = Side::open(disk, "target", &plan.target, target_path, &created, false)?;
    let source = Side::open(disk, "source", &plan.source, plan.source.path.as_path(), &[], false)?;
    checks::owner(disk, &target)?;
    let lock = store::lock(disk, At::new(target.root, ""), target_path)?;
    checks::stopped(disk, &target, "target")?;
    checks::stopped(disk, &source, "source")?;
    if !plan.target.state.starts_with("shut down") && !options.target_is_stopped {
        return refuse(format!(
            "the target's control file says \"{}\": a server may run on it, perhaps on another machine. Make sure that \
             none does, then say so with --target-is-stopped.",
            plan.target.state
        ));
    }
    checks::source(disk, plan, &source)?;
    let (parent, parent_path) = store_parent(disk, &target, &source, options)?;
    let name = PathBuf::from(store::name(target_path));
    let finished = make_room(disk, &target, (parent, &parent_path), &name, options)?;

    let control = control::required(disk, &target)?;
    let looked =
        |what: &'static str| move |e| Trouble::Io { doing: what, path: target_path.to_owned(), error: e };
    let attributes = |name: &str| control::attributes(disk, target.root, name);
    let begin = Begin {
        format: FORMAT,
        at,
        start_time: label_time(at),
        control_sha256: hash::of(&control),
        control: attributes(control::CONTROL).map_err(looked("its control file could not be looked at"))?,
        data_directory: attributes("").map_err(looked("could not be looked at"))?,
        global: attributes("global").map_err(looked("its directory global could not be looked at"))?,
    };
    let ops = ops::of(plan, &begin);
    checks::target(disk, plan, &target, &ops, options.undo.then_some(parent))?;
    checks::source_files(disk, &source, &ops)?;
    if options.check_room {
        room::check(disk, plan, &target, (parent, &parent_path), &ops, options, progress)?;
    }
    progress.check()?;

    let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", target_path)?;
    let identity = Identity::new(&meta, plan.system_identifier);
    let operation = operation(plan, at);
    let manifest = Manifest {
        format: FORMAT,
        program: env!("CARGO_PKG_VERSION").into(),
        operation: operation.clone(),
        plan: plan.id.clone(),
        target: PlanPath::from(target_path),
        identity,
        undo: options.undo,
        clone: None,
        sync: options.sync,
        verify: options.verify,
        annexes: Vec::new(),
    };
    let text = serde_json::to_vec(plan)
        .map_err(|e| Trouble::Store { path: parent_path.join(&name), what: e.to_string() })?;
    let early = match options.early.as_deref().filter(|_| options.undo) {
        Some(path) => Some(early::open(disk, path, &target)?),
        None => None,
    };
    let contents = Contents {
        manifest,
        plan: &text,
        report: options.report.as_ref(),
        control: &control,
        begin,
        keep: options.keep,
        early: early.as_ref(),
        threads: options.threads,
        progress,
    };
    // last of all: what is refused above leaves the way back of the finished rewind as it was
    let previous =
        if finished { Some(set_aside(disk, &target, (parent, &parent_path), &name)?) } else { None };
    let made = (|| {
        let store = Store::create(disk, (parent, &parent_path), &name, &target, &contents)?;
        if let Err(trouble) = fetched::bring(disk, plan, &ops, &store, progress) {
            store.give_up(disk, early.as_ref())?;
            return Err(trouble);
        }
        Ok(store)
    })();
    let store = made.inspect_err(|_| {
        if previous.is_some() {
            // it is found under its other name, too
            let _ = bring_back(disk, (parent, &parent_path), &name);
        }
    })?;
    if let Some(early) = early {
        // empty by now: what cannot be cleared away is no reason to stop
        let _ = early.clear(disk);
    }
    let place = PlanPath::from(store.path.as_path());
    let pointer = Pointer { format: FORMAT, operation, store: place, identity };
    Ok(Begun { store, target, source, pointer, previous, _lock: lock })
}

/// Unlike any other rewind's.
fn operation(plan: &Plan, at: i64) -> String {
    let nanoseconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let text = format!("{} {at} {nanoseconds} {}", plan.id, std::process::id());
    hash::text(Sha256::new_with_prefix(text)).chars().take(16).collect()
}

/// Where the store goes.
fn store_parent(
    disk: &dyn Disk,
    target: &Side,
    source: &Side,
    options: &Options,
) -> Result<(Root, PathBuf), Trouble> {
    let data = target.path.display();
    let (path, given) = match &options.undo_dir {
        Some(dir) => (dir.clone(), true),
        None => match target.path.parent() {
            Some(parent) => (parent.to_owned(), false),
            None => return refuse("the root directory is no data directory"),
        },
    };
    if !path.is_absolute() {
        return refuse(format!(
            "{}: give the directory for the undo store as an absolute path",
            path.display()
        ));
    }
    let found =
        absent_is_none(disk.open_root(&path)).doing("could not be opened for the undo store", &path)?;
    let Some(root) = found else {
        return refuse(format!(
            "the directory for the undo store, {}, is not there. Make it first: owned by the owner of the data directory, \
             on a filesystem that lasts and has room.",
            path.display()
        ));
    };
    let identity = |root| {
        let meta = disk.metadata(At::new(root, ""))?;
        Ok((meta.device, meta.inode))
    };
    let mut taken = Vec::new();
    for root in target.roots().into_iter().chain(source.roots()) {
        taken.push(identity(root).doing("could not be looked at", &path)?);
    }
    for above in path.ancestors() {
        let here = disk.open_root(above).and_then(identity).doing("could not be looked at", above)?;
        if taken.contains(&here) {
            return refuse(format!(
                "the undo store would lie in {}, inside one of the two data directories. Give a directory elsewhere \
                 with --undo-dir.",
                path.display()
            ));
        }
    }
    if given {
        // with the data directory on the same one, both go away or neither
        let (here, there) = (identity(root), identity(target.root));
        let together = here.doing("could not be looked at", &path)?.0
            == there.doing("could not be looked at", &target.path)?.0;
        if !together && !disk.lasting(root).doing("could not be looked at", &path)? {
            return refuse(format!(
                "{} lies in memory or in a container's own layer: after a restart a half-way rewind of {data} could go \
                 neither on nor back. Give a directory that lasts for the undo store with --undo-dir.",
                path.display()
            ));
        }
    } else {
        if !disk.same_mount(root, target.root).doing("could not be looked at", &path)? {
            return refuse(format!(
                "{data} is a mount point, and what lies beside it may go away with the machine. Give a directory for \
                 the undo store with --undo-dir, best on the same filesystem."
            ));
        }
        if !disk.lasting(root).doing("could not be looked at", &path)? {
            return refuse(format!(
                "{} lies in memory or in a container's own layer. Give a directory that lasts for the undo store with \
                 --undo-dir.",
                path.display()
            ));
        }
    }
    Ok((root, path))
}

/// Refuses where another forkpoint works on a data directory, or left it half-way.
pub fn free_to_begin(target: &Path, undo_dir: Option<&Path>, disk: &dyn Disk) -> Result<(), Trouble> {
    let found = pointer::find(disk, target, undo_dir)?;
    let _lock = store::lock(disk, At::new(found.root, ""), target)?;
    let data = target.display();
    match &found.store {
        Some((store, manifest, journal)) => not_halfway((&store.display(), manifest.undo), journal, &data),
        None if found.lost() => pointer::required(&found, target).map(|_| ()),
        None => Ok(()),
    }
}

fn not_halfway(
    (store, undo): (&dyn Display, bool),
    journal: &Journal,
    data: &dyn Display,
) -> Result<(), Trouble> {
    match (journal.done, journal.undo_begun, journal.undone, journal.discarding) {
        (_, _, Some(_), _) | (_, _, _, Some(_)) | (Some(_), None, ..) => Ok(()),
        (_, Some(_), ..) => refuse(format!(
            "undoing an earlier rewind was begun and is not finished ({store}). Finish it with forkpoint undo {data}."
        )),
        (None, None, ..) => refuse(format!(
            "an earlier rewind is half-way ({store}). Go on with forkpoint resume {data}{}.",
            if undo { format!(", or back with forkpoint undo {data}") } else { String::new() }
        )),
    }
}

/// Makes way for a new store: what never began and what was undone is removed, what is finished only if that was asked
/// for. Whether there is a finished one, which has to be set aside.
fn make_room(
    disk: &dyn Disk,
    target: &Side,
    parent: (Root, &Path),
    name: &Path,
    options: &Options,
) -> Result<bool, Trouble> {
    let path = parent.1.join(name);
    let data = target.path.display();
    let found = pointer::find(disk, &target.path, options.undo_dir.as_deref())?;
    if let Some((store, manifest, journal)) = &found.store {
        let store = store.display();
        not_halfway((&store, manifest.undo), journal, &data)?;
        let finished = journal.done.is_some() && journal.undone.is_none() && journal.discarding.is_none();
        if finished && !options.replace_finished {
            return refuse(format!(
                "the store of an earlier, finished rewind is still there ({store}). Remove it with forkpoint undo \
                 {data} --discard, or give another directory with --undo-dir."
            ));
        }
    } else if let Some(told) = found.told(&target.path) {
        if found.lost() {
            return refuse(format!("{told}. {}", found.without_store(&target.path)));
        }
        return refuse(format!(
            "{told}. If it is of no use any more, remove the file forkpoint.state, which is no part of a cluster."
        ));
    }
    let there = exists(disk, At::new(parent.0, name)).doing("could not be looked at", &path)?;
    if let Some((_, _, journal)) = found.store.as_ref().filter(|(store, ..)| there && *store == path) {
        if journal.done.is_none() || journal.undone.is_some() || journal.discarding.is_some() {
            Store::open(disk, &path)?.remove(disk)?;
            return Ok(false);
        }
        return Ok(true);
    }
    if there {
        let names = disk.list(At::new(parent.0, name)).doing("could not be listed", &path)?;
        if names.iter().any(|n| !OWN.iter().any(|own| n == own) && !clone::is_part(n)) {
            return refuse(format!(
                "{} is there and is no store of this data directory. Move it away, or give a directory with \
                 --undo-dir.",
                path.display()
            ));
        }
        // a store whose making was interrupted, before anything was changed
        early::rescued(disk, parent.1, target)?;
        store::remove_directory(disk, &path)?;
    }
    // as that interrupted run left the one before
    let aside = found.store.as_ref().is_some_and(|(store, ..)| *store == pointer::previous(&path));
    if aside {
        bring_back(disk, parent, name)?;
    }
    Ok(aside)
}

/// Puts the store of a finished rewind where it is out of the next one's way, and says where.
fn set_aside(disk: &dyn Disk, target: &Side, parent: (Root, &Path), name: &Path) -> Result<PathBuf, Trouble> {
    let (path, old) = (parent.1.join(name), pointer::previous(name));
    let previous = parent.1.join(&old);
    if exists(disk, At::new(parent.0, &old)).doing("could not be looked at", &previous)? {
        let root = disk.open_root(&previous).doing("could not be opened", &previous)?;
        let known =
            exists(disk, At::new(root, "manifest.json")).doing("could not be looked at", &previous)?;
        let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", &target.path)?;
        let of = if known { Some(store::read(disk, root, &previous)?.0.identity) } else { None };
        if of.is_none_or(|of| (of.device, of.inode) != (meta.device, meta.inode)) {
            return refuse(format!(
                "{} is there and is no store of this data directory, whose finished store would be put there. Move it \
                 away.",
                previous.display()
            ));
        }
        store::remove_directory(disk, &previous)?;
    }
    disk.rename(At::new(parent.0, name), At::new(parent.0, &old)).doing("could not be renamed", &path)?;
    sync_dir(disk, At::new(parent.0, "")).doing("could not be synced", parent.1)?;
    Ok(previous)
}

/// And where it was.
fn bring_back(disk: &dyn Disk, parent: (Root, &Path), name: &Path) -> Result<(), Trouble> {
    let old = pointer::previous(name);
    disk.rename(At::new(parent.0, &old), At::new(parent.0, name))
        .doing("could not be renamed", &parent.1.join(&old))?;
    sync_dir(disk, At::new(parent.0, "")).doing("could not be synced", parent.1)
}

/// Carries on with a rewind that was interrupted. It trusts the plan in the store.
///
/// # Errors
/// Always with what may be done now: see [`Failed::halfway`].
pub fn resume(
    target: &Path,
    undo_dir: Option<&Path>,
    going: &Going,
    disk: &dyn Disk,
    progress: &Progress,
) -> Result<Outcome, Failed> {
    let found = pointer::find(disk, target, undo_dir).map_err(Failed::before)?;
    let path = pointer::required(&found, target).map_err(Failed::before)?;
    let _lock = store::lock(disk, At::new(found.root, ""), target).map_err(Failed::before)?;
    let mut store = Store::open(disk, &path).map_err(Failed::before)?;
    let journal = &store.journal;
    if journal.undo_begun.is_some() || journal.discarding.is_some() {
        let text = match (journal.undone, journal.discarding) {
            (_, Some(_)) => "its store is being removed",
            (Some(_), _) => "it was undone",
            _ => "undoing it was begun",
        };
        let text = format!("the rewind of {} cannot be completed any more: {text}", target.display());
        let halfway = journal.undone.is_none() && journal.discarding.is_none();
        return Err(Failed { trouble: Trouble::Refused(text), halfway });
    }
    if journal.done.is_some() {
        return Ok(outcome(&store));
    }
    let result = (|| {
        let plan = store.plan(disk)?;
        let created = places::created_links(&plan);
        let side = Side::open(disk, "target", &plan.target, target, &created, true)?;
        checks::owner(disk, &side)?;
        checks::stopped(disk, &side, "target")?;
        store.attach(disk, &side)?;
        let source = Side::open(disk, "source", &plan.source, plan.source.path.as_path(), &[], false)
            .map_err(|trouble| match trouble {
                Trouble::TargetChanged { path, what } => Trouble::SourceMoved { path, what },
                other => other,
            })?;
        let identity = store.manifest.identity;
        let operation = store.manifest.operation.clone();
        let pointer = Pointer { format: FORMAT, operation, store: PlanPath::from(path.as_path()), identity };
        pointer::write(disk, side.root, target, &pointer)?;
        go_on(&plan, going, disk, progress, &mut store, &side, &source)
    })();
    result.map_err(Failed::halfway)
}

/// How a rewind goes on.
#[derive(Debug, Clone, Copy)]
pub struct Going {
    /// Threads that copy.
    pub threads: usize,
    /// What is looked at before the control file comes back, if more than the rewind was begun with; with
    /// [`Verify::Nothing`] the result is taken as it is.
    pub verify: Option<Verify>,
    /// How much is done between two records of the journal.
    pub limits: Limits,
}

impl Default for Going {
    fn default() -> Self {
        Self { threads: 1, verify: None, limits: Limits::default() }
    }
}

fn go_on(
    plan: &Plan,
    going: &Going,
    disk: &dyn Disk,
    progress: &Progress,
    store: &mut Store,
    target: &Side,
    source: &Side,
) -> Result<Outcome, Trouble> {
    let bytes = checks::source(disk, plan, source)?;
    let parsed = ControlFile::parse(&bytes).map_err(|e| Trouble::Refused(format!("the source's {e}")))?;
    let begin = store.journal.begin.clone();
    let ops = ops::of(plan, &begin);
    let checks =
        Checks { checksums: parsed.data_checksum_version == Some(1), newest: plan.min_recovery_point.lsn };
    if store.journal.finishing.is_none() {
        control::set_aside(disk, target, &begin)?;
        checks::stopped(disk, target, "target")?;
        let Going { threads, verify, limits } = *going;
        let verify = match verify {
            Some(Verify::Nothing) => Verify::Nothing,
            Some(asked) => asked.max(store.manifest.verify),
            None => store.manifest.verify,
        };
        let mut work =
            Work { disk, plan, ops: &ops, target, source, checks, store, limits, threads, verify, progress };
        work.operations()?;
        work.read_back()?;
        work.compare_all(&parsed)?;
    }
    // a last look: from here on the result counts
    checks::source_files(disk, source, &ops)?;
    let bytes = checks::source(disk, plan, source)?;
    let new = crate::plan::control::bytes(&plan.control, &bytes, Some(parsed.major), begin.at)
        .map_err(|e| Trouble::Refused(format!("the source's {e}")))?;
    let label = ops.iter().find_map(|op| match &op.what {
        ops::What::Write(content) if op.path == Path::new(ops::LABEL) => Some(content),
        _ => None,
    });
    let finishing = Finishing {
        control_sha256: hash::of(&new),
        label_sha256: label.map(|content| hash::of(content)).unwrap_or_default(),
    };
    store.append(&Record::Finishing(finishing))?;
    control::put_new(disk, target, store, &new)?;
    store.append(&Record::Done { at: disk.now() })?;
    // finished: what cannot be cleared away is no reason to call it a failure
    let _ = fetched::remove(disk, store);
    Ok(outcome(store))
}

fn outcome(store: &Store) -> Outcome {
    let Manifest { undo, clone, .. } = &store.manifest;
    Outcome { store: store.path.clone(), undo: *undo, clone: clone.is_some() }
}

/// What backup_label says now, if it is there.
pub fn label_now(disk: &dyn Disk, root: Root, path: &Path) -> Result<Option<String>, Trouble> {
    let read = super::disk::read_small(disk, At::new(root, ops::LABEL), 1 << 20);
    Ok(absent_is_none(read).doing("could not be read", &path.join(ops::LABEL))?.map(|bytes| hash::of(&bytes)))
}

/// Attributes of nothing that was touched, put back.
pub fn set_times(disk: &dyn Disk, at: At<'_>, attributes: &Attributes) -> std::io::Result<()> {
    let file = disk.open(at, super::disk::Access::Read)?;
    file.set_times(attributes.accessed, attributes.modified)?;
    file.sync()
}
