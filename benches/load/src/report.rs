//! The summary of a run: as text and as JSON. Turns what was counted into rates and shares; measures nothing.

use std::fmt::{self, Display, Formatter};
use std::thread;

use serde::Serialize;

use super::histogram::Histogram;
use super::lateness::LatenessReport;
use super::load::Outcome;
use super::order::Findings;

/// From this share of a core on, the load generator's busiest thread is taken to be the limit.
const THREAD_LIMIT: f64 = 0.85;
/// From this share of all cores on, the machine is.
const MACHINE_LIMIT: f64 = 0.93;

/// All there is to say about a run.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) mode: String,
    /// Product and version, as the broker says.
    pub(super) broker: String,
    pub(super) settings: Settings,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queues_declared_per_second: Option<f64>,
    /// The loads, in the order they were run.
    pub(super) loads: Vec<LoadReport>,
    /// How long the broker was away for the restart hook, until it let a client in again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) restart_seconds: Option<f64>,
    /// How long the rewind hook took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rewind_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) connections: Option<ConnectionReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queues: Option<QueueReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delayed: Option<DelayedReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stress: Option<StressReport>,
    /// Nothing was lost, repeated, out of order, or refused.
    pub(super) ok: bool,
}

/// What was asked for.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Settings {
    pub(super) producers: usize,
    pub(super) consumers: usize,
    pub(super) queues: usize,
    pub(super) exchange: String,
    pub(super) routing_keys: usize,
    pub(super) body_bytes: usize,
    pub(super) persistent: bool,
    pub(super) confirm_window: u32,
    pub(super) prefetch: u16,
    pub(super) ack_batch: u32,
    pub(super) offered_per_second: Option<u64>,
}

/// What one load showed.
#[derive(Debug, Serialize)]
pub(super) struct LoadReport {
    pub(super) name: &'static str,
    pub(super) seconds: f64,
    /// Messages per second: received if there were consumers, otherwise confirmed.
    pub(super) rate: f64,
    pub(super) published_per_second: f64,
    pub(super) received_per_second: f64,
    /// Megabytes of bodies per second, at the rate above.
    pub(super) megabytes_per_second: f64,
    /// The rate over the first and the last tenth of the messages.
    pub(super) first_tenth_rate: Option<f64>,
    pub(super) last_tenth_rate: Option<f64>,
    pub(super) confirm_ms: Option<Percentiles>,
    /// From when a message was due to when a consumer had it.
    pub(super) latency_ms: Option<Percentiles>,
    pub(super) broker: Option<BrokerReport>,
    pub(super) client: ClientReport,
    /// CPU that neither broker nor load generator used, in percent of a core.
    pub(super) others_cpu_percent: Option<f64>,
    /// What kept the rate from being higher: "offered rate", "client", "machine" or "broker".
    pub(super) limit: &'static str,
    pub(super) backlog: u64,
    pub(super) refused: u64,
    pub(super) findings: Option<Findings>,
}

/// Some percentiles, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Percentiles {
    pub(super) p50: f64,
    pub(super) p95: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

/// What the broker's processes used.
#[derive(Debug, Serialize)]
pub(super) struct BrokerReport {
    pub(super) cpu_percent: f64,
    pub(super) cpu_seconds_per_million: f64,
    pub(super) rss_peak_mb: Option<f64>,
    pub(super) bytes_written_per_message: Option<f64>,
}

/// What the load generator used.
#[derive(Debug, Serialize)]
pub(super) struct ClientReport {
    pub(super) cpu_percent: f64,
    pub(super) cpu_seconds_per_million: f64,
    pub(super) busiest_thread_percent: f64,
}

/// What opening connections showed.
#[derive(Debug, Serialize)]
pub(super) struct ConnectionReport {
    pub(super) opened: u64,
    pub(super) opened_per_second: f64,
    /// From `connect` to an open channel.
    pub(super) open_ms: Percentiles,
    /// Memory of the broker before, with the connections open (of a churn: the most), and some time after.
    pub(super) rss_before_mb: Option<f64>,
    pub(super) rss_open_mb: Option<f64>,
    pub(super) rss_after_mb: Option<f64>,
    /// Memory per idle connection with one channel.
    pub(super) kilobytes_each: Option<f64>,
    /// CPU of the broker: while idle connections are held, or during the churn; in percent of a core.
    pub(super) broker_cpu_percent: Option<f64>,
}

