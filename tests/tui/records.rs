//! The records of a side: the list is what waldump prints, fields and bytes find each other, and what one can follow.

use std::fmt::Write as _;
use std::sync::Arc;

use forkpoint::diagnosis::Diagnosis;
use forkpoint::dump::Selection;
use forkpoint::dump::clock::Clock;
use forkpoint::dump::expr::Filter;
use forkpoint::dump::read::Reader;
use forkpoint::dump::run::{Job, run};
use forkpoint::dump::text::{Style, Text};
use forkpoint::dump::view::{Target, View};
use forkpoint::facts::Role;
use forkpoint::pg::Lsn;
use forkpoint::report::timezone;
use forkpoint::scan::path::{Segments, WalPath};
use forkpoint::source::walset::{WalIdentity, WalSet};
use forkpoint::tui::action::ViewId;
use forkpoint::tui::app::Go;
use forkpoint::wal::record::Parts;
use forkpoint::wal::{Format, Record};

use ratatui::style::Modifier;

use crate::robot::Robot;

/// Takes lines.
struct Lines<'a>(&'a mut Vec<String>);

impl Target for Lines<'_> {
    fn write(&mut self, bytes: &mut Vec<u8>) -> bool {
        self.0.extend(String::from_utf8_lossy(bytes).lines().map(str::to_owned));
        bytes.clear();
        true
    }

    fn found(&mut self, _: Lsn) {}

    fn images(&mut self, _: &Record<'_>, _: &Parts) -> bool {
        true
    }
}

/// The places of one side, and then those of the other, where the sides have the same WAL.
struct Both<'a>(&'a WalSet, &'a WalSet, Lsn);

impl Segments for Both<'_> {
    fn open(&self, timeline: u32, segno: u64) -> Option<forkpoint::source::walset::Segment> {
        Segments::open(self.0, timeline, segno).or_else(|| {
            (self.0.segment_size().start(segno + 1) <= self.2)
                .then(|| Segments::open(self.1, timeline, segno))
                .flatten()
        })
    }
}

/// What waldump's engine prints of a side from the last common checkpoint on.
fn truth(pair: &str, diagnosis: &Diagnosis, role: Role, filter: Option<&str>) -> Vec<String> {
    let facts = &diagnosis.facts;
    let set = |side: &forkpoint::facts::Side| {
        let identity = WalIdentity {
            system_identifier: side.control.system_identifier,
            magic: None,
            major: Some(side.control.major),
        };
        let archive = std::path::Path::new(pair).join("archive");
        let archives: Vec<_> = archive.is_dir().then_some(archive).into_iter().collect();
        WalSet::new(&side.dir.wal_dir().unwrap(), &archives, None, side.segment_size, identity)
    };
    let (side, other) = match role {
        Role::Target => (&facts.target, &facts.source),
        Role::Source => (&facts.source, &facts.target),
    };
    let (own, others) = (set(side), set(other));
    let divergence = facts.divergence.as_ref().unwrap().lsn;
    let format = Format {
        major: side.control.major,
        system_identifier: side.control.system_identifier,
        segment_size: side.segment_size,
    };
    let both = Both(&own, &others, divergence);
    let path = WalPath { format, history: &side.lineage.history, store: &both };
    let names = facts.names_of(role);
    let resolve = |name: &str| Ok(names.called(name));
    let filter = filter.map(|text| Filter::parse(text, &resolve).unwrap());
    let selection = Selection { filter, ..Selection::default() };
    let view = || {
        let style = Style { details: false, names: None };
        View::Text(Box::new(Text::new(format.major, style, Clock::new(timezone::local()))))
    };
    let mut lines = Vec::new();
    let job = Job {
        reader: Reader { files: &path, format, end: None },
        start: facts.common_checkpoint.unwrap().lsn,
        selection: &selection,
        limit: None,
        follow: false,
        threads: 1,
        view: &view,
        cancelled: &|| false,
    };
    run(&job, Lines(&mut lines));
    lines
}

