//! Files and directories: shared, in the way, of different types, not writable, linked.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, StatxAttributes, StatxFlags, access, llistxattr, statx};

use crate::facts::Role;
use crate::scan::FileEvent;
use crate::source::datadir::Identity;
use crate::source::trees::{Kind, Tree};

use super::super::disk::{self, Found as OnDisk};
use super::super::keep::is_data;
use super::super::model::{Action, Entry, Kind as Seen, Origin, Outcome};
use super::super::path::RelPath;
use super::super::rules;
use super::super::totals;
use super::{BEYOND_PG_REWIND, Found, Ground, LISTED, refusal, warning};

/// Longest list of names of extended attributes (linux/limits.h).
const XATTR_LIST_MAX: usize = 65536;

/// Of many alike the first, then how many more.
fn some(found: Vec<Found>, more: impl Fn(usize) -> String) -> Vec<Found> {
    let count = found.len();
    let mut shown: Vec<Found> = found.into_iter().take(LISTED).collect();
    if let Some(last) = shown.last()
        && count > LISTED
    {
        let outcome = last.outcome;
        shown.push(Found { outcome, ..warning(more(count - LISTED), "") });
    }
    shown
}

pub fn listing(g: &Ground<'_>) -> Vec<Found> {
    let problems = &g.facts().trees.problems;
    let found = problems.iter().map(|(path, what)| {
        refusal(format!("It could not be listed: {what}."), "Make it readable, or repair the link.").at(path)
    });
    some(found.collect(), |n| format!("{n} more directories could not be listed."))
}

pub fn types(g: &Ground<'_>) -> Vec<Found> {
    let word = |kind| match kind {
        Kind::File => "a file",
        Kind::Directory => "a directory",
        Kind::Symlink => "a symbolic link",
        Kind::Other => "a special file",
    };
    let excluded = |path: &Path| {
        use std::os::unix::ffi::OsStrExt;
        rules::is_excluded(path.as_os_str().as_bytes())
    };
    let differ = g.facts().trees.differing_types().filter(|(t, _)| !excluded(t.path));
    let found = differ.map(|(t, s)| {
        let what = format!("It is {} on the target and {} on the source.", word(t.kind), word(s.kind));
        refusal(what, "Make the target's like the source's, or remove it.").at(g.target.join(t.path))
    });
    let mut found: Vec<Found> = found.collect();
    let version_dir = g.facts().source.control.version_dir();
    let named = |path: &Path| rules::relation(path, &version_dir).is_some();
    for odd in g.facts().trees.source.iter().filter(|e| e.kind != Kind::File && named(e.path)) {
        let what = format!("It has a relation file's name, and is {}.", word(odd.kind));
        found.push(refusal(what, "Look at the source first.").at(g.source.join(odd.path)));
    }
    some(found, |n| format!("{n} more paths are of different types."))
}

/// The directories that hold a side's files: the data directory, its WAL directory, its tablespaces.
fn roots(root: &Path, tree: &Tree) -> Vec<PathBuf> {
    let mut all = vec![root.to_owned(), root.join("pg_wal")];
    all.extend(totals::tablespaces(tree).map(|(path, _)| root.join(path)));
    all.into_iter().filter_map(|p| p.canonicalize().ok()).collect()
}

fn identity(path: &Path) -> Option<Identity> {
    path.metadata().ok().map(|m| Identity::of(&m))
}

