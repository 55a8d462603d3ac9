//! The same load by turns alone and beside observers of the broker: what an open web page and a scraping Prometheus cost.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::mode::Mode;
use super::session::{Loads, Session};
use crate::error::BenchError;
use crate::latencies::{Latencies, Percentiles};
use crate::load::{Load, Outcome, Progress, PublishPlan};
use crate::observer::{Observed as Page, Observers};
use crate::options::{LengthOptions, PublishOptions};
use crate::report::Summary;
use crate::setup::Setup;

#[derive(Debug, clap::Args)]
pub(crate) struct Observed {
    #[command(flatten)]
    publish: PublishOptions,
    /// A page of HTTP that an observer fetches each second, as http://[USER:PASSWORD@]HOST:PORT/PATH. May be given more
    /// than once.
    #[arg(long = "observe", required = true, value_name = "URL")]
    pages: Vec<Page>,
    /// How often the load runs, each time alone and beside the observers.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    #[command(flatten)]
    length: LengthOptions,
}

#[derive(Debug, Serialize)]
pub(crate) struct ObservedDetails {
    observed: ObservedReport,
}

#[derive(Debug, Serialize)]
struct ObservedReport {
    /// Messages published per second beside the observers, divided by those of the load alone: the median of all rounds.
    rate_ratio: f64,
    /// The same for the CPU of the broker per message.
    cpu_ratio: Option<f64>,
    fetches: u64,
    megabytes_fetched: f64,
    /// From a request to the last byte of its answer.
    fetch_ms: Option<Percentiles>,
}

impl Mode for Observed {
    type Details = ObservedDetails;

    fn run(&self, progress: Progress) -> Result<Summary<ObservedDetails>, BenchError> {
        let session = Session {
            mode: "observed",
            setup: Setup::new(&self.publish, None)?,
            produce: PublishPlan {
                confirm_window: self.publish.confirm_window(),
                rate: None,
            },
            consume: None,
            keep: self.publish.keep,
            progress,
        };
        session.run(|loads| {
            let observed = self.measure(&session, loads)?;
            Ok(ObservedDetails { observed })
        })
    }
}

impl Observed {
    fn measure(&self, session: &Session, loads: &mut Loads) -> Result<ObservedReport, BenchError> {
        let load = |name| Load::new(&session.setup, name, session.produce, None, &self.length);
        // Each load begins with empty queues.
        let mut run = |name| {
            session.setup.declare()?;
            loads.run(&load(name))
        };
        let mut rates = Vec::new();
        let mut costs = Vec::new();
        let mut latencies = Latencies::default();
        let mut bytes = 0;
        for round in 0..self.rounds {
            let mut alone = None;
            // The order alternates, so that a broker that grows slower favours neither.
            if round % 2 == 0 {
                alone = Some(run("alone")?);
            }
            let observers = Observers::start(&self.pages)?;
            let beside = run("observed");
            let seen = observers.stop()?;
            let beside = beside?;
            let alone = match alone {
                Some(alone) => alone,
                None => run("alone")?,
            };
            rates.push(rate(&beside) / rate(&alone));
            costs.extend(
                cost(&beside)
                    .zip(cost(&alone))
                    .map(|(with, without)| with / without),
            );
            latencies.merge(&seen.latencies);
            bytes += seen.bytes;
        }
        Ok(ObservedReport {
            rate_ratio: median(&mut rates).unwrap_or(f64::NAN),
            cpu_ratio: median(&mut costs),
            fetches: latencies.len(),
            megabytes_fetched: bytes as f64 / 1e6,
            fetch_ms: latencies.percentiles(),
        })
    }
}

/// Messages published per second.
fn rate(outcome: &Outcome) -> f64 {
    outcome.published as f64 / outcome.seconds
}

/// CPU seconds of the broker per message.
fn cost(outcome: &Outcome) -> Option<f64> {
    let cpu = outcome.usage.broker_cpu?;
    Some(cpu / outcome.published.max(1) as f64)
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    Some((values.get(low)? + values.get(high)?) / 2.0)
}

impl Display for ObservedDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.observed;
        write!(
            f,
            "beside the observers {:+.1} % messages per second",
            (report.rate_ratio - 1.0) * 100.0
        )?;
        if let Some(cpu) = report.cpu_ratio {
            write!(f, ", {:+.1} % CPU per message", (cpu - 1.0) * 100.0)?;
        }
        writeln!(f)?;
        write!(
            f,
            "  {} fetches, {:.1} MB",
            report.fetches, report.megabytes_fetched
        )?;
        if let Some(ms) = &report.fetch_ms {
            write!(f, ", p50 {:.1} ms, p99 {:.1} ms", ms.p50, ms.p99)?;
        }
        writeln!(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_lies_in_the_middle() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0]), Some(3.0));
        assert_eq!(median(&mut [4.0, 1.0]), Some(2.5));
        assert_eq!(median(&mut [9.0, 1.0, 2.0]), Some(2.0));
    }
}
