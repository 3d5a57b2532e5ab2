//! `forkpoint report`.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use clap::Args;

use super::args::{Format, WalArgs, check_archives, useless_archives};
use super::before;
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::diagnosis::Diagnosis;
use crate::diagnosis::engine;
use crate::diagnosis::log::{self, LogMatch};
use crate::lost::{Filter, LostError, lost};
use crate::report::doc::Block;
use crate::report::lost::Summary;
use crate::report::text::TextStyle;
use crate::report::{content, dto, json, markdown, text, words};

/// Of a log, the end is read: what matters came last.
const LOG_LIMIT: u64 = 16 << 20;

/// Arguments of `forkpoint report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Data directory of the old primary (or a snapshot of it) that will not rejoin, or the undo store of its rewind
    pub target: PathBuf,
    /// Data directory of the new primary (or a snapshot of it)
    pub source: PathBuf,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// How to write the report
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// Write it to a file, whole or not at all, never inside either directory
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Exit with the verdict as status (see below)
    #[arg(long)]
    pub exit_code: bool,
    /// Read a server's log, or one message of it (- for standard input), and say whether the directories bear it out
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Collect the rows that are lost, too, and sum them up by table; reads the target's WAL twice more
    #[arg(long)]
    pub rows: bool,
    /// Do not read the source's WAL after the divergence
    #[arg(long)]
    pub no_source_wal: bool,
}

/// Runs the command.
pub fn run(args: ReportArgs, console: &Console) -> Result<u8, Failure> {
    let output = Output::new(args.output.as_deref(), &[&args.target, &args.source])?;
    check_archives(&args.wal.wal_archive)?;
    let from_terminal = args.log.as_deref() == Some(Path::new("-")) && io::stdin().is_terminal();
    if from_terminal {
        console.note("paste the log, then Ctrl-D");
    }
    let log = args.log.as_deref().map(read_log).transpose()?;
    let target = before::target(args.target, "report", &args.source, console)?;
    let options = args.wal.options(target.path.clone(), args.source, !args.no_source_wal);
    let (mut diagnosis, rows) = console.watch(|progress| -> Result<_, Failure> {
        let diagnosis = engine::diagnose(&options, progress)?;
        let rows = if args.rows { Some(summary(&options, &diagnosis, progress)?) } else { None };
        Ok((diagnosis, rows))
    })?;
    let useless = useless_archives(&options.archives, &diagnosis.facts.target.control, console);
    diagnosis.facts.unseen.extend(useless);
    let matches = log.map(|log| log::explain(&log, Some(&diagnosis)));
    let more = More { log: matches.as_deref(), rows: rows.as_ref() };
    write(&diagnosis, &more, args.format, output, console)?;
    let status = if args.exit_code { exit::of_verdict } else { exit::of_answer };
    Ok(status(&diagnosis.verdict))
}

fn summary(
    options: &engine::Options,
    diagnosis: &Diagnosis,
    progress: &engine::Progress,
) -> Result<Summary, LostError> {
    let found = lost(options, &diagnosis.facts, &Filter::default(), progress)?;
    Ok(Summary::new(&found, &found.counts()?))
}

/// What a report has only if it was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct More<'a> {
    /// What was found in a server's log.
    pub log: Option<&'a [LogMatch]>,
    /// The sum of lost rows.
    pub rows: Option<&'a Summary>,
}

/// Writes a report.
pub fn write(
    diagnosis: &Diagnosis,
    more: &More<'_>,
    format: Format,
    output: Output,
    console: &Console,
) -> Result<(), Failure> {
    let style = style(&output, console);
    output.write(console, |out| {
        if format == Format::Json {
            return json::write(&dto::Report::from(diagnosis).with_log(more.log).with_rows(more.rows), out);
        }
        let mut blocks = content::report(diagnosis, console.detail());
        if let Some(log) = more.log {
            // what the user came with is answered first
            blocks.splice(1..1, content::log(log));
        }
        blocks.extend(more.rows.into_iter().flat_map(Summary::blocks));
        blocks_as(format, &blocks, style, out)
    })
}

/// Text without colours and with all letters for a file.
pub fn style(output: &Output, console: &Console) -> TextStyle {
    if output.is_stdout() { console.text_style() } else { TextStyle::default() }
}

/// Text or Markdown.
pub fn blocks_as(format: Format, blocks: &[Block], style: TextStyle, out: &mut dyn Write) -> io::Result<()> {
    if format == Format::Markdown { markdown::render(blocks, out) } else { text::render(blocks, style, out) }
}

fn read_log(path: &Path) -> Result<String, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        if path == Path::new("-") {
            io::stdin().lock().take(LOG_LIMIT).read_to_end(&mut content)?;
            return Ok(content);
        }
        let mut file = File::open(path)?;
        let size = file.metadata()?.len();
        if size > LOG_LIMIT {
            file.seek(SeekFrom::Start(size - LOG_LIMIT))?;
        }
        file.take(LOG_LIMIT).read_to_end(&mut content)?;
        Ok(content)
    };
    let content = read().map_err(|error| {
        let text = format!(
            "{}: {error}. Give a readable file with --log, or - for standard input.",
            words::path(path)
        );
        Failure::new(exit::INPUT, text)
    })?;
    Ok(String::from_utf8_lossy(&content).into_owned())
}
