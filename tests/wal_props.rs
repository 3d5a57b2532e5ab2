//! The framer against WAL that is laid out here by the rules of `xlog_internal.h`, whole and damaged.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use forkpoint::pg::{Lsn, Major, SegmentSize};
use forkpoint::wal::framer::{Framer, Sink};
use forkpoint::wal::record::{Fragments, HEADER_SIZE};
use forkpoint::wal::xact::XactRecord;
use forkpoint::wal::{Format, PAGE_SIZE, Problem, Record};
use proptest::prelude::*;

const SEGMENT: u64 = 1 << 20;
const START: u64 = 3 * SEGMENT;

fn format() -> Format {
    let segment_size = SegmentSize::new(SEGMENT as u32).unwrap();
    Format { major: Major::V17, system_identifier: 42, segment_size }
}

/// Lays records of these main data lengths one behind the other from the start of a segment on.
fn lay_out(lengths: &[usize]) -> (Vec<u8>, Vec<(Lsn, Vec<u8>)>) {
    let mut wal: Vec<u8> = Vec::new();
    let mut records = Vec::new();
    let mut prev = 0_u64;
    let page_header = |wal: &mut Vec<u8>, rem: usize| {
        let at = START + wal.len() as u64;
        let long = at.is_multiple_of(SEGMENT);
        let info = u16::from(rem > 0) | if long { 2 } else { 0 };
        wal.extend(Major::V17.wal_magic().to_le_bytes());
        wal.extend(info.to_le_bytes());
        wal.extend(1_u32.to_le_bytes());
        wal.extend(at.to_le_bytes());
        wal.extend((rem as u32).to_le_bytes());
        wal.extend([0; 4]);
        if long {
            wal.extend(42_u64.to_le_bytes());
            wal.extend((SEGMENT as u32).to_le_bytes());
            wal.extend((PAGE_SIZE as u32).to_le_bytes());
        }
    };
    for (n, &length) in lengths.iter().enumerate() {
        if wal.len().is_multiple_of(PAGE_SIZE) {
            page_header(&mut wal, 0);
        }
        let lsn = Lsn(START + wal.len() as u64);
        let mut body = vec![254];
        body.extend((length as u32).to_le_bytes());
        body.extend((0..length).map(|i| (i + n) as u8));
        let mut record = Vec::new();
        record.extend(((HEADER_SIZE + body.len()) as u32).to_le_bytes());
        record.extend((n as u32).to_le_bytes());
        record.extend(prev.to_le_bytes());
        record.extend([0, 10, 0, 0]);
        let sum = !crc32c::crc32c(&body);
        let sum = crc32c::crc32c_append(!sum, &record);
        record.extend(sum.to_le_bytes());
        record.extend(body);
        prev = lsn.0;
        let mut left = &record[..];
        while !left.is_empty() {
            if wal.len().is_multiple_of(PAGE_SIZE) {
                page_header(&mut wal, left.len());
            }
            let room = PAGE_SIZE - wal.len() % PAGE_SIZE;
            let (now, later) = left.split_at(room.min(left.len()));
            wal.extend(now);
            left = later;
        }
        wal.resize(wal.len().next_multiple_of(8), 0);
        records.push((lsn, record));
    }
    wal.resize(wal.len().next_multiple_of(PAGE_SIZE), 0);
    (wal, records)
}

#[derive(Default)]
struct Seen {
    whole: bool,
    records: Vec<(Lsn, Vec<u8>)>,
}

impl Sink for Seen {
    fn wants_whole(&self, _: u8, _: u8) -> bool {
        self.whole
    }

    fn record(&mut self, record: &Record<'_>) -> bool {
        assert!(record.end > record.lsn);
        self.records.push((record.lsn, record.bytes.to_vec()));
        let _ = record.decode(Major::V17);
        true
    }
}

