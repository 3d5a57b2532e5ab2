//! `forkpoint timelines`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Format, WalArgs, check_archives};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::report::{blocks_as, style};
use crate::diagnosis::engine;
use crate::report::{json, timelines};

/// Arguments of `forkpoint timelines`.
#[derive(Debug, Args)]
pub struct TimelinesArgs {
    /// Data directories, or archives and other directories that hold history files
    #[arg(required = true, value_name = "DIR")]
    pub directories: Vec<PathBuf>,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
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
    check_archives(&args.wal.wal_archive)?;
    let options = engine::TimelineOptions {
        directories: args.directories.clone(),
        archives: args.wal.wal_archive.clone(),
        restore_command: args.wal.restore_command.clone(),
        threads: args.wal.threads(),
    };
    let found = console.watch(|progress| engine::timelines(&options, progress))?;
    let trees: Vec<_> = found
        .clusters
        .iter()
        .map(|cluster| {
            let histories: Vec<_> =
                cluster.histories.iter().map(|h| (&h.history, h.path.as_path())).collect();
            (cluster.system_identifier, timelines::tree(&histories, &cluster.ends))
        })
        .collect();
    if trees.iter().all(|(_, tree)| tree.roots.is_empty() && tree.homeless.is_empty()) {
        let problem = found.unseen.first().map_or_else(String::new, |u| format!(" ({})", u.what));
        let text = format!(
            "no timeline was found{problem}. Give data directories, or directories that hold history files \
             (00000002.history and the like), such as an archive or pg_wal."
        );
        return Err(Failure::new(exit::INPUT, text));
    }
    let style = style(&output, console);
    output.write(console, |out| match args.format {
        Format::Json => json::write(&timelines::Report::new(&trees, &found.unseen), out),
        format => blocks_as(format, &timelines::content(&trees, &found.unseen), style, out),
    })?;
    Ok(exit::DONE)
}
