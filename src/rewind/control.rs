//! The target's control file: set aside before the first change, back after the last one. In between a server finds none
//! and refuses to start.

use std::io;
use std::path::Path;

use super::disk::{
    Access, At, Disk, DiskFile, Root, absent_is_none, exists, read_small, sync_dir, write_all_at,
};
use super::early::Early;
use super::error::{Doing, Trouble, refuse};
use super::hash;
use super::journal::{Attributes, Begin};
use super::places::Side;
use super::store::{FILE_MODE, Store, make_parents};
use super::work::like;

/// The control file.
pub const CONTROL: &str = "global/pg_control";
/// Where it is set aside.
pub const ASIDE: &str = "global/pg_control.forkpoint";
/// Where the new one is written before it gets its name.
pub const NEW: &str = "global/pg_control.forkpoint.new";
/// Their directory.
const GLOBAL: &str = "global";
/// More than any control file has.
const LIMIT: u64 = 1 << 20;

/// The file's bytes; `None` if it is not there.
pub fn read(disk: &dyn Disk, root: Root, path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    absent_is_none(read_small(disk, At::new(root, CONTROL), LIMIT))
        .doing("could not be read", &path.join(CONTROL))
}

/// The file's bytes, which have to be there.
pub fn required(disk: &dyn Disk, side: &Side) -> Result<Vec<u8>, Trouble> {
    match read(disk, side.root, &side.path)? {
        Some(bytes) => Ok(bytes),
        None => refuse(format!("{} is not there", side.path.join(CONTROL).display())),
    }
}

/// Its attributes.
pub fn attributes(disk: &dyn Disk, root: Root, name: &str) -> io::Result<Attributes> {
    let file = disk.open(At::new(root, name), Access::Read)?;
    Ok(Attributes::new(&file.metadata()?, file.xattrs()?))
}

fn sync(disk: &dyn Disk, target: &Side) -> Result<(), Trouble> {
    sync_dir(disk, At::new(target.root, GLOBAL)).doing("could not be synced", &target.path.join(GLOBAL))
}

fn there(disk: &dyn Disk, target: &Side, name: &str) -> Result<bool, Trouble> {
    exists(disk, At::new(target.root, name)).doing("could not be looked at", &target.path.join(name))
}

fn unlink(disk: &dyn Disk, target: &Side, name: &str) -> Result<(), Trouble> {
    absent_is_none(disk.unlink(At::new(target.root, name)))
        .doing("could not be removed", &target.path.join(name))?;
    Ok(())
}

fn rename(disk: &dyn Disk, from: At<'_>, to: At<'_>) -> Result<(), Trouble> {
    disk.rename(from, to).doing("could not be renamed", from.path)
}

/// Sets it aside, unless that is done.
pub fn set_aside(disk: &dyn Disk, target: &Side, begin: &Begin) -> Result<(), Trouble> {
    if !there(disk, target, ASIDE)? {
        let Some(bytes) = read(disk, target.root, &target.path)? else {
            return refuse(format!(
                "neither {} nor {} is there",
                target.path.join(CONTROL).display(),
                target.path.join(ASIDE).display()
            ));
        };
        if hash::of(&bytes) != begin.control_sha256 {
            return Err(Trouble::TargetChanged {
                path: target.path.join(CONTROL),
                what: "it is another one, so a server was started".into(),
            });
        }
        rename(disk, At::new(target.root, CONTROL), At::new(target.root, ASIDE))?;
    }
    sync(disk, target)
}

/// Puts the new one in place and the old one into the store. A part that was done before an interruption is not done
/// again.
pub fn put_new(disk: &dyn Disk, target: &Side, store: &Store, bytes: &[u8]) -> Result<(), Trouble> {
    let root = target.root;
    let full = target.path.join(NEW);
    let there_already = read(disk, root, &target.path)?;
    if there_already.as_deref() != Some(bytes) {
        unlink(disk, target, NEW)?;
        let attributes = &store.journal.begin.control;
        let file = disk.create(At::new(root, NEW), attributes.mode).doing("could not be made", &full)?;
        givable(disk, &*file, attributes)
            .and_then(|attributes| like(&*file, &attributes))
            .doing("its attributes could not be set", &full)?;
        write_all_at(&*file, bytes, 0).doing("could not be written", &full)?;
        file.sync().doing("could not be synced", &full)?;
    }
    if there(disk, target, ASIDE)? {
        match store.moved_for(target, Path::new(CONTROL)) {
            Some(moved) => {
                let mut directories = std::collections::BTreeSet::new();
                make_parents(disk, moved, Path::new(CONTROL), &mut directories)
                    .doing("its directory in the store could not be made", &full)?;
                for (root, path) in directories {
                    sync_dir(disk, At::new(root, &path)).doing("could not be synced", &path)?;
                }
                rename(disk, At::new(root, ASIDE), At::new(moved, CONTROL))?;
                sync_dir(disk, At::new(moved, GLOBAL)).doing("could not be synced", &store.path)?;
            }
            // the store has a copy
            None => unlink(disk, target, ASIDE)?,
        }
        sync(disk, target)?;
    }
    if there_already.as_deref() != Some(bytes) {
        rename(disk, At::new(root, NEW), At::new(root, CONTROL))?;
    }
    sync(disk, target)
}

