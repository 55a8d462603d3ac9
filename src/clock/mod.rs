//! The only reader of the clocks. All other code gets the time as an argument, or asks here.
//!
//! A broker has a *time line* of its own, in milliseconds. It is never set and never goes back. In a new data
//! directory it begins at wall-clock time; from then on it advances with the time since the machine booted.
//! Deadlines and enqueue times are moments of that line, in memory and on disk. Clients and operators send
//! and see wall-clock time, which is translated where it enters and leaves, by the current distance between
//! wall clock and line. So a change of the wall clock changes the times that clients see, and nothing else.
//!
//! An [`Anchor`] on disk carries the line over a restart. Within one boot the line continues exactly,
//! whatever the wall clock did meanwhile. After a reboot only the wall clock tells how long the broker was
//! down; the line follows it, but never goes back.

mod mandate; // until when a leader may answer
mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use mandate::{Holds, Mandate, Until};
pub use source::{Settable, Source, System};

const NS_PER_MS: u64 = 1_000_000;
/// Minimum change that counts as setting the wall clock. Smaller ones come from reading two clocks one after
/// the other.
const STEP_MS: u64 = 5;
/// Maximum time between two readings that are compared, and the number of attempts to get two such readings.
const CLOSE_NS: u64 = NS_PER_MS / 2;
const READINGS_MAX: usize = 5;

/// Monotonic time, for deadlines and durations that do not outlive the process.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A moment of a broker's time line. [`Clock::wall_ms_at`] returns the wall-clock time that clients see for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment `ms` milliseconds from the line's beginning.
    pub fn from_ms(ms: u64) -> Moment {
        Moment(ms)
    }

    /// Its distance from the line's beginning, in milliseconds.
    pub fn ms(self) -> u64 {
        self.0
    }
}

/// The position of a time line relative to the clocks of a machine. A restart reads it to continue the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The id of the boot that the anchor belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<Arc<str>>,
    /// Distance of the line ahead of the time since that boot.
    line_ahead_ns: i64,
    /// Distance of the wall clock ahead of the line.
    wall_ahead_ms: i64,
    /// The latest recorded point of the line.
    line_ns: u64,
}

impl Anchor {
    /// Distance of the wall clock ahead of the line, in milliseconds.
    pub fn wall_ahead_ms(&self) -> i64 {
        self.wall_ahead_ms
    }

    /// Whether both place the line alike. Ignores the recorded points.
    pub fn places_as(&self, other: &Anchor) -> bool {
        (&self.boot, self.line_ahead_ns, self.wall_ahead_ms)
            == (&other.boot, other.line_ahead_ns, other.wall_ahead_ms)
    }

    /// The point of the line for these readings.
    fn line_at(&self, boot: Option<&str>, since_boot_ns: u64, wall_ns: u64) -> u64 {
        let is_same_boot = boot.is_some() && boot == self.boot.as_deref();
        let by_boot = since_boot_ns.saturating_add_signed(self.line_ahead_ns);
        if is_same_boot && by_boot >= self.line_ns {
            return by_boot;
        }
        let behind_ns = self
            .wall_ahead_ms
            .saturating_mul(-(NS_PER_MS.cast_signed()));
        wall_ns.saturating_add_signed(behind_ns).max(self.line_ns)
    }
}

#[derive(Debug)]
pub struct Clock {
    source: Arc<dyn Source>,
    boot: Option<Arc<str>>,
    line_ahead_ns: i64,
    /// The distance at the last comparison.
    wall_ahead_ms: AtomicI64,
}

impl Clock {
    /// Continues the line of `anchor`; without one a line begins at wall-clock time.
    pub fn start(source: Arc<dyn Source>, anchor: Option<&Anchor>) -> Clock {
        let boot = source.boot();
        let (since_boot_ns, wall_ns) = (source.since_boot_ns(), source.wall_ns());
        let line_ns = anchor.map_or(wall_ns, |anchor| {
            anchor.line_at(boot.as_deref(), since_boot_ns, wall_ns)
        });
        let known = anchor.map_or(0, |anchor| anchor.wall_ahead_ms);
        Clock {
            source,
            boot,
            line_ahead_ns: difference(line_ns, since_boot_ns),
            wall_ahead_ms: AtomicI64::new(known),
        }
    }

    /// The current point of the time line, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ns() / NS_PER_MS
    }

    pub fn now(&self) -> Moment {
        Moment(self.now_ms())
    }

    /// The wall clock, in milliseconds since the Unix epoch: to show it, or to compare it with times from
    /// clients. Never for a deadline.
    pub fn wall_ms(&self) -> u64 {
        self.source.wall_ns() / NS_PER_MS
    }

    /// The wall-clock time of a moment by the wall clock's current setting, in milliseconds since the Unix
    /// epoch.
    pub fn wall_ms_at(&self, moment: Moment) -> u64 {
        moment.0.saturating_add_signed(self.wall_ahead_ms())
    }

    /// The moment of a wall-clock time by the wall clock's current setting.
    pub fn moment_of(&self, wall_ms: u64) -> Moment {
        Moment(wall_ms.saturating_add_signed(self.wall_ahead_ms().saturating_neg()))
    }

    /// The anchor that a restart needs.
    pub fn anchor(&self) -> Anchor {
        Anchor {
            boot: self.boot.clone(),
            line_ahead_ns: self.line_ahead_ns,
            wall_ahead_ms: self.wall_ahead_ms(),
            line_ns: self.now_ns(),
        }
    }

    /// Distance of the wall clock ahead of the line. Changes only when the wall clock is set, so that clients
    /// always see the same time for a moment.
    fn wall_ahead_ms(&self) -> i64 {
        let known = self.wall_ahead_ms.load(Ordering::Relaxed);
        match self.compare() {
            Some(found) if found.abs_diff(known) >= STEP_MS => {
                self.wall_ahead_ms.store(found, Ordering::Relaxed);
                found
            }
            Some(_) | None => known,
        }
    }

    /// Compares the clocks; `None` if each attempt was interrupted between its readings.
    fn compare(&self) -> Option<i64> {
        (0..READINGS_MAX).find_map(|_| {
            let before_ns = self.now_ns();
            let wall_ns = self.source.wall_ns();
            let after_ns = self.now_ns();
            (after_ns - before_ns <= CLOSE_NS).then(|| {
                let ahead_ns = difference(wall_ns, before_ns);
                let (ms, half) = (NS_PER_MS.cast_signed(), (NS_PER_MS / 2).cast_signed());
                ahead_ns.saturating_add(half).div_euclid(ms)
            })
        })
    }

    fn now_ns(&self) -> u64 {
        let since_boot_ns = self.source.since_boot_ns();
        since_boot_ns.saturating_add_signed(self.line_ahead_ns)
    }
}

impl Default for Clock {
    /// A new line that begins now, on this machine's clocks.
    fn default() -> Clock {
        Clock::start(Arc::new(System), None)
    }
}

/// Distance of `a` ahead of `b`.
fn difference(a: u64, b: u64) -> i64 {
    let magnitude = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { magnitude } else { -magnitude }
}
