//! Direct reply-to: requesters that wait for answers on the pseudo queue `amq.rabbitmq.reply-to`, found by the token
//! that is part of the name their requests carry. An answer goes straight to the requester's connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;

use super::limits::REPLIES_PENDING_MAX;
use super::outbox::Outbox;
use crate::broker::queue::{Delivery, DeliverySink};
use crate::model::{Message, MessageId};

/// The pseudo queue.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What requesters' own names start with; the token follows.
pub(crate) const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// All requesters of a broker.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: DashMap<Box<str>, Requester>,
}

#[derive(Clone, Debug)]
struct Requester {
    outbox: Weak<Outbox>,
    key: u64,
    pending: Arc<AtomicUsize>,
}

/// The requester's end; leaving it ends the registration.
#[derive(Debug)]
pub(crate) struct ReplyAddress {
    replies: Arc<Replies>,
    name: Box<str>,
    pending: Arc<AtomicUsize>,
}

impl Replies {
    /// Registers a requester under a name that cannot be guessed. Answers arrive as deliveries with `key`.
    pub(crate) fn register(self: &Arc<Self>, outbox: &Arc<Outbox>, key: u64) -> ReplyAddress {
        let name: Box<str> = format!("{REPLY_TO_PREFIX}{}", super::random_name()).into();
        let pending = Arc::new(AtomicUsize::new(0));
        let requester = Requester {
            outbox: Arc::downgrade(outbox),
            key,
            pending: Arc::clone(&pending),
        };
        self.waiting.insert(name.clone(), requester);
        ReplyAddress {
            replies: Arc::clone(self),
            name,
            pending,
        }
    }

    /// Whether the requester of this name is still there.
    pub(crate) fn is_waiting(&self, name: &str) -> bool {
        self.waiting.contains_key(name)
    }

    /// Sends an answer. It is dropped if the requester is gone or does not take its answers.
    pub(crate) fn answer(&self, name: &str, message: Arc<Message>) {
        let Some(requester) = self.waiting.get(name).map(|entry| entry.value().clone()) else {
            return;
        };
        let Some(outbox) = requester.outbox.upgrade() else {
            return;
        };
        if requester.pending.fetch_add(1, Ordering::Relaxed) >= REPLIES_PENDING_MAX {
            requester.pending.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let id = MessageId { lane: 0, offset: 0 };
        let delivery = Delivery {
            key: requester.key,
            id,
            message,
            redelivered: false,
            delivery_count: 0,
        };
        outbox.deliver(&mut vec![delivery]);
    }
}

impl ReplyAddress {
    /// What takes the place of the pseudo queue's name in requests.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Answers have been taken by the client.
    pub(crate) fn taken(&self, answers: usize) {
        self.pending.fetch_sub(answers, Ordering::Relaxed);
    }
}

impl Drop for ReplyAddress {
    fn drop(&mut self) {
        self.replies.waiting.remove(&self.name);
    }
}
