//! What the report for a person says, and in which order.

use std::collections::HashMap;
use std::path::Path;

use super::doc::{Block, Column, Inline, Style};
use super::{drawing, dto, words};
use crate::diagnosis::Diagnosis;
use crate::diagnosis::log::LogMatch;
use crate::diagnosis::verdict::Action;
use crate::facts::{
    DivergenceProof, Facts, LineageEvidence, NeededSegment, Relation, Role, Side, Unseen, WalNeed,
};
use crate::findings::{Evidence, Finding, Severity, codes};
use crate::pg::{Lsn, RelFile, Xid};
use crate::scan::{EndKind, FileEvent, RelationChanges, WalEnd, Xact, XactEnd};

/// How much is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detail {
    /// Everything, not only the first and largest.
    pub all: bool,
}

/// Rows shown of what there may be many of.
const FIRST: usize = 12;

impl Detail {
    const fn rows(self) -> usize {
        if self.all { usize::MAX } else { FIRST }
    }
}

/// The parts of the report.
pub fn report(diagnosis: &Diagnosis, detail: Detail) -> Vec<Block> {
    let facts = &diagnosis.facts;
    let mut blocks = vec![verdict(diagnosis)];
    if !diagnosis.verdict.blocked_by.is_empty() {
        blocks.push(Block::Para(
            Inline::new()
                .with(Style::Bad, "In the way: ")
                .text(format!("{} (see the findings below).", diagnosis.verdict.blocked_by.join(", "))),
        ));
    }
    let picture = drawing::Sketch::from(diagnosis).draw();
    if !picture.is_empty() {
        blocks.push(Block::Drawing(picture));
    }
    let caption = words::picture(diagnosis.verdict.picture);
    if !caption.is_empty() {
        blocks.push(Block::Para(caption.into()));
    }
    figures(facts, detail, &mut blocks);
    findings(&diagnosis.findings, detail, &mut blocks);
    transactions(facts, detail, &mut blocks);
    relations(facts, detail, &mut blocks);
    events(facts, detail, &mut blocks);
    wal(facts, detail, &mut blocks);
    unseen(facts, &mut blocks);
    steps(diagnosis, &mut blocks);
    blocks
}

/// What the log that was given says.
pub fn log(matches: &[LogMatch]) -> Vec<Block> {
    if matches.is_empty() {
        return vec![Block::Para("The log has no message that belongs to a failed rejoin.".into())];
    }
    let mut blocks = vec![Block::Heading("What the log says".into())];
    for m in matches {
        let (word, severity) = match m.finding_matches {
            Some(true) => ("the directories bear it out", Severity::Error),
            Some(false) => ("the directories do not bear it out", Severity::Warning),
            None => ("the directories cannot tell", Severity::Info),
        };
        blocks.push(Block::Finding {
            severity,
            code: m.code,
            title: masked(codes::title(m.code)),
            body: vec![
                ("logs", Inline::from(format!("line {}: ", m.line)).code(words::mask(&m.message))),
                ("proof", prose(&format!("{word}. {}", m.why()))),
            ],
        });
    }
    blocks
}

fn masked(text: &str) -> Inline {
    words::mask(text).into_owned().into()
}

/// Pieces in back quotes are literal.
pub fn prose(text: &str) -> Inline {
    let text = words::mask(text);
    if !text.matches('`').count().is_multiple_of(2) {
        return text.into_owned().into();
    }
    let mut inline = Inline::new();
    for (index, piece) in text.split('`').enumerate().filter(|(_, p)| !p.is_empty()) {
        inline = if index % 2 == 1 { inline.code(piece) } else { inline.text(piece) };
    }
    inline
}

fn verdict(diagnosis: &Diagnosis) -> Block {
    let (sign, style) = match diagnosis.verdict.action {
        Action::Same | Action::Follow => ('✓', Style::Good),
        Action::Rewind | Action::Undecided => ('!', Style::Warn),
        Action::ReClone | Action::Unrelated => ('✗', Style::Bad),
    };
    Block::Verdict { sign, style, line: masked(&diagnosis.verdict.line) }
}

