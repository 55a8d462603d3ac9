//! Durable records: the `Store` trait, what can be written (`Op`, `Batch`) and what recovery finds. Knows logs,
//! offsets and bytes; knows nothing of consumers, exchanges or connections.
//!
//! A *log* is one lane of a queue: chunks of messages by offset, plus a small record and the pages that say which
//! offsets are settled. Everything is written in batches, through the [`Committer`].

pub mod chunk; // versioned encoding of messages, pure
pub mod commit; // group commit: one batch for everything that waits, one sync for many batches
mod dir; // the data directory and its lock
mod extents; // files of chunks beside the database
pub mod faulty; // a store that fails or loses power on purpose
mod fjall; // the store on disk
mod journal; // syncing the database's journal ourselves
mod keys; // every key on disk
mod manifest; // the database's manifests, checked and copied
pub mod memory; // the store without a disk
mod plan; // a batch as writes of keys, pure
mod progress; // what is known to be synced
mod ranges; // sets of offsets
mod record; // versioned encoding of log records and pages, pure
mod rotate; // the thread that seals memtables
mod schema; // the format of a data directory
mod scrub; // repair of journals before the database is opened
mod upkeep; // the background thread: sweeping and giving space back
mod worker; // a thread by name

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use crate::model::{LogId, Ticket};

pub use chunk::{ChunkEncoder, ChunkError, ChunkReader, StoredMessage};
pub use commit::{Alarm, Committer, Limits, Source, StoreFailed, Waiter};
pub use fjall::{FjallOptions, FjallStore};
pub use memory::MemoryStore;
pub use ranges::{PAGE_OFFSETS, PageBits, RangeSet, page_of};
pub use record::{
    LogRecord, Mark, ReceiveRecord, ReceivedLease, RecordError, ReturnCount, Segment,
};
pub use upkeep::UpkeepOptions;

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
    fn meta(&self, prefix: &[u8]) -> Result<Vec<MetaEntry>, StoreError>;

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

/// Key and value of a definition.
pub type MetaEntry = (Vec<u8>, Vec<u8>);

/// One change.
#[derive(Clone, Debug)]
pub enum Op {
    /// Adds a chunk made by [`ChunkEncoder`] whose first message has offset `first`. A chunk is put once.
    PutChunk {
        /// The log.
        log: LogId,
        /// Offset of the chunk's first message.
        first: u64,
        /// The encoded chunk.
        chunk: Bytes,
    },
    /// Removes a chunk, when all its messages are settled.
    RemoveChunk {
        /// The log.
        log: LogId,
        /// Offset of the chunk's first message.
        first: u64,
    },
    /// Creates or replaces the record of a log.
    PutLog {
        /// The log.
        log: LogId,
        /// Its new record.
        record: LogRecord,
    },
    /// Removes a log: at once for recovery, its chunks and pages in the background.
    RemoveLog {
        /// The log.
        log: LogId,
    },
    /// Replaces one page of settled offsets.
    PutPage {
        /// The log.
        log: LogId,
        /// Page number: offset / [`PAGE_OFFSETS`].
        page: u64,
        /// What is settled in it.
        settled: PageBits,
    },
    /// Removes a page that the floor has passed.
    RemovePage {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
    },
    /// Notes how often a message that is waiting again came back.
    PutCount {
        /// The log.
        log: LogId,
        /// The message.
        offset: u64,
        /// How often so far.
        count: ReturnCount,
    },
    /// Forgets a delivery count.
    RemoveCount {
        /// The log.
        log: LogId,
        /// The message.
        offset: u64,
    },
    /// Creates or replaces the entry of a segment, by its first offset.
    PutSegment {
        /// The log.
        log: LogId,
        /// The segment.
        segment: Segment,
    },
    /// Removes the entry of a segment. Its chunks go by the log's floor.
    RemoveSegment {
        /// The log.
        log: LogId,
        /// The segment's first offset.
        first: u64,
    },
    /// Notes what a receive leased by handle.
    PutReceive {
        /// The log.
        log: LogId,
        /// The receive, by its number.
        receive: ReceiveRecord,
    },
    /// Forgets a receive: none of its messages is there any more, or all were received again.
    RemoveReceive {
        /// The log.
        log: LogId,
        /// The number of the receive.
        number: u64,
    },
    /// Replaces one page of the settled offsets that never come back, in a log that keeps what was acked.
    PutGone {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
        /// What of it never comes back.
        gone: PageBits,
    },
    /// Removes such a page.
    RemoveGone {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
    },
    /// Creates or replaces a mark of a log that keeps what was acked.
    PutMark {
        /// The log.
        log: LogId,
        /// Where the mark stands.
        first: u64,
        /// The mark.
        mark: Mark,
    },
    /// Removes a mark.
    RemoveMark {
        /// The log.
        log: LogId,
        /// Where it stands.
        first: u64,
    },
    /// Writes a definition.
    PutMeta {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes a definition.
    RemoveMeta {
        /// Its key.
        key: Vec<u8>,
    },
}

impl Op {
    /// Roughly the bytes that this change adds to a batch.
    pub fn weight(&self) -> usize {
        const FIXED: usize = 32; // key, lengths and kind
        FIXED
            + match self {
                Op::PutChunk { chunk, .. } => chunk.len(),
                Op::PutPage { settled, .. } => settled.encoded_len(),
                Op::PutGone { gone, .. } => gone.encoded_len(),
                Op::PutMark { .. } => record::MARK_LEN,
                Op::PutMeta { key, value } => key.len() + value.len(),
                Op::RemoveMeta { key } => key.len(),
                Op::PutLog { .. } => record::LOG_RECORD_LEN,
                Op::PutSegment { .. } => record::SEGMENT_LEN,
                Op::PutReceive { receive, .. } => receive.encoded_len(),
                Op::RemoveChunk { .. }
                | Op::RemoveLog { .. }
                | Op::RemovePage { .. }
                | Op::PutCount { .. }
                | Op::RemoveCount { .. }
                | Op::RemoveSegment { .. }
                | Op::RemoveReceive { .. }
                | Op::RemoveGone { .. }
                | Op::RemoveMark { .. } => 0,
            }
    }
}

/// What is written together: all of it survives a crash or nothing. Of two changes of one thing the later holds.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Its place in the order of commits; 0 outside a committer.
    pub ticket: Ticket,
    /// The changes in order.
    pub ops: Vec<Op>,
    /// Roughly the bytes in `ops`.
    pub bytes: usize,
}

