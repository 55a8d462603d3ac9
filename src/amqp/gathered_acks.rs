//! Acknowledged deliveries of one channel, gathered by queue until the batch of frames ends.

use super::queue_handles::QueueHandle;
use super::unacked::UnackedDelivery;
use crate::model::Lease;

#[derive(Debug, Default)]
pub(crate) struct GatheredAcks {
    by_queue: Vec<QueueAcks>,
}

/// The acknowledged deliveries of one queue.
#[derive(Debug)]
pub(crate) struct QueueAcks {
    pub(crate) queue: QueueHandle,
    pub(crate) leases: Vec<Lease>,
    /// Number of them that went to consumers. The rest were fetched with `basic.get`.
    pub(crate) to_consumers: usize,
}

impl GatheredAcks {
    pub(crate) fn is_empty(&self) -> bool {
        self.by_queue.is_empty()
    }

    pub(crate) fn push(&mut self, delivery: &UnackedDelivery) {
        let to_consumers = usize::from(delivery.consumer.is_some());
        let mut by_queue = self.by_queue.iter_mut();
        match by_queue.find(|acks| acks.queue == delivery.queue) {
            Some(acks) => {
                acks.leases.push(delivery.lease);
                acks.to_consumers += to_consumers;
            }
            None => self.by_queue.push(QueueAcks {
                queue: delivery.queue,
                leases: vec![delivery.lease],
                to_consumers,
            }),
        }
    }

    pub(crate) fn take(&mut self) -> Vec<QueueAcks> {
        std::mem::take(&mut self.by_queue)
    }
}
