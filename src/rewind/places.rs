//! Where the paths of a plan lie: in the data directory, or behind one of the links that may lead out of it, the WAL
//! directory's and those of tablespaces. Every link is resolved once and held against what the plan saw.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::disk::{At, Disk, Kind, Root, absent_is_none};
use super::error::{Doing, Trouble, refuse};
use crate::plan::Plan;
use crate::plan::model::{Action, SideState};
use crate::plan::path::RelPath;

/// The WAL directory's path.
const WAL: &str = "pg_wal";
/// The directory of tablespaces' links.
const SPACES: &str = "pg_tblspc";

/// One side's directories.
#[derive(Debug)]
pub struct Side {
    /// As the user knows it.
    pub path: PathBuf,
    /// The data directory.
    pub root: Root,
    /// Links, and the directories behind them.
    pub links: Vec<(PathBuf, Root)>,
}

impl Side {
    /// Opens a data directory and checks that it is the one that the plan saw. `begun`: its links may be gone for the
    /// time being, and their directories are opened as the plan names them.
    pub fn open(
        disk: &dyn Disk,
        what: &str,
        state: &SideState,
        path: &Path,
        created: &[(&Path, &Path)],
        begun: bool,
    ) -> Result<Self, Trouble> {
        let root = disk.open_root(path).doing("could not be opened", path)?;
        let meta = disk.metadata(At::new(root, "")).doing("could not be looked at", path)?;
        if (meta.device, meta.inode) != (state.device, state.inode) {
            return refuse(format!(
                "{} is another directory than the {what} that the plan was made for (device {} inode {}, expected {} \
                 and {}). Make a new plan.",
                path.display(),
                meta.device,
                meta.inode,
                state.device,
                state.inode
            ));
        }
        let mut side = Self { path: path.to_owned(), root, links: Vec::new() };
        if let Some(expected) = &state.wal_directory {
            let link = Path::new(WAL);
            if begun {
                side.add(disk, link, expected.as_path())?;
            } else {
                side.checked_link(disk, link, None, Some(expected.as_path()))?;
            }
        }
        for space in &state.tablespaces {
            let (link, to) = (space.path.as_path(), space.to.as_path());
            if !begun {
                side.checked_link(disk, link, Some(to), None)?;
            } else if !side.in_place(disk, link)? {
                side.add(disk, link, to)?;
            }
        }
        for (link, to) in created {
            side.add(disk, link, to)?;
        }
        Ok(side)
    }

    /// Opens a data directory as it is, without a plan that has seen it.
    pub fn found(disk: &dyn Disk, path: &Path) -> Result<Self, Trouble> {
        let root = disk.open_root(path).doing("could not be opened", path)?;
        let mut side = Self { path: path.to_owned(), root, links: Vec::new() };
        let spaces = absent_is_none(disk.list(At::new(root, SPACES))).doing("could not be listed", path)?;
        let spaces = spaces.into_iter().flatten().map(|name| Path::new(SPACES).join(name));
        for link in spaces.chain([PathBuf::from(WAL)]) {
            let full = path.join(&link);
            let meta =
                absent_is_none(disk.metadata(At::new(root, &link))).doing("could not be looked at", &full)?;
            if meta.is_some_and(|meta| meta.kind == Kind::Symlink) {
                let to = disk.read_link(At::new(root, &link)).doing("could not be read", &full)?;
                side.add(disk, &link, &to)?;
            }
        }
        Ok(side)
    }

    /// A tablespace that is a directory and no link.
    fn in_place(&self, disk: &dyn Disk, link: &Path) -> Result<bool, Trouble> {
        let found = absent_is_none(disk.metadata(At::new(self.root, link)));
        let found = found.doing("could not be looked at", &self.path.join(link))?;
        Ok(found.is_some_and(|meta| meta.kind == Kind::Directory))
    }

    /// `text` is what the link said, `leads_to` the directory that it led to.
    fn checked_link(
        &mut self,
        disk: &dyn Disk,
        link: &Path,
        text: Option<&Path>,
        leads_to: Option<&Path>,
    ) -> Result<(), Trouble> {
        let full = self.path.join(link);
        if text.is_some() && self.in_place(disk, link)? {
            return Ok(());
        }
        let found = disk.metadata(At::new(self.root, link)).doing("could not be looked at", &full)?;
        let changed = |what: String| Trouble::TargetChanged { path: full.clone(), what };
        if found.kind != Kind::Symlink {
            return Err(changed("it was a link and is none any more".into()));
        }
        let now = disk.read_link(At::new(self.root, link)).doing("could not be read", &full)?;
        if let Some(text) = text
            && now != text
        {
            return Err(changed(format!("it led to {}, now to {}", text.display(), now.display())));
        }
        self.add(disk, link, &now)?;
        if let Some(expected) = leads_to {
            let identity = |root| {
                let meta = disk.metadata(At::new(root, ""))?;
                Ok((meta.device, meta.inode))
            };
            let there = disk.open_root(expected).and_then(identity).doing("could not be opened", expected)?;
            let here = self.behind(link).map(identity).transpose().doing("could not be looked at", &full)?;
            if here != Some(there) {
                return Err(changed(format!("it led to {}", expected.display())));
            }
        }
        Ok(())
    }

    fn add(&mut self, disk: &dyn Disk, link: &Path, to: &Path) -> Result<(), Trouble> {
        if !RelPath::may_be_link(link) {
            return refuse(format!("{} may not lead out of the data directory", link.display()));
        }
        // a relative link starts at the directory that it lies in
        let full = self.path.join(link).parent().map_or_else(|| to.to_owned(), |p| p.join(to));
        let root = disk.open_root(&full).doing("could not be opened", &full)?;
        self.links.push((link.to_owned(), root));
        Ok(())
    }

    /// The directory behind a link.
    pub fn behind(&self, link: &Path) -> Option<Root> {
        self.links.iter().find(|(l, _)| l == link).map(|(_, root)| *root)
    }

    /// An entry itself: of a link the link.
    pub fn entry<'a>(&self, path: &'a Path) -> At<'a> {
        for (link, root) in &self.links {
            if let Ok(rest) = path.strip_prefix(link)
                && !rest.as_os_str().is_empty()
            {
                return At { root: *root, path: rest };
            }
        }
        At { root: self.root, path }
    }

    /// A directory: of a link the one behind it.
    pub fn directory<'a>(&self, path: &'a Path) -> At<'a> {
        match self.behind(path) {
            Some(root) => At { root, path: Path::new("") },
            None => self.entry(path),
        }
    }

    /// All its directories.
    pub fn roots(&self) -> BTreeSet<Root> {
        self.links.iter().map(|(_, root)| *root).chain([self.root]).collect()
    }
}

/// Links that the plan makes and behind which it then writes.
pub fn created_links(plan: &Plan) -> Vec<(&Path, &Path)> {
    let links = plan.entries.iter().filter_map(|entry| match &entry.action {
        Action::CreateSymlink { to } if RelPath::may_be_link(entry.path.as_path()) => {
            Some((entry.path.as_path(), to.as_path()))
        }
        _ => None,
    });
    links.collect()
}
