//! One CSV file for each table (RFC 4180; NULL is an empty field, an empty text a quoted one). The first five columns
//! say what happened: change, transaction, time, LSN, whether all of the version was found. A table whose columns
//! changed meanwhile has another file for each set of columns.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};

use super::super::words;

use crate::lost::{Change, Entry, Lost, LostXact, RowChange, Shape, Value, Version};

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
    for xact in lost.transactions.iter().filter(|xact| xact.rows > 0) {
        lost.each(xact.xid, |entry| {
            check()?;
            match entry {
                Entry::Row(row) => files.row(lost, xact, &row),
                Entry::Event(..) => Ok(()),
            }
        })?;
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
            let mut head = "change,xid,time,lsn,complete".to_owned();
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
    let mut line = format!("{change},{},{time},{},{complete}", xact.xid, row.lsn);
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
