//! The report of one load.

use std::fmt::{self, Display, Formatter};
use std::thread;

use serde::Serialize;

use crate::broker::megabytes;
use crate::findings::Findings;
use crate::latencies::Percentiles;
use crate::load::{Outcome, Usage};

/// Share of a core from which on the load generator's busiest thread counts as the limit.
const THREAD_LIMIT: f64 = 0.85;
/// Share of all cores from which on the machine counts as the limit.
const MACHINE_LIMIT: f64 = 0.93;
/// Share of the offered rate from which on the offer counts as the limit.
const OFFERED_LIMIT: f64 = 0.98;

#[derive(Debug, Serialize)]
pub(crate) struct LoadReport {
    pub(crate) name: &'static str,
    pub(crate) seconds: f64,
    /// Messages per second: received if there were consumers, otherwise confirmed.
    pub(crate) rate: f64,
    pub(crate) published_per_second: f64,
    pub(crate) received_per_second: f64,
    /// Megabytes of bodies per second at `rate`.
    pub(crate) megabytes_per_second: f64,
    /// The rate over the first and the last tenth of the messages.
    pub(crate) first_tenth_rate: Option<f64>,
    pub(crate) last_tenth_rate: Option<f64>,
    pub(crate) confirm_ms: Option<Percentiles>,
    /// From the time when a message was to be sent to its delivery.
    pub(crate) latency_ms: Option<Percentiles>,
    pub(crate) broker: Option<BrokerReport>,
    pub(crate) client: ClientReport,
    /// CPU of all other processes, in percent of a core.
    pub(crate) others_cpu_percent: Option<f64>,
    /// The limit of the rate: "offered rate", "client", "machine" or "broker".
    pub(crate) limit: &'static str,
    pub(crate) backlog: u64,
    pub(crate) refused: u64,
    pub(crate) findings: Option<Findings>,
}

#[derive(Debug, Serialize)]
pub(crate) struct BrokerReport {
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) rss_peak_mb: Option<f64>,
    pub(crate) bytes_written_per_message: Option<f64>,
}

#[derive(Debug, Serialize)]
pub(crate) struct ClientReport {
    pub(crate) cpu_percent: f64,
    pub(crate) cpu_seconds_per_million: f64,
    pub(crate) busiest_thread_percent: f64,
}

impl LoadReport {
    /// `size` is the length of bodies, `offered` the messages per second that came in, if that was limited.
    pub(crate) fn new(
        name: &'static str,
        outcome: &Outcome,
        size: usize,
        offered: Option<u64>,
    ) -> LoadReport {
        let per_second = |count: u64| count as f64 / outcome.seconds;
        let usage = &outcome.usage;
        let consuming = outcome.findings.is_some();
        let moved = if consuming {
            outcome.received
        } else {
            outcome.published
        };
        let million = (moved as f64 / 1e6).max(1e-9);
        let percent = |cpu: f64| cpu / outcome.seconds * 100.0;
        let broker = usage.broker_cpu.map(|cpu| BrokerReport {
            cpu_percent: percent(cpu),
            cpu_seconds_per_million: cpu / million,
            rss_peak_mb: usage.broker_rss_peak.map(megabytes),
            bytes_written_per_message: usage
                .broker_written
                .map(|bytes| bytes as f64 / moved.max(1) as f64),
        });
        let others = usage
            .broker_cpu
            .map(|cpu| (usage.machine_cpu - cpu - usage.client_cpu).max(0.0));
        LoadReport {
            name,
            seconds: outcome.seconds,
            rate: per_second(moved),
            published_per_second: per_second(outcome.published),
            received_per_second: per_second(outcome.received),
            megabytes_per_second: per_second(moved) * size as f64 / 1e6,
            first_tenth_rate: tenth_rate(&outcome.course, 0.0),
            last_tenth_rate: tenth_rate(&outcome.course, 0.9),
            confirm_ms: outcome.confirms.percentiles(),
            latency_ms: outcome.latencies.percentiles(),
            broker,
            client: ClientReport {
                cpu_percent: percent(usage.client_cpu),
                cpu_seconds_per_million: usage.client_cpu / million,
                busiest_thread_percent: percent(usage.busiest_thread_cpu),
            },
            others_cpu_percent: others.map(percent),
            limit: limit(outcome, per_second(moved), offered),
            backlog: outcome.backlog,
            refused: outcome.refused,
            findings: outcome.findings,
        }
    }

