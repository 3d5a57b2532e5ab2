//! Values in words: paths, times, sizes, kinds of record; and what must never be shown.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::diagnosis::verdict::{Action, Picture};
use crate::facts::{Loss, Unrelated};
use crate::findings::Severity;
use crate::pg::control::DbState;
use crate::pg::{BLOCK_SIZE, Major, TimestampTz};
use crate::scan::progress::Phase;
use crate::scan::{EndKind, RecordKind, XactEnd};
use crate::source::settings::mask_secrets;
use crate::wal::rmgr;

/// Seconds from 1970-01-01 to 2000-01-01, where PostgreSQL's timestamps begin.
const PG_EPOCH: i64 = 946_684_800;

/// What the system says of an error, without its number.
pub fn io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match error.raw_os_error() {
        Some(number) => text.replace(&format!(" (os error {number})"), ""),
        None => text,
    }
}

/// A path for a person: bytes that are not UTF-8 as `\xFF`.
pub fn path(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02X}");
        }
    }
    text
}

/// Whether a character could steer a terminal or hide text: controls of both sets, marks of writing direction,
/// line separators.
pub fn unsafe_char(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}'
            | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

/// The text with every such character written out (`\x1B`, `\u{202E}`).
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.chars().any(unsafe_char) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if unsafe_char(c) && (c as u32) < 256 => {
                let _ = write!(out, "\\x{:02X}", c as u32);
            }
            c if unsafe_char(c) => {
                let _ = write!(out, "\\u{{{:X}}}", c as u32);
            }
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The text with passwords masked as in settings; this also covers commands, log lines and evidence.
pub fn mask(text: &str) -> Cow<'_, str> {
    let masked = mask_secrets(text);
    if masked == text { Cow::Borrowed(text) } else { Cow::Owned(masked) }
}

/// RFC 3339 in UTC, or `None` outside its years.
pub fn rfc3339(time: TimestampTz) -> Option<String> {
    let unix = time.checked_add(PG_EPOCH * 1_000_000)?;
    let stamp = jiff::Timestamp::from_microsecond(unix).ok()?;
    let text = stamp.to_string();
    // four digits of a year are all that RFC 3339 has
    (text.len() >= 20 && !text.starts_with('-')).then_some(text)
}

/// Seconds since 1970 as PostgreSQL's timestamp; stays at the end of the number range.
pub const fn from_unix(seconds: i64) -> TimestampTz {
    seconds.saturating_sub(PG_EPOCH).saturating_mul(1_000_000)
}

/// A time for a person, to the second, in UTC.
pub fn time(time: TimestampTz) -> String {
    match rfc3339(time) {
        Some(text) => {
            let seconds = text.get(..19).unwrap_or(&text).replace('T', " ");
            format!("{seconds} UTC")
        }
        None => format!("{time} µs after 2000-01-01 UTC"),
    }
}

/// Bytes for a person.
pub fn bytes(n: u64) -> String {
    humansize::format_size(n, humansize::BINARY)
}

/// Blocks as bytes for a person.
pub fn block_bytes(blocks: u64) -> String {
    bytes(blocks.saturating_mul(BLOCK_SIZE as u64))
}

/// A number with commas between thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 block`, `2 blocks`.
pub fn counted(n: u64, thing: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", count(n))
}

/// The state as pg_controldata writes it, with the number where it has no name.
pub fn state(state: DbState) -> String {
    match state {
        DbState::Unrecognized(code) => format!("{state} ({code})"),
        _ => state.to_string(),
    }
}

/// Name of an operation, if the record kind has one in this major.
pub fn operation(kind: RecordKind, major: Option<Major>) -> Option<&'static str> {
    major.and_then(|major| rmgr::op_name(kind.rmid, kind.op, major))
}

/// Resource manager and operation: `Heap INSERT`.
pub fn kind(kind: RecordKind, major: Option<Major>) -> String {
    match operation(kind, major) {
        Some(operation) => format!("{} {operation}", rmgr::name(kind.rmid)),
        None => format!("{} 0x{:02X}", rmgr::name(kind.rmid), kind.op),
    }
}

/// How a transaction ended.
pub const fn xact_end(end: XactEnd) -> &'static str {
    match end {
        XactEnd::Committed => "committed",
        XactEnd::Aborted => "aborted",
        XactEnd::Prepared => "prepared",
        XactEnd::CommittedPrepared => "committed (prepared)",
        XactEnd::AbortedPrepared => "aborted (prepared)",
        XactEnd::InProgress => "open at the end",
    }
}

