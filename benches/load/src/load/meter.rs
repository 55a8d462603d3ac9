//! Counters of one worker, and the CPU time of its threads.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::Duration;

use crate::broker::{thread_cpu_seconds, thread_id};

/// Written by its worker only, and on a cache line of its own, so that writing is cheap.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Meter {
    /// Confirmed messages, or sent ones without confirms.
    pub(crate) published: Counter,
    pub(crate) received: Counter,
    /// Time of the last confirm or delivery, on the stage's clock.
    pub(crate) last_ns: Counter,
    sending: Thread,
    receiving: Thread,
}

/// A thread of a worker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Side {
    /// The thread that writes to the socket.
    Sending,
    /// Another thread, which reads from the socket.
    Receiving,
}

#[derive(Debug, Default)]
struct Thread {
    id: AtomicI32,
    /// CPU time of the thread when it ended, in us; 0 before.
    final_us: AtomicU64,
}

impl Meter {
    /// Measures the calling thread until the return value is dropped.
    pub(crate) fn sign_in(&self, side: Side) -> SignedIn<'_> {
        let thread = self.thread(side);
        thread.id.store(thread_id(), Ordering::Relaxed);
        SignedIn(thread)
    }

    /// CPU seconds of the busier and of the idler thread.
    pub(crate) fn cpu_seconds(&self) -> (f64, f64) {
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
        thread_cpu_seconds(self.id.load(Ordering::Relaxed)).unwrap_or(0.0)
    }
}

#[derive(Debug)]
pub(crate) struct SignedIn<'a>(&'a Thread);

impl Drop for SignedIn<'_> {
    /// Saves the CPU time, since `/proc` forgets a thread when it ends.
    fn drop(&mut self) {
        let used = Duration::from_secs_f64(self.0.cpu_seconds()).as_micros();
        self.0
            .final_us
            .store(u64::try_from(used).unwrap_or(0), Ordering::Relaxed);
    }
}

/// A number with one writer and many readers.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, more: u64) {
        self.set(self.get() + more);
    }
}
