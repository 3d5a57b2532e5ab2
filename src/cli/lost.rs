//! `forkpoint lost`.

use std::io;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::args::{WalArgs, check_archives, useless_archives};
use super::before;
use super::console::Console;
use super::exit::{self, Failure};
use super::folder::Folder;
use super::output::Output;
use crate::diagnosis::engine;
use crate::facts::{Facts, Relation};
use crate::lost::{Conflicts, Filter, Lost, LostError, is_cut_short, lost};
use crate::report::lost::{csv, jsonl, sql, text};

/// Arguments of `forkpoint lost`.
#[derive(Debug, Args)]
pub struct LostArgs {
    /// Data directory of the old primary (or a snapshot of it) that will not rejoin, or the undo store of its rewind
    pub target: PathBuf,
    /// Data directory of the new primary (or a snapshot of it)
    pub source: PathBuf,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// How to write them
    #[arg(long, value_enum, default_value = "text")]
    pub format: LostFormat,
    /// Only this table: its name, with or without schema and database; may be repeated
    #[arg(long, value_name = "NAME")]
    pub table: Vec<String>,
    /// Only this transaction; may be repeated
    #[arg(long, value_name = "XID")]
    pub xid: Vec<u32>,
    /// With --format sql: what an insertion does where its key is there already
    #[arg(long, value_enum, value_name = "WHAT", default_value = "error")]
    pub on_conflict: Conflict,
    /// Write them to a file, whole or not at all, never inside either directory; with --format csv a new directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What an insertion does where its key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Conflict {
    /// The row that is there stays
    Nothing,
    /// The script stops
    Error,
}

/// How lost rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LostFormat {
    /// For reading
    Text,
    /// One JSON object per line
    Jsonl,
    /// One file for each table, in the directory that -o names
    Csv,
    /// A script to review and run on the new primary
    Sql,
}

impl From<LostError> for Failure {
    fn from(error: LostError) -> Self {
        match error {
            LostError::Diagnose(error) => error.into(),
            error @ LostError::Scratch { .. } => Self::new(exit::FAILED, error.to_string()),
        }
    }
}

/// Where the answer goes.
enum Place {
    File(Output),
    Folder(Folder),
}

/// Runs the command.
pub fn run(args: LostArgs, console: &Console) -> Result<u8, Failure> {
    let directories = [args.target.as_path(), args.source.as_path()];
    let place = match (args.format, &args.output) {
        (LostFormat::Csv, Some(folder)) => Place::Folder(Folder::new(folder, &directories)?),
        (LostFormat::Csv, None) => {
            let text = "--format csv makes a file for each table. Give a directory for them with -o.";
            return Err(Failure::new(exit::USAGE, text));
        }
        (_, file) => Place::File(Output::new(file.as_deref(), &directories)?),
    };
    check_archives(&args.wal.wal_archive)?;
    let target = before::target(args.target, "lost", &args.source, console)?;
    let options = args.wal.options(target.path.clone(), args.source, true);
    let filter = Filter { tables: args.table, xids: args.xid };
    let (facts, found, conflicts) = console.watch(|progress| -> Result<_, Failure> {
        let facts = engine::facts(&options, progress)?;
        let found = lost(&options, &facts, &filter, progress)?;
        let conflicts = if args.format == LostFormat::Sql {
            conflicts(&options, &found, &filter, progress)?
        } else {
            Conflicts::default()
        };
        Ok((facts, found, conflicts))
    })?;
    useless_archives(&options.archives, &facts.target.control, console);
    let counts = found.counts().map_err(LostError::from)?;
    match place {
        Place::Folder(folder) => {
            let check = || if console.interrupted() { Err(io::Error::other("interrupted")) } else { Ok(()) };
            let written = csv::write(&found, &mut |name, again| folder.open(name, again), &check);
            match written {
                Ok(_) => folder.finish()?,
                Err(_) if console.interrupted() => {
                    return Err(Failure::new(exit::INTERRUPTED, "interrupted"));
                }
                Err(error) => return Err(Failure::new(exit::FAILED, format!("the CSV files: {error}."))),
            }
        }
        Place::File(output) => output.write(console, |out| match args.format {
            LostFormat::Jsonl => jsonl::write(&found, &counts, out),
            LostFormat::Sql => {
                let on_conflict = match args.on_conflict {
                    Conflict::Nothing => sql::OnConflict::Nothing,
                    Conflict::Error => sql::OnConflict::Error,
                };
                let system_identifier = facts.target.control.system_identifier;
                let (lost, counts, conflicts) = (&found, &counts, &conflicts);
                sql::Script { lost, counts, conflicts, on_conflict, system_identifier }.write(out)
            }
            LostFormat::Text | LostFormat::Csv => text::write(&found, &counts, console.detail().all, out),
        })?,
    }
    Ok(status(&facts, console))
}

/// What the source did since the divergence is found in the same way, with the roles changed.
fn conflicts(
    options: &engine::Options,
    found: &Lost,
    filter: &Filter,
    progress: &engine::Progress,
) -> Result<Conflicts, Failure> {
    let swapped =
        engine::Options { target: options.source.clone(), source: options.target.clone(), ..options.clone() };
    let facts = engine::facts(&swapped, progress)?;
    let filter = Filter { tables: filter.tables.clone(), xids: Vec::new() };
    let theirs = lost(&swapped, &facts, &filter, progress)?;
    let mut conflicts = Conflicts::find(found, &theirs).map_err(LostError::from)?;
    if theirs.divergence.is_none() {
        conflicts.unseen.push("its WAL since the divergence could not be read".into());
    }
    Ok(conflicts)
}

/// The answer is one where the target's WAL was read to its end, or nothing is lost.
fn status(facts: &Facts, console: &Console) -> u8 {
    if (facts.target_scan.is_some() && !is_cut_short(facts))
        || matches!(facts.relation, Relation::SamePosition | Relation::TargetBehind)
    {
        return exit::DONE;
    }
    console.note("what the target wrote after the divergence is not known; forkpoint report says why");
    exit::INPUT
}
