//! Durable records: the [`Store`] trait, the changes to write ([`Op`], [`Batch`]) and the state that recovery
//! finds. Knows logs, offsets and bytes; knows nothing of consumers, exchanges or connections.
//!
//! A *log* is one lane of a queue: chunks of messages by offset, a small record, and the pages of its settled
//! offsets. The [`Committer`] writes everything in batches.

mod batch; // changes that one commit writes
pub mod chunk; // versioned encoding of messages, pure
pub mod commit; // group commit: one batch and one sync for all pending changes
mod digest; // digests of what a store holds, pure
mod dir; // the data directory and its lock
mod error;
mod extents; // files of the log and of moved chunks
pub mod faulty; // a store that fails or loses power on purpose
mod fjall; // the store on disk
mod identity; // who the node of this data directory is in its set
mod keys; // every key on disk
mod log; // the log: one write and one sync per batch
pub mod memory; // the store without a disk
mod page; // pages of offsets, the form of offset sets on disk
mod proposal; // what an entry of a set's log changes, pure
mod ranges; // sets of offsets
mod record; // the small records, pure
mod replica; // the store of a member of a set
#[cfg(test)]
pub(crate) mod replica_model; // the same in memory, over a simulated disk
mod verify; // what a verification finds, pure
mod worker; // a named background thread
mod writes; // a batch as writes of keys, pure

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::model::{LogId, Ticket};

pub use batch::{Batch, DefinitionEntry, Op};
pub use chunk::{ChunkEncoder, ChunkError, ChunkReader, StoredMessage};
pub use commit::{Alarm, Committer, Limits, Source, StoreFailed, Waiter};
pub use digest::{Difference, Digest, LogDifference, LogDigest, Presence, StoreDigest};
pub use error::{Advice, OnDamage, StoreError};
pub use fjall::{Contents, FjallOptions, FjallStore, MaintenanceOptions, StoppedStore};
pub use identity::Identity;
pub use log::{EntryId, Vote};
pub use memory::MemoryStore;
pub use page::{PAGE_OFFSETS, PageBits, page_of};
pub use proposal::{Parts, Proposal};
pub use ranges::RangeSet;
pub use record::{
    LogRecord, ReceiveRecord, ReceivedLease, RecordError, ReturnCount, ReturnDetails, Segment,
    StretchRecord,
};
pub use replica::{IncomingSnapshot, OutgoingSnapshot, Replica, ReplicaState};
pub use verify::{
    DamageKind, DamagedMessages, Effect, Finding, Place, Verification, Verified, VerifyProgress,
    VerifyStep,
};
pub(crate) use worker::Vital;

/// Takes batches in order and makes them durable: the committer's way to change anything.
///
/// The id of a removed log is never reused: a journal may drop writes to a log after its `RemoveLog`.
pub trait Journal: Send + Sync + 'static {
    /// Takes a batch. A crash leaves all of it or nothing; until [`Journal::sync`] a power loss may undo it, but the end
    /// of the process does not.
    fn append(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes every batch durable that was appended before this call.
    fn sync(&self) -> Result<(), StoreError>;

    /// As [`Journal::sync`] for the batches of these tickets, and returns up to which one they are durable: the first at
    /// least. A journal that makes them durable one after the other need not wait for the last.
    fn sync_some(&self, batches: RangeInclusive<Ticket>) -> Result<Ticket, StoreError> {
        self.sync().map(|()| *batches.end())
    }

    /// Applies the durable batches in order: reads of the store see them when this returns.
    fn apply(&self) -> Result<(), StoreError>;

    /// Whether the next append should wait because the store is behind with its background work.
    fn throttled(&self) -> bool {
        false
    }

    /// Free bytes on the file system of the data; `None` if the store has no file system.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Bytes in memory that the store must still write to that file system, besides the log.
    fn owed_bytes(&self) -> u64 {
        0
    }

    /// Whether a reopening could give up space that the store holds for a full disk.
    fn has_reserve(&self) -> bool {
        false
    }

    /// Whether the store works only because it has given up space that it held for a full disk.
    fn is_on_reserve(&self) -> bool {
        false
    }

    /// Says that all that has happened is in the batches so far, and that nothing more will: the process ends in order. For
    /// each log the offset below which messages may have been handed out. Does not block. The next start finds it in
    /// [`LogState::handed_out_below`].
    fn ends_in_order(&self, _handed_out: Vec<(LogId, u64)>) {}

    /// Asks the store to free disk space soon, since it is short. Does not block.
    fn spare(&self) {}

    /// Opens everything again from the disk after a failure. Applies what is durable, and forgets what was appended
    /// and is not durable.
    fn reopen(&self) -> Result<(), StoreError>;
}

