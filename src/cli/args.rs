//! Arguments as they are given, and what they mean.

use std::io::ErrorKind;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::console::Console;
use super::exit::{self, Failure};
use super::{
    apply, blocks, completions, controldata, demo, lost, man, plan, report, resume, rewind, schema,
    snapshots, status, timelines, tui, undo, waldump,
};
use crate::diagnosis::engine;
use crate::facts::Unseen;
use crate::pg::SegmentSize;
use crate::pg::control::ControlFile;
use crate::report::words;
use crate::source::walset::{WalIdentity, WalSet};

/// Finds out, offline, why a PostgreSQL server will not rejoin its cluster.
///
/// Reads two data directories, or snapshots of them: the TARGET, an old primary that will not rejoin, and the SOURCE,
/// the new primary. No server has to run. Only apply, resume, undo and rewind write, and only into the TARGET.
#[derive(Debug, Parser)]
#[command(name = "forkpoint", version, max_term_width = 80)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// How to speak.
    #[command(flatten)]
    pub console: ConsoleArgs,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole diagnosis: where the two part, what is lost, what stands in the way, what to do
    Report(report::ReportArgs),
    /// The screen: finding out why, by looking; the same without a subcommand (forkpoint TARGET SOURCE)
    Tui(tui::TuiArgs),
    /// A stored report or plan on the screen, read-only
    View(tui::ViewArgs),
    /// A failed rejoin on bundled data: on the screen, or as text where there is no terminal
    Demo(demo::DemoArgs),
    /// What pg_controldata of the directory's major prints
    Controldata(controldata::ControldataArgs),
    /// The tree of timelines: who forked from whom, where and why
    Timelines(timelines::TimelinesArgs),
    /// Every block that the target changed since the last common checkpoint
    Blocks(blocks::BlocksArgs),
    /// The transactions that a rewind discards, with every row that they changed
    Lost(lost::LostArgs),
    /// What a rewind would do, by reading alone: a summary, and the whole plan as JSON
    Plan(plan::PlanArgs),
    /// Carries a plan out; it can be interrupted at any time, resumed, and undone
    Apply(apply::ApplyArgs),
    /// Completes an interrupted apply
    Resume(resume::ResumeArgs),
    /// Puts a rewound data directory back to what it was
    Undo(undo::UndoArgs),
    /// Whether a data directory is half-way through a rewind, and what can be done now
    Status(status::StatusArgs),
    /// Which of several snapshots of the old primary can follow the source
    Snapshots(snapshots::SnapshotsArgs),
    /// What pg_rewind does, with its options, and a refusal where that would damage the target
    Rewind(rewind::RewindArgs),
    /// The JSON Schema of an output
    Schema(schema::SchemaArgs),
    /// A completion script for a shell
    Completions(completions::CompletionsArgs),
    /// The manual page
    Man(man::ManArgs),
}

/// How to speak.
#[derive(Debug, Clone, Copy, Args)]
pub struct ConsoleArgs {
    /// When to colour; auto heeds NO_COLOR and TERM=dumb
    #[arg(long, global = true, value_enum, value_name = "WHEN", default_value = "auto")]
    pub color: When,
    /// No progress, no notes
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Show everything, not only the first and largest
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// When to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal that can.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Where WAL may be found, and how fast to read it.
#[derive(Debug, Clone, Args)]
pub struct WalArgs {
    /// An archive of WAL, plain or compressed, laid out by archive_command, pgBackRest or Barman; may be repeated
    #[arg(long, value_name = "DIR")]
    pub wal_archive: Vec<PathBuf>,
    /// A command that fetches an archived file into a scratch directory: %f is its name, %p where to put it, %% a %
    #[arg(long, value_name = "CMD", value_parser = restore_command)]
    pub restore_command: Option<String>,
    /// Threads to read WAL with; as many as there are processors if not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
}

/// PostgreSQL takes a command without %f too, and fetches the wrong file with it.
fn restore_command(text: &str) -> Result<String, String> {
    let mut chars = text.chars();
    let (mut name, mut place) = (false, false);
    while let Some(c) = chars.next() {
        if c == '%' {
            match chars.next() {
                Some('f') => name = true,
                Some('p') => place = true,
                _ => {}
            }
        }
    }
    if name && place {
        Ok(text.to_owned())
    } else {
        Err("it needs %f (the file's name) and %p (where to put it), as in 'cp /archive/%f %p'".into())
    }
}

impl WalArgs {
    /// Threads to use.
    pub fn threads(&self) -> usize {
        match self.threads {
            Some(n) => usize::from(n),
            None => std::thread::available_parallelism().map_or(1, usize::from).min(256),
        }
    }

