//! What a run works on: the broker, its processes, and the queues and exchanges that are declared for the run.

use std::fs;
use std::iter::Sum;
use std::path::PathBuf;
use std::time::Instant;

use super::BenchError;
use super::layout::Layout;
use super::link::{Link, QueueToDeclare};
use super::process;
use super::publish::MessageShape;
use super::target::Target;
use leveret::wire::{AMQPValue, FieldTable, ShortString};

/// Where and what.
#[derive(Debug)]
pub(super) struct Setup {
    pub(super) target: Target,
    pub(super) layout: Layout,
    pub(super) shape: MessageShape,
    /// Whether queues outlive a restart of the broker.
    pub(super) durable: bool,
    pub(super) queue_arguments: FieldTable,
    pub(super) consume_arguments: FieldTable,
    /// The broker's processes.
    pub(super) pids: Vec<u32>,
    /// Files with ids of more of them.
    pub(super) pid_files: Vec<PathBuf>,
    /// Whether to show no progress.
    pub(super) quiet: bool,
}

/// What declaring showed.
#[derive(Debug)]
pub(super) struct Declared {
    /// The broker's product and version.
    pub(super) broker: String,
    pub(super) queues_per_second: f64,
}

impl Setup {
    /// Declares everything anew: what an earlier run has left behind is deleted.
    pub(super) fn declare(&self) -> Result<Declared, BenchError> {
        self.clean_up()?;
        let mut link = Link::open(&self.target)?;
        let begun = Instant::now();
        for queue in 0..self.layout.queues {
            link.declare_queue(&QueueToDeclare {
                name: &self.layout.queue_name(queue),
                durable: self.durable,
                arguments: &self.queue_arguments,
            })?;
        }
        let queues_per_second = self.layout.queues as f64 / begun.elapsed().as_secs_f64();
        if let Some(kind) = self.layout.routing.exchange_type() {
            let exchange = self.layout.exchange_name();
            link.declare_exchange(&exchange, kind)?;
            for (queue, key) in self.layout.bindings() {
                link.bind(&self.layout.queue_name(queue), &exchange, &key)?;
            }
        }
        let broker = link.server_name();
        link.close()?;
        Ok(Declared {
            broker,
            queues_per_second,
        })
    }

    /// Deletes what `declare` has declared.
    pub(super) fn clean_up(&self) -> Result<(), BenchError> {
        let mut link = Link::open(&self.target)?;
        for queue in 0..self.layout.queues {
            link.delete_queue(&self.layout.queue_name(queue))?;
        }
        if self.layout.routing.exchange_type().is_some() {
            link.delete_exchange(&self.layout.exchange_name())?;
        }
        link.close()
    }

    /// CPU seconds that the broker has used since it started.
    pub(super) fn broker_cpu(&self) -> Option<f64> {
        self.sum(process::cpu_seconds)
    }

    /// The broker's resident memory, in bytes.
    pub(super) fn broker_rss(&self) -> Option<u64> {
        self.sum(process::rss_bytes)
    }

    /// Bytes that the broker has written to storage.
    pub(super) fn broker_written(&self) -> Option<u64> {
        self.sum(process::written_bytes)
    }

    fn sum<T: Sum>(&self, of: impl Fn(u32) -> Option<T>) -> Option<T> {
        if self.pids.is_empty() && self.pid_files.is_empty() {
            return None;
        }
        let given = self.pids.iter().copied().map(Some);
        let read = self
            .pid_files
            .iter()
            .map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
        given.chain(read).map(|pid| of(pid?)).sum()
    }
}

/// Reads arguments of queues or consumers given as `name=value`: a value of digits is a number, `true` and `false` are booleans,
/// everything else is a string.
pub(super) fn parse_arguments(arguments: &[String]) -> Result<FieldTable, BenchError> {
    let mut table = FieldTable::default();
    for argument in arguments {
        let (name, value) = argument
            .split_once('=')
            .filter(|(name, _)| !name.is_empty() && name.len() < 256)
            .ok_or_else(|| BenchError::Usage(format!("{argument}: expected name=value")))?;
        let value = match (value.parse::<i64>(), value) {
            (Ok(number), _) => AMQPValue::LongLongInt(number),
            (_, "true") => AMQPValue::Boolean(true),
            (_, "false") => AMQPValue::Boolean(false),
            (_, text) => AMQPValue::LongString(text.into()),
        };
        table.insert(ShortString::from(name), value);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_have_the_type_they_look_like() {
        let given = ["x-queue-type=quorum", "x-max-length=100", "flag=true"].map(str::to_owned);
        let table = parse_arguments(&given).unwrap();
        assert_eq!(
            table.inner().get("x-queue-type"),
            Some(&AMQPValue::LongString("quorum".into()))
        );
        assert_eq!(
            table.inner().get("x-max-length"),
            Some(&AMQPValue::LongLongInt(100))
        );
        assert_eq!(table.inner().get("flag"), Some(&AMQPValue::Boolean(true)));
        assert!(parse_arguments(&["x".to_owned()]).is_err());
    }
}
