//! How far a long piece of work is, seen from another thread, and the wish to stop it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Phase {
    Opening,
    Comparing,
    ScanningTarget,
    ScanningSource,
    Naming,
    Concluding,
    ReadingPages,
    Rewinding,
    Syncing,
    Verifying,
    Undoing,
    Collecting,
    Watching,
    Cloning,
}

impl Phase {
    /// In the order of their numbers.
    const ALL: [Self; 14] = [
        Self::Opening,
        Self::Comparing,
        Self::ScanningTarget,
        Self::ScanningSource,
        Self::Naming,
        Self::Concluding,
        Self::ReadingPages,
        Self::Rewinding,
        Self::Syncing,
        Self::Verifying,
        Self::Undoing,
        Self::Collecting,
        Self::Watching,
        Self::Cloning,
    ];
}

/// Shared between the engine and whoever watches it.
#[derive(Debug, Default)]
pub struct Progress {
    phase: AtomicU8,
    done: AtomicU64,
    total: AtomicU64,
    files: (AtomicU64, AtomicU64),
    cancel: Arc<AtomicBool>,
}

/// Work was stopped because the watcher asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("interrupted")]
pub struct Cancelled;

impl Progress {
    /// A progress that stops when `cancel` becomes true.
    pub fn with_cancel(cancel: Arc<AtomicBool>) -> Self {
        Self { cancel, ..Self::default() }
    }

    /// The flag itself, for work that waits for another program.
    pub fn cancel_flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancel)
    }

    /// Asks the work to stop; it does within milliseconds.
    pub fn cancel(&self) {
        self.cancel.store(true, Ordering::Relaxed);
    }

    /// To be asked between pieces of work that take milliseconds.
    ///
    /// # Errors
    /// The watcher wants the work to stop.
    pub fn check(&self) -> Result<(), Cancelled> {
        if self.cancel.load(Ordering::Relaxed) { Err(Cancelled) } else { Ok(()) }
    }

    /// A new phase of `total` bytes begins (0: unknown).
    pub fn begin(&self, phase: Phase, total: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(total, Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// So many more bytes are done.
    pub fn advance(&self, bytes: u64) {
        self.done.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes done and bytes in all of this phase (0: unknown).
    pub fn bytes(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed))
    }

    /// So many entries of so many in all are done.
    pub fn count(&self, done: u64, total: u64) {
        self.files.0.store(done, Ordering::Relaxed);
        self.files.1.store(total, Ordering::Relaxed);
    }

    /// Entries done and entries in all (0: unknown).
    pub fn counted(&self) -> (u64, u64) {
        (self.files.0.load(Ordering::Relaxed), self.files.1.load(Ordering::Relaxed))
    }

    /// The phase.
    pub fn phase(&self) -> Phase {
        let number = usize::from(self.phase.load(Ordering::Relaxed));
        Phase::ALL.get(number).copied().unwrap_or(Phase::Concluding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_told_as_it_was_begun() {
        let progress = Progress::default();
        for phase in Phase::ALL {
            progress.begin(phase, 1);
            assert_eq!(progress.phase(), phase);
        }
        assert_eq!(Phase::ALL.len(), Phase::Cloning as usize + 1);
    }
}
