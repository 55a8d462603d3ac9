//! Receiving by handle: those who want messages without a consumer, what they are given, and what they do with
//! their handles. Who waits is kept in `receive/waiting`, and who may delete what in the lanes' receipts.

use tokio::sync::oneshot;

use crate::broker::queue::effects::Effects;
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::receive::received::Received;
use crate::broker::queue::receive::received_batch::{RECEIVE_VISIBILITY_MS_DEFAULT, ReceivedBatch};
use crate::broker::queue::receive::waiting::RECEIVE_BYTES_MAX;
use crate::clock::Moment;
use crate::model::Lease;

use super::WorkQueue;

/// Room for so many messages is made at once when somebody is served, whatever he takes.
const RECEIVE_ROOM: usize = 16;

impl WorkQueue {
    /// Somebody wants up to `max` messages by handle; who is `hasty` does not wait for any to come. The answer goes
    /// among the effects, now or later. Returns his number among those who wait.
    pub(in crate::broker::queue) fn receive(
        &mut self,
        now_ms: u64,
        max: usize,
        is_hasty: bool,
        answer: oneshot::Sender<ReceivedBatch>,
        fx: &mut Effects,
    ) -> u64 {
        self.used_ms = now_ms;
        let number = self.waiters.add(max, is_hasty, answer);
        self.consumers.set_waiting(true);
        self.settle_down(now_ms, fx);
        number
    }

    /// Somebody waits no longer; nothing if he was served.
    pub(in crate::broker::queue) fn leave(&mut self, now_ms: u64, number: u64, fx: &mut Effects) {
        self.used_ms = now_ms;
        self.waiters.remove(number);
        self.consumers.set_waiting(!self.waiters.is_empty());
        self.settle_down(now_ms, fx);
    }

    /// Nobody took what a receive brought: it goes back, and does not count as handed out.
    pub(in crate::broker::queue) fn give_back(
        &mut self,
        now_ms: u64,
        leases: &[Lease],
        fx: &mut Effects,
    ) {
        for lease in leases {
            if let Some(lane) = self.lane_mut(lease.lane) {
                lane.return_unaccepted(*lease);
            }
        }
        self.settle_down(now_ms, fx);
    }

    /// Has the lease of a handle last this long from now, whenever it was to end. Returns when it ends; `None` if
    /// the handle is not valid.
    pub(in crate::broker::queue) fn prolong(
        &mut self,
        now_ms: u64,
        handle: ReceiptHandle,
        length_ms: u64,
        fx: &mut Effects,
    ) -> Option<u64> {
        self.end_due_leases(now_ms);
        let fields = handle.fields(self.id);
        let (_, lane) = self.lanes.iter_mut().find(|(own, _)| *own == fields.lane)?;
        let lease = lane.received_lease(fields)?;
        let ends_ms = lane.prolong(lease).then(|| {
            let ends_ms = self.deadlines.put_off(now_ms, length_ms, lease);
            lane.end_receive(ends_ms);
            ends_ms
        });
        self.settle_down(now_ms, fx);
        ends_ms
    }

    /// Deletes by handles; for each whether it was valid.
    pub(in crate::broker::queue) fn delete_received(
        &mut self,
        now_ms: u64,
        handles: &[ReceiptHandle],
        fx: &mut Effects,
    ) -> Vec<bool> {
        self.end_due_leases(now_ms);
        let id = self.id;
        let mut delete = |handle: &ReceiptHandle| {
            let fields = handle.fields(id);
            let lane = self.lane_mut(fields.lane)?;
            let lease = lane.received_lease(fields)?;
            lane.ack_lease(lease).then_some(())
        };
        let valid = handles
            .iter()
            .map(|handle| delete(handle).is_some())
            .collect();
        self.settle_down(now_ms, fx);
        valid
    }

    /// Gives the one who waits longest what there is, up to what he takes.
    pub(super) fn serve_waiter(&mut self, now_ms: u64, fx: &mut Effects) {
        let waiter = self.waiters.pop();
        self.consumers.set_waiting(!self.waiters.is_empty());
        let Some(waiter) = waiter else { return };
        let length_ms = self
            .arguments
            .visibility_timeout_ms
            .unwrap_or(RECEIVE_VISIBILITY_MS_DEFAULT);
        let mut messages = Vec::with_capacity(waiter.max.min(RECEIVE_ROOM));
        let (mut visible_ms, mut bytes) = (now_ms, 0);
        while messages.len() < waiter.max
            && let Some((next, offset)) = self.head(now_ms, fx)
            && let Some((_, lane)) = self.lanes.get_mut(next.lane)
        {
            bytes += lane.peek(offset).map_or(0, |(next, _)| next.body.len());
            if bytes > RECEIVE_BYTES_MAX && !messages.is_empty() {
                break;
            }
            let Some(leased) = lane.lease(offset) else {
                break;
            };
            let lease = leased.lease;
            visible_ms = self.deadlines.push(now_ms, length_ms, lease);
            messages.push(Received {
                handle: ReceiptHandle::new(self.id, lease),
                id: lease.id(),
                message: leased.message,
                enqueued: Moment::from_ms(leased.enqueued_ms),
                first_received: Moment::from_ms(lane.received(lease, now_ms)),
                visible: Moment::from_ms(visible_ms),
                count: leased.returns.saturating_add(1),
                lease,
            });
            self.count_turn(next.order, lease.lane);
        }
        for (_, lane) in &mut self.lanes {
            lane.end_receive(visible_ms);
        }
        fx.hands.push((waiter.answer, messages));
    }

    /// Those who do not wait for messages to come are told that there is none.
    pub(super) fn answer_hasty(&mut self, fx: &mut Effects) {
        if self.ready() == 0 {
            let hasty = self.waiters.take_hasty().into_iter();
            fx.hands
                .extend(hasty.map(|waiter| (waiter.answer, Vec::new())));
            self.consumers.set_waiting(!self.waiters.is_empty());
        }
    }
}
