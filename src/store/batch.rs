//! Changes and batches of changes: all of a batch survives a crash or nothing of it.

use bytes::Bytes;

use super::page::PageBits;
use super::record::{self, LogRecord, ReceiveRecord, ReturnCount, Segment, StretchRecord};
use crate::model::{LogId, Ticket};

/// Key and value of a definition.
pub type DefinitionEntry = (Vec<u8>, Vec<u8>);

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
    PutSettledPage {
        /// The log.
        log: LogId,
        /// Page number: offset / [`PAGE_OFFSETS`].
        page: u64,
        /// What is settled in it.
        settled: PageBits,
    },
    /// Removes a page that the floor has passed.
    RemoveSettledPage {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
    },
    /// Notes how often a message that is waiting again came back.
    PutReturnCount {
        /// The log.
        log: LogId,
        /// The message.
        offset: u64,
        /// How often so far.
        count: ReturnCount,
    },
    /// Forgets a delivery count.
    RemoveReturnCount {
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
    PutGonePage {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
        /// What of it never comes back.
        gone: PageBits,
    },
    /// Removes such a page.
    RemoveGonePage {
        /// The log.
        log: LogId,
        /// Page number.
        page: u64,
    },
    /// Creates or replaces a mark of a log that keeps what was acked.
    PutStretch {
        /// The log.
        log: LogId,
        /// Where the mark stands.
        first: u64,
        /// The mark.
        stretch: StretchRecord,
    },
    /// Removes a mark.
    RemoveStretch {
        /// The log.
        log: LogId,
        /// Where it stands.
        first: u64,
    },
    /// Writes a definition.
    PutDefinition {
        /// Its key.
        key: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// Removes a definition.
    RemoveDefinition {
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
                Op::PutSettledPage { settled, .. } => settled.encoded_len(),
                Op::PutGonePage { gone, .. } => gone.encoded_len(),
                Op::PutStretch { .. } => record::STRETCH_LEN,
                Op::PutDefinition { key, value } => key.len() + value.len(),
                Op::RemoveDefinition { key } => key.len(),
                Op::PutLog { .. } => record::LOG_RECORD_LEN,
                Op::PutSegment { .. } => record::SEGMENT_LEN,
                Op::PutReceive { receive, .. } => receive.encoded_len(),
                Op::RemoveChunk { .. }
                | Op::RemoveLog { .. }
                | Op::RemoveSettledPage { .. }
                | Op::PutReturnCount { .. }
                | Op::RemoveReturnCount { .. }
                | Op::RemoveSegment { .. }
                | Op::RemoveReceive { .. }
                | Op::RemoveGonePage { .. }
                | Op::RemoveStretch { .. } => 0,
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
