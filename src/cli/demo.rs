//! `forkpoint demo`: real clusters that are part of the program.

use clap::Args;
use tempfile::TempDir;

use super::args::{Format, WalArgs};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use super::report;
use crate::diagnosis::engine;

/// A bundled pair of data directories.
#[derive(Debug)]
pub struct Demo {
    /// What it is called on the command line.
    pub name: &'static str,
    /// One line on what happened to it.
    pub title: &'static str,
    /// A tar file, compressed by zstd, with the directories `target` and `source`.
    pub bytes: &'static [u8],
}

/// All of them; the first is the one that is shown without a name.
pub const DEMOS: &[Demo] = &[
    #[cfg(bundled_pair)]
    Demo {
        name: "failover",
        title: "PostgreSQL 18: the standby was promoted while the old primary still committed",
        bytes: include_bytes!("../../testdata/basic-18/pair.tar.zst"),
    },
];

/// Arguments of `forkpoint demo`.
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Which one; the first if not given
    pub name: Option<String>,
    /// List them
    #[arg(long, conflicts_with = "name")]
    pub list: bool,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
}

/// Runs the command.
pub fn run(args: &DemoArgs, console: &Console) -> Result<u8, Failure> {
    if args.list {
        Output::Stdout.write(console, |out| {
            DEMOS.iter().try_for_each(|demo| writeln!(out, "{:<12} {}", demo.name, demo.title))
        })?;
        return Ok(exit::DONE);
    }
    let demo = match &args.name {
        None => DEMOS.first(),
        Some(name) => DEMOS.iter().find(|demo| demo.name == name),
    };
    let demo = demo.ok_or_else(|| {
        Failure::new(exit::USAGE, "there is no demo of that name. forkpoint demo --list shows them.")
    })?;
    console.catch_signals();
    let place = unpack(demo).map_err(|error| {
        let text =
            format!("the bundled data could not be unpacked: {error}. Set TMPDIR to a directory with room.");
        Failure::new(exit::FAILED, text)
    })?;
    console.note(&format!("{} (bundled data, real servers)", demo.title));
    let wal = WalArgs { wal_archive: Vec::new(), restore_command: None, threads: None };
    let options = wal.options(place.path().join("target"), place.path().join("source"), true);
    let diagnosis = console.watch(|progress| engine::diagnose(&options, progress))?;
    report::write(&diagnosis, None, args.format, Output::Stdout, console)?;
    console.note("for your own: forkpoint report OLD_PRIMARY NEW_PRIMARY");
    Ok(exit::DONE)
}

/// Unpacks a pair into a scratch directory that goes away with the value.
pub fn unpack(demo: &Demo) -> std::io::Result<TempDir> {
    let place = tempfile::Builder::new().prefix("forkpoint-demo-").tempdir()?;
    let stream = ruzstd::decoding::StreamingDecoder::new(demo.bytes).map_err(std::io::Error::other)?;
    tar::Archive::new(stream).unpack(place.path())?;
    Ok(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bundled_pair_unpacks() {
        for demo in DEMOS {
            let place = unpack(demo).unwrap();
            for side in ["target", "source"] {
                let control = std::fs::read(place.path().join(side).join("global/pg_control")).unwrap();
                assert_eq!(control.len(), 8192, "{} {side}", demo.name);
            }
            let path = place.path().to_owned();
            drop(place);
            assert!(!path.exists());
        }
    }
}
