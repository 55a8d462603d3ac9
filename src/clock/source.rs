//! What a clock reads: the machine's clocks, or in tests the machine's with a wall clock that is set at will.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rustix::time::{ClockId, clock_gettime};

/// Where the kernel tells which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The clocks of a machine.
pub trait Source: Send + Sync + fmt::Debug {
    /// Nanoseconds since the machine was booted. This clock is never set, and it counts while the machine sleeps: a
    /// lock of ten minutes is over for the rest of the world when a suspended machine wakes after an hour.
    fn since_boot_ns(&self) -> u64;

    /// Wall-clock time in nanoseconds since the Unix epoch; 0 if it is set before 1970.
    fn wall_ns(&self) -> u64;

    /// Names this boot; `None` if the machine does not tell.
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

/// Reads a clock of the machine; one that is below zero reads as 0.
fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let rest = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}

/// The clocks of this machine with a wall clock that a test sets.
#[derive(Debug, Default)]
pub struct Settable {
    ahead_ms: AtomicI64,
}

impl Settable {
    /// Sets the wall clock so far ahead of the machine's, or behind it.
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
