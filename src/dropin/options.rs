//! The command line, read as `getopt_long` reads it: options and operands mixed, prefixes of long options, several short
//! options in one word, the last value counts.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// `-D`, `--target-pgdata`.
    pub target: Option<PathBuf>,
    /// `--source-pgdata`.
    pub source: Option<PathBuf>,
    /// `--source-server`.
    pub source_server: Option<OsString>,
    /// `-c`, `--restore-target-wal`.
    pub restore_target_wal: bool,
    /// `-n`, `--dry-run`.
    pub dry_run: bool,
    /// `-N`, `--no-sync`.
    pub no_sync: bool,
    /// `-P`, `--progress`.
    pub progress: bool,
    /// `-R`, `--write-recovery-conf`.
    pub write_recovery_conf: bool,
    /// `--config-file`.
    pub config_file: Option<PathBuf>,
    /// `--debug`.
    pub debug: bool,
    /// `--no-ensure-shutdown`.
    pub no_ensure_shutdown: bool,
    /// `--sync-method`, if it was given.
    pub sync_method: Option<SyncMethod>,
    /// `--bindir`: where `postgres` lies; not an option of pg_rewind.
    pub bindir: Option<PathBuf>,
    /// `--undo-dir`: where the undo store goes; not an option of pg_rewind.
    pub undo_dir: Option<PathBuf>,
    /// `--no-undo`: no undo store; not an option of pg_rewind.
    pub no_undo: bool,
    /// Words that are no options.
    pub operands: Vec<OsString>,
}

/// How files reach the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMethod {
    /// Each file by itself.
    Fsync,
    /// Each filesystem as a whole.
    Syncfs,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// As the C library says it; the name by which the program was called stands before it.
    Getopt(String),
    /// As pg_rewind says it.
    Value(String),
}

/// A long option.
struct Long {
    name: &'static str,
    what: What,
    value: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Help,
    Target,
    WriteRecoveryConf,
    SourcePgdata,
    SourceServer,
    NoEnsureShutdown,
    ConfigFile,
    Version,
    RestoreTargetWal,
    DryRun,
    NoSync,
    Progress,
    Debug,
    SyncMethod,
    Bindir,
    UndoDir,
    NoUndo,
}

const fn flag(name: &'static str, what: What) -> Long {
    Long { name, what, value: false }
}

const fn value(name: &'static str, what: What) -> Long {
    Long { name, what, value: true }
}

/// pg_rewind's, and behind them forkpoint's own.
const LONG: [Long; 17] = [
    flag("help", What::Help),
    value("target-pgdata", What::Target),
    flag("write-recovery-conf", What::WriteRecoveryConf),
    value("source-pgdata", What::SourcePgdata),
    value("source-server", What::SourceServer),
    flag("no-ensure-shutdown", What::NoEnsureShutdown),
    value("config-file", What::ConfigFile),
    flag("version", What::Version),
    flag("restore-target-wal", What::RestoreTargetWal),
    flag("dry-run", What::DryRun),
    flag("no-sync", What::NoSync),
    flag("progress", What::Progress),
    flag("debug", What::Debug),
    value("sync-method", What::SyncMethod),
    value("bindir", What::Bindir),
    value("undo-dir", What::UndoDir),
    flag("no-undo", What::NoUndo),
];

/// Options that pg_rewind does not have: they are taken by their whole names only, so that a prefix of one of pg_rewind's
/// options means what it always meant.
const fn own(what: What) -> bool {
    matches!(what, What::Bindir | What::UndoDir | What::NoUndo)
}

impl Options {
    /// Reads what stands behind the program's name. What was read before a mistake is kept: the target tells in which
    /// major's words to complain.
    ///
    /// # Errors
    /// The first mistake, as pg_rewind reports it.
    pub fn parse(&mut self, args: &[OsString]) -> Result<(), Bad> {
        let mut rest = args.iter();
        while let Some(arg) = rest.next() {
            let bytes = arg.as_bytes();
            if bytes == b"--" {
                self.operands.extend(rest.cloned());
                break;
            } else if let Some(long) = bytes.strip_prefix(b"--") {
                self.long(long, &mut rest)?;
            } else if bytes.len() > 1 && bytes.starts_with(b"-") {
                self.short(bytes.get(1..).unwrap_or_default(), &mut rest)?;
            } else {
                self.operands.push(arg.clone());
            }
        }
        Ok(())
    }