fn lsn_of(line: &str) -> String {
    // pg_waldump fills up with zeros
    line.split(", lsn: ").nth(1).unwrap().split(',').next().unwrap().parse::<Lsn>().unwrap().to_string()
}

/// The records' lines in the list, without its signs.
fn rows(robot: &Robot) -> Vec<String> {
    let frame = robot.frame();
    let list = frame
        .lines()
        .skip(4)
        .take_while(|line| !line.contains("─ record at") && !line.contains("━ record at"));
    let records = list.filter(|line| matches!(line.chars().nth(1), Some('·' | '●')));
    records.map(|line| line.chars().skip(3).collect()).collect()
}

/// All rows, by going down page by page.
fn all_rows(robot: &mut Robot) -> Vec<String> {
    robot.keys("<Home>");
    let mut all: Vec<String> = Vec::new();
    loop {
        let before = robot.frame();
        for row in rows(robot) {
            // pages overlap
            let lsn = row.split_whitespace().next().unwrap().to_owned();
            if !all.iter().rev().take(200).any(|seen| seen.split_whitespace().next() == Some(&lsn)) {
                all.push(row);
            }
        }
        robot.keys("<PageDown>");
        if robot.frame() == before {
            return all;
        }
    }
}

fn diagnosis(robot: &Robot) -> Arc<Diagnosis> {
    robot.app.shared.diagnosis.clone().unwrap()
}

/// A row says the same as the line: where, which transaction, how long, what.
fn same(row: &str, line: &str) {
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(words[0], lsn_of(line), "{row}\n{line}");
    let tx = line.split("tx:").nth(1).unwrap().split(',').next().unwrap().trim();
    assert_eq!(words[1], if tx == "0" { "-" } else { tx }, "{row}\n{line}");
    let len = line.split("len (rec/tot):").nth(1).unwrap().split(',').next().unwrap();
    assert_eq!(words[2], len.split('/').nth(1).unwrap().trim(), "{row}\n{line}");
    let rmgr = line.split_whitespace().nth(1).unwrap();
    assert_eq!(words[3], rmgr, "{row}\n{line}");
    let what = line.split(", desc: ").nth(1).unwrap();
    let operation = what.split_whitespace().next().unwrap();
    assert_eq!(words[4], operation, "{row}\n{line}");
    // behind the blocks stand the fields of the description, as far as there is room
    let fields = what[operation.len()..].split(", blkref #").next().unwrap().trim();
    let shown = row.split_once(operation).unwrap().1.trim();
    let cut = shown.strip_suffix('…');
    let said = |from: usize| match (&shown[from..], cut) {
        (all, None) => all == fields,
        (_, Some(cut)) => cut.get(from..).is_some_and(|part| fields.starts_with(part)),
    };
    let mut starts = std::iter::once(0).chain(shown.match_indices("; ").map(|(at, _)| at + 2));
    let blocks = what.matches(", blkref #").count();
    let none = fields.is_empty() && shown.matches(" blk ").count() == blocks;
    assert!(none || starts.any(said), "{row}\n{line}");
    for number in what.split(" blk ").skip(1).filter(|_| cut.is_none()) {
        let number = number.split([' ', ',']).next().unwrap();
        assert!(shown.contains(&format!(" blk {number}")), "{row}\n{line}");
    }
}

#[test]
fn the_list_is_what_waldump_prints() {
    for (pair, sides) in [
        ("basic-18", &[Role::Target, Role::Source][..]),
        ("crashed-target", &[Role::Target]),
        ("recycled-archive", &[Role::Target]),
        ("contrecord", &[Role::Target]),
        ("compress-lz4", &[Role::Target]),
    ] {
        let mut robot = Robot::open(pair, (200, 120));
        robot.keys("5\\");
        for side in sides {
            if *side == Role::Source {
                robot.keys("s");
            }
            let rows = all_rows(&mut robot);
            let truth = truth(pair, &diagnosis(&robot), *side, None);
            assert_eq!(rows.len(), truth.len(), "{pair} {side:?}: {:?} {:?}", rows.last(), truth.last());
            rows.iter().zip(&truth).for_each(|(row, line)| same(row, line));
        }
    }
}

