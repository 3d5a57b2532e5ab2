//! The tree of timelines: who forked from whom, where and why.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::Serialize;

use super::doc::{Block, Inline};
use super::dto::{PathText, SCHEMA_VERSION, Tool, Unseen};
use crate::facts;
use crate::pg::history::History;
use crate::pg::{Lsn, TimelineId};

/// One branch: a timeline with the place where it began. The same number with another parent or another place is
/// another branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its number.
    pub timeline: TimelineId,
    /// Where it forked off; 0/0 for a root.
    pub begin: Lsn,
    /// Why it was made, as the history file says.
    pub reason: String,
    /// Comments of its own history file that no ancestor's file has.
    pub comments: Vec<String>,
    /// History files of this very branch.
    pub files: Vec<PathBuf>,
    /// Data directories that are on this branch, with the end of their WAL.
    pub here: Vec<(PathBuf, Option<Lsn>)>,
    /// Branches that forked off, by place and number.
    pub children: Vec<Branch>,
}

/// All branches, and numbers that more than one branch claims.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    /// Branches without a parent; more than one means clusters without a common ancestor.
    pub roots: Vec<Branch>,
    /// Timelines of which there are two.
    pub twins: Vec<TimelineId>,
    /// Directories on a timeline that no history file leads to and that is not the first.
    pub homeless: Vec<(PathBuf, TimelineId)>,
}

/// Of a longer history only the newest timelines are drawn: every level of the tree takes a piece of the stack.
const MAX_DEPTH: usize = 500;
/// Of a timeline's comments no more are shown.
const MAX_COMMENTS: usize = 1000;

/// Makes the tree of history files (with their paths) and of the places where data directories stand.
pub fn tree(histories: &[(&History, &Path)], ends: &[(PathBuf, TimelineId, Option<Lsn>)]) -> Tree {
    let mut tree = Tree::default();
    for (history, path) in histories {
        let mut level = &mut tree.roots;
        let mut reason = String::new();
        let mut inherited: Vec<String> = Vec::new();
        let last = history.entries.len().saturating_sub(1);
        let skipped = history.entries.len().saturating_sub(MAX_DEPTH);
        for (index, entry) in history.entries.iter().enumerate().skip(skipped) {
            let at = branch(level, entry.timeline, entry.begin);
            let Some(found) = level.get_mut(at) else { break };
            if found.reason.is_empty() {
                found.reason = std::mem::take(&mut reason);
            }
            reason.clone_from(&entry.reason);
            if index == last {
                found.files.push(path.to_path_buf());
                for comment in comments(history).take(MAX_COMMENTS) {
                    if !inherited.contains(&comment) && !found.comments.contains(&comment) {
                        found.comments.push(comment);
                    }
                }
            } else {
                inherited.extend(found.comments.iter().cloned());
            }
            level = &mut found.children;
        }
    }
    for (path, timeline, lsn) in ends {
        place(&mut tree, path, *timeline, *lsn);
    }
    let mut counts = BTreeMap::new();
    for root in &mut tree.roots {
        tidy(root, &[], &mut counts);
    }
    tree.roots.sort_by_key(|b| (b.begin, b.timeline));
    tree.twins = counts.into_iter().filter(|&(_, n)| n > 1).map(|(timeline, _)| timeline).collect();
    tree
}

/// Index of the branch in `level`, made if it is not there.
fn branch(level: &mut Vec<Branch>, timeline: TimelineId, begin: Lsn) -> usize {
    if let Some(at) = level.iter().position(|b| b.timeline == timeline && b.begin == begin) {
        return at;
    }
    level.push(Branch {
        timeline,
        begin,
        reason: String::new(),
        comments: Vec::new(),
        files: Vec::new(),
        here: Vec::new(),
        children: Vec::new(),
    });
    level.len() - 1
}

/// Puts a directory on its branch: the one whose history file lies in it, else the only one of that number.
fn place(tree: &mut Tree, path: &Path, timeline: TimelineId, lsn: Option<Lsn>) {
    fn candidates<'a>(level: &'a mut [Branch], timeline: TimelineId, out: &mut Vec<&'a mut Branch>) {
        for branch in level {
            if branch.timeline == timeline {
                out.push(branch);
            } else {
                candidates(&mut branch.children, timeline, out);
            }
        }
    }
    if tree.roots.is_empty() && timeline == 1 {
        branch(&mut tree.roots, 1, Lsn::INVALID);
    }
    let mut found = Vec::new();
    candidates(&mut tree.roots, timeline, &mut found);
    let own = found.iter().position(|b| b.files.iter().any(|file| file.starts_with(path)));
    let at = own.or(if found.len() == 1 { Some(0) } else { None });
    match at.and_then(|at| found.into_iter().nth(at)) {
        Some(branch) => branch.here.push((path.to_path_buf(), lsn)),
        None => tree.homeless.push((path.to_path_buf(), timeline)),
    }
}

