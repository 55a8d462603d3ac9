//! The line that shows how a load is doing. It is on standard error, and only on a terminal, so that standard
//! output holds the summary alone.

use std::time::{Duration, Instant};

use indicatif::ProgressBar;

use super::snapshot::Totals;
use crate::broker::{Processes, megabytes};

/// How often the line changes.
const EVERY: Duration = Duration::from_secs(1);

/// Whether to show progress.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) quiet: bool,
}

impl Progress {
    pub(super) fn start<'a>(self, name: &'static str, processes: &'a Processes) -> Line<'a> {
        let now = Instant::now();
        Line {
            bar: if self.quiet {
                ProgressBar::hidden()
            } else {
                ProgressBar::new_spinner()
            },
            name,
            processes,
            begun: now,
            shown: now,
            totals: Totals::default(),
            broker_cpu: processes.cpu_seconds(),
        }
    }
}

/// The line of one load. It disappears with this value.
pub(super) struct Line<'a> {
    bar: ProgressBar,
    name: &'static str,
    processes: &'a Processes,
    begun: Instant,
    /// Time, totals and CPU seconds of the broker when the line last changed.
    shown: Instant,
    totals: Totals,
    broker_cpu: Option<f64>,
}

impl Line<'_> {
    /// Changes the line if it is old enough.
    pub(super) fn show(&mut self, totals: &Totals) {
        let passed = self.shown.elapsed();
        if self.bar.is_hidden() || passed < EVERY {
            return;
        }
        let per_second = |now: u64, before: u64| (now - before) as f64 / passed.as_secs_f64();
        let mut line = format!(
            "{} {:.0} s  {:>9.0} published/s  {:>9.0} received/s",
            self.name,
            self.begun.elapsed().as_secs_f64(),
            per_second(totals.published, self.totals.published),
            per_second(totals.received, self.totals.received),
        );
        let broker_cpu = self.processes.cpu_seconds();
        if let (Some(now), Some(before)) = (broker_cpu, self.broker_cpu) {
            let percent = (now - before) / passed.as_secs_f64() * 100.0;
            line += &format!("  broker {percent:>3.0} % CPU");
        }
        if let Some(rss) = self.processes.rss() {
            line += &format!("  {:>6.0} MB", megabytes(rss));
        }
        self.bar.set_message(line);
        (self.shown, self.totals, self.broker_cpu) = (Instant::now(), *totals, broker_cpu);
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
