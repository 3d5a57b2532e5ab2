//! A report as headings, paragraphs, tables: said once, drawn by [`text`](super::text) and
//! [`markdown`](super::markdown). Both clean every string that they draw, so that none has to be clean in here.

use std::path::Path;

use super::words;
use crate::findings::Severity;

/// How a piece of text is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As it is.
    Plain,
    /// Stands out.
    Strong,
    /// A name, a path, a command: taken literally.
    Code,
    /// All is well.
    Good,
    /// Something to look at.
    Warn,
    /// Something stands in the way.
    Bad,
}

/// A run of text in one style.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The text, not yet cleaned.
    pub text: String,
    /// Its style.
    pub style: Style,
}

/// Text within a paragraph, an item or a cell.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inline(pub Vec<Span>);

impl Inline {
    /// No text.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds text in a style.
    #[must_use]
    pub fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push(Span { text: text.into(), style });
        self
    }

    /// Adds plain text.
    #[must_use]
    pub fn text(self, text: impl Into<String>) -> Self {
        self.with(Style::Plain, text)
    }

    /// Adds something literal.
    #[must_use]
    pub fn code(self, text: impl Into<String>) -> Self {
        self.with(Style::Code, text)
    }

    /// Adds a path.
    #[must_use]
    pub fn path(self, path: &Path) -> Self {
        self.code(words::path(path))
    }

    /// Adds a comma, unless there is nothing before it.
    #[must_use]
    pub fn comma(self) -> Self {
        if self.is_empty() { self } else { self.text(", ") }
    }

    /// Nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|s| s.text.is_empty())
    }
}

impl<T: Into<String>> From<T> for Inline {
    fn from(text: T) -> Self {
        Self::new().text(text)
    }
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub title: &'static str,
    /// Numbers stand to the right.
    pub right: bool,
    /// Gives way first where the table is too wide.
    pub flexible: bool,
}

impl Column {
    /// Text of fixed width.
    pub const fn left(title: &'static str) -> Self {
        Self { title, right: false, flexible: false }
    }

    /// Numbers.
    pub const fn right(title: &'static str) -> Self {
        Self { title, right: true, flexible: false }
    }

    /// Text that is wrapped where the table is too wide.
    pub const fn flexible(title: &'static str) -> Self {
        Self { title, right: false, flexible: true }
    }
}

/// One part of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Block {
    /// The verdict: a sign, and the line.
    Verdict {
        /// One character that says the same as the colour.
        sign: char,
        /// Good, Warn or Bad.
        style: Style,
        /// The line.
        line: Inline,
    },
    /// A title.
    Heading(String),
    /// A paragraph.
    Para(Inline),
    /// Names and values.
    Pairs(Vec<(String, Inline)>),
    /// A table.
    Table {
        /// Titles and alignment.
        columns: Vec<Column>,
        /// As many cells as columns each.
        rows: Vec<Vec<Inline>>,
    },
    /// Items.
    List {
        /// 1. 2. 3. rather than dashes.
        numbered: bool,
        /// The items.
        items: Vec<Inline>,
    },
    /// Lines that are drawn as they are.
    Drawing(Vec<String>),
    /// A line of a tree; consecutive ones belong together.
    Branch {
        /// Lines of the tree, then the sign before the text.
        first: String,
        /// The text.
        text: Inline,
    },
    /// A finding.
    Finding {
        /// How much it matters.
        severity: Severity,
        /// Its code.
        code: &'static str,
        /// Its title.
        title: Inline,
        /// The explanation, without label, then proof, log lines and remedy with theirs.
        body: Vec<(&'static str, Inline)>,
    },
}
