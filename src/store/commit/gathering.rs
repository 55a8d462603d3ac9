//! Whether the committer waits a little for more work before it closes a batch. Pure.
//!
//! When much arrives all the time, each sync in its turn costs more than all messages in it. If work came during the
//! last sync, and more keeps coming, a pause makes one batch of many. Publishers that all wait for their confirms
//! send nothing in the pause, so it only delays them: then there are no more pauses for a while.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::clock;

/// Length of a pause.
pub(super) const GATHER_TIME: Duration = Duration::from_millis(1);
/// A batch that has more already makes no pause.
pub(super) const GATHER_BYTES: usize = 32 * 1024;
/// A pause in which less has arrived was not worthwhile.
const ARRIVALS_MIN: usize = 3;
/// Number of batches without a pause after the first one that was not worthwhile. Doubles with each.
const SKIPPED_MIN: u32 = 128;
/// How often that doubles.
const DOUBLINGS_MAX: u32 = 6;

/// The last pauses.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    /// Number of batches that come without a pause.
    skip: u32,
    /// Number of pauses in a row that were not worthwhile.
    missed: u32,
}

impl Gathering {
    /// Whether to make a pause before the next batch, for which work has come already.
    pub(super) fn may_pause(&mut self) -> bool {
        let skips = self.skip > 0;
        self.skip = self.skip.saturating_sub(1);
        !skips
    }

    /// A pause has ended in which so many publishes have arrived, the last one this time ago.
    pub(super) fn paused(&mut self, arrived: usize, quiet: Duration) {
        if arrived >= ARRIVALS_MIN && quiet < GATHER_TIME / 2 {
            self.missed = 0;
        } else {
            self.skip = SKIPPED_MIN << self.missed;
            self.missed = (self.missed + 1).min(DOUBLINGS_MAX);
        }
    }
}

/// Counts what publishers hand to queues.
#[derive(Debug)]
pub(super) struct Arrivals {
    begin: Instant,
    count: AtomicUsize,
    /// Time of the last one, in nanoseconds since `begin`.
    last: AtomicU64,
}

impl Default for Arrivals {
    fn default() -> Arrivals {
        Arrivals {
            begin: clock::monotonic(),
            count: AtomicUsize::new(0),
            last: AtomicU64::new(0),
        }
    }
}

impl Arrivals {
    pub(super) fn note(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.last.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// The time since the last one.
    pub(super) fn quiet(&self) -> Duration {
        let last = self.last.load(Ordering::Relaxed);
        Duration::from_nanos(self.now().saturating_sub(last))
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_micros(50);

    #[test]
    fn pauses_go_on_while_publishes_keep_arriving() {
        let mut gathering = Gathering::default();
        for _ in 0..1000 {
            assert!(gathering.may_pause());
            gathering.paused(10, SOON);
        }
    }

    #[test]
    fn a_pause_in_which_nothing_more_comes_is_seldom_tried_again() {
        for (arrived, quiet) in [(0, GATHER_TIME), (2, SOON), (50, GATHER_TIME / 2)] {
            let mut gathering = Gathering::default();
            let batches = 100_000;
            let mut pauses = 0;
            for _ in 0..batches {
                if gathering.may_pause() {
                    pauses += 1;
                    gathering.paused(arrived, quiet);
                }
            }
            assert!((2..30).contains(&pauses), "{pauses} of {batches}");
            while !gathering.may_pause() {}
            gathering.paused(10, SOON);
            assert!(gathering.may_pause(), "publishers have changed");
        }
    }

    #[test]
    fn arrivals_are_counted_and_timed() {
        let arrivals = Arrivals::default();
        assert_eq!(arrivals.count(), 0);
        arrivals.note();
        arrivals.note();
        assert_eq!(arrivals.count(), 2);
        assert!(arrivals.quiet() < Duration::from_secs(10));
    }
}
