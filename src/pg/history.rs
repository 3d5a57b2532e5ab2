//! Timeline history files (`timeline.c`).
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used, clippy::panic)
)]

use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::character::complete::{satisfy, u32 as decimal};
use nom::combinator::{map_opt, not};
use nom::sequence::{preceded, separated_pair, terminated};
use nom::{IResult, Parser};
use thiserror::Error;

use super::{Lsn, TimelineId};

/// Longest line in bytes that a server reads in one piece (`MAXPGPATH`, less the terminating zero); it takes what
/// follows for a line of its own.
const SERVER_LINE_LIMIT: usize = 1023;

/// The timelines that led to one timeline, oldest first; the last entry is the timeline itself, with an open end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The timeline that the file is of.
    pub timeline: TimelineId,
    /// Ascending; never empty.
    pub entries: Vec<HistoryEntry>,
    /// The file's lines as they stand, comments and blank ones too, without line ends.
    pub lines: Vec<String>,
}

/// One timeline of a history: it covers `begin` up to but not including `end`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryEntry {
    /// The timeline.
    pub timeline: TimelineId,
    /// Where it begins: the previous entry's end, 0/0 for the first.
    pub begin: Lsn,
    /// Where the next one forked off; [`Lsn::MAX`] for the last entry.
    pub end: Lsn,
    /// Why the next timeline was made, as the file says; empty for the last entry.
    pub reason: String,
}

/// Why a file is no history; PostgreSQL refuses it likewise. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryError {
    /// A line that is not `timeline LSN reason`.
    #[error("line {line} of the history is {text:?}: expected {expected}")]
    Syntax {
        /// Its number.
        line: usize,
        /// The line, cut after 100 characters.
        text: String,
        /// What should stand there.
        expected: &'static str,
    },
    /// A timeline that is not above the one before it.
    #[error(
        "line {line} of the history names timeline {found} after timeline {previous}: expected ascending ones"
    )]
    NotAscending {
        /// Its number.
        line: usize,
        /// The timeline on it.
        found: TimelineId,
        /// The timeline on the line before it.
        previous: TimelineId,
    },
    /// An ancestor that is not below the timeline that the file is of.
    #[error(
        "line {line} names timeline {found} in the history of timeline {timeline}: expected one below it"
    )]
    NotBelow {
        /// Its number.
        line: usize,
        /// The timeline on it.
        found: TimelineId,
        /// The file's own timeline.
        timeline: TimelineId,
    },
}

/// Something in a history that PostgreSQL reads without a word and that cannot be right. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HistoryProblem {
    /// A timeline that ends before it begins.
    #[error("line {line} of the history lets timeline {timeline} end at {end}, before it begins at {begin}")]
    FallingLsn {
        /// Its number.
        line: usize,
        /// The timeline.
        timeline: TimelineId,
        /// Where the line before it ends.
        begin: Lsn,
        /// Where it ends itself.
        end: Lsn,
    },
    /// A switch point of 0/0, which PostgreSQL takes for "none".
    #[error("line {line} of the history lets timeline {timeline} end at 0/0")]
    NoSwitchPoint {
        /// Its number.
        line: usize,
        /// The timeline.
        timeline: TimelineId,
    },
    /// Timeline 0, which does not exist.
    #[error("line {line} of the history names timeline 0, which does not exist")]
    TimelineZero {
        /// Its number.
        line: usize,
    },
    /// A line that a server would read as two.
    #[error(
        "line {line} of the history has {length} bytes; a server reads what follows the first {SERVER_LINE_LIMIT} as another line"
    )]
    LongLine {
        /// Its number.
        line: usize,
        /// Its length in bytes.
        length: usize,
    },
}

/// What two histories have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommonPrefix {
    /// Index of the last common entry, the same in both.
    pub index: usize,
    /// Its timeline.
    pub timeline: TimelineId,
    /// Where its shared part ends by the histories: the smaller of both ends; [`Lsn::MAX`] when it is open in both.
    pub end: Lsn,
}

impl History {
    /// The history of a timeline without parents: timeline 1, or one whose file is not there, as PostgreSQL assumes.
    pub fn single(timeline: TimelineId) -> Self {
        let only = HistoryEntry { timeline, begin: Lsn::INVALID, end: Lsn::MAX, reason: String::new() };
        Self { timeline, entries: vec![only], lines: Vec::new() }
    }