/// The same directory or file on both sides, or one side's within the other's.
pub fn shared(g: &Ground<'_>) -> Vec<Found> {
    let trees = &g.facts().trees;
    let (ours, theirs) = (roots(g.target, &trees.target), roots(g.source, &trees.source));
    let mut found = Vec::new();
    for (these, those) in [(&ours, &theirs), (&theirs, &ours)] {
        let known: HashMap<Identity, &PathBuf> =
            those.iter().filter_map(|p| Some((identity(p)?, p))).collect();
        for root in these {
            let within = root.ancestors().find_map(|p| known.get(&identity(p)?));
            if let Some(other) = within {
                let what = format!("It is, or lies in, {} of the other side.", other.display());
                found.push(
                    refusal(what, "Each side needs directories of its own; find out which path is wrong.")
                        .at(root),
                );
            }
        }
    }
    // bind mounts and links further down
    let directories = |root: &Path, tree: &Tree| -> HashMap<Identity, PathBuf> {
        let listed = tree.iter().filter(|e| e.kind == Kind::Directory);
        listed.filter_map(|e| Some((identity(&root.join(e.path))?, e.path.to_owned()))).collect()
    };
    if found.is_empty() {
        let theirs = directories(g.source, &trees.source);
        for (id, path) in directories(g.target, &trees.target) {
            if let Some(other) = theirs.get(&id) {
                let what = format!("It is the same directory as {} of the source.", other.display());
                let advice = "Each side needs directories of its own.";
                found.push(refusal(what, advice).at(g.target.join(path)));
            }
        }
    }
    found.extend(shared_files(g));
    found.dedup_by(|a, b| a.place == b.place);
    found.sort_by(|a, b| a.place.cmp(&b.place));
    some(found, |n| format!("{n} more are shared."))
}

/// Files of both trees with one inode: writing to the target's would change the source's.
fn shared_files(g: &Ground<'_>) -> Vec<Found> {
    let linked: Vec<&Entry> =
        touched(g).filter(|e| e.target.as_ref().is_some_and(|t| t.links.is_some())).collect();
    if linked.is_empty() {
        return Vec::new();
    }
    let files = g.facts().trees.source.iter().filter(|e| e.kind == Kind::File);
    let theirs: HashSet<Identity> = files
        .filter_map(|e| disk::look(g.source, e.path).ok().flatten())
        .filter(|f| f.seen.links.is_some())
        .map(|f| f.identity)
        .collect();
    linked
        .into_iter()
        .filter_map(|e| {
            let OnDisk { identity, .. } = disk::look(g.target, e.path.as_path()).ok().flatten()?;
            let what = "It is the same file as one of the source (a hard link): changing it would change the source.";
            let advice = "Make a real copy of the target, as with cp -a, not with cp -al.";
            theirs.contains(&identity).then(|| refusal(what, advice).at(g.target.join(e.path.as_path())))
        })
        .collect()
}

/// Entries that change something.
fn touched<'a>(g: &'a Ground<'_>) -> impl Iterator<Item = &'a Entry> {
    g.built.entries.iter().filter(|e| e.action != Action::Keep)
}

pub fn links(g: &Ground<'_>) -> Vec<Found> {
    let trees = &g.facts().trees;
    let mut found = Vec::new();
    for (root, tree) in [(g.target, &trees.target), (g.source, &trees.source)] {
        let links = tree.iter().filter(|e| e.kind == Kind::Symlink && !RelPath::may_be_link(e.path));
        // what lies behind it is not listed, by pg_rewind neither
        for link in links.filter(|e| is_data(e.path)) {
            let what = "It is a symbolic link, and files of the cluster lie behind it, where a rewind does not look.";
            found.push(
                refusal(what, "Replace it by the directory or file that it leads to.")
                    .at(root.join(link.path)),
            );
        }
    }
    let mut seen = BTreeSet::new();
    for entry in touched(g) {
        let parent = entry.path.as_path().parent().map(Path::to_path_buf);
        if parent.is_some_and(|p| seen.insert(p))
            && let Err(outside) = disk::stays_inside(g.target, &entry.path)
        {
            found.push(refusal(format!("{outside}."), "").at(g.target.join(entry.path.as_path())));
        }
    }
    some(found, |n| format!("{n} more links."))
}

pub fn hard_links(g: &Ground<'_>) -> Vec<Found> {
    let linked: Vec<&Entry> =
        touched(g).filter(|e| e.target.as_ref().is_some_and(|t| t.links.is_some())).collect();
    let Some(first) = linked.first() else { return Vec::new() };
    let what = format!(
        "{} of the files to be changed have a second name elsewhere (hard links): what has the other name changes too, \
         where a file is written in place.",
        linked.len()
    );
    vec![
        warning(what, "A copy made with cp -al is no copy; make one with cp -a.")
            .at(g.target.join(first.path.as_path())),
    ]
}

