//! Why messages come back to a queue, and their order in a quorum queue: they go before all others, in the
//! order in which they came back. In classic queues, and in all queues after a restart, a returned message has
//! its old position. Knows leases only; the lanes know whether a message still waits.

use std::collections::VecDeque;

use crate::model::Lease;

/// Why a message returns to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// The client requeued it by basic.nack or basic.recover.
    Refused,
    /// Its lease reached its deadline (`x-visibility-timeout`).
    TimedOut,
    /// Its consumer has not answered in time (`x-consumer-timeout`).
    ConsumerTimedOut,
    /// The client requeued it by basic.reject, or its channel has ended.
    Failed,
}

impl Return {
    /// Whether the delivery has failed.
    pub(super) fn is_failure(self) -> bool {
        match self {
            Return::Refused | Return::ConsumerTimedOut => false,
            Return::TimedOut | Return::Failed => true,
        }
    }
}

/// The returned messages of one queue, each named by its next lease. Entries of messages that wait no more
/// are dropped when they come to the front.
#[derive(Debug, Default)]
pub(super) struct Returns {
    entries: VecDeque<Lease>,
}

impl Returns {
    pub(super) fn push(&mut self, next: Lease) {
        self.entries.push_back(next);
    }

    /// The result of `look` for the first message that waits.
    pub(super) fn first<T>(&mut self, mut look: impl FnMut(Lease) -> Option<T>) -> Option<T> {
        while let Some(next) = self.entries.front().copied() {
            if let Some(found) = look(next) {
                return Some(found);
            }
            self.entries.pop_front();
            if self.entries.is_empty() {
                self.entries = VecDeque::new();
            }
        }
        None
    }

    pub(super) fn clear(&mut self) {
        *self = Returns::default();
    }
}
