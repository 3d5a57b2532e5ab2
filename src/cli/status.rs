//! `forkpoint status`.

use std::path::PathBuf;

use clap::Args;

use super::args::TextOrJson;
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::rewinding::{absolute, before, undo_dir};
use crate::report::{json, rewind as view, text};
use crate::rewind::{RealDisk, status};

/// Arguments of `forkpoint status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Data directory
    pub target: PathBuf,
    /// Where the undo store was made, if the directory does not say
    #[arg(long, value_name = "DIR")]
    pub undo_dir: Option<PathBuf>,
    /// How to write the answer
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// Runs the command.
pub fn run(args: &StatusArgs, console: &Console) -> Result<u8, Failure> {
    let target = absolute(&args.target)?;
    let undo_dir = undo_dir(args.undo_dir.as_deref(), false)?;
    let found = status(&target, undo_dir.as_deref(), &RealDisk::new()).map_err(|e| before(&e))?;
    Output::Stdout.write(console, |out| match args.format {
        TextOrJson::Json => json::write(&view::Report::new(&target, &found), out),
        TextOrJson::Text => text::render(&view::content(&target, &found), console.text_style(), out),
    })?;
    Ok(exit::DONE)
}
