//! `forkpoint demo`: real clusters that are part of the program.

use std::path::PathBuf;

use clap::Args;
use tempfile::TempDir;

use super::args::{Format, WalArgs, check_archives};
use super::console::Console;
use super::demo_rewind;
use super::exit::{self, Failure};
use super::output::Output;
use super::report;
use super::tui::{self, ScreenArgs};
use crate::diagnosis::engine;
use crate::tui::executor::RealExecutor;

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
    Demo {
        name: "failover",
        title: "the standby was promoted while the old primary still committed",
        bytes: include_bytes!("../../testdata/basic-18/pair.tar.zst"),
    },
    Demo {
        name: "switchover",
        title: "the old primary was stopped cleanly first: it only has to be told to follow",
        bytes: include_bytes!("../../testdata/switchover/pair.tar.zst"),
    },
    Demo {
        name: "crash",
        title: "as failover, but the old primary was killed; nothing is started to find its end",
        bytes: include_bytes!("../../testdata/crashed-target/pair.tar.zst"),
    },
    Demo {
        name: "archive",
        title: "the WAL that tells lies in an archive only, compressed in five ways",
        bytes: include_bytes!("../../testdata/recycled-archive/pair.tar.zst"),
    },
    Demo {
        name: "twins",
        title: "two standbys promoted on their own, both timeline 2: pg_rewind sees nothing",
        bytes: include_bytes!("../../testdata/twins/pair.tar.zst"),
    },
    Demo {
        name: "interrupted",
        title: "a pg_rewind that failed half-way",
        bytes: include_bytes!("../../testdata/half-rewound/pair.tar.zst"),
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
    /// Write the report instead of opening the screen
    #[arg(long, value_enum)]
    pub format: Option<Format>,
    /// How the screen is drawn.
    #[command(flatten)]
    pub screen: ScreenArgs,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
}

/// Runs the command.
pub fn run(args: &DemoArgs, console: &Console) -> Result<u8, Failure> {
    if args.list {
        Output::Stdout.write(console, |out| {
            let all = DEMOS.iter().map(|demo| (demo.name, demo.title));
            all.chain([(demo_rewind::NAME, demo_rewind::TITLE)])
                .try_for_each(|(name, title)| writeln!(out, "{name:<12} {title}"))
        })?;
        return Ok(exit::DONE);
    }
    if args.name.as_deref() == Some(demo_rewind::NAME) {
        return demo_rewind::run(console);
    }
    let demo = match &args.name {
        None => DEMOS.first(),
        Some(name) => DEMOS.iter().find(|demo| demo.name == name),
    };
    let demo = demo.ok_or_else(|| {
        let names: Vec<_> = DEMOS.iter().map(|demo| demo.name).chain([demo_rewind::NAME]).collect();
        let given = args.name.as_deref().unwrap_or_default();
        Failure::new(exit::USAGE, format!("there is no demo {given:?}. There are: {}.", names.join(", ")))
    })?;
    console.catch_signals();
    let place = unpack(demo).map_err(|error| {
        let text =
            format!("the bundled data could not be unpacked: {error}. Set TMPDIR to a directory with room.");
        Failure::new(exit::FAILED, text)
    })?;
    console.note(&format!("{} (bundled data of real PostgreSQL 18 servers)", demo.title));
    check_archives(&args.wal.wal_archive)?;
    let wal_archive = args.wal.wal_archive.iter().map(std::path::absolute).collect::<Result<Vec<_>, _>>();
    let wal_archive = wal_archive.map_err(|error| Failure::new(exit::INPUT, error.to_string()))?;
    let folder = tui::folder()?;
    // a scratch directory's name would only be in the way of the reader
    std::env::set_current_dir(place.path()).map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
    let archive = PathBuf::from("archive");
    let mut wal = args.wal.clone();
    wal.wal_archive = wal_archive;
    if archive.is_dir() {
        wal.wal_archive.push(archive);
    }
    let options = wal.options("target".into(), "source".into(), true);
    if args.format.is_none() && tui::on_a_terminal() {
        let what = crate::tui::What::Pair(Box::new(options));
        // beside the target, in the scratch directory, which need not last
        let executor = RealExecutor {
            threads: usize::from(super::apply::THREADS),
            undo_dir: place.path().canonicalize().ok(),
        };
        return tui::open(what, args.screen, console, (folder, executor));
    }
    let diagnosis = console.watch(|progress| engine::diagnose(&options, progress))?;
    let format = args.format.unwrap_or(Format::Text);
    report::write(&diagnosis, &report::More::default(), format, Output::Stdout, console)?;
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
            let wal =
                WalArgs { wal_archive: vec![path.join("archive")], restore_command: None, threads: Some(2) };
            let options = wal.options(path.join("target"), path.join("source"), true);
            let diagnosis = engine::diagnose(&options, &Progress::default()).unwrap();

            let value = serde_json::to_value(dto::Report::from(&diagnosis)).unwrap();
            let errors: Vec<_> = validator.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(errors.is_empty(), "{}: {errors:#?}", demo.name);
            let expected = match demo.name {
                "switchover" => "follow",
                "twins" | "interrupted" => "re-clone",
                _ => "rewind",
            };
            assert_eq!(value["verdict"]["action"], expected, "{}", demo.name);

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
