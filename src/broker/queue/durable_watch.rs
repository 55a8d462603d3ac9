//! Tells a stream when a batch of its is durable.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle as Runtime;

use crate::model::Ticket;
use crate::store::commit::Waiter;

use super::shell::Queue;

/// A stream that waits for one of its batches.
struct DurableWatch {
    queue: Weak<Queue>,
    /// Where the stream goes on; the committer's threads have better things to do.
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
    fn durable(&self, upto: Ticket) {
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
    /// Calls [`Queue::durable_up_to`] when this batch is durable.
    pub(super) fn watch_durable(&self, ticket: Ticket) {
        if let Some(me) = self.me.upgrade() {
            let watch = DurableWatch::of(&me);
            self.services.committer.when_durable(ticket, watch);
        }
    }

    /// What this queue wrote up to `upto` is durable.
    fn durable_up_to(&self, upto: Ticket) {
        self.run(|state, now_ms, fx| {
            if let Some(stream) = state.stream() {
                stream.durable_up_to(now_ms, upto, fx);
            }
        });
    }
}
