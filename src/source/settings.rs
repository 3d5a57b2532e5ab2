//! The settings that matter for a rejoin, as the configuration files say.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nom::branch::alt;
use nom::bytes::complete::{take_while, take_while_m_n, take_while1};
use nom::character::complete::char;
use nom::combinator::{eof, opt, recognize};
use nom::sequence::{pair, preceded, terminated};
use nom::{IResult, Parser};

use crate::pg::Major;

/// How deep configuration files may include each other (`CONF_FILE_MAX_DEPTH`).
const MAX_DEPTH: usize = 10;
/// How many files are read, before the rest is left out.
const MAX_FILES: usize = 1000;
/// How much of one file is read (bytes).
const MAX_BYTES: u64 = 4 << 20;
/// What stands in the place of a password.
pub const MASK: &str = "********";

/// The settings that are kept.
const KEPT: [&str; 44] = [
    "archive_cleanup_command",
    "archive_command",
    "archive_library",
    "archive_mode",
    "config_file",
    "data_directory",
    "full_page_writes",
    "hba_file",
    "hot_standby",
    "ident_file",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "max_slot_wal_keep_size",
    "max_wal_senders",
    "max_wal_size",
    "max_worker_processes",
    "min_wal_size",
    "primary_conninfo",
    "primary_slot_name",
    "promote_trigger_file",
    "recovery_end_command",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_inclusive",
    "recovery_target_lsn",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
    "recovery_target_xid",
    "restore_command",
    "standby_mode",
    "summarize_wal",
    "sync_replication_slots",
    "synchronous_commit",
    "synchronous_standby_names",
    "trigger_file",
    "wal_compression",
    "wal_keep_segments",
    "wal_keep_size",
    "wal_level",
    "wal_log_hints",
    "wal_segment_size",
    "wal_sync_method",
];

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Lower case.
    pub name: String,
    /// Unquoted; passwords in connection strings are masked when the file is read.
    pub value: String,
    /// The file.
    pub path: PathBuf,
    /// Line number, from 1.
    pub line: u32,
}

/// Settings of one side: the last assignment of each name counts, as the server reads them
/// (postgresql.conf with its includes, then postgresql.auto.conf; to 11 recovery.conf too).
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Settings that matter here and are set, each name once.
    pub set: Vec<Setting>,
    /// postgresql.conf is there.
    pub has_postgresql_conf: bool,
    /// Files or lines that could not be read, each a sentence.
    pub problems: Vec<String>,
}

impl Settings {
    /// The value that counts, if it is set anywhere.
    pub fn get(&self, name: &str) -> Option<&Setting> {
        self.set.iter().rev().find(|s| s.name == name)
    }

    /// The server takes read-only queries during recovery, the default.
    pub fn hot_standby(&self) -> bool {
        let off = |value: &str| matches!(value.to_ascii_lowercase().as_str(), "off" | "false" | "no" | "0");
        !self.get("hot_standby").is_some_and(|s| off(&s.value))
    }

    /// Reads the configuration of the data directory `dir`. Nothing is written. What a server was given on its
    /// command line, or in files elsewhere that only that line names, is not seen.
    ///
    /// recovery.conf is read to 11; from 12 on it is a mistake (see `Leftovers`) and says nothing.
    pub fn read(dir: &Path, major: impl Into<Option<Major>>) -> Self {
        let major = major.into();
        let mut reader = Reader { settings: Self::default(), stack: Vec::new(), files: 0 };
        let main = dir.join("postgresql.conf");
        reader.settings.has_postgresql_conf = main.symlink_metadata().is_ok();
        reader.file(&main, false);
        reader.file(&dir.join("postgresql.auto.conf"), false);
        if major.is_none_or(|m| m < Major::V12) {
            reader.file(&dir.join("recovery.conf"), false);
        }
        reader.settings
    }

    fn add(&mut self, setting: Setting) {
        self.set.retain(|s| s.name != setting.name);
        self.set.push(setting);
    }
}

