//! How messages leave without being acked: their time to live, the length of the queue, and where they go then.

use std::sync::Arc;

use crate::model::arguments::{Overflow, QueueKind};
use crate::model::{Message, MessageId};

use super::super::block::DeathReason;
use super::super::effects::{Dead, Effects};
use super::super::lane::Head;
use super::{QueueState, request_load};

impl QueueState {
    pub(super) fn kill(&mut self, id: MessageId, reason: DeathReason, fx: &mut Effects) {
        let dead_letters = self.arguments.dead_letter_exchange.is_some();
        let Some(lane) = self.lane_mut(id.lane) else {
            return;
        };
        if !dead_letters {
            lane.settle(id.offset);
        } else if let Some(message) = lane.doom(id.offset, reason) {
            let message = self.counting_failures(id, message, reason);
            fx.dead.push(Dead {
                id,
                message,
                reason,
            });
        }
    }

    /// The message as it leaves a quorum queue, which counts how often a consumer failed that had it; refusing it is a
    /// failure, too.
    pub(super) fn counting_failures(
        &self,
        id: MessageId,
        message: Arc<Message>,
        reason: DeathReason,
    ) -> Arc<Message> {
        if self.arguments.kind != QueueKind::Quorum {
            return message;
        }
        let lane = self.lanes.iter().find(|(lane, _)| *lane == id.lane);
        let here = lane.map_or(0, |(_, lane)| lane.failed(id.offset))
            + u32::from(reason == DeathReason::Rejected);
        if here == 0 {
            return message;
        }
        Arc::new(Message {
            failures: message.failures.saturating_add(here),
            ..Message::clone(&message)
        })
    }

    /// Drops expired messages from the head; like RabbitMQ's classic queues, only from there.
    pub(super) fn expire(&mut self, now_ms: u64, expiry: Expiry, fx: &mut Effects) {
        while let Some(head) = self.head_expiry() {
            let spared = head.is_new && matches!(expiry, Expiry::UnlessNew);
            if head.at_ms > now_ms || (head.at_ms == now_ms && spared) {
                return;
            }
            if !head.is_old {
                self.kill(head.id, DeathReason::Expired, fx);
            } else if let Some(lane) = self.lane_mut(head.id.lane) {
                lane.settle(head.id.offset);
            }
        }
    }

    /// When the head expires, if it is in memory and ever does. A head on disk is read first, where that matters.
    pub(super) fn head_expiry(&mut self) -> Option<HeadExpiry> {
        let queue_ttl = self.arguments.message_ttl_ms;
        let retention_ms = self.arguments.retention_ms;
        let next = self.next()?;
        let (priority, lane) = self.lanes.get_mut(next.lane)?;
        let Head::Ready(offset) = next.head else {
            return None;
        };
        let (message, enqueued_ms) = lane.peek(offset)?;
        let ttl_ms = message.expiration_ms.into_iter().chain(queue_ttl).min();
        let after_ms = ttl_ms.into_iter().chain(retention_ms).min()?;
        Some(HeadExpiry {
            id: MessageId {
                lane: *priority,
                offset,
            },
            at_ms: enqueued_ms.saturating_add(after_ms),
            is_old: ttl_ms != Some(after_ms),
            is_new: lane.is_new(offset),
        })
    }

    pub(super) fn is_limited(&self) -> bool {
        self.arguments.max_length.is_some() || self.arguments.max_length_bytes.is_some()
    }

    /// Whether there is no room for so many messages more, with so many bytes in their bodies.
    pub(super) fn would_overflow(&self, count: u64, bytes: u64) -> bool {
        self.arguments
            .max_length
            .is_some_and(|max| self.ready() + count > max)
            || self
                .arguments
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes() + bytes > max)
    }

    pub(super) fn enforce_length(&mut self, fx: &mut Effects) {
        if !self.is_limited() || self.arguments.overflow != Overflow::DropHead {
            return;
        }
        while self
            .arguments
            .max_length
            .is_some_and(|max| self.ready() > max)
            || self
                .arguments
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes() > max)
        {
            let Some(next) = self.next() else {
                return;
            };
            let Some((priority, lane)) = self.lanes.get_mut(next.lane) else {
                return;
            };
            match next.head {
                Head::Empty => return,
                Head::Cold(offset) => return request_load(lane, offset, fx),
                Head::Ready(offset) => {
                    let id = MessageId {
                        lane: *priority,
                        offset,
                    };
                    self.kill(id, DeathReason::MaxLength, fx);
                }
            }
        }
    }
}

/// When the message at the head leaves the queue of itself.
pub(super) struct HeadExpiry {
    id: MessageId,
    /// On the broker's time line.
    pub(super) at_ms: u64,
    /// Because it is too old to be kept at all, and not by its time to live.
    is_old: bool,
    /// It has come in this very turn.
    is_new: bool,
}

/// Which messages an expiry takes.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    /// Those whose time has come.
    Due,
    /// The same, but what has come in this very turn may be delivered in the moment in which its time is over: so a
    /// message whose time to live is 0 goes to those who wait for it already, and to nobody else.
    UnlessNew,
}
