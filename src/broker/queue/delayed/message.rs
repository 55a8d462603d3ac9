//! One delayed message: when it is due, and the message while it is resident.

use std::sync::Arc;

use crate::model::Message;

/// Memory that a resident message takes besides its bytes.
pub(super) const RESIDENT_OVERHEAD: u64 = 256;

/// When a message is due, and its offset in the log. Ordered as the messages leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due {
    /// On the broker's time line.
    pub(super) at_ms: u64,
    pub(super) offset: u64,
}

/// A resident message.
pub(super) struct DelayedMessage {
    pub(super) message: Arc<Message>,
    /// It was read from the log, so it lies well enough there. False for a message that was just published.
    pub(super) in_place: bool,
}

/// How far the clocks of two nodes of a set may be apart, and one clock over a reboot.
const CLOCKS_APART_MS: u64 = 1_000;

/// What a start found: the messages below an offset, at a time.
#[derive(Clone, Copy, Default)]
pub(super) struct Recovered {
    pub(super) below: u64,
    pub(super) at_ms: u64,
}

impl Recovered {
    /// Whether the message may have been handed out before the start: it was due, and a crash forgets that it moved to
    /// its lane if no batch had that yet.
    pub(super) fn may_have_handed_out(self, due: Due) -> bool {
        due.offset < self.below && due.at_ms <= self.at_ms.saturating_add(CLOCKS_APART_MS)
    }
}

/// Bytes that a resident message counts for.
pub(super) fn weight(message: &Message) -> u64 {
    message.size() as u64 + RESIDENT_OVERHEAD
}

/// When a message is due that was enqueued at `enqueued_ms`.
pub(super) fn due_ms(enqueued_ms: u64, message: &Message) -> u64 {
    enqueued_ms.saturating_add(message.delay_ms.unwrap_or(0))
}
