//! How leases end other than by an answer: by their deadline, or with the broker. And how they come back.

use crate::model::{Lease, LogId};
use crate::store::StoredMessage;

use super::super::block::{DeathReason, TURN_RETURNS};
use super::super::lane::Lane;
use super::QueueState;

impl QueueState {
    /// Leases anew what was received by handle before the restart and is not over. `read` gives the chunk that holds
    /// an offset. Comes before every other command.
    pub(in super::super) fn restore_leases(
        &mut self,
        now_ms: u64,
        read: &mut dyn FnMut(LogId, u64) -> Vec<(u64, Vec<StoredMessage>)>,
    ) {
        let limit = self.arguments.delivery_limit;
        let mut leases = Vec::new();
        for (priority, lane) in &mut self.lanes {
            // One that was the last that its message may have ends as others do: by the deadline.
            let is_over = |until_ms, turn| {
                until_ms <= now_ms && limit.is_none_or(|limit| turn & TURN_RETURNS < limit)
            };
            leases.extend(lane.restore(*priority, is_over, read));
        }
        self.deadlines.restore(leases);
    }

    /// Messages whose lease has lasted as long as it may go back to their places.
    pub(super) fn end_due_leases(&mut self, now_ms: u64) {
        if self.deadlines.next_ms().is_none_or(|next| next > now_ms) {
            return;
        }
        let lanes = &self.lanes;
        let due = self.deadlines.take_due(now_ms, |lease| holds(lanes, lease));
        for lease in due {
            self.requeue(lease);
        }
    }

    /// Deadlines of leases that were settled in time are forgotten before they are more than those that are not.
    pub(super) fn bound_deadlines(&mut self) {
        if self.deadlines.is_empty() {
            return;
        }
        let leased = self.lanes.iter().map(|(_, lane)| lane.leased()).sum();
        let lanes = &self.lanes;
        self.deadlines.bound(leased, |lease| holds(lanes, lease));
    }

    pub(super) fn holds(&self, lease: Lease) -> bool {
        holds(&self.lanes, lease)
    }

    pub(super) fn requeue(&mut self, lease: Lease) {
        let limit = self.arguments.delivery_limit;
        let Some(lane) = self.lane_mut(lease.lane) else {
            return;
        };
        let Some(returns) = lane.requeue(lease) else {
            return;
        };
        if limit.is_some_and(|limit| returns > limit) {
            self.kill(lease.id(), DeathReason::DeliveryLimit);
        }
    }
}

/// Whether this lease has not ended.
fn holds(lanes: &[(u8, Lane)], lease: Lease) -> bool {
    lanes
        .iter()
        .find(|(lane, _)| *lane == lease.lane)
        .is_some_and(|(_, lane)| lane.holds(lease))
}
