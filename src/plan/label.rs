//! The backup_label that tells a rewound server where to start its replay (`createBackupLabel` of pg_rewind.c).

use crate::pg::walname::segment_name;
use crate::pg::{Lsn, Major, SegmentSize};

use super::model::ReplayStart;

/// Stands for the time in a plan's label.
pub const TIME: &str = "@START TIME@";

/// The label's text with [`TIME`] in place of the time.
pub fn text(start: &ReplayStart, size: SegmentSize, major: Major) -> String {
    let lsn = |lsn: Lsn| {
        if major >= Major::V19 {
            format!("{:X}/{:08X}", lsn.0 >> 32, lsn.0 & 0xFFFF_FFFF)
        } else {
            lsn.to_string()
        }
    };
    format!(
        "START WAL LOCATION: {} (file {})\nCHECKPOINT LOCATION: {}\nBACKUP METHOD: pg_rewind\nBACKUP FROM: standby\n\
         START TIME: {TIME}\n",
        lsn(start.redo),
        segment_name(start.timeline, start.redo, size),
        lsn(start.checkpoint),
    )
}

/// The label as it is written, with the time as pg_rewind gives it: `2026-01-02 03:04:05 CET`, local time.
pub fn with_time(label: &str, time: &str) -> String {
    label.replacen(TIME, time, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_majors() {
        let start = ReplayStart {
            redo: Lsn(0x300_0028),
            checkpoint: Lsn(0x300_0060),
            timeline: 2,
            why: String::new(),
        };
        let label = text(&start, SegmentSize::DEFAULT, Major::V17);
        assert_eq!(
            with_time(&label, "2026-01-02 03:04:05 CET"),
            "START WAL LOCATION: 0/3000028 (file 000000020000000000000003)\nCHECKPOINT LOCATION: 0/3000060\n\
             BACKUP METHOD: pg_rewind\nBACKUP FROM: standby\nSTART TIME: 2026-01-02 03:04:05 CET\n"
        );
        assert!(text(&start, SegmentSize::DEFAULT, Major::V19).contains("LOCATION: 0/03000060\n"));
    }
}
