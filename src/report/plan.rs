//! A plan for a person.

use super::content::{Detail, prose};
use super::doc::{Block, Column, Inline, Style};
use super::words;
use crate::plan::Plan;
use crate::plan::model::{Action, Check, Count, Entry, Origin, Outcome, Route};

/// The parts of the text.
pub fn content(plan: &Plan, detail: Detail) -> Vec<Block> {
    let mut blocks = vec![verdict(plan)];
    blocks.push(Block::Pairs(figures(plan)));
    blocks.push(Block::Heading("What would be done".into()));
    blocks.push(work(plan));
    blocks.push(filesystems(plan));
    if detail.all {
        files(plan, &mut blocks);
    }
    blocks.push(Block::Heading("Checked before the first write".into()));
    preflight(plan, detail, &mut blocks);
    if !plan.next_steps.is_empty() {
        blocks.push(Block::Heading("Afterwards".into()));
        let items = plan.next_steps.iter().map(|s| prose(s)).collect();
        blocks.push(Block::List { numbered: true, items });
    }
    blocks
}

fn verdict(plan: &Plan) -> Block {
    let refusals = plan.refusals().count() as u64;
    let lost = match (plan.loss.commits, plan.loss.at_least) {
        (None, _) => "what is lost is not known".into(),
        (Some(0), false) => "no committed transaction is lost".into(),
        (Some(n), false) => format!("{} lost", words::counted(n, "committed transaction")),
        (Some(n), true) => format!("at least {} lost", words::counted(n, "committed transaction")),
    };
    if refusals > 0 {
        let line =
            format!("This plan is not carried out: {} in the way", words::counted(refusals, "refusal"));
        return Block::Verdict { sign: '✗', style: Style::Bad, line: line.into() };
    }
    let line = format!("The target can be rewound: {lost}");
    let style = if plan.loss.commits == Some(0) { Style::Good } else { Style::Warn };
    Block::Verdict { sign: if style == Style::Good { '✓' } else { '!' }, style, line: line.into() }
}

fn figures(plan: &Plan) -> Vec<(String, Inline)> {
    let side = |side: &crate::plan::model::SideState| {
        Inline::new().path(side.path.as_path()).text(format!(" ({}, timeline {})", side.state, side.timeline))
    };
    let start = &plan.replay_start;
    let mut pairs = vec![
        ("target".to_owned(), side(&plan.target)),
        ("source".to_owned(), side(&plan.source)),
        ("report says".to_owned(), words::mask(&plan.loss.verdict).into_owned().into()),
        (
            "they part at".to_owned(),
            format!("{} on timeline {}", plan.divergence.lsn, plan.divergence.timeline).into(),
        ),
    ];
    if let Some(common) = &plan.last_common_checkpoint {
        let text = format!("{} on timeline {}", common.lsn, common.timeline);
        pairs.push(("last common checkpoint".to_owned(), text.into()));
    }
    pairs.push(("replay starts at".to_owned(), format!("{}, {}", start.redo, start.why).into()));
    let end = &plan.min_recovery_point;
    pairs.push(("consistent from".to_owned(), format!("{} on timeline {}", end.lsn, end.timeline).into()));
    let found = match plan.route {
        Route::Wal => "the target's WAL",
        Route::Compare => "a comparison of all relation files",
    };
    pairs.push(("blocks found by".to_owned(), found.into()));
    if let Some(standby) = &plan.standby {
        let mut text = Inline::from("lines for ").path(standby.file.as_path());
        if let Some(signal) = &standby.signal {
            text = text.text(", and ").path(signal.as_path());
        }
        pairs.push(("as a standby".to_owned(), text));
    }
    pairs.push(("plan".to_owned(), Inline::new().code(plan.id.clone())));
    pairs
}

fn work(plan: &Plan) -> Block {
    let totals = &plan.totals;
    let mut rows = Vec::new();
    let mut row = |what: &str, count: Count| {
        if count.files > 0 {
            rows.push(vec![what.into(), words::count(count.files).into(), words::bytes(count.bytes).into()]);
        }
    };
    row("blocks copied within files", totals.blocks);
    row("tails appended", totals.tails);
    row("files copied whole", totals.copied);
    row("WAL copied", totals.wal);
    row("files cut", totals.truncated);
    row("removed", totals.removed);
    row("directories and links made", Count { files: totals.created, bytes: 0 });
    row("kept against the rule", Count { files: totals.kept, bytes: 0 });
    row("relation files left as they are", totals.unchanged);
    Block::Table {
        columns: vec![Column::flexible("what"), Column::right("files"), Column::right("bytes")],
        rows,
    }
}

