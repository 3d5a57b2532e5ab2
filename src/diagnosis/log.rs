//! The reading of server logs: which finding a message speaks of, and whether the directories bear it out.
//!
//! Understood are the server's log as stderr (any prefix), CSV and JSON, and the messages of pg_rewind,
//! pg_basebackup, repmgr, Patroni and pgBackRest, as a whole log or as one line. English messages only.

use std::fmt::Write as _;

use crate::diagnosis::Diagnosis;
use crate::facts::{Facts, NeededSegment};
use crate::pg::{Lsn, TimelineId};

use crate::findings::codes;
use crate::findings::common::{entry_of, some_of};

/// A message of a log that belongs to a finding code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogMatch {
    /// Number of its first line, from 1.
    pub line: usize,
    /// How often the same message with the same figures occurs.
    pub times: usize,
    /// The message as it stands in the log, without the line's prefix.
    pub message: String,
    /// The finding code.
    pub code: &'static str,
    /// Whether the two directories bear it out: the finding is there and no figure contradicts. `None` where nothing
    /// was compared, because there is no diagnosis or directories cannot prove this code.
    pub finding_matches: Option<bool>,
    /// What the message means, in plain sentences.
    pub what_it_means: String,
    /// The figures of the message, compared with the directories'.
    pub figures: Vec<Figure>,
}

impl LogMatch {
    /// What it means and what the directories say of its figures, in sentences.
    pub fn why(&self) -> String {
        let mut text = self.what_it_means.clone();
        for figure in &self.figures {
            if let Some(says) = &figure.directories {
                let verdict = if figure.agrees == Some(true) {
                    "as the directories say"
                } else {
                    "the directories differ"
                };
                let _ = write!(text, " {} {}: {verdict} ({says}).", figure.name, figure.value);
            }
        }
        if self.times > 1 {
            let _ = write!(text, " The log has it {} times.", self.times);
        }
        text
    }
}

/// A figure of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    /// What it is.
    pub name: &'static str,
    /// As it stands in the message.
    pub value: String,
    /// Whether the directories say the same; `None` where they say nothing about it.
    pub agrees: Option<bool>,
    /// What the directories say.
    pub directories: Option<String>,
}

/// What a figure of a message is, and so what it is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Is {
    /// The timeline that the target is to follow.
    Requested,
    /// A timeline of the target's.
    TargetTimeline,
    /// A timeline of the source's.
    SourceTimeline,
    /// The target's checkpoint.
    Checkpoint,
    /// Where the source left a timeline.
    Fork,
    /// The target's minimum recovery point.
    MinimumPoint,
    /// A position beyond the divergence that the target has reached.
    Reached,
    /// Start of the segment from which the target asks for WAL.
    AsksFrom,
    /// Where a side's WAL ends.
    End,
    /// The record that pg_rewind was at.
    Record,
    /// A WAL segment or the path of one.
    Segment,
    /// The source's system identifier.
    SourceSystem,
    /// The target's system identifier.
    TargetSystem,
    /// A path in the target, or anything else that is not compared.
    Text(&'static str),
}

impl Is {
    const fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested timeline",
            Self::TargetTimeline => "timeline of the target",
            Self::SourceTimeline => "timeline of the source",
            Self::Checkpoint => "latest checkpoint",
            Self::Fork => "divergence",
            Self::MinimumPoint => "minimum recovery point",
            Self::Reached => "current recovery point",
            Self::AsksFrom => "requested starting point",
            Self::End => "end of WAL",
            Self::Record => "WAL record",
            Self::Segment => "WAL file",
            Self::SourceSystem => "system identifier of the source",
            Self::TargetSystem => "system identifier of the target",
            Self::Text(name) => name,
        }
    }
}

/// A message. In the template `%L` stands for an LSN, `%u` for a number, `%h` for a hexadecimal number, `%s` for text
/// up to what follows.
struct Pattern {
    /// The code; others that the same text may mean follow, in order of likelihood.
    codes: &'static [&'static str],
    template: &'static str,
    figures: &'static [Is],
    meaning: &'static str,
}

const fn pattern(
    codes: &'static [&'static str],
    template: &'static str,
    figures: &'static [Is],
    meaning: &'static str,
) -> Pattern {
    Pattern { codes, template, figures, meaning }
}

const FORKED: &str = "The target went on writing (or replaying) on its timeline after the source had left it. It cannot follow \
                      as long as that WAL is there.";
const SAME_TIMELINE: &str = "pg_rewind compared two timeline numbers and nothing else. That is right if both really are on one \
                             timeline, and wrong if the source was promoted and has not completed a checkpoint since, or if \
                             both were promoted on their own to the same number.";
const NO_REWIND: &str = "By the history files the target has nothing that the source lacks. It may then follow as it is, unless \
                         the histories do not tell the truth: a source without a checkpoint since its promotion, or twins.";
const OTHER_SYSTEM: &str =
    "The two come from different runs of initdb or pg_upgrade: often a wrong volume is mounted.";
const BAD_CONTROL: &str =
    "pg_control is damaged or cut short; a failed rewind leaves it so. Nothing starts on it.";
