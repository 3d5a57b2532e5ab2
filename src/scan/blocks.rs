//! Sets of block numbers as chunked bitmaps.

use crate::pg::BlockNumber;

/// Blocks per chunk.
const CHUNK: u32 = 65_536;

/// A set of block numbers: at most 8 KiB per 65,536 blocks in which one is set, less where only low ones are.
#[derive(Debug, Clone, Default)]
pub struct BlockSet {
    /// Number of the chunk that was used last, whose bitmap lies at hand: neighbouring blocks come in a row.
    chunk: u16,
    /// Its bitmap; like every bitmap as long as its highest block needs.
    words: Vec<u64>,
    /// The other chunks, sorted.
    others: Vec<(u16, Vec<u64>)>,
}

impl PartialEq for BlockSet {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for BlockSet {}

impl BlockSet {
    /// Adds a block.
    #[inline]
    pub fn insert(&mut self, block: BlockNumber) {
        let chunk = (block / CHUNK) as u16;
        if chunk != self.chunk {
            self.turn_to(chunk);
        }
        let within = block % CHUNK;
        let (word, bit) = ((within / 64) as usize, 1u64 << (within % 64));
        match self.words.get_mut(word) {
            Some(slot) => *slot |= bit,
            None => self.grow(word, bit),
        }
    }

    #[cold]
    fn grow(&mut self, word: usize, bits: u64) {
        self.words.resize((word + 1).next_power_of_two(), 0);
        if let Some(slot) = self.words.get_mut(word) {
            *slot |= bits;
        }
    }

    #[cold]
    fn turn_to(&mut self, chunk: u16) {
        let words = match self.others.binary_search_by_key(&chunk, |c| c.0) {
            Ok(at) => self.others.remove(at).1,
            Err(_) => Vec::new(),
        };
        let last = (std::mem::replace(&mut self.chunk, chunk), std::mem::replace(&mut self.words, words));
        if !last.1.is_empty() {
            let at = self.others.partition_point(|c| c.0 < last.0);
            self.others.insert(at, last);
        }
    }

    /// All chunks, ascending.
    fn chunks(&self) -> impl Iterator<Item = (u16, &[u64])> {
        let at = self.others.partition_point(|c| c.0 < self.chunk);
        let (before, after) = self.others.split_at(at);
        let own = std::iter::once((self.chunk, self.words.as_slice()));
        before
            .iter()
            .map(|c| (c.0, c.1.as_slice()))
            .chain(own)
            .chain(after.iter().map(|c| (c.0, c.1.as_slice())))
    }

    fn words_of(&self, chunk: u16) -> &[u64] {
        if chunk == self.chunk {
            return &self.words;
        }
        let found = self.others.binary_search_by_key(&chunk, |c| c.0).ok();
        found.and_then(|at| self.others.get(at)).map_or(&[], |c| c.1.as_slice())
    }

    /// Whether the block is in the set.
    pub fn contains(&self, block: BlockNumber) -> bool {
        let within = block % CHUNK;
        let word = self.words_of((block / CHUNK) as u16).get((within / 64) as usize);
        word.is_some_and(|word| word & (1 << (within % 64)) != 0)
    }

    /// Number of blocks.
    pub fn len(&self) -> u64 {
        self.chunks().flat_map(|c| c.1).map(|word| u64::from(word.count_ones())).sum()
    }

    /// True for the empty set.
    pub fn is_empty(&self) -> bool {
        self.chunks().all(|c| c.1.iter().all(|&word| word == 0))
    }

    /// The highest block.
    pub fn last(&self) -> Option<BlockNumber> {
        let highest = |(chunk, words): (u16, &[u64])| {
            let at = words.iter().rposition(|w| *w != 0)?;
            let bit = 63 - words.get(at)?.leading_zeros();
            Some(u32::from(chunk) * CHUNK + at as u32 * 64 + bit)
        };
        self.chunks().filter_map(highest).last()
    }

    /// The lowest block from this one on.
    pub fn next_from(&self, block: BlockNumber) -> Option<BlockNumber> {
        let first = (block / CHUNK) as u16;
        self.chunks().filter(|(chunk, _)| *chunk >= first).find_map(|(chunk, words)| {
            let low = if chunk == first { block % CHUNK } else { 0 };
            let start = (low / 64) as usize;
            words.iter().enumerate().skip(start).find_map(|(at, &word)| {
                let word = if at == start { word & (u64::MAX << (low % 64)) } else { word };
                (word != 0).then(|| u32::from(chunk) * CHUNK + at as u32 * 64 + word.trailing_zeros())
            })
        })
    }

    /// The highest block below this one.
    pub fn last_before(&self, block: BlockNumber) -> Option<BlockNumber> {
        let last = (block / CHUNK) as u16;
        let highest = |(chunk, words): (u16, &[u64])| {
            let limit = if chunk == last { block % CHUNK } else { CHUNK };
            words.iter().enumerate().rev().find_map(|(at, &word)| {
                let bits = limit.saturating_sub(at as u32 * 64).min(64);
                let word = if bits == 64 { word } else { word & ((1u64 << bits) - 1) };
                (word != 0).then(|| u32::from(chunk) * CHUNK + at as u32 * 64 + 63 - word.leading_zeros())
            })
        };
        self.chunks().filter(|(chunk, _)| *chunk <= last).filter_map(highest).last()
    }

