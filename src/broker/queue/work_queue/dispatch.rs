//! Chooses the next message by the priority of its lane, and delivers it to the next consumer.

use crate::broker::queue::consumer::Delivery;
use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::{Head, Lane};
use crate::clock::Moment;
use crate::model::Lease;
use crate::model::arguments::QueueKind;

use super::consumers::Choice;
use super::deaths::Expiry;
use super::state::{WorkQueue, request_load};

/// The lane of normal priority.
pub(super) const NORMAL: u8 = 0;

/// Number of messages of high priority for each one of normal priority, as in RabbitMQ 4.0.
const HIGH_IN_A_ROW_MAX: u8 = 2;

/// The order that makes a message the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// The order of its lane.
    Lane,
    /// The message came back, and goes before all others.
    First,
    /// The message came back, and has waited behind all that were in the queue then.
    Behind,
}

/// The next message to hand out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// The index of its lane.
    pub(super) lane: usize,
    pub(super) head: Head,
    pub(super) order: Order,
}

impl WorkQueue {
    /// The next message: returned messages that go first, then the head of the lane of the highest priority.
    /// Quorum queues also serve the lower lane after [`HIGH_IN_A_ROW_MAX`] messages, so that it does not
    /// starve.
    pub(super) fn next(&mut self) -> Option<Next> {
        let lanes = &self.lanes;
        let mut look = |next| returned_head(lanes, next);
        if let Some((lane, head)) = self.returns.first(&mut look) {
            let order = Order::First;
            return Some(Next { lane, head, order });
        }
        let behind = self.returns.behind(&mut look);
        let mut ready = (0..)
            .zip(&self.lanes)
            .filter(|(_, (priority, lane))| {
                lane.waits_in_order() || (*priority == NORMAL && behind.is_some())
            })
            .map(|(index, (priority, _))| (index, *priority));
        let first = ready.next();
        let (lane, priority) = match self.high_in_a_row >= HIGH_IN_A_ROW_MAX {
            true => ready.next().or(first)?,
            false => first?,
        };
        let head = self.lanes.get_mut(lane)?.1.head();
        if let Some((end, (lane, returned))) = behind.filter(|_| priority == NORMAL) {
            let goes_first = match head {
                Head::Empty => false,
                Head::Cold(offset) | Head::Ready(offset) => offset < end,
            };
            if !goes_first {
                return Some(Next {
                    lane,
                    head: returned,
                    order: Order::Behind,
                });
            }
        }
        let order = Order::Lane;
        Some(Next { lane, head, order })
    }

    /// Counts a message of this lane that was handed out.
    pub(super) fn count_turn(&mut self, order: Order, priority: u8) {
        if self.arguments.kind == QueueKind::Quorum {
            self.high_in_a_row = match (order, priority) {
                (Order::First, _) => return,
                (Order::Behind, _) | (Order::Lane, NORMAL) => 0,
                (Order::Lane, _) => self.high_in_a_row.saturating_add(1),
            };
        }
    }

    pub(super) fn dispatch(&mut self, now_ms: u64, fx: &mut Effects) {
        let kind = self.arguments.kind;
        while self.consumers.any_runnable() {
            let Some((next, offset)) = self.head(now_ms, fx) else {
                return;
            };
            let consumer_id = match self.consumers.next(fx) {
                Choice::NoConsumer | Choice::Paused => return,
                Choice::Receives => {
                    self.serve_receive(now_ms, fx);
                    continue;
                }
                Choice::Consumer(id) => id,
            };
            let Some((_, lane)) = self.lanes.get_mut(next.lane) else {
                return;
            };
            let Some(leased) = lane.lease(offset) else {
                return;
            };
            let Some(consumer) = self.consumers.charge(consumer_id, leased.message.size()) else {
                return;
            };
            let lease = leased.lease;
            let history = lane.history();
            let enqueued = history.map(|_| Moment::from_ms(leased.enqueued_ms));
            let no_ack = consumer.new.no_ack;
            let timeout_ms = consumer
                .new
                .visibility_timeout_ms
                .or(self.arguments.visibility_timeout_ms)
                .filter(|_| !no_ack);
            if no_ack {
                lane.ack(offset);
            }
            if let Some(timeout_ms) = timeout_ms {
                self.deadlines.push(now_ms, timeout_ms, lease);
            }
            let (redelivered, delivery_count) = leased.reported(kind);
            fx.deliveries.push(Delivery {
                consumer: consumer_id,
                lease,
                message: leased.message,
                redelivered,
                delivery_count,
                enqueued,
            });
            self.count_turn(next.order, lease.lane);
            if let Some(single) = self.consumers.single_active()
                && !no_ack
            {
                single.handed_out(lease, consumer_id, timeout_ms.is_some());
            }
        }
    }

    /// The next message to hand out, and its offset. `None` if there is none, or it is cold; then this asks
    /// for its read.
    pub(super) fn head(&mut self, now_ms: u64, fx: &mut Effects) -> Option<(Next, u64)> {
        if !self.expire(now_ms, Expiry::UnlessNew, fx) {
            return None;
        }
        let next = self.next()?;
        let (_, lane) = self.lanes.get_mut(next.lane)?;
        match next.head {
            Head::Empty => None,
            Head::Cold(offset) => {
                request_load(lane, offset, fx);
                None
            }
            Head::Ready(offset) => Some((next, offset)),
        }
    }
}

/// The index of a returned message's lane, and the message as its head. `None` if it does not wait any more.
fn returned_head(lanes: &[(u8, Lane)], next: Lease) -> Option<(usize, Head)> {
    let index = lanes.iter().position(|(lane, _)| *lane == next.lane)?;
    let (_, lane) = lanes.get(index)?;
    Some((index, lane.returned_head(next.offset, next.turn)?))
}
