//! A report for a ticket.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::doc::{Block, Inline, Style};
use super::words;

/// Writes the parts one after the other, with a blank line between them.
pub fn render(blocks: &[Block], out: &mut dyn Write) -> io::Result<()> {
    let is_branch =
        |at: Option<usize>| matches!(at.and_then(|at| blocks.get(at)), Some(Block::Branch { .. }));
    for (index, block) in blocks.iter().enumerate() {
        let (before, after) = (is_branch(index.checked_sub(1)), is_branch(Some(index + 1)));
        let branch = is_branch(Some(index));
        if index > 0 && !(branch && before) {
            writeln!(out)?;
        }
        if branch && !before {
            writeln!(out, "```text")?;
        }
        out.write_all(one(block).as_bytes())?;
        if branch && !after {
            writeln!(out, "```")?;
        }
    }
    Ok(())
}

fn one(block: &Block) -> String {
    let mut text = String::new();
    match block {
        Block::Verdict { sign, line, .. } => {
            let _ = writeln!(text, "# {} {}", escape(&sign.to_string()), inline(line, false));
        }
        Block::Heading(title) => {
            let _ = writeln!(text, "## {}", escape(&words::clean(title)));
        }
        Block::Para(para) => {
            let _ = writeln!(text, "{}", inline(para, false));
        }
        Block::Pairs(pairs) => {
            text.push_str("| | |\n|---|---|\n");
            for (name, value) in pairs {
                let _ = writeln!(text, "| {} | {} |", escape(&words::clean(name)), inline(value, true));
            }
        }
        Block::Table { columns, rows } => {
            for column in columns {
                let _ = write!(text, "| {} ", escape(column.title));
            }
            text.push_str("|\n");
            for column in columns {
                text.push_str(if column.right { "|---:" } else { "|---" });
            }
            text.push_str("|\n");
            for row in rows {
                for cell in row {
                    let _ = write!(text, "| {} ", inline(cell, true));
                }
                text.push_str("|\n");
            }
        }
        Block::List { numbered, items } => {
            for (index, item) in items.iter().enumerate() {
                let mark = if *numbered { format!("{}.", index + 1) } else { "-".into() };
                let _ = writeln!(text, "{mark} {}", inline(item, false));
            }
        }
        Block::Drawing(lines) => {
            text.push_str("```text\n");
            for line in lines {
                let _ = writeln!(text, "{}", words::clean(line).replace("```", "'''"));
            }
            text.push_str("```\n");
        }
        Block::Branch { first, text: line } => {
            let line: String = line.0.iter().map(|s| words::clean(&s.text).into_owned()).collect();
            let _ = writeln!(text, "{first}{}", line.replace("```", "'''"));
        }
        Block::Finding { severity, code, title, body } => {
            let _ = writeln!(text, "### {code} ({}): {}\n", words::severity(*severity), inline(title, false));
            for (label, value) in body {
                match *label {
                    "" => {
                        let _ = writeln!(text, "{}\n", inline(value, false));
                    }
                    label => {
                        let _ = writeln!(text, "- {label}: {}", inline(value, false));
                    }
                }
            }
        }
    }
    text
}

fn inline(text: &Inline, in_table: bool) -> String {
    let mut out = String::new();
    for span in &text.0 {
        let cleaned = words::clean(&span.text);
        match span.style {
            _ if cleaned.trim().is_empty() => out.push_str(&cleaned),
            Style::Plain => out.push_str(&escape(&cleaned)),
            Style::Code => out.push_str(&code(&cleaned, in_table)),
            _ => {
                // emphasis must not begin or end with a blank
                let trimmed = cleaned.trim();
                let before = cleaned.len() - cleaned.trim_start().len();
                let after = cleaned.len() - cleaned.trim_end().len();
                let _ = write!(out, "{:before$}**{}**{:after$}", "", escape(trimmed), "");
            }
        }
    }
    out
}

/// Every character that Markdown, GitHub's or GitLab's, could read as a sign of its own.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        let first = at == 0;
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' | '~' | '&' | '$' | '!' => {
                out.push('\\');
                out.push(c);
            }
            '-' | '+' | '=' if first => {
                out.push('\\');
                out.push(c);
            }
            // no backslash stops a mention
            '@' => out.push_str("&#64;"),
            '.' | ')' if begins_item(text, at) => {
                out.push('\\');
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

/// Whether the sign at `at` would make what is before it the number of a list's item.
fn begins_item(text: &str, at: usize) -> bool {
    let number = text.get(..at).is_some_and(|t| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()));
    number && text.get(at + 1..).is_none_or(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// A code span whose fence is longer than any run of backticks in it.
fn code(text: &str, in_table: bool) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    // a table is split before code spans are read
    let text = if in_table { text.replace('|', "\\|") } else { text.to_owned() };
    format!("{fence}{pad}{text}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::super::doc::Column;
    use super::*;

    fn draw(block: Block) -> String {
        let mut out = Vec::new();
        render(&[block], &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_cannot_break_out() {
        let nasty = "a|b`c``d *e* <img> [x](y) @team #1 \u{1b}[31m\n| z |";
        let table = draw(Block::Table {
            columns: vec![Column::left("one"), Column::right("two")],
            rows: vec![vec![nasty.into(), Inline::new().code(nasty)]],
        });
        assert_eq!(table.lines().count(), 3);
        let row = table.lines().last().unwrap();
        let bars = row.char_indices().filter(|&(at, c)| c == '|' && !row[..at].ends_with('\\')).count();
        assert_eq!(bars, 3, "{row}");
        assert!(
            row.contains("\\<img\\>") && row.contains("&#64;team") && row.contains("```a\\|b`c``d"),
            "{row}"
        );
        assert!(!row.chars().any(char::is_control));
    }

    #[test]
    fn a_paragraph_cannot_become_a_list() {
        assert_eq!(draw(Block::Para("- x".into())), "\\- x\n");
        assert_eq!(draw(Block::Para("12. x".into())), "12\\. x\n");
        assert_eq!(draw(Block::Para("12.5 x".into())), "12.5 x\n");
    }

    #[test]
    fn a_drawing_stays_in_its_fence() {
        assert_eq!(draw(Block::Drawing(vec!["─●```".into()])), "```text\n─●'''\n```\n");
    }
}
