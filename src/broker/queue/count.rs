//! Counts what the queue does: for itself under its lock, and for its virtual host by protocol and queue type.

use crate::broker::stats::{HandedOut, Protocol, QueueStats};
use crate::model::LogId;
use crate::store::{Op, chunk};

use super::counts::Counts;
use super::death::DeathCounts;
use super::effects::Chunks;
use super::shell::{Cell, Queue};

impl Queue {
    /// The numbers of this queue and what it has counted, in one step.
    pub fn numbers(&self) -> (Counts, QueueStats) {
        let cell = self.lock();
        (cell.machine.counts(), cell.stats)
    }

    /// What this queue has counted since the broker started.
    pub fn stats(&self) -> QueueStats {
        self.lock().stats
    }

    /// For each log the offset below which messages may have been handed out.
    pub fn handed_out(&self) -> Vec<(LogId, u64)> {
        self.lock().machine.handed_out()
    }

    pub(super) fn count_handed_out(&self, cell: &mut Cell, by: Protocol, handed_out: &HandedOut) {
        cell.stats.handed_out += *handed_out;
        let kind = self.spec.arguments.kind;
        self.services.stats.count_handed_out(by, kind, handed_out);
    }

    /// Counts messages that a client has acknowledged or deleted.
    pub(super) fn count_acks(&self, cell: &mut Cell, by: Protocol, messages: usize) {
        let handed_out = HandedOut {
            ack: messages as u64,
            ..HandedOut::default()
        };
        self.count_handed_out(cell, by, &handed_out);
    }

    pub(super) fn count_deaths(&self, deaths: &DeathCounts) {
        let kind = self.spec.arguments.kind;
        let stats = &self.services.stats;
        stats.count_deaths(kind, &deaths.dead_lettered, &deaths.dropped);
    }

    /// Counts the messages in the chunks that a batch writes.
    pub(super) fn count_writes(&self, cell: &mut Cell, ops: &[Op]) {
        let messages = ops.iter().map(|op| match op {
            Op::PutChunk { chunk, .. } => chunk::count(chunk).unwrap_or(0),
            _ => 0,
        });
        let written = messages.map(u64::from).sum();
        cell.stats.disk_writes += written;
        self.services.stats.disk_writes.add(written);
    }

    /// Counts the messages of a read.
    pub(super) fn count_reads(&self, cell: &mut Cell, chunks: &Chunks) {
        let read = chunks
            .iter()
            .map(|(_, messages)| messages.len() as u64)
            .sum();
        cell.stats.disk_reads += read;
        self.services.stats.disk_reads.add(read);
    }
}