const NO_CONFIGURATION: &str = "pg_rewind runs a single-user server on the target, or asks it for restore_command, and has no \
                                configuration file to do it with.";
const MISSING_WAL: &str = "WAL that pg_rewind has to read is not in the target's WAL directory; it gives up at the first missing \
                           file, reading backward.";
const ARCHIVE_FAILS: &str = "The restore command did not bring the file. Helpers that prefetch forward or remember \"end of WAL\" \
                             fail for pg_rewind, which reads backward, even though the archive has the file. Directories cannot \
                             show that; the helper's own log can.";
const WRONG_BRANCH: &str = "What stands there is WAL of another place or branch: a segment of the same name from elsewhere, or the \
                            unwritten rest of a recycled one. Before the end that the control file names it is an error, at or \
                            behind it the normal end.";
const END_OF_WAL: &str = "Nothing was written there. At the end of WAL this is normal and no damage; it is a gap only if the control \
                          file says that the WAL reaches further.";
const TORN: &str = "A record was cut in two by a crash. It counts as the end of WAL on that branch.";
const NO_CHECKPOINT: &str = "The checkpoint that pg_control or backup_label names cannot be read: its segment is missing or of \
                             another branch. Do not use pg_resetwal and do not remove backup_label.";
const NOT_CONSISTENT: &str = "Replay has not reached the minimum recovery point: WAL is missing in between, or the source has \
                              written nothing since.";
const INTERRUPTED: &str = "pg_rewind lost its source in the middle. The target is a mixture of both sides; its old control file \
                           makes it look as if it could be started. Do not start it.";
const NOT_WRITABLE: &str =
    "A file in the target cannot be opened for writing. pg_rewind may have changed other files before.";
const OTHER_TYPE: &str =
    "An entry is a file on one side and something else on the other, or no regular file where one is needed.";
const CHANGED_MEANWHILE: &str = "Another program (an archive helper's prefetch directory, a cluster manager) changed the data \
                                 directory while it was being rewound. Two directories show one moment only; stop that program \
                                 and try again from a copy.";
const GRANTS: &str = "The role that pg_rewind connects with may not read files. Grant EXECUTE on pg_ls_dir, pg_stat_file and \
                      pg_read_binary_file (both), or use a superuser. Reading a stopped source's directory needs no grants.";
const CONNECTION: &str = "The running source refused, cancelled or held up the connection. It leaves no trace in a directory. To 13 a \
                          source that is a standby is refused.";
const CERTIFICATE: &str = "Keys and certificates of this host were replaced by the source's, or lost their owner or mode: pg_rewind \
                           copies every file that is not a relation's.";
const TWO_WRITERS: &str = "Two servers wrote WAL of one timeline and archived it to one place. Stop one of them; do not overwrite the \
                           archive.";
const BAD_PAGE: &str = "Pages without a checksum are read by a server that expects one: checksums were on for one side only when the \
                        target was rewound; or the page is damaged.";
const LOWER: &str = "A hot standby needs at least the primary's value of this setting.";

use Is::{
    AsksFrom, Checkpoint, End, Fork, MinimumPoint, Reached, Record, Requested, Segment, SourceSystem,
    SourceTimeline, TargetSystem, TargetTimeline, Text,
};

const DIVERGED: &[&str] = &["FP01", "FP02", "FP03", "FP10", "FP08"];

