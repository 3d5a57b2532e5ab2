//! Transactions during a scan: a fixed, small entry for each, and shared sets of the relations they touched.

use hashbrown::HashMap;
use hashbrown::hash_table::{Entry as Slot, HashTable};

use crate::pg::{Lsn, RelFile, TimestampTz, Xid};
use crate::wal::Record;
use crate::wal::rmgr::op;
use crate::wal::xact::XactRecord;

use super::model::{Prepared, RelationSets, Xact, XactEnd};

/// Entries are allocated in pieces of so many, so that growing never copies them.
const PIECE: usize = 4096;
/// Transactions that are held at hand, direct-mapped by identifier: those that run at the same time.
const AT_HAND: usize = 256;
/// Members of all sets together beyond which no new set is made.
const MAX_MEMBERS: usize = 1 << 20;
const NO_RELATION: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Entry {
    xid: Xid,
    records: u32,
    first: Lsn,
    end_lsn: Lsn,
    time: TimestampTz,
    set: u32,
    subxacts: u32,
    end: XactEnd,
    folded: bool,
}

/// What changes with every record of a transaction, until another one needs the place.
#[derive(Debug, Clone, Copy)]
struct AtHand {
    xid: Xid,
    index: u32,
    records: u32,
    set: u32,
    last_relation: u32,
    /// One bit for each of the first 64 relations: it is in the set.
    mask: u64,
}

const NOBODY: AtHand = AtHand { xid: 0, index: 0, records: 0, set: 0, last_relation: NO_RELATION, mask: 0 };

/// All transactions seen so far.
#[derive(Debug)]
pub struct XactTable {
    /// Identifiers with them, so that growing does not touch the entries.
    table: HashTable<(Xid, u32)>,
    pieces: Vec<Vec<Entry>>,
    len: u32,
    at_hand: Box<[AtHand; AT_HAND]>,
    sets: Sets,
    /// Subtransaction and its parent, as end records and assignments say.
    parents: Vec<(Xid, Xid)>,
    /// PREPARE records: where, when and under which name.
    prepared: HashMap<Xid, Prepared>,
}

impl Default for XactTable {
    fn default() -> Self {
        Self {
            table: HashTable::new(),
            pieces: Vec::new(),
            len: 0,
            at_hand: Box::new([NOBODY; AT_HAND]),
            sets: Sets::default(),
            parents: Vec::new(),
            prepared: HashMap::new(),
        }
    }
}

/// Sets of relations by number; adding a relation to a set leads to another set, which is remembered.
#[derive(Debug)]
struct Sets {
    relations: Vec<RelFile>,
    by_relation: HashMap<RelFile, u32>,
    members: Vec<Box<[u32]>>,
    by_members: HashMap<Box<[u32]>, u32>,
    next: HashMap<(u32, u32), u32>,
    total: usize,
    overflow: Option<u32>,
}

impl Default for Sets {
    fn default() -> Self {
        let empty: Box<[u32]> = Box::default();
        Self {
            relations: Vec::new(),
            by_relation: HashMap::new(),
            members: vec![empty.clone()],
            by_members: HashMap::from_iter([(empty, 0)]),
            next: HashMap::new(),
            total: 0,
            overflow: None,
        }
    }
}

impl Sets {
    fn relation(&mut self, rel: RelFile) -> u32 {
        let next = self.relations.len() as u32;
        let index = *self.by_relation.entry(rel).or_insert(next);
        if index == next {
            self.relations.push(rel);
        }
        index
    }

    fn with(&mut self, set: u32, relation: u32) -> u32 {
        if let Some(&next) = self.next.get(&(set, relation)) {
            return next;
        }
        if self.overflow == Some(set) {
            return set;
        }
        let Some(members) = self.members.get(set as usize) else { return set };
        let next = match members.binary_search(&relation) {
            Ok(_) => set,
            Err(at) => {
                let mut larger = members.to_vec();
                larger.insert(at, relation);
                self.intern(larger.into_boxed_slice())
            }
        };
        if self.next.len() < MAX_MEMBERS {
            self.next.insert((set, relation), next);
        }
        next
    }

    fn intern(&mut self, members: Box<[u32]>) -> u32 {
        if let Some(&known) = self.by_members.get(&members) {
            return known;
        }
        let next = self.members.len() as u32;
        if self.total + members.len() > MAX_MEMBERS {
            if self.overflow.is_none() {
                self.overflow = Some(next);
                self.members.push(Box::default());
            }
            return self.overflow.unwrap_or(next);
        }
        self.total += members.len();
        self.members.push(members.clone());
        self.by_members.insert(members, next);
        next
    }

    fn union(&mut self, set: u32, other: u32) -> u32 {
        if set == 0 || set == other || self.overflow == Some(other) {
            return other;
        }
        let others = self.members.get(other as usize).cloned().unwrap_or_default();
        others.iter().fold(set, |set, &relation| self.with(set, relation))
    }
}

