//! Direct reply-to: requesters that wait for answers on the pseudo queue `amq.rabbitmq.reply-to`, found by the token
//! that is part of the name their requests carry. An answer goes straight to the requester's connection. Each requester
//! has room for so many bytes that its socket has not taken; who answers it beyond that waits.

use std::sync::{Arc, Weak};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dashmap::DashMap;
use tokio::sync::{Semaphore, TryAcquireError};

use super::limits::{REPLIES_PENDING_BYTES_MAX, REPLY_BYTES_MIN};
use super::outbox::Outbox;
use crate::broker::queue::{Delivery, DeliverySink};
use crate::model::{ConsumerId, Lease, Message};

/// The pseudo queue.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// What requesters' own names start with; the token follows.
pub(crate) const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether this is the name of a requester that is, or was, waiting for answers: nothing else is routed to.
pub(crate) fn is_address(name: &str) -> bool {
    name.strip_prefix(REPLY_TO_PREFIX).is_some_and(|token| {
        let token = BASE64_URL_SAFE_NO_PAD.decode(token);
        token.is_ok_and(|token| token.len() == super::RANDOM_NAME_BYTES)
    })
}

/// All requesters of a broker.
#[derive(Debug, Default)]
pub(crate) struct Replies {
    waiting: DashMap<Box<str>, Requester>,
}

#[derive(Clone, Debug)]
struct Requester {
    outbox: Weak<Outbox>,
    consumer: ConsumerId,
    /// Bytes that may still be sent to it. Closed when it leaves.
    room: Arc<Semaphore>,
}

/// An answer that its requester has no room for.
#[derive(Debug)]
pub(crate) struct Waiting {
    requester: Requester,
    message: Arc<Message>,
}

/// The requester's end; leaving it ends the registration.
#[derive(Debug)]
pub(crate) struct ReplyAddress {
    replies: Arc<Replies>,
    name: Box<str>,
    room: Arc<Semaphore>,
    /// Bytes of replies that have been put into the output.
    handed_out: usize,
}

impl Replies {
    /// Registers a requester under a name that cannot be guessed. Answers arrive as deliveries to `consumer`.
    pub(crate) fn register(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        consumer: ConsumerId,
    ) -> ReplyAddress {
        let name: Box<str> = format!("{REPLY_TO_PREFIX}{}", super::random_name()).into();
        let room = Arc::new(Semaphore::new(REPLIES_PENDING_BYTES_MAX));
        let requester = Requester {
            outbox: Arc::downgrade(outbox),
            consumer,
            room: Arc::clone(&room),
        };
        self.waiting.insert(name.clone(), requester);
        ReplyAddress {
            replies: Arc::clone(self),
            name,
            room,
            handed_out: 0,
        }
    }

    /// Whether the requester of this name is still there.
    pub(crate) fn is_waiting(&self, name: &str) -> bool {
        self.waiting.contains_key(name)
    }

    /// Sends an answer. It is dropped if the requester is gone, and given back if there is no room for it.
    pub(crate) fn answer(&self, name: &str, message: &Arc<Message>) -> Result<(), Waiting> {
        let Some(requester) = self.waiting.get(name).map(|entry| entry.value().clone()) else {
            return Ok(());
        };
        let message = Arc::clone(message);
        let room = requester.room.try_acquire_many(weight(&message));
        match room.map(|room| room.forget()) {
            Ok(()) => requester.deliver(message),
            Err(TryAcquireError::NoPermits) => return Err(Waiting { requester, message }),
            Err(TryAcquireError::Closed) => {}
        }
        Ok(())
    }
}

impl Waiting {
    /// Sends the answer when there is room for it, after those that have waited longer.
    pub(crate) async fn deliver(self) {
        // No room is given any more when the requester has left: nobody gets the answer then.
        if let Ok(room) = self
            .requester
            .room
            .acquire_many(weight(&self.message))
            .await
        {
            room.forget();
            self.requester.deliver(Arc::clone(&self.message));
        }
    }
}

impl Requester {
    fn deliver(&self, message: Arc<Message>) {
        let Some(outbox) = self.outbox.upgrade() else {
            return;
        };
        let lease = Lease {
            offset: 0,
            turn: 0,
            lane: 0,
        };
        let delivery = Delivery {
            consumer: self.consumer,
            lease,
            message,
            redelivered: false,
            delivery_count: 0,
            enqueued: None,
        };
        outbox.deliver(&mut vec![delivery]);
    }
}

