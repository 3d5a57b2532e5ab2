//! What has to hold before and while something is written: nobody works on either side, and both are what the plan saw.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::capture;
use super::control;
use super::disk::{At, Disk, Kind, Meta, Root, absent_is_none, read_small};
use super::error::{Doing, Trouble, refuse};
use super::hash;
use super::ops::{Op, What};
use super::places::Side;
use crate::plan::Plan;
use crate::plan::model::{Action, Origin};

/// The postmaster's lock file.
const PID_FILE: &str = "postmaster.pid";
/// What a file's group may do.
const GROUP: u32 = 0o070;

/// The process of a server that runs on this very directory, as far as this machine can tell, and how it is known. A
/// snapshot carries the lock file of another directory (its second line).
pub fn running(disk: &dyn Disk, side: &Side) -> Result<Option<(i32, &'static str)>, Trouble> {
    let bytes = absent_is_none(read_small(disk, At::new(side.root, PID_FILE), 1 << 16))
        .doing("could not be read", &side.path.join(PID_FILE))?;
    let mut lines = bytes.iter().flat_map(|bytes| bytes.split(|b| *b == b'\n'));
    let pid = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse::<i32>().ok());
    // a standalone backend's is negative
    if let Some(pid) = pid.map(i32::saturating_abs).filter(|pid| disk.process_lives(*pid)) {
        let here = disk.metadata(At::new(side.root, "")).doing("could not be looked at", &side.path)?;
        let named = lines.next().map(|line| Path::new(std::ffi::OsStr::from_bytes(line)));
        let there = named.and_then(|path| disk.metadata(At::new(disk.open_root(path).ok()?, "")).ok());
        if there.is_none_or(|there| (there.device, there.inode) == (here.device, here.inode)) {
            return Ok(Some((pid, "of its postmaster.pid")));
        }
    }
    let found = disk.server_in(side.root).doing("could not be looked at", &side.path)?;
    Ok(found.map(|pid| (pid, "which works in it, whatever its postmaster.pid says or lacks")))
}

/// Refuses a directory that a server runs on.
pub fn stopped(disk: &dyn Disk, side: &Side, what: &str) -> Result<(), Trouble> {
    match running(disk, side)? {
        None => Ok(()),
        Some((pid, known)) => refuse(format!(
            "a server runs on the {what} {} (process {pid}, {known}). Stop it first.",
            side.path.display()
        )),
    }
}

/// Refuses root, and everyone but the owner.
pub fn owner(disk: &dyn Disk, target: &Side) -> Result<(), Trouble> {
    let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", &target.path)?;
    owned(disk.user().uid, meta.uid, &target.path)
}

/// Refuses root, and everyone but the owner of a data directory, by their numbers.
pub fn owned(user: u32, owner: u32, path: &Path) -> Result<(), Trouble> {
    if user == 0 {
        return refuse(
            "it cannot be run as root: files that it makes have to belong to the server's user. Run it as the owner of the \
             data directory.",
        );
    }
    if user != owner {
        return refuse(format!(
            "{} belongs to the user with number {owner}, this program runs as number {user}. Run it as the owner.",
            path.display()
        ));
    }
    Ok(())
}

/// The target before the first change. `store`: what undo needs will lie in this directory.
pub fn target(
    disk: &dyn Disk,
    plan: &Plan,
    side: &Side,
    ops: &[Op<'_>],
    store: Option<Root>,
) -> Result<(), Trouble> {
    let control = control::required(disk, side)?;
    if hash::of(&control) != plan.target.control_sha256 {
        let path = side.path.join(control::CONTROL);
        return Err(Trouble::TargetChanged { path, what: "it is another one".into() });
    }
    let user = disk.user();
    let foreign = |meta: &Meta| meta.uid != user.uid || !user.gids.contains(&meta.gid);
    let not_ours = |path: &Path, meta: &Meta, what: &str| {
        refuse(format!(
            "{}: it belongs to user {} and group {}, and {what} could not be given to them. Change that with chown, or \
             chgrp to a group of the data directory's owner.",
            side.path.join(path).display(),
            meta.uid,
            meta.gid
        ))
    };
    let path = Path::new(control::CONTROL);
    let meta = disk.metadata(At::new(side.root, path)).doing("could not be looked at", path)?;
    if foreign(&meta) {
        // a group that may do nothing with it can be another one; undo brings the old file back, if it can be moved
        let movable = store.is_none_or(|store| disk.same_mount(store, side.root).unwrap_or_default());
        if meta.uid != user.uid || meta.mode & GROUP != 0 || !movable {
            return not_ours(path, &meta, "the new one");
        }
    }
    for op in ops.iter().filter(|op| op.planned && !matches!(op.what, What::Planned(Action::Keep))) {
        let at = side.entry(op.path);
        // what lies below something that is yet to be made, or was a link to nowhere, is not there either
        let found = absent_is_none(disk.metadata(at)).doing("could not be looked at", op.path)?;
        capture::unchanged(disk, at, op.path, op.target, found.as_ref())?;
        let removed = matches!(op.what, What::Planned(Action::Remove));
        if let Some(meta) = found.filter(|meta| removed && meta.kind == Kind::Directory && foreign(meta)) {
            return not_ours(op.path, &meta, "what undo makes again");
        }
    }
    Ok(())
}

/// The source's control file and postmaster. Gives the control file.
pub fn source(disk: &dyn Disk, plan: &Plan, side: &Side) -> Result<Vec<u8>, Trouble> {
    let moved =
        |name: &str, what: &str| Trouble::SourceMoved { path: side.path.join(name), what: what.into() };
    let bytes = control::read(disk, side.root, &side.path)?;
    let bytes = bytes.ok_or_else(|| moved(control::CONTROL, "it is gone"))?;
    if hash::of(&bytes) != plan.control.source_sha256 {
        return Err(moved(control::CONTROL, "it is another one"));
    }
    if running(disk, side)?.is_some() {
        return Err(moved(PID_FILE, "a server runs on it"));
    }
    Ok(bytes)
}

/// All that is copied from the source, by size and time.
pub fn source_files(disk: &dyn Disk, side: &Side, ops: &[Op<'_>]) -> Result<(), Trouble> {
    for op in ops {
        let read = match op.what {
            What::Planned(Action::Copy { from, .. }) => *from == Origin::Source,
            What::Planned(Action::Change { blocks, tail, .. }) => !blocks.is_empty() || tail.is_some(),
            _ => false,
        };
        if !read || op.source.is_none() {
            continue;
        }
        let at = side.entry(op.path);
        let found =
            absent_is_none(disk.metadata(at)).doing("the source's could not be looked at", op.path)?;
        let difference = capture::difference(disk, at, op.source, found.as_ref())
            .doing("the source's could not be looked at", op.path)?;
        if let Some(what) = difference {
            return Err(Trouble::SourceMoved { path: side.path.join(op.path), what });
        }
    }
    Ok(())
}
