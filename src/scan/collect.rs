//! What is remembered of each record: the blocks, the transaction, the kind.

use hashbrown::HashMap;

use crate::pg::bytes::Bytes;
use crate::pg::{Fork, Lsn, Major, RelFile, Xid};
use crate::wal::Record;
use crate::wal::framer::Sink;
use crate::wal::record::{BlockHeader, DecodeError, Fragment, Fragments};
use crate::wal::rmgr::{self, id, op};
use crate::wal::xact::XactRecord;

use super::BlockSet;
use super::model::{
    Changes, FileEvent, ForkChanges, PlacedEvent, RecordKind, RelationChanges, RelationSets, Xact,
};
use super::run::Collector;
use super::xacts::XactTable;

/// Entries of the direct-mapped cache in front of the map of relation forks; a power of two.
const CACHE: usize = 64;
const NOT_CACHED: u128 = u128::MAX;
/// All (resource manager, operation) pairs.
const KINDS: usize = 256 * 16;
const NEW_KIND: u16 = u16::MAX;

/// Sees every record of a scan and keeps what a diagnosis needs, nothing per record.
#[derive(Debug)]
pub struct Changed {
    major: Major,
    divergence: Lsn,
    index: HashMap<u128, u32>,
    cache: Box<[(u128, u32); CACHE]>,
    forks: Vec<Touched>,
    /// Small numbers for the kinds that occur, by kind; `NEW_KIND` for one not seen yet.
    dense: Vec<u16>,
    /// Kind and number of records before and after the divergence, by small number.
    kinds: Vec<(u16, [u64; 2])>,
    events: Vec<PlacedEvent>,
    xacts: XactTable,
    /// Transactions are remembered.
    with_xacts: bool,
    records: u64,
    first_error: Option<(Lsn, DecodeError)>,
}

#[derive(Debug)]
struct Touched {
    key: u128,
    relation: u32,
    blocks: BlockSet,
    images: u64,
    first: Lsn,
    last: Lsn,
    /// Number of references by the small number of their record's kind.
    kinds: Vec<u64>,
}

/// Everything that a scan remembered, sorted.
#[derive(Debug)]
pub struct Collected {
    /// Blocks, files, kinds.
    pub changes: Changes,
    /// Transactions, in order of their end; those that are open last.
    pub transactions: Vec<Xact>,
    /// What `Xact::relations` points into.
    pub relation_sets: RelationSets,
    /// Number of records.
    pub records: u64,
    /// The first record whose inside did not add up although its CRC was right.
    pub first_error: Option<(Lsn, DecodeError)>,
}

#[inline]
fn key_of(RelFile { spc, db, rel }: RelFile, fork: Fork, after: bool) -> u128 {
    let high = u64::from(spc) << 32 | u64::from(db);
    let low = u64::from(rel) << 32 | (fork as u64) << 1 | u64::from(after);
    u128::from(high) << 64 | u128::from(low)
}

const fn rel_of(key: u128) -> RelFile {
    RelFile { spc: (key >> 96) as u32, db: (key >> 64) as u32, rel: (key >> 32) as u32 }
}

const fn kind_number(rmid: u8, info: u8) -> u16 {
    (rmid as u16) << 4 | (rmgr::operation(rmid, info) as u16) >> 4
}

const fn kind_of(number: u16) -> RecordKind {
    RecordKind { rmid: (number >> 4) as u8, op: ((number & 0xF) << 4) as u8 }
}

/// Whether a record says that its transaction changed the relations it refers to. Hints, pruning and freezing bear the
/// number of whoever came along.
#[inline]
const fn is_by_its_transaction(kind: u16) -> bool {
    let (rmid, op) = ((kind >> 4) as u8, (kind & 0x7) << 4);
    match rmid {
        id::XLOG => false,
        id::HEAP2 => op == 0x50 || op == 0x60,
        _ => true,
    }
}

impl Changed {
    /// Tells records at or behind `divergence` apart from those before.
    pub fn new(major: Major, divergence: Lsn) -> Self {
        Self {
            major,
            divergence,
            index: HashMap::new(),
            cache: Box::new([(NOT_CACHED, 0); CACHE]),
            forks: Vec::new(),
            dense: vec![NEW_KIND; KINDS],
            kinds: Vec::new(),
            events: Vec::new(),
            xacts: XactTable::default(),
            with_xacts: true,
            records: 0,
            first_error: None,
        }
    }

