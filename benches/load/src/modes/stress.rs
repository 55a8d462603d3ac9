//! A misbehaving client beside a well-behaved pair: its effect on the pair and on the broker's memory.

use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use super::latency::PacedPair;
use super::mode::Mode;
use super::session::{Loads, Session};
use crate::broker::{Processes, megabytes};
use crate::error::BenchError;
use crate::load::{Outcome, Progress, RSS_EVERY};
use crate::report::Summary;
use crate::stressor::{Stressor, StressorKind};

/// How long the broker may take to release memory.
const SETTLE_MAX: Duration = Duration::from_secs(30);
/// Memory up to this factor of the memory before counts as released.
const SETTLED: f64 = 1.1;

#[derive(Debug, clap::Args)]
pub(crate) struct Stress {
    #[command(flatten)]
    pair: PacedPair,
    /// The misbehaving client.
    #[arg(long, value_enum, default_value_t = StressorKind::Flood)]
    stressor: StressorKind,
}

#[derive(Debug, Serialize)]
pub(crate) struct StressDetails {
    stress: StressReport,
}

#[derive(Debug, Serialize)]
struct StressReport {
    stressor: String,
    /// Messages that the stressor sent, or connections that it opened.
    done_per_second: f64,
    /// The pair's 99th percentile of latency beside the stressor, divided by the one alone.
    p99_ratio: Option<f64>,
    /// Memory of the broker before, the most during the stress, and after it has settled.
    rss_before_mb: Option<f64>,
    rss_peak_mb: Option<f64>,
    rss_after_mb: Option<f64>,
    /// Time until memory was within a tenth of the memory before; `None` if it took too long.
    settled_seconds: Option<f64>,
}

impl Mode for Stress {
    type Details = StressDetails;

    fn run(&self, progress: Progress) -> Result<Summary<StressDetails>, BenchError> {
        let session = self.pair.session("stress", progress)?;
        session.run(|loads| {
            let stress = self.measure(&session, loads)?;
            Ok(StressDetails { stress })
        })
    }
}

impl Stress {
    /// Measures the pair alone and then beside the stressor.
    fn measure(&self, session: &Session, loads: &mut Loads) -> Result<StressReport, BenchError> {
        let setup = &session.setup;
        let quiet = loads.run(&self.pair.load(session, "quiet"))?;
        // Both times the pair begins with an empty queue.
        setup.declare()?;
        let rss_before = setup.broker.processes.rss();
        let stressor = Stressor::start(setup, self.stressor)?;
        let begun = Instant::now();
        let stressed = loads.run(&self.pair.load(session, "stressed"));
        let took = begun.elapsed().as_secs_f64();
        let done = stressor.stop()?;
        let stressed = stressed?;
        let (rss_after, settled) = settle(&setup.broker.processes, rss_before);
        let p99 = |outcome: &Outcome| outcome.latencies.percentiles().map(|ms| ms.p99);
        let p99s = p99(&stressed).zip(p99(&quiet));
        let stressor = self.stressor.to_possible_value();
        Ok(StressReport {
            stressor: stressor.map_or(String::new(), |name| name.get_name().to_owned()),
            done_per_second: done as f64 / took,
            p99_ratio: p99s.map(|(stressed, quiet)| stressed / quiet),
            rss_before_mb: rss_before.map(megabytes),
            rss_peak_mb: stressed.usage.broker_rss_peak.map(megabytes),
            rss_after_mb: rss_after.map(megabytes),
            settled_seconds: settled.map(|time| time.as_secs_f64()),
        })
    }
}

/// Waits until the broker's memory is nearly what it was `before`. Returns the memory, and the time that this
/// took unless it took too long.
fn settle(broker: &Processes, before: Option<u64>) -> (Option<u64>, Option<Duration>) {
    let begun = Instant::now();
    loop {
        let now = broker.rss();
        let (Some(before), Some(now)) = (before, now) else {
            return (now, None);
        };
        if now as f64 <= before as f64 * SETTLED {
            return (Some(now), Some(begun.elapsed()));
        }
        if begun.elapsed() > SETTLE_MAX {
            return (Some(now), None);
        }
        thread::sleep(RSS_EVERY);
    }
}

impl Display for StressDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.stress;
        write!(
            f,
            "{}: {:.0} per second",
            report.stressor, report.done_per_second
        )?;
        if let Some(ratio) = report.p99_ratio {
            write!(f, "; latency p99 {ratio:.1} times that of the pair alone")?;
        }
        writeln!(f)?;
        if let (Some(before), Some(peak), Some(after)) = (
            report.rss_before_mb,
            report.rss_peak_mb,
            report.rss_after_mb,
        ) {
            write!(
                f,
                "  broker {before:.1} MB before, {peak:.1} MB at most, {after:.1} MB after"
            )?;
            match report.settled_seconds {
                Some(seconds) => writeln!(f, ", settled in {seconds:.1} s")?,
                None => writeln!(f, ", NOT SETTLED")?,
            }
        }
        Ok(())
    }
}
