//! Everything that is measured, at one moment.

use std::time::Duration;

use super::outcome::{Outcome, Usage};
use crate::broker::{Processes, machine_cpu_seconds};

/// Messages so far, of all workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) published: u64,
    pub(crate) received: u64,
}

pub(crate) struct Snapshot {
    /// Time on the stage's clock.
    pub(crate) at_ns: u64,
    pub(crate) totals: Totals,
    broker_cpu: Option<f64>,
    broker_written: Option<u64>,
    /// CPU seconds by worker: of its busier thread, and of the other one.
    workers: Vec<(f64, f64)>,
    machine_cpu: f64,
}

impl Snapshot {
    pub(crate) fn take(
        at_ns: u64,
        totals: Totals,
        workers: Vec<(f64, f64)>,
        broker: &Processes,
    ) -> Snapshot {
        Snapshot {
            at_ns,
            totals,
            broker_cpu: broker.cpu_seconds(),
            broker_written: broker.written(),
            workers,
            machine_cpu: machine_cpu_seconds().unwrap_or(0.0),
        }
    }

    /// The difference to a later moment.
    pub(crate) fn until(&self, later: &Snapshot) -> Outcome {
        let broker_cpu = self.broker_cpu.zip(later.broker_cpu);
        let broker_written = self.broker_written.zip(later.broker_written);
        let mut usage = Usage {
            broker_cpu: broker_cpu.map(|(from, to)| to - from),
            broker_written: broker_written.map(|(from, to)| to - from),
            machine_cpu: later.machine_cpu - self.machine_cpu,
            ..Usage::default()
        };
        for (from, to) in self.workers.iter().zip(&later.workers) {
            let (busier, other) = (to.0 - from.0, to.1 - from.1);
            usage.client_cpu += busier + other;
            usage.busiest_thread_cpu = usage.busiest_thread_cpu.max(busier);
        }
        Outcome {
            seconds: seconds(later.at_ns - self.at_ns),
            published: later.totals.published - self.totals.published,
            received: later.totals.received - self.totals.received,
            usage,
            ..Outcome::default()
        }
    }
}

pub(crate) fn seconds(ns: u64) -> f64 {
    Duration::from_nanos(ns).as_secs_f64()
}
