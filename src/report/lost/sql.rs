//! A script that brings lost rows back, for a person to review and run on the new primary.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::{self, Write};

use super::super::words;
use super::text::event_text;
use super::{Summary, jsonl};
use crate::lost::{
    Change, Conflicts, Counts, Ending, Entry, Lost, LostXact, RowChange, Sequence, Shape, Value,
};
use crate::pg::Major;
use crate::rows::{Column, TypeKind, oid, quote_ident, sql_literal};

/// What an insertion does where the key is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnConflict {
    /// The row that is there stays.
    Nothing,
    /// The script stops.
    Error,
}

/// What the script is for.
#[derive(Debug)]
pub struct Script<'a> {
    /// What is lost.
    pub lost: &'a Lost,
    /// Changed rows by table.
    pub counts: &'a BTreeMap<(String, String), Counts>,
    /// Keys that both sides changed.
    pub conflicts: &'a Conflicts,
    /// Insertions of keys that are there.
    pub on_conflict: OnConflict,
    /// Of both sides.
    pub system_identifier: u64,
}

/// Types that have no equality, or one that means something else: they are compared as text.
const COMPARED_AS_TEXT: [u32; 10] = [
    oid::JSON,
    oid::XML,
    oid::POINT,
    oid::LSEG,
    oid::PATH,
    oid::BOX,
    oid::POLYGON,
    oid::LINE,
    oid::CIRCLE,
    1033,
];

const SETTINGS: &str = "\
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SET DateStyle = 'ISO, YMD';
SET IntervalStyle = 'postgres';
SET TimeZone = 'UTC';
SET bytea_output = 'hex';
SET lc_monetary = 'C';
SET xmloption = 'content';
";

