//! What the options mean, judged in their order as pg_waldump does.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::getopt::{CommandLine, Event, Id};
use super::scan;
use super::voice::End;
use crate::dump::Selection;
use crate::pg::{Fork, Lsn, Major, RelFile, TimelineId};
use crate::wal::rmgr;

/// Most threads that may be asked for.
const MOST_THREADS: usize = 256;

/// The options.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--bkp-details`
    pub details: bool,
    /// `--end`
    pub end: Option<Lsn>,
    /// `--follow`
    pub follow: bool,
    /// `--limit`
    pub limit: Option<u64>,
    /// `--path`, each
    pub paths: Vec<PathBuf>,
    /// `--quiet`
    pub quiet: bool,
    /// `--start`
    pub start: Option<Lsn>,
    /// `--timeline`
    pub timeline: Option<TimelineId>,
    /// `--stats`: true by record.
    pub stats: Option<bool>,
    /// `--save-fullpage`
    pub save: Option<PathBuf>,
    /// `--rmgr`, `--xid`, `--relation`, `--block`, `--fork`, `--fullpage`
    pub selection: Selection,
    /// `--rmgr=list`
    pub list: bool,
    /// `--names`
    pub names: bool,
    /// Its data directory
    pub data: Option<PathBuf>,
    /// `--format jsonl`
    pub json: bool,
    /// `--follow-history`
    pub follow_history: bool,
    /// `--wal-archive`, each
    pub archives: Vec<PathBuf>,
    /// `--where`
    pub filter: Option<String>,
    /// `--threads`
    pub threads: Option<usize>,
    /// First and last segment.
    pub operands: Vec<OsString>,
}

fn usage(text: impl Into<String>) -> End {
    End::Usage(Some(text.into()), None)
}

impl Options {
    /// Judges the command line.
    ///
    /// # Errors
    /// The first thing that is wrong, in the words of the major's program.
    pub fn new(line: &CommandLine, major: Major) -> Result<Self, End> {
        let mut options = Self { operands: line.operands.clone(), ..Self::default() };
        for event in &line.events {
            match event {
                Event::Bad(text) => return Err(End::Option(text.clone())),
                Event::Given(id, value) => options.take(*id, value.as_deref(), major)?,
            }
            if options.list {
                return Ok(options);
            }
        }
        if options.selection.block.is_some() && options.selection.relation.is_none() {
            return Err(usage("option -B/--block requires option -R/--relation to be specified"));
        }
        if let Some(third) = options.operands.get(2) {
            let third = third.to_string_lossy();
            return Err(usage(format!("too many command-line arguments (first is \"{third}\")")));
        }
        Ok(options)
    }