    /// Whether the broker lost, repeated, reordered or refused no message.
    pub(crate) fn is_ok(&self) -> bool {
        self.refused == 0 && self.findings.is_none_or(Findings::is_clean)
    }
}

/// The limit of a load that moved `per_second` messages.
fn limit(outcome: &Outcome, per_second: f64, offered: Option<u64>) -> &'static str {
    let Usage {
        busiest_thread_cpu,
        machine_cpu,
        ..
    } = outcome.usage;
    let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    if offered.is_some_and(|offered| per_second > offered as f64 * OFFERED_LIMIT) {
        "offered rate"
    } else if busiest_thread_cpu > THREAD_LIMIT * outcome.seconds {
        "client"
    } else if machine_cpu > MACHINE_LIMIT * cores * outcome.seconds {
        "machine"
    } else {
        "broker"
    }
}

/// The rate over a tenth of the messages, after the share `from` of them.
fn tenth_rate(course: &[(f64, u64)], from: f64) -> Option<f64> {
    let (&(_, first), &(_, last)) = (course.first()?, course.last()?);
    let after = |share: f64| {
        let goal = first as f64 + (last - first) as f64 * share;
        course.iter().find(|(_, count)| *count as f64 >= goal - 0.5)
    };
    let ((begun, begun_count), (ended, ended_count)) = (after(from)?, after(from + 0.1)?);
    (ended > begun).then(|| (ended_count - begun_count) as f64 / (ended - begun))
}

impl Display for LoadReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}: {:.0} messages/s ({:.1} MB/s) for {:.1} s; published {:.0}/s, received {:.0}/s",
            self.name,
            self.rate,
            self.megabytes_per_second,
            self.seconds,
            self.published_per_second,
            self.received_per_second,
        )?;
        if let (Some(first), Some(last)) = (self.first_tenth_rate, self.last_tenth_rate) {
            writeln!(f, "  first tenth {first:.0}/s, last tenth {last:.0}/s")?;
        }
        for (name, percentiles) in [("confirm", &self.confirm_ms), ("latency", &self.latency_ms)] {
            if let Some(percentiles) = percentiles {
                writeln!(f, "  {name} {percentiles}")?;
            }
        }
        if let Some(broker) = &self.broker {
            write!(
                f,
                "  broker {:.0} % of a core, {:.2} CPU s per million",
                broker.cpu_percent, broker.cpu_seconds_per_million
            )?;
            if let Some(rss) = broker.rss_peak_mb {
                write!(f, ", {rss:.0} MB at most")?;
            }
            if let Some(written) = broker.bytes_written_per_message {
                write!(f, ", {written:.0} B written per message")?;
            }
            writeln!(f)?;
        }
        write!(
            f,
            "  client {:.0} % of a core (busiest thread {:.0} %), {:.2} CPU s per million",
            self.client.cpu_percent,
            self.client.busiest_thread_percent,
            self.client.cpu_seconds_per_million,
        )?;
        if let Some(others) = self.others_cpu_percent {
            write!(f, "; others {others:.0} %")?;
        }
        writeln!(
            f,
            "\n  limited by: {}; backlog at the end {}",
            self.limit, self.backlog
        )?;
        if self.refused > 0 {
            writeln!(f, "  REFUSED: {} messages", self.refused)?;
        }
        if let Some(findings) = &self.findings {
            writeln!(
                f,
                "  {}missing {}, repeated or late {}, astray {}, redelivered {}",
                if findings.is_clean() { "" } else { "FAULTS: " },
                findings.missing,
                findings.repeated_or_late,
                findings.astray,
                findings.redelivered,
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_tenth() {
        // 100 messages a second for 10 s, then 10 a second for 100 s more.
        let mut course: Vec<(f64, u64)> = (0..=100)
            .map(|nth| (f64::from(nth) / 10.0, nth as u64 * 10))
            .collect();
        course
            .extend((1..=1000u32).map(|nth| (10.0 + f64::from(nth) / 10.0, 1000 + u64::from(nth))));
        assert!((tenth_rate(&course, 0.0).unwrap() - 100.0).abs() < 1.0);
        assert!((tenth_rate(&course, 0.9).unwrap() - 10.0).abs() < 1.0);
        assert_eq!(tenth_rate(&[], 0.0), None);
    }
}