/// ACLs, extended attributes and labels of files that change: none is lost, so they are listed and stand in nobody's way.
pub fn attributes(g: &Ground<'_>) -> Vec<Found> {
    let (mut files, mut acls, mut labels, mut others) = (0, 0, 0, BTreeSet::new());
    let mut first = None;
    let mut buffer = vec![0u8; XATTR_LIST_MAX];
    for entry in touched(g).filter(|e| e.target.is_some()) {
        let full = g.target.join(entry.path.as_path());
        let names = attribute_names(&full, &mut buffer);
        if names.is_empty() {
            continue;
        }
        files += 1;
        acls += usize::from(names.iter().any(|n| n.starts_with("system.posix_acl")));
        labels += usize::from(names.iter().any(|n| n.starts_with("security.")));
        others.extend(names.into_iter().filter(|n| n.starts_with("user.")));
        first.get_or_insert(full);
    }
    let Some(first) = first else { return Vec::new() };
    let mut what = format!(
        "{files} of the files and directories to be changed have attributes: {acls} an ACL, {labels} a security label"
    );
    if !others.is_empty() {
        let names: Vec<String> = others.into_iter().take(LISTED).collect();
        let _ = write!(what, ", others {}", names.join(", "));
    }
    what.push_str(
        ". A file that is written in place or replaced keeps them, and undo brings all of them back.",
    );
    vec![Found { outcome: Outcome::Ok, ..warning(what, "") }.at(first)]
}

/// Names of extended attributes, as far as this user may see them.
fn attribute_names(path: &Path, buffer: &mut [u8]) -> Vec<String> {
    let length = llistxattr(path, &mut *buffer).unwrap_or(0);
    let names = buffer.get(..length).unwrap_or_default().split(|b| *b == 0);
    names.filter(|n| !n.is_empty()).map(|n| String::from_utf8_lossy(n).into_owned()).collect()
}

/// Special files at a path that is written, and directories that cannot be removed because of what stays in them.
pub fn in_the_way(g: &Ground<'_>) -> Vec<Found> {
    let tree = &g.facts().trees.target;
    let removed: HashSet<&Path> =
        g.built.entries.iter().filter(|e| e.action == Action::Remove).map(|e| e.path.as_path()).collect();
    let mut found = Vec::new();
    for entry in g.built.entries.iter().filter(|e| !matches!(e.action, Action::Keep | Action::Remove)) {
        if tree.get(entry.path.as_path()).is_some_and(|e| e.kind == Kind::Other) {
            let what = "A socket, FIFO or device lies where a file is to be written.";
            found.push(refusal(what, "Remove it.").at(g.target.join(entry.path.as_path())));
        }
    }
    for left in tree.iter().filter(|e| !removed.contains(e.path)) {
        let parent = left.path.parent().filter(|p| removed.contains(p));
        if let Some(parent) = parent {
            let what = format!("{} has to be removed, and this stays in it.", parent.display());
            found.push(refusal(what, "Remove it, or move it elsewhere.").at(g.target.join(left.path)));
        }
    }
    some(found, |n| format!("{n} more are in the way."))
}

pub fn tablespaces(g: &Ground<'_>) -> Vec<Found> {
    let trees = &g.facts().trees;
    let mut found = Vec::new();
    for (path, to) in totals::tablespaces(&trees.source) {
        if let Some(ours) = trees.target.get(path) {
            // made by both with the same number, or mapped elsewhere earlier
            if ours.link.is_some_and(|link| link != to) {
                found.extend(replayed(g, path, to));
            }
            continue;
        }
        let Some(entry) = g.built.entries.iter().find(|e| e.path.as_path() == path) else { continue };
        let Action::CreateSymlink { to: new } = &entry.action else { continue };
        let place = g.target.join(path);
        if g.options.pg_rewind_compatible || new.as_path() == to {
            let what = format!(
                "The tablespace was made on the source, and its directory, {}, is the source's own: both servers would \
                 write to it.",
                to.display()
            );
            let advice = if g.options.pg_rewind_compatible {
                BEYOND_PG_REWIND.to_owned()
            } else {
                format!("Give it another directory with --tablespace-mapping {}=NEW.", to.display())
            };
            found.push(refusal(what, advice).at(place));
            continue;
        }
        found.extend(new_directory(new.as_path()));
        found.extend(replayed(g, path, to));
    }
    for mapping in &g.options.tablespace_mapping {
        let used = totals::tablespaces(&trees.source)
            .any(|(path, to)| to == mapping.old.as_path() && trees.target.get(path).is_none());
        if !used {
            let what = format!(
                "--tablespace-mapping {}: no tablespace that only the source has lies there.",
                mapping.old
            );
            found.push(refusal(what, "Give the text of the link in the source's pg_tblspc."));
        }
    }
    found
}