    /// Reads the content of the history file of `timeline` (`readTimeLineHistory`). Bytes that are not UTF-8 are
    /// replaced. An empty file gives [`History::single`]'s entry.
    pub fn parse(content: impl AsRef<[u8]>, timeline: TimelineId) -> Result<Self, HistoryError> {
        let lines = split_lines(content.as_ref());
        let mut entries = Vec::<HistoryEntry>::new();
        let mut begin = Lsn::INVALID;
        for (number, text) in numbered(&lines) {
            let Some(parsed) = parse_line(number, text)? else { continue };
            let found = parsed.timeline;
            if let Some(previous) = entries.last().map(|e| e.timeline).filter(|previous| found <= *previous) {
                return Err(HistoryError::NotAscending { line: number, found, previous });
            }
            if found >= timeline {
                return Err(HistoryError::NotBelow { line: number, found, timeline });
            }
            entries.push(HistoryEntry {
                timeline: found,
                begin,
                end: parsed.end,
                reason: parsed.reason.to_owned(),
            });
            begin = parsed.end;
        }
        entries.push(HistoryEntry { timeline, begin, end: Lsn::MAX, reason: String::new() });
        Ok(Self { timeline, entries, lines })
    }

    /// What PostgreSQL accepts and what cannot be right all the same, line by line.
    pub fn problems(&self) -> Vec<HistoryProblem> {
        let mut problems = Vec::new();
        let mut begin = Lsn::INVALID;
        for (line, text) in numbered(&self.lines) {
            if text.len() > SERVER_LINE_LIMIT {
                problems.push(HistoryProblem::LongLine { line, length: text.len() });
            }
            let Ok(Some(Line { timeline, end, .. })) = parse_line(line, text) else { continue };
            if timeline == 0 {
                problems.push(HistoryProblem::TimelineZero { line });
            }
            if !end.is_valid() {
                problems.push(HistoryProblem::NoSwitchPoint { line, timeline });
            } else if end < begin {
                problems.push(HistoryProblem::FallingLsn { line, timeline, begin, end });
            }
            begin = end;
        }
        problems
    }

    /// The entry of `timeline`, if it is part of this history.
    pub fn entry(&self, timeline: TimelineId) -> Option<&HistoryEntry> {
        self.entries.iter().find(|e| e.timeline == timeline)
    }

    /// `timeline` is this timeline or one that led to it (`tliInHistory`).
    pub fn contains(&self, timeline: TimelineId) -> bool {
        self.entry(timeline).is_some()
    }

    /// Where this history left `timeline` (`tliSwitchPoint`); `None` for the history's own timeline and for one that
    /// is not part of it.
    pub fn switch_point(&self, timeline: TimelineId) -> Option<Lsn> {
        let last = self.entries.last().map(|e| e.timeline);
        self.entry(timeline).filter(|e| Some(e.timeline) != last).map(|e| e.end)
    }

    /// The newest timeline that owns the byte at `lsn` (`tliOfPointInHistory`); the file's own beyond the last switch
    /// point. `None` only where falling LSNs leave a hole.
    pub fn timeline_of(&self, lsn: Lsn) -> Option<TimelineId> {
        let owns = |e: &&HistoryEntry| e.begin <= lsn && (lsn < e.end || e.end == Lsn::MAX);
        self.entries.iter().rev().find(owns).map(|e| e.timeline)
    }

    /// The entry of the timeline that this one forked off; `None` when it has no parent.
    pub fn parent(&self) -> Option<&HistoryEntry> {
        self.entries.iter().rev().nth(1)
    }

    /// The last entry that both histories share, compared as pg_rewind does (`findCommonAncestorTimeline`): by
    /// timeline and beginning, from the oldest on. `None` when not even the first is the same. A timeline number alone
    /// does not prove that both sides have the same records on it.
    pub fn common_prefix(&self, other: &Self) -> Option<CommonPrefix> {
        let same = |(a, b): &(&HistoryEntry, &HistoryEntry)| a.timeline == b.timeline && a.begin == b.begin;
        let (index, (a, b)) = self.entries.iter().zip(&other.entries).take_while(same).enumerate().last()?;
        Some(CommonPrefix { index, timeline: a.timeline, end: a.end.min(b.end) })
    }
}

struct Line<'a> {
    timeline: TimelineId,
    end: Lsn,
    reason: &'a str,
}

fn split_lines(content: &[u8]) -> Vec<String> {
    let mut lines = content.split(|byte| *byte == b'\n').collect::<Vec<_>>();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    let text = |line: &[u8]| String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
    lines.into_iter().map(text).collect()
}

fn numbered(lines: &[String]) -> impl Iterator<Item = (usize, &str)> {
    lines.iter().enumerate().map(|(index, line)| (index + 1, line.as_str()))
}

/// What C's `isspace` holds for white space.
const fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0B' | '\x0C')
}

