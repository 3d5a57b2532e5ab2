//! Both control files side by side, each field explained.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::explained::{Explained, Subject};
use crate::pg::Major;
use crate::pg::control::wal_level_name;
use crate::report::dto;
use crate::tui::look::{CODE, MATCH, PLAIN, STRONG, WARN};
use crate::tui::saved::Picture;
use crate::tui::widget::pane::{fit, put};
use crate::tui::widget::prose::Para;

/// Lines of the explanation below the list.
const EXPLANATION: u16 = 5;

/// A field: its name in the report, what pg_controldata calls it in short, and what it means for a rejoin.
type Field = (&'static str, &'static str, &'static str);

/// All of them, in pg_controldata's order (`ControlFileData` and its `CheckPoint`, pg_control.h).
const FIELDS: &[Field] = &[
    (
        "major",
        "major",
        "PostgreSQL's major version, by the numbers of the formats. A rewind needs the same on both sides.",
    ),
    (
        "system_identifier",
        "system identifier",
        "Made by initdb, the same on all copies of a cluster. Where it differs the two have nothing to do with each other.",
    ),
    ("pg_control_version", "pg_control version", "Format of the control file."),
    (
        "catalog_version",
        "catalog version",
        "Format of the system catalogs; has to be the same on both sides.",
    ),
    (
        "state",
        "state",
        "What the server did when it wrote the file last. Only \"shut down\" and \"shut down in recovery\" are clean ends; anything else is a crash, a running server, or a copy of one.",
    ),
    ("time", "last modified", "When the file was written."),
    ("checkpoint", "latest checkpoint", "Start of the last checkpoint's record."),
    ("prev_checkpoint", "prior checkpoint", "The checkpoint before (up to 10)."),
    (
        "checkpoint_copy.redo",
        "redo",
        "Where replay starts after a crash. A rewound server starts at the oldest of three of these.",
    ),
    (
        "checkpoint_copy.timeline",
        "timeline",
        "Timeline of the last checkpoint. A standby that was just promoted still has the old one here until its first checkpoint.",
    ),
    (
        "checkpoint_copy.prev_timeline",
        "previous timeline",
        "Differs from the timeline only in the record that ends recovery.",
    ),
    (
        "checkpoint_copy.full_page_writes",
        "full_page_writes",
        "Without it, pages torn by a crash cannot be repaired from WAL; a snapshot of a running server needs it.",
    ),
    ("checkpoint_copy.wal_level", "checkpoint's wal_level", "The WAL level at the checkpoint (17 on)."),
    (
        "checkpoint_copy.logical_decoding",
        "logical decoding",
        "Whether logical decoding was on at the checkpoint (19).",
    ),
    (
        "checkpoint_copy.next_full_xid",
        "next transaction",
        "The next transaction identifier, with epoch. A target that is further gave out identifiers that the source gives out again.",
    ),
    ("checkpoint_copy.next_oid", "next OID", "The next object identifier."),
    ("checkpoint_copy.next_multi", "next multixact", "The next multixact identifier."),
    ("checkpoint_copy.next_multi_offset", "next multixact offset", "The next offset of multixact members."),
    (
        "checkpoint_copy.oldest_xid",
        "oldest transaction",
        "The oldest transaction identifier that may still stand in a row.",
    ),
    ("checkpoint_copy.oldest_xid_db", "its database", "The database with the oldest transaction identifier."),
    (
        "checkpoint_copy.oldest_active_xid",
        "oldest active",
        "The oldest transaction that ran at the checkpoint; 0 for a shutdown. What it wrote before a divergence is lost with it.",
    ),
    (
        "checkpoint_copy.oldest_multi",
        "oldest multixact",
        "The oldest multixact that may still stand in a row.",
    ),
    ("checkpoint_copy.oldest_multi_db", "its database", "The database with the oldest multixact."),
    (
        "checkpoint_copy.oldest_commit_ts_xid",
        "oldest commit time",
        "The oldest transaction with a recorded commit time.",
    ),
    (
        "checkpoint_copy.newest_commit_ts_xid",
        "newest commit time",
        "The newest transaction with a recorded commit time.",
    ),
    (
        "checkpoint_copy.time",
        "checkpoint's time",
        "When the checkpoint was made. A later time does not make a side the right one: look at the timelines.",
    ),
    ("unlogged_lsn", "unlogged LSN", "A counter for unlogged relations."),
    (
        "min_recovery_point",
        "minRecoveryPoint",
        "A server in recovery may not open before it has replayed so far. After a rewind: the end of the source's WAL.",
    ),
    (
        "min_recovery_point_timeline",
        "its timeline",
        "The timeline of minRecoveryPoint. A standby's own timeline may be newer than its checkpoint's.",
    ),
    ("backup_start_point", "backup start", "Set while a base backup is being recovered."),
    ("backup_end_point", "backup end", "The end of a backup of a standby."),
    (
        "backup_end_required",
        "backup end required",
        "Recovery has to reach the record that ends the backup: this is a copy whose WAL must be complete.",
    ),
    ("wal_level", "wal_level", "How much the WAL holds. Under minimal, some changes are not in it."),
    (
        "wal_log_hints",
        "wal_log_hints",
        "Without it and without checksums, hint bits change pages without a trace in the WAL, and pg_rewind refuses.",
    ),
    (
        "max_connections",
        "max_connections",
        "A standby needs at least the primary's value to open for queries.",
    ),
    ("max_worker_processes", "max_worker_processes", "As max_connections."),
    ("max_wal_senders", "max_wal_senders", "As max_connections."),
    ("max_prepared_xacts", "max_prepared_transactions", "As max_connections."),
    ("max_locks_per_xact", "max_locks_per_transaction", "As max_connections."),
    ("track_commit_timestamp", "track_commit_timestamp", "Whether commit times are kept."),
    ("max_align", "maximum alignment", "By the processor; has to be the same."),
    ("float_format", "float format", "A known number: tells whether floating point is stored as here."),
    ("block_size", "block size", "Bytes of a block of a relation."),
    ("relation_segment_size", "blocks per segment", "Blocks of a relation in one file."),
    ("slru_pages_per_segment", "SLRU pages per segment", "Pages of pg_xact and the like in one file (19)."),
    ("wal_block_size", "WAL block size", "Bytes of a page of WAL."),
    (
        "wal_segment_size",
        "bytes per WAL segment",
        "Bytes of a file of WAL; has to be the same on both sides.",
    ),
    ("name_data_len", "length of names", "Bytes of an identifier."),
    ("index_max_keys", "columns in an index", "At most so many."),
    ("toast_max_chunk_size", "TOAST chunk", "Bytes of a piece of an out-of-line value."),
    ("large_object_chunk_size", "large-object chunk", "Bytes of a piece of a large object."),
    ("integer_datetimes", "integer date/times", "How times are stored (up to 9.6 by choice)."),
    ("float4_by_value", "float4 by value", "How float4 is passed."),
    ("float8_by_value", "float8 by value", "How float8 and bigint are passed."),
    (
        "data_checksum_version",
        "data checksums",
        "0: none. On one side only, a rewind would mix pages with and without them.",
    ),
    ("data_checksum_version_init", "checksums by initdb", "What initdb chose (19)."),
    ("default_char_signed", "char is signed", "By the processor on which initdb ran (18)."),
    ("crc", "CRC", "Checksum of the file itself, in hexadecimal."),
    ("crc_ok", "CRC is right", "Otherwise the file is damaged or was read while it was being written."),
];

/// Fields that differ between any two healthy members of a cluster: not marked.
const ALWAYS_DIFFER: [&str; 2] = ["time", "crc"];

/// The second view.
pub type Control = Explained<Fields>;

/// The fields of both control files.
#[derive(Debug)]
pub struct Fields;

/// A field with its values.
#[derive(Debug)]
pub struct Row {
    field: &'static Field,
    target: String,
    source: String,
}

impl Row {
    fn differs(&self) -> bool {
        self.target != self.source && !ALWAYS_DIFFER.contains(&self.field.0)
    }

    fn text(&self) -> String {
        format!("{}: target {}, source {}", self.field.1, self.target, self.source)
    }
}

fn value(control: &Value, field: &str) -> Option<String> {
    let mut at = control;
    for part in field.split('.') {
        at = at.get(part)?;
    }
    match (at, field) {
        (Value::Null, _) => None,
        (Value::String(text), _) => Some(text.clone()),
        (Value::Number(n), "crc") => n.as_u64().map(|n| format!("{n:08X}")),
        (Value::Number(n), "wal_level" | "checkpoint_copy.wal_level") => {
            let major = control.get("major").and_then(Value::as_str);
            let major = Major::ALL.into_iter().find(|m| major.is_some_and(|text| m.to_string() == text));
            let level = n.as_u64().and_then(|n| u32::try_from(n).ok());
            let name = major.zip(level).and_then(|(major, level)| wal_level_name(major, level));
            Some(name.map_or_else(|| n.to_string(), str::to_owned))
        }
        (other, _) => Some(other.to_string()),
    }
}

/// Fields that one of the two has; a major does not have them all.
fn rows(picture: &Picture) -> Vec<Row> {
    let json = |control: &dto::Control| serde_json::to_value(control).unwrap_or_default();
    let (target, source) = (json(&picture.target.control), json(&picture.source.control));
    let row = |field: &'static Field| {
        let (target, source) = (value(&target, field.0), value(&source, field.0));
        if target.is_none() && source.is_none() {
            return None;
        }
        let shown = |value: Option<String>| value.unwrap_or_else(|| "–".into());
        Some(Row { field, target: shown(target), source: shown(source) })
    };
    FIELDS.iter().filter_map(row).collect()
}

