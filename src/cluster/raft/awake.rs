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
/// Readings in one look, if each was interrupted.
const READINGS_MAX: usize = 5;

/// Readings of the clocks, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    /// The time since the machine booted, which counts through a sleep.
    pub(super) before: Duration,
    /// Raft's clock.
    pub(super) now: Moment,
    /// The time since the machine booted once more.
    pub(super) after: Duration,
}

/// Compares the time since the machine booted with Raft's.
#[derive(Debug, Default)]
pub(super) struct Awake {
    last: Option<Reading>,
    /// When the machine was first seen to be awake again.
    woke: Option<Moment>,
}

impl Reading {
    fn is_close(&self) -> bool {
        self.after.saturating_sub(self.before) <= CLOSE
    }

    fn is_after_sleep(&self, last: &Reading) -> bool {
        let passed = self.now.saturating_duration_since(last.now);
        self.before.saturating_sub(last.before) > passed + ASLEEP_MIN
    }
}

impl Awake {
    /// Looks at the clocks. Returns the time since the machine booted when the look began. If each reading was interrupted,
    /// the machine may have slept.
    pub(super) fn look(&mut self, mut read: impl FnMut() -> Reading) -> Duration {
        let mut reading = read();
        for _ in 1..READINGS_MAX {
            if reading.is_close() {
                break;
            }
            reading = read();
        }
        let has_slept = match reading.is_close() {
            true => {
                let last = self.last.replace(reading);
                last.is_some_and(|last| reading.is_after_sleep(&last))
            }
            false => true,
        };
        if has_slept {
            self.woke = Some(reading.now);
        }
        reading.before
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

    const MS: fn(u64) -> Duration = Duration::from_millis;

    /// Readings at this time since the boot and by Raft's clock, of which the first ones took long.
    fn readings((boot, raft): (u64, Moment), interrupted: usize) -> impl FnMut() -> Reading {
        let mut count = 0;
        move || {
            count += 1;
            let took = if count > interrupted { 3 } else { 2_000 };
            Reading {
                before: MS(boot),
                now: raft,
                after: MS(boot) + Duration::from_micros(took),
            }
        }
    }

    #[test]
    fn nothing_counts_that_was_heard_before_a_sleep() {
        let begin = Group::now();
        let heard = begin + MS(50);
        // Interrupted readings tell nothing: a later one does.
        for interrupted in [0, 1, READINGS_MAX - 1] {
            let mut awake = Awake::default();
            let mut look = |boot, raft| {
                let seen = awake.look(readings((boot, begin + MS(raft)), interrupted));
                assert_eq!(seen, MS(boot));
                awake.counts(heard)
            };
            assert!(look(1_000, 0));
            assert!(look(1_100, 100));
            assert!(look(1_203, 200), "read one after the other");
            assert!(!look(61_300, 300), "it has slept for a minute");
            assert!(!look(61_400, 400));
            assert!(awake.counts(begin + MS(300)));
            assert!(!awake.counts(begin + MS(299)));
        }
    }

    #[test]
    fn nothing_counts_when_no_reading_tells_whether_it_slept() {
        let begin = Group::now();
        let mut awake = Awake::default();
        awake.look(readings((1_000, begin), 0));
        awake.look(readings((61_100, begin + MS(100)), READINGS_MAX));
        assert!(!awake.counts(begin + MS(99)));
        // The sleep shows once they are compared, also what was heard since.
        assert!(awake.counts(begin + MS(150)));
        awake.look(readings((61_200, begin + MS(200)), 0));
        assert!(!awake.counts(begin + MS(150)));
    }
}