impl Script<'_> {
    /// Writes it.
    ///
    /// # Errors
    /// As the writer's, or rows cannot be read from the temporary file.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let databases = self.databases();
        self.head(&databases, out)?;
        let mut current: Option<String> = None;
        let mut number = 0;
        for xact in &self.lost.transactions {
            number += u64::from(xact.ending.loses_rows() && xact.rows > 0);
            self.transaction(xact, number, databases.len() > 1, &mut current, out)?;
        }
        self.sequences(databases.len() > 1, &mut current, out)
    }

    fn databases(&self) -> BTreeSet<String> {
        let tables = self.counts.keys().map(|(database, _)| database);
        let all = tables.chain(self.lost.sequences.iter().map(|s| &s.database));
        all.filter(|database| !self.lost.gone_databases.contains(*database)).cloned().collect()
    }

    fn head(&self, databases: &BTreeSet<String>, out: &mut dyn Write) -> io::Result<()> {
        let summary = Summary::new(self.lost, self.counts);
        let mut say = |text: &str| comment(out, text);
        say("Rows that a rewind of the old primary discards, as statements for the new primary.")?;
        say("Made by forkpoint. Read it before you run it, as a superuser or the tables' owner:")?;
        say("    psql -X -f THIS_FILE -d DATABASE")?;
        say(
            "Each transaction is brought back as one. An update or delete that does not hit exactly one row stops the",
        )?;
        say(
            "script, as any error does: the transaction it stands in is rolled back, those before it stay committed.",
        )?;
        say(
            "Its number stands in the hint, and above its BEGIN. Set right what is in its way, or pass it over, and go",
        )?;
        say("on from the number N (psql 11 or later; never without it, or rows would come twice):")?;
        say("    psql -X -v forkpoint_from=N -f THIS_FILE -d DATABASE")?;
        if let Some((lsn, timeline)) = self.lost.divergence {
            say("")?;
            say(&format!(
                "{}{} committed after {lsn} on timeline {timeline}{}",
                if self.lost.cut_short { "at least " } else { "" },
                words::counted(summary.transactions, "transaction"),
                if self.lost.chosen { ", of what was chosen" } else { "" }
            ))?;
        }
        for t in &summary.tables {
            let (n, of) = (words::count, format!("{}.{}", t.database, t.table));
            let lacking =
                if t.incomplete > 0 { format!(", {} not complete", n(t.incomplete)) } else { String::new() };
            let text = format!(
                "    {of}: {} inserted, {} updated, {} deleted{lacking}",
                n(t.inserted),
                n(t.updated),
                n(t.deleted)
            );
            say(&text)?;
        }
        if self.lost.settings.major < Major::V12 {
            say("Floating-point values have the 15 digits (real: 6) that this major prints by default.")?;
        }
        for sentence in &self.lost.unseen {
            say(&format!("Not seen: {sentence}."))?;
        }
        for database in &self.lost.made_databases {
            say(&format!(
                "Database {database} was made after the divergence: create it, and its tables, on the new primary first."
            ))?;
        }
        self.warning(out)?;
        writeln!(out, "\n\\set ON_ERROR_STOP on")?;
        writeln!(out, "\\if :{{?forkpoint_from}}\n\\else\n\\set forkpoint_from 1\n\\endif")?;
        writeln!(out)?;
        comment(
            out,
            "Triggers and foreign keys act on these rows as on any others. To switch them off (superusers):",
        )?;
        comment(out, "SET session_replication_role = replica;")?;
        if databases.len() <= 1 {
            writeln!(out)?;
            self.settings(databases.iter().next().map(String::as_str), out)?;
        }
        Ok(())
    }

    fn warning(&self, out: &mut dyn Write) -> io::Result<()> {
        let conflicts = self.conflicts;
        if conflicts.list.is_empty() && conflicts.unseen.is_empty() {
            return comment(out, "The new primary has changed none of these keys since the divergence.");
        }
        comment(out, "")?;
        if !conflicts.list.is_empty() {
            let count = conflicts.list.len() as u64 + conflicts.more;
            let text = format!(
                "WARNING: the new primary has changed {} of these rows since the divergence, too:",
                words::counted(count, "key")
            );
            comment(out, &text)?;
            for one in &conflicts.list {
                let now = match &one.now {
                    Some(now) => format!("it has now {}", shorten(now)),
                    None => "it deleted the row".into(),
                };
                let text = format!(
                    "    {}.{} {}: {now} (its transaction {})",
                    one.database,
                    one.table,
                    shorten(&one.key),
                    one.source_xid
                );
                comment(out, &text)?;
            }
            if conflicts.more > 0 {
                comment(out, &format!("    and {} more", words::count(conflicts.more)))?;
            }
        }
        for sentence in &conflicts.unseen {
            comment(out, &format!("Of the new primary's own changes, some may be missed: {sentence}."))?;
        }
        Ok(())
    }

    /// To be said in each database: settings, and that it is the right one.
    fn settings(&self, database: Option<&str>, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(SETTINGS.as_bytes())?;
        // the default, with which the values were written
        let digits = u8::from(self.lost.settings.major >= Major::V12);
        writeln!(out, "SET extra_float_digits = {digits};")?;
        let mut body = format!(
            "BEGIN\n  IF (SELECT system_identifier FROM pg_catalog.pg_control_system()) <> {} THEN\n    \
             RAISE EXCEPTION USING MESSAGE = 'this is another cluster';\n  END IF;\n  \
             IF pg_catalog.pg_is_in_recovery() THEN\n    \
             RAISE EXCEPTION USING MESSAGE = 'this is a standby; run it on the new primary';\n  END IF;\n",
            self.system_identifier
        );
        if let Some(database) = database {
            let text = format!(
                "  IF pg_catalog.current_database() <> {} THEN\n    RAISE EXCEPTION USING MESSAGE = {};\n  END IF;\n",
                sql_literal(database),
                sql_literal(&format!("these rows are of database {database}"))
            );
            body.push_str(&text);
        }
        body.push_str("END");
        do_block(&body, out)
    }

    fn enter(
        &self,
        database: &str,
        several: bool,
        current: &mut Option<String>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if several && current.as_deref() != Some(database) {
            // within double quotes psql knows no escapes but doubled quotes
            let info = format!("dbname='{}'", database.replace('\\', "\\\\").replace('\'', "\\'"));
            writeln!(
                out,
                "\n\\connect -reuse-previous=on \"{}\"",
                info.replace('"', "\"\"").replace(['\n', '\r'], " ")
            )?;
            self.settings(Some(database), out)?;
            *current = Some(database.to_owned());
        }
        Ok(())
    }

    fn transaction(
        &self,
        xact: &LostXact,
        number: u64,
        several: bool,
        current: &mut Option<String>,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let when = xact.time.map(words::time).unwrap_or_default();
        let title = |did: &str| format!("Transaction {}, {did} {when}, record at {}", xact.xid, xact.lsn);
        match &xact.ending {
            Ending::Committed | Ending::CommittedPrepared(_) => {}
            Ending::DecisionCommit(gid) | Ending::DecisionRollback(gid) => {
                let commit = matches!(xact.ending, Ending::DecisionCommit(_));
                let (did, word) = if commit { ("committed", "COMMIT") } else { ("rolled back", "ROLLBACK") };
                writeln!(out)?;
                comment(out, &title(did))?;
                comment(
                    out,
                    "It was prepared before the divergence: the new primary has it prepared still, see",
                )?;
                comment(out, "pg_prepared_xacts. The decision was:")?;
                let gid = if gid.is_empty() { "its identifier".into() } else { sql_literal(gid) };
                return comment(out, &format!("{word} PREPARED {gid};"));
            }
            Ending::Prepared(gid) => {
                writeln!(out)?;
                comment(out, &title(&format!("prepared as {}", sql_literal(gid))))?;
                let rows = words::counted(xact.rows, "row");
                return comment(
                    out,
                    &format!(
                        "It was left prepared, so whether it would have committed is not known: its {rows} are not \
                         brought back. forkpoint lost --xid {} lists them.",
                        xact.xid
                    ),
                );
            }
        }
        // one transaction changes one database
        let mut database = None;
        if (several || !self.lost.gone_databases.is_empty()) && xact.rows > 0 {
            self.lost.each(xact.xid, |entry| {
                if let Entry::Row(row) = entry {
                    database.get_or_insert_with(|| row.shape.database_name.clone());
                }
                Ok(())
            })?;
        }
        let gone = database.as_ref().filter(|database| self.lost.gone_databases.contains(*database));
        if let Some(database) = gone {
            writeln!(out)?;
            comment(out, &title("committed"))?;
            let rows = words::counted(xact.rows, "row");
            let text = format!(
                "Its {rows} are of database {database}, which was made and dropped after the divergence or is gone: not \
                 brought back. forkpoint lost --xid {} lists them.",
                xact.xid
            );
            return comment(out, &text);
        }
        if let Some(database) = database {
            self.enter(&database, several, current, out)?;
        }
        writeln!(out)?;
        comment(out, &title("committed"))?;
        if xact.begins_earlier {
            comment(out, "It may have written before the WAL at hand; what it wrote there is not here.")?;
        }
        if xact.rows > 0 {
            comment(out, &format!("Number {number} of this script."))?;
            writeln!(out, "SELECT {number} >= :forkpoint_from AS forkpoint_run \\gset")?;
            writeln!(out, "\\if :forkpoint_run\nBEGIN;")?;
        }
        let mut refreshed = HashSet::new();
        let mut before = Before { number, ..Before::default() };
        self.lost.each(xact.xid, |entry| match entry {
            Entry::Event(_, event) => comment(out, &format!("not brought back: {}", event_text(&event))),
            Entry::Row(row) if row.shape.kind == 'm' => {
                if refreshed.insert(row.shape.oid) {
                    comment(out, &format!("REFRESH MATERIALIZED VIEW {};", name(&row.shape)))?;
                }
                Ok(())
            }
            Entry::Row(row) => self.row(xact, &row, &mut before, out),
        })?;
        if xact.rows > 0 {
            writeln!(out, "COMMIT;\n\\endif")?;
        }
        Ok(())
    }

    fn row(
        &self,
        xact: &LostXact,
        row: &RowChange,
        before: &mut Before,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        if self.conflicts.touches(self.lost, row) {
            comment(out, "WARNING: the new primary has changed this key since the divergence, too")?;
        }
        match statement(self.lost, row, self.on_conflict) {
            Ok(Statement::Insert(text)) => writeln!(out, "{text};"),
            Ok(Statement::Guarded(guarded)) => {
                let table = name(&row.shape);
                do_block(&guard(xact, row, &guarded, before), out)?;
                let tables =
                    if row.change == Change::Delete { &mut before.deleted } else { &mut before.updated };
                tables.insert(table);
                Ok(())
            }
            Ok(Statement::Nothing) => comment(
                out,
                &format!(
                    "update of {} at {}: no column that is stored changed",
                    row.shape.qualified(),
                    row.lsn
                ),
            ),
            Err(why) => {
                let text = format!(
                    "NOT BROUGHT BACK: {} of {} at {}: {why}. forkpoint lost --xid {} shows what is known.",
                    jsonl::change(row.change),
                    row.shape.qualified(),
                    row.lsn,
                    xact.xid
                );
                comment(out, &text)
            }
        }
    }

    fn sequences(&self, several: bool, current: &mut Option<String>, out: &mut dyn Write) -> io::Result<()> {
        let mut named: Vec<&Sequence> = self.lost.sequences.iter().filter(|s| !s.schema.is_empty()).collect();
        named.sort_by_key(|s| current.as_deref() != Some(s.database.as_str()));
        if !named.is_empty() {
            writeln!(out)?;
            comment(out, "Sequences: moved on to where they were, never back.")?;
        }
        for one in named {
            self.enter(&one.database, several, current, out)?;
            let name = format!("{}.{}", quote_ident(&one.schema), quote_ident(&one.name));
            let text = sql_literal(&name);
            let body = format!(
                "BEGIN\n  IF pg_catalog.to_regclass({text}) IS NOT NULL THEN\n    PERFORM pg_catalog.setval({text}, {value}, \
                 {called}) FROM {name} WHERE last_value < {value};\n  END IF;\nEND",
                value = one.last_value,
                called = one.is_called
            );
            do_block(&body, out)?;
        }
        Ok(())
    }
}

