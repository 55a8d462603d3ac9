//! Counts of what happened lately, in bounded memory: they halve with time, and when there are too many. Pure.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

/// Maximum number of keys with a count.
const COUNTS_MAX: usize = 8 * 1024;

/// A count for each key.
#[derive(Debug)]
pub(super) struct Recent<K> {
    counts: HashMap<K, u32>,
    halves_after: Duration,
    halved: Option<Instant>,
}

impl<K: Eq + Hash + Clone> Recent<K> {
    /// Counts halve each time that `halves_after` has passed.
    pub(super) fn new(halves_after: Duration) -> Recent<K> {
        Recent {
            counts: HashMap::new(),
            halves_after,
            halved: None,
        }
    }

    /// The count of a key, as of the last addition.
    pub(super) fn of(&self, key: &K) -> u32 {
        self.counts.get(key).copied().unwrap_or(0)
    }

    /// Makes the counts those of `now`.
    pub(super) fn age(&mut self, now: Instant) {
        let halved = *self.halved.get_or_insert(now);
        let passed = now.saturating_duration_since(halved).as_millis();
        let halves_after = self.halves_after.as_millis().max(1);
        let times = u32::try_from(passed / halves_after).unwrap_or(u32::MAX);
        if times > 0 {
            self.halved = Some(now);
            self.halve(times);
        }
    }

    pub(super) fn add(&mut self, key: &K, now: Instant) {
        self.age(now);
        if self.counts.len() >= COUNTS_MAX {
            self.halve(1);
        }
        if self.counts.len() < COUNTS_MAX || self.counts.contains_key(key) {
            let count = self.counts.entry(key.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    pub(super) fn remove(&mut self, key: &K) {
        self.counts.remove(key);
    }

    fn halve(&mut self, times: u32) {
        self.counts.retain(|_, count| {
            *count = count.checked_shr(times).unwrap_or(0);
            *count > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const HALVES_AFTER: Duration = Duration::from_secs(10);

    #[test]
    fn counts_halve_with_time() {
        let now = clock::monotonic();
        let mut recent = Recent::new(HALVES_AFTER);
        for _ in 0..8 {
            recent.add(&"a", now);
        }
        for (secs, count) in [(0, 8), (9, 8), (10, 4), (19, 4), (30, 1), (40, 0)] {
            recent.age(now + Duration::from_secs(secs));
            assert_eq!(recent.of(&"a"), count, "after {secs} s");
        }
        assert!(recent.counts.is_empty());
        recent.add(&"a", now + Duration::from_secs(41));
        recent.remove(&"a");
        assert_eq!(recent.of(&"a"), 0);
    }

    #[test]
    fn counts_are_bounded_and_the_largest_stay() {
        let now = clock::monotonic();
        let mut recent = Recent::new(HALVES_AFTER);
        for _ in 0..1000 {
            recent.add(&usize::MAX, now);
        }
        for key in 0..3 * COUNTS_MAX {
            recent.add(&key, now);
            assert!(recent.counts.len() <= COUNTS_MAX);
        }
        assert!(recent.of(&usize::MAX) > 0);
    }
}
