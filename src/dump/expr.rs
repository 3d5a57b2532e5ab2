//! Filter expressions: `rmgr = Heap and rel = public.accounts and lsn > 0/3000000`.
//!
//! A record is wanted if the expression holds for it together with one of its block references, or, if it has none,
//! for it alone (then no comparison of `rel`, `fork` or `block` holds).

use std::borrow::Cow;
use std::collections::BTreeSet;

use nom::branch::alt;
use nom::bytes::complete::{tag, take_until, take_while1};
use nom::character::complete::multispace0;
use nom::combinator::{map, recognize};
use nom::sequence::delimited;
use nom::{IResult, Parser};
use thiserror::Error;

use crate::pg::{Fork, Lsn, Major, RelFile, Xid};
use crate::wal::Record;
use crate::wal::record::{BlockHeader, Parts};
use crate::wal::rmgr;

/// Parentheses and `not` within each other; more is a mistake, not a question.
const DEPTH: usize = 64;

/// What is wrong with an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{what}")]
pub struct ExprError {
    /// Offset in the text, in bytes.
    pub at: usize,
    /// What was expected or does not exist.
    pub what: String,
}

impl ExprError {
    /// The expression on a line of its own, and below it a mark at the place.
    pub fn pointer(&self, text: &str) -> String {
        let before = text.get(..self.at).unwrap_or(text);
        format!("{text}\n{:>1$}", "^", before.chars().count() + 1)
    }
}

/// What a comparison looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Rmgr,
    Op,
    Rel,
    Fork,
    Block,
    Xid,
    Top,
    Lsn,
    Len,
    Fpi,
    Origin,
}

const FIELDS: [(&str, Field); 11] = [
    ("rmgr", Field::Rmgr),
    ("op", Field::Op),
    ("rel", Field::Rel),
    ("fork", Field::Fork),
    ("block", Field::Block),
    ("xid", Field::Xid),
    ("top", Field::Top),
    ("lsn", Field::Lsn),
    ("len", Field::Len),
    ("fpi", Field::Fpi),
    ("origin", Field::Origin),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// What a field is compared with; one of several for `in`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Numbers(Vec<u64>),
    Words(Vec<String>),
    Relations(Vec<RelFile>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    And(Vec<Node>),
    Or(Vec<Node>),
    Not(Box<Node>),
    Test(Field, Compare, Operand),
}

/// An expression, ready to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    root: Node,
    blocks: bool,
}

/// Finds the relations that a name, which is not `tablespace/database/file number`, stands for.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Result<Vec<RelFile>, String>;

impl Filter {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is none, or names something that does not exist; the error says where.
    pub fn parse(text: &str, resolve: Resolve<'_>) -> Result<Self, ExprError> {
        let tokens = tokens(text)?;
        let mut parser = Grammar { tokens: &tokens, next: 0, end: text.len(), resolve, blocks: false };
        let root = parser.alternatives(0)?;
        match parser.peek() {
            None => Ok(Self { root, blocks: parser.blocks }),
            Some(_) => Err(parser.wrong("\"and\", \"or\" or the end")),
        }
    }

    /// Whether the record is wanted.
    pub fn holds(&self, record: &Record<'_>, parts: &Parts, major: Major) -> bool {
        let case = |block| Case { record, parts, block, major };
        if self.blocks && !parts.blocks.is_empty() {
            parts.blocks.iter().any(|block| case(Some(&block.header)).holds(&self.root))
        } else {
            case(None).holds(&self.root)
        }
    }
}

struct Case<'a> {
    record: &'a Record<'a>,
    parts: &'a Parts,
    block: Option<&'a BlockHeader>,
    major: Major,
}