/// What declaring many queues showed.
#[derive(Debug, Serialize)]
pub(super) struct QueueReport {
    pub(super) declared: u64,
    /// One after another on one connection.
    pub(super) declared_per_second: f64,
    pub(super) deleted_per_second: f64,
    /// Memory of the broker before, with the queues, and with them after a restart.
    pub(super) rss_before_mb: Option<f64>,
    pub(super) rss_declared_mb: Option<f64>,
    /// CPU that the idle queues cost, in percent of a core.
    pub(super) idle_cpu_percent: Option<f64>,
    /// How long the broker was away for the restart hook, until it let a client in again.
    pub(super) restart_seconds: Option<f64>,
    pub(super) rss_restarted_mb: Option<f64>,
}

/// What messages that wait for their time take.
#[derive(Debug, Serialize)]
pub(super) struct DelayedReport {
    pub(super) messages: u64,
    /// Memory of the broker before, with the messages waiting, and with them after a restart.
    pub(super) rss_before_mb: Option<f64>,
    pub(super) rss_waiting_mb: Option<f64>,
    /// How long the broker was away for the restart hook, until it let a client in again.
    pub(super) restart_seconds: Option<f64>,
    pub(super) rss_restarted_mb: Option<f64>,
    /// How late they came, if they were due at random times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<LatenessReport>,
}

/// What somebody who behaves badly did to others and to the broker's memory.
#[derive(Debug, Serialize)]
pub(super) struct StressReport {
    pub(super) stressor: String,
    /// Messages that it sent, or connections that it opened.
    pub(super) done_per_second: f64,
    /// The pair's 99th percentile of latency beside it, against the same alone.
    pub(super) p99_ratio: Option<f64>,
    /// Memory of the broker before, the most while it lasted, and when it had settled.
    pub(super) rss_before_mb: Option<f64>,
    pub(super) rss_peak_mb: Option<f64>,
    pub(super) rss_after_mb: Option<f64>,
    /// How long after the end memory was within a tenth of what it was before; none if it did not come back in time.
    pub(super) settled_seconds: Option<f64>,
}

impl LoadReport {
    /// `offered`: the rate that was asked for, in messages per second, if any.
    pub(super) fn new(
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
            rss_peak_mb: usage.broker_rss_peak.map(|bytes| bytes as f64 / 1e6),
            bytes_written_per_message: usage
                .broker_written
                .map(|bytes| bytes as f64 / moved.max(1) as f64),
        });
        let others = usage
            .broker_cpu
            .map(|cpu| (usage.machine_cpu - cpu - usage.client_cpu).max(0.0));
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let limit = if offered.is_some_and(|offered| per_second(moved) > offered as f64 * 0.98) {
            "offered rate"
        } else if usage.busiest_thread_cpu > THREAD_LIMIT * outcome.seconds {
            "client"
        } else if usage.machine_cpu > MACHINE_LIMIT * cores * outcome.seconds {
            "machine"
        } else {
            "broker"
        };
        LoadReport {
            name,
            seconds: outcome.seconds,
            rate: per_second(moved),
            published_per_second: per_second(outcome.published),
            received_per_second: per_second(outcome.received),
            megabytes_per_second: per_second(moved) * size as f64 / 1e6,
            first_tenth_rate: tenth_rate(&outcome.course, 0.0),
            last_tenth_rate: tenth_rate(&outcome.course, 0.9),
            confirm_ms: Percentiles::of(&outcome.confirm_ns),
            latency_ms: Percentiles::of(&outcome.latency_ns),
            broker,
            client: ClientReport {
                cpu_percent: percent(usage.client_cpu),
                cpu_seconds_per_million: usage.client_cpu / million,
                busiest_thread_percent: percent(usage.busiest_thread_cpu),
            },
            others_cpu_percent: others.map(percent),
            limit,
            backlog: outcome.backlog,
            refused: outcome.refused,
            findings: outcome.findings,
        }
    }

    /// Whether the broker did what it must.
    pub(super) fn is_ok(&self) -> bool {
        self.refused == 0 && self.findings.is_none_or(|findings| findings.is_clean())
    }
}

impl Percentiles {
    pub(super) fn of(ns: &Histogram) -> Option<Percentiles> {
        let ms = |ns: u64| ns as f64 / 1e6;
        (ns.len() > 0).then(|| Percentiles {
            p50: ms(ns.at(500)),
            p95: ms(ns.at(950)),
            p99: ms(ns.at(990)),
            p999: ms(ns.at(999)),
            max: ms(ns.max()),
        })
    }
}

/// The rate over a tenth of the messages, which begins after the share `from` of them.
fn tenth_rate(course: &[(f64, u64)], from: f64) -> Option<f64> {
    let (&(_, first), &(_, last)) = (course.first()?, course.last()?);
    let after = |share: f64| {
        let goal = first as f64 + (last - first) as f64 * share;
        course.iter().find(|(_, count)| *count as f64 >= goal - 0.5)
    };
    let ((begun, begun_count), (ended, ended_count)) = (after(from)?, after(from + 0.1)?);
    (ended > begun).then(|| (ended_count - begun_count) as f64 / (ended - begun))
}