struct Reader {
    settings: Settings,
    /// The files that are being read, for relative names and loops: as named, and canonical.
    stack: Vec<(PathBuf, PathBuf)>,
    files: usize,
}

impl Reader {
    fn problem(&mut self, path: &Path, line: Option<u32>, what: &str) {
        let line = line.map(|l| format!(", line {l}")).unwrap_or_default();
        self.settings.problems.push(format!("{}{line}: {what}", path.display()));
    }

    /// Reads a file; a missing one is a problem where `required`.
    fn file(&mut self, path: &Path, required: bool) {
        if self.stack.len() > MAX_DEPTH {
            self.problem(path, None, "configuration files include each other more than 10 deep; not read");
            return;
        }
        if self.files >= MAX_FILES {
            if self.files == MAX_FILES {
                self.problem(
                    path,
                    None,
                    "more than 1000 configuration files; this and what follows is not read",
                );
                self.files += 1;
            }
            return;
        }
        self.files += 1;
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        if self.stack.iter().any(|(_, c)| *c == canonical) {
            self.problem(path, None, "includes itself; not read again");
            return;
        }
        let content = match read_regular(path) {
            Ok(content) => content,
            Err(e) if e.kind() == io::ErrorKind::NotFound && !required => return,
            Err(e) => return self.problem(path, None, &format!("could not be read: {e}")),
        };
        if content.len() as u64 >= MAX_BYTES {
            self.problem(path, None, "longer than 4 MiB; the rest is not read");
        }
        self.stack.push((path.to_path_buf(), canonical));
        let mut wrong: (u64, u32) = (0, 0);
        for (n, line) in content.split(|b| *b == b'\n').enumerate() {
            let number = u32::try_from(n + 1).unwrap_or(u32::MAX);
            match assignment(line) {
                Ok(None) => {}
                Ok(Some((name, value))) => self.assign(path, number, &name, &value),
                Err(()) => {
                    wrong = (wrong.0 + 1, if wrong.0 == 0 { number } else { wrong.1 });
                }
            }
        }
        // the line itself is not shown: it may hold a password
        match wrong {
            (0, _) => {}
            (1, line) => self.problem(path, Some(line), "syntax error; the server refuses this file"),
            (count, line) => {
                let what =
                    format!("syntax error, and {} more behind it; the server refuses this file", count - 1);
                self.problem(path, Some(line), &what);
            }
        }
        self.stack.pop();
    }

    fn assign(&mut self, path: &Path, line: u32, name: &str, value: &[u8]) {
        let relative = |value: &[u8]| {
            let named = Path::new(std::ffi::OsStr::from_bytes(value));
            path.parent().unwrap_or(Path::new("")).join(named)
        };
        match name {
            "include" | "include_if_exists" | "include_dir" if value.is_empty() => {
                self.problem(path, Some(line), "includes an empty name");
            }
            "include" => self.file(&relative(value), true),
            "include_if_exists" => self.file(&relative(value), false),
            "include_dir" => self.directory(&relative(value)),
            _ if KEPT.contains(&name) => {
                let value = mask_secrets(&String::from_utf8_lossy(value));
                self.settings.add(Setting { name: name.to_owned(), value, path: path.to_path_buf(), line });
            }
            _ => {}
        }
    }

    /// `*.conf` of a directory, hidden ones left out, sorted as in the C locale.
    fn directory(&mut self, dir: &Path) {
        let entries = match std::fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(e) => return self.problem(dir, None, &format!("could not be listed: {e}")),
        };
        let mut files: Vec<PathBuf> = entries
            .flatten()
            .filter(|e| {
                let name = e.file_name();
                let name = name.as_bytes();
                name.len() > 5 && name.ends_with(b".conf") && !name.starts_with(b".")
            })
            .map(|e| e.path())
            .filter(|p| !p.is_dir())
            .collect();
        files.sort();
        for file in files {
            self.file(&file, true);
        }
    }
}

