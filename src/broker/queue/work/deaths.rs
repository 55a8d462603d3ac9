//! Messages that leave without an ack: by their time to live, or by the length of the queue. Each command removes a bounded
//! number; the next command or the timer goes on.

use std::sync::Arc;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::Head;
use crate::model::arguments::{Overflow, QueueKind};
use crate::model::{Message, MessageId};

use super::state::{WorkQueue, request_load};

/// Maximum number of messages that expire or are trimmed in one command. A run of publishes is shorter.
const LEFT_MAX: u32 = 4096;

/// Maximum number of expired messages whose dead letters are not published yet. The others stay unread on disk, instead
/// of being read twice.
const EXPIRED_AHEAD_MAX: u64 = 4096;

impl WorkQueue {
    /// A message leaves the queue: for good, or for the dead letter exchange, if there is one.
    pub(super) fn kill(&mut self, id: MessageId, reason: DeathReason) {
        let dead_letters = self.arguments.dead_letter_exchange.is_some();
        let Some(lane) = self.lane_mut(id.lane) else {
            return;
        };
        if dead_letters {
            lane.start_dying(id.offset);
            self.dying.push(id, reason);
        } else {
            lane.settle(id.offset);
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
        let here = lane.map_or(0, |(_, lane)| lane.failures(id.offset))
            + u32::from(reason == DeathReason::Rejected);
        if here == 0 {
            return message;
        }
        Arc::new(Message {
            failures: message.failures.saturating_add(here),
            ..Message::clone(&message)
        })
    }

    /// Drops expired messages from the head; like RabbitMQ's classic queues, only from there. False if the command has
    /// dropped enough, so that the head may be an expired message.
    pub(super) fn expire(&mut self, now_ms: u64, expiry: Expiry, fx: &mut Effects) -> bool {
        while let Some(head) = self.head_expiry() {
            let spared = head.is_new && matches!(expiry, Expiry::UnlessNew);
            if head.at_ms > now_ms || (head.at_ms == now_ms && spared) {
                return true;
            }
            if self.waits_for_letters() || self.has_left_enough(fx) {
                return false;
            }
            if !head.is_old {
                self.kill(head.id, DeathReason::Expired);
            } else if let Some(lane) = self.lane_mut(head.id.lane) {
                lane.settle(head.id.offset);
            }
        }
        true
    }

    /// Whether expiry goes on when dead letters have been published.
    pub(super) fn waits_for_letters(&self) -> bool {
        self.dying.len() >= EXPIRED_AHEAD_MAX
    }

    /// Counts a message that leaves. True if it has to wait for the next command, which is then due.
    fn has_left_enough(&mut self, _fx: &mut Effects) -> bool {
        if self.left >= LEFT_MAX {
            self.is_overdue = true;
            return true;
        }
        self.left += 1;
        false
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

    /// Whether the queue has no room for `count` more messages with `bytes` in their bodies. Delayed messages take their
    /// room when they are published, and are never refused when they are due.
    pub(super) fn would_overflow(&self, count: u64, bytes: u64) -> bool {
        let delayed = self.delayed.as_deref();
        let messages = || self.ready() + delayed.map_or(0, Delayed::len);
        let all_bytes = || self.ready_bytes() + delayed.map_or(0, Delayed::bytes);
        let limits = &self.arguments;
        limits
            .max_length
            .is_some_and(|max| messages() + count > max)
            || limits
                .max_length_bytes
                .is_some_and(|max| all_bytes() + bytes > max)
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
                    if self.has_left_enough(fx) {
                        return;
                    }
                    self.kill(id, DeathReason::MaxLength);
                }
            }
        }
    }
}

/// When the message at the head expires.
pub(super) struct HeadExpiry {
    id: MessageId,
    /// On the broker's time line.
    pub(super) at_ms: u64,
    /// By CMQ's retention, and not by its time to live.
    is_old: bool,
    /// It was published by this command.
    is_new: bool,
}

/// Which messages an expiry takes.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    /// Messages whose time has come.
    Due,
    /// The same, except that a message of this command may be delivered in the millisecond in which it expires. So a
    /// message whose time to live is 0 goes to a waiting consumer or nowhere, as in RabbitMQ.
    UnlessNew,
}
