//! Numbers of a running pump that others read: written once per round, without a lock.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// How many messages a shovel has moved so far, over all of its connections.
#[derive(Debug, Default)]
pub struct Progress {
    forwarded: AtomicU64,
    confirmed: AtomicU64,
    redelivered: AtomicU64,
    refused: AtomicU64,
    unconfirmed: AtomicU64,
    /// 0 is none: these are stored plus one.
    settled_mark: AtomicU64,
    remaining: AtomicU64,
    blocked: AtomicBool,
}

/// The numbers at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Messages published at the destination, including those that were published again.
    pub forwarded: u64,
    /// Messages that the destination has, as far as the ack mode tells.
    pub confirmed: u64,
    /// Published messages that the source had delivered before.
    pub redelivered: u64,
    /// Messages that the destination refused and the source took back.
    pub refused: u64,
    /// Published messages without a confirm.
    pub unconfirmed: u64,
    /// The mark of the last message before the first that has no confirm; see
    /// [`super::in_flight::InFlight::settled_mark`].
    pub settled_mark: Option<u64>,
    /// Messages until the pump is complete, if it will be.
    pub remaining: Option<u64>,
    /// The destination has asked its publishers to wait.
    pub is_blocked: bool,
}

impl Progress {
    pub fn numbers(&self) -> Numbers {
        Numbers {
            forwarded: self.forwarded.load(Relaxed),
            confirmed: self.confirmed.load(Relaxed),
            redelivered: self.redelivered.load(Relaxed),
            refused: self.refused.load(Relaxed),
            unconfirmed: self.unconfirmed.load(Relaxed),
            settled_mark: self.settled_mark.load(Relaxed).checked_sub(1),
            remaining: self.remaining.load(Relaxed).checked_sub(1),
            is_blocked: self.blocked.load(Relaxed),
        }
    }

    pub(super) fn set(&self, numbers: Numbers) {
        self.forwarded.store(numbers.forwarded, Relaxed);
        self.confirmed.store(numbers.confirmed, Relaxed);
        self.redelivered.store(numbers.redelivered, Relaxed);
        self.refused.store(numbers.refused, Relaxed);
        self.unconfirmed.store(numbers.unconfirmed, Relaxed);
        for (stored, number) in [
            (&self.settled_mark, numbers.settled_mark),
            (&self.remaining, numbers.remaining),
        ] {
            stored.store(number.map_or(0, |number| number + 1), Relaxed);
        }
        self.blocked.store(numbers.is_blocked, Relaxed);
    }
}
