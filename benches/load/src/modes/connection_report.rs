//! The report of modes that open connections.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use crate::latencies::Percentiles;
use crate::report::Summary;

#[derive(Debug, Serialize)]
pub(crate) struct ConnectionDetails {
    pub(super) connections: ConnectionReport,
}

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
    /// CPU of the broker with idle connections, or during the churn, in percent of a core.
    pub(super) broker_cpu_percent: Option<f64>,
}

impl ConnectionReport {
    pub(super) fn summary(self, mode: &'static str, broker: String) -> Summary<ConnectionDetails> {
        Summary {
            mode,
            broker,
            settings: None,
            loads: Vec::new(),
            details: ConnectionDetails { connections: self },
            ok: true,
        }
    }
}

impl Display for ConnectionDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.connections;
        writeln!(
            f,
            "{} connections opened, {:.0} per second; {}",
            report.opened, report.opened_per_second, report.open_ms
        )?;
        if let (Some(before), Some(open), Some(after)) = (
            report.rss_before_mb,
            report.rss_open_mb,
            report.rss_after_mb,
        ) {
            write!(
                f,
                "  broker {before:.1} MB before, {open:.1} MB open, {after:.1} MB after"
            )?;
        }
        if let Some(each) = report.kilobytes_each {
            write!(f, ", {each:.1} KB each")?;
        }
        if let Some(cpu) = report.broker_cpu_percent {
            write!(f, "; {cpu:.1} % of a core")?;
        }
        writeln!(f)
    }
}
