//! Delayed messages: the memory that they take while they wait, or their lateness.

use std::fmt::{self, Display, Formatter};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::fill_and_drain::FillAndDrain;
use super::mode::Mode;
use super::session::{Loads, Session};
use crate::broker::{megabytes, restart};
use crate::error::BenchError;
use crate::latencies::Percentiles;
use crate::lateness::Lateness;
use crate::load::{Load, Progress};
use crate::message::{DueWindow, wall_clock_ms};
use crate::report::Summary;

/// The delay of messages without `--due`.
const DELAY_MS: i32 = 3_600_000;
/// Time for the broker to release memory before that is measured.
const SETTLE: Duration = Duration::from_secs(30);
/// How long consumers are there before the first message is due.
const AHEAD: Duration = Duration::from_secs(1);

#[derive(Debug, clap::Args)]
pub(crate) struct Delayed {
    #[command(flatten)]
    options: FillAndDrain,
    /// Delayed messages, all queues together.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    count: u64,
    /// A shell command that restarts the broker and returns when it accepts connections.
    #[arg(long)]
    restart_hook: Option<String>,
    /// Due times, in seconds after publishing began: random times from FROM to TO instead of an hour.
    /// Consumers start when all messages are published and the broker is back from --restart-hook. FROM
    /// should be later than that, since messages that are due before do not count.
    #[arg(long, value_name = "FROM..TO")]
    due: Option<DueWindow>,
}

#[derive(Debug, Serialize)]
pub(crate) struct DelayedDetails {
    delayed: DelayedReport,
}

#[derive(Debug, Serialize)]
struct DelayedReport {
    messages: u64,
    /// Memory of the broker before, with the waiting messages, and with them after a restart.
    rss_before_mb: Option<f64>,
    rss_waiting_mb: Option<f64>,
    /// Time from the restart hook until the broker accepted a client again.
    restart_seconds: Option<f64>,
    rss_restarted_mb: Option<f64>,
    /// Set with `--due`.
    #[serde(skip_serializing_if = "Option::is_none")]
    due: Option<LatenessReport>,
}

/// Lateness of messages that were due at random times.
#[derive(Debug, Serialize)]
struct LatenessReport {
    /// Due times, in seconds after publishing began.
    from_seconds: f64,
    to_seconds: f64,
    /// Messages that came before they were due: always a fault.
    early: u64,
    /// Messages that were due before they were published, or before consumers were there. `late_ms` leaves
    /// them out.
    published_late: u64,
    due_unattended: u64,
    /// From the due time to the delivery, including the way from the publisher to the broker.
    late_ms: Option<Percentiles>,
    /// The most memory of the broker between the first publish and the last delivery.
    rss_peak_mb: Option<f64>,
}

impl Mode for Delayed {
    type Details = DelayedDetails;

    fn run(&self, progress: Progress) -> Result<Summary<DelayedDetails>, BenchError> {
        let session = self.options.session("delayed", Some(DELAY_MS), progress)?;
        let mut summary = session.run(|loads| {
            let delayed = match self.due {
                None => self.measure_memory(&session, loads)?,
                Some(window) => self.measure_lateness(window, &session, loads)?,
            };
            Ok(DelayedDetails { delayed })
        })?;
        let due = summary.details.delayed.due.as_ref();
        summary.ok &= due.is_none_or(|due| due.early == 0);
        Ok(summary)
    }
}

impl Delayed {
    fn measure_memory(
        &self,
        session: &Session,
        loads: &mut Loads,
    ) -> Result<DelayedReport, BenchError> {
        let processes = &session.setup.broker.processes;
        let rss_before_mb = processes.rss_mb();
        let filled = loads.run(&self.options.fill(session, self.count))?;
        thread::sleep(SETTLE);
        let rss_waiting_mb = processes.rss_mb();
        let restart_seconds = self.restart(session)?;
        let mut rss_restarted_mb = None;
        if restart_seconds.is_some() {
            thread::sleep(SETTLE);
            rss_restarted_mb = processes.rss_mb();
        }
        Ok(DelayedReport {
            messages: filled.sent.iter().sum(),
            rss_before_mb,
            rss_waiting_mb,
            restart_seconds,
            rss_restarted_mb,
            due: None,
        })
    }

