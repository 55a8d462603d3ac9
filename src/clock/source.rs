//! The sources of a clock's readings: the machine's clocks, and for tests a wall clock that can be set.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// The file in which the kernel names the current boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clocks of a machine.
pub trait Source: Send + Sync + fmt::Debug {
    /// Nanoseconds since the machine booted. This clock is never set, and it counts through a suspend: when a
    /// machine wakes after an hour, a lock of ten minutes is over for its clients too.
    fn since_boot_ns(&self) -> u64;

    /// Wall-clock time in nanoseconds since the Unix epoch; 0 if it is set before 1970.
    fn wall_ns(&self) -> u64;

    /// The id of this boot; `None` if the machine has none.
    fn boot(&self) -> Option<Arc<str>>;
}

/// The clocks of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Source for System {
    fn since_boot_ns(&self) -> u64 {
        nanoseconds(ClockId::Boottime)
    }

    fn wall_ns(&self) -> u64 {
        nanoseconds(ClockId::Realtime)
    }

    fn boot(&self) -> Option<Arc<str>> {
        let id = std::fs::read_to_string(BOOT_ID).ok()?;
        Some(id.trim().into()).filter(|id: &Arc<str>| !id.is_empty())
    }
}

/// Reads a clock of the machine; a negative time reads as 0.
fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let rest = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The clocks of this machine, with a wall clock that tests set.
#[derive(Debug, Default)]
pub struct Settable {
    ahead_ms: AtomicI64,
}

impl Settable {
    /// Sets the distance of the wall clock ahead of the machine's; negative values set it behind.
    pub fn set_wall_ahead_ms(&self, ms: i64) {
        self.ahead_ms.store(ms, Ordering::Release);
    }
}

impl Source for Settable {
    fn since_boot_ns(&self) -> u64 {
        System.since_boot_ns()
    }

    fn wall_ns(&self) -> u64 {
        let ahead_ms = self.ahead_ms.load(Ordering::Acquire);
        let ahead_ns = ahead_ms.saturating_mul(1_000_000);
        System.wall_ns().saturating_add_signed(ahead_ns)
    }

    fn boot(&self) -> Option<Arc<str>> {
        System.boot()
    }
}
