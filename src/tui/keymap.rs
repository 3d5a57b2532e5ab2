//! The one table of keys: it drives dispatch, the footer, the help, the commands by name, and the README.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::{Action, ViewId};

/// A key, perhaps with Ctrl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    code: KeyCode,
    ctrl: bool,
}

impl Key {
    const fn char(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: false }
    }

    const fn ctrl(c: char) -> Self {
        Self { code: KeyCode::Char(c), ctrl: true }
    }

    const fn code(code: KeyCode) -> Self {
        Self { code, ctrl: false }
    }

    /// Whether this is the key that was pressed. Case counts; Shift is in the character.
    pub fn is(self, event: &KeyEvent) -> bool {
        event.code == self.code
            && event.modifiers.contains(KeyModifiers::CONTROL) == self.ctrl
            && !event.modifiers.contains(KeyModifiers::ALT)
    }

    /// As help and footer print it.
    pub fn name(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.ctrl => return format!("Ctrl-{}", c.to_ascii_uppercase()),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::Up => "↑".into(),
            KeyCode::Down => "↓".into(),
            KeyCode::Left => "←".into(),
            KeyCode::Right => "→".into(),
            KeyCode::PageUp => "PgUp".into(),
            KeyCode::PageDown => "PgDn".into(),
            KeyCode::BackTab => "Shift-Tab".into(),
            other => format!("{other:?}"),
        };
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

/// Where a binding holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// In every view.
    Everywhere,
    /// In some views only.
    In(&'static [ViewId]),
}

impl Binding {
    /// Why it does nothing in a view that it does not hold in.
    pub fn not_in(&self, view: ViewId) -> String {
        let places = match self.scope {
            Everywhere => "every view".to_owned(),
            In(views) => {
                let titles: Vec<_> =
                    views.iter().map(|v| format!("{} ({})", v.title(), v.index() + 1)).collect();
                titles.join(", ")
            }
        };
        format!("{} does nothing in {}; it is for {places}", self.name, view.title())
    }
}