impl Case<'_> {
    fn holds(&self, node: &Node) -> bool {
        match node {
            Node::And(all) => all.iter().all(|n| self.holds(n)),
            Node::Or(any) => any.iter().any(|n| self.holds(n)),
            Node::Not(inner) => !self.holds(inner),
            Node::Test(field, compare, operand) => self.test(*field, *compare, operand),
        }
    }

    fn test(&self, field: Field, compare: Compare, operand: &Operand) -> bool {
        let equal = match operand {
            Operand::Numbers(numbers) => {
                let Some(value) = self.number(field) else { return false };
                let first = numbers.first().copied().unwrap_or(0);
                match compare {
                    Compare::Less => return value < first,
                    Compare::LessOrEqual => return value <= first,
                    Compare::Greater => return value > first,
                    Compare::GreaterOrEqual => return value >= first,
                    Compare::Equal | Compare::Unequal => numbers.contains(&value),
                }
            }
            Operand::Words(words) => {
                let is = |name: &str| words.iter().any(|w| w.eq_ignore_ascii_case(name));
                match field {
                    Field::Op => {
                        rmgr::op_name(self.record.rmid, self.record.info, self.major).is_some_and(is)
                    }
                    Field::Fork => match self.block {
                        Some(block) => is(block.fork.name()),
                        None => return false,
                    },
                    _ => is(&rmgr::name(self.record.rmid)),
                }
            }
            Operand::Relations(relations) => match self.block {
                Some(block) => relations.contains(&block.rel),
                None => return false,
            },
        };
        equal == (compare != Compare::Unequal)
    }

    fn number(&self, field: Field) -> Option<u64> {
        let images = || self.parts.blocks.iter().map(|b| u64::from(b.image.end - b.image.start)).sum();
        match field {
            Field::Block => self.block.map(|b| u64::from(b.block)),
            Field::Xid => Some(u64::from(self.record.xid)),
            Field::Top => Some(u64::from(top(self.record, self.parts))),
            Field::Lsn => Some(self.record.lsn.0),
            Field::Len => Some(u64::from(self.record.total_len)),
            Field::Fpi => Some(images()),
            Field::Origin => Some(u64::from(self.parts.origin.unwrap_or(0))),
            Field::Rmgr | Field::Op | Field::Rel | Field::Fork => None,
        }
    }
}

/// The transaction that a record is of, not its subtransaction, as far as the record says so.
fn top(record: &Record<'_>, parts: &Parts) -> Xid {
    parts.toplevel_xid.unwrap_or(record.xid)
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Token<'a> {
    at: usize,
    text: &'a str,
    quoted: bool,
}

fn token(input: &str) -> IResult<&str, (&str, bool)> {
    let word = take_while1(|c: char| c.is_alphanumeric() || "_./$+-:".contains(c));
    let quoted = |mark: &'static str| delimited(tag(mark), take_until(mark), tag(mark));
    let sign = recognize(alt((
        tag("!="),
        tag("<>"),
        tag("<="),
        tag(">="),
        tag("="),
        tag("<"),
        tag(">"),
        tag("("),
        tag(")"),
        tag(","),
    )));
    alt((
        map(quoted("'"), |text| (text, true)),
        map(quoted("\""), |text| (text, true)),
        map(sign, |text| (text, false)),
        map(word, |text| (text, false)),
    ))
    .parse(input)
}

fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExprError> {
    let blank = |input: &'_ str| -> usize {
        let parsed: IResult<&str, &str> = multispace0(input);
        parsed.map_or(0, |(_, blanks)| blanks.len())
    };
    let mut found = Vec::new();
    let mut at = blank(text);
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let Ok((after, (token, quoted))) = token(rest) else {
            let what = match rest.chars().next() {
                Some('\'' | '"') => "this quote is not closed".to_owned(),
                other => format!("{:?} has no meaning here", other.unwrap_or_default()),
            };
            return Err(ExprError { at, what });
        };
        found.push(Token { at, text: token, quoted });
        at = text.len() - after.len();
        at += blank(after);
    }
    Ok(found)
}

struct Grammar<'t, 'r> {
    tokens: &'t [Token<'t>],
    next: usize,
    end: usize,
    resolve: Resolve<'r>,
    blocks: bool,
}

