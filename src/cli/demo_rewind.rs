//! `forkpoint demo rewind`: a bundled pair, planned, rewound, and put back.

use std::path::Path;

use super::console::Console;
use super::demo::{DEMOS, unpack};
use super::exit::{self, Failure};
use super::output::Output;
use crate::plan::{self, Plan, PlanOptions};
use crate::report::doc::{Block, Inline, Style};
use crate::report::{plan as view, text, words};
use crate::rewind::{self, Options, RealDisk};
use crate::source::trees::Tree;

/// What the demo is called on the command line.
pub const NAME: &str = "rewind";
/// One line on it.
pub const TITLE: &str = "the first one again: planned, rewound in a scratch directory, and put back";

/// Runs the demo.
pub fn run(console: &Console) -> Result<u8, Failure> {
    let demo = DEMOS.first().ok_or_else(|| Failure::new(exit::FAILED, "there is no bundled pair"))?;
    let failed = |what: &str, error: &dyn std::fmt::Display| {
        Failure::new(exit::FAILED, format!("{what}: {error}. Set TMPDIR to a directory with room."))
    };
    let place = unpack(demo).map_err(|error| failed("the bundled data could not be unpacked", &error))?;
    let root =
        place.path().canonicalize().map_err(|error| failed("the scratch directory is gone", &error))?;
    let (target, source) = (root.join("target"), root.join("source"));
    console.note(&format!("{} (bundled data of real PostgreSQL 18 servers)", demo.title));
    let made = console.watch(|progress| plan::make((&target, &source), &PlanOptions::default(), 2, progress));
    let (_, plan) = made?;
    show(&view::content(&plan, console.detail()), console)?;
    if rustix::process::geteuid().is_root() {
        let text =
            "nothing is carried out as root, not even here; run the demo as another user to see the rest";
        console.note(text);
        return Ok(exit::DONE);
    }
    let before = Tree::read(&target);
    let disk = RealDisk::new();
    let store = root.join("undo");
    make_directory(&store).map_err(|error| failed("the undo store has no place", &error))?;
    let options = Options { undo_dir: Some(store.clone()), threads: 2, ..Options::default() };
    let done = console.watch(|progress| rewind::apply(&plan, &options, &disk, progress));
    done.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
    say(
        &format!("Rewound: {}. A server would now replay from {}.", sums(&plan), plan.replay_start.redo),
        console,
    )?;
    let undone = console.watch(|progress| rewind::undo(&target, Some(&store), &disk, progress));
    undone.map_err(|error| Failure::new(exit::FAILED, error.to_string()))?;
    let same = same(&before, &Tree::read(&target));
    if !same {
        return Err(Failure::new(exit::FAILED, "the target is not what it was: please report this"));
    }
    say(
        &format!(
            "Put back: its {} entries are what they were, with their sizes, modes and owners.",
            before.len()
        ),
        console,
    )?;
    console.note(
        "for your own: forkpoint plan OLD_PRIMARY NEW_PRIMARY -o plan.json, then forkpoint apply plan.json",
    );
    Ok(exit::DONE)
}

fn make_directory(path: &Path) -> std::io::Result<()> {
    std::fs::create_dir(path)
}

fn sums(plan: &Plan) -> String {
    let totals = &plan.totals;
    let count = |n: u64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    format!(
        "{} copied, {} of WAL, {} changed in place, {} removed",
        count(totals.copied.files, "file", "files"),
        count(totals.wal.files, "file", "files"),
        count(totals.blocks.files, "relation file", "relation files"),
        count(totals.removed.files, "entry", "entries"),
    )
}

fn same(a: &Tree, b: &Tree) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| x == y)
}

fn say(line: &str, console: &Console) -> Result<(), Failure> {
    let line = Inline::from(words::clean(line).into_owned());
    show(&[Block::Verdict { sign: '✓', style: Style::Good, line }], console)
}

fn show(blocks: &[Block], console: &Console) -> Result<(), Failure> {
    Output::Stdout.write(console, |out| text::render(blocks, console.text_style(), out))
}
