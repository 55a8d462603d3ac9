//! Durable records: the `Store` trait, what can be written (`Op`, `Batch`) and what recovery finds. Knows logs,
//! offsets and bytes; knows nothing of consumers, exchanges or connections.
//!
//! A *log* is one lane of a queue: chunks of messages by offset, plus a small record and the pages that say which
//! offsets are settled. Everything is written in batches, through the [`Committer`].

mod batch; // what is written together
pub mod chunk; // versioned encoding of messages, pure
pub mod commit; // group commit: one batch for everything that waits, one sync for many batches
mod dir; // the data directory and its lock
mod error;
mod extents; // files of chunks beside the database
pub mod faulty; // a store that fails or loses power on purpose
mod fjall; // the store on disk
pub mod memory; // the store without a disk
mod page; // pages of offsets, as they go to disk
mod ranges; // sets of offsets
mod record; // the small records, pure
mod worker; // a thread by name

use std::ops::Range;

use bytes::Bytes;

use crate::model::LogId;

pub use batch::{Batch, DefinitionEntry, Op};
pub use chunk::{ChunkEncoder, ChunkError, ChunkReader, StoredMessage};
pub use commit::{Alarm, Committer, Limits, Source, StoreFailed, Waiter};
pub use error::{Advice, OnDamage, StoreError};
pub use fjall::{FjallOptions, FjallStore, MaintenanceOptions};
pub use memory::MemoryStore;
pub use page::{PAGE_OFFSETS, PageBits, page_of};
pub use ranges::RangeSet;
pub use record::{
    LogRecord, ReceiveRecord, ReceivedLease, RecordError, ReturnCount, Segment, StretchRecord,
};

/// A place where batches are kept.
///
/// Logs are never used again once removed: what is put into a log after its `RemoveLog` may be dropped.
pub trait Store: Send + Sync + 'static {
    /// Writes a batch: all of it or nothing, visible to reads when this returns, not yet safe from a power loss.
    /// A batch whose ticket was already committed before a [`Store::reopen`] is recognised and not written twice.
    fn commit(&self, batch: &Batch) -> Result<(), StoreError>;

    /// Makes every commit that returned before this call durable.
    fn sync(&self) -> Result<(), StoreError>;

    /// The chunk that holds `from` (or the next one after it) and those that follow, in order: until `max_bytes`
    /// is reached, but at least one if there is one. Ends before a chunk that is there and cannot be read; if that is
    /// the first one, [`StoreError::Unreadable`] says how far that goes.
    fn read(&self, log: LogId, from: u64, max_bytes: usize)
    -> Result<Vec<StoredChunk>, StoreError>;

    /// As [`Store::read`], but what cannot be read is passed over.
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

    /// Every log that has a record, for recovery. Touches no message.
    fn logs(&self) -> Result<Vec<(LogId, LogState)>, StoreError>;

    /// The definitions whose key starts with `prefix`, in key order.
    fn definitions(&self, prefix: &[u8]) -> Result<Vec<DefinitionEntry>, StoreError>;

    /// Removes up to `max` chunks that lie wholly below `below`, and below the log's committed floor. True when
    /// none is left. For the background: after a purge, in small batches.
    fn sweep(&self, log: LogId, below: u64, max: usize) -> Result<bool, StoreError>;

    /// Removes up to `max` chunks that lie wholly in `range`, wherever the floor is; the caller has made durable that
    /// nobody reads them again. From where to go on, `None` when none is left. For the background.
    fn sweep_range(
        &self,
        log: LogId,
        range: Range<u64>,
        max: usize,
    ) -> Result<Option<u64>, StoreError>;

    /// Whether the store has fallen behind with its own work, so that the next commit should wait.
    fn throttled(&self) -> bool {
        false
    }

    /// Free bytes on the file system that holds the data; `None` when there is none.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Bytes that the store holds in memory and has yet to write to that file system, besides its journals.
    fn owed_bytes(&self) -> u64 {
        0
    }

    /// Space is short: what can be given back should be, soon. Returns at once.
    fn spare(&self) {}

    /// Starts over from what is on disk after a failed commit or sync.
    fn reopen(&self) -> Result<(), StoreError>;
}

/// A chunk as it was put; decode it with [`chunk::decode`].
#[derive(Clone, Debug)]
pub struct StoredChunk {
    /// Offset of its first message.
    pub first: u64,
    /// The encoded chunk.
    pub data: Bytes,
}

/// What recovery knows of a log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Its record.
    pub record: LogRecord,
    /// Settled offsets at or above the floor.
    pub settled: RangeSet,
    /// Delivery counts by offset, ascending.
    pub counts: Vec<(u64, ReturnCount)>,
    /// Segments by first offset, ascending; only some logs have any.
    pub segments: Vec<Segment>,
    /// Receives by number, ascending.
    pub receives: Vec<ReceiveRecord>,
    /// Settled offsets that never come back, at or above `history_from`, of a log that keeps what was acked.
    pub gone: RangeSet,
    /// Marks of such a log by offset, ascending.
    pub stretches: Vec<(u64, StretchRecord)>,
}