impl<'t> Grammar<'t, '_> {
    fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.next)
    }

    fn take(&mut self) -> Option<&'t Token<'t>> {
        let token = self.peek();
        self.next += 1;
        token
    }

    /// Takes the next token if it is this word or sign.
    fn skip(&mut self, word: &str) -> bool {
        let there = self.peek().is_some_and(|t| !t.quoted && t.text.eq_ignore_ascii_case(word));
        if there {
            self.next += 1;
        }
        there
    }

    fn wrong(&self, expected: &str) -> ExprError {
        match self.peek() {
            Some(token) => {
                ExprError { at: token.at, what: format!("expected {expected}, found {:?}", token.text) }
            }
            None => ExprError { at: self.end, what: format!("expected {expected} at the end") },
        }
    }

    fn alternatives(&mut self, depth: usize) -> Result<Node, ExprError> {
        let mut nodes = vec![self.conjunction(depth)?];
        while self.skip("or") {
            nodes.push(self.conjunction(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::Or(nodes) })
    }

    fn conjunction(&mut self, depth: usize) -> Result<Node, ExprError> {
        let mut nodes = vec![self.term(depth)?];
        while self.skip("and") {
            nodes.push(self.term(depth)?);
        }
        Ok(if nodes.len() == 1 { nodes.swap_remove(0) } else { Node::And(nodes) })
    }

    fn term(&mut self, depth: usize) -> Result<Node, ExprError> {
        if depth > DEPTH {
            return Err(self.wrong("fewer parentheses within each other"));
        }
        if self.skip("not") {
            return Ok(Node::Not(Box::new(self.term(depth + 1)?)));
        }
        if self.skip("(") {
            let inner = self.alternatives(depth + 1)?;
            return if self.skip(")") { Ok(inner) } else { Err(self.wrong("\")\"")) };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Node, ExprError> {
        let known = self.peek().filter(|t| !t.quoted).and_then(|token| {
            FIELDS.iter().find(|(name, _)| token.text.eq_ignore_ascii_case(name)).map(|(_, field)| *field)
        });
        let Some(field) = known else {
            let names: Vec<_> = FIELDS.iter().map(|(name, _)| *name).collect();
            return Err(self.wrong(&format!("one of {}", names.join(", "))));
        };
        self.next += 1;
        self.blocks |= matches!(field, Field::Rel | Field::Fork | Field::Block);
        let sign = self.next;
        let (compare, several) = match self.take().filter(|t| !t.quoted).map(|t| t.text) {
            Some("=") => (Compare::Equal, false),
            Some("!=" | "<>") => (Compare::Unequal, false),
            Some("<") => (Compare::Less, false),
            Some("<=") => (Compare::LessOrEqual, false),
            Some(">") => (Compare::Greater, false),
            Some(">=") => (Compare::GreaterOrEqual, false),
            Some(word) if word.eq_ignore_ascii_case("in") => (Compare::Equal, true),
            Some(word) if word.eq_ignore_ascii_case("not") && self.skip("in") => (Compare::Unequal, true),
            _ => {
                self.next = sign;
                return Err(self.wrong("= != < <= > >= or in"));
            }
        };
        let ordered = !matches!(compare, Compare::Equal | Compare::Unequal);
        if ordered && matches!(field, Field::Rmgr | Field::Op | Field::Rel | Field::Fork) {
            self.next = sign;
            return Err(self.wrong("= != or in, as this field has no order"));
        }
        let mut operand = match field {
            Field::Rmgr | Field::Op | Field::Fork => Operand::Words(Vec::new()),
            Field::Rel => Operand::Relations(Vec::new()),
            _ => Operand::Numbers(Vec::new()),
        };
        if !several {
            self.value(field, &mut operand)?;
            return Ok(Node::Test(field, compare, operand));
        }
        if !self.skip("(") {
            return Err(self.wrong("\"(\""));
        }
        loop {
            self.value(field, &mut operand)?;
            if self.skip(")") {
                return Ok(Node::Test(field, compare, operand));
            }
            if !self.skip(",") {
                return Err(self.wrong("\",\" or \")\""));
            }
        }
    }

    fn value(&mut self, field: Field, operand: &mut Operand) -> Result<(), ExprError> {
        let is_sign = |text: &str| text.starts_with(['=', '!', '<', '>', '(', ')', ',']);
        let Some(token) = self.peek().filter(|t| t.quoted || !is_sign(t.text)) else {
            return Err(self.wrong("a value"));
        };
        let text = token.text;
        let bad = |what: String| ExprError { at: token.at, what };
        match operand {
            Operand::Words(words) => {
                let names = names(field);
                if !names.iter().any(|name| name.eq_ignore_ascii_case(text)) {
                    return Err(bad(match field {
                        Field::Fork => format!("there is no fork {text:?}; they are main, fsm, vm and init"),
                        Field::Op => {
                            let near = near(text, &names);
                            format!("no resource manager of any major has an operation {text:?}{near}")
                        }
                        _ => {
                            let near = near(text, &names);
                            format!("there is no resource manager {text:?}, -r list lists them{near}")
                        }
                    }));
                }
                words.push(text.to_owned());
            }
            Operand::Relations(relations) => match file_numbers(text) {
                Some(rel) => relations.push(rel),
                None => relations.extend((self.resolve)(text).map_err(bad)?),
            },
            Operand::Numbers(numbers) if field == Field::Lsn => {
                numbers.push(text.parse::<Lsn>().map_err(|e| bad(e.to_string()))?.0);
            }
            Operand::Numbers(numbers) => {
                numbers.push(text.parse().map_err(|_| bad(format!("{text:?} is not a number")))?);
            }
        }
        self.next += 1;
        Ok(())
    }
}

/// Names that a field of words can have, of any major.
fn names(field: Field) -> BTreeSet<Cow<'static, str>> {
    let managers = || (0..=u8::MAX).filter(|id| rmgr::is_valid(*id, Major::V19));
    match field {
        Field::Fork => Fork::ALL.iter().map(|fork| fork.name().into()).collect(),
        Field::Op => managers()
            .flat_map(|id| (0..16u8).map(move |operation| (id, operation << 4)))
            .flat_map(|(id, info)| Major::ALL.iter().filter_map(move |m| rmgr::op_name(id, info, *m)))
            .map(Cow::Borrowed)
            .collect(),
        _ => managers().map(rmgr::name).collect(),
    }
}

/// `; did you mean X or Y?` with the names that differ least from the text; empty if none is near.
fn near(text: &str, names: &BTreeSet<Cow<'static, str>>) -> String {
    const MOST: usize = 3;
    let wanted = text.to_lowercase();
    let farthest = (text.chars().count() / 3).max(1);
    let mut close: Vec<(usize, &str)> = names
        .iter()
        .map(|name| (distance(&wanted, &name.to_lowercase()), name.as_ref()))
        .filter(|(distance, _)| *distance <= farthest)
        .collect();
    close.sort_unstable();
    close.truncate(MOST);
    let close: Vec<&str> = close.into_iter().map(|(_, name)| name).collect();
    if close.is_empty() { String::new() } else { format!("; did you mean {}?", close.join(" or ")) }
}

/// Characters to be put in, left out or replaced to come from one word to the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i + 1];
        for ((y, pair), left) in b.iter().zip(row.windows(2)).zip(0..) {
            let (diagonal, above) = (pair.first().copied().unwrap_or(0), pair.get(1).copied().unwrap_or(0));
            let before = next.get(left).copied().unwrap_or(0);
            next.push((diagonal + usize::from(x != *y)).min(above + 1).min(before + 1));
        }
        row = next;
    }
    row.last().copied().unwrap_or(0)
}

