//! The methods of AMQP that tests use most, as calls of a [`Peer`].

use bytes::BytesMut;
use leveret::wire::protocol::{basic, channel, confirm, connection, exchange, queue};
use leveret::wire::{AMQPClass, AMQPValue, FieldTable};

use super::reply_code::REPLY_SUCCESS;
use super::{Content, Peer, Publish, table};

/// A declaration of a transient queue without arguments.
pub(crate) fn declare(queue: &str) -> queue::Declare {
    queue::Declare {
        queue: queue.into(),
        passive: false,
        durable: false,
        exclusive: false,
        auto_delete: false,
        nowait: false,
        arguments: FieldTable::default(),
    }
}

/// A deletion without conditions.
pub(crate) fn delete_queue(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Delete(queue::Delete {
        queue: queue.into(),
        if_unused: false,
        if_empty: false,
        nowait: false,
    }))
}

pub(crate) fn purge(queue: &str) -> AMQPClass {
    AMQPClass::Queue(queue::AMQPMethod::Purge(queue::Purge {
        queue: queue.into(),
        nowait: false,
    }))
}

impl Peer {
    pub(crate) async fn open(&mut self, channel: u16) {
        let open = AMQPClass::Channel(channel::AMQPMethod::Open(channel::Open {}));
        let opened = self.call(channel, open).await;
        assert!(
            matches!(opened, AMQPClass::Channel(channel::AMQPMethod::OpenOk(_))),
            "{opened:?}"
        );
    }

    /// Sends `channel.close`; its answer is still to be read.
    pub(crate) async fn close_channel(&mut self, channel: u16) {
        let close = channel::Close {
            reply_code: REPLY_SUCCESS,
            reply_text: "".into(),
            class_id: 0,
            method_id: 0,
        };
        self.send(
            channel,
            AMQPClass::Channel(channel::AMQPMethod::Close(close)),
        )
        .await;
    }

    pub(crate) async fn send_channel_close_ok(&mut self, channel: u16) {
        let ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        self.send(channel, AMQPClass::Channel(ok)).await;
    }

    /// Closes the connection and reads the answer.
    pub(crate) async fn close_connection(&mut self) {
        let close = connection::Close {
            reply_code: REPLY_SUCCESS,
            reply_text: "bye".into(),
            class_id: 0,
            method_id: 0,
        };
        let close = AMQPClass::Connection(connection::AMQPMethod::Close(close));
        let answer = self.call(0, close).await;
        assert!(
            matches!(
                answer,
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
            ),
            "{answer:?}"
        );
    }

    /// Sends `channel.flow` and asserts that its answer is the next to come.
    pub(crate) async fn expect_nothing(&mut self, channel: u16) {
        let flow = AMQPClass::Channel(channel::AMQPMethod::Flow(channel::Flow { active: true }));
        let answer = self.call(channel, flow).await;
        assert!(
            matches!(answer, AMQPClass::Channel(channel::AMQPMethod::FlowOk(_))),
            "{answer:?}"
        );
    }

    pub(crate) async fn declare(&mut self, channel: u16, queue: &str) -> queue::DeclareOk {
        self.declare_as(channel, declare(queue)).await
    }

    pub(crate) async fn declare_durable(
        &mut self,
        channel: u16,
        queue: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> queue::DeclareOk {
        let declare = queue::Declare {
            durable: true,
            arguments: table(arguments),
            ..declare(queue)
        };
        self.declare_as(channel, declare).await
    }

    pub(crate) async fn declare_as(
        &mut self,
        channel: u16,
        declare: queue::Declare,
    ) -> queue::DeclareOk {
        let declare = AMQPClass::Queue(queue::AMQPMethod::Declare(declare));
        match self.call(channel, declare).await {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(ok)) => ok,
            other => panic!("not declared: {other:?}"),
        }
    }

