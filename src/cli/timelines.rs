//! `forkpoint timelines`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::Format;
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::report::{blocks_as, style};
use crate::diagnosis::engine;
use crate::report::{json, timelines};

/// Arguments of `forkpoint timelines`.
#[derive(Debug, Args)]
pub struct TimelinesArgs {
    /// Data directories
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// An archive of WAL, plain or compressed, laid out by archive_command, pgBackRest or Barman; may be repeated
    #[arg(long, value_name = "DIR")]
    pub wal_archive: Vec<PathBuf>,
    /// How to write the tree
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Write it to a file, whole or not at all, never inside one of the directories
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &TimelinesArgs, console: &Console) -> Result<u8, Failure> {
    let directories: Vec<&Path> = args.directories.iter().map(PathBuf::as_path).collect();
    let output = Output::new(args.output.as_deref(), &directories)?;
    let found = engine::timelines(&args.directories, &args.wal_archive)?;
    let histories: Vec<_> = found.histories.iter().map(|h| (&h.history, h.path.as_path())).collect();
    let tree = timelines::tree(&histories, &found.ends);
    let style = style(&output, console);
    output.write(console, |out| match args.format {
        Format::Json => json::write(&timelines::Report::new(&tree, &found.unseen), out),
        format => blocks_as(format, &timelines::content(&tree, &found.unseen), style, out),
    })?;
    Ok(exit::DONE)
}