/// `None` for a comment or a blank line, else `timeline`, white space, `X/X`; the rest is the reason.
fn parse_line(number: usize, text: &str) -> Result<Option<Line<'_>>, HistoryError> {
    let syntax =
        |expected| HistoryError::Syntax { line: number, text: text.chars().take(100).collect(), expected };
    let start = text.trim_start_matches(is_space);
    if start.is_empty() || start.starts_with('#') {
        return Ok(None);
    }
    let (after, timeline) = timeline(start).map_err(|_| syntax("a numeric timeline ID"))?;
    let (after, end) =
        switch_point(after).map_err(|_| syntax("an LSN like 0/3000028 after the timeline ID"))?;
    Ok(Some(Line { timeline, end, reason: after.trim_matches(is_space) }))
}

fn timeline(input: &str) -> IResult<&str, TimelineId> {
    decimal(input)
}

fn switch_point(input: &str) -> IResult<&str, Lsn> {
    let is_hex = |c: char| c.is_ascii_hexdigit();
    let half = |input| {
        terminated(map_opt(take_while_m_n(1, 8, is_hex), half_of_lsn), not(satisfy(is_hex))).parse(input)
    };
    let lsn =
        separated_pair(half, tag("/"), half).map(|(high, low)| Lsn(u64::from(high) << 32 | u64::from(low)));
    preceded(take_while1(is_space), lsn).parse(input)
}

