//! `forkpoint rewind`, and the program when it is called `pg_rewind`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use clap::Args;

use super::console::Console;
use super::exit;
use crate::dropin::options::Bad;
use crate::dropin::{Log, Options, control, help, run as rewind};

/// The name under which the program is pg_rewind.
const PEER: &str = "pg_rewind";

/// Arguments of `forkpoint rewind`: pg_rewind's, read as pg_rewind reads them.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct RewindArgs {
    /// pg_rewind's options; see forkpoint rewind --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    pub args: Vec<OsString>,
}

/// The words behind `rewind`, if that is what is asked for, and the program's name in messages.
pub fn called(args: &[OsString]) -> Option<(&'static str, &[OsString])> {
    let name = args.first().and_then(|a| Path::new(a).file_name())?;
    if name == PEER {
        return Some((PEER, args.get(1..).unwrap_or_default()));
    }
    let (first, rest) = args.get(1..)?.split_first()?;
    (first == "rewind").then_some(("forkpoint rewind", rest))
}

/// Runs the command and gives its exit status.
pub fn run(program: &str, args: &[OsString], console: &Console) -> u8 {
    match args.first().map(|a| a.as_bytes()) {
        Some(b"--help" | b"-?") => return print(&help::help(program)),
        Some(b"--version" | b"-V") => return print(&help::version()),
        _ => {}
    }
    let mut out = io::stderr();
    let mut log = Log::new(program, &mut out);
    let mut options = Options::default();
    let parsed = options.parse(args);
    if let Some(major) = options.target.as_deref().and_then(control::major_of) {
        log.speak(major);
    }
    if options.debug {
        log.show_debug();
    }
    let done = match parsed {
        Err(Bad::Getopt(text)) => {
            log.raw(&format!("{program}: {text}"));
            Err(log.usage(""))
        }
        Err(Bad::Value(text)) if text.is_empty() => Err(log.usage("")),
        Err(Bad::Value(text)) => Err(log.fatal(&text)),
        Ok(()) => {
            let threads = std::thread::available_parallelism().map_or(1, usize::from).min(256);
            console.watch(|progress| rewind(&options, threads, progress, &mut log))
        }
    };
    done.map_or_else(|ended| ended.0, |()| exit::DONE)
}

fn print(text: &str) -> u8 {
    // whoever closes the pipe has read enough
    let _ = io::stdout().write_all(text.as_bytes());
    exit::DONE
}