impl XactTable {
    /// Number of a relation, for [`Self::touched`].
    pub fn relation(&mut self, rel: RelFile) -> u32 {
        self.sets.relation(rel)
    }

    /// A record of `xid` (not 0) at `lsn`. One reader sees a transaction's records in rising order.
    #[inline]
    pub fn seen(&mut self, xid: Xid, lsn: Lsn) {
        match self.at_hand.get_mut(xid as usize % AT_HAND) {
            Some(entry) if entry.xid == xid => entry.records += 1,
            _ => self.take_up(xid, lsn),
        }
    }

    #[cold]
    fn take_up(&mut self, xid: Xid, lsn: Lsn) {
        let index = self.find_or_add(xid, lsn);
        let set = entry(&self.pieces, index).map_or(0, |e| e.set);
        let new = AtHand { xid, index, records: 1, set, last_relation: NO_RELATION, mask: 0 };
        if let Some(place) = self.at_hand.get_mut(xid as usize % AT_HAND) {
            let old = std::mem::replace(place, new);
            put_back(&mut self.pieces, &old);
        }
    }

    /// Puts back what is held at hand, so that the entries are complete.
    fn put_all_back(&mut self) {
        for held in self.at_hand.iter_mut() {
            put_back(&mut self.pieces, held);
            *held = NOBODY;
        }
    }

    fn find_or_add(&mut self, xid: Xid, lsn: Lsn) -> u32 {
        let pieces = &mut self.pieces;
        match self.table.entry(hash(xid), |&(known, _)| known == xid, |&(known, _)| hash(known)) {
            Slot::Occupied(found) => found.get().1,
            Slot::Vacant(vacant) => {
                let index = self.len;
                self.len += 1;
                vacant.insert((xid, index));
                if (index as usize).is_multiple_of(PIECE) {
                    pieces.push(Vec::with_capacity(PIECE));
                }
                if let Some(piece) = pieces.last_mut() {
                    piece.push(Entry {
                        xid,
                        records: 0,
                        first: lsn,
                        end_lsn: Lsn::INVALID,
                        time: 0,
                        set: 0,
                        subxacts: 0,
                        end: XactEnd::InProgress,
                        folded: false,
                    });
                }
                index
            }
        }
    }

    /// The transaction `xid`, just [`Self::seen`], changed `relation`.
    #[inline]
    pub fn touched(&mut self, xid: Xid, relation: u32) {
        if let Some(entry) = self.at_hand.get_mut(xid as usize % AT_HAND) {
            let bit = if relation < 64 { 1 << relation } else { 0 };
            if entry.mask & bit == 0 && entry.last_relation != relation {
                entry.mask |= bit;
                entry.last_relation = relation;
                entry.set = self.sets.with(entry.set, relation);
            }
        }
    }

    /// `sub` belongs to `top`.
    pub fn assign(&mut self, sub: Xid, top: Xid) {
        if sub != top && self.parents.last() != Some(&(sub, top)) {
            self.parents.push((sub, top));
        }
    }

    /// A record that ends or prepares a transaction.
    pub fn end(&mut self, record: &Record<'_>, what: &XactRecord<'_>) {
        let index = self.find_or_add(what.xid, record.lsn);
        let end = match record.info & op::XACT_MASK {
            op::XACT_COMMIT => XactEnd::Committed,
            op::XACT_COMMIT_PREPARED => XactEnd::CommittedPrepared,
            op::XACT_ABORT_PREPARED => XactEnd::AbortedPrepared,
            op::XACT_PREPARE => XactEnd::Prepared,
            _ => XactEnd::Aborted,
        };
        if end == XactEnd::Prepared {
            let name = String::from_utf8_lossy(what.gid).into_owned().into_boxed_str();
            self.prepared.insert(what.xid, Prepared { lsn: record.lsn, gid: name });
        }
        if let Some(entry) = entry_mut(&mut self.pieces, index) {
            entry.records += u32::from(record.xid != what.xid);
            entry.first = entry.first.min(record.lsn);
            if record.lsn >= entry.end_lsn {
                entry.end = end;
                entry.end_lsn = record.lsn;
                entry.time = what.time;
                entry.subxacts = what.subxacts.len() as u32;
            }
        }
        for &sub in &what.subxacts {
            self.parents.push((sub, what.xid));
        }
    }

