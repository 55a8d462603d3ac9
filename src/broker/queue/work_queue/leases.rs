//! Ends leases at their deadlines, restores them after a restart, and returns their messages to the queue.

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::lane::Lane;
use crate::broker::queue::lane::leases::{ReturnTo, Returned};
use crate::model::arguments::QueueKind;
use crate::model::{Lease, LogId};

use super::rests::rest_ms;
use super::returns::Return;
use super::state::WorkQueue;

impl WorkQueue {
    /// Restores the leases of receipt handles from before the restart that have not reached their deadlines.
    /// Returns the log and offset of a message that must be read first.
    pub(super) fn restore_leases(&mut self, now_ms: u64) -> Option<(LogId, u64)> {
        let limit = self.arguments.delivery_limit;
        let restored = &mut self.restored;
        for (_, lane) in &mut self.lanes {
            // The last lease that `x-delivery-limit` allows is restored even past its deadline: its end kills
            // the message.
            let is_over = |until_ms, failures| {
                until_ms <= now_ms && limit.is_none_or(|limit| failures < limit)
            };
            let next =
                lane.restore_next(is_over, |until_ms, lease| restored.push((until_ms, lease)));
            if let Some(offset) = next {
                return Some((lane.log(), offset));
            }
        }
        self.deadlines.restore(std::mem::take(&mut self.restored));
        None
    }

    /// Returns the messages whose leases have reached their deadlines.
    pub(super) fn end_due_leases(&mut self, now_ms: u64) {
        if self.deadlines.next_ms().is_none_or(|next| next > now_ms) {
            return;
        }
        let lanes = &self.lanes;
        let due = self.deadlines.take_due(now_ms, |lease| holds(lanes, lease));
        for lease in due {
            if let Some(single) = self.consumers.single_active() {
                single.timed_out(lease);
            }
            self.requeue(now_ms, lease, Return::TimedOut);
        }
    }

    /// Notes that a lease was acknowledged, or that its channel has ended.
    pub(super) fn answered(&mut self, lease: Lease) {
        self.consumers.answered(lease);
    }

    /// Forgets deadlines of leases that have ended in time, before they outnumber the others.
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

    /// Ends a lease with the message's death, unless the lease has ended.
    pub(super) fn reject(&mut self, lease: Lease, how: Returned) {
        if self.holds(lease) {
            if how == Returned::Failed
                && let Some(lane) = self.lane_mut(lease.lane)
            {
                lane.count_failure(lease.offset);
            }
            self.kill(lease.id(), DeathReason::Rejected);
        }
    }

    pub(super) fn requeue(&mut self, now_ms: u64, lease: Lease, how: Return) {
        let limit = self.arguments.delivery_limit;
        let is_quorum = self.arguments.kind == QueueKind::Quorum;
        let Some(lane) = self.lane_mut(lease.lane) else {
            return;
        };
        let place = match is_quorum {
            true => ReturnTo::Returned,
            false => ReturnTo::Position,
        };
        let counted = match how.is_failure() {
            true => Returned::Failed,
            false => Returned::Unharmed,
        };
        let Some(back) = lane.requeue(lease, place, counted) else {
            return;
        };
        if limit.is_some_and(|limit| back.failures > limit) {
            self.kill(lease.id(), DeathReason::DeliveryLimit);
        } else if is_quorum && let Some(rest_ms) = rest_ms(&self.arguments, how, back.failures) {
            let until_ms = now_ms.saturating_add(rest_ms);
            if let Some(lane) = self.lane_mut(lease.lane) {
                lane.rest(lease.offset, until_ms);
                self.rests.push(until_ms, lease.id());
            }
        } else if is_quorum {
            self.returns.push(back.next);
        }
    }
}

/// Whether this lease has not ended.
pub(super) fn holds(lanes: &[(u8, Lane)], lease: Lease) -> bool {
    lanes
        .iter()
        .find(|(lane, _)| *lane == lease.lane)
        .is_some_and(|(_, lane)| lane.holds(lease))
}