/// The room that an answer takes. A large one takes all of it.
fn weight(message: &Message) -> u32 {
    let bytes = message.size().max(REPLY_BYTES_MIN);
    u32::try_from(bytes.min(REPLIES_PENDING_BYTES_MAX)).unwrap_or(u32::MAX)
}

impl ReplyAddress {
    /// What takes the place of the pseudo queue's name in requests.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A reply was put into the output.
    pub(crate) fn hand_out(&mut self, message: &Message) {
        self.handed_out += usize::try_from(weight(message)).unwrap_or(usize::MAX);
    }

    /// The socket has taken what was put into the output.
    pub(crate) fn written(&mut self) {
        self.room.add_permits(std::mem::take(&mut self.handed_out));
    }
}

impl Drop for ReplyAddress {
    fn drop(&mut self) {
        self.replies.waiting.remove(&self.name);
        self.room.close();
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
            failures: 0,
        })
    }

    fn arrived(outbox: &Outbox, address: &mut ReplyAddress) -> usize {
        let mut arrived = Vec::new();
        outbox.take(&mut arrived);
        for delivery in &arrived {
            address.hand_out(&delivery.message);
        }
        arrived.len()
    }

    /// How many answers like `message` a requester has room for that takes none of them; there is room for as many
    /// once its socket has taken them.
    fn check(message: &Arc<Message>, expected: usize) {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let mut address = replies.register(&outbox, ConsumerId(7));
        for _ in 0..2 {
            let fits = |_: &usize| replies.answer(address.name(), message).is_ok();
            assert_eq!((0..=expected).take_while(fits).count(), expected);
            assert_eq!(arrived(&outbox, &mut address), expected);
            let in_output = replies.answer(address.name(), message);
            assert!(in_output.is_err(), "what is in the output still counts");
            address.written();
        }
    }

    #[test]
    fn a_requester_that_does_not_read_has_room_for_so_much() {
        check(&reply(1), REPLIES_PENDING_BYTES_MAX / REPLY_BYTES_MIN);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2), 2);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2 + 1), 1);
        check(&reply(2 * REPLIES_PENDING_BYTES_MAX), 1);
    }

    #[tokio::test]
    async fn who_answers_a_full_requester_waits_until_it_has_read_or_left() {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let mut address = replies.register(&outbox, ConsumerId(7));
        let name = address.name().to_owned();
        let large = reply(REPLIES_PENDING_BYTES_MAX);
        assert!(replies.answer(&name, &large).is_ok());
        let first = replies.answer(&name, &large).unwrap_err();
        let second = replies.answer(&name, &large).unwrap_err();
        let first = tokio::spawn(first.deliver());
        tokio::task::yield_now().await;
        assert!(!first.is_finished());
        assert_eq!(arrived(&outbox, &mut address), 1);
        address.written();
        first.await.unwrap();
        assert_eq!(arrived(&outbox, &mut address), 1);
        let second = tokio::spawn(second.deliver());
        tokio::task::yield_now().await;
        assert!(!second.is_finished());
        drop(address);
        second.await.unwrap();
        assert!(!outbox.is_signalled() || outbox.take(&mut Vec::new()).is_empty());
    }

    #[test]
    fn addresses_are_told_from_other_names() {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let address = replies.register(&outbox, ConsumerId(7));
        assert!(is_address(address.name()));
        for name in [
            REPLY_TO,
            REPLY_TO_PREFIX,
            "amq.rabbitmq.reply-to.nonsense.abc",
            "amq.rabbitmq.reply-to.abc",
            "q",
        ] {
            assert!(!is_address(name), "{name}");
        }
    }

    #[test]
    fn nobody_answers_a_requester_that_left() {
        let (replies, outbox) = (Arc::<Replies>::default(), Arc::<Outbox>::default());
        let address = replies.register(&outbox, ConsumerId(7));
        let name = address.name().to_owned();
        assert!(name.starts_with(REPLY_TO_PREFIX) && replies.is_waiting(&name));
        drop(address);
        assert!(replies.answer(&name, &reply(1)).is_ok());
        assert!(!replies.is_waiting(&name) && !outbox.is_signalled());
    }
}