    /// Remembers no transactions, which costs a look-up and a few bytes for each.
    #[must_use]
    pub fn without_transactions(self) -> Self {
        Self { with_xacts: false, ..self }
    }

    #[inline]
    fn dense_kind(&mut self, kind: u16) -> u16 {
        match self.dense.get(usize::from(kind)) {
            Some(&dense) if dense != NEW_KIND => dense,
            _ => self.new_kind(kind),
        }
    }

    #[cold]
    fn new_kind(&mut self, kind: u16) -> u16 {
        let dense = self.kinds.len() as u16;
        self.kinds.push((kind, [0; 2]));
        if let Some(entry) = self.dense.get_mut(usize::from(kind)) {
            *entry = dense;
        }
        dense
    }

    #[inline]
    fn touched(&mut self, key: u128, lsn: Lsn) -> Option<&mut Touched> {
        // file numbers of neighbouring relations differ in their low bits
        let slot = ((key >> 32) as usize ^ (key as usize) << 2) % CACHE;
        let index = match self.cache.get(slot) {
            Some(&(cached, index)) if cached == key => index,
            _ => {
                let index = self.find_or_add(key, lsn);
                if let Some(entry) = self.cache.get_mut(slot) {
                    *entry = (key, index);
                }
                index
            }
        };
        self.forks.get_mut(index as usize)
    }

