//! The whole report in every form.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::blocks::{self, Filter};
use super::content::{self, Detail};
use super::fixture::{self, ORDERS, PASSWORD, UNNAMED, failover};
use super::text::{TextStyle, display_width};
use super::{dto, json, markdown, snapshots, text, words};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::log;
use crate::diagnosis::snapshots::{Judgement, Snapshot, SnapshotAction};
use crate::diagnosis::verdict::{Action, Picture};
use crate::facts::{Divergence, DivergenceProof, Relation, Unrelated, WalNeeds};
use crate::pg::Lsn;

fn text_of(diagnosis: &Diagnosis, all: bool, style: TextStyle) -> String {
    let mut out = Vec::new();
    text::render(&content::report(diagnosis, Detail { all }), style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn markdown_of(diagnosis: &Diagnosis) -> String {
    let mut out = Vec::new();
    markdown::render(&content::report(diagnosis, Detail { all: true }), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn json_of(value: &impl serde::Serialize) -> (String, Value) {
    let mut out = Vec::new();
    json::write(value, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    let value = serde_json::from_str(&text).unwrap();
    (text, value)
}

fn report_json(diagnosis: &Diagnosis) -> (String, Value) {
    json_of(&dto::Report::from(diagnosis))
}

/// The lines that `needle` is in.
fn with<'a>(text: &'a str, needle: &str) -> Vec<&'a str> {
    text.lines().filter(|line| line.contains(needle)).collect()
}

#[test]
fn text_fits_80_columns_and_is_clean() {
    let (_dir, diagnosis) = failover();
    for all in [false, true] {
        for unicode in [false, true] {
            let text = text_of(&diagnosis, all, TextStyle { unicode, ..TextStyle::default() });
            for line in text.lines() {
                assert!(display_width(line) <= 80, "{}: {line}", display_width(line));
                assert!(!line.chars().any(words::unsafe_char), "{line:?}");
            }
        }
    }
}

#[test]
fn the_verdict_is_the_first_line() {
    let (_dir, diagnosis) = failover();
    let text = text_of(&diagnosis, false, TextStyle::default());
    assert_eq!(
        text.lines().next(),
        Some("! Rewind: 31 committed transactions are lost, and WAL segment 4 is missing")
    );
    assert!(markdown_of(&diagnosis).starts_with("# \\! Rewind: 31"));
    let order = [
        "timeline 1",
        "The two sides",
        "Findings",
        "Transactions that",
        "Relations changed",
        "WAL that is needed",
        "could not be seen",
        "What to do",
    ];
    let places: Vec<_> = order.iter().map(|heading| text.find(heading).unwrap()).collect();
    assert!(places.is_sorted(), "{places:?}");
}

#[test]
fn the_picture_of_a_failover() {
    let (_dir, diagnosis) = failover();
    let picture = super::drawing::Sketch::from(&diagnosis).draw().join("\n");
    let expected = "  timeline 1
  ─────●────────────┬────────────╳ target 0/4000000, timeline 1
       │            │
       │            └────────────▶ source 0/5000000, timeline 2
       │            divergence 0/3000000 on timeline 1
       last common checkpoint 0/2000060, redo 0/2000028";
    assert_eq!(picture, expected);
}

#[test]
fn other_pictures() {
    let (_dir, mut diagnosis) = failover();
    let draw = |diagnosis: &Diagnosis| super::drawing::Sketch::from(diagnosis).draw().join("\n");
    diagnosis.facts.common_checkpoint = None;
    diagnosis.facts.relation = Relation::TargetBehind;
    if let Some(end) = &mut diagnosis.facts.target.end {
        end.lsn = Lsn(0x300_0000);
    }
    let switchover = "  timeline 1
  ──────────────────┬ the target ends at 0/3000000
                    │
                    └────────────▶ source 0/5000000, timeline 2
                    divergence 0/3000000 on timeline 1";
    assert_eq!(draw(&diagnosis), switchover);
    diagnosis.facts.source.lineage.timeline = 1;
    let standby = "  timeline 1
  ──────────────────┬────────────▶ source 0/5000000, timeline 1
                    └ the target ends at 0/3000000
                    common up to 0/3000000 on timeline 1";
    assert_eq!(draw(&diagnosis), standby);
    diagnosis.facts.relation = Relation::SamePosition;
    assert!(draw(&diagnosis).ends_with("■ target and source both end at 0/3000000"));
    diagnosis.facts.relation = Relation::Unrelated(Unrelated::Major);
    assert!(!draw(&diagnosis).contains('┬'));
    diagnosis.facts.relation = Relation::Undecided;
    diagnosis.facts.divergence = None;
    assert_eq!(draw(&diagnosis), "");
}

#[test]
fn the_longest_positions_fit() {
    let (_dir, mut diagnosis) = failover();
    let facts = &mut diagnosis.facts;
    for side in [&mut facts.target, &mut facts.source] {
        side.lineage.timeline = u32::MAX;
        if let Some(end) = &mut side.end {
            end.lsn = Lsn(u64::MAX - 1);
        }
    }
    for line in super::drawing::Sketch::from(&diagnosis).draw() {
        assert!(display_width(&line) <= 80, "{line}");
    }
}

#[test]
fn colour_says_nothing_that_words_do_not() {
    let (_dir, diagnosis) = failover();
    let plain = text_of(&diagnosis, true, TextStyle::default());
    let mut colored = text_of(&diagnosis, true, TextStyle { color: true, ..TextStyle::default() });
    assert_ne!(plain, colored);
    for code in [0, 1, 31, 32, 33] {
        colored = colored.replace(&format!("\x1b[{code}m"), "");
    }
    assert_eq!(plain, colored);
    for (word, code) in [("error", "FP01"), ("warning", "FP19"), ("info", "FP30")] {
        assert_eq!(with(&plain, code).iter().filter(|line| line.contains(word)).count(), 1, "{code}");
    }
}

#[test]
fn more_with_v() {
    let (_dir, diagnosis) = failover();
    let (few, all) =
        (text_of(&diagnosis, false, TextStyle::default()), text_of(&diagnosis, true, TextStyle::default()));
    let rows = |text: &str| text.lines().filter(|l| l.starts_with("2025-")).count();
    // one of the first has no time in RFC 3339; the table of those that did not commit has one row, or two with -v
    assert_eq!((rows(&few), rows(&all)), (11 + 1, 30 + 2), "{few}");
    assert!(few.contains("The first 12 of 31 committed transactions"));
    assert!(!all.contains("The first 12"));
}

#[test]
fn a_decision_is_told_apart_from_work() {
    let (_dir, mut diagnosis) = failover();
    let wide = TextStyle { width: 300, ..TextStyle::default() };
    let row = |diagnosis: &Diagnosis| with(&text_of(diagnosis, true, wide), " 784 ").join("\n");
    assert!(row(&diagnosis).contains("only the decision is lost"), "{}", row(&diagnosis));
    if let Some(prepared) = &mut diagnosis.facts.transactions[33].prepared {
        prepared.lsn = Lsn(0x300_0100);
    }
    assert!(row(&diagnosis).contains("committed (prepared)"), "{}", row(&diagnosis));
}

#[test]
fn what_is_missing_comes_first() {
    let (_dir, diagnosis) = failover();
    let text = text_of(&diagnosis, false, TextStyle::default());
    let table: Vec<&str> = text.lines().skip_while(|l| !l.starts_with("segments")).skip(1).take(3).collect();
    assert!(table[0].contains("000000010000000000000004") && table[0].contains("MISSING"), "{table:?}");
    assert!(table[1].contains("02 … 00000003") && table[1].ends_with("2  target"), "{table:?}");
    assert!(table[2].contains("/archive"), "{table:?}");
}

#[test]
fn no_password_in_any_form() {
    let (_dir, diagnosis) = failover();
    assert!(format!("{diagnosis:?}").contains(PASSWORD));
    let forms =
        [text_of(&diagnosis, true, TextStyle::default()), markdown_of(&diagnosis), report_json(&diagnosis).0];
    for form in forms {
        assert!(!form.contains(PASSWORD), "{:?}", with(&form, PASSWORD));
        assert!(form.contains("password=***") || form.contains("password=\\*\\*\\*"));
    }
}

#[test]
fn markdown_tables_keep_their_columns() {
    let (_dir, diagnosis) = failover();
    let text = markdown_of(&diagnosis);
    assert!(text.contains("a\\|b"));
    let mut columns = None;
    let mut fenced = false;
    let mut rows = 0;
    for line in text.lines() {
        assert!(!line.chars().any(words::unsafe_char), "{line:?}");
        fenced ^= line.starts_with("```");
        if fenced || !line.starts_with('|') {
            columns = None;
            continue;
        }
        let bars = line.char_indices().filter(|&(at, c)| c == '|' && !line[..at].ends_with('\\')).count();
        assert_eq!(*columns.get_or_insert(bars), bars, "{line}");
        rows += 1;
    }
    assert!(rows > 40, "{rows}");
}

#[test]
fn json_is_what_the_schema_says() {
    let (_dir, mut diagnosis) = failover();
    let schema = serde_json::to_value(dto::schema::<dto::Report<'_>>()).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let validate = |value: &Value| {
        let errors: Vec<_> =
            validator.iter_errors(value).map(|e| format!("{} {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    };
    let (text, value) = report_json(&diagnosis);
    assert!(!text.chars().any(|c| c != '\n' && words::unsafe_char(c)));
    validate(&value);
    let log = log::explain("FATAL:  requested timeline 2 is not a child of this server's history", None);
    let (_, with_log) = json_of(&dto::Report::from(&diagnosis).with_log(Some(&log)));
    assert_eq!(with_log["log"][0]["code"], "FP01");
    validate(&with_log);

    // a schema that takes anything would prove nothing
    for (pointer, wrong) in [
        ("/verdict/action", json!("no such action")),
        ("/divergence/lsn", json!(50_331_648)),
        ("/target/system_identifier", json!(7)),
        ("/relation/kind", json!("friends")),
        ("/target_changes/relations/0/after/ranges/0", json!([1])),
    ] {
        let mut broken = value.clone();
        *broken.pointer_mut(pointer).unwrap() = wrong;
        assert!(!validator.is_valid(&broken), "{pointer}");
    }

    let facts = &mut diagnosis.facts;
    facts.relation = Relation::Unrelated(Unrelated::SystemIdentifier);
    (facts.divergence, facts.common_checkpoint, facts.loss) = (None, None, None);
    (facts.target_scan, facts.source_scan) = (None, None);
    facts.target.end = None;
    facts.wal = WalNeeds::default();
    facts.transactions.clear();
    facts.target.control.float_format = f64::NAN;
    diagnosis.verdict.action = Action::Unrelated;
    diagnosis.verdict.picture = Picture::None;
    let (_, value) = report_json(&diagnosis);
    validate(&value);
    assert_eq!(value["target_changes"], Value::Null);
    assert_eq!(value["relation"], json!({"kind": "unrelated", "reason": "system_identifier"}));
}

#[test]
fn json_keeps_its_conventions() {
    let (_dir, diagnosis) = failover();
    let (_, value) = report_json(&diagnosis);
    assert_eq!(value["schema_version"], 1);
    assert_eq!(value["tool"], json!({"name": "forkpoint", "version": env!("CARGO_PKG_VERSION")}));
    assert_eq!(value["divergence"]["lsn"], "0/3000000");
    assert_eq!(value["target"]["system_identifier"], "7400000000000000001");
    let copy = &value["target"]["control"]["checkpoint_copy"];
    assert_eq!(copy["next_full_xid"], "12884902688");
    assert_eq!(value["target"]["control"]["time"], "2025-06-15T15:06:40Z");
    assert_eq!(copy["time"], i64::MAX);
    assert_eq!(value["transactions"][1]["time"], "2025-05-08T06:13:21.5Z");
    assert_eq!(value["transactions"][7]["time"], i64::MAX);
    assert_eq!(value["target_changes"]["relations"][0]["after"]["kinds"][0]["rmgr"], "Heap");
    assert_eq!(value["target_changes"]["relations"][0]["after"]["kinds"][0]["operation"], "INSERT");
    assert_eq!(value["target_changes"]["relations"][0]["after"]["kinds"][1]["rmgr"], "custom200");
    assert_eq!(value["target_changes"]["relations"][1]["path"], "pg_tblspc/16999/PG_18_202506291/5/16400_vm");
    assert_eq!(value["wal"]["follow"]["holes"], json!(["000000010000000000000004"]));
    assert_eq!(value["source"]["lineage"][0]["end"], "0/3000000");
    assert_eq!(value["source"]["lineage"][1]["end"], Value::Null);
}

#[test]
fn json_has_every_block() {
    let (_dir, diagnosis) = failover();
    let (_, value) = report_json(&diagnosis);
    let orders = &value["target_changes"]["relations"][0];
    assert_eq!(orders["before"]["ranges"], json!([[1, 3]]));
    assert_eq!(orders["after"]["ranges"], json!([[2, 5], [70_000, 70_000], [70_002, 70_002]]));
    assert_eq!(orders["after"]["blocks"], 6);
    let both = &value["changed_on_both"];
    assert_eq!(both[0]["ranges"], json!([[3, 4], [70_002, 70_002]]));
    assert_eq!((&both[0]["file"], &both[0]["blocks"]), (&json!("1663/5/16384"), &json!(3)));
    assert_eq!(both[1]["ranges"], json!([[0, 0]]));
    assert_eq!(value["transactions"].as_array().unwrap().len(), 34);
    assert_eq!(value["target_changes"]["events"].as_array().unwrap().len(), 8);
}

#[test]
fn a_path_that_is_not_utf8_survives() {
    let (dir, diagnosis) = failover();
    let (_, value) = report_json(&diagnosis);
    let encoded = value["target"]["path"]["base64"].as_str().unwrap();
    // the name is at the end; its offset within the path decides how it is cut into threes
    let path = diagnosis.facts.target.dir.path();
    let dto::PathText::Bytes { base64 } = dto::PathText::from(path) else { panic!("{path:?}") };
    assert_eq!(encoded, base64);
    assert_eq!(value["source"]["path"], dir.path().join("source").to_str().unwrap());
    let text = text_of(&diagnosis, false, TextStyle { width: 200, ..TextStyle::default() });
    assert!(text.contains("target\\xFF|\\x1B[31m"), "{text}");
}

#[test]
fn twins_and_pg_rewinds_opinion() {
    let (_dir, mut diagnosis) = failover();
    let text = text_of(&diagnosis, false, TextStyle::default());
    assert!(text.contains("\"no rewind required\""), "{text}");
    diagnosis.facts.relation = Relation::Twins { timeline: 2 };
    diagnosis.facts.divergence = Some(Divergence {
        lsn: Lsn(0x300_0000),
        timeline: 1,
        shown_by: DivergenceProof::Records,
        pg_rewind: Some((Lsn(0x380_0000), 2)),
    });
    let text = text_of(&diagnosis, false, TextStyle { width: 200, ..TextStyle::default() });
    assert!(text.contains("pg_rewind would take 0/3800000 on timeline 2"), "{text}");
    assert!(text.contains("two branches claim timeline 2"));
}

#[test]
fn blocks_of_one_relation() {
    let (_dir, diagnosis) = failover();
    let facts = &diagnosis.facts;
    let wanted = |name: &str| {
        let filter = Filter::new(name);
        (filter.wants(ORDERS, facts), filter.wants(UNNAMED, facts), filter.known(facts))
    };
    let name = format!("orders {}", fixture::NASTY);
    for orders in [
        name.clone(),
        format!("public.{name}"),
        format!("shop.public.{name}"),
        "1663/5/16384".into(),
        "16384".into(),
    ] {
        assert_eq!(wanted(&orders), (true, false, true), "{orders}");
    }
    assert_eq!(wanted("16999/5/16400"), (false, true, true));
    assert_eq!(wanted("orders"), (false, false, false));

    let filter = Filter::new("16384");
    let (_, value) = json_of(&blocks::Report::new(facts, Some(&filter)));
    jsonschema::validate(&serde_json::to_value(dto::schema::<blocks::Report<'_>>()).unwrap(), &value)
        .unwrap();
    assert_eq!(value["changes"]["relations"].as_array().unwrap().len(), 1);
    assert_eq!(value["changes"]["events"].as_array().unwrap().len(), 2);

    let mut out = Vec::new();
    blocks::text(facts, None, 80, &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("after the divergence: 6 blocks, 40 references, 4 images"), "{text}");
    assert!(text.contains("\n    2-5 70000 70002\n"), "{text}");
    assert!(text.contains("16999/5/16400\n  vm pg_tblspc/"), "{text}");
    assert!(!text.chars().any(|c| c != '\n' && words::unsafe_char(c)));
}

#[test]
fn snapshots_as_text_and_json() {
    let (_dir, diagnosis) = failover();
    let facts = &diagnosis.facts;
    let snapshot = |path: &str, action, recommended| Snapshot {
        path: PathBuf::from(path),
        action,
        why: format!("it ends before the divergence, password={PASSWORD}"),
        end: facts.target.end.clone(),
        wal: facts.wal.follow.clone(),
        recommended,
    };
    let judgement = Judgement {
        source: facts.source.dir.path().into(),
        source_end: Some((2, Lsn(0x500_0000))),
        snapshots: vec![
            snapshot("/snap/1", SnapshotAction::Follow, true),
            snapshot("/snap/2", SnapshotAction::Rewind, false),
            snapshot("/snap/\u{1b}3", SnapshotAction::Unusable, false),
        ],
        unseen: facts.unseen.clone(),
    };
    let mut out = Vec::new();
    text::render(&snapshots::content(&judgement, Detail::default()), TextStyle::default(), &mut out).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with("✓ Roll back to /snap/1: it can follow the source as it is\n"), "{text}");
    for line in text.lines() {
        assert!(display_width(line) <= 80 && !line.chars().any(words::unsafe_char), "{line:?}");
    }
    let (json, value) = json_of(&snapshots::Report::from(&judgement));
    jsonschema::validate(&serde_json::to_value(dto::schema::<snapshots::Report>()).unwrap(), &value).unwrap();
    assert!(!text.contains(PASSWORD) && !json.contains(PASSWORD));
    assert_eq!(value["snapshots"][2]["action"], "unusable");
}
