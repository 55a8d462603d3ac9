//! Credit for the consumers of a channel, granted to their queues when deliveries are acknowledged or
//! written.

use super::channel::Channel;
use super::connection_state::ConnectionState;
use super::credit::Window;
use super::limits::UNACKED_PER_CHANNEL_MAX;
use super::queue_handles::QueueHandle;
use crate::broker::queue::Credit;
use crate::model::ConsumerId;

/// Credit to grant, by queue.
#[derive(Default)]
pub(crate) struct Grants(Vec<(QueueHandle, ConsumerId, Credit)>);

impl Grants {
    /// Takes the grants for one queue.
    pub(crate) fn take(&mut self, queue: QueueHandle) -> Vec<(ConsumerId, Credit)> {
        let mut taken = Vec::new();
        self.0.retain(|(of, consumer, credit)| {
            if *of == queue {
                taken.push((*consumer, *credit));
            }
            *of != queue
        });
        taken
    }

    fn next_queue(&self) -> Option<QueueHandle> {
        self.0.first().map(|(queue, ..)| *queue)
    }
}

impl Channel {
    /// Puts a consumer on the list of those whose account has changed.
    pub(crate) fn touch(&mut self, id: ConsumerId) {
        if let Some(consumer) = self.consumers.get_mut(id)
            && !std::mem::replace(&mut consumer.touched, true)
        {
            self.touched.push(id);
        }
    }

    /// The socket has taken all deliveries: their consumers get credit again.
    pub(crate) fn deliveries_written(&mut self, connection: &mut ConnectionState) {
        if let Some((_, address)) = &mut self.reply_consumer {
            address.written();
        }
        for id in std::mem::take(&mut self.under_way) {
            if let Some(consumer) = self.consumers.get_mut(id) {
                consumer.account.written();
                self.touch(id);
            }
        }
        self.flush_credit(connection);
    }

    /// Grants the credit of consumers whose account has changed to their queues.
    pub(crate) fn flush_credit(&mut self, connection: &mut ConnectionState) {
        if self.touched.is_empty() && !self.parked {
            return;
        }
        let grants = self.grants(connection);
        self.grant(grants);
    }

    /// Credit of consumers whose account has changed.
    pub(crate) fn grants(&mut self, connection: &ConnectionState) -> Grants {
        let was_parked = self.parked;
        self.parked = self.unacked.len() >= UNACKED_PER_CHANNEL_MAX;
        if was_parked && !self.parked {
            let all: Vec<ConsumerId> = self.consumers.iter().map(|(id, _)| id).collect();
            all.into_iter().for_each(|id| self.touch(id));
        }
        let window = Window::share(connection.consumers.len());
        let mut grants = Grants::default();
        for id in self.touched.drain(..) {
            let Some(consumer) = self.consumers.get_mut(id) else {
                continue;
            };
            consumer.touched = false;
            let Some(source) = consumer.source else {
                continue;
            };
            if let Some(credit) = consumer.account.grant(window, self.parked) {
                grants.0.push((source.queue, id, credit));
            }
        }
        grants
    }

    /// Grants credit to each of the queues.
    pub(crate) fn grant(&self, mut grants: Grants) {
        while let Some(queue) = grants.next_queue() {
            let credit = grants.take(queue);
            if let Some(queue) = self.queues.get(queue) {
                queue.credit(&credit);
            }
        }
    }
}