#[test]
fn a_copied_line_is_pg_waldumps() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5");
    let truth = truth("basic-18", &diagnosis(&robot), Role::Target, None);
    for n in [0, 1, 2, 3, 50, truth.len() - 1] {
        let lsn = lsn_of(&truth[n]).parse().unwrap();
        go(&mut robot, Role::Target, "", Some(lsn));
        robot.keys("y");
        assert_eq!(robot.copied.last().unwrap(), &truth[n]);
    }
}

fn go(robot: &mut Robot, side: Role, filter: &str, lsn: Option<Lsn>) {
    robot.go(Go::Records { side, filter: filter.to_owned(), lsn });
}

#[test]
fn a_filter_lets_through_what_where_does() {
    let mut robot = Robot::open("basic-18", (200, 120));
    robot.keys("5\\");
    let diagnosis = diagnosis(&robot);
    for filter in ["rmgr = Heap", "rmgr != Heap and len > 100", "fpi > 0 or op = COMMIT", "lsn > FF/0"] {
        robot.keys("&<C-u>");
        robot.keys(filter).keys("<Enter>");
        let truth = truth("basic-18", &diagnosis, Role::Target, Some(filter));
        let rows = all_rows(&mut robot);
        assert_eq!(rows.len(), truth.len(), "{filter}");
        rows.iter().zip(&truth).for_each(|(row, line)| same(row, line));
    }
}

#[test]
fn a_wrong_filter_is_told_while_it_is_typed() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5&rmgr = Heep");
    robot.shows("✗ at character 8: there is no resource manager \"Heep\"");
    robot.keys("<Enter>");
    robot.shows("✗ at character 8");
    robot.keys("<C-u>rmgr = Heap<Enter>");
    robot.shows("& rmgr = Heap");
    robot.keys("&");
    robot.shows("&rmgr = Heap");
    robot.keys("<C-u><Enter>");
    assert!(!robot.frame().contains("& rmgr"));
}

#[test]
fn follow_and_come_back() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5");
    let diagnosis = diagnosis(&robot);
    let all = truth("basic-18", &diagnosis, Role::Target, None);
    let insert = all.iter().find(|l| l.contains("rmgr: Heap ") && l.contains("INSERT")).unwrap();
    go(&mut robot, Role::Target, "", Some(lsn_of(insert).parse().unwrap()));
    let here = robot.frame();

    robot.keys("b");
    let numbers = insert.split("rel ").nth(1).unwrap().split_whitespace().next().unwrap();
    let block = insert.split("blk ").nth(1).unwrap().split_whitespace().next().unwrap();
    let filter = format!("rel = {numbers} and fork = main and block = {block}");
    robot.shows(&format!("& block {block} of postgres."));
    robot.keys("&");
    robot.shows(&format!("&{filter}"));
    robot.keys("<Esc>");
    let expected = truth("basic-18", &diagnosis, Role::Target, Some(&filter));
    assert_eq!(all_rows(&mut robot).len(), expected.len());
    robot.keys("<Esc>");
    assert_eq!(robot.frame(), here, "back where one was");

    robot.keys("t");
    let xid = insert.split("tx:").nth(1).unwrap().split(',').next().unwrap().trim();
    robot.shows(&format!("& transaction {xid}"));
    let expected = truth("basic-18", &diagnosis, Role::Target, Some(&format!("top = {xid}")));
    let rows = all_rows(&mut robot);
    assert_eq!(rows.len(), expected.len());
    assert!(rows.last().unwrap().contains("Transaction COMMIT"), "{rows:?}");
    robot.keys("<Esc>");
    assert_eq!(robot.frame(), here);

    robot.keys("p");
    let prev: Lsn = insert.split(", prev ").nth(1).unwrap().split(',').next().unwrap().parse().unwrap();
    robot.shows(&format!("record at {prev}"));
}

