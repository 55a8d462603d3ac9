//! Requests that were seen: the same signed request is not carried out twice while its time stamp would still be
//! accepted. Whole signatures are remembered rather than nonces, since honest clients draw those from few numbers.

use std::collections::HashSet;
use std::mem;

use parking_lot::Mutex;

use super::signature::Verified;

/// The signatures of late, in two generations: the older is forgotten when the younger is full or old enough.
#[derive(Debug)]
pub(crate) struct Replays {
    generations: Mutex<Generations>,
    /// Signatures of one generation at most.
    each_max: usize,
    /// How long a generation grows, in milliseconds.
    each_ms: u64,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
    since_ms: u64,
}

impl Replays {
    /// Remembers for `window_ms` at least, unless more than half of `max` come in that time. With 0 it remembers nothing.
    pub(crate) fn new(max: usize, window_ms: u64) -> Replays {
        Replays {
            generations: Mutex::default(),
            each_max: max / 2,
            each_ms: window_ms,
        }
    }

    /// Whether this signature is new; it is remembered. Only of signatures that are right: nobody else may fill this.
    pub(crate) fn is_new(&self, signature: Verified, now_ms: u64) -> bool {
        if self.each_max == 0 {
            return true;
        }
        let mut generations = self.generations.lock();
        let Generations {
            young,
            old,
            since_ms,
        } = &mut *generations;
        if young.len() >= self.each_max || now_ms.saturating_sub(*since_ms) > self.each_ms {
            mem::swap(young, old);
            young.clear();
            *since_ms = now_ms;
        }
        !old.contains(&signature.0) && young.insert(signature.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_new_once_within_the_window() {
        let replays = Replays::new(100, 1000);
        assert!(replays.is_new(Verified(1), 10_000));
        assert!(!replays.is_new(Verified(1), 10_000));
        assert!(replays.is_new(Verified(2), 10_500));
        assert!(!replays.is_new(Verified(2), 11_400));
        assert!(!replays.is_new(Verified(2), 11_500));
        assert!(replays.is_new(Verified(1), 14_000));
        assert!(replays.is_new(Verified(3), 16_000) && replays.is_new(Verified(2), 16_000));
    }

    #[test]
    fn memory_has_a_bound() {
        let replays = Replays::new(100, u64::MAX);
        for signature in 0..10_000 {
            assert!(replays.is_new(Verified(signature), 1));
        }
        let generations = replays.generations.lock();
        assert!(generations.young.len() <= 50 && generations.old.len() <= 50);
        drop(generations);
        assert!(!replays.is_new(Verified(9_999), 1) && !replays.is_new(Verified(9_950), 1));
    }

    #[test]
    fn none_are_remembered_if_none_may_be() {
        let replays = Replays::new(0, 1000);
        assert!(replays.is_new(Verified(1), 0) && replays.is_new(Verified(1), 0));
    }
}