/// What reads find: the applied batches.
pub trait Store: Journal {
    /// Reads chunks in order, from the one that holds `from` or else the next one: up to `max_bytes`, but at
    /// least one. Ends before an unreadable chunk. If the first one is unreadable, [`StoreError::Unreadable`]
    /// names its offsets.
    fn read(&self, log: LogId, from: u64, max_bytes: usize)
    -> Result<Vec<StoredChunk>, StoreError>;

    /// As [`Store::read`], but skips unreadable chunks.
    fn read_past(
        &self,
        log: LogId,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<StoredChunk>, StoreError> {
        let mut at = from;
        loop {
            match self.read(log, at, max_bytes) {
                Err(StoreError::Unreadable { offsets, .. }) if offsets.end > at => at = offsets.end,
                outcome => return outcome,
            }
        }
    }

    /// All logs that have a record, for recovery. Reads no messages.
    fn logs(&self) -> Result<Vec<(LogId, LogState)>, StoreError>;

    /// The definitions whose key starts with `prefix`, in key order.
    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError>;

    /// What this and earlier starts found damaged and kept aside, for operators: one line each.
    fn damage(&self) -> Vec<String> {
        Vec::new()
    }

    /// Reads everything on the disk and verifies its checksums. Changes nothing, and may be called while the store is
    /// in use.
    fn verify(&self, _step: &mut VerifyStep<'_>) -> Result<Verified, StoreError> {
        Ok(Verified::NothingOnDisk)
    }

    /// Removes, in the background, the chunks in which no start would find a message. Called before queues are
    /// recovered: a queue in memory also needs those of its transient messages. From then on each batch tells what it
    /// sweeps ([`Op::Sweep`]).
    fn sweep_settled(&self) -> Result<(), StoreError>;
}

/// An encoded chunk, see [`chunk::decode`].
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// Offset of its first message.
    pub first: u64,
    pub data: Bytes,
}

/// A log as recovery finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    pub record: LogRecord,
    /// Settled offsets at or above the floor.
    pub settled: RangeSet,
    /// Delivery counts by offset, ascending.
    pub counts: Vec<(u64, ReturnCount)>,
    /// Segments by first offset, ascending; only streams have them.
    pub segments: Vec<Segment>,
    /// Receives by number, ascending.
    pub receives: Vec<ReceiveRecord>,
    /// Gone offsets at or above `history_from`, in a log with history.
    pub gone: RangeSet,
    /// Stretches by first offset, ascending, in a log with history.
    pub stretches: Vec<(u64, StretchRecord)>,
    /// Unsettled offsets that no chunk holds: they went with damaged entries of the log.
    pub missing: RangeSet,
    /// The last run has ended in order, so no batch of it is missing, and only messages below this offset may have been handed
    /// out. `None` after a crash: any may have been.
    pub handed_out_below: Option<u64>,
}

impl LogState {
    /// The offsets that no start and no rewind brings back.
    fn gone_for_good(&self) -> RangeSet {
        let (set, floor) = match self.record.history_from {
            Some(from) => (&self.gone, from),
            None => (&self.settled, self.record.floor),
        };
        let mut gone = set.clone();
        gone.insert_range(0..floor);
        gone
    }
}
