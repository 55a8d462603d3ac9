//! What clients say about deliveries: ack, nack, reject, recover. Acks are gathered to the end of the batch of frames
//! and given to each queue as one settlement, together with the credit that they free.

use super::super::channel::{Channel, Mode};
use super::super::credit::{Grant, Window};
use super::super::cx::{Cx, Handled};
use super::super::error::{Code, Refusal};
use super::super::limits::UNACKED_PER_CHANNEL_MAX;
use super::super::unacked::Unacked;
use crate::broker::queue::{Credit, Settle};
use crate::model::arguments::QueueKind;
use crate::model::{ConsumerId, Lease, Ticket};
use crate::wire::AMQPClass;
use crate::wire::protocol::basic::{AMQPMethod, RecoverOk};

/// Acks of the current batch of frames, by queue.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    by_queue: Vec<Answered>,
    /// Room for what the ledger gives; empty between calls.
    taken: Vec<(u64, Unacked)>,
}

/// Those of one queue.
#[derive(Debug)]
struct Answered {
    queue: u32,
    leases: Vec<Lease>,
    /// How many of them were deliveries to consumers, for the channel's limiter.
    to_consumers: usize,
}

/// Credit for consumers, by queue.
type Grants = Vec<(u32, ConsumerId, Credit)>;