#[rustfmt::skip]
const PATTERNS: &[Pattern] = &[
    pattern(DIVERGED, "requested timeline %u is not a child of this server's history", &[Requested], FORKED),
    pattern(DIVERGED, "Latest checkpoint is at %L on timeline %u, but in the history of the requested timeline, the server forked off from that timeline at %L", &[Checkpoint, TargetTimeline, Fork], FORKED),
    pattern(DIVERGED, "Latest checkpoint in file \"%s\" is at %L on timeline %u, but in the history of the requested timeline, the server forked off from that timeline at %L", &[Text("file"), Checkpoint, TargetTimeline, Fork], FORKED),
    pattern(&["FP03", "FP01", "FP02"], "new timeline %u forked off current database system timeline %u before current recovery point %L", &[SourceTimeline, TargetTimeline, Reached], "The target has received or replayed more of its timeline than the promoted server had. It looks alive and repeats this message; it does not follow."),
    pattern(&["FP04", "FP01", "FP03", "FP02"], "requested starting point %L on timeline %u is not in this server's history", &[AsksFrom, TargetTimeline], "The target asks the source for WAL of a timeline that the source had left before that point: the same divergence, seen from the source."),
    pattern(&["FP04", "FP01", "FP03", "FP02"], "This server's history forked from timeline %u at %L", &[TargetTimeline, Fork], "Where the source left the timeline that the target asks for."),
    pattern(&["FP05", "FP41"], "highest timeline %u of the primary is behind recovery timeline %u", &[SourceTimeline, TargetTimeline], "The target is on a timeline that the source does not know: it was promoted itself, or took an orphan history file from the archive."),
    pattern(&["FP05"], "this node's timeline is ahead of the rejoin target", &[], "repmgr: the node that shall rejoin was promoted later than the one it shall follow. Somebody has to decide which branch stays."),
    pattern(&["FP06", "FP03", "FP01"], "requested timeline %u does not contain minimum recovery point %L on timeline %u", &[Requested, MinimumPoint, TargetTimeline], "The data files hold changes from a point that is not on that timeline in the source's history: the target replayed past the divergence, or was rewound while the source's control file still named its old timeline."),
    pattern(&["FP07", "FP08"], "source and target cluster are on the same timeline", &[], SAME_TIMELINE),
    pattern(&["FP09", "FP07", "FP08", "FP03"], "no rewind required", &[], NO_REWIND),
    pattern(&["FP10", "FP05"], "requested timeline %u is not in this server's history", &[TargetTimeline], "The target asks for a timeline that the source never went through."),
    pattern(&["FP10", "FP01", "FP03", "FP02"], "Local timeline=%u lsn=%L", &[TargetTimeline, Reached], "Patroni: where the target stands. If that timeline is not in the primary's history, it is a dead branch."),
    pattern(&["FP11"], "could not find common ancestor of the source and target cluster's timelines", &[], "Already the first entries of the two histories differ: one of the directories was restored from another branch."),
    pattern(&["FP12"], "source and target clusters are from different systems", &[], OTHER_SYSTEM),
    pattern(&["FP12"], "database system identifier differs between the primary and standby", &[], OTHER_SYSTEM),
    pattern(&["FP12"], "The primary's identifier is %u, the standby's identifier is %u", &[SourceSystem, TargetSystem], OTHER_SYSTEM),
    pattern(&["FP12"], "system identifier does not match between base backup and streaming connection", &[], OTHER_SYSTEM),
    pattern(&["FP12"], "system ID mismatch, node %s belongs to a different cluster", &[Text("node")], OTHER_SYSTEM),
    pattern(&["FP21", "FP12"], "WAL file is from different database system: WAL file database system identifier is %u, pg_control database system identifier is %u", &[Text("system identifier in the WAL file"), TargetSystem], WRONG_BRANCH),
    pattern(&["FP13"], "clusters are not compatible with this version of pg_rewind", &[], "The directories are of another major than the program, or of two majors."),
    pattern(&["FP13", "FP22", "FP31"], "invalid magic number %h in WAL segment %s,", &[Text("magic"), Segment], "The page belongs to WAL of another major: a left-over segment."),
    pattern(&["FP13", "FP22", "FP31"], "invalid magic number %h in log segment %s,", &[Text("magic"), Segment], "The page belongs to WAL of another major: a left-over segment."),
    pattern(&["FP13"], "database files are incompatible with server", &[], "The server's binaries are of another major than the directory."),
    pattern(&["FP14"], "unexpected control file CRC", &[], BAD_CONTROL),
    pattern(&["FP14"], "unexpected control file size %u, expected %u", &[Text("size"), Text("expected size")], BAD_CONTROL),
    pattern(&["FP14"], "incorrect checksum in control file", &[], BAD_CONTROL),
    pattern(&["FP15"], "target server needs to use either data checksums or \"wal_log_hints = on\"", &[], "Hint bits changed pages of the target without a record in the WAL, so that the WAL does not name every changed block."),
    pattern(&["FP16", "FP60", "FP70"], "target server must be shut down cleanly", &[], "The target crashed, still runs, or was rewound before and not started since. With --dry-run or --no-ensure-shutdown pg_rewind does not recover it."),
    pattern(&["FP16"], "standby mode is not supported by single-user servers", &[], "pg_rewind tried to recover a crashed standby with a single-user server."),
    pattern(&["FP17"], "could not access the server configuration file \"%s\"", &[Text("file")], NO_CONFIGURATION),
    pattern(&["FP17"], "postgres single-user mode in target cluster failed", &[], NO_CONFIGURATION),
    pattern(&["FP17"], "restore_command is not set in the target cluster", &[], NO_CONFIGURATION),
    pattern(&["FP17"], "\"restore_command\" is not set in the target cluster", &[], NO_CONFIGURATION),
    pattern(&["FP18", "FP16"], "for target server to complete crash recovery", &[], "pg_rewind recovers the target with a single-user server, which writes checkpoints to it and may recycle WAL that is needed."),
    pattern(&["FP18", "FP16"], "database system was not properly shut down; automatic recovery in progress", &[], "The server recovers from a crash. On an old primary that writes WAL beyond the divergence and may recycle what a rewind needs."),
    pattern(&["FP19"], "could not find previous WAL record at %L", &[Record], MISSING_WAL),
    pattern(&["FP19", "FP22", "FP31"], "could not read WAL record at %L", &[Record], "pg_rewind could not read the target's WAL at this point: it is missing, damaged, or was overwritten by an earlier attempt."),
    pattern(&["FP19"], "could not open file \"%s\": No such file or directory", &[Segment], MISSING_WAL),
    pattern(&["FP20"], "could not restore file \"%s\" from archive", &[Segment], ARCHIVE_FAILS),
    pattern(&["FP20"], "\"restore_command\" failed: %s", &[Text("reason")], ARCHIVE_FAILS),
    pattern(&["FP20"], "restore_command failed: %s", &[Text("reason")], ARCHIVE_FAILS),
    pattern(&["FP21", "FP22"], "record with incorrect prev-link %L at %L", &[Text("previous link"), End], WRONG_BRANCH),
    pattern(&["FP21", "FP22"], "unexpected pageaddr %L in", &[Text("page address")], WRONG_BRANCH),
    pattern(&["FP21", "FP22"], "out-of-sequence timeline ID %u (after %u)", &[Text("timeline"), Text("after timeline")], WRONG_BRANCH),
    pattern(&["FP21", "FP22"], "unexpected timeline ID %u in", &[Text("timeline")], WRONG_BRANCH),
    pattern(&["FP22"], "invalid record length at %L: wanted %u, got %u", &[End, Text("wanted"), Text("found")], END_OF_WAL),
    pattern(&["FP22"], "invalid record length at %L: expected at least %u, got %u", &[End, Text("wanted"), Text("found")], END_OF_WAL),
    pattern(&["FP23"], "requested starting point %L is ahead of the WAL flush position of this server %L", &[AsksFrom, End], "The source has less WAL than it had sent: it crashed in the middle of a record that the target holds the first part of, or was restored."),
    pattern(&["FP24"], "missing contrecord at %L", &[Record], TORN),
    pattern(&["FP24"], "invalid contrecord length %u (expected %u) at %L", &[Text("length"), Text("expected length"), Record], TORN),
    pattern(&["FP24"], "invalid contrecord length %u at %L", &[Text("length"), Record], TORN),
    pattern(&["FP24"], "there is no contrecord flag at %L", &[Record], TORN),
    pattern(&["FP25", "FP28", "FP30"], "requested WAL segment %s has already been removed", &[Segment], "The source no longer has the WAL that the target needs to follow. It may lie in the archive or on a peer."),
    pattern(&["FP26"], "replication slot \"%s\" does not exist", &[Text("slot")], "The slot is not on the server that was asked: pg_rewind and a failover drop slots."),
    pattern(&["FP27"], "invalid primary checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "invalid checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "invalid resource manager ID in checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "invalid resource manager ID in primary checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "could not locate a valid checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "could not locate required checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP27"], "could not find redo location referenced by checkpoint record", &[], NO_CHECKPOINT),
    pattern(&["FP28"], "WAL ends before consistent recovery point", &[], NOT_CONSISTENT),
    pattern(&["FP28"], "WAL ends before end of online backup", &[], NOT_CONSISTENT),
    pattern(&["FP29", "FP28"], "Consistent recovery state has not been yet reached", &[], NOT_CONSISTENT),
    pattern(&["FP30"], "Not removing file \"%s\" because it is required for recovery", &[Segment], "pg_rewind keeps this segment, which the source no longer has. Older ones remove it, and the rewound target lacks it."),
    pattern(&["FP31"], "unexpected result while fetching remote files", &[], INTERRUPTED),
    pattern(&["FP31"], "source system was modified while pg_rewind was running", &[], "The source's control file changed while it was being copied: the target is a mixture of two moments. Do not start it."),
    pattern(&["FP32", "FP31"], "could not open target file \"%s\": Permission denied", &[Text("file")], NOT_WRITABLE),
    pattern(&["FP32"], "could not open file \"%s\": Permission denied", &[Text("file")], NOT_WRITABLE),
    pattern(&["FP32"], "could not open file \"%s\" for truncation: Permission denied", &[Text("file")], NOT_WRITABLE),
    pattern(&["FP33"], "data file \"%s\" in source is not a regular file", &[Text("file")], OTHER_TYPE),
    pattern(&["FP33"], "\"%s\" is not a regular file", &[Text("file")], OTHER_TYPE),
    pattern(&["FP33"], "\"%s\" is not a symbolic link", &[Text("file")], OTHER_TYPE),
    pattern(&["FP33"], "\"%s\" is of different type in source and target", &[Text("file")], OTHER_TYPE),
    pattern(&["FP34"], "could not remove file \"%s\"", &[Text("file")], CHANGED_MEANWHILE),
    pattern(&["FP34"], "could not remove directory \"%s\"", &[Text("directory")], CHANGED_MEANWHILE),
    pattern(&["FP34"], "could not remove file or directory \"%s\"", &[Text("file")], CHANGED_MEANWHILE),
    pattern(&["FP35"], "permission denied for function pg_ls_dir", &[], GRANTS),
    pattern(&["FP35"], "permission denied for function pg_read_binary_file", &[], GRANTS),
    pattern(&["FP35"], "permission denied for function pg_stat_file", &[], GRANTS),
    pattern(&["FP36"], "source server must not be in recovery mode", &[], CONNECTION),
    pattern(&["FP36"], "canceling statement due to statement timeout", &[], CONNECTION),
    pattern(&["FP37"], "No space left on device", &[], "The volume is full. pg_rewind copies everything before it removes anything; stopped there, it leaves a mixture."),
    pattern(&["FP38"], "could not load server certificate file \"%s\"", &[Text("file")], CERTIFICATE),
    pattern(&["FP38"], "could not load private key file \"%s\"", &[Text("file")], CERTIFICATE),
    pattern(&["FP38"], "private key file \"%s\" must be owned by", &[Text("file")], CERTIFICATE),
    pattern(&["FP38"], "private key file \"%s\" has group or world access", &[Text("file")], CERTIFICATE),
    pattern(&["FP73", "FP39"], "could not create symbolic link at \"%s\"", &[Text("link")], "pg_rewind makes a tablespace's link with the source's path."),
    pattern(&["FP40"], "archive with a different checksum", &[], TWO_WRITERS),
    pattern(&["FP41"], "forked from backup timeline %u", &[TargetTimeline], "pgBackRest: the latest timeline in the archive forked off before the backup: an orphan history file, left by a test promotion or a restore. Restore to the timeline that is meant."),
    pattern(&["FP41"], "recovery target timeline %u does not exist", &[Text("timeline")], "The history file of that timeline is neither in the WAL directory nor in the archive."),
    pattern(&["FP44"], "page verification failed, calculated checksum %u but expected %u", &[Text("calculated"), Text("expected")], BAD_PAGE),
    pattern(&["FP60"], "lock file \"postmaster.pid\" already exists", &[], "A server runs on this directory, or its process number was taken by another program."),
    pattern(&["FP62"], "specified neither primary_conninfo nor restore_command", &[], "The standby is not told where its WAL comes from."),
    pattern(&["FP62"], "specified neither \"primary_conninfo\" nor \"restore_command\"", &[], "The standby is not told where its WAL comes from."),
    pattern(&["FP65"], "hot standby is not possible because %s = %u is a lower setting than on the", &[Text("setting"), Text("value")], LOWER),
    pattern(&["FP65"], "%s = %u is a lower setting than on the primary server, where its value was %u", &[Text("setting"), Text("value"), Text("the primary's value")], LOWER),
    pattern(&["FP65"], "hot standby is not possible because of insufficient parameter settings", &[], LOWER),
    pattern(&["FP66"], "WAL was generated with wal_level=minimal", &[], "The primary's WAL leaves out what a standby needs."),
    pattern(&["FP66"], "WAL was generated with \"wal_level=minimal\"", &[], "The primary's WAL leaves out what a standby needs."),
    pattern(&["FP68"], "this is an incremental backup, not a data directory", &[], "Put it together with pg_combinebackup first."),
    pattern(&["FP71"], "source data directory must be shut down cleanly", &[], "The source runs, crashed, or is a snapshot of a running server; use --source-server, or stop it cleanly."),
    pattern(&["FP76"], "using recovery command file \"%s\" is not supported", &[Text("file")], "From 12 on recovery.conf stops the start; its settings belong into postgresql.auto.conf."),
    pattern(&["FP78"], "must specify restore_command when standby mode is not enabled", &[], "recovery.signal without standby.signal: the server would recover and promote itself."),
    pattern(&["FP78"], "must specify \"restore_command\" when standby mode is not enabled", &[], "recovery.signal without standby.signal: the server would recover and promote itself."),
    pattern(&["FP79"], "full_page_writes must be enabled in the source server", &[], "Pages read from a running source can be torn without full-page images."),
    pattern(&["FP79"], "\"full_page_writes\" must be enabled in the source server", &[], "Pages read from a running source can be torn without full-page images."),
];

/// Length in bytes of what a placeholder takes at the start of `text`; 0 for nothing.
fn take(kind: u8, text: &str, following: &str) -> usize {
    let run = |ok: fn(u8) -> bool| text.bytes().take_while(|b| ok(*b)).count();
    match kind {
        b'u' => run(|b| b.is_ascii_digit()),
        b'h' => run(|b| b.is_ascii_hexdigit()),
        b'L' => {
            let high = run(|b| b.is_ascii_hexdigit());
            let Some(low) = text.get(high..).and_then(|t| t.strip_prefix('/')) else { return 0 };
            let low = low.bytes().take_while(u8::is_ascii_hexdigit).count();
            if high == 0 || low == 0 { 0 } else { high + 1 + low }
        }
        _ if following.is_empty() => text.trim_end().len(),
        _ => text.find(following).unwrap_or(0),
    }
}

/// The rest of `template` against the start of `text`: what the placeholders took, and the bytes matched.
fn match_rest<'t>(mut template: &str, text: &'t str) -> Option<(Vec<&'t str>, usize)> {
    let mut at = 0;
    let mut taken = Vec::new();
    while !template.is_empty() {
        if let Some(rest) = template.strip_prefix('%') {
            let kind = *rest.as_bytes().first()?;
            template = rest.get(1..)?;
            let following = template.split('%').next().unwrap_or_default();
            let here = text.get(at..)?;
            let length = take(kind, here, following);
            if length == 0 {
                return None;
            }
            taken.push(here.get(..length)?);
            at += length;
        } else {
            let literal = template.split('%').next().unwrap_or_default();
            if !text.get(at..)?.starts_with(literal) {
                return None;
            }
            at += literal.len();
            template = template.get(literal.len()..)?;
        }
    }
    Some((taken, at))
}

