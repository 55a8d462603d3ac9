//! Loads without messages: connections that are opened and held, or opened and closed all the time.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::BenchError;
use super::histogram::Histogram;
use super::link::Link;
use super::load::STACK_BYTES;
use super::report::{ConnectionReport, Percentiles};
use super::setup::Setup;
use super::stage::{Phase, Stage};
use super::target::Target;

/// How long the broker is given to put its memory in order before that is measured.
const SETTLE: Duration = Duration::from_secs(2);

/// Opens `count` connections with a channel each, one after another, holds them for a time, and closes them.
pub(super) fn hold(
    setup: &Setup,
    count: usize,
    time: Duration,
) -> Result<ConnectionReport, BenchError> {
    let mut open_ns = Histogram::default();
    let rss_before = setup.broker_rss();
    let begun = Instant::now();
    let mut links = Vec::with_capacity(count);
    for _ in 0..count {
        let opening = Instant::now();
        links.push(Link::open(&setup.target)?.into_idle());
        open_ns.record(nanoseconds(opening.elapsed()));
    }
    let opening_took = begun.elapsed();
    thread::sleep(SETTLE);
    let cpu_before = setup.broker_cpu();
    let held = Instant::now();
    thread::sleep(time);
    let cpu = setup
        .broker_cpu()
        .zip(cpu_before)
        .map(|(now, before)| now - before);
    let (rss_open, held) = (setup.broker_rss(), held.elapsed());
    drop(links);
    thread::sleep(SETTLE);
    Ok(ConnectionReport {
        opened: count as u64,
        opened_per_second: count as f64 / opening_took.as_secs_f64(),
        open_ms: percentiles(&open_ns),
        rss_before_mb: rss_before.map(megabytes),
        rss_open_mb: rss_open.map(megabytes),
        rss_after_mb: setup.broker_rss().map(megabytes),
        kilobytes_each: rss_open
            .zip(rss_before)
            .map(|(open, before)| (open as f64 - before as f64) / 1e3 / count as f64),
        broker_cpu_percent: cpu.map(|cpu| cpu / held.as_secs_f64() * 100.0),
    })
}

/// Has some threads open and close connections, each with a channel, for a time.
pub(super) fn churn(
    setup: &Setup,
    threads: usize,
    time: Duration,
) -> Result<ConnectionReport, BenchError> {
    let stage = Arc::new(Stage::new(0));
    let (rss_before, cpu_before) = (setup.broker_rss(), setup.broker_cpu());
    let begun = Instant::now();
    let workers = start_churn(&setup.target, threads, &stage)?;
    let mut rss_peak = rss_before;
    while begun.elapsed() < time && !workers.iter().any(JoinHandle::is_finished) {
        thread::sleep(Duration::from_millis(50));
        rss_peak = rss_peak.max(setup.broker_rss());
    }
    stage.enter(Phase::End);
    let mut open_ns = Histogram::default();
    let joined: Vec<_> = workers.into_iter().map(JoinHandle::join).collect();
    for result in joined {
        open_ns.merge(&result.unwrap_or(Err(BenchError::Panicked))?);
    }
    let took = begun.elapsed().as_secs_f64();
    let cpu = setup
        .broker_cpu()
        .zip(cpu_before)
        .map(|(now, before)| now - before);
    thread::sleep(SETTLE);
    Ok(ConnectionReport {
        opened: open_ns.len(),
        opened_per_second: open_ns.len() as f64 / took,
        open_ms: percentiles(&open_ns),
        rss_before_mb: rss_before.map(megabytes),
        rss_open_mb: rss_peak.map(megabytes),
        rss_after_mb: setup.broker_rss().map(megabytes),
        kilobytes_each: None,
        broker_cpu_percent: cpu.map(|cpu| cpu / took * 100.0),
    })
}

/// Starts threads that open and close connections until the stage ends; each brings back how long opening took.
pub(super) fn start_churn(
    target: &Target,
    threads: usize,
    stage: &Arc<Stage>,
) -> Result<Vec<JoinHandle<Result<Histogram, BenchError>>>, BenchError> {
    let start = |_| {
        let (stage, target) = (stage.clone(), target.clone());
        let work = move || -> Result<Histogram, BenchError> {
            let mut open_ns = Histogram::default();
            while stage.phase() < Phase::End {
                let opening = Instant::now();
                let link = Link::open(&target)?;
                open_ns.record(nanoseconds(opening.elapsed()));
                link.close()?;
            }
            Ok(open_ns)
        };
        let spawned = thread::Builder::new().stack_size(STACK_BYTES).spawn(work);
        spawned.map_err(BenchError::io("starting a thread"))
    };
    (0..threads).map(start).collect()
}

fn percentiles(ns: &Histogram) -> Percentiles {
    let none = Percentiles {
        p50: 0.0,
        p95: 0.0,
        p99: 0.0,
        p999: 0.0,
        max: 0.0,
    };
    Percentiles::of(ns).unwrap_or(none)
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
