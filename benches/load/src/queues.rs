//! A load of queues without messages: declared, kept over a restart, deleted.

use std::thread;
use std::time::{Duration, Instant};

use super::BenchError;
use super::report::QueueReport;
use super::setup::Setup;

/// How long the broker is given to put its memory in order before that is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Declares the queues of the layout one after another on one connection, and deletes them. `restart` restarts the
/// broker and says how many seconds it was away; `None` if that is not to be done.
pub(super) fn measure(
    setup: &Setup,
    restart: impl FnOnce() -> Result<Option<f64>, BenchError>,
) -> Result<QueueReport, BenchError> {
    let megabytes = || setup.broker_rss().map(|bytes| bytes as f64 / 1e6);
    let rss_before_mb = megabytes();
    let declared = setup.declare()?;
    thread::sleep(SETTLE);
    let rss_declared_mb = megabytes();
    let cpu_before = setup.broker_cpu();
    thread::sleep(SETTLE);
    let cpu = setup
        .broker_cpu()
        .zip(cpu_before)
        .map(|(now, before)| now - before);
    let restart_seconds = restart()?;
    thread::sleep(if restart_seconds.is_some() {
        SETTLE
    } else {
        Duration::ZERO
    });
    let rss_restarted_mb = restart_seconds.and_then(|_| megabytes());
    let begun = Instant::now();
    setup.clean_up()?;
    let per_second = |took: Duration| setup.layout.queues as f64 / took.as_secs_f64();
    Ok(QueueReport {
        declared: setup.layout.queues as u64,
        declared_per_second: declared.queues_per_second,
        deleted_per_second: per_second(begun.elapsed()),
        rss_before_mb,
        rss_declared_mb,
        idle_cpu_percent: cpu.map(|cpu| cpu / SETTLE.as_secs_f64() * 100.0),
        restart_seconds,
        rss_restarted_mb,
    })
}