impl Batch {
    /// Adds a change.
    pub fn push(&mut self, op: Op) {
        self.bytes += op.weight();
        self.ops.push(op);
    }
}

impl FromIterator<Op> for Batch {
    fn from_iter<I: IntoIterator<Item = Op>>(ops: I) -> Batch {
        let mut batch = Batch::default();
        ops.into_iter().for_each(|op| batch.push(op));
        batch
    }
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
    /// Settled offsets that never come back, at or above `kept_from`, of a log that keeps what was acked.
    pub gone: RangeSet,
    /// Marks of such a log by offset, ascending.
    pub marks: Vec<(u64, Mark)>,
}

impl StoreError {
    /// The error as whoever starts the store is to see it: what the disk or the database says of the files tells
    /// nobody what to do.
    fn advised(self, dir: &std::path::Path) -> StoreError {
        let is_damage = match &self {
            StoreError::Database { .. }
            | StoreError::Corrupt(_)
            | StoreError::Unreadable { .. } => true,
            StoreError::Io { source, .. } => dir::is_lost(source),
            StoreError::Damaged { .. }
            | StoreError::InUse { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::Closed => false,
        };
        match is_damage {
            true => StoreError::Damaged {
                what: format!("{}: {self}", dir.display()),
                advice: Advice::Restore,
            },
            false => self,
        }
    }
}

/// What an operator can do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// The store can go on without what is damaged, if that is wanted.
    Recover,
    /// It may be able to.
    TryToRecover,
    /// It cannot.
    Restore,
}

impl std::fmt::Display for Advice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nothing was changed. Check the disk and restore the directory from a backup")?;
        match self {
            Advice::Recover => f.write_str(
                ", or start once with --on-damage recover: what is damaged is kept aside, and the rest is served",
            ),
            Advice::TryToRecover => {
                f.write_str(", or try a start with --on-damage recover, which may be able to serve the rest")
            }
            Advice::Restore => Ok(()),
        }
    }
}

/// What the start does when what was on disk once is not there whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// It does not go on.
    #[default]
    Refuse,
    /// It goes on without what cannot be read, and keeps that aside.
    Recover,
}

/// Why the store could not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system said no.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database said no.
    #[error("{doing}: {reason}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        reason: String,
    },
    /// Chunks that are on disk and do not come back whole.
    #[error("offsets from {} to {} cannot be read: {reason}", offsets.start, offsets.end)]
    Unreadable {
        /// The offsets of their messages; what follows may be read again.
        offsets: Range<u64>,
        /// What is wrong.
        reason: String,
    },
    /// Bytes on disk that no release of this program wrote.
    #[error("the data directory is damaged: {0}")]
    Corrupt(String),
    /// What was on disk once is not there whole. Nothing was changed.
    #[error("the data directory is damaged: {what}. {advice}")]
    Damaged {
        /// What is not whole.
        what: String,
        /// What to do.
        advice: Advice,
    },
    /// Another broker runs on the same data.
    #[error("the data directory {} is in use by another broker{holder}", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
        /// ` (process N)` if known.
        holder: String,
    },
    /// The data were written by a later release.
    #[error(
        "the data directory {} has format {found}, but this release reads formats up to {known}: \
         start it with the release that wrote it, or a later one", dir.display()
    )]
    NewerFormat {
        /// The directory.
        dir: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format that this release knows.
        known: u32,
    },
    /// An earlier failure has closed the store; see [`Store::reopen`].
    #[error("the store is closed after a failure")]
    Closed,
}
