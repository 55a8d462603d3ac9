//! A run on declared queues: declares them, runs loads, and deletes them again.

use crate::error::BenchError;
use crate::load::{ConsumerPlan, Load, Outcome, Progress, PublishPlan};
use crate::report::{LoadReport, Settings, Summary};
use crate::setup::Setup;

pub(super) struct Session {
    pub(super) mode: &'static str,
    pub(super) setup: Setup,
    pub(super) produce: PublishPlan,
    pub(super) consume: Option<ConsumerPlan>,
    /// Whether to leave the queues behind.
    pub(super) keep: bool,
    pub(super) progress: Progress,
}

impl Session {
    /// `measure` runs the loads and returns the details of the summary.
    pub(super) fn run<D>(
        &self,
        measure: impl FnOnce(&mut Loads) -> Result<D, BenchError>,
    ) -> Result<Summary<D>, BenchError> {
        let declared = self.setup.declare()?;
        let mut loads = Loads {
            size: self.setup.shape.size,
            progress: self.progress,
            reports: Vec::new(),
        };
        let measured = measure(&mut loads);
        let cleaned = if self.keep {
            Ok(())
        } else {
            self.setup.clean_up()
        };
        let details = measured?;
        cleaned?;
        Ok(Summary {
            mode: self.mode,
            broker: declared.broker,
            settings: Some(Settings::new(&self.setup, self.produce, self.consume)),
            ok: loads.reports.iter().all(LoadReport::is_ok),
            loads: loads.reports,
            details,
        })
    }
}

/// The loads of a session so far.
pub(super) struct Loads {
    size: usize,
    progress: Progress,
    reports: Vec<LoadReport>,
}

impl Loads {
    pub(super) fn run(&mut self, load: &Load<'_>) -> Result<Outcome, BenchError> {
        let outcome = load.run(self.progress)?;
        self.add(load.name, &outcome, load.offered);
        Ok(outcome)
    }

    /// Reports an outcome that was not measured by a `Load`.
    pub(super) fn add(&mut self, name: &'static str, outcome: &Outcome, offered: Option<u64>) {
        let report = LoadReport::new(name, outcome, self.size, offered);
        self.reports.push(report);
    }
}
