//! What the firehose copies of a channel: its publishes, deliveries and gets, while tracing is on in the virtual host.
//! The copies count as the connection's own publishes, so that a disk that falls behind slows it down.

use std::sync::Arc;

use super::channel::{Channel, Phase};
use super::connection_state::ConnectionState;
use super::deliver::added_headers;
use super::message_frames::{AddedHeaders, delivered_properties};
use crate::broker::firehose::{
    Client, Copied, TracedDelivery, TracedPublish, trace_delivery, trace_publish,
};
use crate::broker::queue::{Delivery, Got, Queue};
use crate::model::{Message, Name};

impl Channel {
    /// Copies a message that is about to go to its queues.
    pub(super) fn trace_publish<'q>(
        &self,
        connection: &mut ConnectionState,
        message: &Message,
        further_keys: &[Name],
        queues: impl Iterator<Item = &'q Arc<Queue>>,
    ) {
        let publish = TracedPublish {
            message,
            further_keys,
            queues: queues.map(|queue| queue.name()).collect(),
        };
        let vhost = &connection.shared.session.vhost;
        let copied = trace_publish(vhost, self.traced_as(connection), &publish);
        connection.count_copies(&copied);
    }

    /// Copies a message that the client was sent. A closing channel sends none.
    pub(super) fn trace_delivery(&self, connection: &mut ConnectionState, delivery: &Delivery) {
        let Some(consumer) = self.consumers.get(delivery.consumer) else {
            return;
        };
        let (queue, added) = match (consumer.source, &self.reply_consumer) {
            (Some(source), _) => {
                let added = added_headers(connection, source, delivery);
                let queue = self.queues.get(source.queue);
                (queue.map(|queue| &**queue.name()), added)
            }
            (None, Some((_, address))) => (Some(address.name()), AddedHeaders::None),
            (None, None) => (None, AddedHeaders::None),
        };
        let Some(queue) = queue.filter(|_| self.phase == Phase::Open) else {
            return;
        };
        let message = &delivery.message;
        let delivered = TracedDelivery {
            message,
            properties: &delivered_properties(&message.properties, added),
            queue,
            redelivered: delivery.redelivered,
        };
        self.trace(connection, &delivered);
    }

    /// Copies a message that the client got.
    pub(super) fn trace_got(
        &self,
        connection: &mut ConnectionState,
        queue: &Arc<Queue>,
        got: &Got,
        added: AddedHeaders,
    ) {
        let message = &got.message;
        let delivered = TracedDelivery {
            message,
            properties: &delivered_properties(&message.properties, added),
            queue: queue.name(),
            redelivered: got.redelivered,
        };
        self.trace(connection, &delivered);
    }

    fn trace(&self, connection: &mut ConnectionState, delivered: &TracedDelivery<'_>) {
        let vhost = &connection.shared.session.vhost;
        let copied = trace_delivery(vhost, self.traced_as(connection), delivered);
        connection.count_copies(&copied);
    }

    fn traced_as<'a>(&self, connection: &'a ConnectionState) -> Client<'a> {
        Client {
            connection: &connection.shared.name,
            channel: self.number,
            user: &connection.shared.session.user,
        }
    }
}

impl ConnectionState {
    fn count_copies(&mut self, copied: &Copied) {
        if copied.bytes > 0 {
            self.has_published = true;
            self.hold_back(copied.full.as_ref());
            self.unsynced.add(copied.bytes, &self.shared.committer);
        }
    }
}
