//! What the threads of a run share: its clock, its phase, and a meter each. One thread leads; the workers look at the
//! phase whenever they have read from their sockets.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::process;

/// Where a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    /// Everyone works, nothing is recorded.
    WarmUp = 0,
    /// Latencies are recorded.
    Measure = 1,
    /// Producers send no more, and end when all is confirmed; consumers go on.
    Drain = 2,
    /// Consumers end.
    End = 3,
}

/// The stage that all threads of a run stand on.
#[derive(Debug)]
pub(super) struct Stage {
    epoch: Instant,
    phase: AtomicU8,
    start: Barrier,
}

impl Stage {
    /// For a leader and so many workers.
    pub(super) fn new(workers: usize) -> Stage {
        Stage {
            epoch: Instant::now(),
            phase: AtomicU8::new(Phase::WarmUp as u8),
            start: Barrier::new(workers + 1),
        }
    }

    /// Waits until the leader and all workers are here.
    pub(super) fn await_start(&self) {
        self.start.wait();
    }

    /// The clock of the run: nanoseconds, the same for all its threads.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(super) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::WarmUp,
            1 => Phase::Measure,
            2 => Phase::Drain,
            _ => Phase::End,
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }
}

/// What one worker has done. Only the worker writes; on a cache line of its own, so that writing is cheap.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Meter {
    /// Messages confirmed (sent, if there are no confirms).
    pub(super) published: Counter,
    /// Messages delivered.
    pub(super) received: Counter,
    /// When something was last published or received, on the stage's clock.
    pub(super) last_ns: Counter,
    sending: Thread,
    receiving: Thread,
}

/// Which of a worker's threads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    /// The thread that writes to the socket.
    Sending,
    /// The thread that reads from the socket, if it is another one.
    Receiving,
}

/// A thread whose CPU time is wanted.
#[derive(Debug, Default)]
struct Thread {
    id: AtomicU32,
    /// What it had used when it ended.
    final_us: AtomicU64,
}

impl Meter {
    /// Called by a worker's thread when it starts. The thread is measured until the return value is dropped.
    pub(super) fn sign_in(&self, side: Side) -> SignedIn<'_> {
        let thread = self.thread(side);
        thread
            .id
            .store(process::thread_id().unwrap_or(0), Ordering::Relaxed);
        SignedIn(thread)
    }

    /// CPU seconds of the busier and of the idler thread.
    pub(super) fn cpu_seconds(&self) -> (f64, f64) {
        let (one, other) = (self.sending.cpu_seconds(), self.receiving.cpu_seconds());
        (one.max(other), one.min(other))
    }

    fn thread(&self, side: Side) -> &Thread {
        match side {
            Side::Sending => &self.sending,
            Side::Receiving => &self.receiving,
        }
    }
}

impl Thread {
    fn cpu_seconds(&self) -> f64 {
        let ended = Duration::from_micros(self.final_us.load(Ordering::Relaxed));
        if ended > Duration::ZERO {
            return ended.as_secs_f64();
        }
        process::thread_cpu_seconds(self.id.load(Ordering::Relaxed)).unwrap_or(0.0)
    }
}

/// A thread that is being measured.
#[derive(Debug)]
pub(super) struct SignedIn<'a>(&'a Thread);

impl Drop for SignedIn<'_> {
    /// `/proc` forgets a thread when it ends, so it leaves its CPU time behind.
    fn drop(&mut self) {
        let used = Duration::from_secs_f64(self.0.cpu_seconds()).as_micros();
        self.0
            .final_us
            .store(u64::try_from(used).unwrap_or(0), Ordering::Relaxed);
    }
}

/// A number with one writer and any readers.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(super) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }
}
