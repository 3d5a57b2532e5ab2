//! `forkpoint man`.

use std::io::{self, Write};

use clap::Args;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;

/// Arguments of `forkpoint man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// Of which subcommand; of the program if not given
    pub subcommand: Option<String>,
}

/// Runs the command.
pub fn run(args: &ManArgs, console: &Console) -> Result<u8, Failure> {
    let mut page = Vec::new();
    render(args.subcommand.as_deref(), &mut page).map_err(|error| {
        let text = format!("{error}. forkpoint --help lists the subcommands.");
        Failure::new(exit::USAGE, text)
    })?;
    Output::Stdout.write(console, |out| out.write_all(&page))?;
    Ok(exit::DONE)
}

/// Writes the page of the program or of a subcommand.
pub fn render(subcommand: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
    let mut command = super::args::command();
    command.build();
    let command = match subcommand {
        None => command,
        Some(name) => {
            let found = command.get_subcommands().find(|sub| sub.get_name() == name).cloned();
            let found = found.ok_or_else(|| io::Error::other(format!("there is no subcommand {name}")))?;
            found.display_name(format!("forkpoint-{name}"))
        }
    };
    let has_subcommands = command.has_subcommands();
    let title =
        subcommand.map_or_else(|| "FORKPOINT".into(), |name| format!("FORKPOINT-{}", name.to_uppercase()));
    let source = concat!("forkpoint ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command).title(title).source(source).manual("User Commands");
    man.render_title(out)?;
    man.render_name_section(out)?;
    man.render_synopsis_section(out)?;
    man.render_description_section(out)?;
    man.render_options_section(out)?;
    if has_subcommands {
        man.render_subcommands_section(out)?;
    }
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (status, meaning) in exit::ALL {
        roff.control("TP", []);
        roff.text([bold(status.to_string())]);
        roff.text([roman(meaning)]);
    }
    roff.control("PP", []);
    roff.text([roman(exit::CONTROLDATA)]);
    roff.control("SH", ["ENVIRONMENT"]);
    for (name, meaning) in [
        ("NO_COLOR", "if set and not empty, no colours unless --color=always"),
        ("PGDATA", "where waldump looks for WAL last"),
        ("TZ", "the time zone that controldata and waldump print times in"),
    ] {
        roff.control("TP", []);
        roff.text([bold(name)]);
        roff.text([roman(meaning)]);
    }
    roff.to_writer(out)
}
