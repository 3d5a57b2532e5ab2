//! `forkpoint snapshots`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Format, WalArgs, check_archives, useless_archives};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::report::{blocks_as, style};
use crate::diagnosis::{engine, snapshots};
use crate::report::{json, snapshots as report, words};

/// Arguments of `forkpoint snapshots`.
#[derive(Debug, Args)]
pub struct SnapshotsArgs {
    /// Data directory of the new primary (or a snapshot of it)
    pub source: PathBuf,
    /// Snapshots or backups of the old primary, unpacked
    #[arg(required = true, value_name = "DIR")]
    pub snapshots: Vec<PathBuf>,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// How to write the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Write it to a file, whole or not at all, never inside one of the directories
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: SnapshotsArgs, console: &Console) -> Result<u8, Failure> {
    let mut directories: Vec<&Path> = args.snapshots.iter().map(PathBuf::as_path).collect();
    directories.push(&args.source);
    let output = Output::new(args.output.as_deref(), &directories)?;
    check_archives(&args.wal.wal_archive)?;
    let options = snapshots::Options {
        threads: args.wal.threads(),
        source: args.source,
        snapshots: args.snapshots,
        archives: args.wal.wal_archive,
        restore_command: args.wal.restore_command,
    };
    let mut judgement = console.watch(|progress| snapshots::judge(&options, progress))?;
    if let Ok(control) = engine::control(&options.source) {
        judgement.unseen.extend(useless_archives(&options.archives, &control, console));
    }
    let style = style(&output, console);
    output.write(console, |out| match args.format {
        Format::Json => json::write(&report::Report::from(&judgement), out),
        format => blocks_as(format, &report::content(&judgement, console.detail()), style, out),
    })?;
    match options.snapshots.iter().find(|path| !path.is_dir()) {
        Some(path) => Err(Failure::new(
            exit::INPUT,
            format!("{} is no directory. Give unpacked snapshots of the old primary.", words::path(path)),
        )),
        None => Ok(exit::DONE),
    }
}
