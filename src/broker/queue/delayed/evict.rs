//! Evicts delayed messages, and decides whether they are written once more for that.

use std::cmp::Reverse;

use crate::broker::queue::budget::QUEUE_RESIDENT_BYTES_MIN;
use crate::model::{Message, Ticket};

use super::message::{Due, weight};
use super::scatter::{Placement, is_scattered};
use super::{Delayed, MOVES_MAX, allowed_bytes};

/// Maximum bytes that leave memory in one command: some chunks.
const EVICT_BYTES_MAX: u64 = 1024 * 1024;

impl Delayed {
    /// Keeps to a share of the `queue_bytes` that the queue may have in memory: evicts the messages that are
    /// due last. The store has everything up to the batch `committed`.
    pub(in crate::broker::queue) fn evict(&mut self, queue_bytes: u64, committed: Ticket) {
        self.allowed_bytes = allowed_bytes(queue_bytes.max(QUEUE_RESIDENT_BYTES_MIN));
        while let Some((ticket, end)) = self.in_flight.front().copied()
            && ticket <= committed
        {
            self.stored = end;
            self.awaits_commit = false;
            self.in_flight.pop_front();
        }
        self.is_evicting |= self.resident_bytes > self.allowed_bytes;
        if !self.is_evicting || self.awaits_commit {
            return;
        }
        let excess = self.resident_bytes.saturating_sub(self.allowed_bytes / 2);
        let evicted = self.latest(excess.min(EVICT_BYTES_MAX));
        // The next command goes on, or the next commit if the store has no more of them.
        self.awaits_commit = evicted.is_empty();
        self.evict_messages(&evicted);
        let enough = if self.awaits_commit {
            self.allowed_bytes
        } else {
            self.allowed_bytes / 2
        };
        self.is_evicting = self.resident_bytes > enough;
    }

    /// The stored resident messages that are due last, up to `bytes_max`, in the order of their times. The
    /// message that is due first of all stays.
    fn latest(&self, bytes_max: u64) -> Vec<Due> {
        let mut latest = Vec::new();
        let mut bytes = 0;
        let stored = |due: &Due| due.offset < self.stored;
        let others = self.resident.iter().skip(1).rev();
        for (due, delayed) in others.filter(|(due, _)| stored(due)) {
            if bytes >= bytes_max || latest.len() >= MOVES_MAX {
                break;
            }
            bytes += weight(&delayed.message);
            latest.push(*due);
        }
        latest.reverse();
        latest
    }

    /// Evicts messages, given in the order of their times. If they lie scattered over the log, appends them
    /// to it once more in that order. A message that was read back lies well enough and is not written a
    /// third time.
    fn evict_messages(&mut self, evicted: &[Due]) {
        let placement = |due: &Due| {
            let delayed = self.resident.get(due).filter(|delayed| !delayed.in_place)?;
            Some(Placement {
                chunk: self.resident_chunks.first_of(due.offset)?,
                bytes: delayed.message.size() as u64,
            })
        };
        let placements: Vec<_> = evicted.iter().filter_map(placement).collect();
        let scattered = is_scattered(&placements);
        if scattered {
            self.open_chunks.cut();
        }
        for due in evicted {
            let Some(delayed) = self.resident.remove(due) else {
                continue;
            };
            self.resident_bytes = self.resident_bytes.saturating_sub(weight(&delayed.message));
            if !scattered || delayed.in_place {
                self.resident_chunks.remove(due.offset);
                self.on_disk.push(Reverse(*due));
                continue;
            }
            let offset = self.next;
            let message = Message {
                delay_ms: None,
                ..Message::clone(&delayed.message)
            };
            // Without a delay it is due at the time at which it counts as enqueued.
            self.write(due.at_ms, &message);
            self.settle(due.offset, &delayed.message);
            self.on_disk.push(Reverse(Due { offset, ..*due }));
        }
        if scattered {
            self.open_chunks.cut();
        }
    }
}