    fn take(&mut self, id: Id, value: Option<&OsStr>, major: Major) -> Result<(), End> {
        let bytes = value.unwrap_or_default().as_bytes();
        let text = String::from_utf8_lossy(bytes);
        let from_15 = major >= Major::V15;
        let position = |which: &str| {
            let at = scan::lsn(bytes).map(Lsn);
            at.map(|lsn| Some(lsn).filter(|lsn| lsn.is_valid())).ok_or_else(|| {
                usage(if from_15 {
                    format!("invalid WAL location: \"{text}\"")
                } else {
                    format!("could not parse {which} WAL location \"{text}\"")
                })
            })
        };
        match id {
            Id::Details => self.details = true,
            Id::Block => {
                let block = scan::number(bytes).filter(|block| *block != u32::MAX);
                self.selection.block =
                    Some(block.ok_or_else(|| usage(format!("invalid block number: \"{text}\"")))?);
            }
            Id::End => self.end = position("end")?,
            Id::Follow => self.follow = true,
            Id::Fork => {
                let fork = Fork::ALL.into_iter().find(|fork| fork.name() == text);
                self.selection.fork =
                    Some(fork.ok_or_else(|| usage(format!("invalid fork name: \"{text}\"")))?);
            }
            Id::Fullpage => self.selection.images = true,
            // only as the first argument
            Id::Help | Id::Version => return Err(End::Usage(None, None)),
            Id::Limit => {
                let limit = scan::number(bytes).ok_or_else(|| {
                    usage(if from_15 {
                        format!("invalid value \"{text}\" for option -n/--limit")
                    } else {
                        format!("could not parse limit \"{text}\"")
                    })
                })?;
                self.limit = u64::try_from(limit as i32).ok().filter(|limit| *limit > 0);
            }
            Id::Path => self.paths.push(value.unwrap_or_default().into()),
            Id::Quiet => self.quiet = true,
            Id::Relation => {
                let numbers = scan::three(bytes).filter(|[spc, _, rel]| *spc != 0 && *rel != 0);
                let Some([spc, db, rel]) = numbers else {
                    return Err(End::Usage(
                        Some(format!("invalid relation specification: \"{text}\"")),
                        Some("Expecting \"tablespace OID/database OID/relation filenode\"."),
                    ));
                };
                self.selection.relation = Some(RelFile { spc, db, rel });
            }
            Id::Rmgr => self.rmgr(&text, major)?,
            Id::Start => self.start = position("start")?,
            Id::Timeline => self.timeline = Some(timeline(bytes, &text, major)?),
            Id::Xid => {
                let xid = scan::number(bytes).ok_or_else(|| {
                    usage(if from_15 {
                        format!("invalid transaction ID specification: \"{text}\"")
                    } else {
                        format!("could not parse \"{text}\" as a transaction ID")
                    })
                })?;
                self.selection.xid = Some(xid);
            }
            Id::Stats => {
                self.stats = Some(match (value, &*text) {
                    (None, _) | (_, "rmgr") => false,
                    (_, "record") => true,
                    _ if from_15 => {
                        return Err(usage(format!("unrecognized value for option --stats: {text}")));
                    }
                    _ => return Err(usage(format!("unrecognized argument to --stats: {text}"))),
                });
            }
            Id::SaveFullpage => self.save = value.map(PathBuf::from),
            Id::Names => {
                self.names = true;
                self.data = value.map(PathBuf::from);
            }
            Id::Format => {
                self.json = match &*text {
                    "text" => false,
                    "jsonl" => true,
                    _ => return Err(usage(format!("unrecognized value for option --format: {text}"))),
                };
            }
            Id::FollowHistory => self.follow_history = true,
            Id::WalArchive => self.archives.push(value.unwrap_or_default().into()),
            Id::Where => self.filter = Some(text.into_owned()),
            Id::Threads => {
                let threads = text.parse().ok().filter(|n| (1..=MOST_THREADS).contains(n));
                let wrong = || usage(format!("--threads must be in range 1..{MOST_THREADS}"));
                self.threads = Some(threads.ok_or_else(wrong)?);
            }
            Id::Console => {}
        }
        Ok(())
    }

    fn rmgr(&mut self, text: &str, major: Major) -> Result<(), End> {
        if text.eq_ignore_ascii_case("list") {
            self.list = true;
            return Ok(());
        }
        if let Some(number) = text.strip_prefix("custom")
            && let Some(number) =
                scan::number(number.as_bytes().get(..number.len().min(3)).unwrap_or_default())
            && major >= Major::V15
        {
            let custom = u8::try_from(number).ok().filter(|id| *id >= rmgr::id::CUSTOM);
            let missing = || usage(format!("custom resource manager \"{text}\" does not exist"));
            self.selection.rmgrs.push(custom.ok_or_else(missing)?);
            return Ok(());
        }
        if major < Major::V15 {
            // the last one counts
            self.selection.rmgrs.clear();
        }
        match builtin().find(|id| rmgr::name(*id).eq_ignore_ascii_case(text)) {
            Some(id) => self.selection.rmgrs.push(id),
            None => return Err(usage(format!("resource manager \"{text}\" does not exist"))),
        }
        Ok(())
    }
}

/// Numbers of the built-in resource managers.
pub fn builtin() -> impl Iterator<Item = u8> {
    (0..rmgr::id::CUSTOM).filter(|id| rmgr::is_valid(*id, Major::V19))
}

fn timeline(bytes: &[u8], text: &str, major: Major) -> Result<TimelineId, End> {
    if major < Major::V16 {
        return scan::number(bytes).ok_or_else(|| {
            usage(if major == Major::V15 {
                format!("invalid timeline specification: \"{text}\"")
            } else {
                format!("could not parse timeline \"{text}\"")
            })
        });
    }
    match scan::any_base(bytes) {
        None => Err(usage(format!("invalid value \"{text}\" for option -t/--timeline"))),
        Some(Ok(value @ 1..=0xFFFF_FFFF)) => Ok(value as TimelineId),
        Some(_) => Err(usage(format!("-t/--timeline must be in range 1..{}", u32::MAX))),
    }
}
