//! The tree of fields of every record of a bundled pair, held against `forkpoint waldump --format jsonl`.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use crate::robot::{Robot, pair};

/// A field as the pane shows it: how deep, its name, its value.
type Field = (usize, String, String);

/// The fields that the pane shows; it has the whole body.
fn fields(robot: &Robot) -> (String, Vec<Field>) {
    let frame = robot.frame();
    let mut lines = frame.lines().skip(2);
    let title = lines.next().unwrap();
    assert!(!title.contains('↓'), "it does not fit:\n{frame}");
    let lsn = title.split("record at ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let field = |line: &str| {
        let name = line.trim_start_matches([' ', '▾', '▸']);
        let depth = (line.chars().count() - name.chars().count()) / 2 - 1;
        let (name, value) = name.split_once(": ").unwrap_or((name, ""));
        (depth, name.trim_end_matches(':').to_owned(), value.to_owned())
    };
    (lsn, lines.take_while(|line| !line.is_empty()).map(field).collect())
}

/// What JSON has, by the names from the outermost group to it; a group without a value.
fn listed(path: &str, value: &Value, out: &mut BTreeMap<String, Option<Value>>) {
    let mut members: Vec<(String, &Value)> = Vec::new();
    match value {
        Value::Array(items) => {
            members.extend(items.iter().enumerate().map(|(n, item)| (format!("[{}]", n + 1), item)));
        }
        Value::Object(object) if !object.contains_key("base64") => {
            members.extend(object.iter().map(|(name, value)| (name.clone(), value)));
        }
        other => {
            out.insert(path.to_owned(), Some(other.clone()));
            return;
        }
    }
    out.insert(path.to_owned(), None);
    for (name, value) in members {
        listed(&format!("{path}/{name}"), value, out);
    }
}

/// The same of the fields.
fn by_path(fields: &[Field]) -> BTreeMap<String, String> {
    let mut above: Vec<&str> = Vec::new();
    let path = |field: &Field, above: &[&str]| above[..=field.0].join("/");
    let mut out = BTreeMap::new();
    for field in fields {
        above.truncate(field.0);
        above.push(&field.1);
        assert!(out.insert(path(field, &above), field.2.clone()).is_none(), "{field:?} comes twice");
    }
    out
}

/// Whether pg_waldump's text is this value: numbers may be hexadecimal there, identifiers have an epoch.
fn says(text: &str, value: &Value) -> bool {
    let number = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    match value {
        Value::String(string) => {
            let epoch = text
                .split_once(':')
                .and_then(|(high, low)| Some((number(high)? << 32 | number(low)?).to_string()));
            text.trim_matches('"') == string || epoch.as_deref() == Some(string)
                // a time
                || text.get(..10) == string.get(..10) && string.ends_with('Z')
        }
        Value::Bool(yes) => matches!(
            (text, yes),
            ("true" | "t" | "yes" | "T" | "1", true) | ("false" | "f" | "no" | "F" | "0", false)
        ),
        Value::Number(n) => {
            number(text) == n.as_u64() && n.is_u64()
                || text.parse().ok() == n.as_i64()
                || text.parse().ok() == n.as_f64()
        }
        _ => false,
    }
}

#[test]
fn the_tree_of_every_record_is_what_json_has() {
    // a terminal so high that nothing is left out
    let mut robot = Robot::open("basic-18", (160, 400));
    robot.keys("5");
    let wal = pair("basic-18").join("target/pg_wal");
    let start = robot.app.shared.picture.as_ref().unwrap().checkpoint.as_ref().unwrap().lsn;
    let output = Command::new(env!("CARGO_BIN_EXE_forkpoint"))
        .args(["waldump", "--format", "jsonl", "--start", &start.to_string(), "--path"])
        .arg(&wal)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let records: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    robot.shows(&format!("1 of {} records", records.len()));
    robot.keys("<Tab>\\");
    let mut compared = 0;
    for record in &records {
        // the line of the divergence is no record
        if !robot.frame().contains("record at") {
            robot.keys("<BackTab>j<Tab>");
        }
        let (lsn, fields) = fields(&robot);
        assert_eq!(record["lsn"], lsn);
        let told = |name: &str| {
            let found = fields.iter().find(|f| f.0 == 1 && f.1 == name);
            found.unwrap_or_else(|| panic!("{lsn} has no {name}: {fields:?}")).2.clone()
        };
        assert_eq!(told("length"), record["length"].to_string());
        assert_eq!(told("transaction"), record["xid"].to_string());
        assert_eq!(told("previous record"), record["prev"].as_str().unwrap());
        let operation = format!("{} {}", record["rmgr"].as_str().unwrap(), record["op"].as_str().unwrap());
        assert_eq!(fields[0], (0, "description".to_owned(), operation));
        // what it says, field by field
        let mut wanted = BTreeMap::new();
        listed("description", &record["description"], &mut wanted);
        let end = fields.iter().skip(1).position(|f| f.0 == 0).unwrap() + 1;
        let shown = by_path(&fields[..end]);
        let names: (Vec<_>, Vec<_>) = (shown.keys().collect(), wanted.keys().collect());
        assert_eq!(names.0, names.1, "{record}");
        for ((path, text), value) in shown.iter().zip(wanted.values()) {
            if let Some(value) = value {
                assert!(says(text, value), "{lsn}: {path} {text:?} is not {value}");
                compared += 1;
            }
        }
        // its blocks
        let blocks: Vec<usize> =
            (0..fields.len()).filter(|&n| fields[n].0 == 0 && fields[n].1.starts_with("block ")).collect();
        let all = record["blocks"].as_array().unwrap();
        assert_eq!(blocks.len(), all.len());
        for (&at, block) in blocks.iter().zip(all) {
            let within: Vec<&Field> = fields[at + 1..].iter().take_while(|f| f.0 > 0).collect();
            let of = |depth: usize, name: &str| {
                within.iter().find(|f| f.0 == depth && f.1 == name).map(|f| f.2.clone())
            };
            assert_eq!(fields[at].1, format!("block {}", block["id"]));
            for (name, member) in [
                ("relation", "rel"),
                ("fork", "fork"),
                ("block", "block"),
                ("built anew", "will_init"),
                ("data length", "data_length"),
            ] {
                let text = of(1, name).unwrap();
                assert!(says(&text, &block[member]), "{lsn}: {name} {text:?} is not {}", block[member]);
                compared += 1;
            }
            let image = block.get("image");
            assert_eq!(of(1, "image").is_some(), image.is_some(), "{lsn}");
            if let Some(image) = image {
                assert_eq!(of(1, "image").unwrap() == "restored at replay", image["apply"] == true);
                for (name, member) in [
                    ("length", "length"),
                    ("hole offset", "hole_offset"),
                    ("hole length", "hole_length"),
                    ("compression", "compression"),
                ] {
                    let text = of(2, name).unwrap();
                    assert!(says(&text, &image[member]), "{lsn}: {name} {text:?} is not {}", image[member]);
                    compared += 1;
                }
            }
        }
        robot.keys("<BackTab>j<Tab>");
    }
    assert!(compared > 5 * records.len(), "{compared}");
}
