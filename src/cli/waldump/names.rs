//! Names of relations for `--names` and `--where`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::voice::{self, End};
use crate::dump::expr::Filter;
use crate::names::{Catalogs, DiskBlocks, Names};
use crate::source::datadir::DataDir;

/// The catalogs of a data directory, read when they are needed.
#[derive(Debug)]
pub struct Catalog {
    dir: Option<PathBuf>,
    names: std::cell::OnceCell<Result<Arc<Names>, String>>,
}

impl Catalog {
    /// Of `given`, or of the data directory that the first of `roots`, the places of WAL, is or lies in.
    pub fn new(given: Option<PathBuf>, roots: &[PathBuf]) -> Self {
        let holds = |dir: &Path| dir.join("global/pg_control").is_file();
        let around = || {
            roots.iter().find_map(|root| {
                let root = std::path::absolute(root).ok()?;
                root.ancestors().take(2).find(|dir| holds(dir)).map(Path::to_owned)
            })
        };
        Self { dir: given.or_else(around), names: std::cell::OnceCell::new() }
    }

    /// The names.
    ///
    /// # Errors
    /// There is no data directory, or it cannot be read.
    pub fn load(&self) -> Result<Arc<Names>, String> {
        self.names.get_or_init(|| self.read()).clone()
    }

    fn read(&self) -> Result<Arc<Names>, String> {
        let dir = self.dir.as_ref().ok_or(
            "names of relations are read from a data directory, and the WAL lies in none; name one with --names=DATADIR",
        )?;
        let dir = DataDir::open(dir).map_err(|e| e.to_string())?;
        let (control, _) = dir.control().map_err(|e| e.to_string())?;
        let names = Names::load(&Catalogs::on_disk(DiskBlocks::new(dir.path(), &control)), None, None);
        for problem in &names.problems {
            voice::info(&format!("names of relations: {problem}"));
        }
        Ok(Arc::new(names))
    }

    /// Reads a filter expression.
    ///
    /// # Errors
    /// It is none.
    pub fn filter(&self, text: &str) -> Result<Filter, End> {
        let resolve = |name: &str| {
            let found = self.load()?.called(name);
            if found.is_empty() {
                Err(format!("there is no relation {name:?} in the catalogs"))
            } else {
                Ok(found)
            }
        };
        Filter::parse(text, &resolve).map_err(|error| {
            let pointer = error.pointer(text);
            let mut lines = pointer.lines();
            let mut message = format!("--where, at character {}: {error}", error.at + 1);
            for line in &mut lines {
                message.push_str("\n  ");
                message.push_str(line);
            }
            End::Usage(Some(message), None)
        })
    }
}