impl Channel {
    /// `basic.ack`.
    pub(crate) fn basic_ack(&mut self, cx: &mut Cx<'_>, tag: u64, multiple: bool) -> Handled {
        let mut taken = std::mem::take(&mut self.answers.taken);
        let result = self.take(tag, multiple, &mut taken);
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.answer(Settle::Ack, taken);
            self.check_transaction()?;
            return result;
        }
        for (_, entry) in taken.drain(..) {
            self.gather(&entry);
        }
        self.answers.taken = taken;
        self.mark_dirty(cx);
        result
    }

    /// `basic.nack`, and `basic.reject`, which is a nack of one.
    pub(crate) fn basic_nack(
        &mut self,
        cx: &mut Cx<'_>,
        tag: u64,
        multiple: bool,
        requeue: bool,
    ) -> Handled {
        let mut taken = Vec::new();
        self.take(tag, multiple, &mut taken)?;
        let how = if requeue {
            Settle::Requeue
        } else {
            Settle::Reject
        };
        if let Mode::Tx(transaction) = &mut self.mode {
            transaction.answer(how, taken);
            return self.check_transaction();
        }
        // In order with the acks and publishes before it: what goes back to a queue may be seen by others at once.
        self.flush(cx);
        if how == Settle::Reject {
            // With the credit that this frees, so that what waits leaves a full queue before a dead letter asks for room.
            for (_, entry) in &taken {
                self.gather(entry);
            }
            let grants = self.grants(cx);
            self.settle_gathered(how, grants);
        } else {
            self.settle_now(how, &taken);
        }
        self.flush_credit(cx);
        Ok(())
    }

    /// `basic.recover` and `basic.recover-async`: everything unanswered goes back.
    pub(crate) fn basic_recover(
        &mut self,
        cx: &mut Cx<'_>,
        requeue: bool,
        answer: bool,
    ) -> Handled {
        if !requeue {
            return Err(Refusal::new(Code::NotImplemented, "requeue=false"));
        }
        let mut taken = Vec::new();
        self.ledger.take_all(&mut taken);
        self.settle_now(Settle::Requeue, &taken);
        if answer {
            cx.send(
                self.number,
                AMQPClass::Basic(AMQPMethod::RecoverOk(RecoverOk {})),
            );
        }
        self.flush_credit(cx);
        Ok(())
    }

    /// Ends leases at once, in order. The ticket tells when that is durable; `None` if nothing is written.
    pub(crate) fn settle_now(&mut self, how: Settle, entries: &[(u64, Unacked)]) -> Option<Ticket> {
        if entries.is_empty() {
            return None;
        }
        for (_, entry) in entries {
            self.gather(entry);
        }
        self.settle_gathered(how, Vec::new())
    }

    /// Gives the acks of the batch to their queues.
    pub(crate) fn flush_answers(&mut self, cx: &mut Cx<'_>) {
        if self.answers.by_queue.is_empty() {
            return;
        }
        let grants = self.grants(cx);
        self.settle_gathered(Settle::Ack, grants);
    }

    /// Gives consumers the credit that they may have by now.
    pub(crate) fn flush_credit(&mut self, cx: &mut Cx<'_>) {
        if self.touched.is_empty() && !self.parked {
            return;
        }
        let mut grants = self.grants(cx);
        while let Some((queue, ..)) = grants.first().copied() {
            let credit = take_grants(&mut grants, queue);
            if let Some(queue) = self.queues.get(queue) {
                queue.credit(&credit);
            }
        }
    }

    /// Notes that a consumer's account has changed.
    pub(crate) fn touch(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumers.get_mut(id)
            && !std::mem::replace(&mut consumer.touched, true)
        {
            self.touched.push(id);
        }
    }

    /// The socket has taken what was sent: the consumers may be given more.
    pub(crate) fn deliveries_written(&mut self, cx: &mut Cx<'_>) {
        if let Some((_, address)) = &mut self.reply {
            address.written();
        }
        for id in std::mem::take(&mut self.under_way) {
            if let Some(consumer) = self.consumers.get_mut(id) {
                consumer.account.written();
                self.touch(id);
            }
        }
        self.flush_credit(cx);
    }

    fn take(&mut self, tag: u64, multiple: bool, taken: &mut Vec<(u64, Unacked)>) -> Handled {
        self.ledger.take(tag, multiple, taken).map_err(|unknown| {
            Refusal::new(
                Code::PreconditionFailed,
                format!("unknown delivery tag {}", unknown.0),
            )
        })
    }

    fn check_transaction(&self) -> Handled {
        match &self.mode {
            Mode::Tx(transaction) => transaction.check(),
            Mode::Plain | Mode::Confirm(_) => Ok(()),
        }
    }

    /// Puts an answered delivery with the others of its queue, and takes it off its consumer's account.
    fn gather(&mut self, entry: &Unacked) {
        let by_queue = &mut self.answers.by_queue;
        let to_consumers = usize::from(entry.consumer.is_some());
        match by_queue
            .iter_mut()
            .find(|answered| answered.queue == entry.queue)
        {
            Some(answered) => {
                answered.leases.push(entry.lease);
                answered.to_consumers += to_consumers;
            }
            None => by_queue.push(Answered {
                queue: entry.queue,
                leases: vec![entry.lease],
                to_consumers,
            }),
        }
        if let Some(id) = entry.consumer
            && let Some(consumer) = self.consumers.get_mut(id)
        {
            consumer.account.settled();
            self.touch(id);
        }
    }

    /// Settles what was gathered. The channel's limiter has its places back before the queues deliver again.
    fn settle_gathered(&mut self, how: Settle, mut grants: Grants) -> Option<Ticket> {
        let mut ticket = None;
        let by_queue = std::mem::take(&mut self.answers.by_queue);
        let limited = by_queue.iter().filter(|answered| {
            let queue = self.queues.get(answered.queue);
            queue.is_some_and(|queue| queue.spec().arguments.kind == QueueKind::Classic)
        });
        let answered: usize = limited.map(|answered| answered.to_consumers).sum();
        if let Some(limiter) = &self.limiter {
            limiter.give_back(i64::try_from(answered).unwrap_or(i64::MAX));
        }
        for Answered { queue, leases, .. } in by_queue {
            let credit = take_grants(&mut grants, queue);
            if let Some(queue) = self.queues.get(queue) {
                ticket = ticket.max(queue.settle(how, &leases, &credit));
            }
            self.queues.release(queue, leases.len());
        }
        while let Some((handle, ..)) = grants.first().copied() {
            let credit = take_grants(&mut grants, handle);
            if let Some(queue) = self.queues.get(handle) {
                queue.credit(&credit);
            }
        }
        if answered > 0 && self.is_limited() {
            self.poke_queues();
        }
        ticket
    }

    /// What the consumers whose accounts have changed may be granted now.
    fn grants(&mut self, cx: &Cx<'_>) -> Grants {
        let window = Window::share(cx.consumers.len());
        let was_parked = self.parked;
        self.parked = self.ledger.len() >= UNACKED_PER_CHANNEL_MAX;
        if was_parked && !self.parked {
            let all: Vec<ConsumerId> = self.consumers.iter().map(|(id, _)| id).collect();
            all.into_iter().for_each(|id| self.touch(id));
        }
        let parked = self.parked;
        let mut grants = Vec::new();
        for id in self.touched.drain(..) {
            let Some(consumer) = self.consumers.get_mut(id) else {
                continue;
            };
            consumer.touched = false;
            let Some(source) = consumer.source else {
                continue;
            };
            if let Some(grant) = consumer.account.grant(window, parked) {
                grants.push((source.queue, id, credit(grant)));
            }
        }
        grants
    }
}

