//! The store of a member of a set, as the set's replication sees it: a log whose entries are appended, replaced and
//! purged, and a database that follows from the entries that a majority has.

use std::ops::Range;

use super::{EntryId, Identity, Proposal, StoreError, Vote};

/// The store of a member. One thread changes its log; everything else may be called meanwhile.
pub trait Replica: Send + Sync + 'static {
    /// A snapshot that is sent.
    type Outgoing: OutgoingSnapshot;
    /// A snapshot that is being received.
    type Incoming: IncomingSnapshot<Received = Self::Received>;
    /// A snapshot that was received and is on disk.
    type Received: Send + 'static;

    /// Who this node is in its set. `None` outside a set.
    fn identity(&self) -> Result<Option<Identity>, StoreError>;

    /// Notes which set this node belongs to.
    fn note_set(&self, set: u64) -> Result<(), StoreError>;

    /// Makes this record of members the one that holds, where there is none: the broker that ran alone becomes the
    /// first member. Called before the replication starts.
    fn begin_set(&self, members: &[u8]) -> Result<(), StoreError>;

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

    /// Whether nothing was ever written that a set has in common.
    fn is_empty(&self) -> Result<bool, StoreError>;

    /// Saves the vote. It is durable when this returns.
    fn save_vote(&self, vote: Vote) -> Result<(), StoreError>;

    /// Notes that a majority has this entry. A crash may undo it.
    fn note_majority(&self, id: EntryId);

    /// Applies the entries up to `upto`, in order. They are durable here, and a majority has them.
    fn apply_entries(&self, upto: u64) -> Result<(), StoreError>;

    /// Number and bytes of the entries that are kept for others.
    fn kept_entries(&self) -> Result<(usize, u64), StoreError>;

    /// The entry up to which entries must be purged so that at most `keep_bytes` of them stay.
    fn excess_upto(&self, keep_bytes: u64) -> Result<u64, StoreError>;

    /// What this store holds now.
    fn snapshot(&self) -> Result<Self::Outgoing, StoreError>;

    /// Begins to receive a snapshot. One at a time: it takes the place of an earlier one.
    fn receive_snapshot(&self) -> Result<Self::Incoming, StoreError>;

    /// Replaces everything that this store holds by a snapshot, except the vote. If the log has the snapshot's last
    /// entry, it only applies what comes before: what follows that entry stays. Called by the thread that changes the log.
    fn install_snapshot(&self, received: Self::Received) -> Result<(), StoreError>;
}

/// What a member's store held after an entry. The store goes on meanwhile, but frees no space.
pub trait OutgoingSnapshot: Send + 'static {
    /// The last entry that it has.
    fn id(&self) -> EntryId;

    /// The record of members, as of this entry.
    fn members(&self) -> Option<&[u8]>;

    /// Leaves out what cannot be read from now on: no other member has it.
    fn leave_out_damaged(&mut self);

    /// Reads the next block; `None` at the end. An error if a message cannot be read: another member has it.
    fn next_block(&mut self) -> Result<Option<Proposal>, StoreError>;
}

/// A snapshot that is being received. Dropped, it leaves nothing.
pub trait IncomingSnapshot: Send + 'static {
    type Received;

    /// Writes the next block.
    fn take(&mut self, block: &Proposal) -> Result<(), StoreError>;

    /// Makes the whole snapshot durable, whose last entry is `id`.
    fn finish(self, id: EntryId) -> Result<Self::Received, StoreError>;
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
