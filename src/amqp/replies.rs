//! Direct reply-to: requesters that wait for answers on the pseudo queue `amq.rabbitmq.reply-to`, found by the token
//! that is part of the name their requests carry. An answer goes straight to the requester's connection.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use dashmap::DashMap;

use super::limits::{REPLIES_PENDING_BYTES_MAX, REPLIES_PENDING_MAX};
use super::outbox::Outbox;
use crate::broker::queue::{Delivery, DeliverySink};
use crate::model::{Lease, Message};

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
    pending: Arc<Pending>,
}

/// Replies that the requester's socket has not taken.
#[derive(Debug, Default)]
struct Pending {
    replies: AtomicUsize,
    bytes: AtomicUsize,
}

/// The requester's end; leaving it ends the registration.
#[derive(Debug)]
pub(crate) struct ReplyAddress {
    replies: Arc<Replies>,
    name: Box<str>,
    pending: Arc<Pending>,
    /// What has been put into the output: replies and their bytes.
    handed_out: (usize, usize),
}

impl Replies {
    /// Registers a requester under a name that cannot be guessed. Answers arrive as deliveries with `key`.
    pub(crate) fn register(self: &Arc<Self>, outbox: &Arc<Outbox>, key: u64) -> ReplyAddress {
        let name: Box<str> = format!("{REPLY_TO_PREFIX}{}", super::random_name()).into();
        let pending = Arc::<Pending>::default();
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
            handed_out: (0, 0),
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
        if !requester.pending.add(message.size()) {
            return;
        }
        let lease = Lease {
            offset: 0,
            turn: 0,
            lane: 0,
        };
        let delivery = Delivery {
            key: requester.key,
            lease,
            message,
            redelivered: false,
            delivery_count: 0,
            enqueued: None,
        };
        outbox.deliver(&mut vec![delivery]);
    }
}

impl Pending {
    /// Counts a reply of this size, if there is room for it.
    fn add(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let replies = self.replies.fetch_add(1, Ordering::Relaxed);
        let fits = before < REPLIES_PENDING_BYTES_MAX && replies < REPLIES_PENDING_MAX;
        if !fits {
            self.remove(1, bytes);
        }
        fits
    }

    fn remove(&self, replies: usize, bytes: usize) {
        self.replies.fetch_sub(replies, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl ReplyAddress {
    /// What takes the place of the pseudo queue's name in requests.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A reply of this size was put into the output.
    pub(crate) fn hand_out(&mut self, bytes: usize) {
        self.handed_out.0 += 1;
        self.handed_out.1 += bytes;
    }

    /// The socket has taken what was put into the output.
    pub(crate) fn written(&mut self) {
        let (replies, bytes) = std::mem::take(&mut self.handed_out);
        self.pending.remove(replies, bytes);
    }
}

impl Drop for ReplyAddress {
    fn drop(&mut self) {
        self.replies.waiting.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Body, Origin};

    fn reply(bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: REPLY_TO.into(),
            }),
            properties: bytes::Bytes::new(),
            body: Body::Whole(vec![0; bytes].into()),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
        })
    }

    /// Sends `message` so often, of which `taken` arrive; once the socket has taken them, there is room again.
    fn check(message: &Arc<Message>, sent: usize, taken: usize) {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let mut address = replies.register(&outbox, 7);
        let arrive = |address: &mut ReplyAddress, times| {
            for _ in 0..times {
                replies.answer(address.name(), Arc::clone(message));
            }
            let mut arrived = Vec::new();
            outbox.take(&mut arrived);
            for delivery in &arrived {
                address.hand_out(delivery.message.size());
            }
            arrived.len()
        };
        assert_eq!(arrive(&mut address, sent), taken);
        assert_eq!(
            arrive(&mut address, 1),
            0,
            "what is in the output still counts"
        );
        address.written();
        assert_eq!(arrive(&mut address, 1), 1);
    }

    #[test]
    fn a_requester_that_does_not_read_gets_no_more() {
        check(&reply(1), REPLIES_PENDING_MAX + 1, REPLIES_PENDING_MAX);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2), 4, 2);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2 + 1), 4, 2);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2 - 1), 4, 3);
    }

    #[test]
    fn nobody_answers_a_requester_that_left() {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let address = replies.register(&outbox, 7);
        let name = address.name().to_owned();
        assert!(name.starts_with(REPLY_TO_PREFIX) && replies.is_waiting(&name));
        drop(address);
        replies.answer(&name, reply(1));
        assert!(!replies.is_waiting(&name) && !outbox.is_signalled());
    }
}
