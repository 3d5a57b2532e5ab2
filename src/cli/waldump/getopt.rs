//! The command line as `getopt_long` reads it for pg_waldump: abbreviated long options, options behind operands.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction};

/// An option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Id {
    Details,
    Block,
    End,
    Follow,
    Fork,
    Fullpage,
    Help,
    Limit,
    Path,
    Quiet,
    Relation,
    Rmgr,
    Start,
    Timeline,
    Xid,
    Version,
    Stats,
    SaveFullpage,
    Names,
    Format,
    FollowHistory,
    WalArchive,
    Where,
    Threads,
    /// Of the program, without a meaning here.
    Console,
}

/// Whether an option takes a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    Nothing,
    Value(&'static str),
    Perhaps(&'static str),
}

struct Entry {
    id: Id,
    long: &'static str,
    short: Option<char>,
    takes: Takes,
    help: &'static str,
}

const fn entry(id: Id, long: &'static str, short: Option<char>, takes: Takes, help: &'static str) -> Entry {
    Entry { id, long, short, takes, help }
}

/// pg_waldump's options in the order of its table, which decides how messages list them.
const PEERS: [Entry; 18] = [
    entry(
        Id::Details,
        "bkp-details",
        Some('b'),
        Takes::Nothing,
        "Output detailed information about backup blocks",
    ),
    entry(
        Id::Block,
        "block",
        Some('B'),
        Takes::Value("N"),
        "With --relation, only records that modify block N",
    ),
    entry(Id::End, "end", Some('e'), Takes::Value("RECPTR"), "Stop reading at WAL location RECPTR"),
    entry(Id::Follow, "follow", Some('f'), Takes::Nothing, "Keep retrying after reaching the end of WAL"),
    entry(
        Id::Fork,
        "fork",
        Some('F'),
        Takes::Value("FORK"),
        "Only records that modify blocks in fork main, fsm, vm or init",
    ),
    entry(Id::Fullpage, "fullpage", Some('w'), Takes::Nothing, "Only records with a full-page image"),
    entry(Id::Help, "help", Some('?'), Takes::Nothing, "Show this help, then exit"),
    entry(Id::Limit, "limit", Some('n'), Takes::Value("N"), "Number of records to show"),
    entry(
        Id::Path,
        "path",
        Some('p'),
        Takes::Value("PATH"),
        "Directory with WAL segments, or with a pg_wal that has them (default: the current directory, ./pg_wal, $PGDATA/pg_wal); several are searched in turn. Or one tar archive (.tar, .tar.gz, .tgz, .tar.lz4, .tar.zst), as from 19 on",
    ),
    entry(Id::Quiet, "quiet", Some('q'), Takes::Nothing, "No output except for errors"),
    entry(
        Id::Relation,
        "relation",
        Some('R'),
        Takes::Value("T/D/R"),
        "Only records that modify blocks in relation T/D/R",
    ),
    entry(
        Id::Rmgr,
        "rmgr",
        Some('r'),
        Takes::Value("RMGR"),
        "Only records of this resource manager, or of several; \"list\" lists their names",
    ),
    entry(Id::Start, "start", Some('s'), Takes::Value("RECPTR"), "Start reading at WAL location RECPTR"),
    entry(
        Id::Timeline,
        "timeline",
        Some('t'),
        Takes::Value("TLI"),
        "Timeline to read (default: 1, or that of STARTSEG)",
    ),
    entry(Id::Xid, "xid", Some('x'), Takes::Value("XID"), "Only records of transaction XID"),
    entry(Id::Version, "version", Some('V'), Takes::Nothing, "Show the version, then exit"),
    entry(
        Id::Stats,
        "stats",
        Some('z'),
        Takes::Perhaps("record"),
        "Statistics instead of records; --stats=record by operation",
    ),
    entry(
        Id::SaveFullpage,
        "save-fullpage",
        None,
        Takes::Value("DIR"),
        "Save full-page images to DIR, which must be new or empty",
    ),
];

const OWN: [Entry; 6] = [
    entry(
        Id::Names,
        "names",
        None,
        Takes::Perhaps("DATADIR"),
        "Put the names of relations behind their numbers, from the catalogs of a data directory (default: the one that the WAL directory is in)",
    ),
    entry(
        Id::Format,
        "format",
        None,
        Takes::Value("FORMAT"),
        "text, or jsonl for one JSON object per record",
    ),
    entry(
        Id::FollowHistory,
        "follow-history",
        None,
        Takes::Nothing,
        "Follow the history of the newest timeline, or of --timeline, over its switches",
    ),
    entry(
        Id::WalArchive,
        "wal-archive",
        None,
        Takes::Value("DIR"),
        "An archive of WAL, plain or compressed; may be repeated",
    ),
    entry(
        Id::Where,
        "where",
        None,
        Takes::Value("EXPR"),
        "Only records for which EXPR holds: comparisons of rmgr, op, rel, fork, block, xid, top, lsn, len, fpi and origin with = != < <= > >= in, joined by and, or, not and parentheses",
    ),
    entry(
        Id::Threads,
        "threads",
        None,
        Takes::Value("N"),
        "Threads to decode with; as many as there are processors if not given",
    ),
];

/// Options of the program that other subcommands heed.
const CONSOLE: [Entry; 2] = [
    entry(Id::Console, "color", None, Takes::Value("WHEN"), ""),
    entry(Id::Console, "verbose", None, Takes::Nothing, ""),
];

/// What stands on the command line, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An option and its value.
    Given(Id, Option<OsString>),
    /// What `getopt_long` complains of, without the program's name.
    Bad(String),
}

