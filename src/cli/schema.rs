//! `forkpoint schema`.

use clap::{Args, ValueEnum};

use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::plan::Plan;
use crate::report::{blocks, dto, json, rewind, snapshots, timelines};

/// Arguments of `forkpoint schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Of which output
    #[arg(value_enum, default_value = "report")]
    pub of: Of,
}

/// An output with a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Of {
    /// `report --format json`
    Report,
    /// `blocks --format json`
    Blocks,
    /// `plan --format json`
    Plan,
    /// `snapshots --format json`
    Snapshots,
    /// `status --format json`
    Status,
    /// `timelines --format json`
    Timelines,
    /// `waldump --format jsonl`, of one line
    Waldump,
}

/// Runs the command.
pub fn run(args: &SchemaArgs, console: &Console) -> Result<u8, Failure> {
    let schema = match args.of {
        Of::Report => dto::schema::<dto::Report<'static>>(),
        Of::Blocks => dto::schema::<blocks::Report<'static>>(),
        Of::Plan => dto::schema::<Plan>(),
        Of::Snapshots => dto::schema::<snapshots::Report>(),
        Of::Status => dto::schema::<rewind::Report>(),
        Of::Timelines => dto::schema::<timelines::Report>(),
        Of::Waldump => crate::dump::json::schema(),
    };
    Output::Stdout.write(console, |out| json::write(&schema, out))?;
    Ok(exit::DONE)
}
