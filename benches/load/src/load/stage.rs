//! The clock and the phase that all threads of a run share. The leader changes the phase; workers look at it
//! after each read.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    /// Workers work, but nothing is recorded.
    WarmUp = 0,
    /// Latencies are recorded.
    Measure = 1,
    /// Producers stop, and end when everything is confirmed. Consumers go on.
    Drain = 2,
    /// Consumers end.
    End = 3,
}

#[derive(Debug)]
pub(crate) struct Stage {
    epoch: Instant,
    phase: AtomicU8,
    start: Barrier,
}

impl Stage {
    /// `workers` is the number of threads beside the leader.
    pub(crate) fn new(workers: usize) -> Stage {
        Stage {
            epoch: Instant::now(),
            phase: AtomicU8::new(Phase::WarmUp as u8),
            start: Barrier::new(workers + 1),
        }
    }

    /// Waits until the leader and all workers are ready.
    pub(crate) fn await_start(&self) {
        self.start.wait();
    }

    /// Nanoseconds since the beginning of the run.
    pub(crate) fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            2 => Phase::Drain,
            _ => Phase::End,
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}
