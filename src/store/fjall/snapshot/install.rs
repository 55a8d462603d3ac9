//! Puts a received snapshot in the place of what the store holds.

use super::{Received, SnapshotTarget};
use crate::store::fjall::FjallStore;
use crate::store::{Replica, Store, StoreError};

impl FjallStore {
    /// Begins to receive a snapshot.
    pub(in crate::store::fjall) fn begin_snapshot(&self) -> Result<SnapshotTarget, StoreError> {
        SnapshotTarget::begin(&self.core.dir, self.core.options)
    }

    /// Replaces everything that the store holds. A crash leaves the store as it was, or as the snapshot is.
    pub(in crate::store::fjall) fn install(&self, received: Received) -> Result<(), StoreError> {
        let id = received.id();
        let has_entry = self.core.open()?.log.term_of(id.index) == Some(id.term);
        if has_entry {
            // What comes after it may count for a majority, and would be lost with the old log.
            drop(received);
            return self.apply_entries(id.index);
        }
        self.core.replace(received)?;
        self.maintenance
            .reopened(self.core.load_tombs()?, Vec::new());
        self.count_replayed()?;
        self.sweep_settled()
    }
}