    /// The engine's options for a pair.
    pub fn options(&self, target: PathBuf, source: PathBuf, scan_source: bool) -> engine::Options {
        engine::Options {
            target,
            source,
            archives: self.wal_archive.clone(),
            restore_command: self.restore_command.clone(),
            threads: self.threads(),
            scan_source,
            blocks_only: false,
        }
    }
}

/// Refuses an archive that cannot be listed: what lies in it would count as missing.
pub fn check_archives(archives: &[PathBuf]) -> Result<(), Failure> {
    for archive in archives {
        if let Err(error) = crate::source::archive::listable(archive) {
            let why = match error.kind() {
                ErrorKind::NotFound => "it does not exist".to_owned(),
                ErrorKind::NotADirectory => "it is not a directory".to_owned(),
                ErrorKind::PermissionDenied => "permission denied".to_owned(),
                _ => error.to_string(),
            };
            let text = format!(
                "the archive {} cannot be listed: {why}. Give the directory that holds the archived WAL with \
                 --wal-archive, and run as a user who may read it.",
                words::path(archive)
            );
            return Err(Failure::new(exit::INPUT, text));
        }
    }
    Ok(())
}

/// Archives that hold nothing of a cluster, each noted.
pub fn useless_archives(archives: &[PathBuf], control: &ControlFile, console: &Console) -> Vec<Unseen> {
    let size = SegmentSize::new(control.wal_segment_size).unwrap_or(SegmentSize::DEFAULT);
    let identity =
        WalIdentity { system_identifier: control.system_identifier, magic: None, major: Some(control.major) };
    let useless: Vec<&PathBuf> = console.watch(|progress| {
        let is_of_use =
            |a: &&PathBuf| WalSet::of_archive(a, size, identity, progress.cancel_flag()).is_of_use();
        archives.iter().filter(|a| !is_of_use(a)).collect()
    });
    let unseen: Vec<_> = useless
        .into_iter()
        .map(|archive| Unseen {
            path: Some(archive.clone()),
            what: format!(
                "no WAL or history file of this cluster ({}) lies there",
                control.system_identifier
            ),
            consequence: "this archive was of no use".into(),
        })
        .collect();
    for archive in unseen.iter().filter_map(|u| u.path.as_deref()) {
        console.note(&format!("{} holds no WAL or history file of this cluster", words::path(archive)));
    }
    unseen
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For scripts.
    Json,
    /// For a ticket.
    Markdown,
}

/// How an answer without Markdown is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For a terminal.
    Text,
    /// For scripts.
    Json,
}

/// The command with its exit statuses, as it is parsed, completed and documented.
pub fn command() -> clap::Command {
    use clap::CommandFactory;
    let help = exit::help();
    let in_subcommands = help.clone();
    Cli::command().subcommand(waldump::command()).after_help(help).mut_subcommands(move |sub| {
        match sub.get_name() {
            "schema" | "completions" | "man" => sub,
            _ => sub.after_help(in_subcommands.clone()),
        }
    })
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches;

    use super::*;

    fn parse(line: &str) -> Result<Cli, String> {
        let matches =
            command().try_get_matches_from(line.split(' ')).map_err(|e| format!("{:?} {e}", e.kind()))?;
        Cli::from_arg_matches(&matches).map_err(|e| e.to_string())
    }

    #[test]
    fn the_definition_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn options_of_a_report() {
        let cli = parse(
            "forkpoint report --wal-archive a t --wal-archive b s --threads 3 --no-source-wal -v --format json -o x",
        )
        .unwrap();
        assert!(cli.console.verbose && !cli.console.quiet);
        let Command::Report(args) = cli.command else { panic!() };
        assert_eq!((args.format, args.output), (Format::Json, Some("x".into())));
        assert_eq!(args.wal.wal_archive, [PathBuf::from("a"), PathBuf::from("b")]);
        let options = args.wal.options(args.target, args.source, !args.no_source_wal);
        assert_eq!((options.target, options.source), ("t".into(), "s".into()));
        assert_eq!((options.threads, options.scan_source), (3, false));
    }

    #[test]
    fn what_is_refused() {
        for line in [
            "forkpoint",
            "forkpoint report t",
            "forkpoint report t s --threads 0",
            "forkpoint report t s --format xml",
            "forkpoint report t s --restore-command cp",
            "forkpoint report t s --restore-command %%f%p",
            "forkpoint blocks t s --format markdown",
            "forkpoint timelines",
            "forkpoint snapshots s",
            "forkpoint schema none",
            "forkpoint t s",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
        for line in
            ["forkpoint report t s --restore-command cp=%f=%p", "forkpoint snapshots s a b", "forkpoint demo"]
        {
            assert!(parse(line).is_ok(), "{line}");
        }
    }

    #[test]
    fn help_and_manual_name_every_status() {
        let help = command().render_long_help().to_string();
        let report = command().find_subcommand_mut("report").unwrap().render_help().to_string();
        let mut page = Vec::new();
        man::render(None, &mut page).unwrap();
        let page = String::from_utf8(page).unwrap();
        for (status, meaning) in exit::ALL {
            // help wraps long lines
            let start: String = meaning.chars().take(40).collect();
            assert!(help.contains(&format!("{status:>3}  {start}")), "{help}");
            assert!(report.contains(&format!("{status:>3}  {start}")), "{report}");
            let roff = start.replace('-', "\\-");
            assert!(page.contains(&roff), "{status} {roff} {page}");
        }
    }
}
