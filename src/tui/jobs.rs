//! Work that takes longer than a frame: each piece on a thread of its own, cancelled by a newer one for the same place.

use std::any::Any;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crate::scan::progress::{Phase, Progress};

/// Answers that wait for the screen; a worker that is faster waits.
const BOUND: usize = 64;

/// What a piece of work is for. A new one takes the place of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Slot {
    Diagnosis,
    /// Finding where records lie, of the records view.
    Index,
    /// The records that are seen.
    Records,
    /// A search through records.
    Search,
    /// The pages of a block.
    Page,
    /// The records of a block.
    BlockRecords,
    /// The relations of a picture as a tree.
    Tree,
    Lost,
    LostSearch,
    Plan,
    /// Sorting and filtering its entries.
    PlanRows,
    PlanSearch,
    Export,
    /// The only one that writes into a data directory.
    Execution,
}

/// An answer. Each view knows the type of its own.
pub type Answer = Box<dyn Any + Send>;

/// What a piece of work has at hand.
#[derive(Debug)]
pub struct Worker {
    /// Says how far it is, and whether it is to stop.
    pub progress: Arc<Progress>,
    slot: Slot,
    generation: u64,
    send: SyncSender<Event>,
}

impl Worker {
    /// Gives an answer, perhaps one of several. False: nobody wants it any more.
    pub fn answer(&self, answer: impl Any + Send) -> bool {
        let (slot, generation) = (self.slot, self.generation);
        let told = self.send.send(Event::Answer { slot, generation, answer: Box::new(answer) });
        told.is_ok() && self.progress.check().is_ok()
    }
}

/// Work to be done.
pub struct Job {
    /// What for.
    pub slot: Slot,
    /// What is shown while it runs; empty: nothing.
    pub label: &'static str,
    /// The work.
    pub work: Box<dyn FnOnce(&Worker) + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("slot", &self.slot).field("label", &self.label).finish_non_exhaustive()
    }
}

/// What reaches the screen's thread.
pub enum Event {
    /// Keys, mouse, size.
    Terminal(crossterm::event::Event),
    /// A signal that ends the program.
    End,
    /// Somebody stopped the program from outside, or let it go on.
    Suspend,
    /// A piece of work has something to say.
    Answer {
        /// What for.
        slot: Slot,
        /// Which one of that slot.
        generation: u64,
        /// What.
        answer: Answer,
    },
    /// A piece of work ended; a text if by a bug.
    Ended {
        /// What for.
        slot: Slot,
        /// Which one of that slot.
        generation: u64,
        /// What went wrong within the program.
        bug: Option<String>,
    },
}

/// A piece of work that runs.
#[derive(Debug)]
pub struct Running {
    /// Which one of its slot.
    pub generation: u64,
    /// What is shown.
    pub label: &'static str,
    /// How far it is.
    pub progress: Arc<Progress>,
    /// When its present phase was first drawn, and how many bytes were done then.
    since: Cell<Option<(Phase, Instant, u64)>>,
}

impl Running {
    /// How long the phase will take from now on; `None` where that cannot be told yet.
    pub fn left(&self) -> Option<Duration> {
        let (done, total) = self.progress.bytes();
        let phase = self.progress.phase();
        let known = self.since.get().filter(|since| since.0 == phase || phase == Phase::Syncing);
        let since = known.unwrap_or_else(|| (phase, Instant::now(), done));
        self.since.set(Some(since));
        let (_, begin, before) = since;
        estimate(begin.elapsed(), done.checked_sub(before)?, total.checked_sub(done)?)
    }
}

/// From what was done in a time, the time for what is left.
fn estimate(took: Duration, done: u64, left: u64) -> Option<Duration> {
    const SOON: Duration = Duration::from_secs(3);
    (took >= SOON && done > 0).then(|| took.mul_f64((left as f64 / done as f64).min(1e6)))
}

/// All work.
#[derive(Debug)]
pub struct Jobs {
    running: BTreeMap<Slot, Running>,
    generation: u64,
    send: SyncSender<Event>,
    receive: Receiver<Event>,
}

impl Default for Jobs {
    fn default() -> Self {
        let (send, receive) = sync_channel(BOUND);
        Self { running: BTreeMap::new(), generation: 0, send, receive }
    }
}

impl Jobs {
    /// Where events that come from elsewhere go.
    pub fn sender(&self) -> SyncSender<Event> {
        self.send.clone()
    }

    /// Starts work; what ran in its slot is to stop, and its answers are not looked at.
    pub fn start(&mut self, job: Job) {
        self.stop(job.slot);
        self.generation += 1;
        let (slot, generation) = (job.slot, self.generation);
        let progress = Arc::new(Progress::default());
        let running =
            Running { generation, label: job.label, progress: Arc::clone(&progress), since: Cell::default() };
        self.running.insert(slot, running);
        let send = self.send.clone();
        let worker = Worker { progress, slot, generation, send: send.clone() };
        let spawned = thread::Builder::new().name(format!("{slot:?}")).spawn(move || {
            let done = panic::catch_unwind(AssertUnwindSafe(|| (job.work)(&worker)));
            let bug = done.err().map(|payload| {
                let text = payload.downcast_ref::<&str>().copied();
                let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
                text.unwrap_or("no message").to_owned()
            });
            // nobody listens after the end
            let _ = send.send(Event::Ended { slot, generation, bug });
        });
        if spawned.is_err() {
            self.running.remove(&slot);
        }
    }

    /// Asks the work of a slot to stop; nothing more comes from it.
    pub fn stop(&mut self, slot: Slot) {
        if let Some(running) = self.running.remove(&slot) {
            running.progress.cancel();
        }
    }

    /// Asks it to stop, and waits for what it says.
    pub fn ask_to_stop(&self, slot: Slot) {
        if let Some(running) = self.running.get(&slot) {
            running.progress.cancel();
        }
    }

    /// What runs.
    pub const fn running(&self) -> &BTreeMap<Slot, Running> {
        &self.running
    }

    /// The event is of work that still counts; if it says that it ended, it is forgotten.
    pub fn counts(&mut self, event: &Event) -> bool {
        match event {
            Event::Answer { slot, generation, .. } => {
                self.running.get(slot).is_some_and(|r| r.generation == *generation)
            }
            Event::Ended { slot, generation, .. } => {
                let counts = self.running.get(slot).is_some_and(|r| r.generation == *generation);
                if counts {
                    self.running.remove(slot);
                }
                counts
            }
            _ => true,
        }
    }

    /// The next event; `None` after `patience` without one.
    pub fn next(&self, patience: Duration) -> Option<Event> {
        self.receive.recv_timeout(patience).ok()
    }

    /// An event that is there already.
    pub fn at_hand(&self) -> Option<Event> {
        self.receive.try_recv().ok()
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        for running in self.running.values() {
            running.progress.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_takes_as_long_as_what_was_done() {
        let s = Duration::from_secs;
        assert_eq!(estimate(s(10), 100, 300), Some(s(30)));
        assert_eq!(estimate(s(10), 100, 0), Some(s(0)));
        assert_eq!(estimate(s(1), 100, 300), None);
        assert_eq!(estimate(s(10), 0, 300), None);
        assert!(estimate(s(10), 1, u64::MAX).is_some());
    }
}
