//! Delivers the next message to the next consumer.

use crate::broker::queue::consumer::Delivery;
use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::Head;
use crate::clock::Moment;

use super::consumers::Choice;
use super::deaths::Expiry;
use super::heads::Next;
use super::state::{WorkQueue, request_load};

impl WorkQueue {
    pub(super) fn dispatch(&mut self, now_ms: u64, fx: &mut Effects) {
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
            let (redelivered, counts) = leased.reported();
            fx.deliveries.push(Delivery {
                consumer: consumer_id,
                lease,
                message: leased.message,
                redelivered,
                counts,
                enqueued,
            });
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