    /// Adds every block of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (chunk, theirs) in other.chunks() {
            if chunk != self.chunk {
                self.turn_to(chunk);
            }
            if self.words.len() < theirs.len() {
                self.words.resize(theirs.len(), 0);
            }
            for (mine, their) in self.words.iter_mut().zip(theirs) {
                *mine |= their;
            }
        }
    }

    /// How many blocks both sets hold.
    pub fn common(&self, other: &Self) -> u64 {
        let count = |(chunk, ours): (u16, &[u64])| {
            let both = ours.iter().zip(other.words_of(chunk));
            both.map(|(a, b)| u64::from((a & b).count_ones())).sum::<u64>()
        };
        self.chunks().map(count).sum()
    }

    /// How many blocks of `from` up to, not including, `to` are in the set.
    pub fn within(&self, from: BlockNumber, to: BlockNumber) -> u64 {
        self.within_both(None, from, to)
    }

    /// How many of them are in both sets.
    pub fn common_within(&self, other: &Self, from: BlockNumber, to: BlockNumber) -> u64 {
        self.within_both(Some(other), from, to)
    }

    fn within_both(&self, other: Option<&Self>, from: BlockNumber, to: BlockNumber) -> u64 {
        let Some(last) = to.checked_sub(1).filter(|last| *last >= from) else { return 0 };
        let mut count = 0;
        for chunk in from / CHUNK..=last / CHUNK {
            let ours = self.words_of(chunk as u16);
            let theirs = other.map(|other| other.words_of(chunk as u16));
            let low = if chunk == from / CHUNK { from % CHUNK } else { 0 };
            let high = if chunk == last / CHUNK { last % CHUNK } else { CHUNK - 1 };
            for word in low / 64..=high / 64 {
                let Some(&own) = ours.get(word as usize) else { break };
                let mut bits = match theirs {
                    Some(theirs) => own & theirs.get(word as usize).copied().unwrap_or_default(),
                    None => own,
                };
                if word == low / 64 {
                    bits &= u64::MAX << (low % 64);
                }
                if word == high / 64 {
                    bits &= u64::MAX >> (63 - high % 64);
                }
                count += u64::from(bits.count_ones());
            }
        }
        count
    }

    /// The blocks, ascending.
    pub fn iter(&self) -> impl Iterator<Item = BlockNumber> + '_ {
        self.chunks().flat_map(|(chunk, words)| {
            let base = u32::from(chunk) * CHUNK;
            words.iter().enumerate().flat_map(move |(index, &word)| {
                let mut left = word;
                std::iter::from_fn(move || {
                    if left == 0 {
                        return None;
                    }
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    Some(base + index as u32 * 64 + bit)
                })
            })
        })
    }

    /// The blocks as inclusive ranges, ascending and not touching each other.
    pub fn ranges(&self) -> impl Iterator<Item = (BlockNumber, BlockNumber)> + '_ {
        let mut blocks = self.iter().peekable();
        std::iter::from_fn(move || {
            let first = blocks.next()?;
            let mut last = first;
            while let Some(next) = blocks.next_if(|&b| b == last.wrapping_add(1)) {
                last = next;
            }
            Some((first, last))
        })
    }
}

impl FromIterator<BlockNumber> for BlockSet {
    fn from_iter<I: IntoIterator<Item = BlockNumber>>(blocks: I) -> Self {
        let mut set = Self::default();
        for block in blocks {
            set.insert(block);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_set(a: Vec<u32>, b in proptest::collection::vec(0u32..300, 0..200)) {
            let both: BTreeSet<u32> = a.iter().chain(&b).copied().collect();
            let (left, right): (BlockSet, BlockSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let mut merged = left.clone();
            merged.merge(&right);
            prop_assert_eq!(merged.len(), both.len() as u64);
            prop_assert!(merged.iter().eq(both.iter().copied()));
            prop_assert_eq!(merged.last(), both.last().copied());
            for at in a.iter().take(5).chain(b.iter().take(5)).copied().chain([0, 64, 299, u32::MAX]) {
                prop_assert_eq!(merged.next_from(at), both.range(at..).next().copied());
                prop_assert_eq!(merged.last_before(at), both.range(..at).next_back().copied());
            }
            prop_assert!(both.iter().all(|&x| merged.contains(x)));
            let common = a.iter().collect::<BTreeSet<_>>().intersection(&b.iter().collect()).count();
            prop_assert_eq!(left.common(&right), common as u64);
            for (from, to) in a.iter().zip(&b).map(|(x, y)| (*x, *y)).take(3).chain([(0, 300), (0, u32::MAX), (70, 128), (64, 65)]) {
                let inside = |set: &BlockSet| set.iter().filter(|x| (from..to).contains(x)).count() as u64;
                prop_assert_eq!(right.within(from, to), inside(&right));
                prop_assert_eq!(merged.within(from, to), inside(&merged));
                let both = right.iter().filter(|x| left.contains(*x)).collect::<BlockSet>();
                prop_assert_eq!(left.common_within(&right, from, to), inside(&both));
            }
            let spread: Vec<u32> = merged.ranges().flat_map(|(x, y)| x..=y).collect();
            prop_assert!(spread.into_iter().eq(both.iter().copied()));
        }
    }
}
