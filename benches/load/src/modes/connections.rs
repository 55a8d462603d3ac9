//! Idle connections.

use std::thread;
use std::time::{Duration, Instant};

use super::connection_report::{ConnectionDetails, ConnectionReport};
use super::mode::Mode;
use crate::broker::megabytes;
use crate::client::{Link, server_name};
use crate::error::BenchError;
use crate::latencies::Latencies;
use crate::load::Progress;
use crate::options::{BrokerOptions, some_seconds};
use crate::report::Summary;

/// Time for the broker to release memory before that is measured.
const SETTLE: Duration = Duration::from_secs(2);

#[derive(Debug, clap::Args)]
pub(crate) struct Connections {
    #[command(flatten)]
    broker: BrokerOptions,
    /// Connections to hold, each with a channel.
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// Seconds to hold them.
    #[arg(long, default_value = "5", value_parser = some_seconds)]
    seconds: Duration,
}

impl Mode for Connections {
    type Details = ConnectionDetails;

    fn run(&self, _: Progress) -> Result<Summary<ConnectionDetails>, BenchError> {
        let broker = server_name(&self.broker.target)?;
        let processes = &self.broker.processes;
        let mut opening = Latencies::default();
        let rss_before = processes.rss();
        let begun = Instant::now();
        let mut sockets = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let connecting = Instant::now();
            sockets.push(Link::open(&self.broker.target)?.into_idle());
            opening.record(connecting.elapsed());
        }
        let opening_took = begun.elapsed();
        thread::sleep(SETTLE);
        let cpu_before = processes.cpu_seconds();
        let held = Instant::now();
        thread::sleep(self.seconds);
        let cpu = processes.cpu_seconds().zip(cpu_before);
        let (rss_open, held) = (processes.rss(), held.elapsed());
        drop(sockets);
        thread::sleep(SETTLE);
        let report = ConnectionReport {
            opened: self.connections as u64,
            opened_per_second: self.connections as f64 / opening_took.as_secs_f64(),
            open_ms: opening.percentiles().unwrap_or_default(),
            rss_before_mb: rss_before.map(megabytes),
            rss_open_mb: rss_open.map(megabytes),
            rss_after_mb: processes.rss_mb(),
            kilobytes_each: rss_open.zip(rss_before).map(|(open, before)| {
                (open as f64 - before as f64) / 1e3 / self.connections as f64
            }),
            broker_cpu_percent: cpu
                .map(|(now, before)| (now - before) / held.as_secs_f64() * 100.0),
        };
        Ok(report.summary("connections", broker))
    }
}
