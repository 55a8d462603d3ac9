//! Remembers the signatures of requests (`cmq-replay-memory`), so that a copied request is not carried out while its time
//! stamp is still accepted. It remembers whole signatures instead of nonces; still, honest clients that draw nonces from
//! few numbers sign two equal requests of one second alike.

use std::collections::{HashMap, HashSet};
use std::mem;

use parking_lot::Mutex;

use super::signature::Verified;
use crate::model::Name;

/// The signatures of each key, in two generations: the old one is forgotten when the young one is full or old enough.
#[derive(Debug)]
pub(crate) struct Replays {
    by_key: Mutex<HashMap<Name, Generations>>,
    /// Maximum number of signatures in one generation of a key.
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
    /// Remembers a signature for `window_ms` at least, unless the key makes more than half of `max` in that time. With a
    /// `max` of 0 it remembers nothing.
    pub(crate) fn new(max: usize, window_ms: u64) -> Replays {
        Replays {
            by_key: Mutex::default(),
            each_max: max / 2,
            each_ms: window_ms,
        }
    }

    /// Whether this signature of a key is new; remembers it. Takes only right signatures, so that strangers cannot fill the
    /// memory.
    pub(crate) fn is_new(&self, key: &Name, signature: Verified, now_ms: u64) -> bool {
        if self.each_max == 0 {
            return true;
        }
        let mut by_key = self.by_key.lock();
        if !by_key.contains_key(key) {
            // Forgets keys that were not used for long.
            let patience = self.each_ms.saturating_mul(2);
            by_key.retain(|_, of| now_ms.saturating_sub(of.since_ms) <= patience);
        }
        let Generations {
            young,
            old,
            since_ms,
        } = by_key.entry(key.clone()).or_default();
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

    fn key() -> Name {
        "AKIDone".into()
    }

    #[test]
    fn a_signature_is_new_once_within_the_window() {
        let replays = Replays::new(100, 1000);
        assert!(replays.is_new(&key(), Verified(1), 10_000));
        assert!(!replays.is_new(&key(), Verified(1), 10_000));
        assert!(replays.is_new(&key(), Verified(2), 10_500));
        assert!(!replays.is_new(&key(), Verified(2), 11_400));
        assert!(!replays.is_new(&key(), Verified(2), 11_500));
        assert!(replays.is_new(&key(), Verified(1), 14_000));
        assert!(
            replays.is_new(&key(), Verified(3), 16_000)
                && replays.is_new(&key(), Verified(2), 16_000)
        );
    }

    #[test]
    fn memory_is_bounded() {
        let replays = Replays::new(100, u64::MAX);
        for signature in 0..10_000 {
            assert!(replays.is_new(&key(), Verified(signature), 1));
        }
        // Each key has a memory of its own.
        assert!(replays.is_new(&"AKIDother".into(), Verified(9_999), 1));
        let by_key = replays.by_key.lock();
        let generations = by_key.get(&key()).unwrap();
        assert!(generations.young.len() <= 50 && generations.old.len() <= 50);
        drop(by_key);
        assert!(
            !replays.is_new(&key(), Verified(9_999), 1)
                && !replays.is_new(&key(), Verified(9_950), 1)
        );
    }

    #[test]
    fn unused_keys_are_forgotten() {
        let replays = Replays::new(100, 1000);
        for key in 0..50_u64 {
            assert!(replays.is_new(&key.to_string().into(), Verified(1), key * 1000));
        }
        assert!(replays.by_key.lock().len() <= 4);
    }

    #[test]
    fn without_memory_every_signature_is_new() {
        let replays = Replays::new(0, 1000);
        assert!(replays.is_new(&key(), Verified(1), 0) && replays.is_new(&key(), Verified(1), 0));
    }
}