/// A grant as queues take it.
pub(super) fn credit(grant: Grant) -> Credit {
    Credit {
        messages: grant.messages,
        bytes: grant.bytes,
    }
}

/// Takes the grants of one queue out.
fn take_grants(grants: &mut Grants, queue: u32) -> Vec<(ConsumerId, Credit)> {
    let mut taken = Vec::new();
    grants.retain(|(of, consumer, credit)| {
        if *of == queue {
            taken.push((*consumer, *credit));
        }
        *of != queue
    });
    taken
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::accept::Capacity;
    use crate::amqp::assembly::Assembling;
    use crate::amqp::channel::Phase;
    use crate::amqp::connection::Context;
    use crate::amqp::consumers::ConsumerChannels;
    use crate::amqp::error::MethodId;
    use crate::amqp::handshake::Capabilities;
    use crate::amqp::limits::DELIVERY_WINDOW_MESSAGES;
    use crate::amqp::listener::{Front, Settings};
    use crate::amqp::outbox::Outbox;
    use crate::amqp::unsynced::Unsynced;
    use crate::amqp::writer::Writer;
    use crate::broker::broker::{Broker, BrokerConfig, DEFAULT_USER, DEFAULT_VHOST};
    use crate::broker::queue::Queue;
    use crate::broker::session::{DeclareQueue, Session};
    use crate::model::{Body, Message, Origin};
    use crate::store::{Committer, Limits, MemoryStore};
    use crate::wire::FieldTable;
    use crate::wire::protocol::basic::Consume;

    /// What a connection has, without a socket.
    async fn context() -> Context {
        let store = Arc::new(MemoryStore::new());
        let committer = Committer::start(store, Limits::default()).unwrap();
        let config = BrokerConfig::default();
        let broker = Broker::open(Arc::clone(&committer), config).await.unwrap();
        let vhost = broker.vhost(DEFAULT_VHOST).unwrap();
        let user = broker.users().get(DEFAULT_USER).unwrap();
        let connection = broker.next_connection();
        let session = Session::new(Arc::clone(&broker), vhost, user, connection);
        let settings = Settings {
            channel_max: 1,
            frame_max: 4_096,
            heartbeat_secs: 0,
            message_bytes_max: 0,
            consumer_timeout_ms: None,
            connections: Capacity {
                known: 1,
                newcomers: 1,
            },
            handshake_timeout: Duration::ZERO,
            cluster_name: String::new(),
            server_product: String::new(),
        };
        Context {
            name: "test".into(),
            session: Arc::new(session),
            outbox: Arc::new(Outbox::default()),
            front: Front::new(broker, Arc::default(), settings),
            committer,
            frame_max: 4_096,
            channel_max: 1,
            client: Capabilities::default(),
        }
    }

    /// Calls `act` with what a handler may use.
    fn with_cx<R>(shared: &Context, act: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        act(&mut Cx {
            shared,
            out: &mut Writer::default(),
            later: &mut None,
            method: MethodId::default(),
            consumers: &mut ConsumerChannels::default(),
            now_ms: 0,
            dirty: &mut Vec::new(),
            confirming: &mut Vec::new(),
            delivering: &mut Vec::new(),
            has_published: &mut false,
            unsynced: &mut Unsynced::default(),
            assembling: &mut Assembling::default(),
            read_buffer: 0,
        })
    }

    /// A queue with so many messages.
    async fn queue_with_messages(shared: &Context, count: usize) -> Arc<Queue> {
        let declare = DeclareQueue {
            name: "q",
            passive: false,
            durable: false,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        shared.session.declare_queue(declare).await.unwrap();
        let queue = shared.session.vhost.queue("q").unwrap();
        let message = Arc::new(Message {
            origin: Arc::new(Origin {
                exchange: "".into(),
                routing_key: "q".into(),
            }),
            properties: b"\0\0"[..].into(),
            body: Body::Whole(b""[..].into()),
            persistent: false,
            priority: 0,
            expiration_ms: None,
            delay_ms: None,
            dead_lettered: false,
            failures: 0,
        });
        queue.publish(&vec![message; count]);
        queue
    }

    /// Sends what the queue has delivered, to a socket that takes all of it. How many messages that were.
    fn send(channel: &mut Channel, shared: &Context) -> u32 {
        let mut deliveries = Vec::new();
        shared.outbox.take(&mut deliveries);
        with_cx(shared, |cx| {
            for delivery in &deliveries {
                channel.deliver(cx, delivery);
            }
            channel.deliveries_written(cx);
        });
        u32::try_from(deliveries.len()).unwrap()
    }

    #[tokio::test]
    async fn what_was_got_for_a_channel_that_is_closed_meanwhile_goes_back() {
        let shared = context().await;
        let queue = queue_with_messages(&shared, 2).await;
        let mut channel = Channel::new(1);
        let got = queue.get(false).await.unwrap().unwrap();
        channel.phase = Phase::Closing;
        with_cx(&shared, |cx| {
            assert!(channel.got(cx, &queue, &got, false).is_ok());
            assert!(cx.out.is_empty());
        });
        assert_eq!((queue.counts().ready, queue.counts().unacked), (2, 0));
    }

    #[test]
    fn a_delivery_has_all_its_time() {
        let mut channel = Channel::new(1);
        channel.ledger.push(Unacked {
            queue: 0,
            consumer: None,
            lease: Lease {
                lane: 0,
                offset: 0,
                turn: 0,
            },
            at_ms: 999,
        });
        assert_eq!(channel.timed_out(2_498, Some(1_500)), None);
        assert_eq!(channel.timed_out(2_499, Some(1_500)), Some(1_500));
    }

    #[tokio::test]
    async fn a_channel_with_very_many_unanswered_deliveries_is_given_no_more() {
        let shared = context().await;
        let window = DELIVERY_WINDOW_MESSAGES;
        queue_with_messages(&shared, 4 * window as usize).await;
        // Others of a queue that is gone; with the first window it is one less than may be.
        let mut channel = Channel::new(1);
        for offset in 0..UNACKED_PER_CHANNEL_MAX as u64 - u64::from(window) - 1 {
            channel.ledger.push(Unacked {
                queue: u32::MAX,
                consumer: None,
                lease: Lease {
                    lane: 0,
                    offset,
                    turn: 0,
                },
                at_ms: 0,
            });
        }
        let consume = Consume {
            queue: "q".into(),
            consumer_tag: "c".into(),
            no_local: false,
            no_ack: false,
            exclusive: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        let consumed = with_cx(&shared, |cx| channel.basic_consume(cx, consume));
        assert!(consumed.is_ok());
        assert_eq!(send(&mut channel, &shared), window);
        assert_eq!(channel.ledger.len(), UNACKED_PER_CHANNEL_MAX - 1);
        assert_eq!(send(&mut channel, &shared), window);
        assert_eq!(send(&mut channel, &shared), 0);
        // One less than may be again.
        with_cx(&shared, |cx| {
            assert!(channel.basic_ack(cx, window.into(), true).is_ok());
            channel.flush(cx);
        });
        assert_eq!(channel.ledger.len(), UNACKED_PER_CHANNEL_MAX - 1);
        assert_eq!(send(&mut channel, &shared), window);
        assert_eq!(send(&mut channel, &shared), 0);
    }
}