    /// Declares a durable exchange.
    pub(crate) async fn declare_exchange(
        &mut self,
        channel: u16,
        exchange: &str,
        kind: &str,
        arguments: &[(&str, AMQPValue)],
    ) {
        let declare = exchange::AMQPMethod::Declare(exchange::Declare {
            exchange: exchange.into(),
            kind: kind.into(),
            passive: false,
            durable: true,
            auto_delete: false,
            internal: false,
            nowait: false,
            arguments: table(arguments),
        });
        let answer = self.call(channel, AMQPClass::Exchange(declare)).await;
        assert!(
            matches!(
                answer,
                AMQPClass::Exchange(exchange::AMQPMethod::DeclareOk(_))
            ),
            "{answer:?}"
        );
    }

    pub(crate) async fn bind(&mut self, channel: u16, queue: &str, exchange: &str, key: &str) {
        self.bind_with(channel, queue, exchange, key, &[]).await;
    }

    pub(crate) async fn bind_with(
        &mut self,
        channel: u16,
        queue: &str,
        exchange: &str,
        key: &str,
        arguments: &[(&str, AMQPValue)],
    ) {
        let bind = queue::Bind {
            queue: queue.into(),
            exchange: exchange.into(),
            routing_key: key.into(),
            nowait: false,
            arguments: table(arguments),
        };
        let answer = self
            .call(channel, AMQPClass::Queue(queue::AMQPMethod::Bind(bind)))
            .await;
        assert!(
            matches!(answer, AMQPClass::Queue(queue::AMQPMethod::BindOk(_))),
            "{answer:?}"
        );
    }

    pub(crate) async fn confirm_select(&mut self, channel: u16) {
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.call(channel, AMQPClass::Confirm(select)).await;
    }

    /// Publishes a persistent message through the default exchange.
    pub(crate) async fn publish(&mut self, channel: u16, queue: &str, body: &[u8]) {
        self.publish_as(channel, &Publish::to_queue(queue, body))
            .await;
    }

    /// Publishes a persistent message with headers.
    pub(crate) async fn publish_to(
        &mut self,
        channel: u16,
        exchange: &str,
        key: &str,
        headers: &[(&str, AMQPValue)],
        body: &str,
    ) {
        let publish = Publish::to(exchange, key, body.as_bytes()).with_headers(headers);
        self.publish_as(channel, &publish).await;
    }

    pub(crate) async fn publish_as(&mut self, channel: u16, publish: &Publish<'_>) {
        let frames = self.frames(channel, publish);
        self.raw(&frames).await;
    }

    /// The frames of a publish, as long as was agreed.
    pub(crate) fn frames(&self, channel: u16, publish: &Publish<'_>) -> BytesMut {
        publish.frames(channel, self.client().frame_max)
    }

    /// Limits the unacked messages of each new consumer of the channel.
    pub(crate) async fn qos(&mut self, channel: u16, prefetch_count: u16) {
        self.set_prefetch(channel, prefetch_count, false).await;
    }

    /// Limits the unacked messages of all consumers of the channel together.
    pub(crate) async fn qos_of_channel(&mut self, channel: u16, prefetch_count: u16) {
        self.set_prefetch(channel, prefetch_count, true).await;
    }

    async fn set_prefetch(&mut self, channel: u16, prefetch_count: u16, global: bool) {
        let qos = basic::AMQPMethod::Qos(basic::Qos {
            prefetch_count,
            global,
        });
        self.call(channel, AMQPClass::Basic(qos)).await;
    }

    pub(crate) async fn consume(&mut self, channel: u16, queue: &str, tag: &str) {
        self.consume_with(channel, queue, tag, &[]).await;
    }

    pub(crate) async fn consume_with(
        &mut self,
        channel: u16,
        queue: &str,
        tag: &str,
        arguments: &[(&str, AMQPValue)],
    ) {
        let answer = self.try_consume(channel, queue, tag, arguments).await;
        assert_consuming(&answer);
    }

    pub(crate) async fn consume_no_ack(&mut self, channel: u16, queue: &str, tag: &str) {
        let consume = basic::Consume {
            no_ack: true,
            ..consume(queue, tag, &[])
        };
        let consume = AMQPClass::Basic(basic::AMQPMethod::Consume(consume));
        assert_consuming(&self.call(channel, consume).await);
    }

