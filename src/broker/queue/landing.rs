//! Tells a stream when a batch of its is durable.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle as Runtime;

use crate::model::Ticket;
use crate::store::commit::Waiter;

use super::shell::Queue;

/// A stream that waits for one of its batches.
struct Landing {
    queue: Weak<Queue>,
    /// Where the stream goes on; the committer's threads have better things to do.
    runtime: Option<Runtime>,
}

impl Landing {
    fn of(queue: &Arc<Queue>) -> Arc<Landing> {
        Arc::new(Landing {
            queue: Arc::downgrade(queue),
            runtime: Runtime::try_current().ok(),
        })
    }
}

impl Waiter for Landing {
    fn durable(&self, upto: Ticket) {
        let Some(queue) = self.queue.upgrade() else {
            return;
        };
        match &self.runtime {
            Some(runtime) => drop(runtime.spawn(async move { queue.landed(upto) })),
            None => queue.landed(upto),
        }
    }
}

impl Queue {
    /// Calls [`Queue::landed`] when this batch is durable.
    pub(super) fn watch_landing(&self, ticket: Ticket) {
        if let Some(me) = self.me.upgrade() {
            let landing = Landing::of(&me);
            self.services.committer.when_durable(ticket, landing);
        }
    }

    /// What this queue wrote up to `upto` is durable.
    fn landed(&self, upto: Ticket) {
        self.run(|state, now_ms, fx| {
            if let Some(stream) = state.stream() {
                stream.landed(now_ms, upto, fx);
            }
        });
    }
}