/// Sorts, counts numbers, and drops comments that a parent has whose file was read later.
fn tidy(branch: &mut Branch, inherited: &[String], counts: &mut BTreeMap<TimelineId, u32>) {
    *counts.entry(branch.timeline).or_default() += 1;
    branch.comments.retain(|c| !inherited.contains(c));
    let inherited: Vec<String> = inherited.iter().chain(&branch.comments).cloned().collect();
    branch.children.sort_by_key(|b| (b.begin, b.timeline));
    for child in &mut branch.children {
        tidy(child, &inherited, counts);
    }
}

/// Comment lines of a history file without their sign.
fn comments(history: &History) -> impl Iterator<Item = String> + '_ {
    history
        .lines
        .iter()
        .filter_map(|line| line.trim_start().strip_prefix('#').map(|c| c.trim().to_owned()))
        .filter(|c| !c.is_empty())
}

/// The parts of the text: a tree for each system identifier.
pub fn content(trees: &[(Option<u64>, Tree)], unseen: &[facts::Unseen]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut notes: Vec<Inline> = Vec::new();
    for (system, tree) in trees {
        if trees.len() > 1 {
            blocks.push(Block::Heading(match system {
                Some(system) => format!("System identifier {system}"),
                None => "History files of an unknown cluster".into(),
            }));
        }
        for root in &tree.roots {
            draw(root, "", "", &mut blocks);
        }
        look_at(tree, system.is_some(), &mut notes);
    }
    if trees.len() > 1 {
        notes.push(
            "! directories of different clusters have no timeline in common, whatever its number".into(),
        );
    }
    notes.extend(unseen.iter().map(super::content::unseen_item));
    if !notes.is_empty() {
        blocks.push(Block::Heading("To be looked at".into()));
        blocks.push(Block::List { numbered: false, items: notes });
    }
    blocks
}

/// What is odd about one tree.
fn look_at(tree: &Tree, one_cluster: bool, notes: &mut Vec<Inline>) {
    let or_else = if one_cluster { "" } else { ", or the files are of different clusters" };
    for twin in &tree.twins {
        notes.push(
            format!(
                "! more than one branch claims timeline {twin}: two servers were promoted on their own{or_else}"
            )
            .into(),
        );
    }
    for (path, timeline) in &tree.homeless {
        notes.push(
            Inline::from("! ").path(path).text(format!(
                " is on timeline {timeline}, and no single history file says where that began"
            )),
        );
    }
    if tree.roots.len() > 1 {
        notes.push("! these histories have no common ancestor".into());
    }
    for root in &tree.roots {
        apart(root, notes);
    }
}

/// Directories on one branch at different places: one is ahead, or the branch is two.
fn apart(branch: &Branch, notes: &mut Vec<Inline>) {
    let first = branch.here.first().map(|(_, lsn)| lsn);
    if branch.here.iter().any(|(_, lsn)| Some(lsn) != first) {
        let text = format!(
            "timeline {} has directories at different places: one is behind, or they wrote WAL of their own. \
             `forkpoint report` compares their WAL.",
            branch.timeline
        );
        notes.push(super::content::prose(&text));
    }
    for child in &branch.children {
        apart(child, notes);
    }
}

fn draw(branch: &Branch, stem: &str, below: &str, out: &mut Vec<Block>) {
    let begun = if branch.begin.is_valid() { format!(" from {}", branch.begin) } else { String::new() };
    let reason = if branch.reason.is_empty() { String::new() } else { format!(": {}", branch.reason) };
    let mut line = |first: String, text: Inline| {
        out.push(Block::Branch { first, text });
    };
    line(stem.to_owned(), format!("timeline {}{begun}{reason}", branch.timeline).into());
    let bar = if branch.children.is_empty() { format!("{below}  ") } else { format!("{below}│ ") };
    for comment in &branch.comments {
        line(format!("{bar}# "), comment.as_str().into());
    }
    for (path, lsn) in &branch.here {
        let at = lsn.map_or_else(String::new, |lsn| format!(", at {lsn}"));
        line(format!("{bar}● "), Inline::new().path(path).text(at));
    }
    let last = branch.children.len().saturating_sub(1);
    for (index, child) in branch.children.iter().enumerate() {
        let (stem, next) = if index == last { ("└─", "  ") } else { ("├─", "│ ") };
        draw(child, &format!("{below}{stem}"), &format!("{below}{next}"), out);
    }
}

