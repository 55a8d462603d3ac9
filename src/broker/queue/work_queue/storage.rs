//! Reads, evictions and unwritten changes of a work queue.

use std::ops::Range;

use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::{Chunks, Effects, Picked};
use crate::broker::queue::machine::Stored;
use crate::model::{LogId, Ticket};
use crate::store::Batch;

use super::state::{READ_AHEAD_BYTES, WorkQueue};

/// Maximum number of bytes of one read of a backlog.
const READ_BYTES: usize = 1024 * 1024;

/// A queue reads ahead one part in this many of its allowed memory.
const AHEAD_SHARE: u64 = 8;

impl Stored for WorkQueue {
    fn loaded(&mut self, now_ms: u64, log: LogId, _from: u64, chunks: Chunks, fx: &mut Effects) {
        if log.is_delayed() {
            self.delayed_mut().scanned(chunks);
        } else if let Some(lane) = self.lane_mut(log.lane()) {
            lane.end_load();
            for (first, messages) in chunks {
                lane.load(first, messages);
            }
        }
        self.finish(now_ms, fx);
    }

    fn picked(&mut self, now_ms: u64, chunks: Vec<Picked>, fx: &mut Effects) {
        self.delayed_mut().picked(chunks);
        self.finish(now_ms, fx);
    }

    fn expects(&self, log: LogId, offset: u64) -> bool {
        if log.is_delayed() {
            let delayed = self.delayed.as_deref();
            return delayed.is_some_and(|delayed| delayed.expects(offset));
        }
        let lane = self.lanes.iter().find(|(lane, _)| *lane == log.lane());
        lane.is_some_and(|(_, lane)| lane.expects(offset))
    }

    fn lose(&mut self, now_ms: u64, log: LogId, range: Range<u64>, fx: &mut Effects) -> u64 {
        let lost = if log.is_delayed() {
            self.delayed_mut().lose(range)
        } else {
            let lane = self.lanes.iter_mut().find(|(lane, _)| *lane == log.lane());
            lane.map_or(0, |(number, lane)| {
                let lost = lane.lose(range);
                self.dying
                    .keep_only(*number, |offset| lane.is_dying(offset));
                lost
            })
        };
        self.finish(now_ms, fx);
        lost
    }

    fn lost(&self) -> Vec<(LogId, Vec<Range<u64>>)> {
        let lanes = self.lanes.iter().map(|(_, lane)| (lane.log(), lane.lost()));
        let delayed = self.delayed.as_deref();
        let delayed = delayed.map(|delayed| (delayed.log(), delayed.lost()));
        lanes
            .chain(delayed)
            .filter(|(_, lost)| !lost.is_empty())
            .collect()
    }

    fn resident_bytes(&self) -> u64 {
        let lanes = self.lanes.iter().map(|(_, lane)| lane.resident_bytes());
        lanes.sum::<u64>() + self.delayed.as_deref().map_or(0, Delayed::resident_bytes)
    }

    fn read_bytes(&self) -> usize {
        READ_BYTES.min(usize::try_from(self.ahead_bytes).unwrap_or(usize::MAX))
    }

    fn evict(&mut self, allowed: u64, committed: Ticket) {
        self.ahead_bytes = READ_AHEAD_BYTES.min(allowed / AHEAD_SHARE);
        if let Some(delayed) = &mut self.delayed {
            delayed.evict(allowed, committed);
        }
        // Dying messages stay resident while their dead letters are being published.
        if self.resident_bytes() <= allowed || self.dying.is_out() {
            return;
        }
        let letter = self.dying.front();
        // The lowest priority is needed last, so it goes first.
        for index in (0..self.lanes.len()).rev() {
            let others = self.resident_bytes();
            if let Some((priority, lane)) = self.lanes.get_mut(index) {
                let rest = others - lane.resident_bytes();
                let letter = letter.filter(|id| id.lane == *priority);
                let needed = letter.map(|id| id.offset);
                lane.evict(allowed.saturating_sub(rest), committed, needed);
            }
        }
    }

    fn is_dirty(&self) -> bool {
        self.lanes.iter().any(|(_, lane)| lane.is_dirty())
            || self.delayed.as_deref().is_some_and(Delayed::is_dirty)
    }

    fn collect(&mut self, ticket: Ticket, batch: &mut Batch) {
        for (_, lane) in &mut self.lanes {
            if lane.is_dirty() {
                lane.collect(ticket, batch);
            }
        }
        if let Some(delayed) = self.delayed.as_mut().filter(|delayed| delayed.is_dirty()) {
            delayed.collect(ticket, batch);
        }
    }

    fn logs(&self) -> Vec<LogId> {
        let lanes = self
            .lanes
            .iter()
            .map(|(priority, _)| self.id.log(*priority));
        let delayed = self.delayed.as_deref().map(Delayed::log);
        lanes.chain(delayed).collect()
    }

    fn handed_out(&self) -> Vec<(LogId, u64)> {
        let lanes = self.lanes.iter();
        let lanes = lanes.map(|(_, lane)| (lane.log(), lane.handed_out_below()));
        // A delayed message is handed out in its lane.
        let delayed = self.delayed.as_deref().map(|delayed| (delayed.log(), 0));
        lanes.chain(delayed).collect()
    }
}
