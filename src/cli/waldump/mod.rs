//! `forkpoint waldump`: pg_waldump of every major, and what it does not have.

mod getopt;
mod images;
mod names;
mod options;
mod place;
mod scan;
mod voice;

use std::ffi::OsString;
use std::io::{self, ErrorKind, Write};
use std::sync::Arc;

use clap::Command as Subcommand;

use self::getopt::CommandLine;
use self::images::Images;
use self::names::Catalog;
use self::options::Options;
use self::place::Place;
use self::voice::{End, Voice};
use super::args::{ConsoleArgs, When};
use super::console::Console;
use super::exit;
use crate::dump::Stats;
use crate::dump::clock::Clock;
use crate::dump::json::Json;
use crate::dump::read::{Reader, message};
use crate::dump::run::{Job, Outcome, run as show};
use crate::dump::text::{Style, Text};
use crate::dump::view::{Target, View};
use crate::names::Names;
use crate::pg::{Lsn, Major, SegmentSize};
use crate::report::timezone;
use crate::wal::Record;
use crate::wal::record::Parts;
use crate::wal::rmgr;

/// Status of every failure, as pg_waldump's.
const FAILED: u8 = 1;

/// The subcommand for the help, the manual page and completions. Its arguments are read as pg_waldump reads them.
pub fn command() -> Subcommand {
    Subcommand::new("waldump")
        .about("The records of WAL, as pg_waldump of the WAL's major shows them, and more")
        .override_usage("forkpoint waldump [OPTION]... [STARTSEG [ENDSEG]]")
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(getopt::arguments())
        .arg(clap::Arg::new("verbose").long("verbose").hide(true).action(clap::ArgAction::SetTrue))
}

/// `-q`, `-v`, `-qv` …
fn is_cluster(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|flags| !flags.is_empty() && flags.bytes().all(|b| b"qv".contains(&b)))
}

/// The arguments of the subcommand, if it is the one that is called.
pub fn arguments(all: &[OsString]) -> Option<&[OsString]> {
    let mut rest = all.get(1..)?;
    loop {
        let (first, behind) = rest.split_first()?;
        rest = match first.to_str()? {
            "waldump" => return Some(behind),
            "--color" => behind.get(1..)?,
            "--quiet" | "--verbose" => behind,
            other if other.starts_with("--color=") || is_cluster(other) => behind,
            _ => return None,
        };
    }
}

/// Runs the command.
pub fn run(arguments: &[OsString]) -> u8 {
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--help" | "-?") => return say(&command().render_long_help().to_string()),
        Some("--version" | "-V") => return say(concat!("forkpoint ", env!("CARGO_PKG_VERSION"), "\n")),
        _ => {}
    }
    let line = CommandLine::parse(arguments);
    let voice = Voice { major: place::major(&line) };
    if arguments.is_empty() {
        return voice.end(&End::Usage(Some("no arguments specified".into()), None));
    }
    match prepare(&line, voice) {
        Ok(Some(work)) => work.run(),
        Ok(None) => exit::DONE,
        Err(end) => voice.end(&end),
    }
}

fn say(text: &str) -> u8 {
    // whoever closes the pipe has read enough
    let _ = io::stdout().write_all(text.as_bytes());
    exit::DONE
}

struct Work {
    options: Options,
    place: Place,
    voice: Voice,
    names: Option<Arc<Names>>,
}

/// `None`: it is done.
fn prepare(line: &CommandLine, voice: Voice) -> Result<Option<Work>, End> {
    let mut options = Options::new(line, voice.major)?;
    if options.list {
        options::builtin().for_each(|id| {
            say(&format!("{}\n", rmgr::name(id)));
        });
        return Ok(None);
    }
    let place = place::find(&options, voice)?;
    if let Some(dir) = &options.save {
        images::prepare(dir, &place.roots)?;
    }
    let catalog = Catalog::new(options.data.clone(), &place.roots);
    if let Some(text) = &options.filter {
        options.selection.filter = Some(catalog.filter(text)?);
    }
    let names = if options.names { Some(catalog.load().map_err(End::Fatal)?) } else { None };
    Ok(Some(Work { options, place, voice, names }))
}

impl Work {
    fn run(&self) -> u8 {
        let console = Console::new(ConsoleArgs { color: When::Never, quiet: true, verbose: false });
        console.catch_signals();
        let options = &self.options;
        let format = self.place.format;
        let zone = timezone::local();
        let view = || match options.stats {
            _ if options.quiet => View::Quiet,
            Some(_) => View::Stats(Box::default()),
            None if options.json => View::Json(Box::new(Json::new(format.major, self.names.clone()))),
            None => {
                let style = Style { details: options.details, names: self.names.clone() };
                View::Text(Box::new(Text::new(format.major, style, Clock::new(zone.clone()))))
            }
        };
        let mut out = Output {
            voice: self.voice,
            start: self.place.start,
            size: format.segment_size,
            json: options.json,
            images: options.save.clone().map(|dir| Images::new(dir, self.place.timeline)),
            failure: None,
        };
        // images are written in the order of the records
        let alone = options.save.is_some() || options.quiet && options.selection.needs_no_parts();
        let threads = if alone { 1 } else { self.threads() };
        let cancelled = || console.interrupted();
        let outcome = self.place.with_files(|files| {
            let job = Job {
                reader: Reader { files, format, end: self.place.end },
                start: self.place.start,
                selection: &options.selection,
                limit: options.limit,
                follow: options.follow,
                threads,
                view: &view,
                cancelled: &cancelled,
            };
            show(&job, &mut out)
        });
        if let Some(failure) = out.failure {
            return match failure {
                Failure::Words(text) => self.voice.end(&End::Fatal(text)),
                Failure::NobodyReads => exit::DONE,
            };
        }
        self.finish(&outcome, console.interrupted())
    }

