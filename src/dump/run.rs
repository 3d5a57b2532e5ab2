//! All of it, by one reader or by several whose output is put in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use super::read::{Begin, Reader, Stop, Trouble};
use super::select::Selection;
use super::stats::Stats;
use super::view::{Show, Target, View};
use crate::pg::Lsn;
use crate::wal::Record;
use crate::wal::record::Parts;

/// Bytes of WAL that a reader takes at a time.
const STRETCH: u64 = 4 << 20;
/// How long pg_waldump waits before it looks for new WAL.
const NAP: Duration = Duration::from_secs(1);

/// What is to be shown.
pub struct Job<'a> {
    /// Where it is read.
    pub reader: Reader<'a>,
    /// Shown from the first record at or behind this position.
    pub start: Lsn,
    /// Which records.
    pub selection: &'a Selection,
    /// At most so many.
    pub limit: Option<u64>,
    /// Wait for more at the end.
    pub follow: bool,
    /// Readers.
    pub threads: usize,
    /// Makes an empty view.
    pub view: &'a (dyn Fn() -> View + Sync),
    /// The user wants to stop.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
}

/// How it ended.
#[derive(Debug)]
pub struct Outcome {
    /// Where the first record lies; `None` if there is none.
    pub first: Option<Lsn>,
    /// Start of the last record read; 0/0 for none.
    pub last: Lsn,
    /// Why it ended before its end.
    pub trouble: Option<Trouble>,
    /// The counts, if the view counts.
    pub stats: Option<Stats>,
    /// Records whose inside did not add up.
    pub broken: u64,
}

/// Shows everything.
pub fn run<T: Target>(job: &Job<'_>, target: T) -> Outcome {
    let alone = job.threads < 2 || job.follow || job.limit.is_some();
    let mut whole = Whole { job, target, first: None, last: Lsn::INVALID, stats: None, broken: 0 };
    let begin = Begin::Page(job.start.page_start());
    let trouble = if alone { whole.alone(begin) } else { whole.in_parallel() };
    Outcome { first: whole.first, last: whole.last, trouble, stats: whole.stats, broken: whole.broken }
}

struct Whole<'a, 'b, T> {
    job: &'a Job<'b>,
    target: T,
    first: Option<Lsn>,
    last: Lsn,
    stats: Option<Stats>,
    broken: u64,
}

/// Lends the target.
struct Lent<'a, T>(&'a mut T);

impl<T: Target> Target for Lent<'_, T> {
    fn write(&mut self, bytes: &mut Vec<u8>) -> bool {
        self.0.write(bytes)
    }

    fn found(&mut self, first: Lsn) {
        self.0.found(first);
    }

    #[inline]
    fn images(&mut self, record: &Record<'_>, parts: &Parts) -> bool {
        self.0.images(record, parts)
    }
}

/// Output that is kept until its turn.
struct Kept;

impl Target for Kept {
    fn write(&mut self, _: &mut Vec<u8>) -> bool {
        true
    }

    fn found(&mut self, _: Lsn) {}

    fn images(&mut self, _: &Record<'_>, _: &Parts) -> bool {
        true
    }
}

/// Views whose output is written: the next stretch has its room ready.
#[derive(Default)]
struct Spare(Mutex<Vec<View>>);

impl Spare {
    fn take(&self) -> Option<View> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn put(&self, mut view: View) {
        if let Some(buffer) = view.buffer() {
            buffer.clear();
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(view);
    }
}

/// What one reader made of its stretch.
struct Piece {
    index: u64,
    stop: Stop,
    view: View,
    first: Option<Lsn>,
    broken: u64,
}

impl<T: Target> Whole<'_, '_, T> {
    fn count(&mut self, view: View) {
        if let View::Stats(stats) = view {
            match &mut self.stats {
                Some(all) => all.merge(&stats),
                none => *none = Some(*stats),
            }
        }
    }

    /// One reader, from `begin` to the end.
    fn alone(&mut self, begin: Begin) -> Option<Trouble> {
        let job = self.job;
        let format = job.reader.format;
        // what comes before the start is read, and not shown, only where reading begins
        let from = if self.first.is_none() { job.start } else { Lsn::INVALID };
        let about = (format.major, format.segment_size);
        let mut show =
            Show::new((job.view)(), Lent(&mut self.target), job.selection, about, from, job.limit, false);
        show.first = self.first;
        let mut buffer = Vec::new();
        let mut begin = begin;
        let trouble = loop {
            let stop = job.reader.read(begin, Lsn::MAX, &mut show, &mut buffer, job.cancelled);
            if stop.last.is_valid() {
                self.last = stop.last;
            }
            let at_end = matches!(stop.trouble, Some(Trouble::Invalid { .. }));
            let again = job.follow && at_end && !show.enough && show.first.is_some();
            if !again {
                break stop.trouble;
            }
            show.flush();
            if show.enough || wait(job.cancelled) {
                break None;
            }
            if stop.next.is_valid() {
                begin = Begin::Behind { next: stop.next, previous: stop.last };
            }
        };
        show.flush();
        self.first = show.first;
        self.broken += show.broken;
        let view = show.view;
        self.count(view);
        trouble
    }

