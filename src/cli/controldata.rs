//! `forkpoint controldata`.

use std::fmt::Display;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::args::TextOrJson;
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::pg::Major;
use crate::report::{controldata, json, timezone};
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
pub fn run(args: &ControldataArgs, console: &Console) -> Result<u8, Failure> {
    let dir = DataDir::open(&args.directory).map_err(failure)?;
    if args.format == TextOrJson::Json {
        let (control, _) = dir.control().map_err(failure)?;
        Output::Stdout.write(console, |out| json::write(&controldata::json(&control), out))?;
        return Ok(exit::DONE);
    }
    // read until its CRC is right, and as it is where nothing can be made of it
    let bytes = dir.control().map(|(_, bytes)| bytes).or_else(|_| dir.control_bytes()).map_err(failure)?;
    let major = dir.major().unwrap_or(Major::V18);
    let text = controldata::text(&bytes, major, &timezone::local()).map_err(|error| {
        failure(format!("the control file of {} is too short: {error}", dir.path().display()))
    })?;
    Output::Stdout.write(console, |out| out.write_all(text.stdout.as_bytes()))?;
    // a closed standard error is no reason to fail
    let _ = io::stderr().write_all(text.stderr.as_bytes());
    Ok(exit::DONE)
}

fn failure(error: impl Display) -> Failure {
    Failure::new(exit::CONTROLDATA_FAILED, error.to_string())
}
