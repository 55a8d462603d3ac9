//! What the firehose copies of a request: the messages that it sends, publishes or receives.

use std::sync::Arc;

use super::call::Call;
use crate::broker::firehose::{
    Client, TracedDelivery, TracedPublish, trace_delivery, trace_publish,
};
use crate::broker::queue::{Queue, ReceivedBatch};
use crate::model::Message;

impl Call<'_> {
    /// Copies messages that go to these queues next, if tracing is on.
    pub(super) fn trace_sent<'q>(
        &self,
        messages: &[Arc<Message>],
        queues: impl Iterator<Item = &'q Arc<Queue>> + Clone,
    ) {
        if !self.caller.vhost.is_traced() {
            return;
        }
        for message in messages {
            let queues = queues.clone().map(|queue| queue.name());
            let publish = TracedPublish {
                message,
                further_keys: &[],
                queues: queues.collect(),
            };
            self.trace(|client| trace_publish(&self.caller.vhost, client, &publish).bytes);
        }
    }

    /// Copies the messages of a receive, if tracing is on.
    pub(super) async fn trace_received(&self, batch: &ReceivedBatch) {
        let Some(queue) = batch.queue().filter(|_| self.caller.vhost.is_traced()) else {
            return;
        };
        self.api.broker.committer().room().await;
        for received in &batch.messages {
            let delivery = TracedDelivery {
                message: &received.message,
                properties: &received.message.properties,
                queue: queue.name(),
                redelivered: received.count > 1,
            };
            self.trace(|client| trace_delivery(&self.caller.vhost, client, &delivery).bytes);
        }
    }

    /// Outside AMQP there are no channels, and here no connections that matter: the client's address stands for its own.
    fn trace(&self, copy: impl FnOnce(Client<'_>) -> usize) {
        let bytes = copy(Client {
            connection: &self.peer.to_string(),
            channel: 0,
            user: &self.caller.user,
        });
        self.api.broker.committer().note_pending(bytes);
    }
}