/// Where a template occurs in a line: start, end, and what its placeholders took.
fn find<'t>(template: &str, line: &'t str) -> Option<(usize, usize, Vec<&'t str>)> {
    if template.starts_with('%') {
        // one word before the first literal
        let (kind, rest) = template.get(1..)?.split_at_checked(1)?;
        let literal = rest.split('%').next().unwrap_or_default();
        let found = line.find(literal)?;
        let before = line.get(..found)?;
        let word = before.rsplit([' ', '"', ',']).next().filter(|w| !w.is_empty() && kind == "s")?;
        let (mut taken, length) = match_rest(rest, line.get(found..)?)?;
        taken.insert(0, word);
        return Some((found - word.len(), found + length, taken));
    }
    let literal = template.split('%').next().unwrap_or_default();
    let mut from = 0;
    while let Some(found) = line.get(from..)?.find(literal) {
        let start = from + found;
        if let Some((taken, length)) = match_rest(template, line.get(start..)?) {
            return Some((start, start + length, taken));
        }
        from = start + line.get(start..)?.chars().next().map_or(1, char::len_utf8);
    }
    None
}

/// The message of a line, whatever the format: JSON's fields unescaped, CSV's quotes undone, others as they are.
fn plain(line: &str) -> std::borrow::Cow<'_, str> {
    let trimmed = line.trim_start();
    if trimmed.starts_with('{')
        && let Ok(serde_json::Value::Object(object)) = serde_json::from_str::<serde_json::Value>(trimmed)
    {
        let fields = ["message", "msg", "detail", "hint", "context", "log", "MESSAGE"];
        let parts: Vec<&str> = fields.iter().filter_map(|f| object.get(*f)?.as_str()).collect();
        if !parts.is_empty() {
            return parts.join(" | ").into();
        }
    }
    if line.contains("\"\"") { line.replace("\"\"", "\"").into() } else { line.into() }
}