impl Display for Summary {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let settings = &self.settings;
        writeln!(f, "{} on {}", self.mode, self.broker)?;
        writeln!(
            f,
            "  {} producers, {} consumers, {} queues, {} exchange, bodies of {} B, {}",
            settings.producers,
            settings.consumers,
            settings.queues,
            settings.exchange,
            settings.body_bytes,
            if settings.persistent {
                "persistent"
            } else {
                "transient"
            },
        )?;
        writeln!(
            f,
            "  confirm window {}, prefetch {}, {} messages per ack",
            settings.confirm_window, settings.prefetch, settings.ack_batch,
        )?;
        for load in &self.loads {
            write!(f, "{load}")?;
            if let (Some(seconds), "fill") = (self.restart_seconds, load.name) {
                writeln!(f, "restart: {seconds:.2} s")?;
            }
            if let (Some(seconds), "drain") = (self.rewind_seconds, load.name) {
                writeln!(f, "rewind: {seconds:.3} s")?;
            }
        }
        if let Some(connections) = &self.connections {
            write!(f, "{connections}")?;
        }
        if let Some(queues) = &self.queues {
            write!(f, "{queues}")?;
        }
        if let Some(delayed) = &self.delayed {
            write!(f, "{delayed}")?;
        }
        if let Some(stress) = &self.stress {
            write!(f, "{stress}")?;
        }
        writeln!(f, "{}", if self.ok { "ok" } else { "NOT OK" })
    }
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

impl Display for Percentiles {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Percentiles {
            p50,
            p95,
            p99,
            p999,
            max,
        } = self;
        write!(
            f,
            "p50 {p50:.3}  p95 {p95:.3}  p99 {p99:.3}  p99.9 {p999:.3}  max {max:.3} ms"
        )
    }
}

impl Display for ConnectionReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} connections opened, {:.0} per second; {}",
            self.opened, self.opened_per_second, self.open_ms
        )?;
        if let (Some(before), Some(open), Some(after)) =
            (self.rss_before_mb, self.rss_open_mb, self.rss_after_mb)
        {
            write!(
                f,
                "  broker {before:.1} MB before, {open:.1} MB open, {after:.1} MB after"
            )?;
        }
        if let Some(each) = self.kilobytes_each {
            write!(f, ", {each:.1} KB each")?;
        }
        if let Some(cpu) = self.broker_cpu_percent {
            write!(f, "; {cpu:.1} % of a core")?;
        }
        writeln!(f)
    }
}

impl Display for QueueReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} queues declared, {:.0} per second; deleted {:.0} per second",
            self.declared, self.declared_per_second, self.deleted_per_second
        )?;
        if let (Some(before), Some(declared)) = (self.rss_before_mb, self.rss_declared_mb) {
            write!(f, "  broker {before:.1} MB before, {declared:.1} MB after")?;
        }
        if let Some(cpu) = self.idle_cpu_percent {
            write!(f, "; idle {cpu:.1} % of a core")?;
        }
        writeln!(f)?;
        if let Some(seconds) = self.restart_seconds {
            write!(f, "  restart {seconds:.2} s")?;
            if let Some(rss) = self.rss_restarted_mb {
                write!(f, ", then {rss:.1} MB")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

impl Display for DelayedReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} delayed", self.messages)?;
        if let (Some(before), Some(waiting)) = (self.rss_before_mb, self.rss_waiting_mb) {
            write!(
                f,
                ": broker {before:.1} MB before, {waiting:.1} MB with them"
            )?;
        }
        if let (Some(seconds), Some(rss)) = (self.restart_seconds, self.rss_restarted_mb) {
            write!(f, ", {rss:.1} MB after a restart of {seconds:.2} s")?;
        }
        writeln!(f)?;
        self.due.iter().try_for_each(|due| write!(f, "{due}"))
    }
}

impl Display for StressReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {:.0} per second",
            self.stressor, self.done_per_second
        )?;
        if let Some(ratio) = self.p99_ratio {
            write!(f, "; latency p99 {ratio:.1} times that of the pair alone")?;
        }
        writeln!(f)?;
        if let (Some(before), Some(peak), Some(after)) =
            (self.rss_before_mb, self.rss_peak_mb, self.rss_after_mb)
        {
            write!(
                f,
                "  broker {before:.1} MB before, {peak:.1} MB at most, {after:.1} MB after"
            )?;
            match self.settled_seconds {
                Some(seconds) => writeln!(f, ", settled in {seconds:.1} s")?,
                None => writeln!(f, ", NOT SETTLED")?,
            }
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
