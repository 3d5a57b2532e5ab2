//! Which snapshot can follow: text and JSON.

use schemars::JsonSchema;
use serde::Serialize;

use super::content::{Detail, wal_need};
use super::doc::{Block, Column, Inline, Style};
use super::dto::{PathText, Position, SCHEMA_VERSION, Tool, Unseen, WalEnd, WalNeed};
use super::words;
use crate::diagnosis::snapshots::{Judgement, Snapshot, SnapshotAction};

/// Which of several snapshots can follow the source.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "forkpoint snapshots")]
pub struct Report {
    /// Version of this format.
    pub schema_version: u32,
    /// What made it.
    pub tool: Tool,
    /// The directory to follow.
    pub source: PathText,
    /// Where it ends.
    pub source_end: Option<Position>,
    /// The snapshots, in the order of the arguments.
    pub snapshots: Vec<Entry>,
    /// What could not be seen.
    pub unseen: Vec<Unseen>,
}

/// One snapshot.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Entry {
    /// The directory.
    pub path: PathText,
    /// `follow`, `rewind` or `unusable`.
    #[schemars(extend("enum" = ["follow", "rewind", "unusable"]))]
    pub action: &'static str,
    /// The one to roll back to.
    pub recommended: bool,
    /// Why.
    pub why: String,
    /// Where its WAL really ends.
    pub end_of_wal: Option<WalEnd>,
    /// The WAL that it needs to follow.
    pub wal: Option<WalNeed>,
}

const fn action(action: SnapshotAction) -> &'static str {
    match action {
        SnapshotAction::Follow => "follow",
        SnapshotAction::Rewind => "rewind",
        SnapshotAction::Unusable => "unusable",
    }
}

impl From<&Judgement> for Report {
    fn from(judgement: &Judgement) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            source: judgement.source.as_path().into(),
            source_end: judgement.source_end.map(|(timeline, lsn)| Position { lsn, timeline }),
            snapshots: judgement
                .snapshots
                .iter()
                .map(|s| Entry {
                    path: s.path.as_path().into(),
                    action: action(s.action),
                    recommended: s.recommended,
                    why: words::mask(&s.why).into_owned(),
                    end_of_wal: s.end.as_ref().map(|end| WalEnd::new(end, None)),
                    wal: s.wal.as_ref().map(Into::into),
                })
                .collect(),
            unseen: judgement.unseen.iter().map(Into::into).collect(),
        }
    }
}

/// The parts of the text.
pub fn content(judgement: &Judgement, detail: Detail) -> Vec<Block> {
    let recommended = judgement.snapshots.iter().find(|s| s.recommended);
    let mut blocks = vec![match recommended {
        Some(s) => Block::Verdict {
            sign: '✓',
            style: Style::Good,
            line: Inline::from("Roll back to ").path(&s.path).text(": it can follow the source as it is"),
        },
        None => Block::Verdict {
            sign: '!',
            style: Style::Warn,
            line: "None of these snapshots can follow the source as it is".into(),
        },
    }];
    if let Some((timeline, lsn)) = judgement.source_end {
        let text = Inline::from("The source ")
            .path(&judgement.source)
            .text(format!(" ends at {lsn} on timeline {timeline}."));
        blocks.push(Block::Para(text));
    }
    let end = |s: &Snapshot| match &s.end {
        Some(end) => format!("{} on {}", end.lsn, end.timeline),
        None => "unknown".into(),
    };
    let wal = |s: &Snapshot| match s.wal.as_ref().map(|w| (w.segments.len(), w.holes().count())) {
        Some((all, 0)) => format!("{}, all found", words::counted(all as u64, "segment")),
        Some((all, holes)) => format!("{}, {holes} missing", words::counted(all as u64, "segment")),
        None => "-".into(),
    };
    blocks.push(Block::Table {
        columns: vec![
            Column::flexible("snapshot"),
            Column::left("can"),
            Column::left("ends at"),
            Column::flexible("WAL it needs"),
        ],
        rows: judgement
            .snapshots
            .iter()
            .map(|s| {
                let star = if s.recommended { "* " } else { "" };
                vec![Inline::from(star).path(&s.path), action(s.action).into(), end(s).into(), wal(s).into()]
            })
            .collect(),
    });
    let why = |s: &Snapshot| Inline::new().path(&s.path).text(format!(": {}", words::mask(&s.why)));
    blocks.push(Block::List { numbered: false, items: judgement.snapshots.iter().map(why).collect() });
    for s in &judgement.snapshots {
        if let Some(need) =
            s.wal.as_ref().filter(|need| s.recommended || detail.all || need.holes().next().is_some())
        {
            blocks.push(Block::Heading(format!("WAL for {}", words::path(&s.path))));
            wal_need("to follow the source", need, &s.path, &judgement.source, detail, &mut blocks);
        }
    }
    if !judgement.unseen.is_empty() {
        blocks.push(Block::Heading("What could not be seen".into()));
        blocks.push(Block::List {
            numbered: false,
            items: judgement.unseen.iter().map(super::content::unseen_item).collect(),
        });
    }
    blocks
}