/// Reads a log, or one message, and says of each message that it knows which finding it speaks of; with a diagnosis
/// also whether the directories bear it out. Equal messages are counted, not repeated.
pub fn explain(log_text: &str, diagnosis: Option<&Diagnosis>) -> Vec<LogMatch> {
    let mut matches: Vec<LogMatch> = Vec::new();
    // the event that a DETAIL line belongs to
    let mut open: Option<(usize, usize)> = None;
    for (number, raw) in log_text.lines().enumerate() {
        let line = plain(raw);
        let mut covered: Vec<(usize, usize)> = Vec::new();
        for pattern in PATTERNS {
            let Some((start, end, taken)) = find(pattern.template, &line) else { continue };
            if covered.iter().any(|(s, e)| start < *e && *s < end) {
                continue;
            }
            let Some(code) = choose(pattern, &taken, diagnosis) else { continue };
            covered.push((start, end));
            let figures: Vec<Figure> = pattern
                .figures
                .iter()
                .zip(&taken)
                .map(|(is, value)| figure(*is, value, diagnosis.map(|d| &d.facts)))
                .collect();
            let message = line.get(start..end).unwrap_or_default().to_owned();
            // the second half of one event: its DETAIL, or "no rewind required" after its reason
            if let Some((at, last)) = open
                && (last == number || last + 1 == number)
                && let Some(event) = matches.get_mut(at)
                && same_event(event.code, code, pattern)
                && !event.message.contains(&message)
            {
                event.message = format!("{} | {message}", event.message);
                event.figures.extend(figures);
                if code == "FP02" && event.code == "FP01" {
                    event.code = code;
                }
                open = Some((at, number));
                continue;
            }
            open = Some((matches.len(), number));
            matches.push(LogMatch {
                line: number + 1,
                times: 1,
                message,
                code,
                finding_matches: None,
                what_it_means: pattern.meaning.to_owned(),
                figures,
            });
        }
        // a statement or a hint between message and detail does not end the event
        if covered.is_empty()
            && let Some((_, last)) = open.as_mut()
            && (raw.contains("HINT:") || raw.contains("STATEMENT:") || raw.contains("CONTEXT:"))
        {
            *last = number;
        }
    }
    let mut counted: Vec<LogMatch> = Vec::new();
    for found in matches {
        let same = |c: &&mut LogMatch| c.code == found.code && c.message == found.message;
        if let Some(earlier) = counted.iter_mut().find(same) {
            earlier.times += 1;
        } else {
            counted.push(found);
        }
    }
    if let Some(diagnosis) = diagnosis {
        for found in &mut counted {
            judge(found, diagnosis);
        }
    }
    counted
}