    fn threads(&self) -> usize {
        let all = || std::thread::available_parallelism().map_or(1, usize::from);
        self.options.threads.unwrap_or_else(all)
    }

    /// What is said at the end, and the status.
    fn finish(&self, outcome: &Outcome, interrupted: bool) -> u8 {
        let (voice, format) = (self.voice, self.place.format);
        let fatal = |text: String| voice.end(&End::Fatal(text));
        if let Some(text) = outcome.trouble.as_ref().and_then(|t| t.fatal(format.major)) {
            return fatal(text);
        }
        let wrong = outcome.trouble.as_ref().and_then(|t| message(t, format.major, format.segment_size));
        let Some(first) = outcome.first else {
            if interrupted {
                return exit::DONE;
            }
            let start = voice.lsn(self.place.start);
            return fatal(match wrong.filter(|_| format.major >= Major::V19) {
                Some(wrong) => format!("could not find a valid record after {start}: {wrong}"),
                None => format!("could not find a valid record after {start}"),
            });
        };
        if let (Some(by_record), false) = (self.options.stats, self.options.quiet) {
            let none = Stats::default();
            self.statistics(outcome.stats.as_ref().unwrap_or(&none), by_record, first);
        }
        if interrupted {
            return exit::DONE;
        }
        if let Some(wrong) = wrong {
            return fatal(format!("error in WAL record at {}: {wrong}", voice.lsn(outcome.last)));
        }
        if outcome.broken > 0 {
            voice::error(&format!("records whose inside does not add up: {}", outcome.broken));
            return FAILED;
        }
        exit::DONE
    }

    fn statistics(&self, stats: &Stats, by_record: bool, first: Lsn) {
        let major = self.place.format.major;
        if !self.options.json {
            say(&stats.table(by_record, first, major));
            return;
        }
        for (rmid, info, count) in stats.rows(by_record, major) {
            let mut row = serde_json::json!({
                "rmgr": rmgr::name(rmid),
                "count": count.count,
                "record_bytes": count.record_bytes,
                "image_bytes": count.image_bytes,
            });
            if let (Some(info), Some(row)) = (info, row.as_object_mut()) {
                row.insert("op".into(), rmgr::op_name(rmid, info, major).into());
            }
            say(&format!("{row}\n"));
        }
    }
}

/// Why the output ends early.
enum Failure {
    /// Whoever reads it has seen enough.
    NobodyReads,
    /// Something cannot be written.
    Words(String),
}

/// Standard output.
struct Output {
    voice: Voice,
    start: Lsn,
    size: SegmentSize,
    json: bool,
    images: Option<Images>,
    /// Why nothing more is wanted.
    failure: Option<Failure>,
}

impl Target for &mut Output {
    fn write(&mut self, bytes: &mut Vec<u8>) -> bool {
        let result = io::stdout().lock().write_all(bytes);
        bytes.clear();
        match result {
            Ok(()) => true,
            Err(e) => {
                self.failure = Some(match e.kind() {
                    ErrorKind::BrokenPipe => Failure::NobodyReads,
                    _ => Failure::Words(format!("could not write to standard output: {e}")),
                });
                false
            }
        }
    }

    fn found(&mut self, first: Lsn) {
        if first == self.start || self.size.offset(self.start) == 0 {
            return;
        }
        let skipped = first.since(self.start) as u32;
        let text = format!(
            "first record is after {}, at {}, skipping over {skipped} {}",
            self.voice.lsn(self.start),
            self.voice.lsn(first),
            if skipped == 1 { "byte" } else { "bytes" }
        );
        if self.voice.major >= Major::V17 || self.json {
            voice::info(&text);
        } else {
            say(&format!("{text}\n"));
        }
    }

    #[inline]
    fn images(&mut self, record: &Record<'_>, parts: &Parts) -> bool {
        let Some(images) = &self.images else { return true };
        match images.save(record, parts) {
            Ok(()) => true,
            Err(text) => {
                self.failure = Some(Failure::Words(text));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_programs_options_may_come_before() {
        let found = |line: &str| {
            let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
            arguments(&words).map(<[OsString]>::to_vec)
        };
        for line in [
            "f waldump -z",
            "f -q waldump -z",
            "f -qv --color never waldump -z",
            "f --color=auto --quiet waldump -z",
        ] {
            assert_eq!(found(line), Some(vec!["-z".into()]), "{line}");
        }
        for line in
            ["f", "f report waldump s", "f q waldump", "f -- waldump", "f -x waldump", "f --color waldump"]
        {
            assert_eq!(found(line), None, "{line}");
        }
    }
}
