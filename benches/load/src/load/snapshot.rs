//! Everything that is measured, at one moment.

use std::collections::HashMap;
use std::time::Duration;

use super::outcome::{Outcome, Usage};
use crate::broker::{Processes, machine_cpu_seconds};
use crate::client::relay_cpu_seconds;

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
    /// CPU seconds of the threads that encrypt and decrypt, by their ids.
    relays: HashMap<i32, f64>,
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
            relays: relay_cpu_seconds(),
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
        let workers = self.workers.iter().zip(&later.workers);
        let workers = workers.map(|(from, to)| (to.0 - from.0, to.1 - from.1));
        let relays = later.relays.iter().map(|(id, to)| {
            let from = self.relays.get(id).copied().unwrap_or(0.0);
            (to - from, 0.0)
        });
        for (busier, other) in workers.chain(relays) {
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

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::{Snapshot, Totals};

    fn snapshot(at_ns: u64, worker: (f64, f64), relays: &[(i32, f64)]) -> Snapshot {
        Snapshot {
            at_ns,
            totals: Totals::default(),
            broker_cpu: None,
            broker_written: None,
            workers: vec![worker],
            relays: HashMap::from_iter(relays.iter().copied()),
            machine_cpu: 0.0,
        }
    }

    #[test]
    fn threads_of_tls_are_part_of_the_client() {
        let before = snapshot(0, (1.0, 0.5), &[(7, 2.0), (8, 4.0)]);
        // Thread 8 has ended, and 9 has begun.
        let after = snapshot(1_000, (1.5, 0.75), &[(7, 5.0), (9, 1.0)]);
        let usage = before.until(&after).usage;
        assert_eq!(usage.client_cpu, 0.5 + 0.25 + 3.0 + 1.0);
        assert_eq!(usage.busiest_thread_cpu, 3.0);
    }
}