fn read(wal: &[u8], first_page: usize, resync: bool, whole: bool) -> (Seen, Option<Problem>) {
    let mut seen = Seen { whole, ..Seen::default() };
    let start = Lsn(START + (first_page * PAGE_SIZE) as u64);
    let mut framer =
        if resync { Framer::resync(format(), Lsn::MAX) } else { Framer::at(format(), start, Lsn::MAX) };
    for (n, page) in wal.as_chunks::<PAGE_SIZE>().0.iter().enumerate().skip(first_page) {
        let at = Lsn(START + (n * PAGE_SIZE) as u64);
        if let Err(problem) = framer.page(at, page, &mut seen) {
            return (seen, Some(problem));
        }
    }
    (seen, None)
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![8 => 0..300_usize, 3 => 4_000..9_000_usize, 1 => 20_000..60_000_usize];
    proptest::collection::vec(length, 1..60)
}

proptest! {
    #[test]
    fn every_record_comes_back_whole(lengths in lengths()) {
        let (wal, records) = lay_out(&lengths);
        let (seen, problem) = read(&wal, 0, false, true);
        prop_assert_eq!(&seen.records, &records);
        // behind the last record are zeros, unless it ends with its page
        let zeros = problem.is_none_or(|p| matches!(p, Problem::Length { found: 0, .. }));
        prop_assert!(zeros);
        // the headers alone are given of records on several pages
        let (heads, _) = read(&wal, 0, false, false);
        prop_assert_eq!(heads.records.len(), records.len());
        for ((lsn, head), (at, record)) in heads.records.iter().zip(&records) {
            prop_assert_eq!(lsn, at);
            prop_assert!(record.starts_with(head) && head.len() >= HEADER_SIZE.min(record.len()));
        }
    }

    #[test]
    fn reading_from_any_page_finds_the_records_that_start_there_or_later(lengths in lengths(), page: prop::sample::Index) {
        let (wal, records) = lay_out(&lengths);
        let page = page.index(wal.len() / PAGE_SIZE);
        let (seen, _) = read(&wal, page, true, true);
        let from = Lsn(START + (page * PAGE_SIZE) as u64);
        let later: Vec<_> = records.into_iter().filter(|r| r.0 >= from).collect();
        prop_assert_eq!(seen.records, later);
    }

    #[test]
    fn damage_stops_at_its_place_and_never_makes_up_a_record(
        lengths in lengths(),
        at: prop::sample::Index,
        bit in 0..8_u32,
    ) {
        let (mut wal, records) = lay_out(&lengths);
        let at = at.index(wal.len());
        wal[at] ^= 1 << bit;
        let (seen, _) = read(&wal, 0, false, true);
        prop_assert!(records.starts_with(&seen.records), "a record that was never written");
        // everything that ends before the damaged page is found
        let page = Lsn(START + (at - at % PAGE_SIZE) as u64);
        let before = records.iter().filter(|r| r.0.plus(r.1.len() as u64 + 80 * (1 + r.1.len() as u64 / 8000)) < page);
        prop_assert!(seen.records.len() >= before.count());
    }

    #[test]
    fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), PAGE_SIZE * 2), lsn in any::<u32>(), info: u8) {
        let _ = read(&bytes, 0, true, true);
        let record = Record {
            lsn: Lsn(u64::from(lsn)),
            end: Lsn(u64::from(lsn) + bytes.len() as u64),
            xid: 1,
            prev: Lsn(0),
            info,
            rmid: 1,
            total_len: bytes.len() as u32,
            bytes: &bytes,
        };
        for major in [Major::V9_5, Major::V9_6, Major::V10, Major::V13, Major::V14, Major::V15, Major::V18, Major::V19] {
            let _ = record.decode(major);
            let mut fragments = Fragments::new(&record, major);
            while let Ok(Some(_)) = fragments.next_fragment() {}
            let _ = XactRecord::parse(&bytes, info, 1, major);
        }
    }
}
