//! Which timelines a side really went through. pg_control alone is not believed: a primary that has not checkpointed
//! since its promotion still names its old timeline.

use crate::pg::bytes::Bytes;
use crate::pg::control::{CheckpointCopy, ControlFile};
use crate::pg::history::History;
use crate::pg::{Lsn, TimelineId};
use crate::scan::path::{Segments, WalPath};
use crate::scan::walk::{read_record, record_start};
use crate::source::walset::{Place, Segment, WalSet};
use crate::wal::Format;
use crate::wal::rmgr::{id, op};

use super::{FoundHistory, Lineage, LineageEvidence};

/// Only what lies in the side's own WAL directory: an archive holds the WAL of other servers too.
pub struct OwnOnly<'a>(pub &'a WalSet);

impl Segments for OwnOnly<'_> {
    fn open(&self, timeline: TimelineId, segno: u64) -> Option<Segment> {
        let own = |s: &Segment| s.place == Place::Own;
        if !self.0.candidates(timeline, segno).iter().any(|c| c.place == Place::Own) {
            return None;
        }
        Segments::open(self.0, timeline, segno).filter(own)
    }
}

/// Finds the side's lineage from its control file, its WAL, and the histories that are `known` (its own first).
pub fn find(control: &ControlFile, set: &WalSet, format: Format, known: Vec<FoundHistory>) -> Lineage {
    let mut lineage = of_control(control, known);
    let control_timeline = lineage.control_timeline;
    let reached = position(control);
    let mut children: Vec<&History> = lineage
        .known
        .iter()
        .map(|k| &k.history)
        .filter(|h| h.timeline > control_timeline)
        .filter(|h| h.switch_point(control_timeline).is_some_and(|switch| switch >= reached))
        .collect();
    children.sort_by_key(|h| std::cmp::Reverse(h.timeline));
    for child in children {
        if let Some(at) = first_record(child, set, format) {
            lineage.timeline = child.timeline;
            lineage.evidence = LineageEvidence::FirstRecord(at);
            lineage.history = child.clone();
            break;
        }
    }
    lineage.note_missing();
    lineage
}

/// The lineage as the control file alone tells it.
pub fn of_control(control: &ControlFile, known: Vec<FoundHistory>) -> Lineage {
    let control_timeline = control.checkpoint_copy.timeline.max(control.min_recovery_point_tli.unwrap_or(0));
    let mut lineage = Lineage {
        history: history_of(control_timeline, &known),
        timeline: control_timeline,
        control_timeline,
        evidence: LineageEvidence::Control,
        missing_history: Vec::new(),
        known,
    };
    lineage.note_missing();
    lineage
}

impl Lineage {
    fn note_missing(&mut self) {
        self.missing_history.clear();
        if self.timeline > 1 && !self.known.iter().any(|k| k.history.timeline == self.timeline) {
            self.missing_history.push(self.timeline);
        }
    }
}

/// How far the data files are known to have got on the control file's timeline.
fn position(control: &ControlFile) -> Lsn {
    let same = control.min_recovery_point_tli.is_none_or(|t| t >= control.checkpoint_copy.timeline);
    if same { control.checkpoint.max(control.min_recovery_point) } else { control.checkpoint }
}

fn history_of(timeline: TimelineId, known: &[FoundHistory]) -> History {
    known
        .iter()
        .find(|k| k.history.timeline == timeline)
        .map_or_else(|| History::single(timeline), |k| k.history.clone())
}

/// The LSN of the record that began the history's own timeline, if the side has it and it says so.
fn first_record(history: &History, set: &WalSet, format: Format) -> Option<Lsn> {
    let begin = history.entries.last()?.begin;
    let at = record_start(begin, format.segment_size.bytes());
    let own = OwnOnly(set);
    let path = WalPath { format, history, store: &own };
    let begins = read_record(&path, at, |record| {
        let main = record.main_data(format.major)?;
        if record.rmid != id::XLOG {
            return None;
        }
        let timeline = match record.info & 0xF0 {
            // xl_end_of_recovery: time, ThisTimeLineID, PrevTimeLineID
            op::XLOG_END_OF_RECOVERY => Bytes::new(main).u32_at(8).ok()?,
            op::XLOG_CHECKPOINT_SHUTDOWN => CheckpointCopy::parse(main, format.major).ok()?.timeline,
            _ => return None,
        };
        (timeline == history.timeline).then_some(())
    });
    begins.ok().flatten().map(|()| at)
}