/// How WAL ends.
pub fn end_kind(kind: EndKind) -> String {
    match kind {
        EndKind::Zeros => "clean end, zeros follow".into(),
        EndKind::Recycled => "clean end, an old page of a recycled segment follows".into(),
        EndKind::NoSegment => "there is no further segment".into(),
        EndKind::Torn => "the last record is torn: a crash in the middle of a write".into(),
        EndKind::Cut { .. } => "the file is cut short there".into(),
        EndKind::Damaged { next_valid } => format!("damaged: valid records follow at {next_valid}"),
        EndKind::Requested => "reading was asked to stop there".into(),
    }
}

/// What is being done, for whoever waits.
pub const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::Comparing => "comparing",
        Phase::ScanningTarget => "reading the target's WAL",
        Phase::ScanningSource => "reading the source's WAL",
        Phase::Naming => "naming relations",
        Phase::ReadingPages => "looking at the target's pages",
        Phase::Concluding => "concluding",
        Phase::Rewinding => "rewinding",
        Phase::Syncing => "syncing",
        Phase::Verifying => "reading back",
        Phase::Undoing => "putting back",
        Phase::Collecting => "collecting rows",
        Phase::Cloning => "cloning the target",
        Phase::Watching => "watching whether the target is left alone",
    }
}

/// The word for a severity.
pub const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Info => "info",
        Severity::Warning => "warning",
        Severity::Error => "error",
    }
}

/// The word for an action, as scripts see it.
pub const fn action(action: Action) -> &'static str {
    match action {
        Action::Same => "same",
        Action::Follow => "follow",
        Action::Rewind => "rewind",
        Action::ReClone => "re-clone",
        Action::Unrelated => "unrelated",
        Action::Undecided => "undecided",
    }
}

/// What the picture shows, one sentence; empty for none.
pub const fn picture(picture: Picture) -> &'static str {
    match picture {
        Picture::Failover => "Failover: the source was promoted, and the target wrote WAL that it never had.",
        Picture::Switchover => "Switchover: the target stopped cleanly, then the source was promoted.",
        Picture::BeforeSwitchover => {
            "Before a switchover: both stopped at the same shutdown checkpoint, neither is promoted."
        }
        Picture::Twins => "Twins: both were promoted on their own and claim the same timeline number.",
        Picture::Standby => "Standby: the target follows the source's line and is behind it.",
        Picture::Rewound => "Rewound: an earlier rewind has been at work on the target.",
        Picture::None => "",
    }
}

/// Why two directories have nothing in common.
pub const fn unrelated(why: &Unrelated) -> &'static str {
    match why {
        Unrelated::SystemIdentifier => "their system identifiers differ",
        Unrelated::Major => "they are of different major versions",
        Unrelated::NoCommonAncestor => "their timelines have no common ancestor",
    }
}

/// What is lost, in words.
pub fn loss(loss: &Loss) -> String {
    match loss {
        Loss::Nothing => "nothing: the target has no WAL after the divergence".into(),
        Loss::ShutdownCheckpointOnly => {
            "nothing: only the shutdown checkpoint lies after the divergence".into()
        }
        Loss::MaintenanceOnly => {
            "no committed transaction: only maintenance (vacuum, pruning, hints, checkpoints, aborted work)"
                .into()
        }
        Loss::Commits { commits, first, last } if time(*first) == time(*last) => {
            format!("{}, at {}", counted(*commits, "committed transaction"), time(*first))
        }
        Loss::Commits { commits, first, last } => {
            format!(
                "{}, from {} to {}",
                counted(*commits, "committed transaction"),
                time(*first),
                time(*last)
            )
        }
        Loss::PreparedOnly { prepared } => format!(
            "no committed transaction; {} that wait for their decision",
            counted(*prepared, "prepared transaction")
        ),
        Loss::AtLeast { commits } => format!(
            "at least {}; the target's WAL could not be read to its end",
            counted(*commits, "committed transaction")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_outside_rfc_3339_have_no_text() {
        assert_eq!(rfc3339(0).as_deref(), Some("2000-01-01T00:00:00Z"));
        assert_eq!(rfc3339(1).as_deref(), Some("2000-01-01T00:00:00.000001Z"));
        assert_eq!(time(from_unix(1_750_000_000)), "2025-06-15 15:06:40 UTC");
        assert_eq!(rfc3339(i64::MAX), None);
        assert_eq!(rfc3339(i64::MIN), None);
        assert_eq!(rfc3339(-9_000_000_000 * 10_000_000), None);
    }

    #[test]
    fn what_steers_a_terminal_is_written_out() {
        assert_eq!(clean("a\u{1b}[31m\u{9b}\u{202e}\n\tz"), "a\\x1B[31m\\x9B\\u{202E}\\n\\tz");
        assert!(matches!(clean("größe 表"), Cow::Borrowed(_)));
    }

    #[test]
    fn thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
    }
}
