//! Puts a received snapshot in the place of what the store holds.

use super::{SnapshotTarget, swap};
use crate::store::fjall::FjallStore;
use crate::store::{EntryId, Replica, Store, StoreError};

impl FjallStore {
    /// Begins to receive a snapshot.
    pub fn receive_snapshot(&self) -> Result<SnapshotTarget, StoreError> {
        let incoming = swap::begin(&self.core.dir)?;
        SnapshotTarget::new(incoming, self.core.options)
    }

    /// Replaces everything that the store holds by a snapshot whose blocks were all taken, and whose last entry is `id`.
    /// A crash leaves the store as it was, or as the snapshot is. The node's vote stays.
    pub fn install_snapshot(&self, target: SnapshotTarget, id: EntryId) -> Result<(), StoreError> {
        let has_entry = self.core.open()?.log.term_of(id.index) == Some(id.term);
        if has_entry {
            // What comes after it may count for a majority, and would be lost with the old log.
            drop(target);
            swap::give_up(&self.core.dir)?;
            return self.apply_entries(id.index);
        }
        let received = target.finish(id)?;
        self.core.replace(&received)?;
        self.maintenance
            .reopened(self.core.load_tombs()?, Vec::new());
        self.count_replayed()?;
        self.sweep_settled()
    }
}
