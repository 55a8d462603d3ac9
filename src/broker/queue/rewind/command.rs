//! `Queue::rewind`: searches the store for the position in each lane, then makes the machine rewind to it.
//! The histories of the lanes (`lane/history`) decide which messages are rewindable.
//!
//! The search reads little. The stretches of the history lead to one of them, and only that is read, so a
//! rewind takes as long for ten messages as for ten million. The rewind itself is one command of the queue
//! and is written in one batch: after a crash all of it has happened, or nothing.

use std::sync::Arc;

use crate::broker::queue::reading::not_read;
use crate::broker::queue::shell::Queue;
use crate::model::Ticket;
use crate::store::StoreError;

use super::plan::RewindError;
use super::rewind_to::RewindTo;
use super::search::find_position;

/// The result of a rewind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The first offset that came back. `None` if none did, or if the queue has several lanes.
    pub from_offset: Option<u64>,
    /// Number of messages that came back.
    pub messages: u64,
    /// When it is durable; `None` if there is nothing to write.
    pub ticket: Option<Ticket>,
}

impl Queue {
    /// Makes the rewindable messages from `to` on ready again, at their old positions. Ready and leased
    /// messages stay as they are. A position before the history means the history's start.
    ///
    /// # Errors
    /// See [`RewindError`]; then nothing has changed.
    pub async fn rewind(&self, to: RewindTo) -> Result<Rewound, RewindError> {
        let to = match to {
            RewindTo::Time(wall_ms) => RewindTo::Time(self.services.clock.moment_of(wall_ms).ms()),
            RewindTo::Offset(_) => to,
        };
        let searches = self
            .run(|machine, now_ms, _| machine.plan_rewind(now_ms, to))
            .ok_or(RewindError::Gone)??;
        let committer = &self.services.committer;
        if searches.iter().any(|search| !search.within.is_empty()) {
            // When this is applied, everything that was enqueued so far can be read.
            let ticket = committer.append(Vec::new());
            let written = committer.wait_applied(ticket).await;
            written.map_err(|_| StoreError::Closed)?;
        }
        let mut found = Vec::with_capacity(searches.len());
        for search in searches {
            let store = Arc::clone(committer.store());
            let durability = self.durability();
            let reads = &self.services.threads.reads;
            let search = reads.run(self.spec.id, move || {
                find_position(&*store, &search, |m| durability.covers(m))
            });
            found.push(search.await.map_err(not_read)??);
        }
        let (rewound, ticket) = self
            .act(|machine, now_ms, fx| machine.rewind(now_ms, &found, fx))
            .ok_or(RewindError::Gone)?;
        let (from_offset, messages) = rewound?;
        self.services.stats.rewinds.add(1);
        self.services.stats.rewound.add(messages);
        Ok(Rewound {
            from_offset,
            messages,
            ticket,
        })
    }
}
