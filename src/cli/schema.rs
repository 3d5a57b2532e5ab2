//! `forkpoint schema`.

use clap::{Args, ValueEnum};

use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::report::{blocks, dto, json, lost, snapshots, timelines};

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
    /// A line of `lost --format jsonl`
    Lost,
    /// `snapshots --format json`
    Snapshots,
    /// `timelines --format json`
    Timelines,
}

/// Runs the command.
pub fn run(args: &SchemaArgs, console: &Console) -> Result<u8, Failure> {
    let schema = match args.of {
        Of::Report => dto::schema::<dto::Report<'static>>(),
        Of::Blocks => dto::schema::<blocks::Report<'static>>(),
        Of::Lost => dto::schema::<lost::jsonl::Line>(),
        Of::Snapshots => dto::schema::<snapshots::Report>(),
        Of::Timelines => dto::schema::<timelines::Report>(),
    };
    Output::Stdout.write(console, |out| json::write(&schema, out))?;
    Ok(exit::DONE)
}
