//! Both control files side by side, each field explained.

use std::cell::Cell;

use crossterm::event::{MouseEvent, MouseEventKind};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use serde_json::Value;

use super::{Context, Prompt, Shared, View};
use crate::report::dto;
use crate::tui::action::Action;
use crate::tui::look::{CODE, MATCH, PLAIN, STRONG, WARN};
use crate::tui::saved::Picture;
use crate::tui::widget::list::List;
use crate::tui::widget::pane::{fit, put, put_row, titled};
use crate::tui::widget::prose::{Para, Scroll};

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
    (
        "checkpoint_copy.wal_level",
        "checkpoint's wal_level",
        "The WAL level at the checkpoint, by number (19).",
    ),
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
    (
        "wal_level",
        "wal_level",
        "0 minimal, 1 replica, 2 logical; numbered differently before 9.6. Under minimal, some changes are not in the WAL.",
    ),
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
    ("crc", "CRC", "Checksum of the file itself."),
    ("crc_ok", "CRC is right", "Otherwise the file is damaged or was read while it was being written."),
];

/// Fields that differ between any two healthy members of a cluster: not marked.
const ALWAYS_DIFFER: [&str; 2] = ["time", "crc"];

/// The second view.
#[derive(Debug, Default)]
pub struct Control {
    list: List,
    search: String,
    drawn: Cell<Rect>,
}

struct Row {
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
    match at {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
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

impl Control {
    fn find(&mut self, rows: &[Row], back: bool) -> bool {
        let wanted = self.search.to_lowercase();
        let says = |n: usize| rows.get(n).is_some_and(|r: &Row| r.text().to_lowercase().contains(&wanted));
        self.list.find(rows.len(), back, says)
    }
}

impl View for Control {
    fn update(&mut self, action: Action, context: &mut Context<'_>) {
        let Some(picture) = context.shared.picture.clone() else { return };
        let rows = rows(&picture);
        if self.list.moved(action, rows.len()) {
            return;
        }
        match action {
            Action::NextMatch | Action::PreviousMatch
                if !self.find(&rows, action == Action::PreviousMatch) =>
            {
                context.say(format!("{} is nowhere", self.search));
            }
            Action::Copy => {
                if let Some(row) = rows.get(self.list.selected()) {
                    context.copy(row.text());
                }
            }
            _ => {}
        }
    }

    fn refuses(&self, action: Action, _: &Shared) -> Option<String> {
        match action {
            Action::NextMatch | Action::PreviousMatch if self.search.is_empty() => {
                Some("search first, with /".into())
            }
            Action::Enter | Action::Back | Action::NextPane | Action::PreviousPane | Action::Enlarge => {
                Some("there is nothing to open here: the field is explained below".into())
            }
            _ => None,
        }
    }

    fn prompt(&self, _: Prompt, _: &Shared) -> String {
        self.search.clone()
    }

    fn entered(&mut self, _: Prompt, text: &str, context: &mut Context<'_>) -> Result<(), String> {
        text.clone_into(&mut self.search);
        let Some(picture) = context.shared.picture.clone() else { return Ok(()) };
        if text.is_empty() || self.find(&rows(&picture), false) {
            Ok(())
        } else {
            Err("nothing here says so".into())
        }
    }

    fn mouse(&mut self, event: MouseEvent, _: Rect, context: &mut Context<'_>) {
        let list = self.drawn.get();
        if let (MouseEventKind::Down(_), Some(picture)) = (event.kind, &context.shared.picture)
            && list.contains((event.column, event.row).into())
        {
            let row = self.list.at_line(usize::from(event.row - list.y));
            self.list.select(row, rows(picture).len());
        }
    }

    fn draw(&self, buffer: &mut Buffer, area: Rect, shared: &Shared) {
        let Some(picture) = &shared.picture else {
            Scroll::default().draw(buffer, area, &[Para::new(shared.without_picture(), PLAIN)]);
            return;
        };
        let rows = rows(picture);
        let below = EXPLANATION.min(area.height / 3);
        let upper = Rect { height: area.height - below, ..area };
        let lower = Rect { y: area.y + upper.height, height: below, ..area };
        let width = area.width as usize;
        let label = 26.min(width / 3);
        let side = width.saturating_sub(label + 4) / 2;
        let head = Line::from(vec![
            Span::styled(fit("  ", 2), PLAIN),
            Span::styled(fit("field", label + 1), STRONG),
            Span::styled(fit("target", side + 1), STRONG),
            Span::styled(fit("source", side), STRONG),
        ]);
        put(buffer, upper, 0, &head);
        let list = crate::tui::widget::pane::below(upper, 1);
        self.drawn.set(list);
        let wanted = self.search.to_lowercase();
        for (line, index) in self.list.window(rows.len(), list.height as usize).enumerate() {
            let Some(row) = rows.get(index) else { continue };
            let (sign, style) = if row.differs() { ("≠ ", WARN) } else { ("  ", PLAIN) };
            let found = !wanted.is_empty() && row.text().to_lowercase().contains(&wanted);
            let text = Line::from(vec![
                Span::styled(sign, style),
                Span::styled(fit(row.field.1, label), if found { MATCH } else { PLAIN }),
                Span::raw(" "),
                Span::styled(fit(&row.target, side), style),
                Span::raw(" "),
                Span::styled(fit(&row.source, side), style),
            ]);
            put_row(buffer, list, line as u16, &text, index == self.list.selected(), true);
        }
        let differ = rows.iter().filter(|r| r.differs()).count();
        if let Some(row) = rows.get(self.list.selected()) {
            let body = titled(buffer, lower, &format!("{}; ≠ {differ} fields differ", row.field.1), false);
            let mut paras = Vec::new();
            // a value that the columns cut off is told in full
            if row.target.len().max(row.source.len()) > side {
                paras.push(Para::new(row.text(), CODE));
            }
            paras.push(Para::new(row.field.2, PLAIN));
            Scroll::default().draw(buffer, body, &paras);
        }
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