fn side(side: &Side) -> Inline {
    let major =
        side.dir.major().map_or_else(|| "of an unknown version".into(), |m| format!("PostgreSQL {m}"));
    Inline::new().path(side.dir.path()).text(format!(
        " ({major}, {}{})",
        words::state(side.control.state),
        if side.leftovers.postmaster.as_ref().is_some_and(crate::source::leftovers::Postmaster::running) {
            ", a server runs on it"
        } else {
            ""
        }
    ))
}

fn end_of_wal(side: &Side) -> Inline {
    let timeline = side.lineage.timeline;
    let believed = match side.lineage.evidence {
        LineageEvidence::FirstRecord(lsn) if timeline != side.lineage.control_timeline => {
            format!(
                " (pg_control still says {}, the record at {lsn} says {timeline})",
                side.lineage.control_timeline
            )
        }
        _ => String::new(),
    };
    match &side.end {
        Some(end) => Inline::from(format!(
            "{} on timeline {}{believed}: {}",
            end.lsn,
            end.timeline,
            words::end_kind(end.kind)
        )),
        None => format!("unknown, timeline {timeline}{believed}").into(),
    }
}

fn figures(facts: &Facts, detail: Detail, blocks: &mut Vec<Block>) {
    let mut pairs: Vec<(String, Inline)> = Vec::new();
    let mut add = |name: &str, value: Inline| pairs.push((name.to_owned(), value));
    add("Target", side(&facts.target));
    add("Source", side(&facts.source));
    let (ours, theirs) = (facts.target.control.system_identifier, facts.source.control.system_identifier);
    if ours == theirs {
        add("System identifier", ours.to_string().into());
    } else {
        add("System identifier", format!("target {ours}, source {theirs}").into());
    }
    add("Relation", relation(facts));
    if let Some(divergence) = &facts.divergence {
        let proof = match divergence.shown_by {
            DivergenceProof::History(timeline) => format!("as {timeline:08X}.history says"),
            DivergenceProof::Records => "where the records of the two sides first differ".into(),
            DivergenceProof::End => "where one side ends".into(),
        };
        let parting = (divergence.lsn, divergence.timeline);
        let pg_rewind = match divergence.pg_rewind {
            Some(theirs) if theirs == parting => String::new(),
            Some((lsn, timeline)) => format!("; pg_rewind would take {lsn} on timeline {timeline}"),
            None => "; pg_rewind would say \"no rewind required\"".into(),
        };
        add("Divergence", format!("{} on timeline {}, {proof}{pg_rewind}", parting.0, parting.1).into());
    }
    if let Some(c) = &facts.common_checkpoint {
        let kind = if c.shutdown { "shutdown" } else { "online" };
        let text = format!("{} on timeline {} ({kind}), redo {}", c.lsn, c.timeline, c.redo);
        add("Last common checkpoint", text.into());
    }
    for unproven in &facts.unproven {
        let whose = match unproven.missing_on {
            Role::Target => "target",
            Role::Source => "source",
        };
        add(
            "Not proven common",
            format!(
                "timeline {} from {} to {}: the {whose} no longer has that WAL",
                unproven.timeline, unproven.from, unproven.to
            )
            .into(),
        );
    }
    add("Target's WAL ends", end_of_wal(&facts.target));
    add("Source's WAL ends", end_of_wal(&facts.source));
    if let Some(loss) = &facts.loss {
        // a source that is behind is given the wrong way round: nobody rewinds to it
        let name =
            if facts.relation == Relation::SourceBehind { "Only on the target" } else { "Lost by a rewind" };
        add(name, words::loss(loss).into());
    }
    let after = |end: Option<Lsn>| Some(words::bytes(end?.since(facts.divergence.as_ref()?.lsn)));
    if let Some(bytes) = after(facts.target.end.as_ref().map(|e| e.lsn)) {
        add("Target wrote since", format!("{bytes} of WAL after the divergence").into());
    }
    if let Some(bytes) = after(facts.source.end.as_ref().map(|e| e.lsn)) {
        let changed = facts.source_scan.as_ref().map_or_else(
            || ", not read".into(),
            |scan| {
                let blocks: u64 = scan
                    .changes
                    .relations
                    .iter()
                    .map(|r| r.after.as_ref().map_or(0, |c| c.blocks.len()))
                    .sum();
                format!(", {} changed", words::counted(blocks, "block"))
            },
        );
        add("Source wrote since", format!("{bytes} of WAL after the divergence{changed}").into());
    }
    if let Some(scan) = &facts.target_scan {
        let sums = scan.changes.relations.iter().fold((0, 0), |(all, after), r| {
            let (both, late) = changed_blocks(r);
            (all + both, after + late)
        });
        let mut relations: Vec<_> = scan.changes.relations.iter().map(|r| r.rel).collect();
        relations.dedup();
        add(
            "Changed on the target",
            format!(
                "{} ({}) of {} since the last common checkpoint, {} after the divergence; {} read",
                words::counted(sums.0, "block"),
                words::block_bytes(sums.0),
                words::counted(relations.len() as u64, "relation"),
                words::count(sums.1),
                words::counted(scan.records, "record"),
            )
            .into(),
        );
        if let Some(source) = &facts.source_scan {
            let both: u64 = dto::common(&scan.changes, &source.changes)
                .map(|(_, _, a, b)| a.blocks.common(&b.blocks))
                .sum();
            add("Changed on both", format!("{} after the divergence", words::counted(both, "block")).into());
        }
    }
    blocks.push(Block::Heading("The two sides".into()));
    blocks.push(Block::Pairs(pairs));
    for side in [&facts.target, &facts.source] {
        // the table above and a finding say what a normal end is
        let shown = |end: &WalEnd| detail.all || !matches!(end.kind, EndKind::Zeros | EndKind::Recycled);
        if let Some(end) = side.end.as_ref().filter(|end| shown(end) && !end.message.is_empty()) {
            let whose = if side.role == Role::Target { "target" } else { "source" };
            let mut text = Inline::from(format!("Where the {whose}'s WAL ends, a server would log: "))
                .code(end.message.as_str());
            if !end.meaning.is_empty() {
                text = text.text(format!(". {}", end.meaning));
            }
            blocks.push(Block::Para(text));
        }
    }
}

