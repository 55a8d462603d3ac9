//! Which message is next, and who gets it: the lanes by priority, the consumers by turn.

use crate::clock::Moment;
use crate::model::arguments::QueueKind;

use super::super::consumers::{Delivery, WAITERS};
use super::super::effects::Effects;
use super::super::lane::Head;
use super::deaths::Expiry;
use super::{QueueState, request_load};

/// So many messages of high priority are handed out for one of normal priority, as RabbitMQ 4.0 does.
const HIGH_IN_A_ROW_MAX: u8 = 2;

impl QueueState {
    /// The lane whose head is next: the one of the highest priority that has any. Quorum queues serve the lower
    /// one now and then, so that it does not starve.
    pub(super) fn head_lane(&self) -> Option<usize> {
        let mut ready = (0..)
            .zip(&self.lanes)
            .filter(|(_, (_, lane))| lane.ready() > 0)
            .map(|(index, _)| index);
        let first = ready.next();
        if self.high_in_a_row >= HIGH_IN_A_ROW_MAX {
            ready.next().or(first)
        } else {
            first
        }
    }

    /// A message of this lane was handed out.
    pub(super) fn count_turn(&mut self, priority: u8) {
        if self.arguments.kind == QueueKind::Quorum {
            self.high_in_a_row = if priority == 0 {
                0
            } else {
                self.high_in_a_row.saturating_add(1)
            };
        }
    }

    pub(super) fn dispatch(&mut self, now_ms: u64, fx: &mut Effects) {
        while self.consumers.any_runnable() {
            let Some((index, offset)) = self.head(now_ms, fx) else {
                return;
            };
            let Some(consumer_id) = self.consumers.next() else {
                return;
            };
            if consumer_id == WAITERS {
                self.serve_waiter(now_ms, fx);
                continue;
            }
            let Some((_, lane)) = self.lanes.get_mut(index) else {
                return;
            };
            let Some(leased) = lane.lease(offset) else {
                return;
            };
            let Some(consumer) = self.consumers.charge(consumer_id, leased.message.size()) else {
                return;
            };
            let lease = leased.lease;
            let retention = lane.retention();
            let enqueued = retention.map(|_| Moment::from_ms(leased.enqueued_ms));
            if consumer.new.no_ack {
                lane.ack(offset);
            } else if let Some(timeout_ms) = consumer
                .new
                .visibility_timeout_ms
                .or(self.arguments.visibility_timeout_ms)
            {
                self.deadlines.push(now_ms, timeout_ms, lease);
            }
            if consumer.pending.is_empty() {
                fx.served.push(consumer_id);
            }
            consumer.pending.push(Delivery {
                key: consumer.new.key,
                lease,
                message: leased.message,
                redelivered: leased.redelivered,
                delivery_count: leased.returns,
                enqueued,
            });
            self.count_turn(lease.lane);
        }
    }

    /// Lane and offset of the next message to be handed out. One on disk is read first.
    pub(super) fn head(&mut self, now_ms: u64, fx: &mut Effects) -> Option<(usize, u64)> {
        // A message whose time to live is 0 is delivered if somebody waits: only what is past due goes first.
        if !self.expire(now_ms, Expiry::PastDue, fx) {
            return None;
        }
        let index = self.head_lane()?;
        let (_, lane) = self.lanes.get_mut(index)?;
        match lane.head() {
            Head::Empty => None,
            Head::Cold(offset) => {
                request_load(lane, offset, fx);
                None
            }
            Head::Ready(offset) => Some((index, offset)),
        }
    }
}
