//! What has to hold before and while something is written: nobody works on either side, and both are what the plan saw.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::capture;
use super::control;
use super::disk::{At, Disk, absent_is_none, read_small};
use super::error::{Doing, Trouble, refuse};
use super::hash;
use super::ops::{Op, What};
use super::places::Side;
use crate::plan::Plan;
use crate::plan::model::{Action, Origin};

/// The postmaster's lock file.
const PID_FILE: &str = "postmaster.pid";

/// The process of a server that runs on this very directory, as far as this machine can tell. A snapshot carries the
/// lock file of another directory (its second line).
pub fn running(disk: &dyn Disk, side: &Side) -> Result<Option<i32>, Trouble> {
    let bytes = absent_is_none(read_small(disk, At::new(side.root, PID_FILE), 1 << 16))
        .doing("could not be read", &side.path.join(PID_FILE))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let mut lines = bytes.split(|b| *b == b'\n');
    let pid = lines.next().and_then(|line| std::str::from_utf8(line).ok()?.trim().parse::<i32>().ok());
    // a standalone backend's is negative
    let Some(pid) = pid.map(i32::saturating_abs).filter(|pid| disk.process_lives(*pid)) else {
        return Ok(None);
    };
    let here = disk.metadata(At::new(side.root, "")).doing("could not be looked at", &side.path)?;
    let named = lines.next().map(|line| Path::new(std::ffi::OsStr::from_bytes(line)));
    let there = named.and_then(|path| disk.metadata(At::new(disk.open_root(path).ok()?, "")).ok());
    Ok(there.is_none_or(|there| (there.device, there.inode) == (here.device, here.inode)).then_some(pid))
}

/// Refuses a directory that a server runs on.
pub fn stopped(disk: &dyn Disk, side: &Side, what: &str) -> Result<(), Trouble> {
    match running(disk, side)? {
        None => Ok(()),
        Some(pid) => refuse(format!(
            "a server runs on the {what} {} (process {pid} of its postmaster.pid). Stop it first.",
            side.path.display()
        )),
    }
}

/// Refuses root, and everyone but the owner.
pub fn owner(disk: &dyn Disk, target: &Side) -> Result<(), Trouble> {
    let user = disk.user();
    let meta = disk.metadata(At::new(target.root, "")).doing("could not be looked at", &target.path)?;
    if user.uid == 0 {
        return refuse(
            "it cannot be run as root: files that it makes have to belong to the server's user. Run it as the owner of the data directory.",
        );
    }
    if user.uid != meta.uid {
        return refuse(format!(
            "{} belongs to the user with number {}, this program runs as number {}. Run it as the owner.",
            target.path.display(),
            meta.uid,
            user.uid
        ));
    }
    Ok(())
}

/// The target before the first change.
pub fn target(disk: &dyn Disk, plan: &Plan, side: &Side, ops: &[Op<'_>]) -> Result<(), Trouble> {
    let control = control::required(disk, side)?;
    if hash::of(&control) != plan.target.control_sha256 {
        let path = side.path.join(control::CONTROL);
        return Err(Trouble::TargetChanged { path, what: "it is another one".into() });
    }
    for op in ops.iter().filter(|op| op.planned && !matches!(op.what, What::Planned(Action::Keep))) {
        let at = side.entry(op.path);
        // what lies below something that is yet to be made, or was a link to nowhere, is not there either
        let found = absent_is_none(disk.metadata(at)).doing("could not be looked at", op.path)?;
        capture::unchanged(disk, at, op.path, op.target, found.as_ref())?;
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
