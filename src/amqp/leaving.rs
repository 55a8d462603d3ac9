//! Consumers and unacked deliveries that channels return to their queues when they end. All channels of a
//! closing connection leave together, so that no message goes from one of them to another.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::queue::Queue;
use crate::model::{ConsumerId, Lease, QueueId};

/// Consumers and leases to return, by queue.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    queues: Vec<LeavingQueue>,
    by_id: HashMap<QueueId, usize>,
}

#[derive(Debug)]
struct LeavingQueue {
    queue: Arc<Queue>,
    consumers: Vec<ConsumerId>,
    leases: Vec<Lease>,
}

impl Leaving {
    pub(crate) fn add_consumer(&mut self, queue: &Arc<Queue>, consumer: ConsumerId) {
        if let Some(leaving) = self.of(queue) {
            leaving.consumers.push(consumer);
        }
    }

    pub(crate) fn add_lease(&mut self, queue: &Arc<Queue>, lease: Lease) {
        if let Some(leaving) = self.of(queue) {
            leaving.leases.push(lease);
        }
    }

    /// Stops all deliveries to the consumers. Earlier deliveries are in the outbox by then.
    pub(crate) fn halt(&self) {
        for leaving in &self.queues {
            leaving.queue.halt(&leaving.consumers);
        }
    }

    /// Returns everything, in one step per queue.
    pub(crate) fn leave(self) {
        for leaving in self.queues {
            leaving.queue.leave(&leaving.consumers, &leaving.leases);
        }
    }

    fn of(&mut self, queue: &Arc<Queue>) -> Option<&mut LeavingQueue> {
        let index = *self.by_id.entry(queue.id()).or_insert_with(|| {
            self.queues.push(LeavingQueue {
                queue: Arc::clone(queue),
                consumers: Vec::new(),
                leases: Vec::new(),
            });
            self.queues.len() - 1
        });
        self.queues.get_mut(index)
    }
}