/// What the transaction at hand did already.
#[derive(Debug, Default)]
struct Before {
    /// The transaction's number in the script.
    number: u64,
    /// Tables that it deleted rows from, and those it updated rows of.
    deleted: BTreeSet<String>,
    updated: BTreeSet<String>,
}

/// A statement that has to hit one row.
struct Guarded {
    text: String,
    /// Which row, in words.
    key: String,
    /// What holds of the row afterwards, for an update.
    after: Option<String>,
    /// Identity columns that it sets.
    identity: Vec<String>,
}

enum Statement {
    Insert(String),
    Guarded(Guarded),
    Nothing,
}

/// Runs the statement and raises unless it hits one row, or a foreign key has done the same already: what CASCADE, SET
/// NULL or SET DEFAULT did on the old primary is among the rows, and the new primary does it of itself.
fn guard(xact: &LostXact, row: &RowChange, guarded: &Guarded, before: &Before) -> String {
    let Guarded { text, key, after, identity } = guarded;
    let what = format!(
        "{} of {} {} (transaction {}, {})",
        jsonl::change(row.change),
        row.shape.qualified(),
        shorten(key),
        xact.xid,
        row.lsn
    );
    let hint = format!(
        "Number {0} of the script is rolled back, those before it are committed. When what is in its way is set right, go \
         on with psql -v forkpoint_from={0}.",
        before.number
    );
    let table = sql_literal(&name(&row.shape));
    let tables = |names: &BTreeSet<String>| {
        let list: Vec<String> =
            names.iter().map(|name| format!("pg_catalog.to_regclass({})", sql_literal(name))).collect();
        if list.is_empty() { "NULL".to_owned() } else { list.join(", ") }
    };
    let by_key = |action: String| {
        format!(
            "EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE contype = 'f' AND conrelid = \
             pg_catalog.to_regclass({table}) AND ({action}))"
        )
    };
    let (deleted, updated) = (tables(&before.deleted), tables(&before.updated));
    let done = match (row.change, after) {
        (Change::Delete, _) if !before.deleted.is_empty() => {
            Some(by_key(format!("confdeltype = 'c' AND confrelid IN ({deleted})")))
        }
        (Change::Update, Some(after)) if !before.deleted.is_empty() || !before.updated.is_empty() => {
            let by_key = by_key(format!(
                "confdeltype IN ('n', 'd') AND confrelid IN ({deleted}) OR confupdtype IN ('c', 'n', 'd') AND confrelid \
                 IN ({updated})"
            ));
            Some(format!("{by_key} AND (SELECT count(*) FROM {} WHERE {after}) = 1", name(&row.shape)))
        }
        _ => None,
    };
    let done = done.map_or(String::new(), |done| {
        let notice = sql_literal(&format!("{what}: a foreign key had done it already"));
        format!("  IF forkpoint_hit = 0 AND {done} THEN\n    RAISE NOTICE USING MESSAGE = {notice};\n    RETURN;\n  END IF;\n")
    });
    // such a column takes no value while it is GENERATED ALWAYS on the new primary
    let (mut declared, mut first, mut last) = (String::new(), String::new(), String::new());
    for (number, column) in identity.iter().enumerate() {
        let declaration = format!(
            "  forkpoint_always_{number} boolean := (SELECT attidentity = 'a' FROM pg_catalog.pg_attribute WHERE attrelid = \
             pg_catalog.to_regclass({table}) AND attname = {});\n",
            sql_literal(column)
        );
        declared.push_str(&declaration);
        let alter = |how: &str| {
            format!(
                "  IF forkpoint_always_{number} THEN\n    ALTER TABLE {} ALTER COLUMN {} SET GENERATED {how};\n  END IF;\n",
                name(&row.shape),
                quote_ident(column)
            )
        };
        first.push_str(&alter("BY DEFAULT"));
        last.push_str(&alter("ALWAYS"));
    }
    format!(
        "#variable_conflict use_column\nDECLARE\n  forkpoint_hit bigint;\n{declared}BEGIN\n{first}  {text};\n  \
         GET DIAGNOSTICS forkpoint_hit = ROW_COUNT;\n{last}{done}  IF forkpoint_hit <> 1 THEN\n    \
         RAISE EXCEPTION USING MESSAGE = {} || forkpoint_hit || ' rows instead of one', HINT = {};\n  END IF;\nEND",
        sql_literal(&format!("{what} hit ")),
        sql_literal(&hint)
    )
}

