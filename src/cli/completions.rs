//! `forkpoint completions`.

use clap::Args;
use clap_complete::Shell;

use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;

/// Arguments of `forkpoint completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// For which shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Runs the command.
pub fn run(args: &CompletionsArgs, console: &Console) -> Result<u8, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::args::command(), "forkpoint", &mut script);
    Output::Stdout.write(console, |out| out.write_all(&script))?;
    Ok(exit::DONE)
}