    #[cold]
    fn find_or_add(&mut self, key: u128, lsn: Lsn) -> u32 {
        let next = self.forks.len() as u32;
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            let relation = self.xacts.relation(rel_of(key));
            self.forks.push(Touched {
                key,
                relation,
                blocks: BlockSet::default(),
                images: 0,
                first: lsn,
                last: lsn,
                kinds: Vec::new(),
            });
        }
        index
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as fragments")]
    fn block(&mut self, lsn: Lsn, after: bool, kind: u16, block: BlockHeader) -> u32 {
        let key = key_of(block.rel, block.fork, after);
        let Some(touched) = self.touched(key, lsn) else { return 0 };
        touched.blocks.insert(block.block);
        if block.image.is_some() {
            touched.images += 1;
        }
        // one reader takes its stretches in rising order
        touched.last = lsn;
        touched.count(kind, 1);
        touched.relation
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "the innermost loop of every scan")]
    fn fragments(&mut self, record: &Record<'_>, how: (bool, u16, bool)) -> Result<(), DecodeError> {
        let mut fragments = Fragments::new(record, self.major);
        while let Some(fragment) = fragments.next_fragment()? {
            match fragment {
                Fragment::Block(block) => self.reference(record, how, block),
                Fragment::TopLevelXid(top) if self.with_xacts => self.xacts.assign(record.xid, top),
                _ => {}
            }
        }
        Ok(())
    }

    /// A block reference of a record behind the divergence or not, of that kind, that says what its transaction did or
    /// not.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "as fragments")]
    fn reference(
        &mut self,
        record: &Record<'_>,
        (after, kind, by_transaction): (bool, u16, bool),
        block: BlockHeader,
    ) {
        let relation = self.block(record.lsn, after, kind, block);
        if by_transaction {
            self.xacts.touched(record.xid, relation);
        }
    }

    fn special(&mut self, record: &Record<'_>, after: bool) -> Result<(), DecodeError> {
        let op = record.info & 0xF0;
        match record.rmid {
            id::XACT => self.transaction_end(record, after),
            id::SMGR if op == op::SMGR_CREATE || op == op::SMGR_TRUNCATE => {
                let mut main = Bytes::new(self.main(record)?);
                let cut = if op == op::SMGR_TRUNCATE { Some(main.u32()?) } else { None };
                let rel = RelFile { spc: main.u32()?, db: main.u32()?, rel: main.u32()? };
                self.event(
                    record,
                    after,
                    match cut {
                        Some(blocks) => FileEvent::Truncated(rel, blocks),
                        None => FileEvent::Created(
                            rel,
                            Fork::from_number(main.u32()? as u8).ok_or(DecodeError("invalid fork number"))?,
                        ),
                    },
                );
                Ok(())
            }
            id::DBASE => self.database(record, after),
            id::TBLSPC if op == op::TBLSPC_CREATE => {
                let main = self.main(record)?;
                let oid = Bytes::new(main).u32()?;
                let path = main.get(4..).unwrap_or_default();
                let path = path.split(|&b| b == 0).next().unwrap_or_default();
                let path = String::from_utf8_lossy(path).into_owned();
                self.event(record, after, FileEvent::TablespaceCreated(oid, path));
                Ok(())
            }
            id::TBLSPC if op == op::TBLSPC_DROP => {
                let oid = Bytes::new(self.main(record)?).u32()?;
                self.event(record, after, FileEvent::TablespaceDropped(oid));
                Ok(())
            }
            id::RELMAP if op == op::RELMAP_UPDATE => {
                let database = Bytes::new(self.main(record)?).u32()?;
                self.event(record, after, FileEvent::RelationMap(database));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn main<'a>(&self, record: &Record<'a>) -> Result<&'a [u8], DecodeError> {
        record.main_data(self.major).ok_or(DecodeError("record with invalid length"))
    }

    fn event(&mut self, record: &Record<'_>, after: bool, event: FileEvent) {
        self.events.push(PlacedEvent { lsn: record.lsn, xid: record.xid, after, event });
    }

    fn database(&mut self, record: &Record<'_>, after: bool) -> Result<(), DecodeError> {
        // 15 put CREATE_WAL_LOG where DROP had been
        let dropped = if self.major >= Major::V15 { 0x20 } else { 0x10 };
        let mut main = Bytes::new(self.main(record)?);
        let (database, second) = (main.u32()?, main.u32()?);
        let event = if record.info & 0xF0 != dropped {
            FileEvent::DatabaseCreated(database, second)
        } else if self.major >= Major::V13 {
            let count = (second as usize).min(main.remaining() / 4);
            FileEvent::DatabaseDropped(database, (0..count).map(|_| main.u32()).collect::<Result<_, _>>()?)
        } else {
            FileEvent::DatabaseDropped(database, vec![second])
        };
        self.event(record, after, event);
        Ok(())
    }

    fn transaction_end(&mut self, record: &Record<'_>, after: bool) -> Result<(), DecodeError> {
        match record.info & op::XACT_MASK {
            op::XACT_COMMIT
            | op::XACT_ABORT
            | op::XACT_COMMIT_PREPARED
            | op::XACT_ABORT_PREPARED
            | op::XACT_PREPARE => {
                let end = XactRecord::parse(self.main(record)?, record.info, record.xid, self.major)?;
                for rel in &end.dropped {
                    self.event(record, after, FileEvent::Dropped(*rel));
                }
                if self.with_xacts {
                    self.xacts.end(record, &end);
                }
                Ok(())
            }
            op::XACT_ASSIGNMENT if self.with_xacts => {
                let mut main = Bytes::new(self.main(record)?);
                let (top, count) = (main.u32()?, main.u32()? as usize);
                for _ in 0..count.min(main.remaining() / 4) {
                    self.xacts.assign(main.u32()?, top);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Everything remembered. `next_xid`: the first transaction identifier not yet given out where the scan began.
    pub fn finish(mut self, next_xid: Xid) -> Collected {
        self.events.sort_by_key(|e| e.lsn);
        let mut relations: Vec<RelationChanges> = Vec::new();
        self.forks.sort_unstable_by_key(|t| t.key);
        for touched in self.forks {
            let (rel, after) = (rel_of(touched.key), touched.key & 1 == 1);
            let Some(fork) = Fork::from_number((touched.key >> 1) as u8 & 0xF) else { continue };
            let changes = touched.into_changes(&self.kinds);
            match relations.last_mut() {
                Some(last) if last.rel == rel && last.fork == fork => last.after = Some(changes),
                _ if after => {
                    relations.push(RelationChanges { rel, fork, before: None, after: Some(changes) });
                }
                _ => relations.push(RelationChanges { rel, fork, before: Some(changes), after: None }),
            }
        }
        self.kinds.sort_unstable_by_key(|k| k.0);
        let kinds =
            self.kinds.iter().map(|&(kind, [before, after])| (kind_of(kind), before, after)).collect();
        let (transactions, relation_sets) = self.xacts.finish(self.divergence, next_xid);
        Collected {
            changes: Changes { relations, events: self.events, kinds },
            transactions,
            relation_sets,
            records: self.records,
            first_error: self.first_error,
        }
    }
}

impl Touched {
    #[inline]
    fn count(&mut self, kind: u16, times: u64) {
        match self.kinds.get_mut(usize::from(kind)) {
            Some(count) => *count += times,
            None => self.first_of_kind(usize::from(kind), times),
        }
    }

    #[cold]
    fn first_of_kind(&mut self, kind: usize, times: u64) {
        self.kinds.resize(kind + 1, 0);
        if let Some(count) = self.kinds.get_mut(kind) {
            *count = times;
        }
    }

    fn into_changes(self, known: &[(u16, [u64; 2])]) -> ForkChanges {
        let counted = known.iter().zip(&self.kinds).filter(|(_, count)| **count > 0);
        let mut kinds: Vec<(RecordKind, u64)> =
            counted.map(|(kind, count)| (kind_of(kind.0), *count)).collect();
        kinds.sort_unstable_by_key(|&(kind, count)| (std::cmp::Reverse(count), kind));
        ForkChanges {
            blocks: self.blocks,
            references: self.kinds.iter().sum(),
            images: self.images,
            first: self.first,
            last: self.last,
            kinds,
        }
    }
}

impl Sink for Changed {
    #[inline]
    fn wants_whole(&self, rmid: u8, _: u8) -> bool {
        matches!(rmid, id::XACT | id::SMGR | id::DBASE | id::TBLSPC | id::RELMAP)
    }

    #[inline]
    fn record(&mut self, record: &Record<'_>) -> bool {
        let after = record.lsn >= self.divergence;
        let kind = kind_number(record.rmid, record.info);
        self.records += 1;
        let dense = self.dense_kind(kind);
        if let Some((_, counts)) = self.kinds.get_mut(usize::from(dense)) {
            counts[usize::from(after)] += 1;
        }
        let by_transaction = if record.xid == 0 || !self.with_xacts {
            false
        } else {
            self.xacts.seen(record.xid, record.lsn);
            is_by_its_transaction(kind)
        };
        let mut error = None;
        if let Some((first, second)) = Fragments::plain_blocks(record) {
            for block in std::iter::once(first).chain(second) {
                self.reference(record, (after, dense, by_transaction), block);
            }
        } else {
            error = self.fragments(record, (after, dense, by_transaction)).err();
        }
        if record.rmid <= id::RELMAP && record.rmid != id::XLOG {
            error = error.or(self.special(record, after).err());
        }
        if let Some(error) = error
            && self.first_error.is_none_or(|e| e.0 > record.lsn)
        {
            self.first_error = Some((record.lsn, error));
        }
        true
    }
}

impl Collector for Changed {
    fn merge(&mut self, other: Self) {
        self.records += other.records;
        // the other's small numbers in this one's
        let mut renamed = Vec::with_capacity(other.kinds.len());
        for (kind, counts) in &other.kinds {
            let dense = self.dense_kind(*kind);
            renamed.push(dense);
            if let Some((_, mine)) = self.kinds.get_mut(usize::from(dense)) {
                mine[0] += counts[0];
                mine[1] += counts[1];
            }
        }
        for theirs in other.forks {
            let index = self.find_or_add(theirs.key, theirs.first);
            if let Some(mine) = self.forks.get_mut(index as usize) {
                mine.blocks.merge(&theirs.blocks);
                mine.images += theirs.images;
                mine.first = mine.first.min(theirs.first);
                mine.last = mine.last.max(theirs.last);
                for (kind, count) in renamed.iter().zip(theirs.kinds) {
                    mine.count(*kind, count);
                }
            }
        }
        self.events.extend(other.events);
        self.xacts.merge(other.xacts);
        self.first_error = match (self.first_error, other.first_error) {
            (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
            (a, b) => a.or(b),
        };
    }
}
