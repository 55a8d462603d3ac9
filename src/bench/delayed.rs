//! A load of messages that are not due before an hour: published, kept for a while, kept over a restart. What is
//! measured is the memory that they take.

use std::thread;
use std::time::Duration;

use super::BenchError;
use super::report::DelayedReport;
use super::setup::Setup;

/// In how many milliseconds the messages are due, from when they are published.
pub(super) const DELAY_MS: i32 = 3_600_000;

/// How long the broker is given to put its memory in order before that is measured.
const SETTLE: Duration = Duration::from_secs(30);

/// `fill` publishes the messages and says how many. `restart` restarts the broker and says how many seconds it was away;
/// `None` if that is not to be done.
pub(super) fn measure(
    setup: &Setup,
    fill: impl FnOnce() -> Result<u64, BenchError>,
    restart: impl FnOnce() -> Result<Option<f64>, BenchError>,
) -> Result<DelayedReport, BenchError> {
    let megabytes = || setup.broker_rss().map(|bytes| bytes as f64 / 1e6);
    let rss_before_mb = megabytes();
    let messages = fill()?;
    thread::sleep(SETTLE);
    let rss_waiting_mb = megabytes();
    let restart_seconds = restart()?;
    let rss_restarted_mb = match restart_seconds {
        Some(_) => {
            thread::sleep(SETTLE);
            megabytes()
        }
        None => None,
    };
    Ok(DelayedReport {
        messages,
        rss_before_mb,
        rss_waiting_mb,
        restart_seconds,
        rss_restarted_mb,
    })
}