    /// Reads the memory of waiting messages as late as possible: just before the restart, and just before the
    /// first message is due.
    fn measure_lateness(
        &self,
        window: DueWindow,
        session: &Session,
        loads: &mut Loads,
    ) -> Result<DelayedReport, BenchError> {
        let (setup, processes) = (&session.setup, &session.setup.broker.processes);
        let rss_before_mb = processes.rss_mb();
        let span = window.starting_at(wall_clock_ms());
        let filled = loads.run(&Load::fill_due(setup, session.produce, self.count, span))?;
        let rss_filled_mb = processes.rss_mb();
        let restart_seconds = self.restart(session)?;
        thread::sleep(span.begins_in(wall_clock_ms()).saturating_sub(AHEAD));
        let rss_ahead_mb = processes.rss_mb();
        let (rss_waiting_mb, rss_restarted_mb) = match restart_seconds {
            Some(_) => (rss_filled_mb, rss_ahead_mb),
            None => (rss_ahead_mb, None),
        };
        let messages = filled.sent.iter().sum();
        let consume = self.options.consumer_plan()?;
        let drain = Load::drain_due(setup, consume, filled.sent, span, wall_clock_ms());
        let drained = loads.run(&drain)?;
        let rss_peak = filled
            .usage
            .broker_rss_peak
            .max(drained.usage.broker_rss_peak);
        let lateness = drained.lateness.unwrap_or_default();
        Ok(DelayedReport {
            messages,
            rss_before_mb,
            rss_waiting_mb,
            restart_seconds,
            rss_restarted_mb,
            due: Some(LatenessReport::new(window, &lateness, rss_peak)),
        })
    }

    fn restart(&self, session: &Session) -> Result<Option<f64>, BenchError> {
        let hook = self.restart_hook.as_deref();
        hook.map(|hook| restart(&session.setup.broker.target, hook))
            .transpose()
    }
}

impl LatenessReport {
    fn new(window: DueWindow, lateness: &Lateness, rss_peak: Option<u64>) -> LatenessReport {
        LatenessReport {
            from_seconds: window.from.as_secs_f64(),
            to_seconds: window.to.as_secs_f64(),
            early: lateness.early,
            published_late: lateness.published_late,
            due_unattended: lateness.due_unattended,
            late_ms: lateness.late.percentiles(),
            rss_peak_mb: rss_peak.map(megabytes),
        }
    }
}

impl Display for DelayedDetails {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = &self.delayed;
        write!(f, "{} delayed", report.messages)?;
        if let (Some(before), Some(waiting)) = (report.rss_before_mb, report.rss_waiting_mb) {
            write!(
                f,
                ": broker {before:.1} MB before, {waiting:.1} MB with them"
            )?;
        }
        if let (Some(seconds), Some(rss)) = (report.restart_seconds, report.rss_restarted_mb) {
            write!(f, ", {rss:.1} MB after a restart of {seconds:.2} s")?;
        }
        writeln!(f)?;
        report.due.iter().try_for_each(|due| due.fmt(f))
    }
}

impl Display for LatenessReport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "  due {} to {} s after publishing began: ",
            self.from_seconds, self.to_seconds
        )?;
        match &self.late_ms {
            Some(late_ms) => writeln!(f, "late {late_ms}")?,
            None => writeln!(f, "none measured")?,
        }
        write!(
            f,
            "  {}{} early; not measured: {} published after they were due, {} due before they were consumed",
            if self.early == 0 { "" } else { "FAULTS: " },
            self.early,
            self.published_late,
            self.due_unattended
        )?;
        if let Some(rss) = self.rss_peak_mb {
            write!(f, "; broker {rss:.1} MB at most")?;
        }
        writeln!(f)
    }
}