#[test]
fn fields_light_bytes_and_bytes_find_fields() {
    let mut robot = Robot::open("basic-18", (200, 60));
    robot.keys("5");
    let all = truth("basic-18", &diagnosis(&robot), Role::Target, None);
    for kind in ["off:", "FPW", "COMMIT", "CHECKPOINT_ONLINE", "RUNNING_XACTS"] {
        let line = all.iter().find(|l| l.contains(kind)).unwrap_or_else(|| panic!("no {kind}"));
        let lsn = lsn_of(line);
        go(&mut robot, Role::Target, "", Some(lsn.parse().unwrap()));
        let len: usize = line
            .split("len (rec/tot):")
            .nth(1)
            .unwrap()
            .split(['/', ','])
            .nth(1)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // field to bytes: what the title says is lit, and copied
        robot.keys("<Tab><Home>");
        let mut fields = Vec::new();
        let mut before = String::new();
        while robot.dump() != before {
            before = robot.dump();
            if let Some(range) = title_range(&before) {
                assert!(range.end <= len, "{kind}: {range:?}");
                robot.keys("<Tab>y<BackTab>");
                let copied = robot.copied.pop().unwrap();
                assert_eq!(copied.len(), 2 * range.len(), "{kind}");
                if range.end <= 256 {
                    assert_eq!(lit(&robot), range.len(), "{kind} {range:?}");
                }
                robot.keys("y");
                fields.push((robot.copied.pop().unwrap(), range, copied));
            }
            robot.keys("<Down>");
        }
        assert!(fields.len() > 8, "{kind}: {fields:?}");
        let length = fields.iter().find(|f| f.0 == format!("length: {len}")).unwrap();
        assert_eq!((&length.1, &length.2), (&(0..4), &hex(&(len as u32).to_le_bytes())), "{kind}");
        // byte to field: the innermost one that holds it
        robot.keys("<Tab><Home>");
        for byte in 0..len.min(120) {
            let range = title_range(&robot.frame());
            let expected = fields.iter().map(|f| &f.1).filter(|r| r.contains(&byte)).min_by_key(|r| r.len());
            if let Some(expected) = expected {
                assert_eq!(range.unwrap().len(), expected.len(), "{kind}: byte {byte}");
            }
            robot.keys("<Right>");
        }
        robot.keys("<Tab>");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Bytes of the hex pane that are lit.
fn lit(robot: &Robot) -> usize {
    let buffer = robot.buffer();
    let area = *buffer.area();
    let letters = (30..area.height - 2).flat_map(|y| (area.width - 16..area.width).map(move |x| (x, y)));
    letters.filter(|at| buffer[*at].style().add_modifier.contains(Modifier::UNDERLINED)).count()
}

/// The bytes that the hex pane's title names.
fn title_range(frame: &str) -> Option<std::ops::Range<usize>> {
    let title = frame.lines().find(|l| l.contains("record at"))?;
    let bytes = title.split_once(" byte")?.1.trim_start_matches('s');
    let mut ends =
        bytes.split_once(" of ")?.0.trim().split('–').map(|n| usize::from_str_radix(&n[2..], 16).unwrap());
    let first = ends.next()?;
    Some(first..ends.next().unwrap_or(first) + 1)
}

#[test]
fn frames() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5");
    robot.check("records-80x24");
    let all = truth("basic-18", &diagnosis(&robot), Role::Target, None);
    let insert = all.iter().find(|l| l.contains("rmgr: Heap ") && l.contains("off:")).unwrap();
    go(&mut robot, Role::Target, "", Some(lsn_of(insert).parse().unwrap()));
    robot.keys("<Tab><Down>");
    robot.check("records-field-80x24");
    robot.resize((120, 40));
    robot.check("records-field-120x40");
    robot.keys("<Tab><Down><Down>");
    robot.check("records-byte-120x40");
    robot.resize((40, 10));
    // commits have times, in the zone of whoever runs this
    robot.keys("<Tab>&rmgr in (XLOG, Heap)<Enter>G");
    robot.check("records-end-40x10");
    robot.resize((80, 24));
    robot.check("records-end-80x24");
}

#[test]
fn search_goes_both_ways_and_round() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5");
    let all = truth("basic-18", &diagnosis(&robot), Role::Target, None);
    let commits: Vec<_> = all.iter().filter(|l| l.contains("COMMIT")).map(|l| lsn_of(l)).collect();
    robot.keys("/COMMIT<Enter>");
    robot.shows(&format!("record at {}", commits[0]));
    robot.keys("n");
    robot.shows(&format!("record at {}", commits[1]));
    robot.keys("NN");
    robot.shows(&format!("record at {}", commits[commits.len() - 1]));
    robot.shows("went over");
    robot.keys("n");
    robot.shows(&format!("record at {}", commits[0]));
    robot.keys("/no such thing<Enter>");
    robot.shows("no record holds \"no such thing\"");
}