    fn long<'a>(&mut self, text: &[u8], rest: &mut impl Iterator<Item = &'a OsString>) -> Result<(), Bad> {
        let mut halves = text.splitn(2, |b| *b == b'=');
        let name = halves.next().unwrap_or_default();
        let given = halves.next().map(|v| OsString::from_vec(v.to_vec()));
        let exact = LONG.iter().find(|l| l.name.as_bytes() == name);
        let found = if let Some(exact) = exact {
            exact
        } else {
            let mut matching = LONG
                .iter()
                .filter(|l| !own(l.what) && l.name.as_bytes().starts_with(name))
                .collect::<Vec<_>>();
            match (matching.pop(), matching.is_empty()) {
                (Some(only), true) => only,
                (Some(last), false) => {
                    matching.push(last);
                    let all: Vec<_> = matching.iter().map(|l| format!(" '--{}'", l.name)).collect();
                    let whole = String::from_utf8_lossy(text);
                    let text = format!("option '--{whole}' is ambiguous; possibilities:{}", all.concat());
                    return Err(Bad::Getopt(text));
                }
                (None, _) => {
                    let whole = String::from_utf8_lossy(text);
                    return Err(Bad::Getopt(format!("unrecognized option '--{whole}'")));
                }
            }
        };
        let value = match (found.value, given) {
            (false, Some(_)) => {
                return Err(Bad::Getopt(format!("option '--{}' doesn't allow an argument", found.name)));
            }
            (false, None) => OsString::new(),
            (true, Some(given)) => given,
            (true, None) => match rest.next() {
                Some(next) => next.clone(),
                None => {
                    return Err(Bad::Getopt(format!("option '--{}' requires an argument", found.name)));
                }
            },
        };
        self.take(found.what, value)
    }

    fn short<'a>(
        &mut self,
        letters: &[u8],
        rest: &mut impl Iterator<Item = &'a OsString>,
    ) -> Result<(), Bad> {
        let mut letters = letters.iter();
        while let Some(letter) = letters.next() {
            let what = match letter {
                b'c' => What::RestoreTargetWal,
                b'n' => What::DryRun,
                b'N' => What::NoSync,
                b'P' => What::Progress,
                b'R' => What::WriteRecoveryConf,
                b'D' => {
                    let attached = letters.as_slice();
                    if !attached.is_empty() {
                        return self.take(What::Target, OsStr::from_bytes(attached).to_owned());
                    }
                    return match rest.next() {
                        Some(next) => self.take(What::Target, next.clone()),
                        None => Err(Bad::Getopt("option requires an argument -- 'D'".into())),
                    };
                }
                other => {
                    let shown = String::from_utf8_lossy(&[*other]).into_owned();
                    return Err(Bad::Getopt(format!("invalid option -- '{shown}'")));
                }
            };
            self.take(what, OsString::new())?;
        }
        Ok(())
    }

    fn take(&mut self, what: What, value: OsString) -> Result<(), Bad> {
        match what {
            // they count as the first word only; here pg_rewind prints its hint
            What::Help | What::Version => return Err(Bad::Value(String::new())),
            What::Target => self.target = Some(value.into()),
            What::SourcePgdata => self.source = Some(value.into()),
            What::SourceServer => self.source_server = Some(value),
            What::ConfigFile => self.config_file = Some(value.into()),
            What::WriteRecoveryConf => self.write_recovery_conf = true,
            What::NoEnsureShutdown => self.no_ensure_shutdown = true,
            What::RestoreTargetWal => self.restore_target_wal = true,
            What::DryRun => self.dry_run = true,
            What::NoSync => self.no_sync = true,
            What::Progress => self.progress = true,
            What::Debug => self.debug = true,
            What::Bindir => self.bindir = Some(value.into()),
            What::UndoDir => self.undo_dir = Some(value.into()),
            What::NoUndo => self.no_undo = true,
            What::SyncMethod => {
                self.sync_method = match value.as_bytes() {
                    b"fsync" => Some(SyncMethod::Fsync),
                    b"syncfs" => Some(SyncMethod::Syncfs),
                    other => {
                        let other = String::from_utf8_lossy(other);
                        return Err(Bad::Value(format!("unrecognized sync method: {other}")));
                    }
                };
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, Bad> {
        let mut options = Options::default();
        options.parse(&line.split(' ').map(OsString::from).collect::<Vec<_>>()).map(|()| options)
    }

    #[test]
    fn spellings() {
        let all = parse("-cnNPR -Dt --source-pgdata=s --deb --no-ensure x --config-file f -- -y").unwrap();
        assert!(all.restore_target_wal && all.dry_run && all.no_sync && all.progress && all.debug);
        assert!(all.write_recovery_conf && all.no_ensure_shutdown);
        assert_eq!((all.target, all.source), (Some("t".into()), Some("s".into())));
        assert_eq!(all.config_file, Some("f".into()));
        assert_eq!(all.operands, ["x", "-y"]);
        assert_eq!(parse("-D t x").unwrap().operands, ["x"]);
        assert_eq!(parse("-nDt x").unwrap().operands, ["x"]);
        let last = parse("-D a --target-pgdata b -nD c").unwrap();
        assert!(last.dry_run && last.target == Some("c".into()));
        assert_eq!(parse("--sync-method=syncfs").unwrap().sync_method, Some(SyncMethod::Syncfs));
    }

    #[test]
    fn mistakes() {
        let getopt = |line: &str| match parse(line) {
            Err(Bad::Getopt(text)) => text,
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(getopt("--not-a-valid-option"), "unrecognized option '--not-a-valid-option'");
        assert_eq!(getopt("--undo x"), "unrecognized option '--undo'");
        assert_eq!(
            getopt("--source=x"),
            "option '--source=x' is ambiguous; possibilities: '--source-pgdata' '--source-server'"
        );
        assert_eq!(getopt("--dry-run=1"), "option '--dry-run' doesn't allow an argument");
        assert_eq!(getopt("--source-pgdata"), "option '--source-pgdata' requires an argument");
        assert_eq!(getopt("-nD"), "option requires an argument -- 'D'");
        assert_eq!(getopt("-nx"), "invalid option -- 'x'");
        assert_eq!(parse("--sync-method=x"), Err(Bad::Value("unrecognized sync method: x".into())));
        assert_eq!(parse("-n --help"), Err(Bad::Value(String::new())));
    }
}