/// Whether a match continues the event before it.
fn same_event(event: &str, code: &str, pattern: &Pattern) -> bool {
    event == code || pattern.codes.contains(&event) || (DIVERGED.contains(&event) && DIVERGED.contains(&code))
}

/// Which of a pattern's codes it is: by what the message says itself, then by what the directories show.
fn choose(pattern: &Pattern, taken: &[&str], diagnosis: Option<&Diagnosis>) -> Option<&'static str> {
    let lsn = |is: Is| {
        let at = pattern.figures.iter().position(|f| *f == is)?;
        taken.get(at)?.parse::<Lsn>().ok()
    };
    let default = *pattern.codes.first()?;
    if default == "FP19" && pattern.figures == [Segment] {
        let path = taken.first().copied().unwrap_or_default();
        if path.ends_with(".history") {
            return Some("FP80");
        }
        if !path.contains("pg_wal/") && !path.contains("pg_xlog/") {
            return None;
        }
    }
    if default == "FP13" && taken.first().is_some_and(|m| m.bytes().all(|b| b == b'0')) {
        let half = diagnosis.is_some_and(|d| d.findings.iter().any(|f| f.code == "FP31"));
        return Some(if half { "FP31" } else { "FP22" });
    }
    if let (Some(checkpoint), Some(fork)) = (lsn(Checkpoint), lsn(Fork))
        && checkpoint == fork
        && pattern.codes.contains(&"FP02")
    {
        return Some("FP02");
    }
    let shown = diagnosis
        .and_then(|d| pattern.codes.iter().copied().find(|c| d.findings.iter().any(|f| f.code == *c)));
    Some(shown.unwrap_or(default))
}