/// The statement for a change.
///
/// # Errors
/// Why there is none.
fn statement(lost: &Lost, row: &RowChange, on_conflict: OnConflict) -> Result<Statement, String> {
    let shape = &row.shape;
    let values = |version: &Option<_>| version.as_ref().map(|version| lost.values(shape, version));
    let (old, new) = (values(&row.old), values(&row.new));
    let column = |at: usize| shape.columns.get(at);
    let table = name(shape);
    match row.change {
        Change::Insert => {
            let new = new.ok_or("the row was not found")?;
            let (mut names, mut literals, mut identity) = (Vec::new(), Vec::new(), false);
            for (at, value) in &new {
                let Some(column) = column(*at).filter(|c| !c.generated) else { continue };
                identity |= column.identity.is_some();
                names.push(quote_ident(&column.name));
                literals.push(literal(column, value)?);
            }
            let overriding = if identity { " OVERRIDING SYSTEM VALUE" } else { "" };
            let conflict = if on_conflict == OnConflict::Nothing { " ON CONFLICT DO NOTHING" } else { "" };
            let text = if names.is_empty() {
                format!("INSERT INTO {table} DEFAULT VALUES{conflict}")
            } else {
                format!(
                    "INSERT INTO {table} ({}){overriding} VALUES ({}){conflict}",
                    names.join(", "),
                    literals.join(", ")
                )
            };
            Ok(Statement::Insert(text))
        }
        Change::Delete => {
            let old = old.ok_or("the old row was not found")?;
            let (condition, key) = condition(shape, &table, &old)?;
            let text = format!("DELETE FROM {table} WHERE {condition}");
            Ok(Statement::Guarded(Guarded { text, key, after: None, identity: Vec::new() }))
        }
        Change::Update => {
            let old = old.ok_or("the old row was not found")?;
            let new = new.ok_or("the new row was not found")?;
            let (mut assignments, mut identity) = (Vec::new(), Vec::new());
            for ((at, before), (_, after)) in old.iter().zip(&new) {
                let Some(column) = column(*at).filter(|c| !c.generated) else { continue };
                if before != after || !before.is_known() {
                    let after = literal(column, after)?;
                    assignments.push(format!("{} = {after}", quote_ident(&column.name)));
                    if column.identity.is_some() {
                        identity.push(column.name.clone());
                    }
                }
            }
            if assignments.is_empty() {
                return Ok(Statement::Nothing);
            }
            let (condition, key) = condition(shape, &table, &old)?;
            let text = format!("UPDATE {table} SET {} WHERE {condition}", assignments.join(", "));
            let after = matching(shape, &new, false).ok().map(|(all, _)| all);
            Ok(Statement::Guarded(Guarded { text, key, after, identity }))
        }
    }
}

