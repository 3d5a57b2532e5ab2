//! Which WAL is needed, and where each segment of it lies.

use crate::pg::{Lsn, WalName};
use crate::scan::path::WalPath;
use crate::source::walset::{Place, WalSet};
use crate::wal::PAGE_SIZE;

use super::{Checkpoint, NeededSegment, WalNeed};

/// Of a longer range only the first segment and the newest ones are looked up: a damaged position can claim any length.
const MAX_SEGMENTS: u64 = 1 << 16;

/// Looks up every segment between `from` and `to` along `path`. On segments that end at or before `common_to` both
/// sides' directories serve, behind it only `own`.
pub fn locate(
    path: &WalPath<'_>,
    (from, to): (Lsn, Lsn),
    mut why: String,
    (target, source): (&WalSet, &WalSet),
    usable: impl Fn(u64) -> (bool, bool),
) -> WalNeed {
    let size = path.format.segment_size;
    let mut segments = Vec::new();
    let last = if to > from { size.prev_segno(to) } else { size.segno(from) };
    let first = size.segno(from);
    let newest = last.saturating_sub(MAX_SEGMENTS).max(first + 1);
    if newest > first + 1 {
        why = format!(
            "{why}; of these {} segments only the first and the newest {} are listed",
            last - first + 1,
            last - newest + 1
        );
    }
    for segno in std::iter::once(first).chain(newest..=last) {
        let mut needed: Option<NeededSegment> = None;
        for (timeline, _) in path.timelines_of(segno) {
            let entry = needed.get_or_insert_with(|| NeededSegment {
                name: WalName::Segment(timeline, segno).file_name(size),
                timeline,
                segno,
                found: Vec::new(),
                on_target: false,
                on_source: false,
            });
            let (from_target, from_source) = usable(segno);
            if from_target {
                for place in target.places(timeline, segno) {
                    entry.on_target |= place.place == Place::Own;
                    entry.found.push(place.path);
                }
            }
            if from_source {
                for place in source.places(timeline, segno) {
                    entry.on_source |= place.place == Place::Own;
                    if !entry.found.contains(&place.path) {
                        entry.found.push(place.path);
                    }
                }
            }
            if !entry.found.is_empty() {
                break;
            }
        }
        segments.extend(needed);
    }
    WalNeed { from, to, why, segments }
}

/// A file of the target's that is cut short serves for reading where all that is needed of it is there, as it does for
/// pg_rewind.
pub fn short_ones(need: &mut WalNeed, target: &WalSet) {
    let size = target.segment_size();
    for segment in need.segments.iter_mut().filter(|s| s.found.is_empty()) {
        let start = size.start(segment.segno);
        let wanted = need.to.min(start.plus(size.bytes())).since(start).next_multiple_of(PAGE_SIZE as u64);
        let found = target.open_damaged(segment.timeline, segment.segno);
        if let Some(file) = found.filter(|f| f.place == Place::Own && !f.partial && f.len >= wanted) {
            segment.on_target = true;
            segment.found.push(file.path);
        }
    }
}

/// Where replay of the rewound target must start: the oldest of three redo pointers. A target that was a standby has
/// files only as new as its last restartpoint, which can lie before the last common checkpoint.
pub fn replay_start(common: Option<&Checkpoint>, source_redo: Lsn, target_redo: Lsn) -> (Lsn, String) {
    let candidates = [
        (common.map(|c| c.redo), "the redo of the last common checkpoint"),
        (Some(source_redo), "the redo of the source's last checkpoint"),
        (Some(target_redo), "the redo of the target's last checkpoint or restartpoint"),
    ];
    let oldest = candidates.into_iter().filter_map(|(lsn, what)| lsn.map(|l| (l, what))).min_by_key(|c| c.0);
    oldest.map_or((Lsn::INVALID, String::new()), |(lsn, what)| (lsn, what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::history::History;
    use crate::pg::{Major, SegmentSize};
    use crate::source::walset::WalIdentity;
    use crate::wal::Format;

    #[test]
    fn an_absurd_range_is_listed_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let size = SegmentSize::DEFAULT;
        let identity = WalIdentity { system_identifier: 1, magic: None, major: None };
        let set = WalSet::new(dir.path(), &[], None, size, identity);
        let history = History::single(1);
        let format = Format { major: Major::V18, system_identifier: 1, segment_size: size };
        let path = WalPath { format, history: &history, store: &set };
        let need = locate(&path, (Lsn(0x28), Lsn::MAX), "why".into(), (&set, &set), |_| (true, true));
        assert_eq!(need.segments.len() as u64, MAX_SEGMENTS + 2);
        assert_eq!(need.segments[0].segno, 0);
        assert!(need.why.starts_with("why; of these 1099511627776 segments only"), "{}", need.why);
        let need = locate(&path, (Lsn(0x28), Lsn(0x300_0028)), "why".into(), (&set, &set), |_| (true, true));
        assert_eq!((need.segments.len(), need.why.as_str()), (4, "why"));
        let need =
            locate(&path, (Lsn(0x300_0028), Lsn(0x300_0028)), String::new(), (&set, &set), |_| (true, true));
        assert_eq!(need.segments.len(), 1);
    }
}
