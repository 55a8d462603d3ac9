//! Removes messages that expire or exceed the queue's length. Each command removes a bounded number; the next
//! command or the timer goes on.

use std::sync::Arc;

use crate::broker::queue::death::DeathReason;
use crate::broker::queue::delayed::Delayed;
use crate::broker::queue::effects::Effects;
use crate::broker::queue::lane::Head;
use crate::model::arguments::{Overflow, QueueKind};
use crate::model::{Message, MessageId};

use super::heads::Next;
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
        let counts = self.death_counts.get_or_insert_default();
        counts.add(reason, dead_letters);
        let Some(lane) = self.lane_mut(id.lane) else {
            return;
        };
        if dead_letters {
            lane.start_dying(id.offset);
            self.dying.push(id, reason, &self.arguments);
        } else {
            lane.settle(id.offset);
        }
    }

    /// The message as its dead letter goes on: with the failures of its deliveries so far, those in this queue included.
    /// A message from before a crash may have died then, and its dead letter may have been handed out, if no batch had that
    /// yet. After an orderly end every dead letter is a new message, as in RabbitMQ.
    pub(super) fn as_dead(&self, id: MessageId, message: Arc<Message>) -> Arc<Message> {
        let lane = self.lanes.iter().find(|(lane, _)| *lane == id.lane);
        let failures = lane.and_then(|(_, lane)| lane.failures(id.offset));
        let failures = failures.unwrap_or(message.failures);
        let may_have_died = lane.is_some_and(|(_, lane)| lane.may_have_died(id.offset));
        let handed_out = message.handed_out || may_have_died;
        if (failures, handed_out) == (message.failures, message.handed_out) {
            return message;
        }
        Arc::new(Message {
            failures,
            handed_out,
            ..Message::clone(&message)
        })
    }

    /// Drops expired messages from the head only, as RabbitMQ does: that of the queue, or of each level of a quorum
    /// queue. False if the command must drop no more, so that the head may be an expired message.
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

    /// The head that expires first; `None` if none ever does, or they are cold. [`WorkQueue::watch_head`] reads
    /// cold heads.
    pub(super) fn head_expiry(&mut self) -> Option<HeadExpiry> {
        let mut first: Option<HeadExpiry> = None;
        let mut consider = |head: Option<HeadExpiry>| {
            if let Some(head) = head
                && first.as_ref().is_none_or(|first| head.at_ms < first.at_ms)
            {
                first = Some(head);
            }
        };
        let next = self.next()?;
        consider(self.expiry_of(next));
        if self.expires_at_each_level() {
            for index in 0..self.lanes.len() {
                consider(self.head_of(index).and_then(|head| self.expiry_of(head)));
            }
        }
        first
    }

    /// Whether messages expire at the head of each lane, and not only at that of the queue.
    pub(super) fn expires_at_each_level(&self) -> bool {
        self.arguments.kind == QueueKind::Quorum && self.lanes.len() > 1
    }

    /// When a message at a head expires; `None` if it never does, or is cold.
    fn expiry_of(&self, next: Next) -> Option<HeadExpiry> {
        let arguments = &self.arguments;
        let (number, lane) = self.lanes.get(next.lane)?;
        let Head::Ready(offset) = next.head else {
            return None;
        };
        let (message, enqueued_ms) = lane.peek(offset)?;
        let ttl_ms = message
            .expiration_ms
            .into_iter()
            .chain(arguments.message_ttl_ms)
            .min();
        let after_ms = ttl_ms.into_iter().chain(arguments.retention_ms).min()?;
        Some(HeadExpiry {
            id: MessageId {
                lane: *number,
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
        let messages = || self.ready() + self.resting() + delayed.map_or(0, Delayed::len);
        let all_bytes =
            || self.ready_bytes() + self.resting_bytes() + delayed.map_or(0, Delayed::bytes);
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
            .is_some_and(|max| self.ready() + self.resting() > max)
            || self
                .arguments
                .max_length_bytes
                .is_some_and(|max| self.ready_bytes() + self.resting_bytes() > max)
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
