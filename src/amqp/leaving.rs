//! What channels that end give back to the broker, by queue: their consumers, and what the client has not answered. All
//! channels of a connection that ends leave together, so that nothing goes from one of them to another.

use std::collections::HashMap;
use std::sync::Arc;

use crate::broker::queue::Queue;
use crate::model::{ConsumerId, Lease, QueueId};

/// What goes back to the queues.
#[derive(Debug, Default)]
pub(crate) struct Leaving {
    left: Vec<Left>,
    by_queue: HashMap<QueueId, usize>,
}

/// What goes back to one of them.
#[derive(Debug)]
struct Left {
    queue: Arc<Queue>,
    consumers: Vec<ConsumerId>,
    leases: Vec<Lease>,
}

impl Leaving {
    /// A consumer leaves its queue.
    pub(crate) fn consumer(&mut self, queue: &Arc<Queue>, consumer: ConsumerId) {
        let left = self.of(queue);
        left.into_iter()
            .for_each(|left| left.consumers.push(consumer));
    }

    /// A message goes back to its queue.
    pub(crate) fn lease(&mut self, queue: &Arc<Queue>, lease: Lease) {
        let left = self.of(queue);
        left.into_iter().for_each(|left| left.leases.push(lease));
    }

    /// The consumers are given nothing any more; what they have been given is in the outbox.
    pub(crate) fn halt(&self) {
        for left in &self.left {
            left.queue.halt(&left.consumers);
        }
    }

    /// Gives everything back, in one step for each queue.
    pub(crate) fn leave(self) {
        for left in self.left {
            left.queue.leave(&left.consumers, &left.leases);
        }
    }

    fn of(&mut self, queue: &Arc<Queue>) -> Option<&mut Left> {
        let index = *self.by_queue.entry(queue.id()).or_insert_with(|| {
            self.left.push(Left {
                queue: Arc::clone(queue),
                consumers: Vec::new(),
                leases: Vec::new(),
            });
            self.left.len() - 1
        });
        self.left.get_mut(index)
    }
}