fn relation(facts: &Facts) -> Inline {
    match &facts.relation {
        Relation::SamePosition => "both end at the same record".into(),
        Relation::TargetBehind => {
            "the target is an ancestor: all of its WAL is in the source's history".into()
        }
        Relation::Diverged => "diverged: both wrote WAL of their own after the divergence".into(),
        Relation::Twins { timeline } => {
            format!("twins: timeline {timeline} exists twice, with different records").into()
        }
        Relation::SourceBehind => {
            "the source is behind the target: were the two given the wrong way round?".into()
        }
        Relation::Unrelated(why) => format!("unrelated: {}", words::unrelated(why)).into(),
        Relation::Undecided => "undecided: the evidence does not suffice".into(),
    }
}

fn findings(all: &[Finding], detail: Detail, blocks: &mut Vec<Block>) {
    if all.is_empty() {
        return;
    }
    blocks.push(Block::Heading("Findings".into()));
    let mut sorted: Vec<&Finding> = all.iter().collect();
    sorted.sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| a.code.cmp(b.code)));
    for finding in sorted {
        let mut body = vec![("", prose(&finding.explanation))];
        let shown = if finding.severity == Severity::Info { detail.rows().min(3) } else { detail.rows() };
        body.extend(finding.evidence.iter().take(shown).map(|e| ("proof", evidence(e))));
        if finding.evidence.len() > shown {
            let more = finding.evidence.len() - shown;
            body.push(("proof", format!("and {more} more (shown by -v and in JSON)").into()));
        }
        body.extend(finding.server_log.iter().map(|line| ("logs", Inline::new().code(words::mask(line)))));
        if !finding.remedy.is_empty() {
            body.push(("do", prose(&finding.remedy)));
        }
        blocks.push(Block::Finding {
            severity: finding.severity,
            code: finding.code,
            title: masked(&finding.title),
            body,
        });
    }
}

/// Where a piece of evidence was read, and what stands there.
pub fn evidence(e: &Evidence) -> Inline {
    let mut place = Inline::new();
    if let Some(path) = &e.path {
        place = place.path(path);
    }
    if let Some(offset) = e.offset {
        place = place.comma().text(format!("offset {offset}"));
    }
    if let Some(lsn) = e.lsn {
        place = place.comma().text(format!("LSN {lsn}"));
    }
    if let Some(timeline) = e.timeline {
        place = place.comma().text(format!("timeline {timeline}"));
    }
    let colon = if place.is_empty() || e.value.is_empty() { "" } else { ": " };
    let value = prose(&e.value);
    place = place.text(colon);
    place.0.extend(value.0);
    place
}