#[test]
fn marks_and_what_is_refused() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5'");
    robot.shows("there are no marks: m makes one");
    robot.keys("jm");
    robot.shows("◆");
    let title = |robot: &Robot| robot.frame().lines().find(|l| l.contains("record at")).unwrap().to_owned();
    let marked = title(&robot);
    robot.keys("Gkk'");
    assert_eq!(title(&robot), marked);
    robot.keys("m");
    assert!(!robot.frame().contains('◆'));
    robot.keys("gt");
    robot.shows("this record is of no transaction");
    robot.keys("b");
    robot.shows("this record touches no block");
    robot.keys("p");
    robot.shows("lies before those that are shown");
    robot.keys("<Esc>");
    robot.shows("there is no filter");
}

#[test]
fn effects_of_another_view() {
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("5");
    let all = truth("basic-18", &diagnosis(&robot), Role::Source, None);
    let last = all.iter().rfind(|l| l.contains("rmgr: Heap ")).unwrap();
    go(&mut robot, Role::Source, "rmgr = Heap", Some(lsn_of(last).parse().unwrap()));
    robot.shows("source: ").shows("& rmgr = Heap").shows(&format!("record at {}", lsn_of(last)));
    go(&mut robot, Role::Target, "nonsense", None);
    robot.shows("at character 1: expected one of rmgr");
}

#[test]
fn the_way_back() {
    let mut robot = Robot::open("basic-18", (80, 24));
    let place = |robot: &mut Robot| robot.keys("y").copied.pop().unwrap();
    // where one was in the whole list, and within each filter
    robot.keys("5jjjjj");
    let first = place(&mut robot);
    robot.keys("&rmgr = Heap<Enter>jjj");
    let second = place(&mut robot);
    robot.keys("t").shows("& transaction ").keys("j");
    robot.keys("<Esc>").shows("& rmgr = Heap");
    assert_eq!(place(&mut robot), second);
    robot.keys("<Esc>");
    assert_eq!(place(&mut robot), first);
    // from another view and back to it, with this one as it was
    for (keys, view) in [("6jr", ViewId::Lost), ("4/public.acct<Enter>r", ViewId::Blocks)] {
        robot.keys(keys);
        assert_eq!(robot.app.view, ViewId::Records);
        robot.shows(&format!("Esc goes back to {}", view.title())).shows("& ");
        robot.keys("<Enter><Esc>jb<Esc><Esc>");
        assert_eq!(robot.app.view, view);
        robot.keys("5");
        assert_eq!(place(&mut robot), first, "{view:?}");
        robot.shows("6 of 379 records from 0/1007AE8");
    }
    // also from the side that was not asked for
    robot.keys("6rs<Esc>");
    assert_eq!(robot.app.view, ViewId::Lost);
    // without a place of its own the list of all records shows the record that was selected
    let mut robot = Robot::open("basic-18", (80, 24));
    robot.keys("6r&<C-u>rmgr = Heap<Enter>jj");
    let here = place(&mut robot);
    robot.keys("&<C-u><Enter>");
    assert!(!robot.frame().contains("& rmgr"), "{}", robot.frame());
    assert_eq!(place(&mut robot), here);
}
