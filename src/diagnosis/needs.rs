//! Which WAL is needed, and where each segment of it lies.

use crate::pg::{Lsn, WalName};
use crate::scan::path::WalPath;
use crate::source::walset::{Place, WalSet};

use super::facts::{Checkpoint, NeededSegment, WalNeed};

/// Looks up every segment between `from` and `to` along `path`. On segments that end at or before `common_to` both
/// sides' directories serve, behind it only `own`.
pub fn locate(
    path: &WalPath<'_>,
    (from, to): (Lsn, Lsn),
    why: String,
    (target, source): (&WalSet, &WalSet),
    usable: impl Fn(u64) -> (bool, bool),
) -> WalNeed {
    let size = path.format.segment_size;
    let mut segments = Vec::new();
    let last = if to > from { size.prev_segno(to) } else { size.segno(from) };
    for segno in size.segno(from)..=last {
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