/// Refuses where what [`put_back`] would put there is not what was kept.
pub fn kept(disk: &dyn Disk, target: &Side, store: &Store) -> Result<(), Trouble> {
    if let Some(early) = store.early() {
        return cloned(disk, store, early).map(|_| ());
    }
    let expected = &store.journal.begin.control_sha256;
    let aside = At::new(target.root, ASIDE);
    let (what, at) = if there(disk, target, ASIDE)? {
        (target.path.join(ASIDE), aside)
    } else if let Some(moved) = store.find_moved(disk, Path::new(CONTROL))? {
        (store.path.join("moved").join(CONTROL), moved)
    } else if read(disk, target.root, &target.path)?.is_some_and(|bytes| hash::of(&bytes) == *expected) {
        return Ok(());
    } else {
        (store.path.join("pg_control"), At::new(store.root, "pg_control"))
    };
    let bytes = read_small(disk, at, LIMIT).doing("could not be read", &what)?;
    if hash::of(&bytes) == *expected {
        return Ok(());
    }
    let copy = store.path.join("pg_control");
    let what = format!(
        "the control file that was kept, {}, is not what it was, and nothing was put back. If {} is whole, copy it there",
        what.display(),
        copy.display()
    );
    Err(Trouble::Store { path: store.path.clone(), what })
}

/// The one that was there before a server recovered the target: it stays in the clone.
fn cloned(disk: &dyn Disk, store: &Store, early: &Early) -> Result<Vec<u8>, Trouble> {
    let places = store.clone_places(disk)?;
    let what = store.path.join("clone").join(CONTROL);
    let bytes = read_small(disk, places.at(Path::new(CONTROL)), LIMIT).doing("could not be read", &what)?;
    if hash::of(&bytes) == early.control_sha256 {
        return Ok(bytes);
    }
    let what = format!("the control file that was kept, {}, is not what it was", what.display());
    Err(Trouble::Store { path: store.path.clone(), what })
}

/// Takes the new one away: nothing starts while the way back is gone.
pub fn take_away(disk: &dyn Disk, target: &Side) -> Result<(), Trouble> {
    unlink(disk, target, CONTROL)?;
    sync(disk, target)
}

/// Puts the old one back.
pub fn put_back(disk: &dyn Disk, target: &Side, store: &Store) -> Result<(), Trouble> {
    let root = target.root;
    unlink(disk, target, NEW)?;
    let begin = &store.journal.begin;
    let (control, global) = match store.early() {
        Some(early) => (&early.control, &early.global),
        None => (&begin.control, &begin.global),
    };
    if let Some(early) = store.early() {
        let bytes = cloned(disk, store, early)?;
        unlink(disk, target, ASIDE)?;
        if read(disk, root, &target.path)?.as_ref() != Some(&bytes) {
            place(disk, target, &bytes, control)?;
        }
    } else if there(disk, target, ASIDE)? {
        rename(disk, At::new(root, ASIDE), At::new(root, CONTROL))?;
    } else if let Some(moved) = store.find_moved(disk, Path::new(CONTROL))? {
        rename(disk, moved, At::new(root, CONTROL))?;
        sync_dir(disk, moved.parent()).doing("could not be synced", &store.path)?;
    } else if !there(disk, target, CONTROL)? {
        let bytes = read_small(disk, At::new(store.root, "pg_control"), LIMIT)
            .doing("could not be read", &store.path.join("pg_control"))?;
        if hash::of(&bytes) != begin.control_sha256 {
            let what = "its copy of the control file is damaged".into();
            return Err(Trouble::Store { path: store.path.clone(), what });
        }
        place(disk, target, &bytes, control)?;
    }
    let times = |name: &str, attributes: &Attributes| {
        let file = disk.open(At::new(root, name), Access::Read)?;
        file.set_times(attributes.accessed, attributes.modified)?;
        file.sync()
    };
    times(CONTROL, control).doing("its times could not be set", &target.path.join(CONTROL))?;
    times(GLOBAL, global).doing("its times could not be set", &target.path.join(GLOBAL))
}

/// Writes it, and gives it its name.
fn place(disk: &dyn Disk, target: &Side, bytes: &[u8], attributes: &Attributes) -> Result<(), Trouble> {
    let (root, full) = (target.root, target.path.join(NEW));
    let file = disk.create(At::new(root, NEW), FILE_MODE).doing("could not be made", &full)?;
    write_all_at(&*file, bytes, 0).doing("could not be written", &full)?;
    givable(disk, &*file, attributes)
        .and_then(|attributes| like(&*file, &attributes))
        .doing("its attributes could not be set", &full)?;
    file.sync().doing("could not be synced", &full)?;
    rename(disk, At::new(root, NEW), At::new(root, CONTROL))
}

/// Attributes with the file's own group where this user cannot give it the old one, which then may do nothing with it.
fn givable(disk: &dyn Disk, file: &dyn DiskFile, attributes: &Attributes) -> io::Result<Attributes> {
    let mut attributes = attributes.clone();
    if !disk.user().gids.contains(&attributes.gid) {
        attributes.gid = file.metadata()?.gid;
    }
    Ok(attributes)
}
