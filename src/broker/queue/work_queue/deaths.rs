//! Removes messages that expire or exceed the queue's length. Each command removes a bounded number; the next
//! command or the timer goes on.

use std::sync::Arc;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::Head;
use crate::model::arguments::{Overflow, QueueKind};
use crate::model::{Message, MessageId};

use super::state::{WorkQueue, request_load};

/// Maximum number of messages that expire or are trimmed in one command. Larger than a run of publishes.
const LEFT_MAX: u32 = 4096;

/// Maximum number of expired messages with unpublished dead letters. Further messages stay unread on disk, so
/// that they need not be read twice.
const EXPIRED_AHEAD_MAX: u64 = 4096;

impl WorkQueue {
    /// Dead-letters a message, or settles it if the queue has no dead letter exchange.
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

    /// The message with the failures of its consumers in this queue added, if the queue is a quorum queue. A
    /// rejection is a failure, too.
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

    /// Drops expired messages from the head only, like RabbitMQ's classic queues. False if the command must
    /// drop no more, so that the head may be an expired message.
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

    /// Whether expiry pauses until dead letters are published.
    pub(super) fn waits_for_letters(&self) -> bool {
        self.dying.len() >= EXPIRED_AHEAD_MAX
    }

    /// Counts a message that leaves. True if it must wait for the next command, which is then due
    /// immediately.
    fn has_left_enough(&mut self, _fx: &mut Effects) -> bool {
        if self.left >= LEFT_MAX {
            self.is_overdue = true;
            return true;
        }
        self.left += 1;
        false
    }

    /// When the head expires; `None` if it never does, or is cold. [`WorkQueue::watch_head`] reads a cold
    /// head.
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

    /// Whether the queue has no room for `count` more messages with `bytes` in their bodies. Delayed messages
    /// count from their publish on, so the queue never refuses them when they are due.
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
    /// CMQ's retention ends it, before its time to live.
    is_old: bool,
    /// This command has published it.
    is_new: bool,
}

/// Which messages an expiry takes.
#[derive(Clone, Copy)]
pub(super) enum Expiry {
    /// Messages whose time has come.
    Due,
    /// The same, except messages of this command that expire in this very millisecond. So a message with a
    /// time to live of 0 goes to a waiting consumer or is dropped, as in RabbitMQ.
    UnlessNew,
}
