//! Failed reads of a queue, by place in its logs.

use std::collections::BTreeMap;

use crate::model::LogId;

/// Maximum number of attempts to read messages, before the queue goes on without them.
const TRIES: u32 = 3;
/// Maximum number of places to remember for one queue.
const PLACES_MAX: usize = 64;

/// Failed reads, by place.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct Tries(BTreeMap<(LogId, u64), Place>);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// How often it has failed.
    failed: u32,
    /// The message there was not in the store yet when it was read first, and is now.
    is_written: bool,
}

impl Tries {
    /// Counts a failure to read here. True if the read should be tried again.
    pub(super) fn again(&mut self, log: LogId, first: u64) -> bool {
        let place = self.place(log, first);
        place.failed += 1;
        let again = place.failed < TRIES;
        if !again {
            self.0.remove(&(log, first));
        }
        again
    }

    fn place(&mut self, log: LogId, first: u64) -> &mut Place {
        if self.0.len() >= PLACES_MAX {
            self.0.clear(); // most of these reads succeeded long ago
        }
        self.0.entry((log, first)).or_default()
    }

    /// Whether the queue has waited until the message here is in the store.
    pub(super) fn is_written(&self, log: LogId, first: u64) -> bool {
        let place = self.0.get(&(log, first));
        place.is_some_and(|place| place.is_written)
    }

    /// The store has everything that was enqueued when the message here was missing.
    pub(super) fn note_written(&mut self, log: LogId, first: u64) {
        self.place(log, first).is_written = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_up_after_some_tries() {
        let mut tries = Tries::default();
        let log = LogId(5);
        assert!(tries.again(log, 7) && tries.again(log, 7) && tries.again(log, 8));
        assert!(!tries.again(log, 7));
        assert!(tries.again(log, 7), "counted anew");
        for first in 0..2 * PLACES_MAX as u64 {
            tries.again(log, first);
            assert!(tries.0.len() <= PLACES_MAX);
        }
    }
}
