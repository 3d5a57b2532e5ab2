//! Findings about the two trees of files.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use crate::facts::Role;
use crate::pg::{Major, Oid};
use crate::scan::FileEvent;
use crate::source::trees::{Entry, Kind, relation_file};

use super::common::{Pair, Way, file_says, finding, plural, side_name, some_of, wal_says};
use super::{Finding, Severity};

/// Directories whose content pg_rewind leaves out, and names that it leaves out anywhere.
const LEFT_OUT_DIRS: [&str; 7] =
    ["pg_stat_tmp", "pg_replslot", "pg_dynshmem", "pg_notify", "pg_serial", "pg_snapshots", "pg_subtrans"];
const LEFT_OUT_NAMES: [&str; 7] = [
    "postgresql.auto.conf.tmp",
    "current_logfiles.tmp",
    "backup_label",
    "tablespace_map",
    "backup_manifest",
    "postmaster.pid",
    "postmaster.opts",
];

/// All findings of this group.
pub(super) fn find(pair: &Pair<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    found.extend(same_directory(pair));
    if pair.way != Way::Rewind {
        return found;
    }
    found.extend(not_writable(pair));
    found.extend(types_differ(pair));
    found.extend(no_space(pair));
    found.extend(replaced_configuration(pair));
    found.extend(same_tablespace_oid(pair));
    found.extend(new_tablespace(pair));
    found
}

fn left_out(path: &Path) -> bool {
    let mut parts = path.components();
    let first = parts.next().and_then(|c| c.as_os_str().to_str()).unwrap_or_default();
    let inside = parts.next().is_some();
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    (inside && LEFT_OUT_DIRS.contains(&first))
        || LEFT_OUT_NAMES.contains(&name)
        || name.starts_with("pg_internal.init")
        || path.to_str().is_some_and(|p| p.contains("/pgsql_tmp"))
}

/// The directory that pg_rewind follows though it is a link.
fn is_wal_dir(pair: &Pair<'_>, path: &Path) -> bool {
    path.as_os_str() == pair.major.wal_dir()
}

/// FP32: files that pg_rewind opens for writing and that their owner may not write, or that another user owns.
fn not_writable(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.tree(Role::Source);
    let target = pair.tree(Role::Target);
    let owner = pair.entry(Role::Target, "global/pg_control").map(|e| e.uid);
    let changed: HashSet<Oid> = pair
        .facts
        .target_scan
        .iter()
        .chain(&pair.facts.source_scan)
        .flat_map(|s| s.changes.relations.iter().map(|r| r.rel.rel))
        .collect();
    let written = |e: &Entry<'_>| {
        let Some(other) = source.get(e.path) else { return false };
        if relation_file(e.path).is_none() {
            return e.path.as_os_str() != "global/pg_control"
                && e.path.file_name().is_none_or(|n| n != "PG_VERSION");
        }
        let number =
            e.path.file_name().and_then(|n| n.to_str()).and_then(|n| n.split('.').next()?.parse().ok());
        other.size != e.size || number.is_some_and(|n: Oid| changed.contains(&n))
    };
    let bad: Vec<(Entry<'_>, String)> = target
        .iter()
        .filter(|e| !left_out(e.path))
        .filter_map(|e| {
            let foreign = owner.filter(|uid| *uid != e.uid);
            let why = match e.kind {
                Kind::File if e.mode & 0o200 == 0 && written(&e) => format!("mode {:04o}", e.mode & 0o7777),
                Kind::Directory if e.mode & 0o300 != 0o300 => {
                    format!("directory, mode {:04o}", e.mode & 0o7777)
                }
                Kind::File | Kind::Directory if foreign.is_some() => {
                    format!("owned by user {}, not {}", e.uid, owner.unwrap_or_default())
                }
                _ => return None,
            };
            Some((e, why))
        })
        .collect();
    if bad.is_empty() {
        return None;
    }
    let dir = pair.target().dir.path();
    let first = bad.first().map(|(e, _)| e.path.display().to_string()).unwrap_or_default();
    let root = pair.target().dir.path().display().to_string();
    Some(
        finding("FP32", Severity::Error)
            .explain(format!(
                "{} in the target cannot be written by the server's user: {}. pg_rewind notices only when it gets \
                 there, after it has changed other files; a --dry-run does not notice at all.",
                plural(bad.len() as u64, "entry").replace("entrys", "entries"),
                some_of(bad.iter().map(|(e, why)| format!("{} ({why})", e.path.display())), 5)
            ))
            .proof(bad.iter().take(20).map(|(e, why)| file_says(dir.join(e.path), why.clone())))
            .logs([format!("pg_rewind: error: could not open target file \"{root}/{first}\": Permission denied")])
            .remedy(
                "Give the server's user the right to write these files (chmod u+w, chown), or move them out of the data \
                 directory, before pg_rewind is run.",
            ),
    )
}

