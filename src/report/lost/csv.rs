//! One CSV file for each table (RFC 4180; NULL is an empty field, an empty text a quoted one). The first seven columns
//! say what happened: change, transaction, how it ended, time, LSN, whether all of the version was found, and the columns
//! whose values stand there as bytes in hex because their type is not read. A table whose columns changed meanwhile has
//! another file for each set of columns. What is no row stands in `_events.csv`, what is not seen in `_not_seen.csv`.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::super::words;

use super::text::event_text;
use crate::lost::{Change, Ending, Entry, Event, Lost, LostXact, RowChange, Shape, Value, Version};
use crate::pg::Lsn;

/// Files that are open at the same time.
const MAX_OPEN: usize = 128;
/// Longest name of a file in bytes, without what tells two of them apart.
const MAX_NAME: usize = 200;

/// Opens a file by its name; true says that it is to be gone on with.
pub type Open<'a> = dyn FnMut(&str, bool) -> io::Result<Box<dyn Write>> + 'a;

struct Files<'a> {
    open: &'a mut Open<'a>,
    /// By table and columns.
    names: HashMap<(String, Vec<String>), String>,
    taken: BTreeMap<String, u32>,
    writers: HashMap<String, Box<dyn Write>>,
}

/// Writes every row; `check` is asked before each and ends it with an error.
///
/// # Errors
/// As the writers', or rows cannot be read from the temporary file.
pub fn write<'a>(
    lost: &Lost,
    open: &'a mut Open<'a>,
    check: &dyn Fn() -> io::Result<()>,
) -> io::Result<Vec<String>> {
    let mut files = Files { open, names: HashMap::new(), taken: BTreeMap::new(), writers: HashMap::new() };
    for xact in &lost.transactions {
        if matches!(xact.ending, Ending::DecisionCommit(_) | Ending::DecisionRollback(_)) {
            let text =
                "prepared before the divergence: the source has it prepared; only the decision is lost";
            files.event(xact, xact.lsn, "decision", text)?;
        }
        lost.each(xact.xid, |entry| {
            check()?;
            match entry {
                Entry::Row(row) => files.row(lost, xact, &row),
                Entry::Event(lsn, event) => {
                    let lsn = if lsn == Lsn::MAX { xact.lsn } else { lsn };
                    files.event(xact, lsn, what(&event), &event_text(&event))
                }
            }
        })?;
    }
    for sentence in &lost.unseen {
        let mut line = String::new();
        field(&mut line, sentence);
        line.push_str("\r\n");
        files.other("_not_seen.csv", "not_seen")?.write_all(line.as_bytes())?;
    }
    files.writers.values_mut().try_for_each(Write::flush)?;
    let mut names: Vec<String> = files.names.into_values().collect();
    names.sort();
    Ok(names)
}