/// Columns of the fields' names, and of a side's values.
fn columns(width: usize) -> (usize, usize) {
    let label = 26.min(width / 3);
    (label, width.saturating_sub(label + 4) / 2)
}

impl Subject for Fields {
    type Row = Row;

    fn rows(picture: &Picture) -> Vec<Row> {
        rows(picture)
    }

    fn text(row: &Row) -> String {
        row.text()
    }

    fn upper(_: &[Row], height: u16) -> u16 {
        height - EXPLANATION.min(height / 3)
    }

    fn head(buffer: &mut Buffer, area: Rect) {
        let (label, side) = columns(area.width as usize);
        let head = Line::from(vec![
            Span::styled(fit("  ", 2), PLAIN),
            Span::styled(fit("field", label + 1), STRONG),
            Span::styled(fit("target", side + 1), STRONG),
            Span::styled(fit("source", side), STRONG),
        ]);
        put(buffer, area, 0, &head);
    }

    fn line(row: &Row, width: usize, found: bool) -> Line<'static> {
        let (label, side) = columns(width);
        let (sign, style) = if row.differs() { ("≠ ", WARN) } else { ("  ", PLAIN) };
        Line::from(vec![
            Span::styled(sign, style),
            Span::styled(fit(row.field.1, label), if found { MATCH } else { PLAIN }),
            Span::raw(" "),
            Span::styled(fit(&row.target, side), style),
            Span::raw(" "),
            Span::styled(fit(&row.source, side), style),
        ])
    }

    fn title(row: &Row, rows: &[Row]) -> String {
        let differ = rows.iter().filter(|r| r.differs()).count();
        format!("{}; ≠ {differ} fields differ", row.field.1)
    }

    fn explanation(row: &Row, width: usize) -> Vec<Para> {
        let mut paras = Vec::new();
        // a value that the columns cut off is told in full
        if width > 0 && row.target.len().max(row.source.len()) > columns(width).1 {
            paras.push(Para::new(row.text(), CODE));
        }
        paras.push(Para::new(row.field.2, PLAIN));
        paras
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Names of the members of a schema's object, those of the checkpoint's copy with its name before them.
    fn members(schema: &Value, of: &str, prefix: &str) -> BTreeSet<String> {
        let properties = schema["$defs"][of]["properties"].as_object().unwrap();
        properties.keys().map(|k| format!("{prefix}{k}")).collect()
    }

    #[test]
    fn every_field_of_the_report_is_explained_once() {
        let schema = serde_json::to_value(dto::schema::<dto::Side>()).unwrap();
        let mut expected = members(&schema, "Control", "");
        assert!(expected.remove("checkpoint_copy"));
        expected.extend(members(&schema, "CheckpointCopy", "checkpoint_copy."));
        let told: Vec<_> = FIELDS.iter().map(|f| f.0.to_owned()).collect();
        assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), expected);
        assert_eq!(told.len(), expected.len());
    }
}