/// FP33.
fn types_differ(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.tree(Role::Source);
    let word = |k: Kind| match k {
        Kind::File => "a regular file",
        Kind::Directory => "a directory",
        Kind::Symlink => "a symbolic link",
        Kind::Other => "a socket, pipe or device",
    };
    let mut proof = Vec::new();
    let mut log = Vec::new();
    let mut stops = false;
    for entry in pair.tree(Role::Target) {
        if left_out(entry.path) || is_wal_dir(pair, entry.path) {
            continue;
        }
        let Some(other) = source.get(entry.path) else { continue };
        if other.kind == entry.kind || entry.kind == Kind::Other || other.kind == Kind::Other {
            continue;
        }
        stops = true;
        let path = entry.path.display();
        proof.push(file_says(
            pair.target().dir.path().join(entry.path),
            format!("{} on the target, {} on the source", word(entry.kind), word(other.kind)),
        ));
        log.push(if pair.major >= Major::V15 {
            format!("pg_rewind: error: file \"{path}\" is of different type in source and target")
        } else {
            format!("pg_rewind: fatal: \"{path}\" is not {}", word(other.kind))
        });
    }
    for entry in pair.tree(Role::Source) {
        if relation_file(entry.path).is_some() && entry.kind != Kind::File {
            stops = true;
            proof.push(file_says(
                pair.source().dir.path().join(entry.path),
                format!("a data file that is {}", word(entry.kind)),
            ));
            log.push(format!(
                "pg_rewind: error: data file \"{}\" in source is not a regular file",
                entry.path.display()
            ));
        }
    }
    for side in pair.sides() {
        for entry in pair.tree(side.role).iter().filter(|e| e.kind == Kind::Other && !left_out(e.path)) {
            proof.push(file_says(
                side.dir.path().join(entry.path),
                format!("{} in the {}", word(Kind::Other), side_name(side.role)),
            ));
            if pair.major < Major::V13 {
                log.push(format!("\"{}\" is not a regular file", entry.path.display()));
            }
        }
    }
    if proof.is_empty() {
        return None;
    }
    let severity = match (stops, pair.major < Major::V13) {
        (true, _) => Severity::Error,
        (false, true) => Severity::Warning,
        (false, false) => Severity::Info,
    };
    proof.truncate(20);
    log.truncate(20);
    Some(
        finding("FP33", severity)
            .explain(format!(
                "{}: {}. {}",
                if stops { "pg_rewind stops at entries that it cannot match" } else { "There are entries that are no files" },
                some_of(proof.iter().map(|e| e.value.as_str()), 3),
                if stops {
                    "It may have changed other files by then."
                } else {
                    "pg_rewind of 13 and newer passes over them."
                }
            ))
            .proof(proof)
            .logs(log)
            .remedy("Make both sides alike at these paths, or move the target's entry away, before pg_rewind is run."),
    )
}