fn transactions(facts: &Facts, detail: Detail, blocks: &mut Vec<Block>) {
    let lost = facts.transactions.iter().filter(|x| x.end.is_commit());
    let lost_count = lost.clone().count() as u64;
    let others = facts.transactions.iter().filter(|x| !x.end.is_commit());
    if facts.transactions.is_empty() {
        return;
    }
    let place =
        only_database(facts).map_or_else(String::new, |database| format!(" from database {database}"));
    let what =
        if facts.relation == Relation::SourceBehind { "only the target has" } else { "a rewind discards" };
    blocks.push(Block::Heading(format!("Transactions that {what}{place}")));
    if lost_count == 0 {
        blocks.push(Block::Para("None was committed after the divergence.".into()));
    } else {
        let shown = lost.clone().take(detail.rows());
        blocks.push(xact_table(shown, facts));
        more(lost_count, detail, "committed transaction", blocks);
    }
    let counts = |wanted: &[XactEnd]| others.clone().filter(|x| wanted.contains(&x.end)).count() as u64;
    let mut rest = Vec::new();
    for (ends, word) in [
        (&[XactEnd::Prepared][..], "prepared and not decided"),
        (&[XactEnd::InProgress][..], "open where WAL ends"),
        (&[XactEnd::Aborted, XactEnd::AbortedPrepared][..], "aborted"),
    ] {
        let n = counts(ends);
        if n > 0 {
            rest.push(format!("{} {word}", words::count(n)));
        }
    }
    if !rest.is_empty() {
        blocks.push(Block::Para(format!("Besides: {}.", rest.join(", ")).into()));
        let open = || {
            others.clone().filter(|x| matches!(x.end, XactEnd::Prepared | XactEnd::InProgress) || detail.all)
        };
        if open().next().is_some() {
            blocks.push(xact_table(open().take(detail.rows()), facts));
        }
    }
    if facts.transactions.iter().any(|x| x.may_begin_earlier) {
        blocks.push(Block::Para(
            "* began before the last common checkpoint: it may have touched more than is shown".into(),
        ));
    }
}

fn xact_table<'a>(xacts: impl Iterator<Item = &'a Xact> + Clone, facts: &Facts) -> Block {
    let parting = facts.divergence.as_ref().map(|d| d.lsn);
    let database = only_database(facts);
    let files = files_of(facts);
    // where all of them simply committed, their names need the room
    let ends = xacts.clone().any(|x| x.end != XactEnd::Committed);
    let mut columns = vec![
        Column::left("time (UTC)"),
        Column::right("xid"),
        Column::left("LSN"),
        Column::right("records"),
        Column::flexible("relations"),
    ];
    if ends {
        columns.insert(2, Column::flexible("end"));
    }
    let rows = xacts
        .map(|x| {
            let star = if x.may_begin_earlier { "*" } else { "" };
            let time = x.time.map_or_else(|| "-".into(), words::time);
            let mut row: Vec<Inline> = vec![
                time.trim_end_matches(" UTC").into(),
                format!("{}{star}", x.xid).into(),
                x.end_lsn.to_string().into(),
                words::count(u64::from(x.records)).into(),
                touched(x, facts, files.get(&x.xid).map_or(&[], Vec::as_slice), database),
            ];
            if ends {
                let decided = x.end == XactEnd::CommittedPrepared
                    && x.prepared.as_ref().is_none_or(|p| Some(p.lsn) < parting);
                let mut end = words::xact_end(x.end).to_owned();
                if decided {
                    "committed; prepared before the divergence, only the decision is lost"
                        .clone_into(&mut end);
                }
                if let Some(gid) = x.prepared.as_ref().map(|p| &p.gid) {
                    end.push(' ');
                    end.push_str(gid);
                }
                row.insert(2, end.into());
            }
            row
        })
        .collect();
    Block::Table { columns, rows }
}

/// The database of every named relation that a transaction touched, if there is only one.
fn only_database(facts: &Facts) -> Option<&str> {
    let mut databases = facts
        .relation_sets
        .sets
        .iter()
        .flatten()
        .filter_map(|rel| facts.names.relations.get(rel)?.database.as_deref());
    let first = databases.next()?;
    databases.all(|other| other == first).then_some(first)
}

