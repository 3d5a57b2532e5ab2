//! `forkpoint blocks`.

use std::path::PathBuf;

use clap::Args;

use super::args::{TextOrJson, WalArgs, check_archives, useless_archives};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::diagnosis::engine;
use crate::report::{blocks, json};

/// Arguments of `forkpoint blocks`.
#[derive(Debug, Args)]
pub struct BlocksArgs {
    /// Data directory of the old primary (or a snapshot of it) that will not rejoin
    pub target: PathBuf,
    /// Data directory of the new primary (or a snapshot of it)
    pub source: PathBuf,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// Only this relation: a name, with or without schema and database, a file number, or tablespace/database/number
    #[arg(long, value_name = "NAME")]
    pub relation: Option<String>,
    /// How to write them
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
    /// Write them to a file, whole or not at all, never inside either directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: BlocksArgs, console: &Console) -> Result<u8, Failure> {
    let output = Output::new(args.output.as_deref(), &[&args.target, &args.source])?;
    check_archives(&args.wal.wal_archive)?;
    let filter = args.relation.map(blocks::Filter::new);
    let options = engine::Options { blocks_only: true, ..args.wal.options(args.target, args.source, false) };
    let facts = &console.watch(|progress| engine::facts(&options, progress))?;
    useless_archives(&options.archives, &facts.target.control, console);
    if let Some(filter) = filter.as_ref().filter(|f| facts.target_scan.is_some() && !f.known(facts)) {
        let text = format!(
            "No changed relation is called {filter}. Try its file number, or forkpoint blocks without --relation."
        );
        return Err(Failure::new(exit::INPUT, text));
    }
    output.write(console, |out| match args.format {
        TextOrJson::Json => json::write(&blocks::Report::new(facts, filter.as_ref()), out),
        TextOrJson::Text => blocks::text(facts, filter.as_ref(), console.text_style().width, out),
    })?;
    if facts.target_scan.is_none() {
        console.note("the target's WAL could not be read; forkpoint report says why");
        return Ok(exit::INPUT);
    }
    Ok(exit::DONE)
}
