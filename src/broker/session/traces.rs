//! What the firehose copies of operators, who publish and get single messages without a channel.

use crate::broker::connections::pid;
use crate::broker::firehose::{
    Client, TracedDelivery, TracedPublish, trace_delivery, trace_publish,
};
use crate::broker::queue::{Got, Queue};
use crate::model::{Message, Name};

use super::checks::Session;

/// The channel that RabbitMQ's API uses on a connection of its own for each request.
const CHANNEL: u16 = 1;

impl Session {
    /// Copies a message that goes to its queues next.
    pub(super) fn trace_publish(&self, message: &Message, keys: &[Name], queues: Vec<&Name>) {
        self.trace(|client| {
            let publish = TracedPublish {
                message,
                further_keys: keys,
                queues,
            };
            trace_publish(&self.vhost, client, &publish).bytes
        });
    }

    /// Copies a message that an operator has got from a queue, if tracing is on.
    pub async fn trace_got(&self, queue: &Queue, got: &Got) {
        if !self.vhost.is_traced() {
            return;
        }
        self.broker.committer().room().await;
        self.trace(|client| {
            let delivery = TracedDelivery {
                message: &got.message,
                properties: &got.message.properties,
                queue: queue.name(),
                redelivered: got.redelivered,
            };
            trace_delivery(&self.vhost, client, &delivery).bytes
        });
    }

    fn trace(&self, copy: impl FnOnce(Client<'_>) -> usize) {
        let bytes = copy(Client {
            connection: &pid(self.connection),
            channel: CHANNEL,
            user: &self.user,
        });
        self.broker.committer().note_pending(bytes);
    }
}