/// A figure, compared with the directories.
fn figure(is: Is, value: &str, facts: Option<&Facts>) -> Figure {
    let compared = facts.and_then(|f| compare(is, value, f));
    Figure {
        name: is.name(),
        value: value.to_owned(),
        agrees: compared.as_ref().map(|(agrees, _)| *agrees),
        directories: compared.map(|(_, says)| says),
    }
}

fn compare(is: Is, value: &str, facts: &Facts) -> Option<(bool, String)> {
    let (target, source) = (&facts.target, &facts.source);
    let timeline = || value.parse::<TimelineId>().ok();
    let lsn = || value.parse::<Lsn>().ok();
    match is {
        Requested | SourceTimeline => {
            let n = timeline()?;
            let known = entry_of(&source.lineage.history, n).is_some();
            Some((known, format!("the source is on timeline {}", source.lineage.timeline)))
        }
        TargetTimeline => {
            let n = timeline()?;
            let known = entry_of(&target.lineage.history, n).is_some();
            Some((known, format!("the target is on timeline {}", target.lineage.timeline)))
        }
        Checkpoint => {
            let label = target.leftovers.backup_label.as_ref().and_then(|l| l.checkpoint);
            let at = label.unwrap_or(target.control.checkpoint);
            Some((lsn()? == at, format!("the target's checkpoint is at {at}")))
        }
        Fork => {
            let at = lsn()?;
            let switched: Vec<Lsn> =
                source.lineage.history.entries.iter().map(|e| e.end).filter(|e| *e != Lsn::MAX).collect();
            let says = if switched.is_empty() {
                "the source never left a timeline".to_owned()
            } else {
                format!("the source's history switches at {}", some_of(switched.iter(), 8))
            };
            Some((switched.contains(&at), says))
        }
        MinimumPoint => {
            let at = target.control.min_recovery_point;
            Some((lsn()? == at, format!("the target's minimum recovery point is {at}")))
        }
        Reached => {
            let at = lsn()?;
            let end = target.end.as_ref()?.lsn;
            Some((at <= end, format!("the target's WAL ends at {end}")))
        }
        AsksFrom => {
            let at = lsn()?;
            let end = target.end.as_ref()?.lsn;
            let size = target.segment_size;
            let start = size.start(size.segno(end));
            let next = size.start(size.segno(end) + 1);
            Some((
                at == start || at == next,
                format!("the target's WAL ends at {end}, in the segment from {start}"),
            ))
        }
        End => {
            let at = lsn()?;
            let ends: Vec<(&str, Lsn)> = [("target", target), ("source", source)]
                .into_iter()
                .filter_map(|(name, side)| Some((name, side.end.as_ref()?.lsn)))
                .collect();
            if ends.is_empty() {
                return None;
            }
            let says: Vec<String> =
                ends.iter().map(|(name, end)| format!("the {name}'s WAL ends at {end}")).collect();
            Some((ends.iter().any(|(_, end)| *end == at), says.join(", ")))
        }
        Record => {
            let at = lsn()?;
            let ends = [target, source].map(|s| s.end.as_ref().map(|e| e.lsn));
            let fork = facts.divergence.as_ref().map(|d| d.lsn);
            let checkpoint = target.control.checkpoint;
            let need = facts.wal.find_blocks.as_ref().is_some_and(|n| n.from <= at && at <= n.to);
            let known = ends.contains(&Some(at)) || fork == Some(at) || checkpoint == at || need;
            if !known {
                return None;
            }
            Some((
                true,
                format!(
                    "it lies in the range that has to be read; the target's checkpoint is at {checkpoint}"
                ),
            ))
        }
        Segment => segment(value, facts),
        SourceSystem => {
            let id = source.control.system_identifier;
            Some((value.parse() == Ok(id), format!("the source's is {id}")))
        }
        TargetSystem => {
            let id = target.control.system_identifier;
            Some((value.parse() == Ok(id), format!("the target's is {id}")))
        }
        Text(_) => None,
    }
}

