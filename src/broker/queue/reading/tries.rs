//! How reading has gone at single places of the logs of a queue.

use std::collections::BTreeMap;

use crate::model::LogId;

/// How often messages are tried to be read before the queue goes on without them.
const TRIES: u32 = 3;
/// Places of one queue at which reading is tried, as far as that is remembered.
const PLACES_MAX: usize = 64;

/// How reading went so far, by place.
#[derive(Debug, Default)]
pub(in crate::broker::queue) struct Tries(BTreeMap<(LogId, u64), Place>);

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    /// How often it has failed.
    failed: u32,
    /// What is to be read there was on its way to the store once, and has arrived.
    is_written: bool,
}

impl Tries {
    /// Reading has failed here; whether it is to be tried again.
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
            self.0.clear(); // of most the trouble was over long ago
        }
        self.0.entry((log, first)).or_default()
    }

    /// Whether what is to be read here has been waited for.
    pub(super) fn is_written(&self, log: LogId, first: u64) -> bool {
        let place = self.0.get(&(log, first));
        place.is_some_and(|place| place.is_written)
    }

    /// Everything that was enqueued when it was not there is in the store.
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
