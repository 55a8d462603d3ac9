//! A process of a simulation: what keeps it from going on, and its clock.

use std::time::Duration;

/// A clock that goes right goes so fast, in parts per million.
pub(super) const PPM: u64 = 1_000_000;

/// A process of the simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process(pub(super) u64);

#[derive(Debug)]
pub(super) struct Running {
    pub(super) is_paused: bool,
    /// Its blocking work goes on after this time.
    pub(super) stalled_until: Duration,
    /// What its clock shows, and when it showed that, and how fast it goes since then, in parts per million.
    shown: Duration,
    at: Duration,
    pub(super) rate: u64,
    /// Since when its machine sleeps: its clock stands still. And how long it has slept before.
    sleeps_since: Option<Duration>,
    slept: Duration,
}

impl Running {
    pub(super) fn new(now: Duration) -> Running {
        Running {
            is_paused: false,
            stalled_until: Duration::ZERO,
            shown: now,
            at: now,
            rate: PPM,
            sleeps_since: None,
            slept: Duration::ZERO,
        }
    }

    /// Its machine sleeps from now on.
    pub(super) fn fall_asleep(&mut self, now: Duration) {
        self.sleeps_since.get_or_insert(now);
    }

    pub(super) fn clock(&self, now: Duration) -> Duration {
        let now = self.sleeps_since.unwrap_or(now);
        self.shown + scaled(now.saturating_sub(self.at), self.rate, PPM)
    }

    /// The clock shows this from now on.
    pub(super) fn set(&mut self, now: Duration, rate: u64) {
        self.shown = self.clock(now);
        self.at = now;
        self.rate = rate;
    }

    pub(super) fn slept(&self, now: Duration) -> Duration {
        self.slept
            + self
                .sleeps_since
                .map_or(Duration::ZERO, |since| now - since)
    }

    pub(super) fn wake_up(&mut self, now: Duration) {
        self.slept = self.slept(now);
        self.set(now, self.rate);
        self.sleeps_since = None;
    }
}

pub(super) fn scaled(time: Duration, times: u64, by: u64) -> Duration {
    let nanos = time.as_nanos() * u128::from(times) / u128::from(by);
    Duration::from_nanos(u64::try_from(nanos).unwrap())
}