/// Where a segment that a message names lies.
fn segment(path: &str, facts: &Facts) -> Option<(bool, String)> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let needs = [facts.wal.find_blocks.as_ref(), facts.wal.follow.as_ref()];
    let found: &NeededSegment =
        needs.into_iter().flatten().flat_map(|n| &n.segments).find(|s| s.name == name)?;
    let says = match (found.on_target, found.on_source, found.found.first()) {
        (_, _, None) => format!("{name} was found nowhere"),
        (true, true, _) => format!("{name} is on the target and on the source"),
        (true, false, _) => format!("{name} is on the target"),
        (false, true, _) => format!("{name} is not on the target, but on the source"),
        (false, false, Some(place)) => format!("{name} is on neither side, but at {}", place.display()),
    };
    Some((true, says))
}

/// Compares a match with the diagnosis as a whole.
fn judge(found: &mut LogMatch, diagnosis: &Diagnosis) {
    let log_only = codes::CODES
        .iter()
        .any(|c| c.code == found.code && matches!(c.provable, codes::Provable::LogOnly(_)));
    if log_only {
        return;
    }
    let shown = diagnosis.findings.iter().any(|f| f.code == found.code);
    let contradicted = found.figures.iter().any(|f| f.agrees == Some(false));
    found.finding_matches = Some(shown && !contradicted);
    if !shown {
        found.what_it_means += " The two directories, as they are now, do not show it.";
    } else if contradicted {
        found.what_it_means += " The two directories show the same kind of failure, but with other figures: the message is of another \
              moment or of another server.";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> LogMatch {
        let found = explain(text, None);
        assert_eq!(found.len(), 1, "{text}: {found:#?}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn message_and_detail_are_one_event() {
        let stderr = "2026-11-20 08:45:52.211 UTC [4711] FATAL:  requested timeline 2 is not a child of this server's history\n\
                      2026-11-20 08:45:52.211 UTC [4711] DETAIL:  Latest checkpoint is at 0/F5ED78 on timeline 1, but in the \
                      history of the requested timeline, the server forked off from that timeline at 0/F0C968.";
        let found = one(stderr);
        assert_eq!(found.code, "FP01");
        assert_eq!(found.line, 1);
        let figures: Vec<(&str, &str)> = found.figures.iter().map(|f| (f.name, f.value.as_str())).collect();
        assert_eq!(
            figures,
            [
                ("requested timeline", "2"),
                ("latest checkpoint", "0/F5ED78"),
                ("timeline of the target", "1"),
                ("divergence", "0/F0C968")
            ]
        );
        assert_eq!(one(&stderr.replace("0/F5ED78", "0/F0C968")).code, "FP02");
    }

    #[test]
    fn csv_and_json() {
        let csv = "2026-11-20 08:45:52.211 UTC,,,4711,,655d.1267,1,,2026-11-20 08:45:52 UTC,,0,ERROR,42704,\"replication slot \
                   \"\"standby_1\"\" does not exist\",,,,,,,,,\"walreceiver\",\"walsender\",,0";
        let found = one(csv);
        assert_eq!((found.code, found.figures[0].value.as_str()), ("FP26", "standby_1"));
        let json = r#"{"timestamp":"2026-11-20 08:45:52.211 UTC","pid":4711,"error_severity":"FATAL","message":"requested timeline 3 is not a child of this server's history","detail":"Latest checkpoint in file \"global/pg_control\" is at 0/00F5ED78 on timeline 1, but in the history of the requested timeline, the server forked off from that timeline at 0/00F0C968."}"#;
        let found = one(json);
        assert_eq!(found.code, "FP01");
        assert_eq!(found.figures.len(), 5);
    }

    #[test]
    fn repeated_messages_are_counted() {
        let line = "LOG:  new timeline 2 forked off current database system timeline 1 before current recovery point 0/F5EDF0\n";
        let found = one(&line.repeat(3));
        assert_eq!((found.code, found.times), ("FP03", 3));
    }

    #[test]
    fn other_lines_are_left_alone() {
        let text = "LOG:  database system is ready to accept connections\n\
                    ERROR:  could not open file \"base/5/16385\": No such file or directory\n\
                    LOG:  checkpoint complete: wrote 44 buffers (0.3%)\n\
                    {\"message\": 5}\n{\n%\n\"\"\n";
        assert_eq!(explain(text, None), []);
    }

    #[test]
    fn templates_do_not_break_on_odd_text() {
        for text in [
            "requested timeline  is not a child",
            "at /",
            "“invalid record length at 0/: wanted 24, got 0”",
            "= is a lower",
        ] {
            let _ = explain(text, None);
        }
        for pattern in PATTERNS {
            assert_eq!(pattern.template.matches('%').count(), pattern.figures.len(), "{}", pattern.template);
            for code in pattern.codes {
                assert!(codes::CODES.iter().any(|c| c.code == *code), "{code}");
            }
        }
    }
}