/// Options and operands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// The options.
    pub events: Vec<Event>,
    /// The rest.
    pub operands: Vec<OsString>,
}

impl CommandLine {
    /// The values of an option.
    pub fn values(&self, wanted: Id) -> impl Iterator<Item = &OsStr> {
        self.events.iter().filter_map(move |event| match event {
            Event::Given(id, Some(value)) if *id == wanted => Some(value.as_os_str()),
            _ => None,
        })
    }

    /// Reads the arguments, without the program's name.
    pub fn parse(arguments: &[OsString]) -> Self {
        let mut line = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let bytes = argument.as_bytes();
            if bytes == b"--" {
                line.operands.extend(rest.cloned());
                break;
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                line.long(long, &mut rest);
            } else if bytes.len() > 1 && bytes[0] == b'-' {
                line.short(bytes.get(1..).unwrap_or_default(), &mut rest);
            } else {
                line.operands.push(argument.clone());
            }
        }
        line
    }

    fn long<'a>(&mut self, text: &[u8], rest: &mut impl Iterator<Item = &'a OsString>) {
        let (name, value) = match text.iter().position(|&b| b == b'=') {
            Some(at) => (text.get(..at).unwrap_or_default(), text.get(at + 1..)),
            None => (text, None),
        };
        let shown = String::from_utf8_lossy(name);
        let event = match find(&shown) {
            Err(Event::Bad(_)) if value.is_some() && candidates(&shown).is_empty() => {
                Event::Bad(format!("unrecognized option '--{}'", String::from_utf8_lossy(text)))
            }
            Err(bad) => bad,
            Ok(entry) => match (entry.takes, value) {
                (Takes::Nothing, Some(_)) => {
                    Event::Bad(format!("option '--{}' doesn't allow an argument", entry.long))
                }
                (_, Some(value)) => Event::Given(entry.id, Some(OsString::from_vec(value.to_vec()))),
                (Takes::Nothing | Takes::Perhaps(_), None) => Event::Given(entry.id, None),
                (Takes::Value(_), None) => match rest.next() {
                    Some(value) => Event::Given(entry.id, Some(value.clone())),
                    None => Event::Bad(format!("option '--{}' requires an argument", entry.long)),
                },
            },
        };
        self.events.push(event);
    }

    fn short<'a>(&mut self, cluster: &[u8], rest: &mut impl Iterator<Item = &'a OsString>) {
        for (n, &byte) in cluster.iter().enumerate() {
            let letter = char::from(byte);
            // -V is only known as the first argument, and -? is getopt's own sign for a mistake
            let known =
                PEERS.iter().find(|e| e.short == Some(letter) && !matches!(e.id, Id::Help | Id::Version));
            let Some(entry) = known else {
                self.events.push(Event::Bad(format!("invalid option -- '{letter}'")));
                continue;
            };
            if !matches!(entry.takes, Takes::Value(_)) {
                self.events.push(Event::Given(entry.id, None));
                continue;
            }
            let attached = cluster.get(n + 1..).filter(|value| !value.is_empty());
            let value =
                attached.map(|value| OsString::from_vec(value.to_vec())).or_else(|| rest.next().cloned());
            self.events.push(match value {
                Some(value) => Event::Given(entry.id, Some(value)),
                None => Event::Bad(format!("option requires an argument -- '{letter}'")),
            });
            return;
        }
    }
}

