//! Connections that open and close all the time.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::connection_report::{ConnectionDetails, ConnectionReport};
use super::mode::Mode;
use crate::broker::megabytes;
use crate::churn::start_churn;
use crate::client::server_name;
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::load::{Phase, Progress, Stage, join_all};
use crate::options::{BrokerOptions, some_seconds};
use crate::report::Summary;

/// Time for the broker to release memory before that is measured.
const SETTLE: Duration = Duration::from_secs(2);
/// How often the broker's memory is read.
const RSS_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug, clap::Args)]
pub(crate) struct Churn {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Threads that open and close connections, each with a channel.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Seconds to measure.
    #[arg(long, default_value = "5", value_parser = some_seconds)]
    seconds: Duration,
}

impl Mode for Churn {
    type Details = ConnectionDetails;

    fn run(&self, _: Progress) -> Result<Summary<ConnectionDetails>, BenchError> {
        let broker = server_name(&self.broker.target)?;
        let processes = &self.broker.processes;
        let stage = Arc::new(Stage::new(0));
        let (rss_before, cpu_before) = (processes.rss(), processes.cpu_seconds());
        let begun = Instant::now();
        let threads = start_churn(&self.broker.target, self.connections, &stage)?;
        let mut rss_peak = rss_before;
        while begun.elapsed() < self.seconds && !threads.iter().any(JoinHandle::is_finished) {
            thread::sleep(RSS_EVERY);
            rss_peak = rss_peak.max(processes.rss());
        }
        stage.enter(Phase::End);
        let mut opening = Latencies::default();
        for own in join_all(threads)? {
            opening.merge(&own);
        }
        let took = begun.elapsed().as_secs_f64();
        let cpu = processes.cpu_seconds().zip(cpu_before);
        thread::sleep(SETTLE);
        let report = ConnectionReport {
            opened: opening.len(),
            opened_per_second: opening.len() as f64 / took,
            open_ms: opening.percentiles().unwrap_or_default(),
            rss_before_mb: rss_before.map(megabytes),
            rss_open_mb: rss_peak.map(megabytes),
            rss_after_mb: processes.rss_mb(),
            kilobytes_each: None,
            broker_cpu_percent: cpu.map(|(now, before)| (now - before) / took * 100.0),
        };
        Ok(report.summary("churn", broker))
    }
}