fn filesystems(plan: &Plan) -> Block {
    let rows = plan.totals.filesystems.iter().map(|f| {
        let at = f.at.as_path();
        let at = if at.as_os_str().is_empty() { "the data directory".into() } else { Inline::new().path(at) };
        vec![
            at,
            words::bytes(f.written).into(),
            words::bytes(f.needed).into(),
            words::bytes(f.needed_with_undo).into(),
        ]
    });
    Block::Table {
        columns: vec![
            Column::flexible("filesystem of"),
            Column::right("written"),
            Column::right("needs free"),
            Column::right("with an undo store"),
        ],
        rows: rows.collect(),
    }
}

fn files(plan: &Plan, blocks: &mut Vec<Block>) {
    blocks.push(Block::Heading("Every file, in this order".into()));
    let rows = plan
        .entries
        .iter()
        .map(|e| vec![Inline::new().path(e.path.as_path()), action(e).into(), e.why.text().into()]);
    blocks.push(Block::Table {
        columns: vec![Column::flexible("path"), Column::flexible("action"), Column::left("why")],
        rows: rows.collect(),
    });
}

fn action(entry: &Entry) -> String {
    match &entry.action {
        Action::Keep => "keep".into(),
        Action::CreateDirectory => "make directory".into(),
        Action::CreateSymlink { to } => format!("make link to {}", words::path(to.as_path())),
        Action::Copy { size, from: Origin::Source } => format!("copy {}", words::bytes(*size)),
        Action::Copy { size, from: Origin::Archive(from) } => {
            format!("copy {} from {}", words::bytes(*size), words::path(from.as_path()))
        }
        Action::Copy { size, from: Origin::RestoreCommand } => {
            format!("copy {} that the restore command brings", words::bytes(*size))
        }
        Action::Change { blocks, tail, truncate_to } => {
            let count: u64 = blocks.iter().map(|b| u64::from(b.count)).sum();
            let mut parts = Vec::new();
            if count > 0 {
                parts.push(format!("copy {}", words::counted(count, "block")));
            }
            if let Some(tail) = tail {
                parts.push(format!("append {}", words::bytes(tail.to - tail.from)));
            }
            if let Some(to) = truncate_to {
                parts.push(format!("cut to {}", words::bytes(*to)));
            }
            parts.join(", ")
        }
        Action::Remove => match &entry.target {
            Some(seen) => format!("remove {}", seen.kind),
            None => "remove".into(),
        },
    }
}

fn preflight(plan: &Plan, detail: Detail, blocks: &mut Vec<Block>) {
    let fine = plan.preflight.iter().filter(|c| c.outcome == Outcome::Ok).count();
    let item = |c: &Check| {
        let (style, word) = match c.outcome {
            Outcome::Ok => (Style::Good, "fine"),
            Outcome::Warning => (Style::Warn, "warning"),
            Outcome::Refusal => (Style::Bad, "refused"),
        };
        let mut text = Inline::new().with(style, word).text(format!(" ({}): ", c.code));
        if let Some(place) = &c.place {
            text = text.path(place.as_path()).text(": ");
        }
        text = text.text(words::mask(&c.what).into_owned());
        if c.advice.is_empty() { text } else { text.text(format!(" {}", words::mask(&c.advice))) }
    };
    let shown = plan.preflight.iter().filter(|c| detail.all || c.outcome != Outcome::Ok);
    let mut checks: Vec<&Check> = shown.collect();
    checks.sort_by_key(|c| std::cmp::Reverse(c.outcome));
    if !checks.is_empty() {
        blocks.push(Block::List { numbered: false, items: checks.into_iter().map(item).collect() });
    }
    if !detail.all {
        blocks.push(Block::Para(
            format!("{} in order; -v lists them, and every file.", words::counted(fine as u64, "point"))
                .into(),
        ));
    }
}