fn candidates(name: &str) -> Vec<&'static Entry> {
    let of_peer: Vec<_> = PEERS.iter().filter(|e| e.long.starts_with(name)).collect();
    if of_peer.is_empty() {
        OWN.iter().chain(&CONSOLE).filter(|e| e.long.starts_with(name)).collect()
    } else {
        of_peer
    }
}

/// The option of this name or unambiguous beginning; pg_waldump's own come first, so that what it understands keeps
/// its meaning.
fn find(name: &str) -> Result<&'static Entry, Event> {
    if let Some(exact) = PEERS.iter().chain(&OWN).chain(&CONSOLE).find(|e| e.long == name) {
        return Ok(exact);
    }
    match candidates(name)[..] {
        [one] => Ok(one),
        [] => Err(Event::Bad(format!("unrecognized option '--{name}'"))),
        ref several => {
            let names: Vec<_> = several.iter().map(|e| format!("'--{}'", e.long)).collect();
            Err(Event::Bad(format!("option '--{name}' is ambiguous; possibilities: {}", names.join(" "))))
        }
    }
}

/// The same options for the help, the manual page and completions.
pub fn arguments() -> Vec<Arg> {
    let option = |entry: &Entry| {
        let mut arg = Arg::new(entry.long).long(entry.long).help(entry.help);
        if let Some(short) = entry.short {
            arg = arg.short(short);
        }
        match entry.takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            Takes::Value(name) => arg.value_name(name).action(ArgAction::Append),
            Takes::Perhaps(name) => {
                arg.value_name(name).num_args(0..=1).require_equals(true).action(ArgAction::Append)
            }
        }
    };
    let mut arguments: Vec<_> = PEERS.iter().chain(&OWN).map(option).collect();
    arguments.push(Arg::new("STARTSEG").help("Segment to start with"));
    arguments.push(Arg::new("ENDSEG").help("Last segment; STARTSEG if not given"));
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> CommandLine {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        CommandLine::parse(&words)
    }

    fn given(id: Id, value: &str) -> Event {
        Event::Given(id, Some(value.into()))
    }

    #[test]
    fn as_getopt_long() {
        let line = parse("seg -bn5 -p dir --start 0/3 --end=0/4 --st=record --stats -z end -- -x");
        let expected = [
            Event::Given(Id::Details, None),
            given(Id::Limit, "5"),
            given(Id::Path, "dir"),
            given(Id::Start, "0/3"),
            given(Id::End, "0/4"),
        ];
        assert_eq!(line.events[..5], expected);
        assert_eq!(
            line.events[5],
            Event::Bad("option '--st' is ambiguous; possibilities: '--start' '--stats'".into())
        );
        assert_eq!(line.events[6..], [Event::Given(Id::Stats, None), Event::Given(Id::Stats, None)]);
        assert_eq!(line.operands, ["seg", "end", "-x"]);
        // an abbreviation that pg_waldump understands keeps its meaning
        assert_eq!(parse("--fol").events, [Event::Given(Id::Follow, None)]);
        assert_eq!(parse("--follow-h").events, [Event::Given(Id::FollowHistory, None)]);
        for (text, bad) in [
            ("--nix", "unrecognized option '--nix'"),
            ("--nix=3", "unrecognized option '--nix=3'"),
            ("-k", "invalid option -- 'k'"),
            ("-e", "option requires an argument -- 'e'"),
            ("--end", "option '--end' requires an argument"),
            ("--quiet=1", "option '--quiet' doesn't allow an argument"),
            ("--fo", "option '--fo' is ambiguous; possibilities: '--follow' '--fork'"),
        ] {
            assert_eq!(parse(text).events, [Event::Bad(bad.into())], "{text}");
        }
    }
}