/// FP37.
fn no_space(pair: &Pair<'_>) -> Option<Finding> {
    let space = &pair.facts.target_space;
    if space.is_empty() {
        return None;
    }
    let target = pair.tree(Role::Target);
    let mut needed: BTreeMap<&Path, u64> = BTreeMap::new();
    for entry in pair.tree(Role::Source).iter().filter(|e| e.kind == Kind::File && !left_out(e.path)) {
        let there = target.get(entry.path).map_or(0, |e| e.size);
        let grows = entry.size.saturating_sub(there);
        let place = space
            .iter()
            .map(|s| s.at.as_path())
            .filter(|at| entry.path.starts_with(at))
            .max_by_key(|at| at.components().count());
        if let Some(place) = place {
            *needed.entry(place).or_default() += grows;
        }
    }
    let mut short: Vec<(PathBuf, u64, u64)> = Vec::new();
    for room in space {
        let wants = needed.get(room.at.as_path()).copied().unwrap_or_default();
        if wants > room.bytes {
            short.push((pair.target().dir.path().join(&room.at), wants, room.bytes));
        }
    }
    let (path, wants, free) = short.first()?.clone();
    Some(
        finding("FP37", Severity::Error)
            .explain(format!(
                "pg_rewind adds up to {wants} bytes to {} before it removes anything, and {free} bytes are free there. A \
                 full disk stops it half-way, and the target is then lost.",
                path.display()
            ))
            .proof(short.iter().map(|(path, wants, free)| {
                file_says(path.clone(), format!("{wants} bytes are needed, {free} are free"))
            }))
            .logs([format!("pg_rewind: error: could not write file \"{}\": No space left on device", path.display())])
            .remedy(
                "Make room first: much of it is usually old WAL of the source (let it checkpoint, look for slots that \
                 hold WAL) or server logs in the data directory.",
            ),
    )
}

fn is_configuration(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
    path.components().count() == 1 && extension == "conf"
}

fn is_key(path: &Path) -> bool {
    let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    matches!(extension.as_str(), "crt" | "key" | "pem" | "crl" | "p12")
        && !path.starts_with("base")
        && !path.starts_with("pg_tblspc")
}

/// FP38.
fn replaced_configuration(pair: &Pair<'_>) -> Option<Finding> {
    let source = pair.tree(Role::Source);
    let files: Vec<Entry<'_>> = pair
        .tree(Role::Target)
        .iter()
        .filter(|e| e.kind == Kind::File && !left_out(e.path) && (is_configuration(e.path) || is_key(e.path)))
        .filter(|e| !pair.facts.same_content.iter().any(|same| same == e.path))
        .collect();
    if files.is_empty() {
        return None;
    }
    let fate = |e: &Entry<'_>| match source.get(e.path) {
        None => "removed: the source has none".to_owned(),
        Some(other) if other.size == e.size => format!("replaced by the source's ({} bytes both)", e.size),
        Some(other) => format!("replaced by the source's ({} bytes, now {})", other.size, e.size),
    };
    let keys = files.iter().any(|e| is_key(e.path));
    Some(
        finding("FP38", if keys { Severity::Warning } else { Severity::Info })
            .explain(format!(
                "pg_rewind replaces every file that is not a relation's by the source's and removes what the source \
                 does not have. {} of this host would change: {}.",
                plural(files.len() as u64, "file"),
                some_of(files.iter().map(|e| e.path.display()), 8)
            ))
            .proof(files.iter().take(20).map(|e| file_says(pair.target().dir.path().join(e.path), fate(e))))
            .logs(keys.then_some("FATAL:  could not load server certificate file"))
            .remedy("Copy these files out of the target before pg_rewind is run, and back before the target is started."),
    )
}

fn tablespaces_made(scan: Option<&crate::facts::SideScan>) -> Vec<(Oid, &str, crate::pg::Lsn)> {
    scan.into_iter()
        .flat_map(|s| &s.changes.events)
        .filter(|e| e.after)
        .filter_map(|e| match &e.event {
            FileEvent::TablespaceCreated(oid, path) => Some((*oid, path.as_str(), e.lsn)),
            _ => None,
        })
        .collect()
}

