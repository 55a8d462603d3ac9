//! The one reader of the clocks. Everything else is given the time as an argument, or asks here.
//!
//! A broker lives on a *time line* of its own, in milliseconds, which is never set and never goes back. In a new
//! data directory it begins with the wall clock's time, so that it looks like one; from then on it goes with the time
//! since the machine was booted. Deadlines, and when messages were enqueued, are moments of that line, in memory and on
//! disk. Wall-clock time is what clients and operators say and see: it is translated where they do, by how far the
//! wall clock is ahead of the line at that time. So whatever happens to the wall clock changes what is shown, and
//! nothing else.
//!
//! An [`Anchor`] on disk takes the line over a restart. As long as the machine was not booted anew the line goes on
//! exactly, whatever the wall clock did meanwhile. After a boot only the wall clock can tell how long the broker was
//! down; it is believed, but never that it was less than no time.

mod source;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

pub use source::{Settable, Source, System};

const NS_PER_MS: u64 = 1_000_000;
/// A wall clock that moved by less against the line was not set: the two are never read at once.
const STEP_MS: u64 = 5;
/// So close together the two clocks have to be read to be compared, and so often it is tried.
const CLOSE_NS: u64 = NS_PER_MS / 2;
const READINGS_MAX: usize = 5;

/// Monotonic time, for deadlines and durations that do not outlive the process.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A moment of a broker's time line. [`Clock::wall_ms_at`] tells what clients are shown for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl Moment {
    /// The moment so many milliseconds from the line's beginning.
    pub fn from_ms(ms: u64) -> Moment {
        Moment(ms)
    }

    /// Its distance from the line's beginning, in milliseconds.
    pub fn ms(self) -> u64 {
        self.0
    }
}

/// How a time line goes with the clocks of a machine: what a restart has to know to go on with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The boot during which this holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boot: Option<Arc<str>>,
    /// How far the line is ahead of the time since that boot.
    line_ahead_ns: i64,
    /// How far the wall clock is ahead of the line.
    wall_ahead_ms: i64,
    /// The line had come so far.
    line_ns: u64,
}

impl Anchor {
    /// How far the wall clock is ahead of the line, in milliseconds.
    pub fn wall_ahead_ms(&self) -> i64 {
        self.wall_ahead_ms
    }

    /// Whether it places the line as `other` does, however far each had come.
    pub fn places_as(&self, other: &Anchor) -> bool {
        (&self.boot, self.line_ahead_ns, self.wall_ahead_ms)
            == (&other.boot, other.line_ahead_ns, other.wall_ahead_ms)
    }

    /// How far the line has come by these readings.
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

/// A broker's clock.
#[derive(Debug)]
pub struct Clock {
    source: Arc<dyn Source>,
    boot: Option<Arc<str>>,
    line_ahead_ns: i64,
    /// As it was when last looked at.
    wall_ahead_ms: AtomicI64,
}

impl Clock {
    /// Goes on with the line of `anchor`; without one a line begins with the wall clock's time.
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

    /// How far the time line has come, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.now_ns() / NS_PER_MS
    }

    /// The moment that it is.
    pub fn now(&self) -> Moment {
        Moment(self.now_ms())
    }

    /// What the wall clock shows, in milliseconds since the Unix epoch: for what is shown, or compared with what
    /// others say, and never for a deadline.
    pub fn wall_ms(&self) -> u64 {
        self.source.wall_ns() / NS_PER_MS
    }

    /// The wall-clock time of a moment as the wall clock is set now, in milliseconds since the Unix epoch.
    pub fn wall_ms_at(&self, moment: Moment) -> u64 {
        moment.0.saturating_add_signed(self.wall_ahead_ms())
    }

    /// The moment that a wall-clock time means as the wall clock is set now.
    pub fn moment_of(&self, wall_ms: u64) -> Moment {
        Moment(wall_ms.saturating_add_signed(self.wall_ahead_ms().saturating_neg()))
    }

    /// What a restart has to know.
    pub fn anchor(&self) -> Anchor {
        Anchor {
            boot: self.boot.clone(),
            line_ahead_ns: self.line_ahead_ns,
            wall_ahead_ms: self.wall_ahead_ms(),
            line_ns: self.now_ns(),
        }
    }

    /// How far the wall clock is ahead of the line. The same until it is set, so that a moment is always shown alike.
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

    /// Compares the clocks; `None` if this thread was held up between the readings each time.
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
    /// A line of its own that begins now, on this machine's clocks.
    fn default() -> Clock {
        Clock::start(Arc::new(System), None)
    }
}

/// How far `a` is ahead of `b`.
fn difference(a: u64, b: u64) -> i64 {
    let magnitude = i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if a >= b { magnitude } else { -magnitude }
}