/// What finds the old row: its key, or without one all of it.
fn condition(shape: &Shape, table: &str, old: &[(usize, Value)]) -> Result<(String, String), String> {
    let by_key = !shape.key.is_empty();
    let (all, words) = matching(shape, old, by_key)?;
    // of rows that are alike, one
    let condition =
        if by_key { all } else { format!("ctid = (SELECT ctid FROM {table} WHERE {all} LIMIT 1)") };
    Ok((condition, words))
}

/// What holds of a row with these values, or with those of its key; in SQL and in words.
fn matching(shape: &Shape, values: &[(usize, Value)], by_key: bool) -> Result<(String, String), String> {
    let (mut parts, mut words) = (Vec::new(), Vec::new());
    for (at, value) in values {
        let Some(column) = shape.columns.get(*at) else { continue };
        if by_key && !shape.key.contains(&column.number) {
            continue;
        }
        let (ident, literal) = (quote_ident(&column.name), literal(column, value)?);
        parts.push(match value {
            Value::Null => format!("{ident} IS NULL"),
            _ if !by_key && as_text(shape, column.type_oid) => format!("{ident}::text = {literal}"),
            _ => format!("{ident} = {literal}"),
        });
        words.push(format!("{}={literal}", column.name));
    }
    if parts.is_empty() {
        return Err("the table has no column to find the row by".into());
    }
    Ok((parts.join(" AND "), words.join(", ")))
}

