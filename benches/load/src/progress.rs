//! The line that shows, each second, how a load is getting on. Written to standard error, so that the summary is alone
//! on standard output.

use std::time::{Duration, Instant};

use super::load::Totals;
use super::setup::Setup;

const EVERY: Duration = Duration::from_secs(1);

/// Shows a load's progress.
pub(super) struct Progress<'a> {
    setup: &'a Setup,
    name: &'static str,
    begun: Instant,
    shown: Instant,
    totals: Totals,
    broker_cpu: Option<f64>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(setup: &'a Setup, name: &'static str) -> Progress<'a> {
        let now = Instant::now();
        Progress {
            setup,
            name,
            begun: now,
            shown: now,
            totals: Totals::default(),
            broker_cpu: setup.broker_cpu(),
        }
    }

    /// Shows a line if it is time.
    pub(super) fn show(&mut self, totals: &Totals) {
        let passed = self.shown.elapsed();
        if self.setup.quiet || passed < EVERY {
            return;
        }
        let per_second = |now: u64, before: u64| (now - before) as f64 / passed.as_secs_f64();
        let mut line = format!(
            "{:>8} {:>5.0} s  {:>9.0} published/s  {:>9.0} received/s",
            self.name,
            self.begun.elapsed().as_secs_f64(),
            per_second(totals.published, self.totals.published),
            per_second(totals.received, self.totals.received),
        );
        let broker_cpu = self.setup.broker_cpu();
        if let (Some(now), Some(before)) = (broker_cpu, self.broker_cpu) {
            line += &format!(
                "  broker {:>3.0} % CPU",
                (now - before) / passed.as_secs_f64() * 100.0
            );
        }
        if let Some(rss) = self.setup.broker_rss() {
            line += &format!("  {:>6.0} MB", rss as f64 / 1e6);
        }
        eprintln!("{line}");
        (self.shown, self.totals, self.broker_cpu) = (Instant::now(), *totals, broker_cpu);
    }

    /// Nothing more will be shown.
    pub(super) fn end(self) {}
}