/// What is wrong with the directory of a mapping.
fn new_directory(new: &Path) -> Option<Found> {
    let advice = "Make an empty directory that belongs to the user of the server.";
    let what = match new.symlink_metadata() {
        _ if !new.is_absolute() => "it is not absolute",
        Err(_) => "it does not exist",
        Ok(meta) if !meta.is_dir() => "it is no directory",
        Ok(_) if !Tree::read(new).is_empty() => "it is not empty",
        Ok(_) => return None,
    };
    Some(refusal(format!("The new directory of a tablespace cannot be used: {what}."), advice).at(new))
}

/// Replay of CREATE TABLESPACE makes the link anew, with the path that the source gave it.
fn replayed(g: &Ground<'_>, path: &Path, old: &Path) -> Option<Found> {
    let oid: u32 = path.file_name()?.to_str()?.parse().ok()?;
    let events = g.facts().source_scan.iter().flat_map(|scan| &scan.changes.events);
    let mut made =
        events.filter(|e| matches!(&e.event, FileEvent::TablespaceCreated(made, _) if *made == oid));
    let made = made.find(|e| e.lsn >= g.replay_start.redo)?;
    if !old.exists() {
        return None;
    }
    let what = format!(
        "The source made this tablespace at {}, behind the start of replay at {}: replay would make the link again, to \
         {}, which is the source's own directory.",
        made.lsn,
        g.replay_start.redo,
        old.display()
    );
    let advice = "Run CHECKPOINT on the source, stop it and use --compare: replay then starts at its last checkpoint. Or \
                  carry the plan out on a host that does not have that directory.";
    Some(refusal(what, advice).at(g.target.join(path)))
}

pub fn permissions(g: &Ground<'_>) -> Vec<Found> {
    let Ok(root) = g.target.metadata() else { return Vec::new() };
    let mut found = Vec::new();
    let me = rustix::process::geteuid().as_raw();
    if me != root.uid() {
        let what = format!("The target belongs to user {}, and this is user {me}.", root.uid());
        found.push(warning(what, "Carry the plan out as the owner of the target.").at(g.target));
    }
    let mut directories: BTreeSet<PathBuf> = BTreeSet::new();
    for entry in touched(g) {
        let path = entry.path.as_path();
        let parent = path.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let alters_parent = entry.target.is_none() || entry.action == Action::Remove;
        if alters_parent {
            directories.insert(parent);
        }
        if let Some(seen) = entry.target.as_ref() {
            if seen.uid != root.uid() {
                let what = format!("It belongs to user {}, the target to user {}.", seen.uid, root.uid());
                found.push(refusal(what, "Give it to the target's owner.").at(g.target.join(path)));
            } else if let Some(attribute) = locked(&g.target.join(path)) {
                let what = format!("It has the attribute {attribute}: nobody can change or remove it.");
                let advice = advice(&entry.path, &format!("Take it away as root with chattr -{attribute}"));
                found.push(refusal(what, advice).at(g.target.join(path)));
            } else if seen.kind == Seen::File
                && entry.action != Action::Remove
                && !writable(&g.target.join(path), seen.mode.0)
            {
                found.push(
                    refusal(
                        format!("It cannot be written (mode {}).", seen.mode),
                        advice(&entry.path, "Make it writable"),
                    )
                    .at(g.target.join(path)),
                );
            }
        }
        let copies =
            matches!(&entry.action, Action::Copy { from: Origin::Source, .. } | Action::Change { .. });
        if copies && access(g.source.join(path), Access::READ_OK).is_err() {
            found
                .push(refusal("It cannot be read.", "Read the source as its owner.").at(g.source.join(path)));
        }
    }
    directories.insert("global".into());
    directories.insert(PathBuf::new());
    for path in directories {
        let full = g.target.join(&path);
        let Ok(meta) = full.metadata() else { continue };
        if let Some(attribute) = locked(&full) {
            let what = format!(
                "The directory has the attribute {attribute}: nothing can be renamed or removed in it."
            );
            let advice = format!("Take it away as root with chattr -{attribute}.");
            found.push(refusal(what, advice).at(full));
        } else if !writable(&full, meta.mode()) {
            let what = format!(
                "Nothing can be made or removed in this directory (mode {:04o}).",
                meta.mode() & 0o7777
            );
            found.push(refusal(what, "Make it writable for its owner.").at(full));
        }
    }
    some(found, |n| format!("{n} more cannot be written or read."))
}