fn as_text(shape: &Shape, type_oid: u32) -> bool {
    if COMPARED_AS_TEXT.contains(&type_oid) {
        return true;
    }
    match shape.types.get(type_oid).map(|t| &t.kind) {
        Some(TypeKind::Array { element }) => as_text(shape, *element),
        Some(TypeKind::Domain { base, .. }) => as_text(shape, *base),
        Some(TypeKind::Composite(_)) | None => true,
        Some(TypeKind::Base) => shape.types.get(type_oid).is_some_and(|t| t.schema != "pg_catalog"),
        _ => false,
    }
}

fn literal(column: &Column, value: &Value) -> Result<String, String> {
    match value {
        Value::Null => Ok("NULL".into()),
        Value::Text(text) => Ok(sql_literal(text)),
        Value::Hex { type_name, .. } => {
            Err(format!("values of type {type_name}, as of column {}, are not read", column.name))
        }
        Value::Unknown(why) => Err(format!("column {}: {why}", column.name)),
    }
}

fn name(shape: &Shape) -> String {
    format!("{}.{}", quote_ident(&shape.schema), quote_ident(&shape.name))
}

/// Longer texts are cut in comments and messages.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 200;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or(text)),
        None => text.to_owned(),
    }
}

/// One line that does nothing, whatever the text holds.
fn comment(out: &mut dyn Write, text: &str) -> io::Result<()> {
    if text.is_empty() { writeln!(out, "--") } else { writeln!(out, "-- {}", words::clean(text)) }
}

/// A block of PL/pgSQL, quoted by dollars that do not occur in it.
fn do_block(body: &str, out: &mut dyn Write) -> io::Result<()> {
    let mut tag = "$fp$".to_owned();
    let mut number = 0u64;
    while body.contains(&tag) {
        number += 1;
        tag = format!("$fp{number}$");
    }
    writeln!(out, "DO {tag}\n{body} {tag};")
}
