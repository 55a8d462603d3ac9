//! The end of each command of a work queue: deliver, expire, trim, read ahead.

use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::Head;
use crate::broker::queue::lane::resting::Woken;

use super::deaths::Expiry;
use super::state::{Paused, WorkQueue, request_load};

/// Maximum number of rests that end in one command, so that other commands run in between.
const RESTS_ENDED_MAX: usize = 4096;

impl WorkQueue {
    /// Finishes a command, unless a delivery needs a permit first.
    pub(super) fn finish(&mut self, now_ms: u64, fx: &mut Effects) {
        if self.is_deleted {
            return self.watch_letters(fx);
        }
        self.is_overdue = false;
        self.release(now_ms, fx);
        self.end_due_leases(now_ms);
        self.end_rests(now_ms);
        self.consumers.elect();
        self.paused = Paused::AtEnd;
        self.dispatch(now_ms, fx);
        if fx.permit.is_some() {
            return; // `permit` begins again
        }
        self.bound_deadlines();
        self.expire(now_ms, Expiry::Due, fx);
        self.answer_hasty(fx);
        self.enforce_length(fx);
        self.watch_head(fx);
        self.watch_letters(fx);
        let awaited = self.consumers.len() > 0 || !self.waiting.is_empty();
        for (_, lane) in &mut self.lanes {
            lane.expire_history(now_ms);
            lane.end_command();
            if awaited
                && lane.ready() > 0
                && let Some(offset) = lane.read_ahead(self.ahead_bytes)
            {
                request_load(lane, offset, fx);
            }
        }
        self.consumers.end_share();
        self.left = 0;
    }

    /// Reads cold heads if messages may expire or become dead letters: expiry looks at the head in memory,
    /// even without consumers.
    pub(super) fn watch_head(&mut self, fx: &mut Effects) {
        let arguments = &self.arguments;
        if arguments.message_ttl_ms.is_none()
            && arguments.retention_ms.is_none()
            && arguments.dead_letter_exchange.is_none()
        {
            return;
        }
        let first = self.next();
        let others = match self.expires_at_each_level() {
            true => 0..self.lanes.len(),
            false => 0..0,
        };
        let others = others.filter_map(|index| self.head_of(index));
        for next in first.into_iter().chain(others).collect::<Vec<_>>() {
            if let Some((_, lane)) = self.lanes.get_mut(next.lane)
                && let Head::Cold(offset) = next.head
            {
                request_load(lane, offset, fx);
            }
        }
    }

    /// Makes resting messages ready whose time has come.
    fn end_rests(&mut self, now_ms: u64) {
        for _ in 0..RESTS_ENDED_MAX {
            let Some(id) = self.rests.pop_due(now_ms) else {
                return;
            };
            let woken = self.lane_mut(id.lane).and_then(|lane| lane.wake(id.offset));
            if let Some(Woken::Returned(next)) = woken {
                self.returns.push(next);
            }
        }
    }

    /// Moves due delayed messages to their lanes.
    pub(super) fn release(&mut self, now_ms: u64, fx: &mut Effects) {
        let Some(delayed) = &mut self.delayed else {
            return;
        };
        let due = delayed.take_due(now_ms);
        delayed.read(now_ms, fx);
        for message in due {
            self.lane_for(now_ms, &message).push(now_ms, &message);
        }
    }
}
