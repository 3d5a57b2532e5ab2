//! What changes of the catalogs mean, in words.

use std::collections::{HashMap, HashSet};

use crate::pg::{FIRST_NORMAL_OID, Lsn, Oid, RelFile, Xid};
use crate::rows::Types;

use super::catalog::{Database, View};
use super::fates::Fates;
use super::model::Event;
use super::rowtypes::{AttributeRow, Catalog, CatalogRow, ClassRow};
use super::survey::CatalogOp;

/// What a dropped column is called from then on begins so (`RemoveAttributeById`).
const DROPPED: &str = "........pg.dropped.";

/// What the source has of a file that the target dropped or emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// It was made after the divergence: what stood in it was lost with the transactions that wrote it.
    Nothing,
    /// The source does not have it any more.
    Gone,
    /// So many blocks.
    Blocks(u32),
}

/// Words for what one transaction did to the catalogs of a database; `before` says what the source has of a file.
pub fn events(
    database: &Database<'_>,
    fates: &Fates,
    top: Xid,
    ops: &[&CatalogOp],
    before: &dyn Fn(RelFile) -> Before,
) -> Vec<(Lsn, Event)> {
    let mut said = Said {
        before,
        database,
        fates,
        top,
        ops,
        made: HashSet::new(),
        transient: HashMap::new(),
        events: Vec::new(),
    };
    for op in ops {
        if let (None, Some(CatalogRow::Class(row))) = (&op.old, &op.new) {
            said.made.insert(row.oid);
            if let Some(of) = row.transient_of {
                said.transient.insert(of, row.oid);
            }
        }
        if let (None, Some(CatalogRow::Type(row))) = (&op.old, &op.new) {
            said.made.insert(row.oid);
        }
    }
    for op in ops {
        said.op(op);
    }
    said.events
}

struct Said<'a> {
    before: &'a dyn Fn(RelFile) -> Before,
    database: &'a Database<'a>,
    fates: &'a Fates,
    top: Xid,
    ops: &'a [&'a CatalogOp],
    /// Relations and types that the transaction made.
    made: HashSet<Oid>,
    /// Rewritten tables and their transient heaps.
    transient: HashMap<Oid, Oid>,
    events: Vec<(Lsn, Event)>,
}

