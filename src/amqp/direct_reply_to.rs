//! Direct reply-to: consumers of the pseudo queue `amq.rabbitmq.reply-to` (*requesters*), found by an address
//! that their requests carry. A reply goes straight to the requester's connection. The bytes of replies that
//! the requester's socket has not taken are bounded; beyond the bound the replying channel waits.

use std::sync::{Arc, Weak};

use dashmap::DashMap;
use tokio::sync::{Semaphore, TryAcquireError};

use super::generated_name::{generated_name, is_generated_name};
use super::limits::{REPLIES_PENDING_BYTES_MAX, REPLY_BYTES_MIN};
use super::outbox::Outbox;
use crate::broker::queue::{Delivery, DeliverySink, ReturnCounts};
use crate::model::{ConsumerId, Lease, Message};

/// The pseudo queue.
pub(crate) const REPLY_TO: &str = "amq.rabbitmq.reply-to";
/// Starts the address of a requester; a generated name follows.
pub(crate) const REPLY_TO_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// Whether this is the address of a requester, present or gone. No queue or exchange is routed to under such
/// a name.
pub(crate) fn is_address(name: &str) -> bool {
    name.strip_prefix(REPLY_TO_PREFIX)
        .is_some_and(is_generated_name)
}

/// All requesters of the broker.
#[derive(Debug, Default)]
pub(crate) struct Requesters {
    by_address: DashMap<Box<str>, Requester>,
}

#[derive(Clone, Debug)]
struct Requester {
    outbox: Weak<Outbox>,
    consumer: ConsumerId,
    /// A permit per byte that may still be sent to it. Closed when the requester leaves.
    free_bytes: Arc<Semaphore>,
}

/// A reply that exceeds the requester's bound for now.
#[derive(Debug)]
pub(crate) struct PendingReply {
    requester: Requester,
    message: Arc<Message>,
}

/// The address of a requester. Dropping it ends the registration.
#[derive(Debug)]
pub(crate) struct ReplyAddress {
    requesters: Arc<Requesters>,
    name: Box<str>,
    free_bytes: Arc<Semaphore>,
    /// Bytes of replies in the connection's output.
    in_output: usize,
}

impl Requesters {
    /// Registers a requester under an address that cannot be guessed. Replies arrive as deliveries to
    /// `consumer`.
    pub(crate) fn register(
        self: &Arc<Self>,
        outbox: &Arc<Outbox>,
        consumer: ConsumerId,
    ) -> ReplyAddress {
        let name: Box<str> = format!("{REPLY_TO_PREFIX}{}", generated_name()).into();
        let free_bytes = Arc::new(Semaphore::new(REPLIES_PENDING_BYTES_MAX));
        let requester = Requester {
            outbox: Arc::downgrade(outbox),
            consumer,
            free_bytes: Arc::clone(&free_bytes),
        };
        self.by_address.insert(name.clone(), requester);
        ReplyAddress {
            requesters: Arc::clone(self),
            name,
            free_bytes,
            in_output: 0,
        }
    }

    /// Whether the requester with this address is still there.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.by_address.contains_key(name)
    }

    /// Sends a reply. It is dropped if the requester is gone, and returned if the requester's bound is
    /// exceeded.
    pub(crate) fn reply(&self, name: &str, message: &Arc<Message>) -> Result<(), PendingReply> {
        let Some(requester) = self.by_address.get(name).map(|entry| entry.value().clone()) else {
            return Ok(());
        };
        let message = Arc::clone(message);
        let permit = requester.free_bytes.try_acquire_many(weight(&message));
        match permit.map(|permit| permit.forget()) {
            Ok(()) => requester.deliver(message),
            Err(TryAcquireError::NoPermits) => return Err(PendingReply { requester, message }),
            Err(TryAcquireError::Closed) => {}
        }
        Ok(())
    }
}

