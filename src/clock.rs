//! The one reader of the clocks. Everything else is given the time as an argument, or asks here.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic time, for deadlines and durations.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Wall-clock time in milliseconds since the Unix epoch, for what is stored or shown.
/// A clock set before 1970 reads as 0.
pub fn wall_ms() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}