impl Said<'_> {
    fn view(&self, at: Lsn) -> View<'_> {
        View { at, top: Some(self.top), fates: self.fates }
    }

    fn say(&mut self, at: Lsn, action: &str, object: String, text: String) {
        let known =
            self.events.iter().any(|(_, event)| matches!(event, Event::Ddl { text: t, .. } if *t == text));
        if !known {
            self.events.push((at, Event::Ddl { action: action.to_owned(), object, text }));
        }
    }

    fn op(&mut self, op: &CatalogOp) {
        match (&op.old, &op.new) {
            (None, Some(CatalogRow::Class(new))) => self.class_made(op.lsn, new),
            (Some(CatalogRow::Class(old)), None) => self.class_gone(op.lsn, old),
            (Some(CatalogRow::Class(old)), Some(CatalogRow::Class(new))) => {
                self.class_changed(op.lsn, old, new);
            }
            (None, Some(CatalogRow::Attribute(new))) => self.column_made(op.lsn, new),
            (Some(CatalogRow::Attribute(old)), Some(CatalogRow::Attribute(new))) => {
                self.column_changed(op.lsn, old, new);
            }
            (None, Some(CatalogRow::Type(new))) if matches!(new.kind, b'e' | b'd' | b'r') => {
                let object = self.qualified(op.lsn, new.namespace, &new.name);
                let text = format!("{} {object} created", type_word(new.kind));
                self.say(op.lsn, "create", object, text);
            }
            (Some(CatalogRow::Type(old)), None) if matches!(old.kind, b'e' | b'd' | b'r') => {
                let object = self.qualified(op.lsn, old.namespace, &old.name);
                let text = format!("{} {object} dropped", type_word(old.kind));
                self.say(op.lsn, "drop", object, text);
            }
            (None, Some(CatalogRow::Enum { of, label, .. })) if !self.made.contains(of) => {
                if let Some(CatalogRow::Type(row)) = self.database.any(Catalog::Type, *of) {
                    let object = self.qualified(op.lsn, row.namespace, &row.name);
                    let text = format!("value '{label}' added to type {object}");
                    self.say(op.lsn, "alter", object, text);
                }
            }
            (None, Some(CatalogRow::Namespace { name, .. })) if !name.starts_with("pg_") => {
                self.say(op.lsn, "create", name.clone(), format!("schema {name} created"));
            }
            (Some(CatalogRow::Namespace { name, .. }), None) if !name.starts_with("pg_") => {
                self.say(op.lsn, "drop", name.clone(), format!("schema {name} dropped"));
            }
            (
                Some(CatalogRow::Namespace { name: old, .. }),
                Some(CatalogRow::Namespace { name: new, .. }),
            ) if old != new => {
                self.say(op.lsn, "rename", old.clone(), format!("schema {old} renamed to {new}"));
            }
            _ => {}
        }
    }

    fn qualified(&self, at: Lsn, namespace: Oid, name: &str) -> String {
        format!("{}.{name}", self.database.schema(&self.view(at), namespace))
    }

    fn of(&self, at: Lsn, row: &ClassRow) -> String {
        self.qualified(at, row.namespace, &row.name)
    }

    fn told(row: &ClassRow) -> bool {
        row.persistence != 't' && row.transient_of.is_none() && row.kind != 't' && row.oid >= FIRST_NORMAL_OID
    }

    fn class_made(&mut self, at: Lsn, row: &ClassRow) {
        if !Self::told(row) || Self::is_toast_index(row) {
            return;
        }
        let object = self.of(at, row);
        let word = kind_word(row.kind);
        if matches!(row.kind, 'i' | 'I') {
            let on = self.ops.iter().find_map(|op| match &op.new {
                Some(CatalogRow::Index(index)) if index.index == row.oid => Some(index),
                _ => None,
            });
            let text = match on
                .and_then(|index| Some((index, self.database.class(&self.view(at), index.relation)?)))
            {
                Some((index, table)) => {
                    let what = if index.primary {
                        "primary key"
                    } else if index.unique {
                        "unique index"
                    } else {
                        word
                    };
                    format!("{what} {object} built on {}", self.of(at, table))
                }
                None => format!("{word} {object} built"),
            };
            self.say(at, "index", object, text);
            return;
        }
        let unlogged = if row.persistence == 'u' { "unlogged " } else { "" };
        let mut text = format!("{unlogged}{word} {object} created");
        if matches!(row.kind, 'r' | 'p' | 'f' | 'c') {
            let view = self.view(self.end());
            let types = Types::builtin();
            let name = |oid| match types.get(oid).map(|t| t.name.clone()) {
                Some(name) => name,
                None => match self.database.any(Catalog::Type, oid) {
                    Some(CatalogRow::Type(row)) => row.name.clone(),
                    _ => types.name(oid),
                },
            };
            let columns = self.database.columns(&view, row.oid);
            let columns: Vec<String> = columns
                .iter()
                .filter(|c| !c.dropped)
                .map(|c| format!("{} {}", c.name, name(c.type_oid)))
                .collect();
            if !columns.is_empty() {
                text = format!("{text} ({})", columns.join(", "));
            }
            if row.persistence == 'u' {
                text.push_str("; what is written to it is in no WAL");
            }
        }
        self.say(at, "create", object, text);
    }

    /// Behind the last thing that the transaction did to the catalogs.
    fn end(&self) -> Lsn {
        self.ops.iter().map(|op| op.lsn).max().unwrap_or(Lsn::MAX)
    }

    fn is_toast_index(row: &ClassRow) -> bool {
        row.kind == 'i' && row.name.starts_with("pg_toast_") && row.name.ends_with("_index")
    }

    fn class_gone(&mut self, at: Lsn, row: &ClassRow) {
        if Self::told(row) && !Self::is_toast_index(row) {
            let object = self.of(at, row);
            let text = format!("{} {object} dropped{}", kind_word(row.kind), self.with_it(row));
            self.say(at, "drop", object, text);
        }
    }

    /// What became of the rows of a table that was dropped or emptied.
    fn with_it(&self, row: &ClassRow) -> String {
        if !matches!(row.kind, 'r' | 'm') || row.file_number == 0 {
            return String::new();
        }
        let spc = if row.tablespace == 0 { self.database.tablespace } else { row.tablespace };
        match (self.before)(RelFile { spc, db: self.database.oid, rel: row.file_number }) {
            Before::Nothing => String::new(),
            Before::Gone => {
                "; the rows that went with that are not listed, and the source does not have its file \
                             any more, either"
                    .to_owned()
            }
            Before::Blocks(0) => "; the source has it empty".to_owned(),
            Before::Blocks(blocks) => {
                let word = if blocks == 1 { "block" } else { "blocks" };
                format!(
                    "; the rows that went with that are not listed: the source has the table's file still, {blocks} {word}"
                )
            }
        }
    }

    fn class_changed(&mut self, at: Lsn, old: &ClassRow, new: &ClassRow) {
        if !Self::told(old) {
            return;
        }
        let object = self.of(at, old);
        let word = kind_word(old.kind);
        if old.name != new.name {
            self.say(at, "rename", object.clone(), format!("{word} {object} renamed to {}", new.name));
        }
        if old.namespace != new.namespace {
            let schema = self.database.schema(&self.view(at), new.namespace);
            self.say(at, "alter", object.clone(), format!("{word} {object} moved to schema {schema}"));
        }
        match (old.persistence, new.persistence) {
            ('u', 'p') => {
                let text = format!(
                    "{word} {object} made logged; its rows were not in the WAL before, they are listed as inserted here"
                );
                self.say(at, "alter", object.clone(), text);
            }
            ('p', 'u') => {
                let text = format!(
                    "{word} {object} made unlogged; what was written to it from then on is in no WAL"
                );
                self.say(at, "alter", object.clone(), text);
            }
            _ => {}
        }
        if old.file_number == new.file_number || self.made.contains(&old.oid) {
            return;
        }
        match old.kind {
            'r' if self.transient.contains_key(&old.oid) => {
                self.say(at, "rewrite", object.clone(), format!("{word} {object} rewritten into a new file"));
            }
            'm' => self.say(at, "rewrite", object.clone(), format!("{word} {object} refreshed")),
            'r' if old.tablespace != new.tablespace => {
                self.say(
                    at,
                    "rewrite",
                    object.clone(),
                    format!("{word} {object} moved to another tablespace"),
                );
            }
            'r' => {
                let text = format!("{word} {object} truncated{}", self.with_it(old));
                self.say(at, "truncate", object, text);
            }
            _ => {}
        }
    }

    /// The relation whose column it is, if that is worth telling.
    fn table_of(&self, at: Lsn, row: &AttributeRow) -> Option<String> {
        if row.column.number <= 0 || self.made.contains(&row.relation) {
            return None;
        }
        let class = self.database.class(&self.view(at), row.relation)?;
        let told = Self::told(class) && matches!(class.kind, 'r' | 'p' | 'f' | 'c' | 'v');
        told.then(|| format!("{} {}", kind_word(class.kind), self.of(at, class)))
    }

    fn type_name(&self, oid: Oid) -> String {
        let types = Types::builtin();
        match (types.get(oid), self.database.any(Catalog::Type, oid)) {
            (Some(one), _) => one.name.clone(),
            (None, Some(CatalogRow::Type(row))) => row.name.clone(),
            _ => types.name(oid),
        }
    }

    fn column_made(&mut self, at: Lsn, row: &AttributeRow) {
        if let Some(table) = self.table_of(at, row) {
            let text = format!(
                "column {} {} added to {table}",
                row.column.name,
                self.type_name(row.column.type_oid)
            );
            self.say(at, "alter", table, text);
        }
    }

    fn column_changed(&mut self, at: Lsn, old: &AttributeRow, new: &AttributeRow) {
        let Some(table) = self.table_of(at, old) else { return };
        let (old, new) = (&old.column, &new.column);
        let mut say = |text: String| self.say(at, "alter", table.clone(), text);
        if new.dropped && !old.dropped {
            if !old.name.starts_with(DROPPED) {
                say(format!("column {} dropped from {table}", old.name));
            }
            return;
        }
        if old.name != new.name {
            say(format!("column {} of {table} renamed to {}", old.name, new.name));
        }
        if old.not_null != new.not_null {
            let word = if new.not_null { "no longer takes" } else { "takes" };
            say(format!("column {} of {table} {word} NULL", new.name));
        }
        if old.type_oid != new.type_oid || old.typmod != new.typmod {
            let (from, to) = (self.type_name(old.type_oid), self.type_name(new.type_oid));
            let text = if from == to {
                format!("type of column {} of {table} changed within {to}", new.name)
            } else {
                format!("type of column {} of {table} changed from {from} to {to}", new.name)
            };
            self.say(at, "alter", table, text);
        }
    }
}

const fn type_word(kind: u8) -> &'static str {
    match kind {
        b'e' => "enum type",
        b'd' => "domain",
        _ => "range type",
    }
}

const fn kind_word(kind: char) -> &'static str {
    match kind {
        'r' => "table",
        'p' => "partitioned table",
        'i' => "index",
        'I' => "partitioned index",
        'S' => "sequence",
        'v' => "view",
        'm' => "materialized view",
        'c' => "composite type",
        'f' => "foreign table",
        _ => "relation",
    }
}