    /// The broker's answer to `basic.consume`.
    pub(crate) async fn try_consume(
        &mut self,
        channel: u16,
        queue: &str,
        tag: &str,
        arguments: &[(&str, AMQPValue)],
    ) -> AMQPClass {
        let consume = basic::AMQPMethod::Consume(consume(queue, tag, arguments));
        self.call(channel, AMQPClass::Basic(consume)).await
    }

    /// Sends `basic.cancel`; deliveries may come before its answer.
    pub(crate) async fn cancel(&mut self, channel: u16, tag: &str) {
        let cancel = basic::Cancel {
            consumer_tag: tag.into(),
            nowait: false,
        };
        self.basic(channel, basic::AMQPMethod::Cancel(cancel)).await;
    }

    pub(crate) async fn ack(&mut self, channel: u16, delivery_tag: u64) {
        self.send_ack(channel, delivery_tag, false).await;
    }

    pub(crate) async fn ack_up_to(&mut self, channel: u16, delivery_tag: u64) {
        self.send_ack(channel, delivery_tag, true).await;
    }

    /// Tag 0 stands for all messages of the channel.
    pub(crate) async fn ack_all(&mut self, channel: u16) {
        self.send_ack(channel, 0, true).await;
    }

    async fn send_ack(&mut self, channel: u16, delivery_tag: u64, multiple: bool) {
        let ack = basic::Ack {
            delivery_tag,
            multiple,
        };
        self.basic(channel, basic::AMQPMethod::Ack(ack)).await;
    }

    /// `basic.nack` that returns the message to its queue.
    pub(crate) async fn requeue(&mut self, channel: u16, delivery_tag: u64) {
        self.nack(channel, delivery_tag, false, true).await;
    }

    pub(crate) async fn requeue_up_to(&mut self, channel: u16, delivery_tag: u64) {
        self.nack(channel, delivery_tag, true, true).await;
    }

    /// `basic.nack` that drops or dead-letters the message.
    pub(crate) async fn reject(&mut self, channel: u16, delivery_tag: u64) {
        self.nack(channel, delivery_tag, false, false).await;
    }

    pub(crate) async fn reject_up_to(&mut self, channel: u16, delivery_tag: u64) {
        self.nack(channel, delivery_tag, true, false).await;
    }

    async fn nack(&mut self, channel: u16, delivery_tag: u64, multiple: bool, requeue: bool) {
        let nack = basic::Nack {
            delivery_tag,
            multiple,
            requeue,
        };
        self.basic(channel, basic::AMQPMethod::Nack(nack)).await;
    }

    /// `basic.get`; `None` if the queue is empty.
    pub(crate) async fn get(&mut self, channel: u16, queue: &str) -> Option<Content> {
        self.send_get(channel, queue, false).await
    }

    /// As [`Peer::get`], without acknowledgement.
    pub(crate) async fn get_no_ack(&mut self, channel: u16, queue: &str) -> Option<Content> {
        self.send_get(channel, queue, true).await
    }

    async fn send_get(&mut self, channel: u16, queue: &str, no_ack: bool) -> Option<Content> {
        let get = basic::Get {
            queue: queue.into(),
            no_ack,
        };
        let answer = self
            .call(channel, AMQPClass::Basic(basic::AMQPMethod::Get(get)))
            .await;
        if matches!(answer, AMQPClass::Basic(basic::AMQPMethod::GetEmpty(_))) {
            return None;
        }
        Some(self.content_of(answer).await)
    }
}

fn consume(queue: &str, tag: &str, arguments: &[(&str, AMQPValue)]) -> basic::Consume {
    basic::Consume {
        queue: queue.into(),
        consumer_tag: tag.into(),
        no_local: false,
        no_ack: false,
        exclusive: false,
        nowait: false,
        arguments: table(arguments),
    }
}

fn assert_consuming(answer: &AMQPClass) {
    assert!(
        matches!(answer, AMQPClass::Basic(basic::AMQPMethod::ConsumeOk(_))),
        "{answer:?}"
    );
}