fn half_of_lsn(digits: &str) -> Option<u32> {
    u32::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const THREE: &str =
        "1\t0/3000110\tno recovery target specified\n\n2\t1/A0\tbefore 2026-11-20 06:00:00+00\n";

    #[test]
    fn as_servers_write_it() {
        let history = History::parse(THREE, 3).unwrap();
        let entry =
            |timeline, begin, end, reason: &str| HistoryEntry { timeline, begin, end, reason: reason.into() };
        assert_eq!(
            history.entries,
            [
                entry(1, Lsn(0), Lsn(0x300_0110), "no recovery target specified"),
                entry(2, Lsn(0x300_0110), Lsn(0x1_0000_00A0), "before 2026-11-20 06:00:00+00"),
                entry(3, Lsn(0x1_0000_00A0), Lsn::MAX, ""),
            ]
        );
        assert_eq!(history.lines, THREE.lines().collect::<Vec<_>>());
        assert_eq!(history.problems(), []);
        assert_eq!(history.parent().map(|e| e.timeline), Some(2));
        assert!(history.contains(3) && !history.contains(4));
        assert_eq!(history.switch_point(1), Some(Lsn(0x300_0110)));
        assert_eq!((history.switch_point(3), history.switch_point(4)), (None, None));
        for (lsn, timeline) in [(0, 1), (0x300_010F, 1), (0x300_0110, 2), (0x1_0000_00A0, 3), (u64::MAX, 3)] {
            assert_eq!(history.timeline_of(Lsn(lsn)), Some(timeline), "{lsn:X}");
        }
    }

    #[test]
    fn what_servers_accept_besides() {
        let text = "# made by hand\r\n  \t\n 1   0/03000110   two  words \r\n#2\t0/1\n3\t0/4000000";
        let history = History::parse(text, 7).unwrap();
        let timelines = history.entries.iter().map(|e| e.timeline).collect::<Vec<_>>();
        assert_eq!(timelines, [1, 3, 7]);
        assert_eq!(history.entries[0].reason, "two  words");
        assert_eq!(history.lines.len(), 5);
        assert_eq!(history.lines[2], " 1   0/03000110   two  words ");
        let latin1 = History::parse(b"1\t0/3000110\tat restore point \"caf\xE9\"\n", 2).unwrap();
        assert_eq!(latin1.entries[0].reason, "at restore point \"caf\u{FFFD}\"");
        assert_eq!(History::parse("", 5).unwrap(), History::single(5));
        assert_eq!(History::single(5).parent(), None);
        // equal switch points: a timeline that was left before anything was written on it
        let equal = History::parse("1\t0/3000110\tx\n2\t0/3000110\ty\n", 3).unwrap();
        assert_eq!(equal.problems(), []);
        assert_eq!(equal.timeline_of(Lsn(0x300_0110)), Some(3));
    }

    #[test]
    fn what_servers_refuse() {
        let message = |text: &str| History::parse(text, 3).unwrap_err().to_string();
        assert_eq!(message("junk"), "line 1 of the history is \"junk\": expected a numeric timeline ID");
        let lsn = |line, text| {
            format!(
                "line {line} of the history is {text:?}: expected an LSN like 0/3000028 after the timeline ID"
            )
        };
        for text in ["1", "1\t", "1\t3000110\tx", "1\tno reason", "1\t0/", "1\t0/123456789", "1\t/1"] {
            assert_eq!(message(&format!("\n{text}\n")), lsn(2, text));
        }
        assert_eq!(
            message("99999999999\t0/1"),
            "line 1 of the history is \"99999999999\\t0/1\": expected a numeric timeline ID"
        );
        assert_eq!(
            message("1\t0/1\n# x\n1\t0/2\n"),
            "line 3 of the history names timeline 1 after timeline 1: expected ascending ones"
        );
        assert_eq!(
            message("1\t0/1\n3\t0/2\n"),
            "line 2 names timeline 3 in the history of timeline 3: expected one below it"
        );
    }

    #[test]
    fn what_cannot_be_right() {
        let history = History::parse("0\t0/0\n1\t0/3000110\n2\t0/2000000\n", 3).unwrap();
        let problems = history.problems();
        assert!(matches!(
            problems.as_slice(),
            [
                HistoryProblem::TimelineZero { line: 1 },
                HistoryProblem::NoSwitchPoint { line: 1, timeline: 0 },
                HistoryProblem::FallingLsn { line: 3, timeline: 2, .. }
            ]
        ));
        assert_eq!(
            problems[2].to_string(),
            "line 3 of the history lets timeline 2 end at 0/2000000, before it begins at 0/3000110"
        );
        let long = format!("1\t0/3000110\t{}\n", "x".repeat(1023));
        let problems = History::parse(&long, 2).unwrap().problems();
        assert_eq!(problems, [HistoryProblem::LongLine { line: 1, length: 1035 }]);
    }

    #[test]
    fn common_parts() {
        let parse = |text: &str, timeline| History::parse(text, timeline).unwrap();
        let one = History::single(1);
        let two = parse("1\t0/3000110\tx", 2);
        let three = parse("1\t0/3000110\tx\n2\t0/5000000\ty", 3);
        let common = |index, timeline, end| Some(CommonPrefix { index, timeline, end });
        assert_eq!(one.common_prefix(&one), common(0, 1, Lsn::MAX));
        assert_eq!(one.common_prefix(&two), common(0, 1, Lsn(0x300_0110)));
        assert_eq!(two.common_prefix(&one), common(0, 1, Lsn(0x300_0110)));
        assert_eq!(two.common_prefix(&three), common(1, 2, Lsn(0x500_0000)));
        // twins: both made a timeline 2, at different places
        let twin = parse("1\t0/4000000\tx", 2);
        assert_eq!(two.common_prefix(&twin), common(0, 1, Lsn(0x300_0110)));
        assert_eq!(parse("1\t0/3000110\tx", 3).common_prefix(&two), common(0, 1, Lsn(0x300_0110)));
        assert_eq!(History::single(4).common_prefix(&two), None);
    }

    proptest! {
        #[test]
        fn random_text_never_panics(content: Vec<u8>, text in "([0-9 \t\n#]|0/|[0-9A-F]{1,9}|x)*", timeline: u32) {
            for content in [content.as_slice(), text.as_bytes()] {
                if let Ok(history) = History::parse(content, timeline) {
                    history.problems();
                    history.timeline_of(Lsn(0x300_0000));
                    prop_assert_eq!(history.common_prefix(&history).map(|c| c.timeline), Some(timeline));
                }
            }
        }

        #[test]
        fn printed_as_servers_do(
            steps in prop::collection::vec((1..1000u32, any::<u32>(), "[ -~]{0,80}"), 0..20),
            padded: bool,
        ) {
            let mut text = String::new();
            let (mut timeline, mut end) = (0, 0u64);
            let mut expected = Vec::new();
            for (step, bytes, reason) in steps {
                timeline += step;
                let begin = Lsn(end);
                end += u64::from(bytes) + 1;
                let (high, low) = (end >> 32, end & 0xFFFF_FFFF);
                let newline = if text.is_empty() { "" } else { "\n" };
                let lsn = if padded { format!("{high:X}/{low:08X}") } else { format!("{high:X}/{low:X}") };
                text.extend([newline, &timeline.to_string(), "\t", &lsn, "\t", &reason, "\n"]);
                expected.push(HistoryEntry { timeline, begin, end: Lsn(end), reason: reason.trim().to_owned() });
            }
            timeline += 1;
            expected.push(HistoryEntry { timeline, begin: Lsn(end), end: Lsn::MAX, reason: String::new() });
            let history = History::parse(&text, timeline).unwrap();
            prop_assert_eq!(&history.entries, &expected);
            prop_assert_eq!(history.problems(), vec![]);
            prop_assert_eq!(history.lines.join("\n"), text.trim_end_matches('\n'));
        }
    }
}