impl PendingReply {
    /// Sends the reply when the requester has taken enough of the earlier ones. Replies keep their order.
    pub(crate) async fn deliver(self) {
        // The semaphore is closed when the requester leaves; the reply is dropped then.
        let free_bytes = &self.requester.free_bytes;
        if let Ok(permit) = free_bytes.acquire_many(weight(&self.message)).await {
            permit.forget();
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
            counts: ReturnCounts::default(),
            enqueued: None,
        };
        outbox.deliver(&mut vec![delivery]);
    }
}

/// Bytes that a reply counts for. A very large reply counts for the whole bound.
fn weight(message: &Message) -> u32 {
    let bytes = message.size().max(REPLY_BYTES_MIN);
    u32::try_from(bytes.min(REPLIES_PENDING_BYTES_MAX)).unwrap_or(u32::MAX)
}

impl ReplyAddress {
    /// Replaces the pseudo queue's name in requests.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A reply was put into the output.
    pub(crate) fn put_into_output(&mut self, message: &Message) {
        self.in_output += usize::try_from(weight(message)).unwrap_or(usize::MAX);
    }

    /// The socket has taken all replies in the output.
    pub(crate) fn written(&mut self) {
        self.free_bytes
            .add_permits(std::mem::take(&mut self.in_output));
    }
}

impl Drop for ReplyAddress {
    fn drop(&mut self) {
        self.requesters.by_address.remove(&self.name);
        self.free_bytes.close();
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
            handed_out: false,
        })
    }

    fn arrived(outbox: &Outbox, address: &mut ReplyAddress) -> usize {
        let mut arrived = Vec::new();
        outbox.take(&mut arrived);
        for delivery in &arrived {
            address.put_into_output(&delivery.message);
        }
        arrived.len()
    }

    /// Checks how many replies like `message` fit into the bound of a requester whose socket takes none.
    fn check(message: &Arc<Message>, expected: usize) {
        let (requesters, outbox) = (Arc::<Requesters>::default(), Arc::<Outbox>::default());
        let mut address = requesters.register(&outbox, ConsumerId(7));
        for _ in 0..2 {
            let fits = |_: &usize| requesters.reply(address.name(), message).is_ok();
            assert_eq!((0..=expected).take_while(fits).count(), expected);
            assert_eq!(arrived(&outbox, &mut address), expected);
            let in_output = requesters.reply(address.name(), message);
            assert!(in_output.is_err(), "replies in the output still count");
            address.written();
        }
    }

    #[test]
    fn replies_to_a_requester_that_does_not_read_are_bounded() {
        check(&reply(1), REPLIES_PENDING_BYTES_MAX / REPLY_BYTES_MIN);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2), 2);
        check(&reply(REPLIES_PENDING_BYTES_MAX / 2 + 1), 1);
        check(&reply(2 * REPLIES_PENDING_BYTES_MAX), 1);
    }

    #[tokio::test]
    async fn a_reply_beyond_the_bound_waits_until_the_requester_reads_or_leaves() {
        let (requesters, outbox) = (Arc::<Requesters>::default(), Arc::<Outbox>::default());
        let mut address = requesters.register(&outbox, ConsumerId(7));
        let name = address.name().to_owned();
        let large = reply(REPLIES_PENDING_BYTES_MAX);
        assert!(requesters.reply(&name, &large).is_ok());
        let first = requesters.reply(&name, &large).unwrap_err();
        let second = requesters.reply(&name, &large).unwrap_err();
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
        let (requesters, outbox) = (Arc::<Requesters>::default(), Arc::<Outbox>::default());
        let address = requesters.register(&outbox, ConsumerId(7));
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
    fn a_reply_to_a_requester_that_left_is_dropped() {
        let (requesters, outbox) = (Arc::<Requesters>::default(), Arc::<Outbox>::default());
        let address = requesters.register(&outbox, ConsumerId(7));
        let name = address.name().to_owned();
        assert!(name.starts_with(REPLY_TO_PREFIX) && requesters.contains(&name));
        drop(address);
        assert!(requesters.reply(&name, &reply(1)).is_ok());
        assert!(!requesters.contains(&name) && !outbox.is_signalled());
    }
}
