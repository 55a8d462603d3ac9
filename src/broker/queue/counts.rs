//! The numbers of a queue, as listings show them.

use crate::clock::Moment;

/// Where a stream begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StreamExtent {
    /// Parts that retention drops as a whole.
    pub segments: usize,
    /// The offset of the oldest message that retention has left.
    pub first: u64,
    /// The offset that the next message will have.
    pub next: u64,
    /// When the oldest message was enqueued; `None` for an empty stream.
    pub oldest: Option<Moment>,
    /// When the newest message was enqueued.
    pub newest: Option<Moment>,
}

/// A queue's numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub ready: u64,
    pub unacked: u64,
    /// Bytes of the bodies.
    pub ready_bytes: u64,
    /// Bytes of the bodies.
    pub unacked_bytes: u64,
    pub delayed: u64,
    /// Acked messages that a rewind can bring back.
    pub rewindable: u64,
    /// Bytes of the bodies.
    pub rewindable_bytes: u64,
    /// Unreadable messages.
    pub damaged: u64,
    pub consumers: u64,
    pub resident_bytes: u64,
}

impl Counts {
    /// Whether the queue has neither ready nor delayed messages.
    pub fn is_empty(&self) -> bool {
        self.ready == 0 && self.delayed == 0
    }
}
