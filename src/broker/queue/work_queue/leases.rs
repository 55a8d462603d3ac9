//! Ends leases at their deadlines, restores them after a restart, and returns their messages to the queue.

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::lane::leases::ReturnTo;
use crate::broker::queue::lane::{Lane, turn};
use crate::model::arguments::QueueKind;
use crate::model::{Lease, LogId};

use super::dispatch::NORMAL;
use super::state::WorkQueue;

/// Why a message returns to the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    /// The client requeued it.
    Refused,
    /// Its lease reached its deadline.
    TimedOut,
    /// The client's channel has ended.
    Failed,
}

impl WorkQueue {
    /// Restores the leases of receipt handles from before the restart that have not reached their deadlines.
    /// Returns the log and offset of a message that must be read first.
    pub(super) fn restore_leases(&mut self, now_ms: u64) -> Option<(LogId, u64)> {
        let limit = self.arguments.delivery_limit;
        let restored = &mut self.restored;
        for (_, lane) in &mut self.lanes {
            // The last lease that `x-delivery-limit` allows is restored even past its deadline: its end kills
            // the message.
            let is_over = |until_ms, turn| {
                until_ms <= now_ms && limit.is_none_or(|limit| turn::returns(turn) < limit)
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
        if let Some(single) = self.consumers.single_active() {
            single.answered(lease);
        }
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

    pub(super) fn requeue(&mut self, now_ms: u64, lease: Lease, how: Return) {
        let limit = self.arguments.delivery_limit;
        let is_quorum = self.arguments.kind == QueueKind::Quorum;
        let Some(lane) = self.lane_mut(lease.lane) else {
            return;
        };
        if how == Return::Failed {
            lane.count_failure(lease);
        }
        let place = match is_quorum {
            true => ReturnTo::Returned,
            false => ReturnTo::Position,
        };
        let Some(back) = lane.requeue(lease, place) else {
            return;
        };
        if limit.is_some_and(|limit| back.returns > limit) {
            self.kill(lease.id(), DeathReason::DeliveryLimit);
        } else if is_quorum && limit.is_none() && how == Return::Refused {
            let end = self.lane_for(now_ms, NORMAL).next();
            self.returns.put_behind(end, back.next);
        } else if is_quorum {
            self.returns.put_first(back.next);
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
