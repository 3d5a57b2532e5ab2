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

#[cfg(all(test, bundled_pair))]
mod tests {
    use super::*;
    use crate::diagnosis::engine::Progress;
    use crate::report::text::{TextStyle, display_width, render};
    use crate::report::{content, dto, words};

    #[test]
    fn every_bundled_pair_has_a_report() {
        let schema = serde_json::to_value(dto::schema::<dto::Report<'_>>()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        assert!(!DEMOS.is_empty());
        for demo in DEMOS {
            let place = unpack(demo).unwrap();
            let path = place.path().to_owned();
            let wal = WalArgs { wal_archive: Vec::new(), restore_command: None, threads: Some(2) };
            let options = wal.options(path.join("target"), path.join("source"), true);
            let diagnosis = engine::diagnose(&options, &Progress::default()).unwrap();

            let value = serde_json::to_value(dto::Report::from(&diagnosis)).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", demo.name);
            assert!(value["transactions"].as_array().is_some_and(|all| !all.is_empty()), "{}", demo.name);

            let mut text = Vec::new();
            let blocks = content::report(&diagnosis, content::Detail { all: true });
            render(&blocks, TextStyle::default(), &mut text).unwrap();
            for line in String::from_utf8(text).unwrap().lines() {
                assert!(display_width(line) <= 80 && !line.chars().any(words::unsafe_char), "{line:?}");
            }
            drop(place);
            assert!(!path.exists());
        }
    }
}
