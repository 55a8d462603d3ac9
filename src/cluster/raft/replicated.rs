//! The store on which the leader runs the broker: what it writes is proposed to the set, is durable when a majority has
//! it, and is read from this node's own database.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::proposer::Proposer;
use super::tracker::Lost;
use crate::model::{LogId as QueueLog, Ticket};
use crate::store::{
    Batch, DefinitionEntry, FjallStore, Journal, LogState, Store, StoreError, StoredChunk,
    Verified, VerifyStep,
};

/// The store of one leadership.
pub(super) struct Replicated {
    store: Arc<FjallStore>,
    proposer: Proposer<FjallStore>,
    /// Logs whose removal is proposed in this leadership, and which the store may not know yet to be removed.
    removals: Mutex<HashSet<QueueLog>>,
    runtime: Handle,
}

impl Replicated {
    pub(super) fn new(
        store: Arc<FjallStore>,
        proposer: Proposer<FjallStore>,
        runtime: Handle,
    ) -> Replicated {
        Replicated {
            store,
            proposer,
            removals: Mutex::default(),
            runtime,
        }
    }
}

fn not_leading() -> StoreError {
    StoreError::Database {
        doing: "replicating",
        reason: "this node no longer leads its cluster".to_owned(),
    }
}

impl From<Lost> for StoreError {
    fn from(Lost: Lost) -> StoreError {
        not_leading()
    }
}

impl Journal for Replicated {
    fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let proposal = self.store.propose(batch, &mut self.removals.lock());
        if proposal.is_empty() {
            return Ok(());
        }
        let proposed = self.proposer.propose(batch.ticket, proposal);
        Ok(self.runtime.block_on(proposed)?)
    }

    fn sync(&self) -> Result<(), StoreError> {
        Ok(self.proposer.proposals.wait_committed()?)
    }

    /// Batches are committed one after the other, and publishers wait for the first.
    fn sync_some(&self, batches: RangeInclusive<Ticket>) -> Result<Ticket, StoreError> {
        let committed = self
            .proposer
            .proposals
            .wait_committed_some(*batches.start())?;
        Ok(committed.unwrap_or(*batches.end()).min(*batches.end()))
    }

    fn apply(&self) -> Result<(), StoreError> {
        Ok(self.proposer.proposals.wait_applied()?)
    }

    fn throttled(&self) -> bool {
        self.proposer.waits_for_disk() || self.store.throttled()
    }

    fn free_bytes(&self) -> Option<u64> {
        self.store.free_bytes()
    }

    fn owed_bytes(&self) -> u64 {
        self.store.owed_bytes()
    }

    fn is_on_reserve(&self) -> bool {
        self.store.is_on_reserve()
    }

    fn spare(&self) {
        self.store.spare();
    }

    /// What was proposed cannot be taken back, and whether it is committed only the next leader knows.
    fn reopen(&self) -> Result<(), StoreError> {
        Err(not_leading())
    }
}

impl Store for Replicated {
    fn read(
        &self,
        log: QueueLog,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        let read = self.store.read(log, from, max_bytes);
        // The other members have it, so the queue must not go on without it.
        read.map_err(|error| match error {
            StoreError::Unreadable { .. } if self.proposer.note_unreadable(&error) => {
                StoreError::Database {
                    doing: "reading what other members have whole",
                    reason: error.to_string(),
                }
            }
            error => error,
        })
    }

    fn logs(&self) -> Result<Vec<(QueueLog, LogState)>, StoreError> {
        self.store.logs()
    }

    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError> {
        self.store.definitions(prefix)
    }

    fn damage(&self) -> Vec<String> {
        self.store.damage()
    }

    fn verify(&self, step: &mut VerifyStep<'_>) -> Result<Verified, StoreError> {
        self.store.verify(step)
    }

    fn sweep_settled(&self) -> Result<(), StoreError> {
        self.store.sweep_settled()
    }
}
