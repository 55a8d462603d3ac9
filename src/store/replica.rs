//! The store of a member of a set, as the set's replication sees it: a log whose entries are appended, replaced and
//! purged, and a database that follows from the entries that a majority has.

use std::ops::Range;

use super::{EntryId, Proposal, StoreError, Vote};

/// The store of a member. One thread changes its log; everything else may be called meanwhile.
pub trait Replica: Send + Sync + 'static {
    /// Writes the next entry. A power loss may undo it until [`Replica::sync_log`].
    fn append_entry(&self, id: EntryId, proposal: &Proposal) -> Result<(), StoreError>;

    /// Makes all entries durable that were written before this call.
    fn sync_log(&self) -> Result<(), StoreError>;

    /// Forgets the entries after `last`, which are not applied.
    fn truncate_log(&self, last: u64) -> Result<(), StoreError>;

    /// No longer keeps entries up to `upto`, which are applied, for other members.
    fn purge_log(&self, upto: u64) -> Result<(), StoreError>;

    /// Reads kept entries from the start of `range` on, up to `max_bytes`, but at least one.
    fn read_entries(
        &self,
        range: Range<u64>,
        max_bytes: u64,
    ) -> Result<Vec<(EntryId, Proposal)>, StoreError>;

    /// The term of a kept entry, or of the one before them.
    fn term_of(&self, index: u64) -> Option<u64>;

    /// What this store holds.
    fn replica_state(&self) -> Result<ReplicaState, StoreError>;

    /// Saves the vote. It is durable when this returns.
    fn save_vote(&self, vote: Vote) -> Result<(), StoreError>;

    /// Notes that a majority has this entry. A crash may undo it.
    fn note_majority(&self, id: EntryId);

    /// Applies the entries up to `upto`, in order. They are durable here, and a majority has them.
    fn apply_entries(&self, upto: u64) -> Result<(), StoreError>;
}

/// What the store of a member holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaState {
    /// The entry before the first kept one; the zero id if all are kept.
    pub purged: EntryId,
    /// The last entry of the log.
    pub last: EntryId,
    /// The last entry that is applied.
    pub applied: EntryId,
    /// The last entry that a majority is known to have.
    pub majority: u64,
    pub vote: Vote,
    /// The record of members, as of the applied entries.
    pub members: Option<Vec<u8>>,
}