impl Scope {
    /// Whether it holds in this view.
    pub fn holds(self, view: ViewId) -> bool {
        match self {
            Self::Everywhere => true,
            Self::In(views) => views.contains(&view),
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct Binding {
    /// Where it holds.
    pub scope: Scope,
    /// Any of these keys; none: by its name only.
    pub keys: &'static [Key],
    /// What they mean.
    pub action: Action,
    /// What the command line calls it.
    pub name: &'static str,
    /// A word or two for the footer; empty where it is not in the footer.
    pub short: &'static str,
    /// A sentence for the help.
    pub help: &'static str,
}

use self::Scope::{Everywhere, In};
use ViewId::{Blocks, Control, Lost, Overview, Plan, Records, Timelines};

const fn bind(
    scope: Scope,
    keys: &'static [Key],
    action: Action,
    name: &'static str,
    short: &'static str,
    help: &'static str,
) -> Binding {
    Binding { scope, keys, action, name, short, help }
}

/// The table. What is more special stands first: it is found first and stands first in the footer.
pub const BINDINGS: &[Binding] = &[
    bind(
        In(&[Plan]),
        &[Key::char('X')],
        Action::CarryOut,
        "carry-out",
        "carry out",
        "Carry the plan out; asks for the target's name first",
    ),
    bind(
        In(&[Plan]),
        &[Key::char('R')],
        Action::Resume,
        "resume",
        "resume",
        "Go on with an interrupted rewind; asks first",
    ),
    bind(
        In(&[Plan]),
        &[Key::char('U')],
        Action::Undo,
        "undo",
        "undo",
        "Put the target back as it was; asks first",
    ),
    bind(
        In(&[Plan]),
        &[Key::char('K')],
        Action::Keep,
        "keep",
        "keep",
        "Keep the target's file as it is, or no longer",
    ),
    bind(
        In(&[Plan]),
        &[Key::char('C')],
        Action::Compare,
        "compare",
        "",
        "Compare all relation files instead of reading WAL",
    ),
    bind(
        In(&[Overview, Lost, Plan]),
        &[Key::char('e')],
        Action::Export,
        "export",
        "export",
        "Write report, lost rows or plan to a new file; asks where",
    ),
    bind(
        In(&[Records, Blocks]),
        &[Key::char('s')],
        Action::OtherSide,
        "other-side",
        "other side",
        "Show the other side: target or source",
    ),
    bind(
        In(&[Records]),
        &[Key::char('b')],
        Action::FollowBlock,
        "follow-block",
        "block",
        "Only records that touch the selected block",
    ),
    bind(
        In(&[Records]),
        &[Key::char('t')],
        Action::FollowTransaction,
        "follow-transaction",
        "xact",
        "Only records of the selected record's transaction",
    ),
    bind(
        In(&[Records]),
        &[Key::char('p')],
        Action::PreviousRecord,
        "previous-record",
        "",
        "Go to the record that the previous link names",
    ),
    bind(
        In(&[Blocks, Lost]),
        &[Key::char('r')],
        Action::ShowRecords,
        "show-records",
        "records",
        "Show the records of the block, relation or transaction",
    ),
    bind(
        Everywhere,
        &[Key::code(KeyCode::Enter)],
        Action::Enter,
        "enter",
        "in",
        "Go in: open, expand, show the evidence",
    ),
    bind(
        Everywhere,
        &[Key::code(KeyCode::Esc), Key::code(KeyCode::Backspace)],
        Action::Back,
        "back",
        "out",
        "Go out: close, collapse, drop the filter, back to where from",
    ),
    bind(
        In(&[Control, Timelines, Blocks, Records, Lost, Plan]),
        &[Key::char('/')],
        Action::Search,
        "search",
        "search",
        "Search for a text",
    ),
    bind(
        In(&[Control, Timelines, Blocks, Records, Lost, Plan]),
        &[Key::char('n')],
        Action::NextMatch,
        "next-match",
        "",
        "Go to the next match",
    ),
    bind(
        In(&[Control, Timelines, Blocks, Records, Lost, Plan]),
        &[Key::char('N')],
        Action::PreviousMatch,
        "previous-match",
        "",
        "Go to the match before",
    ),
    bind(
        In(&[Blocks, Records, Lost, Plan]),
        &[Key::char('&')],
        Action::Filter,
        "filter",
        "filter",
        "Filter: as waldump --where for records, else part of a name",
    ),
    bind(In(&[Blocks, Plan]), &[Key::char('o')], Action::Sort, "sort", "sort", "Sort by the next column"),
    bind(
        Everywhere,
        &[Key::code(KeyCode::Tab)],
        Action::NextPane,
        "next-pane",
        "pane",
        "Go to the next pane",
    ),
    bind(
        Everywhere,
        &[Key::code(KeyCode::BackTab)],
        Action::PreviousPane,
        "previous-pane",
        "",
        "Go to the pane before",
    ),
    bind(
        Everywhere,
        &[Key::char('\\')],
        Action::Enlarge,
        "enlarge",
        "",
        "Give the pane the whole body, or back",
    ),
    bind(
        In(&[Records, Blocks, Lost]),
        &[Key::char('m')],
        Action::Mark,
        "mark",
        "",
        "Mark what is selected, or no longer",
    ),
    bind(
        In(&[Records, Blocks, Lost]),
        &[Key::char('\'')],
        Action::NextMark,
        "next-mark",
        "",
        "Go to the next mark",
    ),
    bind(
        Everywhere,
        &[Key::char('y')],
        Action::Copy,
        "copy",
        "copy",
        "Copy what is selected to the clipboard, over SSH too",
    ),
    bind(Everywhere, &[Key::char('?')], Action::Help, "help", "help", "All keys; type to search"),
    bind(Everywhere, &[Key::char(':')], Action::Command, "command", "", "Type a command by its name"),
    bind(Everywhere, &[Key::char('q')], Action::Quit, "quit", "quit", "Quit"),
    bind(
        Everywhere,
        &[Key::char('1')],
        Action::View(Overview),
        "overview",
        "",
        "The verdict, the branches, the findings",
    ),
    bind(
        Everywhere,
        &[Key::char('2')],
        Action::View(Control),
        "control",
        "",
        "Both control files side by side",
    ),
    bind(
        Everywhere,
        &[Key::char('3')],
        Action::View(Timelines),
        "timelines",
        "",
        "Histories and WAL segments along them",
    ),
    bind(
        Everywhere,
        &[Key::char('4')],
        Action::View(Blocks),
        "blocks",
        "",
        "Changed blocks, down to the bytes of a page",
    ),
    bind(
        Everywhere,
        &[Key::char('5')],
        Action::View(Records),
        "records",
        "",
        "WAL records: list, fields, bytes",
    ),
    bind(
        Everywhere,
        &[Key::char('6')],
        Action::View(Lost),
        "lost",
        "",
        "Transactions and rows that a rewind discards",
    ),
    bind(
        Everywhere,
        &[Key::char('7')],
        Action::View(Plan),
        "plan",
        "",
        "What a rewind would do, and carrying it out",
    ),
    bind(Everywhere, &[Key::char(']')], Action::NextView, "next-view", "", "The next view"),
    bind(Everywhere, &[Key::char('[')], Action::PreviousView, "previous-view", "", "The view before"),
    bind(Everywhere, &[Key::code(KeyCode::Up), Key::char('k')], Action::Up, "up", "", "Up"),
    bind(Everywhere, &[Key::code(KeyCode::Down), Key::char('j')], Action::Down, "down", "", "Down"),
    bind(Everywhere, &[Key::code(KeyCode::Left), Key::char('h')], Action::Left, "left", "", "Left; collapse"),
    bind(
        Everywhere,
        &[Key::code(KeyCode::Right), Key::char('l')],
        Action::Right,
        "right",
        "",
        "Right; expand",
    ),
    bind(
        Everywhere,
        &[Key::code(KeyCode::PageUp), Key::ctrl('b')],
        Action::PageUp,
        "page-up",
        "",
        "A page up",
    ),
    bind(
        Everywhere,
        &[Key::code(KeyCode::PageDown), Key::ctrl('f'), Key::char(' ')],
        Action::PageDown,
        "page-down",
        "",
        "A page down",
    ),
    bind(Everywhere, &[Key::code(KeyCode::Home), Key::char('g')], Action::First, "first", "", "To the first"),
    bind(Everywhere, &[Key::code(KeyCode::End), Key::char('G')], Action::Last, "last", "", "To the last"),
    bind(Everywhere, &[Key::ctrl('c')], Action::Cancel, "cancel", "", "Stop what runs; again: quit"),
    bind(Everywhere, &[Key::ctrl('z')], Action::Suspend, "suspend", "", "Back to the shell; fg returns"),
    bind(Everywhere, &[Key::ctrl('l')], Action::Redraw, "redraw", "", "Draw everything anew"),
    bind(
        Everywhere,
        &[Key::char('M')],
        Action::Mouse,
        "mouse",
        "",
        "Leave the mouse to the terminal, or take it back",
    ),
];

/// What a key means in a view.
pub fn action(event: &KeyEvent, view: ViewId) -> Option<Action> {
    let holds = |b: &&Binding| b.scope.holds(view) && b.keys.iter().any(|key| key.is(event));
    BINDINGS.iter().find(holds).map(|b| b.action)
}

/// What a key that means nothing in a view means in others.
pub fn elsewhere(event: &KeyEvent) -> Option<&'static Binding> {
    BINDINGS.iter().find(|b| b.keys.iter().any(|key| key.is(event)))
}

/// The binding of an action in a view.
pub fn of(action: Action, view: ViewId) -> Option<&'static Binding> {
    BINDINGS.iter().find(|b| b.action == action && b.scope.holds(view))
}

/// The table as Markdown, for the README.
pub fn markdown() -> String {
    use std::fmt::Write as _;

    let mut out = String::from("| key | what it does | in |\n|---|---|---|\n");
    for binding in BINDINGS {
        let keys: Vec<_> = binding.keys.iter().map(|key| format!("`{}`", key.name())).collect();
        let place = match binding.scope {
            Everywhere => String::new(),
            In(views) => views.iter().map(|v| v.title()).collect::<Vec<_>>().join(", "),
        };
        // writing into a String cannot fail
        let _ = writeln!(out, "| {} | {} | {place} |", keys.join(" "), binding.help);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_has_two_meanings_in_one_view() {
        for view in ViewId::ALL {
            let here: Vec<_> = BINDINGS.iter().filter(|b| b.scope.holds(view)).collect();
            for (n, one) in here.iter().enumerate() {
                for other in here.get(n + 1..).unwrap_or_default() {
                    for key in one.keys {
                        assert!(!other.keys.contains(key), "{} in {view:?}: {key:?}", one.name);
                    }
                    assert_ne!(one.name, other.name);
                }
            }
        }
    }

    #[test]
    fn nothing_that_changes_a_cluster_lies_beside_a_harmless_key() {
        // each has a letter of its own with Shift, and its small letter means nothing in that view
        for action in [Action::CarryOut, Action::Resume, Action::Undo] {
            let binding = of(action, Plan).unwrap();
            for key in binding.keys {
                let KeyCode::Char(c) = key.code else { panic!("{key:?}") };
                assert!(c.is_ascii_uppercase());
                let small = Key::char(c.to_ascii_lowercase());
                let near = BINDINGS.iter().filter(|b| b.scope.holds(Plan)).find(|b| b.keys.contains(&small));
                assert!(near.is_none(), "{near:?}");
            }
        }
    }

    #[test]
    fn the_help_fits_a_narrow_screen() {
        for binding in BINDINGS {
            let keys: Vec<_> = binding.keys.iter().map(|k| k.name()).collect();
            assert!(keys.join(" ").chars().count() <= 17, "{}", binding.name);
            assert!(binding.help.chars().count() <= 62, "{}", binding.name);
        }
    }
}