/// Files that transactions made, cut or removed: CREATE, TRUNCATE and DROP touch blocks of catalogs only.
fn files_of(facts: &Facts) -> HashMap<Xid, Vec<RelFile>> {
    let mut files: HashMap<Xid, Vec<RelFile>> = HashMap::new();
    for placed in facts.target_scan.iter().flat_map(|scan| &scan.changes.events) {
        if let FileEvent::Created(rel, _) | FileEvent::Truncated(rel, _) | FileEvent::Dropped(rel) =
            placed.event
        {
            files.entry(placed.xid).or_default().push(rel);
        }
    }
    files
}

/// The relations of a transaction, those of users first; the name of the only database is left out.
fn touched(x: &Xact, facts: &Facts, files: &[RelFile], database: Option<&str>) -> Inline {
    let Some(blocks) = facts.relation_sets.get(x.relations) else { return "too many to keep".into() };
    let mut set: Vec<&RelFile> = blocks.iter().chain(files).collect();
    // tables say more than their indexes
    let rank = |rel: &RelFile| {
        let Some(known) = facts.names.relations.get(rel) else { return 0 };
        let table = matches!(known.kind, 'r' | 'p' | 'm' | 'S');
        match (known.schema.starts_with("pg_"), table) {
            (false, true) => 0,
            (false, false) => 1,
            (true, true) => 2,
            (true, false) => 3,
        }
    };
    let by_rank_and_name =
        |rel: &&RelFile| (rank(rel), facts.names.relations.get(*rel).map(|n| &n.name), **rel);
    set.sort_by_key(by_rank_and_name);
    // a file that a table left behind bears its name, too
    set.dedup_by(|a, b| {
        a == b || facts.names.relations.get(*a).is_some_and(|n| facts.names.relations.get(*b) == Some(n))
    });
    let best = set.first().map_or(0, |rel| rank(rel));
    let mut shown = set.clone();
    shown.retain(|rel| rank(rel) == best || (rank(rel) == 2 && best < 2));
    let mut text = Inline::new();
    for rel in shown.iter().take(4) {
        let name = match facts.names.relations.get(rel) {
            Some(known) if database.is_some() => format!("{}.{}", known.schema, known.name),
            _ => facts.relation_name(**rel),
        };
        text = text.comma().code(name);
    }
    if set.len() > shown.len().min(4) {
        text = text.text(format!(" +{}", set.len() - shown.len().min(4)));
    }
    if text.is_empty() { "none".into() } else { text }
}

fn more(total: u64, detail: Detail, thing: &str, blocks: &mut Vec<Block>) {
    let shown = detail.rows() as u64;
    if total > shown {
        let text = format!(
            "The first {shown} of {}; -v and --format json show all of them.",
            words::counted(total, thing)
        );
        blocks.push(Block::Para(text.into()));
    }
}

/// Blocks changed at all and after the divergence; a block changed before and after counts once.
pub fn changed_blocks(r: &RelationChanges) -> (u64, u64) {
    let len = |c: &Option<crate::scan::ForkChanges>| c.as_ref().map_or(0, |c| c.blocks.len());
    let twice = r.before.as_ref().zip(r.after.as_ref()).map_or(0, |(a, b)| a.blocks.common(&b.blocks));
    (len(&r.before) + len(&r.after) - twice, len(&r.after))
}

