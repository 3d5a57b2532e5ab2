//! `forkpoint plan`.

use std::path::PathBuf;

use clap::Args;

use super::args::{TextOrJson, WalArgs, check_archives};
use super::console::Console;
use super::exit::{self, Failure};
use super::output::Output;
use crate::diagnosis::engine::DiagnoseError;
use crate::plan::keep::Pattern;
use crate::plan::options::TablespaceMapping;
use crate::plan::path::PlanPath;
use crate::plan::{self, Plan, PlanError, PlanOptions};
use crate::report::doc::{Block, Inline, Style};
use crate::report::{json, plan as view, text};

/// Arguments of `forkpoint plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// Data directory of the old primary, which would be rewound
    pub target: PathBuf,
    /// Data directory of the new primary, stopped, or a snapshot of it
    pub source: PathBuf,
    /// Where WAL lies.
    #[command(flatten)]
    pub wal: WalArgs,
    /// What is asked for.
    #[command(flatten)]
    pub wishes: Wishes,
    /// Write the plan to a file, whole or not at all, never inside either directory; the summary goes to standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The summary, or the whole plan, on standard output
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// What is asked for beyond pg_rewind's rules.
#[derive(Debug, Clone, Args)]
pub struct Wishes {
    /// Keep the target's file or directory, a path within it, with * ? [] ** (postgresql.conf, certs/*.pem); may be repeated
    #[arg(long, value_name = "PATTERN")]
    pub keep: Vec<Pattern>,
    /// Make the result a standby that connects with this string
    #[arg(long, value_name = "CONNINFO")]
    pub standby: Option<String>,
    /// Where a tablespace goes that only the source has; may be repeated
    #[arg(long, value_name = "OLD=NEW", value_parser = mapping)]
    pub tablespace_mapping: Vec<TablespaceMapping>,
    /// Compare all relation files instead of reading the target's WAL: slower, and the way where that is gone or damaged
    #[arg(long)]
    pub compare: bool,
    /// The source is an atomic snapshot of a running server
    #[arg(long)]
    pub source_snapshot: bool,
}

/// `OLD=NEW`, as pg_basebackup takes it: `\=` is an equals sign of a path.
fn mapping(text: &str) -> Result<TablespaceMapping, String> {
    let mut halves = [String::new(), String::new()];
    let mut at = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' if chars.peek() == Some(&'=') => halves[at].extend(chars.next()),
            '=' if at == 0 => at = 1,
            '=' => return Err("it has more than one =; write one within a path as \\=".into()),
            c => halves[at].push(c),
        }
    }
    let [old, new] = halves.map(PathBuf::from);
    if at == 0 || !old.is_absolute() || !new.is_absolute() {
        return Err("give OLD=NEW, both absolute paths".into());
    }
    Ok(TablespaceMapping { old: PlanPath::from(old.as_path()), new: PlanPath::from(new.as_path()) })
}

impl Wishes {
    /// The plan's options.
    ///
    /// # Errors
    /// An archive has no absolute path.
    pub fn options(&self, wal: &WalArgs) -> Result<PlanOptions, Failure> {
        let archive = |path: &PathBuf| {
            let absolute = path.canonicalize().map_err(|e| {
                Failure::new(
                    exit::INPUT,
                    format!("{}: {e}. Give a directory with --wal-archive.", path.display()),
                )
            })?;
            Ok(PlanPath::from(absolute.as_path()))
        };
        Ok(PlanOptions {
            keep: self.keep.clone(),
            standby: self.standby.clone(),
            tablespace_mapping: self.tablespace_mapping.clone(),
            compare: self.compare,
            source_snapshot: self.source_snapshot,
            archives: wal.wal_archive.iter().map(archive).collect::<Result<_, Failure>>()?,
            restore_command: wal.restore_command.clone(),
            pg_rewind_compatible: false,
        })
    }
}

impl From<PlanError> for Failure {
    fn from(error: PlanError) -> Self {
        let message = error.to_string();
        let status = match error {
            PlanError::Diagnose(error) => return error.into(),
            PlanError::Cancelled => exit::INTERRUPTED,
            PlanError::NotNeeded { .. } => exit::DONE,
            PlanError::Keep { .. } => exit::USAGE,
            PlanError::Impossible { .. } | PlanError::Path(_) => exit::REFUSED,
            PlanError::Read { .. } => exit::INPUT,
        };
        Self::new(status, message)
    }
}

/// Runs the command.
pub fn run(args: &PlanArgs, console: &Console) -> Result<u8, Failure> {
    let file = Output::new(args.output.as_deref(), &[&args.target, &args.source])?;
    check_archives(&args.wal.wal_archive)?;
    let options = args.wishes.options(&args.wal)?;
    let sides = (args.target.as_path(), args.source.as_path());
    let made = console.watch(|progress| plan::make(sides, &options, args.wal.threads(), progress));
    let plan = match made {
        Ok((_, plan)) => plan,
        Err(PlanError::NotNeeded { line, next_steps }) => {
            not_needed(&line, &next_steps, console)?;
            return Ok(exit::DONE);
        }
        Err(PlanError::Cancelled | PlanError::Diagnose(DiagnoseError::Cancelled)) => {
            return Err(Failure::new(exit::INTERRUPTED, "interrupted"));
        }
        Err(error) => return Err(error.into()),
    };
    let refused = plan.refusals().next().is_some();
    let to_file = !file.is_stdout();
    if to_file {
        file.write(console, |out| json::write(&plan, out))?;
    }
    show(&plan, args.format, to_file, console)?;
    Ok(if refused { exit::REFUSED } else { exit::DONE })
}

fn show(plan: &Plan, format: TextOrJson, in_file: bool, console: &Console) -> Result<(), Failure> {
    match format {
        TextOrJson::Json if in_file => Ok(()),
        TextOrJson::Json => Output::Stdout.write(console, |out| json::write(plan, out)),
        TextOrJson::Text => Output::Stdout.write(console, |out| {
            text::render(&view::content(plan, console.detail()), console.text_style(), out)
        }),
    }
}

fn not_needed(line: &str, next_steps: &[String], console: &Console) -> Result<(), Failure> {
    let line = Inline::from(format!("Nothing has to be rewound. {line}"));
    let mut blocks = vec![Block::Verdict { sign: '✓', style: Style::Good, line }];
    if !next_steps.is_empty() {
        let items = next_steps.iter().map(|s| crate::report::content::prose(s)).collect();
        blocks.push(Block::List { numbered: true, items });
    }
    Output::Stdout.write(console, |out| text::render(&blocks, console.text_style(), out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        let both = |text: &str| mapping(text).map(|m| (m.old.to_string(), m.new.to_string()));
        assert_eq!(both("/a=/b"), Ok(("/a".into(), "/b".into())));
        assert_eq!(both(r"/a\=b=/c"), Ok(("/a=b".into(), "/c".into())));
        for bad in ["", "/a", "/a=b", "a=/b", "/a=/b=/c", "="] {
            assert!(both(bad).is_err(), "{bad}");
        }
    }
}