fn read_regular(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut content)?;
    Ok(content)
}

const fn is_letter(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn blank(input: &[u8]) -> IResult<&[u8], &[u8]> {
    take_while(|b| matches!(b, b' ' | b'\t' | b'\r'))(input)
}

/// `ID` and `QUALIFIED_ID` of guc-file.l.
fn name(input: &[u8]) -> IResult<&[u8], &[u8]> {
    let tail = |b: u8| is_letter(b) || b.is_ascii_digit() || matches!(b, b'$' | b'.');
    // by bytes: nom's `satisfy` takes a byte from 0x80 on for a character of two bytes
    recognize(pair(take_while_m_n(1, 1, is_letter), take_while(tail))).parse(input)
}

/// `STRING` of guc-file.l, unescaped as `DeescapeQuotedString` does.
fn quoted(input: &[u8]) -> IResult<&[u8], Vec<u8>> {
    let (mut rest, _) = char('\'')(input)?;
    let mut value = Vec::new();
    loop {
        match rest {
            [b'\'', b'\'', tail @ ..] => {
                value.push(b'\'');
                rest = tail;
            }
            [b'\'', tail @ ..] => return Ok((tail, value)),
            [b'\\', b @ b'0'..=b'7', tail @ ..] => {
                let mut code = u32::from(b - b'0');
                rest = tail;
                for _ in 0..2 {
                    let [b @ b'0'..=b'7', tail @ ..] = rest else { break };
                    code = code * 8 + u32::from(b - b'0');
                    rest = tail;
                }
                value.push(code as u8);
            }
            [b'\\', b, tail @ ..] => {
                value.push(match b {
                    b'b' => 8,
                    b'f' => 12,
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    other => *other,
                });
                rest = tail;
            }
            [b, tail @ ..] if *b != b'\\' => {
                value.push(*b);
                rest = tail;
            }
            _ => return Err(nom::Err::Error(nom::error::Error::new(rest, nom::error::ErrorKind::Char))),
        }
    }
}

/// `UNQUOTED_STRING`, `INTEGER` and `REAL`: numbers with units stay as they are written.
fn unquoted(input: &[u8]) -> IResult<&[u8], Vec<u8>> {
    let (rest, value) =
        take_while1(|b: u8| is_letter(b) || b.is_ascii_digit() || b"$-._:/+".contains(&b))(input)?;
    Ok((rest, value.to_vec()))
}

fn comment(input: &[u8]) -> IResult<&[u8], &[u8]> {
    recognize(opt(preceded(char('#'), take_while(|_| true)))).parse(input)
}

/// One line of a configuration file: nothing, or a name (in lower case) and its value.
fn assignment(line: &[u8]) -> Result<Option<(String, Vec<u8>)>, ()> {
    let equals = (blank, opt(char('=')), blank);
    let value = alt((quoted, unquoted));
    let setting = (terminated(name, equals), value);
    let mut line_of = terminated(preceded(blank, opt(setting)), (blank, comment, eof));
    let parsed: IResult<&[u8], _> = line_of.parse(line);
    let (_, setting) = parsed.map_err(drop)?;
    Ok(setting.map(|(name, value)| (String::from_utf8_lossy(name).to_ascii_lowercase(), value)))
}

/// Masks passwords in a connection string, command, log line or sentence: in URIs (`scheme://user:password@`), after a
/// name such as `password`, `sslpassword`, `PGPASSWORD`, `--password`, `…_SECRET_KEY` and `=`, and in curl's
/// `-u user:password` and `--user user:password`, quoted or not. In doubt it masks more.
pub fn mask_secrets(text: &str) -> String {
    let text = mask_uris(text);
    let bytes = text.as_bytes();
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if !is_key_byte(b) {
            out.push(b);
            at += 1;
            continue;
        }
        let word = bytes.get(at..).unwrap_or_default();
        let len = word.iter().take_while(|b| is_key_byte(**b)).count();
        let key = word.get(..len).unwrap_or_default();
        out.extend_from_slice(key);
        let before = at.checked_sub(1).and_then(|i| bytes.get(i)).copied();
        at += len;
        let rest = bytes.get(at..).unwrap_or_default();
        let found = if is_secret(key) { assigned(key, before, rest) } else { login(key, before, rest) };
        if let Some((from, to)) = found {
            out.extend_from_slice(rest.get(..from).unwrap_or_default());
            if from < to {
                out.extend_from_slice(MASK.as_bytes());
            }
            at += to;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn blanks(text: &[u8]) -> usize {
    text.iter().take_while(|b| b.is_ascii_whitespace()).count()
}

const fn is_quote(b: u8) -> bool {
    matches!(b, b'\'' | b'"')
}

/// Blanks, with the quote before them that closes an option's own: `"-u" x`.
fn gap(before: Option<u8>, rest: &[u8]) -> usize {
    let quote = usize::from(before.is_some_and(|b| is_quote(b) && rest.first() == Some(&b)));
    quote + blanks(rest.get(quote..).unwrap_or_default())
}

/// Where the value lies in `rest`: name, blanks, =, blanks, value; or the option's own form: --password value.
fn assigned(key: &[u8], before: Option<u8>, rest: &[u8]) -> Option<(usize, usize)> {
    let gap = gap(before, rest);
    let from = match rest.get(gap) {
        Some(b'=') => gap + 1 + blanks(rest.get(gap + 1..).unwrap_or_default()),
        Some(b) if key.starts_with(b"--") && gap > 0 && *b != b'-' => gap,
        _ => return None,
    };
    Some((from, from + value_len(rest.get(from..).unwrap_or_default(), before)))
}

/// Where the password lies in `rest` after curl's `-u`, alone or behind other letters, or `--user`.
fn login(key: &[u8], before: Option<u8>, rest: &[u8]) -> Option<(usize, usize)> {
    let of_user = |b: &u8| matches!(b, b'u' | b'U');
    let short = key.strip_prefix(b"-").filter(|k| k.first().is_some_and(u8::is_ascii_alphabetic));
    let gap = gap(before, rest);
    let start = if key.starts_with(b"--") && key.to_ascii_lowercase().ends_with(b"user") {
        gap + usize::from(rest.get(gap) == Some(&b'='))
    } else if gap > 0 && short.is_some_and(|k| k.last().is_some_and(of_user)) {
        gap
    } else if gap == 0 && short.is_some_and(|k| k.iter().take(6).any(of_user)) {
        0
    } else {
        return None;
    };
    let value = rest.get(start..).unwrap_or_default();
    // a quote that is closed behind the name does not enclose the value
    let enclosing = before.filter(|b| rest.first() != Some(b));
    let end = value_len(value, enclosing);
    let colon = value.get(..end)?.iter().position(|b| *b == b':')?;
    // the quote around both is not of the password
    let closing =
        value.first().is_some_and(|b| is_quote(*b) && value.get(end - 1) == Some(b)) && end > colon + 1;
    Some((start + colon + 1, start + end - usize::from(closing)))
}

const fn is_key_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b == b'-'
}

fn is_secret(key: &[u8]) -> bool {
    let key = String::from_utf8_lossy(key).to_ascii_lowercase();
    let within =
        ["password", "passwd", "passphrase", "secret", "access_key", "access-key", "apikey", "api_key"];
    within.iter().any(|w| key.contains(w)) || ["pass", "pwd", "token"].iter().any(|w| key.ends_with(w))
}

/// Length of a value; `before` is what stands before its name: a quote there encloses the value too, and a `?` or `&`
/// says that it is of a URI's query.
fn value_len(value: &[u8], before: Option<u8>) -> usize {
    let in_uri = before.is_some_and(|b| matches!(b, b'?' | b'&'));
    let quoted = before
        .filter(|b| is_quote(*b))
        .map_or(0, |quote| value.iter().position(|b| *b == quote).unwrap_or(value.len()));
    secret_len(value, in_uri).max(quoted)
}

/// To the next blank outside of quotes and escapes; in a URI's query to the next `&` too.
fn secret_len(value: &[u8], in_uri: bool) -> usize {
    let mut quote = None;
    let mut escaped = false;
    for (n, &b) in value.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if b == b'\\' {
            escaped = true;
        } else if quote == Some(b) {
            quote = None;
        } else if quote.is_none() {
            if b.is_ascii_whitespace() || (in_uri && b == b'&') {
                return n;
            }
            if b == b'\'' || b == b'"' {
                quote = Some(b);
            }
        }
    }
    value.len()
}

/// Masks what stands between the user's `:` and the last `@` before the query, in every `scheme://…`.
fn mask_uris(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let end = after.find(char::is_whitespace).unwrap_or(after.len());
        let (uri, tail) = after.split_at(end);
        let authority = uri.find('?').map_or(uri, |q| uri.get(..q).unwrap_or(uri));
        // a '?' within a password that was not percent-encoded: then the '@' comes after it
        let at_sign = authority.rfind('@').or_else(|| uri.rfind('@'));
        let password = at_sign.and_then(|end| Some((uri.get(..end)?.find(':')? + 1, end)));
        match password {
            Some((from, to)) if from < to => {
                out.push_str(uri.get(..from).unwrap_or_default());
                out.push_str(MASK);
                out.push_str(uri.get(to..).unwrap_or_default());
            }
            _ => out.push_str(uri),
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn of(line: &str) -> Result<Option<(String, String)>, ()> {
        assignment(line.as_bytes()).map(|o| o.map(|(n, v)| (n, String::from_utf8(v).unwrap())))
    }

    #[test]
    fn lines_as_guc_file_reads_them() {
        for (line, name, value) in [
            ("wal_log_hints = on", "wal_log_hints", "on"),
            ("  WAL_Log_Hints on # comment", "wal_log_hints", "on"),
            ("a='it''s'", "a", "it's"),
            (r"a = 'it\'s' # x", "a", "it's"),
            (r"a = 'tab\t oct\101\1012 \q'", "a", "tab\t octAA2 q"),
            ("max_wal_size = 1GB\r", "max_wal_size", "1GB"),
            ("a=-1", "a", "-1"),
            ("a = 0.5", "a", "0.5"),
            ("a = 0x1F", "a", "0x1F"),
            ("my.own=x-y._:/z", "my.own", "x-y._:/z"),
            ("a ''", "a", ""),
            ("archive_command = 'cp %p \"/a b/%f\"'", "archive_command", "cp %p \"/a b/%f\""),
        ] {
            assert_eq!(of(line), Ok(Some((name.into(), value.into()))), "{line}");
        }
        for line in ["", "   ", "# a = b", "\t#"] {
            assert_eq!(of(line), Ok(None), "{line}");
        }
        for line in [
            "a =",
            "a",
            "a = 'open",
            "a = b c",
            "1 = a",
            "= a",
            "a == b",
            "a = 'x' y",
            "a = \"x\"",
            r"a = 'x\",
        ] {
            assert_eq!(of(line), Err(()), "{line}");
        }
    }

    fn write(dir: &Path, name: &str, text: &str) {
        let path = dir.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn includes_order_and_depth() {
        let dir = tempfile::tempdir().unwrap();
        let d = dir.path();
        write(
            d,
            "postgresql.conf",
            "wal_level = minimal\ninclude 'sub/a.conf'\ninclude_if_exists = 'none.conf'\ninclude_dir 'conf.d'\n\
             shared_buffers = 1GB\nmax_connections = 7\nbroken line here\n",
        );
        write(d, "sub/a.conf", "include 'b.conf'\nwal_keep_segments = 5\n");
        write(d, "sub/b.conf", "include '../postgresql.conf'\nhot_standby = off\n");
        write(d, "conf.d/2.conf", "wal_level = replica\n");
        write(d, "conf.d/10.conf", "wal_level = logical\nmax_connections = 9\n");
        write(d, "conf.d/.hidden.conf", "wal_level = x\n");
        write(d, "conf.d/other.txt", "wal_level = x\n");
        write(d, "conf.d/dir.conf/x", "");
        write(d, "postgresql.auto.conf", "max_wal_size = '2GB'\nrecovery_target_lsn = '0/3'\n");
        write(d, "recovery.conf", "standby_mode = 'on'\nhot_standby = on\n");
        let s = Settings::read(d, Major::V11);
        let value = |name: &str| s.get(name).map(|s| s.value.as_str());
        assert_eq!(value("wal_level"), Some("replica"));
        assert_eq!((value("max_connections"), value("wal_keep_segments")), (Some("7"), Some("5")));
        assert_eq!((value("hot_standby"), value("standby_mode")), (Some("on"), Some("on")));
        assert_eq!((value("recovery_target_lsn"), value("shared_buffers")), (Some("0/3"), None));
        assert_eq!(s.get("max_connections").unwrap().line, 6);
        assert!(s.get("wal_level").unwrap().path.ends_with("conf.d/2.conf"));
        assert!(s.has_postgresql_conf);
        assert_eq!(s.problems.len(), 2, "{:?}", s.problems);
        assert!(s.problems[0].contains("includes itself"), "{:?}", s.problems);
        assert!(
            s.problems[1].ends_with("postgresql.conf, line 7: syntax error; the server refuses this file")
        );
        assert_eq!(Settings::read(d, Major::V12).get("standby_mode"), None);

        let dir = tempfile::tempdir().unwrap();
        for n in 0..20 {
            write(dir.path(), &format!("{n}.conf"), &format!("include '{}.conf'\nwal_level = l{n}\n", n + 1));
        }
        write(
            dir.path(),
            "postgresql.conf",
            "include '0.conf'\ninclude 'gone.conf'\ninclude_dir 'gone'\ninclude ''\n",
        );
        fs::create_dir(dir.path().join("postgresql.auto.conf")).unwrap();
        let s = Settings::read(dir.path(), None);
        assert_eq!(s.get("wal_level").unwrap().value, "l0");
        assert_eq!(s.problems.len(), 5, "{:?}", s.problems);
        assert!(s.problems[0].contains("10 deep") && s.problems[4].contains("not a regular file"));

        let none = Settings::read(&dir.path().join("nowhere"), None);
        assert!(!none.has_postgresql_conf && none.problems.is_empty());
    }

    #[test]
    fn passwords_are_masked() {
        for (text, wanted) in [
            ("host=h password=geheim user=u", "host=h password=******** user=u"),
            ("password='ge heim' host=h", "password=******** host=h"),
            (r"password = 'it\'s x' host=h", "password = ******** host=h"),
            (r"password=a\ b host=h", "password=******** host=h"),
            ("sslpassword=x PASSWORD=y", "sslpassword=******** PASSWORD=********"),
            (
                "postgresql://u:geheim@h:5432/db?sslmode=require",
                "postgresql://u:********@h:5432/db?sslmode=require",
            ),
            ("postgres://u:a@b/c:d@h/db", "postgres://u:********@h/db"),
            (
                "postgres://h1:5432,h2:5433/db?password=x&user=u",
                "postgres://h1:5432,h2:5433/db?password=********&user=u",
            ),
            ("postgres://u@h/db", "postgres://u@h/db"),
            ("PGPASSWORD=x wal-g wal-fetch %f %p", "PGPASSWORD=******** wal-g wal-fetch %f %p"),
            ("AWS_SECRET_ACCESS_KEY='a b'c cmd", "AWS_SECRET_ACCESS_KEY=******** cmd"),
            (
                "x --repo1-cipher-pass=abc --password geheim %f",
                "x --repo1-cipher-pass=******** --password ******** %f",
            ),
            ("pg_receivewal --no-password -h x", "pg_receivewal --no-password -h x"),
            ("cp /archive/%f %p", "cp /archive/%f %p"),
            (
                "host=h passfile=/home/p/.pgpass require_auth=scram-sha-256",
                "host=h passfile=/home/p/.pgpass require_auth=scram-sha-256",
            ),
            ("password=", "password="),
            ("password='open", "password=********"),
            ("curl -u bob:geheim https://h/%f", "curl -u bob:******** https://h/%f"),
            ("curl -u 'bob:ge heim' https://h/%f", "curl -u 'bob:********' https://h/%f"),
            ("curl -fsSu \"bob:ge heim\" x", "curl -fsSu \"bob:********\" x"),
            ("curl -ubob:geheim x", "curl -ubob:******** x"),
            ("curl \"-u\" bob:geheim x", "curl \"-u\" bob:******** x"),
            ("curl --user bob:'ge heim' x", "curl --user bob:******** x"),
            ("curl --proxy-user=bob:geheim x", "curl --proxy-user=bob:******** x"),
            ("x --password=geheim '--password=ge heim", "x --password=******** '--password=********"),
            ("postgres://u:se/geheim@h >&2", "postgres://u:********@h >&2"),
            ("sudo -u postgres cp a:b %p", "sudo -u postgres cp a:b %p"),
            ("the password is not shown", "the password is not shown"),
            ("https://host:80/x", "https://host:80/x"),
        ] {
            assert_eq!(mask_secrets(text), wanted);
            assert_eq!(mask_secrets(wanted), wanted, "masked twice");
        }
    }

    fn conninfo_quoted(value: &str) -> String {
        format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
    }

    proptest! {
        #[test]
        fn no_password_gets_through(secret in "[ -~é]{1,12}", form in 0..4_usize) {
            let marked = format!("QX{secret}XQ");
            let escaped = marked.replace('\\', "\\\\").replace('\'', "\\'").replace(' ', "\\ ");
            let percent: String = marked.bytes().map(|b| if b.is_ascii_alphanumeric() { (b as char).to_string() } else { format!("%{b:02X}") }).collect();
            let conninfo = match form {
                0 => format!("host=h password={} user=u", conninfo_quoted(&marked)),
                1 => format!("host=h password = {escaped} user=u"),
                2 => format!("postgresql://user:{percent}@host/db"),
                _ => format!("postgresql://host/db?user=u&password={percent}&x=y"),
            };
            let dir = tempfile::tempdir().unwrap();
            let line = format!("primary_conninfo = '{}'\n", conninfo.replace('\\', "\\\\").replace('\'', "''"));
            write(dir.path(), "postgresql.auto.conf", &line);
            let settings = Settings::read(dir.path(), None);
            let value = &settings.get("primary_conninfo").unwrap().value;
            prop_assert!(!value.contains("QX") && !value.contains("XQ"), "{} -> {}", line, value);
            prop_assert!(value.contains(MASK));
        }

        #[test]
        fn junk_never_panics(junk in proptest::collection::vec(any::<u8>(), 0..200), text in "[a-z='\\\\ #@:/?&-]{0,60}") {
            let _ = assignment(&junk);
            let _ = assignment(text.as_bytes());
            let _ = mask_secrets(&String::from_utf8_lossy(&junk));
            let _ = mask_secrets(&format!("x://{text} password={text}"));
        }

        #[test]
        fn what_is_quoted_comes_back(value in "[^\n\0]{0,40}") {
            let line = format!("a = '{}'", value.replace('\\', "\\\\").replace('\'', "''"));
            prop_assert_eq!(assignment(line.as_bytes()), Ok(Some(("a".to_owned(), value.into_bytes()))));
        }
    }
}
