//! Reads delayed messages some seconds before they are due, and their times after a restart.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::broker::queue::effects::{Effect, Effects, Pick, Picked};
use crate::store::StoredMessage;

use super::message::{Due, RESIDENT_OVERHEAD, due_ms, weight};
use super::{Delayed, PendingPick};

/// A message has to be read this long before it is due.
const READ_BY_MS: u64 = 2_000;
/// Messages that are due within this time are read with it. The more one read brings, the fewer reads it
/// takes.
const READ_AHEAD_MS: u64 = 10_000;
/// Maximum number of messages that one read brings.
const PICK_MAX: usize = 16 * 1024;

/// Pause while memory is full of messages that the store does not have yet, so that none can be evicted.
pub(super) const STORED_WAIT_MS: u64 = 10;
/// Number of resident messages, those due last, among which to search for an evictable one.
const LOOKED_AT: usize = 64;

/// The heap of times keeps a capacity of at least this many.
pub(super) const SPARE: usize = 64;

impl Delayed {
    /// When to look again: when a message is due or has to be read. The end of a read looks again as well.
    pub(in crate::broker::queue) fn next_due_ms(&self) -> Option<u64> {
        let resident = self.resident.first_key_value().map(|(due, _)| *due);
        let due_ms = resident
            .filter(|due| self.is_next(*due))
            .map(|due| due.at_ms);
        let read_ms = self.next_on_disk().and_then(|on_disk| {
            let read_by_ms = on_disk.at_ms.saturating_sub(READ_BY_MS);
            match self.pending_pick {
                Some(_) => None,
                None if self.may_read() => Some(read_by_ms),
                None if resident.is_some_and(|resident| resident < on_disk) => None,
                None => Some(read_by_ms.max(self.looked_ms + STORED_WAIT_MS)),
            }
        });
        due_ms.into_iter().chain(read_ms).min()
    }

    /// Asks for reads of messages that are due soon, and of unknown times.
    pub(in crate::broker::queue) fn read(&mut self, now_ms: u64, fx: &mut Effects) {
        if !self.unscanned.is_empty() && !self.is_scanning {
            self.is_scanning = true;
            fx.push(Effect::Read {
                log: self.log,
                from: self.unscanned.start,
            });
        }
        self.looked_ms = now_ms;
        let first = self.next_on_disk();
        if first.is_none_or(|first| first.at_ms > now_ms.saturating_add(READ_BY_MS)) {
            return;
        }
        let max_bytes = self.allowed_bytes / 4;
        let average = self.average_bytes() + RESIDENT_OVERHEAD;
        let mut wanted = Vec::new();
        let mut bytes = 0;
        while self.may_read()
            && bytes < max_bytes
            && wanted.len() < PICK_MAX
            && let Some(due) = self.next_on_disk()
            && due.at_ms <= now_ms.saturating_add(READ_AHEAD_MS)
        {
            self.on_disk.pop();
            wanted.push(due);
            bytes += average;
        }
        let Some(first) = wanted.first().copied() else {
            return;
        };
        if self.on_disk.capacity() / 4 > self.on_disk.len().max(SPARE) {
            self.on_disk.shrink_to(2 * self.on_disk.len());
        }
        wanted.sort_unstable_by_key(|due| due.offset);
        fx.push(Effect::Pick(Pick {
            log: self.log,
            offsets: wanted.iter().map(|due| due.offset).collect(),
            max_bytes,
        }));
        self.pending_pick = Some(PendingPick { first, wanted });
    }

    /// Takes in the messages of a pick. Those that it did not bring are read again: they were too many, or
    /// the disk did not answer.
    pub(in crate::broker::queue) fn picked(&mut self, chunks: Vec<Picked>) {
        let Some(pick) = self.pending_pick.take() else {
            return;
        };
        let messages = chunks.into_iter().flat_map(|picked| {
            let chunk = picked.chunk;
            let messages = picked.messages.into_iter();
            messages.map(move |stored| (chunk.clone(), stored))
        });
        let mut messages = messages.peekable();
        let mut found = BTreeMap::new();
        for due in pick.wanted {
            while messages
                .next_if(|(_, stored)| stored.offset < due.offset)
                .is_some()
            {}
            match messages.next_if(|(_, stored)| stored.offset == due.offset) {
                Some((chunk, stored)) => {
                    found.insert(due, (chunk, stored.message));
                }
                None => self.on_disk.push(Reverse(due)),
            }
        }
        for (due, (chunk, message)) in found {
            let bytes = weight(&message);
            if self.fits(due, bytes) {
                self.resident_chunks.add(chunk);
                self.insert_resident(due, message, true);
            } else {
                if self.next_on_disk().is_none_or(|first| due < first) {
                    self.unfit = Some((due, bytes));
                }
                self.on_disk.push(Reverse(due));
            }
        }
    }

    /// Takes in chunks that the scan read for the times of their messages.
    pub(in crate::broker::queue) fn scanned(&mut self, chunks: Vec<(u64, Vec<StoredMessage>)>) {
        self.is_scanning = false;
        for (first, messages) in chunks {
            let end = first + messages.len() as u64;
            let unknown = messages.iter().filter(|stored| {
                self.unscanned.contains(&stored.offset) && !self.settled.contains(stored.offset)
            });
            self.on_disk.extend(unknown.map(|stored| {
                Reverse(Due {
                    at_ms: due_ms(stored.enqueued_ms, &stored.message),
                    offset: stored.offset,
                })
            }));
            if first <= self.unscanned.start {
                self.unscanned.start = self.settled.first_gap(self.unscanned.start.max(end));
            }
        }
    }

    /// Whether any message to read would fit into memory.
    fn may_read(&self) -> bool {
        let is_stored = |first: &Due| self.pending_pick.is_none() && first.offset < self.stored;
        let Some(first) = self.next_on_disk().filter(is_stored) else {
            return false;
        };
        match self.unfit {
            Some((due, bytes)) if due == first => self.fits(due, bytes),
            _ => self.resident_bytes < self.allowed_bytes / 2 || self.displaces(first),
        }
    }

    /// Whether a message may become resident: within the allowed bytes, as the only one, or in the place of
    /// messages that are due later.
    fn fits(&self, due: Due, bytes: u64) -> bool {
        self.resident_bytes + bytes <= self.allowed_bytes
            || self.resident.is_empty()
            || self.displaces(due)
    }

    /// Whether a message that is due later can be evicted.
    fn displaces(&self, due: Due) -> bool {
        let later = self
            .resident
            .range((Bound::Excluded(due), Bound::Unbounded));
        let mut last = later.rev().take(LOOKED_AT);
        last.any(|(later, _)| later.offset < self.stored)
    }

    /// Average bytes of a message.
    fn average_bytes(&self) -> u64 {
        self.offsets.bytes().checked_div(self.len()).unwrap_or(0)
    }
}