/// The tree of timelines.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(title = "forkpoint timelines")]
pub struct Report {
    /// Version of this format.
    pub schema_version: u32,
    /// What made it.
    pub tool: Tool,
    /// Timelines that more than one branch claims.
    pub twins: Vec<TimelineId>,
    /// Branches without a parent.
    pub roots: Vec<BranchDto>,
    /// Directories that no single history file leads to.
    pub homeless: Vec<Homeless>,
    /// What could not be read.
    pub unseen: Vec<Unseen>,
}

/// One branch.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(rename = "Branch")]
pub struct BranchDto {
    /// Of a root, the system identifier of its cluster, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_identifier: Option<String>,
    /// Its number.
    pub timeline: TimelineId,
    /// Where it forked off; null for a root.
    pub begin: Option<Lsn>,
    /// Why it was made, as the history file says.
    pub reason: String,
    /// Comments of its history file.
    pub comments: Vec<String>,
    /// History files of this branch.
    pub files: Vec<PathText>,
    /// Data directories on this branch.
    pub directories: Vec<Standing>,
    /// Branches that forked off.
    pub children: Vec<BranchDto>,
}

/// A data directory on a branch.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Standing {
    /// The directory.
    pub path: PathText,
    /// The end of its WAL, if known.
    pub lsn: Option<Lsn>,
}

/// A data directory on a branch that is not known.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Homeless {
    /// The directory.
    pub path: PathText,
    /// Its timeline.
    pub timeline: TimelineId,
}

impl From<&Branch> for BranchDto {
    fn from(b: &Branch) -> Self {
        Self {
            system_identifier: None,
            timeline: b.timeline,
            begin: b.begin.is_valid().then_some(b.begin),
            reason: b.reason.clone(),
            comments: b.comments.clone(),
            files: b.files.iter().map(|p| p.as_path().into()).collect(),
            directories: b
                .here
                .iter()
                .map(|(p, lsn)| Standing { path: p.as_path().into(), lsn: *lsn })
                .collect(),
            children: b.children.iter().map(Into::into).collect(),
        }
    }
}

