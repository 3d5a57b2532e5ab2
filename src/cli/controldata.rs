//! `forkpoint controldata`.

use std::path::PathBuf;

use clap::Args;

use super::args::TextOrJson;
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::report::{dto, json, words};
use crate::source::datadir::DataDir;

/// Arguments of `forkpoint controldata`.
#[derive(Debug, Args)]
pub struct ControldataArgs {
    /// A data directory
    pub directory: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// Runs the command.
pub fn run(_args: &ControldataArgs, _console: &Console) -> Result<u8, Failure> {
    Err(Failure::new(
        exit::CONTROLDATA_FAILED,
        "the control file's reader is not part of this build. Take a newer one.",
    ))
}
