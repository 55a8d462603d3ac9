//! Tells a stream when one of its batches is durable.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle as Runtime;

use crate::model::Ticket;
use crate::store::commit::Waiter;

use super::shell::Queue;

/// Waits for one batch of a stream.
struct DurableWatch {
    queue: Weak<Queue>,
    /// The stream is resumed on the runtime, so that the committer's threads stay free.
    runtime: Option<Runtime>,
}

impl DurableWatch {
    fn of(queue: &Arc<Queue>) -> Arc<DurableWatch> {
        Arc::new(DurableWatch {
            queue: Arc::downgrade(queue),
            runtime: Runtime::try_current().ok(),
        })
    }
}

impl Waiter for DurableWatch {
    fn reached(&self, upto: Ticket) {
        let Some(queue) = self.queue.upgrade() else {
            return;
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { queue.durable_up_to(upto) })),
            None => queue.durable_up_to(upto),
        }
    }
}

impl Queue {
    /// Makes the committer call [`Queue::durable_up_to`] when this batch is durable.
    pub(super) fn watch_durable(&self, ticket: Ticket) {
        if let Some(me) = self.me.upgrade() {
            let watch = DurableWatch::of(&me);
            self.services.committer.when_durable(ticket, watch);
        }
    }

    /// Tells the machine that all batches up to `upto` are durable.
    fn durable_up_to(&self, upto: Ticket) {
        self.run(|machine, now_ms, fx| machine.durable_up_to(now_ms, upto, fx));
    }
}