impl Report {
    /// Of the tree of each system identifier.
    pub fn new(trees: &[(Option<u64>, Tree)], unseen: &[facts::Unseen]) -> Self {
        let roots = trees.iter().flat_map(|(system, tree)| {
            let system_identifier = system.map(|s| s.to_string());
            tree.roots
                .iter()
                .map(move |b| BranchDto { system_identifier: system_identifier.clone(), ..b.into() })
        });
        Self {
            schema_version: SCHEMA_VERSION,
            tool: Tool::THIS,
            twins: trees.iter().flat_map(|(_, tree)| tree.twins.iter().copied()).collect(),
            roots: roots.collect(),
            homeless: trees
                .iter()
                .flat_map(|(_, tree)| &tree.homeless)
                .map(|(p, t)| Homeless { path: p.as_path().into(), timeline: *t })
                .collect(),
            unseen: unseen.iter().map(Into::into).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::text::{TextStyle, render};
    use super::*;
    use crate::pg::history::HistoryEntry;

    #[test]
    fn a_history_of_40_000_timelines_does_not_take_the_stack() {
        let parents: Vec<_> = (1..40_000).map(|n| (n, u64::from(n) * 100, "r")).collect();
        let comments: Vec<String> = (0..40_000).map(|n| n.to_string()).collect();
        let comments: Vec<&str> = comments.iter().map(String::as_str).collect();
        let history = history(40_000, &parents, &comments);
        let tree = [(Some(7), tree(&[(&history, Path::new("x"))], &[]))];
        let mut out = Vec::new();
        render(&content(&tree, &[]), TextStyle::default(), &mut out).unwrap();
        assert!(serde_json::to_string(&Report::new(&tree, &[])).unwrap().contains("40000"));
    }

    /// `(timeline, where it ends, reason)` of the parents.
    fn history(timeline: TimelineId, parents: &[(TimelineId, u64, &str)], comments: &[&str]) -> History {
        let mut begin = Lsn::INVALID;
        let mut entries = Vec::new();
        let mut lines: Vec<String> = comments.iter().map(|c| format!("# {c}")).collect();
        for &(parent, end, reason) in parents {
            entries.push(HistoryEntry { timeline: parent, begin, end: Lsn(end), reason: reason.into() });
            lines.push(format!("{parent}\t{}\t{reason}", Lsn(end)));
            begin = Lsn(end);
        }
        entries.push(HistoryEntry { timeline, begin, end: Lsn::MAX, reason: String::new() });
        History { timeline, entries, lines }
    }

    fn text(tree: &Tree) -> String {
        let mut out = Vec::new();
        render(&content(&[(Some(7), tree.clone())], &[]), TextStyle::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_cascade_with_a_dead_branch() {
        let two = history(2, &[(1, 0x300, "no recovery target specified")], &["made by hand"]);
        let three = history(
            3,
            &[(1, 0x300, "no recovery target specified"), (2, 0x500, "before transaction 7")],
            &["made by hand"],
        );
        let four = history(
            4,
            &[(1, 0x300, "no recovery target specified"), (2, 0x400, "")],
            &["made by hand", "a test"],
        );
        let paths = ["/a/pg_wal/3", "/a/pg_wal/2", "/b/4"].map(PathBuf::from);
        let histories: Vec<_> =
            [&three, &two, &four].into_iter().zip(paths.iter().map(PathBuf::as_path)).collect();
        let ends = [(PathBuf::from("/a"), 3, Some(Lsn(0x600))), (PathBuf::from("/c"), 2, None)];
        let tree = tree(&histories, &ends);
        assert!(tree.twins.is_empty());
        assert_eq!(
            text(&tree),
            "timeline 1\n\
             └─timeline 2 from 0/300: no recovery target specified\n  \
               │ # made by hand\n  \
               │ ● /c\n  \
               ├─timeline 4 from 0/400\n  \
               │   # a test\n  \
               └─timeline 3 from 0/500: before transaction 7\n      \
                   ● /a, at 0/600\n"
        );
    }

    #[test]
    fn two_branches_of_one_number() {
        let (ours, theirs) = (history(2, &[(1, 0x300, "")], &[]), history(2, &[(1, 0x380, "")], &[]));
        let histories = [
            (&ours, Path::new("/a/pg_wal/00000002.history")),
            (&theirs, Path::new("/b/pg_wal/00000002.history")),
        ];
        let ends = [
            (PathBuf::from("/a"), 2, None),
            (PathBuf::from("/b"), 2, None),
            (PathBuf::from("/c"), 2, None),
            (PathBuf::from("/d"), 7, None),
        ];
        let tree = tree(&histories, &ends);
        assert_eq!(tree.twins, [2]);
        let [root] = tree.roots.as_slice() else { panic!("{tree:?}") };
        let here: Vec<_> = root.children.iter().map(|b| b.here.clone()).collect();
        assert_eq!(here, [[("/a".into(), None)], [("/b".into(), None)]]);
        assert_eq!(tree.homeless, [("/c".into(), 2), ("/d".into(), 7)]);
        assert!(text(&tree).contains("claims timeline 2"));
    }

    #[test]
    fn clusters_are_kept_apart_and_places_compared() {
        let one = |path: &str, lsn| (PathBuf::from(path), 1, Some(Lsn(lsn)));
        let (a, b) = (tree(&[], &[one("/a", 0x200), one("/b", 0x300)]), tree(&[], &[one("/c", 0x200)]));
        let mut out = Vec::new();
        render(&content(&[(Some(7), a), (Some(8), b)], &[]), TextStyle::default(), &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("System identifier 7") && text.contains("System identifier 8"), "{text}");
        assert!(text.contains("different clusters") && !text.contains("promoted on their own"), "{text}");
        assert_eq!(text.matches("compares their WAL").count(), 1, "{text}");
    }

    #[test]
    fn a_first_timeline_needs_no_history() {
        let tree = tree(&[], &[(PathBuf::from("/a"), 1, Some(Lsn(0x200)))]);
        assert_eq!(text(&tree), "timeline 1\n  ● /a, at 0/200\n");
    }

    #[test]
    fn a_schema_that_recurs_can_be_made() {
        let schema = serde_json::to_value(super::super::dto::schema::<Report>()).unwrap();
        let tree = tree(&[(&history(2, &[(1, 0x300, "x")], &[]), Path::new("/x"))], &[]);
        let report = Report::new(&[(Some(7), tree)], &[]);
        jsonschema::validate(&schema, &serde_json::to_value(report).unwrap()).unwrap();
    }
}