/// `tablespace/database/file number`
fn file_numbers(text: &str) -> Option<RelFile> {
    let mut parts = text.split('/').map(|part| part.parse().ok());
    let rel = RelFile { spc: parts.next()??, db: parts.next()??, rel: parts.next()?? };
    parts.next().is_none().then_some(rel)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wal::record::BlockPart;

    const ACCOUNTS: RelFile = RelFile { spc: 1663, db: 5, rel: 16384 };

    fn resolve(name: &str) -> Result<Vec<RelFile>, String> {
        if name == "public.accounts" { Ok(vec![ACCOUNTS]) } else { Err(format!("no relation {name}")) }
    }

    fn holds(text: &str) -> bool {
        let filter = Filter::parse(text, &resolve).unwrap_or_else(|e| panic!("{e}\n{}", e.pointer(text)));
        let record = Record {
            lsn: Lsn(0x300_0100),
            end: Lsn(0x300_0150),
            xid: 741,
            prev: Lsn(0x300_0050),
            info: 0x80,
            rmid: rmgr::id::HEAP,
            total_len: 80,
            bytes: &[],
        };
        let block = |id, rel: RelFile, fork, block| BlockPart {
            header: BlockHeader { id, rel, fork, block, will_init: false, image: None, data_len: 0 },
            image: 0..0,
            data: 0..0,
        };
        let other = RelFile { rel: 16390, ..ACCOUNTS };
        let blocks = vec![block(0, ACCOUNTS, Fork::Main, 7), block(1, other, Fork::Vm, 0)];
        filter.holds(&record, &Parts { blocks, ..Parts::default() }, Major::V17)
    }

    #[test]
    fn what_holds() {
        for text in [
            "rmgr = Heap",
            "rmgr=heap and rel = public.accounts and xid = 741 and lsn > 0/3000000",
            "rel = 1663/5/16384 and block = 7",
            "rel = \"public.accounts\"",
            "op = insert+init or xid = 1",
            "op in (DELETE, 'INSERT+INIT')",
            "not (xid = 1 or xid = 2)",
            "xid not in (1, 2) and len >= 80 and len <= 80 and len < 81 and fpi = 0 and origin = 0",
            "fork = vm and block = 0",
            "rel != public.accounts",
            "top = 741",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in [
            "rmgr = Btree",
            // both are there, not of the same block
            "rel = public.accounts and fork = vm",
            "rel = public.accounts and block = 0",
            "not rmgr = heap",
            "xid != 741",
            "lsn > 0/3000100",
        ] {
            assert!(!holds(text), "{text}");
        }
    }

    #[test]
    fn errors_point_at_the_place() {
        for (text, at, what) in [
            ("", 0, "expected one of rmgr"),
            ("rmgr", 4, "expected = != < <= > >= or in at the end"),
            ("rmgr = ", 7, "expected a value at the end"),
            ("rmgr = Heap xid = 3", 12, "expected \"and\", \"or\" or the end, found \"xid\""),
            (
                "rmgr = Heep",
                7,
                "there is no resource manager \"Heep\", -r list lists them; did you mean Heap",
            ),
            (
                "op = INSERTT",
                5,
                "no resource manager of any major has an operation \"INSERTT\"; did you mean INSERT",
            ),
            (
                "op in (DELETE, nosuchthing)",
                15,
                "no resource manager of any major has an operation \"nosuchthing\"",
            ),
            ("xid = 1 and rel = nix", 18, "no relation nix"),
            ("xid = x", 6, "\"x\" is not a number"),
            ("lsn = 3", 6, "\"3\" is not an LSN"),
            ("rmgr < Heap", 5, "expected = != or in, as this field has no order"),
            ("(xid = 1", 8, "expected \")\" at the end"),
            ("xid in (1 2)", 10, "expected \",\" or \")\", found \"2\""),
            ("xid = 'a", 6, "this quote is not closed"),
            ("xid = 1 & xid = 2", 8, "'&' has no meaning here"),
            ("fork = all", 7, "there is no fork \"all\""),
        ] {
            let error = Filter::parse(text, &resolve).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.what.starts_with(what), "{text}: {error}");
        }
        let text = "rmgr = Heep";
        let error = Filter::parse(text, &resolve).unwrap_err();
        assert_eq!(error.pointer(text), "rmgr = Heep\n       ^");
        assert!(Filter::parse(&"(".repeat(100_000), &resolve).is_err());
        assert!(Filter::parse(&"not ".repeat(100_000), &resolve).is_err());
    }

    proptest! {
        #[test]
        fn never_panics(text in "[ a-z=<>!(),'\"0-9/é]{0,40}|(rmgr|xid|rel|and|or|not|in|=|\\(|\\)|,| |1|Heap){0,20}") {
            if let Err(error) = Filter::parse(&text, &resolve) {
                prop_assert!(error.at <= text.len());
                error.pointer(&text);
            }
        }
    }
}