    /// Adds what another reader has seen of other stretches.
    pub fn merge(&mut self, mut other: Self) {
        self.put_all_back();
        other.put_all_back();
        let mut mapped: HashMap<u32, u32> = HashMap::new();
        self.table.reserve(other.len as usize, |&(known, _)| hash(known));
        for piece in other.pieces {
            for theirs in piece {
                let index = self.find_or_add(theirs.xid, theirs.first);
                let set = if let Some(&set) = mapped.get(&theirs.set) {
                    set
                } else {
                    let set = self.sets.import(&other.sets, theirs.set);
                    mapped.insert(theirs.set, set);
                    set
                };
                if let Some(mine) = entry_mut(&mut self.pieces, index) {
                    mine.records += theirs.records;
                    mine.first = mine.first.min(theirs.first);
                    mine.set = self.sets.union(mine.set, set);
                    if theirs.end != XactEnd::InProgress && theirs.end_lsn >= mine.end_lsn {
                        mine.end = theirs.end;
                        mine.end_lsn = theirs.end_lsn;
                        mine.time = theirs.time;
                        mine.subxacts = theirs.subxacts;
                    }
                }
            }
        }
        self.parents.extend(other.parents);
        self.prepared.extend(other.prepared);
    }

    /// The transactions that ended at or behind `divergence` in order of their end, then those that are open.
    pub fn finish(mut self, divergence: Lsn, next_xid: Xid) -> (Vec<Xact>, RelationSets) {
        self.put_all_back();
        self.parents.sort_unstable();
        self.parents.dedup();
        for (sub, parent) in std::mem::take(&mut self.parents) {
            let Some(from) = self.find(sub) else { continue };
            let into = self.find_or_add(parent, Lsn::MAX);
            let Some(folded) = entry_mut(&mut self.pieces, from) else { continue };
            if std::mem::replace(&mut folded.folded, true) {
                continue;
            }
            let folded = *folded;
            if let Some(entry) = entry_mut(&mut self.pieces, into) {
                entry.records += folded.records;
                entry.first = entry.first.min(folded.first);
                entry.set = self.sets.union(entry.set, folded.set);
            }
        }
        let kept = |e: &&Entry| {
            !e.folded && e.records > 0 && (e.end == XactEnd::InProgress || e.end_lsn >= divergence)
        };
        self.table = HashTable::new();
        let mut list = Vec::with_capacity(self.pieces.iter().flatten().filter(kept).count());
        // piece by piece, so that not everything is there twice
        for piece in std::mem::take(&mut self.pieces) {
            list.extend(piece.iter().filter(kept).map(|e| Xact {
                xid: e.xid,
                end: e.end,
                end_lsn: e.end_lsn,
                time: (e.end != XactEnd::InProgress).then_some(e.time),
                first_lsn: e.first,
                // identifiers are compared modulo 2^32
                may_begin_earlier: (e.xid.wrapping_sub(next_xid) as i32) < 0,
                records: e.records,
                relations: e.set,
                subxacts: e.subxacts,
                prepared: self.prepared.remove(&e.xid).map(Box::new),
            }));
        }
        // not unstable: it makes use of the order that is there already
        list.sort_by_key(|x| (x.end == XactEnd::InProgress, x.end_lsn, x.first_lsn));
        let relations = &self.sets.relations;
        let sets = self.sets.members.iter().map(|members| {
            let mut set: Vec<RelFile> =
                members.iter().filter_map(|&m| relations.get(m as usize).copied()).collect();
            set.sort_unstable();
            set
        });
        (list, RelationSets { sets: sets.collect(), overflow: self.sets.overflow })
    }

    fn find(&self, xid: Xid) -> Option<u32> {
        self.table.find(hash(xid), |&(known, _)| known == xid).map(|found| found.1)
    }
}

impl Sets {
    /// The set of another table, in this one's numbers.
    fn import(&mut self, other: &Self, set: u32) -> u32 {
        if other.overflow == Some(set) {
            self.total = MAX_MEMBERS;
            return self.intern(Box::new([NO_RELATION]));
        }
        let members = other.members.get(set as usize).cloned().unwrap_or_default();
        members.iter().fold(0, |mine, &member| match other.relations.get(member as usize) {
            Some(&rel) => {
                let relation = self.relation(rel);
                self.with(mine, relation)
            }
            None => mine,
        })
    }
}

/// Identifiers come in sequence; the table wants their bits spread.
#[inline]
const fn hash(xid: Xid) -> u64 {
    (xid as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

fn put_back(pieces: &mut [Vec<Entry>], held: &AtHand) {
    if held.records > 0
        && let Some(entry) = entry_mut(pieces, held.index)
    {
        entry.records += held.records;
        entry.set = held.set;
    }
}

#[inline]
fn entry(pieces: &[Vec<Entry>], index: u32) -> Option<&Entry> {
    pieces.get(index as usize / PIECE)?.get(index as usize % PIECE)
}

#[inline]
fn entry_mut(pieces: &mut [Vec<Entry>], index: u32) -> Option<&mut Entry> {
    pieces.get_mut(index as usize / PIECE)?.get_mut(index as usize % PIECE)
}
