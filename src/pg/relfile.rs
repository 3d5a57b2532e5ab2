//! Which file a block lies in.

use std::fmt;

/// Object identifier.
pub type Oid = u32;

/// Objects with lower numbers are the system's (`FirstNormalObjectId`, transam.h).
pub const FIRST_NORMAL_OID: Oid = 16384;
/// Number of a block within its relation fork, counted across 1 GB segments.
pub type BlockNumber = u32;

/// OID of the tablespace `pg_default` (`DEFAULTTABLESPACE_OID`), directory `base`.
pub const DEFAULT_TABLESPACE: Oid = 1663;
/// OID of the tablespace `pg_global` (`GLOBALTABLESPACE_OID`), directory `global`.
pub const GLOBAL_TABLESPACE: Oid = 1664;

/// The numbers that name a relation's files (`RelFileNode` up to 15, `RelFileLocator` from 16).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelFile {
    /// Tablespace.
    pub spc: Oid,
    /// Database; 0 for shared relations.
    pub db: Oid,
    /// File number (`relfilenode`).
    pub rel: Oid,
}

/// Relation fork (`ForkNumber`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Fork {
    /// The relation itself.
    Main = 0,
    /// Free space map.
    Fsm = 1,
    /// Visibility map.
    Vm = 2,
    /// Initialization fork of an unlogged relation.
    Init = 3,
}

impl Fork {
    /// Every fork, by number.
    pub const ALL: [Self; 4] = [Self::Main, Self::Fsm, Self::Vm, Self::Init];

    /// The fork with number `n`.
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Main),
            1 => Some(Self::Fsm),
            2 => Some(Self::Vm),
            3 => Some(Self::Init),
            _ => None,
        }
    }

    /// `main`, `fsm`, `vm` or `init`, as pg_waldump prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Fsm => "fsm",
            Self::Vm => "vm",
            Self::Init => "init",
        }
    }

    /// What follows the file number in the file's name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Main => "",
            Self::Fsm => "_fsm",
            Self::Vm => "_vm",
            Self::Init => "_init",
        }
    }
}

impl fmt::Display for Fork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// `tablespace/database/file number`, as pg_waldump prints it.
impl fmt::Display for RelFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.spc, self.db, self.rel)
    }
}

impl RelFile {
    /// Path of the fork's first file within the data directory (`relpath.c`). `version_dir` is the name that a
    /// tablespace's directory has for this major and catalog version, `PG_17_202406281`.
    pub fn path(&self, fork: Fork, version_dir: &str) -> String {
        let Self { spc, db, rel } = self;
        let suffix = fork.suffix();
        match *spc {
            GLOBAL_TABLESPACE => format!("global/{rel}{suffix}"),
            DEFAULT_TABLESPACE => format!("base/{db}/{rel}{suffix}"),
            _ => format!("pg_tblspc/{spc}/{version_dir}/{db}/{rel}{suffix}"),
        }
    }
}
