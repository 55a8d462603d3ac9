//! Finds that the machine was asleep: what was heard before tells nothing then. Raft's clock stands still in a sleep. Pure.

use std::time::Duration;

use openraft::Instant;
use openraft::alias::InstantOf;

use super::types::Group;

type Moment = InstantOf<Group>;

/// The clocks differ by this after a sleep. They are read one after the other, so by less without one.
const ASLEEP_MIN: Duration = Duration::from_millis(5);
/// Readings that took longer are not compared.
const CLOSE: Duration = Duration::from_millis(1);

/// Compares the time since the machine booted, which counts through a sleep, with Raft's.
#[derive(Debug, Default)]
pub(super) struct Awake {
    last: Option<(Duration, Moment)>,
    /// When the machine was first seen to be awake again.
    woke: Option<Moment>,
}

impl Awake {
    /// Takes a reading of Raft's clock, and those of the other one before and after it.
    pub(super) fn note(&mut self, before: Duration, now: Moment, after: Duration) {
        if after.saturating_sub(before) > CLOSE {
            return; // interrupted: the next reading tells
        }
        let last = self.last.replace((before, now));
        let slept = last.is_some_and(|(then, known)| {
            let passed = now.saturating_duration_since(known);
            before.saturating_sub(then) > passed + ASLEEP_MIN
        });
        if slept {
            self.woke = Some(now);
        }
    }

    /// Whether what was heard then still counts.
    pub(super) fn counts(&self, heard: Moment) -> bool {
        self.woke.is_none_or(|woke| heard >= woke)
    }
}

#[cfg(test)]
mod tests {
    use openraft::type_config::TypeConfigExt;

    use super::*;

    #[test]
    fn nothing_counts_that_was_heard_before_a_sleep() {
        let begin = Group::now();
        let ms = Duration::from_millis;
        let mut awake = Awake::default();
        let mut note = |boot, raft, took| {
            awake.note(ms(boot), begin + ms(raft), ms(boot) + took);
            awake.counts(begin + ms(50))
        };
        let quick = Duration::from_micros(3);
        assert!(note(1_000, 0, quick));
        assert!(note(1_100, 100, quick));
        assert!(note(1_203, 200, quick), "read one after the other");
        assert!(note(61_300, 300, ms(2)), "the readings were interrupted");
        assert!(!note(61_301, 301, quick), "it has slept for a minute");
        assert!(!note(61_401, 401, quick));
        assert!(awake.counts(begin + ms(301)));
        assert!(!awake.counts(begin + ms(300)));
    }
}