/// FP39.
fn same_tablespace_oid(pair: &Pair<'_>) -> Option<Finding> {
    let on_source = tablespaces_made(pair.facts.source_scan.as_ref());
    let on_target = tablespaces_made(pair.facts.target_scan.as_ref());
    let both: Vec<_> =
        on_target.iter().filter_map(|t| on_source.iter().find(|s| s.0 == t.0).map(|s| (*t, *s))).collect();
    let ((oid, here, _), (_, there, _)) = *both.first()?;
    Some(
        finding("FP39", Severity::Error)
            .explain(format!(
                "Both sides made a tablespace after the divergence, and both got OID {oid}: on the target it is {here}, on the \
                 source {there}. pg_rewind keeps the target's link and writes the source's files through it."
            ))
            .proof(both.iter().flat_map(|((oid, t, at), (_, s, from))| {
                [
                    wal_says(pair.target().lineage.timeline, *at, format!("target: tablespace {oid} made at {t}")),
                    wal_says(pair.source().lineage.timeline, *from, format!("source: tablespace {oid} made at {s}")),
                ]
            }))
            .remedy(
                "Do not run pg_rewind. Move the new tablespace's tables away on the source and drop it before the \
                 rewind, or clone the target anew with pg_basebackup --tablespace-mapping.",
            ),
    )
}

/// FP73.
fn new_tablespace(pair: &Pair<'_>) -> Option<Finding> {
    let is_link = |e: &Entry<'_>| {
        e.path.parent().is_some_and(|p| p.as_os_str() == "pg_tblspc")
            && (e.link.is_some() || e.kind == Kind::Symlink)
    };
    let target = pair.tree(Role::Target);
    let new: Vec<Entry<'_>> =
        pair.tree(Role::Source).iter().filter(is_link).filter(|e| target.get(e.path).is_none()).collect();
    let first = new.first()?;
    let link = |e: &Entry<'_>| e.link.as_ref().map_or_else(String::new, |l| l.display().to_string());
    Some(
        finding("FP73", Severity::Error)
            .explain(format!(
                "The source has {} that the target does not have: {}. pg_rewind makes the link with the source's path, \
                 {}; where that directory is missing it fails half-way, and where both are on one host it writes into \
                 the source's own files.",
                plural(new.len() as u64, "tablespace"),
                some_of(new.iter().map(|e| format!("{} at {}", e.path.display(), link(e))), 4),
                link(first)
            ))
            .proof(new.iter().map(|e| file_says(pair.source().dir.path().join(e.path), format!("links to {}", link(e)))))
            .logs([format!(
                "pg_rewind: error: could not create directory \"{}\": No such file or directory",
                pair.target().dir.path().join(first.path).display()
            )])
            .remedy(
                "Clone the target anew with pg_basebackup --tablespace-mapping=OLD=NEW; or move the tablespace's tables \
                 away on the source and drop it before the rewind.",
            ),
    )
}

/// FP64.
fn same_directory(pair: &Pair<'_>) -> Option<Finding> {
    let target = pair.target().dir.path();
    let other = pair.tree(Role::Source);
    let mut shared: Vec<(PathBuf, String)> = Vec::new();
    if pair.target().dir.identity() == pair.source().dir.identity() {
        shared.push((target.to_path_buf(), "given as target and as source".into()));
    }
    for entry in pair.tree(Role::Target) {
        let Some(link) = entry.link.as_ref().filter(|l| l.is_absolute()) else { continue };
        let followed =
            is_wal_dir(pair, entry.path) || entry.path.parent().is_some_and(|p| p.as_os_str() == "pg_tblspc");
        let same = other.get(entry.path).is_some_and(|o| o.link.as_ref() == Some(link));
        let seen = || pair.tree(Role::Target).iter().any(|e| e.path.parent() == Some(entry.path));
        if followed && same && seen() {
            shared.push((
                target.join(entry.path),
                format!("links to {}, and so does the source's", link.display()),
            ));
        }
    }
    if shared.is_empty() {
        return None;
    }
    Some(
        finding("FP64", Severity::Error)
            .explain(format!(
                "Target and source lead to the same directory at {}. What is read there for one side is the other \
                 side's, and a rewind would write into the source.",
                some_of(shared.iter().map(|(p, _)| p.display()), 4)
            ))
            .proof(shared.iter().map(|(p, what)| file_says(p.clone(), what.clone())))
            .remedy(
                "Give each side its own directory. In copies of data directories, let the links in pg_tblspc (and \
                 pg_wal) lead to the copies.",
            ),
    )
}