    /// Several readers take stretches in turn; what they wrote is put in order, and the seams are checked. Where a
    /// seam does not fit, one reader goes on from the last record that is certain.
    fn in_parallel(&mut self) -> Option<Trouble> {
        let job = self.job;
        let (written, over) = (AtomicU64::new(0), AtomicBool::new(false));
        let taken = AtomicU64::new(0);
        let ahead = job.threads as u64 * 2;
        let (send, pieces) = mpsc::channel();
        let spare = Spare::default();
        thread::scope(|scope| {
            for _ in 0..job.threads {
                let send = send.clone();
                let (spare, taken, written, over) = (&spare, &taken, &written, &over);
                scope.spawn(move || {
                    let mut buffer = Vec::new();
                    while !over.load(Ordering::Acquire) {
                        let index = taken.fetch_add(1, Ordering::Relaxed);
                        while index >= written.load(Ordering::Acquire) + ahead {
                            if over.load(Ordering::Acquire) {
                                return;
                            }
                            thread::park_timeout(Duration::from_micros(200));
                        }
                        let stop_early = || over.load(Ordering::Relaxed) || (job.cancelled)();
                        if send.send(piece(job, index, spare, &mut buffer, &stop_early)).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(send);
            let result = self.in_order(&pieces, &written, &spare);
            over.store(true, Ordering::Release);
            match result {
                Ended::Finally(trouble) => trouble,
                Ended::GoOn(begin) => self.alone(begin),
            }
        })
    }

    fn in_order(&mut self, pieces: &mpsc::Receiver<Piece>, written: &AtomicU64, spare: &Spare) -> Ended {
        let job = self.job;
        let mut waiting = BTreeMap::new();
        let mut so_far: Option<Stop> = None;
        for index in 0.. {
            let mut piece = loop {
                if let Some(piece) = waiting.remove(&index) {
                    break piece;
                }
                match pieces.recv() {
                    Ok(piece) => waiting.insert(piece.index, piece),
                    Err(_) => return Ended::Finally(None),
                };
            };
            if (job.cancelled)() {
                return Ended::Finally(None);
            }
            let limit = cut(job.start, index + 1);
            let fits = match (&so_far, piece.stop.first) {
                (None, _) => true,
                // one long record, or the padding behind a segment switch, fills the stretch
                (Some(before), None) if before.next >= limit => {
                    written.fetch_add(1, Ordering::Release);
                    continue;
                }
                (Some(before), Some(first)) => first == (before.next, before.last),
                (Some(_), None) => false,
            };
            let go_on = |stop: &Stop| {
                if stop.next.is_valid() {
                    Begin::Behind { next: stop.next, previous: stop.last }
                } else {
                    Begin::Page(job.start.page_start())
                }
            };
            if let Some(before) = so_far.as_ref().filter(|_| !fits) {
                return Ended::GoOn(go_on(before));
            }
            if so_far.is_none() && piece.first.is_none() {
                return Ended::GoOn(Begin::Page(job.start.page_start()));
            }
            if self.first.is_none()
                && let Some(first) = piece.first
            {
                self.first = Some(first);
                self.target.found(first);
            }
            self.last = piece.stop.last;
            self.broken += piece.broken;
            if let Some(buffer) = piece.view.buffer()
                && !buffer.is_empty()
                && !self.target.write(buffer)
            {
                return Ended::Finally(None);
            }
            match piece.view {
                View::Stats(_) => self.count(piece.view),
                emptied => spare.put(emptied),
            }
            if piece.stop.trouble.is_some() {
                return Ended::Finally(piece.stop.trouble);
            }
            if job.reader.end.is_some_and(|end| limit >= end) {
                return Ended::Finally(None);
            }
            so_far = Some(piece.stop);
            written.fetch_add(1, Ordering::Release);
        }
        Ended::Finally(None)
    }
}

enum Ended {
    Finally(Option<Trouble>),
    /// One reader has to go on from here.
    GoOn(Begin),
}

/// Where stretch `index` begins; the first one at the page of `start`.
fn cut(start: Lsn, index: u64) -> Lsn {
    match index {
        0 => start.page_start(),
        _ => Lsn((start.0 / STRETCH).saturating_add(index).saturating_mul(STRETCH)),
    }
}

fn piece(
    job: &Job<'_>,
    index: u64,
    spare: &Spare,
    buffer: &mut Vec<u8>,
    cancelled: &dyn Fn() -> bool,
) -> Piece {
    let format = job.reader.format;
    let about = (format.major, format.segment_size);
    let from = if index == 0 { job.start } else { Lsn::INVALID };
    let view = spare.take().unwrap_or_else(job.view);
    let mut show = Show::new(view, Kept, job.selection, about, from, None, true);
    let (begin, limit) = (cut(job.start, index), cut(job.start, index + 1));
    let stop = job.reader.read(Begin::Page(begin), limit, &mut show, buffer, cancelled);
    Piece { index, stop, first: show.first, broken: show.broken, view: show.view }
}

/// Sleeps a second; true if the user wants to stop.
fn wait(cancelled: &dyn Fn() -> bool) -> bool {
    const STEPS: u32 = 20;
    for _ in 0..STEPS {
        if cancelled() {
            return true;
        }
        thread::sleep(NAP / STEPS);
    }
    cancelled()
}