/// What to do about a file that cannot be changed. What belongs to the data cannot be kept.
fn advice(path: &RelPath, first: &str) -> String {
    if is_data(path.as_path()) {
        format!("{first}.")
    } else {
        format!("{first}, or keep the target's with --keep {path}.")
    }
}

/// `i` of an immutable file, `a` of one that can only grow, as chattr names them.
fn locked(path: &Path) -> Option<char> {
    let flags = AtFlags::SYMLINK_NOFOLLOW;
    let attributes = statx(CWD, path, flags, StatxFlags::empty()).ok()?.stx_attributes;
    if attributes.contains(StatxAttributes::IMMUTABLE) {
        Some('i')
    } else if attributes.contains(StatxAttributes::APPEND) {
        Some('a')
    } else {
        None
    }
}

/// By its mode, which root would pass over, and by the system, which knows of read-only filesystems.
fn writable(path: &Path, mode: u32) -> bool {
    mode & 0o200 != 0 && access(path, Access::WRITE_OK).is_ok()
}

/// Up to 13 pg_rewind never copies PG_VERSION, so that a database that was dropped on the target only lacks it.
pub fn databases(g: &Ground<'_>) -> Vec<Found> {
    if !(g.options.pg_rewind_compatible && rules::old_rules(g.major())) {
        return Vec::new();
    }
    let events = || g.facts().target_scan.iter().flat_map(|scan| &scan.changes.events);
    let dropped: BTreeSet<u32> = events()
        .filter_map(|e| match e.event {
            FileEvent::DatabaseDropped(oid, _) => Some(oid),
            _ => None,
        })
        .collect();
    let trees = &g.facts().trees;
    let gone = dropped.into_iter().filter(|oid| {
        let path = PathBuf::from(format!("base/{oid}"));
        trees.source.get(&path).is_some() && trees.target.get(&path).is_none()
    });
    gone.map(|oid| {
        let name = g.facts().names_of(Role::Source).databases.get(&oid).cloned().unwrap_or_else(|| oid.to_string());
        let what = format!(
            "Database {name} was dropped on the target only: pg_rewind of this major does not copy its PG_VERSION, and \
             nobody could connect to it."
        );
        refusal(what, BEYOND_PG_REWIND).at(g.source.join(format!("base/{oid}")))
    })
    .collect()
}

/// Files of the source that would steer the target's recovery.
pub fn signals(g: &Ground<'_>) -> Vec<Found> {
    let path = Path::new("recovery.signal");
    let copied =
        g.built.entries.iter().any(|e| e.path.as_path() == path && matches!(e.action, Action::Copy { .. }));
    if !copied || g.options.standby.is_some() {
        return Vec::new();
    }
    let what = "The source has a recovery.signal, which is copied: the target would recover and then promote itself.";
    vec![
        warning(what, "Leave it behind with --keep recovery.signal, or use --standby.")
            .at(g.source.join(path)),
    ]
}

pub fn keep(g: &Ground<'_>) -> Vec<Found> {
    let unused = g.built.unused.iter();
    unused
        .map(|p| {
            warning(format!("--keep {p} names nothing in either directory."), "Look at the pattern again.")
        })
        .collect()
}