fn relations(facts: &Facts, detail: Detail, blocks: &mut Vec<Block>) {
    let Some(scan) = &facts.target_scan else { return };
    if scan.changes.relations.is_empty() {
        return;
    }
    blocks.push(Block::Heading("Relations changed on the target".into()));
    let mut sorted: Vec<_> = scan.changes.relations.iter().map(|r| (changed_blocks(r), r)).collect();
    sorted.sort_by_key(|(counts, r)| (std::cmp::Reverse(*counts), r.rel, r.fork));
    let rows = sorted
        .iter()
        .take(detail.rows())
        .map(|((all, after), r)| {
            let kinds = r.after.iter().chain(&r.before).flat_map(|c| &c.kinds).next();
            vec![
                Inline::new().code(facts.relation_name(r.rel)),
                r.fork.name().into(),
                words::count(*all).into(),
                words::count(*after).into(),
                words::block_bytes(*all).into(),
                kinds.map_or_else(String::new, |(kind, _)| words::kind(*kind, facts.major())).into(),
            ]
        })
        .collect();
    blocks.push(Block::Table {
        columns: vec![
            Column::flexible("relation"),
            Column::left("fork"),
            Column::right("blocks"),
            Column::right("after"),
            Column::right("size"),
            Column::flexible("mostly by"),
        ],
        rows,
    });
    let total = sorted.len();
    if total > detail.rows() {
        let text = format!(
            "The {} largest of {} relation forks; -v shows all, `forkpoint blocks` every block.",
            detail.rows(),
            words::count(total as u64)
        );
        blocks.push(Block::Para(prose(&text)));
    }
    if sorted.iter().any(|(_, r)| !facts.names.relations.contains_key(&r.rel)) {
        blocks.push(Block::Para(
            "Numbers are tablespace/database/file of relations that no catalog at hand names.".into(),
        ));
    }
}

fn events(facts: &Facts, detail: Detail, blocks: &mut Vec<Block>) {
    use crate::scan::FileEvent;
    let Some(scan) = &facts.target_scan else { return };
    let after: Vec<_> = scan.changes.events.iter().filter(|e| e.after).collect();
    if after.is_empty() {
        return;
    }
    let database = |oid: u32| match facts.names.databases.get(&oid) {
        _ if oid == 0 => "the shared relations".into(),
        Some(name) => format!("database {name}"),
        None => format!("database {oid}"),
    };
    let tablespace = |oid: u32| match facts.names.tablespaces.get(&oid) {
        Some(name) => format!("tablespace {name}"),
        None => format!("tablespace {oid}"),
    };
    blocks.push(Block::Heading("Files made, cut and dropped after the divergence".into()));
    blocks.push(Block::List {
        numbered: false,
        items: after
            .iter()
            .take(detail.rows())
            .map(|e| {
                let place = Inline::from(format!("{}  ", e.lsn));
                let rel = |word: &str, rel| Inline::from(word).code(facts.relation_name(rel));
                let what = match &e.event {
                    FileEvent::Created(r, fork) => rel("made ", *r).text(format!(" ({fork})")),
                    FileEvent::Truncated(r, to) => {
                        rel("cut ", *r).text(format!(" to {}", words::counted(u64::from(*to), "block")))
                    }
                    FileEvent::Dropped(r) => rel("dropped ", *r),
                    FileEvent::DatabaseCreated(db, _) => format!("made {}", database(*db)).into(),
                    FileEvent::DatabaseDropped(db, _) => format!("dropped {}", database(*db)).into(),
                    FileEvent::TablespaceCreated(spc, path) => {
                        Inline::from(format!("made {} at ", tablespace(*spc))).code(path.as_str())
                    }
                    FileEvent::TablespaceDropped(spc) => format!("dropped {}", tablespace(*spc)).into(),
                    FileEvent::RelationMap(db) => format!("rewrote the map of {}", database(*db)).into(),
                };
                let mut all = place;
                all.0.extend(what.0);
                all
            })
            .collect(),
    });
    more(after.len() as u64, detail, "event", blocks);
}

fn wal(facts: &Facts, detail: Detail, blocks: &mut Vec<Block>) {
    let mut needs = [
        ("to find the changed blocks", &facts.wal.find_blocks),
        ("to follow the source afterwards", &facts.wal.follow),
    ]
    .into_iter()
    // a source that is behind has nothing to follow
    .filter_map(|(purpose, need)| Some((purpose, need.as_ref().filter(|need| need.from < need.to)?)))
    .peekable();
    if needs.peek().is_some() {
        blocks.push(Block::Heading("WAL that is needed".into()));
    }
    for (purpose, need) in needs {
        wal_need(purpose, need, facts.target.dir.path(), facts.source.dir.path(), detail, blocks);
    }
}

