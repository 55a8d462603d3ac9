//! Reads, evictions and unwritten changes of a stream.

use std::ops::Range;

use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::{Chunks, Effects, Picked};
use crate::broker::queue::machine::Stored;
use crate::model::{ConsumerId, LogId, Ticket};
use crate::store::{Batch, LogRecord, Op};

use super::{RUN_BYTES, Stream};

impl Stored for Stream {
    fn loaded(&mut self, now_ms: u64, log: LogId, from: u64, chunks: Chunks, fx: &mut Effects) {
        if log.is_delayed() {
            if let Some(delayed) = &mut self.delayed {
                delayed.scanned(chunks);
            }
        } else {
            self.loading.retain(|loading| *loading != from);
            // Retention may have dropped the first messages since the read began.
            let found = chunks.first().map_or(from, |(first, _)| *first);
            for reader in &mut self.readers {
                if (from..found).contains(&reader.cursor) {
                    reader.cursor = found;
                }
            }
            for (first, messages) in chunks {
                self.lost.remove_range(first..first + messages.len() as u64);
                self.pages.insert(self.command, first, messages);
            }
        }
        self.finish(now_ms, fx);
    }

    fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects) {
        if let Some(delayed) = &mut self.delayed {
            delayed.picked(chunks);
        }
        self.finish(now_ms, fx);
    }

    fn sought(&mut self, now_ms: u64, consumer: ConsumerId, offset: u64, fx: &mut Effects) {
        if let Some(reader) = self.reader_mut(consumer) {
            reader.is_seeking = false;
            reader.cursor = reader.cursor.max(offset);
        }
        self.finish(now_ms, fx);
    }

    fn lose(&mut self, now_ms: u64, log: LogId, range: Range<u64>, fx: &mut Effects) -> u64 {
        let lost = if log.is_delayed() {
            let delayed = self.delayed.as_mut();
            delayed.map_or(0, |delayed| delayed.lose(range))
        } else {
            let mut lost = 0;
            let mut at = range.start.max(self.floor);
            let end = range.end.min(self.durable);
            while at < end {
                // Resident messages are not lost.
                let page = self.pages.next_page(at);
                let gap_end = page.as_ref().map_or(end, |page| page.start.clamp(at, end));
                lost += self.lost.insert_range(at..gap_end);
                at = page.map_or(end, |page| page.end);
            }
            lost
        };
        self.finish(now_ms, fx);
        lost
    }

    fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        let delayed = self.delayed.as_ref();
        let delayed = delayed.map(|delayed| (delayed.log(), delayed.lost()));
        [(self.log, self.lost.iter().collect::<Vec<_>>())]
            .into_iter()
            .chain(delayed)
            .filter(|(_, lost)| !lost.is_empty())
            .collect()
    }

    fn expects(&self, log: LogId, offset: u64) -> bool {
        match &self.delayed {
            Some(delayed) if log.is_delayed() => delayed.expects(offset),
            Some(_) | None => offset >= self.floor && !self.lost.contains(offset),
        }
    }

    fn read_bytes(&self) -> usize {
        RUN_BYTES
    }

    fn resident_bytes(&self) -> u64 {
        self.pages.bytes() + self.delayed.as_ref().map_or(0, Delayed::resident_bytes)
    }

    fn evict(&mut self, allowed: u64, committed: Ticket) {
        let mut delayed_bytes = 0;
        if let Some(delayed) = &mut self.delayed {
            delayed.evict(allowed, committed);
            delayed_bytes = delayed.resident_bytes();
        }
        if self.resident_bytes() > allowed {
            let rest = allowed.saturating_sub(delayed_bytes);
            self.pages.evict(rest, committed);
        }
    }

    fn is_dirty(&self) -> bool {
        self.is_dirty || self.delayed.as_ref().is_some_and(Delayed::is_dirty)
    }

    fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        if let Some(delayed) = self.delayed.as_mut().filter(|delayed| delayed.is_dirty()) {
            delayed.collect(ticket, batch);
        }
        if !std::mem::take(&mut self.is_dirty) {
            return;
        }
        let log = self.log;
        self.pages.collect(log, ticket, batch);
        self.segments.collect(log, batch);
        let record = LogRecord {
            next: self.next,
            floor: self.floor,
            bytes: self.segments.bytes(),
            ..LogRecord::default()
        };
        batch.push(Op::PutLog { log, record });
        if self.floor > self.swept_below {
            self.swept_below = self.floor;
            let offsets = 0..self.floor;
            batch.push(Op::Sweep { log, offsets });
        }
        self.in_flight.push_back((ticket, self.next));
    }

    fn awaits_durability(&self) -> bool {
        true
    }

    fn durable_up_to(&mut self, now_ms: u64, upto: Ticket, fx: &mut Effects) {
        self.durable_ticket = self.durable_ticket.max(upto);
        while let Some((ticket, end)) = self.in_flight.front().copied()
            && ticket <= upto
        {
            self.durable = self.durable.max(end);
            self.in_flight.pop_front();
        }
        self.finish(now_ms, fx);
    }

    fn logs(&self) -> Vec<LogId> {
        let delayed = self.delayed.as_ref().map(Delayed::log);
        std::iter::once(self.log).chain(delayed).collect()
    }
}