impl Files<'_> {
    fn row(&mut self, lost: &Lost, xact: &LostXact, row: &RowChange) -> io::Result<()> {
        let versions = match row.change {
            Change::Insert => vec![("insert", &row.new)],
            Change::Delete => vec![("delete", &row.old)],
            Change::Update => vec![("update_before", &row.old), ("update_after", &row.new)],
        };
        for (change, version) in versions {
            let line = line(lost, xact, row, change, version.as_ref());
            self.file(&row.shape)?.write_all(line.as_bytes())?;
        }
        Ok(())
    }

    fn event(&mut self, xact: &LostXact, lsn: Lsn, what: &str, text: &str) -> io::Result<()> {
        let time = xact.time.and_then(words::rfc3339).unwrap_or_default();
        let mut line = format!("{},{},", xact.xid, xact.ending.word());
        if let Some(gid) = xact.ending.gid() {
            field(&mut line, gid);
        }
        let rest = format!(",{time},{lsn},{what},");
        line.push_str(&rest);
        field(&mut line, text);
        line.push_str("\r\n");
        self.other("_events.csv", "xid,ending,gid,time,lsn,what,text")?.write_all(line.as_bytes())
    }

    /// A file that is not a table's; no table's name begins so, as its database's name stands in front.
    fn other(&mut self, name: &str, head: &str) -> io::Result<&mut Box<dyn Write>> {
        if !self.writers.contains_key(name) {
            let key = (name.to_owned(), Vec::new());
            let again = self.names.insert(key, name.to_owned()).is_some();
            let mut writer = (self.open)(name, again)?;
            if !again {
                writer.write_all(format!("{head}\r\n").as_bytes())?;
            }
            self.writers.insert(name.to_owned(), writer);
        }
        self.writers.get_mut(name).ok_or_else(|| io::Error::other("no file"))
    }

    fn file(&mut self, shape: &Shape) -> io::Result<&mut Box<dyn Write>> {
        let columns: Vec<String> = shape.live().map(|(_, column)| column.name.clone()).collect();
        let table = format!("{}.{}", shape.database_name, shape.qualified());
        let name = if let Some(name) = self.names.get(&(table.clone(), columns.clone())) {
            name.clone()
        } else {
            let plain = file_name(&table);
            let number = self.taken.entry(plain.to_lowercase()).or_insert(0);
            *number += 1;
            let name = if *number == 1 { format!("{plain}.csv") } else { format!("{plain}.{number}.csv") };
            self.names.insert((table, columns.clone()), name.clone());
            let mut writer = (self.open)(&name, false)?;
            let mut head = "change,xid,ending,time,lsn,complete,undecoded".to_owned();
            for column in &columns {
                head.push(',');
                field(&mut head, column);
            }
            head.push_str("\r\n");
            writer.write_all(head.as_bytes())?;
            self.writers.insert(name.clone(), writer);
            name
        };
        if self.writers.len() > MAX_OPEN {
            self.writers.values_mut().try_for_each(Write::flush)?;
            self.writers.clear();
        }
        if !self.writers.contains_key(&name) {
            let writer = (self.open)(&name, true)?;
            self.writers.insert(name.clone(), writer);
        }
        self.writers.get_mut(&name).ok_or_else(|| io::Error::other("no file"))
    }
}

fn line(lost: &Lost, xact: &LostXact, row: &RowChange, change: &str, version: Option<&Version>) -> String {
    let time = xact.time.and_then(words::rfc3339).unwrap_or_default();
    let values = version.map(|version| lost.values(&row.shape, version)).unwrap_or_default();
    let complete = version.is_some() && values.iter().all(|(_, value)| value.is_known());
    let ending = xact.ending.word();
    let mut line = format!("{change},{},{ending},{time},{},{complete},", xact.xid, row.lsn);
    let undecoded: Vec<&str> = values
        .iter()
        .filter(|(_, value)| matches!(value, Value::Hex { .. }))
        .filter_map(|(at, _)| row.shape.columns.get(*at).map(|column| column.name.as_str()))
        .collect();
    if !undecoded.is_empty() {
        field(&mut line, &undecoded.join(", "));
    }
    for (at, _) in row.shape.live() {
        line.push(',');
        match values.iter().find(|(place, _)| *place == at).map(|(_, value)| value) {
            Some(Value::Text(text)) => field(&mut line, text),
            Some(Value::Hex { hex, .. }) => {
                line.push_str("\\x");
                line.push_str(hex);
            }
            Some(Value::Null | Value::Unknown(_)) | None => {}
        }
    }
    line.push_str("\r\n");
    line
}

const fn what(event: &Event) -> &'static str {
    match event {
        Event::Ddl { .. } => "ddl",
        Event::Catalog { .. } => "catalog",
        Event::LargeObject { .. } => "large_object",
        Event::Message { .. } => "message",
        Event::NotFound { .. } => "not_found",
        Event::Nameless { .. } => "nameless",
    }
}

fn field(out: &mut String, text: &str) {
    let plain = !text.is_empty() && !text.contains(['"', ',', '\r', '\n']) && text.trim() == text;
    if plain {
        out.push_str(text);
        return;
    }
    out.push('"');
    out.push_str(&text.replace('"', "\"\""));
    out.push('"');
}

/// The table's name as a file's: nothing in it leads elsewhere.
fn file_name(table: &str) -> String {
    let safe =
        |c: char| if c == '/' || c == '\0' || c.is_control() || words::unsafe_char(c) { '_' } else { c };
    let mut name: String = table.chars().map(safe).collect();
    while name.len() > MAX_NAME {
        name.pop();
    }
    if name.starts_with('.') { format!("_{name}") } else { name }
}