/// One range: where its segments lie, holes first.
pub fn wal_need(
    purpose: &str,
    need: &WalNeed,
    target: &Path,
    source: &Path,
    detail: Detail,
    blocks: &mut Vec<Block>,
) {
    let holes = need.holes().count() as u64;
    let why = if need.why.is_empty() { String::new() } else { format!(": {}", need.why) };
    let mut text = Inline::new().text(format!("From {} to {}, {purpose}{why}. ", need.from, need.to));
    let total = words::counted(need.segments.len() as u64, "segment");
    text = if holes == 0 {
        text.text(format!("{total}, all found."))
    } else {
        text.text(format!("{total}, "))
            .with(Style::Bad, format!("{} of them found nowhere.", words::count(holes)))
    };
    blocks.push(Block::Para(text));
    let mut runs: Vec<(&NeededSegment, &NeededSegment, u64, Inline)> = Vec::new();
    for segment in &need.segments {
        let place = place(segment, target, source);
        match runs.last_mut() {
            Some((_, last, count, at)) if *at == place && last.timeline == segment.timeline => {
                *last = segment;
                *count += 1;
            }
            _ => runs.push((segment, segment, 1, place)),
        }
    }
    // holes are what one looks for
    runs.sort_by_key(|(first, ..)| !first.found.is_empty());
    let shown = detail.rows().max(holes as usize);
    let total = runs.len();
    blocks.push(Block::Table {
        columns: vec![Column::left("segments"), Column::right("number"), Column::flexible("where")],
        rows: runs
            .into_iter()
            .take(shown)
            .map(|(first, last, count, place)| {
                let mut names = Inline::new().code(first.name.as_str());
                if count > 1 {
                    names = names.text(" … ").code(last.name.get(16..).unwrap_or(&last.name));
                }
                vec![names, words::count(count).into(), place]
            })
            .collect(),
    });
    if total > shown {
        blocks.push(Block::Para(format!("{shown} of {total} lines; -v shows all of them.").into()));
    }
}

fn place(segment: &NeededSegment, target: &Path, source: &Path) -> Inline {
    if segment.found.is_empty() {
        return Inline::new().with(Style::Bad, "MISSING");
    }
    let mut text = Inline::new();
    for (here, word) in [(segment.on_target, "target"), (segment.on_source, "source")] {
        if here {
            text = text.comma().text(word);
        }
    }
    for path in &segment.found {
        let known =
            segment.on_target && path.starts_with(target) || segment.on_source && path.starts_with(source);
        if known {
            continue;
        }
        text = text.comma().path(path.parent().unwrap_or(path));
    }
    text
}

/// What could not be seen, and what follows from it.
pub fn unseen_item(u: &Unseen) -> Inline {
    let mut text = Inline::new();
    if let Some(path) = &u.path {
        text = text.path(path).text(": ");
    }
    text.0.extend(prose(&u.what).0);
    if u.consequence.is_empty() { text } else { text.text(format!(" → {}", words::mask(&u.consequence))) }
}

fn unseen(facts: &Facts, blocks: &mut Vec<Block>) {
    let mut items: Vec<Inline> = facts.unseen.iter().map(unseen_item).collect();
    let settings = [&facts.target, &facts.source].into_iter().flat_map(|s| &s.settings.problems);
    items.extend(facts.names.problems.iter().chain(settings).map(|p| masked(p)));
    items.extend(
        facts.trees.problems.iter().map(|(path, why)| Inline::new().path(path).text(format!(": {why}"))),
    );
    items.extend(facts.archive_conflicts.iter().map(|c| {
        let mut text = Inline::new()
            .code(c.name.as_str())
            .text(format!(": files of that name differ from byte {} on: ", c.offset));
        for (index, path) in c.paths.iter().enumerate() {
            text = text.text(if index > 0 { ", " } else { "" }).path(path);
        }
        text
    }));
    if !items.is_empty() {
        blocks.push(Block::Heading("What could not be seen".into()));
        blocks.push(Block::List { numbered: false, items });
    }
}

fn steps(diagnosis: &Diagnosis, blocks: &mut Vec<Block>) {
    let verdict = &diagnosis.verdict;
    for (title, numbered, items) in [
        ("What the target lacks", false, &verdict.lacks),
        ("What to do", true, &verdict.next_steps),
        ("Other ways", false, &verdict.other_routes),
    ] {
        if !items.is_empty() {
            blocks.push(Block::Heading(title.into()));
            blocks.push(Block::List { numbered, items: items.iter().map(|i| prose(i)).collect() });
        }
    }
}
