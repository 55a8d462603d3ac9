//! A load of messages that are not due at once. Either they are due in an hour: published, kept for a while, kept over a
//! restart, and what is measured is the memory that they take. Or they are due at random times, and what is measured is
//! how late they come.

use std::thread;
use std::time::Duration;

use super::BenchError;
use super::due::{DueWindow, wall_clock_ms};
use super::load::{Load, Outcome};
use super::plan::Run;
use super::report::DelayedReport;

/// In how many milliseconds the messages are due, from when they are published.
pub(super) const DELAY_MS: i32 = 3_600_000;

/// How many messages, if nothing else is said.
const MESSAGES: u64 = 1_000_000;

/// How long the broker is given to put its memory in order before that is measured.
const SETTLE: Duration = Duration::from_secs(30);

/// How long before the first message is due consumers are there.
const AHEAD: Duration = Duration::from_secs(1);

/// The memory of messages that are due in an hour. `carry_out` runs a load. `restart` restarts the broker and says how
/// many seconds it was away; `None` if that is not to be done.
pub(super) fn measure<'a>(
    run: &'a Run<'_>,
    carry_out: impl FnOnce(Load<'a>) -> Result<Outcome, BenchError>,
    restart: impl FnOnce() -> Result<Option<f64>, BenchError>,
) -> Result<DelayedReport, BenchError> {
    let rss_before_mb = rss_mb(run);
    let filled = carry_out(run.fill(MESSAGES))?;
    thread::sleep(SETTLE);
    let rss_waiting_mb = rss_mb(run);
    let restart_seconds = restart()?;
    let rss_restarted_mb = match restart_seconds {
        Some(_) => {
            thread::sleep(SETTLE);
            rss_mb(run)
        }
        None => None,
    };
    Ok(DelayedReport {
        messages: filled.sent.iter().sum(),
        rss_before_mb,
        rss_waiting_mb,
        restart_seconds,
        rss_restarted_mb,
        due: None,
    })
}

/// How late messages come that are due at random times within `window`; otherwise as `measure`. Memory is looked at as
/// late as can be: before the restart, and before the first message is due.
pub(super) fn measure_due<'a>(
    run: &'a Run<'_>,
    window: DueWindow,
    mut carry_out: impl FnMut(Load<'a>) -> Result<Outcome, BenchError>,
    restart: impl FnOnce() -> Result<Option<f64>, BenchError>,
) -> Result<DelayedReport, BenchError> {
    let rss_before_mb = rss_mb(run);
    let span = window.starting_at(wall_clock_ms());
    let filled = carry_out(run.fill_due(MESSAGES, span))?;
    let rss_filled_mb = rss_mb(run);
    let restart_seconds = restart()?;
    thread::sleep(span.begins_in(wall_clock_ms()).saturating_sub(AHEAD));
    let rss_ahead_mb = rss_mb(run);
    let (rss_waiting_mb, rss_restarted_mb) = match restart_seconds {
        Some(_) => (rss_filled_mb, rss_ahead_mb),
        None => (rss_ahead_mb, None),
    };
    let messages = filled.sent.iter().sum();
    let drained = carry_out(run.drain_due(filled.sent, span))?;
    let rss_peak = filled
        .usage
        .broker_rss_peak
        .max(drained.usage.broker_rss_peak);
    let rss_peak_mb = rss_peak.map(megabytes);
    let lateness = drained.lateness.unwrap_or_default();
    Ok(DelayedReport {
        messages,
        rss_before_mb,
        rss_waiting_mb,
        restart_seconds,
        rss_restarted_mb,
        due: Some(lateness.report(window, rss_peak_mb)),
    })
}

fn rss_mb(run: &Run<'_>) -> Option<f64> {
    run.setup.broker_rss().map(megabytes)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
