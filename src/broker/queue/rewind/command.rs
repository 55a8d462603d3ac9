//! Reading again what was acked: the search in the store for the place to which a queue is rewound, and the command
//! itself. What is kept, and what becomes of it, is decided elsewhere (`retention`, `lane`).
//!
//! The search reads little: the marks of what is kept lead to one stretch of the log, and only that is looked at, so
//! a rewind takes as long for ten messages as for ten million. The rewind is one turn of the queue and is written in
//! one batch: a crash leaves all of it or nothing.

use std::sync::Arc;

use crate::broker::queue::machine::Machine;
use crate::broker::queue::reading::not_read;
use crate::broker::queue::shell::Queue;
use crate::model::Ticket;
use crate::store::StoreError;

use super::plan::RewindError;
use super::rewind_to::RewindTo;
use super::search::find_position;

/// What a rewind has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewound {
    /// The first offset that came back; none if nothing did, or if the queue has several lanes.
    pub from_offset: Option<u64>,
    /// How many messages came back.
    pub messages: u64,
    /// When it is durable; `None` if there is nothing to write.
    pub ticket: Option<Ticket>,
}

impl Queue {
    /// Makes acked messages ready again that are still kept, from `to` on, at their old places; those that wait or are
    /// with a consumer stay as they are. A place before the oldest that is kept means that one.
    ///
    /// # Errors
    /// See [`RewindError`]; then nothing has changed.
    pub async fn rewind(&self, to: RewindTo) -> Result<Rewound, RewindError> {
        let to = match to {
            RewindTo::Time(wall_ms) => RewindTo::Time(self.services.clock.moment_of(wall_ms).ms()),
            RewindTo::Offset(_) => to,
        };
        let searches = self
            .run(|state, now_ms, _| {
                let state = state.work().ok_or(RewindError::NotEnabled)?;
                state.plan_rewind(now_ms, to)
            })
            .ok_or(RewindError::Gone)??;
        let committer = &self.services.committer;
        if searches.iter().any(|search| !search.within.is_empty()) {
            // What was enqueued so far can be read when this is durable.
            let written = committer.wait(committer.append(Vec::new())).await;
            written.map_err(|_| StoreError::Closed)?;
        }
        let mut found = Vec::with_capacity(searches.len());
        for search in searches {
            let store = Arc::clone(committer.store());
            let durability = self.durability();
            let reads = &self.services.threads.reads;
            let look = reads.run(self.spec.id, move || {
                find_position(&*store, &search, |m| durability.covers(m))
            });
            found.push(look.await.map_err(not_read)??);
        }
        let rewind = |state: &mut Machine, now_ms, fx: &mut _| {
            let state = state.work().ok_or(RewindError::NotEnabled)?;
            state.rewind(now_ms, &found, fx)
        };
        let (rewound, ticket) = self.act(rewind).ok_or(RewindError::Gone)?;
        let (from_offset, messages) = rewound?;
        Ok(Rewound {
            from_offset,
            messages,
            ticket,
        })
    }
}
