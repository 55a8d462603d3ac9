//! CMQ's receives: serves waiting receives, and prolongs and deletes by receipt handle. The lanes remember
//! which handle may delete which message.

use crate::broker::queue::effects::{Chunks, Effect, Effects};
use crate::broker::queue::machine::Receiving;
use crate::broker::queue::receive::receipt_handle::ReceiptHandle;
use crate::broker::queue::receive::received::{RECEIVE_VISIBILITY_MS_DEFAULT, Received};
use crate::broker::queue::receive::waiting::RECEIVE_BYTES_MAX;
use crate::clock::Moment;
use crate::model::{Lease, LogId};

use super::state::WorkQueue;

/// Maximum number of messages for which a receive reserves memory in advance.
const RECEIVE_ROOM: usize = 16;

impl Receiving for WorkQueue {
    fn next_to_restore(&mut self, now_ms: u64) -> Option<(LogId, u64)> {
        self.restore_leases(now_ms)
    }

    fn restore(&mut self, log: LogId, chunks: Chunks) {
        if let Some(lane) = self.lane_mut(log.lane()) {
            let restored = lane.restore_from(chunks);
            self.restored.extend(restored);
        }
    }

    fn receive(
        &mut self,
        now_ms: u64,
        receive: u64,
        max: usize,
        is_hasty: bool,
        fx: &mut Effects,
    ) -> bool {
        self.used_ms = now_ms;
        self.waiting.add(receive, max, is_hasty);
        self.consumers.set_waiting(true);
        self.finish(now_ms, fx);
        true
    }

    fn stop_waiting(&mut self, now_ms: u64, receive: u64, fx: &mut Effects) {
        self.used_ms = now_ms;
        self.waiting.remove(receive);
        self.consumers.set_waiting(!self.waiting.is_empty());
        self.finish(now_ms, fx);
    }

    fn give_back(&mut self, now_ms: u64, leases: &[Lease], fx: &mut Effects) {
        for lease in leases {
            if let Some(lane) = self.lane_mut(lease.lane) {
                lane.return_unaccepted(*lease);
            }
        }
        self.finish(now_ms, fx);
    }

    fn prolong(
        &mut self,
        now_ms: u64,
        handle: ReceiptHandle,
        length_ms: u64,
        fx: &mut Effects,
    ) -> Option<u64> {
        self.end_due_leases(now_ms);
        let ends_ms = self.prolong_received(now_ms, handle, length_ms);
        self.finish(now_ms, fx);
        ends_ms
    }

    fn delete_received(
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
        self.finish(now_ms, fx);
        valid
    }
}

impl WorkQueue {
    fn prolong_received(
        &mut self,
        now_ms: u64,
        handle: ReceiptHandle,
        length_ms: u64,
    ) -> Option<u64> {
        let fields = handle.fields(self.id);
        let (_, lane) = self.lanes.iter_mut().find(|(own, _)| *own == fields.lane)?;
        let lease = lane.received_lease(fields)?;
        lane.prolong(lease).then(|| {
            let ends_ms = self.deadlines.put_off(now_ms, length_ms, lease);
            lane.end_receive(ends_ms);
            ends_ms
        })
    }

    /// Answers the receive that has waited longest with ready messages, up to its maximum.
    pub(super) fn serve_receive(&mut self, now_ms: u64, fx: &mut Effects) {
        let waiting = self.waiting.pop();
        self.consumers.set_waiting(!self.waiting.is_empty());
        let Some(waiting) = waiting else { return };
        let length_ms = self
            .arguments
            .visibility_timeout_ms
            .unwrap_or(RECEIVE_VISIBILITY_MS_DEFAULT);
        let mut messages = Vec::with_capacity(waiting.max.min(RECEIVE_ROOM));
        let (mut visible_ms, mut bytes) = (now_ms, 0);
        while messages.len() < waiting.max
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
        }
        for (_, lane) in &mut self.lanes {
            lane.end_receive(visible_ms);
        }
        fx.push(Effect::Answer {
            receive: waiting.number,
            messages,
        });
    }

    /// Answers hasty receives with no messages, if none are ready.
    pub(super) fn answer_hasty(&mut self, fx: &mut Effects) {
        if self.ready() == 0 {
            for waiting in self.waiting.take_hasty() {
                fx.push(Effect::Answer {
                    receive: waiting.number,
                    messages: Vec::new(),
                });
            }
            self.consumers.set_waiting(!self.waiting.is_empty());
        }
    }
}
